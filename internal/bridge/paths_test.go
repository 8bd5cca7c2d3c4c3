package bridge

import (
	"context"
	"iter"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/client-go/util/flowcontrol"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/horizoncd/webhook-operator/internal/horizon"
)

// atlas walks over one application, long after it has read where that is.
type atlas struct {
	Lookups
	path string
	late func()
}

func (a *atlas) Walk(context.Context) iter.Seq2[horizon.Resource, error] {
	return func(yield func(horizon.Resource, error) bool) {
		r := horizon.Resource{Kind: horizon.Applications, ID: 7, Name: "web", Path: a.path}
		a.late()
		yield(r, nil)
	}
}

func (a *atlas) ApplicationPath(context.Context, string, int64) (string, error) { return a.path, nil }

// A walk over much takes long. What it read at its start is neither fresh at its end, nor
// does it replace what was looked up meanwhile.
func TestWalkKnowsItsAge(t *testing.T) {
	clock := clocktesting.NewFakeClock(time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC))
	m, err := newMetrics(prometheus.NewRegistry(), func() float64 { return 0 })
	if err != nil {
		t.Fatal(err)
	}
	web := thing{applications, 7, "web"}
	for name, lookedUp := range map[string]bool{"looked up meanwhile": true, "not looked up": false} {
		t.Run(name, func(t *testing.T) {
			h := &atlas{path: "/music/web"}
			p := newPaths(h, newMemory(), func(context.Context) error { return nil }, m, clock)
			h.late = func() {
				h.path = "/video/web" // it moves
				clock.Step(time.Hour)
				if lookedUp {
					if _, _, err := p.of(t.Context(), web, pathTTL); err != nil {
						t.Error(err)
					}
				}
			}
			if _, err := p.walk(t.Context(), flowcontrol.NewFakeAlwaysRateLimiter()); err != nil {
				t.Fatal(err)
			}
			if path, _, err := p.of(t.Context(), web, pathTTL); err != nil || path != "/video/web" {
				t.Errorf("got %s, %v", path, err)
			}
		})
	}
}
