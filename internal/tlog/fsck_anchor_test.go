package tlog

import (
	"errors"
	"strings"
	"testing"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/wire/note"
)

// A check compares what the anchor holds with the log, and changes neither.
func TestCheckAnchor(t *testing.T) {
	cfg, anchor := anchoredConfig(t)
	l := openLog(t, cfg)
	fill(t, l, nil, 300)
	closeLog(t, l)
	older := anchor.text
	backup := copyOf(t, cfg)
	l = openLog(t, cfg)
	fill(t, l, nil, 305)
	closeLog(t, l)
	newest := anchor.text
	fork := copyOf(t, backup)
	fork.Anchor = &memoryAnchor{text: older}
	l = openLog(t, fork)
	for _, leaf := range []string{"a", "b", "c", "d", "e", "f"} {
		add(t, l, leaf)
	}
	closeLog(t, l)
	fork.Anchor = anchor
	other, err := note.Sign(sigbox.Checkpoint{Origin: origin, Size: 1}, testSigner(t, "another"))
	must(t, err)

	for name, tt := range map[string]struct {
		cfg     Config
		text    string
		err     error
		say     string // of the one finding; "": there is none
		size    uint64
		emptied bool
	}{
		"of the head":            {cfg: cfg, text: newest, size: 305},
		"behind":                 {cfg: cfg, text: older, size: 300},
		"an older copy":          {cfg: backup, text: newest, size: 305, say: "one of 305: the log has lost entries"},
		"an older copy's":        {cfg: backup, text: older, size: 300},
		"a fork":                 {cfg: fork, text: newest, size: 305, say: "the log was forked"},
		"gone":                   {cfg: cfg, say: "none"},
		"emptied":                {cfg: cfg, emptied: true, say: "another"},
		"another key's":          {cfg: cfg, text: other, say: "another"},
		"it cannot be read":      {cfg: cfg, text: newest, err: errors.New("stale file handle"), say: "cannot be read: stale file handle"},
		"of a log that had none": {cfg: unanchoredLog(t), say: ""},
	} {
		t.Run(name, func(t *testing.T) {
			anchor := &memoryAnchor{text: tt.text, err: tt.err, emptied: tt.emptied}
			tt.cfg.Anchor = anchor
			for _, check := range []func() (*Report, error){
				func() (*Report, error) { return Check(t.Context(), tt.cfg, CheckOptions{}) },
				func() (*Report, error) { return Repair(t.Context(), tt.cfg, CheckOptions{}) },
			} {
				r, err := check()
				must(t, err)
				switch {
				case tt.say == "" && !r.OK():
					t.Errorf("found %+v", r.Findings)
				case tt.say != "" && (r.OK() || len(r.Findings) != 1 || r.Lost != 1 || r.Findings[0].What != FoundAnchor || !strings.Contains(r.Findings[0].Got, tt.say)):
					t.Errorf("found %+v", r.Findings)
				}
				if r.Anchored != tt.size || !r.Compared || r.HasAnchor == (name == "of a log that had none") {
					t.Errorf("found %+v", r)
				}
			}
			if anchor.text != tt.text {
				t.Error("the anchor was written")
			}
		})
	}
	cfg.Anchor = nil
	if r := mustCheck(t, cfg); !r.OK() || r.Compared || !r.HasAnchor {
		t.Errorf("without its anchor: %+v", r)
	}
}

// unanchoredLog is a log that was never opened with an anchor.
func unanchoredLog(t testing.TB) Config {
	t.Helper()
	cfg := testConfig(t)
	l := openLog(t, cfg)
	add(t, l, "a")
	closeLog(t, l)
	return cfg
}
