package verify_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/sigboxtest"
	"github.com/sigbox/sigbox/verify"
	"github.com/sigbox/sigbox/wire/entry"
	"github.com/sigbox/sigbox/wire/note"
)

// ownLog is a log of one entry, which says whatever it is told to.
type ownLog struct {
	key    *ecdsa.PrivateKey
	signer *note.Signer
	sigbox.TransparencyLog
}

func newOwnLog(t *testing.T) *ownLog {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := note.NewSigner("own.example", key)
	if err != nil {
		t.Fatal(err)
	}
	spki, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	return &ownLog{key, signer, sigbox.TransparencyLog{
		BaseURL: "https://own.example", HashAlgorithm: sigbox.SHA256, PublicKey: spki, Details: sigbox.ECDSAP256SHA256, LogID: signer.LogID(),
	}}
}

// add logs a body.
func (l *ownLog) add(t *testing.T, kind, version, spec string) sigbox.LogEntry {
	t.Helper()
	body := fmt.Appendf(nil, `{"apiVersion":%q,"kind":%q,"spec":%s}`, version, kind, spec)
	root := tlog.RecordHash(body)
	text, err := note.Sign(sigbox.Checkpoint{Origin: "own.example", Size: 1, Root: root}, l.signer)
	if err != nil {
		t.Fatal(err)
	}
	return sigbox.LogEntry{
		LogID: l.LogID, Kind: kind, Version: version, Body: body,
		Inclusion: &sigbox.Inclusion{TreeSize: 1, RootHash: root[:], Checkpoint: text},
	}
}

// promise has the log promise an entry.
func (l *ownLog) promise(t *testing.T, le *sigbox.LogEntry) {
	t.Helper()
	le.IntegratedTime = sigboxtest.Now().Unix()
	digest := sha256.Sum256(entry.SETPayload(le))
	sig, err := ecdsa.SignASN1(rand.Reader, l.key, digest[:])
	if err != nil {
		t.Fatal(err)
	}
	le.SignedEntryTimestamp = sig
}

// trusted is a world's root that lists the log besides.
func (l *ownLog) trusted(w *sigboxtest.World) *sigbox.TrustedRoot {
	r := w.Root()
	r.Logs = append(r.Logs, l.TransparencyLog)
	return r
}

func b64(b []byte) string { return base64.StdEncoding.EncodeToString(b) }

// parts are what a bundle's entry must say, as v1 writes them.
type parts struct{ signature, verifier, digest, payload string }

func partsOf(b *sigbox.Bundle) parts {
	hash := func(d sigbox.Digest) string { return fmt.Sprintf(`{"algorithm":"sha256","value":%q}`, d.Hex()) }
	p := parts{digest: hash(sigbox.SHA256.Sum(artifact))}
	p.verifier = b64(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: b.Certificates[0]}))
	if b.Message != nil {
		p.signature = b64(b.Message.Signature)
		return p
	}
	p.signature, p.payload = b64(b.Envelope.Signatures[0].Signature), hash(sigbox.SHA256.Sum(b.Envelope.Payload))
	return p
}

