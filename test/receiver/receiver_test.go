package receiver

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// patience is far beyond what anything here takes.
const patience = 30 * time.Second

func start(t *testing.T, o Options) *Receiver {
	t.Helper()
	r, err := Start(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

func patient(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// post sends one request on a connection of its own and returns the answer's
// status and body.
func post(ctx context.Context, cfg *tls.Config, url, id, body string) (int, string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		return 0, "", err
	}
	if id != "" {
		req.Header.Set(IDHeader, id)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: cfg}}
	resp, err := client.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer func() { _ = resp.Body.Close() }()
	answer, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(answer), err
}

func mustPost(t *testing.T, url, id, body string) int {
	t.Helper()
	status, _, err := post(patient(t), nil, url, id, body)
	if err != nil {
		t.Fatal(err)
	}
	return status
}

func TestLedgerKeepsWhatArrived(t *testing.T) {
	r := start(t, Options{})
	before := time.Now()
	mustPost(t, r.URL("/hook?team=music%20ops"), "a", `{"eventID":1}`)
	mustPost(t, r.URL("/other"), "b", "")

	got := r.Arrivals("/hook")
	if len(got) != 1 {
		t.Fatalf("got %d arrivals, want 1", len(got))
	}
	a := got[0]
	if a.Time.Before(before) || a.Time.After(time.Now()) {
		t.Errorf("arrived at %v, which is not between the request and now", a.Time)
	}
	if a.Header.Get(IDHeader) != "a" {
		t.Errorf("headers are %v", a.Header)
	}
	a.Time, a.Header = time.Time{}, nil
	want := Arrival{
		Number: 1, Path: "/hook", URI: "/hook?team=music%20ops", Method: http.MethodPost,
		WebhookID: "a", Body: []byte(`{"eventID":1}`),
	}
	if diff := cmp.Diff(want, a); diff != "" {
		t.Errorf("arrival (-want +got):\n%s", diff)
	}
	if n := len(r.AllArrivals()); n != 2 {
		t.Errorf("got %d arrivals in all, want 2", n)
	}
}

func TestLeanLedgerKeepsNoBytes(t *testing.T) {
	r := start(t, Options{Lean: true})
	mustPost(t, r.URL("/hook"), "a", "body")
	a := r.Arrivals("/hook")[0]
	if a.Header != nil || a.Body != nil || a.WebhookID != "a" {
		t.Errorf("got %+v, want neither headers nor body, but the id", a)
	}
}

func TestScriptIsFollowedAndItsLastAnswerStays(t *testing.T) {
	r := start(t, Options{})
	r.Script("/hook", MustParseScript("500,503,202")...)
	var got []int
	for range 4 {
		got = append(got, mustPost(t, r.URL("/hook"), "a", ""))
	}
	if diff := cmp.Diff([]int{500, 503, 202, 202}, got); diff != "" {
		t.Errorf("answers (-want +got):\n%s", diff)
	}
	r.Script("/hook")
	if status := mustPost(t, r.URL("/hook"), "a", ""); status != http.StatusOK {
		t.Errorf("without a script the answer is %d, want 200", status)
	}
}

func TestAnswerHasHeadersAndBody(t *testing.T) {
	r := start(t, Options{})
	r.Script("/hook", Answer{Status: 503, Header: http.Header{"Retry-After": {"7"}}, Body: "come back later"})
	resp, err := http.Post(r.URL("/hook"), "", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != 503 || resp.Header.Get("Retry-After") != "7" || string(body) != "come back later" {
		t.Errorf("got %d, %v, %q", resp.StatusCode, resp.Header, body)
	}
}

func TestTallyTellsDuplicatesFromRetries(t *testing.T) {
	r := start(t, Options{})
	r.Script("/hook", MustParseScript("500,200,200,200,404")...)
	for _, id := range []string{"a", "a", "a", "b", "c", ""} {
		mustPost(t, r.URL("/hook"), id, "")
	}
	// The client has its answer a moment before the server is done with it.
	if err := r.Wait(patient(t), func() bool { return r.Total().InFlight == 0 }); err != nil {
		t.Fatal(err)
	}
	want := Tally{Requests: 6, Deliveries: 3, Accepted: 2, Duplicates: 1}
	got := r.Tally("/hook")
	got.MostInFlight = 0
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("tally (-want +got):\n%s", diff)
	}
	var repeated []bool
	for _, a := range r.ArrivalsOf("a") {
		repeated = append(repeated, a.Duplicate)
	}
	if diff := cmp.Diff([]bool{false, false, true}, repeated); diff != "" {
		t.Errorf("duplicates of a (-want +got):\n%s", diff)
	}
	r.Forget()
	if diff := cmp.Diff(Tally{}, r.Total()); diff != "" {
		t.Errorf("total after Forget (-want +got):\n%s", diff)
	}
}

func TestRequestIsHeldUntilToldOtherwise(t *testing.T) {
	r := start(t, Options{})
	gate := make(chan struct{})
	r.Script("/hook", Answer{Until: gate, Status: 201})
	ctx := patient(t)

	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			if status, _, err := post(ctx, nil, r.URL("/hook"), "", ""); err != nil || status != 201 {
				t.Errorf("got %d, %v, want 201", status, err)
			}
		})
	}
	if err := r.Wait(ctx, func() bool { return r.Tally("/hook").InFlight == 3 }); err != nil {
		t.Fatal(err)
	}
	close(gate)
	wg.Wait()
	if err := r.Wait(ctx, func() bool { return r.Tally("/hook").InFlight == 0 }); err != nil {
		t.Fatal(err)
	}
	if most := r.Tally("/hook").MostInFlight; most != 3 {
		t.Errorf("most in flight: %d, want 3", most)
	}
}

