package main

import (
	"context"
	"encoding/hex"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/app"
	"github.com/sigbox/sigbox/internal/remote"
	"github.com/sigbox/sigbox/internal/tlog"
	"github.com/sigbox/sigbox/wire/entry"
)

type fsckFlags struct {
	logFlags
	data   dataFlags
	repair bool
	// hashesOnly leaves out what entries say.
	hashesOnly bool
}

func newLogFsckCommand(e *env) *cobra.Command {
	var f fsckFlags
	cmd := &cobra.Command{
		Use:   "fsck",
		Short: "Check all of a log: every hash, signature and index row",
		Long: `fsck with --data reads the logs of an instance of your own that is stopped: each
entry against its hash, each tile against those below it, the root against the
signed head, times against their order, the rows of keys and indexes against the
entries, and what is published against all that. Each entry has to be one that the
log may have taken: in its one form, with a key or certificate that can be read and
a signature that is good; in the CT log with the precertificate and issuer that it
names. --repair makes anew what is derived, and never touches an entry. docs/operations.md says what to do about the
rest.

Without --data it reads a log over the network, which must have tiles: each entry
against its tile, each tile against those below it, the root against the signed
checkpoint, and of Rekor v2 each entry's signature.

Exit status: 0 nothing was found or all was repaired, 1 something was found, 3 the
log could not be read.`,
		Example: "  sigbox log fsck --data ./sigstore\n  sigbox log fsck --log https://log2025-1.rekor.sigstore.dev",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return e.fsck(cmd.Context(), cmd.Flags().Changed("data"), &f)
		},
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	f.register(e, cmd)
	f.data.register(cmd)
	cmd.Flags().BoolVar(&f.repair, "repair", false, "make anew what is derived; with --data")
	cmd.Flags().BoolVar(&f.hashesOnly, "hashes-only", false, "leave out what entries say, their signatures above all, which takes most of the time")
	cmd.Flags().Lookup("log").Usage = "the log to check: v2, v1 or ct; over the network also the `URL` of any (default with --data all, else the instance's newest)"
	cmd.Flags().Lookup("data").Usage = "`DIR` with the data of a stopped instance"
	return cmd
}

// fsckJSON is what "log fsck" prints: one element for each log.
type fsckJSON struct {
	Origin    string        `json:"origin"`
	OK        bool          `json:"ok"`
	Size      uint64        `json:"treeSize"`
	RootHash  string        `json:"rootHash"`
	Time      *time.Time    `json:"time,omitempty"`
	Entries   uint64        `json:"entries"`
	Bytes     uint64        `json:"bytes"`
	Tiles     uint64        `json:"tiles"`
	Content   *contentJSON  `json:"content,omitempty"`
	Rows      *uint64       `json:"rows,omitempty"`
	Published *uint64       `json:"published,omitempty"`
	Found     uint64        `json:"found"`
	Lost      uint64        `json:"lost"`
	Findings  []findingJSON `json:"findings"`
}

// contentJSON counts entries by what could be seen of their signatures.
type contentJSON struct {
	Signed  uint64 `json:"signed"`
	Hashed  uint64 `json:"hashed"`
	Unknown uint64 `json:"unknown"`
}

type findingJSON struct {
	What     string `json:"what"`
	Name     string `json:"name"`
	Want     string `json:"want"`
	Got      string `json:"got"`
	Derived  bool   `json:"derived"`
	Repaired bool   `json:"repaired"`
}

func (e *env) fsck(ctx context.Context, local bool, f *fsckFlags) error {
	check := e.fsckRemote
	switch {
	case local:
		check = e.fsckData
	case f.repair:
		return usage("--repair is for an instance of your own: give its --data DIR")
	}
	reports, err := check(ctx, f)
	if err != nil {
		return err
	}
	if f.output.json() {
		err = e.printJSON(reports)
	} else {
		err = e.printFsck(reports)
	}
	for i := range reports {
		if err == nil && !reports[i].OK {
			err = silentError{exitNotVerified}
		}
	}
	return err
}

// fsckData checks the logs in a data directory.
func (e *env) fsckData(ctx context.Context, f *fsckFlags) ([]fsckJSON, error) {
	names := map[string]string{"": "", "v2": "rekor2", "v1": "rekor1", "ct": "ctlog"}
	name, ok := names[f.log]
	if !ok {
		return nil, usage("--log: expected v2, v1 or ct with --data, found %q", f.log)
	}
	dir, err := f.data.settle(e)
	if err != nil {
		return nil, err
	}
	m := e.newMeter()
	reports, err := app.CheckLogs(ctx, app.Config{Data: dir, File: f.data.config, Now: e.now}, app.CheckLogsOptions{
		Log: name, Repair: f.repair, SkipContents: f.hashesOnly,
		Progress: func(log string, p tlog.Phase, done, total uint64) { m.set(log+" "+string(p), done, total) },
	})
	m.done()
	if err != nil {
		return nil, err
	}
	out := make([]fsckJSON, len(reports))
	for i := range reports {
		out[i] = fsckOf(&reports[i])
		if !f.hashesOnly {
			out[i].Content = &contentJSON{Signed: reports[i].Signed, Hashed: reports[i].Hashed}
		}
	}
	return out, nil
}

