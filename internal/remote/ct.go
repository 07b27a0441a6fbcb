package remote

import (
	"bytes"
	"context"
	"crypto"
	"crypto/x509"
	"log/slog"
	"math"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/wire/cert"
	"github.com/sigbox/sigbox/wire/note"
)

const (
	ctService = "the CT log"
	// maxSCTBytes bounds the answer to a submission, maxRootsBytes a list of roots.
	maxSCTBytes   = 16 << 10
	maxRootsBytes = 1 << 20
	// maxSCTSkew is how far the time of an SCT may be from the authority's clock.
	maxSCTSkew = 5 * time.Minute
)

// CTLogConfig is what a [CTLog] needs. URL, PublicKey and Root are required.
type CTLogConfig struct {
	// URL is the log's prefix: its routes begin with URL + "/ct/v1/".
	URL string
	// PublicKey is the log's, a DER SubjectPublicKeyInfo. SCTs by another do not count.
	PublicKey []byte
	// Root is the root certificate of the authority that submits, DER: the log has to
	// take what ends in it.
	Root []byte
	// Idle is how often a log that works is looked at, 30 s if 0; Retry how soon one
	// that does not is looked at again, twice as long each time up to MaxRetry. They are
	// 250 ms and 5 s if 0.
	Idle, Retry, MaxRetry time.Duration
	// Logger is told when the log fails and when it works again; nil is nobody.
	Logger *slog.Logger
}

// CTLog is the client of a certificate log, for an authority (RFC 6962 §4.2). An SCT
// is verified before anybody sees it. While Watch runs and the log does not answer,
// submissions fail at once; Watch finds out when it answers again.
type CTLog struct {
	client *Client
	cfg    CTLogConfig
	key    crypto.PublicKey
	id     [32]byte
	head   *note.Verifier
	// wake has a value when the log has just failed.
	wake chan struct{}

	mu      sync.Mutex
	down    error // why the log cannot be used; guarded by mu, nil as far as is known
	watched bool  // Watch runs; guarded by mu
}

var _ sigbox.CTLog = (*CTLog)(nil)

// CTLog makes the client, and asks the log for nothing.
func (c *Client) CTLog(cfg CTLogConfig) (*CTLog, error) {
	if cfg.Idle == 0 {
		cfg.Idle = 30 * time.Second
	}
	if cfg.Retry == 0 {
		cfg.Retry = 250 * time.Millisecond
	}
	if cfg.MaxRetry == 0 {
		cfg.MaxRetry = 5 * time.Second
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	key, err := sigbox.ParsePublicKey(cfg.PublicKey)
	if err != nil {
		return nil, sigbox.Errorf(sigbox.Invalid, "the key of the CT log at %.200s: %w", cfg.URL, err)
	}
	id, err := cert.LogID(key)
	if err != nil {
		return nil, err
	}
	_, origin, _ := strings.Cut(cfg.URL, "://")
	head, err := note.NewTreeHeadVerifier(origin, key)
	if err != nil {
		return nil, err
	}
	return &CTLog{client: c, cfg: cfg, key: key, id: id, head: head, wake: make(chan struct{}, 1)}, nil
}

// AddPreChain logs a precertificate; see [sigbox.CTLog]. Errors are of kind Unavailable:
// nothing that the log says is the fault of who asks for a certificate. The same chain
// again gets the same SCT from a log that knows its entries, so that it may be sent
// twice.
func (l *CTLog) AddPreChain(ctx context.Context, chain [][]byte) ([]byte, error) {
	if err := l.closed(); err != nil {
		return nil, l.unavailable(err)
	}
	sct, err := l.submit(ctx, chain)
	if err == nil || ctx.Err() == nil && !busy(err) { // else it is the caller who has gone, or the log has too much to do
		l.note(err)
	}
	if err != nil {
		return nil, l.unavailable(err)
	}
	return sct.Marshal()
}

// busyError is a log's word that it is there and takes nothing now.
type busyError struct{ error }

func (e busyError) Unwrap() error { return e.error }

func busy(err error) bool {
	_, ok := err.(busyError)
	return ok
}

func (l *CTLog) submit(ctx context.Context, chain [][]byte) (cert.SCT, error) {
	body, err := encodeJSON(struct {
		Chain [][]byte `json:"chain"`
	}{chain})
	if err != nil {
		return cert.SCT{}, sigbox.Errorf(sigbox.Internal, "%w", err)
	}
	r := request{
		service: ctService, method: http.MethodPost, url: l.at("add-pre-chain"),
		contentType: "application/json", body: body, limit: maxSCTBytes,
	}
	resp, err := l.client.expect(ctx, r, http.StatusOK)
	switch {
	case err != nil && (resp.status == http.StatusServiceUnavailable || resp.status == http.StatusTooManyRequests):
		return cert.SCT{}, busyError{err}
	case err != nil:
		return cert.SCT{}, err
	}
	return l.parseSCT(r, resp.body, chain)
}

// parseSCT reads the answer to a submission and believes none of it: the SCT has to be
// this log's, for this precertificate, and of now.
func (l *CTLog) parseSCT(r request, body []byte, chain [][]byte) (cert.SCT, error) {
	var in struct {
		Version    int    `json:"sct_version"`
		ID         []byte `json:"id"`
		Timestamp  uint64 `json:"timestamp"`
		Extensions []byte `json:"extensions"`
		Signature  []byte `json:"signature"`
	}
	if err := decodeJSON(body, &in); err != nil {
		return cert.SCT{}, badAnswer(r, "an SCT (RFC 6962, section 4.1)").WithCause(err)
	}
	if in.Version != 0 || len(in.Signature) < 4 || len(in.Extensions) >= 1<<16 ||
		len(in.Signature) != 4+int(in.Signature[2])<<8+int(in.Signature[3]) {
		return cert.SCT{}, badAnswer(r, "an SCT of version 1")
	}
	if !bytes.Equal(in.ID, l.id[:]) {
		return cert.SCT{}, sigbox.Errorf(sigbox.NotVerified, "the CT log at %s answered for the log %x, expected %x", l.cfg.URL, in.ID[:min(len(in.ID), 32)], l.id)
	}
	sct := cert.SCT{
		LogID: l.id, Timestamp: in.Timestamp, Extensions: in.Extensions,
		Algorithm: cert.SignatureAlgorithm(in.Signature[0])<<8 | cert.SignatureAlgorithm(in.Signature[1]), Signature: in.Signature[4:],
	}
	if at := min(in.Timestamp, math.MaxInt64); l.client.now().Sub(time.UnixMilli(int64(at))).Abs() > maxSCTSkew { // #nosec G115 -- at most MaxInt64
		return cert.SCT{}, sigbox.Errorf(sigbox.NotVerified, "the clocks of the CT log at %s and of this host differ by more than %v", l.cfg.URL, maxSCTSkew)
	}
	issuer, err := x509.ParseCertificate(chain[min(1, len(chain)-1)])
	if err != nil {
		return cert.SCT{}, sigbox.Errorf(sigbox.Internal, "%w", err)
	}
	return sct, cert.VerifySCT(sct, chain[0], issuer.RawSubjectPublicKeyInfo, l.key)
}

func (l *CTLog) at(route string) string { return join(l.cfg.URL, "/ct/v1/"+route) }

// check asks the log whether it is the one, and whether it takes this authority's
// certificates.
func (l *CTLog) check(ctx context.Context) error {
	var sth treeHeadCT
	if err := l.get(ctx, "get-sth", maxProofCT, &sth); err != nil {
		return err
	}
	text, err := sth.text(l.head)
	if err == nil {
		_, err = note.Open(text, l.head)
	}
	if err != nil {
		return sigbox.Errorf(sigbox.NotVerified, "the CT log at %s has another key than the one on record", l.cfg.URL).WithCause(err)
	}
	var roots struct {
		Certificates [][]byte `json:"certificates"`
	}
	if err := l.get(ctx, "get-roots", maxRootsBytes, &roots); err != nil {
		return err
	}
	if !slices.ContainsFunc(roots.Certificates, func(der []byte) bool { return bytes.Equal(der, l.cfg.Root) }) {
		return sigbox.Errorf(sigbox.Denied, "the CT log at %s does not know this authority", l.cfg.URL).
			WithHint("name this host's part.json under \"parts\" in the settings of the log's host")
	}
	return nil
}

func (l *CTLog) get(ctx context.Context, route string, limit int64, into any) error {
	r := request{service: ctService, method: http.MethodGet, url: l.at(route), limit: limit}
	resp, err := l.client.expect(ctx, r, http.StatusOK)
	if err != nil {
		return err
	}
	if err := decodeJSON(resp.body, into); err != nil {
		return badAnswer(r, "what RFC 6962 has for "+route).WithCause(err)
	}
	return nil
}

// closed says why the log is not asked, nil if it is.
func (l *CTLog) closed() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.watched {
		return l.down
	}
	return nil
}

