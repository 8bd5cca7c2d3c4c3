package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/test/horizon"
	"github.com/horizoncd/webhook-operator/test/operator"
	"github.com/horizoncd/webhook-operator/test/ports"
)

const (
	// bridgeSecret is that of the webhook.
	bridgeSecret = "the-secret-of-the-webhook"
	// bridgeSettles is how long the bridges may take to create what was missed, after all
	// runs again. Horizon sends everything again after each of its restarts.
	bridgeSettles = 8 * time.Minute
)

// bridgeKilled is F13: bridge, API server and Horizon are killed at random while Horizon
// tells of events. In the middle a route is changed, a path moves, and a quota is used up.
// In the end there is each event that Horizon has a log of, once over all namespaces, and
// what was deleted stays away.
func bridgeKilled(ctx context.Context, t *trial) (err error) {
	b, err := t.newBridged(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.close()) }()
	events := pick(t.options, 1000, 250)
	moments := []moment{
		{events * 3 / 10, "a route is changed", func() error { return b.route("/music", b.video) }},
		{events * 4 / 10, "a path moves", func() error {
			b.horizon.Transfer(horizon.Applications, b.applications[0], b.groups[1])
			return nil
		}},
		{events * 5 / 10, "a quota is used up", func() error { return b.retry(ctx, func() error { return b.admin.Create(ctx, b.quota()) }) }},
		{events * 8 / 10, "the quota is raised", func() error { return b.retry(ctx, func() error { return b.admin.Delete(ctx, b.quota()) }) }},
	}
	over := make(chan struct{})
	var killer sync.WaitGroup
	var killed error
	killer.Go(func() { killed = b.killAtRandom(ctx, over) })
	for i := range events {
		for _, m := range moments {
			if m.at == i {
				t.say("after %d events %s", i, m.what)
				if err := m.happens(); err != nil {
					close(over)
					killer.Wait()
					return err
				}
			}
		}
		cluster := b.clusters[i%len(b.clusters)]
		b.horizon.Record(horizon.Event{Type: b.types[i%len(b.types)], ResourceID: cluster, User: horizon.Admin})
		if err := sleep(ctx, 40*time.Millisecond); err != nil {
			break
		}
	}
	close(over)
	killer.Wait()
	if killed != nil {
		return killed
	}
	if err := errors.Join(t.mend(ctx), b.horizon.Restart()); err != nil {
		return err
	}
	t.runs = b.kills
	if err := b.judge(ctx); err != nil {
		return err
	}
	return b.staysAway(ctx)
}

// moment is something that happens after a number of events.
type moment struct {
	at      int
	what    string
	happens func() error
}

// bridged is a Horizon and two bridges: it posts to the first one, and both catch up.
type bridged struct {
	*trial
	horizon      *horizon.Horizon
	webhook      int64
	groups       []int64 // music, video
	applications []int64
	clusters     []int64
	types        []string
	music, video string // namespaces
	options      operator.BridgeOptions
	bridges      []*operator.Operator
	kills        int
}

