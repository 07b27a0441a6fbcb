package sign

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"testing"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/fixture"
	"github.com/sigbox/sigbox/wire/bundle"
	"github.com/sigbox/sigbox/wire/entry"
	"github.com/sigbox/sigbox/wire/note"
)

// envelopeLog is a log that takes envelopes. parts spoil what it says of one.
type envelopeLog struct {
	*fakeLog
	texts [][]byte
	parts func(*dsseParts)
	kind  string
}

// dsseParts are what a body of dsse 0.0.1 is made of.
type dsseParts struct {
	envelope, payload, signature, certificate []byte
	twice                                     bool
}

func (l *envelopeLog) AddEnvelope(_ context.Context, e sigbox.Entry, text []byte) (sigbox.LogEntry, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.texts = append(l.texts, text)
	if l.err != nil {
		return sigbox.LogEntry{}, l.err
	}
	v, err := bundle.ParseEnvelope(text)
	if err != nil {
		return sigbox.LogEntry{}, err
	}
	p := dsseParts{envelope: text, payload: v.Payload, signature: v.Signatures[0].Signature, certificate: e.Certificate}
	if l.parts != nil {
		l.parts(&p)
	}
	b64 := base64.StdEncoding.EncodeToString
	signature := fmt.Sprintf(`{"signature":%q,"verifier":%q}`, b64(p.signature), b64(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: p.certificate})))
	if p.twice {
		signature += "," + signature
	}
	body := fmt.Appendf(nil, `{"apiVersion":"0.0.1","kind":"dsse","spec":{"envelopeHash":{"algorithm":"sha256","value":%q},"payloadHash":{"algorithm":"sha256","value":%q},"signatures":[%s]}}`,
		sigbox.SHA256.Sum(p.envelope).Hex(), sigbox.SHA256.Sum(p.payload).Hex(), signature)
	le := l.logged(e)
	le.Kind, le.Version, le.Body = l.kind, entry.Version001, body
	sibling := tlog.RecordHash([]byte("another leaf"))
	root := tlog.NodeHash(sibling, tlog.RecordHash(body))
	le.Inclusion.RootHash = root[:]
	le.Inclusion.Checkpoint, err = note.Sign(sigbox.Checkpoint{Origin: "log.example", Size: 2, Root: root}, l.signer)
	if l.change != nil {
		l.change(&le)
	}
	return le, err
}

// TestEnvelopeLog: a log gets the envelope as it is written, and what it answers is
// held against it.
func TestEnvelopeLog(t *testing.T) {
	t.Parallel()
	sign := func(t *testing.T, change func(*envelopeLog)) (*envelopeLog, *sigbox.Bundle, error) {
		f := newFakes(t)
		l := &envelopeLog{fakeLog: f.log, kind: entry.KindDSSE}
		if change != nil {
			change(l)
		}
		f.config.Logs = []sigbox.Log{l}
		b, err := f.signer(t).Envelope(t.Context(), sigbox.InTotoPayloadType, []byte("a statement"))
		return l, b, err
	}
	l, b, err := sign(t, nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(l.texts) != 1 || len(l.entries) != 0 || !bytes.Equal(l.texts[0], bundle.AppendEnvelope(nil, b.Envelope)) || b.Entries[0].Kind != entry.KindDSSE {
		t.Errorf("the log got %q, and %d entries of another kind", l.texts, len(l.entries))
	}
	for name, parts := range map[string]func(*dsseParts){
		"another envelope":    func(p *dsseParts) { p.envelope = []byte("{}") },
		"another payload":     func(p *dsseParts) { p.payload = []byte("another") },
		"another signature":   func(p *dsseParts) { p.signature = []byte("another") },
		"another certificate": func(p *dsseParts) { p.certificate = []byte("another") },
		"two signatures":      func(p *dsseParts) { p.twice = true },
	} {
		_, _, err := sign(t, func(l *envelopeLog) { l.parts = parts })
		if sigbox.KindOf(err) != sigbox.NotVerified {
			t.Errorf("%s: found %v", name, err)
		}
	}
	_, _, err = sign(t, func(l *envelopeLog) { l.err = sigbox.Errorf(sigbox.Unavailable, "the log is full") })
	fixture.WantError(t, err, sigbox.Unavailable, "full")
	_, _, err = sign(t, func(l *envelopeLog) { // of the same signature, and of no envelope
		l.change = func(le *sigbox.LogEntry) {
			le.Kind = entry.KindHashedRekord
			le.Body = bytes.Replace(le.Body, []byte(`"kind":"dsse"`), []byte(`"kind":"hashedrekord"`), 1)
		}
	})
	fixture.WantError(t, err, sigbox.NotVerified, "cannot be used")
	_, _, err = sign(t, func(l *envelopeLog) { l.kind = entry.KindHashedRekord })
	fixture.WantError(t, err, sigbox.NotVerified, "not the entry that was sent")
	for name, change := range map[string]func(*sigbox.LogEntry){
		"no body":         func(le *sigbox.LogEntry) { le.Body = nil },
		"another version": func(le *sigbox.LogEntry) { le.Version = entry.Version002 },
		"no proof":        func(le *sigbox.LogEntry) { le.Inclusion = nil },
		"another's proof": func(le *sigbox.LogEntry) { le.Inclusion.LogIndex = 0 },
	} {
		_, _, err := sign(t, func(l *envelopeLog) { l.change = change })
		if sigbox.KindOf(err) != sigbox.NotVerified {
			t.Errorf("%s: found %v", name, err)
		}
	}
	// A signature without envelope is an entry like any other.
	f := newFakes(t)
	plain := &envelopeLog{fakeLog: f.log, kind: entry.KindDSSE}
	f.config.Logs = []sigbox.Log{plain}
	if b, err := f.signer(t).Digest(t.Context(), digest); err != nil || len(plain.texts) != 0 || b.Entries[0].Kind != entry.KindHashedRekord {
		t.Errorf("%v, envelopes %q", err, plain.texts)
	}
}
