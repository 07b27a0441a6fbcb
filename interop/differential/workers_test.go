package differential

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// worker is a judge in a program of its own, which stays for all questions: it
// reads one a line and answers with one line.
type worker struct {
	title   string
	keys    bool // whether it verifies by key
	in      io.WriteCloser
	out     *bufio.Scanner
	restart func() error
}

// sigstoreJS and sigstorePython start the judges of interop/js and
// interop/python with the clients that interop/setup installed.
func sigstoreJS(t *testing.T) *worker {
	// Modules resolve from beside the script, so it runs from where npm installed them.
	script := filepath.Join(tools(t, "js"), "judge.mjs")
	text, err := os.ReadFile(filepath.Join("..", "js", "judge.mjs"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(script, text, 0o644); err != nil {
		t.Fatal(err)
	}
	return startWorker(t, &worker{title: "sigstore-js", keys: true}, tools(t, "bin", "node"), script)
}

func sigstorePython(t *testing.T) *worker {
	return startWorker(t, &worker{title: "sigstore-python"}, tools(t, "python", "bin", "python"), filepath.Join("..", "python", "judge.py"))
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

func startWorker(t *testing.T, w *worker, program string, args ...string) *worker {
	home := t.TempDir()
	w.restart = func() error {
		cmd := exec.CommandContext(t.Context(), program, args...)
		cmd.Env = append(os.Environ(), "HOME="+home, "XDG_DATA_HOME="+home, "XDG_CACHE_HOME="+home, "XDG_CONFIG_HOME="+home, "PYTHONWARNINGS=ignore")
		in, err := cmd.StdinPipe()
		if err != nil {
			return err
		}
		out, err := cmd.StdoutPipe()
		if err != nil {
			return err
		}
		if err := cmd.Start(); err != nil {
			return err
		}
		t.Cleanup(func() {
			in.Close()
			_ = cmd.Wait()
		})
		w.in, w.out = in, bufio.NewScanner(out)
		w.out.Buffer(nil, 1<<20)
		return nil
	}
	if err := w.restart(); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *worker) name() string           { return w.title }
func (w *worker) knows(q *question) bool { return w.keys || q.key == nil }

func (w *worker) judge(q *question) error {
	line, err := json.Marshal(map[string]any{
		"root": q.root, "bundle": q.bundle, "artifact": q.artifact, "subject": q.subject, "issuer": q.issuer, "key": q.pem(),
	})
	if err != nil {
		return crash{err}
	}
	if _, err := w.in.Write(append(line, '\n')); err != nil || !w.out.Scan() {
		return crash{errors.Join(fmt.Errorf("the program ended over this bundle: %w", errors.Join(err, w.out.Err())), w.restart())}
	}
	var answer struct{ Error *string }
	if err := json.Unmarshal(w.out.Bytes(), &answer); err != nil {
		return crash{fmt.Errorf("an answer that is none, %.200q: %w", w.out.Bytes(), err)}
	}
	if answer.Error != nil {
		return errors.New(*answer.Error)
	}
	return nil
}
