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
	"io"
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
	wanted := map[string]string{
		"no keys": "expected 1 to 32 keys", "too many": "expected 1 to 32 keys", "a key twice": "a key is named twice",
		"threshold 0": "expected a threshold", "below 0": "expected a threshold", "more than there are": "expected a threshold",
	}
	for what, p := range map[string]tufroot.Policy{
		"no keys": {Threshold: 1}, "threshold 0": policy(t, 0, a), "below 0": policy(t, -1, a), "more than there are": policy(t, 2, a),
		"a key twice": policy(t, 1, a, a), "too many": policy(t, 1, many...),
	} {
		for _, roles := range [][2]tufroot.Policy{{p, online}, {online, p}} {
			if _, err := tufroot.New(1, expires, roles[0], roles[1]); err == nil || !strings.Contains(err.Error(), wanted[what]) {
				t.Errorf("%s: expected %q, found %v", what, wanted[what], err)
			}
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

// TestParseRefuses breaks a root in one place at a time, and hears of that place.
func TestParseRefuses(t *testing.T) {
	a, b, online := ecKey(t), edKey(t), ecKey(t)
	good := string(file(t, newRoot(t, 3, policy(t, 1, a, b), online, a, b)))
	aID := policy(t, 1, a).Keys[0].ID
	bPublic := hex.EncodeToString(b.Public().(ed25519.PublicKey))
	ones, threes := strings.Repeat("1", 64), strings.Repeat("3", 64)
	const (
		signatures = "expected signatures of keys by their IDs"
		malformed  = "TUF root: "
		noKey      = "a key that is none"
		form       = "a key that is not written as expected"
	)
	for what, tt := range map[string]struct{ old, new, want string }{
		"another role":            {`"_type": "root"`, `"_type": "targets"`, "metadata of another role: expected root, found targets"},
		"another specification":   {`"spec_version": "1.`, `"spec_version": "2.`, "the version of the specification"},
		"version 0":               {`"version": 3`, `"version": 0`, "expected a version from 1"},
		"a version below 0":       {`"version": 3`, `"version": -3`, "expected a version from 1"},
		"a version beyond":        {`"version": 3`, `"version": 2147483648`, "expected a version from 1"},
		"a version that is a sum": {`"version": 3`, `"version": 3.5`, malformed},
		"an unknown member":       {`"version": 3`, `"version": 3, "x": 1`, malformed},
		"a member twice":          {`"version": 3`, `"version": 3, "version": 4`, malformed},
		"another case":            {`"version": 3`, `"Version": 3`, malformed},
		"no end":                  {"2027-01-02T03:04:05Z", "0001-01-01T00:00:00Z", "an end of its validity"},
		"parts of a second":       {`05Z"`, `05.5Z"`, "an end of its validity"},
		"no snapshots":            {`"consistent_snapshot": true`, `"consistent_snapshot": false`, "consistent snapshots"},
		"a threshold of 0":        {`"threshold": 1`, `"threshold": 0`, "expected a threshold from 1"},
		"a threshold too high":    {`"threshold": 1`, `"threshold": 9`, "expected a threshold from 1"},
		"a short key":             {bPublic, bPublic[:62], noKey},
		"a key that is no hex":    {bPublic, strings.Repeat("zz", 32), noKey},
		"another key":             {bPublic, strings.Repeat("00", 32), form},
		"a key in capitals":       {bPublic, strings.Repeat("AB", 32), noKey},
		"no PEM":                  {"-----BEGIN PUBLIC KEY-----", "-----BEGIN", "a key that cannot be read"},
		"an unknown key":          {`"keyids": [`, `"keyids": ["` + ones + `",`, "names a key that is not there"},
		"a key twice":             {`"keyids": [`, `"keyids": ["` + aID + `","` + aID + `",`, "a key is named twice"},
		"null":                    {`"roles": {`, `"roles": {"mirrors": null,`, "expected four roles"},
		"another role more":       {`"roles": {`, `"roles": {"mirrors": {"keyids":["` + aID + `"],"threshold":1},`, "expected four roles"},
		"a role less":             {`"snapshot": {`, `"mirrors": {`, "it says nothing of the role snapshot"},
		"a null key":              {`"keys": {`, `"keys": {"` + strings.Repeat("2", 64) + `": null,`, noKey},
		"a signature twice":       {`"signatures": [`, `"signatures": [{"keyid":"` + aID + `","sig":"00"},{"keyid":"` + aID + `","sig":"00"},`, signatures},
		"a signature of no key":   {`"signatures": [`, `"signatures": [{"keyid":"00","sig":"00"},`, signatures},
		"a signature of no hex":   {`"signatures": [`, `"signatures": [{"keyid":"` + strings.Repeat("x", 64) + `","sig":"00"},`, signatures},
		"a signature without hex": {`"signatures": [`, `"signatures": [{"keyid":"` + threes + `","sig":"zz"},`, "it is malformed"},
		"a long signature":        {`"signatures": [`, `"signatures": [{"keyid":"` + threes + `","sig":"` + strings.Repeat("00", 1000) + `"},`, signatures},
		"more after it":           {"\n}\n", "\n}\n{}", malformed},
	} {
		bad := strings.Replace(good, tt.old, tt.new, 1)
		if bad == good {
			t.Errorf("%s: %q is not there", what, tt.old)
		}
		_, err := tufroot.Parse([]byte(bad))
		if err == nil || sigbox.KindOf(err) != sigbox.Invalid || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: expected it to be invalid with %q, found %v", what, tt.want, err)
		}
	}
	if _, err := tufroot.Parse([]byte(good)); err != nil {
		t.Error(err)
	}
}

// TestParseTooLarge: what is too much is told as that, before it is looked at.
func TestParseTooLarge(t *testing.T) {
	a, online := ecKey(t), ecKey(t)
	good := string(file(t, newRoot(t, 1, policy(t, 1, a), online, a)))
	var signatures, keys strings.Builder
	for i := range 2*tufroot.MaxKeys + 1 {
		fmt.Fprintf(&signatures, `{"keyid":"%064x","sig":"00"},`, i)
	}
	for i := range 4*tufroot.MaxKeys + 1 {
		fmt.Fprintf(&keys, `"%064x":null,`, i)
	}
	for what, in := range map[string]string{
		"a large file":    strings.Repeat(" ", tufroot.MaxSize+1),
		"many signatures": strings.Replace(good, `"signatures": [`, `"signatures": [`+signatures.String(), 1),
		"many keys":       strings.Replace(good, `"keys": {`, `"keys": {`+keys.String(), 1),
	} {
		_, err := tufroot.Parse([]byte(in))
		if err == nil || sigbox.KindOf(err) != sigbox.TooLarge {
			t.Errorf("%s: expected it to be too large, found %v", what, err)
		}
	}
}

// TestParseKeys: a key has one form and one ID, is one that all clients can use, and
// belongs to a role.
func TestParseKeys(t *testing.T) {
	a, online, other := ecKey(t), ecKey(t), ecKey(t)
	good := file(t, newRoot(t, 1, policy(t, 1, a), online, a))
	aID := policy(t, 1, a).Keys[0].ID
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for what, tt := range map[string]struct {
		change func(keys map[string]map[string]any)
		want   string
	}{
		"the other type's name": {func(keys map[string]map[string]any) { keys[aID]["keytype"] = metadata.KeyTypeECDSA_SHA2_P256_COMPAT }, "not written as expected"},
		"another scheme":        {func(keys map[string]map[string]any) { keys[aID]["scheme"] = "ecdsa-sha2-nistp384" }, "not written as expected"},
		"another line end": {func(keys map[string]map[string]any) {
			value := keys[aID]["keyval"].(map[string]any)
			value["public"] = value["public"].(string) + "\n"
		}, "not written as expected"},
		"a key of no role":      {func(keys map[string]map[string]any) { put(t, keys, other.Public()) }, "no keys besides theirs"},
		"a key of P-384":        {func(keys map[string]map[string]any) { put(t, keys, p384.Public()) }, "TUF cannot use this key"},
		"a key under another's": {func(keys map[string]map[string]any) { keys[strings.Repeat("0", 64)] = keys[aID] }, "under another's ID"},
	} {
		var v map[string]any
		if err := json.Unmarshal(good, &v); err != nil {
			t.Fatal(err)
		}
		signed := v["signed"].(map[string]any)
		keys := map[string]map[string]any{}
		for id, k := range signed["keys"].(map[string]any) {
			keys[id] = k.(map[string]any)
		}
		tt.change(keys)
		signed["keys"] = keys
		bad, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tufroot.Parse(bad); err == nil || sigbox.KindOf(err) != sigbox.Invalid || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: expected it to be invalid with %q, found %v", what, tt.want, err)
		}
	}
}

