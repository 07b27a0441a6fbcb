package main

import (
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/sigbox/sigbox/internal/app"
)

func newStatusCommand(e *env) *cobra.Command {
	var data dataFlags
	var output outputFlag
	cmd := &cobra.Command{
		Use:     "status",
		GroupID: "run",
		Short:   "Show how an instance is",
		Long: `Show how an instance is. The exit status is 0 when a server runs and can serve,
and 3 when it does not.`,
		Args:              noArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return data.use(e, cmd, func(admin app.Admin) error {
				s, err := admin.Status(cmd.Context())
				if err != nil {
					return err
				}
				if output.json() {
					err = e.printJSON(s)
				} else {
					err = printStatus(e.stdout, s, e.now())
				}
				if err == nil && !s.Ready {
					return silentError{exitUndecided}
				}
				return err
			})
		},
	}
	data.register(cmd)
	output.register(cmd)
	return cmd
}

// printStatus writes a status as a table for people.
func printStatus(out io.Writer, s app.Status, now time.Time) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "server\t%s\n", serverState(s, now))
	fmt.Fprintf(w, "url\t%s\n", printable(s.URL))
	fmt.Fprintf(w, "data\t%s\n", printable(s.Data))
	fmt.Fprintf(w, "log hostname\t%s\n", printable(s.LogHostname))
	for _, l := range s.Logs {
		behind := ""
		if l.Unindexed > 0 {
			behind = fmt.Sprintf(", the first %d not yet in the search index", l.Unindexed)
		}
		fmt.Fprintf(w, "log\t%s, %s%s\n", printable(l.Origin), count(int(min(l.Size, 1<<62)), "entry", "entries"), behind)
	}
	for _, c := range s.Services {
		state := "serving"
		switch {
		case c.Error != "":
			state = c.Error
		case c.Notice != "":
			state += "; " + c.Notice
		}
		fmt.Fprintf(w, "%s\t%s\n", c.Name, printable(state))
	}
	printClock(w, s.Clock)
	return w.Flush()
}

// printClock says how the clock is; nil is not known.
func printClock(w io.Writer, c *app.ClockStatus) {
	switch {
	case c == nil:
		return
	case c.Error != "":
		fmt.Fprintf(w, "clock\t%s\n", printable(c.Error))
	case c.Measured != nil:
		fmt.Fprintf(w, "clock\t%+.4f s, give or take %.4f s, as NTP servers had it at %s\n", -c.Offset, c.Uncertainty, c.Measured.UTC().Format(time.RFC3339))
	case len(c.Servers) > 0:
		fmt.Fprintf(w, "clock\tnot known to be right\n")
	default:
		fmt.Fprintf(w, "clock\tnot compared with others: no NTP servers are set\n")
	}
	if c.Stepped != nil {
		fmt.Fprintf(w, "\twas set by %+.3f s at %s\n", c.Step, c.Stepped.UTC().Format(time.RFC3339))
	}
	for _, one := range c.Servers {
		state := fmt.Sprintf("its time is %+.4f s from ours, give or take %.4f s", one.Offset, one.Uncertainty)
		if one.Error != "" {
			state = one.Error
		}
		fmt.Fprintf(w, "NTP server %s\t%s\n", printable(one.Name), printable(state))
	}
}

func serverState(s app.Status, now time.Time) string {
	switch {
	case !s.Running:
		return "not running"
	case s.Started == nil:
		return "running"
	}
	state := "ready"
	if !s.Ready {
		state = "not ready"
	}
	return fmt.Sprintf("%s, process %d, up %s", state, s.PID, now.Sub(*s.Started).Round(time.Second))
}
