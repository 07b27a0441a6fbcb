package oidc

import (
	"context"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/zitadel/oidc/v3/pkg/oidc"

	"github.com/sigbox/sigbox"
)

// githubAPI is where the API of github.com is; that of an Enterprise Server is below
// its own address.
const githubAPI = "https://api.github.com"

// github signs people in at GitHub, which is no OpenID provider for people: it gives an
// access token, and its API says whose it is.
//
// Source: GitHub's "Authorizing OAuth apps" and REST API (users, emails, organization
// members).
type github struct {
	Connector
	line   backchannel
	secret func() (string, error)
}

// api gives the address of a resource.
func (g *github) api(path string) string {
	if g.base() == defaultGitHub {
		return githubAPI + path
	}
	return g.base() + "/api/v3" + path
}

// reach asks whether the API is there.
func (g *github) reach(ctx context.Context) error {
	var about map[string]any
	return g.line.get(ctx, g.api("/"), "", &about)
}

func (g *github) authorize(_ context.Context, a *attempt) (string, error) {
	scopes := g.Scopes
	if scopes == nil {
		scopes = []string{"user:email"}
		if g.Organizations != nil {
			scopes = append(scopes, "read:org")
		}
	}
	params := url.Values{
		"client_id": {g.ClientID}, "redirect_uri": {a.callback}, "scope": {strings.Join(scopes, " ")}, "state": {a.state},
		"code_challenge": {oidc.NewSHACodeChallenge(a.verifier)}, "code_challenge_method": {string(oidc.CodeChallengeMethodS256)},
	}
	if a.hint != "" {
		params.Set("login", a.hint)
	}
	return withQuery(g.base()+"/login/oauth/authorize", params), nil
}

func (g *github) redeem(ctx context.Context, a *attempt, answer url.Values) (account, error) {
	if iss := answer.Get("iss"); answer.Has("iss") && iss != g.name() {
		return account{}, sigbox.Mismatch(sigbox.Unauthenticated, "the answer is of another provider (iss)", quoted(g.name()), quoted(iss))
	}
	secret, err := g.secret()
	if err != nil {
		return account{}, err
	}
	tokens, err := g.line.redeem(ctx, g.base()+"/login/oauth/access_token", url.Values{
		"client_id": {g.ClientID}, "client_secret": {secret}, "code": {answer.Get("code")},
		"redirect_uri": {a.callback}, "code_verifier": {a.verifier},
	}, nil)
	if err != nil {
		return account{}, err
	}
	if tokens.AccessToken == "" {
		return account{}, sigbox.Errorf(sigbox.Unauthenticated, "the provider gave no access token")
	}
	who := account{connector: g.ID}
	if who.userID, err = g.user(ctx, tokens.AccessToken); err != nil {
		return account{}, err
	}
	if who.email, err = g.email(ctx, tokens.AccessToken); err != nil {
		return account{}, err
	}
	return who, g.member(ctx, tokens.AccessToken, who.email)
}

// user gives the number by which GitHub knows the person; names can change hands.
func (g *github) user(ctx context.Context, token string) (string, error) {
	var user struct {
		ID int64 `json:"id"`
	}
	if err := g.line.get(ctx, g.api("/user"), token, &user); err != nil {
		return "", err
	}
	if user.ID <= 0 {
		return "", sigbox.Errorf(sigbox.Unauthenticated, "%s does not say who the person is", g.api("/user"))
	}
	return strconv.FormatInt(user.ID, 10), nil
}

// email gives the person's primary address, which GitHub must have verified.
func (g *github) email(ctx context.Context, token string) (string, error) {
	var emails []struct {
		Email    string `json:"email"`
		Primary  bool   `json:"primary"`
		Verified bool   `json:"verified"`
	}
	if err := g.line.get(ctx, g.api("/user/emails"), token, &emails); err != nil {
		return "", err
	}
	for _, e := range emails {
		switch {
		case !e.Primary:
		case CheckEmail(e.Email) != nil:
			return "", sigbox.Errorf(sigbox.Denied, "your email address cannot stand in a certificate: expected name@domain in ASCII")
		case !e.Verified:
			return "", sigbox.Errorf(sigbox.Denied, "the provider has not verified your address %s; verify it there and begin again", e.Email)
		default:
			return e.Email, nil
		}
	}
	return "", sigbox.Errorf(sigbox.Denied, "your account has no primary email address")
}

// Organizations are asked for in pages of so many memberships, each of which is almost
// 3 KiB of JSON: a page is to be no longer than maxAnswer. Nobody is in more than maxPages
// of them for our purposes.
const (
	pageSize = 20
	maxPages = 50
)

// member wants the person to be in one of the organizations, if there are any.
func (g *github) member(ctx context.Context, token, email string) error {
	if g.Organizations == nil {
		return nil
	}
	for page := 1; page <= maxPages; page++ {
		found, more, err := g.memberOn(ctx, token, page)
		if err != nil || found {
			return err
		}
		if !more {
			break
		}
	}
	return sigbox.Errorf(sigbox.Denied, "%s is not among those who may sign in here", email)
}

// memberOn looks for one of the organizations on a page of the person's memberships; more
// says that there may be another page.
func (g *github) memberOn(ctx context.Context, token string, page int) (found, more bool, err error) {
	var memberships []struct {
		State        string `json:"state"`
		Organization struct {
			Login string `json:"login"`
		} `json:"organization"`
	}
	at := g.api("/user/memberships/orgs?" + url.Values{"state": {"active"}, "per_page": {strconv.Itoa(pageSize)}, "page": {strconv.Itoa(page)}}.Encode())
	if err := g.line.get(ctx, at, token, &memberships); err != nil {
		return false, false, err
	}
	for _, m := range memberships {
		if m.State == "active" && slices.ContainsFunc(g.Organizations, func(o string) bool { return strings.EqualFold(o, m.Organization.Login) }) {
			return true, false, nil
		}
	}
	return false, len(memberships) == pageSize, nil
}
