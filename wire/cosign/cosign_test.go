package cosign_test

import (
	"bytes"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/sigboxtest"
	"github.com/sigbox/sigbox/wire/bundle"
	"github.com/sigbox/sigbox/wire/cosign"
)

// read reads a file that a real cosign wrote; testdata/make.sh says how.
func read(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// sameDigest compares also digests that there are none of, which are not equal.
var sameDigest = cmp.Comparer(func(a, b sigbox.Digest) bool { return a.String() == b.String() })

func b64(b []byte) string { return base64.StdEncoding.EncodeToString(b) }

// set replaces a member, or takes it out when value is nil. The path is in dots.
func set(t testing.TB, doc []byte, path string, value any) []byte {
	t.Helper()
	var root map[string]any
	d := json.NewDecoder(bytes.NewReader(doc))
	d.UseNumber()
	if err := d.Decode(&root); err != nil {
		t.Fatal(err)
	}
	at := root
	names := strings.Split(path, ".")
	for _, n := range names[:len(names)-1] {
		at = at[n].(map[string]any)
	}
	if last := names[len(names)-1]; value == nil {
		delete(at, last)
	} else {
		at[last] = value
	}
	out, err := json.Marshal(root)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// legacy is an ordinary old bundle of a world, with the bundle that it was.
func legacy(w *sigboxtest.World) (*sigbox.Bundle, []byte) {
	b := w.Sign(artifact, sigboxtest.Options{Kind: "hashedrekord 0.0.1", NoTimestamp: true})
	return b, sigboxtest.Legacy(b, nil)
}

// pemOf is a certificate in PEM.
func pemOf(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

func TestParseBundle(t *testing.T) {
	t.Parallel()
	w := sigboxtest.New(t)
	want, doc := legacy(w)
	leaf := pemOf(want.Certificates[0])
	for name, in := range map[string][]byte{
		"as written":              doc,
		"certificate in the open": set(t, doc, "cert", string(leaf)),
		"with its chain":          set(t, doc, "cert", b64(append(bytes.Clone(leaf), leaf...))),
		"lines of base64":         set(t, doc, "cert", b64(leaf)[:64]+"\n"+b64(leaf)[64:]),
		"white space":             bytes.ReplaceAll(doc, []byte(`,"`), []byte(",\n\t \"")),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := cosign.ParseBundle(in)
			if err != nil {
				t.Fatal(err)
			}
			expectBundle(t, want, got)
			if !cosign.IsBundle(in) {
				t.Error("not known for what it is")
			}
		})
	}
}

// expectBundle compares with what a world has signed: all but the proof and the
// claim of a digest, which the old form does not have.
func expectBundle(t testing.TB, from, got *sigbox.Bundle) {
	t.Helper()
	want := *from
	want.MediaType, want.Version = cosign.MediaType, 1
	if want.Message != nil {
		want.Message = &sigbox.MessageSignature{Signature: want.Message.Signature}
	}
	want.Entries = nil
	for _, le := range from.Entries {
		le.Inclusion = nil
		want.Entries = append(want.Entries, le)
	}
	if diff := cmp.Diff(&want, got, sameDigest); diff != "" {
		t.Errorf("another bundle came out (-want +got):\n%s", diff)
	}
	if err := bundle.Check(got); err != nil {
		t.Error(err)
	}
}

func TestBundleByKey(t *testing.T) {
	t.Parallel()
	w := sigboxtest.New(t)
	key := w.Key(sigbox.ECDSAP256SHA256)
	want := w.Sign(artifact, sigboxtest.Options{Kind: "hashedrekord 0.0.1", Key: key, NoTimestamp: true})
	spki, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	got, err := cosign.ParseBundle(sigboxtest.Legacy(want, spki))
	if err != nil {
		t.Fatal(err)
	}
	expectBundle(t, want, got)
	if got, err = cosign.ParseBundle(sigboxtest.Legacy(want, nil)); err != nil || got.KeyHint != "" || got.Certificates != nil {
		t.Errorf("without the key: %+v, %v", got, err)
	}
}

func TestParseBundleRefuses(t *testing.T) {
	t.Parallel()
	_, doc := legacy(sigboxtest.New(t))
	private := b64(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte("secret")}))
	both := b64(append(read(t, "key.pub"), read(t, "cert.pem")...))
	for name, c := range map[string]struct {
		in   []byte
		want string
	}{
		"nothing":                {nil, "ends early"},
		"a list":                 {[]byte(`[]`), "expected an object"},
		"an empty object":        {[]byte(`{}`), "no base64Signature"},
		"null":                   {[]byte(`null`), "expected an object"},
		"a bundle of today":      {[]byte(`{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json"}`), "unknown member"},
		"other case":             {set(t, set(t, doc, "cert", nil), "Cert", "x"), "unknown member"},
		"a member more":          {set(t, doc, "sct", "x"), "/sct: unknown member"},
		"a member twice":         {bytes.Replace(doc, []byte(`{"base64Signature"`), []byte(`{"base64Signature":"AAAA","base64Signature"`), 1), "stands twice"},
		"more behind":            {append(bytes.Clone(doc), "{}"...), "more after the end"},
		"cut":                    {doc[:len(doc)-1], "ends early"},
		"an empty signature":     {set(t, doc, "base64Signature", ""), "no base64Signature"},
		"no base64":              {set(t, doc, "base64Signature", "!"), "not base64"},
		"an endless signature":   {set(t, doc, "base64Signature", strings.Repeat("AAAA", 1<<13)), "at most 16384"},
		"an endless certificate": {set(t, doc, "cert", strings.Repeat("A", 1<<19)), "at most"},
		"certificate of nothing": {set(t, doc, "cert", b64([]byte("hello"))), "PEM block 1 cannot be read"},
		"certificate no base64":  {set(t, doc, "cert", "hello, world"), "not base64"},
		"certificate cut":        {set(t, doc, "cert", b64(read(t, "cert.pem")[:200])), "PEM block 1 cannot be read"},
		"an empty block":         {set(t, doc, "cert", "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n"), "PEM block 1 cannot be read"},
		"a private key":          {set(t, doc, "cert", private), `expected CERTIFICATE, or one PUBLIC KEY, found "PRIVATE KEY"`},
		"key and certificate":    {set(t, doc, "cert", both), `found "CERTIFICATE"`},
		"an endless chain":       {set(t, doc, "cert", b64(bytes.Repeat(pemOf([]byte{1}), 17))), "more than 16 PEM blocks"},
		"no promise":             {set(t, doc, "rekorBundle.SignedEntryTimestamp", nil), "no SignedEntryTimestamp"},
		"an empty promise":       {set(t, doc, "rekorBundle.SignedEntryTimestamp", ""), "no SignedEntryTimestamp"},
		"no payload":             {set(t, doc, "rekorBundle.Payload", nil), "no Payload"},
		"no body":                {set(t, doc, "rekorBundle.Payload.body", nil), "no Payload"},
		"a body of nothing":      {set(t, doc, "rekorBundle.Payload.body", b64([]byte("{}"))), "rekorBundle"},
		"a body of another kind": {set(t, doc, "rekorBundle.Payload.body", b64([]byte(`{"apiVersion":"0.0.1","kind":"rekord","spec":{}}`))), `entry of kind "rekord"`},
		"a body as an object":    {set(t, doc, "rekorBundle.Payload.body", map[string]any{}), "expected a string"},
		"no log":                 {set(t, doc, "rekorBundle.Payload.logID", nil), "no Payload"},
		"a short log":            {set(t, doc, "rekorBundle.Payload.logID", "c0d2"), "64 lower-case hex digits"},
		"a log in capitals":      {set(t, doc, "rekorBundle.Payload.logID", strings.Repeat("C0", 32)), "64 lower-case hex digits"},
		"a log in base64":        {set(t, doc, "rekorBundle.Payload.logID", b64(make([]byte, 48))), "64 lower-case hex digits"},
		"a negative index":       {set(t, doc, "rekorBundle.Payload.logIndex", -1), "expected an integer from 0"},
		"a negative time":        {set(t, doc, "rekorBundle.Payload.integratedTime", -1), "expected an integer from 0"},
		"a time after all":       {set(t, doc, "rekorBundle.Payload.integratedTime", int64(1)<<62), "integratedTime"},
		"an index in parts":      {set(t, doc, "rekorBundle.Payload.logIndex", 1.5), "expected an integer"},
		"a cut envelope":         {set(t, doc, "base64Signature", b64([]byte(`{"payload"`))), "DSSE envelope"},
		"an empty envelope":      {set(t, doc, "base64Signature", b64([]byte(`{}`))), "wrong number of signatures"},
		"envelope, two signers":  {set(t, doc, "base64Signature", b64([]byte(`{"payload":"","payloadType":"x","signatures":[{"sig":"AAAA"},{"sig":"AAAA"}]}`))), "more than 1"},
		"envelope, none signed":  {set(t, doc, "base64Signature", b64([]byte(`{"payload":"","payloadType":"x","signatures":[{"sig":""}]}`))), "signature is empty"},
		"of Rekor v2":            {read(t, "v2.bundle"), "sign with --new-bundle-format"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := cosign.ParseBundle(c.in)
			expectError(t, err, c.want)
		})
	}
	_, err := cosign.ParseBundle(make([]byte, cosign.MaxSize+1))
	if sigbox.KindOf(err) != sigbox.TooLarge {
		t.Errorf("found %v, expected it to be too large", err)
	}
}

