package expression

import (
	"github.com/google/cel-go/common/operators"
	"github.com/google/cel-go/common/overloads"
	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
	"github.com/google/cel-go/common/types/traits"
)

// Costs of the work on values, in units of about 100 ns. What is made costs more than what
// is read, so that MaxCost bounds memory, too.
const (
	// bytesRead and bytesMade are how many bytes of text a unit of cost pays for.
	bytesRead = 64
	bytesMade = 10
	// elementMade and entryMade are the costs of an element in a new list and of an entry
	// in a new map.
	elementMade = 2
	entryMade   = 10
	// timeZoneCost is that of loading a time zone from its file.
	timeZoneCost = 250
)

// The names of the constructors of lists and maps: see made.
const (
	listFunction = "@list"
	mapFunction  = "@map"
)

// costs counts what cel-go counts as one, or by the number of elements, though it takes time
// or memory in proportion to what is in them.
type costs struct{}

// CallCost implements interpreter.ActualCostEstimator.
func (costs) CallCost(function, _ string, args []ref.Val, result ref.Val) *uint64 {
	cost := 1
	if f := callCosts[function]; f != nil {
		cost += f(args, result)
	} else if len(args) > 0 {
		cost += readCost(args[0])
	}
	units := uint64(cost)
	return &units
}

// callCosts has the functions that do more than to read their first argument. Each call
// costs one more.
var callCosts = func() map[string]func(args []ref.Val, result ref.Val) int {
	made := func(_ []ref.Val, result ref.Val) int { return madeCost(result) }
	readAndMade := func(args []ref.Val, result ref.Val) int { return readCost(args[0]) + madeCost(result) }
	compared := func(args []ref.Val, _ ref.Val) int { return min(weight(args[0]), weight(args[1])) / bytesRead }
	sets := func(args []ref.Val, _ ref.Val) int { return setsCost(args[0], args[1]) }
	inTimeZone := func(args []ref.Val, _ ref.Val) int { return (len(args) - 1) * timeZoneCost }
	in := func(args []ref.Val, _ ref.Val) int { return readCost(args[1]) }
	none := func([]ref.Val, ref.Val) int { return 0 }
	all := map[string]func(args []ref.Val, result ref.Val) int{
		listFunction: func(args []ref.Val, _ ref.Val) int { return 10 + elementMade*len(args) },
		mapFunction:  func(args []ref.Val, _ ref.Val) int { return 30 + entryMade*len(args)/2 },

		operators.Add: made,
		weighFunction: made,

		operators.Equals:        compared,
		operators.NotEquals:     compared,
		operators.Less:          compared,
		operators.LessEquals:    compared,
		operators.Greater:       compared,
		operators.GreaterEquals: compared,
		operators.In:            in,
		operators.OldIn:         in,

		"sets.contains":   sets,
		"sets.intersects": sets,
		"sets.equivalent": sets,

		overloads.Matches: func(args []ref.Val, _ ref.Val) int {
			p, ok := args[1].(patternText)
			s, ok2 := args[0].(types.String)
			if !ok || !ok2 {
				return 0
			}
			return p.cost(s)
		},

		// An element of split() is a text, too.
		"split":           func(args []ref.Val, result ref.Val) int { return readCost(args[0]) + 2*madeCost(result) },
		"join":            readAndMade,
		"replace":         readAndMade,
		"lowerAscii":      readAndMade,
		"upperAscii":      readAndMade,
		"escape.slack":    readAndMade,
		"escape.markdown": readAndMade,
		"escape.dingtalk": readAndMade,
		"escape.discord":  readAndMade,
		"escape.feishu":   readAndMade,
		"escape.wecom":    readAndMade,
		"escape.html":     readAndMade,
		"json":            func(args []ref.Val, result ref.Val) int { return readCost(args[0]) + weight(result)/bytesMade },

		overloads.TypeConvertString: readAndMade,
		overloads.TypeConvertBytes:  readAndMade,
		overloads.TypeConvertDyn:    none,
		overloads.TypeConvertType:   none,
		keyFunction:                 none,
	}
	for _, name := range timeFunctions {
		all[name] = inTimeZone
	}
	return all
}()

// timeFunctions read a part of a time, in UTC or in a time zone.
var timeFunctions = []string{
	overloads.TimeGetFullYear, overloads.TimeGetMonth, overloads.TimeGetDayOfYear, overloads.TimeGetDate, overloads.TimeGetDayOfMonth,
	overloads.TimeGetDayOfWeek, overloads.TimeGetHours, overloads.TimeGetMinutes, overloads.TimeGetSeconds, overloads.TimeGetMilliseconds,
}

// readCost is that of going through a value.
func readCost(v ref.Val) int {
	switch v := v.(type) {
	case types.String:
		return len(v) / bytesRead
	case types.Bytes:
		return len(v) / bytesRead
	case *list:
		return v.weight / bytesRead
	}
	return 0
}

// madeCost is that of making a text, or a list or map of values that are there.
func madeCost(v ref.Val) int {
	switch v := v.(type) {
	case types.String:
		return len(v) / bytesMade
	case types.Bytes:
		return len(v) / bytesMade
	case traits.MutableLister:
		return elementMade // A macro appends one to its own.
	case traits.Lister:
		return elementMade * int(v.Size().(types.Int))
	case traits.Mapper:
		return elementMade * int(v.Size().(types.Int))
	}
	return 0
}

// setsCost is that of comparing each element of a with each of b: at most all of a with
// each, or all of b.
func setsCost(a, b ref.Val) int {
	sizeA, sizeB := int(a.(traits.Lister).Size().(types.Int)), int(b.(traits.Lister).Size().(types.Int))
	return min(sizeA*weight(b), sizeB*weight(a)) / bytesRead
}