func TestHangLastsUntilTheClientGoes(t *testing.T) {
	r := start(t, Options{})
	r.Script("/hook", MustParseScript("hang")...)
	ctx, cancel := context.WithCancel(patient(t))
	done := make(chan error, 1)
	go func() {
		_, _, err := post(ctx, nil, r.URL("/hook"), "a", "")
		done <- err
	}()
	if err := r.WaitRequests(patient(t), "/hook", 1); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-done:
		t.Fatalf("the request ended: %v", err)
	default:
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", err)
	}
	if err := r.Wait(patient(t), func() bool { return r.Total().InFlight == 0 }); err != nil {
		t.Errorf("the request is still held: %v", err)
	}
	if got := r.Total().Accepted; got != 0 {
		t.Errorf("%d accepted, want 0", got)
	}
}

func TestResetEndsTheConnection(t *testing.T) {
	r := start(t, Options{})
	r.Script("/hook", MustParseScript("reset")...)
	if status, _, err := post(patient(t), nil, r.URL("/hook"), "", ""); err == nil {
		t.Errorf("got the status %d, want an error", status)
	}
}

func TestDownRefusesAndUpKeepsThePort(t *testing.T) {
	r := start(t, Options{})
	r.Script("/hook", MustParseScript("hang,200")...)
	url := r.URL("/hook")

	held := make(chan error, 1)
	go func() {
		_, _, err := post(context.WithoutCancel(t.Context()), nil, url, "a", "")
		held <- err
	}()
	if err := r.WaitRequests(patient(t), "/hook", 1); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := r.Down(); err != nil {
			t.Fatal(err)
		}
	}
	if err := <-held; err == nil {
		t.Error("a request that was under way got an answer")
	}
	if _, _, err := post(patient(t), nil, url, "a", ""); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("while down: got %v, want a refused connection", err)
	}
	for range 2 {
		if err := r.Up(); err != nil {
			t.Fatal(err)
		}
	}
	if status := mustPost(t, url, "a", ""); status != http.StatusOK {
		t.Errorf("when up again: got %d, want 200", status)
	}
	if n := len(r.ArrivalsOf("a")); n != 2 {
		t.Errorf("the journal has %d arrivals, want the one before and the one after", n)
	}
}

