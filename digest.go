package sigbox

import (
	"crypto"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"hash"
	"slices"
	"strings"
)

// HashAlgorithm is a hash of the algorithm registry. The zero value is none.
//
// Source: protobuf-specs, sigstore_common.proto, HashAlgorithm.
type HashAlgorithm uint8

// The hashes in use; the numbers are those of the wire.
const (
	SHA256 HashAlgorithm = 1
	SHA384 HashAlgorithm = 2
	SHA512 HashAlgorithm = 3
)

type hashInfo struct {
	crypto crypto.Hash
	name   string // as in "sha256:…" and in-toto subjects
	wire   string // protojson enum name
}

var hashes = [...]hashInfo{
	SHA256: {crypto.SHA256, "sha256", "SHA2_256"},
	SHA384: {crypto.SHA384, "sha384", "SHA2_384"},
	SHA512: {crypto.SHA512, "sha512", "SHA2_512"},
}

// Valid reports whether h is one of the constants above.
func (h HashAlgorithm) Valid() bool { return h >= SHA256 && h <= SHA512 }

// String gives the short name: "sha256".
func (h HashAlgorithm) String() string {
	if !h.Valid() {
		return "unknown"
	}
	return hashes[h].name
}

// WireName gives the protojson enum name: "SHA2_256".
func (h HashAlgorithm) WireName() string {
	if !h.Valid() {
		return "HASH_ALGORITHM_UNSPECIFIED"
	}
	return hashes[h].wire
}

// Crypto gives the standard library's name of h, or 0.
func (h HashAlgorithm) Crypto() crypto.Hash {
	if !h.Valid() {
		return 0
	}
	return hashes[h].crypto
}

// New starts a hash. It panics on an invalid h, as crypto.Hash does.
func (h HashAlgorithm) New() hash.Hash { return h.Crypto().New() }

// Size is the length of a digest in bytes, 0 for an invalid h.
func (h HashAlgorithm) Size() int {
	if !h.Valid() {
		return 0
	}
	return hashes[h].crypto.Size()
}

// Sum hashes b. It panics on an invalid h.
func (h HashAlgorithm) Sum(b []byte) Digest {
	switch h {
	case SHA256:
		sum := sha256.Sum256(b)
		return Digest{h, sum[:]}
	case SHA384:
		sum := sha512.Sum384(b)
		return Digest{h, sum[:]}
	case SHA512:
		sum := sha512.Sum512(b)
		return Digest{h, sum[:]}
	}
	panic("sigbox: Sum of a hash that there is not: " + h.String())
}

// HashByName finds a hash by its short name ("sha256") or its wire name
// ("SHA2_256"), and reports whether there is one.
func HashByName(name string) (HashAlgorithm, bool) {
	for h := SHA256; h <= SHA512; h++ {
		if name == hashes[h].name || name == hashes[h].wire {
			return h, true
		}
	}
	return 0, false
}

// HashBySize finds the SHA-2 hash with digests of n bytes.
func HashBySize(n int) (HashAlgorithm, bool) {
	for h := SHA256; h <= SHA512; h++ {
		if h.Size() == n {
			return h, true
		}
	}
	return 0, false
}

// Digest is a hash value with its algorithm. Value is not to be changed.
type Digest struct {
	Algorithm HashAlgorithm
	Value     []byte
}

// String gives "sha256:<lower-case hex>".
func (d Digest) String() string { return d.Algorithm.String() + ":" + d.Hex() }

// Hex gives the value in lower-case hex.
func (d Digest) Hex() string { return hex.EncodeToString(d.Value) }

// IsZero reports whether d is no digest.
func (d Digest) IsZero() bool { return d.Algorithm == 0 && len(d.Value) == 0 }

// Valid reports whether the value has its algorithm's length.
func (d Digest) Valid() bool { return d.Algorithm.Valid() && len(d.Value) == d.Algorithm.Size() }

// Equal reports whether d and o are the same valid digest.
func (d Digest) Equal(o Digest) bool {
	return d.Valid() && d.Algorithm == o.Algorithm && string(d.Value) == string(o.Value)
}

