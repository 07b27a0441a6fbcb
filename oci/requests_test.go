package oci_test

import (
	"context"
	"crypto/x509"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/oci"
	"github.com/sigbox/sigbox/sigboxtest"
	"github.com/sigbox/sigbox/wire/manifest"
)

// counted gives how often each kind of request was made.
func counted(requests []string) map[string]int {
	n := map[string]int{}
	for _, r := range short(requests) {
		n[r]++
	}
	return n
}

// TestAskedOnce: a registry that has no referrers API is asked for it once for a
// repository; one that does not know an image is asked about others.
func TestAskedOnce(t *testing.T) {
	t.Parallel()
	signers := sigboxtest.New(t)
	for name, c := range map[string]struct {
		status int
		body   string
		want   int // requests to the API, for three images
	}{
		"nothing there":        {http.StatusNotFound, "404 page not found", 1},
		"no such method":       {http.StatusMethodNotAllowed, "", 1},
		"a code that says so":  {http.StatusNotFound, `{"errors":[{"code":"UNSUPPORTED","message":"no"}]}`, 1},
		"a bad request":        {http.StatusBadRequest, "", 3},
		"an image not known":   {http.StatusNotFound, `{"errors":[{"code":"MANIFEST_UNKNOWN","message":"no"}]}`, 3},
		"not known, of two":    {http.StatusNotFound, `{"errors":[{"code":"MANIFEST_UNKNOWN"},{"code":"UNSUPPORTED"}]}`, 3},
		"a name not known":     {http.StatusNotFound, `{"errors":[{"code":"NAME_UNKNOWN","message":"no"}]}`, 3},
		"errors without codes": {http.StatusNotFound, `{"errors":[]}`, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, withoutAPI)
			var refs []oci.Reference
			for _, content := range []string{"one", "two", "three"} {
				ref := w.putImage("app", "", content)
				refs = append(refs, ref)
				if _, err := client().AttachBundle(t.Context(), ref, signed(signers, ref.Digest()), nil); err != nil {
					t.Fatal(err)
				}
			}
			w.before = func(rw http.ResponseWriter, r *http.Request) bool {
				if !strings.Contains(r.URL.Path, "/referrers/") {
					return false
				}
				rw.WriteHeader(c.status)
				_, _ = rw.Write([]byte(c.body))
				return true
			}
			w.log()
			reader := client()
			for _, ref := range refs {
				if got := all(t, reader, ref, oci.Query{Kinds: []oci.Kind{oci.Bundle}}); len(got) != 1 {
					t.Errorf("found %d bundles", len(got))
				}
			}
			if n := counted(w.log())["GET referrers"]; n != c.want {
				t.Errorf("asked %d times, expected %d", n, c.want)
			}
			all(t, reader.Renew(), refs[0], oci.Query{Kinds: []oci.Kind{oci.Bundle}})
			if n := counted(w.log())["GET referrers"]; n != 1 {
				t.Errorf("asked %d times after Renew, expected 1", n)
			}
		})
	}
	// A failure says nothing about the API.
	w, ref := bundleWorld(t, 1)
	w.before = failTimes("/referrers/", 1, http.StatusForbidden)
	reader := client()
	if _, errs := outcome(reader, ref); len(errs) != 1 {
		t.Errorf("found %v", errs)
	}
	if good, errs := outcome(reader, ref); good != 1 || len(errs) > 0 {
		t.Errorf("found %d, %v", good, errs)
	}
}

// TestImagesRequests: an index is read once, and what it says of its images is not
// asked for.
func TestImagesRequests(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	index := &manifest.Manifest{SchemaVersion: 2, MediaType: manifest.TypeIndex}
	for _, content := range []string{"one", "two"} {
		ref := w.putImage("app", "", content)
		d, err := client().Describe(t.Context(), ref)
		if err != nil {
			t.Fatal(err)
		}
		index.Manifests = append(index.Manifests, d)
	}
	ref := w.putManifest("app", "v1", index)
	for name, c := range map[string]struct {
		ref  oci.Reference
		want []string
	}{
		"by digest": {ref, []string{"GET /v2/", "GET manifests"}},
		"by tag":    {w.ref("app", ":v1"), []string{"GET /v2/", "HEAD manifests", "GET manifests"}},
	} {
		w.log()
		reader := client()
		found, err := reader.Images(t.Context(), c.ref)
		if err != nil || len(found) != 3 || !found[0].Digest.Equal(ref.Digest()) || found[0].MediaType != manifest.TypeIndex || found[0].Size == 0 {
			t.Fatalf("%s: found %v, %v", name, found, err)
		}
		if d, err := reader.Describe(t.Context(), ref); err != nil || d.Size != found[0].Size || !d.Digest.Equal(ref.Digest()) {
			t.Errorf("%s: found %v, %v", name, d, err)
		}
		if got := short(w.log()); !slices.Equal(got, c.want) {
			t.Errorf("%s: requests: %q, expected %q", name, got, c.want)
		}
	}
}

