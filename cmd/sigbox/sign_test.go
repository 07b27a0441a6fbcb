package main

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/sigboxtest"
)

// TestFindToSign: what is only called a bundle is signed like any other file, and
// what is one is not, whatever else it is called.
func TestFindToSign(t *testing.T) {
	w := sigboxtest.New(t)
	signed := w.Sign([]byte("hello\n"), sigboxtest.Options{Kind: "hashedrekord 0.0.1"})
	good, files := string(sigboxtest.File(signed)), sigboxtest.LegacyFiles(signed)
	tree(t, map[string]string{
		"d/app": "hello\n", "d/app.sigstore.json": good, "d/lone.sigstore": good, // its file is gone
		"d/old": "hello\n", "d/old.sig": string(files.Signature), "d/old.pem": string(files.Certificate),
		"d/evil.sigstore.json": "#!/bin/sh\n", "d/evil.sigstore.jsonl": "#!/bin/sh\n" + good, "d/.git/HEAD": "ref\n",
	})
	got, err := findToSign(t.Context(), signFlags{}, []string{"d", "d/app"})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"d/app", "d/evil.sigstore.json", "d/evil.sigstore.jsonl", "d/old"}
	if diff := cmp.Diff(want, sortedPaths(got.artifacts)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(passedOver{Bundles: 4, VersionControl: 1}, got.passed); diff != "" {
		t.Error(diff)
	}
	for arg, says := range map[string]string{
		"d/app.sigstore.json": "sign the file that it is for: d/app", "d/old.sig": "sign the file that it is for: d/old", "gone": "there is no file gone",
		"d/.git/../.git": "", "sha256:" + strings.Repeat("0", 64): "needs the file itself",
	} {
		if _, err := findToSign(t.Context(), signFlags{}, []string{arg}); says == "" && err != nil || says != "" && (err == nil || !strings.Contains(err.Error(), says)) {
			t.Errorf("%s: %v, want %q", arg, err, says)
		}
	}
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if _, err := findToSign(ctx, signFlags{}, []string{"d"}); err == nil {
		t.Error("not interrupted")
	}
}

func sortedPaths(artifacts []artifact) []string {
	var all []string
	for _, a := range artifacts {
		all = append(all, a.path)
	}
	slices.Sort(all)
	return all
}

// TestSignOver: a bundle is not written over what is none.
func TestSignOver(t *testing.T) {
	w := sigboxtest.New(t)
	good := string(sigboxtest.File(w.Sign([]byte("hello\n"), sigboxtest.Options{})))
	tree(t, map[string]string{
		"again": "hello\n", "again.sigstore.json": good, "both": "hello\n", "both.sigstore.json": "", "mine": "hello\n", "mine.sigstore.json": `{"config":true}`, "new": "hello\n", "empty": "", "sub/x": "",
	})
	for name, c := range map[string]struct {
		file, bundle string
		refused      bool
	}{
		"signed again": {"again", "", false}, "somebody's file": {"mine", "", true}, "first": {"new", "", false}, "of mktemp": {"new", "empty", false},
		"itself": {"new", "new", true}, "of another": {"new", "again.sigstore.json", false}, "a directory": {"new", "sub", true},
		"no directory": {"new", "gone/b", true}, "too long a name": {"new", strings.Repeat("b", 250), true}, "itself, empty": {"empty", "empty", true}, "below a file": {"new", "mine/x", true},
	} {
		_, err := findToSign(t.Context(), signFlags{bundle: c.bundle}, []string{c.file})
		if (err != nil) != c.refused {
			t.Errorf("%s: %v, want refused %t", name, err, c.refused)
		}
	}
	if _, err := findToSign(t.Context(), signFlags{}, []string{"both", "both.sigstore.json"}); err == nil || !strings.Contains(err.Error(), "both.sigstore.json, which is to be signed itself") {
		t.Errorf("both: %v", err)
	}
	if _, err := findToSign(t.Context(), signFlags{bundle: "gone/b"}, []string{"new"}); exitStatus(err) != exitUsage {
		t.Errorf("no directory: %v", err)
	}
	if left, err := filepath.Glob(".*"); err != nil || len(left) > 0 {
		t.Errorf("left behind: %q, %v", left, err)
	}
}

