package atomicfile

import (
	"io"
	"io/fs"
	"os"
	"syscall"

	"github.com/sigbox/sigbox"
)

// Read gives what a regular file holds, of at most limit bytes, and what the system says
// of the file that was read. It waits for nobody: what is no regular file, such as a pipe
// that nothing writes to, is refused. Errors: Invalid for that, TooLarge, and those of
// the system as they are, [fs.ErrNotExist] among them.
func Read(path string, limit int64) ([]byte, fs.FileInfo, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) // #nosec G304 -- the caller's own
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = f.Close() }() // only read from
	info, err := f.Stat()
	if err != nil {
		return nil, nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, nil, sigbox.Errorf(sigbox.Invalid, "%s: expected a regular file", path)
	}
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, nil, err
	}
	if int64(len(b)) > limit {
		return nil, nil, sigbox.Errorf(sigbox.TooLarge, "%s: expected a file of at most %d bytes", path, limit)
	}
	return b, info, nil
}
