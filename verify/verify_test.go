package verify_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"pgregory.net/rapid"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/sigboxtest"
	"github.com/sigbox/sigbox/verify"
	"github.com/sigbox/sigbox/wire/bundle"
)

func TestIdentity(t *testing.T) {
	t.Parallel()
	w := sigboxtest.New(t)
	v := verifier(t, w.Root())
	b := w.Sign(artifact, sigboxtest.Options{})
	match := func(subject, subjectRE, issuer, issuerRE string) sigbox.IdentityMatch {
		return sigbox.IdentityMatch{Subject: subject, SubjectRegexp: subjectRE, Issuer: issuer, IssuerRegexp: issuerRE}
	}
	wrong := match("eve@example.com", "", "https://id.example", "")
	for name, c := range map[string]struct {
		ids []sigbox.IdentityMatch
		ok  bool
	}{
		"exact":               {[]sigbox.IdentityMatch{match("ada@example.com", "", "https://id.example", "")}, true},
		"one of two":          {[]sigbox.IdentityMatch{wrong, match("ada@example.com", "", "https://id.example", "")}, true},
		"other subject":       {[]sigbox.IdentityMatch{wrong}, false},
		"other issuer":        {[]sigbox.IdentityMatch{match("ada@example.com", "", "https://id.example.com", "")}, false},
		"other case":          {[]sigbox.IdentityMatch{match("Ada@example.com", "", "https://id.example", "")}, false},
		"halves of two":       {[]sigbox.IdentityMatch{wrong, match("ada@example.com", "", "https://other.example", "")}, false},
		"expressions":         {[]sigbox.IdentityMatch{match("", `.*@example\.com`, "", `https://.*`)}, true},
		"anchored at start":   {[]sigbox.IdentityMatch{match("", `da@example\.com`, "", `https://id\.example`)}, false},
		"anchored at end":     {[]sigbox.IdentityMatch{match("", `ada@example`, "", `https://id\.example`)}, false},
		"anchored in choices": {[]sigbox.IdentityMatch{match("", `eve|ada`, "", `https://id\.example`)}, false},
		"lines do not matter": {[]sigbox.IdentityMatch{match("", `(?m)^ada@example\.com$`, "", `https://id\.example`)}, true},
	} {
		_, err := v.Verify(verify.Bytes(artifact), b, sigbox.Policy{Identities: c.ids})
		if c.ok != (err == nil) {
			t.Errorf("%s: found %v", name, err)
		}
		if !c.ok {
			for _, side := range []string{"ada@example.com", "https://id.example"} {
				if verify.FailedStep(err) != verify.StepIdentity || !strings.Contains(err.Error(), side) {
					t.Errorf("%s: found %v, expected both sides", name, err)
				}
			}
		}
	}
}

// TestOtherNames: a user name is a name that package x509 does not know.
func TestOtherNames(t *testing.T) {
	t.Parallel()
	w := sigboxtest.New(t)
	id := sigbox.Identity{Issuer: "https://id.example", Subject: "ada!example.com", Kind: sigbox.OtherNameSAN}
	b := w.Sign(artifact, sigboxtest.Options{Identity: id})
	verdict, err := verifier(t, w.Root()).Verify(verify.Bytes(artifact), b, sigbox.Policy{Identities: []sigbox.IdentityMatch{{Subject: id.Subject, Issuer: id.Issuer}}})
	if err != nil {
		t.Fatal(err)
	}
	if found, _ := verdict.Identity(); found != id {
		t.Errorf("found %v", found)
	}
}

