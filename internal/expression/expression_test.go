package expression

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

func TestFilters(t *testing.T) {
	for name, test := range map[string]struct {
		text string
		want bool
	}{
		"a field of a part":                  {`event.cluster.env == "online"`, true},
		"and, not":                           {`event.cluster.env == "online" && !event.user.email.endsWith("@bot")`, true},
		"a part that is absent reads empty":  {`event.member.role == "" && event.member.id == 0`, true},
		"has of a part":                      {`has(event.cluster) && !has(event.member)`, true},
		"has of a field":                     {`has(event.cluster.env) && !has(event.pipelinerun.gitRef)`, true},
		"in":                                 {`event.eventType in ["clusters_deployed", "clusters_rollbacked"]`, true},
		"exact numbers":                      {`event.eventID == 9007199254740993`, true},
		"a number and an unsigned one":       {`event.eventID > 5u`, true},
		"a time":                             {`event.time < timestamp("2026-03-01T08:00:01Z") && event.time.getHours() == 8`, true},
		"a time with an offset":              {`event.time.getHours("+08:00") == 16`, true},
		"a time that is absent":              {`event.time.getFullYear() == 2026`, true},
		"a pattern":                          {`event.cluster.name.matches("^we[a-c]$")`, true},
		"a pattern as a function":            {`matches(event.cluster.name, "^we[x-z]$")`, false},
		"contains, startsWith":               {`event.resourcePath.contains("clusters") && event.cluster.name.startsWith("w")`, true},
		"size counts characters":             {`"日本".size() == 2 && size(event.cluster.name) == 3`, true},
		"JSON in extra":                      {`json(event.extra).replicas == 3 && json(event.extra).images[0] == "web:1.2"`, true},
		"JSON that is optional":              {`json(event.extra).?missing.orValue(1) == 1 && !has(json(event.extra).other)`, true},
		"JSON null":                          {`json(event.extra).note == null`, true},
		"lists":                              {`[1, 2, 3].exists(x, x == 2) && [1, 2].all(x, x > 0) && [1, 2].map(x, x * 2) == [2, 4]`, true},
		"keys and values":                    {`{"a": 1, "b": 2}.exists(k, v, k == "b" && v == 2)`, true},
		"keys in order":                      {`{"c": 1, "a": 2, "b": 3}.map(k, k).join("") == "abc"`, true},
		"keys of JSON in order":              {`json("{\"c\":1,\"a\":2}").transformList(k, v, k).join("") == "ac"`, true},
		"transformMap":                       {`{"a": 1}.transformMap(k, v, v + 1) == {"a": 2}`, true},
		"sets":                               {`sets.contains(["a", "b"], ["b"]) && sets.intersects([1], [1, 2]) && sets.equivalent([1, 2, 2], [2, 1])`, true},
		"sets that differ":                   {`sets.contains(["a"], ["b"]) || sets.intersects([1], [2]) || sets.equivalent([1], [1, 2])`, false},
		"optMap":                             {`optional.of("a").optMap(x, x + "b").orValue("") == "ab" && !optional.none().optMap(x, 1).hasValue()`, true},
		"optFlatMap":                         {`optional.of({"a": 1}).optFlatMap(m, m.?a) == optional.of(1)`, true},
		"optMap within optMap":               {`optional.of(1).optMap(x, optional.of(2).optMap(y, x + y)) == optional.of(optional.of(3))`, true},
		"sums of lists":                      {`[1] + [2] + [3] == [1, 2, 3] && ([1] + [2])[1] == 2 && 2 in ([1] + [2])`, true},
		"sums of bytes":                      {`b"a" + b"b" == b"ab"`, true},
		"sums of numbers and times":          {`1.5 + 1.0 == 2.5 && 1u + 2u == 3u && event.time + duration("1s") > event.time`, true},
		"comparing lists and maps":           {`[[1], {"a": 1}] == [[1], {"a": 1}] && {"a": [1]} != {"a": [2]}`, true},
		"JSON compares with literals":        {`json("{\"a\": [1, {\"b\": true}]}") == {"a": [1, {"b": true}]}`, true},
		"a literal compares with JSON":       {`{"a": [1, {"b": true}]} == json("{\"a\": [1, {\"b\": true}]}")`, true},
		"ternary":                            {`event.cluster.env == "online" ? true : false`, true},
		"an error behind ||":                 {`1 / 0 == 1 || true`, true},
		"a value that is only known later":   {`json("true")`, true},
		"fields by name":                     {`dyn(event)["cluster"].name == "web" && type(event.eventID) == int`, true},
		"equal parts":                        {`event.cluster == event.cluster && event.member == event.member && event.cluster != dyn(event.user)`, true},
		"replace, split, join":               {`"a-b-c".replace("-", ".") == "a.b.c" && "a-b".split("-") == ["a", "b"] && ["a", "b"].join("+") == "a+b"`, true},
		"replace of nothing":                 {`"ab".replace("", "-") == "-a-b-" && "ab".split("") == ["a", "b"] && [].join() == ""`, true},
		"lower and upper leave other signs":  {`"AÄz".lowerAscii() == "aÄz" && "aäZ".upperAscii() == "AäZ"`, true},
		"trim":                               {`" \t a b\n ".trim() == "a b"`, true},
		"substring counts characters":        {`"日本語".substring(1) == "本語" && "日本語".substring(1, 2) == "本" && "ab".substring(2) == "" && "ab".substring(0, 0) == ""`, true},
		"truncate counts bytes":              {`"日本語".truncate(9) == "日本語" && "日本語".truncate(8) == "日…" && "abcdef".truncate(5) == "ab…"`, true},
		"truncate without room for the mark": {`"日本語".truncate(2) == "" && "abc".truncate(2) == "ab" && "abc".truncate(0) == ""`, true},
		"escapes": {`escape.slack("<a&\"b\">") == "&lt;a&amp;\"b\"&gt;" && escape.html("<'\">") == "&lt;&#39;&#34;&gt;"` +
			` && escape.markdown("*a_[b](c) <d>") == "\\*a\\_\\[b\\](c) \\<d\\>"`, true},
		"conversions":      {`string(event.eventID) == "9007199254740993" && int("7") == 7 && string(event.time) == "2026-03-01T08:00:00Z"`, true},
		"the Webhook":      {`webhook.name == "ops-room" && webhook.namespace == "team-a" && webhook.id == 9`, true},
		"raw, long texts":  {"event.cluster.name != r\"a\\b\" && event.cluster.name != '''a\n'b'''", true},
		"comments":         {"// why\nevent.cluster.env == \"online\" // because", true},
		"a key of the map": {`{event.cluster.name: 1}.web == 1 && {1: "a"}[1] == "a" && {true: 1}[true] == 1`, true},
	} {
		t.Run(name, func(t *testing.T) {
			filter, err := CompileFilter(test.text)
			if err != nil {
				t.Fatal(err)
			}
			in := sampleInput()
			in.Event.EventID = 9007199254740993
			got, err := filter.Matches(in)
			if err != nil {
				t.Fatal(err)
			}
			if got != test.want {
				t.Errorf("Matches() = %v, want %v", got, test.want)
			}
		})
	}
}

