package expression

import (
	"bytes"
	"encoding/json"
	"math/big"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/cel-go/common/types"
)

// seeds are expressions of all kinds.
func seeds() []string {
	texts := []string{
		sampleFilter, sampleTemplate, sampleRule,
		`{"a": [1].map(x, {"b": x}), ?"c": optional.none()}`, `{"a": json(event.extra).?a[?0].orValue({})}`,
		`{"a": event.extra.split(",").transformMap(i, v, v.truncate(3))}`, `{"a": "é".replace("", event.extra)}`,
		`{"a": escape.markdown(event.extra) + escape.slack(event.extra) + escape.html(event.extra)}`,
		`{"a": escape.dingtalk(event.extra) + escape.discord(event.extra, 9) + escape.feishu(event.extra, 7) + escape.wecom(event.extra)}`,
		`{"a": event.extra.substring(1, 2), "b": [event.extra].join("\n"), "c": -1.5e3, "d": 0x1fu, "e": b"a\x00" == b'''b'''}`,
		`{event.extra: timestamp(event.extra)}`, `event.cluster.nme`, `(`, `"`, `a ? b : c`, `// no`, `{"a": 1 / 0, "b": [][0]}`,
		`{"m": "a".matches("^[a-z]{1,3}(x|y)*$"), "s": sets.contains([1], [2])}`, "{\"a\":\n\t\"日本\"\n  .nme}",
	}
	for _, test := range hostileTemplates() {
		if len(test.text) < 2000 {
			texts = append(texts, test.text)
		}
	}
	return texts
}

// FuzzCompile: no text makes the compiler panic or takes it long, and each mistake has a
// place within the text.
func FuzzCompile(f *testing.F) {
	for _, text := range seeds() {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, k := range []kind{filters, templates, rules} {
			began := time.Now()
			p, mistake := newProgram(k, text)
			if took := time.Since(began); took > 10*time.Second {
				t.Errorf("took %v", took)
			}
			if mistake != nil {
				checkMistake(t, text, mistake)
				if strings.Contains(mistake.Summary, "it cannot be compiled") {
					t.Errorf("panicked: %s", mistake.Summary)
				}
				continue
			}
			if k == templates {
				continue
			}
			for _, part := range p.Explain(sampleInput()) {
				if len(part.Text) > maxPartText || len(part.Value) > maxPartValue || part.Line < 1 || part.Column < 1 {
					t.Errorf("part %+v", part)
				}
			}
		}
	})
}

// FuzzRender: whatever a template and an event say, rendering ends, and with JSON.
func FuzzRender(f *testing.F) {
	for _, text := range seeds() {
		f.Add(text, `{"a":[1,"b"]}`, "web")
	}
	f.Add(`{"a": event.extra}`, "\xff\u2028\x00", "\xc3")
	f.Fuzz(func(t *testing.T, text, extra, name string) {
		template, err := CompileTemplate(text)
		if err != nil {
			return
		}
		in := sampleInput()
		in.Event.Extra, in.Event.Cluster.Name = extra, name
		began := time.Now()
		body, err := template.Render(in)
		if took := time.Since(began); took > 10*time.Second {
			t.Errorf("took %v", took)
		}
		if err != nil {
			if len(err.Error()) > maxError || !utf8.ValidString(err.Error()) {
				t.Errorf("error %q", err)
			}
			return
		}
		if len(body) > MaxBody || !utf8.Valid(body) || body[0] != '{' || !json.Valid(body) {
			t.Errorf("body %q", truncate(string(body), 200))
		}
		// It may take too long this time.
		if again, err := template.Render(in); err == nil && !bytes.Equal(body, again) {
			t.Errorf("rendered %q and then %q", truncate(string(body), 200), truncate(string(again), 200))
		}
	})
}

// FuzzJSON: json() reads what encoding/json reads, with the same values.
func FuzzJSON(f *testing.F) {
	for _, text := range []string{
		`{"a":[1,2.5e3,-0,true,false,null,"\u00e9\ud83d\ude00\n"],"a":{}}`, ` [ ] `, `"`, `{"a":1,}`, `01`, `-`, `1e400`,
		`18446744073709551616`, "\"\xff\"", `"\ud800"`, `{"b":1,"a":2,"b":3}`, `[[[[]]]]`, `nul`, `""""`,
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		v := parseJSON(text, maxWeight)
		d := json.NewDecoder(strings.NewReader(text))
		d.UseNumber()
		var want any
		valid := json.Valid([]byte(text))
		err, failed := v.(*types.Err)
		if failed {
			if valid && !strings.HasPrefix(err.String(), "JSON ") && len(text) <= MaxText {
				t.Errorf("refused: %v", err)
			}
			return
		}
		if !valid {
			t.Fatalf("read %q", text)
		}
		if err := d.Decode(&want); err != nil {
			t.Fatal(err)
		}
		body, writeErr := writeJSON(v)
		if writeErr != nil {
			return // It is larger than what was read: there were control characters.
		}
		var got any
		d = json.NewDecoder(bytes.NewReader(body))
		d.UseNumber()
		if err := d.Decode(&got); err != nil {
			t.Fatalf("wrote %q: %v", body, err)
		}
		if !sameJSON(want, got) {
			t.Errorf("read %q as %s", text, body)
		}
	})
}

// sameJSON compares values; whole numbers are exact up to 64 bits, others as far as a float64
// goes.
func sameJSON(a, b any) bool {
	switch a := a.(type) {
	case json.Number:
		n, ok := b.(json.Number)
		if !ok {
			return false
		}
		x, isInt := new(big.Int).SetString(string(a), 10)
		y, isInt2 := new(big.Int).SetString(string(n), 10)
		if isInt && isInt2 && x.BitLen() < 64 {
			return x.Cmp(y) == 0
		}
		f, err := a.Float64()
		g, err2 := n.Float64()
		return err == nil && err2 == nil && f == g
	case []any:
		l, ok := b.([]any)
		if !ok || len(a) != len(l) {
			return false
		}
		for i := range a {
			if !sameJSON(a[i], l[i]) {
				return false
			}
		}
		return true
	case map[string]any:
		m, ok := b.(map[string]any)
		if !ok || len(a) != len(m) {
			return false
		}
		for key := range a {
			v, ok := m[key]
			if !ok || !sameJSON(a[key], v) {
				return false
			}
		}
		return true
	}
	return a == b
}
