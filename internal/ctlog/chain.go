package ctlog

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"time"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/wire/cert"
)

// maxChain bounds a submitted chain.
const maxChain = 8

// authority is a CA certificate of the instance, with what leads from it to its
// root.
type authority struct {
	cert    *x509.Certificate
	keyHash [sha256.Size]byte // SHA-256 of its SubjectPublicKeyInfo
	above   [][]byte          // the certificates that follow, the root last
}

// authorities are those whose certificates are logged. They are not changed.
type authorities struct {
	roots  [][]byte                   // DER
	issued map[fingerprint]*authority // by certificate: all that stand in a chain
}

// newAuthorities checks the chains of authorities.
func newAuthorities(chains [][][]byte) (*authorities, error) {
	a := &authorities{issued: map[fingerprint]*authority{}}
	for _, chain := range chains {
		if err := a.accept(chain); err != nil {
			return nil, err
		}
	}
	return a, nil
}

// accept takes an authority's chain into those whose certificates are logged.
func (a *authorities) accept(chain [][]byte) error {
	certs := make([]*x509.Certificate, len(chain))
	for i, der := range chain {
		var err error
		if certs[i], err = x509.ParseCertificate(der); err != nil {
			return sigbox.Errorf(sigbox.Invalid, "CT log, chain of an authority: certificate %d: %w", i+1, err)
		}
	}
	for i, c := range certs {
		parent := certs[min(i+1, len(certs)-1)]
		if err := checkIssued(c, parent); err != nil {
			return err
		}
		a.issued[sha256.Sum256(chain[i])] = newAuthority(c, chain[i+1:])
	}
	if len(chain) == 0 {
		return sigbox.Errorf(sigbox.Invalid, "CT log, chain of an authority: it is empty")
	}
	root := chain[len(chain)-1]
	for _, known := range a.roots {
		if bytes.Equal(known, root) {
			return nil
		}
	}
	a.roots = append(a.roots, root)
	return nil
}

func newAuthority(c *x509.Certificate, above [][]byte) *authority {
	return &authority{c, sha256.Sum256(c.RawSubjectPublicKeyInfo), above}
}

// checkIssued says whether parent, a CA, issued c.
func checkIssued(c, parent *x509.Certificate) error {
	if !bytes.Equal(c.RawIssuer, parent.RawSubject) {
		return sigbox.Errorf(sigbox.Invalid, "CT log: the certificate of %q names %q as its issuer, the chain goes on with %q", c.Subject, c.Issuer, parent.Subject)
	}
	if err := c.CheckSignatureFrom(parent); err != nil {
		return sigbox.Errorf(sigbox.Invalid, "CT log: the certificate of %q is not signed by %q, which follows it in the chain", c.Subject, parent.Subject).WithCause(err)
	}
	if c.NotBefore.Before(parent.NotBefore) || c.NotAfter.After(parent.NotAfter) {
		return sigbox.Errorf(sigbox.Invalid, "CT log: the certificate of %q is valid outside the time of its issuer %q", c.Subject, parent.Subject)
	}
	return nil
}

// submission is a chain that has been checked.
type submission struct {
	entry   cert.Entry // without timestamp and extensions
	issuers [][]byte   // DER, in the order of entry.Chain
}

