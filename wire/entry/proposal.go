package entry

import (
	"bytes"
	"cmp"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"slices"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/wire/internal/protojson"
)

// Proposal is an entry as a client proposes it to a v1 log: what the entry will
// say, and what is needed to check that once. It is made by [ParseProposal].
type Proposal struct {
	// Body is what the entry will say.
	Body
	// Payload is that of the envelope (dsse and intoto; nil otherwise). Its hash
	// alone is logged.
	Payload []byte

	leaf      []byte
	verifiers []verifier // one for each of Signatures
	offer     *offer     // dsse, until it is matched
	verified  bool       // matching has shown it
}

// Leaf gives what a v1 log stores and hashes: the entry in canonical JSON (RFC
// 8785), at most [MaxLeafSize] bytes. It is not to be changed.
func (p *Proposal) Leaf() []byte { return p.leaf }

// ParseProposal reads what a client posts to a v1 log: {apiVersion, kind, spec} of
// hashedrekord 0.0.1, dsse 0.0.1, intoto 0.0.2 or rfc3161 0.0.1. What a log could
// fetch from a URL is refused, as is all else that these kinds do not have. It
// checks the shape; [Proposal.Verify] checks keys and signatures. Of a dsse entry
// with several signatures or verifiers it finds the verifier of each signature,
// since the leaf depends on that. What would cost too many signature checks is
// refused before they are made.
//
// Errors are of kind Invalid, TooLarge beyond [MaxProposalSize], or NotVerified
// for a signature of such a dsse entry.
//
// Sources: the JSON schemas of sigstore/rekor, pkg/types.
func ParseProposal(b []byte) (*Proposal, error) {
	p := new(Proposal)
	left := budget(maxChecks)
	if err := read("proposed entry", b, MaxProposalSize, func(r reader) error { return r.proposal(p, &left) }); err != nil {
		return nil, err
	}
	return p, nil
}

// AppendProposal appends the hashedrekord 0.0.1 that a client posts to a v1 log for
// e, whose members stand as they do in the leaf.
func AppendProposal(dst []byte, e sigbox.Entry) []byte {
	v := verifier{key: e.PublicKey}
	if e.Certificate != nil {
		v.chain = [][]byte{e.Certificate}
	}
	return appendHashedRekord(dst, e.Digest, e.Signature, v.appendPEM(nil))
}

// appendHashedRekord appends a hashedrekord 0.0.1 in canonical JSON.
func appendHashedRekord(b []byte, d sigbox.Digest, sig, pem []byte) []byte {
	b = append(b, `{"apiVersion":"0.0.1","kind":"hashedrekord","spec":{"data":{"hash":`...)
	b = appendHexDigest(b, d)
	b = append(b, `},"signature":{"content":`...)
	b = appendBase64(b, sig)
	b = append(b, `,"publicKey":{"content":`...)
	b = appendBase64(b, pem)
	return append(b, "}}}}"...)
}

// proposal reads {apiVersion, kind, spec}, in any order: clients write the kind
// last, and the spec's schema hangs on it. What the entry costs is taken from left.
func (r reader) proposal(p *Proposal, left *budget) error {
	var spec []byte
	err := r.Object(func(name string) (err error) {
		switch name {
		case "apiVersion":
			return r.string(&p.Version, 64)
		case "kind":
			return r.string(&p.Kind, 64)
		}
		spec, err = r.Raw()
		spec = bytes.Clone(spec)
		return err
	}, "apiVersion", "kind", "spec")
	if err != nil {
		return err
	}
	if spec == nil || p.Kind == "" || p.Version == "" {
		return r.Errorf("expected apiVersion, kind and spec")
	}
	if err := read("proposed entry: spec", spec, MaxProposalSize, p.readSpec); err != nil {
		return err
	}
	if err := left.take(p.checks()); err != nil {
		return err
	}
	if err := p.match(); err != nil {
		return err
	}
	if len(p.leaf) > MaxLeafSize {
		return leafTooLarge(len(p.leaf))
	}
	return nil
}

// budget is how many signature checks a request may still cost.
type budget int