// TestNextSteps: what keeps a registry from being asked is told with what to do.
func TestNextSteps(t *testing.T) {
	t.Parallel()
	answers := func(h http.HandlerFunc) *httptest.Server {
		s := httptest.NewServer(h)
		t.Cleanup(s.Close)
		return s
	}
	status := func(code int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
	}
	secure := httptest.NewUnstartedServer(status(http.StatusOK))
	secure.Config.ErrorLog = log.New(io.Discard, "", 0)
	secure.StartTLS()
	t.Cleanup(secure.Close)
	gone := answers(status(http.StatusOK))
	gone.Close()
	for name, c := range map[string]struct {
		at     string
		outer  bool // it is not taken for one of this machine
		kind   sigbox.Kind
		expect []string
	}{
		"another service":   {answers(status(http.StatusNotFound)).URL, false, sigbox.NotFound, []string{"answers 404", "is it a registry?"}},
		"one that is down":  {answers(status(http.StatusBadGateway)).URL, false, sigbox.Unavailable, []string{"answers 502", "try again later"}},
		"nobody":            {gone.URL, false, sigbox.Unavailable, []string{"does not answer", "refused", "is it there?"}},
		"one that hangs up": {answers(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }).URL, false, sigbox.Unavailable, []string{"does not answer", "EOF"}},
		"plain HTTP":        {answers(status(http.StatusOK)).URL, true, sigbox.Unavailable, []string{"plain HTTP", "--insecure-registry"}},
		"unknown authority": {secure.URL, true, sigbox.Unavailable, []string{"--registry-cacert"}},
		"of this machine":   {secure.URL, false, sigbox.Unavailable, []string{"certificate", "--registry-cacert"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			at, host := strings.SplitN(c.at, "//", 2)[1], ""
			if host = at; c.outer {
				host = "registry.example:443"
			}
			ref, err := oci.ParseReference(host + "/app:v1")
			if err != nil {
				t.Fatal(err)
			}
			_, err = client(func(cfg *oci.Config) {
				cfg.Transport = &http.Transport{DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
					return new(net.Dialer).DialContext(ctx, network, at)
				}}
			}).Describe(t.Context(), ref)
			if sigbox.KindOf(err) != c.kind {
				t.Errorf("found kind %v, expected %v", sigbox.KindOf(err), c.kind)
			}
			for _, text := range c.expect {
				if err == nil || !strings.Contains(err.Error(), text) {
					t.Errorf("found %v, expected %q", err, text)
				}
			}
		})
	}
}

// TestPingOfThisMachine: a registry of this machine is asked without TLS first, one that
// has TLS, or that an authority is named for, with it.
func TestPingOfThisMachine(t *testing.T) {
	t.Parallel()
	w, ref := bundleWorld(t, 1)
	var plain, accepted atomic.Int64
	serve := func(start func(*httptest.Server), refuses bool) *httptest.Server {
		s := httptest.NewUnstartedServer(w)
		s.Listener = &picky{s.Listener, refuses, &plain, &accepted}
		s.Config.ErrorLog = log.New(io.Discard, "", 0)
		start(s)
		t.Cleanup(s.Close)
		return s
	}
	open := serve((*httptest.Server).Start, false)
	at, err := oci.ParseReference(strings.TrimPrefix(open.URL, "http://") + "/app@" + ref.Digest().String())
	if err != nil {
		t.Fatal(err)
	}
	if got := all(t, client(), at, oci.Query{Kinds: []oci.Kind{oci.Bundle}}); len(got) != 1 || accepted.Load() != 1 {
		t.Errorf("found %d bundles by %d connections", len(got), accepted.Load())
	}
	secure := serve((*httptest.Server).StartTLS, true) // and answers nothing else
	for _, named := range []bool{false, true} {
		plain.Store(0)
		c := client(func(cfg *oci.Config) {
			cfg.Insecure = !named
			if named {
				cfg.CAs = x509.NewCertPool()
				cfg.CAs.AddCert(secure.Certificate())
			}
		})
		at, err := oci.ParseReference(strings.TrimPrefix(secure.URL, "https://") + "/app@" + ref.Digest().String())
		if err != nil {
			t.Fatal(err)
		}
		if got := all(t, c, at, oci.Query{Kinds: []oci.Kind{oci.Bundle}}); len(got) != 1 {
			t.Errorf("found %d bundles", len(got))
		}
		if n := plain.Load(); n > 1 || named && n > 0 {
			t.Errorf("asked without TLS %d times", n)
		}
	}
}

// picky counts connections, and closes those that do not begin with TLS if it refuses
// them.
type picky struct {
	net.Listener
	refuses         bool
	plain, accepted *atomic.Int64
}

func (p *picky) Accept() (net.Conn, error) {
	c, err := p.Listener.Accept()
	if err != nil {
		return nil, err
	}
	p.accepted.Add(1)
	if !p.refuses {
		return c, nil
	}
	return &pickyConn{Conn: c, plain: p.plain}, nil
}

type pickyConn struct {
	net.Conn
	plain *atomic.Int64
	read  bool
}

func (p *pickyConn) Read(b []byte) (int, error) {
	n, err := p.Conn.Read(b)
	if n > 0 && !p.read && b[0] != 0x16 { // a record of the handshake (RFC 8446 §5.1)
		p.plain.Add(1)
		_ = p.Conn.Close()
		return 0, io.EOF
	}
	p.read = p.read || n > 0
	return n, err
}
