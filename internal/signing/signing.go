// Package signing makes the headers of a request: Horizon's own, and those of
// Standard Webhooks (https://www.standardwebhooks.com), by which a receiver can
// tell who sent it, when, and whether it is a repetition.
package signing

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/horizoncd/webhook-operator/internal/characters"
	"github.com/horizoncd/webhook-operator/internal/redaction"
)

// Headers of a request.
const (
	// HeaderSecret carries the Webhook's token as it is. It is Horizon's own.
	HeaderSecret = "X-Horizon-Webhook-Secret"
	// HeaderID is the same for every attempt of one delivery.
	HeaderID = "Webhook-Id"
	// HeaderTimestamp is when the attempt began, in seconds since 1970.
	HeaderTimestamp = "Webhook-Timestamp"
	// HeaderSignature is "v1," and the HMAC-SHA256 of id, timestamp and body.
	HeaderSignature = "Webhook-Signature"

	// ContentType of every request, as Horizon spells it.
	ContentType = "application/json;charset=utf-8"

	// MaxSecretLen bounds a secret, in bytes: many servers take no more than
	// 8 KiB of headers in all.
	MaxSecretLen = 4096

	// keyPrefix marks a secret that is a base64 key (Standard Webhooks).
	keyPrefix = "whsec_"
)

// Headers returns what every request carries besides User-Agent, which is the
// sender's. A token is sent with it; key signs it or, without one, the token. Either
// may be nil.
func Headers(id string, at time.Time, body []byte, token, key *Secret) (http.Header, error) {
	h := http.Header{}
	h.Set("Content-Type", ContentType)
	h.Set(HeaderID, id)
	h.Set(HeaderTimestamp, strconv.FormatInt(at.Unix(), 10))
	if token != nil {
		if token.value == nil {
			return nil, errNoSecret
		}
		h.Set(HeaderSecret, token.Reveal())
	}
	if key = cmp.Or(key, token); key != nil {
		signature, err := key.Sign(id, at, body)
		if err != nil {
			return nil, err
		}
		h.Set(HeaderSignature, signature)
	}
	return h, nil
}

var errNoSecret = errors.New("signing: no secret")

// Secret is the token of a receiver, or the key of signatures. Printing it in any way
// shows "[redacted]"; only Reveal gives it away. The zero Secret is none.
type Secret struct {
	// A pointer, since fmt does not ask what is in an unexported field of
	// something else how to print itself, but prints only the address of this.
	value *string
}

// ParseSecret takes the value of a Kubernetes Secret's key. Line breaks at its
// end, which editors and echo leave, are cut off, and trimmed says so. An error
// says what is wrong with the value without showing any of it.
func ParseSecret(value []byte) (s Secret, trimmed bool, err error) {
	text := string(bytes.TrimRight(value, "\r\n"))
	trimmed = len(text) < len(value)
	switch {
	case text == "":
		return Secret{}, trimmed, errors.New("the value is empty")
	case len(text) > MaxSecretLen:
		return Secret{}, trimmed, fmt.Errorf("the value has %d bytes, more than the %d that a header may have", len(text), MaxSecretLen)
	// HTTP takes such spaces off, and the receiver would see another secret.
	case text[0] == ' ':
		return Secret{}, trimmed, errors.New("the value begins with a space")
	case text[len(text)-1] == ' ':
		return Secret{}, trimmed, errors.New("the value ends with a space")
	}
	for i, c := range []byte(text) {
		if c < ' ' || c > '~' {
			return Secret{}, trimmed, fmt.Errorf("byte %d of the value is %s, which a header cannot carry", i+1, characters.Name(text[i:]))
		}
	}

	if encoded, ok := strings.CutPrefix(text, keyPrefix); ok {
		// The decoder's own error would tell of the value.
		if key, err := base64.StdEncoding.DecodeString(encoded); err != nil || len(key) == 0 {
			return Secret{}, trimmed, fmt.Errorf("the value begins with %s, but what follows is not a base64 key", keyPrefix)
		}
	}
	return Secret{value: &text}, trimmed, nil
}

// Sign returns what proves a request to a receiver who knows the secret. It is about
// the id, the time in whole seconds, and the body.
func (s Secret) Sign(id string, at time.Time, body []byte) (string, error) {
	key, err := s.key()
	if err != nil {
		return "", err
	}
	signature, err := key.Sign(id, at, body)
	if err != nil {
		return "", fmt.Errorf("signing: %w", err)
	}
	return signature, nil
}

// key returns the key of signatures: what a secret that begins with whsec_ encodes, or
// the text as it is.
func (s Secret) key() (*standardwebhooks.Webhook, error) {
	if s.value == nil {
		return nil, errNoSecret
	}
	var key *standardwebhooks.Webhook
	var err error
	if strings.HasPrefix(*s.value, keyPrefix) {
		key, err = standardwebhooks.NewWebhook(*s.value)
	} else {
		key, err = standardwebhooks.NewWebhookRaw([]byte(*s.value))
	}
	if err != nil {
		return nil, errors.New("signing: the secret cannot be used as a key") // the cause would tell of it
	}
	return key, nil
}

// Reveal returns the secret itself, for those who have to look for it in what a
// receiver answers.
func (s Secret) Reveal() string {
	if s.value == nil {
		return ""
	}
	return *s.value
}

// String hides the secret.
func (s Secret) String() string { return redaction.Placeholder }

// GoString hides the secret.
func (s Secret) GoString() string { return redaction.Placeholder }

// Format hides the secret whatever the verb.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redaction.Placeholder) }

// LogValue hides the secret.
func (s Secret) LogValue() slog.Value { return slog.StringValue(redaction.Placeholder) }

// MarshalJSON hides the secret.
func (s Secret) MarshalJSON() ([]byte, error) { return []byte(`"` + redaction.Placeholder + `"`), nil }

// MarshalText hides the secret.
func (s Secret) MarshalText() ([]byte, error) { return []byte(redaction.Placeholder), nil }
