package interop

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestRekorCLISearch: rekor-cli finds what cosign has logged, at once, by all that
// it can search for.
func TestRekorCLISearch(t *testing.T) {
	in := serve(t)
	c := cosignClient{binary: tools(t, "bin", "cosign"), home: t.TempDir()}
	if err := c.trust(in); err != nil {
		t.Fatal(err)
	}
	home, dir := t.TempDir(), t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	file := write(t, at("artifact"), "a release\n")
	sha := fmt.Sprintf("%x", sha256.Sum256([]byte("a release\n")))
	v1 := []string{"--yes", "--use-signing-config=false", "--new-bundle-format=false", "--rekor-url", in.url, "--fulcio-url", in.url, "--identity-token", in.token(t)}
	if err := c.run(slices.Concat([]string{"sign-blob"}, v1, []string{"--output-signature", at("sig"), "--output-certificate", at("cert"), file})...); err != nil {
		t.Fatal(err)
	}
	if err := c.run(slices.Concat([]string{"attest-blob"}, v1, []string{"--predicate", write(t, at("predicate"), `{}`), "--type", "https://example.com/p", "--bundle", at("att"), file})...); err != nil {
		t.Fatal(err)
	}
	_, _, _, public := signedWithKey(t, dir)
	// cosign may write the certificate in base64 of PEM.
	text, err := os.ReadFile(at("cert"))
	if err != nil {
		t.Fatal(err)
	}
	if pem, err := base64.StdEncoding.DecodeString(string(text)); err == nil {
		write(t, at("cert"), string(pem))
	}
	id := regexp.MustCompile(`[0-9a-f]{80}`)
	find := func(args ...string) []string {
		t.Helper()
		out, err := rekorCLI(t, in, home, append([]string{"search"}, args...)...)
		if err != nil && !strings.Contains(out, "no matching entries found") {
			t.Fatal(err)
		}
		return id.FindAllString(out, -1)
	}
	both := find("--email", strings.ToUpper(email))
	if len(both) != 2 {
		t.Fatalf("by email address: %q", both)
	}
	attestation, signature := both[:1], both[1:] // the newest first
	for _, tt := range []struct {
		want []string
		by   []string
	}{
		{both, []string{"--subject", email}},
		{both, []string{"--artifact", file}},
		{both, []string{"--sha", sha}},
		{signature, []string{"--public-key", at("cert"), "--pki-format", "x509"}},
		{signature, []string{"--public-key", at("cert"), "--pki-format", "x509", "--sha", sha, "--operator", "and"}},
		{both, []string{"--public-key", at("cert"), "--pki-format", "x509", "--sha", sha, "--operator", "or"}},
		{nil, []string{"--public-key", public, "--pki-format", "x509"}},
		{nil, []string{"--public-key", public, "--pki-format", "x509", "--email", email, "--operator", "and"}},
		{nil, []string{"--email", "nobody@example.com"}},
	} {
		if got := find(tt.by...); !slices.Equal(got, tt.want) {
			t.Errorf("rekor-cli search %s: want %q, got %q", strings.Join(tt.by, " "), tt.want, got)
		}
	}
	if out, err := rekorCLI(t, in, home, "get", "--uuid", attestation[0]); err != nil || !strings.Contains(out, "Index: 2") {
		t.Errorf("%s, %v", out, err)
	}
}
