package ceremony_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/ca"
	"github.com/sigbox/sigbox/internal/ceremony"
	"github.com/sigbox/sigbox/internal/keys"
	"github.com/sigbox/sigbox/internal/tsa"
	wire "github.com/sigbox/sigbox/wire/ceremony"
	"github.com/sigbox/sigbox/wire/tufroot"
)

var now = time.Date(2026, 5, 6, 7, 8, 9, 0, time.UTC)

// place is a desk with keys in files, and counts what they were asked.
type place struct {
	*ceremony.Desk
	t      *testing.T
	dir    string
	opened []string
}

func (p *place) opener(_ context.Context, k ceremony.Key, create bool) (crypto.Signer, error) {
	p.opened = append(p.opened, k.Name)
	path := filepath.Join(p.dir, "keys", k.Name+".pem")
	if create {
		return keys.LoadOrCreate(path, sigbox.ECDSAP256SHA256, nil)
	}
	return keys.Load(path, nil)
}

func newPlace(t *testing.T, n ceremony.NewDesk, names ...string) *place {
	t.Helper()
	p := &place{t: t, dir: t.TempDir()}
	for _, name := range names {
		n.Keys = append(n.Keys, ceremony.Key{Name: name})
	}
	if _, err := ceremony.Create(t.Context(), p.dir, n, p.opener); err != nil {
		t.Fatal(err)
	}
	p.reopen()
	return p
}

func (p *place) reopen() {
	p.t.Helper()
	var err error
	if p.Desk, err = ceremony.Open(p.dir, p.opener); err != nil {
		p.t.Fatal(err)
	}
	p.opened = nil
}

// public gives the public half of a key.
func (p *place) public(name string) crypto.PublicKey {
	p.t.Helper()
	for _, k := range p.Keys() {
		if k.Name == name {
			pub, err := sigbox.ParsePublicKey(k.Public)
			if err != nil {
				p.t.Fatal(err)
			}
			return pub
		}
	}
	p.t.Fatalf("there is no key %s", name)
	return nil
}

// plan plans a file; nothing is opened for that.
func (p *place) plan(file []byte, at time.Time, o ceremony.Options) (*ceremony.Plan, error) {
	p.t.Helper()
	plan, err := p.Plan(file, at, o)
	if len(p.opened) > 0 {
		p.t.Errorf("keys were opened before anybody agreed: %v", p.opened)
	}
	return plan, err
}

// sign signs a file.
func (p *place) sign(file []byte, at time.Time) *ceremony.Signed {
	p.t.Helper()
	plan, err := p.plan(file, at, ceremony.Options{})
	if err != nil {
		p.t.Fatal(err)
	}
	signed, err := plan.Sign(p.t.Context())
	if err != nil {
		p.t.Fatal(err)
	}
	p.opened = nil
	return signed
}

// box is an instance that asks.
type box struct {
	t     *testing.T
	keys  map[string]crypto.Signer
	roots [][]byte
	at    time.Time
	// change makes a request into another before it is proven.
	change func(*wire.Request)
}

func newBox(t *testing.T) *box {
	b := &box{t: t, keys: map[string]crypto.Signer{}, at: now}
	for _, role := range []string{"ca", "tsa", "tuf"} {
		k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		b.keys[role] = k
	}
	return b
}

func (b *box) request(roles ...string) []byte {
	b.t.Helper()
	r := &wire.Request{Instance: "log2026-1.box.example", URL: "https://box.example", Made: b.at}
	for _, role := range roles {
		der, err := x509.MarshalPKIXPublicKey(b.keys[role].Public())
		if err != nil {
			b.t.Fatal(err)
		}
		if role != "tuf" {
			r.Authorities = append(r.Authorities, wire.AuthorityRequest{Authority: wire.Authority(role), Number: 1, Key: der})
			continue
		}
		r.TUF = &wire.TUFRequest{Online: der}
		for _, root := range b.roots {
			if r.TUF.Roots, err = wire.AppendRoot(r.TUF.Roots, root); err != nil {
				b.t.Fatal(err)
			}
		}
	}
	if b.change != nil {
		b.change(r)
	}
	if err := r.Prove(func(role string) (crypto.Signer, error) { return b.keys[role], nil }); err != nil {
		b.t.Fatal(err)
	}
	file, err := r.Bytes()
	if err != nil {
		b.t.Fatal(err)
	}
	return file
}

