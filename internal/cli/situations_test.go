package cli

import (
	"time"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/delivery"
	"github.com/horizoncd/webhook-operator/internal/insight"
	"github.com/horizoncd/webhook-operator/test/receiver"
)

// situation is a state of the cluster that why has to explain.
type situation struct {
	// make brings it about, and returns what why is asked.
	make func(b *bed) []string
	// reason and message are what why has to say.
	reason, message string
	// change takes the cause away, or puts another one in its place. Where it returns
	// something, that is asked instead.
	change func(b *bed) []string
	// then is the reason after that, and thenMessage part of the message.
	then, thenMessage string
}

// at asks about the event at the Webhook w.
func at(e *v1alpha1.WebhookEvent) []string { return []string{"event/" + e.Name, "--webhook", "w"} }

// spec changes the spec of the Webhook w.
func (b *bed) spec(change func(*v1alpha1.WebhookSpec)) {
	b.Helper()
	b.Eventually(func() error {
		w := &v1alpha1.Webhook{}
		if err := b.Client.Get(b.Ctx, client.ObjectKey{Namespace: b.Namespace, Name: "w"}, w); err != nil {
			return err
		}
		change(&w.Spec)
		return b.Client.Update(b.Ctx, w, client.FieldOwner("jane"))
	}).Should(Succeed())
}

func (b *bed) enable() { b.spec(func(s *v1alpha1.WebhookSpec) { s.State = v1alpha1.WebhookEnabled }) }

// script sets how requests to the Webhook w are answered.
func (b *bed) script(text string) { b.Receiver.Script("/w", receiver.MustParseScript(text)...) }

// resend asks for the delivery of an event at the Webhook w to be sent again.
func (b *bed) resend(e *v1alpha1.WebhookEvent, value string) {
	b.Helper()
	b.Eventually(func(g Gomega) {
		var list v1alpha1.WebhookDeliveryList
		g.Expect(b.Client.List(b.Ctx, &list, client.InNamespace(b.Namespace), client.MatchingLabels{v1alpha1.LabelEventUID: string(e.UID)})).To(Succeed())
		g.Expect(list.Items).To(HaveLen(1))
		d := &list.Items[0]
		base := d.DeepCopy()
		metav1.SetMetaDataAnnotation(&d.ObjectMeta, v1alpha1.AnnotationResend, value)
		g.Expect(b.Client.Patch(b.Ctx, d, client.MergeFrom(base))).To(Succeed())
	}).Should(Succeed())
}

// dispatched waits until the operator has dispatched an event.
func (b *bed) dispatched(e *v1alpha1.WebhookEvent) {
	b.Helper()
	b.Eventually(func(g Gomega) {
		now := &v1alpha1.WebhookEvent{}
		g.Expect(b.Client.Get(b.Ctx, client.ObjectKeyFromObject(e), now)).To(Succeed())
		g.Expect(now.Status.Result).NotTo(Equal(v1alpha1.EventPending))
	}).Should(Succeed())
}

// known waits until the operator has looked at all Webhooks: an event that comes before
// that may be dispatched without them, and its status then does not name them.
func (b *bed) known() {
	b.Helper()
	b.Eventually(func(g Gomega) {
		var list v1alpha1.WebhookList
		g.Expect(b.Client.List(b.Ctx, &list, client.InNamespace(b.Namespace))).To(Succeed())
		for _, w := range list.Items {
			g.Expect(w.Status.ObservedGeneration).To(Equal(w.Generation), w.Name)
		}
	}).Should(Succeed())
}

// past lets time go by until an event is older than an age.
func (b *bed) past(e *v1alpha1.WebhookEvent, age time.Duration) {
	b.Helper()
	b.Eventually(func() time.Duration { return time.Since(e.CreationTimestamp.Time) }).Should(BeNumerically(">", age))
}

func (b *bed) tokens(data map[string]string) {
	b.Helper()
	b.Expect(b.Client.Create(b.Ctx, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: b.Namespace, Name: "token"}, StringData: data,
	})).To(Succeed())
}

