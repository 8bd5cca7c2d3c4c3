package horizon_test

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/horizoncd/webhook-operator/internal/horizon"
	fake "github.com/horizoncd/webhook-operator/test/horizon"
	"github.com/horizoncd/webhook-operator/test/receiver"
)

// scopes is what the guide has configured.
var scopes = map[string][]string{"webhooks": {
	"groups/webhooks", "applications/webhooks", "clusters/webhooks", "webhooks", "webhooks/logs", "webhooklogs", "webhooklogs/resend",
}}

func start(t *testing.T, o fake.Options) *fake.Horizon {
	t.Helper()
	o.Scopes, o.Idle = scopes, 5*time.Millisecond
	h, err := fake.Start(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.Close() })
	return h
}

func static(token string) horizon.TokenSource { return func() (string, error) { return token, nil } }

// connect returns a client with all scopes.
func connect(t *testing.T, h *fake.Horizon, options ...horizon.Option) *horizon.Client {
	t.Helper()
	token := h.Token("webhooks", "groups:read-only", "applications:read-only", "clusters:read-only")
	return newClient(t, h.URL(""), token, options...)
}

func newClient(t *testing.T, address, token string, options ...horizon.Option) *horizon.Client {
	t.Helper()
	c, err := horizon.New(address, static(token), options...)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestWebhooks(t *testing.T) {
	h := start(t, fake.Options{})
	c := connect(t, h)
	web := h.AddApplication(h.AddGroup(0, "music"), "web", "P1")
	id := h.AddWebhook(fake.Applications, web, fake.Webhook{
		Enabled: true, URL: "https://ci.example.com/hook", SSLVerifyEnabled: true, Description: "CI", Secret: "a-secret",
		Triggers: []string{"clusters_deployed", "clusters_freed"},
	})
	all, err := c.Webhooks(t.Context(), horizon.Applications, web)
	if err != nil || len(all) != 1 {
		t.Fatalf("%v, %v", all, err)
	}
	w, err := c.Webhook(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	if w.CreatedAt.IsZero() || w.CreatedAt != all[0].CreatedAt {
		t.Errorf("created %s and %s", w.CreatedAt, all[0].CreatedAt)
	}
	w.CreatedAt, w.UpdatedAt = time.Time{}, time.Time{}
	want := horizon.Webhook{
		ID: id, Enabled: true, URL: "https://ci.example.com/hook", SSLVerifyEnabled: true, Description: "CI", Secret: "a-secret",
		Triggers: []string{"clusters_deployed", "clusters_freed"},
	}
	if diff := cmp.Diff(fields(want), fields(w)); diff != "" {
		t.Errorf("webhook: %s", diff)
	}
	w.Enabled, w.SSLVerifyEnabled, w.Secret = false, false, "another-secret"
	if err := c.PutWebhook(t.Context(), w); err != nil {
		t.Fatal(err)
	}
	want.Enabled, want.Secret = false, "another-secret" // and what is not stored is as it was
	w, err = c.Webhook(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	w.CreatedAt, w.UpdatedAt = time.Time{}, time.Time{}
	if diff := cmp.Diff(fields(want), fields(w)); diff != "" {
		t.Errorf("after PUT: %s", diff)
	}
	for _, kind := range []horizon.Kind{horizon.Groups, horizon.Clusters} {
		if all, err := c.Webhooks(t.Context(), kind, 0); err != nil || len(all) != 0 {
			t.Errorf("%s: %v, %v", kind, all, err)
		}
	}
	if _, err := c.Webhook(t.Context(), id+1); !horizon.IsNotFound(err) {
		t.Errorf("a webhook that is not there: %v", err)
	}
}

// fields are what a webhook has, of a type that prints itself.
func fields(w horizon.Webhook) any {
	type plain horizon.Webhook
	return plain(w)
}

func TestWebhookHidesItself(t *testing.T) {
	w := horizon.Webhook{ID: 7, Secret: "a-secret", URL: "https://chat.example.com/path-secret"}
	data, err := json.Marshal([]any{w, &w})
	if err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprintf("%v %+v %#v %s %q %d %v %s", w, w, w, w, w, w, []horizon.Webhook{w}, data)
	if strings.Contains(text, "secret") || !strings.Contains(text, "webhook 7") {
		t.Error(text)
	}
}

func TestLogs(t *testing.T) {
	h := start(t, fake.Options{})
	c := connect(t, h)
	r, err := receiver.Start(receiver.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() })
	r.Script("/", receiver.Answer{Body: "thanks"}, receiver.Answer{Status: 500, Body: "no"})
	web := h.AddApplication(h.AddGroup(0, "music"), "web", "P1")
	id := h.AddWebhook(fake.Groups, 0, fake.Webhook{Enabled: true, URL: r.URL("/"), Secret: "a-secret", Triggers: []string{"*"}})
	for range 3 {
		h.Record(fake.Event{Type: "applications_updated", ResourceID: web})
	}
	for end := time.Now().Add(20 * time.Second); !h.Settled() || len(h.Logs(id)) < 3; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it was not sent")
		}
	}
	statuses := map[string]int{}
	var events []int64
	for page := 1; page <= 3; page++ {
		logs, total, err := c.Logs(t.Context(), id, page, 2)
		if err != nil || total != 3 || len(logs) != []int{2, 1, 0}[page-1] {
			t.Fatalf("page %d: %d of %d logs, %v", page, len(logs), total, err)
		}
		for _, l := range logs {
			statuses[l.Status]++
			events = append(events, l.EventID)
			if l.EventType != "applications_updated" || l.ResourceType != "applications" || l.ResourceID != web || l.ResourceName != "web" ||
				l.WebhookID != id || l.Created.IsZero() || l.RequestData != "" {
				t.Errorf("%+v", l)
			}
			one, err := c.Log(t.Context(), l.ID)
			if err != nil {
				t.Fatal(err)
			}
			want := fmt.Sprintf(`{"eventID":%d,"webhookID":%d,"application":{"id":%d,"name":"web","priority":"P1"},"eventType":"applications_updated","extra":""}`, l.EventID, id, web)
			if one.RequestData != want || one.Status != l.Status || one.EventID != l.EventID || !one.Created.Equal(l.Created) {
				t.Errorf("%+v", one)
			}
			if response := map[string]string{horizon.StatusSuccess: "thanks", horizon.StatusFailed: "no"}[l.Status]; one.ResponseBody != response {
				t.Errorf("%s: %q", l.Status, one.ResponseBody)
			}
			if (l.ErrorMessage == "") != (l.Status == horizon.StatusSuccess) {
				t.Errorf("%s: error %q", l.Status, l.ErrorMessage)
			}
		}
	}
	slices.Sort(events)
	if diff := cmp.Diff([]int64{1, 2, 3}, events); diff != "" {
		t.Errorf("events: %s", diff)
	}
	if statuses[horizon.StatusSuccess] != 1 || statuses[horizon.StatusFailed] != 2 {
		t.Errorf("statuses %v", statuses)
	}
	h.Purge(fake.Applications, web)
	if _, _, err := c.Logs(t.Context(), id, 1, 2); !horizon.IsNotFound(err) {
		t.Errorf("a page with a bad log: %v", err)
	}
	if _, err := c.Log(t.Context(), 99); !horizon.IsNotFound(err) {
		t.Errorf("a log that is not there: %v", err)
	}
}

