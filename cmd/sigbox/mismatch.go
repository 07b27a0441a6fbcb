package main

import (
	"cmp"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"text/tabwriter"
	"unicode/utf8"

	"github.com/spf13/pflag"

	"github.com/sigbox/sigbox"
)

// mismatch is a certificate's identity beside the one that was expected.
type mismatch struct {
	found   sigbox.Identity
	columns []column
	// others is how many identities the policy has besides.
	others int
}

// column is one thing that was compared.
type column struct {
	name            string // "subject", "issuer", or an extension's
	expected, found string
	same            bool
}

// compare puts what is expected of an identity beside what was found. Extensions
// are there where they differ.
func compare(want sigbox.IdentityMatch, id sigbox.Identity) []column {
	columns := []column{
		newColumn("subject", want.Subject, want.SubjectRegexp, id.Subject),
		newColumn("issuer", want.Issuer, want.IssuerRegexp, id.Issuer),
	}
	for arc := range sigbox.MaxExtensionArc + 1 {
		name, exact := want.Extensions.Field(arc)
		if exact == nil {
			continue
		}
		_, pattern := want.ExtensionsRegexp.Field(arc)
		_, found := id.Extensions.Field(arc)
		if *exact+*pattern == "" {
			continue
		}
		// What is not there is never as wanted, not even by an expression for nothing.
		if c := newColumn(name, *exact, *pattern, *found); !c.same || *found == "" {
			c.same = false
			columns = append(columns, c)
		}
	}
	return columns
}

func newColumn(name, exact, pattern, found string) column {
	c := column{name: name, expected: exact, found: found, same: exact == found}
	if pattern != "" {
		re, err := regexp.Compile(`\A(?:` + pattern + `)\z`)
		c.expected, c.same = "/"+pattern+"/", err == nil && re.MatchString(found)
		if part, err := regexp.MatchString(pattern, found); err == nil && part && !c.same {
			c.expected += " as a whole" // which other tools do not ask for
		}
	}
	return c
}

// nearest compares with the identity of a policy that differs least.
func nearest(wanted []sigbox.IdentityMatch, id sigbox.Identity) *mismatch {
	if len(wanted) == 0 {
		return nil
	}
	all := make([][]column, len(wanted))
	for i, want := range wanted {
		all[i] = compare(want, id)
	}
	differ := func(c []column) (n int) {
		for _, one := range c {
			if !one.same {
				n++
			}
		}
		return n
	}
	best := slices.MinFunc(all, func(a, b []column) int { return cmp.Compare(differ(a), differ(b)) })
	return &mismatch{found: id, columns: best, others: len(wanted) - 1}
}

// wideRows is how wide rows may be, in characters, before they are broken up.
const wideRows = 110

// rows shows both identities, one below the other, each thing in its column; when
// that gets too wide, each thing by itself.
func (m *mismatch) rows() string {
	if rows := m.columnwise(); !slices.ContainsFunc(strings.Split(rows, "\n"), func(row string) bool { return utf8.RuneCountInString(row) > wideRows }) {
		return rows
	}
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	for _, c := range m.columns {
		fmt.Fprintf(w, "  %s\texpected\t%s\n", c.name, printable(c.expected))
		fmt.Fprintf(w, "  %s\tfound\t%s\n", c.mark(), printable(c.shown()))
	}
	_ = w.Flush() // to memory
	return b.String()
}

func (m *mismatch) columnwise() string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	row := func(name string, cell func(column) string) {
		fmt.Fprintf(w, "  %s", name)
		for _, c := range m.columns {
			fmt.Fprintf(w, "\t%s", printable(cell(c)))
		}
		fmt.Fprintln(w)
	}
	row("", func(c column) string { return c.name })
	row("expected", func(c column) string { return c.expected })
	row("found", column.shown)
	row("", column.mark)
	_ = w.Flush() // to memory
	return b.String()
}

// shown is what was found, for people.
func (c column) shown() string { return cmp.Or(c.found, "(none)") }

// mark says whether it is what was expected.
func (c column) mark() string {
	if c.same {
		return ""
	}
	return "differs"
}

const onlyIf = "only if you know by another way that this is who should have signed"

// acceptIdentity says how the identity that was found would be accepted, as a
// command to run or, with a policy in a file, as a line for it.
func (r *reporter) acceptIdentity(a artifact, m *mismatch) string {
	args := r.argsFor(a)
	if m == nil || !m.fitForCommand(args) {
		return ""
	}
	if r.flags.policy.file != "" {
		return fmt.Sprintf("%s, add to the identities in %s: {subject: %q, issuer: %q}", onlyIf, r.flags.policy.file, m.found.Subject, m.found.Issuer)
	}
	return onlyIf + ", run: " + r.flags.command(args, r.flags.policy.accepting(m))
}

