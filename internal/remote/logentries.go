package remote

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/wire/cert"
	"github.com/sigbox/sigbox/wire/entry"
	"github.com/sigbox/sigbox/wire/proof"
)

// ProvenEntry is an entry that a signed checkpoint of its log proves.
type ProvenEntry struct {
	sigbox.LogEntry
	// Origin is that of the checkpoint, Index the entry's in the tree of it. In a log
	// of several trees, as Rekor v1 makes them, LogIndex counts on from tree to tree.
	Origin string
	Index  uint64
	// Says is what the entry says, nil for one of a kind that is not known; see
	// [Leaf.Says].
	Says *entry.Body
	// Certificate is what the leaf of a certificate log says, nil for others.
	Certificate *cert.Entry
	Leaf        tlog.Hash
	// Time is when the log has taken it: by its promise (v1) or by the leaf
	// (certificate logs), zero for others.
	Time time.Time
	// ID is the entry ID of a v1 log, "" for others.
	ID string
}

// Entry gives the entry with an index, proven. The error is of kind NotFound beyond
// the log's end.
func (r *LogReader) Entry(ctx context.Context, index uint64) (ProvenEntry, error) {
	if r.server != "" {
		q := url.Values{"logIndex": {strconv.FormatUint(index, 10)}}
		e, err := r.entryV1(ctx, entriesV1+"?"+q.Encode())
		if err == nil && e.LogIndex != int64(index) { // #nosec G115 -- compared with what was parsed
			return ProvenEntry{}, sigbox.Mismatch(sigbox.NotVerified, "index of the answered entry", index, e.LogIndex)
		}
		return e, err
	}
	if index >= r.head.Size {
		return ProvenEntry{}, sigbox.Errorf(sigbox.NotFound, "the log %.100q has no entry %d: its size is %d", r.head.Origin, index, r.head.Size)
	}
	if r.tiles == "" {
		leaves, err := r.entriesCT(ctx, index, index+1)
		if err != nil {
			return ProvenEntry{}, err
		}
		proof, err := r.leafProofCT(ctx, index, leaves[0].hash())
		if err != nil {
			return ProvenEntry{}, err
		}
		return r.inHead(ctx, index, leaves[0].Data, proof)
	}
	leaves, err := r.bundle(ctx, index/tileWidth)
	if err != nil {
		return ProvenEntry{}, err
	}
	proof, err := tlog.ProveRecord(int64(r.head.Size), int64(index), r.hashes(ctx, r.head)) // #nosec G115 -- 63 bits
	if err != nil {
		return ProvenEntry{}, tileError(err)
	}
	return r.inHead(ctx, index, leaves[index%tileWidth].Data, proof)
}

// inHead checks the proof of a leaf in the head's tree.
func (r *LogReader) inHead(ctx context.Context, index uint64, leaf []byte, proof tlog.RecordProof) (ProvenEntry, error) {
	size, at := int64(r.head.Size), int64(index) // #nosec G115 -- 63 bits
	le := sigbox.LogEntry{LogIndex: at, LogID: r.LogID(), Body: leaf, Inclusion: &sigbox.Inclusion{
		LogIndex: at, TreeSize: size, RootHash: r.head.Root[:], Checkpoint: r.text, Hashes: make([][]byte, len(proof)),
	}}
	for i := range proof {
		le.Inclusion.Hashes[i] = proof[i][:]
	}
	return r.proven(ctx, le)
}

// ByID gives the entry of a v1 log with a UUID or an entry ID, or of a certificate
// log with a leaf hash, proven.
func (r *LogReader) ByID(ctx context.Context, id entry.ID) (ProvenEntry, error) {
	if r.key.ct {
		index, _, err := r.inclusionCT(ctx, id.Leaf)
		if err != nil {
			return ProvenEntry{}, err
		}
		e, err := r.Entry(ctx, index)
		return e, sameLeaf(&e, id.Leaf, err)
	}
	if r.server == "" {
		return ProvenEntry{}, sigbox.Errorf(sigbox.Invalid, "the log %.100q does not know entries by their leaf hash: only Rekor v1 does", r.head.Origin).
			WithHint("give an index, or search for what the entry says")
	}
	e, err := r.entryV1(ctx, entriesV1+"/"+id.String())
	return e, sameLeaf(&e, id.Leaf, err)
}

// sameLeaf checks that an entry, unless there is an error, is the one that was asked
// for.
func sameLeaf(e *ProvenEntry, want tlog.Hash, err error) error {
	if err == nil && e.Leaf != want {
		return sigbox.Mismatch(sigbox.NotVerified, "leaf hash of the answered entry", hex.EncodeToString(want[:]), hex.EncodeToString(e.Leaf[:]))
	}
	return err
}

