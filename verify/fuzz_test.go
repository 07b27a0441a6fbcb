package verify_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/sigboxtest"
	"github.com/sigbox/sigbox/verify"
	"github.com/sigbox/sigbox/wire/bundle"
	"github.com/sigbox/sigbox/wire/trust"
)

var updateWorld = flag.Bool("update-world", false, "sign testdata/world, and FuzzVerify's corpus in it, anew")

const worldDir = "testdata/world"

// fixedWorld is a signing world that was kept, so that what a fuzzer found in it
// stays what it is: a trust root, a key, and bundles of every shape.
type fixedWorld struct {
	root    *sigbox.TrustedRoot
	key     sigbox.PublicKey
	bundles map[string][]byte // by file name
}

// worldShapes are the bundles of the fixed world, each with no more evidence than it
// needs: what nobody asks for may be left out, or become a stranger's.
func worldShapes(tb testing.TB, w *sigboxtest.World) (map[string][]byte, sigbox.PublicKey) {
	key := w.Key(sigbox.ECDSAP256SHA256)
	files := map[string][]byte{}
	for name, o := range map[string]sigboxtest.Options{
		"message":          {},
		"message-v1":       {Kind: "hashedrekord 0.0.1", NoTimestamp: true, Version: 1},
		"message-key":      {Key: key, NoTimestamp: true},
		"statement":        {},
		"statement-v1":     {Kind: "dsse 0.0.1", NoTimestamp: true, Version: 2},
		"statement-intoto": {Kind: "intoto 0.0.2", NoTimestamp: true},
		"statement-v2":     {Kind: "dsse 0.0.2"},
		"statement-key":    {Key: key, NoTimestamp: true},
	} {
		files[name] = sigboxtest.File(signed(w, o, strings.HasPrefix(name, "statement")))
	}
	return files, keyOf(tb, sigboxtest.Options{Key: key})
}

// deepFaults are those that only services of the world can make: a fuzzer will
// not find a way there.
var deepFaults = []string{
	"entry-of-other-artifact", "entry-of-other-statement", "entry-of-key-for-certificate", "promise-before-log",
	"checkpoint-of-other-size", "checkpoint-of-other-origin", "timestamp-of-other-signature", "timestamp-after-certificate",
	"certificate-expired", "certificate-for-other-use", "certificate-with-unknown-extension", "precertificate",
	"issuer-expired", "sct-of-other-issuer", "statement-with-duplicate-member", "statement-of-endless-digests",
}

// TestFixedWorld signs it anew when asked.
func TestFixedWorld(t *testing.T) {
	if *updateWorld {
		signFixedWorld(t)
	}
	f := openFixedWorld(t)
	for name, file := range f.bundles {
		if n := len(f.accepted(t, file)); n < 2 {
			t.Errorf("%s: accepted by %d policies", name, n)
		}
	}
}

