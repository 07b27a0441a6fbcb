package timestamp_test

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1" // #nosec G505 -- what must be refused
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/flawed"
	"github.com/sigbox/sigbox/wire/timestamp"
)

// TestInfoValues: TSTInfo with values that its authority should not have signed.
func TestInfoValues(t *testing.T) {
	a := newAuthority(t, ecdsaKey(t, elliptic.P256()))
	auth, err := timestamp.NewAuthority(a.trusted())
	if err != nil {
		t.Fatal(err)
	}
	at := func(i int, contents string) func(info *flawed.Element) {
		return func(info *flawed.Element) { info.Parts[i].Contents = []byte(contents) }
	}
	accuracy := func(i int, contents string) func(info *flawed.Element) {
		return func(info *flawed.Element) { info.Parts[5].Parts[i].Contents = []byte(contents) }
	}
	for name, c := range map[string]struct {
		change func(info *flawed.Element)
		ok     bool
	}{
		"as it should be":             {func(*flawed.Element) {}, true},
		"a fraction":                  {at(4, "20260301130000.5Z"), true},
		"a fraction to nanoseconds":   {at(4, "20260301130000.123456789Z"), true},
		"a fraction of zero":          {at(4, "20260301130000.0Z"), false},
		"a zero behind a fraction":    {at(4, "20260301130000.50Z"), false},
		"a fraction beyond that":      {at(4, "20260301130000.1234567891Z"), false},
		"a comma":                     {at(4, "20260301130000,5Z"), false},
		"no seconds":                  {at(4, "202603011300Z"), false},
		"no zone":                     {at(4, "20260301130000"), false},
		"another zone":                {at(4, "20260301130000+0000"), false},
		"an hour that is none":        {at(4, "20260301250000Z"), false},
		"no time":                     {at(4, "now"), false},
		"a serial number of 64 bytes": {at(3, "\x01"+strings.Repeat("\xff", 63)), true},
		"a serial number of 65 bytes": {at(3, "\x01"+strings.Repeat("\xff", 64)), false},
		"a serial number, padded":     {at(3, "\x00\x01"), false},
		"a negative one, padded":      {at(3, "\xff\x80"), false},
		"version 0":                   {at(0, "\x00"), false},
		"version 2":                   {at(0, "\x02"), false},
		"999 milliseconds":            {accuracy(1, "\x03\xe7"), true},
		"1000 milliseconds":           {accuracy(1, "\x03\xe8"), false},
		"0 milliseconds":              {accuracy(1, "\x00"), false},
		"negative microseconds":       {accuracy(2, "\xff"), false},
		"seconds beyond 32 bits":      {accuracy(0, "\x01\x00\x00\x00\x00"), false},
		"negative seconds":            {accuracy(0, "\xff"), false},
		"milliseconds beyond all":     {accuracy(1, "\x01\x00\x00\x00\x00\x00\x00\x00\x01"), false},
		"ordering that is false":      {at(6, "\x00"), false},
		"ordering that is neither":    {at(6, "\x01"), false},
		"no version":                  {func(info *flawed.Element) { info.Parts = info.Parts[1:] }, false},
		"an imprint by another hash":  {func(info *flawed.Element) { info.Parts[2].Parts[0].Parts[0].Contents[8] = 8 }, false},
		"an extension that says false": {func(info *flawed.Element) {
			info.Parts[9].Parts[0].Parts = slices.Insert(info.Parts[9].Parts[0].Parts, 1, parse(t, "\x01\x01\x00"))
		}, false},
		"a critical extension": {func(info *flawed.Element) {
			info.Parts[9].Parts[0].Parts = slices.Insert(info.Parts[9].Parts[0].Parts, 1, parse(t, "\x01\x01\xff"))
		}, true},
	} {
		k := newToken(t, a)
		c.change(k.info)
		k.seal(t, true)
		if at, err := auth.Verify(k.response.Bytes(), signature); (err == nil) != c.ok {
			t.Errorf("%s: found %v, %v", name, at, err)
		}
	}
}

