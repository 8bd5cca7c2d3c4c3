package controllers

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/delivery"
	"github.com/horizoncd/webhook-operator/internal/sending"
	"github.com/horizoncd/webhook-operator/test/receiver"
)

// A store as the operator of a release has left it is kept in testdata, and every later
// operator has to go on with it. It is written once, before the release:
//
//	go test ./controllers -run TestStoreOfARelease -write-store
var writeStore = flag.Bool("write-store", false, "write the store of the next release anew; never do so after it")

const (
	release = "v0.1.0"
	// storeAge is how long ago, in the test, the operator of the release has stopped.
	storeAge = 2 * time.Hour
	// anything stands for a reason that is a matter of chance.
	anything = "*"
)

// storeEpoch is when that operator has stopped, in the file.
var storeEpoch = time.Date(2026, time.December, 1, 0, 0, 0, 0, time.UTC)

// tale is what a Webhook of the store has been through, and what is to come of it. Reasons
// are those of its deliveries, in the order of their events' names.
type tale struct {
	webhook string
	change  func(*v1alpha1.Webhook)
	events  int
	event   func(*v1alpha1.WebhookEvent)
	// script is what the receiver answers the operator of the release.
	script string
	// then is done once the deliveries have been stored.
	then func(b *testbed, w *v1alpha1.Webhook)
	// stored are the reasons in the file.
	stored []string
	// deleted: the Webhook is not in the file.
	deleted bool
	// off is done while no operator runs.
	off func(b *testbed, w *v1alpha1.Webhook)

	// goesOn are the reasons after a later operator has seen them, and requests is how many
	// it has made.
	goesOn   []string
	requests int
	// person is what somebody does then; everything is delivered after that, by as many
	// requests in all.
	person        func(b *testbed, w *v1alpha1.Webhook)
	finalRequests int
	// result is that of the event, where it is not that everything was delivered.
	result v1alpha1.EventResult
	// body is the receiver's, which says that it has accepted; accepted is what the request
	// has.
	body, accepted string
}

func slowly(w *v1alpha1.Webhook) { w.Spec.Retry.MinBackoffSeconds = 3600 }

func once(w *v1alpha1.Webhook) { w.Spec.Retry.Limit = new(int32(0)) }

func pausedWebhook(w *v1alpha1.Webhook) { w.Spec.State = v1alpha1.WebhookPaused }

func enable(b *testbed, w *v1alpha1.Webhook) {
	b.edit(w, map[string]any{"spec": map[string]any{"state": "Enabled"}})
}

// resendFailed resends what has failed.
func resendFailed(b *testbed, w *v1alpha1.Webhook) {
	for _, d := range b.deliveriesOf(w) {
		if d.Status.Result == v1alpha1.DeliveryFailed {
			b.resend(&d, "by a person")
		}
	}
}

// ofFormat is a Webhook that is paused, of a format whose address is a secret.
func ofFormat(format v1alpha1.PayloadFormat) func(w *v1alpha1.Webhook) {
	return func(w *v1alpha1.Webhook) {
		w.Spec.State, w.Spec.Payload = v1alpha1.WebhookPaused, &v1alpha1.PayloadSettings{Format: format}
		if format != v1alpha1.PayloadCloudEvents {
			w.Spec.URL, w.Spec.URLSecretRef = "", &v1alpha1.SecretKeyReference{Name: "room-" + w.Name, Key: "url"}
		}
	}
}

