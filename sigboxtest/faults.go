package sigboxtest

import (
	"bytes"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/wire/cert"
	"github.com/sigbox/sigbox/wire/note"
)

// Fault is one thing that is wrong with a bundle; all else about it is right, as
// far as that can be: whoever forges has the keys of one service, or none.
type Fault struct {
	// Name says what is wrong, in words with hyphens.
	Name  string
	stage stage
	needs needs
	do    func(f *forge)
}

// stage is when a fault happens.
type stage uint8

const (
	atCertificate stage = iota + 1 // the certificate's template is ready
	atPayload                      // payload and its type are ready
	atSignature                    // what is to be signed is ready
	atEntry                        // what the entry says is ready
	atBody                         // the entry is encoded
	atProof                        // the entry is logged
	atTimestamp                    // what is to be timestamped is ready
	atBundle                       // the bundle is whole
)

// needs says which bundles a fault can happen to.
type needs uint8

const (
	certificate needs = 1 << iota
	message
	envelope
	entryV1
	entryV2
	stamped
	oldVersion
	recomputed // a v2 hashedrekord

	entryAny = entryV1 | entryV2
)

// Possible reports whether a fault can happen to a bundle with these options, which
// [World.Sign] makes of a message and [World.Attest] of an envelope.
func (f Fault) Possible(o Options, isEnvelope bool) bool {
	v2 := o.Kind != "none" && !o.v1()
	has := map[needs]bool{
		certificate: o.Key == nil, message: !isEnvelope, envelope: isEnvelope, stamped: !o.NoTimestamp,
		oldVersion: o.Version == 1 || o.Version == 2, recomputed: o.Kind == "" || o.Kind == "hashedrekord 0.0.2",
	}
	for need, yes := range has {
		if f.needs&need != 0 && !yes {
			return false
		}
	}
	return f.needs&entryAny == 0 || f.needs&entryV1 != 0 && o.v1() || f.needs&entryV2 != 0 && v2
}

// FaultNamed finds a fault. It panics on an unknown name: tests name them.
func FaultNamed(name string) Fault {
	all := Faults()
	i := slices.IndexFunc(all, func(f Fault) bool { return f.Name == name })
	if i < 0 {
		panic("sigboxtest: no fault " + name)
	}
	return all[i]
}

// Faults are all that this package knows.
func Faults() []Fault {
	return slices.Concat(formFaults(), logFaults(), proofFaults(), timestampFaults(), certificateFaults(), sctFaults(), signatureFaults(), statementFaults())
}

// flip changes a copy of b.
func flip(b []byte) []byte {
	b = bytes.Clone(b)
	b[len(b)/2] ^= 0x10
	return b
}

func formFaults() []Fault {
	return []Fault{
		{"empty-signature", atBundle, message, func(f *forge) { f.b.Message.Signature = nil }},
		{"two-signatures", atBundle, envelope, func(f *forge) {
			f.b.Envelope.Signatures = append(f.b.Envelope.Signatures, f.b.Envelope.Signatures[0])
		}},
		{"no-signatures", atBundle, envelope, func(f *forge) { f.b.Envelope.Signatures = nil }},
		{"no-content", atBundle, 0, func(f *forge) { f.b.Message, f.b.Envelope = nil, nil }},
		{"two-contents", atBundle, 0, func(f *forge) {
			f.b.Message = &sigbox.MessageSignature{Signature: f.signature}
			f.b.Envelope = &sigbox.Envelope{PayloadType: sigbox.InTotoPayloadType, Signatures: []sigbox.EnvelopeSignature{{Signature: f.signature}}}
		}},
		{"endless-entries", atBundle, entryAny, func(f *forge) { f.b.Entries = slices.Repeat(f.b.Entries, 33) }},
		{"endless-timestamps", atBundle, stamped, func(f *forge) { f.b.Timestamps = slices.Repeat(f.b.Timestamps, 33) }},
		{"version-of-tomorrow", atBundle, 0, func(f *forge) { f.b.Version = 4 }},
		{"empty-certificate", atBundle, certificate, func(f *forge) { f.b.Certificates = [][]byte{{}} }},
		{"negative-index", atBundle, entryAny, func(f *forge) { f.b.Entries[0].LogIndex = -1 }},
		{"negative-tree", atBundle, entryAny, func(f *forge) { f.b.Entries[0].Inclusion.TreeSize = -1 }},
	}
}