func (t *trial) newBridged(ctx context.Context) (_ *bridged, err error) {
	b := &bridged{trial: t, music: "chaos-music", video: "chaos-video", types: []string{
		"clusters_deployed", "clusters_builddeployed", "clusters_freed", "clsuters_restarted", "clusters_updated",
	}}
	for _, name := range []string{b.music, b.video} {
		if err := t.admin.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}); err != nil {
			return nil, err
		}
	}
	kubeconfig, err := t.install.InstallBridge(ctx, t.Root, b.music, b.video)
	if err != nil {
		return nil, err
	}
	if b.horizon, err = horizon.Start(horizon.Options{Scopes: map[string][]string{
		"webhooks:read-write": {"groups/webhooks", "webhooks", "webhooks/logs", "webhooklogs"},
	}}); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, b.close())
		}
	}()
	for _, name := range []string{"music", "video"} {
		group := b.horizon.AddGroup(0, name)
		application := b.horizon.AddApplication(group, name+"-web", "P1")
		b.groups, b.applications = append(b.groups, group), append(b.applications, application)
		for _, env := range []string{"test", "prod"} {
			b.clusters = append(b.clusters, b.horizon.AddCluster(application, name+"-"+env, "online"))
		}
	}
	address, err := ports.Others.FreeAddress()
	if err != nil {
		return nil, err
	}
	b.webhook = b.horizon.AddWebhook(horizon.Groups, 0, horizon.Webhook{Enabled: true, URL: "http://" + address + "/horizon", Secret: bridgeSecret, Triggers: []string{"*"}})
	dir := t.cp.Dir()
	b.options = operator.BridgeOptions{
		Binary: t.bridge, Kubeconfig: kubeconfig, Address: address, HorizonURL: b.horizon.URL(""), TokenFile: filepath.Join(dir, "token"),
		SecretFile: filepath.Join(dir, "secret"), RoutesFile: filepath.Join(dir, "routes"),
		Args: []string{"--catch-up-every=1s", "--catch-up-requests-per-minute=3000", "--catch-up-window=1h"},
	}
	token := b.horizon.Token("groups:read-only", "applications:read-only", "clusters:read-only", "webhooks:read-write")
	if err := errors.Join(
		os.WriteFile(b.options.TokenFile, []byte(token), 0o600), os.WriteFile(b.options.SecretFile, []byte(bridgeSecret), 0o600),
		b.route("/music", b.music),
	); err != nil {
		return nil, err
	}
	b.bridges = make([]*operator.Operator, 2)
	for i := range b.bridges {
		if err := b.launch(i); err != nil {
			return nil, err
		}
		if err := b.bridges[i].WaitReady(ctx); err != nil {
			return nil, err
		}
	}
	return b, nil
}

// launch begins a life of a bridge.
func (b *bridged) launch(i int) (err error) {
	o := b.options
	o.Log = filepath.Join(b.Out, fmt.Sprintf("chaos-%s-%c.log", b.scenario.id, 'a'+i))
	if i > 0 {
		o.Address = "127.0.0.1:0" // which nobody posts to
	}
	b.bridges[i], err = operator.LaunchBridge(o)
	return err
}

// close ends what belongs to the scenario.
func (b *bridged) close() error {
	errs := []error{b.horizon.Close()}
	for _, bridge := range b.bridges {
		if bridge != nil {
			errs = append(errs, bridge.Kill())
		}
	}
	return errors.Join(errs...)
}

// route writes the file of routes: one for music, the other for video.
func (b *bridged) route(path, namespace string) error {
	other := b.video
	if namespace == b.video {
		other = b.music
	}
	text := fmt.Sprintf("default: %s\nroutes:\n  %s: %s\n  /video: %s\n", operator.DefaultSystemNamespace, path, namespace, other)
	next := b.options.RoutesFile + ".next"
	return errors.Join(os.WriteFile(next, []byte(text), 0o600), os.Rename(next, b.options.RoutesFile))
}

// quota lets a tenant have no event more.
func (b *bridged) quota() *corev1.ResourceQuota {
	return &corev1.ResourceQuota{
		ObjectMeta: metav1.ObjectMeta{Namespace: b.music, Name: "events"},
		Spec:       corev1.ResourceQuotaSpec{Hard: corev1.ResourceList{"count/webhookevents.horizoncd.io": resource.MustParse("1")}},
	}
}

// retry does something that an API server that is away may keep from happening.
func (b *bridged) retry(ctx context.Context, do func() error) error {
	for {
		err := do()
		if err == nil || ctx.Err() != nil {
			return err
		}
		if err := sleep(ctx, 200*time.Millisecond); err != nil {
			return err
		}
	}
}

// killAtRandom kills one after the other, and starts it again after a while.
func (b *bridged) killAtRandom(ctx context.Context, over <-chan struct{}) error {
	for {
		select {
		case <-over:
			return nil
		case <-time.After(b.between(200*time.Millisecond, 1500*time.Millisecond)):
		}
		b.kills++
		down := b.between(0, 2*time.Second)
		var err error
		switch who := b.rng.IntN(4); who {
		case 0, 1:
			if err = b.bridges[who].Kill(); err == nil {
				err = errors.Join(sleep(ctx, down), b.launch(who))
			}
		case 2:
			if err = b.cp.APIServer.Kill(); err == nil {
				err = errors.Join(sleep(ctx, down), b.mend(ctx))
			}
		default:
			b.horizon.Kill()
			err = errors.Join(sleep(ctx, down), b.horizon.Restart())
		}
		if err != nil {
			return err
		}
	}
}

