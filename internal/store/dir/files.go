package dir

import (
	"io"
	"os"
)

// Writes are the ways in which a [Blob] changes its directory. Names are relative to
// it.
type Writes interface {
	// Create makes a new file.
	Create(name string) (File, error)
	// Mkdir makes a directory.
	Mkdir(name string) error
	// Link gives a file a further name, which nothing has.
	Link(old, name string) error
	// Rename gives a file another name, in the place of what has it.
	Rename(old, name string) error
	// Remove removes a file or an empty directory.
	Remove(name string) error
	// RemoveAll removes a directory with all that is in it.
	RemoveAll(name string) error
	// OpenDir opens a directory, to make the names in it durable.
	OpenDir(name string) (Dir, error)
}

// File is a file that is being written.
type File interface {
	io.WriteCloser
	// Sync makes what was written durable.
	Sync() error
}

// Dir is a directory that is open.
type Dir interface {
	// Sync makes the names in it durable.
	Sync() error
	io.Closer
}

// rooted is Writes on a directory of the machine.
type rooted struct{ *os.Root }

func (r rooted) Create(name string) (File, error) {
	return r.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, fileMode)
}

func (r rooted) Mkdir(name string) error { return r.Root.Mkdir(name, dirMode) }

func (r rooted) OpenDir(name string) (Dir, error) { return r.Open(name) }
