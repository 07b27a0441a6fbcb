package verify_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"fmt"
	"io"
	"math/big"
	"slices"
	"strings"
	"testing"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/hostile"
	"github.com/sigbox/sigbox/sigboxtest"
	"github.com/sigbox/sigbox/verify"
	"github.com/sigbox/sigbox/wire/bundle"
)

// content is how large a payload may be for its bundle to have 16 MB, in bytes.
const content = 3*hostile.Size/4 - 16<<10

// made is an input that is a bundle.
func made(name string, make func() *sigbox.Bundle) hostile.Input {
	return hostile.Input{Name: name, Make: func() []byte { return sigboxtest.File(make()) }}
}

// hostileStatements are signed by whom the policy wants, so that they are read to
// the end; and once more with a signature that is not theirs.
func hostileStatements(w *sigboxtest.World) []hostile.Input {
	head := strings.TrimSuffix(string(sigboxtest.Statement(predicate, artifact)), "}")
	before, after, _ := strings.Cut(head+"}", `"subject":[`)
	subjects, digests := before+`"subject":[`, before+`"subject":[{"digest":{`
	subject := after[:strings.Index(after, "]")]
	fill := func(name, head, unit, tail string) hostile.Input {
		return hostile.FillTo(name, content, head, unit, tail)
	}
	payloads := []hostile.Input{
		fill("members", head, `,"#":0`, "}"),
		fill("members of the predicate", head[:strings.LastIndex(head, `"predicate"`)]+`"predicate":{"":0`, `,"#":0`, "}}"),
		fill("members of objects in the predicate", head+`,"x":[{}`, `,{"a":0,"b":0,"c":0}`, "]}"),
		fill("a long text", head+`,"x":"`, `a`, `"}`),
		fill("a long text of escapes", head+`,"x":"`, `\n`, `"}`),
		fill("a long predicate type", strings.Replace(head, predicate, predicate+"@", 1)[:strings.Index(head, predicate)+len(predicate)], "a", `","subject":[`+subject+`]}`),
		fill("a long name", head+`,"`, "a", `":0}`),
		fill("deep lists", head+`,"x":`, "[", ""),
		fill("deep objects", head+`,"x":`, `{"a":`, ""),
		fill("a wide list", head+`,"x":[0`, ",0", "]}"),
		fill("subjects", subjects+subject, ","+subject, "]}"),
		fill("subjects that differ", subjects+subject, `,{"name":"#","digest":{"sha256":"00"}}`, "]}"),
		fill("members of a subject", subjects+strings.TrimSuffix(subject, "}"), `,"#":0`, "}]}"),
		fill("a long name of a subject", subjects+`{"name":"`, `a`, `","digest":{"sha256":"00"}}]}`),
		fill("annotations of a subject", subjects+strings.TrimSuffix(subject, "}")+`,"annotations":{"":0`, `,"`+strings.Repeat("x", 300)+`#":0`, "}}]}"),
		fill("annotations of a subject, and then none", subjects+strings.TrimSuffix(subject, "}")+`,"annotations":[0`, `,{"a":0}`, `]},{"digest":1}]}`),
		fill("digests", digests+`"sha256":"00"`, `,"#":"00"`, "}}]}"),
		fill("a long digest", digests+`"sha256":"`, `0`, `"}}]}`),
		fill("a long name of a digest", digests+`"`, `a`, `":""}}]}`),
		fill("space", "", " ", head+"}"),
		fill("no JSON", "", "\xff", ""),
	}
	var inputs []hostile.Input
	good := w.Attest(sigboxtest.Statement(predicate, artifact), sigboxtest.Options{})
	for _, p := range payloads {
		inputs = append(inputs,
			made("statement, "+p.Name, func() *sigbox.Bundle { return w.Attest(p.Make(), sigboxtest.Options{}) }),
			made("statement of somebody else, "+p.Name, func() *sigbox.Bundle {
				b, e := *good, *good.Envelope
				b.Envelope, e.Payload = &e, p.Make()
				return &b
			}))
	}
	return inputs
}

