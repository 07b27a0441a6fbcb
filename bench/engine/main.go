// Command engine fills the log engine with small leaves, without a server or a
// protocol around it, and prints how it fares as the log grows: entries a second,
// processor time, memory, bytes written and stored; then how long a restart takes,
// reading all of it, and checking all of it.
//
//	go -C bench run ./engine -entries 10000000 -dir /var/tmp/engine
//
// The callers share the process with the log: 1,024 goroutines that wait.
package main

import (
	"context"
	"crypto/ed25519"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/metrics"
	"runtime/pprof"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/sigbox/sigbox/internal/app/pace"
	"github.com/sigbox/sigbox/internal/store"
	"github.com/sigbox/sigbox/internal/store/dir"
	"github.com/sigbox/sigbox/internal/store/pebble"
	"github.com/sigbox/sigbox/internal/tlog"
	"github.com/sigbox/sigbox/wire/note"
)

// config is what the flags say.
type config struct {
	entries, size, callers, windows int
	dir                             string
	reopen                          bool // of a log that is there
	cpuprofile, memprofile          string
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var c config
	flag.IntVar(&c.entries, "entries", 1_000_000, "how many entries are added, to those that the log has")
	flag.IntVar(&c.size, "size", 100, "bytes of an entry")
	flag.IntVar(&c.callers, "callers", 1024, "how many callers at once")
	flag.IntVar(&c.windows, "windows", 10, "how many lines of figures")
	flag.StringVar(&c.dir, "dir", "", "directory of the log, which is kept; a temporary one if empty")
	flag.BoolVar(&c.reopen, "reopen", false, "open the log that is in the directory, read and check it: for what a fresh process takes")
	flag.StringVar(&c.cpuprofile, "cpuprofile", "", "file for a profile of the last window")
	flag.StringVar(&c.memprofile, "memprofile", "", "file for a profile of what is in use after it")
	flag.Parse()
	if err := run(ctx, c); err != nil {
		fmt.Fprintln(os.Stderr, "engine:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, c config) error {
	if c.dir == "" {
		temp, err := os.MkdirTemp("", "sigbox-engine-")
		if err != nil {
			return err
		}
		defer func() { _ = os.RemoveAll(temp) }()
		c.dir = temp
	}
	defer pace.Server(os.Getenv)() // as sigbox serve runs
	if c.reopen {
		return again(ctx, c)
	}
	if err := fill(ctx, c); err != nil {
		return err
	}
	return inFreshProcess(ctx, c)
}

// inFreshProcess restarts the log in a process of its own, whose memory is its own.
func inFreshProcess(ctx context.Context, c config) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	p, err := os.StartProcess(self, []string{self, "-reopen", "-dir", c.dir, "-size", fmt.Sprint(c.size)}, &os.ProcAttr{Files: []*os.File{nil, os.Stdout, os.Stderr}})
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = p.Kill() })
	defer stop()
	s, err := p.Wait()
	if err == nil && !s.Success() {
		err = errors.New("the second process failed")
	}
	return err
}

// opened is a log with its stores.
type opened struct {
	log  *tlog.Log
	cfg  tlog.Config
	kv   *pebble.KV
	blob *dir.Blob
}

func open(ctx context.Context, path string) (*opened, error) {
	kv, err := pebble.Open(ctx, filepath.Join(path, "db"), pebble.Options{})
	if err != nil {
		return nil, err
	}
	blob, err := dir.Open(filepath.Join(path, "tiles"))
	if err != nil {
		return nil, errors.Join(err, kv.Close())
	}
	signer, err := note.NewSigner("engine.example.com", ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)))
	if err != nil {
		return nil, err
	}
	o := &opened{kv: kv, blob: blob, cfg: tlog.Config{
		Origin: "engine.example.com", KV: store.WithPrefix(kv, "log/"), Blob: blob, Signers: []*note.Signer{signer}, KeyOf: tlog.LeafKey,
	}}
	if o.log, err = tlog.Open(ctx, o.cfg); err != nil {
		return nil, errors.Join(err, kv.Close(), blob.Close())
	}
	return o, nil
}

func (o *opened) close() error {
	return errors.Join(o.log.Close(context.Background()), o.kv.Close(), o.blob.Close())
}

// leaf is entry number i.
func leaf(i uint64, size int) []byte {
	b := make([]byte, max(size, 8))
	binary.BigEndian.PutUint64(b, i)
	return b
}

// fill logs all entries, and prints a line for each window.
func fill(ctx context.Context, c config) error {
	o, err := open(ctx, c.dir)
	if err != nil {
		return err
	}
	fmt.Println("| entries | entries/s | cpu µs/entry | in use MB | resident MB | peak MB | written B/entry | stored B/entry |")
	fmt.Println("| --: | --: | --: | --: | --: | --: | --: | --: |")
	var first, last float64
	size := int(o.log.Head().Size) // #nosec G115 -- far from that
	before := measure(c.dir, false)
	for w := range c.windows {
		if w == c.windows-1 {
			stop, err := profile(c)
			if err != nil {
				return errors.Join(err, o.close())
			}
			defer stop()
		}
		from, to := size+w*c.entries/c.windows, size+(w+1)*c.entries/c.windows
		if err := window(ctx, o.log, uint64(from), uint64(to), c); err != nil { // #nosec G115 -- not negative
			return errors.Join(err, o.close())
		}
		now := measure(c.dir, w == c.windows-1)
		n := float64(to - from)
		last = n / now.at.Sub(before.at).Seconds()
		if w == 0 {
			first = last
		}
		stored := ""
		if now.stored > 0 {
			stored = fmt.Sprintf("%.0f", float64(now.stored)/float64(to))
		}
		fmt.Printf("| %d | %.0f | %.1f | %d | %d | %d | %.0f | %s |\n", to, last, float64((now.cpu-before.cpu).Microseconds())/n,
			now.live>>20, now.resident>>20, now.peak>>20, float64(now.written-before.written)/n, stored)
		before = now
	}
	fmt.Printf("\n%.0f entries/s at the start, %.0f at the end: %.0f %%. Resident %d MB, at most %d.\n", first, last, 100*last/first, before.resident>>20, before.peak>>20)
	return o.close()
}

