package main

import (
	"cmp"
	"context"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/spf13/cobra"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/atomicfile"
	"github.com/sigbox/sigbox/oci"
	"github.com/sigbox/sigbox/wire/bundle"
	"github.com/sigbox/sigbox/wire/cosign"
)

func newDownloadCommand(e *env) *cobra.Command {
	var f downloadFlags
	cmd := &cobra.Command{
		Use:     "download IMAGE",
		GroupID: "images",
		Short:   "Write an image's bundles to files or standard output",
		Long: `download writes the bundles of an image to standard output, one in a line, as a file
` + linesSuffix + ` has them; with --dir each to a file that is named by its manifest's
digest and what it is. Then sigbox verify checks the image's digest with them where there
is no registry.

What cosign put under tags before becomes a bundle of today's form where that is possible,
else one of cosign's old form. Its signatures of images are over a payload that names the
image: --dir writes the payload as well, and standard output does not have them.

Nothing is verified: they are what anybody could put there.`,
		Example: `  sigbox download registry.example/app:v1 > app` + linesSuffix + `
  sigbox verify sha256:… --bundle app` + linesSuffix + ` --policy release.yaml
  sigbox download --recursive --dir signatures/ registry.example/app:v1`,
		Args:              exactArgs(1),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE:              func(cmd *cobra.Command, args []string) error { return e.download(cmd.Context(), f, args[0]) },
	}
	cmd.Flags().StringVar(&f.dir, "dir", "", "`DIR` to write files to, in place of standard output")
	_ = cmd.MarkFlagDirname("dir")
	f.registry.register(cmd, "download those of")
	f.output.register(cmd)
	strictFlags(cmd.Flags())
	return cmd
}

type downloadFlags struct {
	dir      string
	registry registryFlags
	output   outputFlag
}

// downloadReport is what "download --dir DIR --output json" prints. Verified is always
// false.
type downloadReport struct {
	Image    string           `json:"image"`
	Verified bool             `json:"verified"`
	Warning  string           `json:"warning"`
	Files    []downloadedJSON `json:"files"`
	Failed   []notReadJSON    `json:"failed"`
}

// downloadedJSON is a bundle in a file. Payload is the file with what it signs, which
// names the image.
type downloadedJSON struct {
	File     fileName `json:"file"`
	Kind     string   `json:"kind"`
	Of       string   `json:"of"`
	Manifest string   `json:"manifest"`
	Payload  fileName `json:"payload,omitempty"`
}

// notReadJSON is what is attached and could not be written.
type notReadJSON struct {
	Kind     string `json:"kind"`
	Of       string `json:"of"`
	Manifest string `json:"manifest"`
	Error    string `json:"error"`
}

// download is the verb.
func (e *env) download(ctx context.Context, f downloadFlags, arg string) error {
	if f.output.json() && f.dir == "" {
		return usage("--output json needs --dir: without it bundles go to standard output")
	}
	image, err := e.openImage(ctx, f.registry, arg)
	if err != nil {
		return err
	}
	d := &downloading{env: e, image: image, dir: f.dir, names: map[string]int{}}
	d.report = downloadReport{Image: image.ref.String(), Warning: unverifiedTree, Files: []downloadedJSON{}, Failed: []notReadJSON{}}
	if err := d.all(ctx, f.registry.recursive); err != nil {
		return image.failure(err)
	}
	return d.finish(f)
}

// downloading is one call of the verb.
type downloading struct {
	*env
	image  *image
	dir    string
	names  map[string]int // how often a file's name was wanted
	report downloadReport
	// written are bundles of the image, payloads those of what cosign signed for it, and
	// leftOut those of them that could not go to standard output.
	written, payloads, leftOut int
	err                        error // the first
}

// all writes what belongs to an image.
func (d *downloading) all(ctx context.Context, recursive bool) error {
	client, ref := d.image.client, d.image.ref
	images := []oci.Reference{ref}
	if recursive {
		below, err := client.Images(ctx, ref)
		if err != nil {
			return unlisted(err)
		}
		for _, b := range below[1:] {
			images = append(images, ref.At(b.Digest))
		}
	}
	for _, image := range images {
		for a, err := range client.Attachments(ctx, image, oci.Query{}) {
			if a == nil {
				return unlisted(err) // the list is not whole
			}
			if err == nil {
				err = d.write(a)
			}
			if err != nil {
				d.err = cmp.Or(d.err, err)
				d.report.Failed = append(d.report.Failed, notReadJSON{a.Kind.String(), a.Subject.Digest().String(), a.Manifest.String(), err.Error()})
			}
		}
	}
	return nil
}

