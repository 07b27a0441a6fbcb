package rekor1_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/fixture"
	"github.com/sigbox/sigbox/internal/rekor1"
	"github.com/sigbox/sigbox/internal/store"
	"github.com/sigbox/sigbox/internal/store/memory"
	engine "github.com/sigbox/sigbox/internal/tlog"
	"github.com/sigbox/sigbox/wire/entry"
	"github.com/sigbox/sigbox/wire/note"
	"github.com/sigbox/sigbox/wire/timestamp"
)

const host = "v1.rekor.example"

// instance is a log on stores that outlive it, with a clock.
type instance struct {
	kv   store.KV
	blob store.Blob
	key  crypto.Signer
	now  time.Time
	log  *engine.Log
}

func newInstance(t testing.TB) *instance {
	return &instance{kv: memory.NewKV(), blob: memory.NewBlob(), key: fixture.Key(t), now: time.Unix(1700000000, 5e8)}
}

// open opens the log; stop closes it.
func (i *instance) open(t testing.TB, change func(*rekor1.Config)) (s *rekor1.Service, stop func()) {
	t.Helper()
	lc, err := rekor1.LogConfig(host, i.key)
	if err != nil {
		t.Fatal(err)
	}
	lc.KV, lc.Blob, lc.Now = i.kv, i.blob, func() time.Time { return i.now }
	if i.log, err = engine.Open(t.Context(), lc); err != nil {
		t.Fatal(err)
	}
	log := i.log
	cfg := rekor1.Config{Log: log, Key: i.key, Host: host, Since: time.Unix(1600000000, 0), Operator: "example"}
	if change != nil {
		change(&cfg)
	}
	if s, err = rekor1.New(cfg); err != nil {
		t.Fatal(err)
	}
	stop = sync.OnceFunc(func() {
		if err := log.Close(t.Context()); err != nil && t.Context().Err() == nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	return s, stop
}

// newProposals makes n different hashedrekords of one key.
func newProposals(t testing.TB, n int) []*entry.Proposal {
	t.Helper()
	key := fixture.Key(t)
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	all := make([]*entry.Proposal, n)
	for i := range all {
		d := sigbox.SHA256.Sum(fmt.Appendf(nil, "artifact %d", i))
		sig, err := ecdsa.SignASN1(rand.Reader, key, d.Value)
		if err != nil {
			t.Fatal(err)
		}
		all[i] = parse(t, entry.AppendProposal(nil, sigbox.Entry{Digest: d, Signature: sig, PublicKey: der}))
	}
	return all
}

func parse(t testing.TB, b []byte) *entry.Proposal {
	t.Helper()
	p, err := entry.ParseProposal(b)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// add logs what is not logged yet.
func add(t testing.TB, s *rekor1.Service, p *entry.Proposal) rekor1.Entry {
	t.Helper()
	e, added, err := s.Add(t.Context(), p)
	if err != nil || !added {
		t.Fatalf("added %v, %v", added, err)
	}
	check(t, s.TransparencyLog(), p, e)
	return e
}

// check verifies an answer as a client does, with nothing but what it proposed and
// the log's place in the trust root.
func check(t testing.TB, trust sigbox.TransparencyLog, p *entry.Proposal, e rekor1.Entry) {
	t.Helper()
	if !bytes.Equal(p.Leaf(), e.Body) || !bytes.Equal(e.LogID, trust.LogID) || e.ID.Leaf != tlog.RecordHash(e.Body) || e.ID.Tree == 0 {
		t.Fatalf("the answer does not fit the proposal: %+v", e)
	}
	pub, err := sigbox.ParsePublicKey(trust.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	promise := sha256.Sum256(entry.SETPayload(&e.LogEntry))
	if !ecdsa.VerifyASN1(pub.(*ecdsa.PublicKey), promise[:], e.SignedEntryTimestamp) {
		t.Fatal("the signed entry timestamp does not verify")
	}
	v, err := note.NewRekorV1Verifier(pub)
	if err != nil {
		t.Fatal(err)
	}
	cp, err := note.Open(e.Inclusion.Checkpoint, v)
	if err != nil {
		t.Fatal(err)
	}
	if cp.Origin != fmt.Sprintf("%s - %d", host, e.ID.Tree) || cp.Size != uint64(e.Inclusion.TreeSize) || !bytes.Equal(cp.Root[:], e.Inclusion.RootHash) || e.LogIndex != e.Inclusion.LogIndex {
		t.Fatalf("the proof is not of the checkpoint: %+v, %+v", e.Inclusion, cp)
	}
	_, sigs, err := note.Parse(e.Inclusion.Checkpoint)
	if err != nil || len(sigs) != 1 || sigs[0].Name != host {
		t.Fatalf("v1 clients take a checkpoint with one signature by the host: %+v, %v", sigs, err)
	}
	var proof tlog.RecordProof
	for _, h := range e.Inclusion.Hashes {
		proof = append(proof, tlog.Hash(h))
	}
	if err := tlog.CheckRecord(proof, e.Inclusion.TreeSize, tlog.Hash(cp.Root), e.LogIndex, tlog.RecordHash(e.Body)); err != nil {
		t.Fatal(err)
	}
}

// TestFind: an entry is found by its index, its UUID, its entry ID and what was
// proposed, also after a restart, and its time never changes.
func TestFind(t *testing.T) {
	i := newInstance(t)
	s, stop := i.open(t, nil)
	proposals := newProposals(t, 5)
	var first []rekor1.Entry
	for n, p := range proposals {
		i.now = i.now.Add(time.Minute)
		e := add(t, s, p)
		if e.LogIndex != int64(n) || e.IntegratedTime != i.now.Unix() {
			t.Errorf("index %d at %d, expected %d at %d", e.LogIndex, e.IntegratedTime, n, i.now.Unix())
		}
		first = append(first, e)
	}
	find := func(s *rekor1.Service) {
		t.Helper()
		for n, p := range proposals {
			same := func(e rekor1.Entry, err error) {
				t.Helper()
				if err != nil {
					t.Fatal(err)
				}
				check(t, s.TransparencyLog(), p, e)
				if !bytes.Equal(e.SignedEntryTimestamp, first[n].SignedEntryTimestamp) {
					t.Error("another promise of the same")
				}
				if e.ID != first[n].ID || e.LogIndex != first[n].LogIndex || e.IntegratedTime != first[n].IntegratedTime || e.Inclusion.TreeSize != 5 {
					t.Fatalf("expected %+v\nfound %+v", first[n], e)
				}
			}
			same(s.ByIndex(t.Context(), uint64(n)))
			same(s.ByID(t.Context(), first[n].ID))
			same(s.ByID(t.Context(), entry.ID{Leaf: first[n].ID.Leaf}))
			found, err := rekor1.NewShards(nil, s).Retrieve(t.Context(), entry.Query{Proposals: proposals[n : n+1]})
			if len(found) != 1 {
				t.Fatalf("%d found, %v", len(found), err)
			}
			same(found[0], err)
		}
	}
	find(s)
	stop()
	i.now = i.now.Add(time.Hour)
	s, _ = i.open(t, nil)
	find(s)
}

func TestNotFound(t *testing.T) {
	i := newInstance(t)
	s, _ := i.open(t, nil)
	e := add(t, s, newProposals(t, 1)[0])
	other := e.ID
	other.Tree++
	for name, err := range map[string]error{
		"another index": second(s.ByIndex(t.Context(), 1)), "a far index": second(s.ByIndex(t.Context(), 1<<62)),
		"another leaf": second(s.ByID(t.Context(), entry.ID{Leaf: [32]byte{1}})), "another tree": second(s.ByID(t.Context(), other)),
	} {
		if err == nil || sigbox.KindOf(err) != sigbox.NotFound {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := second(rekor1.NewShards(nil, s).ByIndex(t.Context(), -1)); sigbox.KindOf(err) != sigbox.Invalid {
		t.Errorf("a negative index: %v", err)
	}
}

func second[T any](_ T, err error) error { return err }

// TestRetrieve gives what there is, in order, and passes over the rest.
func TestRetrieve(t *testing.T) {
	i := newInstance(t)
	s, _ := i.open(t, nil)
	proposals := newProposals(t, 3)
	a, b := add(t, s, proposals[0]), add(t, s, proposals[1])
	found, err := rekor1.NewShards(nil, s).Retrieve(t.Context(), entry.Query{
		IDs: []entry.ID{{Leaf: [32]byte{1}}, b.ID}, Proposals: []*entry.Proposal{proposals[2], proposals[0]}, Indexes: []int64{9, 1},
	})
	if err != nil || len(found) != 3 || found[0].ID != b.ID || found[1].ID != a.ID || found[2].ID != b.ID {
		t.Fatalf("%v: %+v", err, found)
	}
	if found, err := rekor1.NewShards(nil, s).Retrieve(t.Context(), entry.Query{}); err != nil || len(found) != 0 {
		t.Errorf("%v: %+v", err, found)
	}
	if _, err := rekor1.NewShards(nil, s).Retrieve(t.Context(), entry.Query{Proposals: []*entry.Proposal{forged(t)}}); sigbox.KindOf(err) != sigbox.NotVerified {
		t.Errorf("a proposal that nobody could log: %v", err)
	}
	ctx, leave := context.WithCancel(t.Context())
	leave()
	if _, err := rekor1.NewShards(nil, s).Retrieve(ctx, entry.Query{Proposals: []*entry.Proposal{forged(t)}}); !errors.Is(err, context.Canceled) {
		t.Errorf("verified for a client that has gone: %v", err)
	}
}

// forged is a proposal whose signature is of something else.
func forged(t testing.TB) *entry.Proposal {
	t.Helper()
	two := newProposals(t, 2)
	return parse(t, bytes.Replace(two[0].Leaf(), []byte(two[0].Digest.Hex()), []byte(two[1].Digest.Hex()), 1))
}

// TestDuplicate: the same entry again is said to be there, with its ID, also after a
// restart and while it is on its way.
func TestDuplicate(t *testing.T) {
	i := newInstance(t)
	s, stop := i.open(t, nil)
	p := newProposals(t, 1)[0]
	const n = 16
	ids, added := make([]entry.ID, n), make([]bool, n)
	var wg sync.WaitGroup
	for j := range n {
		wg.Go(func() {
			e, ok, err := s.Add(t.Context(), p)
			if err != nil {
				t.Error(err)
			}
			ids[j], added[j] = e.ID, ok
		})
	}
	wg.Wait()
	first := 0
	for j := range n {
		if ids[j] != ids[0] {
			t.Errorf("two IDs, %v and %v", ids[0], ids[j])
		}
		if added[j] {
			first++
		}
	}
	if first != 1 {
		t.Errorf("added %d times", first)
	}
	stop()
	s, _ = i.open(t, nil)
	if e, ok, err := s.Add(t.Context(), p); err != nil || ok || e.ID != ids[0] {
		t.Errorf("after a restart: %v, %v, %v", e.ID, ok, err)
	}
	if size := s.Info().Size; size != 1 {
		t.Errorf("%d entries", size)
	}
}

func TestRefused(t *testing.T) {
	i := newInstance(t)
	s, stop := i.open(t, nil)
	if _, _, err := s.Add(t.Context(), forged(t)); err == nil || sigbox.KindOf(err) != sigbox.NotVerified {
		t.Errorf("a forged entry: %v", err)
	}
	if size := s.Info().Size; size != 0 {
		t.Errorf("%d entries were logged", size)
	}
	two := newProposals(t, 2)
	p := two[0]
	add(t, s, p)
	stop()
	if _, _, err := s.Add(t.Context(), two[1]); err == nil || sigbox.KindOf(err) != sigbox.Unavailable {
		t.Errorf("a closed log: %v", err)
	}
	s, _ = i.open(t, func(c *rekor1.Config) { seal(t, c.Log) })
	if _, _, err := s.Add(t.Context(), p); err == nil || sigbox.KindOf(err) != sigbox.Frozen {
		t.Errorf("a frozen log: %v", err)
	}
	if e, err := s.ByIndex(t.Context(), 0); err != nil || e.LogIndex != 0 {
		t.Errorf("a frozen log is read: %v", err)
	}
}

// newAuthority makes the chain of a timestamp authority.
func newAuthority(t testing.TB, key crypto.Signer) [][]byte {
	t.Helper()
	usage, err := asn1.Marshal([]asn1.ObjectIdentifier{{1, 3, 6, 1, 5, 5, 7, 3, 8}})
	if err != nil {
		t.Fatal(err)
	}
	rootKey := fixture.Key(t)
	root := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "root"}, NotBefore: time.Unix(1, 0), NotAfter: time.Unix(1<<32, 0), IsCA: true, BasicConstraintsValid: true}
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "authority"}, NotBefore: time.Unix(1, 0), NotAfter: time.Unix(1<<32, 0), KeyUsage: x509.KeyUsageDigitalSignature,
		ExtraExtensions: []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 37}, Critical: true, Value: usage}},
	}
	var chain [][]byte
	for _, c := range []struct {
		template *x509.Certificate
		key      crypto.Signer
	}{{leaf, key}, {root, rootKey}} {
		der, err := x509.CreateCertificate(rand.Reader, c.template, root, c.key.Public(), rootKey)
		if err != nil {
			t.Fatal(err)
		}
		chain = append(chain, der)
	}
	return chain
}

