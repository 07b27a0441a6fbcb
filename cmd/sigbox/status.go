package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/spf13/cobra"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/app"
	"github.com/sigbox/sigbox/internal/instance"
)

func newStatusCommand(e *env) *cobra.Command {
	var data dataFlags
	var output outputFlag
	var at string
	cmd := &cobra.Command{
		Use:     "status",
		GroupID: "run",
		Short:   "Show how an instance is",
		Long: `Show how an instance is: what it says of itself, by its data directory, or by what
it tells everybody (--instance). "sigbox doctor" finds out whether that is so. The
exit status is 0 when a server runs and can serve, and 3 when it does not.`,
		Args:              noArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if at != "" {
				if data.data != "" {
					return usage("give one of --data and --instance")
				}
				s, err := e.remoteStatus(cmd.Context(), at)
				if err != nil {
					return err
				}
				return e.showStatus(s, output)
			}
			return data.use(e, cmd, func(admin app.Admin) error {
				s, err := admin.Status(cmd.Context())
				if err != nil {
					return err
				}
				return e.showStatus(s, output)
			})
		},
	}
	data.register(cmd)
	cmd.Flags().StringVar(&at, "instance", "", "`NAME` or URL of an instance, in place of a data directory")
	_ = cmd.RegisterFlagCompletionFunc("instance", e.completeInstance)
	output.register(cmd)
	return cmd
}

// showStatus prints a status; the error is for an instance that cannot serve.
func (e *env) showStatus(s app.Status, output outputFlag) (err error) {
	if output.json() {
		err = e.printJSON(s)
	} else {
		err = printStatus(e.stdout, s, e.now())
	}
	if err == nil && !s.Ready {
		return silentError{exitUndecided}
	}
	return err
}

// maxStatus bounds what an instance says of itself, in bytes.
const maxStatus = 1 << 20

// remoteStatus asks an instance for what it tells everybody.
func (e *env) remoteStatus(ctx context.Context, nameOrURL string) (s app.Status, err error) {
	base, err := instance.CleanURL(nameOrURL)
	if err != nil {
		_, i, err := e.findInstance(nameOrURL)
		if err != nil {
			return s, err
		}
		base = i.URL
	}
	body, err := e.remote().Fetch(ctx, "the instance", base+"/status", maxStatus)
	if err != nil {
		return s, err
	}
	if err := json.Unmarshal(body, &s.PublicStatus); err != nil {
		return s, sigbox.Errorf(sigbox.Unavailable, "%s/status does not say how the instance is", base).
			WithHint("is it sigbox, and of this version or a later one?").WithCause(err)
	}
	s.Running = true
	return s, nil
}

// printStatus writes a status as a table for people.
func printStatus(out io.Writer, s app.Status, now time.Time) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	row := func(name, format string, args ...any) {
		fmt.Fprintf(w, "%s\t%s\n", printable(name), printable(fmt.Sprintf(format, args...)))
	}
	row("server", "%s", serverState(s, now))
	if s.Version != "" {
		row("version", "%s", s.Version)
	}
	row("url", "%s", s.URL)
	if s.Data != "" {
		row("data", "%s", s.Data)
	}
	row("log hostname", "%s", s.LogHostname)
	for _, l := range s.Logs {
		row("log", "%s, %s%s", l.Origin, count(int(min(l.Size, 1<<62)), "entry", "entries"), logState(l, now))
	}
	for _, c := range s.Services {
		row(c.Name, "%s", cmp.Or(c.Error, c.Notice, "serving"))
	}
	printClock(w, s.Clock)
	for _, t := range s.TUF {
		row("TUF "+t.Role, "good until %s", t.Expires.UTC().Format(time.RFC3339))
	}
	for _, c := range s.Certificates {
		row("certificate", "%s: %s, good until %s", c.Role, c.Subject, c.Expires.UTC().Format(time.RFC3339))
	}
	for _, k := range s.Keys {
		row("key "+k.Name, "%s", cmp.Or(k.Place, "kept elsewhere"))
	}
	if l := s.Limits; l != nil {
		row("limits", "%d connections, %d open files", l.Connections, l.Descriptors)
	}
	if len(s.Restart) > 0 {
		row("settings", "changed, and in force after a restart: %s", strings.Join(s.Restart, ", "))
	}
	return w.Flush()
}

// logState says when a log took its last entry, and what is behind.
func logState(l app.LogStatus, now time.Time) (text string) {
	if l.Committed != nil {
		text = ", the last " + ago(now.Sub(*l.Committed))
	}
	if l.Unindexed > 0 {
		text += fmt.Sprintf(", the first %d not yet in the search index", l.Unindexed)
	}
	return text
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
	if !s.Running {
		return "not running"
	}
	state := "ready"
	if !s.Ready {
		state = "not ready"
	}
	if s.PID != 0 {
		state += fmt.Sprintf(", process %d", s.PID)
	}
	if s.Started != nil {
		state += ", up " + now.Sub(*s.Started).Round(time.Second).String()
	}
	return state
}
