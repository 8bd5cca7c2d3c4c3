package manifests

import (
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	. "github.com/onsi/gomega"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
)

const (
	policyName = "horizon-delivery-records"
	// denied is what the server says before the message of the policy.
	denied = "ValidatingAdmissionPolicy '" + policyName + "' with binding '" + policyName + "' denied request: "
	// unmade, unchanged, empty and tooLong are the messages of the policy.
	unmade    = "deliveries are made by the operator alone"
	unchanged = "nothing but its annotation horizoncd.io/resend, which sends it again, can be changed; this would change its "
	empty     = "the annotation horizoncd.io/resend is empty, which asks for nothing: give it a value that is new, such as"
	tooLong   = "the value of the annotation horizoncd.io/resend may have up to 128 characters"
)

// writer is somebody who may do with deliveries all that RBAC knows. It returns
// when the policy holds, which takes the server a moment after it was installed.
func writer(t *testing.T) subject {
	t.Helper()
	const role = "deliveries-writer"
	_, err := cluster.admin.RbacV1().ClusterRoles().Create(t.Context(), &rbacv1.ClusterRole{
		ObjectMeta: metav1.ObjectMeta{Name: role},
		Rules: []rbacv1.PolicyRule{{
			APIGroups: []string{v1alpha1.GroupVersion.Group}, Resources: []string{"webhookdeliveries"}, Verbs: []string{"*"},
		}},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cluster.admin.RbacV1().ClusterRoles().Delete(cleanup(t), role, metav1.DeleteOptions{}); err != nil {
			t.Error(err)
		}
	})
	user := bind(t, role)
	w := webhook("not-stored")
	w.SetUID("a6c5f9de-0f2e-4f3f-8a0c-5f2f7c1c9f0b")
	NewWithT(t).Eventually(func() error {
		_, err := horizon(t, as(t, user), "webhookdeliveries").
			Create(t.Context(), deliveryOf("waits-for-the-policy", w), metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		return err
	}).WithTimeout(patience).Should(MatchError(ContainSubstring(denied + unmade)))
	return user
}

// recorded stores a delivery as the operator would, and returns it.
func recorded(t *testing.T, name string) *unstructured.Unstructured {
	t.Helper()
	w := create(t, "webhooks", webhook(name))
	d := deliveryOf(name+"-1", w)
	d.SetLabels(map[string]string{v1alpha1.LabelWebhook: name, v1alpha1.LabelResult: "Succeeded"})
	d.SetAnnotations(map[string]string{v1alpha1.AnnotationFinished: "2026-11-23T09:00:00Z"})
	return create(t, "webhookdeliveries", d)
}

// ways are how a delivery can be changed. Each is a dry run, unless asked for.
var ways = map[string]func(t *testing.T, s subject, from, to *unstructured.Unstructured, dryRun ...string) error{
	"update": func(t *testing.T, s subject, _, to *unstructured.Unstructured, dryRun ...string) error {
		_, err := horizon(t, as(t, s), "webhookdeliveries").Update(t.Context(), to, metav1.UpdateOptions{DryRun: dryRun})
		return err
	},
	"patch": func(t *testing.T, s subject, from, to *unstructured.Unstructured, dryRun ...string) error {
		patch, err := client.MergeFrom(from).Data(to)
		if err != nil {
			t.Fatal(err)
		}
		_, err = horizon(t, as(t, s), "webhookdeliveries").
			Patch(t.Context(), from.GetName(), types.MergePatchType, patch, metav1.PatchOptions{DryRun: dryRun})
		return err
	},
	"apply": func(t *testing.T, s subject, from, to *unstructured.Unstructured, dryRun ...string) error {
		to = to.DeepCopy()
		for _, field := range []string{"managedFields", "resourceVersion", "creationTimestamp", "generation"} {
			unstructured.RemoveNestedField(to.Object, "metadata", field)
		}
		data, err := to.MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		_, err = horizon(t, as(t, s), "webhookdeliveries").Patch(t.Context(), from.GetName(), types.ApplyPatchType, data,
			metav1.PatchOptions{DryRun: dryRun, FieldManager: "somebody", Force: new(true)})
		return err
	},
}

// change returns a changed copy.
func change(obj *unstructured.Unstructured, change func(obj *unstructured.Unstructured)) *unstructured.Unstructured {
	obj = obj.DeepCopy()
	change(obj)
	return obj
}

func annotated(key, value string) func(*unstructured.Unstructured) {
	return func(d *unstructured.Unstructured) {
		annotations := maps.Clone(d.GetAnnotations())
		annotations[key] = value
		d.SetAnnotations(annotations)
	}
}

func labelled(key, value string) func(*unstructured.Unstructured) {
	return func(d *unstructured.Unstructured) {
		labels := maps.Clone(d.GetLabels())
		labels[key] = value
		d.SetLabels(labels)
	}
}

func set(value any, path ...string) func(*unstructured.Unstructured) {
	return func(d *unstructured.Unstructured) {
		if err := unstructured.SetNestedField(d.Object, value, path...); err != nil {
			panic(err)
		}
	}
}

// forgeries are changes that would make a delivery tell or do something else, and
// what the server says of each.
var forgeries = map[string]struct {
	change func(d *unstructured.Unstructured)
	want   string
}{
	"status": {set("Waiting", "status", "result"), unchanged + "status"},
	"status and label, so that it is sent": {func(d *unstructured.Unstructured) {
		set("Waiting", "status", "result")(d)
		labelled(v1alpha1.LabelResult, "Waiting")(d)
	}, unchanged + "status, labels"},
	"no status":                {func(d *unstructured.Unstructured) { delete(d.Object, "status") }, unchanged + "status"},
	"payload":                  {set(`{"eventID":2}`, "spec", "payload"), "spec cannot be changed"},
	"label":                    {labelled("app", "player"), unchanged + "labels"},
	"label of another webhook": {labelled(v1alpha1.LabelWebhook, "another"), unchanged + "labels"},
	"no labels":                {func(d *unstructured.Unstructured) { d.SetLabels(nil) }, unchanged + "labels"},
	"another annotation":       {annotated("example.com/note", "x"), unchanged + "annotations"},
	"what was honoured":        {annotated(v1alpha1.AnnotationResent, "0"), unchanged + "annotations"},
	"when it finished":         {annotated(v1alpha1.AnnotationFinished, "2026-11-24T09:00:00Z"), unchanged + "annotations"},
	"no annotations":           {func(d *unstructured.Unstructured) { d.SetAnnotations(nil) }, unchanged + "annotations"},
	"both annotations": {func(d *unstructured.Unstructured) {
		annotated("a", "b")(d)
		annotated(v1alpha1.AnnotationResend, "1")(d)
	}, unchanged + "annotations"},
	"no owner":                 {func(d *unstructured.Unstructured) { d.SetOwnerReferences(nil) }, unchanged + "ownerReferences"},
	"another owner":            {owned, unchanged + "ownerReferences"},
	"finalizer":                {func(d *unstructured.Unstructured) { d.SetFinalizers([]string{"example.com/hold"}) }, unchanged + "finalizers"},
	"prefix of a name":         {func(d *unstructured.Unstructured) { d.SetGenerateName("prefix-") }, unchanged + "generateName"},
	"empty resend":             {annotated(v1alpha1.AnnotationResend, ""), empty},
	"resend of 129 characters": {annotated(v1alpha1.AnnotationResend, strings.Repeat("ü", 129)), tooLong},
	"resend of 200 KiB":        {annotated(v1alpha1.AnnotationResend, strings.Repeat("x", 200<<10)), tooLong},
	"everything, by far":       {func(d *unstructured.Unstructured) { owned(d); annotated("a", strings.Repeat("x", 100<<10))(d) }, unchanged + "ownerReferences, annotations"},
}

func owned(d *unstructured.Unstructured) {
	d.SetOwnerReferences(append(d.GetOwnerReferences(), metav1.OwnerReference{
		APIVersion: "v1", Kind: "ConfigMap", Name: "mine", UID: "0d1f4c9e-6a55-4a0a-9d1b-3b8f2f0e7a11",
	}))
}

// requests are changes that ask for a resend, or take that back.
var requests = map[string]func(d *unstructured.Unstructured){
	"resend":                   annotated(v1alpha1.AnnotationResend, "1795424400"),
	"resend of 128 characters": annotated(v1alpha1.AnnotationResend, strings.Repeat("ü", 128)),
	"resend of a space":        annotated(v1alpha1.AnnotationResend, " "),
	"nothing":                  func(*unstructured.Unstructured) {},
}

// Whoever may patch deliveries, or even do everything with them, can ask for a
// resend and do nothing else.
func TestOnlyTheResendAnnotationCanBeChanged(t *testing.T) {
	everything := writer(t)
	resender := bind(t, "horizon-delivery-resender")
	d := recorded(t, "annotated")
	NewWithT(t).Eventually(func() error {
		return ways["patch"](t, resender, d, change(d, requests["resend"]), metav1.DryRunAll)
	}).WithTimeout(patience).Should(Succeed())

	for _, who := range []struct {
		subject
		ways []string
	}{{everything, []string{"update", "patch", "apply"}}, {resender, []string{"patch", "apply"}}} {
		for _, way := range who.ways {
			for name, forgery := range forgeries {
				err := ways[way](t, who.subject, d, change(d, forgery.change), metav1.DryRunAll)
				if way == "apply" && strings.HasPrefix(name, "no ") {
					if err != nil {
						t.Errorf("%s, %s, by apply: %v, though what is left out stays as it is", who.user, name, err)
					}
					continue
				}
				want := forgery.want
				if way == "apply" { // it has set the rest, too
					want, _, _ = strings.Cut(want, "; this would change its ")
					if want == tooLong || want == empty {
						want = denied
					}
				}
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("%s, %s, by %s: got %v, want %q", who.user, name, way, err, want)
				}
			}
			for name, request := range requests {
				to := change(d, request)
				if way == "apply" {
					to = only(to)
				}
				if err := ways[way](t, who.subject, d, to, metav1.DryRunAll); err != nil {
					t.Errorf("%s, %s, by %s: %v", who.user, name, way, err)
				}
			}
		}
	}
	if err := ways["update"](t, resender, d, change(d, requests["resend"])); !apierrors.IsForbidden(err) {
		t.Errorf("a resender updates: got %v, want a refusal", err)
	}
	if err := horizon(t, as(t, resender), "webhookdeliveries").Delete(t.Context(), d.GetName(), metav1.DeleteOptions{}); !apierrors.IsForbidden(err) {
		t.Errorf("a resender deletes: got %v, want a refusal", err)
	}
}

