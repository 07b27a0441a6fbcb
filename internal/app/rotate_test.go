package app_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
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
	"github.com/sigbox/sigbox/internal/remote"
	"github.com/sigbox/sigbox/internal/rotation"
	"github.com/sigbox/sigbox/sign"
	"github.com/sigbox/sigbox/verify"
	"github.com/sigbox/sigbox/wire/trust"
)

const day = 24 * time.Hour

// rotated is an instance with a clock, and what was signed with it.
type rotated struct {
	*app.App
	clock  *fixture.Clock
	change func(*app.Config)
	signed []signed
}

type signed struct {
	when   string
	digest sigbox.Digest
	bundle *sigbox.Bundle
}

func startRotated(t *testing.T, changes ...func(*app.Config)) *rotated {
	t.Helper()
	r := &rotated{clock: fixture.NewClock(time.Now())}
	dir := t.TempDir()
	r.change = func(c *app.Config) {
		c.Data, c.Now, c.Poll = dir, r.clock.Now, time.Hour
		for _, change := range changes {
			change(c)
		}
	}
	r.App = apptest.Start(t, r.change)
	return r
}

// restart stops the instance, has f do something to its directory, and starts it again.
func (r *rotated) restart(t *testing.T, f func(dir string)) {
	t.Helper()
	apptest.Stop(t, r.App)
	f(r.Data())
	address := strings.TrimPrefix(r.URL(), "http://")
	r.App = apptest.Start(t, r.change, func(c *app.Config) { c.Flags.Listen = address })
}

