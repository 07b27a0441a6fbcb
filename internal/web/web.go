// Package web has the pages that people see: those of the OpenID provider's login,
// and the front page of an instance. They are plain HTML with one embedded style
// sheet; there is no script.
//
// Each response carries a Content-Security-Policy that allows that style sheet and
// nothing else, and cannot be framed.
package web

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"io/fs"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/sigbox/sigbox/internal/oidc"
)

//go:embed templates/*.html style.css
var files embed.FS

// Pages draws pages; it implements [oidc.Pages]. Methods are safe for concurrent
// use.
type Pages struct {
	name                          string
	style                         template.CSS
	csp                           string // without form-action
	front, login, device, message *template.Template
}

// New parses the templates. The name is what the instance is called at the head
// of each page, such as its host name.
func New(name string) (*Pages, error) {
	style, err := files.ReadFile("style.css")
	if err != nil {
		return nil, fmt.Errorf("reading the style sheet: %w", err)
	}
	hash := sha256.Sum256(style)
	p := &Pages{
		name:  name,
		style: template.CSS(style), //nolint:gosec // our own file
		csp: "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(hash[:]) +
			"'; img-src data:; base-uri 'none'; frame-ancestors 'none'; form-action ",
	}
	for file, t := range map[string]**template.Template{
		"front": &p.front, "login": &p.login, "device": &p.device, "message": &p.message,
	} {
		if *t, err = parse(file); err != nil {
			return nil, err
		}
	}
	return p, nil
}

func parse(name string) (*template.Template, error) {
	t, err := template.New("layout.html").Option("missingkey=error").ParseFS(fs.FS(files), "templates/layout.html", "templates/"+name+".html")
	if err != nil {
		return nil, fmt.Errorf("parsing the page %s: %w", name, err)
	}
	return t, nil
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
	p.write(w, http.StatusOK, p.front, "'none'", v)
}

// loginData adds what the page says in other words.
type loginData struct {
	oidc.LoginView
	Listener string // host and port, "" if the program does not listen
	Ago      string // when the device began, "" without one
}

// Login implements [oidc.Pages]. Browsers apply form-action to where a form's
// answer redirects, so the program's address is allowed there.
func (p *Pages) Login(w http.ResponseWriter, status int, v oidc.LoginView) {
	d := loginData{LoginView: v}
	action := "'self'"
	if u, err := url.Parse(v.Redirect); err == nil && u.Host != "" {
		d.Listener = u.Host
		if strings.Contains(u.Hostname(), ":") {
			action += " http:" // the policy's grammar has no IPv6 addresses
		} else {
			action += " http://" + u.Host
		}
	}
	if v.Device != nil {
		d.Ago = ago(v.Device.Age)
	}
	p.write(w, status, p.login, action, d)
}

// ago says roughly how long ago something was.
func ago(d time.Duration) string {
	switch minutes := int(d.Minutes()); minutes {
	case 0:
		return "less than a minute ago"
	case 1:
		return "a minute ago"
	default:
		return fmt.Sprintf("%d minutes ago", minutes)
	}
}

// Device implements [oidc.Pages].
func (p *Pages) Device(w http.ResponseWriter, status int, v oidc.DeviceView) {
	p.write(w, status, p.device, "'self'", v)
}

// Message implements [oidc.Pages].
func (p *Pages) Message(w http.ResponseWriter, status int, v oidc.MessageView) {
	p.write(w, status, p.message, "'none'", v)
}

func (p *Pages) write(w http.ResponseWriter, status int, t *template.Template, formAction string, view any) {
	var page bytes.Buffer
	err := t.Execute(&page, struct {
		Name  string
		Style template.CSS
		View  any
	}{p.name, p.style, view})
	if err != nil {
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
	_, _ = page.WriteTo(w) // the client has gone: nothing to be done
}
