// Package plugin asks programs for signatures: plugins of the protocol that cosign and
// the sigstore libraries have for key management services. A plugin is a program
// sigstore-kms-SCHEME on the PATH. Each call runs it with the arguments "v1" and JSON
// of what is asked for; a message is on its standard input, the answer on its standard
// output.
//
//	programs := plugin.New(plugin.Config{})
//	source, err := programs.Key("awskms", "/alias/sigbox-ca")
//
// A program is given bounded time and room, and is believed nothing: who uses a
// [keys.Source] verifies its signatures.
//
// Our own plugin for hardware tokens, sigstore-kms-pkcs11, also answers many calls in
// one run ([Programs.Token]): a token's login is too slow to be made for each
// signature.
//
// Protocol: https://github.com/sigstore/sigstore, pkg/signature/kms/cliplugin.
package plugin

import (
	"bytes"
	"context"
	"crypto"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/keys"
)

// Config is what [Programs] needs; its zero value works.
type Config struct {
	// Path is a list of directories like PATH, which it is if "".
	Path string
	// Env is the programs' environment; nil is this process's own.
	Env []string
	// Hide are names of variables that the programs are not given.
	Hide []string
	// Running is how many calls are made at once, 16 if 0: most wait for a service.
	Running int
}

const (
	prefix = "sigstore-kms-"

	defaultRunning = 16

	// keptErrors bounds what is kept of a program's standard error, in bytes.
	keptErrors = 4 << 10
	// stopDelay is how long a program that was killed may leave its output open.
	stopDelay = time.Second
)

// Programs are the plugins that one instance runs.
type Programs struct {
	path    string
	env     []string
	secrets []string
	slots   chan struct{}

	mu     sync.Mutex
	tokens map[string]*session // by what their keys have in common
}

// New looks for no program yet.
func New(c Config) *Programs {
	if c.Path == "" {
		c.Path = os.Getenv("PATH")
	}
	if c.Env == nil {
		c.Env = os.Environ()
	}
	if c.Running == 0 {
		c.Running = defaultRunning
	}
	shown := slices.DeleteFunc(slices.Clone(c.Env), func(v string) bool {
		name, _, _ := strings.Cut(v, "=")
		return slices.Contains(c.Hide, name)
	})
	return &Programs{path: c.Path, env: shown, secrets: keys.SecretsOf(shown), slots: make(chan struct{}, c.Running), tokens: map[string]*session{}}
}

// Close ends the programs that still run.
func (p *Programs) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range p.tokens {
		s.close()
	}
	return nil
}

// Key gives the key that the plugin of a scheme knows by a name. The program is looked
// for now, and is that one from then on.
func (p *Programs) Key(scheme, name string) (keys.Source, error) {
	program, err := p.find(prefix + scheme)
	if err != nil {
		return nil, err
	}
	k := &key{programs: p, program: program, name: name}
	k.call = k.run
	return k, nil
}

// find looks for a program in the directories of the path, those alone that are
// absolute: what the others mean depends on where the server was started.
func (p *Programs) find(name string) (string, error) {
	for _, dir := range filepath.SplitList(p.path) {
		if !filepath.IsAbs(dir) {
			continue
		}
		program := filepath.Join(dir, name)
		info, err := os.Stat(program)
		if err != nil || !info.Mode().IsRegular() || runtime.GOOS != "windows" && info.Mode().Perm()&0o111 == 0 {
			continue
		}
		if runtime.GOOS != "windows" && info.Mode().Perm()&0o002 != 0 {
			return "", sigbox.Errorf(sigbox.Denied, "anybody may change the plugin %s", program).WithHint("chmod o-w %s", program)
		}
		return program, nil
	}
	return "", sigbox.Errorf(sigbox.NotFound, "there is no plugin %s in the directories of PATH", name).
		WithHint("install it there; entries of PATH that are not absolute are passed over")
}

// key is a key by a plugin.
type key struct {
	programs *Programs
	program  string
	name     string
	// call runs the program, or asks one that runs.
	call func(ctx context.Context, c Call, message []byte) (Answer, error)
}

// Public implements keys.Source. A plugin's errors have no kinds, so that whatever it
// says here may mean that there is no key yet.
func (k *key) Public(ctx context.Context) ([]crypto.PublicKey, error) {
	c := k.newCall(ctx, MethodPublic, 0)
	c.Public = &PublicCall{}
	c.Public.Options.RPC = c.Init.RPC
	a, err := k.call(ctx, c, nil)
	if said, ok := errors.AsType[*refusal](err); ok {
		return nil, sigbox.Errorf(sigbox.NotFound, "%w", said)
	}
	if err != nil {
		return nil, err
	}
	pub, err := a.Public.publicKey()
	if err != nil {
		return nil, err
	}
	return []crypto.PublicKey{pub}, nil
}

