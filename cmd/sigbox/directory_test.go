package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"
	"weak"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/unprivileged"
	"github.com/sigbox/sigbox/sigboxtest"
	"github.com/sigbox/sigbox/verify"
)

// signedDirectory is d with files a, b and c, each with its bundle.
func signedDirectory(t *testing.T) *oldWorld {
	w := newOldWorld(t, "")
	if err := os.Mkdir("d", 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"a", "b", "c"} {
		w.files[name] = name
		w.files[name+bundleSuffix] = string(sigboxtest.File(w.world.Sign([]byte(name), sigboxtest.Options{})))
		w.write(filepath.Join("d", name), name)
		w.write(filepath.Join("d", name+bundleSuffix), name+bundleSuffix)
	}
	return w
}

// TestDirectoryChanges: what changes in a directory between being found and being
// judged is told, and never verified.
func TestDirectoryChanges(t *testing.T) {
	remove := func(name string) func() error { return func() error { return os.Remove(name) } }
	put := func(name, content string) func() error {
		return func() error { return os.WriteFile(name, []byte(content), 0o600) }
	}
	const bundle = "d/a" + bundleSuffix
	for name, tt := range map[string]struct {
		change func() error
		want   []string // but for b and c
	}{
		"nothing":         {func() error { return nil }, []string{"d/a verified"}},
		"file gone":       {remove("d/a"), []string{"d/a undecided"}},
		"file changed":    {put("d/a", "A"), []string{"d/a notVerified"}},
		"file grown":      {put("d/a", "a"+strings.Repeat("\x00", 2*smallArtifact)), []string{"d/a notVerified"}},
		"file for a pipe": {func() error { return replaceByPipe("d/a") }, []string{"d/a undecided"}},
		"bundle gone":     {remove(bundle), []string{"d/a undecided", bundle + " undecided"}},
		"bundle changed":  {put(bundle, "#!/bin/sh\n"), []string{"d/a notVerified", bundle + " notVerified"}},
		"bundle grown":    {func() error { return os.Truncate(bundle, maxBundleFile+1) }, []string{"d/a notVerified", bundle + " notVerified"}},
	} {
		t.Run(name, func(t *testing.T) {
			w := signedDirectory(t)
			id := sigboxtest.DefaultIdentity()
			f := verifyFlags{trust: trustFlags{trustedRoots: []string{"root.json"}}, policy: policyFlags{identity: id.Subject, issuer: id.Issuer}}
			in, err := findToVerify(t.Context(), f, []string{"d"})
			if err != nil {
				t.Fatal(err)
			}
			j, err := w.env.newJudge(t.Context(), f)
			if err != nil {
				t.Fatal(err)
			}
			if err := tt.change(); err != nil {
				t.Fatal(err)
			}
			reporter := &reporter{flags: f, policy: j.policy, artifacts: in.count()}
			results, bundles := j.all(t.Context(), in.artifacts, reporter.result, func() {})
			var got []string
			for _, r := range results {
				got = append(got, string(r.Artifact)+" "+r.Status)
			}
			if diff := cmp.Diff(append(tt.want, "d/b verified", "d/c verified"), got); diff != "" || bundles != 4-len(tt.want) {
				t.Errorf("%s; %d bundles", diff, bundles)
			}
		})
	}
}

func replaceByPipe(path string) error {
	if err := os.Remove(path); err != nil {
		return err
	}
	return exec.Command("mkfifo", path).Run()
}

// TestDirectoryTwice: what was named in several ways has one result.
func TestDirectoryTwice(t *testing.T) {
	w := signedDirectory(t)
	for _, args := range [][]string{{"d", "d"}, {"d", "d/a", "./d/b"}, {"d/a.sigstore.json", "d"}, {"d", "d/a.sigstore.json"}} {
		if status := w.verify(append(args, "-o", "json")...); status != exitOK || strings.Count(w.stdout.String(), `"artifact"`) != 3 || !strings.Contains(w.stdout.String(), `"bundles": 3,`) {
			t.Errorf("%s: status %d: %s%s", args, status, &w.stdout, &w.stderr)
		}
	}
}

