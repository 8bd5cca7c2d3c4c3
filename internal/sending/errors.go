package sending

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"strings"
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

func newError(err error, at stage, interrupted, timedOut bool, r Request) *Error {
	var text string
	switch {
	case interrupted:
		text = "interrupted " + at.during()
	case timedOut:
		text = fmt.Sprintf("timeout after %s %s", r.Timeout, at.during())
	default:
		if text = describe(err); text == "" {
			text = at.failure() // and no more: the rest may be the receiver's words
		}
		if isTimeout(err) {
			text = "timeout " + at.during()
		}
	}
	text, _ = keep(r.Redact(text), MaxError)
	return &Error{text: text, err: err}
}

// during tells what was being done.
func (s stage) during() string {
	switch s {
	case resolving:
		return "while looking up the host"
	case connecting:
		return "while connecting"
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

// failure tells what failed where nothing better is known.
func (s stage) failure() string {
	switch s {
	case negotiating:
		return "TLS could not be negotiated"
	case writing:
		return "the request could not be sent"
	case waiting, readingHeader:
		return "the answer is not valid HTTP"
	case readingBody:
		return "the body of the answer could not be read"
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
	if e, ok := errors.AsType[*Error](err); ok {
		return e.text
	}
	if _, ok := errors.AsType[proxyDialError](err); ok {
		return "the egress proxy cannot be reached"
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
	return describeHTTP(err.Error())
}

// describeTLS leaves out what the errors of crypto/x509 tell of the time, which
// differs from one attempt to the next, and most of what they tell of the
// certificate's contents, which the receiver chose.
func describeTLS(err error) string {
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return "certificate signed by unknown authority"
	}
	if e, ok := errors.AsType[x509.HostnameError](err); ok && e.Certificate != nil {
		return "certificate is issued for " + issuedFor(e.Certificate) + ", not for " + e.Host
	}
	if e, ok := errors.AsType[x509.CertificateInvalidError](err); ok {
		return describeInvalid(e)
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return "certificate could not be verified"
	}
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		return notTLS
	}
	if e, ok := errors.AsType[*net.OpError](err); ok && e.Op == "remote error" {
		return "the receiver refused TLS: " + strings.TrimPrefix(e.Err.Error(), "tls: ")
	}
	if detail, ok := strings.CutPrefix(err.Error(), "tls: "); ok {
		detail, _, _ = strings.Cut(detail, ": ")
		return "TLS could not be negotiated: " + detail
	}
	return ""
}

func describeInvalid(e x509.CertificateInvalidError) string {
	switch {
	case e.Reason == x509.Expired && e.Cert == nil:
		return "certificate has expired or is not yet valid"
	case e.Reason == x509.Expired && strings.Contains(e.Detail, " is before "): // the current time
		return "certificate is valid from " + date(e.Cert.NotBefore) + " on, not yet"
	case e.Reason == x509.Expired:
		return "certificate expired on " + date(e.Cert.NotAfter)
	case e.Reason == x509.IncompatibleUsage:
		return "certificate is not meant for servers"
	default:
		return "certificate is not valid"
	}
}

const (
	noAnswer  = "the receiver closed the connection without an answer"
	notTLS    = "the receiver does not speak TLS"
	bigHeader = "the headers of the answer are larger than 64 KiB"
)

// httpErrors are errors of net/http that have no type, by how they begin.
var httpErrors = []struct{ prefix, text string }{
	{"server closed idle connection", noAnswer},
	{"server gave HTTP response to HTTPS client", notTLS},
	{"server response headers exceeded", bigHeader},
	{"invalid header field", "a header of the request cannot be sent"},
}

func describeHTTP(text string) string {
	for _, prefix := range []string{"net/http: HTTP/1.x transport connection broken: ", "net/http: ", "http: "} {
		text = strings.TrimPrefix(text, prefix)
	}
	for _, known := range httpErrors {
		if strings.HasPrefix(text, known.prefix) {
			return known.text
		}
	}
	return ""
}
