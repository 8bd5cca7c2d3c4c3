package horizon_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	horizon "github.com/horizoncd/webhook-operator/test/horizon"
	"github.com/horizoncd/webhook-operator/test/receiver"
)

const patience = 20 * time.Second

// everything is a scope that covers webhooks, as the guide has it configured.
var everything = map[string][]string{"webhooks": {
	"groups/webhooks", "applications/webhooks", "clusters/webhooks", "webhooks", "webhooks/logs", "webhooklogs", "webhooklogs/resend",
}}

func start(t *testing.T, o horizon.Options) *horizon.Horizon {
	t.Helper()
	if o.Idle == 0 {
		o.Idle = 5 * time.Millisecond
	}
	if o.Scopes == nil {
		o.Scopes = everything
	}
	h, err := horizon.Start(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.Close() })
	return h
}

func newReceiver(t *testing.T, o receiver.Options) *receiver.Receiver {
	t.Helper()
	r, err := receiver.Start(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() })
	return r
}

// until waits for a condition.
func until(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !condition(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain until %s", what)
		}
	}
}

// world is a Horizon with an application of two groups, its cluster, and the root's webhook.
type world struct {
	*horizon.Horizon
	receiver                                  *receiver.Receiver
	music, player, web, cluster, webhook, zoe int64
}

func newWorld(t *testing.T, o horizon.Options) *world {
	t.Helper()
	w := &world{Horizon: start(t, o), receiver: newReceiver(t, receiver.Options{})}
	w.music = w.AddGroup(0, "music")
	w.player = w.AddGroup(w.music, "player")
	w.web = w.AddApplication(w.player, "web", "P1")
	w.cluster = w.AddCluster(w.web, "web-prod", "online")
	w.zoe = w.AddUser("Zoë", "zoe@example.com")
	w.webhook = w.AddWebhook(horizon.Groups, 0, horizon.Webhook{
		Enabled: true, URL: w.receiver.URL("/hook"), Secret: "a-secret", Triggers: []string{"*"},
	})
	return w
}

func (w *world) settle(t *testing.T) {
	t.Helper()
	until(t, "it has told everything", w.Settled)
}

// ask makes a request, and reads the answer into data.
func ask(t *testing.T, h *horizon.Horizon, token, method, path, content string, data any) (status int, text string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, h.URL(path), strings.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	answer, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	if data != nil {
		wrapped := struct{ Data any }{data}
		if err := json.Unmarshal(body, &wrapped); err != nil {
			t.Fatalf("%s: %v", body, err)
		}
	}
	return answer.StatusCode, string(body)
}

