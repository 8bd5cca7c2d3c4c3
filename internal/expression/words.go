package expression

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/common"
	"github.com/google/cel-go/common/ast"
	"github.com/google/cel-go/common/decls"
	"github.com/google/cel-go/common/operators"
	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
)

// inWords says what kind of value one is.
func inWords(v ref.Val) string {
	if t, ok := v.Type().(*types.Type); ok {
		return typeInWords(t)
	}
	return "a " + v.Type().TypeName()
}

func typeInWords(t *types.Type) string {
	switch t.Kind() {
	case types.BoolKind:
		return "true or false"
	case types.IntKind, types.UintKind:
		return "a whole number"
	case types.DoubleKind:
		return "a number"
	case types.StringKind:
		return "a text"
	case types.BytesKind:
		return "bytes"
	case types.ListKind:
		return "a list"
	case types.MapKind:
		return "a map"
	case types.TimestampKind:
		return "a time"
	case types.DurationKind:
		return "a duration"
	case types.NullTypeKind:
		return "null"
	case types.TypeKind:
		return "a type"
	case types.StructKind:
		return t.TypeName()
	default:
		if t.TypeName() == types.OptionalType.TypeName() {
			return "an optional value"
		}
		return "a " + cel.FormatCELType(t)
	}
}

// translator says in plain words what cel-go finds wrong with an expression.
type translator struct {
	kind  kind
	lines []string
	// nodes are those of the expression by their id, where it could be parsed.
	nodes map[int64]ast.Expr
}

func newTranslator(k kind, text string, parsed *ast.AST) *translator {
	t := &translator{kind: k, lines: strings.Split(text, "\n"), nodes: map[int64]ast.Expr{}}
	if parsed != nil {
		ast.PreOrderVisit(parsed.Expr(), ast.NewExprVisitor(func(e ast.Expr) { t.nodes[e.ID()] = e }))
	}
	return t
}

func (t *translator) problems(issues *cel.Issues) []problem {
	var found, nowhere []problem
	unread := map[int]bool{}
	for _, e := range issues.Errors() {
		p := problem{line: e.Location.Line(), column: e.Location.Column() + 1}
		isSyntax := strings.HasPrefix(e.Message, "Syntax error") || reserved.MatchString(e.Message)
		if isSyntax && unread[p.line] {
			// The rest of the line is read as something that it was not meant to be.
			continue
		}
		unread[p.line] = unread[p.line] || isSyntax
		p.summary = t.summary(e, &p)
		switch {
		case p.summary == "":
		case e.Location == common.NoLocation:
			nowhere = append(nowhere, problem{1, 1, p.summary})
		default:
			if !isSyntax {
				p.column += t.afterDot(&p)
			}
			found = append(found, p)
		}
	}
	if len(found) > 0 {
		// The others tell that the parser gave up.
		return found
	}
	return nowhere
}

var (
	undefinedField = regexp.MustCompile(`^undefined field '(.*)'$`)
	undeclared     = regexp.MustCompile(`^undeclared reference to '(.*)' \(in container '.*'\)$`)
	noOverload     = regexp.MustCompile(`^found no matching overload for '(.*)' applied to '(.*)'$`)
	noFields       = regexp.MustCompile(`^type '.*' does not support field selection$`)
	noElements     = regexp.MustCompile(`^expression of type '(.*)' cannot be range of a comprehension`)
	wrongToken     = regexp.MustCompile(`^Syntax error: (?:mismatched|extraneous) input '(.*)' expecting `)
	noAlternative  = regexp.MustCompile(`^Syntax error: no viable alternative at input '(.*)'$`)
	noToken        = regexp.MustCompile(`^Syntax error: token recognition error at: '(.*)'$`)
	missingToken   = regexp.MustCompile(`^Syntax error: missing (.*) at '.*'$`)
	tooDeep        = regexp.MustCompile(`recursion (?:limit|depth) exceeded`)
	wrongType      = regexp.MustCompile(`^expected type '(.*)' but found '(.*)'$`)
	reserved       = regexp.MustCompile(`^reserved identifier: (.*)$`)
	gaveUp         = regexp.MustCompile(`^error recovery `)
)

