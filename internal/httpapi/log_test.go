package httpapi

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"
)

// Refusals that come in masses are counted and not logged; everything else is.
func TestRefusalsAreLoggedSeldom(t *testing.T) {
	var out bytes.Buffer
	log := LogHandler(slog.NewTextHandler(&out, nil)).WithAttrs(nil)
	at := time.Unix(1_700_000_000, 0)
	say := func(message string, times int) string {
		out.Reset()
		for range times {
			if err := log.Handle(t.Context(), slog.NewRecord(at, slog.LevelError, message, 0)); err != nil {
				t.Fatal(err)
			}
		}
		return out.String()
	}
	if n := strings.Count(say(refusedMessage, 1000), "\n"); n != maxRefusals {
		t.Errorf("expected %d lines, found %d", maxRefusals, n)
	}
	if n := strings.Count(say("panic", 100), "\n"); n != 100 {
		t.Errorf("expected 100 lines of something else, found %d", n)
	}
	at = at.Add(time.Second)
	if text := say(refusedMessage, 1); !strings.Contains(text, "left_out=950") {
		t.Errorf("found %q", text)
	}
	if text := say(refusedMessage, 1); text == "" || strings.Contains(text, "left_out") {
		t.Errorf("found %q", text)
	}
}
