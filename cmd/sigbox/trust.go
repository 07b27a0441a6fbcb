package main

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/instance"
	"github.com/sigbox/sigbox/internal/remote"
	"github.com/sigbox/sigbox/wire/trust"
)

const (
	// maxTrustFile bounds trusted roots and signing configs, in bytes.
	maxTrustFile = 8 << 20
	// refreshTimeout bounds how long a verb waits for a TUF repository while it
	// has trust material that will do.
	refreshTimeout = 10 * time.Second
	// refreshPause is how long an unreachable repository is left alone, so that a
	// closed network does not cost every verb the time-out.
	refreshPause = time.Hour
	// unreachableFile bears the time of the last vain attempt.
	unreachableFile = "unreachable"
	// renewalPause is how often at most an instance is asked for a newer trust root for
	// the sake of something that the present one does not list.
	renewalPause = time.Minute
	// renewedFile bears the time at which that was done last.
	renewedFile = "renewed"
)

// trustFlags say whom to trust and, to sign, which services to use.
type trustFlags struct {
	// Several of these are tried by verify; sign has one at most.
	instances, trustedRoots []string
	signingConfig           string
	offline                 bool
}

func (f *trustFlags) register(e *env, cmd *cobra.Command, p purpose) {
	fs := cmd.Flags()
	if p == forSigning {
		fs.Var((*single)(&f.instances), "instance", "`NAME` or URL of the instance (default $SIGBOX_INSTANCE, else the one in use)")
		fs.Var((*single)(&f.trustedRoots), "trusted-root", "`FILE` with a trusted root, in place of an instance's")
		fs.StringVar(&f.signingConfig, "signing-config", "", "`FILE` with the services to sign with, in place of an instance's")
	} else {
		fs.StringArrayVar(&f.instances, "instance", nil, "`NAME` or URL of the instance to trust (default $SIGBOX_INSTANCE, else the one in use; of several each is tried)")
		fs.StringArrayVar(&f.trustedRoots, "trusted-root", nil, "`FILE` with trusted roots, in place of the instance in use (repeatable)")
		fs.BoolVar(&f.offline, "offline", false, "never use the network: what is cached or given has to do, and no log is asked for what a signature came without")
	}
	_ = cmd.RegisterFlagCompletionFunc("instance", e.completeInstance)
}

// single is a list of the one value that may be given.
type single []string

// String, Set and Type make it a pflag.Value.
func (s *single) String() string { return strings.Join(*s, "") }

func (s *single) Set(v string) error {
	*s = single{v}
	return nil
}

func (s *single) Type() string { return "string" }

// purpose is what trust material is loaded for.
type purpose bool

const (
	forVerifying purpose = false
	forSigning   purpose = true
)

// trusted is whom a verb trusts.
type trusted struct {
	roots []*sigbox.TrustedRoot
	// config is set for signing.
	config *sigbox.SigningConfig
	// insecureHTTP lets identity tokens go over plain http.
	insecureHTTP bool
	// name is the instance's; "" when files took its place.
	name string
	// source says where the roots come from and how fresh they are.
	source string
	// instances are those that roots are from.
	instances []refresher
}

// loadTrust finds the trust material for a verb: in files that the flags name, and
// from instances, which are asked when that is due.
func (e *env) loadTrust(ctx context.Context, f trustFlags, p purpose) (trusted, error) {
	t, err := trustFiles(f)
	if err != nil {
		return trusted{}, configured(err)
	}
	names := f.instances
	if len(names) == 0 && (t.roots == nil || p == forSigning && t.config == nil) {
		names = []string{""} // the one in use
	}
	for _, name := range names {
		if p == forSigning && t.roots != nil && t.config != nil {
			break
		}
		store, i, err := e.findInstance(name)
		if err != nil {
			return trusted{}, err
		}
		if t, err = e.instanceTrust(ctx, f, p, store, i, t); err != nil {
			return trusted{}, err
		}
	}
	return t, nil
}

