package main

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/wire/bundle"
	"github.com/sigbox/sigbox/wire/cosign"
)

const (
	bundleSuffix = ".sigstore.json"
	// maxBundleFile bounds what is read of a file of bundles, in bytes.
	maxBundleFile = 32 << 20
	// maxSignatureFile bounds a signature, certificate or timestamp in a file of its
	// own, in bytes.
	maxSignatureFile = 1 << 20
)

// bundleSuffixes are the names that bundles are found under, beside an artifact.
var bundleSuffixes = [...]string{bundleSuffix, ".sigstore.jsonl", ".sigstore"}

// The names that cosign's users gave to what it wrote before bundles.
const (
	oldBundleSuffix = ".bundle"
	signatureSuffix = ".sig"
)

// certificateSuffixes are those of the certificate that belongs to a .sig.
var certificateSuffixes = [...]string{".pem", ".cert", ".crt"}

// isBundleName reports whether a file is a bundle by its name.
func isBundleName(path string) bool { return artifactOf(path) != path }

// artifactOf gives the name of the artifact that a bundle of this name is for;
// path itself when it is no bundle's name.
func artifactOf(path string) string {
	for _, s := range bundleSuffixes {
		if a, ok := cutSuffix(path, s); ok {
			return a
		}
	}
	return path
}

// cutSuffix cuts a suffix off a file's name, which is never all of it.
func cutSuffix(path, suffix string) (string, bool) {
	name, ok := strings.CutSuffix(path, suffix)
	return name, ok && filepath.Base(path) != suffix
}

// evidenceIn gives the artifact that a file is there to verify and the evidence that
// it is, or a part of; false when it is none. The name is not enough: what does not
// hold what its name says is a file like any other. Names that other files have as
// well, such as .bundle and .pem, count only beside an artifact, and without a bundle
// of their own.
func evidenceIn(path string) (artifact string, v evidence, ok bool) {
	if isBundleName(path) {
		if b, err := readFile(path, maxBundleFile); err == nil && isBundle(path, b) {
			return artifactOf(path), evidence{bundle: path}, true
		}
		return "", evidence{}, false
	}
	for _, suffix := range [...]string{oldBundleSuffix, signatureSuffix, ".pem", ".cert", ".crt"} {
		a, ok := cutSuffix(path, suffix)
		if !ok || !isFile(a) || hasBundle(path) {
			continue
		}
		if b, err := readFile(path, maxBundleFile); err == nil && fits(a, suffix, b) {
			return a, partOf(a, path), true
		}
	}
	return "", evidence{}, false
}

// partOf gives the evidence beside an artifact that a file belongs to.
func partOf(artifact, path string) evidence {
	for _, v := range evidenceBeside(artifact, isFile) {
		if v.bundle == path || v.signature == path || v.certificate == path {
			return v
		}
	}
	return evidence{bundle: path}
}

// fits reports whether a file's content is what its suffix says.
func fits(artifact, suffix string, b []byte) bool {
	switch suffix {
	case oldBundleSuffix:
		return isBundle(artifact+suffix, b)
	case signatureSuffix:
		_, err := cosign.FromDetached(cosign.Detached{Signature: b})
		return err == nil
	}
	signature, err := readFile(artifact+signatureSuffix, maxSignatureFile)
	if err != nil {
		return false
	}
	_, err = cosign.FromDetached(cosign.Detached{Signature: signature, Certificate: b})
	return err == nil
}

// isBundle reports whether a file holds bundles and nothing else.
func isBundle(path string, b []byte) bool {
	_, err := parseBundles(b, hasLines(path))
	return err == nil
}

// hasLines reports whether a file has a bundle in each line by its name.
func hasLines(path string) bool { return strings.HasSuffix(path, ".jsonl") }

// hasBundle reports whether a bundle of today's form is beside a file.
func hasBundle(path string) bool {
	for _, s := range bundleSuffixes {
		if isFile(path + s) {
			return true
		}
	}
	return false
}

// isFile reports whether there is a regular file: a pipe may never end.
func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}

// evidence is where signatures of an artifact are: a file of bundles, or a
// signature with what belongs to it in files of their own.
type evidence struct {
	bundle string
	signature, certificate,
	timestamp string
}

// String names the evidence by its first file.
func (v evidence) String() string {
	if v.signature != "" {
		return v.signature
	}
	return v.bundle
}

