package controlplane

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

const namespace = "default"

var notes = schema.GroupVersionResource{Group: "test.horizoncd.io", Version: "v1", Resource: "notes"}

// One control plane lives through it all, because a start takes seconds.
func TestControlPlane(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	options := Options{Dir: dir, Fsync: true, ControllerManager: true}
	cp := start(t, options)

	if err := cp.InstallCRDs(t.Context(), "testdata/crds"); err != nil {
		t.Fatal(err)
	}
	if err := cp.InstallCRDs(t.Context(), "testdata/crds"); err != nil {
		t.Errorf("installing CRDs that are there: %v", err)
	}
	client := dynamicClient(t, cp.Config())
	note := createNote(t, client, "kept")

	t.Run("the kubeconfig is the administrator's own", func(t *testing.T) {
		info, err := os.Stat(cp.Kubeconfig())
		if err != nil {
			t.Fatal(err)
		}
		if mode := info.Mode().Perm(); mode != 0o600 {
			t.Errorf("mode %o, want 600", mode)
		}
		cfg, err := clientcmd.BuildConfigFromFlags("", cp.Kubeconfig())
		if err != nil {
			t.Fatal(err)
		}
		wantNote(t, dynamicClient(t, cfg), note)
	})

	t.Run("users may do what RBAC grants", func(t *testing.T) { testUsers(t, cp) })

	t.Run("etcd's certificates are not the cluster's", func(t *testing.T) {
		cfg := cp.clientTLS(cp.pki.admin)
		cfg.RootCAs = cp.pki.etcd.pool()
		err := probe(cp.ports.url(cp.ports.etcdHTTP)+"/readyz", cfg, "")(t.Context())
		if err == nil || !strings.Contains(err.Error(), "tls:") {
			t.Errorf("etcd answered the API server's administrator: %v", err)
		}
	})

	t.Run("etcd answers at its gateway", func(t *testing.T) { testGateway(t, cp) })

	t.Run("admission policies count", func(t *testing.T) { testAdmissionPolicy(t, cp) })

	t.Run("garbage is collected", func(t *testing.T) { testGarbageCollection(t, cp) })

	t.Run("a directory has one control plane", func(t *testing.T) {
		_, err := Start(t.Context(), options)
		if err == nil || !strings.Contains(err.Error(), "in use") {
			t.Errorf("started a second one: %v", err)
		}
	})

	t.Run("a paused process does not answer", func(t *testing.T) {
		must(t, cp.APIServer.Pause())
		// The signal takes effect some time after it was sent.
		eventually(t, "it to be silent", func(ctx context.Context) error {
			ctx, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
			defer cancel()
			err := cp.APIServer.ready(ctx)
			if errors.Is(err, context.DeadlineExceeded) {
				return nil
			}
			return errors.Join(errors.New("it answers"), err)
		})
		must(t, cp.APIServer.Resume())
		must(t, cp.WaitReady(t.Context()))
		wantNote(t, client, note)
	})

	t.Run("what was written outlives the processes", func(t *testing.T) {
		pid := cp.APIServer.Pid()
		must(t, cp.APIServer.Kill())
		if cp.APIServer.Pid() != 0 || alive(pid) {
			t.Errorf("the API server, process %d, lives", pid)
		}
		must(t, cp.APIServer.Start(t.Context()))
		wantNote(t, client, note)

		must(t, cp.APIServer.Restart(t.Context()))
		wantNote(t, client, note)

		must(t, cp.Etcd.Kill())
		must(t, cp.Etcd.Start(t.Context()))
		must(t, cp.WaitReady(t.Context()))
		wantNote(t, client, note)

		pid = cp.ControllerManager.Pid()
		must(t, cp.ControllerManager.Restart(t.Context()))
		if now := cp.ControllerManager.Pid(); now == pid || now == 0 {
			t.Errorf("process %d before the restart, %d after it", pid, now)
		}
	})

	t.Run("and the control plane", func(t *testing.T) {
		pids := pids(cp)
		must(t, cp.Stop())
		must(t, cp.Stop())
		for _, pid := range pids {
			if alive(pid) {
				t.Errorf("process %d lives", pid)
			}
		}
		if err := cp.APIServer.Start(t.Context()); err == nil {
			t.Error("a process of a stopped control plane started")
		}

		again := start(t, Options{Dir: dir})
		wantNote(t, dynamicClient(t, again.Config()), note)
	})
}

func testGateway(t *testing.T, cp *ControlPlane) {
	// "registry": any key will do.
	body := strings.NewReader(`{"key":"cmVnaXN0cnk="}`)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, cp.EtcdGateway()+"/v3/kv/range", body)
	must(t, err)
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: cp.EtcdTLS(), DisableKeepAlives: true}}
	resp, err := client.Do(req)
	must(t, err)
	defer func() { _ = resp.Body.Close() }()
	answer, err := io.ReadAll(resp.Body)
	must(t, err)
	if resp.StatusCode != http.StatusOK || !strings.Contains(string(answer), `"revision"`) {
		t.Errorf("%s: %s", resp.Status, answer)
	}
}

