package cli

import (
	"bytes"
	"fmt"
	"hash/maphash"
	"math/rand/v2"
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
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/delivery"
	"github.com/horizoncd/webhook-operator/internal/sending"
)

func TestNameTime(t *testing.T) {
	e := &v1alpha1.WebhookEvent{ObjectMeta: metav1.ObjectMeta{UID: "e", CreationTimestamp: metav1.NewTime(told)}}
	w := &v1alpha1.Webhook{ObjectMeta: metav1.ObjectMeta{Name: "a-name-with-692ab7f0", UID: "w"}}
	if got := nameTime(delivery.Name(e, w)); !got.Equal(told) {
		t.Errorf("the time in %s reads as %v", delivery.Name(e, w), got)
	}
	for _, name := range []string{"", "x", "a-b-c", "a-692ab7f0-short", "a-nothex00-0123456789abcdef", "692ab7f0-0123456789abcdef"} {
		if got := nameTime(name); !got.IsZero() {
			t.Errorf("nameTime(%q) = %v", name, got)
		}
	}
}

// Columns are found by name, wherever they are and whatever else there is.
func TestRowsOfAnotherTable(t *testing.T) {
	columns := []string{"Later", "Message", "Name", "CODE", "Result", "Webhook", "Attempts"}
	table := &metav1.Table{Rows: []metav1.TableRow{
		{Cells: []any{"x", "answered 500", "w-692ab7f0-0123456789abcdef", int64(500), "Failed", "w", float64(3)}},
		{Cells: []any{"x", nil, "w-692ab7f1-0123456789abcdef", nil, "Waiting"}},
	}}
	var definitions []metav1.TableColumnDefinition
	for _, name := range columns {
		definitions = append(definitions, metav1.TableColumnDefinition{Name: name})
	}
	rows, err := rowsOf(table, definitions, "music")
	if err != nil {
		t.Fatal(err)
	}
	got := []string{
		rows[0].name, rows[0].namespace, rows[0].cells[columnCode], rows[0].cells[columnMessage], rows[0].cells[columnReason],
		fmt.Sprint(rows[0].attempts()), rows[1].cells[columnCode], rows[1].result(), rows[1].cells[columnWebhook],
	}
	want := []string{"w-692ab7f0-0123456789abcdef", "music", "500", "answered 500", "", "3", "", "Waiting", ""}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
	if _, err := rowsOf(table, definitions[:2], "music"); err == nil {
		t.Error("a table without names is read")
	}
}

func TestNewest(t *testing.T) {
	var all []*deliveryRow
	for i := range 300 {
		all = append(all, &deliveryRow{name: fmt.Sprint(i), time: told.Add(time.Duration(i/3) * time.Second)})
	}
	want := slices.SortedFunc(slices.Values(all), func(a, b *deliveryRow) int { return compareRows(b, a) })
	rand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	for _, limit := range []int{0, 1, 2, 50, 299, 300, 1000} {
		n := newest{limit: limit}
		for _, row := range all {
			n.add(row)
		}
		expected := want
		if limit > 0 {
			expected = want[:min(limit, len(want))]
		}
		if got := n.sorted(); !slices.Equal(got, expected) {
			t.Errorf("the newest %d are others", limit)
		}
	}
}

func TestMoment(t *testing.T) {
	now := told.Add(500 * time.Millisecond)
	for value, want := range map[string]time.Time{
		"10m": now.Add(-10 * time.Minute), "7d": now.AddDate(0, 0, -7), "1w": now.AddDate(0, 0, -7), "1d12h": now.Add(-36 * time.Hour),
		"2026-11-28T09:00:00Z":      time.Date(2026, 11, 28, 9, 0, 0, 0, time.UTC),
		"2026-11-28T09:00:00+02:00": time.Date(2026, 11, 28, 7, 0, 0, 0, time.UTC),
		"2026-11-28":                time.Date(2026, 11, 28, 0, 0, 0, 0, time.Local),
		"2026-11-28 10:30":          time.Date(2026, 11, 28, 10, 30, 0, 0, time.Local),
	} {
		if got, err := moment("since", value, now); err != nil || !got.Equal(want) {
			t.Errorf("moment(%q) = %v, %v, want %v", value, got, err, want)
		}
	}
	for _, value := range []string{"", "soon", "-10m", "10", "2026-13-01", "99999999w"} {
		if got, err := moment("since", value, now); err == nil {
			t.Errorf("moment(%q) = %v", value, got)
		}
	}
}

