package dir

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/atomicfile"
	"github.com/sigbox/sigbox/internal/store"
)

// maxAnchor bounds what an anchor holds, in bytes.
const maxAnchor = 64 << 10

// Anchor is one small text in a file, for a log's anchor. It belongs on another
// disk than the log. Its directory is not made: where it is missing, the disk that
// it is on is most likely not mounted.
type Anchor struct{ path string }

// NewAnchor gives the anchor in a file, which need not exist.
func NewAnchor(path string) *Anchor { return &Anchor{path} }

// Load gives what was stored last, or store.ErrNotFound. That the directory is
// missing is another error.
func (a *Anchor) Load(context.Context) (string, error) {
	f, err := os.Open(a.path)
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
	b, err := io.ReadAll(io.LimitReader(f, maxAnchor+1))
	if err = errors.Join(err, f.Close()); err != nil {
		return "", failed(a.path, err)
	}
	if len(b) > maxAnchor {
		return "", store.TooLong(a.path, maxAnchor)
	}
	return string(b), nil
}

// Store replaces what is there, and returns once that is durable.
func (a *Anchor) Store(_ context.Context, text string) error {
	if err := atomicfile.Replace(a.path, []byte(text), fileMode); err != nil {
		return failed(a.path, err)
	}
	return nil
}