func testUsers(t *testing.T, cp *ControlPlane) {
	user, err := cp.UserConfig("jane", "readers")
	if err != nil {
		t.Fatal(err)
	}
	jane := dynamicClient(t, user)
	if _, err := jane.Resource(notes).Namespace(namespace).List(t.Context(), metav1.ListOptions{}); !apierrors.IsForbidden(err) {
		t.Errorf("without a role: got %v, want Forbidden", err)
	}

	admin := kubeClient(t, cp.Config())
	_, err = admin.RbacV1().Roles(namespace).Create(t.Context(), &rbacv1.Role{
		ObjectMeta: metav1.ObjectMeta{Name: "readers"},
		Rules:      []rbacv1.PolicyRule{{APIGroups: []string{notes.Group}, Resources: []string{notes.Resource}, Verbs: []string{"list"}}},
	}, metav1.CreateOptions{})
	must(t, err)
	_, err = admin.RbacV1().RoleBindings(namespace).Create(t.Context(), &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "readers"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: "readers"},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.GroupKind, Name: "readers"}},
	}, metav1.CreateOptions{})
	must(t, err)
	eventually(t, "the role to count", func(ctx context.Context) error {
		_, err := jane.Resource(notes).Namespace(namespace).List(ctx, metav1.ListOptions{})
		return err
	})
	if err := jane.Resource(notes).Namespace(namespace).Delete(t.Context(), "kept", metav1.DeleteOptions{}); !apierrors.IsForbidden(err) {
		t.Errorf("beyond the role: got %v, want Forbidden", err)
	}
}

func testAdmissionPolicy(t *testing.T, cp *ControlPlane) {
	admission := kubeClient(t, cp.Config()).AdmissionregistrationV1()
	_, err := admission.ValidatingAdmissionPolicies().Create(t.Context(), &admissionv1.ValidatingAdmissionPolicy{
		ObjectMeta: metav1.ObjectMeta{Name: "no-refused-notes"},
		Spec: admissionv1.ValidatingAdmissionPolicySpec{
			MatchConstraints: &admissionv1.MatchResources{ResourceRules: []admissionv1.NamedRuleWithOperations{{
				RuleWithOperations: admissionv1.RuleWithOperations{
					Operations: []admissionv1.OperationType{admissionv1.Create},
					Rule: admissionv1.Rule{
						APIGroups: []string{notes.Group}, APIVersions: []string{notes.Version}, Resources: []string{notes.Resource},
					},
				},
			}}},
			Validations: []admissionv1.Validation{{Expression: "object.metadata.name != 'refused'"}},
		},
	}, metav1.CreateOptions{})
	must(t, err)
	_, err = admission.ValidatingAdmissionPolicyBindings().Create(t.Context(), &admissionv1.ValidatingAdmissionPolicyBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "no-refused-notes"},
		Spec: admissionv1.ValidatingAdmissionPolicyBindingSpec{
			PolicyName:        "no-refused-notes",
			ValidationActions: []admissionv1.ValidationAction{admissionv1.Deny},
		},
	}, metav1.CreateOptions{})
	must(t, err)

	client := dynamicClient(t, cp.Config()).Resource(notes).Namespace(namespace)
	eventually(t, "the policy to count", func(ctx context.Context) error {
		_, err := client.Create(ctx, newNote("refused"), metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		if apierrors.IsInvalid(err) {
			return nil
		}
		return errors.Join(errors.New("it was not refused as Invalid"), err)
	})
}

func testGarbageCollection(t *testing.T, cp *ControlPlane) {
	client := dynamicClient(t, cp.Config())
	owner := createNote(t, client, "owner")
	configMaps := kubeClient(t, cp.Config()).CoreV1().ConfigMaps(namespace)
	_, err := configMaps.Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{
		Name: "owned",
		OwnerReferences: []metav1.OwnerReference{{
			APIVersion: owner.GetAPIVersion(), Kind: owner.GetKind(), Name: owner.GetName(), UID: owner.GetUID(),
		}},
	}}, metav1.CreateOptions{})
	must(t, err)
	must(t, client.Resource(notes).Namespace(namespace).Delete(t.Context(), owner.GetName(), metav1.DeleteOptions{}))
	eventually(t, "the owned object to go", func(ctx context.Context) error {
		_, err := configMaps.Get(ctx, "owned", metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return nil
		}
		return errors.Join(errors.New("it is there"), err)
	})
}

