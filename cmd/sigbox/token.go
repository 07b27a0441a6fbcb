package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/sigbox/sigbox/internal/app"
)

// tokenJSON is what "token --output json" prints.
type tokenJSON struct {
	Token string `json:"token"`
}

func newTokenCommand(e *env) *cobra.Command {
	var data dataFlags
	var req app.TokenRequest
	var output outputFlag
	cmd := &cobra.Command{
		Use:     "token --email ADDRESS",
		GroupID: "run",
		Short:   "Make an identity token of an instance's own provider",
		Long: `Make an identity token of an instance's own OpenID provider, for any address and
without a password: whoever can read the data directory can speak for everybody.
It works while the server runs and while it does not.`,
		Example:           `  sigbox sign FILE --identity-token "$(sigbox token --data ./sigstore --email you@example.com)"`,
		Args:              noArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if req.Email == "" {
				return usage("whose token is it? give --email ADDRESS")
			}
			return data.use(e, cmd, func(admin app.Admin) error {
				token, err := admin.Token(cmd.Context(), req)
				if err != nil {
					return err
				}
				if output.json() {
					return e.printJSON(tokenJSON{token})
				}
				_, err = fmt.Fprintln(e.stdout, token)
				return err
			})
		},
	}
	data.register(cmd)
	fs := cmd.Flags()
	fs.StringVar(&req.Email, "email", "", "the `ADDRESS` that the token speaks for")
	fs.StringVar(&req.Audience, "audience", "", "`NAME` of whom the token is for (default sigstore)")
	fs.DurationVar(&req.Lifetime, "lifetime", 0, "how long the token is good, a `DURATION` of at most 24h (default 10m)")
	output.register(cmd)
	cmd.AddCommand(newTokenExplainCommand(e))
	return cmd
}
