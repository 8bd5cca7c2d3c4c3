package credentials

import (
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/sending"
	"github.com/horizoncd/webhook-operator/test/receiver"
)

// However many Webhooks name a bundle, its authorities are in memory once, and for as
// long as somebody uses them.
func TestBundlesAreSharedAndForgotten(t *testing.T) {
	ours, err := receiver.NewAuthority("ours")
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := receiver.NewAuthority("theirs")
	if err != nil {
		t.Fatal(err)
	}
	r, api, clock := newReader()
	get := func(bundle string) *sending.Authorities {
		t.Helper()
		with, err := r.Get(t.Context(), withTLS(v1alpha1.TLSSettings{CAConfigMapRef: &v1alpha1.CABundleReference{Name: bundle}}))
		if err != nil {
			t.Fatal(err)
		}
		return with.Authorities
	}
	api.putConfigMap("a", map[string]string{"ca.crt": string(ours.PEM())})
	api.putConfigMap("b", map[string]string{"ca.crt": string(ours.PEM())})
	api.putConfigMap("c", map[string]string{"ca.crt": string(theirs.PEM())})
	first := get("a")
	if get("b") != first {
		t.Error("the same bundle is kept twice")
	}
	if get("c") == first {
		t.Error("two bundles are taken for one")
	}
	for range 10 {
		clock.Step(TTL + 1)
		if get("b") != first {
			t.Error("a bundle that is in use was parsed again")
		}
	}
	if got := r.bundles.kept.Len(); got != 1 {
		t.Errorf("%d bundles are kept, want the one that is in use", got)
	}
}

// What is read may be of 1 MiB each, and many Webhooks may need theirs at once.
func TestFewReadsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, api, _ := newReader()
		answer := make(chan struct{})
		var asked, found atomic.Int32
		api.during = func() { asked.Add(1); <-answer }
		for n := range 10 * mostReads {
			name := fmt.Sprint("receiver-", n)
			api.put("music", name, value("token"))
			go func() {
				if _, err := r.Get(t.Context(), webhook(name)); err == nil {
					found.Add(1)
				}
			}()
		}
		synctest.Wait()
		if asked.Load() != mostReads {
			t.Errorf("%d are read at once, want %d", asked.Load(), mostReads)
		}
		close(answer)
		synctest.Wait()
		if found.Load() != 10*mostReads {
			t.Errorf("%d found what they need", found.Load())
		}
	})
}
