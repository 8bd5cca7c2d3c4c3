package sending

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/url"
	"os"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/horizoncd/webhook-operator/test/hostile/inputs"
)

func dialError(err error) error {
	return &net.OpError{
		Op: "dial", Net: "tcp",
		Source: &net.TCPAddr{IP: net.IPv4(10, 0, 0, 7), Port: 51234},
		Addr:   &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 443},
		Err:    err,
	}
}

func TestErrorText(t *testing.T) {
	for name, tc := range map[string]struct {
		err  error
		want string
	}{
		"none":              {want: ""},
		"refused":           {err: dialError(os.NewSyscallError("connect", syscall.ECONNREFUSED)), want: "connection refused"},
		"unreachable":       {err: dialError(os.NewSyscallError("connect", syscall.EHOSTUNREACH)), want: "no route to host"},
		"reset":             {err: fmt.Errorf("net/http: Transport failed to read from server: %w", dialError(syscall.ECONNRESET)), want: "connection reset by peer"},
		"no such host":      {err: dialError(&net.DNSError{Err: "no such host", Name: "ci.example.com", Server: "10.96.0.10:53", IsNotFound: true}), want: "no such host ci.example.com"},
		"no answer of DNS":  {err: dialError(&net.DNSError{Err: "read udp 10.0.0.7:51234->10.96.0.10:53: i/o timeout", Name: "ci.example.com", IsTimeout: true}), want: "the host ci.example.com could not be looked up"},
		"DNS misbehaves":    {err: dialError(&net.DNSError{Err: "server misbehaving", Name: "ci.example.com", Server: "10.96.0.10:53", IsTemporary: true}), want: "the host ci.example.com could not be looked up"},
		"unknown authority": {err: &tls.CertificateVerificationError{Err: x509.UnknownAuthorityError{Cert: &x509.Certificate{}}}, want: "certificate signed by unknown authority"},
		"expired":           {err: &tls.CertificateVerificationError{Err: x509.CertificateInvalidError{Reason: x509.Expired, Detail: "current time 2026-11-23T09:00:00Z is after 2026-11-22T00:00:00Z"}}, want: "certificate has expired or is not yet valid"},
		"not for servers":   {err: &tls.CertificateVerificationError{Err: x509.CertificateInvalidError{Reason: x509.IncompatibleUsage, Detail: "the receiver's words"}}, want: "certificate is not meant for servers"},
		"not for this name": {err: &tls.CertificateVerificationError{Err: x509.CertificateInvalidError{Reason: x509.CANotAuthorizedForThisName, Detail: "the receiver's words"}}, want: "certificate is not valid"},
		"not TLS":           {err: tls.RecordHeaderError{Msg: "first record does not look like a TLS handshake"}, want: "the receiver does not speak TLS"},
		"TLS, plain text":   {err: errors.New("http: server gave HTTP response to HTTPS client"), want: "the receiver answers in plain HTTP, and the URL begins with https://"},
		"TLS, other":        {err: errors.New("tls: failed to parse certificate from server: x509: the receiver's words"), want: "a certificate of the receiver cannot be read"},
		"TLS 1.0 only":      {err: errors.New("tls: server selected unsupported protocol version 301"), want: "the receiver speaks nothing newer than TLS 1.0, and 1.2 is the least"},
		"another cipher":    {err: errors.New("tls: server chose an unconfigured cipher suite"), want: "the receiver chose a cipher suite that was not offered"},
		"another identity":  {err: errors.New("tls: server's identity changed during renegotiation"), want: "the receiver showed another certificate when TLS was negotiated once more"},
		"negative serial":   {err: errors.New("tls: failed to parse certificate from server: x509: negative serial number"), want: "a certificate of the receiver has a negative serial number, which is not accepted"},
		"short key":         {err: errors.New("tls: invalid signature by the server certificate: crypto/rsa: 768-bit keys are insecure (see https://go.dev/pkg/crypto/rsa#hdr-Minimum_key_size)"), want: "the receiver's certificate has an RSA key of less than 1024 bits"},
		"signed with SHA-1": {err: &tls.CertificateVerificationError{Err: unknownBecause(t, x509.InsecureAlgorithmError(x509.SHA1WithRSA))}, want: "certificate is signed with SHA-1 or an older algorithm, which is not accepted"},
		"broken rules":      {err: &net.OpError{Op: "local error", Err: errors.New("tls: bad record MAC")}, want: "the receiver breaks the rules of TLS: bad record MAC"},
		"record too large":  {err: tls.RecordHeaderError{Msg: "oversized record received with length 65535"}, want: "the receiver breaks the rules of TLS"},
		"broken off":        {err: fmt.Errorf("net/http: HTTP/1.x transport connection broken: %w", io.ErrUnexpectedEOF), want: "the answer broke off"},
		"timeout":           {err: fmt.Errorf("getting: %w", context.DeadlineExceeded), want: "timeout"},
		"interrupted":       {err: context.Canceled, want: "interrupted"},
		"of an exchange":    {err: fmt.Errorf("sending: %w", &Error{text: "what happened", err: io.EOF}), want: "what happened"},
		"of a URL":          {err: &url.Error{Op: "parse", URL: "http://x/?token=s3cr3t", Err: errors.New("no good")}, want: "no good"},
		"another":           {err: errors.New("signing: no secret\x00"), want: "signing: no secret\ufffd"},
		"too long":          {err: errors.New(strings.Repeat("ü", MaxError)), want: strings.Repeat("ü", MaxError/2)},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := gocmp.Diff(tc.want, ErrorText(tc.err)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// What the machine says, rather than what it is thought to say.
func TestErrorsOfConnecting(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := listener.Addr().String()
	listener.Close()
	plain, _ := rawReceiver(t, inputs.Say("HTTP/1.1 400 Bad Request\r\n\r\n"))
	for name, tc := range map[string]struct {
		target string
		want   string
	}{
		"refused":          {target: "http://" + closed + "/?token=s3cr3t", want: "connection refused"},
		"no such host":     {target: "http://host.invalid/?token=s3cr3t", want: "no such host host.invalid"},
		"no zone":          {target: "http://[fe80::1%25nozone]:1/", want: "invalid argument"},
		"plain, not https": {target: strings.Replace(plain, "http:", "https:", 1), want: "the receiver closed the connection while negotiating TLS"},
	} {
		t.Run(name, func(t *testing.T) {
			x := send(t, newSender(t, Options{}), tc.target, nil)
			if diff := gocmp.Diff(tc.want, errorText(x.Err)); diff != "" {
				t.Errorf("(-want +got):\n%s\ncause: %v", diff, errors.Unwrap(x.Err))
			}
			if x.Interrupted || x.Response != nil {
				t.Errorf("%+v, want an error of its own", x)
			}
		})
	}
}

func TestErrorIsRedacted(t *testing.T) {
	x := send(t, newSender(t, Options{}), "http://s3cr3t.invalid/", func(r *Request) {
		r.Redact = func(text string) string { return strings.ReplaceAll(text, "s3cr3t", "[redacted]") }
	})
	if got := errorText(x.Err); strings.Contains(got, "s3cr3t") || !strings.Contains(got, "[redacted].invalid") {
		t.Errorf("error %q, want it redacted", got)
	}
}

// unknownBecause is the error of an authority that is known and whose signature is not
// accepted.
func unknownBecause(t *testing.T, cause error) error {
	t.Helper()
	e := x509.UnknownAuthorityError{Cert: &x509.Certificate{}}
	if strings.Contains(e.Error(), cause.Error()) {
		t.Fatal("the cause is told anyway")
	}
	hint := reflect.ValueOf(&e).Elem().FieldByName("hintErr")
	reflect.NewAt(hint.Type(), hint.Addr().UnsafePointer()).Elem().Set(reflect.ValueOf(&cause).Elem())
	certificate := reflect.ValueOf(&e).Elem().FieldByName("hintCert")
	reflect.NewAt(certificate.Type(), certificate.Addr().UnsafePointer()).Elem().Set(reflect.ValueOf(&x509.Certificate{}))
	return e
}

// What is known of alerts is known by the names that crypto/tls gives them.
func TestAlertsAreThoseOfTLS(t *testing.T) {
	known := map[string]bool{}
	for code := range 256 {
		known[strings.TrimPrefix(tls.AlertError(code).Error(), "tls: ")] = true
	}
	for _, name := range slices.Concat([]string{handshakeFailure}, slices.Collect(maps.Keys(certificateAlerts)), slices.Collect(maps.Keys(otherAlerts))) {
		if !known[name] {
			t.Errorf("there is no alert %q", name)
		}
	}
}
