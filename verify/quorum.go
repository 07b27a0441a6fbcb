package verify

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/sigbox/sigbox"
)

// quorum counts signers against a policy's threshold. Each signer who is found
// takes a seat, which is a line of the policy; those who came before move to
// another seat that they may have, if that makes room (a maximum bipartite
// matching).
type quorum struct {
	policy  *policy
	signed  []*Verdict
	places  [][]int // of each in signed, the seats that it may have
	seats   []int   // index in signed, or -1
	taken   int
	known   map[string]bool
	closest *Failure
}

func newQuorum(p *policy) *quorum {
	q := &quorum{policy: p, seats: make([]int, len(p.identities)+len(p.keys)), known: make(map[string]bool)}
	for i := range q.seats {
		q.seats[i] = -1
	}
	return q
}

// add counts a signer and reports whether there are enough.
func (q *quorum) add(v *Verdict) bool {
	name := v.t.signer.name()
	if q.known[name] {
		return false
	}
	q.known[name] = true
	q.signed = append(q.signed, v)
	q.places = append(q.places, q.policy.signersOf(v.t.signer))
	if q.seat(len(q.signed)-1, make([]bool, len(q.seats))) {
		q.taken++
	}
	return q.taken >= q.policy.threshold
}

// seat finds a place for signer i. Those in asked were asked to move before.
func (q *quorum) seat(i int, asked []bool) bool {
	for _, place := range q.places[i] {
		if asked[place] {
			continue
		}
		asked[place] = true
		if q.seats[place] < 0 || q.seat(q.seats[place], asked) {
			q.seats[place] = i
			return true
		}
	}
	return false
}

// verdicts gives those that count, in the order of the policy.
func (q *quorum) verdicts() []*Verdict {
	out := make([]*Verdict, 0, q.taken)
	for _, i := range q.seats {
		if i >= 0 {
			out = append(out, q.signed[i])
		}
	}
	return out
}

// miss notes a bundle that was not verified; other errors end the count.
func (q *quorum) miss(err error) error {
	if err == nil {
		return nil
	}
	f, ok := errors.AsType[*Failure](err)
	if !ok {
		return err
	}
	q.closest = further(q.closest, f)
	return nil
}

// failure says what is missing.
func (q *quorum) failure() error {
	if q.taken == 0 && q.closest != nil {
		return q.closest
	}
	found := strconv.Itoa(q.taken)
	for i, v := range q.verdicts() {
		separator := ", "
		if i == 0 {
			separator = ": "
		}
		found += separator + v.t.signer.describe()
	}
	f := mismatch(StepIdentity, "distinct signers of the policy", fmt.Sprintf("%d of its %d", q.policy.threshold, len(q.seats)), found)
	if q.closest != nil {
		f = f.hint("of the other bundles, the closest: %s", q.closest.err.Public())
	}
	return f
}

// name tells signers apart.
func (s *signer) name() string {
	if s.leaf == nil {
		return "key\x00" + string(s.spki)
	}
	id := &s.leaf.identity
	return fmt.Sprintf("%d\x00%s\x00%s", id.Kind, id.Subject, id.Issuer)
}

// describe names a signer for people.
func (s *signer) describe() string {
	if s.leaf == nil {
		return "key " + s.hint + " (" + sigbox.DescribeKey(s.public) + ")"
	}
	return describe(s.leaf.identity.Subject, s.leaf.identity.Issuer)
}