func expectError(t *testing.T, err error, text string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), text) {
		t.Fatalf("found error %v, expected one with %q", err, text)
	}
	if k := sigbox.KindOf(err); k != sigbox.Invalid && k != sigbox.TooLarge {
		t.Errorf("error of kind %v: %v", k, err)
	}
}

func TestIsBundle(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]bool{
		`{"base64Signature":"AAAA"}`:              true,
		` { "cert" : "x" , "base64Signature" : 1`: true,
		`{"rekorBundle":{}}`:                      true,
		`{"cert":{"a":[1,2]},"rekorBundle":null}`: true,
		`{}`:                                 false,
		``:                                   false,
		`[]`:                                 false,
		`{"cert"`:                            false,
		`{"cert":`:                           false,
		`{"a":1,"a":2,"base64Signature":""}`: true,
		`{"a":1,"b":2,"c":3,"base64Signature":"AAAA"}`:    false,
		`{"mediaType":"x","verificationMaterial":{}}`:     false,
		`{"a":{"base64Signature":"AAAA"},"mediaType":""}`: false,
		"MEUCIQ==": false,
	} {
		if got := cosign.IsBundle([]byte(in)); got != want {
			t.Errorf("%s: found %v", in, got)
		}
	}
}

func TestFromDetached(t *testing.T) {
	t.Parallel()
	w := sigboxtest.New(t)
	for name, o := range map[string]sigboxtest.Options{
		"with all":          {Kind: "hashedrekord 0.0.1"},
		"without timestamp": {Kind: "hashedrekord 0.0.1", NoTimestamp: true},
		"without entry":     {Kind: "none"},
		"RSA":               {Kind: "none", Details: sigbox.RSAPKCS1v15With2048, NoTimestamp: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			want := w.Sign(artifact, o)
			files := sigboxtest.LegacyFiles(want)
			leaf := want.Certificates[0]
			for form, d := range map[string]cosign.Detached{
				"as written":             files,
				"signature with an end":  {append(files.Signature, "\r\n"...), files.Certificate, files.Timestamp, files.Rekor},
				"raw signature":          {want.Message.Signature, files.Certificate, files.Timestamp, files.Rekor},
				"certificate in PEM":     {files.Signature, pemOf(leaf), files.Timestamp, files.Rekor},
				"certificate in DER":     {files.Signature, leaf, files.Timestamp, files.Rekor},
				"DER in base64":          {files.Signature, []byte(b64(leaf) + "\n"), files.Timestamp, files.Rekor},
				"certificate and chain":  {files.Signature, append(pemOf(leaf), "\n"+string(read(t, "cert.pem"))...), files.Timestamp, files.Rekor},
				"chain in base64":        {files.Signature, []byte(b64(append(pemOf(leaf), read(t, "cert.pem")...))), files.Timestamp, files.Rekor},
				"text before the PEM":    {files.Signature, append([]byte("subject=\nissuer=a\n"), pemOf(leaf)...), files.Timestamp, files.Rekor},
				"raw timestamp, perhaps": {files.Signature, files.Certificate, slice(want.Timestamps), files.Rekor},
			} {
				got, err := cosign.FromDetached(d)
				if err != nil {
					t.Errorf("%s: %v", form, err)
					continue
				}
				expectBundle(t, want, got)
			}
		})
	}
}

