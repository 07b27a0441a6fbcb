package dir

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/atomicfile"
	"github.com/sigbox/sigbox/internal/store"
)

const (
	// maxAnchor bounds what an anchor holds, in bytes.
	maxAnchor = 64 << 10
	// lockPoll is how often a lock that somebody else holds is tried.
	lockPoll = 20 * time.Millisecond
)

// Anchor is one small text in a file, for a log's anchor. It takes the place of the
// text that was loaded last, and of no other: a lock on a file beside it makes
// reading and writing one step among all who use it, as far as the file system has
// locks. It belongs on another disk than the log. Its directory is not made: where it
// is missing, the disk that it is on is most likely not mounted.
//
// Calls end when their context does, also while the file system does not answer. What
// hangs there is one call at most, which the next ones wait for.
type Anchor struct {
	path string
	turn chan struct{} // capacity 1: whoever has put something in has the fields below

	known bool   // text is what was there last
	text  string // "": nothing was there
}

// NewAnchor gives the anchor in a file, which need not exist.
func NewAnchor(path string) *Anchor { return &Anchor{path: path, turn: make(chan struct{}, 1)} }

// Load gives what was stored last, or store.ErrNotFound. That the directory is
// missing is another error.
func (a *Anchor) Load(ctx context.Context) (string, error) { return a.call(ctx, a.load) }

// Store replaces what was loaded last, and returns once that is durable. The error is
// of kind Conflict, with store.ErrConflict, when something else is there by now.
func (a *Anchor) Store(ctx context.Context, text string) error {
	_, err := a.call(ctx, func() (string, error) { return "", a.replace(ctx, text) })
	return err
}

// call has f done when it is its turn, and waits for it as long as ctx lasts.
func (a *Anchor) call(ctx context.Context, f func() (string, error)) (string, error) {
	type result struct {
		text string
		err  error
	}
	select {
	case a.turn <- struct{}{}:
	case <-ctx.Done():
		return "", a.silent(ctx)
	}
	done := make(chan result, 1)
	go func() {
		defer func() { <-a.turn }()
		text, err := f()
		done <- result{text, err}
	}()
	select {
	case r := <-done:
		return r.text, r.err
	case <-ctx.Done():
		return "", a.silent(ctx)
	}
}

// silent is the error when the file system does not answer in time.
func (a *Anchor) silent(ctx context.Context) error {
	return sigbox.Errorf(sigbox.Unavailable, "the file system of %s does not answer", a.path).
		WithHint("is it a network's, and is its server there?").WithCause(ctx.Err())
}

func (a *Anchor) load() (string, error) {
	a.known = false
	text, err := a.read()
	a.known, a.text = err == nil || errors.Is(err, store.ErrNotFound), text
	return text, err
}

// read reads the file. What is no regular file might not end, or wait for a writer.
func (a *Anchor) read() (string, error) {
	f, err := os.OpenFile(a.path, os.O_RDONLY|openAtOnce, 0)
	if errors.Is(err, fs.ErrNotExist) {
		if _, err := os.Stat(filepath.Dir(a.path)); err != nil {
			return "", sigbox.Errorf(sigbox.Invalid, "the anchor's directory %s cannot be used", filepath.Dir(a.path)).
				WithHint("is its disk mounted? make the directory if the anchor is new").WithCause(err)
		}
		return "", store.ErrNotFound
	}
	if err != nil {
		return "", failed(a.path, err)
	}
	b, err := a.content(f)
	if closeErr := f.Close(); err == nil && closeErr != nil {
		err = failed(a.path, closeErr)
	}
	return string(b), err
}

func (a *Anchor) content(f *os.File) ([]byte, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, failed(a.path, err)
	}
	if !info.Mode().IsRegular() {
		return nil, sigbox.Errorf(sigbox.Invalid, "the anchor %s is no regular file", a.path).
			WithHint("find out who has put it there, and remove it")
	}
	b, err := io.ReadAll(io.LimitReader(f, maxAnchor+1))
	switch {
	case err != nil:
		return nil, failed(a.path, err)
	case len(b) > maxAnchor:
		return nil, store.TooLong(a.path, maxAnchor)
	}
	return b, nil
}

// replace writes text if what is there is what was loaded.
func (a *Anchor) replace(ctx context.Context, text string) error {
	unlock, err := lockFile(ctx, filepath.Join(filepath.Dir(a.path), "."+filepath.Base(a.path)+".lock"))
	if err != nil {
		return failed(a.path, err)
	}
	defer unlock()
	known, loaded := a.known, a.text
	there, err := a.load()
	switch {
	case err != nil && !errors.Is(err, store.ErrNotFound):
		return err
	case known && there != loaded:
		a.known = false
		return sigbox.Errorf(sigbox.Conflict, "%s was written by somebody else", a.path).
			WithHint("does another instance of this log run?").WithCause(store.ErrConflict)
	case ctx.Err() != nil: // nobody waits for it any more
		return a.silent(ctx)
	}
	a.known = false
	if err := atomicfile.Replace(a.path, []byte(text), fileMode); err != nil {
		return failed(a.path, err)
	}
	a.known, a.text = true, text
	return nil
}
