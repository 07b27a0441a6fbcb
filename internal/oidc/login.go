package oidc

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/sigbox/sigbox"
)

// login is a sign-in under way, in the browser that began it. Fields do not
// change.
type login struct {
	browser  string // its cookie
	clientID string
	hint     string // the address that the program proposed, or ""

	// Of the authorization code flow.
	redirect, state, nonce, challenge string

	device *device // of the device flow, else nil

	who *account // who has signed in at a connector, and has not consented yet; else nil
}

// begin notes a login and gives its ID.
func (p *Provider) begin(l *login) (id string, err error) {
	id, err = p.random()
	if err == nil {
		p.logins.put(id, l, p.now())
	}
	return id, err
}

// cookieName has the prefix by which browsers refuse a cookie that was set
// without TLS or by a neighbouring host.
func (p *Provider) cookieName() string {
	if p.secure {
		return "__Host-sigbox-login"
	}
	return "sigbox-login"
}

// browser gives the secret that a browser's cookie holds, or a new one, and the
// cookie to set. It is Lax since the first request comes from a program's page.
func (p *Provider) browser(h http.Header) (secret string, set *http.Cookie, err error) {
	secret = p.cookie(h)
	if secret == "" {
		if secret, err = p.random(); err != nil {
			return "", nil, err
		}
	}
	return secret, &http.Cookie{ //nolint:gosec // G124: Secure follows the issuer, which may be plain HTTP on a loopback address
		Name: p.cookieName(), Value: secret, Path: "/", MaxAge: int(loginTTL / time.Second),
		HttpOnly: true, Secure: p.secure, SameSite: http.SameSiteLaxMode,
	}, nil
}

// cookie gives the secret in a request's cookie, "" if there is none in our form.
func (p *Provider) cookie(h http.Header) string {
	c, err := (&http.Request{Header: h}).Cookie(p.cookieName())
	if err != nil {
		return ""
	}
	if b, err := base64.RawURLEncoding.DecodeString(c.Value); err != nil || len(b) != sha256.Size {
		return ""
	}
	return c.Value
}

