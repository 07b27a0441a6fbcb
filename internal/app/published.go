package app

import (
	"context"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/handout"
	"github.com/sigbox/sigbox/internal/parts"
	"github.com/sigbox/sigbox/internal/remote"
	"github.com/sigbox/sigbox/wire/trust"
)

// Published is where clients get an instance's trust root.
type Published struct {
	// Mirror is the URL of the TUF repository, or a directory with a copy of it.
	Mirror string `yaml:"mirror"`
	// Root is the file of the TUF root to begin with, the root.json of the host that
	// publishes.
	Root string `yaml:"root"`
}

func (p *Published) check() error {
	switch {
	case (p.Mirror == "") != (p.Root == ""):
		return sigbox.Errorf(sigbox.Invalid, "published: mirror and root belong together, found only one of them")
	case p.Mirror != "" && !filepath.IsAbs(p.Mirror) && !strings.HasPrefix(p.Mirror, "https://") && !strings.HasPrefix(p.Mirror, "http://"):
		return sigbox.Mismatch(sigbox.Invalid, "published: mirror", "an http or https URL, or the absolute path of a directory", p.Mirror)
	}
	return nil
}

// waitingError is why a step of a rotation is not done yet: nothing has failed.
type waitingError struct{ why *sigbox.Error }

func (e waitingError) Error() string { return e.why.Error() }

func (e waitingError) Unwrap() error { return e.why }

// waits are the roles whose rotation cannot go on at present, and why.
type waits struct {
	mu  sync.Mutex
	why map[string]error // guarded by mu
}

func (w *waits) set(role string, why error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if why == nil {
		delete(w.why, role)
		return
	}
	if w.why == nil {
		w.why = map[string]error{}
	}
	w.why[role] = why
}

// text says why a role's rotation cannot go on, "" if it can.
func (w *waits) text(role string) string {
	if w == nil {
		return ""
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if why := w.why[role]; why != nil {
		return why.Error()
	}
	return ""
}

// any says of one role why its rotation cannot go on, nil if all can.
func (w *waits) any() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, role := range slices.Sorted(maps.Keys(w.why)) {
		return sigbox.Errorf(sigbox.KindOf(w.why[role]), "the rotation of %s waits: %w", role, w.why[role])
	}
	return nil
}

// awaitPublished says that the trust root which clients get has not all keys of a role
// yet, nil when it has. Where this host publishes it there is nothing to wait for, and in
// the place of a stolen key another one signs at once.
func (s *services) awaitPublished(ctx context.Context, k rotating) error {
	gens := s.app.state.get().generations(k.key)
	own := s.trustOf(k.key)
	if s.tuf != nil || own == nil || stolen(gens) {
		return nil
	}
	root, err := s.publishedRoot(ctx)
	if err != nil {
		return waitingError{sigbox.Errorf(sigbox.Unavailable, "it is not known whether clients are told of the new key of %s: %w", k.key, err)}
	}
	if lost := parts.Lost(own, root); len(lost) > 0 {
		return waitingError{sigbox.Errorf(sigbox.Unavailable, "the trust root that clients get has not yet %s", strings.Join(lost, ", ")).
			WithHint("the host with the role tuf has to have this host's part; sigbox status there says whether it has")}
	}
	return nil
}

// trustOf is what this host asks clients to trust of a role, nil for one that is not in
// the trust root.
func (s *services) trustOf(key string) *sigbox.TrustedRoot {
	switch key {
	case caKey:
		return &sigbox.TrustedRoot{CertificateAuthorities: s.ca.CertificateAuthorities()}
	case tsaKey:
		return &sigbox.TrustedRoot{TimestampAuthorities: s.tsa.CertificateAuthorities()}
	case ctLogKey:
		return &sigbox.TrustedRoot{CTLogs: s.trustedLogs(key)}
	case rekorKey, rekorV1Key:
		return &sigbox.TrustedRoot{Logs: s.trustedLogs(key)}
	}
	return nil
}

// publishedTimeout bounds all of what clients get the trust root by, while no other key is
// rotated: a repository may have very many files, and give each slowly.
const publishedTimeout = 3 * askTimeout

// publishedRoot gets the trust root as clients get it.
func (s *services) publishedRoot(ctx context.Context) (*sigbox.TrustedRoot, error) {
	ctx, cancel := context.WithTimeout(ctx, publishedTimeout)
	defer cancel()
	from, caFile, err := s.repository()
	if err != nil {
		return nil, err
	}
	cfg, err := remote.Config{Timeout: askTimeout, Retries: -1, Now: s.app.cfg.Now}.Trusting(caFile)
	if err != nil {
		return nil, err
	}
	client := remote.New(cfg)
	defer client.CloseIdle()
	tuf := client.TUF(remote.TUFConfig{Mirror: from.URL, Root: from.Root, Dir: filepath.Join(s.app.cfg.Data, publishedDir), MaxAge: -1})
	if err := tuf.Refresh(ctx); err != nil {
		return nil, err
	}
	target, err := tuf.Cached(handout.TrustedRootTarget)
	if err != nil {
		return nil, err
	}
	return trust.ParseRoot(target.Data)
}

// maxTUFRoot bounds the file of a TUF root, in bytes.
const maxTUFRoot = 1 << 20

// repository says where clients get the trust root.
func (s *services) repository() (from parts.TUF, caFile string, err error) {
	return s.app.current.Load().Published.repository(s.others.Load().List)
}

// repository says where clients get the trust root: by the settings, or by the part of
// the host that publishes it.
func (p Published) repository(others *parts.List) (from parts.TUF, caFile string, err error) {
	if p.Mirror != "" {
		if info, err := os.Stat(p.Root); err == nil && info.Size() > maxTUFRoot {
			return from, "", sigbox.Errorf(sigbox.TooLarge, "published: %s: larger than %d bytes", p.Root, maxTUFRoot)
		}
		from.URL = p.Mirror
		if from.Root, err = os.ReadFile(p.Root); err != nil {
			return from, "", sigbox.Errorf(sigbox.NotFound, "published: %w", err).WithHint("it is a copy of the root.json in the data directory of the host with the role tuf")
		}
		if filepath.IsAbs(p.Mirror) {
			from.URL, err = remote.FileMirror(p.Mirror)
		}
		return from, "", err
	}
	host, ok := others.Publisher()
	if !ok {
		return from, "", sigbox.Errorf(sigbox.NotFound, "this host does not know where they get the trust root").
			WithHint("name the host with the role tuf under \"hosts\", or its repository under \"published\"")
	}
	return *host.TUF, host.CAFile, nil
}
