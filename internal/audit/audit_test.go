package audit

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/sigbox/sigbox"
)

func open(t *testing.T, cfg Config) *Log {
	t.Helper()
	l, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	return l
}

func add(t *testing.T, l *Log, names ...string) {
	t.Helper()
	for _, name := range names {
		if err := l.Append(t.Context(), Event{Event: name}); err != nil {
			t.Fatal(err)
		}
	}
}

// once opens a log, adds events and closes it, as a process does.
func once(t *testing.T, path string, names ...string) {
	t.Helper()
	l := open(t, Config{Path: path})
	add(t, l, names...)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// whole wants a log of so many lines that follow each other.
func whole(t *testing.T, text string, lines int) {
	t.Helper()
	if rep, err := Verify(strings.NewReader(text), ""); err != nil || rep.Lines != lines || rep.Start != "" {
		t.Errorf("found %+v, %v, in\n%s", rep, err, text)
	}
}

// TestAppend: lines follow each other, also when many are written at the same time, and
// after a restart.
func TestAppend(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	l := open(t, Config{Path: path})
	var all sync.WaitGroup
	for i := range 100 {
		all.Go(func() { add(t, l, fmt.Sprint(i)) })
	}
	all.Wait()
	whole(t, read(t, path), 100)
	if text := read(t, path); strings.Contains(text, `"count"`) || strings.Contains(text, `""`) && !strings.Contains(text, `"prev":""`) {
		t.Errorf("empty fields are not left out: %s", text[:min(len(text), 300)])
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := l.Append(t.Context(), Event{}); sigbox.KindOf(err) != sigbox.Unavailable {
		t.Errorf("a closed log: %v", err)
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	add(t, open(t, Config{Path: path}), "later")
	whole(t, read(t, path), 101)
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("found %v, %v", info, err)
	}
}

// TestCrash: a part of a line, which nobody was told of, is gone after a restart.
func TestCrash(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	once(t, path, "first", "second")
	good := read(t, path)
	for _, part := range []string{`{"time":"20`, "x", strings.Repeat("y", maxLine)} {
		write(t, path, good+part)
		once(t, path, "third")
		whole(t, read(t, path), 3)
	}
	write(t, path, `{"time`)
	once(t, path, "first")
	whole(t, read(t, path), 1)
	for _, bad := range []string{strings.Repeat("z", 3*maxLine)} {
		write(t, path, bad)
		if _, err := Open(Config{Path: path}); sigbox.KindOf(err) != sigbox.Invalid {
			t.Errorf("found %v", err)
		}
	}
}

// TestRotate: files follow each other as lines do, also after a restart at the border, and
// the oldest go.
func TestRotate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	cfg := Config{Path: path, MaxBytes: 150, Keep: 2}
	l := open(t, cfg)
	for i := range 10 {
		add(t, l, fmt.Sprint(i))
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	var prev string
	for _, p := range []string{path + ".2", path + ".1", path} {
		rep, err := Verify(strings.NewReader(read(t, p)), prev)
		if err != nil || rep.Lines != 2 {
			t.Fatalf("%s: %+v, %v", p, rep, err)
		}
		prev = rep.End
	}
	if _, err := os.Stat(path + ".3"); !os.IsNotExist(err) {
		t.Errorf("the oldest is there: %v", err)
	}
	if err := os.Rename(path, path+".1"); err != nil { // as if it had been killed in between
		t.Fatal(err)
	}
	add(t, open(t, cfg), "next")
	if rep, err := Verify(strings.NewReader(read(t, path)), prev); err != nil || rep.Lines != 1 {
		t.Errorf("found %+v, %v", rep, err)
	}
}

// TestReopen: a file that somebody has renamed is let go, and the next goes on from it.
func TestReopen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	l := open(t, Config{Path: path})
	add(t, l, "first")
	if err := os.Rename(path, path+"-2026"); err != nil {
		t.Fatal(err)
	}
	l.Reopen()
	add(t, l, "second")
	whole(t, read(t, path+"-2026")+read(t, path), 2)
}

// TestFailure: what cannot be written is an error, and once it can be the log goes on.
func TestFailure(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "log")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "audit.jsonl")
	l := open(t, Config{Path: path})
	add(t, l, "first")
	good := read(t, path)
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	l.Reopen()
	if err := l.Append(t.Context(), Event{Event: "lost"}); sigbox.KindOf(err) != sigbox.Unavailable || l.Err() == nil {
		t.Errorf("found %v, %v", err, l.Err())
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	add(t, l, "second")
	if l.Err() != nil {
		t.Errorf("it is well again: %v", l.Err())
	}
	whole(t, good+read(t, path), 2)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := l.Append(ended, Event{Event: "x"}); err != nil && sigbox.KindOf(err) != sigbox.Unavailable {
		t.Errorf("found %v", err)
	}
	if _, err := Open(Config{Path: dir}); sigbox.KindOf(err) != sigbox.Invalid {
		t.Errorf("a directory: %v", err)
	}
	if err := l.Append(t.Context(), Event{Event: strings.Repeat("x", maxLine)}); sigbox.KindOf(err) != sigbox.Unavailable {
		t.Errorf("a long line: %v", err)
	}
}

