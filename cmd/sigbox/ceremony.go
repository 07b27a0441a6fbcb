package main

import (
	"context"
	"crypto"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/app"
	"github.com/sigbox/sigbox/internal/atomicfile"
	"github.com/sigbox/sigbox/internal/ceremony"
	wire "github.com/sigbox/sigbox/wire/ceremony"
)

func newCeremonyCommand(e *env) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "ceremony",
		GroupID: "run",
		Short:   "Keep an instance's roots on a machine without a network",
		Long: `ceremony keeps the roots of an instance, of its certificate authority, its timestamp
authority and TUF, on a machine without a network, and carries what they sign:

  at the roots   sigbox ceremony init --dir DIR            makes the keys, once
  the instance   sigbox ceremony request --data DIR        writes what it asks for
  at the roots   sigbox ceremony sign REQUEST --dir DIR    shows it, and signs it
  the instance   sigbox ceremony accept ANSWER --data DIR  checks it, and uses it

The instance's own keys never leave it, and those of the roots never come there. Where
several people keep keys of TUF's root, the answer goes from one to the next: each signs
it. The same way leads to the next TUF root before one ends, to the next key of an
authority (request --role ca), and to other root keys (ceremony policy).`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(
		newCeremonyInitCommand(e), newCeremonyShowCommand(e), newCeremonyPolicyCommand(e),
		newCeremonyRequestCommand(e), newCeremonySignCommand(e), newCeremonyAcceptCommand(e),
	)
	return cmd
}

// deskFlag names the directory with the roots.
type deskFlag struct{ dir string }

func (f *deskFlag) register(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.dir, "dir", "", "`DIR` with the roots' keys")
	_ = cmd.MarkFlagDirname("dir")
}

// check wants a directory to be named: there is no usual place for roots.
func (f *deskFlag) check() error {
	if f.dir == "" {
		return usage("expected --dir DIR, where the roots' keys are")
	}
	return nil
}

// use calls do with the desk in the directory.
func (f *deskFlag) use(do func(*ceremony.Desk) error) error {
	if err := f.check(); err != nil {
		return err
	}
	keys := app.NewDeskKeys(f.dir)
	desk, err := ceremony.Open(f.dir, keys.Open)
	if err == nil {
		err = do(desk)
	}
	return errors.Join(err, keys.Close())
}

type ceremonyInitFlags struct {
	deskFlag
	organization string
	keys         []string
	places       []string
	passphrases  []string
	others       []string
	threshold    int
	join         bool
}

func newCeremonyInitCommand(e *env) *cobra.Command {
	var f ceremonyInitFlags
	cmd := &cobra.Command{
		Use:   "init",
		Short: "Make the keys of roots",
		Long: `init makes the keys of roots in a directory: ca-root, tsa-root and one for TUF, or those
of --keys, such as tuf-root, tuf-root.2 and tuf-root.3. Their public halves are written to
DIR/public, for others. Nothing is overwritten.

Of TUF's root keys a threshold has to sign, by default more than half. With keys that
others keep it takes their public halves (--with), so that they come first: each makes
one by "ceremony init --keys tuf-root --join".

A passphrase encrypts a key's file; --place keeps a key on a token or elsewhere, as
"keys" in the settings of an instance do. Either is for all keys, or for NAME=…`,
		Example: `  sigbox ceremony init --dir roots --passphrase file:phrase
  sigbox ceremony init --dir roots --keys ca-root,tsa-root,tuf-root,tuf-root.2,tuf-root.3 --threshold 2
  sigbox ceremony init --dir roots --with alice.pem --with bob.pem`,
		Args:              noArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE:              func(cmd *cobra.Command, _ []string) error { return e.initCeremony(cmd.Context(), f) },
	}
	f.register(cmd)
	fs := cmd.Flags()
	fs.StringVar(&f.organization, "organization", "", "`NAME` in the certificates (default sigbox)")
	fs.StringSliceVar(&f.keys, "keys", []string{ceremony.CARootKey, ceremony.TSARootKey, ceremony.TUFRootKey}, "`NAMES` of the keys")
	fs.StringArrayVar(&f.places, "place", nil, "[NAME=]`PLACE` of keys that are no files, such as pkcs11:token=…;object={key}?…")
	fs.StringArrayVar(&f.passphrases, "passphrase", nil, "[NAME=]`SOURCE` of the key files' passphrase: env:NAME, file:PATH or credential:NAME")
	fs.StringArrayVar(&f.others, "with", nil, "`FILE` with the public half of a TUF root key that somebody else keeps")
	fs.IntVar(&f.threshold, "threshold", 0, "how `MANY` of TUF's root keys have to sign (default more than half)")
	fs.BoolVar(&f.join, "join", false, "sign the TUF roots that others begin, and begin none")
	_ = cmd.MarkFlagFilename("with", "pem")
	return cmd
}

