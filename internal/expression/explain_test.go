package expression

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"
)

func TestExplain(t *testing.T) {
	for name, test := range map[string]struct {
		text string
		want []string
	}{
		"two conditions": {`event.cluster.env == "staging" && !event.user.email.endsWith("@bot")`, []string{
			`1:1 event.cluster.env == "staging" → false`,
			`1:1 event.cluster.env → "online"`,
			`1:35 !event.user.email.endsWith("@bot") → true`,
			`1:36 event.user.email → "mila@example.com"`,
		}},
		"one condition": {`event.cluster.env == "staging"`, []string{`1:1 event.cluster.env → "online"`}},
		"a call that is compared": {`event.cluster.name.size() > 3`, []string{
			`1:1 event.cluster.name.size() → 3`,
			`1:1 event.cluster.name → "web"`,
		}},
		"brackets": {`(event.cluster.env in ["a", "b"] || has(event.member)) && event.eventID > 5`, []string{
			`1:2 event.cluster.env in ["a", "b"] → false`,
			`1:2 event.cluster.env → "online"`,
			`1:37 has(event.member) → false`,
			`1:59 event.eventID > 5 → true`,
			`1:59 event.eventID → 1042`,
		}},
		"not of a group": {`!(event.cluster.env == "a" || event.cluster.name.startsWith("w"))`, []string{
			`1:3 event.cluster.env == "a" → false`,
			`1:3 event.cluster.env → "online"`,
			`1:31 event.cluster.name.startsWith("w") → true`,
			`1:31 event.cluster.name → "web"`,
		}},
		"what is absent": {`event.member.role == "owner" && event.member == event.member && event.pipelinerun.id == 1`, []string{
			`1:1 event.member.role == "owner" → false`,
			`1:1 event.member.role → "" (absent)`,
			`1:33 event.member == event.member → true`,
			`1:33 event.member → (absent)`,
			`1:65 event.pipelinerun.id == 1 → false`,
			`1:65 event.pipelinerun.id → 0 (absent)`,
		}},
		"lines, comments and long texts": {"event.cluster.env == '日本' && // why\n  event.extra != \"\"\"a\"b\"\"\" && true", []string{
			`1:1 event.cluster.env == '日本' → false`,
			`1:1 event.cluster.env → "online"`,
			`2:3 event.extra != """a"b""" → true`,
			`2:3 event.extra → "{\"replicas\":3,\"images\":[\"web:1.2\"],\"note\":null}"`,
		}},
		"a macro": {`json(event.extra).images.exists(i, i == event.cluster.name)`, []string{
			`1:6 event.extra → "{\"replicas\":3,\"images\":[\"web:1.2\"],\"note\":null}"`,
			`1:41 event.cluster.name → "web"`,
		}},
		"a macro whose variable hides another": {`[1].exists(event, event == 2) || event.eventID == 1`, []string{
			`1:1 [1].exists(event, event == 2) → false`,
			`1:34 event.eventID == 1 → false`,
			`1:34 event.eventID → 1042`,
		}},
		"values of macros": {`["a"].map(x, x + event.cluster.name).join() == "b"`, []string{
			`1:1 ["a"].map(x, x + event.cluster.name).join() → "aweb"`,
			`1:18 event.cluster.name → "web"`,
		}},
		"optional JSON": {`response.json.?errcode.orValue(-1) == 0 && response.headers["content-type"] != ""`, []string{
			`1:1 response.json.?errcode.orValue(-1) == 0 → false`,
			`1:1 response.json.?errcode.orValue(-1) → 310000`,
			`1:1 response.json.?errcode → optional.of(310000)`,
			`1:44 response.headers["content-type"] != "" → true`,
			`1:44 response.headers["content-type"] → "application/json"`,
		}},
		"an error": {`response.json.nothing == 0 || 1 / (event.eventID - 1042) == 1`, []string{
			`1:1 response.json.nothing == 0 → error: no such key: nothing`,
			`1:1 response.json.nothing → error: no such key: nothing`,
			`1:31 1 / (event.eventID - 1042) == 1 → error: division by zero`,
			`1:31 1 / (event.eventID - 1042) → error: division by zero`,
			`1:36 event.eventID → 1042`,
		}},
		"brackets at the beginning": {`(event.eventID + 1) * 2 == 16`, []string{
			`1:1 (event.eventID + 1) * 2 → 2086`,
			`1:2 event.eventID → 1042`,
		}},
		"functions with a dot": {`escape.slack(event.cluster.name) == "" || sets.contains([1], [event.eventID])`, []string{
			`1:1 escape.slack(event.cluster.name) == "" → false`,
			`1:1 escape.slack(event.cluster.name) → "web"`,
			`1:14 event.cluster.name → "web"`,
			`1:43 sets.contains([1], [event.eventID]) → false`,
			`1:62 [event.eventID] → [1042]`,
			`1:63 event.eventID → 1042`,
		}},
		"a choice": {`event.cluster.env == "a" ? true : event.eventID == 7`, []string{
			`1:1 event.cluster.env == "a" → false`,
			`1:35 event.eventID == 7 → false`,
			`1:1 event.cluster.env → "online"`,
			`1:35 event.eventID → 1042`,
		}},
		"a part of the event": {`event.cluster == event.cluster || event.time == event.time`, []string{
			`1:1 event.cluster == event.cluster → true`,
			`1:1 event.cluster → {applicationName: "shop", env: "online", id: 7, name: "web"}`,
			`1:35 event.time == event.time → true`,
			`1:35 event.time → timestamp("2026-03-01T08:00:00Z")`,
		}},
		"values of all kinds": {`[1u, 2.5, b"a", null, {"a": [true]}, duration("1s"), optional.none(), optional.of(1), dyn(event.eventID)] == []`, []string{
			`1:1 [1u, 2.5, b"a", null, {"a": [true]}, duration("1s"), optional.none(), optional.of(1), dyn(event.eventID)] → ` +
				`[1u, 2.5, b"a", null, {"a": [true]}, duration("1s"), optional.none(), optional.of(1), 1042]`,
			`1:91 event.eventID → 1042`,
		}},
		"only has":        {`has(event.member.role)`, []string{`1:1 has(event.member.role) → false`}},
		"only a variable": {`response.json.ok`, []string{`1:1 response.json.ok → error: no such key: ok`}},
		"a literal":       {`true`, nil},
	} {
		t.Run(name, func(t *testing.T) {
			rule, err := CompileRule(test.text)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, p := range rule.Explain(sampleInput()) {
				got = append(got, fmt.Sprintf("%d:%d %s → %s", p.Line, p.Column, p.Text, p.Value))
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("Explain() (-want +got):\n%s", diff)
			}
		})
	}
}

