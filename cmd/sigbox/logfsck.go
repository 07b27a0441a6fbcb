package main

import (
	"context"
	"encoding/hex"
	"fmt"
	"strings"
	"sync/atomic"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/app"
	"github.com/sigbox/sigbox/internal/ctlog"
	"github.com/sigbox/sigbox/internal/rekor1"
	"github.com/sigbox/sigbox/internal/remote"
	"github.com/sigbox/sigbox/internal/tlog"
	"github.com/sigbox/sigbox/wire/entry"
)

type fsckFlags struct {
	logFlags
	data   dataFlags
	anchor string
	repair bool
	// hashesOnly leaves out what entries say.
	hashesOnly bool
	from, to   uint64
}

func newLogFsckCommand(e *env) *cobra.Command {
	var f fsckFlags
	cmd := &cobra.Command{
		Use:   "fsck",
		Short: "Check all of a log: every hash, signature and index row",
		Long: `fsck with --data reads the logs of an instance of your own that is stopped: each
entry against its hash, each tile against those below it, the root against the
signed head, times against their order, the rows of keys and indexes against the
entries, and what is published, and what the anchor holds, against all that. Each entry has to be one that the
log may have taken: in its one form, with a key or certificate that can be read and
a signature that is good; in the CT log with the precertificate and issuer that it
names. --repair makes anew what is derived, and never touches an entry. docs/operations.md says what to do about the
rest.

Without --data it reads a log over the network, and checks its entries in the same
way: against its tiles, and these against the signed checkpoint. A log without tiles
has to prove its entries: Rekor v1 one by one, a certificate log of RFC 6962 many at
a time. --from and --to check a part of a long log, which is proven by itself. A check
that is ended says up to where it has compared the log with its signed head, which a
log with tiles is in parts of 65,536 entries, and how to go on from there.

Exit status: 0 nothing was found or all was repaired, 1 something was found, or the
database is damaged, 2 there is no such log or part of it, or a server runs on the data,
3 the log could not be read.`,
		Example: "  sigbox log fsck --data ./sigstore\n  sigbox log fsck --log https://log2025-1.rekor.sigstore.dev",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return e.fsck(cmd.Context(), cmd.Flags().Changed("data"), &f)
		},
	}
	f.register(e, cmd)
	f.data.register(cmd)
	cmd.Flags().StringVar(&f.anchor, "anchor", "", "`PLACE` of the anchor of sigbox serve, to compare with it too; with --data (default that of the settings)")
	cmd.Flags().BoolVar(&f.repair, "repair", false, "make anew what is derived; with --data")
	cmd.Flags().BoolVar(&f.hashesOnly, "hashes-only", false, "leave out what entries say, their signatures above all, which takes most of the time")
	cmd.Flags().Uint64Var(&f.from, "from", 0, "the first `INDEX` to check, over the network")
	cmd.Flags().Uint64Var(&f.to, "to", 0, "the `INDEX` to end before, over the network (default the log's end)")
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
	From      *uint64       `json:"from,omitempty"`
	To        *uint64       `json:"to,omitempty"`
	Rows      *uint64       `json:"rows,omitempty"`
	Published *uint64       `json:"published,omitempty"`
	Anchored  *uint64       `json:"anchored,omitempty"`
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
	case f.anchor != "":
		return usage("--anchor is for an instance of your own: give its --data DIR")
	}
	if local && (f.from > 0 || f.to > 0) {
		return usage("--from and --to are for logs over the network: leave --data out")
	}
	if f.to > 0 && f.from >= f.to {
		return usage("expected --from below --to, found %d and %d", f.from, f.to)
	}
	reports, failed := check(ctx, f)
	failed = unreadLog(failed)
	if reports == nil && failed != nil {
		return failed
	}
	err := e.printFsck(reports, &f.output)
	if failed != nil {
		return failed
	}
	for i := range reports {
		if err == nil && !reports[i].OK {
			err = silentError{exitNotVerified}
		}
	}
	return err
}

// unreadLog makes undecided of what kept a log from being read. That it is not the one that
// was seen before, or signed by nobody who is trusted, is found all the same.
func unreadLog(err error) error {
	if k := sigbox.KindOf(err); err == nil || k == sigbox.NotVerified || exitStatus(err) != exitNotVerified {
		return err
	}
	return sigbox.Errorf(sigbox.Unavailable, "%w", err)
}

