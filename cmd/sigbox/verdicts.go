package main

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
	"unicode/utf8"

	"github.com/sigbox/sigbox"
)

// printVerified prints what became of the artifacts and gives the error that the
// verb ends with.
func (e *env) printVerified(f verifyFlags, r verifyReport) error {
	if f.output.json() {
		if err := e.printJSON(r); err != nil {
			return err
		}
		return concludeVerify(f, r)
	}
	byNeed := slices.Clone(r.Results)
	slices.SortStableFunc(byNeed, func(a, b verifyResult) int { return cmp.Compare(a.need(), b.need()) })
	out := bufio.NewWriterSize(e.stdout, 64<<10)
	if err := errors.Join(printVerdicts(out, byNeed, r.Trust, f.explain), out.Flush()); err != nil {
		return ioError(err)
	}
	if len(byNeed) > 1 {
		e.summarizeVerified(r, byNeed)
	}
	e.notePassedOver(r)
	return concludeVerify(f, r)
}

// printVerdicts tells of one artifact at length, and of several in a line each or
// with their steps.
func printVerdicts(out io.Writer, all []verifyResult, trust string, explain bool) error {
	if len(all) > 1 && !explain {
		return printTable(out, all)
	}
	for _, v := range all {
		if len(all) > 1 && v.Status != statusVerified && len(v.Steps) == 0 {
			fmt.Fprintf(out, "%s: %s\n  %s\n", printable(string(v.Artifact)), verdictWord(v.Status), printable(v.Error))
		}
		if err := printVerdict(out, v, trust); err != nil {
			return err
		}
	}
	return nil
}

// notePassedOver tells what was not looked at.
func (e *env) notePassedOver(r verifyReport) {
	if text := notLookedAt(r.PassedOver, r.Missing); text != "" {
		e.note("Passed over: %s.", text)
	}
}

// notLookedAt is what directories and lists have besides, "" for nothing.
func notLookedAt(p passedOver, missing int) string {
	parts := make([]string, 0, 2)
	if text := p.String(); text != "" {
		parts = append(parts, text)
	}
	if missing > 0 {
		parts = append(parts, count(missing, "missing file", "missing files"))
	}
	return strings.Join(parts, ", ")
}

// concludeVerify gives the error for what was not verified: for one artifact its
// own, for several a silent one, since the table has told.
func concludeVerify(f verifyFlags, r verifyReport) error {
	switch {
	case r.NotVerified+r.Undecided == 0:
		return nil
	case len(r.Results) == 1 && !f.output.json():
		return unverifiedError{r.Results[0]}
	case r.NotVerified > 0:
		return silentError{exitNotVerified}
	}
	return silentError{exitUndecided}
}

// unverifiedError is what became of one artifact, as the error of the verb.
type unverifiedError struct{ result verifyResult }

func (u unverifiedError) Error() string {
	return string(u.result.Artifact) + ": " + u.result.err.Error()
}

func (u unverifiedError) Unwrap() error { return u.result.err }

// print tells of it: what went wrong, who signed in fact, and the next step.
func (u unverifiedError) print(w io.Writer) {
	fmt.Fprintf(w, "sigbox: %s: %s\n", printable(string(u.result.Artifact)), printable(u.result.headline()))
	u.result.printNext(w)
}

// headline says what is wrong; both identities are not repeated where rows follow.
func (v verifyResult) headline() string {
	if e, ok := errors.AsType[*sigbox.Error](v.err); ok && v.mismatch != nil {
		return e.Msg
	}
	return v.Error
}

// printNext tells who signed in fact, and the next step.
func (v verifyResult) printNext(w io.Writer) {
	if v.mismatch != nil {
		fmt.Fprint(w, v.mismatch.rows())
		if n := v.mismatch.others; n > 0 {
			fmt.Fprintf(w, "  The policy has %s, which differ as much or more.\n", count(n, "other identity", "other identities"))
		}
	}
	printSigners(w, v.Signers)
	if v.Next != "" {
		fmt.Fprintf(w, "  next: %s\n", printable(v.Next))
	}
}

// printVerdict tells of one artifact at length.
func printVerdict(out io.Writer, v verifyResult, trust string) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	row := func(name, format string, args ...any) {
		fmt.Fprintf(w, "  %s\t%s\n", printable(name), printable(fmt.Sprintf(format, args...)))
	}
	if v.Status == statusVerified {
		fmt.Fprintf(w, "%s: verified\n", printable(string(v.Artifact)))
		v.rows(row)
		row("trust", "%s", trust)
	} else if len(v.Steps) > 0 {
		fmt.Fprintf(w, "%s: %s\n", printable(string(v.Artifact)), verdictWord(v.Status))
	}
	v.explain(row)
	return w.Flush()
}

// rows tells what was found of a verified artifact.
func (v verifyResult) rows(row rowFunc) {
	for _, list := range v.Checksums {
		row("listed in", "%s, which is verified", list)
	}
	if v.Algorithm != "" {
		v.signatureJSON.rows(row)
	}
	for _, s := range v.OtherSignatures {
		s.rows(row)
	}
	row("digest", "%s", v.Digest)
}