// TestSignOverLink: no bundle is written in the place of a link, or over what it leads
// to, whoever made it.
func TestSignOverLink(t *testing.T) {
	w := sigboxtest.New(t)
	tree(t, map[string]string{"app": "hello\n", "other": "hello\n", "d/good": string(sigboxtest.File(w.Sign([]byte("hello\n"), sigboxtest.Options{})))})
	for link, to := range map[string]string{"link": "d/good", "nowhere": "d/gone", "app.sigstore.json": "d/good"} {
		if err := os.Symlink(to, link); err != nil {
			t.Fatal(err)
		}
	}
	for bundle, says := range map[string]string{
		"link": "cannot write a bundle to link: it is a link, to d/good", "nowhere": "cannot write a bundle to nowhere: it is a link, to d/gone", "": "cannot write a bundle to app.sigstore.json: it is a link, to d/good",
	} {
		if _, err := findToSign(t.Context(), signFlags{bundle: bundle}, []string{"app"}); exitStatus(err) != exitUsage || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", bundle, err)
		}
	}
	if _, err := findToSign(t.Context(), signFlags{}, []string{"other"}); err != nil {
		t.Error(err)
	}
}

// TestSignNoStatement: a file that is no statement is named once, and so is what it is
// not.
func TestSignNoStatement(t *testing.T) {
	tree(t, map[string]string{"app": "hello\n"})
	run := &signRun{flags: signFlags{inToto: true}}
	_, err := run.one(t.Context(), artifact{path: "app"})
	err = failedToSign(signReport{Failed: []failedJSON{{Artifact: "app", err: err}}})
	if exitStatus(err) != exitNotVerified || !strings.HasPrefix(err.Error(), "app: the payload is not an in-toto statement: not valid JSON") {
		t.Error(err)
	}
}

// TestSignInterrupted: a signal ends sign although it waits for input.
func TestSignInterrupted(t *testing.T) {
	b, file, _, _ := signed(t)
	ctx, stop := context.WithCancel(t.Context())
	stdin := endless{make(chan struct{})}
	b.env.stdin = stdin
	go func() {
		<-stdin.reading
		stop()
	}()
	b.stderr.Reset()
	root := newRootCommand(b.env, nil)
	root.SetArgs([]string{"sign", "--instance", "box", "--identity-token", "-", file})
	if status := b.env.finish(root.ExecuteContextC(ctx)); status != exitUndecided || !strings.Contains(b.stderr.String(), "interrupted: nothing was signed") {
		t.Errorf("status %d: %s", status, &b.stderr)
	}
}

// TestSignPipe: a file for which somebody put a pipe after it was found is not waited
// for, nor is one that is written to and never ends once a signal came.
func TestSignPipe(t *testing.T) {
	tree(t, map[string]string{"app": "hello\n"})
	all, err := findToSign(t.Context(), signFlags{}, []string{"app"})
	if err != nil {
		t.Fatal(err)
	}
	if err := replaceByPipe("app"); err != nil {
		t.Fatal(err)
	}
	if _, err := digestOf(t.Context(), "app", sigbox.SHA256); err == nil || !strings.Contains(err.Error(), "app is no regular file any more") {
		t.Error(err)
	}
	writer, err := os.OpenFile("app", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = writer.Close() }()
	ctx, stop := context.WithCancel(t.Context())
	stop()
	run := &signRun{flags: signFlags{inToto: true}, found: all, bar: newBench(t).env.progress("signing", 1)}
	run.all(ctx)
	if err := failedToSign(signReport{Failed: run.failed, interrupted: true}); exitStatus(err) != exitUndecided || !strings.Contains(err.Error(), "interrupted: 1 of 1 file not signed") {
		t.Error(err)
	}
}
