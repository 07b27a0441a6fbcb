package verify

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/wire/entry"
	"github.com/sigbox/sigbox/wire/note"
)

// logged is an entry of the bundle that a log of the trust root vouches for.
type logged struct {
	log   *rekor
	entry *sigbox.LogEntry
	body  *entry.Body
	at    time.Time // zero unless promised by the log
}

// index is the one that the log vouches for.
func (e logged) index() int64 {
	if e.at.IsZero() {
		return e.entry.Inclusion.LogIndex // without promise there is a proof
	}
	return e.entry.LogIndex
}

// isV2 reports whether an entry is of the kinds that Rekor v2 makes; v1 logs
// have their 0.0.1 kinds, and intoto 0.0.2.
func isV2(le *sigbox.LogEntry) bool {
	return le.Version == entry.Version002 && (le.Kind == entry.KindHashedRekord || le.Kind == entry.KindDSSE)
}

// entries checks the bundle's log entries. Those of logs that the root does not
// list count for nothing; of those that it does each must be in order.
func (t *trial) entries() error {
	others := 0
	var unusable error
	for i := range t.bundle.Entries {
		le := &t.bundle.Entries[i]
		logs, problem := t.root.logsOf(le.LogID)
		if len(logs) == 0 {
			others++
			unusable = problem
			continue
		}
		if t.bodies[i].err != nil {
			return refuseFor(StepEntry, t.bodies[i].err)
		}
		e, err := t.entry(logs, le, t.bodies[i].body)
		if err != nil {
			return err
		}
		t.logged = append(t.logged, e)
	}
	if have := operators(t.logged, func(e logged) string { return e.log.operator }); have < t.demands.LogEntries {
		f := tooFew(StepLog, "entries in logs of the trust root", t.demands.LogEntries, have)
		switch {
		case unusable != nil:
			f = f.hint("the trust root lists a log of the bundle's that cannot be used: %v", unusable)
		case others > 0:
			f = f.hint("the bundle has %d of logs that the trust root does not list: is it the right one?", others).strange()
		}
		return f
	}
	return nil
}

// operators counts distinct ones: an entry, or a log, is not a witness for another.
func operators[T any](list []T, name func(T) string) int {
	if len(list) < 2 {
		return len(list)
	}
	seen := make(map[string]bool, len(list))
	for _, e := range list {
		seen[name(e)] = true
	}
	return len(seen)
}

// entry checks one entry with the listings of its log: a root may list a key more
// than once, for different times.
func (t *trial) entry(logs []*rekor, le *sigbox.LogEntry, body *entry.Body) (logged, error) {
	if err := t.bind(le, body); err != nil {
		return logged{}, err
	}
	var first error
	for _, log := range logs {
		at, err := log.check(le)
		if err == nil {
			return logged{log, le, body, at}, nil
		}
		if first == nil {
			first = err
		}
	}
	return logged{}, first
}

// check checks a log's promise and proof for an entry. The time is zero when the
// log promises none.
func (l *rekor) check(le *sigbox.LogEntry) (time.Time, error) {
	var at time.Time
	promised := len(le.SignedEntryTimestamp) > 0
	if promised {
		if err := l.Details.VerifyMessage(l.key, entry.SETPayload(le), le.SignedEntryTimestamp); err != nil {
			return at, refuseFor(StepPromise, err)
		}
		at = time.Unix(le.IntegratedTime, 0).UTC()
		if !l.ValidFor.Contains(at) {
			return at, refuse(StepPromise, "the trust root lists the log %s %s, the entry is of %s", l.BaseURL, period(l.ValidFor), stamp(at))
		}
	}
	switch {
	case le.Inclusion != nil:
		return at, l.checkInclusion(le, promised)
	case !promised:
		return at, refuse(StepInclusion, "the log entry has neither proof nor promise")
	case isV2(le):
		return at, refuse(StepInclusion, "the log entry has no inclusion proof, which Rekor v2 always gives")
	}
	return at, nil // version 0.1: the promise alone
}

