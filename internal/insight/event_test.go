package insight

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/delivery"
)

func dispatched(result v1alpha1.EventResult) func(*v1alpha1.WebhookEvent) {
	return func(e *v1alpha1.WebhookEvent) {
		e.Status.ObservedGeneration, e.Status.Result = 1, result
		e.Status.Conditions = []metav1.Condition{{
			Type: v1alpha1.ConditionDispatched, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonDispatched,
		}}
	}
}

func unmatched(reason v1alpha1.UnmatchedReason, names ...string) func(*v1alpha1.WebhookEvent) {
	return func(e *v1alpha1.WebhookEvent) {
		e.Status.Unmatched = append(e.Status.Unmatched, v1alpha1.Unmatched{
			Reason: reason, Count: int32(len(names)), Webhooks: names,
		})
	}
}

// names puts the delivery of a Webhook into the event's status.
func names(w *v1alpha1.Webhook) func(*v1alpha1.WebhookEvent) {
	return func(e *v1alpha1.WebhookEvent) { e.Status.Deliveries = append(e.Status.Deliveries, delivery.Name(e, w)) }
}

func wrote(subresource, manager, fields string, at metav1.Time) metav1.ManagedFieldsEntry {
	entry := metav1.ManagedFieldsEntry{Manager: manager, Time: &at, Subresource: subresource, FieldsV1: &metav1.FieldsV1{}}
	entry.FieldsV1.SetRawString(fields)
	return entry
}

func editedBy(manager string, before time.Duration) func(*v1alpha1.Webhook) {
	return func(w *v1alpha1.Webhook) {
		w.ManagedFields = append(w.ManagedFields,
			wrote("", "kubectl-create", `{"f:spec":{"f:url":{}}}`, w.CreationTimestamp),
			wrote("", manager, `{"f:spec":{"f:triggers":{}}}`, ago(before)),
			wrote("", "labeller", `{"f:metadata":{"f:labels":{}}}`, ago(0)),
			wrote("status", "webhook-operator", `{"f:status":{}}`, ago(0)))
	}
}

func triggers(all ...v1alpha1.Trigger) func(*v1alpha1.Webhook) {
	return func(w *v1alpha1.Webhook) { w.Spec.Triggers = all }
}

// viewOf is what somebody sees who may read all.
func viewOf(e *v1alpha1.WebhookEvent, webhooks []*v1alpha1.Webhook, deliveries ...*v1alpha1.WebhookDelivery) *view {
	v := &view{
		event: e, now: now, system: DefaultSystemNamespace,
		webhooksOf:   map[string]bool{"music": true, DefaultSystemNamespace: true},
		deliveriesOf: map[string]bool{"music": true, DefaultSystemNamespace: true},
	}
	for _, w := range webhooks {
		v.webhooks = append(v.webhooks, *w)
	}
	for _, d := range deliveries {
		v.deliveries = append(v.deliveries, *d)
	}
	return v
}