// TestSignerByKeyID: a signer may be named by its certificate's key identifier.
func TestSignerByKeyID(t *testing.T) {
	a := newAuthority(t, ecdsaKey(t, elliptic.P256()))
	for name, c := range map[string]struct {
		version, id string
		want        string
	}{
		"the certificate's":  {"\x03", "\x80\x04\x01\x02\x03\x04", ""},
		"another":            {"\x03", "\x80\x04\x01\x02\x03\x05", "not the authority"},
		"of another version": {"\x01", "\x80\x04\x01\x02\x03\x04", "SignerInfo"},
		"of no version":      {"\x02", "\x80\x04\x01\x02\x03\x04", "SignerInfo"},
		"issuer and serial":  {"\x03", "\x30\x00", "SignerInfo"},
	} {
		k := newToken(t, a)
		k.signerInfo.Parts[0].Contents, k.signerInfo.Parts[1] = []byte(c.version), parse(t, c.id)
		k.seal(t, true)
		if _, err := timestamp.Verify(k.response.Bytes(), signature, a.trusted()); (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: found %v, expected %q", name, err, c.want)
		}
	}
}

// TestSignatureAlgorithms: the authority's key, its algorithm and its signature.
func TestSignatureAlgorithms(t *testing.T) {
	const (
		plainRSA        = "\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01\x05\x00"
		sha256WithRSA   = "\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0b\x05\x00"
		sha384WithRSA   = "\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0c\x05\x00"
		ecdsaWithSHA256 = "\x30\x0a\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x02"
		ecdsaWithSHA384 = "\x30\x0a\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x03"
	)
	rsaAuthority, ecAuthority := newAuthority(t, rsaKey(t)), newAuthority(t, ecdsaKey(t, elliptic.P256()))
	for name, c := range map[string]struct {
		a         authority
		algorithm string
		flip      bool
		ok        bool
	}{
		"RSA":                       {rsaAuthority, sha256WithRSA, false, true},
		"RSA, of whatever hash":     {rsaAuthority, plainRSA, false, true},
		"RSA, of another hash":      {rsaAuthority, sha384WithRSA, false, false},
		"RSA, said to be ECDSA":     {rsaAuthority, ecdsaWithSHA256, false, false},
		"RSA, changed":              {rsaAuthority, sha256WithRSA, true, false},
		"ECDSA":                     {ecAuthority, ecdsaWithSHA256, false, true},
		"ECDSA, of another hash":    {ecAuthority, ecdsaWithSHA384, false, false},
		"ECDSA, said to be RSA":     {ecAuthority, sha256WithRSA, false, false},
		"ECDSA, changed":            {ecAuthority, ecdsaWithSHA256, true, false},
		"ECDSA, of no algorithm":    {ecAuthority, "\x30\x00", false, false},
		"ECDSA, of whatever is RSA": {ecAuthority, plainRSA, false, false},
	} {
		k := newToken(t, c.a)
		k.signerInfo.Parts[4] = parse(t, c.algorithm)
		k.seal(t, true)
		if c.flip {
			k.sigValue.Contents = bytes.Clone(k.sigValue.Contents)
			k.sigValue.Contents[len(k.sigValue.Contents)-1] ^= 1
		}
		if _, err := timestamp.Verify(k.response.Bytes(), signature, c.a.trusted()); (err == nil) != c.ok {
			t.Errorf("%s: found %v", name, err)
		}
	}
}