// take takes a whole answer, as an instance does.
func (b *box) take(file []byte) *wire.Answer {
	b.t.Helper()
	a, err := wire.ParseAnswer(file)
	if err != nil {
		b.t.Fatal(err)
	}
	if missing, err := a.Missing(); err != nil || len(missing) > 0 {
		b.t.Fatalf("it lacks %v, %v", missing, err)
	}
	next, present, err := a.Next()
	if err != nil {
		b.t.Fatal(err)
	}
	if next != nil {
		if present != nil {
			if err := tufroot.Follows(present, next); err != nil {
				b.t.Fatal(err)
			}
		}
		root, err := next.Bytes()
		if err != nil {
			b.t.Fatal(err)
		}
		b.roots = append(b.roots, root)
	}
	return a
}

// TestCeremony: one desk makes everything that an instance needs, and later another
// intermediate and the next root.
func TestCeremony(t *testing.T) {
	d := newPlace(t, ceremony.NewDesk{Organization: "Acme Ltd."}, "ca-root", "tsa-root", "tuf-root")
	b := newBox(t)
	request := b.request("ca", "tsa", "tuf")
	plan, err := d.plan(request, now, ceremony.Options{})
	if err != nil {
		t.Fatal(err)
	}
	shown := strings.Join(plan.Lines, "\n")
	for _, want := range []string{
		"log2026-1.box.example", "https://box.example", "CN=Acme Ltd. intermediate,O=Acme Ltd.", "certify keys for code signing; no further authorities",
		"sign for timestamping; certify nothing", "2026-05-06T07:03:09Z to 2036-05-0", "version 1, good until 2026-11-19T07:08:09Z (197 days)", "1 of 1 keys",
	} {
		if !strings.Contains(shown, want) {
			t.Errorf("%q is not shown:\n%s", want, shown)
		}
	}
	signed, err := plan.Sign(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	d.opened = nil
	a := b.take(signed.Answer)
	if err := ca.CheckAuthority(b.keys["ca"], a.Chain(wire.CA)); err != nil {
		t.Error(err)
	}
	if err := tsa.CheckAuthority(b.keys["tsa"], a.Chain(wire.TSA)); err != nil {
		t.Error(err)
	}
	transcript := string(plan.Transcript(signed, ceremony.File{Name: "request.json", Data: request}))
	for _, want := range []string{"Ceremony of Acme Ltd., 2026-05-06 07:08:09 UTC", "  version 1 of the TUF root, by tuf-root", "  nothing", sigbox.SHA256.Sum(request).Hex() + "  request.json", "Witnesses"} {
		if !strings.Contains(transcript, want) {
			t.Errorf("%q is not in the transcript:\n%s", want, transcript)
		}
	}

	d.reopen()
	root := a.Chain(wire.CA)[1]
	b.at = now.Add(100 * 24 * time.Hour)
	second := b.take(d.sign(b.request("ca", "tuf"), b.at).Answer)
	if !bytes.Equal(second.Chain(wire.CA)[1], root) {
		t.Error("another root was made for the second intermediate")
	}
	if len(b.roots) != 2 {
		t.Errorf("%d roots", len(b.roots))
	}
	modes(t, d.dir)
}

// modes wants private files to be their owner's.
func modes(t *testing.T, dir string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || strings.Contains(path, "/public/") || strings.Contains(path, "/certs/") {
			return err
		}
		info, err := e.Info()
		if err == nil && info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %o", path, info.Mode().Perm())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestHolders: several people keep keys of TUF's root; the answer goes from one to the
// next, and one key replaces another.
func TestHolders(t *testing.T) {
	alice, bob, carol := newPlace(t, ceremony.NewDesk{Join: true}, "tuf-root"), newPlace(t, ceremony.NewDesk{Join: true}, "tuf-root"), newPlace(t, ceremony.NewDesk{Join: true}, "tuf-root")
	lead := newPlace(t, ceremony.NewDesk{Others: []crypto.PublicKey{alice.public("tuf-root"), bob.public("tuf-root")}}, "ca-root", "tsa-root", "tuf-root")
	if lead.Root().Threshold != 2 || len(lead.Root().Keys) != 3 {
		t.Fatalf("unexpected policy %+v", lead.Root())
	}
	b := newBox(t)
	file := b.request("ca", "tsa", "tuf")

	// One who only joins begins no root.
	if plan, err := alice.plan(file, now, ceremony.Options{}); err != nil || !plan.Nothing {
		t.Errorf("found %v, nothing to sign: %v", err, plan.Nothing)
	}
	first := lead.sign(file, now)
	if len(first.Missing) != 1 {
		t.Errorf("it lacks %v", first.Missing)
	}
	if plan, err := carol.plan(first.Answer, now, ceremony.Options{}); err != nil || !plan.Nothing {
		t.Errorf("a key signs that the root does not name: %v", err)
	}
	second := bob.sign(first.Answer, now.Add(48*time.Hour))
	b.take(second.Answer)
	if plan, err := bob.plan(second.Answer, now, ceremony.Options{}); err != nil || !plan.Nothing {
		t.Errorf("it is signed twice: %v", err)
	}

	// Bob leaves, Carol comes.
	bobID := lead.Root().Keys[2].ID
	if err := lead.Change(ceremony.Change{Add: []crypto.PublicKey{carol.public("tuf-root")}, Remove: []string{bobID[:12]}}); err != nil {
		t.Fatal(err)
	}
	lead.reopen()
	b.at = now.Add(90 * 24 * time.Hour)
	answer := lead.sign(b.request("tuf"), b.at)
	plan, err := carol.plan(answer.Answer, b.at, ceremony.Options{})
	if err != nil {
		t.Fatal(err)
	}
	shown := strings.Join(plan.Lines, "\n")
	for _, want := range []string{"signs no longer", "(tuf-root of this desk, new)", "follows      version 1", "has signed no TUF root of this instance before"} {
		if !strings.Contains(shown, want) {
			t.Errorf("%q is not shown:\n%s", want, shown)
		}
	}
	signed, err := plan.Sign(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(signed.Missing) != 1 || !strings.Contains(signed.Missing[0], "present keys") {
		t.Errorf("it lacks %v", signed.Missing)
	}
	b.take(alice.sign(signed.Answer, b.at).Answer)
}

// TestHostileInstance: the desk signs nothing that it would not show, and nothing that
// contradicts what it has signed.
func TestHostileInstance(t *testing.T) {
	d := newPlace(t, ceremony.NewDesk{}, "ca-root", "tsa-root", "tuf-root")
	b := newBox(t)
	first := b.request("ca", "tsa", "tuf")
	b.take(d.sign(first, now).Answer)
	b.at = now.Add(time.Hour)

	refused := func(what string, file []byte, at time.Time, kind sigbox.Kind) {
		t.Helper()
		if _, err := d.plan(file, at, ceremony.Options{}); err == nil || sigbox.KindOf(err) != kind {
			t.Errorf("%s: expected %v, found %v", what, kind, err)
		}
	}
	// A root of a version that there is, for another key.
	eve := newBox(t)
	eve.at = b.at
	refused("a second first root", eve.request("tuf"), b.at, sigbox.Conflict)
	// A root that somebody else has signed, in the place of ours.
	other := newPlace(t, ceremony.NewDesk{}, "tuf-root", "ca-root", "tsa-root")
	eve.take(other.sign(eve.request("tuf"), b.at).Answer)
	refused("another first root", eve.request("tuf"), b.at, sigbox.Conflict)
	// Versions between which nobody knows what was.
	eve.roots = [][]byte{forged(t, d, 7)}
	refused("a gap", eve.request("tuf"), b.at, sigbox.Conflict)
	// Roots that were signed for this instance, under a name of which nothing is known.
	b.change = func(r *wire.Request) { r.Instance = "log2026-1.eve.example" }
	refused("another name", b.request("tuf"), b.at, sigbox.Conflict)
	b.change = nil
	// Clocks.
	refused("made tomorrow", b.request("tuf"), b.at.Add(-time.Hour), sigbox.Invalid)
	refused("made last year", b.request("tuf"), b.at.Add(365*24*time.Hour), sigbox.Invalid)
	// An answer that was tampered with on its way.
	tampered, err := wire.ParseAnswer(d.sign(b.request("tuf"), b.at).Answer)
	if err != nil {
		t.Fatal(err)
	}
	tampered.Root = bytes.Replace(tampered.Root, []byte(`"version": 2`), []byte(`"version": 3`), 1)
	file, err := tampered.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := other.plan(file, b.at, ceremony.Options{}); err == nil {
		t.Error("a root was taken that was changed after it was signed")
	}
	if _, err := d.plan([]byte("{}"), b.at, ceremony.Options{}); err == nil {
		t.Error("something else was taken for a request")
	}
	for _, period := range []time.Duration{time.Hour, ceremony.MaxPeriod + 1, -1} {
		if _, err := d.plan(b.request("tuf"), b.at, ceremony.Options{Period: period}); err == nil {
			t.Errorf("a root for %v", period)
		}
	}
}

// forged makes a root of a version that names a desk's key and is signed by another one.
func forged(t *testing.T, d *place, version int64) []byte {
	t.Helper()
	evil, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ours, err := tufroot.NewKey(d.public("tuf-root"))
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := tufroot.NewKey(evil.Public())
	if err != nil {
		t.Fatal(err)
	}
	root, err := tufroot.New(version, now.Add(time.Hour), tufroot.Policy{Keys: []tufroot.Key{ours, theirs}, Threshold: 1}, tufroot.Only(theirs))
	if err == nil {
		err = root.Sign(evil)
	}
	if err != nil {
		t.Fatal(err)
	}
	b, err := root.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestLostAnswer: the same request gets the same root again; another needs a word.
func TestLostAnswer(t *testing.T) {
	d := newPlace(t, ceremony.NewDesk{}, "ca-root", "tsa-root", "tuf-root")
	b := newBox(t)
	request := b.request("tuf")
	first := d.sign(request, now)
	again := d.sign(request, now.Add(time.Hour))
	if !bytes.Equal(first.Answer, again.Answer) {
		t.Error("a second root of one version was signed")
	}
	fresh := newBox(t)
	if _, err := d.plan(fresh.request("tuf"), now, ceremony.Options{}); err == nil || sigbox.KindOf(err) != sigbox.Conflict {
		t.Errorf("expected Conflict, found %v", err)
	}
	if _, err := d.plan(fresh.request("tuf"), now, ceremony.Options{Again: true}); err != nil {
		t.Error(err)
	}
}

// TestMadeAlready: certificates that an answer comes with are shown, and those by a root of
// the desk have to be what it would have made.
func TestMadeAlready(t *testing.T) {
	d, stranger := newPlace(t, ceremony.NewDesk{}, "ca-root", "tuf-root"), newPlace(t, ceremony.NewDesk{}, "ca-root", "tuf-root")
	bob := newPlace(t, ceremony.NewDesk{Join: true}, "tuf-root")
	b := newBox(t)
	request := b.request("ca")
	answer := d.sign(request, now).Answer
	root, err := keys.Load(filepath.Join(d.dir, "keys", "ca-root.pem"), nil)
	if err != nil {
		t.Fatal(err)
	}
	chain := func(file []byte) [][]byte {
		t.Helper()
		a, err := wire.ParseAnswer(file)
		if err != nil {
			t.Fatal(err)
		}
		return a.Chain(wire.CA)
	}
	own := chain(answer)
	made := func(key crypto.PublicKey, number int, organization string, at time.Time, rootCertificate []byte) [][]byte {
		t.Helper()
		made, err := ca.NewChain(ca.ChainConfig{
			Root: root, RootCertificate: rootCertificate, Intermediate: key, Number: number, Organization: organization, Now: func() time.Time { return at },
		})
		if err != nil {
			t.Fatal(err)
		}
		return made
	}
	asks := b.keys["ca"].Public()
	const other = "not one that this desk would have made"
	for what, tt := range map[string]struct {
		desk  *place
		chain [][]byte
		says  string // in the plan, or as the error that wants says
		want  string
	}{
		"its own":              {d, own, "(ca-root of this desk)", ""},
		"seen elsewhere":       {bob, own, "(no key of this desk)", ""},
		"by another root":      {d, chain(stranger.sign(request, now).Answer), "", other},
		"of another name":      {d, made(asks, 1, "Other", now, own[1]), "", other},
		"of another number":    {d, made(asks, 7, "sigbox", now, own[1]), "", other},
		"of a time to come":    {d, made(asks, 1, "sigbox", now.Add(48*time.Hour), own[1]), "", other},
		"with another root":    {d, made(asks, 1, "sigbox", now, nil), "", other},
		"of another key":       {bob, made(root.Public(), 1, "sigbox", now, own[1]), "", "not of the key that asks"},
		"not by what is given": {bob, [][]byte{own[0], own[0]}, "", "not of the key that asks, or not by the root"},
		"no certificate":       {bob, [][]byte{{1}, own[1]}, "", "that was made already"},
		"no root":              {bob, [][]byte{own[0], {1}}, "", "that was made already"},
	} {
		a, err := wire.ParseAnswer(answer)
		if err != nil {
			t.Fatal(err)
		}
		a.Chains[0].Certificates = tt.chain
		file, err := a.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		plan, err := tt.desk.plan(file, now, ceremony.Options{})
		switch {
		case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
			t.Errorf("%s: expected %q, found %v", what, tt.want, err)
		case tt.want == "" && err != nil:
			t.Errorf("%s: %v", what, err)
		case tt.want == "" && !strings.Contains(strings.Join(plan.Lines, "\n"), tt.says):
			t.Errorf("%s: expected %q, found %q", what, tt.says, plan.Lines)
		}
	}
}

// TestKeyMixedUp: a desk signs with the keys that it was made with.
func TestKeyMixedUp(t *testing.T) {
	d := newPlace(t, ceremony.NewDesk{}, "ca-root", "tuf-root")
	plan, err := d.plan(newBox(t).request("tuf"), now, ceremony.Options{})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(d.dir, "keys", "tuf-root.pem")
	b, err := os.ReadFile(filepath.Join(d.dir, "keys", "ca-root.pem"))
	if err == nil {
		err = os.WriteFile(path, b, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := plan.Sign(t.Context()); err == nil || sigbox.KindOf(err) != sigbox.Invalid {
		t.Errorf("expected Invalid, found %v", err)
	}
}

func TestCreateRefuses(t *testing.T) {
	d := newPlace(t, ceremony.NewDesk{}, "ca-root", "tuf-root")
	if _, err := ceremony.Create(t.Context(), d.dir, ceremony.NewDesk{Keys: []ceremony.Key{{Name: "ca-root"}}}, d.opener); err == nil || sigbox.KindOf(err) != sigbox.Conflict {
		t.Errorf("expected Conflict, found %v", err)
	}
	own := d.public("tuf-root")
	for what, n := range map[string]ceremony.NewDesk{
		"no keys":          {},
		"another name":     {Keys: []ceremony.Key{{Name: "oidc"}}},
		"a path":           {Keys: []ceremony.Key{{Name: "../ca-root"}}},
		"a key twice":      {Keys: []ceremony.Key{{Name: "ca-root"}, {Name: "ca-root"}}},
		"tuf-root.1":       {Keys: []ceremony.Key{{Name: "tuf-root.1"}}},
		"a threshold":      {Keys: []ceremony.Key{{Name: "tuf-root"}}, Threshold: 2},
		"below 0":          {Keys: []ceremony.Key{{Name: "tuf-root"}}, Threshold: -1},
		"without a key":    {Keys: []ceremony.Key{{Name: "ca-root"}}, Threshold: 1},
		"others twice":     {Keys: []ceremony.Key{{Name: "ca-root"}}, Others: []crypto.PublicKey{own, own}},
		"join with others": {Keys: []ceremony.Key{{Name: "tuf-root"}}, Others: []crypto.PublicKey{own}, Join: true},
		"a line":           {Keys: []ceremony.Key{{Name: "ca-root"}}, Organization: "Acme\nLtd."},
		"a long name":      {Keys: []ceremony.Key{{Name: "ca-root"}}, Organization: strings.Repeat("a", 65)},
	} {
		dir := t.TempDir()
		p := &place{t: t, dir: dir}
		if _, err := ceremony.Create(t.Context(), dir, n, p.opener); err == nil {
			t.Errorf("%s: made", what)
		}
		if _, err := ceremony.Open(dir, p.opener); err == nil {
			t.Errorf("%s: there is a desk", what)
		}
	}
}

func TestChangeRefuses(t *testing.T) {
	d := newPlace(t, ceremony.NewDesk{}, "tuf-root", "tuf-root.2")
	before, err := os.ReadFile(filepath.Join(d.dir, "ceremony.json"))
	if err != nil {
		t.Fatal(err)
	}
	id := d.Root().Keys[0].ID
	for what, c := range map[string]ceremony.Change{
		"an unknown key": {Remove: []string{strings.Repeat("0", 64)}}, "a short ID": {Remove: []string{id[:3]}}, "all keys": {Remove: []string{id, d.Root().Keys[1].ID}},
		"a threshold": {Threshold: 3}, "one less": {Remove: []string{id}}, "a key twice": {Add: []crypto.PublicKey{d.public("tuf-root")}},
	} {
		if err := d.Change(c); err == nil {
			t.Errorf("%s: changed", what)
		}
	}
	after, err := os.ReadFile(filepath.Join(d.dir, "ceremony.json"))
	if err != nil || !bytes.Equal(before, after) {
		t.Errorf("something was changed, %v", err)
	}
	if err := d.Change(ceremony.Change{Remove: []string{"TUF:" + id[:10]}, Threshold: 1}); err != nil {
		t.Error(err)
	}
}