func logFaults() []Fault {
	return []Fault{
		{"no-entry", atBundle, entryAny, func(f *forge) { f.b.Entries = nil }},
		{"entry-in-unknown-log", atEntry, entryAny, func(f *forge) {
			if f.log = f.other().v2; f.o.v1() {
				f.log = f.other().v1
				f.promiseKey = f.log.key
			}
		}},
		{"entry-of-other-signature", atEntry, entryAny, func(f *forge) { f.claim.signature = flip(f.signature) }},
		{"entry-of-other-certificate", atEntry, entryAny | certificate, func(f *forge) { f.claim.verifier = f.ca.cert.Raw }},
		{"entry-of-key-for-certificate", atEntry, entryAny | certificate, func(f *forge) { f.claim.verifier, f.claim.isKey = f.spki(f.key.Public()), true }},
		{"entry-of-other-artifact", atEntry, entryAny | message, func(f *forge) { f.claim.digest.Value = flip(f.claim.digest.Value) }},
		{"entry-of-other-statement", atEntry, entryAny | envelope, func(f *forge) {
			f.claim.payload, f.claim.digest.Value = append(f.claim.payload, ' '), flip(f.claim.digest.Value)
		}},
		{"entry-of-other-algorithm", atEntry, entryV2, func(f *forge) { f.claim.details = sigbox.RSAPKCS1v15With4096 }},
		{"entry-of-other-kind", atProof, entryAny, func(f *forge) { f.entry.Kind = "rekord" }},
		{"entry-of-other-version", atProof, entryAny, func(f *forge) { f.entry.Version = "0.0.9" }},
		{"entry-malformed", atBody, entryAny, func(f *forge) { f.body = f.body[:len(f.body)-1] }},
		{"entry-with-duplicate-member", atBody, entryAny, func(f *forge) {
			f.body = bytes.Replace(f.body, []byte(`"kind"`), []byte(`"kind":"","kind"`), 1)
		}},
		{"entry-not-canonical", atBody, recomputed, func(f *forge) { f.body = append(f.body, ' ') }},
		{"promise-of-other-key", atEntry, entryV1, func(f *forge) { f.promiseKey = f.other().v1.key }},
		{"promise-of-other-time", atProof, entryV1, func(f *forge) { f.entry.IntegratedTime++ }},
		{"promise-of-other-index", atProof, entryV1, func(f *forge) { f.entry.LogIndex++ }},
		{"promise-before-log", atEntry, entryV1, func(f *forge) { f.promisedAt = Now().AddDate(-1, 0, 0) }},
		{"promise-by-v2-log", atProof, entryV2, func(f *forge) { f.entry.IntegratedTime, f.entry.SignedEntryTimestamp = Now().Unix(), f.signature }},
	}
}

func proofFaults() []Fault {
	return []Fault{
		{"no-proof", atProof, entryAny, func(f *forge) { f.entry.Inclusion, f.entry.SignedEntryTimestamp = nil, nil }},
		{"proof-of-other-leaf", atProof, entryAny, func(f *forge) { f.entry.Inclusion.Hashes[0] = flip(f.entry.Inclusion.Hashes[0]) }},
		{"proof-too-long", atProof, entryAny, func(f *forge) {
			f.entry.Inclusion.Hashes = append(f.entry.Inclusion.Hashes, f.entry.Inclusion.RootHash)
		}},
		{"proof-empty", atProof, entryAny, func(f *forge) { f.entry.Inclusion.Hashes = nil }},
		{"proof-with-short-hash", atProof, entryAny, func(f *forge) { f.entry.Inclusion.Hashes[0] = f.entry.Inclusion.Hashes[0][:31] }},
		{"proof-of-other-index", atProof, entryAny, func(f *forge) { f.entry.Inclusion.LogIndex-- }},
		{"proof-of-other-root", atProof, entryAny, func(f *forge) { f.entry.Inclusion.RootHash = flip(f.entry.Inclusion.RootHash) }},
		{"checkpoint-of-other-key", atProof, entryAny, func(f *forge) { f.checkpoint(f.other().log(f), func(*sigbox.Checkpoint) {}) }},
		{"checkpoint-of-other-root", atProof, entryAny, func(f *forge) {
			f.checkpoint(f.log, func(cp *sigbox.Checkpoint) { cp.Root[0] ^= 1 })
		}},
		{"checkpoint-of-other-size", atProof, entryAny, func(f *forge) {
			f.checkpoint(f.log, func(cp *sigbox.Checkpoint) { cp.Size++ })
		}},
		{"checkpoint-of-other-origin", atProof, entryV2, func(f *forge) {
			f.checkpoint(f.log, func(cp *sigbox.Checkpoint) { cp.Origin = "elsewhere.example" })
		}},
		{"checkpoint-changed", atProof, entryAny, func(f *forge) {
			p := f.entry.Inclusion
			p.Checkpoint = strings.Replace(p.Checkpoint, fmt.Sprintf("\n%d\n", p.TreeSize), fmt.Sprintf("\n%d\n", p.TreeSize+1), 1)
		}},
		{"checkpoint-unsigned", atProof, entryAny, func(f *forge) {
			p := f.entry.Inclusion
			p.Checkpoint = p.Checkpoint[:strings.Index(p.Checkpoint, "\n\n")+2]
		}},
	}
}