func named(s *v1alpha1.WebhookSpec) {
	s.SecretRef = &v1alpha1.SecretKeyReference{Name: "token", Key: "token"}
}

func stateOf(state v1alpha1.WebhookState) func(*v1alpha1.WebhookSpec) {
	return func(s *v1alpha1.WebhookSpec) { s.State = state }
}

func withoutRetry(s *v1alpha1.WebhookSpec) { s.Retry.Limit = new(int32(0)) }

// failing makes an event that fails at a Webhook with a spec, and mends what was wrong.
func failing(script string, change func(*v1alpha1.WebhookSpec)) (func(*bed) []string, func(*bed) []string) {
	return func(b *bed) []string {
			b.script(script)
			b.Webhook("w", change)
			return at(b.Event(1))
		}, func(b *bed) []string {
			b.script("200")
			b.mended()
			return nil
		}
}

// mended asks for the delivery of the first event to be sent again.
func (b *bed) mended() {
	e := &v1alpha1.WebhookEvent{}
	b.Expect(b.Client.Get(b.Ctx, client.ObjectKey{Namespace: b.Namespace, Name: "horizon-1"}, e)).To(Succeed())
	b.resend(e, "mended")
}

const delivered = v1alpha1.ReasonAccepted

func followed() map[string]situation {
	long := func(s *v1alpha1.WebhookEventSpec) { s.Time = metav1.NewTime(time.Now().Add(-10 * time.Minute)) }
	edit := func(b *bed, change func(*v1alpha1.WebhookSpec)) []string {
		b.spec(change)
		return nil
	}
	unfollowed := func(change func(*v1alpha1.WebhookSpec)) func(*bed) []string {
		return func(b *bed) []string {
			b.Webhook("w", change)
			b.known()
			e := b.Event(1)
			b.dispatched(e)
			b.past(e, time.Second) // managedFields tell whole seconds
			return at(e)
		}
	}
	return map[string]situation{
		"a trigger": {
			make: unfollowed(func(s *v1alpha1.WebhookSpec) { s.Triggers = []v1alpha1.Trigger{"members_*", "clusters_freed"} }), reason: "Trigger",
			message: "its triggers (members_*, clusters_freed) do not include clusters_deployed; the nearest is clusters_freed",
			change: func(b *bed) []string {
				return edit(b, func(s *v1alpha1.WebhookSpec) { s.Triggers = []v1alpha1.Trigger{"clusters_*"} })
			},
			then: insight.ReasonEditedLater, thenMessage: "(Trigger); it was edited at",
		},
		"a scope": {
			make: unfollowed(func(s *v1alpha1.WebhookSpec) { s.Scope = "/music/play" }), reason: "Scope",
			message: "its scope is /music/play, and the event's path /music/player/web/web-prod is beside that, not below it",
			change:  func(b *bed) []string { return edit(b, func(s *v1alpha1.WebhookSpec) { s.Scope = "/music" }) },
			then:    insight.ReasonEditedLater, thenMessage: "by jane, and follows such events now",
		},
		"disabled": {
			make: unfollowed(stateOf(v1alpha1.WebhookDisabled)), reason: "Disabled", message: "which lets events pass by",
			change: func(b *bed) []string { return edit(b, stateOf(v1alpha1.WebhookEnabled)) },
			then:   insight.ReasonEditedLater,
		},
		"edited later, and back again": {
			make: func(b *bed) []string {
				ask := unfollowed(func(s *v1alpha1.WebhookSpec) { s.Triggers = []v1alpha1.Trigger{"members_*"} })(b)
				b.spec(func(s *v1alpha1.WebhookSpec) { s.Triggers = []v1alpha1.Trigger{"*"} })
				return ask
			},
			reason: insight.ReasonEditedLater, message: "it did not follow the event when that was dispatched (Trigger)",
			change: func(b *bed) []string {
				return edit(b, func(s *v1alpha1.WebhookSpec) { s.Triggers = []v1alpha1.Trigger{"members_*"} })
			},
			then: "Trigger",
		},
		"created later": {
			make: func(b *bed) []string {
				b.Webhook("w")
				b.known()
				e := b.Event(1, long)
				b.dispatched(e)
				return at(e)
			},
			reason: "CreatedLater", message: "happened at",
			change: func(b *bed) []string { return at(b.Event(2)) }, then: delivered,
		},
		"being deleted": {
			make: func(b *bed) []string {
				w := b.Webhook("w")
				b.known()
				b.Expect(b.Client.Get(b.Ctx, client.ObjectKeyFromObject(w), w)).To(Succeed())
				base := w.DeepCopy()
				w.Finalizers = []string{"example.com/hold"}
				b.Expect(b.Client.Patch(b.Ctx, w, client.MergeFrom(base))).To(Succeed())
				b.Expect(b.Client.Delete(b.Ctx, w)).To(Succeed())
				var e *v1alpha1.WebhookEvent
				id := int64(0)
				b.Eventually(func(g Gomega) { // once the operator has seen that
					id++
					e = b.Event(id)
					b.dispatched(e)
					g.Expect(b.Client.Get(b.Ctx, client.ObjectKeyFromObject(e), e)).To(Succeed())
					g.Expect(e.Status.Result).To(Equal(v1alpha1.EventUnmatched))
				}).Should(Succeed())
				return at(e)
			},
			reason: "Deleting", message: "the webhook is being deleted, since",
			change: func(b *bed) []string {
				w := &v1alpha1.Webhook{}
				b.Expect(b.Client.Get(b.Ctx, client.ObjectKey{Namespace: b.Namespace, Name: "w"}, w)).To(Succeed())
				base := w.DeepCopy()
				w.Finalizers = nil
				b.Expect(b.Client.Patch(b.Ctx, w, client.MergeFrom(base))).To(Succeed())
				return nil
			},
			then: "Deleting", thenMessage: "it has been deleted since",
		},
		"no webhook": {
			make: func(b *bed) []string {
				e := b.Event(1)
				b.dispatched(e)
				return []string{e.Name}
			},
			reason: insight.ReasonNoWebhooks, message: "there is no webhook that could follow it",
			change: func(b *bed) []string {
				b.Webhook("w", func(s *v1alpha1.WebhookSpec) { s.Triggers = []v1alpha1.Trigger{"members_*"} })
				return nil
			},
			then: "Trigger", thenMessage: "w does not follow it: its triggers (members_*)",
		},
		"expired": {
			make: func(b *bed) []string {
				b.Webhook("w")
				b.known()
				return []string{b.Event(1, func(s *v1alpha1.WebhookEventSpec) { s.Time = metav1.NewTime(time.Now().Add(-100 * time.Hour)) }).Name}
			},
			reason: "Expired", message: "--max-event-age",
			change: func(b *bed) []string { return at(b.Event(2)) }, then: delivered,
		},
	}
}

