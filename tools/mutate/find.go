package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// finder finds the sites of a file and what to insert there.
type finder struct {
	pkg    *pkg
	fset   *token.FileSet
	path   string
	source []byte
	edits  edits
	// function is the declaration's name; results are the types of the innermost
	// function's or literal's.
	function string
	results  []string
	literal  bool
	// guarded are returns that are taken out with the condition above them.
	guarded map[*ast.ReturnStmt]bool
	// before is the statement before an if, where that sets what is asked for.
	before map[*ast.IfStmt]ast.Stmt
}

// find parses a file and gives it with all its mutants in it, and appends its
// sites to the package's.
func (p *pkg) find(path string, source []byte) ([]byte, error) {
	fset := token.NewFileSet()
	file, err := parser.ParseFile(fset, path, source, parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	f := &finder{
		pkg: p, fset: fset, path: path, source: source,
		guarded: map[*ast.ReturnStmt]bool{}, before: map[*ast.IfStmt]ast.Stmt{},
	}
	for _, d := range file.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			if d.Body != nil {
				f.function = nameOf(d)
				f.body(d.Type, d.Body, false)
			}
		case *ast.GenDecl:
			f.function = d.Tok.String()
			f.walk(d)
		}
	}
	return f.edits.apply(source), nil
}

// nameOf gives "F" or "(*T).M".
func nameOf(d *ast.FuncDecl) string {
	if d.Recv == nil {
		return d.Name.Name
	}
	t, star := d.Recv.List[0].Type, ""
	if p, ok := t.(*ast.StarExpr); ok {
		t, star = p.X, "*"
	}
	if g, ok := t.(*ast.IndexListExpr); ok {
		t = g.X
	}
	if g, ok := t.(*ast.IndexExpr); ok {
		t = g.X
	}
	name := t.(*ast.Ident).Name
	if star == "" {
		return name + "." + d.Name.Name
	}
	return "(*" + name + ")." + d.Name.Name
}

// body looks at a function or literal.
func (f *finder) body(t *ast.FuncType, body *ast.BlockStmt, literal bool) {
	before, within := f.results, f.literal
	f.results, f.literal = nil, literal
	if t.Results != nil {
		for _, field := range t.Results.List {
			for range max(1, len(field.Names)) {
				f.results = append(f.results, f.text(field.Type))
			}
		}
	}
	f.walk(body)
	f.results, f.literal = before, within
}

// last is the type of the last result.
func (f *finder) last() string {
	if len(f.results) == 0 {
		return ""
	}
	return f.results[len(f.results)-1]
}

func (f *finder) isError() bool { return slices.Contains(errorTypes, f.last()) }

// errorTypes are how errors are declared; the pointers are never nil where they
// are the declared result of what makes them.
var errorTypes = []string{"error", "*Failure", "*Error", "*sigbox.Error"}

func (f *finder) walk(n ast.Node) {
	ast.Inspect(n, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncLit:
			f.body(n.Type, n.Body, true)
			return false
		case *ast.BlockStmt:
			f.sequence(n.List)
		case *ast.CaseClause:
			f.sequence(n.Body)
		case *ast.IfStmt:
			f.conditional(n)
		case *ast.SwitchStmt:
			if n.Tag == nil {
				f.cases(n)
			}
		case *ast.ReturnStmt:
			if !f.guarded[n] {
				f.returned(n)
			}
		case *ast.AssignStmt:
			f.assigned(n)
		case *ast.CallExpr:
			f.bounds(n)
		}
		return true
	})
}

// sequence remembers which ifs ask for what the statement before them set.
func (f *finder) sequence(list []ast.Stmt) {
	for i, s := range list {
		asks, ok := s.(*ast.IfStmt)
		if !ok || i == 0 || asks.Init != nil {
			continue
		}
		sets, ok := list[i-1].(*ast.AssignStmt)
		if !ok {
			continue
		}
		for _, l := range sets.Lhs {
			if id, ok := l.(*ast.Ident); ok && mentions(asks.Cond, id.Name) {
				f.before[asks] = sets
			}
		}
	}
}

func mentions(e ast.Expr, name string) bool {
	found := false
	ast.Inspect(e, func(n ast.Node) bool {
		id, ok := n.(*ast.Ident)
		found = found || ok && id.Name == name
		return true
	})
	return found
}

func (f *finder) conditional(n *ast.IfStmt) {
	context := ""
	if before := firstOf(n.Init, f.before[n]); before != nil {
		context = f.text(before) + "; "
	}
	switch f.ends(n.Body.List) {
	case refuses:
		f.split(n.Cond, never, context)
	case accepts:
		f.split(n.Cond, always, context)
	}
	if other, ok := n.Else.(*ast.BlockStmt); ok && f.ends(other.List) == refuses {
		f.split(n.Cond, always, context)
	}
}

// firstOf gives the first that is there, nil if there is none.
func firstOf(a, b ast.Stmt) ast.Stmt {
	if a != nil {
		return a
	}
	return b
}

