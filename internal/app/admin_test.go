package app_test

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/app"
	"github.com/sigbox/sigbox/internal/app/apptest"
	"github.com/sigbox/sigbox/internal/ca"
)

const password = "correct horse battery staple"

// TestAdmin runs over a socket and without a server: there must be no difference.
func TestAdmin(t *testing.T) {
	dir := t.TempDir()
	cfg := app.Config{Data: dir}
	a := apptest.Start(t, apptest.In(dir))

	t.Run("socket", func(t *testing.T) { testAdmin(t, cfg, true) })
	info, err := os.Stat(filepath.Join(dir, "admin.sock"))
	if err != nil || info.Mode() != fs.ModeSocket|0o600 {
		t.Errorf("the socket: expected mode 0600, found %v (%v)", info.Mode(), err)
	}
	apptest.Stop(t, a)
	t.Run("offline", func(t *testing.T) { testAdmin(t, cfg, false) })
}

func testAdmin(t *testing.T, cfg app.Config, running bool) {
	admin, err := app.OpenAdmin(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := admin.Close(); err != nil {
			t.Error(err)
		}
	}()
	ctx := t.Context()

	s, err := admin.Status(ctx)
	if err != nil || s.Running != running || s.Ready != running || s.Data != cfg.Data || s.LogHostname == "" {
		t.Errorf("status: found %+v (%v)", s, err)
	}
	token, err := admin.Token(ctx, app.TokenRequest{Email: "a@example.com"})
	if err != nil || strings.Count(token, ".") != 2 {
		t.Errorf("token: found %q (%v)", token, err)
	}
	x, err := admin.ExplainToken(ctx, token)
	if err != nil || x.Refusal != nil || x.Refused != "" || len(x.Passed) != 6 || x.Identity.Subject != "a@example.com" || x.Identity.Kind != sigbox.EmailSAN {
		t.Errorf("explained: found %+v (%v)", x, err)
	}
	other, err := admin.Token(ctx, app.TokenRequest{Email: "a@example.com", Audience: "other"})
	if err != nil {
		t.Fatal(err)
	}
	x, err = admin.ExplainToken(ctx, other)
	if err != nil || x.Refusal == nil || x.Refusal.Kind != sigbox.Unauthenticated || x.Refusal.Hint == "" || x.Refused != ca.DoorAudience || len(x.Claims) == 0 {
		t.Errorf("explained: found %+v (%v)", x, err)
	}
	_, err = admin.Token(ctx, app.TokenRequest{Email: "no address"})
	expectKind(t, err, sigbox.Invalid)
	_, err = admin.Token(ctx, app.TokenRequest{Email: "a@example.com", Lifetime: 1 << 60})
	expectKind(t, err, sigbox.Invalid)

	u := app.NewUser{Email: "a@example.com", Name: "A", Password: password}
	if err := admin.AddUser(ctx, u); err != nil {
		t.Fatal(err)
	}
	expectKind(t, admin.AddUser(ctx, u), sigbox.Conflict)
	expectKind(t, admin.AddUser(ctx, app.NewUser{Email: "b@example.com", Password: "1"}), sigbox.Invalid)
	users, err := admin.Users(ctx)
	if err != nil || len(users) != 1 || users[0].Email != u.Email || users[0].Name != u.Name || users[0].Created.IsZero() {
		t.Errorf("users: found %+v (%v)", users, err)
	}
	if err := admin.RemoveUser(ctx, u.Email); err != nil {
		t.Error(err)
	}
	expectKind(t, admin.RemoveUser(ctx, u.Email), sigbox.NotFound)
	if users, err = admin.Users(ctx); err != nil || len(users) != 0 {
		t.Errorf("users: found %+v (%v)", users, err)
	}
}

func TestAdminWithoutAnInstance(t *testing.T) {
	_, err := app.OpenAdmin(t.Context(), app.Config{Data: t.TempDir()})
	expectKind(t, err, sigbox.NotFound)
}

func TestAdminWhileTheStoreIsTaken(t *testing.T) {
	a := apptest.Start(t)
	// A socket that is gone leaves tokens, which need no store, and nothing else.
	if err := os.Remove(filepath.Join(a.Data(), "admin.sock")); err != nil {
		t.Fatal(err)
	}
	admin, err := app.OpenAdmin(t.Context(), app.Config{Data: a.Data()})
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close()
	if _, err := admin.Token(t.Context(), app.TokenRequest{Email: "a@example.com"}); err != nil {
		t.Error(err)
	}
	_, err = admin.Users(t.Context())
	expectKind(t, err, sigbox.Conflict)
}

func TestStaleSocket(t *testing.T) {
	dir := t.TempDir()
	apptest.Stop(t, apptest.Start(t, apptest.In(dir)))
	// What kill -9 leaves behind: a socket that nobody listens on.
	l, err := net.Listen("unix", filepath.Join(dir, "admin.sock"))
	if errors.Is(err, os.ErrInvalid) {
		t.Fatal(err)
	}
	if err == nil {
		l.(*net.UnixListener).SetUnlinkOnClose(false)
		l.Close()
	}
	admin, err := app.OpenAdmin(t.Context(), app.Config{Data: dir})
	if err != nil {
		t.Fatal(err)
	}
	if s, err := admin.Status(t.Context()); err != nil || s.Running {
		t.Errorf("found %+v (%v)", s, err)
	}
	apptest.Start(t, apptest.In(dir))
}

func TestKeysUnderAPassphrase(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("SIGBOX_TEST_PASSPHRASE", password)
	locked := func(c *app.Config) { c.Flags.Passphrase = "env:SIGBOX_TEST_PASSPHRASE" }
	apptest.Stop(t, apptest.Start(t, apptest.In(dir), locked))
	for _, name := range []string{"ca", "ca-root", "oidc", "rekor2", "tuf-root"} {
		b, err := os.ReadFile(filepath.Join(dir, "keys", name+".pem"))
		if err != nil || !strings.Contains(string(b), "ENCRYPTED") {
			t.Errorf("the key %s stands in the clear (%v)", name, err)
		}
	}
	_, err := app.Start(t.Context(), app.Config{Data: dir, Flags: app.Settings{Listen: "127.0.0.1:0"}})
	expectKind(t, err, sigbox.Unauthenticated)
}

func expectKind(t *testing.T, err error, kind sigbox.Kind) {
	t.Helper()
	if err == nil || sigbox.KindOf(err) != kind {
		t.Errorf("expected an error of kind %q, found %v", kind, err)
	}
}
