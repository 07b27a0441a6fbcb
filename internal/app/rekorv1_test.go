package app_test

import (
	"encoding/json"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/app"
	"github.com/sigbox/sigbox/internal/app/apptest"
	"github.com/sigbox/sigbox/wire/trust"
)

// rekorV1 turns the v1 log on or off.
func rekorV1(on bool) func(*app.Config) {
	return func(c *app.Config) { c.Flags.RekorV1 = &on }
}

// published reads a TUF target of an instance, the newest of its name.
func published(t *testing.T, a *app.App, name string) []byte {
	t.Helper()
	_, text := get(t, a, "/tuf/timestamp.json")
	version := func(text, of string) string {
		var m struct {
			Signed struct {
				Meta map[string]struct{ Version json.Number }
			}
		}
		if err := json.Unmarshal([]byte(text), &m); err != nil {
			t.Fatal(err)
		}
		return m.Signed.Meta[of].Version.String() + "." + of
	}
	_, text = get(t, a, "/tuf/"+version(text, "snapshot.json"))
	_, text = get(t, a, "/tuf/"+version(text, "targets.json"))
	var targets struct {
		Signed struct {
			Targets map[string]struct{ Hashes map[string]string }
		}
	}
	if err := json.Unmarshal([]byte(text), &targets); err != nil {
		t.Fatal(err)
	}
	for hash := range maps.Values(targets.Signed.Targets[name].Hashes) {
		if status, body := get(t, a, "/tuf/targets/"+hash+"."+name); status == http.StatusOK {
			return []byte(body)
		}
	}
	t.Fatalf("no target %s: %s", name, text)
	return nil
}

// logsOf gives the logs that an instance's trust root lists, and the versions that
// its signing config offers.
func logsOf(t *testing.T, a *app.App) (trusted []sigbox.TransparencyLog, offered []int) {
	t.Helper()
	root, err := trust.ParseRoot(published(t, a, "trusted_root.json"))
	if err != nil {
		t.Fatal(err)
	}
	config, err := trust.ParseSigningConfig(published(t, a, "signing_config.v0.2.json"))
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range config.Logs {
		offered = append(offered, l.MajorAPIVersion)
	}
	return root.Logs, offered
}

// TestRekorV1: both logs are trusted, v2 is preferred, and both begin with the root.
func TestRekorV1(t *testing.T) {
	a := apptest.Start(t)
	trusted, offered := logsOf(t, a)
	if len(trusted) != 2 || trusted[1].BaseURL != strings.Replace(trusted[0].BaseURL, "https://", "https://v1.", 1) || trusted[1].Details != sigbox.ECDSAP256SHA256 {
		t.Errorf("trusted: %+v", trusted)
	}
	if !slices.Equal(offered, []int{2, 1}) {
		t.Errorf("offered: %v", offered)
	}
	if status, body := get(t, a, "/api/v1/log"); status != http.StatusOK || !strings.Contains(body, `"treeSize":1`) {
		t.Errorf("%d: %s", status, body)
	}
	s, err := a.Admin().Status(t.Context())
	if err != nil || len(s.Logs) != 3 || !strings.HasPrefix(s.Logs[2].Origin, "v1."+s.LogHostname+" - ") || s.Logs[2].Size != 1 {
		t.Errorf("%v: %+v", err, s.Logs)
	}
}

// TestRekorV1Later: an instance without a v1 log knows nothing of it, and has one
// when it is wanted later, also when the root's key has been put away.
func TestRekorV1Later(t *testing.T) {
	dir := t.TempDir()
	a := apptest.Start(t, apptest.In(dir), rekorV1(false))
	if trusted, offered := logsOf(t, a); len(trusted) != 1 || !slices.Equal(offered, []int{2}) {
		t.Errorf("trusted: %+v, offered: %v", trusted, offered)
	}
	if status, _ := get(t, a, "/api/v1/log"); status != http.StatusNotFound {
		t.Errorf("a log that is not wanted: %d", status)
	}
	apptest.Stop(t, a)
	state, err := os.ReadFile(filepath.Join(dir, "instance.json"))
	if err != nil || strings.Contains(string(state), "rekorV1") {
		t.Fatalf("%v: %s", err, state)
	}
	if err := os.Remove(filepath.Join(dir, "keys", "tuf-root.pem")); err != nil {
		t.Fatal(err)
	}
	a = apptest.Start(t, apptest.In(dir))
	trusted, offered := logsOf(t, a)
	if len(trusted) != 2 || !slices.Equal(offered, []int{2, 1}) || !trusted[1].ValidFor.Start.After(trusted[0].ValidFor.Start) && !trusted[1].ValidFor.Start.Equal(trusted[0].ValidFor.Start) {
		t.Errorf("trusted: %+v, offered: %v", trusted, offered)
	}
	if status, body := get(t, a, "/api/v1/log/entries?logIndex=0"); status != http.StatusOK {
		t.Errorf("%d: %s", status, body)
	}
}

// TestRekorV1Off: a log that is turned off takes nothing more, and what it has stays
// readable and trusted. Its key is not replaced.
func TestRekorV1Off(t *testing.T) {
	dir := t.TempDir()
	a := apptest.Start(t, apptest.In(dir))
	before, _ := logsOf(t, a)
	apptest.Stop(t, a)
	a = apptest.Start(t, apptest.In(dir), rekorV1(false))
	after, offered := logsOf(t, a)
	if len(after) != 2 || string(after[1].LogID) != string(before[1].LogID) || !slices.Equal(offered, []int{2}) {
		t.Errorf("trusted: %+v, offered: %v", after, offered)
	}
	if status, body := get(t, a, "/api/v1/log/entries?logIndex=0"); status != http.StatusOK {
		t.Errorf("%d: %s", status, body)
	}
	resp, err := http.Post(a.URL()+"/api/v1/log/entries", "application/json", strings.NewReader(`{"apiVersion":"0.0.1","kind":"rfc3161","spec":{"tsr":{"content":"MAA="}}}`))
	if err != nil {
		t.Fatal(err)
	}
	if resp.Body.Close(); resp.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("taken: %d", resp.StatusCode)
	}
	apptest.Stop(t, a)
	if err := os.Remove(filepath.Join(dir, "keys", "rekor1.pem")); err != nil {
		t.Fatal(err)
	}
	for _, on := range []bool{true, false} {
		cfg := app.Config{Data: dir, Flags: app.Settings{Listen: "127.0.0.1:0", RekorV1: &on}}
		if a, err := app.Start(t.Context(), cfg); err == nil {
			apptest.Stop(t, a)
			t.Error("it started without the key of the v1 log")
		} else if !strings.Contains(err.Error(), "rekor1.pem is gone") {
			t.Errorf("without the key: %v", err)
		}
	}
}
