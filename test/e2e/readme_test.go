package e2e

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
)

// The README has this function as it stands here; the test below sees to it.

func report(ctx context.Context, c client.Client, happened time.Time) error {
	return client.IgnoreAlreadyExists(c.Create(ctx, &v1alpha1.WebhookEvent{
		ObjectMeta: metav1.ObjectMeta{Namespace: "music", Name: "horizon-78403"},
		Spec: v1alpha1.WebhookEventSpec{
			EventID:      78403,
			EventType:    "clusters_deployed",
			Time:         metav1.NewTime(happened),
			ResourcePath: "/music/player/web/web-prod",
			Cluster:      &v1alpha1.ClusterInfo{ID: new(int64(61400)), Name: "web-prod", ApplicationName: "web", Env: "online"},
			User:         &v1alpha1.UserInfo{ID: new(int64(1)), Name: "test", Email: "test@noreply.com"},
		},
	}))
}

var (
	codeBlock = regexp.MustCompile("(?ms)^```(\\w+)\n(.*?)^```$")
	link      = regexp.MustCompile(`\]\(([^):#]+)\)`)
)

// What the README says can be done is done, in its order, with a receiver on
// loopback in place of its example.
func TestReadme(t *testing.T) {
	s := newScene(t)
	data, err := os.ReadFile(filepath.Join(root, "README.md"))
	s.Expect(err).NotTo(HaveOccurred())
	self, err := os.ReadFile("readme_test.go")
	s.Expect(err).NotTo(HaveOccurred())

	for _, path := range link.FindAllStringSubmatch(string(data), -1) {
		_, err := os.Stat(filepath.Join(root, path[1]))
		s.Expect(err).NotTo(HaveOccurred(), "a link of the README")
	}

	script := "set -eux\n"
	functions := 0
	for _, block := range codeBlock.FindAllStringSubmatch(string(data), -1) {
		switch language, code := block[1], block[2]; language {
		case "sh":
			script += code
		case "go":
			functions++
			s.Expect(string(self)).To(ContainSubstring(code), "a function of the README")
		}
	}
	s.Expect(functions).To(Equal(1))

	const example = "https://ci.example.com/hooks/horizon"
	s.Expect(strings.Count(script, example)).To(Equal(2))
	cmd := exec.CommandContext(s.ctx, "/bin/sh", "-c", strings.ReplaceAll(script, example, s.receiver.URL("/hooks/horizon")))
	cmd.Env = suite.env
	out, err := cmd.CombinedOutput()
	s.Expect(err).NotTo(HaveOccurred(), "%s", out)
	t.Logf("%s", out)
	s.arrive("/hooks/horizon", 4) // a test, the event, and two resends of it

	// The second time Horizon tells another body of the same event.
	happened := time.Now()
	s.Expect(report(s.ctx, suite.client, happened)).To(Succeed())
	s.Expect(report(s.ctx, suite.client, happened.Add(-time.Minute))).To(Succeed())
	// Nothing may be under way when the receiver ends.
	s.Eventually(func() []v1alpha1.DeliveryResult {
		var list v1alpha1.WebhookDeliveryList
		s.Expect(suite.client.List(s.ctx, &list, client.InNamespace("music"))).To(Succeed())
		return results(list.Items)
	}).Should(And(HaveLen(3), HaveEach(v1alpha1.DeliverySucceeded)))
	bodies := map[string]int{}
	for _, a := range s.arrive("/hooks/horizon", 5) {
		if a.Header.Get("X-Horizon-Webhook-Test") != "" {
			continue
		}
		bodies[regexp.MustCompile(`"eventID":\d+`).FindString(string(a.Body))]++
	}
	s.Expect(bodies).To(Equal(map[string]int{`"eventID":78402`: 3, `"eventID":78403`: 1}))
}
