package main

import (
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/oci"
)

// dockerScheme marks an image, where its name alone might be a file's.
const dockerScheme = "docker://"

// maxCertificates bounds a file of a registry's authorities, in bytes.
const maxCertificates = 1 << 20

// registryFlags say how registries are reached, and how much of an image is meant.
type registryFlags struct {
	recursive, insecure bool
	authorities         string
}

// register registers all of them, for verbs that do something to an index's images only
// when they are told to.
func (f *registryFlags) register(cmd *cobra.Command, does string) {
	cmd.Flags().BoolVarP(&f.recursive, "recursive", "r", false, does+" also each image that an index lists, one for each platform")
	f.registerAccess(cmd)
}

// registerAccess registers how registries are reached.
func (f *registryFlags) registerAccess(cmd *cobra.Command) {
	fs := cmd.Flags()
	fs.BoolVar(&f.insecure, "insecure-registry", false, "let registries have certificates that nobody vouches for, or no TLS at all")
	fs.StringVar(&f.authorities, "registry-cacert", "", "`FILE` with the authorities of registries' certificates, in PEM, in place of the system's")
	_ = cmd.MarkFlagFilename("registry-cacert", "pem", "crt", "cert")
}

// repositoryVariable names the repository that signatures are in, where that is not the
// image's own, as it does for cosign.
const repositoryVariable = "COSIGN_REPOSITORY"

// besideImage refuses a verb that changes what is in the image's own repository, where
// signatures are said to be elsewhere, for a reason of its own.
func (e *env) besideImage(verb, why string) error {
	name := e.getenv(repositoryVariable)
	if name == "" {
		return nil
	}
	return &usageError{
		msg:  fmt.Sprintf("%s says that signatures are in %s, and %s", repositoryVariable, name, why),
		hint: fmt.Sprintf("without the variable sigbox %s is for what is beside the image", verb),
	}
}

// noteRepository tells where what belongs to an image was read, if not beside it.
func (e *env) noteRepository() {
	if name := e.getenv(repositoryVariable); name != "" {
		e.note("What belongs to it is read in %s (%s).", name, repositoryVariable)
	}
}

// registries gives a client of registries.
func (e *env) registries(f registryFlags) (*oci.Client, error) {
	config := oci.Config{Insecure: f.insecure, UserAgent: "sigbox/" + buildVersion().Version}
	if name := e.getenv(repositoryVariable); name != "" {
		var err error
		if config.Repository, err = oci.ParseReference(name); err != nil {
			text, hint := splitHint(err)
			return nil, &usageError{msg: repositoryVariable + ": " + text, hint: hint}
		}
	}
	if f.authorities != "" {
		pem, err := readFile(f.authorities, maxCertificates)
		if err != nil {
			return nil, configured(err)
		}
		config.CAs = x509.NewCertPool()
		if !config.CAs.AppendCertsFromPEM(pem) {
			return nil, usage("--registry-cacert: there is no certificate in %s: expected PEM, -----BEGIN CERTIFICATE-----", f.authorities)
		}
	}
	return oci.New(config), nil
}

// imageOf reads an argument that names an image, and reports whether it does. It may be
// a file's name as well; then a name that can hardly be meant so is refused, and any
// other is the file's.
func imageOf(arg string) (ref oci.Reference, ok bool, err error) {
	if name, marked := strings.CutPrefix(arg, dockerScheme); marked {
		ref, err = oci.ParseReference(name)
		return ref, err == nil, configured(err)
	}
	if strings.HasPrefix(arg, ".") || strings.HasPrefix(arg, "/") {
		return oci.Reference{}, false, nil
	}
	host, named := registryIn(arg)
	pinned := strings.Contains(arg, "@") || strings.Contains(arg[strings.LastIndex(arg, "/")+1:], ":")
	ref, wrong := oci.ParseReference(arg)
	isPattern := strings.ContainsAny(arg, "*?[")
	if !named && !pinned || wrong != nil && (!named || !pinned || isPattern) {
		return oci.Reference{}, false, nil
	}
	switch _, err := os.Lstat(arg); {
	case wrong != nil && errors.Is(err, fs.ErrNotExist):
		return oci.Reference{}, false, configured(wrong) // such as one in capitals
	case wrong != nil:
		return oci.Reference{}, false, nil //nolint:nilerr // it is the file
	case err == nil && named && pinned:
		return oci.Reference{}, false, &usageError{
			msg:  arg + " is a file here, and names an image at " + host + " as well",
			hint: "write ./" + arg + " for the file, " + dockerScheme + arg + " for the image",
		}
	case err == nil:
		return oci.Reference{}, false, nil
	case !errors.Is(err, fs.ErrNotExist):
		return oci.Reference{}, false, ioError(err)
	}
	return ref, true, nil
}

// registryIn gives the registry that an image's name begins with: what has a dot or a
// port, or is localhost, as Docker has it.
func registryIn(arg string) (string, bool) {
	host, _, found := strings.Cut(arg, "/")
	return host, found && (strings.ContainsAny(host, ".:") || host == "localhost")
}

