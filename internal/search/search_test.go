package search

import (
	"crypto/x509"
	"encoding/binary"
	"encoding/pem"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/tlog"
	"github.com/sigbox/sigbox/wire/entry"
)

// builder is the identity of a build.
func builder(repository string) sigbox.Identity {
	return sigbox.Identity{
		Issuer: "https://token.actions.githubusercontent.com", Kind: sigbox.URISAN, Subject: "https://github.com/" + repository + "/.github/workflows/Build.yml@refs/heads/main",
		Extensions: sigbox.Extensions{GitHubWorkflowRepository: repository, SourceRepositoryURI: "https://github.com/" + repository},
	}
}

func person(email string) sigbox.Identity {
	return sigbox.Identity{Issuer: "https://accounts.example.com", Kind: sigbox.EmailSAN, Subject: email}
}

const statementText = `{"_type":"https://in-toto.io/Statement/v1","subject":[{"name":"a","digest":{"sha256":"%s","gitCommit":"%s"}}],"predicateType":"p","predicate":{"materials":[{"digest":{"SHA1":"%s"}}],"x":[{}]}}`

// Each term finds the entries that say it, in any spelling that is the same.
func TestFind(t *testing.T) {
	l := newLog(t)
	x := l.index(t)
	jane, build := newCertificate(t, person("Jane@Example.com")), newCertificate(t, builder("Some/Thing"))
	user := newCertificate(t, sigbox.Identity{Issuer: "https://Issuer.example.com", Kind: sigbox.OtherNameSAN, Subject: "Joe!example.com"})
	other := newCertificate(t, sigbox.Identity{Subject: "root@example.org"})
	_, spki := newKey(t)
	digest := func(n int) sigbox.Digest { return sigbox.SHA256.Sum(fmt.Append(nil, n)) }
	commit, material := strings.Repeat("c0", 20), strings.Repeat("1a", 20)
	l.add(t, leafV2(t, sigbox.Entry{Digest: digest(0), PublicKey: spki}), nil)
	l.add(t, leafV2(t, sigbox.Entry{Digest: digest(1), Certificate: jane}), nil)
	l.add(t, leafV1(sigbox.Entry{Digest: digest(1), Certificate: build}), nil)
	l.add(t, leafV1(sigbox.Entry{Digest: sigbox.SHA512.Sum(nil), Certificate: user}), nil)
	l.add(t, leafDSSE(digest(4), digest(1), jane, build), fmt.Appendf(nil, statementText, digest(44).Hex(), commit, material))
	l.add(t, leafV1(sigbox.Entry{Digest: digest(5), Certificate: other}), nil)

	c, err := x509.ParseCertificate(jane)
	must(t, err)
	keyOfJane := hexSum(c.RawSubjectPublicKeyInfo)
	pemOf := func(kind string, der []byte) func() (Condition, error) {
		return func() (Condition, error) {
			return ByPublicKey(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
		}
	}
	for _, tt := range []struct {
		name string
		by   []func() (Condition, error)
		want []uint64
	}{
		{"nothing", nil, []uint64{5, 4, 3, 2, 1, 0}},
		{"hash", []func() (Condition, error){by(ByHash, digest(1).String())}, []uint64{4, 2, 1}},
		{"hash, digits alone", []func() (Condition, error){by(ByHash, strings.ToUpper(digest(1).Hex()))}, []uint64{4, 2, 1}},
		{"hash, SHA-512", []func() (Condition, error){by(ByHash, sigbox.SHA512.Sum(nil).Hex())}, []uint64{3}},
		{"hash of an envelope", []func() (Condition, error){by(ByHash, digest(4).Hex())}, []uint64{4}},
		{"hash of a statement's subject", []func() (Condition, error){by(ByHash, digest(44).Hex())}, []uint64{4}},
		{"commit of a statement's subject", []func() (Condition, error){by(ByHash, "gitCommit:"+commit)}, []uint64{4}},
		{"hash of a material", []func() (Condition, error){by(ByHash, material)}, []uint64{4}},
		{"hash of nothing", []func() (Condition, error){by(ByHash, digest(99).Hex())}, nil},
		{"email", []func() (Condition, error){by(BySubject, "jane@example.com")}, []uint64{4, 1}},
		{"URI", []func() (Condition, error){by(BySubject, builder("some/thing").Subject)}, []uint64{4, 2}},
		{"user name", []func() (Condition, error){by(BySubject, "joe!Example.com")}, []uint64{3}},
		{"no name", []func() (Condition, error){by(BySubject, "example.com")}, nil},
		{"names of another authority", []func() (Condition, error){by(BySubject, "root@example.org"), by(BySubject, "host.example.com"), by(BySubject, "192.0.2.1")}, []uint64{5}},
		{"issuer", []func() (Condition, error){by(ByIssuer, "https://issuer.example.com")}, []uint64{3}},
		{"issuer and name", []func() (Condition, error){by(ByIssuer, "https://accounts.example.com"), by(BySubject, "jane@example.com")}, []uint64{4, 1}},
		{"issuer and another's name", []func() (Condition, error){by(ByIssuer, "https://issuer.example.com"), by(BySubject, "jane@example.com")}, nil},
		{"repository", []func() (Condition, error){by(ByRepository, "https://github.com/some/thing")}, []uint64{4, 2}},
		{"repository of old", []func() (Condition, error){by(ByRepository, "Some/Thing")}, []uint64{4, 2}},
		{"key", []func() (Condition, error){by(ByKey, hexSum(spki))}, []uint64{0}},
		{"key of a certificate", []func() (Condition, error){by(ByKey, "sha256:"+keyOfJane)}, []uint64{4, 1}},
		{"certificate by hash", []func() (Condition, error){by(ByKey, hexSum(build))}, []uint64{4, 2}},
		{"key in PEM", []func() (Condition, error){pemOf("PUBLIC KEY", spki)}, []uint64{0}},
		{"certificate in PEM", []func() (Condition, error){pemOf("CERTIFICATE", jane)}, []uint64{4, 1}},
		{"all", []func() (Condition, error){by(ByHash, digest(1).Hex()), by(BySubject, "jane@example.com"), by(ByRepository, "some/thing")}, []uint64{4}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, page := range []int{1, 2, 100} {
				if d := cmp.Diff(tt.want, all(t, x, where(t, tt.by...), page)); d != "" {
					t.Errorf("entries (-want +got):\n%s", d)
				}
			}
		})
	}
	for kind, want := range map[string][]uint64{entry.KindDSSE: {4}, entry.KindHashedRekord: {5, 3, 2, 1, 0}, entry.KindInToto: nil} {
		if d := cmp.Diff(want, all(t, x, Query{Kind: kind}, 2)); d != "" {
			t.Errorf("%s (-want +got):\n%s", kind, d)
		}
	}
}

