package validation

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
)

func TestExpressions(t *testing.T) {
	type problem struct {
		Field, Reason string
		Holds         bool
	}
	for name, tc := range map[string]struct {
		spec v1alpha1.WebhookSpec
		want []problem
		hold string
	}{
		"none": {},
		"fine": {spec: v1alpha1.WebhookSpec{
			Filter: "true", Payload: &v1alpha1.PayloadSettings{Template: "{}"},
			Response: &v1alpha1.ResponseRules{AcceptIf: "true", GiveUpIf: "response.statusCode == 400"},
		}},
		"nothing in them": {spec: v1alpha1.WebhookSpec{Payload: &v1alpha1.PayloadSettings{}, Response: &v1alpha1.ResponseRules{}}},
		"a filter":        {spec: v1alpha1.WebhookSpec{Filter: "event"}, want: []problem{{"spec.filter", "FilterInvalid", false}}},
		"a filter that asks for the answer": {
			spec: v1alpha1.WebhookSpec{Filter: "response.statusCode == 200"}, want: []problem{{"spec.filter", "FilterInvalid", false}},
		},
		"all": {
			spec: v1alpha1.WebhookSpec{
				Filter: "x", Payload: &v1alpha1.PayloadSettings{Template: "'text'"},
				Response: &v1alpha1.ResponseRules{AcceptIf: "1", GiveUpIf: "("},
			},
			want: []problem{
				{"spec.filter", "FilterInvalid", false}, {"spec.payload.template", "PayloadInvalid", true},
				{"spec.response.acceptIf", "ResponseRuleInvalid", true}, {"spec.response.giveUpIf", "ResponseRuleInvalid", true},
			},
			hold: "spec.payload.template",
		},
		"a format of a later version": {
			spec: v1alpha1.WebhookSpec{Payload: &v1alpha1.PayloadSettings{Format: "Telex"}, Response: &v1alpha1.ResponseRules{AcceptIf: "1"}},
			want: []problem{{"spec.response.acceptIf", "ResponseRuleInvalid", true}},
			hold: "spec.payload.format",
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := &v1alpha1.Webhook{Spec: tc.spec}
			var got []problem
			for _, p := range Expressions(w) {
				got = append(got, problem{p.Field, p.Reason, p.Holds()})
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			hold := ""
			if p := Hold(w); p != nil {
				hold = p.Field
			}
			if hold != tc.hold {
				t.Errorf("deliveries wait for %q, not %q", hold, tc.hold)
			}
		})
	}
}

func TestMessageOfAnUnknownFormat(t *testing.T) {
	p := Hold(&v1alpha1.Webhook{Spec: v1alpha1.WebhookSpec{Payload: &v1alpha1.PayloadSettings{Format: "Telex"}}})
	want := "spec.payload.format Telex is not known to this version of the operator: upgrade it, or choose another format"
	if diff := cmp.Diff(want, p.Message()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestMessage(t *testing.T) {
	p := Expressions(&v1alpha1.Webhook{Spec: v1alpha1.WebhookSpec{Filter: "event.nothing"}})
	want := "spec.filter does not compile:\n1:7: undefined field 'nothing'\n  | event.nothing\n  | ......^"
	if diff := cmp.Diff(want, p[0].Message()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
