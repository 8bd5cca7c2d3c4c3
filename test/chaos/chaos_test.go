package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"

	"github.com/google/go-cmp/cmp"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	receivers "github.com/horizoncd/webhook-operator/internal/receiver"
	"github.com/horizoncd/webhook-operator/test/program"
	"github.com/horizoncd/webhook-operator/test/receiver"
)

func request(event int64, webhook, id string, status int) receiver.Arrival {
	return receiver.Arrival{
		Path: "/" + webhook, WebhookID: id, Body: fmt.Appendf(nil, `{"eventID":%d}`, event), Answer: receiver.Answer{Status: status},
	}
}

func delivery(event int64, webhook string, result v1alpha1.DeliveryResult) v1alpha1.WebhookDelivery {
	var d v1alpha1.WebhookDelivery
	d.Spec.EventRef.Name, d.Spec.WebhookRef.Name, d.Status.Result = eventName(event), webhook, result
	return d
}

func TestTally(t *testing.T) {
	asked := map[pair]time.Time{{1, "a"}: {}, {1, "b"}: {}, {2, "a"}: {}, {2, "b"}: {}}
	done := []receiver.Arrival{request(1, "a", "1a", 200), request(1, "b", "1b", 200), request(2, "a", "2a", 200), request(2, "b", "2b", 200)}
	var stored []v1alpha1.WebhookDelivery
	for p := range asked {
		stored = append(stored, delivery(p.event, p.webhook, v1alpha1.DeliverySucceeded))
	}
	but := func(change func(p pair, d *v1alpha1.WebhookDelivery)) []v1alpha1.WebhookDelivery {
		changed := slices.Clone(stored)
		for i := range changed {
			d := &changed[i]
			var event int64
			_, _ = fmt.Sscanf(d.Spec.EventRef.Name, "horizon-%d", &event)
			change(pair{event, d.Spec.WebhookRef.Name}, d)
		}
		return changed
	}
	tests := map[string]struct {
		requests         []receiver.Arrival
		records          []v1alpha1.WebhookDelivery
		lost, duplicates int
		odd              string
	}{
		"all is well":                {requests: done, records: stored},
		"a retry is no duplicate":    {requests: append([]receiver.Arrival{request(1, "a", "1a", 500)}, done...), records: stored},
		"twice accepted":             {requests: append(slices.Clone(done), done[0]), records: stored, duplicates: 1},
		"refused after it was taken": {requests: append(slices.Clone(done), request(1, "a", "1a", 500)), records: stored, duplicates: 1},
		"another id hides nothing":   {requests: append(slices.Clone(done), request(1, "a", "x", 200)), records: stored, duplicates: 1, odd: "horizon-1 at a has 2 webhook-ids"},
		"never arrived":              {requests: done[1:], records: stored, lost: 1},
		"never accepted":             {requests: append([]receiver.Arrival{request(1, "a", "1a", 500)}, done[1:]...), records: stored, lost: 1},
		"no record":                  {requests: done, records: stored[1:], lost: 1},
		"a record of the wrong kind": {requests: done, lost: 1, records: but(func(p pair, d *v1alpha1.WebhookDelivery) {
			if p == (pair{2, "b"}) {
				d.Status.Result = v1alpha1.DeliveryWaiting
			}
		})},
		"two records":                {requests: done, records: append(slices.Clone(stored), delivery(2, "b", v1alpha1.DeliveryWaiting)), odd: "horizon-2 at b has 2 records"},
		"a record nobody asked for":  {requests: done, records: append(slices.Clone(stored), delivery(3, "b", v1alpha1.DeliverySucceeded)), odd: "horizon-3 at b has a record and was never asked for"},
		"a request nobody asked for": {requests: append(slices.Clone(done), request(3, "b", "3b", 200)), records: stored, odd: "horizon-3 at b arrived and was never asked for"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			c := tally(asked, test.requests, test.records)
			if c.pairs != 4 || c.lost != test.lost || len(c.samples) != test.lost || c.duplicates != test.duplicates {
				t.Errorf("got %+v, want lost %d, duplicates %d", c, test.lost, test.duplicates)
			}
			if got := strings.Join(c.oddities, "; "); got != test.odd {
				t.Errorf("oddities %q, want %q", got, test.odd)
			}
		})
	}
}

func TestBegunAfter(t *testing.T) {
	woken := time.Unix(1000, 0)
	at := func(arrived, begun int64, duplicate bool) receiver.Arrival {
		return receiver.Arrival{
			Time: time.Unix(arrived, 0), Duplicate: duplicate, Header: map[string][]string{"Webhook-Timestamp": {fmt.Sprint(begun)}},
		}
	}
	all := []receiver.Arrival{
		at(990, 990, true),    // repeated by the new leader before
		at(1000, 980, true),   // on its way when the process was paused
		at(1001, 1001, false), // the first of its kind
		at(1001, 1001, true),
		at(1002, 1000, true),
	}
	if n := begunAfter(all, woken); n != 2 {
		t.Errorf("counted %d, want 2", n)
	}
}

