package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/oci"
)

func newCleanCommand(e *env) *cobra.Command {
	var f cleanFlags
	cmd := &cobra.Command{
		Use:     "clean IMAGE",
		GroupID: "images",
		Short:   "Remove signatures and attestations from an image",
		Long: `clean removes what is attached to an image in Sigstore's forms: bundles, and the
signatures, attestations and SBOMs that cosign put under tags before. --type says what of
these, as sigbox tree calls it; entry means what a list has that is not there or belongs to
something else, and all means whatever else refers to the image, too. What refers to a
thing that is removed goes with it. The image stays as it is.

It shows what is meant and asks, unless --yes is given. What others attach meanwhile stays.
A registry that deletes nothing is an error, and keeps its bundles. Transparency logs
forget nothing: that there were signatures stays known.`,
		Example: `  sigbox clean registry.example/app:v1
  sigbox clean --type attestation --type sbom --yes registry.example/app:v1`,
		Args:              exactArgs(1),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE:              func(cmd *cobra.Command, args []string) error { return e.clean(cmd.Context(), f, args[0]) },
	}
	fs := cmd.Flags()
	fs.StringArrayVar(&f.types, "type", nil, "`TYPE` of what is removed: bundle, signature, attestation, sbom, entry or all (repeatable; default the first four)")
	fs.BoolVarP(&f.yes, "yes", "y", false, "do not ask")
	f.registry.register(cmd, "clean")
	f.output.register(cmd)
	_ = cmd.RegisterFlagCompletionFunc("type", cobra.FixedCompletions(append(slices.Clone(attachedTypes[:]), entryKind, allTypes), cobra.ShellCompDirectiveNoFileComp))
	strictFlags(fs)
	return cmd
}

type cleanFlags struct {
	types    []string
	yes      bool
	registry registryFlags
	output   outputFlag
}

// attachedTypes are the words for what is attached in Sigstore's forms; allTypes is the
// one for everything.
var attachedTypes = [...]string{"bundle", "signature", "attestation", "sbom"}

const allTypes = "all"

// wants reports whether a node is to be removed.
func (f *cleanFlags) wants(n *oci.Node) bool {
	types := f.types
	if len(types) == 0 {
		types = attachedTypes[:]
	}
	return slices.Contains(types, allTypes) || slices.Contains(types, strings.ToLower(n.Kind.String())) ||
		slices.Contains(types, entryKind) && isEntry(n)
}

func (f *cleanFlags) check() error {
	for _, t := range f.types {
		if t != allTypes && t != entryKind && !slices.Contains(attachedTypes[:], t) {
			return usage("--type: expected %s, %s or %s, found %q", strings.Join(attachedTypes[:], ", "), entryKind, allTypes, t)
		}
	}
	return nil
}

// cleanReport is what "clean --output json" prints.
type cleanReport struct {
	Image   string           `json:"image"`
	Removed []cleanedJSON    `json:"removed"`
	Failed  []notCleanedJSON `json:"failed"`
}

// cleanedJSON is something that was attached, Of what.
type cleanedJSON struct {
	Kind   string `json:"kind"`
	Digest string `json:"digest"`
	Of     string `json:"of"`
	Tag    string `json:"tag,omitempty"`
}

// notCleanedJSON is what could not be removed.
type notCleanedJSON struct {
	cleanedJSON
	Error string `json:"error"`
}

// cleaning is what is to be removed, and what became of it.
type cleaning struct {
	cleanedJSON
	node  *oci.Node
	depth int // below what was asked for
	err   error
}

// clean is the verb.
func (e *env) clean(ctx context.Context, f cleanFlags, arg string) error {
	if err := cmp.Or(f.check(), e.besideImage("clean", "they are those of the same image in every other repository, too")); err != nil {
		return err
	}
	image, err := e.openImage(ctx, f.registry, arg)
	if err != nil {
		return err
	}
	root, err := image.tree(ctx)
	if err != nil {
		return err
	}
	if !f.output.json() {
		e.noteTag(image.asked, image.ref)
	}
	all := f.find(root, imagesOf(root, nil), nil)
	if err := e.confirmClean(f, image.ref, all); err != nil {
		return err
	}
	if err := image.remove(ctx, all); err != nil {
		return err
	}
	return e.printCleaned(f, image.ref, all)
}

// imagesOf gives what is asked about and all that it lists: that stays, also where one of
// them refers to another.
func imagesOf(image *oci.Node, all []sigbox.Digest) []sigbox.Digest {
	all = append(all, image.Digest)
	for _, n := range image.Images {
		all = imagesOf(n, all)
	}
	return all
}

// find gives what is to be removed, and what belongs to that before it.
func (f *cleanFlags) find(image *oci.Node, stay []sigbox.Digest, all []cleaning) []cleaning {
	for _, n := range image.Attached {
		if f.wants(n) {
			all = withAttached(image, n, 0, stay, all)
		}
	}
	if f.registry.recursive {
		for _, n := range image.Images {
			all = f.find(n, stay, all)
		}
	}
	return all
}

