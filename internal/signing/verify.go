package signing

import (
	"crypto/subtle"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/horizoncd/webhook-operator/internal/redaction"
)

// version marks signatures by HMAC-SHA256 (Standard Webhooks).
const version = "v1"

// ErrMismatch says that no signature is of the key, the id, the time and the body. Which
// of them is another one, nobody can tell; Accident knows what happens often.
var ErrMismatch = errors.New(HeaderSignature + " is not the signature of this body by this key")

// HeaderError says that a header is missing or cannot be what it should be.
type HeaderError struct {
	// Name of the header.
	Name string
	// Problem is what is wrong with it, such as "is missing".
	Problem string
}

func (e *HeaderError) Error() string { return e.Name + " " + e.Problem }

// AgeError says that a signature holds, and is of a time that is too far off. Otherwise
// who has seen a request once could repeat it for ever.
type AgeError struct {
	// At is when it was signed.
	At time.Time
	// Age is how long ago that was; negative for a time to come.
	Age time.Duration
	// Tolerance is how far off it may be.
	Tolerance time.Duration
}

func (e *AgeError) Error() string {
	if e.Age < 0 {
		return fmt.Sprintf("signed at %s, %s from now, more than %s ahead", e.At.UTC().Format(time.RFC3339), -e.Age, e.Tolerance)
	}
	return fmt.Sprintf("signed at %s, %s ago, more than %s", e.At.UTC().Format(time.RFC3339), e.Age, e.Tolerance)
}

// Verify checks the signature of a request as a receiver should: one of those in
// Webhook-Signature has to be of the key, the id, the time and the body. Versions other
// than v1 are ignored. A tolerance of 0 leaves the time unchecked. It returns a
// HeaderError, ErrMismatch, an AgeError, or when the request was signed.
func Verify(h http.Header, body []byte, key Secret, now time.Time, tolerance time.Duration) (time.Time, error) {
	m, err := messageOf(h)
	if err != nil {
		return time.Time{}, err
	}
	want, err := key.Sign(m.id, m.at, body)
	if err != nil {
		return time.Time{}, err
	}
	holds := 0
	for _, signature := range m.signatures {
		// All are compared, each in constant time.
		holds |= subtle.ConstantTimeCompare([]byte(signature), []byte(want))
	}
	if holds == 0 {
		return time.Time{}, ErrMismatch
	}
	if age := now.Sub(m.at); tolerance > 0 && age.Abs() > tolerance {
		return time.Time{}, &AgeError{At: m.at, Age: age.Truncate(time.Second), Tolerance: tolerance}
	}
	return m.at, nil
}

// message is what the headers of a request say about its signature.
type message struct {
	id string
	at time.Time
	// signatures are those of the version that is known, with it.
	signatures []string
	// raw are all of them as they are.
	raw []string
}

// messageOf reads the headers of a request.
func messageOf(h http.Header) (message, error) {
	for _, name := range []string{HeaderID, HeaderTimestamp, HeaderSignature} {
		switch value := h.Get(name); {
		case value == "":
			return message{}, &HeaderError{name, "is missing"}
		case strings.Contains(value, redaction.Placeholder):
			return message{}, &HeaderError{name, "is " + redaction.Placeholder +
				", as in every record: take the headers that the receiver got"}
		}
	}
	m := message{id: h.Get(HeaderID), raw: strings.Split(strings.Join(h.Values(HeaderSignature), " "), " ")}
	text := h.Get(HeaderTimestamp)
	seconds, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return message{}, &HeaderError{HeaderTimestamp, fmt.Sprintf("is %q, and not a number of seconds since 1970", text)}
	}
	m.at = time.Unix(seconds, 0)
	for _, raw := range m.raw {
		// Whatever follows another comma is left aside, as by the libraries.
		if v, rest, ok := strings.Cut(raw, ","); ok && v == version {
			signature, _, _ := strings.Cut(rest, ",")
			m.signatures = append(m.signatures, version+","+signature)
		}
	}
	return m, nil
}