// only leaves of an object what a person would apply to have it resent.
func only(d *unstructured.Unstructured) *unstructured.Unstructured {
	applied := object(d.GetKind(), d.GetName(), nil)
	unstructured.RemoveNestedField(applied.Object, "spec")
	if value, ok := d.GetAnnotations()[v1alpha1.AnnotationResend]; ok {
		applied.SetAnnotations(map[string]string{v1alpha1.AnnotationResend: value})
	}
	return applied
}

// The annotation can be set again and again, by several people with several tools,
// and taken away, and everything else stays.
func TestAnnotationIsSetAgainAndAgain(t *testing.T) {
	user := writer(t)
	d := recorded(t, "again")
	for n, way := range []string{"patch", "apply", "update", "patch", "apply"} {
		current, err := horizon(t, as(t, user), "webhookdeliveries").Get(t.Context(), d.GetName(), metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		to := change(current, annotated(v1alpha1.AnnotationResend, fmt.Sprint(n)))
		if way == "apply" {
			to = only(to)
		}
		if err := ways[way](t, user, current, to); err != nil {
			t.Fatalf("%d. %s: %v", n, way, err)
		}
	}
	patch := fmt.Appendf(nil, `{"metadata":{"annotations":{%q:null}}}`, v1alpha1.AnnotationResend)
	after, err := horizon(t, as(t, user), "webhookdeliveries").
		Patch(t.Context(), d.GetName(), types.MergePatchType, patch, metav1.PatchOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, obj := range []*unstructured.Unstructured{d, after} {
		for _, field := range []string{"managedFields", "resourceVersion"} {
			unstructured.RemoveNestedField(obj.Object, "metadata", field)
		}
	}
	if diff := cmp.Diff(d.Object, after.Object); diff != "" {
		t.Errorf("what else has changed (-before +after):\n%s", diff)
	}
}

// An empty value asks for nothing, whoever sets it: administrators, whom the policy
// lets do all else, hear of it. A record that has one from before can be resent,
// and written by whoever writes records.
func TestEmptyResendIsRefused(t *testing.T) {
	user := writer(t)
	d := recorded(t, "empty")
	annotate := func(by *rest.Config, value any) error {
		patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"annotations": map[string]any{v1alpha1.AnnotationResend: value}}})
		if err != nil {
			t.Fatal(err)
		}
		_, err = horizon(t, by, "webhookdeliveries").Patch(t.Context(), d.GetName(), types.MergePatchType, patch, metav1.PatchOptions{})
		return err
	}
	policy := func(enforced bool) {
		var err error
		bindings := cluster.admin.AdmissionregistrationV1().ValidatingAdmissionPolicyBindings()
		actions := `["Deny"]`
		if !enforced {
			actions = `["Audit"]`
		}
		patch := fmt.Appendf(nil, `{"spec":{"validationActions":%s}}`, actions)
		if _, err = bindings.Patch(cleanup(t), policyName, types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	for who, by := range map[string]*rest.Config{"a writer": as(t, user), "an administrator": cluster.Config()} {
		for _, before := range []any{nil, "1795424400"} {
			if err := annotate(by, before); err != nil {
				t.Fatal(err)
			}
			if err := annotate(by, ""); err == nil || !strings.Contains(err.Error(), denied+empty) {
				t.Errorf("%s, after %v: got %v", who, before, err)
			}
		}
	}

	// As it may be in store from before.
	policy(false)
	t.Cleanup(func() { policy(true) })
	NewWithT(t).Eventually(func() error { return annotate(cluster.Config(), "") }).WithTimeout(patience).Should(Succeed())
	policy(true)
	NewWithT(t).Eventually(func() error {
		return ways["patch"](t, user, d, change(d, labelled("app", "player")), metav1.DryRunAll)
	}).WithTimeout(patience).ShouldNot(Succeed())
	if _, err := horizon(t, cluster.Config(), "webhookdeliveries").Patch(t.Context(), d.GetName(), types.MergePatchType,
		[]byte(`{"metadata":{"labels":{"example.com/written":""}}}`), metav1.PatchOptions{}); err != nil {
		t.Errorf("who writes records, beside an empty value: %v", err)
	}
	for _, value := range []any{"1795424401", nil} {
		if err := annotate(as(t, user), value); err != nil {
			t.Errorf("%v after an empty value: %v", value, err)
		}
	}
}

// noting has an administrator, who passes the policy, change something by another tool
// each time, and take the annotation away.
func noting(t *testing.T, name string, tool int) *unstructured.Unstructured {
	t.Helper()
	format := `{"metadata":{"annotations":{%q:null},"labels":{"example.com/tool-%d":""}}}`
	if tool%2 == 0 {
		format = `{"metadata":{"annotations":{%q:null,"example.com/tool-%d":""}}}`
	}
	patch := fmt.Appendf(nil, format, v1alpha1.AnnotationResend, tool)
	after, err := horizon(t, cluster.Config(), "webhookdeliveries").Patch(t.Context(), name, types.MergePatchType, patch,
		metav1.PatchOptions{FieldManager: fmt.Sprintf("admin-%d", tool)})
	if err != nil {
		t.Fatal(err)
	}
	return after
}

// However many tools have changed a record. Of more than ten, the server joins what it
// has noted of the oldest, and seems to write that on behalf of who comes next.
func TestRecordsOfManyToolsCanBeResent(t *testing.T) {
	user := writer(t)
	d := recorded(t, "tools")
	joined := 0
	for n := range 15 {
		before := noting(t, d.GetName(), n)
		patch := fmt.Appendf(nil, `{"metadata":{"annotations":{%q:"%d"}}}`, v1alpha1.AnnotationResend, n)
		after, err := horizon(t, as(t, user), "webhookdeliveries").Patch(t.Context(), d.GetName(), types.MergePatchType, patch,
			metav1.PatchOptions{FieldManager: "kubectl-annotate"})
		if err != nil {
			t.Fatalf("after %d tools: %v", n+1, err)
		}
		if !cmp.Equal(ancient(before), ancient(after)) {
			joined++
		}
	}
	if joined == 0 {
		t.Error("no resend has made the server join anything")
	}
}

// ancient is what the server has joined.
func ancient(d *unstructured.Unstructured) string {
	for _, entry := range d.GetManagedFields() {
		if entry.Manager == "ancient-changes" {
			return entry.FieldsV1.GetRawString()
		}
	}
	return ""
}

// To compare the largest record with itself costs less than policies may cost.
func TestLargestDeliveryCanBeResent(t *testing.T) {
	user := writer(t)
	w := create(t, "webhooks", webhook("largest"))
	d := deliveryOf("largest-1", w)
	set(strings.Repeat("p", 512<<10), "spec", "payload")(d)
	set(strings.Repeat("b", 32<<10), "status", "response", "body")(d)
	set("", "status", "response", "headers")(d)
	set(int64(503), "status", "response", "statusCode")(d)
	annotations := map[string]string{}
	for n := range 5000 { // as many as somebody may have left there
		annotations[fmt.Sprintf("example.com/note-%d", n)] = strings.Repeat("n", 20)
	}
	d.SetAnnotations(annotations)
	d = create(t, "webhookdeliveries", d)
	for way, change := range map[string]func(*unstructured.Unstructured) *unstructured.Unstructured{
		"update": func(d *unstructured.Unstructured) *unstructured.Unstructured { return d },
		"patch":  func(d *unstructured.Unstructured) *unstructured.Unstructured { return d },
		"apply":  only,
	} {
		to := d.DeepCopy()
		requests["resend"](to)
		if err := ways[way](t, user, d, change(to), metav1.DryRunAll); err != nil {
			t.Errorf("by %s: %.500v", way, err)
		}
	}
}

// Nobody but the operator makes a delivery, whatever it looks like.
func TestDeliveriesCannotBeForged(t *testing.T) {
	user := writer(t)
	genuine := recorded(t, "genuine")
	forged := change(genuine, func(d *unstructured.Unstructured) {
		d.SetName("genuine-6a22ac4f-5dd19687b07584db")
		d.SetResourceVersion("")
		d.SetUID("")
		d.SetManagedFields(nil)
		set("Waiting", "status", "result")(d)
		labelled(v1alpha1.LabelResult, "Waiting")(d)
	})
	generated := change(forged, func(d *unstructured.Unstructured) { d.SetName(""); d.SetGenerateName("genuine-") })
	for name, try := range map[string]func() error{
		"create": func() error {
			_, err := horizon(t, as(t, user), "webhookdeliveries").Create(t.Context(), forged, metav1.CreateOptions{})
			return err
		},
		"create under a generated name": func() error {
			_, err := horizon(t, as(t, user), "webhookdeliveries").Create(t.Context(), generated, metav1.CreateOptions{})
			return err
		},
		"apply": func() error { return ways["apply"](t, user, forged, forged) },
	} {
		if err := try(); !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), denied+unmade) {
			t.Errorf("%s: got %v, want a refusal", name, err)
		}
	}
	// What RBAC says of deletes holds.
	if err := horizon(t, as(t, user), "webhookdeliveries").Delete(t.Context(), genuine.GetName(), metav1.DeleteOptions{}); err != nil {
		t.Errorf("delete: %v", err)
	}
}

