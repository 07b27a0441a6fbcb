package oidc

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"time"

	"github.com/sigbox/sigbox"
)

// callbackPath is where providers send browsers back to, with the connector's ID
// after it. Each has an address of its own, so that one's answer is not taken for
// another's (RFC 9700 §4.4).
const callbackPath = "/callback"

// account is who has signed in: somebody with a local account, or a person for whose
// address a connector vouches.
type account struct {
	email     string
	connector string // ID, "" for a local account
	userID    string // by which the connector's provider knows the person
	issuer    string // the connector's provider, which must still be its when a token is made
}

// choosing says where a login page lets people sign in.
func (p *Provider) choosing(ctx context.Context) (set *connectors, local bool, err error) {
	set = p.connectors.Load()
	if len(set.list) == 0 || !set.local {
		return set, set.local, nil
	}
	local, err = p.users.any(ctx)
	return set, local, err
}

// getConnector sends the browser to a connector's provider.
func (p *Provider) getConnector(w http.ResponseWriter, r *http.Request) {
	if err := parseForm(w, r); err != nil {
		p.failed(w, formStatus(err), "This page cannot be shown", sentence(public(err)))
		return
	}
	id := r.Form.Get("id")
	l, ok := p.ownLogin(w, r, id)
	if !ok {
		return
	}
	c := p.connectors.Load().find(r.PathValue("connector"))
	if c == nil {
		p.failed(w, http.StatusNotFound, "There is no such provider here", "Begin again from your program.")
		return
	}
	p.toConnector(w, r, id, l, c)
}

// toConnector begins an attempt. Its state, nonce and PKCE verifier are secrets of its
// own, good once. An address begins so many only, by the page's link and without one.
func (p *Provider) toConnector(w http.ResponseWriter, r *http.Request, id string, l *login, c *connector) {
	if wait, ok := p.starts.take(p.address(r), p.now()); !ok {
		retryAfter(w, wait)
		p.failed(w, http.StatusTooManyRequests, "Too many sign-ins", "Too many were begun from this address. Wait a minute.")
		return
	}
	a := &attempt{login: id, connector: c, callback: p.issuer + callbackPath + "/" + c.ID, hint: l.hint, began: p.now()}
	for _, secret := range []*string{&a.state, &a.nonce, &a.verifier} {
		var err error
		if *secret, err = p.random(); err != nil {
			p.broken(w, r, err)
			return
		}
	}
	release, ok := c.converse()
	if !ok {
		p.busy(w, r, id, l, c)
		return
	}
	defer release()
	target, err := c.authorize(r.Context(), a)
	if err != nil {
		p.notSignedIn(w, r, id, l, c, err)
		return
	}
	p.attempts.put(a.state, a, p.now())
	http.Redirect(w, r, target, http.StatusSeeOther)
}

// converse takes one of the conversations that may be under way with a provider.
func (c *connector) converse() (release func(), ok bool) {
	select {
	case c.busy <- struct{}{}:
		return func() { <-c.busy }, true
	default:
		return nil, false
	}
}

// getCallback takes a provider's answer. It counts in the browser that began, once, at
// the address of the connector that it was asked for.
func (p *Provider) getCallback(w http.ResponseWriter, r *http.Request) {
	if err := parseForm(w, r); err != nil {
		p.failed(w, formStatus(err), "This answer cannot be read", sentence(public(err)))
		return
	}
	state := r.Form.Get("state")
	a, ok := p.attempts.get(state, p.now())
	if !ok {
		p.ended(w)
		return
	}
	l, ok := p.ownLogin(w, r, a.login)
	if !ok {
		return
	}
	if _, ok := p.attempts.take(state, p.now()); !ok {
		p.ended(w) // another answer was quicker
		return
	}
	c := a.connector
	switch {
	case r.PathValue("connector") != c.ID:
		p.log.WarnContext(r.Context(), "an answer came to the address of another connector", "connector", c.ID, "address of", quoted(r.PathValue("connector")))
		p.failed(w, http.StatusBadRequest, "This answer is of another provider", "Begin again from your program.")
	case p.connectors.Load().find(c.ID) != c:
		p.failed(w, http.StatusGone, "This sign-in has ended", "The settings of this server have changed meanwhile. Begin again from your program.")
	case r.Form.Has("error"):
		p.refusedThere(w, r, a, l)
	case r.Form.Get("code") == "":
		p.notSignedIn(w, r, a.login, l, c, sigbox.Errorf(sigbox.Unauthenticated, "the answer has neither a code nor an error"))
	default:
		p.redeem(w, r, a, l)
	}
}

