package ca

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"testing"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/fixture"
)

// FuzzPossession: no certificate signing request and no key with a proof make the
// authority panic, and what is accepted is a key that it certifies, in its one form, with
// a signature by it.
func FuzzPossession(f *testing.F) {
	key := fixture.Key(f)
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	for _, k := range []crypto.Signer{key, ed} {
		csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{
			Subject: pkix.Name{CommonName: "alice@example.com"}, DNSNames: []string{"example.com"},
		}, k)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(csr, []byte(nil), []byte(nil))
		f.Add(append(csr[:len(csr):len(csr)], 0), []byte(nil), []byte(nil)) // something after it
		f.Add(csr[:len(csr)-1], []byte(nil), []byte(nil))
		forged := bytes.Clone(csr)
		forged[len(forged)-1] ^= 1 // in its signature
		f.Add(forged, []byte(nil), []byte(nil))
		spki, err := x509.MarshalPKIXPublicKey(k.Public())
		if err != nil {
			f.Fatal(err)
		}
		f.Add([]byte(nil), spki, sign(f, k, "alice@example.com"))
	}
	f.Fuzz(func(t *testing.T, csr, spki, proof []byte) {
		req := sigbox.CertificateRequest{CSR: csr, Proof: proof}
		if len(spki) > 0 {
			pub, err := sigbox.ParsePublicKey(spki)
			if err != nil {
				return
			}
			req.PublicKey = pub
		}
		proven, err := possession(req, []string{"alice@example.com"})
		if err != nil {
			return
		}
		if _, err := checkKey(proven.key); err != nil {
			t.Errorf("accepted a key that is not certified: %v", err)
		}
		again, err := sigbox.ParsePublicKey(proven.spki)
		if err != nil || !again.(interface{ Equal(crypto.PublicKey) bool }).Equal(proven.key) {
			t.Errorf("the key does not come back: %v", err)
		}
	})
}

// sign signs a proof of possession.
func sign(f *testing.F, key crypto.Signer, text string) []byte {
	f.Helper()
	message, opts := []byte(text), crypto.SignerOpts(crypto.Hash(0))
	if _, ok := key.(*ecdsa.PrivateKey); ok {
		opts = crypto.SHA256
		h := crypto.SHA256.New()
		h.Write(message)
		message = h.Sum(nil)
	}
	sig, err := key.Sign(rand.Reader, message, opts)
	if err != nil {
		f.Fatal(err)
	}
	return sig
}