func TestSends(t *testing.T) {
	w := newWorld(t, horizon.Options{})
	event := w.Record(horizon.Event{Type: "applications_created", ResourceID: w.web, User: w.zoe})
	w.settle(t)
	got := w.receiver.Arrivals("/hook")
	if len(got) != 1 {
		t.Fatalf("%d requests", len(got))
	}
	log := w.Logs(w.webhook)[0]
	want := fmt.Sprintf(`{"id":%d,"eventID":%d,"webhookID":%d,"application":{"id":%d,"name":"web","priority":"P1"},`+
		`"eventType":"applications_created","user":{"id":%d,"name":"Zoë","email":"zoe@example.com"},"extra":""}`,
		log.ID, event, w.webhook, w.web, w.zoe)
	if diff := cmp.Diff(want, string(got[0].Body)); diff != "" {
		t.Errorf("body: %s", diff)
	}
	for name, want := range map[string]string{
		"X-Horizon-Webhook-Secret": "a-secret", "Content-Type": "application/json;charset=utf-8", "User-Agent": "Go-http-client/1.1",
	} {
		if got := got[0].Header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if log.Status != horizon.Success {
		t.Errorf("the log is %s", log.Status)
	}
}

// Answers from 200 to 399 are a success, a 302 is followed by a GET, and what failed is not
// sent again.
func TestAnswers(t *testing.T) {
	w := newWorld(t, horizon.Options{SendTimeout: 200 * time.Millisecond})
	for name, tc := range map[string]struct {
		answer receiver.Answer
		want   string
	}{
		"200":     {receiver.Answer{Body: "thanks"}, horizon.Success},
		"204":     {receiver.Answer{Status: 204}, horizon.Success},
		"304":     {receiver.Answer{Status: 304}, horizon.Success},
		"400":     {receiver.Answer{Status: 400}, horizon.Failed},
		"503":     {receiver.Answer{Status: 503}, horizon.Failed},
		"reset":   {receiver.Answer{Reset: true}, horizon.Failed},
		"timeout": {receiver.Answer{Hang: true}, horizon.Failed},
		"302":     {receiver.Answer{Status: 302, Header: http.Header{"Location": {"/elsewhere"}}}, horizon.Success},
	} {
		t.Run(name, func(t *testing.T) {
			w.receiver.Forget()
			w.receiver.Script("/hook", tc.answer)
			event := w.Record(horizon.Event{Type: "clusters_deployed", ResourceID: w.cluster})
			w.settle(t)
			for _, l := range w.Logs(w.webhook) {
				if l.EventID == event && l.Status != tc.want {
					t.Errorf("%s, want %s: %s", l.Status, tc.want, l.ErrorMessage)
				}
				if l.EventID == event && l.ResponseBody != tc.answer.Body {
					t.Errorf("response %q", l.ResponseBody)
				}
			}
			elsewhere := w.receiver.Arrivals("/elsewhere")
			if followed := len(elsewhere) == 1 && elsewhere[0].Method == http.MethodGet && len(elsewhere[0].Body) == 0; followed != (name == "302") {
				t.Errorf("%d requests elsewhere", len(elsewhere))
			}
			time.Sleep(30 * time.Millisecond) // six rounds
			if n := len(w.receiver.Arrivals("/hook")); n != 1 {
				t.Errorf("sent %d times", n)
			}
		})
	}
}

// A webhook gets one request at a time; another one does not wait for it.
func TestOneAtATime(t *testing.T) {
	w := newWorld(t, horizon.Options{})
	go1 := make(chan struct{})
	w.receiver.Script("/hook", receiver.Answer{Until: go1})
	second := w.AddWebhook(horizon.Applications, w.web, horizon.Webhook{
		Enabled: true, URL: w.receiver.URL("/second"), Triggers: []string{"clusters_deployed"},
	})
	w.Kill()
	for range 20 {
		w.Record(horizon.Event{Type: "clusters_deployed", ResourceID: w.cluster})
	}
	if err := w.Restart(); err != nil { // which reads them at once
		t.Fatal(err)
	}
	until(t, "the other webhook has all", func() bool {
		return len(w.Logs(second)) == 20 && !slices.ContainsFunc(w.Logs(second), func(l horizon.Log) bool { return l.Status != horizon.Success })
	})
	if n := w.receiver.Tally("/hook").InFlight; n != 1 {
		t.Errorf("%d requests at a time", n)
	}
	close(go1)
	w.settle(t)
	if n := w.receiver.Tally("/hook").MostInFlight; n != 1 {
		t.Errorf("%d requests at a time", n)
	}
	var order []int64
	for _, a := range w.receiver.Arrivals("/second") {
		var b struct{ EventID int64 }
		if err := json.Unmarshal(a.Body, &b); err != nil {
			t.Fatal(err)
		}
		order = append(order, b.EventID)
		if got, ok := a.Header["X-Horizon-Webhook-Secret"]; !ok || got[0] != "" {
			t.Errorf("the secret of a webhook without one: %q", got)
		}
	}
	if len(order) != 20 || slices.IsSorted(order) {
		t.Errorf("the events came in the order %v", order)
	}
}

// A webhook is told of what is in its resource, from its own creation on.
func TestWhoIsTold(t *testing.T) {
	now := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	w := newWorld(t, horizon.Options{Now: func() time.Time { return now }})
	other := w.AddApplication(w.music, "other", "P1")
	webhooks := map[string]int64{}
	for name, of := range map[string]struct {
		kind string
		id   int64
		hook horizon.Webhook
	}{
		"music":    {horizon.Groups, w.music, horizon.Webhook{Enabled: true, Triggers: []string{"*"}}},
		"player":   {horizon.Groups, w.player, horizon.Webhook{Enabled: true, Triggers: []string{"*"}}},
		"web":      {horizon.Applications, w.web, horizon.Webhook{Enabled: true, Triggers: []string{"*"}}},
		"prod":     {horizon.Clusters, w.cluster, horizon.Webhook{Enabled: true, Triggers: []string{"*"}}},
		"other":    {horizon.Applications, other, horizon.Webhook{Enabled: true, Triggers: []string{"*"}}},
		"disabled": {horizon.Groups, w.music, horizon.Webhook{Triggers: []string{"*"}}},
		"deployed": {horizon.Groups, w.music, horizon.Webhook{Enabled: true, Triggers: []string{"clusters_created", "clusters_deployed"}}},
	} {
		of.hook.URL = w.receiver.URL("/" + name)
		webhooks[name] = w.AddWebhook(of.kind, of.id, of.hook)
	}
	run := w.AddPipelinerun(horizon.Pipelinerun{ClusterID: w.cluster, Action: "builddeploy"})
	ofApplication := w.AddMember(horizon.Member{ResourceType: horizon.Applications, ResourceID: w.web, Role: "owner", User: w.zoe})
	ofGroup := w.AddMember(horizon.Member{ResourceType: horizon.Groups, ResourceID: w.music, Role: "owner", User: w.zoe})
	gone := w.AddUser("gone", "")
	w.DeleteUser(gone)
	w.Record(horizon.Event{Type: "clusters_created", ResourceID: w.cluster + 1000}) // the first batch
	w.settle(t)
	events := map[string]int64{
		"deployed": w.Record(horizon.Event{Type: "clusters_deployed", ResourceID: w.cluster}),
		"updated":  w.Record(horizon.Event{Type: "applications_updated", ResourceID: w.web}),
		"other":    w.Record(horizon.Event{Type: "applications_updated", ResourceID: other}),
		"executed": w.Record(horizon.Event{Type: "pipelineruns_executed", ResourceID: run}),
		"member":   w.Record(horizon.Event{Type: "members_created", ResourceID: ofApplication}),
		"nobody":   w.Record(horizon.Event{Type: "members_created", ResourceID: ofGroup}),
		"dropped":  w.Record(horizon.Event{Type: "clusters_deployed", ResourceID: w.cluster, User: gone}),
		"restart":  w.Record(horizon.Event{Type: "clsuters_restarted", ResourceID: w.cluster}),
	}
	w.settle(t)
	now = now.Add(time.Second)
	later := w.AddWebhook(horizon.Groups, 0, horizon.Webhook{Enabled: true, URL: w.receiver.URL("/later"), Triggers: []string{"*"}})
	if err := w.Restart(); err != nil { // tells all again but the first batch
		t.Fatal(err)
	}
	w.settle(t)
	if ids := w.EventIDs(later); len(ids) > 0 {
		t.Errorf("a webhook is told of what was before it: %v", ids)
	}
	all := []string{"deployed", "updated", "executed", "member", "restart"}
	for name, want := range map[string][]string{
		"music": append(slices.Clone(all), "other"), "player": all, "web": all, "prod": {"deployed", "executed", "restart"},
		"other": {"other"}, "disabled": {}, "deployed": {"deployed"},
	} {
		ids := []int64{}
		for _, event := range want {
			ids = append(ids, events[event])
		}
		slices.Sort(ids)
		if diff := cmp.Diff(ids, append([]int64{}, w.EventIDs(webhooks[name])...)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

// After a restart nearly everything comes again, as it is now.
func TestRestart(t *testing.T) {
	w := newWorld(t, horizon.Options{})
	first := w.Record(horizon.Event{Type: "applications_created", ResourceID: w.web, User: w.zoe})
	w.settle(t)
	second := w.Record(horizon.Event{Type: "applications_updated", ResourceID: w.web, User: w.zoe})
	w.settle(t)
	w.SetPriority(w.web, "P0")
	w.Kill()
	w.Kill()
	if answer, err := http.Get(w.URL("/health")); err == nil {
		_ = answer.Body.Close()
		t.Error("it answers after it was killed")
	}
	if err := w.Restart(); err != nil {
		t.Fatal(err)
	}
	w.settle(t)
	logs := w.Logs(w.webhook)
	if len(logs) != 3 || logs[0].EventID != first || logs[1].EventID != second || logs[2].EventID != second {
		t.Fatalf("logs %+v", logs)
	}
	if logs[1].Body == logs[2].Body || !strings.Contains(logs[2].Body, `"P0"`) {
		t.Errorf("the second body is %s", logs[2].Body)
	}
	if diff := cmp.Diff([]int64{first, second}, w.EventIDs(w.webhook)); diff != "" {
		t.Errorf("events: %s", diff)
	}
}

// What was being sent when it was killed still waits, and comes again.
func TestKillWhileSending(t *testing.T) {
	w := newWorld(t, horizon.Options{})
	w.receiver.Script("/hook", receiver.Answer{Hang: true}, receiver.Answer{})
	w.Record(horizon.Event{Type: "applications_created", ResourceID: w.web})
	until(t, "the request has come", func() bool { return w.receiver.Tally("/hook").Requests == 1 })
	w.Kill()
	if l := w.Logs(w.webhook)[0]; l.Status != horizon.Waiting {
		t.Errorf("the log is %s", l.Status)
	}
	if err := w.Restart(); err != nil {
		t.Fatal(err)
	}
	w.settle(t)
	if l := w.Logs(w.webhook); len(l) != 1 || l[0].Status != horizon.Success {
		t.Errorf("logs %+v", l)
	}
}

// A number that commits after a higher one is never told.
func TestLateCommit(t *testing.T) {
	w := newWorld(t, horizon.Options{})
	late := w.Reserve()
	second := w.Record(horizon.Event{Type: "applications_updated", ResourceID: w.web})
	w.settle(t)
	w.Commit(late, horizon.Event{Type: "applications_created", ResourceID: w.web})
	third := w.Record(horizon.Event{Type: "applications_updated", ResourceID: w.web})
	w.settle(t)
	if diff := cmp.Diff([]int64{second, third}, w.EventIDs(w.webhook)); diff != "" {
		t.Errorf("events: %s", diff)
	}
}

// Only the machine's own roots vouch for a receiver, unless nobody asks them.
func TestCertificates(t *testing.T) {
	secure := newReceiver(t, receiver.Options{TLS: true})
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(secure.CertificatePEM())
	for name, tc := range map[string]struct {
		roots  *x509.CertPool
		verify bool
		want   string
	}{
		"known":       {roots, true, horizon.Success},
		"unknown":     {x509.NewCertPool(), true, horizon.Failed},
		"not checked": {x509.NewCertPool(), false, horizon.Success},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, horizon.Options{Roots: tc.roots})
			id := w.AddWebhook(horizon.Groups, 0, horizon.Webhook{
				Enabled: true, URL: secure.URL("/"), SSLVerifyEnabled: tc.verify, Triggers: []string{"*"},
			})
			w.Record(horizon.Event{Type: "applications_created", ResourceID: w.web})
			w.settle(t)
			if l := w.Logs(id)[0]; l.Status != tc.want {
				t.Errorf("%s: %s", l.Status, l.ErrorMessage)
			}
		})
	}
}

func TestScopes(t *testing.T) {
	w := newWorld(t, horizon.Options{})
	w.Record(horizon.Event{Type: "applications_created", ResourceID: w.web})
	w.settle(t)
	log := w.Logs(w.webhook)[0].ID
	shipped := w.Token("groups:read-write", "applications:read-write", "clusters:read-write")
	full := w.Token("webhooks", "applications:read-only", "clusters:read-only", "groups:read-only")
	revoked := w.Token("webhooks")
	w.Revoke(revoked)
	webhooks := []string{
		"/apis/core/v2/groups/0/webhooks", fmt.Sprintf("/apis/core/v2/webhooks/%d", w.webhook),
		fmt.Sprintf("/apis/core/v2/applications/%d/webhooks", w.web), fmt.Sprintf("/apis/core/v2/clusters/%d/webhooks", w.cluster),
		fmt.Sprintf("/apis/core/v2/webhooks/%d/logs", w.webhook), fmt.Sprintf("/apis/core/v2/webhooklogs/%d", log),
	}
	others := []string{
		"/apis/core/v2/groups/0/groups", fmt.Sprintf("/apis/core/v2/applications/%d/clusters", w.web),
		fmt.Sprintf("/apis/core/v2/clusters/%d", w.cluster), fmt.Sprintf("/apis/core/v2/applications/%d", w.web),
	}
	front := []string{
		"/apis/front/v2/groups/0/children", "/apis/front/v2/clusters/web-prod", "/apis/front/v2/applications/searchapplications?filter=we",
	}
	check := func(who, token string, want int, paths ...string) {
		t.Helper()
		for _, path := range paths {
			if status, text := ask(t, w.Horizon, token, http.MethodGet, path, "", nil); status != want {
				t.Errorf("%s: %s: %d, want %d: %s", who, path, status, want, text)
			}
		}
	}
	check("shipped scopes", shipped, http.StatusForbidden, webhooks...)
	check("shipped scopes", shipped, http.StatusOK, others...)
	check("all scopes", full, http.StatusOK, webhooks...)
	check("all scopes", full, http.StatusOK, others...)
	check("a revoked token", revoked, http.StatusUnauthorized, slices.Concat(webhooks, others)...)
	check("nonsense", "a b", http.StatusUnauthorized, slices.Concat(webhooks, others, front)...)
	for _, token := range []string{shipped, full, revoked, "anything"} { // which is not looked at there
		check("front", token, http.StatusOK, front...)
	}
	check("a list that no scope names", full, http.StatusForbidden, "/apis/core/v2/supportevents")
	w.Configure(nil)
	check("a scope that is gone", full, http.StatusForbidden, webhooks...)
}

// The steps that a person takes: log in, make a robot's token, make the webhook.
func TestSetUp(t *testing.T) {
	w := newWorld(t, horizon.Options{})
	jar := ""
	post := func(path, content string, data any) int {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, w.URL(path), strings.NewReader(content))
		if err != nil {
			t.Fatal(err)
		}
		if jar != "" {
			req.Header.Set("Cookie", jar)
		}
		answer, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		if cookies := answer.Cookies(); len(cookies) > 0 {
			jar = cookies[0].Name + "=" + cookies[0].Value
		}
		wrapped := struct{ Data any }{data}
		if err := json.NewDecoder(answer.Body).Decode(&wrapped); err != nil {
			t.Fatal(err)
		}
		return answer.StatusCode
	}
	const token = `{"name":"bridge","role":"owner","scopes":["webhooks"],"expiresAt":"never"}`
	if status := post("/apis/core/v2/groups/0/accesstokens", token, nil); status != http.StatusUnauthorized {
		t.Errorf("without a session: %d", status)
	}
	if status := post("/apis/core/v2/users/login", `{"email":"test@noreply.com","password":"`+horizon.AdminPassword+`"}`, nil); status != http.StatusUnauthorized {
		t.Errorf("a password in clear: %d", status)
	}
	sum := sha256.Sum256([]byte(horizon.AdminPassword))
	if status := post("/apis/core/v2/users/login", `{"email":"test@noreply.com","password":"`+hex.EncodeToString(sum[:])+`"}`, nil); status != http.StatusOK {
		t.Fatalf("logging in: %d", status)
	}
	var robot struct{ Token string }
	if status := post("/apis/core/v2/groups/0/accesstokens", token, &robot); status != http.StatusOK || !strings.HasPrefix(robot.Token, "ha_") {
		t.Fatalf("making a token: %d %q", status, robot.Token)
	}
	var made struct{ ID int64 }
	create := `{"enabled":true,"url":%q,"sslVerifyEnabled":%t,"secret":"s","triggers":[%q]}`
	for _, wrong := range []string{
		fmt.Sprintf(create, "ftp://a", false, "*"), fmt.Sprintf(create, "http://a", true, "*"), fmt.Sprintf(create, "http://a", false, "clusters_restarted"),
	} {
		if status, _ := ask(t, w.Horizon, robot.Token, http.MethodPost, "/apis/core/v2/groups/0/webhooks", wrong, nil); status != http.StatusBadRequest {
			t.Errorf("%s: %d", wrong, status)
		}
	}
	if status, text := ask(t, w.Horizon, robot.Token, http.MethodPost, "/apis/core/v2/groups/0/webhooks",
		fmt.Sprintf(create, w.receiver.URL("/bridge"), false, "*"), &made); status != http.StatusOK {
		t.Fatalf("making a webhook: %d %s", status, text)
	}
	w.Record(horizon.Event{Type: "applications_created", ResourceID: w.web})
	w.settle(t)
	if n := len(w.receiver.Arrivals("/bridge")); n != 1 {
		t.Errorf("the webhook got %d requests", n)
	}
	path := fmt.Sprintf("/apis/core/v2/webhooks/%d", made.ID)
	var told struct{ SSLVerifyEnabled, Enabled bool }
	ask(t, w.Horizon, robot.Token, http.MethodPut, path, `{"enabled":false,"sslVerifyEnabled":true,"triggers":[]}`, &told)
	if !told.SSLVerifyEnabled || told.Enabled {
		t.Errorf("the answer to PUT: %+v", told)
	}
	if stored, _ := w.Webhook(made.ID); stored.SSLVerifyEnabled || stored.Enabled || len(stored.Triggers) != 1 || stored.Secret != "s" {
		t.Errorf("what a PUT stored: %+v", stored)
	}
	if status, _ := ask(t, w.Horizon, robot.Token, http.MethodDelete, path, "", nil); status != http.StatusOK {
		t.Errorf("deleting it: %d", status)
	}
	if status, _ := ask(t, w.Horizon, robot.Token, http.MethodGet, path, "", nil); status != http.StatusNotFound {
		t.Errorf("after it was deleted: %d", status)
	}
}