func TestPaths(t *testing.T) {
	h := start(t, fake.Options{})
	c := connect(t, h)
	ctx := t.Context()
	music := h.AddGroup(0, "music")
	web := h.AddApplication(music, "web", "P1")
	for i := range 130 { // which the filter finds, too, and which come before it
		h.AddApplication(music, fmt.Sprintf("web-%d", i), "P1")
	}
	prod := h.AddCluster(web, "web-prod", "online")
	for what, path := range map[string]func() (string, error){
		"/music/web":          func() (string, error) { return c.ApplicationPath(ctx, "web", web) },
		"/music/web/web-prod": func() (string, error) { return c.ClusterPath(ctx, "web-prod", prod) },
		"/music/web/":         func() (string, error) { s, err := c.ResourcePath(ctx, horizon.Applications, web); return s + "/", err },
		"/music/web/web-prod/": func() (string, error) {
			s, err := c.ResourcePath(ctx, horizon.Clusters, prod)
			return s + "/", err
		},
	} {
		if got, err := path(); got != what || err != nil {
			t.Errorf("%q, %v, want %s", got, err, what)
		}
	}
	// What was deleted is gone, whoever has its name now.
	h.Delete(fake.Clusters, prod)
	gone := func(when string) {
		t.Helper()
		if path, err := c.ClusterPath(ctx, "web-prod", prod); !horizon.IsNotFound(err) {
			t.Errorf("%s: %q, %v", when, path, err)
		}
	}
	gone("deleted")
	again := h.AddCluster(web, "web-prod", "online")
	gone("deleted and made again")
	if path, err := c.ClusterPath(ctx, "web-prod", again); path != "/music/web/web-prod" || err != nil {
		t.Errorf("made again: %q, %v", path, err)
	}
	h.Delete(fake.Applications, web)
	if path, err := c.ApplicationPath(ctx, "web", web); !horizon.IsNotFound(err) {
		t.Errorf("a deleted application: %q, %v", path, err)
	}
	if path, err := c.ResourcePath(ctx, horizon.Applications, web); !horizon.IsNotFound(err) {
		t.Errorf("a deleted application: %q, %v", path, err)
	}
	if path, err := c.ApplicationPath(ctx, "", again); !horizon.IsNotFound(err) {
		t.Errorf("no name: %q, %v", path, err)
	}
	for _, name := range []string{"", ".", "a/b", "a b", "..", "ü?x=1#", "%2F"} { // nothing but names
		if path, err := c.ClusterPath(ctx, name, 1); !horizon.IsNotFound(err) {
			t.Errorf("%q: %q, %v", name, path, err)
		}
	}
}

