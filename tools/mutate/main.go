// Mutate takes out each check of the verification in turn and sees a test fail.
//
// Every refusal in the sources is a site: the condition of an if or case that ends
// in an error, each operand of its ||, a result of type bool, an error handed on, a
// bound given to a reader. All sites are compiled into the test binaries at once,
// each behind a switch (mutant schemata), by way of go build's -overlay, so that
// the working tree stays as it is. A first run of each test alone records at which
// sites it would notice a difference: where a condition came true that the mutant
// would have false. Then each mutant is run with those tests, quick ones first,
// until one fails.
//
// A survivor is a check that no test misses. That is an error, unless
// exceptions.txt says why nothing can miss it.
//
// Tests named after advisories (TestGHSA_…, TestCVE_…) must each notice the absence
// of at least one check. With -advisories all that they notice is listed.
//
// usage: mutate [flags] PACKAGE…
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"regexp"
	"runtime"
	"strings"
	"time"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "mutate:", err)
		os.Exit(1)
	}
}

func run() error {
	also := flag.String("also", "", "packages, comma-separated, that only tests named after advisories are held against")
	excepted := flag.String("exceptions", "", "file of mutants that may survive, with the reason")
	advisories := flag.Bool("advisories", false, "list which checks each advisory's test misses")
	list := flag.Bool("list", false, "list the sites and end")
	only := flag.String("only", "", "regular expression: try the mutants that it matches")
	skip := flag.String("skip", "^TestConformance|Limits$", "regular expression: tests not to run; those need files from elsewhere, or measure memory")
	keep := flag.String("keep", "", "directory to keep the mutated sources and the test binaries in")
	jobs := flag.Int("j", runtime.NumCPU(), "how many tests to run at the same time")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	start := time.Now()
	judged := flag.Args()
	if len(judged) == 0 {
		judged = []string{"."}
	}
	var others []string
	if *also != "" {
		others = strings.Split(*also, ",")
	}
	packages, err := load(ctx, judged, others)
	if err != nil {
		return err
	}
	if *list {
		for _, p := range packages {
			for _, s := range p.sites {
				fmt.Printf("%s: %s\n", s.place(), s)
			}
		}
		return nil
	}
	dir := *keep
	if dir == "" {
		if dir, err = os.MkdirTemp("", "mutate"); err != nil {
			return err
		}
		defer func() { _ = os.RemoveAll(dir) }() // in the system's temporary directory
	}
	wanted, err := regexp.Compile(*only)
	if err != nil {
		return err
	}
	skipped, err := regexp.Compile(*skip)
	if err != nil {
		return err
	}
	known, err := readExceptions(*excepted)
	if err != nil {
		return err
	}
	l := &laboratory{dir: dir, packages: packages, jobs: *jobs, skip: skipped, only: wanted, exceptions: known, allAdvisories: *advisories}
	if err := l.build(ctx); err != nil {
		return err
	}
	say("%d sites in %d packages, built after %s", l.sites(), len(packages), since(start))
	if err := l.trace(ctx); err != nil {
		return err
	}
	say("%d tests traced after %s", len(l.tests), since(start))
	if err := l.tryAll(ctx); err != nil {
		return err
	}
	say("all mutants tried after %s", since(start))
	return l.report(*only == "")
}

func say(format string, args ...any) { fmt.Printf("mutate: "+format+"\n", args...) }

func since(t time.Time) time.Duration { return time.Since(t).Round(time.Second) }
