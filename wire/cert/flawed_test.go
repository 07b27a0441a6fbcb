package cert_test

import (
	"bytes"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"slices"
	"strings"
	"testing"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/flawed"
	"github.com/sigbox/sigbox/wire/cert"
)

// TestFlaws: certificates and names that are wrong at a place that is looked at are
// refused.
func TestFlaws(t *testing.T) {
	pre, final := pair(t, newKey(t), newKey(t), nil)
	// What else stands in a certificate is for package x509 to judge, and a
	// certificate may have no extensions.
	may := []string{
		"/0/0*", "/0/1*", "/0/2*", "/0/3*", "/0/4*", "/0/5*", "/0/6*", "/0/7: missing", "/0/7: of another type", "/0: empty",
		"/0/7/0: empty", "/0/7/0/*: missing", "/0/7/0/*: twice", "/0/7/0/*: more behind",
		"/0/7/0/*/0: *", "/0/7/0/*/1: *", "/0/7/0/*/2: *",
		"/1: empty", "/1: more behind", "/1/0: *", "/2: cut", "/2: empty", "/2: longer",
	}
	for name, der := range map[string][]byte{"precertificate": pre.Raw, "certificate": final.Raw} {
		t.Run(name, func(t *testing.T) {
			c := flawed.ParseDER(t, der)
			read := func() error { _, err := cert.PrecertTBS(c.Bytes()); return err }
			flawed.TestDER(t, c, read, may...)
			for _, extension := range c.Parts[0].Parts[7].Parts[0].Parts {
				if string(extension.Parts[0].Contents) == "\x2b\x06\x01\x04\x01\xd6\x79\x02\x04\x03" { // the poison
					flawed.TestDER(t, extension, read, "/0: cut", "/0: longer", "/0: empty") // another extension
				}
			}
		})
	}
	t.Run("user name", func(t *testing.T) {
		exts, err := cert.Extensions(sigbox.Identity{Issuer: "https://i", Subject: "a!b.c", Kind: sigbox.OtherNameSAN})
		if err != nil {
			t.Fatal(err)
		}
		san := flawed.ParseDER(t, exts[0].Value)
		flawed.TestDER(t, san, func() error {
			with := slices.Clone(exts)
			with[0].Value = san.Bytes()
			_, err := cert.IdentityOf(&x509.Certificate{Extensions: with})
			return err
		}, "/0/1/0: cut") // another name
	})
	t.Run("extension", func(t *testing.T) {
		exts, err := cert.Extensions(octocat())
		if err != nil {
			t.Fatal(err)
		}
		last := flawed.ParseDER(t, exts[len(exts)-1].Value)
		flawed.TestDER(t, last, func() error {
			with := slices.Clone(exts)
			with[len(exts)-1].Value = last.Bytes()
			_, err := cert.IdentityOf(&x509.Certificate{Extensions: with})
			return err
		}, ": cut", ": empty", ": longer") // another text
	})
}

// TestSCTForms: an SCT and a list of them have one form, to the last byte.
func TestSCTForms(t *testing.T) {
	one, err := cert.SCT{Extensions: []byte{7, 0, 0}, Algorithm: cert.SHA256WithECDSA, Signature: []byte("signature")}.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := cert.ParseSCT(one); err != nil {
		t.Error(err)
	}
	for i := range one {
		if s, err := cert.ParseSCT(one[:i]); err == nil {
			t.Errorf("cut to %d bytes: found %+v", i, s)
		}
	}
	if _, err := cert.ParseSCT(append(one[:len(one):len(one)], 0)); err == nil {
		t.Error("a byte more is accepted")
	}
	later := bytes.Clone(one)
	later[0] = 1
	if _, err := cert.ParseSCT(later); err == nil || !strings.Contains(err.Error(), "unknown version") {
		t.Errorf("found %v, expected the version to be refused", err)
	}

	ext, err := cert.SCTListExtension(one, one)
	if err != nil {
		t.Fatal(err)
	}
	read := func(value []byte) ([]cert.SCT, error) {
		return cert.SCTList(&x509.Certificate{Extensions: []pkix.Extension{{Id: ext.Id, Value: value}}})
	}
	if scts, err := read(ext.Value); err != nil || len(scts) != 2 {
		t.Errorf("found %d SCTs, %v", len(scts), err)
	}
	octets := ext.Value[len(ext.Value)-2*(2+len(one))-2:]
	list := func(b []byte) []byte {
		der, err := asn1.Marshal(b)
		if err != nil {
			t.Fatal(err)
		}
		return der
	}
	if _, err := read(list(octets)); err != nil {
		t.Error(err)
	}
	vector := func(content []byte) []byte {
		return append([]byte{byte(len(content) >> 8), byte(len(content))}, content...)
	}
	for name, b := range map[string][]byte{
		"extensions cut":      list(vector(vector(append(one[:41:41], 0xff, 0xff, 4, 3, 0, 1, 'x')))),
		"the list cut":        list(octets[:len(octets)-1]),
		"more behind it":      list(append(octets[:len(octets):len(octets)], 0)),
		"an SCT cut":          list(vector(octets[2 : len(octets)-1])),
		"half a length":       list(vector(append(octets[2:len(octets):len(octets)], 0))),
		"no octet string":     append([]byte{0x0c}, list(octets)[1:]...),
		"thirty-three of one": list(vector(bytes.Repeat(octets[2:4+len(one)], 33))),
	} {
		if scts, err := read(b); err == nil {
			t.Errorf("%s: found %d SCTs", name, len(scts))
		}
	}
	if scts, err := read(list(vector(bytes.Repeat(octets[2:4+len(one)], 32)))); err != nil || len(scts) != 32 {
		t.Errorf("thirty-two: found %d SCTs, %v", len(scts), err)
	}
}

