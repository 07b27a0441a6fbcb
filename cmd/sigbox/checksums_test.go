package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sigbox/sigbox"
)

const (
	helloSum = "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03" // of "hello\n"
	otherSum = "a948904f2f0f479b8f8197694b30184b0d2ed1c1cd2a1ec0fb85d299a192a447"
)

func TestParseChecksums(t *testing.T) {
	long := strings.Repeat("ab", 64)
	for _, tt := range []struct {
		name, text string
		want       map[string]string // digests by name
	}{
		{"GNU", helloSum + "  a\n" + otherSum + " *b\n", map[string]string{"a": "sha256:" + helloSum, "b": "sha256:" + otherSum}},
		{"one space", helloSum + " a\n", map[string]string{"a": "sha256:" + helloSum}},
		{"upper case", strings.ToUpper(helloSum) + "  a", map[string]string{"a": "sha256:" + helloSum}},
		{"CRLF", helloSum + "  a\r\n\r\n" + otherSum + "  b\r\n", map[string]string{"a": "sha256:" + helloSum, "b": "sha256:" + otherSum}},
		{"comments", "# of today\n\n" + helloSum + "  a\n", map[string]string{"a": "sha256:" + helloSum}},
		{"SHA-512", long + "  a\n", map[string]string{"a": "sha512:" + long}},
		{"BSD", "SHA256 (a (1).tar) = " + helloSum + "\nSHA512 (b) = " + long + "\n", map[string]string{"a (1).tar": "sha256:" + helloSum, "b": "sha512:" + long}},
		{"OpenSSL", "SHA2-256(a)= " + helloSum + "\n", map[string]string{"a": "sha256:" + helloSum}},
		{"spaces", helloSum + "   a b \n", map[string]string{" a b ": "sha256:" + helloSum}},
		{"escaped", `\` + helloSum + `  a\\b\nc\rd` + "\n", map[string]string{"a\\b\nc\rd": "sha256:" + helloSum}},
		{"BSD, escaped", `\SHA256 (a\nb) = ` + helloSum + "\n", map[string]string{"a\nb": "sha256:" + helloSum}},
		{"below", helloSum + "  ./sub//a\n", map[string]string{"sub/a": "sha256:" + helloSum}},
		{"twice alike", helloSum + "  a\n" + helloSum + "  ./a\n", map[string]string{"a": "sha256:" + helloSum}},
		{"twice unlike", helloSum + "  a\n" + otherSum + "  a\n", map[string]string{"a": "sha256:" + helloSum + " sha256:" + otherSum}},
		{"two algorithms", helloSum + "  a\n" + long + "  a\n", map[string]string{"a": "sha256:" + helloSum + " sha512:" + long}},
		{"out of here", helloSum + "  ../../etc/passwd\n" + otherSum + "  /etc/passwd\n", map[string]string{"../../etc/passwd": "sha256:" + helloSum, "/etc/passwd": "sha256:" + otherSum}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			list, err := parseChecksums([]byte(tt.text))
			if err != nil {
				t.Fatal(err)
			}
			got := map[string]string{}
			for _, c := range list {
				var digests []string
				for _, d := range c.digests {
					digests = append(digests, d.String())
				}
				got[c.name] = strings.Join(digests, " ")
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestParseChecksumsRefuses(t *testing.T) {
	for name, text := range map[string]string{
		"empty": "", "blank": "\n\r\n# nothing\n", "no name": helloSum + "\n", "no name after spaces": helloSum + "  \n",
		"text": "hello world\n", "one bad line": helloSum + "  a\nhello\n" + helloSum + "  b\n",
		"MD5": "b1946ac92492d2347c6235b4d2611184  a\n", "SHA-1": "f572d396fae9206628714fb2ce00f72e94f2258f  a\n",
		"odd": helloSum[1:] + "  a\n", "BSD of another kind": "MD5 (a) = b1946ac92492d2347c6235b4d2611184\n",
		"BSD of another length": "SHA512 (a) = " + helloSum + "\n", "BSD without name": "SHA256 () = " + helloSum + "\n",
		"BLAKE2": "BLAKE2b (a) = " + helloSum + helloSum + "\n", "zero byte": helloSum + "  a\x00b\n",
		"bad escape": `\` + helloSum + `  a\tb` + "\n", "open escape": `\` + helloSum + `  a\` + "\n",
		"a line without end": helloSum + "  " + strings.Repeat("a", maxChecksumLine), "binary": "\x00\xff\xfe\n",
		"a bundle": `{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json"}` + "\n",
	} {
		if list, err := parseChecksums([]byte(text)); err == nil {
			t.Errorf("%s: read as %v", name, list)
		}
	}
}

// TestManyChecksums: a list of 100,000 files is read, and none of them forgotten.
func TestManyChecksums(t *testing.T) {
	var b strings.Builder
	const many = 100_000
	for i := range many {
		fmt.Fprintf(&b, "%064x  file-%d\n", i, i)
	}
	list, err := parseChecksums([]byte(b.String()))
	if err != nil || len(list) != many || list[many-1].name != fmt.Sprint("file-", many-1) {
		t.Fatalf("%d files, %v", len(list), err)
	}
}

// FuzzParseChecksums: whatever is listed has a name that can be opened and a digest
// that can be compared.
func FuzzParseChecksums(f *testing.F) {
	f.Add([]byte(helloSum + "  a\r\n\\" + helloSum + " *b\\n\n#\nSHA256 (c) = " + helloSum))
	f.Fuzz(func(t *testing.T, b []byte) {
		list, err := parseChecksums(b)
		if err != nil {
			if k := sigbox.KindOf(err); k != sigbox.Invalid && k != sigbox.TooLarge {
				t.Errorf("%v: %v", k, err)
			}
			return
		}
		names := map[string]bool{}
		for _, c := range list {
			if c.name == "" || names[c.name] || len(c.digests) == 0 || filepath.Clean(c.name) != c.name {
				t.Errorf("%q: %d digests", c.name, len(c.digests))
			}
			names[c.name] = true
			for _, d := range c.digests {
				if !d.Valid() {
					t.Errorf("%q: %v", c.name, d)
				}
			}
		}
	})
}

// TestChecksumsStayHome: a list speaks of what is in its directory and of nothing
// else, whatever links there are.
func TestChecksumsStayHome(t *testing.T) {
	top := t.TempDir()
	dir := filepath.Join(top, "dist")
	for _, err := range []error{
		os.MkdirAll(filepath.Join(dir, "sub"), 0o700),
		os.WriteFile(filepath.Join(top, "secret"), []byte("hello\n"), 0o600),
		os.WriteFile(filepath.Join(dir, "a"), []byte("hello\n"), 0o600),
		os.Symlink("../secret", filepath.Join(dir, "out")),
		os.Symlink("..", filepath.Join(dir, "up")),
		os.Symlink(filepath.Join(top, "secret"), filepath.Join(dir, "absolute")),
		os.Symlink("loop", filepath.Join(dir, "loop")),
		os.Symlink("a", filepath.Join(dir, "within")),
		os.Symlink("nowhere", filepath.Join(dir, "broken")),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	hello, err := sigbox.ParseDigest("sha256:" + helloSum)
	if err != nil {
		t.Fatal(err)
	}
	c := &checksumFile{path: filepath.Join(dir, "SHA256SUMS"), verified: true}
	for name, want := range map[string]string{
		"a": "", "within": "",
		"out": "cannot be looked at", "up/secret": "cannot be looked at", "absolute": "cannot be looked at", "loop": "cannot be looked at",
		"../secret": "its own directory", "../../etc/passwd": "its own directory", "/etc/passwd": "its own directory", "..": "its own directory",
		"sub": "no regular file", ".": "no regular file", "gone": "not here", "sub/gone": "not here", "broken": "not here",
	} {
		got, err := c.check(t.Context(), checksum{name, []sigbox.Digest{hello}})
		if want == "" {
			if err != nil || !got.Equal(hello) {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), want) || exitStatus(err) != exitNotVerified {
			t.Errorf("%s: %v, want %s", name, err, want)
		}
	}
	c.verified = false
	if _, err := c.check(t.Context(), checksum{"a", []sigbox.Digest{hello}}); err == nil {
		t.Error("a list that is not verified was relied on")
	}
}

func TestChecksumNames(t *testing.T) {
	for name, want := range map[string]bool{
		"SHA256SUMS": true, "d/SHA512SUMS": true, "terraform_1.2_SHA256SUMS": true, "app_checksums.txt": true, "checksums.txt": true,
		"SHA256SUMS.sig": false, "MYSHA256SUMS": false, "sums.txt": false, "SHA1SUMS": false, "d/SHA256SUMS/a": false,
	} {
		if got := isChecksumName(name); got != want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
