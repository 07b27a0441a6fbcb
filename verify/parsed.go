package verify

import (
	"bytes"
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"net/url"
	"strings"

	"github.com/sigbox/sigbox"
)

// rememberParsed is how many certificates, and how many keys, a [Parsed] holds.
const rememberParsed = 1024

// Parsed holds the certificates, keys and hosts of trust roots that were parsed. Verifiers
// that are given the same one, as those are that policies of different people are
// judged with, parse them but once between them. It says nothing about what was
// checked. It holds a bounded number, in memory of its own, and is safe for
// concurrent use. The zero value holds nothing yet.
type Parsed struct {
	certificates cache[[sha256.Size]byte, *x509.Certificate] // by the hash of their DER
	keys         cache[[sha256.Size]byte, crypto.PublicKey]
	hosts        cache[string, string] // by base URL
}

// chain gives the certificates of an authority.
func (p *Parsed) chain(ca *sigbox.CertificateAuthority) ([]*x509.Certificate, error) {
	chain := make([]*x509.Certificate, len(ca.Chain))
	for i, der := range ca.Chain {
		c, err := remember(&p.certificates, der, sigbox.ParseCertificate)
		if err != nil {
			return nil, sigbox.Errorf(sigbox.Invalid, "authority %.200q: certificate %d does not parse: %w", nameOf(ca), i, err)
		}
		chain[i] = c
	}
	return chain, nil
}

// key gives a key that a root lists.
func (p *Parsed) key(der []byte) (crypto.PublicKey, error) { return remember(&p.keys, der, parseKey) }

// host gives the host of a base URL, which may lack its scheme.
func (p *Parsed) host(base string) string {
	if host, ok := p.hosts.get(base); ok {
		return host
	}
	host := hostOf(base)
	p.hosts.put(strings.Clone(base), host, rememberParsed)
	return host
}

func hostOf(base string) string {
	if !strings.Contains(base, "://") {
		base = "//" + base
	}
	u, err := url.Parse(base)
	if err != nil {
		return ""
	}
	return strings.Clone(u.Hostname())
}

// operator gives the name that thresholds count by.
func (p *Parsed) operator(name, base string) string {
	if name != "" {
		return name
	}
	return p.host(base)
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

// remember parses what is not known, and remembers what parses.
func remember[T any](known *cache[[sha256.Size]byte, T], der []byte, parse func([]byte) (T, error)) (T, error) {
	hash := sha256.Sum256(der)
	if v, ok := known.get(hash); ok {
		return v, nil
	}
	v, err := parse(bytes.Clone(der)) // what is parsed holds parts of it, and outlives the root
	if err == nil {
		known.put(hash, v, rememberParsed)
	}
	return v, err
}