// unavailable is what callers are told; the log has the rest.
func (l *CTLog) unavailable(cause error) error {
	return sigbox.Errorf(sigbox.Unavailable, "no certificate can be issued at present: the CT log, on another host, takes nothing").
		WithHint("try again later").WithCause(cause)
}

// Err says why the log cannot be used, in words for anybody; nil if it can as far as is
// known.
func (l *CTLog) Err() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.down == nil {
		return nil
	}
	why := "does not answer"
	switch sigbox.KindOf(l.down) {
	case sigbox.NotVerified:
		why = "answers with what its key has not signed, or its clock is wrong"
	case sigbox.Denied:
		why = "does not know this authority"
	case sigbox.Unavailable:
	default:
		why = "refuses this authority's certificates, or is no CT log"
	}
	return sigbox.Errorf(sigbox.Unavailable, "the CT log, on another host, %s", why).WithHint("the server's log says more").WithCause(l.down)
}

// note remembers how the log was found, and tells of a change.
func (l *CTLog) note(err error) {
	l.mu.Lock()
	was := l.down
	l.down = err
	l.mu.Unlock()
	switch {
	case err != nil && was == nil:
		l.cfg.Logger.Error("the CT log cannot be used: no certificates are issued", "url", l.cfg.URL, "err", err)
		select {
		case l.wake <- struct{}{}:
		default:
		}
	case err == nil && was != nil:
		l.cfg.Logger.Info("the CT log can be used again", "url", l.cfg.URL)
	}
}

// Watch looks at the log at once, then now and then, and at one that does not work until
// it does; until ctx ends.
func (l *CTLog) Watch(ctx context.Context) error {
	l.setWatched(true)
	defer l.setWatched(false)
	for wait := time.Duration(0); ; {
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-l.wake:
			timer.Stop()
			wait = l.cfg.Retry / 2
			continue // it was asked a moment ago
		case <-timer.C:
		}
		err := l.check(ctx)
		if ctx.Err() != nil {
			return nil
		}
		l.note(err)
		if wait = min(max(2*wait, l.cfg.Retry), l.cfg.MaxRetry); err == nil {
			wait = l.cfg.Idle
		}
	}
}

func (l *CTLog) setWatched(yes bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.watched = yes
}
