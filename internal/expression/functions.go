package expression

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/common/operators"
	"github.com/google/cel-go/common/overloads"
	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
	"github.com/google/cel-go/common/types/traits"
)

// functions are what expressions have beside the standard library and what is in its place:
// whatever makes a text or a list knows its size before it makes it, and refuses one that is
// too large. The cost of a call counts only once it is over, so a call itself must not take
// long either.
func functions(limit int) []cel.EnvOption {
	str, integer, texts := cel.StringType, cel.IntType, cel.ListType(cel.StringType)
	onText := func(name string, f func(s string) ref.Val) cel.EnvOption {
		return cel.Function(name, cel.MemberOverload("string_"+name, []*cel.Type{str}, str,
			cel.UnaryBinding(func(v ref.Val) ref.Val { return f(string(v.(types.String))) })))
	}
	escape := func(name string, replacements ...string) cel.EnvOption {
		e := newEscape(replacements...)
		return cel.Function("escape."+name,
			cel.Overload("escape_"+name+"_string", []*cel.Type{str}, str,
				cel.UnaryBinding(func(s ref.Val) ref.Val { return e.escape(s.(types.String)) })),
			cel.Overload("escape_"+name+"_string_int", []*cel.Type{str, integer}, str,
				cel.BinaryBinding(func(s, n ref.Val) ref.Val {
					bytes := n.(types.Int)
					if bytes < 0 {
						return types.NewErr("escape.%s() to %d bytes", name, bytes)
					}
					return e.escape(e.cut(s.(types.String), int(min(bytes, MaxText))))
				})))
	}
	return []cel.EnvOption{
		addition(),
		cel.Function(overloads.Matches,
			cel.Overload(overloads.Matches, []*cel.Type{str, str}, cel.BoolType),
			cel.MemberOverload(overloads.MatchesString, []*cel.Type{str, str}, cel.BoolType),
			cel.SingletonBinaryBinding(func(s, pattern ref.Val) ref.Val { return matches(s, pattern, limit) })),
		cel.Function("replace", cel.MemberOverload("string_replace_string_string", []*cel.Type{str, str, str}, str,
			cel.FunctionBinding(replace))),
		cel.Function("split", cel.MemberOverload("string_split_string", []*cel.Type{str, str}, texts,
			cel.BinaryBinding(split))),
		cel.Function("join",
			cel.MemberOverload("list_join", []*cel.Type{texts}, str,
				cel.UnaryBinding(func(l ref.Val) ref.Val { return join(l, types.String("")) })),
			cel.MemberOverload("list_join_string", []*cel.Type{texts, str}, str, cel.BinaryBinding(join))),
		onText("lowerAscii", func(s string) ref.Val { return otherCase(s, 'A', 'Z') }),
		onText("upperAscii", func(s string) ref.Val { return otherCase(s, 'a', 'z') }),
		onText("trim", func(s string) ref.Val { return types.String(strings.TrimSpace(s)) }),
		cel.Function("substring",
			cel.MemberOverload("string_substring_int", []*cel.Type{str, integer}, str,
				cel.BinaryBinding(func(s, start ref.Val) ref.Val { return substring(s, start) })),
			cel.MemberOverload("string_substring_int_int", []*cel.Type{str, integer, integer}, str,
				cel.FunctionBinding(substring))),
		cel.Function("truncate", cel.MemberOverload("string_truncate_int", []*cel.Type{str, integer}, str,
			cel.BinaryBinding(func(s, n ref.Val) ref.Val {
				bytes := n.(types.Int)
				if bytes < 0 {
					return types.NewErr("truncate() to %d bytes", bytes)
				}
				return types.String(truncate(string(s.(types.String)), int(min(bytes, MaxText))))
			}))),
		cel.Function("json", cel.Overload("json_string", []*cel.Type{str}, cel.DynType,
			cel.UnaryBinding(func(s ref.Val) ref.Val {
				return parseJSON(string(s.(types.String)), min(maxWeight, limit*bytesMade))
			}))),
		// Slack's own rule: these three, and nothing else.
		escape("slack", "&", "&amp;", "<", "&lt;", ">", "&gt;"),
		escape("html", "&", "&amp;", "<", "&lt;", ">", "&gt;", `"`, "&#34;", "'", "&#39;"),
		escape("markdown", markdownEscapes...),
		// None of these knows a mention in a text that is escaped as Markdown, but whoever
		// reads @all takes it for one.
		escape("dingtalk", append(slices.Clone(markdownEscapes), "@", "＠")...),
		escape("discord", append(slices.Clone(markdownEscapes), "@", "＠")...),
		// Feishu's Markdown takes entities of HTML for its own characters.
		escape("feishu", feishuEscapes...),
		// WeCom's Markdown knows no escape.
		escape("wecom", "&", "＆", "<", "＜", ">", "＞", "[", "［", "]", "］", "*", "＊", "`", "｀", "@", "＠"),
		cel.Function(keyFunction,
			cel.Overload(keyFunction+"_string", []*cel.Type{str}, str),
			cel.Overload(keyFunction+"_int", []*cel.Type{integer}, integer),
			cel.Overload(keyFunction+"_uint", []*cel.Type{cel.UintType}, cel.UintType),
			cel.Overload(keyFunction+"_bool", []*cel.Type{cel.BoolType}, cel.BoolType),
			cel.SingletonUnaryBinding(key)),
		// What macros make is weighed: see newMacros.
		cel.Function(weighFunction, cel.Overload(weighFunction, []*cel.Type{cel.TypeParamType("A")}, cel.TypeParamType("A"),
			cel.UnaryBinding(weigh))),
	}
}