func sent() map[string]situation {
	s := map[string]situation{}
	add := func(name string, c situation, mk, mend func(*bed) []string) {
		c.make, c.change, c.then = mk, mend, delivered
		s[name] = c
	}
	mk, mend := failing("503", nil)
	add("retrying", situation{reason: "Retrying", message: "attempt 2 is due at"}, mk, mend)
	mk, mend = failing("500", withoutRetry)
	add("retries exhausted", situation{reason: "RetriesExhausted", message: "1 attempt failed, which is all that spec.retry allows; the last attempt"}, mk, mend)
	mk, mend = failing("410", nil)
	add("gone", situation{reason: "Gone", message: "the receiver wants no more: answered 410 Gone"}, mk, mend)
	mk, _ = failing("200", func(s *v1alpha1.WebhookSpec) { s.URL = "http://10.255.255.1/hooks" })
	add("an address that is denied", situation{reason: "EgressDenied", message: "the operator sends nothing to this address"}, mk, func(b *bed) []string {
		b.spec(func(s *v1alpha1.WebhookSpec) { s.URL = b.Receiver.URL("/w") })
		b.mended()
		return nil
	})
	mk, _ = failing("200", nil)
	s["delivered, and a resend failed"] = situation{
		make: mk, reason: delivered, message: "the receiver answered 200 OK at",
		change: func(b *bed) []string {
			b.script("410")
			b.mended()
			return nil
		},
		then: insight.ReasonResendFailed, thenMessage: "it was delivered before; the last resend failed: answered 410 Gone",
	}
	s["delivered, and a resend is retried"] = situation{
		make: mk, reason: delivered, message: "after 1 attempt",
		change: func(b *bed) []string {
			b.script("502")
			b.mended()
			return nil
		},
		then: "Retrying", thenMessage: "a resend failed and is tried again: attempt 3 is due at",
	}
	s["waited too long"] = situation{
		make: func(b *bed) []string {
			b.Webhook("w", stateOf(v1alpha1.WebhookPaused))
			e := b.Event(1)
			d := b.Delivery("w", e, v1alpha1.DeliveryWaiting)
			delivery.GiveUp(d, v1alpha1.ReasonWaitedTooLong, "it waited longer than spec.retry.giveUpAfterSeconds of its webhook", time.Now())
			b.Expect(b.Client.Update(b.Ctx, d)).To(Succeed())
			return at(e)
		},
		reason: "WaitedTooLong", message: "spec.retry.giveUpAfterSeconds",
		change: func(b *bed) []string { b.mended(); return nil }, then: delivered,
	}
	s["overflow"] = situation{
		make: func(b *bed) []string {
			b.Webhook("w", stateOf(v1alpha1.WebhookPaused))
			e := b.Event(1)
			d := b.Delivery("w", e, v1alpha1.DeliveryWaiting)
			delivery.GiveUp(d, v1alpha1.ReasonOverflow, "10000 deliveries of the webhook are waiting already", time.Now())
			b.Expect(b.Client.Update(b.Ctx, d)).To(Succeed())
			return at(e)
		},
		reason: "Overflow", message: "it was recorded and not sent: 10000 deliveries",
		change: func(b *bed) []string { b.mended(); return nil }, then: delivered,
	}
	return s
}

