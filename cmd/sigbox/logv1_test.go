package main

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strconv"
	"strings"
	"testing"

	"github.com/sigbox/sigbox/internal/app/apptest"
)

// rekorV1 stands before an instance and shows of it what a server of Rekor v1 has:
// no tiles, and no search but by the old index. change alters its answers.
func rekorV1(t *testing.T, instance string, change func(path string, body []byte) []byte) string {
	t.Helper()
	to, err := url.Parse(instance)
	if err != nil {
		t.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(to)
	proxy.ModifyResponse = func(r *http.Response) error {
		body, err := io.ReadAll(r.Body)
		body = change(r.Request.URL.Path, body)
		r.Body = io.NopCloser(bytes.NewReader(body))
		r.ContentLength = int64(len(body))
		r.Header.Set("Content-Length", strconv.Itoa(len(body)))
		return err
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		path := r.URL.Path
		if strings.HasSuffix(path, "/checkpoint") || strings.Contains(path, "/tile/") || path == "/api/search" {
			http.NotFound(w, r)
			return
		}
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(s.Close)
	return s.URL
}

func asIs(_ string, body []byte) []byte { return body }

// TestLogV1: a log of Rekor v1 that has neither tiles nor our search is read by its
// own routes, and held to its promises.
func TestLogV1(t *testing.T) {
	a := apptest.Start(t)
	b := newBench(t)
	b.must("instance", "add", "box", a.URL(), "--root", a.RootFile())
	b.vars["SIGBOX_INSTANCE"] = "box"
	honest := rekorV1(t, a.URL(), asIs)

	b.must("log", "get", "--log", honest, "0")
	id := ""
	for line := range strings.Lines(b.stdout.String()) {
		if rest, ok := strings.CutPrefix(line, "entry ID"); ok {
			id = strings.TrimSpace(rest)
		}
	}
	if len(id) != 80 || !strings.Contains(b.stdout.String(), "signed by the log") {
		t.Fatalf("log get: %s", &b.stdout)
	}
	b.must("log", "get", "--log", honest, id)
	b.must("log", "get", "--log", honest, id[16:])
	b.must("log", "prove", "--log", honest, "0")
	b.must("log", "stats", "--log", honest)
	if !strings.Contains(b.stdout.String(), "and consistent") {
		t.Errorf("log stats: %s", &b.stdout)
	}
	if status := b.run("log", "get", "--log", honest, strings.Repeat("0", 64)); status != exitNotVerified {
		t.Errorf("an unknown UUID: status %d: %s", status, &b.stderr)
	}
	b.must("log", "fsck", "--log", honest)
	if !strings.Contains(b.stdout.String(), "1 entry with good signatures") {
		t.Errorf("log fsck: %s", &b.stdout)
	}
	b.must("log", "search", "--log", honest, "--scan", "--kind", "hashedrekord")
	if !strings.Contains(b.stdout.String(), "hashedrekord") {
		t.Errorf("log search: %s", &b.stdout)
	}
	b.must("log", "search", "--log", honest, "--identity", "nobody@example.com")

	for name, lie := range map[string][2]string{
		"another time":     {`"integratedTime":1`, `"integratedTime":2`},
		"another index":    {`"logIndex":0`, `"logIndex":1`},
		"another body":     {`"body":"ey`, `"body":"fy`},
		"another size":     {`"treeSize":`, `"treeSize":1`},
		"no signature":     {`"signedEntryTimestamp":"M`, `"signedEntryTimestamp":"N`},
		"another root":     {`"rootHash":"`, `"rootHash":"00`},
		"another log's ID": {`"logID":"`, `"logID":"00`},
	} {
		changed := false
		liar := rekorV1(t, a.URL(), func(path string, body []byte) []byte {
			if !strings.HasPrefix(path, "/api/v1/log/entries") {
				return body
			}
			out := bytes.ReplaceAll(body, []byte(lie[0]), []byte(lie[1]))
			changed = changed || !bytes.Equal(out, body)
			return out
		})
		if status := b.run("log", "get", "--log", liar, "0"); status != exitNotVerified || !changed {
			t.Errorf("%s (changed: %v): status %d: %s", name, changed, status, &b.stderr)
		}
		if status := b.run("log", "fsck", "--log", liar); status != exitNotVerified {
			t.Errorf("log fsck, %s: status %d: %s", name, status, &b.stderr)
		}
	}
}

// TestLogSearchLies: what a server finds is shown only if it is what was asked for.
func TestLogSearchLies(t *testing.T) {
	a := apptest.Start(t)
	b := newBench(t)
	b.must("instance", "add", "box", a.URL(), "--root", a.RootFile())
	b.vars["SIGBOX_INSTANCE"] = "box"
	to, err := url.Parse(a.URL())
	if err != nil {
		t.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(to)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		q.Del("subject") // finds everything
		r.URL.RawQuery = q.Encode()
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(s.Close)
	b.must("log", "search", "--log", s.URL, "--kind", "hashedrekord")
	if status := b.run("log", "search", "--log", s.URL, "--identity", "ada@example.com"); status != exitNotVerified {
		t.Errorf("status %d: %s", status, &b.stderr)
	}
	b.must("log", "search", "--log", s.URL, "--identity", "ada@example.com", "--scan")
	if b.stdout.Len() > 0 {
		t.Errorf("found %s", &b.stdout)
	}
}

// TestLogSearchEndless: a server cannot keep a search busy for ever, nor show an
// entry twice, nor one of another time.
func TestLogSearchEndless(t *testing.T) {
	a := apptest.Start(t)
	b := newBench(t)
	b.must("instance", "add", "box", a.URL(), "--root", a.RootFile())
	b.vars["SIGBOX_INSTANCE"] = "box"
	asked := 0
	for name, c := range map[string]struct {
		old, new, says string
		flags          []string
	}{
		"empty pages":  {`"entries":[`, `"next":"AQ","entries":[],"more":[`, "says that there are more", nil},
		"again":        {`"logs":`, `"next":"AQ","logs":`, "each once", nil},
		"another time": {`"time":"2`, `"time":"1`, "not what was asked for", []string{"--after", "2020-01-01T00:00:00Z"}},
	} {
		liar := proxyTo(t, a.URL(), func(r *http.Request) bool {
			q := r.URL.Query()
			q.Del("cursor")
			r.URL.RawQuery = q.Encode()
			return false
		}, func(path string, body []byte) []byte {
			if !strings.HasPrefix(path, "/api/search") {
				return body
			}
			asked++
			return bytes.Replace(body, []byte(c.old), []byte(c.new), 1)
		})
		status := b.run(append([]string{"log", "search", "--log", liar, "--kind", "hashedrekord"}, c.flags...)...)
		if status == exitOK || !strings.Contains(b.stderr.String(), c.says) {
			t.Errorf("%s: status %d: %s%s", name, status, &b.stdout, &b.stderr)
		}
	}
	if asked > maxEmpty+10 {
		t.Errorf("%d pages were asked for", asked)
	}
}
