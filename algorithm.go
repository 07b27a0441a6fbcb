package sigbox

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"fmt"
)

// KeyDetails names a signature algorithm with its key type, size and hash.
//
// Source: protobuf-specs, sigstore_common.proto, PublicKeyDetails, and the
// algorithm registry of sigstore/architecture-docs.
type KeyDetails uint8

// The algorithms that sigbox signs or verifies with; the numbers are those of
// the wire. Those marked verify-only are found in old bundles and trust roots.
const (
	RSAPKCS1Legacy      KeyDetails = 3  // PKIX_RSA_PKCS1V5, verify-only
	ECDSAP256SHA256     KeyDetails = 5  // PKIX_ECDSA_P256_SHA_256
	Ed25519             KeyDetails = 7  // PKIX_ED25519
	Ed25519ph           KeyDetails = 8  // PKIX_ED25519_PH
	RSAPKCS1v15With2048 KeyDetails = 9  // PKIX_RSA_PKCS1V15_2048_SHA256, verify-only
	RSAPKCS1v15With3072 KeyDetails = 10 // PKIX_RSA_PKCS1V15_3072_SHA256
	RSAPKCS1v15With4096 KeyDetails = 11 // PKIX_RSA_PKCS1V15_4096_SHA256
	ECDSAP384SHA384     KeyDetails = 12 // PKIX_ECDSA_P384_SHA_384
	ECDSAP521SHA512     KeyDetails = 13 // PKIX_ECDSA_P521_SHA_512
	RSAPSSWith2048      KeyDetails = 16 // PKIX_RSA_PSS_2048_SHA256, verify-only
	RSAPSSWith3072      KeyDetails = 17 // PKIX_RSA_PSS_3072_SHA256
	RSAPSSWith4096      KeyDetails = 18 // PKIX_RSA_PSS_4096_SHA256
	ECDSAP384SHA256     KeyDetails = 19 // PKIX_ECDSA_P384_SHA_256, verify-only
	ECDSAP521SHA256     KeyDetails = 20 // PKIX_ECDSA_P521_SHA_256, verify-only
)

type family uint8

const (
	ecdsaKey family = iota + 1
	ed25519Key
	rsaPKCS1
	rsaPSS
)

// MaxRSABits is the largest RSA key with which anything is checked, in bits: what a
// check costs grows with the square, and keys come from strangers.
const MaxRSABits = 8192

type algorithm struct {
	name   string
	family family
	hash   HashAlgorithm // 0: the message itself is signed
	bits   int           // of the RSA modulus, 0: any of 2048 to MaxRSABits
	curve  elliptic.Curve
	legacy bool
}

// algorithms is the registry; it is read and never written.
var algorithms = [...]algorithm{
	RSAPKCS1Legacy:      {"PKIX_RSA_PKCS1V5", rsaPKCS1, SHA256, 0, nil, true},
	ECDSAP256SHA256:     {"PKIX_ECDSA_P256_SHA_256", ecdsaKey, SHA256, 0, elliptic.P256(), false},
	Ed25519:             {"PKIX_ED25519", ed25519Key, 0, 0, nil, false},
	Ed25519ph:           {"PKIX_ED25519_PH", ed25519Key, SHA512, 0, nil, false},
	RSAPKCS1v15With2048: {"PKIX_RSA_PKCS1V15_2048_SHA256", rsaPKCS1, SHA256, 2048, nil, true},
	RSAPKCS1v15With3072: {"PKIX_RSA_PKCS1V15_3072_SHA256", rsaPKCS1, SHA256, 3072, nil, false},
	RSAPKCS1v15With4096: {"PKIX_RSA_PKCS1V15_4096_SHA256", rsaPKCS1, SHA256, 4096, nil, false},
	ECDSAP384SHA384:     {"PKIX_ECDSA_P384_SHA_384", ecdsaKey, SHA384, 0, elliptic.P384(), false},
	ECDSAP521SHA512:     {"PKIX_ECDSA_P521_SHA_512", ecdsaKey, SHA512, 0, elliptic.P521(), false},
	RSAPSSWith2048:      {"PKIX_RSA_PSS_2048_SHA256", rsaPSS, SHA256, 2048, nil, true},
	RSAPSSWith3072:      {"PKIX_RSA_PSS_3072_SHA256", rsaPSS, SHA256, 3072, nil, false},
	RSAPSSWith4096:      {"PKIX_RSA_PSS_4096_SHA256", rsaPSS, SHA256, 4096, nil, false},
	ECDSAP384SHA256:     {"PKIX_ECDSA_P384_SHA_256", ecdsaKey, SHA256, 0, elliptic.P384(), true},
	ECDSAP521SHA256:     {"PKIX_ECDSA_P521_SHA_256", ecdsaKey, SHA256, 0, elliptic.P521(), true},
}