// profile begins the profiles that were asked for; stop ends and writes them.
func profile(c config) (stop func(), err error) {
	var files []*os.File
	for _, name := range []string{c.cpuprofile, c.memprofile} {
		var f *os.File
		if name != "" {
			if f, err = os.Create(name); err != nil { // #nosec G304 -- from the command line
				return nil, err
			}
		}
		files = append(files, f)
	}
	if files[0] != nil {
		if err := pprof.StartCPUProfile(files[0]); err != nil {
			return nil, err
		}
	}
	return func() {
		pprof.StopCPUProfile()
		if files[1] != nil {
			if err := pprof.WriteHeapProfile(files[1]); err != nil {
				fmt.Fprintln(os.Stderr, "engine:", err)
			}
		}
		for _, f := range files {
			_ = f.Close() // nil is fine
		}
	}, nil
}

// window logs the entries in [from, to).
func window(ctx context.Context, l *tlog.Log, from, to uint64, c config) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	next := atomic.Uint64{}
	next.Store(from)
	var wg sync.WaitGroup
	for range c.callers {
		wg.Go(func() {
			for i := next.Add(1) - 1; i < to; i = next.Add(1) - 1 {
				if _, err := l.Add(ctx, tlog.Leaf{Data: leaf(i, c.size)}); err != nil {
					cancel(err)
					return
				}
			}
		})
	}
	wg.Wait()
	return context.Cause(ctx)
}

// again opens the log in a fresh process, reads all of it and checks it.
func again(ctx context.Context, c config) error {
	start := time.Now()
	o, err := open(ctx, c.dir)
	if err != nil {
		return err
	}
	size := o.log.Head().Size
	fmt.Printf("Restart with %d entries: ready after %.2f s, %d MB resident.\n", size, time.Since(start).Seconds(), measure("", false).resident>>20)
	if err := readAll(ctx, o.log, size); err != nil {
		return errors.Join(err, o.close())
	}
	if err := retries(ctx, o.log, size, c); err != nil {
		return errors.Join(err, o.close())
	}
	start = time.Now()
	r, err := tlog.Check(ctx, o.cfg, tlog.CheckOptions{})
	if err == nil && !r.OK() {
		err = fmt.Errorf("the check found %+v", r.Findings[0])
	}
	if err != nil {
		return errors.Join(err, o.close())
	}
	fmt.Printf("Checking all of it, with its rows: %.0f entries/s. Peak %d MB.\n", float64(size)/time.Since(start).Seconds(), measure("", false).peak>>20)
	return o.close()
}

// readAll reads all entry bundles, as a monitor does.
func readAll(ctx context.Context, l *tlog.Log, size uint64) error {
	start := time.Now()
	for n := range size / tlog.TileWidth {
		if _, err := l.Entries(ctx, n, tlog.TileWidth); err != nil {
			return err
		}
	}
	fmt.Printf("Reading all full bundles, one after the other, each checked: %.0f entries/s.\n", float64(size)/time.Since(start).Seconds())
	return nil
}

// retries adds entries that are there, spread over all of the log.
func retries(ctx context.Context, l *tlog.Log, size uint64, c config) error {
	const n = 50_000
	start := time.Now()
	var next atomic.Uint64
	var failed atomic.Pointer[error]
	var wg sync.WaitGroup
	for range 64 {
		wg.Go(func() {
			for i := next.Add(1); i <= n; i = next.Add(1) {
				r, err := l.Add(ctx, tlog.Leaf{Data: leaf(i*0x9e3779b97f4a7c15%size, c.size)})
				if err == nil && !r.Existing {
					err = errors.New("an entry was not found")
				}
				if err != nil {
					failed.Store(&err)
					return
				}
			}
		})
	}
	wg.Wait()
	if err := failed.Load(); err != nil {
		return *err
	}
	fmt.Printf("Adding entries again, spread over all of it: %.0f entries/s.\n", n/time.Since(start).Seconds())
	return nil
}

// figures are those of this process and of a directory.
type figures struct {
	at                              time.Time
	cpu                             time.Duration
	resident, peak, written, stored int64
	live                            uint64 // of the heap, when garbage was last collected
}

func measure(dir string, stored bool) figures {
	f := figures{at: time.Now()}
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) == nil {
		f.cpu = time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	f.resident, f.peak = field("/proc/self/status", "VmRSS:")<<10, field("/proc/self/status", "VmHWM:")<<10
	f.written = field("/proc/self/io", "write_bytes:")
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(live)
	f.live = live[0].Value.Uint64()
	if stored {
		f.stored = bytesBelow(dir)
	}
	return f
}

// field reads a number from a file of the kernel's; 0 where there is none.
func field(file, name string) (n int64) {
	b, err := os.ReadFile(file)
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, name); ok {
			_, _ = fmt.Sscan(rest, &n)
		}
	}
	return n
}

// bytesBelow is what the files below a directory take, in blocks of the disk.
func bytesBelow(dir string) (n int64) {
	_ = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil // it has just gone
		}
		if info, err := d.Info(); err == nil {
			if s, ok := info.Sys().(*syscall.Stat_t); ok {
				n += s.Blocks * 512
			}
		}
		return nil
	})
	return n
}
