package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/oci"
)

// versionControl are the directories that hold a repository's history.
var versionControl = [...]string{".git", ".hg", ".svn", ".jj", ".bzr"}

// artifact is what is signed or verified.
type artifact struct {
	// One of these says what it is: a file, a digest, standard input, or an image, whose
	// digest is there as well once it is resolved, or what cosign signed for an image.
	path    string
	digest  sigbox.NamedDigest
	stdin   bool
	image   oci.Reference
	payload []byte

	// name is what an image was called.
	name string

	// list is what the file holds when it is one of checksums.
	list *checksumFile
	// listed are the lists that the file stands in, and what they say of it.
	listed []listing
	// alone: it was named, or found in a directory, not in a list only.
	alone bool
	// by is where its signatures are when they were named in its place; nil is all
	// that is beside it.
	by []evidence
	// bundle: it may be one, of a file in the same directory; then it is no artifact.
	bundle bool
	// seen is what was in its directory, nil when nobody looked.
	seen seen
	// err is why it cannot be looked at: there is no file to go with a bundle, or a
	// directory could not be read.
	err error
}

// seen are the files that were found below a directory, by their paths, and whether
// each is a regular one and not a link, say.
type seen map[string]bool

// isFile reports whether there is a regular file, or a link to one.
func (s seen) isFile(path string) bool {
	regular, there := s[path]
	return regular || there && isFile(path)
}

// evidence finds what is beside the artifact.
func (a artifact) evidence() []evidence {
	if a.seen != nil {
		return evidenceBeside(a.path, a.seen.isFile)
	}
	return evidenceBeside(a.path, isFile)
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
	case !a.image.IsZero():
		return a.name
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
	// Odd are links, sockets and the like, and OddNames what they are called.
	Odd      int        `json:"linksAndSpecialFiles"`
	OddNames []fileName `json:"linkAndSpecialFileNames,omitempty"`
}

func (p *passedOver) addOdd(path string) {
	p.Odd++
	p.OddNames = append(p.OddNames, fileName(path))
}

// artifactKey tells artifacts apart that are no files.
type artifactKey struct {
	digest sigbox.NamedDigest
	stdin  bool
	image  string
}

func (a artifact) key() artifactKey {
	k := artifactKey{digest: a.digest, stdin: a.stdin}
	if !a.image.IsZero() {
		k.image = a.image.String()
	}
	return k
}

// resolveUp gives a path that [filepath.Clean] may shorten: that takes for granted that
// .. leads back, and behind a link it leads to the parent of what is linked.
func resolveUp(path string) string {
	up := strings.LastIndex("/"+filepath.ToSlash(path)+"/", "/../")
	if up < 0 || sameFile(filepath.Clean(path), path) {
		return path
	}
	up += len("..")
	resolved, err := filepath.EvalSymlinks(path[:up])
	if err != nil {
		return path // there is nothing
	}
	return filepath.Join(resolved, path[up:])
}

// dedupe makes one of what was named twice. Most are files, and thousands of them.
func (f *found) dedupe() {
	files, others := make(map[string]int, len(f.artifacts)), make(map[artifactKey]int)
	kept := f.artifacts[:0]
	for _, a := range f.artifacts {
		if a.path != "" {
			kept = keepOnce(kept, files, filepath.Clean(a.path), a)
		} else {
			kept = keepOnce(kept, others, a.key(), a)
		}
	}
	f.artifacts = kept
}

// keepOnce appends an artifact to others, or makes it part of that which has its key.
func keepOnce[K comparable](kept []artifact, places map[K]int, key K, a artifact) []artifact {
	if at, again := places[key]; again {
		kept[at].merge(a)
		return kept
	}
	places[key] = len(kept)
	return append(kept, a)
}

// merge takes what is known of the artifact from another place.
func (a *artifact) merge(o artifact) {
	switch {
	case !a.alone: // in a list only
		a.by = o.by
	case o.alone && (a.by == nil || o.by == nil):
		a.by = nil // one place says all, so it is all
	case o.alone:
		a.by = append(a.by, o.by...)
	}
	a.alone = a.alone || o.alone
	a.bundle = a.bundle && o.bundle
	if a.seen == nil {
		a.seen = o.seen
	}
	a.listed = append(a.listed, o.listed...)
	a.list = cmp.Or(a.list, o.list)
	if a.err == nil {
		a.err = o.err
	}
}

