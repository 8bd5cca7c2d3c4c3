package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/test/crds"
	"github.com/horizoncd/webhook-operator/test/operator"
)

const (
	// laterField is the optional field that each kind of the later version has on top, in
	// its spec and its status.
	laterField = "laterField"
	// crdsOutdated is what an operator logs that is ahead of its CRDs.
	crdsOutdated = "The CRDs in the cluster are older than the operator"
)

// later is the version after the operator's: the same tree, but for the CRDs, which have a
// field more.
type later struct {
	binary string
	// crds is the directory of its CRDs.
	crds string
}

// upgrade is F15: under load, the CRDs are upgraded and the operators replaced by those of a
// later version, one by one; these are rolled back, on the CRDs as they are then; and
// operators of both versions run side by side while the lease goes to and fro.
func upgrade(ctx context.Context, t *trial) error {
	next, err := t.buildLater(ctx)
	if err != nil {
		return err
	}
	l, err := t.newLoad(ctx, loadOptions{webhooks: fanOut, delay: 50 * time.Millisecond})
	if err != nil {
		return err
	}
	old, err := t.deploy(ctx, "a", "b")
	if err != nil {
		return err
	}
	paused, err := t.pausedLoad(ctx)
	if err != nil {
		return err
	}
	if err := l.burst(ctx, t.part()); err != nil {
		return err
	}
	if err := t.kubectl(ctx, "apply", "--server-side", "--force-conflicts", "-f", next.crds); err != nil {
		return err
	}
	t.runs++
	t.say("upgraded the CRDs after %d of %d deliveries", l.receiver.Total().Accepted, l.total())
	if err := l.setLaterField(ctx); err != nil {
		return err
	}
	upgraded, err := t.roll(ctx, l, old, next.binary, "later-a", "later-b")
	if err != nil {
		return err
	}
	if err := t.endOf(ctx, "upgraded", l, paused); err != nil {
		return err
	}
	for _, r := range upgraded {
		if output, err := r.life().Output(); err != nil || strings.Contains(output, crdsOutdated) {
			t.fail("%s takes its CRDs for old ones: %v", r.name, err)
		}
	}

	if paused, err = t.pausedLoad(ctx); err != nil {
		return err
	}
	rolledBack, err := t.roll(ctx, l, upgraded, t.Operator, "back-a", "back-b")
	if err != nil {
		return err
	}
	if err := t.endOf(ctx, "rolled back", l, paused); err != nil {
		return err
	}

	if err := rolledBack[1].close(); err != nil {
		return err
	}
	other, err := t.startVersion(ctx, "later-c", next.binary)
	if err != nil {
		return err
	}
	if err := t.sideBySide(ctx, l, rolledBack[0], other); err != nil {
		return err
	}
	if err := t.judge(ctx, l, pick(t.options, everyone, 0)); err != nil { // for the one that was killed
		return err
	}
	return l.keepsLaterField(ctx)
}

// part is how many events a load creates at once.
func (t *trial) part() int { return pick(t.options, 100, 40) }

// buildLater builds the later version.
func (t *trial) buildLater(ctx context.Context) (*later, error) {
	next := &later{crds: filepath.Join(t.cp.Dir(), "later-crds")}
	if err := os.Mkdir(next.crds, 0o700); err != nil {
		return nil, err
	}
	err := crds.Write(t.Root, next.crds, func(_ string, s crds.Schema) {
		s.At("spec").Add(laterField)
		s.At("status").Add(laterField)
	})
	if err != nil {
		return nil, err
	}
	bases, err := filepath.Abs(filepath.Join(t.Root, "config", "crd", "bases"))
	if err != nil {
		return nil, err
	}
	files, err := os.ReadDir(next.crds)
	if err != nil {
		return nil, err
	}
	replace := map[string]string{}
	for _, file := range files {
		replace[filepath.Join(bases, file.Name())] = filepath.Join(next.crds, file.Name())
	}
	data, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return nil, err
	}
	overlay := filepath.Join(t.cp.Dir(), "overlay.json")
	if err := os.WriteFile(overlay, data, 0o600); err != nil {
		return nil, err
	}
	next.binary, err = operator.Build(ctx, t.Root, t.cp.Dir(), "-overlay="+overlay, "-ldflags=-s -w -X main.version=later")
	return next, err
}

// startVersion starts an operator of a version, under the lease.
func (t *trial) startVersion(ctx context.Context, name, binary string) (*replica, error) {
	r := t.replica(name, t.install.Kubeconfig, "--leader-elect")
	r.options.Binary = binary
	return r, r.start(ctx)
}

// roll replaces operators as a Deployment does: one of the new version is started, and one of
// the old is told to stop when it is ready. Something is under way whenever one stops.
func (t *trial) roll(ctx context.Context, l *load, old []*replica, binary string, names ...string) ([]*replica, error) {
	var all []*replica
	for i, name := range names {
		r, err := t.startVersion(ctx, name, binary)
		if err != nil {
			return nil, err
		}
		all = append(all, r)
		if err := l.burst(ctx, t.part()); err != nil {
			return nil, err
		}
		leads := map[bool]string{true: ", which led,"}[old[i].leads(ctx)]
		if err := t.stop(ctx, old[i]); err != nil {
			return nil, err
		}
		t.runs++
		t.say("%s has replaced %s%s after %d of %d deliveries", name, old[i].name, leads, l.receiver.Total().Accepted, l.total())
	}
	return all, nil
}

