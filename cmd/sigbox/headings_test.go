package main

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/oci"
	"github.com/sigbox/sigbox/sigboxtest"
	"github.com/sigbox/sigbox/wire/cosign"
	"github.com/sigbox/sigbox/wire/trust"
)

// TestHeadings: help has each flag once, below a heading, in an order for who reads
// it first.
func TestHeadings(t *testing.T) {
	b := newBench(t)
	b.must("verify", "--help")
	_, text, _ := strings.Cut(b.stdout.String(), "\nExamples:\n")
	var headings []string
	for line := range strings.Lines(text) {
		if h, ok := strings.CutSuffix(line, ":\n"); ok && !strings.HasPrefix(h, " ") {
			headings = append(headings, h)
		}
	}
	want := []string{"Artifact and bundle", "Images", "Who may have signed", "What is demanded besides", "Trust", "Output"}
	if diff := cmp.Diff(want, headings); diff != "" {
		t.Error(diff)
	}
	newVerifyCommand(b.env).Flags().VisitAll(func(f *pflag.Flag) {
		if n := strings.Count(text, "--"+f.Name+" "); n == 0 {
			t.Errorf("no --%s in\n%s", f.Name, text)
		}
	})
	if strings.Contains(text, "[]") {
		t.Errorf("an empty list in\n%s", text)
	}
}

// TestVerifyCompletes: flags with a few values complete them, and those with text that
// nobody can guess complete nothing; the others complete files.
func TestVerifyCompletes(t *testing.T) {
	files := []string{"bundle", "signature", "certificate", "rfc3161-timestamp", "key", "policy", "trusted-root", "registry-cacert"}
	b := newBench(t)
	cmd := newVerifyCommand(b.env)
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if f.NoOptDefVal != "" {
			return
		}
		_, completed := cmd.GetFlagCompletionFunc(f.Name)
		if extensions := f.Annotations[cobra.BashCompFilenameExt]; completed == slices.Contains(files, f.Name) || completed && extensions != nil {
			t.Errorf("--%s: a function: %v, files: %v", f.Name, completed, extensions)
		}
	})
}

// TestVerifyExamples types the examples of the help into a shell.
func TestVerifyExamples(t *testing.T) {
	w := sigboxtest.New(t)
	root, err := trust.AppendRoot(nil, w.Root())
	if err != nil {
		t.Fatal(err)
	}
	key := w.Key(sigbox.ECDSAP256SHA256)
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	const ada, accounts = "ada@example.com", "https://accounts.example.com"
	bundle := func(content string, o sigboxtest.Options) string {
		return string(sigboxtest.File(w.Sign([]byte(content), o)))
	}
	byAda := sigboxtest.Options{Identity: sigbox.Identity{Subject: ada, Issuer: accounts, Kind: sigbox.EmailSAN}}
	byWorkflow := sigboxtest.Options{Identity: sigbox.Identity{
		Subject: "https://github.com/acme/app/.github/workflows/release.yaml@refs/heads/main", Issuer: "https://token.actions.githubusercontent.com", Kind: sigbox.URISAN,
	}}
	tree(t, map[string]string{
		"root.json": string(root), "release.yaml": fmt.Sprintf("identities: [{subject: %q, issuer: %q}]\n", ada, accounts),
		"app.tar.gz": "app", "app.tar.gz.sigstore.json": bundle("app", byAda), "app.sigstore.json": bundle("app", byAda),
		"dist/a": "a", "dist/a.sigstore.json": bundle("a", byWorkflow), "dist/sub/b": "b", "dist/sub/b.sigstore.json": bundle("b", byWorkflow),
		"SHA256SUMS": helloSum + "  hello\n" + helloSum + "  gone\n", "hello": "hello\n",
		"SHA256SUMS.sigstore.json": bundle(helloSum+"  hello\n"+helloSum+"  gone\n", sigboxtest.Options{Key: key}),
		"maintainer.pub":           string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})),
	})
	dir, err := filepath.Abs(".")
	if err != nil {
		t.Fatal(err)
	}
	registry := startRegistry(t, nil)
	signIndex(t, pushIndex(t, registry+"/app:v1"), func(statement []byte) []byte { return sigboxtest.File(w.Attest(statement, byAda)) })
	examples := strings.Split(strings.ReplaceAll(newVerifyCommand(newBench(t).env).Example, "\\\n", ""), "\n")
	if len(examples) < 5 {
		t.Fatalf("%d examples", len(examples))
	}
	for _, example := range examples {
		cmd := exec.CommandContext(t.Context(), "sh", "-euc", `sigbox() { command sigbox "$@" --trusted-root root.json; }
curl() { cat app.tar.gz; }
`+strings.ReplaceAll(example, "registry.example", registry))
		cmd.Env = append(os.Environ(), "HOME="+dir, "SIGBOX_HOME="+dir, "GORACE="+gorace)
		if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "verified") {
			t.Errorf("%s\n%s%v", example, out, err)
		}
	}
}

// signIndex attaches to an index, and to each image in it, what sign makes of a statement.
func signIndex(t *testing.T, ref oci.Reference, sign func(statement []byte) []byte) {
	t.Helper()
	client := oci.New(oci.Config{})
	images, err := client.Images(t.Context(), ref)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range images {
		if _, err := client.AttachBundle(t.Context(), ref.At(d.Digest), sign(cosign.AppendStatement(nil, d.Digest, nil)), nil); err != nil {
			t.Fatal(err)
		}
	}
}

// TestUsageFits: on a narrow terminal lines are broken where it ends.
func TestUsageFits(t *testing.T) {
	var out strings.Builder
	cmd := newVerifyCommand(newBench(t).env)
	cmd.SetErr(&out)
	cmd.SetOut(&out)
	const width = 100
	if err := printUsage(cmd, width); err != nil {
		t.Fatal(err)
	}
	_, flags, _ := strings.Cut(out.String(), "Artifact and bundle:")
	for line := range strings.Lines(flags) {
		if len(strings.TrimSuffix(line, "\n")) > width {
			t.Errorf("%d characters: %s", len(line), line)
		}
	}
}
