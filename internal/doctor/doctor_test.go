package doctor_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/app"
	"github.com/sigbox/sigbox/internal/app/apptest"
	"github.com/sigbox/sigbox/internal/clock/clocktest"
	"github.com/sigbox/sigbox/internal/doctor"
	"github.com/sigbox/sigbox/internal/remote"
)

// client is one that gives up at once.
func client() *remote.Client { return remote.New(remote.Config{Retries: -1}) }

// want holds that a report has a finding of a level with a text, and an advice.
func want(t *testing.T, r doctor.Report, level doctor.Level, found, do string) {
	t.Helper()
	for _, f := range r.Findings {
		if f.Level == level && strings.Contains(f.Found, found) && strings.Contains(f.Do, do) {
			return
		}
	}
	t.Errorf("no finding %s with %q and the advice %q: %+v", level, found, do, r.Findings)
}

// only holds that nothing is worse than OK but what contains one of the texts.
func only(t *testing.T, r doctor.Report, allowed ...string) {
	t.Helper()
	for _, f := range r.Findings {
		known := f.Level == doctor.OK
		for _, text := range allowed {
			known = known || strings.Contains(f.Found, text)
		}
		if !known {
			t.Errorf("a finding that nobody needs: %+v", f)
		}
	}
}

// passphrase is in a file, so that keys do not stand in the clear.
func passphrase(t *testing.T) string {
	path := filepath.Join(t.TempDir(), "passphrase")
	if err := os.WriteFile(path, []byte("correct horse battery staple\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return "file:" + path
}

// kept has an instance do all that it should.
func kept(t *testing.T) *app.App {
	t.Helper()
	ntp := clocktest.Serve(t, func(r []byte) [][]byte { return [][]byte{clocktest.Good(r, 0)} })
	settings := "passphrase: " + passphrase(t) + "\nanchor: " + t.TempDir() + "\ntime: {ntp-servers: ['" + ntp + "'], samples: 1}\n"
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "config.yaml"), []byte(settings), 0o600); err != nil {
		t.Fatal(err)
	}
	return apptest.Start(t, apptest.In(dir))
}

// takeRootsAway moves the keys of the roots to where they belong.
func takeRootsAway(t *testing.T, dir string) {
	t.Helper()
	for _, name := range []string{"ca-root", "tsa-root", "tuf-root"} {
		if err := os.Remove(filepath.Join(dir, "keys", name+".pem")); err != nil {
			t.Fatal(err)
		}
	}
}

func TestAWellInstanceHasNoFindings(t *testing.T) {
	a := kept(t)
	takeRootsAway(t, a.Data())
	signed := errors.New("not called")
	r := doctor.Run(t.Context(), doctor.Config{
		Data: a.Data(), Client: client(),
		Sign: func(_ context.Context, root *sigbox.TrustedRoot, config *sigbox.SigningConfig) (*sigbox.Bundle, error) {
			signed = nil
			if root == nil || config == nil {
				t.Error("nothing to sign with")
			}
			return &sigbox.Bundle{}, nil
		},
	})
	only(t, r, "are free for") // the disk is the machine's
	if signed != nil {
		t.Error("nothing was signed")
	}
	for _, text := range []string{"serves " + a.Data(), "all of its 7 services", "the TUF root, version 1: good for", "the TUF timestamp: good for", "(v2) has 1 entries", "(v1) has 1 entries", "clock and the server's agree",
		"within ", "as cosign and the libraries", "speaks HTTP/2 and gRPC", "the timestamp authority at", "the OpenID provider at", "the keys of " + a.URL() + "/oidc can be fetched", "the CT log at"} {
		want(t, r, doctor.OK, text, "")
	}
	if w := r.Worst(); w == doctor.Problem || w == doctor.Unknown {
		t.Errorf("found %s", w)
	}
}

func TestByURLAlone(t *testing.T) {
	a := apptest.Start(t)
	r := doctor.Run(t.Context(), doctor.Config{URL: a.URL(), Mirror: a.URL() + "/tuf", Client: client(), NoSign: "there is no token"})
	want(t, r, doctor.Warning, "the TUF root is the server's own", "sigbox instance add")
	want(t, r, doctor.Unknown, "nothing was signed: there is no token", "--identity-token")
	only(t, r, "the TUF root is the server's own", "nothing was signed")
	if r.Worst() != doctor.Unknown {
		t.Errorf("found %s", r.Worst())
	}
}

