package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/sigbox/sigbox/internal/app"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"sigbox": func() { os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) },
		// A browser with somebody at it, whose address and password are in the environment.
		"robot": func() {
			if err := (person{os.Getenv("ROBOT_EMAIL"), os.Getenv("ROBOT_PASSWORD")}).browse(os.Args[1]); err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(1)
			}
		},
	})
}

// gorace is for programs that are built with the race detector: as they stand,
// each sleeps for a second at its end.
const gorace = "atexit_sleep_ms=10"

// TestScripts runs the command line as its users do; testdata/script/*.txtar say
// what they type and what they see.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(e *testscript.Env) error {
			// Nothing of who runs the tests: neither their trust nor their tokens.
			e.Setenv("HOME", e.WorkDir+"/home")
			e.Setenv("SIGBOX_HOME", e.WorkDir+"/home/sigbox")
			e.Setenv("GORACE", gorace)
			return os.Mkdir(e.WorkDir+"/home", 0o700)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"ready": ready, "transcribed": transcribed},
	})
}

// transcribed VAR NAME sets $VAR to the SHA-256 that the transcript NAME.txt has of
// NAME.json.
func transcribed(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: transcribed VAR NAME")
	}
	for line := range strings.Lines(ts.ReadFile(args[1] + ".txt")) {
		if f := strings.Fields(line); len(f) == 2 && f[1] == args[1]+".json" {
			ts.Setenv(args[0], f[0])
			return
		}
	}
	ts.Fatalf("the transcript %s.txt has not the sum of %s.json", args[1], args[1])
}

// ready DIR waits until the instance on DIR serves, and sets $URL to where.
func ready(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: ready DIR")
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for ctx.Err() == nil {
		if url, ok := serving(ctx, ts.MkAbs(args[0])); ok {
			ts.Setenv("URL", url)
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	ts.Fatalf("the instance on %s is not ready", args[0])
}

func serving(ctx context.Context, dir string) (url string, ok bool) {
	admin, err := app.OpenAdmin(ctx, app.Config{Data: dir})
	if err != nil {
		return "", false
	}
	defer admin.Close()
	s, err := admin.Status(ctx)
	return s.URL, err == nil && s.Ready
}
