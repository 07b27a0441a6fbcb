package s3_test

import (
	"crypto/md5"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/store"
	"github.com/sigbox/sigbox/internal/store/s3"
)

// server is a bucket as Amazon's protocol shows it, and one that can be unfit.
type server struct {
	mu      sync.Mutex
	objects map[string]string // guarded by mu; by path

	ignores bool // conditions
	tagless bool
	loses   int    // answers to a write that was done, from now on
	denies  string // an error's code
	status  int
	long    bool
	heads   int    // the answer's status to who asks for the bucket's region
	region  string // that it names
	asked   int    // guarded by mu
	auth    string // guarded by mu; the last call's
	at      s3.Location
}

// signed gives who has signed the last call.
func (s *server) signed() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.auth
}

func tag(text string) string { return fmt.Sprintf(`"%x"`, md5.Sum([]byte(text))) }

func (s *server) fail(w http.ResponseWriter, status int, code string) {
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(status)
	fmt.Fprintf(w, `<?xml version="1.0"?><Error><Code>%s</Code><Message>no</Message></Error>`, code)
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	have, there := s.objects[r.URL.Path]
	s.auth = r.Header.Get("Authorization")
	switch {
	case r.Method == http.MethodHead && r.URL.Path == "/bucket" && s.heads != 0:
		s.asked++
		if s.region != "" {
			w.Header().Set("X-Amz-Bucket-Region", s.region)
		}
		w.WriteHeader(s.heads)
	case s.denies != "":
		s.fail(w, s.status, s.denies)
	case r.Method == http.MethodGet && !there:
		s.fail(w, http.StatusNotFound, "NoSuchKey")
	case r.Method == http.MethodGet:
		w.Header().Set("Last-Modified", "Mon, 02 Jan 2006 15:04:05 GMT")
		if !s.tagless {
			w.Header().Set("ETag", tag(have))
		}
		if s.long {
			have = strings.Repeat("x", 1<<20)
		}
		_, _ = io.WriteString(w, have)
	case r.Method == http.MethodPut:
		s.put(w, r, have, there)
	default:
		s.fail(w, http.StatusMethodNotAllowed, "MethodNotAllowed")
	}
}

func (s *server) put(w http.ResponseWriter, r *http.Request, have string, there bool) {
	match, none := r.Header.Get("If-Match"), r.Header.Get("If-None-Match")
	if (match == "") == (none == "") || r.Header.Get("Authorization") == "" {
		s.fail(w, http.StatusBadRequest, "InvalidRequest")
		return
	}
	if !s.ignores && (none == "*" && there || match != "" && (!there || match != tag(have))) {
		s.fail(w, http.StatusPreconditionFailed, "PreconditionFailed")
		return
	}
	b, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	s.objects[r.URL.Path] = string(b)
	if s.loses > 0 {
		s.loses--
		panic(http.ErrAbortHandler) // the connection goes, and the answer with it
	}
	w.Header().Set("ETag", tag(string(b)))
}

func (s *server) set(path, text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.objects[path] = text
}

// open gives a bucket on a server.
func open(t *testing.T, s *server) *s3.Bucket {
	t.Helper()
	s.objects = map[string]string{}
	h := httptest.NewServer(s)
	t.Cleanup(h.Close)
	t.Setenv("AWS_ACCESS_KEY_ID", "id")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "secret")
	t.Setenv("AWS_REGION", "us-east-1")
	at, err := s3.ParseURL("s3://bucket/a/prefix?endpoint=" + h.URL)
	must(t, err)
	s.at = at
	return reopen(t, s)
}

