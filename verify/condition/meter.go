package condition

import (
	"regexp"

	"cel.dev/cel-go/cel"
	celop "cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/overloads"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
	"cel.dev/cel-go/interpreter"

	"github.com/sigbox/sigbox"
)

// Bounds on answering a condition. The predicate can be large and is its signer's, so
// that what an answer costs must not be a matter of that.
const (
	// maxSteps is about how many parts of the expression are answered, those of what is
	// said of each element as often as there are elements.
	maxSteps = 2_000_000
	// maxRegexp is how many instructions a regular expression may compile to.
	maxRegexp = 1 << 10
	// maxCompared is how many values are counted of what is compared.
	maxCompared = 1 << 21
	// maxCounted is how deep they are counted: JSON is not that deep, nor is what an
	// expression can make of it.
	maxCounted = 1 << 14
	// valuesOfStep is how many values are compared in the time of a step, bytesOfStep
	// how many bytes of text are gone through, or by how many instructions of a regular
	// expression one byte.
	valuesOfStep, bytesOfStep, matchesOfStep = 8, 16, 64
)

// meter counts what calls cost, by the sizes of what they are given: the interpreter
// does not look into lists and objects that are compared.
type meter struct {
	sizes  *types.SizeCalculator
	regexp uint64 // instructions
}

// bounds are the options of a program. It is not to be optimized besides: that would
// replace calls that pay first.
func (c *condition) bounds() []cel.ProgramOption {
	m := &meter{
		sizes:  types.NewSizeCalculator(types.SizeCalculatorMaxDepth(maxCounted), types.SizeCalculatorMaxTraversal(maxCompared)),
		regexp: uint64(max(c.regexp, 1)),
	}
	return []cel.ProgramOption{cel.CostTracking(m), cel.CostLimit(maxSteps), cel.CustomDecoratorV2(payFirst)}
}

// CallCost gives what a call costs, in steps. It is of cost.ActualCostEstimator.
func (m *meter) CallCost(function, _ string, args []ref.Val, _ ref.Val) *uint64 {
	steps := uint64(1)
	for i, arg := range args {
		length, ok := lengthOf(arg)
		switch {
		case ok && function == overloads.Matches && i == 0:
			steps += length * m.regexp / matchesOfStep
		case ok:
			steps += length / bytesOfStep
		case function == celop.Equals, function == celop.NotEquals, function == celop.In:
			steps += uint64(m.sizes.AggregateSize(arg)) / valuesOfStep
		}
	}
	return &steps
}

// lengthOf gives the length of what is gone through byte by byte.
func lengthOf(v ref.Val) (uint64, bool) {
	switch v := v.(type) {
	case types.String:
		return uint64(len(v)), true
	case types.Bytes:
		return uint64(len(v)), true
	}
	return 0, false
}

// payFirst replaces the calls whose time is not in proportion to that of their
// arguments. The interpreter counts what a call has cost when it is done.
func payFirst(i interpreter.InterpretableV2) (interpreter.InterpretableV2, error) {
	if c, ok := i.(interpreter.InterpretableConstructor); ok {
		return literal{c}, nil
	}
	call, ok := i.(interpreter.InterpretableCall)
	if !ok || len(call.Args()) != 2 {
		return i, nil
	}
	p := prepaid{InterpretableCall: call}
	switch call.Function() {
	case celop.Equals:
		p.answer = types.Equal
	case celop.NotEquals:
		p.answer = func(l, r ref.Val) ref.Val { return types.Bool(types.Equal(l, r) != types.True) }
	case celop.In:
		p.answer = contained
	case overloads.Matches:
		pattern, ok := call.Args()[1].(interpreter.InterpretableConst)
		if !ok {
			return nil, sigbox.Errorf(sigbox.Internal, "a regular expression that is made of values was let be")
		}
		text, _ := pattern.Value().(types.String)
		re, err := regexp.Compile(string(text))
		if err != nil {
			return nil, err
		}
		p.answer = matching(re)
	default:
		return i, nil
	}
	return p, nil
}

// literal is a list or an object that stands in the expression. Of an object only the
// values are made of others: checkKeys has looked at it.
type literal struct {
	interpreter.InterpretableConstructor
}

// Exec is of interpreter.InterpretableV2.
func (l literal) Exec(frame *interpreter.ExecutionFrame) ref.Val {
	made := l.InterpretableConstructor.Exec(frame)
	if m, ok := made.(traits.Mapper); ok {
		return object{m}
	}
	return made
}

// Eval is of interpreter.Interpretable.
func (l literal) Eval(about interpreter.Activation) ref.Val {
	return interpreter.EvalActivation(about, l.Exec)
}

// prepaid is a call that is counted before it is made.
type prepaid struct {
	interpreter.InterpretableCall
	answer func(l, r ref.Val) ref.Val
}

// Exec is of interpreter.InterpretableV2.
func (p prepaid) Exec(frame *interpreter.ExecutionFrame) ref.Val {
	args := p.Args()
	l := args[0].Exec(frame)
	if types.IsUnknownOrError(l) {
		return l
	}
	r := args[1].Exec(frame)
	if types.IsUnknownOrError(r) {
		return r
	}
	if costs := frame.CostTracker(); costs != nil {
		costs.EvalBinary(frame, p.ID(), p, l, r, types.False) // ends it all if it is too much
	}
	return p.answer(l, r)
}

// Eval is of interpreter.Interpretable.
func (p prepaid) Eval(about interpreter.Activation) ref.Val {
	return interpreter.EvalActivation(about, p.Exec)
}

func contained(v, in ref.Val) ref.Val {
	if c, ok := in.(traits.Container); ok {
		return c.Contains(v)
	}
	return types.NewErr("no such overload")
}

func matching(re *regexp.Regexp) func(l, r ref.Val) ref.Val {
	return func(l, _ ref.Val) ref.Val {
		if text, ok := l.(types.String); ok {
			return types.Bool(re.MatchString(string(text)))
		}
		return types.NewErr("no such overload")
	}
}
