package ceremony_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/asn1"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/wire/ceremony"
	"github.com/sigbox/sigbox/wire/tufroot"
)

var made = time.Date(2026, 5, 6, 7, 8, 9, 0, time.UTC)

func newKey(t testing.TB) crypto.Signer {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func spki(t testing.TB, k crypto.Signer) []byte {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(k.Public())
	if err != nil {
		t.Fatal(err)
	}
	return der
}

type asker struct {
	req  ceremony.Request
	keys map[string]crypto.Signer
}

func newAsker(t testing.TB) *asker {
	t.Helper()
	a := &asker{keys: map[string]crypto.Signer{"ca": newKey(t), "tsa": newKey(t), "tuf": newKey(t)}}
	a.req = ceremony.Request{
		Instance: "log2026-1.box.example", URL: "https://box.example", Made: made,
		Authorities: []ceremony.AuthorityRequest{
			{Authority: ceremony.CA, Number: 1, Key: spki(t, a.keys["ca"])}, {Authority: ceremony.TSA, Number: 2, Key: spki(t, a.keys["tsa"])},
		},
		TUF: &ceremony.TUFRequest{Online: spki(t, a.keys["tuf"])},
	}
	return a
}

// file proves and writes the request.
func (a *asker) file(t testing.TB) []byte {
	t.Helper()
	err := a.req.Prove(func(role string) (crypto.Signer, error) {
		if k := a.keys[role]; k != nil {
			return k, nil
		}
		return newKey(t), nil
	})
	if err != nil {
		t.Fatal(err)
	}
	b, err := a.req.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestRequestRoundTrip(t *testing.T) {
	a := newAsker(t)
	file := a.file(t)
	r, err := ceremony.ParseRequest(file)
	if err != nil {
		t.Fatal(err)
	}
	again, err := r.Bytes()
	if err != nil || !bytes.Equal(again, file) {
		t.Errorf("written again it is another one: %v", err)
	}
	keys, err := r.Keys()
	if err != nil || len(keys) != 3 || keys[0].Role != "ca" || !strings.HasPrefix(keys[0].Fingerprint, "SHA256:") || !strings.HasPrefix(keys[2].Fingerprint, "TUF:") {
		t.Errorf("unexpected keys %v, %v", keys, err)
	}
	if ceremony.IsAnswer(file) {
		t.Error("a request is taken for an answer")
	}
}

// TestRequestRefuses: what no instance asks for does not get as far as being shown.
func TestRequestRefuses(t *testing.T) {
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	const (
		roles  = "expected the authorities ca and tsa, each once"
		number = "expected a number from 1"
		name   = "no name that is a hostname"
		url    = "the instance's URL"
		made   = "the time at which it was made"
		key    = "the key ca: "
		proof  = "does not prove to have the key"
	)
	label := strings.Repeat("a", 50) + "."
	for what, tt := range map[string]struct {
		change func(*asker)
		want   string
	}{
		"another role":          {func(a *asker) { a.req.Authorities[0].Authority = "ca-root" }, roles},
		"a role twice":          {func(a *asker) { a.req.Authorities[1].Authority = ceremony.CA }, roles},
		"the number 0":          {func(a *asker) { a.req.Authorities[0].Number = 0 }, number},
		"a number beyond":       {func(a *asker) { a.req.Authorities[0].Number = 1 << 20 }, number},
		"no name":               {func(a *asker) { a.req.Instance = "" }, name},
		"a path as a name":      {func(a *asker) { a.req.Instance = "../../etc" }, name},
		"a line in a name":      {func(a *asker) { a.req.Instance = "box\nclock here 2020" }, name},
		"a terminal's sequence": {func(a *asker) { a.req.Instance = "box\x1b[2J" }, name},
		"capitals in a name":    {func(a *asker) { a.req.Instance = "Box.example" }, name},
		"a long name":           {func(a *asker) { a.req.Instance = strings.Repeat(label, 5) + "example" }, name},
		"another direction":     {func(a *asker) { a.req.URL = "https://box\u202eelpmaxe.example" }, url},
		"a user in the URL":     {func(a *asker) { a.req.URL = "https://box.example@evil.example" }, url},
		"a query in the URL":    {func(a *asker) { a.req.URL = "https://box.example/?a" }, url},
		"a fragment in the URL": {func(a *asker) { a.req.URL = "https://box.example/#a" }, url},
		"another scheme":        {func(a *asker) { a.req.URL = "javascript:alert(1)" }, url},
		"a scheme of its form":  {func(a *asker) { a.req.URL = "ftp://box.example" }, url},
		"half an address":       {func(a *asker) { a.req.URL = "https://[::1" }, url},
		"a long URL":            {func(a *asker) { a.req.URL = "https://" + strings.Repeat("a", 300) }, url},
		"no time":               {func(a *asker) { a.req.Made = time.Time{} }, made},
		"parts of a second":     {func(a *asker) { a.req.Made = a.req.Made.Add(1) }, made},
		"another zone":          {func(a *asker) { a.req.Made = a.req.Made.In(time.FixedZone("", 7200)) }, made},
		"nothing":               {func(a *asker) { a.req.Authorities, a.req.TUF = nil, nil }, "it asks for nothing"},
		"many roots": {func(a *asker) {
			for range ceremony.MaxRoots + 1 {
				a.req.TUF.Roots = append(a.req.TUF.Roots, jsontext.Value("{}"))
			}
		}, "more than 64 TUF roots"},
		"a key twice": {func(a *asker) {
			a.req.TUF.Online, a.keys["tuf"] = a.req.Authorities[0].Key, a.keys["ca"]
		}, "a key is asked for twice"},
		"somebody else's key":    {func(a *asker) { a.keys["ca"] = nil }, proof},
		"another online key":     {func(a *asker) { a.keys["tuf"] = nil }, proof},
		"another kind of key":    {func(a *asker) { a.keys["ca"], a.req.Authorities[0].Key = p384, spki(t, p384) }, key},
		"a key with an appendix": {func(a *asker) { a.req.Authorities[0].Key = append(a.req.Authorities[0].Key, 0) }, key},
		"a key with more in it":  {func(a *asker) { a.req.Authorities[0].Key = stuffed(t, a.req.Authorities[0].Key) }, "and nothing after it"},
		"a large key":            {func(a *asker) { a.req.Authorities[0].Key = make([]byte, 2000) }, "at most 1024 bytes"},
		"no key":                 {func(a *asker) { a.req.Authorities[0].Key = nil }, key + "public key: expected a DER"},
	} {
		a := newAsker(t)
		tt.change(a)
		if _, err := ceremony.ParseRequest(a.file(t)); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: expected %q, found %v", what, tt.want, err)
		}
	}
}

// stuffed puts an element more into a SubjectPublicKeyInfo, which parsers pass over.
func stuffed(t *testing.T, der []byte) []byte {
	t.Helper()
	var parts []asn1.RawValue
	if _, err := asn1.Unmarshal(der, &parts); err != nil {
		t.Fatal(err)
	}
	out, err := asn1.Marshal(append(parts, asn1.NullRawValue))
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestKeysAlone: keys are looked at wherever they come from.
func TestKeysAlone(t *testing.T) {
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	const unread = "public key: expected a DER"
	for what, tt := range map[string]struct {
		der  []byte
		want string // of its fingerprint
	}{"nothing": {nil, unread}, "no key": {[]byte{1, 2, 3}, unread}, "another kind of key": {spki(t, p384), "TUF cannot use this key"}} {
		der := tt.der
		if _, err := (ceremony.AuthorityRequest{Key: der}).Public(); err == nil {
			t.Errorf("%s is an authority's", what)
		}
		asked := &ceremony.TUFRequest{Online: der}
		if _, err := asked.Public(); err == nil {
			t.Errorf("%s is TUF's", what)
		}
		if _, err := ceremony.TUFFingerprint(der); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: the fingerprint: expected %q, found %v", what, tt.want, err)
		}
		if _, err := (&ceremony.Request{TUF: asked}).Keys(); err == nil {
			t.Errorf("%s is asked for", what)
		}
	}
}

// TestProveRefuses: nothing is written that a key has not asked for.
func TestProveRefuses(t *testing.T) {
	gone := sigbox.Errorf(sigbox.Unavailable, "the source is away")
	year := func(a *asker) { a.req.Made = time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC) } // JSON has no such time
	for what, tt := range map[string]struct {
		change func(*asker)
		signer func(*asker) (crypto.Signer, error)
	}{
		"no key":              {func(*asker) {}, func(*asker) (crypto.Signer, error) { return nil, gone }},
		"a key that is none":  {func(*asker) {}, func(*asker) (crypto.Signer, error) { return nobody{}, nil }},
		"what is not written": {year, func(a *asker) (crypto.Signer, error) { return a.keys["ca"], nil }},
	} {
		a := newAsker(t)
		tt.change(a)
		if err := a.req.Prove(func(string) (crypto.Signer, error) { return tt.signer(a) }); err == nil {
			t.Errorf("%s: proven", what)
		}
	}
	a := newAsker(t)
	year(a)
	if file, err := a.req.Bytes(); err == nil {
		t.Errorf("a request was written: %q", file)
	}
	answer := ceremony.Answer{Request: a.req}
	if file, err := answer.Bytes(); err == nil {
		t.Errorf("an answer was written: %q", file)
	}
	if _, err := ceremony.AppendRoot(nil, []byte("{")); err == nil || !strings.Contains(err.Error(), "TUF root") {
		t.Errorf("half a root was taken: %v", err)
	}
}

