package oci_test

import (
	"strings"
	"testing"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/oci"
)

const someDigest = "sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"

func TestParseReference(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"debian":                             "index.docker.io/library/debian:latest",
		"debian:12":                          "index.docker.io/library/debian:12",
		"ada/app":                            "index.docker.io/ada/app:latest",
		"docker.io/ada/app":                  "index.docker.io/ada/app:latest",
		"registry.example/a/b/c:v1":          "registry.example/a/b/c:v1",
		"registry.example:5000/app":          "registry.example:5000/app:latest",
		"localhost:5000/app@" + someDigest:   "localhost:5000/app@" + someDigest,
		"debian:12@" + someDigest:            "index.docker.io/library/debian:12@" + someDigest,
		"a.b_c__d---e/f0:_x":                 "a.b_c__d---e/f0:_x",
		"[::1]:5000/app:v1":                  "[::1]:5000/app:v1",
		"registry.example/app@" + someDigest: "registry.example/app@" + someDigest,
	} {
		got, err := oci.ParseReference(in)
		if err != nil || got.String() != want {
			t.Errorf("%s: found %s, %v", in, got, err)
		}
	}
	for _, in := range []string{
		"", ":", "@", "Debian", "a b", "https://registry.example/app", "app:", "app:-", "app:.x", "a/../b", "a//b", "a.-b", "a___b", "a-", "-a", "a._b", "..", "./a", "registry..example/app", "app@", "app@sha256:00", "app@md5:00", "a@b@" + someDigest,
		"registry.example/", "/app", "../app", "app:a/b:c", "app\n", "app@" + strings.ToUpper(someDigest), strings.Repeat("a", 1025), "user:password@registry.example/app",
	} {
		if got, err := oci.ParseReference(in); err == nil || sigbox.KindOf(err) != sigbox.Invalid {
			t.Errorf("%q: found %s, %v", in, got, err)
		}
	}
	r, err := oci.ParseReference("debian:12@" + someDigest)
	if err != nil || r.Tag() != "12" || r.Digest().String() != someDigest || r.Repository() != "index.docker.io/library/debian" || r.IsZero() {
		t.Errorf("found %v, %v", r, err)
	}
	if !(oci.Reference{}).IsZero() {
		t.Error("no reference is one")
	}
	if got, err := client().Resolve(t.Context(), r); err != nil || got.String() != "index.docker.io/library/debian@"+someDigest {
		t.Errorf("found %s, %v", got, err)
	}
	if _, err := client().Describe(t.Context(), oci.Reference{}); sigbox.KindOf(err) != sigbox.Invalid {
		t.Errorf("found %v", err)
	}
}

// FuzzParseReference: what is read is the same when it is read again, and a place of
// its own in a URL.
func FuzzParseReference(f *testing.F) {
	for _, s := range []string{"debian", "debian:12@" + someDigest, "registry.example:5000/a/b:v1", "[::1]:5000/a", "a@" + someDigest} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		r, err := oci.ParseReference(s)
		if err != nil {
			if sigbox.KindOf(err) != sigbox.Invalid {
				t.Fatal(err)
			}
			return
		}
		again, err := oci.ParseReference(r.String())
		if err != nil || again.String() != r.String() {
			t.Fatalf("%q: %s, then %s, %v", s, r, again, err)
		}
		if strings.ContainsAny(r.String(), " \t\r\n?#%\\\"") {
			t.Fatalf("%q: %q", s, r)
		}
		if r.Tag() == "" && r.Digest().IsZero() {
			t.Fatalf("%q: neither tag nor digest", s)
		}
	})
}