func (f *finder) cases(n *ast.SwitchStmt) {
	context := ""
	if n.Init != nil {
		context = f.text(n.Init) + "; "
	}
	for _, s := range n.Body.List {
		clause := s.(*ast.CaseClause)
		if len(clause.List) == 0 {
			continue
		}
		end := f.ends(clause.Body)
		for _, e := range clause.List {
			switch end {
			case refuses:
				f.split(e, never, context)
			case accepts:
				f.split(e, always, context)
			}
		}
	}
}

// ending is how a guarded block ends.
type ending int

const (
	continues ending = iota
	refuses
	accepts
)

func (f *finder) ends(block []ast.Stmt) ending {
	if len(block) == 0 {
		return continues
	}
	switch last := block[len(block)-1].(type) {
	case *ast.BranchStmt:
		return refuses
	case *ast.ReturnStmt:
		return f.endsIn(last)
	case *ast.AssignStmt:
		if notes(block) {
			return refuses
		}
	}
	return continues
}

func (f *finder) endsIn(r *ast.ReturnStmt) ending {
	if len(r.Results) == 0 {
		return refuses
	}
	last := r.Results[len(r.Results)-1]
	switch {
	case f.isError() && isName(last, "nil"):
		return accepts
	case f.isError():
		f.guarded[r] = isName(last, "") || refuser.MatchString(f.callee(last))
	case f.last() == "bool":
		f.guarded[r] = isName(last, "true") || isName(last, "false")
	case f.onlyText():
		return continues // a description for people
	}
	return refuses
}

// onlyText reports whether the function gives strings alone.
func (f *finder) onlyText() bool {
	return !slices.ContainsFunc(f.results, func(t string) bool { return t != "string" })
}

// refuser are the functions that always give an error.
var refuser = regexp.MustCompile(`(?i)^errors\.New$|(^|\.)(errorf|mismatch|algorithmmismatch|refuse(for)?|toofew|notverified|malformed|bad(der|tile)|wrong|syntax|toolong|toomany|wrongkind|hint|with(hint|cause))$`)

// callee names what is called by an expression, "" if it is no call.
func (f *finder) callee(e ast.Expr) string {
	call, ok := e.(*ast.CallExpr)
	if !ok {
		return ""
	}
	switch fun := call.Fun.(type) {
	case *ast.Ident:
		return fun.Name
	case *ast.SelectorExpr:
		if x, ok := fun.X.(*ast.Ident); ok {
			return x.Name + "." + fun.Sel.Name
		}
		return "." + fun.Sel.Name
	}
	return "?"
}

// notes reports whether a block does nothing but note down constants, as in
// missing = "a signature".
func notes(block []ast.Stmt) bool {
	for _, s := range block {
		a, ok := s.(*ast.AssignStmt)
		if !ok || a.Tok != token.ASSIGN {
			return false
		}
		for _, r := range a.Rhs {
			if _, ok := r.(*ast.BasicLit); !ok && !isName(r, "true") && !isName(r, "false") {
				return false
			}
		}
	}
	return true
}

// isName reports whether e is a name, "" for any but true, false and nil.
func isName(e ast.Expr, name string) bool {
	id, ok := e.(*ast.Ident)
	return ok && (id.Name == name || name == "" && !slices.Contains([]string{"true", "false", "nil"}, id.Name))
}

// split makes a site of each check in a condition: what is joined by || where the
// condition refuses, by && where it accepts.
func (f *finder) split(e ast.Expr, to change, context string) {
	joins, other := token.LOR, always
	if to == always {
		joins, other = token.LAND, never
	}
	switch e := e.(type) {
	case *ast.ParenExpr:
		f.split(e.X, to, context)
		return
	case *ast.UnaryExpr:
		if e.Op == token.NOT && joined(e.X) != token.ILLEGAL {
			f.split(e.X, other, context)
			return
		}
	case *ast.BinaryExpr:
		if e.Op == joins {
			f.split(e.X, to, context)
			f.split(e.Y, to, context)
			return
		}
		if joined(e.X) == joins || joined(e.Y) == joins {
			for _, x := range []ast.Expr{e.X, e.Y} {
				if joined(x) == joins {
					f.split(x, to, context)
				}
			}
			return
		}
	}
	f.condition(e, to, context)
}

// joined gives the operator of a condition of several, without its parentheses.
func joined(e ast.Expr) token.Token {
	switch e := e.(type) {
	case *ast.ParenExpr:
		return joined(e.X)
	case *ast.BinaryExpr:
		if e.Op == token.LOR || e.Op == token.LAND {
			return e.Op
		}
	}
	return token.ILLEGAL
}

// condition makes a site of an expression of type bool.
func (f *finder) condition(e ast.Expr, to change, context string) {
	name := "mutantNever"
	if to == always {
		name = "mutantAlways"
	}
	f.wrap(e, name, f.site(e, context+f.text(e), to))
}

