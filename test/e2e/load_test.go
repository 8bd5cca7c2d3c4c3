package e2e

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/test/receiver"
)

const (
	events     = 200
	webhooks   = 5
	deliveries = events * webhooks

	// inFlight is how many requests a Webhook may have under way by default.
	inFlight = 10
)

// manyWebhooks makes the Webhooks of the load.
func (s *scene) manyWebhooks() {
	s.Helper()
	for i := range webhooks {
		s.webhook(fmt.Sprintf("webhook-%d", i), nil)
	}
}

// manyEvents makes the events of the load, by several clients at once.
func (s *scene) manyEvents() error {
	var wg sync.WaitGroup
	errs := make(chan error, events)
	numbers := make(chan int64)
	for range 8 {
		wg.Go(func() {
			for id := range numbers {
				errs <- suite.client.Create(s.ctx, newEvent(s.namespace, id))
			}
		})
	}
	for id := range int64(events) {
		numbers <- id + 1
	}
	close(numbers)
	wg.Wait()
	close(errs)
	for err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// allDone waits until each event of the load has come to each Webhook and each
// has its record.
func (s *scene) allDone() {
	s.Helper()
	ctx, cancel := context.WithTimeout(s.ctx, patience)
	defer cancel()
	s.Expect(s.receiver.WaitAccepted(ctx, deliveries)).To(Succeed())
	s.Eventually(func() map[v1alpha1.DeliveryResult]int {
		count := map[v1alpha1.DeliveryResult]int{}
		for _, d := range s.records("") {
			count[d.Status.Result]++
		}
		return count
	}, patience, time.Second).Should(Equal(map[v1alpha1.DeliveryResult]int{v1alpha1.DeliverySucceeded: deliveries}))
	s.Eventually(func() map[v1alpha1.EventResult]int {
		var list v1alpha1.WebhookEventList
		s.Expect(suite.client.List(s.ctx, &list, client.InNamespace(s.namespace))).To(Succeed())
		count := map[v1alpha1.EventResult]int{}
		for _, e := range list.Items {
			count[e.Status.Result]++
		}
		return count
	}, patience, time.Second).Should(Equal(map[v1alpha1.EventResult]int{v1alpha1.EventSucceeded: events}))

	pairs := map[string]bool{}
	for _, a := range s.receiver.AllArrivals() {
		pairs[a.Path+string(a.Body)] = true
	}
	s.Expect(pairs).To(HaveLen(deliveries), "different events at different webhooks")
	s.Expect(s.receiver.Total().Deliveries).To(Equal(deliveries), "different webhook-ids")
}

func TestNothingIsLostWhenTheOperatorIsKilled(t *testing.T) {
	s := newScene(t)
	for i := range webhooks {
		// Long enough that sends are under way whenever the operator is killed.
		s.receiver.Script(fmt.Sprintf("/webhook-%d", i), receiver.Answer{Delay: 50 * time.Millisecond})
	}
	s.manyWebhooks()

	created := make(chan error, 1)
	go func() { created <- s.manyEvents() }()
	kills := []int{deliveries / 10, deliveries / 2}
	for _, n := range kills {
		ctx, cancel := context.WithTimeout(s.ctx, patience)
		s.Expect(s.receiver.Wait(ctx, func() bool { return s.receiver.Total().Accepted >= n })).To(Succeed())
		cancel()
		s.Expect(suite.operator.Kill()).To(Succeed())
		t.Logf("killed after %d deliveries", s.receiver.Total().Accepted)
		restart(s)
	}
	s.Expect(<-created).To(Succeed())
	s.allDone()

	total := s.receiver.Total()
	t.Logf("%d kills: %d events for %d webhooks, %d records, lost 0, %d duplicates", len(kills), events, webhooks, deliveries, total.Duplicates)
	s.Expect(total.Duplicates).To(BeNumerically("<=", len(kills)*webhooks*inFlight), "one for each request under way at a kill")
}

func TestStoppedOperatorRecordsWhatIsUnderWay(t *testing.T) {
	s := newScene(t)
	gate := make(chan struct{})
	s.receiver.Script("/slow", receiver.Answer{Until: gate})
	s.webhook("slow", nil)
	for id := range int64(3) {
		s.event(id + 1)
	}
	s.arrive("/slow", 3)
	s.Expect(suite.operator.Terminate()).To(Succeed())
	// Nothing tells from outside that the signal has been noticed; where it
	// comes a moment later, the test is only a weaker one.
	s.Consistently(suite.operator.Done(), "300ms").ShouldNot(BeClosed())
	close(gate)
	s.Eventually(suite.operator.Done()).Should(BeClosed())
	s.Expect(suite.operator.State()).To(Equal("exit status 0"))
	s.Expect(results(s.records("slow"))).To(And(HaveLen(3), HaveEach(v1alpha1.DeliverySucceeded)))

	restart(s)
	s.event(4)
	s.Eventually(func() []v1alpha1.DeliveryResult { return results(s.records("slow")) }).Should(
		And(HaveLen(4), HaveEach(v1alpha1.DeliverySucceeded)))
	s.Expect(s.receiver.Total().Duplicates).To(BeZero())
}

// Undisturbed, that is: where the machine is busy with other tests, a request
// may take so long that what queues behind it is stored as waiting first.
func TestOneWritePerDelivery(t *testing.T) {
	const rounds = 3
	for round := 1; ; round++ {
		s := newScene(t)
		s.manyWebhooks()
		before := quietWrites(s)
		s.Expect(s.manyEvents()).To(Succeed())
		s.allDone()
		made := quietWrites(s).since(before)
		s.Expect(s.receiver.Total().Duplicates).To(BeZero())

		t.Logf("the API server's own count for %d deliveries of %d events:\n%s", deliveries, events, made)
		if made.total() <= deliveries+events {
			return
		}
		if round == rounds {
			t.Fatalf("more than %d writes in each of %d rounds", deliveries+events, rounds)
		}
	}
}

// A Webhook and an event that are created in one breath are seen by the
// operator in any order.
func TestWebhookAndEventAppliedTogether(t *testing.T) {
	const pairs = 200
	s := newScene(t)
	// Each pair keeps to itself by its scope.
	webhook := func(i int) *v1alpha1.Webhook {
		w := newWebhook(s.namespace, fmt.Sprintf("pair-%d", i), s.receiver.URL(fmt.Sprintf("/pair-%d", i)))
		w.Spec.Scope = fmt.Sprintf("/pairs/%d", i)
		return w
	}
	event := func(i int) *v1alpha1.WebhookEvent {
		e := newEvent(s.namespace, int64(i+1))
		e.Spec.ResourcePath = fmt.Sprintf("/pairs/%d/web", i)
		return e
	}

	const byKubectl = 20
	var manifest bytes.Buffer
	for i := range byKubectl {
		fmt.Fprintf(&manifest, `---
apiVersion: horizoncd.io/v1alpha1
kind: Webhook
metadata: {name: pair-%[1]d}
spec: {url: "%[2]s", triggers: ["*"], scope: /pairs/%[1]d}
---
apiVersion: horizoncd.io/v1alpha1
kind: WebhookEvent
metadata: {name: %[3]s}
spec: {eventType: clusters_deployed, resourcePath: /pairs/%[1]d/web}
`, i, s.receiver.URL(fmt.Sprintf("/pair-%d", i)), event(i).Name)
	}
	s.apply(manifest.String())
	for i := byKubectl; i < pairs; i++ {
		s.Expect(suite.client.Create(s.ctx, webhook(i))).To(Succeed())
		s.Expect(suite.client.Create(s.ctx, event(i))).To(Succeed())
	}

	ctx, cancel := context.WithTimeout(s.ctx, patience)
	defer cancel()
	err := s.receiver.WaitAccepted(ctx, pairs)
	for i := range pairs {
		if n := s.receiver.Tally(fmt.Sprintf("/pair-%d", i)).Requests; n != 1 {
			t.Errorf("%d requests of pair %d\n%s", n, i,
				s.kubectl("get", fmt.Sprintf("webhook/pair-%d", i), fmt.Sprintf("webhookevent/%s", event(i).Name), "-o", "yaml"))
		}
	}
	s.Expect(err).NotTo(HaveOccurred())
	s.Eventually(func() int { return len(s.records("")) }).Should(Equal(pairs))
}

// writes counts the API server's answers to what only the operator writes, by
// kind of request and status code.
type writes map[string]int

func (w writes) since(before writes) writes {
	made := writes{}
	for request, n := range w {
		if n -= before[request]; n > 0 {
			made[request] = n
		}
	}
	return made
}

func (w writes) total() int {
	total := 0
	for _, n := range w {
		total += n
	}
	return total
}

func (w writes) String() string {
	var b strings.Builder
	for _, request := range slices.Sorted(maps.Keys(w)) {
		fmt.Fprintf(&b, "%6d  %s\n", w[request], request)
	}
	return b.String()
}

// quietWrites reads the API server's own counters once they stand still.
func quietWrites(s *scene) writes {
	s.Helper()
	const stillFor = 2 * time.Second
	last, since := countWrites(s), time.Now()
	s.Eventually(func() time.Duration {
		if now := countWrites(s); !maps.Equal(now, last) {
			last, since = now, time.Now()
		}
		return time.Since(since)
	}).Should(BeNumerically(">=", stillFor))
	return last
}

func countWrites(s *scene) writes {
	s.Helper()
	data, err := suite.clients.RESTClient().Get().AbsPath("/metrics").DoRaw(s.ctx)
	s.Expect(err).NotTo(HaveOccurred())
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(data))
	s.Expect(err).NotTo(HaveOccurred())
	requests := families["apiserver_request_total"]
	s.Expect(requests).NotTo(BeNil())

	counted := []string{"POST", "PUT", "PATCH", "APPLY", "DELETE"}
	count := writes{}
	for _, m := range requests.GetMetric() {
		labels := map[string]string{}
		for _, l := range m.GetLabel() {
			labels[l.GetName()] = l.GetValue()
		}
		what := path.Join(labels["resource"], labels["subresource"])
		if labels["group"] != v1alpha1.GroupVersion.Group || !slices.Contains(counted, labels["verb"]) ||
			what != "webhookdeliveries" && what != "webhookevents/status" {
			continue
		}
		count[fmt.Sprintf("%s %s: %s", labels["verb"], what, labels["code"])] += int(m.GetCounter().GetValue())
	}
	return count
}
