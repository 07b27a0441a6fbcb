package sigbox_test

import (
	"encoding/pem"
	"errors"
	"fmt"
	"iter"
	"maps"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/keys"
	"github.com/sigbox/sigbox/sigboxtest"
	"github.com/sigbox/sigbox/verify"
	"github.com/sigbox/sigbox/verify/condition"
	"github.com/sigbox/sigbox/wire/bundle"
	"github.com/sigbox/sigbox/wire/cert"
	"github.com/sigbox/sigbox/wire/cosign"
	"github.com/sigbox/sigbox/wire/entry"
	"github.com/sigbox/sigbox/wire/note"
	"github.com/sigbox/sigbox/wire/policy"
	"github.com/sigbox/sigbox/wire/predicate"
	"github.com/sigbox/sigbox/wire/statement"
	"github.com/sigbox/sigbox/wire/timestamp"
	"github.com/sigbox/sigbox/wire/trust"
)

// jargon is how libraries and Go speak: of packages, types and functions.
var jargon = regexp.MustCompile(`jsontext|\bjson: |asn1|x509[:.]|illegal base64|input byte|strconv|encoding/|crypto/|\bGo [a-z\[*]|parsing time|invalid syntax|yaml: |EOF|hex: |pem: |<nil>|\*?\b[a-z]+[0-9]*\.[A-Z][a-z]|%!`)

// reader is a parser with a document that it reads.
type reader struct {
	parse func(b []byte) error
	good  []byte
}

// without drops what a parser gives besides its error.
func without[T any](parse func([]byte) (T, error)) func([]byte) error {
	return func(b []byte) error {
		_, err := parse(b)
		return err
	}
}

// readers are the parsers of what comes from elsewhere.
func readers(t *testing.T) map[string]reader {
	t.Helper()
	w := sigboxtest.New(t)
	artifact := []byte("hello\n")
	aStatement := []byte(`{"_type":"https://in-toto.io/Statement/v1","subject":[{"name":"a","digest":{"sha256":"` + sigbox.SHA256.Sum(artifact).Hex() + `"}}],"predicateType":"https://example.com","predicate":{"a":[1]}}`)
	signed, old, attested := w.Sign(artifact, sigboxtest.Options{}), w.Sign(artifact, sigboxtest.Options{Kind: "hashedrekord 0.0.1"}), w.Attest(aStatement, sigboxtest.Options{})
	all := map[string]reader{
		"statement": {without(statement.Parse), aStatement},
		"predicate": {func(b []byte) error { return predicate.Check("https://slsa.dev/provenance/v1", b) }, []byte(`{"buildDefinition":{"buildType":"https://ci.example/v1","externalParameters":{},"resolvedDependencies":[{"uri":"a:b","content":"YQ=="}]},"runDetails":{"builder":{"id":"https://ci.example"},"metadata":{"startedOn":"2026-01-31T12:00:00Z"}}}`)},
		"condition": {func(b []byte) error {
			return verify.CheckPolicy(sigbox.Policy{Identities: []sigbox.IdentityMatch{{Subject: "a", Issuer: "b"}}, PredicateTypes: []string{"c"}, Conditions: []string{string(b)}}, condition.CEL{})
		}, []byte(`predicate.list.all(x, x.a == 7 && x.b in ["c", 'd']) && identity.subject.matches("^[a-z]+@example\\.com$") && times[0] > timestamp("2026-01-31T12:00:00Z")`)},
		"policy in JSON":    {without(policy.Parse), []byte(`{"identities":[{"subject":"a","issuer":"https://a.example"}],"threshold":1,"signed":{"start":"2026-01-31T12:00:00Z"},"digests":["` + sigbox.SHA256.Sum(artifact).String() + `"]}`)},
		"policy in YAML":    {without(policy.Parse), []byte("identities:\n- subject: a\n  issuer: https://a.example\nthreshold: 1\nsigned:\n  start: 2026-01-31T12:00:00Z\n")},
		"timestamp request": {without(timestamp.ParseJSONRequest), []byte(`{"artifactHash":"LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ=","hashAlgorithm":"sha256","nonce":7,"certificates":true,"tsaPolicyOID":"1.2.3"}`)},
		"query":             {without(entry.ParseQuery), []byte(`{"logIndexes":[1]}`)},
		"body":              {without(entry.ParseBody), signed.Entries[0].Body},
		"body of v1":        {without(entry.ParseBody), old.Entries[0].Body},
		"log entry":         {without(entry.ParseLogEntry), entry.AppendLogEntry(nil, &signed.Entries[0])},
		"leaf": {func(b []byte) error {
			_, _, err := entry.VerifyLogged(b)
			return err
		}, old.Entries[0].Body},
		"proposal": {without(entry.ParseProposal), old.Entries[0].Body},
		"request": {func(b []byte) error {
			e, err := entry.ParseRequest(b)
			if err != nil {
				return err
			}
			return entry.Verify(e)
		}, entry.AppendRequest(nil, sigbox.Entry{
			Digest: sigbox.SHA256.Sum(artifact), Signature: signed.Message.Signature, Certificate: signed.Certificates[0], Details: sigbox.ECDSAP256SHA256,
		})},
		"checkpoint": {func(b []byte) error {
			_, _, err := note.Parse(string(b))
			return err
		}, []byte(signed.Entries[0].Inclusion.Checkpoint)},
		"cosign's bundle": {without(cosign.ParseBundle), sigboxtest.Legacy(old, nil)},
	}
	maps.Copy(all, verifiers(t, w, artifact, signed, old, attested))
	maps.Copy(all, binary(t, w, signed, old))
	return all
}