// TestLinkedBundle: a bundle may be a link, which counts as one.
func TestLinkedBundle(t *testing.T) {
	w := signedDirectory(t)
	if err := os.Rename("d/a.sigstore.json", "elsewhere"); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("../elsewhere", "d/a.sigstore.json"); err != nil {
		t.Fatal(err)
	}
	if status := w.verify("d"); status != exitOK || !strings.Contains(w.stderr.String(), "Passed over: 3 bundles.") {
		t.Errorf("status %d: %s%s", status, &w.stdout, &w.stderr)
	}
}

// TestLinksInDirectory: behind a link in a directory there is nothing that is not
// verified, or the directory is not.
func TestLinksInDirectory(t *testing.T) {
	const (
		passed   = "Passed over: 3 bundles, 1 link or special file (d/link)."
		unsigned = "NOT VERIFIED  d/link  there is no bundle beside it"
		outside  = "NOT VERIFIED  d/link  it is a link to a directory that is not looked through with d"
	)
	for name, tt := range map[string]struct {
		to, says string
		status   int
		more     func(w *oldWorld) error // besides the link
	}{
		"to a file that is judged":  {to: "a", says: passed},
		"to the same, all the way":  {to: "../d/./a", says: passed},
		"by a link":                 {to: "sub/second", says: "Passed over: 3 bundles, 2 links or special files (d/link, d/sub/second)", more: func(*oldWorld) error { return os.Symlink("../a", "d/sub/second") }},
		"to a file that is refused": {to: "a", says: "NOT VERIFIED  d/a", status: exitNotVerified, more: func(*oldWorld) error { return os.WriteFile("d/a", []byte("A"), 0o600) }},
		"to a file elsewhere":       {to: "../other", says: unsigned, status: exitNotVerified},
		"to a signed file elsewhere": {to: "../other", says: "verified  d/link", more: func(w *oldWorld) error {
			w.write("other", "a")
			w.write("d/link"+bundleSuffix, "a"+bundleSuffix)
			return nil
		}},
		"with a bundle of another": {to: "a", says: "NOT VERIFIED  d/link  artifact: ", status: exitNotVerified, more: func(w *oldWorld) error { w.write("d/link"+bundleSuffix, "b"+bundleSuffix); return nil }},
		"to a bundle":              {to: "a" + bundleSuffix, says: unsigned, status: exitNotVerified},
		"to what is not looked at": {to: ".git/evil", says: unsigned, status: exitNotVerified},
		"to version control":       {to: ".git", says: outside, status: exitNotVerified},
		"to a directory in it":     {to: "sub", says: passed},
		"to the directory":         {to: ".", says: passed},
		"to one above":             {to: "..", says: outside, status: exitNotVerified},
		"to one beside":            {to: "../e", says: outside, status: exitNotVerified},
		"nowhere":                  {to: "gone", says: passed},
		"in a circle":              {to: "link", says: passed},
		"below a file":             {to: "a/b", says: passed},
		"to a device":              {to: os.DevNull, says: passed},
	} {
		t.Run(name, func(t *testing.T) {
			w := signedDirectory(t)
			for _, dir := range []string{"d/sub", "d/.git", "e"} {
				if err := os.Mkdir(dir, 0o700); err != nil {
					t.Fatal(err)
				}
			}
			w.write("d/.git/evil", "a")
			if err := os.Symlink(tt.to, "d/link"); err != nil {
				t.Fatal(err)
			}
			if tt.more != nil {
				if err := tt.more(w); err != nil {
					t.Fatal(err)
				}
			}
			status := w.verify("d")
			said := strings.ReplaceAll(w.stdout.String()+w.stderr.String(), "1 version control directory, ", "")
			if status != tt.status || !strings.Contains(said, tt.says) {
				t.Errorf("status %d, said %s; expected %d, %s", status, said, tt.status, tt.says)
			}
			if w.verify("d", "-o", "json"); strings.Contains(w.stdout.String(), `"d/link"`) != (status != exitOK || strings.Contains(said, "d/link")) {
				t.Errorf("JSON: %s", &w.stdout)
			}
		})
	}
}

