package expression

import (
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/cel-go/common/ast"
	"github.com/google/cel-go/common/operators"
	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
	"github.com/google/cel-go/common/types/traits"
)

// Bounds of Explain.
const (
	maxParts     = 16
	maxPartText  = 200
	maxPartValue = 200
)

// Explain returns the parts that the value of the expression came of: each condition that
// stands between && and ||, with its value, and behind it what is compared in it and the
// variables that it reads. Conditions that were not reached are told, too. There are at most
// 16 parts, each with up to 200 bytes of text and of value.
func (p *program) Explain(in Input) (parts []Part) {
	e := explainer{program: p, in: &in, source: scan(p.text), end: time.Now().Add(4 * MaxTime)}
	defer func() {
		_ = recover() // Less is better than nothing at all.
		parts = e.parts
	}()
	// What is needed only here is not kept.
	c, mistake := inSlot(in.Webhook.Namespace, func() (*checked, *Mistake) { return check(p.kind, p.text) })
	if mistake != nil {
		return nil
	}
	e.checked = c
	root := c.ast.Expr()
	conditions := e.conditions(root, nil)
	for _, condition := range conditions {
		if condition.Kind() == ast.LiteralKind {
			continue
		}
		// That of a single condition is the value of the whole.
		if len(conditions) > 1 || condition != root {
			e.add(condition)
		}
		e.operands(condition)
	}
	return e.parts
}

type explainer struct {
	program *program
	*checked
	in     *Input
	source source
	parts  []Part
	end    time.Time
}

// conditions are what stands between && and ||, and behind !.
func (e *explainer) conditions(expr ast.Expr, all []ast.Expr) []ast.Expr {
	if expr.Kind() == ast.CallKind {
		call := expr.AsCall()
		switch call.FunctionName() {
		case operators.LogicalAnd, operators.LogicalOr:
			for _, arg := range call.Args() {
				all = e.conditions(arg, all)
			}
			return all
		case operators.LogicalNot:
			inner := call.Args()[0]
			if inner.Kind() == ast.CallKind {
				switch inner.AsCall().FunctionName() {
				case operators.LogicalAnd, operators.LogicalOr:
					return e.conditions(inner, all)
				}
			}
		}
	}
	return append(all, expr)
}

// operands adds what a condition compares or calls a function on, and what it reads.
func (e *explainer) operands(condition ast.Expr) {
	if inner := unwrapped(condition); inner.Kind() == ast.CallKind && !e.isRead(inner) {
		for _, operand := range children(inner) {
			if operand = unwrapped(operand); !e.isRead(operand) && e.readsAny(operand) {
				e.add(operand)
			}
		}
	}
	e.reads(condition, nil)
}

// unwrapped is an expression without the call that newMacros puts around it, and without !.
func unwrapped(expr ast.Expr) ast.Expr {
	for expr.Kind() == ast.CallKind && slices.Contains([]string{weighFunction, operators.LogicalNot}, expr.AsCall().FunctionName()) {
		expr = expr.AsCall().Args()[0]
	}
	return expr
}

// reads adds the variables with the fields that are read of them.
func (e *explainer) reads(expr ast.Expr, loopVariables []string) {
	if root := rootOf(expr); root != "" && e.isRead(expr) {
		if !slices.Contains(loopVariables, root) {
			e.add(expr)
		}
		return
	}
	if expr.Kind() == ast.ComprehensionKind {
		c := expr.AsComprehension()
		e.reads(c.IterRange(), loopVariables)
		e.reads(c.AccuInit(), loopVariables)
		loopVariables = append(slices.Clone(loopVariables), c.IterVar(), c.IterVar2(), c.AccuVar())
		e.reads(c.LoopStep(), loopVariables)
		e.reads(c.Result(), loopVariables)
		return
	}
	for _, child := range children(expr) {
		e.reads(child, loopVariables)
	}
}

// readsAny says that an expression has a variable in it.
func (e *explainer) readsAny(expr ast.Expr) bool {
	return e.isRead(expr) || slices.ContainsFunc(children(expr), e.readsAny)
}

// isRead says that an expression is a variable with fields or indices behind it, such as
// response.json.?errcode.
func (e *explainer) isRead(expr ast.Expr) bool {
	root := rootOf(expr)
	_, ok := e.kind.variables()[root]
	return ok
}

// rootOf is the name of the variable that is read.
func rootOf(expr ast.Expr) string {
	switch expr.Kind() {
	case ast.IdentKind:
		return expr.AsIdent()
	case ast.SelectKind:
		return rootOf(expr.AsSelect().Operand())
	case ast.CallKind:
		call := expr.AsCall()
		switch call.FunctionName() {
		case operators.OptSelect, operators.Index, operators.OptIndex:
			if call.Args()[1].Kind() == ast.LiteralKind {
				return rootOf(call.Args()[0])
			}
		}
	default:
	}
	return ""
}

