package tuf

import (
	"crypto"
	"crypto/rand"

	"github.com/secure-systems-lab/go-securesystemslib/cjson"
	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/sigbox/sigbox"
)

// signer is a key with its TUF form and identifier.
type signer struct {
	key     crypto.Signer
	details sigbox.KeyDetails
	public  *metadata.Key
	id      string
}

// newSigner prepares an ECDSA P-256 or Ed25519 key: the others have no scheme that
// all clients know.
func newSigner(key crypto.Signer) (signer, error) {
	if key == nil {
		return signer{}, sigbox.Errorf(sigbox.Internal, "the TUF repository has no key")
	}
	details, err := sigbox.DetailsOf(key.Public())
	if err != nil {
		return signer{}, err
	}
	if details != sigbox.ECDSAP256SHA256 && details != sigbox.Ed25519 {
		return signer{}, sigbox.Mismatch(sigbox.Invalid, "the TUF repository cannot use this key", "ECDSA P-256 or Ed25519", sigbox.DescribeKey(key.Public()))
	}
	public, err := metadata.KeyFromPublicKey(key.Public())
	if err != nil {
		return signer{}, sigbox.Errorf(sigbox.Internal, "TUF key").WithCause(err)
	}
	id, err := public.ID()
	if err != nil {
		return signer{}, sigbox.Errorf(sigbox.Internal, "TUF key").WithCause(err)
	}
	return signer{key, details, public, id}, nil
}

// seal signs m, replacing its signatures, and gives it as a file.
func seal[T metadata.Roles](m *metadata.Metadata[T], s signer) ([]byte, error) {
	payload, err := cjson.EncodeCanonical(m.Signed)
	if err != nil {
		return nil, sigbox.Errorf(sigbox.Internal, "TUF metadata cannot be encoded").WithCause(err)
	}
	if h := s.details.Hash(); h.Valid() {
		payload = h.Sum(payload).Value
	}
	sig, err := s.key.Sign(rand.Reader, payload, s.details.SignerOpts())
	if err != nil {
		return nil, sigbox.Errorf(sigbox.KindOf(err), "TUF metadata cannot be signed").WithCause(err)
	}
	m.Signatures = []metadata.Signature{{KeyID: s.id, Signature: sig}}
	file, err := m.ToBytes(true)
	if err != nil {
		return nil, sigbox.Errorf(sigbox.Internal, "TUF metadata cannot be encoded").WithCause(err)
	}
	return append(file, '\n'), nil
}