func (f *finder) returned(r *ast.ReturnStmt) {
	if len(r.Results) == 0 {
		return
	}
	last := r.Results[len(r.Results)-1]
	switch {
	case f.isError() && (isName(last, "nil") || f.literal):
		// What a literal hands on, its caller does: that is a site.
	case f.isError() && len(r.Results) == len(f.results):
		s := f.site(r, f.text(r), dropped)
		if f.last() == "error" {
			f.wrap(last, "mutantError", s)
			return
		}
		f.wrap(last, "mutantZero", s)
	case f.isError():
		f.handedOn(r)
	case f.last() == "bool" && len(r.Results) == len(f.results):
		f.answer(last)
	}
}

// handedOn is for return f(), where f has several results.
func (f *finder) handedOn(r *ast.ReturnStmt) {
	s := f.site(r, f.text(r), dropped)
	var kept strings.Builder
	for i := range len(f.results) - 1 {
		kept.WriteString("mutantResult" + strconv.Itoa(i) + ", ")
	}
	at := f.offset(r.Pos())
	f.edits.open(at, "{ "+kept.String()+"mutantErr := ")
	f.edits.remove(at, len("return"))
	f.edits.close(f.offset(r.End()), "; return "+kept.String()+"mutantError("+strconv.Itoa(s.number)+", mutantErr) }")
}

// answer makes sites of a result of type bool. Which answer refuses is not known.
func (f *finder) answer(e ast.Expr) {
	switch {
	case isName(e, "true"):
		f.condition(e, never, "return ")
	case isName(e, "false"):
		f.condition(e, always, "return ")
	case joined(e) == token.LAND:
		f.split(e, always, "return ")
	case joined(e) == token.LOR:
		f.split(e, never, "return ")
	default:
		f.condition(e, always, "return ")
		f.condition(e, never, "return ")
	}
}

// assigned looks at truths that are kept for later, as in fits = a == b.
func (f *finder) assigned(a *ast.AssignStmt) {
	if len(a.Rhs) != 1 || len(a.Lhs) != 1 {
		return
	}
	context := f.text(a.Lhs[0]) + " = "
	switch e := a.Rhs[0].(type) {
	case *ast.BinaryExpr:
		switch e.Op {
		case token.LAND:
			f.split(e, always, context)
		case token.LOR:
			f.split(e, never, context)
		case token.EQL, token.NEQ, token.LSS, token.LEQ, token.GTR, token.GEQ:
			f.condition(e, always, context)
			f.condition(e, never, context)
		}
	case *ast.CallExpr:
		if isName(a.Lhs[0], "ok") {
			f.condition(e, always, context)
		}
	}
}

// Bounds are constants named so, and numbers given to what reads.
var (
	bound   = regexp.MustCompile(`^[mM]ax[A-Z]`)
	bounded = regexp.MustCompile(`\.(Array|String|string|Bytes|bytes|Lines|Natural|natural)$`)
)

// bounds makes a site of each bound among a call's arguments.
func (f *finder) bounds(call *ast.CallExpr) {
	callee := f.callee(call)
	if refuser.MatchString(callee) {
		return
	}
	for _, arg := range call.Args {
		name := arg
		if s, ok := arg.(*ast.SelectorExpr); ok {
			name = s.Sel
		}
		id, isIdent := name.(*ast.Ident)
		_, isNumber := arg.(*ast.BasicLit)
		isNumber = isNumber && arg.(*ast.BasicLit).Kind == token.INT
		if isIdent && bound.MatchString(id.Name) || isNumber && bounded.MatchString(callee) {
			s := f.site(arg, f.text(call.Fun)+"(… "+f.text(arg)+" …)", endless)
			f.edits.open(f.offset(arg.Pos()), "(")
			f.edits.close(f.offset(arg.End()), "<<mutantShift("+strconv.Itoa(s.number)+"))")
		}
	}
}

// site adds a site.
func (f *finder) site(n ast.Node, text string, to change) *site {
	s := &site{
		number: f.pkg.first + len(f.pkg.sites), pkg: f.pkg.path, function: f.function, text: text, change: to,
		file: f.path, position: f.fset.Position(n.Pos()), judged: f.pkg.judged,
	}
	f.pkg.sites = append(f.pkg.sites, s)
	return s
}

// wrap puts a call around an expression.
func (f *finder) wrap(e ast.Expr, name string, s *site) {
	f.edits.open(f.offset(e.Pos()), name+"("+strconv.Itoa(s.number)+", ")
	f.edits.close(f.offset(e.End()), ")")
}

func (f *finder) offset(p token.Pos) int { return f.fset.Position(p).Offset }

// text gives a node's source in one line, cut where it is long.
func (f *finder) text(n ast.Node) string {
	const most = 160
	s := []rune(strings.Join(strings.Fields(string(f.source[f.offset(n.Pos()):f.offset(n.End())])), " "))
	if len(s) > most {
		return string(s[:most]) + "…"
	}
	return string(s)
}
