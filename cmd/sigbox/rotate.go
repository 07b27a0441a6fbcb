package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/app"
	"github.com/sigbox/sigbox/internal/rotation"
)

// What may stand in the place of a role.
const (
	rotateStatus = "status"
	rotateAll    = "all"
)

// rotateFlags are the flags of rotate.
type rotateFlags struct {
	data        dataFlags
	output      outputFlag
	dryRun      bool
	switchAfter time.Duration
	root        bool
	signed      string
	compromised bool
	since       string
	abandon     bool
}

func newRotateCommand(e *env) *cobra.Command {
	var f rotateFlags
	roles := append(app.RotatingRoles(), rotateAll, rotateStatus)
	cmd := &cobra.Command{
		Use:     "rotate [ROLE]",
		GroupID: "run",
		Short:   "Replace a key of an instance, without that a client notices",
		Long: `Replace the key of a role by a new one, without that a client notices: ca, tsa, oidc,
tuf (the one of the repository's daily metadata), the logs rekor2 (or log), rekor1 (or
log-v1) and ctlog, or all of them. Without a role, or with "status", it shows the keys
that there are and what will happen to them.

What follows the command happens by itself, at its time, in a server that runs:

  published  the new key is in the trust root, and nothing is signed with it yet
  signing    after 8 days (oidc: one) it signs: by then every client has seen it,
             since none goes on for longer than 7 days with an old trust root
  retired    when nothing that the old key signed can be on its way any more, its
             private half is destroyed; its public half stays in the trust root with the
             time until when it was valid, so that what it signed verifies for ever

A log goes on in another log, since its key is its name: the old one takes no more
entries when the new one signs, and is read, searched and trusted for ever. Of rekor1 the
key is kept, since it promises entries anew whenever they are read.

TUF's key signs at once: clients go from one root to the next, and the root that names
the new key names the old one no more. Root keys have to be here for that, as many as
sign a root; where they are elsewhere, that is what "sigbox ceremony" is for.

Without a server all of it waits for the next start. --dry-run shows the plan, and does
nothing. A role that is being rotated is not rotated again before that is over.

The CA's and the timestamp authority's new key is certified by the root that there is,
whose private key (ca-root, tsa-root) has to be here for this command; --root makes a
new root as well.

--compromised is for a key that others may have. A new one signs at once, so that
clients that have not asked for the trust root since refuse what it signs until they
do. The old one's validity ends at --since, or now, and verifiers refuse:

  ca    signatures whose time is later than that: give the time of the theft, or one
        before it. What the thief signed earlier is in the CT log. sigstore-python and
        sigstore-rs do not look at this end
  tsa   timestamps that say a later time. Whoever has the key can put any time into
        them: with --since at the time since when it signs nothing rests on it any more
  oidc  at once all tokens of the old key, whenever they were made
  tuf   what the old key signs, as soon as they see the new root
  logs  signatures in the old log whose time is later`,
		Example: `  sigbox rotate ca --dry-run
  sigbox rotate ca
  sigbox rotate status
  sigbox rotate ca --compromised --since 2026-05-06T07:00:00Z`,
		Args:              optionalArg,
		ValidArgsFunction: cobra.FixedCompletions(roles, cobra.ShellCompDirectiveNoFileComp),
		RunE: func(cmd *cobra.Command, args []string) error {
			role := first(args)
			if role != "" && !slices.Contains(roles, role) && !app.CanRotate(role) {
				return usage("there is no role %.40q: expected one of %s", role, strings.Join(roles, ", "))
			}
			return f.data.use(e, cmd, func(admin app.Admin) error {
				if role == "" || role == rotateStatus {
					if err := f.onlyStatus(cmd); err != nil {
						return err
					}
					return e.printRotations(cmd.Context(), admin, f.output)
				}
				return e.rotate(cmd, admin, f, role)
			})
		},
	}
	f.data.register(cmd)
	fs := cmd.Flags()
	fs.BoolVarP(&f.dryRun, "dry-run", "n", false, "show what would be done and when, and do nothing")
	fs.DurationVar(&f.switchAfter, "switch-after", 0, "`TIME` for which the new key is published before it signs; 0s has clients that did not ask for the trust root since refuse it (default 192h, oidc 24h; not for tuf)")
	fs.BoolVar(&f.root, "root", false, "make a new root for the key as well (ca, tsa)")
	fs.StringVar(&f.signed, "signed", "", "`FILE` with the new key's certificates, when its root is kept elsewhere (ca, tsa)")
	fs.BoolVar(&f.compromised, "compromised", false, "others may have the key: its validity ends, and a new one signs at once")
	fs.StringVar(&f.since, "since", "", "`TIME` since when others may have the key, such as 2026-05-06T07:00:00Z (default now)")
	fs.BoolVar(&f.abandon, "abandon", false, "take back a new key that does not sign yet")
	_ = cmd.MarkFlagFilename("signed", "pem")
	f.output.register(cmd)
	fs.Lookup("switch-after").DefValue = "0s" // said in words
	return cmd
}

// onlyStatus refuses flags that say how to rotate where nothing is rotated.
func (f *rotateFlags) onlyStatus(cmd *cobra.Command) error {
	for _, name := range []string{"dry-run", "switch-after", "root", "signed", "compromised", "since", "abandon"} {
		if cmd.Flags().Changed(name) {
			return usage("--%s needs a role: %s", name, strings.Join(app.RotatingRoles(), ", "))
		}
	}
	return nil
}