// checkInclusion checks the proof and the checkpoint that it leads to. A promised
// entry of a 0.1 bundle may lack the checkpoint; its proof then proves nothing,
// but must not be wrong.
func (l *rekor) checkInclusion(le *sigbox.LogEntry, promised bool) error {
	p := le.Inclusion
	if isV2(le) && le.LogIndex != p.LogIndex {
		return mismatch(StepInclusion, "index of the proof", le.LogIndex, p.LogIndex)
	}
	if len(p.RootHash) != sha256.Size {
		return mismatch(StepInclusion, "bytes of the root hash", sha256.Size, len(p.RootHash))
	}
	var few [24]tlog.Hash // which are those of a proof in a tree of 16 million leaves
	proof := tlog.RecordProof(few[:0])
	for _, h := range p.Hashes {
		if len(h) != sha256.Size {
			return mismatch(StepInclusion, "bytes of a hash in the proof", sha256.Size, len(h))
		}
		proof = append(proof, tlog.Hash(h))
	}
	if p.LogIndex < 0 || p.LogIndex >= p.TreeSize || p.TreeSize > sigbox.MaxTreeSize {
		return refuse(StepInclusion, "index %d in a tree of %d leaves", p.LogIndex, p.TreeSize)
	}
	if tlog.CheckRecord(proof, p.TreeSize, tlog.Hash(p.RootHash), p.LogIndex, tlog.RecordHash(le.Body)) != nil {
		return refuse(StepInclusion, "the proof does not lead from the entry to the root hash")
	}
	if p.Checkpoint == "" {
		if promised {
			return nil
		}
		return refuse(StepCheckpoint, "the proof has no checkpoint, so nobody vouches for it")
	}
	cp, err := l.open(p.Checkpoint, isV2(le))
	if err != nil {
		return refuseFor(StepCheckpoint, err)
	}
	switch {
	case cp.Size != uint64(p.TreeSize): // #nosec G115 -- positive, see above
		return mismatch(StepCheckpoint, "size of the tree", p.TreeSize, cp.Size)
	case !bytes.Equal(cp.Root[:], p.RootHash):
		return refuse(StepCheckpoint, "the checkpoint is of another root hash than the proof")
	}
	return nil
}

// open checks the log's signature on a checkpoint, or finds it checked. A v2 log
// signs as its host, and its checkpoints' origin is that host; a v1 log is known
// by its key alone, whose origin is "host - tree ID".
func (l *rekor) open(text string, v2 bool) (sigbox.Checkpoint, error) {
	verifier, err := l.verifier(v2)
	if err != nil {
		return sigbox.Checkpoint{}, sigbox.Errorf(sigbox.NotVerified, "the trust root's log %q cannot sign checkpoints: no host in its URL, or a key of another type", l.BaseURL)
	}
	var usual [512]byte // hold most, so that nothing is copied to the heap
	key := signedText{v2, sha256.Sum256(append(usual[:0], text...))}
	if cp, ok := l.checkpoints.get(key); ok {
		return *cp, nil
	}
	cp, err := note.Open(text, verifier)
	if err != nil {
		return sigbox.Checkpoint{}, err
	}
	if v2 && cp.Origin != l.host {
		return sigbox.Checkpoint{}, sigbox.Mismatch(sigbox.NotVerified, "origin", l.host, cp.Origin)
	}
	l.checkpoints.put(key, &cp, rememberChecks)
	return cp, nil
}

// bind holds what an entry says against the bundle, all but the artifact's
// digest, which is not known yet: that it is of this signature, by this
// certificate or key, and of this payload.
func (t *trial) bind(le *sigbox.LogEntry, body *entry.Body) error {
	if body.Kind != le.Kind || body.Version != le.Version {
		return mismatch(StepEntry, "kind of the entry", le.Kind+" "+le.Version, body.Kind+" "+body.Version)
	}
	if len(body.Signatures) != 1 {
		return mismatch(StepEntry, "signatures in the entry", 1, len(body.Signatures))
	}
	s := &body.Signatures[0]
	if !bytes.Equal(s.Signature, t.signature) {
		return refuse(StepEntry, "the entry is of another signature than the bundle's")
	}
	if err := t.bindSigner(s); err != nil {
		return err
	}
	if s.Details != 0 {
		if err := s.Details.CheckKey(t.signer.public); err != nil {
			return refuseFor(StepEntry, err)
		}
		if t.details != 0 && t.details != s.Details {
			return mismatch(StepEntry, "signature algorithm", t.details, s.Details)
		}
		t.details = s.Details
	}
	if t.bundle.Envelope != nil {
		return t.bindEnvelope(le, body)
	}
	if body.Kind != entry.KindHashedRekord {
		return mismatch(StepEntry, "kind of the entry for a message signature", entry.KindHashedRekord, body.Kind)
	}
	return nil
}

