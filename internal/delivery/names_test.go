package delivery

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
)

// Names and ids must never change: a name that did would make a second record,
// an id that did would make a receiver take a repetition for news.
func TestNameAndMessageIDNeverChange(t *testing.T) {
	if got, want := Name(event(), webhook()), "smoke-tests-6b040090-2540c9f399e11854"; got != want {
		t.Errorf("Name = %q, want %q", got, want)
	}
	got := MessageID(event().UID, webhook().UID)
	if want := "whd_2540c9f399e118540ad4047c57dc1e4a"; got != want {
		t.Errorf("MessageID = %q, want %q", got, want)
	}
	if got != MessageID(fresh().Spec.EventRef.UID, fresh().Spec.WebhookRef.UID) {
		t.Error("the id that a delivery's references give is another one")
	}
}

func TestName(t *testing.T) {
	for name, tc := range map[string]struct {
		webhook string
		at      time.Time
	}{
		"short":               {webhook: "a", at: now},
		"longest":             {webhook: strings.Repeat("a", 63), at: now},
		"with dots":           {webhook: "a.b-c.d", at: now},
		"beginning of time":   {webhook: "a", at: time.Unix(0, 0)},
		"the year 2105":       {webhook: strings.Repeat("a", 63), at: time.Date(2105, 12, 31, 0, 0, 0, 0, time.UTC)},
		"the year 9999":       {webhook: strings.Repeat("a", 63), at: time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC)},
		"an event of no time": {webhook: "a"},
	} {
		t.Run(name, func(t *testing.T) {
			e, w := event(), webhook()
			e.CreationTimestamp, w.Name = metav1.NewTime(tc.at), tc.webhook
			got := Name(e, w)
			if problems := validation.IsDNS1123Subdomain(got); problems != nil {
				t.Errorf("%q: %v", got, problems)
			}
			if len(got) > 253 {
				t.Errorf("%q has %d characters", got, len(got))
			}
			if got != Name(e, w) {
				t.Error("it is not the same twice")
			}
		})
	}
}

func TestNamesSortInTimeOrder(t *testing.T) {
	var names []string
	for _, at := range []time.Time{
		time.Date(2001, 9, 9, 1, 46, 40, 0, time.UTC), now, now.Add(time.Second), now.Add(time.Minute),
		now.Add(240 * time.Hour), time.Date(2039, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(2105, 1, 1, 0, 0, 0, 0, time.UTC),
	} {
		for n := range 20 {
			e := event()
			e.CreationTimestamp, e.UID = metav1.NewTime(at), types.UID(fmt.Sprint(n))
			names = append(names, Name(e, webhook())[:len("smoke-tests-00000000")])
		}
	}
	if !slices.IsSorted(names) {
		t.Errorf("not sorted: %q", names)
	}
}

func TestNamesAndIDsTellPairsApart(t *testing.T) {
	names, ids := map[string]string{}, map[string]string{}
	uids := []types.UID{"", "a", "b", "ab", "ba", "aa", "a/", "/a", "event", "webhook"}
	for _, eventUID := range uids {
		for _, webhookUID := range uids {
			if strings.Contains(string(eventUID+webhookUID), "/") {
				continue // no UID contains one
			}
			e, w := event(), webhook()
			e.UID, w.UID = eventUID, webhookUID
			pair := fmt.Sprintf("%q %q", eventUID, webhookUID)
			if other, ok := names[Name(e, w)]; ok {
				t.Errorf("%s and %s have the same name", pair, other)
			}
			if other, ok := ids[MessageID(e.UID, w.UID)]; ok {
				t.Errorf("%s and %s have the same id", pair, other)
			}
			names[Name(e, w)], ids[MessageID(e.UID, w.UID)] = pair, pair
		}
	}
}

func TestGenuine(t *testing.T) {
	change := func(change func(d *v1alpha1.WebhookDelivery)) *v1alpha1.WebhookDelivery {
		d := fresh()
		change(d)
		return d
	}
	successor := webhook()
	successor.UID = "0d8f3a52-86a4-4a42-9d8e-8a2d0c3f5e78"
	longer := webhook()
	longer.Name = "smoke"
	for name, tc := range map[string]struct {
		delivery *v1alpha1.WebhookDelivery
		webhook  *v1alpha1.Webhook
		want     bool
	}{
		"made":                                   {delivery: fresh(), webhook: webhook(), want: true},
		"sent, annotated and relabelled":         {delivery: change(func(d *v1alpha1.WebhookDelivery) { d.Labels = nil; annotate(d, "1") }), webhook: webhook(), want: true},
		"of a webhook that has the name now":     {delivery: fresh(), webhook: successor},
		"of a webhook with a longer name":        {delivery: fresh(), webhook: longer},
		"in another namespace":                   {delivery: change(func(d *v1alpha1.WebhookDelivery) { d.Namespace = "video" }), webhook: webhook()},
		"says that it is of another event":       {delivery: change(func(d *v1alpha1.WebhookDelivery) { d.Spec.EventRef.UID = "other" }), webhook: webhook()},
		"says that it is of another webhook":     {delivery: change(func(d *v1alpha1.WebhookDelivery) { d.Spec.WebhookRef.UID = "other" }), webhook: webhook()},
		"names another webhook":                  {delivery: change(func(d *v1alpha1.WebhookDelivery) { d.Spec.WebhookRef.Name = "other" }), webhook: webhook()},
		"a name that somebody has thought of":    {delivery: change(func(d *v1alpha1.WebhookDelivery) { d.Name = "smoke-tests-1" }), webhook: webhook()},
		"the name of another webhook's delivery": {delivery: change(func(d *v1alpha1.WebhookDelivery) { d.Name = "x-" + d.Name }), webhook: webhook()},
		"a foreign one":                          {delivery: &v1alpha1.WebhookDelivery{}, webhook: webhook()},
	} {
		t.Run(name, func(t *testing.T) {
			if got := Genuine(tc.delivery, tc.webhook); got != tc.want {
				t.Errorf("Genuine = %t, want %t", got, tc.want)
			}
		})
	}
}
