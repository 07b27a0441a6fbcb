package main

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/spf13/cobra"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/atomicfile"
	"github.com/sigbox/sigbox/wire/predicate"
	"github.com/sigbox/sigbox/wire/statement"
)

// linesSuffix is the name beside a file for bundles of which each has a line.
const linesSuffix = ".sigstore.jsonl"

func newAttestCommand(e *env) *cobra.Command {
	f := signFlags{attest: new(attestFlags)}
	cmd := &cobra.Command{
		Use:     "attest WHAT…",
		GroupID: "sign",
		Short:   "Sign what is to be said of images and files: provenance, SBOMs, scans",
		Long: `attest signs a predicate about WHAT, images and files: where and how it was built,
what it is made of, what a scan found. --predicate names the file with the predicate
and --type says what it is; --sbom takes a bill of materials, SPDX or CycloneDX in
JSON, and sees itself which it is. The predicate is held by the rules of its type
before it is signed.

The attestation of an image goes into its registry, where sigbox and cosign find it.
That of a file becomes a line of FILE` + linesSuffix + `, behind what is there.

An attestation is no signature of WHAT: sigbox verify asks for it by --type.`,
		Example: `  sigbox attest --predicate provenance.json --type slsaprovenance1 registry.example/app:v1
  sigbox attest --sbom app.spdx.json registry.example/app:v1 app.tar.gz`,
		Args: someArgs,
		RunE: func(cmd *cobra.Command, args []string) error { return e.attest(cmd.Context(), f, args) },
	}
	f.attest.register(cmd)
	f.register(e, cmd, linesSuffix)
	strictFlags(cmd.Flags())
	return cmd
}

// attestFlags say what is attested.
type attestFlags struct{ predicate, kind, sbom string }

func (f *attestFlags) register(cmd *cobra.Command) {
	fs := cmd.Flags()
	fs.StringVar(&f.predicate, "predicate", "", "`FILE` with the predicate, in JSON")
	fs.StringVar(&f.kind, typeFlag, "", "`TYPE` of the predicate: a URI, or a name such as slsaprovenance1, vuln, openvex or custom")
	fs.StringVar(&f.sbom, "sbom", "", "`FILE` with a bill of materials, SPDX or CycloneDX in JSON, in place of --predicate and --type")
	_ = cmd.MarkFlagFilename("predicate", "json")
	_ = cmd.MarkFlagFilename("sbom", "json")
	_ = cmd.RegisterFlagCompletionFunc(typeFlag, completePredicateType)
}

// attestation is a predicate with its type.
type attestation struct {
	kind      string
	predicate []byte
}

// read reads the predicate, and holds it by the rules of its type.
func (f *attestFlags) read() (a attestation, err error) {
	file := f.predicate
	switch {
	case f.sbom != "" && (f.predicate != "" || f.kind != ""):
		return a, usage("--sbom takes the place of --predicate and --%s", typeFlag)
	case f.sbom != "":
		file = f.sbom
	case f.predicate == "" || f.kind == "":
		return a, &usageError{msg: "what is to be attested?", hint: "give --predicate FILE with --" + typeFlag + " TYPE, or --sbom FILE"}
	}
	if a.predicate, err = readFile(file, predicate.MaxSize); err != nil {
		return a, configured(err)
	}
	if f.sbom != "" {
		a.kind, err = sbomType(a.predicate)
	} else {
		a.kind, err = predicateType(f.kind)
	}
	if err == nil {
		err = predicate.Check(a.kind, a.predicate)
	}
	if err != nil {
		return a, configured(sigbox.Errorf(sigbox.KindOf(err), "%s: %w", file, err))
	}
	return a, nil
}

// predicateType gives the URI of a type that a flag names.
func predicateType(name string) (string, error) {
	types, err := (&policyFlags{types: []string{name}}).predicateTypes()
	if err != nil {
		return "", err
	}
	if types[0] == sigbox.AnyPredicateType {
		return "", usage("--%s %s is for verifying: name the type of the predicate", typeFlag, name)
	}
	return types[0], nil
}

// sbomType tells a bill of materials by the members that say what it is.
func sbomType(b []byte) (string, error) {
	var said struct {
		SPDX      string `json:"spdxVersion"`
		Context   any    `json:"@context"`
		CycloneDX string `json:"bomFormat"`
	}
	err := json.Unmarshal(b, &said)
	name := ""
	switch context, _ := said.Context.(string); {
	case err != nil:
	case said.SPDX != "", strings.Contains(context, "spdx.org/"):
		name = "spdx"
	case said.CycloneDX == "CycloneDX":
		name = "cyclonedx"
	}
	if t, ok := predicate.ByName(name); ok {
		return t.URI, nil
	}
	return "", sigbox.Errorf(sigbox.Invalid, "no bill of materials that sigbox knows: expected SPDX or CycloneDX in JSON").
		WithHint("its tools can write JSON; whatever else it is, give it by --predicate and --%s", typeFlag)
}

// attest is the verb: it signs what is said of what args stand for.
func (e *env) attest(ctx context.Context, f signFlags, args []string) error {
	a, err := promptly(ctx, f.attest.read)
	if err != nil {
		return err
	}
	f.attestation = &a
	return e.sign(ctx, f, args)
}

// statement says what is attested of an artifact.
func (a *attestation) statement(about artifact, d sigbox.Digest) ([]byte, error) {
	s := statement.Subject{Digests: map[string]string{d.Algorithm.String(): d.Hex()}}
	if about.image.IsZero() {
		s.Name = filepath.Base(about.path)
	} else {
		s.Name = about.image.Repository()
	}
	return predicate.Statement([]statement.Subject{s}, a.kind, a.predicate)
}

// appendLine writes a bundle behind those that a file has, or instead of a file that
// is not there or empty.
func appendLine(path string, line []byte) error {
	there, err := readFile(path, maxBundleFile)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if n := len(there); n > 0 && there[n-1] != '\n' {
		there = append(there, '\n')
	}
	if len(there)+len(line) > maxBundleFile {
		return sigbox.Errorf(sigbox.TooLarge, "%s would be larger than the %d bytes that are read of bundles", path, maxBundleFile).
			WithHint("move it away, or say with --bundle where to write")
	}
	return atomicfile.Replace(path, slices.Concat(there, bytes.TrimSpace(line), []byte{'\n'}), 0o644)
}
