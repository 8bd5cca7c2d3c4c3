package monitoring

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	. "github.com/onsi/gomega"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/test/controlplane"
	"github.com/horizoncd/webhook-operator/test/ports"
	"github.com/horizoncd/webhook-operator/test/receiver"
)

// kubeStateMetrics runs kube-state-metrics with what config/kube-state-metrics has, as
// the account that it binds, and returns how to scrape it.
func kubeStateMetrics(t *testing.T, binary string) func() (string, error) {
	t.Helper()
	g := NewWithT(t)
	kubectl, err := cluster.Kubectl()
	g.Expect(err).NotTo(HaveOccurred())
	apply := exec.CommandContext(t.Context(), kubectl, "apply", "--server-side", "-k", root+"/config/kube-state-metrics")
	apply.Env, err = cluster.install.Environment("")
	g.Expect(err).NotTo(HaveOccurred())
	out, err := apply.CombinedOutput()
	g.Expect(err).NotTo(HaveOccurred(), string(out))
	account, err := cluster.UserConfig("system:serviceaccount:monitoring:kube-state-metrics", "system:serviceaccounts")
	g.Expect(err).NotTo(HaveOccurred())
	kubeconfig := filepath.Join(t.TempDir(), "kubeconfig")
	g.Expect(controlplane.WriteKubeconfig(kubeconfig, account)).To(Succeed())
	free, err := ports.Others.Free(2)
	g.Expect(err).NotTo(HaveOccurred())

	ctx, cancel := context.WithCancel(t.Context())
	var log bytes.Buffer
	cmd := exec.CommandContext(ctx, binary, "--kubeconfig="+kubeconfig,
		"--custom-resource-state-only", "--custom-resource-state-config-file="+root+"/config/kube-state-metrics/custom-resource-state.yaml",
		"--host=127.0.0.1", fmt.Sprintf("--port=%d", free[0]), "--telemetry-host=127.0.0.1", fmt.Sprintf("--telemetry-port=%d", free[1]))
	cmd.Stdout, cmd.Stderr = &log, &log
	g.Expect(cmd.Start()).To(Succeed())
	t.Cleanup(func() {
		cancel()
		_ = cmd.Wait() // it was killed
		if t.Failed() {
			t.Logf("kube-state-metrics:\n%s", &log)
		}
	})
	return func() (string, error) {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+ports.Address(free[0])+"/metrics", nil)
		if err != nil {
			return "", err
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return "", err
		}
		defer func() { _ = resp.Body.Close() }()
		body, err := io.ReadAll(resp.Body)
		return string(body), err
	}
}

