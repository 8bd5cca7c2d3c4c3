package manifests

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

func deployment(t *testing.T) *appsv1.Deployment {
	t.Helper()
	d, err := cluster.admin.AppsV1().Deployments(systemNamespace).Get(t.Context(), operatorName, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// warnings collects what the server warns of.
type warnings []string

func (w *warnings) HandleWarningHeader(_ int, _ string, text string) { *w = append(*w, text) }

// The operator's pods are admitted where the restricted standard is enforced,
// as it is in the operator's own namespace.
func TestPodSecurity(t *testing.T) {
	d := deployment(t)
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "operator", Labels: d.Spec.Template.Labels},
		Spec:       d.Spec.Template.Spec,
	}
	var warned warnings
	cfg := rest.CopyConfig(cluster.Config())
	cfg.WarningHandler = &warned
	client, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		t.Fatal(err)
	}
	opts := metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}, FieldValidation: metav1.FieldValidationStrict}
	if _, err := client.CoreV1().Pods(systemNamespace).Create(t.Context(), pod, opts); err != nil {
		t.Errorf("a pod of the deployment: %v", err)
	}
	if len(warned) > 0 {
		t.Errorf("the server warns: %q", warned)
	}

	// The namespace does refuse others.
	pod.Spec.Containers[0].SecurityContext.AllowPrivilegeEscalation = new(true)
	if _, err := client.CoreV1().Pods(systemNamespace).Create(t.Context(), pod, opts); err == nil || !strings.Contains(err.Error(), "restricted") {
		t.Errorf("a pod that may escalate its privileges: got %v, want a refusal", err)
	}
}

func TestDeployment(t *testing.T) {
	d := deployment(t)
	pod := d.Spec.Template.Spec
	if len(pod.Containers) != 1 {
		t.Fatalf("%d containers", len(pod.Containers))
	}
	c := pod.Containers[0]

	if c.Image != "horizoncd/webhook-operator:latest" {
		t.Errorf("image %s", c.Image)
	}
	if pod.ServiceAccountName != operatorName {
		t.Errorf("service account %s", pod.ServiceAccountName)
	}
	if !slices.Contains(c.Args, "--leader-elect") {
		t.Error("several replicas would work at once")
	}
	// --drain-seconds is 10; a few more are for the last records and the lease.
	if grace := time.Duration(*pod.TerminationGracePeriodSeconds) * time.Second; grace < 20*time.Second {
		t.Errorf("terminated after %s", grace)
	}
	if c.Resources.Limits.Memory().IsZero() || c.Resources.Requests.Cpu().IsZero() || c.Resources.Requests.Memory().IsZero() {
		t.Errorf("resources: %v", c.Resources)
	}
	if memory, limit := goMemoryLimit(t, c.Env), c.Resources.Limits.Memory(); memory.Value() < limit.Value()*8/10 || memory.Value() > limit.Value()*95/100 {
		t.Errorf("GOMEMLIMIT is %s of %s", memory, limit)
	}

	ports := map[string]int32{}
	for _, port := range c.Ports {
		ports[port.Name] = port.ContainerPort
	}
	if diff := cmp.Diff(map[string]int32{"metrics": 8443, "probes": 8081}, ports); diff != "" {
		t.Errorf("ports (-want +got):\n%s", diff)
	}
	probes := map[string]*corev1.Probe{"/healthz": c.LivenessProbe, "/readyz": c.ReadinessProbe}
	for path, probe := range probes {
		if probe == nil || probe.HTTPGet == nil || probe.HTTPGet.Path != path || probe.HTTPGet.Port.StrVal != "probes" {
			t.Errorf("the probe of %s is %v", path, probe)
		}
	}

	env := map[string]string{}
	for _, e := range c.Env {
		if e.ValueFrom != nil && e.ValueFrom.FieldRef != nil {
			env[e.Name] = e.ValueFrom.FieldRef.FieldPath
		}
	}
	if diff := cmp.Diff(map[string]string{"POD_NAMESPACE": "metadata.namespace"}, env); diff != "" {
		t.Errorf("environment (-want +got):\n%s", diff)
	}
}

