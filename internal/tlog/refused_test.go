package tlog

import (
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/store/storetest"
)

// A disk that stays full is told of now and then, not once for each request: the
// messages may go to the same disk.
func TestRefusedCommitsAreToldOfSeldom(t *testing.T) {
	cfg := testConfig(t)
	faults := &storetest.Faults{}
	cfg.KV = faults.KV(cfg.KV)
	now := time.UnixMilli(1_700_000_000_000).UTC()
	cfg.Now = func() time.Time { return now }
	var messages strings.Builder
	cfg.Logger = slog.New(slog.NewTextHandler(&messages, nil))
	l := openLog(t, cfg)
	told := func(text string, want int) {
		t.Helper()
		if n := strings.Count(messages.String(), text); n != want {
			t.Fatalf("expected %q %d times, found it %d times in:\n%s", text, want, n, messages.String())
		}
	}
	faults.Next = func(int) storetest.Fault { return storetest.Refused }
	refused := func(times int) {
		for range times {
			_, err := l.Add(t.Context(), Leaf{Data: []byte("a")})
			expectKind(t, err, sigbox.Unavailable)
		}
	}
	refused(100)
	told("nothing was written", 1)
	now = now.Add(time.Minute)
	refused(100)
	told("nothing was written", 2)
	faults.Next = nil
	add(t, l, "b")
	add(t, l, "c")
	told("the log writes again", 1)
	faults.Next = func(int) storetest.Fault { return storetest.Refused }
	refused(2)
	told("nothing was written", 3)
}
