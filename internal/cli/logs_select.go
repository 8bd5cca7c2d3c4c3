package cli

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"
	"k8s.io/apimachinery/pkg/util/duration"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/matching"
)

// filters are the flags by which deliveries are selected.
type filters struct {
	failed        bool
	result        string
	types, codes  []string
	event, reason string
	since, until  string
	selector      string
}

// addTo adds the flags to a command.
func (f *filters) addTo(cmd *cobra.Command, p *plugin) {
	flags := cmd.Flags()
	flags.BoolVar(&f.failed, "failed", false, "those that failed; short for --result Failed")
	flags.StringVar(&f.result, "result", "", "those with a result: Waiting, Succeeded or Failed")
	flags.StringSliceVar(&f.types, "type", nil, "those of an event type, such as clusters_deployed, or of a family, such as clusters_*, in either spelling")
	flags.StringSliceVar(&f.codes, "code", nil, "those whose last answer had a status code, such as 404 or 5xx; none: without an answer")
	flags.StringVar(&f.event, "event", "", "those of a WebhookEvent")
	flags.StringVar(&f.reason, "reason", "", "those with a reason, such as Retrying, RetriesExhausted or EgressDenied; -o wide shows it")
	flags.StringVar(&f.since, "since", "", "those of events since a time, or within a duration until now: 10m, 7d, 2026-11-29, 2026-11-29T09:00:00Z")
	flags.StringVar(&f.until, "until", "", "those of events until a time, or until so long ago")
	flags.StringVarP(&f.selector, "selector", "l", "", "those whose labels match, as with kubectl")
	_ = cmd.RegisterFlagCompletionFunc("result", cobra.FixedCompletions([]string{
		string(v1alpha1.DeliveryWaiting), string(v1alpha1.DeliverySucceeded), string(v1alpha1.DeliveryFailed),
	}, cobra.ShellCompDirectiveNoFileComp))
	_ = cmd.RegisterFlagCompletionFunc("event", func(c *cobra.Command, _ []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
		return p.namesOf(c, "WebhookEvent")
	})
}

// any tells whether a flag is set that selects.
func (f *filters) any() bool {
	return f.failed || f.result != "" || len(f.types) > 0 || len(f.codes) > 0 || f.event != "" || f.reason != "" ||
		f.since != "" || f.until != "" || f.selector != ""
}

// query says what is asked of the API server, and what is left to be looked at here.
func (f *filters) query(namespace, webhook string, now time.Time) (rowQuery, error) {
	q := rowQuery{namespace: namespace, include: metav1.IncludeNone}
	if namespace == "" {
		q.include = metav1.IncludeMetadata
	}
	result, err := f.wantedResult()
	if err != nil {
		return q, err
	}
	byLabel, err := labels.Parse(f.selector)
	if err != nil {
		return q, usagef("--selector %q: %w", f.selector, err)
	}
	if webhook, err = nameOf(webhook, kindWebhook); err != nil {
		return q, err
	}
	if webhook != "" {
		requirement, err := labels.NewRequirement(v1alpha1.LabelWebhook, selection.Equals, []string{webhook})
		if err != nil {
			return q, usagef("%q is no name of a Webhook: %w", webhook, err)
		}
		byLabel = byLabel.Add(*requirement)
	}
	family := slices.ContainsFunc(f.types, func(t string) bool { return strings.Contains(t, "*") })
	if len(f.types) > 0 && !family {
		requirement, err := labels.NewRequirement(v1alpha1.LabelEventType, selection.In, spellings(f.types))
		if err != nil {
			return q, usagef("--type: %w", err)
		}
		byLabel = byLabel.Add(*requirement)
	}
	q.labels = byLabel.String()
	byField := fields.Set{}
	if result != "" {
		byField["status.result"] = result
	}
	if f.event != "" {
		if byField["spec.eventRef.name"], err = nameOf(f.event, kindEvent); err != nil {
			return q, err
		}
	}
	q.fields = byField.String()

	var tests []func(*deliveryRow) bool
	if family {
		tests = append(tests, func(row *deliveryRow) bool { return followsAny(f.types, row.cells[columnType]) })
	}
	for _, code := range f.codes {
		if !codePattern.MatchString(code) {
			return q, usagef("--code %q is not a status code such as 404, a class such as 5xx, or none", code)
		}
	}
	if len(f.codes) > 0 {
		tests = append(tests, func(row *deliveryRow) bool {
			return slices.ContainsFunc(f.codes, func(code string) bool { return codeIs(row, code) })
		})
	}
	if f.reason != "" {
		tests = append(tests, func(row *deliveryRow) bool { return strings.EqualFold(row.cells[columnReason], f.reason) })
	}
	times, err := f.times(now)
	if err != nil {
		return q, err
	}
	tests = append(tests, times...)
	q.matches = func(row *deliveryRow) bool {
		return !slices.ContainsFunc(tests, func(matches func(*deliveryRow) bool) bool { return !matches(row) })
	}
	return q, nil
}