func TestTemplates(t *testing.T) {
	for name, test := range map[string]struct {
		text, want string
	}{
		"the sample": {sampleTemplate, `{"at":{"isAtAll":true},"markdown":{"text":"### web is out\n\n- by mila\n- in online\n- #1042",` +
			`"title":"Deployed"},"msgtype":"markdown"}`},
		"values of all kinds":     {`{"a": null, "b": true, "c": -1, "d": 1u, "e": 1.5, "f": "x", "g": [], "h": {}}`, `{"a":null,"b":true,"c":-1,"d":1,"e":1.5,"f":"x","g":[],"h":{}}`},
		"exact numbers":           {`{"int": 9223372036854775807, "uint": 18446744073709551615u}`, `{"int":9223372036854775807,"uint":18446744073709551615}`},
		"times":                   {`{"t": event.time, "u": timestamp("2026-01-31T10:00:00.5+08:00")}`, `{"t":"2026-03-01T08:00:00Z","u":"2026-01-31T02:00:00.5Z"}`},
		"JSON goes through":       {`{"extra": json(event.extra)}`, `{"extra":{"images":["web:1.2"],"note":null,"replicas":3}}`},
		"entries that are absent": {`{?"a": json(event.extra).?missing, ?"b": json(event.extra).?replicas, "c": [?optional.none(), 1]}`, `{"b":3,"c":[1]}`},
		"the delivery":            {`{"id": delivery.id, "hook": webhook.name}`, `{"hook":"ops-room","id":"msg_1"}`},
		"no escapes for HTML":     {`{"a": "<&>"}`, `{"a":"<&>"}`},
		"a map known only later":  {`json("{\"a\": 1}")`, `{"a":1}`},
		"a map of a choice":       {`event.cluster.env == "online" ? {"a": 1} : {"b": 2}`, `{"a":1}`},
		"maps that are made":      {`{"m": ["a", "b"].transformMapEntry(i, v, {v: i}), "l": {"b": 1, "a": 2}.transformList(k, v, [k, v])}`, `{"l":[["a",2],["b",1]],"m":{"a":0,"b":1}}`},
		"empty lists of macros":   {`{"a": [1].filter(x, false), "b": {"a": 1}.transformMap(k, v, false, v)}`, `{"a":[],"b":{}}`},
	} {
		t.Run(name, func(t *testing.T) {
			template, err := CompileTemplate(test.text)
			if err != nil {
				t.Fatal(err)
			}
			got, err := template.Render(sampleInput())
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, string(got)); diff != "" {
				t.Errorf("Render() (-want +got):\n%s", diff)
			}
		})
	}
}