// request is what the flags ask for.
func (f *rotateFlags) request(cmd *cobra.Command, role string) (app.RotateRequest, error) {
	req := app.RotateRequest{Role: role, DryRun: f.dryRun, Root: f.root, Compromised: f.compromised, Abandon: f.abandon}
	if cmd.Flags().Changed("switch-after") {
		after := rotation.Span(f.switchAfter)
		req.SwitchAfter = &after
	}
	if f.since != "" {
		var err error
		if req.Since, err = time.Parse(time.RFC3339, f.since); err != nil {
			return req, usage("--since: expected a time such as 2026-05-06T07:00:00Z, found %.40q", f.since)
		}
	}
	if f.signed != "" {
		chain, err := readFile(f.signed, maxSignedChain)
		if err != nil {
			return req, err
		}
		req.Signed = string(chain)
	}
	return req, nil
}

// maxSignedChain bounds a file of certificates, in bytes.
const maxSignedChain = 256 << 10

// rotate replaces the key of a role, or of all, and prints what follows.
func (e *env) rotate(cmd *cobra.Command, admin app.Admin, f rotateFlags, role string) error {
	req, err := f.request(cmd, role)
	if err != nil {
		return err
	}
	var all []app.RoleKeys
	if role == rotateAll {
		if f.compromised || f.abandon || f.signed != "" || f.root {
			return usage("--compromised, --abandon, --signed and --root are for one role, not for all")
		}
		all, err = e.rotateAll(cmd.Context(), admin, req)
	} else {
		var keys app.RoleKeys
		keys, err = admin.Rotate(cmd.Context(), req)
		all = []app.RoleKeys{keys}
	}
	if err != nil && (role != rotateAll || len(all) == 0) {
		return err
	}
	if f.dryRun {
		e.note("nothing was done; this would be")
	}
	return cmp.Or(e.printKeys(all, f.output), err)
}

// printKeys prints roles' keys, and what will be done with them.
func (e *env) printKeys(all []app.RoleKeys, output outputFlag) error {
	if output.json() {
		return e.printJSON(all)
	}
	return printRoleKeys(e.stdout, all)
}

// rotateAll replaces the keys of all roles, but for those that are being rotated. One
// that cannot be rotated does not keep the others from it.
func (e *env) rotateAll(ctx context.Context, admin app.Admin, req app.RotateRequest) (all []app.RoleKeys, err error) {
	roles, err := rolesOf(ctx, admin)
	if err != nil {
		return nil, err
	}
	var failed []error
	for _, req.Role = range roles {
		one := req
		if app.SignsAtOnce(req.Role) {
			one.SwitchAfter = nil
		}
		keys, err := admin.Rotate(ctx, one)
		switch {
		case err == nil:
			all = append(all, keys)
		case sigbox.KindOf(err) == sigbox.Conflict:
			e.note("%s: %v", req.Role, err)
		default:
			failed = append(failed, fmt.Errorf("%s: %w", req.Role, err))
		}
	}
	return all, errors.Join(failed...)
}

// rolesOf are the roles whose keys the instance has here.
func rolesOf(ctx context.Context, admin app.Admin) (roles []string, err error) {
	all, err := admin.Rotations(ctx)
	for _, keys := range all {
		roles = append(roles, keys.Role)
	}
	return roles, err
}

// printRotations prints the keys that there are.
func (e *env) printRotations(ctx context.Context, admin app.Admin, output outputFlag) error {
	all, err := admin.Rotations(ctx)
	if err != nil {
		return err
	}
	return e.printKeys(all, output)
}

// printRoleKeys writes keys, and what will be done with them, as tables for people.
func printRoleKeys(out io.Writer, all []app.RoleKeys) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "KEY\tPHASE\tSIGNS SINCE\tVALID UNTIL\tPLACE")
	places := map[string]string{}
	var steps []app.KeyStep
	for _, role := range all {
		for _, k := range role.Keys {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", printable(k.Name), k.Phase, moment(k.Signing), moment(k.Ends), printable(cmp.Or(k.Place, "-")))
			places[k.Name] = k.Place
		}
		steps = append(steps, role.Steps...)
	}
	slices.SortStableFunc(steps, func(a, b app.KeyStep) int { return a.At.Compare(b.At) })
	if len(steps) > 0 {
		fmt.Fprintln(w, "\nWHEN\tWHAT\t\t\t")
	}
	for _, s := range steps {
		fmt.Fprintf(w, "%s\t%s\n", s.At.Format(time.RFC3339), stepText(s, places[s.Key]))
	}
	for _, role := range all {
		if role.Waiting != "" {
			fmt.Fprintf(w, "\n%s waits: %s\n", printable(role.Role), printable(role.Waiting))
		}
	}
	return w.Flush()
}

func moment(t *time.Time) string {
	if t == nil {
		return "-"
	}
	return t.Format(time.RFC3339)
}

// stepText says what a step does.
func stepText(s app.KeyStep, place string) string {
	key := printable(s.Key)
	switch s.Action {
	case rotation.Publish:
		return "clients are told to trust " + key
	case rotation.Switch:
		return key + " signs"
	}
	if strings.Contains(place, ":") {
		return fmt.Sprintf("%s is given up: destroy it in %s", key, printable(place))
	}
	return fmt.Sprintf("%s is given up: %s is destroyed", key, printable(place))
}
