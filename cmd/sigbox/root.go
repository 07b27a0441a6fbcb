package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/remote"
)

// Exit statuses, the same for every verb.
const (
	exitOK          = 0
	exitNotVerified = 1 // not verified, or refused
	exitUsage       = 2 // the command line, or a policy, key or trusted root that it names, makes no sense
	exitUndecided   = 3 // could not be decided: network, disk, interrupted
)

// env is what a verb sees of its process. Nothing in this package touches the
// standard streams, the environment or the clock but through it.
type env struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	getenv         func(string) string
	now            func() time.Time
	// browse shows a URL to the user; nil opens their browser.
	browse func(url string) error

	client *remote.Client // nil until it is needed
}

// verb is a command by the name that is typed. It is a function in its own file that
// takes the env and returns a command whose RunE returns errors of the sigbox package
// or a [usageError].
type verb struct {
	name string
	make func(*env) *cobra.Command
}

// verbs are all, in the order of the help.
func verbs() []verb {
	return []verb{
		{"sign", newSignCommand},
		{"attest", newAttestCommand},
		{"verify", newVerifyCommand},
		{"sbom", newSBOMCommand},
		{"inspect", newInspectCommand},
		{"tree", newTreeCommand},
		{"copy", newCopyCommand},
		{"save", newSaveCommand},
		{"load", newLoadCommand},
		{"download", newDownloadCommand},
		{"clean", newCleanCommand},
		{"log", newLogCommand},
		{"instance", newInstanceCommand},
		{"completion", newCompletionCommand},
		{"serve", newServeCommand},
		{"rotate", newRotateCommand},
		{"audit", newAuditCommand},
		{"status", newStatusCommand},
		{"doctor", newDoctorCommand},
		{"trust", newTrustCommand},
		{"ceremony", newCeremonyCommand},
		{"token", newTokenCommand},
		{"user", newUserCommand},
		{"version", newVersionCommand},
	}
}

// newRootCommand makes the command line for args. Where they begin with a verb, it alone
// is made: each takes time and memory. All are there for nil.
func newRootCommand(e *env, args []string) *cobra.Command {
	var version bool
	root := &cobra.Command{
		Use:   "sigbox",
		Short: "Sigstore in a box: sign, verify, and serve a whole instance",
		Long: `sigbox signs and verifies files with Sigstore: without keys that must be kept,
with a public record of every signature. It works with the public-good instance
and with an instance of your own, which "sigbox serve" starts.

Exit status: 0 verified or done, 1 not verified or refused, 2 wrong usage (also of
policies, keys, trusted roots and instances that are named), 3 could not be decided
(network, disk, interrupted).`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if version {
				return printVersion(e)
			}
			return cmd.Help()
		},
		SilenceErrors:     true,
		SilenceUsage:      true,
		CompletionOptions: cobra.CompletionOptions{DisableDefaultCmd: true},
	}
	root.Flags().BoolVar(&version, "version", false, "print the version")
	root.SetIn(e.stdin)
	root.SetOut(e.stdout)
	root.SetErr(e.stderr)
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		text, _, _ := strings.Cut(err.Error(), ": strconv.") // which are the words of programmers
		return &usageError{msg: text, hint: "see " + cmd.CommandPath() + " --help"}
	})
	root.AddGroup(
		&cobra.Group{ID: "sign", Title: "Signing and verifying:"},
		&cobra.Group{ID: "images", Title: "Images in registries:"},
		&cobra.Group{ID: "run", Title: "Running an instance:"},
	)
	all := verbs()
	if i := slices.IndexFunc(all, func(v verb) bool { return len(args) > 0 && v.name == args[0] }); i >= 0 {
		all = all[i : i+1]
	}
	for _, v := range all {
		root.AddCommand(v.make(e))
	}
	return root
}

// usageError is a command line that makes no sense: exit status 2.
type usageError struct{ msg, hint string }

func (u *usageError) Error() string {
	if u.hint == "" {
		return u.msg
	}
	return u.msg + " (" + u.hint + ")"
}

// usage makes an error for a wrong command line.
func usage(format string, args ...any) error { return &usageError{msg: fmt.Sprintf(format, args...)} }

