package oidc

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"
)

// lone is a provider that asks nobody anything.
type lone struct{ upstream }

func (lone) authorize(_ context.Context, a *attempt) (string, error) {
	return "https://idp.example/?state=" + a.state, nil
}

// TestStateFlood: sign-ins that are begun and never ended take a bounded place, and the
// newest is not the one that is forgotten.
func TestStateFlood(t *testing.T) {
	p := &Provider{
		now: time.Now, rand: rand.Reader, attempts: newExpiring[*attempt](maxAttempts, loginTTL),
		address: connectionAddress, starts: newLimiter(2*maxAttempts, time.Second),
	}
	c := &connector{upstream: lone{}, busy: make(chan struct{}, 1)}
	var last string
	for range maxAttempts + 100 {
		w := httptest.NewRecorder()
		p.toConnector(w, httptest.NewRequest(http.MethodGet, "/", nil), "id", &login{}, c)
		_, last, _ = strings.Cut(w.Header().Get("Location"), "state=")
	}
	if n := len(p.attempts.items); n > maxAttempts {
		t.Errorf("%d attempts are kept, want at most %d", n, maxAttempts)
	}
	if _, ok := p.attempts.get(last, time.Now()); !ok {
		t.Error("the newest is forgotten")
	}
}

// FuzzAccount: whatever claims a provider signs, who comes out has an address of our
// form, and one that was verified.
func FuzzAccount(f *testing.F) {
	for _, seed := range []string{
		`{"sub":"1","email":"a@example.net","email_verified":true}`, `{"sub":"1","email":"a@example.net","email_verified":"true","groups":["x"]}`,
		`{"sub":"1","email":"a@example.net"}`, `{"sub":null}`, `{"email":["a@example.net"],"email_verified":1}`, `[]`, `{"sub":"1","email":"a@b@c","email_verified":"True"}`,
	} {
		f.Add([]byte(seed))
	}
	o := &openID{Connector: Connector{ID: "idp", RequiredClaims: map[string]string{"groups": "x"}}}
	f.Fuzz(func(t *testing.T, claims []byte) {
		var c idClaims
		if json.Unmarshal(claims, &c) != nil {
			return
		}
		who, err := o.account(c)
		if err != nil {
			return
		}
		if CheckEmail(who.email) != nil || who.userID == "" || who.connector != "idp" || !slices.Contains(c.texts("groups"), "x") {
			t.Errorf("%s gives %+v", claims, who)
		}
		if v := string(c["email_verified"]); !strings.EqualFold(strings.Trim(v, `"`), "true") {
			t.Errorf("email_verified is %s", v)
		}
	})
}

// FuzzEndpoint: where people are sent is https, or HTTP where that is allowed, at a host,
// and not into a fragment.
func FuzzEndpoint(f *testing.F) {
	for _, seed := range []string{"https://idp.example/auth", "https://idp.example/auth?a=b", "javascript:alert(1)", "https://a@b/", "https://idp.example#x", "//idp.example", "https:///x", "http://127.0.0.1"} {
		f.Add(seed, true)
		f.Add(seed, false)
	}
	f.Fuzz(func(t *testing.T, raw string, private bool) {
		o := &openID{Connector: Connector{AllowPrivate: private}}
		if _, err := o.checkEndpoint(raw); err != nil {
			return
		}
		u, err := url.Parse(withQuery(raw, url.Values{"state": {"s"}}))
		if err != nil || u.Host == "" || u.User != nil || u.Fragment != "" || u.Query()["state"] == nil || u.Scheme != "https" && (u.Scheme != "http" || !private) {
			t.Errorf("%q is taken: %v, %v", raw, u, err)
		}
	})
}
