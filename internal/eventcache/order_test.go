package eventcache

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
)

func TestAfter(t *testing.T) {
	c, _, _ := newCache()
	var all []string
	for i := range 60 {
		all = append(all, fmt.Sprintf("e%02d", i))
	}
	for _, i := range rand.Perm(60) { // three in a second
		c.Observe(event(fmt.Sprintf("e%02d", i), i+1, func(e *v1alpha1.WebhookEvent) {
			e.CreationTimestamp = metav1.NewTime(now.Add(time.Duration(i/3) * time.Second))
		}))
	}
	c.Observe(event("other", 100, func(e *v1alpha1.WebhookEvent) { e.Namespace = "video" }))
	late := now.Add(time.Hour)
	key := func(name string) types.NamespacedName { return types.NamespacedName{Namespace: "music", Name: name} }
	for name, tc := range map[string]struct {
		namespace string
		after     Position
		until     time.Time
		n         int
		want      []string
		wantMore  int
	}{
		"the first ones":          {"music", Position{Created: now}, late, 5, all[:5], 55},
		"all":                     {"music", Position{Created: now}, late, 100, all, 0},
		"none":                    {"music", Position{Created: now.Add(time.Minute)}, late, 5, nil, 0},
		"from within a second":    {"music", Position{Created: now.Add(500 * time.Millisecond)}, late, 2, all[:2], 58},
		"behind an event":         {"music", Position{Created: now, Key: key("e00")}, late, 3, all[1:4], 56},
		"behind one that is gone": {"music", Position{Created: now.Add(time.Second), Key: key("e03-gone")}, late, 2, all[4:6], 54},
		"behind the last one":     {"music", Position{Created: now.Add(19 * time.Second), Key: key("e59")}, late, 2, nil, 0},
		"until a time":            {"music", Position{Created: now}, now.Add(time.Second), 4, all[:4], 2},
		"every namespace":         {"", Position{Created: now, Key: key("e01")}, late, 2, []string{"e02", "other"}, 57},
	} {
		t.Run(name, func(t *testing.T) {
			next, more := c.After(tc.namespace, tc.after, tc.until, tc.n)
			var got []string
			for _, p := range next {
				got = append(got, p.Key.Name)
				if p.UID != types.UID("uid-"+p.Key.Name) {
					t.Errorf("%+v", p)
				}
			}
			if diff := cmp.Diff(tc.want, got); diff != "" || more != tc.wantMore {
				t.Errorf("%d more, want %d; (-want +got):\n%s", more, tc.wantMore, diff)
			}
		})
	}

	// Batch by batch, each event comes once.
	var got []string
	for at := (Position{Created: now}); ; {
		next, more := c.After("music", at, late, 7)
		if len(next) == 0 {
			break
		}
		for _, p := range next {
			got = append(got, p.Key.Name)
		}
		if at = next[len(next)-1]; more != len(all)-len(got) {
			t.Errorf("%d more after %s", more, at.Key.Name)
		}
	}
	if !slices.Equal(got, all) {
		t.Errorf("got %v", got)
	}
}

// A replay of many events goes through all of them once for each batch.
func BenchmarkAfter(b *testing.B) {
	c, _, _ := newCache()
	for i := range 50_000 {
		c.Observe(event(fmt.Sprintf("e%05d", i), i+1, succeeded, func(e *v1alpha1.WebhookEvent) {
			e.CreationTimestamp = metav1.NewTime(now.Add(time.Duration(i/10) * time.Second))
		}))
	}
	middle := Position{Created: now.Add(2500 * time.Second)}
	for b.Loop() {
		if next, more := c.After("music", middle, now.Add(time.Hour*2), 200); len(next) != 200 || more == 0 {
			b.Fatal(len(next), more)
		}
	}
}
