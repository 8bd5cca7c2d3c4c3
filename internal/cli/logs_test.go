package cli

import (
	"bytes"
	"errors"
	"fmt"
	"hash/maphash"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	. "github.com/onsi/gomega"
	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/delivery"
	"github.com/horizoncd/webhook-operator/internal/sending"
	"github.com/horizoncd/webhook-operator/internal/table"
)

var (
	oneDigit  = regexp.MustCompile(`(?m)\b\ds( |$)`)
	twoDigits = regexp.MustCompile(`\b\d\ds\b`)
)

// withoutAge replaces ages of seconds, which are another each time.
func withoutAge(text string) string {
	return twoDigits.ReplaceAllString(oneDigit.ReplaceAllString(text, "NNs"), "NNs")
}

// hostile is what a receiver or a tenant may write to confuse whoever reads.
const hostile = "\x1b[31mred\x1b[0m \u202egnp.exe\u202c \u200bhidden\r\x07 \u009b2J 名前"

// story stores records of two webhooks, with content of every kind, some of it as given.
func (b *bed) story(hostile string) {
	b.Helper()
	disabled := func(s *v1alpha1.WebhookSpec) {
		s.State, s.URL = v1alpha1.WebhookDisabled, "https://ci.example.com/hooks/horizon"
	}
	smoke, chat := b.Webhook("smoke-tests", disabled), b.Webhook("chat", disabled)
	b.record(smoke, 1, told, nil, answer(told, 200, `{"ok":true}`))
	b.record(chat, 2, told.Add(time.Minute), func(d *v1alpha1.WebhookDelivery) { d.Spec.ResourceName = hostile[:min(len(hostile), 250)] }, answer(told, 204, ""))
	b.record(smoke, 3, told.Add(2*time.Minute), nil,
		answer(told, 503, "busy"), answer(told.Add(10*time.Second), 500, `{"error": `+strconv.Quote(hostile)+`, "more": [1, 2, {}]}`))
	b.record(smoke, 4, told.Add(3*time.Minute), func(d *v1alpha1.WebhookDelivery) {
		d.Spec.ResourceName = strings.Repeat("long-", 40)
		d.Spec.EventType = "clusters_kubernetes_event"
		d.Labels[v1alpha1.LabelEventType] = d.Spec.EventType
		d.Status.History[0].Error = hostile + strings.Repeat(" and so on", 60)
	}, sending.Exchange{Start: told, Duration: 30 * time.Second, RequestHeader: "A: b", Err: fmt.Errorf("no such host")})
}

func TestLogsGolden(t *testing.T) {
	b := newBed(t)
	b.story(hostile)
	for _, width := range []int{80, 160} {
		b.width = width
		golden(t, fmt.Sprintf("logs/webhook-%d.txt", width), withoutAge(b.mustRun("logs", "smoke-tests")))
		golden(t, fmt.Sprintf("logs/namespace-%d.txt", width), withoutAge(b.mustRun("logs")))
	}
	b.width = 0
	wide := withoutAge(b.mustRun("logs", "-o", "wide"))
	golden(t, "logs/wide.txt", wide)
	for _, r := range wide {
		if r != '\n' && r < ' ' || r == '\u202e' || r == '\u009b' {
			t.Errorf("%q gets to the terminal", r)
		}
	}
}

// ids are the first column of a list.
func ids(out string) (all []string) {
	for line := range strings.Lines(out) {
		if fields := strings.Fields(line); len(fields) > 0 {
			all = append(all, fields[0])
		}
	}
	return all
}

