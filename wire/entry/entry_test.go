package entry_test

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
	"encoding/base64"
	"math/big"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/wire/entry"
)

// newKey makes a private key for k.
func newKey(t testing.TB, k sigbox.KeyDetails) crypto.Signer {
	t.Helper()
	var key crypto.Signer
	var err error
	switch k {
	case sigbox.ECDSAP256SHA256:
		key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case sigbox.ECDSAP384SHA384:
		key, err = ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	case sigbox.ECDSAP521SHA512:
		key, err = ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	case sigbox.Ed25519ph, sigbox.Ed25519:
		_, key, err = ed25519.GenerateKey(rand.Reader)
	case sigbox.RSAPKCS1v15With2048, sigbox.RSAPSSWith2048:
		key, err = rsa.GenerateKey(rand.Reader, 2048)
	case sigbox.RSAPKCS1v15With3072:
		key, err = rsa.GenerateKey(rand.Reader, 3072)
	case sigbox.RSAPKCS1v15With4096:
		key, err = rsa.GenerateKey(rand.Reader, 4096)
	default:
		t.Fatalf("no key for %s", k)
	}
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func spki(t testing.TB, key crypto.Signer) []byte {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// certificate makes a self-signed certificate with an extension of padding bytes.
func certificate(t testing.TB, key crypto.Signer, padding int) []byte {
	t.Helper()
	c := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Unix(0, 0), NotAfter: time.Unix(600, 0)}
	if padding > 0 {
		c.ExtraExtensions = []pkix.Extension{{Id: []int{1, 3, 6, 1, 4, 1, 99999, 1}, Value: make([]byte, padding)}}
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// sign makes an entry over message with a public key.
func sign(t testing.TB, k sigbox.KeyDetails, key crypto.Signer, message string) sigbox.Entry {
	t.Helper()
	d := k.Hash().Sum([]byte(message))
	sig, err := key.Sign(rand.Reader, d.Value, k.SignerOpts())
	if err != nil {
		t.Fatal(err)
	}
	return sigbox.Entry{Digest: d, Signature: sig, PublicKey: spki(t, key), Details: k}
}

var loggable = []sigbox.KeyDetails{
	sigbox.ECDSAP256SHA256, sigbox.ECDSAP384SHA384, sigbox.ECDSAP521SHA512, sigbox.Ed25519ph,
	sigbox.RSAPKCS1v15With2048, sigbox.RSAPKCS1v15With3072, sigbox.RSAPKCS1v15With4096,
}

func TestEveryAlgorithm(t *testing.T) {
	for _, k := range loggable {
		t.Run(k.String(), func(t *testing.T) {
			key := newKey(t, k)
			e := sign(t, k, key, "artifact")
			roundTrip(t, e)
			e.PublicKey, e.Certificate = nil, certificate(t, key, 0)
			roundTrip(t, e)
		})
	}
}

// roundTrip posts e, reads it back, verifies it, and reads its leaf.
func roundTrip(t *testing.T, e sigbox.Entry) {
	t.Helper()
	got, err := entry.ParseRequest(entry.AppendRequest(nil, e))
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(e, got); d != "" {
		t.Fatal(d)
	}
	if err := entry.Verify(got); err != nil {
		t.Fatal(err)
	}
	leaf, err := entry.Leaf(got)
	if err != nil {
		t.Fatal(err)
	}
	if canonical := canonicalize(t, leaf); !bytes.Equal(canonical, leaf) {
		t.Fatalf("the leaf is not canonical:\n%s\n%s", leaf, canonical)
	}
	body, err := entry.ParseBody(leaf)
	if err != nil {
		t.Fatal(err)
	}
	same(t, &entry.Body{Kind: "hashedrekord", Version: "0.0.2", Digest: e.Digest, Signatures: []entry.BodySignature{
		{Signature: e.Signature, PublicKey: e.PublicKey, Certificate: e.Certificate, Details: e.Details}}}, body)
}

// same compares whole values; cmp alone would ask Digest.Equal, to which no
// digest is unlike itself.
func same[T any](t *testing.T, want, got T) {
	t.Helper()
	if !reflect.DeepEqual(want, got) {
		t.Fatalf("expected %+v\nfound %+v", want, got)
	}
}

// canonicalize gives b as RFC 8785 has it.
func canonicalize(t testing.TB, b []byte) []byte {
	t.Helper()
	v := jsontext.Value(bytes.Clone(b))
	if err := v.Canonicalize(); err != nil {
		t.Fatal(err)
	}
	return v
}

func TestVerifyRefuses(t *testing.T) {
	p256, p384, rsaKey := newKey(t, sigbox.ECDSAP256SHA256), newKey(t, sigbox.ECDSAP384SHA384), newKey(t, sigbox.RSAPKCS1v15With2048)
	good := sign(t, sigbox.ECDSAP256SHA256, p256, "artifact")
	tests := map[string]struct {
		change func(e *sigbox.Entry)
		kind   sigbox.Kind
		says   string
	}{
		"another digest":         {func(e *sigbox.Entry) { e.Digest = sigbox.SHA256.Sum([]byte("x")) }, sigbox.NotVerified, "does not verify"},
		"another key":            {func(e *sigbox.Entry) { e.PublicKey = spki(t, newKey(t, sigbox.ECDSAP256SHA256)) }, sigbox.NotVerified, "does not verify"},
		"key of another curve":   {func(e *sigbox.Entry) { e.PublicKey = spki(t, p384) }, sigbox.Invalid, "ECDSA P-384"},
		"key of another type":    {func(e *sigbox.Entry) { e.PublicKey = spki(t, rsaKey) }, sigbox.Invalid, "RSA of 2048 bits"},
		"certificate's key":      {func(e *sigbox.Entry) { e.PublicKey, e.Certificate = nil, certificate(t, rsaKey, 0) }, sigbox.Invalid, "RSA of 2048 bits"},
		"no key":                 {func(e *sigbox.Entry) { e.PublicKey = nil }, sigbox.Invalid, "one of them"},
		"key and certificate":    {func(e *sigbox.Entry) { e.Certificate = certificate(t, p256, 0) }, sigbox.Invalid, "one of them"},
		"key that is no DER":     {func(e *sigbox.Entry) { e.PublicKey = []byte("key") }, sigbox.Invalid, "SubjectPublicKeyInfo"},
		"key with more behind":   {func(e *sigbox.Entry) { e.PublicKey = append(e.PublicKey, 0) }, sigbox.Invalid, "SubjectPublicKeyInfo"},
		"certificate no DER":     {func(e *sigbox.Entry) { e.PublicKey, e.Certificate = nil, []byte{0x30} }, sigbox.Invalid, "certificate"},
		"no signature":           {func(e *sigbox.Entry) { e.Signature = nil }, sigbox.Invalid, "signature is missing"},
		"short digest":           {func(e *sigbox.Entry) { e.Digest.Value = e.Digest.Value[:31] }, sigbox.Invalid, "31 bytes"},
		"digest of another hash": {func(e *sigbox.Entry) { e.Digest = sigbox.SHA384.Sum(nil) }, sigbox.Invalid, "expected sha256"},
		"no details":             {func(e *sigbox.Entry) { e.Details = 0 }, sigbox.Invalid, "keyDetails are missing"},
		"pure Ed25519":           {func(e *sigbox.Entry) { e.Details = sigbox.Ed25519 }, sigbox.Invalid, "Ed25519ph"},
		"RSA-PSS":                {func(e *sigbox.Entry) { e.Details = sigbox.RSAPSSWith2048 }, sigbox.Invalid, "cannot be logged"},
		"legacy RSA":             {func(e *sigbox.Entry) { e.Details = sigbox.RSAPKCS1Legacy }, sigbox.Invalid, "cannot be logged"},
		"P-384 with SHA-256":     {func(e *sigbox.Entry) { e.Details = sigbox.ECDSAP384SHA256 }, sigbox.Invalid, "cannot be logged"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			e := good
			test.change(&e)
			refused(t, entry.Verify(e), test.kind, test.says)
		})
	}
}

// refused checks that err is of a kind and says something.
func refused(t *testing.T, err error, kind sigbox.Kind, says string) {
	t.Helper()
	if err == nil {
		t.Fatal("accepted")
	}
	if sigbox.KindOf(err) != kind || !strings.Contains(err.Error(), says) {
		t.Fatalf("expected kind %s and %q, found %s: %v", kind, says, sigbox.KindOf(err), err)
	}
	if len(err.Error()) > 2000 {
		t.Fatalf("the error is %d bytes long", len(err.Error()))
	}
}

func TestLeafBound(t *testing.T) {
	key := newKey(t, sigbox.ECDSAP256SHA256)
	e := sign(t, sigbox.ECDSAP256SHA256, key, "artifact")
	e.PublicKey = nil
	// Base64 grows the certificate by a third; step over the bound byte by byte.
	largest := 0
	for padding := 48700; padding < 49000; padding++ {
		e.Certificate = make([]byte, padding)
		leaf, err := entry.Leaf(e)
		if err == nil {
			largest = len(leaf)
			continue
		}
		refused(t, err, sigbox.Invalid, "at most 65535")
	}
	if largest > entry.MaxLeafSize || largest < entry.MaxLeafSize-4 {
		t.Errorf("the largest leaf has %d bytes", largest)
	}
	e.Certificate = certificate(t, key, 45000)
	roundTrip(t, e)
	e.Certificate = make([]byte, 1<<20)
	_, err := entry.Leaf(e)
	refused(t, err, sigbox.Invalid, "at most 65535")
}

func TestRequestSpellings(t *testing.T) {
	e := sign(t, sigbox.ECDSAP256SHA256, newKey(t, sigbox.ECDSAP256SHA256), "artifact")
	std, raw := base64.StdEncoding.EncodeToString, base64.RawURLEncoding.EncodeToString
	for name, body := range map[string]string{
		"snake case":   `{"hashed_rekord_request_v002":{"digest":"` + std(e.Digest.Value) + `","signature":{"content":"` + std(e.Signature) + `","verifier":{"public_key":{"raw_bytes":"` + std(e.PublicKey) + `"},"key_details":"PKIX_ECDSA_P256_SHA_256"}}}}`,
		"raw URL":      `{"hashedRekordRequestV002":{"digest":"` + raw(e.Digest.Value) + `","signature":{"content":"` + raw(e.Signature) + `","verifier":{"publicKey":{"rawBytes":"` + raw(e.PublicKey) + `"},"keyDetails":5}}}}`,
		"null":         `{"dsseRequestV002":null,"hashedRekordRequestV002":{"digest":"` + std(e.Digest.Value) + `","signature":{"content":"` + std(e.Signature) + `","verifier":{"x509Certificate":null,"publicKey":{"rawBytes":"` + raw(e.PublicKey) + `"},"keyDetails":"PKIX_ECDSA_P256_SHA_256"}}}}`,
		"white space":  " {\n\t\"hashedRekordRequestV002\" : { \"digest\" : \"" + std(e.Digest.Value) + `" , "signature":{"content":"` + std(e.Signature) + `","verifier":{"publicKey":{"rawBytes":"` + std(e.PublicKey) + `"},"keyDetails":"PKIX_ECDSA_P256_SHA_256"}}}}` + "\n",
		"escaped name": `{"hashed\u0052ekordRequestV002":{"digest":"` + strings.ReplaceAll(std(e.Digest.Value), "/", `\/`) + `","signature":{"content":"` + std(e.Signature) + `","verifier":{"publicKey":{"rawBytes":"` + std(e.PublicKey) + `"},"keyDetails":"PKIX_ECDSA_P256_SHA_256"}}}}`,
	} {
		t.Run(name, func(t *testing.T) {
			got, err := entry.ParseRequest([]byte(body))
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(e, got); d != "" {
				t.Fatal(d)
			}
		})
	}
}

func TestRequestRefused(t *testing.T) {
	e := sign(t, sigbox.ECDSAP256SHA256, newKey(t, sigbox.ECDSAP256SHA256), "artifact")
	good := string(entry.AppendRequest(nil, e))
	swap := func(old, new string) string {
		s := strings.Replace(good, old, new, 1)
		if s == good {
			t.Fatalf("nothing to replace: %s", old)
		}
		return s
	}
	digest := base64.StdEncoding.EncodeToString(e.Digest.Value)
	tests := map[string]struct{ body, says string }{
		"empty":                  {"", "ends early"},
		"truncated":              {good[:len(good)/2], "ends early"},
		"a list":                 {"[]", "expected an object"},
		"null":                   {"null", "expected an object"},
		"no entry":               {"{}", "neither"},
		"two entries":            {swap(`{"hashed`, `{"dsseRequestV002":{},"hashed`), "one"},
		"more behind":            {good + "{}", "more"},
		"deep":                   {strings.Repeat(`{"hashedRekordRequestV002":`, 1000), "unknown member"},
		"deep lists":             {strings.Repeat("[", 1<<20), "expected an object"},
		"deep in a value":        {swap(`"`+digest+`"`, strings.Repeat("[", 20000)+strings.Repeat("]", 20000)), "depth"},
		"unknown member":         {swap(`"digest"`, `"extra":1,"digest"`), "unknown member"},
		"long unknown member":    {swap(`"digest"`, `"`+strings.Repeat("x", 1<<20)+`":1,"digest"`), "unknown member"},
		"same member twice":      {swap(`"digest"`, `"digest":"AA==","digest"`), "twice"},
		"twice by two spellings": {swap(`"keyDetails"`, `"key_details":5,"keyDetails"`), "twice"},
		"other case":             {swap(`"digest"`, `"Digest"`), "unknown member"},
		"number for a string":    {swap(`"`+digest+`"`, `17`), "expected a string, found a number"},
		"loose base64":           {swap(digest, "AB=="), "base64"},
		"space in base64":        {swap(digest, digest[:4]+` `+digest[4:]), "base64"},
		"invalid UTF-8":          {swap(digest, "\xff"), "not valid JSON"},
		"half a surrogate":       {swap(digest, `\ud800`), "not valid JSON"},
		"short digest":           {swap(digest, "AAAA"), "3 bytes"},
		"no digest":              {swap(`"digest":"`+digest+`",`, ""), "0 bytes"},
		"unknown algorithm":      {swap("PKIX_ECDSA_P256_SHA_256", "PKIX_ROT13"), "PKIX_ROT13"},
		"unknown number":         {swap(`"PKIX_ECDSA_P256_SHA_256"`, "261"), "261"},
		"unspecified algorithm":  {swap(`"PKIX_ECDSA_P256_SHA_256"`, "0"), "0"},
		"empty key":              {swap(base64.StdEncoding.EncodeToString(e.PublicKey), ""), "rawBytes is missing"},
		"key and certificate":    {swap(`"publicKey"`, `"x509Certificate":{"rawBytes":"AAAA"},"publicKey"`), "not both"},
		"no verifier":            {`{"hashedRekordRequestV002":{"digest":"` + digest + `","signature":{"content":"AAAA"}}}`, "one of them"},
		"an old v1 request":      {`{"apiVersion":"0.0.1","kind":"hashedrekord","spec":{}}`, "unknown member"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := entry.ParseRequest([]byte(test.body))
			refused(t, err, sigbox.Invalid, test.says)
		})
	}
	_, err := entry.ParseRequest(make([]byte, entry.MaxRequestSize+1))
	refused(t, err, sigbox.TooLarge, "at most")
}

// dsseRequest is what sigstore-js posts.
func dsseRequest(t testing.TB, key crypto.Signer, payloadType, payload string) (string, []byte) {
	t.Helper()
	pae := sigbox.SHA256.Sum(sigbox.PAE(payloadType, []byte(payload)))
	sig, err := key.Sign(rand.Reader, pae.Value, crypto.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	b64 := base64.StdEncoding.EncodeToString
	return `{"dsseRequestV002":{"envelope":{"payload":"` + b64([]byte(payload)) + `","payloadType":"` + payloadType + `","signatures":[{"sig":"` + b64(sig) +
		`","keyid":""}]},"verifiers":[{"x509Certificate":{"rawBytes":"` + b64(certificate(t, key, 0)) + `"},"keyDetails":"PKIX_ECDSA_P256_SHA_256"}]}}`, pae.Value
}

func TestDSSERequest(t *testing.T) {
	key := newKey(t, sigbox.ECDSAP256SHA256)
	body, pae := dsseRequest(t, key, sigbox.InTotoPayloadType, `{"_type":"https://in-toto.io/Statement/v1"}`)
	e, err := entry.ParseRequest([]byte(body))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(e.Digest.Value, pae) || e.Digest.Algorithm != sigbox.SHA256 {
		t.Errorf("digest %s, expected the hash of the PAE", e.Digest)
	}
	roundTrip(t, e)

	one := body[strings.Index(body, `[{"sig"`)+1 : strings.Index(body, `]},"verifiers"`)]
	for name, test := range map[string]struct{ old, new, says string }{
		"two signatures": {one, one + "," + one, "more than 1"},
		"no signature":   {one, "", "one signature and one verifier, found 0 and 1"},
		"no verifier":    {body[strings.Index(body, `,"verifiers"`):], "}}", "found 1 and 0"},
		"no type":        {`"payloadType":"application/vnd.in-toto+json",`, "", "payloadType"},
		"RSA-PSS":        {"PKIX_ECDSA_P256_SHA_256", "PKIX_RSA_PSS_2048_SHA256", "cannot be logged"},
		"no algorithm":   {`,"keyDetails":"PKIX_ECDSA_P256_SHA_256"`, "", "keyDetails are missing"},
	} {
		t.Run(name, func(t *testing.T) {
			changed := strings.Replace(body, test.old, test.new, 1)
			_, err := entry.ParseRequest([]byte(changed))
			refusedAny(t, err, test.says)
		})
	}
	other := strings.Replace(body, base64.StdEncoding.EncodeToString([]byte("{")), "", 1)
	if e, err = entry.ParseRequest([]byte(strings.Replace(other, "in-toto", "in-tutu", 1))); err != nil {
		t.Fatal(err)
	}
	refused(t, entry.Verify(e), sigbox.NotVerified, "does not verify")
}

// refusedAny is refused for Invalid or TooLarge.
func refusedAny(t *testing.T, err error, says string) {
	t.Helper()
	if err != nil && sigbox.KindOf(err) == sigbox.TooLarge {
		refused(t, err, sigbox.TooLarge, says)
		return
	}
	refused(t, err, sigbox.Invalid, says)
}

// genLogEntry draws a log entry as a log may answer it.
func genLogEntry() *rapid.Generator[sigbox.LogEntry] {
	return rapid.Custom(func(t *rapid.T) sigbox.LogEntry {
		hash := rapid.SliceOfN(rapid.Byte(), 32, 32)
		le := sigbox.LogEntry{
			LogIndex: rapid.Int64Min(0).Draw(t, "index"), LogID: hash.Draw(t, "log"),
			Kind: rapid.StringN(1, 16, 64).Draw(t, "kind"), Version: rapid.StringN(1, 16, 64).Draw(t, "version"),
			IntegratedTime: rapid.Int64Min(0).Draw(t, "time"), Body: rapid.SliceOf(rapid.Byte()).Draw(t, "body"),
		}
		if rapid.Bool().Draw(t, "promise") {
			le.SignedEntryTimestamp = rapid.SliceOf(rapid.Byte()).Draw(t, "set")
		}
		if rapid.Bool().Draw(t, "proof") {
			size := rapid.Int64Range(1, sigbox.MaxTreeSize).Draw(t, "size")
			le.Inclusion = &sigbox.Inclusion{
				TreeSize: size, LogIndex: rapid.Int64Range(0, size-1).Draw(t, "place"), RootHash: hash.Draw(t, "root"),
				Hashes: rapid.SliceOfN(hash, 0, 63).Draw(t, "hashes"), Checkpoint: rapid.String().Draw(t, "checkpoint"),
			}
			if len(le.Inclusion.Hashes) == 0 {
				le.Inclusion.Hashes = nil
			}
		}
		return le
	})
}

func TestLogEntryRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		le := genLogEntry().Draw(t, "entry")
		b := entry.AppendLogEntry(nil, &le)
		got, err := entry.ParseLogEntry(b)
		if err != nil {
			t.Fatalf("%v\n%s", err, b)
		}
		if d := cmp.Diff(le, got); d != "" {
			t.Fatal(d)
		}
		if again := entry.AppendLogEntry(nil, &got); !bytes.Equal(b, again) {
			t.Fatalf("%s\n%s", b, again)
		}
	})
}