// One log whose event lost its object makes its page a 404; alone it can be read.
func TestBadLog(t *testing.T) {
	now := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	w := newWorld(t, horizon.Options{Now: func() time.Time { now = now.Add(time.Millisecond); return now }})
	token := w.Token("webhooks")
	lost := w.AddCluster(w.web, "lost", "online")
	for i := range 30 {
		id := w.cluster
		if i == 17 {
			id = lost
		}
		w.Record(horizon.Event{Type: "clusters_deployed", ResourceID: id})
	}
	w.settle(t)
	w.Purge(horizon.Clusters, lost)
	page := func(number, size int) (int, []map[string]any) {
		var list struct {
			Total int
			Items []map[string]any
		}
		path := fmt.Sprintf("/apis/core/v2/webhooks/%d/logs?pageNumber=%d&pageSize=%d", w.webhook, number, size)
		status, _ := ask(t, w.Horizon, token, http.MethodGet, path, "", &list)
		if status == http.StatusOK && list.Total != 30 {
			t.Errorf("total %d", list.Total)
		}
		return status, list.Items
	}
	bad := 0
	for number := 1; number <= 3; number++ {
		if status, items := page(number, 10); status == http.StatusNotFound {
			bad++
		} else if len(items) != 10 {
			t.Errorf("page %d has %d logs", number, len(items))
		}
	}
	single := 0
	for number := 1; number <= 30; number++ {
		status, items := page(number, 1)
		switch {
		case status == http.StatusNotFound:
			single++
		case len(items) != 1 || items[0]["resourceName"] != "web-prod" || items[0]["eventType"] != "clusters_deployed":
			t.Errorf("log %d: %v", number, items)
		}
	}
	if bad != 1 || single != 1 {
		t.Errorf("%d pages of ten and %d single logs are not found", bad, single)
	}
	for _, l := range w.Logs(w.webhook) {
		var one map[string]any
		status, text := ask(t, w.Horizon, token, http.MethodGet, fmt.Sprintf("/apis/core/v2/webhooklogs/%d", l.ID), "", &one)
		if status != http.StatusOK || one["requestData"] != l.Body || one["eventType"] != "" {
			t.Errorf("log %d: %d %s", l.ID, status, text)
		}
	}
	if status, _ := page(4, 10); status != http.StatusOK {
		t.Errorf("a page behind the last one: %d", status)
	}
}

