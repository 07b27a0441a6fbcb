package main

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/crypto/cryptobyte"
	"golang.org/x/crypto/cryptobyte/asn1"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/wire/cert"
	"github.com/sigbox/sigbox/wire/entry"
	"github.com/sigbox/sigbox/wire/note"
)

// state says what a verifier knows when it meets a bundle.
type state int

const (
	cold state = iota // nothing
	warm              // the authorities' own certificates; this one is new
	seen              // this very bundle
)

func (s state) String() string { return [...]string{"cold", "warm", "seen"}[s] }

// check is one signature that a bundle stands on, ready to be checked: it is over a
// message, which is hashed as part of the check, by a key that is parsed.
type check struct {
	key     crypto.PublicKey
	hash    crypto.Hash
	message []byte
	sig     []byte
	// until is the last state in which it is needed: what a verifier may know
	// before is not checked again.
	until state
}

func (c *check) good() bool {
	if k, pure := c.key.(ed25519.PublicKey); pure {
		return ed25519.Verify(k, c.message, c.sig)
	}
	h := c.hash.New()
	h.Write(c.message)
	digest := h.Sum(nil)
	switch k := c.key.(type) {
	case *ecdsa.PublicKey:
		return ecdsa.VerifyASN1(k, digest, c.sig)
	case *rsa.PublicKey:
		return rsa.VerifyPKCS1v15(k, c.hash, digest, c.sig) == nil
	}
	return false
}

func (c *check) name() string {
	return fmt.Sprintf("%v %x %x", c.key, c.message, c.sig)
}

// gatherer collects the checks that bundles need, each but once.
type gatherer struct {
	root *sigbox.TrustedRoot
	list []check
	have map[string]bool
}

func newGatherer(root *sigbox.TrustedRoot) *gatherer {
	return &gatherer{root: root, have: make(map[string]bool)}
}

// add makes sure that the check is a real one, and takes it.
func (g *gatherer) add(what string, key crypto.PublicKey, hash crypto.Hash, message, sig []byte, until state) error {
	c := check{key: key, hash: hash, message: message, sig: sig, until: until}
	if !c.good() {
		return fmt.Errorf("%s: the signature does not verify", what)
	}
	if !g.have[c.name()] {
		g.have[c.name()] = true
		g.list = append(g.list, c)
	}
	return nil
}

// needed gives those of a state.
func (g *gatherer) needed(s state) (out []check) {
	for _, c := range g.list {
		if c.until >= s {
			out = append(out, c)
		}
	}
	return out
}

// bundle adds all checks that a bundle stands on.
func (g *gatherer) bundle(b *sigbox.Bundle, artifact []byte) error {
	if len(b.Certificates) == 0 {
		return errors.New("a bundle without a certificate")
	}
	leaf, err := x509.ParseCertificate(b.Certificates[0])
	if err != nil {
		return err
	}
	if err := g.certificate(leaf); err != nil {
		return err
	}
	for i := range b.Entries {
		if err := g.entry(&b.Entries[i]); err != nil {
			return err
		}
	}
	message := artifact
	var signature []byte
	if b.Message != nil {
		signature = b.Message.Signature
	} else {
		message, signature = sigbox.PAE(b.Envelope.PayloadType, b.Envelope.Payload), b.Envelope.Signatures[0].Signature
	}
	for _, resp := range b.Timestamps {
		if err := g.timestamp(resp); err != nil {
			return err
		}
	}
	details, err := sigbox.DetailsOf(leaf.PublicKey)
	if err != nil {
		return err
	}
	return g.add("artifact", leaf.PublicKey, details.Hash().Crypto(), message, signature, seen)
}

// certificate adds the leaf's signature, those above it, and the SCTs.
func (g *gatherer) certificate(leaf *x509.Certificate) error {
	for _, ca := range g.root.CertificateAuthorities {
		chain, err := parseChain(ca.Chain)
		if err != nil {
			return err
		}
		if string(chain[0].RawSubject) != string(leaf.RawIssuer) || string(chain[0].SubjectKeyId) != string(leaf.AuthorityKeyId) {
			continue
		}
		if err := g.signedBy(leaf, chain[0], warm); err != nil {
			return err
		}
		if err := g.path(chain); err != nil {
			return err
		}
		return g.scts(leaf, chain[0])
	}
	return errors.New("the trust root does not list the certificate's authority")
}

// path adds the signatures of a chain, all but the anchor's own.
func (g *gatherer) path(chain []*x509.Certificate) error {
	for i := range chain[1:] {
		if err := g.signedBy(chain[i], chain[i+1], cold); err != nil {
			return err
		}
	}
	return nil
}

func (g *gatherer) signedBy(c, parent *x509.Certificate, until state) error {
	var hash crypto.Hash
	switch c.SignatureAlgorithm {
	case x509.ECDSAWithSHA256, x509.SHA256WithRSA:
		hash = crypto.SHA256
	case x509.ECDSAWithSHA384, x509.SHA384WithRSA:
		hash = crypto.SHA384
	case x509.ECDSAWithSHA512, x509.SHA512WithRSA:
		hash = crypto.SHA512
	}
	return g.add("certificate", parent.PublicKey, hash, c.RawTBSCertificate, c.Signature, until)
}