// trustFiles reads what the flags name.
func trustFiles(f trustFlags) (trusted, error) {
	var t trusted
	for _, file := range f.trustedRoots {
		b, err := readFile(file, maxTrustFile)
		if err != nil {
			return t, err
		}
		roots, err := trust.ParseRoots(b)
		if err != nil {
			return t, sigbox.Errorf(sigbox.KindOf(err), "%s: %w", file, err)
		}
		t.add(file, roots...)
	}
	if f.signingConfig != "" {
		b, err := readFile(f.signingConfig, maxTrustFile)
		if err != nil {
			return t, err
		}
		if t.config, err = trust.ParseSigningConfig(b); err != nil {
			return t, sigbox.Errorf(sigbox.KindOf(err), "%s: %w", f.signingConfig, err)
		}
	}
	return t, nil
}

// add takes roots from a source.
func (t *trusted) add(source string, roots ...*sigbox.TrustedRoot) {
	t.roots = append(t.roots, roots...)
	if t.source != "" {
		t.source += "; "
	}
	t.source += source
}

// instanceTrust fills in from an instance what files have left open. To verify, its
// root is one more that is tried.
func (e *env) instanceTrust(ctx context.Context, f trustFlags, p purpose, store *instance.Store, i instance.Instance, t trusted) (trusted, error) {
	client, err := e.tufClient(store, i)
	if err != nil {
		return trusted{}, err
	}
	t.name, t.insecureHTTP = i.Name, i.InsecureHTTP
	r := refresher{
		env: e, client: client, instance: i, offline: f.offline,
		mark: filepath.Join(store.Cache(i.Name), unreachableFile), renewed: filepath.Join(store.Cache(i.Name), renewedFile),
	}
	if p == forVerifying || t.roots == nil {
		cached, _ := client.Cached(remote.TrustedRootTarget) // zero when there is none
		target, err := r.target(ctx, remote.TrustedRootTarget)
		if err != nil {
			return trusted{}, err
		}
		r.asked = isNew(target, cached)
		root, err := trust.ParseRoot(target.Data)
		if err != nil {
			return trusted{}, err
		}
		t.add("instance "+i.Name+", "+e.freshness(target), root)
		t.instances = append(t.instances, r)
	}
	if p == forSigning && t.config == nil {
		if t.config, err = r.services(ctx); err != nil {
			return trusted{}, err
		}
	}
	return t, nil
}

// openInstances opens the user's store of instances.
func (e *env) openInstances() (*instance.Store, error) {
	home, cache, err := instance.Directories(e.getenv)
	if err != nil {
		return nil, err
	}
	return instance.Open(home, cache), nil
}

// findInstance finds the instance in use: that of the flag, of $SIGBOX_INSTANCE,
// of "sigbox instance use", else public-good.
func (e *env) findInstance(flag string) (*instance.Store, instance.Instance, error) {
	store, err := e.openInstances()
	if err != nil {
		return nil, instance.Instance{}, err
	}
	name := flag
	if name == "" {
		name = e.getenv("SIGBOX_INSTANCE")
	}
	if name == "" {
		if name, err = store.Current(); err != nil {
			return nil, instance.Instance{}, err
		}
	}
	i, err := store.Find(name)
	return store, i, configured(err)
}

// tufClient follows an instance's TUF repository.
func (e *env) tufClient(store *instance.Store, i instance.Instance) (*remote.TUFClient, error) {
	root, err := store.Root(i)
	if err != nil {
		return nil, err
	}
	config := remote.TUFConfig{Mirror: i.Mirror, Root: root, Dir: store.Cache(i.Name)}
	if i.BuiltIn {
		seed := instance.PublicGoodSeed()
		config.Seed = map[string][]byte{
			remote.TrustedRootTarget: seed.TrustedRoot, remote.SigningConfigTarget: seed.SigningConfig,
		}
	}
	return e.remote().TUF(config), nil
}

// remote gives the client for services, one for all so that connections are
// shared.
func (e *env) remote() *remote.Client {
	if e.client == nil {
		e.client = remote.New(remote.Config{UserAgent: "sigbox/" + buildVersion().Version, Now: e.now})
	}
	return e.client
}

