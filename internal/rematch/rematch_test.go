package rematch

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/types"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
)

func TestSet(t *testing.T) {
	var told []string
	s := New(func(webhook types.NamespacedName) { told = append(told, webhook.Name) })
	webhook := func(name string) *v1alpha1.Webhook {
		w := &v1alpha1.Webhook{}
		w.Name, w.UID = name, types.UID(name)
		return w
	}
	a, b := webhook("a"), webhook("b")
	set := func(uids ...types.UID) map[types.UID]bool {
		all := map[types.UID]bool{}
		for _, uid := range uids {
			all[uid] = true
		}
		return all
	}
	want := func(what string, event types.UID, missed, replays map[types.UID]bool, wantTold ...string) {
		t.Helper()
		got := s.Of(event)
		late := set()
		for uid := range missed {
			late[uid] = true
		}
		for uid := range replays {
			late[uid] = true
		}
		if !cmp.Equal(set(), missed) && !cmp.Equal(got.Missed, missed) || !cmp.Equal(set(), replays) && !cmp.Equal(got.Replays, replays) ||
			len(got.Late()) != len(late) || len(late) > 0 && !cmp.Equal(got.Late(), late) {
			t.Errorf("%s: %+v", what, got)
		}
		if diff := cmp.Diff(wantTold, told); diff != "" {
			t.Errorf("%s: told (-want +got):\n%s", what, diff)
		}
		told = nil
	}
	s.Add("e1", a)
	s.Add("e1", a)
	s.AddReplay("e1", b)
	s.AddReplay("e1", b)
	want("two kinds", "e1", set("a"), set("b"))
	if !s.Pending("a") || s.Pending("b") {
		t.Error("a replay holds back what was observed of an edit, or a missed event does not")
	}
	handedOut := s.Of("e1")
	s.AddReplay("e1", a)
	want("both kinds", "e1", set("a"), set("a", "b"))
	if len(handedOut.Replays) != 1 {
		t.Error("what was handed out has changed")
	}
	s.Add("e2", a)
	s.Settle("e1", set("a"))
	want("the replay is told, and the last missed one is not settled", "e1", set(), set("b"), "a")
	s.Settle("e1", set("a"))
	want("settled already", "e1", set(), set("b"))
	s.Settle("e2", set("a"))
	want("the last missed one", "e2", set(), set(), "a")
	if s.Pending("a") {
		t.Error("it is settled")
	}
	s.Forget("e1")
	want("gone", "e1", set(), set(), "b")
	if events := s.Events(); len(events) != 0 || len(s.webhooks) != 0 {
		t.Errorf("%v and %v are left", events, s.webhooks)
	}
}