func TestGitLabDown(t *testing.T) {
	h := start(t, fake.Options{})
	web := h.AddApplication(h.AddGroup(0, "music"), "web", "P1")
	h.GitLabDown(true)
	c := connect(t, h, horizon.WithTimeout(100*time.Millisecond))
	if path, err := c.ResourcePath(t.Context(), horizon.Applications, web); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%q, %v", path, err)
	}
	if path, err := c.ApplicationPath(t.Context(), "web", web); path != "/music/web" || err != nil {
		t.Errorf("what does not ask GitLab: %q, %v", path, err)
	}
}

func TestWalk(t *testing.T) {
	h := start(t, fake.Options{})
	c := connect(t, h)
	want := []string{"groups 0 /"}
	add := func(kind string, id int64) int64 {
		path, _ := h.Path(kind, id)
		want = append(want, fmt.Sprintf("%s %d %s", kind, id, path))
		return id
	}
	music := add(fake.Groups, h.AddGroup(0, "music"))
	player := add(fake.Groups, h.AddGroup(music, "player"))
	add(fake.Groups, h.AddGroup(player, "empty"))
	for i := range 60 { // more than a page
		app := add(fake.Applications, h.AddApplication(player, fmt.Sprintf("a%d", i), "P1"))
		if i%20 != 0 {
			continue
		}
		for j := range 60 {
			add(fake.Clusters, h.AddCluster(app, fmt.Sprintf("a%d-c%d", i, j), "online"))
		}
	}
	for i := range 60 {
		add(fake.Groups, h.AddGroup(0, fmt.Sprintf("g%d", i)))
	}
	gone := h.AddGroup(0, "gone")
	h.Delete(fake.Groups, gone)
	walk := func() ([]string, error) {
		var got []string
		at := map[string]bool{}
		for r, err := range c.Walk(t.Context()) {
			if err != nil {
				return got, err
			}
			at[r.Path] = true
			if above := r.Path[:strings.LastIndexByte(r.Path, '/')]; above != "" && !at[above] {
				t.Errorf("%s comes before what it is in", r.Path)
			}
			if r.ID != 0 && r.Name != filepath.Base(r.Path) {
				t.Errorf("%s has the name %s", r.Path, r.Name)
			}
			got = append(got, fmt.Sprintf("%s %d %s", r.Kind, r.ID, r.Path))
		}
		return got, nil
	}
	got, err := walk()
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(got)
	slices.Sort(want)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("walk: %s", diff)
	}
	for r, err := range c.Walk(t.Context()) {
		if err != nil || r.ID != horizon.RootGroup {
			t.Errorf("%v, %v", r, err)
		}
		break
	}

	// A group that is deleted while it is walked over is left out.
	var deleted atomic.Bool
	h.Intercept(func(_ http.ResponseWriter, r *http.Request) bool {
		if strings.HasSuffix(r.URL.Path, fmt.Sprintf("/groups/%d/children", player)) && !deleted.Swap(true) {
			h.Delete(fake.Groups, player)
		}
		return false
	})
	if got, err := walk(); err != nil || len(got) != 63 {
		t.Errorf("%d resources, %v", len(got), err)
	}
	h.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
		if strings.HasPrefix(r.URL.Path, "/apis/front/") {
			w.WriteHeader(http.StatusInternalServerError)
			return true
		}
		return false
	})
	if got, err := walk(); err == nil {
		t.Errorf("an error is not told: %d resources", len(got))
	}
}

