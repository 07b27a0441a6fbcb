package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/app"
	"github.com/sigbox/sigbox/internal/doctor"
	"github.com/sigbox/sigbox/internal/instance"
	"github.com/sigbox/sigbox/internal/remote"
	"github.com/sigbox/sigbox/sign"
	"github.com/sigbox/sigbox/verify"
)

// doctorFlags are the flags of doctor.
type doctorFlags struct {
	dataFlags
	instance string
	token    string
	noSign   bool
	quiet    bool
	insecure bool
	timeout  time.Duration
	output   outputFlag
}

func newDoctorCommand(e *env) *cobra.Command {
	var f doctorFlags
	cmd := &cobra.Command{
		Use:     "doctor [URL]",
		GroupID: "run",
		Short:   "Find out what is wrong with an instance, or will be soon",
		Long: `Find out what is wrong with an instance, or will be soon, and what to do about it:
from outside, by its URL or by the name under which you trust it (--instance), and
on the machine that it runs on, in its data directory (--data), whether a server
runs or not. Without any of these it is the data directory, if there is an instance
in it, and else the instance in use.

It signs a few random bytes and verifies that, as any client would. This makes one
certificate and an entry in each log; --no-sign leaves it out. Nothing else is
changed. The identity token comes from --identity-token, else from the data
directory, else from the surroundings (a CI job's, for one); nobody is asked to log
in.

Exit status: 0 if there is no problem (there may be warnings), 1 if there is one, 2
for wrong usage, 3 if none was found and something could not be checked.`,
		Example: `  sigbox doctor --data /var/lib/sigbox
  sigbox doctor https://sigstore.example.com --no-sign`,
		Args:              optionalArg,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			return e.doctor(cmd.Context(), f, first(args))
		},
	}
	f.register(cmd)
	fs := cmd.Flags()
	fs.StringVar(&f.instance, "instance", "", "`NAME` or URL of an instance that you trust")
	fs.StringVar(&f.token, "identity-token", "", "identity token to sign with: the token itself, a `FILE`, or - for standard input")
	fs.BoolVar(&f.noSign, "no-sign", false, "do not sign: make no certificate and no log entry")
	fs.BoolVar(&f.insecure, "insecure-http", false, "let the identity token go over plain http to other machines")
	fs.BoolVarP(&f.quiet, "quiet", "q", false, "print only what needs somebody")
	fs.DurationVar(&f.timeout, "timeout", 0, "how long each of the three rounds of checks may last, a `DURATION` (default 20s)")
	_ = cmd.RegisterFlagCompletionFunc("instance", e.completeInstance)
	f.output.register(cmd)
	return cmd
}

// doctor is the verb.
func (e *env) doctor(ctx context.Context, f doctorFlags, at string) error {
	c, err := e.patient(f, at)
	if err != nil {
		return err
	}
	e.doctorSigns(f, &c)
	report := doctor.Run(ctx, c)
	if f.quiet {
		report.Findings = needed(report.Findings)
	}
	if f.output.json() {
		err = e.printJSON(report)
	} else {
		err = printReport(e.stdout, report)
	}
	if err != nil {
		return err
	}
	switch report.Worst() {
	case doctor.Problem:
		return silentError{exitNotVerified}
	case doctor.Unknown:
		return silentError{exitUndecided}
	}
	return nil
}

// patient says what is to be examined.
func (e *env) patient(f doctorFlags, at string) (doctor.Config, error) {
	c := doctor.Config{
		Client: remote.New(remote.Config{UserAgent: "sigbox/" + buildVersion().Version, Retries: -1, Now: e.now, AllowHTTP: f.insecure}),
		File:   f.config, Version: buildVersion().Version, Now: e.now, Timeout: f.timeout,
	}
	var named int
	for _, s := range []string{at, f.instance, f.data} {
		if s != "" {
			named++
		}
	}
	if named > 1 {
		return c, usage("what is to be examined? give one of URL, --instance and --data")
	}
	store, err := e.openInstances()
	if err != nil {
		return c, err
	}
	c.Logs = store.Logs()
	switch {
	case at != "":
		err = e.byURL(&c, store, at)
	case f.instance != "":
		err = e.byName(&c, f.instance)
	default:
		err = e.byData(&c, f)
	}
	return c, err
}

// byData examines a data directory; if none is named and there is no instance in the
// usual one, it is the instance in use.
func (e *env) byData(c *doctor.Config, f doctorFlags) (err error) {
	if c.Data, err = f.settle(e); err != nil {
		return err
	}
	ground := app.Examine(app.Config{Data: c.Data, File: c.File})
	if ground.NoProvider {
		c.NoSign = "this host has no OpenID provider"
	}
	if f.data != "" || ground.Err == nil {
		return nil
	}
	c.Data = ""
	return e.byName(c, "")
}

// byURL examines an instance that may be known by its URL.
func (e *env) byURL(c *doctor.Config, store *instance.Store, at string) error {
	base, err := instance.CleanURL(at)
	if err != nil {
		return configured(err)
	}
	if i, err := store.Find(base); err == nil {
		return e.known(c, store, i)
	}
	c.URL, c.Mirror = base, base+"/tuf"
	return nil
}

