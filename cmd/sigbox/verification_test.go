package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sigbox/sigbox/verify"
)

const verificationPage = "../../docs/verification.md"

// TestVerificationPage types what docs/verification.md says into a shell, and
// compares what is printed with what the page shows.
func TestVerificationPage(t *testing.T) {
	if out, err := exec.CommandContext(t.Context(), "openssl", "version").CombinedOutput(); err != nil || !bytes.HasPrefix(out, []byte("OpenSSL 3.")) {
		t.Skipf("needs OpenSSL 3, found %q (%v)", bytes.TrimSpace(out), err)
	}
	text, err := os.ReadFile(verificationPage)
	if err != nil {
		t.Fatal(err)
	}
	page := parsePage(t, string(text))
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("../../docs/verification")); err != nil {
		t.Fatal(err)
	}
	printed := page.run(t, dir)
	for i, b := range page.blocks {
		if *update || b.prints == printed[i] {
			page.blocks[i].prints = printed[i]
			continue
		}
		t.Errorf("after\n%s\nthe page shows\n%s\nthe shell printed\n%s", b.types, b.prints, printed[i])
	}
	if *update {
		if err := os.WriteFile(verificationPage, []byte(page.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// TestVerificationPageSteps holds the page to the steps of package verify: a
// section each, in their order.
func TestVerificationPageSteps(t *testing.T) {
	text, err := os.ReadFile(verificationPage)
	if err != nil {
		t.Fatal(err)
	}
	var want, got []string
	for s := verify.StepBundle; s.String() != verify.Step(0).String(); s++ {
		want = append(want, s.String())
	}
	for _, m := range regexp.MustCompile(`(?m)^## Step: (.*)$`).FindAllStringSubmatch(string(text), -1) {
		got = append(got, m[1])
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("steps of verify (-), sections of the page (+):\n%s", diff)
	}
}

// page is a document with commands in it.
type page struct {
	blocks []pageBlock
	rest   string // after the last block
}

// pageBlock is what is typed and, if anything, what that prints.
type pageBlock struct {
	before string // the text before the block
	types  string
	prints string
}

// A block is fenced as "sh"; what it prints is fenced as "text" right behind it.
var blockPattern = regexp.MustCompile("(?s)^(.*?\n)```sh\n(.*?)```\n(?:\n```text\n(.*?)```\n)?")

func parsePage(t *testing.T, text string) *page {
	t.Helper()
	p := new(page)
	for {
		m := blockPattern.FindStringSubmatch(text)
		if m == nil {
			break
		}
		p.blocks = append(p.blocks, pageBlock{before: m[1], types: m[2], prints: m[3]})
		text = text[len(m[0]):]
	}
	if len(p.blocks) == 0 {
		t.Fatal("no blocks of commands on the page")
	}
	p.rest = text
	return p
}

// String is the page as it is written.
func (p *page) String() string {
	var b strings.Builder
	for _, block := range p.blocks {
		b.WriteString(block.before + "```sh\n" + block.types + "```\n")
		if block.prints != "" {
			b.WriteString("\n```text\n" + block.prints + "```\n")
		}
	}
	return b.String() + p.rest
}

// run has one shell go through the blocks in dir and gives what each printed. The
// shell ends at the first command that fails.
func (p *page) run(t *testing.T, dir string) []string {
	t.Helper()
	const separator = "\x1e\n"
	script := "set -eu\nexec 2>&1\n"
	for _, b := range p.blocks {
		script += b.types + "printf '\\036\\n'\n"
	}
	cmd := exec.CommandContext(t.Context(), "sh", "-c", script)
	cmd.Dir = dir
	// Nothing of who runs the tests, and the same words and times everywhere.
	home := filepath.Join(dir, "home")
	cmd.Env = append(os.Environ(), "HOME="+home, "SIGBOX_HOME="+home, "GORACE="+gorace, "LC_ALL=C", "TZ=UTC")
	out, err := cmd.Output()
	printed := strings.Split(string(out), separator)
	if err != nil {
		failed := len(printed) - 1
		t.Fatalf("the shell ended (%v) in\n%s\nafter printing\n%s", err, p.blocks[min(failed, len(p.blocks)-1)].types, printed[failed])
	}
	return printed
}