func (g *gatherer) scts(leaf, issuer *x509.Certificate) error {
	scts, err := cert.SCTList(leaf)
	if err != nil {
		return err
	}
	tbs, err := cert.PrecertTBS(leaf.Raw)
	if err != nil {
		return err
	}
	for _, s := range scts {
		for _, l := range g.root.CTLogs {
			if string(l.LogID) != string(s.LogID[:]) {
				continue
			}
			key, err := sigbox.ParsePublicKey(l.PublicKey)
			if err != nil {
				return err
			}
			input := cert.SCTInput(s, sha256.Sum256(issuer.RawSubjectPublicKeyInfo), tbs)
			if err := g.add("SCT", key, crypto.SHA256, input, s.Signature, warm); err != nil {
				return err
			}
		}
	}
	return nil
}

// entry adds a log's promise and checkpoint.
func (g *gatherer) entry(le *sigbox.LogEntry) error {
	for _, l := range g.root.Logs {
		if string(l.LogID) != string(le.LogID) {
			continue
		}
		key, err := sigbox.ParsePublicKey(l.PublicKey)
		if err != nil {
			return err
		}
		if len(le.SignedEntryTimestamp) > 0 {
			if err := g.add("promise", key, crypto.SHA256, entry.SETPayload(le), le.SignedEntryTimestamp, seen); err != nil {
				return err
			}
		}
		if le.Inclusion == nil || le.Inclusion.Checkpoint == "" {
			return nil
		}
		_, sigs, err := note.Parse(le.Inclusion.Checkpoint)
		if err != nil {
			return err
		}
		text, _, _ := strings.Cut(le.Inclusion.Checkpoint, "\n\n")
		for _, s := range sigs {
			if s.Hash == binary.BigEndian.Uint32(l.LogID) {
				return g.add("checkpoint", key, crypto.SHA256, []byte(text+"\n"), s.Bytes, warm)
			}
		}
	}
	return errors.New("the trust root does not list the entry's log")
}

// timestamp adds a token's signature and the chain of its authority.
func (g *gatherer) timestamp(resp []byte) error {
	hash, attributes, sig, ok := splitToken(resp)
	if !ok {
		return errors.New("the timestamp does not parse")
	}
	for _, ca := range g.root.TimestampAuthorities {
		chain, err := parseChain(ca.Chain)
		if err != nil {
			return err
		}
		if g.add("timestamp", chain[0].PublicKey, hash, attributes, sig, seen) == nil {
			return g.path(chain)
		}
	}
	return errors.New("the trust root does not list the timestamp's authority")
}

// splitToken gives what is signed in a TimeStampResp, and the signature (RFC 3161
// §2.4.2, RFC 5652 §5): signed attributes are signed under the tag of a SET.
func splitToken(resp []byte) (hash crypto.Hash, attributes, sig []byte, ok bool) {
	in := cryptobyte.String(resp)
	var s, signed, digest, oid, attrs, value cryptobyte.String
	ok = in.ReadASN1(&s, asn1.SEQUENCE) && s.SkipASN1(asn1.SEQUENCE) &&
		s.ReadASN1(&s, asn1.SEQUENCE) && s.SkipASN1(asn1.OBJECT_IDENTIFIER) &&
		s.ReadASN1(&s, asn1.Tag(0).ContextSpecific().Constructed()) && s.ReadASN1(&signed, asn1.SEQUENCE) &&
		signed.SkipASN1(asn1.INTEGER) && signed.SkipASN1(asn1.SET) && signed.SkipASN1(asn1.SEQUENCE) &&
		signed.SkipOptionalASN1(asn1.Tag(0).ContextSpecific().Constructed()) &&
		signed.ReadASN1(&s, asn1.SET) && s.ReadASN1(&s, asn1.SEQUENCE) &&
		s.SkipASN1(asn1.INTEGER) && s.ReadAnyASN1(&value, new(asn1.Tag)) &&
		s.ReadASN1(&digest, asn1.SEQUENCE) && digest.ReadASN1(&oid, asn1.OBJECT_IDENTIFIER) &&
		s.ReadASN1(&attrs, asn1.Tag(0).ContextSpecific().Constructed()) &&
		s.SkipASN1(asn1.SEQUENCE) && s.ReadASN1(&value, asn1.OCTET_STRING)
	if !ok {
		return 0, nil, nil, false
	}
	// 2.16.840.1.101.3.4.2.x: 1 is SHA-256, 2 SHA-384, 3 SHA-512.
	hash = map[byte]crypto.Hash{1: crypto.SHA256, 2: crypto.SHA384, 3: crypto.SHA512}[oid[len(oid)-1]]
	var b cryptobyte.Builder
	b.AddASN1(asn1.SET, func(b *cryptobyte.Builder) { b.AddBytes(attrs) })
	attributes, err := b.Bytes()
	return hash, attributes, value, hash != 0 && err == nil
}

func parseChain(der [][]byte) ([]*x509.Certificate, error) {
	chain := make([]*x509.Certificate, len(der))
	for i := range der {
		var err error
		if chain[i], err = x509.ParseCertificate(der[i]); err != nil {
			return nil, err
		}
	}
	if len(chain) == 0 {
		return nil, errors.New("an authority without certificates")
	}
	return chain, nil
}
