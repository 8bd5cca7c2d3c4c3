package controllers

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	admissionv1 "k8s.io/api/admission/v1"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/delivery"
	"github.com/horizoncd/webhook-operator/internal/ledger"
	"github.com/horizoncd/webhook-operator/test/receiver"
)

// Where a namespace takes no more records, the event and the log say why in the
// words of whoever refuses them, and nothing more is sent until one can be stored;
// then all is delivered, and every record is whole.
func TestRefusedRecordsAreKept(t *testing.T) {
	for name, tc := range map[string]struct {
		refuse func(b *testbed) (lift func())
		words  string
	}{
		"quota":                 {(*testbed).quota, "exceeded quota: records"},
		"policy":                {policyWith(""), fridays},
		"policy that forbids":   {policyWith(metav1.StatusReasonForbidden), fridays},
		"policy for invalid":    {policyWith(metav1.StatusReasonInvalid), fridays},
		"missing permission":    {(*testbed).mayNotCreate, "cannot create resource"},
		"denied, forbidden":     {deniedWith(metav1.Status{Code: 403}), fridays},
		"denied, bad request":   {deniedWith(metav1.Status{}), fridays},
		"denied, not found":     {deniedWith(metav1.Status{Code: 404, Reason: metav1.StatusReasonNotFound}), fridays},
		"denied, conflict":      {deniedWith(metav1.Status{Code: 409, Reason: metav1.StatusReasonConflict}), fridays},
		"denied, exists":        {deniedWith(metav1.Status{Code: 409, Reason: metav1.StatusReasonAlreadyExists}), fridays},
		"denied, for overload":  {deniedWith(metav1.Status{Code: 429, Reason: metav1.StatusReasonTooManyRequests}), fridays},
		"denied, for an error":  {deniedWith(metav1.Status{Code: 500, Reason: metav1.StatusReasonInternalError}), fridays},
		"denied, invalid field": {deniedWith(invalidBody), fridays},
	} {
		t.Run(name, func(t *testing.T) {
			b := newTestbed(t)
			b.receiver.Script("/w", receiver.Answer{Status: 200, Body: "what the receiver wrote"})
			lift := tc.refuse(b)
			b.start()
			b.webhook("w", func(w *v1alpha1.Webhook) { w.Spec.MaxInFlight = 1 })
			names := []string{"first", "second", "third"}
			for _, name := range names {
				b.event(name)
			}
			for _, name := range names {
				b.Expect(b.refused(name)).To(ContainSubstring(tc.words))
			}
			b.Expect(b.requests("w")).To(Equal(1), "nothing more is sent while records are refused")
			b.Expect(b.metrics()["unstored_deliveries"]).To(Equal(3.0))
			b.Expect(b.log.lines("Failed to store delivery")).To(ConsistOf(ContainSubstring(tc.words)))
			lift()
			for _, name := range names {
				b.settled(name, v1alpha1.EventSucceeded)
			}
			b.Expect(b.requests("w")).To(Equal(len(names)))
			b.Expect(b.metrics()["unstored_deliveries"]).To(BeZero())
			for _, d := range b.deliveries() {
				b.Expect(d.Status.Response.Body).To(Equal("what the receiver wrote"))
			}
		})
	}
}

