package ca

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/hex"
	"math/big"

	"github.com/sigbox/sigbox"
)

// maxCSR bounds a certificate signing request, in bytes.
const maxCSR = 16 << 10

// provenKey is a public key whose holder has shown the private half. It is made
// by possession alone.
type provenKey struct {
	key  crypto.PublicKey
	spki []byte // DER SubjectPublicKeyInfo
}

// possession checks that whoever asks holds the private key: by a signature over
// one of the proofs, or by the signature of a CSR.
func possession(req sigbox.CertificateRequest, proofs []string) (provenKey, error) {
	switch {
	case len(req.CSR) > 0 && req.PublicKey != nil:
		return provenKey{}, sigbox.Errorf(sigbox.Invalid, "expected a public key with a proof of possession or a certificate signing request, found both")
	case len(req.CSR) > 0:
		return possessionByCSR(req.CSR)
	case req.PublicKey == nil:
		return provenKey{}, sigbox.Errorf(sigbox.Invalid, "there is neither a public key nor a certificate signing request")
	case len(req.Proof) == 0:
		return provenKey{}, sigbox.Errorf(sigbox.Invalid, "there is no proof of possession")
	}
	details, err := checkKey(req.PublicKey)
	if err != nil {
		return provenKey{}, err
	}
	for _, text := range proofs {
		if details.VerifyMessage(req.PublicKey, []byte(text), req.Proof) == nil {
			return newProvenKey(req.PublicKey)
		}
	}
	return provenKey{}, sigbox.Errorf(sigbox.Invalid, "the proof of possession does not verify: expected a signature by the key to certify, %s, over %.200q", details, proofs[0])
}

// possessionByCSR reads a PKCS #10 request (RFC 2986). Of its contents only the
// key is used.
func possessionByCSR(der []byte) (provenKey, error) {
	if len(der) > maxCSR {
		return provenKey{}, sigbox.Errorf(sigbox.TooLarge, "certificate signing request of %d bytes: at most %d are read", len(der), maxCSR)
	}
	csr, err := x509.ParseCertificateRequest(der)
	if err != nil {
		return provenKey{}, sigbox.Errorf(sigbox.Invalid, "certificate signing request: not a PKCS #10 request (RFC 2986)").WithCause(err)
	}
	if _, err := checkKey(csr.PublicKey); err != nil {
		return provenKey{}, err
	}
	switch csr.SignatureAlgorithm {
	case x509.ECDSAWithSHA256, x509.ECDSAWithSHA384, x509.ECDSAWithSHA512, x509.PureEd25519,
		x509.SHA256WithRSA, x509.SHA384WithRSA, x509.SHA512WithRSA:
	default:
		return provenKey{}, sigbox.Errorf(sigbox.Invalid, "certificate signing request: unsupported signature algorithm, expected SHA-256, SHA-384 or SHA-512 with ECDSA or RSA (PKCS #1 v1.5), or Ed25519")
	}
	if csr.CheckSignature() != nil {
		return provenKey{}, sigbox.Errorf(sigbox.Invalid, "certificate signing request: its signature does not verify with the key in it")
	}
	return newProvenKey(csr.PublicKey)
}

func newProvenKey(pub crypto.PublicKey) (provenKey, error) {
	spki, err := x509.MarshalPKIXPublicKey(pub)
	if err != nil {
		return provenKey{}, sigbox.Errorf(sigbox.Invalid, "public key: %w", err)
	}
	return provenKey{pub, spki}, nil
}

// checkKey refuses keys of other kinds and sizes than certificates are issued
// for, and those that are known to be weak.
func checkKey(pub crypto.PublicKey) (sigbox.KeyDetails, error) {
	details, err := sigbox.DetailsOf(pub)
	if err != nil {
		return 0, err
	}
	if err := details.CheckKey(pub); err != nil {
		return 0, err
	}
	weak := ""
	switch k := pub.(type) {
	case *rsa.PublicKey:
		weak = weakRSA(k.N)
	case ed25519.PublicKey:
		if smallOrder(k) {
			weak = "it is a point of small order"
		}
	}
	if weak != "" {
		return 0, sigbox.Errorf(sigbox.Invalid, "the public key is weak: %s", weak).WithHint("make a new key")
	}
	return details, nil
}

// fermatRounds is how many steps of Fermat's factorisation are tried; it finds
// primes that were chosen next to each other (CVE-2022-26320).
const fermatRounds = 100

// weakRSA names what is wrong with a modulus, "" for nothing that is known.
func weakRSA(n *big.Int) string {
	switch {
	case n.Bit(0) == 0 || hasSmallFactor(n):
		return "its modulus has a small factor"
	case isROCA(n):
		return "its modulus is of a broken generator (ROCA, CVE-2017-15361)"
	case hasCloseFactors(n):
		return "the primes of its modulus are too close together"
	}
	return ""
}

// hasSmallFactor tries odd divisors below 752, as the CA/Browser Forum's Baseline
// Requirements §6.1.6 ask.
func hasSmallFactor(n *big.Int) bool {
	var d, r big.Int
	for i := int64(3); i < 752; i += 2 {
		if r.Mod(n, d.SetInt64(i)).Sign() == 0 {
			return true
		}
	}
	return false
}

// isROCA looks for the fingerprint of primes of the form k·M + 65537^a mod M: n is
// a power of 65537 modulo each small prime.
func isROCA(n *big.Int) bool {
	var d, r big.Int
	for _, p := range [...]int64{11, 13, 17, 19, 37, 53, 61, 71, 73, 79, 97, 103, 107, 109, 127, 151, 157} {
		rest := r.Mod(n, d.SetInt64(p)).Int64()
		power, found := int64(1), false
		for range p {
			found = found || power == rest
			power = power * 65537 % p
		}
		if !found {
			return false
		}
	}
	return true
}

// hasCloseFactors tries Fermat's method: n = a² - b² with a near the root of n.
func hasCloseFactors(n *big.Int) bool {
	var a, b2, b big.Int
	one := big.NewInt(1)
	a.Sqrt(n)
	for range fermatRounds {
		a.Add(&a, one)
		b2.Sub(b2.Mul(&a, &a), n)
		if b2.Sign() >= 0 && mayBeSquare(&b2) && b.Mul(b.Sqrt(&b2), &b).Cmp(&b2) == 0 {
			return true
		}
	}
	return false
}

// mayBeSquare rules out five numbers of six by their lowest byte, which is much
// quicker than a root.
func mayBeSquare(n *big.Int) bool {
	low := 0
	for i := range 8 {
		low |= int(n.Bit(i)) << i
	}
	for i := range 128 {
		if i*i&0xff == low {
			return true
		}
	}
	return false
}

// smallOrder says whether an Ed25519 key is a point of order 8 or less (RFC 8032
// §5.1.7 leaves this check open). With such a key a signature verifies for more
// than one message, so that it proves nothing.
func smallOrder(k ed25519.PublicKey) bool {
	const (
		zero   = "0000000000000000000000000000000000000000000000000000000000000000"
		one    = "0100000000000000000000000000000000000000000000000000000000000000"
		eightA = "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"
		eightB = "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"
		pMinus = "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"
		p      = "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"
		pPlus  = "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"
	)
	var y [ed25519.PublicKeySize]byte
	copy(y[:], k)
	y[31] &= 0x7f // the sign of x
	switch hex.EncodeToString(y[:]) {
	case zero, one, eightA, eightB, pMinus, p, pPlus:
		return true
	}
	return false
}
