package sigboxtest

import (
	"encoding/json"
	"strconv"

	"github.com/sigbox/sigbox"
)

// File writes a bundle as it is: in its own version, and whatever is wrong with it.
// (Package wire/bundle writes version 0.3 alone, and only bundles of sound form.)
func File(b *sigbox.Bundle) []byte {
	out, err := json.Marshal(fileOf(b))
	if err != nil {
		panic(err) // strings and bytes in structs
	}
	return out
}

// The messages of sigstore_bundle.proto and sigstore_rekor.proto as JSON. Bytes are
// base64 in package json too; 64-bit integers are strings.
type (
	bundleJSON struct {
		MediaType string        `json:"mediaType"`
		Material  materialJSON  `json:"verificationMaterial"`
		Message   *messageJSON  `json:"messageSignature,omitempty"`
		Envelope  *envelopeJSON `json:"dsseEnvelope,omitempty"`
	}
	materialJSON struct {
		Certificate *rawJSON        `json:"certificate,omitempty"`
		Chain       *chainJSON      `json:"x509CertificateChain,omitempty"`
		Key         *keyJSON        `json:"publicKey,omitempty"`
		Entries     []entryJSON     `json:"tlogEntries,omitempty"`
		Timestamps  *timestampsJSON `json:"timestampVerificationData,omitempty"`
	}
	rawJSON struct {
		Raw []byte `json:"rawBytes"`
	}
	chainJSON struct {
		Certificates []rawJSON `json:"certificates"`
	}
	keyJSON struct {
		Hint string `json:"hint"`
	}
	timestampsJSON struct {
		RFC3161 []timestampJSON `json:"rfc3161Timestamps"`
	}
	timestampJSON struct {
		Signed []byte `json:"signedTimestamp"`
	}
	entryJSON struct {
		LogIndex string `json:"logIndex"`
		LogID    struct {
			KeyID []byte `json:"keyId"`
		} `json:"logId"`
		KindVersion struct {
			Kind    string `json:"kind"`
			Version string `json:"version"`
		} `json:"kindVersion"`
		IntegratedTime string         `json:"integratedTime,omitempty"`
		Promise        *promiseJSON   `json:"inclusionPromise,omitempty"`
		Proof          *inclusionJSON `json:"inclusionProof,omitempty"`
		Body           []byte         `json:"canonicalizedBody"`
	}
	promiseJSON struct {
		Signed []byte `json:"signedEntryTimestamp"`
	}
	inclusionJSON struct {
		LogIndex   string          `json:"logIndex"`
		RootHash   []byte          `json:"rootHash"`
		TreeSize   string          `json:"treeSize"`
		Hashes     [][]byte        `json:"hashes"`
		Checkpoint *checkpointJSON `json:"checkpoint,omitempty"`
	}
	checkpointJSON struct {
		Envelope string `json:"envelope"`
	}
	messageJSON struct {
		Digest    *digestJSON `json:"messageDigest,omitempty"`
		Signature []byte      `json:"signature"`
	}
	digestJSON struct {
		Algorithm string `json:"algorithm"`
		Digest    []byte `json:"digest"`
	}
	envelopeJSON struct {
		Payload     []byte          `json:"payload"`
		PayloadType string          `json:"payloadType"`
		Signatures  []signatureJSON `json:"signatures"`
	}
	signatureJSON struct {
		Signature []byte `json:"sig"`
		KeyID     string `json:"keyid,omitempty"`
	}
)

func fileOf(b *sigbox.Bundle) bundleJSON {
	out := bundleJSON{MediaType: "application/vnd.dev.sigstore.bundle.v0." + strconv.Itoa(b.Version) + "+json", Material: materialOf(b)}
	if b.Version < 3 {
		out.MediaType = "application/vnd.dev.sigstore.bundle+json;version=0." + strconv.Itoa(b.Version)
	}
	if m := b.Message; m != nil {
		out.Message = &messageJSON{Signature: m.Signature}
		if !m.Digest.IsZero() {
			out.Message.Digest = &digestJSON{m.Digest.Algorithm.WireName(), m.Digest.Value}
		}
	}
	if v := b.Envelope; v != nil {
		out.Envelope = &envelopeJSON{Payload: v.Payload, PayloadType: v.PayloadType}
		for _, s := range v.Signatures {
			out.Envelope.Signatures = append(out.Envelope.Signatures, signatureJSON{s.Signature, s.KeyID})
		}
	}
	return out
}

func materialOf(b *sigbox.Bundle) materialJSON {
	var out materialJSON
	switch {
	case len(b.Certificates) == 0:
		out.Key = &keyJSON{b.KeyHint}
	case b.Version == 3 && len(b.Certificates) == 1:
		out.Certificate = &rawJSON{b.Certificates[0]}
	default:
		out.Chain = new(chainJSON)
		for _, der := range b.Certificates {
			out.Chain.Certificates = append(out.Chain.Certificates, rawJSON{der})
		}
	}
	for i := range b.Entries {
		out.Entries = append(out.Entries, entryOf(&b.Entries[i]))
	}
	if len(b.Timestamps) > 0 {
		out.Timestamps = new(timestampsJSON)
		for _, der := range b.Timestamps {
			out.Timestamps.RFC3161 = append(out.Timestamps.RFC3161, timestampJSON{der})
		}
	}
	return out
}

func entryOf(le *sigbox.LogEntry) entryJSON {
	out := entryJSON{LogIndex: strconv.FormatInt(le.LogIndex, 10), Body: le.Body}
	out.LogID.KeyID, out.KindVersion.Kind, out.KindVersion.Version = le.LogID, le.Kind, le.Version
	if le.IntegratedTime != 0 {
		out.IntegratedTime = strconv.FormatInt(le.IntegratedTime, 10)
	}
	if len(le.SignedEntryTimestamp) > 0 {
		out.Promise = &promiseJSON{le.SignedEntryTimestamp}
	}
	if p := le.Inclusion; p != nil {
		out.Proof = &inclusionJSON{
			LogIndex: strconv.FormatInt(p.LogIndex, 10), RootHash: p.RootHash, TreeSize: strconv.FormatInt(p.TreeSize, 10), Hashes: p.Hashes,
		}
		if p.Checkpoint != "" {
			out.Proof.Checkpoint = &checkpointJSON{p.Checkpoint}
		}
	}
	return out
}
