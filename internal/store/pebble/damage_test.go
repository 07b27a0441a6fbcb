package pebble_test

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/store"
	"github.com/sigbox/sigbox/internal/store/pebble"
)

// Damage in a table is told in our words, by an open store and by one that is being
// opened, with what to do; Pebble's notes and stacks are in no message.
func TestDamagedTable(t *testing.T) {
	const n = 5000
	dir := t.TempDir()
	kv := open(t, dir)
	for i := 0; i < n; i += 500 {
		var b store.Batch
		for j := i; j < i+500; j++ {
			b.Writes = append(b.Writes, store.Pair{Key: key(j), Value: bytes.Repeat(key(j), 20)})
		}
		must(t, kv.Commit(t.Context(), b))
	}
	must(t, kv.Close())
	must(t, open(t, dir).Close()) // its rows are in tables now

	checked := func(err error) {
		t.Helper()
		if text := err.Error(); sigbox.KindOf(err) != sigbox.Fatal || !strings.Contains(text, "the store in "+dir+" is damaged: ") || !strings.Contains(text, "docs/operations.md") || strings.Contains(text, "\n") {
			t.Errorf("found %v", err)
		}
	}
	logged := func(said string) {
		t.Helper()
		if len(said) > 1000 || !strings.Contains(said, "no more writes") || strings.Contains(said, "stack") || strings.Count(said, "\n") != 1 {
			t.Errorf("it said %s", said)
		}
	}
	said := make(messages, 100)
	o := pebble.Options{Logger: slog.New(slog.NewTextHandler(said, nil))}
	spoil(t, dir, func(b []byte) { b[len(b)/2] ^= 1 })
	kv, err := pebble.Open(t.Context(), dir, o)
	must(t, err)
	var failed error
	for i := range n {
		if _, err := kv.Get(t.Context(), key(i)); err != nil {
			failed = err
		}
	}
	if failed == nil || errors.Is(failed, store.ErrNotFound) {
		t.Fatalf("found %v", failed)
	}
	checked(failed)
	logged(said.one())
	for _, err := range kv.Scan(t.Context(), nil, nil) {
		failed = err
	}
	checked(failed)
	must(t, kv.Close())

	spoil(t, dir, func(b []byte) {
		for i := 0; i < len(b)-100; i += 50 {
			b[i] ^= 1
		}
	})
	if _, err = pebble.Open(t.Context(), dir, o); err == nil {
		t.Fatal("it was opened")
	}
	checked(err)
	logged(said.one())
}

// messages keeps what is logged, also by Pebble's own goroutines, one of which may be the
// first to come upon the damage.
type messages chan string

func (m messages) Write(b []byte) (int, error) {
	m <- string(b)
	return len(b), nil
}

// one waits for a message and gives all that have come.
func (m messages) one() string {
	all := <-m
	for {
		select {
		case more := <-m:
			all += more
		default:
			return all
		}
	}
}

// spoil changes the tables of a store.
func spoil(t *testing.T, dir string, change func([]byte)) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.sst"))
	must(t, err)
	for _, file := range files {
		b, err := os.ReadFile(file)
		must(t, err)
		change(b)
		must(t, os.WriteFile(file, b, 0o600))
	}
	if len(files) == 0 {
		t.Fatal("there are no tables")
	}
}
