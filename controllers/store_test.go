package controllers

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync/atomic"
	"syscall"
	"testing"

	. "github.com/onsi/gomega"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/test/receiver"
)

// lostAnswers are ways not to hear that something was stored.
var lostAnswers = map[string]func(r *http.Request) (*http.Response, error){
	"connection closed": func(*http.Request) (*http.Response, error) { return nil, io.ErrUnexpectedEOF },
	"timeout of the API server": func(r *http.Request) (*http.Response, error) {
		return answer(r, apierrors.NewTimeoutError("request did not complete within the allotted timeout", 0))
	},
	"error of etcd": func(r *http.Request) (*http.Response, error) {
		return answer(r, apierrors.NewInternalError(errors.New("etcdserver: request timed out")))
	},
	"error page of a proxy": func(r *http.Request) (*http.Response, error) {
		return page(r, http.StatusBadGateway, "text/html", "<html>bad gateway</html>")
	},
	"half an answer": func(r *http.Request) (*http.Response, error) {
		return page(r, http.StatusOK, "application/json", `{"metadata":`)
	},
}

// firstAnswerLost lets the first write be made, and its answer be lost.
func firstAnswerLost(lost func(r *http.Request) (*http.Response, error)) fault {
	var first atomic.Bool
	return func(r *http.Request, pass func() (*http.Response, error)) (*http.Response, error) {
		response, err := pass()
		if err != nil || !first.CompareAndSwap(false, true) {
			return response, err
		}
		_, _ = io.Copy(io.Discard, response.Body)
		_ = response.Body.Close()
		return lost(r)
	}
}

func TestLostAnswerOfACreateIsSettled(t *testing.T) {
	for name, lost := range lostAnswers {
		t.Run(name, func(t *testing.T) {
			b := newTestbed(t)
			b.start(creating(firstAnswerLost(lost)))
			b.webhook("w")
			b.event("e")
			b.settled("e", v1alpha1.EventSucceeded)
			b.Expect(b.requests("w")).To(Equal(1))
			d := b.delivery(v1alpha1.DeliverySucceeded)
			b.Expect(d.Status.Attempts).To(Equal(int32(1)))
			b.resend(d, "again") // the worker is free, and knows what is in store
			b.Eventually(func() int { return b.requests("w") }).Should(Equal(2))
			b.Expect(b.log.lines("sent by two processes")).To(BeEmpty())
		})
	}
}

func TestLostAnswerOfAPatchIsSettled(t *testing.T) {
	for name, lost := range lostAnswers {
		t.Run(name, func(t *testing.T) {
			b := newTestbed(t)
			b.receiver.Script("/w", receiver.MustParseScript("500,200")...)
			b.start(patching(firstAnswerLost(lost)))
			b.webhook("w")
			b.event("e")
			b.settled("e", v1alpha1.EventSucceeded)
			b.Expect(b.requests("w")).To(Equal(2))
			d := b.delivery(v1alpha1.DeliverySucceeded)
			b.Expect(d.Status.Attempts).To(Equal(int32(2)))
			b.resend(d, "again") // the worker is free, and knows what is in store
			b.Eventually(func() int { return b.requests("w") }).Should(Equal(3))
			b.Expect(b.log.lines("sent by two processes")).To(BeEmpty())
		})
	}
}

func TestRecordIsKeptWhileTheAPIServerFails(t *testing.T) {
	for name, fails := range map[string]func(r *http.Request) (*http.Response, error){
		"no connection":       func(*http.Request) (*http.Response, error) { return nil, syscall.ECONNREFUSED },
		"error of etcd":       lostAnswers["error of etcd"],
		"overload":            tooManyRequests,
		"conflict of a quota": conflictOfAQuota,
	} {
		t.Run(name, func(t *testing.T) {
			b := newTestbed(t)
			var failures atomic.Int32
			b.start(creating(func(r *http.Request, pass func() (*http.Response, error)) (*http.Response, error) {
				if failures.Add(1) <= 5 {
					return fails(r)
				}
				return pass()
			}))
			b.webhook("w")
			b.event("e")
			b.settled("e", v1alpha1.EventSucceeded)
			b.Expect(b.requests("w")).To(Equal(1))
		})
	}
}

