package verify

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"

	"github.com/sigbox/sigbox"
)

// ParseKey reads a public key from PEM ("PUBLIC KEY", or "RSA PUBLIC KEY" of
// PKCS #1) or DER, of at most 64 KiB.
func ParseKey(b []byte) (sigbox.PublicKey, error) {
	const most = 64 << 10
	if len(b) > most {
		return sigbox.PublicKey{}, sigbox.Errorf(sigbox.TooLarge, "public key of %d bytes: at most %d are read", len(b), most)
	}
	if block, rest := pem.Decode(b); block != nil {
		if len(bytes.TrimSpace(rest)) > 0 {
			return sigbox.PublicKey{}, sigbox.Errorf(sigbox.Invalid, "public key: more after the end of the PEM block").WithHint("give a file with one key")
		}
		b = block.Bytes
		switch block.Type {
		case "PUBLIC KEY", "RSA PUBLIC KEY":
		case "CERTIFICATE":
			return sigbox.PublicKey{}, sigbox.Mismatch(sigbox.Invalid, "public key: type of the PEM block", "PUBLIC KEY", block.Type).
				WithHint("verify by the certificate's identity, or take the key out of it: openssl x509 -pubkey -noout")
		default:
			return sigbox.PublicKey{}, sigbox.Mismatch(sigbox.Invalid, "public key: type of the PEM block", "PUBLIC KEY", block.Type)
		}
	}
	pub, err := parseKey(b)
	if err != nil {
		return sigbox.PublicKey{}, err
	}
	spki, err := x509.MarshalPKIXPublicKey(pub)
	if err != nil {
		return sigbox.PublicKey{}, sigbox.Errorf(sigbox.Invalid, "public key: %w", err)
	}
	return sigbox.PublicKey{Key: spki}, nil
}

// signer is who signed, by certificate or by key.
type signer struct {
	public   crypto.PublicKey
	spki     []byte
	hint     string // of a key, as bundles have it by convention
	leaf     *leaf  // nil for a key
	details  sigbox.KeyDetails
	validFor sigbox.TimeRange
}

// signerOf prepares a policy's key.
func signerOf(k sigbox.PublicKey) (*signer, error) {
	pub, err := sigbox.ParsePublicKey(k.Key)
	if err != nil {
		return nil, err
	}
	// Written again, so that logs' copies of it compare equal.
	spki, err := x509.MarshalPKIXPublicKey(pub)
	if err != nil {
		return nil, sigbox.Errorf(sigbox.Invalid, "public key: %w", err)
	}
	if k.Details != 0 {
		if err := k.Details.CheckKey(pub); err != nil {
			return nil, err
		}
	}
	if len(algorithms(pub)) == 0 {
		return nil, sigbox.Errorf(sigbox.Invalid, "public key: no algorithm is known for a key %s", sigbox.DescribeKey(pub))
	}
	hint := sha256.Sum256(spki)
	return &signer{public: pub, spki: spki, hint: base64.StdEncoding.EncodeToString(hint[:]), details: k.Details, validFor: k.ValidFor}, nil
}

// algorithms gives those that a key can have signed with, the likeliest first.
func algorithms(pub crypto.PublicKey) []sigbox.KeyDetails {
	switch p := pub.(type) {
	case ed25519.PublicKey:
		return []sigbox.KeyDetails{sigbox.Ed25519ph, sigbox.Ed25519}
	case *ecdsa.PublicKey:
		k, err := sigbox.DetailsOf(p)
		switch {
		case err != nil:
			return nil
		case k == sigbox.ECDSAP384SHA384:
			return []sigbox.KeyDetails{k, sigbox.ECDSAP384SHA256}
		case k == sigbox.ECDSAP521SHA512:
			return []sigbox.KeyDetails{k, sigbox.ECDSAP521SHA256}
		}
		return []sigbox.KeyDetails{k}
	case *rsa.PublicKey:
		switch p.N.BitLen() {
		case 2048:
			return []sigbox.KeyDetails{sigbox.RSAPKCS1v15With2048, sigbox.RSAPSSWith2048}
		case 3072:
			return []sigbox.KeyDetails{sigbox.RSAPKCS1v15With3072, sigbox.RSAPSSWith3072}
		case 4096:
			return []sigbox.KeyDetails{sigbox.RSAPKCS1v15With4096, sigbox.RSAPSSWith4096}
		}
		return []sigbox.KeyDetails{sigbox.RSAPKCS1Legacy}
	}
	return nil
}