func TestQuery(t *testing.T) {
	type asked struct{ Labels, Fields string }
	for name, tc := range map[string]struct {
		filters filters
		webhook string
		want    asked
	}{
		"nothing": {},
		"webhook": {webhook: "w", want: asked{Labels: "horizoncd.io/webhook=w"}},
		"failed":  {filters: filters{failed: true}, want: asked{Fields: "status.result=Failed"}},
		"result":  {filters: filters{result: "waiting"}, want: asked{Fields: "status.result=Waiting"}},
		"event":   {filters: filters{event: "horizon-1"}, want: asked{Fields: "spec.eventRef.name=horizon-1"}},
		"type in every spelling": {
			filters: filters{types: []string{"cluster_deleted"}},
			want:    asked{Labels: "horizoncd.io/event-type in (cluster_deleted,clusters_deleted)"},
		},
		"a type that Horizon misspells": {
			filters: filters{types: []string{"clusters_restarted"}},
			want:    asked{Labels: "horizoncd.io/event-type in (clsuters_restarted,cluster_restarted,clusters_restarted)"},
		},
		"a family is looked at here": {filters: filters{types: []string{"clusters_*"}}},
		"all": {
			filters: filters{failed: true, event: "e", types: []string{"members_created"}, selector: "team in (a,b)"},
			webhook: "w",
			want: asked{
				Labels: "horizoncd.io/event-type in (member_created,members_created),horizoncd.io/webhook=w,team in (a,b)",
				Fields: "spec.eventRef.name=e,status.result=Failed",
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			q, err := tc.filters.query("music", tc.webhook, told)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, asked{q.labels, q.fields}); diff != "" {
				t.Errorf("query (-want +got):\n%s", diff)
			}
			if _, err := labels.Parse(q.labels); err != nil {
				t.Error(err)
			}
		})
	}
	for name, f := range map[string]filters{
		"failed and result": {failed: true, result: "Failed"}, "result": {result: "lost"}, "code": {codes: []string{"50x"}},
		"since": {since: "soon"}, "until": {until: "soon"}, "selector": {selector: "a in"}, "type": {types: []string{"no type"}},
	} {
		if _, err := f.query("music", "", told); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestMatches(t *testing.T) {
	row := &deliveryRow{time: told}
	row.cells[columnType], row.cells[columnCode], row.cells[columnReason] = "cluster_deployed", "503", "Retrying"
	unanswered := &deliveryRow{time: told}
	for name, tc := range map[string]struct {
		filters filters
		row     *deliveryRow
		want    bool
	}{
		"all":              {row: row, want: true},
		"family":           {filters: filters{types: []string{"clusters_*"}}, row: row, want: true},
		"another family":   {filters: filters{types: []string{"members_*", "clusters_freed"}}, row: row},
		"code":             {filters: filters{codes: []string{"404", "503"}}, row: row, want: true},
		"class of codes":   {filters: filters{codes: []string{"5xx"}}, row: row, want: true},
		"another class":    {filters: filters{codes: []string{"4xx"}}, row: row},
		"answered":         {filters: filters{codes: []string{"none"}}, row: row},
		"not answered":     {filters: filters{codes: []string{"none"}}, row: unanswered, want: true},
		"no class of none": {filters: filters{codes: []string{"5xx"}}, row: unanswered},
		"reason":           {filters: filters{reason: "retrying"}, row: row, want: true},
		"another reason":   {filters: filters{reason: "Gone"}, row: row},
		"since then":       {filters: filters{since: told.Format(time.RFC3339)}, row: row, want: true},
		"since later":      {filters: filters{since: told.Add(time.Second).Format(time.RFC3339)}, row: row},
		"until then":       {filters: filters{until: told.Format(time.RFC3339)}, row: row, want: true},
		"until before":     {filters: filters{until: told.Add(-time.Second).Format(time.RFC3339)}, row: row},
	} {
		t.Run(name, func(t *testing.T) {
			q, err := tc.filters.query("music", "", told)
			if err != nil {
				t.Fatal(err)
			}
			if got := q.wants(tc.row); got != tc.want {
				t.Errorf("it is wanted: %t", got)
			}
		})
	}
}

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
	smoke, chat := b.webhook("smoke-tests", disabled), b.webhook("chat", disabled)
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

	b.Expect(b.run("logs", "chat", "--failed").err).To(Equal("No such deliveries in the namespace " + b.namespace + ".\n"))
	typo := b.run("logs", "smoke-test")
	b.Expect(typo.code).To(Equal(exitError))
	b.Expect(typo.err).To(ContainSubstring("there is no webhook smoke-test in the namespace "))
	b.Expect(b.run("logs", "--code", "teapot").code).To(Equal(exitUsage))
	b.Expect(b.run("logs", "--limit", "2").err).To(Equal("These are the newest 2 of 4. --limit 0 shows all.\n"))
	all := b.mustRun("logs", "-A", "--limit", "0", "--no-headers")
	b.Expect(all).To(MatchRegexp(`(?m)^` + b.namespace + `\s+smoke-tests-`))
}

