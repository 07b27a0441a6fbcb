package bundle

import (
	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/wire/internal/protojson"
)

// Bounds on a TransparencyLogEntry, in bytes where not said.
const (
	maxBody       = 1 << 20
	maxCheckpoint = 64 << 10
	maxHash       = 64
	maxHashes     = 64 // of them: a proof in a tree of 2^63 leaves has 63
	maxKeyID      = 64
	maxTime       = 253402300799 // seconds since 1970: the end of the year 9999
	maxIndex      = 1<<63 - 1
)

// entry reads a TransparencyLogEntry (sigstore_rekor.proto).
func (r *reader) entry() (sigbox.LogEntry, error) {
	var le sigbox.LogEntry
	err := r.Object(func(field string) (err error) {
		switch field {
		case "logIndex":
			le.LogIndex, err = r.Natural(maxIndex)
		case "logId":
			le.LogID, err = r.only("keyId", maxKeyID)
		case "kindVersion":
			le.Kind, le.Version, err = r.kindVersion()
		case "integratedTime":
			le.IntegratedTime, err = r.Natural(maxTime)
		case "inclusionPromise":
			le.SignedEntryTimestamp, err = r.only("signedEntryTimestamp", maxSignature)
		case "inclusionProof":
			le.Inclusion, err = r.inclusion()
		case "canonicalizedBody":
			le.Body, err = r.Bytes(maxBody)
		}
		return err
	}, "logIndex", "logId", "kindVersion", "integratedTime", "inclusionPromise", "inclusionProof", "canonicalizedBody")
	return le, err
}

func (r *reader) kindVersion() (kind, version string, err error) {
	err = r.Object(func(field string) (err error) {
		if field == "kind" {
			kind, err = r.String(maxText)
		} else {
			version, err = r.String(maxText)
		}
		return err
	}, "kind", "version")
	return kind, version, err
}

func (r *reader) inclusion() (*sigbox.Inclusion, error) {
	p := new(sigbox.Inclusion)
	err := r.Object(func(field string) (err error) {
		switch field {
		case "logIndex":
			p.LogIndex, err = r.Natural(maxIndex)
		case "treeSize":
			p.TreeSize, err = r.Natural(maxIndex)
		case "rootHash":
			p.RootHash, err = r.Bytes(maxHash)
		case "hashes":
			err = r.Array(maxHashes, func() error {
				h, err := r.Bytes(maxHash)
				p.Hashes = append(p.Hashes, h)
				return err
			})
		case "checkpoint":
			err = r.Object(func(string) (err error) {
				p.Checkpoint, err = r.String(maxCheckpoint)
				return err
			}, "envelope")
		}
		return err
	}, "logIndex", "rootHash", "treeSize", "hashes", "checkpoint")
	return p, err
}

// appendEntry writes a TransparencyLogEntry. What is not there is left out.
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
