package remote

import (
	"context"
	"encoding/base64"
	"net/http"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/wire/bundle"
	"github.com/sigbox/sigbox/wire/entry"
)

const (
	// maxFound is how many entries of one signature are read: a log has it once, or
	// once in each of its shards.
	maxFound = 16
	// maxFoundBytes bounds the answer. intoto entries come with their payload.
	maxFoundBytes = 8 << 20
)

// Find asks the log for the entries of a signature that came without proof of them:
// of e's digest, signature, and key or certificate. When it is a DSSE envelope that
// was signed, envelope is its text byte for byte, and of e the key or certificate is
// all that is looked at; else it is nil. Nothing of the answer has been verified.
//
// The error is of kind NotFound when the log has none, and Invalid when it refuses
// the question, as it does for a signature that does not verify.
func (l *LogV1) Find(ctx context.Context, e sigbox.Entry, envelope []byte) ([]sigbox.LogEntry, error) {
	proposals, err := proposalsV1(e, envelope)
	if err != nil {
		return nil, err
	}
	body, err := encodeJSON(struct {
		Entries []any `json:"entries"`
	}{proposals})
	if err != nil {
		return nil, err
	}
	r := request{
		service: logService, method: http.MethodPost, url: join(l.url, entriesV1+"/retrieve"),
		contentType: "application/json", body: body, limit: maxFoundBytes,
	}
	resp, err := l.client.expect(ctx, r, http.StatusOK)
	if err != nil {
		return nil, explainFind(resp, err)
	}
	found, err := parseFoundV1(r, resp.body)
	if err == nil && len(found) == 0 {
		return nil, sigbox.Errorf(sigbox.NotFound, "%s at %s has no entry of this signature", logService, l.url)
	}
	return found, err
}

// explainFind adds the next step to a refusal.
func explainFind(resp response, err error) error {
	e, ok := err.(*sigbox.Error)
	switch {
	case !ok:
	case resp.status == http.StatusNotFound:
		other := *e
		other.Kind = sigbox.Invalid // the log has no such place, which says nothing of the entry
		return other.WithHint("is it a log of Rekor v1?")
	case resp.status == http.StatusBadRequest:
		return e.WithHint("are artifact, signature and certificate those that belong together?")
	}
	return err
}

// proposalsV1 gives the entries that a signature can have in a log.
func proposalsV1(e sigbox.Entry, envelope []byte) ([]any, error) {
	if envelope == nil {
		return []any{proposalV1(e)}, nil
	}
	if len(envelope) > entry.MaxRequestSize {
		return nil, sigbox.Errorf(sigbox.TooLarge, "an envelope of %d bytes: logs take at most %d", len(envelope), entry.MaxRequestSize)
	}
	v, err := bundle.ParseEnvelope(envelope)
	if err != nil {
		return nil, err
	}
	verifier := verifierV1(e)
	return []any{proposalDSSE(envelope, verifier), proposalInToto(v, envelope, verifier)}, nil
}

// proposal is what all kinds have.
type proposal struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Spec       any    `json:"spec"`
}

// proposalDSSE is of dsse 0.0.1.
//
// Source: sigstore/rekor, dsse_v0_0_1_schema.json, proposedContent.
func proposalDSSE(envelope, verifier []byte) proposal {
	type content struct {
		Envelope  string   `json:"envelope"`
		Verifiers [][]byte `json:"verifiers"`
	}
	return proposal{entry.Version001, entry.KindDSSE, struct {
		Content content `json:"proposedContent"`
	}{content{string(envelope), [][]byte{verifier}}}}
}

// inTotoV1 is the content of an intoto 0.0.2; payload and signatures are base64 of
// base64.
//
// Source: sigstore/rekor, intoto_v0_0_2_schema.json.
type inTotoV1 struct {
	Envelope struct {
		Payload     []byte            `json:"payload"`
		PayloadType string            `json:"payloadType"`
		Signatures  []inTotoSignature `json:"signatures"`
	} `json:"envelope"`
	Hash struct {
		Algorithm string `json:"algorithm"`
		Value     string `json:"value"`
	} `json:"hash"`
}

type inTotoSignature struct {
	KeyID     string `json:"keyid,omitempty"`
	PublicKey []byte `json:"publicKey"` // PEM
	Signature []byte `json:"sig"`
}

func proposalInToto(v *sigbox.Envelope, envelope, verifier []byte) proposal {
	text := func(b []byte) []byte { return base64.StdEncoding.AppendEncode(nil, b) }
	var content inTotoV1
	content.Envelope.Payload, content.Envelope.PayloadType = text(v.Payload), v.PayloadType
	for _, s := range v.Signatures {
		content.Envelope.Signatures = append(content.Envelope.Signatures, inTotoSignature{s.KeyID, verifier, text(s.Signature)})
	}
	hash := sigbox.SHA256.Sum(envelope)
	content.Hash.Algorithm, content.Hash.Value = hash.Algorithm.String(), hash.Hex()
	return proposal{entry.Version002, entry.KindInToto, struct {
		Content inTotoV1 `json:"content"`
	}{content}}
}

// parseFoundV1 reads a list of answers, each one entry by its UUID.
func parseFoundV1(r request, body []byte) ([]sigbox.LogEntry, error) {
	var answers []map[string]entryV1
	if err := decodeJSON(body, &answers); err != nil {
		return nil, badAnswer(r, "a list of log entries").WithCause(err)
	}
	var found []sigbox.LogEntry
	for _, answer := range answers {
		for _, e := range answer {
			if len(found) == maxFound {
				return nil, sigbox.Errorf(sigbox.TooLarge, "%s at %s answered with more than %d entries for one signature", r.service, r.url, maxFound)
			}
			le, err := e.found()
			if err != nil {
				return nil, badAnswer(r, "a log entry").WithCause(err)
			}
			found = append(found, le)
		}
	}
	return found, nil
}

// found is logEntry for one of any kind, with what an old bundle needs of it.
func (e entryV1) found() (sigbox.LogEntry, error) {
	le, err := e.logEntry()
	if err != nil {
		return le, err
	}
	body, err := entry.ParseBody(le.Body)
	if err != nil {
		return le, err
	}
	if len(le.SignedEntryTimestamp) == 0 {
		return le, sigbox.Errorf(sigbox.Invalid, "the entry has no signed entry timestamp")
	}
	le.Kind, le.Version = body.Kind, body.Version
	return le, nil
}
