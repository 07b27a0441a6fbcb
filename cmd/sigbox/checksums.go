package main

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/sigbox/sigbox"
)

// Bounds on files of checksums, in bytes.
const (
	maxChecksumFile = 32 << 20
	maxChecksumLine = 16 << 10
)

// isChecksumName reports whether a file is one of checksums by its name, as
// distributions, GoReleaser and HashiCorp call theirs.
func isChecksumName(path string) bool {
	name := filepath.Base(path)
	for _, sums := range [...]string{"SHA256SUMS", "SHA384SUMS", "SHA512SUMS"} {
		if name == sums || strings.HasSuffix(name, "_"+sums) {
			return true
		}
	}
	return strings.HasSuffix(name, "checksums.txt")
}

// checksumFile is a file of checksums. What is verified and what is parsed are the
// same bytes, read once.
type checksumFile struct {
	path    string
	content []byte
	listed  []checksum
	// err says why nothing could make it a list to rely on.
	err error
	// What became of it: set while lists are judged, read when all have been.
	verified bool
	failure  error
}

// checksum is a file that a checksum file lists, with all digests that it has
// there.
type checksum struct {
	name    string // relative to the list's directory
	digests []sigbox.Digest
}

// readChecksums reads a file of checksums. One that cannot be parsed has err set:
// it is the list that is bad, not the command line.
func readChecksums(path string) (*checksumFile, error) {
	b, err := readFile(path, maxChecksumFile)
	if err != nil {
		return nil, err
	}
	c := &checksumFile{path: path, content: b}
	c.listed, c.err = parseChecksums(b)
	return c, nil
}

// parseChecksums reads lines as sha256sum and its like write them: "HEX  NAME",
// "HEX *NAME" and, with --tag or on BSD, "SHA256 (NAME) = HEX". In a line that
// begins with a backslash the name is escaped. Empty lines and those that begin
// with # are passed over; any other line that cannot be read spoils the list.
//
// Source: GNU coreutils, "cksum output modes".
func parseChecksums(b []byte) ([]checksum, error) {
	if bytes.HasPrefix(b, []byte("-----BEGIN PGP SIGNED MESSAGE-----")) {
		return nil, sigbox.Errorf(sigbox.Invalid, "it is wrapped in an OpenPGP signature").WithHint("the list must stand in a file by itself, and its signature beside it")
	}
	b = bytes.TrimPrefix(b, []byte("\xef\xbb\xbf")) // as editors on Windows put it
	var list []checksum
	places := make(map[string]int) // in list, by name
	for n := 1; len(b) > 0; n++ {
		var line []byte
		line, b, _ = bytes.Cut(b, []byte{'\n'})
		line = bytes.TrimSuffix(line, []byte{'\r'})
		if len(line) == 0 || line[0] == '#' {
			continue
		}
		name, digest, err := parseChecksum(line)
		if err != nil {
			return nil, inLine(n, err)
		}
		name = filepath.Clean(filepath.FromSlash(name))
		at, known := places[name]
		if !known {
			at = len(list)
			places[name] = at
			list = append(list, checksum{name: name})
		}
		if !slices.ContainsFunc(list[at].digests, digest.Equal) {
			list[at].digests = append(list[at].digests, digest)
		}
	}
	if len(list) == 0 {
		return nil, sigbox.Errorf(sigbox.Invalid, "it lists no files").WithHint("expected lines like: 5891b5b5…  app.tar.gz")
	}
	return list, nil
}

// inLine says where an error is, and keeps its next step.
func inLine(n int, err error) error {
	e, ok := errors.AsType[*sigbox.Error](err)
	if !ok {
		return err
	}
	placed := *e
	placed.Msg = fmt.Sprintf("line %d: %s", n, e.Msg)
	return &placed
}

