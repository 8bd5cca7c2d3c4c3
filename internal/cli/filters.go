package cli

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/util/duration"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/matching"
	"github.com/horizoncd/webhook-operator/internal/table"
)

// filters are the flags by which deliveries are selected.
type filters struct {
	table.Filters
	failed bool
}

// addTo adds the flags to a command.
func (f *filters) addTo(cmd *cobra.Command, p *plugin) {
	flags := cmd.Flags()
	flags.BoolVar(&f.failed, "failed", false, "those that failed; short for --result Failed")
	flags.StringVar(&f.Result, "result", "", "those with a result: Waiting, Succeeded or Failed")
	flags.StringSliceVar(&f.Types, "type", nil, "those of an event type, such as clusters_deployed, or of a family, such as clusters_*, in either spelling")
	flags.StringSliceVar(&f.Codes, "code", nil, "those whose last answer had a status code, such as 404 or 5xx; none: without an answer")
	flags.StringVar(&f.Event, "event", "", "those of a WebhookEvent")
	flags.StringVar(&f.Reason, "reason", "", "those with a reason, such as Retrying, RetriesExhausted or EgressDenied; -o wide shows it")
	flags.StringVar(&f.Since, "since", "", "those of events since a time, or within a duration until now: 10m, 7d, 2026-11-29, 2026-11-29T09:00:00Z")
	flags.StringVar(&f.Until, "until", "", "those of events until a time, or until so long ago")
	flags.StringVarP(&f.Selector, "selector", "l", "", "those whose labels match, as with kubectl")
	_ = cmd.RegisterFlagCompletionFunc("result", cobra.FixedCompletions([]string{
		string(v1alpha1.DeliveryWaiting), string(v1alpha1.DeliverySucceeded), string(v1alpha1.DeliveryFailed),
	}, cobra.ShellCompDirectiveNoFileComp))
	_ = cmd.RegisterFlagCompletionFunc("event", func(c *cobra.Command, _ []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
		return p.namesOf(c, "WebhookEvent")
	})
}

// any tells whether a flag is set that selects.
func (f *filters) any() bool { return f.failed || f.Any() }

// query says what is asked of the API server, and what is left to be looked at here.
func (f *filters) query(namespace, webhook string, now time.Time) (q table.Query, err error) {
	wanted := f.Filters
	if f.failed && f.Result != "" {
		return q, usagef("--failed and --result exclude each other")
	}
	if f.failed {
		wanted.Result = string(v1alpha1.DeliveryFailed)
	}
	if webhook, err = nameOf(webhook, kindWebhook); err != nil {
		return q, err
	}
	if wanted.Event, err = nameOf(f.Event, kindEvent); err != nil {
		return q, err
	}
	q, err = wanted.Query(namespace, webhook, now)
	refused, ok := errors.AsType[*table.FilterError](err)
	switch {
	case ok && refused.Filter == "webhook": // an argument
		err = usageError{refused.Err}
	case ok:
		err = usagef("--%w", refused)
	}
	return q, err
}

// noteTypes tells of event types that nothing is of, as far as this version knows: they are
// misspelt, or newer than it is.
func (p *plugin) noteTypes(flag string, types []string) {
	for _, t := range types {
		known := t == v1alpha1.EventTypeTest || slices.ContainsFunc(matching.Triggers(), func(e v1alpha1.Trigger) bool {
			return t == string(e) || !strings.HasSuffix(string(e), "*") && matching.Follows(v1alpha1.Trigger(t), string(e))
		})
		if !known {
			fmt.Fprintf(p.ErrOut, "Note: --%s %s is no event type that this version knows; kubectl explain webhook.spec.triggers lists all.\n", flag, oneLine(t))
		}
	}
}

// moment reads the time of a flag.
func moment(flag, value string, now time.Time) (time.Time, error) {
	at, err := table.Moment(value, now)
	if err != nil {
		return at, usagef("--%s %w", flag, err)
	}
	return at, nil
}

// lasting is a duration as kubectl writes it.
func lasting(d time.Duration) string { return duration.HumanDuration(d) }
