package web_test

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"

	"github.com/sigbox/sigbox/internal/oidc"
	"github.com/sigbox/sigbox/internal/web"
)

// all draws every page in every variety, with the value in each field but those
// that say where something goes.
func all(value string) map[string]*httptest.ResponseRecorder {
	pages := web.New(value)
	login := oidc.LoginView{Action: "/oidc/login", ID: value, CSRF: value, Email: value, Client: value, Problem: value}
	listening, device := login, login
	listening.Redirect = "http://localhost:1234/callback"
	device.Device = &oidc.DeviceRequest{UserCode: value, Address: value, Age: 3 * time.Second}
	choice, consent := login, device
	choice.Accounts, choice.Connectors = true, []oidc.ConnectorLink{{Title: value, Path: "/oidc/login/a?id=b"}, {Title: value, Path: "/oidc/login/b?id=b"}}
	elsewhere := choice
	elsewhere.Accounts = false
	consent.Person = &oidc.Person{Email: value, At: value}
	draw := make(map[string]*httptest.ResponseRecorder)
	record := func(name string) *httptest.ResponseRecorder {
		draw[name] = httptest.NewRecorder()
		return draw[name]
	}
	pages.Login(record("out of band"), http.StatusOK, login)
	pages.Login(record("listening"), http.StatusOK, listening)
	pages.Login(record("device login"), http.StatusOK, device)
	pages.Login(record("choice"), http.StatusOK, choice)
	pages.Login(record("no accounts"), http.StatusOK, elsewhere)
	pages.Login(record("consent"), http.StatusOK, consent)
	pages.Device(record("device"), http.StatusOK, oidc.DeviceView{Action: "/oidc/device", CSRF: value, UserCode: value, Problem: value})
	pages.Message(record("message"), http.StatusOK, oidc.MessageView{Title: value, Text: value, Code: value})
	pages.Message(record("bad message"), http.StatusOK, oidc.MessageView{Title: value, Text: value, Code: value, Bad: true})
	pages.Front(record("front"), web.FrontView{URL: value, RootSHA256: value})
	at := time.Unix(1_800_000_000, 0)
	for name, ready := range map[string]bool{"well": true, "not well": false} {
		pages.Status(record(name), web.StatusView{
			URL: value, Ready: ready, Version: value, Started: &at, RootSHA256: value,
			Services: []web.StatusLine{{Name: value, Text: value, Bad: !ready}}, Logs: []web.StatusLog{{Origin: value, Size: 7, Committed: &at}},
			Ends: []web.StatusEnd{{Name: value, At: at}}, Fingerprints: []web.StatusLine{{Name: value, Text: value}},
		})
	}
	return draw
}

func TestPagesAreGuarded(t *testing.T) {
	for _, value := range []string{"harmless", "", `</style></title><script>alert(1)</script>`} {
		for name, rec := range all(value) {
			checkGuards(t, fmt.Sprintf("%s of %q", name, value), rec)
		}
	}
}

func checkGuards(t *testing.T, name string, rec *httptest.ResponseRecorder) {
	t.Helper()
	body, h := rec.Body.String(), rec.Header()
	if rec.Code != http.StatusOK || !strings.HasPrefix(body, "<!doctype html>") || !strings.HasSuffix(body, "</html>") {
		t.Errorf("%s: status %d, page %q", name, rec.Code, body)
	}
	_, rest, _ := strings.Cut(body, "<style>")
	style, _, ok := strings.Cut(rest, "</style>")
	hash := sha256.Sum256([]byte(style))
	csp := h.Get("Content-Security-Policy")
	if !ok || !strings.Contains(csp, "style-src 'sha256-"+base64.StdEncoding.EncodeToString(hash[:])+"'") {
		t.Errorf("%s: the policy %q forbids the page's own style", name, csp)
	}
	for _, want := range []string{"default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'", "form-action '"} {
		if !strings.Contains(csp, want) {
			t.Errorf("%s: the policy %q lacks %s", name, csp, want)
		}
	}
	if h.Get("X-Frame-Options") != "DENY" || h.Get("X-Content-Type-Options") != "nosniff" || h.Get("Referrer-Policy") != "same-origin" {
		t.Errorf("%s: headers %v", name, h)
	}
}

// What is given is text, whatever it is: the tree that a browser makes of the
// page is that of a harmless value, with the other value in its places.
func TestValuesAreText(t *testing.T) {
	const harmless = "harmless"
	want := all(harmless)
	for _, value := range []string{
		`"><script>alert(1)</script>`, `' onfocus='alert(1)`, `" autofocus onfocus="alert(1)`, "` onfocus=alert(1) `",
		`</title><script>`, `</style><script>`, `</pre></main></body></html>`, `<!--`, `-->`, `<![CDATA[`, `<b>bold</b>`,
		`javascript:alert(1)`, `&lt;script&gt;`, `&#x22;`, `&quot`, `{{.}}`, "\x00", "<\x00script>", "line\nline", "\r\n\"\r", "\xc3\"", "\xff<b>", " \t ",
	} {
		seen := strings.NewReplacer("\x00", "\uFFFD", "\r\n", "\n", "\r", "\n").Replace(value)
		for name, rec := range all(value) {
			got, want := tree(t, rec), tree(t, want[name])
			if !strings.Contains(want, harmless) {
				t.Fatalf("%s does not show what it is given", name)
			}
			if got = strings.ReplaceAll(got, quoted(seen), harmless); got != want {
				t.Errorf("%s of %q:\n%s\nwant\n%s", name, value, got, want)
			}
		}
	}
}