func TestRules(t *testing.T) {
	for name, test := range map[string]struct {
		text, body string
		want       bool
		wantErr    string
	}{
		"a code":                  {`response.json.errcode == 0`, `{"errcode":0}`, true, ""},
		"a code that is absent":   {`response.json.?errcode.orValue(-1) == 0`, `{}`, false, ""},
		"a code of two":           {`response.json.?errcode.orValue(0) in [310000, 310001]`, `{"errcode":310000}`, true, ""},
		"status and headers":      {`response.statusCode == 200 && response.headers["content-type"].startsWith("application/") && !("x" in response.headers)`, ``, true, ""},
		"the body":                {`response.body == "ok"`, `ok`, true, ""},
		"the body is asked alone": {`response.body == "no JSON" || response.json.a == 1`, `no JSON`, true, ""},
		"has of the JSON":         {`has(response.json) && has(response.body)`, ``, false, ""},
		"no JSON":                 {`response.json.errcode == 0`, `<html>`, false, "the response's body: no JSON: invalid character '<' looking for beginning of value"},
		"no body":                 {`response.json.errcode == 0`, ``, false, "the response's body: no JSON: the text is empty"},
		"JSON that is no map":     {`response.json.errcode == 0`, `[1]`, false, "unsupported index type 'string' in list"},
		"a key that is absent":    {`response.json.errcode == 0`, `{}`, false, "no such key: errcode"},
		"a value of another kind": {`response.json.ok`, `{"ok":"yes"}`, false, "the value is a text, not true or false"},
		"bytes that are no text":  {`response.body.size() == 1`, "\xff", true, ""},
	} {
		t.Run(name, func(t *testing.T) {
			rule, err := CompileRule(test.text)
			if err != nil {
				t.Fatal(err)
			}
			in := sampleInput()
			in.Response.Body = []byte(test.body)
			got, err := rule.Holds(in)
			if diff := cmp.Diff(test.wantErr, message(err)); diff != "" {
				t.Errorf("error (-want +got):\n%s", diff)
			}
			if got != test.want {
				t.Errorf("Holds() = %v, want %v", got, test.want)
			}
		})
	}
}