func TestNobodyServes(t *testing.T) {
	a := kept(t)
	apptest.Stop(t, a)
	r := doctor.Run(t.Context(), doctor.Config{Data: a.Data(), Client: client()})
	want(t, r, doctor.Problem, "no server runs on "+a.Data(), "sigbox serve --data "+a.Data())
	want(t, r, doctor.Problem, "cannot reach the instance", "sigbox status --data "+a.Data())
	want(t, r, doctor.Unknown, "the services were not looked at", "")
	if r.Worst() != doctor.Problem {
		t.Errorf("found %s", r.Worst())
	}
}

func TestNoInstance(t *testing.T) {
	dir := t.TempDir()
	r := doctor.Run(t.Context(), doctor.Config{Data: dir, Client: client()})
	want(t, r, doctor.Problem, "there is no instance in "+dir, "--data")
	if len(r.Findings) != 1 {
		t.Errorf("found more: %+v", r.Findings)
	}
}

func TestExposedFiles(t *testing.T) {
	a := apptest.Start(t)
	key := filepath.Join(a.Data(), "keys", "ca.pem")
	if err := os.Chmod(key, 0o644); err != nil {
		t.Fatal(err)
	}
	r := doctor.Run(t.Context(), doctor.Config{Data: a.Data(), Client: client()})
	want(t, r, doctor.Problem, key+" has the permissions 0644", "chmod 0600 "+key)
	if err := os.Chmod(key, 0o600); err != nil { // the advice
		t.Fatal(err)
	}
	only(t, doctor.Run(t.Context(), doctor.Config{Data: a.Data(), Client: client()}), "roots' keys", "in the clear", "no anchor", "NTP", "are free for")
}

func TestKeysInTheClear(t *testing.T) {
	a := apptest.Start(t)
	r := doctor.Run(t.Context(), doctor.Config{Data: a.Data(), Client: client()})
	want(t, r, doctor.Warning, "keys stand in the clear: ca-root, ca,", "passphrase:")
	want(t, r, doctor.Warning, "the roots' keys are beside the others", "offline")
	want(t, r, doctor.Warning, "no anchor", "anchor:")
}

// Providers at which people sign in are asked: one is there (it is the instance itself),
// one calls itself otherwise, one is at a private address, one has no secret.
func TestLogins(t *testing.T) {
	a := apptest.Start(t)
	settings := "login:\n  connectors:\n"
	for _, c := range []string{
		"id: there, url: " + a.URL() + "/oidc, domains: [a.example]",
		"id: otherwise, url: " + strings.Replace(a.URL(), "127.0.0.1", "localhost", 1) + "/oidc, domains: [b.example]",
		"id: private, url: 'https://0.0.0.0:1', domains: [c.example]",
		"id: secret, url: " + a.URL() + "/other, domains: [d.example], client-secret: env:SIGBOX_TEST_UNSET",
	} {
		settings += "    - {type: oidc, client-id: sigstore, " + c + "}\n"
	}
	if err := os.WriteFile(filepath.Join(a.Data(), "config.yaml"), []byte(settings), 0o600); err != nil {
		t.Fatal(err)
	}
	r := doctor.Run(t.Context(), doctor.Config{Data: a.Data(), Client: client()})
	want(t, r, doctor.OK, "there ("+a.URL()+"/oidc) is there", "")
	want(t, r, doctor.Warning, "otherwise: ", "compare login:")
	want(t, r, doctor.Warning, "private: ", "allow-private")
	want(t, r, doctor.Warning, "secret: client-secret env:SIGBOX_TEST_UNSET", "compare login:")
}