// take takes n checks away. The error is of kind Invalid when there are not as many.
func (b *budget) take(n int) error {
	if n > int(*b) {
		return sigbox.Errorf(sigbox.Invalid, "the request may cost more than %d signature checks, which is the most that are made for one: each signature of an envelope is tried with each of its verifiers, and each chain is followed", maxChecks).
			WithHint("give an envelope the verifiers of its signatures alone, with short chains, and ask for fewer entries at once")
	}
	*b -= budget(n)
	return nil
}

// checks is how many signature checks reading and verifying p costs at most. Its
// shape says that: no key and no certificate has been parsed yet.
func (p *Proposal) checks() int {
	vs, tried := p.verifiers, 1
	if p.offer != nil {
		vs, tried = p.offer.verifiers, len(p.offer.signatures)
	}
	n := 0
	for i := range vs {
		n += vs[i].checks(tried, len(p.Payload))
	}
	return max(n, 1) // a timestamp has one
}

// checks is what it costs to follow v's chain and to try v for some signatures over
// a message of size bytes.
func (v *verifier) checks(signatures, size int) int {
	der, links := v.key, 0
	if len(v.chain) > 0 {
		der, links = v.chain[0], len(v.chain)-1
	}
	one := 1
	if bytes.Contains(der, ed25519Info()) {
		one += size / hashedPerCheck
	}
	return links + signatures*one
}

// ed25519Info is how the SubjectPublicKeyInfo of every Ed25519 key begins (RFC 8410
// §4), after its outer header. Such keys hash the whole message for each signature.
func ed25519Info() []byte { return []byte{0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 3, 33, 0} }

// readSpec reads the spec of p's kind and makes the leaf, but for dsse, whose
// signatures have to find their verifiers first.
func (p *Proposal) readSpec(r reader) error {
	switch p.Kind + " " + p.Version {
	case "hashedrekord 0.0.1":
		return p.readHashedRekord(r)
	case "dsse 0.0.1":
		return p.readDSSE(r)
	case "intoto 0.0.2":
		return p.readInToto(r)
	case "rfc3161 0.0.1":
		return p.readTimestamp(r)
	}
	return sigbox.Errorf(sigbox.Invalid, "entries of kind %.40q, version %.40q are not taken", p.Kind, p.Version).
		WithHint("propose hashedrekord 0.0.1, dsse 0.0.1, intoto 0.0.2 or rfc3161 0.0.1")
}

// readHashedRekord reads {data:{hash}, signature:{content, publicKey:{content}}}.
func (p *Proposal) readHashedRekord(r reader) error {
	var sig []byte
	var v verifier
	err := r.Object(func(name string) error {
		if name == "data" {
			return r.Object(func(string) error { return r.hexDigest(&p.Digest) }, "hash")
		}
		return r.Object(func(name string) (err error) {
			if name == "content" {
				sig, err = r.Bytes(MaxLeafSize)
				return err
			}
			return r.Object(func(string) error { return r.proposedVerifier(&v) }, "content")
		}, "content", "publicKey")
	}, "data", "signature")
	switch {
	case err != nil:
		return err
	case p.Digest.IsZero():
		return r.Errorf("the hash of what was signed is missing")
	case len(sig) == 0:
		return r.Errorf("the signature is missing")
	case v.isZero():
		return r.Errorf("the public key or certificate is missing")
	}
	p.sign(sig, v)
	p.leaf = appendHashedRekord(make([]byte, 0, 320+(len(sig)+len(v.pem)+4)/3*4), p.Digest, sig, v.pem)
	return nil
}

// sign adds a signature to what the entry says.
func (p *Proposal) sign(sig []byte, v verifier) {
	p.Signatures = append(p.Signatures, v.signature(sig))
	p.verifiers = append(p.verifiers, v)
}

// begin begins the leaf, up to the members of the spec.
func (p *Proposal) begin() []byte {
	b := make([]byte, 0, 2048)
	b = append(b, `{"apiVersion":`...)
	b = appendText(b, p.Version)
	b = append(b, `,"kind":`...)
	b = appendText(b, p.Kind)
	return append(b, `,"spec":{`...)
}

