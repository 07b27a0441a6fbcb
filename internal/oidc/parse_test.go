package oidc

import (
	"bytes"
	"crypto/rand"
	"strings"
	"testing"

	"github.com/sigbox/sigbox"
)

func TestCheckRedirect(t *testing.T) {
	good := []string{
		"http://localhost:34567/auth/callback",
		"http://localhost/callback",
		"http://localhost:8080",
		"http://127.0.0.1:1/",
		"http://[::1]:5000/a%20b",
		outOfBand,
	}
	bad := []string{
		"", "localhost:80", "https://localhost:1/", "HTTP://localhost/", "http://LOCALHOST/",
		"http://example.org/", "http://localhost.example.org/", "http://127.0.0.1.example.org/",
		"http://localhost@example.org/", "http://user@localhost/", "http://localhost:1@example.org/",
		`http://localhost:1\@example.org/`, `http://localhost\.example.org/`, "http:localhost", "http:/localhost/", "http:///localhost",
		"http://localhost:1/#fragment", "http://localhost:1/?code=x", "http://localhost:1/?",
		"http://127.1/", "http://2130706433/", "http://0.0.0.0/", "http://127.0.0.2/", "http://[::]/", "http://[::ffff:127.0.0.1]/",
		"http://localhost:abc/", "//localhost/", "javascript:alert(1)", "urn:ietf:wg:oauth:2.0:oob:auto",
		"http://localhost:1/\r\nSet-Cookie:a=b", " http://localhost/", "http%3A%2F%2Flocalhost",
		"http://localhost/" + strings.Repeat("a", maxRedirect),
	}
	for _, s := range good {
		if err := checkRedirect(s); err != nil {
			t.Errorf("%q: %v", s, err)
		}
	}
	for _, s := range bad {
		if err := checkRedirect(s); err == nil {
			t.Errorf("%q is allowed", s)
		}
	}
}

func TestCheckEmail(t *testing.T) {
	good := []string{"a@b", "dev@localhost", "Alice.Smith+sig@Example.com", "o'neil@x-y.example", "1@2.3"}
	bad := []string{
		"", "@", "a@", "@b", "a", "a@b@c", "a b@c", ".a@b", "a.@b", "a..b@c", `"a"@b`, "a@-b", "a@b-", "a@b..c", "a@b.",
		"a@[127.0.0.1]", "ä@example.org", "a@exämple.org", "a@b\n", "a\x00@b", "<a@b>", "a,b@c",
		strings.Repeat("a", 65) + "@b", "a@" + strings.Repeat("b", 64), "a@" + strings.Repeat("b.", 130) + "c",
	}
	for _, s := range good {
		if err := CheckEmail(s); err != nil {
			t.Errorf("%q: %v", s, err)
		}
	}
	for _, s := range bad {
		if err := CheckEmail(s); err == nil || sigbox.KindOf(err) != sigbox.Invalid {
			t.Errorf("%q: %v, want invalid", s, err)
		}
	}
}

func TestCheckPassword(t *testing.T) {
	for password, ok := range map[string]bool{
		"":                          false,
		"short":                     false,
		"eleven char":               false,
		"twelve chars":              true,
		"äöüäöüäöüäöü":              true,
		"alice@example.org":         false,
		"ALICE@example.org":         false,
		"not\xffvalid utf-8":        false,
		strings.Repeat("long", 256): true,
		strings.Repeat("long", 257): false,
	} {
		if err := CheckPassword("alice@example.org", password); (err == nil) != ok {
			t.Errorf("%q: %v", password, err)
		}
	}
}

func TestHasher(t *testing.T) {
	h := newHasher(rand.Reader)
	stored, err := h.hash(t.Context(), "correct horse battery")
	if err != nil {
		t.Fatal(err)
	}
	if want := "$argon2id$v=19$m=19456,t=2,p=1$"; !strings.HasPrefix(stored, want) {
		t.Errorf("stored %q, want the prefix %q", stored, want)
	}
	for _, c := range []struct {
		stored, password string
		want             bool
	}{
		{stored, "correct horse battery", true},
		{stored, "correct horse batterz", false},
		{stored, "", false},
		{"", "", false},
		{"", "correct horse battery", false},
		{stored, strings.Repeat("x", maxPassword+1), false},
	} {
		if got, err := h.verify(t.Context(), c.stored, c.password); err != nil || got != c.want {
			t.Errorf("%.20q with %.20q: %v, %v; want %v", c.stored, c.password, got, err, c.want)
		}
	}
}

