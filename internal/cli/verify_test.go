package cli

import (
	"net/http"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/signing"
)

// What the operator sends is what verify takes.
func TestVerifyOfTheOperator(t *testing.T) {
	b := newBed(t)
	token := b.file("token", secretValue+"\n")
	b.mustRun("create", "a", "--url", b.Receiver.URL("/a"), "--trigger", "*", "--secret-file", token, "--wait")
	b.Delivery("a", b.Event(1, func(e *v1alpha1.WebhookEventSpec) { e.Extra = "Zoë & <co>" }), v1alpha1.DeliverySucceeded)
	requests := b.Receiver.Arrivals("/a")
	b.Expect(requests).To(HaveLen(1))
	var headers strings.Builder
	b.Expect(requests[0].Header.Write(&headers)).To(Succeed())
	body := b.file("body", string(requests[0].Body))
	args := []string{"verify", "--secret-file", token, "--body", body}

	r := b.run(append(args, "--headers", b.file("headers", headers.String()))...)
	b.Expect(r.code).To(Equal(0), r.out)
	b.Expect(r.out).To(MatchRegexp(`^The signature holds: it is of this body by this key, made at \S+ \(\d+s ago\)\.\n$`))

	// As curl -v shows it, on standard input.
	b.stdin = "* Connected\n> POST /a HTTP/1.1\r\n> Host: a:80\r\n"
	for line := range strings.Lines(headers.String()) {
		name, value, _ := strings.Cut(line, ":")
		b.stdin += "> " + strings.ToLower(name) + ":" + value
	}
	b.stdin += "> \r\n< HTTP/1.1 200 OK\r\n"
	r = b.run(append(args, "--headers", "-")...)
	b.Expect(r.code).To(Equal(0), r.out)

	// Its record does not have the signature.
	d := b.Delivery("a", b.Event(2), v1alpha1.DeliverySucceeded)
	r = b.run(append(args, "--headers", b.file("record", d.Status.Request.Headers))...)
	b.Expect(r.code).To(Equal(exitUnmet))
	b.Expect(r.out).To(ContainSubstring("Webhook-Signature is [redacted], as in every record: take the headers that the receiver got."))
}

func TestVerify(t *testing.T) {
	const (
		id, stamp, body, key = "whd_1", "1795435673", `{"eventID":1}`, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
		now                  = "2026-11-23T12:07:58Z"
	)
	secret, _, err := signing.ParseSecret([]byte(key))
	if err != nil {
		t.Fatal(err)
	}
	signature, err := secret.Sign(id, time.Unix(1795435673, 0), []byte(body))
	if err != nil {
		t.Fatal(err)
	}
	headers := func(signature string) string {
		return "Webhook-Id: " + id + "\nwebhook-timestamp: " + stamp + "\nWEBHOOK-SIGNATURE: " + signature + "\n"
	}
	for name, tc := range map[string]struct {
		key, headers, body string
		args               []string
		want               string
		code               int
	}{
		"holds":            {want: "The signature holds: it is of this body by this key, made at 2026-11-23T12:07:53Z (5s ago).\n"},
		"another time":     {args: []string{"--now", "1795435613"}, want: "(60s from now)"},
		"too old":          {args: []string{"--now", "2026-11-23T12:13:00Z"}, code: exitUnmet, want: "too old: signed at 2026-11-23T12:07:53Z, 5m7s ago, more than 5m0s (--tolerance)"},
		"too new":          {args: []string{"--now", "2026-11-23T12:00:00Z"}, code: exitUnmet, want: "too new: signed at 2026-11-23T12:07:53Z, 7m53s from now"},
		"unchecked":        {args: []string{"--now", "2027-11-23T12:00:00Z", "--tolerance", "0"}, want: "The signature holds"},
		"longer":           {args: []string{"--now", "2026-11-23T13:00:00Z", "--tolerance", "1h"}, want: "The signature holds"},
		"another key":      {key: "s3cr3t", code: exitUnmet, want: "Either the key is another one, or the body, the id or the time was changed: which, nobody can tell."},
		"another body":     {body: `{"eventID":2}`, code: exitUnmet, want: "which, nobody can tell"},
		"newline":          {body: body + "\n", code: exitUnmet, want: "It does hold when the line break at the end of the body is left out: something has added it."},
		"written anew":     {body: `{ "eventID": 1 }`, code: exitUnmet, want: "It does hold when the body is compact JSON"},
		"no prefix":        {key: strings.TrimPrefix(key, "whsec_"), code: exitUnmet, want: "it lacks the prefix whsec_"},
		"cut off":          {headers: headers(signature[:20]), code: exitUnmet, want: "it is cut off after 17 of 44 characters"},
		"no header":        {headers: "Webhook-Id: a\n", code: exitUnmet, want: "The signature does not hold: Webhook-Timestamp is missing.\n"},
		"hostile header":   {headers: "Webhook-Id: a\nWebhook-Signature: v1,b\nWebhook-Timestamp: \x1b[2J\u202e\n", code: exitUnmet, want: `Webhook-Timestamp is "`},
		"no headers":       {headers: "GET / HTTP/1.1\n", code: exitError, want: "there is no header in it"},
		"empty key":        {key: "\n", code: exitError, want: "--secret-file: the value is empty"},
		"bad key":          {key: "whsec_!", code: exitError, want: "what follows is not a base64 key"},
		"bad time":         {args: []string{"--now", "yesterday"}, code: exitUsage, want: "is not a time such as"},
		"stdin twice":      {args: []string{"--body", "-", "--headers", "-"}, code: exitUsage, want: "can be standard input"},
		"no body":          {args: []string{"--body="}, code: exitUsage, want: "are all needed"},
		"an absent file":   {args: []string{"--body", "/nonexistent"}, code: exitError, want: "--body: open /nonexistent"},
		"too many words":   {args: []string{"a"}, code: exitUsage, want: "verify takes no arguments"},
		"unknown versions": {headers: headers("v2,Zm9v " + signature), want: "The signature holds"},
	} {
		b := offline(t)
		or := func(text, otherwise string) string {
			if text == "" {
				return otherwise
			}
			return text
		}
		args := []string{
			"verify", "--secret-file", b.file("key", or(tc.key, key)), "--headers", b.file("headers", or(tc.headers, headers(signature))),
			"--body", b.file("body", or(tc.body, body)), "--now", now,
		}
		r := b.run(append(args, tc.args...)...)
		if r.code != tc.code || !strings.Contains(r.out+r.err, tc.want) {
			t.Errorf("%s: exit code %d\n%s%s\nwant %d, %q", name, r.code, r.out, r.err, tc.code, tc.want)
		}
		if all := r.out + r.err; strings.ContainsAny(all, "\x1b\u202e") || strings.Contains(all, strings.TrimPrefix(key, "whsec_")) {
			t.Errorf("%s: prints %q", name, all)
		}
	}
}

func TestParseHeaders(t *testing.T) {
	g := NewWithT(t)
	g.Expect(parseHeaders([]byte("POST / HTTP/1.1\r\n> a: b:c \r\n\r\nA: d\n<  e : f\nno\n: g\n> x y: z\n"))).To(Equal(http.Header{"A": {"b:c", "d"}}))
}