// markdownEscapes are what CommonMark reads as something else than itself.
var markdownEscapes = []string{
	`\`, `\\`, "`", "\\`", "*", `\*`, "_", `\_`, "~", `\~`, "|", `\|`, "[", `\[`, "]", `\]`, "<", `\<`, ">", `\>`, "#", `\#`,
}

// feishuEscapes write as entities what Feishu's Markdown reads as something else than itself.
var feishuEscapes = func() []string {
	var all []string
	for _, c := range "&<>*_~`[]:\\" {
		all = append(all, string(c), fmt.Sprintf("&#%d;", c))
	}
	return all
}()

// sets are the functions of cel-go's ext.Sets, which refuse lists that would take too long.
func sets(limit int) []cel.EnvOption {
	anyList := cel.ListType(cel.TypeParamType("A"))
	set := func(name string, f func(a, b traits.Lister) ref.Val) cel.EnvOption {
		return cel.Function("sets."+name, cel.Overload("list_sets_"+name+"_list", []*cel.Type{anyList, anyList}, cel.BoolType,
			cel.BinaryBinding(func(a, b ref.Val) ref.Val {
				if setsCost(a, b) > limit {
					return types.NewErr("sets.%s() of lists that are too long", name)
				}
				return f(a.(traits.Lister), b.(traits.Lister))
			})))
	}
	return []cel.EnvOption{
		set("contains", containsAll),
		set("intersects", func(a, b traits.Lister) ref.Val {
			for i := range a.Size().(types.Int) {
				if b.Contains(a.Get(i)) == types.True {
					return types.True
				}
			}
			return types.False
		}),
		set("equivalent", func(a, b traits.Lister) ref.Val {
			if containsAll(a, b) != types.True {
				return types.False
			}
			return containsAll(b, a)
		}),
	}
}

// addition is the operator + as in the standard library, and bounded.
func addition() cel.EnvOption {
	overload := func(id string, a, b, result *cel.Type) cel.FunctionOpt {
		return cel.Overload(id, []*cel.Type{a, b}, result)
	}
	anyList := cel.ListType(cel.TypeParamType("A"))
	return cel.Function(operators.Add,
		overload(overloads.AddBytes, cel.BytesType, cel.BytesType, cel.BytesType),
		overload(overloads.AddDouble, cel.DoubleType, cel.DoubleType, cel.DoubleType),
		overload(overloads.AddDurationDuration, cel.DurationType, cel.DurationType, cel.DurationType),
		overload(overloads.AddDurationTimestamp, cel.DurationType, cel.TimestampType, cel.TimestampType),
		overload(overloads.AddTimestampDuration, cel.TimestampType, cel.DurationType, cel.TimestampType),
		overload(overloads.AddInt64, cel.IntType, cel.IntType, cel.IntType),
		overload(overloads.AddList, anyList, anyList, anyList),
		overload(overloads.AddString, cel.StringType, cel.StringType, cel.StringType),
		overload(overloads.AddUint64, cel.UintType, cel.UintType, cel.UintType),
		cel.SingletonBinaryBinding(add, traits.AdderType))
}

