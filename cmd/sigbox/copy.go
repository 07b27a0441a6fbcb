package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/sigbox/sigbox"
)

func newCopyCommand(e *env) *cobra.Command {
	var f transferFlags
	cmd := &cobra.Command{
		Use:     "copy FROM TO",
		GroupID: "images",
		Short:   "Copy an image with all that belongs to it to another registry",
		Long: `copy copies an image, of an index with all that it lists, and with all that belongs to
any of them: bundles, attestations, SBOMs, signatures of those, what stands under
cosign's tags of before, and artifacts of any other type that refer to it.

What is at TO is not sent again, and signatures that are there stay. A copy that broke
off is made again by the same command. TO's tag is set last, so whoever finds the image
finds its signatures; then all that was copied is looked for at TO. Within a registry
blobs are taken over where it can do that.

Nothing is verified: sigbox verify says whether FROM is what you expect. Its digest
and its signatures are the same at TO.`,
		Example: `  sigbox copy registry.example/staging/app:v1 registry.example/app:v1
  sigbox copy registry.example/app@sha256:… mirror.example/app:v1`,
		Args:              exactArgs(2),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE:              func(cmd *cobra.Command, args []string) error { return e.copyImage(cmd.Context(), f, args[0], args[1]) },
	}
	f.register(cmd)
	return cmd
}

// register registers the flags of copy, save and load.
func (f *transferFlags) register(cmd *cobra.Command) {
	f.registry.registerAccess(cmd)
	f.output.register(cmd)
}

// copyImage is the verb copy.
func (e *env) copyImage(ctx context.Context, f transferFlags, from, to string) error {
	source, err := imageArg(from)
	if err != nil {
		return err
	}
	target, err := imageArg(to)
	if err != nil {
		return err
	}
	if !target.Digest().IsZero() {
		return &usageError{msg: "TO has a digest: it will be that of the image", hint: "name a tag of it, or its repository alone"}
	}
	return e.transfer(ctx, f, transfer{
		from: source, to: target, source: source.String(), target: target.String(),
		at: func(d sigbox.Digest) string { return target.At(d).String() },
	})
}