// ParseDigest reads "sha256:<hex>". Upper-case hex is refused, as in OCI.
func ParseDigest(s string) (Digest, error) {
	name, hexa, ok := strings.Cut(s, ":")
	h, known := HashByName(name)
	if !ok || !known || name != h.String() {
		return Digest{}, Errorf(Invalid, "digest %.40q: expected sha256:, sha384: or sha512: and hex digits", s)
	}
	v, err := hex.DecodeString(hexa)
	if err != nil || len(v) != h.Size() || strings.ToLower(hexa) != hexa {
		return Digest{}, Errorf(Invalid, "digest %.40q: expected %d lower-case hex digits after %s:, found %d characters", s, 2*h.Size(), name, len(hexa))
	}
	return Digest{h, v}, nil
}

// NamedDigest is a digest as in-toto statements give it: by the name of any
// algorithm, also of those that sigbox cannot compute, such as "gitCommit".
//
// Source: https://github.com/in-toto/attestation/blob/main/spec/v1/digest_set.md
type NamedDigest struct {
	Algorithm string
	// Value is as in the statement: lower-case hex for all algorithms but few.
	Value string
}

// Named gives d by its name.
func (d Digest) Named() NamedDigest { return NamedDigest{d.Algorithm.String(), d.Hex()} }

// String gives "gitCommit:<value>".
func (d NamedDigest) String() string { return d.Algorithm + ":" + d.Value }

// IsZero reports whether d is no digest.
func (d NamedDigest) IsZero() bool { return d == NamedDigest{} }

// MarshalText gives String.
func (d NamedDigest) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads what [ParseNamedDigest] does.
func (d *NamedDigest) UnmarshalText(text []byte) (err error) {
	*d, err = ParseNamedDigest(string(text))
	return err
}

// maxNamedDigest bounds a named digest's text, in bytes.
const maxNamedDigest = 512

// ParseNamedDigest reads "algorithm:value". Of an algorithm that sigbox knows, and of
// git's objects, name and value must be right in form.
func ParseNamedDigest(s string) (NamedDigest, error) {
	name, value, ok := strings.Cut(s, ":")
	if !ok || name == "" || value == "" || len(s) > maxNamedDigest || strings.ContainsFunc(s, isNoDigestText) {
		return NamedDigest{}, Errorf(Invalid, "digest %.40q: expected the name of an algorithm, a colon and the value, as in sha256:… or gitCommit:…", s)
	}
	if err := checkForm(s, name, value); err != nil {
		return NamedDigest{}, err
	}
	return NamedDigest{name, value}, nil
}

// checkForm holds a digest s by the rules of its algorithm, if they are known.
func checkForm(s, name, value string) error {
	known := slices.IndexFunc(checkedNames[:], func(n string) bool { return strings.EqualFold(n, name) })
	switch {
	case known < 0:
		return nil
	case checkedNames[known] != name:
		return Errorf(Invalid, "digest %.40q: there is no algorithm %s", s, name).WithHint("it is written %s", checkedNames[known])
	case strings.HasPrefix(name, "git"):
		return checkGit(s, value)
	}
	_, err := ParseDigest(s)
	return err
}

// checkedNames are the algorithms of which the form is known.
var checkedNames = [...]string{"sha256", "sha384", "sha512", "gitCommit", "gitTree", "gitBlob", "gitTag"}

// checkGit holds the name of an object of git, a SHA-1 or a SHA-256.
func checkGit(s, value string) error {
	b, err := hex.DecodeString(value)
	if err != nil || len(b) != 20 && len(b) != 32 || strings.ToLower(value) != value {
		return Errorf(Invalid, "digest %.60q: expected 40 or 64 lower-case hex digits, found %d characters", s, len(value))
	}
	return nil
}

// isNoDigestText is for what neither names nor values of digests contain.
func isNoDigestText(r rune) bool { return r <= ' ' || r > '~' }
