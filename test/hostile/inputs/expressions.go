package inputs

import (
	"strings"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
)

// Expression is one that wants more time or memory than it may have, or meets a bound.
type Expression struct {
	Name string
	// Text is a map, for a template; compared with another one, it is a filter. With an
	// Answer, it is a rule for that.
	Text string
	// Extra of the event.
	Extra string
	// Sent says that a template makes a body.
	Sent bool

	// Answer is the body that the receiver answers with, GiveUpIf another rule for it, and
	// Want the reason that the delivery ends with.
	Answer   string
	GiveUpIf string
	Want     string
}

// maxExtra is how long the extra of an event may be.
const maxExtra = 32 << 10

// full is as long as extra may be.
func full(text string) string { return strings.Repeat(text, maxExtra/len(text)) }

func listOf(n int, element string) string {
	return "[" + strings.TrimSuffix(strings.Repeat(element+",", n), ",") + "]"
}

// Expressions are for all kinds of expressions.
func Expressions() []Expression {
	r := strings.Repeat
	a, numbers, objects, brackets, ampersands := full("a"), full("0,"), full(`{"":0},`), full("["), full("&")
	hundred := listOf(100, "0")
	var all []Expression
	for _, x := range []struct{ name, text, extra string }{
		{"replace within replace", `"a"` + r(`.replace("a", "`+r("a", 100)+`")`, 20), a},
		{"replace of nothing", `event.extra` + r(`.replace("", "aaaaaaaaaa")`, 20), a},
		{"replace by a text of the event", `event.extra.replace("a", event.extra)`, a},
		{"lists in lists", `[[1]]` + r(`.map(a, `+listOf(10, "a")+`)`, 7), a},
		{"lists in lists, compared", `[[1]]` + r(`.map(a, `+listOf(10, "a")+`)`, 7) + `.map(a, a == a)`, a},
		{"lists that double", `[[1, 1]]` + r(`.map(a, a + a + a + a + a + a + a + a)`, 9), a},
		{"texts that double", `["` + r("a", 100) + `"]` + r(`.map(a, a + a + a + a + a + a + a + a)`, 9), a},
		{"texts that double in optionals", `optional.of(event.extra)` + r(`.optMap(a, a + a)`, 9) + `.orValue("")`, a},
		{"optionals that would be copied", `optional.of(1)` + r(`.optMap(a, a)`, 100), a},
		{"a text many times in loops", hundred + `.map(l, ` + hundred + `.map(i, event.extra + "!"))`, a},
		{"split in loops", hundred + `.map(i, event.extra.split(""))`, a},
		{"join within join", `[event.extra, event.extra].map(a, [a, a].join(a)).map(b, [b, b].join(b)).join()`, a},
		{"a slow pattern", `event.extra.matches("(a|a)*(a|a)*(a|a)*b")`, a},
		{"a slow pattern in loops", hundred + `.all(i, ` + hundred + `.all(j, !event.user.name.matches("(.*)*(.*)*(.*)*b")))`, a},
		{"a large pattern", `event.extra.matches("(a{1,31}){31}b")`, a},
		{"a pattern of the event", `"a".matches(event.extra)`, a},
		{"three loops", hundred + `.map(a, ` + hundred + `.map(b, ` + hundred + `.map(c, a + b + c)))`, a},
		{"ten loops", r(hundred+`.all(x, `, 10) + `true` + r(`)`, 10), a},
		{"twenty loops", r(`[1,2,3].all(x, `, 20) + `true` + r(`)`, 20), a},
		{"ten loops that fail", r(`[1,2,3].exists(x, `, 10) + `1 / 0 == x` + r(`)`, 10), a},
		{"substrings in loops", hundred + `.all(i, ` + hundred + `.all(j, event.extra.substring(16000, 16001) != ""))`, a},
		{"time zones in loops", hundred + `.all(i, ` + hundred + `.all(j, event.time.getHours("Asia/Shanghai") >= 0))`, a},
		{"a time zone that is a path", `event.time.getHours("../../../../etc/passwd")`, a},
		{"conversions in loops", hundred + `.all(i, ` + hundred + `.all(j, string(bytes(event.extra)) != ""))`, a},
		{"a long text in an error", `{"a": 1}[event.extra]`, a},
		{"a function that is not there", `"%s".format([event.extra])`, a},
		{"parentheses", r(`(`, 900) + "1" + r(`)`, 900), a},
		{"brackets", r(`[`, 1500), a},
		{"operations", r(`1+`, 1500) + "1", a},
		{"noes", r(`!`, 3000) + "true", a},
		{"ternaries", r(`true?1:`, 500) + "1", a},
		{"reads", "event" + r(`.a`, 1500), a},
		{"garbage", r(`$#@`, 1000), a},
		{"an open text", `"` + r("a", 3000), a},
		{"keys that are maps", r(`{`, 30) + "1: 1" + r(`: 1}`, 29) + "}", a},
		{"what is no character", "\"\u202e\u0007\u0000\" + 1", a},
		{"wide JSON in loops", `json("[" + event.extra + "0]").all(x, json("[" + event.extra + "0]").all(y, true))`, numbers},
		{"sets of long lists", `sets.contains(json("[" + event.extra + "0]"), json("[" + event.extra + "1]"))`, numbers},
		{"maps of one key", `json("[" + event.extra + "0]").map(v, {"a": v, "b": v, "c": v, "d": v})`, numbers},
		{"in long lists", hundred + `.all(i, ` + hundred + `.all(j, !(1 in json("[" + event.extra + "0]"))))`, numbers},
		{"wide JSON", `json("[" + event.extra + "{}]").map(x, x)`, objects},
		{"deep JSON", `json(event.extra)`, brackets},
		{"escapes within escapes", r(`escape.html(`, 30) + `event.extra` + r(`)`, 30), ampersands},
	} {
		all = append(all, Expression{Name: x.name, Text: `{"a": ` + x.text + `}`, Extra: x.extra})
	}
	// {"a":""} are eight bytes.
	all = append(all,
		Expression{Name: "a body at the bound", Text: `{"a": event.extra + event.extra.substring(8)}`, Extra: a, Sent: true},
		Expression{Name: "a body beyond the bound", Text: `{"a": event.extra + event.extra.substring(7)}`, Extra: a},
		Expression{Name: "a body as the record keeps it", Text: `{"a": event.extra.substring(0, 16376)}`, Extra: a, Sent: true},
		Expression{Name: "a body that the record cuts", Text: `{"a": event.extra.substring(0, 16377)}`, Extra: a, Sent: true},
		Expression{Name: "a body of control characters", Text: `{"a": event.extra}`, Extra: r("\x01", 10<<10), Sent: true},
		Expression{Name: "a body of wide characters", Text: `{"a": event.extra.substring(0, 20000)}`, Extra: r("猫", 20_000), Sent: true},
		Expression{Name: "a body as deep as may be", Text: r(`{"a": `, 32) + "1" + r(`}`, 32), Extra: a, Sent: true},
		Expression{Name: "a body that is deeper", Text: r(`{"a": `, 33) + "1" + r(`}`, 33), Extra: a},
	)
	return append(all, rules()...)
}