func (e *env) initCeremony(ctx context.Context, f ceremonyInitFlags) error {
	if err := f.check(); err != nil {
		return err
	}
	n := ceremony.NewDesk{Organization: f.organization, Threshold: f.threshold, Join: f.join}
	for _, v := range slices.Concat(f.places, f.passphrases) {
		if name, named := keyOf(v); named && !slices.Contains(f.keys, name) {
			return usage("%.40q: there is no key of that name among %s", v, strings.Join(f.keys, ", "))
		}
	}
	for _, name := range f.keys {
		n.Keys = append(n.Keys, ceremony.Key{
			Name: name, Place: strings.ReplaceAll(forKey(f.places, name), "{key}", name), Passphrase: forKey(f.passphrases, name),
		})
	}
	var err error
	if n.Others, err = readPublicKeys(f.others); err != nil {
		return err
	}
	keys := app.NewDeskKeys(f.dir)
	desk, err := ceremony.Create(ctx, f.dir, n, keys.Open)
	if err := errors.Join(err, keys.Close()); err != nil {
		return err
	}
	return e.printDesk(desk)
}

// forKey gives what is said for a key: by its name, else for all.
func forKey(values []string, name string) string {
	all := ""
	for _, v := range values {
		switch of, named := keyOf(v); {
		case !named:
			all = v
		case of == name:
			return v[len(name)+1:]
		}
	}
	return all
}

// keyOf gives the key that NAME=… is for. What is for all keys may have a = as well, after
// its scheme.
func keyOf(v string) (name string, named bool) {
	name, _, named = strings.Cut(v, "=")
	return name, named && !strings.Contains(name, ":")
}

// maxPublicKey bounds a file with a public key, in bytes.
const maxPublicKey = 16 << 10

// readPublicKeys reads public halves of keys, in PEM.
func readPublicKeys(paths []string) (list []crypto.PublicKey, err error) {
	for _, path := range paths {
		b, err := readFile(path, maxPublicKey)
		if err != nil {
			return nil, configured(err)
		}
		block, rest := pem.Decode(b)
		if block == nil || block.Type != "PUBLIC KEY" || len(strings.TrimSpace(string(rest))) > 0 {
			return nil, usage("%s: expected one public key in PEM", path)
		}
		pub, err := sigbox.ParsePublicKey(block.Bytes)
		if err != nil {
			return nil, usage("%s: %s", path, err)
		}
		list = append(list, pub)
	}
	return list, nil
}

func newCeremonyShowCommand(e *env) *cobra.Command {
	var f deskFlag
	cmd := &cobra.Command{
		Use: "show", Short: "Show which roots a directory keeps", Args: noArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE:              func(*cobra.Command, []string) error { return f.use(e.printDesk) },
	}
	f.register(cmd)
	return cmd
}

// printDesk writes what a desk has, for people.
func (e *env) printDesk(desk *ceremony.Desk) error {
	var b strings.Builder
	fmt.Fprintf(&b, "organization  %s\n", desk.Organization())
	for _, k := range desk.Keys() {
		fmt.Fprintf(&b, "key           %s  %s\n", k.Name, k.Fingerprint())
	}
	root := desk.Root()
	if len(root.Keys) == 0 {
		b.WriteString("TUF roots     begun by others\n")
	} else {
		fmt.Fprintf(&b, "TUF roots     signed by %d of %d:\n", root.Threshold, len(root.Keys))
	}
	for _, k := range root.Keys {
		fmt.Fprintf(&b, "                TUF:%s\n", k.ID)
	}
	_, err := e.stdout.Write([]byte(b.String()))
	return err
}

