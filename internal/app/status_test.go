package app_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/sigbox/sigbox/internal/app"
	"github.com/sigbox/sigbox/internal/app/apptest"
)

// visit gets a page as a client that accepts one kind of answers, and follows no redirects.
func visit(t *testing.T, url, accept string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept", accept)
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(body)
}

// browser is what browsers accept.
const browser = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"

func TestStatusPage(t *testing.T) {
	a := apptest.Start(t, func(c *app.Config) { c.Version = "v1.2.3" })
	root, err := os.ReadFile(a.RootFile())
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(root)
	digest := hex.EncodeToString(sum[:])
	resp, page := visit(t, a.URL()+"/status", browser)
	if resp.StatusCode != http.StatusOK || !strings.HasPrefix(resp.Header.Get("Content-Type"), "text/html") || !strings.Contains(resp.Header.Get("Content-Security-Policy"), "default-src 'none'") {
		t.Errorf("found %d %v", resp.StatusCode, resp.Header)
	}
	for _, want := range []string{"All is well", "v1.2.3", digest, "sigbox instance add mine " + a.URL(), "certificate authority", "timestamp authority", "serving", "TUF root", "sigbox intermediate", "1 entry"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page has no %q", want)
		}
	}
	for _, secret := range []string{a.Data(), "PRIVATE", "admin.sock", "<script"} {
		if strings.Contains(page, secret) {
			t.Errorf("the page tells %q", secret)
		}
	}
	resp, body := visit(t, a.URL()+"/status", "application/json")
	var s app.PublicStatus
	if err := json.Unmarshal([]byte(body), &s); err != nil || resp.Header.Get("Content-Type") != "application/json" {
		t.Fatalf("found %v: %s (%v)", resp.Header, body, err)
	}
	if !s.Ready || s.Version != "v1.2.3" || s.RootSHA256 != digest || len(s.Roles) != 7 || len(s.TUF) != 4 || len(s.Certificates) != 4 || len(s.Trusted) != 3 || len(s.Logs) != 3 {
		t.Errorf("found %+v", s)
	}
	if strings.Contains(body, a.Data()) || strings.Contains(body, `"keys"`) {
		t.Errorf("it tells what is not for everybody: %s", body)
	}
	if _, page := visit(t, a.URL()+"/", browser); !strings.Contains(page, `href="/status"`) {
		t.Error("the front page does not lead there")
	}
}

// A host without a front page leads from it to the status.
func TestStatusPageOfAPart(t *testing.T) {
	a := apptest.Start(t, func(c *app.Config) { c.Flags.Only = []app.Role{app.RoleTSA} })
	at := a.URL()
	if resp, _ := visit(t, at+"/", browser); resp.StatusCode != http.StatusSeeOther || resp.Header.Get("Location") != "/status" {
		t.Errorf("found %d to %q", resp.StatusCode, resp.Header.Get("Location"))
	}
	if resp, page := visit(t, at+"/status", browser); resp.StatusCode != http.StatusOK || strings.Contains(page, "instance add") {
		t.Errorf("found %d: %s", resp.StatusCode, page)
	}
}

func TestStatusOfKeysAndLimits(t *testing.T) {
	a := apptest.Start(t)
	s, err := a.Admin().Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(s.Keys) != 10 || s.Keys[0].Name != "ca" || s.Keys[0].Place != "file" || len(s.Keys[0].SHA256) != 64 {
		t.Errorf("found keys %+v", s.Keys)
	}
	if s.Limits == nil || s.Limits.Connections == 0 || s.Limits.Descriptors == 0 {
		t.Errorf("found limits %+v", s.Limits)
	}
	// What comes by the admin socket is the same.
	admin, err := app.OpenAdmin(t.Context(), app.Config{Data: a.Data()})
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close()
	if got, err := admin.Status(t.Context()); err != nil || len(got.Keys) != len(s.Keys) || len(got.Certificates) != len(s.Certificates) || got.URL != s.URL || !got.Ready {
		t.Errorf("found %+v (%v)", got, err)
	}
}

// A new key that does not sign yet is where it is, and not with the roots.
func TestStatusOfARotatedKey(t *testing.T) {
	a := apptest.Start(t)
	if _, err := a.Admin().Rotate(t.Context(), app.RotateRequest{Role: "ca"}); err != nil {
		t.Fatal(err)
	}
	s, err := a.Admin().Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(s.Keys, func(k app.HeldKey) bool { return k.Name == "ca.2" && k.Place == "file" }) {
		t.Errorf("found keys %+v", s.Keys)
	}
}