// evidenceBeside finds all that belongs to an artifact, where there knows the files.
// A signature alone is looked at with the keys given.
func evidenceBeside(path string, there func(string) bool) []evidence {
	var found []evidence
	for _, s := range bundleSuffixes {
		if there(path + s) {
			found = append(found, evidence{bundle: path + s})
		}
	}
	if there(path + oldBundleSuffix) {
		found = append(found, evidence{bundle: path + oldBundleSuffix})
	}
	if !there(path + signatureSuffix) {
		return found
	}
	detached := evidence{signature: path + signatureSuffix}
	for _, s := range certificateSuffixes {
		if there(path + s) {
			detached.certificate = path + s
			break
		}
	}
	return append(found, detached)
}

// place is where a bundle stands: in evidence and, where that has a bundle in each
// line, in which, from 1 on.
type place struct {
	evidence
	line int
}

// located is a bundle with its line, 0 where there are no lines.
type located struct {
	*sigbox.Bundle
	line int
}

// read gives the bundles that can be read, and the error of the first that cannot.
func (v evidence) read() ([]located, error) {
	if v.signature == "" {
		return readBundles(v.bundle)
	}
	var d cosign.Detached
	for _, part := range []struct {
		file    string
		content *[]byte
	}{{v.signature, &d.Signature}, {v.certificate, &d.Certificate}, {v.timestamp, &d.Timestamp}} {
		if part.file == "" {
			continue
		}
		var err error
		if *part.content, err = readFile(part.file, maxSignatureFile); err != nil {
			return nil, err
		}
	}
	b, err := cosign.FromDetached(d)
	if err != nil {
		return nil, sigbox.Errorf(sigbox.KindOf(err), "%s: %w", v, err)
	}
	return []located{{Bundle: b}}, nil
}

// readBundles reads a file with one bundle, of today's form or of cosign's old one,
// or with one in each line. It gives those that can be read, and the error of the
// first that cannot.
func readBundles(path string) ([]located, error) {
	b, err := readFile(path, maxBundleFile)
	if err != nil {
		return nil, hintFewer(err)
	}
	if len(b) == 0 {
		return nil, sigbox.Errorf(sigbox.Invalid, "%s is empty, and a bundle was expected there", path)
	}
	bundles, err := parseBundles(b, hasLines(path))
	if err != nil {
		err = hintFewer(sigbox.Errorf(sigbox.KindOf(err), "%s: %w", path, err))
	}
	return bundles, err
}

// hintFewer says what to do about a file that is too large for bundles.
func hintFewer(err error) error {
	e, ok := errors.AsType[*sigbox.Error](err)
	if !ok || e.Kind != sigbox.TooLarge {
		return err
	}
	return e.WithHint("a bundle has some KiB: of many in a file, keep those that are for the one artifact")
}

// parseBundles is readBundles for a file's content. What has lines is not always
// called so.
func parseBundles(b []byte, lines bool) ([]located, error) {
	one, err := parseBundle(b)
	switch {
	case err == nil && lines: // it may have lines of its own
		return []located{{one, 1 + bytes.Count(b[:bytes.IndexByte(b, '{')], []byte{'\n'})}}, nil
	case err == nil:
		return []located{{Bundle: one}}, nil
	}
	if first, _, several := bytes.Cut(bytes.TrimSpace(b), []byte{'\n'}); several && !lines {
		_, lineErr := parseBundle(first)
		lines = lineErr == nil
	}
	if lines {
		return parseLines(b)
	}
	return nil, err
}

func parseLines(b []byte) ([]located, error) {
	var bundles []located
	var broken error
	for n := 1; len(b) > 0; n++ {
		var line []byte
		if line, b, _ = bytes.Cut(b, []byte{'\n'}); len(bytes.TrimSpace(line)) == 0 {
			continue
		}
		if len(bundles) == bundle.MaxLines {
			return nil, sigbox.Errorf(sigbox.TooLarge, "more than %d bundles in a file", bundle.MaxLines)
		}
		one, err := parseBundle(line)
		if err != nil {
			if broken == nil {
				broken = sigbox.Errorf(sigbox.KindOf(err), "line %d: %w", n, err)
			}
			continue
		}
		bundles = append(bundles, located{one, n})
	}
	if len(bundles) == 0 && broken == nil {
		broken = sigbox.Errorf(sigbox.Invalid, "there is no bundle in it")
	}
	return bundles, broken
}

func parseBundle(b []byte) (*sigbox.Bundle, error) {
	if cosign.IsBundle(b) {
		return cosign.ParseBundle(b)
	}
	return bundle.Parse(b)
}
