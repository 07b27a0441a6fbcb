package app

import (
	"maps"
	"path/filepath"
	"time"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/rotation"
)

// generations gives the keys of a role, the first of which every instance has.
func (s state) generations(role string) []rotation.Generation {
	if gens := s.Generations[role]; gens != nil {
		return gens
	}
	since := s.ValidFrom
	if role == rekorV1Key {
		since = s.RekorV1
	}
	return rotation.First(since)
}

// setGenerations replaces the keys of a role. States that were copied from s before keep
// theirs.
func (s *state) setGenerations(role string, gens []rotation.Generation) {
	s.Generations = maps.Clone(s.Generations)
	if s.Generations == nil {
		s.Generations = map[string][]rotation.Generation{}
	}
	s.Generations[role] = gens
}

// offer notes that clients may be told of a role's next key from now on.
func (s *state) offer(role string, now time.Time) {
	if gens, changed := rotation.Offer(s.generations(role), now); changed {
		s.setGenerations(role, gens)
	}
}

// offerAll notes it of all roles that were rotated: a start tells clients of what there
// is.
func (f *record) offerAll(now time.Time) error {
	for role, gens := range f.get().Generations {
		if _, changed := rotation.Offer(gens, now); !changed {
			continue
		}
		if err := f.change(func(s *state) { s.offer(role, now) }); err != nil {
			return err
		}
	}
	return nil
}

// generation gives one of a role's keys.
func (s state) generation(role string, number int) (rotation.Generation, bool) {
	for _, g := range s.generations(role) {
		if g.Number == number {
			return g, true
		}
	}
	return rotation.Generation{}, false
}

// checkGenerations refuses what no rotation has made.
func (s state) checkGenerations(path string) error {
	for role, gens := range s.Generations {
		err := rotation.Check(gens)
		if _, known := keyKinds()[role]; !known {
			err = sigbox.Errorf(sigbox.Invalid, "there is no such role")
		}
		if err == nil {
			continue
		}
		return sigbox.Errorf(sigbox.Invalid, "%s is damaged: the generations of %.40q: %w", filepath.Base(path), role, err).
			WithHint("restore the data directory from a backup")
	}
	return nil
}

// keyKinds are the keys that are there to be used, with their algorithms. That of the v1
// log is made when the log is first wanted.
func (s state) keyKinds(rekorV1 bool) map[string]sigbox.KeyDetails {
	kinds := keyKinds()
	if s.RekorV1.IsZero() && !rekorV1 {
		delete(kinds, rekorV1Key)
	}
	for role := range s.Generations {
		kind := kinds[role]
		delete(kinds, role)
		for _, g := range s.generations(role) {
			if held(role, g) && g.Phase() != rotation.Abandoned {
				kinds[generationKey(role, g.Number)] = kind
			}
		}
	}
	return kinds
}

// held reports whether the private half of a role's key is there to be used. That of a v1
// log is never given up: it signs a promise anew each time that its entry is read.
func held(role string, g rotation.Generation) bool { return g.Held() || role == rekorV1Key }

// fresh reports whether nobody can have seen a key yet, so that it may be made. That of a
// rotation is made before the rotation is written down.
func (s state) fresh(key string) bool {
	if s.OfflineRoots && isRoot(key) {
		return false
	}
	return !s.begun(roleOf(key)) || key == rekorV1Key && s.RekorV1.IsZero()
}