// redeem finds out who has signed in, and asks them for their consent: they have not
// seen yet which program is to act in their name, nor in which name.
func (p *Provider) redeem(w http.ResponseWriter, r *http.Request, a *attempt, l *login) {
	c := a.connector
	release, ok := c.converse()
	if !ok {
		p.busy(w, r, a.login, l, c)
		return
	}
	defer release()
	who, err := c.redeem(r.Context(), a, r.Form)
	if err == nil {
		err = p.admit(r.Context(), p.connectors.Load(), c, who.email)
	}
	if err != nil {
		p.notSignedIn(w, r, a.login, l, c, err)
		return
	}
	if _, ok := p.logins.take(a.login, p.now()); !ok {
		p.ended(w)
		return
	}
	who.issuer = c.issuer
	known := *l
	known.who = &who
	id, err := p.begin(&known)
	if err != nil {
		p.broken(w, r, err)
		return
	}
	p.log.InfoContext(r.Context(), "signed in at a connector", "connector", c.ID, "user", who.email, "client", l.clientID,
		"address", p.address(r), "took", p.now().Sub(a.began).Round(time.Millisecond))
	http.Redirect(w, r, p.path+client{}.LoginURL(id), http.StatusSeeOther)
}

// refusedThere tells that the provider did not sign the person in. Only the code of
// the error is shown: its description is any text that whoever made the link liked.
func (p *Provider) refusedThere(w http.ResponseWriter, r *http.Request, a *attempt, l *login) {
	code := r.Form.Get("error")
	p.log.InfoContext(r.Context(), "a connector's provider did not sign a person in", "connector", a.connector.ID,
		"error", quoted(code), "description", quoted(r.Form.Get("error_description")))
	problem := a.connector.title() + " did not sign you in."
	if regexp.MustCompile(`\A[a-z_]{1,40}\z`).MatchString(code) {
		problem = fmt.Sprintf("%s did not sign you in (%s).", a.connector.title(), code)
	}
	p.showLogin(w, r, http.StatusForbidden, a.login, l, l.hint, problem)
}

// notSignedIn shows the login page again, with what the person can know of an error:
// what is theirs to change, or that it is not.
func (p *Provider) notSignedIn(w http.ResponseWriter, r *http.Request, id string, l *login, c *connector, err error) {
	status, problem := http.StatusBadGateway, "The answer of "+c.title()+" cannot be used. Whoever runs this server finds the reason in its log."
	switch sigbox.KindOf(err) {
	case sigbox.Denied:
		status, problem = http.StatusForbidden, sentence(public(err))
	case sigbox.Unavailable:
		status, problem = http.StatusServiceUnavailable, c.title()+" cannot be reached at this moment. Try again in a minute."
	}
	p.log.WarnContext(r.Context(), "nobody was signed in at a connector", "connector", c.ID, "address", p.address(r), "err", err)
	p.showLogin(w, r, status, id, l, l.hint, problem)
}

func (p *Provider) busy(w http.ResponseWriter, r *http.Request, id string, l *login, c *connector) {
	retryAfter(w, time.Second)
	p.showLogin(w, r, http.StatusServiceUnavailable, id, l, l.hint, "Too many people sign in with "+c.title()+" at this moment. Try again in a few seconds.")
}

// links are the connectors on the login page.
func (p *Provider) links(set *connectors, id string) []ConnectorLink {
	var all []ConnectorLink
	for _, c := range set.list {
		all = append(all, ConnectorLink{c.title(), p.path + loginPath + "/" + c.ID + "?" + url.Values{"id": {id}}.Encode()})
	}
	return all
}
