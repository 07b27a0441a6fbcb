package main

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"hash"
	"io"
	"maps"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/remote"
	"github.com/sigbox/sigbox/internal/search"
	"github.com/sigbox/sigbox/wire/entry"
)

const (
	// maxFound is how many entries of one digest "log get" shows.
	maxFound = 20
	// maxPage is how many entries a server gives at once.
	maxPage = 100
	// maxEmpty is how many pages in a row a server may find nothing on. One looks
	// through a bounded part of its index for a page.
	maxEmpty = 1000
)

type searchFlags struct {
	logFlags
	hash, file, identity, issuer, signingKey, repository, kind string
	after, before                                              string
	limit                                                      int
	scan                                                       bool
}

func newLogSearchCommand(e *env) *cobra.Command {
	var f searchFlags
	cmd := &cobra.Command{
		Use:   "search",
		Short: "Find entries of a log by what they say",
		Long: `search finds the entries for which all that is given holds, the newest first, and
proves each. It asks the log's server, which cannot add to the log's entries, but
could leave some out: --scan reads the whole log instead, which proves that
nothing is missing, and works with every log, also those that cannot search. It
reads one log: where that has followed on others, each of them by its --log NAME.

What an entry says is the word of whoever logged it. Of a v2 log, which signs no
times, --after and --before rely on the server's clock.`,
		Example: "  sigbox log search --file app.tar.gz\n  sigbox log search --log v1 --identity ada@example.com --after 2026-01-01T00:00:00Z",
		Args:    searchArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return e.searchLog(cmd.Context(), &f)
		},
	}
	f.register(e, cmd)
	fs := cmd.Flags()
	fs.StringVar(&f.hash, "hash", "", "`DIGEST` of the artifact: sha256:…, or hex digits alone")
	fs.StringVar(&f.file, "file", "", "the artifact itself, a `FILE`, by its SHA-256, SHA-384 or SHA-512")
	fs.StringVar(&f.identity, "identity", "", "`NAME` in the certificate: an email address, a URI")
	fs.StringVar(&f.issuer, "issuer", "", "`URL` of the identity's issuer")
	fs.StringVar(&f.signingKey, "signing-key", "", "the signer's key or certificate: a `FILE` in PEM, or the SHA-256 of its DER form in hex")
	fs.StringVar(&f.repository, "repository", "", "`URL` of the repository that the build was of")
	fs.StringVar(&f.kind, "kind", "", "`KIND` of the entry: hashedrekord, dsse, intoto, rfc3161; in a certificate log certificate, precertificate")
	fs.StringVar(&f.after, "after", "", "`TIME` (RFC 3339) at which, or later, it was logged")
	fs.StringVar(&f.before, "before", "", "`TIME` (RFC 3339) before which it was logged")
	fs.IntVar(&f.limit, "limit", maxFound, "how many entries are shown")
	fs.BoolVar(&f.scan, "scan", false, "read the whole log instead of asking its server")
	cmd.MarkFlagsMutuallyExclusive("hash", "file")
	return cmd
}

// searchArgs says by which flag to look for what was given without one.
func searchArgs(_ *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	return &usageError{
		msg:  fmt.Sprintf("log search is told by flags what to look for, found %q", args[0]),
		hint: "--file FILE finds an artifact, --hash DIGEST its digest, --identity NAME who signed; sigbox log get takes an index, a UUID or a digest",
	}
}

// question is what a person looks for: params for a server, query to see for
// oneself.
type question struct {
	params url.Values
	query  search.Query
	// digests are those of one thing, by several algorithms: an entry has one of
	// them. A server is asked for each, and digest is the condition that params and
	// query are without.
	digests []string
	digest  search.Condition
}

// newQuestion asks for a digest.
func newQuestion(digest string) (question, error) {
	q := question{params: url.Values{}}
	return q, q.addDigest(digest)
}

