package main

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"os"
	"regexp"
	"slices"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/verify"
)

// verifyParallel is how many files are read and judged at once.
const verifyParallel = 16

func newVerifyCommand(e *env) *cobra.Command {
	var f verifyFlags
	cmd := &cobra.Command{
		Use:     "verify WHAT…",
		GroupID: "sign",
		Short:   "Verify files and directories",
		Long: `verify checks files, all files below directories, and digests (sha256:…) against
their bundles. It finds a file's bundles beside it: FILE.sigstore.json,
FILE.sigstore.jsonl or FILE.sigstore. Of several bundles one that verifies is
enough; a file without any is not verified.

Say who must have signed: --certificate-identity and --certificate-oidc-issuer,
or their forms with regular expressions, which must match as a whole; or --key.

A bundle may hold a statement about the file in place of a signature of it: the
result says so, and --type demands one of a certain kind.`,
		Example: `  sigbox verify app.tar.gz --certificate-identity ada@example.com \
    --certificate-oidc-issuer https://accounts.example.com
  sigbox verify dist/ --certificate-identity-regexp 'https://github\.com/acme/.*' \
    --certificate-oidc-issuer https://token.actions.githubusercontent.com
  sigbox verify app.tar.gz --key maintainer.pub`,
		Args: minArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return e.verify(cmd.Context(), f, args) },
	}
	f.register(e, cmd)
	return cmd
}

type verifyFlags struct {
	trust                    trustFlags
	bundle                   string
	key                      string
	identity, identityRegexp string
	issuer, issuerRegexp     string
	predicateType            string
	ignoreLog, explain       bool
	output                   outputFlag
}

func (f *verifyFlags) register(e *env, cmd *cobra.Command) {
	f.trust.register(e, cmd, false)
	fs := cmd.Flags()
	fs.StringVar(&f.bundle, "bundle", "", "`FILE` with the bundle, when one artifact is verified")
	fs.StringVar(&f.key, "key", "", "`FILE` with the public key that must have signed, in place of an identity")
	fs.StringVar(&f.identity, "certificate-identity", "", "who must have signed: the `NAME` in the certificate, such as an email address")
	fs.StringVar(&f.identityRegexp, "certificate-identity-regexp", "", "`REGEXP` that the whole name must match")
	fs.StringVar(&f.issuer, "certificate-oidc-issuer", "", "`URL` of the OpenID provider that must have vouched for the name")
	fs.StringVar(&f.issuerRegexp, "certificate-oidc-issuer-regexp", "", "`REGEXP` that the provider's whole URL must match")
	fs.StringVar(&f.predicateType, "type", "", "predicate type `URI` that an attestation must have")
	fs.BoolVar(&f.ignoreLog, "insecure-ignore-tlog", false, "with --key: be content with the signature alone, whether or not it was ever recorded")
	fs.BoolVar(&f.explain, "explain", false, "say what each step of the verification found")
	f.output.register(cmd)
}

// check finds what makes no sense in the flags, before anything is read.
func (f *verifyFlags) check() error {
	pairs := []struct{ exact, pattern, name string }{
		{f.identity, f.identityRegexp, "--certificate-identity"},
		{f.issuer, f.issuerRegexp, "--certificate-oidc-issuer"},
	}
	for _, p := range pairs {
		if p.exact != "" && p.pattern != "" {
			return usage("%s and %s-regexp exclude each other", p.name, p.name)
		}
		if _, err := regexp.Compile(p.pattern); err != nil {
			return usage("%s-regexp: %v", p.name, err)
		}
		if f.key != "" && p.exact+p.pattern != "" {
			return usage("--key and %s exclude each other: a key has no identity", p.name)
		}
	}
	if f.ignoreLog && f.key == "" {
		return usage("--insecure-ignore-tlog needs --key: without a log, a certificate proves nothing after ten minutes")
	}
	return nil
}

// policy is what the flags demand.
func (f *verifyFlags) policy() sigbox.Policy {
	p := sigbox.Policy{PredicateType: f.predicateType}
	if f.key == "" {
		p.Identities = []sigbox.IdentityMatch{{
			Subject: f.identity, SubjectRegexp: f.identityRegexp, Issuer: f.issuer, IssuerRegexp: f.issuerRegexp,
		}}
	}
	return p
}

// namesSigner reports whether the flags say who must have signed.
func (f *verifyFlags) namesSigner() bool {
	return f.key != "" || f.identity+f.identityRegexp != "" && f.issuer+f.issuerRegexp != ""
}

// verify is the verb: it verifies what args stand for.
func (e *env) verify(ctx context.Context, f verifyFlags, args []string) error {
	if err := f.check(); err != nil {
		return err
	}
	found, err := findToVerify(ctx, f, args)
	if err != nil {
		return err
	}
	if !f.namesSigner() {
		return missingIdentity(f, found.artifacts[0])
	}
	j, err := e.newJudge(ctx, f)
	if err != nil {
		return err
	}
	bar := e.progress("verifying", len(found.artifacts))
	results := j.all(ctx, found.artifacts, bar.step)
	bar.done()
	report := newVerifyReport(j.source, results)
	report.PassedOver = found.passed
	return e.printVerified(f, report)
}

