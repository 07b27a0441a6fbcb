package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
	"golang.org/x/term"

	"github.com/sigbox/sigbox"
)

// isTerminal reports whether a stream is a terminal.
func isTerminal(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// interactive reports whether there is a person to ask.
func (e *env) interactive() bool { return isTerminal(e.stdin) && isTerminal(e.stderr) }

// ask puts a question on the terminal; only "y" and "yes" are a yes.
func (e *env) ask(question string) bool {
	fmt.Fprintf(e.stderr, "%s [y/N] ", question)
	line, err := bufio.NewReader(io.LimitReader(e.stdin, 64)).ReadString('\n')
	if err != nil {
		return false
	}
	switch strings.ToLower(strings.TrimSpace(line)) {
	case "y", "yes":
		return true
	}
	return false
}

// askPassphrase reads a passphrase from the terminal without showing it.
func (e *env) askPassphrase() ([]byte, error) {
	f, ok := e.stdin.(*os.File)
	if !ok {
		return nil, sigbox.Errorf(sigbox.Unauthenticated, "there is no terminal to ask for the passphrase on").WithHint("give --passphrase")
	}
	fmt.Fprint(e.stderr, "Passphrase of the key: ")
	secret, err := term.ReadPassword(int(f.Fd()))
	fmt.Fprintln(e.stderr)
	if err != nil {
		return nil, ioError(err)
	}
	return secret, nil
}

// note tells a person something beside the result.
func (e *env) note(format string, args ...any) {
	fmt.Fprintf(e.stderr, "%s\n", printable(fmt.Sprintf(format, args...)))
}

// progressDelay is how long work takes before a bar appears.
const progressDelay = 400 * time.Millisecond

// progress is a bar on the terminal. The zero value shows nothing.
type progress struct {
	all *mpb.Progress
	bar *mpb.Bar
}

// progress begins a bar for n steps, when standard error is a terminal.
func (e *env) progress(what string, n int) *progress {
	if n < 2 || !isTerminal(e.stderr) {
		return new(progress)
	}
	delay := make(chan struct{})
	time.AfterFunc(progressDelay, func() { close(delay) })
	all := mpb.New(mpb.WithOutput(e.stderr), mpb.WithRenderDelay(delay), mpb.WithWidth(40))
	bar := all.AddBar(int64(n), mpb.BarRemoveOnComplete(),
		mpb.PrependDecorators(decor.Name(what+" "), decor.CountersNoUnit("%d/%d")),
		mpb.AppendDecorators(decor.AverageETA(decor.ET_STYLE_MMSS)))
	return &progress{all, bar}
}

// step counts one. It is safe for concurrent use.
func (p *progress) step() {
	if p.bar != nil {
		p.bar.Increment()
	}
}

// done takes the bar away; whatever is printed then stands on a clean line.
func (p *progress) done() {
	if p.bar == nil {
		return
	}
	p.bar.Abort(true)
	p.all.Wait()
}

// hasBrowser guesses whether a browser can be opened where its user sits.
func (e *env) hasBrowser() bool {
	if e.getenv("SSH_CONNECTION") != "" || e.getenv("SSH_TTY") != "" {
		return false
	}
	if runtime.GOOS == "darwin" || runtime.GOOS == "windows" {
		return true
	}
	return e.getenv("DISPLAY") != "" || e.getenv("WAYLAND_DISPLAY") != "" || e.getenv("BROWSER") != ""
}

// open shows a URL to the user, in their browser.
func (e *env) open(url string) error {
	if e.browse != nil {
		return e.browse(url)
	}
	name, args := "xdg-open", []string{url}
	switch {
	case e.getenv("BROWSER") != "":
		name = e.getenv("BROWSER")
	case runtime.GOOS == "darwin":
		name = "open"
	case runtime.GOOS == "windows":
		name, args = "rundll32", []string{"url.dll,FileProtocolHandler", url}
	}
	// The browser may stay open when we are done.
	cmd := exec.CommandContext(context.Background(), name, args...) // #nosec G204 -- $BROWSER is the user's own word
	if err := cmd.Start(); err != nil {
		return err
	}
	go func() { _ = cmd.Wait() }() // some stay as long as their window
	return nil
}
