package main

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/app"
	"github.com/sigbox/sigbox/internal/app/apptest"
	"github.com/sigbox/sigbox/internal/keys"
)

const (
	readmePage = "../../README.md"
	// readmeURL is where the README's instance is.
	readmeURL = "http://127.0.0.1:8080"
	// parsedOnly stands before a block of the README that needs the network: its
	// commands are held to the flags that there are, and not run.
	parsedOnly = "<!-- parsed only: "
)

// notRun are commands of the README that its test does not type: it has an instance
// running, and what asks a person for a password cannot be asked.
var notRun = [...]string{"make ", "export PATH=", "sigbox serve ", "sigbox user add "}

// typed is a command of a page, and what the page says that it prints.
type typed struct {
	section string // the heading that it is under
	command string
	prints  string // "": nothing is said
	network bool
}

var (
	headingPattern = regexp.MustCompile(`^#+ (.*)\n`)
	promptPattern  = regexp.MustCompile("(?s)^(" + parsedOnly + "[^\n]*-->\n)?```\n([$] .*?)```\n")
)

// typedIn finds the commands of a page: in blocks whose lines begin with a prompt.
func typedIn(text string) []typed {
	var all []typed
	section := ""
	for len(text) > 0 {
		if m := promptPattern.FindStringSubmatch(text); m != nil {
			all = append(all, typedInBlock(section, m[1] != "", m[2])...)
			text = text[len(m[0]):]
			continue
		}
		if m := headingPattern.FindStringSubmatch(text); m != nil {
			section = m[1]
		}
		_, text, _ = strings.Cut(text, "\n")
	}
	return all
}

func typedInBlock(section string, network bool, block string) []typed {
	var all []typed
	goesOn := false
	for line := range strings.Lines(block) {
		last := len(all) - 1
		switch command, prompt := strings.CutPrefix(line, "$ "); {
		case prompt:
			all = append(all, typed{section: section, command: command, network: network})
			goesOn = strings.HasSuffix(line, "\\\n")
		case goesOn:
			all[last].command += line
			goesOn = strings.HasSuffix(line, "\\\n")
		default:
			all[last].prints += line
		}
	}
	return slices.DeleteFunc(all, func(c typed) bool { return strings.TrimSpace(c.command) == "" })
}

// TestReadme types what the README says into a shell, against an instance, and
// compares what is printed with what it shows, but for times, numbers and digests.
func TestReadme(t *testing.T) {
	text, err := os.ReadFile(readmePage)
	if err != nil {
		t.Fatal(err)
	}
	r := newReader(t)
	run := 0
	for _, c := range typedIn(string(text)) {
		if strings.HasPrefix(c.command, "cosign ") || slices.ContainsFunc(notRun[:], func(p string) bool { return strings.HasPrefix(c.command, p) }) {
			continue
		}
		if c.network {
			continue // TestCommandsOfPages parses it
		}
		run++
		if c.section == "Verifying" {
			r.prepare()
		}
		r.try(c)
	}
	if run < 10 {
		t.Errorf("only %d commands were run", run)
	}
}

// reader is somebody who does what the README says.
type reader struct {
	*testing.T
	app      *app.App
	dir      string
	prepared bool
}

func newReader(t *testing.T) *reader {
	t.Helper()
	r := &reader{T: t, app: apptest.Start(t), dir: t.TempDir()}
	if err := os.Symlink(r.app.Data(), filepath.Join(r.dir, "sigstore")); err != nil {
		t.Skip(err)
	}
	license, err := os.ReadFile("../../LICENSE")
	if err != nil {
		t.Fatal(err)
	}
	r.write("dist/LICENSE", string(license))
	r.write("dist/notes.md", "notes\n")
	return r
}

func (r *reader) write(name, content string) {
	r.Helper()
	path := filepath.Join(r.dir, name)
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(content), 0o600)); err != nil {
		r.Fatal(err)
	}
}

// shell runs a command and gives what it printed, with the README's URL in it, and the
// exit status.
func (r *reader) shell(command string) (printed string, status int) {
	r.Helper()
	command = strings.ReplaceAll(command, readmeURL, r.app.URL())
	command = strings.ReplaceAll(command, "sha256:5891b5b5…", sigbox.SHA256.Sum([]byte("hello\n")).String())
	cmd := exec.CommandContext(r.Context(), "sh", "-c", command)
	cmd.Dir = r.dir
	cmd.Env = append(os.Environ(), "HOME="+r.dir, "SIGBOX_HOME="+filepath.Join(r.dir, ".sigbox"), "GORACE="+gorace, "LC_ALL=C", "SIGSTORE_ID_TOKEN="+apptest.Token(r.T, r.app, "ada@example.com"))
	out, err := cmd.CombinedOutput()
	if _, exited := errors.AsType[*exec.ExitError](err); err != nil && !exited {
		r.Fatal(err)
	}
	return strings.ReplaceAll(string(out), r.app.URL(), readmeURL), cmd.ProcessState.ExitCode()
}

// try runs a command of the README.
func (r *reader) try(c typed) {
	r.Helper()
	want := exitOK
	if strings.Contains(c.prints, "NOT VERIFIED") {
		want = exitNotVerified
	}
	printed, status := r.shell(c.command)
	if status != want {
		r.Errorf("%sended with status %d, the README says %d:\n%s", c.command, status, want, printed)
	}
	if c.prints != "" && normal(printed) != normal(c.prints) {
		r.Errorf("after\n%sthe README shows\n%sthe shell printed\n%s", c.command, c.prints, printed)
	}
}

