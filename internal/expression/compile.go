package expression

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
	_ "time/tzdata" // a container may have no time zones
	"unicode"
	"unicode/utf8"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/common/ast"
	"github.com/google/cel-go/common/overloads"
	"github.com/google/cel-go/common/types"
)

// Bounds of an expression beside its length.
const (
	// maxNodes is how many names, literals and operations it may have once macros are
	// written out.
	maxNodes = 5_000
	// maxOperations is how many of them may be calls, operators, lists, maps and macros. The
	// time that cel-go's type checker takes grows with the square: 500 take 30 ms, 5 000
	// lists 1.5 s and 1 GB.
	maxOperations = 500
	// maxMacros is how many macros may be within or after each other. The type checker takes
	// 40 s for 200.
	maxMacros = 10
)

// checked is an expression whose names and types are right.
type checked struct {
	kind     kind
	text     string
	ast      *ast.AST
	patterns map[int64]*pattern
}

// newProgram compiles an expression.
func newProgram(k kind, text string) (p *program, mistake *Mistake) {
	defer func() {
		if r := recover(); r != nil {
			p, mistake = nil, newMistake(text, problem{1, 1, fmt.Sprintf("it cannot be compiled: %v", r)})
		}
	}()
	c, mistake := check(k, text)
	if mistake != nil {
		return nil, mistake
	}
	p = &program{kind: k, text: text}
	ast.PreOrderVisit(c.ast.Expr(), ast.NewExprVisitor(func(e ast.Expr) {
		p.loops = p.loops || e.Kind() == ast.ComprehensionKind
	}))
	var err error
	if p.cel, err = c.plan(c.ast); err != nil {
		return nil, newMistake(text, problem{1, 1, err.Error()})
	}
	return p, nil
}

func check(k kind, text string) (*checked, *Mistake) {
	if strings.TrimSpace(text) == "" {
		return nil, newMistake(text, problem{1, 1, "a " + k.String() + " must not be empty"})
	}
	if !utf8.ValidString(text) {
		return nil, newMistake(text, problem{1, 1, "it is not valid UTF-8"})
	}
	if n := utf8.RuneCountInString(text); n > k.maxLength() {
		return nil, newMistake(text, problem{1, 1, fmt.Sprintf("a %s may have %d characters, and this one has %d", k, k.maxLength(), n)})
	}
	e := environments[k]()
	parsed, issues := e.Parse(text)
	if issues.Err() != nil {
		return nil, newMistake(text, newTranslator(k, text, nil).problems(issues)...)
	}
	if summary := tooLarge(parsed.NativeRep().Expr()); summary != "" {
		return nil, newMistake(text, problem{1, 1, summary})
	}
	checkKeys(parsed.NativeRep())
	typed, issues := e.Check(parsed)
	if issues.Err() != nil {
		return nil, newMistake(text, newTranslator(k, text, parsed.NativeRep()).problems(issues)...)
	}
	c := &checked{kind: k, text: text, ast: typed.NativeRep(), patterns: map[int64]*pattern{}}
	if found := slices.Concat(c.compilePatterns(), c.wrongTimeZones(), c.wrongType()); len(found) > 0 {
		return nil, newMistake(text, found...)
	}
	return c, nil
}

// plan makes a program of the expression or of a part of it.
func (c *checked) plan(e *ast.AST) (cel.Program, error) {
	return environments[c.kind]().PlanProgram(e,
		cel.CustomDecoratorV2(decorate(c.patterns)),
		cel.CostTracking(costs{}),
		cel.CostLimit(uint64(c.kind.maxCost())), //nolint:gosec // It is positive.
		cel.InterruptCheckFrequency(interruptFrequency))
}

