package expression

import (
	"fmt"
	"reflect"
	"sync"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/common/ast"
	"github.com/google/cel-go/common/env"
	"github.com/google/cel-go/common/operators"
	"github.com/google/cel-go/common/overloads"
	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
	"github.com/google/cel-go/common/types/traits"
	"github.com/google/cel-go/ext"
	"github.com/google/cel-go/interpreter"
	"github.com/google/cel-go/parser"
)

// kind is what an expression is for.
type kind int

const (
	filters kind = iota
	templates
	rules
)

// maxLength is how many characters an expression may have.
func (k kind) maxLength() int {
	if k == templates {
		return 16 << 10
	}
	return 4 << 10
}

// maxCost is what evaluating it may cost.
func (k kind) maxCost() int {
	if k == filters {
		return MaxFilterCost
	}
	return MaxCost
}

func (k kind) String() string {
	return [...]string{"filter", "template", "rule"}[k]
}

// variables are what an expression of the kind may name.
func (k kind) variables() map[string]*structType {
	all := map[string]*structType{"event": eventType, "webhook": webhookType}
	if k != filters {
		all["delivery"] = deliveryType
	}
	if k == templates {
		all["message"] = messageType
	}
	if k == rules {
		all["response"] = responseType
	}
	return all
}

// environments are made when they are first needed: it takes some milliseconds.
var environments = [...]func() *cel.Env{
	filters:   sync.OnceValue(func() *cel.Env { return newEnvironment(filters) }),
	templates: sync.OnceValue(func() *cel.Env { return newEnvironment(templates) }),
	rules:     sync.OnceValue(func() *cel.Env { return newEnvironment(rules) }),
}

func newEnvironment(k kind) *cel.Env {
	subset := env.NewLibrarySubset().AddExcludedFunctions(env.NewFunction(operators.Add), env.NewFunction(overloads.Matches))
	e, err := cel.NewCustomEnv(
		cel.StdLib(cel.StdLibSubset(subset)),
		// Later versions have unwrap(), whose lists nobody weighs.
		cel.OptionalTypes(cel.OptionalTypesVersion(1)),
		ext.TwoVarComprehensions(ext.TwoVarComprehensionsVersion(0)),
		cel.CrossTypeNumericComparisons(true),
		cel.ParserExpressionSizeLimit(k.maxLength()),
		cel.ASTValidators(cel.ValidateDurationLiterals(), cel.ValidateTimestampLiterals()),
	)
	if err != nil {
		panic(fmt.Sprintf("the expressions' environment: %v", err))
	}
	options := append([]cel.EnvOption{
		cel.CustomTypeProvider(provider{e.CELTypeProvider()}),
		cel.Macros(newMacros(e.Macros())...),
	}, append(functions(k.maxCost()), sets(k.maxCost())...)...)
	for name, t := range k.variables() {
		options = append(options, cel.Variable(name, t.celType))
	}
	e, err = e.Extend(append(options, cel.EagerlyValidateDeclarations(true))...)
	if err != nil {
		panic(fmt.Sprintf("the expressions' environment: %v", err))
	}
	return e
}

// newMacros takes the place of those macros that make lists and maps, so that these are
// weighed, and of those that double what they are called on.
func newMacros(all []cel.Macro) []cel.Macro {
	var macros []cel.Macro
	for _, m := range all {
		switch m.Function() {
		case operators.Map, operators.Filter, "transformList", "transformMap", "transformMapEntry":
			macros = append(macros, parser.NewReceiverMacro(m.Function(), m.ArgCount(), weighed(m.Expander())))
		}
	}
	return append(macros,
		parser.NewReceiverMacro("optMap", 2, optionalMacro("optional.of")),
		parser.NewReceiverMacro("optFlatMap", 2, optionalMacro("")))
}

func weighed(expand parser.MacroExpander) parser.MacroExpander {
	return func(factory parser.ExprHelper, target ast.Expr, args []ast.Expr) (ast.Expr, *cel.Error) {
		e, err := expand(factory, target, args)
		if err != nil || e == nil {
			return e, err
		}
		return factory.NewCall(weighFunction, e), nil
	}
}

