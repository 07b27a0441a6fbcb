// Package search finds entries of a transparency log by what they say: digest,
// subject, issuer, key, repository.
//
// Its rows are committed with the entry that they lead to (tlog.Leaf.Rows), so that
// an entry that is acknowledged is found. They follow from the entry's leaf alone:
// [RowsOf] makes them anew for a check of the log, and [Index.Run] for entries that
// were logged before there was an index.
//
//	leaf.Rows = search.Rows(body, nil)                        // with each entry
//	index, err := search.Open(ctx, search.Config{Log: log})
//	mine, err := search.BySubject("jane@example.com")
//	found, err := index.Find(ctx, search.Query{All: []search.Condition{mine}}, search.Newest, 20)
//
// # Rows
//
// A [Term] is something that an entry says, such as its subject. Each term of an
// entry has a row; those of one term stand together, the newest entry first:
//
//	key    version (1), field (1), SHA-256 of the term's text (16), ^index (8, big-endian)
//	value  kind of the entry (1)
//
// A hash of 16 bytes is enough: who would have somebody else's term found with his
// own entry needs a second preimage, 2^128 hashes, and each answer is shown with
// what the entry itself says.
//
// One more row, version and 0, says from which index on all entries have their rows.
//
// A log's rows lie in the log's own part of the store, so that logs do not meet.
// The version stands in each key: another format is another index, and is made
// beside this one.
package search

import (
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"time"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/store"
	"github.com/sigbox/sigbox/wire/entry"
)

// Fields of a term: second bytes of keys.
const (
	fieldDigest      = 'd' // of what was signed, its envelope, or a timestamp
	fieldAttested    = 'a' // of what a statement is about
	fieldSubject     = 's' // subject alternative name, lower-case
	fieldIssuer      = 'i' // of the identity, lower-case
	fieldRepository  = 'r' // that the build was of, lower-case
	fieldKey         = 'k' // SHA-256 of the SubjectPublicKeyInfo
	fieldCertificate = 'c' // SHA-256 of the certificate
)

const (
	version = 1
	sumLen  = 16
	termLen = 2 + sumLen
	keyLen  = termLen + 8
)

// Term is something that entries say: a field and a text.
type Term struct {
	field byte
	sum   [sumLen]byte
}

func newTerm(field byte, text string) Term {
	sum := sha256.Sum256([]byte(text))
	return Term{field, [sumLen]byte(sum[:])}
}

func (t Term) compare(o Term) int {
	if t.field != o.field {
		return int(t.field) - int(o.field)
	}
	return slices.Compare(t.sum[:], o.sum[:])
}

// appendKey appends the key of the row that leads from t to an index.
func (t Term) appendKey(dst []byte, index uint64) []byte {
	dst = append(dst, version, t.field)
	dst = append(dst, t.sum[:]...)
	return binary.BigEndian.AppendUint64(dst, ^index)
}

// indexIn reads the index from a row's key.
func indexIn(key []byte) (uint64, bool) {
	if len(key) != keyLen {
		return 0, false
	}
	return ^binary.BigEndian.Uint64(key[termLen:]), true
}

// kinds are the values of rows.
var kinds = [...]string{1: entry.KindHashedRekord, 2: entry.KindDSSE, 3: entry.KindInToto, 4: entry.KindRFC3161}

func kindNumber(kind string) byte {
	return byte(max(0, slices.Index(kinds[:], kind))) // #nosec G115 -- there are five
}

// termsOf gives what an entry says, sorted and each once. Payload is that of the
// envelope, if it is known.
func termsOf(b *entry.Body, payload []byte) []Term {
	terms := make([]Term, 0, 8)
	add := func(field byte, text string) {
		if text != "" {
			terms = append(terms, newTerm(field, text))
		}
	}
	for _, d := range digestsOf(b) {
		add(fieldDigest, d)
	}
	for i := range b.Signatures {
		f := signerOf(&b.Signatures[i])
		add(fieldKey, f.key)
		add(fieldCertificate, f.certificate)
		add(fieldIssuer, fold(f.Issuer))
		for _, s := range f.Subjects {
			add(fieldSubject, fold(s))
		}
		for _, r := range f.Repositories {
			add(fieldRepository, fold(r))
		}
	}
	for _, d := range attested(payload) {
		add(fieldAttested, d)
	}
	slices.SortFunc(terms, Term.compare)
	return slices.Compact(terms)
}

// digestsOf gives the digests that an entry names.
func digestsOf(b *entry.Body) []string {
	var out []string
	for _, d := range []sigbox.Digest{b.Digest, b.PayloadDigest, b.EnvelopeDigest} {
		if !d.IsZero() {
			out = append(out, d.String())
		}
	}
	if b.Timestamp != nil {
		out = append(out, sigbox.SHA256.Sum(b.Timestamp).String())
	}
	return out
}

// Rows gives what tlog.Leaf.Rows is to be for an entry. The payload is that of the
// envelope whose statement's subjects are to be found, nil if there is none; what
// it gives rows for is not in the log, and cannot be made anew.
func Rows(b *entry.Body, payload []byte) func(index uint64) []store.Pair {
	terms, value := termsOf(b, payload), []byte{kindNumber(b.Kind)}
	return func(index uint64) []store.Pair {
		rows := make([]store.Pair, len(terms))
		keys := make([]byte, 0, len(terms)*keyLen)
		for i, t := range terms {
			at := len(keys)
			keys = t.appendKey(keys, index)
			rows[i] = store.Pair{Key: keys[at:len(keys):len(keys)], Value: value}
		}
		return rows
	}
}

// RowBytes bounds what the rows of an entry with a payload take, as
// tlog.Leaf.RowBytes wants it: a digest takes more in a statement than in a row.
func RowBytes(payload []byte) int { return len(payload) }

// RowsOf is tlog.Config.RowsOf: the rows that follow from a leaf.
func RowsOf(index uint64, _ time.Time, leaf []byte) ([]store.Pair, error) {
	b, err := entry.ParseBody(leaf)
	if err != nil {
		return nil, err
	}
	return Rows(b, nil)(index), nil
}

// Given is tlog.Config.Given: it tells the rows that RowsOf does not give.
func Given(key []byte) bool {
	return len(key) >= 2 && key[0] == version && (key[1] == fieldAttested || key[1] == 0)
}
