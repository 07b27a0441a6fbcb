// Package web has the pages that people see: those of the OpenID provider's login,
// and the front page of an instance. They are plain HTML with one embedded style
// sheet; there is no script.
//
// The pages are Go functions that make nodes, which escape what they are given.
// The templates of the standard library call methods by name, and the linker then
// keeps every method of the program (TestMethodsArePruned of the root package).
//
// Each response carries a Content-Security-Policy that allows that style sheet and
// nothing else, and cannot be framed.
package web

import (
	"bytes"
	"crypto/sha256"
	_ "embed" // the style sheet
	"encoding/base64"
	"net/http"
	"net/url"
	"strings"

	"github.com/sigbox/sigbox/internal/oidc"
)

//go:embed style.css
var style string

// Pages draws pages; it implements [oidc.Pages]. Methods are safe for concurrent
// use.
type Pages struct {
	name string
	csp  string // without form-action
}

// New makes pages. The name is what the instance is called at the head of each,
// such as its host name.
func New(name string) *Pages {
	hash := sha256.Sum256([]byte(style))
	return &Pages{
		name: name,
		csp: "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(hash[:]) +
			"'; img-src data:; base-uri 'none'; frame-ancestors 'none'; form-action ",
	}
}

// FrontView is the front page of an instance.
type FrontView struct {
	// URL is the instance's, without a slash at its end.
	URL string
	// RootSHA256 is the digest of /root.json in hexadecimal.
	RootSHA256 string
}

// Front says what this instance is, how to trust it and how to sign with it.
func (p *Pages) Front(w http.ResponseWriter, v FrontView) {
	p.write(w, http.StatusOK, "'none'", front(v))
}

// Login implements [oidc.Pages]. Browsers apply form-action to where a form's
// answer redirects, so the program's address is allowed there.
func (p *Pages) Login(w http.ResponseWriter, status int, v oidc.LoginView) {
	action, listener := "'self'", ""
	if u, err := url.Parse(v.Redirect); err == nil && u.Host != "" {
		listener = u.Host
		if strings.Contains(u.Hostname(), ":") {
			action += " http:" // the policy's grammar has no IPv6 addresses
		} else {
			action += " http://" + u.Host
		}
	}
	p.write(w, status, action, login(v, listener))
}

// Device implements [oidc.Pages].
func (p *Pages) Device(w http.ResponseWriter, status int, v oidc.DeviceView) {
	p.write(w, status, "'self'", device(v))
}

// Message implements [oidc.Pages].
func (p *Pages) Message(w http.ResponseWriter, status int, v oidc.MessageView) {
	p.write(w, status, "'none'", message(v))
}

func (p *Pages) write(w http.ResponseWriter, status int, formAction string, content page) {
	var html bytes.Buffer
	if err := content.document(p.name).Render(&html); err != nil {
		http.Error(w, "this page could not be drawn", http.StatusInternalServerError)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", p.csp+formAction)
	h.Set("X-Frame-Options", "DENY")
	h.Set("X-Content-Type-Options", "nosniff")
	// Not no-referrer: with that, browsers send forms with the origin "null".
	h.Set("Referrer-Policy", "same-origin")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	w.WriteHeader(status)
	_, _ = html.WriteTo(w) // the client has gone: nothing to be done
}
