package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"
	"sigs.k8s.io/yaml"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
)

// appliedTogether is F12: each event is created in one breath with its Webhook, or
// just after an edit of its Webhook, also while the operator does not see Webhooks.
func appliedTogether(ctx context.Context, t *trial) error {
	p, kubeconfig, err := t.proxy()
	if err != nil {
		return err
	}
	l, err := t.newLoad(ctx, loadOptions{})
	if err != nil {
		return err
	}
	op := t.replica("operator", kubeconfig)
	if err := op.start(ctx); err != nil {
		return err
	}
	pairs := &together{trial: t, load: l}
	seen, unseen := pick(t.options, 640, 100), pick(t.options, 300, 60)
	batches, batch := pick(t.options, 3, 2), 20
	t.say("%d pairs by client, %d by kubectl", seen, batches*batch)
	if err := pairs.create(ctx, seen); err != nil {
		return err
	}
	for range batches {
		if err := pairs.apply(ctx, batch); err != nil {
			return err
		}
	}
	t.say("%d pairs while the watch of webhooks is down", unseen)
	release := p.hold("webhooks")
	defer release()
	if err := pairs.create(ctx, unseen); err != nil {
		return err
	}
	if err := sleep(ctx, t.between(0, 2*time.Second)); err != nil {
		return err
	}
	release()
	t.runs = int(pairs.made)
	if err := t.judge(ctx, l, 0); err != nil {
		return err
	}
	t.note("%d pairs by client, %d by kubectl apply, %d unseen", seen, batches*batch, unseen)
	return editedThenEvents(ctx, t, p, op)
}

// scoped makes a Webhook and an event keep to themselves.
func scoped(w *v1alpha1.Webhook, e *v1alpha1.WebhookEvent, number int64) {
	w.Spec.Scope = fmt.Sprintf("/pairs/%d", number)
	e.Spec.ResourcePath = w.Spec.Scope + "/web"
}

// together makes pairs of a Webhook and an event that nobody else follows.
type together struct {
	*load
	trial *trial
	made  int64
}

// next makes the objects of the next pair.
func (g *together) next() (pair, *v1alpha1.Webhook, *v1alpha1.WebhookEvent) {
	g.made++
	p := pair{g.made, fmt.Sprintf("pair-%d", g.made)}
	w, e := g.webhook(p.webhook), g.event(p.event)
	scoped(w, e, g.made)
	behind(e, g.made)
	return p, w, e
}

// create creates pairs, one right after the other, several at once.
func (g *together) create(ctx context.Context, pairs int) error {
	var mu sync.Mutex
	return inParallel(make([]struct{}, pairs), func(struct{}) error {
		mu.Lock()
		p, w, e := g.next()
		mu.Unlock()
		posted := time.Now()
		for _, object := range []client.Object{w, e} {
			if err := g.persist(ctx, func() client.Object { return object.DeepCopyObject().(client.Object) }); err != nil {
				return err
			}
		}
		g.acknowledge(p, posted)
		return nil
	})
}

// apply does what a person does: kubectl apply -f.
func (g *together) apply(ctx context.Context, pairs int) error {
	var all []pair
	var objects []client.Object
	for range pairs {
		p, w, e := g.next()
		all = append(all, p)
		if g.trial.rng.IntN(2) == 0 { // people write them down in any order
			objects = append(objects, e, w)
		} else {
			objects = append(objects, w, e)
		}
	}
	posted := time.Now()
	if err := g.trial.kubectlApply(ctx, objects); err != nil {
		return err
	}
	for _, p := range all {
		g.acknowledge(p, posted)
	}
	return nil
}

// kubectlApply applies objects, in their order, with one kubectl apply -f.
func (t *trial) kubectlApply(ctx context.Context, objects []client.Object) error {
	var manifest bytes.Buffer
	for _, object := range objects {
		kind, err := apiutil.GVKForObject(object, t.admin.Scheme())
		if err != nil {
			return err
		}
		object.GetObjectKind().SetGroupVersionKind(kind)
		text, err := yaml.Marshal(object)
		if err != nil {
			return err
		}
		fmt.Fprintf(&manifest, "---\n%s", text)
	}
	path := filepath.Join(t.cp.Dir(), "together.yaml")
	if err := os.WriteFile(path, manifest.Bytes(), 0o600); err != nil {
		return err
	}
	return t.kubectl(ctx, "apply", "-f", path)
}

// kubectl runs kubectl as the administrator.
func (t *trial) kubectl(ctx context.Context, args ...string) error {
	path, err := t.cp.Kubectl()
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, path, args...)
	if cmd.Env, err = t.install.Environment(""); err != nil {
		return err
	}
	// A Ctrl-C is for this process to handle.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("kubectl %s: %w\n%s", args[0], err, out)
	}
	return nil
}