// put adds a key by the ID that TUF's library gives it.
func put(t *testing.T, keys map[string]map[string]any, pub crypto.PublicKey) {
	t.Helper()
	k, err := metadata.KeyFromPublicKey(pub)
	if err != nil {
		t.Fatal(err)
	}
	id, err := k.ID()
	if err != nil {
		t.Fatal(err)
	}
	keys[id] = map[string]any{"keytype": k.Type, "scheme": k.Scheme, "keyval": map[string]any{"public": k.Value.PublicKey}}
}

// TestOnline: the other roles have a policy in common, or none is given.
func TestOnline(t *testing.T) {
	one, two := policy(t, 1, ecKey(t)), policy(t, 1, ecKey(t))
	r, err := tufroot.New(1, expires, one, one)
	if err != nil {
		t.Fatal(err)
	}
	if p, ok := r.Online(); !ok || !p.Equal(one) {
		t.Errorf("expected the policy that they have, found %+v", p)
	}
	for what, differ := range map[string]func(*tufroot.Root){
		"targets": func(r *tufroot.Root) { r.Targets = two }, "snapshot": func(r *tufroot.Root) { r.Snapshot = two }, "timestamp": func(r *tufroot.Root) { r.Timestamp = two },
	} {
		other := *r
		differ(&other)
		if _, ok := other.Online(); ok {
			t.Errorf("%s differ, and there is one policy", what)
		}
	}
}