// log gives the world's log of the kind that f uses.
func (w *World) log(f *forge) *log {
	if f.o.v1() {
		return w.v1
	}
	return w.v2
}

// checkpoint has another checkpoint signed by by.
func (f *forge) checkpoint(by *log, change func(*sigbox.Checkpoint)) {
	p := f.entry.Inclusion
	cp, _, err := note.Parse(p.Checkpoint)
	f.must(err)
	change(&cp)
	p.Checkpoint, err = note.Sign(cp, by.signer)
	f.must(err)
}

func timestampFaults() []Fault {
	return []Fault{
		{"timestamp-of-other-signature", atTimestamp, stamped, func(f *forge) { f.stampOver = flip(f.signature) }},
		{"timestamp-of-artifact", atTimestamp, stamped, func(f *forge) { f.stampOver = f.signed }},
		{"timestamp-malformed", atBundle, stamped, func(f *forge) { f.b.Timestamps[0] = f.b.Timestamps[0][:len(f.b.Timestamps[0])-1] }},
		{"timestamp-changed", atBundle, stamped, func(f *forge) {
			last := f.b.Timestamps[0]
			last[len(last)-5] ^= 1 // in the signature
		}},
		{"timestamp-by-namesake", atTimestamp, stamped, func(f *forge) { f.tsa = f.other().tsa }},
		{"timestamp-before-authority", atTimestamp, stamped, func(f *forge) { f.stampedAt = Now().AddDate(0, -7, 0) }},
		{"timestamp-before-certificate", atTimestamp, stamped | certificate, func(f *forge) { f.stampedAt = Now().Add(-time.Hour) }},
		{"timestamp-after-certificate", atTimestamp, stamped | certificate, func(f *forge) { f.stampedAt = Now().Add(time.Hour) }},
		{"no-time", atBundle, certificate | entryV2, func(f *forge) { f.b.Timestamps = nil }},
	}
}

func certificateFaults() []Fault {
	change := func(name string, do func(f *forge)) Fault { return Fault{name, atCertificate, certificate, do} }
	by := func(name string, issuer func(f *forge) *issuer) Fault {
		return change(name, func(f *forge) { f.issuer = issuer(f) })
	}
	return []Fault{
		by("issuer-unknown", func(f *forge) *issuer { return f.issue(f.authority("nobody"), nil) }),
		by("issuer-by-namesake", func(f *forge) *issuer { return f.other().ca }),
		by("issuer-forged", func(f *forge) *issuer {
			// The name and the key ID of the authority, and another key.
			namesake, key := *f.ca.cert, f.Key(sigbox.ECDSAP256SHA256)
			namesake.PublicKey = key.Public()
			return &issuer{&namesake, key}
		}),
		by("issuer-expired", func(f *forge) *issuer { return f.expired }),
		by("issuer-retired", func(f *forge) *issuer { return f.retired }),
		by("issuer-for-other-use", func(f *forge) *issuer { return f.foreignUse }),
		by("issuer-too-deep", func(f *forge) *issuer { return f.tooDeep }),
		change("certificate-expired", func(f *forge) { f.template.NotAfter = Now().Add(-time.Second) }),
		change("certificate-not-yet-valid", func(f *forge) { f.template.NotBefore = Now().Add(time.Second) }),
		change("certificate-of-authority", func(f *forge) {
			f.template.IsCA, f.template.BasicConstraintsValid = true, true
			f.template.KeyUsage |= x509.KeyUsageCertSign
		}),
		change("certificate-for-other-use", func(f *forge) { f.template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} }),
		change("certificate-for-any-use", func(f *forge) { f.template.ExtKeyUsage = nil }),
		change("certificate-not-for-signing", func(f *forge) { f.template.KeyUsage = x509.KeyUsageKeyEncipherment }),
		change("certificate-with-unknown-extension", func(f *forge) {
			f.template.ExtraExtensions = append(f.template.ExtraExtensions, pkix.Extension{Id: asn1.ObjectIdentifier{1, 3, 9999, 1}, Critical: true, Value: []byte{5, 0}})
		}),
		change("certificate-for-nobody", func(f *forge) { f.template.ExtraExtensions = nil }),
		change("precertificate", func(f *forge) {
			f.noSCT = true
			f.template.ExtraExtensions = append(f.template.ExtraExtensions, cert.Poison())
		}),
		{"certificate-malformed", atBundle, certificate, func(f *forge) { f.b.Certificates[0] = f.b.Certificates[0][:len(f.der)-1] }},
		{"certificate-brings-root", atBundle, certificate | oldVersion, func(f *forge) { f.b.Certificates = append(f.b.Certificates, f.root.cert.Raw) }},
	}
}