// tales are ended by the one that must not wait: its circuit is probed after some seconds.
var tales = []tale{
	{webhook: "accepted", events: 2, stored: []string{"Accepted", "Accepted"}, goesOn: []string{"Accepted", "Accepted"}},
	{webhook: "retrying", events: 1, change: slowly, script: "500", stored: []string{"Retrying"}, goesOn: []string{"Accepted"}, requests: 1},
	{
		webhook: "exhausted", events: 1, change: once, script: "500", stored: []string{"RetriesExhausted"},
		goesOn: []string{"RetriesExhausted"}, person: resendFailed, finalRequests: 1,
	},
	{webhook: "paused", events: 2, change: pausedWebhook, stored: []string{"Paused", "Paused"}, goesOn: []string{"Paused", "Paused"}, person: enable, finalRequests: 2},
	{
		webhook: "unready", events: 1, stored: []string{"NotReady"}, goesOn: []string{"NotReady"}, finalRequests: 1,
		change: func(w *v1alpha1.Webhook) {
			w.Spec.SecretRef = &v1alpha1.SecretKeyReference{Name: "missing", Key: "token"}
		},
		person: func(b *testbed, _ *v1alpha1.Webhook) { b.secret("missing", map[string]string{"token": "x"}) },
	},
	{
		webhook: "resting", events: 2, change: slowly, script: "429:3600", stored: []string{"Retrying", "ReceiverResting"},
		goesOn: []string{"Accepted", "Accepted"}, requests: 2,
	},
	{
		webhook: "limited", events: 2, stored: []string{anything, anything}, goesOn: []string{"Accepted", "Accepted"}, requests: 1,
		change: func(w *v1alpha1.Webhook) { w.Spec.RateLimit = &v1alpha1.RateLimit{Requests: 1, PerSeconds: 600} },
	},
	{
		webhook: "gone", events: 2, script: "410", stored: []string{"Gone", "Gone"}, goesOn: []string{"Gone", "Gone"}, finalRequests: 2,
		person: func(b *testbed, w *v1alpha1.Webhook) {
			b.edit(w, map[string]any{"spec": map[string]any{"description": "it is back"}})
			resendFailed(b, w)
		},
	},
	{
		webhook: "busy", events: 2, script: "hang", stored: []string{anything, anything}, goesOn: []string{"Accepted", "Accepted"}, requests: 2,
		change: func(w *v1alpha1.Webhook) { w.Spec.MaxInFlight, w.Spec.TimeoutSeconds = 1, 120 },
	},
	{
		webhook: "unmade", events: 1, change: template(`{"x": event.cluster.name.split("-")[7]}`), stored: []string{"PayloadError"},
		goesOn: []string{"PayloadError"}, finalRequests: 1, accepted: `{"x":"web"}`,
		person: func(b *testbed, w *v1alpha1.Webhook) {
			b.edit(w, editTemplate(`{"x": event.cluster.applicationName}`))
			b.observedEdit(w)
			resendFailed(b, w)
		},
	},
	{
		webhook: "rejected", events: 1, script: "400", stored: []string{"Rejected"}, goesOn: []string{"Rejected"}, person: resendFailed, finalRequests: 1,
		change: func(w *v1alpha1.Webhook) {
			w.Spec.Response = &v1alpha1.ResponseRules{GiveUpIf: "response.statusCode == 400"}
		},
	},
	{
		webhook: "denied", events: 1, stored: []string{"EgressDenied"}, goesOn: []string{"EgressDenied"}, finalRequests: 1,
		person: func(b *testbed, w *v1alpha1.Webhook) {
			b.edit(w, map[string]any{"spec": map[string]any{"url": b.receiver.URL("/denied")}})
			b.observedEdit(w)
			resendFailed(b, w)
		},
	},
	{
		webhook: "overflowing", events: 7, change: pausedWebhook, finalRequests: 7,
		stored: []string{"Paused", "Paused", "Paused", "Paused", "Paused", "Paused", "Overflow"},
		goesOn: []string{"Paused", "Paused", "Paused", "Paused", "Paused", "Paused", "Overflow"},
		person: func(b *testbed, w *v1alpha1.Webhook) { enable(b, w); resendFailed(b, w) },
	},
	{
		webhook: "impatient", events: 1, script: "500", stored: []string{"WaitedTooLong"}, goesOn: []string{"WaitedTooLong"},
		change: func(w *v1alpha1.Webhook) { w.Spec.Retry.MinBackoffSeconds, w.Spec.Retry.GiveUpAfterSeconds = 3600, 60 },
		person: resendFailed, finalRequests: 1,
	},
	{
		webhook: "resent", events: 1, stored: []string{"Accepted"}, goesOn: []string{"Accepted"},
		then: func(b *testbed, w *v1alpha1.Webhook) {
			b.resend(b.deliveryOf(w, "resent-0", v1alpha1.DeliverySucceeded), "once more")
			b.Eventually(func() int32 { return b.deliveriesOf(w)[0].Status.Attempts }).Should(BeEquivalentTo(2))
		},
	},
	{
		webhook: "resending", events: 1, script: "500", stored: []string{"Retrying"}, goesOn: []string{"Accepted"}, requests: 1,
		change: func(w *v1alpha1.Webhook) { w.Spec.Retry.Limit = new(int32(1)) },
		then: func(b *testbed, w *v1alpha1.Webhook) {
			b.deliveryOf(w, "resending-0", v1alpha1.DeliveryFailed)
			b.edit(w, map[string]any{"spec": map[string]any{"retry": map[string]any{"minBackoffSeconds": 3600}}})
			b.observedEdit(w)
			resendFailed(b, w)
		},
	},
	{
		webhook: "asked", events: 1, stored: []string{"Accepted"}, goesOn: []string{"Accepted"}, requests: 1,
		off: func(b *testbed, w *v1alpha1.Webhook) { b.resend(&b.deliveriesOf(w)[0], "while nobody looks") },
	},
	{
		webhook: "tested", stored: []string{"Accepted"}, goesOn: []string{"Accepted"},
		then: func(b *testbed, w *v1alpha1.Webhook) {
			b.annotate(w, v1alpha1.AnnotationTest, "one")
			b.tested(w, "one")
		},
	},
	{
		webhook: "replayed", events: 1, event: earlier, stored: []string{"Accepted"}, goesOn: []string{"Accepted"},
		then: func(b *testbed, w *v1alpha1.Webhook) {
			b.annotate(w, v1alpha1.AnnotationReplaySince, time.Now().Add(-2*time.Hour).UTC().Format(time.RFC3339))
			b.replayed(w, v1alpha1.ReplayCompleted)
		},
	},
	{
		webhook: "shortlived", events: 1, stored: []string{"Accepted"}, // retention deletes it
		change: func(w *v1alpha1.Webhook) { w.Spec.Retention.TTLSecondsAfterFinished = 3600 },
	},
	{
		webhook: "orphaned", deleted: true, events: 1, change: pausedWebhook, stored: []string{"WebhookGone"}, goesOn: []string{"WebhookGone"},
		then: func(b *testbed, w *v1alpha1.Webhook) {
			d := b.deliveryOf(w, "orphaned-0", v1alpha1.DeliveryWaiting)
			b.edit(d, map[string]any{"metadata": map[string]any{"ownerReferences": nil}}) // what the garbage collector does
			b.Expect(b.client.Delete(b.ctx, w, client.PropagationPolicy(metav1.DeletePropagationOrphan))).To(Succeed())
			b.edit(w, map[string]any{"metadata": map[string]any{"finalizers": nil}})
		},
		result: v1alpha1.EventFailed,
	},
	{
		webhook: "late", goesOn: []string{"Accepted"}, requests: 1, // its event is created while no operator runs
		off: func(b *testbed, _ *v1alpha1.Webhook) { b.event("late-0", scopedTo("late")) },
	},
	{webhook: "filtered", events: 1, event: inEnv("test"), change: filter(`event.cluster.env == "online"`), result: v1alpha1.EventUnmatched},
	{webhook: "failing", events: 1, change: filter(`event.cluster.name.split("-")[7] == "x"`), result: v1alpha1.EventUnmatched},
	{webhook: "broken", events: 1, change: filter(`event.nothing`), result: v1alpha1.EventUnmatched},
	{webhook: "disabled", events: 1, change: func(w *v1alpha1.Webhook) { w.Spec.State = v1alpha1.WebhookDisabled }, result: v1alpha1.EventUnmatched},
	{webhook: "members", events: 1, change: func(w *v1alpha1.Webhook) { w.Spec.Triggers = []v1alpha1.Trigger{"members_*"} }, result: v1alpha1.EventUnmatched},
	{webhook: "younger", events: 1, event: earlier, result: v1alpha1.EventUnmatched},
	{
		webhook: "expired", events: 1, result: v1alpha1.EventExpired,
		event: func(e *v1alpha1.WebhookEvent) { e.Spec.Time = metav1.NewTime(time.Now().Add(-80 * time.Hour)) },
	},
	roomTale("cloudevents", v1alpha1.PayloadCloudEvents, "", `"specversion":"1.0"`),
	roomTale("dingtalk", v1alpha1.PayloadDingTalk, `{"errcode":0,"errmsg":"ok"}`, `"msgtype":"markdown"`),
	roomTale("feishu", v1alpha1.PayloadFeishu, `{"code":0,"msg":"success"}`, `"msg_type":"interactive"`),
	roomTale("wecom", v1alpha1.PayloadWeCom, `{"errcode":0,"errmsg":"ok"}`, `"msgtype":"markdown"`),
	roomTale("slack", v1alpha1.PayloadSlack, "ok", `"attachments":`),
	roomTale("teams", v1alpha1.PayloadTeams, "", `AdaptiveCard`),
	roomTale("discord", v1alpha1.PayloadDiscord, `{"id":"1"}`, `"embeds":`),
	{
		webhook: "open", events: 6, change: slowly, script: "500", requests: 6,
		stored: []string{"Retrying", "Retrying", "Retrying", "Retrying", "Retrying", "CircuitOpen"},
		goesOn: []string{"Accepted", "Accepted", "Accepted", "Accepted", "Accepted", "Accepted"},
	},
}

