package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/atomicfile"
	"github.com/sigbox/sigbox/internal/remote"
	"github.com/sigbox/sigbox/wire/note"
	"github.com/sigbox/sigbox/wire/proof"
)

type proveFlags struct {
	logFlags
	out, check, leaf string
	bundle           string
	from, to         string
}

func newLogProveCommand(e *env) *cobra.Command {
	var f proveFlags
	cmd := &cobra.Command{
		Use:   "prove [INDEX|UUID|HASH]",
		Short: "Prove that an entry is in a log, or that one checkpoint continues another",
		Long: `prove INDEX|UUID|HASH prints the proof that an entry is in a log, as a C2SP
tlog-proof file, which holds the entry itself too and needs no network to be
checked: prove --check FILE does that, with the entry in the file or that of --leaf.
prove --bundle FILE is the same for the entry of a bundle, in the log that it names.

prove --from OLD proves that the log continues the checkpoint in the file OLD;
with --to NEW, that the checkpoint in NEW does.`,
		Example: "  sigbox log prove 4711 --out 4711.tlog-proof\n  sigbox log prove --check 4711.tlog-proof\n  sigbox log prove --from monday.checkpoint",
		Args:    optionalArg,
		RunE: func(cmd *cobra.Command, args []string) error {
			return e.prove(cmd.Context(), &f, first(args))
		},
	}
	f.register(e, cmd)
	fs := cmd.Flags()
	fs.StringVar(&f.out, "out", "", "`FILE` to write the tlog-proof to (default standard output)")
	fs.StringVar(&f.bundle, "bundle", "", "`FILE` with the bundle whose entry is to be proven")
	fs.StringVar(&f.check, "check", "", "tlog-proof `FILE` to check, without network")
	fs.StringVar(&f.leaf, "leaf", "", "`FILE` with the entry that the proof is of, for --check")
	fs.StringVar(&f.from, "from", "", "`FILE` with a checkpoint that the log, or --to, must continue")
	fs.StringVar(&f.to, "to", "", "`FILE` with the later checkpoint, for --from")
	_ = cmd.MarkFlagFilename("check", "tlog-proof")
	return cmd
}

func (e *env) prove(ctx context.Context, f *proveFlags, what string) error {
	ways := 0
	for _, set := range []bool{what != "" || f.bundle != "", f.check != "", f.from != ""} {
		if set {
			ways++
		}
	}
	switch {
	case ways != 1:
		return usage("expected one of INDEX|UUID|HASH, --bundle, --check and --from")
	case f.leaf != "" && f.check == "", f.to != "" && f.from == "", f.out != "" && what == "" && f.bundle == "":
		return usage("--leaf goes with --check, --to with --from, --out with an entry")
	case f.check != "":
		return e.checkProof(ctx, f)
	case f.from != "":
		return e.proveContinuation(ctx, f)
	}
	return e.proveEntry(ctx, f, what)
}

// proofJSON is what "log prove" of an entry prints.
type proofJSON struct {
	provenJSON
	// TlogProof is the file of C2SP tlog-proof.
	TlogProof string `json:"tlogProof"`
}

// proveEntry writes an entry's tlog-proof, with the leaf for extra data.
func (e *env) proveEntry(ctx context.Context, f *proveFlags, what string) error {
	found, err := e.findEntries(ctx, &f.logFlags, what, f.bundle)
	if err != nil {
		return err
	}
	if len(found) > 1 {
		return sigbox.Errorf(sigbox.Invalid, "%d entries have this digest: a proof is of one", len(found)).WithHint("name it by its index: sigbox log get %s", what)
	}
	text, err := tlogProof(&found[0])
	if err != nil {
		return err
	}
	switch {
	case f.out != "":
		if err := atomicfile.Replace(f.out, []byte(text), 0o644); err != nil {
			return sigbox.Errorf(sigbox.Unavailable, "%w", err)
		}
		e.note("Wrote the proof of entry %d to %s.", found[0].Index, f.out)
		if f.output.json() {
			return e.printJSON(proofJSON{found[0], text})
		}
		return nil
	case f.output.json():
		return e.printJSON(proofJSON{found[0], text})
	}
	_, err = fmt.Fprint(e.stdout, text)
	return err
}

// tlogProof writes a tlog-proof.
func tlogProof(j *provenJSON) (string, error) {
	if len(j.leaf) > proof.MaxExtra {
		j.leaf = nil // it has to be brought along by --leaf
	}
	p := proof.Proof{Index: j.Index, Extra: j.leaf, Checkpoint: j.Checkpoint, Hashes: make([][sha256.Size]byte, len(j.Proof))}
	for i, h := range j.Proof {
		if n, err := hex.Decode(p.Hashes[i][:], []byte(h)); err != nil || n != sha256.Size {
			return "", sigbox.Errorf(sigbox.Internal, "a proof of hashes of another size")
		}
	}
	return string(p.Append(nil)), nil
}