// tree writes what a browser makes of a page, a node each line.
func tree(t *testing.T, rec *httptest.ResponseRecorder) string {
	t.Helper()
	root, err := html.Parse(strings.NewReader(rec.Body.String()))
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for n := range root.Descendants() {
		depth := len(slices.Collect(n.Ancestors()))
		fmt.Fprintf(&b, "%*s%d %q", depth, "", n.Type, n.Data)
		for _, a := range n.Attr {
			fmt.Fprintf(&b, " %s=%q", a.Key, a.Val)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// quoted is the value as it stands within a quoted string.
func quoted(value string) string {
	q := fmt.Sprintf("%q", value)
	return q[1 : len(q)-1]
}

// A form goes to a path of this server, and nowhere else.
func TestFormsStayHere(t *testing.T) {
	pages := web.New("test")
	for target, want := range map[string]string{
		"/oidc/login":                "/oidc/login",
		"/a b\"c":                    "/a%20b%22c",
		`/\other.example`:            "/%5Cother.example",
		"":                           "#",
		"login":                      "#",
		"javascript:alert(1)":        "#",
		" javascript:alert(1)":       "#",
		"JavaScript:alert(1)":        "#",
		"data:text/html,x":           "#",
		"//other.example/":           "#",
		"///other.example/":          "#",
		"https://other.example/":     "#",
		"/\t/other.example":          "#",
		"\n//other.example":          "#",
		"/\x00":                      "#",
		`\\other.example`:            "#",
		"/%zz":                       "#",
		"http:/oidc/login":           "#",
		"/oidc/login?next=//a.b#c<>": "/oidc/login?next=//a.b#c%3C%3E",
	} {
		login, device := httptest.NewRecorder(), httptest.NewRecorder()
		pages.Login(login, http.StatusOK, oidc.LoginView{Action: target})
		pages.Device(device, http.StatusOK, oidc.DeviceView{Action: target})
		for _, rec := range []*httptest.ResponseRecorder{login, device} {
			if page := tree(t, rec); !strings.Contains(page, fmt.Sprintf("3 \"form\" method=\"post\" action=%q\n", want)) {
				t.Errorf("a form to %q, want action %q: %s", target, want, page)
			}
		}
	}
}

func TestFormActionFollowsTheRedirect(t *testing.T) {
	pages := web.New("test")
	for redirect, want := range map[string]string{
		"":                               "form-action 'self'",
		"http://localhost:1234/callback": "form-action 'self' http://localhost:1234",
		"http://127.0.0.1/":              "form-action 'self' http://127.0.0.1",
		"http://[::1]:1234/":             "form-action 'self' http:",
	} {
		rec := httptest.NewRecorder()
		pages.Login(rec, http.StatusForbidden, oidc.LoginView{Redirect: redirect})
		if csp := rec.Header().Get("Content-Security-Policy"); !strings.HasSuffix(csp, want) || rec.Code != http.StatusForbidden {
			t.Errorf("redirect %q: status %d, policy %q, want %q", redirect, rec.Code, csp, want)
		}
	}
}

// What may be chosen is on the page, and nothing else.
func TestWaysToSignIn(t *testing.T) {
	link := oidc.ConnectorLink{Title: "There", Path: "/oidc/login/there?id=x"}
	elsewhere := oidc.ConnectorLink{Title: "Nowhere", Path: "https://other.example/"}
	const password, there, consent = `name="password"`, `href="/oidc/login/there?id=x">Sign in with There<`, "signed in with <b>There</b>"
	for name, tt := range map[string]struct {
		view oidc.LoginView
		has  []string
	}{
		"accounts alone":  {oidc.LoginView{}, []string{password}},
		"both":            {oidc.LoginView{Accounts: true, Connectors: []oidc.ConnectorLink{link, elsewhere}}, []string{password, there, `href="#"`}},
		"connectors":      {oidc.LoginView{Connectors: []oidc.ConnectorLink{link}}, []string{there}},
		"one has been to": {oidc.LoginView{Person: &oidc.Person{Email: "a@example.org", At: "There"}}, []string{consent}},
	} {
		rec := httptest.NewRecorder()
		web.New("test").Login(rec, http.StatusOK, tt.view)
		for _, part := range []string{password, there, consent, `href="#"`, "other.example"} {
			if has := strings.Contains(rec.Body.String(), part); has != slices.Contains(tt.has, part) {
				t.Errorf("%s: %s is there: %v: %s", name, part, has, rec.Body)
			}
		}
		if body := rec.Body.String(); !strings.Contains(body, `value="deny"`) || strings.Contains(body, `value="allow"`) == (name == "connectors") {
			t.Errorf("%s: the buttons: %s", name, body)
		}
	}
}

// What is empty leaves nothing on the page.
func TestWhatIsEmptyIsLeftOut(t *testing.T) {
	for name, rec := range all("") {
		page := tree(t, rec)
		for _, part := range []string{`"problem"`, `"code long"`, "--root-sha256", "at the address"} {
			if strings.Contains(page, part) {
				t.Errorf("%s has %s: %s", name, part, page)
			}
		}
	}
}

// The cursor stands in the first field that is to be filled in.
func TestCursor(t *testing.T) {
	for email, want := range map[string]string{"": "email", "a@example.org": "password"} {
		rec := httptest.NewRecorder()
		web.New("test").Login(rec, http.StatusOK, oidc.LoginView{Email: email})
		for line := range strings.Lines(tree(t, rec)) {
			if got := strings.Contains(line, " autofocus="); got != strings.Contains(line, fmt.Sprintf("id=%q", want)) {
				t.Errorf("address %q: the cursor belongs in %s: %s", email, want, line)
			}
		}
	}
}
