package cli

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/delivery"
	"github.com/horizoncd/webhook-operator/internal/sending"
)

var messageID = regexp.MustCompile(`whd_[0-9a-f]{32}`)

// still takes out of a page what is another each time.
func (b *bed) still(text string) string {
	text = messageID.ReplaceAllString(text, "whd_00000000000000000000000000000000")
	return strings.ReplaceAll(text, b.namespace, "NAMESPACE")
}

func TestLogGolden(t *testing.T) {
	b := newBed(t)
	w := b.webhook("smoke-tests", func(s *v1alpha1.WebhookSpec) {
		s.State, s.URL = v1alpha1.WebhookDisabled, "https://ci.example.com/hooks/horizon"
	})
	later := told.Add(time.Hour)
	long := answer(told.Add(20*time.Second), 500, strings.Repeat("<"+hostile+">", 16<<10/len("<"+hostile+">")))
	long.Response.BodyTruncated = true
	long.Response.Header = "Content-Type: text/html\nX-Long: " + strings.Repeat("v", 8<<10-40)
	long.Response.HeaderTruncated = true
	records := map[string]*v1alpha1.WebhookDelivery{
		"delivered": b.record(w, 1, told, nil, answer(told, 200, `{"ok":true,"name":"`+hostile+`"}`)),
		"retried": b.record(w, 2, told, nil,
			answer(told, 503, "busy"), answer(told.Add(10*time.Second), 500, `{"not": "json`)),
		"hostile": b.record(w, 3, told, func(d *v1alpha1.WebhookDelivery) {
			d.Spec.ResourceName = hostile
			d.Spec.Payload = `{"extra":"` + strings.ReplaceAll(hostile, "\x1b", `\u001b`) + `"}`
			d.Status.History[0].Error = hostile
		}, long),
		"unanswered": b.record(w, 4, told, nil,
			sending.Exchange{Start: told, Duration: time.Second, RequestHeader: "A: b", Err: fmt.Errorf("no such host")}),
		"resent": b.record(w, 5, told, func(d *v1alpha1.WebhookDelivery) {
			d.Annotations = map[string]string{v1alpha1.AnnotationResend: "2026-11-29T09:30:00.000Z/alice@example.com"}
			delivery.AddAttempt(d, delivery.Attempt{
				Cause: v1alpha1.CauseResend, URL: w.Spec.URL, Exchange: answer(told.Add(30*time.Minute), 200, ""),
				Resend: d.Annotations[v1alpha1.AnnotationResend],
			})
		}, answer(told, 500, "")),
	}
	for name, d := range records {
		for _, width := range []int{80, 160} {
			b.width = width
			got := b.runAt(later, "log", d.Name)
			b.Expect(got.code).To(Equal(0), got.err)
			golden(t, fmt.Sprintf("log/%s-%d.txt", name, width), b.still(got.out))
			for _, r := range got.out {
				if r != '\n' && r < ' ' || r == '\u202e' || r == '\u009b' || r == '\u200b' {
					t.Errorf("%s: %q gets to the terminal", name, r)
				}
			}
		}
	}
	b.width = 80
	golden(t, "log/raw.txt", b.still(b.runAt(later, "log", records["delivered"].Name, "--raw").out))
	last := b.runAt(later, "log", "--last", "smoke-tests")
	b.Expect(last.out).To(ContainSubstring(records["resent"].Name))
}

func TestLogParts(t *testing.T) {
	b := newBed(t)
	w := b.webhook("smoke-tests", func(s *v1alpha1.WebhookSpec) { s.State = v1alpha1.WebhookDisabled })
	d := b.record(w, 1, told, func(d *v1alpha1.WebhookDelivery) { d.Spec.Payload = `{"extra":"` + hostile + `"}` + "\n" }, answer(told, 200, hostile))
	unsent := b.record(w, 2, told, func(d *v1alpha1.WebhookDelivery) {
		delivery.GiveUp(d, v1alpha1.ReasonOverflow, "too many wait", told)
	})

	b.Expect(b.mustRun("log", d.Name, "--body", "request")).To(Equal(d.Spec.Payload))
	b.Expect(b.mustRun("log", d.Name, "--body", "response")).To(Equal(hostile))
	b.Expect(b.mustRun("log", d.Name, "--headers", "request")).To(Equal(d.Status.Request.Headers))
	b.Expect(b.mustRun("log", d.Name, "--headers", "response")).To(Equal(d.Status.Response.Headers))
	b.width = 80
	b.Expect(b.mustRun("log", d.Name, "--body", "response")).To(Equal(printable(hostile) + "\n"))
	b.Expect(b.mustRun("log", d.Name, "--body", "response", "--raw")).To(Equal(hostile))

	for _, part := range []string{"--headers=request", "--headers=response", "--body=response"} {
		r := b.run("log", unsent.Name, part)
		b.Expect(r.code).To(Equal(exitError))
		b.Expect(r.err).To(MatchRegexp("nothing has been sent yet|no answer"))
	}
	b.Expect(b.run("log", d.Name, "--body", "both").code).To(Equal(exitUsage))
	b.Expect(b.run("log", d.Name, "--body", "request", "--curl").code).NotTo(Equal(0))
	b.Expect(b.mustRun("log", d.Name, "-o", "jsonpath={.spec.payload}")).To(Equal(d.Spec.Payload))

	b.Expect(b.run("log", "nothing").err).To(ContainSubstring("there is no delivery nothing in the namespace " + b.namespace))
	b.Expect(b.run("log", "smoke-tests").err).To(ContainSubstring("is a webhook, not a delivery"))
	b.Expect(b.run("log", "--last", "nothing").err).To(ContainSubstring("there is no webhook nothing in the namespace "))
}