// TestLogEntryForm pins the answer of a v2 log: every field is there.
func TestLogEntryForm(t *testing.T) {
	le := sigbox.LogEntry{
		LogIndex: 7, LogID: make([]byte, 32), Kind: "hashedrekord", Version: "0.0.2", Body: []byte("{}"),
		Inclusion: &sigbox.Inclusion{LogIndex: 7, TreeSize: 8, RootHash: make([]byte, 32), Checkpoint: "log.example\n8\n\n— log.example AA==\n"},
	}
	zero := `"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="`
	want := `{"logIndex":"7","logId":{"keyId":` + zero + `},"kindVersion":{"kind":"hashedrekord","version":"0.0.2"},"integratedTime":"0",` +
		`"inclusionPromise":null,"inclusionProof":{"logIndex":"7","rootHash":` + zero + `,"treeSize":"8","hashes":[],` +
		`"checkpoint":{"envelope":"log.example\n8\n\n— log.example AA==\n"}},"canonicalizedBody":"e30="}`
	if got := string(entry.AppendLogEntry(nil, &le)); got != want {
		t.Errorf("found\n%s\nexpected\n%s", got, want)
	}
	for name, change := range map[string][2]string{
		"negative index":   {`{"logIndex":"7"`, `{"logIndex":"-7"`},
		"index in words":   {`{"logIndex":"7"`, `{"logIndex":"seven"`},
		"leading zero":     {`{"logIndex":"7"`, `{"logIndex":"07"`},
		"huge index":       {`{"logIndex":"7"`, `{"logIndex":"9223372036854775808"`},
		"fraction":         {`{"logIndex":"7"`, `{"logIndex":7.5`},
		"short root":       {`"rootHash":` + zero, `"rootHash":"AAAA"`},
		"no root":          {`"rootHash":` + zero + `,`, ``},
		"endless tree":     {`"treeSize":"8"`, `"treeSize":"9223372036854775807"`},
		"outside the tree": {`"treeSize":"8"`, `"treeSize":"7"`},
		"long proof":       {`[]`, `[` + strings.Repeat(zero+",", 64) + zero + `]`},
		"short log ID":     {`"keyId":` + zero, `"keyId":"AAAA"`},
		"no kind":          {`"kind":"hashedrekord",`, ``},
		"unknown member":   {`"kind":`, `"sort":`},
		"long checkpoint":  {`log.example`, strings.Repeat("x", 1<<17)},
	} {
		t.Run(name, func(t *testing.T) {
			changed := strings.Replace(want, change[0], change[1], 1)
			if changed == want {
				t.Fatal("nothing replaced")
			}
			if _, err := entry.ParseLogEntry([]byte(changed)); err == nil {
				t.Fatal("accepted")
			}
		})
	}
}

func TestSETPayload(t *testing.T) {
	le := sigbox.LogEntry{LogIndex: 12, LogID: []byte{0xab, 1}, IntegratedTime: 1700000000, Body: []byte("{}")}
	want := `{"body":"e30=","integratedTime":1700000000,"logID":"ab01","logIndex":12}`
	if got := string(entry.SETPayload(&le)); got != want {
		t.Errorf("found %s", got)
	}
}
