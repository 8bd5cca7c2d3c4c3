package bridge

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/horizoncd/webhook-operator/internal/horizon"
	"github.com/horizoncd/webhook-operator/internal/payload"
	fake "github.com/horizoncd/webhook-operator/test/horizon"
)

// One of everything: the bodies that the operator would send are those that Horizon sends.
func TestEventsOfAllTypes(t *testing.T) {
	b := newBed(t)
	r := b.start(nil)
	run := b.horizon.AddPipelinerun(fake.Pipelinerun{ClusterID: b.cluster, Action: "builddeploy", Title: "release <2>", GitRef: "main", GitRefType: "branch"})
	member := b.horizon.AddMember(fake.Member{ResourceType: fake.Applications, ResourceID: b.application, Role: "owner", User: fake.Admin})
	ofCluster := b.horizon.AddMember(fake.Member{ResourceType: fake.Clusters, ResourceID: b.cluster, Role: "owner", User: fake.Admin})
	types := captured(t)
	paths := map[int64]string{}
	for eventType := range types {
		e := fake.Event{Type: eventType, ResourceID: b.cluster, User: fake.Admin}
		path := "/music/web/web-prod"
		switch {
		case strings.HasPrefix(eventType, "applications_"):
			e.ResourceID, path = b.application, "/music/web"
		case strings.HasPrefix(eventType, "pipelineruns_"):
			e.ResourceID = run
		case eventType == "members_deleted":
			e.ResourceID = ofCluster
		case strings.HasPrefix(eventType, "members_"):
			e.ResourceID, path = member, "/music/web"
		}
		paths[b.horizon.Record(e)] = path
	}
	b.expectAll()
	for _, l := range b.horizon.Logs(b.webhook) {
		e := b.event(l.EventID)
		if e.Namespace != b.music || e.Spec.ResourcePath != paths[l.EventID] || e.Name != fmt.Sprintf("horizon-%d", l.EventID) {
			t.Errorf("%s: %s/%s with the path %s, want %s", e.Spec.EventType, e.Namespace, e.Name, e.Spec.ResourcePath, paths[l.EventID])
		}
		if l.Status != fake.Success || !strings.Contains(l.ResponseBody, `{"event":"`+b.music+"/"+e.Name+`"}`) {
			t.Errorf("%s: Horizon calls it %s, and has the answer %s", e.Spec.EventType, l.Status, l.ResponseBody)
		}
		if age := time.Since(e.Spec.Time.Time); age < 0 || age > patience {
			t.Errorf("%s: it happened %v ago", e.Spec.EventType, age)
		}
		body, err := payload.Render(e, b.webhook)
		b.Expect(err).NotTo(HaveOccurred())
		if want := strings.Replace(l.Body, `,"extra":""`, "", 1); string(body) != strings.Replace(want, `"id":0,`, "", 1) {
			t.Errorf("%s: the operator sends\n%s\nand Horizon\n%s", e.Spec.EventType, body, l.Body)
		}
	}
	if n := r.metric("events_total", "result=created"); n != float64(len(types)) {
		t.Errorf("%v events were counted, want %d", n, len(types))
	}
}

func TestUnknownTypesPass(t *testing.T) {
	b := newBed(t)
	b.start(nil)
	code, a := b.post(`{"id":5,"eventID":77,"webhookID":1,"future":{"id":1},"eventType":"regions_moved","user":{"id":1,"name":"","email":""},"extra":""}`, nil)
	b.Expect(code).To(Equal(http.StatusCreated), a.Error)
	b.Expect(a.Event).To(Equal(b.system + "/horizon-77"))
}

