package remote

import (
	"context"
	"fmt"
	"math"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/wire/cert"
	"github.com/sigbox/sigbox/wire/entry"
)

// Leaf is a leaf of a log's tree.
type Leaf struct {
	// Data is what the tree has the hash of.
	Data []byte
	// Time is when the log took it, where the leaf or a promise of the log says so;
	// else zero.
	Time time.Time
	// Certificate is what Data says, and what a certificate log keeps beside it; nil
	// for other logs.
	Certificate *cert.Entry

	issuers [][]byte // DER, where they came along
}

// The kinds of a certificate log's entries.
const (
	KindCertificate    = "certificate"
	KindPrecertificate = "precertificate"
)

// Says gives what a leaf says. Of one of a certificate log that is whom the
// certificate names, as if it had signed something.
func (l *Leaf) Says() (*entry.Body, error) {
	if l.Certificate == nil {
		return entry.ParseBody(l.Data)
	}
	return saysCT(l.Certificate), nil
}

func saysCT(e *cert.Entry) *entry.Body {
	b := &entry.Body{Kind: KindCertificate, Signatures: []entry.BodySignature{{Certificate: e.DER()}}}
	if e.Precert {
		b.Kind = KindPrecertificate
	}
	return b
}

// timeCT is the time of an entry of a certificate log.
func timeCT(e *cert.Entry) time.Time {
	return time.UnixMilli(int64(min(e.Timestamp, math.MaxInt64))).UTC() // #nosec G115 -- bounded
}

func (l *Leaf) hash() tlog.Hash { return tlog.RecordHash(l.Data) }

const (
	// partV1 is how many entries of a v1 log without tiles make a part: as many
	// questions as servers take at once, some times.
	partV1 = 10 * maxIndexesV1
	// partCT is how many entries of a certificate log without tiles make a part:
	// they are proven together.
	partCT = 1024
)

// partSize is how many leaves a part of the log has, but for the last.
func (r *LogReader) partSize() uint64 {
	switch {
	case r.tiles != "":
		return tileWidth
	case r.key.ct:
		return partCT
	}
	return partV1
}

// part gives the leaves of a part of the log, each as the head has it.
func (r *LogReader) part(ctx context.Context, n uint64) ([]Leaf, error) {
	from := n * r.partSize()
	to := min(from+r.partSize(), r.head.Size)
	switch {
	case r.tiles != "":
		return r.bundle(ctx, n)
	case r.key.ct:
		return r.provenCT(ctx, from, to)
	}
	return r.provenV1(ctx, from, to)
}

// Entries gives the leaves from one index up to another, which is left out, in their
// order; each has been found in the head's tree. It ends with the first error of
// yield. A log without tiles is asked for a few entries at a time.
func (r *LogReader) Entries(ctx context.Context, from, to uint64, yield func(index uint64, leaf *Leaf) error) error {
	to = min(to, r.head.Size)
	if from >= to {
		return nil
	}
	size := r.partSize()
	return inOrder(ctx, from/size, (to-1)/size+1, r.part, func(n uint64, leaves []Leaf) error {
		for i := range leaves {
			index := n*size + uint64(i) // #nosec G115 -- not negative
			if index < from || index >= to {
				continue
			}
			if err := yield(index, &leaves[i]); err != nil {
				return err
			}
		}
		return nil
	})
}

// provenCT gets entries of a certificate log without tiles, and proves them all by
// the proofs of the first and of the last.
func (r *LogReader) provenCT(ctx context.Context, from, to uint64) ([]Leaf, error) {
	leaves, err := r.entriesCT(ctx, from, to)
	if err != nil {
		return nil, err
	}
	hashes := make([]tlog.Hash, len(leaves))
	for i := range leaves {
		hashes[i] = leaves[i].hash()
	}
	first, err := r.leafProofCT(ctx, from, hashes[0])
	if err != nil {
		return nil, err
	}
	last := first
	if len(hashes) > 1 {
		if last, err = r.leafProofCT(ctx, to-1, hashes[len(hashes)-1]); err != nil {
			return nil, err
		}
	}
	root, err := rangeRoot(r.head.Size, from, hashes, first, last)
	if err == nil && root != r.head.Root {
		err = sigbox.Mismatch(sigbox.NotVerified, fmt.Sprintf("root of the tree with entries %d to %d", from, to-1),
			tlog.Hash(r.head.Root).String(), root.String())
	}
	return leaves, err
}

// rangeRoot gives the root of a tree of some size that has given leaves from one
// index on, by the inclusion proofs of the first and of the last of them: what is
// left of the leaves stands in the one, what is right of them in the other (RFC 6962
// §2.1.1).
func rangeRoot(size, from uint64, leaves []tlog.Hash, first, last tlog.RecordProof) (tlog.Hash, error) {
	t := &rangeTree{from: from, to: from + uint64(len(leaves)), leaves: leaves, known: map[span]tlog.Hash{}}
	if len(leaves) == 0 || t.to > size || t.to < from ||
		!t.learn(span{0, size}, from, first, true) || !t.learn(span{0, size}, t.to-1, last, false) {
		return tlog.Hash{}, sigbox.Errorf(sigbox.NotVerified, "the proof of entry %d or %d does not fit a tree of %d entries", from, t.to-1, size)
	}
	return t.root(span{0, size}), nil
}

// span is the leaves from one index up to another, which is left out.
type span struct{ from, to uint64 }

// halves splits a subtree as RFC 6962 §2.1 does: the left half has the largest power
// of two of leaves that is smaller than all.
func (s span) halves() (left, right span) {
	k := uint64(1)
	for 2*k < s.to-s.from {
		k *= 2
	}
	return span{s.from, s.from + k}, span{s.from + k, s.to}
}

// rangeTree is a tree of which some leaves are there, and the roots of what is left
// and right of them.
type rangeTree struct {
	from, to uint64
	leaves   []tlog.Hash
	known    map[span]tlog.Hash
}

// learn takes the hashes of a proof of one leaf that stand on one side; the lowest
// comes first. It reports whether the proof has as many as it must.
func (t *rangeTree) learn(s span, leaf uint64, proof tlog.RecordProof, onLeft bool) bool {
	for s.to-s.from > 1 {
		if len(proof) == 0 {
			return false
		}
		h := proof[len(proof)-1]
		proof = proof[:len(proof)-1]
		left, right := s.halves()
		inLeft := leaf < right.from
		if s = left; !inLeft {
			s = right
		}
		switch {
		case onLeft && !inLeft:
			t.known[left] = h
		case !onLeft && inLeft:
			t.known[right] = h
		}
	}
	return len(proof) == 0
}

func (t *rangeTree) root(s span) tlog.Hash {
	switch {
	case s.to <= t.from || s.from >= t.to:
		return t.known[s]
	case s.to-s.from == 1:
		return t.leaves[s.from-t.from]
	}
	left, right := s.halves()
	return tlog.NodeHash(t.root(left), t.root(right))
}
