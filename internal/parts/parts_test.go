package parts

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/fixture"
	"github.com/sigbox/sigbox/wire/trust"
)

// config makes a ClientTrustConfig with a log of a key.
func config(t *testing.T, key crypto.Signer, change func(root *sigbox.TrustedRoot, c *sigbox.SigningConfig)) []byte {
	t.Helper()
	root := &sigbox.TrustedRoot{CTLogs: []sigbox.TransparencyLog{log(t, key, "https://logs.example/ctlog", sigbox.TimeRange{Start: time.Unix(1e9, 0)})}}
	c := &sigbox.SigningConfig{LogSelector: sigbox.Selector{Mode: "ANY"}, TSASelector: sigbox.Selector{Mode: "ANY"}}
	if change != nil {
		change(root, c)
	}
	a, err := trust.AppendRoot(nil, root)
	if err != nil {
		t.Fatal(err)
	}
	b, err := trust.AppendSigningConfig(nil, c)
	if err != nil {
		t.Fatal(err)
	}
	both, err := trust.AppendClientTrustConfig(nil, a, b)
	if err != nil {
		t.Fatal(err)
	}
	return both
}

func spki(t *testing.T, key crypto.PublicKey) []byte {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func log(t *testing.T, key crypto.Signer, url string, valid sigbox.TimeRange) sigbox.TransparencyLog {
	t.Helper()
	der := spki(t, key.Public())
	return sigbox.TransparencyLog{BaseURL: url, HashAlgorithm: sigbox.SHA256, Details: sigbox.ECDSAP256SHA256, PublicKey: der, LogID: sigbox.SHA256.Sum(der).Value, ValidFor: valid}
}

// speaker is a host that says something.
type speaker struct {
	Host
	*Publisher
	clock *fixture.Clock
}

func newSpeaker(t *testing.T, path string) *speaker {
	t.Helper()
	key := fixture.Key(t)
	s := &speaker{clock: fixture.NewClock(time.Unix(1_800_000_000, 0))}
	id, err := Fingerprint(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	s.Host = Host{URL: "https://logs.example", Key: id, Roles: []string{roleCTLog}}
	if s.Publisher, err = NewPublisher(PublisherConfig{Key: key, Path: path, Now: s.clock.Now}); err != nil {
		t.Fatal(err)
	}
	return s
}

// says gives what the host says, signed.
func (s *speaker) says(t *testing.T, part []byte) []byte {
	t.Helper()
	if part != nil {
		if err := s.Set(part, nil); err != nil {
			t.Fatal(err)
		}
	}
	b, err := s.Signed()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestNewestWins: of what a host says the newest counts, whoever brings an older one and
// whenever; also after a restart on either side.
func TestNewestWins(t *testing.T) {
	key, dir := fixture.Key(t), t.TempDir()
	s := newSpeaker(t, filepath.Join(dir, "signed"))
	copies := NewCopies(filepath.Join(dir, "copies"))
	take := func(raw []byte, want bool, kind sigbox.Kind) {
		t.Helper()
		said, isNew, err := copies.Open(s.Host, raw, s.clock.Now())
		if sigbox.KindOf(err) != kind || err != nil && kind == 0 || isNew != want {
			t.Fatalf("expected %v, %v, found %v, %v", want, kind, isNew, err)
		}
		if err == nil {
			if err := copies.Keep(s.Host, raw, said, s.clock.Now()); err != nil {
				t.Fatal(err)
			}
		}
	}
	first := s.says(t, config(t, key, nil))
	take(first, true, 0)
	take(first, false, 0)
	s.clock.Add(FreshFor)
	again := s.says(t, nil)
	if bytes.Equal(first, again) {
		t.Error("it is not signed again")
	}
	take(again, false, 0)
	take(first, false, sigbox.Conflict)
	s.clock.Add(-48 * time.Hour)
	second := s.says(t, config(t, fixture.Key(t), nil))
	take(second, true, 0)
	copies = NewCopies(filepath.Join(dir, "copies"))
	take(again, false, sigbox.Conflict)
	take(second, false, 0)
	p, err := NewPublisher(PublisherConfig{Key: s.cfg.Key, Path: s.cfg.Path, Now: s.clock.Now})
	if err != nil {
		t.Fatal(err)
	}
	s.Publisher = p
	take(s.says(t, config(t, key, nil)), true, 0)
	l := new(List)
	if err := copies.Add(l, []Host{s.Host}, nil); err != nil || len(l.Parts) != 1 || len(l.Missing) != 0 || l.Err() != nil {
		t.Errorf("found %+v, %v", l, err)
	}
	if err := copies.Notice([]Host{s.Host}, s.clock.Now()); err != nil {
		t.Errorf("it is fresh: %v", err)
	}
	if err := copies.Notice([]Host{s.Host}, s.clock.Now().Add(StaleAfter+time.Hour)); err == nil {
		t.Error("nobody is told that it is old")
	}
	hosts := []Host{s.Host}
	for _, x := range []struct {
		err     error
		changed bool
		refused string
	}{
		{sigbox.Errorf(sigbox.Unavailable, "away"), true, ""},
		{sigbox.Errorf(sigbox.Unavailable, "gone"), false, ""},
		{sigbox.Errorf(sigbox.Denied, "no"), true, "not taken, and the one before stays"}, // while it was away already
		{nil, true, ""},
		{nil, false, ""},
	} {
		if changed := copies.Note(s.Host, x.err); changed != x.changed {
			t.Errorf("%v: it is told: %t", x.err, changed)
		}
		if why := copies.Refused(hosts); (why == nil) != (x.refused == "") || why != nil && !strings.Contains(why.Error(), x.refused) {
			t.Errorf("%v: found %v", x.err, why)
		}
	}
	none := NewCopies(t.TempDir())
	none.Note(s.Host, sigbox.Errorf(sigbox.NotVerified, "another key"))
	if why := none.Refused(hosts); why == nil || strings.Contains(why.Error(), "before") || none.Notice(hosts, s.clock.Now()) != nil {
		t.Errorf("one that was never heard: %v", why)
	}
}

// TestOthersAreNotBelieved: what another key has signed, what was changed on its way, and
// what speaks of more than the host's roles.
func TestOthersAreNotBelieved(t *testing.T) {
	key := fixture.Key(t)
	s, thief := newSpeaker(t, filepath.Join(t.TempDir(), "a")), newSpeaker(t, filepath.Join(t.TempDir(), "b"))
	good := s.says(t, config(t, key, nil))
	var e map[string][]byte
	if err := json.Unmarshal(good, &e); err != nil {
		t.Fatal(err)
	}
	with := func(name string, value []byte) []byte {
		b, err := json.Marshal(map[string][]byte{"payload": e["payload"], "publicKey": e["publicKey"], "signature": e["signature"], name: value})
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	more := func(change func(root *sigbox.TrustedRoot, c *sigbox.SigningConfig)) []byte {
		return s.says(t, config(t, key, change))
	}
	for name, c := range map[string]struct {
		raw  []byte
		kind sigbox.Kind
	}{
		"another key":        {thief.says(t, config(t, key, nil)), sigbox.NotVerified},
		"another key's name": {with("publicKey", spki(t, thief.cfg.Key.Public())), sigbox.NotVerified},
		"other words":        {with("payload", bytes.Replace(e["payload"], []byte("logs.example"), []byte("evil.example"), 1)), sigbox.NotVerified},
		"no signature":       {with("signature", nil), sigbox.NotVerified},
		"more members":       {with("more", nil), sigbox.Invalid},
		"nothing":            {nil, sigbox.Invalid},
		"too much":           {make([]byte, MaxSigned+1), sigbox.TooLarge},
		"no such scheme": {more(func(root *sigbox.TrustedRoot, _ *sigbox.SigningConfig) {
			root.CTLogs[0].BaseURL = "file://x"
		}), sigbox.Invalid},
		"another role's log": {more(func(root *sigbox.TrustedRoot, _ *sigbox.SigningConfig) {
			root.Logs = root.CTLogs
		}), sigbox.Denied},
		"another role's service": {more(func(_ *sigbox.TrustedRoot, c *sigbox.SigningConfig) {
			c.OIDC = []sigbox.Service{{URL: "https://evil.example", MajorAPIVersion: 1, Operator: "x", ValidFor: sigbox.TimeRange{Start: time.Unix(1, 0)}}}
		}), sigbox.Denied},
		"services without end": {more(func(_ *sigbox.TrustedRoot, c *sigbox.SigningConfig) {
			for i := range maxServices + 1 {
				c.Logs = append(c.Logs, sigbox.Service{URL: fmt.Sprintf("https://log%d.example", i), MajorAPIVersion: 2, Operator: "x", ValidFor: sigbox.TimeRange{Start: time.Unix(1, 0)}})
			}
		}), sigbox.TooLarge},
	} {
		if _, _, err := NewCopies(t.TempDir()).Open(s.Host, c.raw, s.clock.Now()); sigbox.KindOf(err) != c.kind {
			t.Errorf("%s: expected %v, found %v", name, c.kind, err)
		}
	}
	if err := s.Set(config(t, key, nil), &TUF{URL: "https://evil.example", Root: []byte("{}")}); err != nil {
		t.Fatal(err)
	}
	if _, _, err := NewCopies(t.TempDir()).Open(s.Host, s.says(t, nil), s.clock.Now()); sigbox.KindOf(err) != sigbox.Denied {
		t.Errorf("where the trust root is: %v", err)
	}
}

// TestDamagedCopy: what is kept of a host and is damaged, or of a key that the settings
// name no more, is as if there were none.
func TestDamagedCopy(t *testing.T) {
	dir := t.TempDir()
	s := newSpeaker(t, filepath.Join(dir, "signed"))
	copies := NewCopies(filepath.Join(dir, "copies"))
	raw := s.says(t, config(t, fixture.Key(t), nil))
	said, _, err := copies.Open(s.Host, raw, s.clock.Now())
	if err != nil {
		t.Fatal(err)
	}
	if err := copies.Keep(s.Host, raw, said, s.clock.Now()); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(copies.path(s.Host), raw[:len(raw)/2], 0o600); err != nil {
		t.Fatal(err)
	}
	l := new(List)
	if err := NewCopies(filepath.Join(dir, "copies")).Add(l, []Host{s.Host}, nil); err != nil || len(l.Parts) != 0 || len(l.Missing) != 1 || l.Err() == nil {
		t.Errorf("found %+v, %v", l, err)
	}
}

func TestHostCheck(t *testing.T) {
	good := Host{URL: "https://logs.example:8443", Key: keyPrefix + strings.Repeat("ab", 32), Roles: []string{roleLog}, CAFile: "/ca.pem"}
	if err := good.Check(); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*Host){
		"a path":            func(h *Host) { h.URL += "/x" },
		"no scheme":         func(h *Host) { h.URL = "logs.example" },
		"a user":            func(h *Host) { h.URL = "https://me@logs.example" },
		"no key":            func(h *Host) { h.Key = "" },
		"a short key":       func(h *Host) { h.Key = h.Key[:70] },
		"a key in capitals": func(h *Host) { h.Key = keyPrefix + strings.Repeat("AB", 32) },
		"no roles":          func(h *Host) { h.Roles = nil },
		"a relative file":   func(h *Host) { h.CAFile = "ca.pem" },
		"a file for http":   func(h *Host) { h.URL = "http://logs.example" },
	} {
		h := good
		if change(&h); sigbox.KindOf(h.Check()) != sigbox.Invalid {
			t.Errorf("%s: %v", name, h.Check())
		}
	}
}

// TestLost: a log, an authority, and the end of either that clients have seen are not
// taken back; an end that comes is.
func TestLost(t *testing.T) {
	end := time.Unix(1_800_000_000, 0)
	l := log(t, fixture.Key(t), "https://a", sigbox.TimeRange{Start: end.Add(-time.Hour)})
	ended, later := l, l
	ended.ValidFor.End, later.ValidFor.End = end, end.Add(time.Second)
	ca := func(l sigbox.TransparencyLog) sigbox.CertificateAuthority {
		return sigbox.CertificateAuthority{URI: "https://ca", Chain: [][]byte{l.PublicKey}, ValidFor: l.ValidFor}
	}
	for name, c := range map[string]struct {
		was, will []sigbox.TransparencyLog
		lost      int
	}{
		"the same":      {[]sigbox.TransparencyLog{ended}, []sigbox.TransparencyLog{ended}, 0},
		"it ends":       {[]sigbox.TransparencyLog{l}, []sigbox.TransparencyLog{ended}, 0},
		"it ends early": {[]sigbox.TransparencyLog{later}, []sigbox.TransparencyLog{ended}, 0},
		"gone":          {[]sigbox.TransparencyLog{l}, nil, 1},
		"no end":        {[]sigbox.TransparencyLog{ended}, []sigbox.TransparencyLog{l}, 1},
		"a later end":   {[]sigbox.TransparencyLog{ended}, []sigbox.TransparencyLog{later}, 1},
	} {
		root := func(logs []sigbox.TransparencyLog) *sigbox.TrustedRoot {
			r := &sigbox.TrustedRoot{Logs: logs, CTLogs: logs}
			for _, l := range logs {
				r.CertificateAuthorities = append(r.CertificateAuthorities, ca(l))
			}
			r.TimestampAuthorities = r.CertificateAuthorities
			return r
		}
		if lost := Lost(root(c.was), root(c.will)); len(lost) != 4*c.lost {
			t.Errorf("%s: found %q", name, lost)
		}
	}
}

// TestV2BeginsLast: whichever host was started first, sigstore-js writes to the log of v2.
func TestV2BeginsLast(t *testing.T) {
	at := func(version int, hour int) sigbox.Service {
		return sigbox.Service{URL: "https://log", MajorAPIVersion: version, ValidFor: sigbox.TimeRange{Start: time.Unix(int64(hour)*3600, 0)}}
	}
	for _, logs := range [][]sigbox.Service{{at(1, 5), at(2, 1)}, {at(2, 1), at(1, 5), at(1, 3)}, {at(1, 1), at(2, 5)}} {
		c := &trust.ClientTrustConfig{Root: new(sigbox.TrustedRoot), Signing: &sigbox.SigningConfig{Logs: logs[:1]}}
		other := Part{ClientTrustConfig: &trust.ClientTrustConfig{Root: new(sigbox.TrustedRoot), Signing: &sigbox.SigningConfig{Logs: logs[1:]}}}
		if err := (&List{Parts: []Part{other}}).AddTo(c); err != nil {
			t.Fatal(err)
		}
		first := slices.MaxFunc(c.Signing.Logs, func(a, b sigbox.Service) int { return a.ValidFor.Start.Compare(b.ValidFor.Start) })
		if first.MajorAPIVersion != 2 || c.Signing.Logs[0].MajorAPIVersion != 2 {
			t.Errorf("found %+v", c.Signing.Logs)
		}
		if v2 := c.Signing.Logs[0]; !slices.ContainsFunc(logs, func(s sigbox.Service) bool { return s.MajorAPIVersion == 2 && s.ValidFor == v2.ValidFor }) {
			t.Errorf("a host with a log of v1 has changed that of v2: %+v", v2)
		}
	}
}

// TestChangesAreBounded: a host that says another thing again and again does not fill the
// disk of those who pass it on; what is signed anew and says the same counts for nothing,
// nor does what was not used.
func TestChangesAreBounded(t *testing.T) {
	dir := t.TempDir()
	s := newSpeaker(t, filepath.Join(dir, "signed"))
	copies := NewCopies(filepath.Join(dir, "copies"))
	key := fixture.Key(t)
	said := 0
	hear := func(changed bool, kind sigbox.Kind) {
		t.Helper()
		if changed {
			said++
		}
		for range 2 { // what was heard and not used is heard again
			s.clock.Add(FreshFor / 100)
			raw := s.says(t, config(t, key, func(root *sigbox.TrustedRoot, _ *sigbox.SigningConfig) {
				root.CTLogs[0].BaseURL += strings.Repeat("x", said)
			}))
			part, isNew, err := copies.Open(s.Host, raw, s.clock.Now())
			if sigbox.KindOf(err) != kind || err == nil && isNew != changed {
				t.Fatalf("change %d: found %v, %v", said, isNew, err)
			}
			if err != nil {
				continue
			}
			if err := copies.Keep(s.Host, raw, part, s.clock.Now()); err != nil {
				t.Fatal(err)
			}
			changed = false
		}
	}
	hear(true, 0)
	for range MaxChanges {
		hear(true, 0)
		hear(false, 0)
	}
	hear(true, sigbox.TooLarge)
	said--
	hear(false, 0)
	s.clock.Add(changesWithin)
	hear(true, 0)
	for range MaxChanges - 1 {
		hear(true, 0)
	}
	hear(true, sigbox.TooLarge)
	s.clock.Add(-2 * changesWithin) // it was wrong
	hear(true, 0)
}

// FuzzOpen: whatever a host answers is taken as its own or refused with a reason.
func FuzzOpen(f *testing.F) {
	f.Add([]byte(`{"payload":"e30=","publicKey":"","signature":""}`))
	f.Add([]byte(`{"payload":null}`))
	f.Add([]byte("[]"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, err := open(b, fingerprint(nil)); err == nil || sigbox.KindOf(err) == sigbox.Internal {
			t.Errorf("found %v", err)
		}
	})
}
