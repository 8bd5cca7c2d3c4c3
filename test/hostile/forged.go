package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/delivery"
	"github.com/horizoncd/webhook-operator/test/operator"
	"github.com/horizoncd/webhook-operator/test/receiver"
)

// roles are what people are bound to in one namespace. The writer may do with
// deliveries all that RBAC knows.
var roles = map[string]string{
	"viewer": "horizon-webhook-viewer", "tenant": "horizon-webhook-editor", "resender": "horizon-delivery-resender", "writer": "hostile-writer",
}

// What the policy says.
const (
	unmade    = "deliveries are made by the operator alone"
	unchanged = "nothing but its annotation horizoncd.io/resend, which sends it again, can be changed; this would change its "
)

// forger is what the inputs of this group share.
type forger struct {
	*session
	namespace, elsewhere string
	receiver             *receiver.Receiver
	event                *v1alpha1.WebhookEvent
	victim               *v1alpha1.Webhook
	records              map[string]*v1alpha1.WebhookDelivery // by Webhook
	as                   map[string]client.Client
}

// playForged lets people try what they may not do, and an administrator forge records.
func playForged(ctx context.Context, t *session) (err error) {
	f := &forger{session: t, as: map[string]client.Client{}}
	if f.receiver, err = receiver.Start(receiver.Options{}); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.receiver.Close()) }()
	if err := f.set(ctx); err != nil {
		return err
	}
	if err := f.bind(ctx); err != nil {
		return err
	}
	for _, try := range f.tries(ctx) {
		var problems []string
		err := try.this(f.as[try.who])
		switch {
		case err == nil:
			problems = append(problems, "it is allowed")
		case !(apierrors.IsForbidden(err) || apierrors.IsInvalid(err) || apierrors.IsBadRequest(err)) || !strings.Contains(err.Error(), try.says):
			problems = append(problems, fmt.Sprintf("refused with %.500q, want %q in it", err, try.says))
		}
		t.judge("a "+try.who+" "+try.what, problems)
	}
	if err := f.allowed(ctx); err != nil {
		return err
	}
	return f.byAnAdministrator(ctx)
}

// set makes two Webhooks that have been sent something, and one in another namespace.
func (f *forger) set(ctx context.Context) (err error) {
	if f.namespace, err = f.session.namespace(ctx); err != nil {
		return err
	}
	if f.elsewhere, err = f.session.namespace(ctx, "elsewhere"); err != nil {
		return err
	}
	f.victim = f.webhook("victim")
	neighbour := f.webhook("neighbour")
	neighbour.Namespace = f.elsewhere
	if err := errors.Join(f.client.Create(ctx, f.victim), f.client.Create(ctx, f.webhook("other")), f.client.Create(ctx, neighbour)); err != nil {
		return err
	}
	if err := f.session.event(ctx, f.namespace, "horizon-1"); err != nil {
		return err
	}
	if f.records, err = f.settled(ctx, f.namespace, "horizon-1", 2); err != nil {
		return err
	}
	if f.records["victim"] == nil || f.records["other"] == nil {
		return errors.New("nothing was delivered")
	}
	f.event = &v1alpha1.WebhookEvent{}
	return f.client.Get(ctx, client.ObjectKey{Namespace: f.namespace, Name: "horizon-1"}, f.event)
}

// webhook is sent one request at a time: what is sent later shows what was not sent
// before.
func (f *forger) webhook(name string) *v1alpha1.Webhook {
	w := webhook(f.namespace, name, f.receiver.URL("/"+name))
	w.Spec.MaxInFlight = 1
	return w
}

