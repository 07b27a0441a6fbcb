package app

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/atomicfile"
	"github.com/sigbox/sigbox/internal/handout"
	"github.com/sigbox/sigbox/internal/httpapi"
	"github.com/sigbox/sigbox/internal/remote"
	"github.com/sigbox/sigbox/wire/trust"
)

// maxParts bounds the hosts of an instance.
const maxParts = 32

// part is what another host of the instance has: its share of what clients trust, and
// where its services are.
type part struct {
	path string
	*trust.ClientTrustConfig
}

// parts are those of all other hosts, and which of their files are not there yet.
type parts struct {
	paths   []string
	found   []part
	missing []string
}

// readParts reads the files of other hosts. One that is not there is no error, so that
// hosts can be started in any order.
func readParts(paths []string) (*parts, error) {
	p := &parts{paths: paths}
	for _, path := range paths {
		config, err := readPart(path)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			p.missing = append(p.missing, path)
		case err != nil:
			return nil, err
		default:
			p.found = append(p.found, part{path, config})
		}
	}
	return p, nil
}

func readPart(path string) (*trust.ClientTrustConfig, error) {
	f, err := os.Open(path) // #nosec G304 -- the operator names it
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // only read from
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > trust.MaxSize {
		return nil, sigbox.Errorf(sigbox.Invalid, "parts: %s: expected a file of at most %d bytes", path, trust.MaxSize)
	}
	if perm := info.Mode().Perm(); perm&0o022 != 0 {
		return nil, sigbox.Errorf(sigbox.Denied, "parts: %s can be changed by others than its owner (mode %o), and what it says is trusted", path, perm).
			WithHint("chmod go-w %s", path)
	}
	b, err := io.ReadAll(io.LimitReader(f, trust.MaxSize))
	if err != nil {
		return nil, err
	}
	config, err := trust.ParseClientTrustConfig(b)
	if err != nil {
		return nil, sigbox.Errorf(sigbox.Invalid, "parts: %s: %w", path, err).WithHint("it is a copy of the other host's DIR/%s", partFile)
	}
	for _, s := range slices.Concat(config.Signing.CAs, config.Signing.OIDC, config.Signing.Logs, config.Signing.TSAs) {
		if err := checkPartURL(path, s.URL); err != nil {
			return nil, err
		}
	}
	for _, l := range config.Root.CTLogs {
		if err := checkPartURL(path, l.BaseURL); err != nil {
			return nil, err
		}
	}
	return config, nil
}

func checkPartURL(path, text string) error {
	if u, err := url.Parse(text); err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Hostname() == "" || u.User != nil {
		return sigbox.Mismatch(sigbox.Invalid, "parts: "+path+": a service cannot be there", "an http or https URL", text)
	}
	return nil
}

// err says which files are missing, nil if none is.
func (p *parts) err() error {
	if len(p.missing) == 0 {
		return nil
	}
	return sigbox.Errorf(sigbox.Unavailable, "%d of %d parts of other hosts are not there", len(p.missing), len(p.paths)).
		WithHint("copy each host's %s to where the settings say", partFile)
}

// chains are the authorities of other hosts, the issuing certificate first.
func (p *parts) chains() (chains [][][]byte) {
	for _, part := range p.found {
		for _, ca := range part.Root.CertificateAuthorities {
			chains = append(chains, ca.Chain)
		}
	}
	return chains
}

// ctLog gives the CT log of another host that an authority is to use now: of those that
// are valid, and are not the place of a shard that only is read, the newest; false if
// there is none.
func (p *parts) ctLog(now time.Time) (newest sigbox.TransparencyLog, ok bool) {
	for _, part := range p.found {
		for _, l := range part.Root.CTLogs {
			if l.ValidFor.Contains(now) && !strings.Contains(l.BaseURL, httpapi.ShardsPath) && (!ok || l.ValidFor.Start.After(newest.ValidFor.Start)) {
				newest, ok = l, true
			}
		}
	}
	return newest, ok
}

