package main

import (
	"encoding/base64"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/sigbox/sigbox/internal/app/apptest"
)

var update = flag.Bool("update", false, "rewrite the expected output in testdata")

// TestClientScripts runs testdata/client/*.txtar against one instance, at the same time.
func TestClientScripts(t *testing.T) {
	runScripts(t, "testdata/client")
}

// TestReadingScripts runs testdata/reading/*.txtar against an instance whose logs have
// what they put there and nothing else.
func TestReadingScripts(t *testing.T) {
	runScripts(t, "testdata/reading")
}

// runScripts runs the scripts of a directory against one instance. Beside testscript's own
// there are these commands:
//
//	exits N PROGRAM ARGS…   runs a program that must end with status N
//	token FILE EMAIL        writes an identity token of the instance
//	forge FILE JSON         writes a token with those claims that nobody signed
//	edit FILE OLD NEW       replaces text in a file, which must have it
//	push [-index] IMAGE     puts an image into $REGISTRY, or an index of three
//
// and these variables: URL of the instance, PORT of it, DATA its directory, ROOT
// its TUF root, TRUSTED_ROOT and SIGNING_CONFIG what it publishes by TUF, ISSUER
// its OpenID provider, and REGISTRY, which is empty at first.
func runScripts(t *testing.T, dir string) {
	t.Helper()
	a := apptest.Start(t)
	testscript.Run(t, testscript.Params{
		Dir:           dir,
		UpdateScripts: *update,
		Setup: func(env *testscript.Env) error {
			env.Setenv("HOME", env.WorkDir)
			env.Setenv("GORACE", gorace)
			env.Setenv("SIGBOX_HOME", filepath.Join(env.WorkDir, ".home"))
			env.Setenv("URL", a.URL())
			env.Setenv("REGISTRY", startRegistry(t, nil))
			env.Setenv("ISSUER", a.URL()+"/oidc")
			env.Setenv("DATA", a.Data())
			env.Setenv("ROOT", a.RootFile())
			env.Setenv("PORT", a.URL()[strings.LastIndexByte(a.URL(), ':')+1:])
			for name, suffix := range map[string]string{"TRUSTED_ROOT": ".trusted_root.json", "SIGNING_CONFIG": ".signing_config.v0.2.json"} {
				files, err := filepath.Glob(filepath.Join(a.Data(), "tuf", "targets", "*"+suffix))
				if err != nil || len(files) != 1 {
					return fmt.Errorf("the published %s: %v, %w", suffix, files, err)
				}
				env.Setenv(name, files[0])
			}
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": exits,
			"edit":  edit,
			"forge": forge,
			"push":  func(_ *testscript.TestScript, _ bool, args []string) { push(t, args) },
			"token": func(ts *testscript.TestScript, _ bool, args []string) {
				writeToken(ts, args[0], apptest.Token(t, a, args[1]))
			},
		},
	})
}

func writeToken(ts *testscript.TestScript, file, token string) {
	ts.Check(os.WriteFile(ts.MkAbs(file), []byte(token+"\n"), 0o600))
}

func exits(ts *testscript.TestScript, _ bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	err = ts.Exec(args[1], args[2:]...)
	if e, ok := errors.AsType[*exec.ExitError](err); ok {
		got = e.ExitCode()
	} else {
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("%s ended with status %d, want %d", strings.Join(args[1:], " "), got, want)
	}
}

func edit(ts *testscript.TestScript, _ bool, args []string) {
	content := ts.ReadFile(args[0])
	if !strings.Contains(content, args[1]) {
		ts.Fatalf("%s does not have %q", args[0], args[1])
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(strings.ReplaceAll(content, args[1], args[2])), 0o600))
}

func forge(ts *testscript.TestScript, _ bool, args []string) {
	claims := map[string]any{
		"iss": ts.Getenv("ISSUER"), "sub": "eve@example.com", "email": "eve@example.com", "aud": "sigstore",
		"exp": time.Now().Add(time.Hour).Unix(),
	}
	ts.Check(json.Unmarshal([]byte(args[1]), &claims))
	b, err := json.Marshal(claims)
	ts.Check(err)
	part := base64.RawURLEncoding.EncodeToString
	writeToken(ts, args[0], fmt.Sprintf("%s.%s.%s", part([]byte(`{"alg":"RS256","kid":"1"}`)), part(b), part([]byte("signature"))))
}
