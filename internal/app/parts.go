package app

import (
	"bytes"
	"context"
	"crypto"
	"errors"
	"path/filepath"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/atomicfile"
	"github.com/sigbox/sigbox/internal/handout"
	"github.com/sigbox/sigbox/internal/parts"
	"github.com/sigbox/sigbox/wire/trust"
)

// others are the other hosts of an instance: where their parts are, and what these say.
type others struct {
	paths []string
	hosts []parts.Host // this one is not among them
	*parts.List
}

// telling is what this host says to the others, all of it nil or "" on one that has
// everything.
type telling struct {
	key       crypto.Signer
	id        string // of key, as the others' settings have it
	publisher *parts.Publisher
}

// openParts reads the parts of other hosts, and prepares for what this one says to them.
func (s *services) openParts(ctx context.Context) error {
	a := s.app
	s.askNow = make(chan struct{}, 1)
	s.copies = parts.NewCopies(filepath.Join(a.cfg.Data, partsDir))
	if len(a.settings.Only) > 0 {
		if err := s.openTelling(ctx); err != nil {
			return err
		}
	}
	o, err := s.gather(a.settings, nil)
	if err != nil {
		return err
	}
	return s.setParts(o)
}

// openTelling opens the key of this host's part, or makes it.
func (s *services) openTelling(ctx context.Context) error {
	known, err := s.keeper.known(partKey)
	if err != nil {
		return err
	}
	t := telling{}
	if t.key, err = s.keeper.open(ctx, partKey, parts.Kind, known == nil); err != nil {
		return err
	}
	if t.id, err = parts.Fingerprint(t.key.Public()); err != nil {
		return sigbox.Errorf(sigbox.Internal, "%w", err)
	}
	t.publisher, err = parts.NewPublisher(parts.PublisherConfig{Key: t.key, Path: filepath.Join(s.app.cfg.Data, signedPartFile), Now: s.app.cfg.Now})
	if err != nil {
		return diskError(s.app.cfg.Data, err)
	}
	s.told = t
	return nil
}

// gather reads the parts of the hosts that settings name; given ones, by their keys, stand
// in the place of what is kept of them.
func (s *services) gather(from Settings, given map[string]*parts.Statement) (*others, error) {
	list, err := parts.Read(from.Parts)
	if err != nil {
		return nil, err
	}
	o := &others{paths: from.Parts, List: list}
	o.hosts = slices.DeleteFunc(slices.Clone(from.Hosts), func(h parts.Host) bool { return h.Key == s.told.id })
	return o, s.copies.Add(list, o.hosts, given)
}

// setParts takes other hosts' parts for those that were. What cannot be used changes
// nothing of what clients see, nor of what the services were given.
func (s *services) setParts(o *others) error {
	for _, from := range o.Missing {
		s.app.cfg.Logger.Warn("the part of another host is not there yet", "from", from)
	}
	old := s.others.Swap(o)
	err := s.useParts(o)
	if err != nil && old != nil {
		s.others.Store(old)
		_ = s.useParts(old) // it was in use
	}
	return err
}

// useParts hands parts on to the services that need them.
func (s *services) useParts(o *others) error {
	if s.tuf != nil { // what can refuse them goes first
		wait := o.Unheard || s.tuf.Withheld() != nil
		if err := s.publish(); err != nil && !(wait && errors.Is(err, s.tuf.Withheld())) {
			return err
		}
	}
	return s.meet()
}

// meet has the CT log and the authority of this host, or the one of both that it has, know
// of the other as all is now. What was looked at later is used later: parts and keys may
// change at one time.
func (s *services) meet() error {
	s.meeting.Lock()
	defer s.meeting.Unlock()
	if err := s.setChains(); err != nil {
		return err
	}
	if s.ctLog != nil || s.issuing.Load() == nil {
		return nil
	}
	return s.outerCT.set(s.outerCTConfig(s.others.Load()))
}

// chains are the authorities whose certificates the CT log takes.
func (s *services) chains() [][][]byte {
	others := s.others.Load().Chains()
	if own := s.issuing.Load(); own != nil {
		return append(chainsOf(own.all), others...)
	}
	return others
}

// writePart writes down what this host has, and signs it, for the others. One that has
// everything needs none.
func (s *services) writePart() error {
	if len(s.app.settings.Only) == 0 {
		return nil
	}
	part, err := s.part()
	if err != nil {
		return err
	}
	entry, err := s.hostEntry()
	if err != nil {
		return err
	}
	for name, b := range map[string][]byte{partFile: append(part, '\n'), hostFile: entry} {
		if err := atomicfile.Replace(filepath.Join(s.app.cfg.Data, name), b, 0o644); err != nil {
			return diskError(s.app.cfg.Data, err)
		}
	}
	var repository *parts.TUF
	if s.tuf != nil {
		repository = &parts.TUF{URL: s.url(RoleTUF) + tufPath, Root: s.tuf.Root()}
	}
	if err := s.told.publisher.Set(part, repository); err != nil {
		return diskError(s.app.cfg.Data, err)
	}
	return nil
}

// tufPath is where the TUF repository is on its port.
const tufPath = "/tuf"

// part is what this host has.
func (s *services) part() ([]byte, error) {
	own := s.own()
	root, err := trust.AppendRoot(nil, own.Root)
	if err != nil {
		return nil, err
	}
	config, err := trust.AppendSigningConfig(nil, own.Signing)
	if err != nil {
		return nil, err
	}
	return trust.AppendClientTrustConfig(nil, root, config)
}

// hostEntry is how the settings of other hosts name this one.
func (s *services) hostEntry() ([]byte, error) {
	h := parts.Host{URL: s.app.URL(), Key: s.told.id}
	for _, r := range s.app.settings.roles() {
		h.Roles = append(h.Roles, string(r))
	}
	var b bytes.Buffer
	e := yaml.NewEncoder(&b)
	e.SetIndent(2)
	if err := e.Encode([]parts.Host{h}); err != nil {
		return nil, sigbox.Errorf(sigbox.Internal, "%w", err)
	}
	return b.Bytes(), nil
}

// keepTrust refuses a trust root without what one had that clients have seen: what was
// signed with it would verify no more. It is what comes of a part that is missing.
func keepTrust(name string, published, next []byte) error {
	if name != handout.TrustedRootTarget {
		return nil
	}
	was, err := trust.ParseRoot(published)
	if err != nil {
		return err
	}
	will, err := trust.ParseRoot(next)
	if err != nil {
		return err
	}
	lost := parts.Lost(was, will)
	if len(lost) == 0 {
		return nil
	}
	return sigbox.Errorf(sigbox.Conflict, "clients would lose their trust in %s, and in all that was signed with it", strings.Join(lost, ", ")).
		WithHint("name the host that has it under \"hosts\", or its part.json under \"parts\"; if it is to go for good, start once with --accept trust")
}
