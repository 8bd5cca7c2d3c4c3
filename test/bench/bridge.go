package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/test/horizon"
	"github.com/horizoncd/webhook-operator/test/operator"
	"github.com/horizoncd/webhook-operator/test/ports"
)

const (
	// bridgeRate is how many events a second come, from as many connections: what one
	// Horizon was seen to send at most, and as many webhooks as would send it.
	bridgeRate        = 200
	bridgeConnections = 4
	bridgeLog         = "bench-bridge.log"
	bridgeNamespace   = "bench-bridge"
)

// bridgePhase is what came of the events of one phase: how many there were a second, and
// how long each took, in milliseconds.
type bridgePhase struct {
	rate  float64
	times []float64
}

// bridgeScene is a Horizon, a bridge, and a namespace that events are routed to.
type bridgeScene struct {
	process *operator.Operator
	horizon *horizon.Horizon
	address string
	cluster int64
	bare    client.Client // with the bridge's permissions
	posts   *http.Client
}

// withBridge compares what Horizon waits for with bare creates of the same events, by the
// same account.
func (b *bench) withBridge(ctx context.Context, s *store, dir string) (err error) {
	c, err := b.newBridgeScene(ctx, s, dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.process.Stop(), c.horizon.Close()) }()
	events := int(bridgeRate * max(b.length, 5*time.Second).Seconds())
	measure := func(who string, send func(context.Context, int64) error, into *[]bridgePhase) func() error {
		return func() error {
			if err := sleep(ctx, pause); err != nil {
				return err
			}
			p, err := b.pace(ctx, events, send)
			if err != nil {
				return fmt.Errorf("%s: %w", who, err)
			}
			b.Say("%-11s  %4.0f events/s; p50 %.1f ms, p99 %.1f ms", who, p.rate, quantile(p.times, 0.5), quantile(p.times, 0.99))
			*into = append(*into, p)
			return s.deleteAll(ctx, bridgeNamespace, "WebhookEvent")
		}
	}
	f := &b.figures.bridge
	var warmUp []bridgePhase
	for _, first := range []func() error{measure("bare create", c.create, &warmUp), measure("bridge", c.post, &warmUp)} {
		if err := first(); err != nil {
			return err
		}
	}
	return b.repeat(func(pair int) error {
		return inTurns(pair, measure("bare create", c.create, &f.bare), measure("bridge", c.post, &f.ours))
	})
}

func (b *bench) newBridgeScene(ctx context.Context, s *store, dir string) (_ *bridgeScene, err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	if err := s.admin.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: bridgeNamespace}}); err != nil {
		return nil, err
	}
	kubeconfig, err := s.install.InstallBridge(ctx, b.Root, bridgeNamespace)
	if err != nil {
		return nil, err
	}
	c := &bridgeScene{posts: &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: bridgeConnections}}}
	account, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return nil, err
	}
	account.QPS, account.DisableCompression = -1, true
	if c.bare, err = client.New(account, client.Options{Scheme: s.admin.Scheme()}); err != nil {
		return nil, err
	}
	if c.horizon, err = horizon.Start(horizon.Options{Scopes: map[string][]string{"webhooks:read-write": {"groups/webhooks", "webhooks", "webhooks/logs", "webhooklogs"}}}); err != nil {
		return nil, err
	}
	c.cluster = c.horizon.AddCluster(c.horizon.AddApplication(c.horizon.AddGroup(0, "music"), "web", "P1"), "web-prod", "online")
	if c.address, err = ports.Others.FreeAddress(); err != nil {
		return nil, errors.Join(err, c.horizon.Close())
	}
	c.horizon.AddWebhook(horizon.Groups, 0, horizon.Webhook{Enabled: true, URL: "http://" + c.address + "/horizon", Secret: secretValue, Triggers: []string{"*"}})
	o := operator.BridgeOptions{
		Binary: b.bridge, Kubeconfig: kubeconfig, Log: filepath.Join(b.Out, bridgeLog), Address: c.address, HorizonURL: c.horizon.URL(""),
		TokenFile: filepath.Join(dir, "token"), SecretFile: filepath.Join(dir, "secret"), RoutesFile: filepath.Join(dir, "routes"),
	}
	for path, content := range map[string]string{
		o.TokenFile:  c.horizon.Token("groups:read-only", "applications:read-only", "clusters:read-only", "webhooks:read-write"),
		o.SecretFile: secretValue,
		o.RoutesFile: "default: " + operator.DefaultSystemNamespace + "\nroutes:\n  /music: " + bridgeNamespace + "\n",
	} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			return nil, errors.Join(err, c.horizon.Close())
		}
	}
	if c.process, err = operator.LaunchBridge(o); err != nil {
		return nil, errors.Join(err, c.horizon.Close())
	}
	if err := c.process.WaitReady(ctx); err != nil {
		return nil, errors.Join(err, c.process.Kill(), c.horizon.Close())
	}
	return c, nil
}

