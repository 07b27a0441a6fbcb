package sigbox_test

import (
	"strings"
	"testing"
	"time"

	"github.com/sigbox/sigbox"
)

func TestHashes(t *testing.T) {
	t.Parallel()
	for _, h := range []sigbox.HashAlgorithm{sigbox.SHA256, sigbox.SHA384, sigbox.SHA512} {
		d := h.Sum([]byte("x"))
		byName, named := sigbox.HashByName(h.String())
		byWire, wired := sigbox.HashByName(h.WireName())
		bySize, sized := sigbox.HashBySize(h.Size())
		if !h.Valid() || !d.Valid() || d.IsZero() || !named || !wired || !sized || byName != h || byWire != h || bySize != h || h.Crypto().Size() != len(d.Value) {
			t.Errorf("%v: found %v, %v, %v", h, byName, byWire, bySize)
		}
	}
	for _, h := range []sigbox.HashAlgorithm{0, 4, 255} {
		if h.Valid() || h.Size() != 0 || h.Crypto() != 0 || h.String() != "unknown" || h.WireName() != "HASH_ALGORITHM_UNSPECIFIED" {
			t.Errorf("%d: known as %v", h, h)
		}
	}
	for _, name := range []string{"", "sha1", "SHA256", "sha256 "} {
		if h, ok := sigbox.HashByName(name); ok || h != 0 {
			t.Errorf("%s: found %v", name, h)
		}
	}
	for _, size := range []int{0, 20, 33} {
		if h, ok := sigbox.HashBySize(size); ok || h != 0 {
			t.Errorf("%d bytes: found %v", size, h)
		}
	}
}

// TestDigestEqual: only what is a digest is equal to it.
func TestDigestEqual(t *testing.T) {
	t.Parallel()
	a, b := sigbox.SHA256.Sum([]byte("a")), sigbox.SHA256.Sum([]byte("b"))
	if !a.Equal(a) || a.Equal(b) {
		t.Error("a digest is equal to itself and to no other")
	}
	if relabelled := (sigbox.Digest{Algorithm: sigbox.SHA384, Value: a.Value}); a.Equal(relabelled) || relabelled.Equal(a) || relabelled.Valid() {
		t.Error("the same bytes by another algorithm")
	}
	short := sigbox.Digest{Algorithm: sigbox.SHA256, Value: a.Value[:31]}
	if short.Equal(short) || short.Valid() || short.IsZero() {
		t.Error("a digest that is too short")
	}
	none := sigbox.Digest{}
	if none.Equal(none) || none.Valid() || !none.IsZero() || (sigbox.Digest{Value: a.Value}).IsZero() || (sigbox.Digest{Algorithm: sigbox.SHA256}).IsZero() {
		t.Error("no digest")
	}
	if unknown := (sigbox.Digest{Algorithm: 9}); unknown.Equal(unknown) || unknown.Valid() {
		t.Error("a digest of no algorithm")
	}
}

func TestParseDigest(t *testing.T) {
	t.Parallel()
	d := sigbox.SHA256.Sum([]byte("a"))
	if found, err := sigbox.ParseDigest(d.String()); err != nil || !found.Equal(d) {
		t.Errorf("found %v, %v", found, err)
	}
	if found, err := sigbox.ParseNamedDigest(d.String()); err != nil || found != d.Named() {
		t.Errorf("found %v, %v", found, err)
	}
	for name, text := range map[string]string{
		"nothing": "", "no colon": "sha256", "no algorithm": ":" + d.Hex(), "no value": "sha256:",
		"cut": d.String()[:70], "longer": d.String() + "00", "upper case": "sha256:" + strings.ToUpper(d.Hex()), "no hex": "sha256:" + strings.Repeat("x", 64),
		"of another length": "sha384:" + d.Hex(), "an odd digit more": d.String() + "0",
	} {
		_, err := sigbox.ParseDigest(text)
		refused(t, name, err, sigbox.Invalid, "digest")
		_, err = sigbox.ParseNamedDigest(text)
		refused(t, name+", named", err, sigbox.Invalid, "digest")
		refused(t, name+", as text", new(sigbox.NamedDigest).UnmarshalText([]byte(text)), sigbox.Invalid, "digest")
	}
	// That is how no algorithm is printed.
	_, err := sigbox.ParseDigest("unknown:")
	refused(t, "unknown", err, sigbox.Invalid, "expected sha256:")
	// The names of the wire and of algorithms unknown are no names of digests, but
	// statements may have them.
	for name, text := range map[string]string{"wire name": "SHA2_256:" + d.Hex(), "a weak hash": "sha1:00"} {
		_, err := sigbox.ParseDigest(text)
		refused(t, name, err, sigbox.Invalid, "expected sha256:")
		if found, err := sigbox.ParseNamedDigest(text); err != nil || found.String() != text {
			t.Errorf("%s: found %v, %v", name, found, err)
		}
	}
	for _, git := range []string{"gitCommit:", "gitTree:", "gitBlob:", "gitTag:"} {
		for n := range 70 {
			text := git + strings.Repeat("0a", n)
			if _, err := sigbox.ParseNamedDigest(text); (err == nil) != (n == 20 || n == 32) {
				t.Errorf("%s: %v", text, err)
			}
		}
		_, err := sigbox.ParseNamedDigest(git + strings.Repeat("0A", 20))
		refused(t, "upper case", err, sigbox.Invalid, "lower-case")
		_, err = sigbox.ParseNamedDigest(git + strings.Repeat("0a", 20) + "0")
		refused(t, "an odd digit", err, sigbox.Invalid, "lower-case")
	}
	for _, text := range []string{"SHA256:" + d.Hex(), "gitcommit:" + strings.Repeat("0", 40)} {
		_, err := sigbox.ParseNamedDigest(text)
		refused(t, "another case", err, sigbox.Invalid, "there is no algorithm")
	}
	for name, text := range map[string]string{"a space": "git:a b", "a line end": "git:a\n", "not ASCII": "git:ä", "DEL": "git:\x7f", "endless": "git:" + strings.Repeat("a", 600), "no name": ":value", "no value": "git:", "no colon": "git"} {
		_, err := sigbox.ParseNamedDigest(text)
		refused(t, name, err, sigbox.Invalid, "expected the name of an algorithm")
	}
}