// TestUnusableKeys: a key that is not a CT log's.
func TestUnusableKeys(t *testing.T) {
	wide := &rsa.PublicKey{N: new(big.Int).SetBit(big.NewInt(1), 8192, 1), E: 65537}
	if err := cert.VerifyLogSignature(wide, cert.SHA256WithRSA, nil, nil); sigbox.KindOf(err) != sigbox.Invalid {
		t.Errorf("found %v, expected RSA of 8193 bits to be refused", err)
	}
	if _, err := cert.LogID("no key"); sigbox.KindOf(err) != sigbox.Invalid {
		t.Errorf("found %v, expected no ID of what is no key", err)
	}
}

// TestNames: what a person could not read back is refused in each place.
func TestNames(t *testing.T) {
	exts, err := cert.Extensions(sigbox.Identity{Issuer: "https://i", Subject: "https://a", Kind: sigbox.URISAN})
	if err != nil {
		t.Fatal(err)
	}
	text := func(tag byte, s string) []byte {
		e := flawed.Element{Tag: 0x30, Parts: []*flawed.Element{{Tag: 0x0c, Contents: []byte(s)}}}
		e.Parts[0].Tag = 0x86
		if tag == 0x0c {
			return (&flawed.Element{Tag: 0x0c, Contents: []byte(s)}).Bytes()
		}
		return e.Bytes()
	}
	for name, c := range map[string]struct{ san, issuer, want string }{
		"as they should be":      {"https://a", "https://i", ""},
		"DEL in the subject":     {"https://a\x7f", "https://i", "control characters"},
		"broken UTF-8 in it":     {"https://a\xff", "https://i", "not valid UTF-8"},
		"another script in it":   {"https://ä", "https://i", "outside ASCII"},
		"endless":                {"https://" + strings.Repeat("a", 4096), "https://i", "at most 4096"},
		"no issuer":              {"https://a", "", "no issuer"},
		"a line in the issuer":   {"https://a", "https://i\n", "control characters"},
		"an issuer without end":  {"https://a", "https://" + strings.Repeat("i", 4096), "at most 4096"},
		"an issuer out of UTF-8": {"https://a", "https://i\xff", "not valid UTF-8"},
	} {
		with := []pkix.Extension{{Id: exts[0].Id, Critical: true, Value: text(0x86, c.san)}, {Id: fulcio(8), Value: text(0x0c, c.issuer)}}
		if _, err := cert.IdentityOf(&x509.Certificate{Extensions: with}); (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: found %v, expected %q", name, err, c.want)
		}
	}
	// Extensions that are nobody's of those known: unknown arcs, other bodies.
	for _, id := range []asn1.ObjectIdentifier{fulcio(0), fulcio(25), fulcio(7), {1, 3, 6, 1, 4, 1, 57265, 1, 8}, {1, 3, 6, 1, 4, 1, 57264, 2, 8}} {
		with := append(exts[:len(exts):len(exts)], pkix.Extension{Id: id, Value: []byte("no DER")})
		if found, err := cert.IdentityOf(&x509.Certificate{Extensions: with}); id[8] != 7 && (err != nil || found.Issuer != "https://i" || found.Extensions != (sigbox.Extensions{})) {
			t.Errorf("%v: found %+v, %v", id, found, err)
		}
	}
}

// TestLoneExtension: a certificate without extensions has no list of them.
func TestLoneExtension(t *testing.T) {
	_, final := pair(t, newKey(t), newKey(t), nil)
	c := flawed.ParseDER(t, final.Raw)
	tbs := c.Parts[0]
	list := tbs.Parts[7].Parts[0]
	list.Parts = list.Parts[len(list.Parts)-1:] // the SCT list
	found, err := cert.PrecertTBS(c.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	tbs.Parts = tbs.Parts[:7]
	if !bytes.Equal(found, tbs.Bytes()) {
		t.Errorf("found %x, expected %x", found, tbs.Bytes())
	}
}

// TestBounds: certificates, values and poison have but one form and a bound.
func TestBounds(t *testing.T) {
	exts, err := cert.Extensions(octocat())
	if err != nil {
		t.Fatal(err)
	}
	long := (&flawed.Element{Tag: 0x0c, Contents: bytes.Repeat([]byte("a"), 4097)}).Bytes()
	for i, e := range exts[2:] {
		with := slices.Clone(exts)
		with[i+2].Value = long
		if _, err := cert.IdentityOf(&x509.Certificate{Extensions: with}); sigbox.KindOf(err) != sigbox.TooLarge {
			t.Errorf("%v: found %v, expected a bound", e.Id, err)
		}
	}
	if _, err := cert.PrecertTBS(make([]byte, cert.MaxCertificate+1)); sigbox.KindOf(err) != sigbox.TooLarge {
		t.Errorf("found %v, expected too many bytes", err)
	}
	poison := issue(t, newKey(t), []pkix.Extension{cert.Poison()})
	c := flawed.ParseDER(t, poison.Raw)
	for _, e := range c.Parts[0].Parts[7].Parts[0].Parts {
		if len(e.Parts) == 3 && len(e.Parts[2].Contents) == 2 { // of the NULL
			e.Parts[1].Contents = []byte{0}
		}
	}
	if tbs, err := cert.PrecertTBS(c.Bytes()); err == nil || !strings.Contains(err.Error(), "not critical") {
		t.Errorf("found %x, %v, expected a poison that is said not to be critical to be refused", tbs, err)
	}
}