// addTo adds what other hosts have to what this one has. A part may be a copy of this
// host's own, so that all hosts can have the same settings; what the host itself says of
// what it has goes before that.
func (p *parts) addTo(c *trust.ClientTrustConfig) error {
	own := *c.Root
	for _, other := range p.found {
		var err error
		if c.Root.Logs, err = mergeLogs(c.Root.Logs, other.Root.Logs, len(own.Logs)); err == nil {
			c.Root.CTLogs, err = mergeLogs(c.Root.CTLogs, other.Root.CTLogs, len(own.CTLogs))
		}
		if err != nil {
			return sigbox.Errorf(sigbox.Invalid, "parts: %s: %w", other.path, err)
		}
		c.Root.CertificateAuthorities = mergeAuthorities(c.Root.CertificateAuthorities, other.Root.CertificateAuthorities)
		c.Root.TimestampAuthorities = mergeAuthorities(c.Root.TimestampAuthorities, other.Root.TimestampAuthorities)
		c.Signing.CAs = mergeServices(c.Signing.CAs, other.Signing.CAs)
		c.Signing.OIDC = mergeServices(c.Signing.OIDC, other.Signing.OIDC)
		c.Signing.Logs = mergeServices(c.Signing.Logs, other.Signing.Logs)
		c.Signing.TSAs = mergeServices(c.Signing.TSAs, other.Signing.TSAs)
	}
	// Of two logs some clients take the first that they know: those of v2 go first, which
	// sign with Ed25519.
	slices.SortStableFunc(c.Signing.Logs, func(a, b sigbox.Service) int { return b.MajorAPIVersion - a.MajorAPIVersion })
	slices.SortStableFunc(c.Root.Logs, func(a, b sigbox.TransparencyLog) int { return older(a) - older(b) })
	return nil
}

// older is 1 for a log of Rekor v1.
func older(l sigbox.TransparencyLog) int {
	if l.Details == sigbox.Ed25519 {
		return 0
	}
	return 1
}

// mergeLogs adds logs. Two that go by the same ID have to be the same; the first own ones
// are what this host says itself.
func mergeLogs(logs, more []sigbox.TransparencyLog, own int) ([]sigbox.TransparencyLog, error) {
	for _, l := range more {
		i := slices.IndexFunc(logs, func(known sigbox.TransparencyLog) bool { return bytes.Equal(known.LogID, l.LogID) })
		switch {
		case i < 0:
			logs = append(logs, l)
		case i < own && bytes.Equal(logs[i].PublicKey, l.PublicKey):
		case !bytes.Equal(logs[i].PublicKey, l.PublicKey) || !logs[i].ValidFor.Equal(l.ValidFor):
			return nil, sigbox.Errorf(sigbox.Conflict, "the log %s is described in two ways by two hosts", hex.EncodeToString(l.LogID)).
				WithHint("name a newer copy of the part, or take the one of a host away that has the log no more")
		}
	}
	return logs, nil
}

// mergeAuthorities adds authorities that are not there.
func mergeAuthorities(list, more []sigbox.CertificateAuthority) []sigbox.CertificateAuthority {
	for _, ca := range more {
		if !slices.ContainsFunc(list, sameAuthority(ca)) {
			list = append(list, ca)
		}
	}
	return list
}

// mergeServices adds services that are not there.
func mergeServices(list, more []sigbox.Service) []sigbox.Service {
	for _, s := range more {
		if !slices.ContainsFunc(list, func(o sigbox.Service) bool { return o.URL == s.URL && o.MajorAPIVersion == s.MajorAPIVersion }) {
			list = append(list, s)
		}
	}
	return list
}

// sameAuthority finds an authority by the certificate that issues.
func sameAuthority(ca sigbox.CertificateAuthority) func(sigbox.CertificateAuthority) bool {
	return func(o sigbox.CertificateAuthority) bool { return bytes.Equal(o.Chain[0], ca.Chain[0]) }
}

// setParts takes other hosts' parts for those that were. What cannot be used changes
// nothing of what clients see.
func (s *services) setParts(p *parts) error {
	for _, path := range p.missing {
		s.app.cfg.Logger.Warn("the part of another host is not there yet", "file", path)
	}
	old := s.parts.Swap(p)
	err := s.useParts(p)
	if err != nil {
		s.parts.Store(old)
	}
	return err
}

// useParts hands parts on to the services that need them.
func (s *services) useParts(p *parts) error {
	if s.tuf != nil { // what can refuse them goes first
		if err := s.publish(); err != nil {
			return err
		}
	}
	if s.ctLog != nil {
		if err := s.setChains(); err != nil {
			return err
		}
	}
	if s.ca != nil && s.ctLog == nil {
		return s.outerCT.set(s.outerCTConfig(p))
	}
	return nil
}

// chains are the authorities whose certificates the CT log takes.
func (s *services) chains() [][][]byte {
	others := s.parts.Load().chains()
	if own := s.issuing.Load(); own != nil {
		return append(chainsOf(own.all), others...)
	}
	return others
}