// must runs what the README takes for granted.
func (r *reader) must(format string, args ...any) {
	r.Helper()
	command := fmt.Sprintf(format, args...)
	if printed, status := r.shell(command); status != exitOK {
		r.Fatalf("%s: status %d: %s", command, status, printed)
	}
}

// prepare makes what the section on verifying speaks of: files that ada signed, and a
// maintainer with a key.
func (r *reader) prepare() {
	r.Helper()
	if r.prepared {
		return
	}
	r.prepared = true
	r.write("app", "hello\n")
	r.write("dist/pool/main/app.deb", "deb\n")
	r.write("SHA256SUMS", sigbox.SHA256.Sum([]byte("hello\n")).Hex()+"  app\n"+sigbox.SHA256.Sum(nil).Hex()+"  elsewhere\n")
	r.write("statement.json", `{"_type":"https://in-toto.io/Statement/v1","subject":[{"name":"app","digest":{"sha256":"`+sigbox.SHA256.Sum([]byte("hello\n")).Hex()+`"}}],"predicateType":"https://slsa.dev/provenance/v1","predicate":{}}`)
	key, err := keys.Generate(sigbox.ECDSAP256SHA256)
	if err != nil {
		r.Fatal(err)
	}
	private, err := keys.Marshal(key, nil)
	if err != nil {
		r.Fatal(err)
	}
	public, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		r.Fatal(err)
	}
	r.write("maintainer.key", string(private))
	r.write("maintainer.pub", string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public})))
	r.must("sigbox sign app dist/pool SHA256SUMS")
	r.must("sigbox sign --key maintainer.key --bundle by-key.json app")
	r.must("sigbox sign --key maintainer.key --in-toto --bundle about.json statement.json")
	r.must("cat by-key.json about.json > app.sigstore.jsonl")
}

// varies are what another run prints otherwise.
var varies = []struct {
	pattern *regexp.Regexp
	in      string
}{
	{regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ`), "TIME"},
	{regexp.MustCompile(`sha256:[0-9a-f]+…?`), "sha256:DIGEST"},
	{regexp.MustCompile(`index \d+`), "index N"},
	{regexp.MustCompile(`log\d+-\d+\.sigbox-[0-9a-f]+\.`), "LOG."},
	{regexp.MustCompile(`refreshed [^,]+,`), "refreshed AGO,"},
}

// normal takes out of what was printed what is another in each run.
func normal(printed string) string {
	for _, v := range varies {
		printed = v.pattern.ReplaceAllString(printed, v.in)
	}
	return strings.TrimSpace(printed)
}

// TestCommandsOfPages: the commands and flags that the pages name are there, in blocks
// and within sentences.
func TestCommandsOfPages(t *testing.T) {
	pages, err := filepath.Glob("../../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	span := regexp.MustCompile("`(sigbox [^`]+)`")
	block := regexp.MustCompile("(?ms)^```.*?^```")
	line := regexp.MustCompile(`(?m)^(?:sudo )?(sigbox (?:.*\\\n)*.*)$`)
	found := 0
	for _, page := range append(pages, readmePage, "../../NEWS.md", "../../CONTRIBUTING.md") {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		var commands []string
		for _, c := range typedIn(string(text)) {
			commands = append(commands, c.command)
		}
		for _, m := range span.FindAllSubmatch(text, -1) {
			commands = append(commands, string(m[1]))
		}
		for _, b := range block.FindAll(text, -1) {
			for _, m := range line.FindAllSubmatch(b, -1) {
				commands = append(commands, string(m[1]))
			}
		}
		for _, c := range commands {
			args := words(c)
			if len(args) == 0 || args[0] != "sigbox" || slices.Equal(args, []string{"sigbox", "is", "ready", "at", readmeURL}) {
				continue
			}
			found++
			if err := parse(args[1:]); err != nil {
				t.Errorf("%s: %s: %v", page, c, err)
			}
		}
	}
	if found < 50 {
		t.Errorf("only %d commands were found", found)
	}
}

// parse finds the command of a command line and reads its flags, and runs nothing.
func parse(args []string) error {
	b := bytes.Buffer{}
	root := newRootCommand(&env{stdin: &b, stdout: &b, stderr: &b, getenv: func(string) string { return "" }}, nil)
	cmd, rest, err := root.Find(args)
	if err != nil {
		return err
	}
	if cmd == root && len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		return fmt.Errorf("there is no command %s", args[0])
	}
	if cmd.HasSubCommands() && len(rest) > 0 && !strings.HasPrefix(rest[0], "-") {
		return fmt.Errorf("%s has no command %s", cmd.CommandPath(), rest[0])
	}
	if err := cmd.ParseFlags(rest); err != nil && !errors.Is(err, pflag.ErrHelp) {
		return err
	}
	return nil
}

// words splits a command as a shell does, up to the first operator or comment; what it
// would put in for $ stays.
func words(command string) []string {
	pattern := regexp.MustCompile(`^(?:[^\s'"\\]|\\(?s:.)|'[^']*'|"(?:[^"\\]|\\.)*")+`)
	var all []string
	for {
		command = strings.TrimLeft(strings.ReplaceAll(command, "\\\n", " "), " \t\n")
		word := pattern.FindString(command)
		if word == "" || strings.ContainsAny(word[:1], "<>|;&#") {
			return all
		}
		command = command[len(word):]
		word, _, _ = strings.Cut(word, "|") // the first of several commands that are named
		all = append(all, regexp.MustCompile(`['"\\]`).ReplaceAllString(word, ""))
	}
}
