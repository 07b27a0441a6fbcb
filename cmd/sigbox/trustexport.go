package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sigbox/sigbox/internal/app"
	"github.com/sigbox/sigbox/internal/handout"
	"github.com/sigbox/sigbox/internal/remote"
)

func newTrustCommand(e *env) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "trust",
		GroupID: "run",
		Short:   "Hand out what clients need to trust an instance",
		Args:    noArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newTrustExportCommand(e))
	return cmd
}

// exportFlags are the flags of trust export.
type exportFlags struct {
	data     dataFlags
	instance string
	name     string
	// One of these says where to.
	out, tar, format string
}

func newTrustExportCommand(e *env) *cobra.Command {
	var f exportFlags
	var output outputFlag
	cmd := &cobra.Command{
		Use:   "export",
		Short: "Write an instance's trust as files, in each client's form",
		Long: `export writes what clients need to trust an instance, each in the form that it takes:

  root.json                  TUF's root, where trust begins: sigbox, cosign, libraries
  trusted_root.json          keys and certificates: sigbox, cosign --trusted-root
  signing_config.v0.2.json   the services: cosign --signing-config
  client_trust_config.json   both in one: sigstore-python --trust-config
  trustroot-remote.json      a TrustRoot for policy-controller that follows the instance,
  trustroot-repository.json  one that has the TUF repository in it, and
  trustroot-keys.json        one with keys alone
  tuf/                       a copy of the TUF repository, for any web server, for
                             "sigbox instance add --mirror" and "cosign initialize --mirror"
  SHA256SUMS                 for sha256sum -c

All of it is verified first, from the root that is trusted of the instance on. --data is
for who runs the instance, --instance for everybody else. A directory that was written
before is brought up to date.

TUF's metadata is good for days: a copy of the repository has to be made anew before
that. trusted_root.json and the documents made of it do not expire, and do not hear of
new keys either.`,
		Example: `  sigbox trust export --data /var/lib/sigbox --out trust
  sigbox trust export --instance acme --tar acme.tar.gz
  sigbox trust export --instance acme --format client-trust-config >trust.json`,
		Args:              noArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return e.exportTrust(cmd.Context(), f, output)
		},
	}
	f.data.register(cmd)
	fs := cmd.Flags()
	fs.StringVar(&f.instance, "instance", "", "`NAME` or URL of an instance that is trusted here, in place of --data")
	fs.StringVar(&f.name, "name", "", "`NAME` of the TrustRoot resources (default: the instance's, or sigbox)")
	fs.StringVar(&f.out, "out", "", "`DIR` to write all documents to")
	fs.StringVar(&f.tar, "tar", "", "`FILE` to write all documents to, as a tar; compressed if its name ends in gz")
	fs.StringVar(&f.format, "format", "", "`DOCUMENT` to print, alone: "+strings.Join(handout.Formats(), ", "))
	output.register(cmd)
	_ = cmd.RegisterFlagCompletionFunc("instance", e.completeInstance)
	_ = cmd.RegisterFlagCompletionFunc("format", cobra.FixedCompletions(handout.Formats(), cobra.ShellCompDirectiveNoFileComp))
	_ = cmd.MarkFlagDirname("out")
	return cmd
}

// exportJSON is what "trust export" prints.
type exportJSON struct {
	// RootSHA256 is to be told to clients by another way.
	RootSHA256 string `json:"rootSHA256"`
	// Expires is when the copy of the repository does.
	Expires time.Time      `json:"expires"`
	Files   []exportedJSON `json:"files"`
	// LeftOut says which documents could not be made, and why.
	LeftOut []string `json:"leftOut,omitempty"`
}

type exportedJSON struct {
	Name   string `json:"name"`
	SHA256 string `json:"sha256"`
}

// check refuses flags that say two things, or none.
func (f *exportFlags) check() error {
	targets := 0
	for _, to := range []string{f.out, f.tar, f.format} {
		if to != "" {
			targets++
		}
	}
	switch {
	case f.data.data != "" && f.instance != "":
		return usage("--data and --instance: expected one of them")
	case targets != 1:
		return usage("expected one of --out DIR, --tar FILE and --format DOCUMENT")
	}
	return nil
}

func (e *env) exportTrust(ctx context.Context, f exportFlags, output outputFlag) error {
	if err := f.check(); err != nil {
		return err
	}
	source, expires, err := e.trustSource(ctx, f)
	if err != nil {
		return err
	}
	if f.format != "" {
		document, err := source.Format(f.format)
		if err != nil {
			return configured(err)
		}
		_, err = e.stdout.Write(document)
		return err
	}
	documents, left := source.All()
	if f.out != "" {
		err = handout.WriteDir(f.out, documents)
	} else {
		err = handout.WriteTarFile(f.tar, documents)
	}
	if err != nil {
		return err
	}
	return e.printExport(source, documents, left, expires, output)
}

// trustSource gets what documents are made of, verified.
func (e *env) trustSource(ctx context.Context, f exportFlags) (handout.Source, time.Time, error) {
	config, source, err := e.exportFrom(f)
	if err != nil {
		return handout.Source{}, time.Time{}, err
	}
	if f.name != "" {
		source.Name = f.name
	}
	repository, err := e.remote().TUF(config).Repository(ctx)
	if err != nil {
		return handout.Source{}, time.Time{}, err
	}
	source.Root, source.Repository, source.Targets = repository.Root, repository.Files, repository.Targets
	return source, repository.Expires, nil
}

// exportFrom finds the repository of the instance that is meant.
func (e *env) exportFrom(f exportFlags) (remote.TUFConfig, handout.Source, error) {
	if f.instance == "" {
		dir, err := f.data.settle(e)
		if err != nil {
			return remote.TUFConfig{}, handout.Source{}, err
		}
		published, err := app.OpenTUF(dir)
		return remote.TUFConfig{Mirror: published.Files, Root: published.First}, handout.Source{Name: "sigbox", Mirror: published.URL}, err
	}
	store, i, err := e.findInstance(f.instance)
	if err != nil {
		return remote.TUFConfig{}, handout.Source{}, err
	}
	root, err := store.Root(i)
	source := handout.Source{Name: strings.ReplaceAll(strings.ToLower(i.Name), "_", "-"), Mirror: i.Mirror}
	if remote.IsFileMirror(i.Mirror) {
		source.Mirror = ""
	}
	return remote.TUFConfig{Mirror: i.Mirror, Root: root, Dir: store.Cache(i.Name)}, source, err
}

func (e *env) printExport(source handout.Source, documents []handout.Document, left []error, expires time.Time, output outputFlag) error {
	sum := sha256.Sum256(source.Root)
	j := exportJSON{RootSHA256: hex.EncodeToString(sum[:]), Expires: expires}
	for _, d := range documents {
		sum := sha256.Sum256(d.Data)
		j.Files = append(j.Files, exportedJSON{d.Name, hex.EncodeToString(sum[:])})
	}
	for _, err := range left {
		j.LeftOut = append(j.LeftOut, err.Error())
	}
	if output.json() {
		return e.printJSON(j)
	}
	for _, why := range j.LeftOut {
		e.note("%s", why)
	}
	e.note("Wrote %s; the copy of the TUF repository is good until %s.", count(len(documents), "file", "files"), expires.UTC().Format(time.RFC3339))
	e.note("Tell the SHA-256 of root.json by another way than the file:")
	_, err := e.stdout.Write([]byte(j.RootSHA256 + "  root.json\n"))
	return err
}