// nobody is a key of a kind that nobody knows.
type nobody struct{}

func (nobody) Public() crypto.PublicKey { return "nobody" }

func (nobody) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) { return []byte("x"), nil }

// TestRequestChanged: what is changed on the way is no longer what the keys ask for, or not
// in the one form.
func TestRequestChanged(t *testing.T) {
	file := string(newAsker(t).file(t))
	const proof, form = "does not prove to have the key", "not written in the form"
	for what, change := range map[string][3]string{
		"another URL":       {"https://box.example", "https://fox.example", proof},
		"another name":      {"log2026-1.box", "log2026-2.box", proof},
		"another time":      {"07:08:09Z", "07:08:10Z", proof},
		"another number":    {`"number": 2`, `"number": 3`, proof},
		"other spaces":      {`"number": 2`, `"number":  2`, form},
		"an escape":         {`"https://box`, `"https:\/\/box`, form},
		"an unknown member": {`"number": 2`, `"number": 2, "days": 9999`, "days: unknown member"},
		"a member twice":    {`"number": 2`, `"number": 2, "number": 2`, "the member stands twice"},
		"another type":      {"request.v1", "request.v2", "it is not of the type"},
		"more after it":     {"\n}\n", "\n}\n\n", form},
	} {
		bad := strings.Replace(file, change[0], change[1], 1)
		if bad == file {
			t.Errorf("%s: %q is not there", what, change[0])
		}
		if _, err := ceremony.ParseRequest([]byte(bad)); err == nil || !strings.Contains(err.Error(), change[2]) {
			t.Errorf("%s: expected %q, found %v", what, change[2], err)
		}
	}
	if _, err := ceremony.ParseRequest(bytes.Repeat([]byte(" "), ceremony.MaxSize+1)); err == nil || sigbox.KindOf(err) != sigbox.TooLarge {
		t.Errorf("expected TooLarge, found %v", err)
	}
}

