package cli

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/delivery"
	"github.com/horizoncd/webhook-operator/internal/follow"
	"github.com/horizoncd/webhook-operator/internal/table"
)

// Endings that are no reasons of the API.
const (
	endingDelivered = "Delivered"
	endingRefused   = "Refused"
	endingRemoved   = "Removed"
	endingReplaced  = "AskedAnew"
	endingFailed    = "Failed"
)

// ending is how a resend ended.
type ending struct{ reason, message string }

// resendWait waits for deliveries that were asked to be sent again.
type resendWait struct {
	*plugin
	namespace string
	// labels and fields keep from the watch what is not waited for.
	labels, fields string
	hash           string
	value          string
	waiting        map[string]*target
	endings        map[string]ending
	shown          *progress
}

// errEnded ends a watch that has seen all that it waits for.
var errEnded = errors.New("all has ended")

// await waits until every target has ended, and sums up.
func (r *resend) await(ctx context.Context) error {
	t, err := r.table()
	if err != nil {
		return err
	}
	w := &resendWait{
		plugin: r.plugin, hash: delivery.ResendHash(r.value), value: r.value,
		waiting: map[string]*target{}, endings: map[string]ending{}, shown: r.progress("Delivering", len(r.targets)),
	}
	for _, t := range r.targets {
		w.namespace = t.namespace
		w.waiting[t.name] = t
	}
	switch {
	case len(r.targets) == 1:
		w.fields = "metadata.name=" + r.targets[0].name
	case r.webhook != "":
		w.labels = v1alpha1.LabelWebhook + "=" + r.webhook
	}
	bounded, cancel := withTimeout(ctx, r.timeout)
	defer cancel()
	err = w.follower(t).Run(bounded, "")
	w.shown.end()
	switch {
	case errors.Is(err, errEnded) || len(w.waiting) == 0:
	case err != nil:
		return err
	case ctx.Err() != nil:
		fmt.Fprintln(r.ErrOut, "No longer waiting. What was asked for goes on.")
		return errUnmet
	}
	return w.sumUp(ctx)
}

// withTimeout bounds a wait; 0 is as long as it takes.
func withTimeout(ctx context.Context, timeout time.Duration) (context.Context, context.CancelFunc) {
	if timeout <= 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, timeout)
}

func (w *resendWait) query() table.Query {
	return table.Query{Resource: table.Deliveries, Namespace: w.namespace, Labels: w.labels, Fields: w.fields, Metadata: true}
}

func (w *resendWait) follower(t *table.Client) *follow.Follower {
	return &follow.Follower{
		Watch: func(ctx context.Context, version string) (watch.Interface, error) {
			return t.Watch(ctx, w.query(), version)
		},
		Relist: func(ctx context.Context) (string, error) { return w.relist(ctx, t) },
		Each: func(event watch.Event) error {
			rows, err := t.Rows(w.query(), event.Object)
			if err != nil {
				return err
			}
			for _, row := range rows {
				if event.Type == watch.Deleted {
					w.end(row.Name, ending{endingRemoved, "it was removed"})
				} else {
					w.look(row)
				}
			}
			return w.ended()
		},
		Lost: func(why error) {
			w.shown.end()
			fmt.Fprintln(w.ErrOut, contact(why))
		},
	}
}

func (w *resendWait) relist(ctx context.Context, t *table.Client) (string, error) {
	var there map[string]bool
	begin := func() { there = map[string]bool{} }
	version, err := t.Each(ctx, w.query(), begin, func(row *table.Row) {
		if w.waiting[row.Name] != nil {
			there[row.Name] = true
			w.look(row)
		}
	})
	if err != nil {
		return "", err
	}
	for name := range maps.Clone(w.waiting) {
		if !there[name] {
			w.end(name, ending{endingRemoved, "it was removed"})
		}
	}
	if err := w.ended(); err != nil {
		return "", follow.Fatal(err)
	}
	return version, nil
}

func (w *resendWait) ended() error {
	if len(w.waiting) == 0 {
		return errEnded
	}
	return nil
}

