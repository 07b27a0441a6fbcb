package tufroot_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"
	"github.com/theupdateframework/go-tuf/v2/metadata/trustedmetadata"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/wire/tufroot"
)

func ecKey(t testing.TB) crypto.Signer {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func edKey(t testing.TB) crypto.Signer {
	t.Helper()
	_, k, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func policy(t testing.TB, threshold int, signers ...crypto.Signer) tufroot.Policy {
	t.Helper()
	p := tufroot.Policy{Threshold: threshold}
	for _, s := range signers {
		k, err := tufroot.NewKey(s.Public())
		if err != nil {
			t.Fatal(err)
		}
		p.Keys = append(p.Keys, k)
	}
	return p
}

var expires = time.Date(2027, 1, 2, 3, 4, 5, 0, time.UTC)

func newRoot(t testing.TB, version int64, root tufroot.Policy, online crypto.Signer, signers ...crypto.Signer) *tufroot.Root {
	t.Helper()
	r, err := tufroot.New(version, expires, root, policy(t, 1, online))
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range signers {
		if err := r.Sign(s); err != nil {
			t.Fatal(err)
		}
	}
	return r
}

func file(t testing.TB, r *tufroot.Root) []byte {
	t.Helper()
	b, err := r.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestRoundTrip: what is written is read again, gives the same bytes, and is what TUF's
// library takes.
func TestRoundTrip(t *testing.T) {
	a, b, online := ecKey(t), edKey(t), ecKey(t)
	r := newRoot(t, 1, policy(t, 2, a, b), online, b, a, b)
	bytes1 := file(t, r)
	got, err := tufroot.Parse(bytes1)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(file(t, got), bytes1) {
		t.Error("written again it is another one")
	}
	if got.Version != 1 || !got.Expires.Equal(expires) || !got.Root.Equal(policy(t, 2, b, a)) {
		t.Errorf("unexpected root %+v", got)
	}
	if p, one := got.Online(); !one || !p.Equal(policy(t, 1, online)) {
		t.Errorf("unexpected online keys %+v", p)
	}
	if err := got.Check(got.Root); err != nil {
		t.Error(err)
	}
	if _, err := trustedmetadata.New(bytes1); err != nil {
		t.Error(err)
	}
}

// TestFollows agrees with TUF's library on which roots follow which.
func TestFollows(t *testing.T) {
	a, b, c, online := ecKey(t), ecKey(t), edKey(t), ecKey(t)
	old := newRoot(t, 1, policy(t, 2, a, b), online, a, b)
	for _, tt := range []struct {
		what    string
		next    *tufroot.Root
		follows bool
	}{
		{"the same keys", newRoot(t, 2, policy(t, 2, a, b), online, a, b), true},
		{"one of two", newRoot(t, 2, policy(t, 2, a, b), online, a), false},
		{"one of two, and a stranger", newRoot(t, 2, policy(t, 2, a, b), online, a, c), false},
		{"another version", newRoot(t, 3, policy(t, 2, a, b), online, a, b), false},
		{"the same version", newRoot(t, 1, policy(t, 2, a, b), online, a, b), false},
		{"new keys, by both", newRoot(t, 2, policy(t, 1, c), online, a, b, c), true},
		{"new keys, by the old alone", newRoot(t, 2, policy(t, 1, c), online, a, b), false},
		{"new keys, by the new alone", newRoot(t, 2, policy(t, 1, c), online, c), false},
		{"a lower threshold, by it alone", newRoot(t, 2, policy(t, 1, a, b), online, a), false},
		{"a higher threshold", newRoot(t, 2, policy(t, 3, a, b, c), online, a, b, c), true},
		{"a higher threshold, not met", newRoot(t, 2, policy(t, 3, a, b, c), online, a, b), false},
	} {
		err := tufroot.Follows(old, tt.next)
		if (err == nil) != tt.follows {
			t.Errorf("%s: found %v", tt.what, err)
		}
		set, setErr := trustedmetadata.New(file(t, old))
		if setErr != nil {
			t.Fatal(setErr)
		}
		if _, libErr := set.UpdateRoot(file(t, tt.next)); (libErr == nil) != (err == nil) {
			t.Errorf("%s: found %v, and TUF's library %v", tt.what, err, libErr)
		}
	}
}

// TestCheckSignatures: nothing travels with a root that nobody asked for.
func TestCheckSignatures(t *testing.T) {
	a, b, stranger, online := ecKey(t), edKey(t), ecKey(t), ecKey(t)
	r := newRoot(t, 1, policy(t, 2, a, b), online, a)
	if err := r.CheckSignatures(r.Root); err != nil {
		t.Error(err)
	}
	if err := r.Sign(stranger); err != nil {
		t.Fatal(err)
	}
	if err := r.CheckSignatures(r.Root); err == nil || sigbox.KindOf(err) != sigbox.NotVerified {
		t.Errorf("a stranger's signature was let through: %v", err)
	}
	if err := r.CheckSignatures(r.Root, policy(t, 1, stranger)); err != nil {
		t.Error(err)
	}
	text := string(file(t, newRoot(t, 1, policy(t, 2, a, b), online, a)))
	other, err := tufroot.Parse([]byte(strings.Replace(text, `"version": 1`, `"version": 2`, 1)))
	if err != nil {
		t.Fatal(err)
	}
	if err := other.CheckSignatures(other.Root); err == nil {
		t.Error("a wrong signature was let through")
	}
}

func TestNewRefuses(t *testing.T) {
	a, online := ecKey(t), policy(t, 1, ecKey(t))
	many := make([]crypto.Signer, tufroot.MaxKeys+1)
	for i := range many {
		many[i] = edKey(t)
	}
	for what, p := range map[string]tufroot.Policy{
		"no keys": {Threshold: 1}, "threshold 0": policy(t, 0, a), "below 0": policy(t, -1, a), "more than there are": policy(t, 2, a),
		"a key twice": policy(t, 1, a, a), "too many": policy(t, 1, many...),
	} {
		if _, err := tufroot.New(1, expires, p, online); err == nil {
			t.Errorf("%s: made", what)
		}
		if _, err := tufroot.New(1, expires, online, p); err == nil {
			t.Errorf("%s for the online roles: made", what)
		}
	}
	for _, version := range []int64{0, -1, tufroot.MaxVersion + 1} {
		if _, err := tufroot.New(version, expires, online, online); err == nil {
			t.Errorf("version %d: made", version)
		}
	}
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	for _, pub := range []crypto.PublicKey{p384.Public(), rsaKey.Public(), nil, "x", ed25519.PublicKey{1}} {
		if _, err := tufroot.NewKey(pub); err == nil {
			t.Errorf("%T was taken", pub)
		}
	}
}

// TestGHSA3633DuplicateKeys, go-tuf GHSA-3633-5h82-39pq: one key under several IDs or in
// several forms counts once, which here means that it is not read.
func TestGHSA3633DuplicateKeys(t *testing.T) {
	a, b, online := ecKey(t), edKey(t), ecKey(t)
	r := newRoot(t, 1, policy(t, 2, a, b), online)
	var v map[string]any
	if err := json.Unmarshal(file(t, r), &v); err != nil {
		t.Fatal(err)
	}
	signed := v["signed"].(map[string]any)
	keys, roles := signed["keys"].(map[string]any), signed["roles"].(map[string]any)
	aID := policy(t, 1, a).Keys[0].ID
	for what, entry := range map[string]func(e map[string]any) string{
		"another ID": func(map[string]any) string { return strings.Repeat("0", 64) },
		"the other type's name": func(e map[string]any) string {
			e["keytype"] = metadata.KeyTypeECDSA_SHA2_P256_COMPAT
			return ""
		},
		"another scheme": func(e map[string]any) string {
			e["scheme"] = "ecdsa-sha2-nistp384"
			return ""
		},
		"another line end": func(e map[string]any) string {
			value := e["keyval"].(map[string]any)
			value["public"] = value["public"].(string) + "\n"
			return ""
		},
	} {
		raw, _ := json.Marshal(keys[aID])
		var e map[string]any
		_ = json.Unmarshal(raw, &e)
		id := entry(e)
		if id == "" {
			k := &metadata.Key{Type: e["keytype"].(string), Scheme: e["scheme"].(string), Value: metadata.KeyVal{PublicKey: e["keyval"].(map[string]any)["public"].(string)}}
			var err error
			if id, err = k.ID(); err != nil {
				t.Fatal(err)
			}
		}
		keys[id] = e
		role := roles["root"].(map[string]any)
		before := role["keyids"]
		role["keyids"] = append([]any{id}, before.([]any)...)
		again, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tufroot.Parse(again); err == nil {
			t.Errorf("%s: read", what)
		}
		role["keyids"] = before
		delete(keys, id)
	}
}

// TestParseRefuses breaks a root in one place at a time.
func TestParseRefuses(t *testing.T) {
	a, b, online := ecKey(t), edKey(t), ecKey(t)
	good := string(file(t, newRoot(t, 3, policy(t, 1, a, b), online, a, b)))
	aID := policy(t, 1, a).Keys[0].ID
	bPublic := hex.EncodeToString(b.Public().(ed25519.PublicKey))
	for what, change := range map[string][2]string{
		"another role":            {`"_type": "root"`, `"_type": "targets"`},
		"another specification":   {`"spec_version": "1.`, `"spec_version": "2.`},
		"version 0":               {`"version": 3`, `"version": 0`},
		"a version below 0":       {`"version": 3`, `"version": -3`},
		"a version beyond":        {`"version": 3`, `"version": 2147483648`},
		"a version that is a sum": {`"version": 3`, `"version": 3.5`},
		"an unknown member":       {`"version": 3`, `"version": 3, "x": 1`},
		"a member twice":          {`"version": 3`, `"version": 3, "version": 4`},
		"another case":            {`"version": 3`, `"Version": 3`},
		"parts of a second":       {`05Z"`, `05.5Z"`},
		"no snapshots":            {`"consistent_snapshot": true`, `"consistent_snapshot": false`},
		"a threshold of 0":        {`"threshold": 1`, `"threshold": 0`},
		"a threshold too high":    {`"threshold": 1`, `"threshold": 9`},
		"a short key":             {bPublic, bPublic[:62]},
		"another key":             {bPublic, strings.Repeat("00", 32)},
		"a key in capitals":       {bPublic, strings.ToUpper(bPublic)},
		"an unknown key":          {`"keyids": [`, `"keyids": ["` + strings.Repeat("1", 64) + `",`},
		"a key twice":             {`"keyids": [`, `"keyids": ["` + aID + `","` + aID + `",`},
		"null":                    {`"roles": {`, `"roles": {"mirrors": null,`},
		"another role more":       {`"roles": {`, `"roles": {"mirrors": {"keyids":["` + aID + `"],"threshold":1},`},
		"a null key":              {`"keys": {`, `"keys": {"` + strings.Repeat("2", 64) + `": null,`},
		"a signature twice":       {`"signatures": [`, `"signatures": [{"keyid":"` + aID + `","sig":"00"},{"keyid":"` + aID + `","sig":"00"},`},
		"a signature of no key":   {`"signatures": [`, `"signatures": [{"keyid":"x","sig":"00"},`},
		"a signature without hex": {`"signatures": [`, `"signatures": [{"keyid":"` + strings.Repeat("3", 64) + `","sig":"zz"},`},
		"a long signature":        {`"signatures": [`, `"signatures": [{"keyid":"` + strings.Repeat("3", 64) + `","sig":"` + strings.Repeat("00", 1000) + `"},`},
		"more after it":           {"\n}\n", "\n}\n{}"},
	} {
		bad := strings.Replace(good, change[0], change[1], 1)
		if bad == good {
			t.Errorf("%s: %q is not there", what, change[0])
		}
		if _, err := tufroot.Parse([]byte(bad)); err == nil {
			t.Errorf("%s: read", what)
		} else if sigbox.KindOf(err) != sigbox.Invalid {
			t.Errorf("%s: expected Invalid, found %v", what, err)
		}
	}
	if _, err := tufroot.Parse(bytes.Repeat([]byte(" "), tufroot.MaxSize+1)); sigbox.KindOf(err) != sigbox.TooLarge || err == nil {
		t.Errorf("expected TooLarge, found %v", err)
	}
	if _, err := tufroot.Parse([]byte(good)); err != nil {
		t.Error(err)
	}
}

// FuzzParse: what is read is written again as something that is read as the same, and
// what TUF's library would refuse for its shape is refused.
func FuzzParse(f *testing.F) {
	a, b, online := ecKey(f), edKey(f), ecKey(f)
	good := file(f, newRoot(f, 1, policy(f, 2, a, b), online, a, b))
	f.Add(good)
	f.Add([]byte(`{"signatures":[],"signed":{"_type":"root"}}`))
	f.Add(bytes.Replace(good, []byte("ed25519"), []byte("rsa"), 1))
	f.Fuzz(func(t *testing.T, in []byte) {
		r, err := tufroot.Parse(in)
		if err != nil {
			return
		}
		out := file(t, r)
		again, err := tufroot.Parse(out)
		if err != nil {
			t.Fatalf("written again it is not read: %v", err)
		}
		if !bytes.Equal(file(t, again), out) || again.Version != r.Version || !again.Expires.Equal(r.Expires) || !again.Root.Equal(r.Root) {
			t.Fatal("written again it is another one")
		}
		if r.Check(r.Root) == nil {
			if _, err := trustedmetadata.New(in); err != nil {
				t.Fatalf("TUF's library refuses it: %v", err)
			}
		}
	})
}

func Example() {
	key, online := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)), must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	root := must(tufroot.New(1, expires, tufroot.Only(must(tufroot.NewKey(key.Public()))), tufroot.Only(must(tufroot.NewKey(online.Public())))))
	fmt.Println("before:", root.Check(root.Root) == nil)
	if err := root.Sign(key); err != nil {
		panic(err)
	}
	fmt.Println("signed:", root.Check(root.Root) == nil)
	// Output:
	// before: false
	// signed: true
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