// TestParentOfLink: what is above the target of a link is not what is above the link.
func TestParentOfLink(t *testing.T) {
	w := signedDirectory(t)
	if err := errors.Join(os.MkdirAll("far/in", 0o700), os.Symlink("../far/in", "d/hop"), os.WriteFile("far/a", []byte("A"), 0o600)); err != nil {
		t.Fatal(err)
	}
	w.write("far/a"+bundleSuffix, "a"+bundleSuffix)
	for _, args := range [][]string{{"d/hop/.."}, {"d/hop/../"}, {"d/hop/../a"}, {"d/hop/../a" + bundleSuffix}, {"d/a", "d/hop/../a"}, {"d/hop/../*"}, {"d/h*/../a"}, {"d/hop/../in/../a"}} {
		status := w.verify(args...)
		if said := w.stdout.String() + w.stderr.String(); status != exitNotVerified || !strings.Contains(said, "far/a") || strings.Contains(said, "/d/hop") {
			t.Errorf("%s: status %d: %s", args, status, said)
		}
	}
	all, err := findToSign(t.Context(), signFlags{}, []string{"d/hop/../a", "d/a", "far"})
	if diff := cmp.Diff([]string{"d/a", "far/a"}, sortedPaths(all.artifacts)); diff != "" || err != nil {
		t.Error(diff, err)
	}
	for path, want := range map[string]string{
		"d/../d//./a": "d/../d//./a", "d/hop/../new": "far/new", "d/gone/../a": "d/gone/../a", "./-": "./-", "..": "..", "../": "../", "d/hop/..": "far", "d/hop/../b..c": "far/b..c",
	} {
		if got := resolveUp(path); got != want {
			t.Errorf("%s: %s, want %s", path, got, want)
		}
	}
}

// TestLinkUnreadable: a link that cannot be followed may lead to anything.
func TestLinkUnreadable(t *testing.T) {
	if unprivileged.Elsewhere(t) {
		return
	}
	w := signedDirectory(t)
	if err := errors.Join(os.Mkdir("closed", 0), os.Symlink("../closed/x", "d/link")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Chmod("closed", 0o700) }) // to be removed
	if status := w.verify("d"); status != exitUndecided {
		t.Errorf("status %d: %s%s", status, &w.stdout, &w.stderr)
	}
}

// TestManyLinks: a few are named to people, and all to programs.
func TestManyLinks(t *testing.T) {
	w := signedDirectory(t)
	for i := range 7 {
		if err := os.Symlink("a", fmt.Sprint("d/link ", i)); err != nil {
			t.Fatal(err)
		}
	}
	const names = `7 links or special files ("d/link 0", "d/link 1", "d/link 2", "d/link 3", "d/link 4", and 2 more).`
	if status := w.verify("d"); status != exitOK || !strings.Contains(w.stderr.String(), names) {
		t.Errorf("status %d: %s", status, &w.stderr)
	}
	if status := w.verify("d", "-o", "json"); status != exitOK || strings.Count(w.stdout.String(), `"d/link `) != 7 {
		t.Errorf("status %d: %s", status, &w.stdout)
	}
	all, err := findToSign(t.Context(), signFlags{}, []string{"d"})
	if err != nil || len(all.artifacts) != 3 || !strings.Contains(all.passed.String(), names[:len(names)-1]) {
		t.Errorf("sign: %d files, passed over %s, %v", len(all.artifacts), all.passed, err)
	}
}

