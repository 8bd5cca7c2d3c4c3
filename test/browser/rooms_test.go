package browser

import (
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/test/receiver"
)

// A robot's address and key are pasted, the message is seen in both languages before anything
// is made, and a test arrives in the room.
func TestRoomByTheForm(t *testing.T) {
	b := newBed(t)
	const key = "SEC0b5a1f2d6c3e47a89b10c2d3e4f5a6b7"
	room := b.Receiver.Open(receiver.DingTalk, receiver.RoomOptions{Secret: key})
	p := b.dashboard(b.kubeconfig("user", "edit"), false).signIn("/new")
	p.expect("status of 422")
	if p.find("textbox", "Secret"); p.has("combobox", "Language") {
		t.Error("the language of messages is asked for, and there are none")
	}
	p.axe("the form of a receiver")

	// What a service has no use for is not asked for.
	p.click("radio", "Slack")
	p.find("combobox", "Language")
	p.gone("textbox", "Secret")
	p.gone("checkbox", "The URL is a secret itself: it goes into a Secret, and is not shown again")
	p.waitFor("In the room of Slack")
	p.click("radio", "DingTalk")
	p.find("textbox", "Secret")
	p.waitFor("In the room of DingTalk")

	p.fill("Name", "ops-room")
	p.check("clusters_deployed A cluster has triggered a deploy task.", true)
	p.click("button", "Submit")
	p.waitFor("to be put right first")
	if text := p.text("#url-mistake"); !strings.Contains(text, "paste the address of the robot") {
		t.Errorf("beside the URL stands %q", text)
	}
	p.axe("a form of a room with a mistake")

	p.fill("URL", room.URL())
	p.fill("Secret", key)
	p.until(`document.querySelector(".form-preview .room-heading")?.textContent.includes("Cluster test is being deployed") ?? false`)
	p.choose("Language", "中文 (Chinese)")
	p.until(`(document.querySelector(".form-preview .room")?.lang ?? "") === "zh"`)
	if text := p.text(".form-preview .room"); !strings.Contains(text, "集群 test 开始部署") {
		t.Errorf("the preview in Chinese says %q", text)
	}
	p.until(`document.getElementById("url-mistake").textContent === ""`)
	p.axe("a form of a room")
	p.click("button", "Submit")
	p.at(b.path("/webhooks/ops-room"))
	p.waitFor("20 per 60 s")

	p.in("region", "Logs").click("button", "Test")
	p.waitFor("arrived: the receiver answered 200")
	messages := room.Messages()
	b.Expect(messages).To(HaveLen(1))
	b.Expect(string(messages[0].Body)).To(ContainSubstring("测试"))
	p.axe("the page of a room")
	p.click("link", "log of the test")
	p.waitFor("In the room of DingTalk")
	p.axe("the log of a room")
	html := evaluate[string](p, `document.documentElement.outerHTML`)
	b.Expect(html).NotTo(Or(ContainSubstring(key), ContainSubstring(room.Key())))

	w := &v1alpha1.Webhook{}
	b.Expect(b.Client.Get(b.Ctx, client.ObjectKey{Namespace: b.Namespace, Name: "ops-room"}, w)).To(Succeed())
	b.Expect(w.Spec.URLSecretRef).NotTo(BeNil())
	b.Expect(w.Spec.SecretRef.Name).To(Equal(w.Spec.URLSecretRef.Name))
	b.Expect(w.Spec.Payload.Language).To(Equal(v1alpha1.LanguageChinese))
}

// The pictures of messages in the documentation, with -update.
func TestRoomPictures(t *testing.T) {
	if !*update {
		t.Skip("run it with -update to write docs/images/room-*.png anew")
	}
	b := newBed(t)
	b.Event(4170, func(spec *v1alpha1.WebhookEventSpec) {
		spec.User.Name, spec.User.Email = "jane", "jane@example.com"
		spec.Time = metav1.NewTime(time.Date(2026, 11, 29, 9, 0, 0, 0, time.UTC))
	})
	p := b.dashboard("", false).signIn("/new")
	p.check("clusters_deployed A cluster has triggered a deploy task.", true)
	for _, service := range []struct{ choice, name, picture string }{
		{"DingTalk", "DingTalk", "dingtalk"}, {"Feishu or Lark", "Feishu", "feishu"}, {"WeCom", "WeCom", "wecom"},
		{"Slack", "Slack", "slack"}, {"Microsoft Teams", "Teams", "teams"}, {"Discord", "Discord", "discord"},
	} {
		p.click("radio", service.choice)
		p.until(`(document.querySelector(".form-preview .room-shown h2")?.textContent ?? "") === "In the room of ` + service.name + `"`)
		if text := p.text(".form-preview .room"); !strings.Contains(text, "web-prod") || !strings.Contains(text, "jane") {
			t.Errorf("%s shows %q", service.name, text)
		}
		p.pictureOf("room-"+service.picture, ".form-preview .room")
	}
	p.click("radio", "DingTalk")
	p.choose("Language", "中文 (Chinese)")
	p.until(`(document.querySelector(".form-preview .room")?.lang ?? "") === "zh"`)
	p.pictureOf("room-dingtalk-zh", ".form-preview .room")
}
