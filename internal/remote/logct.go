package remote

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/wire/cert"
	"github.com/sigbox/sigbox/wire/note"
)

const (
	// maxProofCT bounds an answer with a tree head or a proof, in bytes.
	maxProofCT = 64 << 10
	// maxEntriesCT bounds an answer with entries, and all that makes one part of a
	// log, with chains: nothing of it is proven before it is there.
	maxEntriesCT = 32 << 20
	// maxIssuers bounds the issuers that a reader keeps.
	maxIssuers = 4096
)

// getCT asks for one of the routes of RFC 6962 §4.
func (r *LogReader) getCT(ctx context.Context, base, route string, q url.Values, limit int64, into any) error {
	req := request{service: logService, method: http.MethodGet, url: base + "/ct/v1/" + route, limit: limit}
	if len(q) > 0 {
		req.url += "?" + q.Encode()
	}
	resp, err := r.client.expect(ctx, req, http.StatusOK)
	if err != nil {
		return err
	}
	if err := decodeJSON(resp.body, into); err != nil {
		return badAnswer(req, "what RFC 6962 has for "+route).WithCause(err)
	}
	return nil
}

// findCT asks a certificate log without tiles for its tree head (RFC 6962 §4.3), and
// gives it the form of a checkpoint (static-ct-api, Checkpoints).
func (r *LogReader) findCT(ctx context.Context, base string) error {
	var sth treeHeadCT
	if err := r.getCT(ctx, base, "get-sth", nil, maxProofCT, &sth); err != nil {
		if k := sigbox.KindOf(err); k == sigbox.NotFound || k == sigbox.Invalid {
			return r.nothing(err)
		}
		return err
	}
	_, origin, _ := strings.Cut(base, "://")
	for i := range r.cfg.Keys { // which of them has signed is seen when it is opened
		v, err := note.NewTreeHeadVerifier(origin, r.cfg.Keys[i].pub)
		if err != nil || !r.cfg.Keys[i].ct && !r.cfg.Keys[i].anyLog {
			continue
		}
		if r.text, err = sth.text(v); err != nil {
			return r.nothing(err)
		}
		if _, _, err := openBy(r.text, r.cfg.Keys); err == nil {
			return nil
		}
	}
	return sigbox.Errorf(sigbox.NotVerified, "no key that is trusted has signed the tree head of the certificate log at %s", base).
		WithHint("name the instance whose trust root lists the log, or give the log's key: --key FILE")
}

// treeHeadCT is the answer to get-sth (RFC 6962 §4.3).
type treeHeadCT struct {
	Size      uint64 `json:"tree_size"`
	Timestamp uint64 `json:"timestamp"`
	Root      []byte `json:"sha256_root_hash"`
	Signature []byte `json:"tree_head_signature"`
}

// text gives a tree head the form of a checkpoint that v has signed, if it has.
func (h treeHeadCT) text(v *note.Verifier) (string, error) {
	if len(h.Root) != tlog.HashSize {
		return "", sigbox.Mismatch(sigbox.Invalid, "bytes of the tree head's root", tlog.HashSize, len(h.Root))
	}
	signed := append(binary.BigEndian.AppendUint64(nil, h.Timestamp), h.Signature...)
	cp := sigbox.Checkpoint{Origin: v.Name(), Size: h.Size, Root: tlog.Hash(h.Root)}
	return string(note.Append(nil, cp, []note.Signature{{Name: v.Name(), Hash: v.KeyHash(), Bytes: signed}})), nil
}

// hashList reads hashes of an answer.
func hashList(list [][]byte) ([]tlog.Hash, error) {
	out := make([]tlog.Hash, len(list))
	for i, h := range list {
		if len(h) != tlog.HashSize {
			return nil, sigbox.Mismatch(sigbox.NotVerified, "bytes of a hash in the log's proof", tlog.HashSize, len(h))
		}
		out[i] = tlog.Hash(h)
	}
	return out, nil
}

// consistencyCT asks for a consistency proof (RFC 6962 §4.4), which is not checked.
func (r *LogReader) consistencyCT(ctx context.Context, older, newer sigbox.Checkpoint) (tlog.TreeProof, error) {
	var answer struct {
		Consistency [][]byte `json:"consistency"`
	}
	q := url.Values{"first": {strconv.FormatUint(older.Size, 10)}, "second": {strconv.FormatUint(newer.Size, 10)}}
	if err := r.getCT(ctx, r.ct, "get-sth-consistency", q, maxProofCT, &answer); err != nil {
		return nil, err
	}
	return hashList(answer.Consistency)
}

// inclusionCT asks for the place of a leaf and its proof in the head's tree (RFC
// 6962 §4.5), which is not checked.
func (r *LogReader) inclusionCT(ctx context.Context, leaf tlog.Hash) (uint64, tlog.RecordProof, error) {
	var answer struct {
		Index uint64   `json:"leaf_index"`
		Path  [][]byte `json:"audit_path"`
	}
	q := url.Values{"hash": {leaf.String()}, "tree_size": {strconv.FormatUint(r.head.Size, 10)}}
	if err := r.getCT(ctx, r.ct, "get-proof-by-hash", q, maxProofCT, &answer); err != nil {
		return 0, nil, err
	}
	proof, err := hashList(answer.Path)
	return answer.Index, proof, err
}

