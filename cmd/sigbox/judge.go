package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"io"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/oci"
	"github.com/sigbox/sigbox/verify"
	"github.com/sigbox/sigbox/verify/condition"
)

// verifyParallel is how many artifacts are judged at once: enough to keep every
// processor busy while files are read, few enough for the descriptors that a shell
// leaves us.
func verifyParallel() int { return min(max(4, 2*runtime.GOMAXPROCS(0)), 64) }

// imageParallel is how many images are resolved and judged at once: that is mostly
// waiting for their registry, which is asked as much at a time as package oci lets.
const imageParallel = 16

// parallel is how many of the artifacts are judged at once.
func (j *judge) parallel() int {
	if j.images == nil {
		return verifyParallel()
	}
	return max(verifyParallel(), imageParallel)
}

// judge verifies artifacts, all by the same trust and policy.
type judge struct {
	trust    *renewal
	policy   sigbox.Policy
	evidence evidenceFlags
	stdin    io.Reader
	offline  bool
	lookup   *lookup
	images   *oci.Client // nil where there are none
	// annotations must have been signed with images.
	annotations map[string]string
	// held are buffers for small artifacts.
	held sync.Pool
	// parts are the files that were read as evidence, by their clean paths.
	parts sync.Map
}

func (e *env) newJudge(ctx context.Context, f verifyFlags) (*judge, error) {
	p, err := f.policy.policy()
	if err != nil {
		return nil, err
	}
	if err := f.checkLog(p); err != nil {
		return nil, err
	}
	annotations, err := annotationsOf(f.annotations)
	if err != nil {
		return nil, err
	}
	j := &judge{policy: p, annotations: annotations, evidence: f.evidence, stdin: e.stdin, offline: f.trust.offline}
	t := trusted{source: f.trustWord()}
	if !f.ignoreLog {
		if t, err = e.loadTrust(ctx, f.trust, forVerifying); err != nil {
			return nil, err
		}
		j.lookup = e.newLookup(ctx, f.trust, t, p.Keys)
	}
	j.trust, err = e.newRenewal(f.trust, forVerifying, t, verify.Config{Conditions: condition.CEL{}})
	return j, err
}

// outcome is what became of one artifact: verdicts, as many as the policy wants
// signers; or a digest that lists have; or an error.
type outcome struct {
	artifact artifact
	verdicts []*verify.Verdict
	listed   sigbox.Digest
	err      error
	// from is where the bundles were found that were judged.
	from map[*sigbox.Bundle]place
	// at is where the bundle was found that failed, zero when nobody knows.
	at place
	// signers are those of the policy, when too few signed.
	signers []policySignerJSON
	// unasked: a log may have what a signature came without, and --offline forbade
	// to ask.
	unasked bool
}

// all judges every artifact, many at once, and keeps their order. Of an outcome
// only what result makes of it is kept: there may be very many. Lists come first,
// since the files that they list depend on them. Last come files that are bundles by
// their names: those that were read as such have no results, and are counted.
func (j *judge) all(ctx context.Context, artifacts []artifact, result func(outcome) verifyResult, step func()) (results []verifyResult, bundles int) {
	results = make([]verifyResult, len(artifacts))
	inParallel(artifacts, func(i int, a artifact) {
		if a.list == nil {
			return
		}
		o := j.list(ctx, a)
		a.list.verified, a.list.failure = o.err == nil, lasting(o.err)
		results[i] = result(o)
		step()
	})
	inParallelBy(j.parallel(), artifacts, func(i int, a artifact) {
		switch o := (outcome{artifact: a}); {
		case a.bundle:
		case a.list == nil:
			results[i] = result(j.one(ctx, a))
			step()
		case !o.isListed(ctx): // by another list
			results[i] = result(o)
		}
	})
	inParallel(artifacts, func(i int, a artifact) {
		if a.bundle && !j.isPart(ctx, a.path) {
			results[i] = result(j.one(ctx, a))
		}
	})
	kept := slices.DeleteFunc(results, func(r verifyResult) bool { return r.Status == "" })
	return kept, len(results) - len(kept)
}

// isPart reports whether a file of a directory is evidence for another one. Most
// were read as that.
func (j *judge) isPart(ctx context.Context, path string) bool {
	if _, read := j.parts.Load(filepath.Clean(path)); read {
		return true
	}
	_, ok := belongs(ctx, path, j.policy.Keys)
	return ok
}

// inParallel does something for each of many, in as many places at once as
// verifyParallel says.
func inParallel[T any](all []T, do func(int, T)) { inParallelBy(verifyParallel(), all, do) }

// inParallelBy is inParallel in so many places at once.
func inParallelBy[T any](width int, all []T, do func(int, T)) {
	var next atomic.Int64
	var group sync.WaitGroup
	for range min(width, len(all)) {
		group.Go(func() {
			for i := next.Add(1) - 1; i < int64(len(all)); i = next.Add(1) - 1 {
				do(int(i), all[i])
			}
		})
	}
	group.Wait()
}

