package tuf

import (
	"crypto"

	"github.com/secure-systems-lab/go-securesystemslib/cjson"
	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/wire/tufroot"
)

// signer is a private key with its TUF form and identifier.
type signer struct {
	key    crypto.Signer
	public tufroot.Key
}

// newSigner prepares a key.
func newSigner(key crypto.Signer) (signer, error) {
	if key == nil {
		return signer{}, sigbox.Errorf(sigbox.Internal, "the TUF repository has no key")
	}
	public, err := tufroot.NewKey(key.Public())
	return signer{key, public}, err
}

// seal signs m, replacing its signatures, and gives it as a file.
func seal[T metadata.Roles](m *metadata.Metadata[T], s signer) ([]byte, error) {
	payload, err := cjson.EncodeCanonical(m.Signed)
	if err != nil {
		return nil, sigbox.Errorf(sigbox.Internal, "TUF metadata cannot be encoded").WithCause(err)
	}
	sig, err := tufroot.Sign(s.public, s.key, payload)
	if err != nil {
		return nil, err
	}
	m.Signatures = []metadata.Signature{sig}
	file, err := m.ToBytes(true)
	if err != nil {
		return nil, sigbox.Errorf(sigbox.Internal, "TUF metadata cannot be encoded").WithCause(err)
	}
	return append(file, '\n'), nil
}