func TestArtifact(t *testing.T) {
	t.Parallel()
	w := sigboxtest.New(t)
	v := verifier(t, w.Root())
	message, envelope := w.Sign(artifact, sigboxtest.Options{}), w.Attest(sigboxtest.Statement(predicate, []byte("other"), artifact), sigboxtest.Options{})
	changed := append(bytes.Clone(artifact), '!')
	for name, c := range map[string]struct {
		a    verify.Artifact
		want verify.Step
		kind sigbox.Kind
	}{
		"bytes":          {a: verify.Bytes(artifact)},
		"reader":         {a: verify.Reader(iotest.OneByteReader(bytes.NewReader(artifact)))},
		"digest":         {a: verify.Digest(sigbox.SHA256.Sum(artifact))},
		"changed":        {verify.Bytes(changed), verify.StepArtifact, sigbox.NotVerified},
		"changed digest": {verify.Digest(sigbox.SHA256.Sum(changed)), verify.StepArtifact, sigbox.NotVerified},
		"other hash":     {verify.Digest(sigbox.SHA512.Sum(artifact)), verify.StepArtifact, sigbox.NotVerified},
		"none":           {verify.Artifact{}, 0, sigbox.Invalid},
		"broken digest":  {verify.Digest(sigbox.Digest{Algorithm: sigbox.SHA256, Value: []byte{1}}), 0, sigbox.Invalid},
		"broken reader":  {verify.Reader(iotest.ErrReader(errors.New("broken"))), 0, sigbox.Unavailable},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := v.Verify(c.a, message, ada())
			if verify.FailedStep(err) != c.want || (err == nil) != (c.kind == 0) || err != nil && sigbox.KindOf(err) != c.kind {
				t.Errorf("message: found %v, expected %v, %v", err, c.want, c.kind)
			}
			switch name { // readers are for one bundle
			case "reader":
				c.a = verify.Reader(bytes.NewReader(artifact))
			case "broken reader":
				c.a = verify.Reader(iotest.ErrReader(errors.New("broken")))
			}
			_, err = v.Verify(c.a, envelope, ada())
			if verify.FailedStep(err) != c.want || (err == nil) != (c.kind == 0) || err != nil && sigbox.KindOf(err) != c.kind {
				t.Errorf("envelope: found %v, expected %v, %v", err, c.want, c.kind)
			}
		})
	}
	if _, err := v.Verify(verify.Bytes(artifact), nil, ada()); sigbox.KindOf(err) != sigbox.Invalid {
		t.Errorf("found %v, expected a bundle to be demanded", err)
	}
}

// TestRoots: several are tried, each by its own demands, and nothing is mixed.
func TestRoots(t *testing.T) {
	t.Parallel()
	w, other := sigboxtest.New(t), sigboxtest.New(t)
	mine, theirs := w.Root(), other.Root()
	github := &sigbox.TrustedRoot{CertificateAuthorities: mine.CertificateAuthorities, TimestampAuthorities: mine.TimestampAuthorities}
	mixed := &sigbox.TrustedRoot{
		Logs: theirs.Logs, CTLogs: mine.CTLogs,
		CertificateAuthorities: mine.CertificateAuthorities, TimestampAuthorities: mine.TimestampAuthorities,
	}
	roots := func(r ...*sigbox.TrustedRoot) []*sigbox.TrustedRoot { return r }
	full, unlogged := w.Sign(artifact, sigboxtest.Options{}), w.Sign(artifact, sigboxtest.Options{Kind: "none", Fault: sigboxtest.FaultNamed("no-sct")})
	for name, c := range map[string]struct {
		roots []*sigbox.TrustedRoot
		b     *sigbox.Bundle
		want  verify.Step
	}{
		"mine":                         {roots(mine), full, 0},
		"mine last":                    {roots(theirs, github, mine), full, 0},
		"theirs":                       {roots(theirs), full, verify.StepLog},
		"timestamps alone":             {roots(github), unlogged, 0},
		"timestamps alone, second":     {roots(theirs, github), unlogged, 0},
		"timestamps alone, not enough": {roots(mine), unlogged, verify.StepLog},
		"halves of two":                {roots(theirs, mixed), full, verify.StepLog},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := verifier(t, c.roots...).Verify(verify.Bytes(artifact), c.b, ada())
			if verify.FailedStep(err) != c.want || (err == nil) != (c.want == 0) {
				t.Errorf("found %v, expected %v", err, c.want)
			}
		})
	}
	// The root that came furthest speaks: of the right root the identity is wrong.
	_, err := verifier(t, theirs, mine).Verify(verify.Bytes(artifact), full, sigbox.Policy{Identities: []sigbox.IdentityMatch{{Subject: "eve@example.com", Issuer: "https://id.example"}}})
	if verify.FailedStep(err) != verify.StepIdentity {
		t.Errorf("found %v, expected the identity", err)
	}
	if _, err := verifier(t).Verify(verify.Bytes(artifact), full, ada()); sigbox.KindOf(err) != sigbox.Invalid {
		t.Errorf("found %v, expected a trust root to be demanded", err)
	}
}

// TestUnusable: what a root lists and this program cannot use spoils nothing else,
// and its demands stay.
func TestUnusable(t *testing.T) {
	t.Parallel()
	w := sigboxtest.New(t)
	b := w.Sign(artifact, sigboxtest.Options{})
	r := w.Root()
	tomorrow := r.Logs[0]
	tomorrow.Details, tomorrow.LogID = 0, []byte("tomorrow")
	r.Logs = append(r.Logs, tomorrow)
	if _, err := verifier(t, r).Verify(verify.Bytes(artifact), b, ada()); err != nil {
		t.Error(err)
	}
	r.Logs = r.Logs[2:]
	if _, err := verifier(t, r).Verify(verify.Bytes(artifact), b, ada()); verify.FailedStep(err) != verify.StepLog {
		t.Errorf("found %v, expected an entry to be demanded", err)
	}
	if _, err := verify.New(verify.Config{Roots: []*sigbox.TrustedRoot{{Logs: r.Logs}}}); sigbox.KindOf(err) != sigbox.Invalid {
		t.Errorf("found %v, expected a root of which nothing can be used to be refused", err)
	}
	if _, err := verify.New(verify.Config{Roots: []*sigbox.TrustedRoot{nil}}); err == nil {
		t.Error("a root that is none was accepted")
	}
}

