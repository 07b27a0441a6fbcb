package interop

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sigbox/sigbox/interop/worker"
)

// A client is a program that signs and verifies with Sigstore, driven the way
// its users drive it.
type client interface {
	name() string
	// trust makes the instance known to the client, from its TUF repository.
	trust(in *instance) error
	// sign writes a bundle for file, with a token of the instance's provider.
	sign(in *instance, token, file, bundle string) error
	// verify judges a bundle; nil means verified.
	verify(in *instance, file, bundle, email, issuer string) error
}

// A v1Client can also sign with a log of Rekor v1.
type v1Client interface {
	client
	// v1 gives the client, told to. config is a signing config that lists no other
	// log, for those that choose by nothing else.
	v1(config string) client
}

// A limited client is one that cannot do all that the others can.
type limited interface {
	client
	// lacks says why the client neither signs with a log of the version ("v1", "v2")
	// nor verifies what others signed with it; "" if it does.
	lacks(version string) string
}

// tools says where the pinned clients were installed; see setup.
func tools(t *testing.T, elem ...string) string {
	dir := os.Getenv("SIGBOX_INTEROP_TOOLS")
	if dir == "" {
		dir = filepath.Join("..", ".cache", "interop")
	}
	path, err := filepath.Abs(filepath.Join(append([]string{dir}, elem...)...))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("%v\nThe foreign clients are not installed: run interop/setup, or make interop.", err)
	}
	return path
}

// command runs a program in a home of its own, so that clients neither see each
// other's caches nor the person's.
func command(home string, env []string, name string, args ...string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(append(os.Environ(), "HOME="+home, "XDG_DATA_HOME="+home+"/data", "XDG_CACHE_HOME="+home+"/cache", "XDG_CONFIG_HOME="+home+"/config"), env...)
	cmd.WaitDelay = time.Second
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w\n%s", filepath.Base(name), err, out)
	}
	return nil
}

// refused reports whether err is a program's own refusal: it ran to its end and
// said no. A program that could not be started, was killed or crashed is none.
func refused(err error) bool {
	if _, ok := errors.AsType[worker.Refusal](err); ok {
		return true
	}
	exit, ok := errors.AsType[*exec.ExitError](err)
	return ok && exit.Exited() && exit.ExitCode() > 0 && !strings.Contains(err.Error(), "goroutine 1 [")
}

// sigboxClient is our own command.
type sigboxClient struct {
	binary, home string
	signing      []string // further flags
}

func (c sigboxClient) name() string { return "sigbox" }

func (c sigboxClient) run(args ...string) error {
	return command(c.home, []string{"SIGBOX_HOME=" + c.home + "/sigbox"}, c.binary, args...)
}

func (c sigboxClient) trust(in *instance) error {
	return c.run("instance", "add", "here", in.url, "--root", in.rootFile, "--yes")
}

func (c sigboxClient) sign(_ *instance, token, file, bundle string) error {
	return c.run(append([]string{"sign", "--instance", "here", "--identity-token", token, "--bundle", bundle, file}, c.signing...)...)
}

func (c sigboxClient) attest(_ *instance, token, statement, bundle string) error {
	return c.run(append([]string{"sign", "--in-toto", "--instance", "here", "--identity-token", token, "--bundle", bundle, statement}, c.signing...)...)
}

func (c sigboxClient) v1(config string) client {
	c.signing = []string{"--signing-config", config}
	return c
}

func (c sigboxClient) verify(_ *instance, file, bundle, email, issuer string) error {
	return c.run("verify", "--type", "any", "--instance", "here", "--bundle", bundle, "--certificate-identity", email, "--certificate-oidc-issuer", issuer, file)
}

// cosignClient is cosign v3.
type cosignClient struct {
	binary, home string
	signing      []string // further flags
}

func (c cosignClient) name() string { return "cosign" }

func (c cosignClient) run(args ...string) error {
	return command(c.home, []string{"TUF_ROOT=" + c.home + "/tuf"}, c.binary, args...)
}

func (c cosignClient) trust(in *instance) error {
	return c.run("initialize", "--mirror", in.url+"/tuf", "--root", in.url+"/root.json")
}

func (c cosignClient) sign(_ *instance, token, file, bundle string) error {
	return c.run(append([]string{"sign-blob", "--yes", "--identity-token", token, "--bundle", bundle, file}, c.signing...)...)
}

func (c cosignClient) v1(config string) client {
	c.signing = []string{"--signing-config", config}
	return c
}

func (c cosignClient) verify(_ *instance, file, bundle, email, issuer string) error {
	return c.run("verify-blob", "--bundle", bundle, "--certificate-identity", email, "--certificate-oidc-issuer", issuer, file)
}

// goClient is the sigstore-go library, through sigstorego/.
type goClient struct {
	binary, home string
	env          []string
}

func (c goClient) name() string { return "sigstore-go" }

func (c goClient) run(in *instance, verb string, args ...string) error {
	return command(c.home, c.env, c.binary, append([]string{verb, in.url + "/tuf", in.rootFile, c.home + "/tuf"}, args...)...)
}

