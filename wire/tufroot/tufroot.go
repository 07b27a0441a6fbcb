// Package tufroot reads, makes and signs the root metadata of TUF repositories: which
// keys sign it, how many of them have to (the threshold), and which sign the rest.
//
//	root, err := tufroot.New(1, expires, tufroot.Policy{Keys: keys, Threshold: 2}, online)
//	err = root.Sign(signer)              // as often as the threshold says
//	err = root.Check(root.Root)          // whether it has been
//	file := root.Bytes()                 // 1.root.json
//
//	next, err := tufroot.Parse(file)
//	err = tufroot.Follows(root, next)    // whether clients go from the one to the other
//
// It is stricter than clients are: a root that it takes has one form, its keys count
// once however they are written, and nothing in it is unknown. That is for roots of one's
// own, which people sign after they have read what is in them.
//
// Specification: https://theupdateframework.github.io/specification/latest/#file-formats-root
package tufroot

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"slices"
	"strings"
	"time"

	"github.com/secure-systems-lab/go-securesystemslib/cjson"
	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/sigbox/sigbox"
)

const (
	// MaxSize of a root, in bytes.
	MaxSize = 512 << 10
	// MaxKeys bounds the keys of a role.
	MaxKeys = 32
	// MaxVersion is what all clients can count to.
	MaxVersion = 1<<31 - 1
)

// Key is a public key by the name that TUF gives it.
type Key struct {
	// ID is the SHA-256 of the key's canonical form, in hex.
	ID      string
	Public  crypto.PublicKey
	details sigbox.KeyDetails
	written *metadata.Key
}

// NewKey takes an ECDSA P-256 or Ed25519 key: the others have no scheme that all
// clients know.
func NewKey(pub crypto.PublicKey) (Key, error) {
	details, _ := sigbox.DetailsOf(pub) // 0 for what is no key
	ed, isEd := pub.(ed25519.PublicKey)
	if details != sigbox.ECDSAP256SHA256 && details != sigbox.Ed25519 || isEd && len(ed) != ed25519.PublicKeySize {
		return Key{}, sigbox.Mismatch(sigbox.Invalid, "TUF cannot use this key", "ECDSA P-256 or Ed25519", sigbox.DescribeKey(pub))
	}
	written, err := metadata.KeyFromPublicKey(pub)
	if err != nil {
		return Key{}, sigbox.Errorf(sigbox.Internal, "TUF key").WithCause(err)
	}
	id, err := written.ID()
	if err != nil {
		return Key{}, sigbox.Errorf(sigbox.Internal, "TUF key").WithCause(err)
	}
	return Key{id, pub, details, written}, nil
}

// Policy says who signs for a role: Threshold of Keys.
type Policy struct {
	Keys      []Key
	Threshold int
}

// Only is the policy of a single key.
func Only(k Key) Policy { return Policy{[]Key{k}, 1} }

// check refuses a policy that nobody can meet, or that counts a key twice.
func (p Policy) check() error {
	if len(p.Keys) == 0 || len(p.Keys) > MaxKeys {
		return sigbox.Errorf(sigbox.Invalid, "TUF root: expected 1 to %d keys for a role, found %d", MaxKeys, len(p.Keys))
	}
	if p.Threshold < 1 || p.Threshold > len(p.Keys) {
		return sigbox.Errorf(sigbox.Invalid, "TUF root: expected a threshold from 1 to the number of keys, %d, found %d", len(p.Keys), p.Threshold)
	}
	for i, k := range p.Keys {
		if (Policy{Keys: p.Keys[:i]}).Has(k.ID) {
			return sigbox.Errorf(sigbox.Invalid, "TUF root: a key is named twice for a role, %.16s…", k.ID)
		}
	}
	return nil
}

// Has reports whether the policy names a key.
func (p Policy) Has(id string) bool {
	return slices.ContainsFunc(p.Keys, func(k Key) bool { return k.ID == id })
}

// Equal reports whether both name the same keys, in whatever order, and threshold.
func (p Policy) Equal(o Policy) bool {
	return p.Threshold == o.Threshold && len(p.Keys) == len(o.Keys) &&
		!slices.ContainsFunc(p.Keys, func(k Key) bool { return !o.Has(k.ID) })
}

// Root is root metadata with the signatures that it has so far.
type Root struct {
	Version int64
	Expires time.Time
	// Root says who signs roots; the others who signs the roles of these names.
	Root, Targets, Snapshot, Timestamp Policy

	meta *metadata.Metadata[metadata.RootType]
}

// New makes a root that nobody has signed yet. online signs targets, snapshot and
// timestamp. The time is cut to a second. Errors: Invalid for what clients would refuse.
func New(version int64, expires time.Time, root, online Policy) (*Root, error) {
	r := &Root{Version: version, Expires: expires.UTC().Truncate(time.Second), Root: root, Targets: online, Snapshot: online, Timestamp: online}
	if version < 1 || version > MaxVersion {
		return nil, sigbox.Errorf(sigbox.Invalid, "TUF root: expected a version from 1 to %d, found %d", MaxVersion, version)
	}
	r.meta = metadata.Root(r.Expires)
	r.meta.Signed.Version = version
	for name, p := range r.roles() {
		if err := p.check(); err != nil {
			return nil, err
		}
		for _, k := range p.Keys {
			if err := r.meta.Signed.AddKey(k.written, name); err != nil {
				return nil, sigbox.Errorf(sigbox.Internal, "TUF root").WithCause(err)
			}
		}
		r.meta.Signed.Roles[name].Threshold = p.Threshold
	}
	return r, nil
}