// An update that is refused is kept like a record, whatever the code says: that of
// an object that is not there does not mean that somebody has deleted it.
func TestRefusedUpdateIsKept(t *testing.T) {
	for name, tc := range map[string]func(b *testbed) (lift func()){
		"policy":            policyWith(""),
		"denied, not found": deniedWith(metav1.Status{Code: 404, Reason: metav1.StatusReasonNotFound}),
		"denied, conflict":  deniedWith(metav1.Status{Code: 409, Reason: metav1.StatusReasonConflict}),
	} {
		t.Run(name, func(t *testing.T) {
			b := newTestbed(t)
			b.receiver.Script("/w", receiver.Answer{Status: 500, Body: "no"}, receiver.Answer{Status: 200, Body: "yes"})
			b.start()
			b.webhook("w", func(w *v1alpha1.Webhook) { w.Spec.Retry.MinBackoffSeconds = 5 })
			b.event("e")
			b.delivery(v1alpha1.DeliveryWaiting)
			lift := tc(b)
			b.Eventually(func() []string { return b.log.lines("Failed to store delivery") }).Should(ConsistOf(ContainSubstring(fridays)))
			lift()
			d := b.delivery(v1alpha1.DeliverySucceeded)
			b.Expect(d.Status.Attempts).To(Equal(int32(2)))
			b.Expect(d.Status.Response.Body).To(Equal("yes"))
			b.Expect(b.requests("w")).To(Equal(2))
		})
	}
}

// A record that is refused for its size, or by the schema for what the receiver
// wrote, is stored without that. One that is refused all the same is not tried in a
// loop, and nothing is sent again for it.
func TestRefusedRecordIsStoredSmaller(t *testing.T) {
	// Owners are what the API server bounds neither in number nor in size.
	padded := func(size int) func(map[string]any) {
		return func(object map[string]any) {
			var owners []any
			for n := range size >> 10 {
				owners = append(owners, map[string]any{
					"apiVersion": "example.com/v1", "kind": "Padding", "name": strings.Repeat("x", 900), "uid": fmt.Sprintf("%0100d", n),
				})
			}
			object["metadata"].(map[string]any)["ownerReferences"] = owners
		}
	}
	for name, spoil := range map[string]func(object map[string]any){
		"too large for etcd":              padded(1700 << 10),
		"too large for etcd's client":     padded(2300 << 10),
		"too large for the API server":    padded(3500 << 10),
		"invalid, for the body is":        func(o map[string]any) { responseOf(o)["body"] = strings.Repeat("x", 40000) },
		"invalid, for the status code is": func(o map[string]any) { responseOf(o)["statusCode"] = "five hundred" },
	} {
		t.Run(name, func(t *testing.T) {
			b := newTestbed(t)
			b.receiver.Script("/w", receiver.Answer{Status: 500, Body: "what the receiver wrote"})
			var tries atomic.Int32
			var taken atomic.Bool
			b.start(creating(func(r *http.Request, pass func() (*http.Response, error)) (*http.Response, error) {
				tries.Add(1)
				err := rewrite(r, func(object map[string]any) {
					if !taken.Load() || responseOf(object)["body"] != nil {
						spoil(object)
					}
				})
				if err != nil {
					return nil, err
				}
				return pass()
			}))
			b.webhook("w", func(w *v1alpha1.Webhook) { w.Spec.Retry.Limit = new(int32(0)) })
			b.event("e")
			b.refused("e")
			b.Expect(tries.Load()).To(And(BeNumerically(">=", 2), BeNumerically("<", 10)), "one whole, one smaller, and then a second apart and more")
			taken.Store(true)
			d := b.delivery(v1alpha1.DeliveryFailed)
			b.Expect(d.Status.Response).To(Equal(&v1alpha1.ResponseRecord{StatusCode: 500, HeadersTruncated: true, BodyTruncated: true}))
			b.Expect(d.Status.History[0].Error).To(ContainSubstring("left out"))
			b.Expect(b.requests("w")).To(Equal(1))
		})
	}
}

