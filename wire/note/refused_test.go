package note_test

import (
	"bytes"
	"crypto/ecdh"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/binary"
	"math"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/wire/note"
)

// TestOpenBounds: a note is read up to its bounds and not beyond.
func TestOpenBounds(t *testing.T) {
	const name = "log.example"
	s := signer(t, name, ecdsaKey(t, elliptic.P256()))
	cp := checkpoint(name)
	_, sigs, err := note.Parse(sign(t, cp, s))
	if err != nil {
		t.Fatal(err)
	}
	other := note.Signature{Name: "other", Hash: 1, Bytes: []byte("signature")}
	repeat := func(n int, one note.Signature) []note.Signature {
		all := make([]note.Signature, n)
		for i := range all {
			all[i] = one
		}
		return all
	}
	long := other
	long.Bytes = make([]byte, note.MaxSize)
	for what, c := range map[string]struct {
		sigs []note.Signature
		kind sigbox.Kind
		want string // "" is no error
	}{
		"one":                       {sigs, 0, ""},
		"four of the key":           {repeat(4, sigs[0]), 0, ""},
		"five of the key":           {repeat(5, sigs[0]), sigbox.TooLarge, "more than 4 signatures"},
		"a hundred":                 {append(repeat(99, other), sigs[0]), 0, ""},
		"a hundred and one":         {append(repeat(100, other), sigs[0]), sigbox.TooLarge, "101 signatures"},
		"one that is too long":      {append(repeat(1, long), sigs[0]), sigbox.TooLarge, "at most"},
		"one without a signature":   {append(repeat(1, note.Signature{Name: "other", Hash: 1}), sigs[0]), sigbox.Invalid, "not base64 of a key ID and a signature"},
		"of a name with a plus":     {append(repeat(1, note.Signature{Name: "a+b", Hash: 1, Bytes: []byte("s")}), sigs[0]), sigbox.Invalid, "expected a signature line"},
		"of the key's name, no key": {repeat(1, note.Signature{Name: name, Hash: 1, Bytes: sigs[0].Bytes}), sigbox.NotVerified, "no signature by the key"},
		"of the key, another name":  {repeat(1, note.Signature{Name: "other", Hash: sigs[0].Hash, Bytes: sigs[0].Bytes}), sigbox.NotVerified, "no signature by the key"},
		"one good, one bad":         {append(repeat(1, sigs[0]), note.Signature{Name: name, Hash: sigs[0].Hash, Bytes: []byte("bad")}), sigbox.NotVerified, "does not verify"},
	} {
		_, err := note.Open(string(note.Append(nil, cp, c.sigs)), s.Verifier())
		if (err == nil) != (c.want == "") || err != nil && (sigbox.KindOf(err) != c.kind || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: found %v, expected %q", what, err, c.want)
		}
	}
	good := string(note.Append(nil, cp, sigs))
	for what, text := range map[string]string{
		"a size with a sign":       strings.Replace(good, "\n736\n", "\n+736\n", 1),
		"a size with a zero":       strings.Replace(good, "\n736\n", "\n0736\n", 1),
		"no size":                  strings.Replace(good, "\n736\n", "\n\n", 1),
		"a size of 64 bits":        strings.Replace(good, "\n736\n", "\n9223372036854775808\n", 1),
		"no dash":                  strings.Replace(good, "— ", "", 1),
		"a line with no signature": good + "— other\n",
		"no line feed at the end":  strings.TrimSuffix(good, "\n"),
		"no signature":             good[:strings.Index(good, "— ")],
		"not base64":               good + "— other !!!!\n",
		"not base64 at its end":    good + "— other AAAAAAAAAAAAAAAA!!!!\n",
		"a root of 33 bytes":       strings.Replace(good, base64.StdEncoding.EncodeToString(cp.Root[:]), base64.StdEncoding.EncodeToString(make([]byte, 33)), 1),
		"a root with a stranger":   strings.Replace(good, base64.StdEncoding.EncodeToString(cp.Root[:]), strings.Repeat("A", 42)+"!=", 1),
	} {
		if cp, err := note.Open(text, s.Verifier()); sigbox.KindOf(err) != sigbox.Invalid {
			t.Errorf("%s: found %+v, %v", what, cp, err)
		}
	}
}

