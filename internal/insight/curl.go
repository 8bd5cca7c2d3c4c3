package insight

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/delivery"
	"github.com/horizoncd/webhook-operator/internal/format"
	"github.com/horizoncd/webhook-operator/internal/payload"
	"github.com/horizoncd/webhook-operator/internal/redaction"
	"github.com/horizoncd/webhook-operator/internal/signing"
)

// longestArgument is how long a body may be as an argument of a command: Linux allows 128
// KiB. A longer one goes through a pipe.
const longestArgument = 64 << 10

// ErrNotSent says that there is no request yet.
var ErrNotSent = errors.New("nothing has been sent yet, so there is no request")

// UnquotableError says that the body of a delivery cannot be in a script.
type UnquotableError struct{ Delivery string }

func (e *UnquotableError) Error() string {
	return "the body of " + e.Delivery + " has a NUL character, which no shell can pass on"
}

// Curl returns a script of sh that sends a delivery's request by curl: that of the last
// attempt or, before the first, the one that w would get. w may be nil. Secrets are not known
// here, and are left to variables of the shell; one in the body stays [redacted], and a
// comment says so. Errors are ErrNotSent, CutError, UnquotableError, and those of
// payload.Of.
func Curl(d *v1alpha1.WebhookDelivery, w *v1alpha1.Webhook) (string, error) {
	if d.Status.Request != nil {
		body, err := SentBody(d)
		switch {
		case err != nil:
			return "", err
		case body.Cut:
			return "", &CutError{d.Namespace, d.Name}
		case strings.ContainsRune(body.Text, 0):
			return "", &UnquotableError{d.Name}
		}
		script := curlOf(d.Status.Request.URL, d.Status.Request.Headers, body.Text)
		script = unsigned(w) + script
		if body.Redacted {
			script = "# Secrets in the body are kept as " + redaction.Placeholder + ".\n" + script
		}
		return script, nil
	}
	if w == nil {
		return "", ErrNotSent
	}
	id := delivery.MessageID(d.Spec.EventRef.UID, d.Spec.WebhookRef.UID)
	body, err := payload.Of(d, w, id)
	switch {
	case err != nil:
		return "", fmt.Errorf("making the body of %s: %w", d.Name, err)
	case bytes.ContainsRune(body, 0):
		return "", &UnquotableError{d.Name}
	}
	f := format.Of(w)
	headers := "Content-Type: " + f.ContentType + "\n" + signing.HeaderID + ": " + id
	if w.Spec.SecretRef != nil && !f.Room {
		headers += "\n" + signing.HeaderSecret + ": " + redaction.Placeholder
	}
	return unsigned(w) + curlOf(w.Spec.URL, headers, string(body)), nil
}

// unsigned is a comment for a script that sends to a room which asks for signatures: how they
// are made is the format's, and the key is not known here.
func unsigned(w *v1alpha1.Webhook) string {
	if w == nil || w.Spec.SecretRef == nil || !format.Of(w).Signs() {
		return ""
	}
	return "# " + format.Of(w).Title + " refuses this while its robot asks for signatures: each request is signed anew with the key of the robot.\n"
}

// Body is the body of the last request of a delivery, as far as it is kept.
type Body struct {
	Text string
	// Cut says that it is not whole: at most 16 KiB are kept, and nothing of it where the
	// API server refused a record of that size.
	Cut bool
	// Redacted says that a secret in it may be [redacted].
	Redacted bool
	// Made says that it is not spec.payload, but was made of that.
	Made bool
}

// SentBody returns the body of the last request of a delivery. The error is ErrNotSent.
func SentBody(d *v1alpha1.WebhookDelivery) (Body, error) {
	switch r := d.Status.Request; {
	case r == nil:
		return Body{}, ErrNotSent
	case r.Body != "" || r.BodyTruncated:
		return Body{Text: r.Body, Cut: r.BodyTruncated, Redacted: strings.Contains(r.Body, redaction.Placeholder), Made: true}, nil
	}
	return Body{Text: d.Spec.Payload}, nil
}

// CutError says that a request cannot be repeated by hand, since its body is not whole.
type CutError struct{ Namespace, Delivery string }

func (e *CutError) Error() string {
	return "the body of " + e.Delivery + " is not kept whole (at most 16 KiB are), so the request cannot be repeated by hand: " +
		command("resend", e.Namespace, e.Delivery) + " makes it anew"
}

// curlOf returns a script of sh.
func curlOf(address, headers, body string) string {
	var notes []string
	args := []string{"curl --globoff --request POST"}
	if address == "" || strings.Contains(address, redaction.Placeholder) {
		notes = append(notes, "The address is a secret: set URL to it.")
		args = append(args, `--url "$URL"`)
	} else {
		args = append(args, "--url "+ShellQuote(address))
	}
	signed := false
	for line := range strings.Lines(headers) {
		name, value, found := strings.Cut(strings.TrimRight(line, "\r\n"), ":")
		value = strings.TrimSpace(value)
		switch {
		case !found || !headerName.MatchString(name):
			continue
		case strings.EqualFold(name, signing.HeaderTimestamp), strings.EqualFold(name, signing.HeaderSignature):
			signed = true
		case strings.EqualFold(name, signing.HeaderSecret):
			notes = append(notes, "Set TOKEN to the receiver's token.")
			args = append(args, `--header "`+http.CanonicalHeaderKey(name)+`: $TOKEN"`)
		case value == "":
			args = append(args, "--header "+ShellQuote(name+";")) // curl sends it empty
		default:
			args = append(args, "--header "+ShellQuote(name+": "+value))
		}
	}
	if signed {
		notes = append(notes, "webhook-timestamp and webhook-signature are left out: they are made for each request anew, with a key.")
	}
	pipe := ""
	if len(body) > longestArgument || !plain(body) {
		pipe, args = printfQuote(body)+" | ", append(args, "--data-binary @-")
	} else {
		args = append(args, "--data-raw "+ShellQuote(body))
	}
	for i, note := range notes {
		notes[i] = "# " + note + "\n"
	}
	return strings.Join(notes, "") + pipe + strings.Join(args, " \\\n  ") + "\n"
}

var headerName = regexp.MustCompile("^[A-Za-z0-9!#$%&'*+.^_`|~-]+$")

// plain tells whether a text can be shown in a terminal as it is.
func plain(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return !unicode.IsPrint(r) || r == unicode.ReplacementChar }) < 0
}

// ShellQuote quotes a text for sh, so that nothing in it means anything to the shell or to
// a terminal.
func ShellQuote(s string) string {
	if !plain(s) {
		return `"$(` + printfQuote(s) + `)"`
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// printfQuote returns a command of sh that writes a text byte for byte: what a terminal
// would not just show is written in octal.
func printfQuote(s string) string {
	var b strings.Builder
	b.WriteString(`printf '%b' '`)
	for i := 0; i < len(s); {
		r, size := rune(s[i]), 1
		if r >= 0x80 {
			r, size = utf8.DecodeRuneInString(s[i:])
		}
		switch {
		case r == '\\':
			b.WriteString(`\\`)
		case r == '\'':
			b.WriteString(`'\''`)
		case r != unicode.ReplacementChar && unicode.IsPrint(r):
			b.WriteString(s[i : i+size])
		default:
			for _, c := range []byte(s[i : i+size]) {
				fmt.Fprintf(&b, `\0%03o`, c)
			}
		}
		i += size
	}
	b.WriteByte('\'')
	return b.String()
}
