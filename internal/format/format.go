// Package format knows the forms that events are sent in. A format is everything at once:
// the body, the signature, what an answer means, and how much a receiver takes. What the
// services ask for is in a file for each of them. The package is pure.
//
// To add a chat service: name it in api/v1alpha1 (PayloadFormat, its enum, and the rules which
// say what secrets it needs), write a file beside dingtalk.go that says by the service's own
// pages what its address, limits, texts and answers are, and list its Format in all. The body
// is a template that says what internal/message knows of an event (the variable message); if
// the service's markup needs an escape of its own, that is in internal/expression. In the
// tests, write down in readers how the service reads a body; go test ./internal/format -update
// writes its messages to testdata, where somebody has to look at them.
package format

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/signing"
)

// Format is one form of requests.
type Format struct {
	Name v1alpha1.PayloadFormat
	// Title is what people call it, and Summary says in a line what the body is.
	Title, Summary string
	ContentType    string
	// Proof is how a request proves who sends it, where the Webhook names secrets.
	Proof string
	// Room is set where the receiver is a chat room: its address is the credential, and
	// neither a token nor webhook-signature is sent to it.
	Room bool
	// RateLimit is what the service takes; zero where nothing is known of a limit.
	RateLimit v1alpha1.RateLimit

	// differences say what a template cannot write as the format does; it writes the same
	// values. Empty where the template is what makes the body.
	differences string
	// template makes the body, but for what write writes.
	template string
	// write, if set, makes the body of a delivery. id is the header webhook-id.
	write func(d *v1alpha1.WebhookDelivery, id string) ([]byte, error)
	// judge, if set, tells what an answer means; without it, each 2xx is accepted.
	judge func(statusCode int, body []byte) Verdict
	// rest is how long the service is left alone that was sent too much. Zero is the span of
	// the rate limit.
	rest time.Duration
	// address, if set, changes the address that requests go to.
	address func(url string) string
	// sign, if set, proves a request with the signing key of a room. It returns what is
	// derived from the key and must not be told either.
	sign func(r *Request, key string, at time.Time) (derived []string, err error)
}

// all are the formats, the default first.
var all = []*Format{&horizon, &cloudEvents, &dingTalk, &feishu, &weCom, &slack, &teams, &discord}

// All returns the formats, the default first.
func All() []*Format { return all }

// Of returns the format of a Webhook. Of one that names a format which is not Known, nothing
// may be sent.
func Of(w *v1alpha1.Webhook) *Format {
	if w.Spec.Payload != nil {
		if f := named(w.Spec.Payload.Format); f != nil {
			return f
		}
	}
	return &horizon
}

// Known tells whether there is a format of a name. None is the default.
func Known(name v1alpha1.PayloadFormat) bool { return name == "" || named(name) != nil }

func named(name v1alpha1.PayloadFormat) *Format {
	for _, f := range all {
		if f.Name == name {
			return f
		}
	}
	return nil
}

// Write returns the body of a delivery where the format writes it itself; ok is false where
// Template makes it. id is the header webhook-id.
func (f *Format) Write(d *v1alpha1.WebhookDelivery, id string) (body []byte, ok bool, err error) {
	if f.write == nil {
		return nil, false, nil
	}
	body, err = f.write(d, id)
	return body, true, err
}

// Template returns the format's body in CEL: what makes it or, where the format writes it
// itself, a template that makes the same values. Comments say what that cannot write.
func (f *Format) Template() string {
	about := "// What the format " + string(f.Name) + " sends, as a template"
	if f.differences != "" {
		about += ": the same values.\n// " + f.differences
	} else {
		about += "."
	}
	return about + "\n// All else is that of spec.payload.format, so let that be " + string(f.Name) + ".\n" + f.template + "\n"
}

// Verdict is what an answer means beyond its status code. The zero value accepts a 2xx, and
// lets everything else be tried again.
type Verdict struct {
	// Refused: a 2xx is no success.
	Refused bool
	// Final: no retry would help.
	Final bool
	// Rest is how long the service wants to be left alone.
	Rest time.Duration
	// Why tells of a refusal in the service's words, and what to do. It may quote the body.
	Why string
}

// Judge tells what an answer to a Webhook means.
func (f *Format) Judge(w *v1alpha1.Webhook, statusCode int, body []byte) Verdict {
	if f.judge == nil {
		return Verdict{}
	}
	v := f.judge(statusCode, body)
	if v.Rest == untilSpanIsOver {
		v.Rest = f.rest
		if v.Rest == 0 {
			v.Rest = time.Duration(RateLimitOf(w).PerSeconds) * time.Second
		}
	}
	return v
}

// untilSpanIsOver is the rest of a service that was sent too much and says no more.
const untilSpanIsOver = -1

// Signs tells whether spec.secretRef names the signing key of a room.
func (f *Format) Signs() bool { return f.sign != nil }

// Judges tells whether the format has rules of its own about answers.
func (f *Format) Judges() bool { return f.judge != nil }

// RateLimitOf returns the rate limit of a Webhook, zero where it has none.
func RateLimitOf(w *v1alpha1.Webhook) v1alpha1.RateLimit {
	if w.Spec.RateLimit != nil {
		return *w.Spec.RateLimit
	}
	return Of(w).RateLimit
}

// Request is a request as it is sent.
type Request struct {
	URL    string
	Header http.Header
	Body   []byte
	// Derived are texts that the signing key was made into, and that must not be told.
	Derived []string
}

// Request makes the request of a body. secret is what spec.secretRef names, and key what
// spec.signingSecretRef does; either may be nil. id is the header webhook-id.
func (f *Format) Request(address, id string, at time.Time, body []byte, secret, key *signing.Secret) (Request, error) {
	token := secret
	if f.Room {
		token, key = nil, nil
	}
	header, err := signing.Headers(id, at, body, token, key)
	if err != nil {
		return Request{}, err
	}
	header.Set("Content-Type", f.ContentType)
	if f.address != nil {
		address = f.address(address)
	}
	r := Request{URL: address, Header: header, Body: body}
	if f.sign != nil && secret != nil {
		if r.Derived, err = f.sign(&r, secret.Reveal(), at); err != nil {
			return Request{}, fmt.Errorf("signing for %s: %w", f.Title, err)
		}
	}
	return r, nil
}

// withQuery adds parameters to the query of an address. What is there stays as it is, byte
// for byte, since it is a credential.
func withQuery(address string, parameters url.Values) string {
	separator := "&"
	switch _, query, has := strings.Cut(address, "?"); {
	case !has:
		separator = "?"
	case query == "" || strings.HasSuffix(query, "&"):
		separator = ""
	}
	return address + separator + parameters.Encode()
}
