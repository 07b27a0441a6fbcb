package verify

import (
	"bytes"
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"net/url"
	"strings"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/wire/note"
	"github.com/sigbox/sigbox/wire/timestamp"
)

// root is a trust root, parsed and indexed.
type root struct {
	demands     sigbox.Demands
	authorities []*authority
	logs        map[string][]*rekor // by log ID
	ctLogs      map[[sha256.Size]byte][]*ctLog
	stampers    []*stamper
}

// rekor is a transparency log.
type rekor struct {
	sigbox.TransparencyLog
	host string
	key  crypto.PublicKey
	// v1 and v2 check checkpoints; v2 is nil when the base URL names no host, v1
	// when the key is of a type that checkpoints are not signed with.
	v1, v2 *note.Verifier
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

// prepare parses a root. What cannot be used is left out; demands stay.
func prepare(r *sigbox.TrustedRoot, d sigbox.Demands) (*root, error) {
	p := &root{demands: d, logs: make(map[string][]*rekor), ctLogs: make(map[[sha256.Size]byte][]*ctLog)}
	var problem error
	note := func(err error) bool {
		if err != nil && problem == nil {
			problem = err
		}
		return err == nil
	}
	usable := 0
	for _, l := range r.Logs {
		if log, err := newRekor(l); note(err) {
			p.logs[string(l.LogID)] = append(p.logs[string(l.LogID)], log)
			usable++
		}
	}
	for _, l := range r.CTLogs {
		if key, err := parseKey(l.PublicKey); note(err) && len(l.LogID) == sha256.Size {
			id := [sha256.Size]byte(l.LogID)
			p.ctLogs[id] = append(p.ctLogs[id], &ctLog{l, key})
		}
	}
	for _, ca := range r.CertificateAuthorities {
		if a, err := newAuthority(ca); note(err) {
			p.authorities = append(p.authorities, a)
			usable++
		}
	}
	for _, ca := range r.TimestampAuthorities {
		if a, err := timestamp.NewAuthority(ca); note(err) {
			p.stampers = append(p.stampers, &stamper{a, nameOf(ca), operator(ca.Operator, ca.URI)})
			usable++
		}
	}
	switch {
	case usable > 0:
	case problem != nil:
		return nil, sigbox.Errorf(sigbox.Invalid, "nothing in it can be used: %w", problem)
	default: // it would demand nothing, and so accept whatever a key has signed
		return nil, sigbox.Errorf(sigbox.Invalid, "it lists nobody to trust")
	}
	return p, nil
}

// newRekor prepares a transparency log.
func newRekor(l sigbox.TransparencyLog) (*rekor, error) {
	key, err := parseKey(l.PublicKey)
	if err != nil {
		return nil, err
	}
	if err := l.Details.CheckKey(key); err != nil {
		return nil, err
	}
	if l.HashAlgorithm != sigbox.SHA256 {
		return nil, sigbox.Mismatch(sigbox.Invalid, "log "+l.BaseURL+": hash of the tree", sigbox.SHA256, l.HashAlgorithm)
	}
	log := &rekor{TransparencyLog: l, host: hostOf(l.BaseURL), key: key, checkpoints: newCache[[sha256.Size]byte, sigbox.Checkpoint](rememberChecks)}
	if v, err := note.NewRekorV1Verifier(key); err == nil {
		log.v1 = v
	}
	if v, err := note.NewVerifier(log.host, key); err == nil {
		log.v2 = v
	}
	return log, nil
}

// same reports whether two listings are of one log.
func (l *rekor) same(o *rekor) bool {
	return l.host == o.host && bytes.Equal(l.PublicKey, o.PublicKey)
}

// parseKey reads a SubjectPublicKeyInfo, or the bare RSA key (PKCS #1) of the
// first logs.
func parseKey(der []byte) (crypto.PublicKey, error) {
	key, err := sigbox.ParsePublicKey(der)
	if err == nil {
		return key, nil
	}
	if rsa, rsaErr := x509.ParsePKCS1PublicKey(der); rsaErr == nil {
		return rsa, nil
	}
	return nil, err
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

// issuers gives the authorities that a certificate may be of.
func (r *root) issuers(c *x509.Certificate) []path {
	var out []path
	for _, a := range r.authorities {
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
	return out
}