// findToVerify resolves the arguments of verify. A bundle stands for the file
// that it is for.
func findToVerify(ctx context.Context, f verifyFlags, args []string) (found, error) {
	resolved := slices.Clone(args)
	for i, arg := range args {
		if f.bundle != "" || !isBundleName(arg) {
			continue
		}
		resolved[i] = artifactOf(arg)
		if _, err := os.Stat(resolved[i]); errors.Is(err, fs.ErrNotExist) {
			return found{}, &usageError{
				msg:  arg + " is a bundle, and the file that it is for, " + resolved[i] + ", is not here",
				hint: "name the file, and the bundle by --bundle " + arg,
			}
		}
	}
	found, err := findArtifacts(ctx, resolved)
	switch {
	case err != nil:
		return found, err
	case len(found.artifacts) == 0:
		return found, &usageError{msg: "there is nothing to verify: found only " + cmp.Or(found.passed.String(), "empty directories"), hint: "name files, or directories with files in them"}
	case f.bundle != "" && len(found.artifacts) > 1:
		return found, usage("--bundle names one file, and there are %d artifacts to verify", len(found.artifacts))
	}
	for _, a := range found.artifacts {
		if a.path == "" && f.bundle == "" {
			return found, usage("the bundle of a digest has to be named: --bundle FILE")
		}
	}
	return found, nil
}

// judge verifies artifacts, all by the same trust and policy.
type judge struct {
	verifier *verify.Verifier
	policy   sigbox.Policy
	key      *verify.Key
	bundle   string
	explain  bool
	source   string // of the trust, for people
}

func (e *env) newJudge(ctx context.Context, f verifyFlags) (*judge, error) {
	j := &judge{policy: f.policy(), bundle: f.bundle, explain: f.explain, source: "the key in " + f.key + " alone"}
	if f.key != "" {
		b, err := readFile(f.key, maxTrustFile)
		if err != nil {
			return nil, err
		}
		key, err := verify.ParseKey(b)
		if err != nil {
			return nil, sigbox.Errorf(sigbox.KindOf(err), "%s: %w", f.key, err)
		}
		j.key = &key
	}
	var config verify.Config
	if !f.ignoreLog {
		t, err := e.loadTrust(ctx, f.trust, forVerifying)
		if err != nil {
			return nil, err
		}
		config.Roots, j.source = t.roots, t.source
	}
	var err error
	j.verifier, err = verify.New(config)
	return j, err
}

// outcome is what became of one artifact: a verdict or an error.
type outcome struct {
	artifact artifact
	bundle   string // the file that it was found in
	verdict  *verify.Verdict
	err      error
}

// all judges every artifact, many at once, and keeps their order. Of a verdict
// only what is printed is kept: there may be very many.
func (j *judge) all(ctx context.Context, artifacts []artifact, step func()) []verifyResult {
	results := make([]verifyResult, len(artifacts))
	var g errgroup.Group
	g.SetLimit(verifyParallel)
	for i, a := range artifacts {
		g.Go(func() error {
			results[i] = newVerifyResult(j.one(ctx, a), j.explain)
			step()
			return nil
		})
	}
	_ = g.Wait() // results hold the errors
	return results
}

// one judges one artifact by the bundles that there are for it.
func (j *judge) one(ctx context.Context, a artifact) outcome {
	o := outcome{artifact: a}
	files := []string{j.bundle}
	if j.bundle == "" {
		if files = bundlesBeside(a.path); len(files) == 0 {
			o.err = sigbox.Errorf(sigbox.NotVerified, "there is no bundle beside it").
				WithHint("expected %s, or name the bundle with --bundle", a.path+bundleSuffix)
			return o
		}
	}
	for _, file := range files {
		verdict, err := j.file(ctx, a, file)
		if err == nil {
			return outcome{artifact: a, bundle: file, verdict: verdict}
		}
		o = o.closer(outcome{artifact: a, bundle: file, err: err})
	}
	return o
}

// file judges an artifact by the bundles in a file.
func (j *judge) file(ctx context.Context, a artifact, file string) (*verify.Verdict, error) {
	bundles, err := readBundles(file)
	if err != nil {
		return nil, err
	}
	var o outcome
	for _, b := range bundles {
		verdict, err := j.bundleOf(ctx, a, b)
		if err == nil {
			return verdict, nil
		}
		o = o.closer(outcome{err: err})
	}
	return nil, o.err
}

// closer gives the failure that came closer to success, which tells more. What
// could not be decided weighs most: it may have been the one.
func (o outcome) closer(p outcome) outcome {
	switch {
	case o.err == nil:
		return p
	case exitStatus(o.err) != exitStatus(p.err):
		if exitStatus(p.err) > exitStatus(o.err) {
			return p
		}
		return o
	case verify.FailedStep(p.err) > verify.FailedStep(o.err):
		return p
	}
	return o
}

// bundleOf judges an artifact by one bundle.
func (j *judge) bundleOf(ctx context.Context, a artifact, b *sigbox.Bundle) (*verify.Verdict, error) {
	if a.path == "" {
		return j.verify(verify.Digest(a.digest), b)
	}
	f, err := os.Open(a.path)
	if err != nil {
		return nil, ioError(err)
	}
	defer func() { _ = f.Close() }() // only read
	return j.verify(verify.Reader(readerWith(ctx, f)), b)
}

func (j *judge) verify(a verify.Artifact, b *sigbox.Bundle) (*verify.Verdict, error) {
	if j.key != nil {
		return j.verifier.VerifyKey(a, b, *j.key, j.policy)
	}
	return j.verifier.Verify(a, b, j.policy)
}
