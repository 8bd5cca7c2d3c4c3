package dashboard

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"html/template"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/duration"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/characters"
	"github.com/horizoncd/webhook-operator/internal/insight"
	"github.com/horizoncd/webhook-operator/internal/table"
)

// functions are what templates call. What strangers have written is escaped by
// html/template; printable and line also show characters that nobody would see, or that
// reorder what stands around them.
var functions = template.FuncMap{
	"printable":    characters.Printable,
	"line":         characters.OneLine,
	"ago":          ago,
	"moment":       moment,
	"count":        count,
	"tone":         tone,
	"commands":     commands,
	"lower":        strings.ToLower,
	"dict":         dict,
	"cell":         cells(table.Deliveries),
	"event":        cells(table.Events),
	"shortID":      shortID,
	"language":     func(l v1alpha1.Language) string { return cmp.Or(languages[string(l)], string(l)) },
	"due":          due,
	"results":      func() []v1alpha1.DeliveryResult { return deliveryResults },
	"classes":      classes,
	"spans":        spans,
	"webhookLink":  func(r insight.Ref) string { return link(r.Namespace, "webhooks", r.Name) },
	"eventLink":    func(r insight.Ref) string { return link(r.Namespace, "events", r.Name) },
	"deliveryLink": func(webhook insight.Ref, name string) string { return link(webhook.Namespace, "deliveries", name) },
}

// stampLayout is how exact times are written.
const stampLayout = "2006-01-02 15:04:05 MST"

// moment is a time as a page shows it: how long ago it was, and exactly on hover.
func moment(at, now time.Time) template.HTML {
	if at.IsZero() {
		return "–"
	}
	//nolint:gosec // all three are made here, of digits, letters and punctuation
	return template.HTML(fmt.Sprintf(`<time datetime="%s" title="%s">%s</time>`,
		at.UTC().Format(time.RFC3339Nano), at.Local().Format(stampLayout), ago(at, now)))
}

// ago says how far away a time is.
func ago(at, now time.Time) string {
	switch d := now.Sub(at); {
	case d >= 2*time.Second:
		return duration.HumanDuration(d) + " ago"
	case d <= -2*time.Second:
		return "in " + duration.HumanDuration(-d)
	}
	return "now"
}

// count writes a number with its noun.
func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// tone is the colour of something: good, bad, busy, or quiet.
func tone(what any) string {
	switch fmt.Sprint(what) {
	case string(insight.Delivered), string(insight.Working), string(insight.Sent), "Succeeded", "Accepted", "True", "Completed":
		return "good"
	case string(insight.Failed), string(insight.Stopped), "Failing", "CircuitOpen", "Gone", "False", "Invalid":
		return "bad"
	case string(insight.Waiting), string(insight.Troubled), "ReceiverResting", "Paused", "Running", "Pending", "Dispatching":
		return "busy"
	}
	return "quiet"
}

// sentencePart is a piece of a sentence: words, or a command to be copied.
type sentencePart struct {
	Text string
	Code bool
}

// commands splits a sentence at its commands, which stand in backquotes.
func commands(text string) []sentencePart {
	var parts []sentencePart
	for i, piece := range strings.Split(text, "`") {
		if piece != "" {
			parts = append(parts, sentencePart{characters.OneLine(piece), i%2 == 1})
		}
	}
	return parts
}

// body is a text that a page shows: as it is, and to be read.
type body struct {
	Raw string
	// Pretty is JSON, indented; empty for anything else.
	Pretty string
}

// pretty is a body to be read.
func pretty(text string) body {
	b := body{Raw: characters.Printable(text)}
	var indented bytes.Buffer
	trimmed := strings.TrimSpace(text)
	if (strings.HasPrefix(trimmed, "{") || strings.HasPrefix(trimmed, "[")) && indentedSize(trimmed) <= maxPretty && json.Indent(&indented, []byte(trimmed), "", "  ") == nil {
		b.Pretty = characters.Printable(indented.String())
	}
	return b
}

// maxPretty bounds a body that is indented, in bytes: 16 KiB of brackets would become 128 MiB.
const maxPretty = 2 << 20

// indentedSize is about how many bytes JSON has once it is indented.
func indentedSize(text string) int {
	size, depth, quoted := len(text), 0, false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{', c == '[':
			depth++
			size += 1 + 2*depth
		case c == ',':
			size += 1 + 2*depth
		case c == '}', c == ']':
			depth--
			size += 1 + 2*depth
		}
	}
	return size
}

// cells returns the cell of a row by the name of its column.
func cells(r table.Resource) func(*table.Row, string) (string, error) {
	return func(row *table.Row, name string) (string, error) {
		i := slices.Index(r.Columns, name)
		if i < 0 {
			return "", fmt.Errorf("%s have no column %q", r.Name, name)
		}
		return row.Cells[i], nil
	}
}

// shortID is what tells a delivery from the others of its Webhook: the last part of its
// name.
func shortID(name string) string { return name[strings.LastIndexByte(name, '-')+1:] }

// due says when the next attempt is, of which a row has the time in words.
func due(next string, now time.Time) template.HTML {
	at, err := time.Parse(time.RFC3339, next)
	if err != nil {
		return ""
	}
	if at.Before(now) {
		return "soon"
	}
	return moment(at, now)
}

var deliveryResults = []v1alpha1.DeliveryResult{v1alpha1.DeliveryWaiting, v1alpha1.DeliverySucceeded, v1alpha1.DeliveryFailed}

// classes are the status codes to choose from: classes of them, none, and those that there
// were.
func classes(codes []string) []string {
	return append([]string{"2xx", "3xx", "4xx", "5xx", "none"}, codes...)
}

// spans are the times to choose from, with one that was given by hand.
func spans(given string) []string {
	all := []string{"10m", "1h", "6h", "1d", "7d"}
	if given != "" && !slices.Contains(all, given) {
		all = append(all, given)
	}
	return all
}

// dict makes the arguments of a piece: names and values in turn.
func dict(pairs ...any) (map[string]any, error) {
	if len(pairs)%2 != 0 {
		return nil, fmt.Errorf("dict has %d arguments", len(pairs))
	}
	all := map[string]any{}
	for i := 0; i < len(pairs); i += 2 {
		name, ok := pairs[i].(string)
		if !ok {
			return nil, fmt.Errorf("dict has %v for a name", pairs[i])
		}
		all[name] = pairs[i+1]
	}
	return all, nil
}