// What the API server will never take is 422, with its reason.
func TestInvalidEvents(t *testing.T) {
	b := newBed(t)
	r := b.start(nil)
	cluster := `"cluster":{"id":%s,"name":"%s","applicationName":"web","env":"%s"}`
	for name, tt := range map[string]struct {
		body string
		code int
		want string
	}{
		"an id beyond 2^53":        {`{"eventID":9007199254740993,"eventType":"clusters_action"}`, 422, "9007199254740991"},
		"an id beyond 64 bits":     {`{"eventID":18446744073709551616,"eventType":"clusters_action"}`, 422, "number"},
		"a cluster beyond 2^53":    {`{"eventID":5,"eventType":"clusters_action",` + fmt.Sprintf(cluster, "9007199254740992", "web-prod", "online") + `}`, 422, "spec.cluster.id"},
		"no id":                    {`{"eventType":"clusters_action"}`, 422, "eventID"},
		"id 0":                     {`{"eventID":0,"eventType":"clusters_action"}`, 422, "eventID"},
		"a negative id":            {`{"eventID":-1,"eventType":"clusters_action"}`, 422, "eventID"},
		"no type":                  {`{"eventID":5}`, 422, "eventType"},
		"an odd type":              {`{"eventID":5,"eventType":"Clusters-Action"}`, 422, "eventType"},
		"an environment too long":  {`{"eventID":5,"eventType":"clusters_action",` + fmt.Sprintf(cluster, "1", "web-prod", strings.Repeat("x", 129)) + `}`, 422, "spec.cluster.env"},
		"an extra too long":        {`{"eventID":5,"eventType":"clusters_action","extra":"` + strings.Repeat("x", 32769) + `"}`, 422, "spec.extra"},
		"a block without a number": {`{"eventID":5,"eventType":"clusters_action","cluster":{"name":"web-prod"}}`, 422, "spec.cluster.id"},
		"a number as text":         {`{"eventID":"5","eventType":"clusters_action"}`, 422, "eventID"},
		"garbage":                  {"\x16\x03\x01\x00", 400, "JSON"},
		"nothing":                  {"", 400, "JSON"},
		"a list":                   {"[]", 400, "JSON"},
		"two objects":              {`{"eventID":5,"eventType":"clusters_action"}{}`, 400, "follows"},
		"deep nesting":             {`{"x":` + strings.Repeat("[", 20_000) + strings.Repeat("]", 20_000) + `}`, 400, "depth"},
	} {
		t.Run(name, func(t *testing.T) {
			code, a := b.post(tt.body, nil)
			if code != tt.code || !strings.Contains(a.Error, tt.want) || a.Event != "" {
				t.Errorf("got %d %+v, want %d with %q", code, a, tt.code, tt.want)
			}
		})
	}
	b.Expect(b.ids()).To(BeEmpty())
	if n := r.metric("events_total", "result=invalid"); n != 17 {
		t.Errorf("%v were counted, want 17", n)
	}
}

// Horizon sends an event again, with another body; another event has another answer.
func TestTheSameNumberAgain(t *testing.T) {
	b := newBed(t)
	b.start(nil)
	body := func(eventType string, id int64, name, user string) string {
		return fmt.Sprintf(`{"eventID":5,"webhookID":1,"cluster":{"id":%d,"name":%q},"eventType":%q,"user":{"id":1,"name":%q,"email":""},"extra":""}`, id, name, eventType, user)
	}
	code, a := b.post(body("clusters_deployed", b.cluster, "web-prod", "admin"), nil)
	b.Expect(code).To(Equal(http.StatusCreated), a.Error)
	code, again := b.post(body("clusters_deployed", b.cluster, "web-prod", "Admin the Second"), nil)
	b.Expect(code).To(Equal(http.StatusOK), again.Error)
	b.Expect(again).To(Equal(a))
	b.Expect(b.event(5).Spec.User.Name).To(Equal("admin"))
	for _, other := range []string{body("clusters_freed", b.cluster, "web-prod", "admin"), body("clusters_deployed", b.cluster+1, "web-prod", "admin")} {
		code, a = b.post(other, nil)
		b.Expect(code).To(Equal(http.StatusConflict))
		b.Expect(a.Error).To(ContainSubstring("--name-prefix"))
	}
	b.Expect(b.ids()).To(Equal([]int64{5}))
}

