package dashboard

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	authenticationv1 "k8s.io/api/authentication/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/table"
	"github.com/horizoncd/webhook-operator/test/receiver"
)

var formPattern = regexp.MustCompile(`<form method="post"[^>]*action="([^"]*)"|<a class="button[^"]*" href="([^"]*)"`)

// controls are the forms and links of a page that change something, without the namespace.
func (b *bed) controls(page string) []string {
	var all []string
	seen := map[string]bool{}
	for _, m := range formPattern.FindAllStringSubmatch(page, -1) {
		to := strings.TrimPrefix(m[1]+m[2], b.path()+"/")
		changes := m[1] != "" || strings.HasSuffix(to, "/edit") || strings.HasSuffix(to, "/delete") || to == "new"
		if changes && !seen[to] {
			seen[to] = true
			all = append(all, to)
		}
	}
	return all
}

// Buttons are those of things that a person may do.
func TestRights(t *testing.T) {
	b := newBed(t)
	b.Webhook("smoke-tests", func(s *v1alpha1.WebhookSpec) { s.Retry.Limit = new(int32(0)) })
	b.Receiver.Script("/smoke-tests", receiver.Answer{Status: http.StatusNotFound})
	d := b.Delivery("smoke-tests", b.Event(1), v1alpha1.DeliveryFailed)
	resend := "deliveries/" + d.Name + "/resend"
	w := "webhooks/smoke-tests/"
	for name, tc := range map[string]struct {
		roles []string
		want  map[string][]string // by page
	}{
		"viewer": {roles: []string{"view"}, want: map[string][]string{
			"webhooks": nil, "webhooks/smoke-tests": nil, "deliveries/" + d.Name: nil, w + "delete": nil,
		}},
		"resender": {roles: []string{"view", "horizon-delivery-resender"}, want: map[string][]string{
			"webhooks": nil, "webhooks/smoke-tests": {w + "resend"}, "deliveries/" + d.Name: {resend},
		}},
		"editor": {roles: []string{"edit"}, want: map[string][]string{
			"webhooks":             {"new", w + "edit", w + "test", w + "state", w + "delete"},
			"webhooks/smoke-tests": {w + "test", w + "state", w + "edit", w + "delete", w + "resend", w + "replay"},
			"deliveries/" + d.Name: {resend},
		}},
	} {
		t.Run(name, func(t *testing.T) {
			user := b.as("rights-"+name, tc.roles...)
			b.Eventually(func() int { return user.get(b.path("webhooks")).Code }).Should(Equal(http.StatusOK)) // roles take a moment
			for page, want := range tc.want {
				got := user.controls(user.page(b.path(strings.Split(page, "/")...)))
				NewWithT(t).Expect(got).To(ConsistOf(want), page)
			}
		})
	}
	t.Run("read only", func(t *testing.T) {
		g := NewWithT(t)
		reader := *b
		reader.session = b.newSession(suite.ControlPlane.Config(), func(o *Options) { o.ReadOnly = true })
		for _, page := range []string{"webhooks", "webhooks/smoke-tests", "deliveries/" + d.Name, w + "delete"} {
			g.Expect(reader.controls(reader.page(b.path(strings.Split(page, "/")...)))).To(BeEmpty(), page)
		}
		for _, action := range []string{w + "delete", w + "state", w + "test", w + "replay", w + "resend", resend} {
			answer := reader.post(b.path(strings.Split(action, "/")...), url.Values{"state": {"Paused"}, "failed": {"yes"}, "since": {"1h"}})
			g.Expect(answer.Code).To(Equal(http.StatusForbidden), action)
			g.Expect(answer.Body.String()).To(ContainSubstring("--read-only"))
		}
	})
	t.Run("nobody", func(t *testing.T) {
		g := NewWithT(t)
		nobody := b.as("rights-nobody")
		for _, page := range []string{"webhooks", "webhooks/smoke-tests", "deliveries/" + d.Name, "events"} {
			answer := nobody.get(b.path(strings.Split(page, "/")...))
			g.Expect(answer.Code).To(Equal(http.StatusForbidden), page)
			g.Expect(answer.Body.String()).To(ContainSubstring("role view"))
		}
	})
}

// A namespace that is not there is no empty one.
func TestNoNamespace(t *testing.T) {
	b := newBed(t)
	for _, tab := range []string{"webhooks", "events"} {
		answer := b.get(link("nowhere", tab))
		b.Expect(answer.Code).To(Equal(http.StatusNotFound))
		b.Expect(answer.Body.String()).To(ContainSubstring("There is no namespace nowhere"))
	}
	b.Expect(b.page(b.path("events"))).To(ContainSubstring("Nothing has happened"))
}