// root makes a root for the asker, signed by some.
func (a *asker) root(t testing.TB, version int64, p tufroot.Policy, online crypto.Signer, signers ...crypto.Signer) []byte {
	t.Helper()
	key, err := tufroot.NewKey(online.Public())
	if err != nil {
		t.Fatal(err)
	}
	r, err := tufroot.New(version, made.Add(1000*time.Hour), p, tufroot.Only(key))
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range signers {
		if err := r.Sign(s); err != nil {
			t.Fatal(err)
		}
	}
	b, err := r.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func policy(t testing.TB, threshold int, keys ...crypto.Signer) tufroot.Policy {
	t.Helper()
	p := tufroot.Policy{Threshold: threshold}
	for _, k := range keys {
		key, err := tufroot.NewKey(k.Public())
		if err != nil {
			t.Fatal(err)
		}
		p.Keys = append(p.Keys, key)
	}
	return p
}

func (a *asker) answer(t testing.TB, root []byte, chains ...ceremony.Chain) []byte {
	t.Helper()
	a.file(t)
	answer := ceremony.Answer{Request: a.req, Chains: chains}
	if root != nil {
		roots, err := ceremony.AppendRoot(nil, root)
		if err != nil {
			t.Fatal(err)
		}
		answer.Root = roots[0]
	}
	b, err := answer.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestAnswer(t *testing.T) {
	a := newAsker(t)
	one, two, stranger := newKey(t), newKey(t), newKey(t)
	old := a.root(t, 1, policy(t, 1, one), newKey(t), one)
	var err error
	if a.req.TUF.Roots, err = ceremony.AppendRoot(nil, old); err != nil {
		t.Fatal(err)
	}
	ca := ceremony.Chain{Authority: ceremony.CA, Number: 1, Certificates: [][]byte{{1}, {2}}}
	tsa := ceremony.Chain{Authority: ceremony.TSA, Number: 2, Certificates: [][]byte{{1}, {2}}}
	for _, tt := range []struct {
		what    string
		file    []byte
		missing string
	}{
		{"nothing yet", a.answer(t, nil), "[the certificate of ca the certificate of tsa the TUF root]"},
		{"certificates", a.answer(t, nil, ca, tsa), "[the TUF root]"},
		{"a root without signatures", a.answer(t, a.root(t, 2, policy(t, 2, one, two), a.keys["tuf"]), ca, tsa), "[1 more signature of the TUF root's present keys 2 more signatures of its own keys]"},
		{"half", a.answer(t, a.root(t, 2, policy(t, 2, one, two), a.keys["tuf"], two), ca, tsa), "[1 more signature of the TUF root's present keys 1 more signature of its own keys]"},
		{"all", a.answer(t, a.root(t, 2, policy(t, 2, one, two), a.keys["tuf"], one, two), ca, tsa), "[]"},
	} {
		answer, err := ceremony.ParseAnswer(tt.file)
		if err != nil {
			t.Fatalf("%s: %v", tt.what, err)
		}
		missing, err := answer.Missing()
		if err != nil || fmt.Sprint(missing) != tt.missing {
			t.Errorf("%s: expected %s, found %v, %v", tt.what, tt.missing, missing, err)
		}
		if !ceremony.IsAnswer(tt.file) {
			t.Errorf("%s: it is taken for a request", tt.what)
		}
	}

	bare := newAsker(t)
	bare.req.TUF = nil
	const unasked = "it has certificates that were not asked for"
	for what, tt := range map[string]struct {
		file []byte
		want string
	}{
		"another number":    {a.answer(t, nil, ceremony.Chain{Authority: ceremony.CA, Number: 2, Certificates: [][]byte{{1}, {2}}}), unasked},
		"a chain twice":     {a.answer(t, nil, ca, ca), unasked},
		"an unknown chain":  {a.answer(t, nil, ceremony.Chain{Authority: "x", Number: 1, Certificates: [][]byte{{1}, {2}}}), unasked},
		"one certificate":   {a.answer(t, nil, ceremony.Chain{Authority: ceremony.CA, Number: 1, Certificates: [][]byte{{1}}}), "expected the certificate of ca and its root's"},
		"a root not asked":  {bare.answer(t, old), "a TUF root that was not asked for"},
		"a large one":       {a.answer(t, nil, ceremony.Chain{Authority: ceremony.CA, Number: 1, Certificates: [][]byte{make([]byte, 1<<20), {2}}}), "a certificate of more than"},
		"a request":         {a.file(t), "ceremony answer: "},
		"another type":      {bytes.Replace(a.answer(t, nil), []byte("answer.v1"), []byte("answer.v2"), 1), "it is not of the type"},
		"an unknown member": {bytes.Replace(a.answer(t, nil), []byte("{"), []byte(`{"days": 9999,`), 1), "days: unknown member"},
		"not in its form":   {append(a.answer(t, nil), ' '), "not written in the form"},
		"a request changed": {bytes.Replace(a.answer(t, nil), []byte("box.example\""), []byte("fox.example\""), 1), "does not prove to have the key"},
	} {
		if _, err := ceremony.ParseAnswer(tt.file); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: expected %q, found %v", what, tt.want, err)
		}
	}
	for what, root := range map[string][]byte{
		"another version":      a.root(t, 3, policy(t, 1, one), a.keys["tuf"], one),
		"another online key":   a.root(t, 2, policy(t, 1, one), stranger, one),
		"a stranger's as well": a.root(t, 2, policy(t, 1, one), a.keys["tuf"], one, stranger),
		"no root":              []byte(`{"a":1}`),
		"two online keys":      a.twoOnline(t, stranger),
	} {
		answer, err := ceremony.ParseAnswer(a.answer(t, root))
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if _, err := answer.Missing(); err == nil {
			t.Errorf("%s: taken", what)
		}
	}
}

// twoOnline makes a root that names the key that was asked for, and another one for the
// snapshot.
func (a *asker) twoOnline(t *testing.T, other crypto.Signer) []byte {
	t.Helper()
	root, err := tufroot.New(2, made.Add(1000*time.Hour), policy(t, 1, newKey(t)), policy(t, 1, a.keys["tuf"]))
	if err != nil {
		t.Fatal(err)
	}
	key, err := metadata.KeyFromPublicKey(other.Public())
	if err != nil {
		t.Fatal(err)
	}
	signed := root.Metadata().Signed
	signed.Roles[metadata.SNAPSHOT].KeyIDs = nil
	if err := signed.AddKey(key, metadata.SNAPSHOT); err != nil {
		t.Fatal(err)
	}
	file, err := root.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	return file
}

// TestNextRefuses: of an answer that was not read but made, all is looked at too.
func TestNextRefuses(t *testing.T) {
	a := newAsker(t)
	one := newKey(t)
	root := a.root(t, 1, policy(t, 1, one), a.keys["tuf"], one)
	for want, asked := range map[string]ceremony.TUFRequest{
		"metadata of another role":   {Online: spki(t, a.keys["tuf"]), Roots: []jsontext.Value{jsontext.Value("{}")}},
		"public key: expected a DER": {Online: []byte{1}},
	} {
		answer := ceremony.Answer{Request: ceremony.Request{TUF: &asked}, Root: root}
		if _, _, err := answer.Next(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("expected %q, found %v", want, err)
		}
	}
}

// TestPresent: the roots of a request lead from one to the next.
func TestPresent(t *testing.T) {
	a := newAsker(t)
	one, two := newKey(t), newKey(t)
	r1 := a.root(t, 1, policy(t, 1, one), newKey(t), one)
	r2 := a.root(t, 2, policy(t, 1, two), newKey(t), one, two)
	unsigned := a.root(t, 2, policy(t, 1, two), newKey(t), two)
	for what, tt := range map[string]struct {
		roots [][]byte
		ok    bool
	}{
		"none": {nil, true}, "one": {[][]byte{r1}, true}, "two": {[][]byte{r1, r2}, true}, "the later": {[][]byte{r2}, true},
		"the wrong way": {[][]byte{r2, r1}, false}, "one twice": {[][]byte{r1, r1}, false}, "not by the one before": {[][]byte{r1, unsigned}, false},
		"not signed": {[][]byte{a.root(t, 1, policy(t, 1, one), newKey(t))}, false}, "no root": {[][]byte{[]byte("{}")}, false},
	} {
		asked := ceremony.TUFRequest{}
		for _, r := range tt.roots {
			var err error
			if asked.Roots, err = ceremony.AppendRoot(asked.Roots, r); err != nil {
				t.Fatal(err)
			}
		}
		newest, all, err := asked.Present()
		if (err == nil) != tt.ok || err == nil && (len(all) != len(tt.roots) || (newest == nil) != (len(all) == 0)) {
			t.Errorf("%s: found %v, %d, %v", what, newest, len(all), err)
		}
	}
}

func FuzzParseRequest(f *testing.F) {
	a := newAsker(f)
	one := newKey(f)
	f.Add(a.file(f))
	var err error
	if a.req.TUF.Roots, err = ceremony.AppendRoot(nil, a.root(f, 1, policy(f, 1, one), one, one)); err != nil {
		f.Fatal(err)
	}
	f.Add(a.file(f))
	f.Fuzz(func(t *testing.T, in []byte) {
		r, err := ceremony.ParseRequest(in)
		if err != nil {
			return
		}
		out, err := r.Bytes()
		if err != nil || !bytes.Equal(in, out) {
			t.Fatalf("written again it is another one: %v", err)
		}
		if r.TUF != nil {
			_, _, _ = r.TUF.Present()
		}
	})
}

func FuzzParseAnswer(f *testing.F) {
	a := newAsker(f)
	one := newKey(f)
	f.Add(a.answer(f, a.root(f, 1, policy(f, 1, one), a.keys["tuf"], one), ceremony.Chain{Authority: ceremony.CA, Number: 1, Certificates: [][]byte{{1}, {2}}}))
	f.Fuzz(func(t *testing.T, in []byte) {
		a, err := ceremony.ParseAnswer(in)
		if err != nil {
			return
		}
		out, err := a.Bytes()
		if err != nil || !bytes.Equal(in, out) {
			t.Fatalf("written again it is another one: %v", err)
		}
		_, _ = a.Missing()
	})
}