// After a restart Horizon sends nearly everything again. Nothing is there twice, and the
// times are not later than those of the checkpoints.
func TestReplaysAfterARestart(t *testing.T) {
	b := newBed(t)
	r := b.start(nil)
	first := b.happens("clusters_created")
	b.expectAll()
	for range 20 {
		b.happens("clusters_deployed")
	}
	b.expectAll()
	last := b.horizon.EventIDs(b.webhook)[20]
	r.stop() // which writes a checkpoint

	// All are deleted meanwhile, the old ones by their age. The next process sees Horizon
	// repeat them: they are events of a day ago.
	dayAgo := time.Now().Add(-24 * time.Hour).Truncate(time.Second)
	var state corev1.ConfigMap
	key := r.store.key
	b.Expect(b.client.Get(b.ctx, key, &state)).To(Succeed())
	var s stored
	b.Expect(json.Unmarshal([]byte(state.Data[stateKey]), &s)).To(Succeed())
	b.Expect(s.Checkpoints).NotTo(BeEmpty())
	b.Expect(s.Checkpoints[len(s.Checkpoints)-1].ID).To(Equal(last))
	for i := range s.Checkpoints {
		s.Checkpoints[i].Time = dayAgo.Add(time.Duration(i) * time.Minute)
	}
	text, err := json.Marshal(s)
	b.Expect(err).NotTo(HaveOccurred())
	state.Data[stateKey] = string(text)
	b.Expect(b.client.Update(b.ctx, &state)).To(Succeed())
	for _, e := range b.events() {
		b.Expect(b.client.Delete(b.ctx, &e)).To(Succeed())
	}

	b.start(nil)
	b.Consistently(b.ids, 2*time.Second).Should(BeEmpty()) // what Horizon calls success is not created again
	b.Expect(b.horizon.Restart()).To(Succeed())
	live := b.happens("clusters_freed")
	b.Eventually(b.horizon.Settled).Should(BeTrue())
	for _, e := range b.events() {
		age := time.Since(e.Spec.Time.Time)
		if repeated := e.Spec.EventID != live; repeated != (age > 23*time.Hour) {
			t.Errorf("event %d is %v old", e.Spec.EventID, age)
		}
	}
	b.Expect(b.ids()).To(ContainElement(live))
	b.Expect(len(b.ids())).To(BeNumerically(">", 15), "Horizon has repeated next to nothing")
	_ = first
}

// What was deleted before its last event keeps its path: known from a walk, from events, or
// from another replica. What nobody knows has none, and is told.
func TestDeletedThingsKeepTheirPath(t *testing.T) {
	b := newBed(t)
	r := b.start(nil)
	b.Eventually(func() bool {
		_, ok := r.memory.path(thing{kind: clusters, id: b.cluster})
		return ok
	}).Should(BeTrue(), "the walk has not come to the cluster")
	b.horizon.Delete(fake.Clusters, b.cluster)
	// Its name is in use again, elsewhere.
	b.horizon.AddCluster(b.horizon.AddApplication(b.videoGroup, "other", "P3"), "web-prod", "online")
	walked := b.event(b.happens("clusters_deleted"))
	b.Expect(walked.Spec.ResourcePath).To(Equal("/music/web/web-prod"))
	b.Expect(walked.Namespace).To(Equal(b.music))

	// A replica learns of a cluster by its event, and another one is asked later.
	later := b.horizon.AddCluster(b.application, "later", "online")
	b.event(b.horizon.Record(fake.Event{Type: "clusters_created", ResourceID: later, User: fake.Admin}))
	r.stop()
	b.horizon.Delete(fake.Clusters, later)
	r = b.start(nil)
	kept := b.event(b.horizon.Record(fake.Event{Type: "clusters_deleted", ResourceID: later, User: fake.Admin}))
	b.Expect(kept.Spec.ResourcePath).To(Equal("/music/web/later"))

	unheard := b.horizon.AddCluster(b.application, "unheard", "online")
	b.horizon.Delete(fake.Clusters, unheard)
	lost := b.event(b.horizon.Record(fake.Event{Type: "clusters_deleted", ResourceID: unheard, User: fake.Admin}))
	b.Expect(lost.Spec.ResourcePath).To(BeEmpty())
	b.Expect(lost.Namespace).To(Equal(b.system))
	b.Eventually(func() float64 { return r.metric("pathless_events_total") }).Should(Equal(1.0))
}