// reopen opens the bucket of open again, as the environment is by now.
func reopen(t *testing.T, s *server) *s3.Bucket {
	t.Helper()
	b, err := s3.Open(s.at)
	must(t, err)
	return b
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func expectKind(t *testing.T, err error, kind sigbox.Kind) {
	t.Helper()
	if err == nil || sigbox.KindOf(err) != kind {
		t.Fatalf("expected kind %v, found %v", kind, err)
	}
}

func TestAnchor(t *testing.T) {
	s := &server{}
	b := open(t, s)
	a := b.Anchor("log")
	if _, err := a.Load(t.Context()); !errors.Is(err, store.ErrNotFound) {
		t.Fatalf("expected ErrNotFound, found %v", err)
	}
	for _, text := range []string{"one", "two", "three"} {
		must(t, a.Store(t.Context(), text))
		if found, err := b.Anchor("log").Load(t.Context()); err != nil || found != text {
			t.Fatalf("expected %q, found %q, %v", text, found, err)
		}
	}
	if s.objects["/bucket/a/prefix/log"] != "three" || len(s.objects) != 1 {
		t.Fatalf("found %v", s.objects)
	}
	must(t, b.Anchor("log").Store(t.Context(), "by another life"))
}

// Of two writers, one is told that it was not first, and it is the other's text that
// stays; also when there was none.
func TestTwoWriters(t *testing.T) {
	b := open(t, &server{})
	first, second := b.Anchor("log"), b.Anchor("log")
	for _, a := range []*s3.Anchor{first, second} {
		if _, err := a.Load(t.Context()); !errors.Is(err, store.ErrNotFound) {
			t.Fatal(err)
		}
	}
	must(t, first.Store(t.Context(), "first"))
	for range 2 {
		err := second.Store(t.Context(), "second")
		expectKind(t, err, sigbox.Conflict)
		if !errors.Is(err, store.ErrConflict) {
			t.Fatalf("expected ErrConflict, found %v", err)
		}
		must(t, first.Store(t.Context(), "first again"))
	}
	if text, err := second.Load(t.Context()); err != nil || text != "first again" {
		t.Fatalf("found %q, %v", text, err)
	}
	must(t, second.Store(t.Context(), "second, now that it knows"))
	expectKind(t, first.Store(t.Context(), "first"), sigbox.Conflict)
}

// The answer to a write was lost: the next try finds what the first has written.
func TestLostAnswer(t *testing.T) {
	s := &server{}
	a := open(t, s).Anchor("log")
	must(t, a.Store(t.Context(), "one"))
	s.loses = 1
	must(t, a.Store(t.Context(), "two"))
	must(t, a.Store(t.Context(), "three"))
}

// A server that writes in spite of a condition cannot keep an anchor, nor one that
// does not say what is there.
func TestUnfitServers(t *testing.T) {
	err := open(t, &server{ignores: true}).Anchor("log").Store(t.Context(), "one")
	expectKind(t, err, sigbox.Invalid)
	if !strings.Contains(err.Error(), "If-Match") {
		t.Errorf("it does not say why: %v", err)
	}
	s := &server{tagless: true}
	b := open(t, s)
	s.set("/bucket/a/prefix/log", "one")
	_, err = b.Anchor("log").Load(t.Context())
	expectKind(t, err, sigbox.Invalid)
}

func TestRefused(t *testing.T) {
	for code, tt := range map[string]struct {
		status int
		kind   sigbox.Kind
	}{
		"NoSuchBucket":          {http.StatusNotFound, sigbox.Invalid},
		"AccessDenied":          {http.StatusForbidden, sigbox.Denied},
		"SignatureDoesNotMatch": {http.StatusForbidden, sigbox.Denied},
		"RequestTimeTooSkewed":  {http.StatusForbidden, sigbox.Denied},
		"MethodNotAllowed":      {http.StatusMethodNotAllowed, sigbox.Unavailable},
	} {
		a := open(t, &server{denies: code, status: tt.status}).Anchor("log")
		_, err := a.Load(t.Context())
		expectKind(t, err, tt.kind)
		if e, ok := errors.AsType[*sigbox.Error](err); !ok || strings.Contains(e.Hint, "clock") != (code == "RequestTimeTooSkewed") {
			t.Errorf("%s: %v", code, err)
		}
		if errors.Is(err, store.ErrNotFound) {
			t.Errorf("%s is taken for an anchor that is not there", code)
		}
		expectKind(t, a.Store(t.Context(), "one"), tt.kind)
	}
}

func TestTooLong(t *testing.T) {
	s := &server{}
	b := open(t, s)
	must(t, b.Anchor("log").Store(t.Context(), "one"))
	s.long = true
	_, err := b.Anchor("log").Load(t.Context())
	expectKind(t, err, sigbox.TooLarge)
}

func TestParseURL(t *testing.T) {
	for text, want := range map[string]s3.Location{
		"s3://b":                               {Bucket: "b"},
		"s3://b/":                              {Bucket: "b"},
		"s3://b/p":                             {Bucket: "b", Prefix: "p/"},
		"s3://b/p/q/":                          {Bucket: "b", Prefix: "p/q/"},
		"s3://b/p?region=eu-west-1":            {Bucket: "b", Prefix: "p/", Region: "eu-west-1"},
		"s3://b?endpoint=https://s3.test:9000": {Bucket: "b", Endpoint: "https://s3.test:9000"},
	} {
		if at, err := s3.ParseURL(text); err != nil || at != want {
			t.Errorf("%s: expected %+v, found %+v, %v", text, want, at, err)
		}
	}
	for _, text := range []string{
		"", "s3://", "s3:///p", "http://b/p", "s3://id:secret@b/p", "s3://b:9000/p", "s3://b/p#x", "s3://b?secret=x", "s3://b?region=",
		"s3://b?region=a&region=b", "s3://b?endpoint=file:///x", "s3://b?endpoint=https://a:b@c", "s3://b?endpoint=https://c/path", "s3://b?%zz", "s3://%zz",
	} {
		if at, err := s3.ParseURL(text); err == nil || sigbox.KindOf(err) != sigbox.Invalid {
			t.Errorf("%s: expected kind invalid, found %+v, %v", text, at, err)
		}
	}
}

// What somebody has written into a URL that does not belong there is not repeated,
// since errors go to logs.
func TestErrorsKeepSecrets(t *testing.T) {
	for _, text := range []string{
		"s3://id:hush@b/p", "s3://id:hu/hush@b/p", "s3://id:x?hush@b/p", "s3://b?secret=hush", "s3://b?endpoint=https://id:hush@c", "s3://b:1?region=hush",
	} {
		_, err := s3.ParseURL(text)
		expectKind(t, err, sigbox.Invalid)
		if strings.Contains(fmt.Sprintf("%v %+v", err, err), "hush") {
			t.Errorf("%s: %v", text, err)
		}
	}
	_, err := s3.Open(s3.Location{Bucket: "b", Endpoint: "https://id:hush@c"})
	expectKind(t, err, sigbox.Invalid)
	if strings.Contains(err.Error(), "hush") {
		t.Error(err)
	}
}