// TestKeysOfAuthorities: certificates may hold keys that timestamps are not signed
// with.
func TestKeysOfAuthorities(t *testing.T) {
	t.Setenv("GODEBUG", "rsa1024min=0")
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Skip(err)
	}
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signs := newAuthority(t, ecdsaKey(t, elliptic.P256()))
	for name, key := range map[string]crypto.Signer{"RSA of 1024 bits": small, "Ed25519": ed} {
		listed := newAuthority(t, key)
		k := newToken(t, signs)
		for _, attribute := range k.attributes.Parts {
			if string(attribute.Parts[0].Contents[7:]) == "\x09\x10\x02\x2f" { // the signer's certificate is the one listed
				attribute.Parts[1].Parts[0].Parts[0].Parts[0].Parts[1].Contents = sigbox.SHA256.Sum(listed.chain[0]).Value
			}
		}
		if name != "Ed25519" {
			k.signerInfo.Parts[4] = parse(t, "\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0b\x05\x00")
			k.key = small
		}
		k.seal(t, true)
		_, err := timestamp.Verify(k.response.Bytes(), signature, listed.trusted())
		wantKind(t, err, sigbox.NotVerified)
	}
}

// TestResponseForms: the status of a response, and what comes with it.
func TestResponseForms(t *testing.T) {
	for name, c := range map[string]struct {
		der string
		ok  bool
	}{
		"rejected":               {"\x30\x05\x30\x03\x02\x01\x02", true},
		"status 5":               {"\x30\x05\x30\x03\x02\x01\x05", true},
		"status 6":               {"\x30\x05\x30\x03\x02\x01\x06", false},
		"a negative status":      {"\x30\x05\x30\x03\x02\x01\xff", false},
		"no status":              {"\x30\x02\x30\x00", false},
		"bytes behind":           {"\x30\x05\x30\x03\x02\x01\x02\x00", false},
		"texts that are none":    {"\x30\x07\x30\x05\x02\x01\x02\x30\x00", false},
		"eight texts":            {"\x30\x1f\x30\x1d\x02\x01\x02\x30\x18" + strings.Repeat("\x0c\x01a", 8), true},
		"nine texts":             {"\x30\x22\x30\x20\x02\x01\x02\x30\x1b" + strings.Repeat("\x0c\x01a", 9), false},
		"texts cut":              {"\x30\x08\x30\x06\x02\x01\x02\x30\x05", false},
		"a reason":               {"\x30\x09\x30\x07\x02\x01\x02\x03\x02\x05\x20", true},
		"more bits than are set": {"\x30\x09\x30\x07\x02\x01\x02\x03\x02\x04\x20", false},
		"no bits":                {"\x30\x08\x30\x06\x02\x01\x02\x03\x01\x00", false},
		"a byte of no bits":      {"\x30\x09\x30\x07\x02\x01\x02\x03\x02\x08\x00", false},
		"32 bits":                {"\x30\x0c\x30\x0a\x02\x01\x02\x03\x05\x00\x00\x00\x00\x01", true},
		"40 bits":                {"\x30\x0d\x30\x0b\x02\x01\x02\x03\x06\x00\x00\x00\x00\x00\x01", false},
	} {
		if r, err := timestamp.ParseResponse([]byte(c.der)); (err == nil) != c.ok {
			t.Errorf("%s: found %+v, %v", name, r, err)
		}
	}
}

// TestChainsRefused: chains that no authority has.
func TestChainsRefused(t *testing.T) {
	a := newAuthority(t, ecdsaKey(t, elliptic.P256()))
	for name, chain := range map[string][][]byte{"none": nil, "eleven": slices.Repeat(a.chain[:1], 11), "the leaf alone": a.chain[:1]} {
		ca := a.trusted()
		ca.Chain = chain
		if _, err := timestamp.NewAuthority(ca); sigbox.KindOf(err) != sigbox.Invalid || !strings.Contains(err.Error(), "expected a chain of 2 to 10") {
			t.Errorf("%s: found %v", name, err)
		}
		at, err := timestamp.Verify(a.respond(t, nil, now), signature, ca)
		if sigbox.KindOf(err) != sigbox.Invalid || !at.Equal(time.Time{}) {
			t.Errorf("%s: found %v, %v", name, at, err)
		}
	}
}

