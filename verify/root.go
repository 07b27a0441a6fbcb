package verify

import (
	"bytes"
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"net/url"
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
	host string
	key  crypto.PublicKey
	// v1 and v2 check checkpoints; v2 fails when the base URL names no host, v1 when
	// the key is of a type that checkpoints are not signed with.
	v1, v2 func() (*note.Verifier, error)
	// checkpoints that were signed by one of them, by the SHA-256 of version and
	// text.
	checkpoints cache[[sha256.Size]byte, *sigbox.Checkpoint]
}

// ctLog is a certificate log.
type ctLog struct {
	*sigbox.TransparencyLog
	key crypto.PublicKey
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
	return &ctLog{l, key}, nil
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
	return &stamper{a, nameOf(ca), operator(ca.Operator, ca.URI)}, nil
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
	host := hostOf(l.BaseURL)
	return &rekor{
		TransparencyLog: l, host: host, key: key,
		v1: sync.OnceValues(func() (*note.Verifier, error) { return note.NewRekorV1Verifier(key) }),
		v2: sync.OnceValues(func() (*note.Verifier, error) { return note.NewVerifier(host, key) }),
	}, nil
}

// same reports whether two listings are of one log.
func (l *rekor) same(o *rekor) bool {
	return l.host == o.host && bytes.Equal(l.PublicKey, o.PublicKey)
}

// hostOf gives the host of a base URL, which may lack its scheme.
func hostOf(base string) string {
	if !strings.Contains(base, "://") {
		base = "//" + base
	}
	u, err := url.Parse(base)
	if err != nil {
		return ""
	}
	return u.Hostname()
}

// operator gives the name that thresholds count by.
func operator(name, base string) string {
	if name != "" {
		return name
	}
	return hostOf(base)
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
