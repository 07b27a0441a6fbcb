package differential

import (
	"crypto"
	"crypto/x509"
	"fmt"
	"iter"
	"math"
	"strings"
	"testing"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/sigboxtest"
	"github.com/sigbox/sigbox/wire/trust"
)

const (
	artifact  = "an artifact\n"
	predicate = "https://example.com/predicate/v1"
)

// shape is a kind of bundle that is good.
type shape struct {
	name      string
	statement bool
	options   sigboxtest.Options
	change    func(*sigbox.Bundle) // what else makes it of this kind, nil for nothing
	light     bool                 // differs from another by its algorithm alone: fewer mutations
}

func shapes(w *sigboxtest.World) []shape {
	key := w.Key(sigbox.ECDSAP256SHA256)
	promiseAlone := func(b *sigbox.Bundle) { b.Entries[0].Inclusion = nil }
	noCheckpoint := func(b *sigbox.Bundle) { b.Entries[0].Inclusion.Checkpoint = "" }
	out := []shape{
		{name: "v2"},
		{name: "v2-dsse", statement: true},
		{name: "v2-dsse-0.0.2", statement: true, options: sigboxtest.Options{Kind: "dsse 0.0.2"}},
		{name: "v2-twice", options: sigboxtest.Options{Twice: true}, light: true},
		{name: "v2-key", options: sigboxtest.Options{Key: key}},
		{name: "v2-key-dsse", statement: true, options: sigboxtest.Options{Key: key}},
		{name: "v1", options: sigboxtest.Options{Kind: "hashedrekord 0.0.1"}},
		{name: "v1-0.2", options: sigboxtest.Options{Kind: "hashedrekord 0.0.1", Version: 2, NoTimestamp: true}},
		{name: "v1-0.1", options: sigboxtest.Options{Kind: "hashedrekord 0.0.1", Version: 1, NoTimestamp: true}},
		{name: "v1-0.1-promise-alone", options: sigboxtest.Options{Kind: "hashedrekord 0.0.1", Version: 1, NoTimestamp: true}, change: promiseAlone},
		{name: "v1-0.1-no-checkpoint", options: sigboxtest.Options{Kind: "hashedrekord 0.0.1", Version: 1, NoTimestamp: true}, change: noCheckpoint},
		{name: "v1-dsse", statement: true, options: sigboxtest.Options{Kind: "dsse 0.0.1", NoTimestamp: true}},
		{name: "v1-intoto-0.2", statement: true, options: sigboxtest.Options{Kind: "intoto 0.0.2", Version: 2, NoTimestamp: true}},
		{name: "v1-key", options: sigboxtest.Options{Kind: "hashedrekord 0.0.1", Key: key}},
	}
	for _, k := range []sigbox.KeyDetails{
		sigbox.ECDSAP384SHA384, sigbox.ECDSAP521SHA512, sigbox.ECDSAP384SHA256, sigbox.ECDSAP521SHA256, sigbox.Ed25519, sigbox.Ed25519ph,
		sigbox.RSAPKCS1v15With2048, sigbox.RSAPKCS1v15With3072, sigbox.RSAPKCS1v15With4096, sigbox.RSAPSSWith2048, sigbox.RSAPSSWith3072, sigbox.RSAPSSWith4096,
	} {
		out = append(out, shape{name: "v2-" + k.String(), options: sigboxtest.Options{Details: k}, light: true},
			shape{name: "v1-dsse-" + k.String(), statement: true, options: sigboxtest.Options{Details: k, Kind: "dsse 0.0.1", NoTimestamp: true}, light: true})
	}
	return out
}

// base is a bundle file with the question that it answers with yes.
type base struct {
	shape
	question
}

// court is a world with the bundles that are judged by its root.
type court struct {
	*sigboxtest.World
	root  string
	bases []base
}

func newCourt(t *testing.T) *court {
	w := sigboxtest.New(t)
	text, err := trust.AppendRoot(nil, w.Root())
	if err != nil {
		t.Fatal(err)
	}
	c := &court{World: w, root: string(text)}
	for _, s := range shapes(w) {
		c.bases = append(c.bases, base{s, c.ask(s.name, s, s.options, artifact)})
	}
	return c
}