// What one person's session has read is never another's.
func TestSessionsAreApart(t *testing.T) {
	b := newBed(t)
	b.Webhook("smoke-tests")
	b.Expect(b.page(b.path("webhooks"))).To(ContainSubstring("smoke-tests"))
	nobody := b.as("apart")
	answer := nobody.get(b.path("webhooks"))
	b.Expect(answer.Code).To(Equal(http.StatusForbidden))
	b.Expect(answer.Body.String()).NotTo(ContainSubstring("smoke-tests"))
}

// Many deliveries are sent again one after the other; the page says how far that is and what
// came of it, and it can be stopped.
func TestResendMany(t *testing.T) {
	const deliveries = 30
	b := newBed(t)
	w := b.Webhook("smoke-tests")
	for i := range deliveries {
		b.Expect(b.Client.Create(b.Ctx, recordOf(w, i, firstEvent.Add(time.Duration(i)*time.Second), http.StatusNotFound))).To(Succeed())
	}
	page := b.path("webhooks", "smoke-tests")
	b.Eventually(func() string { return b.page(page + "?result=Failed") }).Should(ContainSubstring(fmt.Sprintf("Resend all that failed (%d)", deliveries)))

	// Who presses twice sends nothing twice.
	twice := newStore(t.Context(), nil, b.Namespace, func(error) {})
	defer twice.stop()
	j := &jobs{all: []*job{{namespace: b.Namespace, webhook: "smoke-tests", names: listed(b.page(page))}}}
	b.Expect(j.begin(&request{session: b.session, namespace: b.Namespace, store: twice}, "smoke-tests", listed(b.page(page)))).To(BeFalse())

	// One is ticked.
	one := listed(b.page(page))[3]
	answer := b.post(page+"/resend", url.Values{"delivery": {one}, "from": {page + "?result=Failed"}})
	b.Expect(answer.Code).To(Equal(http.StatusSeeOther))
	b.Expect(answer.Header().Get("Location")).To(Equal(page + "?result=Failed"))
	b.Eventually(func() string { return b.page(page) }).Should(ContainSubstring("1 delivery: 1 asked for, 1 arrived, 0 failed, 0 under way"))

	// The others, but stopped: what was not asked for stays as it is.
	b.Expect(b.post(page+"/resend", url.Values{"failed": {"yes"}}).Code).To(Equal(http.StatusSeeOther))
	stop := regexp.MustCompile(`action="(/ns/[^"]*/jobs/[^"]*/stop)"`).FindStringSubmatch(b.page(page))
	b.Expect(stop).NotTo(BeNil())
	b.Expect(b.post(stop[1], nil).Header().Get("Location")).To(Equal(page))
	b.Eventually(func() string { return b.page(page) }).Should(MatchRegexp(`29 deliveries: [0-9]+ asked for, .* 0 under way · stopped`))
	left := walk(b, page, "?result=Failed")
	b.Expect(left).NotTo(BeEmpty())

	// And the rest.
	b.Expect(b.post(page+"/resend", url.Values{"failed": {"yes"}, "code": {"404"}}).Code).To(Equal(http.StatusSeeOther))
	b.Eventually(func() []string { return walk(b, page, "?result=Failed") }).Should(BeEmpty())
	b.Eventually(func() string { return b.page(page) }).Should(ContainSubstring(fmt.Sprintf("%d asked for, %d arrived, 0 failed, 0 under way", len(left), len(left))))

	// Nothing is left, and nothing is asked for.
	answer = b.post(page+"/resend", url.Values{"failed": {"yes"}})
	b.Expect(b.page(answer.Header().Get("Location"))).To(ContainSubstring("Nothing is sent again"))
	var d v1alpha1.WebhookDelivery
	b.Expect(b.Client.Get(b.Ctx, client.ObjectKey{Namespace: b.Namespace, Name: one}, &d)).To(Succeed())
	b.Expect(d.Annotations[v1alpha1.AnnotationResend]).To(HaveSuffix("/kubernetes-admin"))
	b.Expect(d.Status.Attempts).To(BeEquivalentTo(2))
}