func (r *LogReader) entryV1(ctx context.Context, path string) (ProvenEntry, error) {
	req := request{service: logService, method: http.MethodGet, url: join(r.server, path), limit: maxFoundBytes}
	resp, err := r.client.expect(ctx, req, http.StatusOK)
	if err != nil {
		return ProvenEntry{}, err
	}
	le, err := parseEntryV1(req, resp.body)
	if err != nil {
		return ProvenEntry{}, err
	}
	e, err := r.proven(ctx, le)
	if err == nil {
		err = r.numbered(&e)
	}
	if err != nil {
		return ProvenEntry{}, err
	}
	return e, nil
}

// numbered checks the index that a v1 log gives an entry, beyond what its proof says:
// it counts on from the trees before the head's, and in another tree the log has to
// have promised it.
func (r *LogReader) numbered(e *ProvenEntry) error {
	if e.Origin != r.head.Origin {
		if len(e.SignedEntryTimestamp) == 0 {
			return sigbox.Errorf(sigbox.NotVerified, "the log has not signed that its entry %d is that of tree %.100q", e.LogIndex, e.Origin)
		}
		return nil
	}
	if want := r.before + e.Index; e.LogIndex < 0 || uint64(e.LogIndex) != want { // #nosec G115 -- not negative
		return sigbox.Mismatch(sigbox.NotVerified, fmt.Sprintf("index of the entry that is proven to be the tree's %d", e.Index), want, e.LogIndex)
	}
	return nil
}

// proven checks an entry: its promise, and its proof up to a checkpoint that
// continues what was seen of the log.
func (r *LogReader) proven(ctx context.Context, le sigbox.LogEntry) (ProvenEntry, error) {
	p := le.Inclusion
	if p == nil {
		return ProvenEntry{}, sigbox.Errorf(sigbox.NotVerified, "the log proves nothing of its entry %d", le.LogIndex)
	}
	cp, k, err := openBy(p.Checkpoint, r.cfg.Keys)
	if err != nil {
		return ProvenEntry{}, err
	}
	if err := checkInclusion(&le, cp); err != nil {
		return ProvenEntry{}, err
	}
	if !sameTree(cp, r.head) || cp.Origin != r.head.Origin {
		if _, _, err := r.accept(ctx, p.Checkpoint, cp, k); err != nil {
			return ProvenEntry{}, err
		}
	}
	return newProvenEntry(le, cp, k)
}

// CheckProof checks a C2SP tlog-proof of a leaf with the keys of logs, one of which
// must have signed its checkpoint. The error is of kind NotVerified when it proves
// nothing.
func CheckProof(p *proof.Proof, leaf []byte, keys []LogKey) (ProvenEntry, error) {
	cp, k, err := openBy(p.Checkpoint, keys)
	if err != nil {
		return ProvenEntry{}, err
	}
	if cp.Size > uint64(sigbox.MaxTreeSize) || p.Index >= cp.Size {
		return ProvenEntry{}, sigbox.Errorf(sigbox.NotVerified, "the proof is of index %d in a tree of %d entries", p.Index, cp.Size)
	}
	index := int64(p.Index) // #nosec G115 -- below the size
	le := sigbox.LogEntry{LogIndex: index, LogID: k.trust.LogID, Body: leaf, Inclusion: &sigbox.Inclusion{
		LogIndex: index, TreeSize: int64(cp.Size), RootHash: cp.Root[:], Checkpoint: p.Checkpoint, Hashes: make([][]byte, len(p.Hashes)), // #nosec G115 -- bounded
	}}
	for i := range p.Hashes {
		le.Inclusion.Hashes[i] = p.Hashes[i][:]
	}
	if err := checkInclusion(&le, cp); err != nil {
		return ProvenEntry{}, err
	}
	return newProvenEntry(le, cp, k)
}

// newProvenEntry is what follows from an entry whose proof leads to cp.
func newProvenEntry(le sigbox.LogEntry, cp sigbox.Checkpoint, k *LogKey) (e ProvenEntry, err error) {
	e = ProvenEntry{LogEntry: le, Origin: cp.Origin, Index: uint64(le.Inclusion.LogIndex), Leaf: tlog.RecordHash(le.Body)} // #nosec G115 -- not negative
	if e.Time, err = promised(&le, k); err != nil {
		return ProvenEntry{}, err
	}
	e.Kind, e.Version = "", ""
	if k.ct {
		ct, err := cert.ParseMerkleTreeLeaf(le.Body)
		if err != nil {
			return ProvenEntry{}, err
		}
		e.Certificate, e.Says, e.Time = &ct, saysCT(&ct), timeCT(&ct)
		e.Kind = e.Says.Kind
		return e, nil
	}
	if tree, ok := treeOf(cp.Origin); ok {
		e.ID = entry.ID{Tree: tree, Leaf: e.Leaf}.String()
	}
	if body, err := entry.ParseBody(le.Body); err == nil {
		e.Says, e.Kind, e.Version = body, body.Kind, body.Version
	}
	return e, nil
}