func TestStartTellsWhatIsMissing(t *testing.T) {
	t.Parallel()
	_, err := Start(t.Context(), Options{Assets: t.TempDir()})
	if !errors.Is(err, ErrNoBinaries) || !strings.Contains(err.Error(), "no etcd in") {
		t.Errorf("got %v", err)
	}
}

func TestStartTellsWhyItFailed(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	_, err := Start(t.Context(), Options{Dir: dir, EtcdArgs: []string{"--no-such-flag"}})
	requireBinaries(t, err)
	for _, want := range []string{"etcd: exit status", "no-such-flag", dir + "/etcd.log"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q in it", err, want)
		}
	}
	lock, err := lockDirectory(dir)
	if err != nil {
		t.Fatalf("the directory is still held: %v", err)
	}
	_ = lock.Close()
}

func TestStartTriesOtherPorts(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	dir := t.TempDir()
	_, err = Start(t.Context(), Options{Dir: dir, EtcdArgs: []string{"--listen-client-urls=https://" + taken.Addr().String()}})
	requireBinaries(t, err)
	if !errors.Is(err, errPortTaken) {
		t.Fatalf("got %v, want %v", err, errPortTaken)
	}
	log, err := os.ReadFile(dir + "/etcd.log")
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(log), `"level":"fatal"`); n != portAttempts {
		t.Errorf("%d attempts, want %d:\n%s", n, portAttempts, log)
	}
}

func TestSweepRemovesWhatWasAbandoned(t *testing.T) {
	tmp := t.TempDir()
	t.Setenv("TMPDIR", tmp)
	long := time.Now().Add(-2 * abandonedAfter)
	for _, tc := range []struct {
		name      string
		age       time.Time
		held      bool
		wantThere bool
	}{
		{name: "abandoned", age: long, wantThere: false},
		{name: "in use", age: long, held: true, wantThere: true},
		{name: "just made", age: time.Now(), wantThere: true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			d, err := openDirectory("")
			if err != nil {
				t.Fatal(err)
			}
			must(t, os.Chtimes(d.lock.Name(), tc.age, tc.age))
			if !tc.held {
				must(t, d.release())
			}
			sweep()
			if _, err := os.Stat(d.path); errors.Is(err, fs.ErrNotExist) == tc.wantThere {
				t.Errorf("there: %v, want %v", err == nil, tc.wantThere)
			}
			_ = d.close()
		})
	}
}

func start(t *testing.T, o Options) *ControlPlane {
	t.Helper()
	cp, err := Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cp.Stop(); err != nil {
			t.Errorf("stopping: %v", err)
		}
	})
	return cp
}

// requireBinaries ends a test of another failure when there is nothing to
// start.
func requireBinaries(t *testing.T, err error) {
	t.Helper()
	if errors.Is(err, ErrNoBinaries) {
		t.Fatal(err)
	}
}

func createNote(t *testing.T, client dynamic.Interface, name string) *unstructured.Unstructured {
	t.Helper()
	note, err := client.Resource(notes).Namespace(namespace).Create(t.Context(), newNote(name), metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return note
}

func newNote(name string) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": notes.GroupVersion().String(),
		"kind":       "Note",
		"metadata":   map[string]any{"name": name},
		"spec":       map[string]any{"text": "hello"},
	}}
}

func wantNote(t *testing.T, client dynamic.Interface, want *unstructured.Unstructured) {
	t.Helper()
	got, err := client.Resource(notes).Namespace(namespace).Get(t.Context(), want.GetName(), metav1.GetOptions{})
	if err != nil {
		t.Errorf("reading the note: %v", err)
	} else if got.GetUID() != want.GetUID() {
		t.Errorf("the note's uid is %s, want %s", got.GetUID(), want.GetUID())
	}
}

func dynamicClient(t *testing.T, cfg *rest.Config) dynamic.Interface {
	t.Helper()
	client, err := dynamic.NewForConfig(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

func kubeClient(t *testing.T, cfg *rest.Config) kubernetes.Interface {
	t.Helper()
	client, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

func eventually(t *testing.T, what string, try func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := Poll(ctx, probeInterval, nil, try); err != nil {
		t.Fatalf("waiting for %s: %v", what, err)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func pids(cp *ControlPlane) []int {
	var pids []int
	for _, p := range []*Process{cp.Etcd, cp.APIServer, cp.ControllerManager} {
		if p != nil && p.Pid() != 0 {
			pids = append(pids, p.Pid())
		}
	}
	return pids
}

// alive tells whether a process runs or is paused. One that has ended but was
// not collected by its parent does not count.
func alive(pid int) bool {
	if err := syscall.Kill(pid, 0); err != nil {
		return false
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err != nil || !strings.Contains(string(stat), ") Z ")
}