// Paths and routes change: what is in store stays where it is, and comes nowhere else.
func TestMovedPathsAndChangedRoutes(t *testing.T) {
	b := newBed(t)
	r := b.start(nil)
	before := b.happens("clusters_deployed")
	b.Expect(b.event(before).Namespace).To(Equal(b.music))

	b.horizon.Transfer(fake.Applications, b.application, b.videoGroup)
	r.stop() // what it knows of the path is less than a minute old
	b.Expect(b.horizon.Restart()).To(Succeed())
	b.expirePaths()
	r = b.start(nil)
	after := b.event(b.happens("clusters_deployed"))
	b.Expect(after.Namespace).To(Equal(b.video))
	b.Expect(after.Spec.ResourcePath).To(Equal("/video/web/web-prod"))
	b.expectAll()
	b.Expect(b.event(before).Namespace).To(Equal(b.music))
	r.stop()

	b.route(map[string]string{"/video": b.music, "/music": b.video})
	b.start(nil)
	b.Expect(b.horizon.Restart()).To(Succeed()) // and sends all again
	b.Expect(b.event(b.happens("clusters_freed")).Namespace).To(Equal(b.music))
	b.expectAll()
	b.Expect(b.event(after.Spec.EventID).Namespace).To(Equal(b.video))
}

// expirePaths makes all paths that are stored as old as if they had been looked up an hour ago.
func (b *bed) expirePaths() {
	b.Helper()
	b.Eventually(func(g Gomega) { // a bridge may write it at the same time
		var c corev1.ConfigMap
		g.Expect(b.client.Get(b.ctx, types.NamespacedName{Namespace: b.system, Name: "state"}, &c)).To(Succeed())
		paths, err := unpack(c.BinaryData[pathsKey])
		g.Expect(err).NotTo(HaveOccurred())
		expire(paths)
		c.BinaryData[pathsKey], err = pack(paths)
		g.Expect(err).NotTo(HaveOccurred())
		g.Expect(b.client.Update(b.ctx, &c)).To(Succeed())
	}).Should(Succeed())
}

func expire(paths map[string]place) {
	for key, p := range paths {
		p.seen = p.seen.Add(-time.Hour)
		paths[key] = p
	}
}

// A tenant whose quota is used up holds up nobody, and gets everything in the end.
func TestQuotaOfOneTenant(t *testing.T) {
	b := newBed(t)
	quota := &corev1.ResourceQuota{
		ObjectMeta: metav1.ObjectMeta{Namespace: b.music, Name: "events"},
		Spec:       corev1.ResourceQuotaSpec{Hard: corev1.ResourceList{"count/webhookevents.horizoncd.io": resource.MustParse("1")}},
	}
	b.Expect(b.client.Create(b.ctx, quota)).To(Succeed())
	b.Eventually(func(g Gomega) {
		var q corev1.ResourceQuota
		g.Expect(b.client.Get(b.ctx, client.ObjectKeyFromObject(quota), &q)).To(Succeed())
		g.Expect(q.Status.Hard).NotTo(BeEmpty())
	}).Should(Succeed())
	r := b.start(nil)
	other := b.horizon.AddCluster(b.horizon.AddApplication(b.videoGroup, "films", "P1"), "films-prod", "online")
	for range 5 {
		b.happens("clusters_deployed")
		b.horizon.Record(fake.Event{Type: "clusters_deployed", ResourceID: other, User: fake.Admin})
	}
	began := time.Now()
	b.Eventually(b.ids).Should(HaveLen(6), "one of the tenant, five of the other one")
	if took := time.Since(began); took > 15*time.Second {
		t.Errorf("the other tenant has waited %v", took)
	}
	b.Eventually(func() float64 { return r.metric("namespace_refusals_total", "namespace="+b.music) }).Should(BeNumerically(">=", 4))
	b.Eventually(func() float64 { return r.metric("catch_up_open_logs") }).Should(Equal(4.0))
	b.Expect(r.metric("catch_up_behind_seconds")).To(BeNumerically(">", 0))
	r.stop()

	patch := client.MergeFrom(quota.DeepCopy())
	quota.Spec.Hard["count/webhookevents.horizoncd.io"] = resource.MustParse("100")
	b.Expect(b.client.Patch(b.ctx, quota, patch)).To(Succeed())
	r = b.start(nil)
	b.expectAll()
	b.Eventually(func() float64 { return r.metric("catch_up_open_logs") }).Should(BeZero())
}