func TestTerminatingNamespaceIsNotSentToAgainAndAgain(t *testing.T) {
	b := newTestbed(t)
	var once atomic.Bool
	tries := make(chan struct{}, 100)
	b.start(creating(func(_ *http.Request, pass func() (*http.Response, error)) (*http.Response, error) {
		if once.CompareAndSwap(false, true) {
			ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: b.namespace}}
			if err := b.client.Delete(b.ctx, ns); err != nil {
				return nil, err
			}
		}
		response, err := pass()
		tries <- struct{}{}
		return response, err
	}))
	w := b.webhook("w")
	b.event("e")
	for range 3 {
		b.Eventually(tries).Should(Receive())
	}
	b.Expect(b.refused("e")).To(ContainSubstring("because it is being terminated"))
	b.Expect(b.requests("w")).To(Equal(1))
	b.Expect(b.client.Delete(b.ctx, w)).To(Succeed())
	b.Eventually(func() []ledger.Entry { return b.operator.enqueuer.Ledger.OfWebhook(client.ObjectKeyFromObject(w)) }).Should(BeEmpty())
}

// soon is how long the tests below let a record be tried.
const soon = 500 * time.Millisecond

func refuseSoon(b *testbed) {
	b.tune = func(op *operator) { op.deliveries.RefuseAfter = soon }
}

// A server that the API server has to ask, and that fails, does not hold workers: it
// is told like a refusal.
func TestFailingAdmissionWebhookIsTold(t *testing.T) {
	b := newTestbed(t)
	refuseSoon(b)
	var fails atomic.Bool
	fails.Store(true)
	remove := b.admissionWebhook(func(to http.ResponseWriter, review *admissionv1.AdmissionReview) {
		if fails.Load() {
			http.Error(to, "no licence", http.StatusInternalServerError)
			return
		}
		admit(to, review, nil)
	})
	defer remove()
	b.start()
	b.webhook("w")
	b.event("first")
	b.Expect(b.refused("first")).To(And(ContainSubstring("failed calling webhook"), ContainSubstring("no licence")))
	b.events("later", 3)
	for n := range 3 {
		b.Expect(b.refused(fmt.Sprintf("later%d", n))).To(ContainSubstring("no licence"))
	}
	b.Expect(b.requests("w")).To(Equal(1))
	b.Eventually(func() float64 { return b.metrics()["workers_busy"] }).Should(BeZero())
	b.Expect(b.metrics()["unstored_deliveries"]).To(Equal(4.0))
	b.Expect(b.log.lines("Failed to store delivery")).To(ConsistOf(ContainSubstring("no licence")))
	fails.Store(false)
	b.settled("first", v1alpha1.EventSucceeded)
	b.allSettled("later", 3, v1alpha1.EventSucceeded)
	b.Expect(b.requests("w")).To(Equal(4))
	b.Expect(b.metrics()["unstored_deliveries"]).To(BeZero())
}

// Whether an API server that answers no write is down, or refuses these for a reason
// of its own, is told by its other writes.
func TestUnansweredRecordCountsAsRefusedOnceOthersAreStored(t *testing.T) {
	for name, tc := range map[string]struct {
		fails func(r *http.Request) (*http.Response, error)
		words string // empty: it is never refused
	}{
		"error of etcd":    {lostAnswers["error of etcd"], "etcdserver: request timed out"},
		"error page":       {lostAnswers["error page of a proxy"], "bad gateway"},
		"no connection":    {lostAnswers["connection closed"], "unexpected EOF"},
		"endless conflict": {conflictOfAQuota, "the object has been modified"},
		"overload":         {tooManyRequests, ""},
	} {
		t.Run(name, func(t *testing.T) {
			b := newTestbed(t)
			refuseSoon(b)
			var storesOthers, works atomic.Bool
			b.flags = func(o *Options) {
				o.LeaseRenewed = func() time.Time {
					if storesOthers.Load() {
						return time.Now()
					}
					return time.Time{}
				}
			}
			b.start(creating(func(r *http.Request, pass func() (*http.Response, error)) (*http.Response, error) {
				if works.Load() {
					return pass()
				}
				return tc.fails(r)
			}))
			b.webhook("w")
			b.event("e")
			b.Eventually(func() float64 { return b.metrics()["unstored_deliveries"] }).Should(Equal(1.0))
			b.Consistently(func() float64 { return b.metrics()["workers_busy"] }, 3*soon).Should(Equal(1.0), "all waits while nothing is stored")
			b.Expect(b.metrics()["delivery_writes_refused_total"]).To(BeZero())
			storesOthers.Store(true)
			if tc.words == "" {
				b.Consistently(func() float64 { return b.metrics()["workers_busy"] }, 3*soon).Should(Equal(1.0))
			} else {
				b.Expect(b.refused("e")).To(ContainSubstring(tc.words))
				b.Eventually(func() float64 { return b.metrics()["workers_busy"] }).Should(BeZero())
			}
			works.Store(true)
			b.settled("e", v1alpha1.EventSucceeded)
			b.Expect(b.requests("w")).To(Equal(1))
		})
	}
}

