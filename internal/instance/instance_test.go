package instance

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/unprivileged"
	"github.com/sigbox/sigbox/wire/trust"
)

func newStore(t *testing.T) *Store {
	dir := t.TempDir()
	return Open(filepath.Join(dir, "home"), filepath.Join(dir, "cache"))
}

func acme() Instance {
	return Instance{
		Name: "acme", URL: "https://sigstore.acme.example", Mirror: "https://sigstore.acme.example/tuf",
		Added: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
	}
}

func wantKind(t *testing.T, err error, kind sigbox.Kind) {
	t.Helper()
	if err == nil {
		t.Fatal("no error")
	}
	if got := sigbox.KindOf(err); got != kind {
		t.Errorf("kind %v, want %v: %v", got, kind, err)
	}
}

func TestStore(t *testing.T) {
	s := newStore(t)
	if name, err := s.Current(); name != PublicGood || err != nil {
		t.Errorf("%q, %v", name, err)
	}
	if err := s.Add(acme(), []byte("root"), ""); err != nil {
		t.Fatal(err)
	}
	for _, by := range []string{"acme", "https://sigstore.acme.example", "https://SIGSTORE.acme.example/"} {
		i, err := s.Find(by)
		if d := cmp.Diff(acme(), i); d != "" || err != nil {
			t.Errorf("%s: %v %s", by, err, d)
		}
	}
	if root, err := s.Root(acme()); string(root) != "root" || err != nil {
		t.Errorf("%q, %v", root, err)
	}
	list, err := s.List()
	if err != nil || len(list) != 2 || list[0].Name != PublicGood || list[1].Name != "acme" {
		t.Errorf("%v, %v", list, err)
	}
	if err := s.Use("https://sigstore.acme.example"); err != nil {
		t.Fatal(err)
	}
	if name, err := s.Current(); name != "acme" || err != nil {
		t.Errorf("%q, %v", name, err)
	}
	if err := s.Remove("acme"); err != nil {
		t.Fatal(err)
	}
	_, err = s.Find("acme")
	wantKind(t, err, sigbox.NotFound)
	if name, err := s.Current(); name != PublicGood || err != nil {
		t.Errorf("after the one in use was removed: %q, %v", name, err)
	}
}

func TestRefusals(t *testing.T) {
	s := newStore(t)
	if err := s.Add(acme(), nil, ""); err != nil {
		t.Fatal(err)
	}
	wantKind(t, s.Add(acme(), nil, ""), sigbox.Conflict)
	wantKind(t, s.Add(Instance{Name: PublicGood}, nil, ""), sigbox.Conflict)
	wantKind(t, s.Remove(PublicGood), sigbox.Denied)
	wantKind(t, s.Remove("other"), sigbox.NotFound)
	wantKind(t, s.Use("other"), sigbox.NotFound)
	_, err := s.Find("https://other.example")
	wantKind(t, err, sigbox.NotFound)
}

func TestNames(t *testing.T) {
	for _, good := range []string{"a", "A.b_c-9", strings.Repeat("x", 63)} {
		if err := CheckName(good); err != nil {
			t.Error(err)
		}
	}
	s := newStore(t)
	for _, bad := range []string{"", ".", "..", "../x", "a/b", `a\b`, ".hidden", "-flag", "a b", "ä", "a\x00", strings.Repeat("x", 64)} {
		wantKind(t, CheckName(bad), sigbox.Invalid)
		wantKind(t, s.Add(Instance{Name: bad}, nil, ""), sigbox.Invalid)
		_, err := s.Find(bad)
		wantKind(t, err, sigbox.Invalid)
	}
}

func TestURLs(t *testing.T) {
	for raw, want := range map[string]string{
		"https://Host.example/": "https://host.example", "http://127.0.0.1:8080": "http://127.0.0.1:8080", "https://h/a/b/": "https://h/a/b",
	} {
		if got, err := CleanURL(raw); got != want || err != nil {
			t.Errorf("%s: %q, %v", raw, got, err)
		}
	}
	for _, bad := range []string{"", "host", "ftp://h", "https://", "https://u:p@h", "https://h?q=1", "https://h#f", "https://h\n"} {
		_, err := CleanURL(bad)
		wantKind(t, err, sigbox.Invalid)
	}
}