// What comes while the bridge is away is found in the logs, bad ones included.
func TestCatchUpAfterAnOutage(t *testing.T) {
	b := newBed(t)
	r := b.start(nil)
	b.happens("clusters_created")
	b.expectAll()
	r.stop()
	for range 30 {
		b.happens("clusters_deployed")
	}
	b.happens("clsuters_restarted") // there is no application of that number: its log cannot be listed
	gone := b.horizon.AddCluster(b.application, "gone", "online")
	b.horizon.Record(fake.Event{Type: "clusters_created", ResourceID: gone, User: fake.Admin})
	b.Eventually(b.horizon.Settled).Should(BeTrue())
	b.horizon.Purge(fake.Clusters, gone)
	b.Expect(b.ids()).To(HaveLen(1))
	r = b.start(nil)
	b.expectAll()
	b.Eventually(func() float64 { return r.metric("catch_up_scans_total", "result=complete") }).Should(BeNumerically(">", 0))
	if n := r.metric("events_total", "source=catch_up", "result=created"); n != 32 {
		t.Errorf("%v were caught up, want 32", n)
	}
}

// Without an API server nothing is acknowledged, and nothing is lost.
func TestAPIServerStopped(t *testing.T) {
	b := newBed(t)
	b.start(nil)
	b.happens("clusters_created")
	b.expectAll()
	b.Expect(suite.cp.APIServer.Kill()).To(Succeed())
	code := make(chan int)
	go func() {
		got, _ := b.post(`{"eventID":9000,"webhookID":1,"eventType":"clusters_action","extra":""}`, nil)
		code <- got
	}()
	for range 6 {
		b.happens("clusters_deployed")
	}
	began := time.Now()
	b.Expect(<-code).To(Equal(http.StatusServiceUnavailable))
	if took := time.Since(began); took < 15*time.Second || took > 25*time.Second {
		t.Errorf("it has taken %v to give up, want about 20 s", took)
	}
	b.Expect(suite.cp.APIServer.Start(b.ctx)).To(Succeed())
	b.expectAll()
}

