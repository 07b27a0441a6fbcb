package main

import (
	"os"
	"strings"
	"testing"

	"github.com/sigbox/sigbox/internal/app/apptest"
	"github.com/sigbox/sigbox/internal/unprivileged"
)

// signed gives a file that ada has signed, its bundle, and the flags to verify it.
func signed(t *testing.T) (b *bench, file, bundle string, flags []string) {
	t.Helper()
	a := apptest.Start(t)
	b = newBench(t)
	b.must("instance", "add", "box", a.URL(), "--root", a.RootFile())
	file = b.file("app.txt", "hello")
	b.must("sign", "--instance", "box", "--identity-token", apptest.Token(t, a, "ada@example.com"), file)
	content, err := os.ReadFile(file + bundleSuffix)
	if err != nil {
		t.Fatal(err)
	}
	flags = []string{"verify", "--instance", "box", "--certificate-identity", "ada@example.com", "--certificate-oidc-issuer", a.URL() + "/oidc", file}
	b.must(flags...)
	return b, file, string(content), flags
}

// gitsign GHSA-7c37-gx6w-8vc5: whatever is wrong with a bundle, the verdict is a
// status that is not 0, and no panic. The same for cosign GHSA-8gw7-4j42-w388, where
// an invalid entry read as success.
func TestGHSA_7c37_gx6w_8vc5(t *testing.T) {
	b, file, bundle, flags := signed(t)
	cases := map[string]string{
		"empty": "", "null": "null", "list": "[]", "object": "{}", "two": strings.TrimSpace(bundle) + bundle, "text": "hello",
		"no certificate": cut(t, bundle, `"certificate":{`, `}`), "no entries": cut(t, bundle, `"tlogEntries":[`, `]`),
		"deep": strings.Repeat(`{"a":`, 10000), "wide": `{"mediaType":"` + strings.Repeat("x", 1<<20) + `"}`,
		"control": `{"mediaType":"` + "\x1b[2J" + `"}`,
	}
	for n := 1; n < len(bundle); n += len(bundle) / 60 {
		cases["cut at "+string(rune('A'+n%26))+bundle[n:n+1]] = bundle[:n]
		cases["changed at "+bundle[n-1:n+1]] = bundle[:n] + string(bundle[n]^1) + bundle[n+1:]
	}
	for name, content := range cases {
		if err := os.WriteFile(file+bundleSuffix, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		for _, args := range [][]string{flags, append(flags, "-o", "json")} {
			status := b.run(args...)
			// One changed bit may hide in the filling of base64 or in JSON's spaces;
			// then the bundle is as good as before.
			if status != exitNotVerified && !(status == exitOK && strings.HasPrefix(name, "changed")) {
				t.Errorf("%s: status %d: %s%s", name, status, &b.stdout, &b.stderr)
			}
			if said := b.stdout.String() + b.stderr.String(); strings.Contains(said, "\x1b") {
				t.Errorf("%s: said %q", name, said)
			}
		}
		b.run("inspect", file+bundleSuffix)
	}
}

// cut takes out what stands between two pieces of text.
func cut(t *testing.T, s, from, to string) string {
	t.Helper()
	head, rest, ok1 := strings.Cut(s, from)
	_, tail, ok2 := strings.Cut(rest, to)
	if !ok1 || !ok2 {
		t.Fatalf("no %s…%s in %s", from, to, s)
	}
	return head + from + to + tail
}

func TestHugeBundle(t *testing.T) {
	b, file, _, flags := signed(t)
	if err := os.Truncate(file+bundleSuffix, maxBundleFile+1); err != nil {
		t.Fatal(err)
	}
	if status := b.run(flags...); status != exitNotVerified || !strings.Contains(b.stderr.String(), "app.txt.sigstore.json is too large: expected at most 33554432 bytes, found 33554433 bytes\n  next: a bundle has some KiB") {
		t.Errorf("status %d: %s", status, &b.stderr)
	}
}

// TestPipeIsNoBundle: a pipe in the place of a bundle does not hold us up for ever.
func TestPipeIsNoBundle(t *testing.T) {
	b, file, _, flags := signed(t)
	if err := replaceByPipe(file + bundleSuffix); err != nil {
		t.Fatal(err)
	}
	if status := b.run(flags...); status != exitNotVerified || !strings.Contains(b.stderr.String(), "no bundle beside it") {
		t.Errorf("status %d: %s", status, &b.stderr)
	}
}

// TestUnreadable: what cannot be read is undecided.
func TestUnreadable(t *testing.T) {
	if unprivileged.Elsewhere(t) {
		return
	}
	b, file, _, flags := signed(t)
	if err := os.Chmod(file, 0); err != nil {
		t.Fatal(err)
	}
	if status := b.run(flags...); status != exitUndecided {
		t.Errorf("status %d: %s", status, &b.stderr)
	}
}

// TestReadOnlyDirectory: that a signature cannot be written is told before anything is
// signed.
func TestReadOnlyDirectory(t *testing.T) {
	if unprivileged.Elsewhere(t) {
		return
	}
	a := apptest.Start(t)
	b := newBench(t)
	b.must("instance", "add", "box", a.URL(), "--root", a.RootFile())
	dir := t.TempDir()
	for _, name := range []string{"one", "two"} {
		if err := os.WriteFile(dir+"/"+name, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(dir, 0o500); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Chmod(dir, 0o700) }) // to be removed
	status := b.run("sign", "--instance", "box", "--identity-token", apptest.Token(t, a, "ada@example.com"), dir)
	if status != exitUndecided || !strings.Contains(b.stderr.String(), "a bundle cannot be written to "+dir+"/one.sigstore.json: permission denied") {
		t.Errorf("status %d: %s", status, &b.stderr)
	}
}