// write writes one bundle.
func (d *downloading) write(a *oci.Attachment) error {
	content, suffix, err := bundleFile(a)
	switch {
	case err != nil:
		return err
	case d.dir != "":
		return d.writeFile(a, content, suffix)
	case a.Kind == oci.Signature:
		d.leftOut++
		return nil
	}
	if err := content.Compact(); err != nil {
		return sigbox.Errorf(sigbox.Invalid, "the bundle cannot be read").WithCause(err)
	}
	if _, err := d.stdout.Write(append(content, '\n')); err != nil {
		return ioError(err)
	}
	d.written++
	return nil
}

// bundleFile gives an attachment as a file of a bundle, with the end of its name: a
// bundle of today as it was found.
func bundleFile(a *oci.Attachment) (content jsontext.Value, suffix string, err error) {
	b, err := a.Bundle()
	if err != nil {
		return nil, "", err
	}
	if a.Kind == oci.Bundle {
		return append(content, a.Content...), bundleSuffix, nil
	}
	if content, err = bundle.Append(nil, b); err == nil {
		return content, bundleSuffix, nil
	}
	var envelope []byte
	if a.Kind == oci.Attestation {
		envelope = a.Content
	}
	content, err = cosign.AppendBundle(nil, b, envelope)
	return content, oldBundleSuffix, err
}

// writeFile writes one bundle to a file of its own, with the payload that it is over.
func (d *downloading) writeFile(a *oci.Attachment, content []byte, suffix string) error {
	if err := atomicfile.MkdirAll(d.dir, 0o755); err != nil {
		return ioError(err)
	}
	base := strings.ReplaceAll(a.Manifest.String(), ":", "-") + "." + strings.ToLower(a.Kind.String())
	if d.names[base]++; d.names[base] > 1 {
		base += fmt.Sprintf("-%d", d.names[base])
	}
	done := downloadedJSON{Kind: a.Kind.String(), Of: a.Subject.Digest().String(), Manifest: a.Manifest.String()}
	if a.Kind == oci.Signature {
		base += ".payload.json"
		payload := filepath.Join(d.dir, base)
		if err := atomicfile.Replace(payload, a.Content, 0o644); err != nil {
			return ioError(err)
		}
		done.Payload = fileName(payload)
	}
	file := filepath.Join(d.dir, base+suffix)
	if err := atomicfile.Replace(file, content, 0o644); err != nil {
		return ioError(err)
	}
	if done.File = fileName(file); a.Kind == oci.Signature {
		d.payloads++
	} else {
		d.written++
	}
	d.report.Files = append(d.report.Files, done)
	return nil
}

// finish tells what was written, and what to do with it.
func (d *downloading) finish(f downloadFlags) error {
	ref := d.image.ref
	if len(d.report.Failed)+d.written+d.payloads+d.leftOut == 0 {
		return sigbox.Errorf(sigbox.NotFound, "%s has no bundles, signatures or attestations", ref).WithHint("sigbox tree shows what belongs to it")
	}
	if f.output.json() {
		if err := d.printJSON(d.report); err != nil {
			return err
		}
		if d.err != nil {
			return silentError{exitStatus(unread(d.err))}
		}
		return nil
	}
	d.noteTag(d.image.asked, ref)
	for _, file := range d.report.Files {
		if _, err := fmt.Fprintln(d.stdout, printable(string(file.File))); err != nil {
			return ioError(err)
		}
	}
	d.note("%s.", unverifiedTree)
	if d.written > 0 {
		d.note("To check %s: sigbox verify %s --bundle FILE", count(d.written, "bundle", "bundles"), ref.Digest())
	}
	if d.payloads > 0 {
		d.note("To check %s over a payload that names the image: sigbox verify FILE.payload.json", count(d.payloads, "signature", "signatures"))
	}
	if d.leftOut > 0 {
		d.note("Left out: %s over a payload that names the image, as cosign made them before; --dir writes them.", count(d.leftOut, "signature", "signatures"))
	}
	if d.err != nil {
		return fmt.Errorf("%s not written: %w", count(len(d.report.Failed), "bundle", "bundles"), unread(d.err))
	}
	return nil
}
