package sigboxtest

import (
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"time"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/wire/cert"
)

// Options say how a bundle is signed. The zero value is an ordinary bundle of
// today: a certificate for [DefaultIdentity] on ECDSA P-256, Rekor v2, one
// timestamp.
type Options struct {
	Identity sigbox.Identity
	// Details is the signature algorithm.
	Details sigbox.KeyDetails
	// Key signs, without a certificate.
	Key crypto.Signer
	// CertifiedKey signs, with a certificate for it; nil is a new key.
	CertifiedKey crypto.Signer
	// Kind of the log entry, as in "dsse 0.0.1". Empty is "hashedrekord 0.0.2";
	// "none" is no entry. Kinds of Rekor v1 are "hashedrekord 0.0.1", "dsse 0.0.1"
	// and "intoto 0.0.2".
	Kind string
	// NoTimestamp leaves the timestamp out.
	NoTimestamp bool
	// Twice has the log record the signature twice, and the authority timestamp it
	// twice: evidence of the same operators. Faults happen to the first.
	Twice bool
	// Version of the bundle: 1, 2 or 3; 0 is 3.
	Version int
	// Fault is done to the bundle; its zero value is none. One that is not
	// [Fault.Possible] with the options ends the test.
	Fault Fault
}

// v1 reports whether the entry goes to the v1 log.
func (o Options) v1() bool {
	return o.Kind == "hashedrekord 0.0.1" || o.Kind == "dsse 0.0.1" || o.Kind == "intoto 0.0.2"
}

// Statement makes an in-toto statement about artifacts, by their SHA-256.
func Statement(predicateType string, artifacts ...[]byte) []byte {
	type subject struct {
		Name   string            `json:"name"`
		Digest map[string]string `json:"digest"`
	}
	s := struct {
		Type          string    `json:"_type"`
		Subject       []subject `json:"subject"`
		PredicateType string    `json:"predicateType"`
		Predicate     any       `json:"predicate"`
	}{Type: "https://in-toto.io/Statement/v1", PredicateType: predicateType, Predicate: map[string]any{}}
	for _, a := range artifacts {
		s.Subject = append(s.Subject, subject{"artifact", map[string]string{"sha256": sigbox.SHA256.Sum(a).Hex()}})
	}
	b, err := json.Marshal(s)
	if err != nil {
		panic(err) // strings in structs
	}
	return b
}

// Sign signs an artifact.
func (w *World) Sign(artifact []byte, o Options) *sigbox.Bundle {
	w.tb.Helper()
	return (&forge{World: w, o: o, signed: artifact}).bundle()
}

// Attest signs a statement in a DSSE envelope.
func (w *World) Attest(statement []byte, o Options) *sigbox.Bundle {
	w.tb.Helper()
	return (&forge{World: w, o: o, payload: statement, payloadType: sigbox.InTotoPayloadType}).bundle()
}

// forge makes one bundle. Before each stage the fault may change what the stage
// works with.
type forge struct {
	*World
	o Options

	// The certificate.
	template  *x509.Certificate
	issuer    *issuer
	key       crypto.Signer
	ctKey     crypto.Signer
	ctID      [32]byte
	sctTime   time.Time
	sctIssuer []byte // SubjectPublicKeyInfo that the SCT is for
	sctTBS    func(tbs []byte) []byte
	noSCT     bool
	der       []byte // the certificate, or the SPKI of a key

	// The signature.
	payload     []byte // of the envelope, nil for a message
	payloadType string
	signed      []byte // artifact or PAE
	toSign      []byte // the same, unless a fault has it otherwise
	signWith    crypto.Signer
	signature   []byte

	// The log entry.
	claim      claim
	body       []byte
	log        *log
	promiseKey crypto.Signer
	promisedAt time.Time
	entry      sigbox.LogEntry

	// The timestamp.
	tsa       *stamper
	stampedAt time.Time
	stampOver []byte

	b *sigbox.Bundle
}

func (f *forge) bundle() *sigbox.Bundle {
	f.tb.Helper()
	if f.o.Details == 0 {
		f.o.Details = sigbox.ECDSAP256SHA256
	}
	if f.o.Kind == "" {
		f.o.Kind = "hashedrekord 0.0.2"
	}
	if f.o.Version == 0 {
		f.o.Version = 3
	}
	if fault := f.o.Fault; fault.do != nil && !fault.Possible(f.o, f.payload != nil) {
		f.tb.Fatalf("sigboxtest: the fault %s cannot happen to such a bundle: Fault.Possible says to which it can", fault.Name)
	}
	f.certificate()
	f.sign()
	f.record()
	f.timestamp()
	f.assemble()
	return f.b
}

// at lets the fault do its work, if this is its stage.
func (f *forge) at(s stage) {
	if f.o.Fault.stage == s {
		f.o.Fault.do(f)
	}
}

// certificate has the signer's key certified, with an SCT.
func (f *forge) certificate() {
	if f.o.Key != nil {
		f.key, f.der = f.o.Key, f.spki(f.o.Key.Public())
		return
	}
	id := f.o.Identity
	if id == (sigbox.Identity{}) {
		id = DefaultIdentity()
	}
	extensions, err := cert.Extensions(id)
	f.must(err)
	if f.key = f.o.CertifiedKey; f.key == nil {
		f.key = f.Key(f.o.Details)
	}
	f.template = &x509.Certificate{
		SerialNumber: f.serial(), NotBefore: Now().Add(-time.Minute), NotAfter: Now().Add(9 * time.Minute),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning},
		ExtraExtensions: extensions,
	}
	f.issuer, f.ctKey, f.ctID, f.sctTime = f.ca, f.ct.key, f.ct.id, Now()
	f.sctTBS = func(tbs []byte) []byte { return tbs }
	f.at(atCertificate)
	if f.sctIssuer == nil {
		f.sctIssuer = f.issuer.cert.RawSubjectPublicKeyInfo
	}
	if !f.noSCT {
		f.template.ExtraExtensions = append(f.template.ExtraExtensions, f.sct())
	}
	f.der = f.certify(f.template, f.issuer, f.key.Public()).Raw
}

