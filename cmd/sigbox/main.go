// Command sigbox is Sigstore in one binary: it signs and verifies files, and
// serves a whole instance to do so with.
//
// Each verb has a file of its own here: flags in, one call, a result out. What
// the verbs share of flags, errors and exit statuses is in root.go.
package main

import (
	"context"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// run is the whole program: it does what args say and returns the exit status.
func run(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends the program at once
	e := &env{stdin: stdin, stdout: stdout, stderr: stderr, getenv: os.Getenv, now: time.Now}
	root := newRootCommand(e, args)
	root.SetArgs(args)
	return e.finish(root.ExecuteContextC(ctx))
}