// bind binds people to their roles, and waits until the API server knows, and has the
// policy.
func (f *forger) bind(ctx context.Context) error {
	if err := f.client.Create(ctx, &rbacv1.ClusterRole{
		ObjectMeta: metav1.ObjectMeta{Name: roles["writer"]},
		Rules:      []rbacv1.PolicyRule{{APIGroups: []string{v1alpha1.GroupVersion.Group}, Resources: []string{"webhookdeliveries"}, Verbs: []string{"*"}}},
	}); err != nil {
		return err
	}
	for who, role := range roles {
		user := "hostile-" + who
		if err := f.client.Create(ctx, &rbacv1.RoleBinding{
			ObjectMeta: metav1.ObjectMeta{Namespace: f.namespace, Name: user},
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role},
			Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: user}},
		}); err != nil {
			return err
		}
		config := rest.CopyConfig(f.admin)
		config.Impersonate = rest.ImpersonationConfig{UserName: user}
		c, err := client.New(config, client.Options{
			Scheme: f.client.Scheme(), Mapper: f.client.RESTMapper(), FieldValidation: metav1.FieldValidationStrict,
		})
		if err != nil {
			return err
		}
		f.as[who] = c
	}
	resent := f.records["victim"].DeepCopy()
	resent.Annotations = map[string]string{v1alpha1.AnnotationResend: "x"}
	waiting, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return wait.PollUntilContextCancel(waiting, interval, true, func(ctx context.Context) (bool, error) {
		made := f.as["writer"].Create(ctx, f.forgery("waits", nil), client.DryRunAll)
		return errors.Join(
			f.as["viewer"].List(ctx, &v1alpha1.WebhookDeliveryList{}, client.InNamespace(f.namespace)),
			f.as["tenant"].Create(ctx, f.webhook("waits"), client.DryRunAll),
			f.as["resender"].Patch(ctx, resent.DeepCopy(), client.MergeFrom(f.records["victim"]), client.DryRunAll),
		) == nil && made != nil && strings.Contains(made.Error(), unmade), nil
	})
}

// forgery is a record for the victim that the operator has not made.
func (f *forger) forgery(name string, change func(*v1alpha1.WebhookDelivery)) *v1alpha1.WebhookDelivery {
	d := delivery.New(f.event, f.victim, []byte(`{"forged":"`+name+`"}`))
	d.Name = "victim-" + name
	if change != nil {
		change(d)
	}
	delivery.Wait(d, delivery.WaitReason{Reason: v1alpha1.ReasonQueued, Message: "due at once"}, time.Now())
	return d
}

// attempt is something that somebody may not do.
type attempt struct {
	who, what string
	this      func(client.Client) error
	says      string
}

