package signing

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
)

const bodyText = `{"eventID":78402,"webhookID":7,"cluster":{"id":61400,"name":"web<prod"},"extra":"Zoë & co"}`

// goBody is bodyText as Go writes it, which is what the operator sends.
const goBody = `{"eventID":78402,"webhookID":7,"cluster":{"id":61400,"name":"web\u003cprod"},"extra":"Zoë \u0026 co"}`

var signedAt = time.Unix(1795435673, 0)

func signedHeaders(t *testing.T, secret, body string) http.Header {
	t.Helper()
	h, err := Headers(id, signedAt, []byte(body), nil, mustParse(t, secret))
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func TestVerifyRequest(t *testing.T) {
	other := "v1,K5oZfzN95Z9UVu1EsfQmfVNQhnkZ2pj9o9NDN/H/pI4="
	for name, tc := range map[string]struct {
		secret, signer string
		body           string
		change         func(h http.Header)
		after          time.Duration
		tolerance      time.Duration
		wantErr        string
	}{
		"token":                    {secret: "s3cr3t"},
		"base64 key":               {secret: key},
		"at once":                  {secret: key, tolerance: time.Minute},
		"as late as may be":        {secret: key, after: time.Minute, tolerance: time.Minute},
		"as early as may be":       {secret: key, after: -time.Minute, tolerance: time.Minute},
		"old, and nobody asks":     {secret: key, after: 1000 * time.Hour},
		"one of several":           {secret: key, change: func(h http.Header) { h.Set(HeaderSignature, other+" "+h.Get(HeaderSignature)) }},
		"the first of several":     {secret: key, change: func(h http.Header) { h.Set(HeaderSignature, h.Get(HeaderSignature)+" "+other) }},
		"in a header of its own":   {secret: key, change: func(h http.Header) { h.Add(HeaderSignature, other) }},
		"beside another version":   {secret: key, change: func(h http.Header) { h.Set(HeaderSignature, "v1a,Zm9v "+h.Get(HeaderSignature)) }},
		"too late":                 {secret: key, after: 61 * time.Second, tolerance: time.Minute, wantErr: "signed at 2026-11-23T12:07:53Z, 1m1s ago, more than 1m0s"},
		"too early":                {secret: key, after: -61 * time.Second, tolerance: time.Minute, wantErr: "signed at 2026-11-23T12:07:53Z, 1m1s from now, more than 1m0s ahead"},
		"another key":              {secret: key, signer: "s3cr3t", wantErr: ErrMismatch.Error()},
		"another key and too late": {secret: key, signer: "s3cr3t", after: time.Hour, tolerance: time.Minute, wantErr: ErrMismatch.Error()},
		"another body":             {secret: key, body: bodyText + " ", wantErr: ErrMismatch.Error()},
		"another id":               {secret: key, change: func(h http.Header) { h.Set(HeaderID, "whd_1") }, wantErr: ErrMismatch.Error()},
		"another time":             {secret: key, change: func(h http.Header) { h.Set(HeaderTimestamp, "1795435674") }, wantErr: ErrMismatch.Error()},
		"only other versions": {
			secret:  key,
			change:  func(h http.Header) { h.Set(HeaderSignature, "v2"+strings.TrimPrefix(h.Get(HeaderSignature), "v1")) },
			wantErr: ErrMismatch.Error(),
		},
		"no version": {
			secret:  key,
			change:  func(h http.Header) { h.Set(HeaderSignature, strings.TrimPrefix(h.Get(HeaderSignature), "v1,")) },
			wantErr: ErrMismatch.Error(),
		},
		"no id":        {secret: key, change: func(h http.Header) { h.Del(HeaderID) }, wantErr: "Webhook-Id is missing"},
		"no time":      {secret: key, change: func(h http.Header) { h.Del(HeaderTimestamp) }, wantErr: "Webhook-Timestamp is missing"},
		"no signature": {secret: key, change: func(h http.Header) { h.Del(HeaderSignature) }, wantErr: "Webhook-Signature is missing"},
		"no number": {
			secret: key, change: func(h http.Header) { h.Set(HeaderTimestamp, "2026-11-23T12:07:53Z") },
			wantErr: `Webhook-Timestamp is "2026-11-23T12:07:53Z", and not a number of seconds since 1970`,
		},
		"of a record": {
			secret: key, change: func(h http.Header) { h.Set(HeaderSignature, "[redacted]") },
			wantErr: "Webhook-Signature is [redacted], as in every record: take the headers that the receiver got",
		},
	} {
		t.Run(name, func(t *testing.T) {
			signer, body := tc.signer, tc.body
			if signer == "" {
				signer = tc.secret
			}
			if body == "" {
				body = bodyText
			}
			h := signedHeaders(t, signer, bodyText)
			if tc.change != nil {
				tc.change(h)
			}
			at, err := Verify(h, []byte(body), *mustParse(t, tc.secret), signedAt.Add(tc.after), tc.tolerance)
			switch {
			case tc.wantErr == "" && (err != nil || !at.Equal(signedAt)):
				t.Errorf("Verify: %v, %v; want %v", at, err, signedAt)
			case tc.wantErr != "" && (err == nil || err.Error() != tc.wantErr):
				t.Errorf("Verify: %v; want %q", err, tc.wantErr)
			}
		})
	}
}

func TestVerifyOfTheLibrary(t *testing.T) {
	library, err := standardwebhooks.NewWebhook(key)
	if err != nil {
		t.Fatal(err)
	}
	signature, err := library.Sign(id, signedAt, []byte(bodyText))
	if err != nil {
		t.Fatal(err)
	}
	h := http.Header{}
	h.Set(standardwebhooks.HeaderWebhookID, id)
	h.Set(standardwebhooks.HeaderWebhookTimestamp, strconv.FormatInt(signedAt.Unix(), 10))
	h.Set(standardwebhooks.HeaderWebhookSignature, signature)
	if _, err := Verify(h, []byte(bodyText), *mustParse(t, key), signedAt, time.Minute); err != nil {
		t.Error(err)
	}
	if _, err := Verify(h, []byte(bodyText), Secret{}, signedAt, time.Minute); !errors.Is(err, errNoSecret) {
		t.Errorf("without a secret: %v", err)
	}
}

func TestAccident(t *testing.T) {
	raw, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(key, keyPrefix))
	if err != nil {
		t.Fatal(err)
	}
	twice := keyPrefix + base64.StdEncoding.EncodeToString([]byte(base64.StdEncoding.EncodeToString([]byte("a key of 24 bytes, or so"))))
	spaced := strings.NewReplacer(":", ": ", ",", ", ").Replace(bodyText)
	signatureOf := func(h http.Header) string { return strings.TrimPrefix(h.Get(HeaderSignature), "v1,") }
	binary := func(h http.Header) []byte {
		sum, err := base64.StdEncoding.DecodeString(signatureOf(h))
		if err != nil {
			t.Fatal(err)
		}
		return sum
	}

	for name, tc := range map[string]struct {
		signer string // a secret, or by a raw key
		raw    []byte
		sent   string // bodyText unless given
		file   string // the key file; the signer's secret unless given
		got    string // the body that was given; sent unless given
		change func(h http.Header)
		want   string // part of the answer; empty: none
	}{
		"nothing is known":     {signer: "s3cr3t", file: "another"},
		"another body":         {signer: "s3cr3t", got: `{"eventID":1}`},
		"another id":           {signer: "s3cr3t", change: func(h http.Header) { h.Set(HeaderID, "whd_1") }},
		"no header":            {signer: "s3cr3t", got: bodyText + "\n", change: func(h http.Header) { h.Del(HeaderID) }},
		"newline added":        {signer: "s3cr3t", got: bodyText + "\n", want: "the line break at the end of the body is left out"},
		"CRLF added":           {signer: "s3cr3t", got: bodyText + "\r\n", want: "the line break at the end of the body is left out"},
		"newline taken off":    {signer: "s3cr3t", sent: bodyText + "\n", got: bodyText, want: "a line feed is added at the end of the body"},
		"CRLF taken off":       {signer: "s3cr3t", sent: bodyText + "\r\n", got: bodyText, want: "a carriage return and a line feed are added"},
		"LF became CRLF":       {signer: "s3cr3t", sent: "{\n\"a\":1\n}", got: "{\r\n\"a\":1\r\n}", want: "end with line feeds alone"},
		"CRLF became LF":       {signer: "s3cr3t", sent: "{\r\n\"a\":1\r\n}", got: "{\n\"a\":1\n}", want: "end with carriage returns and line feeds"},
		"BOM added":            {signer: "s3cr3t", got: "\ufeff" + bodyText, want: "byte order mark"},
		"spaces added":         {signer: "s3cr3t", got: " " + bodyText + " \n", want: "spaces and line breaks around the body"},
		"written anew":         {signer: "s3cr3t", got: spaced, want: "compact JSON"},
		"written by Python":    {signer: "s3cr3t", sent: goBody, got: strings.ReplaceAll(spaced, "ë", `\u00eb`), want: "JSON as Go writes it"},
		"without the prefix":   {signer: key, file: strings.TrimPrefix(key, keyPrefix), want: "it lacks the prefix whsec_"},
		"prefix not decoded":   {raw: []byte(key), file: key, want: "the key is taken as it stands"},
		"what follows literal": {raw: []byte(strings.TrimPrefix(key, keyPrefix)), file: key, want: "the key is what follows whsec_, taken as it stands"},
		"base64 of a Secret":   {signer: "s3cr3t", file: base64.StdEncoding.EncodeToString([]byte("s3cr3t")) + "\n", want: "decoded as base64"},
		"base64 of a whsec_":   {signer: key, file: base64.StdEncoding.EncodeToString([]byte(key + "\n")), want: "as kubectl get secret -o yaml shows it"},
		"decoded twice":        {raw: []byte("a key of 24 bytes, or so"), file: twice, want: "decoded as base64 twice"},
		"newline in the key":   {raw: []byte("s3cr3t\n"), file: "s3cr3t\n", want: "the key ends with a line break"},
		"newline in theirs":    {raw: []byte("s3cr3t\n"), file: "s3cr3t", want: "the key ends with a line break"},
		"quoted key":           {signer: "s3cr3t", file: `"s3cr3t"`, want: "no spaces or quotation marks"},
		"quoted whsec_":        {signer: key, file: "'" + key + "' ", want: "no spaces or quotation marks"},
		"the token's signature": {
			signer: "t0ken", file: "signing-key", change: func(h http.Header) { h.Set(HeaderSecret, "t0ken") },
			want: "the token of X-Horizon-Webhook-Secret",
		},
		"cut off": {
			signer: "s3cr3t", change: func(h http.Header) { h.Set(HeaderSignature, "v1,"+signatureOf(h)[:20]) },
			want: "it is cut off after 20 of 44 characters",
		},
		"padding cut off": {
			signer: "s3cr3t", change: func(h http.Header) { h.Set(HeaderSignature, strings.TrimRight(h.Get(HeaderSignature), "=")) },
			want: "it is cut off after 43 of 44 characters",
		},
		"no version": {
			signer: "s3cr3t", change: func(h http.Header) { h.Set(HeaderSignature, signatureOf(h)) },
			want: "the signature has its version",
		},
		"for URLs": {
			raw: raw, file: key, sent: "body 9", change: func(h http.Header) {
				h.Set(HeaderSignature, "v1,"+base64.URLEncoding.EncodeToString(binary(h)))
			}, want: "standard base64",
		},
		"in hexadecimal": {
			signer: "s3cr3t", change: func(h http.Header) { h.Set(HeaderSignature, "v1,"+hex.EncodeToString(binary(h))) },
			want: "not in hexadecimal",
		},
		"two at once": {
			signer: key, file: strings.TrimPrefix(key, keyPrefix), got: bodyText + "\n",
			want: "or it is encoded as kubectl get secret -o yaml shows it, and the line break at the end of the body is left out",
		},
	} {
		t.Run(name, func(t *testing.T) {
			sent, file := tc.sent, tc.file
			if sent == "" {
				sent = bodyText
			}
			if file == "" {
				file = tc.signer
			}
			got := tc.got
			if got == "" {
				got = sent
			}
			var h http.Header
			if tc.raw != nil {
				library, err := standardwebhooks.NewWebhookRaw(tc.raw)
				if err != nil {
					t.Fatal(err)
				}
				signature, err := library.Sign(id, signedAt, []byte(sent))
				if err != nil {
					t.Fatal(err)
				}
				h = http.Header{}
				h.Set(HeaderID, id)
				h.Set(HeaderTimestamp, strconv.FormatInt(signedAt.Unix(), 10))
				h.Set(HeaderSignature, signature)
			} else {
				h = signedHeaders(t, tc.signer, sent)
			}
			if tc.change != nil {
				tc.change(h)
			}
			what := Accident(h, []byte(got), []byte(file))
			if tc.want == "" && what != "" || !strings.Contains(what, tc.want) {
				t.Errorf("Accident: %q, want %q in it", what, tc.want)
			}
		})
	}
}

