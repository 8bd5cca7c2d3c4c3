package cli

import (
	"strings"
	"testing"

	. "github.com/onsi/gomega"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/test/receiver"
)

const robotKey = "SEC0b5a1f2d6c3e47a89b10c2d3e4f5a6b7"

// The address on standard input and the key in a file are all that a room takes.
func TestCreateRoom(t *testing.T) {
	b := newBed(t).as("editor", "edit")
	room := b.Receiver.Open(receiver.DingTalk, receiver.RoomOptions{Secret: robotKey})
	b.stdin = room.URL() + "\n"
	r := b.run("create", "ops-room", "--format", "dingtalk", "--url-from-stdin", "--secret-from-file="+b.file("key", robotKey+"\n"),
		"--trigger", "*", "--language", "zh", "--rate-limit", "10/1m", "--wait")
	b.Expect(r.code).To(Equal(0), r.err)
	b.Expect(r.out).To(Equal("secret/ops-room-webhook created\nwebhook.horizoncd.io/ops-room created\n"))
	w := b.get("ops-room")
	b.Expect(w.Spec.URL).To(BeEmpty())
	b.Expect(w.Spec.URLSecretRef).To(Equal(&v1alpha1.SecretKeyReference{Name: "ops-room-webhook", Key: "url"}))
	b.Expect(w.Spec.SecretRef).To(Equal(&v1alpha1.SecretKeyReference{Name: "ops-room-webhook", Key: "token"}))
	b.Expect(w.Spec.Payload).To(Equal(&v1alpha1.PayloadSettings{Format: v1alpha1.PayloadDingTalk, Language: v1alpha1.LanguageChinese}))
	b.Expect(w.Spec.RateLimit).To(Equal(&v1alpha1.RateLimit{Requests: 10, PerSeconds: 60}))
	b.Expect(b.secret("ops-room-webhook").Data).To(HaveLen(2))

	e := b.Event(1)
	d := b.Delivery("ops-room", e, v1alpha1.DeliverySucceeded)
	b.Expect(room.Messages()).To(HaveLen(1))

	shown := b.mustRun("show", "ops-room")
	b.Expect(shown).To(MatchRegexp(`Format: +DingTalk\nLanguage: +zh\n`))
	b.Expect(shown).To(MatchRegexp(`Rate limit: +10 per 60 s\n`))
	b.Expect(shown).To(MatchRegexp(`Secret: +Secret ops-room-webhook, key token: requests are signed in the URL with the key of the robot, and it is never sent`))
	rendered := b.mustRun("render", "ops-room", "--event", e.Name)
	b.Expect(rendered).To(ContainSubstring("\nThe room shows:\n"))
	b.Expect(rendered).To(ContainSubstring("  - 应用：web"))
	b.Expect(rendered).To(ContainSubstring("the request is signed in the URL with the key of the robot"))
	b.Expect(strings.ToLower(rendered)).NotTo(Or(ContainSubstring("webhook-signature"), ContainSubstring("x-horizon-webhook-secret")))
	curl := b.mustRun("log", d.Name, "--curl")
	b.Expect(curl).To(ContainSubstring("# DingTalk refuses this while its robot asks for signatures"))
	for _, text := range []string{shown, rendered, curl, r.out, r.err, b.mustRun("log", d.Name)} {
		b.Expect(text).NotTo(Or(ContainSubstring(robotKey), ContainSubstring(room.Key())))
	}

	b.mustRun("edit", "ops-room", "--rate-limit", "none", "--language", "")
	w = b.get("ops-room")
	b.Expect(w.Spec.RateLimit).To(BeNil())
	b.Expect(w.Spec.Payload.Language).To(Equal(v1alpha1.LanguageEnglish), "the default")
	b.Expect(b.mustRun("show", "ops-room")).To(MatchRegexp(`Rate limit: +20 per 60 s, that of DingTalk\n`))
}

// What the room answers in a 200 is told in its own words.
func TestRoomRefuses(t *testing.T) {
	b := newBed(t)
	room := b.Receiver.Open(receiver.DingTalk, receiver.RoomOptions{Keyword: "deploy!"})
	b.stdin = room.URL()
	b.mustRun("create", "ops-room", "--format", "DingTalk", "--url-from-stdin", "--trigger", "*")
	d := b.Delivery("ops-room", b.Event(1), v1alpha1.DeliveryFailed)
	for _, args := range [][]string{{"log", d.Name}, {"why", d.Name}} {
		text := strings.Join(strings.Fields(b.mustRun(args...)), " ")
		b.Expect(text).To(ContainSubstring("by the format DingTalk, no retry would help"))
		b.Expect(text).To(ContainSubstring("not accepted: errcode 310000: "))
	}
}

