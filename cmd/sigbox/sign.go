package main

import (
	"cmp"
	"context"
	"crypto"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/atomicfile"
	"github.com/sigbox/sigbox/internal/instance"
	"github.com/sigbox/sigbox/internal/keys"
	"github.com/sigbox/sigbox/oci"
	"github.com/sigbox/sigbox/sign"
	"github.com/sigbox/sigbox/verify"
	"github.com/sigbox/sigbox/wire/bundle"
	"github.com/sigbox/sigbox/wire/cosign"
	"github.com/sigbox/sigbox/wire/timestamp"
)

// bundleFormatFlag is cosign's flag for choosing between bundles and what was before.
const bundleFormatFlag = "new-bundle-format"

// maxStatement bounds an in-toto statement to sign, in bytes.
const maxStatement = 16 << 20

// signParallel is how many files are hashed and signed at once. Of images more are under
// way: most of that is waiting for their registry, and packages sign and oci ask as much at
// a time as they let. What attestations hold meanwhile, each of what it says as statement,
// in an envelope and in a bundle, is about attestedMemory at most, in bytes.
const (
	signParallel       = 32
	signImagesParallel = 512
	attestedMemory     = 256 << 20
	attestedForms      = 4
)

func newSignCommand(e *env) *cobra.Command {
	var f signFlags
	cmd := &cobra.Command{
		Use:     "sign WHAT…",
		GroupID: "sign",
		Short:   "Sign files, directories and images",
		Long: `sign signs files, and all files below directories, with one login: it gets a
certificate for your identity, records each signature in the transparency log,
and writes FILE.sigstore.json beside each file. No key is kept.

An image, and whatever else is in a registry, is signed there: registry.example/app:v1
or …@sha256:…, and with --recursive also what an index lists. docker://NAME is always
an image, ./NAME always a file.

In directories bundles, version control, links and special files are passed over: a
bundle is what holds one, not what is only called so. A bundle is written over
another one, or over an empty file, and over nothing else, nor through a link.

The identity token comes from --identity-token, else from the surroundings
(SIGSTORE_ID_TOKEN, GitHub Actions, GitLab, Buildkite, Google Cloud, a file that
Kubernetes mounts), else from a login in the browser.`,
		Example: "  sigbox sign app.tar.gz\n  sigbox sign --instance acme --identity-token token.jwt dist/\n  sigbox sign --recursive registry.example/app:v1 -a release=1.0",
		Args:    someArgs,
		RunE:    func(cmd *cobra.Command, args []string) error { return e.sign(cmd.Context(), f, args) },
	}
	f.register(e, cmd, bundleSuffix)
	cmd.Flags().StringArrayVarP(&f.annotations, "annotation", "a", nil, "`NAME=VALUE` to sign with images, of your own choice (repeatable)")
	cmd.Flags().BoolVar(&f.inToto, "in-toto", false, "WHAT is an in-toto statement: sign it as such, in a DSSE envelope")
	strictFlags(cmd.Flags())
	return cmd
}

// register registers what sign and attest share; suffix is that of bundles' files.
func (f *signFlags) register(e *env, cmd *cobra.Command, suffix string) {
	f.trust.register(e, cmd, forSigning)
	f.login.register(cmd)
	f.registry.register(cmd, "sign")
	fs := cmd.Flags()
	fs.StringVar(&f.bundle, "bundle", "", "`FILE` to write the bundle to, when one artifact is signed (default FILE"+suffix+", and for images their registry)")
	fs.VarPF((*negated)(&f.legacy), bundleFormatFlag, "", "sign images by bundles; =false is cosign's form of before, under tags, which needs a log of Rekor v1").NoOptDefVal = "true"
	fs.StringVar(&f.key, "key", "", "`FILE` with a private key to sign with, in place of an identity")
	fs.StringVar(&f.passphrase, "passphrase", "", "`SOURCE` of the key file's passphrase: env:NAME, file:PATH or credential:NAME (default env:COSIGN_PASSWORD if set, else the terminal)")
	fs.BoolVarP(&f.yes, "yes", "y", false, "do not ask before something that cannot be taken back")
	f.output.register(cmd)
}

type signFlags struct {
	trust       trustFlags
	login       loginFlags
	registry    registryFlags
	bundle      string
	annotations []string
	inToto      bool
	yes         bool
	// legacy is cosign's form of before, in place of bundles.
	legacy bool
	// attest is for the verb attest alone, and attestation what it reads.
	attest      *attestFlags
	attestation *attestation
	// key and passphrase say what to sign with in place of an identity.
	key, passphrase string
	output          outputFlag
}