// roomTale is that of a Webhook with a format: what was stored by one version is sent, with
// the body that the format wants, by a later one.
func roomTale(name string, format v1alpha1.PayloadFormat, body, accepted string) tale {
	return tale{
		webhook: name, events: 1, change: ofFormat(format), stored: []string{"Paused"}, goesOn: []string{"Paused"},
		person: enable, finalRequests: 1, body: body, accepted: accepted,
	}
}

func scopedTo(webhook string) func(e *v1alpha1.WebhookEvent) {
	return func(e *v1alpha1.WebhookEvent) { e.Spec.ResourcePath = "/" + webhook + "/web" }
}

// observedEdit waits until the operator has seen an edit.
func (b *testbed) observedEdit(w *v1alpha1.Webhook) {
	b.t.Helper()
	b.Eventually(func(g Gomega) {
		g.Expect(b.client.Get(b.ctx, client.ObjectKeyFromObject(w), w)).To(Succeed())
		g.Expect(w.Status.ObservedGeneration).To(Equal(w.Generation))
	}).Should(Succeed())
}

// reasons are those of a Webhook's deliveries, in the order of their events' names.
func (b *testbed) reasons(w *v1alpha1.Webhook) []string {
	all := b.deliveriesOf(w)
	slices.SortFunc(all, func(x, y v1alpha1.WebhookDelivery) int {
		return strings.Compare(x.Spec.EventRef.Name, y.Spec.EventRef.Name)
	})
	var reasons []string
	for _, d := range all {
		reasons = append(reasons, deliveredReason(&d))
	}
	return reasons
}