func (q *question) addDigest(digest string) error {
	c, err := search.ByHash(digest)
	q.digests, q.digest = append(q.digests, digest), append(q.digest, c...)
	return err
}

// add narrows the question by a condition of docs/search.md, but for digests.
func (q *question) add(name, value string) error {
	by := map[string]func(string) (search.Condition, error){
		"subject": search.BySubject, "issuer": search.ByIssuer, "key": search.ByKey, "repository": search.ByRepository,
	}[name]
	c, err := by(value)
	if err != nil {
		return err
	}
	q.query.All = append(q.query.All, c)
	q.params.Set(name, value)
	return nil
}

// matches reports whether an entry is what is looked for.
func (q *question) matches(b *entry.Body, at time.Time) bool {
	query := q.query
	query.After = query.After.Truncate(time.Second) // what a log signs is whole seconds
	return query.Matches(b, at) && (q.digest == nil || (&search.Query{All: []search.Condition{q.digest}}).Matches(b, at))
}

// question makes one of the flags.
func (f *searchFlags) question() (question, error) {
	q := question{params: url.Values{}}
	key := f.signingKey
	var err error
	if f.hash != "" {
		if err := q.addDigest(f.hash); err != nil {
			return q, usage("%s", err)
		}
	}
	if f.file != "" {
		if err := q.addFile(f.file); err != nil {
			return q, err
		}
	}
	if key != "" {
		if key, err = keyDigest(key); err != nil {
			return q, err
		}
	}
	for _, c := range []struct{ name, value string }{
		{"subject", f.identity}, {"issuer", f.issuer}, {"key", key}, {"repository", f.repository},
	} {
		if c.value == "" {
			continue
		}
		if err := q.add(c.name, c.value); err != nil {
			return q, usage("%s", err)
		}
	}
	if q.query.Kind = f.kind; f.kind != "" {
		q.params.Set("kind", f.kind)
	}
	for _, t := range []struct {
		name, value string
		into        *time.Time
	}{{"after", f.after, &q.query.After}, {"before", f.before, &q.query.Before}} {
		if t.value == "" {
			continue
		}
		if *t.into, err = time.Parse(time.RFC3339, t.value); err != nil {
			return q, usage("--%s: expected a time like 2026-01-31T12:00:00Z, found %q", t.name, t.value)
		}
		q.params.Set(t.name, t.value)
	}
	checked := q.query
	if slices.Contains(kindsCT(), checked.Kind) {
		checked.Kind = ""
	}
	if err := checked.Check(); err != nil {
		return q, usage("%s", err)
	}
	return q, nil
}

// kindsCT are the kinds of entries of certificate logs.
func kindsCT() []string { return []string{remote.KindCertificate, remote.KindPrecertificate} }

// addFile asks for a file, by all the digests that signatures are over.
func (q *question) addFile(path string) error {
	f, err := os.Open(path) // #nosec G304 -- the user's
	if err != nil {
		return sigbox.Errorf(sigbox.Unavailable, "%w", err)
	}
	defer func() { _ = f.Close() }() // it was read
	algorithms := []sigbox.HashAlgorithm{sigbox.SHA256, sigbox.SHA384, sigbox.SHA512}
	hashes, all := make([]hash.Hash, len(algorithms)), make([]io.Writer, len(algorithms))
	for i, a := range algorithms {
		hashes[i] = a.New()
		all[i] = hashes[i]
	}
	if _, err := io.Copy(io.MultiWriter(all...), f); err != nil {
		return sigbox.Errorf(sigbox.Unavailable, "%w", err)
	}
	for i, a := range algorithms {
		if err := q.addDigest(fmt.Sprintf("%s:%x", a, hashes[i].Sum(nil))); err != nil {
			return err
		}
	}
	return nil
}

