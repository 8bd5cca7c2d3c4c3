package cli

import (
	"fmt"
	"io"
	"net/url"
	"strings"
	"syscall"
	"testing"

	. "github.com/onsi/gomega"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
)

func TestNameOf(t *testing.T) {
	for arg, want := range map[string]string{
		"a":                                "a",
		"delivery/a":                       "a",
		"whd/a":                            "a",
		"webhookdelivery.horizoncd.io/a":   "a",
		"webhookdeliveries.horizoncd.io/a": "a",
		"WebhookDelivery.horizoncd.io/a":   "a",
		"webhook/a":                        "",
		"webhook.horizoncd.io/a":           "",
		"webhookdelivery.example.com/a":    "",
		"delivery/":                        "",
		"/a":                               "",
	} {
		name, err := nameOf(arg, kindDelivery)
		if name != want || (err == nil) != (want != "") {
			t.Errorf("%q: %q, %v", arg, name, err)
		}
	}
}

// What -o name prints is a name that every command takes.
func TestNamesAsPrinted(t *testing.T) {
	b := newBed(t)
	w := b.Webhook("smoke-tests")
	e := b.Event(1)
	d := b.Delivery(w.Name, e, v1alpha1.DeliverySucceeded)
	webhook, delivery := "webhook.horizoncd.io/"+w.Name, "webhookdelivery.horizoncd.io/"+d.Name

	b.Expect(b.mustRun("list", "-o", "name")).To(Equal(webhook + "\n"))
	b.Expect(b.mustRun("logs", webhook, "--event", "webhookevent.horizoncd.io/"+e.Name, "-o", "name")).To(Equal(delivery + "\n"))
	for _, c := range []struct{ args, want string }{
		{"log " + delivery, d.Name},
		{"log " + webhook + " --last", d.Name},
		{"why " + delivery, "the delivery " + d.Name},
		{"why event/" + e.Name, "the event " + e.Name},
		{"show " + webhook, w.Name},
		{"resend --dry-run " + delivery, d.Name},
		{"resend --dry-run --result succeeded --webhook " + webhook, d.Name},
		{"render " + webhook + " --event webhookevent.horizoncd.io/" + e.Name, "POST "},
		{"replay " + webhook, "no replay"},
		{"pause " + webhook, "paused"},
		{"edit " + webhook + " --url https://a.example.com/b", "edited"},
		{"test " + webhook, "A test of smoke-tests"},
	} {
		b.Expect(b.mustRun(strings.Fields(c.args)...)).To(ContainSubstring(c.want), c.args)
	}
	b.Expect(b.mustRun("delete", "--yes", webhook)).To(ContainSubstring("deleted"))
}

// An object that is not there is told with the namespace where it was looked for, and one of
// another kind with the command for that.
func TestNamesOfNothing(t *testing.T) {
	b := newBed(t)
	b.Webhook("smoke-tests")
	for args, want := range map[string]string{
		"log nothing --last":                "there is no webhook nothing in the namespace " + b.Namespace,
		"resend --webhook nothing --failed": "there is no webhook nothing in the namespace " + b.Namespace,
		"replay nothing":                    "there is no webhook nothing in the namespace " + b.Namespace,
		"why webhook/nothing":               "there is no webhook nothing in the namespace " + b.Namespace,
		"why delivery/nothing":              "there is no delivery nothing in the namespace " + b.Namespace,
		"resend smoke-tests":                "`kubectl horizon resend --webhook smoke-tests --failed -n " + b.Namespace + "`",
		"show event/smoke-tests":            "event/smoke-tests is not the name of a webhook",
	} {
		r := b.run(strings.Fields(args)...)
		b.Expect(r.code).NotTo(Equal(0), args)
		b.Expect(r.err).To(ContainSubstring(want), args)
	}
}

// A test delivery names an event that there never was.
func TestWhyOfTests(t *testing.T) {
	b := newBed(t)
	b.Webhook("smoke-tests")
	b.mustRun("test", "smoke-tests")
	b.Eventually(func() string { return b.run("why", "webhook-test").out }).Should(And(
		ContainSubstring("\nNote: this is no event: kubectl horizon test has sent it\n"), Not(ContainSubstring("removed"))))
}

// A misspelt event type is told of: nothing would ever come of it.
func TestMisspeltTypes(t *testing.T) {
	b := newBed(t)
	told := "Note: --type clusters_deploied is no event type"
	b.Expect(b.run("logs", "--type", "clusters_deploied").err).To(ContainSubstring(told))
	b.Expect(b.run("resend", "--dry-run", "--type", "clusters_deploied").err).To(ContainSubstring(told))
	b.Expect(b.run("logs", "--type", "cluster_deployed,members_*,*,webhook_test").err).NotTo(ContainSubstring("Note"))
}

// A mistake in the command line is told in plain words, with what may be meant.
func TestMistakesInCommandLines(t *testing.T) {
	for args, want := range map[string]string{
		"creat":                          `there is no command "creat": did you mean create?`,
		"describe":                       "did you mean show?",
		"nonsense":                       "kubectl horizon --help lists all",
		"show":                           "name a webhook\nUsage: kubectl horizon show WEBHOOK",
		"show a b":                       "one name at a time, and these are 2",
		"log":                            "name a delivery",
		"log --last":                     "name a webhook\n",
		"delete":                         "name a webhook\n",
		"check a":                        `check takes no arguments, and "a" is one`,
		"create a --secret b":            "did you mean --secret-file or --secret-from-stdin or --secret-ref?",
		"list --nonsense":                "unknown flag: --nonsense\nSee: kubectl horizon list --help",
		"create a --max-in-flight x":     `invalid argument "x" for "--max-in-flight" flag: it has to be a whole number`,
		"create a --retries 99999999999": "it is out of range",
	} {
		var out strings.Builder
		p := newPlugin(genericiooptions.IOStreams{In: strings.NewReader(""), Out: io.Discard, ErrOut: &out}, "test")
		if code := execute(t.Context(), p, strings.Fields(args)); code != exitUsage {
			t.Errorf("%s: exit code %d", args, code)
		}
		if !strings.Contains(out.String(), want) {
			t.Errorf("%s: %s", args, out.String())
		}
	}
}

func TestExplainMissingKubeconfig(t *testing.T) {
	refused := func(address string) string {
		return explain(fmt.Errorf("listing webhooks: %w", &url.Error{Op: "Get", URL: address, Err: syscall.ECONNREFUSED}))
	}
	if text := refused("http://localhost:8080/apis"); !strings.HasPrefix(text, "there is no kubeconfig") {
		t.Error(text)
	}
	if text := refused("https://127.0.0.1:6443/apis"); !strings.HasPrefix(text, "the API server cannot be reached: ") {
		t.Error(text)
	}
}
