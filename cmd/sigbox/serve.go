package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/sigbox/sigbox/internal/app"
	"github.com/sigbox/sigbox/internal/app/pace"
)

// drainTime is how long requests in flight may take once serve is told to stop.
const drainTime = 10 * time.Second

// serveFlags are the flags of serve.
type serveFlags struct {
	dataFlags
	settings  app.Settings
	only      []string
	accept    []string
	logFormat string
	logLevel  string
}

func newServeCommand(e *env) *cobra.Command {
	var f serveFlags
	cmd := &cobra.Command{
		Use:     "serve",
		GroupID: "run",
		Short:   "Run a whole private Sigstore",
		Long: `Run a whole private Sigstore: a certificate authority with its CT log, a
transparency log, a timestamp authority, an OpenID provider, and the TUF
repository by which clients trust all of it, on one port.

On an empty directory serve makes everything that it needs. Started again on the
same directory, it goes on where it was. Interrupt or terminate it to stop; what
was acknowledged is durable at any time.`,
		Example: `  sigbox serve --data ./sigstore
  sigbox serve --data /var/lib/sigbox --listen :443 --url https://sigstore.example.com \
    --tls-cert cert.pem --tls-key key.pem`,
		Args:              noArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE:              func(cmd *cobra.Command, _ []string) error { return f.run(e, cmd) },
	}
	f.register(cmd)
	fs := cmd.Flags()
	fs.StringVar(&f.settings.Listen, "listen", "", "`ADDR` to listen on, HOST:PORT or unix:PATH (default "+app.DefaultListen+"; with port 0 any free one)")
	fs.StringVar(&f.settings.URL, "url", "", "`URL` at which clients reach the instance (default: from --listen)")
	fs.StringSliceVar(&f.only, "only", nil, "the `ROLES` that this host has: some of ca, ctlog, log, log-v1, tsa, tuf, oidc (default all); other hosts have the others")
	fs.StringVar(&f.settings.TLS.Cert, "tls-cert", "", "`FILE` with the TLS certificate and its chain, PEM; read again when it changes")
	fs.StringVar(&f.settings.TLS.Key, "tls-key", "", "`FILE` with the key of --tls-cert, PEM")
	fs.BoolVar(&f.settings.InsecureHTTP, "insecure-http", false, "listen beyond loopback without TLS: only behind something that speaks TLS")
	fs.StringVar(&f.settings.Passphrase, "passphrase", "", "`SOURCE` of the key files' passphrase: env:NAME, file:PATH or credential:NAME")
	fs.StringVar(&f.settings.Anchor, "anchor", "", "`PLACE` that the logs' heads are brought to, so that an older copy of the data is noticed: a directory on another disk, or s3://BUCKET/PREFIX")
	fs.StringSliceVar(&f.accept, "accept", nil, "take upon yourself `WHAT` keeps the logs shut: move, anchor, clock or trust; docs/operations.md says when")
	fs.StringVar(&f.logFormat, "log-format", "text", "`FORMAT` of the logs on standard error: text or json")
	fs.StringVar(&f.logLevel, "log-level", "info", "least `LEVEL` that is logged: debug, info, warn or error")
	_ = cmd.RegisterFlagCompletionFunc("only", cobra.FixedCompletions([]string{"ca", "ctlog", "log", "log-v1", "tsa", "tuf", "oidc"}, cobra.ShellCompDirectiveNoFileComp))
	_ = cmd.RegisterFlagCompletionFunc("accept", cobra.FixedCompletions([]string{"move", "anchor", "clock", "trust"}, cobra.ShellCompDirectiveNoFileComp))
	_ = cmd.RegisterFlagCompletionFunc("log-format", cobra.FixedCompletions([]string{"text", "json"}, cobra.ShellCompDirectiveNoFileComp))
	_ = cmd.RegisterFlagCompletionFunc("log-level", cobra.FixedCompletions([]string{"debug", "info", "warn", "error"}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func (f *serveFlags) run(e *env, cmd *cobra.Command) error {
	log, err := newLogger(e.stderr, f.logFormat, f.logLevel)
	if err != nil {
		return err
	}
	accept, err := app.ParseAccept(f.accept)
	if err != nil {
		return err
	}
	for _, role := range f.only {
		f.settings.Only = append(f.settings.Only, app.Role(role))
	}
	dir, err := f.settle(e)
	if err != nil {
		return err
	}
	defer pace.Server(e.getenv)()
	ctx := cmd.Context()
	a, err := app.Start(ctx, app.Config{Data: dir, File: f.config, Flags: f.settings, Accept: accept, Version: buildVersion().Version, Logger: log, Now: e.now})
	if err != nil {
		return err
	}
	if err := printReady(e.stdout, a); err != nil {
		log.Warn("standard output is gone", "err", err) // no reason to stop serving
	}
	err = wait(ctx, a)
	signal.Reset(os.Interrupt, syscall.SIGTERM) // the second one ends the process at once
	log.Info("stopping")
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTime)
	defer cancel()
	if closeErr := a.Close(drain); err == nil {
		err = closeErr
	}
	log.Info("stopped")
	return err
}

// wait reloads a on SIGHUP, until ctx ends, which is no error, or a part of a
// fails.
func wait(ctx context.Context, a *app.App) error {
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-a.Failed():
			return err
		case <-hup:
			a.Reload()
		}
	}
}

func newLogger(w io.Writer, format, level string) (*slog.Logger, error) {
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil {
		return nil, usage("--log-level %s: expected debug, info, warn or error", level)
	}
	opts := &slog.HandlerOptions{Level: l}
	switch format {
	case "text":
		return slog.New(slog.NewTextHandler(w, opts)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(w, opts)), nil
	}
	return nil, usage("--log-format %s: expected text or json", format)
}

const readyText = `sigbox is ready at %[1]s

Trust it, with sigbox or with cosign:
  sigbox instance add private %[1]s --root %[2]s
  cosign initialize --mirror %[1]s/tuf --root %[2]s

Sign a file, and verify it:
  sigbox sign FILE --instance private --identity-token "$(sigbox token --data %[3]s --email you@example.com)"
  sigbox verify FILE --instance private --certificate-identity you@example.com --certificate-oidc-issuer %[1]s/oidc

To log in with a password instead of a token:
  sigbox user add --data %[3]s you@example.com
`

const readyPartText = `sigbox is ready at %[1]s with a part of an instance: %[2]s

The instance's other hosts have to know it: add what is in %[3]s
to "hosts" in their settings, and they ask it for what it has. Clients trust the
instance by the root of the host that has the TUF repository.
`

// printReady says that the instance is up, how to trust it and how to sign.
func printReady(w io.Writer, a *app.App) error {
	if roles := a.Only(); roles != "" {
		_, err := fmt.Fprintf(w, readyPartText, a.URL(), roles, shellQuote(a.HostFile()))
		return err
	}
	_, err := fmt.Fprintf(w, readyText, a.URL(), shellQuote(a.RootFile()), shellQuote(a.Data()))
	return err
}

// shellQuote writes a path so that it can be pasted into a shell.
func shellQuote(s string) string {
	plain := func(r rune) bool {
		return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune("/._-+:@%,=", r)
	}
	if s != "" && !strings.ContainsFunc(s, func(r rune) bool { return !plain(r) }) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