// TestEntriesAreBound: a log vouches for entries that are nearly of the bundle.
func TestEntriesAreBound(t *testing.T) {
	t.Parallel()
	w := sigboxtest.New(t)
	l := newOwnLog(t)
	v := verifier(t, l.trusted(w))
	message, envelope := w.Sign(artifact, sigboxtest.Options{Kind: "none"}), w.Attest(sigboxtest.Statement(predicate, artifact), sigboxtest.Options{Kind: "none"})
	m, e := partsOf(message), partsOf(envelope)
	stranger := b64([]byte("another signature"))
	inToto := func(payloadType, hashes string) string {
		return fmt.Sprintf(`{"content":{"envelope":{"payloadType":%q,"signatures":[{"publicKey":%q,"sig":%q}]},"hash":%s%s}}`, payloadType, e.verifier, b64([]byte(e.signature)), e.payload, hashes)
	}
	dsse := func(p parts, more string) string {
		return fmt.Sprintf(`{"envelopeHash":%s,"payloadHash":%s,"signatures":[{"signature":%q,"verifier":%q}%s]}`, p.digest, p.payload, p.signature, p.verifier, more)
	}
	m.payload = m.digest
	for name, c := range map[string]struct {
		b                   *sigbox.Bundle
		kind, version, spec string
		want                string // "" is accepted
	}{
		"hashedrekord":                {message, "hashedrekord", "0.0.1", fmt.Sprintf(`{"data":{"hash":%s},"signature":{"content":%q,"publicKey":{"content":%q}}}`, m.digest, m.signature, m.verifier), ""},
		"dsse":                        {envelope, "dsse", "0.0.1", dsse(e, ""), ""},
		"dsse of two signatures":      {envelope, "dsse", "0.0.1", dsse(e, fmt.Sprintf(`,{"signature":%q,"verifier":%q}`, stranger, e.verifier)), "signatures in the entry"},
		"dsse of a message":           {message, "dsse", "0.0.1", dsse(m, ""), "kind of the entry for a message signature"},
		"intoto":                      {envelope, "intoto", "0.0.2", inToto(sigbox.InTotoPayloadType, `,"payloadHash":`+e.payload), ""},
		"intoto of another type":      {envelope, "intoto", "0.0.2", inToto("text/plain", `,"payloadHash":`+e.payload), "payload type"},
		"intoto without payload hash": {envelope, "intoto", "0.0.2", inToto(sigbox.InTotoPayloadType, ""), "does not say what was signed"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			le := l.add(t, c.kind, c.version, c.spec)
			l.promise(t, &le)
			b := *c.b
			b.Entries = []sigbox.LogEntry{le}
			_, err := v.Verify(verify.Bytes(artifact), &b, ada())
			switch {
			case c.want == "" && err != nil:
				t.Error(err)
			case c.want != "" && (verify.FailedStep(err) != verify.StepEntry || !strings.Contains(err.Error(), c.want)):
				t.Errorf("found %v, expected %q", err, c.want)
			}
		})
	}
}

// TestEntryForms: what of a v2 entry is not in what the log has signed must fit it.
func TestEntryForms(t *testing.T) {
	t.Parallel()
	w := sigboxtest.New(t)
	v := verifier(t, w.Root())
	for name, c := range map[string]struct {
		change func(b *sigbox.Bundle)
		want   string
	}{
		"another index": {func(b *sigbox.Bundle) { b.Entries[0].LogIndex++ }, "index of the proof"},
		"a short root":  {func(b *sigbox.Bundle) { b.Entries[0].Inclusion.RootHash = b.Entries[0].Inclusion.RootHash[:31] }, "bytes of the root hash"},
		"a long root":   {func(b *sigbox.Bundle) { b.Entries[0].Inclusion.RootHash = append(b.Entries[0].Inclusion.RootHash, 0) }, "bytes of the root hash"},
	} {
		b := w.Sign(artifact, sigboxtest.Options{})
		c.change(b)
		if _, err := v.Verify(verify.Bytes(artifact), b, ada()); verify.FailedStep(err) != verify.StepInclusion || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: found %v, expected %q", name, err, c.want)
		}
	}
}

// TestPromiseOfV2: a v2 log gives proofs; a promise by its key, which bundles of
// version 0.1 may have alone, is none.
func TestPromiseOfV2(t *testing.T) {
	t.Parallel()
	w := sigboxtest.New(t)
	l := newOwnLog(t)
	b := w.Sign(artifact, sigboxtest.Options{})
	le := b.Entries[0]
	le.LogID, le.Inclusion = l.LogID, nil
	l.promise(t, &le)
	b.Version, b.Entries = 1, []sigbox.LogEntry{le}
	if _, err := verifier(t, l.trusted(w)).Verify(verify.Bytes(artifact), b, ada()); verify.FailedStep(err) != verify.StepInclusion || !strings.Contains(err.Error(), "no inclusion proof") {
		t.Errorf("found %v, expected a proof to be demanded", err)
	}
}