// A list that is sorted by the latest change may hide an item that jumps to a page that was
// read: then it is read again.
func TestListChangesMeanwhile(t *testing.T) {
	h := start(t, fake.Options{})
	c := connect(t, h)
	for i := range 101 {
		h.AddGroup(0, fmt.Sprintf("g%d", i))
	}
	var changes, atMost atomic.Int64
	atMost.Store(2)
	h.Intercept(func(_ http.ResponseWriter, r *http.Request) bool {
		if n := changes.Add(1); r.URL.Query().Get("pageNumber") == "2" && n <= 100 && atMost.Add(-1) >= 0 {
			h.Delete(fake.Groups, n) // all behind it move up
			h.AddGroup(0, "again")
		}
		return false
	})
	all, err := c.Children(t.Context(), 0)
	if err != nil || len(all) != 101 {
		t.Errorf("%d groups, %v", len(all), err)
	}
	for _, r := range all {
		if path, ok := h.Path(fake.Groups, r.ID); !ok || path != r.Path {
			t.Errorf("%s is not there", r.Path)
		}
	}
	atMost.Store(50)
	if all, err := c.Children(t.Context(), 0); err == nil || !strings.Contains(err.Error(), "changed while it was read") {
		t.Errorf("%d groups, %v", len(all), err)
	}
}

func TestRefusals(t *testing.T) {
	h := start(t, fake.Options{})
	id := h.AddWebhook(fake.Groups, 0, fake.Webhook{URL: "https://a.example.com/", Triggers: []string{"*"}})
	forbidden := newClient(t, h.URL(""), h.Token("groups:read-only"))
	_, err := forbidden.Webhook(t.Context(), id)
	if !horizon.IsForbidden(err) || horizon.IsNotFound(err) || horizon.IsUnauthorized(err) {
		t.Errorf("without the scope: %v", err)
	}
	if want := fmt.Sprintf("asking Horizon: GET /apis/core/v2/webhooks/%d: 403 Forbidden: Forbidden", id); err.Error() != want {
		t.Errorf("%q, want %q", err, want)
	}
	unknown := newClient(t, h.URL(""), "ha_unknown")
	if _, err := unknown.Webhook(t.Context(), id); !horizon.IsUnauthorized(err) {
		t.Errorf("with a token that is not known: %v", err)
	}
	c := connect(t, h)
	err = c.PutWebhook(t.Context(), horizon.Webhook{ID: id, URL: "ftp://a"})
	if status, ok := errors.AsType[*horizon.StatusError](err); !ok || status.Code != http.StatusBadRequest || !strings.Contains(status.Message, "invalid url") {
		t.Errorf("a bad URL: %v", err)
	}
	if _, err := c.SupportEvents(t.Context()); !horizon.IsForbidden(err) {
		t.Errorf("the types need a scope of their own: %v", err)
	}
	h.Configure(map[string][]string{"webhooks": {"supportevents"}})
	if types, err := c.SupportEvents(t.Context()); err != nil || len(types) != 21 || !slices.IsSorted(types) {
		t.Errorf("types: %v, %v", types, err)
	}
	_ = h.Close()
	if _, err := c.Webhook(t.Context(), id); err == nil || strings.Contains(err.Error(), "ha_") {
		t.Errorf("nobody listens: %v", err)
	}
}