func sctFaults() []Fault {
	change := func(name string, do func(f *forge)) Fault { return Fault{name, atCertificate, certificate, do} }
	return []Fault{
		change("no-sct", func(f *forge) { f.noSCT = true }),
		change("sct-of-unknown-log", func(f *forge) { f.ctKey, f.ctID = f.other().ct.key, f.other().ct.id }),
		change("sct-of-other-key", func(f *forge) { f.ctKey = f.other().ct.key }),
		change("sct-of-other-certificate", func(f *forge) { f.sctTBS = flip }),
		change("sct-of-other-issuer", func(f *forge) { f.sctIssuer = f.root.cert.RawSubjectPublicKeyInfo }),
		change("sct-malformed", func(f *forge) {
			f.noSCT = true
			f.template.ExtraExtensions = append(f.template.ExtraExtensions, pkix.Extension{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 11129, 2, 4, 2}, Value: []byte{4, 0}})
		}),
		change("sct-out-of-range", func(f *forge) { f.sctTime = time.UnixMilli(-1) }), // 2⁶⁴-1
		change("sct-before-log", func(f *forge) { f.sctTime = Now().AddDate(-1, 0, 0) }),
	}
}

func signatureFaults() []Fault {
	return []Fault{
		{"signature-of-other-key", atSignature, 0, func(f *forge) { f.signWith = f.Key(f.o.Details) }},
		{"signature-of-other-artifact", atSignature, 0, func(f *forge) { f.toSign = append(bytes.Clone(f.signed), '!') }},
		{"claim-of-other-artifact", atBundle, message, func(f *forge) { f.b.Message.Digest.Value = flip(f.b.Message.Digest.Value) }},
	}
}

func statementFaults() []Fault {
	payload := func(name string, change func(payload []byte) []byte) Fault {
		return Fault{name, atPayload, envelope, func(f *forge) { f.payload = change(f.payload) }}
	}
	replace := func(from, to string) func([]byte) []byte {
		return func(b []byte) []byte { return bytes.Replace(b, []byte(from), []byte(to), 1) }
	}
	return []Fault{
		{"payload-of-other-type", atPayload, envelope, func(f *forge) { f.payloadType = "text/plain" }},
		payload("payload-no-json", func([]byte) []byte { return []byte("hello") }),
		payload("payload-cut", func(b []byte) []byte { return b[:len(b)-1] }),
		payload("payload-with-more-behind", func(b []byte) []byte { return append(bytes.Clone(b), "{}"...) }),
		payload("statement-of-other-type", replace("https://in-toto.io/Statement/v1", "https://in-toto.io/Statement/v9")),
		payload("statement-in-other-case", replace(`"_type"`, `"_Type"`)),
		payload("statement-with-duplicate-member", replace(`"_type"`, `"predicateType":"https://example.com/other","_type"`)),
		payload("statement-without-predicate-type", replace(`"predicateType"`, `"predicateTypes"`)),
		payload("statement-without-subject", replace(`"subject"`, `"subjects"`)),
		payload("statement-without-digest", replace(`"sha256"`, `"sha255"`)),
		payload("statement-of-other-artifact", func(b []byte) []byte {
			i := bytes.Index(b, []byte(`"sha256":"`)) + len(`"sha256":"`)
			b = bytes.Clone(b)
			b[i] = "0123456789abcdef"[(bytes.IndexByte([]byte("0123456789abcdef"), b[i])+1)%16]
			return b
		}),
		payload("statement-of-endless-subjects", replace(`"subject":[`, `"subject":[`+strings.Repeat(`{"digest":{"sha256":"00"}},`, 1024))),
		payload("statement-of-endless-digests", func(b []byte) []byte {
			var more strings.Builder
			for i := range 32 {
				fmt.Fprintf(&more, `"x%d":"00",`, i)
			}
			return replace(`"sha256"`, more.String()+`"sha256"`)(b)
		}),
	}
}