// A look-up that hangs is answered within 3 s, and its event comes later.
func TestLookUpsThatHang(t *testing.T) {
	b := newBed(t)
	r := b.start(nil)
	member := b.horizon.AddMember(fake.Member{ResourceType: fake.Applications, ResourceID: b.application, Role: "owner", User: fake.Admin})
	b.Eventually(func() bool {
		_, ok := r.memory.path(thing{kind: applicationMembers, id: b.application})
		return ok
	}).Should(BeTrue())
	r.stop()
	b.expirePaths()
	b.horizon.GitLabDown(true)
	r = b.start(func(o *Options) { o.Every = time.Hour })
	body := fmt.Sprintf(`{"eventID":%%d,"member":{"id":%d,"resourceID":%d,"resourceType":"applications","role":"owner","memberNameID":1,"memberName":"admin"},"eventType":"members_created","extra":""}`, member, b.application)
	fresh := func() (n int) {
		r.memory.mu.Lock()
		defer r.memory.mu.Unlock()
		for _, p := range r.memory.paths {
			if time.Since(p.seen) < time.Minute {
				n++
			}
		}
		return n
	}
	// The walk at the start needs no GitLab, and learns both paths anew. Memory and ConfigMap
	// give them back to each other, so they are made old in both.
	b.Eventually(fresh).Should(Equal(2))
	b.Eventually(func() int {
		b.expirePaths()
		r.memory.mu.Lock()
		expire(r.memory.paths)
		r.memory.mu.Unlock()
		time.Sleep(2 * storeEvery)
		return fresh()
	}).Should(BeZero())
	for i, most := range []time.Duration{3 * time.Second, time.Second} { // the second one knows that they hang
		began := time.Now()
		code, a := b.post(fmt.Sprintf(body, 900+i), nil)
		b.Expect(code).To(Equal(http.StatusServiceUnavailable), a.Event)
		if took := time.Since(began); took > most {
			t.Errorf("answer %d has taken %v", i, took)
		}
	}
	b.Expect(b.ids()).To(BeEmpty())
	r.stop()
	id := b.horizon.Record(fake.Event{Type: "members_created", ResourceID: member, User: fake.Admin})
	b.Eventually(b.horizon.Settled).Should(BeTrue())
	b.horizon.GitLabDown(false)
	b.start(nil)
	b.Expect(b.event(id).Spec.ResourcePath).To(Equal("/music/web"))
}

// Without leave to read logs the bridge says so, and works.
func TestWithoutLeaveToReadLogs(t *testing.T) {
	b := newBed(t)
	b.token = b.horizon.Token("groups:read-only", "applications:read-only", "clusters:read-only")
	r := b.start(nil)
	b.event(b.happens("clusters_created"))
	b.Eventually(func() string {
		detail, err := r.Ready()
		b.Expect(err).NotTo(HaveOccurred())
		return detail
	}).Should(ContainSubstring("impossible"))
	b.Expect(r.metric("catch_up_possible")).To(BeZero())
	b.token = b.horizon.Token(tokenScopes...)
	b.Eventually(func() float64 { return r.metric("catch_up_possible") }).Should(Equal(1.0))
}

// Two replicas that both catch up make each event once.
func TestTwoReplicas(t *testing.T) {
	b := newBed(t)
	for range 60 {
		b.happens("clusters_deployed")
	}
	b.Eventually(b.horizon.Settled).Should(BeTrue())
	first := b.start(nil)
	address := b.address
	b.address = "127.0.0.1:0"
	second := b.start(nil)
	b.address = address
	for range 20 {
		b.happens("clusters_freed")
	}
	b.expectAll()

	// One of them catches up. It ends, and Horizon posts to nobody.
	b.Eventually(func() float64 { return second.metric("catch_up_scans_total", "result=other") }).Should(BeNumerically(">", 0))
	first.stop()
	for range 20 {
		b.happens("clusters_freed")
	}
	b.expectAll()
}

// late is a client whose first create takes as long as somebody wants.
type late struct {
	client.Client
	begun, end chan struct{}
	once       sync.Once
}

func (l *late) Create(ctx context.Context, o client.Object, options ...client.CreateOption) error {
	l.once.Do(func() {
		close(l.begun)
		<-l.end
	})
	return l.Client.Create(ctx, o, options...)
}

