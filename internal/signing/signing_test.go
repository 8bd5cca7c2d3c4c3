package signing

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

const (
	id  = "4f0c9a1be7d2c3f44f0c9a1be7d2c3f4"
	key = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw" // of the specification's examples
)

func mustParse(t *testing.T, value string) *Secret {
	t.Helper()
	s, _, err := ParseSecret([]byte(value))
	if err != nil {
		t.Fatal(err)
	}
	return &s
}

func TestParseSecret(t *testing.T) {
	long := strings.Repeat("x", MaxSecretLen)
	for name, tc := range map[string]struct {
		value       string
		want        string
		wantTrimmed bool
		wantErr     string
	}{
		"plain":                    {value: "s3cr3t", want: "s3cr3t"},
		"all that is printable":    {value: "~!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}", want: "~!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}"},
		"spaces inside":            {value: "a pass phrase", want: "a pass phrase"},
		"short":                    {value: "x", want: "x"},
		"as long as it may be":     {value: long + "\n", want: long, wantTrimmed: true},
		"base64 key":               {value: key, want: key},
		"base64 key, newline":      {value: key + "\n", want: key, wantTrimmed: true},
		"newline":                  {value: "s3cr3t\n", want: "s3cr3t", wantTrimmed: true},
		"newlines":                 {value: "s3cr3t\r\n\n", want: "s3cr3t", wantTrimmed: true},
		"empty":                    {wantErr: "the value is empty"},
		"newline only":             {value: "\n", wantTrimmed: true, wantErr: "the value is empty"},
		"too long":                 {value: long + "x", wantErr: "the value has 4097 bytes, more than the 4096 that a header may have"},
		"a Kubernetes Secret full": {value: strings.Repeat("x", 1<<20), wantErr: "the value has 1048576 bytes, more than the 4096 that a header may have"},
		"newline inside":           {value: "s3c\nr3t", wantErr: "byte 4 of the value is a line feed, which a header cannot carry"},
		"header smuggled in":       {value: "s3c\r\nHost: r3t", wantErr: "byte 4 of the value is a carriage return, which a header cannot carry"},
		"newline before":           {value: "\ns3cr3t", wantErr: "byte 1 of the value is a line feed, which a header cannot carry"},
		"NUL":                      {value: "s3cr3t\x00", wantErr: "byte 7 of the value is NUL, which a header cannot carry"},
		"tab":                      {value: "s3c\tr3t", wantErr: "byte 4 of the value is a tab, which a header cannot carry"},
		"DEL":                      {value: "s3c\x7fr3t", wantErr: "byte 4 of the value is a control character, which a header cannot carry"},
		"binary":                   {value: "\xffs3cr3t", wantErr: "byte 1 of the value is not ASCII, which a header cannot carry"},
		"not ASCII":                {value: "s3crét", wantErr: "byte 5 of the value is not ASCII, which a header cannot carry"},
		"tab after":                {value: "s3cr3t\t", wantErr: "byte 7 of the value is a tab, which a header cannot carry"},
		"BOM before":               {value: "\ufeffs3cr3t", wantErr: "byte 1 of the value is a byte order mark (BOM), which a header cannot carry"},
		"BOM inside":               {value: "s3c\ufeffr3t", wantErr: "byte 4 of the value is a byte order mark (BOM), which a header cannot carry"},
		"UTF-16":                   {value: "\xff\xfes\x003\x00", wantErr: "byte 1 of the value is a byte order mark of UTF-16, which a header cannot carry"},
		"no-break space":           {value: "s3cr3t\u00a0", wantErr: "byte 7 of the value is a no-break space, which a header cannot carry"},
		"zero-width space":         {value: "\u200bs3cr3t", wantErr: "byte 1 of the value is a zero-width space, which a header cannot carry"},
		"space before":             {value: " s3cr3t", wantErr: "the value begins with a space"},
		"space after":              {value: "s3cr3t \n", wantTrimmed: true, wantErr: "the value ends with a space"},
		"key not base64":           {value: "whsec_s3cr3t!", wantErr: "the value begins with whsec_, but what follows is not a base64 key"},
		"key without padding":      {value: "whsec_c2VjcmV0IGtleQ", wantErr: "the value begins with whsec_, but what follows is not a base64 key"},
		"no key":                   {value: "whsec_", wantErr: "the value begins with whsec_, but what follows is not a base64 key"},
	} {
		t.Run(name, func(t *testing.T) {
			s, trimmed, err := ParseSecret([]byte(tc.value))
			gotErr := ""
			if err != nil {
				gotErr = err.Error()
			}
			if diff := cmp.Diff(tc.wantErr, gotErr); diff != "" {
				t.Errorf("error (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tc.want, s.Reveal()); diff != "" {
				t.Errorf("secret (-want +got):\n%s", diff)
			}
			if trimmed != tc.wantTrimmed {
				t.Errorf("trimmed = %t, want %t", trimmed, tc.wantTrimmed)
			}
		})
	}
}

func TestHeaders(t *testing.T) {
	at := time.Unix(1795424400, 999).UTC()
	// The signatures are those of openssl dgst -sha256 -mac HMAC.
	for name, tc := range map[string]struct {
		secret, key *Secret
		want        http.Header
	}{
		"no secret": {
			want: http.Header{
				"Content-Type":      {"application/json;charset=utf-8"},
				"Webhook-Id":        {id},
				"Webhook-Timestamp": {"1795424400"},
			},
		},
		"plain secret": {
			secret: mustParse(t, "s3cr3t"),
			want: http.Header{
				"Content-Type":             {"application/json;charset=utf-8"},
				"Webhook-Id":               {id},
				"Webhook-Signature":        {"v1,I+bLfXCZcyeqxsDtczynz3XLA0UEkauHs6wh6Rvb+lk="},
				"Webhook-Timestamp":        {"1795424400"},
				"X-Horizon-Webhook-Secret": {"s3cr3t"},
			},
		},
		"base64 key": {
			secret: mustParse(t, key),
			want: http.Header{
				"Content-Type":             {"application/json;charset=utf-8"},
				"Webhook-Id":               {id},
				"Webhook-Signature":        {"v1,JuDNcU2ab3Rc4zrEeqillkjErDG3QnbdBdo1Te5C4fw="},
				"Webhook-Timestamp":        {"1795424400"},
				"X-Horizon-Webhook-Secret": {key},
			},
		},
		"token and key": {
			secret: mustParse(t, "t0ken"), key: mustParse(t, "s3cr3t"),
			want: http.Header{
				"Content-Type":             {"application/json;charset=utf-8"},
				"Webhook-Id":               {id},
				"Webhook-Signature":        {"v1,I+bLfXCZcyeqxsDtczynz3XLA0UEkauHs6wh6Rvb+lk="},
				"Webhook-Timestamp":        {"1795424400"},
				"X-Horizon-Webhook-Secret": {"t0ken"},
			},
		},
		"key alone": {
			key: mustParse(t, key),
			want: http.Header{
				"Content-Type":      {"application/json;charset=utf-8"},
				"Webhook-Id":        {id},
				"Webhook-Signature": {"v1,JuDNcU2ab3Rc4zrEeqillkjErDG3QnbdBdo1Te5C4fw="},
				"Webhook-Timestamp": {"1795424400"},
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Headers(id, at, []byte(`{"eventID":1}`), tc.secret, tc.key)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("headers (-want +got):\n%s", diff)
			}
		})
	}

	token := mustParse(t, "t0ken")
	for name, of := range map[string][2]*Secret{"token": {{}, nil}, "key": {nil, {}}, "key beside a token": {token, {}}, "token beside a key": {{}, token}} {
		if _, err := Headers(id, at, nil, of[0], of[1]); err == nil {
			t.Errorf("a zero Secret is the %s, want an error: nothing is sent unsigned", name)
		}
	}
}

