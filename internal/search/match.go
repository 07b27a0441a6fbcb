package search

import (
	"slices"
	"time"

	"github.com/sigbox/sigbox/internal/tlog"
	"github.com/sigbox/sigbox/wire/entry"
)

// FactsOf gives what an entry says whose body was read elsewhere. Index and Logged
// are for the caller to set.
func FactsOf(leaf []byte, b *entry.Body) Facts {
	f := Facts{Leaf: tlog.LeafHash(leaf), Kind: b.Kind, Version: b.Version, Digests: digestsOf(b)}
	for i := range b.Signatures {
		f.Signers = append(f.Signers, signerOf(&b.Signatures[i]))
	}
	return f
}

// Matches reports whether q holds for an entry that was read elsewhere. It does not
// know what a statement is about, which is not in the entry. A zero time is
// unknown, and lies within any bounds.
func (q *Query) Matches(b *entry.Body, at time.Time) bool {
	if q.Kind != "" && q.Kind != b.Kind {
		return false
	}
	if !at.IsZero() && (!q.After.IsZero() && at.Before(q.After) || !q.Before.IsZero() && !at.Before(q.Before)) {
		return false
	}
	terms := termsOf(b, nil)
	for _, c := range q.All {
		if !slices.ContainsFunc(c, func(t Term) bool {
			_, found := slices.BinarySearchFunc(terms, t, Term.compare)
			return found
		}) {
			return false
		}
	}
	return true
}

// Check refuses a query that is too large or asks for what there is not. The error
// is of kind Invalid or TooLarge.
func (q *Query) Check() error { return q.check() }
