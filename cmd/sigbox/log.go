package main

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/remote"
	"github.com/sigbox/sigbox/internal/search"
	"github.com/sigbox/sigbox/wire/cert"
	"github.com/sigbox/sigbox/wire/entry"
)

func newLogCommand(e *env) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "log",
		GroupID: "sign",
		Short:   "Read transparency logs, and believe nothing that they cannot prove",
		Long: `log reads a transparency log: the one of the instance in use, or any other that
speaks C2SP tlog-tiles or Rekor v1, or a certificate log of static-ct-api or RFC
6962. Everything that is shown follows from a
checkpoint that the log has signed with the key in your trust root (or that of
--key). The last checkpoint of each log is kept, and each time the log has to
continue it: a log that was rewritten since then is an alarm, and exit status 1.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newLogGetCommand(e), newLogSearchCommand(e), newLogProveCommand(e), newLogFsckCommand(e), newLogStatsCommand(e))
	return cmd
}

// maxLogKeyFile bounds the file of a log's key, in bytes.
const maxLogKeyFile = 64 << 10

// logFlags say which log is read, and whose word counts.
type logFlags struct {
	trust  trustFlags
	log    string
	key    string
	output outputFlag
	// ignoreHistory takes the log as it is shown, whatever was seen of it before.
	ignoreHistory bool
}

// register adds the flags to one of the log commands, whose arguments are no files.
func (f *logFlags) register(e *env, cmd *cobra.Command) {
	cmd.ValidArgsFunction = cobra.NoFileCompletions
	fs := cmd.Flags()
	fs.StringVar(&f.log, "log", "", "the log to read: v2, v1, ct or an older one's `NAME` of the instance, or the URL of any (default the instance's newest transparency log)")
	fs.StringVar(&f.key, "key", "", "`FILE` with the log's public key (PEM, or C2SP name+hash+key), in place of a trust root")
	fs.Var((*single)(&f.trust.instances), "instance", "`NAME` or URL of the instance (default $SIGBOX_INSTANCE, else the one in use)")
	fs.StringArrayVar(&f.trust.trustedRoots, "trusted-root", nil, "`FILE` with trusted roots, whose logs' keys count (repeatable)")
	fs.StringVar(&f.trust.signingConfig, "signing-config", "", "`FILE` that says where the logs are, in place of an instance's")
	fs.BoolVar(&f.ignoreHistory, "ignore-history", false, "read an older copy of the log as it is: it need not continue what was seen of the log")
	_ = cmd.RegisterFlagCompletionFunc("instance", e.completeInstance)
	_ = cmd.RegisterFlagCompletionFunc("log", cobra.FixedCompletions([]string{"v2", "v1", "ct"}, cobra.ShellCompDirectiveNoFileComp))
	f.output.register(cmd)
}

// byName reports whether the log is one of an instance's, not a URL.
func (f *logFlags) byName() bool { return slices.Contains([]string{"", "v1", "v2", "ct"}, f.log) }

// openLog finds and checks the log that the flags name.
func (e *env) openLog(ctx context.Context, f *logFlags) (*remote.LogReader, error) {
	c, err := e.logConfig(ctx, f)
	if err != nil {
		return nil, err
	}
	return e.openAt(ctx, c, c.LogConfig)
}

// logPlace is where the log is that the flags name, and whose keys count.
type logPlace struct {
	remote.LogConfig
	flags *logFlags
}

// openAt checks the log in a place, with the keys and the memory of c.
func (e *env) openAt(ctx context.Context, c logPlace, cfg remote.LogConfig) (*remote.LogReader, error) {
	store, err := e.openInstances()
	if err != nil {
		return nil, err
	}
	f := c.flags
	if cfg.Memory = store.Logs(); f.ignoreHistory {
		cfg.Memory = ""
	}
	r, err := e.remote().OpenLog(ctx, cfg)
	if f.key != "" && sigbox.KindOf(err) == sigbox.NotVerified && err != nil {
		return nil, sigbox.Errorf(sigbox.NotVerified, "%w", err).
			WithHint("--key is the log's own key; who signed an entry is searched for by --signing-key")
	}
	return r, err
}

// logConfig says where the log is and whose keys count.
func (e *env) logConfig(ctx context.Context, f *logFlags) (logPlace, error) {
	c := logPlace{remote.LogConfig{URL: f.log}, f}
	named := !strings.Contains(f.log, "://")
	if f.key != "" {
		key, err := readLogKey(f.key)
		if err != nil {
			return c, err
		}
		c.Keys = []remote.LogKey{key}
		if !named {
			return c, nil
		}
	}
	p := forVerifying
	if named {
		p = forSigning // the signing config says where logs are
	}
	t, err := e.loadTrust(ctx, f.trust, p)
	if err != nil {
		return c, err
	}
	if c.Keys == nil {
		c.Keys = remote.LogKeys(t.roots)
	}
	switch {
	case f.log == "ct":
		c.CT = true
		c.URL, err = e.certificateLog(t.roots)
	case f.byName():
		var s sigbox.Service
		s, err = e.logService(t.config, f.log)
		c.URL, c.Version = s.URL, s.MajorAPIVersion
	case named:
		var s remote.Shard
		if s, err = e.shardNamed(ctx, t.config, f.log); err == nil {
			c.LogConfig = s.In(c.LogConfig)
		}
	}
	return c, err
}

// logKeys gives the keys that count, for what is checked without a log.
func (e *env) logKeys(ctx context.Context, f *logFlags) ([]remote.LogKey, error) {
	if f.key != "" {
		key, err := readLogKey(f.key)
		return []remote.LogKey{key}, err
	}
	t, err := e.loadTrust(ctx, f.trust, forVerifying)
	return remote.LogKeys(t.roots), err
}

func readLogKey(file string) (remote.LogKey, error) {
	b, err := readFile(file, maxLogKeyFile)
	if err != nil {
		return remote.LogKey{}, err
	}
	key, err := remote.ParseLogKey(b)
	if err != nil {
		return key, sigbox.Errorf(sigbox.KindOf(err), "%s: %w", file, err)
	}
	return key, nil
}

// logService picks a log of the signing config: of the wanted version, else of the
// highest, and of those the one that began last.
func (e *env) logService(config *sigbox.SigningConfig, want string) (sigbox.Service, error) {
	var best sigbox.Service
	for _, s := range config.Logs {
		if want != "" && want != fmt.Sprintf("v%d", s.MajorAPIVersion) || !s.ValidFor.Contains(e.now()) {
			continue
		}
		if best.URL == "" || s.MajorAPIVersion > best.MajorAPIVersion ||
			s.MajorAPIVersion == best.MajorAPIVersion && s.ValidFor.Start.After(best.ValidFor.Start) {
			best = s
		}
	}
	if best.URL == "" {
		return best, sigbox.Errorf(sigbox.NotFound, "the instance offers no log %s", want).WithHint("name it by its URL: --log URL")
	}
	return best, nil
}

// certificateLog gives the URL of the certificate log that began last, of those that take
// certificates if that can be told.
func (e *env) certificateLog(roots []*sigbox.TrustedRoot) (string, error) {
	var best sigbox.TransparencyLog
	for _, root := range roots {
		for _, l := range root.CTLogs {
			if l.ValidFor.Contains(e.now()) && (best.BaseURL == "" || !remote.IsShard(l.BaseURL) && (remote.IsShard(best.BaseURL) || l.ValidFor.Start.After(best.ValidFor.Start))) {
				best = l
			}
		}
	}
	if best.BaseURL == "" {
		return "", sigbox.Errorf(sigbox.NotFound, "the trust root lists no certificate log").WithHint("name it by its URL: --log URL")
	}
	return best.BaseURL, nil
}

// provenJSON is an entry of a log, proven.
type provenJSON struct {
	Origin string `json:"origin"`
	Index  uint64 `json:"index"`
	// LogIndex is another than Index in a log of several trees.
	LogIndex int64      `json:"logIndex"`
	UUID     string     `json:"uuid,omitempty"`
	Kind     string     `json:"kind,omitempty"`
	Version  string     `json:"version,omitempty"`
	Time     *time.Time `json:"integratedTime,omitempty"`
	// Claimed is when the log says that it took the entry; it has not signed that.
	Claimed  *time.Time   `json:"claimedTime,omitempty"`
	Digests  []string     `json:"digests"`
	Signers  []signerJSON `json:"signers"`
	LeafHash string       `json:"leafHash"`
	// Unproven: that it is what was searched for is the server's word; see docs/search.md.
	Unproven bool `json:"unprovenMatch,omitempty"`
	// Body is the leaf.
	Body       string   `json:"body"`
	Proof      []string `json:"inclusionProof"`
	TreeSize   int64    `json:"treeSize"`
	RootHash   string   `json:"rootHash"`
	Checkpoint string   `json:"checkpoint"`

	leaf []byte
}

// signerJSON is whom a signature speaks for, as the entry says it.
type signerJSON struct {
	Subjects     []string `json:"subjects,omitempty"`
	Issuer       string   `json:"issuer,omitempty"`
	Repositories []string `json:"repositories,omitempty"`
	PublicKey    string   `json:"publicKey,omitempty"`
	Certificate  string   `json:"certificate,omitempty"`
}

func newProvenJSON(p *remote.ProvenEntry) provenJSON {
	j := provenJSON{
		Origin: p.Origin, Index: p.Index, LogIndex: p.LogIndex, UUID: p.ID, Kind: p.Kind, Version: p.Version,
		Digests: []string{}, Signers: []signerJSON{}, LeafHash: hex.EncodeToString(p.Leaf[:]),
		Body: base64.StdEncoding.EncodeToString(p.Body), Proof: make([]string, len(p.Inclusion.Hashes)),
		TreeSize: p.Inclusion.TreeSize, RootHash: hex.EncodeToString(p.Inclusion.RootHash), Checkpoint: p.Inclusion.Checkpoint, leaf: p.Body,
	}
	for i, h := range p.Inclusion.Hashes {
		j.Proof[i] = hex.EncodeToString(h)
	}
	if !p.Time.IsZero() {
		j.Time = &p.Time
	}
	if p.Says == nil {
		return j
	}
	if p.Certificate != nil {
		j.Signers = append(j.Signers, signerOfCT(p.Certificate, p.Says))
		return j
	}
	facts := search.FactsOf(p.Body, p.Says)
	if facts.Digests != nil {
		j.Digests = facts.Digests
	}
	for i := range facts.Signers {
		s := &facts.Signers[i]
		j.Signers = append(j.Signers, signerJSON{s.Subjects, s.Issuer, s.Repositories, s.Key(), s.Certificate()})
	}
	return j
}

// signerOfCT gives whom the certificate of a certificate log's entry names. The final
// certificate of a precertificate is not in the log: it has no fingerprint there.
func signerOfCT(c *cert.Entry, says *entry.Body) signerJSON {
	s := search.FactsOf(nil, says).Signers[0]
	j := signerJSON{s.Subjects, s.Issuer, s.Repositories, s.Key(), s.Certificate()}
	if c.Precert {
		j.Certificate = ""
	}
	return j
}

// print writes an entry for people.
func (j *provenJSON) print(out io.Writer) error {
	tw := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	row := func(name, format string, args ...any) {
		fmt.Fprintf(tw, "%s\t%s\n", name, printable(fmt.Sprintf(format, args...)))
	}
	row("entry", "%d of %s", j.Index, j.Origin)
	if uint64(j.LogIndex) != j.Index { // #nosec G115 -- an index
		row("log index", "%d", j.LogIndex)
	}
	if j.UUID != "" {
		row("entry ID", "%s", j.UUID)
	}
	if j.Kind != "" {
		row("kind", "%s", strings.TrimSpace(j.Kind+" "+j.Version))
	} else {
		row("kind", "not known to this program")
	}
	switch {
	case j.Time != nil:
		row("taken", "%s, signed by the log", j.Time.Format(time.RFC3339))
	case j.Claimed != nil:
		row("taken", "%s, as the log says without signing it", j.Claimed.UTC().Format(time.RFC3339))
	}
	for _, d := range j.Digests {
		row("digest", "%s", d)
	}
	for _, s := range j.Signers {
		s.rows(row)
	}
	if j.Unproven {
		row("found", "by the server's word alone: the entry has no more than a hash of what it is about")
	}
	row("leaf hash", "%s", j.LeafHash)
	row("proven by", "the log's signed tree of %d entries, root %s", j.TreeSize, j.RootHash)
	return tw.Flush()
}

func (s *signerJSON) rows(row func(name, format string, args ...any)) {
	for _, name := range s.Subjects {
		row("certificate of", "%s", name)
	}
	if s.Issuer != "" {
		row("identity from", "%s", s.Issuer)
	}
	for _, r := range s.Repositories {
		row("repository", "%s", r)
	}
	if s.Certificate == "" {
		row("key", "sha256:%s", s.PublicKey)
	}
}
