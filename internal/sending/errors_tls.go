package sending

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"strings"
)

const (
	refusedTLS = "the receiver refused TLS: "
	brokenTLS  = "the receiver breaks the rules of TLS"
	notTLS     = "the receiver does not speak TLS"
	plainHTTP  = "the receiver answers in plain HTTP, and the URL begins with https://"
)

// alertOf names the alert by which the receiver ended the connection, in the words of
// crypto/tls; "" where it did not.
func alertOf(err error) string {
	if e, ok := errors.AsType[*net.OpError](err); ok && e.Op == "remote error" {
		return strings.TrimPrefix(e.Err.Error(), "tls: ")
	}
	return ""
}

const handshakeFailure = "handshake failure"

// certificateAlerts are about the certificate of this side, or the want of one.
var certificateAlerts = map[string]bool{
	"bad certificate": true, "unsupported certificate": true, "revoked certificate": true, "expired certificate": true,
	"unknown certificate": true, "unknown certificate authority": true, "access denied": true, "certificate required": true,
}

// otherAlerts are those of which more can be told than their name.
var otherAlerts = map[string]string{
	"protocol version not supported": "it speaks neither TLS 1.2 nor TLS 1.3",
	"insufficient security level":    "it wants stronger algorithms than the operator offers",
	"unrecognized name":              "it serves no host of the name in the URL",
	"no application protocol":        "it does not speak HTTP/1.1",
	"internal error":                 "something is wrong with the receiver itself",
}

// describeAlert tells what an alert means, as far as this side can know. The same alert
// has several reasons; whether a client certificate was asked for before tells some
// apart.
func (p *progress) describeAlert(name string, shown bool) string {
	meaning := otherAlerts[name]
	asked := p.asked.Load()
	switch {
	case (certificateAlerts[name] || name == handshakeFailure && asked) && shown:
		meaning = "it does not accept the client certificate"
	case certificateAlerts[name] || name == handshakeFailure && asked:
		meaning = "it wants a client certificate"
	case name == handshakeFailure && p.stage() > negotiating:
		// Only whoever negotiates once more, in TLS 1.2, says so that late.
		meaning = "after the request, when it asked for a client certificate"
	case name == handshakeFailure:
		meaning = "no cipher suite, key exchange or signature algorithm in common, or no such host; it did not ask for a client certificate"
	}
	if meaning == "" {
		return refusedTLS + name
	}
	return refusedTLS + name + ": " + meaning
}

// describeTLS leaves out what the errors of crypto/x509 tell of the time, which
// differs from one attempt to the next, and most of what they tell of the
// certificate's contents, which the receiver chose.
func describeTLS(err error) string {
	if e, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return describeUnknown(e)
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
	if e, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		return describeRecord(e)
	}
	if name := alertOf(err); name != "" {
		return refusedTLS + name
	}
	if e, ok := errors.AsType[*net.OpError](err); ok && e.Op == "local error" {
		if detail := strings.TrimPrefix(e.Err.Error(), "tls: "); detail != "no renegotiation" {
			return brokenTLS + ": " + detail
		}
		return "the receiver wants to negotiate TLS for the third time on one connection"
	}
	if detail, ok := strings.CutPrefix(err.Error(), "tls: "); ok {
		return describeNegotiation(detail)
	}
	return ""
}

// negotiations are errors of crypto/tls that have no type, by how they begin.
var negotiations = []struct{ prefix, text string }{
	{"server selected unsupported protocol version 302", "the receiver speaks nothing newer than TLS 1.1, and 1.2 is the least"},
	{"server selected unsupported protocol version 301", "the receiver speaks nothing newer than TLS 1.0, and 1.2 is the least"},
	{"server selected unsupported protocol version 300", "the receiver speaks nothing newer than SSL 3.0, and TLS 1.2 is the least"},
	{"server selected unsupported protocol version", "the receiver chose a version of TLS that was not offered"},
	{"server chose an unconfigured cipher suite", "the receiver chose a cipher suite that was not offered"},
	{"server's identity changed during renegotiation", "the receiver showed another certificate when TLS was negotiated once more"},
	{"certificate used with invalid signature algorithm", "the receiver signs with an algorithm that is not accepted, such as SHA-1"},
	{"server sent certificate containing RSA key larger than", "a certificate of the receiver has an RSA key of more than 8192 bits"},
	{"server's certificate contains an unsupported type of public key", "the receiver's certificate has a key of a type that is not supported"},
	{"failed to parse certificate from server: x509: negative serial number", "a certificate of the receiver has a negative serial number, which is not accepted"},
	{"failed to parse certificate from server", "a certificate of the receiver cannot be read"},
}

func describeNegotiation(detail string) string {
	for _, known := range negotiations {
		if strings.HasPrefix(detail, known.prefix) {
			return known.text
		}
	}
	if strings.Contains(detail, shortKey) {
		return "the receiver's certificate has an RSA key of less than 1024 bits"
	}
	detail, _, _ = strings.Cut(detail, ": ")
	return "TLS could not be negotiated: " + detail
}

const (
	shortKey      = "-bit keys are insecure"
	weakAlgorithm = "cannot verify signature: insecure algorithm"
)

// describeUnknown tells signatures that are not accepted, be they of a known authority or
// not, from authorities that are not known.
func describeUnknown(e x509.UnknownAuthorityError) string {
	hint := e.Error()
	switch {
	case strings.Contains(hint, weakAlgorithm):
		return "certificate is signed with SHA-1 or an older algorithm, which is not accepted"
	case strings.Contains(hint, shortKey):
		return "certificate is signed by an RSA key of less than 1024 bits, which is not accepted"
	default:
		return "certificate signed by unknown authority"
	}
}

func describeRecord(e tls.RecordHeaderError) string {
	if string(e.RecordHeader[:]) == "HTTP/" {
		return plainHTTP
	}
	if strings.HasPrefix(e.Msg, "first record") || strings.HasPrefix(e.Msg, "unsupported SSLv2") {
		return notTLS
	}
	return brokenTLS
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