// TestEd25519Length: a signature of another length is refused before it is used.
func TestEd25519Length(t *testing.T) {
	s := signer(t, "log.example", ed25519Key(t))
	cp := checkpoint("log.example")
	for _, n := range []int{1, 63, 65} {
		text := note.Append(nil, cp, []note.Signature{{Name: s.Name(), Hash: s.KeyHash(), Bytes: make([]byte, n)}})
		if _, err := note.Open(string(text), s.Verifier()); sigbox.KindOf(err) != sigbox.NotVerified {
			t.Errorf("%d bytes: found %v", n, err)
		}
	}
}

// TestTreeHeadCovers: a tree head covers neither origin nor extensions, so they can
// have one value alone.
func TestTreeHeadCovers(t *testing.T) {
	const name = "ct.example"
	s, err := note.NewTreeHeadSigner(name, ecdsaKey(t, elliptic.P256()))
	if err != nil {
		t.Fatal(err)
	}
	cp := checkpoint(name)
	_, sigs, err := note.Parse(sign(t, cp, s))
	if err != nil {
		t.Fatal(err)
	}
	for what, change := range map[string]func(cp *sigbox.Checkpoint){
		"another origin": func(cp *sigbox.Checkpoint) { cp.Origin = "other" },
		"an extension":   func(cp *sigbox.Checkpoint) { cp.Extensions = []string{"more"} },
		"another size":   func(cp *sigbox.Checkpoint) { cp.Size++ },
	} {
		other := cp
		change(&other)
		if _, err := note.Open(string(note.Append(nil, other, sigs)), s.Verifier()); sigbox.KindOf(err) != sigbox.NotVerified {
			t.Errorf("%s: found %v", what, err)
		}
		if what != "another size" {
			if text, err := note.SignAt(other, time.Now(), s); err == nil {
				t.Errorf("%s: signed as %s", what, text)
			}
		}
	}
	head := sigs[0].Bytes
	for what, b := range map[string][]byte{
		"cut":          head[:len(head)-1],
		"too short":    head[:11],
		"more behind":  append(head[:len(head):len(head)], 0),
		"another hash": append(append(bytes.Clone(head[:8]), 2), head[9:]...),
		"RSA":          append(append(bytes.Clone(head[:9]), 1), head[10:]...),
		"before 1970":  append(binary.BigEndian.AppendUint64(nil, math.MaxInt64+1), head[8:]...),
	} {
		if th, err := note.ParseTreeHead(b); sigbox.KindOf(err) != sigbox.Invalid {
			t.Errorf("%s: found %+v, %v", what, th, err)
		}
		text := note.Append(nil, cp, []note.Signature{{Name: s.Name(), Hash: s.KeyHash(), Bytes: b}})
		if _, err := note.Open(string(text), s.Verifier()); sigbox.KindOf(err) != sigbox.NotVerified {
			t.Errorf("%s: found %v", what, err)
		}
	}
}

// TestKeysRefused: logs sign with Ed25519 or ECDSA, certificate logs with ECDSA.
func TestKeysRefused(t *testing.T) {
	agreement, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	wide := &rsa.PublicKey{N: new(big.Int).SetBit(big.NewInt(1), 2047, 1), E: 65537}
	for what, key := range map[string]any{"RSA": wide, "X25519": agreement.Public(), "none": nil, "Ed25519, cut": ed25519.PublicKey(make([]byte, 31))} {
		if _, err := note.NewVerifier("log.example", key); sigbox.KindOf(err) != sigbox.Invalid {
			t.Errorf("%s: found %v", what, err)
		}
		if _, err := note.NewRekorV1Verifier(key); sigbox.KindOf(err) != sigbox.Invalid {
			t.Errorf("%s, Rekor v1: found %v", what, err)
		}
		if _, err := note.NewTreeHeadVerifier("log.example", key); sigbox.KindOf(err) != sigbox.Invalid {
			t.Errorf("%s, a certificate log: found %v", what, err)
		}
	}
	if _, err := note.NewTreeHeadVerifier("log.example", ed25519Key(t).Public()); sigbox.KindOf(err) != sigbox.Invalid {
		t.Errorf("found %v, expected a certificate log's Ed25519 key to be refused", err)
	}
	if _, err := note.NewTreeHeadVerifier("no name", ecdsaKey(t, elliptic.P256()).Public()); sigbox.KindOf(err) != sigbox.Invalid {
		t.Errorf("found %v, expected the name to be refused", err)
	}
	if _, err := note.TreeHeadID("log.example", "no key"); sigbox.KindOf(err) != sigbox.Invalid {
		t.Errorf("found %v, expected no ID of what is no key", err)
	}
}