// bindSigner compares certificate or key.
func (t *trial) bindSigner(s *entry.BodySignature) error {
	if t.signer.leaf != nil {
		if !bytes.Equal(s.Certificate, t.signer.leaf.cert.Raw) {
			return refuse(StepEntry, "the entry is of another certificate than the bundle's")
		}
		return nil
	}
	if bytes.Equal(s.PublicKey, t.signer.spki) {
		return nil
	}
	// Another encoding of the same key, perhaps.
	if pub, err := sigbox.ParsePublicKey(s.PublicKey); err == nil {
		if spki, err := x509.MarshalPKIXPublicKey(pub); err == nil && bytes.Equal(spki, t.signer.spki) {
			return nil
		}
	}
	return refuse(StepEntry, "the entry is of another key than the one given")
}

// bindEnvelope compares what an entry says of an envelope.
func (t *trial) bindEnvelope(le *sigbox.LogEntry, body *entry.Body) error {
	signed, logged := &t.payload, body.PayloadDigest
	if body.Kind == entry.KindHashedRekord { // client-spec, 4.4: over Hash(PAE)
		signed, logged = &t.pae, body.Digest
	}
	if body.PayloadType != "" && body.PayloadType != t.bundle.Envelope.PayloadType {
		return mismatch(StepEntry, "payload type", t.bundle.Envelope.PayloadType, body.PayloadType)
	}
	if !logged.Valid() {
		return refuse(StepEntry, "a %s %s entry that does not say what was signed", body.Kind, body.Version)
	}
	if !logged.Equal(signed.digest(logged.Algorithm)) {
		return refuse(StepEntry, "the entry is of another statement than the bundle's")
	}
	return t.recompute(le, body, logged)
}

// recompute makes the leaf of a v2 hashedrekord from the bundle alone: what is in
// the log must be that, byte for byte (rekor-v2-spec, 6.1.4).
func (t *trial) recompute(le *sigbox.LogEntry, body *entry.Body, digest sigbox.Digest) error {
	if body.Kind != entry.KindHashedRekord || body.Version != entry.Version002 {
		return nil
	}
	e := sigbox.Entry{Digest: digest, Signature: t.signature, Details: body.Signatures[0].Details}
	if t.signer.leaf != nil {
		e.Certificate = t.signer.leaf.cert.Raw
	} else {
		e.PublicKey = body.Signatures[0].PublicKey // compared before, perhaps in another encoding
	}
	switch same, err := isLeaf(le.Body, e); {
	case err != nil:
		return refuseFor(StepEntry, err)
	case !same:
		return refuse(StepEntry, "the entry is not the one that follows from the bundle")
	}
	return nil
}

// isLeaf reports whether body is the leaf that a v2 log makes of e; the error is why
// it makes none.
func isLeaf(body []byte, e sigbox.Entry) (bool, error) {
	var room [4096]byte // for what most leaves need, so that it is not allocated
	want, err := entry.AppendLeaf(room[:0], e)
	return err == nil && bytes.Equal(body, want), err
}

// foretold gives the body of an entry without reading it, when it is to the byte the
// v2 leaf that follows from the bundle's certificate, signature and stated digest.
// That the digest is the artifact's is for later.
func (c *inquiry) foretold(le *sigbox.LogEntry) *entry.Body {
	if c.signers[0].leaf == nil {
		return nil
	}
	e := sigbox.Entry{Signature: c.signature, Certificate: c.signers[0].leaf.cert.Raw}
	for _, e.Details = range algorithms(c.signers[0].public) {
		if c.bundle.Message != nil {
			e.Digest = c.bundle.Message.Digest
		} else if h := e.Details.Hash(); h.Valid() {
			e.Digest = c.pae.digest(h)
		}
		if same, _ := isLeaf(le.Body, e); same {
			return &entry.Body{
				Kind: entry.KindHashedRekord, Version: entry.Version002, Digest: e.Digest,
				Signatures: []entry.BodySignature{{Signature: e.Signature, Certificate: e.Certificate, Details: e.Details}},
			}
		}
	}
	return nil
}

// bindDigests holds the entries' digests against the artifact's.
func (t *trial) bindDigests() error {
	for _, e := range t.logged {
		d := t.content.digest(e.body.Digest.Algorithm)
		if d.IsZero() {
			return refuse(StepArtifact, "the log entry is of a %s digest, which cannot be compared with %s", e.body.Digest.Algorithm, t.content.any()).
				hint("give the artifact itself")
		}
		if !d.Equal(e.body.Digest) {
			return mismatch(StepEntry, "the entry is of another artifact", d, e.body.Digest)
		}
		if err := t.recompute(e.entry, e.body, d); err != nil {
			return err
		}
	}
	return nil
}
