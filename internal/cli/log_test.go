package cli

import (
	"fmt"
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
	return strings.ReplaceAll(text, b.Namespace, "NAMESPACE")
}

func TestLogGolden(t *testing.T) {
	b := newBed(t)
	w := b.Webhook("smoke-tests", func(s *v1alpha1.WebhookSpec) {
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
	before := told.Add(-time.Minute)
	made := answer(told, 200, `{"errcode":310000,"errmsg":"keywords not in content"}`)
	made.RequestBody = `{"msgtype":"text","text":{"content":"` + strings.ReplaceAll(hostile, "\x1b", `\u001b`) + `"}}`
	made.Judgement = sending.Judgement{Refused: true, By: "spec.response.giveUpIf", Why: "response.json.errcode is 310000", Final: true}
	records["rejected"] = b.record(w, 6, before, nil, made)
	long = answer(told, 200, "")
	long.RequestBody, long.RequestBodyTruncated = `{"text":"`+strings.Repeat("long ", 20)+"and", true
	records["cut"] = b.record(w, 7, before, nil, long)
	records["without-body"] = b.record(w, 8, before, func(d *v1alpha1.WebhookDelivery) {
		delivery.FailPayload(d, "spec.payload.template of the webhook made no body: "+hostile, told)
	})
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
	w := b.Webhook("smoke-tests", func(s *v1alpha1.WebhookSpec) { s.State = v1alpha1.WebhookDisabled })
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

	for _, part := range []string{"--headers=request", "--headers=response", "--body=request", "--body=response"} {
		r := b.run("log", unsent.Name, part)
		b.Expect(r.code).To(Equal(exitError))
		b.Expect(r.err).To(MatchRegexp("nothing has been sent yet|no answer"))
	}
	made := answer(told, 200, "")
	made.RequestBody = `{"text":"[redacted]"}`
	other := b.record(w, 3, told, nil, made)
	b.width = 0
	r := b.run("log", other.Name, "--body", "request")
	b.Expect(r).To(Equal(ran{made.RequestBody, "Secrets in the body are kept as [redacted].\n", 0}))
	b.Expect(b.mustRun("log", other.Name, "--body", "event")).To(Equal(other.Spec.Payload))
	made.RequestBody, made.RequestBodyTruncated = `{"text":"and s`, true
	r = b.run("log", b.record(w, 4, told, nil, made).Name, "--body", "request")
	b.Expect(r).To(Equal(ran{made.RequestBody, "The body is cut: at most 16 KiB of it are kept.\n", 0}))
	r = b.run("log", b.record(w, 5, told, func(d *v1alpha1.WebhookDelivery) { delivery.Shrink(d) }, made).Name, "--body", "request")
	b.Expect(r.code).To(Equal(exitError))
	b.Expect(r.err).To(ContainSubstring("is not kept: the API server refused the record with it; --body event prints"))

	b.Expect(b.run("log", d.Name, "--body", "both").code).To(Equal(exitUsage))
	b.Expect(b.run("log", d.Name, "--body", "request", "--curl").code).NotTo(Equal(0))
	b.Expect(b.mustRun("log", d.Name, "-o", "jsonpath={.spec.payload}")).To(Equal(d.Spec.Payload))

	b.Expect(b.run("log", "nothing").err).To(ContainSubstring("there is no delivery nothing in the namespace " + b.Namespace))
	b.Expect(b.run("log", "smoke-tests").err).To(ContainSubstring("is a webhook, not a delivery"))
	b.Expect(b.run("log", "--last", "nothing").err).To(ContainSubstring("there is no webhook nothing in the namespace "))
}

func TestLogCurl(t *testing.T) {
	b := newBed(t)
	w := b.Webhook("smoke-tests", func(s *v1alpha1.WebhookSpec) {
		s.State, s.URL = v1alpha1.WebhookDisabled, "https://ci.example.com/hooks/horizon"
		s.SecretRef = &v1alpha1.SecretKeyReference{Name: "s", Key: "token"}
	})
	sent := b.record(w, 1, told, nil, answer(told, 200, ""))
	unsent := b.record(w, 2, told, func(d *v1alpha1.WebhookDelivery) {
		delivery.GiveUp(d, v1alpha1.ReasonOverflow, "too many wait", told)
	})
	secret := b.record(w, 3, told, func(d *v1alpha1.WebhookDelivery) { d.Status.Request.URL = "https://chat.example.com/[redacted]" }, answer(told, 200, ""))
	golden(t, "log/curl.txt", b.still(b.mustRun("log", sent.Name, "--curl")))
	made := answer(told, 200, "")
	made.RequestBody = `{"text":"it's out"}`
	b.Expect(b.mustRun("log", b.record(w, 4, told, nil, made).Name, "--curl")).To(HaveSuffix(`--data-raw '{"text":"it'\''s out"}'` + "\n"))
	made.RequestBodyTruncated = true
	r := b.run("log", b.record(w, 5, told, nil, made).Name, "--curl")
	b.Expect(r.code).To(Equal(exitError))
	b.Expect(r.err).To(ContainSubstring("is not kept whole (at most 16 KiB are), so the request cannot be repeated by hand"))
	golden(t, "log/curl-unsent.txt", b.still(b.mustRun("log", unsent.Name, "--curl")))
	b.Expect(b.mustRun("log", secret.Name, "--curl")).To(And(ContainSubstring(`--url "$URL"`), Not(ContainSubstring("chat.example.com"))))
}