// A proxy that has lost the API server may say that there is no such thing.
func TestRecordThatIsSaidToBeGoneIsLookedFor(t *testing.T) {
	b := newTestbed(t)
	b.receiver.Script("/w", receiver.MustParseScript("500,200")...)
	var once atomic.Bool
	b.start(patching(func(r *http.Request, pass func() (*http.Response, error)) (*http.Response, error) {
		if once.CompareAndSwap(false, true) {
			return page(r, http.StatusNotFound, "text/plain", "404 page not found")
		}
		return pass()
	}))
	b.webhook("w")
	b.event("e")
	d := b.delivery(v1alpha1.DeliverySucceeded)
	b.Expect(d.Status.Attempts).To(Equal(int32(2)))
	b.Expect(b.requests("w")).To(Equal(2))
}

func TestAnnotationDuringAnAttemptDoesNoHarm(t *testing.T) {
	b := newTestbed(t)
	b.receiver.Script("/w", receiver.MustParseScript("500,200")...)
	var once atomic.Bool
	b.start(patching(func(r *http.Request, pass func() (*http.Response, error)) (*http.Response, error) {
		if once.CompareAndSwap(false, true) {
			_, name := subject(r)
			d := &v1alpha1.WebhookDelivery{ObjectMeta: metav1.ObjectMeta{Namespace: name.Namespace, Name: name.Name}}
			note := client.RawPatch("application/merge-patch+json", []byte(`{"metadata":{"annotations":{"example.com/note":"x"}}}`))
			if err := b.client.Patch(b.ctx, d, note); err != nil {
				return nil, err
			}
		}
		return pass()
	}))
	b.webhook("w")
	b.event("e")
	d := b.delivery(v1alpha1.DeliverySucceeded)
	b.Expect(d.Annotations).To(HaveKeyWithValue("example.com/note", "x"))
	b.Expect(d.Status.Attempts).To(Equal(int32(2)))
	b.Expect(b.requests("w")).To(Equal(2))
}

// A process that lost its lease while it was sending may write the outcome late.
// It must not write over what its successor has written since.
func TestLateRecordDoesNotOverwriteANewerOne(t *testing.T) {
	b := newTestbed(t)
	b.receiver.Script("/w", receiver.MustParseScript("500")...)
	var once atomic.Bool
	late := make(chan struct{}) // closed once the late outcome was written, or refused
	b.start(patching(func(r *http.Request, pass func() (*http.Response, error)) (*http.Response, error) {
		if !once.CompareAndSwap(false, true) {
			return pass()
		}
		defer close(late)
		_, name := subject(r)
		successor := &v1alpha1.WebhookDelivery{}
		if err := b.client.Get(b.ctx, name, successor); err != nil {
			return nil, err
		}
		successor.Status.Result = v1alpha1.DeliverySucceeded
		successor.Labels[v1alpha1.LabelResult] = string(v1alpha1.DeliverySucceeded)
		delete(successor.Annotations, v1alpha1.AnnotationNextAttempt)
		successor.Status.NextAttemptTime = metav1.Time{}
		successor.Status.Attempts = 2
		successor.Status.History = append([]v1alpha1.Attempt{{
			Time: metav1.NowMicro(), Cause: v1alpha1.CauseRetry, StatusCode: 204, Milliseconds: 7,
		}}, successor.Status.History...)
		if err := b.client.Update(b.ctx, successor); err != nil {
			return nil, err
		}
		return pass()
	}))
	b.webhook("w")
	b.event("e")
	b.Eventually(late).Should(BeClosed())
	d := b.delivery(v1alpha1.DeliverySucceeded)
	b.Expect(d.Status.History[0].StatusCode).To(Equal(int32(204)), "the successor's record stands")
	b.settled("e", v1alpha1.EventSucceeded)
	b.Expect(b.requests("w")).To(Equal(2))
}

func TestUndisturbedDeliveryIsOneWriteAndItsEventAnother(t *testing.T) {
	b := newTestbed(t)
	var deliveries, events atomic.Int32
	b.start(counting(func(resource string) {
		switch resource {
		case "webhookdeliveries":
			deliveries.Add(1)
		case "webhookevents", "webhookevents/status":
			events.Add(1)
		}
	}))
	for i := range 4 {
		b.webhook(fmt.Sprintf("w%d", i))
	}
	b.events("e", 25)
	b.allSettled("e", 25, v1alpha1.EventSucceeded)
	b.Expect(deliveries.Load()).To(Equal(int32(100)))
	b.Expect(events.Load()).To(Equal(int32(25)))
}
