package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
)

// beyondTolerance is how long after an event a Webhook is created that is not to
// get it, whole seconds and the tolerance of two included.
const beyondTolerance = 4 * time.Second

// widening is a way in which a Webhook comes to follow more events than before.
type widening struct {
	name string
	// narrow makes the Webhook follow less.
	narrow func(*v1alpha1.WebhookSpec)
	// anew: the Webhook is deleted and created again under its name.
	anew bool
}

var widenings = []widening{
	{name: "a trigger", narrow: func(s *v1alpha1.WebhookSpec) { s.Triggers = []v1alpha1.Trigger{"clusters_freed"} }},
	{name: "a scope", narrow: func(s *v1alpha1.WebhookSpec) { s.Scope += "/elsewhere" }},
	{name: "enabled", narrow: func(s *v1alpha1.WebhookSpec) { s.State = v1alpha1.WebhookDisabled }},
	{name: "created again", narrow: func(s *v1alpha1.WebhookSpec) { s.Scope += "/elsewhere" }, anew: true},
}

// edit is a Webhook that is about to be widened, and three events: one that it
// follows all along, one from before the edit that it never gets, and one from
// after the edit that it must get.
type edit struct {
	widening
	number int64
}

func (e edit) webhook() string { return fmt.Sprintf("edit-%d", e.number) }
func (e edit) always() int64   { return 3*e.number - 2 }
func (e edit) before() int64   { return 3*e.number - 1 }
func (e edit) after() int64    { return 3 * e.number }

// editing is a load of edits.
type editing struct {
	*load
	made int64
}

func (t *trial) newEditing(ctx context.Context) (*editing, error) {
	l, err := t.newLoad(ctx, loadOptions{})
	return &editing{load: l}, err
}

// plan names the next edits, of all kinds in turn.
func (g *editing) plan(n int, of ...widening) []edit {
	all := make([]edit, n)
	for i := range all {
		g.made++
		all[i] = edit{of[i%len(of)], g.made}
	}
	return all
}

// wide is the Webhook of an edit as it is after it.
func (g *editing) wide(e edit) *v1alpha1.Webhook {
	w := g.webhook(e.webhook())
	w.Spec.Scope = fmt.Sprintf("/edits/%d", e.number)
	w.Spec.State = v1alpha1.WebhookEnabled
	return w
}

func (g *editing) narrow(e edit) *v1alpha1.Webhook {
	w := g.wide(e)
	e.narrow(&w.Spec)
	return w
}

// about is an event that only the Webhook of an edit may get.
func (g *editing) about(e edit, number int64) *v1alpha1.WebhookEvent {
	event := g.event(number)
	event.Spec.ResourcePath = fmt.Sprintf("/edits/%d/web", e.number)
	behind(event, number)
	return event
}

// behind gives every other event the time of a machine whose clock is 5 s behind.
func behind(e *v1alpha1.WebhookEvent, number int64) {
	if number%2 == 0 {
		e.Spec.Time.Time = time.Now().Add(-5 * time.Second)
	}
}

// prepare creates the Webhooks as they are before their edits, and events; strict
// tells whether one from before an edit is known to be one. It returns once the
// operator has done with them.
func (g *editing) prepare(ctx context.Context, edits []edit, strict bool) error {
	err := inParallel(edits, func(e edit) error {
		w := g.narrow(e)
		objects := []client.Object{w}
		if strict {
			objects = append(objects, g.about(e, e.before()))
		}
		// The deliveries of a Webhook that is created again go with the first one.
		if w.Spec.State != v1alpha1.WebhookDisabled && !e.anew {
			always := g.about(e, e.always())
			always.Spec.EventType = "clusters_freed"
			always.Spec.ResourcePath = w.Spec.Scope
			objects = append(objects, always)
			g.acknowledge(pair{e.always(), e.webhook()}, time.Now())
		}
		for _, object := range objects {
			if err := g.persist(ctx, func() client.Object { return object.DeepCopyObject().(client.Object) }); err != nil {
				return err
			}
		}
		return nil
	})
	return errors.Join(err, g.dispatched(ctx))
}

// dispatched waits until the operator has done with all events so far.
func (g *editing) dispatched(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, reachPatience)
	defer cancel()
	pending := -1
	err := wait.PollUntilContextCancel(ctx, 200*time.Millisecond, true, func(ctx context.Context) (bool, error) {
		var list v1alpha1.WebhookEventList
		// An error is another try: others break the API server.
		if err := g.trial.admin.List(ctx, &list, client.InNamespace(g.namespace),
			client.MatchingFields{"status.result": string(v1alpha1.EventPending)}); err == nil {
			pending = len(list.Items)
		}
		return pending == 0, nil
	})
	if err != nil {
		return fmt.Errorf("%d events in %s are still pending: %w", pending, g.namespace, err)
	}
	return nil
}

// edit edits each Webhook, and creates an event that matches since then as soon as
// the edit is acknowledged.
func (g *editing) edit(ctx context.Context, edits []edit) error {
	return inParallel(edits, func(e edit) error {
		if err := g.widen(ctx, e); err != nil {
			return fmt.Errorf("editing %s: %w", e.webhook(), err)
		}
		posted := time.Now()
		if err := g.persist(ctx, func() client.Object { return g.about(e, e.after()) }); err != nil {
			return err
		}
		g.acknowledge(pair{e.after(), e.webhook()}, posted)
		return nil
	})
}

func (g *editing) widen(ctx context.Context, e edit) error {
	if !e.anew {
		return insist(ctx, func() error { return g.trial.admin.Patch(ctx, g.wide(e), client.MergeFrom(g.narrow(e))) })
	}
	if err := insist(ctx, func() error {
		return client.IgnoreNotFound(g.trial.admin.Delete(ctx, g.narrow(e)))
	}); err != nil {
		return err
	}
	return g.persist(ctx, func() client.Object { return g.wide(e) })
}

