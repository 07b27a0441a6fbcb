package cert_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/wire/cert"
)

func TestVerifySCT(t *testing.T) {
	issuer, ecLog := newKey(t), newKey(t)
	rsaLog, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	index, err := cert.LeafIndexExtension(70_000)
	if err != nil {
		t.Fatal(err)
	}
	for name, logKey := range map[string]crypto.Signer{"ECDSA": ecLog, "RSA": rsaLog} {
		for _, exts := range [][]byte{nil, index} {
			pre, final := pair(t, issuer, logKey, exts)
			scts, err := cert.SCTList(final)
			if err != nil || len(scts) != 1 {
				t.Fatalf("%s: found %d SCTs, %v", name, len(scts), err)
			}
			s, key := scts[0], spki(t, issuer.Public())
			for _, leaf := range [][]byte{pre.Raw, final.Raw} {
				if err := cert.VerifySCT(s, leaf, key, logKey.Public()); err != nil {
					t.Errorf("%s: %v", name, err)
				}
			}
			if got, ok, err := s.LeafIndex(); err != nil || ok != (exts != nil) || (ok && got != 70_000) {
				t.Errorf("%s: leaf index %d, %v, %v", name, got, ok, err)
			}
			testRefusedSCTs(t, s, final, key, logKey.Public())
		}
	}
}

// testRefusedSCTs changes each thing that the signature covers.
func testRefusedSCTs(t *testing.T, s cert.SCT, final *x509.Certificate, key []byte, logKey crypto.PublicKey) {
	t.Helper()
	refused := func(what string, s cert.SCT, leaf, key []byte, logKey crypto.PublicKey, kind sigbox.Kind) {
		t.Helper()
		if err := cert.VerifySCT(s, leaf, key, logKey); err == nil || sigbox.KindOf(err) != kind {
			t.Errorf("%s: expected an error of kind %v, found %v", what, kind, err)
		}
	}
	later := s
	later.Timestamp++
	refused("another time", later, final.Raw, key, logKey, sigbox.NotVerified)
	extended := s
	extended.Extensions = append(bytes.Clone(s.Extensions), 9, 0, 0)
	refused("more extensions", extended, final.Raw, key, logKey, sigbox.NotVerified)
	refused("another issuer", s, final.Raw, spki(t, newKey(t).Public()), logKey, sigbox.NotVerified)
	other, _ := pair(t, newKey(t), newKey(t), nil)
	refused("another certificate", s, other.Raw, key, logKey, sigbox.NotVerified)
	wrong := s
	wrong.Algorithm ^= 2 // RSA for ECDSA and back
	refused("another algorithm", wrong, final.Raw, key, logKey, sigbox.NotVerified)
	cut := s
	cut.Signature = s.Signature[:len(s.Signature)-1]
	refused("cut signature", cut, final.Raw, key, logKey, sigbox.NotVerified)
	refused("another log", s, final.Raw, key, sameKind(t, logKey), sigbox.NotVerified)
	refused("Ed25519 log", s, final.Raw, key, ed25519.PublicKey(make([]byte, 32)), sigbox.Invalid)
	refused("no certificate", s, []byte{0x30, 0}, key, logKey, sigbox.Invalid)
}

func sameKind(t *testing.T, pub crypto.PublicKey) crypto.PublicKey {
	t.Helper()
	if _, ok := pub.(*ecdsa.PublicKey); ok {
		return newKey(t).Public()
	}
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return k.Public()
}

func TestSmallRSALogKey(t *testing.T) {
	t.Setenv("GODEBUG", "rsa1024min=0")
	k, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Skip(err)
	}
	err = cert.VerifyLogSignature(k.Public(), cert.SHA256WithRSA, []byte("x"), nil)
	if err == nil || sigbox.KindOf(err) != sigbox.Invalid {
		t.Errorf("expected a refusal of the key, found %v", err)
	}
}

