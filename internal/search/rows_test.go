package search

import (
	"bytes"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/hostile"
	"github.com/sigbox/sigbox/internal/store"
	"github.com/sigbox/sigbox/wire/cert"
	"github.com/sigbox/sigbox/wire/entry"
)

// The format of rows is fixed: what was written is found by later versions.
func TestRowFormat(t *testing.T) {
	e := sigbox.Entry{Digest: sigbox.SHA256.Sum([]byte("artifact")), PublicKey: []byte("a key")}
	b, err := entry.ParseBody(leafV1(e))
	must(t, err)
	var got []string
	for _, row := range Rows(b, fmt.Appendf(nil, statementText, strings.Repeat("AB", 32), "", ""))(0x0102) {
		got = append(got, hex.EncodeToString(row.Key)+" "+hex.EncodeToString(row.Value))
	}
	want := []string{
		"01" + "61" + first16("sha256:"+strings.Repeat("ab", 32)) + "fffffffffffffefd" + " 01",
		"01" + "64" + first16("sha256:c7c5c1d70c5dec4416ab6158afd0b223ef40c29b1dc1f97ed9428b94d4cadb1c") + "fffffffffffffefd" + " 01",
		"01" + "6b" + first16(hexSum([]byte("a key"))) + "fffffffffffffefd" + " 01",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("rows (-want +got):\n%s", d)
	}
	if got, want := first16(""), "e3b0c44298fc1c149afbf4c8996fb924"; got != want {
		t.Errorf("the hash of a term: want %s, got %s", want, got)
	}
}

func first16(text string) string {
	term := newTerm(0, text)
	return hex.EncodeToString(term.sum[:])
}