func held() map[string]situation {
	release := func(b *bed) []string { b.enable(); return nil }
	return map[string]situation{
		"paused": {
			make: func(b *bed) []string {
				b.Webhook("w", stateOf(v1alpha1.WebhookPaused))
				return at(b.Event(1))
			},
			reason: "Paused", message: "the webhook is Paused", change: release, then: delivered,
		},
		"disabled when it was stored": {
			make: func(b *bed) []string {
				b.Webhook("w", stateOf(v1alpha1.WebhookPaused))
				e := b.Event(1)
				b.Delivery("w", e, v1alpha1.DeliveryWaiting)
				b.spec(stateOf(v1alpha1.WebhookDisabled))
				return at(e)
			},
			reason: "Disabled", message: "earlier deliveries wait; it fails if it has not been sent by", change: release, then: delivered,
		},
		"a Secret is missing": {
			make: func(b *bed) []string {
				b.Webhook("w", named)
				return at(b.Event(1))
			},
			reason: "NotReady", message: "the webhook is not Ready: SecretNotFound: ",
			change: func(b *bed) []string {
				b.tokens(map[string]string{"token": "open sesame"})
				b.spec(func(s *v1alpha1.WebhookSpec) { s.Description = "has its Secret" }) // which is looked at sooner
				return nil
			},
			then: delivered,
		},
		"a key of a Secret is missing, for a resend": {
			make: func(b *bed) []string {
				b.Webhook("w")
				e := b.Event(1)
				b.Delivery("w", e, v1alpha1.DeliverySucceeded)
				b.tokens(map[string]string{"other": "x"})
				b.spec(named)
				b.resend(e, "again")
				return at(e)
			},
			reason: "NotReady", message: "a resend was asked for (again) and cannot begin: the webhook is not Ready: SecretKeyNotFound",
			change: func(b *bed) []string {
				b.spec(func(s *v1alpha1.WebhookSpec) { s.SecretRef = nil })
				return nil
			},
			then: delivered, thenMessage: "after 2 attempts",
		},
		"the receiver has gone for others": {
			make: func(b *bed) []string {
				b.script("410")
				b.Webhook("w")
				b.Delivery("w", b.Event(1), v1alpha1.DeliveryFailed)
				return at(b.Event(2))
			},
			reason: "Gone", message: "nothing is sent until the webhook is edited",
			change: func(b *bed) []string {
				b.script("200")
				b.spec(func(s *v1alpha1.WebhookSpec) { s.Description = "it is back" })
				return nil
			},
			then: delivered,
		},
		"the receiver rests": {
			make: func(b *bed) []string {
				b.Receiver.Script("/w", receiver.Answer{Status: 429, Header: map[string][]string{"Retry-After": {"600"}}})
				b.Webhook("w")
				b.Delivery("w", b.Event(1), v1alpha1.DeliveryWaiting)
				return at(b.Event(2))
			},
			reason: "ReceiverResting", message: "the receiver asked to be left alone until",
			change: func(b *bed) []string {
				b.spec(func(s *v1alpha1.WebhookSpec) { s.URL = b.Receiver.URL("/elsewhere") })
				return nil
			},
			then: delivered,
		},
		"the circuit is open": {
			make: func(b *bed) []string {
				b.script("500")
				b.Webhook("w", func(s *v1alpha1.WebhookSpec) { s.MaxInFlight = 1 })
				var last *v1alpha1.WebhookEvent
				for id := range int64(15) { // the first five open it, and probes let one through now and then
					last = b.Event(id + 1)
				}
				return at(last)
			},
			reason: "CircuitOpen", message: "attempts keep failing",
			change: func(b *bed) []string { b.script("200"); return nil }, then: delivered,
		},
		"its record is refused": {
			make: func(b *bed) []string {
				b.quota()
				b.Webhook("w")
				return at(b.Event(1))
			},
			reason: "RecordRefused", message: "exceeded quota: records",
			change: func(b *bed) []string {
				b.Expect(b.Client.Delete(b.Ctx, &corev1.ResourceQuota{ObjectMeta: metav1.ObjectMeta{Namespace: b.Namespace, Name: "records"}})).To(Succeed())
				return nil
			},
			then: delivered,
		},
	}
}

