package expression

import (
	"fmt"
	"regexp"
	"regexp/syntax"

	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
)

// Bounds of the pattern of matches(). Go's regular expressions take time in proportion to
// text and pattern, but a pattern of a few characters can have a thousand states, such as
// (.{1,30}){1,30}, and the memory of all of them.
const (
	maxPattern       = 512
	maxPatternStates = 1000
	// statesPerCost is how many characters times states a unit of cost pays for.
	statesPerCost = 16
)

// pattern is a compiled regular expression with the number of its states.
type pattern struct {
	*regexp.Regexp
	states int
}

func compilePattern(text string) (*pattern, error) {
	if len(text) > maxPattern {
		return nil, fmt.Errorf("a pattern may have %d bytes, not %d", maxPattern, len(text))
	}
	parsed, err := syntax.Parse(text, syntax.Perl)
	if err != nil {
		return nil, fmt.Errorf("no regular expression: %w", err)
	}
	states := patternStates(parsed)
	if states > maxPatternStates {
		return nil, fmt.Errorf("a pattern may have %d states, and this one has more: mind repetitions such as {1,100}", maxPatternStates)
	}
	compiled, err := regexp.Compile(text)
	if err != nil {
		return nil, fmt.Errorf("no regular expression: %w", err)
	}
	return &pattern{Regexp: compiled, states: states}, nil
}

// patternStates is about how many states a pattern has once its repetitions are written out.
func patternStates(re *syntax.Regexp) int {
	states := 1
	if re.Op == syntax.OpLiteral {
		states = len(re.Rune)
	}
	if re.Op == syntax.OpCharClass {
		// Large classes, such as \pL, are searched.
		states = 1 + len(re.Rune)/64
	}
	for _, sub := range re.Sub {
		states += patternStates(sub)
		if states > maxPatternStates {
			return states
		}
	}
	if re.Op == syntax.OpRepeat {
		states *= max(re.Min, re.Max, 1)
	}
	return states
}

// patternText is the literal that a pattern is written as, with the pattern compiled.
type patternText struct {
	types.String
	*pattern
}

// cost is that of matching a text.
func (p *pattern) cost(s types.String) int {
	return (len(s) + 1) * p.states / statesPerCost
}

// matches is for patterns that were written as a literal: compiling one may take a hundred
// times as long as matching it.
func matches(v, p ref.Val, limit int) ref.Val {
	s, ok := v.(types.String)
	if !ok {
		return types.NoSuchOverloadErr()
	}
	compiled, ok := p.(patternText)
	if !ok {
		return types.NewErr(literalPattern)
	}
	if compiled.cost(s) > limit {
		return types.NewErr("matches() of a text of %d bytes with a pattern of %d states takes too long", len(s), compiled.states)
	}
	return types.Bool(compiled.MatchString(string(s)))
}

const literalPattern = "the pattern of matches() must be written as a literal"