// leafProofCT is inclusionCT for a leaf whose place is known.
func (r *LogReader) leafProofCT(ctx context.Context, index uint64, leaf tlog.Hash) (tlog.RecordProof, error) {
	got, proof, err := r.inclusionCT(ctx, leaf)
	if err != nil && sigbox.KindOf(err) == sigbox.NotFound {
		return nil, sigbox.Errorf(sigbox.NotVerified, "the log proves nothing of its entry %d", index).WithCause(err)
	}
	if err == nil && got != index {
		err = sigbox.Mismatch(sigbox.NotVerified, "index in the log's proof", index, got)
	}
	return proof, err
}

// entriesCT gets the entries from one index up to another, which is left out (RFC
// 6962 §4.6); servers give as many at once as they like. Nothing of them is proven.
func (r *LogReader) entriesCT(ctx context.Context, from, to uint64) ([]Leaf, error) {
	var leaves []Leaf
	size := 0
	for at := from; at < to; at = from + uint64(len(leaves)) {
		var answer struct {
			Entries []struct {
				Leaf  []byte `json:"leaf_input"`
				Extra []byte `json:"extra_data"`
			} `json:"entries"`
		}
		q := url.Values{"start": {strconv.FormatUint(at, 10)}, "end": {strconv.FormatUint(to-1, 10)}}
		if err := r.getCT(ctx, r.ct, "get-entries", q, maxEntriesCT, &answer); err != nil {
			return nil, err
		}
		n := uint64(len(answer.Entries))
		if n == 0 || n > to-at {
			return nil, sigbox.Mismatch(sigbox.NotVerified, fmt.Sprintf("number of entries from %d on", at), fmt.Sprintf("1 to %d", to-at), n)
		}
		for i, e := range answer.Entries {
			if size += len(e.Leaf) + len(e.Extra); size > maxEntriesCT {
				return nil, sigbox.Errorf(sigbox.TooLarge, "entries %d to %d of the log have more than %d bytes with their chains", from, to-1, maxEntriesCT)
			}
			leaf, err := newLeafCT(e.Leaf, e.Extra)
			if err != nil {
				return nil, sigbox.Errorf(sigbox.NotVerified, "entry %d of the log: %w", at+uint64(i), err) // #nosec G115 -- not negative
			}
			leaves = append(leaves, leaf)
		}
	}
	return leaves, nil
}

// newLeafCT reads an entry as RFC 6962 answers it.
func newLeafCT(leaf, extra []byte) (Leaf, error) {
	e, err := cert.ParseMerkleTreeLeaf(leaf)
	if err != nil {
		return Leaf{}, err
	}
	issuers, err := e.ReadExtraData(extra)
	return Leaf{Data: leaf, Time: timeCT(&e), Certificate: &e, issuers: issuers}, err
}

// issuerCache keeps certificates of issuers.
type issuerCache struct {
	mu  sync.Mutex
	der map[[sha256.Size]byte][]byte // guarded by mu
}

// Issuers gives the certificates above the one of a leaf, DER, the one that has signed
// it first. The error is of kind NotFound when the log does not have one of them,
// NotVerified when it has another in its place, and else Unavailable: it is not known
// what the log has.
func (r *LogReader) Issuers(ctx context.Context, leaf *Leaf) ([][]byte, error) {
	switch {
	case leaf.Certificate == nil || len(leaf.Certificate.Chain) == 0:
		return nil, sigbox.Errorf(sigbox.NotFound, "the entry names no issuer")
	case leaf.issuers != nil:
		return leaf.issuers, nil
	}
	r.issuers.mu.Lock()
	defer r.issuers.mu.Unlock() // who else waits most likely wants the same
	issuers := make([][]byte, len(leaf.Certificate.Chain))
	for i, fp := range leaf.Certificate.Chain {
		der, ok := r.issuers.der[fp]
		if !ok {
			var err error
			if der, err = r.fetchIssuer(ctx, fp); err != nil {
				return nil, err
			}
			if r.issuers.der == nil || len(r.issuers.der) >= maxIssuers {
				r.issuers.der = map[[sha256.Size]byte][]byte{}
			}
			r.issuers.der[fp] = der
		}
		issuers[i] = der
	}
	return issuers, nil
}

// fetchIssuer gets a certificate by its fingerprint (static-ct-api, Issuers).
func (r *LogReader) fetchIssuer(ctx context.Context, fp [sha256.Size]byte) ([]byte, error) {
	req := request{service: logService, method: http.MethodGet, url: r.tiles + "/issuer/" + hex.EncodeToString(fp[:]), limit: cert.MaxCertificate}
	resp, err := r.client.do(ctx, req)
	switch {
	case sigbox.KindOf(err) == sigbox.TooLarge:
		return nil, sigbox.Errorf(sigbox.NotVerified, "the answered issuer is no certificate that a log takes: %w", err)
	case err != nil:
		return nil, undecided(err)
	case resp.status == http.StatusNotFound || resp.status == http.StatusGone:
		return nil, sigbox.Errorf(sigbox.NotFound, "the log has no certificate %x", fp).WithCause(refused(req, resp))
	case resp.status != http.StatusOK:
		return nil, undecided(refused(req, resp))
	}
	if got := sha256.Sum256(resp.body); got != fp {
		return nil, sigbox.Mismatch(sigbox.NotVerified, "fingerprint of the answered issuer", hex.EncodeToString(fp[:]), hex.EncodeToString(got[:]))
	}
	return resp.body, nil
}

// undecided is the error when it is not known what a log has.
func undecided(err error) error {
	if k := sigbox.KindOf(err); k == sigbox.Unavailable || k == sigbox.Internal {
		return err
	}
	return sigbox.Errorf(sigbox.Unavailable, "an issuer's certificate cannot be got, and what it has signed not be checked: %w", err).
		WithHint("try again, or leave signatures out: --hashes-only")
}