// pace sends events at bridgeRate from bridgeConnections, which send one at a time each.
// What is late is sent at once.
func (b *bench) pace(ctx context.Context, events int, send func(context.Context, int64) error) (bridgePhase, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	times := make([][]float64, bridgeConnections)
	began := time.Now()
	var wg sync.WaitGroup
	for connection := range bridgeConnections {
		wg.Go(func() {
			for i := connection; i < events && ctx.Err() == nil; i += bridgeConnections {
				due := began.Add(time.Duration(i) * time.Second / bridgeRate)
				if sleep(ctx, time.Until(due)) != nil {
					return
				}
				start := time.Now()
				if err := send(ctx, b.event.Add(1)); err != nil {
					cancel(err)
					return
				}
				times[connection] = append(times[connection], milliseconds(time.Since(start)))
			}
		})
	}
	wg.Wait()
	if err := context.Cause(ctx); err != nil {
		return bridgePhase{}, err
	}
	p := bridgePhase{rate: float64(events) / time.Since(began).Seconds()}
	for _, some := range times {
		p.times = append(p.times, some...)
	}
	return p, nil
}

// create makes an event as the bridge does.
func (c *bridgeScene) create(ctx context.Context, id int64) error {
	return c.bare.Create(ctx, &v1alpha1.WebhookEvent{
		ObjectMeta: metav1.ObjectMeta{Namespace: bridgeNamespace, Name: fmt.Sprintf("horizon-%d", id)},
		Spec: v1alpha1.WebhookEventSpec{
			EventID: id, EventType: "clusters_deployed", Time: metav1.Now(), ResourcePath: "/music/web/web-prod",
			Cluster: &v1alpha1.ClusterInfo{ID: &c.cluster, Name: "web-prod", ApplicationName: "web", Env: "online"},
			User:    &v1alpha1.UserInfo{ID: new(int64(1)), Name: "admin", Email: "test@noreply.com"},
		},
	})
}

// post sends an event as Horizon does.
func (c *bridgeScene) post(ctx context.Context, id int64) error {
	body := fmt.Sprintf(`{"id":%d,"eventID":%[1]d,"webhookID":1,"cluster":{"id":%d,"name":"web-prod","applicationName":"web","env":"online"},`+
		`"eventType":"clusters_deployed","user":{"id":1,"name":"admin","email":"test@noreply.com"},"extra":""}`, id, c.cluster)
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+c.address+"/horizon", strings.NewReader(body))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/json;charset=utf-8")
	r.Header.Set("X-Horizon-Webhook-Secret", secretValue)
	resp, err := c.posts.Do(r)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusCreated {
		return fmt.Errorf("the bridge answers %s: %s", resp.Status, answer)
	}
	return nil
}

func (b *bench) bridgeRows() []row {
	ours, bare := b.figures.bridge.ours, b.figures.bridge.bare
	rates := func(all []bridgePhase) []float64 { return mapped(all, func(p bridgePhase) float64 { return p.rate }) }
	slowest := func(all []bridgePhase) []float64 {
		return mapped(all, func(p bridgePhase) float64 { return quantile(p.times, 0.99) })
	}
	return []row{
		{
			ID: rowBridge, Name: fmt.Sprintf("events/s through the bridge, %d a second from %d connections", bridgeRate, bridgeConnections), Unit: "%", AtLeast: true, Goal: 85,
			values: of(rates(ours), rates(bare), percent), Horizon: "195/s to one receiver",
			Note: fmt.Sprintf("%.0f/s, bare creates %.0f/s", median(rates(ours)), median(rates(bare))),
		},
		{
			ID: rowBridge + "-p99", Name: "the bridge's answer, p99", Unit: "×", Goal: 2, values: of(slowest(ours), slowest(bare), ratio),
			Note: fmt.Sprintf("%.1f ms, of a bare create %.1f ms", median(slowest(ours)), median(slowest(bare))),
		},
	}
}