// add evaluates an expression and adds it, unless it is there.
func (e *explainer) add(expr ast.Expr) {
	if len(e.parts) == maxParts {
		return
	}
	text, offset := e.source.textOf(e.ast, expr)
	if text == "" || slices.ContainsFunc(e.parts, func(p Part) bool { return p.Text == text }) {
		return
	}
	part := Part{Text: truncate(printable(text), maxPartText)}
	part.Line, part.Column = e.source.place(offset)
	part.Value = truncate(printable(e.valueOf(expr)), maxPartValue)
	e.parts = append(e.parts, part)
}

// valueOf evaluates a part in the notation of CEL.
func (e *explainer) valueOf(expr ast.Expr) string {
	if time.Now().After(e.end) {
		return "not evaluated: it takes too long"
	}
	part := ast.NewCheckedAST(ast.NewAST(expr, e.ast.SourceInfo()), e.ast.TypeMap(), e.ast.ReferenceMap())
	program, err := e.plan(part)
	if err != nil {
		return "error: " + err.Error()
	}
	v, err := e.program.run(program, e.in)
	if err != nil {
		return "error: " + err.Error()
	}
	value := notation(v)
	if e.isAbsent(expr) {
		value = strings.TrimSpace(value + " (absent)")
	}
	return value
}

// isAbsent says that has() is false for a field.
func (e *explainer) isAbsent(expr ast.Expr) bool {
	if expr.Kind() != ast.SelectKind || expr.AsSelect().IsTestOnly() {
		return false
	}
	operand, ok := e.objectOf(expr.AsSelect().Operand())
	if !ok {
		return false
	}
	return operand.IsSet(types.String(expr.AsSelect().FieldName())) == types.False
}

// objectOf follows fields such as event.cluster.
func (e *explainer) objectOf(expr ast.Expr) (*object, bool) {
	switch expr.Kind() {
	case ast.IdentKind:
		v, _ := newActivation(e.in).ResolveName(expr.AsIdent())
		o, ok := v.(*object)
		return o, ok
	case ast.SelectKind:
		if operand, ok := e.objectOf(expr.AsSelect().Operand()); ok {
			o, ok := operand.Get(types.String(expr.AsSelect().FieldName())).(*object)
			return o, ok
		}
	default:
	}
	return nil, false
}

// notation is a value as an expression would write it, not much longer than maxPartValue.
func notation(v ref.Val) string {
	var b strings.Builder
	writeNotation(&b, v)
	return b.String()
}

func writeNotation(b *strings.Builder, v ref.Val) {
	if b.Len() > maxPartValue {
		return
	}
	switch v := v.(type) {
	case types.String:
		b.WriteString(quoted(string(v)))
	case types.Bytes:
		b.WriteString("b" + quoted(string(v)))
	case types.Uint:
		b.WriteString(strconv.FormatUint(uint64(v), 10) + "u")
	case types.Null:
		b.WriteString("null")
	case types.Timestamp:
		b.WriteString(`timestamp("` + v.UTC().Format(time.RFC3339Nano) + `")`)
	case types.Duration:
		b.WriteString(`duration("` + v.String() + `")`)
	case *types.Optional:
		if !v.HasValue() {
			b.WriteString("optional.none()")
			return
		}
		b.WriteString("optional.of(")
		writeNotation(b, v.GetValue())
		b.WriteByte(')')
	case *object:
		v.writeNotation(b)
	case traits.Lister:
		b.WriteByte('[')
		for i := range v.Size().(types.Int) {
			if i > 0 {
				b.WriteString(", ")
			}
			if b.Len() > maxPartValue {
				break
			}
			writeNotation(b, v.Get(i))
		}
		b.WriteByte(']')
	case traits.Mapper:
		b.WriteByte('{')
		separator := ""
		for it := v.Iterator(); it.HasNext() == types.True && b.Len() <= maxPartValue; separator = ", " {
			key := it.Next()
			b.WriteString(separator)
			writeNotation(b, key)
			b.WriteString(": ")
			writeNotation(b, v.Get(key))
		}
		b.WriteByte('}')
	default:
		b.WriteString(types.Format(v))
	}
}

