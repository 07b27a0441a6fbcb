// Package condition answers the conditions of policies, which are expressions in CEL
// about what is attested, by whom and when:
//
//	v, err := verify.New(verify.Config{Roots: roots, Conditions: condition.CEL{}})
//
// It is apart from package verify so that who has no conditions does without CEL.
// docs/policy.md says what they can name.
//
// Source: https://github.com/google/cel-spec/blob/master/doc/langdef.md
package condition

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/env"
	celop "cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/overloads"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/interpreter"
	"cel.dev/cel-go/parser"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/verify"
)

// CEL is the language of conditions.
type CEL struct{}

var _ verify.Language = CEL{}

// condition is one of a policy, compiled.
type condition struct {
	text    string
	place   sigbox.PolicyPath
	env     *cel.Env
	ast     *cel.Ast
	regexp  int // instructions of its largest regular expression
	program cel.Program
}

// conditions are those of a policy.
type conditions []condition

// Compile implements [verify.Language]. Conditions are bounded as those of a policy are.
func (CEL) Compile(texts []string) (verify.Conditions, error) {
	if len(texts) > sigbox.MaxPolicyEntries {
		return nil, sigbox.Errorf(sigbox.TooLarge, "policy: conditions: %d of them, at most %d are read", len(texts), sigbox.MaxPolicyEntries)
	}
	out, err := compile(texts)
	if err != nil {
		return nil, err
	}
	return out, nil
}

func compile(texts []string) (conditions, error) {
	e, err := language()
	if err != nil {
		return nil, sigbox.Errorf(sigbox.Internal, "conditions: no environment to compile them in: %w", err)
	}
	out := make(conditions, 0, len(texts))
	for i, text := range texts {
		c := condition{text: text, place: sigbox.PolicyPath("conditions[" + strconv.Itoa(i) + "]"), env: e}
		if err := c.compile(); err != nil {
			return nil, err
		}
		out = append(out, c)
	}
	return out, nil
}

// language is CEL with what conditions can name. Nothing in it reads a clock, a file
// or the network, and what it makes of values is no larger than they are.
func language() (*cel.Env, error) {
	registry, err := types.NewRegistry()
	if err != nil {
		return nil, err
	}
	return cel.NewCustomEnv(
		cel.CustomTypeProvider(provider{registry}),
		cel.CustomTypeAdapter(registry),
		cel.StdLib(cel.StdLibSubset(&env.LibrarySubset{ExcludeFunctions: excluded()})),
		cel.Variable("predicate", cel.DynType),
		cel.Variable("predicateType", cel.StringType),
		cel.Variable("subject", cel.ListType(cel.ObjectType(subjectType))),
		cel.Variable("identity", cel.ObjectType(identityType)),
		cel.Variable("times", cel.ListType(cel.TimestampType)),
		cel.CrossTypeNumericComparisons(true),
		cel.DefaultUTCTimeZone(true),
		cel.EnableHiddenAccumulatorName(true),
	)
}

// excluded are functions of the standard library that are left out: parts of times in
// a time zone, whose rules are in files.
func excluded() []*env.Function {
	without := func(function, overload string) *env.Function {
		return env.NewFunction(function, env.NewOverload(overload, nil, nil))
	}
	return []*env.Function{
		without(overloads.TimeGetFullYear, overloads.TimestampToYearWithTz),
		without(overloads.TimeGetMonth, overloads.TimestampToMonthWithTz),
		without(overloads.TimeGetDayOfYear, overloads.TimestampToDayOfYearWithTz),
		without(overloads.TimeGetDayOfMonth, overloads.TimestampToDayOfMonthZeroBasedWithTz),
		without(overloads.TimeGetDate, overloads.TimestampToDayOfMonthOneBasedWithTz),
		without(overloads.TimeGetDayOfWeek, overloads.TimestampToDayOfWeekWithTz),
		without(overloads.TimeGetHours, overloads.TimestampToHoursWithTz),
		without(overloads.TimeGetMinutes, overloads.TimestampToMinutesWithTz),
		without(overloads.TimeGetSeconds, overloads.TimestampToSecondsWithTz),
		without(overloads.TimeGetMilliseconds, overloads.TimestampToMillisecondsWithTz),
	}
}