// The garbage collector takes owners and finalizers off.
func TestGarbageCollectorPasses(t *testing.T) {
	writer(t) // the policy holds
	g := NewWithT(t)
	remove := func(plural, name string, how metav1.DeletionPropagation) {
		err := horizon(t, cluster.Config(), plural).Delete(t.Context(), name, metav1.DeleteOptions{PropagationPolicy: &how})
		g.Expect(err).NotTo(HaveOccurred())
	}
	gone := func(plural, name string) func() bool {
		return func() bool {
			_, err := horizon(t, cluster.Config(), plural).Get(t.Context(), name, metav1.GetOptions{})
			return apierrors.IsNotFound(err)
		}
	}
	// It knows of the project's objects some time after their CRDs were installed.
	known := recorded(t, "collected")
	remove("webhooks", "collected", metav1.DeletePropagationBackground)
	g.Eventually(gone("webhookdeliveries", known.GetName())).WithTimeout(2*patience).Should(BeTrue(), "a delivery that nobody owns")

	d := recorded(t, "orphaned")
	remove("webhooks", "orphaned", metav1.DeletePropagationOrphan)
	g.Eventually(gone("webhooks", "orphaned")).WithTimeout(patience).Should(BeTrue(), "a webhook that leaves its deliveries behind")
	left, err := horizon(t, cluster.Config(), "webhookdeliveries").Get(t.Context(), d.GetName(), metav1.GetOptions{})
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(left.GetOwnerReferences()).To(BeEmpty())

	remove("webhookdeliveries", d.GetName(), metav1.DeletePropagationForeground)
	g.Eventually(gone("webhookdeliveries", d.GetName())).WithTimeout(patience).Should(BeTrue(), "a delivery that is deleted in the foreground")
}