// slice gives the first of a list, or nothing.
func slice(list [][]byte) []byte {
	if len(list) == 0 {
		return nil
	}
	return list[0]
}

func TestDetachedEnvelope(t *testing.T) {
	t.Parallel()
	w := sigboxtest.New(t)
	want := w.Attest(statement, sigboxtest.Options{Kind: "dsse 0.0.1"})
	files := sigboxtest.LegacyFiles(want)
	for _, signature := range [][]byte{files.Signature, []byte(b64(files.Signature)), append(files.Signature, '\n')} {
		d := files
		d.Signature = signature
		got, err := cosign.FromDetached(d)
		if err != nil {
			t.Fatal(err)
		}
		expectBundle(t, want, got)
		if text, ok := cosign.Envelope(signature); !ok || !bytes.Equal(text, files.Signature) {
			t.Errorf("envelope %q, %v", text, ok)
		}
	}
	for _, signature := range []string{"", "MEUCIQ==", "{\xff", "!"} {
		if text, ok := cosign.Envelope([]byte(signature)); ok {
			t.Errorf("%q is an envelope: %q", signature, text)
		}
	}
}

func TestFromDetachedRefuses(t *testing.T) {
	t.Parallel()
	good := []byte("MEUCIQ==")
	for name, c := range map[string]struct {
		d    cosign.Detached
		want string
	}{
		"no signature":           {cosign.Detached{}, "signature file: it is empty"},
		"white space":            {cosign.Detached{Signature: []byte(" \n")}, "it is empty"},
		"no base64":              {cosign.Detached{Signature: []byte("hello, world")}, "signature file: not base64"},
		"spaces in base64":       {cosign.Detached{Signature: []byte("MEUC IQ==")}, "not base64"},
		"OpenPGP":                {cosign.Detached{Signature: []byte("-----BEGIN PGP SIGNATURE-----\n\nAA==\n-----END PGP SIGNATURE-----\n")}, "verify it with the tool that made it"},
		"minisign":               {cosign.Detached{Signature: []byte("untrusted comment: signature\nRWQ=\n")}, "verify it with the tool that made it"},
		"an endless signature":   {cosign.Detached{Signature: bytes.Repeat([]byte{0x80}, 16<<10+1)}, "at most 16384"},
		"an endless file":        {cosign.Detached{Signature: make([]byte, cosign.MaxSize+1)}, "at most"},
		"an old bundle":          {cosign.Detached{Signature: read(t, "key.bundle")}, "unknown member"},
		"no certificate":         {cosign.Detached{Signature: good, Certificate: []byte("hello")}, "certificate: not base64"},
		"random certificate":     {cosign.Detached{Signature: good, Certificate: []byte{0x30, 0x80, 1}}, "expected a certificate in DER"},
		"DER and more":           {cosign.Detached{Signature: good, Certificate: append(der(t), 0)}, "expected a certificate in DER"},
		"text after the PEM":     {cosign.Detached{Signature: good, Certificate: append(read(t, "cert.pem"), "hello"...)}, "PEM block 2 cannot be read"},
		"an endless certificate": {cosign.Detached{Signature: good, Certificate: make([]byte, 1<<20)}, "certificate of 1048576 bytes"},
		"no timestamp":           {cosign.Detached{Signature: good, Timestamp: []byte(`{}`)}, "no SignedRFC3161Timestamp"},
		"an odd timestamp":       {cosign.Detached{Signature: good, Timestamp: []byte("hello")}, "timestamp file: not valid JSON"},
		"a timestamp's member":   {cosign.Detached{Signature: good, Timestamp: []byte(`{"timestamp":""}`)}, "unknown member"},
		"an endless timestamp":   {cosign.Detached{Signature: good, Timestamp: make([]byte, 1<<20)}, "timestamp file of 1048576 bytes"},
		"no promise":             {cosign.Detached{Signature: good, Rekor: []byte(`{}`)}, "no SignedEntryTimestamp"},
		"an odd promise":         {cosign.Detached{Signature: good, Rekor: []byte(`[]`)}, "expected an object"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := cosign.FromDetached(c.d)
			expectError(t, err, c.want)
		})
	}
}