// list judges a file of checksums, by its own signatures alone.
func (j *judge) list(ctx context.Context, a artifact) outcome {
	o := outcome{artifact: a, err: cmp.Or(a.err, a.list.err)}
	if o.err == nil {
		j.signed(ctx, &o)
	}
	return o
}

// one judges any other artifact. What a list has is judged by the list, and if it
// was named and has a signature of its own, by that as well.
func (j *judge) one(ctx context.Context, a artifact) outcome {
	o := outcome{artifact: a, err: a.err}
	if a.err != nil || !o.isListed(ctx) {
		return o
	}
	if !a.image.IsZero() && !j.evidence.given() {
		j.image(ctx, &o)
		return o
	}
	if len(a.listed) == 0 || a.alone && len(a.evidence()) > 0 {
		j.signed(ctx, &o)
	}
	return o
}

// isListed reports whether the artifact is as all lists say in which it stands.
func (o *outcome) isListed(ctx context.Context) bool {
	for _, l := range o.artifact.listed {
		if o.listed, o.err = l.list.check(ctx, l.checksum); o.err != nil {
			return false
		}
	}
	return true
}

// signed judges an artifact by the signatures that there are for it. Those that a
// log must be asked for are tried when the others do not do.
func (j *judge) signed(ctx context.Context, o *outcome) {
	complete, unlogged := j.gather(ctx, o)
	if len(complete) > 0 && j.settle(ctx, o, o.artifact, complete) || len(unlogged) == 0 {
		return
	}
	a, digest := j.digested(ctx, o.artifact)
	found := complete
	for _, b := range unlogged {
		err := j.lookup.complete(ctx, b, o.from[b].evidence, digest)
		if o.fail(err, o.from[b]); err == nil {
			found = append(found, b)
		}
	}
	if len(found) > len(complete) {
		j.settle(ctx, o, a, found)
	}
}

// gather reads the bundles that there are for an artifact, apart those that lack
// what a log may have. What cannot be read is noted.
func (j *judge) gather(ctx context.Context, o *outcome) (complete, unlogged []*sigbox.Bundle) {
	sources := j.sources(o.artifact)
	if len(sources) == 0 {
		o.err = unsigned(o.artifact.path)
		return nil, nil
	}
	o.from = make(map[*sigbox.Bundle]place, len(sources))
	for _, source := range sources {
		bundles, err := j.read(ctx, source)
		o.fail(err, place{evidence: source})
		for _, found := range bundles {
			b := found.Bundle
			o.from[b] = place{source, found.line}
			o.unasked = o.unasked || j.offline && source.signature != "" && len(b.Entries) == 0
			if source.signature != "" && j.lookup.wants(b) {
				unlogged = append(unlogged, b)
			} else {
				complete = append(complete, b)
			}
		}
	}
	return complete, unlogged
}

// unsigned is the error for a file that has no signature. One that cannot be read, or
// not as a whole, might have been one itself.
func unsigned(path string) error {
	err := sigbox.Errorf(sigbox.NotVerified, "there is no bundle beside it")
	if isBundleName(path) {
		_, unread := readBundles(path)
		if exitStatus(unread) == exitUndecided {
			return unread
		}
		if sigbox.KindOf(unread) == sigbox.TooLarge {
			text, hint := splitHint(unread)
			return sigbox.Errorf(sigbox.TooLarge, "it is called a bundle and is not read as one: %s", text).WithHint("%s; if it is no bundle, expected %s", hint, path+bundleSuffix)
		}
		err = sigbox.Errorf(sigbox.NotVerified, "it is called a bundle and is none, and there is none beside it")
	}
	return err.WithHint("expected %s, or name the bundle with --bundle", path+bundleSuffix)
}

// sources are where the signatures of an artifact may be.
func (j *judge) sources(a artifact) []evidence {
	found := j.evidence.of(a)
	if j.evidence.given() || len(j.policy.Keys) == 0 {
		return found
	}
	for _, v := range found {
		if v.certificate != "" { // which may be there for something else
			found = append(found, evidence{signature: v.signature})
		}
	}
	return found
}

// digested gives what hashes an artifact before it is judged. Standard input can be
// read but once: what is judged then is its digest.
func (j *judge) digested(ctx context.Context, a artifact) (artifact, func(sigbox.HashAlgorithm) (sigbox.Digest, error)) {
	known := func(d sigbox.NamedDigest) func(sigbox.HashAlgorithm) (sigbox.Digest, error) {
		return func(h sigbox.HashAlgorithm) (sigbox.Digest, error) {
			if d.Algorithm != h.String() {
				return sigbox.Digest{}, sigbox.Errorf(sigbox.NotVerified, "to find its entry in a log, the %s of the artifact is needed, and it is given as %s", h, d.Algorithm)
			}
			return sigbox.ParseDigest(d.String())
		}
	}
	switch {
	case a.list != nil:
		return a, func(h sigbox.HashAlgorithm) (sigbox.Digest, error) { return h.Sum(a.list.content), nil }
	case a.stdin:
		d, err := hashAll(readerWith(ctx, j.stdin), []sigbox.HashAlgorithm{sigbox.SHA256})
		if err != nil {
			return a, func(sigbox.HashAlgorithm) (sigbox.Digest, error) { return sigbox.Digest{}, err }
		}
		return artifact{digest: d[0].Named()}, known(d[0].Named())
	case a.path == "":
		return a, known(a.digest)
	}
	return a, func(h sigbox.HashAlgorithm) (sigbox.Digest, error) {
		d, err := digestOf(ctx, a.path, h)
		if err != nil {
			return sigbox.Digest{}, err
		}
		return d[0], nil
	}
}