func (f *found) addFile(path string) error {
	f.artifacts = append(f.artifacts, artifact{path: path, alone: true})
	return nil
}

func (f *found) addDigest(arg string) error {
	d, err := sigbox.ParseNamedDigest(arg)
	if err != nil {
		return configured(err)
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

// isHash reports whether an argument is a digest whatever files there are: one of an
// algorithm that sigbox or in-toto knows, or anything of the length of a hash. A file
// of that name is ./NAME.
func isHash(arg string) bool {
	name, value, _ := strings.Cut(arg, ":")
	if !isDigest(arg) || value == "" {
		return false
	}
	const shortest = 32 // hex digits: MD5
	_, err := hex.DecodeString(value)
	return err == nil && len(value) >= shortest || slices.ContainsFunc(digestNames[:], func(known string) bool { return strings.EqualFold(name, known) })
}

// digestNames are the algorithms that have a name in statements.
//
// Source: https://github.com/in-toto/attestation/blob/main/spec/v1/digest_set.md
var digestNames = [...]string{
	"sha256", "sha384", "sha512", "sha224", "sha512_224", "sha512_256", "sha3_224", "sha3_256", "sha3_384", "sha3_512", "shake128", "shake256",
	"blake2b", "blake2s", "ripemd160", "sm3", "gost", "sha1", "md5", "gitCommit", "gitTree", "gitBlob", "gitTag", "dirHash",
}

// walk visits the regular files and links below a directory, which may be a link to
// one, and what of it cannot be read, with the error. It passes over version control
// and special files, enters no links, and gives all files that it saw.
func (f *found) walk(ctx context.Context, root string, visit func(visited)) (seen, error) {
	all := make(seen)
	root = enterable(root)
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			visit(visited{path: path, err: ioError(err)})
		case d.IsDir() && path != root && slices.Contains(versionControl[:], d.Name()):
			f.passed.VersionControl++
			return filepath.SkipDir
		case d.IsDir():
		case d.Type()&fs.ModeSymlink != 0:
			all[path] = false
			visit(visited{path: path, link: true})
		case !d.Type().IsRegular():
			all[path] = false
			f.passed.addOdd(path)
		default:
			all[path] = true
			visit(visited{path: path})
		}
		return nil
	})
	if err != nil {
		return nil, ioError(err)
	}
	return all, nil
}

// enterable gives a directory's path such that [filepath.WalkDir] enters it, which it
// does with a link only if a slash stands behind it. Without one it joins paths faster.
func enterable(dir string) string {
	dir = strings.TrimSuffix(dir, "/")
	if info, err := os.Lstat(dir); err == nil && info.IsDir() {
		return dir
	}
	return dir + "/"
}

// visited is a file of a directory.
type visited struct {
	path string
	err  error
	// artifact is the file that this one is evidence for, "" if it is none.
	artifact string
	// bundle: it may be one, or a signature, by its name, of a file that is there, and
	// nobody has looked into it.
	bundle bool
	// link: it is one, and to is what it leads to, where that is below the same
	// directory.
	link bool
	to   string
}

// isArtifact reports whether it is to be judged: it is no evidence for another file.
func (v visited) isArtifact() bool { return v.err == nil && v.artifact == "" && !v.bundle }

// look gives the regular files below a directory, and what of it cannot be read, and
// passes over links. Whether files hold what their names say is looked up.
func (f *found) look(ctx context.Context, root string) ([]visited, error) {
	var files []visited
	visit := func(v visited) {
		if v.link {
			f.passed.addOdd(v.path)
			return
		}
		files = append(files, v)
	}
	if _, err := f.walk(ctx, root, visit); err != nil {
		return nil, err
	}
	return files, lookInto(ctx, files, func(path string) string {
		artifact, _ := belongs(ctx, path, nil)
		return artifact
	})
}

// lookInto looks up what files are evidence for, of many at once.
func lookInto(ctx context.Context, files []visited, artifactOf func(path string) string) error {
	inParallel(files, func(i int, v visited) {
		if v.err == nil && !v.bundle && ctx.Err() == nil {
			files[i].artifact = artifactOf(v.path)
		}
	})
	if err := ctx.Err(); err != nil {
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
	} {
		if c.n > 0 {
			parts = append(parts, count(c.n, c.one, c.several))
		}
	}
	if p.Odd > 0 {
		parts = append(parts, count(p.Odd, "link or special file", "links or special files")+" ("+p.oddNames()+")")
	}
	return strings.Join(parts, ", ")
}

