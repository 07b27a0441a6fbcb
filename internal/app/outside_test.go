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