// stop tells an operator to stop, and waits until it has.
func (t *trial) stop(ctx context.Context, r *replica) error {
	op := r.life()
	if err := op.Terminate(); err != nil {
		return err
	}
	select {
	case <-op.Done():
	case <-time.After(stopMost):
		t.fail("%s has not ended %v after SIGTERM", r.name, stopMost)
		return op.Kill()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if state := op.State(); state != "exit status 0" {
		t.fail("%s after SIGTERM: %s", r.name, state)
	}
	return nil
}

// pausedLoad makes a load whose deliveries one version stores and the other one sends.
func (t *trial) pausedLoad(ctx context.Context) (*load, error) {
	l, err := t.newLoad(ctx, loadOptions{webhooks: fanOut, change: func(w *v1alpha1.WebhookSpec) { w.State = v1alpha1.WebhookPaused }})
	if err != nil {
		return nil, err
	}
	l.begin(ctx, t.part(), fullSpeed)
	if err := l.created(ctx); err != nil {
		return nil, err
	}
	bounded, cancel := context.WithTimeout(ctx, l.patience)
	defer cancel()
	for {
		n, err := l.stored(bounded, v1alpha1.DeliveryWaiting)
		if err != nil {
			return nil, err
		}
		if n == l.total() {
			return l, nil
		}
		if err := sleep(bounded, 200*time.Millisecond); err != nil {
			return nil, fmt.Errorf("only %d of %d deliveries are stored: %w", n, l.total(), err)
		}
	}
}

// endOf settles a phase: what is under way arrives, and what the version before has stored.
// Nothing is sent twice, since every operator was told to stop.
func (t *trial) endOf(ctx context.Context, phase string, l, paused *load) error {
	if err := paused.patchAll(ctx, `{"spec":{"state":"Enabled"}}`); err != nil {
		return err
	}
	if err := t.judge(ctx, paused, 0); err != nil {
		return err
	}
	if err := l.reachAll(ctx); err != nil {
		t.fail("%s: %v", phase, err)
	}
	if n := l.receiver.Total().Duplicates; n > 0 {
		t.fail("%s: %d duplicates, though no process was killed", phase, n)
	}
	t.note("%s: %d deliveries, and %d that the version before had stored", phase, l.total(), paused.total())
	return nil
}

// sideBySide lets the lease go to and fro between two operators: whoever leads is told to
// stop, in the long form the last one is killed, and it is started again.
func (t *trial) sideBySide(ctx context.Context, l *load, replicas ...*replica) error {
	var led []string
	changes := pick(t.options, 6, 3)
	for i := range changes {
		leading, err := leader(ctx, replicas...)
		if err != nil {
			return err
		}
		led = append(led, leading.name)
		if err := l.burst(ctx, t.part()); err != nil {
			return err
		}
		if i == changes-1 && !t.short { // a takeover after a crash takes 20 s
			err = leading.kill()
		} else {
			err = t.stop(ctx, leading)
		}
		if err != nil {
			return err
		}
		t.runs++
		t.say("%s led, and has ended after %d of %d deliveries", leading.name, l.receiver.Total().Accepted, l.total())
		// The other one leads before this one is back, or it would lead again.
		others := slices.DeleteFunc(slices.Clone(replicas), func(r *replica) bool { return r == leading })
		if _, err := leader(ctx, others...); err != nil {
			return err
		}
		if err := leading.start(ctx); err != nil {
			return err
		}
		if err := l.reachAll(ctx); err != nil {
			t.fail("side by side: %v", err)
		}
	}
	t.note("side by side: %s led", strings.Join(led, ", "))
	if slices.Sort(led); len(slices.Compact(led)) < 2 {
		t.fail("only one of the two versions ever led")
	}
	return nil
}

// patchAll changes all Webhooks of a load.
func (l *load) patchAll(ctx context.Context, patch string) error {
	for _, name := range l.webhooks {
		w := &v1alpha1.Webhook{}
		w.Namespace, w.Name = l.namespace, name
		if err := l.trial.admin.Patch(ctx, w, client.RawPatch(types.MergePatchType, []byte(patch))); err != nil {
			return fmt.Errorf("changing a webhook: %w", err)
		}
	}
	return nil
}

// setLaterField sets the field of the later version in the Webhooks of a load, and in their
// status, once the API server keeps it.
func (l *load) setLaterField(ctx context.Context) error {
	for _, part := range []string{"spec", "status"} {
		patch := client.RawPatch(types.MergePatchType, []byte(`{"`+part+`":{"`+laterField+`":"set"}}`))
		for _, name := range l.webhooks {
			err := insist(ctx, func() error {
				u := l.unstructured(name)
				var err error
				if part == "status" {
					err = l.trial.admin.Status().Patch(ctx, u, patch)
				} else {
					err = l.trial.admin.Patch(ctx, u, patch)
				}
				if value, _, _ := unstructured.NestedString(u.Object, part, laterField); err == nil && value != "set" {
					err = errors.New("the API server has dropped the field")
				}
				return err
			})
			if err != nil {
				return fmt.Errorf("setting the later field in the %s of a webhook: %w", part, err)
			}
		}
	}
	return nil
}

// unstructured is a Webhook of a load, with fields that its Go type does not have.
func (l *load) unstructured(name string) *unstructured.Unstructured {
	u := &unstructured.Unstructured{}
	u.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind("Webhook"))
	u.SetNamespace(l.namespace)
	u.SetName(name)
	return u
}

// keepsLaterField looks whether it is still there, whoever has written these Webhooks since.
func (l *load) keepsLaterField(ctx context.Context) error {
	for _, name := range l.webhooks {
		u := l.unstructured(name)
		if err := l.trial.admin.Get(ctx, client.ObjectKeyFromObject(u), u); err != nil {
			return err
		}
		for _, part := range []string{"spec", "status"} {
			if value, _, _ := unstructured.NestedString(u.Object, part, laterField); value != "set" {
				l.trial.fail("%s of %s has lost the field of the later version", part, name)
			}
		}
	}
	return nil
}