func add(a, b ref.Val) ref.Val {
	switch a := a.(type) {
	case types.String:
		if b, ok := b.(types.String); ok && len(a)+len(b) > MaxText {
			return errTextTooLong()
		}
	case types.Bytes:
		b, ok := b.(types.Bytes)
		if !ok {
			return types.NoSuchOverloadErr()
		}
		if len(a)+len(b) > MaxText {
			return errTextTooLong()
		}
		// That of cel-go appends to what others may hold.
		return append(slices.Clip(a), b...)
	case traits.MutableLister:
		// What a macro makes.
		if b, ok := b.(traits.Lister); ok && weightOfElements(a)+weightOfElements(b) > maxWeight {
			return errTooHeavy()
		}
	case traits.Lister:
		b, ok := b.(traits.Lister)
		if !ok {
			return types.NoSuchOverloadErr()
		}
		if weight(a)+weight(b) > maxWeight {
			return errTooHeavy()
		}
		// That of cel-go keeps the two, so that reading the first element of the sum of
		// a thousand lists goes through a thousand of them.
		elements := make([]ref.Val, 0, a.Size().(types.Int)+b.Size().(types.Int))
		for _, l := range []traits.Lister{a, b} {
			for i := range l.Size().(types.Int) {
				elements = append(elements, l.Get(i))
			}
		}
		return newList(types.NewRefValList(types.DefaultTypeAdapter, elements))
	}
	return a.(traits.Adder).Add(b)
}

func weightOfElements(l traits.Lister) int { return partWeight * int(l.Size().(types.Int)) }

// keyFunction is put around the keys of maps: see checkKeys. It cannot be written in an
// expression.
const keyFunction = "@key"

func key(v ref.Val) ref.Val {
	switch v.(type) {
	case types.String, types.Int, types.Uint, types.Bool:
		return v
	}
	return types.NewErr("%s: a %s", keyOfMap, v.Type().TypeName())
}

const keyOfMap = "a key of a map is a text, a whole number or a bool"

// weighFunction cannot be written in an expression.
const weighFunction = "@weigh"

func weigh(v ref.Val) ref.Val {
	switch v := v.(type) {
	case traits.Lister:
		return newList(v)
	case traits.Mapper:
		return newMapping(v)
	}
	return v
}

func errTextTooLong() ref.Val {
	return types.NewErr("a text may have %d KiB", MaxText>>10)
}

// newText is a text of size bytes that write makes.
func newText(size int, write func(b *strings.Builder)) ref.Val {
	if size > MaxText {
		return errTextTooLong()
	}
	var b strings.Builder
	b.Grow(size)
	write(&b)
	return types.String(b.String())
}

func replace(args ...ref.Val) ref.Val {
	s, from, to := string(args[0].(types.String)), string(args[1].(types.String)), string(args[2].(types.String))
	size := len(s) + strings.Count(s, from)*(len(to)-len(from))
	return newText(size, func(b *strings.Builder) { b.WriteString(strings.ReplaceAll(s, from, to)) })
}

func split(s, separator ref.Val) ref.Val {
	all, sep := string(s.(types.String)), string(separator.(types.String))
	if count := strings.Count(all, sep) + 1; partWeight*count+len(all) > maxWeight {
		return errTooHeavy()
	}
	parts := strings.Split(all, sep)
	elements := make([]ref.Val, len(parts))
	for i, part := range parts {
		elements[i] = types.String(part)
	}
	return newList(types.NewRefValList(types.DefaultTypeAdapter, elements))
}