// wantedResult is the result that is asked for; empty for any.
func (f *filters) wantedResult() (string, error) {
	if f.failed && f.result != "" {
		return "", usagef("--failed and --result exclude each other")
	}
	if f.failed {
		return string(v1alpha1.DeliveryFailed), nil
	}
	for _, known := range []v1alpha1.DeliveryResult{v1alpha1.DeliveryWaiting, v1alpha1.DeliverySucceeded, v1alpha1.DeliveryFailed} {
		if strings.EqualFold(f.result, string(known)) {
			return string(known), nil
		}
	}
	if f.result != "" {
		return "", oneOf("result", f.result, "Waiting", "Succeeded", "Failed")
	}
	return "", nil
}

// times are the tests of --since and --until. A name has whole seconds.
func (f *filters) times(now time.Time) (tests []func(*deliveryRow) bool, _ error) {
	if f.since != "" {
		since, err := moment("since", f.since, now)
		if err != nil {
			return nil, err
		}
		since = since.Truncate(time.Second)
		tests = append(tests, func(row *deliveryRow) bool { return !row.time.Before(since) })
	}
	if f.until != "" {
		until, err := moment("until", f.until, now)
		if err != nil {
			return nil, err
		}
		tests = append(tests, func(row *deliveryRow) bool { return !row.time.After(until) })
	}
	return tests, nil
}

var codePattern = regexp.MustCompile(`^([1-9]([0-9][0-9]|xx)|none)$`)

// codeIs tells whether the last answer had a status code, or one of its class.
func codeIs(row *deliveryRow, code string) bool {
	got := row.cells[columnCode]
	if code == "none" {
		return got == "" || got == "0"
	}
	class, isClass := strings.CutSuffix(code, "xx")
	return got == code || isClass && len(got) == len(code) && strings.HasPrefix(got, class)
}

// followsAny tells whether a type of event is one of those, or of their families: what a
// Webhook with these triggers would follow.
func followsAny(types []string, eventType string) bool {
	w := &v1alpha1.Webhook{}
	for _, t := range types {
		w.Spec.Triggers = append(w.Spec.Triggers, v1alpha1.Trigger(t))
	}
	_, ok := matching.Subject{EventType: eventType}.Match(w)
	return ok
}

// noteTypes tells of event types that nothing is of, as far as this version knows: they are
// misspelt, or newer than it is.
func (p *plugin) noteTypes(flag string, types []string) {
	for _, t := range types {
		known := t == v1alpha1.EventTypeTest || slices.ContainsFunc(eventTypes, func(e string) bool {
			return t == e || !strings.HasSuffix(e, "*") && followsAny([]string{t}, e)
		})
		if !known {
			fmt.Fprintf(p.ErrOut, "Note: --%s %s is no event type that this version knows; kubectl explain webhook.spec.triggers lists all.\n", flag, oneLine(t))
		}
	}
}

// spellings returns types in every spelling that means the same: an event keeps its own.
func spellings(types []string) []string {
	var all []string
	for _, t := range types {
		kind, action, _ := strings.Cut(t, "_")
		kind = strings.TrimSuffix(kind, "s")
		candidates := []string{
			t, kind + "_" + action, kind + "s_" + action, "clsuters_restarted", "cluster_restarted", "clusters_restarted",
		}
		for _, candidate := range candidates {
			if followsAny([]string{t}, candidate) && !slices.Contains(all, candidate) {
				all = append(all, candidate)
			}
		}
	}
	return all
}

var days = regexp.MustCompile(`^([0-9]{1,4})(d|w)(.*)$`)

// moment reads the time of a flag: a time or a day, or how long ago it is.
func moment(flag, value string, now time.Time) (time.Time, error) {
	if at, err := time.Parse(time.RFC3339, value); err == nil {
		return at, nil
	}
	for _, layout := range []string{time.DateOnly, "2006-01-02T15:04", "2006-01-02T15:04:05", "2006-01-02 15:04", time.DateTime} {
		if at, err := time.ParseInLocation(layout, value, time.Local); err == nil {
			return at, nil
		}
	}
	if ago, err := parseDuration(value); err == nil && ago >= 0 {
		return now.Add(-ago), nil
	}
	return time.Time{}, usagef("--%s %q is neither a time, such as 2026-11-29T09:00:00Z, nor a duration, such as 10m, 36h or 7d", flag, value)
}

// parseDuration also takes days and weeks, as in 7d and 1d12h.
func parseDuration(value string) (time.Duration, error) {
	var sum time.Duration
	for m := days.FindStringSubmatch(value); m != nil; m = days.FindStringSubmatch(value) {
		n, unit := 0, 24*time.Hour
		if _, err := fmt.Sscan(m[1], &n); err != nil {
			return 0, err
		}
		if m[2] == "w" {
			unit *= 7
		}
		if sum += time.Duration(n) * unit; m[3] == "" {
			return sum, nil
		}
		value = m[3]
	}
	rest, err := time.ParseDuration(value)
	return sum + rest, err
}

// lasting is a duration as kubectl writes it.
func lasting(d time.Duration) string { return duration.HumanDuration(d) }
