package app

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/remote"
)

// PublishedTUF is where the TUF repository of an instance is, for who can read its
// data directory.
type PublishedTUF struct {
	// Files is the URL of its directory.
	Files string
	// URL is where clients reach it.
	URL string
	// First is the root that it began with.
	First []byte
}

// OpenTUF finds the TUF repository in a data directory, whether an instance runs there
// or not. Nothing of it is verified. Errors: NotFound when there is no instance.
func OpenTUF(dir string) (PublishedTUF, error) {
	s, err := loadState(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return PublishedTUF{}, sigbox.Errorf(sigbox.NotFound, "there is no instance in %s", dir).WithHint("sigbox serve --data %s makes one", dir)
	case err != nil:
		return PublishedTUF{}, diskError(dir, err)
	}
	first, err := os.ReadFile(filepath.Join(dir, tufDir, "1.root.json")) // #nosec G304 -- the operator's own
	if err != nil {
		return PublishedTUF{}, diskError(dir, err)
	}
	files, err := remote.FileMirror(filepath.Join(dir, tufDir))
	return PublishedTUF{Files: files, URL: s.URL + "/tuf", First: first}, err
}
