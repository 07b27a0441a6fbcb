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

// CTLogConfig is what a [CTLog] needs. URL, Logs and Root are required.
type CTLogConfig struct {
	// URL is the log's prefix: its routes begin with URL + "/ct/v1/".
	URL string
	// Logs are those that may answer there, one after the other: a log whose key is
	// replaced goes on in another one, and nobody says when. An SCT counts that one of
	// them has made while it was valid; of each PublicKey and ValidFor are used.
	Logs []sigbox.TransparencyLog
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
	logs   []knownLog
	// wake has a value when the log has just failed.
	wake chan struct{}

	mu      sync.Mutex
	down    error // why the log cannot be used; guarded by mu, nil as far as is known
	watched bool  // Watch runs; guarded by mu
}

var _ sigbox.CTLog = (*CTLog)(nil)

// knownLog is a log that may answer.
type knownLog struct {
	id    [32]byte
	key   crypto.PublicKey
	head  *note.Verifier
	valid sigbox.TimeRange
}

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
	l := &CTLog{client: c, cfg: cfg, wake: make(chan struct{}, 1)}
	for _, log := range cfg.Logs {
		known, err := knowLog(cfg.URL, log)
		if err != nil {
			return nil, sigbox.Errorf(sigbox.Invalid, "the key of the CT log at %.200s: %w", cfg.URL, err)
		}
		l.logs = append(l.logs, known)
	}
	if len(l.logs) == 0 {
		return nil, sigbox.Errorf(sigbox.Invalid, "the CT log at %.200s has no key", cfg.URL)
	}
	return l, nil
}

func knowLog(url string, log sigbox.TransparencyLog) (known knownLog, err error) {
	known.valid = log.ValidFor
	if known.key, err = sigbox.ParsePublicKey(log.PublicKey); err != nil {
		return known, err
	}
	if known.id, err = cert.LogID(known.key); err != nil {
		return known, err
	}
	_, origin, _ := strings.Cut(url, "://")
	known.head, err = note.NewTreeHeadVerifier(origin, known.key)
	return known, err
}

// log gives the log of an ID, if it is one that may answer and was valid at a time.
func (l *CTLog) log(id []byte, at time.Time) (knownLog, error) {
	i := slices.IndexFunc(l.logs, func(k knownLog) bool { return bytes.Equal(k.id[:], id) })
	switch {
	case i < 0:
		return knownLog{}, sigbox.Errorf(sigbox.NotVerified, "the CT log at %s answered for the log %x, of which this host knows nothing", l.cfg.URL, id[:min(len(id), 32)]).
			WithHint("give this host the newest part.json of the log's host")
	case !l.logs[i].valid.Contains(at):
		return knownLog{}, sigbox.Errorf(sigbox.NotVerified, "the CT log at %s answered for the log %x, which is not valid at %s", l.cfg.URL, id, at.UTC().Format(time.RFC3339))
	}
	return l.logs[i], nil
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
	at := time.UnixMilli(int64(min(in.Timestamp, math.MaxInt64))) // #nosec G115 -- at most MaxInt64
	if l.client.now().Sub(at).Abs() > maxSCTSkew {
		return cert.SCT{}, sigbox.Errorf(sigbox.NotVerified, "the clocks of the CT log at %s and of this host differ by more than %v", l.cfg.URL, maxSCTSkew)
	}
	log, err := l.log(in.ID, at)
	if err != nil {
		return cert.SCT{}, err
	}
	sct := cert.SCT{
		LogID: log.id, Timestamp: in.Timestamp, Extensions: in.Extensions,
		Algorithm: cert.SignatureAlgorithm(in.Signature[0])<<8 | cert.SignatureAlgorithm(in.Signature[1]), Signature: in.Signature[4:],
	}
	issuer, err := x509.ParseCertificate(chain[min(1, len(chain)-1)])
	if err != nil {
		return cert.SCT{}, sigbox.Errorf(sigbox.Internal, "%w", err)
	}
	return sct, cert.VerifySCT(sct, chain[0], issuer.RawSubjectPublicKeyInfo, log.key)
}

func (l *CTLog) at(route string) string { return join(l.cfg.URL, "/ct/v1/"+route) }

// check asks the log whether it is the one, and whether it takes this authority's
// certificates.
func (l *CTLog) check(ctx context.Context) error {
	var sth treeHeadCT
	if err := l.get(ctx, "get-sth", maxProofCT, &sth); err != nil {
		return err
	}
	if err := l.checkHead(sth); err != nil {
		return err
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

// checkHead looks for the log that has signed a tree head, which does not say whose it is.
func (l *CTLog) checkHead(sth treeHeadCT) (err error) {
	for _, log := range l.logs {
		if !log.valid.Contains(l.client.now()) {
			continue
		}
		var text string
		if text, err = sth.text(log.head); err == nil {
			_, err = note.Open(text, log.head)
		}
		if err == nil {
			return nil
		}
	}
	return sigbox.Errorf(sigbox.NotVerified, "the CT log at %s has another key than those on record", l.cfg.URL).WithCause(err).
		WithHint("give this host the newest part.json of the log's host")
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