// quota lets no delivery be stored in the namespace.
func (b *bed) quota() {
	b.Helper()
	hard := corev1.ResourceList{"count/webhookdeliveries.horizoncd.io": resource.MustParse("0")}
	q := &corev1.ResourceQuota{
		ObjectMeta: metav1.ObjectMeta{Namespace: b.Namespace, Name: "records"}, Spec: corev1.ResourceQuotaSpec{Hard: hard},
	}
	b.Expect(b.Client.Create(b.Ctx, q)).To(Succeed())
	b.Eventually(func() error { // what the quota controller writes when it next looks
		if err := b.Client.Get(b.Ctx, client.ObjectKeyFromObject(q), q); err != nil {
			return err
		}
		q.Status.Hard, q.Status.Used = hard, hard
		return b.Client.Status().Update(b.Ctx, q)
	}).Should(Succeed())
}

// slots are situations in which one request is under way until gate is closed, and
// something else waits for the receiver's one slot.
func slots(gate chan struct{}) map[string]situation {
	busy := func(b *bed) {
		b.Receiver.Script("/w", receiver.Answer{}, receiver.Answer{Until: gate}, receiver.Answer{})
		b.Webhook("w", func(s *v1alpha1.WebhookSpec) { s.MaxInFlight, s.TimeoutSeconds = 1, 120 })
		b.Delivery("w", b.Event(1), v1alpha1.DeliverySucceeded)
		b.Event(2)
		b.Expect(b.Receiver.WaitRequests(b.Ctx, "/w", 2)).To(Succeed())
	}
	open := func(*bed) []string { close(gate); return nil }
	return map[string]situation{
		"queued": {
			make: func(b *bed) []string { busy(b); return at(b.Event(3)) }, reason: "Queued",
			message: "the receiver is busy with earlier deliveries", change: open, then: delivered,
		},
		"a resend waits for a slot": {
			make: func(b *bed) []string {
				busy(b)
				b.mended()
				return []string{"event/horizon-1", "--webhook", "w"}
			},
			reason: insight.ReasonResendAsked, message: "a resend was asked for (mended) and has not begun",
			change: open, then: delivered, thenMessage: "after 2 attempts",
		},
		"a first request is under way": {
			make: func(b *bed) []string { busy(b); return []string{"event/horizon-2", "--webhook", "w"} }, reason: insight.ReasonNotObserved,
			message: "no operator has recorded anything about the event since", change: open, then: delivered,
		},
	}
}

