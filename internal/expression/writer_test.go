package expression

import (
	"bytes"
	"encoding/json"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
	"github.com/google/go-cmp/cmp"
)

// encode is what encoding/json writes without its escapes for HTML.
func encode(t *testing.T, v any) string {
	t.Helper()
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		t.Fatal(err)
	}
	return strings.TrimSuffix(b.String(), "\n")
}

func TestWriteTexts(t *testing.T) {
	texts := []string{"", "a", `"\/`, "<>&'", "\b\f\n\r\t", "\x00\x1f\x7f\x80", "日本\u2028\u2029😀", "\xff\xfe\xc3", "a\xc3", "\xed\xa0\x80", "\ufffd"}
	for c := range rune(0x300) {
		texts = append(texts, "x"+string(c)+"y")
	}
	for _, s := range texts {
		got, err := writeJSON(types.String(s))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(encode(t, s), string(got)); diff != "" {
			t.Errorf("%q (-want +got):\n%s", s, diff)
		}
	}
}

func TestWriteNumbers(t *testing.T) {
	for _, f := range []float64{0, math.Copysign(0, -1), 1, -1.5, 0.1, 1e20, 1e21, 1e-6, 1e-7, 1.7976931348623157e308, 5e-324, 123456789.125} {
		got, err := writeJSON(types.Double(f))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(encode(t, f), string(got)); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
	for want, v := range map[string]ref.Val{
		"9223372036854775807":      types.Int(math.MaxInt64),
		"-9223372036854775808":     types.Int(math.MinInt64),
		"18446744073709551615":     types.Uint(math.MaxUint64),
		"true":                     types.True,
		"null":                     types.NullValue,
		`"2026-01-31T02:00:00.5Z"`: types.Timestamp{Time: time.Date(2026, 1, 31, 10, 0, 0, 5e8, time.FixedZone("", 8*3600))},
	} {
		got, err := writeJSON(v)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, string(got)); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
}

// A body may have 64 KiB, and not a byte more.
func TestWriteBound(t *testing.T) {
	for name, test := range map[string]struct {
		v       ref.Val
		wantErr string
	}{
		"at the bound":       {types.String(strings.Repeat("a", MaxBody-2)), ""},
		"beyond the bound":   {types.String(strings.Repeat("a", MaxBody-1)), "the body is larger than 64 KiB"},
		"a list of the same": {newList(types.NewStringList(types.DefaultTypeAdapter, []string{strings.Repeat("a", MaxBody/2), strings.Repeat("a", MaxBody/2)})), "the body is larger than 64 KiB"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := writeJSON(test.v)
			if message(err) != test.wantErr {
				t.Errorf("%d bytes, %v", len(got), err)
			}
		})
	}
}

func TestParseJSON(t *testing.T) {
	for name, test := range map[string]struct {
		text, want string
	}{
		"values":                   {` { "a" : [ 1 , -2.5e3, true,false , null, "x" ] , "b": {} } `, `{"a":[1,-2500,true,false,null,"x"],"b":{}}`},
		"exact numbers":            {`[9223372036854775807,-9223372036854775808,18446744073709551615,9007199254740993]`, `[9223372036854775807,-9223372036854775808,18446744073709551615,9007199254740993]`},
		"larger numbers":           {`[18446744073709551616]`, `[18446744073709552000]`},
		"numbers with a point":     {`[1.0,1e2,-0,-0.0]`, `[1,100,0,-0]`},
		"escapes":                  {`"\u00e9\n\"\\\/\ud83d\ude00\ud800"`, "\"é\\n\\\"\\\\/😀\ufffd\""},
		"the last of equal keys":   {`{"b":1,"a":2,"b":3,"a":4}`, `{"a":4,"b":3}`},
		"bytes that are no text":   {"[\"\xff\"]", "[\"\ufffd\"]"},
		"an escape as a key":       {`{"\u0061":1,"b":2}`, `{"a":1,"b":2}`},
		"nothing":                  {" ", "error: no JSON: the text is empty"},
		"no JSON":                  {"{a}", "error: no JSON: invalid character 'a' looking for beginning of object key string"},
		"something behind it":      {"{} {}", "error: no JSON: invalid character '{' after top-level value"},
		"a number that is too big": {"1e999", "error: JSON with the number 1e999, which is too large"},
		"32 deep":                  {strings.Repeat("[", 32) + strings.Repeat("]", 32), strings.Repeat("[", 32) + strings.Repeat("]", 32)},
		"33 deep":                  {strings.Repeat("[", 33) + strings.Repeat("]", 33), "error: JSON that is nested more than 32 deep"},
		"too long":                 {strings.Repeat(" ", MaxText) + "0", "error: no JSON is read from a text of more than 64 KiB"},
	} {
		t.Run(name, func(t *testing.T) {
			v := parseJSON(test.text, maxWeight)
			if err, failed := v.(*types.Err); failed {
				if diff := cmp.Diff(test.want, "error: "+err.String()); diff != "" {
					t.Errorf("(-want +got):\n%s", diff)
				}
				return
			}
			got, err := writeJSON(v)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, string(got)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// A filter reads less of it.
func TestParseJSONInFilters(t *testing.T) {
	filter, err := CompileFilter(`json(event.extra) == []`)
	if err != nil {
		t.Fatal(err)
	}
	in := sampleInput()
	in.Event.Extra = "[" + strings.Repeat("0,", 6_250) + "0]"
	if _, err := filter.Matches(in); message(err) != "JSON with more than 6250 keys and values" {
		t.Errorf("error %v", err)
	}
}
