package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/sigbox/sigbox/internal/app"
	"github.com/sigbox/sigbox/internal/app/apptest"
)

// bench is a user at a command line of their own.
type bench struct {
	*testing.T
	env            *env
	vars           map[string]string
	stdout, stderr bytes.Buffer
}

func newBench(t *testing.T) *bench {
	b := &bench{T: t, vars: map[string]string{"SIGBOX_HOME": t.TempDir()}}
	b.env = &env{
		stdin: strings.NewReader(""), stdout: &b.stdout, stderr: &b.stderr, now: time.Now,
		getenv: func(name string) string { return b.vars[name] },
		browse: func(u string) error { return fmt.Errorf("nobody opens %s", u) },
	}
	return b
}

// run runs a command line and gives its exit status.
func (b *bench) run(args ...string) int {
	b.Helper()
	b.stdout.Reset()
	b.stderr.Reset()
	root := newRootCommand(b.env, nil)
	root.SetArgs(args)
	return b.env.finish(root.ExecuteContextC(b.Context()))
}

// must runs a command line that must succeed.
func (b *bench) must(args ...string) {
	b.Helper()
	if status := b.run(args...); status != exitOK {
		b.Fatalf("sigbox %s: status %d: %s", strings.Join(args, " "), status, &b.stderr)
	}
}

// file writes a file to sign.
func (b *bench) file(name, content string) string {
	b.Helper()
	path := filepath.Join(b.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		b.Fatal(err)
	}
	return path
}

// person logs in wherever a browser is shown a login page.
type person struct{ email, password string }

var (
	formAction = regexp.MustCompile(`<form method="post" action="([^"]*)"`)
	formField  = regexp.MustCompile(`<input type="hidden" name="([^"]*)" value="([^"]*)"`)
)

// TestBrowserLogin: an account of the instance's own provider, a login in the
// browser, a signature.
func TestBrowserLogin(t *testing.T) {
	a := apptest.Start(t)
	ada := person{"ada@example.com", "correct horse battery staple"}
	if err := a.Admin().AddUser(t.Context(), app.NewUser{Email: ada.email, Password: ada.password, Name: "Ada"}); err != nil {
		t.Fatal(err)
	}
	b := newBench(t)
	b.env.browse = ada.browse
	b.must("instance", "add", "box", a.URL(), "--root", a.RootFile())
	file := b.file("app.txt", "hello")
	b.must("sign", "--instance", "box", "--fulcio-auth-flow", "normal", file)
	if !strings.Contains(b.stderr.String(), "as ada@example.com") {
		t.Errorf("said %s", &b.stderr)
	}
	b.must("verify", "--instance", "box", "--certificate-identity", ada.email, "--certificate-oidc-issuer", a.URL()+"/oidc", file)
}

func TestNoLogin(t *testing.T) {
	a := apptest.Start(t)
	b := newBench(t)
	b.must("instance", "add", "box", a.URL(), "--root", a.RootFile())
	file := b.file("app.txt", "hello")
	for name, tt := range map[string]struct {
		vars   map[string]string
		args   []string
		status int
		says   string
	}{
		"no browser":        {args: []string{"--fulcio-auth-flow", "normal"}, status: exitUndecided, says: "cannot open a browser"},
		"no such flow":      {args: []string{"--fulcio-auth-flow", "magic"}, status: exitUsage, says: "expected normal, device or client_credentials"},
		"no secret":         {args: []string{"--fulcio-auth-flow", "client_credentials"}, status: exitNotVerified, says: "the client's secret"},
		"another provider":  {args: []string{"--fulcio-auth-flow", "normal", "--oidc-issuer", a.URL()}, status: exitNotVerified, says: "status 404"},
		"a job without one": {vars: map[string]string{"CI": "1"}, status: exitNotVerified, says: "nobody to log in"},
	} {
		t.Run(name, func(t *testing.T) {
			for k, v := range tt.vars {
				b.vars[k] = v
				defer delete(b.vars, k)
			}
			if status := b.run(append([]string{"sign", "--instance", "box", file}, tt.args...)...); status != tt.status {
				t.Errorf("status %d, want %d", status, tt.status)
			}
			if !strings.Contains(b.stderr.String(), tt.says) {
				t.Errorf("said %s, want %q", &b.stderr, tt.says)
			}
		})
	}
}

// TestInterrupted: whoever gives up has nothing decided.
func TestInterrupted(t *testing.T) {
	b := newBench(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	root := newRootCommand(b.env, nil)
	root.SetArgs([]string{"verify", "--offline", "--certificate-identity", "a", "--certificate-oidc-issuer", "b", t.TempDir()})
	if status := b.env.finish(root.ExecuteContextC(ctx)); status != exitUndecided {
		t.Errorf("status %d: %s", status, &b.stderr)
	}
}

// TestInterruptedSigning: what was not signed is counted, in words.
func TestInterruptedSigning(t *testing.T) {
	err := failedToSign(signReport{
		interrupted: true,
		Signed:      make([]signedJSON, 3),
		Failed:      []failedJSON{{Artifact: "a", err: fmt.Errorf("a: %w", context.Canceled)}, {Artifact: "b", err: context.Canceled}},
	})
	if exitStatus(err) != exitUndecided || !strings.Contains(err.Error(), "interrupted: 2 of 5 files not signed") {
		t.Errorf("status %d: %v", exitStatus(err), err)
	}
}