func newCeremonyPolicyCommand(e *env) *cobra.Command {
	var f deskFlag
	var add, remove []string
	var threshold int
	cmd := &cobra.Command{
		Use:   "policy",
		Short: "Change who signs TUF's roots",
		Long: `policy changes whose keys sign TUF's roots, and how many of them have to. It stands in
the next root that is begun here, which the keys of before have to sign as well.`,
		Example: `  sigbox ceremony policy --dir roots --add carol.pem --remove 4f2a81c09b3d
  sigbox ceremony policy --dir roots --threshold 3`,
		Args:              noArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(*cobra.Command, []string) error {
			if len(add)+len(remove) == 0 && threshold == 0 {
				return usage("expected --add, --remove or --threshold")
			}
			return f.use(func(desk *ceremony.Desk) error {
				keys, err := readPublicKeys(add)
				if err != nil {
					return err
				}
				if err := desk.Change(ceremony.Change{Add: keys, Remove: remove, Threshold: threshold}); err != nil {
					return err
				}
				return e.printDesk(desk)
			})
		},
	}
	f.register(cmd)
	cmd.Flags().StringArrayVar(&add, "add", nil, "`FILE` with the public half of another key")
	cmd.Flags().StringArrayVar(&remove, "remove", nil, "`ID` of a key that signs no longer, or its beginning")
	cmd.Flags().IntVar(&threshold, "threshold", 0, "how `MANY` have to sign")
	_ = cmd.MarkFlagFilename("add", "pem")
	return cmd
}

func newCeremonyRequestCommand(e *env) *cobra.Command {
	var f dataFlags
	var settings app.Settings
	var roles []string
	var out string
	cmd := &cobra.Command{
		Use:   "request",
		Short: "Write what an instance asks the keepers of its roots for",
		Long: `request writes what the instance asks the keepers of its roots for: the public halves of
its keys, each with the proof that it has the key.

In an empty directory it makes a new instance whose roots are elsewhere: all of its own
keys, and a request for what it needs to start. For an instance that has started it asks
for the next TUF root, with --role tuf-key for one that names another key for TUF's other
metadata, as after a theft, or with --role ca or tsa for the certificate of that
authority's next key. A request replaces the one before, whose answer is worth nothing
then.`,
		Example: `  sigbox ceremony request --data /var/lib/sigbox --url https://sigstore.example.com --out request.json
  sigbox ceremony request --data /var/lib/sigbox --role ca --out request.json`,
		Args:              noArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return e.requestCeremony(cmd.Context(), f, settings, roles, out)
		},
	}
	f.register(cmd)
	fs := cmd.Flags()
	fs.StringVar(&settings.URL, "url", "", "`URL` at which clients will reach a new instance")
	fs.StringVar(&settings.Passphrase, "passphrase", "", "`SOURCE` of the key files' passphrase: env:NAME, file:PATH or credential:NAME")
	fs.StringSliceVar(&roles, "role", nil, "`ROLE` to ask for: "+strings.Join(app.CeremonyRoles(), ", "))
	fs.StringVar(&out, "out", "request.json", "`FILE` to write, which must not exist")
	_ = cmd.RegisterFlagCompletionFunc("role", cobra.FixedCompletions(app.CeremonyRoles(), cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func (e *env) requestCeremony(ctx context.Context, f dataFlags, settings app.Settings, roles []string, out string) error {
	dir, err := f.settle(e)
	if err != nil {
		return err
	}
	if err := absent(out); err != nil {
		return err
	}
	cfg := app.Config{Data: dir, File: f.config, Flags: settings, Now: e.now}
	var file []byte
	admin, err := app.OpenAdmin(ctx, cfg)
	switch {
	case err != nil && sigbox.KindOf(err) == sigbox.NotFound && len(roles) == 0:
		file, err = app.BeginCeremony(ctx, cfg)
	case err == nil:
		file, err = admin.CeremonyRequest(ctx, roles)
		_ = admin.Close() // what was asked for is written down
	}
	if err != nil {
		return err
	}
	if err := e.writeNew(out, file, 0o600); err != nil {
		return err
	}
	asked, err := wire.ParseRequest(file)
	if err != nil {
		return err
	}
	keys, err := asked.Keys()
	if err != nil {
		return err
	}
	e.note("Wrote %s: bring it to where the roots are kept, and sign it by sigbox ceremony sign.", out)
	e.note("Tell those who sign, by another way, for which keys of this instance:")
	for _, k := range keys {
		e.note("  %-4s %s", k.Role, k.Fingerprint)
	}
	return e.printSum(out, file)
}

// absent refuses a file that exists.
func absent(path string) error {
	if err := atomicfile.Rehearse(path); err != nil {
		return ioError(err)
	}
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		return &usageError{msg: path + " exists", hint: "name a file that does not exist yet"}
	}
	return nil
}

// writeNew writes a file that must not exist.
func (e *env) writeNew(path string, data []byte, perm fs.FileMode) error {
	err := atomicfile.Create(path, data, perm)
	if errors.Is(err, fs.ErrExist) {
		return &usageError{msg: path + " exists", hint: "name a file that does not exist yet"}
	}
	if err != nil {
		return ioError(err)
	}
	return nil
}

type ceremonySignFlags struct {
	deskFlag
	out, transcript string
	days            int
	again, yes      bool
}

func newCeremonySignCommand(e *env) *cobra.Command {
	var f ceremonySignFlags
	cmd := &cobra.Command{
		Use:   "sign FILE",
		Short: "Sign a request, or an answer that others have begun",
		Long: `sign shows what there is to sign in a request, or in an answer that others have begun,
and asks. Then it signs that, writes the answer, and a transcript for those who were there
to put their names to. It uses no network, other than to keys that are kept behind one.

Compare what it shows with what the instance's operator says: who brings the request can
be anybody. The role decides what a certificate is good for, and this machine when it
ends; nothing of that is in the request.`,
		Example: `  sigbox ceremony sign request.json --dir roots --out answer.json
  sigbox ceremony sign answer.json --dir mine --out answer-2.json`,
		Args: exactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return e.signCeremony(cmd.Context(), f, args[0]) },
	}
	f.register(cmd)
	fs := cmd.Flags()
	fs.StringVar(&f.out, "out", "answer.json", "`FILE` to write, which must not exist")
	fs.StringVar(&f.transcript, "transcript", "", "`FILE` for the transcript, which must not exist (default that of --out, with .txt)")
	fs.IntVar(&f.days, "days", int(ceremony.DefaultPeriod.Hours()/24), "for how `MANY` days a TUF root is good that is begun here")
	fs.BoolVar(&f.again, "again", false, "sign another TUF root of a version that was signed here before and never got to the instance")
	fs.BoolVarP(&f.yes, "yes", "y", false, "sign without asking")
	return cmd
}

