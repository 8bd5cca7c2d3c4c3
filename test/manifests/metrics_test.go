package manifests

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	appsv1 "k8s.io/api/apps/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	certutil "k8s.io/client-go/util/cert"

	"github.com/horizoncd/webhook-operator/test/operator"
)

// scraper is an account of the tenant's namespace, with its token.
func scraper(t *testing.T, name string) (token string) {
	t.Helper()
	accounts := cluster.admin.CoreV1().ServiceAccounts(tenant)
	_, err := accounts.Create(t.Context(), &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		t.Fatal(err)
	}
	request, err := accounts.CreateToken(t.Context(), name, &authenticationv1.TokenRequest{}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return request.Status.Token
}

// scrape gets /metrics over TLS. It verifies the certificate if there are roots.
func scrape(t *testing.T, op *operator.Operator, token string, roots *x509.CertPool) (status int, body string, err error) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+op.MetricsAddress()+"/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	client := &http.Client{Timeout: patience, Transport: &http.Transport{
		DisableKeepAlives: true, ForceAttemptHTTP2: true,
		TLSClientConfig: &tls.Config{InsecureSkipVerify: roots == nil, RootCAs: roots},
	}}
	resp, err := client.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.ProtoMajor != 1 {
		t.Errorf("served by %s", resp.Proto)
	}
	data, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(data), err
}

// startServing starts the operator, and returns when it listens for scrapes: it is ready
// before its certificate is made.
func startServing(t *testing.T, args ...string) *operator.Operator {
	t.Helper()
	op := startOperatorIn(t, systemNamespace, args)
	NewWithT(t).Eventually(func() error {
		conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", op.MetricsAddress())
		if err != nil {
			return err
		}
		return conn.Close()
	}).WithTimeout(patience).Should(Succeed())
	return op
}

// With the flags and the roles of config/default, metrics are for those who may get
// them, over TLS.
func TestMetricsAreForWhoMayScrape(t *testing.T) {
	g := NewWithT(t)
	allowed, stranger := scraper(t, "prometheus"), scraper(t, "nobody")
	_, err := cluster.admin.RbacV1().ClusterRoleBindings().Create(t.Context(), &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "prometheus"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "horizon-metrics-reader"},
		Subjects:   []rbacv1.Subject{{Kind: "ServiceAccount", Namespace: tenant, Name: "prometheus"}},
	}, metav1.CreateOptions{})
	g.Expect(err).NotTo(HaveOccurred())
	t.Cleanup(func() {
		if err := cluster.admin.RbacV1().ClusterRoleBindings().Delete(cleanup(t), "prometheus", metav1.DeleteOptions{}); err != nil {
			t.Error(err)
		}
	})
	op := startServing(t, append(deployment(t).Spec.Template.Spec.Containers[0].Args, "--metrics-secure=true")...)

	// Until the API server knows of the binding, and the answer is not kept any more.
	g.Eventually(func() (int, error) {
		status, body, err := scrape(t, op, allowed, nil)
		if status == http.StatusOK {
			g.Expect(body).To(ContainSubstring("webhook_operator_pending_deliveries 0"))
		}
		return status, err
	}).WithTimeout(2 * time.Minute).Should(Equal(http.StatusOK))
	for name, tc := range map[string]struct {
		token string
		want  int
	}{
		"no token": {want: http.StatusUnauthorized},
		// As controller-runtime has it: the API server's refusal is an error like any other.
		"no token of this cluster": {token: "abc", want: http.StatusInternalServerError},
		"one without the right":    {token: stranger, want: http.StatusForbidden},
		"one with it, again":       {token: allowed, want: http.StatusOK},
	} {
		status, body, err := scrape(t, op, tc.token, nil)
		if err != nil || status != tc.want || strings.Contains(body, "webhook_operator_") != (status == http.StatusOK) {
			t.Errorf("%s: got %d, %v, want %d:\n%s", name, status, err, tc.want, body)
		}
	}
	if body, err := op.Metrics(t.Context()); err == nil || strings.Contains(body, "webhook_operator_") {
		t.Errorf("in plain HTTP: %v\n%s", err, body)
	}
	(&stage{t: t, WithT: g, operator: op}).neverForbidden()
}

// What the API server has said of a token counts for a while when it is away. Of another
// token nothing is known then, and the scrape fails rather than hang.
func TestMetricsWithoutTheAPIServer(t *testing.T) {
	g := NewWithT(t)
	known, unknown := scraper(t, "known"), scraper(t, "unknown")
	op := startServing(t, "--metrics-secure=true")
	answer := func(token string) int {
		status, _, err := scrape(t, op, token, nil)
		g.Expect(err).NotTo(HaveOccurred())
		return status
	}
	g.Expect(answer(known)).To(Equal(http.StatusForbidden))
	g.Expect(cluster.APIServer.Pause()).To(Succeed())
	t.Cleanup(func() {
		g.Expect(cluster.APIServer.Resume()).To(Succeed())
		g.Expect(waitServed(cleanup(t))).To(Succeed())
	})
	g.Expect(answer(known)).To(Equal(http.StatusForbidden))
	began := time.Now()
	g.Expect(answer(unknown)).To(Equal(http.StatusInternalServerError))
	t.Logf("refused after %v", time.Since(began))
}