// What a receiver that uses the standard's own library sees.
func TestVerify(t *testing.T) {
	fromKey, err := standardwebhooks.NewWebhook(key)
	if err != nil {
		t.Fatal(err)
	}
	fromText, err := standardwebhooks.NewWebhookRaw([]byte("s3cr3t"))
	if err != nil {
		t.Fatal(err)
	}
	body := []byte(`{"eventID":1}`)
	for name, tc := range map[string]struct {
		secret   string // the token
		key      string // what signs in its place
		receiver *standardwebhooks.Webhook
		body     []byte
		age      time.Duration
		change   string // a header that is changed on the way
		wantErr  bool
	}{
		"plain secret":        {secret: "s3cr3t", receiver: fromText, body: body},
		"base64 key":          {secret: key, receiver: fromKey, body: body},
		"trimmed":             {secret: key + "\n", receiver: fromKey, body: body},
		"key beside a token":  {secret: "t0ken", key: key, receiver: fromKey, body: body},
		"text beside a token": {secret: key, key: "s3cr3t", receiver: fromText, body: body},
		"key alone":           {key: key, receiver: fromKey, body: body},
		"by the token":        {secret: "s3cr3t", key: key, receiver: fromText, body: body, wantErr: true},
		"by the token, a key": {secret: key, key: "s3cr3t", receiver: fromKey, body: body, wantErr: true},
		"wrong body":          {secret: "s3cr3t", receiver: fromText, body: []byte(`{"eventID":2}`), wantErr: true},
		"wrong body, key":     {secret: key, receiver: fromKey, body: []byte(`{"eventID":2}`), wantErr: true},
		"another secret":      {secret: "s3cr3t!", receiver: fromText, body: body, wantErr: true},
		"key taken literally": {secret: "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", receiver: fromKey, body: body, wantErr: true},
		"too old":             {secret: key, receiver: fromKey, body: body, age: time.Hour, wantErr: true},
		"another id":          {secret: key, receiver: fromKey, body: body, change: HeaderID, wantErr: true},
		"no signature":        {secret: key, receiver: fromKey, body: body, change: HeaderSignature, wantErr: true},
	} {
		t.Run(name, func(t *testing.T) {
			var token, key *Secret
			if tc.secret != "" {
				token = mustParse(t, tc.secret)
			}
			if tc.key != "" {
				key = mustParse(t, tc.key)
			}
			h, err := Headers(id, time.Now().Add(-tc.age), body, token, key)
			if err != nil {
				t.Fatal(err)
			}
			if tc.change != "" {
				h.Set(tc.change, "v1,other")
			}
			if err := tc.receiver.Verify(tc.body, h); (err != nil) != tc.wantErr {
				t.Errorf("Verify: %v, want error: %t", err, tc.wantErr)
			}
		})
	}
}

