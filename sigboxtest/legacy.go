package sigboxtest

import (
	"encoding/hex"
	"encoding/json"
	"encoding/pem"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/wire/cosign"
)

// legacyPromise is cosign's RekorBundle; faults may have it lack what it must have.
type legacyPromise struct {
	SignedEntryTimestamp []byte
	Payload              legacyPayload
}

type legacyPayload struct {
	Body           []byte `json:"body"`
	IntegratedTime int64  `json:"integratedTime"`
	LogIndex       int64  `json:"logIndex"`
	LogID          string `json:"logID"`
}

// Legacy writes b as cosign's old --bundle flag did, with a key in the place of a
// missing certificate. It holds one log entry, without proof, and no timestamp:
// sign with a Kind of Rekor v1. Claims of a digest are lost.
func Legacy(b *sigbox.Bundle, key sigbox.SubjectPublicKeyInfo) []byte {
	out := struct {
		Signature []byte         `json:"base64Signature"`
		Cert      []byte         `json:"cert,omitempty"`
		Promise   *legacyPromise `json:"rekorBundle,omitempty"`
	}{Signature: legacySignature(b), Cert: legacyVerifier(b, key), Promise: promiseOf(b)}
	return marshal(out)
}

// LegacyFiles writes b as cosign wrote signature, certificate, timestamp and log
// entry into files of their own. What b lacks is nil.
func LegacyFiles(b *sigbox.Bundle) cosign.Detached {
	d := cosign.Detached{Signature: legacySignature(b), Certificate: []byte(b64(legacyVerifier(b, nil)))}
	if b.Envelope == nil {
		d.Signature = []byte(b64(d.Signature))
	}
	if len(b.Timestamps) > 0 {
		d.Timestamp = marshal(struct{ SignedRFC3161Timestamp []byte }{b.Timestamps[0]})
	}
	if p := promiseOf(b); p != nil {
		d.Rekor = marshal(p)
	}
	return d
}

// legacySignature is a signature's bytes, or an envelope's JSON.
func legacySignature(b *sigbox.Bundle) []byte {
	if b.Envelope == nil {
		return b.Message.Signature
	}
	type signature struct {
		KeyID string `json:"keyid"`
		Sig   []byte `json:"sig"`
	}
	out := struct {
		PayloadType string      `json:"payloadType"`
		Payload     []byte      `json:"payload"`
		Signatures  []signature `json:"signatures"`
	}{PayloadType: b.Envelope.PayloadType, Payload: b.Envelope.Payload}
	for _, s := range b.Envelope.Signatures {
		out.Signatures = append(out.Signatures, signature{s.KeyID, s.Signature})
	}
	return marshal(out)
}

// legacyVerifier is PEM of the certificate or of the key, nil without either.
func legacyVerifier(b *sigbox.Bundle, key sigbox.SubjectPublicKeyInfo) []byte {
	switch {
	case len(b.Certificates) > 0:
		return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: b.Certificates[0]})
	case key != nil:
		return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: key})
	}
	return nil
}

func promiseOf(b *sigbox.Bundle) *legacyPromise {
	if len(b.Entries) == 0 {
		return nil
	}
	le := &b.Entries[0]
	return &legacyPromise{le.SignedEntryTimestamp, legacyPayload{le.Body, le.IntegratedTime, le.LogIndex, hex.EncodeToString(le.LogID)}}
}

// marshal writes what has nothing in it that JSON cannot hold.
func marshal(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b
}
