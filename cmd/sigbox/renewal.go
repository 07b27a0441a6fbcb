package main

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/remote"
	"github.com/sigbox/sigbox/verify"
)

// renewal judges by a trust root, and by a newer one when something is of a log or an
// authority that it does not list: that may have begun to sign since the instance was
// asked. Instances are asked for that once in a verb, and now and then, since a bundle by
// strangers looks the same. Trust roots that files pin, and --offline, stay as they are.
type renewal struct {
	instances []refresher
	// load gives what instances and files say now.
	load   func(context.Context) (trusted, error)
	config verify.Config

	verifier atomic.Pointer[verify.Verifier]
	source   atomic.Pointer[string] // of the trust root, for people
	once     sync.Once
	found    string // what came of asking, for people; set by once
}

func (e *env) newRenewal(f trustFlags, p purpose, t trusted, config verify.Config) (*renewal, error) {
	r := &renewal{instances: t.instances, config: config, load: func(ctx context.Context) (trusted, error) { return e.loadTrust(ctx, f, p) }}
	return r, r.take(t)
}

// take judges by a trust root from now on.
func (r *renewal) take(t trusted) error {
	config := r.config
	config.Roots = t.roots
	v, err := verify.New(config)
	if err == nil {
		r.verifier.Store(v)
		r.source.Store(&t.source)
	}
	return err
}

// judge asks the verifier, and again the one by a newer trust root where that may help.
func (r *renewal) judge(ctx context.Context, ask func(*verify.Verifier) ([]*verify.Verdict, error)) ([]*verify.Verdict, error) {
	before := r.verifier.Load()
	verdicts, err := ask(before)
	if f, ok := errors.AsType[*verify.Failure](err); !ok || !f.Unlisted() || len(r.instances) == 0 {
		return verdicts, err
	}
	r.once.Do(func() { r.found = r.renew(ctx) })
	if now := r.verifier.Load(); now != before {
		if verdicts, err = ask(now); err == nil {
			return verdicts, nil
		}
	}
	return verdicts, told(err, r.found)
}

// judgeOnce asks the verifier about what can be read but once, and says where a newer
// trust root may help.
func (r *renewal) judgeOnce(ask func(*verify.Verifier) ([]*verify.Verdict, error)) ([]*verify.Verdict, error) {
	verdicts, err := ask(r.verifier.Load())
	if len(r.instances) > 0 {
		err = told(err, "a newer one may, and standard input is read but once: "+r.instances[0].command()+" fetches it")
	}
	return verdicts, err
}

// told adds to a failure for the sake of somebody unlisted what there is to know of newer
// trust roots. One that came further has another reason to tell.
func told(err error, found string) error {
	if f, ok := errors.AsType[*verify.Failure](err); ok && f.Unlisted() && f.Step() < verify.StepIdentity {
		return &unlistedError{err, found}
	}
	return err
}

// renew asks the instances, and says what came of it.
func (r *renewal) renew(ctx context.Context) string {
	asked := false
	for _, i := range r.instances {
		done, why := i.renew(ctx)
		if !done && len(r.instances) == 1 {
			return why
		}
		asked = asked || done
	}
	if !asked {
		return "no instance was asked for a newer one: sigbox instance refresh NAME does"
	}
	t, err := r.load(ctx)
	if err == nil {
		err = r.take(t)
	}
	if err != nil {
		return "a newer one could not be used: " + err.Error()
	}
	return "the newest one, of just now, does not list it either"
}

// unlistedError is a failure for the sake of somebody whom the trust root does not list,
// with what came of asking for a newer one.
type unlistedError struct {
	error
	found string
}

// Error says both.
func (u *unlistedError) Error() string { return u.error.Error() + "; " + u.found }

// Unwrap gives the failure.
func (u *unlistedError) Unwrap() error { return u.error }

// renew asks the repository although that is not due, unless it was asked just now or is
// not to be. If it was not asked it says why.
func (r refresher) renew(ctx context.Context) (asked bool, why string) {
	command := r.command()
	switch {
	case r.offline:
		return false, "--offline: a newer one may; with a network, " + command + " fetches it"
	case r.asked:
		return false, "the newest one, of just now, does not list it"
	case r.env.touched(r.mark, refreshPause):
		return false, "its repository could not be reached a short while ago: " + command + " tries again"
	case r.env.touched(r.renewed, renewalPause):
		return false, "a newer one was asked for a short while ago; " + command + " asks again"
	}
	r.env.touch(r.renewed)
	bounded, cancel := context.WithTimeout(ctx, refreshTimeout)
	defer cancel()
	if err := r.client.Refresh(bounded); err != nil {
		if sigbox.KindOf(err) == sigbox.Unavailable && ctx.Err() == nil {
			r.env.touch(r.mark)
		}
		return false, "a newer one could not be fetched: " + err.Error()
	}
	return true, ""
}

// command is what people type to have the repository asked.
func (r refresher) command() string { return "sigbox instance refresh " + r.instance.Name }

// isNew reports whether a target was fetched since another was seen in the cache.
func isNew(t, cached remote.Target) bool { return !t.Refreshed.Equal(cached.Refreshed) }
