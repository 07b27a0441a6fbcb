package main

import (
	"context"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/sigboxtest"
)

// tree writes files into a directory of their own and goes there.
func tree(t *testing.T, files map[string]string) {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir(dir)
}

func TestExpandPattern(t *testing.T) {
	tree(t, map[string]string{
		"a.txt": "", "b.txt": "", "c.bin": "", ".hidden.txt": "", "x/a.txt": "", "x/y/a.txt": "", "x/y/z/b.txt": "", "x/.git/a.txt": "", "[1].txt": "",
	})
	if err := os.Symlink("..", "x/up"); err != nil { // a loop
		t.Fatal(err)
	}
	if err := os.Symlink("nowhere", "x/broken.txt"); err != nil {
		t.Fatal(err)
	}
	cwd, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for pattern, want := range map[string]string{
		"*.txt": "[1].txt a.txt b.txt", "?.txt": "a.txt b.txt", "[ab].txt": "a.txt b.txt", `\[1].txt`: "[1].txt", "[[]*": "[1].txt",
		".*.txt": ".hidden.txt", "*": "[1].txt a.txt b.txt c.bin x", "*/": "x", "./*.bin": "c.bin",
		"x/*": "x/a.txt x/broken.txt x/up x/y", "*/*.txt": "x/a.txt x/broken.txt", "*/*/*.txt": "x/up/[1].txt x/up/a.txt x/up/b.txt x/y/a.txt",
		"**/a.txt": "a.txt x/a.txt x/y/a.txt", "x/**/b.txt": "x/y/z/b.txt", "**/**/**/**/**/z/*": "x/y/z/b.txt",
		"x/**": "x/a.txt x/broken.txt x/up x/y/a.txt x/y/z/b.txt", "*.gone": "", "gone/*": "", "a.txt/*": "", "*/gone.txt": "",
		cwd + "/*.bin": cwd + "/c.bin",
	} {
		got, err := expandPattern(pattern)
		if err != nil || strings.Join(got, " ") != want {
			t.Errorf("%s: %q, %v, want %s", pattern, got, err, want)
		}
	}
	for _, pattern := range []string{"[", "a[", `*\`} {
		if got, err := expandPattern(pattern); err == nil {
			t.Errorf("%s: %q", pattern, got)
		}
	}
}

// TestEvidenceIn: names that other files have as well do not make a file a
// signature, nor keep it from being verified.
func TestEvidenceIn(t *testing.T) {
	w := sigboxtest.New(t)
	signed := w.Sign([]byte("hello\n"), sigboxtest.Options{Kind: "hashedrekord 0.0.1"})
	files := sigboxtest.LegacyFiles(signed)
	good := string(sigboxtest.File(signed))
	sig, pem, old := string(files.Signature), string(files.Certificate), string(sigboxtest.Legacy(signed, nil))
	tree(t, map[string]string{
		"app": "hello\n", "app.sig": sig, "app.pem": pem, "app.bundle": old,
		"lone.sig": sig, "lone.bundle": old, // without their file
		"repo": "x", "repo.bundle": "# v2 git bundle\n", // of another tool
		"gpg": "x", "gpg.sig": "-----BEGIN PGP SIGNATURE-----\n", "gpg.pem": pem,
		"keyed": "x", "keyed.sig": sig, "keyed.pem": "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
		"own": "x", "own.sig": sig, "own.sig.sigstore.json": "{}", // a file like any other
		"new.sigstore.json": good, ".sig": sig, "lines": "x", "lines.sigstore.jsonl": good + "\n" + good,
		"evil.sigstore.json": "#!/bin/sh\n", "evil.sigstore": good + "\n#!/bin/sh\n", "evil.sigstore.jsonl": "#!/bin/sh\n" + good, // called so
	})
	for path, want := range map[string]string{
		"evil.sigstore.json": "", "evil.sigstore": "", "evil.sigstore.jsonl": "", "own.sig.sigstore.json": "",
		"app.sig": "app", "app.pem": "app", "app.bundle": "app", "new.sigstore.json": "new", "lines.sigstore.jsonl": "lines", "keyed.sig": "keyed",
		"app": "", "lone.sig": "", "lone.bundle": "", "repo.bundle": "", "gpg.sig": "", "gpg.pem": "", "keyed.pem": "", "own.sig": "", ".sig": "", "gone.sig": "",
	} {
		if got, _, ok := evidenceIn(path); ok != (want != "") || ok && got != want {
			t.Errorf("%s is for %q, want %q", path, got, want)
		}
	}
	found, err := findToVerify(t.Context(), verifyFlags{}, []string{"."})
	if err != nil {
		t.Fatal(err)
	}
	got, undecided := map[string]bool{}, 0
	for _, a := range found.artifacts {
		if a.bundle {
			undecided++ // until its file is judged
		} else {
			got[a.path] = true
		}
	}
	want := []string{
		".sig", "app", "evil.sigstore", "evil.sigstore.json", "evil.sigstore.jsonl", "gpg", "keyed",
		"lines", "lone.bundle", "lone.sig", "new", "own", "repo", "repo.bundle",
	}
	if diff := cmp.Diff(want, slices.Sorted(maps.Keys(got))); diff != "" || found.passed.Bundles != 2 || undecided != 9 {
		t.Errorf("%s; %d bundles, %d undecided", diff, found.passed.Bundles, undecided)
	}
}

// TestBelongs: a detached signature is one if it verifies, and nothing stands around
// its certificate. Whatever else is called so is a file that somebody must have signed.
func TestBelongs(t *testing.T) {
	w := sigboxtest.New(t)
	signed := w.Sign([]byte("hello\n"), sigboxtest.Options{Kind: "hashedrekord 0.0.1"})
	files := sigboxtest.LegacyFiles(signed)
	sig, encoded := string(files.Signature), string(files.Certificate)
	pem := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: signed.Certificates[0]}))
	script := "#!/bin/sh\necho I RUN; exit 0\n\x00\n"
	key := w.Key(sigbox.ECDSAP256SHA256)
	spki, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	keyed := string(sigboxtest.LegacyFiles(w.Sign([]byte("hello\n"), sigboxtest.Options{Kind: "hashedrekord 0.0.1", Key: key})).Signature)
	tree(t, map[string]string{
		"good": "hello\n", "good.sig": sig, "good.pem": pem, "old": "hello\n", "old.sig": sig, "old.cert": encoded,
		"script": "hello\n", "script.sig": script,
		"padded": "hello\n", "padded.sig": script + strings.Repeat("\x00", 64-len(script)), "padded.pem": pem,
		"around": "hello\n", "around.sig": sig, "around.pem": "#!/bin/sh\n" + pem,
		"behind": "hello\n", "behind.sig": sig, "behind.pem": pem + "#!/bin/sh\n",
		"chained": "hello\n", "chained.sig": sig, "chained.pem": pem + pem, "hidden": "hello\n", "hidden.sig": sig,
		"hidden.pem": pem + "-----BEGIN CERTIFICATE-----\n" + base64.StdEncoding.EncodeToString([]byte("#!/bin/sh\n")) + "\n-----END CERTIFICATE-----\n",
		"header":     "hello\n", "header.sig": sig, "header.pem": strings.Replace(pem, "-----\n", "-----\nA: b\n\n", 1),
		"other": "HELLO\n", "other.sig": sig, "other.pem": pem,
		"nonsense": "hello\n", "nonsense.sig": "AAAA", "nonsense.crt": pem,
		"keyed": "hello\n", "keyed.sig": keyed,
		"stray": "hello\n", "stray.sig": keyed, "stray.pem": pem,
		"alone": "hello\n", "alone.pem": pem,
		"out/evil": script, "in/a": "hello\n",
	})
	if err := os.Symlink("../out/evil", "in/a.sig"); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string][2]bool{ // without keys, and with one
		"good.sig": {true, true}, "good.pem": {true, true}, "old.sig": {true, true}, "old.cert": {true, true}, "script.sig": {}, "padded.sig": {}, "padded.pem": {},
		"chained.sig": {true, true}, "chained.pem": {true, true}, "hidden.sig": {}, "hidden.pem": {},
		"around.sig": {}, "around.pem": {}, "behind.sig": {}, "behind.pem": {}, "header.sig": {}, "header.pem": {}, "other.sig": {}, "other.pem": {},
		"nonsense.sig": {}, "nonsense.crt": {}, "keyed.sig": {false, true}, "stray.sig": {false, true}, "stray.pem": {}, "alone.pem": {}, "in/a.sig": {},
	} {
		for i, keys := range [][]sigbox.PublicKey{nil, {{Key: spki}}} {
			if _, got := belongs(t.Context(), path, keys); got != want[i] {
				t.Errorf("%s, with %d keys: %v", path, len(keys), got)
			}
		}
	}
}

// TestLists: what a list has is there once, also when it was named as well.
func TestLists(t *testing.T) {
	tree(t, map[string]string{
		"SHA256SUMS": helloSum + "  a\n" + helloSum + "  ./a\n" + helloSum + "  gone\n" + helloSum + "  ../../etc/passwd\n", "a": "hello\n", "b": "",
		"sums": helloSum + "  a\n", "empty_SHA256SUMS": "", "far_SHA256SUMS": helloSum + "  x\n" + helloSum + "  y\n",
	})
	type found struct {
		List, Listed, Alone bool
		Err                 string
	}
	for _, tt := range []struct {
		name  string
		lists listFlags
		args  []string
		want  map[string]found
	}{
		{"by name", listFlags{}, []string{"SHA256SUMS", "./a", "b"}, map[string]found{
			"SHA256SUMS": {List: true, Alone: true}, "a": {Listed: true, Alone: true}, "b": {Alone: true}, "gone": {Listed: true}, "../../etc/passwd": {Listed: true},
		}},
		{"missing ignored", listFlags{ignoreMissing: true}, []string{"SHA256SUMS"}, map[string]found{
			"SHA256SUMS": {List: true, Alone: true}, "a": {Listed: true}, "../../etc/passwd": {Listed: true},
		}},
		{"none here", listFlags{ignoreMissing: true}, []string{"far_SHA256SUMS"}, map[string]found{"far_SHA256SUMS": {List: true, Alone: true, Err: "none of the 2 files"}}},
		{"empty", listFlags{}, []string{"empty_SHA256SUMS"}, map[string]found{"empty_SHA256SUMS": {List: true, Alone: true, Err: "lists no files"}}},
		{"by flag", listFlags{checksums: listsFlag{true, true}}, []string{"sums"}, map[string]found{"sums": {List: true, Alone: true}, "a": {Listed: true}}},
		{"never", listFlags{checksums: listsFlag{true, false}}, []string{"SHA256SUMS"}, map[string]found{"SHA256SUMS": {Alone: true}}},
		{"nobody signed it", listFlags{}, []string{"."}, map[string]found{
			"SHA256SUMS": {Alone: true}, "a": {Alone: true}, "b": {Alone: true}, "sums": {Alone: true}, "empty_SHA256SUMS": {Alone: true}, "far_SHA256SUMS": {Alone: true},
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			in, err := findToVerify(t.Context(), verifyFlags{lists: tt.lists}, tt.args)
			if err != nil {
				t.Fatal(err)
			}
			got := map[string]found{}
			for _, a := range in.artifacts {
				f := found{List: a.list != nil, Listed: len(a.listed) > 0, Alone: a.alone}
				if a.list != nil && a.list.err != nil {
					f.Err = tt.want[a.path].Err
					if !strings.Contains(a.list.err.Error(), f.Err) || f.Err == "" {
						f.Err = a.list.err.Error()
					}
				}
				got[filepath.Clean(a.path)] = f
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestParseBundles: of many bundles those that can be read are read.
func TestParseBundles(t *testing.T) {
	w := sigboxtest.New(t)
	good := string(sigboxtest.File(w.Sign([]byte("a"), sigboxtest.Options{})))
	old := string(sigboxtest.Legacy(w.Sign([]byte("a"), sigboxtest.Options{Kind: "hashedrekord 0.0.1"}), nil))
	for _, tt := range []struct {
		name, text string
		lines      bool
		want       int
		err        string
	}{
		{"one", good, false, 1, ""},
		{"old", old, false, 1, ""},
		{"lines", good + "\n" + old + "\r\n\n" + good, false, 3, ""},
		{"one line", good, true, 1, ""},
		{"a broken line", good + "\n{}\n" + good, false, 2, "line 2"},
		{"broken first", "hello\n" + good, true, 1, "line 1"},
		{"broken first, not called so", "hello\n" + good, false, 0, ""},
		{"only broken", "{}\n{}", true, 0, "line 1"},
		{"empty", "", false, 0, ""},
		{"empty lines", "\n\n", true, 0, "no bundle"},
		{"too many", strings.Repeat(good+"\n", 1025), true, 0, "more than 1024"},
	} {
		got, err := parseBundles([]byte(tt.text), tt.lines)
		if len(got) != tt.want || (err == nil) != (tt.want > 0 && tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%s: %d bundles, %v", tt.name, len(got), err)
		}
	}
}

func TestIsDigest(t *testing.T) {
	for arg, want := range map[string]bool{
		"sha256:00": true, "gitCommit:abc": true, "sha3_256:00": true, "C:/file": false, "file": false, ":x": false, "a/b:c": false, "http://x": false,
	} {
		if got := isDigest(arg); got != want {
			t.Errorf("%s: %v", arg, got)
		}
	}
}

func TestMismatch(t *testing.T) {
	id := sigbox.Identity{Subject: "ada@example.com", Issuer: "https://id.example", Extensions: sigbox.Extensions{SourceRepositoryRef: "refs/heads/main"}}
	m := nearest([]sigbox.IdentityMatch{
		{Subject: "eve@example.com", Issuer: "https://evil.example"},
		{SubjectRegexp: `.*@example\.com`, Issuer: "https://id.example", Extensions: sigbox.Extensions{SourceRepositoryRef: "refs/heads/dev", BuildTrigger: "push"}, ExtensionsRegexp: sigbox.Extensions{RunnerEnvironment: "git.*"}},
		{Subject: "x", IssuerRegexp: "y"},
	}, id)
	// The first and the last differ twice, the other three times.
	want := "" +
		"            subject          issuer\n" +
		"  expected  eve@example.com  https://evil.example\n" +
		"  found     ada@example.com  https://id.example\n" +
		"            differs          differs\n"
	if diff := cmp.Diff(want, m.rows()); diff != "" || m.others != 2 {
		t.Error(diff, m.others)
	}
	m = nearest([]sigbox.IdentityMatch{{SubjectRegexp: `ada@.*`, Issuer: "https://id.example", Extensions: sigbox.Extensions{SourceRepositoryRef: "refs/heads/dev", BuildTrigger: "push"}}}, id)
	want = "" +
		"            subject          issuer              sourceRepositoryRef  buildTrigger\n" +
		"  expected  /ada@.*/         https://id.example  refs/heads/dev       push\n" +
		"  found     ada@example.com  https://id.example  refs/heads/main      (none)\n" +
		"                                                 differs              differs\n"
	if diff := cmp.Diff(want, m.rows()); diff != "" {
		t.Error(diff)
	}
	m = nearest([]sigbox.IdentityMatch{{Subject: "ada@example.com", Issuer: "https://id.example", ExtensionsRegexp: sigbox.Extensions{BuildTrigger: ".*"}}}, id)
	want = "" +
		"            subject          issuer              buildTrigger\n" +
		"  expected  ada@example.com  https://id.example  /.*/\n" +
		"  found     ada@example.com  https://id.example  (none)\n" +
		"                                                 differs\n"
	if diff := cmp.Diff(want, m.rows()); diff != "" {
		t.Error(diff)
	}
	long := "https://github.com/acme/app/.github/workflows/release.yml@refs/heads/main"
	m = nearest([]sigbox.IdentityMatch{{Subject: long + "er", Issuer: "https://id.example"}}, sigbox.Identity{Subject: long, Issuer: "https://id.example"})
	m.columns = append(m.columns, column{name: "buildTrigger", expected: "push"})
	want = "" +
		"  subject       expected  " + long + "er\n" +
		"  differs       found     " + long + "\n" +
		"  issuer        expected  https://id.example\n" +
		"                found     https://id.example\n" +
		"  buildTrigger  expected  push\n" +
		"  differs       found     (none)\n"
	if diff := cmp.Diff(want, m.rows()); diff != "" {
		t.Error(diff)
	}
	// A regular expression matches as a whole, which is said where it matches a part.
	if c := newColumn("subject", "", "ada", "ada@example.com"); c.same || c.expected != "/ada/ as a whole" {
		t.Errorf("found %+v", c)
	}
	if c := newColumn("subject", "", "eve", "ada@example.com"); c.same || c.expected != "/eve/" {
		t.Errorf("found %+v", c)
	}
	if c := newColumn("subject", "", "a|b", "ab"); c.same {
		t.Error("half a match was taken for one")
	}
}

// TestIsHash: no file takes the place of a digest.
func TestIsHash(t *testing.T) {
	for arg, want := range map[string]bool{
		helloSum: false, "sha256:" + helloSum: true, "sha256:00": true, "SHA256:" + helloSum: true, "gitCommit:0": true, "dirHash:h1:x=": true,
		"new:" + helloSum: true, "new:00": false, "12:30.txt": false, "./sha256:" + helloSum: false, "sha256:": false,
	} {
		if got := isHash(arg); got != want {
			t.Errorf("%s: %v", arg, got)
		}
	}
}

// TestKinds: a digest, standard input and a file that is called like one of them are
// three artifacts.
func TestKinds(t *testing.T) {
	digest := "sha256:" + helloSum
	tree(t, map[string]string{"-": "x", digest: "x"})
	found, err := findToVerify(t.Context(), verifyFlags{evidence: evidenceFlags{bundle: "b"}}, []string{"-", "-", digest, digest})
	if err == nil {
		t.Fatal("one bundle for two")
	}
	if found.dedupe(); len(found.artifacts) != 2 {
		t.Errorf("%v", found.artifacts)
	}
	found, err = findToVerify(t.Context(), verifyFlags{}, []string{"./-", "*", "./" + digest})
	if err != nil || len(found.artifacts) != 2 || found.artifacts[0].path == "" || found.artifacts[1].path == "" {
		t.Errorf("%v, %v", found, err)
	}
}

// TestMerge: signatures that were named are those that count, unless the file was
// named as well.
func TestMerge(t *testing.T) {
	one, two := []evidence{{bundle: "1"}}, []evidence{{bundle: "2"}}
	for _, tt := range []struct {
		name string
		list []artifact
		want []evidence
	}{
		{"both bundles", []artifact{{alone: true, by: one}, {alone: true, by: two}}, append(slices.Clone(one), two...)},
		{"bundle, file", []artifact{{alone: true, by: one}, {alone: true}}, nil},
		{"file, bundle", []artifact{{alone: true}, {alone: true, by: one}}, nil},
		{"bundle, listed", []artifact{{alone: true, by: one}, {}}, one},
		{"listed, bundle", []artifact{{}, {alone: true, by: one}}, one},
	} {
		for i := range tt.list {
			tt.list[i].path = "a"
		}
		f := found{artifacts: tt.list}
		f.dedupe()
		if len(f.artifacts) != 1 || !slices.Equal(f.artifacts[0].by, tt.want) || !f.artifacts[0].alone {
			t.Errorf("%s: %v", tt.name, f.artifacts)
		}
	}
}

// TestUnreadableDirectory: a directory that cannot be read is undecided, and does not end the
// others.
func TestUnreadableDirectory(t *testing.T) {
	in := &inputs{lists: listFlags{}}
	if err := in.addVisited(visited{path: "d/closed", err: fs.ErrPermission}, nil); err != nil || len(in.artifacts) != 1 {
		t.Fatal(in.artifacts, err)
	}
	o := new(judge).one(t.Context(), in.artifacts[0])
	if got := statusOf(o.err); got != statusUndecided {
		t.Error(got)
	}
}

// endless is a pipe that nobody writes to.
type endless struct{ reading chan struct{} }

func (e endless) Read([]byte) (int, error) {
	close(e.reading)
	select {}
}

// TestVerifyInterrupted: a signal ends verify although it waits for input, and nothing is
// said of what was read by then.
func TestVerifyInterrupted(t *testing.T) {
	w := newOldWorld(t, "")
	w.write("app.bundle", "bundle")
	for _, args := range [][]string{{"-", "--bundle", "app.bundle"}, {"app", "--bundle", "-"}} {
		ctx, stop := context.WithCancel(t.Context())
		stdin := endless{make(chan struct{})}
		w.env.stdin = stdin
		go func() {
			<-stdin.reading
			stop()
		}()
		w.stderr.Reset()
		root := newRootCommand(w.env, nil)
		root.SetArgs(append(append([]string{"verify"}, w.flags...), args...))
		status := w.env.finish(root.ExecuteContextC(ctx))
		if status != exitUndecided || w.stdout.Len() > 0 || !strings.Contains(w.stderr.String(), "interrupted") {
			t.Errorf("%q: status %d: %s%s", args, status, &w.stdout, &w.stderr)
		}
	}
}

// TestCutShort: what was found when the signal came counts for nothing.
func TestCutShort(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	got, err := promptly(ctx, func() (int, error) {
		stop()
		return 1, nil
	})
	if got != 0 || exitStatus(err) != exitUndecided {
		t.Error(got, err)
	}
}