func TestPrecertTBS(t *testing.T) {
	pre, final := pair(t, newKey(t), newKey(t), nil)
	a, err := cert.PrecertTBS(pre.Raw)
	if err != nil {
		t.Fatal(err)
	}
	b, err := cert.PrecertTBS(final.Raw)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(a, b) {
		t.Error("a precertificate and its certificate differ")
	}
	for _, tc := range []struct {
		der  []byte
		want bool
	}{{pre.Raw, true}, {final.Raw, false}} {
		if got, err := cert.IsPrecert(tc.der); err != nil || got != tc.want {
			t.Errorf("IsPrecert: %v, %v", got, err)
		}
	}
	plain := issue(t, newKey(t), nil)
	if got, err := cert.PrecertTBS(plain.Raw); err != nil || !bytes.Equal(got, plain.RawTBSCertificate) {
		t.Errorf("a certificate without either comes back changed: %v", err)
	}
}

// TestPrecertTBSIsTheCertificate: what is left when the poison is taken out is to the
// byte the certificate that was made without, however few and short its extensions.
func TestPrecertTBSIsTheCertificate(t *testing.T) {
	for name, value := range map[string]int{"no extension": -1, "one of a few bytes": 4, "of 150 bytes": 150, "of 300 bytes": 300, "of 40,000 bytes": 40_000} {
		var extensions []pkix.Extension
		if value >= 0 {
			extensions = []pkix.Extension{{Id: []int{1, 2, 3}, Value: make([]byte, value)}}
		}
		key := newKey(t)
		make := func(extensions ...pkix.Extension) *x509.Certificate {
			der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Unix(1e9, 0), NotAfter: time.Unix(2e9, 0), ExtraExtensions: extensions}, &x509.Certificate{}, key.Public(), key)
			if err != nil {
				t.Fatal(err)
			}
			c, err := x509.ParseCertificate(der)
			if err != nil {
				t.Fatal(err)
			}
			return c
		}
		plain := make(extensions...)
		got, err := cert.PrecertTBS(make(append(extensions, cert.Poison())...).Raw)
		if err != nil || !bytes.Equal(got, plain.RawTBSCertificate) {
			t.Errorf("%s: found %v, %x, expected %x", name, err, got, plain.RawTBSCertificate)
		}
		logKey := newKey(t)
		spki, err := x509.MarshalPKIXPublicKey(key.Public())
		if err != nil {
			t.Fatal(err)
		}
		if err := cert.VerifySCT(sctFor(t, logKey, plain.Raw, spki, nil), plain.Raw, spki, logKey.Public()); err != nil {
			t.Errorf("%s: an SCT for the certificate as it is: %v", name, err)
		}
	}
}

func TestPrecertTBSRefuses(t *testing.T) {
	issuer := newKey(t)
	list, err := cert.SCTListExtension([]byte{1})
	if err != nil {
		t.Fatal(err)
	}
	soft, full := cert.Poison(), cert.Poison()
	soft.Critical = false
	full.Value = []byte{0x0c, 1, 'a'}
	pre, _ := pair(t, issuer, newKey(t), nil)
	for name, der := range map[string][]byte{
		"empty":               nil,
		"cut":                 pre.Raw[:len(pre.Raw)-1],
		"bytes behind":        append(bytes.Clone(pre.Raw), 0),
		"huge":                make([]byte, cert.MaxCertificate+1),
		"poison and list":     issue(t, issuer, []pkix.Extension{cert.Poison(), list}).Raw,
		"poison not critical": issue(t, issuer, []pkix.Extension{soft}).Raw,
		"poison not NULL":     issue(t, issuer, []pkix.Extension{full}).Raw,
	} {
		if tbs, err := cert.PrecertTBS(der); err == nil {
			t.Errorf("%s: accepted, %d bytes", name, len(tbs))
		}
	}
}

