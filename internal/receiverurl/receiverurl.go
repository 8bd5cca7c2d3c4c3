// Package receiverurl knows the addresses that Webhooks are sent to: which of them
// are valid, what is shown of them, and what gives one away that is a secret.
package receiverurl

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/horizoncd/webhook-operator/internal/characters"
	"github.com/horizoncd/webhook-operator/internal/redaction"
)

// MaxLen bounds a URL, in bytes, as the CRD does.
const MaxLen = 2048

const (
	// maxHost bounds what is shown of a host: more than the longest name of DNS
	// and a port.
	maxHost = 260
	// maxParts bounds how many parts of an address are looked for in answers.
	maxParts = 32
)

// Target is an address to send to. Printing it shows what everybody may see.
type Target struct {
	// A pointer, since fmt does not ask what is in an unexported field of
	// something else how to print itself, but prints only the address of this.
	url    *string
	shown  string
	secret bool
}

// Plain returns the target of a URL that everybody may see and that the API
// server has checked.
func Plain(address string) Target { return Target{url: &address, shown: address} }

// The rules of the CRD for spec.url, in Go: a test in api/v1alpha1 holds both to
// the same answers.
var (
	absolute = regexp.MustCompile(`^(?i)https?://[^/?#]`)
	encoded  = regexp.MustCompile(`^([A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=-]|%[0-9A-Fa-f]{2})*`)
	zone     = regexp.MustCompile(`^[A-Za-z]+://\[[^\]/?#]*%`)
	mapped   = regexp.MustCompile(`^(?i)[a-z]+://\[[0:]*:ffff:([0-9.]+|[0-9a-f]{1,4}:[0-9a-f]{1,4})\]`)
	userInfo = regexp.MustCompile(`^[A-Za-z]+://[^/?#]*@`)
	hostPort = regexp.MustCompile(`^[A-Za-z]+://((?:[^./?#:\[\]@%!$&'()*+,;=~]+\.?)+|\[[0-9A-Fa-f]*:[0-9A-Fa-f:.]+\])(?::([0-9]+))?(?:[/?#]|$)`)
)

// Parse takes the value of a Kubernetes Secret's key for the URL of a receiver
// that is a secret itself. Line breaks at its end are cut off, and trimmed says
// so. An error says what is wrong without showing any of it.
func Parse(value []byte) (t Target, trimmed bool, err error) {
	text := string(bytes.TrimRight(value, "\r\n"))
	trimmed = len(text) < len(value)
	unencoded := text[len(encoded.FindString(text)):]
	switch {
	case text == "":
		return Target{}, trimmed, errors.New("the value is empty")
	case len(text) > MaxLen:
		return Target{}, trimmed, fmt.Errorf("the URL has %d bytes, more than the %d that one may have", len(text), MaxLen)
	case unencoded != text && !absolute.MatchString(text): // a first character that nobody sees is told below
		return Target{}, trimmed, errors.New("the URL must be absolute: it starts with http:// or https:// and a host")
	case zone.MatchString(text):
		return Target{}, trimmed, errors.New("the URL must not have a zone (%…) in its IPv6 address: it means nothing to another machine")
	case unencoded != "":
		all := utf8.RuneCountInString(text)
		return Target{}, trimmed, fmt.Errorf("the URL must percent-encode special characters: character %d of %d is %s",
			all-utf8.RuneCountInString(unencoded)+1, all, characters.Name(unencoded))
	case strings.Contains(text, "#"):
		return Target{}, trimmed, errors.New("the URL must not have a fragment (#…): it is never sent")
	case userInfo.MatchString(text):
		return Target{}, trimmed, errors.New("the URL must not contain a user name or password: put the receiver's token into a Secret and name it in spec.secretRef")
	}
	if mapped.MatchString(text) {
		return Target{}, trimmed, errors.New("the URL must have an IPv4 address as it is: 192.0.2.1, not [::ffff:192.0.2.1]")
	}
	found := hostPort.FindStringSubmatch(text)
	if found == nil || !validHost(found[1]) {
		return Target{}, trimmed, errors.New("the URL must name a host: a DNS name, an IPv4 address, or an IPv6 address in brackets; a port is a number after a colon")
	}
	if port, err := strconv.Atoi(cmp.Or(found[2], "80")); err != nil || port < 1 || port > 65535 {
		return Target{}, trimmed, errors.New("the URL must have a port from 1 to 65535")
	}
	u, err := url.Parse(text)
	if err != nil {
		return Target{}, trimmed, errors.New("the URL cannot be used") // the cause would tell of it
	}
	host := u.Host[:min(len(u.Host), maxHost)]
	return Target{url: &text, shown: u.Scheme + "://" + host + "/" + redaction.Placeholder, secret: true}, trimmed, nil
}