func TestCreateRoomMistakes(t *testing.T) {
	b := newBed(t).as("editor", "edit")
	key := b.file("key", robotKey)
	const address = "https://oapi.dingtalk.com/robot/send?access_token=" + secretValue
	for name, tc := range map[string]struct {
		args []string
		want string
		code int
	}{
		"format":           {[]string{"--format", "telegram"}, `"telegram" is no format: there are Horizon, CloudEvents, DingTalk`, exitUsage},
		"language":         {[]string{"--format", "slack", "--language", "de"}, "en, zh", exitUsage},
		"plain URL":        {[]string{"--format", "slack", "--url", "https://hooks.slack.com/services/a"}, "give it with --url-from-stdin, --url-file or --url-ref in place of --url", exitUsage},
		"no URL":           {[]string{"--format", "wecom"}, "give the address of the room with --url-from-stdin", exitUsage},
		"secret":           {[]string{"--format", "slack", "--url-from-stdin", "--secret-file", key}, "Slack knows no secret beside the address: leave --secret out", exitUsage},
		"signing secret":   {[]string{"--format", "feishu", "--url-from-stdin", "--signing-secret-file", key}, "give the signing key of the robot with --secret-file", exitUsage},
		"no signatures":    {[]string{"--format", "teams", "--url-from-stdin", "--signing-secret-ref", "a"}, "which rooms do not get: leave it out\n", exitUsage},
		"rate limit":       {[]string{"--format", "wecom", "--url-from-stdin", "--rate-limit", "20"}, "such as 20/60s", exitUsage},
		"rate limit, time": {[]string{"--format", "wecom", "--url-from-stdin", "--rate-limit", "20/1.5s"}, "such as 20/60s", exitUsage},
		"rate limit, span": {[]string{"--format", "wecom", "--url-from-stdin", "--rate-limit", "20/1h"}, "--rate-limit (spec.rateLimit.perSeconds): ", exitError},
	} {
		b.stdin = address
		r := b.run(append([]string{"create", "a", "--trigger", "*"}, tc.args...)...)
		b.Expect(r.code).To(Equal(tc.code), "%s: %s", name, r.err)
		b.Expect(r.err).To(ContainSubstring(tc.want), name)
		b.Expect(r.out+r.err).NotTo(ContainSubstring(secretValue), name)
	}
	b.Expect(b.secretNames()).To(BeEmpty())
	b.Expect(b.gone("a")).To(BeTrue())

	// The API server's own words lead to the flags.
	b.mustRun("create", "b", "--url", "https://ci.example.com", "--trigger", "*", "--secret-file", key)
	r := b.run("edit", "b", "--format", "slack")
	b.Expect(r.err).To(And(ContainSubstring("--url-ref (spec.urlSecretRef): the format Slack needs urlSecretRef"),
		ContainSubstring("--secret-ref (spec.secretRef): Slack knows no secret")))
	b.stdin = "https://hooks.slack.com/services/a"
	r = b.run("edit", "b", "--url-from-stdin")
	b.Expect(r.err).To(ContainSubstring("a room of Slack, which takes nothing but its own messages: `kubectl horizon edit b --format Slack`"))
	b.stdin = "https://hooks.slack.com/services/b"
	r = b.run("edit", "b", "--format", "slack", "--url-from-stdin", "--no-secret")
	b.Expect(r.code).To(Equal(0), r.err)
	b.Expect(r.err).NotTo(ContainSubstring("warning"))
}

// The host of an address tells the service, whether it is a secret or not.
func TestRoomHint(t *testing.T) {
	b := offline(t)
	for address, want := range map[string]string{
		"https://oapi.dingtalk.com/robot/send?access_token=x":    "DingTalk",
		"https://open.larksuite.com/open-apis/bot/v2/hook/x":     "Feishu",
		"https://QYAPI.weixin.qq.com/cgi-bin/webhook/send?key=x": "WeCom",
		"https://hooks.slack.com/services/x":                     "Slack",
		"https://discord.com/api/webhooks/1/x":                   "Discord",
		"https://prod-1.westeurope.logic.azure.com/workflows/x":  "Teams",
		"https://discord.com/developers":                         "",
		"https://hooks.slack.com.example.com/services/x":         "",
	} {
		b.stdin = address
		r := b.run("create", "a", "--url-from-stdin", "--trigger", "*", "--dry-run=client")
		b.Expect(r.code).To(Equal(0), r.err)
		if want == "" {
			b.Expect(r.err).To(BeEmpty(), address)
			continue
		}
		b.Expect(r.err).To(ContainSubstring("a room of "+want), address)
		b.Expect(r.err).To(ContainSubstring("`kubectl horizon edit a --format "+want+"`"), address)
		b.stdin = address
		r = b.run("create", "a", "--url-from-stdin", "--trigger", "*", "--dry-run=client", "--format", want)
		b.Expect(r.err).To(BeEmpty(), address)
	}
}
