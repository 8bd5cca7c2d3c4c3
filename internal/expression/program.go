package expression

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
	"github.com/google/cel-go/common/types/traits"
	"github.com/google/cel-go/interpreter"
)

// program is an expression that compiles.
type program struct {
	kind kind
	text string
	cel  cel.Program
	// loops says that it has a macro such as map(), which takes as long as lists are.
	loops bool
}

func compile(k kind, text string) (*program, error) { return compiled.get(k, text) }

// interruptFrequency is after how many turns of loops the time is looked at.
const interruptFrequency = 5

// run evaluates the program, or one of a part of it.
func (p *program) run(program cel.Program, in *Input) (v ref.Val, err error) {
	defer func() {
		if r := recover(); r != nil {
			v, err = nil, bounded(fmt.Errorf("internal error: %v", r))
		}
	}()
	slots := running
	if p.kind == filters {
		slots = filtering
	}
	slots.take(in.Webhook.Namespace)
	defer slots.give()
	vars := newActivation(in)
	if !p.loops || in.unhurried {
		v, _, err = program.Eval(vars)
	} else {
		ctx, stop := startStopwatch(MaxTime)
		defer stop()
		v, _, err = program.ContextEval(ctx, vars)
	}
	if err != nil {
		return nil, p.explainError(err)
	}
	return v, nil
}

// startStopwatch returns a context that ends after d, which is counted in two halves: a
// process that stands still for 100 ms, as a throttled container does, finds one of them
// gone and not both, and an expression that takes microseconds does not fail for it.
func startStopwatch(d time.Duration) (context.Context, func()) {
	const slices = 2
	ctx, cancel := context.WithCancel(context.Background())
	var mu sync.Mutex
	left := slices
	var timer *time.Timer
	mu.Lock()
	defer mu.Unlock()
	timer = time.AfterFunc(d/slices, func() {
		mu.Lock()
		defer mu.Unlock()
		if left--; left == 0 {
			cancel()
			return
		}
		timer.Reset(d / slices)
	})
	return ctx, func() {
		mu.Lock()
		defer mu.Unlock()
		left = 1
		timer.Stop()
		cancel()
	}
}

func (p *program) holds(in Input) (bool, error) {
	v, err := p.run(p.cel, &in)
	if err != nil {
		return false, err
	}
	b, ok := v.(types.Bool)
	if !ok {
		return false, fmt.Errorf("the value is %s, not true or false", inWords(v))
	}
	return bool(b), nil
}

func (p *program) render(in Input) ([]byte, error) {
	v, err := p.run(p.cel, &in)
	if err != nil {
		return nil, err
	}
	if _, ok := v.(traits.Mapper); !ok {
		return nil, fmt.Errorf("the value is %s, not a map", inWords(v))
	}
	body, err := writeJSON(v)
	if err != nil {
		return nil, bounded(err)
	}
	return body, nil
}

// explainError is an error of cel-go as a person reads it.
func (p *program) explainError(err error) error {
	var cancelled interpreter.EvalCancelledError
	switch {
	case errors.As(err, &cancelled) && cancelled.Cause == interpreter.CostLimitExceeded:
		return fmt.Errorf("it costs more than %d, which is what a %s may: mind loops over long lists", p.kind.maxCost(), p.kind)
	case errors.Is(err, interpreter.InterruptError{}):
		return fmt.Errorf("it takes longer than %v", MaxTime)
	}
	return bounded(err)
}

// maxError is how many bytes an error has at most.
const maxError = 512

func bounded(err error) error {
	message := strings.TrimPrefix(err.Error(), "internal error: ")
	return errors.New(truncate(printable(truncate(message, 2*maxError)), maxError))
}
