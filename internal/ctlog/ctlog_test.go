package ctlog_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"sync"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/ctlog"
	"github.com/sigbox/sigbox/internal/fixture"
	"github.com/sigbox/sigbox/internal/store"
	"github.com/sigbox/sigbox/internal/store/memory"
	engine "github.com/sigbox/sigbox/internal/tlog"
	"github.com/sigbox/sigbox/wire/cert"
	"github.com/sigbox/sigbox/wire/note"
)

const origin = "ct.example.com/ctlog"

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// authority is a CA with an intermediate, as an instance has one.
type authority struct {
	root, key *ecdsa.PrivateKey
	chain     [][]byte // intermediate, root
	serial    int64
}

func start() time.Time { return time.Date(2025, 6, 1, 12, 0, 0, 0, time.UTC) }

func newAuthority(t testing.TB, name string) *authority {
	t.Helper()
	a := &authority{root: fixture.Key(t), key: fixture.Key(t)}
	rootTemplate := caTemplate(name + " root")
	root := must(x509.CreateCertificate(rand.Reader, rootTemplate, rootTemplate, a.root.Public(), a.root))
	a.chain = [][]byte{a.intermediate(t, name+" intermediate", a.key.Public(), root, a.root), root}
	return a
}

func caTemplate(name string) *x509.Certificate {
	return &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name},
		NotBefore: start().Add(-time.Hour), NotAfter: start().Add(time.Hour),
		KeyUsage: x509.KeyUsageCertSign, IsCA: true, BasicConstraintsValid: true,
	}
}

func (a *authority) intermediate(t testing.TB, name string, pub crypto.PublicKey, parent []byte, key crypto.Signer) []byte {
	t.Helper()
	return must(x509.CreateCertificate(rand.Reader, caTemplate(name), must(x509.ParseCertificate(parent)), pub, key))
}

// leaf issues a certificate, or a precertificate with the poison.
func (a *authority) leaf(t testing.TB, exts ...pkix.Extension) []byte {
	t.Helper()
	a.serial++
	return a.leafBy(t, a.key, a.chain[0], exts...)
}

func (a *authority) leafBy(t testing.TB, key crypto.Signer, issuer []byte, exts ...pkix.Extension) []byte {
	t.Helper()
	return must(x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(1000 + a.serial), NotBefore: start(), NotAfter: start().Add(10 * time.Minute),
		KeyUsage: x509.KeyUsageDigitalSignature, EmailAddresses: []string{"alice@example.com"}, ExtraExtensions: exts,
	}, must(x509.ParseCertificate(issuer)), fixture.Key(t).Public(), key))
}

func (a *authority) pre(t testing.TB) [][]byte {
	t.Helper()
	return append([][]byte{a.leaf(t, cert.Poison())}, a.chain...)
}

// instance is a log on stores that outlive it.
type instance struct {
	*ctlog.Service
	ca   *authority
	key  *ecdsa.PrivateKey
	kv   store.KV
	blob store.Blob
	log  *engine.Log
	// files is blob as the service has it.
	files  *failingFiles
	anchor engine.Anchor
}

// failingFiles take nothing as long as err is set.
type failingFiles struct {
	store.Publisher
	err error
}

func (f *failingFiles) Put(ctx context.Context, name string, data []byte) error {
	if f.err != nil {
		return f.err
	}
	return f.Publisher.Put(ctx, name, data)
}

func newInstance(t testing.TB) *instance {
	t.Helper()
	blob := memory.NewBlob()
	i := &instance{ca: newAuthority(t, "ours"), key: fixture.Key(t), kv: memory.NewKV(), blob: blob, files: &failingFiles{Publisher: blob}}
	i.open(t, i.ca.chain)
	return i
}

