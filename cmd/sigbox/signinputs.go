package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/atomicfile"
)

// findToSign resolves the arguments of sign: files, and directories with all below
// them. In directories bundles, version control and whatever is no regular file, a
// link for one, are passed over, and told.
func findToSign(ctx context.Context, f signFlags, args []string) (found, error) {
	var all found
	for _, arg := range args {
		if err := all.addToSign(ctx, arg); err != nil {
			return all, err
		}
	}
	all.dedupe()
	switch {
	case len(all.artifacts) == 0:
		return all, &usageError{msg: "there is nothing to sign: found only " + cmp.Or(all.passed.String(), "empty directories"), hint: "name files, or directories with files in them"}
	case f.bundle != "" && len(all.artifacts) > 1:
		return all, usage("--bundle names one file, and there are %d to sign", len(all.artifacts))
	}
	return all, checkOutputs(ctx, f, all.artifacts)
}

func (f *found) addToSign(ctx context.Context, arg string) error {
	if isHash(arg) {
		return usage("sign needs the file itself, found the digest %s", arg)
	}
	if ref, ok, err := imageOf(arg); ok || err != nil {
		f.addImage(arg, ref)
		return err
	}
	info, err := os.Stat(arg)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return &usageError{msg: "there is no file " + arg, hint: "name files and directories, or images with their registry"}
	case err != nil:
		return ioError(err)
	case info.IsDir():
		return f.addBelow(ctx, resolveUp(arg))
	case !info.Mode().IsRegular():
		return usage("%s is no regular file", arg)
	}
	if a, _, ok := evidenceIn(arg); ok {
		return &usageError{msg: arg + " is a bundle or a part of one", hint: "sign the file that it is for: " + a}
	}
	return f.addFile(resolveUp(arg))
}

// addBelow takes what is below a directory. What cannot be read there ends the run,
// before anything is signed.
func (f *found) addBelow(ctx context.Context, root string) error {
	files, err := f.look(ctx, root)
	if err != nil {
		return err
	}
	for _, v := range files {
		switch {
		case v.err != nil:
			return v.err
		case v.artifact != "":
			f.passed.Bundles++
		default:
			_ = f.addFile(v.path) // it only appends
		}
	}
	return nil
}

// bundleOf is where an artifact's bundle goes.
func (f *signFlags) bundleOf(a artifact) string {
	if f.attest != nil {
		return cmp.Or(f.bundle, a.path+linesSuffix)
	}
	return cmp.Or(f.bundle, a.path+bundleSuffix)
}

// checkOutputs makes sure, while nothing is recorded yet, that bundles can be written,
// and over nothing but bundles.
func checkOutputs(ctx context.Context, f signFlags, artifacts []artifact) error {
	errs := make([]error, len(artifacts))
	inParallel(artifacts, func(i int, a artifact) {
		if ctx.Err() == nil && (a.image.IsZero() || f.bundle != "") {
			errs[i] = checkOutput(f.bundleOf(a))
		}
	})
	if err := ctx.Err(); err != nil {
		return ioError(err)
	}
	if err := cmp.Or(errs...); err != nil {
		return err
	}
	return checkApart(f, artifacts)
}

// checkApart refuses to write a bundle over what is signed itself: an empty file.
func checkApart(f signFlags, artifacts []artifact) error {
	signed := make(map[string]bool, len(artifacts))
	for _, a := range artifacts {
		if a.path != "" {
			signed[filepath.Clean(a.path)] = true
		}
	}
	for _, a := range artifacts {
		if out := f.bundleOf(a); signed[filepath.Clean(out)] {
			return &usageError{msg: "the bundle of " + a.path + " would be written over " + out + ", which is to be signed itself", hint: "move it away, or say with --bundle where to write"}
		}
	}
	return nil
}

func checkOutput(path string) error {
	if err := checkOver(path); err != nil {
		return err
	}
	err := atomicfile.Rehearse(path)
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		err = e.Err // of the bundle, not of a file that nobody has heard of
	}
	if err != nil {
		return configured(sigbox.Errorf(sigbox.Internal, "a bundle cannot be written to %s: %w", path, err).WithHint("say with --bundle where to write"))
	}
	return nil
}

// checkOver lets a bundle and an empty file be written over, as mktemp makes them.
func checkOver(path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return ioError(err)
	case info.Mode()&fs.ModeSymlink != 0:
		return refuseLink(path)
	case !info.Mode().IsRegular():
		return usage("cannot write a bundle to %s: it is no regular file", path)
	case info.Size() == 0:
		return nil
	}
	what := "none"
	switch b, err := readFile(path, maxBundleFile); {
	case sigbox.KindOf(err) == sigbox.TooLarge:
		what = fmt.Sprintf("larger than the %d bytes that are read of bundles", maxBundleFile)
	case err != nil:
		return err
	case isBundle(path, b):
		return nil
	}
	return &usageError{msg: "the bundle would be written over " + path + ", which is there and is " + what, hint: "move it away, or say with --bundle where to write"}
}

// refuseLink says where a link leads: a bundle would be written in its place, and
// what it leads to would stay as it is; or over a file that nobody named.
func refuseLink(path string) error {
	to, err := os.Readlink(path)
	if err != nil {
		return ioError(err)
	}
	return &usageError{msg: "cannot write a bundle to " + path + ": it is a link, to " + to, hint: "remove the link, or name a file with --bundle"}
}