func TestSCTListRefuses(t *testing.T) {
	_, final := pair(t, newKey(t), newKey(t), nil)
	i := len(final.Extensions) - 1
	value := final.Extensions[i].Value
	one := value[6:]
	many := make([][]byte, 32)
	for j := range many {
		many[j] = one
	}
	for name, v := range map[string][]byte{
		"no octet string": {0x30, 0},
		"no list":         {4, 0},
		"empty list":      {4, 2, 0, 0},
		"bytes behind":    append(bytes.Clone(value), 0),
		"cut SCT":         {4, 4, 0, 2, 0, 9},
		"empty SCT":       {4, 4, 0, 2, 0, 0},
		"version 2":       {4, 5, 0, 3, 0, 1, 1},
	} {
		_, err := cert.SCTList(&x509.Certificate{Extensions: []pkix.Extension{{Id: final.Extensions[i].Id, Value: v}}})
		if err == nil || sigbox.KindOf(err) != sigbox.Invalid {
			t.Errorf("%s: expected a refusal, found %v", name, err)
		}
	}
	twice := &x509.Certificate{Extensions: append(final.Extensions[i:i+1:i+1], final.Extensions[i])}
	if _, err := cert.SCTList(twice); err == nil {
		t.Error("two lists are accepted")
	}
	if scts, err := cert.SCTList(&x509.Certificate{}); err != nil || len(scts) != 0 {
		t.Errorf("no list: found %v, %v", scts, err)
	}
	if _, err := cert.SCTListExtension(append(many, one)...); err == nil {
		t.Error("33 SCTs are embedded")
	}
	if _, err := cert.SCTListExtension(); err == nil {
		t.Error("an empty list is embedded")
	}
}

func TestLeafIndexRefuses(t *testing.T) {
	for name, exts := range map[string][]byte{
		"cut":       {0, 0, 5, 0, 0},
		"short":     {0, 0, 4, 0, 0, 0, 1},
		"repeated":  {0, 0, 5, 0, 0, 0, 0, 1, 0, 0, 5, 0, 0, 0, 0, 1},
		"no length": {7},
	} {
		if _, _, err := (cert.SCT{Extensions: exts}).LeafIndex(); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if _, err := cert.LeafIndexExtension(1 << 40); err == nil {
		t.Error("an index of 41 bits is written")
	}
}

func TestDigitallySigned(t *testing.T) {
	s := cert.SCT{Algorithm: cert.SHA256WithECDSA, Signature: []byte{9, 9}}
	if got := s.DigitallySigned(); !bytes.Equal(got, []byte{4, 3, 0, 2, 9, 9}) {
		t.Errorf("digitally signed: %x", got)
	}
}

// FuzzSCT: what is read is written the same.
func FuzzSCT(f *testing.F) {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	_, final := pair(f, k, k, []byte{0, 0, 5, 0, 0, 0, 0, 1})
	scts, err := cert.SCTList(final)
	if err != nil {
		f.Fatal(err)
	}
	raw, err := scts[0].Marshal()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw)
	f.Add(raw[:60])
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := cert.ParseSCT(b)
		if err != nil {
			return
		}
		_, _, _ = s.LeafIndex()
		out, err := s.Marshal()
		if err != nil || !bytes.Equal(out, b) {
			t.Fatalf("read %x, wrote %x, %v", b, out, err)
		}
		ext, err := cert.SCTListExtension(b)
		if err != nil {
			return
		}
		list, err := cert.SCTList(&x509.Certificate{Extensions: []pkix.Extension{ext}})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]cert.SCT{s}, list); diff != "" {
			t.Fatal(diff)
		}
	})
}

// FuzzPrecertTBS: the result is a TBS that needs no further cut.
func FuzzPrecertTBS(f *testing.F) {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	pre, final := pair(f, k, k, nil)
	f.Add(pre.Raw)
	f.Add(final.Raw)
	f.Fuzz(func(t *testing.T, der []byte) {
		tbs, err := cert.PrecertTBS(der)
		if err != nil {
			return
		}
		again, err := cert.PrecertTBS(wrapTBS(t, tbs))
		if err != nil || !bytes.Equal(again, tbs) {
			t.Fatalf("%x: cut twice differs: %v", der, err)
		}
	})
}

// wrapTBS makes the outline of a certificate around a TBS.
func wrapTBS(t *testing.T, tbs []byte) []byte {
	t.Helper()
	der, err := asn1.Marshal(struct {
		TBS asn1.RawValue
		Alg struct{}
		Sig asn1.BitString
	}{TBS: asn1.RawValue{FullBytes: tbs}})
	if err != nil {
		t.Fatal(err)
	}
	return der
}