func TestWriter(t *testing.T) {
	var b bytes.Buffer
	l, err := Open(Config{Writer: &b})
	if err != nil {
		t.Fatal(err)
	}
	add(t, l, "first", "second")
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	whole(t, b.String(), 2)
}

// TestTampering: every line that is changed, taken out, put in or moved shows.
func TestTampering(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	add(t, open(t, Config{Path: path}), "a", "b", "c", "d")
	lines := strings.SplitAfter(read(t, path), "\n")[:4]
	join := func(l ...string) string { return strings.Join(l, "") }
	for name, text := range map[string]string{
		"changed":           join(lines[0], strings.Replace(lines[1], `"b"`, `"x"`, 1), lines[2], lines[3]),
		"taken out":         join(lines[0], lines[2], lines[3]),
		"twice":             join(lines[0], lines[1], lines[1], lines[2]),
		"moved":             join(lines[0], lines[2], lines[1], lines[3]),
		"put in":            join(lines[0], `{"time":"2026-01-01T00:00:00Z","event":"x","prev":""}`+"\n", lines[1]),
		"an unknown member": join(lines[0], strings.Replace(lines[1], `"event"`, `"x":1,"event"`, 1), lines[2]),
		"spaces":            join(lines[0], strings.Replace(lines[1], `{`, `{ `, 1), lines[2]),
		"no JSON":           join(lines[0], "hello\n", lines[1]),
		"endless":           join(lines[0], strings.Repeat("x", 2*maxLine)),
	} {
		if _, err := Verify(strings.NewReader(text), ""); sigbox.KindOf(err) != sigbox.NotVerified {
			t.Errorf("%s: found %v", name, err)
		}
	}
	if _, err := Verify(strings.NewReader(lines[1]), strings.Repeat("0", 64)); sigbox.KindOf(err) != sigbox.NotVerified {
		t.Errorf("another file before it: found %v", err)
	}
}

func FuzzVerify(f *testing.F) {
	f.Add([]byte(`{"time":"2026-01-01T00:00:00Z","event":"start","prev":""}` + "\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, err := Verify(bytes.NewReader(b), ""); err != nil && sigbox.KindOf(err) != sigbox.NotVerified {
			t.Errorf("found %v", err)
		}
	})
}

// BenchmarkAppend is what a line costs while many wait: all of them share a sync.
func BenchmarkAppend(b *testing.B) {
	l, err := Open(Config{Path: filepath.Join(b.TempDir(), "audit.jsonl")})
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	b.SetParallelism(32)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if err := l.Append(b.Context(), Event{Event: "certificate", Subject: "ada@example.com", Key: strings.Repeat("0", 64)}); err != nil {
				b.Error(err)
			}
		}
	})
}

// TestOneBadEvent: an event that cannot be a line is refused alone; those that are written
// with it are written.
func TestOneBadEvent(t *testing.T) {
	var out bytes.Buffer
	l := &Log{cfg: Config{Writer: &out}, work: make(chan struct{}, 1)}
	var all []*entry
	for _, subject := range []string{"first", strings.Repeat("x", maxLine), "not \xff UTF-8", "last"} {
		w := &entry{event: Event{Event: "certificate", Subject: subject}, done: make(chan error, 1)}
		if err := l.enqueue(w); err != nil {
			t.Fatal(err)
		}
		all = append(all, w)
	}
	l.flush()
	for i, bad := range []bool{false, true, true, false} {
		if err := <-all[i].done; (err != nil) != bad || bad && sigbox.KindOf(err) != sigbox.Unavailable {
			t.Errorf("event %d: %v", i, err)
		}
	}
	whole(t, out.String(), 2)
	if err := l.Err(); err != nil {
		t.Errorf("the log is said to be out of order: %v", err)
	}
}
