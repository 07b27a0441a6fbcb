// Package keys reads, makes and writes private keys: PEM files with PKCS #8
// (RFC 5208), in the clear or under a passphrase in the format of Sigstore's key
// files. It also reads the older forms of openssl, in the clear.
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
	encryptedType = "ENCRYPTED SIGSTORE PRIVATE KEY"
	cosignType    = "ENCRYPTED COSIGN PRIVATE KEY" // the older name of the same format

	// What openssl writes besides; these are read and never written.
	ecType      = "EC PRIVATE KEY"  // RFC 5915 §4
	ecCurveType = "EC PARAMETERS"   // before it: the curve, which the key names, too
	rsaType     = "RSA PRIVATE KEY" // PKCS #1, RFC 8017 §A.1.2

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
		return nil, sigbox.Errorf(sigbox.Invalid, "a key that is %s cannot be written: %s", sigbox.DescribeKey(key.Public()), sigbox.DescribeX509(err))
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

// Parse reads a private key: PKCS #8 in the clear or encrypted as cosign does it,
// and what openssl writes for ECDSA and RSA. pass is asked only when the key is
// encrypted; nil is as good as none. Errors: Invalid for what is no key,
// Unauthenticated for a missing or wrong passphrase.
func Parse(file []byte, pass Passphrase) (crypto.Signer, error) {
	block, err := decode(file)
	if err != nil {
		return nil, err
	}
	switch block.Type {
	case encryptedType, cosignType:
		der, err := decrypt(block.Bytes, pass)
		if err != nil {
			return nil, err
		}
		return parsePrivate(plainType, der)
	case plainType, ecType, rsaType:
		if _, encrypted := block.Headers["DEK-Info"]; !encrypted { // RFC 1421
			return parsePrivate(block.Type, block.Bytes)
		}
	}
	return nil, sigbox.Mismatch(sigbox.Invalid, "not a private key that sigbox reads", "PEM of type "+plainType+", "+ecType+", "+rsaType+" or "+encryptedType, describe(block)).
		WithHint("openssl pkcs8 -topk8 -nocrypt -in OLD -out NEW converts other keys")
}

// describe names a block as it may stand in a message.
func describe(block *pem.Block) string {
	if _, encrypted := block.Headers["DEK-Info"]; encrypted {
		return quoted(block.Type) + ", encrypted by openssl"
	}
	return quoted(block.Type)
}

// parsePrivate reads the DER of a PEM type.
func parsePrivate(pemType string, der []byte) (crypto.Signer, error) {
	k, err := parseDER(pemType, der)
	if err != nil {
		format := map[string]string{plainType: "PKCS #8", ecType: "an ECDSA key", rsaType: "PKCS #1"}[pemType]
		return nil, sigbox.Errorf(sigbox.Invalid, "private key: expected %s: %s", format, sigbox.DescribeX509(err))
	}
	key, ok := k.(crypto.Signer)
	if !ok {
		return nil, sigbox.Errorf(sigbox.Invalid, "private key: expected ECDSA, Ed25519 or RSA, found one that cannot sign")
	}
	if _, err := sigbox.DetailsOf(key.Public()); err != nil {
		return nil, err
	}
	return key, nil
}

func parseDER(pemType string, der []byte) (any, error) {
	switch pemType {
	case ecType:
		return x509.ParseECPrivateKey(der)
	case rsaType:
		return x509.ParsePKCS1PrivateKey(der)
	}
	return x509.ParsePKCS8PrivateKey(der)
}

// decode takes the single PEM block of a file. openssl puts the curve of a key into
// a block before it.
func decode(file []byte) (*pem.Block, error) {
	if len(file) > maxSize {
		return nil, sigbox.Errorf(sigbox.TooLarge, "key file of %d bytes: at most %d are read", len(file), maxSize)
	}
	block, rest := pem.Decode(file)
	if block != nil && block.Type == ecCurveType {
		block, rest = pem.Decode(rest)
	}
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