func (c *condition) compile() error {
	if len(c.text) > sigbox.MaxPolicyText {
		return sigbox.Errorf(sigbox.TooLarge, "policy: %w: %d bytes, at most %d are read", c.place, len(c.text), sigbox.MaxPolicyText)
	}
	compiled, issues := c.env.Compile(c.text)
	if issues.Err() != nil {
		first := issues.Errors()[0]
		return c.invalid(first.Location.Line(), first.Location.Column(), "%s", plainly(first.Message))
	}
	if out := compiled.OutputType(); !out.IsExactType(cel.BoolType) && !out.IsExactType(cel.DynType) {
		return c.invalid(1, 0, "expected an expression that is true or false, this one is of type %s", out)
	}
	c.ast = compiled
	if err := c.checkCalls(); err != nil {
		return err
	}
	program, err := c.env.Program(compiled, c.bounds()...)
	if err != nil {
		return c.invalid(1, 0, "%s", plainly(err.Error()))
	}
	c.program = program
	return nil
}

// invalid makes an error about the expression's text, whose columns count from 0.
func (c *condition) invalid(line, column int, format string, args ...any) error {
	at := ""
	if line > 0 {
		at = fmt.Sprintf("line %d, column %d: ", line, column+1)
	}
	return sigbox.Errorf(sigbox.Invalid, "policy: %w: %s%s", c.place, at, fmt.Sprintf(format, args...)).
		WithHint("docs/policy.md has what conditions can name")
}

// checkCalls refuses what could cost more than is counted.
func (c *condition) checkCalls() (err error) {
	native := c.ast.NativeRep()
	ast.PostOrderVisit(native.Expr(), ast.NewExprVisitor(func(e ast.Expr) {
		if err != nil {
			return
		}
		if e.Kind() == ast.MapKind {
			err = c.checkKeys(e.AsMap().Entries())
			return
		}
		args := e.AsCall().Args()
		switch e.AsCall().FunctionName() { // none, if it is no call
		case overloads.Matches:
			err = c.checkPattern(args[len(args)-1])
		case celop.Add:
			err = c.checkSum(e.ID(), args[0])
		}
	}))
	return err
}

// checkKeys makes sure that the keys of an object stand in the expression: to make one
// of a key takes as long as the key is.
func (c *condition) checkKeys(entries []ast.EntryExpr) error {
	for _, e := range entries {
		if key := e.AsMapEntry().Key(); key.Kind() != ast.LiteralKind {
			return c.invalidAt(key.ID(), "expected a key that is written out, found one that is made of values")
		}
	}
	return nil
}

// checkPattern makes sure that a regular expression stands in the expression: its size
// is then known, and whoever signs has no say in it.
func (c *condition) checkPattern(e ast.Expr) error {
	if e.Kind() != ast.LiteralKind {
		return c.invalidAt(e.ID(), "expected a regular expression in quotes, found one that is made of values")
	}
	text, _ := e.AsLiteral().Value().(string)
	size, err := types.RegexProgramSize(text)
	switch {
	case err != nil:
		return c.invalidAt(e.ID(), "not a regular expression (RE2): %s", printable(err.Error(), 200))
	case size > maxRegexp:
		return c.invalidAt(e.ID(), "the regular expression is too large: it compiles to %d instructions, at most %d are taken", size, maxRegexp)
	}
	c.regexp = max(c.regexp, size)
	return nil
}

// checkSum refuses sums of lists, which double in size at no cost. The macros map and
// filter make theirs of such, an element at a time.
func (c *condition) checkSum(id int64, first ast.Expr) error {
	gathered := first.AsIdent() == parser.HiddenAccumulatorName
	if gathered || !slices.Contains(c.ast.NativeRep().GetOverloadIDs(id), overloads.AddList) {
		return nil
	}
	return c.invalidAt(id, "lists are not added, and these may be lists: of others say what they are, as in int(a) + int(b)")
}

// invalidAt is invalid for a part of the expression.
func (c *condition) invalidAt(id int64, format string, args ...any) error {
	at := c.ast.NativeRep().SourceInfo().GetStartLocation(id)
	return c.invalid(at.Line(), at.Column(), format, args...)
}

// plainly takes out of a message what says nothing to people.
func plainly(message string) string {
	message, _, _ = strings.Cut(message, " (in container ''")
	syntax, isSyntax := strings.CutPrefix(message, "Syntax error: ")
	switch {
	case isSyntax && strings.Contains(syntax, "'<EOF>'"):
		return "the expression ends early"
	case isSyntax:
		found, _, _ := strings.Cut(syntax, " expecting ")
		return printable(unexpected().Replace(found), 200)
	case strings.Contains(message, "parsing time"):
		return "not a time by RFC 3339"
	case strings.HasPrefix(message, "no such overload"):
		return "its parts are not of the types that it compares or calls"
	}
	return printable(message, 200)
}