func der(t testing.TB) []byte {
	block, _ := pem.Decode(read(t, "cert.pem"))
	return block.Bytes
}

// TestFormsAgree: one signature is the same bundle in both forms, whatever its bytes.
func TestFormsAgree(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		some := func(name string, least int) []byte {
			return rapid.SliceOfN(rapid.Byte(), least, 300).Draw(t, name)
		}
		b := &sigbox.Bundle{Certificates: [][]byte{some("certificate", 1)}}
		if rapid.Bool().Draw(t, "envelope") {
			b.Envelope = &sigbox.Envelope{
				PayloadType: rapid.String().Draw(t, "type"), Payload: some("payload", 0),
				Signatures: []sigbox.EnvelopeSignature{{KeyID: rapid.String().Draw(t, "key ID"), Signature: some("signature", 1)}},
			}
		} else {
			b.Message = &sigbox.MessageSignature{Signature: some("signature", 1)}
			if b.Message.Signature[0] == '{' { // JSON as a signature is an envelope
				return
			}
		}
		fromBundle, err := cosign.ParseBundle(sigboxtest.Legacy(b, nil))
		if err != nil {
			t.Fatal(err)
		}
		fromFiles, err := cosign.FromDetached(sigboxtest.LegacyFiles(b))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(fromBundle, fromFiles, sameDigest); diff != "" {
			t.Fatal(diff)
		}
		if again := sigboxtest.Legacy(fromBundle, nil); !bytes.Equal(again, sigboxtest.Legacy(b, nil)) {
			t.Fatalf("written again: %s", again)
		}
	})
}
