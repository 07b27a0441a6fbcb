package app

import (
	"context"
	"time"

	"github.com/sigbox/sigbox/internal/rotation"
)

// CatchUp does what is due of all rotations, as the instance does by itself.
func (a *App) CatchUp(ctx context.Context) error { return a.services.rotations.catchUpAll(ctx) }

// RecordStep writes down the next step of a rotation in a directory that no instance has,
// as one that was killed before it could do the step.
func RecordStep(dir, role string, now time.Time) error {
	s, err := loadState(dir)
	if err != nil {
		return err
	}
	k, err := rotatingKey(role)
	if err != nil {
		return err
	}
	gens := s.generations(role)
	s.setGenerations(role, rotation.Done(gens, rotation.Plan(gens, k.rules, now)[0], k.rules, now))
	return s.save(dir)
}