func TestPolicyEqual(t *testing.T) {
	a, b, c := ecKey(t), edKey(t), ecKey(t)
	p := policy(t, 1, a, b)
	if !p.Equal(policy(t, 1, b, a)) {
		t.Error("the order counts")
	}
	for what, o := range map[string]tufroot.Policy{
		"threshold": policy(t, 2, a, b), "one more": policy(t, 1, a, b, c), "one less": policy(t, 1, a), "another": policy(t, 1, a, c),
	} {
		if p.Equal(o) || o.Equal(p) {
			t.Errorf("%s: equal", what)
		}
	}
}

// TestBytes: the order in which keys have signed is not to be seen.
func TestBytes(t *testing.T) {
	signers := []crypto.Signer{edKey(t), edKey(t), edKey(t)}
	p, online := policy(t, 3, signers...), ecKey(t)
	want := file(t, newRoot(t, 1, p, online, signers...))
	for range signers {
		signers = append(signers[1:], signers[0])
		if !bytes.Equal(file(t, newRoot(t, 1, p, online, signers...)), want) {
			t.Error("in another order it is another file")
		}
	}
}

// failing is a key whose source is away.
type failing struct{ crypto.Signer }

func (failing) Sign(io.Reader, []byte, crypto.SignerOpts) ([]byte, error) {
	return nil, sigbox.Errorf(sigbox.Unavailable, "the source is away")
}

// TestSignRefuses: without a signature, or with a key that clients could not use, a root
// stays as it is.
func TestSignRefuses(t *testing.T) {
	a, online := ecKey(t), ecKey(t)
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	r := newRoot(t, 1, policy(t, 1, a), online)
	before := file(t, r)
	if err := r.Sign(failing{a}); err == nil || sigbox.KindOf(err) != sigbox.Unavailable {
		t.Errorf("expected it to be unavailable, found %v", err)
	}
	if err := r.Sign(p384); err == nil || !strings.Contains(err.Error(), "TUF cannot use this key") {
		t.Errorf("a key of P-384 has signed: %v", err)
	}
	if !bytes.Equal(file(t, r), before) {
		t.Error("it was changed all the same")
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