// rotate has a role's key replaced, and gives the phases of its keys.
func (r *rotated) rotate(t *testing.T, req app.RotateRequest) string {
	t.Helper()
	keys, err := r.Admin().Rotate(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	return phases(keys)
}

func phases(keys app.RoleKeys) string {
	var s []string
	for _, k := range keys.Keys {
		s = append(s, k.Name+" "+string(k.Phase))
	}
	return strings.Join(s, ", ")
}

// pass lets time pass, and has what is due done.
func (r *rotated) pass(t *testing.T, d time.Duration) {
	t.Helper()
	r.clock.Add(d)
	if err := r.CatchUp(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// expect compares the phases of a role's keys.
func (r *rotated) expect(t *testing.T, role, want string) {
	t.Helper()
	all, err := r.Admin().Rotations(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, keys := range all {
		if keys.Role == role && phases(keys) != want {
			t.Errorf("%s: expected %s, found %s", role, want, phases(keys))
		}
	}
}

// sign signs something new, and then all that was ever signed has to verify.
func (r *rotated) sign(t *testing.T, when string) {
	t.Helper()
	client := remote.New(remote.Config{})
	signer, err := sign.New(sign.Config{
		CA: client.CA(r.URL()), Token: tokens(r.App), Logs: []sigbox.Log{client.Log(r.URL())},
		Stampers: []sigbox.Stamper{client.Stamper(r.URL() + "/api/v1/timestamp")}, Now: r.clock.Now,
	})
	if err != nil {
		t.Fatal(err)
	}
	digest := sigbox.SHA256.Sum([]byte(when))
	b, err := signer.Digest(t.Context(), digest)
	if err != nil {
		t.Fatalf("%s: %v", when, err)
	}
	r.signed = append(r.signed, signed{when, digest, b})
	r.verify(t, when)
}

// verify verifies all that was signed with what clients are told to trust now.
func (r *rotated) verify(t *testing.T, now string) {
	t.Helper()
	for _, s := range r.signed {
		if err := r.verifyOne(t, s); err != nil {
			t.Errorf("%s, what was signed %s: %v", now, s.when, err)
		}
	}
}

func (r *rotated) root(t *testing.T) *sigbox.TrustedRoot {
	t.Helper()
	root, err := trust.ParseRoot(published(t, r.App, "trusted_root.json"))
	if err != nil {
		t.Fatal(err)
	}
	return root
}

func (r *rotated) verifyOne(t *testing.T, s signed) error {
	t.Helper()
	verifier, err := verify.New(verify.Config{Roots: []*sigbox.TrustedRoot{r.root(t)}})
	if err != nil {
		t.Fatal(err)
	}
	policy := sigbox.Policy{Identities: []sigbox.IdentityMatch{{Subject: "ada@example.com", Issuer: r.URL() + "/oidc"}}}
	_, err = verifier.Verify(verify.Digest(s.digest), s.bundle, policy)
	return err
}

// keyFile reports whether the file of a private key is there.
func (r *rotated) keyFile(t *testing.T, name string) bool {
	t.Helper()
	_, err := os.Stat(filepath.Join(r.Data(), "keys", name+".pem"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return err == nil
}

// TestRotate goes the whole way with each role, one after the other on one instance:
// what was signed at any time verifies at all later times.
func TestRotate(t *testing.T) {
	r := startRotated(t)
	r.sign(t, "at first")
	for _, role := range []struct {
		name          string
		overlap, tail time.Duration
	}{{"ca", 8 * day, 15 * time.Minute}, {"tsa", 8 * day, 5 * time.Minute}, {"oidc", day, day + 5*time.Minute}} {
		second := role.name + ".2"
		plan, err := r.Admin().Rotate(t.Context(), app.RotateRequest{Role: role.name, DryRun: true})
		if err != nil {
			t.Fatal(err)
		}
		if r.expect(t, role.name, role.name+" signing"); r.keyFile(t, second) {
			t.Errorf("%s: a dry run made a key", role.name)
		}
		if got, want := r.rotate(t, app.RotateRequest{Role: role.name}), role.name+" signing, "+second+" published"; got != want {
			t.Errorf("expected %s, found %s", want, got)
		}
		r.sign(t, role.name+", published")
		r.pass(t, role.overlap-time.Second)
		r.expect(t, role.name, role.name+" signing, "+second+" published")
		if _, err := r.Admin().Rotate(t.Context(), app.RotateRequest{Role: role.name}); sigbox.KindOf(err) != sigbox.Conflict || !strings.Contains(err.Error(), plan.Steps[1].At.Format(time.RFC3339)) {
			t.Errorf("%s: a second rotation: %v", role.name, err)
		}
		r.pass(t, time.Second)
		r.expect(t, role.name, role.name+" ending, "+second+" signing")
		r.sign(t, role.name+", switched")
		r.pass(t, role.tail-time.Second)
		if r.expect(t, role.name, role.name+" ending, "+second+" signing"); !r.keyFile(t, role.name) {
			t.Errorf("%s: the old key is gone too early", role.name)
		}
		r.pass(t, time.Second)
		if r.expect(t, role.name, role.name+" retired, "+second+" signing"); r.keyFile(t, role.name) || !r.keyFile(t, second) {
			t.Errorf("%s: not the old key is gone", role.name)
		}
		if at := r.clock.Now(); at.Sub(plan.Steps[2].At).Abs() > time.Second {
			t.Errorf("%s: it is over at %v, the plan was %+v", role.name, at, plan.Steps)
		}
		r.sign(t, role.name+", retired")
	}
	first := readFile(t, r.RootFile())
	if got := r.rotate(t, app.RotateRequest{Role: "tuf"}); got != "tuf retired, tuf.2 signing" || r.keyFile(t, "tuf") {
		t.Errorf("found %s", got)
	}
	if bytes.Equal(first, readFile(t, r.RootFile())) {
		t.Error("root.json is the old one")
	}
	r.sign(t, "tuf, retired")
	root := r.root(t)
	for name, list := range map[string][]sigbox.CertificateAuthority{"CA": root.CertificateAuthorities, "TSA": root.TimestampAuthorities} {
		if len(list) != 2 || list[0].ValidFor.End.IsZero() || !list[1].ValidFor.End.IsZero() || !bytes.Equal(list[0].Chain[1], list[1].Chain[1]) {
			t.Errorf("%s: found %d authorities, or another root", name, len(list))
		}
	}
	r.restart(t, func(string) {})
	r.sign(t, "after a restart")
}

// TestRotateRoot: an authority under a root of its own.
func TestRotateRoot(t *testing.T) {
	r := startRotated(t)
	r.sign(t, "at first")
	for _, role := range []string{"ca", "tsa"} {
		r.rotate(t, app.RotateRequest{Role: role, Root: true})
	}
	r.sign(t, "published")
	r.pass(t, 8*day)
	r.sign(t, "switched")
	r.pass(t, day)
	root := r.root(t)
	for name, list := range map[string][]sigbox.CertificateAuthority{"CA": root.CertificateAuthorities, "TSA": root.TimestampAuthorities} {
		if len(list) != 2 || bytes.Equal(list[0].Chain[1], list[1].Chain[1]) {
			t.Errorf("%s: found %d authorities, or one root", name, len(list))
		}
	}
	// The next one is certified by the new root.
	zero := rotation.Span(0)
	r.rotate(t, app.RotateRequest{Role: "ca", SwitchAfter: &zero})
	r.sign(t, "again")
	if list := r.root(t).CertificateAuthorities; len(list) != 3 || !bytes.Equal(list[1].Chain[1], list[2].Chain[1]) {
		t.Errorf("found %d authorities, or another root", len(list))
	}
}

// TestRotateKilled ends the process at each step of a rotation, after it was written down
// and before it is done.
func TestRotateKilled(t *testing.T) {
	r := startRotated(t)
	r.sign(t, "at first")
	r.restart(t, func(dir string) { // no server: the rotation waits for one
		admin, err := app.OpenAdmin(t.Context(), app.Config{Data: dir, Now: r.clock.Now})
		if err != nil {
			t.Fatal(err)
		}
		for _, role := range []string{"ca", "tsa", "oidc"} {
			if keys, err := admin.Rotate(t.Context(), app.RotateRequest{Role: role}); err != nil || !strings.HasSuffix(phases(keys), role+".2 made") {
				t.Fatalf("%s: %s, %v", role, phases(keys), err)
			}
		}
	})
	if len(r.root(t).CertificateAuthorities) != 2 {
		t.Error("the new CA was not published at the start")
	}
	if err := r.CatchUp(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"%[1]s ending, %[1]s.2 signing", "%[1]s retired, %[1]s.2 signing"} {
		r.clock.Add(9 * day)
		r.restart(t, func(dir string) {
			for _, role := range []string{"ca", "tsa", "oidc"} {
				if err := app.RecordStep(dir, role, r.clock.Now()); err != nil {
					t.Fatal(err)
				}
			}
		})
		for _, role := range []string{"ca", "tsa", "oidc"} {
			r.expect(t, role, fmt.Sprintf(want, role))
		}
		r.sign(t, want)
	}
	for _, role := range []string{"ca", "tsa", "oidc"} {
		if r.keyFile(t, role) {
			t.Errorf("%s: the key that was given up is still there", role)
		}
	}
}

// TestRotateAttempt: what an attempt has left behind that was killed before it was written
// down does no harm to the next one.
func TestRotateAttempt(t *testing.T) {
	r := startRotated(t)
	old := readFile(t, filepath.Join(r.Data(), "certs", "ca.pem"))
	if err := os.WriteFile(filepath.Join(r.Data(), "certs", "ca.2.pem"), old, 0o644); err != nil {
		t.Fatal(err)
	}
	zero := rotation.Span(0)
	if got := r.rotate(t, app.RotateRequest{Role: "ca", SwitchAfter: &zero}); got != "ca ending, ca.2 signing" {
		t.Errorf("found %s", got)
	}
	r.sign(t, "afterwards")
}

// TestRotateCompromised: what a stolen key signs after it was stolen is refused, what it
// signed before is not.
func TestRotateCompromised(t *testing.T) {
	r := startRotated(t)
	r.sign(t, "before")
	r.clock.Add(time.Hour)
	stolen := r.clock.Now()
	r.clock.Add(time.Hour)
	r.sign(t, "by the thief")
	r.clock.Add(time.Hour)
	if _, err := r.Admin().Rotate(t.Context(), app.RotateRequest{Role: "ca", Compromised: true, Since: r.clock.Now().Add(time.Minute)}); sigbox.KindOf(err) != sigbox.Invalid {
		t.Errorf("a time to come: %v", err)
	}
	if got := r.rotate(t, app.RotateRequest{Role: "ca", Compromised: true, Since: stolen}); got != "ca retired, ca.2 signing" || r.keyFile(t, "ca") {
		t.Errorf("found %s", got)
	}
	theft := r.signed[1]
	if err := r.verifyOne(t, theft); err == nil {
		t.Error("what was signed with the stolen key verifies")
	}
	r.signed = r.signed[:1]
	r.sign(t, "afterwards")
}

// TestRotateTokens: a token of a key of the provider that was stolen is refused at once,
// one of a key that was only replaced until it expires.
func TestRotateTokens(t *testing.T) {
	r := startRotated(t)
	zero := rotation.Span(0)
	token := func() string {
		token, err := r.Admin().Token(t.Context(), app.TokenRequest{Email: "ada@example.com"})
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	refused := func(token string) *sigbox.Error {
		x, err := r.Admin().ExplainToken(t.Context(), token)
		if err != nil {
			t.Fatal(err)
		}
		return x.Refusal
	}
	first := token()
	r.rotate(t, app.RotateRequest{Role: "oidc", SwitchAfter: &zero})
	second := token()
	if _, keys := get(t, r.App, "/oidc/keys"); strings.Count(keys, `"kid"`) != 2 || refused(first) != nil || refused(second) != nil {
		t.Errorf("replaced: %v, %v, %s", refused(first), refused(second), keys)
	}
	r.rotate(t, app.RotateRequest{Role: "oidc", Compromised: true})
	if _, keys := get(t, r.App, "/oidc/keys"); strings.Count(keys, `"kid"`) != 2 || refused(first) != nil || refused(second) == nil || refused(token()) != nil {
		t.Errorf("stolen: %v, %v, %v, %s", refused(first), refused(second), refused(token()), keys)
	}
}

func TestRotateAbandon(t *testing.T) {
	r := startRotated(t)
	r.rotate(t, app.RotateRequest{Role: "ca"})
	if got := r.rotate(t, app.RotateRequest{Role: "ca", Abandon: true}); got != "ca signing, ca.2 abandoned" || r.keyFile(t, "ca.2") {
		t.Errorf("found %s", got)
	}
	if list := r.root(t).CertificateAuthorities; len(list) != 2 || !list[0].ValidFor.End.IsZero() || list[1].ValidFor.End.IsZero() {
		t.Errorf("found %+v", list)
	}
	r.pass(t, 30*day)
	r.sign(t, "afterwards")
	if got := r.rotate(t, app.RotateRequest{Role: "ca"}); got != "ca signing, ca.2 abandoned, ca.3 published" {
		t.Errorf("found %s", got)
	}
}

// TestRotateRefuses: requests that make no sense, and roots that are elsewhere.
func TestRotateRefuses(t *testing.T) {
	r := startRotated(t)
	hour, long := rotation.Span(time.Hour), rotation.Span(1000*day)
	for want, req := range map[string]app.RotateRequest{
		"there is no role":            {Role: "car"},
		"nothing to take back":        {Role: "ca", Abandon: true},
		"needs nothing else":          {Role: "ca", Abandon: true, Root: true},
		"no time to wait for":         {Role: "ca", Compromised: true, SwitchAfter: &hour},
		"belongs to a key":            {Role: "ca", Since: time.Now()},
		"cannot wait that long":       {Role: "ca", SwitchAfter: &long},
		"has no certificates":         {Role: "oidc", Root: true},
		"the signed certificates":     {Role: "ca", Signed: "x"},
		"of another key than the one": {Role: "ca", Signed: string(readFile(t, filepath.Join(r.Data(), "certs", "ca.pem")))},
	} {
		if _, err := r.Admin().Rotate(t.Context(), req); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: expected %q, found %v", req, want, err)
		}
	}
	r.rotate(t, app.RotateRequest{Role: "tsa"})
	for _, req := range []app.RotateRequest{{Role: "tsa", Compromised: true, Root: true}, {Role: "tsa", Compromised: true, Signed: "x"}} {
		if _, err := r.Admin().Rotate(t.Context(), req); sigbox.KindOf(err) != sigbox.Conflict || !strings.Contains(err.Error(), "tsa.2 waits already") {
			t.Errorf("%+v: a key that waits would sign with other certificates than were asked for: %v", req, err)
		}
	}
	r.restart(t, func(dir string) {
		for _, name := range []string{"ca-root.pem", "tuf-root.pem"} {
			if err := os.Remove(filepath.Join(dir, "keys", name)); err != nil {
				t.Fatal(err)
			}
		}
	})
	if _, err := r.Admin().Rotate(t.Context(), app.RotateRequest{Role: "tuf"}); sigbox.KindOf(err) != sigbox.Invalid || r.keyFile(t, "tuf.2") {
		t.Errorf("without TUF's root key: %v", err)
	}
	if _, err := r.Admin().Rotate(t.Context(), app.RotateRequest{Role: "ca"}); sigbox.KindOf(err) != sigbox.NotFound || !strings.Contains(err.Error(), "ca-root is not here") {
		t.Errorf("without the root's key: %v", err)
	}
	r.expect(t, "ca", "ca signing")
}

func readFile(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestRotatePublishes: what the CA and the timestamp authority hand out follows.
func TestRotatePublishes(t *testing.T) {
	r := startRotated(t)
	count := func(path string) (n int) {
		status, body := get(t, r.App, path)
		if status != http.StatusOK {
			t.Fatalf("%s: status %d", path, status)
		}
		return strings.Count(body, "BEGIN CERTIFICATE")
	}
	for _, role := range []string{"ca", "tsa"} {
		r.rotate(t, app.RotateRequest{Role: role})
	}
	_, before := get(t, r.App, "/api/v1/timestamp/certchain")
	if n := count("/api/v2/trustBundle"); n != 4 {
		t.Errorf("the trust bundle has %d certificates", n)
	}
	r.pass(t, 8*day)
	if _, after := get(t, r.App, "/api/v1/timestamp/certchain"); after == before || count("/api/v1/timestamp/certchain") != 2 {
		t.Error("the timestamp authority hands out the old chain")
	}
}

// TestRotateTUFKilled ends the process between the root that names the new key and the
// record of it: the next start goes on with the key that the root names.
func TestRotateTUFKilled(t *testing.T) {
	r := startRotated(t)
	old := readFile(t, filepath.Join(r.Data(), "keys", "tuf.pem"))
	r.rotate(t, app.RotateRequest{Role: "tuf"})
	r.restart(t, func(dir string) {
		if err := os.WriteFile(filepath.Join(dir, "keys", "tuf.pem"), old, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := app.ForgetSteps(dir, "tuf"); err != nil {
			t.Fatal(err)
		}
	})
	r.sign(t, "after the restart")
	if err := r.CatchUp(t.Context()); err != nil {
		t.Fatal(err)
	}
	if r.expect(t, "tuf", "tuf retired, tuf.2 signing"); r.keyFile(t, "tuf") {
		t.Error("the old key is still there")
	}
}
