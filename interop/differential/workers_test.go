package differential

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/sigbox/sigbox/interop/worker"
)

// foreign is a judge in a program of its own, which stays for all questions.
type foreign struct {
	title  string
	keys   bool // whether it verifies by key
	worker *worker.Worker
}

// sigstoreJS and sigstorePython start the judges of interop/js and
// interop/python with the clients that interop/setup installed.
func sigstoreJS(t *testing.T) *foreign {
	// Modules resolve from beside the script, so it runs from where npm installed them.
	script := filepath.Join(tools(t, "js"), "judge.mjs")
	text, err := os.ReadFile(filepath.Join("..", "js", "judge.mjs"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(script, text, 0o644); err != nil {
		t.Fatal(err)
	}
	return &foreign{"sigstore-js", true, worker.New(t, t.TempDir(), nil, tools(t, "bin", "node"), script)}
}

func sigstorePython(t *testing.T) *foreign {
	return &foreign{"sigstore-python", false, worker.New(t, t.TempDir(), []string{"PYTHONWARNINGS=ignore"}, tools(t, "python", "bin", "python"), filepath.Join("..", "python", "judge.py"))}
}

// tools says where the pinned clients were installed.
func tools(t *testing.T, elem ...string) string {
	dir := os.Getenv("SIGBOX_INTEROP_TOOLS")
	if dir == "" {
		dir = filepath.Join("..", "..", ".cache", "interop")
	}
	path, err := filepath.Abs(filepath.Join(append([]string{dir}, elem...)...))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("%v\nThe foreign clients are not installed: run interop/setup, or make interop.", err)
	}
	return path
}

func (f *foreign) name() string           { return f.title }
func (f *foreign) knows(q *question) bool { return f.keys || q.key == nil }

func (f *foreign) judge(q *question) error {
	err := f.worker.Ask(map[string]any{
		"root": q.root, "bundle": q.bundle, "artifact": q.artifact, "subject": q.subject, "issuer": q.issuer, "key": q.pem(),
	})
	if _, ok := errors.AsType[worker.Refusal](err); err != nil && !ok {
		return crash{err}
	}
	return err
}