func TestLogsFilters(t *testing.T) {
	b := newBed(t)
	b.story(hostile)
	list := func(args ...string) []string {
		b.Helper()
		var numbers []string
		for _, id := range ids(b.mustRun(append([]string{"logs", "--no-headers"}, args...)...)) {
			numbers = append(numbers, id[len(id)-1:])
		}
		return numbers
	}
	minutes := func(n int) string { return told.Add(time.Duration(n) * time.Minute).Format(time.RFC3339) }
	b.Expect(list()).To(Equal([]string{"4", "3", "2", "1"}), "the newest first, whatever their names")
	b.Expect(list("chat")).To(Equal([]string{"2"}))
	b.Expect(list("--limit", "2")).To(Equal([]string{"4", "3"}))
	b.Expect(list("--limit", "0")).To(HaveLen(4))
	b.Expect(list("--failed")).To(Equal([]string{"4", "3"}))
	b.Expect(list("--result", "succeeded")).To(Equal([]string{"2", "1"}))
	b.Expect(list("--type", "cluster_deployed")).To(Equal([]string{"3", "2", "1"}))
	b.Expect(list("--type", "clusters_*", "--code", "2xx")).To(Equal([]string{"2", "1"}))
	b.Expect(list("--code", "none")).To(Equal([]string{"4"}))
	b.Expect(list("--code", "500,204")).To(Equal([]string{"3", "2"}))
	b.Expect(list("--event", "horizon-3")).To(Equal([]string{"3"}))
	b.Expect(list("--reason", "RetriesExhausted")).To(Equal([]string{"4", "3"}))
	b.Expect(list("--since", minutes(1), "--until", minutes(2))).To(Equal([]string{"3", "2"}))
	b.Expect(list("-l", v1alpha1.LabelWebhook+"=chat")).To(Equal([]string{"2"}))

	b.Expect(b.run("logs", "chat", "--failed").err).To(Equal("No such deliveries in the namespace " + b.Namespace + ".\n"))
	typo := b.run("logs", "smoke-test")
	b.Expect(typo.code).To(Equal(exitError))
	b.Expect(typo.err).To(ContainSubstring("there is no webhook smoke-test in the namespace "))
	b.Expect(b.run("logs", "--code", "teapot").code).To(Equal(exitUsage))
	b.Expect(b.run("logs", "--limit", "2").err).To(Equal("These are the newest 2 of 4. --limit 0 shows all.\n"))
	all := b.mustRun("logs", "-A", "--limit", "0", "--no-headers")
	b.Expect(all).To(MatchRegexp(`(?m)^` + b.Namespace + `\s+smoke-tests-`))
}

// What -o prints is what kubectl prints.
func TestLogsObjects(t *testing.T) {
	b := newBed(t)
	b.story(strings.Repeat("words, \n\n  ", 40)) // kubectl prints no control characters in YAML
	kubectl, err := suite.ControlPlane.Kubectl()
	b.Expect(err).NotTo(HaveOccurred())
	for _, format := range []string{"json", "yaml", "name", "jsonpath={.items[*].spec.eventRef.name}"} {
		want, err := exec.CommandContext(b.Ctx, kubectl, "--kubeconfig", b.kubeconfig, "--namespace", b.Namespace,
			"get", "webhookdeliveries", "-o", format).Output()
		b.Expect(err).NotTo(HaveOccurred())
		if format == "json" || format == "yaml" { // all, in the order of the API
			b.Expect(cmp.Diff(string(want), b.mustRun("logs", "--limit", "0", "-o", format))).To(BeEmpty())
		}
		want, err = exec.CommandContext(b.Ctx, kubectl, "--kubeconfig", b.kubeconfig, "--namespace", b.Namespace,
			"get", "webhookdeliveries", "-l", v1alpha1.LabelWebhook+"=chat", "-o", format).Output()
		b.Expect(err).NotTo(HaveOccurred())
		b.Expect(b.mustRun("logs", "chat", "-o", format)).To(Equal(string(want)))
	}
	b.Expect(b.mustRun("logs", "-o", "jsonpath={.items[*].spec.eventRef.name}")).To(Equal("horizon-4 horizon-3 horizon-2 horizon-1"))
	none := b.run("logs", "chat", "--failed", "-o", "json")
	b.Expect(none.out).To(ContainSubstring(`"items": []`))
	b.Expect(b.run("logs", "-o", "nonsense").code).To(Equal(exitUsage))
}