// addImage takes an image; it is resolved when all arguments are known.
func (f *found) addImage(arg string, ref oci.Reference) {
	f.artifacts = append(f.artifacts, artifact{image: ref, name: arg, alone: true})
}

// hasImages reports whether there are any.
func (f *found) hasImages() bool {
	for _, a := range f.artifacts {
		if !a.image.IsZero() {
			return true
		}
	}
	return false
}

// nouns are the words for one and for several of what is signed or verified. The zero
// value is for files.
type nouns struct{ one, several string }

func (n nouns) count(of int) string {
	if n == (nouns{}) {
		n = nouns{"file", "files"}
	}
	return count(of, n.one, n.several)
}

// nouns say what was found.
func (f *found) nouns() nouns {
	images := 0
	for _, a := range f.artifacts {
		if !a.image.IsZero() {
			images++
		}
	}
	switch images {
	case 0:
		return nouns{}
	case len(f.artifacts):
		return nouns{"image", "images"}
	}
	return nouns{"artifact", "artifacts"}
}

// resolveImages gives each image its digest, and takes what indexes list. What cannot
// be resolved keeps the error.
func (f *found) resolveImages(ctx context.Context, client *oci.Client, recursive bool) {
	resolved := make([][]artifact, len(f.artifacts))
	inParallelBy(imageParallel, f.artifacts, func(i int, a artifact) {
		if a.image.IsZero() {
			resolved[i] = []artifact{a}
		} else {
			resolved[i] = resolveImage(ctx, client, a, recursive)
		}
	})
	f.artifacts = f.artifacts[:0]
	for _, list := range resolved {
		f.artifacts = append(f.artifacts, list...)
	}
	f.dedupe()
}

func resolveImage(ctx context.Context, client *oci.Client, a artifact, recursive bool) []artifact {
	ref, err := client.Resolve(ctx, a.image)
	if err != nil {
		a.err = unlisted(err)
		return []artifact{a}
	}
	a.pin(ref)
	if !recursive {
		return []artifact{a}
	}
	below, err := client.Images(ctx, ref)
	if err != nil {
		a.err = unlisted(err)
		return []artifact{a}
	}
	out := []artifact{a}
	for _, d := range below[1:] {
		one := artifact{name: ref.At(d.Digest).String(), alone: true}
		if p := d.Platform.String(); p != "" {
			one.name += " (" + p + ")"
		}
		one.pin(ref.At(d.Digest))
		out = append(out, one)
	}
	return out
}

// pin makes an artifact that of an image by digest.
func (a *artifact) pin(ref oci.Reference) { a.image, a.digest = ref, ref.Digest().Named() }

// findImagesToSign resolves the images that are to be signed. Nothing is signed unless
// all are there.
func (e *env) findImagesToSign(ctx context.Context, r *signRun) (err error) {
	if r.annotations, err = annotationsOf(r.flags.annotations); err != nil {
		return err
	}
	switch images := r.found.hasImages(); {
	case !images && len(r.annotations) > 0:
		return usage("--annotation is for images, and there is none")
	case !images && !r.flags.legacy:
		return nil
	case r.flags.inToto:
		return usage("--in-toto is for files that are statements; a statement about an image is signed by attest")
	}
	if err := r.flags.checkLegacy(r.found); err != nil {
		return err
	}
	if r.images, err = e.registries(r.flags.registry); err != nil {
		return err
	}
	r.found.resolveImages(ctx, r.images, r.flags.registry.recursive)
	errs := make([]error, len(r.found.artifacts))
	inParallelBy(imageParallel, r.found.artifacts, func(i int, a artifact) {
		err := a.err
		if err == nil && !a.image.IsZero() {
			if _, err = r.images.Describe(ctx, a.image); err != nil {
				err = unlisted(err)
			}
		}
		if err != nil {
			errs[i] = fmt.Errorf("%s: %w", a, err)
		}
	})
	if err := cmp.Or(errs...); err != nil {
		return err
	}
	if !r.flags.output.json() {
		e.noteResolved(r.found)
	}
	return nil
}

// annotationsOf reads NAME=VALUE.
func annotationsOf(all []string) (map[string]string, error) {
	out := make(map[string]string, len(all))
	for _, one := range all {
		name, value, ok := strings.Cut(one, "=")
		if _, again := out[name]; !ok || name == "" || again {
			return nil, usage("--annotation: expected NAME=VALUE with a name of its own, found %s", one)
		}
		out[name] = value
	}
	return out, nil
}

// noteResolved tells which images tags stood for.
func (e *env) noteResolved(f found) {
	for _, a := range f.artifacts {
		if a.err == nil && !a.image.IsZero() && !strings.Contains(a.name, "@") {
			e.note("%s is %s.", a.name, a.image)
		}
	}
}

// unsignedImage is the error for an image that has no signature.
func unsignedImage(ref oci.Reference) error {
	return sigbox.Errorf(sigbox.NotVerified, "the registry has no signature of it").
		WithHint("expected a bundle that refers to %s, or cosign's tags for it", ref.Digest())
}
