package dashboard

import (
	"flag"
	"fmt"
	"net/http"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	"golang.org/x/sync/errgroup"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/delivery"
	"github.com/horizoncd/webhook-operator/internal/retry"
	"github.com/horizoncd/webhook-operator/internal/sending"
	"github.com/horizoncd/webhook-operator/internal/table"
)

// many is how many deliveries TestLogsOfMany makes. How long pages of 10000 take, and how much
// memory: go test ./internal/dashboard -run TestLogsOfMany -deliveries 10000 -v
var many = flag.Int("deliveries", 300, "how many deliveries TestLogsOfMany makes")

// firstEvent is when the events of made-up records happened, the first of them.
var firstEvent = time.Now().Add(-4 * time.Hour).Truncate(time.Second)

// recordOf is a made-up record of a Webhook, as the operator writes it.
func recordOf(w *v1alpha1.Webhook, number int, at time.Time, code int) *v1alpha1.WebhookDelivery {
	e := &v1alpha1.WebhookEvent{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: w.Namespace, Name: fmt.Sprintf("horizon-%d", number), UID: types.UID(fmt.Sprintf("%s-%d", w.UID, number)),
			CreationTimestamp: metav1.NewTime(at),
		},
		Spec: v1alpha1.WebhookEventSpec{EventType: "clusters_deployed", Cluster: &v1alpha1.ClusterInfo{ID: new(int64(1)), Name: "web-prod"}},
	}
	d := delivery.New(e, w, fmt.Appendf(nil, `{"eventID":%d}`, number))
	policy := retry.PolicyOf(w)
	policy.Limit = 0
	delivery.AddAttempt(d, delivery.Attempt{Cause: v1alpha1.CauseInitial, URL: w.Spec.URL, Policy: policy, Exchange: sending.Exchange{
		Start: at, Duration: 12 * time.Millisecond, RequestHeader: "Content-Type: application/json;charset=utf-8",
		Response: &sending.Response{StatusCode: code, Header: "Server: test", Body: strings.Repeat("x", 2000)},
	}})
	return d
}

var idPattern = regexp.MustCompile(`/deliveries/([a-z0-9-]+)" title`)

// listed are the names of the deliveries that a page lists, in its order.
func listed(page string) []string {
	var names []string
	for _, m := range idPattern.FindAllStringSubmatch(page, -1) {
		names = append(names, m[1])
	}
	return names
}

var olderPattern = regexp.MustCompile(`href="(\?[^"]*before=[^"]*)"`)

// Of many deliveries, pages list each once, the newest first, whether they come from what is
// followed or, before that was read, from the API server.
func TestLogsOfMany(t *testing.T) {
	b := newBed(t)
	w := b.Webhook("smoke-tests", func(s *v1alpha1.WebhookSpec) {
		s.State, s.URL, s.Retention.Limit = v1alpha1.WebhookDisabled, "https://ci.example.com/hooks/horizon", new(int32(10000))
	})
	group, ctx := errgroup.WithContext(t.Context())
	group.SetLimit(32)
	for i := range *many {
		group.Go(func() error {
			at, code := firstEvent.Add(time.Duration(i*7919%*many)*time.Second), http.StatusOK // times and names in different orders
			if i%10 == 0 {
				code = http.StatusInternalServerError
			}
			return b.Client.Create(ctx, recordOf(w, i, at, code))
		})
	}
	b.Expect(group.Wait()).To(Succeed())

	// Bare table requests and first pages of new sessions, in turns.
	took := map[string][]time.Duration{}
	measure := func(what string, do func()) {
		begun := time.Now()
		do()
		took[what] = append(took[what], time.Since(begun))
	}
	tables, err := table.NewClient(suite.ControlPlane.Config())
	b.Expect(err).NotTo(HaveOccurred())
	query, err := table.Filters{}.Query(b.Namespace, w.Name, time.Now())
	b.Expect(err).NotTo(HaveOccurred())
	var first string
	for range 5 {
		measure("bare table", func() {
			n, err := tables.Count(t.Context(), query)
			b.Expect(err).NotTo(HaveOccurred())
			b.Expect(n).To(Equal(*many))
		})
		b.session = b.newSession(suite.ControlPlane.Config(), nil)
		measure("first page of a session", func() { first = b.page(b.path("webhooks", w.Name)) })
		b.session.Close()
	}
	b.session = b.newSession(suite.ControlPlane.Config(), nil)
	before := heap()
	b.page(b.path("webhooks", w.Name))
	st := b.session.stores[b.Namespace]
	b.Expect(st.wait(t.Context(), partDeliveries)).To(Succeed())
	t.Logf("%d deliveries take %d kB of heap", *many, (heap()-before)>>10)
	for range 5 {
		measure("page", func() { b.page(b.path("webhooks", w.Name)) })
	}
	for what, all := range took {
		slices.Sort(all)
		t.Logf("%-25s %v", what, all)
	}

	path := b.path("webhooks", w.Name)
	b.Expect(listed(b.page(path))).To(Equal(listed(first)))
	b.Expect(listed(first)).To(HaveLen(pageRows))
	seen := walk(b, path, "")
	b.Expect(seen).To(HaveLen(*many))
	times := make([]time.Time, len(seen))
	for i, name := range seen {
		times[i] = table.NameTime(name)
	}
	b.Expect(slices.IsSortedFunc(times, func(a, b time.Time) int { return b.Compare(a) })).To(BeTrue())
	slices.Sort(seen)
	b.Expect(slices.Compact(seen)).To(HaveLen(*many))
	for query, want := range map[string]int{
		"?result=Failed": *many / 10, "?code=5xx": *many / 10, "?code=200": *many - *many/10, "?code=none": 0, "?type=clusters_*": *many,
		"?type=cluster_deployed": *many, "?type=clusters_freed": 0, "?since=1h": 0, "?since=5h": *many, "?result=failed&code=200": 0,
	} {
		b.Expect(walk(b, path, query)).To(HaveLen(want), query)
	}
}

// walk returns the names that a list and the pages behind it have.
func walk(b *bed, path, query string) []string {
	b.Helper()
	var seen []string
	for {
		page := b.page(path + query)
		seen = append(seen, listed(page)...)
		older := olderPattern.FindStringSubmatch(page)
		if older == nil {
			return seen
		}
		query = strings.ReplaceAll(older[1], "&amp;", "&")
	}
}

func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// A filter that cannot be is told of, in words.
func TestFilterMistake(t *testing.T) {
	b := newBed(t)
	b.Webhook("smoke-tests")
	for query, want := range map[string]string{
		"?since=yesterday": "since &#34;yesterday&#34; is neither a time",
		"?code=20x":        "code &#34;20x&#34; is not a status code",
		"?result=Lost":     "result &#34;Lost&#34; is not one of",
	} {
		w := b.get(b.path("webhooks", "smoke-tests") + query)
		b.Expect(w.Code).To(Equal(http.StatusBadRequest), query)
		b.Expect(w.Body.String()).To(ContainSubstring(want))
	}
}