// roles gives the four roles by their names.
func (r *Root) roles() map[string]Policy {
	return map[string]Policy{
		metadata.ROOT: r.Root, metadata.TARGETS: r.Targets, metadata.SNAPSHOT: r.Snapshot, metadata.TIMESTAMP: r.Timestamp,
	}
}

// Online gives the policy of all roles but the root's own, if they have one in common.
func (r *Root) Online() (Policy, bool) {
	return r.Targets, r.Targets.Equal(r.Snapshot) && r.Targets.Equal(r.Timestamp)
}

// Metadata is the root as the TUF library has it. It is not to be changed.
func (r *Root) Metadata() *metadata.Metadata[metadata.RootType] { return r.meta }

// Payload is what is signed.
func (r *Root) Payload() ([]byte, error) {
	payload, err := cjson.EncodeCanonical(r.meta.Signed)
	if err != nil {
		return nil, sigbox.Errorf(sigbox.Internal, "TUF root: it cannot be encoded").WithCause(err)
	}
	return payload, nil
}

// Sign adds the signature of a key, in the place of one that it has. Keys that the root
// does not name may sign, as those of the root before do.
func (r *Root) Sign(signer crypto.Signer) error {
	key, err := NewKey(signer.Public())
	if err != nil {
		return err
	}
	payload, err := r.Payload()
	if err != nil {
		return err
	}
	sig, err := Sign(key, signer, payload)
	if err != nil {
		return err
	}
	others := slices.DeleteFunc(slices.Clone(r.meta.Signatures), func(s metadata.Signature) bool { return s.KeyID == key.ID })
	r.meta.Signatures = append(others, sig)
	return nil
}

// Sign signs the canonical form of metadata of any role.
func Sign(key Key, signer crypto.Signer, payload []byte) (metadata.Signature, error) {
	if h := key.details.Hash(); h.Valid() {
		payload = h.Sum(payload).Value
	}
	sig, err := signer.Sign(rand.Reader, payload, key.details.SignerOpts())
	if err != nil {
		return metadata.Signature{}, sigbox.Errorf(sigbox.KindOf(err), "TUF metadata cannot be signed").WithCause(err)
	}
	return metadata.Signature{KeyID: key.ID, Signature: sig}, nil
}

// Signers gives the keys of a policy that have signed the root, each once.
func (r *Root) Signers(p Policy) (signers []Key, err error) {
	payload, err := r.Payload()
	if err != nil {
		return nil, err
	}
	for _, k := range p.Keys {
		i := slices.IndexFunc(r.meta.Signatures, func(s metadata.Signature) bool { return s.KeyID == k.ID })
		if i >= 0 && k.details.VerifyMessage(k.Public, payload, r.meta.Signatures[i].Signature) == nil {
			signers = append(signers, k)
		}
	}
	return signers, nil
}

// Check says whether enough keys of a policy have signed the root. The error is of kind
// NotVerified.
func (r *Root) Check(p Policy) error {
	signers, err := r.Signers(p)
	if err == nil && len(signers) < p.Threshold {
		err = sigbox.Mismatch(sigbox.NotVerified, "the TUF root has too few signatures", p.Threshold, len(signers))
	}
	return err
}

// CheckSignatures refuses signatures that are not by a key of one of the policies, or
// that are wrong: a root that goes from hand to hand has none that nobody asked for.
func (r *Root) CheckSignatures(policies ...Policy) error {
	valid := map[string]bool{}
	for _, p := range policies {
		signers, err := r.Signers(p)
		if err != nil {
			return err
		}
		for _, k := range signers {
			valid[k.ID] = true
		}
	}
	for _, s := range r.meta.Signatures {
		if !valid[s.KeyID] {
			return sigbox.Errorf(sigbox.NotVerified, "the TUF root has a signature that is wrong, or of a key that it does not call for: %.16s…", s.KeyID)
		}
	}
	return nil
}

// Follows says whether clients that have old go on to next: it is the next version, and
// enough keys of both have signed it (TUF specification §5.3.4, §5.3.5). Errors:
// Conflict for another version, NotVerified for signatures.
func Follows(old, next *Root) error {
	if next.Version != old.Version+1 {
		return sigbox.Mismatch(sigbox.Conflict, "this TUF root does not follow the one that there is", old.Version+1, next.Version)
	}
	if err := next.Check(old.Root); err != nil {
		return sigbox.Errorf(sigbox.KindOf(err), "by the keys of version %d: %w", old.Version, err)
	}
	if err := next.Check(next.Root); err != nil {
		return sigbox.Errorf(sigbox.KindOf(err), "by its own keys: %w", err)
	}
	return nil
}

// Bytes is the root as a file.
func (r *Root) Bytes() ([]byte, error) {
	slices.SortFunc(r.meta.Signatures, func(a, b metadata.Signature) int { return strings.Compare(a.KeyID, b.KeyID) })
	file, err := r.meta.ToBytes(true)
	if err != nil {
		return nil, sigbox.Errorf(sigbox.Internal, "TUF root: it cannot be encoded").WithCause(err)
	}
	return append(file, '\n'), nil
}