func (i *instance) open(t testing.TB, chains ...[][]byte) {
	t.Helper()
	cfg, err := ctlog.LogConfig(origin, i.key)
	if err != nil {
		t.Fatal(err)
	}
	cfg.KV, cfg.Blob, cfg.Anchor = i.kv, i.blob, i.anchor
	if i.log, err = engine.Open(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	log := i.log
	t.Cleanup(func() {
		if err := log.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	i.Service, err = ctlog.New(ctlog.Config{Log: i.log, Key: i.key, Chains: chains, Files: i.files, URL: "https://" + origin, Since: start(), Operator: "example"})
	if err != nil {
		t.Fatal(err)
	}
}

func (i *instance) verify(t testing.TB, raw []byte, chain [][]byte) cert.SCT {
	t.Helper()
	sct, err := cert.ParseSCT(raw)
	if err != nil {
		t.Fatal(err)
	}
	issuer := must(x509.ParseCertificate(chain[1]))
	if err := cert.VerifySCT(sct, chain[0], issuer.RawSubjectPublicKeyInfo, i.key.Public()); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(sct.LogID[:], i.TransparencyLog().LogID) {
		t.Error("the SCT is of another log")
	}
	return sct
}

// TestAddPreChain: the SCT verifies, names the entry's place, and the entry is
// there, proven, when the SCT is.
func TestAddPreChain(t *testing.T) {
	i := newInstance(t)
	for want := range uint64(5) {
		chain := i.ca.pre(t)
		sct := i.verify(t, must(i.AddPreChain(t.Context(), chain)), chain)
		index, ok, err := sct.LeafIndex()
		if err != nil || !ok || index != want {
			t.Fatalf("leaf index %d, %v, %v", index, ok, err)
		}
		if got := time.UnixMilli(int64(sct.Timestamp)); time.Since(got) > time.Hour {
			t.Errorf("timestamp %v", got)
		}
		i.checkIncluded(t, index, chain, sct)
	}
}

// checkIncluded proves an entry with another implementation of the proofs.
func (i *instance) checkIncluded(t testing.TB, index uint64, chain [][]byte, sct cert.SCT) {
	t.Helper()
	sth, err := i.TreeHead()
	if err != nil {
		t.Fatal(err)
	}
	issuer := must(x509.ParseCertificate(chain[1]))
	leaf := cert.SCTInput(sct, sha256.Sum256(issuer.RawSubjectPublicKeyInfo), must(cert.PrecertTBS(chain[0])))
	found, proof, err := i.ProofByHash(t.Context(), engine.LeafHash(leaf), sth.Size)
	if err != nil || found != index {
		t.Fatalf("index %d, %v", found, err)
	}
	checkProof(t, proof, sth, index, leaf)
	e, proof, err := i.EntryAndProof(t.Context(), index, sth.Size)
	if err != nil {
		t.Fatal(err)
	}
	checkProof(t, proof, sth, index, e.LeafInput)
	if !bytes.Equal(e.LeafInput, leaf) {
		t.Error("the entry is another")
	}
}

func checkProof(t testing.TB, proof []engine.Hash, sth ctlog.SignedTreeHead, index uint64, leaf []byte) {
	t.Helper()
	p := make(tlog.RecordProof, len(proof))
	for i := range proof {
		p[i] = tlog.Hash(proof[i])
	}
	if err := tlog.CheckRecord(p, int64(sth.Size), tlog.Hash(sth.Root), int64(index), tlog.RecordHash(leaf)); err != nil {
		t.Error(err)
	}
}

// TestDedup: the same precertificate again gets the same promise.
func TestDedup(t *testing.T) {
	i := newInstance(t)
	chain := i.ca.pre(t)
	first := i.verify(t, must(i.AddPreChain(t.Context(), chain)), chain)
	must(i.AddPreChain(t.Context(), i.ca.pre(t)))
	var wg sync.WaitGroup
	again := make([]cert.SCT, 8)
	for n := range again {
		wg.Go(func() { again[n] = i.verify(t, must(i.AddPreChain(t.Context(), chain[:2])), chain) })
	}
	wg.Wait()
	for _, s := range again {
		if s.Timestamp != first.Timestamp || !bytes.Equal(s.Extensions, first.Extensions) {
			t.Errorf("timestamp %d, then %d", first.Timestamp, s.Timestamp)
		}
	}
	if sth := must(i.TreeHead()); sth.Size != 2 {
		t.Errorf("the log has %d entries", sth.Size)
	}
}

// TestAddChain: certificates are logged as such.
func TestAddChain(t *testing.T) {
	i := newInstance(t)
	chain := append([][]byte{i.ca.leaf(t)}, i.ca.chain...)
	sct, err := i.Add(t.Context(), chain, false)
	if err != nil {
		t.Fatal(err)
	}
	leaf := cert.Entry{Timestamp: sct.Timestamp, Certificate: chain[0], Extensions: sct.Extensions}.MerkleTreeLeaf()
	if err := cert.VerifyLogSignature(i.key.Public(), sct.Algorithm, leaf, sct.Signature); err != nil {
		t.Error(err)
	}
	entries, err := i.Entries(t.Context(), 0, 0)
	if err != nil || len(entries) != 1 || !bytes.Equal(entries[0].LeafInput, leaf) {
		t.Errorf("%v, %v", entries, err)
	}
}

func TestRefusedChains(t *testing.T) {
	i := newInstance(t)
	other := newAuthority(t, "theirs")
	twin := newAuthority(t, "ours") // of the same names, with other keys
	pre := i.ca.pre(t)
	leaf := append([][]byte{i.ca.leaf(t)}, i.ca.chain...)
	soft := cert.Poison()
	soft.Critical = false
	forged := bytes.Clone(pre[0])
	forged[len(forged)-1] ^= 1
	long := append(slices.Clone(pre), i.ca.chain...)
	leafKey := fixture.Key(t)
	below := must(x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(6), Subject: pkix.Name{CommonName: "a leaf"}, NotBefore: start(), NotAfter: start().Add(10 * time.Minute),
	}, must(x509.ParseCertificate(i.ca.chain[0])), leafKey.Public(), i.ca.key))
	late := must(x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(5), NotBefore: start(), NotAfter: start().Add(24 * time.Hour), ExtraExtensions: []pkix.Extension{cert.Poison()},
	}, must(x509.ParseCertificate(i.ca.chain[0])), fixture.Key(t).Public(), i.ca.key))
	for name, tc := range map[string]struct {
		chain   [][]byte
		precert bool
	}{
		"empty":                  {nil, true},
		"rubbish":                {[][]byte{{1, 2, 3}}, true},
		"of another authority":   {other.pre(t), true},
		"of a namesake":          {twin.pre(t), true},
		"our chain, their leaf":  {append([][]byte{twin.leaf(t, cert.Poison())}, i.ca.chain...), true},
		"forged signature":       {append([][]byte{forged}, i.ca.chain...), true},
		"no issuer":              {pre[:1], true},
		"another root":           {[][]byte{pre[0], pre[1], other.chain[1]}, true},
		"more behind the root":   {long, true},
		"poison not critical":    {append([][]byte{i.ca.leaf(t, soft)}, i.ca.chain...), true},
		"certificate as precert": {leaf, true},
		"precert as certificate": {pre, false},
		"issued by a leaf":       {append([][]byte{i.ca.leafBy(t, leafKey, below, cert.Poison()), below}, i.ca.chain...), true},
		"outlives its issuer":    {append([][]byte{late}, i.ca.chain...), true},
		"endless":                {slices.Repeat(pre, 100), true},
		"huge":                   {[][]byte{make([]byte, 1<<20), pre[1], pre[2]}, true},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := i.Add(t.Context(), tc.chain, tc.precert)
			if err == nil || (sigbox.KindOf(err) != sigbox.Invalid && sigbox.KindOf(err) != sigbox.TooLarge) {
				t.Errorf("expected a refusal, found %v", err)
			}
		})
	}
	if sth := must(i.TreeHead()); sth.Size != 0 {
		t.Errorf("the log has %d entries", sth.Size)
	}
}

