package oidc

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
)

const (
	// pollInterval is how often a device may ask (RFC 8628 §3.2).
	pollInterval = 5 * time.Second
	// pollGrace is by how much it may be early, as networks are.
	pollGrace = time.Second
	// userCodeAlphabet has no vowels, so that codes are no words, and no digits
	// that look like letters (RFC 8628 §6.1). Eight characters of it are 34 bits.
	userCodeAlphabet = "BCDFGHJKLMNPQRSTVWXZ"
	userCodeLength   = 8
)

// device is a program elsewhere that waits for somebody to sign in.
type device struct {
	// These do not change.
	code, userCode string
	clientID       string
	challenge      string // PKCE, "" if the program sent none
	address        string
	created        time.Time

	mu       sync.Mutex
	polled   time.Time // last, or zero; guarded by mu
	denied   bool      // guarded by mu
	who      *account  // who consented, or nil; guarded by mu
	authTime time.Time // when; guarded by mu
}

// answer settles the request; only the first answer counts. Nobody is a no.
func (d *device) answer(who *account, now time.Time) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.denied || d.who != nil {
		return false
	}
	d.denied, d.who, d.authTime = who == nil, who, now
	return true
}

// poll gives the grant, or the error by which the program knows whether to wait
// (RFC 8628 §3.5).
func (d *device) poll(now time.Time) (*grant, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	early := !d.polled.IsZero() && now.Sub(d.polled) < pollInterval-pollGrace
	d.polled = now
	switch {
	case d.denied:
		return nil, oidc.ErrAccessDenied()
	case early:
		return nil, oidc.ErrSlowDown()
	case d.who == nil:
		return nil, oidc.ErrAuthorizationPending()
	}
	return &grant{who: *d.who, clientID: d.clientID, authTime: d.authTime}, nil
}

// DeviceAuthorization implements op.Server.
func (s *server) DeviceAuthorization(ctx context.Context, r *op.ClientRequest[oidc.DeviceAuthorizationRequest]) (*op.Response, error) {
	challenge := r.Form.Get("code_challenge")
	switch {
	case !slices.Contains(r.Data.Scopes, oidc.ScopeOpenID):
		return nil, oidc.ErrInvalidScope().WithDescription("the scope must contain openid")
	case challenge != "" && (len(challenge) != challengeSize || r.Form.Get("code_challenge_method") != string(oidc.CodeChallengeMethodS256)):
		return nil, oidc.ErrInvalidRequest().WithDescription("code_challenge must be %d characters with the method S256", challengeSize)
	}
	address, _ := ctx.Value(addressKey{}).(string)
	d := &device{clientID: r.Client.GetID(), challenge: challenge, address: address, created: s.p.now()}
	if err := s.p.beginDevice(d); err != nil {
		return nil, serverError(err)
	}
	return op.NewResponse(&oidc.DeviceAuthorizationResponse{
		DeviceCode:              d.code,
		UserCode:                d.userCode,
		VerificationURI:         s.p.issuer + devicePath,
		VerificationURIComplete: s.p.issuer + devicePath + "?user_code=" + d.userCode,
		ExpiresIn:               int(deviceTTL / time.Second),
		Interval:                int(pollInterval / time.Second),
	}), nil
}

// beginDevice makes the codes and notes the request.
func (p *Provider) beginDevice(d *device) (err error) {
	if d.code, err = p.random(); err != nil {
		return err
	}
	for {
		if d.userCode, err = newUserCode(p.rand); err != nil {
			return err
		}
		if _, taken := p.waiting.get(d.userCode, d.created); !taken {
			break
		}
	}
	p.devices.put(d.code, d, d.created)
	p.waiting.put(d.userCode, d, d.created)
	return nil
}

// DeviceToken implements op.Server. What is unknown counts as expired, since that
// is what a program understands after a restart of ours.
func (s *server) DeviceToken(ctx context.Context, r *op.ClientRequest[oidc.DeviceAccessTokenRequest]) (*op.Response, error) {
	now := s.p.now()
	d, ok := s.p.devices.get(r.Data.DeviceCode, now)
	if !ok {
		return nil, oidc.ErrExpiredDeviceCode()
	}
	if d.clientID != r.Client.GetID() {
		return nil, oidc.ErrInvalidGrant().WithDescription("the device code was made for another client")
	}
	if d.challenge != "" && !verifies(r.Form.Get("code_verifier"), d.challenge) {
		return nil, oidc.ErrInvalidGrant().WithDescription("code_verifier does not fit the code_challenge")
	}
	g, err := d.poll(now)
	if err != nil {
		return nil, err
	}
	if _, ok := s.p.devices.take(d.code, now); !ok {
		return nil, oidc.ErrExpiredDeviceCode() // another poll was quicker
	}
	return s.tokens(ctx, g)
}

