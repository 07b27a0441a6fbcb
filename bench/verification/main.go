// Command verification measures the verify library beside sigstore-go, in one
// process on one core: the same bundles and trust roots, from the bytes of a
// bundle to the verdict, in turn. It prints a Markdown table.
//
// Beside each stands the sum of the bare signature checks that the bundle needs:
// calls of crypto/ecdsa and its like, with keys, messages and signatures at hand; a
// message is hashed as part of its check. Nobody can be faster who checks them all.
// For a bundle with a large statement the table is followed by what it takes to read
// it besides with libraries: one pass of jsontext over bundle and statement, and base64.
// Three states are measured:
//
//   - cold: a new verifier, which has only the parsed trust root;
//   - warm: a verifier that has seen another bundle of the same authorities, so
//     that it may know the authorities' own certificates to be good;
//   - seen: a verifier that has seen this very bundle.
//
// A sum is of what has to be checked in that state by who remembers all that may
// be remembered: authorities' certificates when warm, also the certificate, its
// SCTs and the checkpoint when seen. Promises, timestamps and the artifact's
// signature are checked each time.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"runtime"
)

// Goals, as fractions of sigstore-go's and multiples of the checks' time.
const (
	goalChecks  = 1.25
	goalCold    = 0.7
	goalWarm    = 0.4
	goalBytes   = 0.1
	goalScaling = 1.8
)

// options are what the flags say.
type options struct {
	material    string
	conformance string
	sigstore    string
	rounds      int
	profile     string
	only        string
}

func main() {
	var o options
	flag.StringVar(&o.material, "material", "", "directory with bundles of an instance of our own, as the program bench makes it")
	flag.StringVar(&o.conformance, "conformance", "", "directory of the conformance suite's bundles; passed over where it is not there")
	flag.StringVar(&o.sigstore, "sigstore-go", "", "directory of sigstore-go's source, for its examples where there is no conformance suite")
	flag.IntVar(&o.rounds, "rounds", 25, "how often each is measured; the median counts")
	flag.StringVar(&o.only, "only", "", "measure those whose name contains this; for profiles name and state")
	flag.StringVar(&o.profile, "profile", "", "do not compare: verify with sigbox alone for some seconds, and write processor profiles below this directory")
	flag.Parse()
	if err := run(o, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "verification:", err)
		os.Exit(1)
	}
}

func run(o options, w io.Writer) error {
	runtime.GOMAXPROCS(1)
	cases, err := gather(o)
	if err != nil {
		return err
	}
	if len(cases) == 0 {
		return errors.New("nothing to measure")
	}
	if o.profile != "" {
		return profile(o, cases)
	}
	header := []string{
		"| bundle | state | bare checks | sigbox | of the checks (goal 1.25) | sigstore-go | of its time (goal 0.70 cold, 0.40 warm) | of its bytes (goal 0.10) |",
		"| --- | --- | --: | --- | --: | --- | --: | --: |",
	}
	for _, line := range header {
		if _, err := fmt.Fprintln(w, line); err != nil {
			return err
		}
	}
	for i := range cases {
		if err := cases[i].measure(w, o.rounds); err != nil {
			return fmt.Errorf("%s: %w", cases[i].name, err)
		}
	}
	if err := measureReading(w, cases, o.rounds); err != nil {
		return err
	}
	return measureScaling(w, cases, o.rounds)
}
