package note

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/binary"
	"time"

	"github.com/sigbox/sigbox"
)

// Signature type identifiers (signed-note, Signature types).
const (
	typeEd25519  = 0x01
	typeTreeHead = 0x05
)

// scheme is how a key signs a note.
type scheme uint8

const (
	schemeEd25519  scheme = iota + 1 // over the text
	schemeECDSA                      // over its SHA-256, ASN.1
	schemeTreeHead                   // RFC 6962 TreeHeadSignature with a time
)

// LogID gives the full 32 bytes of which a key ID is the first four: for Ed25519
// SHA-256(name ‖ 0x0A ‖ 0x01 ‖ key), for ECDSA SHA-256 of the DER
// SubjectPublicKeyInfo. The error is of kind Invalid for other keys.
func LogID(name string, pub crypto.PublicKey) ([]byte, error) {
	switch p := pub.(type) {
	case ed25519.PublicKey:
		if len(p) != ed25519.PublicKeySize {
			return nil, sigbox.Errorf(sigbox.Invalid, "an Ed25519 public key has %d bytes, found %d", ed25519.PublicKeySize, len(p))
		}
		return keyHash(name, typeEd25519, p), nil
	case *ecdsa.PublicKey:
		return spkiHash(pub)
	}
	return nil, sigbox.Errorf(sigbox.Invalid, "checkpoint key: expected Ed25519 or ECDSA, found a key %s", sigbox.DescribeKey(pub))
}

// TreeHeadID is the full key ID of a certificate log (static-ct-api,
// Checkpoints): SHA-256(name ‖ 0x0A ‖ 0x05 ‖ RFC 6962 LogID).
func TreeHeadID(name string, pub crypto.PublicKey) ([]byte, error) {
	id, err := spkiHash(pub)
	if err != nil {
		return nil, err
	}
	return keyHash(name, typeTreeHead, id), nil
}

func keyHash(name string, kind byte, key []byte) []byte {
	b := make([]byte, 0, len(name)+2+len(key))
	b = append(append(b, name...), '\n', kind)
	h := sha256.Sum256(append(b, key...))
	return h[:]
}

func spkiHash(pub crypto.PublicKey) ([]byte, error) {
	der, err := x509.MarshalPKIXPublicKey(pub)
	if err != nil {
		return nil, sigbox.Errorf(sigbox.Invalid, "checkpoint key: %w", err)
	}
	h := sha256.Sum256(der)
	return h[:], nil
}

// identity is what a signer and a verifier have in common.
type identity struct {
	name   string // "": any name will do (verifiers of Rekor v1)
	id     []byte
	pub    crypto.PublicKey
	scheme scheme
}

func newIdentity(name string, pub crypto.PublicKey) (identity, error) {
	if !validName([]byte(name)) {
		return identity{}, sigbox.Errorf(sigbox.Invalid, "checkpoint key: the name %.80q is empty, or holds a space or a plus", name)
	}
	id, err := LogID(name, pub)
	if err != nil {
		return identity{}, err
	}
	s := schemeECDSA
	if _, ok := pub.(ed25519.PublicKey); ok {
		s = schemeEd25519
	}
	return identity{name, id, pub, s}, nil
}

func newTreeHeadIdentity(name string, pub crypto.PublicKey) (identity, error) {
	if _, ok := pub.(*ecdsa.PublicKey); !ok {
		return identity{}, sigbox.Errorf(sigbox.Invalid, "a certificate log's key: expected ECDSA, found a key %s", sigbox.DescribeKey(pub))
	}
	i, err := newIdentity(name, pub)
	if err != nil {
		return identity{}, err
	}
	i.scheme = schemeTreeHead
	i.id, err = TreeHeadID(name, pub)
	return i, err
}

// Name is the name that stands in signature lines.
func (i *identity) Name() string { return i.name }

// KeyHash is the key ID of signature lines.
func (i *identity) KeyHash() uint32 { return binary.BigEndian.Uint32(i.id) }