func TestWithout(t *testing.T) {
	rules := []rbacv1.PolicyRule{
		{APIGroups: []string{"horizoncd.io"}, Resources: []string{"webhooks/status", "webhookevents/status"}, Verbs: []string{"patch"}},
		{APIGroups: []string{"horizoncd.io"}, Resources: []string{"webhookdeliveries"}, Verbs: []string{"get", "list", "create", "patch"}},
		{APIGroups: []string{""}, Resources: []string{"secrets"}, Verbs: []string{"get"}},
	}
	want := []rbacv1.PolicyRule{
		{APIGroups: []string{"horizoncd.io"}, Resources: []string{"webhooks/status"}, Verbs: []string{"patch"}},
		{APIGroups: []string{"horizoncd.io"}, Resources: []string{"webhookdeliveries"}, Verbs: []string{"get", "list"}},
		{APIGroups: []string{""}, Resources: []string{"secrets"}, Verbs: []string{"get"}},
	}
	if diff := cmp.Diff(want, without(rules, []string{"webhookdeliveries", "webhookevents/status"})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestReport(t *testing.T) {
	var out strings.Builder
	c := &chaos{options: options{Flags: program.Flags{Out: "bin"}, seed: 7, short: true}, Console: program.NewConsole(&out)}
	err := c.report([]*verdict{
		{scenario: scenarios[0], runs: 3, duplicates: 12, duplicatesBound: 150, took: 18 * time.Second},
		{scenario: scenarios[9], runs: 1, lost: 2, problems: []string{"lost 2"}, notes: []string{"noted"}},
	})
	if !errors.Is(err, program.ErrFailed) {
		t.Errorf("got %v, want ErrFailed", err)
	}
	for _, want := range []string{
		"F1   passed  kill -9 at random moments  runs 3  lost 0  duplicates 12 (bound 150)  18 s",
		"F10  FAILED  etcd full, then freed      runs 1  lost 2  duplicates 0 (bound 0)     0 s   why: lost 2; noted",
		"make chaos SEED=7 SHORT=1",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
	if !strings.HasSuffix(out.String(), "\n1 passed, 1 failed\n") {
		t.Errorf("ends with %q", out.String())
	}
}

func TestOptions(t *testing.T) {
	o, err := parseOptions([]string{"--short", "--seed=9", "--only=f1,F10", "--operator-args=--workers 8"})
	if err != nil || !o.short || o.seed != 9 || !slices.Equal(o.Args(), []string{"--workers", "8"}) {
		t.Errorf("got %+v, %v", o, err)
	}
	var wanted []string
	for _, s := range scenarios {
		if o.wants(s) {
			wanted = append(wanted, s.id)
		}
	}
	if !slices.Equal(wanted, []string{"F1", "F10"}) {
		t.Errorf("runs %v", wanted)
	}
	if o, err := parseOptions(nil); err != nil || o.seed == 0 || !o.wants(scenarios[5]) {
		t.Errorf("got %+v, %v, want all with a seed of its own", o, err)
	}
	for _, wrong := range [][]string{{"--only=F99"}, {"rest"}} {
		if _, err := parseOptions(wrong); err == nil {
			t.Errorf("took %v", wrong)
		}
	}
}

// The same seed draws the same, whatever ran before.
func TestFlaps(t *testing.T) {
	draw := func() []receiver.Answer {
		return (&trial{rng: rand.New(rand.NewPCG(3, seedOf("F9")))}).flaps(100)
	}
	answers := draw()
	if diff := cmp.Diff(answers, draw()); diff != "" {
		t.Errorf("drawn again (-first +second):\n%s", diff)
	}
	longest, run := 0, 0
	for _, a := range answers {
		if run++; a.Accepts() {
			run = 0
		}
		longest = max(longest, run)
	}
	if want := receivers.FailureThreshold + 1; longest != want {
		t.Errorf("at most %d failures in a row, want %d, to open a circuit and fail a probe", longest, want)
	}
	if !answers[len(answers)-1].Accepts() {
		t.Error("it fails for ever in the end")
	}
}

func TestFullest(t *testing.T) {
	start := time.Now()
	at := func(seconds ...float64) (all []receiver.Arrival) {
		for _, s := range seconds {
			all = append(all, receiver.Arrival{Time: start.Add(time.Duration(s * float64(time.Second)))})
		}
		return all
	}
	span := limitSpan.Seconds()
	for name, tc := range map[string]struct {
		arrivals         []receiver.Arrival
		killed           float64
		most, mostKilled int
	}{
		"a span":             {at(0, 1, span-0.001, span, span+1), -100, 3, 0},
		"the end is outside": {at(0, 0, 0, span), -100, 3, 0},
		"a kill within":      {at(0, 0, 0.2, 0.3, 2*span, 2*span), 0.1, 2, 4},
	} {
		most, mostKilled := fullest(tc.arrivals, []time.Time{start.Add(time.Duration(tc.killed * float64(time.Second)))})
		if most != tc.most || mostKilled != tc.mostKilled {
			t.Errorf("%s: %d and %d, want %d and %d", name, most, mostKilled, tc.most, tc.mostKilled)
		}
	}
}