// rules are with answers at the bounds. Those are read up to 48 KiB.
func rules() []Expression {
	const most = 48 << 10
	r := strings.Repeat
	text := func(n int) string { return `"` + r("a", n-2) + `"` }
	exhausted, accepted, rejected := v1alpha1.ReasonRetriesExhausted, v1alpha1.ReasonAccepted, v1alpha1.ReasonRejected
	all := []Expression{
		{Name: "an answer that is no JSON", Text: `response.json.ok`, Answer: "<html>", Want: exhausted},
		{Name: "an answer that is no JSON and is given up", Text: `response.json.ok`, GiveUpIf: `response.body.contains("html")`, Answer: "<html>", Want: rejected},
		{Name: "an answer that neither rule can be asked about", Text: `response.json.ok`, GiveUpIf: `response.json.no`, Answer: "<html>", Want: exhausted},
		{Name: "an answer of another type", Text: `response.json.errcode == 0`, Answer: `{"errcode": "0"}`, Want: exhausted},
		{Name: "an answer with a value that is no bool", Text: `response.json.errcode`, Answer: `{"errcode": 0}`, Want: exhausted},
		{Name: "an answer as deep as may be", Text: `response.json.size() == 1`, Answer: r("[", 32) + r("]", 32), Want: accepted},
		{Name: "an answer that is deeper", Text: `response.json.size() == 1`, Answer: r("[", 33) + r("]", 33), Want: exhausted},
		{Name: "an answer of brackets", Text: `response.json.size() == 1`, Answer: r("[", 20_000) + r("]", 20_000), Want: exhausted},
		{Name: "an answer of objects", Text: `response.json.all(x, response.json.all(y, x == y))`, Answer: "[" + r(`{"":0},`, 5000) + "0]", Want: exhausted},
		{Name: "an answer of as many bytes as are read", Text: `size(response.json) > 0`, Answer: text(most), Want: accepted},
		{Name: "an answer of more bytes", Text: `size(response.json) > 0`, Answer: text(most + 1), Want: exhausted},
		{Name: "an answer of a megabyte", Text: `response.body.endsWith("a")`, Answer: text(1 << 20), Want: accepted},
		{Name: "an answer of a huge number", Text: `response.json == 1`, Answer: r("9", 40_000), Want: exhausted},
		{Name: "an answer that is no text", Text: `response.body.startsWith("\ufffd")`, Answer: "\xff\xfe", Want: accepted},
		{Name: "an answer that is no text, read often", Text: r(`response.body != "" && `, 100) + "true", Answer: r("\xff", most), Want: accepted},
		{Name: "an answer that is quoted", Text: `response.body == "ok"`, Answer: "\x1b[31m" + r("\x07\u202e", 10_000), Want: exhausted},
		{Name: "a rule that loops", Text: listOf(100, "0") + `.all(i, ` + listOf(100, "0") + `.all(j, response.body.split("").size() > 0))`, Answer: text(most), Want: exhausted},
		{Name: "a rule with a slow pattern", Text: `response.body.matches("(a|a)*(a|a)*(a|a)*b")`, Answer: text(most), Want: exhausted},
		{Name: "a rule that is false", Text: `false`, Answer: "ok", Want: exhausted},
	}
	for i := range all {
		all[i].Extra = "none"
	}
	return all
}