// Members are looked up with GitLab, which may be down; the other paths are not.
func TestPaths(t *testing.T) {
	w := newWorld(t, horizon.Options{})
	token := w.Token("applications:read-only", "clusters:read-only")
	get := func(path string, data any) int {
		t.Helper()
		status, _ := ask(t, w.Horizon, token, http.MethodGet, path, "", data)
		return status
	}
	var one struct {
		ID       int64
		FullPath string
	}
	if get("/apis/front/v2/clusters/web-prod", &one); one.ID != w.cluster || one.FullPath != "/music/player/web/web-prod" {
		t.Errorf("cluster: %+v", one)
	}
	w.Transfer(horizon.Applications, w.web, w.music)
	w.Delete(horizon.Clusters, w.cluster)
	again := w.AddCluster(w.web, "web-prod", "online")
	if get("/apis/front/v2/clusters/web-prod", &one); one.ID != again || one.FullPath != "/music/web/web-prod" {
		t.Errorf("cluster of the same name: %+v", one)
	}
	if status := get(fmt.Sprintf("/apis/core/v2/clusters/%d", w.cluster), nil); status != http.StatusNotFound {
		t.Errorf("a deleted cluster: %d", status)
	}
	w.AddApplication(w.music, "web-shop", "P1")
	var found struct {
		Total int
		Items []struct{ FullPath string }
	}
	if get("/apis/front/v2/applications/searchapplications?filter=web&pageSize=1&pageNumber=2", &found); found.Total != 2 || len(found.Items) != 1 || found.Items[0].FullPath != "/music/web" {
		t.Errorf("applications: %+v", found)
	}
	if status := get("/apis/front/v2/groups/0/children?pageSize=51", nil); status != http.StatusBadRequest {
		t.Errorf("a page of 51: %d", status)
	}
	if status := get("/apis/front/v2/groups/99/children", nil); status != http.StatusNotFound {
		t.Errorf("a group that is not there: %d", status)
	}
	w.GitLabDown(true)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, w.URL(fmt.Sprintf("/apis/core/v2/applications/%d", w.web)), &bytes.Buffer{})
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	if answer, err := http.DefaultClient.Do(req); err == nil {
		_ = answer.Body.Close()
		t.Error("GitLab is down, and there is an answer")
	}
	if get("/apis/front/v2/clusters/web-prod", &one); one.ID != again {
		t.Errorf("cluster while GitLab is down: %+v", one)
	}
	w.GitLabDown(false)
	if get(fmt.Sprintf("/apis/core/v2/applications/%d", w.web), &one); one.FullPath != "/music/web" {
		t.Errorf("application: %+v", one)
	}
	w.Intercept(func(rw http.ResponseWriter, r *http.Request) bool {
		if strings.HasSuffix(r.URL.Path, "/web-prod") {
			rw.WriteHeader(http.StatusBadGateway)
			return true
		}
		return false
	})
	if status := get("/apis/front/v2/clusters/web-prod", nil); status != http.StatusBadGateway {
		t.Errorf("an intercepted request: %d", status)
	}
}

// Resending makes another log of the same event.
func TestResend(t *testing.T) {
	w := newWorld(t, horizon.Options{})
	w.receiver.Script("/hook", receiver.Answer{Status: 500}, receiver.Answer{})
	w.Record(horizon.Event{Type: "applications_created", ResourceID: w.web})
	w.settle(t)
	log := w.Logs(w.webhook)[0]
	status, text := ask(t, w.Horizon, w.Token("webhooks"), http.MethodPost, fmt.Sprintf("/apis/core/v2/webhooklogs/%d/resend", log.ID), "", nil)
	if status != http.StatusOK {
		t.Fatalf("%d %s", status, text)
	}
	w.settle(t)
	logs := w.Logs(w.webhook)
	if len(logs) != 2 || logs[0].Status != horizon.Failed || logs[1].Status != horizon.Success || logs[0].EventID != logs[1].EventID {
		t.Errorf("logs: %+v", logs)
	}
}