func TestCloseIsForGood(t *testing.T) {
	r, err := Start(Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if err := r.Up(); !errors.Is(err, errClosed) {
		t.Errorf("Up after Close: got %v, want %v", err, errClosed)
	}
	if err := r.Close(); err != nil {
		t.Errorf("a second Close: %v", err)
	}
}

func TestTLSIsSelfSigned(t *testing.T) {
	r := start(t, Options{TLS: true})
	if !strings.HasPrefix(r.URL("/"), "https://127.0.0.1:") {
		t.Fatalf("the address is %s", r.URL("/"))
	}
	var unknown x509.UnknownAuthorityError
	if _, _, err := post(patient(t), nil, r.URL("/"), "", ""); !errors.As(err, &unknown) {
		t.Errorf("without trust: got %v, want an unknown authority", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(r.CertificatePEM()) {
		t.Fatal("the certificate is not PEM")
	}
	if _, _, err := post(patient(t), &tls.Config{RootCAs: pool}, r.URL("/"), "", ""); err != nil {
		t.Errorf("with trust: %v", err)
	}
}

func TestHooksSeeEachRequest(t *testing.T) {
	var mu sync.Mutex
	var got []string
	note := func(what string) func(Arrival) {
		return func(a Arrival) {
			mu.Lock()
			defer mu.Unlock()
			got = append(got, what+" "+a.WebhookID)
		}
	}
	r := start(t, Options{OnArrival: note("arrival"), OnAnswer: note("answer")})
	mustPost(t, r.URL("/"), "a", "")
	if err := r.Wait(patient(t), func() bool { return r.Total().InFlight == 0 }); err != nil {
		t.Fatal(err)
	}
	mu.Lock()
	defer mu.Unlock()
	if diff := cmp.Diff([]string{"arrival a", "answer a"}, got); diff != "" {
		t.Errorf("calls (-want +got):\n%s", diff)
	}
}

// Who is told that an answer is out may end the client's process: the answer
// must not depend on what happens then.
func TestAnswerIsOutWhenOnAnswerIsCalled(t *testing.T) {
	for _, answer := range []Answer{{}, {Body: "thanks"}, {Status: http.StatusNoContent}, {Status: 500, Body: "no"}} {
		read := make(chan struct{})
		r := start(t, Options{OnAnswer: func(Arrival) {
			select {
			case <-read:
			case <-time.After(patience):
				t.Error("the answer is not out")
			}
		}})
		r.Script("/", answer)
		status, body, err := post(patient(t), nil, r.URL("/"), "a", "")
		close(read)
		if err != nil || status != answer.status() || body != answer.Body {
			t.Errorf("got %d %q, %v, want %+v", status, body, err, answer)
		}
	}
}

func TestWaitEndsWithItsContext(t *testing.T) {
	r := start(t, Options{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := r.WaitRequests(ctx, "/hook", 1); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", err)
	}
	if err := r.WaitAccepted(ctx, 0); err != nil {
		t.Errorf("what is there already: %v", err)
	}
}

func TestParseScript(t *testing.T) {
	tests := map[string]struct {
		want    []Answer
		wantErr string
	}{
		"500,500,200":    {want: []Answer{{Status: 500}, {Status: 500}, {Status: 200}}},
		"200@20ms":       {want: []Answer{{Status: 200, Delay: 20 * time.Millisecond}}},
		"hang, reset@1s": {want: []Answer{{Hang: true}, {Reset: true, Delay: time.Second}}},
		"":               {wantErr: "status code"},
		"100":            {wantErr: "from 200 to 999"},
		"200@soon":       {wantErr: "duration"},
		"200,":           {wantErr: "status code"},
	}
	for text, tt := range tests {
		t.Run(text, func(t *testing.T) {
			got, err := ParseScript(text)
			if tt.wantErr != "" {
				if err == nil || !strings.Contains(err.Error(), tt.wantErr) {
					t.Fatalf("got the error %v, want one with %q", err, tt.wantErr)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("answers (-want +got):\n%s", diff)
			}
		})
	}
}
