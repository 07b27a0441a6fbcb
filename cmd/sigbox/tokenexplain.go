package main

import (
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/app"
)

// explainedJSON is what "token explain --output json" prints.
type explainedJSON struct {
	Accepted bool          `json:"accepted"`
	Passed   []passedJSON  `json:"passed"`
	Refused  string        `json:"refused,omitempty"`
	Reason   string        `json:"reason,omitempty"`
	Next     string        `json:"next,omitempty"`
	Claims   []string      `json:"claims"`
	Missing  []string      `json:"missing,omitempty"`
	Identity *identityJSON `json:"identity,omitempty"`
	Proofs   []string      `json:"proofs,omitempty"`
}

type passedJSON struct {
	Name  string `json:"name"`
	Found string `json:"found"`
}

func newTokenExplainCommand(e *env) *cobra.Command {
	var data dataFlags
	var output outputFlag
	cmd := &cobra.Command{
		Use:   "explain FILE|TOKEN|-",
		Short: "Say what an instance would make of an identity token, and why it refuses one",
		Long: `explain says what an instance's certificate authority would make of an identity token:
which of its issuers matches, whether the issuer's keys, the audience and the times fit,
which claims are missing, and who would be certified. Nothing is certified. The token is
judged by the instance of the data directory, while its server runs and while it does
not, so that the issuer's keys may be fetched. Whether a token was used before, where
each is good for one certificate, is known while the server runs alone.

A token is a secret: better to name a file, or - for standard input, than to have it on
the command line. The exit status is 0 when it would be accepted, 1 when not, and 3 when
that cannot be said, as when its issuer is away.`,
		Example: `  sigbox token explain --data ./sigstore token.jwt
  curl -sS "$ACTIONS_ID_TOKEN_REQUEST_URL&audience=sigstore" … | sigbox token explain -`,
		Args: exactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			token, err := e.tokenFrom("the token to explain", args[0])
			if err != nil {
				return err
			}
			return data.use(e, cmd, func(admin app.Admin) error {
				x, err := admin.ExplainToken(cmd.Context(), token)
				if err != nil {
					return err
				}
				return e.printExplained(x, output)
			})
		},
	}
	data.register(cmd)
	output.register(cmd)
	return cmd
}

// printExplained prints what came of a token. The error is why it is refused.
func (e *env) printExplained(x app.TokenExplanation, output outputFlag) error {
	var refusal error
	if x.Refusal != nil {
		refusal = x.Refusal
	}
	if output.json() {
		if err := e.printJSON(newExplainedJSON(x)); err != nil || refusal == nil {
			return err
		}
		return silentError{exitStatus(refusal)}
	}
	w := tabwriter.NewWriter(e.stdout, 0, 0, 2, ' ', 0)
	for _, d := range x.Passed {
		fmt.Fprintf(w, "%s\t%s\n", d.Name, printable(d.Found))
	}
	if x.Refused != "" {
		fmt.Fprintf(w, "%s\trefused\n", x.Refused)
	}
	for _, list := range []struct {
		title string
		names []string
	}{{"has the claims", x.Claims}, {"lacks the claims", x.Missing}} {
		if len(list.names) > 0 && x.Refused != "" {
			fmt.Fprintf(w, "%s\t%s\n", list.title, printable(strings.Join(list.names, ", ")))
		}
	}
	if x.Refused == "" {
		id := newIdentityJSON(x.Identity)
		fmt.Fprintf(w, "would be certified\t%s (%s)\nvouched for by\t%s\n", printable(id.Subject), id.Kind, printable(id.Issuer))
		for arc := range sigbox.MaxExtensionArc + 1 {
			if name, value := x.Identity.Extensions.Field(arc); value != nil && *value != "" {
				fmt.Fprintf(w, "  %s\t%s\n", name, printable(*value))
			}
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	return refusal
}

func newExplainedJSON(x app.TokenExplanation) explainedJSON {
	out := explainedJSON{
		Accepted: x.Refusal == nil, Passed: []passedJSON{}, Refused: x.Refused,
		Claims: append([]string{}, x.Claims...), Missing: x.Missing, Proofs: x.Proofs,
	}
	for _, d := range x.Passed {
		out.Passed = append(out.Passed, passedJSON(d))
	}
	if x.Refusal != nil {
		out.Reason, out.Next = x.Refusal.Error(), x.Refusal.Hint
	} else {
		id := newIdentityJSON(x.Identity)
		out.Identity = &id
	}
	return out
}