// sign is the verb: it signs what args stand for.
func (e *env) sign(ctx context.Context, f signFlags, args []string) error {
	run, err := promptly(ctx, func() (*signRun, error) { return e.prepareToSign(ctx, f, args) })
	switch {
	case ctx.Err() != nil:
		return sigbox.Errorf(sigbox.Unavailable, "interrupted: nothing was signed")
	case err != nil:
		return err
	}
	run.bar = e.progress("signing", len(run.found.artifacts))
	run.all(ctx)
	run.bar.done()
	report := signReport{Instance: run.instance, PassedOver: run.found.passed, Signed: run.signed, Failed: run.failed, interrupted: ctx.Err() != nil, nouns: run.nouns()}
	if f.key == "" {
		identity := newIdentityJSON(run.identity)
		report.Identity = &identity
	}
	return e.printSigned(f, report)
}

// prepareToSign does all that comes before the first signature: it reads what the
// flags name, asks who is to be asked, and logs in.
func (e *env) prepareToSign(ctx context.Context, f signFlags, args []string) (*signRun, error) {
	f.bundle = resolveUp(f.bundle)
	found, err := findToSign(ctx, f, args)
	if err != nil {
		return nil, err
	}
	run := &signRun{flags: f, found: found}
	if err := e.findImagesToSign(ctx, run); err != nil {
		return nil, err
	}
	t, err := e.loadTrust(ctx, f.trust, forSigning)
	if err != nil {
		return nil, err
	}
	if err := e.confirmPublic(f, t); err != nil {
		return nil, err
	}
	run.instance = t.name
	if run.signer, err = e.newSigner(ctx, f, t); err != nil {
		return nil, err
	}
	run.identity, err = run.signer.Identity(ctx)
	return run, err
}

// confirmPublic asks before a person's name goes into a public log for ever.
func (e *env) confirmPublic(f signFlags, t trusted) error {
	if f.key != "" || t.name != instance.PublicGood || f.yes || !e.interactive() {
		return nil
	}
	e.note("This signs with the public-good instance of Sigstore. Your identity, such as your")
	e.note("email address, goes into public logs and can never be removed from them.")
	if !e.ask("Go on?") {
		return sigbox.Errorf(sigbox.Denied, "nothing was signed").
			WithHint("--instance NAME signs with another instance, --yes does not ask")
	}
	return nil
}

// newSigner puts a signer together from a signing config.
func (e *env) newSigner(ctx context.Context, f signFlags, t trusted) (*sign.Signer, error) {
	client := e.remote()
	if f.login.insecureHTTP || t.insecureHTTP {
		client = client.WithHTTP()
	}
	w, err := selectWitnesses(t.config, client, e.now(), f.legacy)
	if err != nil {
		return nil, err
	}
	config := sign.Config{Logs: w.logs, Stampers: w.stampers, Parallel: signParallel, Now: e.now}
	if f.key != "" {
		if config.Key, err = e.signingKey(f); err != nil {
			return nil, err
		}
	} else {
		a, err := selectAuthority(t.config, client, e.now())
		if err != nil {
			return nil, err
		}
		config.CA = a.ca
		config.Token = (&tokenSource{env: e, flags: f.login, client: client, issuer: a.issuer}).token
	}
	r, err := e.newRenewal(f.trust, forSigning, t, verify.Config{})
	if err != nil {
		return nil, err
	}
	if config.Verify, err = r.selfCheck(ctx, config.Key); err != nil {
		return nil, err
	}
	return sign.New(config)
}

// cosignPassword is where cosign's users have the passphrase of their key.
const cosignPassword = "COSIGN_PASSWORD"

// signingKey reads the key of --key. The passphrase of an encrypted one comes
// from --passphrase, else from cosign's variable, else from the terminal.
func (e *env) signingKey(f signFlags) (crypto.Signer, error) {
	source := f.passphrase
	if source == "" && e.getenv(cosignPassword) != "" {
		source = "env:" + cosignPassword
	}
	pass, err := keys.PassphraseFrom(source)
	if err != nil {
		return nil, usage("--passphrase: %v", err)
	}
	if pass == nil && e.interactive() {
		pass = e.askPassphrase
	}
	return keys.Load(f.key, pass)
}