// A flood of logins waits in a bounded queue, and the rest is turned away before
// it takes memory.
func TestHasherIsBounded(t *testing.T) {
	h := newHasher(rand.Reader)
	for range cap(h.waiting) {
		h.waiting <- struct{}{}
	}
	if _, err := h.hash(t.Context(), "correct horse battery"); err == nil || sigbox.KindOf(err) != sigbox.Unavailable {
		t.Errorf("with a full queue: %v, want unavailable", err)
	}
}

func TestParsePHCRefuses(t *testing.T) {
	const good = "$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
	if _, err := parsePHC(good); err != nil {
		t.Fatal(err)
	}
	for _, s := range []string{
		"", "$", good + "$", " " + good, good + "=",
		strings.Replace(good, "argon2id", "argon2i", 1),
		strings.Replace(good, "v=19", "v=16", 1),
		strings.Replace(good, "m=19456", "m=4194304", 1),
		strings.Replace(good, "m=19456", "m=019456", 1),
		strings.Replace(good, "m=19456", "m=0", 1),
		strings.Replace(good, "t=2", "t=0", 1),
		strings.Replace(good, "t=2", "t=4000000", 1),
		strings.Replace(good, "p=1", "p=256", 1),
		strings.Replace(good, "p=1", "p=0", 1),
		strings.Replace(good, ",p=1", "", 1),
		good[:len(good)-40],
	} {
		if p, err := parsePHC(s); err == nil {
			t.Errorf("%q is read as %+v", s, p)
		}
	}
}

func FuzzParsePHC(f *testing.F) {
	f.Add("$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")
	f.Add("$argon2id$v=19$m=8,t=1,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAA")
	f.Fuzz(func(t *testing.T, s string) {
		p, err := parsePHC(s)
		if err != nil {
			return
		}
		if p.String() != s || p.memory > maxArgonMemory || p.time > maxArgonTime || p.threads > maxArgonThreads {
			t.Errorf("%q is read as %+v", s, p)
		}
	})
}

func FuzzCheckRedirect(f *testing.F) {
	f.Add("http://localhost:34567/auth/callback")
	f.Add("http://localhost:1@example.org/")
	f.Fuzz(func(t *testing.T, s string) {
		if checkRedirect(s) != nil || s == outOfBand {
			return
		}
		rest, ok := strings.CutPrefix(s, "http://")
		host, _, _ := strings.Cut(rest, "/")
		host = strings.TrimRight(host, "0123456789")
		switch strings.TrimSuffix(host, ":") {
		case "localhost", "127.0.0.", "127.0.0.1", "[::1]":
		default:
			ok = false
		}
		if !ok || strings.ContainsAny(s, "?#@\\ \r\n") {
			t.Errorf("%q is allowed", s)
		}
	})
}

func TestUserCode(t *testing.T) {
	seen := make(map[string]bool)
	for range 100 {
		code, err := newUserCode(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		if again, ok := parseUserCode(" " + strings.ToLower(strings.ReplaceAll(code, "-", "")) + " "); !ok || again != code {
			t.Errorf("%q is read as %q, %v", code, again, ok)
		}
		seen[code] = true
	}
	if len(seen) != 100 {
		t.Errorf("%d different codes of 100", len(seen))
	}
	for _, s := range []string{"", "BCDF", "BCDF-GHJA", "BCDFGHJKL", "BCDF-GHJ1", "BCDFÄGHJ", strings.Repeat("-", 100)} {
		if code, ok := parseUserCode(s); ok {
			t.Errorf("%q is read as %q", s, code)
		}
	}
	if _, err := newUserCode(bytes.NewReader(nil)); err == nil {
		t.Error("no randomness, but a code")
	}
}