// A test, a replay and a pause say on the page what came of them.
func TestActionsTell(t *testing.T) {
	b := newBed(t)
	b.Webhook("smoke-tests", func(s *v1alpha1.WebhookSpec) { s.State = v1alpha1.WebhookDisabled })
	b.Event(1)
	page := b.path("webhooks", "smoke-tests")
	shows := func(text string) {
		b.Helper()
		b.Eventually(func() string { return b.page(page) }).Should(ContainSubstring(text))
	}
	b.Expect(b.post(page+"/test", nil).Code).To(Equal(http.StatusSeeOther))
	shows("arrived: the receiver answered 200")
	b.Receiver.Script("/smoke-tests", receiver.Answer{Status: http.StatusGone})

	to := b.post(page+"/state", url.Values{"state": {"Paused"}}).Header().Get("Location")
	b.Expect(b.page(to)).To(ContainSubstring("smoke-tests is paused"))
	b.Expect(b.page(to)).NotTo(ContainSubstring("smoke-tests is paused: what"), "a notice is shown once")
	shows("Paused")
	b.Expect(b.post(page+"/replay", url.Values{"since": {"1h"}}).Code).To(Equal(http.StatusSeeOther))
	shows("1 event found, 1 sent, ended")
	b.Expect(b.post(page+"/replay", url.Values{"since": {"soon"}}).Code).To(Equal(http.StatusBadRequest))
	b.Expect(b.post(page+"/replay", url.Values{"since": {time.Now().Add(time.Hour).Format(time.RFC3339)}}).Body.String()).
		To(ContainSubstring("yet to come"))
	b.Expect(b.post(page+"/state", url.Values{"state": {"Asleep"}}).Code).To(Equal(http.StatusBadRequest))
	b.Expect(b.post(b.path("webhooks", "nothing", "state"), url.Values{"state": {"Paused"}}).Code).To(Equal(http.StatusNotFound))
}

// A Webhook is deleted that was shown, and not one that has its name by now.
func TestDelete(t *testing.T) {
	b := newBed(t)
	w := b.Webhook("smoke-tests")
	page := b.path("webhooks", "smoke-tests", "delete")
	b.Expect(b.page(page)).To(ContainSubstring(string(w.UID)))
	b.Expect(b.post(page, url.Values{"uid": {"another"}}).Code).To(Equal(http.StatusBadRequest))
	b.Expect(b.Client.Get(b.Ctx, client.ObjectKeyFromObject(w), w)).To(Succeed())
	to := b.post(page, url.Values{"uid": {string(w.UID)}}).Header().Get("Location")
	next := b.page(to)
	b.Expect(next).To(ContainSubstring("The webhook smoke-tests is deleted"))
	b.Expect(next).To(ContainSubstring("No webhooks in"), "it is gone from the page that tells of it")
	b.Expect(apierrors.IsNotFound(b.Client.Get(b.Ctx, client.ObjectKeyFromObject(w), w))).To(BeTrue())
}

// A form says which page it was on, and leads nowhere else.
func TestBack(t *testing.T) {
	b := newBed(t)
	b.Webhook("smoke-tests")
	page := b.path("webhooks", "smoke-tests")
	for from, want := range map[string]string{
		b.path("webhooks"): b.path("webhooks"), "": page, "https://evil.example.com/": page, "//evil.example.com": page,
		"/ns/other/webhooks": page, b.path() + "x/webhooks": page,
	} {
		to := b.post(page+"/state", url.Values{"state": {"Paused"}, "from": {from}}).Header().Get("Location")
		b.Expect(strings.SplitN(to, "?", 2)[0]).To(Equal(want), from)
	}
}

// Of more rows than are kept, the oldest go.
func TestStoreKeepsTheNewest(t *testing.T) {
	for i, resource := range rowsOf {
		s := newStore(t.Context(), nil, "x", func(error) {})
		defer s.stop()
		const all = maxRows + slackRows + 1
		for n := range all {
			row := &table.Row{Name: fmt.Sprint(n), Time: time.Unix(int64(n), 0), Cells: make([]string, len(resource.Columns))}
			row.Cells[table.ColumnWebhook] = fmt.Sprint("webhook-", n%3)
			s.set(i, row, false)
			s.trim(i)
		}
		kept := 0
		count := func(row *table.Row) {
			kept++
			if row.Time.Unix() < all-maxRows {
				t.Fatalf("%s is kept", row.Name)
			}
		}
		if i == partEvents {
			s.eachEvent(count)
		} else {
			for n := range 3 {
				s.deliveriesOf(fmt.Sprint("webhook-", n), count)
			}
			if s.count != kept {
				t.Errorf("%d are counted, and %d kept", s.count, kept)
			}
		}
		if kept != maxRows || !s.isCut(i) {
			t.Errorf("%s: %d are kept, and cut is %t", resource.Name, kept, s.isCut(i))
		}
	}
}

// Pages that nobody comes to read leave no notices behind.
func TestNoticesAreBounded(t *testing.T) {
	var n notices
	first := n.add("/x?a=b", &notice{Text: "first"})
	for range maxNotices {
		n.add("/y", &notice{})
	}
	u, err := url.Parse(first)
	if err != nil || u.Path != "/x" || u.Query().Get("a") != "b" {
		t.Errorf("%s: %v", first, err)
	}
	if len(n.all) != maxNotices || n.take(u.Query().Get("notice")) != nil {
		t.Errorf("%d notices are kept", len(n.all))
	}
}