// signRun signs many files.
type signRun struct {
	flags    signFlags
	found    found
	instance string // "" is none: files said whom to trust
	signer   *sign.Signer
	identity sigbox.Identity // not with --key
	bar      *progress
	// images is nil where there are none; annotations are for them.
	images      *oci.Client
	annotations map[string]string

	mu     sync.Mutex // guards what follows
	signed []signedJSON
	failed []failedJSON // as they happened: the first may have ended the others
	// refused are the repositories that took something not, and why.
	refused map[string]error
}

// all signs every artifact. What one file is at fault for is noted and the rest
// goes on, as it does but for images of the same repository when that takes something not;
// when a service fails, the rest would only fail as well.
func (r *signRun) all(ctx context.Context) {
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(r.parallel())
	for _, a := range r.found.artifacts {
		g.Go(func() error {
			done, err := r.one(gctx, a)
			r.bar.step()
			return r.note(a, done, err)
		})
	}
	_ = g.Wait() // every failure has been noted
	slices.SortFunc(r.signed, func(a, b signedJSON) int { return cmp.Compare(a.Artifact, b.Artifact) })
}

// parallel is how many artifacts are signed at once.
func (r *signRun) parallel() int {
	most := signImagesParallel
	if slices.ContainsFunc(r.found.artifacts, func(a artifact) bool { return a.image.IsZero() }) {
		most = signParallel
	}
	if a := r.flags.attestation; a != nil {
		most = min(most, 1+attestedMemory/(attestedForms*(1+len(a.predicate))))
	}
	return most
}

// note keeps an outcome; the error that it gives ends the run.
func (r *signRun) note(a artifact, done signedJSON, err error) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err == nil {
		r.signed = append(r.signed, done)
		return nil
	}
	r.failed = append(r.failed, failedJSON{Artifact: fileName(a.String()), Error: err.Error(), err: err})
	if _, ok := errors.AsType[notAttached](err); ok {
		if r.refused == nil {
			r.refused = map[string]error{}
		}
		r.refused[a.image.Repository()] = err
		return nil
	}
	if sigbox.KindOf(err) == sigbox.Internal {
		return nil // of the file system
	}
	return err
}

// notAttached is the error of a registry that took something not.
type notAttached struct{ error }

func (e notAttached) Unwrap() error { return e.error }

// attached is for the error, if any, of what was to be put into a registry.
func attached(err error) error {
	if err == nil {
		return nil
	}
	return notAttached{err}
}