// keyDigest gives the SHA-256 of a key or certificate in a file; what is a SHA-256
// already stays.
func keyDigest(s string) (string, error) {
	if _, err := search.ByKey(s); err == nil {
		return s, nil
	}
	b, err := readFile(s, maxLogKeyFile)
	if err != nil {
		return "", err
	}
	block, _ := pem.Decode(b)
	if block == nil || block.Type != "PUBLIC KEY" && block.Type != "CERTIFICATE" {
		return "", sigbox.Errorf(sigbox.Invalid, "%s: expected a public key or a certificate in PEM", s)
	}
	sum := sha256.Sum256(block.Bytes)
	return hex.EncodeToString(sum[:]), nil
}

// searchJSON is what "log search" prints.
type searchJSON struct {
	Origin   string `json:"origin"`
	TreeSize uint64 `json:"treeSize"`
	// Earlier are the sealed logs that were searched too.
	Earlier []treeJSON `json:"earlier,omitempty"`
	// Scanned: the whole log was read, so that nothing is missing below More.
	Scanned bool         `json:"scanned"`
	Entries []provenJSON `json:"entries"`
	More    bool         `json:"more"`
	// Complete: the server has looked through all of the log.
	Complete bool `json:"complete"`
}

// treeJSON names a log, with its signed size.
type treeJSON struct {
	Origin   string `json:"origin"`
	TreeSize uint64 `json:"treeSize"`
}

func (e *env) searchLog(ctx context.Context, f *searchFlags) error {
	q, err := f.question()
	if err != nil {
		return err
	}
	if f.limit < 1 {
		return usage("--limit: expected at least 1, found %d", f.limit)
	}
	logs, err := e.openLogs(ctx, &f.logFlags)
	if err != nil {
		return err
	}
	var found searchJSON
	if f.scan {
		found, err = over(logs, f.limit, func(r *remote.LogReader, limit int) (searchJSON, error) { return e.scan(ctx, r, &q, limit) })
	} else {
		found, err = q.askAll(ctx, logs, f.limit)
	}
	if err != nil {
		return err
	}
	if f.output.json() {
		return e.printJSON(found)
	}
	return e.printFound(&found)
}

// askAll asks the servers of logs, of the newest first.
func (q *question) askAll(ctx context.Context, logs []*remote.LogReader, limit int) (searchJSON, error) {
	return over(logs, limit, func(r *remote.LogReader, limit int) (searchJSON, error) { return q.ask(ctx, r, limit) })
}

// over puts together what is found in logs, one after the other.
func over(logs []*remote.LogReader, limit int, search func(r *remote.LogReader, limit int) (searchJSON, error)) (searchJSON, error) {
	all, err := search(logs[0], limit)
	for _, r := range logs[1:] {
		if err != nil {
			break
		}
		var found searchJSON
		found, err = search(r, max(1, limit-len(all.Entries))) // one more says that there are more
		all.Earlier = append(all.Earlier, treeJSON{found.Origin, found.TreeSize})
		all.Entries = append(all.Entries, found.Entries...)
		all.More, all.Complete = all.More || found.More || len(all.Entries) > limit, all.Complete && found.Complete
		all.Entries = all.Entries[:min(limit, len(all.Entries))]
	}
	return all, err
}

// ask has the log's server search, and sees for itself that what it found is what
// was asked for.
func (q *question) ask(ctx context.Context, r *remote.LogReader, limit int) (searchJSON, error) {
	head, _ := r.Head()
	all := searchJSON{Origin: head.Origin, TreeSize: head.Size, Entries: []provenJSON{}, Complete: true}
	if r.IsCT() {
		return all, sigbox.Errorf(sigbox.Invalid, "a certificate log has no search").WithHint("read it as a whole: --scan")
	}
	digests := q.digests
	if digests == nil {
		digests = []string{""}
	}
	for i, digest := range digests {
		found, err := q.askFor(ctx, r, digest, limit)
		if i > 0 && r.IsV1() && err != nil && sigbox.KindOf(err) == sigbox.Invalid {
			all.Complete = false // Rekor does not know all algorithms
			continue
		}
		if err != nil {
			return all, err
		}
		all.Entries = append(all.Entries, found.Entries...)
		all.More, all.Complete = all.More || found.More, all.Complete && found.Complete
	}
	slices.SortStableFunc(all.Entries, func(a, b provenJSON) int { return cmp.Compare(b.Index, a.Index) })
	all.Entries = slices.CompactFunc(all.Entries, func(a, b provenJSON) bool { return a.Index == b.Index })
	if len(all.Entries) > limit {
		all.Entries, all.More = all.Entries[:limit], true
	}
	return all, nil
}