// TestTimeRange: both ends are included, and an open end is no end.
func TestTimeRange(t *testing.T) {
	t.Parallel()
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	end := start.Add(time.Hour)
	both, from, until := sigbox.TimeRange{Start: start, End: end}, sigbox.TimeRange{Start: start}, sigbox.TimeRange{End: end}
	for name, c := range map[string]struct {
		r    sigbox.TimeRange
		at   time.Time
		want bool
	}{
		"start": {both, start, true}, "end": {both, end, true}, "before": {both, start.Add(-1), false}, "after": {both, end.Add(1), false},
		"from, after": {from, end.AddDate(100, 0, 0), true}, "from, before": {from, start.Add(-1), false},
		"until, before": {until, start.AddDate(-100, 0, 0), true}, "until, after": {until, end.Add(1), false},
		"always": {sigbox.TimeRange{}, start, true},
	} {
		if c.r.Contains(c.at) != c.want {
			t.Errorf("%s: not %v", name, c.want)
		}
	}
	all := []sigbox.TimeRange{both, from, until, {}}
	for i, r := range all {
		if r.IsZero() != (i == 3) {
			t.Errorf("%v: open at both ends is %v", r, r.IsZero())
		}
		for j, o := range all {
			if r.Equal(o) != (i == j) {
				t.Errorf("%v and %v: equal is %v", r, o, r.Equal(o))
			}
		}
	}
}

// TestPolicyEqual: each part counts.
func TestPolicyEqual(t *testing.T) {
	t.Parallel()
	start := sigbox.TimeRange{Start: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
	full := func() sigbox.Policy {
		return sigbox.Policy{
			Identities: []sigbox.IdentityMatch{{Subject: "ada"}}, Keys: []sigbox.PublicKey{{Key: []byte("key")}}, Threshold: 1,
			PredicateTypes: []string{"*"}, Conditions: []string{"true"}, Digests: []sigbox.NamedDigest{{Algorithm: "git", Value: "1"}},
		}
	}
	p := full()
	if !p.Equal(full()) || !p.Equal(p.Clone()) {
		t.Error("a policy is not equal to its like")
	}
	for name, change := range map[string]func(p *sigbox.Policy){
		"identities":  func(p *sigbox.Policy) { p.Identities[0].Issuer = "x" },
		"key":         func(p *sigbox.Policy) { p.Keys[0].Key[0]++ },
		"algorithm":   func(p *sigbox.Policy) { p.Keys[0].Details = sigbox.Ed25519 },
		"key's time":  func(p *sigbox.Policy) { p.Keys[0].ValidFor = start },
		"threshold":   func(p *sigbox.Policy) { p.Threshold = 2 },
		"types":       func(p *sigbox.Policy) { p.PredicateTypes[0] = "x" },
		"conditions":  func(p *sigbox.Policy) { p.Conditions[0] = "false" },
		"digests":     func(p *sigbox.Policy) { p.Digests[0].Value = "2" },
		"signed":      func(p *sigbox.Policy) { p.Signed = start },
		"demands":     func(p *sigbox.Policy) { p.Demands.SCTs = 1 },
		"another key": func(p *sigbox.Policy) { p.Keys = append(p.Keys, p.Keys[0]) },
	} {
		other := p.Clone()
		change(&other)
		if p.Equal(other) || other.Equal(p) {
			t.Errorf("%s: no difference seen", name)
		}
		if !p.Equal(full()) {
			t.Fatalf("%s: a clone shares it", name)
		}
	}
	// The larger of each number is demanded.
	a, b := sigbox.Demands{LogEntries: 1, Times: 2}, sigbox.Demands{Times: 1, SCTs: 3}
	if want := (sigbox.Demands{LogEntries: 1, Times: 2, SCTs: 3}); a.AtLeast(b) != want || b.AtLeast(a) != want {
		t.Errorf("found %v and %v", a.AtLeast(b), b.AtLeast(a))
	}
}
