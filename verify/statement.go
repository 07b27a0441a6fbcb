package verify

import (
	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/wire/statement"
)

// hashesOf gives the hashes by which a statement names its subjects.
func hashesOf(s *statement.Statement) (set hashSet) {
	for _, one := range s.Subjects {
		for name := range one.Digests {
			set.add(hashNamed(name))
		}
	}
	return set
}

// isSubject reports whether s carries one of the artifact's digests.
func (c *content) isSubject(s *statement.Subject) bool {
	for name, value := range s.Digests {
		if c.is(sigbox.NamedDigest{Algorithm: name, Value: value}) {
			return true
		}
	}
	return false
}