// askFor asks page by page, for a digest unless it is "".
func (q *question) askFor(ctx context.Context, r *remote.LogReader, digest string, limit int) (out searchJSON, err error) {
	params := maps.Clone(q.params)
	if digest != "" {
		params.Set("hash", digest)
	}
	out.Complete = true
	for empty := 0; empty < maxEmpty; {
		params.Set("limit", strconv.Itoa(min(limit-len(out.Entries), maxPage)))
		page, err := r.Search(ctx, params)
		if sigbox.KindOf(err) == sigbox.NotFound && err != nil && len(out.Entries) == 0 {
			return q.askV1(ctx, r, digest, limit)
		}
		if err != nil {
			return out, err
		}
		out.Complete = out.Complete && page.Complete
		if empty++; len(page.Entries) > 0 {
			empty = 0
		}
		if err := out.add(q, page.Entries, limit); err != nil {
			return out, err
		}
		if out.More = page.Next != ""; !out.More || len(out.Entries) >= limit {
			return out, nil
		}
		params.Set("cursor", page.Next)
	}
	return out, sigbox.Errorf(sigbox.Unavailable, "the server has found nothing in %d pages, and says that there are more", maxEmpty).
		WithHint("--scan reads the log itself")
}

// add takes a page of what a server has found: other entries than those before, the
// newest first.
func (s *searchJSON) add(q *question, page []remote.FoundEntry, limit int) error {
	for i := range page {
		j, err := q.judge(&page[i])
		if err != nil {
			return err
		}
		if n := len(s.Entries); n > 0 && j.Index >= s.Entries[n-1].Index {
			return sigbox.Errorf(sigbox.NotVerified, "the server has found entry %d after entry %d: the newest come first, each once", j.Index, s.Entries[n-1].Index).
				WithHint("do not rely on its search: --scan reads the log itself")
		}
		if len(s.Entries) < limit {
			s.Entries = append(s.Entries, j)
		}
	}
	return nil
}

// judge holds a found entry against the question. What a statement is about is not
// in the log: there the server's word has to do.
func (q *question) judge(found *remote.FoundEntry) (provenJSON, error) {
	j := newProvenJSON(&found.ProvenEntry)
	if j.Time == nil && !found.Claimed.IsZero() {
		j.Claimed = &found.Claimed
	}
	at := found.Time
	if at.IsZero() {
		at = found.Claimed
	}
	if j.Unproven = found.Says == nil; j.Unproven || q.matches(found.Says, at) {
		return j, nil
	}
	if q.digest != nil && (found.Kind == entry.KindDSSE || found.Kind == entry.KindInToto) {
		rest := *q
		rest.digest = nil
		if j.Unproven = rest.matches(found.Says, at); j.Unproven {
			return j, nil
		}
	}
	return j, sigbox.Errorf(sigbox.NotVerified, "the server has found entry %d, which is not what was asked for", found.Index).
		WithHint("do not rely on its search: --scan reads the log itself")
}

