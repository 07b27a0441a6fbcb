// Command oras does with oras-go, the library of the program oras, what that program
// does, which is no module to be installed. Registries are spoken to in plain HTTP.
//
//	oras discover IMAGE              prints the digests of what refers to an image
//	oras attach IMAGE TYPE FILE      attaches a file
//	oras copy-recursive FROM TO      copies an image with all that refers to it (cp -r)
//	oras pull IMAGE TYPE FILE        writes the layer of a type of what refers to an image
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2"
	"oras.land/oras-go/v2/content"
	"oras.land/oras-go/v2/registry"
	"oras.land/oras-go/v2/registry/remote"
)

func main() {
	if err := run(context.Background(), os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "oras:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	switch {
	case len(args) == 2 && args[0] == "discover":
		return discover(ctx, args[1])
	case len(args) == 4 && args[0] == "attach":
		return attach(ctx, args[1], args[2], args[3])
	case len(args) == 3 && args[0] == "copy-recursive":
		return copyRecursive(ctx, args[1], args[2])
	case len(args) == 4 && args[0] == "pull":
		return pull(ctx, args[1], args[2], args[3])
	}
	return errors.New("usage: oras discover|attach|copy-recursive|pull …")
}

// open gives a repository, and what a reference stands for there.
func open(ctx context.Context, reference string) (*remote.Repository, ocispec.Descriptor, error) {
	repo, err := repository(reference)
	if err != nil {
		return nil, ocispec.Descriptor{}, err
	}
	d, err := repo.Resolve(ctx, repo.Reference.Reference)
	return repo, d, err
}

func repository(reference string) (*remote.Repository, error) {
	repo, err := remote.NewRepository(reference)
	if err == nil {
		repo.PlainHTTP = true
	}
	return repo, err
}

// referrers asks for those of any type: there are registries that list a wrong one.
func referrers(ctx context.Context, reference string) (*remote.Repository, []ocispec.Descriptor, error) {
	repo, d, err := open(ctx, reference)
	if err != nil {
		return nil, nil, err
	}
	all, err := registry.Referrers(ctx, repo, d, "")
	return repo, all, err
}

func discover(ctx context.Context, reference string) error {
	_, all, err := referrers(ctx, reference)
	for _, d := range all {
		fmt.Println(d.Digest)
	}
	return err
}

func attach(ctx context.Context, reference, artifactType, file string) error {
	repo, subject, err := open(ctx, reference)
	if err != nil {
		return err
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	layer, err := oras.PushBytes(ctx, repo, artifactType, b)
	if err != nil {
		return err
	}
	_, err = oras.PackManifest(ctx, repo, oras.PackManifestVersion1_1, artifactType, oras.PackManifestOptions{Subject: &subject, Layers: []ocispec.Descriptor{layer}})
	return err
}

func copyRecursive(ctx context.Context, from, to string) error {
	source, d, err := open(ctx, from)
	if err != nil {
		return err
	}
	target, err := repository(to)
	if err != nil {
		return err
	}
	name, _, _ := strings.Cut(target.Reference.Reference, "@")
	_, err = oras.ExtendedCopy(ctx, source, d.Digest.String(), target, name, oras.DefaultExtendedCopyOptions)
	return err
}

func pull(ctx context.Context, reference, mediaType, file string) error {
	repo, all, err := referrers(ctx, reference)
	if err != nil {
		return err
	}
	for _, one := range all {
		below, err := content.Successors(ctx, repo, one)
		if err != nil {
			return err
		}
		for _, d := range below {
			if d.MediaType != mediaType {
				continue
			}
			b, err := content.FetchAll(ctx, repo, d)
			if err != nil {
				return err
			}
			return os.WriteFile(file, b, 0o600)
		}
	}
	return errors.New("nothing of that type refers to it")
}
