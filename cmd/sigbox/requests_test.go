package main

import (
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/sigboxtest"
	"github.com/sigbox/sigbox/wire/cosign"
)

// asked notes requests by their kinds.
type asked struct {
	mu    sync.Mutex
	kinds []string // guarded by mu
}

func (a *asked) note(_ http.ResponseWriter, r *http.Request) bool {
	kind, path := r.Method, r.URL.Path
	switch {
	case strings.Contains(path, "/referrers/"):
		kind += " referrers"
	case strings.HasSuffix(path, ".sig"), strings.HasSuffix(path, ".att"):
		kind += " " + path[len(path)-4:]
	case strings.Contains(path, "/manifests/"):
		kind += " manifest"
	case strings.Contains(path, "/blobs/"):
		kind += " blob"
	default:
		kind += " " + path
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.kinds = append(a.kinds, kind)
	return false
}

// taken gives what was noted until now.
func (a *asked) taken() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	all := a.kinds
	a.kinds = nil
	return all
}

// TestRequests: what verifying costs a registry, to the request.
func TestRequests(t *testing.T) {
	var a asked
	w := newImageWorld(t, a.note)
	stranger := sigboxtest.Options{Identity: sigbox.Identity{Kind: sigbox.EmailSAN, Subject: "eve@example.com", Issuer: "https://issuer.example"}}
	good, bad := pushImage(t, w.registry+"/acme/good:v1"), pushImage(t, w.registry+"/acme/bad:v1")
	before, both := pushImage(t, w.registry+"/acme/before:v1"), pushImage(t, w.registry+"/acme/both:v1")
	tag := good.Tagged("v1").String()
	w.sign(good)
	w.signLegacy(before, before.Digest())
	w.signLegacy(both, both.Digest())
	w.sign(both)
	w.attach(bad, cosign.AppendStatement(nil, bad.Digest(), nil), stranger)
	for name, c := range map[string]struct {
		args   []string
		status int
		want   []string
	}{
		"by digest":                {[]string{good.String()}, exitOK, []string{"GET /v2/", "GET referrers", "GET manifest", "GET blob"}},
		"by tag":                   {[]string{tag}, exitOK, []string{"GET /v2/", "HEAD manifest", "GET referrers", "GET manifest", "GET blob"}},
		"the same again":           {[]string{good.String(), good.String(), dockerScheme + good.String()}, exitOK, []string{"GET /v2/", "GET referrers", "GET manifest", "GET blob"}},
		"by tag and by digest":     {[]string{tag, good.String()}, exitOK, []string{"GET /v2/", "HEAD manifest", "GET referrers", "GET manifest", "GET blob"}},
		"both forms":               {[]string{both.String()}, exitOK, []string{"GET /v2/", "GET referrers", "GET manifest", "GET blob"}},
		"cosign's of before":       {[]string{before.String()}, exitOK, []string{"GET /v2/", "GET referrers", "GET .sig", "GET blob"}},
		"no bundle that satisfies": {[]string{bad.String()}, exitNotVerified, []string{"GET /v2/", "GET referrers", "GET manifest", "GET blob", "GET .sig", "GET .att"}},
		"two images, one registry": {[]string{good.String(), both.String()}, exitOK, []string{"GET /v2/", "GET referrers", "GET manifest", "GET blob", "GET referrers", "GET manifest", "GET blob"}},
		"an image that lists none": {[]string{"--recursive", good.String()}, exitOK, []string{"GET /v2/", "GET manifest", "GET referrers", "GET manifest", "GET blob"}},
	} {
		t.Run(name, func(t *testing.T) {
			a.taken()
			if status := w.verify(c.args...); status != c.status {
				t.Errorf("status %d, expected %d: %s", status, c.status, &w.stderr)
			}
			got := a.taken()
			slices.Sort(got) // several images are asked about at the same time
			slices.Sort(c.want)
			if !slices.Equal(got, c.want) {
				t.Errorf("requests:\n%q, expected\n%q", got, c.want)
			}
		})
	}
}