// A replica that ends lets nobody else catch up while an event of its own is on its way.
func TestCatchUpIsHandedOver(t *testing.T) {
	b := newBed(t)
	b.happens("clusters_created")
	b.Eventually(b.horizon.Settled).Should(BeTrue())
	l := &late{Client: b.client, begun: make(chan struct{}), end: make(chan struct{})}
	r := b.start(func(o *Options) { o.Client = l })
	arrive := sync.OnceFunc(func() { close(l.end) })
	b.Cleanup(arrive)
	<-l.begun
	ended := make(chan struct{})
	go func() {
		r.stop()
		close(ended)
	}()
	holder := func() string {
		var c corev1.ConfigMap
		b.Expect(b.client.Get(b.ctx, r.store.key, &c)).To(Succeed())
		var s stored
		b.Expect(json.Unmarshal([]byte(c.Data[stateKey]), &s)).To(Succeed())
		return s.Holder.Name
	}
	b.Consistently(holder, time.Second).Should(Equal(r.store.name))
	arrive()
	<-ended
	b.Expect(holder()).To(BeEmpty())
	b.Expect(b.ids()).To(HaveLen(1))
}

// The other replica goes on when the one that catches up is killed: it gives nothing back.
func TestCatchUpIsTakenOver(t *testing.T) {
	b := newBed(t)
	first := b.start(nil)
	b.happens("clusters_created")
	b.expectAll()
	b.Eventually(func() bool { return first.catchUp.holds() }).Should(BeTrue())
	first.store.name = "somebody else" // whoever holds it now is gone
	b.Expect(first.memory.holds("somebody else", time.Now())).To(BeFalse())
	first.stop()
	b.happens("clusters_freed")
	b.start(nil)
	b.expectAll()
}

// A replica that does not reach Horizon leaves the catch-up to the other one.
func TestCatchUpIsLeftToWhoReachesHorizon(t *testing.T) {
	b := newBed(t)
	for range 5 {
		b.happens("clusters_deployed")
	}
	b.Eventually(b.horizon.Settled).Should(BeTrue())
	address := b.address
	b.address = "127.0.0.1:0"
	first := b.start(func(o *Options) {
		o.Horizon, _ = horizon.New("http://127.0.0.1:1", func() (string, error) { return "none", nil })
	})
	b.Eventually(func() float64 { return first.metric("catch_up_scans_total", "result=failed") }).Should(BeNumerically(">", 0))
	b.start(nil)
	b.address = address
	b.expectAll()
}

// A second Horizon has its own numbers.
func TestNamePrefix(t *testing.T) {
	b := newBed(t)
	r := b.start(nil)
	id := b.happens("clusters_created")
	b.expectAll()
	r.stop()
	b.Expect(b.horizon.Restart()).To(Succeed())
	b.start(func(o *Options) { o.NamePrefix = "second-" })
	code, a := b.post(fmt.Sprintf(`{"eventID":%d,"webhookID":1,"cluster":{"id":99,"name":"x"},"eventType":"clusters_freed","extra":""}`, id), nil)
	b.Expect(code).To(Equal(http.StatusCreated), a.Error)
	b.Expect(a.Event).To(Equal(fmt.Sprintf("%s/second-horizon-%d", b.system, id)))
}

// The secret can be changed without a moment in which Horizon is refused.
func TestRotation(t *testing.T) {
	b := newBed(t)
	b.start(nil)
	with := func(value string) int {
		code, _ := b.post(`{"eventID":7,"eventType":"clusters_action"}`, func(r *http.Request) { r.Header.Set(SecretHeader, value) })
		return code
	}
	b.Expect(with(secret)).To(Equal(http.StatusCreated))
	b.Expect(os.WriteFile(b.secretFile, []byte(secret+"\nthe-new-one\n"), 0o600)).To(Succeed())
	b.Eventually(func() int { return with("the-new-one") }).Should(Equal(http.StatusOK))
	b.Expect(with(secret)).To(Equal(http.StatusOK))
	b.Expect(os.WriteFile(b.secretFile, []byte("the-new-one\n"), 0o600)).To(Succeed())
	b.Eventually(func() int { return with(secret) }).Should(Equal(http.StatusUnauthorized))
	b.Expect(with("the-new-one")).To(Equal(http.StatusOK))
}

var _ Horizon = (*horizon.Client)(nil)