// LogID is the full 32 bytes of which the key ID is the first four.
func (i *identity) LogID() []byte { return append([]byte(nil), i.id...) }

// Public is the public key.
func (i *identity) Public() crypto.PublicKey { return i.pub }

// Signer signs checkpoints. It is safe for concurrent use if its key is.
type Signer struct {
	identity
	key crypto.Signer
}

// NewSigner makes a signer of an Ed25519 or ECDSA key. ECDSA signs the SHA-256 of
// the text, whatever the curve, and its key ID does not depend on the name, as in
// Rekor v1.
func NewSigner(name string, key crypto.Signer) (*Signer, error) {
	i, err := newIdentity(name, key.Public())
	if err != nil {
		return nil, err
	}
	return &Signer{i, key}, nil
}

// NewTreeHeadSigner makes a signer for a certificate log: its signature is an
// RFC 6962 TreeHeadSignature with the time of the tree head (static-ct-api,
// Checkpoints). The key is an ECDSA key, of P-256 for RFC 6962 clients.
func NewTreeHeadSigner(name string, key crypto.Signer) (*Signer, error) {
	i, err := newTreeHeadIdentity(name, key.Public())
	if err != nil {
		return nil, err
	}
	return &Signer{i, key}, nil
}

// Verifier gives what checks s's signatures.
func (s *Signer) Verifier() *Verifier { return &Verifier{s.identity} }

// Sign makes a note of a checkpoint. Signers of tree heads need a time: see
// [SignAt].
func Sign(cp sigbox.Checkpoint, signers ...*Signer) (string, error) {
	return SignAt(cp, time.Time{}, signers...)
}

// SignAt is [Sign] with the time, to the millisecond, that tree-head signers
// state; others do not use it.
func SignAt(cp sigbox.Checkpoint, at time.Time, signers ...*Signer) (string, error) {
	if len(signers) == 0 {
		return "", sigbox.Errorf(sigbox.Invalid, "checkpoint: a note needs at least one signature")
	}
	text := AppendText(make([]byte, 0, 512), cp)
	if err := checkText(cp, text); err != nil {
		return "", err
	}
	out := append(text, '\n')
	for _, s := range signers {
		sig, err := s.sign(cp, text, at)
		if err != nil {
			return "", sigbox.Errorf(sigbox.KindOf(err), "cannot sign the checkpoint of %s", cp.Origin).WithCause(err)
		}
		out = appendLine(out, Signature{s.name, s.KeyHash(), sig})
	}
	return string(out), nil
}

// checkText says whether text, made of cp, can be read back.
func checkText(cp sigbox.Checkpoint, text []byte) error {
	if _, err := parseText(string(text)); err != nil {
		return err
	}
	if err := checkCharacters(text); err != nil {
		return err
	}
	if bytes.Count(text, []byte{'\n'}) != 3+len(cp.Extensions) || bytes.Contains(text, []byte("\n\n")) {
		return sigbox.Errorf(sigbox.Invalid, "checkpoint: origin and extensions are single lines that are not empty")
	}
	return nil
}

func (s *Signer) sign(cp sigbox.Checkpoint, text []byte, at time.Time) ([]byte, error) {
	switch s.scheme {
	case schemeEd25519:
		return s.key.Sign(rand.Reader, text, crypto.Hash(0))
	case schemeECDSA:
		h := sha256.Sum256(text)
		return s.key.Sign(rand.Reader, h[:], crypto.SHA256)
	}
	if at.IsZero() || cp.Origin != s.name || len(cp.Extensions) > 0 {
		return nil, sigbox.Errorf(sigbox.Invalid, "an RFC 6962 tree head has a time, the key's name for its origin and no extension lines")
	}
	th := TreeHead{Time: at}
	h := th.digest(cp)
	var err error
	if th.Signature, err = s.key.Sign(rand.Reader, h[:], crypto.SHA256); err != nil {
		return nil, err
	}
	return th.append(nil), nil
}