// sct has the precertificate promised by the certificate log.
func (f *forge) sct() pkix.Extension {
	pre := *f.template
	pre.ExtraExtensions = append(pre.ExtraExtensions[:len(pre.ExtraExtensions):len(pre.ExtraExtensions)], cert.Poison())
	tbs, err := cert.PrecertTBS(f.certify(&pre, f.issuer, f.key.Public()).Raw)
	f.must(err)
	s := cert.SCT{LogID: f.ctID, Timestamp: uint64(f.sctTime.UnixMilli()), Algorithm: cert.SHA256WithECDSA} // #nosec G115 -- after 1970
	digest := sigbox.SHA256.Sum(cert.SCTInput(s, [32]byte(sigbox.SHA256.Sum(f.sctIssuer).Value), f.sctTBS(tbs)))
	s.Signature, err = f.ctKey.Sign(rand.Reader, digest.Value, crypto.SHA256)
	f.must(err)
	encoded, err := s.Marshal()
	f.must(err)
	ext, err := cert.SCTListExtension(encoded)
	f.must(err)
	return ext
}

// sign signs artifact or envelope.
func (f *forge) sign() {
	f.signWith = f.key
	f.at(atPayload)
	if f.payload != nil {
		f.signed = sigbox.PAE(f.payloadType, f.payload)
	}
	f.claim.digest, f.toSign = f.hash().Sum(f.signed), f.signed
	f.at(atSignature)
	digest := f.toSign
	if h := f.o.Details.Hash(); h.Valid() {
		digest = h.Sum(f.toSign).Value
	}
	var err error
	f.signature, err = f.signWith.Sign(rand.Reader, digest, f.o.Details.SignerOpts())
	f.must(err)
}

// hash is what entries and claims name the artifact by.
func (f *forge) hash() sigbox.HashAlgorithm {
	if h := f.o.Details.Hash(); h.Valid() {
		return h
	}
	return sigbox.SHA256
}

// record has the signature logged.
func (f *forge) record() {
	if f.o.Kind == "none" {
		return
	}
	kind, version := f.o.Kind[:len(f.o.Kind)-6], f.o.Kind[len(f.o.Kind)-5:]
	f.claim.payload, f.claim.payloadType, f.claim.signature = f.payload, f.payloadType, f.signature
	f.claim.verifier, f.claim.isKey, f.claim.details = f.der, f.o.Key != nil, f.o.Details
	f.log = f.v2
	if f.o.v1() {
		f.log, f.promiseKey, f.promisedAt = f.v1, f.v1.key, Now()
	}
	f.at(atEntry)
	f.body = f.claim.body(kind, version)
	f.at(atBody)
	f.entry = f.logged(kind, version)
	f.at(atProof)
}

// logged has the log take the entry.
func (f *forge) logged(kind, version string) sigbox.LogEntry {
	proof, err := f.log.add(f.body)
	f.must(err)
	le := sigbox.LogEntry{LogIndex: proof.LogIndex, LogID: f.log.id, Kind: kind, Version: version, Inclusion: proof, Body: f.body}
	if f.promiseKey != nil {
		le.LogIndex += 1000 // of shards before
		le.IntegratedTime = f.promisedAt.Unix()
		le.SignedEntryTimestamp, err = promise(f.promiseKey, &le)
		f.must(err)
	}
	return le
}

// timestamp has the signature timestamped.
func (f *forge) timestamp() {
	f.tsa, f.stampedAt, f.stampOver = f.World.tsa, Now(), f.signature
	f.at(atTimestamp)
}

// stamped has the authority make a timestamp.
func (f *forge) stamped() []byte {
	token, err := f.tsa.stamp(f.stampOver, f.stampedAt, f.serial())
	f.must(err)
	return token
}

// again adds what log and authority say when they are asked a second time.
func (f *forge) again() {
	if len(f.b.Entries) > 0 {
		f.b.Entries = append(f.b.Entries, f.logged(f.entry.Kind, f.entry.Version))
	}
	if len(f.b.Timestamps) > 0 {
		f.b.Timestamps = append(f.b.Timestamps, f.stamped())
	}
}

func (f *forge) assemble() {
	f.b = &sigbox.Bundle{MediaType: "application/vnd.dev.sigstore.bundle.v0.3+json", Version: f.o.Version}
	if f.o.Key == nil {
		f.b.Certificates = [][]byte{f.der}
	} else {
		f.b.KeyHint = b64(sigbox.SHA256.Sum(f.der).Value)
	}
	if f.o.Kind != "none" {
		f.b.Entries = []sigbox.LogEntry{f.entry}
	}
	if !f.o.NoTimestamp {
		f.b.Timestamps = [][]byte{f.stamped()}
	}
	if f.o.Twice {
		f.again()
	}
	if f.payload == nil {
		f.b.Message = &sigbox.MessageSignature{Digest: f.hash().Sum(f.signed), Signature: f.signature}
	} else {
		f.b.Envelope = &sigbox.Envelope{PayloadType: f.payloadType, Payload: f.payload, Signatures: []sigbox.EnvelopeSignature{{Signature: f.signature}}}
	}
	f.at(atBundle)
}
