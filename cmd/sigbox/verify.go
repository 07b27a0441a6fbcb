package main

import (
	"context"
	"fmt"
	"slices"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/wire/statement"
)

func newVerifyCommand(e *env) *cobra.Command {
	var f verifyFlags
	cmd := &cobra.Command{
		Use:     "verify WHAT…",
		GroupID: "sign",
		Short:   "Verify files, directories and images",
		Long: `verify checks WHAT against its signatures: files, directories with all below them,
patterns such as 'dist/**/*.deb', - for standard input, and digests (sha256:…,
gitCommit:…). A bundle stands for the file that it is for, which is then judged by
this bundle. A file that is called like a digest or - is ./NAME.

It finds what is beside a file: FILE.sigstore.json, FILE.sigstore.jsonl,
FILE.sigstore, and what cosign wrote before: FILE.bundle, or FILE.sig with
FILE.pem, .cert or .crt. Of several signatures one that verifies is enough; a file
without any is not verified.

An image (registry.example/app:v1, …@sha256:…, docker://NAME) is verified by what its
registry has for it: bundles, and the tags that cosign used before. With --recursive
so is each image that an index lists.

A directory is verified when all that is in it is. Passed over, and told, are
version control, special files, and links that lead nowhere or to what is judged
anyway. Any other link is judged like a file of its own name, or is not verified if
it is to a directory. A link that is named stands for what it leads to.

A file of checksums (SHA256SUMS, …_SHA256SUMS, …checksums.txt) is verified itself,
then every file that it lists, which needs no signature of its own.

Say who must have signed: --certificate-identity and --certificate-oidc-issuer, or
their forms with regular expressions, which must match as a whole; or --key. These
flags are short for a policy, which --policy reads from a file: there, several
signers may be accepted, or demanded together.

A signature that came without its log entry, as cosign's .sig do, is looked up in
the logs of the trust root: that needs the network, and --offline forbids it.

An attestation says something about a file and is no signature of it: --type says
which kinds will do.`,
		Example: `  sigbox verify app.tar.gz --certificate-identity ada@example.com \
    --certificate-oidc-issuer https://accounts.example.com
  sigbox verify dist/ --certificate-identity-regexp 'https://github\.com/acme/.*' \
    --certificate-oidc-issuer https://token.actions.githubusercontent.com
  sigbox verify --recursive registry.example/app:v1 --policy release.yaml
  sigbox verify SHA256SUMS --ignore-missing --key maintainer.pub
  sigbox verify app.tar.gz --policy release.yaml --explain
  curl -sL https://example.com/app | sigbox verify - --bundle app.sigstore.json --policy release.yaml`,
		Args: func(cmd *cobra.Command, args []string) error {
			if f.policy.print {
				return nil
			}
			return someArgs(cmd, args)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if f.policy.print {
				return e.printPolicyOf(cmd.Context(), f)
			}
			return e.verify(cmd.Context(), f, args)
		},
	}
	f.register(e, cmd)
	strictFlags(cmd.Flags())
	return cmd
}

type verifyFlags struct {
	trust              trustFlags
	policy             policyFlags
	evidence           evidenceFlags
	lists              listFlags
	registry           registryFlags
	annotations        []string
	ignoreLog, explain bool
	output             outputFlag
	// set is all of them, to see what was typed.
	set *pflag.FlagSet
}

func (f *verifyFlags) register(e *env, cmd *cobra.Command) {
	fs := cmd.Flags()
	fs.SortFlags = false // by subject, and in commands that we suggest as they were typed
	f.set, f.policy.stdin = fs, e.stdin
	f.evidence.register(cmd)
	f.lists.register(cmd)
	e.headed(cmd, "Artifact and bundle")
	f.registry.register(cmd, "verify")
	fs.StringArrayVarP(&f.annotations, "annotation", "a", nil, "`NAME=VALUE` that must have been signed with the image (repeatable)")
	_ = cmd.RegisterFlagCompletionFunc("annotation", cobra.NoFileCompletions)
	e.headed(cmd, "Images")
	f.policy.registerSigners(cmd)
	e.headed(cmd, "Who may have signed")
	f.policy.registerDemands(cmd)
	fs.BoolVar(&f.ignoreLog, "insecure-ignore-tlog", false, "with keys: be content with the signature alone, whether or not it was ever recorded")
	e.headed(cmd, "What is demanded besides")
	f.trust.register(e, cmd, forVerifying)
	_ = cmd.MarkFlagFilename("trusted-root", "json", "jsonl")
	e.headed(cmd, "Trust")
	fs.BoolVar(&f.explain, "explain", false, "say what each step of the verification found, with its evidence")
	f.output.register(cmd)
	fs.BoolVar(&f.policy.print, "print-policy", false, "print the policy that the flags stand for, and verify nothing")
	e.headed(cmd, "Output")
}

// check finds what makes no sense in the flags, before anything is read.
func (f *verifyFlags) check() error {
	if err := f.policy.check(); err != nil {
		return err
	}
	if err := f.evidence.check(); err != nil {
		return err
	}
	if f.ignoreLog && f.policy.file == "" && len(f.policy.keys) == 0 {
		return usage("--insecure-ignore-tlog needs --key: without a log, a certificate proves nothing after ten minutes")
	}
	if _, err := annotationsOf(f.annotations); err != nil {
		return err
	}
	if f.policy.print && len(f.annotations) > 0 {
		return usage("--annotation is no part of a policy, so --print-policy cannot show it")
	}
	if f.policy.file == "-" && f.evidence.bundle == "-" {
		return usage("standard input cannot be both the policy and the bundle")
	}
	if f.evidence.signature != "" && f.evidence.certificate == "" && f.policy.file == "" && len(f.policy.keys) == 0 {
		return usage("--signature needs --certificate, or --key")
	}
	return nil
}