// readDSSE reads {proposedContent:{envelope, verifiers}}; the envelope is JSON in a
// string, and it is its text that the entry has the hash of.
func (p *Proposal) readDSSE(r reader) error {
	var text string
	var vs []verifier
	err := r.Object(func(name string) error {
		if name != "proposedContent" {
			return r.Errorf("the log makes this of the proposedContent")
		}
		return r.Object(func(name string) error {
			if name == "envelope" {
				return r.string(&text, MaxProposalSize)
			}
			return r.Array(maxProposedSignatures, func() error {
				vs = append(vs, verifier{})
				return r.proposedVerifier(&vs[len(vs)-1])
			})
		}, "envelope", "verifiers")
	}, "proposedContent", "envelopeHash", "payloadHash", "signatures")
	if err != nil {
		return err
	}
	var e proposedEnvelope
	if err := read("proposed entry: DSSE envelope", []byte(text), MaxProposalSize, e.read); err != nil {
		return err
	}
	if len(e.signatures) == 0 || len(vs) == 0 {
		return r.Errorf("a dsse entry has a signature and its verifier, found %d and %d", len(e.signatures), len(vs))
	}
	p.Payload, p.PayloadType = e.payload, e.payloadType
	p.PayloadDigest, p.EnvelopeDigest = sigbox.SHA256.Sum(e.payload), sigbox.SHA256.Sum([]byte(text))
	// Canonical order: by the text of the signatures.
	slices.SortFunc(e.signatures, func(a, b proposedSignature) int { return cmp.Compare(a.text, b.text) })
	p.offer = &offer{e.signatures, vs}
	return nil
}

// offer is what a dsse entry comes with: signatures in canonical order, and
// verifiers in any.
type offer struct {
	signatures []proposedSignature
	verifiers  []verifier
}

// match makes the leaf of what was offered, if anything was.
func (p *Proposal) match() error {
	o := p.offer
	if o == nil {
		return nil
	}
	p.offer = nil
	if len(o.signatures) == 1 && len(o.verifiers) == 1 { // it is that one, or none: Verify says which
		p.sign(o.signatures[0].sig, o.verifiers[0])
	} else if err := p.pair(o.signatures, o.verifiers); err != nil {
		return err
	}
	p.leaf = p.dsseLeaf(o.signatures)
	return nil
}

// pair finds the verifier of each signature. Any may be that of any, so what costs
// much is done once: reading a key, with the chain above it, and hashing the message.
func (p *Proposal) pair(signatures []proposedSignature, vs []verifier) error {
	keys := make([]crypto.PublicKey, len(vs))
	for j := range vs {
		var err error
		if keys[j], err = vs[j].publicKey(); err != nil {
			return err
		}
	}
	message := signedMessage{text: sigbox.PAE(p.PayloadType, p.Payload)}
	for i := range signatures {
		j := slices.IndexFunc(keys, func(pub crypto.PublicKey) bool { return message.verify(pub, signatures[i].sig) == nil })
		if j < 0 {
			return sigbox.Errorf(sigbox.NotVerified, "none of the verifiers verifies signature %d of the envelope", i)
		}
		p.sign(signatures[i].sig, vs[j])
	}
	p.verified = true
	return nil
}

func (p *Proposal) dsseLeaf(signatures []proposedSignature) []byte {
	b := p.begin()
	b = append(b, `"envelopeHash":`...)
	b = appendHexDigest(b, p.EnvelopeDigest)
	b = append(b, `,"payloadHash":`...)
	b = appendHexDigest(b, p.PayloadDigest)
	b = append(b, `,"signatures":[`...)
	for i := range signatures {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, `{"signature":`...)
		b = appendText(b, signatures[i].text)
		b = append(b, `,"verifier":`...)
		b = appendBase64(b, p.verifiers[i].pem)
		b = append(b, '}')
	}
	return append(b, "]}}"...)
}

// proposedEnvelope is a DSSE envelope on its way into a log.
//
// Source: https://github.com/secure-systems-lab/dsse, envelope.md.
type proposedEnvelope struct {
	payload     []byte
	payloadType string
	signatures  []proposedSignature
}

// proposedSignature is a signature of an envelope. Its text is logged as it came.
type proposedSignature struct {
	keyID string
	text  string // padded base64 of sig, in the standard alphabet
	sig   []byte
	key   verifier // intoto
}