func (k KeyDetails) info() (algorithm, bool) {
	if int(k) >= len(algorithms) || algorithms[k].family == 0 {
		return algorithm{}, false
	}
	return algorithms[k], true
}

// Valid reports whether k is an algorithm that sigbox knows.
func (k KeyDetails) Valid() bool { _, ok := k.info(); return ok }

// Legacy reports whether k is for verifying what exists, never for signing.
func (k KeyDetails) Legacy() bool { a, _ := k.info(); return a.legacy }

// String gives the protojson enum name, as in "PKIX_ECDSA_P256_SHA_256".
func (k KeyDetails) String() string {
	if a, ok := k.info(); ok {
		return a.name
	}
	return "PUBLIC_KEY_DETAILS_UNSPECIFIED"
}

// Hash is the hash that k signs the digest of; 0 for pure Ed25519, which signs
// the message itself.
func (k KeyDetails) Hash() HashAlgorithm { a, _ := k.info(); return a.hash }

// SignerOpts gives what a crypto.Signer needs to sign with k.
func (k KeyDetails) SignerOpts() crypto.SignerOpts {
	a, ok := k.info()
	switch {
	case !ok:
		return crypto.Hash(0)
	case a.family == rsaPSS:
		return &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: a.hash.Crypto()}
	case k == Ed25519ph:
		return &ed25519.Options{Hash: crypto.SHA512}
	}
	return a.hash.Crypto()
}

// ParseKeyDetails finds an algorithm by its protojson enum name.
func ParseKeyDetails(name string) (KeyDetails, error) {
	for k := range algorithms {
		if algorithms[k].family != 0 && algorithms[k].name == name {
			return KeyDetails(k), nil
		}
	}
	return 0, Errorf(Invalid, "key details %.60q: not an algorithm that sigbox supports", name)
}

// MarshalText gives the protojson enum name.
func (k KeyDetails) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// UnmarshalText reads the protojson enum name.
func (k *KeyDetails) UnmarshalText(text []byte) (err error) {
	*k, err = ParseKeyDetails(string(text))
	return err
}

// DetailsOf gives the default algorithm for a public key: the curve's own hash
// for ECDSA, PKCS #1 v1.5 with SHA-256 for RSA of 2048, 3072 and 4096 bits,
// pure Ed25519.
func DetailsOf(pub crypto.PublicKey) (KeyDetails, error) {
	switch p := pub.(type) {
	case *ecdsa.PublicKey:
		switch p.Curve {
		case elliptic.P256():
			return ECDSAP256SHA256, nil
		case elliptic.P384():
			return ECDSAP384SHA384, nil
		case elliptic.P521():
			return ECDSAP521SHA512, nil
		}
		return 0, Mismatch(Invalid, "unsupported elliptic curve", "P-256, P-384 or P-521", p.Curve.Params().Name)
	case ed25519.PublicKey:
		return Ed25519, nil
	case *rsa.PublicKey:
		switch p.N.BitLen() {
		case 2048:
			return RSAPKCS1v15With2048, nil
		case 3072:
			return RSAPKCS1v15With3072, nil
		case 4096:
			return RSAPKCS1v15With4096, nil
		}
		return 0, Errorf(Invalid, "unsupported RSA key: expected 2048, 3072 or 4096 bits, found %d", p.N.BitLen())
	}
	return 0, Errorf(Invalid, "unsupported type of key: expected ECDSA, Ed25519 or RSA")
}

