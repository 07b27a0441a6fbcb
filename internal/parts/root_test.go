package parts

import (
	"crypto"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"path/filepath"
	"testing"
	"time"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/fixture"
)

// issued makes a certificate of an authority, by its own key or by that of another one.
func issued(t *testing.T, name string, key crypto.Signer, parent *x509.Certificate, by crypto.Signer, end time.Time) *x509.Certificate {
	t.Helper()
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: time.Unix(1e9, 0), NotAfter: end,
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	if parent == nil {
		parent, by = c, key
	}
	der, err := x509.CreateCertificate(nil, c, parent, key.Public(), by)
	if err != nil {
		t.Fatal(err)
	}
	if c, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	return c
}

// TestPartEndsNoTrust: what a host says of its own roles, and clients cannot use, is not
// passed on to them: many refuse a trust root as a whole.
func TestPartEndsNoTrust(t *testing.T) {
	rootKey, key, end := fixture.Key(t), fixture.Key(t), time.Unix(2e9, 0)
	root := issued(t, "root", rootKey, nil, nil, end)
	leaf := issued(t, "leaf", key, root, rootKey, end)
	longer := issued(t, "longer", key, root, rootKey, end.Add(time.Second))
	stranger := issued(t, "root", key, nil, nil, end)
	other := issued(t, "other", key, nil, nil, end)
	good := func() *sigbox.TrustedRoot {
		l := log(t, key, "https://log", sigbox.TimeRange{Start: time.Unix(1e9, 0)})
		ca := sigbox.CertificateAuthority{URI: "https://ca", Chain: [][]byte{leaf.Raw, root.Raw}, ValidFor: l.ValidFor}
		return &sigbox.TrustedRoot{
			Logs: []sigbox.TransparencyLog{l}, CTLogs: []sigbox.TransparencyLog{l},
			CertificateAuthorities: []sigbox.CertificateAuthority{ca}, TimestampAuthorities: []sigbox.CertificateAuthority{ca},
		}
	}
	if err := checkRoot(good()); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(l *sigbox.TransparencyLog){
		"no key":                func(l *sigbox.TransparencyLog) { l.PublicKey = []byte("key") },
		"another kind of key":   func(l *sigbox.TransparencyLog) { l.Details = sigbox.Ed25519 },
		"an unknown kind":       func(l *sigbox.TransparencyLog) { l.Details = 0 },
		"an unknown hash":       func(l *sigbox.TransparencyLog) { l.HashAlgorithm = 0 },
		"a short ID":            func(l *sigbox.TransparencyLog) { l.LogID = l.LogID[:31] },
		"no beginning":          func(l *sigbox.TransparencyLog) { l.ValidFor.Start = time.Time{} },
		"a key and what is not": func(l *sigbox.TransparencyLog) { l.PublicKey = append(l.PublicKey, 0) },
	} {
		for i := range 2 {
			r := good()
			change([]*sigbox.TransparencyLog{&r.Logs[0], &r.CTLogs[0]}[i])
			if err := checkRoot(r); sigbox.KindOf(err) != sigbox.Invalid {
				t.Errorf("log %d, %s: found %v", i, name, err)
			}
		}
	}
	for name, change := range map[string]func(ca *sigbox.CertificateAuthority){
		"no certificate":      func(ca *sigbox.CertificateAuthority) { ca.Chain[1] = []byte("certificate") },
		"another order":       func(ca *sigbox.CertificateAuthority) { ca.Chain = [][]byte{root.Raw, leaf.Raw} },
		"without its root":    func(ca *sigbox.CertificateAuthority) { ca.Chain = ca.Chain[:1] },
		"another root's name": func(ca *sigbox.CertificateAuthority) { ca.Chain[1] = other.Raw },
		"another root":        func(ca *sigbox.CertificateAuthority) { ca.Chain[1] = stranger.Raw },
		"longer than its own": func(ca *sigbox.CertificateAuthority) { ca.Chain[0] = longer.Raw },
		"no beginning":        func(ca *sigbox.CertificateAuthority) { ca.ValidFor.Start = time.Time{} },
	} {
		for i := range 2 {
			r := good()
			change([]*sigbox.CertificateAuthority{&r.CertificateAuthorities[0], &r.TimestampAuthorities[0]}[i])
			if err := checkRoot(r); sigbox.KindOf(err) != sigbox.Invalid {
				t.Errorf("authority %d, %s: found %v", i, name, err)
			}
		}
	}
	s := newSpeaker(t, filepath.Join(t.TempDir(), "signed"))
	raw := s.says(t, config(t, key, func(root *sigbox.TrustedRoot, _ *sigbox.SigningConfig) { root.CTLogs[0].PublicKey = []byte("key") }))
	if _, _, err := NewCopies(t.TempDir()).Open(s.Host, raw, s.clock.Now()); sigbox.KindOf(err) != sigbox.Invalid {
		t.Errorf("what no client can read is taken: %v", err)
	}
}
