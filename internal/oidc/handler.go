package oidc

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"

	"github.com/sigbox/sigbox"
)

// Paths below the issuer's.
const (
	authorizePath = "/authorize"
	tokenPath     = "/token"
	userinfoPath  = "/userinfo"
	keysPath      = "/keys"
	deviceAuthz   = "/device_authorization"
	loginPath     = "/login"
	devicePath    = "/device"
)

// maxForm bounds a form, in the body or in the URL, in bytes.
const maxForm = 8 << 10

// Handler serves the provider below the issuer's path.
func (p *Provider) Handler() http.Handler {
	lib := op.RegisterServer(&server{p: p}, op.Endpoints{
		Authorization:       op.NewEndpoint(authorizePath),
		Token:               op.NewEndpoint(tokenPath),
		Userinfo:            op.NewEndpoint(userinfoPath),
		JwksURI:             op.NewEndpoint(keysPath),
		DeviceAuthorization: op.NewEndpoint(deviceAuthz),
	}, op.WithServerCORSOptions(nil), op.WithFallbackLogger(slog.New(warnings{p.log.Handler()})))

	mux := http.NewServeMux()
	mux.Handle("GET "+oidc.DiscoveryEndpoint, lib)
	mux.Handle("GET "+keysPath, lib)
	mux.Handle("GET "+userinfoPath, noStore(lib))
	mux.Handle("POST "+userinfoPath, noStore(p.api(lib)))
	mux.Handle("POST "+tokenPath, noStore(p.api(lib)))
	mux.Handle("POST "+deviceAuthz, noStore(p.api(p.starting(lib))))
	mux.Handle("GET "+authorizePath, noStore(p.authorize(lib)))
	mux.Handle("POST "+authorizePath, noStore(p.authorize(lib)))
	mux.Handle("GET "+loginPath, noStore(http.HandlerFunc(p.getLogin)))
	mux.Handle("POST "+loginPath, noStore(p.sameOrigin(p.postLogin)))
	mux.Handle("GET "+loginPath+"/{connector}", noStore(http.HandlerFunc(p.getConnector)))
	mux.Handle("GET "+callbackPath+"/{connector}", noStore(http.HandlerFunc(p.getCallback)))
	mux.Handle("GET "+devicePath, noStore(http.HandlerFunc(p.getDevice)))
	mux.Handle("POST "+devicePath, noStore(p.sameOrigin(p.postDevice)))
	return http.StripPrefix(p.path, mux)
}

// noStore keeps answers out of caches (RFC 6749 §5.1).
func noStore(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		next.ServeHTTP(w, r)
	})
}

// api bounds and parses the form of an endpoint that programs use.
func (p *Provider) api(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		err := parseForm(w, r)
		if err == nil && r.URL.RawQuery != "" {
			// They would end up in logs (RFC 6749 §3.2).
			err = sigbox.Errorf(sigbox.Invalid, "parameters belong into the body, not into the URL")
		}
		if err != nil {
			writeOAuthError(w, formStatus(err), oidc.ErrInvalidRequest().WithDescription("%s", public(err)))
			return
		}
		next.ServeHTTP(w, r)
	})
}

// starting bounds how many flows an address begins, and notes the address.
func (p *Provider) starting(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		addr := p.address(r)
		if wait, ok := p.starts.take(addr, p.now()); !ok {
			retryAfter(w, wait)
			writeOAuthError(w, http.StatusTooManyRequests, oidc.ErrSlowDown().WithDescription("too many requests from this address"))
			return
		}
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), addressKey{}, addr)))
	})
}

// addressKey is the context key of the address that a request comes from.
type addressKey struct{}

// sameOrigin guards a form of ours against being sent from elsewhere, before any
// token in it is looked at.
func (p *Provider) sameOrigin(next http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := p.origins.Check(r); err != nil {
			p.failed(w, http.StatusForbidden, "This form came from another site", "Begin again from your program.")
			return
		}
		next(w, r)
	})
}

// parseForm fills r.Form with at most maxForm bytes, each parameter once
// (RFC 6749 §3.1).
func parseForm(w http.ResponseWriter, r *http.Request) error {
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	if len(r.URL.RawQuery) > maxForm {
		return sigbox.Errorf(sigbox.TooLarge, "the query is larger than %d bytes", maxForm)
	}
	err := r.ParseForm()
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return sigbox.Errorf(sigbox.TooLarge, "the request body is larger than %d bytes", maxForm)
	}
	if err != nil {
		return sigbox.Errorf(sigbox.Invalid, "the form cannot be read").WithCause(err)
	}
	for name, values := range r.Form {
		if len(values) != 1 {
			return sigbox.Errorf(sigbox.Invalid, "the parameter %s is given more than once", quoted(name))
		}
	}
	return nil
}