// TestOtherIntermediate: another intermediate of the root is ours as well, and its
// certificate stays to be had when the log is opened without it.
func TestOtherIntermediate(t *testing.T) {
	i := newInstance(t)
	key := fixture.Key(t)
	second := i.ca.intermediate(t, "second", key.Public(), i.ca.chain[1], i.ca.root)
	chain := [][]byte{i.ca.leafBy(t, key, second, cert.Poison()), second, i.ca.chain[1]}
	i.verify(t, must(i.AddPreChain(t.Context(), chain)), chain)
	fp := sha256.Sum256(second)
	if err := i.log.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	i.open(t, i.ca.chain)
	if der, err := i.Issuer(t.Context(), fp); err != nil || !bytes.Equal(der, second) {
		t.Errorf("issuer: %v", err)
	}
	if der, err := i.Issuer(t.Context(), sha256.Sum256(i.ca.chain[0])); err != nil || !bytes.Equal(der, i.ca.chain[0]) {
		t.Errorf("issuer: %v", err)
	}
	if _, err := i.Issuer(t.Context(), [32]byte{}); err == nil || sigbox.KindOf(err) != sigbox.NotFound {
		t.Errorf("unknown issuer: %v", err)
	}
}

// TestSetChains: chains of a second authority are taken from when it is known, those of
// the first all along, and its certificate is published before an entry names it.
func TestSetChains(t *testing.T) {
	i := newInstance(t)
	other := newAuthority(t, "other")
	if _, err := i.AddPreChain(t.Context(), other.pre(t)); sigbox.KindOf(err) != sigbox.Invalid {
		t.Fatalf("before: %v", err)
	}
	if err := i.SetChains([][][]byte{i.ca.chain, {other.chain[1], other.chain[0]}}); err == nil {
		t.Error("a chain in the wrong order is taken")
	}
	if err := i.SetChains([][][]byte{i.ca.chain, other.chain}); err != nil {
		t.Fatal(err)
	}
	for _, a := range []*authority{other, i.ca} {
		chain := a.pre(t)
		i.verify(t, must(i.AddPreChain(t.Context(), chain)), chain)
		fp := sha256.Sum256(a.chain[0])
		if der, err := i.files.Get(t.Context(), fmt.Sprintf("issuer/%x", fp), 1<<16); err != nil || !bytes.Equal(der, a.chain[0]) {
			t.Errorf("published: %v", err)
		}
	}
	if roots := i.Roots(); len(roots) != 2 {
		t.Errorf("%d roots", len(roots))
	}
}