// fits are reasons as they are to be.
func fits(want []string) OmegaMatcher {
	return WithTransform(func(got []string) []string {
		got = slices.Clone(got)
		for i := range got {
			if i < len(want) && want[i] == anything {
				got[i] = anything
			}
		}
		return got
	}, Equal(want))
}

// TestStoreOfARelease goes on with what the operator of the release has left.
func TestStoreOfARelease(t *testing.T) {
	file := filepath.Join("testdata", "store-"+release+".json.gz")
	if *writeStore {
		makeStore(t, file)
	}
	b := newTestbed(t)
	b.flags = func(o *Options) { o.EventTTL = 7 * 24 * time.Hour }
	b.loadStore(file)
	webhooks := map[string]*v1alpha1.Webhook{}
	for _, tale := range tales {
		w := &v1alpha1.Webhook{ObjectMeta: metav1.ObjectMeta{Namespace: b.namespace, Name: tale.webhook}}
		err := b.client.Get(b.ctx, client.ObjectKeyFromObject(w), w)
		b.Expect(client.IgnoreNotFound(err)).To(Succeed())
		b.Expect(apierrors.IsNotFound(err)).To(Equal(tale.deleted), tale.webhook)
		webhooks[tale.webhook] = w
		b.Expect(b.reasons(w)).To(fits(tale.stored), tale.webhook)
		b.receiver.Script("/"+tale.webhook, receiver.Answer{Body: tale.body})
		for _, d := range b.deliveriesOf(w) {
			e := &v1alpha1.WebhookEvent{}
			if b.client.Get(b.ctx, client.ObjectKey{Namespace: b.namespace, Name: d.Spec.EventRef.Name}, e) == nil && !tale.deleted { // a test has none
				b.Expect(d.Name).To(Equal(delivery.Name(e, w)))
			}
		}
	}
	b.start()
	for _, tale := range tales {
		w := webhooks[tale.webhook]
		b.Eventually(func() []string { return b.reasons(w) }).Should(fits(tale.goesOn), tale.webhook)
	}
	for _, tale := range tales {
		if tale.person != nil {
			tale.person(b, webhooks[tale.webhook])
		}
	}
	for _, tale := range tales {
		w := webhooks[tale.webhook]
		requests := tale.requests
		if tale.person != nil {
			b.Eventually(func() []string { return b.reasons(w) }).Should(HaveEach("Accepted"), tale.webhook)
			requests = tale.finalRequests
		}
		arrived := b.receiver.Arrivals("/" + tale.webhook)
		b.Expect(arrived).To(HaveLen(requests), tale.webhook)
		for _, a := range arrived {
			b.Expect(string(a.Body)).To(ContainSubstring(tale.accepted), tale.webhook)
		}
		want := tale.result
		if want == "" {
			want = v1alpha1.EventSucceeded
		}
		if tale.events > 0 && (tale.person != nil || tale.requests > 0 || tale.result != "") {
			for i := range tale.events {
				b.settled(fmt.Sprintf("%s-%d", tale.webhook, i), want)
			}
		}
	}
}

