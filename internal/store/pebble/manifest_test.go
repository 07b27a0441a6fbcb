package pebble_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/cockroachdb/pebble/v2/record"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/store"
	"github.com/sigbox/sigbox/internal/store/pebble"
)

// flushedStore makes a store of n rows whose manifest ends with the record of the
// flush that brought them to a table. It gives the manifest's name, and where that
// record begins.
func flushedStore(t testing.TB, dir string, n int) (manifest string, last int64) {
	t.Helper()
	kv := open(t, dir)
	for i := range n {
		must(t, put(t, kv, string(key(i))))
	}
	must(t, kv.Close())
	must(t, open(t, dir).Close()) // rows of the log file are flushed when it is opened
	files, err := filepath.Glob(filepath.Join(dir, "MANIFEST-??????"))
	must(t, err)
	manifest = files[len(files)-1]
	b, err := os.ReadFile(manifest)
	must(t, err)
	records := record.NewReader(bytes.NewReader(b), 0)
	for {
		at := records.Offset()
		r, err := records.Next()
		if errors.Is(err, io.EOF) {
			return manifest, last
		}
		must(t, err)
		_, err = io.Copy(io.Discard, r)
		must(t, err)
		last = at
	}
}

// Pebble takes a record of the manifest that it cannot read for a torn end, and would
// open without the table of the last flush. Each bit of that record is flipped, and
// each of its ends cut off: the store is refused, and nothing in it is changed.
func TestManifestEnd(t *testing.T) {
	dir := t.TempDir()
	manifest, last := flushedStore(t, dir, 100)
	right, err := os.ReadFile(manifest)
	must(t, err)
	t.Logf("the last record has %d bytes", int64(len(right))-last)
	if int64(len(right))-last < 20 {
		t.Fatal("it names no table")
	}
	refused := func(what string, at int, b []byte) {
		t.Helper()
		must(t, os.WriteFile(manifest, b, 0o600))
		before, err := os.ReadDir(dir)
		must(t, err)
		kv, err := pebble.Open(t.Context(), dir, pebble.Options{})
		if err == nil {
			_, err := kv.Get(t.Context(), key(1))
			t.Fatalf("%s at %d: it opens, and a row gives %v", what, at, errors.Join(err, kv.Close()))
		}
		if sigbox.KindOf(err) != sigbox.Fatal {
			t.Fatalf("%s at %d: expected kind fatal, found %v", what, at, err)
		}
		if after, err := os.ReadDir(dir); err != nil || len(after) != len(before) {
			t.Fatalf("%s at %d: it changed files: %v, %v", what, at, before, after)
		}
	}
	for at := int(last); at < len(right); at++ {
		for bit := range 8 {
			b := bytes.Clone(right)
			b[at] ^= 1 << bit
			refused("flipped", at, b)
		}
		refused("cut off", at, right[:at])
	}
	refused("zeros", int(last), append(bytes.Clone(right[:last]), make([]byte, len(right)-int(last))...))

	must(t, os.WriteFile(manifest, right, 0o600))
	hasRows(t, dir, 100)
}

// hasRows opens a store and makes sure that it has its n rows.
func hasRows(t testing.TB, dir string, n int) {
	t.Helper()
	kv := open(t, dir)
	defer func() { must(t, kv.Close()) }()
	for i := range n {
		if _, err := kv.Get(t.Context(), key(i)); err != nil {
			t.Fatalf("row %d: %v", i, err)
		}
	}
}

// What follows the synced part of a manifest was torn by a crash: it is left out, and
// all rows are there. The same holds for a damaged or torn file of notes, and for a
// store of a version that made none.
func TestManifestTorn(t *testing.T) {
	for name, tear := range map[string]func(t *testing.T, manifest string){
		"manifest":   func(t *testing.T, manifest string) { appendTo(t, manifest, []byte{1, 2, 3, 4, 9, 0, 1, 5}) },
		"zeros":      func(t *testing.T, manifest string) { appendTo(t, manifest, make([]byte, 4096)) },
		"note":       func(t *testing.T, manifest string) { appendTo(t, manifest+".synced", []byte{0, 0, 0}) },
		"wrong note": func(t *testing.T, manifest string) { appendTo(t, manifest+".synced", bytes.Repeat([]byte{1}, 12)) },
		"no notes":   func(t *testing.T, manifest string) { must(t, os.Remove(manifest+".synced")) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			manifest, _ := flushedStore(t, dir, 10)
			tear(t, manifest)
			hasRows(t, dir, 10)
			hasRows(t, dir, 10) // with the manifest that was made meanwhile
		})
	}
}

func appendTo(t testing.TB, name string, b []byte) {
	t.Helper()
	have, err := os.ReadFile(name)
	must(t, err)
	must(t, os.WriteFile(name, append(have, b...), 0o600))
}

// The notes say how long the manifest was whenever it was synced, and go with it.
func TestManifestNotes(t *testing.T) {
	dir := t.TempDir()
	for range 4 { // each makes a manifest
		manifest, _ := flushedStore(t, dir, 10)
		info, err := os.Stat(manifest)
		must(t, err)
		notes, err := os.ReadFile(manifest + ".synced")
		must(t, err)
		if len(notes) == 0 || len(notes)%12 != 0 || binary.BigEndian.Uint64(notes[len(notes)-12:]) != uint64(info.Size()) {
			t.Fatalf("a manifest of %d bytes, and notes %x", info.Size(), notes)
		}
	}
	notes, err := filepath.Glob(filepath.Join(dir, "*.synced"))
	must(t, err)
	for _, n := range notes {
		if _, err := os.Stat(n[:len(n)-len(".synced")]); err != nil {
			t.Errorf("notes are left: %v", err)
		}
	}
	if len(notes) > 3 {
		t.Errorf("%d manifests", len(notes))
	}
}

// Without the check, the rows of a damaged manifest are gone: the test of it is worth
// something.
func TestManifestUnchecked(t *testing.T) {
	dir := t.TempDir()
	manifest, _ := flushedStore(t, dir, 10)
	b, err := os.ReadFile(manifest)
	must(t, err)
	b[len(b)-1] ^= 1
	must(t, os.WriteFile(manifest, b, 0o600))
	must(t, os.Remove(manifest+".synced"))
	kv := open(t, dir)
	defer func() { must(t, kv.Close()) }()
	if _, err := kv.Get(t.Context(), key(1)); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("Pebble has learned to tell: %v", err)
	}
}
