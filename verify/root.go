package verify

import (
	"bytes"
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"slices"
	"strings"
	"sync"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/wire/note"
	"github.com/sigbox/sigbox/wire/timestamp"
)

// root is a trust root. Its parts are prepared when they are first needed: most of
// them never are, such as authorities of years ago.
type root struct {
	demands     sigbox.Demands
	derived     bool // the demands are, and nobody's own
	parsed      *Parsed
	authorities []listed[authority, sigbox.CertificateAuthority]
	logs        []listed[rekor, sigbox.TransparencyLog]
	ctLogs      []listed[ctLog, sigbox.TransparencyLog]
	stampers    []listed[stamper, sigbox.CertificateAuthority]
}

// listed is a part of a trust root, prepared once. What cannot be used is an error,
// and as if it were not listed.
type listed[T, L any] struct {
	listing *L
	once    sync.Once
	made    *T
	err     error
}

func list[T, L any](listings []L) []listed[T, L] {
	out := make([]listed[T, L], len(listings))
	for i := range listings {
		out[i].listing = &listings[i]
	}
	return out
}

// get gives the part, which make prepares.
func (l *listed[T, L]) get(make func(*L) (*T, error)) (*T, error) {
	l.once.Do(func() { l.made, l.err = make(l.listing) })
	return l.made, l.err
}

// usable gives those that are wanted and can be used, and what is wrong with one
// that cannot.
func usable[T, L any](all []listed[T, L], wanted func(*L) bool, make func(*L) (*T, error)) (out []*T, problem error) {
	for i := range all {
		if !wanted(all[i].listing) {
			continue
		}
		v, err := all[i].get(make)
		if err != nil {
			problem = err
			continue
		}
		out = append(out, v)
	}
	return out, problem
}

// logsOf gives the listings of a log.
func (r *root) logsOf(id []byte) ([]*rekor, error) {
	return usable(r.logs, func(l *sigbox.TransparencyLog) bool { return bytes.Equal(l.LogID, id) }, r.parsed.newRekor)
}

// ctLogsOf gives the listings of a certificate log.
func (r *root) ctLogsOf(id []byte) []*ctLog {
	logs, _ := usable(r.ctLogs, func(l *sigbox.TransparencyLog) bool { return bytes.Equal(l.LogID, id) }, r.parsed.newCTLog)
	return logs
}

// allStampers gives the timestamp authorities.
func (r *root) allStampers() []*stamper {
	all, _ := usable(r.stampers, func(*sigbox.CertificateAuthority) bool { return true }, r.parsed.newStamper)
	return all
}

// rekor is a transparency log.
type rekor struct {
	*sigbox.TransparencyLog
	host     string // "" when the base URL names none
	operator string
	key      crypto.PublicKey
	v1, v2   checker // of checkpoints
	// checkpoints that were found signed.
	checkpoints cache[signedText, *sigbox.Checkpoint]
}

// signedText names a checkpoint of a v1 or v2 log by its SHA-256.
type signedText struct {
	v2  bool
	sum [sha256.Size]byte
}

// checker checks checkpoints once it is made, if it can be.
type checker struct {
	once     sync.Once
	verifier *note.Verifier
	err      error
}

// ctLog is a certificate log.
type ctLog struct {
	*sigbox.TransparencyLog
	operator string
	key      crypto.PublicKey
}

// stamper is a timestamp authority.
type stamper struct {
	*timestamp.Authority
	name, operator string
}

// prepare makes a root of a listing. At least one of those who decide about a bundle
// must be usable; demands stay, whatever is.
func prepare(r *sigbox.TrustedRoot, d sigbox.Demands, derived bool, parsed *Parsed) (*root, error) {
	p := &root{
		demands: d, derived: derived, parsed: parsed,
		authorities: list[authority](r.CertificateAuthorities),
		logs:        list[rekor](r.Logs),
		ctLogs:      list[ctLog](r.CTLogs),
		stampers:    list[stamper](r.TimestampAuthorities),
	}
	return p, p.check()
}