func fsckOf(r *app.LogReport) fsckJSON {
	j := fsckJSON{
		Origin: r.Origin, OK: r.OK(), Size: r.Size, RootHash: hex.EncodeToString(r.Root), Entries: r.Entries, Bytes: r.Bytes,
		Tiles: r.Tiles, Rows: &r.Rows, Published: &r.Published, Found: r.Found, Lost: r.Lost, Findings: []findingJSON{},
	}
	if !r.Time.IsZero() {
		at := r.Time.UTC()
		j.Time = &at
	}
	for _, f := range r.Findings {
		j.Findings = append(j.Findings, findingJSON(f))
	}
	return j
}

// fsckRemote checks a log over the network.
func (e *env) fsckRemote(ctx context.Context, f *fsckFlags) ([]fsckJSON, error) {
	r, err := e.openLog(ctx, &f.logFlags)
	if err != nil {
		return nil, err
	}
	report, err := r.Check(ctx, remote.LogCheck{Entry: checkLeaf})
	if err != nil {
		return nil, err
	}
	head, _ := r.Head()
	j := fsckJSON{
		Origin: head.Origin, OK: report.Found == 0, Size: head.Size, RootHash: hex.EncodeToString(head.Root[:]), Entries: report.Entries,
		Bytes: report.Bytes, Tiles: report.Tiles, Found: report.Found, Lost: report.Found, Findings: []findingJSON{},
	}
	for _, f := range report.Findings {
		j.Findings = append(j.Findings, findingJSON{What: f.What, Name: f.Name, Want: f.Want, Got: f.Got})
	}
	return []fsckJSON{j}, nil
}

// checkLeaf reads an entry, and checks the signature of one that says all that is
// needed for it.
func checkLeaf(_ uint64, leaf []byte) error {
	b, err := entry.ParseBody(leaf)
	if err != nil {
		return err
	}
	if b.Kind != entry.KindHashedRekord || b.Version != entry.Version002 || len(b.Signatures) != 1 {
		return nil
	}
	s := &b.Signatures[0]
	return entry.Verify(sigbox.Entry{Digest: b.Digest, Signature: s.Signature, PublicKey: s.PublicKey, Certificate: s.Certificate, Details: s.Details})
}

// printFsck writes reports for people.
func (e *env) printFsck(reports []fsckJSON) error {
	for i := range reports {
		r := &reports[i]
		for _, f := range r.Findings {
			state := "cannot be mended from the log itself"
			switch {
			case f.Repaired:
				state = "repaired"
			case f.Derived:
				state = "derived: --repair makes it anew"
			}
			tw := tabwriter.NewWriter(e.stdout, 0, 0, 2, ' ', 0)
			fmt.Fprintf(tw, "%s: %s (%s)\n", printable(f.What), printable(f.Name), state)
			fmt.Fprintf(tw, "  expected\t%s\n  found\t%s\n", printable(f.Want), printable(f.Got))
			if err := tw.Flush(); err != nil {
				return err
			}
		}
		verdict := "all is as it must be"
		switch {
		case !r.OK:
			verdict = fmt.Sprintf("DAMAGED: %s, %d of which cannot be mended from the log itself", countMany(r.Found, "finding", "findings"), r.Lost)
		case r.Found > 0:
			verdict = countMany(r.Found, "finding", "findings") + ", all repaired"
		}
		fmt.Fprintf(e.stdout, "%s: %s, %d bytes, %d tiles: %s\n", printable(r.Origin), countMany(r.Entries, "entry", "entries"), r.Bytes, r.Tiles, verdict)
		if r.Content != nil {
			fmt.Fprintf(e.stdout, "  %s\n", r.Content)
		}
	}
	return nil
}

// String says what could be seen of signatures, for people.
func (c *contentJSON) String() string {
	s := countMany(c.Signed, "entry", "entries") + " with good signatures"
	if c.Hashed > 0 {
		s += fmt.Sprintf(", %d of envelopes, of which a log has the hash alone", c.Hashed)
	}
	if c.Unknown > 0 {
		s += fmt.Sprintf(", %d of kinds that this program cannot check", c.Unknown)
	}
	return s
}

// countMany is count for numbers of any size.
func countMany(n uint64, one, many string) string { return count(int(min(n, 1<<62)), one, many) } // #nosec G115 -- bounded
