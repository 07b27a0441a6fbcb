package main

import (
	"context"
	"fmt"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/oci"
)

// transferFlags are those of copy, save and load.
type transferFlags struct {
	registry registryFlags
	output   outputFlag
}

// transfer is an image on its way from one place to another.
type transfer struct {
	from, to oci.Place
	// source and target are what they are called.
	source, target string
	// at is the image at the target once its digest is known.
	at func(sigbox.Digest) string
}

// transfer copies an image, makes sure that nothing is lost, and tells of it.
func (e *env) transfer(ctx context.Context, f transferFlags, t transfer) error {
	client, err := e.registries(f.registry)
	if err != nil {
		return err
	}
	bar := e.newMeter()
	done, err := client.Copy(ctx, t.from, t.to, func(now oci.Copied) {
		bar.set("manifests and blobs copied", uint64(now.Manifests+now.Blobs+now.Mounted+now.Present), 0) // #nosec G115 -- counts
	})
	if err == nil {
		err = client.Compare(ctx, t.from, t.to)
	}
	bar.done()
	if err != nil {
		return t.failure(ctx, done, err)
	}
	report := copyReport{
		From: t.source, To: t.target, Image: t.at(done.Image.Digest), Digest: done.Image.Digest.String(), MediaType: done.Image.MediaType,
		Manifests: done.Manifests, Attached: done.Attached, LeftOut: done.LeftOut,
		Blobs: copiedBlobs{Sent: done.Blobs, Mounted: done.Mounted, Present: done.Present, Bytes: done.Bytes},
	}
	if f.output.json() {
		return e.printJSON(report)
	}
	if _, err := fmt.Fprintln(e.stdout, printable(report.Image)); err != nil {
		return ioError(err)
	}
	e.noteRepository()
	e.note("%s", report)
	return nil
}

// failure says what stopped a copy, and that it can go on.
func (t transfer) failure(ctx context.Context, done oci.Copied, err error) error {
	text := fmt.Sprintf("%s to %s", t.source, t.target)
	if done.Manifests > 0 {
		text += fmt.Sprintf(", after %s and %s", count(done.Manifests, "manifest", "manifests"), count(done.Blobs+done.Mounted+done.Present, "blob", "blobs"))
	}
	if ctx.Err() != nil {
		return sigbox.Errorf(sigbox.Unavailable, "%s: interrupted", text).WithHint("the same command goes on from there")
	}
	err = sigbox.Errorf(sigbox.KindOf(err), "%s: %w", text, err)
	switch _, local := t.from.(oci.Layout); {
	case local && done.Manifests == 0 && sigbox.KindOf(err) == sigbox.NotFound:
		return configured(err) // there is no such image in the directory
	case local:
		return unread(err)
	}
	return unlisted(err) // what a registry sends another time may be right
}

// copyReport is what "copy", "save" and "load" print with --output json.
type copyReport struct {
	From      string      `json:"from"`
	To        string      `json:"to"`
	Image     string      `json:"image"` // at the target, by digest
	Digest    string      `json:"digest"`
	MediaType string      `json:"mediaType"`
	Manifests int         `json:"manifests"`
	Attached  int         `json:"attached"` // of the manifests
	LeftOut   int         `json:"leftOut"`  // listed for what they do not refer to
	Blobs     copiedBlobs `json:"blobs"`
}

// copiedBlobs says what became of blobs; Bytes are of those that were sent.
type copiedBlobs struct {
	Sent    int   `json:"sent"`
	Mounted int   `json:"mounted"`
	Present int   `json:"present"`
	Bytes   int64 `json:"bytes"`
}

// String tells of it in a sentence.
func (r copyReport) String() string {
	b, strays := r.Blobs, ""
	if r.LeftOut > 0 {
		strays = fmt.Sprintf(" Left out: %s that a list has and that do not refer to what they are listed for.", count(r.LeftOut, "manifest", "manifests"))
	}
	return fmt.Sprintf("%s, of which %d belong to the image as signatures and the like; blobs: %d sent (%s), %d mounted, %d there before. All that belongs to it is there.%s",
		count(r.Manifests, "manifest", "manifests"), r.Attached, b.Sent, byteSize(b.Bytes), b.Mounted, b.Present, strays)
}

// byteSize writes a number of bytes for people.
func byteSize(n int64) string {
	const unit = 1000
	if n < unit {
		return count(int(n), "byte", "bytes")
	}
	v, prefixes := float64(n)/unit, "kMGTPE"
	for v >= unit && len(prefixes) > 1 {
		v, prefixes = v/unit, prefixes[1:]
	}
	return fmt.Sprintf("%.1f %cB", v, prefixes[0])
}