// check looks for a log or an authority that can be used. Without any the root
// would demand nothing, and so accept whatever a key has signed.
func (r *root) check() error {
	var problem error
	if anyUsable(r.logs, r.parsed.newRekor, &problem) || anyUsable(r.authorities, r.parsed.newAuthority, &problem) || anyUsable(r.stampers, r.parsed.newStamper, &problem) {
		return nil
	}
	if problem == nil {
		return sigbox.Errorf(sigbox.Invalid, "it lists nobody to trust")
	}
	return sigbox.Errorf(sigbox.Invalid, "nothing in it can be used: %w", problem)
}

// anyUsable reports whether one of them can be used; problem is why one cannot.
func anyUsable[T, L any](all []listed[T, L], make func(*L) (*T, error), problem *error) bool {
	for i := range all {
		_, err := all[i].get(make)
		if err == nil {
			return true
		}
		*problem = err
	}
	return false
}

// newCTLog prepares a certificate log.
func (p *Parsed) newCTLog(l *sigbox.TransparencyLog) (*ctLog, error) {
	key, err := p.key(l.PublicKey)
	if err != nil {
		return nil, err
	}
	return &ctLog{l, p.operator(l.Operator, l.BaseURL), key}, nil
}

// newStamper prepares a timestamp authority.
func (p *Parsed) newStamper(ca *sigbox.CertificateAuthority) (*stamper, error) {
	chain, err := p.chain(ca)
	if err != nil {
		return nil, err
	}
	a, err := timestamp.NewParsedAuthority(chain, ca.ValidFor)
	if err != nil {
		return nil, sigbox.Errorf(sigbox.Invalid, "authority %.200q: %w", nameOf(ca), err)
	}
	return &stamper{a, nameOf(ca), p.operator(ca.Operator, ca.URI)}, nil
}

// newRekor prepares a transparency log.
func (p *Parsed) newRekor(l *sigbox.TransparencyLog) (*rekor, error) {
	key, err := p.key(l.PublicKey)
	if err != nil {
		return nil, err
	}
	if err := l.Details.CheckKey(key); err != nil {
		return nil, err
	}
	if l.HashAlgorithm != sigbox.SHA256 {
		return nil, sigbox.Mismatch(sigbox.Invalid, "log "+l.BaseURL+": hash of the tree", sigbox.SHA256, l.HashAlgorithm)
	}
	return &rekor{TransparencyLog: l, host: p.host(l.BaseURL), operator: p.operator(l.Operator, l.BaseURL), key: key}, nil
}

// verifier gives the one for checkpoints of v1 or v2. That of v2 fails when the base
// URL names no host, either when the key is of a type that checkpoints are not
// signed with.
func (l *rekor) verifier(v2 bool) (*note.Verifier, error) {
	if v2 {
		l.v2.once.Do(func() { l.v2.verifier, l.v2.err = note.NewVerifier(l.host, l.key) })
		return l.v2.verifier, l.v2.err
	}
	l.v1.once.Do(func() { l.v1.verifier, l.v1.err = note.NewRekorV1Verifier(l.key) })
	return l.v1.verifier, l.v1.err
}

// same reports whether two listings are of one log.
func (l *rekor) same(o *rekor) bool {
	return l.host == o.host && bytes.Equal(l.PublicKey, o.PublicKey)
}

// nameOf names an authority for people.
func nameOf(ca *sigbox.CertificateAuthority) string {
	if ca.URI != "" {
		return ca.URI
	}
	return strings.TrimSpace(ca.Organization + " " + ca.CommonName)
}

// issuers gives the authorities that a certificate may be of. Those that do not
// even hold its issuer's name are not parsed. The problem is of one that is listed
// and cannot be used, if any.
func (r *root) issuers(c *x509.Certificate) (out []path, problem error) {
	candidates, problem := usable(r.authorities, func(ca *sigbox.CertificateAuthority) bool {
		return slices.ContainsFunc(ca.Chain, func(der []byte) bool { return bytes.Contains(der, c.RawIssuer) })
	}, r.parsed.newAuthority)
	for _, a := range candidates {
		for i, issuer := range a.chain {
			if !bytes.Equal(issuer.RawSubject, c.RawIssuer) {
				continue
			}
			if len(c.AuthorityKeyId) > 0 && len(issuer.SubjectKeyId) > 0 && !bytes.Equal(c.AuthorityKeyId, issuer.SubjectKeyId) {
				continue
			}
			out = append(out, path{a, i})
		}
	}
	return out, problem
}