func TestRate(t *testing.T) {
	for want, s := range map[string]spark{
		"": {Waiting: 3}, "100 %": {Succeeded: 1, Waiting: 1}, "0.0 %": {Failed: 2}, "50.0 %": {Succeeded: 1, Failed: 1},
		"99.9 %": {Succeeded: 100_000, Failed: 1},
	} {
		if got := s.Rate(); got != want {
			t.Errorf("%+v: %q, want %q", s, got, want)
		}
	}
}

// A page that was left says where to go on, whatever has been removed since.
func TestPagesOfWhatWasRemoved(t *testing.T) {
	const events = pageRows + 2
	b := newBed(t)
	for i := range events {
		b.Event(int64(i))
	}
	page := b.path("events")
	var last string
	var older []string
	b.Eventually(func() []string {
		first := b.page(page)
		for _, m := range regexp.MustCompile(`href="[^"]*/events/([a-z0-9-]+)"`).FindAllStringSubmatch(first, -1) {
			last = m[1]
		}
		older = olderPattern.FindStringSubmatch(first)
		return older
	}).ShouldNot(BeNil())
	b.Expect(b.Client.Delete(b.Ctx, &v1alpha1.WebhookEvent{ObjectMeta: metav1.ObjectMeta{Namespace: b.Namespace, Name: last}})).To(Succeed())
	b.Eventually(func() string { return b.page(page) }).ShouldNot(ContainSubstring("/events/" + last + `"`))
	b.Expect(b.page(page + strings.ReplaceAll(older[1], "&amp;", "&"))).To(ContainSubstring("2 of 51 events"))
	b.Expect(b.page(page + "?before=2001-01-01T00:00:00Z/a")).To(ContainSubstring("No older events"))
	b.Expect(b.get(page + "?before=soon/a").Code).To(Equal(http.StatusBadRequest))

	w := b.Webhook("smoke-tests", func(s *v1alpha1.WebhookSpec) { s.State = v1alpha1.WebhookDisabled })
	d := recordOf(w, 1, firstEvent, http.StatusOK)
	b.Expect(b.Client.Create(b.Ctx, d)).To(Succeed())
	b.Expect(b.page(b.path("webhooks", "smoke-tests") + "?before=" + d.Name)).To(And(
		ContainSubstring("No older deliveries"), Not(ContainSubstring("Nothing was sent yet"))))
}

// Nobody is told that no deliveries go with a Webhook while nobody has counted them.
func TestDeleteWithoutCount(t *testing.T) {
	b := newBed(t)
	w := b.Webhook("smoke-tests", func(s *v1alpha1.WebhookSpec) { s.State = v1alpha1.WebhookDisabled })
	b.Expect(b.Client.Create(b.Ctx, recordOf(w, 1, firstEvent, http.StatusOK))).To(Succeed())
	c, err := b.session.connect()
	b.Expect(err).NotTo(HaveOccurred())
	var back atomic.Bool
	config := suite.ControlPlane.Config()
	config.Wrap(func(next http.RoundTripper) http.RoundTripper {
		return roundTripper(func(r *http.Request) (*http.Response, error) {
			if !back.Load() {
				return nil, errors.New("away")
			}
			return next.RoundTrip(r)
		})
	})
	c.tables, err = table.NewClient(config)
	b.Expect(err).NotTo(HaveOccurred())
	page := b.path("webhooks", "smoke-tests", "delete")
	b.Expect(b.page(page)).To(ContainSubstring("Its deliveries go with it"))
	back.Store(true)
	b.Eventually(func() string { return b.page(page) }).Should(ContainSubstring("Its 1 delivery goes with it"))
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// Who somebody is, is asked for until the API server has told.
func TestUserIsAskedForAgain(t *testing.T) {
	b := newBed(t)
	b.page(b.path("webhooks"))
	away := true
	b.intercept(interceptor.Funcs{Create: func(ctx context.Context, api client.WithWatch, object client.Object, options ...client.CreateOption) error {
		if _, ok := object.(*authenticationv1.SelfSubjectReview); ok && away {
			return errors.New("away")
		}
		return api.Create(ctx, object, options...)
	}})
	b.Expect(b.page(b.path("webhooks"))).NotTo(ContainSubstring("You are"))
	away = false
	b.Expect(b.page(b.path("webhooks"))).To(ContainSubstring("kubernetes-admin"))
}

// A namespace that does not exist is the one that is chosen on its page.
func TestNamespaceThatIsNone(t *testing.T) {
	b := newBed(t)
	b.Expect(b.get(link("nothing-here", "webhooks")).Body.String()).To(ContainSubstring("<option selected>nothing-here</option>"))
	b.Expect(strings.Count(b.page(b.path("webhooks")), "<option selected>"+b.Namespace+"</option>")).To(Equal(1))
}
