package forward

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/delivery"
	"github.com/horizoncd/webhook-operator/internal/payload"
	"github.com/horizoncd/webhook-operator/internal/sending"
	"github.com/horizoncd/webhook-operator/internal/signing"
	"github.com/horizoncd/webhook-operator/test/receiver"
)

func event() *v1alpha1.WebhookEvent {
	return &v1alpha1.WebhookEvent{
		ObjectMeta: metav1.ObjectMeta{Namespace: "music", Name: "horizon-1", UID: "event"},
		Spec: v1alpha1.WebhookEventSpec{
			EventID: 1, EventType: "clusters_deployed", Cluster: &v1alpha1.ClusterInfo{ID: new(int64(61400)), Name: "web-prod"},
		},
	}
}

// A resend has the webhook-id of its event, and the body that is stored.
func TestItems(t *testing.T) {
	e := event()
	first, err := OfEvent(e, 7)
	if err != nil {
		t.Fatal(err)
	}
	want, err := payload.Render(e, 7)
	if err != nil {
		t.Fatal(err)
	}
	if string(first.Body) != string(want) || first.Resource != "web-prod" || first.Delivery != "" {
		t.Errorf("the item is %+v", first)
	}
	w := &v1alpha1.Webhook{ObjectMeta: metav1.ObjectMeta{Namespace: "music", Name: "w", UID: "webhook"}}
	again := OfDelivery(delivery.New(e, w, []byte(`{"stored":true}`)))
	if again.ID != first.ID || string(again.Body) != `{"stored":true}` || again.Event != e.Name || again.Delivery == "" {
		t.Errorf("the resend is %+v", again)
	}
}

func TestPost(t *testing.T) {
	g := NewWithT(t)
	local, err := receiver.Start(receiver.Options{})
	g.Expect(err).NotTo(HaveOccurred())
	defer func() { g.Expect(local.Close()).To(Succeed()) }()
	token, _, err := signing.ParseSecret([]byte("the token"))
	g.Expect(err).NotTo(HaveOccurred())
	item, err := OfEvent(event(), 7)
	g.Expect(err).NotTo(HaveOccurred())
	r := &Receiver{URL: local.URL("/hook"), Token: &token, Timeout: time.Minute, Sender: sending.New(sending.Options{}), Now: time.Now}

	x, err := r.Post(t.Context(), item, func(sending.Exchange) { t.Error("it is tried again") })
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(x.Response.StatusCode).To(Equal(http.StatusOK))
	got := local.Arrivals("/hook")[0]
	g.Expect(got.Body).To(Equal(item.Body))
	g.Expect(got.Header.Get("Content-Type")).To(Equal("application/json;charset=utf-8"))
	g.Expect(got.Header.Get("X-Horizon-Webhook-Secret")).To(Equal("the token"))
	g.Expect(got.WebhookID).To(Equal(item.ID))
	seconds, err := strconv.ParseInt(got.Header.Get("webhook-timestamp"), 10, 64)
	g.Expect(err).NotTo(HaveOccurred())
	key, err := standardwebhooks.NewWebhookRaw([]byte("the token"))
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(key.Verify(got.Body, got.Header)).To(Succeed())
	g.Expect(time.Unix(seconds, 0)).To(BeTemporally("~", time.Now(), time.Minute))

	// One that is not up is told, or tried again.
	g.Expect(local.Down()).To(Succeed())
	x, err = r.Post(t.Context(), item, func(sending.Exchange) { t.Error("it is tried again") })
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(x.Response).To(BeNil())
	r.Retry = time.Minute
	tries := 0
	x, err = r.Post(t.Context(), item, func(sending.Exchange) {
		if tries++; tries == 1 {
			g.Expect(local.Up()).To(Succeed())
		}
	})
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(x.Response.StatusCode).To(Equal(http.StatusOK))
	g.Expect(tries).To(Equal(1))

	// An answer is none to be repeated.
	local.Script("/hook", receiver.Answer{Status: http.StatusInternalServerError})
	before := local.Total().Requests
	_, err = r.Post(t.Context(), item, func(sending.Exchange) { t.Error("it is tried again") })
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(local.Total().Requests).To(Equal(before + 1))
}

// The queue keeps the order, is bounded, and says when the receiver falls behind.
func TestQueue(t *testing.T) {
	g := NewWithT(t)
	const n, capacity = 50, 8
	q := NewQueue(capacity)
	var mu sync.Mutex
	var told []int
	q.Behind = func(waiting int) {
		mu.Lock()
		defer mu.Unlock()
		told = append(told, waiting)
	}
	ctx, cancel := context.WithCancel(t.Context())
	put := make(chan int, n)
	go func() {
		for i := range n {
			if q.Put(ctx, Item{Event: fmt.Sprint(i)}) != nil {
				return
			}
			put <- i
		}
	}()
	g.Eventually(func() int { return len(put) }).Should(Equal(capacity))
	g.Consistently(func() int { return len(put) }, 100*time.Millisecond).Should(Equal(capacity), "it is full")

	var posted []string
	q.Run(ctx, 1, func(item Item) {
		posted = append(posted, item.Event)
		if len(posted) == n {
			cancel()
		}
	})
	var want []string
	for i := range n {
		want = append(want, fmt.Sprint(i))
	}
	g.Expect(posted).To(Equal(want))
	g.Expect(q.Waiting()).To(BeZero())
	g.Expect(told).NotTo(BeEmpty())
	g.Expect(told[0]).To(Equal(capacity / 4))
	g.Expect(q.Put(ctx, Item{})).To(MatchError(context.Canceled))
}

// Without room in the queue, nothing is lost when the work ends: what waits is counted.
func TestQueueCountsWhatWaits(t *testing.T) {
	g := NewWithT(t)
	q := NewQueue(10)
	for range 5 {
		g.Expect(q.Put(t.Context(), Item{})).To(Succeed())
	}
	ctx, cancel := context.WithCancel(t.Context())
	posted := 0
	q.Run(ctx, 1, func(Item) { posted++; cancel() })
	g.Expect(posted).To(Equal(1))
	g.Expect(q.Waiting()).To(Equal(4))
}

func TestQueueAtOnce(t *testing.T) {
	g := NewWithT(t)
	q := NewQueue(10)
	for range 4 {
		g.Expect(q.Put(t.Context(), Item{})).To(Succeed())
	}
	ctx, cancel := context.WithCancel(t.Context())
	var together sync.WaitGroup
	together.Add(4)
	q.Run(ctx, 4, func(Item) {
		together.Done()
		together.Wait() // would never end one at a time
		cancel()
	})
}

func TestSeen(t *testing.T) {
	s := NewSeen(3)
	var news []bool
	for _, key := range []string{"a", "b", "a", "c", "d", "b"} { // a was used after b, so b is forgotten first
		news = append(news, s.Add(key))
	}
	if want := []bool{true, true, false, true, true, true}; !slices.Equal(news, want) {
		t.Errorf("new: %v", news)
	}
	if !s.Has("d") || s.Has("x") {
		t.Error("it remembers others")
	}
}