// compilePatterns compiles those of matches(), by the id of their literal.
func (c *checked) compilePatterns() []problem {
	var found []problem
	ast.PreOrderVisit(c.ast.Expr(), ast.NewExprVisitor(func(e ast.Expr) {
		if e.Kind() != ast.CallKind || e.AsCall().FunctionName() != overloads.Matches {
			return
		}
		args := e.AsCall().Args()
		arg := args[len(args)-1]
		s, ok := types.String(""), false
		if arg.Kind() == ast.LiteralKind {
			s, ok = arg.AsLiteral().(types.String)
		}
		if !ok {
			found = append(found, c.problemAt(arg.ID(), literalPattern))
			return
		}
		compiled, err := compilePattern(string(s))
		if err != nil {
			found = append(found, c.problemAt(arg.ID(), err.Error()))
			return
		}
		c.patterns[arg.ID()] = compiled
	}))
	return found
}

// wrongTimeZones finds time zones that are not written as a literal, or that nobody knows:
// what an expression makes must not depend on the machine.
func (c *checked) wrongTimeZones() []problem {
	var found []problem
	ast.PreOrderVisit(c.ast.Expr(), ast.NewExprVisitor(func(e ast.Expr) {
		if e.Kind() != ast.CallKind || !isTimeZoneCall(e.AsCall()) {
			return
		}
		arg := e.AsCall().Args()[0]
		zone, ok := types.String(""), false
		if arg.Kind() == ast.LiteralKind {
			zone, ok = arg.AsLiteral().(types.String)
		}
		switch {
		case !ok:
			found = append(found, c.problemAt(arg.ID(), "a time zone must be written as a literal"))
		case !isTimeZone(string(zone)):
			found = append(found, c.problemAt(arg.ID(), `a time zone is a name such as "Asia/Shanghai", or an offset such as "+08:00"`))
		}
	}))
	return found
}

// isTimeZoneCall tells whether a call is one such as event.time.getHours("UTC").
func isTimeZoneCall(call ast.CallExpr) bool {
	return call.IsMemberFunction() && len(call.Args()) == 1 &&
		slices.Contains(timeFunctions, call.FunctionName())
}

var zoneOffset = regexp.MustCompile(`^[+-]?[0-9]{2}:[0-9]{2}$`)

func isTimeZone(s string) bool {
	if zoneOffset.MatchString(s) {
		return true
	}
	_, err := time.LoadLocation(s)
	return err == nil && s != "Local"
}

// wrongType says what the expression is where it is not what one of its kind must be.
func (c *checked) wrongType() []problem {
	t := c.ast.GetType(c.ast.Expr().ID())
	if t.Kind() == types.DynKind {
		return nil
	}
	line, column := 1, 1
	for _, char := range c.text {
		if !unicode.IsSpace(char) {
			break
		}
		column++
		if char == '\n' {
			line, column = line+1, 1
		}
	}
	switch {
	case c.kind == templates && t.Kind() != types.MapKind:
		return []problem{{line, column, fmt.Sprintf(`a template must be a map, such as {"text": "…"}; this is %s`, typeInWords(t))}}
	case c.kind != templates && t.Kind() != types.BoolKind:
		return []problem{{line, column, fmt.Sprintf("a %s must be true or false; this is %s", c.kind, typeInWords(t))}}
	}
	return nil
}

// tooLarge says what an expression has too much of.
func tooLarge(e ast.Expr) string {
	nodes, operations := 0, 0
	ast.PreOrderVisit(e, ast.NewExprVisitor(func(e ast.Expr) {
		nodes++
		switch e.Kind() {
		case ast.LiteralKind, ast.IdentKind, ast.SelectKind:
		default:
			operations++
		}
	}))
	switch {
	case nodes > maxNodes:
		return fmt.Sprintf("it has %d names, literals and operations, and %d are allowed", nodes, maxNodes)
	case operations > maxOperations:
		return fmt.Sprintf("it has %d operations, lists and maps, and %d are allowed", operations, maxOperations)
	case macros(e) > maxMacros:
		return fmt.Sprintf("more than %d macros such as map() are within or after each other", maxMacros)
	case typeDepth(e) > MaxDepth:
		return fmt.Sprintf("lists, maps and optional values are nested more than %d deep", MaxDepth)
	}
	return ""
}

