package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/change"
	"github.com/horizoncd/webhook-operator/internal/insight"
)

// replayPatience is after how long --wait says whether an operator works that has not taken
// the replay.
const replayPatience = 15 * time.Second

// replay is the command replay.
type replay struct {
	*plugin
	since        string
	wait, cancel bool
	timeout      time.Duration
}

func newReplay(p *plugin) *cobra.Command {
	r := &replay{plugin: p}
	cmd := &cobra.Command{
		Use:     "replay WEBHOOK [--since TIME | --cancel]",
		Short:   "Send a webhook the events that it missed",
		GroupID: groupTry,
		Long: `Send a webhook the events since a time that it follows and has no delivery for: those from before it was created, or
while it was Disabled, as far as they still exist. The oldest come first. The operator does it; a crash repeats nothing.

--wait shows how far it is, and ends when all is looked at and sent; whether the receiver accepted it, kubectl horizon logs
shows. Ctrl-C ends only the watching: --cancel stops the replay. Without flags, the command says how far a replay is.`,
		Example: `  # What happened within the last two hours
  kubectl horizon replay smoke-tests --since 2h --wait

  # How far is it?
  kubectl horizon replay smoke-tests

  # Send no more of it
  kubectl horizon replay smoke-tests --cancel`,
		Args:              one("a webhook"),
		ValidArgsFunction: p.completeWebhooks,
		RunE: func(cmd *cobra.Command, args []string) error {
			for _, flag := range []string{"since", "wait"} {
				if err := exclusive(cmd, flag, "cancel"); err != nil {
					return err
				}
			}
			return r.run(cmd.Context(), args[0])
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&r.since, "since", "", "events since a time, or within a duration until now: 2h, 7d, 2026-11-29T09:00:00Z")
	flags.BoolVar(&r.wait, "wait", false, "show how far it is, until it is complete")
	flags.BoolVar(&r.cancel, "cancel", false, "stop a replay: what was not sent yet is not")
	flags.DurationVar(&r.timeout, "timeout", 0, "how long --wait waits; 0: as long as it takes")
	return cmd
}

func (r *replay) run(ctx context.Context, webhook string) error {
	namespace, err := r.namespace()
	if err != nil {
		return err
	}
	c, err := r.client()
	if err != nil {
		return err
	}
	key := client.ObjectKey{Namespace: namespace, Name: webhook}
	w := &v1alpha1.Webhook{}
	if err := c.Get(ctx, key, w); err != nil {
		return absent("reading", kindWebhook, key, err)
	}
	value := w.Annotations[v1alpha1.AnnotationReplaySince]
	switch {
	case r.cancel:
		return r.stop(ctx, w, value)
	case r.since != "":
		if value, err = r.begin(ctx, w); err != nil {
			return err
		}
	}
	if r.wait {
		if value == "" {
			return usagef("%s has no replay to wait for; --since begins one", webhook)
		}
		return r.watch(ctx, key, value)
	}
	if r.since == "" {
		r.show(w)
	}
	return nil
}

// begin asks for a replay, and returns the value that does.
func (r *replay) begin(ctx context.Context, w *v1alpha1.Webhook) (string, error) {
	since, err := moment("since", r.since, r.now())
	if err != nil {
		return "", err
	}
	c, err := r.client()
	if err != nil {
		return "", err
	}
	value, err := change.Replay(ctx, c, w, since, r.now())
	if future, ok := errors.AsType[*change.FutureError](err); ok {
		return "", usagef("--%w", future)
	}
	if err != nil {
		return "", absent("changing", kindWebhook, client.ObjectKeyFromObject(w), err)
	}
	fmt.Fprintf(r.Out, "A replay of %s since %s is asked for. `kubectl horizon replay %s -n %s` says how far it is, --cancel stops it.\n",
		oneLine(w.Name), value, oneLine(w.Name), oneLine(w.Namespace))
	return value, nil
}

// stop takes the annotation away.
func (r *replay) stop(ctx context.Context, w *v1alpha1.Webhook, value string) error {
	last := w.Status.Replay
	switch {
	case value == "":
		fmt.Fprintf(r.Out, "%s has no replay.\n", oneLine(w.Name))
		return nil
	case insight.ReplayIs(last, value) && !last.CompletionTime.IsZero():
		fmt.Fprintf(r.Out, "There is nothing to stop. %s\n", oneLine(insight.ReplayOf(last, r.now())))
		return nil
	}
	c, err := r.client()
	if err != nil {
		return err
	}
	key := client.ObjectKeyFromObject(w)
	if err := change.StopReplay(ctx, c, key); err != nil {
		return absent("changing", kindWebhook, key, err)
	}
	fmt.Fprintf(r.Out, "The replay of %s since %s is stopped. Deliveries that are stored already are sent.\n", oneLine(w.Name), oneLine(value))
	return nil
}

// show says how far a replay is.
func (r *replay) show(w *v1alpha1.Webhook) {
	if w.Status.Replay == nil {
		fmt.Fprintf(r.Out, "%s has had no replay; --since begins one.\n", oneLine(w.Name))
		return
	}
	fmt.Fprintln(r.Out, oneLine(insight.ReplayOf(w.Status.Replay, r.now())))
}

// watch shows the progress of a replay until it has ended.
func (r *replay) watch(ctx context.Context, key client.ObjectKey, value string) error {
	bounded, cancel := withTimeout(ctx, r.timeout)
	defer cancel()
	w := &replayWatch{replay: r, shown: r.progress("Replaying", 0), value: value}
	if err := w.begun(bounded, key); err != nil {
		return err
	}
	ended, err := r.await(bounded, key, &v1alpha1.WebhookList{}, func(object runtime.Object) (bool, error) {
		return w.look(object.(*v1alpha1.Webhook))
	})
	w.shown.end()
	switch {
	case err != nil:
		return err
	case !ended:
		what := "The time of --timeout is over"
		if ctx.Err() != nil {
			what = "No longer watching"
		}
		fmt.Fprintf(r.ErrOut, "%s. The replay goes on; `kubectl horizon replay %s --cancel -n %s` stops it.\n", what, oneLine(key.Name), oneLine(key.Namespace))
		return errUnmet
	}
	fmt.Fprintln(r.Out, oneLine(insight.ReplayOf(w.latest, r.now())))
	if w.latest.State != v1alpha1.ReplayCompleted {
		return errUnmet
	}
	return nil
}

// replayWatch is what was seen of a replay.
type replayWatch struct {
	*replay
	shown  *progress
	value  string
	latest *v1alpha1.ReplayStatus
	said   string
}

// look takes the state of a replay from its Webhook, and tells whether it has ended.
func (r *replayWatch) look(w *v1alpha1.Webhook) (done bool, _ error) {
	s := w.Status.Replay
	now := w.Annotations[v1alpha1.AnnotationReplaySince]
	if !insight.ReplayIs(s, r.value) {
		if now != r.value {
			return false, fmt.Errorf("the replay was replaced or stopped before it began: the annotation is %q now", now)
		}
		return false, nil
	}
	r.latest = s
	if !s.CompletionTime.IsZero() {
		return true, nil
	}
	if s.Message != "" && s.Message != r.said {
		r.said = s.Message
		r.shown.end()
		fmt.Fprintln(r.ErrOut, oneLine(s.Message))
	}
	r.shown.total = max(r.shown.total, int(s.Remaining))
	r.shown.set(r.shown.total - int(s.Remaining))
	return false, nil
}

// begun waits until an operator has taken the replay. Where that takes long, it says whether
// one works, and that is all.
func (r *replayWatch) begun(ctx context.Context, key client.ObjectKey) error {
	brief, cancel := context.WithTimeout(ctx, replayPatience)
	defer cancel()
	taken, err := r.await(brief, key, &v1alpha1.WebhookList{}, func(object runtime.Object) (bool, error) {
		_, err := r.look(object.(*v1alpha1.Webhook))
		return r.latest != nil, err
	})
	if err != nil || taken || ctx.Err() != nil {
		return err
	}
	c, err := r.client()
	if err != nil {
		return err
	}
	w := &v1alpha1.Webhook{}
	if err := c.Get(ctx, key, w); err != nil {
		return err
	}
	fmt.Fprintf(r.ErrOut, "No operator has taken the replay for %s. %s\n", lasting(replayPatience), r.operatorWorks(ctx, w))
	return nil
}
