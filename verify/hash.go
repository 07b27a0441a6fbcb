package verify

import (
	"crypto/sha256"
	"crypto/sha3"
	"crypto/sha512"
	"hash"

	"github.com/sigbox/sigbox"
)

// hashID is a hash that artifacts are compared by: those of [sigbox.HashAlgorithm]
// by the same number, and others that only statements name their subjects by. Weak
// ones, such as SHA-1, are not among them.
type hashID uint8

const (
	firstHash = hashID(sigbox.SHA256)
	lastHash  = hashID(len(hashes) - 1)
)

// hashInfo is a hash by its name in in-toto's digest sets.
type hashInfo struct {
	name string
	make func() hash.Hash
}

// hashes are read and never written.
var hashes = [...]hashInfo{
	sigbox.SHA256: {sigbox.SHA256.String(), sha256.New},
	sigbox.SHA384: {sigbox.SHA384.String(), sha512.New384},
	sigbox.SHA512: {sigbox.SHA512.String(), sha512.New},
	{"sha512_256", sha512.New512_256},
	{"sha512_224", sha512.New512_224},
	{"sha224", sha256.New224},
	{"sha3_256", func() hash.Hash { return sha3.New256() }},
	{"sha3_384", func() hash.Hash { return sha3.New384() }},
	{"sha3_512", func() hash.Hash { return sha3.New512() }},
	{"sha3_224", func() hash.Hash { return sha3.New224() }},
}

// hashNamed finds a hash by its name, 0 if there is none.
func hashNamed(name string) hashID {
	for h := firstHash; h <= lastHash; h++ {
		if hashes[h].name == name {
			return h
		}
	}
	return 0
}

// hashSet is a set of hashes, a bit each.
type hashSet uint16

func (s hashSet) has(h hashID) bool { return s&(1<<h) != 0 }

// add adds h; a zero h is none.
func (s *hashSet) add(h hashID) {
	if h != 0 {
		*s |= 1 << h
	}
}

// addAlgorithm adds h if it is valid.
func (s *hashSet) addAlgorithm(h sigbox.HashAlgorithm) {
	if h.Valid() {
		s.add(hashID(h))
	}
}
