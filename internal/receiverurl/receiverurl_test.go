package receiverurl

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/horizoncd/webhook-operator/internal/redaction"
)

// Which URLs are valid is tried in api/v1alpha1, together with the rules of the
// CRD.
func TestParse(t *testing.T) {
	type outcome struct {
		URL, Shown, Err string
		Trimmed         bool
	}
	const base = "https://chat.example.com/hooks/t0k3n"
	long := "https://chat.example.com/" + strings.Repeat("a", MaxLen)
	for name, tc := range map[string]struct {
		value string
		want  outcome
	}{
		"usable":               {value: base, want: outcome{URL: base, Shown: "https://chat.example.com/[redacted]"}},
		"with a query":         {value: base + "?key=s3cr3t", want: outcome{URL: base + "?key=s3cr3t", Shown: "https://chat.example.com/[redacted]"}},
		"query without path":   {value: "http://chat.example.com?key=s3cr3t", want: outcome{URL: "http://chat.example.com?key=s3cr3t", Shown: "http://chat.example.com/[redacted]"}},
		"host alone":           {value: "https://chat.example.com", want: outcome{URL: "https://chat.example.com", Shown: "https://chat.example.com/[redacted]"}},
		"port":                 {value: "https://chat.example.com:8443/t0k3n", want: outcome{URL: "https://chat.example.com:8443/t0k3n", Shown: "https://chat.example.com:8443/[redacted]"}},
		"IPv6":                 {value: "https://[2001:db8::1]:8443/t0k3n", want: outcome{URL: "https://[2001:db8::1]:8443/t0k3n", Shown: "https://[2001:db8::1]:8443/[redacted]"}},
		"upper case":           {value: "HTTPS://CHAT.EXAMPLE.COM/T0K3N", want: outcome{URL: "HTTPS://CHAT.EXAMPLE.COM/T0K3N", Shown: "https://CHAT.EXAMPLE.COM/[redacted]"}},
		"ends in a line feed":  {value: base + "\n", want: outcome{URL: base, Shown: "https://chat.example.com/[redacted]", Trimmed: true}},
		"ends in CR LF":        {value: base + "\r\n", want: outcome{URL: base, Shown: "https://chat.example.com/[redacted]", Trimmed: true}},
		"a very long host":     {value: "https://" + strings.Repeat("a", 2000) + "/t", want: outcome{URL: "https://" + strings.Repeat("a", 2000) + "/t", Shown: "https://" + strings.Repeat("a", 260) + "/[redacted]"}},
		"empty":                {want: outcome{Err: "the value is empty"}},
		"only line breaks":     {value: "\r\n\n", want: outcome{Err: "the value is empty", Trimmed: true}},
		"too long":             {value: long, want: outcome{Err: fmt.Sprintf("the URL has %d bytes, more than the 2048 that one may have", len(long))}},
		"relative":             {value: "hooks/t0k3n", want: outcome{Err: "the URL must be absolute: it starts with http:// or https:// and a host"}},
		"another scheme":       {value: "file:///t0k3n", want: outcome{Err: "the URL must be absolute: it starts with http:// or https:// and a host"}},
		"a space":              {value: base + " 2", want: outcome{Err: "the URL must percent-encode special characters: character 37 of 38 is a space"}},
		"ends in a space":      {value: base + " \n", want: outcome{Err: "the URL must percent-encode special characters: character 37 of 37 is a space", Trimmed: true}},
		"ends in a tab":        {value: base + "\t", want: outcome{Err: "the URL must percent-encode special characters: character 37 of 37 is a tab"}},
		"begins with a space":  {value: " " + base, want: outcome{Err: "the URL must percent-encode special characters: character 1 of 37 is a space"}},
		"begins with a BOM":    {value: "\ufeff" + base, want: outcome{Err: "the URL must percent-encode special characters: character 1 of 37 is a byte order mark (BOM)"}},
		"UTF-16":               {value: "\xff\xfeh\x00t\x00", want: outcome{Err: "the URL must percent-encode special characters: character 1 of 6 is a byte order mark of UTF-16"}},
		"a character too many": {value: base + "{x}", want: outcome{Err: "the URL must percent-encode special characters: character 37 of 39 is a special character"}},
		"a percent sign":       {value: base + "%2", want: outcome{Err: "the URL must percent-encode special characters: character 37 of 38 is a special character"}},
		"beyond ASCII":         {value: base + "/é€x", want: outcome{Err: "the URL must percent-encode special characters: character 38 of 40 is not ASCII"}},
		"a line break inside":  {value: base + "\r\nX-Evil: 1", want: outcome{Err: "the URL must percent-encode special characters: character 37 of 47 is a carriage return"}},
		"binary":               {value: base + "\x00\xff", want: outcome{Err: "the URL must percent-encode special characters: character 37 of 38 is NUL"}},
		"a fragment":           {value: base + "#s3cr3t", want: outcome{Err: "the URL must not have a fragment (#…): it is never sent"}},
		"user and password":    {value: "https://me:t0k3n@chat.example.com/", want: outcome{Err: "the URL must not contain a user name or password: put the receiver's token into a Secret and name it in spec.secretRef"}},
		"no host":              {value: "https://:443/t0k3n", want: outcome{Err: "the URL must name a host: a DNS name, an IPv4 address, or an IPv6 address in brackets; a port is a number after a colon"}},
		"IPv4 within IPv6":     {value: "https://[::ffff:192.0.2.1]/t0k3n", want: outcome{Err: "the URL must have an IPv4 address as it is: 192.0.2.1, not [::ffff:192.0.2.1]"}},
		"a zone":               {value: "https://[fe80::1%25lo]/t0k3n", want: outcome{Err: "the URL must not have a zone (%…) in its IPv6 address: it means nothing to another machine"}},
		"a port out of bounds": {value: "https://chat.example.com:65536/t0k3n", want: outcome{Err: "the URL must have a port from 1 to 65535"}},
	} {
		t.Run(name, func(t *testing.T) {
			parsed, trimmed, err := Parse([]byte(tc.value))
			got := outcome{URL: parsed.Reveal(), Shown: parsed.String(), Trimmed: trimmed}
			if err != nil {
				got.Err = err.Error()
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if len(got.Shown) > MaxLen {
				t.Errorf("no record has room for %d bytes", len(got.Shown))
			}
			for _, secret := range []string{"t0k3n", "T0K3N", "s3cr3t"} {
				if strings.Contains(got.Err+got.Shown, secret) {
					t.Errorf("it is told: %q, %q", got.Err, got.Shown)
				}
			}
		})
	}
}

func TestPlain(t *testing.T) {
	const address = "https://ci.example.com/hooks/horizon?team=music%20ops"
	plain := Plain(address)
	if plain.Reveal() != address || plain.String() != address || len(plain.Secrets()) > 0 {
		t.Errorf("%q, %q, %q", plain.Reveal(), plain, plain.Secrets())
	}
	if none := (Target{}); none.Reveal() != "" || none.String() != "" || none.HTTPS() || none.Secrets() != nil {
		t.Errorf("the zero target is %q", none.Reveal())
	}
}

func TestHTTPS(t *testing.T) {
	for address, want := range map[string]bool{
		"https://a": true, "HTTPS://a": true, "http://a": false, "HTTP://https:": false, "": false,
	} {
		if got := Plain(address).HTTPS(); got != want {
			t.Errorf("%q: %t", address, got)
		}
	}
}

// Whatever part of an address a receiver echoes, it is redacted; and nothing else
// is.
func TestEchoIsRedacted(t *testing.T) {
	const address = "https://chat.example.com:8443/hook/B012345/s3cr3t%2Ft0k3n/bot77:AAbb-cc_dd/?key=qu3ry+s3cr3t&team=music%20ops&s1gned=x"
	parsed, _, err := Parse([]byte(address))
	if err != nil {
		t.Fatal(err)
	}
	redact := redaction.New(parsed.Secrets()...).Redact
	for name, echo := range map[string]string{
		"all of it":           address,
		"path and query":      "/hook/B012345/s3cr3t%2Ft0k3n/bot77:AAbb-cc_dd/?key=qu3ry+s3cr3t&team=music%20ops&s1gned=x",
		"path":                "/hook/B012345/s3cr3t%2Ft0k3n/bot77:AAbb-cc_dd/",
		"path, decoded":       "/hook/B012345/s3cr3t/t0k3n/bot77:AAbb-cc_dd/",
		"query":               "key=qu3ry+s3cr3t&team=music%20ops&s1gned=x",
		"a segment":           "B012345",
		"a segment, encoded":  "s3cr3t%2Ft0k3n",
		"a segment, decoded":  "s3cr3t/t0k3n",
		"a part of a segment": "AAbb-cc_dd",
		"a value":             "qu3ry+s3cr3t",
		"a value, as a form":  "qu3ry s3cr3t",
		"a value, decoded":    "music ops",
		"in hexadecimal":      fmt.Sprintf("%x", "s3cr3t/t0k3n"),
		"escaped once more":   url.QueryEscape("s3cr3t%2Ft0k3n"),
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff("no such hook: ([redacted]).", redact("no such hook: ("+echo+").")); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
	const harmless = "no such hook at chat.example.com:8443, key not known: HTTP 404 Not Found, team x"
	if got := redact(harmless); got != harmless {
		t.Errorf("%q became %q", harmless, got)
	}
}

// The words that all addresses of a chat service have are no secret, and its errors have them.
func TestErrorsOfChatServicesStayReadable(t *testing.T) {
	for address, said := range map[string]string{
		"https://qyapi.weixin.qq.com/cgi-bin/webhook/send?key=693a91f6-7xxx":                                                         "invalid webhook url, more info at https://open.work.weixin.qq.com",
		"https://discord.com/api/webhooks/12345678/t0ken-abc":                                                                        "no such entry of webhooks",
		"https://prod-00.logic.azure.com/workflows/0123abcd/triggers/manual/paths/invoke?sp=%2Ftriggers%2Fmanual%2Frun&sig=s1gned-x": "Could not execute workflow trigger 'manual'",
	} {
		parsed, _, err := Parse([]byte(address))
		if err != nil {
			t.Fatal(err)
		}
		redact := redaction.New(parsed.Secrets()...).Redact
		if got := redact(said); got != said {
			t.Errorf("%q became %q", said, got)
		}
		token := address[strings.LastIndexAny(address, "/=")+1:]
		if got := redact(address + " " + token); strings.Contains(got, token) {
			t.Errorf("%q is told", got)
		}
	}
}

// However an address is cut up, looking for its parts has a bound.
func TestSecretsAreBounded(t *testing.T) {
	var path strings.Builder
	for n := range 240 {
		fmt.Fprintf(&path, "/%07d", n)
	}
	parsed, _, err := Parse([]byte("https://chat.example.com" + path.String() + "/the-longest-is-the-token"))
	if err != nil {
		t.Fatal(err)
	}
	secrets := parsed.Secrets()
	if len(secrets) > maxParts+10 {
		t.Errorf("%d secrets", len(secrets))
	}
	if got := redaction.New(secrets...).Redact("(the-longest-is-the-token)"); got != "([redacted])" {
		t.Errorf("the longest part is left out: %q", got)
	}
}

func TestPrinting(t *testing.T) {
	parsed, _, err := Parse([]byte("https://chat.example.com/hooks/s3cr3t"))
	if err != nil {
		t.Fatal(err)
	}
	type holder struct {
		Exported Target
		hidden   Target
	}
	var printed strings.Builder
	for _, value := range []any{parsed, &parsed, holder{parsed, parsed}, []Target{parsed}, map[string]Target{"x": parsed}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
			fmt.Fprintf(&printed, verb+"\n", value)
		}
	}
	data, err := json.Marshal(parsed)
	if err != nil {
		t.Fatal(err)
	}
	printed.Write(data)
	slog.New(slog.NewJSONHandler(&printed, nil)).Info("sent", "to", parsed)
	if got := printed.String(); strings.Contains(got, "s3cr3t") || strings.Contains(got, fmt.Sprintf("%x", "s3cr3t")) {
		t.Errorf("it is told:\n%s", got)
	}
	if !strings.Contains(printed.String(), `"https://chat.example.com/[redacted]"`) {
		t.Errorf("nothing is told:\n%s", printed.String())
	}
}

// Whatever a Secret holds, what is taken for a URL can be sent to, and nothing that
// is shown gives it away.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		"https://chat.example.com/hooks/t0k3n?key=s3cr3t", "http://[2001:db8::1]:8443/%2F", "HTTPS://A", "http://a?b", "http://a/\x00", "",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, value []byte) {
		to, _, err := Parse(value)
		if err != nil {
			if hidden := strings.TrimSpace(string(value)); len(hidden) > 12 && strings.Contains(err.Error(), hidden) {
				t.Errorf("the error tells the value: %v", err)
			}
			return
		}
		u, err := url.Parse(to.Reveal())
		if err != nil || u.Host == "" || u.User != nil || u.Fragment != "" || u.Scheme != "http" && u.Scheme != "https" {
			t.Fatalf("%q is no URL to send to: %v", to.Reveal(), err)
		}
		if got := redaction.New(to.Secrets()...).Redact(to.Reveal()); len(to.Reveal()) > redaction.MinLength && strings.Contains(got, to.Reveal()) {
			t.Errorf("%q is not redacted", got)
		}
		if want := "://" + u.Host; len(u.Host) <= maxHost && !strings.HasSuffix(to.String(), want+"/"+redaction.Placeholder) {
			t.Errorf("%q is shown, want the host alone", to)
		}
	})
}
