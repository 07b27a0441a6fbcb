package tlog

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/store"
)

// timedLog is a log of n entries, the i-th logged at the time that at gives, in
// seconds, with all that is full moved.
func timedLog(t *testing.T, cfg Config, n int, at func(i int) int64) *Log {
	t.Helper()
	var now time.Time
	cfg.Now = func() time.Time { return now }
	l := openLog(t, cfg)
	for i := range n {
		now = time.Unix(at(i), 0)
		add(t, l, fmt.Sprint("entry ", i))
	}
	settleTiles(t, l)
	return l
}

func TestBetween(t *testing.T) {
	const size = 600
	l := timedLog(t, testConfig(t), size, func(i int) int64 { return 1000 + int64(i)/2 }) // two each second
	second := func(s int64) time.Time { return time.Unix(1000+s, 0) }
	for _, tt := range []struct {
		name          string
		after, before time.Time
		want          []Span
	}{
		{"no bounds", time.Time{}, time.Time{}, []Span{{0, size}}},
		{"after", second(10), time.Time{}, []Span{{20, size}}},
		{"before", time.Time{}, second(10), []Span{{0, 20}}},
		{"both", second(10), second(200), []Span{{20, 400}}},
		{"one moment", second(128), second(129), []Span{{256, 258}}},
		{"all", second(-1), second(1000), []Span{{0, size}}},
		{"too early", time.Time{}, second(0), nil},
		{"too late", second(300), time.Time{}, nil},
		{"empty", second(20), second(20), nil},
		{"turned round", second(30), second(20), nil},
		{"between two", second(10).Add(time.Millisecond), second(11), nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := l.Between(t.Context(), tt.after, tt.before)
			must(t, err)
			if d := cmp.Diff(tt.want, got); d != "" {
				t.Errorf("spans (-want +got):\n%s", d)
			}
		})
	}
}

// Where time was allowed to go back there is a further span.
func TestBetweenSteps(t *testing.T) {
	cfg := testConfig(t)
	l := timedLog(t, cfg, 300, func(i int) int64 { return 1000 + int64(i) })
	must(t, cfg.KV.Commit(t.Context(), store.Batch{Writes: []store.Pair{{Key: numberKey(rowStep, 300), Value: []byte("from then to now")}}}))
	steps, err := l.steps(t.Context(), 300)
	must(t, err)
	if len(steps) > 0 {
		t.Fatalf("a step that nothing was logged after: found %v", steps)
	}
	// As if the last entries had been logged before the first.
	for i := uint64(290); i < 300; i++ {
		v, err := cfg.KV.Get(t.Context(), numberKey(rowEntry, i))
		must(t, err)
		row, err := parseEntry(numberKey(rowEntry, i), v)
		must(t, err)
		v = appendEntry(nil, time.Unix(1100+int64(i), 0).Add(-290*time.Second).UnixMilli(), row.leaf, row.entry)
		must(t, cfg.KV.Commit(t.Context(), store.Batch{Writes: []store.Pair{{Key: numberKey(rowEntry, i), Value: v}}}))
	}
	must(t, cfg.KV.Commit(t.Context(), store.Batch{Writes: []store.Pair{{Key: numberKey(rowStep, 290), Value: []byte("from then to now")}}}))
	got, err := l.Between(t.Context(), time.Unix(1105, 0), time.Unix(1108, 0))
	must(t, err)
	if d := cmp.Diff([]Span{{105, 108}, {295, 298}}, got); d != "" {
		t.Errorf("spans (-want +got):\n%s", d)
	}
}

func TestPutRowsAndBundle(t *testing.T) {
	cfg := testConfig(t)
	l := timedLog(t, cfg, 300, func(i int) int64 { return int64(i) })
	must(t, l.PutRows(t.Context(), []store.Pair{{Key: []byte("late"), Value: []byte("row")}}))
	for _, read := range []func() ([]byte, error){
		func() ([]byte, error) { return l.Row(t.Context(), []byte("late")) },
		func() ([]byte, error) { return ServiceRow(t.Context(), cfg.KV, []byte("late")) },
	} {
		if v, err := read(); err != nil || string(v) != "row" {
			t.Errorf("found %q, %v", v, err)
		}
	}
	for _, tt := range []struct {
		n uint64
		w int
	}{{0, 256}, {0, 3}, {1, 44}, {1, 1}} {
		entries, err := l.Bundle(t.Context(), tt.n, tt.w)
		must(t, err)
		if last := fmt.Sprint("entry ", tt.n*TileWidth+uint64(tt.w)-1); len(entries) != tt.w || string(entries[tt.w-1]) != last {
			t.Errorf("bundle %+v: %d entries, the last %q", tt, len(entries), entries[len(entries)-1])
		}
	}
	_, err := l.Bundle(t.Context(), 1, 45)
	expectKind(t, err, sigbox.NotFound)
}

// Rows that follow from no entry are not compared, and stay.
func TestCheckGiven(t *testing.T) {
	cfg := checkedConfig(t)
	l := openLog(t, cfg)
	fillRows(t, l, 10)
	must(t, l.PutRows(t.Context(), []store.Pair{{Key: []byte("given/a")}}))
	if r := mustCheck(t, cfg); r.OK() || r.Findings[0].What != FoundRow {
		t.Fatalf("a row that nobody gave: found %+v", r.Findings)
	}
	cfg.Given = func(key []byte) bool { return bytes.HasPrefix(key, []byte("given/")) }
	must(t, l.PutRows(t.Context(), []store.Pair{{Key: []byte("stray")}}))
	r, err := Repair(t.Context(), cfg, CheckOptions{})
	must(t, err)
	if len(r.Findings) != 1 || !r.OK() {
		t.Fatalf("found %+v", r.Findings)
	}
	if _, err := l.Row(t.Context(), []byte("given/a")); err != nil {
		t.Error(err)
	}
}