// The pods run as nobody in particular, with nothing but their credentials for the
// API server, and cannot write anywhere.
func TestDeploymentHasNoPrivileges(t *testing.T) {
	pod := deployment(t).Spec.Template.Spec
	if diff := cmp.Diff(&corev1.PodSecurityContext{
		RunAsNonRoot: new(true), RunAsUser: new(int64(65532)), RunAsGroup: new(int64(65532)),
		SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
	}, pod.SecurityContext); diff != "" {
		t.Errorf("of the pod (-want +got):\n%s", diff)
	}
	c := pod.Containers[0]
	if diff := cmp.Diff(&corev1.SecurityContext{
		AllowPrivilegeEscalation: new(false), ReadOnlyRootFilesystem: new(true),
		Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
	}, c.SecurityContext); diff != "" {
		t.Errorf("of the container (-want +got):\n%s", diff)
	}
	if len(pod.Volumes) > 0 || len(c.VolumeMounts) > 0 || pod.HostNetwork || pod.HostPID || pod.HostIPC {
		t.Errorf("volumes %v, mounts %v, host network %t", pod.Volumes, c.VolumeMounts, pod.HostNetwork)
	}
	if !*pod.AutomountServiceAccountToken {
		t.Error("it has no credentials for the API server")
	}
	account, err := cluster.admin.CoreV1().ServiceAccounts(systemNamespace).Get(t.Context(), operatorName, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if account.AutomountServiceAccountToken == nil || *account.AutomountServiceAccountToken {
		t.Error("every pod of the account has its credentials")
	}
}

// The sample of a NetworkPolicy is valid, and about the pods of the Deployment.
func TestNetworkPolicy(t *testing.T) {
	objs := rendered(t, "network-policy")
	objects, err := newObjects(cluster.Config())
	if err != nil {
		t.Fatal(err)
	}
	var policy networkingv1.NetworkPolicy
	for _, obj := range objs {
		if _, err := objects.apply(t.Context(), obj, metav1.ApplyOptions{DryRun: []string{metav1.DryRunAll}}); err != nil {
			t.Error(err)
		}
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(obj.Object, &policy); err != nil {
			t.Fatal(err)
		}
	}
	d := deployment(t)
	if diff := cmp.Diff(d.Spec.Template.Labels, policy.Spec.PodSelector.MatchLabels); diff != "" {
		t.Errorf("whom it is about (-pods +policy):\n%s", diff)
	}
	if policy.Namespace != d.Namespace {
		t.Errorf("it is in %q", policy.Namespace)
	}
}

// Every flag that the manifests give is one that the operator knows.
func TestFlags(t *testing.T) {
	// It prints its flags and ends, with the status 0 as for any -help.
	help, err := exec.CommandContext(t.Context(), "go", "run", "../../cmd/webhook-operator", "-help").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, help)
	}
	for _, arg := range deployment(t).Spec.Template.Spec.Containers[0].Args {
		name, _, _ := strings.Cut(strings.TrimLeft(arg, "-"), "=")
		if !slices.ContainsFunc(strings.Split(string(help), "\n"), func(line string) bool {
			return strings.HasPrefix(line+" ", "  -"+name+" ")
		}) {
			t.Errorf("there is no flag --%s:\n%s", name, help)
		}
	}
}

// What is applied is applied again without a change, and everything that has
// no namespace is meant to have none.
func TestRenderedObjects(t *testing.T) {
	var got []string
	for _, obj := range cluster.rendered {
		name := obj.GetKind() + " " + obj.GetName()
		if ns := obj.GetNamespace(); ns != "" {
			name += " in " + ns
		}
		got = append(got, name)
	}
	slices.Sort(got)
	want := []string{
		"ClusterRole horizon-delivery-resender",
		"ClusterRole horizon-event-creator",
		"ClusterRole horizon-metrics-reader",
		"ClusterRole horizon-webhook-editor",
		"ClusterRole horizon-webhook-operator",
		"ClusterRole horizon-webhook-operator-metrics-auth",
		"ClusterRole horizon-webhook-viewer",
		"ClusterRoleBinding horizon-webhook-operator",
		"ClusterRoleBinding horizon-webhook-operator-metrics-auth",
		"CustomResourceDefinition webhookdeliveries.horizoncd.io",
		"CustomResourceDefinition webhookevents.horizoncd.io",
		"CustomResourceDefinition webhooks.horizoncd.io",
		"Deployment horizon-webhook-operator in horizon-webhooks",
		"FlowSchema horizon-webhook-operator-leader-election",
		"Namespace horizon-webhooks",
		"Role horizon-webhook-operator-leader-election in horizon-webhooks",
		"RoleBinding horizon-webhook-operator-leader-election in horizon-webhooks",
		"Service horizon-webhook-operator-metrics in horizon-webhooks",
		"ServiceAccount horizon-webhook-operator in horizon-webhooks",
		"ValidatingAdmissionPolicy horizon-delivery-records",
		"ValidatingAdmissionPolicyBinding horizon-delivery-records",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("config/default (-want +got):\n%s", diff)
	}

	objects, err := newObjects(cluster.Config())
	if err != nil {
		t.Fatal(err)
	}
	for _, obj := range cluster.rendered {
		resource, err := objects.resource(obj)
		if err != nil {
			t.Fatal(err)
		}
		before, err := resource.Get(t.Context(), obj.GetName(), metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		after, err := objects.apply(t.Context(), obj, metav1.ApplyOptions{})
		if err != nil {
			t.Error(err)
			continue
		}
		if before.GetGeneration() != after.GetGeneration() {
			t.Errorf("%s %s changes each time it is applied", obj.GetKind(), obj.GetName())
		}
	}
}

// goMemoryLimit reads GOMEMLIMIT, which spells units in full: MiB.
func goMemoryLimit(t *testing.T, env []corev1.EnvVar) *resource.Quantity {
	t.Helper()
	for _, e := range env {
		if e.Name == "GOMEMLIMIT" {
			q, err := resource.ParseQuantity(strings.TrimSuffix(e.Value, "B"))
			if err != nil {
				t.Fatal(err)
			}
			return &q
		}
	}
	t.Fatal("no GOMEMLIMIT")
	return nil
}