// askV1 has the index of a Rekor v1 server search, which knows digests and subjects.
func (q *question) askV1(ctx context.Context, r *remote.LogReader, digest string, limit int) (out searchJSON, err error) {
	head, _ := r.Head()
	if !r.IsV1() || digest == "" && !q.params.Has("subject") {
		return out, sigbox.Errorf(sigbox.Invalid, "the server of the log %.100q cannot search for this", head.Origin).
			WithHint("Rekor v1 finds by --hash, --file and --identity; sigbox log search --scan reads any log as a whole")
	}
	ids, err := r.Retrieve(ctx, digest, q.params.Get("subject"))
	if err != nil {
		return out, err
	}
	for i, id := range ids {
		if out.More = len(out.Entries) >= limit; out.More {
			break
		}
		p, err := r.ByID(ctx, id)
		if err != nil {
			return out, sigbox.Errorf(sigbox.KindOf(err), "entry %d of %d that the server has found: %w", i+1, len(ids), err)
		}
		if j, err := q.judge(&remote.FoundEntry{ProvenEntry: p}); err == nil {
			out.Entries = append(out.Entries, j)
		} // else what the index cannot look at, such as the issuer
	}
	return out, nil // it has never said that it is complete
}

// scan reads the whole log.
func (e *env) scan(ctx context.Context, r *remote.LogReader, q *question, limit int) (searchJSON, error) {
	head, _ := r.Head()
	out := searchJSON{Origin: head.Origin, TreeSize: head.Size, Scanned: true, Complete: true, Entries: []provenJSON{}}
	timed := !q.query.After.IsZero() || !q.query.Before.IsZero()
	if timed && !r.IsV1() && !r.IsCT() {
		return out, usage("the log %.100q signs no times, and its entries say none: leave --after and --before out", head.Origin)
	}
	m := e.newMeter()
	var matches []uint64
	err := r.Entries(ctx, 0, head.Size, func(index uint64, leaf *remote.Leaf) error {
		m.set("entries", index, head.Size)
		b, err := leaf.Says()
		if err == nil && q.matches(b, leaf.Time) {
			matches = append(matches, index)
		}
		return nil
	})
	m.done()
	if err != nil {
		return out, err
	}
	for i := len(matches) - 1; i >= 0; i-- {
		if out.More = len(out.Entries) >= limit; out.More {
			break
		}
		p, err := r.Entry(ctx, matches[i])
		if err != nil {
			return out, err
		}
		if !timed || q.matches(p.Says, p.Time) { // tiles of v1 logs have no times
			out.Entries = append(out.Entries, newProvenJSON(&p))
		}
	}
	return out, nil
}

// printFound writes a line for each entry.
func (e *env) printFound(f *searchJSON) error {
	tw := tabwriter.NewWriter(e.stdout, 0, 0, 2, ' ', 0)
	unproven := 0
	for i := range f.Entries {
		j := &f.Entries[i]
		digests := strings.Join(j.Digests, " ")
		if j.Unproven {
			unproven++
			digests += " (*)"
		}
		fmt.Fprintf(tw, "%d\t%s\t%s\t%s\t%s", j.Index, j.when(), j.Kind, printable(j.who()), printable(digests))
		if len(f.Earlier) > 0 {
			fmt.Fprintf(tw, "\t%s", printable(j.Origin))
		}
		fmt.Fprintln(tw)
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	switch {
	case f.More:
		e.note("There are more: --limit shows them.")
	case len(f.Entries) == 0:
		e.note("Nothing was found among the %d entries of %s.", f.TreeSize, f.Origin)
	}
	if unproven > 0 {
		e.note("(*) That the entry is about this is the server's word alone: the log has a hash of the statement.")
	}
	if !f.Scanned {
		e.note("What is shown is proven; that nothing is missing is the server's word. --scan reads the whole log.")
	}
	return nil
}

func (j *provenJSON) when() string {
	switch {
	case j.Time != nil:
		return j.Time.Format(time.RFC3339)
	case j.Claimed != nil:
		return j.Claimed.UTC().Truncate(time.Second).Format(time.RFC3339)
	}
	return "-"
}

// who names the signers.
func (j *provenJSON) who() string {
	var names []string
	for _, s := range j.Signers {
		if len(s.Subjects) == 0 {
			names = append(names, fmt.Sprintf("key %.16s…", s.PublicKey))
		}
		names = append(names, s.Subjects...)
	}
	return strings.Join(names, ", ")
}
