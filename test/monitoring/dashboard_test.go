package monitoring

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/test/receiver"
)

// panel is one of the dashboard that has queries.
type panel struct {
	Title   string `json:"title"`
	Type    string `json:"type"`
	Targets []struct {
		Expr string `json:"expr"`
	} `json:"targets"`
	GridPos struct{ X, Y, W, H int } `json:"gridPos"`
}

func panels(t *testing.T) []panel {
	t.Helper()
	var dashboard struct {
		Panels []panel `json:"panels"`
	}
	if err := json.Unmarshal(read(t, root+"/config/monitoring/dashboard.json"), &dashboard); err != nil {
		t.Fatal(err)
	}
	return dashboard.Panels
}

// Panels have titles of their own and do not lie on each other.
func TestDashboardIsLaidOut(t *testing.T) {
	titles := map[string]bool{}
	taken := map[[2]int]string{}
	for _, p := range panels(t) {
		if p.Title == "" || titles[p.Title] {
			t.Errorf("the title %q is there twice, or empty", p.Title)
		}
		titles[p.Title] = true
		if (p.Type == "row") != (len(p.Targets) == 0) {
			t.Errorf("%s has %d queries", p.Title, len(p.Targets))
		}
		for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
			for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
				if other := taken[[2]int{x, y}]; other != "" || x >= 24 {
					t.Fatalf("%s lies on %q, or beyond the edge", p.Title, other)
				}
				taken[[2]int{x, y}] = p.Title
			}
		}
	}
}

const (
	// scrapes are a quarter of a minute apart in what Prometheus' engine is given, and
	// as far as it takes to make something happen in between.
	scrapeInterval = 15 * time.Second
	scrapes        = 12
)

// record runs the operator with receivers of all kinds and scrapes it. Nothing waits for
// a clock: between two scrapes, an event reaches the receiver that accepts.
func record(t *testing.T) (recorded []scrape) {
	t.Helper()
	g := NewWithT(t)
	startCluster(t)
	r, err := receiver.Start(receiver.Options{})
	g.Expect(err).NotTo(HaveOccurred())
	t.Cleanup(func() { _ = r.Close() })
	r.Script("/down", receiver.Answer{Status: 500})
	r.Script("/gone", receiver.Answer{Status: 410})
	ctx, c := t.Context(), cluster.install.Client
	create := func(obj client.Object) {
		t.Helper()
		g.Expect(c.Create(ctx, obj)).To(Succeed())
	}
	once := func(w *v1alpha1.Webhook) { w.Spec.Retry.Limit = new(int32(0)) }
	for name, change := range map[string]func(*v1alpha1.Webhook){
		"fine": func(*v1alpha1.Webhook) {},
		"down": once,
		"gone": once,
		"unready": func(w *v1alpha1.Webhook) {
			w.Spec.SecretRef = &v1alpha1.SecretKeyReference{Name: "missing", Key: "token"}
		},
		"filters": func(w *v1alpha1.Webhook) { w.Spec.Filter = "1 / (event.eventID - event.eventID) == 1" },
		"few":     func(w *v1alpha1.Webhook) { w.Spec.Retention.Limit = new(int32(1)) },
	} {
		w := &v1alpha1.Webhook{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name}}
		w.Spec.URL = r.URL("/" + name)
		w.Spec.Triggers = []v1alpha1.Trigger{"*"}
		change(w)
		create(w)
	}
	start := time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)
	for n := range scrapes {
		text, err := cluster.operator.Metrics(ctx)
		g.Expect(err).NotTo(HaveOccurred())
		recorded = append(recorded, scrape{
			Time: start.Add(time.Duration(n) * scrapeInterval), Text: text,
			Labels: map[string]string{"job": "webhook-operator", "namespace": "horizon-webhooks", "pod": "a", "instance": "127.0.0.1"},
		})
		e := &v1alpha1.WebhookEvent{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: fmt.Sprintf("event-%d", n)}}
		e.Spec.EventType = "clusters_created"
		create(e)
		g.Expect(r.WaitRequests(ctx, "/fine", n+1)).To(Succeed())
	}
	return recorded
}

// The operator has all metrics that the alerts and the dashboard name, and each query of
// the dashboard is answered from a recording of a run.
func TestDashboardIsAnswered(t *testing.T) {
	tool(t, "PROMCHECK")
	recorded := record(t)
	exist := families(recorded[len(recorded)-1].Text)
	exist["up"] = true // Prometheus' own
	first, last := recorded[0].Time, recorded[len(recorded)-1].Time

	_, alerts := alertRules(t)
	for name, r := range alerts {
		for _, metric := range metricsOf(t, r.Expr)[0] {
			if !exist[metric] && !strings.HasPrefix(metric, "horizon_webhook_") {
				t.Errorf("the alert %s names %s, which the operator does not have", name, metric)
			}
		}
	}

	var titles []string
	var queries []query
	for _, p := range panels(t) {
		for _, target := range p.Targets {
			expr := strings.NewReplacer("$__rate_interval", "1m", "$__range", "3m", "$namespace", ".*").Replace(target.Expr)
			titles = append(titles, p.Title)
			queries = append(queries, query{Expr: expr, Start: first.Add(time.Minute), End: last, Step: scrapeInterval})
		}
	}
	for i, a := range ask(t, recorded, queries) {
		if slices.ContainsFunc(a.Metrics, func(name string) bool { return strings.HasPrefix(name, "horizon_webhook_") }) {
			continue // they are not the operator's
		}
		for _, metric := range a.Metrics {
			if !exist[metric] {
				t.Errorf("%s names %s, which the operator does not have", titles[i], metric)
			}
		}
		if len(a.Series) == 0 {
			t.Errorf("%s: no answer to %s", titles[i], queries[i].Expr)
		}
		for _, s := range a.Series {
			for _, p := range s.Points {
				if p.Value == "NaN" && !mayBeNaN[titles[i]] {
					t.Errorf("%s: NaN at %s, of %s", titles[i], p.Time, queries[i].Expr)
					break
				}
			}
		}
	}
}

// mayBeNaN are panels of what may not have happened for a minute.
var mayBeNaN = map[string]bool{
	"Time to store": true, "Time of the controllers": true,
}
