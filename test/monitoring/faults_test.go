package monitoring

import (
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/test/controlplane"
	"github.com/horizoncd/webhook-operator/test/operator"
	"github.com/horizoncd/webhook-operator/test/receiver"
)

// etcdQuota is a bit more than a control plane with the project needs.
const etcdQuota = 24 << 20

// recorder scrapes the operator while things go wrong.
type recorder struct {
	*WithT
	t        *testing.T
	operator *operator.Operator
	scrapes  []scrape
}

// scrape adds what the operator serves now, once it is as it should be.
func (r *recorder) scrape(until func(text string) bool) (text string) {
	r.t.Helper()
	r.Eventually(func() bool {
		var err error
		text, err = r.operator.Metrics(r.t.Context())
		return err == nil && until(text)
	}).WithTimeout(patience).Should(BeTrue(), "what is waited for in the metrics")
	at := time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC).Add(time.Duration(len(r.scrapes)) * scrapeInterval)
	r.scrapes = append(r.scrapes, scrape{Time: at, Text: text, Labels: map[string]string{"job": "webhook-operator", "namespace": "horizon-webhooks"}})
	return text
}

// twice scrapes when a series has more than before, and again when it has yet more: to
// Prometheus, one that has just appeared has not increased.
func (r *recorder) twice(name string, with ...string) {
	r.t.Helper()
	before := r.value(r.scrapes[len(r.scrapes)-1].Text, name, with...)
	for range 2 {
		text := r.scrape(func(text string) bool { return r.value(text, name, with...) > before })
		before = r.value(text, name, with...)
	}
}

// value is the sum of the series of a name with some labels.
func (r *recorder) value(text, name string, with ...string) (sum float64) {
	r.t.Helper()
	for line := range strings.Lines(text) {
		if rest, ok := strings.CutPrefix(line, name); !ok || rest[0] != ' ' && rest[0] != '{' ||
			slices.ContainsFunc(with, func(label string) bool { return !strings.Contains(line, label) }) {
			continue
		}
		v, err := strconv.ParseFloat(strings.TrimSpace(line[strings.LastIndex(line, " "):]), 64)
		r.Expect(err).NotTo(HaveOccurred())
		sum += v
	}
	return sum
}

// alerts are those whose expression is true at the last scrape.
func (r *recorder) alerts() (raised []string) {
	r.t.Helper()
	_, all := alertRules(r.t)
	var names []string
	var queries []query
	at := r.scrapes[len(r.scrapes)-1].Time
	for name, alert := range all {
		names = append(names, name)
		queries = append(queries, query{Expr: alert.Expr, Start: at, End: at, Step: time.Second})
	}
	for i, a := range ask(r.t, r.scrapes, queries) {
		if len(a.Series) > 0 {
			raised = append(raised, names[i])
		}
	}
	return raised
}

// A receiver that is down, a missing permission and a full etcd raise the alerts that
// docs/monitoring.md names for them; before that, all rest.
func TestFaultsRaiseAlerts(t *testing.T) {
	tool(t, "PROMCHECK")
	ctx := t.Context()
	r := &recorder{WithT: NewWithT(t), t: t}
	cp, err := controlplane.Start(ctx, controlplane.Options{EtcdQuotaBytes: etcdQuota})
	r.Expect(err).NotTo(HaveOccurred())
	t.Cleanup(func() { r.Expect(cp.Stop()).To(Succeed()) })
	install, err := operator.Install(ctx, cp, root)
	r.Expect(err).NotTo(HaveOccurred())
	binary, err := operator.Build(ctx, root, cp.Dir())
	r.Expect(err).NotTo(HaveOccurred())
	options := operator.Options{
		Binary: binary, Kubeconfig: install.Kubeconfig, Log: filepath.Join(cp.Dir(), "operator.log"), Args: []string{"--leader-elect"},
	}
	r.operator, err = operator.Start(ctx, options)
	r.Expect(err).NotTo(HaveOccurred())
	t.Cleanup(func() { r.Expect(r.operator.Kill()).To(Succeed()) })
	leads := func(text string) bool { return r.value(text, "leader_election_master_status") == 1 }
	r.scrape(leads)
	r.scrape(leads)
	r.Expect(r.alerts()).To(BeEmpty())

	down, err := receiver.Start(receiver.Options{})
	r.Expect(err).NotTo(HaveOccurred())
	t.Cleanup(func() { _ = down.Close() })
	down.Script("/down", receiver.Answer{Status: 503})
	events := 0
	event := func() {
		e := &v1alpha1.WebhookEvent{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: fmt.Sprintf("event-%d", events)}}
		e.Spec.EventType = "clusters_created"
		r.Expect(install.Client.Create(ctx, e)).To(Succeed())
		events++
	}
	w := &v1alpha1.Webhook{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "down"}}
	w.Spec.URL, w.Spec.Triggers = down.URL("/down"), []v1alpha1.Trigger{"*"}
	r.Expect(install.Client.Create(ctx, w)).To(Succeed())
	for range 6 {
		event()
	}
	r.scrape(func(text string) bool { return r.value(text, "webhook_operator_open_circuits") == 1 })
	r.Expect(r.alerts()).To(ConsistOf("HorizonCircuitsOpen"))

	binding := &rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: "horizon-webhook-operator"}}
	r.Expect(install.Client.Get(ctx, client.ObjectKeyFromObject(binding), binding)).To(Succeed())
	r.Expect(install.Client.Delete(ctx, binding.DeepCopy())).To(Succeed())
	event()
	r.twice("rest_client_requests_total", `code="403"`)
	r.Expect(r.alerts()).To(ContainElement("HorizonForbidden"))
	binding.ResourceVersion, binding.UID = "", ""
	r.Expect(install.Client.Create(ctx, binding)).To(Succeed())

	for n := 0; ; n++ {
		filler := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: fmt.Sprintf("filler-%d", n)}}
		filler.Data = map[string]string{"filler": strings.Repeat("x", 900<<10)}
		if err := install.Client.Create(ctx, filler); err != nil {
			r.Expect(err).To(MatchError(ContainSubstring("database space exceeded")))
			break
		}
	}
	r.twice("webhook_operator_lease_writes_without_space_total")
	r.Expect(r.alerts()).To(ContainElement("HorizonStoreFull"))

	// It ends, and is started again as a kubelet would.
	r.Eventually(r.operator.Done()).WithTimeout(patience).Should(BeClosed())
	r.operator, err = operator.Launch(options)
	r.Expect(err).NotTo(HaveOccurred())
	r.scrape(func(text string) bool { return strings.Contains(text, "leader_election_master_status") && !leads(text) })
	r.twice("webhook_operator_lease_writes_without_space_total")
	r.Expect(r.alerts()).To(ContainElements("HorizonStoreFull", "HorizonNoLeader"))
}