// A record that cannot be stored alone of its namespace is refused, too.
func TestOneRecordAmongOthersIsRefused(t *testing.T) {
	b := newTestbed(t)
	refuseSoon(b)
	b.start(creating(func(r *http.Request, pass func() (*http.Response, error)) (*http.Response, error) {
		body, err := r.GetBody()
		if err != nil {
			return nil, err
		}
		data, err := io.ReadAll(body)
		if err != nil {
			return nil, err
		}
		if strings.Contains(string(data), `"eventType":"clusters_freed"`) {
			return lostAnswers["error of etcd"](r)
		}
		return pass()
	}))
	b.webhook("w")
	b.event("bad", func(e *v1alpha1.WebhookEvent) { e.Spec.EventType = "clusters_freed" })
	n := 0
	b.Eventually(func() []string {
		b.event(fmt.Sprintf("good%d", n)) // one more is stored
		n++
		return b.log.lines("Failed to store delivery")
	}, eventually, soon/5).Should(HaveLen(1))
	b.allSettled("good", n, v1alpha1.EventSucceeded)
	b.Expect(b.refused("bad")).To(ContainSubstring("etcdserver"))
}

// A worker that tries to store a record leaves it as soon as its Webhook is gone.
func TestWorkerIsFreedWhenTheWebhookGoes(t *testing.T) {
	hangs := func(r *http.Request) (*http.Response, error) {
		<-r.Context().Done()
		return nil, r.Context().Err()
	}
	remove := func(b *testbed, w *v1alpha1.Webhook) { b.Expect(b.client.Delete(b.ctx, w)).To(Succeed()) }
	for name, tc := range map[string]struct {
		fails func(r *http.Request) (*http.Response, error)
		goes  func(b *testbed, w *v1alpha1.Webhook)
		stays bool
	}{
		"while a write hangs":      {fails: hangs, goes: remove},
		"between two tries":        {fails: lostAnswers["error of etcd"], goes: remove},
		"while it is told to wait": {fails: tooManyRequests, goes: remove},
		"another one has its name": {fails: hangs, goes: func(b *testbed, w *v1alpha1.Webhook) { remove(b, w); b.webhook("w", elsewhere) }},
		"a finalizer holds it back": {fails: hangs, stays: true, goes: func(b *testbed, w *v1alpha1.Webhook) {
			b.edit(w, map[string]any{"metadata": map[string]any{"finalizers": []string{"example.com/hold"}}})
			remove(b, w)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			b := newTestbed(t)
			b.start(creating(func(r *http.Request, _ func() (*http.Response, error)) (*http.Response, error) { return tc.fails(r) }))
			w := b.webhook("w")
			b.event("e")
			b.Eventually(func() int { return b.requests("w") }).Should(Equal(1))
			if name != "while a write hangs" {
				b.Eventually(func() float64 { return b.metrics()["workers_busy"] }).Should(Equal(1.0))
			}
			tc.goes(b, w)
			b.Eventually(func() float64 { return b.metrics()["workers_busy"] }).Should(BeZero())
			if tc.stays {
				b.edit(w, map[string]any{"metadata": map[string]any{"finalizers": nil}})
			}
			b.Eventually(func() float64 { return b.metrics()["unstored_deliveries"] }).Should(BeZero())
			b.Eventually(func() []ledger.Entry {
				return slices.DeleteFunc(b.operator.enqueuer.Ledger.OfWebhook(client.ObjectKeyFromObject(w)),
					func(e ledger.Entry) bool { return e.WebhookUID != w.UID })
			}).Should(BeEmpty())
			b.Expect(b.requests("w")).To(Equal(1))
		})
	}
}

