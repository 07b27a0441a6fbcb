package main

import (
	"bytes"
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/remote"
	"github.com/sigbox/sigbox/wire/entry"
)

func newLogGetCommand(e *env) *cobra.Command {
	var f logFlags
	var ofBundle string
	cmd := &cobra.Command{
		Use:   "get [INDEX|UUID|HASH]",
		Short: "Get an entry of a log, with its proof",
		Long: `get shows the entry of a log with an index, or with a UUID or entry ID (Rekor v1),
or with a leaf hash (certificate logs), or the entries with the digest of an artifact (sha256:…, or hex digits alone),
after it has proven that they are in the log. --bundle gets the entry of a bundle, from
the log that the bundle names. A digest is looked for in the logs of before as well,
which the instance has sealed; an index is that of the log of --log, and UUIDs and
indexes of Rekor v1 are those of all its trees.

What an entry says is the word of whoever logged it: the log does not check who
issued the certificate. Use verify to know who signed.`,
		Example: "  sigbox log get 4711\n  sigbox log get --log v1 24296fb24b8ad77a…\n  sigbox log get sha256:5891b5b5…",
		Args:    optionalArg,
		RunE: func(cmd *cobra.Command, args []string) error {
			return e.getEntries(cmd.Context(), &f, first(args), ofBundle)
		},
	}
	f.register(e, cmd)
	cmd.Flags().StringVar(&ofBundle, "bundle", "", "`FILE` with the bundle whose entry is wanted")
	_ = cmd.MarkFlagFilename("bundle", "json")
	return cmd
}

func (e *env) getEntries(ctx context.Context, f *logFlags, what, ofBundle string) error {
	found, err := e.findEntries(ctx, f, what, ofBundle)
	if err != nil {
		return err
	}
	if f.output.json() {
		return e.printJSON(found)
	}
	for i := range found {
		if i > 0 {
			fmt.Fprintln(e.stdout)
		}
		if err := found[i].print(e.stdout); err != nil {
			return err
		}
	}
	return nil
}

// findEntries finds what a person names, or the entry of a bundle, proven.
func (e *env) findEntries(ctx context.Context, f *logFlags, what, ofBundle string) ([]provenJSON, error) {
	if (what == "") == (ofBundle == "") {
		return nil, usage("expected one of INDEX|UUID|HASH and --bundle")
	}
	if ofBundle != "" {
		r, w, err := e.openLogOf(ctx, f, ofBundle)
		if err != nil {
			return nil, err
		}
		return w.get(ctx, []*remote.LogReader{r})
	}
	w, err := parseWanted(what)
	if err != nil {
		return nil, err
	}
	if w.hash != "" {
		logs, err := e.openLogs(ctx, f)
		if err != nil {
			return nil, err
		}
		return w.get(ctx, logs)
	}
	r, err := e.openLog(ctx, f)
	if err != nil {
		return nil, err
	}
	return w.get(ctx, []*remote.LogReader{r})
}

// wanted is how a person names an entry.
type wanted struct {
	index uint64
	// id is set for a UUID or an entry ID, hash for a digest of an artifact; 64 hex
	// digits may be either.
	id   *entry.ID
	hash string
	// leaf is what the entry with the index must hold; nil is anything.
	leaf []byte
}

func parseWanted(s string) (wanted, error) {
	if n, err := strconv.ParseUint(s, 10, 63); err == nil && len(s) <= 19 {
		return wanted{index: n}, nil
	}
	var w wanted
	if id, err := entry.ParseID(s); err == nil {
		w.id = &id
	}
	if len(s) != 80 {
		if _, err := newQuestion(s); err == nil {
			w.hash = s
		}
	}
	if w.id == nil && w.hash == "" {
		return w, usage("expected an index, a UUID or entry ID of 64 or 80 hex digits, or a digest like sha256:…; found %.100q", s)
	}
	return w, nil
}

// get finds the entries, proven: one, but for digests, which are looked for in all of the
// logs.
func (w wanted) get(ctx context.Context, logs []*remote.LogReader) ([]provenJSON, error) {
	r := logs[0]
	if w.id == nil && w.hash == "" {
		p, err := r.Entry(ctx, w.index)
		if err == nil && w.leaf != nil && !bytes.Equal(p.Body, w.leaf) {
			return nil, sigbox.Errorf(sigbox.NotVerified, "the log has another entry at index %d than the bundle", w.index)
		}
		return one(p, err)
	}
	if w.id != nil && (r.IsV1() || r.IsCT() || w.hash == "") {
		found, err := one(r.ByID(ctx, *w.id))
		if err == nil || w.hash == "" || r.IsCT() || sigbox.KindOf(err) != sigbox.NotFound {
			return found, err
		}
	}
	q, err := newQuestion(w.hash)
	if err != nil {
		return nil, err
	}
	page, err := q.askAll(ctx, logs, maxFound)
	if err != nil {
		return nil, err
	}
	if len(page.Entries) == 0 {
		head, _ := r.Head()
		return nil, sigbox.Errorf(sigbox.NotFound, "the log %.100q has found no entry with the digest %s", head.Origin, strings.ToLower(w.hash))
	}
	return page.Entries, nil
}

func one(p remote.ProvenEntry, err error) ([]provenJSON, error) {
	if err != nil {
		return nil, err
	}
	return []provenJSON{newProvenJSON(&p)}, nil
}
