package app_test

import (
	"context"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/app"
	"github.com/sigbox/sigbox/internal/app/apptest"
	"github.com/sigbox/sigbox/internal/fixture"
	"github.com/sigbox/sigbox/internal/keys"
	"github.com/sigbox/sigbox/internal/keys/plugin/plugintest"
	"github.com/sigbox/sigbox/internal/remote"
	"github.com/sigbox/sigbox/sign"
	"github.com/sigbox/sigbox/verify"
	"github.com/sigbox/sigbox/wire/trust"
)

// signs has an instance sign for somebody with both logs, and verifies that.
func signs(t *testing.T, a *app.App) {
	t.Helper()
	client := remote.New(remote.Config{})
	for name, log := range map[string]sigbox.Log{"v2": client.Log(a.URL()), "v1": client.LogV1(a.URL())} {
		signer, err := sign.New(sign.Config{
			CA: client.CA(a.URL()), Token: tokens(a), Logs: []sigbox.Log{log},
			Stampers: []sigbox.Stamper{client.Stamper(a.URL() + "/api/v1/timestamp")},
		})
		if err != nil {
			t.Fatal(err)
		}
		digest := sigbox.SHA256.Sum([]byte(name + time.Now().String()))
		b, err := signer.Digest(t.Context(), digest)
		if err != nil {
			t.Fatal(err)
		}
		root, err := trust.ParseRoot(published(t, a, "trusted_root.json"))
		if err != nil {
			t.Fatal(err)
		}
		verifier, err := verify.New(verify.Config{Roots: []*sigbox.TrustedRoot{root}})
		if err != nil {
			t.Fatal(err)
		}
		policy := sigbox.Policy{Identities: []sigbox.IdentityMatch{{Subject: "ada@example.com", Issuer: a.URL() + "/oidc"}}}
		if _, err := verifier.Verify(verify.Digest(digest), b, policy); err != nil {
			t.Errorf("log %s: %v", name, err)
		}
	}
}

func tokens(a *app.App) func(context.Context) (sign.Token, error) {
	return func(ctx context.Context) (sign.Token, error) {
		raw, err := a.Admin().Token(ctx, app.TokenRequest{Email: "ada@example.com"})
		if err != nil {
			return sign.Token{}, err
		}
		return sign.ParseToken(raw)
	}
}

// refuses has an instance be asked for everything, which it refuses for now, and says
// so to those who ask whether it is well.
func refuses(t *testing.T, a *app.App) {
	t.Helper()
	stamp(t, a, http.StatusServiceUnavailable)
	request, err := signedEntry(fixture.Key(t), time.Now().String())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := post(t.Context(), a.URL(), request); err == nil || !strings.Contains(err.Error(), "status 503") {
		t.Errorf("log: expected status 503, found %v", err)
	}
	token, err := a.Admin().Token(t.Context(), app.TokenRequest{Email: "ada@example.com"})
	if err != nil {
		t.Fatal(err)
	}
	client := remote.New(remote.Config{Retries: -1})
	key := fixture.Key(t)
	proof, err := key.Sign(nil, sigbox.SHA256.Sum([]byte("ada@example.com")).Value, sigbox.SHA256.Crypto())
	if err != nil {
		t.Fatal(err)
	}
	_, err = client.CA(a.URL()).Issue(t.Context(), sigbox.CertificateRequest{Token: token, PublicKey: key.Public(), Proof: proof})
	if err == nil || sigbox.KindOf(err) != sigbox.Unavailable {
		t.Errorf("certificate: expected it to be unavailable, found %v", err)
	}
	status, body := get(t, a, "/readyz")
	if status != http.StatusServiceUnavailable || !strings.Contains(body, "the key ca cannot sign") || strings.Contains(body, "://") {
		t.Errorf("/readyz: expected 503 and the key that cannot sign, found %d %s", status, body)
	}
}

// ready waits until an instance is well.
func ready(t *testing.T, a *app.App) {
	t.Helper()
	for range 600 {
		if status, _ := get(t, a, "/readyz"); status == http.StatusOK {
			return
		}
		select {
		case <-t.Context().Done():
			t.Fatal(t.Context().Err())
		case <-time.After(100 * time.Millisecond):
		}
	}
	t.Fatal("it is not well again after a minute")
}

// outside has all keys of an instance behind a plugin, but the one that takes long to
// make.
func outside(t *testing.T) (plugintest.Files, func(*app.Config)) {
	t.Helper()
	files := plugintest.New(t)
	t.Setenv("PATH", files.Path+string(os.PathListSeparator)+os.Getenv("PATH"))
	return files, func(c *app.Config) {
		c.Flags.Keys = app.KeyPlaces{"default": files.URI("{key}"), "oidc": "file"}
	}
}

