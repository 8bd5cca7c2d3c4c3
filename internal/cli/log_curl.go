package cli

import (
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/delivery"
	"github.com/horizoncd/webhook-operator/internal/redaction"
	"github.com/horizoncd/webhook-operator/internal/signing"
)

// longestArgument is how long a body may be as an argument of a command: Linux allows 128
// KiB. A longer one goes through a pipe.
const longestArgument = 64 << 10

// printCurl prints a command that sends the same request. Secrets are not known here, and
// are left to variables of the shell.
func (l *logOne) printCurl(d *v1alpha1.WebhookDelivery, w *v1alpha1.Webhook) error {
	if strings.ContainsRune(d.Spec.Payload, 0) {
		return fmt.Errorf("the body of %s has a NUL character, which no shell can pass on: save it with --body request, and send that", d.Name)
	}
	var address, headers string
	switch {
	case d.Status.Request != nil:
		address, headers = d.Status.Request.URL, d.Status.Request.Headers
	case w != nil:
		address = w.Spec.URL
	default:
		return errNotSent
	}
	if headers == "" {
		headers = "Content-Type: " + signing.ContentType + "\n" +
			signing.HeaderID + ": " + delivery.MessageID(d.Spec.EventRef.UID, d.Spec.WebhookRef.UID)
		if w.Spec.SecretRef != nil {
			headers += "\n" + signing.HeaderSecret + ": " + redaction.Placeholder
		}
	}
	_, err := io.WriteString(l.Out, curlOf(address, headers, d.Spec.Payload))
	return err
}

// curlOf returns a script of sh.
func curlOf(address, headers, body string) string {
	var notes []string
	args := []string{"curl --globoff --request POST"}
	if address == "" || strings.Contains(address, redaction.Placeholder) {
		notes = append(notes, "The address is a secret: set URL to it.")
		args = append(args, `--url "$URL"`)
	} else {
		args = append(args, "--url "+shellQuote(address))
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
			args = append(args, "--header "+shellQuote(name+";")) // curl sends it empty
		default:
			args = append(args, "--header "+shellQuote(name+": "+value))
		}
	}
	if signed {
		notes = append(notes, "webhook-timestamp and webhook-signature are left out: they are made for each request anew, with a key.")
	}
	pipe := ""
	if len(body) > longestArgument || !plain(body) {
		pipe, args = printfQuote(body)+" | ", append(args, "--data-binary @-")
	} else {
		args = append(args, "--data-raw "+shellQuote(body))
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

// shellQuote quotes a text for sh, so that nothing in it means anything to the shell or to
// a terminal.
func shellQuote(s string) string {
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