// oddNames names the first few.
func (p passedOver) oddNames() string {
	const most = 5
	names := make([]string, 0, most)
	for _, n := range p.OddNames[:min(most, len(p.OddNames))] {
		names = append(names, string(n))
	}
	if more := len(p.OddNames) - most; more > 0 {
		return listed(names) + fmt.Sprintf(", and %d more", more)
	}
	return listed(names)
}

// digestOf hashes an artifact's file.
func digestOf(ctx context.Context, path string, algorithms ...sigbox.HashAlgorithm) ([]sigbox.Digest, error) {
	f, err := openRegular(path)
	if err != nil {
		return nil, err
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

// promptly does a verb's work, and gives up on it when ctx is done, whatever the work
// waits for: a pipe that nobody writes to, or a file system that does not answer. What
// it found by then counts for nothing, since its input may have been cut short.
func promptly[T any](ctx context.Context, work func() (T, error)) (T, error) {
	type result struct {
		value T
		err   error
	}
	done := make(chan result, 1)
	go func() {
		value, err := work()
		done <- result{value, err}
	}()
	select {
	case r := <-done:
		if ctx.Err() == nil {
			return r.value, r.err
		}
	case <-ctx.Done():
	}
	var none T
	return none, sigbox.Errorf(sigbox.Unavailable, "interrupted: nothing was decided")
}

// readFile reads a file of at most limit bytes.
func readFile(path string, limit int64) ([]byte, error) {
	f, err := openInput(path)
	if err != nil {
		return nil, ioError(err)
	}
	defer func() { _ = f.Close() }() // only read
	info, err := f.Stat()
	if err != nil {
		return nil, ioError(err)
	}
	b, err := readSized(f, path, limit, info.Size())
	if err == nil && len(b) == 0 && info.Mode()&fs.ModeNamedPipe != 0 {
		return nil, usage("%s is a pipe, and nothing came out of it", path)
	}
	return b, err
}

// inputFlags open a file without waiting for somebody to write to a pipe; who does
// already, as a shell's <(…), is read to the end.
const inputFlags = os.O_RDONLY | syscall.O_NONBLOCK

// openInput opens a file that a flag names.
func openInput(path string) (*os.File, error) {
	return os.OpenFile(path, inputFlags, 0) // #nosec G304 -- the user's
}

// openRegular opens a file that was a regular one when it was found.
func openRegular(path string) (*os.File, error) {
	f, err := openInput(path)
	if err != nil {
		return nil, ioError(err)
	}
	return f, stillRegular(f, path)
}

// stillRegular closes a file that is no regular one any more.
func stillRegular(f *os.File, path string) error {
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is no regular file any more", path)
	}
	if err != nil {
		_ = f.Close() // only read
		return ioError(err)
	}
	return nil
}

// readAll reads at most limit bytes of what is called name.
func readAll(r io.Reader, name string, limit int64) ([]byte, error) {
	return readSized(r, name, limit, 0)
}

// readSized is readAll for what probably has size bytes.
func readSized(r io.Reader, name string, limit, size int64) ([]byte, error) {
	var b bytes.Buffer
	if size <= limit {
		b.Grow(int(size) + bytes.MinRead) // for the end to be found without growing
		if _, err := b.ReadFrom(io.LimitReader(r, limit+1)); err != nil {
			return nil, ioError(err)
		}
	}
	if size > limit {
		return nil, tooLarge(name, limit, strconv.FormatInt(size, 10)+" bytes")
	}
	if int64(b.Len()) > limit {
		return nil, tooLarge(name, limit, "more")
	}
	return b.Bytes(), nil
}

func tooLarge(name string, limit int64, found string) error {
	return sigbox.Mismatch(sigbox.TooLarge, name+" is too large", fmt.Sprintf("at most %d bytes", limit), found)
}

// ioError is what the file system or an interrupt said: nothing is decided by it.
func ioError(err error) error { return sigbox.Errorf(sigbox.Internal, "%w", err) }
