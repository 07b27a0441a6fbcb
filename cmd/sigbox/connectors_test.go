package main

import (
	"fmt"
	"html"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/sigbox/sigbox/internal/app"
	"github.com/sigbox/sigbox/internal/app/apptest"
	"github.com/sigbox/sigbox/internal/oidc"
)

var passwordField = regexp.MustCompile(`name="password"`)

// browseThrough is a person at a browser who fills in each form that is shown and
// consents, until no form comes any more: what is said then.
func (p person) browseThrough(start string) (string, error) {
	jar, err := cookiejar.New(nil)
	if err != nil {
		return "", err
	}
	client := &http.Client{Jar: jar}
	resp, err := client.Get(start)
	for range 8 {
		if err != nil {
			return "", err
		}
		page, err := io.ReadAll(resp.Body)
		if err := resp.Body.Close(); err != nil {
			return "", err
		}
		action := formAction.FindSubmatch(page)
		if err != nil || action == nil {
			return string(page), err
		}
		form := url.Values{"action": {"allow"}}
		if passwordField.Match(page) {
			form.Set("email", p.email)
			form.Set("password", p.password)
		}
		for _, f := range formField.FindAllSubmatch(page, -1) {
			form.Set(html.UnescapeString(string(f[1])), html.UnescapeString(string(f[2])))
		}
		target, err := resp.Request.URL.Parse(html.UnescapeString(string(action[1])))
		if err != nil {
			return "", err
		}
		if resp, err = client.PostForm(target.String(), form); err != nil {
			return "", err
		}
	}
	return "", fmt.Errorf("the forms have no end")
}

// browse is browseThrough up to sigbox's own listener.
func (p person) browse(login string) error {
	said, err := p.browseThrough(login)
	if err == nil && !strings.Contains(said, "You are logged in") {
		err = fmt.Errorf("after the login: %s", said)
	}
	return err
}

// TestConnectorLogin: somebody signs in at another provider, here that of a second
// instance, and signs with the address that it vouches for. Who is named as the issuer
// follows the settings.
func TestConnectorLogin(t *testing.T) {
	outside := apptest.Start(t)
	ada := person{"ada@example.com", "correct horse battery staple"}
	if err := outside.Admin().AddUser(t.Context(), app.NewUser{Email: ada.email, Password: ada.password, Name: "Ada"}); err != nil {
		t.Fatal(err)
	}
	for _, issuer := range []string{oidc.IssuerInstance, oidc.IssuerConnector} {
		t.Run(issuer, func(t *testing.T) {
			a := apptest.Start(t, func(c *app.Config) {
				c.Flags.Login = oidc.Logins{CertificateIssuer: issuer, Connectors: []oidc.Connector{{
					ID: "outside", Title: "The other one", Type: oidc.TypeOIDC, URL: outside.URL() + "/oidc", ClientID: "sigstore", Domains: []string{"example.com"},
				}}}
			})
			named := map[string]string{oidc.IssuerInstance: a.URL() + "/oidc", oidc.IssuerConnector: outside.URL() + "/oidc"}[issuer]
			b := newBench(t)
			b.env.browse = ada.browse
			b.must("instance", "add", "box", a.URL(), "--root", a.RootFile())
			file := b.file("app.txt", "hello")
			b.must("sign", "--instance", "box", "--fulcio-auth-flow", "normal", file)
			if !strings.Contains(b.stderr.String(), "as ada@example.com") {
				t.Errorf("said %s", &b.stderr)
			}
			b.must("verify", "--instance", "box", "--certificate-identity", ada.email, "--certificate-oidc-issuer", named, file)
		})
	}
}