// read reads the JSON of an envelope.
func (e *proposedEnvelope) read(r reader) error {
	err := r.ObjectAsNamed(func(name string) error {
		switch name {
		case "payload":
			return r.bytes(&e.payload)
		case "payloadType":
			return r.string(&e.payloadType, maxPayloadType)
		}
		return e.readSignatures(r, func(s *proposedSignature) error {
			return r.ObjectAsNamed(func(name string) error {
				if name == "keyid" {
					return r.string(&s.keyID, maxKeyID)
				}
				return r.string(&s.text, MaxLeafSize)
			}, "keyid", "sig")
		})
	}, "payload", "payloadType", "signatures")
	if err == nil && e.payloadType == "" {
		return r.Errorf("the envelope's payloadType is missing")
	}
	return err
}

// readSignatures reads a list of signatures, each by one, none twice.
func (e *proposedEnvelope) readSignatures(r reader, one func(s *proposedSignature) error) error {
	return r.Array(maxProposedSignatures, func() error {
		var s proposedSignature
		err := one(&s)
		if err != nil {
			return err
		}
		if s.sig, err = base64.StdEncoding.Strict().DecodeString(s.text); err != nil || len(s.sig) == 0 {
			return r.Errorf("expected a signature in padded base64")
		}
		if base64.StdEncoding.EncodedLen(len(s.sig)) != len(s.text) { // package base64 passes over line ends
			return r.Errorf("expected a signature in base64 without line ends")
		}
		for i := range e.signatures {
			if e.signatures[i].text == s.text {
				return r.Errorf("the signature stands twice")
			}
		}
		e.signatures = append(e.signatures, s)
		return nil
	})
}

// readInToto reads {content:{envelope:{payload, payloadType, signatures}, hash,
// payloadHash}}; payload and signatures are base64 of base64. The hash is of an
// encoding of the envelope that the client alone knows: it is logged as claimed.
func (p *Proposal) readInToto(r reader) error {
	var e proposedEnvelope
	var claimed sigbox.Digest
	err := r.Object(func(string) error {
		return r.Object(func(name string) error {
			switch name {
			case "hash":
				return r.hexDigest(&p.EnvelopeDigest)
			case "payloadHash":
				return r.hexDigest(&claimed)
			}
			return e.readInToto(r)
		}, "envelope", "hash", "payloadHash")
	}, "content")
	switch {
	case err != nil:
		return err
	case e.payload == nil || e.payloadType == "" || len(e.signatures) == 0:
		return r.Errorf("expected an envelope with payload, payloadType and signatures")
	case p.EnvelopeDigest.Algorithm != sigbox.SHA256:
		return r.Errorf("expected the hash of the envelope, by SHA-256")
	}
	p.Payload, p.PayloadType, p.PayloadDigest = e.payload, e.payloadType, sigbox.SHA256.Sum(e.payload)
	if !claimed.IsZero() && !claimed.Equal(p.PayloadDigest) {
		return sigbox.Mismatch(sigbox.Invalid, "the payloadHash is not the payload's", p.PayloadDigest, claimed)
	}
	for _, s := range e.signatures {
		p.sign(s.sig, s.key)
	}
	p.leaf = p.inTotoLeaf(&e)
	return nil
}

// readInToto reads {payload, payloadType, signatures:[{keyid, publicKey, sig}]}.
func (e *proposedEnvelope) readInToto(r reader) error {
	return r.Object(func(name string) error {
		switch name {
		case "payload":
			var inner []byte
			err := r.bytes(&inner)
			if err == nil {
				if e.payload, err = protojson.DecodeBase64(inner); err != nil {
					err = r.Errorf("expected base64 of base64: %v", err)
				}
			}
			return err
		case "payloadType":
			return r.string(&e.payloadType, maxPayloadType)
		}
		return e.readSignatures(r, func(s *proposedSignature) error {
			err := r.Object(func(name string) error {
				switch name {
				case "keyid":
					return r.string(&s.keyID, maxKeyID)
				case "publicKey":
					return r.proposedVerifier(&s.key)
				}
				inner, err := r.Bytes(MaxLeafSize)
				s.text = string(inner)
				return err
			}, "keyid", "publicKey", "sig")
			if err == nil && s.key.isZero() {
				return r.Errorf("the publicKey of a signature is missing")
			}
			return err
		})
	}, "payload", "payloadType", "signatures")
}