// ask signs a bundle of a shape and asks about it.
func (c *court) ask(name string, s shape, o sigboxtest.Options, content string) question {
	var b *sigbox.Bundle
	if s.statement {
		b = c.Attest(sigboxtest.Statement(predicate, []byte(content)), o)
	} else {
		b = c.Sign([]byte(content), o)
	}
	if s.change != nil {
		s.change(b)
	}
	ada := sigboxtest.DefaultIdentity()
	q := question{name: name, root: c.root, bundle: sigboxtest.File(b), artifact: []byte(artifact), subject: ada.Subject, issuer: ada.Issuer}
	if o.Key != nil {
		q.key = spki(o.Key)
	}
	return q
}

func spki(key crypto.Signer) []byte {
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		panic(err) // a key that sigboxtest made
	}
	return der
}

// variants are questions about what was done to a base: other questions, faults,
// mutations and parts of other bundles. About n of them are mutations; 0 is all.
func (c *court) variants(b base, n int, seed uint64) iter.Seq[question] {
	return func(yield func(question) bool) {
		for _, some := range []iter.Seq[question]{c.others(b), c.faults(b), c.swaps(b), c.mutations(b, n, seed)} {
			for q := range some {
				if !yield(q) {
					return
				}
			}
		}
	}
}

// others ask another question about the same bundle.
func (c *court) others(b base) iter.Seq[question] {
	return func(yield func(question) bool) {
		q := b.question
		q.name, q.artifact = b.question.name+"? another artifact", []byte("another artifact\n")
		if !yield(q) {
			return
		}
		if q = b.question; q.key != nil {
			q.name, q.key = q.name+"? another key", spki(c.Key(sigbox.ECDSAP256SHA256))
			yield(q)
			return
		}
		q.name, q.subject = b.question.name+"? another subject", "mallory@example.com"
		if !yield(q) {
			return
		}
		q = b.question
		q.name, q.issuer = q.name+"? another issuer", "https://other.example"
		yield(q)
	}
}

// faults are bundles of the same shape with a fault each.
func (c *court) faults(b base) iter.Seq[question] {
	return func(yield func(question) bool) {
		for _, f := range sigboxtest.Faults() {
			o := b.options
			o.Fault = f
			if b.light || b.change != nil || !f.Possible(o, b.statement) {
				continue
			}
			if !yield(c.ask(b.question.name+" fault "+f.Name, b.shape, o, artifact)) {
				return
			}
		}
	}
}

// swaps put parts of another bundle of the same shape into this one: of another
// artifact by the same signer, of the same artifact by another.
func (c *court) swaps(b base) iter.Seq[question] {
	return func(yield func(question) bool) {
		other := b.options
		if other.Key != nil {
			other.Key = c.Key(sigbox.ECDSAP256SHA256)
		} else {
			other.Identity = sigbox.Identity{Issuer: "https://id.example", Subject: "mallory@example.com", Kind: sigbox.EmailSAN}
		}
		for _, from := range []question{
			c.ask("same signer", b.shape, b.options, "another artifact\n"), c.ask("other signer", b.shape, other, artifact),
		} {
			for m := range sigboxtest.Swaps(b.bundle, from.bundle) {
				q := b.question
				q.name, q.bundle = fmt.Sprintf("%s swap %s %s", q.name, m.Name(), from.name), m.Bundle
				if !yield(q) {
					return
				}
			}
		}
	}
}

func (c *court) mutations(b base, n int, seed uint64) iter.Seq[question] {
	n = sampleSize(n)
	if b.light {
		n = min(n/8+1, 64)
	}
	return func(yield func(question) bool) {
		for m := range sigboxtest.Sample(sigboxtest.Mutations(b.bundle, seed), n, seed) {
			q := b.question
			q.name, q.bundle = mutationName(q.name, m), m.Bundle
			if !yield(q) {
				return
			}
		}
	}
}

// sampleSize has 0 mean all.
func sampleSize(n int) int {
	if n == 0 {
		return math.MaxInt32
	}
	return n
}

func mutationName(base string, m sigboxtest.Mutation) string {
	return base + " mutation " + strings.TrimPrefix(m.Name(), "/verificationMaterial")
}
