// Package audit is a log of what was done and by whom: a JSON object a line, each with
// the hash of the line before it.
//
//	l, err := audit.Open(audit.Config{Path: "/var/log/sigbox/audit.jsonl"})
//	err = l.Append(ctx, audit.Event{Event: "user.add", Detail: …})
//
// An event is durable when Append returns: all that wait at the same time are written
// and synced together. Whoever can write to the file can replace all of it; that lines
// were changed or taken out of the middle, or lost in a crash, shows (see [Verify]).
package audit

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/sigbox/sigbox"
)

const (
	defaultMaxBytes = 100 << 20
	defaultKeep     = 10
	// maxLine bounds a line, and maxPending the lines that wait to be written.
	maxLine    = 64 << 10
	maxPending = 16384
	filePerm   = 0o600
)

// Event is a line of the log. Empty fields are left out.
type Event struct {
	Time time.Time `json:"time"`
	// Event names what was done, such as "certificate" or "user.add".
	Event string `json:"event"`
	// Request is the request's id, Address where it came from, By who did it on this
	// machine.
	Request string `json:"request,omitempty"`
	Address string `json:"address,omitempty"`
	By      string `json:"by,omitempty"`
	// Of certificates: serial number and key's SHA-256 in hex, who is certified, and
	// the place in the CT log.
	Serial     string  `json:"serial,omitempty"`
	Key        string  `json:"key,omitempty"`
	Subject    string  `json:"subject,omitempty"`
	Issuer     string  `json:"issuer,omitempty"`
	IssuerType string  `json:"issuerType,omitempty"`
	CTIndex    *uint64 `json:"ctIndex,omitempty"`
	// Claim is the SHA-256 of the token's claim sub, Token of what its signature is over.
	Claim string `json:"claim,omitempty"`
	Token string `json:"token,omitempty"`
	// Outcome is the class of a refusal, and Count how many there were.
	Outcome string `json:"outcome,omitempty"`
	Count   uint64 `json:"count,omitzero"`
	// Detail is what else there is to say.
	Detail map[string]string `json:"detail,omitempty"`
	// Prev is the SHA-256 of the line before, in hex, "" for the first of all.
	Prev string `json:"prev"`
}

// Config is what a Log needs. Path or Writer is required.
type Config struct {
	// Path is the file, which only its owner can read. It is made if it does not exist.
	Path string
	// Writer takes the lines in the place of a file. They are neither synced nor rotated.
	Writer io.Writer
	// MaxBytes is how large the file becomes before it is renamed to PATH.1, 100 MiB if
	// 0; and Keep how many of those there are, 10 if 0. The oldest are deleted.
	MaxBytes int64
	Keep     int
	// Now is the clock; nil is time.Now.
	Now func() time.Time
}

// Log is an open log. It is safe for concurrent use.
type Log struct {
	cfg  Config
	work chan struct{} // has a value when something waits
	done chan struct{} // closed when the writer has ended

	mu     sync.Mutex
	queue  []*entry // guarded by mu
	closed bool     // guarded by mu
	reopen bool     // guarded by mu; the file is to be opened anew
	err    error    // why the last batch was not written; guarded by mu

	// Of the writer alone.
	lock *lock // nil without a file
	file *os.File
	size int64  // of what is whole
	prev string // of the line to come
}

// entry is an event that waits.
type entry struct {
	event Event
	done  chan error // one slot
	err   error      // why it cannot be a line; of the writer alone
}

// Open opens a log and goes on where it was. Errors: Invalid for a file that cannot be
// one, Conflict for one that another process writes.
func Open(cfg Config) (*Log, error) {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.MaxBytes == 0 {
		cfg.MaxBytes = defaultMaxBytes
	}
	if cfg.Keep == 0 {
		cfg.Keep = defaultKeep
	}
	l := &Log{cfg: cfg, work: make(chan struct{}, 1), done: make(chan struct{})}
	if cfg.Writer == nil {
		l.lock = lockOf(cfg.Path)
		if err := l.open(); err != nil {
			l.lock.release()
			return nil, err
		}
	}
	go l.run()
	return l, nil
}

// Append writes an event, whose Time and Prev it fills in, and returns when it is
// durable, or ctx ends: then it may still be written. Errors are of kind Unavailable.
func (l *Log) Append(ctx context.Context, e Event) error {
	w := &entry{event: e, done: make(chan error, 1)}
	w.event.Time = l.cfg.Now().UTC()
	if err := l.enqueue(w); err != nil {
		return err
	}
	select {
	case err := <-w.done:
		return err
	case <-ctx.Done():
		return sigbox.Errorf(sigbox.Unavailable, "audit log: given up").WithCause(ctx.Err())
	}
}