// withAttached adds a node after all that is attached to it, unless it is one that stays.
// What stands under a tag may be anything, that of another image too: what refers to it
// is let be.
func withAttached(of, n *oci.Node, depth int, stay []sigbox.Digest, all []cleaning) []cleaning {
	if slices.ContainsFunc(stay, n.Digest.Equal) && n.Tag == "" && n.Err == nil {
		return all
	}
	if n.Tag == "" {
		for _, b := range n.Attached {
			all = withAttached(n, b, depth+1, stay, all)
		}
	}
	kind := "artifact"
	switch {
	case isEntry(n):
		kind = entryKind
	case n.Kind != 0:
		kind = strings.ToLower(n.Kind.String())
	}
	return append(all, cleaning{cleanedJSON{kind, n.Digest.String(), of.Digest.String(), n.Tag}, n, depth, nil})
}

// entryKind is what of a list is removed alone: what it leads to stays.
const entryKind = "entry"

// isEntry reports whether nothing of a node but its entry can be removed: it does not refer
// to what it is listed for, or could not be read.
func isEntry(n *oci.Node) bool { return n.Err != nil && n.Tag == "" }

// nounsOf counts what is to be removed.
func nounsOf(all []cleaning) string {
	entries := 0
	for _, c := range all {
		if c.Kind == entryKind {
			entries++
		}
	}
	manifests, ofLists := count(len(all)-entries, "manifest", "manifests"), count(entries, "entry", "entries")+" of a list"
	switch entries {
	case 0:
		return manifests
	case len(all):
		return ofLists
	}
	return manifests + " and " + ofLists
}

// confirmClean asks before anything is removed.
func (e *env) confirmClean(f cleanFlags, ref oci.Reference, all []cleaning) error {
	switch {
	case f.yes || len(all) == 0:
		return nil
	case !e.interactive():
		return &usageError{
			msg:  fmt.Sprintf("%s would be removed from %s, and there is nobody to ask", nounsOf(all), ref),
			hint: "sigbox tree shows what belongs to it; --yes removes it",
		}
	}
	for _, c := range all {
		e.note("%s", c.cleanedJSON)
	}
	if !e.ask(fmt.Sprintf("Remove %s from %s?", nounsOf(all), ref.Repository())) {
		return sigbox.Errorf(sigbox.Denied, "nothing was removed")
	}
	return nil
}

// String names it in a line.
func (c cleanedJSON) String() string {
	if c.Tag != "" {
		return fmt.Sprintf("%s %s of %s (tag %s)", c.Kind, c.Digest, c.Of, c.Tag)
	}
	return fmt.Sprintf("%s %s of %s", c.Kind, c.Digest, c.Of)
}

// remove removes what was found: what hangs deepest first, and what belongs to one image
// at a time together.
func (i *image) remove(ctx context.Context, all []cleaning) error {
	slices.SortStableFunc(all, func(a, b cleaning) int {
		return cmp.Or(cmp.Compare(b.depth, a.depth), cmp.Compare(a.Of, b.Of))
	})
	for len(all) > 0 {
		level := all[:prefix(all, func(c cleaning) bool { return c.depth == all[0].depth })]
		all = all[len(level):]
		var images [][]cleaning
		for len(level) > 0 {
			n := prefix(level, func(c cleaning) bool { return c.Of == level[0].Of })
			images, level = append(images, level[:n]), level[n:]
		}
		inParallelBy(signImagesParallel, images, func(_ int, of []cleaning) { i.removeFrom(ctx, of) })
		if ctx.Err() != nil {
			return sigbox.Errorf(sigbox.Unavailable, "interrupted").WithHint("the same command goes on from there")
		}
	}
	return nil
}

// prefix is how many at the beginning are alike.
func prefix(all []cleaning, alike func(cleaning) bool) int {
	n := slices.IndexFunc(all, func(c cleaning) bool { return !alike(c) })
	if n < 0 {
		return len(all)
	}
	return n
}

// removeFrom removes what belongs to one manifest.
func (i *image) removeFrom(ctx context.Context, all []cleaning) {
	subject, err := sigbox.ParseDigest(all[0].Of)
	nodes := make([]*oci.Node, len(all))
	for n, c := range all {
		nodes[n], all[n].err = c.node, err
	}
	if err != nil {
		return
	}
	for n, err := range i.client.Detach(ctx, i.ref.At(subject), nodes...) {
		all[n].err = err
	}
}

// printCleaned tells what was removed.
func (e *env) printCleaned(f cleanFlags, ref oci.Reference, all []cleaning) error {
	report := cleanReport{Image: ref.String(), Removed: []cleanedJSON{}, Failed: []notCleanedJSON{}}
	var first error
	for _, c := range all {
		if c.err == nil {
			report.Removed = append(report.Removed, c.cleanedJSON)
			continue
		}
		first = cmp.Or(first, c.err)
		report.Failed = append(report.Failed, notCleanedJSON{c.cleanedJSON, c.err.Error()})
	}
	if f.output.json() {
		if err := e.printJSON(report); err != nil {
			return err
		}
		if first != nil {
			return silentError{exitStatus(first)}
		}
		return nil
	}
	for _, c := range report.Removed {
		if _, err := fmt.Fprintln(e.stdout, printable("removed "+c.String())); err != nil {
			return ioError(err)
		}
	}
	if first != nil {
		return fmt.Errorf("%d of %s not removed: %w", len(report.Failed), nounsOf(all), first)
	}
	e.note("Removed %s from %s.", nounsOf(all), ref)
	return nil
}