// TestRetiredLog: an entry without a time of its own must fit the log's period by
// the times that are known.
func TestRetiredLog(t *testing.T) {
	t.Parallel()
	w := sigboxtest.New(t)
	b := w.Sign(artifact, sigboxtest.Options{})
	r := w.Root()
	r.Logs[0].ValidFor.End = sigboxtest.Now()
	if _, err := verifier(t, r).Verify(verify.Bytes(artifact), b, ada()); err != nil {
		t.Errorf("the end is included: %v", err)
	}
	r.Logs[0].ValidFor.End = sigboxtest.Now().Add(-time.Second)
	if _, err := verifier(t, r).Verify(verify.Bytes(artifact), b, ada()); verify.FailedStep(err) != verify.StepTime {
		t.Errorf("found %v, expected the log to be retired", err)
	}
}

// TestPromiseAlone: bundles of version 0.1 may have a promise and no proof, or a
// proof without checkpoint, which must still be right. Later ones may not.
func TestPromiseAlone(t *testing.T) {
	t.Parallel()
	w := sigboxtest.New(t)
	v := verifier(t, w.Root())
	for name, c := range map[string]struct {
		version int
		change  func(le *sigbox.LogEntry)
		want    verify.Step
	}{
		"0.1, promise alone":       {1, func(le *sigbox.LogEntry) { le.Inclusion = nil }, 0},
		"0.1, without checkpoint":  {1, func(le *sigbox.LogEntry) { le.Inclusion.Checkpoint = "" }, 0},
		"0.1, a wrong proof":       {1, func(le *sigbox.LogEntry) { le.Inclusion.Checkpoint, le.Inclusion.Hashes = "", nil }, verify.StepInclusion},
		"0.1, without promise":     {1, func(le *sigbox.LogEntry) { le.SignedEntryTimestamp = nil }, verify.StepBundle},
		"0.2, promise alone":       {2, func(le *sigbox.LogEntry) { le.Inclusion = nil }, verify.StepBundle},
		"0.2, without checkpoint":  {2, func(le *sigbox.LogEntry) { le.Inclusion.Checkpoint = "" }, verify.StepBundle},
		"0.2, a time not promised": {2, func(le *sigbox.LogEntry) { le.SignedEntryTimestamp = nil }, verify.StepTime},
	} {
		b := w.Sign(artifact, sigboxtest.Options{Kind: "hashedrekord 0.0.1", Version: c.version, NoTimestamp: true})
		c.change(&b.Entries[0])
		if _, err := v.Verify(verify.Bytes(artifact), b, ada()); verify.FailedStep(err) != c.want || (err == nil) != (c.want == 0) {
			t.Errorf("%s: found %v, expected %v", name, err, c.want)
		}
	}
}

func TestVerdict(t *testing.T) {
	t.Parallel()
	w := sigboxtest.New(t)
	v := verifier(t, w.Root())
	b := w.Attest(sigboxtest.Statement(predicate, artifact), sigboxtest.Options{})
	verdict, err := v.Verify(verify.Bytes(artifact), b, ada())
	if err != nil {
		t.Fatal(err)
	}
	if !verdict.Time().Equal(sigboxtest.Now()) || verdict.Digest() != sigbox.SHA256.Sum(artifact).Named() || verdict.Statement().PredicateType != predicate {
		t.Errorf("found %v, %v, %v", verdict.Time(), verdict.Digest(), verdict.Statement())
	}
	var seen []verify.Step
	for _, c := range verdict.Steps() {
		seen = append(seen, c.Step)
		if c.Found == "" {
			t.Errorf("%v: nothing found", c.Step)
		}
	}
	if len(seen) < 10 {
		t.Errorf("found only %v", seen)
	}
	out, err := json.Marshal(verdict)
	if err != nil {
		t.Fatal(err)
	}
	var view struct {
		Verified bool
		Identity struct{ Subject, Issuer string }
		Steps    []struct{ Step, Found string }
	}
	if err := json.Unmarshal(out, &view); err != nil || !view.Verified || view.Identity.Subject != "ada@example.com" || len(view.Steps) != len(seen) {
		t.Errorf("found %s, %v", out, err)
	}

	// A failure tells what went well before.
	_, err = v.Verify(verify.Bytes([]byte("other")), b, ada())
	f, ok := errors.AsType[*verify.Failure](err)
	if !ok || len(f.Passed()) < 5 {
		t.Errorf("found %v", err)
	}
}

