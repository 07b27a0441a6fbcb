package ctlog_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/ctlog"
	"github.com/sigbox/sigbox/internal/fixture"
	"github.com/sigbox/sigbox/internal/store"
	"github.com/sigbox/sigbox/internal/store/memory"
	engine "github.com/sigbox/sigbox/internal/tlog"
	"github.com/sigbox/sigbox/wire/cert"
)

// TestChecker: what the log has taken is found good; what a hash does not cover, or a
// row holds, cannot be another without being found.
func TestChecker(t *testing.T) {
	i := newInstance(t)
	chains := [][][]byte{i.ca.pre(t), i.ca.pre(t)}
	for _, chain := range chains {
		i.verify(t, must(i.AddPreChain(t.Context(), chain)), chain)
	}
	if _, err := i.Add(t.Context(), append([][]byte{i.ca.leaf(t)}, i.ca.chain...), false); err != nil {
		t.Fatal(err)
	}
	if err := i.PublishIssuers(t.Context()); err != nil {
		t.Fatal(err)
	}
	cfg := must(ctlog.LogConfig(origin, i.key))
	cfg.KV, cfg.Blob = i.kv, i.blob
	c := ctlog.NewChecker(i.kv)
	r, err := engine.Check(t.Context(), cfg, engine.CheckOptions{Entry: func(index uint64, logged time.Time, data []byte) error {
		return c.Entry(t.Context(), index, logged, data)
	}})
	if err != nil || r.Entries != 3 || !r.OK() {
		t.Fatalf("%+v, %v", r, err)
	}

	data, at, err := i.log.Entry(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	other := newAuthority(t, "ours") // of the same name
	for name, test := range map[string]struct {
		change func(e *cert.Entry, index *uint64, at *time.Time)
		kind   sigbox.Kind
	}{
		"another place": {func(_ *cert.Entry, index *uint64, _ *time.Time) { *index = 1 }, sigbox.NotVerified},
		"another time":  {func(_ *cert.Entry, _ *uint64, at *time.Time) { *at = at.Add(time.Millisecond) }, sigbox.NotVerified},
		"no place":      {func(e *cert.Entry, _ *uint64, _ *time.Time) { e.Extensions = nil }, sigbox.NotVerified},
		"broken place":  {func(e *cert.Entry, _ *uint64, _ *time.Time) { e.Extensions = []byte{0} }, sigbox.Invalid},
		"another precertificate": {func(e *cert.Entry, _ *uint64, _ *time.Time) {
			e.Precertificate = chains[1][0]
		}, sigbox.NotVerified},
		"of another authority": {func(e *cert.Entry, _ *uint64, _ *time.Time) {
			e.Precertificate = other.leaf(t, cert.Poison())
			e.Certificate = must(cert.PrecertTBS(e.Precertificate))
		}, sigbox.NotVerified},
		"the key of another":      {func(e *cert.Entry, _ *uint64, _ *time.Time) { e.IssuerKeyHash[0] ^= 1 }, sigbox.NotVerified},
		"no precertificate":       {func(e *cert.Entry, _ *uint64, _ *time.Time) { e.Precertificate = i.ca.leaf(t) }, sigbox.NotVerified},
		"no issuer":               {func(e *cert.Entry, _ *uint64, _ *time.Time) { e.Chain = nil }, sigbox.Invalid},
		"the root alone":          {func(e *cert.Entry, _ *uint64, _ *time.Time) { e.Chain = e.Chain[1:] }, sigbox.NotVerified},
		"an unknown issuer":       {func(e *cert.Entry, _ *uint64, _ *time.Time) { e.Chain[1] = [32]byte{1} }, sigbox.NotFound},
		"itself above its issuer": {func(e *cert.Entry, _ *uint64, _ *time.Time) { e.Chain[1] = e.Chain[0] }, sigbox.NotVerified},
		"its issuer above the root": {func(e *cert.Entry, _ *uint64, _ *time.Time) {
			e.Chain = append(e.Chain, e.Chain[0])
		}, sigbox.NotVerified},
		"no certificate": {func(e *cert.Entry, _ *uint64, _ *time.Time) {
			e.Precert, e.Precertificate, e.Certificate = false, nil, []byte("x")
		}, sigbox.Invalid},
	} {
		e, _, err := cert.ParseTileLeaf(data)
		if err != nil {
			t.Fatal(err)
		}
		e.Chain = slices.Clone(e.Chain)
		index, at := uint64(0), at
		test.change(&e, &index, &at)
		if err := c.Entry(t.Context(), index, at, e.AppendTileLeaf(nil)); err == nil || sigbox.KindOf(err) != test.kind {
			t.Errorf("%s: expected %s, found %v", name, test.kind, err)
		}
	}
	for name, b := range map[string][]byte{"cut": data[:len(data)-1], "longer": append(bytes.Clone(data), 0), "nothing": nil} {
		if err := c.Entry(t.Context(), 0, at, b); err == nil || sigbox.KindOf(err) != sigbox.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestDamagedIssuer: a row with another certificate is found, and not served.
func TestDamagedIssuer(t *testing.T) {
	i := newInstance(t)
	key := fixture.Key(t)
	second := i.ca.intermediate(t, "second", key.Public(), i.ca.chain[1], i.ca.root)
	chain := [][]byte{i.ca.leafBy(t, key, second, cert.Poison()), second, i.ca.chain[1]}
	i.verify(t, must(i.AddPreChain(t.Context(), chain)), chain)
	data, at, err := i.log.Entry(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := ctlog.NewChecker(i.kv).Entry(t.Context(), 0, at, data); err != nil {
		t.Fatal(err)
	}
	fp := sha256.Sum256(second)
	setRow(t.Context(), t, i.kv, fp, i.ca.chain[0])
	if err := ctlog.NewChecker(i.kv).Entry(t.Context(), 0, at, data); err == nil || sigbox.KindOf(err) != sigbox.NotVerified {
		t.Errorf("another issuer: %v", err)
	}
	if der, err := i.Issuer(t.Context(), fp); err == nil {
		t.Errorf("it is served: %x", der)
	}
}

// TestIssuerFiles: the certificate of an issuer is published before an entry names it;
// a file that is gone or damaged is found, and made anew by a repair and at the start.
func TestIssuerFiles(t *testing.T) {
	i := newInstance(t)
	key := fixture.Key(t)
	second := i.ca.intermediate(t, "second", key.Public(), i.ca.chain[1], i.ca.root)
	chain := [][]byte{i.ca.leafBy(t, key, second, cert.Poison()), second, i.ca.chain[1]}
	file := func(der []byte) string { return fmt.Sprintf("issuer/%x", sha256.Sum256(der)) }
	expect := func(want ...[]byte) {
		t.Helper()
		for _, der := range want {
			if b, err := i.blob.Get(t.Context(), file(der), 1<<16); err != nil || !bytes.Equal(b, der) {
				t.Errorf("published issuer: %v", err)
			}
		}
	}
	i.verify(t, must(i.AddPreChain(t.Context(), chain)), chain)
	expect(second)
	if err := i.PublishIssuers(t.Context()); err != nil {
		t.Fatal(err)
	}
	expect(second, i.ca.chain[0], i.ca.chain[1])

	files := i.blob.(store.Publisher)
	damage := func() {
		t.Helper()
		if err := errors.Join(files.Replace(t.Context(), file(second), []byte("damaged")), files.Remove(t.Context(), file(i.ca.chain[1]))); err != nil {
			t.Fatal(err)
		}
	}
	cfg := must(ctlog.LogConfig(origin, i.key))
	cfg.KV, cfg.Blob = i.kv, i.blob
	damage()
	r := must(engine.Check(t.Context(), cfg, engine.CheckOptions{}))
	names := []string{}
	for _, f := range r.Findings {
		if f.What != engine.FoundFile || !f.Derived {
			t.Errorf("%+v", f)
		}
		names = append(names, f.Name)
	}
	want := []string{file(second), file(i.ca.chain[1])}
	slices.Sort(want)
	if !slices.Equal(names, want) {
		t.Errorf("expected %v, found %v", want, names)
	}
	if r := must(engine.Repair(t.Context(), cfg, engine.CheckOptions{})); !r.OK() || len(r.Findings) != 2 {
		t.Errorf("%+v", r)
	}
	expect(second, i.ca.chain[1])
	damage()
	if err := i.PublishIssuers(t.Context()); err != nil {
		t.Fatal(err)
	}
	expect(second, i.ca.chain[1])

	// A row that is damaged makes no file.
	setRow(t.Context(), t, i.kv, sha256.Sum256(second), i.ca.chain[0])
	if err := i.PublishIssuers(t.Context()); sigbox.KindOf(err) != sigbox.NotVerified {
		t.Errorf("%v", err)
	}
	r = must(engine.Repair(t.Context(), cfg, engine.CheckOptions{}))
	if r.OK() || len(r.Findings) != 1 || r.Findings[0].What != engine.FoundRow || r.Findings[0].Derived {
		t.Errorf("%+v", r)
	}
	expect(second)
}

// TestUnpublishedIssuer: an entry whose issuer cannot be published is not logged. The
// log's own authorities need no file for their entries.
func TestUnpublishedIssuer(t *testing.T) {
	i := newInstance(t)
	i.files.err = errors.New("read-only")
	own := i.ca.pre(t)
	i.verify(t, must(i.AddPreChain(t.Context(), own)), own)
	key := fixture.Key(t)
	second := i.ca.intermediate(t, "second", key.Public(), i.ca.chain[1], i.ca.root)
	chain := [][]byte{i.ca.leafBy(t, key, second, cert.Poison()), second, i.ca.chain[1]}
	if _, err := i.AddPreChain(t.Context(), chain); err == nil || sigbox.KindOf(err) != sigbox.Unavailable {
		t.Fatalf("%v", err)
	}
	if size := i.log.Head().Size; size != 1 {
		t.Errorf("the log has %d entries", size)
	}
	i.files.err = nil
	i.verify(t, must(i.AddPreChain(t.Context(), chain)), chain)
}

// setRow writes the certificate of an issuer.
func setRow(ctx context.Context, t *testing.T, kv store.KV, fp [32]byte, der []byte) {
	t.Helper()
	if err := kv.Commit(ctx, store.Batch{Writes: []store.Pair{{Key: append([]byte("xissuer/"), fp[:]...), Value: der}}}); err != nil {
		t.Fatal(err)
	}
}

// lateAnchor cannot be read until it is there.
type lateAnchor struct {
	there atomic.Bool
	text  atomic.Value
}

func (a *lateAnchor) Load(context.Context) (string, error) {
	if !a.there.Load() {
		return "", errors.New("connection refused")
	}
	if text, ok := a.text.Load().(string); ok {
		return text, nil
	}
	return "", store.ErrNotFound
}

func (a *lateAnchor) Store(_ context.Context, text string) error {
	a.text.Store(text)
	return nil
}

// A log that is shut publishes no issuer either; what is left to publish comes before
// the first entry that it takes.
func TestShutLogPublishesNoIssuer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		anchor := &lateAnchor{}
		blob := memory.NewBlob()
		i := &instance{ca: newAuthority(t, "ours"), key: fixture.Key(t), kv: memory.NewKV(), blob: blob, files: &failingFiles{Publisher: blob}, anchor: anchor}
		i.open(t, i.ca.chain)
		key := fixture.Key(t)
		second := i.ca.intermediate(t, "second", key.Public(), i.ca.chain[1], i.ca.root)
		chain := [][]byte{i.ca.leafBy(t, key, second, cert.Poison()), second, i.ca.chain[1]}
		published := func() (n int) {
			for _, err := range blob.List(t.Context(), "issuer/") {
				if err != nil {
					t.Fatal(err)
				}
				n++
			}
			return n
		}
		if err := i.PublishIssuers(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := i.AddPreChain(t.Context(), chain); sigbox.KindOf(err) != sigbox.Unavailable {
			t.Fatalf("found %v", err)
		}
		if n := published(); n != 0 {
			t.Errorf("%d are published", n)
		}
		anchor.there.Store(true)
		time.Sleep(time.Minute)
		synctest.Wait()
		i.verify(t, must(i.AddPreChain(t.Context(), chain)), chain)
		if n := published(); n != 3 {
			t.Errorf("%d are published", n)
		}
	})
}
