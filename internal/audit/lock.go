package audit

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/sigbox/sigbox"
)

// maxHolder bounds what is read of who has a lock, in bytes.
const maxHolder = 100

// lock keeps other processes from writing a log: their lines would stand between ours, and
// each would cut off what it takes for half a line of its own. It is a file of its own, a
// hidden one, since the log's is renamed; and it ends with the process, however that ends.
type lock struct {
	path string
	file *os.File // nil while it is not held
}

func lockOf(log string) *lock {
	dir, name := filepath.Split(log)
	return &lock{path: filepath.Join(dir, "."+name+".lock")}
}

// take takes the lock, or sees that it is still held: somebody may have removed its file.
// Errors: Conflict if another process has it.
func (l *lock) take() error {
	if l.file != nil {
		if l.there() {
			return nil
		}
		l.release()
	}
	f, err := os.OpenFile(l.path, os.O_RDWR|os.O_CREATE, filePerm)
	if err != nil {
		return err
	}
	l.file = f
	held, err := tryLock(f)
	switch {
	case held:
		err = sigbox.Errorf(sigbox.Conflict, "another process writes it: %s", holder(f)).
			WithHint("stop it, or name another file for this one")
	case err == nil:
		err = l.sign()
	}
	if err != nil {
		l.release()
	}
	return err
}

// there reports whether the file that is locked is the one at its path.
func (l *lock) there() bool {
	ours, err := l.file.Stat()
	if err != nil {
		return false
	}
	theirs, err := os.Lstat(l.path)
	return err == nil && os.SameFile(ours, theirs)
}

// sign writes down who has the lock, for whoever finds it taken.
func (l *lock) sign() error {
	if !l.there() {
		return sigbox.Errorf(sigbox.Conflict, "its lock %s was removed while it was taken", l.path).WithHint("start again")
	}
	if err := l.file.Truncate(0); err != nil {
		return err
	}
	_, err := l.file.WriteAt(fmt.Appendf(nil, "process %d\n", os.Getpid()), 0)
	return err
}

// holder says who has the lock, as far as its file tells.
func holder(f *os.File) string {
	b := make([]byte, maxHolder)
	n, err := f.ReadAt(b, 0)
	if name := strings.TrimSpace(string(b[:n])); name != "" && (err == nil || errors.Is(err, io.EOF)) {
		return fmt.Sprintf("%q", name)
	}
	return "one that does not say its number"
}

// release gives the lock back. Its file stays: who waits for it has it open.
func (l *lock) release() {
	if l.file != nil {
		_ = l.file.Close() // nothing in it is of worth
		l.file = nil
	}
}
