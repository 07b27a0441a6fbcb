package remote

import (
	"context"
	"fmt"
	"net/http"
	"sync"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/sigbox/sigbox"
)

const (
	// maxIndexesV1 is how many entries Rekor v1 gives at once.
	maxIndexesV1 = 10
	// maxEntriesV1 bounds the answer with them, in bytes; some have their payloads.
	maxEntriesV1 = 32 << 20
)

// seenTrees are trees that were found to belong to the head's log.
type seenTrees struct {
	mu    sync.Mutex
	known map[treeSeen]bool // guarded by mu
}

type treeSeen struct {
	size uint64
	root tlog.Hash
}

// maxSeenTrees bounds what seenTrees keeps.
const maxSeenTrees = 4096

// belongs checks that a tree and the head's are of one log, once for each.
func (r *LogReader) belongs(ctx context.Context, cp sigbox.Checkpoint) error {
	if sameTree(cp, r.head) {
		return nil
	}
	at := treeSeen{cp.Size, cp.Root}
	r.seen.mu.Lock()
	known := r.seen.known[at]
	r.seen.mu.Unlock()
	if known {
		return nil
	}
	older, newer := r.head, cp
	if older.Size > newer.Size {
		older, newer = newer, older
	}
	if err := r.consistent(ctx, older, newer); err != nil {
		return err
	}
	r.seen.mu.Lock()
	defer r.seen.mu.Unlock()
	if r.seen.known == nil || len(r.seen.known) >= maxSeenTrees {
		r.seen.known = map[treeSeen]bool{}
	}
	r.seen.known[at] = true
	return nil
}

// provenV1 gets entries of a v1 log without tiles by their places in the head's
// tree, each with its promise, and with its proof in a tree that belongs to the
// head's log.
func (r *LogReader) provenV1(ctx context.Context, from, to uint64) ([]Leaf, error) {
	leaves := make([]Leaf, to-from)
	for at := from; at < to; at += maxIndexesV1 {
		if err := r.someV1(ctx, at, leaves[at-from:min(at+maxIndexesV1, to)-from]); err != nil {
			return nil, err
		}
	}
	return leaves, nil
}

// someV1 gets as many entries as a server gives at once.
func (r *LogReader) someV1(ctx context.Context, from uint64, leaves []Leaf) error {
	indexes := make([]uint64, len(leaves))
	for i := range indexes {
		indexes[i] = r.before + from + uint64(i) // #nosec G115 -- not negative
	}
	body, err := encodeJSON(map[string][]uint64{"logIndexes": indexes})
	if err != nil {
		return err
	}
	req := request{
		service: logService, method: http.MethodPost, url: join(r.server, entriesV1+"/retrieve"),
		contentType: "application/json", body: body, limit: maxEntriesV1,
	}
	resp, err := r.client.expect(ctx, req, http.StatusOK)
	if err != nil {
		return err
	}
	var answers []map[string]entryV1
	if err := decodeJSON(resp.body, &answers); err != nil {
		return badAnswer(req, "a list of log entries").WithCause(err)
	}
	for _, answer := range answers {
		for _, e := range answer {
			if err := r.oneV1(ctx, req, from, e, leaves); err != nil {
				return err
			}
		}
	}
	for i := range leaves {
		if leaves[i].Data == nil {
			return sigbox.Errorf(sigbox.NotVerified, "the log's server does not give entry %d", from+uint64(i)) // #nosec G115 -- not negative
		}
	}
	return nil
}

// oneV1 checks an entry of an answer, and puts it into its place.
func (r *LogReader) oneV1(ctx context.Context, req request, from uint64, e entryV1, leaves []Leaf) error {
	le, err := e.logEntry()
	if err != nil {
		return badAnswer(req, "a log entry").WithCause(err)
	}
	p := le.Inclusion
	if p == nil {
		return sigbox.Errorf(sigbox.NotVerified, "the log proves nothing of its entry %d", le.LogIndex)
	}
	place := p.LogIndex - int64(from)                                                          // #nosec G115 -- 63 bits
	if place < 0 || place >= int64(len(leaves)) || le.LogIndex != p.LogIndex+int64(r.before) { // #nosec G115 -- 63 bits
		return sigbox.Mismatch(sigbox.NotVerified, "index of the answered entry",
			fmt.Sprintf("%d to %d", r.before+from, r.before+from+uint64(len(leaves))-1), le.LogIndex)
	}
	cp, k, err := openBy(p.Checkpoint, r.cfg.Keys)
	if err != nil {
		return err
	}
	if cp.Origin != r.head.Origin {
		return sigbox.Mismatch(sigbox.NotVerified, "log of the answered entry", r.head.Origin, cp.Origin)
	}
	if err := checkInclusion(&le, cp); err != nil {
		return err
	}
	if err := r.belongs(ctx, cp); err != nil {
		return err
	}
	at, err := promised(&le, k)
	leaves[place] = Leaf{Data: le.Body, Time: at}
	return err
}