// apply does what a person does: one file with the Webhooks as they are to be, and
// events after them.
func (g *editing) apply(ctx context.Context, edits []edit) error {
	var objects []client.Object
	for _, e := range edits {
		objects = append(objects, g.wide(e), g.about(e, e.after()))
	}
	posted := time.Now()
	if err := g.trial.kubectlApply(ctx, objects); err != nil {
		return err
	}
	for _, e := range edits {
		g.acknowledge(pair{e.after(), e.webhook()}, posted)
	}
	return nil
}

// editedThenEvents is the part of F12 that edits Webhooks: while their watch is
// open, by kubectl, while it is down, and while what was missed is forgotten.
func editedThenEvents(ctx context.Context, t *trial, p *proxy, op *replica) error {
	other, err := t.newLoad(ctx, loadOptions{webhooks: 2, delay: 10 * time.Millisecond})
	if err != nil {
		return err
	}
	g, err := t.newEditing(ctx)
	if err != nil {
		return err
	}
	byPatch := slices.DeleteFunc(slices.Clone(widenings), func(w widening) bool { return w.anew })
	seen, unseen := g.plan(pick(t.options, 560, 80), widenings...), g.plan(pick(t.options, 200, 40), widenings...)
	applied := g.plan(pick(t.options, 40, 12), byPatch...)
	expired := g.plan(pick(t.options, 120, 24), widenings...)
	t.say("%d webhooks that will be edited", g.made)
	if err := errors.Join(
		g.prepare(ctx, slices.Concat(seen, unseen, applied), true),
		// An operator that lists Webhooks again cannot know what was before an edit.
		g.prepare(ctx, expired, false),
		sleep(ctx, beyondTolerance),
	); err != nil {
		return err
	}

	other.begin(ctx, pick(t.options, 1000, 200), 25)
	if err := errors.Join(g.edit(ctx, seen), g.apply(ctx, applied), p.steady(ctx, "webhooks")); err != nil {
		return err
	}

	t.say("%d edits while the watch of webhooks is down", len(unseen))
	if err := p.unseen(func() error { return errors.Join(g.edit(ctx, unseen), g.dispatched(ctx)) }); err != nil {
		return err
	}
	if err := errors.Join(t.judgeAside(ctx, other, 0), p.steady(ctx, "webhooks")); err != nil {
		return err
	}

	t.say("%d edits that the watch of webhooks cannot tell of any more", len(expired))
	before := p.count().expired
	if err := p.unseen(func() error {
		return errors.Join(g.edit(ctx, expired), g.dispatched(ctx), t.forgetVersions(ctx))
	}); err != nil {
		return err
	}
	if err := p.steady(ctx, "webhooks", "webhookevents"); err != nil {
		return err
	}
	if p.count().expired == before {
		t.fail("no watch was told that its version is too old")
	}
	// Before the operator starts anew: it then holds each young Webhook against all
	// recent events, those from before an edit too.
	if err := t.judge(ctx, g.load, 0); err != nil {
		return err
	}
	t.runs += int(g.made)
	t.note("%d edits, %d of them by kubectl apply, %d unseen", g.made, len(applied), len(unseen)+len(expired))
	return editedAtTheEnd(ctx, t, p, op)
}

// editedAtTheEnd is the part of F12 in which the operator ends before it has seen
// the edits.
func editedAtTheEnd(ctx context.Context, t *trial, p *proxy, op *replica) error {
	g, err := t.newEditing(ctx)
	if err != nil {
		return err
	}
	ended := g.plan(pick(t.options, 80, 16), widenings...)
	if err := errors.Join(g.prepare(ctx, ended, false), p.steady(ctx, "webhooks")); err != nil {
		return err
	}
	t.say("%d edits that the operator does not live to see", len(ended))
	if err := p.unseen(func() error {
		return errors.Join(g.edit(ctx, ended), g.dispatched(ctx), op.life().Stop())
	}); err != nil {
		return err
	}
	if err := op.start(ctx); err != nil {
		return err
	}
	t.runs += len(ended)
	t.note("%d edits just before its end", len(ended))
	return t.judge(ctx, g.load, 0)
}

// unseen does something while the watch of Webhooks is kept away.
func (p *proxy) unseen(do func() error) error {
	release := p.hold("webhooks")
	defer release()
	return do()
}

// forgetVersions makes etcd and the API server forget all versions but the current
// ones.
func (t *trial) forgetVersions(ctx context.Context) error {
	if err := t.cp.EtcdClient().Compact(ctx); err != nil {
		return err
	}
	// Its own memory of versions goes with it.
	if err := t.cp.APIServer.Kill(); err != nil {
		return err
	}
	return t.cp.APIServer.Start(ctx)
}

// insist tries until the API server has done it, or says that it never will.
func insist(ctx context.Context, try func() error) error {
	for {
		err := try()
		if err == nil || apierrors.IsInvalid(err) || apierrors.IsForbidden(err) || apierrors.IsNotFound(err) {
			return err
		}
		if sleep(ctx, retryDelay) != nil {
			return fmt.Errorf("creating the load: %w", err)
		}
	}
}

// inParallel does something with all of many, several at once.
func inParallel[T any](all []T, do func(T) error) error {
	var wg sync.WaitGroup
	var mu sync.Mutex
	var failed error
	next := make(chan T)
	for range creators {
		wg.Go(func() {
			for one := range next {
				if err := do(one); err != nil {
					mu.Lock()
					failed = errors.Join(failed, err)
					mu.Unlock()
				}
			}
		})
	}
	for _, one := range all {
		next <- one
	}
	close(next)
	wg.Wait()
	return failed
}