// TestPathsRefused: a leaf that its chain does not vouch for, or not for timestamps.
// It is told once the token is known to be the leaf's.
func TestPathsRefused(t *testing.T) {
	key := ecdsaKey(t, elliptic.P256())
	another := newAuthority(t, key) // its root has the same name and another key
	for name, c := range map[string]struct {
		option authorityOption
		root   []byte // in place of its own
		want   string
	}{
		"as it should be":        {},
		"signed by another root": {root: another.chain[1], want: "was not signed by"},
		"issued by another name": {root: certificate(t, &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "another"}, NotBefore: start, NotAfter: start.Add(48 * time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}, &x509.Certificate{Subject: pkix.Name{CommonName: "another"}}, key.Public(), key), want: "of another issuer"},
		"a root for TLS":         {option: func(_, root *x509.Certificate) { root.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} }, want: "is not for timestamps"},
		"a root for timestamps":  {option: func(_, root *x509.Certificate) { root.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageTimeStamping} }},
		"a root for no more CAs": {option: func(_, root *x509.Certificate) { root.MaxPathLenZero = true }},
		"a root that names others": {option: func(leaf, root *x509.Certificate) {
			leaf.DNSNames, root.PermittedDNSDomains = []string{"tsa.example"}, []string{"example.org"}
		}, want: "does not lead to the trust root"},
		"a leaf that demands a policy": {option: func(leaf, _ *x509.Certificate) {
			leaf.ExtraExtensions = append(leaf.ExtraExtensions, pkix.Extension{Id: asn1.ObjectIdentifier{2, 5, 29, 36}, Critical: true, Value: []byte{0x30, 3, 0x80, 1, 0}})
		}, want: "does not lead to the trust root"},
		"a root that names it": {option: func(leaf, root *x509.Certificate) {
			leaf.DNSNames, root.PermittedDNSDomains = []string{"tsa.example"}, []string{"example"}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			var options []authorityOption
			if c.option != nil {
				options = append(options, c.option)
			}
			a := newAuthority(t, key, options...)
			ca := a.trusted()
			if c.root != nil {
				ca.Chain = [][]byte{a.chain[0], c.root}
			}
			known, err := timestamp.NewAuthority(ca)
			if err != nil {
				t.Fatal(err)
			}
			resp := a.respond(t, nil, now)
			for range 2 { // what was refused is refused again
				_, err := known.Verify(resp, signature)
				switch {
				case c.want == "" && err != nil:
					t.Error(err)
				case c.want != "" && (sigbox.KindOf(err) != sigbox.NotVerified || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "does not lead to its root")):
					t.Errorf("found %v, expected %q", err, c.want)
				}
			}
		})
	}
}

// TestSignedBesides: what is behind TSTInfo is signed with it, and is no part of it;
// a hash that is not known is none that is the default.
func TestSignedBesides(t *testing.T) {
	a := newAuthority(t, ecdsaKey(t, elliptic.P256()))
	k := newToken(t, a)
	k.seal(t, true)
	k.content.Contents = append(k.content.Contents, 0)
	k.digest.Contents = sigbox.SHA256.Sum(k.content.Contents).Value
	k.seal(t, false)
	if _, err := timestamp.Verify(k.response.Bytes(), signature, a.trusted()); err == nil {
		t.Error("bytes behind TSTInfo are accepted")
	}
	k = newToken(t, a)
	for _, attribute := range k.attributes.Parts {
		if string(attribute.Parts[0].Contents[7:]) == "\x09\x10\x02\x2f" {
			id := attribute.Parts[1].Parts[0].Parts[0].Parts[0]
			id.Parts[0].Parts[0].Contents = []byte("\x2b\x0e\x03\x02\x1a") // SHA-1
			sum := sha1.Sum(a.chain[0])                                    // #nosec G401
			id.Parts[1].Contents = sum[:]
		}
	}
	k.seal(t, true)
	if _, err := timestamp.Verify(k.response.Bytes(), signature, a.trusted()); err == nil {
		t.Error("SHA-1 is accepted where it is not the default")
	}
}
