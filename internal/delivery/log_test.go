package delivery

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/sending"
)

func TestHistoryTellsOfTheLastTen(t *testing.T) {
	d := fresh()
	for n := range 25 {
		AddAttempt(d, attempt(v1alpha1.CauseRetry, exchange(500+n, now.Add(time.Duration(n)*time.Minute))))
	}
	var got []int32
	for _, a := range d.Status.History {
		got = append(got, a.StatusCode)
	}
	if diff := cmp.Diff([]int32{524, 523, 522, 521, 520, 519, 518, 517, 516, 515}, got); diff != "" {
		t.Errorf("status codes (-want +got):\n%s", diff)
	}
	if d.Status.Attempts != 25 {
		t.Errorf("%d attempts", d.Status.Attempts)
	}
}

func TestErrorOfAnAttempt(t *testing.T) {
	code := func(code int, change func(x *sending.Exchange)) sending.Exchange {
		x := exchange(code, now)
		if change != nil {
			change(&x)
		}
		return x
	}
	pointing := func(to string) func(x *sending.Exchange) {
		return func(x *sending.Exchange) { x.Response.Location = to }
	}
	for name, tc := range map[string]struct {
		exchange sending.Exchange
		want     string
	}{
		"accepted":      {exchange: code(200, nil)},
		"created there": {exchange: code(201, pointing("https://ci.example.com/runs/1"))},
		"accepted, body broken off": {
			exchange: code(200, func(x *sending.Exchange) { x.Err = context("the answer broke off") }),
			want:     "answered 200 OK, but the body could not be read: the answer broke off",
		},
		"refused": {exchange: code(404, nil), want: "answered 404 Not Found"},
		"moved":   {exchange: code(301, nil), want: "answered 301 Moved Permanently; redirects are not followed"},
		"moved there": {
			exchange: code(308, pointing("https://new.example.com/")),
			want:     "answered 308 Permanent Redirect; redirects are not followed; it points to https://new.example.com/",
		},
		"not accepted": {
			exchange: code(200, func(x *sending.Exchange) { x.Judgement = sending.Judgement{Refused: true, Why: "errcode is 5"} }),
			want:     "not accepted: errcode is 5",
		},
		"silent": {exchange: silence(now), want: "timeout after 30s while connecting"},
	} {
		t.Run(name, func(t *testing.T) {
			d := fresh()
			AddAttempt(d, attempt(v1alpha1.CauseInitial, tc.exchange))
			if diff := cmp.Diff(tc.want, d.Status.History[0].Error); diff != "" {
				t.Errorf("error (-want +got):\n%s", diff)
			}
		})
	}
	t.Run("bounded", func(t *testing.T) {
		d := fresh()
		AddAttempt(d, attempt(v1alpha1.CauseInitial, code(301, pointing(strings.Repeat("\u97f3", sending.MaxLocation/3)))))
		got := d.Status.History[0].Error
		if len(got) > sending.MaxError || !utf8.ValidString(got) {
			t.Errorf("%d bytes, valid: %t", len(got), utf8.ValidString(got))
		}
		if !strings.HasPrefix(got, "answered 301 Moved Permanently; redirects are not followed; it points to \u97f3") {
			t.Errorf("what is left: %q", got)
		}
	})
}

// What the receiver wrote is in the log, where it is data, and nowhere else.
func TestReceiversWordsStayInTheLog(t *testing.T) {
	d := fresh()
	x := exchange(302, now)
	x.Response = &sending.Response{StatusCode: 302, Header: "A: words", Body: "words", Location: "https://words", RetryAfter: "words"}
	x.Judgement = sending.Judgement{Refused: true, Why: "words"}
	AddAttempt(d, attempt(v1alpha1.CauseInitial, x))
	if text := fmt.Sprint(d.Status.Conditions, d.Labels, d.Annotations); strings.Contains(text, "words") {
		t.Errorf("the receiver's words got out: %s", text)
	}
}

func TestShrink(t *testing.T) {
	d := fresh()
	for n := range 12 {
		x := exchange(302, now.Add(time.Duration(n)*time.Second))
		x.Response.Body, x.Response.Header = strings.Repeat("words", 3000), "A: words"
		x.Response.Location = "https://words.example.com"
		x.RequestBody = "words"
		AddAttempt(d, attempt(v1alpha1.CauseRetry, x))
	}
	before := d.DeepCopy()
	if !Shrink(d) || d.Status.Request.Body != "" || d.Status.Response.Body == "" {
		t.Errorf("the body of the request does not go first: %+v, %d bytes of the answer", d.Status.Request, len(d.Status.Response.Body))
	}
	if !Shrink(d) {
		t.Error("it shrinks once only")
	}
	data, err := json.Marshal(d.Status)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(data), "words") {
		t.Errorf("the receiver's words are still there: %s", data)
	}
	if !SameAttempts(before, d) {
		t.Error("it is no longer the same log")
	}
	if r := d.Status.Request; r.Body != "" || !r.BodyTruncated || r.URL == "" {
		t.Errorf("request %+v", r)
	}
	want := &v1alpha1.ResponseRecord{StatusCode: 302, BodyTruncated: true, HeadersTruncated: true}
	if diff := cmp.Diff(want, d.Status.Response); diff != "" {
		t.Errorf("response (-want +got):\n%s", diff)
	}
	if d.Spec.Payload != before.Spec.Payload || d.Status.Attempts != before.Status.Attempts || d.Status.Result != before.Status.Result {
		t.Error("more than the receiver's words was taken out")
	}
	again := d.DeepCopy()
	if Shrink(again) {
		t.Error("there was something left")
	}
	if diff := cmp.Diff(d, again); diff != "" {
		t.Errorf("it shrinks further (-once +twice):\n%s", diff)
	}
	if Shrink(fresh()) { // has no log
		t.Error("there was something to take out")
	}
}