// summary is a message of cel-go in plain words. It may move the place, which is behind the
// name where cel-go puts it.
func (t *translator) summary(e *cel.Error, p *problem) string {
	message := strings.ReplaceAll(e.Message, "\n", " ")
	match := func(r *regexp.Regexp) []string { return r.FindStringSubmatch(message) }
	if m := match(undefinedField); m != nil {
		t.moveTo(p, m[1])
		return fmt.Sprintf("undefined field '%s'%s", m[1], didYouMean(m[1], t.fieldsBeside(e.ExprID)))
	}
	if m := match(undeclared); m != nil {
		return t.undeclared(m[1], e.ExprID, p)
	}
	if m := match(noOverload); m != nil {
		return t.noOverload(m[1], m[2], p)
	}
	if match(noFields) != nil {
		return strings.Replace(message, "does not support field selection", "has no fields", 1)
	}
	if m := match(noElements); m != nil {
		return fmt.Sprintf("this goes through a list or a map, not a %s", m[1])
	}
	for _, r := range []*regexp.Regexp{wrongToken, noAlternative} {
		if m := match(r); m != nil {
			return t.unexpected(m[1], p)
		}
	}
	if m := match(noToken); m != nil {
		if strings.ContainsAny(m[1], `"'`) && utf8.RuneCountInString(m[1]) > 1 {
			return "a text without the quote that ends it"
		}
		return t.unexpected(m[1], p)
	}
	if m := match(wrongType); m != nil {
		return fmt.Sprintf("this must be %s, and is %s", m[1], m[2])
	}
	if m := match(reserved); m != nil {
		return fmt.Sprintf("unexpected '%s'%s", m[1], meant[m[1]])
	}
	if m := match(missingToken); m != nil {
		return "missing " + m[1]
	}
	switch {
	case tooDeep.MatchString(message):
		return "operations and brackets are nested too deep"
	case gaveUp.MatchString(message):
		return "this cannot be read"
	}
	if plain, ok := plainWords[message]; ok {
		return plain
	}
	return strings.TrimPrefix(message, "Syntax error: ")
}

var plainWords = map[string]string{
	"invalid argument to has() macro": "has() takes a field, such as has(event.cluster)",
	"invalid timestamp argument":      `timestamp() takes a time such as "2026-01-31T10:00:00Z"`,
	"invalid duration argument":       `duration() takes a duration such as "90s"`,
	"argument is not an identifier":   "the first argument is a name for the elements",
}

// meant is what other languages write otherwise.
var meant = map[string]string{
	"=": "; == compares", "&": "; && is and", "|": "; || is or", "and": "; && is and", "or": "; || is or",
	"not": "; ! is not", "if": "; a condition is a ? b : c", "`": "; texts stand in \" or '",
}

// unexpected names the token at a place.
func (t *translator) unexpected(token string, p *problem) string {
	rest := t.rest(p)
	if token == "<EOF>" || rest == "" && p.line == len(t.lines) {
		return "unexpected end: something is missing"
	}
	token = strings.TrimSpace(token)
	return fmt.Sprintf("unexpected '%s'%s", truncate(token, 40), meant[token])
}

// rest is the line of a problem from its place on.
func (t *translator) rest(p *problem) string {
	if p.line < 1 || p.line > len(t.lines) {
		return ""
	}
	line := []rune(t.lines[p.line-1])
	return string(line[min(len(line), max(0, p.column-1)):])
}

// afterDot is how many characters behind the place a name begins: cel-go's place of
// event.cluster is the dot.
func (t *translator) afterDot(p *problem) int {
	rest := t.rest(p)
	if !strings.HasPrefix(rest, ".") {
		return 0
	}
	return len(rest) - len(strings.TrimLeft(rest, ".? \t"))
}

// moveTo moves the place to a name that is before it or behind it: cel-go's place of f(x) is
// the bracket.
func (t *translator) moveTo(p *problem, name string) {
	rest := t.rest(p)
	if strings.HasPrefix(rest, name) {
		return
	}
	line := []rune(t.lines[min(max(p.line, 1), len(t.lines))-1])
	before := strings.TrimRight(string(line[:min(p.column-1, len(line))]), " \t")
	if strings.HasSuffix(before, name) {
		p.column = utf8.RuneCountInString(before) - utf8.RuneCountInString(name) + 1
		return
	}
	if i := strings.Index(rest, "."+name); i >= 0 {
		p.column += utf8.RuneCountInString(rest[:i]) + 1
	}
}

// undeclared is for a name of a variable or function that there is not.
func (t *translator) undeclared(name string, id int64, p *problem) string {
	node := t.nodes[id]
	if node == nil || node.Kind() != ast.CallKind {
		if t.kind != rules && name == "response" {
			return "a " + t.kind.String() + " sees no response: only rules about an answer do"
		}
		if t.kind == filters && name == "delivery" {
			return "a filter sees no delivery: there is none yet"
		}
		if slices.ContainsFunc(functionNames(t.kind), func(f string) bool { return strings.HasPrefix(f, name+".") }) {
			return "" // What is told is the function behind it.
		}
		t.moveTo(p, name)
		return fmt.Sprintf("unknown name '%s'%s", name, didYouMean(name, slices.Collect(maps.Keys(t.kind.variables()))))
	}
	if call := node.AsCall(); call.IsMemberFunction() && call.Target().Kind() == ast.IdentKind && !t.isVariable(call.Target().AsIdent()) {
		t.moveTo(p, name)
		name = call.Target().AsIdent() + "." + name
	}
	t.moveTo(p, name)
	if name == "format" {
		return "unknown function 'format': join texts with +, and make texts of numbers with string()"
	}
	return fmt.Sprintf("unknown function '%s'%s", name, didYouMean(name, functionNames(t.kind)))
}