func TestWithoutDelivery(t *testing.T) {
	type of = []func(*v1alpha1.WebhookEvent)
	for name, tc := range map[string]struct {
		event   of
		webhook *v1alpha1.Webhook
		outcome Outcome
		reason  string
		message string
		help    string
	}{
		"trigger": {
			event:   of{dispatched("Unmatched"), unmatched("Trigger", "a")},
			webhook: webhook("a", triggers("clusters_freed", "clusters_builddeployed", "members_*")),
			outcome: NotFollowed, reason: "Trigger",
			message: "its triggers (clusters_freed, clusters_builddeployed, members_*) do not include clusters_deployed; the nearest is clusters_builddeployed",
			help:    "add clusters_deployed to spec.triggers: `kubectl horizon edit a --add-trigger clusters_deployed -n music`; `kubectl horizon replay a --since 2026-11-23T08:00:00Z -n music`",
		},
		"scope": {
			event:   of{dispatched("Unmatched")},
			webhook: webhook("a", func(w *v1alpha1.Webhook) { w.Spec.Scope = "/video" }),
			outcome: NotFollowed, reason: "Scope", message: "its scope is /video, and the event's path /music/player/web/web-prod is not below that",
		},
		"a scope that is the beginning of a name": {
			event:   of{dispatched("Unmatched")},
			webhook: webhook("a", func(w *v1alpha1.Webhook) { w.Spec.Scope = "/music/play" }),
			outcome: NotFollowed, reason: "Scope", message: "is beside that, not below it",
		},
		"a scope, and an event without a path": {
			event:   of{func(e *v1alpha1.WebhookEvent) { e.Spec.ResourcePath = "" }},
			webhook: webhook("a", func(w *v1alpha1.Webhook) { w.Spec.Scope = "/music" }),
			outcome: NotFollowed, reason: "Scope", message: "the event has no resourcePath",
		},
		"created later": {
			event:   of{dispatched("Unmatched"), unmatched("CreatedLater", "a")},
			webhook: webhook("a", func(w *v1alpha1.Webhook) { w.CreationTimestamp = ago(time.Minute) }),
			outcome: NotFollowed, reason: "CreatedLater",
			message: "created at 2026-11-23T08:59:00Z, after the event (created at 2026-11-23T08:00:00Z)", help: "replay a --since",
		},
		"created after an event that was caught up": {
			event:   of{func(e *v1alpha1.WebhookEvent) { e.Spec.Time = ago(48 * time.Hour) }},
			webhook: webhook("a"), outcome: NotFollowed, reason: "CreatedLater", message: "happened at 2026-11-21T09:00:00Z", help: "--since 2026-11-21T09:00:00Z",
		},
		"deleting": {
			webhook: webhook("a", func(w *v1alpha1.Webhook) { w.DeletionTimestamp = new(ago(time.Minute)) }),
			outcome: NotFollowed, reason: "Deleting", message: "since 2026-11-23T08:59:00Z",
		},
		"disabled": {
			event:   of{dispatched("Unmatched"), unmatched("Disabled", "a")},
			webhook: webhook("a", state(v1alpha1.WebhookDisabled)), outcome: NotFollowed, reason: "Disabled", help: "kubectl horizon resume a -n music",
		},
		"edited later": {
			event:   of{dispatched("Unmatched"), unmatched("Trigger", "a")},
			webhook: webhook("a", editedBy("kubectl-edit", time.Minute)), outcome: NotFollowed, reason: ReasonEditedLater,
			message: "(Trigger); it was edited at 2026-11-23T08:59:00Z (60s ago) by kubectl-edit, and follows such events now", help: "replay a --since",
		},
		"edited later, and managedFields do not tell": {
			event:   of{dispatched("Unmatched"), unmatched("Scope", "a")},
			webhook: webhook("a"), outcome: NotFollowed, reason: ReasonEditedLater, message: "(Scope); it has been edited since",
		},
		"edited later, and still not followed": {
			event:   of{dispatched("Unmatched"), unmatched("Disabled", "a")},
			webhook: webhook("a", triggers("members_*"), editedBy("argocd", time.Minute)), outcome: NotFollowed, reason: "Disabled",
			message: "(Disabled); as it is now, its triggers (members_*)",
		},
		"a reason of a later version": {
			event: of{dispatched("Unmatched"), func(e *v1alpha1.WebhookEvent) {
				e.Status.Unmatched = []v1alpha1.Unmatched{{Reason: "FilterError", Message: "no such key: env", Count: 1, Webhooks: []string{"a"}}}
			}},
			webhook: webhook("a", triggers("members_*")), outcome: NotFollowed, reason: "FilterError", message: "(FilterError: no such key: env)",
		},
		"not looked at yet": {
			event:   of{dispatched("Unmatched")},
			webhook: webhook("a", edited), outcome: Waiting, reason: ReasonNotObserved, message: "no operator has looked at the webhook as it is now",
		},
		"record removed": {
			event:   of{dispatched("Succeeded"), names(webhook("a")), func(e *v1alpha1.WebhookEvent) { e.Status.Counts.Succeeded = 1 }},
			webhook: webhook("a"), outcome: Removed, reason: ReasonRecordRemoved, message: "it was delivered; its record was there",
		},
		"record removed, and nobody knows how it ended": {
			event:   of{dispatched("Failed"), names(webhook("a")), func(e *v1alpha1.WebhookEvent) { e.Status.Counts.Failed = 1 }},
			webhook: webhook("a", state(v1alpha1.WebhookDisabled)), outcome: Removed, reason: ReasonRecordRemoved, message: "its record was there",
		},
		"expired": {
			event: of{func(e *v1alpha1.WebhookEvent) {
				e.Status.Result = v1alpha1.EventExpired
				e.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionDispatched, Status: metav1.ConditionFalse,
					Reason: v1alpha1.ReasonExpired, Message: "older than 72h0m0s (--max-event-age) when it was first worked on"}}
			}},
			webhook: webhook("a"), outcome: Failed, reason: "Expired", message: "the event was older than 72h0m0s (--max-event-age)",
		},
		"its record is refused": {
			event: of{func(e *v1alpha1.WebhookEvent) {
				e.Status.ObservedGeneration = 1
				e.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionDispatched, Status: metav1.ConditionFalse,
					Reason: v1alpha1.ReasonRecordRefused, Message: "exceeded quota: few"}}
			}},
			webhook: webhook("a"), outcome: Waiting, reason: "RecordRefused", message: "exceeded quota: few", help: "ask an administrator",
		},
		"being dispatched": {
			event:   of{func(e *v1alpha1.WebhookEvent) { e.Status.ObservedGeneration = 1 }},
			webhook: webhook("a"), outcome: Waiting, reason: "Dispatching",
		},
		"a webhook of the system namespace that has no record": {
			event:   of{dispatched("Unmatched")},
			webhook: webhook("a", func(w *v1alpha1.Webhook) { w.Namespace = DefaultSystemNamespace }), outcome: Removed, reason: ReasonRecordRemoved,
		},
		"a webhook of the system namespace that was created in the second of the event": {
			event: of{dispatched("Unmatched")},
			webhook: webhook("a", func(w *v1alpha1.Webhook) {
				w.Namespace, w.Generation, w.CreationTimestamp = DefaultSystemNamespace, 1, ago(time.Hour)
				w.ManagedFields = []metav1.ManagedFieldsEntry{wrote("", "kubectl-create", `{"f:spec":{}}`, w.CreationTimestamp)}
			}),
			outcome: Removed, reason: ReasonRecordRemoved,
		},
		"a webhook of the system namespace that was edited": {
			event:   of{dispatched("Unmatched")},
			webhook: webhook("a", func(w *v1alpha1.Webhook) { w.Namespace = DefaultSystemNamespace }, editedBy("kubectl-edit", time.Minute)),
			outcome: NotFollowed, reason: ReasonEditedLater, help: "-n " + DefaultSystemNamespace,
		},
	} {
		t.Run(name, func(t *testing.T) {
			rows := viewOf(event(tc.event...), []*v1alpha1.Webhook{tc.webhook}).of()
			if len(rows) != 1 {
				t.Fatalf("%d rows: %+v", len(rows), rows)
			}
			got := rows[0]
			if got.Outcome != tc.outcome || got.Reason != tc.reason || !strings.Contains(got.Message, tc.message) || !strings.Contains(got.Help, tc.help) {
				t.Errorf("got  %+v\nwant %s %s %q %q", got, tc.outcome, tc.reason, tc.message, tc.help)
			}
		})
	}
}

