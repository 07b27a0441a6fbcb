package main

import (
	"context"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/atomicfile"
	"github.com/sigbox/sigbox/internal/remote"
	"github.com/sigbox/sigbox/internal/search"
)

// defaultSample is how many entries are counted by kind.
const defaultSample = 2560

func newLogStatsCommand(e *env) *cobra.Command {
	var f logFlags
	sample, save := uint64(defaultSample), ""
	cmd := &cobra.Command{
		Use:   "stats",
		Short: "Show how large a log is, how it grows and what is in it",
		Long: `stats shows the signed size of a log, by how much it has grown since it was last
looked at from here, and of which kinds and how large its newest entries are, of how
many signers, and when the log took them, if it signs that.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return e.logStats(cmd.Context(), &f, sample, save)
		},
	}
	f.register(e, cmd)
	cmd.Flags().Uint64Var(&sample, "last", sample, "how many of the newest entries are looked at; 0 for none")
	cmd.Flags().StringVar(&save, "save", "", "`FILE` to keep the log's checkpoint in, for log prove --from")
	return cmd
}

// statsJSON is what "log stats" prints.
type statsJSON struct {
	Origin     string      `json:"origin"`
	LogID      string      `json:"logId"` // hex
	Size       uint64      `json:"treeSize"`
	RootHash   string      `json:"rootHash"`
	Checkpoint string      `json:"checkpoint"`
	Seen       *seenJSON   `json:"lastSeen,omitempty"`
	Sample     *sampleJSON `json:"newest,omitempty"`
}

// seenJSON is what was seen of the log when it was last read.
type seenJSON struct {
	Time time.Time `json:"time"`
	Size uint64    `json:"treeSize"`
	// Grown is the number of entries since then.
	Grown uint64 `json:"grown"`
}

// sampleJSON is of the newest entries.
type sampleJSON struct {
	Entries uint64     `json:"entries"`
	Bytes   uint64     `json:"bytes"` // of their leaves
	Kinds   []kindJSON `json:"kinds"`
	// How many different ones the certificates and keys of the entries name.
	Subjects uint64 `json:"subjects"`
	Issuers  uint64 `json:"issuers"`
	Keys     uint64 `json:"keys"` // that came without a certificate
	// From and To are when the first and the last were logged, where the log signs
	// that.
	From *time.Time `json:"from,omitempty"`
	To   *time.Time `json:"to,omitempty"`
}

// sampler looks at the newest entries.
type sampler struct {
	sampleJSON
	kinds                   map[string]uint64
	subjects, issuers, keys map[string]bool
	first, last             time.Time
}

func (s *sampler) look(_ uint64, leaf *remote.Leaf) error {
	s.Entries++
	s.Bytes += uint64(len(leaf.Data))
	if s.first.IsZero() {
		s.first = leaf.Time
	}
	s.last = leaf.Time
	b, err := leaf.Says()
	if err != nil {
		s.kinds["unknown"]++
		return nil //nolint:nilerr // other logs have what this program does not know
	}
	s.kinds[strings.TrimSpace(b.Kind+" "+b.Version)]++
	for _, signer := range search.FactsOf(leaf.Data, b).Signers {
		for _, name := range signer.Subjects {
			s.subjects[name] = true
		}
		if signer.Issuer != "" {
			s.issuers[signer.Issuer] = true
		}
		if signer.Certificate() == "" {
			s.keys[signer.Key()] = true
		}
	}
	return nil
}

// sample looks at the newest entries of a log.
func (e *env) sample(ctx context.Context, r *remote.LogReader, n uint64) (*sampleJSON, error) {
	head, _ := r.Head()
	from := head.Size - n
	s := &sampler{kinds: map[string]uint64{}, subjects: map[string]bool{}, issuers: map[string]bool{}, keys: map[string]bool{}}
	if err := r.Entries(ctx, from, head.Size, s.look); err != nil {
		return nil, err
	}
	for _, k := range slices.Sorted(maps.Keys(s.kinds)) {
		s.Kinds = append(s.Kinds, kindJSON{k, s.kinds[k]})
	}
	s.Subjects, s.Issuers, s.Keys = uint64(len(s.subjects)), uint64(len(s.issuers)), uint64(len(s.keys))
	if s.first.IsZero() && r.IsV1() { // tiles have no times, promises do
		for at, into := range map[uint64]*time.Time{from: &s.first, head.Size - 1: &s.last} {
			p, err := r.Entry(ctx, r.LogIndex(at))
			if err != nil {
				return nil, err
			}
			*into = p.Time
		}
	}
	if !s.first.IsZero() {
		s.From, s.To = &s.first, &s.last
	}
	return &s.sampleJSON, nil
}

type kindJSON struct {
	Kind    string `json:"kind"`
	Entries uint64 `json:"entries"`
}

func (e *env) logStats(ctx context.Context, f *logFlags, sample uint64, save string) error {
	r, err := e.openLog(ctx, f)
	if err != nil {
		return err
	}
	head, text := r.Head()
	if save != "" {
		if err := atomicfile.Replace(save, []byte(text), 0o644); err != nil {
			return sigbox.Errorf(sigbox.Unavailable, "%w", err)
		}
	}
	s := statsJSON{Origin: head.Origin, LogID: hex.EncodeToString(r.LogID()), Size: head.Size, RootHash: hex.EncodeToString(head.Root[:]), Checkpoint: text}
	if seen, ok := r.LastSeen(); ok {
		s.Seen = &seenJSON{Time: seen.At.UTC(), Size: seen.Checkpoint.Size, Grown: head.Size - min(head.Size, seen.Checkpoint.Size)}
	}
	if sample = min(sample, head.Size); sample > 0 {
		if s.Sample, err = e.sample(ctx, r, sample); err != nil {
			return err
		}
	}
	if f.output.json() {
		return e.printJSON(s)
	}
	return s.print(e)
}

// rate says how many entries there were in an hour.
func (n *sampleJSON) rate() string {
	hours := n.To.Sub(*n.From).Hours()
	if hours <= 0 || n.Entries < 2 {
		return ""
	}
	return fmt.Sprintf(", %.0f in an hour", float64(n.Entries-1)/hours)
}

func (s *statsJSON) print(e *env) error {
	tw := tabwriter.NewWriter(e.stdout, 0, 0, 2, ' ', 0)
	row := func(name, format string, args ...any) {
		fmt.Fprintf(tw, "%s\t%s\n", name, printable(fmt.Sprintf(format, args...)))
	}
	row("log", "%s", s.Origin)
	row("log ID", "%s", s.LogID)
	row("entries", "%d", s.Size)
	row("root hash", "%s", s.RootHash)
	if s.Seen != nil {
		row("last seen", "%s, %s", ago(e.now().Sub(s.Seen.Time)), countMany(s.Seen.Size, "entry", "entries"))
		row("since then", "%s more, and consistent", countMany(s.Seen.Grown, "entry", "entries"))
	}
	if n := s.Sample; n != nil {
		row("newest", "%s of %d bytes on average", countMany(n.Entries, "entry", "entries"), n.Bytes/n.Entries)
		for _, k := range n.Kinds {
			row("", "%d %s", k.Entries, k.Kind)
		}
		row("", "of %s, %s, %s without certificate", countMany(n.Subjects, "identity", "identities"), countMany(n.Issuers, "issuer", "issuers"), countMany(n.Keys, "key", "keys"))
		if n.From != nil {
			row("", "from %s to %s%s", n.From.Format(time.RFC3339), n.To.Format(time.RFC3339), n.rate())
		}
	}
	return tw.Flush()
}