func signFixedWorld(t *testing.T) {
	w := sigboxtest.New(t)
	write := func(path string, data []byte) {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	root, err := trust.AppendRoot(nil, w.Root())
	if err != nil {
		t.Fatal(err)
	}
	files, key := worldShapes(t, w)
	pem, err := key.Key.MarshalText()
	if err != nil {
		t.Fatal(err)
	}
	write(worldDir+"/trusted_root.json", root)
	write(worldDir+"/key.pub", pem)
	for name, file := range files {
		write(worldDir+"/"+name+".sigstore.json", file)
	}
	for _, name := range deepFaults {
		o := sigboxtest.Options{Fault: sigboxtest.FaultNamed(name)}
		envelope := strings.Contains(name, "statement")
		if !o.Fault.Possible(o, envelope) {
			o.Kind = "hashedrekord 0.0.1"
		}
		file := sigboxtest.File(signed(w, o, envelope))
		write("testdata/fuzz/FuzzVerify/"+name, fmt.Appendf(nil, "go test fuzz v1\n[]byte(%q)\n[]byte(%q)\nbyte('\\x00')\n", file, artifact))
	}
}

func openFixedWorld(tb testing.TB) *fixedWorld {
	tb.Helper()
	read := func(path string) []byte {
		b, err := os.ReadFile(path)
		if err != nil {
			tb.Fatal(err)
		}
		return b
	}
	root, err := trust.ParseRoot(read(worldDir + "/trusted_root.json"))
	if err != nil {
		tb.Fatal(err)
	}
	key, err := verify.ParseKey(read(worldDir + "/key.pub"))
	if err != nil {
		tb.Fatal(err)
	}
	f := &fixedWorld{root: root, key: key, bundles: map[string][]byte{}}
	paths, err := filepath.Glob(worldDir + "/*.sigstore.json")
	if err != nil || len(paths) == 0 {
		tb.Fatal("no bundles in ", worldDir, err)
	}
	for _, path := range paths {
		f.bundles[strings.TrimSuffix(filepath.Base(path), ".sigstore.json")] = read(path)
	}
	return f
}

// policies that a fuzzer chooses from. The last two accept nothing of this world
// alone.
func (f *fixedWorld) policies() []sigbox.Policy {
	both := ada()
	both.Keys = []sigbox.PublicKey{f.key}
	signatures, statements, eve, two := ada(), ada(), ada(), both
	signatures.PredicateTypes, statements.PredicateTypes = nil, []string{predicate}
	eve.Identities = []sigbox.IdentityMatch{{Subject: "eve@example.com", IssuerRegexp: ".*"}}
	two.Threshold = 2
	return []sigbox.Policy{both, ada(), byKey(f.key), signatures, statements, eve, two}
}

// judgeAll asks for all signers that the policy wants.
func judgeAll(v *verify.Verifier, a verify.Artifact, b *sigbox.Bundle, p sigbox.Policy) (view string, err error) {
	var verdict *verify.Verdict
	if p.Threshold > 1 { // the same bundle twice is one signer
		var all []*verify.Verdict
		if all, err = v.VerifyAll(a, []*sigbox.Bundle{b, b}, p); err == nil {
			verdict = all[0]
		}
	} else {
		verdict, err = v.Verify(a, b, p)
	}
	if (err == nil) != (verdict != nil) {
		return "", fmt.Errorf("both a verdict and an error, or neither: %v, %w", verdict, err)
	}
	if err != nil {
		return "", err
	}
	out, err := json.Marshal(verdict)
	return string(out), err
}

// accepted gives what the world's policies say to a bundle, those that accept it.
func (f *fixedWorld) accepted(tb testing.TB, file []byte) map[string]bool {
	b, err := bundle.Parse(file)
	if err != nil {
		tb.Fatal(err)
	}
	views := map[string]bool{}
	for i, p := range f.policies() {
		if view, err := judgeAll(verifier(tb, f.root), verify.Bytes(artifact), b, p); err == nil {
			views[fmt.Sprint(i, view)] = true
		}
	}
	return views
}

// FuzzVerify is about everything between a file and a Verdict: what is accepted
// says word for word what one of the good bundles says; what is not is refused
// with an error that says so; and neither depends on what the Verifier has seen
// before or on how the artifact is given.
func FuzzVerify(f *testing.F) {
	w := openFixedWorld(f)
	policies := w.policies()
	good := map[string]bool{}
	for _, file := range w.bundles {
		for view := range w.accepted(f, file) {
			good[view] = true
		}
		for i := range policies {
			f.Add(file, artifact, byte(i))
		}
		f.Add(file, []byte("another artifact"), byte(0))
	}
	warm := verifier(f, w.root)
	f.Fuzz(func(t *testing.T, file, content []byte, choice byte) {
		b, err := bundle.Parse(file)
		if err != nil {
			if k := sigbox.KindOf(err); k != sigbox.Invalid && k != sigbox.TooLarge {
				t.Fatalf("an error of kind %v: %v", k, err)
			}
			return
		}
		i := int(choice) % len(policies)
		view, err := judgeAll(warm, verify.Bytes(content), b, policies[i])
		if err == nil && (!good[fmt.Sprint(i, view)] || !bytes.Equal(content, artifact)) {
			t.Fatalf("verified, but no good bundle says this: %s\n%q\n%s", view, content, file)
		}
		if err != nil && (sigbox.KindOf(err) != sigbox.NotVerified || verify.FailedStep(err) == 0) {
			t.Fatalf("an error of kind %v, step %v: %v", sigbox.KindOf(err), verify.FailedStep(err), err)
		}
		for name, again := range map[string]func() (string, error){
			"once more":      func() (string, error) { return judgeAll(warm, verify.Bytes(content), b, policies[i]) },
			"a new Verifier": func() (string, error) { return judgeAll(verifier(t, w.root), verify.Bytes(content), b, policies[i]) },
			"from a reader":  func() (string, error) { return judgeAll(warm, verify.Reader(bytes.NewReader(content)), b, policies[i]) },
			"the root, twice": func() (string, error) {
				return judgeAll(verifier(t, w.root, w.root), verify.Bytes(content), b, policies[i])
			},
		} {
			view2, err2 := again()
			if view2 != view || (err2 == nil) != (err == nil) || verify.FailedStep(err2) != verify.FailedStep(err) {
				t.Fatalf("%s: found %s, %v; before %s, %v", name, view2, err2, view, err)
			}
		}
		if _, err2 := judgeAll(warm, verify.Digest(sigbox.SHA256.Sum(content)), b, policies[i]); (err2 == nil) != (err == nil) {
			t.Fatalf("by digest: %v; by content: %v", err2, err)
		}
	})
}

// FuzzParseKey: what is read is written, and read again, the same.
func FuzzParseKey(f *testing.F) {
	w := openFixedWorld(f)
	pem, err := w.key.Key.MarshalText()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(pem)
	f.Add([]byte(w.key.Key))
	f.Add([]byte("-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n-----END PUBLIC KEY-----\n"))
	f.Fuzz(func(t *testing.T, in []byte) {
		key, err := verify.ParseKey(in)
		if err != nil {
			if k := sigbox.KindOf(err); k != sigbox.Invalid && k != sigbox.TooLarge {
				t.Fatalf("an error of kind %v: %v", k, err)
			}
			return
		}
		pem, err := key.Key.MarshalText()
		if err != nil {
			t.Fatal(err)
		}
		for _, form := range [][]byte{key.Key, pem} {
			again, err := verify.ParseKey(form)
			if err != nil || !bytes.Equal(again.Key, key.Key) {
				t.Fatalf("found %x, %v; expected %x", again.Key, err, key.Key)
			}
		}
	})
}
