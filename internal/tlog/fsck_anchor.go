package tlog

import (
	"context"
	"errors"
	"time"

	"github.com/sigbox/sigbox/internal/store"
	"github.com/sigbox/sigbox/wire/note"
)

// checkPatience is how long a check waits for the anchor.
const checkPatience = 20 * time.Second

// checkAnchor compares what the anchor holds with the log. Nothing that is wrong there is
// mended: it may be the log that is wrong.
func (c *checker) checkAnchor(ctx context.Context) error {
	if c.cfg.Anchor == nil {
		return nil
	}
	loading, cancel := context.WithTimeout(ctx, checkPatience)
	defer cancel()
	text, err := c.cfg.Anchor.Load(loading)
	f := Finding{What: FoundAnchor, Name: "anchor", Want: "a checkpoint of this log", Got: "another"}
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, store.ErrNotFound) && !c.report.HasAnchor:
		return nil // the log was not opened with it yet
	case errors.Is(err, store.ErrNotFound):
		f.Got = "none"
		return c.find(f, nil)
	case err != nil:
		f.Got = "it cannot be read: " + err.Error()
		return c.find(f, nil)
	}
	cp, err := note.Open(text, c.cfg.Verifiers[0])
	if err != nil || cp.Origin != c.cfg.Origin {
		return c.find(f, nil)
	}
	c.report.Anchored = cp.Size
	_, err = c.compareHead(ctx, cp, f)
	return err
}
