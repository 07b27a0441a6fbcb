package app

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/ca"
)

// TestAuditRefusalsOfOne: whoever has a token, and is refused again and again, as under
// overload, does not write until what others did is deleted.
func TestAuditRefusalsOfOne(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	now := time.Now()
	a, err := openAudit(&Config{Logger: slog.New(slog.DiscardHandler), Now: func() time.Time { return now }}, AuditSettings{File: path})
	if err != nil {
		t.Fatal(err)
	}
	refuse := func(who string, n int) {
		r := ca.Record{Type: "email", Err: sigbox.Errorf(sigbox.Unavailable, "too much")}
		r.Identity.Issuer, r.Identity.Subject = "https://issuer.example", who
		for range n {
			if err := a.issuance(t.Context(), r); err != nil {
				t.Fatal(err)
			}
		}
	}
	refuse("flood@example.com", 300)
	refuse("other@example.com", 1)
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	log, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(log), `"flood@example.com"`); n != refusalLines {
		t.Errorf("%d lines are of one who floods, expected %d", n, refusalLines)
	}
	if !bytes.Contains(log, []byte(`"other@example.com"`)) || !bytes.Contains(log, []byte(`"count":200`)) {
		t.Errorf("others, or the rest, are not in the log: %s", log[max(0, len(log)-500):])
	}
}