func (p *Provider) getDevice(w http.ResponseWriter, r *http.Request) {
	if err := parseForm(w, r); err != nil {
		p.failed(w, formStatus(err), "This page cannot be shown", sentence(public(err)))
		return
	}
	browser, cookie, err := p.browser(r.Header)
	if err != nil {
		p.broken(w, r, err)
		return
	}
	http.SetCookie(w, cookie)
	code, _ := parseUserCode(r.Form.Get("user_code"))
	p.showDevice(w, http.StatusOK, browser, code, "")
}

func (p *Provider) showDevice(w http.ResponseWriter, status int, browser, userCode, problem string) {
	p.pages.Device(w, status, DeviceView{
		Action: p.path + devicePath, CSRF: p.csrf(browser, devicePath), UserCode: userCode, Problem: problem,
	})
}

func (p *Provider) postDevice(w http.ResponseWriter, r *http.Request) {
	if err := parseForm(w, r); err != nil {
		p.failed(w, formStatus(err), "This form cannot be read", sentence(public(err)))
		return
	}
	browser := p.cookie(r.Header)
	if !p.checkCSRF(r.PostForm.Get("csrf"), browser, devicePath) {
		p.failed(w, http.StatusForbidden, "This form is not from here", "Open the address that your program shows, and allow cookies for this site.")
		return
	}
	d, status, problem := p.findDevice(w, r)
	if d == nil {
		p.showDevice(w, status, browser, "", problem)
		return
	}
	id, err := p.begin(&login{browser: browser, clientID: d.clientID, device: d})
	if err != nil {
		p.broken(w, r, err)
		return
	}
	http.Redirect(w, r, p.path+loginPath+"?id="+id, http.StatusSeeOther)
}

// findDevice looks up the user code in a form, within the limit on tries; without
// a device there is a status and what to tell the person.
func (p *Provider) findDevice(w http.ResponseWriter, r *http.Request) (d *device, status int, problem string) {
	address, now := p.address(r), p.now()
	wait, ok := p.userCodes.take(address, now)
	if !ok {
		retryAfter(w, wait)
		return nil, http.StatusTooManyRequests, fmt.Sprintf("Too many wrong codes. Try again in %d seconds.", seconds(wait))
	}
	if code, ok := parseUserCode(r.PostForm.Get("user_code")); ok {
		d, _ = p.waiting.get(code, now)
	}
	if d == nil {
		return nil, http.StatusBadRequest, "There is no such code, or it has expired. Compare it with what your program shows."
	}
	p.userCodes.giveBack(address)
	// Whoever has a good code could else begin logins without end.
	if wait, ok := p.starts.take(address, now); !ok {
		retryAfter(w, wait)
		return nil, http.StatusTooManyRequests, fmt.Sprintf("Too many sign-ins were begun from this address. Try again in %d seconds.", seconds(wait))
	}
	return d, http.StatusOK, ""
}

func (p *Provider) allowDevice(w http.ResponseWriter, d *device, who account) {
	now := p.now()
	p.waiting.take(d.userCode, now)
	if _, lives := p.devices.get(d.code, now); !lives || !d.answer(&who, now) {
		p.ended(w)
		return
	}
	p.pages.Message(w, http.StatusOK, MessageView{
		Title: "You are signed in",
		Text:  "The program with the code " + d.userCode + " goes on as " + who.email + ". You can close this page.",
	})
}

func (p *Provider) denyDevice(d *device) {
	now := p.now()
	p.waiting.take(d.userCode, now)
	d.answer(nil, now)
}

// newUserCode draws a code like BCDF-GHJK.
func newUserCode(rand io.Reader) (string, error) {
	const even = 256 / len(userCodeAlphabet) * len(userCodeAlphabet) // below it, all characters are equally likely
	var code []byte
	var b [1]byte
	for len(code) < userCodeLength {
		if _, err := io.ReadFull(rand, b[:]); err != nil {
			return "", fmt.Errorf("making a user code: %w", err)
		}
		if int(b[0]) < even {
			code = append(code, userCodeAlphabet[int(b[0])%len(userCodeAlphabet)])
		}
	}
	return formatUserCode(string(code)), nil
}

func formatUserCode(code string) string {
	return code[:userCodeLength/2] + "-" + code[userCodeLength/2:]
}

// parseUserCode reads what a person typed: letter case, spaces and dashes do not
// count.
func parseUserCode(s string) (string, bool) {
	if len(s) > 4*userCodeLength {
		return "", false
	}
	code := strings.Map(func(r rune) rune {
		if r == ' ' || r == '-' {
			return -1
		}
		return r
	}, strings.ToUpper(s))
	if len(code) != userCodeLength || strings.Trim(code, userCodeAlphabet) != "" {
		return "", false
	}
	return formatUserCode(code), true
}