// macros is how many macros are within or after each other.
func macros(e ast.Expr) int {
	deepest := 0
	for _, child := range children(e) {
		deepest = max(deepest, macros(child))
	}
	if e.Kind() == ast.ComprehensionKind {
		deepest++
	}
	return deepest
}

// typeDepth is at least how deep the type of an expression is, such as list(map(string, int)),
// and those of all in it. What a macro's variable adds is counted where the macro is.
func typeDepth(e ast.Expr) int {
	deepest := 0
	for _, child := range children(e) {
		deepest = max(deepest, typeDepth(child))
	}
	switch e.Kind() {
	case ast.ListKind, ast.MapKind:
		deepest++
	case ast.CallKind:
		switch e.AsCall().FunctionName() {
		case "optional.of", "of", "ofNonZeroValue", overloads.TypeConvertType:
			deepest++
		}
	case ast.ComprehensionKind:
		c := e.AsComprehension()
		all, start := typeDepth(c.IterRange()), c.AccuInit()
		deepest = max(all, max(0, all-1)+max(typeDepth(c.LoopStep()), typeDepth(c.Result())))
		if start.Kind() == ast.ListKind && start.AsList().Size() == 0 || start.Kind() == ast.MapKind && start.AsMap().Size() == 0 {
			return deepest // What map() begins with, for instance.
		}
		return deepest + typeDepth(start)
	default:
	}
	return deepest
}

// children are the expressions that one is made of.
func children(e ast.Expr) []ast.Expr {
	switch e.Kind() {
	case ast.CallKind:
		call := e.AsCall()
		if call.IsMemberFunction() {
			return append([]ast.Expr{call.Target()}, call.Args()...)
		}
		return call.Args()
	case ast.SelectKind:
		return []ast.Expr{e.AsSelect().Operand()}
	case ast.ListKind:
		return e.AsList().Elements()
	case ast.MapKind:
		var all []ast.Expr
		for _, entry := range e.AsMap().Entries() {
			all = append(all, entry.AsMapEntry().Key(), entry.AsMapEntry().Value())
		}
		return all
	case ast.StructKind:
		var all []ast.Expr
		for _, field := range e.AsStruct().Fields() {
			all = append(all, field.AsStructField().Value())
		}
		return all
	case ast.ComprehensionKind:
		c := e.AsComprehension()
		return []ast.Expr{c.IterRange(), c.AccuInit(), c.LoopCondition(), c.LoopStep(), c.Result()}
	default:
		return nil
	}
}

// checkKeys puts a call of keyFunction around the keys of maps that are no literals, so that
// only texts, numbers and bools are keys. With others, cel-go's type checker is lost:
// [1].map(a, {a: a}).map(a, {a: a}), eighteen times, takes it two minutes and 26 GB, since
// the type doubles each time.
func checkKeys(e *ast.AST) {
	factory := ast.NewExprFactory()
	next := ast.MaxID(e)
	ast.PostOrderVisit(e.Expr(), ast.NewExprVisitor(func(m ast.Expr) {
		if m.Kind() != ast.MapKind {
			return
		}
		entries := m.AsMap().Entries()
		for i, entry := range entries {
			key, value, optional := entry.AsMapEntry().Key(), entry.AsMapEntry().Value(), entry.AsMapEntry().IsOptional()
			if key.Kind() == ast.LiteralKind {
				continue
			}
			next++
			if place, ok := e.SourceInfo().GetOffsetRange(key.ID()); ok {
				e.SourceInfo().SetOffsetRange(next, place)
			}
			entries[i] = factory.NewMapEntry(entry.ID(), factory.NewCall(next, keyFunction, key), value, optional)
		}
	}))
}