// writeNotation writes the fields that are set.
func (o *object) writeNotation(b *strings.Builder) {
	var names []string
	for name, field := range o.fields {
		if field.isSet(o) {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return
	}
	slices.Sort(names)
	b.WriteByte('{')
	for i, name := range names {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(name + ": ")
		if v, err := o.fields[name].get(o); err == nil {
			writeNotation(b, v)
		}
	}
	b.WriteByte('}')
}

// quoted is the beginning of a text in quotes.
func quoted(s string) string {
	return strconv.Quote(truncate(s, maxPartValue))
}

// source is the text of an expression in tokens.
type source struct {
	characters []rune
	tokens     []token
}

// token is from one character up to another.
type token struct {
	start, end int
	text       string
}

// scan finds the tokens of a text that compiles. Comments and space are none.
func scan(text string) source {
	s := source{characters: []rune(text)}
	for i := 0; i < len(s.characters); {
		end := s.tokenEnd(i)
		t := string(s.characters[i:end])
		if strings.TrimSpace(t) != "" && !strings.HasPrefix(t, "//") {
			s.tokens = append(s.tokens, token{i, end, t})
		}
		i = end
	}
	return s
}

// tokenEnd is where the token that begins at a character ends.
func (s *source) tokenEnd(start int) int {
	at := func(i int) rune {
		if i < len(s.characters) {
			return s.characters[i]
		}
		return 0
	}
	isWord := func(c rune) bool {
		return c == '_' || '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
	}
	end := start
	if at(start) == '/' && at(start+1) == '/' {
		for end < len(s.characters) && at(end) != '\n' {
			end++
		}
		return end
	}
	for isWord(at(end)) {
		end++
	}
	if quote := at(end); quote == '"' || quote == '\'' {
		raw := strings.ContainsAny(string(s.characters[start:end]), "rR")
		if prefix := strings.ToLower(string(s.characters[start:end])); !slices.Contains([]string{"", "r", "b", "rb", "br"}, prefix) {
			return end
		}
		return s.textEnd(end, raw)
	}
	if end > start {
		return end
	}
	return start + 1
}

// textEnd is where a text in quotes ends.
func (s *source) textEnd(start int, raw bool) int {
	quote := string(s.characters[start])
	if rest := string(s.characters[start:min(len(s.characters), start+3)]); rest == strings.Repeat(quote, 3) {
		quote = rest
	}
	n := utf8.RuneCountInString(quote)
	for i := start + n; i < len(s.characters); i++ {
		if s.characters[i] == '\\' && !raw {
			i++
			continue
		}
		if i+n <= len(s.characters) && string(s.characters[i:i+n]) == quote {
			return i + n
		}
	}
	return len(s.characters)
}

// at is the index of the token with a character.
func (s *source) at(character int) int {
	i, found := slices.BinarySearchFunc(s.tokens, character, func(t token, c int) int {
		switch {
		case t.end <= c:
			return -1
		case t.start > c:
			return 1
		}
		return 0
	})
	if !found {
		return -1
	}
	return i
}

// textOf is an expression as it is written, and the character where it begins. cel-go knows
// one place for each operation, name and literal: the text is from the first of them to the
// last, with the brackets that belong to it.
func (s *source) textOf(e *ast.AST, expr ast.Expr) (string, int) {
	first, last := len(s.tokens), -1
	ast.PreOrderVisit(expr, ast.NewExprVisitor(func(x ast.Expr) {
		place, ok := e.SourceInfo().GetOffsetRange(x.ID())
		if !ok {
			return
		}
		i := s.at(int(place.Start))
		if i < 0 {
			return
		}
		first, last = min(first, i), max(last, i)
		if isSelection(x) {
			// The place is the dot: the name is behind it.
			for last = max(last, i); last+1 < len(s.tokens) && slices.Contains([]string{".", "?"}, s.tokens[last].text); {
				last++
			}
		}
	}))
	if last < 0 {
		return "", 0
	}
	first, last = s.balance(first, last)
	return string(s.characters[s.tokens[first].start:s.tokens[last].end]), s.tokens[first].start
}

func isSelection(e ast.Expr) bool {
	return e.Kind() == ast.SelectKind || e.Kind() == ast.CallKind && e.AsCall().FunctionName() == operators.OptSelect
}

// balance takes in the brackets that were opened or closed within, and the name of a function
// before the first bracket.
func (s *source) balance(first, last int) (int, int) {
	depth := 0
	for i := first; i <= last; i++ {
		switch s.tokens[i].text {
		case "(", "[", "{":
			depth++
		case ")", "]", "}":
			if depth--; depth < 0 && first > 0 {
				for open := 0; first > 0; {
					first--
					switch s.tokens[first].text {
					case ")", "]", "}":
						open++
					case "(", "[", "{":
						open--
					}
					if open < 0 {
						break
					}
				}
				depth = 0
			}
		}
	}
	for ; depth > 0 && last+1 < len(s.tokens); last++ {
		switch s.tokens[last+1].text {
		case "(", "[", "{":
			depth++
		case ")", "]", "}":
			depth--
		}
	}
	for first > 0 && (s.tokens[first].text == "(" || s.tokens[first].text == ".") && isName(s.tokens[first-1].text) ||
		first > 0 && s.tokens[first-1].text == "." {
		first--
	}
	return first, last
}

// isName says that a token is a name, and none of an operator.
func isName(s string) bool {
	c := s[0]
	return s != "in" && (c == '_' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z') && !strings.ContainsAny(s, `"'`)
}

// place is the line and column of a character.
func (s *source) place(character int) (line, column int) {
	line, column = 1, 1
	for _, c := range s.characters[:character] {
		column++
		if c == '\n' {
			line, column = line+1, 1
		}
	}
	return line, column
}