// hostileEntries are many and large. Those of the world's logs are looked at
// closest.
func hostileEntries(w *sigboxtest.World) []hostile.Input {
	good := w.Sign(artifact, sigboxtest.Options{})
	entries := func(name string, n int, change func(i int, le *sigbox.LogEntry)) hostile.Input {
		return made("entries, "+name, func() *sigbox.Bundle {
			b := *good
			b.Entries = nil
			for i := range n {
				le := good.Entries[0]
				p := *le.Inclusion
				le.Inclusion, le.LogIndex = &p, int64(i)
				change(i, &le)
				b.Entries = append(b.Entries, le)
			}
			return &b
		})
	}
	large := content / bundle.MaxEntries / 4 * 3
	body := func(name, head, unit, tail string) []hostile.Input {
		in := hostile.FillTo(name, large, head, unit, tail)
		return []hostile.Input{
			entries(name, bundle.MaxEntries, func(_ int, le *sigbox.LogEntry) { le.Body = in.Make() }),
			entries(name+" of unknown logs", bundle.MaxEntries, func(_ int, le *sigbox.LogEntry) { le.Body, le.LogID = in.Make(), make([]byte, 32) }),
		}
	}
	text := string(good.Entries[0].Body)
	signed := strings.Index(text, `"content":"`) + len(`"content":"`)
	signature := base64.StdEncoding.EncodeToString(good.Message.Signature)
	checkpoint := good.Entries[0].Inclusion.Checkpoint
	return append(slices.Concat(
		body("space", text, " ", ""),
		body("members", "{", `"#":0,`, `"":0}`),
		body("a long signature", text[:signed], "AAAA", text[signed+len(signature):]),
	),
		entries("too many", 100_000, func(int, *sigbox.LogEntry) {}),
		entries("other indexes", bundle.MaxEntries, func(i int, le *sigbox.LogEntry) { le.Inclusion.LogIndex = int64(i) }),
		entries("long proofs", bundle.MaxEntries, func(_ int, le *sigbox.LogEntry) {
			le.Inclusion.Hashes, le.Inclusion.TreeSize = slices.Repeat([][]byte{make([]byte, 32)}, 64), sigbox.MaxTreeSize
		}),
		entries("checkpoints of many lines", bundle.MaxEntries, func(i int, le *sigbox.LogEntry) {
			le.Inclusion.Checkpoint = checkpoint + strings.Repeat(fmt.Sprintf("— witness%d AAAAAAA=\n", i), 99)
		}),
		entries("checkpoints as long as they may be", bundle.MaxEntries, func(i int, le *sigbox.LogEntry) {
			le.Inclusion.Checkpoint = checkpoint + fmt.Sprintf("— witness%d ", i) + strings.Repeat("AAAA", 15<<10) + "\n"
		}),
	)
}

// hostileCertificates are not the authority's: whoever reads them does not know
// yet.
func hostileCertificates(w *sigboxtest.World) []hostile.Input {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	good := w.Sign(artifact, sigboxtest.Options{Version: 2, Kind: "hashedrekord 0.0.1"})
	parent, err := x509.ParseCertificate(good.Certificates[0])
	if err != nil {
		panic(err)
	}
	// The issuer is the real one's name, and the key is another.
	parent = &x509.Certificate{RawSubject: parent.RawIssuer, PublicKey: key.Public(), SubjectKeyId: parent.AuthorityKeyId}
	with := func(name string, pub any, exts ...pkix.Extension) hostile.Input {
		return made("certificate, "+name, func() *sigbox.Bundle {
			template := *parent
			template.RawSubject, template.SerialNumber = nil, big.NewInt(1)
			template.NotBefore, template.NotAfter = sigboxtest.Now(), sigboxtest.Now()
			template.KeyUsage, template.ExtKeyUsage = x509.KeyUsageDigitalSignature, []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning}
			template.ExtraExtensions = exts
			der, err := x509.CreateCertificate(rand.Reader, &template, parent, pub, key)
			if err != nil {
				panic(name + ": " + err.Error())
			}
			b := *good
			b.Certificates = slices.Repeat([][]byte{der}, 16)
			return &b
		})
	}
	extension := func(name string, arc int, head, unit []byte) hostile.Input {
		value := append(head, bytes.Repeat(unit, 60_000/len(unit))...)
		wrapped, err := asn1.Marshal(asn1.RawValue{Tag: asn1.TagSequence, IsCompound: true, Bytes: value})
		if err != nil {
			panic(err)
		}
		return with(name, key.Public(), pkix.Extension{Id: asn1.ObjectIdentifier{2, 5, 29, arc}, Value: wrapped})
	}
	modulus := func(bits uint) *big.Int {
		n := new(big.Int).Lsh(big.NewInt(1), bits)
		return n.Sub(n, big.NewInt(1))
	}
	inputs := []hostile.Input{
		extension("names", 17, nil, []byte("\x81\x03a@b")),
		extension("host names", 17, nil, []byte("\x82\x01a")),
		extension("URIs", 17, nil, []byte("\x86\x03a:b")),
		extension("name constraints", 30, nil, []byte("\xa0\x05\x30\x03\x82\x01a")),
		extension("policies", 32, nil, []byte("\x30\x03\x06\x01\x2a")),
		extension("usages", 37, nil, []byte("\x06\x03\x2a\x03\x04")),
		with("RSA of 8,192 bits", &rsa.PublicKey{N: modulus(8192), E: 65537}),
		with("RSA of 400,000 bits", &rsa.PublicKey{N: modulus(400_000), E: 1<<31 - 1}),
		with("P-224", &p224(key).PublicKey),
		with("unknown extensions", key.Public(), many(2000)...),
	}
	for _, in := range hostile.DER(64 << 10) {
		inputs = append(inputs, made("certificate, "+in.Name, func() *sigbox.Bundle {
			b := *good
			b.Certificates = [][]byte{in.Make()}
			return &b
		}))
	}
	return inputs
}