// verifiers are what verify reads of others.
func verifiers(t *testing.T, w *sigboxtest.World, artifact []byte, signed, old, attested *sigbox.Bundle) map[string]reader {
	t.Helper()
	judge := func(r *sigbox.TrustedRoot, b *sigbox.Bundle) error {
		v, err := verify.New(verify.Config{Roots: []*sigbox.TrustedRoot{r}})
		if err != nil {
			return err
		}
		_, err = v.Verify(verify.Bytes(artifact), b, sigbox.Policy{
			Identities: []sigbox.IdentityMatch{{SubjectRegexp: ".*", IssuerRegexp: ".*"}}, PredicateTypes: []string{sigbox.AnyPredicateType},
		})
		return err
	}
	file := func(b []byte) error {
		parsed, err := bundle.Parse(b)
		if err != nil {
			return err
		}
		return judge(w.Root(), parsed)
	}
	root := func(b []byte) error {
		parsed, err := trust.ParseRoot(b)
		if err != nil {
			return err
		}
		return judge(parsed, signed)
	}
	certificate := func(der []byte) error {
		b := *signed
		b.Certificates = [][]byte{der}
		return judge(w.Root(), &b)
	}
	rootFile, err := trust.AppendRoot(nil, w.Root())
	if err != nil {
		t.Fatal(err)
	}
	config, err := trust.AppendSigningConfig(nil, &sigbox.SigningConfig{
		CAs: []sigbox.Service{{URL: "https://ca.example", MajorAPIVersion: 1, Operator: "o"}}, LogSelector: sigbox.Selector{Mode: "EXACT", Count: 1},
	})
	if err != nil {
		t.Fatal(err)
	}
	return map[string]reader{
		"bundle": {file, sigboxtest.File(signed)}, "old bundle": {file, sigboxtest.File(old)}, "attestation": {file, sigboxtest.File(attested)},
		"certificate": {certificate, signed.Certificates[0]}, "trusted root": {root, rootFile}, "signing config": {without(trust.ParseSigningConfig), config},
	}
}