// stamp gives a timestamp over text, with the signer's certificate if it is wanted.
func stamp(t testing.TB, text string, withCert bool) []byte {
	t.Helper()
	key := fixture.Key(t)
	signer, err := timestamp.NewSigner(timestamp.SignerConfig{Key: key, Chain: newAuthority(t, key)})
	if err != nil {
		t.Fatal(err)
	}
	resp, err := signer.Respond(timestamp.Request{Digest: sigbox.SHA256.Sum([]byte(text)), Certificates: withCert}, time.Unix(1700000000, 0), big.NewInt(7))
	if err != nil {
		t.Fatal(err)
	}
	return resp
}

// TestTimestamp logs an rfc3161 when its signature is right by the certificate in it.
func TestTimestamp(t *testing.T) {
	i := newInstance(t)
	s, _ := i.open(t, nil)
	propose := func(resp []byte) *entry.Proposal {
		b := fmt.Sprintf(`{"apiVersion":"0.0.1","kind":"rfc3161","spec":{"tsr":{"content":%q}}}`, base64.StdEncoding.EncodeToString(resp))
		return parse(t, []byte(b))
	}
	good := stamp(t, "signature", true)
	e := add(t, s, propose(good))
	if b, err := entry.ParseBody(e.Body); err != nil || !bytes.Equal(b.Timestamp, good) {
		t.Errorf("%v: %+v", err, b)
	}
	changed := bytes.Replace(good, sigbox.SHA256.Sum([]byte("signature")).Value, sigbox.SHA256.Sum([]byte("another")).Value, 1)
	for name, test := range map[string]struct {
		resp []byte
		kind sigbox.Kind
	}{
		"of something else": {changed, sigbox.NotVerified}, "without a certificate": {stamp(t, "signature", false), sigbox.Invalid},
		"a refusal": {timestamp.Reject(timestamp.BadAlgorithm, "no").Marshal(), sigbox.Invalid}, "no DER": {[]byte("x"), sigbox.Invalid},
	} {
		if _, _, err := s.Add(t.Context(), propose(test.resp)); err == nil || sigbox.KindOf(err) != test.kind {
			t.Errorf("%s: expected %s, found %v", name, test.kind, err)
		}
	}
}