// checkInclusion follows a proof from the leaf to the root of a signed checkpoint.
func checkInclusion(le *sigbox.LogEntry, cp sigbox.Checkpoint) error {
	p := le.Inclusion
	proof := make(tlog.RecordProof, len(p.Hashes))
	for i, h := range p.Hashes {
		if len(h) != tlog.HashSize {
			return sigbox.Mismatch(sigbox.NotVerified, "bytes of a hash in the proof", tlog.HashSize, len(h))
		}
		proof[i] = tlog.Hash(h)
	}
	switch {
	case p.LogIndex < 0 || p.LogIndex >= p.TreeSize || p.TreeSize > sigbox.MaxTreeSize:
		return sigbox.Errorf(sigbox.NotVerified, "the proof is of index %d in a tree of %d entries", p.LogIndex, p.TreeSize)
	case cp.Size != uint64(p.TreeSize): // #nosec G115 -- positive
		return sigbox.Mismatch(sigbox.NotVerified, "size of the proof's tree", cp.Size, p.TreeSize)
	case !bytes.Equal(cp.Root[:], p.RootHash):
		return sigbox.Mismatch(sigbox.NotVerified, "root of the proof's tree", hex.EncodeToString(cp.Root[:]), hex.EncodeToString(p.RootHash))
	case tlog.CheckRecord(proof, p.TreeSize, cp.Root, p.LogIndex, tlog.RecordHash(le.Body)) != nil:
		return sigbox.Errorf(sigbox.NotVerified, "the proof does not lead from entry %d to the signed root", p.LogIndex)
	}
	return nil
}

// promised checks the signed entry timestamp of a v1 entry, and gives its time; zero
// when there is none.
func promised(le *sigbox.LogEntry, k *LogKey) (time.Time, error) {
	if len(le.SignedEntryTimestamp) == 0 {
		le.IntegratedTime = 0 // nobody vouches for it
		return time.Time{}, nil
	}
	if !bytes.Equal(le.LogID, k.trust.LogID) {
		return time.Time{}, sigbox.Mismatch(sigbox.NotVerified, "ID of the log in its promise", hex.EncodeToString(k.trust.LogID), hex.EncodeToString(le.LogID))
	}
	if err := k.trust.Details.VerifyMessage(k.pub, entry.SETPayload(le), le.SignedEntryTimestamp); err != nil {
		return time.Time{}, sigbox.Errorf(sigbox.NotVerified, "the log's promise for entry %d, its signed entry timestamp, does not verify", le.LogIndex).WithCause(err)
	}
	at := time.Unix(le.IntegratedTime, 0).UTC()
	if !k.trust.ValidFor.Contains(at) {
		return time.Time{}, sigbox.Errorf(sigbox.NotVerified, "the trust root does not list the log's key for %s, when it took the entry", at.Format(time.RFC3339))
	}
	return at, nil
}

// proofV1 asks a v1 log for a consistency proof.
func (r *LogReader) proofV1(ctx context.Context, older, newer sigbox.Checkpoint) (tlog.TreeProof, error) {
	q := url.Values{"firstSize": {strconv.FormatUint(older.Size, 10)}, "lastSize": {strconv.FormatUint(newer.Size, 10)}}
	if tree, ok := treeOf(newer.Origin); ok {
		q.Set("treeID", strconv.FormatUint(tree, 10))
	}
	req := request{service: logService, method: http.MethodGet, url: join(r.server, "/api/v1/log/proof?"+q.Encode()), limit: maxLogEntry}
	resp, err := r.client.expect(ctx, req, http.StatusOK)
	if err != nil {
		return nil, err
	}
	var answer struct {
		Hashes []string `json:"hashes"`
	}
	if err := decodeJSON(resp.body, &answer); err != nil {
		return nil, badAnswer(req, "a consistency proof").WithCause(err)
	}
	proof := make(tlog.TreeProof, len(answer.Hashes))
	for i, h := range answer.Hashes {
		b, err := hex.DecodeString(h)
		if err != nil || len(b) != tlog.HashSize {
			return nil, badAnswer(req, fmt.Sprintf("hashes of %d bytes in hex", tlog.HashSize))
		}
		proof[i] = tlog.Hash(b)
	}
	return proof, nil
}