func elsewhere(w *v1alpha1.Webhook) { w.Spec.Scope = "/elsewhere" }

func tooManyRequests(r *http.Request) (*http.Response, error) {
	return answer(r, apierrors.NewTooManyRequestsError("the server has received too many requests"))
}

func conflictOfAQuota(r *http.Request) (*http.Response, error) {
	return answer(r, apierrors.NewConflict(corev1.Resource("resourcequotas"), "records", errors.New("the object has been modified")))
}

// fridays is the reason of a refusal.
const fridays = "no records on Fridays"

// invalidBody is what a controller-runtime webhook answers with that does not like a
// field.
var invalidBody = metav1.Status{
	Code: 422, Reason: metav1.StatusReasonInvalid,
	Details: &metav1.StatusDetails{Causes: []metav1.StatusCause{{Field: "status.response.body", Message: fridays}}},
}

func responseOf(object map[string]any) map[string]any {
	return object["status"].(map[string]any)["response"].(map[string]any)
}

// quota lets no delivery be stored in the namespace.
func (b *testbed) quota() (lift func()) {
	quota := &corev1.ResourceQuota{
		ObjectMeta: metav1.ObjectMeta{Namespace: b.namespace, Name: "records"},
		Spec: corev1.ResourceQuotaSpec{Hard: corev1.ResourceList{
			"count/webhookdeliveries.horizoncd.io": resource.MustParse("0"),
		}},
	}
	b.Expect(b.client.Create(b.ctx, quota)).To(Succeed())
	// What the quota controller does, which does not run here.
	quota.Status.Hard = quota.Spec.Hard
	quota.Status.Used = quota.Spec.Hard
	b.Expect(b.client.Status().Update(b.ctx, quota)).To(Succeed())
	return func() { b.Expect(b.client.Delete(b.ctx, quota)).To(Succeed()) }
}

// policyWith makes a policy that lets nothing be written in the namespace, and
// answers with a reason.
func policyWith(reason metav1.StatusReason) func(b *testbed) (lift func()) {
	return func(b *testbed) func() {
		validation := admissionregistrationv1.Validation{Expression: "false", Message: fridays}
		if reason != "" {
			validation.Reason = &reason
		}
		return b.policy(validation, "webhookdeliveries")
	}
}

func (b *testbed) policy(validation admissionregistrationv1.Validation, resources ...string) (lift func()) {
	b.t.Helper()
	policies := b.admin().AdmissionregistrationV1()
	of := metav1.ObjectMeta{Name: b.namespace}
	_, err := policies.ValidatingAdmissionPolicies().Create(b.ctx, &admissionregistrationv1.ValidatingAdmissionPolicy{
		ObjectMeta: of,
		Spec: admissionregistrationv1.ValidatingAdmissionPolicySpec{
			MatchConstraints: &admissionregistrationv1.MatchResources{
				NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{corev1.LabelMetadataName: b.namespace}},
				ResourceRules: []admissionregistrationv1.NamedRuleWithOperations{{
					RuleWithOperations: admissionregistrationv1.RuleWithOperations{Operations: written, Rule: ours(resources...)},
				}},
			},
			Validations: []admissionregistrationv1.Validation{validation},
		},
	}, metav1.CreateOptions{})
	b.Expect(err).NotTo(HaveOccurred())
	_, err = policies.ValidatingAdmissionPolicyBindings().Create(b.ctx, &admissionregistrationv1.ValidatingAdmissionPolicyBinding{
		ObjectMeta: of,
		Spec: admissionregistrationv1.ValidatingAdmissionPolicyBindingSpec{
			PolicyName: b.namespace, ValidationActions: []admissionregistrationv1.ValidationAction{admissionregistrationv1.Deny},
		},
	}, metav1.CreateOptions{})
	b.Expect(err).NotTo(HaveOccurred())
	lifted := false
	lift = func() {
		if lifted {
			return
		}
		lifted = true
		b.Expect(policies.ValidatingAdmissionPolicyBindings().Delete(b.ctx, of.Name, metav1.DeleteOptions{})).To(Succeed())
		b.Expect(policies.ValidatingAdmissionPolicies().Delete(b.ctx, of.Name, metav1.DeleteOptions{})).To(Succeed())
	}
	b.t.Cleanup(lift)
	// It takes the API server a moment to know of it.
	b.Eventually(b.tryToCreate).Should(MatchError(ContainSubstring(fridays)))
	return lift
}

