package main

import (
	"fmt"
	"io"
	"time"
)

// table is the outcome, a row for each thing measured.
type table struct {
	rows [][]string
	more []string // tables of other columns, which follow
}

func newTable() *table {
	return &table{rows: [][]string{
		{"what", "clients", "sigbox", "peer", "ratio"},
		{"---", "--:", "---", "---", "--:"},
	}}
}

func (t *table) add(what, clients, sigbox, peer, ratio string) {
	t.rows = append(t.rows, []string{what, clients, sigbox, peer, ratio})
	say("%s %s: sigbox %s; %s %s", what, clients, sigbox, peer, ratio)
}

func (t *table) write(w io.Writer) error {
	for _, row := range t.rows {
		for _, cell := range row {
			if _, err := fmt.Fprint(w, "| ", cell, " "); err != nil {
				return err
			}
		}
		if _, err := fmt.Fprintln(w, "|"); err != nil {
			return err
		}
	}
	for _, text := range t.more {
		if _, err := fmt.Fprint(w, "\n", text); err != nil {
			return err
		}
	}
	return nil
}

func (r result) String() string {
	s := fmt.Sprintf("**%s/s**, p50 %s, p99 %s, max %s; cpu %d µs, peak %d MB",
		thousands(r.rate()), millis(r.p50), millis(r.p99), millis(r.max), r.cpu.Microseconds(), r.peak>>20)
	if r.shed > 0 {
		s += fmt.Sprintf("; %s told to come again", thousands(float64(r.shed)))
	}
	if r.failed > 0 {
		s += fmt.Sprintf("; %d of %d failed", r.failed, r.done)
	}
	return s
}

func millis(d time.Duration) string {
	switch ms := float64(d) / float64(time.Millisecond); {
	case ms < 10:
		return fmt.Sprintf("%.2f ms", ms)
	case ms < 100:
		return fmt.Sprintf("%.1f ms", ms)
	default:
		return fmt.Sprintf("%.0f ms", ms)
	}
}

// thousands writes 8712.3 as "8,712".
func thousands(f float64) string {
	s := fmt.Sprintf("%.0f", f)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

func times(a, b float64) string {
	if b == 0 {
		return ""
	}
	if a/b < 10 {
		return fmt.Sprintf("%.2f ×", a/b)
	}
	return fmt.Sprintf("%.0f ×", a/b)
}
