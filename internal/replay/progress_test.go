package replay

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/types"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/eventcache"
)

func position(i int) eventcache.Position {
	name := fmt.Sprintf("e%03d", i)
	return eventcache.Position{
		Created: now.Add(time.Duration(i/3) * time.Second), Key: types.NamespacedName{Namespace: "music", Name: name}, UID: types.UID(name),
	}
}

func describe(p *Progress) string {
	s := &v1alpha1.ReplayStatus{}
	p.Describe(s)
	cursor := "none"
	if s.Cursor != nil {
		cursor = s.Cursor.Name
	}
	return fmt.Sprintf("%s found %d sent %d expired %d", cursor, s.Found, s.Sent, s.Expired)
}

func TestProgress(t *testing.T) {
	p := Resume(&v1alpha1.ReplayStatus{}, eventcache.Position{Created: now})
	for i, step := range []struct {
		do   func()
		want string
	}{
		{func() {}, "none found 0 sent 0 expired 0"},
		{func() { p.Pass(position(0), false) }, "e000 found 0 sent 0 expired 0"},
		{func() { p.Pass(position(1), true) }, "e001 found 0 sent 0 expired 1"},
		{func() { p.Take(position(2)) }, "e001 found 1 sent 0 expired 1"},
		{func() { p.Pass(position(3), true) }, "e001 found 1 sent 0 expired 1"},
		{func() { p.Take(position(4)) }, "e001 found 2 sent 0 expired 1"},
		{func() { p.Take(position(5)) }, "e001 found 3 sent 0 expired 1"},
		{func() { p.Settle("e004", Send) }, "e001 found 3 sent 0 expired 1"},
		{func() { p.Settle("e004", Send) }, "e001 found 3 sent 0 expired 1"},
		{func() { p.Settle("e002", Send) }, "e004 found 3 sent 2 expired 2"},
		{func() { p.Settle("e005", Pass) }, "e005 found 2 sent 2 expired 2"}, // the Webhook does not follow it any more
		{func() { p.Take(position(6)) }, "e005 found 3 sent 2 expired 2"},
		{func() { p.Settle("e006", Expired) }, "e006 found 2 sent 2 expired 3"},
	} {
		step.do()
		if got := describe(p); got != step.want {
			t.Errorf("step %d: %s, want %s", i, got, step.want)
		}
	}
	if p.Taken() != 0 || len(p.Open()) != 0 || p.Looked().Key.Name != "e006" {
		t.Errorf("%+v", p)
	}
}

// Whenever the process ends, the one that goes on from what is stored looks at each event
// behind the cursor, and comes to the same numbers.
func TestProgressIsTakenOver(t *testing.T) {
	for seed := range uint64(200) {
		random := rand.New(rand.NewPCG(seed, 0))
		const n = 60
		verdicts := make([]Verdict, n)
		sent := map[types.UID]bool{}
		want := &v1alpha1.ReplayStatus{}
		for i := range verdicts {
			switch verdicts[i] = Verdict(random.IntN(3)); verdicts[i] {
			case Send:
				want.Sent++
				want.Found++
			case Expired:
				want.Expired++
			case Pass:
			}
		}
		stored := &v1alpha1.ReplayStatus{}
		p, next := Resume(stored, eventcache.Position{Created: now}), 0
		for next < n || len(p.Open()) > 0 {
			switch open := p.Open(); {
			case next < n && (len(open) == 0 || random.IntN(2) == 0):
				if at := position(next); verdicts[next] == Send {
					p.Take(at)
				} else {
					p.Pass(at, verdicts[next] == Expired)
				}
				next++
			case len(open) > 0:
				event := open[random.IntN(len(open))]
				sent[event.UID] = true
				p.Settle(event.UID, Send)
			}
			if random.IntN(3) == 0 { // a write of the status
				stored = &v1alpha1.ReplayStatus{}
				p.Describe(stored)
			}
			if random.IntN(10) == 0 { // the end of a process
				p = Resume(stored, eventcache.Position{Created: now})
				for next = 0; next < n && stored.Cursor != nil && position(next).Key.Name <= stored.Cursor.Name; next++ {
					if verdicts[next] == Send && !sent[position(next).UID] {
						t.Fatalf("seed %d: the cursor is at %s, and %s was not sent", seed, stored.Cursor.Name, position(next).Key.Name)
					}
				}
			}
		}
		got := &v1alpha1.ReplayStatus{}
		p.Describe(got)
		got.Cursor = nil
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("seed %d (-want +got):\n%s", seed, diff)
		}
	}
}
