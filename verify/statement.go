package verify

import (
	"slices"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/wire/statement"
)

// parseStatement reads a payload.
func parseStatement(payload []byte) (*statement.Statement, error) {
	s, err := statement.Parse(payload)
	if err != nil {
		return nil, refuseFor(StepStatement, err)
	}
	return s, nil
}

// hashesOf gives the hashes by which a statement names its subjects.
func hashesOf(s *statement.Statement) (set hashSet) {
	for _, one := range s.Subjects {
		for name := range one.Digests {
			set.add(hashNamed(name))
		}
	}
	return set
}

// find gives the subject of s that carries one of the artifact's digests, or -1.
func (c *content) find(s *statement.Statement) int {
	return slices.IndexFunc(s.Subjects, func(one statement.Subject) bool {
		for name, value := range one.Digests {
			if c.is(sigbox.NamedDigest{Algorithm: name, Value: value}) {
				return true
			}
		}
		return false
	})
}