// writePart writes down what this host has, for the others. One that has everything
// needs none.
func (s *services) writePart() error {
	if len(s.app.settings.Only) == 0 {
		return nil
	}
	own := s.own()
	root, err := trust.AppendRoot(nil, own.Root)
	if err != nil {
		return err
	}
	config, err := trust.AppendSigningConfig(nil, own.Signing)
	if err != nil {
		return err
	}
	b, err := trust.AppendClientTrustConfig(nil, root, config)
	if err != nil {
		return err
	}
	if err := atomicfile.Replace(filepath.Join(s.app.cfg.Data, partFile), append(b, '\n'), 0o644); err != nil {
		return diskError(s.app.cfg.Data, err)
	}
	return nil
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
	var lost []string
	for _, lists := range [][2][]sigbox.TransparencyLog{{was.Logs, will.Logs}, {was.CTLogs, will.CTLogs}} {
		for _, l := range lists[0] {
			if !slices.ContainsFunc(lists[1], func(o sigbox.TransparencyLog) bool {
				return bytes.Equal(o.LogID, l.LogID) && bytes.Equal(o.PublicKey, l.PublicKey)
			}) {
				lost = append(lost, "the log "+l.BaseURL)
			}
		}
	}
	for _, lists := range [][2][]sigbox.CertificateAuthority{
		{was.CertificateAuthorities, will.CertificateAuthorities}, {was.TimestampAuthorities, will.TimestampAuthorities},
	} {
		for _, ca := range lists[0] {
			if !slices.ContainsFunc(lists[1], sameAuthority(ca)) {
				lost = append(lost, "the authority "+ca.URI)
			}
		}
	}
	if len(lost) == 0 {
		return nil
	}
	return sigbox.Errorf(sigbox.Conflict, "clients would lose their trust in %s, and in all that was signed with it", strings.Join(lost, ", ")).
		WithHint("name the part.json of the host that has it under \"parts\"; if it is to go for good, start once with --accept trust")
}

// outerCT is the CT log of another host.
type outerCT struct {
	mu     sync.Mutex
	log    *remote.CTLog      // nil while no part has one; guarded by mu
	config remote.CTLogConfig // log's; guarded by mu
	stop   context.CancelFunc // ends the watch of log; guarded by mu, nil while there is none
}

// outerCTTimeout bounds one attempt at the CT log, while somebody waits for a
// certificate.
const outerCTTimeout = 5 * time.Second

// outerCTConfig says which CT log of another host to use; without a URL there is none.
func (s *services) outerCTConfig(p *parts) remote.CTLogConfig {
	l, ok := p.ctLog(s.app.cfg.Now())
	if !ok {
		return remote.CTLogConfig{}
	}
	return remote.CTLogConfig{URL: l.BaseURL, PublicKey: l.PublicKey, Root: s.issuing.Load().root(), Logger: s.app.cfg.Logger}
}

// set takes another log, unless it is the same.
func (o *outerCT) set(c remote.CTLogConfig) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.config.URL == c.URL && bytes.Equal(o.config.PublicKey, c.PublicKey) && bytes.Equal(o.config.Root, c.Root) {
		return nil
	}
	var log *remote.CTLog
	if c.URL != "" {
		var err error
		if log, err = remote.New(remote.Config{Timeout: outerCTTimeout, Retries: 1}).CTLog(c); err != nil {
			return err
		}
	}
	o.log, o.config = log, c
	if o.stop != nil {
		o.stop()
	}
	return nil
}

func (o *outerCT) current() *remote.CTLog {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.log
}

// AddPreChain logs a precertificate; see [sigbox.CTLog].
func (o *outerCT) AddPreChain(ctx context.Context, chain [][]byte) ([]byte, error) {
	log := o.current()
	if log == nil {
		return nil, o.Err()
	}
	return log.AddPreChain(ctx, chain)
}

// Err says why no precertificate can be logged, nil if one can.
func (o *outerCT) Err() error {
	if log := o.current(); log != nil {
		return log.Err()
	}
	return sigbox.Errorf(sigbox.Unavailable, "no certificate can be issued before this host knows of a CT log").
		WithHint("name the part.json of the host that has one under \"parts\"")
}

// run watches the log, whichever it is, until ctx ends.
func (o *outerCT) run(ctx context.Context) error {
	for ctx.Err() == nil {
		watched, stop := context.WithCancel(ctx)
		o.mu.Lock()
		log := o.log
		o.stop = stop
		o.mu.Unlock()
		if log == nil {
			<-watched.Done()
		} else if err := log.Watch(watched); err != nil {
			stop()
			return err
		}
		stop()
	}
	return nil
}
