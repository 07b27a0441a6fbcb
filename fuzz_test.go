package sigbox_test

import (
	"bytes"
	"testing"

	"github.com/sigbox/sigbox"
)

// FuzzParseDigest: what is read is written back as it was, and the two readers agree.
func FuzzParseDigest(f *testing.F) {
	f.Add(sigbox.SHA256.Sum(nil).String())
	f.Add(sigbox.SHA512.Sum([]byte("x")).String())
	f.Add("gitCommit:4b825dc642cb6eb9a060e54bf8d69288fbee4904")
	f.Add("SHA256:00")
	f.Fuzz(func(t *testing.T, s string) {
		named, namedErr := sigbox.ParseNamedDigest(s)
		if namedErr == nil && named.String() != s {
			t.Errorf("%q is read as %q", s, named)
		}
		d, err := sigbox.ParseDigest(s)
		if err != nil {
			return
		}
		if !d.Valid() || d.String() != s {
			t.Errorf("%q is read as %q", s, d)
		}
		if namedErr != nil || d.Named() != named {
			t.Errorf("%q: read as %v and as %v, %v", s, d, named, namedErr)
		}
	})
}

// FuzzSubjectPublicKeyInfo: what is read from text is written and read as the same.
func FuzzSubjectPublicKeyInfo(f *testing.F) {
	f.Add([]byte("-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n-----END PUBLIC KEY-----\n"))
	f.Add([]byte("-----BEGIN PUBLIC KEY-----\n-----END PUBLIC KEY-----"))
	f.Fuzz(func(t *testing.T, text []byte) {
		var k, again sigbox.SubjectPublicKeyInfo
		if k.UnmarshalText(text) != nil {
			return
		}
		written, err := k.MarshalText()
		if err != nil {
			t.Fatal(err)
		}
		if err := again.UnmarshalText(written); err != nil || !bytes.Equal(k, again) {
			t.Errorf("%x was written as %q and read as %x, %v", []byte(k), written, []byte(again), err)
		}
		_, _ = sigbox.ParsePublicKey(k) // must not panic
	})
}