// What --curl prints does what it says in a shell, whatever the record has in it.
func TestCurlInShell(t *testing.T) {
	dir := t.TempDir()
	// In place of curl: it prints its arguments, and what it reads, each with a length.
	fake := "#!/bin/sh\nfor a; do printf '%s:' \"${#a}\"; printf '%s' \"$a\"; printf '\\n'; [ \"$a\" = @- ] && cat; done\n:\n"
	if err := os.WriteFile(filepath.Join(dir, "curl"), []byte(fake), 0o755); err != nil {
		t.Fatal(err)
	}
	headers := "Content-Type: a'b\"c$(touch pwned)`touch pwned`\\\nX-Empty:\nno header\n-H: x\nX-Nasty: \x1b[2J\u202e\\n\n" +
		"Webhook-Signature: [redacted]\nWebhook-Timestamp: 1\nX-Horizon-Webhook-Secret: [redacted]"
	for name, body := range map[string]string{
		"plain":       `{"a":"b"}`,
		"quotes":      `'"'"'; touch pwned; $(touch pwned) \'` + "`touch pwned`" + ` $TOKEN %s \n @file`,
		"at":          `@/etc/passwd`,
		"hostile":     hostile,
		"backslashes": `\\ \0101 \c \x41` + "\x1b" + `\\\`,
		"lines":       "one\ntwo\n\n",
		"invalid":     "\xff\xfe\x80 ok",
		"long":        strings.Repeat("0123456789", 40_000) + "'",
	} {
		t.Run(name, func(t *testing.T) {
			script := curlOf("https://ci.example.com/x?a=b&c='d'[1]", headers, body)
			for i, r := range script {
				if r != '\n' && r < ' ' || r == '\u202e' || r == '\u009b' {
					t.Fatalf("%q gets to the terminal, at %d", r, i)
				}
			}
			check := exec.CommandContext(t.Context(), "sh", "-n")
			check.Stdin = strings.NewReader(script)
			if out, err := check.CombinedOutput(); err != nil {
				t.Fatalf("sh -n: %v\n%s\n%s", err, out, script)
			}
			var out, errOut bytes.Buffer
			run := exec.CommandContext(t.Context(), "sh")
			run.Stdin, run.Stdout, run.Stderr = strings.NewReader(script), &out, &errOut
			run.Dir, run.Env = dir, append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"), "TOKEN=the token", "LC_ALL=C")
			if err := run.Run(); err != nil {
				t.Fatalf("sh: %v\n%s", err, errOut.String())
			}
			if _, err := os.Stat(filepath.Join(dir, "pwned")); err == nil {
				t.Fatal("the record's content was run")
			}
			args := []string{
				"--globoff", "--request", "POST", "--url", "https://ci.example.com/x?a=b&c='d'[1]",
				"--header", "Content-Type: a'b\"c$(touch pwned)`touch pwned`\\", "--header", "X-Empty;", "--header", "-H: x",
				"--header", "X-Nasty: \x1b[2J\u202e\\n", "--header", "X-Horizon-Webhook-Secret: the token",
			}
			var want strings.Builder
			for _, a := range args {
				fmt.Fprintf(&want, "%d:%s\n", len(a), a)
			}
			if len(body) > longestArgument || !plain(body) {
				fmt.Fprintf(&want, "%d:%s\n%d:%s\n%s", len("--data-binary"), "--data-binary", 2, "@-", body)
			} else {
				fmt.Fprintf(&want, "%d:%s\n%d:%s\n", len("--data-raw"), "--data-raw", len(body), body)
			}
			if out.String() != want.String() {
				t.Errorf("got\n%q\nwant\n%q", out.String(), want.String())
			}
		})
	}
}

func TestLogCurl(t *testing.T) {
	b := newBed(t)
	w := b.webhook("smoke-tests", func(s *v1alpha1.WebhookSpec) {
		s.State, s.URL = v1alpha1.WebhookDisabled, "https://ci.example.com/hooks/horizon"
		s.SecretRef = &v1alpha1.SecretKeyReference{Name: "s", Key: "token"}
	})
	sent := b.record(w, 1, told, nil, answer(told, 200, ""))
	unsent := b.record(w, 2, told, func(d *v1alpha1.WebhookDelivery) {
		delivery.GiveUp(d, v1alpha1.ReasonOverflow, "too many wait", told)
	})
	secret := b.record(w, 3, told, func(d *v1alpha1.WebhookDelivery) { d.Status.Request.URL = "https://chat.example.com/[redacted]" }, answer(told, 200, ""))
	golden(t, "log/curl.txt", b.still(b.mustRun("log", sent.Name, "--curl")))
	golden(t, "log/curl-unsent.txt", b.still(b.mustRun("log", unsent.Name, "--curl")))
	b.Expect(b.mustRun("log", secret.Name, "--curl")).To(And(ContainSubstring(`--url "$URL"`), Not(ContainSubstring("chat.example.com"))))
}