func (e *env) signCeremony(ctx context.Context, f ceremonySignFlags, path string) error {
	if f.transcript == "" {
		f.transcript = strings.TrimSuffix(f.out, filepath.Ext(f.out)) + ".txt"
	}
	for _, out := range []string{f.out, f.transcript} {
		if err := absent(out); err != nil {
			return err
		}
	}
	file, err := readFile(path, wire.MaxSize)
	if err != nil {
		return configured(err)
	}
	return f.use(func(desk *ceremony.Desk) error {
		plan, err := desk.Plan(file, e.now(), ceremony.Options{Period: time.Duration(f.days) * 24 * time.Hour, Again: f.again})
		if err != nil {
			return err
		}
		for _, line := range plan.Lines {
			e.note("%s", line)
		}
		if plan.Nothing {
			return sigbox.Errorf(sigbox.NotFound, "there is nothing in it for the keys of %s to sign", f.dir)
		}
		if err := e.confirm(f.yes, "Sign this?"); err != nil {
			return err
		}
		signed, err := plan.Sign(ctx)
		if err != nil {
			return err
		}
		transcript := plan.Transcript(signed, ceremony.File{Name: filepath.Base(path), Data: file}, ceremony.File{Name: filepath.Base(f.out), Data: signed.Answer})
		if err := e.writeNew(f.out, signed.Answer, 0o600); err != nil {
			return err
		}
		if err := e.writeNew(f.transcript, transcript, 0o600); err != nil {
			return err
		}
		return e.tellSigned(f, signed)
	})
}

// tellSigned says what was written and who comes next.
func (e *env) tellSigned(f ceremonySignFlags, signed *ceremony.Signed) error {
	e.note("Wrote %s, and %s for the witnesses.", f.out, f.transcript)
	if len(signed.Missing) > 0 {
		e.note("It still lacks %s: bring it to the next who keeps roots.", strings.Join(signed.Missing, ", "))
	} else {
		e.note("It is whole: bring it to the instance, and have it accepted by sigbox ceremony accept.")
	}
	return e.printSum(f.out, signed.Answer)
}