var written = []admissionregistrationv1.OperationType{admissionregistrationv1.Create, admissionregistrationv1.Update}

func ours(resources ...string) admissionregistrationv1.Rule {
	return admissionregistrationv1.Rule{APIGroups: []string{"horizoncd.io"}, APIVersions: []string{"*"}, Resources: resources}
}

// tryToCreate tells whether the API server would take a delivery.
func (b *testbed) tryToCreate() error {
	e := &v1alpha1.WebhookEvent{ObjectMeta: metav1.ObjectMeta{Namespace: b.namespace, Name: "try", UID: "try"}}
	e.Spec.EventType = "clusters_deployed"
	w := &v1alpha1.Webhook{ObjectMeta: metav1.ObjectMeta{Namespace: b.namespace, Name: "try", UID: "try"}}
	d := delivery.New(e, w, []byte("{}"))
	delivery.Wait(d, delivery.WaitReason{Reason: v1alpha1.ReasonPaused, Message: ""}, time.Now())
	return b.client.Create(b.ctx, d, client.DryRunAll)
}

// deniedWith makes an admission webhook that denies all writes of deliveries.
func deniedWith(status metav1.Status) func(b *testbed) (lift func()) {
	return func(b *testbed) func() {
		status.Message = fridays
		lift := b.admissionWebhook(func(to http.ResponseWriter, review *admissionv1.AdmissionReview) { admit(to, review, &status) })
		b.t.Cleanup(lift)
		return lift
	}
}

// admit answers a review; status says why it is denied, if it is.
func admit(to http.ResponseWriter, review *admissionv1.AdmissionReview, status *metav1.Status) {
	review.Response = &admissionv1.AdmissionResponse{UID: review.Request.UID, Allowed: status == nil, Result: status}
	to.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(to).Encode(review); err != nil {
		panic(err) // the API server is told so
	}
}

// admissionWebhook lets the API server ask about each write of a delivery in the
// namespace.
func (b *testbed) admissionWebhook(serve func(to http.ResponseWriter, review *admissionv1.AdmissionReview)) (remove func()) {
	b.t.Helper()
	var asked atomic.Bool
	server := httptest.NewTLSServer(http.HandlerFunc(func(to http.ResponseWriter, r *http.Request) {
		asked.Store(true)
		review := &admissionv1.AdmissionReview{}
		if err := json.NewDecoder(r.Body).Decode(review); err != nil {
			http.Error(to, err.Error(), http.StatusBadRequest)
			return
		}
		serve(to, review)
	}))
	webhooks := b.admin().AdmissionregistrationV1().ValidatingWebhookConfigurations()
	_, err := webhooks.Create(b.ctx, &admissionregistrationv1.ValidatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: b.namespace},
		Webhooks: []admissionregistrationv1.ValidatingWebhook{{
			Name: "records.example.com",
			ClientConfig: admissionregistrationv1.WebhookClientConfig{
				URL:      &server.URL,
				CABundle: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}),
			},
			Rules:                   []admissionregistrationv1.RuleWithOperations{{Operations: written, Rule: ours("webhookdeliveries")}},
			NamespaceSelector:       &metav1.LabelSelector{MatchLabels: map[string]string{corev1.LabelMetadataName: b.namespace}},
			SideEffects:             new(admissionregistrationv1.SideEffectClassNone),
			AdmissionReviewVersions: []string{"v1"},
		}},
	}, metav1.CreateOptions{})
	b.Expect(err).NotTo(HaveOccurred())
	b.Eventually(func() bool { _ = b.tryToCreate(); return asked.Load() }).Should(BeTrue())
	removed := false
	return func() {
		if removed {
			return
		}
		removed = true
		b.Expect(webhooks.Delete(b.ctx, b.namespace, metav1.DeleteOptions{})).To(Succeed())
		b.Eventually(func() error { return b.tryToCreate() }).Should(Succeed())
		server.Close()
	}
}

