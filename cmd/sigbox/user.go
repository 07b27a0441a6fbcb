package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/app"
)

// maxPasswordLine bounds what is read as a password; the provider has its own
// bound.
const maxPasswordLine = 4 << 10

func newUserCommand(e *env) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "user",
		GroupID: "run",
		Short:   "Manage the accounts of an instance's own provider",
		Long: `Manage the accounts that can log in at an instance's own OpenID provider with a
password. It works while the server runs and while it does not.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newUserAddCommand(e), newUserListCommand(e), newUserRemoveCommand(e))
	return cmd
}

func newUserAddCommand(e *env) *cobra.Command {
	var data dataFlags
	var u app.NewUser
	var fromStdin bool
	cmd := &cobra.Command{
		Use:               "add ADDRESS",
		Short:             "Add an account",
		Args:              exactArgs(1),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			return data.use(e, cmd, func(admin app.Admin) error {
				u.Email = args[0]
				var err error
				if u.Password, err = e.password(fromStdin); err != nil {
					return err
				}
				if err := admin.AddUser(cmd.Context(), u); err != nil {
					return err
				}
				e.note("added %s", u.Email)
				return nil
			})
		},
	}
	data.register(cmd)
	cmd.Flags().StringVar(&u.Name, "name", "", "`NAME` to call the user by")
	cmd.Flags().BoolVar(&fromStdin, "password-stdin", false, "read the password from standard input")
	return cmd
}

func newUserListCommand(e *env) *cobra.Command {
	var data dataFlags
	var output outputFlag
	cmd := &cobra.Command{
		Use:               "list",
		Short:             "List the accounts",
		Args:              noArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return data.use(e, cmd, func(admin app.Admin) error {
				users, err := admin.Users(cmd.Context())
				if err != nil {
					return err
				}
				if output.json() {
					return e.printJSON(users)
				}
				w := tabwriter.NewWriter(e.stdout, 0, 0, 2, ' ', 0)
				for _, u := range users {
					fmt.Fprintf(w, "%s\t%s\t%s\n", printable(u.Email), u.Created.Format(time.DateOnly), printable(u.Name))
				}
				return w.Flush()
			})
		},
	}
	data.register(cmd)
	output.register(cmd)
	return cmd
}

func newUserRemoveCommand(e *env) *cobra.Command {
	var data dataFlags
	cmd := &cobra.Command{
		Use:               "remove ADDRESS",
		Short:             "Remove an account",
		Args:              exactArgs(1),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			return data.use(e, cmd, func(admin app.Admin) error {
				if err := admin.RemoveUser(cmd.Context(), args[0]); err != nil {
					return err
				}
				e.note("removed %s", args[0])
				return nil
			})
		},
	}
	data.register(cmd)
	return cmd
}

// password reads a new password: from the terminal, twice and without echo, or a
// line of standard input.
func (e *env) password(fromStdin bool) (string, error) {
	if fromStdin {
		line, err := bufio.NewReader(io.LimitReader(e.stdin, maxPasswordLine)).ReadBytes('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return "", sigbox.Errorf(sigbox.Internal, "reading the password: %w", err)
		}
		return string(bytes.TrimRight(line, "\r\n")), nil
	}
	if !e.interactive() {
		return "", &usageError{msg: "there is no terminal to ask for the password on", hint: "give --password-stdin"}
	}
	first, err := e.hidden("Password: ")
	if err != nil {
		return "", err
	}
	second, err := e.hidden("Again: ")
	if err != nil {
		return "", err
	}
	if first != second {
		return "", sigbox.Errorf(sigbox.Invalid, "the two passwords differ").WithHint("try again")
	}
	return first, nil
}

// hidden asks for a line without showing it.
func (e *env) hidden(prompt string) (string, error) {
	fmt.Fprint(e.stderr, prompt)
	b, err := term.ReadPassword(int(e.stdin.(*os.File).Fd())) // a terminal is a file
	fmt.Fprintln(e.stderr)
	if err != nil {
		return "", sigbox.Errorf(sigbox.Internal, "reading the password: %w", err)
	}
	return string(b), nil
}
