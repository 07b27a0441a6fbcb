package app_test

import (
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/app"
	"github.com/sigbox/sigbox/internal/app/apptest"
	"github.com/sigbox/sigbox/internal/fixture"
	"github.com/sigbox/sigbox/internal/remote"
	"github.com/sigbox/sigbox/sign"
	"github.com/sigbox/sigbox/verify"
	"github.com/sigbox/sigbox/wire/fulcio"
	"github.com/sigbox/sigbox/wire/trust"
)

// hosts are three that make one instance.
type hosts struct {
	ca, logs, trust *app.App
	// parts is where each finds what the others have.
	parts struct{ ca, logs, trust string }
}

// startHosts starts an instance on three hosts that do not know of each other yet:
// authority and provider; the logs; timestamps and trust.
func startHosts(t *testing.T) *hosts {
	h, dir := new(hosts), t.TempDir()
	h.parts.ca, h.parts.logs, h.parts.trust = filepath.Join(dir, "ca.json"), filepath.Join(dir, "logs.json"), filepath.Join(dir, "trust.json")
	h.ca = apptest.Start(t, host([]string{h.parts.logs, h.parts.trust}, app.RoleCA, app.RoleOIDC))
	h.logs = apptest.Start(t, host([]string{h.parts.ca}, app.RoleCTLog, app.RoleLog, app.RoleLogV1))
	h.trust = apptest.Start(t, host([]string{h.parts.ca, h.parts.logs}, app.RoleTSA, app.RoleTUF))
	return h
}

// host is one with some roles. It is told by Reload what has changed.
func host(parts []string, roles ...app.Role) func(*app.Config) {
	return func(c *app.Config) { c.Flags.Only, c.Flags.Parts, c.Poll = roles, parts, time.Hour }
}

// meet copies what each host has to the others.
func (h *hosts) meet(t *testing.T) {
	t.Helper()
	for path, a := range map[string]*app.App{h.parts.ca: h.ca, h.parts.logs: h.logs, h.parts.trust: h.trust} {
		writeFile(t, path, partOf(t, a))
	}
	for _, a := range []*app.App{h.logs, h.ca, h.trust} {
		a.Reload()
	}
}

