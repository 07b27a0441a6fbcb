package main

import (
	"context"
	"errors"
	"io/fs"
	"os"

	"github.com/spf13/cobra"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/oci"
)

func newSaveCommand(e *env) *cobra.Command {
	var f transferFlags
	var name string
	cmd := &cobra.Command{
		Use:     "save IMAGE DIR",
		GroupID: "images",
		Short:   "Save an image with all that belongs to it in a directory",
		Long: `save copies an image with all that belongs to it, as sigbox copy does, into a
directory: an OCI image layout, for where there is no network. sigbox load takes it from
there, and so does cosign load, which reads one image and its signatures of before.

DIR may hold several images, each by its name; one of the same name is replaced. What is
there already is held against its digest and not fetched again.`,
		Example: `  sigbox save registry.example/app:v1 app/
  sigbox save --name app registry.example/app@sha256:… release/`,
		Args:              exactArgs(2),
		ValidArgsFunction: imageThenDirectory,
		RunE:              func(cmd *cobra.Command, args []string) error { return e.save(cmd.Context(), f, args[0], args[1], name) },
	}
	f.register(cmd)
	cmd.Flags().StringVar(&name, "name", "", "`NAME` of the image in DIR (default IMAGE)")
	strictFlags(cmd.Flags())
	return cmd
}

func newLoadCommand(e *env) *cobra.Command {
	var f transferFlags
	var name string
	cmd := &cobra.Command{
		Use:     "load DIR IMAGE",
		GroupID: "images",
		Short:   "Load an image with all that belongs to it from a directory",
		Long: `load copies an image with all that belongs to it from a directory, an OCI image layout
as sigbox save, cosign save and other tools write it, into a registry, as sigbox copy
does. Everything is held against its digest.`,
		Example: `  sigbox load app/ registry.internal/app:v1
  sigbox load --name registry.example/app:v1 release/ registry.internal/app:v1`,
		Args:              exactArgs(2),
		ValidArgsFunction: directoryThenImage,
		RunE:              func(cmd *cobra.Command, args []string) error { return e.load(cmd.Context(), f, args[0], args[1], name) },
	}
	f.register(cmd)
	cmd.Flags().StringVar(&name, "name", "", "`NAME` of the image in DIR, where there are several")
	strictFlags(cmd.Flags())
	return cmd
}

func imageThenDirectory(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) == 1 {
		return nil, cobra.ShellCompDirectiveFilterDirs
	}
	return nil, cobra.ShellCompDirectiveNoFileComp
}

func directoryThenImage(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) == 0 {
		return nil, cobra.ShellCompDirectiveFilterDirs
	}
	return nil, cobra.ShellCompDirectiveNoFileComp
}

// save is the verb save.
func (e *env) save(ctx context.Context, f transferFlags, from, dir, name string) error {
	source, err := imageArg(from)
	if err != nil {
		return err
	}
	if info, err := os.Stat(dir); err == nil && !info.IsDir() {
		return usage("%s is no directory", dir)
	}
	if name == "" {
		name = source.String()
	}
	return e.transfer(ctx, f, transfer{
		from: source, to: oci.Layout{Dir: dir, Name: name}, source: source.String(), target: dir,
		at: func(d sigbox.Digest) string { return source.At(d).String() },
	})
}

// load is the verb load.
func (e *env) load(ctx context.Context, f transferFlags, dir, to, name string) error {
	if err := e.besideImage("load", "load puts them beside the image, where nobody would look for them then"); err != nil {
		return err
	}
	target, err := imageArg(to)
	if err != nil {
		return err
	}
	switch info, err := os.Stat(dir); {
	case errors.Is(err, fs.ErrNotExist):
		return &usageError{msg: "there is no directory " + dir, hint: "sigbox save makes one"}
	case err != nil:
		return ioError(err)
	case !info.IsDir():
		return &usageError{msg: dir + " is no directory", hint: "expected an image layout, as sigbox save makes it"}
	}
	if !target.Digest().IsZero() {
		return &usageError{msg: "IMAGE has a digest: it will be that of the image", hint: "name a tag of it, or its repository alone"}
	}
	return e.transfer(ctx, f, transfer{
		from: oci.Layout{Dir: dir, Name: name}, to: target, source: dir, target: target.String(),
		at: func(d sigbox.Digest) string { return target.At(d).String() },
	})
}