func (s signatureJSON) rows(row rowFunc) {
	if s.Identity != nil {
		row("signed by", "%s", s.Identity.Subject)
		row("vouched for by", "%s", s.Identity.Issuer)
	} else {
		row("signed by", "the key given, %s", s.Key)
	}
	for _, t := range s.Times {
		row("at", "%s", t.UTC().Format(time.RFC3339))
	}
	for _, l := range s.LogEntries {
		row("recorded", "%s, index %d", l.Log, l.Index)
	}
	if s.Statement != nil {
		row("statement", "%s", s.Statement.PredicateType)
	}
}

// explain lists the steps with their evidence, then the one that failed.
func (v verifyResult) explain(row rowFunc) {
	if len(v.Steps) == 0 {
		return
	}
	v.signatureJSON.explain(row)
	for _, s := range v.OtherSignatures {
		s.explain(row)
	}
	if v.Error != "" {
		row("failed", "%s", v.headline())
	}
}

func (s signatureJSON) explain(row rowFunc) {
	if s.Bundle != "" {
		row("bundle", "%s", inLineOf(s.Bundle, s.Line))
	}
	for i, step := range s.Steps {
		row(fmt.Sprintf("%d. %s", i+1, step.Step), "%s", step.Found)
		for _, f := range step.Evidence {
			row("     "+f.Name, "%s", f.Value)
		}
	}
}

// inLineOf names a bundle by its file and, where that has lines, its line.
func inLineOf(file fileName, line int) string {
	if line == 0 {
		return string(file)
	}
	return fmt.Sprintf("%s, line %d", file, line)
}

// printTable tells of several artifacts, a line each.
func printTable(out io.Writer, all []verifyResult) error {
	words, names := 0, 0 // in characters
	for _, v := range all {
		words = max(words, len(verdictWord(v.Status)))
		names = max(names, utf8.RuneCountInString(printable(string(v.Artifact))))
	}
	for _, v := range all {
		if _, err := fmt.Fprintf(out, "%-*s  %-*s  %s\n", words, verdictWord(v.Status), names, printable(string(v.Artifact)), printable(v.brief())); err != nil {
			return err
		}
	}
	return nil
}

// need orders results for people: what wants their eyes comes first.
func (v verifyResult) need() int {
	switch v.Status {
	case statusNotVerified:
		return 0
	case statusUndecided:
		return 1
	}
	return 2
}

// verdictWord is the word for a status in the table.
func verdictWord(status string) string {
	switch status {
	case statusVerified:
		return "verified"
	case statusUndecided:
		return "UNDECIDED"
	}
	return "NOT VERIFIED"
}

// brief says in one line what was found, or what is wrong.
func (v verifyResult) brief() string {
	if v.Error != "" {
		return v.Error
	}
	var parts []string
	for _, list := range v.Checksums {
		parts = append(parts, "listed in "+string(list))
	}
	if v.Algorithm != "" {
		parts = append(parts, v.signatureJSON.brief())
	}
	for _, s := range v.OtherSignatures {
		parts = append(parts, s.brief())
	}
	return strings.Join(parts, "; ")
}

func (s signatureJSON) brief() string {
	parts := []string{"the key given"}
	if s.Identity != nil {
		parts[0] = s.Identity.Subject
	}
	if len(s.Times) > 0 {
		parts = append(parts, s.Times[0].UTC().Format(time.RFC3339))
	}
	for _, l := range s.LogEntries {
		parts = append(parts, fmt.Sprintf("log index %d", l.Index))
	}
	if s.Statement != nil {
		parts = append(parts, "statement "+s.Statement.PredicateType)
	}
	return strings.Join(parts, ", ")
}

// summarizeVerified ends the table: what failed by name, then the numbers.
func (e *env) summarizeVerified(r verifyReport, byNeed []verifyResult) {
	const most = 10
	var bad []string
	for _, v := range byNeed {
		if v.Status != statusVerified {
			bad = append(bad, string(v.Artifact))
		}
	}
	if len(bad) > 0 {
		more := ""
		if n := len(bad) - most; n > 0 {
			bad, more = bad[:most], fmt.Sprintf(", and %d more", n)
		}
		e.note("NOT VERIFIED: %s%s.", listed(bad), more)
		e.noteNext(byNeed[0])
	}
	e.note("%d of %s verified. Trust: %s.", r.Verified, r.nouns.count(len(r.Results)), r.Trust)
}

// noteNext tells what to do about the first failure.
func (e *env) noteNext(v verifyResult) {
	if v.mismatch != nil {
		e.note("%s: %s", v.Artifact, v.headline())
		fmt.Fprint(e.stderr, v.mismatch.rows())
	}
	if len(v.Signers) > 0 {
		e.note("%s: %s", v.Artifact, v.headline())
		printSigners(e.stderr, v.Signers)
	}
	if v.Next != "" {
		e.note("  next, for %s: %s", v.Artifact, v.Next)
	}
}