// checkProof checks a tlog-proof file without asking anybody but for keys.
func (e *env) checkProof(ctx context.Context, f *proveFlags) error {
	text, err := readFile(f.check, proof.MaxSize)
	if err != nil {
		return err
	}
	p, err := proof.Parse(string(text))
	if err != nil {
		return sigbox.Errorf(sigbox.KindOf(err), "%s: %w", f.check, err)
	}
	leaf := p.Extra
	if f.leaf != "" {
		if leaf, err = readFile(f.leaf, proof.MaxExtra); err != nil {
			return err
		}
	} else if leaf == nil {
		return usage("%s does not hold the entry: give it with --leaf FILE", f.check)
	}
	if !f.byName() {
		return usage("--check asks no log: leave --log out")
	}
	f.trust.offline = true
	keys, err := e.logKeys(ctx, &f.logFlags)
	if err != nil {
		return err
	}
	found, err := remote.CheckProof(&p, leaf, keys)
	if err != nil {
		return err
	}
	j := newProvenJSON(&found)
	if f.output.json() {
		return e.printJSON(proofJSON{j, string(text)})
	}
	return j.print(e.stdout)
}

// continuationJSON is what "log prove --from" prints.
type continuationJSON struct {
	Origin string         `json:"origin"`
	From   checkpointJSON `json:"from"`
	To     checkpointJSON `json:"to"`
	Proof  []string       `json:"consistencyProof"`
}

type checkpointJSON struct {
	Size       uint64 `json:"treeSize"`
	RootHash   string `json:"rootHash"`
	Checkpoint string `json:"checkpoint"`
}

// proveContinuation proves that a checkpoint, or the log as it is, continues
// another.
func (e *env) proveContinuation(ctx context.Context, f *proveFlags) error {
	from, err := readCheckpoint(f.from)
	if err != nil {
		return err
	}
	c, err := e.logConfig(ctx, &f.logFlags)
	if err != nil {
		return err
	}
	older, ct, err := remote.OpenCheckpoint(from, c.Keys)
	if err != nil {
		return sigbox.Errorf(sigbox.KindOf(err), "%s: %w", f.from, err)
	}
	switch {
	case f.log != "":
	case ct:
		f.log = "ct"
	case strings.Contains(older.Origin, " - "): // as v1 logs are called
		f.log = "v1"
	}
	r, err := e.openContinued(ctx, f, older, ct)
	if err != nil {
		return err
	}
	newer, to := r.Head()
	if f.to != "" {
		if to, err = readCheckpoint(f.to); err != nil {
			return err
		}
		if newer, _, err = remote.OpenCheckpoint(to, c.Keys); err != nil {
			return sigbox.Errorf(sigbox.KindOf(err), "%s: %w", f.to, err)
		}
	}
	hashes, err := r.Consistency(ctx, older, newer)
	if err != nil {
		return err
	}
	j := continuationJSON{newer.Origin, checkpointOf(older, from), checkpointOf(newer, to), make([]string, len(hashes))}
	for i, h := range hashes {
		j.Proof[i] = hex.EncodeToString(h)
	}
	if f.output.json() {
		return e.printJSON(j)
	}
	return j.print(e)
}

// openContinued opens the log that a checkpoint is of: the one that the flags name, or
// another one of its server.
func (e *env) openContinued(ctx context.Context, f *proveFlags, older sigbox.Checkpoint, ct bool) (*remote.LogReader, error) {
	c, err := e.logConfig(ctx, &f.logFlags)
	if err != nil {
		return nil, err
	}
	r, err := e.openAt(ctx, c, c.LogConfig)
	if err != nil || ct || !f.byName() { // a certificate log is known by its key
		return r, err
	}
	return e.openShard(ctx, c, r, "the checkpoint", func(origin string, _ []byte) bool { return origin == older.Origin })
}

func readCheckpoint(file string) (string, error) {
	b, err := readFile(file, note.MaxSize)
	return string(b), err
}

func checkpointOf(cp sigbox.Checkpoint, text string) checkpointJSON {
	return checkpointJSON{cp.Size, hex.EncodeToString(cp.Root[:]), text}
}

func (j *continuationJSON) print(e *env) error {
	tw := tabwriter.NewWriter(e.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintf(tw, "log\t%s\n", printable(j.Origin))
	fmt.Fprintf(tw, "from\t%s, root %s\n", countMany(j.From.Size, "entry", "entries"), j.From.RootHash)
	fmt.Fprintf(tw, "to\t%s, root %s\n", countMany(j.To.Size, "entry", "entries"), j.To.RootHash)
	fmt.Fprintf(tw, "proven\tthe second is the first and %s after it\n", countMany(j.To.Size-j.From.Size, "entry", "entries"))
	return tw.Flush()
}