// refusedBy gives why an image's repository takes nothing, if that is known.
func (r *signRun) refusedBy(a artifact) error {
	if a.image.IsZero() {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.refused[a.image.Repository()]
}

// one signs one file and writes its bundle.
func (r *signRun) one(ctx context.Context, a artifact) (signedJSON, error) {
	if err := r.refusedBy(a); err != nil {
		return signedJSON{}, err
	}
	if r.flags.legacy {
		return r.legacy(ctx, a)
	}
	b, d, err := r.bundle(ctx, a)
	if err != nil {
		return signedJSON{}, err
	}
	data, err := bundle.Append(nil, b)
	if err != nil {
		return signedJSON{}, err
	}
	if !a.image.IsZero() && r.flags.bundle == "" {
		m, err := r.images.AttachBundle(ctx, a.image, data, nil)
		return newSignedJSON(a, d, r.images.AttachedAt(a.image, m.Digest).String(), b), attached(err)
	}
	out := r.flags.bundleOf(a)
	if r.flags.attestation != nil && r.flags.bundle == "" {
		err = appendLine(out, data)
	} else {
		err = atomicfile.Replace(out, append(data, '\n'), 0o644)
	}
	if err != nil {
		return signedJSON{}, ioError(err)
	}
	return newSignedJSON(a, d, out, b), nil
}

// bundle signs one file, and gives its digest.
func (r *signRun) bundle(ctx context.Context, a artifact) (*sigbox.Bundle, sigbox.Digest, error) {
	if d := a.image.Digest(); !d.IsZero() {
		if r.flags.attestation != nil {
			return r.attest(ctx, a, d)
		}
		b, err := r.signer.Envelope(ctx, sigbox.InTotoPayloadType, cosign.AppendStatement(nil, d, r.annotations))
		return b, d, err
	}
	if !r.flags.inToto {
		digests, err := promptly(ctx, func() ([]sigbox.Digest, error) { return digestOf(ctx, a.path, r.signer.Hash()) })
		if err != nil {
			return nil, sigbox.Digest{}, err
		}
		if r.flags.attestation != nil {
			return r.attest(ctx, a, digests[0])
		}
		b, err := r.signer.Digest(ctx, digests[0])
		return b, digests[0], err
	}
	statement, err := promptly(ctx, func() ([]byte, error) { return readFile(a.path, maxStatement) })
	if err != nil {
		return nil, sigbox.Digest{}, err
	}
	if _, err := statementSubject(statement); err != nil {
		return nil, sigbox.Digest{}, err
	}
	b, err := r.signer.Envelope(ctx, sigbox.InTotoPayloadType, statement)
	return b, r.signer.Hash().Sum(statement), err
}

// nouns say what is signed.
func (r *signRun) nouns() nouns {
	if r.flags.attestation != nil {
		return nouns{"attestation", "attestations"}
	}
	return r.found.nouns()
}

// attest signs what is said of an artifact.
func (r *signRun) attest(ctx context.Context, a artifact, d sigbox.Digest) (*sigbox.Bundle, sigbox.Digest, error) {
	text, err := r.flags.attestation.statement(a, d)
	if err != nil {
		return nil, d, err
	}
	b, err := r.signer.Envelope(ctx, sigbox.InTotoPayloadType, text)
	return b, d, err
}

// signReport is what "sign --output json" prints.
type signReport struct {
	Instance string `json:"instance,omitempty"`
	// PassedOver is what directories have besides.
	PassedOver passedOver `json:"passedOver"`
	// Identity is absent with --key.
	Identity *identityJSON `json:"identity,omitempty"`
	Signed   []signedJSON  `json:"signed"`
	Failed   []failedJSON  `json:"failed"`

	interrupted bool
	nouns       nouns
}

type signedJSON struct {
	Artifact fileName   `json:"artifact"`
	Digest   string     `json:"digest"`
	Bundle   fileName   `json:"bundle"`
	LogIndex *int64     `json:"logIndex,omitempty"`
	Time     *time.Time `json:"time,omitempty"`
}

type failedJSON struct {
	Artifact fileName `json:"artifact"`
	Error    string   `json:"error"`
	err      error
}

func newSignedJSON(a artifact, d sigbox.Digest, out string, b *sigbox.Bundle) signedJSON {
	j := signedJSON{Artifact: fileName(a.String()), Digest: d.String(), Bundle: fileName(out)}
	if len(b.Entries) > 0 {
		j.LogIndex = &b.Entries[0].LogIndex
	}
	if len(b.Timestamps) > 0 {
		if token, err := timestamp.Parse(b.Timestamps[0]); err == nil {
			j.Time = &token.Time
		}
	}
	return j
}

// printSigned prints the outcome and gives the error that the verb ends with.
func (e *env) printSigned(f signFlags, r signReport) error {
	if f.output.json() {
		r.Signed, r.Failed = orEmpty(r.Signed), orEmpty(r.Failed)
		if err := e.printJSON(r); err != nil {
			return err
		}
	} else {
		for _, s := range r.Signed {
			fmt.Fprintf(e.stdout, "%s\n", printable(string(s.Bundle)))
		}
		e.summarizeSigned(r)
	}
	if len(r.Failed) == 0 {
		return nil
	}
	return failedToSign(r)
}

// summarizeSigned tells a person what was done.
func (e *env) summarizeSigned(r signReport) {
	if len(r.Signed) > 0 {
		where, who := "", " with the key given"
		if r.Instance != "" {
			where = " with instance " + r.Instance
		}
		if r.Identity != nil {
			who = " as " + r.Identity.Subject + ", vouched for by " + r.Identity.Issuer
		}
		e.note("Signed %s%s%s.", r.nouns.count(len(r.Signed)), where, who)
	}
	if s := r.PassedOver.String(); s != "" {
		e.note("Passed over: %s.", s)
	}
}

// failedToSign makes one error of all: that of the first failure.
func failedToSign(r signReport) error {
	first := r.Failed[0]
	if r.interrupted {
		return sigbox.Errorf(sigbox.Unavailable, "interrupted: %d of %s not signed", len(r.Failed), r.nouns.count(len(r.Failed)+len(r.Signed))).
			WithHint("run it again; what is signed twice is recorded twice")
	}
	if len(r.Signed) == 0 && len(r.Failed) == 1 {
		return fmt.Errorf("%s: %w", first.Artifact, first.err)
	}
	return fmt.Errorf("%d of %s were not signed, first %s: %w", len(r.Failed), r.nouns.count(len(r.Failed)+len(r.Signed)), first.Artifact, first.err)
}

// orEmpty makes nil an empty list, for JSON.
func orEmpty[T any](s []T) []T {
	if s == nil {
		return []T{}
	}
	return s
}
