package sigbox_test

import (
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/sigbox/sigbox"
)

func ecKey(t *testing.T, c elliptic.Curve) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(c, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// modulus makes an RSA key of a size that signs nothing.
func modulus(bits, exponent int) *rsa.PublicKey {
	n := new(big.Int).SetBit(big.NewInt(1), bits-1, 1)
	return &rsa.PublicKey{N: n, E: exponent}
}

// refused wants an error of a kind that says something.
func refused(t *testing.T, what string, err error, kind sigbox.Kind, says string) {
	t.Helper()
	if err == nil || sigbox.KindOf(err) != kind || !strings.Contains(err.Error(), says) {
		t.Errorf("%s: found %v, expected one of kind %v with %q", what, err, kind, says)
	}
}

// TestCheckKey: each algorithm fits keys of its own kind, curve and size alone.
func TestCheckKey(t *testing.T) {
	t.Parallel()
	keys := map[string]crypto.PublicKey{
		"P-256": ecKey(t, elliptic.P256()).Public(), "P-384": ecKey(t, elliptic.P384()).Public(), "P-521": ecKey(t, elliptic.P521()).Public(),
		"Ed25519": ed25519.PublicKey(make([]byte, 32)), "Ed25519, cut": ed25519.PublicKey(make([]byte, 31)),
		"RSA 2048": modulus(2048, 65537), "RSA 3072": modulus(3072, 65537), "RSA 4096": modulus(4096, 65537),
		"RSA 2047": modulus(2047, 65537), "RSA 8192": modulus(8192, 65537), "RSA 8193": modulus(8193, 65537), "RSA of exponent 3": modulus(2048, 3),
		"P-224": ecKey(t, elliptic.P224()).Public(), "none": nil,
	}
	fits := map[string][]sigbox.KeyDetails{
		"P-256":    {sigbox.ECDSAP256SHA256},
		"P-384":    {sigbox.ECDSAP384SHA384, sigbox.ECDSAP384SHA256},
		"P-521":    {sigbox.ECDSAP521SHA512, sigbox.ECDSAP521SHA256},
		"Ed25519":  {sigbox.Ed25519, sigbox.Ed25519ph},
		"RSA 2048": {sigbox.RSAPKCS1Legacy, sigbox.RSAPKCS1v15With2048, sigbox.RSAPSSWith2048},
		"RSA 3072": {sigbox.RSAPKCS1Legacy, sigbox.RSAPKCS1v15With3072, sigbox.RSAPSSWith3072},
		"RSA 4096": {sigbox.RSAPKCS1Legacy, sigbox.RSAPKCS1v15With4096, sigbox.RSAPSSWith4096},
		"RSA 8192": {sigbox.RSAPKCS1Legacy},
	}
	for name, key := range keys {
		for k := range sigbox.KeyDetails(32) {
			want := false
			for _, f := range fits[name] {
				want = want || f == k
			}
			if err := k.CheckKey(key); (err == nil) != want {
				t.Errorf("%s with %v: found %v", name, k, err)
			}
		}
		details, err := sigbox.DetailsOf(key)
		if known := len(fits[name]) > 0 && name != "RSA 8192"; err == nil != known && name != "Ed25519, cut" && name != "RSA of exponent 3" {
			t.Errorf("%s: found %v, %v", name, details, err)
		}
	}
}

// TestSignatures: of every family, with the right key, another, another message
// and another algorithm.
func TestSignatures(t *testing.T) {
	t.Parallel()
	message := []byte("message")
	digest := sigbox.SHA256.Sum(message).Value
	ec := ecKey(t, elliptic.P256())
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	for k, key := range map[sigbox.KeyDetails]crypto.Signer{
		sigbox.ECDSAP256SHA256: ec, sigbox.Ed25519: ed, sigbox.Ed25519ph: ed, sigbox.RSAPKCS1v15With2048: rsaKey, sigbox.RSAPSSWith2048: rsaKey,
	} {
		signed := message
		if k.Hash().Valid() {
			signed = k.Hash().Sum(message).Value
		}
		sig, err := key.Sign(rand.Reader, signed, k.SignerOpts())
		if err != nil {
			t.Fatal(k, err)
		}
		if err := k.VerifyMessage(key.Public(), message, sig); err != nil {
			t.Errorf("%v: %v", k, err)
		}
		refused(t, k.String()+", another message", k.VerifyMessage(key.Public(), []byte("other"), sig), sigbox.NotVerified, "does not verify")
		refused(t, k.String()+", another key", k.VerifyMessage(ecKey(t, elliptic.P384()).Public(), message, sig), sigbox.Invalid, "do not match the key")
		if k == sigbox.Ed25519 {
			refused(t, "Ed25519 of a digest", k.VerifyDigest(key.Public(), digest, sig), sigbox.Invalid, "a digest is not enough")
			continue
		}
		refused(t, k.String()+", a digest cut short", k.VerifyDigest(key.Public(), signed[1:], sig), sigbox.Invalid, "bytes")
		refused(t, k.String()+", a digest by another key", k.VerifyDigest(ecKey(t, elliptic.P384()).Public(), signed, sig), sigbox.Invalid, "do not match the key")
	}
	refused(t, "no algorithm", sigbox.KeyDetails(0).VerifyMessage(ec.Public(), message, nil), sigbox.Invalid, "not an algorithm")
	refused(t, "no algorithm", sigbox.KeyDetails(200).VerifyDigest(ec.Public(), digest, nil), sigbox.Invalid, "not an algorithm")
	if opts := sigbox.KeyDetails(0).SignerOpts(); opts.HashFunc() != 0 {
		t.Errorf("found %v for no algorithm", opts)
	}
	for _, name := range []string{"", "PKIX_OF_TOMORROW", "pkix_ed25519"} {
		_, err := sigbox.ParseKeyDetails(name)
		refused(t, name, err, sigbox.Invalid, "not an algorithm")
		refused(t, name, new(sigbox.KeyDetails).UnmarshalText([]byte(name)), sigbox.Invalid, "not an algorithm")
	}
}

func TestParsePublicKey(t *testing.T) {
	t.Parallel()
	ec, err := x509.MarshalPKIXPublicKey(ecKey(t, elliptic.P256()).Public())
	if err != nil {
		t.Fatal(err)
	}
	if key, err := sigbox.ParsePublicKey(ec); err != nil || sigbox.ECDSAP256SHA256.CheckKey(key) != nil {
		t.Errorf("found %v, %v", key, err)
	}
	agreement, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	x, err := x509.MarshalPKIXPublicKey(agreement.Public())
	if err != nil {
		t.Fatal(err)
	}
	long, err := x509.MarshalPKIXPublicKey(modulus(8*8192, 65537))
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		der  []byte
		kind sigbox.Kind
		says string
	}{
		"cut":         {ec[:len(ec)-1], sigbox.Invalid, "expected a DER SubjectPublicKeyInfo"},
		"more behind": {append(ec[:len(ec):len(ec)], 0), sigbox.Invalid, "expected a DER SubjectPublicKeyInfo"},
		"X25519":      {x, sigbox.Invalid, "unsupported type of key"},
		"long":        {long, sigbox.TooLarge, "at most 8192 are read"},
	} {
		_, err := sigbox.ParsePublicKey(c.der)
		refused(t, name, err, c.kind, c.says)
	}
}