// TestDamage: what is broken is named, never guessed at.
func TestDamage(t *testing.T) {
	for name, content := range map[string]string{
		"empty": "", "truncated": `{"name":"acme"`, "unknown member": `{"name":"acme","admin":true}`, "another name": `{"name":"evil"}`,
		"duplicate": `{"name":"acme","name":"acme"}`, "huge": strings.Repeat(" ", maxFile+1),
	} {
		t.Run(name, func(t *testing.T) {
			s := newStore(t)
			if err := s.Add(acme(), nil, ""); err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(s.home, "instances", "acme", instanceFile)
			if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
			if i, err := s.Find("acme"); err == nil {
				t.Errorf("found %+v", i)
			}
			if list, err := s.List(); err == nil {
				t.Errorf("listed %+v", list)
			}
		})
	}
	t.Run("current", func(t *testing.T) {
		s := newStore(t)
		if err := os.MkdirAll(s.home, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(s.home, currentFile), []byte("../../etc"), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := s.Current()
		wantKind(t, err, sigbox.Invalid)
	})
}

// TestManyAtOnce: of several processes that add the same name one succeeds, and
// nobody ever sees half an instance.
func TestManyAtOnce(t *testing.T) {
	s := newStore(t)
	var added atomic.Int32
	var wg sync.WaitGroup
	for n := range 8 {
		wg.Go(func() {
			scratch, err := s.ScratchCache()
			if err != nil {
				t.Error(err)
				return
			}
			if err := os.WriteFile(filepath.Join(scratch, "tuf.json"), fmt.Append(nil, n), 0o600); err != nil {
				t.Error(err)
			}
			if err := s.Add(acme(), fmt.Append(nil, n), scratch); err == nil {
				added.Add(1)
			} else if sigbox.KindOf(err) != sigbox.Conflict {
				t.Error(err)
			}
			if _, err := s.Find("acme"); err != nil {
				t.Error(err)
			}
			if _, err := s.List(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if added.Load() != 1 {
		t.Errorf("%d were added", added.Load())
	}
	root, err := s.Root(acme())
	if err != nil {
		t.Fatal(err)
	}
	cache, err := os.ReadFile(filepath.Join(s.Cache("acme"), "tuf.json"))
	if err != nil || string(cache) != string(root) {
		t.Errorf("root %s, cache %s, %v", root, cache, err)
	}
}

func TestReadOnlyHome(t *testing.T) {
	if unprivileged.Elsewhere(t) {
		return
	}
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o500); err != nil {
		t.Fatal(err)
	}
	s := Open(filepath.Join(dir, "home"), filepath.Join(dir, "cache"))
	err := s.Add(acme(), nil, "")
	wantKind(t, err, sigbox.Internal)
	if !strings.Contains(err.Error(), "SIGBOX_HOME") {
		t.Error(err)
	}
}

func TestDirectories(t *testing.T) {
	home, cache, err := Directories(func(name string) string { return map[string]string{"SIGBOX_HOME": "/x"}[name] })
	if home != "/x" || cache != filepath.Join("/x", "cache") || err != nil {
		t.Errorf("%q, %q, %v", home, cache, err)
	}
	t.Setenv("XDG_CONFIG_HOME", "/c")
	t.Setenv("XDG_CACHE_HOME", "/k")
	home, cache, err = Directories(func(string) string { return "" })
	if !strings.HasSuffix(home, "sigbox") || !strings.HasSuffix(cache, "sigbox") || home == cache || err != nil {
		t.Errorf("%q, %q, %v", home, cache, err)
	}
}

// TestPublicGoodSeed: the built-in files are what publicgood/README.md says they
// are, and can be read.
func TestPublicGoodSeed(t *testing.T) {
	seed := PublicGoodSeed()
	readme, err := os.ReadFile("publicgood/README.md")
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		data []byte
		sum  string
	}{
		"root.json":                {seed.Root, "27aea7e372aa7864065174f0661784fcf8b0e28b1dbfebeada31a0f1fb19167f"},
		"trusted_root.json":        {seed.TrustedRoot, "6494e21ea73fa7ee769f85f57d5a3e6a08725eae1e38c755fc3517c9e6bc0b66"},
		"signing_config.v0.2.json": {seed.SigningConfig, "9711a6d5375706957a4859af31c5866a4474f81f0544f9f4b76c9c4f4c8a539c"},
	} {
		sum := sha256.Sum256(tt.data)
		if got := hex.EncodeToString(sum[:]); got != tt.sum || !strings.Contains(string(readme), got) {
			t.Errorf("%s: SHA-256 %s, want %s, as in the README", name, got, tt.sum)
		}
	}
	root, err := trust.ParseRoot(seed.TrustedRoot)
	if err != nil || len(root.Logs) == 0 || len(root.CertificateAuthorities) == 0 || len(root.TimestampAuthorities) == 0 {
		t.Errorf("%+v, %v", root, err)
	}
	config, err := trust.ParseSigningConfig(seed.SigningConfig)
	if err != nil || len(config.CAs) == 0 || len(config.Logs) == 0 {
		t.Errorf("%+v, %v", config, err)
	}
}