func partOf(t *testing.T, a *app.App) string {
	t.Helper()
	b, err := os.ReadFile(a.PartFile())
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// sign signs as clients do, who know of the host with the trust alone.
func (h *hosts) sign(t *testing.T) {
	t.Helper()
	config, err := trust.ParseSigningConfig(published(t, h.trust, "signing_config.v0.2.json"))
	if err != nil {
		t.Fatal(err)
	}
	root, err := trust.ParseRoot(published(t, h.trust, "trusted_root.json"))
	if err != nil {
		t.Fatal(err)
	}
	client := remote.New(remote.Config{})
	v2, v1 := config.Logs[0], config.Logs[1]
	if v2.MajorAPIVersion != 2 || v1.MajorAPIVersion != 1 {
		t.Errorf("the logs are offered as %+v", config.Logs)
	}
	for name, log := range map[string]sigbox.Log{"v2": client.Log(v2.URL), "v1": client.LogV1(v1.URL)} {
		signer, err := sign.New(sign.Config{
			CA: client.CA(config.CAs[0].URL), Token: tokens(h.ca), Logs: []sigbox.Log{log},
			Stampers: []sigbox.Stamper{client.Stamper(config.TSAs[0].URL)},
		})
		if err != nil {
			t.Fatal(err)
		}
		digest := sigbox.SHA256.Sum([]byte(name + time.Now().String()))
		b, err := signer.Digest(t.Context(), digest)
		if err != nil {
			t.Fatal(err)
		}
		verifier, err := verify.New(verify.Config{Roots: []*sigbox.TrustedRoot{root}})
		if err != nil {
			t.Fatal(err)
		}
		policy := sigbox.Policy{Identities: []sigbox.IdentityMatch{{Subject: "ada@example.com", Issuer: config.OIDC[0].URL}}}
		if _, err := verifier.Verify(verify.Digest(digest), b, policy); err != nil {
			t.Errorf("log %s: %v", name, err)
		}
	}
}

// issue asks the authority for a certificate.
func (h *hosts) issue(t *testing.T) (status int, retryAfter, body string) {
	t.Helper()
	key := fixture.Key(t)
	proof, err := key.Sign(nil, sigbox.SHA256.Sum([]byte("ada@example.com")).Value, sigbox.SHA256.Crypto())
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.Post(h.ca.URL()+"/api/v2/signingCert", "application/json",
		strings.NewReader(certificateRequest(t, sigbox.CertificateRequest{Token: apptest.Token(t, h.ca, "ada@example.com"), PublicKey: key.Public(), Proof: proof})))
	if err != nil {
		t.Fatal(err)
	}
	status, body = readAll(t, resp)
	return status, resp.Header.Get("Retry-After"), body
}

// refusesFor wants the authority to issue nothing for now, for a reason.
func (h *hosts) refusesFor(t *testing.T, reason string) {
	t.Helper()
	if status, wait, body := h.issue(t); status != http.StatusServiceUnavailable || wait == "" || !strings.Contains(body, "no certificate can be issued") || strings.Contains(body, "127.0.0.1") {
		t.Errorf("expected status 503 and when to come again, found %d, %q, %s", status, wait, body)
	}
	if status, body := get(t, h.ca, "/readyz"); status != http.StatusServiceUnavailable || !strings.Contains(body, reason) {
		t.Errorf("/readyz: expected 503 and %q, found %d %s", reason, status, body)
	}
}

// TestHostsApart: an instance on three hosts, which come to know each other, signs; its
// authority refuses while the log's host is away, and goes on by itself.
func TestHostsApart(t *testing.T) {
	h := startHosts(t)
	h.refusesFor(t, "CT log")
	for _, a := range []*app.App{h.ca, h.logs, h.trust} {
		if status, body := get(t, a, "/readyz"); status != http.StatusServiceUnavailable || !strings.Contains(body, "parts of other hosts are not there") {
			t.Errorf("%s: found %d %s", a.Only(), status, body)
		}
	}
	h.meet(t)
	for _, a := range []*app.App{h.ca, h.logs, h.trust} {
		ready(t, a)
	}
	h.sign(t)

	at := strings.TrimPrefix(h.logs.URL(), "http://")
	apptest.Stop(t, h.logs)
	h.refusesFor(t, "does not answer")
	h.logs = apptest.Start(t, apptest.In(h.logs.Data()), host([]string{h.parts.ca}, app.RoleCTLog, app.RoleLog, app.RoleLogV1),
		func(c *app.Config) { c.Flags.Listen = at })
	ready(t, h.ca)
	h.sign(t)

	// The hosts have no more than they are to have.
	for _, x := range []struct {
		a    *app.App
		path string
	}{
		{h.ca, "/ctlog/checkpoint"}, {h.ca, "/api/v2/checkpoint"}, {h.ca, "/root.json"},
		{h.logs, "/api/v2/trustBundle"}, {h.logs, "/oidc/.well-known/openid-configuration"}, {h.trust, "/api/v1/log"},
	} {
		if status, _ := get(t, x.a, x.path); status != http.StatusNotFound {
			t.Errorf("%s: %s: expected 404, found %d", x.a.Only(), x.path, status)
		}
	}
	for a, keys := range map[*app.App]string{h.ca: "ca-root.pem ca.pem oidc.pem part.pem", h.logs: "ctlog.pem part.pem rekor1.pem rekor2.pem"} {
		entries, err := os.ReadDir(filepath.Join(a.Data(), "keys"))
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, e := range entries {
			if !strings.HasPrefix(e.Name(), "oidc") || a == h.ca { // the tests put that one everywhere
				names = append(names, e.Name())
			}
		}
		if got := strings.Join(names, " "); got != keys {
			t.Errorf("expected the keys %s, found %s", keys, got)
		}
	}
	_, err := h.logs.Admin().Token(t.Context(), app.TokenRequest{Email: "ada@example.com"})
	expectKind(t, err, sigbox.NotFound)
}

// TestTrustIsNotLost: a part that is gone, or that somebody has changed, takes nothing
// from what clients trust, unless somebody has said so.
func TestTrustIsNotLost(t *testing.T) {
	h := startHosts(t)
	h.meet(t)
	before := published(t, h.trust, "trusted_root.json")
	good := partOf(t, h.logs)
	if err := os.Remove(h.parts.logs); err != nil {
		t.Fatal(err)
	}
	h.trust.Reload()
	for name, part := range map[string]string{
		"not a part":     "{}",
		"another part":   partOf(t, h.ca),
		"no such scheme": strings.ReplaceAll(good, "http://", "file://"),
		"another key":    strings.Replace(good, `"rawBytes":"MCow`, `"rawBytes":"MCoX`, 1),
	} {
		writeFile(t, h.parts.logs, part)
		h.trust.Reload()
		if now := published(t, h.trust, "trusted_root.json"); !slices.Equal(now, before) {
			t.Errorf("%s: clients are told to trust something else", name)
		}
	}
	if err := os.Remove(h.parts.logs); err != nil {
		t.Fatal(err)
	}
	apptest.Stop(t, h.trust)
	again := host([]string{h.parts.ca, h.parts.logs}, app.RoleTSA, app.RoleTUF)
	cfg := app.Config{Data: h.trust.Data(), Flags: app.Settings{Listen: "127.0.0.1:0"}}
	again(&cfg)
	_, err := app.Start(t.Context(), cfg)
	expectKind(t, err, sigbox.Conflict)
	if err == nil || !strings.Contains(err.Error(), "lose their trust in the log https://log") || !strings.Contains(err.Error(), "--accept trust") {
		t.Errorf("found %v", err)
	}
	cfg.Accept.Trust = true
	a, err := app.Start(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer apptest.Stop(t, a)
	root, err := trust.ParseRoot(published(t, a, "trusted_root.json"))
	if err != nil || len(root.Logs) != 0 || len(root.CertificateAuthorities) != 1 {
		t.Errorf("found %+v, %v", root, err)
	}
}

// TestRoleLater: a directory takes on a role that it did not have, and the keys of those
// that it had are not made anew.
func TestRoleLater(t *testing.T) {
	dir := t.TempDir()
	apptest.Stop(t, apptest.Start(t, apptest.In(dir), host(nil, app.RoleOIDC, app.RoleCA)))
	before, err := os.ReadFile(filepath.Join(dir, "certs", "ca.pem"))
	if err != nil {
		t.Fatal(err)
	}
	a := apptest.Start(t, apptest.In(dir))
	if _, chain := get(t, a, "/api/v1/rootCert"); chain != string(before) {
		t.Error("the authority is another one")
	}
	signs(t, a)
	apptest.Stop(t, a)
	key := filepath.Join(dir, "keys", "rekor2.pem")
	if err := os.Remove(key); err != nil {
		t.Fatal(err)
	}
	refused(t, dir, sigbox.Fatal, key+" is gone")
}

func TestRolesRefused(t *testing.T) {
	damaged := filepath.Join(t.TempDir(), "part.json")
	writeFile(t, damaged, `{"mediaType":"x"}`)
	shared := filepath.Join(t.TempDir(), "part.json")
	writeFile(t, shared, "{}")
	if err := os.Chmod(shared, 0o620); err != nil {
		t.Fatal(err)
	}
	_, err := app.Start(t.Context(), app.Config{Data: t.TempDir(), Flags: app.Settings{Listen: "127.0.0.1:0", Only: []app.Role{"ca"}, Parts: []string{shared}}})
	expectKind(t, err, sigbox.Denied)
	for want, flags := range map[string]app.Settings{
		`there is no role "rekor"`:   {Only: []app.Role{"ca", "rekor"}},
		"ca is named twice":          {Only: []app.Role{"ca", "tsa", "ca"}},
		"copy of the file part.json": {Only: []app.Role{"ca"}, Parts: []string{damaged}},
		"parts, hosts: expected at":  {Parts: make([]string, 33)},
		"expected a regular file":    {Parts: []string{t.TempDir()}},
	} {
		flags.Listen = "127.0.0.1:0"
		_, err := app.Start(t.Context(), app.Config{Data: t.TempDir(), Flags: flags})
		expectKind(t, err, sigbox.Invalid)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("expected %q, found %v", want, err)
		}
	}
}

func certificateRequest(t *testing.T, req sigbox.CertificateRequest) string {
	t.Helper()
	body, err := fulcio.AppendRequest(nil, req)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

// knowByName has each host ask the others, in the place of copied files.
func (h *hosts) knowByName(t *testing.T) {
	t.Helper()
	settings := "hosts:\n"
	for _, a := range []*app.App{h.ca, h.logs, h.trust} {
		settings += string(readFile(t, filepath.Join(a.Data(), "host.yaml")))
	}
	for _, a := range []*app.App{h.ca, h.logs, h.trust} {
		writeFile(t, filepath.Join(a.Data(), "config.yaml"), settings)
		a.Reload()
	}
	h.ask(t)
}

// ask has each host ask the others.
func (h *hosts) ask(t *testing.T) {
	t.Helper()
	for _, a := range []*app.App{h.logs, h.ca, h.trust, h.ca} {
		a.AskHosts(t.Context())
	}
}

// startAsking starts three hosts that ask each other.
func startAsking(t *testing.T, change ...func(*app.Config)) *hosts {
	t.Helper()
	start := func(roles ...app.Role) *app.App {
		return apptest.Start(t, append(change, host(nil, roles...))...)
	}
	h := &hosts{
		ca: start(app.RoleCA, app.RoleOIDC), logs: start(app.RoleCTLog, app.RoleLog, app.RoleLogV1), trust: start(app.RoleTSA, app.RoleTUF),
	}
	h.knowByName(t)
	return h
}

// TestHostsAsk: hosts that were told each other's keys need no copied files. What they
// have seen of each other stays while one is away, also over a restart.
func TestHostsAsk(t *testing.T) {
	h := startAsking(t)
	for _, a := range []*app.App{h.ca, h.logs, h.trust} {
		ready(t, a)
	}
	h.sign(t)
	apptest.Stop(t, h.logs)
	before := published(t, h.trust, "trusted_root.json")
	apptest.Stop(t, h.trust)
	at := strings.TrimPrefix(h.trust.URL(), "http://")
	h.trust = apptest.Start(t, apptest.In(h.trust.Data()), host(nil, app.RoleTSA, app.RoleTUF), func(c *app.Config) { c.Flags.Listen = at })
	if !slices.Equal(before, published(t, h.trust, "trusted_root.json")) {
		t.Error("a host that is away is forgotten")
	}
	status, err := h.trust.Admin().Status(t.Context())
	if err != nil || !slices.ContainsFunc(status.Keys, func(k app.HeldKey) bool {
		return k.Name == "part" && k.Place == "file" && strings.Contains(string(readFile(t, filepath.Join(h.trust.Data(), "host.yaml"))), k.SHA256)
	}) {
		t.Errorf("the key of the part is not shown: %+v, %v", status.Keys, err)
	}
}

// TestHostSaysTooMuch: a host's part says nothing of roles that it was not given, and one
// that is signed by another key, or not served any more, changes nothing.
func TestHostSaysTooMuch(t *testing.T) {
	h := startAsking(t)
	before := published(t, h.trust, "trusted_root.json")
	config := filepath.Join(h.trust.Data(), "config.yaml")
	good := string(readFile(t, config))
	for name, settings := range map[string]string{
		"fewer roles": strings.Replace(good, "    - log-v1\n", "", 1),
		"another key": strings.Replace(good, "key: sha256:", "key: sha256:"+strings.Repeat("00", 32)+" #", 1),
	} {
		if settings == good {
			t.Fatalf("%s: %s", name, good)
		}
		writeFile(t, config, settings)
		h.trust.Reload()
		h.trust.AskHosts(t.Context())
		if !slices.Equal(before, published(t, h.trust, "trusted_root.json")) {
			t.Errorf("%s: clients are told to trust something else", name)
		}
	}
}