// With the flags of config/namespaced, they are in plain HTTP and for everyone, at the
// ports that its objects name.
func TestMetricsInPlainHTTP(t *testing.T) {
	g := NewWithT(t)
	var deployed appsv1.Deployment
	var service corev1.Service
	for _, obj := range rendered(t, "namespaced") {
		switch obj.GetKind() {
		case "Deployment":
			g.Expect(runtime.DefaultUnstructuredConverter.FromUnstructured(obj.Object, &deployed)).To(Succeed())
		case "Service":
			g.Expect(runtime.DefaultUnstructuredConverter.FromUnstructured(obj.Object, &service)).To(Succeed())
		}
	}
	c := deployed.Spec.Template.Spec.Containers[0]
	g.Expect(c.Args).To(ContainElement("--metrics-bind-address=:8080"))
	g.Expect(c.Ports).To(ContainElement(corev1.ContainerPort{Name: "metrics", ContainerPort: 8080}))
	g.Expect(service.Spec.Ports).To(ConsistOf(HaveField("Port", int32(8080))))

	makeNamespaces(t, tenant, neighbour)
	op := startServing(t, c.Args...)
	g.Expect(op.Metrics(t.Context())).To(ContainSubstring("webhook_operator_pending_deliveries 0"))
	_, _, err := scrape(t, op, "", nil)
	g.Expect(err).To(MatchError(ContainSubstring("HTTP response to HTTPS client")))
}

// A certificate of one's own is served, and its successor without a restart.
func TestMetricsCertificate(t *testing.T) {
	g := NewWithT(t)
	dir := t.TempDir()
	renew := func() *x509.CertPool {
		cert, key, err := certutil.GenerateSelfSignedCertKey("127.0.0.1", []net.IP{{127, 0, 0, 1}}, nil)
		g.Expect(err).NotTo(HaveOccurred())
		for name, data := range map[string][]byte{"tls.key": key, "tls.crt": cert} {
			path := filepath.Join(dir, name)
			g.Expect(os.WriteFile(path+".new", data, 0o600)).To(Succeed())
			g.Expect(os.Rename(path+".new", path)).To(Succeed())
		}
		roots := x509.NewCertPool()
		for block, rest := pem.Decode(cert); block != nil; block, rest = pem.Decode(rest) {
			c, err := x509.ParseCertificate(block.Bytes)
			g.Expect(err).NotTo(HaveOccurred())
			roots.AddCert(c)
		}
		return roots
	}
	first := renew()
	op := startServing(t, "--metrics-secure=true", "--metrics-cert-dir="+dir)
	status, _, err := scrape(t, op, "", first)
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(status).To(Equal(http.StatusUnauthorized))
	second := renew()
	g.Eventually(func() error { _, _, err := scrape(t, op, "", second); return err }).WithTimeout(time.Minute).Should(Succeed())
	g.Expect(os.Remove(filepath.Join(dir, "tls.key"))).To(Succeed())
	_, _, err = scrape(t, op, "", second)
	g.Expect(err).NotTo(HaveOccurred())
}

// config/monitoring has an account that may get /metrics, and do nothing else.
func TestMetricsReader(t *testing.T) {
	g := NewWithT(t)
	objects, err := newObjects(cluster.Config())
	g.Expect(err).NotTo(HaveOccurred())
	for _, obj := range rendered(t, "monitoring") {
		if obj.GroupVersionKind().Group == "monitoring.coreos.com" {
			continue // test/monitoring knows these
		}
		_, err := objects.apply(t.Context(), obj, metav1.ApplyOptions{})
		g.Expect(err).NotTo(HaveOccurred())
	}
	reader := serviceAccount(systemNamespace, "horizon-metrics-reader")
	mayGet := func(path string) bool {
		review, err := cluster.admin.AuthorizationV1().SubjectAccessReviews().Create(t.Context(), &authorizationv1.SubjectAccessReview{
			Spec: authorizationv1.SubjectAccessReviewSpec{
				User: reader.user, Groups: reader.groups,
				NonResourceAttributes: &authorizationv1.NonResourceAttributes{Path: path, Verb: "get"},
			},
		}, metav1.CreateOptions{})
		g.Expect(err).NotTo(HaveOccurred())
		return review.Status.Allowed
	}
	g.Eventually(func() bool { return mayGet("/metrics") }).WithTimeout(patience).Should(BeTrue())
	g.Expect(mayGet("/debug/pprof/")).To(BeFalse())
	anyone := serviceAccount(tenant, "nobody").permissions(t, tenant)
	g.Expect(reader.permissions(t, systemNamespace)).To(Equal(anyone))
	for _, obj := range rendered(t, "monitoring-plain") {
		if kind := obj.GetKind(); kind == "Secret" || kind == "ServiceAccount" || kind == "ClusterRoleBinding" {
			t.Errorf("in plain HTTP, there is a %s", kind)
		}
	}
}

// The objects for other tools are valid, and those about the operator's pods select them.
func TestObjectsForOtherTools(t *testing.T) {
	g := NewWithT(t)
	makeNamespaces(t, "argocd", "monitoring")
	objects, err := newObjects(cluster.Config())
	g.Expect(err).NotTo(HaveOccurred())
	labels := deployment(t).Spec.Template.Labels
	for _, dir := range []string{"argo-cd", "disruption-budget", "kube-state-metrics"} {
		for _, obj := range rendered(t, dir) {
			_, err := objects.apply(t.Context(), obj, metav1.ApplyOptions{DryRun: []string{metav1.DryRunAll}})
			g.Expect(err).NotTo(HaveOccurred())
			if obj.GetKind() == "PodDisruptionBudget" {
				selected, _, err := unstructured.NestedStringMap(obj.Object, "spec", "selector", "matchLabels")
				g.Expect(err).NotTo(HaveOccurred())
				g.Expect(selected).To(Equal(labels))
				g.Expect(obj.GetNamespace()).To(Equal(systemNamespace))
			}
		}
	}
	service, err := cluster.admin.CoreV1().Services(systemNamespace).Get(t.Context(), operatorName+"-metrics", metav1.GetOptions{})
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(service.Spec.Selector).To(Equal(labels))
	g.Expect(service.Spec.Ports[0].TargetPort.StrVal).To(Equal("metrics"))
}