// proposals are what clients post, of every kind.
func proposals(t testing.TB) map[string]string {
	t.Helper()
	certificate := newCertificate(t, builder("some/thing"))
	_, spki := newKey(t)
	b64 := base64.StdEncoding.EncodeToString
	pemOf := func(kind string, der []byte) string {
		return b64(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
	}
	payload := []byte(`{"subject":[]}`)
	envelope := fmt.Sprintf(`{"payload":%q,"payloadType":"application/vnd.in-toto+json","signatures":[{"sig":"c2ln"}]}`, b64(payload))
	digest := sigbox.SHA256.Sum([]byte("artifact"))
	return map[string]string{
		"hashedrekord, certificate": string(leafV1(sigbox.Entry{Digest: digest, Certificate: certificate})),
		"hashedrekord, key":         string(leafV1(sigbox.Entry{Digest: digest, PublicKey: spki})),
		"dsse":                      fmt.Sprintf(`{"apiVersion":"0.0.1","kind":"dsse","spec":{"proposedContent":{"envelope":%q,"verifiers":[%q]}}}`, envelope, pemOf("CERTIFICATE", certificate)),
		"intoto": fmt.Sprintf(`{"apiVersion":"0.0.2","kind":"intoto","spec":{"content":{"envelope":{"payload":%q,"payloadType":"x","signatures":[{"publicKey":%q,"sig":%q}]},"hash":{"algorithm":"sha256","value":%q}}}}`,
			b64([]byte(b64(payload))), pemOf("PUBLIC KEY", spki), b64([]byte("c2ln")), digest.Hex()),
		"rfc3161": fmt.Sprintf(`{"apiVersion":"0.0.1","kind":"rfc3161","spec":{"tsr":{"content":%q}}}`, b64([]byte("a timestamp"))),
	}
}

// What is indexed when an entry is proposed is what follows from the leaf that is
// logged.
func TestRowsFollowFromLeaf(t *testing.T) {
	for name, text := range proposals(t) {
		p, err := entry.ParseProposal([]byte(text))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		want, err := RowsOf(7, time.Time{}, p.Leaf())
		must(t, err)
		if d := cmp.Diff(want, Rows(&p.Body, nil)(7)); d != "" || len(want) == 0 {
			t.Errorf("%s: rows (-of the leaf +of the proposal):\n%s", name, d)
		}
		for _, row := range want {
			if Given(row.Key) {
				t.Errorf("%s: the row %x follows from the leaf", name, row.Key)
			}
		}
		given := Rows(&p.Body, fmt.Appendf(nil, statementText, strings.Repeat("ab", 32), strings.Repeat("cd", 20), strings.Repeat("ef", 20)))(7)
		given = slices.DeleteFunc(given, func(row store.Pair) bool {
			return slices.ContainsFunc(want, func(w store.Pair) bool { return bytes.Equal(w.Key, row.Key) })
		})
		if len(given) != 3 || slices.ContainsFunc(given, func(row store.Pair) bool { return !Given(row.Key) }) {
			t.Errorf("%s: %d rows of the statement: %x", name, len(given), given)
		}
	}
	if _, err := RowsOf(0, time.Time{}, []byte("no leaf")); err == nil {
		t.Error("a leaf that is none has rows")
	}
}

// Certificates are read here as package x509 reads them.
func TestSignerOf(t *testing.T) {
	for name, id := range map[string]sigbox.Identity{
		"person": person("jane@example.com"), "build": builder("some/thing"), "other": {Subject: "root@example.org"},
		"user": {Issuer: "https://issuer.example.com", Kind: sigbox.OtherNameSAN, Subject: "joe!example.com"},
	} {
		der := newCertificate(t, id)
		c, err := x509.ParseCertificate(der)
		must(t, err)
		want := Signer{Subjects: []string{id.Subject}, Issuer: id.Issuer, key: hexSum(c.RawSubjectPublicKeyInfo), certificate: hexSum(der)}
		if x := id.Extensions; x.SourceRepositoryURI != "" {
			want.Repositories = []string{x.GitHubWorkflowRepository, x.SourceRepositoryURI}
		}
		got := signerOf(&entry.BodySignature{Certificate: der})
		if id.Issuer == "" {
			want.Subjects = append(want.Subjects, "Host.example.com", "192.0.2.1")
			slices.Sort(want.Subjects)
			slices.Sort(got.Subjects)
		} else if read, err := cert.IdentityOf(c); err != nil || read.Subject != id.Subject {
			t.Errorf("%s: %+v, %v", name, read, err)
		}
		if d := cmp.Diff(want, got, cmp.AllowUnexported(Signer{})); d != "" {
			t.Errorf("%s: (-want +got):\n%s", name, d)
		}
		if got.Key() != want.key || got.Certificate() != want.certificate {
			t.Errorf("%s: %s, %s", name, got.Key(), got.Certificate())
		}
		// Cut anywhere, it is read as far as it goes.
		for n := range der {
			f := signerOf(&entry.BodySignature{Certificate: der[:n]})
			if f.key != "" || f.Subjects != nil {
				t.Fatalf("%s: %d bytes of it are read as %+v", name, n, f)
			}
		}
	}
}

// A certificate has rows for as many names as it may have, and not for more.
func TestManyNames(t *testing.T) {
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Unix(1e9, 0), NotAfter: time.Unix(2e9, 0)}
	for i := range 3 * maxNames {
		template.URIs = append(template.URIs, &url.URL{Scheme: "https", Host: "example.com", Path: fmt.Sprint("/", i)})
	}
	key, _ := newKey(t)
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	must(t, err)
	if got := signerOf(&entry.BodySignature{Certificate: der}); len(got.Subjects) != maxNames {
		t.Errorf("%d names", len(got.Subjects))
	}
}

func FuzzSignerOf(f *testing.F) {
	f.Add(newCertificate(f, builder("some/thing")))
	f.Add(newCertificate(f, person("jane@example.com")))
	f.Add(newCertificate(f, sigbox.Identity{Subject: "root@example.org"}))
	f.Add([]byte{0x30, 0x80})
	f.Fuzz(func(t *testing.T, der []byte) {
		s := signerOf(&entry.BodySignature{Certificate: der})
		if len(s.Subjects) > maxNames || slices.ContainsFunc(s.Subjects, func(name string) bool { return name == "" || len(name) > maxName }) {
			t.Fatalf("%+v", s)
		}
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return
		}
		if want := hexSum(c.RawSubjectPublicKeyInfo); s.key != want {
			t.Fatalf("key %s: package x509 finds %s", s.key, want)
		}
		if len(c.EmailAddresses)+len(c.DNSNames)+len(c.URIs)+len(c.IPAddresses) > maxNames {
			return
		}
		for _, name := range slices.Concat(c.EmailAddresses, c.DNSNames) {
			if name != "" && len(name) <= maxName && !slices.Contains(s.Subjects, name) {
				t.Fatalf("%q is not among %q", name, s.Subjects)
			}
		}
	})
}