// byName examines an instance that is trusted.
func (e *env) byName(c *doctor.Config, name string) error {
	store, i, err := e.findInstance(name)
	if err != nil {
		return err
	}
	return e.known(c, store, i)
}

func (e *env) known(c *doctor.Config, store *instance.Store, i instance.Instance) (err error) {
	c.URL, c.Mirror, c.Cache = i.URL, i.Mirror, store.Cache(i.Name)
	if i.InsecureHTTP {
		c.Client = c.Client.WithHTTP()
	}
	if i.BuiltIn {
		c.NoSign = "it is a public instance, whose logs keep your name for ever"
	}
	c.Root, err = store.Root(i)
	return err
}

// doctorSigns says how the examination signs, if it does.
func (e *env) doctorSigns(f doctorFlags, c *doctor.Config) {
	if f.noSign || c.NoSign != "" && f.token == "" {
		return
	}
	examined := *c
	c.Sign = func(ctx context.Context, root *sigbox.TrustedRoot, config *sigbox.SigningConfig) (*sigbox.Bundle, error) {
		t, err := e.doctorToken(ctx, f, examined)
		if err != nil {
			return nil, err
		}
		s, err := e.doctorSigner(ctx, examined.Client, t, root, config)
		if err != nil {
			return nil, err
		}
		return s.Digest(ctx, randomDigest(s.Hash()))
	}
}

// doctorSigner signs as the verb sign does by default.
func (e *env) doctorSigner(ctx context.Context, client *remote.Client, t sign.Token, root *sigbox.TrustedRoot, config *sigbox.SigningConfig) (*sign.Signer, error) {
	a, err := selectAuthority(config, client, e.now())
	if err != nil {
		return nil, err
	}
	w, err := selectWitnesses(config, client, e.now(), false)
	if err != nil {
		return nil, err
	}
	r, err := e.newRenewal(trustFlags{}, forSigning, trusted{roots: []*sigbox.TrustedRoot{root}}, verify.Config{}) // it is the newest
	if err != nil {
		return nil, err
	}
	check, err := r.selfCheck(ctx, nil)
	if err != nil {
		return nil, err
	}
	token := func(context.Context) (sign.Token, error) { return t, nil }
	return sign.New(sign.Config{CA: a.ca, Token: token, Logs: w.logs, Stampers: w.stampers, Verify: check, Now: e.now})
}

// randomDigest is the digest of an artifact that nobody has.
func randomDigest(h sigbox.HashAlgorithm) sigbox.Digest {
	var b [32]byte
	_, _ = rand.Read(b[:]) // never fails
	return h.Sum(b[:])
}

// doctorEmail is whom the examination signs as with the data directory at hand: of a
// domain that is nobody's (RFC 2606).
const doctorEmail = "doctor@sigbox.invalid"

// doctorToken gets an identity token without asking anybody to log in.
func (e *env) doctorToken(ctx context.Context, f doctorFlags, c doctor.Config) (sign.Token, error) {
	raw, err := e.doctorTokenText(ctx, f, c)
	switch {
	case err != nil:
		return sign.Token{}, err
	case raw == "":
		return sign.Token{}, doctor.ErrNoToken
	}
	return sign.ParseToken(raw)
}

func (e *env) doctorTokenText(ctx context.Context, f doctorFlags, c doctor.Config) (string, error) {
	switch {
	case f.token != "":
		return e.tokenFrom("--identity-token", f.token)
	case c.Data != "":
		admin, err := app.OpenAdmin(ctx, app.Config{Data: c.Data, File: c.File, Now: e.now})
		if err != nil {
			return "", err
		}
		defer func() { _ = admin.Close() }() // only asked
		return admin.Token(ctx, app.TokenRequest{Email: doctorEmail})
	}
	raw, _, err := remote.Ambient{Getenv: e.getenv}.Token(ctx, c.Client)
	return raw, err
}

// needed leaves out what needs nobody.
func needed(all []doctor.Finding) []doctor.Finding {
	found := []doctor.Finding{}
	for _, f := range all {
		if f.Level != doctor.OK {
			found = append(found, f)
		}
	}
	return found
}

// printReport writes a report for people, the worst last, where it is read first.
func printReport(out io.Writer, r doctor.Report) error {
	var b strings.Builder
	counts := map[doctor.Level]int{}
	for _, f := range doctor.Sorted(r.Findings) {
		counts[f.Level]++
		fmt.Fprintf(&b, "%-8s %s: %s\n", f.Level, printable(f.Check), printable(f.Found))
		if f.Means != "" {
			fmt.Fprintf(&b, "         %s\n", printable(f.Means))
		}
		if f.Do != "" {
			fmt.Fprintf(&b, "         do: %s\n", printable(f.Do))
		}
	}
	fmt.Fprintf(&b, "%s, %s, %d not checked, %d well\n", count(counts[doctor.Problem], "problem", "problems"),
		count(counts[doctor.Warning], "warning", "warnings"), counts[doctor.Unknown], counts[doctor.OK])
	_, err := io.WriteString(out, b.String())
	return err
}