// There are up to 16 parts, and none is long.
func TestExplainIsBounded(t *testing.T) {
	conditions := make([]string, 40)
	for i := range conditions {
		conditions[i] = fmt.Sprintf("event.extra + '%d' == '%s'", i, strings.Repeat("x", 50))
	}
	conditions[0] = `event.extra == "` + strings.Repeat("long ", 100) + `"`
	filter, err := CompileFilter(strings.Join(conditions, " || "))
	if err != nil {
		t.Fatal(err)
	}
	in := sampleInput()
	in.Event.Extra = strings.Repeat("日\x1b\xff", 10_000)
	parts := filter.Explain(in)
	if len(parts) != maxParts {
		t.Errorf("%d parts", len(parts))
	}
	for _, p := range parts {
		if len(p.Text) > maxPartText || len(p.Value) > maxPartValue || strings.Contains(p.Value, "\x1b") {
			t.Errorf("%d and %d bytes: %q", len(p.Text), len(p.Value), p.Value)
		}
	}
}

// Explaining compiles, and what takes the type checker longest allocates 150 MB.
func TestExplainWaitsForASlot(t *testing.T) {
	filter, err := CompileFilter(`event.eventID == 1`)
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		defer func(s *slots) { running = s }(running)
		running = newSlots(1)
		running.take("")
		var got []Part
		go func() { got = filter.Explain(Input{Event: &Event{}}) }()
		synctest.Wait()
		if got != nil {
			t.Error("explained while as much is compiled as may be")
		}
		running.give()
		synctest.Wait()
		if got == nil {
			t.Error("explained nothing")
		}
	})
}