// FuzzVerify holds Verify against the library, and Accident against its promise to change
// nothing about what holds.
func FuzzVerify(f *testing.F) {
	secret, _, err := ParseSecret([]byte(key))
	if err != nil {
		f.Fatal(err)
	}
	library, err := standardwebhooks.NewWebhook(key)
	if err != nil {
		f.Fatal(err)
	}
	valid, err := secret.Sign(id, signedAt, []byte(bodyText))
	if err != nil {
		f.Fatal(err)
	}
	stamp := strconv.FormatInt(signedAt.Unix(), 10)
	f.Add(id, stamp, valid, []byte(bodyText), []byte(key))
	f.Add(id, stamp, "v2,Zm9v v1,Zm9v "+valid, []byte(bodyText), []byte(key+"\n"))
	f.Add(id, "+"+stamp, valid+",x", []byte(bodyText+"\n"), []byte(`"`+key+`"`))
	f.Add("", "-1", ", v1 v1, v1,,", []byte(`{"a":[1,{"b":"\u003c"}]}`), []byte("s3cr3t"))
	f.Fuzz(func(t *testing.T, id, stamp, signature string, body, file []byte) {
		h := http.Header{}
		h.Set(HeaderID, id)
		h.Set(HeaderTimestamp, stamp)
		h.Set(HeaderSignature, signature)
		_, err := Verify(h, body, secret, signedAt, 0)
		var missing *HeaderError
		redacted := errors.As(err, &missing) && strings.Contains(id+stamp+signature, "[redacted]")
		if want := library.VerifyIgnoringTimestamp(body, h); (err == nil) != (want == nil) && !redacted {
			t.Errorf("Verify: %v; the library: %v", err, want)
		}
		what := Accident(h, body, []byte(key))
		if err == nil && what != "" {
			t.Errorf("it holds, and Accident says %q", what)
		}
		if hidden := bytes.TrimSpace(file); len(hidden) > 12 && strings.Contains(Accident(h, body, file), string(hidden)) {
			t.Error("Accident tells the secret")
		}
	})
}