// What is known by name only: a Webhook or a record that has been deleted since.
func TestNamedOnly(t *testing.T) {
	was, replaced := webhook("old"), webhook("new")
	e := event(dispatched("Failed"), unmatched("Scope", "past"), names(was), names(replaced))
	replaced.UID = "another"
	v := viewOf(e, []*v1alpha1.Webhook{replaced})
	got := map[string][]string{}
	for _, row := range v.of() {
		got[row.Webhook.Name] = append(got[row.Webhook.Name], row.Reason)
	}
	want := map[string][]string{
		"past": {"Scope"}, "old": {ReasonWebhookDeleted}, "new": {ReasonWebhookReplaced, ReasonEditedLater},
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %v, want %v", got, want)
	}
	v.webhooksOf, v.deliveriesOf = nil, nil
	for _, row := range v.of() {
		if row.Reason == ReasonWebhookDeleted || strings.Contains(row.Message, "deleted") {
			t.Errorf("nobody knows that: %+v", row)
		}
	}
}

// What needs somebody comes first, and then what is nearest to a match.
func TestOrder(t *testing.T) {
	system := func(w *v1alpha1.Webhook) { w.Namespace = DefaultSystemNamespace }
	delivered, failed, waits := webhook("delivered"), webhook("failed"), webhook("waits")
	foreign := webhook("a-foreign", system)
	webhooks := []*v1alpha1.Webhook{
		webhook("trigger", triggers("members_*")), webhook("disabled", state(v1alpha1.WebhookDisabled)),
		webhook("scope", func(w *v1alpha1.Webhook) { w.Spec.Scope = "/video" }),
		webhook("edited"), delivered, failed, waits, foreign,
	}
	v := viewOf(event(dispatched("Failed"), unmatched("Trigger", "edited")), webhooks,
		record(t, delivered, attempt(200, time.Minute, "Initial")), record(t, foreign, attempt(200, time.Minute, "Initial")),
		record(t, failed, attempt(410, time.Minute, "Initial")), record(t, waits, attempt(500, time.Minute, "Initial")))
	rows := v.of()
	var got []string
	for _, row := range rows {
		got = append(got, row.Webhook.Name)
	}
	want := []string{"failed", "waits", "delivered", "a-foreign", "edited", "disabled", "scope", "trigger"}
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	sum := v.sum(rows)
	const message = "delivered to 2 webhooks, failed at 1 webhook, waiting for 1 webhook, 4 webhooks do not follow it"
	if sum.Outcome != Failed || sum.Reason != "Gone" || sum.Message != message {
		t.Errorf("got %+v", sum)
	}
	v.only = "waits"
	if rows = v.of(); len(rows) != 1 || v.sum(rows).Reason != "Retrying" {
		t.Errorf("of one webhook: %+v", rows)
	}
	v.only = "nobody"
	if got := v.sum(v.of()); got.Reason != ReasonNoWebhooks {
		t.Errorf("of a webhook that nobody knows: %+v", got)
	}
}

