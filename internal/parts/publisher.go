package parts

import (
	"bytes"
	"crypto"
	"errors"
	"io/fs"
	"sync"
	"time"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/atomicfile"
)

// FreshFor is how long a host gives out one signature: others see by it how old what they
// have is.
const FreshFor = time.Hour

// PublisherConfig is what a [Publisher] needs; all of it is required.
type PublisherConfig struct {
	// Key signs, Path is the file that has what was signed last.
	Key  crypto.Signer
	Path string
	Now  func() time.Time
}

// Publisher signs what a host says of itself. It is safe for concurrent use.
type Publisher struct {
	cfg PublisherConfig

	mu   sync.Mutex
	last payload // guarded by mu
	raw  []byte  // last, signed; guarded by mu, nil before the first
}

// NewPublisher goes on after what was signed last, so that sequence numbers go up.
func NewPublisher(cfg PublisherConfig) (*Publisher, error) {
	p := &Publisher{cfg: cfg}
	own, err := Fingerprint(cfg.Key.Public())
	if err != nil {
		return nil, sigbox.Errorf(sigbox.Internal, "%w", err)
	}
	b, err := readBounded(cfg.Path)
	if err != nil {
		return nil, err
	}
	if last, err := openPayload(b, own); err == nil { // else it is another key's, or none
		p.last = last
	}
	return p, nil
}

// readBounded reads a file of at most MaxSigned bytes; none is empty.
func readBounded(path string) ([]byte, error) {
	b, _, err := atomicfile.Read(path, MaxSigned)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return b, err
}

// Set replaces what is said, a ClientTrustConfig and where the trust root is, if it has
// changed.
func (p *Publisher) Set(part []byte, tuf *TUF) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.raw != nil && bytes.Equal(p.last.Part, part) && sameTUF(p.last.TUF, tuf) {
		return nil
	}
	return p.sign(part, tuf)
}

func sameTUF(a, b *TUF) bool {
	return a == b || a != nil && b != nil && a.URL == b.URL && bytes.Equal(a.Root, b.Root)
}

// Signed gives what the host says, signed lately. When it cannot be signed again what was
// signed last is given, with the error.
func (p *Publisher) Signed() ([]byte, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var err error
	if age := p.cfg.Now().Sub(p.last.Time); age >= FreshFor || age < 0 {
		err = p.sign(p.last.Part, p.last.TUF)
	}
	return p.raw, err
}

// sign makes the next statement. It is on disk before anybody sees it. p.mu is held.
func (p *Publisher) sign(part []byte, tuf *TUF) error {
	now := p.cfg.Now().UTC().Truncate(time.Second)
	next := payload{
		Sequence: max(p.last.Sequence+1, uint64(max(0, now.Unix()))), // #nosec G115 -- not negative
		Time:     now, Part: part, TUF: tuf,
	}
	raw, err := sign(p.cfg.Key, next)
	if err != nil {
		return err
	}
	if err := atomicfile.Replace(p.cfg.Path, raw, 0o644); err != nil {
		return err
	}
	p.last, p.raw = next, raw
	return nil
}