func TestAttested(t *testing.T) {
	sha, sha1 := strings.Repeat("ab", 32), strings.Repeat("cd", 20)
	for _, tt := range []struct {
		name, payload string
		want          []string
	}{
		{"nothing", "", nil},
		{"no statement", "digest", nil},
		{"another document", `["digest"]`, nil},
		{"subject", `{"subject":[{"name":"a","digest":{"sha256":"` + sha + `"}}]}`, []string{"sha256:" + sha}},
		{"several", `{"subject":[{"digest":{"sha256":"` + sha + `","sha1":"` + sha1 + `"}},{"digest":{}},{"digest":{"gitCommit":"` + strings.ToUpper(sha1) + `"}}]}`,
			[]string{"sha256:" + sha, "sha1:" + sha1, "gitcommit:" + sha1}},
		{"materials", `{"predicate":{"materials":[{"uri":"x","digest":{"sha1":"` + sha1 + `"}}],"other":{"digest":{"sha256":"` + sha + `"}}}}`, []string{"sha1:" + sha1}},
		{"odd kinds", `{"subject":[7,"digest",[],{"digest":7},{"digest":{"sha256":7,"x":{"y":[]},"sha512":null}},null],"predicate":[],"x":{}}`, nil},
		{"no subjects", `{"subject":{"digest":{"sha256":"` + sha + `"}}}`, nil},
		{"odd digests", `{"subject":[{"digest":{"":"` + sha + `","a b":"` + sha + `","sha256":"` + sha[:30] + `","dirHash":"h1:` + sha + `","x":"` + strings.Repeat("a", 257) + `"}}]}`, nil},
		{"cut off", `{"subject":[{"digest":{"sha256":"` + sha + `"}}]`, nil},
		{"bad later", `{"subject":[{"digest":{"sha256":"` + sha + `"}}],"x":tru}`, nil},
	} {
		if d := cmp.Diff(tt.want, attested([]byte(tt.payload)), cmpopts.EquateEmpty()); d != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, d)
		}
	}
}

func FuzzAttested(f *testing.F) {
	f.Add(fmt.Appendf(nil, statementText, strings.Repeat("ab", 32), strings.Repeat("cd", 20), strings.Repeat("ef", 20)))
	f.Add([]byte(`{"subject":[{"digest":{"a":"00000000000000000000000000000000","a":"00000000000000000000000000000001"}}]}`))
	f.Add([]byte(`{"subject":[[[[{"digest":`))
	f.Fuzz(func(t *testing.T, payload []byte) {
		digests := attested(payload)
		if len(digests)*(keyLen+1) > RowBytes(payload) {
			t.Fatalf("%d digests of a payload of %d bytes", len(digests), len(payload))
		}
		for _, d := range digests {
			if _, err := ByHash(d); err != nil && !strings.HasPrefix(d, "sha") {
				t.Fatalf("%q cannot be searched for: %v", d, err)
			}
		}
	})
}

// A payload of nothing but digests does not take much more memory than it is long.
func TestAttestedHostile(t *testing.T) {
	const size = 5 << 20 // what fits into a proposal
	digest := `"a":"` + strings.Repeat("0", minDigest) + `",`
	hostile.Test(t, func(b []byte) error { attested(b); return nil },
		hostile.FillTo("digests", size, `{"subject":[{"digest":{`, digest, `"b":""}}]}`),
		hostile.FillTo("subjects", size, `{"subject":[`, `{"digest":{}},`, `{}]}`),
		hostile.FillTo("nested", size, `{"subject":[{"x":`, `[`, ``),
		hostile.FillTo("members", size, `{"digest":0`, `,"#":0`, `}`),
	)
}

func FuzzQuery(f *testing.F) {
	f.Add("sha256:" + strings.Repeat("ab", 32))
	f.Add(strings.Repeat("cd", 20))
	f.Add("gitCommit:" + strings.Repeat("cd", 20))
	f.Add("jane@example.com")
	f.Add("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n")
	f.Fuzz(func(t *testing.T, s string) {
		for _, by := range []func(string) (Condition, error){ByHash, BySubject, ByIssuer, ByRepository, ByKey, func(s string) (Condition, error) { return ByPublicKey([]byte(s)) }} {
			c, err := by(s)
			if (err == nil) != (len(c) > 0) || len(c) > 2 {
				t.Fatalf("%q: %d terms, %v", s, len(c), err)
			}
			if err != nil && sigbox.KindOf(err) != sigbox.Invalid && sigbox.KindOf(err) != sigbox.TooLarge {
				t.Fatalf("%q: %v", s, err)
			}
		}
	})
}