// TestTreeHead: the signed tree head and the checkpoint are one, and verify.
func TestTreeHead(t *testing.T) {
	i := newInstance(t)
	must(i.AddPreChain(t.Context(), i.ca.pre(t)))
	v, err := note.NewTreeHeadVerifier(origin, i.key.Public())
	if err != nil {
		t.Fatal(err)
	}
	cp, err := note.Open(i.Checkpoint(), v)
	if err != nil {
		t.Fatal(err)
	}
	sth, err := i.TreeHead()
	if err != nil {
		t.Fatal(err)
	}
	if cp.Size != sth.Size || cp.Root != sth.Root {
		t.Errorf("checkpoint %+v, tree head %+v", cp, sth)
	}
	// RFC 6962 §3.5, written out.
	input := []byte{0, 1}
	for _, n := range []uint64{uint64(sth.Time.UnixMilli()), sth.Size} {
		for shift := 56; shift >= 0; shift -= 8 {
			input = append(input, byte(n>>shift))
		}
	}
	input = append(input, sth.Root[:]...)
	if err := cert.VerifyLogSignature(i.key.Public(), cert.SHA256WithECDSA, input, sth.Signature[4:]); err != nil {
		t.Error(err)
	}
}

// TestEntries reads over the edge of a tile.
func TestEntries(t *testing.T) {
	i := newInstance(t)
	const n = 300
	var wg sync.WaitGroup
	for range n {
		chain := i.ca.pre(t)
		wg.Go(func() { must(i.AddPreChain(t.Context(), chain)) })
	}
	wg.Wait()
	sth := must(i.TreeHead())
	if sth.Size != n {
		t.Fatalf("the log has %d entries", sth.Size)
	}
	var got []ctlog.Entry
	for from := uint64(0); from < n; from = uint64(len(got)) {
		part, err := i.Entries(t.Context(), from, from+1000)
		if err != nil {
			t.Fatal(err)
		}
		if len(part) > ctlog.MaxEntries {
			t.Fatalf("%d entries at once", len(part))
		}
		got = append(got, part...)
	}
	for index, e := range got {
		proof := must(i.log.Inclusion(t.Context(), uint64(index), n))
		checkProof(t, proof, sth, uint64(index), e.LeafInput)
	}
	part, err := i.Entries(t.Context(), 250, 260)
	if err != nil || len(part) != 11 || !bytes.Equal(part[10].LeafInput, got[260].LeafInput) || !bytes.Equal(part[0].ExtraData, got[250].ExtraData) {
		t.Errorf("%d entries, %v", len(part), err)
	}
	proof, err := i.Consistency(t.Context(), 100, n)
	if err != nil {
		t.Fatal(err)
	}
	p := make(tlog.TreeProof, len(proof))
	for k := range proof {
		p[k] = tlog.Hash(proof[k])
	}
	root := must(i.log.Root(t.Context(), 100))
	if err := tlog.CheckTree(p, n, tlog.Hash(sth.Root), 100, tlog.Hash(root)); err != nil {
		t.Error(err)
	}
	// The data tile is static-ct-api's.
	tile, err := i.Data(t.Context(), 1, n-256)
	if err != nil {
		t.Fatal(err)
	}
	if split := must(cert.SplitTile(tile)); len(split) != n-256 {
		t.Errorf("%d entries in the tile", len(split))
	}
}