func formStatus(err error) int {
	if sigbox.KindOf(err) == sigbox.TooLarge {
		return http.StatusRequestEntityTooLarge
	}
	return http.StatusBadRequest
}

// authorize shows the errors of the authorization endpoint to whom they concern:
// the program, when its redirect is in order, or else the person (RFC 6749
// §4.1.2.1). The library would write JSON into the browser.
func (p *Provider) authorize(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if wait, ok := p.starts.take(p.address(r), p.now()); !ok {
			retryAfter(w, wait)
			p.failed(w, http.StatusTooManyRequests, "Too many sign-ins", "Too many were begun from this address. Wait a minute.")
			return
		}
		if err := parseForm(w, r); err != nil {
			p.failed(w, formStatus(err), "This sign-in cannot begin", sentence(public(err)))
			return
		}
		errs := &errorCapture{ResponseWriter: w}
		next.ServeHTTP(errs, r)
		if errs.status != 0 {
			p.authorizeError(w, r, errs)
		}
	})
}

func (p *Provider) authorizeError(w http.ResponseWriter, r *http.Request, errs *errorCapture) {
	var e struct {
		Error       string `json:"error"`
		Description string `json:"error_description"`
	}
	if err := json.Unmarshal(errs.body.Bytes(), &e); err != nil {
		e.Error, e.Description = string(oidc.ServerError), "internal error"
	}
	redirect := r.Form.Get("redirect_uri")
	if !p.knows(r.Form.Get("client_id")) || checkRedirect(redirect) != nil || redirect == outOfBand {
		w.Header().Del("Content-Type")
		p.failed(w, errs.status, "This sign-in cannot begin", sentence(e.Description))
		return
	}
	p.redirect(w, r, redirect, r.Form.Get("state"), url.Values{"error": {e.Error}, "error_description": {e.Description}})
}

// redirect sends the browser back to the program, with the state that it gave and
// the issuer that answers (RFC 9207).
func (p *Provider) redirect(w http.ResponseWriter, r *http.Request, target, state string, params url.Values) {
	if state != "" {
		params.Set("state", state)
	}
	params.Set("iss", p.issuer)
	w.Header().Del("Content-Type")
	http.Redirect(w, r, target+"?"+params.Encode(), http.StatusSeeOther) //nolint:gosec // G710: only what checkRedirect allowed
}

// errorCapture holds back an error response; others pass.
type errorCapture struct {
	http.ResponseWriter
	status int
	body   bytes.Buffer
}

func (c *errorCapture) WriteHeader(status int) {
	if status >= http.StatusBadRequest {
		c.status = status
		return
	}
	c.ResponseWriter.WriteHeader(status)
}

func (c *errorCapture) Write(b []byte) (int, error) {
	if c.status != 0 {
		return c.body.Write(b)
	}
	return c.ResponseWriter.Write(b)
}

// failed shows an error to a person.
func (p *Provider) failed(w http.ResponseWriter, status int, title, text string) {
	p.pages.Message(w, status, MessageView{Title: title, Text: text, Bad: true})
}

// broken shows and logs a failure of ours.
func (p *Provider) broken(w http.ResponseWriter, r *http.Request, err error) {
	p.log.ErrorContext(r.Context(), "sign-in failed", "path", r.URL.Path, "err", err)
	p.failed(w, http.StatusInternalServerError, "Something went wrong here", "It is written in the server's log. Try again later.")
}

func writeOAuthError(w http.ResponseWriter, status int, e *oidc.Error) {
	b, err := json.Marshal(e)
	if err != nil {
		b = []byte(`{"error":"server_error"}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(b) // the client has gone: nothing to be done
}

func retryAfter(w http.ResponseWriter, wait time.Duration) {
	w.Header().Set("Retry-After", strconv.Itoa(seconds(wait)))
}

// seconds rounds up.
func seconds(d time.Duration) int { return int((d + time.Second - 1) / time.Second) }

// public is what a stranger may read of an error.
func public(err error) string {
	if e, ok := errors.AsType[*sigbox.Error](err); ok && e.Kind != sigbox.Internal && e.Kind != sigbox.Fatal {
		return e.Public()
	}
	return "internal error"
}

// sentence makes one of an error's text, for people.
func sentence(text string) string {
	if text == "" {
		return ""
	}
	return strings.ToUpper(text[:1]) + text[1:] + "."
}

// warnings passes on what matters of the library's log: it writes a line for each
// route at the start, and one for each poll of a device.
type warnings struct{ slog.Handler }

func (h warnings) Enabled(ctx context.Context, level slog.Level) bool {
	return level >= slog.LevelWarn && h.Handler.Enabled(ctx, level)
}

func (h warnings) WithAttrs(attrs []slog.Attr) slog.Handler {
	return warnings{h.Handler.WithAttrs(attrs)}
}

func (h warnings) WithGroup(name string) slog.Handler { return warnings{h.Handler.WithGroup(name)} }