func TestSum(t *testing.T) {
	for name, tc := range map[string]struct {
		webhooks []*v1alpha1.Webhook
		blind    bool
		want     Finding
	}{
		"no webhooks":   {want: Finding{Outcome: NotFollowed, Reason: ReasonNoWebhooks, Message: "there is no webhook that could follow it"}},
		"no permission": {blind: true, want: Finding{Outcome: Unknown, Reason: ReasonNotPermitted, Message: "the event is Unmatched; you may not read more"}},
		"one": {
			webhooks: []*v1alpha1.Webhook{webhook("a", state(v1alpha1.WebhookDisabled))},
			want:     Finding{Outcome: NotFollowed, Reason: "Disabled", Message: "a does not follow it: its state is Disabled"},
		},
		"several": {
			webhooks: []*v1alpha1.Webhook{webhook("b", triggers("members_*")), webhook("c", state(v1alpha1.WebhookDisabled))},
			want:     Finding{Outcome: NotFollowed, Reason: "Disabled", Message: "none of 2 webhooks follows it; the nearest is c: its state is Disabled"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			v := viewOf(event(dispatched("Unmatched")), tc.webhooks)
			if tc.blind {
				v.webhooksOf = nil
			}
			got := v.sum(v.of())
			if got.Outcome != tc.want.Outcome || got.Reason != tc.want.Reason || !strings.HasPrefix(got.Message, tc.want.Message) {
				t.Errorf("got %+v, want %+v", got, tc.want)
			}
		})
	}
}
