// Package worker talks to programs that stay for many questions, since they take long
// to start: they read one a line, as JSON, and answer each with one line, {"error": …},
// null if all went well.
package worker

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"testing"
)

// maxAnswer is the longest line that a program may answer with, in bytes.
const maxAnswer = 1 << 20

// Refusal is a program's own answer that something went wrong.
type Refusal string

func (r Refusal) Error() string { return string(r) }

// Worker is a program that stays. It is started with the first question, and again
// after one that it ended over. It is for one goroutine at a time.
type Worker struct {
	t       *testing.T
	home    string
	env     []string
	program string
	args    []string

	in  io.WriteCloser // nil: not started
	out *bufio.Scanner
	log bytes.Buffer // what it says on standard error; read when it has ended
	end func()
}

// New makes a Worker that ends with the test. The program has a home of its own, the
// surroundings of the test, and env.
func New(t *testing.T, home string, env []string, program string, args ...string) *Worker {
	w := &Worker{t: t, home: home, env: env, program: program, args: args}
	t.Cleanup(w.stop)
	return w
}

// Ask gives nil if all went well, a Refusal that the program answered, or another
// error if it gave no answer.
func (w *Worker) Ask(question any) error {
	line, err := json.Marshal(question)
	if err != nil {
		return err
	}
	if w.in == nil {
		if err := w.start(); err != nil {
			return err
		}
	}
	if _, err := w.in.Write(append(line, '\n')); err != nil || !w.out.Scan() {
		err = errors.Join(err, w.out.Err())
		w.stop()
		return fmt.Errorf("%s ended over this question: %w\n%s", w.program, err, w.log.String())
	}
	var answer struct{ Error *string }
	if err := json.Unmarshal(w.out.Bytes(), &answer); err != nil {
		return fmt.Errorf("%s: an answer that is none, %.200q: %w", w.program, w.out.Bytes(), err)
	}
	if answer.Error != nil {
		return Refusal(*answer.Error)
	}
	return nil
}

func (w *Worker) start() error {
	cmd := exec.CommandContext(w.t.Context(), w.program, w.args...)
	cmd.Env = append(append(os.Environ(), "HOME="+w.home, "XDG_DATA_HOME="+w.home+"/data", "XDG_CACHE_HOME="+w.home+"/cache", "XDG_CONFIG_HOME="+w.home+"/config"), w.env...)
	w.log.Reset()
	cmd.Stderr = &w.log
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
	w.in, w.out = in, bufio.NewScanner(out)
	w.out.Buffer(nil, maxAnswer)
	w.end = func() {
		in.Close()
		_ = cmd.Wait() // it ends since there are no more questions, or has ended
	}
	return nil
}

func (w *Worker) stop() {
	if w.in != nil {
		w.end()
		w.in = nil
	}
}