// TestPublicKeyText: one PEM block and nothing else.
func TestPublicKeyText(t *testing.T) {
	t.Parallel()
	good, err := sigbox.SubjectPublicKeyInfo("key").MarshalText()
	if err != nil {
		t.Fatal(err)
	}
	var k sigbox.SubjectPublicKeyInfo
	if err := k.UnmarshalText(good); err != nil || string(k) != "key" {
		t.Errorf("found %q, %v", k, err)
	}
	broken := "-----BEGIN PUBLIC KEY-----\n!\n-----END PUBLIC KEY-----\n"
	for name, text := range map[string]string{
		"nothing":         "",
		"no PEM":          "key",
		"a certificate":   strings.ReplaceAll(string(good), "PUBLIC KEY", "CERTIFICATE"),
		"two":             string(good) + string(good),
		"more behind":     string(good) + "more",
		"more before":     "more\n" + string(good),
		"a broken before": broken + string(good),
	} {
		refused(t, name, k.UnmarshalText([]byte(text)), sigbox.Invalid, "public key:")
	}
}

// TestPolicyKeys: a key may stand in a policy more than once if something else is
// said of it.
func TestPolicyKeys(t *testing.T) {
	t.Parallel()
	der, err := x509.MarshalPKIXPublicKey(ecKey(t, elliptic.P384()).Public())
	if err != nil {
		t.Fatal(err)
	}
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	key := sigbox.PublicKey{Key: der}
	for name, c := range map[string]struct {
		change func(k *sigbox.PublicKey)
		ok     bool
	}{
		"the same":          {func(*sigbox.PublicKey) {}, false},
		"another algorithm": {func(k *sigbox.PublicKey) { k.Details = sigbox.ECDSAP384SHA256 }, true},
		"another start":     {func(k *sigbox.PublicKey) { k.ValidFor.Start = start }, true},
		"another end":       {func(k *sigbox.PublicKey) { k.ValidFor.End = start }, true},
	} {
		other := key
		c.change(&other)
		if err := (sigbox.Policy{Keys: []sigbox.PublicKey{key, other}}).Check(); (err == nil) != c.ok {
			t.Errorf("%s: found %v", name, err)
		}
	}
	id := sigbox.IdentityMatch{Subject: "ada@example.com", IssuerRegexp: "https://id\n"}
	refused(t, "a line end in an expression", sigbox.Policy{Identities: []sigbox.IdentityMatch{id}}.Check(), sigbox.Invalid, "control character")
}
