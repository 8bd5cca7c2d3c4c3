package insight

import (
	"fmt"
	"net/url"
	"strings"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/format"
)

// rooms are the hosts of chat services, with what the paths of their rooms begin with.
var rooms = []struct {
	// host is that of the service, and any below it where it begins with a dot.
	host, path string
	format     v1alpha1.PayloadFormat
}{
	{"oapi.dingtalk.com", "/robot/", v1alpha1.PayloadDingTalk},
	{"open.feishu.cn", "/open-apis/bot/", v1alpha1.PayloadFeishu},
	{"open.larksuite.com", "/open-apis/bot/", v1alpha1.PayloadFeishu},
	{"qyapi.weixin.qq.com", "/cgi-bin/webhook/", v1alpha1.PayloadWeCom},
	{"hooks.slack.com", "/", v1alpha1.PayloadSlack},
	{"discord.com", "/api/webhooks/", v1alpha1.PayloadDiscord},
	{"discordapp.com", "/api/webhooks/", v1alpha1.PayloadDiscord},
	{".logic.azure.com", "/workflows/", v1alpha1.PayloadTeams},
	{".webhook.office.com", "/", v1alpha1.PayloadTeams},
	{".environment.api.powerplatform.com", "/powerautomate/", v1alpha1.PayloadTeams},
}

// ServiceOf returns the format of the service whose room an address is, as far as the address
// tells; nil for any other.
func ServiceOf(address string) *format.Format {
	u, err := url.Parse(strings.TrimSpace(address))
	if err != nil {
		return nil
	}
	host := strings.TrimSuffix(strings.ToLower(u.Hostname()), ".")
	for _, room := range rooms {
		if host != room.host && (room.host[0] != '.' || !strings.HasSuffix(host, room.host)) || !strings.HasPrefix(u.Path, room.path) {
			continue
		}
		return formatNamed(room.format)
	}
	return nil
}

func formatNamed(name v1alpha1.PayloadFormat) *format.Format {
	return format.Of(&v1alpha1.Webhook{Spec: v1alpha1.WebhookSpec{Payload: &v1alpha1.PayloadSettings{Format: name}}})
}

// RateLimitOf says which rate limit a Webhook has, and whence; empty where it has none.
func RateLimitOf(w *v1alpha1.Webhook) string {
	text := format.RateLimitOf(w).String()
	if text != "" && w.Spec.RateLimit == nil {
		text += ", that of " + format.Of(w).Title
	}
	return text
}

// SignedBy says how requests of a Webhook to a room prove who sends them; empty where the
// Webhook sends to no room.
func SignedBy(w *v1alpha1.Webhook) string {
	switch f := format.Of(w); {
	case !f.Room:
		return ""
	case f.Signs() && w.Spec.SecretRef == nil:
		return "not signed: whoever knows the address may write to the room"
	case !f.Signs():
		return "not signed: all that the service asks for is the address"
	default:
		return f.Proof
	}
}

// oddRooms is about what a format of a chat service makes of other fields, or would be for.
func oddRooms(spec *v1alpha1.WebhookSpec) []Oddity {
	var all []Oddity
	f := format.Of(&v1alpha1.Webhook{Spec: *spec})
	if service := ServiceOf(spec.URL); service != nil && service != f {
		all = append(all, Oddity{"spec.url", fmt.Sprintf("it looks like a room of %s, which takes nothing but its own messages: "+
			"spec.payload.format: %s sends these, and the address belongs into a Secret (urlSecretRef)", service.Title, service.Name)})
	}
	p := spec.Payload
	if p != nil && p.Language == v1alpha1.LanguageChinese && !f.Room && !strings.Contains(p.Template, "message") {
		all = append(all, Oddity{"spec.payload.language", fmt.Sprintf("without effect: the format %s has no message for people in its body", f.Name)})
	}
	if l := spec.RateLimit; l != nil && f.RateLimit.Requests > 0 && faster(*l, f.RateLimit) {
		all = append(all, Oddity{"spec.rateLimit", fmt.Sprintf("%s is more than %s takes, %s: what is too much is refused, and may be blocked for a while",
			*l, f.Title, f.RateLimit)})
	}
	return all
}

// faster tells whether a limit lets more through than another one, in the long run or at once.
func faster(l, than v1alpha1.RateLimit) bool {
	return int64(l.Requests)*int64(than.PerSeconds) > int64(than.Requests)*int64(l.PerSeconds) ||
		l.Requests > than.Requests && l.PerSeconds <= than.PerSeconds
}
