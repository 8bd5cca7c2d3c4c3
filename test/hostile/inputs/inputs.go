// Package inputs lists what a receiver may do to the operator, one input each,
// with what is to come of it. The tests of internal/sending take it from here,
// and so does the program that plays it to a running operator.
package inputs

import (
	"crypto/tls"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/horizoncd/webhook-operator/test/receiver"
)

// Bounds of what is kept of an answer, in bytes, as they are promised.
const (
	MaxHeader     = 8 << 10
	MaxBody       = 16 << 10
	MaxLocation   = 1 << 10
	MaxRetryAfter = 64
	MaxError      = 1 << 10
)

// Input is one thing that a receiver does.
type Input struct {
	Name string

	// Answer, Serve, TLS and Chain are those of receiver.RawOptions. Without the
	// first two, the receiver takes connections and does nothing with them.
	Answer, Serve func(net.Conn)
	TLS           *tls.Config
	Chain         [][]byte
	// HTTPS is the scheme of the URL, whatever the receiver speaks.
	HTTPS bool

	// Unasked: after the answer comes what was not asked for, so that the operator
	// closes the connection, and takes none of it for the next answer.
	Unasked bool

	Want Want
}

// Want is what is to come of an input.
type Want struct {
	// Response is what is kept of the answer; nil where there is none.
	Response *Response
	// Errors are texts of which the exchange has one; none: it has no error.
	Errors []string
	// TimedOut is what was being done when the time was over: that is the error.
	TimedOut string

	// Loose: how much is kept of header and body depends on buffers.
	Loose bool
	// Any: what comes of it depends on who is faster. It ends and is bounded.
	Any bool
}

// Response is what is kept of an answer, field by field as internal/sending has
// it.
type Response struct {
	StatusCode      int
	Header          string
	HeaderTruncated bool
	Body            string
	BodyTruncated   bool
	RetryAfter      string
	Location        string
}

// All returns every input.
func All() []Input {
	return slices.Concat(statuses(), floods(), headers(), bodies(), connections(), handshakes(), http2())
}

// Start starts the receiver of an input, and returns the URL to send to.
func (i Input) Start() (*receiver.Raw, string, error) {
	r, err := receiver.StartRaw(receiver.RawOptions{Answer: i.Answer, Serve: i.Serve, TLS: i.TLS, Chain: i.Chain})
	if err != nil {
		return nil, "", err
	}
	scheme := "http://"
	if i.HTTPS {
		scheme = "https://"
	}
	return r, scheme + r.Addr() + "/hook", nil
}

// Check tells what is wrong with what came of an input: the answer that was
// kept, nil if none was, and the text of the error, empty if there was none.
func (w Want) Check(got *Response, errText string, timeout time.Duration) []string {
	problems := bounds(got, errText)
	if w.Any {
		return problems
	}
	errs := w.Errors
	if w.TimedOut != "" {
		errs = []string{fmt.Sprintf("timeout after %s %s", timeout, w.TimedOut)}
	}
	if len(errs) == 0 {
		errs = []string{""}
	}
	if !slices.Contains(errs, errText) {
		problems = append(problems, fmt.Sprintf("error %q, want %q", errText, errs))
	}
	want := w.Response
	if w.Loose && got != nil && want != nil {
		loose := *want
		loose.Header, loose.Body = got.Header, got.Body
		want = &loose
	}
	if diff := cmp.Diff(want, got); diff != "" {
		problems = append(problems, "response (-want +got):\n"+diff)
	}
	return problems
}

// bounds tells what of an outcome is too large for a record, or not fit for the
// eyes of whoever reads it.
func bounds(got *Response, errText string) []string {
	texts := []struct {
		name, text string
		most       int
	}{{"error", errText, MaxError}}
	if got != nil {
		texts = append(texts, []struct {
			name, text string
			most       int
		}{
			{"header", got.Header, MaxHeader}, {"body", got.Body, MaxBody},
			{"Location", got.Location, MaxLocation}, {"Retry-After", got.RetryAfter, MaxRetryAfter},
		}...)
	}
	var problems []string
	for _, t := range texts {
		if len(t.text) > t.most {
			problems = append(problems, fmt.Sprintf("%s of %d bytes, more than %d", t.name, len(t.text), t.most))
		}
		if !utf8.ValidString(t.text) {
			problems = append(problems, t.name+" is not valid UTF-8")
		}
		if strings.ContainsFunc(t.text, func(r rune) bool { return unicode.IsControl(r) && r != '\t' && r != '\n' }) {
			problems = append(problems, t.name+" has control characters")
		}
	}
	if got != nil && (got.StatusCode < 0 || got.StatusCode > 999) {
		problems = append(problems, fmt.Sprintf("status code %d", got.StatusCode))
	}
	return problems
}

// Texts of errors.
const (
	malformed  = "the answer is not valid HTTP: "
	badStatus  = malformed + "its status code is not one of three digits"
	badVersion = malformed + "it does not begin with a version of HTTP"
	badLine    = malformed + "it does not begin with a status line"
	badLength  = malformed + "its Content-Length is not a number"
	badCoding  = malformed + "its Transfer-Encoding is not chunked alone, as it must be"
	badValue   = malformed + "the value of a header has a control character"
	inTLS      = "the receiver answers in TLS, and the URL begins with http://"
	plainHTTP  = "the receiver answers in plain HTTP, and the URL begins with https://"
	brokenOff  = "the answer broke off"
	unreadable = "the body of the answer could not be read: "
	badChunk   = unreadable + "the length of a chunk is not a number"
	longChunk  = unreadable + "the line before a chunk is too long"
	longEnd    = unreadable + "what follows it does not end"
	noAnswer   = "the receiver closed the connection without an answer"
	wasReset   = "connection reset by peer"
	brokenPipe = "broken pipe"
	unsent     = "the request could not be sent"
	tooLarge   = "the headers of the answer are larger than 64 KiB"
	notTLS     = "the receiver does not speak TLS"

	whileNegotiating = "while negotiating TLS"
	whileWaiting     = "while waiting for the answer"
	whileReading     = "while reading the headers of the answer"
	whileInBody      = "while reading the body of the answer"
)

// ok is how most answers begin.
const ok = "HTTP/1.1 200 OK\r\n"

// fails is for inputs that end in an error and without an answer.
func fails(errs ...string) Want { return Want{Errors: errs} }

// timesOut is for inputs without an answer that are waited for in vain.
func timesOut(while string) Want { return Want{TimedOut: while} }

// answers is for inputs that end without an error.
func answers(status int, header, body string) Want {
	return Want{Response: &Response{StatusCode: status, Header: header, Body: body}}
}

// cut is a text without what goes beyond a bound that does not fall into a
// character.
func cut(text string, most int) string { return text[:most] }
