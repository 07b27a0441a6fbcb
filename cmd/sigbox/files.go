package main

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/sigbox/sigbox"
)

const (
	bundleSuffix = ".sigstore.json"
	// maxBundleFile bounds what is read of a file of bundles, in bytes.
	maxBundleFile = 32 << 20
)

// bundleSuffixes are the names that bundles are found under, beside an artifact.
var bundleSuffixes = [...]string{bundleSuffix, ".sigstore.jsonl", ".sigstore"}

// isBundleName reports whether a file is a bundle by its name.
func isBundleName(path string) bool { return artifactOf(path) != path }

// artifactOf gives the name of the artifact that a bundle of this name is for;
// path itself when it is no bundle's name.
func artifactOf(path string) string {
	for _, s := range bundleSuffixes {
		if a, ok := strings.CutSuffix(path, s); ok && filepath.Base(path) != s {
			return a
		}
	}
	return path
}

// bundlesBeside finds all files of bundles that belong to an artifact. What is no
// regular file, such as a pipe that never ends, is none.
func bundlesBeside(path string) []string {
	var files []string
	for _, s := range bundleSuffixes {
		if info, err := os.Stat(path + s); err == nil && info.Mode().IsRegular() {
			files = append(files, path+s)
		}
	}
	return files
}

// versionControl are the directories that hold a repository's history.
var versionControl = [...]string{".git", ".hg", ".svn", ".jj", ".bzr"}

// artifact is what is signed or verified: a file, or a digest alone.
type artifact struct {
	path   string
	digest sigbox.Digest
}

// String names the artifact as the user did.
func (a artifact) String() string {
	if a.path == "" {
		return a.digest.String()
	}
	return a.path
}

// found is what a command line's arguments stand for.
type found struct {
	artifacts []artifact
	passed    passedOver
}

// passedOver counts what was not looked at in directories.
type passedOver struct {
	Bundles        int `json:"bundles"`
	VersionControl int `json:"versionControl"` // directories
	// Odd are links, sockets and the like.
	Odd int `json:"linksAndSpecialFiles"`
}

// findArtifacts resolves arguments: files, directories with all below them, and
// digests. In directories bundles, version control and whatever is no regular
// file are passed over, and counted.
func findArtifacts(ctx context.Context, args []string) (found, error) {
	var f found
	for _, arg := range args {
		if err := f.add(ctx, arg); err != nil {
			return f, err
		}
	}
	f.dedupe()
	return f, nil
}

// dedupe keeps the first of what was named twice.
func (f *found) dedupe() {
	seen := make(map[string]bool, len(f.artifacts))
	f.artifacts = slices.DeleteFunc(f.artifacts, func(a artifact) bool {
		key := filepath.Clean(a.path)
		if a.path == "" {
			key = a.digest.String()
		}
		again := seen[key]
		seen[key] = true
		return again
	})
}

func (f *found) add(ctx context.Context, arg string) error {
	info, err := os.Stat(arg)
	switch {
	case errors.Is(err, fs.ErrNotExist) && isDigest(arg):
		return f.addDigest(arg)
	case errors.Is(err, fs.ErrNotExist):
		return &usageError{msg: "there is no file " + arg, hint: "name files, directories or digests like sha256:…"}
	case err != nil:
		return ioError(err)
	case info.IsDir():
		return f.addDirectory(ctx, arg)
	case !info.Mode().IsRegular():
		return usage("%s is no regular file", arg)
	}
	f.artifacts = append(f.artifacts, artifact{path: arg})
	return nil
}

func (f *found) addDigest(arg string) error {
	d, err := sigbox.ParseDigest(arg)
	if err != nil {
		return &usageError{msg: err.Error()}
	}
	f.artifacts = append(f.artifacts, artifact{digest: d})
	return nil
}

func isDigest(arg string) bool {
	name, _, ok := strings.Cut(arg, ":")
	_, known := sigbox.HashByName(name)
	return ok && known
}

func (f *found) addDirectory(ctx context.Context, root string) error {
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case ctx.Err() != nil:
			return ctx.Err()
		case d.IsDir() && path != root && slices.Contains(versionControl[:], d.Name()):
			f.passed.VersionControl++
			return filepath.SkipDir
		case d.IsDir():
		case !d.Type().IsRegular():
			f.passed.Odd++
		case isBundleName(path):
			f.passed.Bundles++
		default:
			f.artifacts = append(f.artifacts, artifact{path: path})
		}
		return nil
	})
	if err != nil {
		return ioError(err)
	}
	return nil
}

// String says what was passed over, "" when nothing was.
func (p passedOver) String() string {
	var parts []string
	for _, c := range []struct {
		n            int
		one, several string
	}{
		{p.Bundles, "bundle", "bundles"},
		{p.VersionControl, "version control directory", "version control directories"},
		{p.Odd, "link or special file", "links or special files"},
	} {
		if c.n > 0 {
			parts = append(parts, count(c.n, c.one, c.several))
		}
	}
	return strings.Join(parts, ", ")
}

// digestOf hashes an artifact's file with each of the algorithms, in one pass.
func digestOf(ctx context.Context, path string, algorithms ...sigbox.HashAlgorithm) ([]sigbox.Digest, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, ioError(err)
	}
	defer func() { _ = f.Close() }() // only read
	hashes := make([]io.Writer, len(algorithms))
	digests := make([]sigbox.Digest, len(algorithms))
	sums := make([]func([]byte) []byte, len(algorithms))
	for i, a := range algorithms {
		h := a.New()
		hashes[i], sums[i] = h, h.Sum
	}
	if _, err := io.Copy(io.MultiWriter(hashes...), readerWith(ctx, f)); err != nil {
		return nil, ioError(err)
	}
	for i, a := range algorithms {
		digests[i] = sigbox.Digest{Algorithm: a, Value: sums[i](nil)}
	}
	return digests, nil
}

// contextReader ends a long read with its context.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func readerWith(ctx context.Context, r io.Reader) io.Reader { return contextReader{ctx, r} }

func (c contextReader) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}

// readFile reads a file of at most limit bytes.
func readFile(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, ioError(err)
	}
	defer func() { _ = f.Close() }() // only read
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, ioError(err)
	}
	if int64(len(b)) > limit {
		return nil, sigbox.Errorf(sigbox.TooLarge, "%s is larger than %d bytes", path, limit)
	}
	return b, nil
}

// ioError is what the file system or an interrupt said: nothing is decided by it.
func ioError(err error) error { return sigbox.Errorf(sigbox.Internal, "%w", err) }