func join(l, separator ref.Val) ref.Val {
	elements, sep := l.(traits.Lister), string(separator.(types.String))
	count := int(elements.Size().(types.Int))
	size := max(0, count-1) * len(sep)
	for i := range count {
		s, ok := elements.Get(types.Int(i)).(types.String)
		if !ok {
			return types.NewErr("join() of a list with a %s", elements.Get(types.Int(i)).Type().TypeName())
		}
		size += len(s)
	}
	return newText(size, func(b *strings.Builder) {
		for i := range count {
			if i > 0 {
				b.WriteString(sep)
			}
			b.WriteString(string(elements.Get(types.Int(i)).(types.String)))
		}
	})
}

// otherCase changes the case of the letters from first to last.
func otherCase(s string, first, last byte) ref.Val {
	return newText(len(s), func(b *strings.Builder) {
		for i := range len(s) {
			c := s[i]
			if first <= c && c <= last {
				c ^= 'a' - 'A'
			}
			b.WriteByte(c)
		}
	})
}

// substring counts characters (code points), as the functions of the same name elsewhere.
func substring(args ...ref.Val) ref.Val {
	s, start := string(args[0].(types.String)), args[1].(types.Int)
	end := types.Int(-1)
	if len(args) > 2 {
		end = args[2].(types.Int)
		if end < start {
			return types.NewErr("substring() from %d to %d", start, end)
		}
	}
	from, to, count := -1, len(s), types.Int(0)
	for i := range s {
		if count == start {
			from = i
		}
		if count == end {
			to = i
			break
		}
		count++
	}
	if count == start && from < 0 {
		from = len(s)
	}
	if from < 0 || end > count {
		return types.NewErr("substring() from %d on, of %d characters", start, utf8.RuneCountInString(s))
	}
	return types.String(s[from:to])
}

// cutMark is what stands at the end of a text that was cut.
const cutMark = "…"

// truncate cuts s to n bytes, between two characters.
func truncate(s string, n int) string {
	if len(s) <= n {
		return s
	}
	mark := cutMark
	if n < len(mark) {
		mark = ""
	}
	end := n - len(mark)
	for end > 0 && !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end] + mark
}

// escape replaces characters of one byte.
type escape struct {
	// grows is how much longer a text gets with each of them.
	grows    [256]int
	replacer *strings.Replacer
}

func newEscape(replacements ...string) *escape {
	e := &escape{replacer: strings.NewReplacer(replacements...)}
	for i := 0; i < len(replacements); i += 2 {
		e.grows[replacements[i][0]] = len(replacements[i+1]) - 1
	}
	return e
}

func (e *escape) escape(s types.String) ref.Val {
	size := len(s)
	for i := range len(s) {
		size += e.grows[s[i]]
	}
	if size == len(s) {
		return s
	}
	return newText(size, func(b *strings.Builder) { _, _ = e.replacer.WriteString(b, string(s)) })
}

// cut shortens s so that it has up to n bytes once it is escaped: between two characters, so
// never within what stands for one.
func (e *escape) cut(s types.String, n int) types.String {
	mark := cutMark
	if n < len(mark) {
		mark = ""
	}
	size, end := 0, 0
	for i := range len(s) {
		if utf8.RuneStart(s[i]) && size <= n-len(mark) {
			end = i
		}
		if size += 1 + e.grows[s[i]]; size > n {
			return s[:end] + types.String(mark)
		}
	}
	return s
}

func containsAll(l, elements traits.Lister) ref.Val {
	for i := range elements.Size().(types.Int) {
		if l.Contains(elements.Get(i)) != types.True {
			return types.False
		}
	}
	return types.True
}

// shown is a value as an error names it.
func shown(v ref.Val) string {
	switch v := v.(type) {
	case types.String:
		return fmt.Sprintf("%q", truncate(string(v), 64))
	case types.Int, types.Uint, types.Double, types.Bool, types.Null:
		return fmt.Sprint(v.Value())
	}
	return "a " + v.Type().TypeName()
}
