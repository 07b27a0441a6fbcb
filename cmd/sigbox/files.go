package main

import (
	"context"
	"errors"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/sigbox/sigbox"
)

// versionControl are the directories that hold a repository's history.
var versionControl = [...]string{".git", ".hg", ".svn", ".jj", ".bzr"}

// artifact is what is signed or verified.
type artifact struct {
	// One of these says what it is: a file, a digest, or standard input.
	path   string
	digest sigbox.NamedDigest
	stdin  bool

	// list is what the file holds when it is one of checksums.
	list *checksumFile
	// listed are the lists that the file stands in, and what they say of it.
	listed []listing
	// alone: it was named, or found in a directory, not in a list only.
	alone bool
}

// listing is a file's place in a list.
type listing struct {
	list *checksumFile
	checksum
}

// String names the artifact as the user did.
func (a artifact) String() string {
	switch {
	case a.stdin:
		return "-"
	case a.path == "":
		return a.digest.String()
	}
	return a.path
}

// what names it in a sentence.
func (a artifact) what() string {
	if a.stdin {
		return "standard input"
	}
	return a.String()
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

// dedupe makes one of what was named twice.
func (f *found) dedupe() {
	places := make(map[string]int, len(f.artifacts))
	kept := f.artifacts[:0]
	for _, a := range f.artifacts {
		key := a.String()
		if a.path != "" {
			key = filepath.Clean(a.path)
		}
		at, again := places[key]
		if !again {
			places[key] = len(kept)
			kept = append(kept, a)
			continue
		}
		first := &kept[at]
		first.alone = first.alone || a.alone
		first.listed = append(first.listed, a.listed...)
		if first.list == nil {
			first.list = a.list
		}
	}
	f.artifacts = kept
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
		return f.walk(ctx, arg, isBundleName, f.addFile)
	case !info.Mode().IsRegular():
		return usage("%s is no regular file", arg)
	}
	return f.addFile(arg)
}

func (f *found) addFile(path string) error {
	f.artifacts = append(f.artifacts, artifact{path: path, alone: true})
	return nil
}

func (f *found) addDigest(arg string) error {
	d, err := sigbox.ParseNamedDigest(arg)
	if err != nil {
		return &usageError{msg: err.Error()}
	}
	f.artifacts = append(f.artifacts, artifact{digest: d, alone: true})
	return nil
}

// isDigest reports whether an argument looks like a digest by the name of an
// algorithm. One letter is the name of a drive, and slashes begin a URL.
func isDigest(arg string) bool {
	name, value, ok := strings.Cut(arg, ":")
	return ok && len(name) > 1 && !strings.HasPrefix(value, "//") && !strings.ContainsFunc(name, func(r rune) bool {
		return r != '_' && r != '-' && (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z')
	})
}

// walk visits the regular files below a directory, which may be a link to one. It
// passes over bundles, version control and whatever is no regular file.
func (f *found) walk(ctx context.Context, root string, isBundle func(string) bool, visit func(string) error) error {
	root = strings.TrimSuffix(root, "/") + "/"
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
		case isBundle(path):
			f.passed.Bundles++
		default:
			return visit(path)
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

// digestOf hashes an artifact's file.
func digestOf(ctx context.Context, path string, algorithms ...sigbox.HashAlgorithm) ([]sigbox.Digest, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, ioError(err)
	}
	defer func() { _ = f.Close() }() // only read
	return hashAll(readerWith(ctx, f), algorithms)
}

// hashAll hashes what r gives with each of the algorithms, in one pass.
func hashAll(r io.Reader, algorithms []sigbox.HashAlgorithm) ([]sigbox.Digest, error) {
	hashes := make([]hash.Hash, len(algorithms))
	writers := make([]io.Writer, len(algorithms))
	for i, a := range algorithms {
		hashes[i] = a.New()
		writers[i] = hashes[i]
	}
	if _, err := io.CopyBuffer(io.MultiWriter(writers...), r, make([]byte, 256<<10)); err != nil {
		return nil, ioError(err)
	}
	digests := make([]sigbox.Digest, len(algorithms))
	for i, a := range algorithms {
		digests[i] = sigbox.Digest{Algorithm: a, Value: hashes[i].Sum(nil)}
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