// binary are the parsers of DER and the like, also in files of their own.
func binary(t *testing.T, w *sigboxtest.World, signed, old *sigbox.Bundle) map[string]reader {
	t.Helper()
	leaf, err := sigbox.ParseCertificate(signed.Certificates[0])
	if err != nil {
		t.Fatal(err)
	}
	scts, err := cert.SCTList(leaf)
	if err != nil {
		t.Fatal(err)
	}
	sct, err := scts[0].Marshal()
	if err != nil {
		t.Fatal(err)
	}
	asked, err := timestamp.Request{Digest: sigbox.SHA256.Sum(nil), Nonce: []byte{1}}.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	key := w.Key(sigbox.ECDSAP256SHA256)
	private, err := keys.Marshal(key, nil)
	if err != nil {
		t.Fatal(err)
	}
	secret := errors.New("no passphrase")
	encrypted, err := keys.Marshal(key, func() ([]byte, error) { return []byte("secret"), nil })
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(encrypted)
	files := sigboxtest.LegacyFiles(old)
	public := w.Root().Logs[0].PublicKey
	return map[string]reader{
		"SCT": {without(cert.ParseSCT), sct}, "request in DER": {without(timestamp.ParseRequest), asked},
		"timestamp": {func(b []byte) error {
			_, err := timestamp.Verify(b, signed.Message.Signature, w.Root().TimestampAuthorities[0])
			return err
		}, signed.Timestamps[0]},
		"signature": {func(b []byte) error {
			_, err := cosign.FromDetached(cosign.Detached{Signature: b, Certificate: files.Certificate})
			return err
		}, files.Signature},
		"its certificate": {func(b []byte) error {
			_, err := cosign.FromDetached(cosign.Detached{Signature: files.Signature, Certificate: b})
			return err
		}, files.Certificate},
		"public key": {without(verify.ParseKey), pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public})}, "key in DER": {without(sigbox.ParsePublicKey), public},
		"private key": {func(b []byte) error {
			_, err := keys.Parse(b, nil)
			return err
		}, private},
		"encrypted key": {func(b []byte) error {
			_, err := keys.Parse(pem.EncodeToMemory(&pem.Block{Type: block.Type, Bytes: b}), func() ([]byte, error) { return nil, secret })
			if errors.Is(err, secret) {
				return nil // its form is as it should be
			}
			return err
		}, block.Bytes},
	}
}

// TestPlainWords: whatever is wrong with what we read, nobody is told so in the words
// of the libraries that found it.
func TestPlainWords(t *testing.T) {
	all := readers(t)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		t.Run(name, func(t *testing.T) {
			r := all[name]
			if err := r.parse(r.good); err != nil {
				t.Errorf("as it should be: %v", err)
			}
			refused := 0
			for how, b := range broken(r.good, all) {
				err := r.parse(b)
				if err == nil {
					continue
				}
				refused++
				if found := jargon.FindString(err.Error()); found != "" && !strings.Contains(string(b), found) {
					t.Errorf("%s: %q in %q", how, found, err)
				}
			}
			if refused < 30 {
				t.Errorf("only %d were refused", refused)
			}
		})
	}
}

// broken gives documents that are wrong: another's, cut, with changed bytes, and those
// of JSON with changed members.
func broken(good []byte, others map[string]reader) iter.Seq2[string, []byte] {
	return func(yield func(string, []byte) bool) {
		for name, r := range others {
			if !yield("it is a "+name, r.good) {
				return
			}
		}
		random := rand.New(rand.NewPCG(1, 2))
		for range 40 {
			at := random.IntN(len(good))
			if !yield(fmt.Sprintf("cut at %d", at), good[:at]) {
				return
			}
			for _, c := range []byte("\x00\xff\"7{]-= ") {
				b := slices.Clone(good)
				b[at] = c
				if !yield(fmt.Sprintf("%q at %d", c, at), b) {
					return
				}
			}
		}
		if good[0] != '{' {
			return
		}
		for m := range sigboxtest.Sample(sigboxtest.Mutations(good, 1), 150, 1) {
			if !yield(m.Name(), m.Bundle) {
				return
			}
		}
	}
}