func removed() map[string]situation {
	deliveredAt := func(b *bed) []string {
		b.Webhook("w")
		e := b.Event(1)
		b.Delivery("w", e, v1alpha1.DeliverySucceeded)
		b.dispatched(e)
		return at(e)
	}
	remove := func(b *bed, options ...client.DeleteOption) {
		b.Expect(b.Client.Delete(b.Ctx, &v1alpha1.Webhook{ObjectMeta: metav1.ObjectMeta{Namespace: b.Namespace, Name: "w"}}, options...)).To(Succeed())
	}
	return map[string]situation{
		"the webhook was deleted": {
			make: deliveredAt, reason: delivered, message: "answered 200 OK",
			change: func(b *bed) []string { remove(b); return nil },
			then:   insight.ReasonWebhookDeleted, thenMessage: "removed with its webhook: that webhook has been deleted",
		},
		"the webhook was replaced": {
			make: func(b *bed) []string {
				ask := deliveredAt(b)
				e := &v1alpha1.WebhookEvent{}
				b.Expect(b.Client.Get(b.Ctx, client.ObjectKey{Namespace: b.Namespace, Name: "horizon-1"}, e)).To(Succeed())
				b.past(e, 4*time.Second) // or the new one would follow the event, too
				return ask
			},
			reason: delivered, message: "answered 200 OK",
			change: func(b *bed) []string {
				remove(b)
				b.Webhook("w")
				return nil
			},
			then: insight.ReasonWebhookReplaced, thenMessage: "another one of its name was created at",
		},
		"the record was removed": {
			make: deliveredAt, reason: delivered, message: "answered 200 OK",
			change: func(b *bed) []string {
				b.Expect(b.Client.DeleteAllOf(b.Ctx, &v1alpha1.WebhookDelivery{}, client.InNamespace(b.Namespace))).To(Succeed())
				return nil
			},
			then: insight.ReasonRecordRemoved, thenMessage: "it was delivered; its record was there and has been removed",
		},
		"the event was removed": {
			make: func(b *bed) []string { return deliveredAt(b)[:1] }, reason: v1alpha1.ReasonDelivered, message: "delivered to 1 webhook",
			change: func(b *bed) []string {
				b.Expect(b.Client.DeleteAllOf(b.Ctx, &v1alpha1.WebhookEvent{}, client.InNamespace(b.Namespace))).To(Succeed())
				return nil
			},
			then: insight.ReasonEventRemoved, thenMessage: "the event has been removed, by age (--event-ttl of the operator) or by hand; 1 record is left of it",
		},
		"the webhook was deleted while it waited, and its record kept": {
			make: func(b *bed) []string {
				b.Webhook("w", stateOf(v1alpha1.WebhookPaused))
				e := b.Event(1)
				b.Delivery("w", e, v1alpha1.DeliveryWaiting)
				return at(e)
			},
			reason: "Paused", message: "Paused",
			change: func(b *bed) []string { remove(b, client.PropagationPolicy(metav1.DeletePropagationOrphan)); return nil },
			then:   "WebhookGone", thenMessage: "a new one of the same name does not get it",
		},
	}
}