// TestKeysOutside: an instance whose keys are all kept outside signs, refuses while
// they are away, says so, and goes on by itself when they are back, also when it was
// started meanwhile.
func TestKeysOutside(t *testing.T) {
	if testing.Short() {
		t.Skip("it runs a program for each signature")
	}
	files, outside := outside(t)
	dir := t.TempDir()
	a := apptest.Start(t, apptest.In(dir), outside)
	for _, name := range []string{"ca", "ca-root", "ctlog", "rekor2", "rekor1", "tsa", "tsa-root", "tuf", "tuf-root"} {
		if _, err := os.Stat(filepath.Join(dir, "keys", name+".pem")); !os.IsNotExist(err) {
			t.Errorf("the key %s is in the directory (%v)", name, err)
		}
		if _, err := os.Stat(filepath.Join(dir, "keys", name+".pub")); err != nil {
			t.Error(err)
		}
	}
	signs(t, a)

	files.Break(t, plugintest.Away)
	refuses(t, a)
	files.Break(t, "")
	ready(t, a)
	signs(t, a)
	_, root := get(t, a, "/root.json")
	apptest.Stop(t, a)

	files.Break(t, plugintest.Away)
	a = apptest.Start(t, apptest.In(dir), outside)
	refuses(t, a)
	if _, after := get(t, a, "/root.json"); after != root {
		t.Error("the instance has another root now")
	}
	files.Break(t, plugintest.Wrong)
	refuses(t, a)
	files.Break(t, "")
	ready(t, a)
	signs(t, a)
}

// TestMovingKeys: a key can go from its file to another place and back, and is the same
// everywhere; another one is refused.
func TestMovingKeys(t *testing.T) {
	files := plugintest.New(t)
	t.Setenv("PATH", files.Path+string(os.PathListSeparator)+os.Getenv("PATH"))
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, "keys", name) }
	in := func(places app.KeyPlaces) func(*app.Config) { return func(c *app.Config) { c.Flags.Keys = places } }
	start := func(places app.KeyPlaces) {
		t.Helper()
		a := apptest.Start(t, apptest.In(dir), in(places))
		ready(t, a)
		stamp(t, a, http.StatusOK)
		apptest.Stop(t, a)
	}
	refused := func(places app.KeyPlaces, want string) {
		t.Helper()
		a, err := app.Start(t.Context(), app.Config{Data: dir, Flags: app.Settings{Listen: "127.0.0.1:0", Keys: places}})
		if err == nil {
			apptest.Stop(t, a)
		}
		if err == nil || sigbox.KindOf(err) != sigbox.Invalid || !strings.Contains(err.Error(), want) {
			t.Errorf("expected it to be refused with %q, found %v", want, err)
		}
	}
	move := func(from, to string) {
		t.Helper()
		b, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(to, b, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Remove(from); err != nil {
			t.Fatal(err)
		}
	}
	there := app.KeyPlaces{"tsa": files.URI("tsa")}
	start(nil)
	own, err := os.ReadFile(path("tsa.pem"))
	if err != nil {
		t.Fatal(err)
	}

	other := func(path string) {
		t.Helper()
		if _, err := keys.LoadOrCreate(path, sigbox.ECDSAP256SHA256, nil); err != nil {
			t.Fatal(err)
		}
	}
	other(filepath.Join(files.Dir, "tsa"))
	refused(there, "another one than this instance has used")
	if err := os.Remove(filepath.Join(files.Dir, "tsa")); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(path("tsa.pub")); err != nil {
		t.Fatal(err)
	}
	move(path("tsa.pem"), filepath.Join(files.Dir, "tsa"))
	refused(there, "it is not known which key that has to be")
	if err := os.WriteFile(path("tsa.pem"), own, 0o600); err != nil {
		t.Fatal(err)
	}
	start(there)
	if err := os.Remove(path("tsa.pem")); err != nil {
		t.Fatal(err)
	}
	start(there)

	if err := os.WriteFile(path("tsa.pub"), []byte("hello"), 0o600); err != nil {
		t.Fatal(err)
	}
	refused(there, "is damaged")
	if err := os.Remove(path("tsa.pub")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path("tsa.pem"), own, 0o600); err != nil {
		t.Fatal(err)
	}
	start(there)
	start(nil)
	move(path("tsa.pem"), filepath.Join(t.TempDir(), "safe"))
	other(path("tsa.pem"))
	refused(nil, "is another one than")
}

// TestASourceThatCannot: what a source has instead of a key is told with what it can
// hold.
func TestASourceThatCannot(t *testing.T) {
	files := plugintest.New(t)
	t.Setenv("PATH", files.Path)
	start := func(places app.KeyPlaces) error {
		a, err := app.Start(t.Context(), app.Config{Data: t.TempDir(), Flags: app.Settings{Listen: "127.0.0.1:0", Keys: places}})
		if err == nil {
			apptest.Stop(t, a)
		}
		return err
	}
	key, err := keys.LoadOrCreate(filepath.Join(files.Dir, "p256"), sigbox.ECDSAP256SHA256, nil)
	if err != nil || key == nil {
		t.Fatal(err)
	}
	err = start(app.KeyPlaces{"rekor2": files.URI("p256")})
	fixture.WantError(t, err, sigbox.Invalid, "expected one for PKIX_ED25519, found one that is ECDSA P-256", "can hold ca, ca-root, ctlog, rekor1, tsa, tsa-root, tuf, tuf-root")
	err = start(app.KeyPlaces{"rekor2": "absent://x"})
	fixture.WantError(t, err, sigbox.NotFound, "there is no plugin sigstore-kms-absent")
	files.Break(t, plugintest.Nonsense)
	err = start(app.KeyPlaces{"ca": files.URI("ca")})
	fixture.WantError(t, err, sigbox.Invalid, "the key ca in files://", "the plugin's answer")
}