func TestQueryRefused(t *testing.T) {
	x := newLog(t).index(t)
	for name, c := range map[string]func() (Condition, error){
		"no hash": by(ByHash, ""), "hash of no algorithm": by(ByHash, ":"+strings.Repeat("a", 64)), "short hash": by(ByHash, "sha256:abcd"),
		"hash of another length": by(ByHash, "sha512:"+strings.Repeat("a", 64)), "no digits": by(ByHash, strings.Repeat("g", 64)), "digits of no hash": by(ByHash, strings.Repeat("a", 60)),
		"long hash": by(ByHash, "x:"+strings.Repeat("a", 300)), "no subject": by(BySubject, ""), "long subject": by(BySubject, strings.Repeat("a", maxText+1)),
		"no issuer": by(ByIssuer, ""), "no repository": by(ByRepository, ""), "no key": by(ByKey, ""), "short key": by(ByKey, "abcd"), "key of no digits": by(ByKey, strings.Repeat("z", 64)),
		"no PEM": by(func(s string) (Condition, error) { return ByPublicKey([]byte(s)) }, "ssh-ed25519 AAAA"),
		"another PEM": by(func(s string) (Condition, error) { return ByPublicKey([]byte(s)) },
			"-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nAAAA\n-----END PGP PUBLIC KEY BLOCK-----\n"),
		"no RSA key": by(func(s string) (Condition, error) { return ByPublicKey([]byte(s)) }, "-----BEGIN RSA PUBLIC KEY-----\nAAAA\n-----END RSA PUBLIC KEY-----\n"),
	} {
		if _, err := c(); err == nil || sigbox.KindOf(err) != sigbox.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := ByPublicKey(make([]byte, maxKey+1)); err == nil || sigbox.KindOf(err) != sigbox.TooLarge {
		t.Errorf("a large key: %v", err)
	}
	now := time.Now()
	for name, tt := range map[string]struct {
		q    Query
		kind sigbox.Kind
	}{
		"kind": {Query{Kind: "jar"}, sigbox.Invalid}, "times": {Query{After: now, Before: now}, sigbox.Invalid},
		"conditions": {Query{All: make([]Condition, MaxConditions+1)}, sigbox.TooLarge}, "terms": {Query{All: []Condition{make(Condition, MaxTerms+1)}}, sigbox.TooLarge},
	} {
		if _, err := x.Find(t.Context(), tt.q, Newest, 1); err == nil || sigbox.KindOf(err) != tt.kind {
			t.Errorf("%s: %v", name, err)
		}
	}
	// A condition without terms holds for nothing.
	if f, err := x.Find(t.Context(), Query{All: []Condition{nil}}, Newest, 1); err != nil || f.Next != 0 {
		t.Errorf("%+v, %v", f, err)
	}
}

// said is what an entry of the property says, in the oracle's words.
type said struct {
	kind  string
	at    time.Time
	terms map[string]bool
}

// world has what entries are made of.
type world struct {
	certificates [][]byte
	identities   []sigbox.Identity
	keys         [][]byte
}

func newWorld(t *testing.T) *world {
	w := &world{}
	for _, id := range []sigbox.Identity{person("a@example.com"), person("B@example.com"), builder("x/y"), builder("x/z"), {Issuer: "https://other.example.com", Kind: sigbox.EmailSAN, Subject: "a@example.com"}} {
		w.identities = append(w.identities, id)
		w.certificates = append(w.certificates, newCertificate(t, id))
	}
	for range 2 {
		_, spki := newKey(t)
		w.keys = append(w.keys, spki)
	}
	return w
}

// entry draws an entry.
func (w *world) entry(t *testing.T, r *rand.Rand, at time.Time) (leaf []byte, s said) {
	digest := sigbox.SHA256.Sum([]byte{byte(r.IntN(6))})
	s = said{kind: entry.KindHashedRekord, at: at, terms: map[string]bool{"hash " + digest.Hex(): true}}
	certify := func() []byte {
		i := r.IntN(len(w.certificates))
		id := w.identities[i]
		s.terms["subject "+strings.ToLower(id.Subject)] = true
		s.terms["issuer "+id.Issuer] = true
		s.terms["repository "+id.Extensions.SourceRepositoryURI] = true
		s.terms["key "+hexSum(w.certificates[i])] = true
		return w.certificates[i]
	}
	e := sigbox.Entry{Digest: digest, Signature: binary.BigEndian.AppendUint64(nil, r.Uint64())}
	switch r.IntN(4) {
	case 0:
		s.kind = entry.KindDSSE
		envelope := sigbox.SHA256.Sum(e.Signature)
		s.terms["hash "+envelope.Hex()] = true
		return leafDSSE(envelope, digest, certify(), certify()), s
	case 1:
		i := r.IntN(len(w.keys))
		s.terms["key "+hexSum(w.keys[i])] = true
		e.PublicKey = w.keys[i]
		return leafV2(t, e), s
	case 2:
		e.Certificate = certify()
		return leafV1(e), s
	}
	e.Certificate = certify()
	return leafV2(t, e), s
}

// query draws a query, and what it asks in the oracle's words: any of each.
func (w *world) query(t *rapid.T, first, last time.Time) (q Query, asked [][]string) {
	digest := func() string { return sigbox.SHA256.Sum([]byte{byte(rapid.IntRange(0, 6).Draw(t, "digest"))}).Hex() }
	id := func() sigbox.Identity { return rapid.SampledFrom(w.identities).Draw(t, "identity") }
	term := func() (Condition, string) {
		var c Condition
		var err error
		var text string
		switch rapid.SampledFrom([]string{"hash", "subject", "issuer", "repository", "key"}).Draw(t, "term") {
		case "hash":
			d := digest()
			c, err = ByHash(d)
			text = "hash " + d
		case "subject":
			s := id().Subject
			c, err = BySubject(s)
			text = "subject " + strings.ToLower(s)
		case "issuer":
			s := id().Issuer
			c, err = ByIssuer(s)
			text = "issuer " + s
		case "repository":
			s := "https://github.com/x/" + rapid.SampledFrom([]string{"y", "z", "none"}).Draw(t, "repository")
			c, err = ByRepository(s)
			text = "repository " + s
		case "key":
			s := hexSum(rapid.SampledFrom(slices.Concat(w.keys, w.certificates)).Draw(t, "key"))
			c, err = ByKey(s)
			text = "key " + s
		}
		if err != nil {
			t.Fatal(err)
		}
		return c, text
	}
	for range rapid.IntRange(0, 3).Draw(t, "conditions") {
		var all Condition
		var texts []string
		for range rapid.IntRange(1, 2).Draw(t, "terms") {
			c, text := term()
			all, texts = append(all, c...), append(texts, text)
		}
		q.All, asked = append(q.All, all), append(asked, texts)
	}
	q.Kind = rapid.SampledFrom([]string{"", "", entry.KindHashedRekord, entry.KindDSSE, entry.KindRFC3161}).Draw(t, "kind")
	span := int(last.Sub(first)/time.Second) + 2
	if rapid.Bool().Draw(t, "after") {
		q.After = first.Add(time.Duration(rapid.IntRange(-1, span).Draw(t, "from")) * time.Second)
	}
	if rapid.Bool().Draw(t, "before") {
		q.Before = first.Add(time.Duration(rapid.IntRange(-1, span).Draw(t, "to")) * time.Second)
	}
	if !q.After.IsZero() && !q.After.Before(q.Before) {
		q.Before = time.Time{}
	}
	return q, asked
}

// holds is the oracle.
func (s *said) holds(q Query, asked [][]string) bool {
	if q.Kind != "" && q.Kind != s.kind || !q.After.IsZero() && s.at.Before(q.After) || !q.Before.IsZero() && !s.at.Before(q.Before) {
		return false
	}
	return !slices.ContainsFunc(asked, func(any []string) bool {
		return !slices.ContainsFunc(any, func(text string) bool { return s.terms[text] })
	})
}

// What the index finds is what looking at every entry finds, for any entries and
// queries, pages and bounds of work, while the log grows, and whether rows came with
// the entries or later.
func TestFindsWhatThereIs(t *testing.T) {
	w := newWorld(t)
	r := rand.New(rand.NewPCG(1, 2)) // #nosec G404 -- the same each time
	l := newLog(t)
	var log []said
	grow := func(n int, add func(leaf []byte)) {
		for range n {
			leaf, s := w.entry(t, r, l.now)
			add(leaf)
			log = append(log, s)
			if r.IntN(3) == 0 {
				l.now = l.now.Add(time.Duration(r.IntN(3)) * time.Second)
			}
		}
	}
	grow(300, func(leaf []byte) { l.addBare(t, leaf) })
	l.reopen(t)
	x := l.index(t)
	if from := x.CompleteFrom(); from != uint64(len(log)) {
		t.Fatalf("complete from %d on: expected %d", from, len(log))
	}
	grow(200, func(leaf []byte) { l.add(t, leaf, nil) })
	checkFinds(t, w, x, log)
	must(t, x.Run(t.Context()))
	if x.CompleteFrom() != 0 {
		t.Fatalf("complete from %d on", x.CompleteFrom())
	}
	checkFinds(t, w, x, log)
	if report, err := tlog.Check(t.Context(), l.cfg, tlog.CheckOptions{}); err != nil || !report.OK() {
		t.Fatalf("%+v, %v", report, err)
	}
	rapid.Check(t, func(t *rapid.T) { // while it grows
		x.work = rapid.SampledFrom([]int{1200, maxWork}).Draw(t, "work")
		q, asked := w.query(t, log[0].at, l.now)
		var want, found []uint64
		size := len(log)
		for below := uint64(Newest); below > 0; {
			f, err := x.Find(t.Context(), q, below, rapid.IntRange(1, 50).Draw(t, "page"))
			if err != nil || len(f.Indexes) == 0 && f.Next >= min(below, x.cfg.Log.Head().Size) && f.Next > 0 {
				t.Fatalf("below %d: %+v, %v", below, f, err)
			}
			found, below = append(found, f.Indexes...), f.Next
			if len(log) < 1500 {
				grow(1, func(leaf []byte) {
					b, err := entry.ParseBody(leaf)
					if err == nil {
						_, err = l.Add(t.Context(), tlog.Leaf{Data: leaf, Rows: Rows(b, nil)})
					}
					if err != nil {
						t.Fatal(err)
					}
				})
			}
		}
		for i := range size {
			if log[i].holds(q, asked) {
				want = append(want, uint64(i))
			}
		}
		slices.Reverse(want)
		if d := cmp.Diff(want, found, cmpopts.EquateEmpty()); d != "" {
			t.Fatalf("%v of %+v (-want +got):\n%s", asked, q, d)
		}
	})
}

// checkFinds compares the index with the oracle, down to where it is complete.
func checkFinds(t *testing.T, w *world, x *Index, log []said) {
	t.Helper()
	rapid.Check(t, func(t *rapid.T) {
		q, asked := w.query(t, log[0].at, log[len(log)-1].at)
		x.work = rapid.SampledFrom([]int{1200, maxWork}).Draw(t, "work")
		var want, found []uint64
		for i := int(x.CompleteFrom()); i < len(log); i++ {
			if log[i].holds(q, asked) {
				want = append(want, uint64(i))
			}
		}
		slices.Reverse(want)
		for below := uint64(Newest); below > 0; {
			f, err := x.Find(t.Context(), q, below, rapid.IntRange(1, 50).Draw(t, "page"))
			if err != nil || len(f.Indexes) == 0 && f.Next >= min(below, x.cfg.Log.Head().Size) && f.Next > 0 {
				t.Fatalf("below %d: %+v, %v", below, f, err)
			}
			found, below = append(found, f.Indexes...), f.Next
		}
		found = slices.DeleteFunc(found, func(i uint64) bool { return i < x.CompleteFrom() })
		if d := cmp.Diff(want, found, cmpopts.EquateEmpty()); d != "" {
			t.Fatalf("%v of %+v (-want +got):\n%s", asked, q, d)
		}
	})
}