// fsckData checks the logs in a data directory.
func (e *env) fsckData(ctx context.Context, f *fsckFlags) ([]fsckJSON, error) {
	if strings.Contains(f.log, "://") {
		return nil, usage("--log: expected v2, v1, ct or the name of a shard with --data, found %q", f.log)
	}
	dir, err := f.data.settle(e)
	if err != nil {
		return nil, err
	}
	m := e.newMeter()
	reports, err := app.CheckLogs(ctx, app.Config{Data: dir, File: f.data.config, Flags: app.Settings{Anchor: f.anchor}, Now: e.now}, app.CheckLogsOptions{
		Log: f.log, Repair: f.repair, SkipContents: f.hashesOnly,
		Progress: func(log string, p tlog.Phase, done, total uint64) { m.set(log+" "+string(p), done, total) },
	})
	m.done()
	switch k := sigbox.KindOf(err); {
	case err == nil:
	case k == sigbox.NotFound || k == sigbox.Conflict:
		return nil, configured(err) // there is no such log, or a server runs on it
	case k == sigbox.Fatal:
		return nil, sigbox.Errorf(sigbox.NotVerified, "%w", err) // the database is damaged: that is found
	default:
		return nil, err
	}
	out := make([]fsckJSON, len(reports))
	anchored := true
	for i := range reports {
		anchored = anchored && (!reports[i].HasAnchor || reports[i].Compared)
		out[i] = fsckOf(&reports[i])
		if !f.hashesOnly {
			out[i].Content = &contentJSON{Signed: reports[i].Signed, Hashed: reports[i].Hashed}
		}
	}
	if !anchored {
		e.note("The instance has an anchor, which was not looked at: give its place with --anchor. Without, an older copy looks as whole as the newest.")
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
	if r.Anchored > 0 {
		j.Anchored = &r.Anchored
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
	if head, _ := r.Head(); f.from > head.Size {
		return nil, usage("--from %d: the log %s has %s", f.from, head.Origin, countMany(head.Size, "entry", "entries"))
	}
	m := e.newMeter()
	o := remote.LogCheck{From: f.from, To: f.to, Progress: func(done, total uint64) { m.set("entries", done, total) }}
	says := leafChecker{log: r, strict: f.byName() && !r.IsV1() && !r.IsCT()}
	if !f.hashesOnly {
		o.Entry = says.check
	}
	report, err := r.Check(ctx, o)
	m.done()
	if report == nil {
		return nil, err
	}
	head, _ := r.Head()
	j := fsckJSON{
		Origin: head.Origin, OK: report.Found == 0 && err == nil, Size: head.Size, RootHash: hex.EncodeToString(head.Root[:]), Entries: report.Entries,
		Bytes: report.Bytes, Tiles: report.Tiles, Found: report.Found, Lost: report.Found, Findings: []findingJSON{},
	}
	if f.from > 0 || f.to > 0 || err != nil {
		j.From, j.To = &report.From, &report.Done
	}
	for _, f := range report.Findings {
		j.Findings = append(j.Findings, findingJSON{What: f.What, Name: f.Name, Want: f.Want, Got: f.Got})
	}
	if !f.hashesOnly {
		j.Content = says.counts()
	}
	if err != nil {
		e.note("%s", endedFsck(report))
	}
	return []fsckJSON{j}, err
}

// endedFsck says what a check that was ended has proven.
func endedFsck(r *remote.LogReport) string {
	s := fmt.Sprintf("The check was ended at entry %d of %d. ", r.Read, r.To)
	if r.Done == r.From {
		return s + "Nothing is proven: check less at once, with --to."
	}
	return s + fmt.Sprintf("What is before entry %d was compared with the signed tree: go on with --from %d.", r.Done, r.Done)
}

// leafChecker checks the leaves of a log by themselves, and counts them.
type leafChecker struct {
	log *remote.LogReader
	// strict: the log has nothing but what can be checked. Others take what ours do
	// not.
	strict                  bool
	signed, hashed, unknown atomic.Uint64
}

func (c *leafChecker) counts() *contentJSON {
	return &contentJSON{c.signed.Load(), c.hashed.Load(), c.unknown.Load()}
}

func (c *leafChecker) check(ctx context.Context, index uint64, leaf *remote.Leaf) error {
	signed, err := false, error(nil)
	switch {
	case leaf.Certificate != nil:
		signed, err = c.certificate(ctx, index, leaf)
	case c.log.IsV1():
		signed, err = rekor1.CheckLeaf(leaf.Data)
	default:
		_, signed, err = entry.VerifyLogged(leaf.Data)
	}
	switch k := sigbox.KindOf(err); {
	case err == nil && signed:
		c.signed.Add(1)
	case err == nil:
		c.hashed.Add(1)
	case c.strict || k == sigbox.NotVerified || k == sigbox.Unavailable || k == sigbox.Internal:
		return err
	default:
		c.unknown.Add(1)
	}
	return nil
}

// certificate checks an entry of a certificate log.
func (c *leafChecker) certificate(ctx context.Context, index uint64, leaf *remote.Leaf) (signed bool, err error) {
	if c.log.HasTiles() {
		if err := ctlog.CheckIndex(index, leaf.Certificate); err != nil {
			return false, err
		}
	}
	issuers, err := c.log.Issuers(ctx, leaf)
	switch {
	case sigbox.KindOf(err) == sigbox.NotFound && c.log.HasTiles(): // they belong to the format (static-ct-api, "Issuers")
		return false, sigbox.Errorf(sigbox.NotVerified, "a certificate of its chain is not beside the tiles: %w", err)
	case err != nil:
		return false, err
	}
	err = leaf.Certificate.Verify(issuers[0])
	return err == nil, err
}

// printFsck writes reports.
func (e *env) printFsck(reports []fsckJSON, o *outputFlag) error {
	if o.json() {
		return e.printJSON(reports)
	}
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
		case !r.OK && r.Found == 0:
			verdict = "not all could be read"
		case !r.OK && r.Lost == 0:
			verdict = fmt.Sprintf("DAMAGED: %s, which --repair mends", countMany(r.Found, "finding", "findings"))
		case !r.OK:
			verdict = fmt.Sprintf("DAMAGED: %s, %d of which cannot be mended from the log itself", countMany(r.Found, "finding", "findings"), r.Lost)
		case r.Found > 0:
			verdict = countMany(r.Found, "finding", "findings") + ", all repaired"
		}
		fmt.Fprintf(e.stdout, "%s: %s, %d bytes, %s: %s\n", printable(r.Origin), countMany(r.Entries, "entry", "entries"), r.Bytes, countMany(r.Tiles, "tile", "tiles"), verdict)
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