func TestUnusableSettings(t *testing.T) {
	a := apptest.Start(t)
	if err := os.WriteFile(filepath.Join(a.Data(), "config.yaml"), []byte("nonsense: true\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	r := doctor.Run(t.Context(), doctor.Config{Data: a.Data(), Client: client()})
	want(t, r, doctor.Problem, "unknown field nonsense", "docs/config.yaml")
}

// A clock that runs ahead sees the metadata of TUF as expired, and that the server's
// clock is another.
func TestExpired(t *testing.T) {
	a := apptest.Start(t)
	later := func() time.Time { return time.Now().Add(30 * 24 * time.Hour) }
	c := remote.New(remote.Config{Retries: -1, Now: later})
	r := doctor.Run(t.Context(), doctor.Config{Data: a.Data(), Client: c, Now: later})
	want(t, r, doctor.Problem, "the TUF timestamp: expired at", "server's log")
	want(t, r, doctor.Problem, "days behind this machine's", "NTP")
	want(t, r, doctor.Problem, "timestamp.json is not to be trusted", "clock is wrong")
	want(t, r, doctor.OK, "the CA's certificate", "") // what is not verified is still looked at
	r = doctor.Run(t.Context(), doctor.Config{
		Data: a.Data(), Client: c, Now: later,
		Sign: func(context.Context, *sigbox.TrustedRoot, *sigbox.SigningConfig) (*sigbox.Bundle, error) {
			t.Error("a token was given to services that nobody vouches for")
			return nil, nil
		},
	})
	want(t, r, doctor.Unknown, "the services are not known for sure", "trust root")
}

func TestExpirySoon(t *testing.T) {
	a := apptest.Start(t)
	for _, tt := range []struct {
		days  int
		level doctor.Level
		text  string
	}{
		{197 - 91, doctor.OK, "the TUF root, version 1: good for"},
		{197 - 89, doctor.Warning, "the TUF root, version 1: expires in 8"},
		{197 - 6, doctor.Problem, "the TUF root, version 1: expires in"},
		{198, doctor.Problem, "the TUF root, version 1: expired"},
	} {
		later := func() time.Time { return time.Now().Add(time.Duration(tt.days) * 24 * time.Hour) }
		r := doctor.Run(t.Context(), doctor.Config{Data: a.Data(), Client: client(), Now: later})
		do := "root key"
		if tt.level == doctor.OK {
			do = ""
		}
		want(t, r, tt.level, tt.text, do)
	}
}

// What signing fails of is told, with the hint of the error.
func TestSigningFails(t *testing.T) {
	a := apptest.Start(t)
	r := doctor.Run(t.Context(), doctor.Config{
		Data: a.Data(), Client: client(),
		Sign: func(context.Context, *sigbox.TrustedRoot, *sigbox.SigningConfig) (*sigbox.Bundle, error) {
			return nil, sigbox.Errorf(sigbox.Unavailable, "the CA is away").WithHint("wait for it")
		},
	})
	want(t, r, doctor.Problem, "the CA is away", "wait for it")
	r = doctor.Run(t.Context(), doctor.Config{
		Data: a.Data(), Client: client(),
		Sign: func(context.Context, *sigbox.TrustedRoot, *sigbox.SigningConfig) (*sigbox.Bundle, error) {
			return nil, doctor.ErrNoToken
		},
	})
	want(t, r, doctor.Unknown, "there is no identity token", "--identity-token")
}

// A server that never answers is left alone when the time is over.
func TestNoAnswer(t *testing.T) {
	hang := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-hang }))
	defer server.Close()
	defer close(hang)
	r := doctor.Run(t.Context(), doctor.Config{URL: server.URL, Mirror: server.URL + "/tuf", Client: client(), Timeout: time.Millisecond})
	if r.Worst() != doctor.Problem && r.Worst() != doctor.Unknown {
		t.Errorf("found %s: %+v", r.Worst(), r.Findings)
	}
}

// An object store that answers 403 for files that are not there ends the walk to the
// newest root of some clients.
func TestForbiddenInPlaceOfNotFound(t *testing.T) {
	a := apptest.Start(t)
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		resp, err := http.Get(a.URL() + r.URL.Path)
		if err != nil {
			t.Error(err)
			return
		}
		defer resp.Body.Close()
		if resp.StatusCode == http.StatusNotFound {
			resp.StatusCode = http.StatusForbidden
		}
		w.WriteHeader(resp.StatusCode)
		if _, err := io.Copy(w, resp.Body); err != nil {
			t.Error(err)
		}
	}))
	defer proxy.Close()
	r := doctor.Run(t.Context(), doctor.Config{URL: a.URL(), Mirror: proxy.URL + "/tuf", Client: client()})
	want(t, r, doctor.Problem, "2.root.json answered with status 403", "404")
}

func TestSorted(t *testing.T) {
	all := []doctor.Finding{{Level: doctor.Problem}, {Level: doctor.OK}, {Level: doctor.Unknown}, {Level: doctor.Warning}}
	var got []doctor.Level
	for _, f := range doctor.Sorted(all) {
		got = append(got, f.Level)
	}
	if got[0] != doctor.OK || got[1] != doctor.Warning || got[2] != doctor.Unknown || got[3] != doctor.Problem {
		t.Errorf("found %v", got)
	}
}
