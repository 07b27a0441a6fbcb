package sign

import (
	"bytes"
	"context"
	"crypto/rand"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/wire/bundle"
	"github.com/sigbox/sigbox/wire/entry"
	"github.com/sigbox/sigbox/wire/note"
	"github.com/sigbox/sigbox/wire/timestamp"
)

// record logs e and checks the answer.
func record(ctx context.Context, log sigbox.Log, e sigbox.Entry) (sigbox.LogEntry, error) {
	le, err := log.Add(ctx, e)
	if err != nil {
		return sigbox.LogEntry{}, err
	}
	if err := checkBody(e, le); err != nil {
		return sigbox.LogEntry{}, err
	}
	if err := checkInclusion(le); err != nil {
		return sigbox.LogEntry{}, err
	}
	return le, nil
}

// EnvelopeLog is a log that takes whole DSSE envelopes, as Rekor v1 does. Verifiers
// (sigstore-go, and cosign and Kyverno with it) take no other entry of v1 for an
// envelope's.
type EnvelopeLog interface {
	sigbox.Log
	// AddEnvelope logs an envelope, whose text is given byte for byte, and returns its
	// entry as [sigbox.Log] says. Of e the key or certificate is looked at.
	AddEnvelope(ctx context.Context, e sigbox.Entry, envelope []byte) (sigbox.LogEntry, error)
}

// recordEnvelope logs v as such and checks the answer. Its text is that of
// [bundle.AppendEnvelope].
func recordEnvelope(ctx context.Context, log EnvelopeLog, e sigbox.Entry, v *sigbox.Envelope) (sigbox.LogEntry, error) {
	text := bundle.AppendEnvelope(nil, v)
	le, err := log.AddEnvelope(ctx, e, text)
	if err != nil {
		return sigbox.LogEntry{}, err
	}
	if err := checkEnvelopeBody(e, v, text, le); err != nil {
		return sigbox.LogEntry{}, err
	}
	return le, checkInclusion(le)
}

// checkEnvelopeBody is checkBody for an envelope.
func checkEnvelopeBody(e sigbox.Entry, v *sigbox.Envelope, text []byte, le sigbox.LogEntry) error {
	body, err := entry.ParseBody(le.Body)
	switch {
	case err != nil:
		return badEntry("its body cannot be read").WithCause(err)
	case body.Kind != entry.KindDSSE || le.Kind != body.Kind || le.Version != body.Version:
		return otherEntry()
	case !body.EnvelopeDigest.Equal(sigbox.SHA256.Sum(text)) || !body.PayloadDigest.Equal(sigbox.SHA256.Sum(v.Payload)):
		return otherEntry()
	}
	return checkSigner(e, body)
}

// checkBody makes sure that the log's entry is ours. A log of Rekor v2 has one
// leaf for an entry; that of v1 is compared by what it says. (An answer with
// another's entry: gitsign GHSA-8pmp-678w-c8xx.)
func checkBody(e sigbox.Entry, le sigbox.LogEntry) error {
	if le.Version != entry.Version001 {
		want, err := entry.Leaf(e)
		if err != nil {
			return err
		}
		if le.Kind != entry.KindHashedRekord || le.Version != entry.Version002 || !bytes.Equal(le.Body, want) {
			return otherEntry()
		}
		return nil
	}
	body, err := entry.ParseBody(le.Body)
	if err != nil {
		return badEntry("its body cannot be read").WithCause(err)
	}
	if body.Kind != le.Kind || body.Version != le.Version || body.Kind != entry.KindHashedRekord {
		return otherEntry()
	}
	if !body.Digest.Equal(e.Digest) {
		return otherEntry()
	}
	return checkSigner(e, body)
}

// checkSigner makes sure that an entry has our signature and key, and no other.
func checkSigner(e sigbox.Entry, body *entry.Body) error {
	if len(body.Signatures) != 1 {
		return otherEntry()
	}
	s := body.Signatures[0]
	if !bytes.Equal(s.Signature, e.Signature) || !bytes.Equal(s.Certificate, e.Certificate) || !bytes.Equal(s.PublicKey, e.PublicKey) {
		return otherEntry()
	}
	return nil
}

// checkInclusion recomputes the tree's root from the leaf and the proof
// (RFC 6962 §2.1.1), which the checkpoint must name. Whether the checkpoint's
// signature is the log's is for the verifier.
func checkInclusion(le sigbox.LogEntry) error {
	p := le.Inclusion
	if p == nil {
		return badEntry("it has no inclusion proof")
	}
	cp, _, err := note.Parse(p.Checkpoint)
	if err != nil {
		return badEntry("its checkpoint cannot be read").WithCause(err)
	}
	if p.TreeSize < 0 || cp.Size != uint64(p.TreeSize) || !bytes.Equal(cp.Root[:], p.RootHash) {
		return badEntry("its inclusion proof is for another tree than its checkpoint")
	}
	proof := make(tlog.RecordProof, len(p.Hashes))
	for i, h := range p.Hashes {
		if len(h) != tlog.HashSize {
			return badEntry("its inclusion proof has a hash of the wrong length")
		}
		proof[i] = tlog.Hash(h)
	}
	if p.LogIndex < 0 || p.LogIndex >= p.TreeSize || p.TreeSize > sigbox.MaxTreeSize {
		return badEntry("its index is beyond its tree, or its tree beyond all bounds")
	}
	if tlog.CheckRecord(proof, p.TreeSize, tlog.Hash(cp.Root), p.LogIndex, tlog.RecordHash(le.Body)) != nil {
		return badEntry("its inclusion proof does not lead to its checkpoint")
	}
	return nil
}

func otherEntry() error {
	return badEntry("it is not the entry that was sent").WithHint("the log, or somebody before it, answers with other entries: do not use it")
}

func badEntry(why string) *sigbox.Error {
	return sigbox.Errorf(sigbox.NotVerified, "the transparency log's answer cannot be used: %s", why)
}

// nonceSize is the nonce of a timestamp request, in bytes.
const nonceSize = 8

// stamp has the bytes of a signature timestamped and checks that the answer is
// over them and to our request. Who signed it is for the verifier.
func stamp(ctx context.Context, stamper sigbox.Stamper, signature []byte) ([]byte, error) {
	random := make([]byte, nonceSize)
	_, _ = rand.Read(random) // never fails (crypto/rand)
	req := timestamp.Request{
		Digest: sigbox.SHA256.Sum(signature), Nonce: timestamp.NewNonce(random), Certificates: true,
	}
	der, err := req.Marshal()
	if err != nil {
		return nil, err
	}
	resp, err := stamper.Stamp(ctx, der)
	if err != nil {
		return nil, err
	}
	token, err := timestamp.Parse(resp)
	if err != nil {
		return nil, badStamp("it cannot be read").WithCause(err)
	}
	if !token.Digest.Equal(req.Digest) {
		return nil, badStamp("it is over something else than our signature")
	}
	if !bytes.Equal(token.Nonce, req.Nonce) {
		return nil, badStamp("it answers another request")
	}
	return resp, nil
}

func badStamp(why string) *sigbox.Error {
	return sigbox.Errorf(sigbox.NotVerified, "the timestamp authority's answer cannot be used: %s", why)
}