// What -o prints is what kubectl prints.
func TestLogsObjects(t *testing.T) {
	b := newBed(t)
	b.story(strings.Repeat("words, \n\n  ", 40)) // kubectl prints no control characters in YAML
	kubectl, err := suite.cp.Kubectl()
	b.Expect(err).NotTo(HaveOccurred())
	for _, format := range []string{"json", "yaml", "name", "jsonpath={.items[*].spec.eventRef.name}"} {
		want, err := exec.CommandContext(b.ctx, kubectl, "--kubeconfig", b.kubeconfig, "--namespace", b.namespace,
			"get", "webhookdeliveries", "-o", format).Output()
		b.Expect(err).NotTo(HaveOccurred())
		if format == "json" || format == "yaml" { // all, in the order of the API
			b.Expect(cmp.Diff(string(want), b.mustRun("logs", "--limit", "0", "-o", format))).To(BeEmpty())
		}
		want, err = exec.CommandContext(b.ctx, kubectl, "--kubeconfig", b.kubeconfig, "--namespace", b.namespace,
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
	w := b.webhook("smoke-tests", func(s *v1alpha1.WebhookSpec) { s.State = v1alpha1.WebhookDisabled })
	first := b.record(w, 1, told, nil, answer(told, 200, ""))
	proxy := startGate(b, suite.cp.Config().Host)
	r := b.startWith(proxy.kubeconfig(b), "logs", "smoke-tests", "-w", "--no-headers")
	b.Eventually(r.out.lines).Should(HaveLen(1))

	second := b.record(w, 2, told.Add(time.Second), nil, answer(told, 500, ""))
	b.Eventually(r.out.lines).Should(HaveLen(2))

	// What nobody sees is no change; another attempt is one.
	b.annotate(second, "team", "blue")
	delivery.AddAttempt(second, delivery.Attempt{Cause: v1alpha1.CauseResend, URL: w.Spec.URL, Exchange: answer(told, 200, ""), Resend: "x"})
	b.Expect(b.client.Update(b.ctx, second)).To(Succeed())
	b.Eventually(r.out.lines).Should(HaveLen(3))

	// Contact is lost; one comes meanwhile, and one goes.
	proxy.shut()
	b.Eventually(r.err.String).Should(ContainSubstring("Lost contact"))
	b.record(w, 3, told.Add(2*time.Second), nil, answer(told, 200, ""))
	b.Expect(b.client.Delete(b.ctx, first)).To(Succeed())
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

// A watch whose first event is a bookmark tells its columns with that, and with no row.
func TestWatchedWithoutColumns(t *testing.T) {
	var out bytes.Buffer
	p := newPlugin(genericiooptions.IOStreams{In: &out, Out: &out, ErrOut: &out}, "test")
	for _, name := range []string{"Name", "Webhook", "Result"} {
		p.deliveryColumns = append(p.deliveryColumns, metav1.TableColumnDefinition{Name: name})
	}
	l := &logs{plugin: p, seen: map[uint64]uint64{}, seed: maphash.MakeSeed()}
	l.output.addTo(&cobra.Command{}, true)
	row := metav1.TableRow{Cells: []any{"w-692ab7f0-0123456789abcdef", "w", "Failed"}}
	for range 2 { // it is shown once
		if err := l.watched(t.Context(), watch.Event{Type: watch.Modified, Object: &metav1.Table{Rows: []metav1.TableRow{row}}}); err != nil {
			t.Fatal(err)
		}
	}
	if got := ids(out.String()); !slices.Equal(got, []string{"ID", "w-692ab7f0-0123456789abcdef"}) {
		t.Errorf("shown: %q", out.String())
	}
}
