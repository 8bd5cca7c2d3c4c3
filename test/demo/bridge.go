package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/test/horizon"
	"github.com/horizoncd/webhook-operator/test/operator"
	"github.com/horizoncd/webhook-operator/test/ports"
)

const (
	// bridgeSecret is that of the webhook of Horizon's root group.
	bridgeSecret = "bridge-61b0c7e2"
	// firstBridged is the number of the first event: this Horizon is not a new one.
	firstBridged = 78402
	// bridged is how many events the bridge brings.
	bridged = 2

	routes = "default: horizon-webhooks\nroutes:\n  /music: music\n"
)

// bridgeScopes is what Horizon's configuration lacks as it is shipped.
var bridgeScopes = map[string][]string{"webhooks:read-write": {"groups/webhooks", "webhooks", "webhooks/logs", "webhooklogs"}}

// bridgeScene is a Horizon that nobody has changed, and the bridge beside it.
type bridgeScene struct {
	horizon          *horizon.Horizon
	cluster, webhook int64
	options          operator.BridgeOptions
}

// bridge is about a Horizon that knows nothing of the operator.
func (t *teller) bridge(ctx context.Context) (err error) {
	t.chapter("9. Horizon as it is, and the bridge")
	t.say("A webhook of Horizon's root group posts every event to the bridge. That looks up the event's path, and creates a")
	t.say("WebhookEvent where routes.yaml says. (This Horizon is one for tests, which answers and sends as Horizon does.)\n")
	failed := t.failed
	s, err := t.newBridgeScene(ctx)
	if err != nil {
		return err
	}
	defer func() {
		err = errors.Join(err, s.horizon.Close())
		if (t.failed > failed || err != nil) && ctx.Err() == nil {
			showLog(t.out, "bridge", s.options.Log)
		}
	}()
	t.say("routes.yaml:")
	t.show(routes)
	t.say("")
	_, err = t.run(ctx, fmt.Sprintf("horizon-bridge check --horizon-url=%s --horizon-token-file=token --secret-file=secret "+
		"--routes-file=routes.yaml --kubeconfig=horizon-bridge.kubeconfig", s.horizon.URL("")))
	if err != nil {
		return err
	}
	if err := s.live(ctx, t); err != nil {
		return err
	}
	return s.missed(ctx, t)
}

func (t *teller) newBridgeScene(ctx context.Context) (_ *bridgeScene, err error) {
	kubeconfig, err := t.install.InstallBridge(ctx, t.root, "music")
	if err != nil {
		return nil, err
	}
	address, err := ports.Others.FreeAddress()
	if err != nil {
		return nil, err
	}
	h, err := horizon.Start(horizon.Options{Scopes: bridgeScopes})
	if err != nil {
		return nil, err
	}
	for range firstBridged - 1 {
		h.Reserve()
	}
	s := &bridgeScene{horizon: h}
	s.cluster = h.AddCluster(h.AddApplication(h.AddGroup(h.AddGroup(0, "music"), "player"), "web", "P0"), "web-prod", "online")
	s.webhook = h.AddWebhook(horizon.Groups, 0, horizon.Webhook{
		Enabled: true, URL: "http://" + address + "/horizon", Secret: bridgeSecret, Triggers: []string{"*"},
	})
	in := func(name string) string { return filepath.Join(t.dir, name) }
	s.options = operator.BridgeOptions{
		Binary: t.bridgeBinary, Kubeconfig: kubeconfig, Log: in("horizon-bridge.log"), Address: address, HorizonURL: h.URL(""),
		TokenFile: in("token"), SecretFile: in("secret"), RoutesFile: in("routes.yaml"), Args: []string{"--catch-up-every=1s"},
	}
	token := h.Token("groups:read-only", "applications:read-only", "clusters:read-only", "webhooks:read-write")
	for name, content := range map[string]string{"token": token, "secret": bridgeSecret, "routes.yaml": routes} {
		if err := t.write(name, content); err != nil {
			return nil, errors.Join(err, h.Close())
		}
	}
	return s, nil
}