func (c goClient) v1(string) client {
	c.env = []string{"REKOR_VERSION=1"}
	return c
}

func (c goClient) trust(in *instance) error { return c.run(in, "trust") }

func (c goClient) sign(in *instance, token, file, bundle string) error {
	return c.run(in, "sign", token, file, bundle)
}

func (c goClient) attest(in *instance, token, statement, bundle string) error {
	return c.run(in, "attest", token, statement, bundle)
}

func (c goClient) verify(in *instance, file, bundle, email, issuer string) error {
	return c.run(in, "verify", file, bundle, email, issuer)
}

// jsClient is sigstore-js, through js/client.mjs.
type jsClient struct{ worker, old *worker.Worker }

func (c jsClient) name() string { return "sigstore-js" }

func (c jsClient) v1(string) client { return jsClient{worker: c.old} }

func (c jsClient) trust(*instance) error { return c.worker.Ask([]string{"trust"}) }

func (c jsClient) sign(_ *instance, token, file, bundle string) error {
	return c.worker.Ask([]string{"sign", token, file, bundle})
}

func (c jsClient) attest(_ *instance, token, statement, bundle string) error {
	return c.worker.Ask([]string{"attest", token, statement, bundle})
}

func (c jsClient) verify(_ *instance, file, bundle, email, issuer string) error {
	return c.worker.Ask([]string{"verify", file, bundle, email, issuer})
}

// pythonClient is sigstore-python's command, through python/client.py.
type pythonClient struct {
	worker  *worker.Worker
	signing []string // further flags
}

func (c pythonClient) name() string { return "sigstore-python" }

func (c pythonClient) run(args ...string) error { return c.worker.Ask(args) }

func (c pythonClient) trust(in *instance) error {
	return c.run("--instance", in.url+"/tuf", "trust-instance", in.rootFile)
}

func (c pythonClient) sign(in *instance, token, file, bundle string) error {
	return c.run(append([]string{"--instance", in.url + "/tuf", "sign", "--identity-token", token, "--bundle", bundle, file}, c.signing...)...)
}

func (c pythonClient) v1(string) client {
	c.signing = []string{"--rekor-version", "1"}
	return c
}

func (c pythonClient) verify(in *instance, file, bundle, email, issuer string) error {
	return c.run("--instance", in.url+"/tuf", "verify", "identity", "--bundle", bundle, "--cert-identity", email, "--cert-oidc-issuer", issuer, file)
}

// javaClient is sigstore-java, through java/. It asks the authority by gRPC, at the
// address of its HTTP API and over TLS alone.
type javaClient struct{ worker, old *worker.Worker }

func (c javaClient) name() string { return "sigstore-java" }

// trust does nothing: the client trusts the root that it was started with.
func (c javaClient) trust(*instance) error { return nil }

// v1 gives a client that only signs: statements it records in logs of v2 alone.
func (c javaClient) v1(string) client { return struct{ client }{javaClient{worker: c.old}} }

func (c javaClient) sign(_ *instance, token, file, bundle string) error {
	return c.worker.Ask([]string{"sign", token, file, bundle})
}

func (c javaClient) attest(_ *instance, token, statement, bundle string) error {
	return c.worker.Ask([]string{"attest", token, statement, bundle})
}

func (c javaClient) verify(_ *instance, file, bundle, email, issuer string) error {
	return c.worker.Ask([]string{"verify", file, bundle, email, issuer})
}

// rsClient is the sigstore-rs library, through rs/.
type rsClient struct {
	binary, home string
	// front is where authority and log are, "" for the instance's URL: the client is told of
	// one.
	front string
}

func (c rsClient) name() string { return "sigstore-rs" }

func (c rsClient) trustConfig() string { return filepath.Join(c.home, "client_trust_config.json") }

// trust gives the client what sigbox exports for it, as a file: the TUF repository that
// the library asks is Sigstore's own.
func (c rsClient) trust(in *instance) error {
	config, err := exec.Command(in.binary, "trust", "export", "--data", filepath.Dir(in.rootFile), "--format", "client-trust-config").Output()
	if err != nil {
		return err
	}
	return os.WriteFile(c.trustConfig(), config, 0o644)
}

func (c rsClient) lacks(version string) string {
	if version == "v1" {
		return ""
	}
	return "it signs with logs of Rekor v1 alone (`rekor/apis`), and takes the time of signing from their entries alone (`bundle/verify/verifier.rs`), where v2 has none"
}

// v1 gives the client as it is: it knows no other log.
func (c rsClient) v1(string) client { return c }

func (c rsClient) sign(in *instance, token, file, bundle string) error {
	return command(c.home, nil, c.binary, "sign", cmp.Or(c.front, in.url), token, file, bundle)
}

func (c rsClient) verify(_ *instance, file, bundle, email, issuer string) error {
	return command(c.home, nil, c.binary, "verify", c.trustConfig(), file, bundle, email, issuer)
}
