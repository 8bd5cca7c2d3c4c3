package manifests

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/horizoncd/webhook-operator/test/controlplane"
	"github.com/horizoncd/webhook-operator/test/operator"
	"github.com/horizoncd/webhook-operator/test/receiver"
)

// startOperator runs the operator with the flags of the Deployment, as the
// service account that the manifests bind. Only its addresses are others.
func startOperator(t *testing.T) *operator.Operator {
	t.Helper()
	return startOperatorIn(t, systemNamespace, deployment(t).Spec.Template.Spec.Containers[0].Args)
}

// startOperatorIn runs it as the same account of a namespace.
func startOperatorIn(t *testing.T, namespace string, args []string) *operator.Operator {
	t.Helper()
	dir := t.TempDir()
	binary, err := operator.Build(t.Context(), "../..", dir)
	if err != nil {
		t.Fatal(err)
	}
	s := serviceAccount(namespace, operatorName)
	account, err := cluster.UserConfig(s.user, s.groups...)
	if err != nil {
		t.Fatal(err)
	}
	options := operator.Options{
		Binary:          binary,
		Kubeconfig:      filepath.Join(dir, "kubeconfig"),
		Log:             filepath.Join(dir, "operator.log"),
		SystemNamespace: namespace,
		Args: slices.DeleteFunc(args, func(arg string) bool {
			return strings.Contains(arg, "-bind-address")
		}),
	}
	if err := controlplane.WriteKubeconfig(options.Kubeconfig, account); err != nil {
		t.Fatal(err)
	}
	op, err := operator.Start(t.Context(), options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := op.Kill(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			log, err := os.ReadFile(options.Log)
			t.Logf("the operator's log (%v):\n%s", err, log)
		}
	})
	return op
}

// What the manifests grant is enough for the operator: it takes its lease,
// delivers, writes down what became of it, tells of a Secret that is missing,
// and gives the lease back.
func TestOperatorRuns(t *testing.T) {
	g := NewWithT(t)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	r, err := receiver.Start(receiver.Options{})
	g.Expect(err).NotTo(HaveOccurred())
	t.Cleanup(func() { _ = r.Close() })
	op := startOperator(t)
	go func() {
		<-op.Done()
		cancel() // nothing more is to be waited for
	}()

	holder := func() string {
		lease, err := cluster.admin.CoordinationV1().Leases(systemNamespace).Get(ctx, "webhook-operator.horizoncd.io", metav1.GetOptions{})
		if err != nil || lease.Spec.HolderIdentity == nil {
			return ""
		}
		return *lease.Spec.HolderIdentity
	}
	g.Eventually(holder).WithTimeout(patience).ShouldNot(BeEmpty())

	reachable, incomplete := webhook("reachable"), webhook("incomplete")
	for _, w := range []*unstructured.Unstructured{reachable, incomplete} {
		spec := w.Object["spec"].(map[string]any)
		spec["url"] = r.URL("/" + w.GetName())
		spec["secretRef"] = map[string]any{"name": w.GetName(), "key": "token"}
		// One attempt more than the first shows that records are added to.
		spec["retry"] = map[string]any{"minBackoffSeconds": int64(1)}
	}
	_, err = cluster.admin.CoreV1().Secrets(tenant).Create(ctx, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: "reachable"}, StringData: map[string]string{"token": "a-token"},
	}, metav1.CreateOptions{})
	g.Expect(err).NotTo(HaveOccurred())
	t.Cleanup(func() {
		if err := cluster.admin.CoreV1().Secrets(tenant).Delete(cleanup(t), "reachable", metav1.DeleteOptions{}); err != nil {
			t.Error(err)
		}
	})
	r.Script("/reachable", receiver.Answer{Status: 503}, receiver.Answer{Status: 200})
	create(t, "webhooks", reachable)
	create(t, "webhooks", incomplete)
	create(t, "webhookevents", event("runs"))

	if err := r.WaitRequests(ctx, "/reachable", 2); err != nil {
		t.Fatalf("waiting for two requests: %v; the operator: %s", err, op.State())
	}
	status := func(plural, name string, path ...string) func() string {
		return func() string {
			obj, err := horizon(t, cluster.Config(), plural).Get(ctx, name, metav1.GetOptions{})
			if err != nil {
				return err.Error()
			}
			value, _, _ := unstructured.NestedFieldNoCopy(obj.Object, append([]string{"status"}, path...)...)
			text, _ := value.(string)
			return text
		}
	}
	results := func() []string {
		list, err := horizon(t, cluster.Config(), "webhookdeliveries").List(ctx, metav1.ListOptions{
			LabelSelector: "horizoncd.io/webhook in (reachable, incomplete)",
		})
		if err != nil {
			return []string{err.Error()}
		}
		var got []string
		for _, d := range list.Items {
			result, _, _ := unstructured.NestedString(d.Object, "status", "result")
			got = append(got, d.GetLabels()["horizoncd.io/webhook"]+" "+result)
		}
		return got
	}
	g.Eventually(results).WithTimeout(patience).Should(ConsistOf("reachable Succeeded", "incomplete Waiting"))
	g.Eventually(status("webhookevents", "runs", "result")).WithTimeout(patience).Should(Equal("Waiting"))
	g.Eventually(func() string {
		events, err := cluster.admin.EventsV1().Events(tenant).List(ctx, metav1.ListOptions{})
		g.Expect(err).NotTo(HaveOccurred())
		for _, e := range events.Items {
			if e.Regarding.Name == "incomplete" {
				return e.Reason
			}
		}
		return ""
	}).WithTimeout(patience).Should(Equal("SecretNotFound"))

	if err := op.Stop(); err != nil {
		t.Error(err)
	}
	ctx = t.Context() // the other one has ended with the operator
	g.Expect(holder()).To(BeEmpty(), "the lease is given back")
	log, err := op.Output()
	g.Expect(err).NotTo(HaveOccurred())
	for line := range strings.Lines(log) {
		if strings.Contains(line, "forbidden") {
			t.Errorf("the operator tried what it may not do: %s", line)
		}
	}
}