// optionalMacro is optMap and optFlatMap. Those of cel-go copy the expression that they are
// called on, so that thirty in a row are a billion of it.
func optionalMacro(wrap string) parser.MacroExpander {
	return func(factory parser.ExprHelper, target ast.Expr, args []ast.Expr) (ast.Expr, *cel.Error) {
		if args[0].Kind() != ast.IdentKind {
			return nil, factory.NewError(args[0].ID(), "the first argument is the name of a variable")
		}
		const optional = "@optional"
		// A comprehension over nothing gives a name to a value.
		bind := func(name string, value, in ast.Expr) ast.Expr {
			return factory.NewComprehension(factory.NewList(), "#unused", name, value,
				factory.NewLiteral(types.False), factory.NewIdent(name), in)
		}
		value := bind(args[0].AsIdent(), factory.NewMemberCall("value", factory.NewIdent(optional)), args[1])
		if wrap != "" {
			value = factory.NewCall(wrap, value)
		}
		return bind(optional, target, factory.NewCall(operators.Conditional,
			factory.NewMemberCall("hasValue", factory.NewIdent(optional)), value, factory.NewCall("optional.none"))), nil
	}
}

// decorate puts in place of the lists and maps that are written in an expression those that
// are weighed, made once where all in them is constant; and compiled patterns in place of
// their text.
func decorate(patterns map[int64]*pattern) interpreter.InterpretableDecoratorV2 {
	return func(i interpreter.InterpretableV2) (interpreter.InterpretableV2, error) {
		switch i := i.(type) {
		case interpreter.InterpretableConst:
			if p := patterns[i.ID()]; p != nil {
				return interpreter.NewConstValue(i.ID(), patternText{i.Value().(types.String), p}), nil
			}
		case interpreter.InterpretableConstructor:
			m := &made{constructor: i}
			for _, part := range i.InitVals() {
				if _, isConst := part.(interpreter.InterpretableConst); !isConst {
					return m, nil
				}
			}
			if v := m.Eval(interpreter.EmptyActivation()); !types.IsError(v) {
				return interpreter.NewConstValue(i.ID(), v), nil
			}
			return m, nil
		}
		return i, nil
	}
}

// made is a list or map that is written in an expression. It counts as a call, so that its
// cost depends on what is in it.
type made struct {
	constructor interpreter.InterpretableConstructor
}

func (m *made) ID() int64 { return m.constructor.ID() }

func (m *made) Exec(frame *interpreter.ExecutionFrame) ref.Val {
	return types.LabelErrNode(m.ID(), weigh(m.constructor.Exec(frame)))
}

func (m *made) Eval(vars interpreter.Activation) ref.Val { return m.Exec(interpreter.AsFrame(vars)) }

func (m *made) Function() string {
	if m.constructor.Type() == types.MapType {
		return mapFunction
	}
	return listFunction
}

func (m *made) OverloadID() string { return m.Function() }

func (m *made) Args() []interpreter.InterpretableV2 { return m.constructor.InitVals() }

// activation has the values of the variables.
type activation struct {
	event, webhook, delivery, message, response object
}

func newActivation(in *Input) *activation {
	a := &activation{
		event:    object{structType: eventType},
		webhook:  object{structType: webhookType, value: reflect.ValueOf(&in.Webhook).Elem()},
		delivery: object{structType: deliveryType, value: reflect.ValueOf(&in.Delivery).Elem()},
		message:  object{structType: messageType},
		response: object{structType: responseType, response: in.Response},
	}
	if in.Event != nil {
		a.event.value = reflect.ValueOf(in.Event).Elem()
	}
	if in.Message != nil {
		a.message.value = reflect.ValueOf(in.Message).Elem()
	}
	if in.Response == nil {
		a.response.response = &Response{}
	}
	return a
}

func (a *activation) ResolveName(name string) (any, bool) {
	switch name {
	case "event":
		return &a.event, true
	case "webhook":
		return &a.webhook, true
	case "delivery":
		return &a.delivery, true
	case "message":
		return &a.message, true
	case "response":
		return &a.response, true
	}
	return nil, false
}

func (a *activation) Parent() interpreter.Activation { return nil }

var _ traits.FieldTester = (*object)(nil)
