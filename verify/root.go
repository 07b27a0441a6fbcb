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

// root is a trust root, indexed. Its parts are parsed when they are first needed:
// most of them never are, such as authorities of years ago.
type root struct {
	demands     sigbox.Demands
	derived     bool // the demands are, and nobody's own
	authorities []listed[*authority]
	logs        map[string][]listed[*rekor] // by log ID
	ctLogs      map[string][]listed[*ctLog] // by log ID
	stampers    []listed[*stamper]
}

// listed is a part of a trust root, prepared once. What cannot be used is an error,
// and as if it were not listed.
type listed[T any] struct {
	chain [][]byte // of an authority
	get   func() (T, error)
}

func list[T, L any](listing L, chain [][]byte, prepare func(L) (T, error)) listed[T] {
	return listed[T]{chain, sync.OnceValues(func() (T, error) { return prepare(listing) })}
}

// usable gives those that can be used, and what is wrong with one that cannot.
func usable[T any](all []listed[T]) (out []T, problem error) {
	for _, l := range all {
		v, err := l.get()
		if err != nil {
			problem = err
			continue
		}
		out = append(out, v)
	}
	return out, problem
}

// rekor is a transparency log.
type rekor struct {
	sigbox.TransparencyLog
	host string
	key  crypto.PublicKey
	// v1 and v2 check checkpoints; v2 fails when the base URL names no host, v1 when
	// the key is of a type that checkpoints are not signed with.
	v1, v2 func() (*note.Verifier, error)
	// checkpoints that were signed by one of them, by the SHA-256 of version and
	// text.
	checkpoints cache[[sha256.Size]byte, sigbox.Checkpoint]
}

// ctLog is a certificate log.
type ctLog struct {
	sigbox.TransparencyLog
	key crypto.PublicKey
}

// stamper is a timestamp authority.
type stamper struct {
	*timestamp.Authority
	name, operator string
}

// prepare indexes a root. At least one of those who decide about a bundle must be
// usable; demands stay, whatever is.
func prepare(r *sigbox.TrustedRoot, d sigbox.Demands, derived bool, parsed *Parsed) (*root, error) {
	p := &root{demands: d, derived: derived, logs: make(map[string][]listed[*rekor], len(r.Logs)), ctLogs: make(map[string][]listed[*ctLog], len(r.CTLogs))}
	for _, l := range r.Logs {
		p.logs[string(l.LogID)] = append(p.logs[string(l.LogID)], list(l, nil, parsed.newRekor))
	}
	for _, l := range r.CTLogs {
		p.ctLogs[string(l.LogID)] = append(p.ctLogs[string(l.LogID)], list(l, nil, parsed.newCTLog))
	}
	for _, ca := range r.CertificateAuthorities {
		p.authorities = append(p.authorities, list(ca, ca.Chain, parsed.newAuthority))
	}
	for _, ca := range r.TimestampAuthorities {
		p.stampers = append(p.stampers, list(ca, nil, parsed.newStamper))
	}
	return p, p.check(r)
}

// check looks for a log or an authority that can be used. Without any the root
// would demand nothing, and so accept whatever a key has signed.
func (r *root) check(listing *sigbox.TrustedRoot) error {
	problem := error(sigbox.Errorf(sigbox.Invalid, "it lists nobody to trust"))
	try := func(err error) bool {
		if err != nil {
			problem = sigbox.Errorf(sigbox.Invalid, "nothing in it can be used: %w", err)
		}
		return err == nil
	}
	for _, l := range listing.Logs {
		for _, log := range r.logs[string(l.LogID)] {
			if _, err := log.get(); try(err) {
				return nil
			}
		}
	}
	for _, a := range r.authorities {
		if _, err := a.get(); try(err) {
			return nil
		}
	}
	for _, s := range r.stampers {
		if _, err := s.get(); try(err) {
			return nil
		}
	}
	return problem
}

// newCTLog prepares a certificate log.
func (p *Parsed) newCTLog(l sigbox.TransparencyLog) (*ctLog, error) {
	if len(l.LogID) != sha256.Size {
		return nil, sigbox.Mismatch(sigbox.Invalid, "certificate log "+l.BaseURL+": bytes of the log ID", sha256.Size, len(l.LogID))
	}
	key, err := p.key(l.PublicKey)
	if err != nil {
		return nil, err
	}
	return &ctLog{l, key}, nil
}

// newStamper prepares a timestamp authority.
func (p *Parsed) newStamper(ca sigbox.CertificateAuthority) (*stamper, error) {
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
func (p *Parsed) newRekor(l sigbox.TransparencyLog) (*rekor, error) {
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
		TransparencyLog: l, host: host, key: key, checkpoints: newCache[[sha256.Size]byte, sigbox.Checkpoint](rememberChecks),
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
func nameOf(ca sigbox.CertificateAuthority) string {
	if ca.URI != "" {
		return ca.URI
	}
	return strings.TrimSpace(ca.Organization + " " + ca.CommonName)
}

// issuers gives the authorities that a certificate may be of. Those that do not
// even hold its issuer's name are not parsed. The problem is of one that is listed
// and cannot be used, if any.
func (r *root) issuers(c *x509.Certificate) (out []path, problem error) {
	for _, l := range r.authorities {
		if !slices.ContainsFunc(l.chain, func(der []byte) bool { return bytes.Contains(der, c.RawIssuer) }) {
			continue
		}
		a, err := l.get()
		if err != nil {
			problem = err
			continue
		}
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