// inTotoLeaf keeps the signatures as they came, in their order, keys too.
func (p *Proposal) inTotoLeaf(e *proposedEnvelope) []byte {
	b := p.begin()
	b = append(b, `"content":{"envelope":{"payloadType":`...)
	b = appendText(b, e.payloadType)
	b = append(b, `,"signatures":[`...)
	for i, s := range e.signatures {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, '{')
		if s.keyID != "" {
			b = append(b, `"keyid":`...)
			b = appendText(b, s.keyID)
			b = append(b, ',')
		}
		b = append(b, `"publicKey":`...)
		b = appendBase64(b, s.key.text)
		b = append(b, `,"sig":`...)
		b = appendBase64(b, []byte(s.text))
		b = append(b, '}')
	}
	b = append(b, `]},"hash":`...)
	b = appendHexDigest(b, p.EnvelopeDigest)
	b = append(b, `,"payloadHash":`...)
	b = appendHexDigest(b, p.PayloadDigest)
	return append(b, "}}}"...)
}

// readTimestamp reads {tsr:{content}}.
func (p *Proposal) readTimestamp(r reader) error {
	if err := r.timestamp(&p.Body); err != nil {
		return err
	}
	if len(p.Timestamp) == 0 {
		return r.Errorf("the timestamp is missing")
	}
	b := p.begin()
	b = append(b, `"tsr":{"content":`...)
	b = appendBase64(b, p.Timestamp)
	p.leaf = append(b, "}}}"...)
	return nil
}

// Verify checks that each key or certificate can be read and that each signature
// is its. Whom a certificate names, and when it is valid, is not a log's business;
// a chain above it must lead from one to the next. What a timestamp is signed with
// is not checked here. Errors are of kind Invalid for a key and NotVerified for a
// signature.
func (p *Proposal) Verify() error {
	if p.Kind == KindHashedRekord {
		return p.verifiers[0].verifyDigest(p.Digest, p.Signatures[0].Signature)
	}
	if len(p.Signatures) == 0 || p.verified {
		return nil
	}
	message := signedMessage{text: sigbox.PAE(p.PayloadType, p.Payload)}
	for i := range p.Signatures {
		pub, err := p.verifiers[i].publicKey()
		if err != nil {
			return err
		}
		if err := message.verify(pub, p.Signatures[i].Signature); err != nil {
			return err
		}
	}
	return nil
}

// verifier is what verifies a signature of a v1 entry.
type verifier struct {
	key   []byte   // DER SubjectPublicKeyInfo, or
	chain [][]byte // DER certificates, the signer's first
	text  []byte   // the PEM that they came in
	pem   []byte   // what a log makes of it; set by proposedVerifier
}

func (v *verifier) isZero() bool { return v.key == nil && v.chain == nil }

// signature gives a signature by v.
func (v *verifier) signature(sig []byte) BodySignature {
	s := BodySignature{Signature: sig, PublicKey: v.key}
	if len(v.chain) > 0 {
		s.Certificate = v.chain[0]
	}
	return s
}

// proposedVerifier reads base64 of PEM with nothing around it but white space.
func (r reader) proposedVerifier(v *verifier) (err error) {
	if *v, err = r.pemVerifier(MaxLeafSize); err != nil {
		return err
	}
	if v.isZero() {
		return r.Errorf("expected PEM, found nothing")
	}
	v.pem = v.appendPEM(nil)
	if !bytes.Equal(v.text, v.pem) && !bytes.Equal(withoutSpace(v.text), withoutSpace(v.pem)) {
		return r.Errorf("expected PEM with nothing before, between and after its blocks")
	}
	return nil
}

func withoutSpace(b []byte) []byte { return bytes.Join(bytes.Fields(b), nil) }

// publicKey parses v and gives its key.
func (v *verifier) publicKey() (crypto.PublicKey, error) {
	if v.key == nil {
		return v.certified()
	}
	pub, err := sigbox.ParsePublicKey(v.key)
	if err != nil {
		return nil, err
	}
	if der, err := x509.MarshalPKIXPublicKey(pub); err != nil || !bytes.Equal(der, v.key) {
		return nil, sigbox.Errorf(sigbox.Invalid, "public key: not in the one encoding that keys have (RFC 5280 §4.1.2.7)")
	}
	return pub, nil
}