// csrf is the token of a form: it fits one browser and one purpose.
func (p *Provider) csrf(browser, purpose string) string {
	mac := hmac.New(sha256.New, p.csrfKey[:])
	mac.Write([]byte(browser + "\x00" + purpose))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// checkCSRF compares in constant time. No browser is never right.
func (p *Provider) checkCSRF(token, browser, purpose string) bool {
	return browser != "" && subtle.ConstantTimeCompare([]byte(token), []byte(p.csrf(browser, purpose))) == 1
}

// ownLogin finds a login and insists on the browser that began it: whoever else
// learns the ID can neither finish the login nor see where it leads.
func (p *Provider) ownLogin(w http.ResponseWriter, r *http.Request, id string) (*login, bool) {
	l, ok := p.logins.get(id, p.now())
	if !ok {
		p.ended(w)
		return nil, false
	}
	if subtle.ConstantTimeCompare([]byte(p.cookie(r.Header)), []byte(l.browser)) != 1 {
		p.failed(w, http.StatusForbidden, "This sign-in began in another browser",
			"Begin again from your program, and allow cookies for this site. If somebody sent you this link, do not go on.")
		return nil, false
	}
	return l, true
}

func (p *Provider) ended(w http.ResponseWriter) {
	p.failed(w, http.StatusGone, "This sign-in has ended", fmt.Sprintf(
		"It was used already, or it is older than %d minutes. Begin again from your program.", int(loginTTL.Minutes())))
}

func (p *Provider) getLogin(w http.ResponseWriter, r *http.Request) {
	if err := parseForm(w, r); err != nil {
		p.failed(w, formStatus(err), "This page cannot be shown", sentence(public(err)))
		return
	}
	id := r.Form.Get("id")
	l, ok := p.ownLogin(w, r, id)
	if !ok {
		return
	}
	set, local, err := p.choosing(r.Context())
	switch {
	case err != nil:
		p.broken(w, r, err)
	case l.who == nil && !local && len(set.list) == 1:
		p.toConnector(w, r, id, l, set.list[0]) // there is nothing to choose
	default:
		p.showLogin(w, r, http.StatusOK, id, l, l.hint, "")
	}
}

func (p *Provider) showLogin(w http.ResponseWriter, r *http.Request, status int, id string, l *login, email, problem string) {
	set, local, err := p.choosing(r.Context())
	if err != nil {
		p.broken(w, r, err)
		return
	}
	v := LoginView{
		Action: p.path + loginPath, ID: id, CSRF: p.csrf(l.browser, id),
		Email: email, Client: l.clientID, Problem: problem,
	}
	if l.redirect != outOfBand {
		v.Redirect = l.redirect
	}
	if d := l.device; d != nil {
		v.Device = &DeviceRequest{UserCode: d.userCode, Address: d.address, Age: p.now().Sub(d.created)}
	}
	if l.who == nil {
		v.Accounts, v.Connectors = local, p.links(set, id)
	} else {
		v.Person = &Person{Email: l.who.email, At: set.titleOf(l.who.connector)}
	}
	p.pages.Login(w, status, v)
}

func (p *Provider) postLogin(w http.ResponseWriter, r *http.Request) {
	if err := parseForm(w, r); err != nil {
		p.failed(w, formStatus(err), "This form cannot be read", sentence(public(err)))
		return
	}
	id := r.PostForm.Get("id")
	l, ok := p.ownLogin(w, r, id)
	if !ok {
		return
	}
	if !p.checkCSRF(r.PostForm.Get("csrf"), l.browser, id) {
		p.failed(w, http.StatusForbidden, "This form is not from here", "Begin again from your program.")
		return
	}
	switch r.PostForm.Get("action") {
	case "deny":
		p.deny(w, r, id)
	case "allow":
		if l.who != nil {
			p.allow(w, r, id, *l.who)
			return
		}
		p.tryPassword(w, r, id, l)
	default:
		p.showLogin(w, r, http.StatusBadRequest, id, l, r.PostForm.Get("email"), "Choose one of the two buttons.")
	}
}

// tryPassword checks the password, within the limits on tries.
func (p *Provider) tryPassword(w http.ResponseWriter, r *http.Request, id string, l *login) {
	email, address := r.PostForm.Get("email"), p.address(r)
	if !p.connectors.Load().local {
		p.showLogin(w, r, http.StatusForbidden, id, l, email, "Nobody signs in here with a password.")
		return
	}
	if wait, ok := p.takeTry(email, address); !ok {
		retryAfter(w, wait)
		p.showLogin(w, r, http.StatusTooManyRequests, id, l, email,
			fmt.Sprintf("Too many wrong passwords. Try again in %d seconds.", seconds(wait)))
		return
	}
	user, err := p.users.Authenticate(r.Context(), email, r.PostForm.Get("password"))
	if err == nil {
		p.giveBackTry(email, address)
		p.log.InfoContext(r.Context(), "signed in", "user", user.Email, "client", l.clientID, "address", address)
		p.allow(w, r, id, account{email: user.Email})
		return
	}
	switch sigbox.KindOf(err) {
	case sigbox.Unauthenticated:
		// The address is not logged: people type passwords into that field.
		p.log.InfoContext(r.Context(), "wrong password or user", "client", l.clientID, "address", address)
		p.showLogin(w, r, http.StatusForbidden, id, l, email, "The email address or the password is wrong.")
	case sigbox.Unavailable:
		p.giveBackTry(email, address)
		retryAfter(w, time.Second)
		p.showLogin(w, r, http.StatusServiceUnavailable, id, l, email, "Too many people sign in at this moment. Try again in a few seconds.")
	default:
		p.broken(w, r, err)
	}
}

// takeTry counts a try for the user, known or not, and for the address.
func (p *Provider) takeTry(email, address string) (wait time.Duration, ok bool) {
	now := p.now()
	if wait, ok = p.perAddress.take(address, now); !ok {
		return wait, false
	}
	if wait, ok = p.perUser.take(emailKey(email), now); !ok {
		p.perAddress.giveBack(address)
		return wait, false
	}
	return 0, true
}

func (p *Provider) giveBackTry(email, address string) {
	p.perAddress.giveBack(address)
	p.perUser.giveBack(emailKey(email))
}

// allow ends a login with consent. The login is taken, so a form that is sent
// twice gives one code.
func (p *Provider) allow(w http.ResponseWriter, r *http.Request, id string, who account) {
	now := p.now()
	l, ok := p.logins.take(id, now)
	if !ok {
		p.ended(w)
		return
	}
	if l.device != nil {
		p.allowDevice(w, l.device, who)
		return
	}
	code, err := p.random()
	if err != nil {
		p.broken(w, r, err)
		return
	}
	p.codes.put(code, &grant{
		who: who, clientID: l.clientID, redirect: l.redirect,
		challenge: l.challenge, nonce: l.nonce, authTime: now,
	}, now)
	if l.redirect == outOfBand {
		p.pages.Message(w, http.StatusOK, MessageView{
			Title: "Copy this code into your program",
			Text: fmt.Sprintf("It is good once, for %d minutes. Give it to nobody: whoever has it may sign as %s.",
				int(codeTTL.Minutes()), who.email),
			Code: code,
		})
		return
	}
	p.redirect(w, r, l.redirect, l.state, url.Values{"code": {code}})
}

// deny ends a login without consent.
func (p *Provider) deny(w http.ResponseWriter, r *http.Request, id string) {
	l, ok := p.logins.take(id, p.now())
	if !ok {
		p.ended(w)
		return
	}
	if l.device != nil {
		p.denyDevice(l.device)
	}
	if l.device != nil || l.redirect == outOfBand {
		p.pages.Message(w, http.StatusOK, MessageView{Title: "Denied", Text: "The program gets no token. You can close this page."})
		return
	}
	p.redirect(w, r, l.redirect, l.state, url.Values{
		"error": {"access_denied"}, "error_description": {"the person at the browser said no"},
	})
}