// refresher gets targets of an instance, and knows what to do without a network.
type refresher struct {
	env      *env
	client   *remote.TUFClient
	instance instance.Instance
	// mark is a file that is touched when the repository could not be reached.
	mark string
	// renewed is a file that is touched when it was asked for something that is not listed.
	renewed string
	offline bool
	// asked: the repository has answered for this verb already.
	asked bool
}

// target gives a target that may be relied on. What a person should know about
// its age is told.
func (r refresher) target(ctx context.Context, name string) (remote.Target, error) {
	cached, err := r.client.Cached(name)
	if r.offline {
		return r.offlineTarget(cached, err)
	}
	usable := err == nil && !cached.Expired
	if usable && r.env.touched(r.mark, refreshPause) {
		return cached, nil
	}
	if !usable {
		return r.client.Target(ctx, name)
	}
	bounded, cancel := context.WithTimeout(ctx, refreshTimeout)
	defer cancel()
	target, err := r.client.Target(bounded, name)
	if err == nil && target.Offline == nil {
		return target, nil
	}
	if err != nil && (sigbox.KindOf(err) != sigbox.Unavailable || ctx.Err() != nil) {
		return remote.Target{}, err
	}
	r.env.touch(r.mark)
	r.env.note("The trust material of %s could not be refreshed; what is here is good: %s.", r.instance.Name, r.env.freshness(cached))
	return cached, nil
}

// services gives the signing config: where the instance's services are.
func (r refresher) services(ctx context.Context) (*sigbox.SigningConfig, error) {
	target, err := r.target(ctx, remote.SigningConfigTarget)
	if err != nil {
		return nil, err
	}
	return trust.ParseSigningConfig(target.Data)
}

// offlineTarget gives what is cached, whatever its age, and tells of that.
func (r refresher) offlineTarget(cached remote.Target, err error) (remote.Target, error) {
	switch {
	case err != nil && sigbox.KindOf(err) == sigbox.NotFound:
		return remote.Target{}, sigbox.Errorf(sigbox.Unavailable, "there is no trust material of %s here, and --offline does not fetch it", r.instance.Name).
			WithHint("fetch it once with a network: sigbox instance refresh %s; or name a file: --trusted-root FILE", r.instance.Name)
	case err == nil && cached.Expired:
		r.env.note("Offline: the trust material of %s expired at %s and was not refreshed.", r.instance.Name, cached.Expires.Format(time.RFC3339))
	}
	return cached, err
}

// touched reports whether a mark was touched so short a while ago.
func (e *env) touched(mark string, while time.Duration) bool {
	info, err := os.Stat(mark)
	if err != nil {
		return false
	}
	age := e.now().Sub(info.ModTime())
	return age >= 0 && age < while
}

// touch notes the time in a mark. Where that cannot be written, the next verb tries again.
func (e *env) touch(mark string) {
	now := e.now()
	err := os.Chtimes(mark, now, now)
	if errors.Is(err, fs.ErrNotExist) && os.MkdirAll(filepath.Dir(mark), 0o700) == nil && os.WriteFile(mark, nil, 0o600) == nil {
		_ = os.Chtimes(mark, now, now)
	}
}

// freshness says how old trust material is.
func (e *env) freshness(t remote.Target) string {
	if t.Refreshed.IsZero() {
		return "as built into this program"
	}
	return "refreshed " + ago(e.now().Sub(t.Refreshed)) + ", good until " + t.Expires.UTC().Format(time.RFC3339)
}

// ago writes a span of time roughly.
func ago(d time.Duration) string {
	switch {
	case d < time.Minute:
		return "just now"
	case d < time.Hour:
		return count(int(d/time.Minute), "minute", "minutes") + " ago"
	case d < 48*time.Hour:
		return count(int(d/time.Hour), "hour", "hours") + " ago"
	}
	return count(int(d/(24*time.Hour)), "day", "days") + " ago"
}