// validHost tells whether what stands in brackets, if anything does, is an
// address.
func validHost(host string) bool {
	inner, ok := strings.CutPrefix(host, "[")
	if !ok {
		return true
	}
	address, err := netip.ParseAddr(strings.TrimSuffix(inner, "]"))
	return err == nil && !address.Is4In6()
}

// HTTPS tells whether requests are made over TLS.
func (t Target) HTTPS() bool {
	return t.url != nil && len(*t.url) > 6 && strings.EqualFold((*t.url)[:6], "https:")
}

// Reveal returns the URL itself.
func (t Target) Reveal() string {
	if t.url == nil {
		return ""
	}
	return *t.url
}

// Secrets returns what gives the address away: all of it, what comes after the
// host, and the parts that somebody may repeat alone. Nothing where everybody may
// see it. The host is no secret: whoever resolves names knows it.
func (t Target) Secrets() []string {
	if !t.secret {
		return nil
	}
	u, err := url.Parse(*t.url)
	if err != nil {
		return []string{*t.url}
	}
	all := []string{*t.url, u.RequestURI(), u.EscapedPath(), u.Path, u.RawQuery}
	pieces := strings.Split(u.EscapedPath(), "/")
	for pair := range strings.SplitSeq(u.RawQuery, "&") {
		name, value, ok := strings.Cut(pair, "=")
		if !ok {
			value = name
		}
		pieces = append(pieces, value)
	}
	var parts []string
	for _, piece := range pieces {
		plain, err := url.PathUnescape(piece)
		if err != nil {
			plain = piece
		}
		// Some have an identifier and a token in one segment, with a colon between.
		parts = append(parts, piece, plain, strings.ReplaceAll(plain, "+", " "))
		parts = append(parts, strings.FieldsFunc(plain, isDelimiter)...)
	}
	parts = slices.DeleteFunc(parts, func(part string) bool {
		return len(part) < redaction.MinLength || slices.Contains(publicParts, part)
	})
	// The longest come first: they are the most likely ones.
	slices.SortFunc(parts, func(a, b string) int { return cmp.Or(cmp.Compare(len(b), len(a)), cmp.Compare(a, b)) })
	parts = slices.Compact(parts)
	return append(all, parts[:min(len(parts), maxParts)]...)
}

// publicParts are those which the addresses of chat services have in common. They are no
// secret by themselves, and without them an error such as "invalid webhook url" could not be
// read.
var publicParts = []string{
	"cgi-bin", "webhook", "webhooks", "open-apis", "services", "workflows", "triggers", "manual", "invoke",
	"powerautomate", "automations", "direct", "/triggers/manual/run",
}

// isDelimiter tells the characters that URLs separate things by (RFC 3986).
func isDelimiter(r rune) bool { return strings.ContainsRune(":/?#[]@!$&'()*+,;=", r) }

// String returns what everybody may see: the URL, or its host.
func (t Target) String() string { return t.shown }

// MarshalText is String.
func (t Target) MarshalText() ([]byte, error) { return []byte(t.shown), nil }
