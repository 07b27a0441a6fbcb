package app

import (
	"context"
	"slices"
	"time"

	"github.com/sigbox/sigbox/internal/rotation"
)

// AskHosts asks the other hosts for their parts, as the instance does by itself.
func (a *App) AskHosts(ctx context.Context) { a.services.askAll(ctx) }

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

// ForgetSteps takes back what was written down of a rotation since its key was made.
func ForgetSteps(dir, role string) error {
	s, err := loadState(dir)
	if err != nil {
		return err
	}
	gens := slices.Clone(s.generations(role))
	last := len(gens) - 1
	gens[last] = rotation.Generation{Number: gens[last].Number, Made: gens[last].Made}
	gens[last-1].Ends, gens[last-1].Retired = time.Time{}, time.Time{}
	s.setGenerations(role, gens)
	return s.save(dir)
}

// LogRoles are the names of the logs' first keys.
func LogRoles() []string { return logRoles() }