func TestSecretIsNeverPrinted(t *testing.T) {
	const value = "s3cr3t-t0ken"
	s := mustParse(t, value)
	holder := struct {
		Exported   Secret
		Pointer    *Secret
		unexported Secret
		Map        map[string]Secret
	}{*s, s, *s, map[string]Secret{"k": *s}}

	var out bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%t", "%10.3s"} {
		if got := fmt.Sprintf(verb, *s); got != "[redacted]" {
			t.Errorf("%s prints %q, want [redacted]", verb, got)
		}
		fmt.Fprintf(&out, verb+"\n", *s)
		fmt.Fprintf(&out, verb+"\n", s)
		fmt.Fprintf(&out, verb+"\n", holder)
		fmt.Fprintf(&out, verb+"\n", &holder)
	}
	fmt.Fprintln(&out, s.String(), s.GoString(), fmt.Errorf("wrapped: %v", s))
	for _, h := range []slog.Handler{slog.NewTextHandler(&out, nil), slog.NewJSONHandler(&out, nil)} {
		slog.New(h).Info("message", "secret", *s, "pointer", s, "holder", holder)
	}
	data, err := json.Marshal(holder)
	if err != nil {
		t.Fatal(err)
	}
	out.Write(data)
	text, err := s.MarshalText()
	if err != nil {
		t.Fatal(err)
	}
	out.Write(text)

	for name, form := range map[string]string{
		"plain":      value,
		"hex":        fmt.Sprintf("%x", value),
		"upper hex":  fmt.Sprintf("%X", value),
		"base64":     base64.StdEncoding.EncodeToString([]byte(value)),
		"byte slice": strings.Trim(fmt.Sprintf("%d", []byte(value)), "[]"),
	} {
		if strings.Contains(out.String(), form) {
			t.Errorf("printed the secret, %s:\n%s", name, out.String())
		}
	}
}

func FuzzParseSecret(f *testing.F) {
	f.Add([]byte("s3cr3t"))
	f.Add([]byte(key + "\r\n"))
	f.Add([]byte("a\x00b"))
	f.Fuzz(func(t *testing.T, value []byte) {
		s, trimmed, err := ParseSecret(value)
		if err != nil {
			// Shorter ones stand in the words of the error by chance.
			hidden := strings.TrimPrefix(string(value), keyPrefix)
			if len(hidden) > 12 && strings.Contains(err.Error(), hidden) {
				t.Errorf("the error tells the value: %v", err)
			}
			return
		}
		if got := s.Reveal(); trimmed != (got != string(value)) || !bytes.HasPrefix(value, []byte(got)) {
			t.Errorf("%q became %q, trimmed: %t", value, got, trimmed)
		}
		// It arrives as it is.
		h, err := Headers(id, time.Now(), nil, &s, nil)
		if err != nil {
			t.Fatal(err)
		}
		var wire bytes.Buffer
		if err := h.Write(&wire); err != nil {
			t.Fatal(err)
		}
		if want := "\r\n" + HeaderSecret + ": " + s.Reveal() + "\r\n"; !strings.Contains(wire.String(), want) {
			t.Errorf("sent as %q, want %q in it", wire.String(), want)
		}
	})
}