// kube-state-metrics makes of Webhooks what docs/monitoring.md says, and the queries of
// the dashboard and the alerts about single Webhooks are answered from it.
func TestKubeStateMetrics(t *testing.T) {
	binary := os.Getenv("KUBE_STATE_METRICS")
	if binary == "" {
		t.Skip("KUBE_STATE_METRICS is not set: make test-kube-state-metrics builds it, which takes minutes, and runs this")
	}
	startCluster(t)
	g := NewWithT(t)
	r, err := receiver.Start(receiver.Options{})
	g.Expect(err).NotTo(HaveOccurred())
	t.Cleanup(func() { _ = r.Close() })
	r.Script("/down", receiver.Answer{Status: 500})
	ctx, c := t.Context(), cluster.install.Client
	for _, name := range []string{"music", "monitoring"} {
		g.Expect(c.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}})).To(Succeed())
	}
	for name, change := range map[string]func(*v1alpha1.Webhook){
		"fine": func(*v1alpha1.Webhook) {},
		"down": func(w *v1alpha1.Webhook) { w.Spec.Retry.Limit = new(int32(0)) },
		"unready": func(w *v1alpha1.Webhook) {
			w.Spec.SecretRef = &v1alpha1.SecretKeyReference{Name: "missing", Key: "token"}
		},
		"paused":  func(w *v1alpha1.Webhook) { w.Spec.State = v1alpha1.WebhookPaused },
		"limited": func(w *v1alpha1.Webhook) { w.Spec.RateLimit = &v1alpha1.RateLimit{Requests: 1, PerSeconds: 900} },
	} {
		w := &v1alpha1.Webhook{ObjectMeta: metav1.ObjectMeta{Namespace: "music", Name: name}}
		w.Spec.URL, w.Spec.Triggers = r.URL("/"+name), []v1alpha1.Trigger{"*"}
		change(w)
		g.Expect(c.Create(ctx, w)).To(Succeed())
	}
	for _, name := range []string{"first", "second"} {
		e := &v1alpha1.WebhookEvent{ObjectMeta: metav1.ObjectMeta{Namespace: "music", Name: name}}
		e.Spec.EventType = "clusters_created"
		g.Expect(c.Create(ctx, e)).To(Succeed())
	}

	scrapeIt := kubeStateMetrics(t, binary)
	var text string
	g.Eventually(func() string {
		var err error
		if text, err = scrapeIt(); err != nil {
			return err.Error()
		}
		return cmp.Diff(wantOfWebhooks, ofWebhooks(t, text))
	}).WithTimeout(patience).Should(BeEmpty())

	var titles []string
	var queries []query
	at := time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)
	of := func(title, expr string) {
		if strings.Contains(expr, "horizon_webhook_") {
			titles = append(titles, title)
			queries = append(queries, query{Expr: expr, Start: at, End: at, Step: time.Second})
		}
	}
	for _, p := range panels(t) {
		for _, target := range p.Targets {
			of(p.Title, target.Expr)
		}
	}
	_, alerts := alertRules(t)
	for name, alert := range alerts {
		of(name, alert.Expr)
	}
	exist := families(text)
	for i, a := range ask(t, []scrape{{Time: at, Labels: map[string]string{"job": "kube-state-metrics"}, Text: text}}, queries) {
		for _, metric := range a.Metrics {
			if !exist[metric] {
				t.Errorf("%s names %s, which there is not", titles[i], metric)
			}
		}
		// Ten thousand deliveries would have to wait.
		if overflowing := strings.Contains(queries[i].Expr, "Overflowing"); (len(a.Series) == 0) != overflowing {
			t.Errorf("%s: %d answers to %s", titles[i], len(a.Series), queries[i].Expr)
		}
	}
}

// wantOfWebhooks are the series by Webhook.
var wantOfWebhooks = map[string][]string{
	"down": {
		"condition Healthy False Failing", "condition Ready True Usable",
		"deliveries failed 2", "deliveries succeeded 0", "deliveries waiting 0", "info Enabled", "last_delivery_timestamp_seconds",
	},
	"fine": {
		"condition Healthy True Accepted", "condition Ready True Usable",
		"deliveries failed 0", "deliveries succeeded 2", "deliveries waiting 0", "info Enabled", "last_delivery_timestamp_seconds",
	},
	"limited": {
		"condition Healthy True Accepted", "condition RateLimited True RateLimited", "condition Ready True Usable",
		"deliveries failed 0", "deliveries succeeded 1", "deliveries waiting 1", "info Enabled", "last_delivery_timestamp_seconds",
	},
	"paused": {
		"condition Healthy Unknown NothingSent", "condition Ready True Usable",
		"deliveries failed 0", "deliveries succeeded 0", "deliveries waiting 2", "info Paused",
	},
	"unready": {
		"condition Healthy Unknown NothingSent", "condition Ready False SecretNotFound",
		"deliveries failed 0", "deliveries succeeded 0", "deliveries waiting 2", "info Enabled",
	},
}

// ofWebhooks are the series of the Webhooks of music: names without what all begin with,
// labels, and the values of counts.
func ofWebhooks(t *testing.T, text string) map[string][]string {
	t.Helper()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	got := map[string][]string{}
	for name, family := range families {
		for _, metric := range family.GetMetric() {
			labels := map[string]string{}
			for _, l := range metric.GetLabel() {
				labels[l.GetName()] = l.GetValue()
			}
			// Reconciling turns into Stalled with time.
			if labels["namespace"] != "music" || labels["type"] == v1alpha1.ConditionReconciling || labels["type"] == v1alpha1.ConditionStalled {
				continue
			}
			what := []string{strings.TrimPrefix(name, "horizon_webhook_")}
			for _, label := range []string{"type", "status", "reason", "result", "state", "format"} {
				if value := labels[label]; value != "" {
					what = append(what, value)
				}
			}
			if labels["result"] != "" {
				what = append(what, fmt.Sprint(metric.GetGauge().GetValue()))
			}
			got[labels["webhook"]] = append(got[labels["webhook"]], strings.Join(what, " "))
		}
	}
	for _, all := range got {
		slices.Sort(all)
	}
	return got
}
