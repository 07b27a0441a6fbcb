package cert_test

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/wire/cert"
	"pgregory.net/rapid"
)

func fulcio(arc int) asn1.ObjectIdentifier {
	return asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 57264, 1, arc}
}

func oids(exts []pkix.Extension) []string {
	var out []string
	for _, e := range exts {
		out = append(out, e.Id.String())
	}
	return out
}

func TestExtensionsOfEveryKind(t *testing.T) {
	issuer := newKey(t)
	for _, id := range []sigbox.Identity{
		{Issuer: "https://accounts.example.com", Subject: "alice@example.com", Kind: sigbox.EmailSAN},
		{Issuer: "https://spire.example.com", Subject: "spiffe://example.com/ns/build", Kind: sigbox.URISAN},
		{Issuer: "https://login.example.com", Subject: "älice!example.com", Kind: sigbox.OtherNameSAN},
		octocat(),
	} {
		t.Run(id.Subject, func(t *testing.T) {
			exts, err := cert.Extensions(id)
			if err != nil {
				t.Fatal(err)
			}
			got, err := cert.IdentityOf(issue(t, issuer, exts))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(id, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestExtensionEncodings holds the bytes of each form: .1 to .6 raw, .8 and up
// DER UTF8String, the SAN alone critical.
func TestExtensionEncodings(t *testing.T) {
	exts, err := cert.Extensions(octocat())
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for arc := 1; arc <= 24; arc++ {
		if arc != 7 {
			want = append(want, fulcio(arc).String())
		}
	}
	if diff := cmp.Diff(append([]string{"2.5.29.17"}, want...), oids(exts)); diff != "" {
		t.Error(diff)
	}
	for i, e := range exts {
		if e.Critical != (i == 0) {
			t.Errorf("%v: critical is %v", e.Id, e.Critical)
		}
		if i == 0 {
			continue
		}
		der := e.Value[0] == 0x0c && int(e.Value[1]) == len(e.Value)-2
		if arc := e.Id[len(e.Id)-1]; der != (arc >= 8) {
			t.Errorf("%v: DER UTF8String is %v", e.Id, der)
		}
	}
}

func TestExtensionsRefuses(t *testing.T) {
	for name, change := range map[string]func(*sigbox.Identity){
		"no subject":           func(id *sigbox.Identity) { id.Subject = "" },
		"no issuer":            func(id *sigbox.Identity) { id.Issuer = "" },
		"no kind":              func(id *sigbox.Identity) { id.Kind = 0 },
		"control character":    func(id *sigbox.Identity) { id.Subject = "a\x00b" },
		"line in the issuer":   func(id *sigbox.Identity) { id.Issuer = "https://a\nb" },
		"not ASCII":            func(id *sigbox.Identity) { id.Subject = "https://exämple.com" },
		"broken UTF-8":         func(id *sigbox.Identity) { id.Extensions.BuildTrigger = "\xff" },
		"broken UTF-8, raw":    func(id *sigbox.Identity) { id.Extensions.GitHubWorkflowName = "\xff" },
		"long subject":         func(id *sigbox.Identity) { id.Subject = strings.Repeat("a", 4097) },
		"long extension value": func(id *sigbox.Identity) { id.Extensions.TokenSubject = strings.Repeat("a", 4097) },
	} {
		t.Run(name, func(t *testing.T) {
			id := octocat()
			change(&id)
			if exts, err := cert.Extensions(id); err == nil {
				t.Errorf("accepted: %v", oids(exts))
			}
		})
	}
}

func TestIdentityOfRefuses(t *testing.T) {
	good, err := cert.Extensions(octocat())
	if err != nil {
		t.Fatal(err)
	}
	mail, err := cert.Extensions(sigbox.Identity{Issuer: "https://i", Subject: "a@b.c", Kind: sigbox.EmailSAN})
	if err != nil {
		t.Fatal(err)
	}
	index := func(arc int) int {
		return slices.IndexFunc(good, func(e pkix.Extension) bool { return e.Id.Equal(fulcio(arc)) })
	}
	san := func(value ...byte) []pkix.Extension {
		return append([]pkix.Extension{{Id: good[0].Id, Critical: true, Value: value}}, good[1:]...)
	}
	for name, tc := range map[string]struct {
		exts []pkix.Extension
		want string
	}{
		"no SAN":                 {good[1:], "names nobody"},
		"two SAN extensions":     {append(slices.Clone(good), mail[0]), "more than one"},
		"two names":              {san(0x30, 6, 0x86, 1, 'a', 0x86, 1, 'b'), "exactly one"},
		"no name":                {san(0x30, 0), "not valid DER"},
		"DNS name":               {san(0x30, 3, 0x82, 1, 'a'), "tag 0x82"},
		"email not primitive":    {san(0x30, 3, 0xa1, 1, 'a'), "tag 0xa1"},
		"empty email":            {san(0x30, 2, 0x81, 0), "empty"},
		"NUL in email":           {san(0x30, 5, 0x81, 3, 'a', 0, 'b'), "control"},
		"bytes after the SAN":    {san(0x30, 3, 0x86, 1, 'a', 0), "not valid DER"},
		"other otherName":        {san(0x30, 10, 0xa0, 8, 6, 1, 42, 0xa0, 3, 0x0c, 1, 'a'), "otherName"},
		"no issuer":              {slices.DeleteFunc(slices.Clone(good), func(e pkix.Extension) bool { return e.Id.Equal(fulcio(1)) || e.Id.Equal(fulcio(8)) }), "no issuer"},
		"issuers disagree":       {slices.Concat(good[:1], []pkix.Extension{{Id: fulcio(1), Value: []byte("https://evil.example.com")}}, good[2:]), "disagree"},
		"issuer is no DER":       {replace(good, index(8), []byte("https://token.example.com")), "not a DER UTF8String"},
		"issuer is IA5String":    {replace(good, index(8), append([]byte{0x16, 25}, "https://token.example.com"...)), "not a DER UTF8String"},
		"bytes after the issuer": {replace(good, index(8), append(slices.Clone(good[index(8)].Value), 0)), "not a DER UTF8String"},
		"broken UTF-8":           {replace(good, index(9), []byte{0x0c, 1, 0xff}), "UTF-8"},
		"extension twice":        {append(slices.Clone(good), good[index(9)]), "twice"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := cert.IdentityOf(&x509.Certificate{Extensions: tc.exts})
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("expected an error with %q, found %v", tc.want, err)
			}
		})
	}
}

func replace(exts []pkix.Extension, i int, value []byte) []pkix.Extension {
	out := slices.Clone(exts)
	out[i].Value = value
	return out
}

// TestIdentityOfLegacyIssuer: certificates from before .8 have the issuer in .1
// alone, and arcs that are not known yet do no harm.
func TestIdentityOfLegacyIssuer(t *testing.T) {
	exts, err := cert.Extensions(sigbox.Identity{Issuer: "https://i", Subject: "a@b.c", Kind: sigbox.EmailSAN})
	if err != nil {
		t.Fatal(err)
	}
	exts = append(exts[:2:2], pkix.Extension{Id: fulcio(99), Value: []byte("later")})
	id, err := cert.IdentityOf(&x509.Certificate{Extensions: exts})
	if err != nil || id.Issuer != "https://i" {
		t.Errorf("found %+v, %v", id, err)
	}
}

// TestRoundTrip: what Extensions writes, IdentityOf reads.
func TestRoundTrip(t *testing.T) {
	text := rapid.StringMatching(`[ -~äöü€😀]{0,60}`)
	rapid.Check(t, func(t *rapid.T) {
		id := sigbox.Identity{
			Kind:    sigbox.SANKind(rapid.IntRange(1, 3).Draw(t, "kind")),
			Subject: rapid.StringMatching(`[ -~]{1,60}`).Draw(t, "subject"),
			Issuer:  rapid.StringMatching(`https://[ -~]{1,60}`).Draw(t, "issuer"),
		}
		for arc := range 25 {
			if _, f := id.Extensions.Field(arc); f != nil {
				*f = text.Draw(t, "value")
			}
		}
		exts, err := cert.Extensions(id)
		if err != nil {
			t.Fatal(err)
		}
		got, err := cert.IdentityOf(&x509.Certificate{Extensions: exts})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(id, got); diff != "" {
			t.Fatal(diff)
		}
	})
}

// FuzzIdentityOf: what is accepted and written again gives the same SAN.
func FuzzIdentityOf(f *testing.F) {
	for _, kind := range []sigbox.SANKind{sigbox.EmailSAN, sigbox.URISAN, sigbox.OtherNameSAN} {
		exts, err := cert.Extensions(sigbox.Identity{Issuer: "https://i", Subject: "a@b.c", Kind: kind})
		if err != nil {
			f.Fatal(err)
		}
		f.Add(exts[0].Value, exts[1].Value, exts[2].Value)
	}
	f.Fuzz(func(t *testing.T, san, v1, v2 []byte) {
		in := []pkix.Extension{
			{Id: asn1.ObjectIdentifier{2, 5, 29, 17}, Critical: true, Value: san},
			{Id: fulcio(1), Value: v1}, {Id: fulcio(8), Value: v2},
		}
		id, err := cert.IdentityOf(&x509.Certificate{Extensions: in})
		if err != nil {
			return
		}
		out, err := cert.Extensions(id)
		if err != nil {
			t.Fatalf("%+v is read and cannot be written: %v", id, err)
		}
		if !slices.Equal(out[0].Value, san) || !slices.Equal(out[2].Value, v2) {
			t.Fatalf("%+v: found %x, wrote %x", id, san, out[0].Value)
		}
	})
}