// makeStore has an operator store each tale, and writes the file.
func makeStore(t *testing.T, file string) {
	b := newTestbed(t)
	b.tune = func(op *operator) {
		op.setMaxWaiting(6)
		sender := sending.New(sending.Options{Control: func(_, address string, _ syscall.RawConn) error {
			if strings.HasPrefix(address, "127.0.0.2:") {
				return errors.New("127.0.0.2 is denied: loopback; --egress-allow=127.0.0.2 would allow it")
			}
			return nil
		}})
		t.Cleanup(sender.Close)
		op.deliveries.Sender = sender
	}
	b.start()
	b.roomSecrets()
	var webhooks []*v1alpha1.Webhook
	for _, tale := range tales {
		switch {
		case tale.script == "hang":
			b.receiver.Script("/"+tale.webhook, receiver.Answer{Hang: true})
		case tale.script == "429:3600":
			b.receiver.Script("/"+tale.webhook, receiver.Answer{Status: http.StatusTooManyRequests, Header: http.Header{"Retry-After": {"3600"}}})
		case tale.script != "":
			b.receiver.Script("/"+tale.webhook, receiver.MustParseScript(tale.script)...)
		}
		w := b.webhook(tale.webhook, func(w *v1alpha1.Webhook) {
			w.Spec.Scope = "/" + w.Name
			if w.Name == "denied" {
				w.Spec.URL = strings.Replace(w.Spec.URL, "127.0.0.1", "127.0.0.2", 1)
			}
			if tale.change != nil {
				tale.change(w)
			}
		})
		webhooks = append(webhooks, w)
		b.observed(w)
		for i := range tale.events {
			name := fmt.Sprintf("%s-%d", tale.webhook, i)
			change := tale.event
			if change == nil {
				change = func(*v1alpha1.WebhookEvent) {}
			}
			b.event(name, scopedTo(tale.webhook), change)
			// One after the other: what becomes of one decides on the next.
			if tale.events > 1 && tale.stored[i] != anything {
				b.Eventually(func() int { return len(b.deliveriesOf(w)) }).Should(Equal(i + 1))
			}
		}
		if tale.then != nil {
			tale.then(b, w)
		}
		if tale.webhook != "busy" && tale.webhook != "limited" {
			b.Eventually(func() []string { return b.reasons(w) }).WithTimeout(2*time.Minute).Should(fits(tale.stored), tale.webhook)
		}
		if tale.result != "" {
			b.settled(tale.webhook+"-0", tale.result)
		}
	}
	b.stop()
	for i, tale := range tales {
		if tale.off != nil {
			tale.off(b, webhooks[i])
		}
	}
	b.writeStore(file)
}

// roomSecrets makes the Secrets that Webhooks of the store name: a dump has none.
func (b *testbed) roomSecrets() {
	for _, tale := range tales {
		if tale.body != "" || tale.webhook == "teams" {
			b.secret("room-"+tale.webhook, map[string]string{"url": b.receiver.URL("/" + tale.webhook)})
		}
	}
}

