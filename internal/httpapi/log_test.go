package httpapi

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/sigbox/sigbox"
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

// Clients are asked to wait for longer when only a restart helps.
func TestPatience(t *testing.T) {
	shut := sigbox.Errorf(sigbox.Fatal, "forked")
	for name, tt := range map[string]struct {
		err  error
		want int
	}{
		"no room":     {sigbox.Errorf(sigbox.Unavailable, "overloaded"), retryAfter},
		"a cause":     {sigbox.Errorf(sigbox.Unavailable, "full").WithCause(errors.New("disk")), retryAfter},
		"stopped":     {sigbox.Errorf(sigbox.Unavailable, "takes no entries").WithCause(shut), retryStopped},
		"deeper":      {sigbox.Errorf(sigbox.Unavailable, "a").WithCause(sigbox.Errorf(sigbox.Unavailable, "b").WithCause(shut)), retryStopped},
		"for a while": {sigbox.Errorf(sigbox.Unavailable, "a").WithCause(sigbox.Errorf(sigbox.Unavailable, "not compared")), retryAfter},
	} {
		if got := patience(tt.err); got != tt.want {
			t.Errorf("%s: %d s", name, got)
		}
	}
}