func (w *resendWait) end(name string, e ending) {
	if w.waiting[name] == nil {
		return
	}
	delete(w.waiting, name)
	w.endings[name] = e
	w.shown.set(len(w.endings))
}

// look tells from a row whether a resend has ended, and how.
func (w *resendWait) look(row *table.Row) {
	t := w.waiting[row.Name]
	if t == nil {
		return
	}
	if e, ok := endingOf(row, t.attempts, w.value, w.hash); ok {
		w.end(row.Name, e)
	}
}

// endingOf is how the resend of a value ended, if it has: attempts is how many requests had
// been made before it.
func endingOf(row *table.Row, attempts int, value, hash string) (ending, bool) {
	notes := row.Annotations
	switch {
	case notes[v1alpha1.AnnotationResend] != value:
		return ending{endingReplaced, "somebody asked for it anew"}, true
	case notes[v1alpha1.AnnotationResent] != hash:
		return ending{}, false
	case attemptsOf(row) <= attempts && row.Cells[table.ColumnNext] == "" && notes[v1alpha1.AnnotationNextAttempt] == "":
		return ending{endingRefused, "the operator does not send it again"}, true
	case row.Cells[table.ColumnResult] == string(v1alpha1.DeliveryWaiting) || notes[v1alpha1.AnnotationNextAttempt] != "":
		return ending{}, false
	case strings.HasPrefix(row.Cells[table.ColumnCode], "2"):
		return ending{endingDelivered, row.Cells[table.ColumnMessage]}, true
	case row.Cells[table.ColumnResult] == string(v1alpha1.DeliverySucceeded): // delivered before, and not now
		return ending{endingFailed, row.Cells[table.ColumnMessage]}, true
	}
	return ending{row.Cells[table.ColumnReason], row.Cells[table.ColumnMessage]}, true
}

// sumUp says what became of all, and tells whether all were delivered.
func (w *resendWait) sumUp(ctx context.Context) error {
	byReason := map[string][]string{}
	for name, e := range w.endings {
		byReason[e.reason] = append(byReason[e.reason], name)
	}
	delivered := len(byReason[endingDelivered])
	delete(byReason, endingDelivered)
	total := len(w.endings) + len(w.waiting)
	text := fmt.Sprintf("%d of %d delivered", delivered, total)
	if n := len(w.endings) - delivered; n > 0 {
		text += fmt.Sprintf(", %d not", n)
	}
	if n := len(w.waiting); n > 0 {
		text += fmt.Sprintf(", %d not yet", n)
	}
	fmt.Fprintln(w.Out, text+".")
	if delivered == total {
		return nil
	}
	g := &grid{columns: []column{{title: "REASON"}, {title: "DELIVERIES"}, {title: "ONE OF THEM"}, {title: "MESSAGE", flexible: true}}}
	for _, reason := range slices.Sorted(maps.Keys(byReason)) {
		names := byReason[reason]
		slices.Sort(names)
		message := w.endings[names[0]].message
		if reason == endingRefused {
			message = w.refusal(ctx, names[0], message)
		}
		g.add(dash(reason), fmt.Sprint(len(names)), names[0], dash(message))
	}
	if n := len(w.waiting); n > 0 {
		g.add("Waiting", fmt.Sprint(n), slices.Min(slices.Collect(maps.Keys(w.waiting))), "not delivered or given up within the time of --timeout")
	}
	if err := g.print(w.Out, w.width); err != nil {
		return err
	}
	return errUnmet
}

// refusal is what the operator says of a resend that it refused, in an Event of the
// delivery.
func (w *resendWait) refusal(ctx context.Context, name, otherwise string) string {
	c, err := w.client()
	if err != nil {
		return otherwise
	}
	list := &corev1.EventList{}
	err = c.List(ctx, list, client.InNamespace(w.namespace), client.MatchingFields{
		"involvedObject.kind": "WebhookDelivery", "involvedObject.name": name, "reason": "ResendRefused",
	})
	if err != nil || len(list.Items) == 0 {
		return otherwise
	}
	return list.Items[len(list.Items)-1].Message
}