func TestLogsWatch(t *testing.T) {
	b := newBed(t)
	w := b.Webhook("smoke-tests", func(s *v1alpha1.WebhookSpec) { s.State = v1alpha1.WebhookDisabled })
	first := b.record(w, 1, told, nil, answer(told, 200, ""))
	proxy := startGate(b, suite.ControlPlane.Config().Host)
	r := b.startWith(proxy.kubeconfig(b), "logs", "smoke-tests", "-w", "--no-headers")
	b.Eventually(r.out.lines).Should(HaveLen(1))

	second := b.record(w, 2, told.Add(time.Second), nil, answer(told, 500, ""))
	b.Eventually(r.out.lines).Should(HaveLen(2))

	// What nobody sees is no change; another attempt is one.
	b.annotate(second, "team", "blue")
	delivery.AddAttempt(second, delivery.Attempt{Cause: v1alpha1.CauseResend, URL: w.Spec.URL, Exchange: answer(told, 200, ""), Resend: "x"})
	b.Expect(b.Client.Update(b.Ctx, second)).To(Succeed())
	b.Eventually(r.out.lines).Should(HaveLen(3))

	// Contact is lost; one comes meanwhile, and one goes.
	proxy.shut()
	b.Eventually(r.err.String).Should(ContainSubstring("Lost contact"))
	b.record(w, 3, told.Add(2*time.Second), nil, answer(told, 200, ""))
	b.Expect(b.Client.Delete(b.Ctx, first)).To(Succeed())
	proxy.open()
	b.Eventually(r.out.lines).Should(HaveLen(4))
	b.Eventually(r.err.String).Should(ContainSubstring("answers again"))

	// And where the version is too old to go on from.
	proxy.expireNext(1)
	proxy.cut()
	b.record(w, 4, told.Add(3*time.Second), nil, answer(told, 200, ""))
	b.Eventually(r.out.lines).Should(HaveLen(5))
	b.Expect(proxy.expired()).To(BeTrue())
	b.record(w, 5, told.Add(4*time.Second), nil, answer(told, 200, ""))
	b.Eventually(r.out.lines).Should(HaveLen(6))
	b.Expect(r.interrupt(b)).To(Equal(0))

	var shown []string
	for _, line := range r.out.lines() {
		fields := strings.Fields(line)
		shown = append(shown, fields[0][len(fields[0])-1:]+" "+fields[3]+" "+fields[5])
	}
	b.Expect(shown).To(Equal([]string{"1 Succeeded 1", "2 Failed 1", "2 Succeeded 2", "3 Succeeded 1", "4 Succeeded 1", "5 Succeeded 1"}))
}

// A change that does not show is not shown.
func TestWatchedTwice(t *testing.T) {
	var out bytes.Buffer
	p := newPlugin(genericiooptions.IOStreams{In: &out, Out: &out, ErrOut: &out}, "test")
	l := &logs{plugin: p, seen: map[uint64]uint64{}, seed: maphash.MakeSeed()}
	l.output.addTo(&cobra.Command{}, true)
	for range 2 {
		row := &table.Row{Name: "w-692ab7f0-0123456789abcdef", Cells: make([]string, len(table.Deliveries.Columns))}
		if err := l.watched(t.Context(), watch.Modified, []*table.Row{row}); err != nil {
			t.Fatal(err)
		}
	}
	if got := ids(out.String()); !slices.Equal(got, []string{"ID", "w-692ab7f0-0123456789abcdef"}) {
		t.Errorf("shown: %q", out.String())
	}
}

// What is wrong with a filter is said of its flag, and is a mistake in the command line.
func TestFiltersOfFlags(t *testing.T) {
	for want, f := range map[string]filters{
		"--failed and --result exclude each other":                 {failed: true, Filters: table.Filters{Result: "Failed"}},
		`--result "lost" is not one of Waiting, Succeeded, Failed`: {Filters: table.Filters{Result: "lost"}},
		`--since "soon" is neither a time`:                         {Filters: table.Filters{Since: "soon"}},
		"webhook/a is not the name of a event":                     {Filters: table.Filters{Event: "webhook/a"}},
	} {
		_, err := f.query("music", "", told)
		if _, ok := errors.AsType[usageError](err); !ok || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("want %q: the error is %v", want, err)
		}
	}
	_, err := (&filters{}).query("music", "no name", told)
	if _, ok := errors.AsType[usageError](err); !ok || !strings.HasPrefix(err.Error(), `"no name" is no name of a Webhook`) {
		t.Errorf("the error is %v", err)
	}
	q, err := (&filters{failed: true}).query("music", "", told)
	if err != nil || q.Fields != "status.result=Failed" {
		t.Errorf("--failed asks for %q: %v", q.Fields, err)
	}
}
