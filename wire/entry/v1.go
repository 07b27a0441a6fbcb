package entry

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"slices"
	"strconv"

	"github.com/sigbox/sigbox"
)

// ID names an entry of a v1 log: by its leaf hash alone, or with the tree that it
// is in. Rekor calls the one a UUID and the other an entry ID.
type ID struct {
	// Tree is the tree's ID, 0 if it is not named. Tree IDs are positive.
	Tree uint64
	// Leaf is the leaf hash (RFC 6962 §2.1).
	Leaf [32]byte
}

// ParseID reads 64 hex digits, or 80 with the tree first.
func ParseID(s string) (ID, error) {
	var b [40]byte
	if n := len(s); n != 64 && n != 80 {
		return ID{}, badID(s)
	}
	at := len(b) - len(s)/2
	if _, err := hex.Decode(b[at:], []byte(s)); err != nil {
		return ID{}, badID(s)
	}
	return ID{binary.BigEndian.Uint64(b[:8]), [32]byte(b[8:])}, nil
}

func badID(s string) error {
	return sigbox.Errorf(sigbox.Invalid, "entry %.90q: expected a UUID of 64 hex digits, or an entry ID of 80", s)
}

// String gives the hex digits, 64 of them when no tree is named.
func (id ID) String() string {
	b := make([]byte, 0, 80)
	if id.Tree != 0 {
		b = hex.AppendEncode(b, binary.BigEndian.AppendUint64(nil, id.Tree))
	}
	return string(hex.AppendEncode(b, id.Leaf[:]))
}

// Query is a question for entries of a v1 log.
type Query struct {
	IDs       []ID
	Indexes   []int64
	Proposals []*Proposal
}

// ParseQuery reads what a client posts to a v1 log's /retrieve. Errors are those of
// [ParseProposal], whose bound on signature checks is one for all that is asked;
// TooLarge also says that it asks for more than [MaxQueries].
//
// Source: sigstore/rekor, openapi.yaml, SearchLogQuery.
func ParseQuery(b []byte) (Query, error) {
	var q Query
	left := budget(maxChecks)
	err := read("query", b, MaxProposalSize, func(r reader) error {
		return r.Object(func(name string) error {
			return r.Array(MaxQueries, func() error { return r.queried(&q, name, &left) })
		}, "entryUUIDs", "logIndexes", "entries")
	})
	if n := len(q.IDs) + len(q.Indexes) + len(q.Proposals); err == nil && n > MaxQueries {
		err = sigbox.Errorf(sigbox.TooLarge, "more than max allowed %d entries in request: found %d", MaxQueries, n)
	}
	if err != nil {
		return Query{}, err
	}
	return q, nil
}

// queried reads an element of one of a query's lists.
func (r reader) queried(q *Query, list string, left *budget) error {
	switch list {
	case "entryUUIDs":
		var s string
		if err := r.string(&s, 80); err != nil {
			return err
		}
		id, err := ParseID(s)
		q.IDs = append(q.IDs, id)
		return err
	case "logIndexes":
		var n int64
		err := r.natural(&n)
		q.Indexes = append(q.Indexes, n)
		return err
	}
	p := new(Proposal)
	q.Proposals = append(q.Proposals, p)
	return r.proposal(p, left)
}

// AppendEntry appends the answer of a v1 log, an object with the entry under its
// ID. The entry has a body, a promise and a proof.
//
// Source: sigstore/rekor, openapi.yaml, LogEntry.
func AppendEntry(dst []byte, id ID, le *sigbox.LogEntry) []byte {
	dst = slices.Grow(dst, logEntrySize(le)+80)
	dst = append(dst, `{"`...)
	dst = append(dst, id.String()...)
	dst = append(dst, `":{"body":`...)
	dst = appendBase64(dst, le.Body)
	dst = append(dst, `,"integratedTime":`...)
	dst = strconv.AppendInt(dst, le.IntegratedTime, 10)
	dst = append(dst, `,"logID":`...)
	dst = appendHex(dst, le.LogID)
	dst = append(dst, `,"logIndex":`...)
	dst = strconv.AppendInt(dst, le.LogIndex, 10)
	dst = append(dst, `,"verification":{"inclusionProof":`...)
	dst = appendProof(dst, le.Inclusion)
	dst = append(dst, `,"signedEntryTimestamp":"`...)
	dst = base64.StdEncoding.AppendEncode(dst, le.SignedEntryTimestamp)
	return append(dst, `"}}}`...)
}

// appendProof appends an InclusionProof of openapi.yaml.
func appendProof(dst []byte, p *sigbox.Inclusion) []byte {
	dst = append(dst, `{"checkpoint":`...)
	dst = appendText(dst, p.Checkpoint)
	dst = append(dst, `,"hashes":[`...)
	for i, h := range p.Hashes {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendHex(dst, h)
	}
	dst = append(dst, `],"logIndex":`...)
	dst = strconv.AppendInt(dst, p.LogIndex, 10)
	dst = append(dst, `,"rootHash":`...)
	dst = appendHex(dst, p.RootHash)
	dst = append(dst, `,"treeSize":`...)
	dst = strconv.AppendInt(dst, p.TreeSize, 10)
	return append(dst, '}')
}

// appendHex appends b in lower-case hex, in quotes.
func appendHex(dst, b []byte) []byte {
	dst = append(dst, '"')
	dst = hex.AppendEncode(dst, b)
	return append(dst, '"')
}