// unexpected says in one way what the parser says in many.
func unexpected() *strings.Replacer {
	const found = "unexpected "
	return strings.NewReplacer("mismatched input ", found, "extraneous input ", found, "no viable alternative at input ", found, "token recognition error at: ", found)
}

// printable makes text that may be the signer's safe to show, in so many bytes.
func printable(s string, most int) string {
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "…"
	}
	quoted := strconv.QuoteToGraphic(s)
	return strings.ReplaceAll(quoted[1:len(quoted)-1], `\"`, `"`)
}

// line gives the expression in one line, cut.
func (c *condition) line() string {
	return printable(strings.Join(strings.Fields(c.text), " "), 300)
}

// Hold implements [verify.Conditions].
func (all conditions) Hold(about *verify.Attested) (held []string, err error) {
	known, err := facts(about)
	if err != nil {
		return nil, err
	}
	for i := range all {
		if err := all[i].hold(known); err != nil {
			return held, err
		}
		held = append(held, all[i].line())
	}
	return held, nil
}

// hold says why the condition is not true of something.
func (c *condition) hold(about map[string]any) error {
	found, _, err := c.program.Eval(about)
	switch {
	case isCostly(err):
		return refuse("%s cannot be answered: %s: it takes more than %d steps", c.place, c.line(), maxSteps)
	case err != nil:
		return refuse("%s cannot be answered: %s: %s%s", c.place, c.line(), plainly(err.Error()), c.values(about)).
			WithHint("has(a.b) asks whether there is a member")
	case found == types.False:
		return refuse("%s is false: %s%s", c.place, c.line(), c.values(about))
	case found != types.True:
		return refuse("%s is neither true nor false: %s%s", c.place, c.line(), c.values(about))
	}
	return nil
}

// refuse makes the error for a condition that does not hold.
func refuse(format string, args ...any) *sigbox.Error {
	return sigbox.Errorf(sigbox.NotVerified, format, args...)
}

// isCostly reports whether an evaluation was ended, which happens to one that takes too
// long alone.
func isCostly(err error) bool {
	_, ended := errors.AsType[interpreter.EvalCancelledError](err)
	return ended
}

// maxShown is how many values a failure tells.
const maxShown = 4

// values tells of a condition that failed what its parts were, "" if that is not
// known. It is answered once more: who is not refused does not pay for it.
func (c *condition) values(about map[string]any) string {
	program, err := c.env.Program(c.ast, append(c.bounds(), cel.EvalOptions(cel.OptTrackState))...)
	if err != nil {
		return ""
	}
	_, details, _ := program.Eval(about) // its error has been told
	if details == nil || details.State() == nil {
		return ""
	}
	w := &witnessed{info: c.ast.NativeRep().SourceInfo(), state: details.State()}
	w.look(c.ast.NativeRep().Expr())
	if len(w.told) == 0 {
		return ""
	}
	return " (" + strings.Join(w.told, ", ") + ")"
}

// witnessed are the values of parts of an expression, as in `predicate.a is 7`.
type witnessed struct {
	info  *ast.SourceInfo
	state interpreter.EvalState
	told  []string
}

// look goes through an expression in its order. Of what is named it tells the value
// and not of its parts; of what is said of each element of a list, it tells the list.
func (w *witnessed) look(e ast.Expr) {
	switch e.Kind() {
	case ast.IdentKind, ast.SelectKind:
		w.tell(e)
	case ast.ComprehensionKind:
		w.look(e.AsComprehension().IterRange())
	case ast.ListKind:
		for _, element := range e.AsList().Elements() {
			w.look(element)
		}
	case ast.CallKind:
		call := e.AsCall()
		if call.FunctionName() == celop.Index {
			w.tell(e)
			return
		}
		if call.IsMemberFunction() {
			w.look(call.Target())
		}
		for _, arg := range call.Args() {
			w.look(arg)
		}
	}
}

// tell tells of one part, unless it was not come to or has been told.
func (w *witnessed) tell(e ast.Expr) {
	v, ok := w.state.Value(e.ID())
	if !ok || types.IsUnknownOrError(v) || len(w.told) == maxShown {
		return
	}
	text, err := cel.ExprToString(e, w.info)
	if err != nil {
		return
	}
	if one := printable(text, 100) + " is " + show(v); !slices.Contains(w.told, one) {
		w.told = append(w.told, one)
	}
}
