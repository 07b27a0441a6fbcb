package main

import (
	"context"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/wire/predicate"
)

func newSBOMCommand(e *env) *cobra.Command {
	var f verifyFlags
	cmd := &cobra.Command{
		Use:     "sbom IMAGE|FILE",
		GroupID: "sign",
		Short:   "Print what an image or a file is made of, once that is verified",
		Long: `sbom prints the bill of materials that was attested for an image or a file, if its
signature is verified, and nothing otherwise: who signed, and where, goes to standard
error. Of several it is the first that is verified; --type spdx or --type cyclonedx
says which one is meant. Say who must have signed it, as to sigbox verify.`,
		Example: `  sigbox sbom registry.example/app:v1 --policy release.yaml > app.spdx.json
  sigbox sbom app.tar.gz --type cyclonedx --key maintainer.pub`,
		Args: exactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return e.sbom(cmd.Context(), f, args) },
	}
	f.register(e, cmd)
	strictFlags(cmd.Flags())
	return cmd
}

// sbomTypes are the predicate types of bills of materials, with the versions that some
// tools write into them.
func sbomTypes() []string {
	var all []string
	for _, t := range predicate.Types() {
		if strings.HasPrefix(t.URI, "https://spdx.dev/") || strings.HasPrefix(t.URI, "https://cyclonedx.org/") {
			all = append(all, t.URI)
		}
	}
	const lastMinor = 7 // of CycloneDX 1
	for minor := range lastMinor + 1 {
		all = append(all, "https://cyclonedx.org/bom/v1."+strconv.Itoa(minor))
	}
	return all
}

// sbom is the verb: it prints the predicate that is verified.
func (e *env) sbom(ctx context.Context, f verifyFlags, args []string) error {
	if len(f.policy.types) == 0 && f.policy.file == "" { // which says it itself
		f.policy.types = sbomTypes()
	}
	r, statement, err := e.verifiedStatement(ctx, f, args)
	if err != nil {
		return err
	}
	if r.Status != statusVerified {
		return unverifiedError{r}
	}
	if statement == nil || len(statement.Predicate) == 0 {
		return sigbox.Errorf(sigbox.NotVerified, "%s: the signature is good, and is no attestation of what it is made of", args[0]).
			WithHint("--%s spdx or --%s cyclonedx asks for one", typeFlag, typeFlag)
	}
	e.note("%s, %s: %s.", args[0], r.Digest, r.signatureJSON.brief())
	if _, err := e.stdout.Write(append(statement.Predicate, '\n')); err != nil {
		return ioError(err)
	}
	return nil
}