func (f *forger) tries(ctx context.Context) []attempt {
	create := func(object client.Object) func(client.Client) error {
		return func(c client.Client) error { return c.Create(ctx, object.DeepCopyObject().(client.Object)) }
	}
	in := func(namespace string) *v1alpha1.Webhook {
		w := f.webhook("curious")
		w.Namespace = namespace
		return w
	}
	event := &v1alpha1.WebhookEvent{
		ObjectMeta: metav1.ObjectMeta{Namespace: f.namespace, Name: "forged"}, Spec: v1alpha1.WebhookEventSpec{EventType: "clusters_deployed"},
	}
	foreign := in(f.namespace)
	foreign.Spec.SecretRef = &v1alpha1.SecretKeyReference{Name: f.elsewhere + "/token", Key: "token"}
	follows := &unstructured.Unstructured{Object: map[string]any{"spec": map[string]any{
		"url": f.receiver.URL("/curious"), "triggers": []any{"*"}, "namespace": f.elsewhere,
	}}}
	follows.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind("Webhook"))
	follows.SetNamespace(f.namespace)
	follows.SetName("follows")
	all := []attempt{
		{"tenant", "writes a Webhook in another namespace", create(in(f.elsewhere)), `cannot create resource "webhooks"`},
		{"tenant", "writes a Webhook that follows all namespaces", create(in(operator.DefaultSystemNamespace)), `cannot create resource "webhooks"`},
		{"tenant", "writes a Webhook that names another namespace", create(follows), `unknown field "spec.namespace"`},
		{"tenant", "names a Secret of another namespace", create(foreign), "to use a Secret of another namespace, copy it here"},
		{"tenant", "says that a Webhook is Ready", func(c client.Client) error {
			w := f.victim.DeepCopy()
			w.Status.WebhookID = 1
			return c.Status().Patch(ctx, w, client.MergeFrom(f.victim))
		}, `cannot patch resource "webhooks/status"`},
		{"tenant", "looks at deliveries of another namespace", func(c client.Client) error {
			return c.List(ctx, &v1alpha1.WebhookDeliveryList{}, client.InNamespace(f.elsewhere))
		}, `cannot list resource "webhookdeliveries"`},
		{"viewer", "writes a Webhook", create(in(f.namespace)), `cannot create resource "webhooks"`},
		{"viewer", "asks for a resend", f.patch(ctx, annotated(v1alpha1.AnnotationResend, "x")), `cannot patch resource "webhookdeliveries"`},
		{"resender", "deletes a record", func(c client.Client) error { return c.Delete(ctx, f.records["victim"].DeepCopy()) }, `cannot delete resource "webhookdeliveries"`},
		{"resender", "updates a record", func(c client.Client) error { return c.Update(ctx, f.records["victim"].DeepCopy()) }, `cannot update resource "webhookdeliveries"`},
		{"writer", "makes a delivery", create(f.forgery("made", nil)), unmade},
		{"writer", "makes a delivery under a generated name", create(f.forgery("", func(d *v1alpha1.WebhookDelivery) {
			d.Name, d.GenerateName = "", "victim-"
		})), unmade},
	}
	for _, who := range []string{"viewer", "tenant", "resender"} {
		all = append(all,
			attempt{who, "makes a delivery", create(f.forgery("made", nil)), `cannot create resource "webhookdeliveries"`},
			attempt{who, "makes an event", create(event), `cannot create resource "webhookevents"`},
			attempt{who, "lists Secrets", func(c client.Client) error {
				return c.List(ctx, &corev1.SecretList{}, client.InNamespace(f.namespace))
			}, `cannot list resource "secrets"`},
		)
	}
	for _, change := range changes {
		for _, who := range []string{"resender", "writer"} {
			all = append(all, attempt{who, change.what, f.patch(ctx, change.change), change.says})
		}
	}
	return all
}

// patch changes the record of the victim.
func (f *forger) patch(ctx context.Context, change func(*v1alpha1.WebhookDelivery)) func(client.Client) error {
	return func(c client.Client) error {
		d := f.records["victim"].DeepCopy()
		change(d)
		return c.Patch(ctx, d, client.MergeFrom(f.records["victim"]))
	}
}