func p224(*ecdsa.PrivateKey) *ecdsa.PrivateKey {
	k, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	if err != nil {
		panic(err)
	}
	return k
}

// many are extensions that nobody knows.
func many(n int) (exts []pkix.Extension) {
	for i := range n {
		exts = append(exts, pkix.Extension{Id: asn1.ObjectIdentifier{1, 3, 9999, i}, Value: []byte{5, 0}})
	}
	return exts
}

// hostileTimestamps are many, and good ones with much that nobody looks at.
func hostileTimestamps(w *sigboxtest.World) []hostile.Input {
	good := w.Sign(artifact, sigboxtest.Options{})
	timestamps := func(name string, n int, make func(i int) []byte) hostile.Input {
		return made("timestamps, "+name, func() *sigbox.Bundle {
			b := *good
			b.Timestamps = nil
			for i := range n {
				b.Timestamps = append(b.Timestamps, make(i))
			}
			return &b
		})
	}
	inputs := []hostile.Input{
		timestamps("too many", 100_000, func(int) []byte { return []byte{0x30, 0} }),
		timestamps("of another signature", bundle.MaxTimestamps, func(i int) []byte {
			return w.Sign([]byte{byte(i)}, sigboxtest.Options{}).Timestamps[0]
		}),
	}
	for _, in := range hostile.DER(64 << 10) {
		inputs = append(inputs, timestamps(in.Name, bundle.MaxTimestamps, func(i int) []byte { return append(in.Make(), byte(i)) }))
	}
	return inputs
}

func hostileFiles(tb testing.TB) (*verify.Verifier, []hostile.Input) {
	w := sigboxtest.New(tb)
	return verifier(tb, w.Root()), slices.Concat(hostileStatements(w), hostileEntries(w), hostileCertificates(w), hostileTimestamps(w))
}

// whole is all that happens to a file of bundles. VerifyAll looks ahead, so that it
// does all that Verify does, and more.
func whole(v *verify.Verifier) func([]byte) error {
	return func(file []byte) error {
		bundles, err := bundle.ParseLines(file)
		if err != nil {
			return err
		}
		_, err = v.VerifyAll(verify.Bytes(artifact), bundles, ada())
		return err
	}
}

func TestLimits(t *testing.T) {
	v, inputs := hostileFiles(t)
	hostile.Test(t, whole(v), inputs...)
}

func BenchmarkHostile(b *testing.B) {
	v, inputs := hostileFiles(b)
	hostile.Benchmark(b, whole(v), inputs...)
}

// zeros is a gigabyte of them, which is not in memory.
type zeros struct{ left int64 }

func (z *zeros) Read(p []byte) (int, error) {
	if z.left == 0 {
		return 0, io.EOF
	}
	n := int(min(int64(len(p)), z.left))
	clear(p[:n])
	z.left -= int64(n)
	return n, nil
}

// TestLargeArtifact: an artifact may be as large as it likes.
func TestLargeArtifact(t *testing.T) {
	const gigabyte, digest = 1 << 30, "49bc20df15e412a64472421e13fe86ff1c5165e18b2afccf160d4dc19fe68a14"
	w := sigboxtest.New(t)
	statement := sigboxtest.Statement(predicate, artifact)
	statement = bytes.Replace(statement, []byte(sigbox.SHA256.Sum(artifact).Hex()), []byte(digest), 1)
	b, v := w.Attest(statement, sigboxtest.Options{}), verifier(t, w.Root())
	for _, size := range []int64{gigabyte, gigabyte - 1} {
		var err error
		n := hostile.Allocated(func() { _, err = v.Verify(verify.Reader(&zeros{size}), b, ada()) })
		if (err == nil) != (size == gigabyte) {
			t.Errorf("%d bytes: found %v", size, err)
		}
		if n > 2<<20 {
			t.Errorf("%d bytes of artifact take %d bytes", size, n)
		}
	}
}

func TestKeyLimits(t *testing.T) {
	const begin, end = "-----BEGIN PUBLIC KEY-----\n", "-----END PUBLIC KEY-----\n"
	inputs := hostile.DER(64 << 10)
	for _, size := range []int{hostile.Size, 64 << 10} {
		inputs = append(inputs,
			hostile.FillTo("PEM headers", size, begin, "#:\n", "\nAAAA\n"+end),
			hostile.FillTo("PEM without end", size, "", begin, ""),
			hostile.FillTo("PEM without content", size, "", begin+end, ""),
			hostile.FillTo("a long key", size, begin, "AAAA\n", end))
	}
	hostile.Test(t, func(b []byte) error { _, err := verify.ParseKey(b); return err }, inputs...)
}
