// Package apptest starts whole instances in tests.
package apptest

import (
	"context"
	"testing"
	"time"

	"github.com/sigbox/sigbox/internal/app"
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
	a, err := app.Start(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { Stop(t, a) })
	return a
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
