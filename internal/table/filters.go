package table

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/matching"
)

// Filters select deliveries, as people write them in flags and in the query of a page. An
// empty one leaves none out.
type Filters struct {
	// Result is Waiting, Succeeded or Failed, in upper or lower case.
	Result string
	// Types are types of events or families, such as clusters_*, in either spelling; one of
	// them is enough.
	Types []string
	// Codes are status codes of the last answer, such as 404, classes, such as 5xx, or none;
	// one of them is enough.
	Codes []string
	// Event is the name of a WebhookEvent.
	Event string
	// Reason is that of the condition Delivered, in upper or lower case.
	Reason string
	// Since and Until bound the time of the event; see Moment.
	Since, Until string
	// Selector is one of labels, as kubectl takes it.
	Selector string
}

// FilterError says what is wrong with a filter.
type FilterError struct {
	// Filter is the name of the filter: that of the field, in lower case and singular. It is
	// webhook for the name of the Webhook.
	Filter string
	Err    error
}

func (e *FilterError) Error() string { return e.Filter + " " + e.Err.Error() }

func (e *FilterError) Unwrap() error { return e.Err }

// refuse returns a FilterError.
func refuse(filter, format string, args ...any) error {
	return &FilterError{filter, fmt.Errorf(format, args...)}
}

// Any tells whether there is a filter.
func (f Filters) Any() bool {
	return f.Result != "" || len(f.Types) > 0 || len(f.Codes) > 0 || f.Event != "" || f.Reason != "" ||
		f.Since != "" || f.Until != "" || f.Selector != ""
}

// Query says what is asked of the API server, and what is left to be looked at here. Without
// a namespace, the deliveries of all are meant, and without a webhook those of every one. Its
// errors are FilterErrors.
func (f Filters) Query(namespace, webhook string, now time.Time) (Query, error) {
	q := Query{Resource: Deliveries, Namespace: namespace}
	result, err := f.result()
	if err != nil {
		return q, err
	}
	byField := fields.Set{}
	if result != "" {
		byField["status.result"] = result
	}
	if f.Event != "" {
		byField["spec.eventRef.name"] = f.Event
	}
	q.Fields = byField.String()
	if q.Labels, err = f.labels(webhook); err != nil {
		return q, err
	}
	tests, err := f.tests(now)
	if err != nil {
		return q, err
	}
	q.Matches = func(row *Row) bool {
		return !slices.ContainsFunc(tests, func(matches func(*Row) bool) bool { return !matches(row) })
	}
	return q, nil
}

// result is the result that is asked for; empty for any.
func (f Filters) result() (string, error) {
	for _, known := range []v1alpha1.DeliveryResult{v1alpha1.DeliveryWaiting, v1alpha1.DeliverySucceeded, v1alpha1.DeliveryFailed} {
		if strings.EqualFold(f.Result, string(known)) {
			return string(known), nil
		}
	}
	if f.Result != "" {
		return "", refuse("result", "%q is not one of Waiting, Succeeded, Failed", f.Result)
	}
	return "", nil
}

// family tells whether Types has a family, which the API server cannot select by.
func (f Filters) family() bool {
	return slices.ContainsFunc(f.Types, func(t string) bool { return strings.Contains(t, "*") })
}

// labels is the selector of labels.
func (f Filters) labels(webhook string) (string, error) {
	selector, err := labels.Parse(f.Selector)
	if err != nil {
		return "", refuse("selector", "%q: %w", f.Selector, err)
	}
	if webhook != "" {
		requirement, err := labels.NewRequirement(v1alpha1.LabelWebhook, selection.Equals, []string{webhook})
		if err != nil {
			return "", refuse("webhook", "%q is no name of a Webhook: %w", webhook, err)
		}
		selector = selector.Add(*requirement)
	}
	if len(f.Types) > 0 && !f.family() {
		requirement, err := labels.NewRequirement(v1alpha1.LabelEventType, selection.In, spellings(f.Types))
		if err != nil {
			return "", refuse("type", "%s: %w", strings.Join(f.Types, ","), err)
		}
		selector = selector.Add(*requirement)
	}
	return selector.String(), nil
}

// tests are what the API server cannot select by.
func (f Filters) tests(now time.Time) (tests []func(*Row) bool, _ error) {
	if f.family() {
		tests = append(tests, func(row *Row) bool { return followsAny(f.Types, row.Cells[ColumnType]) })
	}
	for _, code := range f.Codes {
		if !codePattern.MatchString(code) {
			return nil, refuse("code", "%q is not a status code such as 404, a class such as 5xx, or none", code)
		}
	}
	if len(f.Codes) > 0 {
		tests = append(tests, func(row *Row) bool {
			return slices.ContainsFunc(f.Codes, func(code string) bool { return codeIs(row, code) })
		})
	}
	if f.Reason != "" {
		tests = append(tests, func(row *Row) bool { return strings.EqualFold(row.Cells[ColumnReason], f.Reason) })
	}
	if f.Since != "" {
		since, err := Moment(f.Since, now)
		if err != nil {
			return nil, &FilterError{"since", err}
		}
		since = since.Truncate(time.Second) // a name has whole seconds
		tests = append(tests, func(row *Row) bool { return !row.Time.Before(since) })
	}
	if f.Until != "" {
		until, err := Moment(f.Until, now)
		if err != nil {
			return nil, &FilterError{"until", err}
		}
		tests = append(tests, func(row *Row) bool { return !row.Time.After(until) })
	}
	return tests, nil
}

var codePattern = regexp.MustCompile(`^([1-9]([0-9][0-9]|xx)|none)$`)

// codeIs tells whether the last answer had a status code, or one of its class.
func codeIs(row *Row, code string) bool {
	got := row.Cells[ColumnCode]
	if code == "none" {
		return got == "" || got == "0"
	}
	class, isClass := strings.CutSuffix(code, "xx")
	return got == code || isClass && len(got) == len(code) && strings.HasPrefix(got, class)
}

// followsAny tells whether a type of event is one of those, or of their families.
func followsAny(types []string, eventType string) bool {
	return slices.ContainsFunc(types, func(t string) bool { return matching.Follows(v1alpha1.Trigger(t), eventType) })
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

// Moment reads a time as people write it: a time or a day, in the local zone unless it says
// one, or how long ago it is, as in 10m, 36h, 7d or 1d12h.
func Moment(value string, now time.Time) (time.Time, error) {
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
	return time.Time{}, fmt.Errorf("%q is neither a time, such as 2026-11-29T09:00:00Z, nor a duration, such as 10m, 36h or 7d", value)
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
