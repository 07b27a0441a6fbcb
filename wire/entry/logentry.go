package entry

import (
	"encoding/base64"
	"encoding/hex"
	"slices"
	"strconv"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/wire/internal/protojson"
)

// AppendLogEntry appends le as a TransparencyLogEntry in the form of a v2 log's
// answer: every field is there, what is unset is null or "0".
//
// Source: sigstore_rekor.proto, TransparencyLogEntry; protojson.
func AppendLogEntry(dst []byte, le *sigbox.LogEntry) []byte {
	dst = slices.Grow(dst, logEntrySize(le))
	dst = append(dst, `{"logIndex":"`...)
	dst = strconv.AppendInt(dst, le.LogIndex, 10)
	dst = append(dst, `","logId":{"keyId":`...)
	dst = appendBase64(dst, le.LogID)
	dst = append(dst, `},"kindVersion":{"kind":`...)
	dst = appendText(dst, le.Kind)
	dst = append(dst, `,"version":`...)
	dst = appendText(dst, le.Version)
	dst = append(dst, `},"integratedTime":"`...)
	dst = strconv.AppendInt(dst, le.IntegratedTime, 10)
	dst = append(dst, `","inclusionPromise":`...)
	if le.SignedEntryTimestamp == nil {
		dst = append(dst, "null"...)
	} else {
		dst = append(dst, `{"signedEntryTimestamp":`...)
		dst = appendBase64(dst, le.SignedEntryTimestamp)
		dst = append(dst, '}')
	}
	dst = append(dst, `,"inclusionProof":`...)
	if le.Inclusion == nil {
		dst = append(dst, "null"...)
	} else {
		dst = appendInclusion(dst, le.Inclusion)
	}
	dst = append(dst, `,"canonicalizedBody":`...)
	dst = appendBase64(dst, le.Body)
	return append(dst, '}')
}

// logEntrySize is about what AppendLogEntry appends, so that it allocates once.
func logEntrySize(le *sigbox.LogEntry) int {
	n := 512 + base64.StdEncoding.EncodedLen(len(le.Body)+len(le.SignedEntryTimestamp))
	if p := le.Inclusion; p != nil {
		n += 48*len(p.Hashes) + len(p.Checkpoint) + 16
	}
	return n
}

// appendInclusion appends an InclusionProof.
func appendInclusion(dst []byte, p *sigbox.Inclusion) []byte {
	dst = append(dst, `{"logIndex":"`...)
	dst = strconv.AppendInt(dst, p.LogIndex, 10)
	dst = append(dst, `","rootHash":`...)
	dst = appendBase64(dst, p.RootHash)
	dst = append(dst, `,"treeSize":"`...)
	dst = strconv.AppendInt(dst, p.TreeSize, 10)
	dst = append(dst, `","hashes":[`...)
	for i, h := range p.Hashes {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendBase64(dst, h)
	}
	dst = append(dst, `],"checkpoint":{"envelope":`...)
	dst = appendText(dst, p.Checkpoint)
	return append(dst, "}}"...)
}

// ParseLogEntry reads a TransparencyLogEntry, as a v2 log answers it and as
// bundles hold it. It checks shapes and bounds and proves nothing. Errors are of
// kind Invalid, or TooLarge beyond [MaxLogEntrySize].
func ParseLogEntry(b []byte) (le sigbox.LogEntry, err error) {
	err = read("log entry", b, MaxLogEntrySize, func(r reader) error {
		le, err = ReadLogEntry(r.Decoder)
		return err
	})
	if err != nil {
		return sigbox.LogEntry{}, err
	}
	return le, nil
}

// ReadLogEntry is [ParseLogEntry] for an entry within a document, such as a
// bundle.
func ReadLogEntry(d *protojson.Decoder) (sigbox.LogEntry, error) {
	var le sigbox.LogEntry
	if err := (reader{Decoder: d}).logEntry(&le); err != nil {
		return sigbox.LogEntry{}, err
	}
	if le.Kind == "" || le.Version == "" || len(le.LogID) == 0 {
		return sigbox.LogEntry{}, d.Errorf("a log entry has a logId and a kindVersion: found %q, %q, %q", le.LogID, le.Kind, le.Version)
	}
	return le, nil
}

// logEntry reads a TransparencyLogEntry.
func (r reader) logEntry(le *sigbox.LogEntry) error {
	return r.Object(func(name string) error {
		switch name {
		case "logIndex":
			return r.natural(&le.LogIndex)
		case "logId":
			return r.Object(func(string) error { return r.hash32(&le.LogID) }, "keyId")
		case "kindVersion":
			return r.Object(func(name string) error {
				if name == "kind" {
					return r.string(&le.Kind, 64)
				}
				return r.string(&le.Version, 64)
			}, "kind", "version")
		case "integratedTime":
			return r.natural(&le.IntegratedTime)
		case "inclusionPromise":
			return r.Object(func(string) error { return r.bytes(&le.SignedEntryTimestamp) }, "signedEntryTimestamp")
		case "inclusionProof":
			le.Inclusion = &sigbox.Inclusion{}
			return r.inclusion(le.Inclusion)
		}
		return r.bytes(&le.Body)
	}, "logIndex", "logId", "kindVersion", "integratedTime", "inclusionPromise", "inclusionProof", "canonicalizedBody")
}

// inclusion reads an InclusionProof.
func (r reader) inclusion(p *sigbox.Inclusion) error {
	err := r.Object(func(name string) error {
		switch name {
		case "logIndex":
			return r.natural(&p.LogIndex)
		case "rootHash":
			return r.hash32(&p.RootHash)
		case "treeSize":
			return r.natural(&p.TreeSize)
		case "hashes":
			return r.Array(maxProofHashes, func() error {
				var h []byte
				err := r.hash32(&h)
				if p.Hashes == nil {
					p.Hashes = make([][]byte, 0, usualHashes)
				}
				p.Hashes = append(p.Hashes, h)
				return err
			})
		}
		return r.Object(func(string) error { return r.string(&p.Checkpoint, maxCheckpointSize) }, "envelope")
	}, "logIndex", "rootHash", "treeSize", "hashes", "checkpoint")
	if err == nil && (p.RootHash == nil || p.LogIndex >= p.TreeSize || p.TreeSize > sigbox.MaxTreeSize) {
		return r.Errorf("expected a root hash and an index inside the tree, found index %d and size %d", p.LogIndex, p.TreeSize)
	}
	return err
}

// SETPayload gives what a v1 log's signed entry timestamp is over: body, time,
// log ID and index in canonical JSON (RFC 8785).
//
// Source: rekor-spec.md, "Signed Entry Timestamp".
func SETPayload(le *sigbox.LogEntry) []byte {
	b := make([]byte, 0, base64.StdEncoding.EncodedLen(len(le.Body))+192)
	b = append(b, `{"body":`...)
	b = appendBase64(b, le.Body)
	b = append(b, `,"integratedTime":`...)
	b = strconv.AppendInt(b, le.IntegratedTime, 10)
	b = append(b, `,"logID":"`...)
	b = hex.AppendEncode(b, le.LogID)
	b = append(b, `","logIndex":`...)
	b = strconv.AppendInt(b, le.LogIndex, 10)
	return append(b, '}')
}
