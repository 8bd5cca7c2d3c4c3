package expression

import (
	"fmt"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"
)

// Namespaces have their turns, and within one who came first is first.
func TestSlotsByTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSlots(1)
		s.take("busy")
		var got []string
		wait := func(namespace string, n int) {
			go func() {
				s.take(namespace)
				defer s.give()
				got = append(got, fmt.Sprint(namespace, n))
			}()
			synctest.Wait()
		}
		for i := range 4 {
			wait("busy", i)
		}
		wait("quiet", 0)
		wait("quiet", 1)
		if len(got) > 0 {
			t.Errorf("%v had a slot that was taken", got)
		}
		s.give()
		synctest.Wait()
		want := []string{"busy0", "quiet0", "busy1", "quiet1", "busy2", "busy3"}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("turns (-want +got):\n%s", diff)
		}
		if s.free != 1 {
			t.Errorf("%d are free", s.free)
		}
	})
}

// Templates wait by the namespace of their Webhook.
func TestTemplatesWaitByNamespace(t *testing.T) {
	template, err := CompileTemplate(`{}`)
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		defer func(s *slots) { running = s }(running)
		running = newSlots(1)
		running.take("")
		var got []string
		for _, namespace := range []string{"busy", "busy", "quiet"} {
			go func() {
				if _, err := template.Render(Input{Webhook: Webhook{Namespace: namespace}}); err != nil {
					t.Error(err)
				}
				got = append(got, namespace)
			}()
			synctest.Wait()
		}
		var turns []chan struct{}
		for running.waiting.Len() > 0 {
			turns = append(turns, running.waiting.Pop())
		}
		for _, turn := range turns {
			close(turn)
			synctest.Wait()
		}
		if diff := cmp.Diff([]string{"busy", "quiet", "busy"}, got); diff != "" {
			t.Errorf("turns (-want +got):\n%s", diff)
		}
	})
}