// mayNotCreate makes the operator one that has its role but for the permission to
// create deliveries.
func (b *testbed) mayNotCreate() (lift func()) {
	b.t.Helper()
	manifest, err := os.ReadFile("../config/rbac/role.yaml")
	b.Expect(err).NotTo(HaveOccurred())
	role := &rbacv1.ClusterRole{}
	b.Expect(yaml.UnmarshalStrict(manifest, role)).To(Succeed())
	role.Name = b.namespace
	whole := role.DeepCopy()
	for i := range role.Rules {
		if slices.Contains(role.Rules[i].Resources, "webhookdeliveries") {
			role.Rules[i].Verbs = slices.DeleteFunc(role.Rules[i].Verbs, func(verb string) bool { return verb == "create" })
		}
	}
	b.config, err = plane.UserConfig(b.namespace)
	b.Expect(err).NotTo(HaveOccurred())
	roles := b.admin().RbacV1()
	_, err = roles.ClusterRoles().Create(b.ctx, role, metav1.CreateOptions{})
	b.Expect(err).NotTo(HaveOccurred())
	_, err = roles.ClusterRoleBindings().Create(b.ctx, &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: b.namespace},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: "User", Name: b.namespace}},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: b.namespace},
	}, metav1.CreateOptions{})
	b.Expect(err).NotTo(HaveOccurred())
	b.t.Cleanup(func() {
		b.Expect(roles.ClusterRoleBindings().Delete(context.WithoutCancel(b.ctx), b.namespace, metav1.DeleteOptions{})).To(Succeed())
		b.Expect(roles.ClusterRoles().Delete(context.WithoutCancel(b.ctx), b.namespace, metav1.DeleteOptions{})).To(Succeed())
	})
	return func() {
		_, err := roles.ClusterRoles().Update(b.ctx, whole, metav1.UpdateOptions{})
		b.Expect(err).NotTo(HaveOccurred())
	}
}

// admin is a client for the kinds of Kubernetes itself.
func (b *testbed) admin() kubernetes.Interface {
	b.t.Helper()
	c, err := kubernetes.NewForConfig(restConfig)
	b.Expect(err).NotTo(HaveOccurred())
	return c
}

// refused waits until an event tells that a record was refused, and returns what it
// says.
func (b *testbed) refused(event string) (message string) {
	b.t.Helper()
	b.Eventually(func(g Gomega) {
		e := &v1alpha1.WebhookEvent{}
		g.Expect(b.client.Get(b.ctx, types.NamespacedName{Namespace: b.namespace, Name: event}, e)).To(Succeed())
		c := meta.FindStatusCondition(e.Status.Conditions, v1alpha1.ConditionDispatched)
		g.Expect(c).NotTo(BeNil())
		g.Expect(c.Reason).To(Equal(v1alpha1.ReasonRecordRefused))
		message = c.Message
	}).Should(Succeed())
	return message
}
