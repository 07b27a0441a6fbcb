package app

import (
	"context"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/parts"
	"github.com/sigbox/sigbox/internal/remote"
)

const (
	// askEvery is how often other hosts are asked for their parts, and askTimeout bounds
	// one question.
	askEvery   = 5 * time.Second
	askTimeout = 5 * time.Second
)

// checkHosts refuses hosts and parts that cannot be meant.
func (s *Settings) checkHosts() error {
	if n := len(s.Parts) + len(s.Hosts); n > parts.Max {
		return sigbox.Errorf(sigbox.Invalid, "parts, hosts: expected at most %d, found %d", parts.Max, n)
	}
	for i, h := range s.Hosts {
		if err := h.Check(); err != nil {
			return err
		}
		roles := make([]Role, len(h.Roles))
		for i, r := range h.Roles {
			roles[i] = Role(r)
		}
		if err := checkRoles(roles); err != nil {
			return sigbox.Errorf(sigbox.Invalid, "hosts: the roles of %s: %w", h.URL, err)
		}
		if slices.ContainsFunc(s.Hosts[:i], func(o parts.Host) bool { return o.Key == h.Key }) {
			return sigbox.Errorf(sigbox.Invalid, "hosts: two have the key %s", h.Key)
		}
	}
	return nil
}

// askHosts asks other hosts for their parts, now and then, until ctx ends.
func (s *services) askHosts(ctx context.Context) error {
	tick := time.NewTicker(askEvery)
	defer tick.Stop()
	for {
		s.askAll(ctx)
		select {
		case <-ctx.Done():
			return nil
		case <-s.askNow:
		case <-tick.C:
		}
	}
}

// askAll asks each host once, all at the same time.
func (s *services) askAll(ctx context.Context) {
	var wait sync.WaitGroup
	for _, h := range s.others.Load().hosts {
		wait.Go(func() {
			err := s.ask(ctx, h)
			if ctx.Err() != nil || !s.copies.Note(h, err) {
				return
			}
			if err != nil {
				s.app.cfg.Logger.WarnContext(ctx, "another host's part was not to be had: what it said last stays", "host", h.URL, "err", err)
				return
			}
			s.app.cfg.Logger.InfoContext(ctx, "another host's part can be had again", "host", h.URL)
		})
	}
	wait.Wait()
}

// ask asks a host for its part, and takes it if it is newer.
func (s *services) ask(ctx context.Context, h parts.Host) error {
	raw, err := s.fetchPart(ctx, h)
	if err != nil {
		return err
	}
	said, isNew, err := s.copies.Open(h, raw, s.app.cfg.Now())
	if err != nil {
		return err
	}
	if isNew {
		return s.app.takePart(h, raw, said)
	}
	return s.keepPart(h, raw, said)
}

func (s *services) keepPart(h parts.Host, raw []byte, said *parts.Statement) error {
	if err := s.copies.Keep(h, raw, said, s.app.cfg.Now()); err != nil {
		return diskError(s.app.cfg.Data, err)
	}
	return nil
}

func (s *services) fetchPart(ctx context.Context, h parts.Host) ([]byte, error) {
	cfg, err := remote.Config{Timeout: askTimeout, Retries: -1}.Trusting(h.CAFile)
	if err != nil {
		return nil, err
	}
	client := remote.New(cfg)
	defer client.CloseIdle()
	return client.Fetch(ctx, "the instance's other host", h.URL+"/part.json", parts.MaxSigned)
}

// takePart uses what another host says now, and writes down that it did. What cannot be
// used is not kept.
func (a *App) takePart(h parts.Host, raw []byte, said *parts.Statement) error {
	a.reloading.Lock()
	defer a.reloading.Unlock()
	now := a.services.others.Load()
	if !slices.ContainsFunc(now.hosts, func(o parts.Host) bool { return o.Key == h.Key }) {
		return nil // the settings have changed meanwhile
	}
	next, err := a.services.gather(Settings{Parts: now.paths, Hosts: now.hosts}, map[string]*parts.Statement{h.Key: said})
	if err != nil {
		return err
	}
	if err := a.services.setParts(next); err != nil {
		return err
	}
	if err := a.services.keepPart(h, raw, said); err != nil {
		return err
	}
	a.audit.actNow("part.taken", map[string]string{"host": h.URL, "number": strconv.FormatUint(said.Sequence, 10), "sha256": said.SHA256})
	a.cfg.Logger.Info("another host has something new", "host", h.URL, "number", said.Sequence)
	return nil
}

// reloadParts uses the parts of other hosts that were read again.
func (a *App) reloadParts(o *others) error {
	if err := a.services.setParts(o); err != nil {
		return err
	}
	select {
	case a.services.askNow <- struct{}{}:
	default: // it will
	}
	return nil
}

// missingParts says that hosts' parts are not there: before all of one that was refused.
func (s *services) missingParts() error {
	o := s.others.Load()
	err := o.Err()
	if why := s.copies.Refused(o.hosts); err != nil && why != nil {
		return why
	}
	return err
}

// oldParts says which hosts' parts are not what they should be.
func (s *services) oldParts() error {
	hosts := s.others.Load().hosts
	if err := s.copies.Refused(hosts); err != nil {
		return err
	}
	return s.copies.Notice(hosts, s.app.cfg.Now())
}