func message(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// Without an event or a response, nothing is there, and nothing panics.
func TestEmptyInput(t *testing.T) {
	rule, err := CompileRule(`!has(event.cluster) && event.cluster.name == "" && !has(response.statusCode) && response.headers == {}` +
		` && event.time == timestamp("1970-01-01T00:00:00Z") && event.extra == "" && webhook.id == 0`)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := rule.Holds(Input{}); err != nil || !got {
		t.Errorf("Holds() = %v, %v", got, err)
	}
}

func TestErrors(t *testing.T) {
	for name, test := range map[string]struct{ text, want string }{
		"division by zero":       {`{"a": 1 / (event.eventID - 1042)}`, "division by zero"},
		"a key that is absent":   {`{"a": json(event.extra).nothing}`, "no such key: nothing"},
		"an index":               {`{"a": [1][7]}`, "index out of bounds: 7"},
		"no map":                 {`json("[1]")`, "the value is a list, not a map"},
		"a duration":             {`{"a": {"b": [1, duration("1s")]}}`, "at a.b[1]: a duration has no place in JSON; string() makes a text of it"},
		"bytes":                  {`{"a": b"x"}`, "at a: bytes have no place in JSON; string() makes a text of them"},
		"a type":                 {`{"a": int}`, "at a: a type has no place in JSON"},
		"a part":                 {`{"a": event.cluster}`, "at a: the cluster has no place in JSON; name its fields"},
		"an optional value":      {`{"a": optional.of(1)}`, "at a: an optional value has no place in JSON; use orValue(), or write ? before the key"},
		"infinity":               {`{"a": 1.0 / 0.0}`, "at a: the number +Inf has no place in JSON"},
		"not a number":           {`{"a": 0.0 / 0.0}`, "at a: the number NaN has no place in JSON"},
		"a key that is a number": {`{"a": {1: 2}}`, "at a: a map in JSON has texts as keys, and this one has others; string() makes a text of a key"},
		"too deep":               {`{"a": json("` + strings.Repeat("[", 31) + strings.Repeat("]", 31) + `"), "b": [json("` + strings.Repeat("[", 31) + strings.Repeat("]", 31) + `")]}`, "at b" + strings.Repeat("[0]", 31) + ": maps and lists are nested more than 32 deep"},
		"JSON that is too deep":  {`{"a": json("` + strings.Repeat("[", 33) + strings.Repeat("]", 33) + `")}`, "JSON that is nested more than 32 deep"},
		"a text too long":        {`{"a": "` + strings.Repeat("a", 9000) + `".replace("a", "12345678")}`, "a text may have 64 KiB"},
		"cost":                   {`{"a": ` + listOf(300, "0") + `.map(a, "` + strings.Repeat("a", 5000) + `" + "b")}`, "it costs more than 100000, which is what a template may: mind loops over long lists"},
		"a sum too long":         {`{"a": ["` + strings.Repeat("a", 15_000) + `"].map(a, (a + a + a + a + a).size())}`, "a text may have 64 KiB"},
		"cost of time zones":     {`{"a": ` + listOf(100, "0") + `.map(a, [1, 2, 3, 4, 5].map(b, event.time.getHours("UTC")))}`, "it costs more than 100000, which is what a template may: mind loops over long lists"},
		"a key twice":            {`{"a": [1, 1].transformMapEntry(i, v, {v: i})}`, "insert failed: key 1 already exists"},
		"no field":               {`{"a": dyn(event).nothing}`, "undefined field 'nothing'"},
		"no overload":            {`{"a": dyn(1) + dyn("a")}`, "no such overload"},
		"join of numbers":        {`{"a": dyn([1]).join(",")}`, "no such overload: join(list, string)"},
	} {
		t.Run(name, func(t *testing.T) {
			template, err := CompileTemplate(test.text)
			if err != nil {
				t.Fatal(err)
			}
			body, err := template.Render(sampleInput())
			if err == nil {
				t.Fatalf("rendered %s", truncate(string(body), 200))
			}
			if diff := cmp.Diff(test.want, err.Error()); diff != "" {
				t.Errorf("error (-want +got):\n%s", diff)
			}
		})
	}
}

// An error is bounded and printable, whatever is in the event.
func TestErrorsAreBounded(t *testing.T) {
	in := sampleInput()
	in.Event.Extra = strings.Repeat("\x1b[31m\n\xff日", 4000)
	for _, text := range []string{`{"a": {}[event.extra]}`, `{"a": dyn(event)[event.extra]}`, `{"a": json(event.extra)}`, `{"a": timestamp(event.extra)}`, `{"a": {event.extra: {1: 2}}}`} {
		template, err := CompileTemplate(text)
		if err != nil {
			t.Fatal(err)
		}
		_, err = template.Render(in)
		if err == nil || len(err.Error()) > maxError || strings.ContainsAny(err.Error(), "\x1b\n") || !utf8.ValidString(err.Error()) {
			t.Errorf("%s: %q", text, err)
		}
	}
}

// The same event and Webhook give the same bytes.
func TestSameBytes(t *testing.T) {
	entries := make([]string, 12)
	for i := range entries {
		entries[i] = fmt.Sprintf(`"key%d": event.eventID - %d`, i, i) // Constant maps are made once.
	}
	large := "{" + strings.Join(entries, ", ") + "}"
	text := `{"m": ` + large + `, "k": ` + large + `.map(k, k), "l": ` + large + `.transformList(k, v, k + string(v)).join(","),
		"t": ` + large + `.transformMap(k, v, v % 2 == 0, [k]), "j": json("` + strings.ReplaceAll(strings.ReplaceAll(large, `"`, `\"`), "event.eventID - ", "") + `").map(k, k),
		"first": ` + large + `.filter(k, true)[0], "h": string(event.time)}`
	template, err := CompileTemplate(text)
	if err != nil {
		t.Fatal(err)
	}
	want, err := template.Render(sampleInput())
	if err != nil {
		t.Fatal(err)
	}
	for range 100 {
		got, err := template.Render(sampleInput())
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(want, got) {
			t.Fatalf("rendered\n%s\nand then\n%s", want, got)
		}
	}
	if !json.Valid(want) {
		t.Errorf("no JSON: %s", want)
	}
}

// Programs may be used by many at a time.
func TestConcurrently(t *testing.T) {
	var wait sync.WaitGroup
	for i := range 8 {
		wait.Go(func() {
			for j := range 50 {
				filter, err := CompileFilter(fmt.Sprintf(`event.cluster.name == "web" && event.eventID == %d`, j%10))
				if err != nil {
					t.Error(err)
					return
				}
				in := Input{Event: &Event{EventID: int64(i), Cluster: &Cluster{Name: "web"}}}
				if got, err := filter.Matches(in); err != nil || got != (i == j%10) {
					t.Errorf("Matches() = %v, %v", got, err)
				}
				template, err := CompileTemplate(sampleTemplate)
				if err != nil {
					t.Error(err)
					return
				}
				if _, err := template.Render(sampleInput()); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wait.Wait()
}

// What was compiled is kept, up to a number and a length of all.
func TestCache(t *testing.T) {
	c := newCache(3, 1000)
	first, err := c.get(filters, "true")
	if err != nil {
		t.Fatal(err)
	}
	if again, _ := c.get(filters, "true"); again != first {
		t.Error("compiled again what was kept")
	}
	if rule, _ := c.get(rules, "true"); rule == first {
		t.Error("a rule is no filter")
	}
	_, mistake := c.get(filters, "fals")
	if _, again := c.get(filters, "fals"); !errors.Is(again, mistake) {
		t.Error("a mistake was not kept")
	}
	_, _ = c.get(filters, "false") // the fourth
	if again, _ := c.get(filters, "true"); again == first {
		t.Error("more was kept than may be")
	}
	c = newCache(100, 1000)
	for i := range 200 {
		_, _ = c.get(filters, fmt.Sprintf("%d == 0", i+100))
	}
	if c.entries.Len() != 100 || c.size != 800 {
		t.Errorf("%d entries of %d characters are kept", c.entries.Len(), c.size)
	}
	c = newCache(1000, 800)
	for i := range 200 {
		_, _ = c.get(filters, fmt.Sprintf("%d==0", i+100))
	}
	if c.entries.Len() != 133 || c.size != 133*6 {
		t.Errorf("%d entries of %d characters are kept", c.entries.Len(), c.size)
	}
}

// An evaluation that takes too long ends, and one whose process stood still does not.
func TestStopwatch(t *testing.T) {
	ctx, stop := startStopwatch(10 * time.Millisecond)
	defer stop()
	select {
	case <-ctx.Done():
	case <-time.After(10 * time.Second):
		t.Error("did not end")
	}
	ctx, stop = startStopwatch(time.Hour)
	stop()
	if ctx.Err() == nil {
		t.Error("goes on")
	}
}
