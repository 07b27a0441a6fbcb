// Package apptest starts whole instances in tests.
package apptest

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/app"
	"github.com/sigbox/sigbox/internal/atomicfile"
	"github.com/sigbox/sigbox/internal/keys"
)

// closeTimeout is how long an instance may take to stop.
const closeTimeout = 30 * time.Second

// Start brings up an instance in a directory of its own, on any free port, and
// stops it when the test ends. Each change is applied to its configuration
// before.
func Start(t testing.TB, changes ...func(*app.Config)) *app.App {
	t.Helper()
	cfg := app.Config{Flags: app.Settings{Listen: "127.0.0.1:0"}}
	for _, change := range changes {
		change(&cfg)
	}
	if cfg.Data == "" {
		cfg.Data = t.TempDir()
	}
	if cfg.Flags.Passphrase == "" {
		shareKey(t, cfg.Data)
	}
	a, err := app.Start(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { Stop(t, a) })
	return a
}

// tokenKey is the provider's key of all instances in a test process: making an RSA
// key takes longer than everything else at a first start.
var tokenKey = sync.OnceValues(func() ([]byte, error) {
	key, err := keys.Generate(sigbox.RSAPKCS1v15With2048)
	if err != nil {
		return nil, err
	}
	return keys.Marshal(key, nil)
})

// shareKey gives a directory that was never used the common key.
func shareKey(t testing.TB, dir string) {
	t.Helper()
	file, err := tokenKey()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "keys", "oidc.pem")
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := atomicfile.Create(path, file, 0o600); err != nil && !errors.Is(err, fs.ErrExist) {
		t.Fatal(err)
	}
}

// In makes an instance use a directory, such as that of an earlier one.
func In(dir string) func(*app.Config) { return func(c *app.Config) { c.Data = dir } }

// Stop stops an instance before the test ends.
func Stop(t testing.TB, a *app.App) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	if err := a.Close(ctx); err != nil {
		t.Errorf("stopping the instance: %v", err)
	}
}

// Token makes an identity token of an instance's own provider.
func Token(t testing.TB, a *app.App, email string) string {
	t.Helper()
	token, err := a.Admin().Token(t.Context(), app.TokenRequest{Email: email})
	if err != nil {
		t.Fatal(err)
	}
	return token
}
