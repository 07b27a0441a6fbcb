package parts

import (
	"bytes"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/atomicfile"
)

// StaleAfter is how old what another host last said may be before it is told to the
// operator.
const StaleAfter = 24 * time.Hour

// MaxChanges bounds how often within changesWithin what a host says may be another thing
// than before: each costs the host that publishes it a version of the trust root, which
// stays for ever.
const (
	MaxChanges    = 32
	changesWithin = 24 * time.Hour
)

// Copies are the newest signed parts of other hosts, kept in a directory. They are safe
// for concurrent use.
type Copies struct {
	dir string

	mu     sync.Mutex
	copies map[string]*copied // by the fingerprint of the key; guarded by mu
}

// copied is what is known of a host.
type copied struct {
	raw []byte
	*Statement
	failed error // why it was not to be had, nil when it was
	// changed are the times of its last changes, at most MaxChanges.
	changed []time.Time
}

// mayChange reports whether a host may say another thing now.
func (x *copied) mayChange(now time.Time) bool {
	if len(x.changed) < MaxChanges {
		return true
	}
	age := now.Sub(x.changed[0])
	return age < 0 || age >= changesWithin // the clock may have been wrong
}

// NewCopies reads what is kept in a directory when it is asked for.
func NewCopies(dir string) *Copies { return &Copies{dir: dir, copies: map[string]*copied{}} }

// path is the file of a host's part.
func (c *Copies) path(h Host) string {
	return filepath.Join(c.dir, strings.TrimPrefix(h.Key, keyPrefix)[:32]+".json")
}

// Add adds the last part of each host to a list, and those of given ones in the place of
// what is kept. One that is damaged, or says more than the host may say now, is missing.
func (c *Copies) Add(l *List, hosts []Host, given map[string]*Statement) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, h := range hosts {
		x, err := c.load(h)
		if err != nil {
			return err
		}
		s := x.Statement
		if given[h.Key] != nil {
			s = given[h.Key]
		}
		if s == nil || h.allows(s) != nil {
			l.Missing, l.Unheard = append(l.Missing, h.URL), true
			continue
		}
		l.Parts = append(l.Parts, Part{From: h.URL, CAFile: h.CAFile, ClientTrustConfig: s.ClientTrustConfig, TUF: s.TUF})
	}
	return nil
}

// load gives what is known of a host. c.mu is held.
func (c *Copies) load(h Host) (*copied, error) {
	if x := c.copies[h.Key]; x != nil {
		return x, nil
	}
	x := new(copied)
	b, err := readBounded(c.path(h))
	if err != nil {
		return nil, err
	}
	if s, err := open(b, h.Key); err == nil {
		x.raw, x.Statement = b, s
	}
	c.copies[h.Key] = x
	return x, nil
}

// Open reads a signed part that a host has given at now, and refuses one that is not the
// host's, speaks of more than its roles, is older than the one before, or another one too
// often. It is not new if it says what the one before says. Errors: NotVerified, Denied,
// Conflict, Invalid, TooLarge.
func (c *Copies) Open(h Host, raw []byte, now time.Time) (s *Statement, isNew bool, err error) {
	if s, err = open(raw, h.Key); err != nil {
		return nil, false, err
	}
	if err := h.allows(s); err != nil {
		return nil, false, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	x, err := c.load(h)
	switch {
	case err != nil:
		return nil, false, err
	case x.Statement == nil:
		return s, true, nil
	case bytes.Equal(x.raw, raw):
		return s, false, nil
	case s.Sequence <= x.Sequence:
		return nil, false, sigbox.Errorf(sigbox.Conflict, "the part that %s gives has the number %d, and this host has seen number %d", h.URL, s.Sequence, x.Sequence).
			WithHint("somebody shows an old one, or two hosts have its key; if its clock was far ahead once, remove keys/part.pem there, restart it, and take its new key from its host.yaml")
	}
	if s.SHA256 == x.SHA256 {
		return s, false, nil
	}
	if !x.mayChange(now) {
		return nil, false, sigbox.Errorf(sigbox.TooLarge, "what %s says was another thing %d times within %s", h.URL, MaxChanges, changesWithin).
			WithHint("what it said last is in use, and no more is taken for now: find out what happens there; a restart of this host takes it at once")
	}
	return s, true, nil
}

// Keep writes down a part that [Copies.Open] gave at now, once it is used.
func (c *Copies) Keep(h Host, raw []byte, s *Statement, now time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	x, err := c.load(h)
	if err != nil || bytes.Equal(x.raw, raw) {
		return err
	}
	if err := atomicfile.MkdirAll(c.dir, 0o700); err != nil {
		return err
	}
	if err := atomicfile.Replace(c.path(h), raw, 0o600); err != nil {
		return err
	}
	if x.Statement != nil && x.SHA256 != s.SHA256 {
		x.changed = append(x.changed[max(0, len(x.changed)+1-MaxChanges):], now)
	}
	x.raw, x.Statement = slices.Clone(raw), s
	return nil
}

// Note notes how asking a host came out, and reports whether that is other than before: it
// is to be had again, or not for another kind of reason.
func (c *Copies) Note(h Host, err error) (changed bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	x, unread := c.load(h)
	if unread != nil {
		return false
	}
	changed = (x.failed == nil) != (err == nil) || sigbox.KindOf(x.failed) != sigbox.KindOf(err)
	x.failed = err
	return changed
}

// Refused says which host gives a part that is not taken, nil if none does.
func (c *Copies) Refused(hosts []Host) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, h := range hosts {
		if x := c.copies[h.Key]; x != nil && x.failed != nil && sigbox.KindOf(x.failed) != sigbox.Unavailable {
			stays := ""
			if x.Statement != nil {
				stays = ", and the one before stays"
			}
			return sigbox.Errorf(sigbox.KindOf(x.failed), "the part that %s gives is not taken%s", h.URL, stays).
				WithHint("the server's log says why").WithCause(x.failed)
		}
	}
	return nil
}

// Notice says which host was not heard for long, nil for none.
func (c *Copies) Notice(hosts []Host, now time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, h := range hosts {
		x := c.copies[h.Key]
		if x == nil || x.Statement == nil {
			continue // it is missing
		}
		if age := now.Sub(x.Time); age > StaleAfter {
			return sigbox.Errorf(sigbox.Unavailable, "what %s has was last heard %s ago", h.URL, age.Truncate(time.Minute)).
				WithHint("see why it cannot be asked: what changes there is not known here")
		}
	}
	return nil
}