func TestReadRefuses(t *testing.T) {
	i := newInstance(t)
	must(i.AddPreChain(t.Context(), i.ca.pre(t)))
	second := func(_ any, err error) error { return err }
	for name, tc := range map[string]struct {
		err  error
		kind sigbox.Kind
	}{
		"entries backwards":      {second(i.Entries(t.Context(), 2, 1)), sigbox.Invalid},
		"entries beyond the end": {second(i.Entries(t.Context(), 1, 1)), sigbox.NotFound},
		"consistency from 0":     {second(i.Consistency(t.Context(), 0, 2)), sigbox.NotFound},
		"consistency backwards":  {second(i.Consistency(t.Context(), 2, 1)), sigbox.Invalid},
		"consistency beyond":     {second(i.Consistency(t.Context(), 1, 2)), sigbox.NotFound},
		"tile beyond":            {second(i.Tile(t.Context(), 0, 1, 1)), sigbox.NotFound},
		"data beyond":            {second(i.Data(t.Context(), 0, 2)), sigbox.NotFound},
	} {
		if tc.err == nil || sigbox.KindOf(tc.err) != tc.kind {
			t.Errorf("%s: expected kind %q, found %v", name, tc.kind, tc.err)
		}
	}
	if _, _, err := i.ProofByHash(t.Context(), engine.Hash{}, 1); err == nil || sigbox.KindOf(err) != sigbox.NotFound {
		t.Errorf("unknown leaf: %v", err)
	}
	if _, _, err := i.EntryAndProof(t.Context(), 1, 1); err == nil || sigbox.KindOf(err) != sigbox.NotFound {
		t.Errorf("entry beyond the tree: %v", err)
	}
}

func TestNewRefuses(t *testing.T) {
	i := newInstance(t)
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	p384 := must(ecdsa.GenerateKey(elliptic.P384(), rand.Reader))
	for name, key := range map[string]crypto.Signer{"none": nil, "Ed25519": ed, "P-384": p384} {
		if _, err := ctlog.LogConfig(origin, key); err == nil {
			t.Errorf("%s: accepted as the log's key", name)
		}
	}
	good := ctlog.Config{Log: i.log, Key: i.key, Chains: [][][]byte{i.ca.chain}}
	for name, change := range map[string]func(*ctlog.Config){
		"no log":          func(c *ctlog.Config) { c.Log = nil },
		"no key":          func(c *ctlog.Config) { c.Key = nil },
		"an empty chain":  func(c *ctlog.Config) { c.Chains = [][][]byte{nil} },
		"rubbish":         func(c *ctlog.Config) { c.Chains = [][][]byte{{{1}}} },
		"no root":         func(c *ctlog.Config) { c.Chains = [][][]byte{i.ca.chain[:1]} },
		"an unsound root": func(c *ctlog.Config) { c.Chains = [][][]byte{{i.ca.chain[0], newAuthority(t, "ours").chain[1]}} },
	} {
		c := good
		change(&c)
		if _, err := ctlog.New(c); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	got := i.TransparencyLog()
	if got.BaseURL != "https://"+origin || got.Operator != "example" || got.Details != sigbox.ECDSAP256SHA256 || !got.ValidFor.Start.Equal(start()) {
		t.Errorf("%+v", got)
	}
	if len(i.Roots()) != 1 || i.Err() != nil {
		t.Errorf("%d roots, %v", len(i.Roots()), i.Err())
	}
}

// TestStoppedLog: a log that is closed promises nothing.
func TestStoppedLog(t *testing.T) {
	i := newInstance(t)
	if err := i.log.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	_, err := i.AddPreChain(t.Context(), i.ca.pre(t))
	if e, ok := errors.AsType[*sigbox.Error](err); !ok || e.Kind != sigbox.Unavailable {
		t.Errorf("found %v", err)
	}
}

func BenchmarkAddPreChain(b *testing.B) {
	i := newInstance(b)
	chains := make([][][]byte, 0, 4096)
	for range cap(chains) {
		chains = append(chains, i.ca.pre(b))
	}
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		must(i.AddPreChain(b.Context(), chains[n%len(chains)]))
		n++
	}
}

// TestNoChains: a log that knows of no authority takes nothing.
func TestNoChains(t *testing.T) {
	i := newInstance(t)
	if err := i.SetChains(nil); err != nil {
		t.Fatal(err)
	}
	if _, err := i.AddPreChain(t.Context(), i.ca.pre(t)); sigbox.KindOf(err) != sigbox.Invalid {
		t.Errorf("expected a refusal, found %v", err)
	}
	if roots := i.Roots(); len(roots) != 0 {
		t.Errorf("found %d roots", len(roots))
	}
}
