package pebble

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"strings"

	"github.com/cockroachdb/pebble/v2/record"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/sigbox/sigbox"
)

// Pebble takes the first record of its manifest that it cannot read for the end of
// it, torn by a crash. If that was one of a flush, the table that it names goes, and
// the log file that had the rows went long ago. To tell damage from a torn end, each
// manifest has a file beside it that says how long it was whenever it was synced.
//
// That file is synced before Pebble hears that the manifest is: before that, it has
// let go of nothing that the manifest replaces. A part that is torn or damaged is
// left out, so that it never says too much.

const (
	manifestPrefix = "MANIFEST-"
	// syncedSuffix makes the name of the file beside it, which Pebble does not know.
	syncedSuffix = ".synced"
	// noteSize is of one note in it: a length, and the checksum of that.
	noteSize = 8 + 4
	// maxSynced bounds that file. Pebble begins a new manifest long before.
	maxSynced = 64 << 20
)

func (f fuse) isManifest(name string) bool {
	base := f.PathBase(name)
	return strings.HasPrefix(base, manifestPrefix) && !strings.HasSuffix(base, syncedSuffix)
}

// createManifest makes a manifest and the file beside it, with durable names: the
// marker that names the manifest follows.
func (f fuse) createManifest(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	file, err := f.create(name, c)
	if err != nil {
		return nil, err
	}
	notes, err := f.create(name+syncedSuffix, c)
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	if err := f.syncDirOf(name); err != nil {
		return nil, errors.Join(err, notes.Close(), file.Close())
	}
	return &manifestFile{File: file, notes: notes}, nil
}

// manifestFile is a manifest that is being written. Pebble does that in one
// goroutine at a time.
type manifestFile struct {
	vfs.File
	notes vfs.File
	size  int64
}

func (m *manifestFile) Write(p []byte) (int, error) {
	n, err := m.File.Write(p)
	m.size += int64(n)
	return n, err
}

func (m *manifestFile) Sync() error     { return m.note(m.File.Sync) }
func (m *manifestFile) SyncData() error { return m.note(m.File.SyncData) }

// note syncs the manifest and then notes how long it is.
func (m *manifestFile) note(sync func() error) error {
	if err := sync(); err != nil {
		return err
	}
	if _, err := m.notes.Write(appendNote(nil, m.size)); err != nil {
		return err
	}
	return m.notes.SyncData()
}

func (m *manifestFile) Close() error { return errors.Join(m.File.Close(), m.notes.Close()) }

func appendNote(dst []byte, size int64) []byte {
	at := len(dst)
	dst = binary.BigEndian.AppendUint64(dst, uint64(size)) //nolint:gosec // a length
	return binary.BigEndian.AppendUint32(dst, crc32.ChecksumIEEE(dst[at:]))
}

// longestNote gives the greatest length among notes that are whole, 0 for none.
func longestNote(notes []byte) (size int64) {
	for ; len(notes) >= noteSize; notes = notes[noteSize:] {
		n := int64(binary.BigEndian.Uint64(notes)) //nolint:gosec // it is compared below
		if string(appendNote(nil, n)) == string(notes[:noteSize]) {
			size = max(size, n)
		}
	}
	return size
}

// checkManifest makes sure that all of a manifest that was ever synced can be read.
// A store of a version that made no notes is taken as it is.
func (kv *KV) checkManifest(name string) error {
	synced, err := kv.syncedLength(name + syncedSuffix)
	if err != nil || synced == 0 {
		return err
	}
	f, err := kv.fs.Open(name)
	if err != nil {
		return openError(kv.dir, err)
	}
	err = errors.Join(readRecords(f, synced), f.Close())
	if err == nil {
		return nil
	}
	return sigbox.Errorf(sigbox.Fatal, "the store in %s is damaged: the %d bytes of %s that were synced cannot all be read, and rows would be missing", kv.dir, synced, kv.fs.PathBase(name)).
		WithHint("nothing was changed: restore that file, or the directory as a whole, from a copy; docs/operations.md says how").WithCause(err)
}

func (kv *KV) syncedLength(name string) (int64, error) {
	f, err := kv.fs.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, openError(kv.dir, err)
	}
	notes, err := io.ReadAll(io.LimitReader(f, maxSynced))
	if err = errors.Join(err, f.Close()); err != nil {
		return 0, openError(kv.dir, err)
	}
	return longestNote(notes), nil
}

// readRecords reads the records in the first size bytes of a manifest, which end
// with one.
func readRecords(f io.Reader, size int64) error {
	counted := &io.LimitedReader{R: f, N: size}
	records := record.NewReader(counted, 0)
	for {
		r, err := records.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err == nil {
			_, err = io.Copy(io.Discard, r)
		}
		if err != nil {
			return err
		}
	}
	if counted.N > 0 {
		return fmt.Errorf("it is %d bytes too short", counted.N)
	}
	return nil
}
