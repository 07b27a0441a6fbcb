// Command bench measures sigbox and its peers side by side: the same requests,
// over the same public wire formats, from the same load program, on the same
// machine, one after the other. It prints Markdown tables.
//
// Each server runs on a random loopback port with a temporary directory, and is
// ended and cleaned up afterwards. The load program shares the machine with the
// server that it loads; the processor time per request, which is read from the
// kernel, says what the server alone spends.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// config is what the flags say.
type config struct {
	bin     string
	clients []int
	span    time.Duration
	parts   string
	alone   bool
	runs    int
	grow    int
	// Where bundles of the public-good instance are, for the part verify.
	conformance, sigstoreGo string

	work string // temporary directory
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	var c config
	clients := flag.String("clients", "1,64,1024,2048", "how many clients at once, one measurement each")
	flag.StringVar(&c.bin, "bin", "", "directory of the programs")
	flag.DurationVar(&c.span, "span", 10*time.Second, "how long a measurement lasts")
	flag.StringVar(&c.parts, "parts", "processes,verify,images,log,certificates,timestamps", "what to measure")
	flag.BoolVar(&c.alone, "alone", false, "measure sigbox without its peers")
	flag.IntVar(&c.runs, "runs", 15, "how often each whole process is run; the median counts")
	flag.IntVar(&c.grow, "grow", 200_000, "how many entries to fill logs with, to see what an entry costs as they grow; 0 for none")
	flag.StringVar(&c.conformance, "conformance", "", "directory of the conformance suite's bundles, where there is one")
	flag.StringVar(&c.sigstoreGo, "sigstore-go", "", "directory of sigstore-go's source")
	flag.Parse()
	for s := range strings.SplitSeq(*clients, ",") {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 || n > 20000 {
			return fmt.Errorf("-clients %q: expected numbers from 1 to 20000 with commas between", *clients)
		}
		c.clients = append(c.clients, n)
	}
	if err := raiseFileLimit(); err != nil {
		return err
	}
	work, err := os.MkdirTemp("", "sigbox-bench-")
	if err != nil {
		return err
	}
	defer remove(work)
	c.work = work
	t := newTable()
	for _, part := range []struct {
		name string
		run  func(context.Context, config, *table) error
	}{
		// Processes first, while this one is small: a child's peak memory begins
		// with what its parent had.
		{"processes", measureProcesses}, {"verify", measureVerify}, {"images", measureImages}, {"log", measureLog}, {"certificates", measureCertificates}, {"timestamps", measureTimestamps},
	} {
		if !strings.Contains(","+c.parts+",", ","+part.name+",") {
			continue
		}
		if err := part.run(ctx, c, t); err != nil {
			return fmt.Errorf("%s: %w", part.name, err)
		}
	}
	return t.write(os.Stdout)
}

func remove(dir string) {
	if err := os.RemoveAll(dir); err != nil {
		say("%v", err)
	}
}

// raiseFileLimit makes room for the sockets of many clients.
func raiseFileLimit() error {
	var l syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l); err != nil {
		return err
	}
	l.Cur = l.Max
	return syscall.Setrlimit(syscall.RLIMIT_NOFILE, &l)
}

func say(format string, args ...any) { fmt.Fprintf(os.Stderr, "bench: "+format+"\n", args...) }
