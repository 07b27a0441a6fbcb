package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/instance"
	"github.com/sigbox/sigbox/internal/remote"
	"github.com/sigbox/sigbox/wire/trust"
)

// maxRootFile bounds a TUF root, in bytes.
const maxRootFile = 512 << 10

func newInstanceCommand(e *env) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "instance",
		GroupID: "sign",
		Short:   "Choose whom to trust: Sigstore instances side by side",
		Long: `instance keeps the Sigstore instances that you trust, each with the TUF root that
its trust begins at. The public-good instance is built in. They are kept below
$SIGBOX_HOME, else in your configuration directory.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(
		newInstanceAddCommand(e), newInstanceListCommand(e), newInstanceShowCommand(e),
		newInstanceUseCommand(e), newInstanceRefreshCommand(e), newInstanceRemoveCommand(e),
	)
	return cmd
}

type addFlags struct {
	root, rootSHA256, mirror string
	yes, insecureHTTP        bool
}

func newInstanceAddCommand(e *env) *cobra.Command {
	var f addFlags
	cmd := &cobra.Command{
		Use:   "add NAME URL",
		Short: "Trust another instance",
		Long: `add begins to trust the instance at URL. Trust begins at its TUF root, which its
operator gives you by a way that you trust: as a file (--root), or as the SHA-256
of one (--root-sha256), with which what the server sends is compared. With
neither, you are shown the SHA-256 of what the server sends and asked: that is
trust on first use, and only as good as the connection.`,
		Example: "  sigbox instance add acme https://sigstore.acme.example --root root.json",
		Args:    exactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			return e.addInstance(cmd.Context(), f, args[0], args[1])
		},
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	cmd.Flags().StringVar(&f.root, "root", "", "`FILE` with the instance's TUF root")
	cmd.Flags().StringVar(&f.rootSHA256, "root-sha256", "", "SHA-256 of the instance's TUF root, in `HEX`")
	cmd.Flags().StringVar(&f.mirror, "mirror", "", "`URL` of the TUF repository, or a directory with a copy of it (default URL/tuf, else URL)")
	cmd.Flags().BoolVarP(&f.yes, "yes", "y", false, "trust what the server sends without asking")
	cmd.Flags().BoolVar(&f.insecureHTTP, "insecure-http", false, "let identity tokens go to this instance over plain http")
	return cmd
}

func (e *env) addInstance(ctx context.Context, f addFlags, name, rawURL string) error {
	if err := instance.CheckName(name); err != nil {
		return usage("%s", err)
	}
	base, err := instance.CleanURL(rawURL)
	if err != nil {
		return usage("%s", err)
	}
	if f.mirror != "" {
		if f.mirror, err = cleanMirror(f.mirror); err != nil {
			return usage("--mirror: %s", err)
		}
	}
	store, err := e.openInstances()
	if err != nil {
		return err
	}
	if _, err := store.Find(name); err == nil {
		return sigbox.Errorf(sigbox.Conflict, "there is an instance %q already", name).
			WithHint("choose another name, or remove that one: sigbox instance remove %s", name)
	}
	root, err := e.firstRoot(ctx, f, base)
	if err != nil {
		return err
	}
	i := instance.Instance{Name: name, URL: base, Added: e.now().UTC().Truncate(time.Second), InsecureHTTP: f.insecureHTTP}
	scratch, err := store.ScratchCache()
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(scratch) }() // gone already when all went well
	if i.Mirror, err = e.findMirror(ctx, f, base, root, scratch); err != nil {
		return err
	}
	if err := store.Add(i, root, scratch); err != nil {
		return err
	}
	e.note("Added instance %s (%s).", name, base)
	e.warnCleartext(i)
	e.note("Sign with it by --instance %s, or always: sigbox instance use %s", name, name)
	return nil
}

// warnCleartext says so when tokens will travel unprotected, or not at all.
func (e *env) warnCleartext(i instance.Instance) {
	switch {
	case !remote.IsCleartext(i.URL):
	case i.InsecureHTTP:
		e.note("Careful: its URL is http. Whoever can listen on the network can take your identity tokens and sign as you.")
	default:
		e.note("Its URL is http: to verify that will do, but no identity token goes there. To sign, add it by an")
		e.note("https URL, or give --insecure-http if you trust every machine between.")
	}
}

// firstRoot gets the TUF root that trust begins at.
func (e *env) firstRoot(ctx context.Context, f addFlags, base string) ([]byte, error) {
	root, err := e.findRoot(ctx, f, base)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(root)
	got := hex.EncodeToString(sum[:])
	switch want := strings.ToLower(strings.TrimPrefix(f.rootSHA256, "sha256:")); {
	case want != "" && want != got:
		return nil, sigbox.Mismatch(sigbox.NotVerified, "this is not the TUF root that you asked for: its SHA-256 is another", want, got)
	case want != "" || f.root != "" || f.yes:
		return root, nil
	}
	from := base
	if remote.IsFileMirror(f.mirror) {
		from = f.mirror
	}
	return root, e.trustOnFirstUse(from, got)
}

// findRoot reads the TUF root where it lies: in a file, in a copy of the repository, or
// at the instance.
func (e *env) findRoot(ctx context.Context, f addFlags, base string) ([]byte, error) {
	switch {
	case f.root != "":
		return readFile(f.root, maxRootFile)
	case remote.IsFileMirror(f.mirror):
		return remote.ReadMirror(f.mirror, "root.json", maxRootFile)
	}
	return e.remote().Fetch(ctx, "the instance", base+"/root.json", maxRootFile)
}

// cleanMirror brings the place of a TUF repository into one form: a URL, of a directory
// too.
func cleanMirror(place string) (string, error) {
	if remote.IsFileMirror(place) || !strings.Contains(place, "://") {
		return remote.FileMirror(strings.TrimPrefix(place, "file://"))
	}
	return instance.CleanURL(place)
}

// trustOnFirstUse asks whether a root that came from the network will do.
func (e *env) trustOnFirstUse(base, sum string) error {
	e.note("%s sends a TUF root with SHA-256", base)
	e.note("  %s", sum)
	if !e.interactive() {
		return &usageError{
			msg:  "nothing says that this root is the right one, and there is no terminal to ask on",
			hint: "compare it with what the instance's operator says, then give --root FILE, --root-sha256 " + sum + ", or --yes",
		}
	}
	e.note("Nothing but this connection says that it is the right one. Compare it with what")
	e.note("the instance's operator tells you by another way.")
	if !e.ask("Trust it?") {
		return sigbox.Errorf(sigbox.Denied, "the instance was not added")
	}
	return nil
}

// findMirror finds the TUF repository of an instance by refreshing from it into
// cache: what is added has worked once.
func (e *env) findMirror(ctx context.Context, f addFlags, base string, root []byte, cache string) (string, error) {
	candidates := []string{base + "/tuf", base}
	if f.mirror != "" {
		candidates = []string{f.mirror}
	}
	var first error
	for _, mirror := range candidates {
		err := e.remote().TUF(remote.TUFConfig{Mirror: mirror, Root: root, Dir: cache}).Refresh(ctx)
		if err == nil {
			return mirror, nil
		}
		if first == nil {
			first = err
		}
		if kind := sigbox.KindOf(err); kind != sigbox.NotFound && kind != sigbox.Unavailable {
			return "", err // there is a repository, and it is not to be trusted
		}
	}
	return "", sigbox.Errorf(sigbox.KindOf(first), "no TUF repository that begins at this root: %w", first)
}

func newInstanceListCommand(e *env) *cobra.Command {
	var output outputFlag
	cmd := &cobra.Command{
		Use: "list", Aliases: []string{"ls"}, Short: "List the instances", Args: noArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE:              func(*cobra.Command, []string) error { return e.listInstances(output) },
	}
	output.register(cmd)
	return cmd
}

// instanceJSON is what "instance list" and "instance show" print.
type instanceJSON struct {
	Name    string `json:"name"`
	URL     string `json:"url"`
	Mirror  string `json:"mirror"`
	BuiltIn bool   `json:"builtIn"`
	// Current says whether it is used when nothing else is said.
	Current bool `json:"current"`
	// InsecureHTTP says whether identity tokens may go to it over plain http.
	InsecureHTTP bool   `json:"insecureHTTP"`
	RootSHA      string `json:"rootSHA256"`
	// Refreshed is when its repository was last asked; absent for never.
	Refreshed *time.Time `json:"refreshed,omitempty"`
	Expires   *time.Time `json:"expires,omitempty"`
	Expired   bool       `json:"expired"`
	// Problem is why what was fetched cannot be used.
	Problem string `json:"problem,omitempty"`
}

// describe gathers what is known of an instance without asking anybody.
func (e *env) describe(store *instance.Store, i instance.Instance) (instanceJSON, error) {
	root, err := store.Root(i)
	if err != nil {
		return instanceJSON{}, err
	}
	current, err := store.Current()
	if err != nil {
		return instanceJSON{}, err
	}
	sum := sha256.Sum256(root)
	j := instanceJSON{
		Name: i.Name, URL: i.URL, Mirror: i.Mirror, BuiltIn: i.BuiltIn, Current: i.Name == current,
		InsecureHTTP: i.InsecureHTTP, RootSHA: hex.EncodeToString(sum[:]),
	}
	client, err := e.tufClient(store, i)
	if err != nil {
		return instanceJSON{}, err
	}
	t, err := client.Cached(remote.TrustedRootTarget)
	switch {
	case err == nil && !t.Refreshed.IsZero():
		j.Refreshed, j.Expires, j.Expired = &t.Refreshed, &t.Expires, t.Expired
	case err != nil && sigbox.KindOf(err) != sigbox.NotFound:
		j.Problem = err.Error()
	}
	return j, nil
}

func (e *env) listInstances(output outputFlag) error {
	store, err := e.openInstances()
	if err != nil {
		return err
	}
	list, err := store.List()
	if err != nil {
		return err
	}
	all := make([]instanceJSON, len(list))
	for n, i := range list {
		if all[n], err = e.describe(store, i); err != nil {
			return err
		}
	}
	if output.json() {
		return e.printJSON(all)
	}
	tw := tabwriter.NewWriter(e.stdout, 0, 0, 2, ' ', 0)
	for _, j := range all {
		mark := " "
		if j.Current {
			mark = "*"
		}
		fmt.Fprintf(tw, "%s %s\t%s\t%s\n", mark, j.Name, j.URL, printable(j.age(e.now())))
	}
	return tw.Flush()
}

func (j instanceJSON) age(now time.Time) string {
	switch {
	case j.Problem != "":
		return j.Problem
	case j.Refreshed == nil && j.BuiltIn:
		return "built in"
	case j.Refreshed == nil:
		return "not fetched yet"
	case j.Expired:
		return "expired " + j.Expires.UTC().Format(time.DateOnly)
	}
	return "refreshed " + ago(now.Sub(*j.Refreshed))
}

func newInstanceShowCommand(e *env) *cobra.Command {
	var output outputFlag
	cmd := &cobra.Command{
		Use: "show [NAME]", Short: "Show what is trusted of an instance", Args: optionalArg,
		RunE:              func(_ *cobra.Command, args []string) error { return e.showInstance(output, first(args)) },
		ValidArgsFunction: e.completeInstanceArg,
	}
	output.register(cmd)
	return cmd
}

// shownJSON is what "instance show --output json" prints.
type shownJSON struct {
	instanceJSON
	Authorities []authorityJSON `json:"certificateAuthorities"`
	Logs        []logJSON       `json:"transparencyLogs"`
	CTLogs      []logJSON       `json:"certificateTransparencyLogs"`
	TSAs        []authorityJSON `json:"timestampAuthorities"`
}

type authorityJSON struct {
	URL   string     `json:"url"`
	Name  string     `json:"name"`
	Start time.Time  `json:"validFrom"`
	End   *time.Time `json:"validUntil,omitempty"`
}

type logJSON struct {
	URL   string     `json:"url"`
	ID    string     `json:"logId"` // hex
	Key   string     `json:"algorithm"`
	Start time.Time  `json:"validFrom"`
	End   *time.Time `json:"validUntil,omitempty"`
}

func (e *env) showInstance(output outputFlag, name string) error {
	store, i, err := e.findInstance(name)
	if err != nil {
		return err
	}
	j, err := e.describe(store, i)
	if err != nil {
		return err
	}
	client, err := e.tufClient(store, i)
	if err != nil {
		return err
	}
	t, err := client.Cached(remote.TrustedRootTarget)
	if err != nil {
		return err
	}
	root, err := trust.ParseRoot(t.Data)
	if err != nil {
		return err
	}
	shown := shownJSON{
		instanceJSON: j, Authorities: authorities(root.CertificateAuthorities), Logs: logs(root.Logs),
		CTLogs: logs(root.CTLogs), TSAs: authorities(root.TimestampAuthorities),
	}
	if output.json() {
		return e.printJSON(shown)
	}
	return shown.print(e)
}

func authorities(list []sigbox.CertificateAuthority) []authorityJSON {
	out := make([]authorityJSON, len(list))
	for n, a := range list {
		out[n] = authorityJSON{URL: a.URI, Name: strings.TrimSpace(a.CommonName + ", " + a.Organization), Start: a.ValidFor.Start, End: until(a.ValidFor)}
	}
	return out
}

func logs(list []sigbox.TransparencyLog) []logJSON {
	out := make([]logJSON, len(list))
	for n, l := range list {
		out[n] = logJSON{URL: l.BaseURL, ID: hex.EncodeToString(l.LogID), Key: l.Details.String(), Start: l.ValidFor.Start, End: until(l.ValidFor)}
	}
	return out
}

func until(r sigbox.TimeRange) *time.Time {
	if r.End.IsZero() {
		return nil
	}
	return &r.End
}

func (s shownJSON) print(e *env) error {
	tw := tabwriter.NewWriter(e.stdout, 0, 0, 2, ' ', 0)
	row := func(name, format string, args ...any) {
		fmt.Fprintf(tw, "%s\t%s\n", name, printable(fmt.Sprintf(format, args...)))
	}
	row("name", "%s", s.Name)
	row("URL", "%s", s.URL)
	row("TUF repository", "%s", s.Mirror)
	row("root SHA-256", "%s", s.RootSHA)
	row("trust material", "%s", s.age(e.now()))
	if s.Expires != nil {
		row("good until", "%s", s.Expires.UTC().Format(time.RFC3339))
	}
	if s.InsecureHTTP {
		row("identity tokens", "may go there over plain http")
	}
	for _, a := range s.Authorities {
		row("CA", "%s (%s), %s", a.URL, a.Name, span(a.Start, a.End))
	}
	for _, l := range s.CTLogs {
		row("CT log", "%s, key %.8s…, %s", l.URL, l.ID, span(l.Start, l.End))
	}
	for _, l := range s.Logs {
		row("log", "%s, key %.8s…, %s", l.URL, l.ID, span(l.Start, l.End))
	}
	for _, a := range s.TSAs {
		row("timestamps", "%s (%s), %s", a.URL, a.Name, span(a.Start, a.End))
	}
	return tw.Flush()
}

func span(start time.Time, end *time.Time) string {
	if end == nil {
		return "since " + start.UTC().Format(time.DateOnly)
	}
	return start.UTC().Format(time.DateOnly) + " to " + end.UTC().Format(time.DateOnly)
}

func newInstanceUseCommand(e *env) *cobra.Command {
	return &cobra.Command{
		Use: "use NAME", Short: "Use an instance when nothing else is said", Args: exactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			store, err := e.openInstances()
			if err != nil {
				return err
			}
			if err := store.Use(args[0]); err != nil {
				return err
			}
			e.note("Now in use: %s.", args[0])
			return nil
		},
		ValidArgsFunction: e.completeInstanceArg,
	}
}

func newInstanceRefreshCommand(e *env) *cobra.Command {
	return &cobra.Command{
		Use: "refresh [NAME]", Short: "Fetch an instance's trust material now", Args: optionalArg,
		RunE: func(cmd *cobra.Command, args []string) error {
			store, i, err := e.findInstance(first(args))
			if err != nil {
				return err
			}
			client, err := e.tufClient(store, i)
			if err != nil {
				return err
			}
			if err := client.Refresh(cmd.Context()); err != nil {
				return err
			}
			t, err := client.Cached(remote.TrustedRootTarget)
			if err != nil {
				return err
			}
			e.note("%s: %s.", i.Name, e.freshness(t))
			return nil
		},
		ValidArgsFunction: e.completeInstanceArg,
	}
}

func newInstanceRemoveCommand(e *env) *cobra.Command {
	return &cobra.Command{
		Use: "remove NAME", Aliases: []string{"rm"}, Short: "Trust an instance no longer", Args: exactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			store, err := e.openInstances()
			if err != nil {
				return err
			}
			if err := store.Remove(args[0]); err != nil {
				return err
			}
			e.note("Removed instance %s.", args[0])
			return nil
		},
		ValidArgsFunction: e.completeInstanceArg,
	}
}

// first gives the first argument, or "".
func first(args []string) string {
	if len(args) == 0 {
		return ""
	}
	return args[0]
}
