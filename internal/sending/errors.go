package sending

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"syscall"
)

// Error is why an exchange failed, in words for people: the same each time it
// fails in the same way, without secrets, the URL, local ports, or any text of
// the receiver but dates and up to three host names of its certificate.
type Error struct {
	text string
	err  error
}

// Error returns up to MaxError bytes.
func (e *Error) Error() string { return e.text }

// Unwrap returns the cause. Its text may hold what Error's does not.
func (e *Error) Unwrap() error { return e.err }

var errURL = errors.New("the URL cannot be used")

// ErrorText returns what to show of an error of Exchange, or of another one that
// may hold such a one: in up to MaxError bytes, and never the query of a URL.
func ErrorText(err error) string {
	if err == nil {
		return ""
	}
	text := describe(err)
	if text == "" {
		if u, ok := errors.AsType[*url.Error](err); ok {
			err = u.Err
		}
		text = err.Error()
	}
	text, _ = keep(text, MaxError)
	return text
}

func newError(err error, p *progress, interrupted, timedOut bool, r Request) *Error {
	var text string
	switch {
	case interrupted:
		text = "interrupted " + p.during()
	case timedOut:
		text = fmt.Sprintf("timeout after %s %s", r.Timeout, p.during())
	default:
		if text = p.describe(err, r.Certificate != nil); text == "" {
			text = p.stage().failure() // and no more: the rest may be the receiver's words
		}
		if isTimeout(err) {
			text = "timeout " + p.during()
		}
	}
	text, _ = keep(r.Redact(text), MaxError)
	return &Error{text: text, err: err}
}

// describe names the causes whose words depend on how far the exchange has come, and
// the others as describe does. A certificate of this side may have been shown.
func (p *progress) describe(err error, shown bool) string {
	if text := describeTyped(err); text != "" {
		return text
	}
	at := p.stage()
	verb := ""
	switch {
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		verb = "reset"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), describeHTTP(err) == noAnswer:
		verb = "closed"
	}
	switch {
	case verb != "" && p.atProxy():
		return "the egress proxy " + verb + " the connection"
	case at == asking && describeTLS(err) == "":
		return "the answer of the egress proxy is not valid HTTP"
	case verb != "" && at == negotiating:
		return p.receiver() + " " + verb + " the connection while negotiating TLS"
	case verb == "closed" && at < readingHeader:
		return p.receiver() + closedUnanswered
	}
	if name := alertOf(err); name != "" {
		return p.describeAlert(name, shown)
	}
	return describe(err)
}

// during tells what was being done.
func (p *progress) during() string {
	at := p.stage()
	switch {
	case p.via != direct && at == resolving:
		return "while looking up the egress proxy"
	case p.via != direct && at == connecting:
		return "while connecting to the egress proxy"
	}
	switch at {
	case resolving:
		return "while looking up the host"
	case connecting:
		return "while connecting"
	case asking:
		return "while waiting for the egress proxy"
	case negotiating:
		return "while negotiating TLS"
	case writing:
		return "while sending the request"
	case waiting:
		return "while waiting for the answer"
	case readingHeader:
		return "while reading the headers of the answer"
	case readingBody:
		return "while reading the body of the answer"
	default:
		return "before connecting"
	}
}

// receiver names who is at the other end, as far as is known.
func (p *progress) receiver() string {
	if p.via == tunnelled {
		return "the receiver or the egress proxy"
	}
	return "the receiver"
}

// atProxy tells whether nobody but the proxy can have ended the connection.
func (p *progress) atProxy() bool {
	at := p.stage()
	return at == asking || p.via == forwarded && (at == writing || at == waiting)
}

// failure tells what failed where nothing better is known.
func (s stage) failure() string {
	switch s {
	case negotiating:
		return "TLS could not be negotiated"
	case writing:
		return "the request could not be sent"
	case waiting, readingHeader:
		return notHTTP
	case readingBody:
		return unreadable
	default:
		return "the connection could not be made"
	}
}

func isTimeout(err error) bool {
	timeout, ok := errors.AsType[net.Error](err)
	return ok && timeout.Timeout()
}

// describe names the causes that are common, and returns "" for others.
func describe(err error) string {
	if text := describeTyped(err); text != "" {
		return text
	}
	if text := describeTLS(err); text != "" {
		return text
	}
	if e, ok := errors.AsType[syscall.Errno](err); ok {
		return e.Error()
	}
	switch {
	case errors.Is(err, errURL):
		return errURL.Error()
	case errors.Is(err, context.DeadlineExceeded):
		return "timeout"
	case errors.Is(err, context.Canceled):
		return "interrupted"
	case errors.Is(err, io.ErrUnexpectedEOF):
		return "the answer broke off"
	case errors.Is(err, io.EOF):
		return noAnswer
	}
	return describeHTTP(err)
}

// describeTyped names the causes that have a type of their own.
func describeTyped(err error) string {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.text
	}
	if e, ok := errors.AsType[proxyDialError](err); ok {
		return e.describe()
	}
	if e, ok := errors.AsType[*denial](err); ok {
		return e.Error()
	}
	if e, ok := errors.AsType[proxyError](err); ok {
		return e.Error()
	}
	if e, ok := errors.AsType[*net.DNSError](err); ok {
		if e.IsNotFound {
			return "no such host " + e.Name
		}
		return "the host " + e.Name + " could not be looked up"
	}
	return ""
}
