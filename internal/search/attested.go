package search

import (
	"bytes"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

const (
	// minDigest and maxDigest bound the hex digits of a digest.
	minDigest = 32
	maxDigest = 256
	// maxAlgorithm bounds the name of a digest's algorithm.
	maxAlgorithm = 32
)

// attested gives the digests that an in-toto statement names: of its subjects and,
// as Rekor does, of the materials of its predicate. Each is "algorithm:hex". What is
// no statement has none: a log takes any payload.
//
// Source: in-toto attestation, spec/v1/statement.md; SLSA provenance v0.2.
func attested(payload []byte) (digests []string) {
	if len(payload) == 0 || !bytes.Contains(payload, []byte("digest")) {
		return nil
	}
	s := statement{dec: jsontext.NewDecoder(bytes.NewBuffer(payload), jsontext.AllowDuplicateNames(true))}
	if !s.object(func(name string) bool {
		switch name {
		case "subject":
			return s.described()
		case "predicate":
			return s.object(func(name string) bool { return name == "materials" && s.described() || name != "materials" && s.skip() })
		}
		return s.skip()
	}) {
		return nil
	}
	return s.digests
}

// statement walks over JSON. Its methods say whether it is sound so far.
type statement struct {
	dec     *jsontext.Decoder
	digests []string
}

func (s *statement) skip() bool { return s.dec.SkipValue() == nil }

// object calls member for each member, which takes the value. What is no object is
// passed over.
func (s *statement) object(member func(name string) bool) bool {
	if s.dec.PeekKind() != '{' {
		return s.skip()
	}
	if _, err := s.dec.ReadToken(); err != nil {
		return false
	}
	for s.dec.PeekKind() != '}' {
		name, err := s.dec.ReadToken()
		if err != nil || !member(name.String()) {
			return false
		}
	}
	_, err := s.dec.ReadToken()
	return err == nil
}

// described reads an array of resource descriptors.
func (s *statement) described() bool {
	if s.dec.PeekKind() != '[' {
		return s.skip()
	}
	if _, err := s.dec.ReadToken(); err != nil {
		return false
	}
	for s.dec.PeekKind() != ']' {
		if !s.object(func(name string) bool {
			if name != "digest" {
				return s.skip()
			}
			return s.object(s.digest)
		}) {
			return false
		}
	}
	_, err := s.dec.ReadToken()
	return err == nil
}

// digest reads a member of a digest set.
func (s *statement) digest(algorithm string) bool {
	if s.dec.PeekKind() != '"' {
		return s.skip()
	}
	value, err := s.dec.ReadToken()
	if err != nil {
		return false
	}
	if d, ok := digestText(algorithm, value.String()); ok {
		s.digests = append(s.digests, d)
	}
	return true
}

// digestText gives a digest as it is indexed, if it is one.
func digestText(algorithm, value string) (string, bool) {
	if len(algorithm) == 0 || len(algorithm) > maxAlgorithm || strings.ContainsFunc(algorithm, notInAlgorithm) ||
		len(value) < minDigest || len(value) > maxDigest || strings.ContainsFunc(value, notHex) {
		return "", false
	}
	return strings.ToLower(algorithm + ":" + value), true
}

func notHex(r rune) bool {
	return (r < '0' || r > '9') && (r < 'a' || r > 'f') && (r < 'A' || r > 'F')
}

func notInAlgorithm(r rune) bool {
	return (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && r != '_' && r != '-' && r != '.'
}
