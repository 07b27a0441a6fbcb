package main

import (
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/audit"
)

func newAuditCommand(e *env) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "audit",
		GroupID: "run",
		Short:   "Check audit logs",
		Args:    noArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newAuditVerifyCommand(e))
	return cmd
}

func newAuditVerifyCommand(e *env) *cobra.Command {
	return &cobra.Command{
		Use:   "verify FILE…",
		Short: "Check that an audit log is whole",
		Long: `Check that each line of an audit log follows the one before it: that none was
changed, or taken out of the middle. Files that were renamed are given too, the
oldest first. What was cut off at either end does not show: compare the first and the
last hash with what was noted elsewhere.`,
		Example: `  sigbox audit verify audit.jsonl.2 audit.jsonl.1 audit.jsonl`,
		Args:    someArgs,
		RunE: func(_ *cobra.Command, files []string) error {
			prev := ""
			for _, path := range files {
				rep, err := verifyAudit(path, prev)
				if err != nil {
					return sigbox.Errorf(sigbox.KindOf(err), "%s: %w", path, err)
				}
				prev = rep.End
				fmt.Fprintf(e.stdout, "%s: %s, %s to %s, ends with %s\n", printable(path), count(rep.Lines, "line", "lines"),
					rep.First.Format(time.RFC3339), rep.Last.Format(time.RFC3339), rep.End)
			}
			return nil
		},
	}
}

func verifyAudit(path, prev string) (audit.Report, error) {
	f, err := os.Open(path) // #nosec G304 -- the user names it
	if err != nil {
		return audit.Report{}, configured(err)
	}
	defer func() { _ = f.Close() }() // only read from
	return audit.Verify(f, prev)
}