// changes are what nobody may do to a record.
var changes = []struct {
	what   string
	change func(*v1alpha1.WebhookDelivery)
	says   string
}{
	{"changes the result", func(d *v1alpha1.WebhookDelivery) { d.Status.Result = v1alpha1.DeliveryWaiting }, unchanged + "status"},
	{"changes the answer", func(d *v1alpha1.WebhookDelivery) { d.Status.Response.Body = "forged" }, unchanged + "status"},
	{"changes the payload", func(d *v1alpha1.WebhookDelivery) { d.Spec.Payload = `{"forged":"payload"}` }, "spec cannot be changed"},
	{"changes the Webhook", func(d *v1alpha1.WebhookDelivery) { d.Spec.WebhookRef.Name = "other" }, "spec cannot be changed"},
	{"changes the label of the Webhook", func(d *v1alpha1.WebhookDelivery) { d.Labels[v1alpha1.LabelWebhook] = "other" }, unchanged + "labels"},
	{"adds a label", func(d *v1alpha1.WebhookDelivery) { d.Labels["app"] = "x" }, unchanged + "labels"},
	{"adds an annotation", annotated("example.com/note", "x"), unchanged + "annotations"},
	{"says what was resent", annotated(v1alpha1.AnnotationResent, "x"), unchanged + "annotations"},
	{"says when it is due", annotated(v1alpha1.AnnotationNextAttempt, "2026-11-24T09:00:00Z"), unchanged + "annotations"},
	{"takes it from its owner", func(d *v1alpha1.WebhookDelivery) { d.OwnerReferences = nil }, unchanged + "ownerReferences"},
	{"gives it another owner", func(d *v1alpha1.WebhookDelivery) {
		d.OwnerReferences = append(d.OwnerReferences, metav1.OwnerReference{APIVersion: "v1", Kind: "ConfigMap", Name: "x", UID: "x"})
	}, unchanged + "ownerReferences"},
	{"adds a finalizer", func(d *v1alpha1.WebhookDelivery) { d.Finalizers = []string{"example.com/hold"} }, unchanged + "finalizers"},
	{"asks for a resend with 129 characters", annotated(v1alpha1.AnnotationResend, strings.Repeat("ü", 129)), "may have up to 128 characters"},
	{"asks for a resend with 200 KiB", annotated(v1alpha1.AnnotationResend, strings.Repeat("x", 200<<10)), "may have up to 128 characters"},
}

func annotated(key, value string) func(*v1alpha1.WebhookDelivery) {
	return func(d *v1alpha1.WebhookDelivery) {
		if d.Annotations == nil {
			d.Annotations = map[string]string{}
		}
		d.Annotations[key] = value
	}
}

// allowed lets people do what they may. Nothing else has been sent by then.
func (f *forger) allowed(ctx context.Context) error {
	value := strings.Repeat("ü", 128)
	f.judge("a resender asks for a resend with 128 characters", f.resent(ctx, "resender", value, map[string]int{"victim": 2, "other": 1}))
	f.judge("a resender asks for the same again, and a viewer looks", append(f.resent(ctx, "resender", value, map[string]int{"victim": 2}), f.looked(ctx)...))
	f.judge("a writer asks for a resend", f.resent(ctx, "writer", "now", map[string]int{"victim": 3, "other": 1}))

	// A Webhook gets the events of its own namespace.
	theirs := &v1alpha1.WebhookEvent{
		ObjectMeta: metav1.ObjectMeta{Namespace: f.elsewhere, Name: "theirs"}, Spec: v1alpha1.WebhookEventSpec{EventType: "clusters_freed"},
	}
	if err := errors.Join(f.as["tenant"].Create(ctx, f.webhook("curious")), f.client.Create(ctx, theirs)); err != nil {
		return err
	}
	if _, err := f.settled(ctx, f.elsewhere, "theirs", 1); err != nil {
		return err
	}
	if err := f.session.event(ctx, f.namespace, "horizon-2"); err != nil {
		return err
	}
	if _, err := f.settled(ctx, f.namespace, "horizon-2", 3); err != nil {
		return err
	}
	problems := f.requests(map[string]int{"victim": 4, "other": 2, "neighbour": 1})
	arrived := f.receiver.Arrivals("/curious")
	for _, a := range arrived {
		if strings.Contains(string(a.Body), theirs.Spec.EventType) {
			problems = append(problems, "it got an event of another namespace: "+a.String())
		}
	}
	if len(arrived) == 0 {
		problems = append(problems, "it got none of its own")
	}
	f.judge("a Webhook beside another namespace", problems)
	return nil
}

func (f *forger) looked(ctx context.Context) []string {
	var list v1alpha1.WebhookDeliveryList
	if err := f.as["viewer"].List(ctx, &list, client.InNamespace(f.namespace)); err != nil || len(list.Items) != 2 {
		return []string{fmt.Sprintf("a viewer sees %d records: %v", len(list.Items), err)}
	}
	return nil
}

