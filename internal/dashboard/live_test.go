package dashboard

import (
	"bufio"
	"context"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
)

// message is a server-sent event.
type message struct{ event, data string }

// follow opens the stream of a page, and returns its messages.
func (b *bed) follow(path string) <-chan message {
	b.Helper()
	server := httptest.NewServer(b.session)
	b.Cleanup(server.Close)
	ctx, cancel := context.WithCancel(b.Ctx)
	b.Cleanup(cancel) // before the server closes, which waits for the stream
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, server.URL+"/live?page="+url.QueryEscape(path), nil)
	b.Expect(err).NotTo(HaveOccurred())
	answer, err := http.DefaultClient.Do(r) //nolint:bodyclose // below, when the stream ends
	b.Expect(err).NotTo(HaveOccurred())
	b.Expect(answer.StatusCode).To(Equal(http.StatusOK))
	b.Expect(answer.Header.Get("Content-Type")).To(Equal("text/event-stream"))
	messages := make(chan message, 1000)
	go func() {
		defer close(messages)
		defer answer.Body.Close()
		var m message
		lines := bufio.NewScanner(answer.Body)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			name, value, _ := strings.Cut(lines.Text(), ": ")
			switch name {
			case "event":
				m.event = value
			case "data":
				m.data += value + "\n"
			case "":
				messages <- m
				m = message{}
			}
		}
	}()
	return messages
}

// An open page gets what has changed, and only its main part. What changes nothing on it is
// not sent.
func TestLive(t *testing.T) {
	b := newBed(t)
	b.Webhook("smoke-tests")
	b.Webhook("other", func(s *v1alpha1.WebhookSpec) { s.State = v1alpha1.WebhookDisabled })
	messages := b.follow(b.path("webhooks", "smoke-tests"))
	next := func(text string) {
		b.Helper()
		deadline := time.After(patience)
		for {
			select {
			case m, ok := <-messages:
				b.Expect(ok).To(BeTrue(), "the stream has ended")
				if m.event == "main" {
					b.Expect(m.data).NotTo(ContainSubstring("<html"))
				}
				if strings.Contains(m.data, text) {
					return
				}
			case <-deadline:
				b.Fatalf("no version of the page has %q", text)
			}
		}
	}
	next("Nothing was sent yet")
	e := b.Event(1)
	d := b.Delivery("smoke-tests", e, v1alpha1.DeliverySucceeded)
	next(d.Name)

	// The page of a Webhook that nothing is sent to stays as it is.
	quiet := b.follow(b.path("webhooks", "other"))
	b.Eventually(func(g Gomega) {
		m := <-quiet
		g.Expect(m.event).To(Equal("main"))
	}).Should(Succeed())
	b.Event(2)
	b.Delivery("smoke-tests", b.Event(3), v1alpha1.DeliverySucceeded)
	next("3 deliveries")
	for {
		select {
		case m := <-quiet:
			if m.event == "main" && !strings.Contains(m.data, "NothingSent") {
				b.Fatalf("sent again: %s", m.data)
			}
			continue
		default:
		}
		break
	}
}

// A stream is of a page, and of nothing else: one of itself would never end.
func TestLiveOfPagesOnly(t *testing.T) {
	b := newBed(t)
	for _, page := range []string{
		"", "/", "/live?page=/", "/assets/style.css", "/go?namespace=x", "http://127.0.0.1/ns/x/webhooks", "//x/ns/y/webhooks", "/nothing",
	} {
		b.Expect(b.get("/live?page="+url.QueryEscape(page)).Code).To(Equal(http.StatusBadRequest), page)
	}
}

// Streams are bounded, and a place is free again when a page is closed.
func TestStreamsAreBounded(t *testing.T) {
	b := newBed(t)
	ctx, cancel := context.WithCancel(b.Ctx)
	ended := make(chan int, maxStreams)
	open := func() {
		w := httptest.NewRecorder()
		b.session.ServeHTTP(w, httptest.NewRequestWithContext(ctx, http.MethodGet, "/live?page="+url.QueryEscape(b.path("events")), nil))
		ended <- w.Code
	}
	for range maxStreams {
		go open()
	}
	b.Eventually(func() int { return len(b.session.streams) }).Should(Equal(maxStreams))
	b.Expect(b.get("/live?page=" + url.QueryEscape(b.path("events"))).Code).To(Equal(http.StatusTooManyRequests))
	cancel()
	for range maxStreams {
		b.Expect(<-ended).To(Equal(http.StatusOK))
	}
	b.Expect(b.session.streams).To(BeEmpty())
}

// What nobody looks at is followed no longer, and of many namespaces the latest few are.
func TestNamespacesAreBounded(t *testing.T) {
	b := newBed(t)
	c, err := b.session.connect()
	b.Expect(err).NotTo(HaveOccurred())
	first := b.session.store(c, "first")
	for _, namespace := range []string{"second", "third", "fourth", "fifth"} {
		b.session.store(c, namespace)
	}
	b.Expect(first.ctx.Err()).To(HaveOccurred())
	b.Expect(b.session.stores).To(HaveLen(maxNamespaces))
	b.Expect(b.session.stores).NotTo(HaveKey("first"))
	b.Expect(first.wait(b.Ctx, partWebhooks)).To(MatchError(errAgain))
}