// TestContent: small and large artifacts are read alike, and errors are not taken
// for an end.
func TestContent(t *testing.T) {
	w := sigboxtest.New(t)
	v, err := verify.New(verify.Config{Roots: []*sigbox.TrustedRoot{w.Root()}})
	if err != nil {
		t.Fatal(err)
	}
	id := sigboxtest.DefaultIdentity()
	p := sigbox.Policy{Identities: []sigbox.IdentityMatch{{Subject: id.Subject, Issuer: id.Issuer}}}
	const buffer = 16
	for _, size := range []int{0, 1, buffer - 1, buffer, buffer + 1, 100} {
		artifact := bytes.Repeat([]byte{'x'}, size)
		bundles := []*sigbox.Bundle{w.Sign(artifact, sigboxtest.Options{})}
		if _, err := v.VerifyAll(content(iotest.HalfReader(bytes.NewReader(artifact)), make([]byte, buffer)), bundles, p); err != nil {
			t.Errorf("%d bytes: %v", size, err)
		}
		if _, err := v.VerifyAll(content(bytes.NewReader(append(artifact, 'x')), make([]byte, buffer)), bundles, p); exitStatus(err) != exitNotVerified {
			t.Errorf("%d bytes and another: %v", size, err)
		}
		broken := fmt.Errorf("broken: %w", fs.ErrInvalid)
		_, err := v.VerifyAll(content(iotest.TimeoutReader(iotest.OneByteReader(bytes.NewReader(artifact))), make([]byte, buffer)), bundles, p)
		if size > 1 && exitStatus(err) != exitUndecided {
			t.Errorf("%d bytes, broken off: %v", size, err)
		}
		if _, err := v.VerifyAll(content(iotest.ErrReader(broken), make([]byte, buffer)), bundles, p); exitStatus(err) != exitUndecided {
			t.Errorf("unreadable: %v", err)
		}
	}
}

// TestReadSized: a wrong size makes no difference, and none makes a file too large.
func TestReadSized(t *testing.T) {
	for _, size := range []int64{0, 1, 5, 9} {
		if b, err := readSized(strings.NewReader("hello"), "x", 9, size); err != nil || string(b) != "hello" {
			t.Errorf("%d: %q, %v", size, b, err)
		}
		if b, err := readSized(strings.NewReader("hello, world"), "x", 9, size); exitStatus(err) != exitNotVerified {
			t.Errorf("%d: %q, %v", size, b, err)
		}
	}
	if b, err := readSized(strings.NewReader("hello"), "x", 9, 10); exitStatus(err) != exitNotVerified {
		t.Errorf("%q, %v", b, err)
	}
	if b, err := readSized(iotest.ErrReader(fs.ErrInvalid), "x", 9, 1); exitStatus(err) != exitUndecided {
		t.Errorf("%q, %v", b, err)
	}
}

// TestStrangeDirectory: what waits, goes round or paints the terminal is passed over
// or told in plain letters.
func TestStrangeDirectory(t *testing.T) {
	w := signedDirectory(t)
	for _, pipe := range []string{"d/pipe", "d/a.sigstore", "d/b.sig"} {
		if err := exec.Command("mkfifo", pipe).Run(); err != nil {
			t.Fatal(err)
		}
	}
	for link, to := range map[string]string{"d/loop": "loop", "d/here": ".", "d/c.sigstore.jsonl": "loop"} {
		if err := os.Symlink(to, link); err != nil {
			t.Fatal(err)
		}
	}
	const strange = "d/ \x1b[2J\n\t\u202e"
	w.write(strange, "a")
	w.write(strange+bundleSuffix, "a"+bundleSuffix)
	if status := w.verify("d"); status != exitOK || !strings.Contains(w.stdout.String(), `verified  d/ \x1b[2J\n\t\u202e  `) || !strings.Contains(w.stderr.String(), "4 of 4 files verified") ||
		!strings.Contains(w.stderr.String(), "Passed over: 4 bundles, 6 links or special files") {
		t.Errorf("status %d: %s%s", status, &w.stdout, &w.stderr)
	}
}

// TestEmptyBundle: a bundle that is empty is told as that, beside its file and without
// one.
func TestEmptyBundle(t *testing.T) {
	w := signedDirectory(t)
	w.write("d/a"+bundleSuffix, "nothing")
	w.write("d/lone"+bundleSuffix, "nothing")
	if status := w.verify("d"); status != exitNotVerified || strings.Count(w.stdout.String(), "it is called a bundle and is none") != 2 ||
		!strings.Contains(w.stdout.String(), "d/a.sigstore.json is empty, and a bundle was expected there") {
		t.Errorf("status %d: %s%s", status, &w.stdout, &w.stderr)
	}
}

