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
looked at from here, and, where the log has tiles, of which kinds and how large
its newest entries are.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return e.logStats(cmd.Context(), &f, sample, save)
		},
		ValidArgsFunction: cobra.NoFileCompletions,
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
		s.Sample = new(sampleJSON)
		kinds := map[string]uint64{}
		err := r.Entries(ctx, head.Size-sample, head.Size, func(_ uint64, leaf *remote.Leaf) error {
			kind := "unknown"
			if b, err := leaf.Says(); err == nil {
				kind = strings.TrimSpace(b.Kind + " " + b.Version)
			}
			kinds[kind]++
			s.Sample.Entries++
			s.Sample.Bytes += uint64(len(leaf.Data))
			return nil
		})
		if err != nil {
			return err
		}
		for _, k := range slices.Sorted(maps.Keys(kinds)) {
			s.Sample.Kinds = append(s.Sample.Kinds, kindJSON{k, kinds[k]})
		}
	}
	if f.output.json() {
		return e.printJSON(s)
	}
	return s.print(e)
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
		row("last seen", "%s, %d entries", ago(e.now().Sub(s.Seen.Time)), s.Seen.Size)
		row("since then", "%s more, and consistent", countMany(s.Seen.Grown, "entry", "entries"))
	}
	if n := s.Sample; n != nil {
		row("newest", "%d entries of %d bytes on average", n.Entries, n.Bytes/n.Entries)
		for _, k := range n.Kinds {
			row("", "%d %s", k.Entries, k.Kind)
		}
	}
	return tw.Flush()
}