// The server finds nothing to say of the policy.
func TestPolicyIsTypeChecked(t *testing.T) {
	g := NewWithT(t)
	var policy *admissionregistrationv1.ValidatingAdmissionPolicy
	g.Eventually(func(g Gomega) {
		var err error
		policy, err = cluster.admin.AdmissionregistrationV1().ValidatingAdmissionPolicies().Get(t.Context(), policyName, metav1.GetOptions{})
		g.Expect(err).NotTo(HaveOccurred())
		g.Expect(policy.Status.TypeChecking).NotTo(BeNil())
		g.Expect(policy.Status.ObservedGeneration).To(Equal(policy.Generation))
	}).WithTimeout(patience).Should(Succeed())
	g.Expect(policy.Status.TypeChecking.ExpressionWarnings).To(BeEmpty())
}

// The permission that the policy asks for is the operator's alone.
func TestPermissionToWriteRecords(t *testing.T) {
	record := authorizationv1.ResourceAttributes{
		Namespace: tenant, Verb: "create", Group: v1alpha1.GroupVersion.Group, Version: v1alpha1.GroupVersion.Version,
		Resource: "webhookdeliveries", Subresource: "record",
	}
	NewWithT(t).Eventually(func() bool { return operatorAccount.may(t, record) }).WithTimeout(patience).Should(BeTrue())
	for _, role := range []string{
		"view", "edit", "admin", "horizon-webhook-viewer", "horizon-webhook-editor", "horizon-delivery-resender", "horizon-event-creator",
	} {
		user := bind(t, role)
		NewWithT(t).Eventually(func() int { return len(user.permissions(t, tenant, v1alpha1.GroupVersion.Group)) }).
			WithTimeout(patience).Should(BeNumerically(">", 0))
		if user.may(t, record) {
			t.Errorf("%s may write records", role)
		}
	}
}