// CheckKey says whether pub is a key that k can be used with: its type, curve
// and size, and for RSA a public exponent of 65537.
func (k KeyDetails) CheckKey(pub crypto.PublicKey) error {
	a, ok := k.info()
	if !ok {
		return Errorf(Invalid, "key details %d: not an algorithm that sigbox supports", k)
	}
	fits := false
	switch p := pub.(type) {
	case *ecdsa.PublicKey:
		fits = a.family == ecdsaKey && p.Curve == a.curve
	case ed25519.PublicKey:
		fits = a.family == ed25519Key && len(p) == ed25519.PublicKeySize
	case *rsa.PublicKey:
		if a.family != rsaPKCS1 && a.family != rsaPSS {
			break
		}
		bits := p.N.BitLen()
		if p.E != 65537 {
			return Errorf(Invalid, "RSA key: expected public exponent 65537, found %d", p.E)
		}
		fits = bits == a.bits || (a.bits == 0 && bits >= 2048 && bits <= MaxRSABits)
	}
	if !fits {
		return Errorf(Invalid, "key details %s do not match the key, which is %s", a.name, DescribeKey(pub))
	}
	return nil
}

// VerifyMessage checks sig over message with k's algorithm. The error is of
// kind NotVerified when the signature is wrong and Invalid when pub does not fit k.
func (k KeyDetails) VerifyMessage(pub crypto.PublicKey, message, sig []byte) error {
	if k == Ed25519 {
		if err := k.CheckKey(pub); err != nil {
			return err
		}
		if !ed25519.Verify(pub.(ed25519.PublicKey), message, sig) {
			return Errorf(NotVerified, "the Ed25519 signature does not verify")
		}
		return nil
	}
	h := k.Hash()
	if !h.Valid() {
		return Errorf(Invalid, "key details %d: not an algorithm that sigbox supports", k)
	}
	return k.VerifyDigest(pub, h.Sum(message).Value, sig)
}

// VerifyDigest checks sig over a message of which only the digest, by k.Hash(),
// is known. Pure Ed25519 cannot do this: the error is of kind Invalid.
func (k KeyDetails) VerifyDigest(pub crypto.PublicKey, digest, sig []byte) error {
	if err := k.CheckKey(pub); err != nil {
		return err
	}
	a := algorithms[k]
	if a.hash == 0 {
		return Errorf(Invalid, "Ed25519 signatures are over the artifact itself, a digest is not enough").WithHint("give the artifact, or sign with Ed25519ph")
	}
	if len(digest) != a.hash.Size() {
		return Errorf(Invalid, "%s signs a %s digest of %d bytes, found %d bytes", a.name, a.hash, a.hash.Size(), len(digest))
	}
	ok := false
	switch p := pub.(type) {
	case *ecdsa.PublicKey:
		ok = ecdsa.VerifyASN1(p, digest, sig)
	case ed25519.PublicKey:
		ok = ed25519.VerifyWithOptions(p, digest, sig, &ed25519.Options{Hash: crypto.SHA512}) == nil
	case *rsa.PublicKey:
		if a.family == rsaPSS {
			ok = rsa.VerifyPSS(p, a.hash.Crypto(), digest, sig, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthAuto}) == nil
		} else {
			ok = rsa.VerifyPKCS1v15(p, a.hash.Crypto(), digest, sig) == nil
		}
	}
	if !ok {
		return Errorf(NotVerified, "the %s signature does not verify", a.name)
	}
	return nil
}

// DescribeKey names a key for people: "ECDSA P-256", "RSA of 2048 bits".
func DescribeKey(pub crypto.PublicKey) string {
	switch p := pub.(type) {
	case *ecdsa.PublicKey:
		return "ECDSA " + p.Curve.Params().Name
	case ed25519.PublicKey:
		return "Ed25519"
	case *rsa.PublicKey:
		return fmt.Sprintf("RSA of %d bits", p.N.BitLen())
	}
	return "of a type that sigbox does not know"
}

// ParsePublicKey reads a DER SubjectPublicKeyInfo (RFC 5280 §4.1.2.7) of a type
// that sigbox supports.
func ParsePublicKey(der []byte) (crypto.PublicKey, error) {
	if len(der) > 8192 {
		return nil, Errorf(TooLarge, "public key of %d bytes: at most 8192 are read", len(der))
	}
	pub, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		return nil, notDER("public key: expected a DER SubjectPublicKeyInfo of ECDSA on a NIST curve, Ed25519 or RSA", der, err)
	}
	switch pub.(type) {
	case *ecdsa.PublicKey, ed25519.PublicKey, *rsa.PublicKey:
		return pub, nil
	}
	return nil, Errorf(Invalid, "unsupported type of key: expected ECDSA, Ed25519 or RSA")
}