// certified gives the key of the first certificate, when the chain above it holds.
// The chain's last is taken as its anchor: it only has to be in order.
func (v *verifier) certified() (crypto.PublicKey, error) {
	chain := make([]*x509.Certificate, len(v.chain))
	for i, der := range v.chain {
		c, err := sigbox.ParseCertificate(der)
		if err != nil {
			return nil, sigbox.Errorf(sigbox.Invalid, "certificate %d of the chain: %w", i, err)
		}
		chain[i] = c
	}
	for i, parent := range chain[1:] {
		if err := chain[i].CheckSignatureFrom(parent); err != nil {
			return nil, sigbox.Errorf(sigbox.Invalid, "certificate %d of the chain is not signed by the next one: %s", i, sigbox.DescribeX509(err))
		}
	}
	return chain[0].PublicKey, nil
}

// verifyDigest checks a signature over a digest.
func (v *verifier) verifyDigest(d sigbox.Digest, sig []byte) error {
	pub, err := v.publicKey()
	if err != nil {
		return err
	}
	algorithms := algorithmsOf(pub)
	if len(algorithms) == 0 {
		return noAlgorithm(pub)
	}
	for _, k := range algorithms {
		if k.Hash() == d.Algorithm {
			return k.VerifyDigest(pub, d.Value, sig)
		}
	}
	return sigbox.Errorf(sigbox.Invalid, "a signature of a %s digest by a key that is %s cannot be logged", d.Algorithm, sigbox.DescribeKey(pub)).
		WithHint("sign with the hash of the key's size; an Ed25519 key signs SHA-512 digests (Ed25519ph)")
}

// signedMessage is a message with several signatures. It is hashed once by each
// algorithm, however many there are.
type signedMessage struct {
	text    []byte
	digests map[sigbox.HashAlgorithm][]byte
}

// verify checks a signature over the message by a key.
func (m *signedMessage) verify(pub crypto.PublicKey, sig []byte) error {
	algorithms := algorithmsOf(pub)
	if len(algorithms) == 0 {
		return noAlgorithm(pub)
	}
	var err error
	for _, k := range algorithms {
		if k == sigbox.Ed25519ph {
			continue
		}
		if err = m.verifyBy(k, pub, sig); err == nil {
			return nil
		}
	}
	return err
}

func (m *signedMessage) verifyBy(k sigbox.KeyDetails, pub crypto.PublicKey, sig []byte) error {
	if k == sigbox.Ed25519 { // hashes the message with the signature
		return k.VerifyMessage(pub, m.text, sig)
	}
	return k.VerifyDigest(pub, m.digest(k.Hash()), sig)
}

func (m *signedMessage) digest(h sigbox.HashAlgorithm) []byte {
	if d, ok := m.digests[h]; ok {
		return d
	}
	if m.digests == nil {
		m.digests = make(map[sigbox.HashAlgorithm][]byte, 3)
	}
	m.digests[h] = h.Sum(m.text).Value
	return m.digests[h]
}

// algorithmsOf gives what a v1 log verifies with a key: entries do not name their
// algorithm. Rekor takes SHA-256 for all envelopes; what signs by the algorithm
// registry takes the hash of the curve. There is none for what cannot be logged.
func algorithmsOf(pub crypto.PublicKey) []sigbox.KeyDetails {
	switch k := pub.(type) {
	case *ecdsa.PublicKey:
		switch k.Curve {
		case elliptic.P256():
			return []sigbox.KeyDetails{sigbox.ECDSAP256SHA256}
		case elliptic.P384():
			return []sigbox.KeyDetails{sigbox.ECDSAP384SHA384, sigbox.ECDSAP384SHA256}
		case elliptic.P521():
			return []sigbox.KeyDetails{sigbox.ECDSAP521SHA512, sigbox.ECDSAP521SHA256}
		}
	case ed25519.PublicKey:
		return []sigbox.KeyDetails{sigbox.Ed25519, sigbox.Ed25519ph}
	case *rsa.PublicKey:
		if bits := k.N.BitLen(); 2048 <= bits && bits <= sigbox.MaxRSABits { // as CheckKey has it
			return []sigbox.KeyDetails{sigbox.RSAPKCS1Legacy}
		}
	}
	return nil
}

// noAlgorithm is the error for a key that algorithmsOf has nothing for.
func noAlgorithm(pub crypto.PublicKey) error {
	return sigbox.Errorf(sigbox.Invalid, "signatures by a key that is %s cannot be logged", sigbox.DescribeKey(pub)).
		WithHint("sign with ECDSA on P-256, P-384 or P-521, with Ed25519, or with RSA of 2048 to 8192 bits")
}