// Verifier checks signatures of one key. It is safe for concurrent use.
type Verifier struct{ identity }

// NewVerifier makes a verifier of an Ed25519 or ECDSA key that signs by a name.
func NewVerifier(name string, pub crypto.PublicKey) (*Verifier, error) {
	i, err := newIdentity(name, pub)
	if err != nil {
		return nil, err
	}
	return &Verifier{i}, nil
}

// NewRekorV1Verifier makes a verifier for the checkpoints of a Rekor v1 log. It
// takes signatures of any name, by the key ID that such logs use for every type of
// key, the first bytes of SHA-256(SPKI): they sign with a host name that need not
// be the one they are reached by.
func NewRekorV1Verifier(pub crypto.PublicKey) (*Verifier, error) {
	i, err := newIdentity("any", pub)
	if err != nil {
		return nil, err
	}
	i.name = ""
	if i.id, err = spkiHash(pub); err != nil {
		return nil, err
	}
	return &Verifier{i}, nil
}

// NewTreeHeadVerifier makes a verifier for the checkpoints of a certificate log.
func NewTreeHeadVerifier(name string, pub crypto.PublicKey) (*Verifier, error) {
	i, err := newTreeHeadIdentity(name, pub)
	if err != nil {
		return nil, err
	}
	return &Verifier{i}, nil
}

// Open reads a checkpoint that v's key has signed. Every signature of that name
// and key ID must verify and there must be one; those of other keys are ignored
// (signed-note, Signatures), and at most four. Whether the origin is the expected one is for the
// caller to say: it is the key's name in Rekor v2, "name - tree ID" in Rekor v1.
//
// The error is of kind Invalid or TooLarge for what is no checkpoint, and
// NotVerified when the signature is missing or wrong.
func Open(text string, v *Verifier) (sigbox.Checkpoint, error) {
	cp, body, lines, err := split(text)
	if err != nil {
		return sigbox.Checkpoint{}, err
	}
	var buf [128]byte
	found := 0
	for len(lines) > 0 {
		var l line
		if l, lines, err = nextLine(lines, buf[:0]); err != nil {
			return sigbox.Checkpoint{}, err
		}
		if l.hash != v.KeyHash() || (v.name != "" && string(l.name) != v.name) {
			continue
		}
		if found++; found > maxOwn {
			return sigbox.Checkpoint{}, sigbox.Errorf(sigbox.TooLarge, "checkpoint of %.100q: more than %d signatures by the key %.100s+%08x", cp.Origin, maxOwn, v.name, l.hash)
		}
		if !v.verify(cp, body, l.sig) {
			return sigbox.Checkpoint{}, sigbox.Errorf(sigbox.NotVerified, "checkpoint of %.100q: the signature of %.100q does not verify", cp.Origin, l.name)
		}
	}
	if found == 0 {
		return sigbox.Checkpoint{}, sigbox.Errorf(sigbox.NotVerified, "checkpoint of %.100q: no signature by the key %s+%08x", cp.Origin, v.name, v.KeyHash())
	}
	return cp, nil
}

func (v *Verifier) verify(cp sigbox.Checkpoint, text, sig []byte) bool {
	if v.scheme == schemeEd25519 {
		return len(sig) == ed25519.SignatureSize && ed25519.Verify(v.pub.(ed25519.PublicKey), text, sig)
	}
	pub, ok := v.pub.(*ecdsa.PublicKey)
	if !ok {
		return false
	}
	if v.scheme == schemeECDSA {
		h := sha256.Sum256(text)
		return ecdsa.VerifyASN1(pub, h[:], sig)
	}
	// A tree head does not cover origin and extensions, so there is but one value
	// that they may have (static-ct-api, Checkpoints).
	th, err := ParseTreeHead(sig)
	if err != nil || cp.Origin != v.name || len(cp.Extensions) > 0 {
		return false
	}
	h := th.digest(cp)
	return ecdsa.VerifyASN1(pub, h[:], th.Signature)
}
