package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/test/controlplane"
	"github.com/horizoncd/webhook-operator/test/nameserver"
	"github.com/horizoncd/webhook-operator/test/operator"
	"github.com/horizoncd/webhook-operator/test/program"
)

const (
	logName = "hostile-operator.log"
	// patience is far beyond what a step takes, on a busy machine too.
	patience = time.Minute
	interval = 100 * time.Millisecond
	// limit is what all may take: a guard against a run that never ends.
	limit = 10 * time.Minute
)

// group is a kind of inputs.
type group struct {
	name string
	// begin, where it is not nil, begins what takes its time before the first group
	// is played.
	begin func(context.Context, *session) error
	play  func(context.Context, *session) error
	// ownLine says that it prints a summary of its own.
	ownLine bool
}

var groups = []group{
	{name: "answers", play: playAnswers},
	{name: "urls", play: playURLs},
	{name: "secrets", play: playSecrets},
	{name: "annotations", play: playAnnotations},
	{name: "echo", play: playEcho},
	{name: "rooms", play: playRooms},
	{name: "forged", play: playForged},
	{name: "fields", play: playFields},
	{name: "expressions", play: playExpressions},
	{name: "floods", play: playFloods},
	{name: "rotation", begin: beginRotation, play: playRotation},
	{name: "addresses", play: playAddresses, ownLine: true},
}

// session is a run of the program.
type session struct {
	options
	*program.Console
	admin   *rest.Config
	client  client.Client
	op      *operator.Operator
	rotated *rotation
	group   string
	tried   int // inputs of the group
	failed  int
	passed  int // of all groups
	failing int
}

func run(ctx context.Context, out io.Writer, o options) (err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("not over after %v", limit))
	defer cancel()
	t := &session{options: o, Console: program.NewConsole(out)}
	cp, err := controlplane.Start(ctx, controlplane.Options{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, cp.Stop()) }()
	install, err := operator.Install(ctx, cp, o.Root)
	if err != nil {
		return err
	}
	t.admin, t.client = cp.Config(), install.Client
	names, err := nameserver.Start(domains())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, names.Close()) }()
	if err := os.MkdirAll(o.Out, 0o755); err != nil {
		return err
	}
	log := filepath.Join(o.Out, logName)
	if err := os.Remove(log); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	t.op, err = operator.Start(ctx, operator.Options{
		Binary: o.Operator, Kubeconfig: install.Kubeconfig, Log: log, Args: o.Args(), EgressAllow: allowed,
		Env: []string{"HOSTILE_NAMESERVER=" + names.Addr()},
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, t.op.Kill()) }()
	if err := t.play(ctx, slices.DeleteFunc(slices.Clone(groups), func(g group) bool { return !o.wants(g) })); err != nil {
		return fmt.Errorf("%w; the operator's log is %s", err, log)
	}
	if t.failing > 0 {
		return program.ErrFailed
	}
	return nil
}

// play plays groups and sums up.
func (t *session) play(ctx context.Context, wanted []group) error {
	for _, g := range wanted {
		if t.group = g.name; g.begin == nil {
			continue
		}
		if err := g.begin(ctx, t); err != nil {
			return fmt.Errorf("beginning %s: %w", g.name, err)
		}
	}
	inputs, stood := 0, 0
	for _, g := range wanted {
		t.group, t.tried, t.failed = g.name, 0, 0
		if err := g.play(ctx, t); err != nil {
			return fmt.Errorf("%s: %w", g.name, err)
		}
		if state := t.op.State(); state != "" {
			return fmt.Errorf("%s: the operator has ended: %s", g.name, state)
		}
		t.passed, t.failing = t.passed+t.tried-t.failed, t.failing+t.failed
		if !g.ownLine {
			t.Say("%s: %d tried, %d stood", g.name, t.tried, t.tried-t.failed)
			inputs, stood = inputs+t.tried, stood+t.tried-t.failed
		}
	}
	fmt.Fprintf(t.Console, "\ninputs: %d tried, %d stood\n%d passed, %d failed\n", inputs, stood, t.passed, t.failing)
	return nil
}

// judge counts an input, and prints what was not as it should be.
func (t *session) judge(name string, problems []string) {
	t.tried++
	if len(problems) == 0 {
		return
	}
	t.failed++
	for _, problem := range problems {
		t.Say("%s: NOT SO: %s: %.1000s", t.group, name, problem)
	}
}

// namespace makes the namespace of a group, or of a part of it.
func (t *session) namespace(ctx context.Context, part ...string) (string, error) {
	name := strings.Join(append([]string{"hostile", t.group}, part...), "-")
	return name, t.client.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}})
}

// webhook is one that is attempted once.
func webhook(namespace, name, url string) *v1alpha1.Webhook {
	return &v1alpha1.Webhook{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec: v1alpha1.WebhookSpec{
			URL: url, Triggers: []v1alpha1.Trigger{v1alpha1.TriggerAny}, TimeoutSeconds: 10,
			Retry: v1alpha1.RetryPolicy{Limit: new(int32(0)), MinBackoffSeconds: 1, MaxBackoffSeconds: 2},
		},
	}
}

func (t *session) event(ctx context.Context, namespace, name string) error {
	return t.client.Create(ctx, &v1alpha1.WebhookEvent{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec:       v1alpha1.WebhookEventSpec{EventType: "clusters_deployed"},
	})
}

// settled waits until an event has so many deliveries and none of them is attempted
// again, and returns them by Webhook.
func (t *session) settled(ctx context.Context, namespace, event string, n int) (map[string]*v1alpha1.WebhookDelivery, error) {
	waiting, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var found map[string]*v1alpha1.WebhookDelivery
	err := wait.PollUntilContextCancel(waiting, interval, true, func(context.Context) (bool, error) {
		var list v1alpha1.WebhookDeliveryList
		if err := t.client.List(ctx, &list, client.InNamespace(namespace)); err != nil {
			return false, err
		}
		found = map[string]*v1alpha1.WebhookDelivery{}
		for i := range list.Items {
			d := &list.Items[i]
			if d.Spec.EventRef.Name != event || d.Status.Result == v1alpha1.DeliveryWaiting {
				continue
			}
			if found[d.Spec.WebhookRef.Name] != nil {
				return false, fmt.Errorf("two records of %s for %s", event, d.Spec.WebhookRef.Name)
			}
			found[d.Spec.WebhookRef.Name] = d
		}
		return len(found) >= n, nil
	})
	if err != nil && (waiting.Err() == nil || ctx.Err() != nil) {
		return nil, err
	}
	return found, nil // which of them are missing is for the caller to tell
}

// unsettled says how far the delivery of an event to a Webhook has come that settled did
// not return, and what the operator knows of the Webhook.
func (t *session) unsettled(ctx context.Context, namespace, event, webhook string) string {
	var list v1alpha1.WebhookDeliveryList
	w := &v1alpha1.Webhook{}
	err := errors.Join(
		t.client.List(ctx, &list, client.InNamespace(namespace), client.MatchingLabels{v1alpha1.LabelWebhook: webhook}),
		t.client.Get(ctx, client.ObjectKey{Namespace: namespace, Name: webhook}, w))
	if err != nil {
		return "no record: " + err.Error()
	}
	for i := range list.Items {
		if d := &list.Items[i]; d.Spec.EventRef.Name == event {
			return fmt.Sprintf("the record is not at its end: %+v; the webhook: %+v", d.Status, w.Status)
		}
	}
	return fmt.Sprintf("no record; the webhook: %+v", w.Status)
}
