package verify

import (
	"crypto/x509"
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
	signers []*candidate
	// known finds signers by name and by key: who has one of somebody else's is the
	// same signer.
	known   map[string]*candidate
	seats   []*candidate
	taken   int
	closest *Failure
	// unlisted: a bundle that was missed is by somebody whom the trust root does not list.
	unlisted bool
}

// candidate is a signer who was found.
type candidate struct {
	seated bool
	// places are the seats that it may have, each with the bundle that says so: the
	// certificates of one person may differ in their extensions.
	places map[int]*Verdict
}

func newQuorum(p *policy) *quorum {
	return &quorum{policy: p, seats: make([]*candidate, len(p.identities)+len(p.keys)), known: make(map[string]*candidate)}
}

// add counts a signer and reports whether there are enough.
func (q *quorum) add(v *Verdict) bool {
	s := q.signer(v.t.signer)
	for _, place := range q.policy.signersOf(v.t.signer) {
		if s.places[place] == nil {
			s.places[place] = v
		}
	}
	for _, s := range q.signers { // one who came before may find a seat now
		if !s.seated && q.seat(s, make([]bool, len(q.seats))) {
			s.seated = true
			q.taken++
		}
	}
	return q.taken >= q.policy.threshold
}

// signer finds who it is, or notes somebody new.
func (q *quorum) signer(s *signer) *candidate {
	name, key := s.name(), s.keyName()
	c := q.known[name]
	if c == nil {
		c = q.known[key]
	}
	if c == nil {
		c = &candidate{places: make(map[int]*Verdict)}
		q.signers = append(q.signers, c)
	}
	q.known[name], q.known[key] = c, c
	return c
}

// seat finds a place. Those in asked were asked to make room before.
func (q *quorum) seat(s *candidate, asked []bool) bool {
	for place := range q.seats {
		if s.places[place] == nil || asked[place] {
			continue
		}
		asked[place] = true
		if q.seats[place] == nil || q.seat(q.seats[place], asked) {
			q.seats[place] = s
			return true
		}
	}
	return false
}

// verdicts gives those that count, in the order of the policy.
func (q *quorum) verdicts() []*Verdict {
	out := make([]*Verdict, 0, q.taken)
	for place, s := range q.seats {
		if s != nil {
			out = append(out, s.places[place])
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
	q.unlisted = q.unlisted || f.unlisted
	return nil
}

// failure says what is missing.
func (q *quorum) failure() error {
	if q.taken == 0 && q.closest != nil {
		f := *q.closest // another question may have the same
		f.unlisted = q.unlisted
		return &f
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
		f.unlisted = q.unlisted
	}
	return f
}

// name tells signers apart: by identity, or by key.
func (s *signer) name() string {
	if s.leaf == nil {
		return s.keyName()
	}
	id := &s.leaf.identity
	return fmt.Sprintf("identity\x00%s\x00%s", id.Subject, id.Issuer)
}

// keyName tells keys apart, however a certificate has encoded them.
func (s *signer) keyName() string {
	spki := s.spki
	if s.leaf != nil {
		if der, err := x509.MarshalPKIXPublicKey(s.public); err == nil {
			spki = der
		}
	}
	return "key\x00" + string(spki)
}

// describe names a signer for people.
func (s *signer) describe() string {
	if s.leaf == nil {
		return "key " + s.hint + " (" + sigbox.DescribeKey(s.public) + ")"
	}
	return describe(s.leaf.identity.Subject, s.leaf.identity.Issuer)
}