// check wants a chain that begins with a certificate or a precertificate, as
// asked, and ends in a root of this instance; the root may be left out
// (RFC 6962 §3.1).
func (s *Service) check(chain [][]byte, precert bool) (*submission, error) {
	if len(chain) == 0 || len(chain) > maxChain {
		return nil, sigbox.Errorf(sigbox.Invalid, "CT log: expected a chain of 1 to %d certificates, found %d", maxChain, len(chain))
	}
	poisoned, err := cert.IsPrecert(chain[0])
	if err != nil {
		return nil, err
	}
	if poisoned != precert {
		return nil, sigbox.Mismatch(sigbox.Invalid, "CT log: the wrong kind of certificate", kindName(precert), kindName(poisoned)).
			WithHint("precertificates go to add-pre-chain, certificates to add-chain")
	}
	leaf, err := x509.ParseCertificate(chain[0])
	if err != nil {
		return nil, sigbox.Errorf(sigbox.Invalid, "CT log: the first certificate cannot be read: %w", err)
	}
	issuer, err := s.authorities.Load().issuerOf(chain[1:], leaf)
	if err != nil {
		return nil, err
	}
	if err := checkIssued(leaf, issuer.cert); err != nil {
		return nil, err
	}
	sub := &submission{entry: cert.Entry{Precert: precert, Certificate: chain[0]}}
	if precert {
		if sub.entry.Certificate, err = cert.PrecertTBS(chain[0]); err != nil {
			return nil, err
		}
		sub.entry.Precertificate, sub.entry.IssuerKeyHash = chain[0], issuer.keyHash
	}
	sub.issuers = append([][]byte{issuer.cert.Raw}, issuer.above...)
	for _, der := range sub.issuers {
		sub.entry.Chain = append(sub.entry.Chain, sha256.Sum256(der))
	}
	return sub, sub.entry.Check()
}

func kindName(precert bool) string {
	if precert {
		return "a precertificate"
	}
	return "a certificate"
}

// issuerOf finds the authority that a chain names for its leaf. The chain above
// an authority of this instance is known; another must lead to one.
func (a *authorities) issuerOf(chain [][]byte, leaf *x509.Certificate) (*authority, error) {
	if len(chain) == 0 {
		for _, root := range a.roots {
			if r := a.issued[sha256.Sum256(root)]; bytes.Equal(r.cert.RawSubject, leaf.RawIssuer) {
				return r, nil
			}
		}
		return nil, notOurs()
	}
	if known := a.issued[sha256.Sum256(chain[0])]; known != nil {
		return known, checkRest(chain[1:], known.above)
	}
	c, err := x509.ParseCertificate(chain[0])
	if err != nil {
		return nil, sigbox.Errorf(sigbox.Invalid, "CT log: a certificate of the chain cannot be read: %w", err)
	}
	above, err := a.issuerOf(chain[1:], c)
	if err != nil {
		return nil, err
	}
	if err := checkIssued(c, above.cert); err != nil {
		return nil, err
	}
	return newAuthority(c, append([][]byte{above.cert.Raw}, above.above...)), nil
}

// checkRest wants what a chain has behind a known authority to be what is known
// to be there, or a part of it.
func checkRest(rest, known [][]byte) error {
	if len(rest) > len(known) {
		return notOurs()
	}
	for i := range rest {
		if !bytes.Equal(rest[i], known[i]) {
			return notOurs()
		}
	}
	return nil
}

func notOurs() error {
	return sigbox.Errorf(sigbox.Invalid, "CT log: the chain does not end in a root of this instance").
		WithHint("get-roots lists those that are taken")
}

// key finds an entry again: it covers what the log signs, but for the time.
func (s *submission) key() [32]byte {
	h := sha256.New()
	if s.entry.Precert {
		h.Write([]byte{1})
		h.Write(s.entry.IssuerKeyHash[:])
	} else {
		h.Write([]byte{0})
	}
	h.Write(s.entry.Certificate)
	return [32]byte(h.Sum(nil))
}

// leaf gives what the tree and the data tile hold for the entry at its place.
func (s *submission) leaf(index uint64, now time.Time) (leaf, entry []byte) {
	e := s.entry
	e.Timestamp = millis(now)
	e.Extensions = leafIndex(index)
	return e.MerkleTreeLeaf(), e.AppendTileLeaf(nil)
}

// millis is RFC 6962's time: milliseconds since 1970.
func millis(t time.Time) uint64 {
	return uint64(max(t.UnixMilli(), 0))
}

// leafIndex is the leaf_index extension (static-ct-api, SCT Extension). Beyond
// its 40 bits, more entries than any log has had, there would be none.
func leafIndex(index uint64) []byte {
	ext, err := cert.LeafIndexExtension(index)
	if err != nil {
		return nil
	}
	return ext
}