// verify is the verb: it verifies what args stand for.
func (e *env) verify(ctx context.Context, f verifyFlags, args []string) error {
	report, err := promptly(ctx, func() (verifyReport, error) { return e.judgeAll(ctx, f, args) })
	if err != nil {
		return err
	}
	return e.printVerified(f, report)
}

// judgeAll verifies, and prints nothing of the result.
func (e *env) judgeAll(ctx context.Context, f verifyFlags, args []string) (verifyReport, error) {
	if err := f.check(); err != nil {
		return verifyReport{}, err
	}
	if f.policy.file == "-" && slices.Contains(args, "-") {
		return verifyReport{}, usage("standard input cannot be both the policy and the artifact")
	}
	calm := e.hurry()
	defer calm()
	in, err := findToVerify(ctx, f, args)
	if err != nil {
		return verifyReport{}, err
	}
	if in.count() > hurriedArtifacts {
		calm()
	}
	if err := f.checkAnnotations(in); err != nil {
		return verifyReport{}, err
	}
	if !f.policy.namesSigner() {
		return verifyReport{}, missingIdentity(f, args, in.artifacts[0])
	}
	j, err := e.newJudge(ctx, f)
	if err != nil {
		return verifyReport{}, err
	}
	if in.hasImages() {
		if err := e.findImages(ctx, f, j, in); err != nil {
			return verifyReport{}, err
		}
	}
	bar := e.progress("verifying", in.count())
	reporter := &reporter{flags: f, policy: j.policy, args: args, artifacts: in.count()}
	results, bundles := j.all(ctx, in.artifacts, reporter.result, bar.step)
	bar.done()
	report := newVerifyReport(*j.trust.source.Load(), results)
	report.nouns = in.nouns()
	report.PassedOver, report.Missing = in.passed, len(in.missing)
	report.PassedOver.Bundles += bundles
	return report, nil
}

// verifiedStatement judges the one artifact that args stand for, and gives what its
// signature states, nil for a plain one.
func (e *env) verifiedStatement(ctx context.Context, f verifyFlags, args []string) (verifyResult, *statement.Statement, error) {
	if err := f.check(); err != nil {
		return verifyResult{}, nil, err
	}
	in, err := findToVerify(ctx, f, args)
	switch {
	case err != nil:
		return verifyResult{}, nil, err
	case len(in.artifacts) != 1:
		return verifyResult{}, nil, usage("expected one image or file, found %d", len(in.artifacts))
	case !f.policy.namesSigner():
		return verifyResult{}, nil, missingIdentity(f, args, in.artifacts[0])
	}
	if err := f.checkAnnotations(in); err != nil {
		return verifyResult{}, nil, err
	}
	j, err := e.newJudge(ctx, f)
	if err != nil {
		return verifyResult{}, nil, err
	}
	if in.hasImages() {
		if err := e.findImages(ctx, f, j, in); err != nil {
			return verifyResult{}, nil, err
		}
	}
	o := j.one(ctx, in.artifacts[0])
	r := (&reporter{flags: f, policy: j.policy, args: args, artifacts: 1}).result(o)
	if len(o.verdicts) == 0 {
		return r, nil, nil
	}
	return r, o.verdicts[0].Statement(), nil
}

// findImages resolves the images among the inputs.
func (e *env) findImages(ctx context.Context, f verifyFlags, j *judge, in *inputs) (err error) {
	if f.trust.offline && !f.evidence.given() {
		return usage("--offline: the signatures of an image are in its registry; give --bundle FILE with its digest (sha256:…)")
	}
	if j.images, err = e.registries(f.registry); err != nil {
		return err
	}
	in.resolveImages(ctx, j.images, f.registry.recursive)
	if !f.output.json() {
		e.noteResolved(in.found)
	}
	return nil
}

// printPolicyOf prints the policy of the flags.
func (e *env) printPolicyOf(ctx context.Context, f verifyFlags) error {
	if err := f.check(); err != nil {
		return err
	}
	if !f.policy.namesSigner() {
		return &usageError{msg: "the flags say nobody who must have signed, so there is no policy to print", hint: "give --" + identityFlag + " and --" + issuerFlag + ", or --key, or --policy"}
	}
	p, err := promptly(ctx, f.policy.policy)
	if err != nil {
		return err
	}
	return e.printPolicy(p, f.output.json())
}

// checkLog refuses what --insecure-ignore-tlog cannot be meant for.
func (f *verifyFlags) checkLog(p sigbox.Policy) error {
	if f.ignoreLog && len(p.Identities) > 0 {
		return usage("--insecure-ignore-tlog is for keys, and %s names identities: without a log, a certificate proves nothing after ten minutes", f.policy.file)
	}
	return nil
}

// trustWord says by whose word keys alone are trusted.
func (f *verifyFlags) trustWord() string {
	if f.policy.file != "" {
		return fmt.Sprintf("the keys in %s alone", f.policy.file)
	}
	if len(f.policy.keys) == 1 {
		return fmt.Sprintf("the key in %s alone", f.policy.keys[0])
	}
	return "the keys given alone"
}