func TestInfo(t *testing.T) {
	i := newInstance(t)
	s, _ := i.open(t, nil)
	proposals := newProposals(t, 9)
	var sizes []rekor1.Info
	for _, p := range proposals {
		add(t, s, p)
		sizes = append(sizes, s.Info())
	}
	last := sizes[len(sizes)-1]
	if last.Size != 9 || last.Tree == 0 || last.Tree>>63 != 0 || last.Checkpoint != s.Checkpoint() {
		t.Errorf("%+v", last)
	}
	for _, old := range sizes {
		for _, tree := range []uint64{0, old.Tree} {
			shard, err := rekor1.NewShards(nil, s).Shard(tree)
			if err != nil {
				t.Fatal(err)
			}
			c, err := shard.Consistency(t.Context(), old.Size, 9)
			if err != nil {
				t.Fatal(err)
			}
			var proof tlog.TreeProof
			for _, h := range c.Hashes {
				proof = append(proof, h)
			}
			if err := tlog.CheckTree(proof, 9, tlog.Hash(c.Root), int64(old.Size), tlog.Hash(old.Root)); err != nil {
				t.Errorf("from %d: %v", old.Size, err)
			}
		}
	}
	if c, err := s.Consistency(t.Context(), 2, 5); err != nil || c.Root != sizes[4].Root {
		t.Errorf("between older sizes: %v", err)
	}
	for name, err := range map[string]error{
		"beyond the end": second(s.Consistency(t.Context(), 1, 10)), "from nothing": second(s.Consistency(t.Context(), 0, 9)),
		"backwards": second(s.Consistency(t.Context(), 9, 8)), "another tree": second(rekor1.NewShards(nil, s).Shard(last.Tree + 1)),
	} {
		if err == nil || sigbox.KindOf(err) != sigbox.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestRows: the rows of an entry are committed with it.
func TestRows(t *testing.T) {
	i := newInstance(t)
	s, _ := i.open(t, func(c *rekor1.Config) {
		c.Rows = func(b *entry.Body, _ []byte) func(uint64) []store.Pair {
			return func(index uint64) []store.Pair {
				return []store.Pair{{Key: []byte(b.Digest.Hex()), Value: []byte{byte(index)}}}
			}
		}
	})
	for n, p := range newProposals(t, 3) {
		add(t, s, p)
		if v, err := i.log.Row(t.Context(), []byte(p.Digest.Hex())); err != nil || !bytes.Equal(v, []byte{byte(n)}) {
			t.Errorf("row %x, %v", v, err)
		}
	}
}

func TestTiles(t *testing.T) {
	i := newInstance(t)
	s, _ := i.open(t, nil)
	e := add(t, s, newProposals(t, 1)[0])
	if got, err := s.Tile(t.Context(), 0, 0, 1); err != nil || !bytes.Equal(got, e.ID.Leaf[:]) {
		t.Errorf("tile %x, %v", got, err)
	}
	if got, err := s.Entries(t.Context(), 0, 1); err != nil || !bytes.Equal(got[2:], e.Body) {
		t.Errorf("bundle %q, %v", got, err)
	}
}

func TestConfig(t *testing.T) {
	i := newInstance(t)
	s, _ := i.open(t, nil)
	got := s.TransparencyLog()
	if got.BaseURL != "https://"+host || got.Operator != "example" || got.HashAlgorithm != sigbox.SHA256 || got.Details != sigbox.ECDSAP256SHA256 ||
		!got.ValidFor.Start.Equal(time.Unix(1600000000, 0)) || !got.ValidFor.End.IsZero() || !bytes.Equal(got.LogID, sigbox.SHA256.Sum(got.PublicKey).Value) {
		t.Errorf("%+v", got)
	}
	if !strings.HasPrefix(string(s.PublicKey()), "-----BEGIN PUBLIC KEY-----\n") {
		t.Errorf("%s", s.PublicKey())
	}
	if _, err := rekor1.New(rekor1.Config{}); err == nil {
		t.Error("a service without a log was made")
	}
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []crypto.Signer{nil, ed} {
		if _, err := rekor1.LogConfig(host, key); err == nil {
			t.Errorf("a log with a key of %T", key)
		}
		if _, err := rekor1.New(rekor1.Config{Log: i.log, Host: host, Key: key}); err == nil {
			t.Errorf("a service with a key of %T", key)
		}
	}
}

func BenchmarkAdd(b *testing.B) {
	i := newInstance(b)
	s, _ := i.open(b, nil)
	proposals := newProposals(b, 4096)
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		if n == len(proposals) {
			b.StopTimer()
			proposals, n = newProposals(b, 4096), 0
			b.StartTimer()
		}
		if _, _, err := s.Add(b.Context(), proposals[n]); err != nil {
			b.Fatal(err)
		}
		n++
	}
}

// seal has a log take no more entries.
func seal(t testing.TB, l *engine.Log) {
	t.Helper()
	if _, err := l.Seal(t.Context()); err != nil {
		t.Fatal(err)
	}
}