// stored are the names of namespaces that have the event of a number.
func (b *bridged) stored(ctx context.Context) (map[int64][]v1alpha1.WebhookEvent, error) {
	all := map[int64][]v1alpha1.WebhookEvent{}
	for _, namespace := range []string{b.music, b.video, operator.DefaultSystemNamespace} {
		var list v1alpha1.WebhookEventList
		if err := b.admin.List(ctx, &list, client.InNamespace(namespace)); err != nil {
			return nil, err
		}
		for _, e := range list.Items {
			all[e.Spec.EventID] = append(all[e.Spec.EventID], e)
		}
	}
	return all, nil
}

// judge waits until there is what is to be, and counts what is lost, and what is twice.
func (b *bridged) judge(ctx context.Context) error {
	began := time.Now()
	for {
		stored, err := b.stored(ctx)
		if err != nil {
			return err
		}
		told := b.horizon.EventIDs(b.webhook)
		lost := slices.DeleteFunc(slices.Clone(told), func(id int64) bool { return len(stored[id]) > 0 })
		settled := b.horizon.Settled()
		if (!settled || len(lost) > 0) && time.Since(began) < bridgeSettles {
			if err := sleep(ctx, 500*time.Millisecond); err != nil {
				return err
			}
			continue
		}
		b.lost = len(lost)
		where := map[string]int{}
		for id, events := range stored {
			b.duplicates += len(events) - 1
			for _, e := range events {
				where[e.Namespace]++
				if len(events) > 1 {
					b.say("event %d is in %s, created %s, with the path %s", id, e.Namespace, e.CreationTimestamp.Format(time.TimeOnly), e.Spec.ResourcePath)
				}
			}
			if !slices.Contains(told, id) {
				b.fail("event %d is stored, and Horizon has no log of it", id)
			}
		}
		b.note("%d events in Horizon's logs, of which %d failed; stored: %v; all there %.0f s after the last kill", len(told), b.failedLogs(), where, time.Since(began).Seconds())
		if !settled {
			b.fail("Horizon has not sent everything after %v", bridgeSettles)
		}
		if len(lost) > 0 {
			b.fail("lost, the first of them: %v", lost[:min(len(lost), 10)])
		}
		if b.duplicates > 0 {
			b.fail("%d events are there twice", b.duplicates)
		}
		if where[b.music] == 0 || where[b.video] == 0 {
			b.fail("a namespace has no events: %v", where)
		}
		return nil
	}
}

func (b *bridged) failedLogs() int {
	n := 0
	for _, l := range b.horizon.Logs(b.webhook) {
		if l.Status == horizon.Failed {
			n++
		}
	}
	return n
}

// staysAway deletes events, kills the bridges once more, and looks whether any comes back.
func (b *bridged) staysAway(ctx context.Context) error {
	stored, err := b.stored(ctx)
	if err != nil {
		return err
	}
	success := map[int64]bool{}
	for _, l := range b.horizon.Logs(b.webhook) {
		if l.Status == horizon.Success {
			success[l.EventID] = true
		}
	}
	deleted := 0
	for _, id := range slices.Sorted(maps.Keys(stored)) {
		if !success[id] || deleted >= 100 {
			continue
		}
		if err := b.admin.Delete(ctx, &stored[id][0]); err != nil {
			return err
		}
		delete(stored, id)
		deleted++
	}
	for i := range b.bridges {
		if err := errors.Join(b.bridges[i].Kill(), b.launch(i)); err != nil {
			return err
		}
		if err := b.bridges[i].WaitReady(ctx); err != nil {
			return err
		}
	}
	if err := sleep(ctx, 10*time.Second); err != nil { // some scans, also of whoever takes over
		return err
	}
	after, err := b.stored(ctx)
	if err != nil {
		return err
	}
	if len(after) != len(stored) {
		b.fail("of %d events that were deleted, %d were created again", deleted, len(after)-len(stored))
	}
	b.note("%d deleted ones stay away", deleted)
	return nil
}
