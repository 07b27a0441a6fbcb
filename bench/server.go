package main

import (
	"context"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// server is a program under measurement, in a directory of its own.
type server struct {
	name string
	url  string
	dir  string
	cmd  *exec.Cmd
	pid  int
	// ready is how long it took from the start of the process to its first
	// answer.
	ready time.Duration
	ended chan struct{}
}

// start runs a program until its ready path answers 200. Args are made from the
// server's address and directory.
func start(ctx context.Context, c config, name, readyPath string, args func(addr, port, dir string) []string) (*server, error) {
	dir, err := os.MkdirTemp(c.work, name+"-")
	if err != nil {
		return nil, err
	}
	addr, port, err := freeAddress(ctx)
	if err != nil {
		return nil, err
	}
	log, err := os.Create(filepath.Join(c.work, filepath.Base(dir)+".log"))
	if err != nil {
		return nil, err
	}
	defer func() { _ = log.Close() }() // the process has its own
	s := &server{name: name, url: "http://" + addr, dir: dir, ended: make(chan struct{})}
	s.cmd = exec.CommandContext(ctx, filepath.Join(c.bin, name), args(addr, port, dir)...) // #nosec G204 -- the programs under measurement
	s.cmd.Stdout, s.cmd.Stderr, s.cmd.Dir = log, log, dir
	// The directory is also the home: nothing of this machine's user is read or written.
	s.cmd.Env = []string{"HOME=" + dir, "PATH=" + os.Getenv("PATH"), "SIGBOX_HOME=" + dir}
	begin := time.Now()
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	s.pid = s.cmd.Process.Pid
	go func() { _ = s.cmd.Wait(); close(s.ended) }()
	if err := s.await(ctx, readyPath); err != nil {
		s.stop()
		said, _ := os.ReadFile(log.Name())
		return nil, fmt.Errorf("%s did not start: %w\n%s", name, err, tail(said, 2000))
	}
	s.ready = time.Since(begin)
	return s, nil
}

// await polls until the server is ready.
func (s *server) await(ctx context.Context, path string) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url+path, nil)
		if err != nil {
			return err
		}
		if resp, err := http.DefaultClient.Do(r); err == nil {
			_ = resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-s.ended:
			return fmt.Errorf("it ended: %s", s.cmd.ProcessState)
		case <-time.After(2 * time.Millisecond):
		}
	}
}

// stop ends the process, politely at first, and removes its directory.
func (s *server) stop() {
	_ = s.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-s.ended:
	case <-time.After(15 * time.Second):
		_ = s.cmd.Process.Kill()
		<-s.ended
	}
	remove(s.dir)
}

// serverUsage is what a server has taken since it was started.
type serverUsage struct {
	cpu     time.Duration // user and system
	written int64         // bytes that went to the disk
}

// used reads the processor time (proc_pid_stat(5), fields 14 and 15, in ticks of 10
// ms) and what was written (proc_pid_io(5)).
func (s *server) used() (u serverUsage, err error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", s.pid))
	if err != nil {
		return u, err
	}
	// The second field, the name, is in parentheses and may hold spaces.
	fields := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
	for _, i := range []int{14 - 3, 15 - 3} {
		n, err := strconv.ParseInt(fields[i], 10, 64)
		if err != nil {
			return u, err
		}
		u.cpu += time.Duration(n) * 10 * time.Millisecond
	}
	u.written, err = procNumber(fmt.Sprintf("/proc/%d/io", s.pid), "write_bytes")
	return u, err
}

// storedBytes is what the files of a server take on the disk.
func (s *server) storedBytes() (n int64) {
	_ = filepath.WalkDir(s.dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil {
			return fs.SkipDir // it has just gone
		}
		if info, err := d.Info(); err == nil {
			if st, ok := info.Sys().(*syscall.Stat_t); ok {
				n += st.Blocks * 512
			}
		}
		return nil
	})
	return n
}

// memory reads a size of proc_pid_status(5), in bytes: VmRSS or VmHWM.
func (s *server) memory(field string) (int64, error) {
	kb, err := procNumber(fmt.Sprintf("/proc/%d/status", s.pid), field)
	return kb << 10, err
}

// procNumber reads the first number after a name in a file of the kernel's.
func procNumber(file, name string) (int64, error) {
	b, err := os.ReadFile(file) // #nosec G304 -- below /proc
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(b)) {
		if value, ok := strings.CutPrefix(line, name+":"); ok {
			return strconv.ParseInt(strings.Fields(value)[0], 10, 64)
		}
	}
	return 0, fmt.Errorf("%s has no %s", file, name)
}

// freeAddress finds a free port on the loopback.
func freeAddress(ctx context.Context) (addr, port string, err error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", "", err
	}
	defer func() { _ = l.Close() }() // whoever asked listens there next
	_, port, err = net.SplitHostPort(l.Addr().String())
	return l.Addr().String(), port, err
}

func tail(b []byte, n int) []byte { return b[max(0, len(b)-n):] }