// read reads evidence; standard input holds bundles.
func (j *judge) read(ctx context.Context, v evidence) ([]located, error) {
	if v.bundle != "-" {
		bundles, err := v.read()
		if err == nil && v.signature == "" {
			j.parts.Store(filepath.Clean(v.bundle), nil)
		}
		return bundles, err
	}
	b, err := readAll(readerWith(ctx, j.stdin), "standard input", maxBundleFile)
	switch {
	case err != nil:
		return nil, err
	case len(b) == 0:
		return nil, sigbox.Errorf(sigbox.Invalid, "standard input is empty, and a bundle was expected there")
	}
	bundles, err := parseBundles(b, false)
	if err != nil {
		err = sigbox.Errorf(sigbox.KindOf(err), "standard input: %w", err)
	}
	return bundles, err
}

// settle judges an artifact by bundles, and reports whether they do.
func (j *judge) settle(ctx context.Context, o *outcome, a artifact, bundles []*sigbox.Bundle) bool {
	verdicts, err := j.verify(ctx, a, bundles)
	if err == nil {
		o.verdicts, o.err = verdicts, nil
		return true
	}
	var at place
	if f, ok := errors.AsType[*verify.Failure](err); ok && f.Bundle() != nil {
		at = o.from[f.Bundle()]
	}
	o.fail(err, at)
	if verify.FailedStep(err) == verify.StepIdentity && j.policy.Threshold > 1 && !a.stdin {
		o.signers = j.signers(ctx, a, bundles)
	}
	return false
}

// fail notes a failure. Of several the one counts that came closer to success,
// which tells more; what could not be decided weighs most: it may have been the one.
func (o *outcome) fail(err error, at place) {
	closer := func() bool {
		if o.err == nil || exitStatus(o.err) != exitStatus(err) {
			return o.err == nil || exitStatus(err) > exitStatus(o.err)
		}
		return verify.FailedStep(err) >= verify.FailedStep(o.err)
	}
	if err != nil && closer() {
		o.err, o.at = err, at
	}
}

// verify puts the question to the library.
func (j *judge) verify(ctx context.Context, a artifact, bundles []*sigbox.Bundle) ([]*verify.Verdict, error) {
	if a.stdin {
		return j.trust.judgeOnce(func(v *verify.Verifier) ([]*verify.Verdict, error) { return j.verifyBy(ctx, v, a, bundles, j.policy) })
	}
	return j.trust.judge(ctx, func(v *verify.Verifier) ([]*verify.Verdict, error) { return j.verifyBy(ctx, v, a, bundles, j.policy) })
}

func (j *judge) verifyBy(ctx context.Context, v *verify.Verifier, a artifact, bundles []*sigbox.Bundle, p sigbox.Policy) ([]*verify.Verdict, error) {
	switch {
	case a.stdin:
		return v.VerifyAll(verify.Reader(readerWith(ctx, j.stdin)), bundles, p)
	case a.list != nil:
		return v.VerifyAll(verify.Bytes(a.list.content), bundles, p)
	case a.payload != nil:
		return v.VerifyAll(verify.Bytes(a.payload), bundles, p)
	case a.path == "":
		return v.VerifyAll(verify.Named(a.digest), bundles, p)
	}
	f, err := openRegular(a.path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // only read
	buf, ok := j.held.Get().(*[smallArtifact]byte)
	if !ok {
		buf = new([smallArtifact]byte)
	}
	defer j.held.Put(buf)
	return v.VerifyAll(content(readerWith(ctx, f), buf[:]), bundles, p)
}

// smallArtifact is how much of an artifact is read at first, in bytes. Most are
// smaller.
const smallArtifact = 64 << 10

// content reads a small artifact into buf, and of a larger one the beginning. An
// error in between is told when the artifact is looked at, after all else.
func content(r io.Reader, buf []byte) verify.Artifact {
	n, err := io.ReadFull(r, buf)
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return verify.Bytes(buf[:n])
	case err != nil:
		return verify.Reader(failedReader{err})
	}
	return verify.Reader(io.MultiReader(bytes.NewReader(buf), r))
}

// failedReader gives the error that ended reading before.
type failedReader struct{ err error }

func (f failedReader) Read([]byte) (int, error) { return 0, f.err }
