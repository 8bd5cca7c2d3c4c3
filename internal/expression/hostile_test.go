package expression

import (
	"encoding/json"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// hostileEvent has long texts: 32 KiB is what extra may have.
func hostileEvent(extra string) *Event {
	return &Event{
		EventID: 1, EventType: "clusters_deployed", Time: time.Unix(1_760_000_000, 0),
		Cluster: &Cluster{Name: "web", Env: "online"},
		User:    &User{Name: strings.Repeat("ü", 500), Email: "mila@example.com"},
		Extra:   strings.Repeat(extra, (32<<10)/max(1, len(extra))),
	}
}

func listOf(n int, element string) string {
	return "[" + strings.TrimSuffix(strings.Repeat(element+",", n), ",") + "]"
}

type hostileTemplate struct {
	text string
	// extra is repeated up to 32 KiB.
	extra string
	// works says that it gives a body, and mistake that it does not compile.
	works, mistake bool
}

// hostileTemplates are expressions that want a lot of time or memory.
func hostileTemplates() map[string]hostileTemplate {
	r := strings.Repeat
	hundred := listOf(100, "0")
	in := func(s string) string { return `{"a": ` + s + `}` }
	return map[string]hostileTemplate{
		"replace within replace":             {text: in(`"a"` + r(`.replace("a", "`+r("a", 100)+`")`, 20))},
		"replace of nothing":                 {text: in(`event.extra` + r(`.replace("", "aaaaaaaaaa")`, 20)), extra: "a"},
		"replace by a text of the event":     {text: in(`event.extra.replace("a", event.extra)`), extra: "a"},
		"lists in lists":                     {text: in(`[[1]]` + r(`.map(a, [a, a, a, a, a, a, a, a, a, a])`, 7))},
		"lists in lists, compared":           {text: in(`[[1]]` + r(`.map(a, [a, a, a, a, a, a, a, a, a, a])`, 7) + `.map(a, a == a)`)},
		"lists that double":                  {text: in(`[[1, 1]]` + r(`.map(a, a + a + a + a + a + a + a + a)`, 9))},
		"lists that double, in":              {text: in(`[[1, 1]]` + r(`.map(a, a + a + a + a + a + a + a + a)`, 8) + `.map(a, 2 in a)`)},
		"texts that double":                  {text: in(`["` + r("a", 100) + `"]` + r(`.map(a, a + a + a + a + a + a + a + a + a + a + a + a)`, 9))},
		"texts that double in ternaries":     {text: in(r(`(true ? `, 9) + `event.extra + event.extra` + r(` + event.extra : "")`, 9)), extra: "a"},
		"texts that double in optionals":     {text: in(`optional.of(event.extra)` + r(`.optMap(a, a + a)`, 9) + `.orValue("")`), extra: "a"},
		"bytes that double":                  {text: in(`[bytes(event.extra)]` + r(`.map(a, a + a)`, 9) + `.map(b, string(b))`), extra: "a"},
		"a text many times":                  {text: in(`json("[" + event.extra + "0]").map(x, event.extra + "!")`), extra: `0,`},
		"a text many times in loops":         {text: in(`[` + hundred + `].map(l, l.map(i, event.extra + "!"))`), extra: "a"},
		"upper and lower, in loops":          {text: in(hundred + `.map(i, ` + hundred + `.map(j, event.extra.upperAscii().lowerAscii()))`), extra: "aB"},
		"join within join":                   {text: in(`[event.extra, event.extra].map(a, [a, a].join(a)).map(b, [b, b].join(b)).join()`), extra: "a"},
		"split and join":                     {text: in(`event.extra` + r(`.split("a").join("ab")`, 9)), extra: "a"},
		"split in loops":                     {text: in(hundred + `.map(i, event.extra.split(""))`), extra: "a"},
		"split in loops, dropped":            {text: in(hundred + `.map(i, ` + hundred + `.exists(j, event.extra.split("").size() == 0))`), extra: "a"},
		"escapes within escapes":             {text: in(r(`escape.html(`, 30) + `event.extra` + r(`)`, 30)), extra: "&"},
		"escapes of Markdown":                {text: in(r(`escape.markdown(`, 30) + `event.extra` + r(`)`, 30)), extra: "*"},
		"escapes of Feishu":                  {text: in(r(`escape.feishu(`, 30) + `event.extra` + r(`)`, 30)), extra: "&"},
		"escapes of WeCom, in loops":         {text: in(hundred + `.map(i, ` + hundred + `.map(j, escape.wecom(event.extra)))`), extra: "<"},
		"escapes that are cut, in loops":     {text: in(hundred + `.map(i, ` + hundred + `.map(j, escape.wecom(event.extra, 9)))`), extra: "<"},
		"deep JSON":                          {text: in(`json(event.extra)`), extra: `[`},
		"deep JSON in turns":                 {text: in(`json("` + r(`[{\"\":`, 1500) + r(`}]`, 1500) + `")`)},
		"wide JSON":                          {text: in(`json("[" + event.extra + "{}]").map(x, x)`), extra: `{"":0},`},
		"wide JSON in loops":                 {text: in(hundred + `.map(i, json("[" + event.extra + "{}]").size())`), extra: `{"":0},`},
		"wide JSON in nested loops":          {text: in(`json("[" + event.extra + "0]").all(x, json("[" + event.extra + "0]").all(y, true))`), extra: `0,`},
		"one JSON key many times":            {text: in(`json("{" + event.extra + "\"a\":0}")`), extra: `"a":0,`, works: true},
		"long JSON numbers":                  {text: in(`json(event.extra)`), extra: `1`},
		"JSON of JSON":                       {text: in(r(`json(`, 40) + `event.extra` + r(`)`, 40)), extra: `"`},
		"three loops":                        {text: in(hundred + `.map(a, ` + hundred + `.map(b, ` + hundred + `.map(c, a + b + c)))`)},
		"ten loops":                          {text: in(r(hundred+`.all(x, `, 10) + `true` + r(`)`, 10))},
		"ten loops over three":               {text: in(r(`[1,2,3].all(x, `, 10) + `x == 4 || x != 5` + r(`)`, 10))},
		"ten loops that fail":                {text: in(r(`[1,2,3].exists(x, `, 10) + `1 / 0 == x` + r(`)`, 10))},
		"ternaries in loops":                 {text: in(`json("[" + event.extra + "0]").all(x, x == 0 ? true : false)`), extra: `0,`},
		"loops over characters":              {text: in(`event.extra.split("").map(c, c + c).join("").split("").map(c, c + c)`), extra: "a"},
		"loops with keys and values":         {text: in(`json("[" + event.extra + "0]").transformMap(i, v, string(i) + event.user.name)`), extra: `0,`},
		"maps of maps":                       {text: in(`json("[" + event.extra + "0]").transformMapEntry(i, v, {string(i): {string(v): {}}})`), extra: `0,`},
		"maps of one key":                    {text: in(`json("[" + event.extra + "0]").map(v, {"a": v, "b": v, "c": v, "d": v})`), extra: `0,`},
		"maps in loops, dropped":             {text: in(hundred + `.all(i, ` + hundred + `.all(j, {"a": i, "b": j, "c": i, "d": j}.size() == 4))`)},
		"lists in loops, dropped":            {text: in(hundred + `.all(i, ` + hundred + `.all(j, [i, j, i, j, i, j, i, j].size() == 8))`)},
		"arithmetic in loops":                {text: in(hundred + `.all(i, ` + hundred + `.all(j, i * 1000 + j + i + j + i + j + i + j >= 0))`)},
		"reads in loops":                     {text: in(hundred + `.all(i, ` + hundred + `.all(j, event.cluster.env + event.user.email + event.member.role != ""))`)},
		"reads in loops of long texts":       {text: in(hundred + `.all(i, ` + hundred + `.all(j, event.extra != "a" && event.extra.size() > i))`), extra: "ü"},
		"substrings in loops":                {text: in(hundred + `.all(i, ` + hundred + `.all(j, event.extra.substring(16000, 16001) != ""))`), extra: "ü"},
		"sets of long lists":                 {text: in(`sets.contains(json("[" + event.extra + "0]"), json("[" + event.extra + "1]"))`), extra: `0,`},
		"sets of heavy lists":                {text: in(hundred + `.all(i, sets.equivalent(event.extra.split(","), event.extra.split(",")))`), extra: "a,"},
		"in long lists":                      {text: in(hundred + `.all(i, ` + hundred + `.all(j, !(1 in json("[" + event.extra + "0]"))))`), extra: `0,`},
		"a slow pattern":                     {text: in(`event.extra.matches("(a|a)*(a|a)*(a|a)*b")`), extra: "a", works: true},
		"a slow pattern in loops":            {text: in(hundred + `.all(i, ` + hundred + `.all(j, !event.user.name.matches("(.*)*(.*)*(.*)*b")))`)},
		"a large pattern":                    {text: in(`event.extra.matches("(a{1,31}){31}b")`), extra: "a", mistake: true},
		"time zones in loops":                {text: in(hundred + `.all(i, ` + hundred + `.all(j, event.time.getHours("Asia/Shanghai") >= 0))`)},
		"time zones that are paths":          {text: in(`event.time.getHours("../../../../etc/passwd")`), mistake: true},
		"times in loops":                     {text: in(hundred + `.all(i, ` + hundred + `.all(j, string(event.time + duration("1s")) != ""))`)},
		"conversions in loops":               {text: in(hundred + `.all(i, ` + hundred + `.all(j, string(bytes(event.extra)) != ""))`), extra: "a"},
		"long literals":                      {text: in(`"` + r("a", 15_000) + `" + "` + r("b", 1000) + `"`), works: true},
		"a long list":                        {text: in(listOf(4000, "1")), works: true},
		"a long list in a loop":              {text: in(hundred + `.map(i, ` + listOf(2000, "i") + `)`)},
		"lists of a loop in lists":           {text: in(`optional.of(json("[" + event.extra + "0]").map(x, x)).optMap(b, ` + listOf(400, "[b]") + `)`), extra: `0,`},
		"texts in errors":                    {text: in(hundred + `.exists(i, {"a": 1}[event.extra + event.extra.substring(1)] == 1)`), extra: "a"},
		"lists in errors":                    {text: in(hundred + `.exists(i, dyn({"a": 1})[` + listOf(200, "event.extra") + `] == 1)`), extra: "a"},
		"keys that are lists":                {text: in(`[dyn([1])].map(a, {a: a})`)},
		"keys that are bytes":                {text: in(`[dyn(b"a")].map(a, {a: a})`)},
		"bytes as an index":                  {text: in(`{"a": 1}[dyn(b"a")]`)},
		"has of has":                         {text: in(r(`has(event.cluster) && has(event.user) && `, 40) + `has(event.cluster.name)`), works: true},
		"optionals of optionals":             {text: in(`json(event.extra)` + r(`.?a`, 100) + `.orValue(1)`), extra: ` `},
		"optionals in optionals":             {text: in(r(`optional.of(`, 100) + `1` + r(`)`, 100)), mistake: true},
		"optionals of lists":                 {text: in(`[[1]]` + r(`.map(a, [optional.of(a), optional.of(a), optional.of(a), optional.of(a)])`, 9))},
		"substring from before the first":    {text: in(`event.extra.substring(-1)`), extra: "a"},
		"substring up to the end of numbers": {text: in(`event.extra.substring(0, 9223372036854775807)`), extra: "a"},
		"truncate to less than nothing":      {text: in(`event.extra.truncate(-9223372036854775808)`), extra: "a"},
		"truncate to the end of numbers":     {text: in(`event.extra.truncate(9223372036854775807)`), extra: "ü", works: true},
		"bytes that are no text":             {text: in(`event.extra.split("").map(c, c.upperAscii()).join("").truncate(30000)`), extra: "\xff\xfe"},
		"a body at the bound":                {text: in(`event.extra + event.extra`), extra: "a"},
		"a body that is escaped":             {text: in(`event.extra + event.extra`), extra: "\x00"},
		"many states":                        {text: in(hundred + `.all(i, !event.user.name.matches("` + r("(.?a?)", 40) + `b"))`)},
		"states by the size of classes":      {text: in(`event.extra.matches("(?i)` + r(`[\\pL\\pN]`, 40) + `")`), extra: "ü"},
		"a pattern that is not known":        {text: in(`event.extra.matches(event.extra)`), extra: "(a{1,31}){31}", mistake: true},
		"sums of empty texts":                {text: in(hundred + `.all(i, [1, 2, 3].all(j, "" + "" + "" + "" + "" + "" == ""))`), works: true},
		"orValue in loops":                   {text: in(hundred + `.all(i, ` + hundred + `.all(j, json(event.extra).?a.?b.orValue(1) == 1))`), extra: " 1"},
		"the same JSON key in loops":         {text: in(hundred + `.map(i, json("{\"a\":" + string(i) + "}"))`), works: true},
		"lists in lists, in an error":        {text: in(`[[1]]` + r(`.map(a, [a, a])`, 9) + `.map(a, dyn({})[a])`)},
		"a list of a macro, a hundred times": {text: in(`[json("[" + event.extra + "0]")].map(b, ` + listOf(300, "b + b") + `)`), extra: `0,`},
		"minus and not":                      {text: in(r("-", 7000) + "1"), works: true},
		"a long name of a field":             {text: in(`dyn(event)[event.extra]`), extra: "\n"},
	}
}

// within runs f and fails where it takes more than it may, each of three times: others use
// the processor, too.
func within(t *testing.T, most time.Duration, mib float64, f func()) {
	t.Helper()
	mib *= waste
	var took time.Duration
	var allocated float64
	for range 3 {
		var start, end runtime.MemStats
		runtime.ReadMemStats(&start)
		began := time.Now()
		f()
		took = time.Since(began)
		runtime.ReadMemStats(&end)
		allocated = float64(end.TotalAlloc-start.TotalAlloc) / (1 << 20)
		if took <= most && allocated <= mib {
			return
		}
	}
	t.Errorf("took %v and allocated %.1f MiB, more than %v and %v MiB", took, allocated, most, mib)
}

// hostileTime leaves room for others on the machine: alone, all but two end within 20 ms, and
// these at MaxTime. The race detector makes all of it ten times slower.
const hostileTime = 5 * MaxTime * slowness

func TestHostileTemplates(t *testing.T) {
	for name, test := range hostileTemplates() {
		t.Run(name, func(t *testing.T) {
			template, err := CompileTemplate(test.text)
			if diff := cmp.Diff(test.mistake, err != nil); diff != "" {
				t.Fatalf("is a mistake (-want +got):\n%s\n%v", diff, err)
			}
			if err != nil {
				return
			}
			in := Input{Event: hostileEvent(test.extra)}
			within(t, hostileTime, 8, func() {
				body, err := template.Render(in)
				if err == nil && (!json.Valid(body) || len(body) > MaxBody) {
					t.Errorf("a body of %d bytes: %s", len(body), truncate(string(body), 100))
				}
				if err != nil && test.works {
					t.Errorf("failed: %v", err)
				}
				if err == nil && !test.works {
					t.Errorf("rendered %d bytes", len(body))
				}
			})
		})
	}
}

// The same, as filters: alone, none takes 6 ms.
func TestHostileFilters(t *testing.T) {
	for name, test := range hostileTemplates() {
		t.Run(name, func(t *testing.T) {
			filter, err := CompileFilter(test.text + " == {}")
			if err != nil {
				return // Those that are longer than a filter may be, too.
			}
			in := Input{Event: hostileEvent(test.extra)}
			within(t, 2*MaxTime*slowness, 2, func() { _, _ = filter.Matches(in) })
		})
	}
}

// All of them at once: as many are evaluated as there are processors.
func TestHostileAtOnce(t *testing.T) {
	var wait sync.WaitGroup
	var count int
	var start, end runtime.MemStats
	runtime.ReadMemStats(&start)
	for _, test := range hostileTemplates() {
		template, err := CompileTemplate(test.text)
		if err != nil {
			continue
		}
		count++
		wait.Go(func() { _, _ = template.Render(Input{Event: hostileEvent(test.extra)}) })
	}
	wait.Wait()
	runtime.ReadMemStats(&end)
	if each := (end.TotalAlloc - start.TotalAlloc) / uint64(count); each > 8<<20 {
		t.Errorf("%d bytes were allocated for each", each)
	}
}

// What a receiver answers is read once, however often a rule names it.
func TestHostileRules(t *testing.T) {
	headers := map[string]string{}
	for i := range 10_000 {
		headers[strconv.Itoa(i)] = "\xff"
	}
	for name, test := range map[string]struct {
		part     string
		response Response
	}{
		"a body that is no text": {`response.body != ""`, Response{Body: []byte(strings.Repeat("\xff", 48<<10))}},
		"many headers":           {`response.headers != {}`, Response{Header: headers}},
		"a body that is no JSON": {`response.json.?a.orValue(0) != 1`, Response{Body: []byte(strings.Repeat("[", 48<<10))}},
		"a large JSON":           {`response.json.size() != 1`, Response{Body: []byte(listOf(24<<10, "1"))}},
	} {
		t.Run(name, func(t *testing.T) {
			rule, err := CompileRule(strings.TrimSuffix(strings.Repeat(test.part+" && ", 100), " && "))
			if err != nil {
				t.Fatal(err)
			}
			within(t, hostileTime, 8, func() { _, _ = rule.Holds(Input{Response: &test.response}) })
		})
	}
}
