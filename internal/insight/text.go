package insight

import (
	"fmt"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/duration"
)

// command returns a command of the plugin in backquotes, ready to be copied.
func command(verb, namespace, name string, more ...string) string {
	words := append([]string{"kubectl horizon", verb, name}, more...)
	return "`" + strings.Join(append(words, "-n", namespace), " ") + "`"
}

// stamp writes a time as manifests do.
func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// when writes a time and how far away it is.
func when(t, now time.Time) string {
	if t.After(now) {
		return stamp(t) + " (in " + duration.HumanDuration(t.Sub(now)) + ")"
	}
	return stamp(t) + " (" + duration.HumanDuration(now.Sub(t)) + " ago)"
}

// span writes a number of seconds as people say it.
func span(d time.Duration) string { return duration.HumanDuration(d) }

// count writes a number with its noun.
func count[N int | int32](n N, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// list writes some names, the first of them where there are many.
func list[S ~string](names []S, most int) string {
	words := make([]string, 0, most+1)
	for i, name := range names {
		if i == most {
			words = append(words, fmt.Sprintf("and %d more", len(names)-most))
			break
		}
		words = append(words, string(name))
	}
	return strings.Join(words, ", ")
}

// sentence joins what is not empty.
func sentence(parts ...string) string {
	var said []string
	for _, part := range parts {
		if part != "" {
			said = append(said, part)
		}
	}
	return strings.Join(said, "; ")
}