// Create implements keys.Source.
func (k *key) Create(ctx context.Context, details sigbox.KeyDetails) error {
	c := k.newCall(ctx, MethodAlgorithms, 0)
	c.Algorithms = &struct{}{}
	a, err := k.call(ctx, c, nil)
	if err != nil {
		return err
	}
	var listed []string
	if a.Algorithms != nil {
		listed = a.Algorithms.Algorithms
	}
	name, ok := algorithmFor(details, listed)
	if !ok {
		return sigbox.Errorf(sigbox.Invalid, "the plugin makes no keys for %s", details).
			WithHint("it makes %s; make the key with the tools of its service, or keep it elsewhere", keys.Said(strings.Join(listed, ", "), nil))
	}
	c = k.newCall(ctx, MethodCreate, details.SignerOpts().HashFunc())
	c.Create = &CreateCall{Deadline: c.Init.Deadline, Algorithm: name}
	if a, err = k.call(ctx, c, nil); err != nil {
		return err
	}
	_, err = a.Create.publicKey()
	return err
}

// Sign implements keys.Source.
func (k *key) Sign(ctx context.Context, _ crypto.PublicKey, input []byte, hash crypto.Hash) ([]byte, error) {
	c := k.newCall(ctx, MethodSign, hash)
	c.Sign = &SignCall{Options: SignOptions{RPC: c.Init.RPC}}
	if hash != 0 {
		c.Sign.Options.Message = MessageOptions{Digest: input, Hash: hashNumber(hash)}
		input = nil
	}
	a, err := k.call(ctx, c, input)
	if err != nil {
		return nil, err
	}
	if a.Sign == nil || len(a.Sign.Signature) == 0 {
		return nil, sigbox.Errorf(sigbox.Invalid, "the plugin has answered without a signature")
	}
	return a.Sign.Signature, nil
}

// newCall makes what each call has. Plugins of Sigstore's parts refuse to begin without
// a hash, also where there is none: they get the one that cosign always gives.
func (k *key) newCall(ctx context.Context, method string, hash crypto.Hash) Call {
	deadline, _ := ctx.Deadline()
	if hash == 0 {
		hash = crypto.SHA256
	}
	return Call{Method: method, Init: Init{
		Deadline: deadline, Version: Version, Key: k.name, Hash: hashNumber(hash), RPC: RPCOptions{Deadline: deadline},
	}}
}

// refusal is an error that a plugin has told as one.
type refusal struct{ error }

// refused makes the error of what a plugin says of itself. A plugin's errors have no
// kinds; most are of a service that is away.
func (k *key) refused(a Answer) error {
	return &refusal{sigbox.Errorf(sigbox.Unavailable, "the plugin %s says: %s", filepath.Base(k.program), keys.Said(a.Error, k.programs.secrets))}
}

// Unwrap gives the error that the refusal is.
func (r *refusal) Unwrap() error { return r.error }

// run starts the program for one call and waits for its end.
func (k *key) run(ctx context.Context, c Call, message []byte) (Answer, error) {
	select {
	case k.programs.slots <- struct{}{}:
		defer func() { <-k.programs.slots }()
	case <-ctx.Done():
		return Answer{}, k.failed(ctx.Err(), "", "all that may run at once are busy")
	}
	args, err := json.Marshal(c)
	if err != nil {
		return Answer{}, sigbox.Errorf(sigbox.Internal, "%w", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stdout, stderr := &kept{limit: maxAnswer, full: cancel}, &kept{limit: keptErrors}
	cmd := k.programs.command(ctx, k.program, Version, string(args))
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(message), stdout, stderr
	err = cmd.Run()
	endGroup(cmd)
	if stdout.over {
		return Answer{}, sigbox.Errorf(sigbox.TooLarge, "the plugin %s writes more than %d bytes", filepath.Base(k.program), maxAnswer)
	}
	// The exit status is no part of the protocol: an answer counts whatever it is. But
	// a program that was killed or did not start has none.
	if exit, ok := errors.AsType[*exec.ExitError](err); err != nil && (!ok || !exit.Exited()) {
		return Answer{}, k.failed(errors.Join(err, context.Cause(ctx)), stderr.String(), "was ended")
	}
	a, parseErr := ParseAnswer(stdout.b)
	switch {
	case parseErr != nil && err != nil:
		return Answer{}, k.failed(err, stderr.String(), "failed")
	case parseErr != nil:
		return Answer{}, parseErr
	case a.Error != "":
		return Answer{}, k.refused(a)
	}
	return a, nil
}

// command prepares a program, so that it ends when ctx does.
func (p *Programs) command(ctx context.Context, program string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, program, args...) // #nosec G204 -- found by a name that was checked, in directories of the operator's
	cmd.Env = p.env
	cmd.WaitDelay = stopDelay
	ownGroup(cmd)
	return cmd
}

// failed is the error of a program that did not come to an answer.
func (k *key) failed(cause error, stderr, what string) error {
	said := keys.Said(stderr, k.programs.secrets)
	if said != "" {
		said = ", saying: " + said
	}
	return sigbox.Errorf(sigbox.Unavailable, "the plugin %s %s (%w)%s", filepath.Base(k.program), what, cause, said)
}

// kept is a writer that keeps what is written up to a limit, in bytes. What is beyond
// it is dropped, and full is called if it is not nil.
type kept struct {
	limit int
	full  func()

	b    []byte
	over bool
}

func (w *kept) Write(b []byte) (int, error) {
	n := min(len(b), w.limit-len(w.b))
	w.b = append(w.b, b[:n]...)
	if n < len(b) {
		w.over = true
		if w.full != nil {
			w.full()
			return n, io.ErrShortWrite
		}
	}
	return len(b), nil
}

func (w *kept) String() string { return string(w.b) }