// argsFor are the arguments that stand for an artifact: what was typed, or of that
// what stands for this one alone, since others may have other signers.
func (r *reporter) argsFor(a artifact) []string {
	if r.artifacts == 1 {
		return r.args
	}
	if len(a.by) == 0 {
		return []string{a.String()}
	}
	var args []string
	for _, v := range a.by {
		args = append(args, v.String())
	}
	return args
}

// fitForCommand reports whether all that would be typed shows as what it is.
func (m *mismatch) fitForCommand(args []string) bool {
	said := m.found.Subject + m.found.Issuer + strings.Join(args, "")
	for _, c := range m.columns {
		said += c.found
	}
	return printable(said) == said
}

// accepting are the flags to replace so that what was found is accepted: those that
// differ.
func (f *policyFlags) accepting(m *mismatch) map[string][]string {
	flags := make(map[string][]string)
	for _, c := range m.columns {
		switch {
		case c.same:
		case c.name == "subject":
			flags[identityFlag], flags[identityFlag+"-regexp"] = []string{c.found}, nil
		case c.name == "issuer":
			flags[issuerFlag], flags[issuerFlag+"-regexp"] = []string{c.found}, nil
		}
		for _, g := range f.github.all() {
			if g.extension == c.name && *g.value != "" {
				flags[githubFlag+g.flag] = nonEmpty(c.found)
			}
		}
	}
	if len(f.extensions) > 0 {
		flags[extensionFlag] = m.extensions(f.extensions)
	}
	return flags
}

// extensions gives each NAME=VALUE as it was found, where the certificate has it.
func (m *mismatch) extensions(wanted []string) []string {
	var out []string
	for _, nameValue := range wanted {
		name, _, _ := strings.Cut(nameValue, "=")
		if found := extensionByName(&m.found.Extensions, name); found != nil && *found != "" {
			out = append(out, name+"="+*found)
		}
	}
	return out
}

func nonEmpty(s string) []string {
	if s == "" {
		return nil
	}
	return []string{s}
}

// command is the command line that was typed, but for these arguments and with
// flags replaced: by the values given, or by none.
func (f *verifyFlags) command(args []string, replaced map[string][]string) string {
	words := []string{"sigbox", "verify"}
	flags := f.words(replaced)
	var quoted []string
	dashed := false
	for _, a := range args {
		quoted = append(quoted, shellQuote(a))
		dashed = dashed || a != "-" && strings.HasPrefix(a, "-")
	}
	if dashed {
		words = append(append(words, flags...), "--")
		return strings.Join(append(words, quoted...), " ")
	}
	return strings.Join(append(append(words, quoted...), flags...), " ")
}

// words are the flags of a command.
func (f *verifyFlags) words(replaced map[string][]string) []string {
	var words []string
	add := func(flag string, values ...string) {
		for _, v := range values {
			words = append(words, "--"+flag, shellQuote(v))
		}
	}
	f.set.Visit(func(flag *pflag.Flag) {
		if _, gone := replaced[flag.Name]; gone {
			return
		}
		switch v := flag.Value.(type) {
		case pflag.SliceValue:
			add(flag.Name, v.GetSlice()...)
		default:
			if v.Type() == "bool" {
				words = append(words, "--"+flag.Name+boolSuffix(v.String()))
				return
			}
			add(flag.Name, v.String())
		}
	})
	for _, flag := range slices.Sorted(maps.Keys(replaced)) {
		add(flag, replaced[flag]...)
	}
	return words
}

func boolSuffix(value string) string {
	if value == "true" {
		return ""
	}
	return "=" + value
}

// acceptType says how an attestation would be accepted whose type is not a wanted
// one. Its signature was found to be good before its type was looked at.
func (r *reporter) acceptType(b *sigbox.Bundle) string {
	switch {
	case b == nil:
		return ""
	case b.Envelope == nil && r.flags.policy.file != "":
		return ""
	case b.Envelope == nil:
		return "without --type a signature of the file itself will do"
	}
	var c claimedJSON
	c.readEnvelope(b.Envelope)
	t := c.Statement.PredicateType
	switch {
	case t == "" || printable(t) != t:
		return ""
	case r.flags.policy.file != "":
		return fmt.Sprintf("if an attestation of this type is what you want, add to %s: predicateTypes: [%q]", r.flags.policy.file, t)
	}
	return "if an attestation of this type is what you want: --type " + shellQuote(t)
}
