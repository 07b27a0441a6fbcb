package bundle

import (
	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/wire/internal/protojson"
)

// appendEntry writes a TransparencyLogEntry (sigstore_rekor.proto) as clients keep
// it: what is not there is left out, where a log's answer has null.
func appendEntry(e *protojson.Encoder, le *sigbox.LogEntry) {
	e.Object("", func() {
		e.Int64("logIndex", le.LogIndex)
		e.Object("logId", func() { e.Bytes("keyId", le.LogID) })
		e.Object("kindVersion", func() {
			e.String("kind", le.Kind)
			e.String("version", le.Version)
		})
		if le.IntegratedTime != 0 {
			e.Int64("integratedTime", le.IntegratedTime)
		}
		if len(le.SignedEntryTimestamp) > 0 {
			e.Object("inclusionPromise", func() { e.Bytes("signedEntryTimestamp", le.SignedEntryTimestamp) })
		}
		e.Object("inclusionProof", func() { appendInclusion(e, le.Inclusion) })
		e.Bytes("canonicalizedBody", le.Body)
	})
}

func appendInclusion(e *protojson.Encoder, p *sigbox.Inclusion) {
	e.Int64("logIndex", p.LogIndex)
	e.Bytes("rootHash", p.RootHash)
	e.Int64("treeSize", p.TreeSize)
	e.Array("hashes", func() {
		for _, h := range p.Hashes {
			e.Bytes("", h)
		}
	})
	e.Object("checkpoint", func() { e.String("envelope", p.Checkpoint) })
}