// What is answered is bounded, belongs to whoever was asked, and gives nothing away.
func TestAnswers(t *testing.T) {
	const token, secret = "ha_0123456789abcdef", "the-secret-of-a-webhook"
	var asked atomic.Int64
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked.Add(1) }))
	defer elsewhere.Close()
	hanging := make(chan struct{})
	defer close(hanging)
	for name, tc := range map[string]struct {
		handle http.HandlerFunc
		want   string
	}{
		"HTML":           {func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>") }, "it is no JSON object"},
		"nothing":        {func(http.ResponseWriter, *http.Request) {}, "it is no JSON object"},
		"no data":        {func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "{}") }, "has no data"},
		"other data":     {func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"data":[]}`) }, "reading the answer"},
		"a fraction":     {func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"data":{"id":1.5}}`) }, "reading the answer"},
		"error with 200": {func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"errorCode":"Odd"}`) }, "200 OK: Odd"},
		"redirect":       {func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, elsewhere.URL, http.StatusFound) }, "302 Found"},
		"gateway":        {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(502); fmt.Fprint(w, "<html>") }, "502 Bad Gateway"},
		"too large": {func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprint(w, `{"data":{"description":"`)
			for range 9 {
				if _, err := w.Write(make([]byte, 1<<20)); err != nil {
					return
				}
			}
		}, "more than 8388608 bytes"},
		"cut off": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			fmt.Fprint(w, `{"data":`)
		}, "reading the answer"},
		"hanging": {func(_ http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body) // so that the end of the connection is seen
			select {
			case <-r.Context().Done():
			case <-hanging:
			}
		}, "deadline exceeded"},
		"hanging in the middle": {func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			fmt.Fprint(w, `{"data":`)
			_ = http.NewResponseController(w).Flush()
			select {
			case <-r.Context().Done():
			case <-hanging:
			}
		}, "deadline exceeded"},
		"an echo": {func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(400)
			fmt.Fprintf(w, `{"errorMessage":"header = %s\u001b[31m\n%s"}`, r.Header.Get("Authorization"), secret)
		}, `header = Bearer [redacted]`},
		"a long message": {func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(400)
			fmt.Fprintf(w, `{"errorMessage":"%s"}`, strings.Repeat("ü", 5000))
		}, "üü…"},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(tc.handle)
			defer server.Close()
			timeout := 10 * time.Second
			if strings.HasPrefix(name, "hanging") {
				timeout = 200 * time.Millisecond
			}
			c := newClient(t, server.URL, token, horizon.WithTimeout(timeout))
			_, err := c.Webhook(t.Context(), 1)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%v, want %q", err, tc.want)
			}
			put := c.PutWebhook(t.Context(), horizon.Webhook{ID: 1, Secret: secret, URL: "https://chat.example.com/" + secret})
			for _, err := range []error{err, put} {
				text := fmt.Sprintf("%v %+v", err, err)
				if strings.Contains(text, token) || strings.ContainsAny(text, "\n\x1b") || len(text) > 2000 {
					t.Errorf("the error gives something away: %q", text)
				}
			}
			if put != nil && strings.Contains(put.Error(), secret) {
				t.Errorf("the error gives the secret away: %v", put)
			}
		})
	}
	if n := asked.Load(); n != 0 {
		t.Errorf("a redirect was followed %d times", n)
	}
}