// TestAlgorithmsDisagree: entries and policy must name one algorithm.
func TestAlgorithmsDisagree(t *testing.T) {
	t.Parallel()
	w := sigboxtest.New(t)
	o := sigboxtest.Options{Key: w.Key(sigbox.ECDSAP384SHA384), Details: sigbox.ECDSAP384SHA384}
	b := w.Sign(artifact, o)
	key := keyOf(t, o)
	for k, want := range map[sigbox.KeyDetails]verify.Step{0: 0, sigbox.ECDSAP384SHA384: 0, sigbox.ECDSAP384SHA256: verify.StepEntry} {
		key.Details = k
		for _, b := range []*sigbox.Bundle{b, signed(w, o, true)} {
			if _, err := verifier(t, w.Root()).Verify(verify.Bytes(artifact), b, byKey(key)); verify.FailedStep(err) != want || (err == nil) != (want == 0) {
				t.Errorf("%v: found %v, expected %v", k, err, want)
			}
		}
	}
	l := newOwnLog(t)
	spec := fmt.Sprintf(`{"hashedRekordV002":{"data":{"algorithm":"SHA2_256","digest":%q},"signature":{"content":%q,"verifier":{"keyDetails":"PKIX_ECDSA_P384_SHA_256","publicKey":{"rawBytes":%q}}}}}`,
		b64(sigbox.SHA256.Sum(artifact).Value), b64(b.Message.Signature), b64(key.Key))
	b.Entries = append(b.Entries, l.add(t, "hashedrekord", "0.0.2", spec))
	if _, err := verifier(t, l.trusted(w)).Verify(verify.Bytes(artifact), b, byKey(keyOf(t, o))); verify.FailedStep(err) != verify.StepEntry || !strings.Contains(err.Error(), "signature algorithm") {
		t.Errorf("found %v, expected the entries to disagree", err)
	}
}

// TestLogListings: a log that is listed twice, by one ID, is one log only if host and
// key are the same.
func TestLogListings(t *testing.T) {
	t.Parallel()
	w := sigboxtest.New(t)
	b := w.Sign(artifact, sigboxtest.Options{})
	stranger := newOwnLog(t).TransparencyLog
	past := sigbox.TimeRange{End: sigboxtest.Now().AddDate(0, -1, 0)}
	for name, c := range map[string]struct {
		second func(l sigbox.TransparencyLog) sigbox.TransparencyLog
		want   verify.Step
	}{
		"the same":        {func(l sigbox.TransparencyLog) sigbox.TransparencyLog { return l }, 0},
		"of another host": {func(l sigbox.TransparencyLog) sigbox.TransparencyLog { l.BaseURL = "https://other.example"; return l }, verify.StepTime},
		"of another key": {func(l sigbox.TransparencyLog) sigbox.TransparencyLog {
			l.PublicKey, l.Details = stranger.PublicKey, stranger.Details
			return l
		}, verify.StepTime},
	} {
		r := w.Root()
		first := r.Logs[0]
		first.ValidFor = past
		r.Logs = []sigbox.TransparencyLog{first, c.second(r.Logs[0])}
		if _, err := verifier(t, r).Verify(verify.Bytes(artifact), b, ada()); verify.FailedStep(err) != c.want || (err == nil) != (c.want == 0) {
			t.Errorf("%s: found %v, expected %v", name, err, c.want)
		}
	}
}

// TestUnusableLogs: a log whose key or tree cannot be read vouches for nothing.
func TestUnusableLogs(t *testing.T) {
	t.Parallel()
	w := sigboxtest.New(t)
	b := w.Sign(artifact, sigboxtest.Options{})
	for name, change := range map[string]func(l *sigbox.TransparencyLog){
		"no key":            func(l *sigbox.TransparencyLog) { l.PublicKey = []byte("key") },
		"another algorithm": func(l *sigbox.TransparencyLog) { l.Details = sigbox.ECDSAP256SHA256 },
		"another tree":      func(l *sigbox.TransparencyLog) { l.HashAlgorithm = sigbox.SHA512 },
	} {
		r := w.Root()
		change(&r.Logs[0])
		if _, err := verifier(t, r).Verify(verify.Bytes(artifact), b, ada()); verify.FailedStep(err) != verify.StepLog || !strings.Contains(err.Error(), "cannot be used") {
			t.Errorf("%s: found %v, expected the entry to count for nothing", name, err)
		}
	}
	if !bytes.Equal(b.Entries[0].LogID, w.Root().Logs[0].LogID) {
		t.Fatal("the entry is of another log")
	}
}