// parseChecksum reads a line of any form.
func parseChecksum(line []byte) (string, sigbox.Digest, error) {
	if len(line) > maxChecksumLine {
		return "", sigbox.Digest{}, sigbox.Errorf(sigbox.TooLarge, "it has %d bytes, at most %d are read", len(line), maxChecksumLine)
	}
	text, escaped := strings.CutPrefix(string(line), `\`)
	digits, name, ok := splitGNU(text)
	if !ok {
		if digits, name, ok = splitBSD(text); !ok {
			return "", sigbox.Digest{}, sigbox.Errorf(sigbox.Invalid, "%.80q is no checksum", text)
		}
	}
	if escaped {
		if name, ok = unescapeName(name); !ok {
			return "", sigbox.Digest{}, sigbox.Errorf(sigbox.Invalid, "%.80q: expected only \\\\, \\n and \\r after a backslash", name)
		}
	}
	if name == "" || strings.ContainsRune(name, 0) {
		return "", sigbox.Digest{}, sigbox.Errorf(sigbox.Invalid, "%.80q is no file's name", name)
	}
	digest, err := checksumDigest(digits)
	return name, digest, err
}

// splitGNU splits "HEX  NAME", "HEX *NAME", and "HEX NAME" of old tools.
func splitGNU(line string) (digits, name string, ok bool) {
	digits, name, ok = strings.Cut(line, " ")
	if _, err := hex.DecodeString(digits); !ok || err != nil || digits == "" || name == "" {
		return "", "", false
	}
	if name[0] == ' ' || name[0] == '*' {
		name = name[1:]
	}
	return digits, name, true
}

// splitBSD splits "SHA256 (NAME) = HEX", and OpenSSL's "SHA2-256(NAME)= HEX".
func splitBSD(line string) (digits, name string, ok bool) {
	tag, rest, opened := strings.Cut(line, "(")
	end := strings.LastIndexByte(rest, ')')
	if !opened || end < 0 {
		return "", "", false
	}
	digits, ok = strings.CutPrefix(strings.TrimPrefix(rest[end+1:], " "), "= ")
	algorithm, known := sigbox.HashByName(strings.ToLower(strings.Replace(strings.TrimSpace(tag), "SHA2-", "SHA", 1)))
	return digits, rest[:end], ok && known && len(digits) == 2*algorithm.Size()
}

// unescapeName gives the name that a line with a leading backslash has.
func unescapeName(s string) (string, bool) {
	var b strings.Builder
	for {
		plain, rest, found := strings.Cut(s, `\`)
		b.WriteString(plain)
		if !found {
			return b.String(), true
		}
		if rest == "" {
			return s, false
		}
		switch rest[0] {
		case '\\':
			b.WriteByte('\\')
		case 'n':
			b.WriteByte('\n')
		case 'r':
			b.WriteByte('\r')
		default:
			return s, false
		}
		s = rest[1:]
	}
}

// checksumDigest tells the algorithm by the length.
func checksumDigest(digits string) (sigbox.Digest, error) {
	value, err := hex.DecodeString(digits)
	if err != nil {
		return sigbox.Digest{}, sigbox.Errorf(sigbox.Invalid, "%.140q is not in hex", digits)
	}
	algorithm, known := sigbox.HashBySize(len(value))
	if !known {
		return sigbox.Digest{}, sigbox.Errorf(sigbox.Invalid, "a checksum of %d bits: expected SHA-256, SHA-384 or SHA-512", 8*len(value)).
			WithHint("MD5 and SHA-1 do not tell files apart any more")
	}
	return sigbox.Digest{Algorithm: algorithm, Value: value}, nil
}

// check compares a listed file with the list. It gives a digest of the file.
func (c *checksumFile) check(ctx context.Context, sum checksum) (sigbox.Digest, error) {
	switch {
	case c.failure != nil:
		return sigbox.Digest{}, sigbox.Errorf(sigbox.KindOf(c.failure), "%s, which lists it, is not verified", c.path)
	case !c.verified:
		return sigbox.Digest{}, sigbox.Errorf(sigbox.Internal, "%s, which lists it, was not judged", c.path)
	}
	f, err := c.open(sum.name)
	if err != nil {
		return sigbox.Digest{}, err
	}
	defer func() { _ = f.Close() }() // only read
	algorithms := make([]sigbox.HashAlgorithm, len(sum.digests))
	for i, d := range sum.digests {
		algorithms[i] = d.Algorithm
	}
	found, err := hashAll(readerWith(ctx, f), algorithms)
	if err != nil {
		return sigbox.Digest{}, err
	}
	for i, want := range sum.digests {
		if !found[i].Equal(want) {
			return sigbox.Digest{}, sigbox.Mismatch(sigbox.NotVerified, "it is not the file that "+c.path+" lists", want, found[i])
		}
	}
	return found[0], nil
}

// open opens a listed file, which must be in the list's directory or below: also
// links do not lead out of it.
func (c *checksumFile) open(name string) (*os.File, error) {
	root, err := os.OpenRoot(filepath.Dir(c.path))
	if err != nil {
		return nil, ioError(err)
	}
	defer func() { _ = root.Close() }() // only read
	info, err := root.Stat(name)
	switch {
	case !filepath.IsLocal(name):
		return nil, sigbox.Errorf(sigbox.NotVerified, "%s lists it, and may only list what is in its own directory", c.path)
	case errors.Is(err, fs.ErrNotExist):
		return nil, sigbox.Errorf(sigbox.NotVerified, "%s lists it, and it is not here", c.path).WithHint("--ignore-missing passes over such files")
	case err != nil:
		return nil, sigbox.Errorf(sigbox.NotVerified, "%s lists it, and it cannot be looked at: a link leads out of the list's directory or in circles, or it cannot be read", c.path).WithCause(err)
	case !info.Mode().IsRegular():
		return nil, sigbox.Errorf(sigbox.NotVerified, "%s lists it, and it is no regular file", c.path)
	}
	f, err := root.OpenFile(name, inputFlags, 0)
	if err != nil {
		return nil, ioError(err)
	}
	return f, stillRegular(f, name)
}

// missingAll is the error for a list of which --ignore-missing leaves nothing.
func missingAll(c *checksumFile) error {
	if len(c.listed) == 1 {
		return sigbox.Errorf(sigbox.NotVerified, "the file that it lists, %s, is not here", c.listed[0].name)
	}
	return sigbox.Errorf(sigbox.NotVerified, "none of the %d files that it lists is here", len(c.listed))
}

// missing reports whether a listed file is not there at all.
func (c *checksumFile) missing(name string) bool {
	if !filepath.IsLocal(name) {
		return false
	}
	_, err := os.Lstat(filepath.Join(filepath.Dir(c.path), name))
	return errors.Is(err, fs.ErrNotExist)
}