// resent asks for a resend to the victim, waits until it is honoured, and tells whether
// as many requests have come as there should since the beginning.
func (f *forger) resent(ctx context.Context, who, value string, requests map[string]int) []string {
	if err := f.patch(ctx, annotated(v1alpha1.AnnotationResend, value))(f.as[who]); err != nil {
		return []string{fmt.Sprintf("refused: %v", err)}
	}
	waiting, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	err := wait.PollUntilContextCancel(waiting, interval, true, func(ctx context.Context) (bool, error) {
		var d v1alpha1.WebhookDelivery
		err := f.client.Get(ctx, client.ObjectKeyFromObject(f.records["victim"]), &d)
		return d.Annotations[v1alpha1.AnnotationResent] == delivery.ResendHash(value), err
	})
	if err != nil {
		return []string{fmt.Sprintf("it is not honoured: %v", err)}
	}
	return f.requests(requests)
}

// requests tells whether as many have come as there should, and none that was forged.
func (f *forger) requests(want map[string]int) []string {
	var problems []string
	for name, n := range want {
		if got := f.receiver.Tally("/" + name).Requests; got != n {
			problems = append(problems, fmt.Sprintf("%d requests to %s, want %d", got, name, n))
		}
	}
	for _, a := range f.receiver.AllArrivals() {
		if strings.Contains(string(a.Body), "forged") {
			problems = append(problems, "sent: "+a.String())
		}
	}
	return problems
}

// byAnAdministrator writes records that do not fit their Webhook, which an
// administrator may.
func (f *forger) byAnAdministrator(ctx context.Context) error {
	unknown := f.event.DeepCopy()
	unknown.UID = types.UID("0d1f4c9e-6a55-4a0a-9d1b-3b8f2f0e7a11")
	resend := annotated(v1alpha1.AnnotationResend, "please")
	requests := map[string]int{"victim": 4, "other": 2}
	for i, forgery := range []struct {
		what string
		this func() error
	}{
		{"a record that is made up", func() error { return f.client.Create(ctx, f.forgery("made-up", nil)) }},
		{"a record that is made up, and its resend", func() error { return f.client.Create(ctx, f.forgery("made-up-resent", resend)) }},
		{"a record under the name of another event", func() error {
			return f.client.Create(ctx, f.forgery("", func(d *v1alpha1.WebhookDelivery) { d.Name = delivery.Name(unknown, f.victim) }))
		}},
		{"a record of another Webhook's name", func() error {
			return f.client.Create(ctx, f.forgery("", func(d *v1alpha1.WebhookDelivery) {
				d.Name = "other" + strings.TrimPrefix(delivery.Name(unknown, f.victim), "victim")
				d.Spec.EventRef.UID = unknown.UID
			}))
		}},
		{"a record of a Webhook before this one", func() error {
			return f.client.Create(ctx, f.forgery("", func(d *v1alpha1.WebhookDelivery) {
				before := f.victim.DeepCopy()
				before.UID = unknown.UID
				d.Name, d.Spec.WebhookRef.UID = delivery.Name(f.event, before), before.UID
			}))
		}},
		{"the record of another Webhook, carried over", func() error {
			var other v1alpha1.WebhookDelivery
			if err := f.client.Get(ctx, client.ObjectKeyFromObject(f.records["other"]), &other); err != nil {
				return err
			}
			base := other.DeepCopy()
			resend(&other)
			other.Labels[v1alpha1.LabelWebhook] = "victim"
			other.OwnerReferences = f.records["victim"].OwnerReferences
			return f.client.Patch(ctx, &other, client.MergeFrom(base))
		}},
	} {
		if err := forgery.this(); err != nil {
			return fmt.Errorf("%s: %w", forgery.what, err)
		}
		// What comes after it goes the same way: by when that is sent, it would be.
		requests["victim"]++
		f.judge(forgery.what, f.resent(ctx, "resender", fmt.Sprint("after-", i), requests))
	}
	return nil
}