func (l *Log) enqueue(w *entry) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed || len(l.queue) >= maxPending {
		return unavailable(errors.New("it is closed, or too much waits"))
	}
	l.queue = append(l.queue, w)
	l.wake()
	return nil
}

// wake has the writer look. It is called with mu held, before closed is set.
func (l *Log) wake() {
	select {
	case l.work <- struct{}{}:
	default:
	}
}

// Reopen has the file opened anew before the next event, as after somebody has renamed
// it.
func (l *Log) Reopen() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.reopen = true
}

// Err says why events cannot be written, nil if they can as far as is known.
func (l *Log) Err() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err == nil {
		return nil
	}
	return unavailable(l.err)
}

func unavailable(cause error) error {
	return sigbox.Errorf(sigbox.Unavailable, "the audit log cannot be written").WithHint("the server's log says why").WithCause(cause)
}

// Close writes what waits, and ends.
func (l *Log) Close() error {
	l.mu.Lock()
	first := !l.closed
	if first {
		l.closed = true
		close(l.work)
	}
	l.mu.Unlock()
	<-l.done
	if !first || l.lock == nil {
		return nil
	}
	defer l.lock.release()
	if l.file == nil {
		return nil
	}
	return l.file.Close()
}

// run writes what waits, all of it at a time.
func (l *Log) run() {
	defer close(l.done)
	for range l.work {
		l.flush()
	}
	l.flush()
}

func (l *Log) flush() {
	l.mu.Lock()
	batch, reopen := l.queue, l.reopen
	l.queue, l.reopen = nil, false
	l.mu.Unlock()
	if len(batch) == 0 {
		return
	}
	err := l.write(batch, reopen)
	l.mu.Lock()
	l.err = err
	l.mu.Unlock()
	if err != nil {
		err = unavailable(err)
	}
	for _, w := range batch {
		w.done <- cmp.Or(w.err, err)
	}
}

// write makes a batch durable, or none of it, but for events that cannot be lines.
func (l *Log) write(batch []*entry, reopen bool) error {
	if l.cfg.Writer != nil {
		text, prev := l.lines(batch)
		_, err := l.cfg.Writer.Write(text)
		if err == nil {
			l.prev = prev
		}
		return err
	}
	if l.file == nil || reopen {
		if err := l.open(); err != nil {
			return err
		}
	}
	if l.size >= l.cfg.MaxBytes {
		if err := l.rotate(); err != nil {
			return err
		}
	}
	text, prev := l.lines(batch)
	_, err := l.file.Write(text)
	if err == nil {
		err = l.file.Sync()
	}
	if err != nil { // half a line, perhaps: it is opened anew, without
		return errors.Join(err, l.file.Truncate(l.size), l.drop())
	}
	l.size, l.prev = l.size+int64(len(text)), prev
	return nil
}

// drop closes the file, so that it is opened anew.
func (l *Log) drop() error {
	err := l.file.Close()
	l.file = nil
	return err
}

// lines writes events, each with the hash of the one before it. One that cannot be a line
// is left out, and keeps no other from being written.
func (l *Log) lines(batch []*entry) (text []byte, prev string) {
	prev = l.prev
	for _, w := range batch {
		w.event.Prev = prev
		line, err := json.Marshal(w.event, json.Deterministic(true))
		if err == nil && len(line) > maxLine {
			err = fmt.Errorf("a line of %d bytes, expected at most %d", len(line), maxLine)
		}
		if err != nil {
			w.err = sigbox.Errorf(sigbox.Unavailable, "the audit log cannot have this event").WithCause(err)
			continue
		}
		prev = hashOf(line)
		text = append(append(text, line...), '\n')
	}
	return text, prev
}

func hashOf(line []byte) string {
	sum := sha256.Sum256(line)
	return hex.EncodeToString(sum[:])
}

// open opens the file and finds its last line. What a crash has left of one that was not
// acknowledged is cut off.
func (l *Log) open() error {
	if l.file != nil {
		if err := l.drop(); err != nil {
			return err
		}
	}
	f, err := l.openFile()
	if err != nil {
		return err
	}
	size, prev, err := lastLine(f)
	if err == nil {
		err = f.Truncate(size)
	}
	if err == nil {
		err = f.Chmod(filePerm) // one that was there may have had another mode
	}
	if err == nil && prev == "" {
		prev, err = l.before()
	}
	if err == nil {
		err = syncDir(filepath.Dir(l.cfg.Path))
	}
	if err != nil {
		return errors.Join(sigbox.Errorf(sigbox.Invalid, "the audit log %s: %w", l.cfg.Path, err), f.Close())
	}
	l.file, l.size, l.prev = f, size, prev
	return nil
}