// confirm asks whether to go on.
func (e *env) confirm(yes bool, question string) error {
	switch {
	case yes:
		return nil
	case !e.interactive():
		return &usageError{msg: "nobody has agreed to this, and there is no terminal to ask on", hint: "read what is shown above, then give --yes"}
	case !e.ask(question):
		return sigbox.Errorf(sigbox.Denied, "nothing was signed")
	}
	return nil
}

// printSum writes the SHA-256 of a file as sha256sum does.
func (e *env) printSum(path string, file []byte) error {
	_, err := fmt.Fprintf(e.stdout, "%s  %s\n", sigbox.SHA256.Sum(file).Hex(), path)
	return err
}

func newCeremonyAcceptCommand(e *env) *cobra.Command {
	var f dataFlags
	var output outputFlag
	var passphrase, sum string
	cmd := &cobra.Command{
		Use:   "accept ANSWER",
		Short: "Use what was signed for an instance",
		Long: `accept checks the answer against the last request: that it is for it and whole, that the
certificates are for the instance's own keys and good for their role, and that clients go
on from the present TUF root to this one. Then it uses it, in a server that runs at once.
An authority's next key is published, and signs after a while, as "sigbox rotate" does it.

Nothing in an answer says that it comes from your roots: the first one names them. So it
asks whether the file's SHA-256 is what the ceremony's transcript says; --sha256 gives it
from there.`,
		Example: `  sigbox ceremony accept answer.json --data /var/lib/sigbox
  sigbox ceremony accept answer.json --data /var/lib/sigbox --sha256 2f0c…`,
		Args: exactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			file, err := readFile(args[0], wire.MaxSize)
			if err != nil {
				return configured(err)
			}
			if err := e.checkTranscript(file, sum); err != nil {
				return err
			}
			dir, err := f.settle(e)
			if err != nil {
				return err
			}
			admin, err := app.OpenAdmin(cmd.Context(), app.Config{Data: dir, File: f.config, Flags: app.Settings{Passphrase: passphrase}, Now: e.now})
			if err != nil {
				return err
			}
			defer func() { _ = admin.Close() }() // what was accepted is durable
			accepted, err := admin.CeremonyAccept(cmd.Context(), file)
			if err != nil {
				return err
			}
			return e.tellAccepted(accepted, output)
		},
	}
	f.register(cmd)
	cmd.Flags().StringVar(&passphrase, "passphrase", "", "`SOURCE` of the key files' passphrase, if no server runs")
	cmd.Flags().StringVar(&sum, "sha256", "", "`SUM` of the answer, as the transcript has it")
	output.register(cmd)
	return cmd
}

// checkTranscript makes sure that somebody has compared an answer with the transcript of
// the ceremony: by the sum that was read there, or by asking.
func (e *env) checkTranscript(answer []byte, sum string) error {
	found := sigbox.SHA256.Sum(answer).Hex()
	switch {
	case sum != "" && !strings.EqualFold(sum, found):
		return sigbox.Mismatch(sigbox.NotVerified, "this is not the answer of the transcript", "the SHA-256 "+sum, found).
			WithHint("compare all of it; if it differs, the file was changed or taken for another on its way: bring it again")
	case sum != "":
		return nil
	case !e.interactive():
		return &usageError{
			msg:  "nobody has said that the answer is the one of the transcript, and there is no terminal to ask on",
			hint: "give --sha256, from the list of files at the end of the transcript",
		}
	case !e.ask("The answer's SHA-256 is " + found + ". Does the transcript say the same?"):
		return sigbox.Errorf(sigbox.Denied, "the answer was not used")
	}
	return nil
}

func (e *env) tellAccepted(a app.CeremonyAccepted, output outputFlag) error {
	if output.json() {
		return e.printJSON(a)
	}
	for _, key := range slices.Sorted(slices.Values(a.Keys)) {
		fmt.Fprintf(e.stdout, "%s has its certificate\n", key)
	}
	if a.RootExpires != nil {
		fmt.Fprintf(e.stdout, "TUF root version %d, good until %s\n", a.RootVersion, a.RootExpires.Format(time.RFC3339))
	}
	return nil
}