func (t *translator) isVariable(name string) bool {
	_, ok := t.kind.variables()[name]
	return ok
}

// functionNames are those that may be written, macros too.
func functionNames(k kind) []string {
	var names []string
	for name := range environments[k]().Functions() {
		if name[0] >= 'A' && !strings.ContainsAny(name, "_@") {
			names = append(names, name)
		}
	}
	for _, m := range environments[k]().Macros() {
		names = append(names, m.Function())
	}
	return names
}

// fieldsBeside are the names of the fields that could have been meant.
func (t *translator) fieldsBeside(id int64) []string {
	if node := t.nodes[id]; node != nil {
		var operand ast.Expr
		switch node.Kind() {
		case ast.SelectKind:
			operand = node.AsSelect().Operand()
		case ast.CallKind: // .?
			operand = node.AsCall().Args()[0]
		default:
		}
		if s := t.structOf(operand); s != nil {
			return slices.Collect(maps.Keys(s.fields))
		}
	}
	var all []string
	for _, s := range structTypes {
		all = slices.AppendSeq(all, maps.Keys(s.fields))
	}
	return all
}

// structOf is the type of an expression such as event.cluster.
func (t *translator) structOf(e ast.Expr) *structType {
	if e == nil {
		return nil
	}
	switch e.Kind() {
	case ast.IdentKind:
		return t.kind.variables()[e.AsIdent()]
	case ast.SelectKind:
		if s := t.structOf(e.AsSelect().Operand()); s != nil {
			if field := s.fields[e.AsSelect().FieldName()]; field != nil {
				return structTypes[field.celType.TypeName()]
			}
		}
	default:
	}
	return nil
}

// noOverload is for a function or operator with values of other types than it takes.
func (t *translator) noOverload(name, applied string, p *problem) string {
	if name == keyFunction {
		return keyOfMap + ", not " + strings.TrimSuffix(strings.TrimPrefix(applied, "("), ")")
	}
	if symbol, ok := operators.FindReverse(name); ok && symbol != "" {
		hint := ""
		if name == operators.Add && strings.Contains(applied, "string") {
			hint = "; string() makes a text of a number"
		}
		return fmt.Sprintf("%s does not take %s%s", symbol, applied, hint)
	}
	switch name {
	case operators.Conditional:
		return "? and : do not take " + applied
	case operators.Index, operators.OptIndex:
		return "[] does not take " + applied
	}
	t.moveTo(p, name)
	if function := environments[t.kind]().Functions()[name]; function != nil {
		return fmt.Sprintf("%s() does not take %s; it is %s", name, applied, signatures(function))
	}
	return fmt.Sprintf("%s() does not take %s", name, applied)
}

// signatures are the ways in which a function may be called.
func signatures(function *decls.FunctionDecl) string {
	var all []string
	for _, overload := range function.OverloadDecls() {
		var arguments []string
		for _, t := range overload.ArgTypes() {
			arguments = append(arguments, cel.FormatCELType(t))
		}
		if overload.IsMemberFunction() {
			all = append(all, fmt.Sprintf("%s.%s(%s)", arguments[0], function.Name(), strings.Join(arguments[1:], ", ")))
			continue
		}
		all = append(all, fmt.Sprintf("%s(%s)", function.Name(), strings.Join(arguments, ", ")))
	}
	const most = 4
	if len(all) > most {
		all = append(all[:most], "…")
	}
	return strings.Join(all, " or ")
}

// didYouMean suggests the nearest of some names, if one is near.
func didYouMean(name string, names []string) string {
	slices.Sort(names)
	most := 1
	if len(name) > 4 {
		most = 2
	}
	best, distance := "", most+1
	for _, candidate := range names {
		d := editDistance(strings.ToLower(name), strings.ToLower(candidate))
		if d < distance {
			best, distance = candidate, d
		}
	}
	if best == "" {
		return ""
	}
	return "; did you mean " + best + "?"
}

// editDistance is how many characters must be added, removed, replaced or swapped with their
// neighbour.
func editDistance(a, b string) int {
	const longest = 64
	if len(a) > longest || len(b) > longest {
		return longest
	}
	// distance[i][j] is that of the first i characters of a and the first j of b.
	distance := make([][]int, len(a)+1)
	for i := range distance {
		distance[i] = make([]int, len(b)+1)
		for j := range distance[i] {
			switch {
			case i == 0 || j == 0:
				distance[i][j] = i + j
			case a[i-1] == b[j-1]:
				distance[i][j] = distance[i-1][j-1]
			default:
				distance[i][j] = 1 + min(distance[i-1][j], distance[i][j-1], distance[i-1][j-1])
			}
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				distance[i][j] = min(distance[i][j], distance[i-2][j-2]+1)
			}
		}
	}
	return distance[len(a)][len(b)]
}