// TestTooLargeForBundles: what is called a bundle and is too large to be read as one is
// told as that, and not that it is none: nobody has looked.
func TestTooLargeForBundles(t *testing.T) {
	w := signedDirectory(t)
	const large = "d/large" + bundleSuffix
	w.write(large, "nothing")
	if err := os.Truncate(large, maxBundleFile+1); err != nil {
		t.Fatal(err)
	}
	w.write("app", "a")
	const says = large + " is too large: expected at most 33554432 bytes, found 33554433 bytes"
	for _, args := range [][]string{{"verify", "d"}, {"verify", large}, {"inspect", large}} {
		if args[0] == "verify" {
			args = append(args, w.flags...)
		}
		if status := w.run(args...); status != exitNotVerified || !strings.Contains(w.stdout.String()+w.stderr.String(), says) || !strings.Contains(w.stderr.String(), "a bundle has some KiB: of many in a file, keep those that are for the one artifact") {
			t.Errorf("%s: status %d: %s%s", args, status, &w.stdout, &w.stderr)
		}
	}
	if err := os.Rename(large, "d/large"); err != nil {
		t.Fatal(err)
	}
	if status := w.run("inspect", "d/large"); status != exitNotVerified || w.stderr.String() != "sigbox: there is no bundle beside d/large, and it is too large to be one\n  next: expected d/large.sigstore.json\n" {
		t.Errorf("status %d: %s", status, &w.stderr)
	}
	if err := os.Rename("d/large", large); err != nil {
		t.Fatal(err)
	}
	if _, err := findToSign(t.Context(), signFlags{bundle: large}, []string{"app"}); exitStatus(err) != exitUsage || !strings.Contains(err.Error(), "is larger than the 33554432 bytes that are read of bundles") {
		t.Error(err)
	}
}

// full is a disk without space.
type full struct{ after int }

func (f *full) Write(p []byte) (int, error) {
	if f.after -= len(p); f.after < 0 {
		return 0, syscall.ENOSPC
	}
	return len(p), nil
}

// TestOutputLost: a verdict that could not be written is not the end of a good run.
func TestOutputLost(t *testing.T) {
	w := signedDirectory(t)
	for _, args := range [][]string{{"d"}, {"d/a"}, {"d", "-o", "json"}, {"d/a", "--explain"}, {"d", "--explain"}} {
		w.env.stdout = &full{after: 1}
		if status := w.verify(args...); status != exitUndecided || !strings.Contains(w.stderr.String(), "no space left") {
			t.Errorf("%s: status %d: %s", args, status, &w.stderr)
		}
	}
}

// TestResultsHoldNoBundle: what is kept of an artifact that is refused is what will be
// printed, and not its bundle: there may be many, and each of many megabytes.
func TestResultsHoldNoBundle(t *testing.T) {
	w := sigboxtest.New(t)
	v, err := verify.New(verify.Config{Roots: []*sigbox.TrustedRoot{w.Root()}})
	if err != nil {
		t.Fatal(err)
	}
	id := sigboxtest.DefaultIdentity()
	policy := sigbox.Policy{Identities: []sigbox.IdentityMatch{{Subject: "grace@example.com", Issuer: id.Issuer}}}
	r := &reporter{flags: verifyFlags{explain: true, set: new(pflag.FlagSet)}, policy: policy, artifacts: 2}
	judged := func() (verifyResult, weak.Pointer[sigbox.Bundle], error) {
		b := w.Sign([]byte("a"), sigboxtest.Options{})
		_, err := v.VerifyAll(verify.Bytes([]byte("a")), []*sigbox.Bundle{b}, policy)
		o := outcome{artifact: artifact{path: "a"}, from: map[*sigbox.Bundle]place{b: {}}}
		o.fail(err, place{})
		return r.result(o), weak.Make(b), err
	}
	result, _, failure := judged()
	if want := failure.Error(); result.Status != statusNotVerified || result.err.Error() != want || exitStatus(result.err) != exitNotVerified {
		t.Errorf("found %s %v, expected %s", result.Status, result.err, want)
	}
	result, bundle, _ := judged()
	runtime.GC()
	if bundle.Value() != nil {
		t.Error("the bundle is still held")
	}
	runtime.KeepAlive(result)
}