// configured makes wrong usage of what is wrong with a thing that the user named: it
// is not there, or holds something else. That a disk cannot be read is no fault of
// theirs.
func configured(err error) error {
	if err == nil || exitStatus(err) == exitUndecided && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	text, hint := splitHint(err)
	return &usageError{msg: text, hint: hint}
}

// silentError ends a verb that has told of its failure itself.
type silentError struct{ status int }

func (s silentError) Error() string { return fmt.Sprintf("exit status %d", s.status) }

// exitStatus gives the status for the error that a verb ended with. Whatever is
// not known to be a refusal is undecided, never verified.
func exitStatus(err error) int {
	if err == nil {
		return exitOK
	}
	if s, ok := errors.AsType[silentError](err); ok {
		return s.status
	}
	if _, ok := errors.AsType[*usageError](err); ok {
		return exitUsage
	}
	switch sigbox.KindOf(err) {
	case sigbox.NotVerified, sigbox.Invalid, sigbox.Unauthenticated, sigbox.Denied,
		sigbox.NotFound, sigbox.Conflict, sigbox.TooLarge, sigbox.Frozen:
		return exitNotVerified
	}
	return exitUndecided
}

// finish prints the error that a verb ended with, if any, and gives the exit
// status.
func (e *env) finish(verb *cobra.Command, err error) int {
	status := exitStatus(err)
	if _, told := errors.AsType[silentError](err); err == nil || told {
		return status
	}
	printError(e.stderr, verb, err)
	return status
}

// printError writes one failure for people: what happened, what was expected
// and found, and the next step on a line of its own.
func printError(w io.Writer, verb *cobra.Command, err error) {
	if u, ok := errors.AsType[*usageError](err); ok {
		fmt.Fprintf(w, "sigbox: %s\n", printable(u.msg))
		hint := u.hint
		if hint == "" {
			hint = "see " + verb.CommandPath() + " --help"
		}
		fmt.Fprintf(w, "  next: %s\n", printable(hint))
		return
	}
	if u, ok := errors.AsType[unverifiedError](err); ok {
		u.print(w)
		return
	}
	text, hint := splitHint(err)
	fmt.Fprintf(w, "sigbox: %s\n", printable(text))
	if hint != "" {
		fmt.Fprintf(w, "  next: %s\n", printable(hint))
	}
}

// splitHint gives an error's text without its next step, and the next step, which may
// be that of a cause that the text names.
func splitHint(err error) (text, hint string) {
	text = err.Error()
	for e, ok := errors.AsType[*sigbox.Error](err); ok; e, ok = errors.AsType[*sigbox.Error](e.Err) {
		if said := " (" + e.Hint + ")"; e.Hint != "" && strings.Contains(text, said) {
			return strings.Replace(text, said, "", 1), e.Hint
		}
	}
	return text, ""
}

// noArgs refuses arguments, as a wrong usage.
func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	if cmd.HasSubCommands() {
		hint := fmt.Sprintf("see %s --help", cmd.CommandPath())
		cmd.SuggestionsMinimumDistance = 2 // letters
		if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
			hint = fmt.Sprintf("did you mean %s %s?", cmd.CommandPath(), near[0])
		}
		return &usageError{msg: fmt.Sprintf("%s has no command %q", cmd.CommandPath(), args[0]), hint: hint}
	}
	return usage("%s takes no arguments, found %q", cmd.CommandPath(), args[0])
}

// exactArgs wants n arguments, named as in the usage line.
func exactArgs(n int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) == n {
			return nil
		}
		return wrongArgs(cmd, count(n, "argument", "arguments"), len(args))
	}
}

// someArgs wants at least one argument.
func someArgs(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return nil
	}
	return wrongArgs(cmd, "at least 1 argument", 0)
}

// optionalArg wants one argument or none.
func optionalArg(cmd *cobra.Command, args []string) error {
	if len(args) <= 1 {
		return nil
	}
	return wrongArgs(cmd, "at most 1 argument", len(args))
}

func wrongArgs(cmd *cobra.Command, want string, got int) error {
	return &usageError{
		msg:  fmt.Sprintf("%s: expected %s, found %d", cmd.CommandPath(), want, got),
		hint: "usage: " + cmd.UseLine(),
	}
}
