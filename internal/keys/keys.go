// Package keys reads, makes and writes private keys: PEM files with PKCS #8
// (RFC 5208), in the clear or under a passphrase in the format of Sigstore's key
// files.
//
//	key, err := keys.LoadOrCreate("data/keys/rekor2.pem", sigbox.Ed25519, nil)
//
// A key file that others than its owner can read is refused. Every error says
// which file it is about and what to do.
package keys

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"

	"github.com/sigbox/sigbox"
)

const (
	plainType     = "PRIVATE KEY" // RFC 7468 §10
	publicType    = "PUBLIC KEY"  // RFC 7468 §13
	encryptedType = "ENCRYPTED SIGSTORE PRIVATE KEY"
	cosignType    = "ENCRYPTED COSIGN PRIVATE KEY" // the older name of the same format

	// maxSize bounds a key file: an RSA key of 4096 bits takes 3.3 KB.
	maxSize = 64 << 10
)

// Generate makes a key for an algorithm that sigbox signs with.
func Generate(details sigbox.KeyDetails) (crypto.Signer, error) {
	switch details {
	case sigbox.ECDSAP256SHA256:
		return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case sigbox.ECDSAP384SHA384:
		return ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	case sigbox.ECDSAP521SHA512:
		return ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	case sigbox.Ed25519, sigbox.Ed25519ph:
		_, key, err := ed25519.GenerateKey(rand.Reader)
		return key, err
	case sigbox.RSAPKCS1v15With2048:
		return rsa.GenerateKey(rand.Reader, 2048)
	case sigbox.RSAPKCS1v15With3072, sigbox.RSAPSSWith3072:
		return rsa.GenerateKey(rand.Reader, 3072)
	case sigbox.RSAPKCS1v15With4096, sigbox.RSAPSSWith4096:
		return rsa.GenerateKey(rand.Reader, 4096)
	}
	return nil, sigbox.Errorf(sigbox.Invalid, "%s: no keys are made for this algorithm", details)
}

// Marshal writes key as a PEM file, under a passphrase unless pass is nil.
func Marshal(key crypto.Signer, pass Passphrase) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, sigbox.Errorf(sigbox.Invalid, "a key of type %T cannot be written: %w", key, err)
	}
	if pass == nil {
		return pem.EncodeToMemory(&pem.Block{Type: plainType, Bytes: der}), nil
	}
	secret, err := pass()
	if err != nil {
		return nil, err
	}
	sealed, err := seal(der, secret)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: encryptedType, Bytes: sealed}), nil
}

// Parse reads a private key. pass is asked only when the key is encrypted; nil
// is as good as none. Errors: Invalid for what is no key, Unauthenticated for a
// missing or wrong passphrase.
func Parse(file []byte, pass Passphrase) (crypto.Signer, error) {
	block, err := decode(file)
	if err != nil {
		return nil, err
	}
	der := block.Bytes
	switch block.Type {
	case plainType:
	case encryptedType, cosignType:
		if der, err = decrypt(block.Bytes, pass); err != nil {
			return nil, err
		}
	default:
		return nil, sigbox.Mismatch(sigbox.Invalid, "not a private key that sigbox reads", "PEM of type "+plainType+" (PKCS #8) or "+encryptedType, quoted(block.Type)).
			WithHint("openssl pkcs8 -topk8 -nocrypt -in OLD -out NEW converts other keys")
	}
	return parsePKCS8(der)
}

func parsePKCS8(der []byte) (crypto.Signer, error) {
	k, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, sigbox.Errorf(sigbox.Invalid, "private key: expected PKCS #8").WithCause(err)
	}
	key, ok := k.(crypto.Signer)
	if !ok {
		return nil, sigbox.Errorf(sigbox.Invalid, "private key: a %T cannot sign", k)
	}
	if _, err := sigbox.DetailsOf(key.Public()); err != nil {
		return nil, err
	}
	return key, nil
}

// ParsePublic reads a public key in PEM (RFC 7468 §13).
func ParsePublic(file []byte) (crypto.PublicKey, error) {
	block, err := decode(file)
	if err != nil {
		return nil, err
	}
	if block.Type != publicType {
		e := sigbox.Mismatch(sigbox.Invalid, "not a public key", "PEM of type "+publicType, quoted(block.Type))
		if block.Type == plainType || block.Type == encryptedType || block.Type == cosignType {
			e = e.WithHint("this is a private key: give its public half instead")
		}
		return nil, e
	}
	return sigbox.ParsePublicKey(block.Bytes)
}

// MarshalPublic writes a public key in PEM.
func MarshalPublic(pub crypto.PublicKey) ([]byte, error) {
	der, err := x509.MarshalPKIXPublicKey(pub)
	if err != nil {
		return nil, sigbox.Errorf(sigbox.Invalid, "a public key of type %T cannot be written: %w", pub, err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: publicType, Bytes: der}), nil
}

// decode takes the single PEM block of a file.
func decode(file []byte) (*pem.Block, error) {
	if len(file) > maxSize {
		return nil, sigbox.Errorf(sigbox.TooLarge, "key file of %d bytes: at most %d are read", len(file), maxSize)
	}
	block, rest := pem.Decode(file)
	if block == nil {
		return nil, sigbox.Errorf(sigbox.Invalid, "expected a key in PEM, found no PEM block")
	}
	if len(bytes.TrimSpace(rest)) > 0 {
		return nil, sigbox.Errorf(sigbox.Invalid, "expected one PEM block, found more after it")
	}
	return block, nil
}

// quoted is a PEM type as it may stand in a message.
func quoted(pemType string) string {
	if len(pemType) > 40 {
		pemType = pemType[:40] + "…"
	}
	return `"` + pemType + `"`
}
