package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/oci"
)

// imageArg reads an argument that can only be an image.
func imageArg(arg string) (oci.Reference, error) {
	ref, err := oci.ParseReference(strings.TrimPrefix(arg, dockerScheme))
	return ref, configured(err)
}

// image is one that its registry has, as tree, download and clean are given it.
type image struct {
	// asked is what the argument names, ref that by digest.
	asked, ref oci.Reference
	client     *oci.Client
}

// openImage finds the image that an argument names.
func (e *env) openImage(ctx context.Context, f registryFlags, arg string) (*image, error) {
	asked, err := imageArg(arg)
	if err != nil {
		return nil, err
	}
	client, err := e.registries(f)
	if err != nil {
		return nil, err
	}
	ref, err := client.Resolve(ctx, asked)
	if err != nil {
		return nil, unlisted(err)
	}
	return &image{asked, ref, client}, nil
}

// tree reads all that belongs to the image.
func (i *image) tree(ctx context.Context) (*oci.Node, error) {
	root, err := i.client.Tree(ctx, i.ref)
	if err != nil {
		return nil, i.failure(unlisted(err))
	}
	return root, nil
}

// failure is an error about the image.
func (i *image) failure(err error) error { return fmt.Errorf("%s: %w", i.asked, err) }

// noteTag tells which image a tag stood for.
func (e *env) noteTag(asked, found oci.Reference) {
	if asked.Digest().IsZero() {
		e.note("%s is %s.", asked, found)
	}
}

// unread makes undecided what a registry does not let us read, whatever its reason: it
// may have been the signature that counts. What was read and is wrong stays so.
func unread(err error) error {
	switch sigbox.KindOf(err) {
	case sigbox.Invalid, sigbox.NotVerified:
		return err
	}
	return sigbox.Errorf(sigbox.Unavailable, "%w", err)
}

// unlisted is unread for a list, or what a name stands for: where something else is in its
// place, such as a page that asks to log in, nobody has said that there is no signature.
func unlisted(err error) error { return sigbox.Errorf(sigbox.Unavailable, "%w", err) }

// isFlaw reports whether an error is about what a registry has, and not about asking for
// it.
func isFlaw(err error) bool {
	switch sigbox.KindOf(err) {
	case sigbox.Invalid, sigbox.NotVerified, sigbox.NotFound, sigbox.TooLarge:
		return true
	}
	return false
}