func TestRequests(t *testing.T) {
	var most, now atomic.Int64
	release := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer ha_1" || r.Header.Get("User-Agent") != "somebody/1" || r.URL.Path != "/horizon/apis/core/v2/webhooks/1" {
			t.Errorf("%s %s %v", r.Method, r.URL, r.Header)
		}
		if n := now.Add(1); n > most.Load() {
			most.Store(n)
		}
		defer now.Add(-1)
		<-release
		fmt.Fprint(w, `{"data":{"id":9007199254740993,"later":{"unknown":true}}}`)
	}))
	defer server.Close()
	t.Setenv("HTTP_PROXY", "http://127.0.0.1:1") // which nobody has asked for
	c := newClient(t, server.URL+"/horizon/", "ha_1", horizon.WithRequests(2), horizon.WithUserAgent("somebody/1"))
	results := make(chan error)
	for range 5 {
		go func() {
			w, err := c.Webhook(t.Context(), 1)
			if err == nil && w.ID != 1<<53+1 {
				err = fmt.Errorf("the number is %d", w.ID)
			}
			results <- err
		}()
	}
	for end := time.Now().Add(10 * time.Second); now.Load() < 2 && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := c.Webhook(ctx, 1); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "waiting for other requests") {
		t.Errorf("no turn: %v", err)
	}
	close(release)
	for range 5 {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
	if n := most.Load(); n != 2 {
		t.Errorf("%d requests at a time", n)
	}
}

func TestTokenFile(t *testing.T) {
	h := start(t, fake.Options{})
	path := filepath.Join(t.TempDir(), "token")
	c, err := horizon.New(h.URL(""), horizon.TokenFile(path))
	if err != nil {
		t.Fatal(err)
	}
	ask := func() error { _, err := c.Webhooks(t.Context(), horizon.Groups, 0); return err }
	if err := ask(); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	first, second := h.Token("webhooks"), h.Token("webhooks")
	h.Revoke(first)
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(first)
	if err := ask(); !horizon.IsUnauthorized(err) {
		t.Errorf("a revoked token: %v", err)
	}
	write("  " + second + "\r\n")
	if err := ask(); err != nil {
		t.Errorf("the new token: %v", err)
	}
	for _, wrong := range []string{"", " \n", "two words", "ha_\x00a", "ha_ü", strings.Repeat("sss", 2000)} {
		write(wrong)
		err := ask()
		if err == nil || !strings.Contains(err.Error(), path) || strings.Contains(err.Error(), "words") || strings.Contains(err.Error(), "sss") {
			t.Errorf("%.10q: %v", wrong, err)
		}
	}
}

func TestTLS(t *testing.T) {
	authority, err := receiver.NewAuthority("a company")
	if err != nil {
		t.Fatal(err)
	}
	certificate, key, err := authority.Issue(nil)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.X509KeyPair(certificate, key)
	if err != nil {
		t.Fatal(err)
	}
	h := start(t, fake.Options{TLS: &tls.Config{Certificates: []tls.Certificate{pair}}})
	if _, err := connect(t, h).Webhooks(t.Context(), horizon.Groups, 0); err == nil {
		t.Error("an authority that nobody knows vouches for it")
	}
	path := filepath.Join(t.TempDir(), "ca.crt")
	if err := os.WriteFile(path, authority.PEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := connect(t, h, horizon.WithCAFile(path)).Webhooks(t.Context(), horizon.Groups, 0); err != nil {
		t.Error(err)
	}
	if err := os.WriteFile(path, []byte("no PEM"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := horizon.New(h.URL(""), static("a"), horizon.WithCAFile(path)); err == nil || !strings.Contains(err.Error(), "no certificate") {
		t.Errorf("no certificate: %v", err)
	}
}

func TestNewRefuses(t *testing.T) {
	for _, address := range []string{
		"", "horizon.example.com", "ftp://horizon.example.com", "https://", "https://me:pass@horizon.example.com",
		"https://horizon.example.com?a=b", "https://horizon.example.com#pass", "https://horizon.example.com:pass/", "\x7f",
	} {
		_, err := horizon.New(address, static("a"))
		if err == nil || strings.Contains(err.Error(), "pass@") || strings.Contains(err.Error(), "pass/") || strings.Contains(err.Error(), "#pass") {
			t.Errorf("%q: %v", address, err)
		}
	}
	for _, option := range []horizon.Option{horizon.WithTimeout(0), horizon.WithRequests(0), horizon.WithCAFile("/nowhere")} {
		if _, err := horizon.New("https://horizon.example.com", static("a"), option); err == nil {
			t.Error("an option without sense is taken")
		}
	}
}