// TestLogOfRSA: a log may promise with RSA, but checkpoints are not signed so.
func TestLogOfRSA(t *testing.T) {
	t.Parallel()
	w := sigboxtest.New(t)
	l := newOwnLog(t)
	key, ok := w.Key(sigbox.RSAPKCS1v15With2048).(*rsa.PrivateKey)
	if !ok {
		t.Fatal("no RSA key")
	}
	spki, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	listed := l.TransparencyLog
	listed.PublicKey, listed.Details = spki, sigbox.RSAPKCS1v15With2048
	r := w.Root()
	r.Logs = append(r.Logs, listed)

	b := w.Sign(artifact, sigboxtest.Options{Kind: "none"})
	p := partsOf(b)
	le := l.add(t, "hashedrekord", "0.0.1", fmt.Sprintf(`{"data":{"hash":%s},"signature":{"content":%q,"publicKey":{"content":%q}}}`, p.digest, p.signature, p.verifier))
	le.IntegratedTime = sigboxtest.Now().Unix()
	digest := sha256.Sum256(entry.SETPayload(&le))
	if le.SignedEntryTimestamp, err = rsa.SignPKCS1v15(nil, key, crypto.SHA256, digest[:]); err != nil {
		t.Fatal(err)
	}
	alone := le
	alone.Inclusion = nil
	for name, c := range map[string]struct {
		le   sigbox.LogEntry
		want verify.Step
	}{"the promise alone": {alone, 0}, "with a checkpoint": {le, verify.StepCheckpoint}} {
		b.Version, b.Entries = 1, []sigbox.LogEntry{c.le}
		if _, err := verifier(t, r).Verify(verify.Bytes(artifact), b, ada()); verify.FailedStep(err) != c.want || (err == nil) != (c.want == 0) {
			t.Errorf("%s: found %v, expected %v", name, err, c.want)
		}
	}
}

// TestCheckpointOfTwoKinds: a checkpoint that will do for an entry of v1, by
// whatever name it is signed, does not do for one of v2 of the same log, also when
// it was seen before.
func TestCheckpointOfTwoKinds(t *testing.T) {
	t.Parallel()
	w := sigboxtest.New(t)
	l := newOwnLog(t)
	b := w.Sign(artifact, sigboxtest.Options{Kind: "none"})
	p := partsOf(b)
	old := l.add(t, "hashedrekord", "0.0.1", fmt.Sprintf(`{"data":{"hash":%s},"signature":{"content":%q,"publicKey":{"content":%q}}}`, p.digest, p.signature, p.verifier))
	leaf, err := entry.Leaf(sigbox.Entry{Digest: sigbox.SHA256.Sum(artifact), Signature: b.Message.Signature, Certificate: b.Certificates[0], Details: sigbox.ECDSAP256SHA256})
	if err != nil {
		t.Fatal(err)
	}
	current := old
	current.Version, current.Body, current.LogIndex = "0.0.2", leaf, 1
	first, second := tlog.RecordHash(old.Body), tlog.RecordHash(leaf)
	root := tlog.NodeHash(first, second)
	checkpoint := func(name string) string {
		signer, err := note.NewSigner(name, l.key)
		if err != nil {
			t.Fatal(err)
		}
		text, err := note.Sign(sigbox.Checkpoint{Origin: name, Size: 2, Root: root}, signer)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	for name, want := range map[string]verify.Step{"own.example": 0, "other.example": verify.StepCheckpoint} {
		v := verifier(t, l.trusted(w))
		old.Inclusion = &sigbox.Inclusion{LogIndex: 0, TreeSize: 2, RootHash: root[:], Hashes: [][]byte{second[:]}, Checkpoint: checkpoint(name)}
		l.promise(t, &old)
		b.Entries = []sigbox.LogEntry{old}
		if _, err := v.Verify(verify.Bytes(artifact), b, ada()); err != nil {
			t.Errorf("v1, %s: %v", name, err)
		}
		current.Inclusion = &sigbox.Inclusion{LogIndex: 1, TreeSize: 2, RootHash: root[:], Hashes: [][]byte{first[:]}, Checkpoint: old.Inclusion.Checkpoint}
		b.Entries = []sigbox.LogEntry{current}
		if _, err := v.Verify(verify.Bytes(artifact), b, ada()); verify.FailedStep(err) != want || (err == nil) != (want == 0) {
			t.Errorf("v2, %s: found %v, expected %v", name, err, want)
		}
	}
}
