package cli

import (
	"context"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/delivery"
	"github.com/horizoncd/webhook-operator/internal/table"
	"github.com/horizoncd/webhook-operator/test/receiver"
)

func TestParseRate(t *testing.T) {
	for text, want := range map[string]float64{"5/s": 5, "5": 5, "300/m": 5, "0.5/s": 0.5, "3600/h": 1} {
		if got, err := parseRate(text); err != nil || got != want {
			t.Errorf("parseRate(%q) = %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "0", "0/s", "-1/s", "5/d", "fast", "5/s/s", "1e9"} {
		if got, err := parseRate(text); err == nil {
			t.Errorf("parseRate(%q) = %v", text, got)
		}
	}
}

// failed stores deliveries that failed, of a Webhook whose receiver accepts by now.
func (b *bed) failed(webhook string, n int) {
	b.Helper()
	w := b.Webhook(webhook, func(s *v1alpha1.WebhookSpec) { s.Retry.Limit = new(int32(0)) })
	for i := range n {
		d := genuineRecordOf(w, i+1, time.Now(), answer(time.Now(), http.StatusInternalServerError, "no"))
		b.Expect(b.Client.Create(b.Ctx, d)).To(Succeed())
	}
}

func TestResendOne(t *testing.T) {
	b := newBed(t)
	b.failed("smoke-tests", 1)
	b.Receiver.Script("/smoke-tests", receiver.Answer{Status: http.StatusBadGateway})
	name := ids(b.mustRun("logs", "--no-headers"))[0]
	b.Expect(b.mustRun("resend", name, name)).To(Equal(name + " is sent again.\n"))
	b.Eventually(func() string { return b.mustRun("log", name) }).Should(MatchRegexp(`Resend +502`))
	var d v1alpha1.WebhookDelivery
	b.Expect(b.Client.Get(b.Ctx, client.ObjectKey{Namespace: b.Namespace, Name: name}, &d)).To(Succeed())
	b.Expect(d.Annotations[v1alpha1.AnnotationResend]).To(MatchRegexp(`^20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z/.+`))

	// It fails once more, and then not.
	r := b.run("resend", name, "--wait")
	b.Expect(r.code).To(Equal(exitUnmet), r.err)
	b.Expect(r.out).To(And(ContainSubstring("0 of 1 delivered, 1 not."), ContainSubstring("RetriesExhausted"), ContainSubstring("502")))
	b.Receiver.Script("/smoke-tests")
	b.Expect(b.mustRun("resend", name, "--wait")).To(ContainSubstring("1 of 1 delivered."))
	// And fails though it was delivered before.
	b.Receiver.Script("/smoke-tests", receiver.Answer{Status: http.StatusBadGateway})
	r = b.run("resend", name, "--wait")
	b.Expect(r.code).To(Equal(exitUnmet), r.err)
	b.Expect(r.out).To(ContainSubstring("it was delivered before"))

	b.Expect(b.run("resend", "nothing").err).To(ContainSubstring("there is no delivery nothing"))
	b.Expect(b.run("resend").code).To(Equal(exitUsage))
	b.Expect(b.run("resend", "--webhook", "smoke-tests").code).To(Equal(exitUsage))
	b.Expect(b.run("resend", name, "--failed").code).To(Equal(exitUsage))
	b.Expect(b.run("resend", "--failed", "--rate", "0").code).To(Equal(exitUsage))
}

// A bulk resend that is interrupted and gone on with sends each exactly once.
func TestResendBulk(t *testing.T) {
	const n = 130
	b := newBed(t)
	b.failed("smoke-tests", n)
	selected := []string{"resend", "--webhook", "smoke-tests", "--failed", "--since", "1h"}

	r := b.run(append(selected, "--dry-run")...)
	b.Expect(strings.Count(r.out, "\n")).To(Equal(n))
	b.Expect(r.err).To(Equal(fmt.Sprintf("%d deliveries would be sent again.\n", n)))
	r = b.run(selected...)
	b.Expect(r.code).To(Equal(exitUsage))
	b.Expect(r.err).To(And(ContainSubstring("130 deliveries are to be sent again, 20/s: 6s."), ContainSubstring("--yes")))
	b.interactive, b.stdin = true, "n\n"
	b.Expect(b.run(selected...).err).To(ContainSubstring("not confirmed"))
	b.interactive = false
	b.Expect(b.Receiver.Total().Requests).To(BeZero())

	ctx, cancel := context.WithCancel(b.Ctx)
	go func() {
		defer cancel()
		_ = b.Receiver.Wait(ctx, func() bool { return b.Receiver.Total().Requests >= 20 })
	}()
	r = b.runContext(ctx, append(selected, "--rate", "50/s", "--yes")...)
	b.Expect(r.code).To(Equal(exitError))
	b.Expect(r.err).To(ContainSubstring("error: interrupted"))
	m := regexp.MustCompile(`(\d+) of 130 were asked for. To go on:\n\n  kubectl horizon (.*)\n`).FindStringSubmatch(r.err)
	b.Expect(m).NotTo(BeNil(), r.err)
	command := strings.Fields(m[2])
	b.Expect(command).To(ContainElement(MatchRegexp(`^--since=20.*Z$`)), "the same time, and not as long before now")

	b.Expect(b.mustRun(append(command, "--rate=200/s", "--wait")...)).To(MatchRegexp(`^\d+ deliveries are sent again, with the value .*\n\d+ of \d+ delivered\.\n$`))
	b.Eventually(func() int { return b.Receiver.Total().Requests }).Should(Equal(n))
	b.Consistently(func() int { return b.Receiver.Total().Requests }, time.Second).Should(Equal(n))
	b.Expect(b.Receiver.Total().Deliveries).To(Equal(n))
	b.Expect(b.Receiver.Total().Duplicates).To(BeZero())

	value := strings.TrimPrefix(command[len(command)-1], "--continue=")
	b.Expect(b.mustRun("resend", "--webhook", "smoke-tests", "--since", "1h", "--continue", value)).To(Equal("All was asked for already: 130 deliveries.\n"))
	b.Expect(b.mustRun(selected...)).To(ContainSubstring("nothing to send again"))
}

// A resend that the operator refuses is told with its reason.
func TestResendRefused(t *testing.T) {
	b := newBed(t)
	w := b.Webhook("smoke-tests")
	d := b.record(w, 1, told, nil, answer(told, 500, "")) // its name does not follow from its UIDs
	r := b.run("resend", d.Name, "--wait")
	b.Expect(r.code).To(Equal(exitUnmet))
	b.Expect(r.out).To(And(ContainSubstring("Refused"), ContainSubstring("nothing is sent for the resend")))
	b.Expect(b.mustRun("log", d.Name)).To(ContainSubstring("refused"))
	b.Expect(b.Receiver.Total().Requests).To(BeZero())
}

func TestEndingOf(t *testing.T) {
	const value = "2026-11-29T09:00:00.000Z/alice"
	hash := delivery.ResendHash(value)
	w := &v1alpha1.Webhook{Spec: v1alpha1.WebhookSpec{URL: "https://ci.example.com"}}
	w.Name, w.UID = "w", "uid"
	rowFor := func(d *v1alpha1.WebhookDelivery) *table.Row {
		row := &table.Row{Name: d.Name, Annotations: d.Annotations, Cells: make([]string, len(table.Deliveries.Columns))}
		row.Cells[table.ColumnResult] = string(d.Status.Result)
		row.Cells[table.ColumnAttempts] = fmt.Sprint(d.Status.Attempts)
		if len(d.Status.History) > 0 && d.Status.History[0].StatusCode > 0 {
			row.Cells[table.ColumnCode] = fmt.Sprint(d.Status.History[0].StatusCode)
		}
		row.Cells[table.ColumnReason] = d.Status.Conditions[0].Reason
		if !d.Status.NextAttemptTime.IsZero() {
			row.Cells[table.ColumnNext] = d.Status.NextAttemptTime.Format(time.RFC3339)
		}
		return row
	}
	resent := func(d *v1alpha1.WebhookDelivery, code int, limit int32) {
		a := delivery.Attempt{Cause: v1alpha1.CauseResend, Exchange: answer(told, code, ""), Resend: value}
		a.Policy.Limit, a.Policy.GiveUpAfter = limit, time.Hour
		delivery.AddAttempt(d, a)
	}
	for name, tc := range map[string]struct {
		first  int
		change func(d *v1alpha1.WebhookDelivery)
		want   string // empty: it has not ended
	}{
		"not begun":                        {first: 500},
		"delivered":                        {first: 500, change: func(d *v1alpha1.WebhookDelivery) { resent(d, 200, 0) }, want: endingDelivered},
		"delivered twice":                  {first: 200, change: func(d *v1alpha1.WebhookDelivery) { resent(d, 200, 0) }, want: endingDelivered},
		"failed":                           {first: 500, change: func(d *v1alpha1.WebhookDelivery) { resent(d, 500, 0) }, want: v1alpha1.ReasonRetriesExhausted},
		"failed afterwards":                {first: 200, change: func(d *v1alpha1.WebhookDelivery) { resent(d, 500, 0) }, want: endingFailed},
		"is tried again":                   {first: 500, change: func(d *v1alpha1.WebhookDelivery) { resent(d, 500, 5) }},
		"is tried again, delivered before": {first: 200, change: func(d *v1alpha1.WebhookDelivery) { resent(d, 500, 5) }},
		"refused":                          {first: 500, change: delivery.RefuseResend, want: endingRefused},
		"asked anew":                       {first: 500, change: func(d *v1alpha1.WebhookDelivery) { d.Annotations[v1alpha1.AnnotationResend] = "x" }, want: endingReplaced},
		"interrupted": {first: 500, change: func(d *v1alpha1.WebhookDelivery) {
			x := answer(told, 0, "")
			x.Response, x.Interrupted, x.Err = nil, true, context.Canceled
			a := delivery.Attempt{Cause: v1alpha1.CauseResend, Exchange: x, Resend: value}
			a.Policy.Limit, a.Policy.GiveUpAfter = 5, time.Hour
			delivery.AddAttempt(d, a)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			d := recordOf(w, 1, told, answer(told, tc.first, ""))
			before := int(d.Status.Attempts)
			d.Annotations = map[string]string{v1alpha1.AnnotationResend: value}
			if tc.change != nil {
				tc.change(d)
			}
			e, ended := endingOf(rowFor(d), before, value, hash)
			if ended != (tc.want != "") || e.reason != tc.want {
				t.Errorf("ended: %t, %+v", ended, e)
			}
		})
	}
}

// With view and horizon-delivery-resender, a person may read and resend, and nothing else.
func TestLogsAsViewer(t *testing.T) {
	b := newBed(t)
	b.failed("smoke-tests", 2)
	vera := b.as("vera", "view", "horizon-delivery-resender")
	b.Eventually(func() int { return vera.run("logs").code }).Should(Equal(0), "the role view is aggregated")
	list := ids(vera.mustRun("logs", "--no-headers"))
	b.Expect(list).To(HaveLen(2))
	b.Expect(vera.mustRun("log", list[0])).To(ContainSubstring("Failed"))
	b.Expect(vera.mustRun("resend", list[0], "--wait")).To(ContainSubstring("1 of 1 delivered"))
	b.Expect(vera.mustRun("log", list[0])).To(ContainSubstring("asked for by vera 20"))
	b.Expect(vera.mustRun("resend", "--webhook", "smoke-tests", "--failed", "--wait")).To(ContainSubstring("1 of 1 delivered"))

	for _, refused := range [][]string{
		{"test", "smoke-tests"}, {"replay", "smoke-tests", "--since", "1h"}, {"logs", "-A"}, {"listen", "-A"},
	} {
		r := vera.run(refused...)
		b.Expect(r.code).To(Equal(exitError), "%v: %s%s", refused, r.out, r.err)
		b.Expect(r.err).To(ContainSubstring("You need the role"), "%v", refused)
	}
	elsewhere := *vera
	elsewhere.Namespace = "default"
	b.Expect(elsewhere.run("logs").err).To(ContainSubstring("You need the role view"))

	victor := b.as("victor", "view")
	b.Eventually(func() int { return victor.run("logs").code }).Should(Equal(0))
	r := victor.run("resend", list[0])
	b.Expect(r.code).To(Equal(exitError))
	b.Expect(r.err).To(ContainSubstring("horizon-delivery-resender"))
}

// The command to go on with is what was asked for, at the same times, and safe in a shell.
func TestCommandToContinue(t *testing.T) {
	p := newPlugin(genericiooptions.NewTestIOStreamsDiscard(), "test")
	p.now = func() time.Time { return told }
	root := newRoot(p)
	cmd, args, err := root.Find([]string{
		"resend", "-n", "music", "--failed", "--since", "90m", "--until=2026-11-29T08:00:00Z", "--type", "clusters_*,members_created", "-l", "team in (a, b)",
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.ParseFlags(args); err != nil {
		t.Fatal(err)
	}
	r := &resend{plugin: p, cmd: cmd, begun: told, names: []string{"a-b", "c'd"}, value: "2026-11-29T09:00:00.000Z/o'neill $(x)"}
	want := `kubectl horizon resend a-b 'c'\''d' --failed --namespace=music --selector='team in (a, b)' --since=2026-11-29T07:30:00Z ` +
		`--type='clusters_*,members_created' --until=2026-11-29T08:00:00Z --continue='2026-11-29T09:00:00.000Z/o'\''neill $(x)'`
	if got := r.commandToContinue(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