// openFile opens the file, which nobody else writes.
func (l *Log) openFile() (*os.File, error) {
	err := l.lock.take()
	if sigbox.KindOf(err) == sigbox.Conflict {
		return nil, sigbox.Errorf(sigbox.Conflict, "the audit log %s: %w", l.cfg.Path, err)
	}
	var f *os.File
	if err == nil {
		f, err = os.OpenFile(l.cfg.Path, os.O_RDWR|os.O_APPEND|os.O_CREATE, filePerm)
	}
	if err != nil {
		return nil, sigbox.Errorf(sigbox.Invalid, "cannot open the audit log: %w", err).WithHint("its directory has to exist, and this user to be able to write there")
	}
	return f, nil
}

// before gives the hash of the last line of the file that was renamed last, "" if there
// is none. One that somebody has renamed to another name is known from this process.
func (l *Log) before() (string, error) {
	if l.prev != "" {
		return l.prev, nil
	}
	f, err := os.Open(l.old(1))
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }() // only read from
	_, prev, err := lastLine(f)
	return prev, err
}

// lastLine gives the size of a file up to the end of its last line, and the hash of that;
// what follows was never acknowledged.
func lastLine(f *os.File) (size int64, prev string, err error) {
	info, err := f.Stat()
	if err != nil {
		return 0, "", err
	}
	if !info.Mode().IsRegular() {
		return 0, "", sigbox.Errorf(sigbox.Invalid, "it is no file")
	}
	size = info.Size()
	if size == 0 {
		return 0, "", nil
	}
	b := make([]byte, min(size, 2*maxLine))
	if _, err := f.ReadAt(b, size-int64(len(b))); err != nil {
		return 0, "", err
	}
	whole := bytes.LastIndexByte(b, '\n') + 1
	if whole == 0 && size > maxLine {
		return 0, "", sigbox.Errorf(sigbox.Invalid, "it has no lines")
	}
	size -= int64(len(b) - whole)
	if whole == 0 {
		return size, "", nil
	}
	line := b[:whole-1]
	return size, hashOf(line[bytes.LastIndexByte(line, '\n')+1:]), nil
}

// old names the nth file before the present one.
func (l *Log) old(n int) string { return l.cfg.Path + "." + strconv.Itoa(n) }

// rotate renames the file and begins another, which goes on from its last line.
func (l *Log) rotate() error {
	if err := os.Remove(l.old(l.cfg.Keep)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for n := l.cfg.Keep - 1; n >= 0; n-- {
		from := l.old(n)
		if n == 0 {
			from = l.cfg.Path
		}
		if err := os.Rename(from, l.old(n+1)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return l.open()
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Report is what [Verify] has found.
type Report struct {
	Lines       int
	First, Last time.Time
	// Start is the hash that the first line names as the one before it, End that of the
	// last line.
	Start, End string
}

// Verify reads a log and checks that each line follows the one before it; prev is the
// hash of the line before the first one, "" to take what the first one says. Errors are
// of kind NotVerified and name the line.
func Verify(r io.Reader, prev string) (Report, error) {
	var rep Report
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 0, 4096), maxLine+1)
	for lines.Scan() {
		var e Event
		rep.Lines++
		if err := json.Unmarshal(lines.Bytes(), &e, json.RejectUnknownMembers(true)); err != nil {
			return rep, sigbox.Errorf(sigbox.NotVerified, "line %d is no line of an audit log: it was changed, or cut by a crash", rep.Lines).WithCause(err)
		}
		if rep.Lines == 1 {
			rep.Start, rep.First = e.Prev, e.Time
			if prev == "" {
				prev = e.Prev
			}
		}
		if e.Prev != prev {
			return rep, sigbox.Mismatch(sigbox.NotVerified, fmt.Sprintf("line %d does not follow the one before it: lines were changed or taken out", rep.Lines), quoted(prev), quoted(e.Prev))
		}
		prev, rep.Last = hashOf(lines.Bytes()), e.Time
	}
	rep.End = prev
	if err := lines.Err(); err != nil {
		return rep, sigbox.Errorf(sigbox.NotVerified, "line %d: %w", rep.Lines+1, err)
	}
	return rep, nil
}

// quoted writes a hash, or that there is none.
func quoted(hash string) string {
	if hash == "" {
		return "the first line of all"
	}
	return hash[:min(len(hash), 64)]
}