// live shows an event that comes while the bridge is there, which ends afterwards.
func (s *bridgeScene) live(ctx context.Context, t *teller) (err error) {
	b, err := s.start(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.Stop()) }()
	t.say("In Horizon, somebody deploys web-prod:\n")
	s.deploy()
	event, err := t.bridgedEvent(ctx, firstBridged)
	if err != nil {
		return err
	}
	if _, err := t.run(ctx, fmt.Sprintf("kubectl get webhookevent %s -n music", event.Name)); err != nil {
		return err
	}
	t.check(event.Spec.ResourcePath == "/music/player/web/web-prod", "the event is in the namespace of its route, with its path: %s", event.Spec.ResourcePath)
	sent, err := s.settled(ctx, 1, horizon.Success)
	t.checkThat(err, "Horizon's log has the bridge's answer, which names it: %s", strings.TrimSpace(sent.ResponseBody))
	t.checkBody(ctx, sent)
	return nil
}

// missed shows an event that comes while the bridge is not there.
func (s *bridgeScene) missed(ctx context.Context, t *teller) (err error) {
	t.say("\nThe bridge is stopped, and web-prod is deployed again. Horizon sends an event once, whatever comes of it:\n")
	s.deploy()
	sent, err := s.settled(ctx, bridged, horizon.Failed)
	t.checkThat(err, "Horizon calls event %d failed, and leaves it", sent.EventID)
	t.say("\nThe bridge is back, and finds in Horizon's logs what it has missed:\n")
	b, err := s.start(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.Stop()) }()
	event, err := t.bridgedEvent(ctx, firstBridged+1)
	if err != nil {
		return err
	}
	if _, err := t.run(ctx, fmt.Sprintf("kubectl get webhookevent %s -n music", event.Name)); err != nil {
		return err
	}
	t.checkBody(ctx, sent)
	return nil
}

func (s *bridgeScene) deploy() {
	s.horizon.Record(horizon.Event{Type: "clusters_deployed", ResourceID: s.cluster, User: horizon.Admin})
}

func (s *bridgeScene) start(ctx context.Context) (*operator.Operator, error) {
	b, err := operator.LaunchBridge(s.options)
	if err != nil {
		return nil, err
	}
	if err := b.WaitReady(ctx); err != nil {
		return nil, errors.Join(err, b.Kill())
	}
	return b, nil
}

// settled waits until Horizon has so many logs, and has dealt with all, and returns the
// last. It fails where that has another status than the given one.
func (s *bridgeScene) settled(ctx context.Context, n int, status string) (horizon.Log, error) {
	var last horizon.Log
	err := poll(ctx, func(context.Context) (bool, error) {
		logs := s.horizon.Logs(s.webhook)
		if len(logs) > 0 {
			last = logs[len(logs)-1]
		}
		return len(logs) == n && last.Status != horizon.Waiting, nil
	})
	if err == nil && last.Status != status {
		err = fmt.Errorf("it is %s: %s", last.Status, last.ErrorMessage)
	}
	return last, err
}

// bridgedEvent waits until the bridge has created an event, and the operator dealt with it.
func (t *teller) bridgedEvent(ctx context.Context, number int64) (*v1alpha1.WebhookEvent, error) {
	event := &v1alpha1.WebhookEvent{}
	key := client.ObjectKey{Namespace: "music", Name: fmt.Sprintf("horizon-%d", number)}
	err := poll(ctx, func(ctx context.Context) (bool, error) {
		err := t.client.Get(ctx, key, event)
		return event.Status.Result != "", err
	})
	if err != nil {
		return nil, fmt.Errorf("waiting for the event %s: %w", key, err)
	}
	return event, nil
}

// checkBody checks that the webhook everything got what Horizon has sent.
func (t *teller) checkBody(ctx context.Context, sent horizon.Log) {
	want := strings.TrimSuffix(sent.Body, `,"extra":""}`) + "}"
	once := func() int {
		n := 0
		for _, a := range t.team.Arrivals("/everything") {
			if string(a.Body) == want {
				n++
			}
		}
		return n
	}
	ctx, cancel := context.WithTimeout(ctx, stepTimeout)
	defer cancel()
	err := t.team.Wait(ctx, func() bool { return once() > 0 })
	t.check(err == nil && once() == 1, "everything got Horizon's own body, once, byte for byte but for the log's number and an empty extra")
}