// timestamps are those of objects, and of what is in them. The names of deliveries have the
// second in which the event was created, too.
var (
	timestamps = regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{6})?Z`)
	names      = regexp.MustCompile(`-[0-9a-f]{8}-[0-9a-f]{16}\b`)
)

// shifted moves all times of a text by whole seconds.
func shifted(text []byte, by time.Duration) []byte {
	text = timestamps.ReplaceAllFunc(text, func(found []byte) []byte {
		at, err := time.Parse(time.RFC3339Nano, string(found))
		if err != nil {
			return found
		}
		layout := time.RFC3339
		if bytes.ContainsRune(found, '.') {
			layout = metav1.RFC3339Micro
		}
		return []byte(at.Add(by).UTC().Format(layout))
	})
	return names.ReplaceAllFunc(text, func(found []byte) []byte {
		second, err := strconv.ParseInt(string(found[1:9]), 16, 64)
		if err != nil {
			return found
		}
		return append(fmt.Appendf(nil, "-%08x-", second+int64(by.Seconds())), found[10:]...)
	})
}

// writeStore writes the objects of the namespace, one a line, as etcd has them. zcat shows
// them.
func (b *testbed) writeStore(file string) {
	var text bytes.Buffer
	for _, kind := range []string{"Webhook", "WebhookEvent", "WebhookDelivery"} {
		var list unstructured.UnstructuredList
		list.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind(kind + "List"))
		b.Expect(b.client.List(b.ctx, &list, client.InNamespace(b.namespace))).To(Succeed())
		slices.SortFunc(list.Items, func(x, y unstructured.Unstructured) int { return strings.Compare(x.GetName(), y.GetName()) })
		for _, u := range list.Items {
			u.SetResourceVersion("") // etcd keeps it beside the object
			data, err := json.Marshal(u.Object)
			b.Expect(err).NotTo(HaveOccurred())
			text.Write(append(data, '\n'))
		}
	}
	data := bytes.ReplaceAll(text.Bytes(), []byte(b.namespace), []byte("NAMESPACE"))
	_, port, _ := strings.Cut(b.receiver.Addr(), ":")
	data = bytes.ReplaceAll(data, []byte(":"+port), []byte(":PORT"))
	data = shifted(data, time.Until(storeEpoch).Truncate(time.Second))
	b.Expect(os.MkdirAll(filepath.Dir(file), 0o755)).To(Succeed())
	var small bytes.Buffer
	w := gzip.NewWriter(&small)
	_, err := w.Write(data)
	b.Expect(errors.Join(err, w.Close())).To(Succeed())
	b.Expect(os.WriteFile(file, small.Bytes(), 0o644)).To(Succeed())
}

// loadStore puts the objects of a file into etcd as they are: with their UIDs, which names
// and references are made of, their times and their status.
func (b *testbed) loadStore(file string) {
	small, err := os.ReadFile(file)
	b.Expect(err).NotTo(HaveOccurred())
	r, err := gzip.NewReader(bytes.NewReader(small))
	b.Expect(err).NotTo(HaveOccurred())
	data, err := io.ReadAll(r)
	b.Expect(err).NotTo(HaveOccurred())
	data = bytes.ReplaceAll(data, []byte("NAMESPACE"), []byte(b.namespace))
	_, port, _ := strings.Cut(b.receiver.Addr(), ":")
	data = bytes.ReplaceAll(data, []byte(":PORT"), []byte(":"+port))
	data = shifted(data, (time.Since(storeEpoch) - storeAge).Truncate(time.Second))
	b.roomSecrets()
	etcd, loaded := plane.EtcdClient(), 0
	for line := range bytes.Lines(data) {
		var u unstructured.Unstructured
		b.Expect(json.Unmarshal(line, &u.Object)).To(Succeed())
		resource := map[string]string{"Webhook": "webhooks", "WebhookEvent": "webhookevents", "WebhookDelivery": "webhookdeliveries"}[u.GetKind()]
		key := fmt.Sprintf("/registry/%s/%s/%s/%s", v1alpha1.GroupVersion.Group, resource, u.GetNamespace(), u.GetName())
		b.Expect(etcd.Put(b.ctx, key, bytes.TrimSpace(line))).To(Succeed())
		loaded++
	}
	b.Expect(loaded).To(BeNumerically(">", len(tales)))
	// Until the API server's cache has them.
	b.Eventually(func() int {
		n := len(b.deliveries())
		for _, list := range []client.ObjectList{&v1alpha1.WebhookList{}, &v1alpha1.WebhookEventList{}} {
			b.Expect(b.client.List(b.ctx, list, client.InNamespace(b.namespace))).To(Succeed())
			switch list := list.(type) {
			case *v1alpha1.WebhookList:
				n += len(list.Items)
			case *v1alpha1.WebhookEventList:
				n += len(list.Items)
			}
		}
		return n
	}).Should(Equal(loaded))
}