// TestZeroVerdict: it says nothing, least of all that something was verified.
func TestZeroVerdict(t *testing.T) {
	t.Parallel()
	for name, v := range map[string]*verify.Verdict{"zero": {}, "nil": nil} {
		_, byCertificate := v.Identity()
		_, stated := v.Subject()
		if byCertificate || stated || v.Statement() != nil || v.Algorithm() != 0 || !v.Digest().IsZero() || !v.Time().IsZero() ||
			len(v.Times())+len(v.LogEntries())+len(v.Steps()) != 0 {
			t.Errorf("%s: something was found", name)
		}
		out, err := v.MarshalJSON()
		if err != nil || !strings.Contains(string(out), `"verified":false`) {
			t.Errorf("%s: %s, %v", name, out, err)
		}
	}
}

// TestConcurrent: one Verifier serves many at once, more than it remembers.
func TestConcurrent(t *testing.T) {
	t.Parallel()
	w := sigboxtest.New(t)
	v := verifier(t, w.Root())
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for i := range 40 {
				o := sigboxtest.Options{}
				if i%4 == 3 {
					o.Fault = sigboxtest.FaultNamed("sct-of-other-key")
				}
				b := w.Sign(artifact, o)
				for range 2 {
					if _, err := v.Verify(verify.Bytes(artifact), b, ada()); (err == nil) != (o.Fault.Name == "") {
						t.Errorf("found %v", err)
					}
				}
			}
		})
	}
	wg.Wait()
}

// TestMutations: a bundle with bytes changed is refused, or it says the same as
// before. Some bytes say nothing: hints, and what no signature covers.
func TestMutations(t *testing.T) {
	t.Parallel()
	m := newMutations(t)
	rapid.Check(t, func(rt *rapid.T) {
		m.try(rt, rapid.SliceOfN(rapid.Byte(), 4, 16).Draw(rt, "edits"))
	})
}

// mutations are bundles of several shapes, encoded, with no more evidence than
// they need: a timestamp that nobody asks for may become a stranger's.
type mutations struct {
	v     *verify.Verifier
	cases []mutable
}

type mutable struct {
	file, view []byte
	judge      func(b *sigbox.Bundle) (*verify.Verdict, error)
}

func newMutations(tb testing.TB) *mutations {
	w := sigboxtest.New(tb)
	m := &mutations{v: verifier(tb, w.Root())}
	for _, o := range []sigboxtest.Options{{}, {Kind: "dsse 0.0.1", NoTimestamp: true}, {Kind: "hashedrekord 0.0.1", NoTimestamp: true}, {Key: w.Key(sigbox.ECDSAP256SHA256), NoTimestamp: true}} {
		b := signed(w, o, o.Kind == "dsse 0.0.1")
		file, err := bundle.Append(nil, b)
		if err != nil {
			tb.Fatal(err)
		}
		c := mutable{file: file, judge: func(b *sigbox.Bundle) (*verify.Verdict, error) {
			return m.v.Verify(verify.Bytes(artifact), b, ada())
		}}
		if o.Key != nil {
			key := keyOf(tb, o)
			c.judge = func(b *sigbox.Bundle) (*verify.Verdict, error) {
				return m.v.Verify(verify.Bytes(artifact), b, byKey(key))
			}
		}
		verdict, err := c.judge(b)
		if err != nil {
			tb.Fatal(err)
		}
		if c.view, err = json.Marshal(verdict); err != nil {
			tb.Fatal(err)
		}
		m.cases = append(m.cases, c)
	}
	return m
}

// try makes the edits: which bundle, and then a place and a byte each.
func (m *mutations) try(t interface {
	Errorf(format string, args ...any)
}, edits []byte) {
	if len(edits) < 4 {
		return
	}
	c := m.cases[int(edits[0])%len(m.cases)]
	file := bytes.Clone(c.file)
	for e := edits[1:]; len(e) >= 3; e = e[3:] {
		file[(int(e[0])<<8|int(e[1]))%len(file)] = e[2]
	}
	b, err := bundle.Parse(file)
	if err != nil {
		return
	}
	verdict, err := c.judge(b)
	if err != nil {
		if k := sigbox.KindOf(err); k != sigbox.NotVerified {
			t.Errorf("an error of kind %v: %v", k, err)
		}
		return
	}
	if view, err := json.Marshal(verdict); err != nil || !bytes.Equal(view, c.view) {
		t.Errorf("verified, but it says something else: %s, %v\n%s", view, err, file)
	}
}
