package verify

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strconv"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/wire/note"
)

// explanation is a list of checks in the making.
type explanation []Check

// add begins a check; its evidence is pairs of name and value.
func (x *explanation) add(s Step, found string, evidence ...string) {
	c := Check{Step: s, Found: found}
	for i := 0; i+1 < len(evidence); i += 2 {
		if evidence[i+1] != "" {
			c.Evidence = append(c.Evidence, Fact{evidence[i], evidence[i+1]})
		}
	}
	*x = append(*x, c)
}

// explain tells what was found, as far as the trial went.
func (t *trial) explain() []Check {
	var x explanation
	for _, e := range t.logged {
		e.explain(&x)
	}
	for _, s := range t.stamps {
		s.explain(&x)
	}
	if t.authority.authority != nil {
		t.explainCertificate(&x)
	}
	for _, p := range t.promises {
		x.add(StepSCT, "promised by "+p.log+" at "+stamp(p.at), "log ID", hex.EncodeToString(p.id[:]), "timestamp", strconv.FormatInt(p.at.UnixMilli(), 10)+" ms")
	}
	if t.algorithm != 0 {
		t.explainSignature(&x)
	}
	if t.statement != nil {
		t.explainStatement(&x)
	}
	return x
}

// explain tells of an entry's checks.
func (e logged) explain(x *explanation) {
	leaf := tlog.RecordHash(e.entry.Body)
	x.add(StepLog, fmt.Sprintf("%s has it at index %d", e.log.BaseURL, e.index()),
		"operator", e.log.Operator, "log ID", hex.EncodeToString(e.log.LogID), "key", fingerprint(e.log.PublicKey), "listed", period(e.log.ValidFor))
	x.add(StepEntry, e.body.Kind+" "+e.body.Version+" of this signature and signer",
		"leaf hash", hex.EncodeToString(leaf[:]), "leaf size", strconv.Itoa(len(e.entry.Body))+" bytes", "digest", digestText(e.body.Digest),
		"payload digest", digestText(e.body.PayloadDigest))
	if !e.at.IsZero() {
		x.add(StepPromise, "signed by the log at "+stamp(e.at),
			"integrated time", strconv.FormatInt(e.entry.IntegratedTime, 10), "log index", strconv.FormatInt(e.entry.LogIndex, 10))
	}
	p := e.entry.Inclusion
	if p == nil || p.Checkpoint == "" {
		return
	}
	x.add(StepInclusion, fmt.Sprintf("leaf %d in a tree of %d", p.LogIndex, p.TreeSize),
		"root hash", hex.EncodeToString(p.RootHash), "hashes in the proof", strconv.Itoa(len(p.Hashes)))
	// Of the checkpoint's text only what the log has signed: names and further lines of
	// signatures are anybody's.
	var origin, key string
	if cp, _, err := note.Parse(p.Checkpoint); err == nil {
		origin = cp.Origin
	}
	if v, err := e.log.verifier(isV2(e.entry)); err == nil {
		key = fmt.Sprintf("%08x", v.KeyHash())
	}
	x.add(StepCheckpoint, "signed by the log", "origin", origin, "key ID", key)
}

// explain tells of a timestamp.
func (w witness) explain(x *explanation) {
	c := w.Certificate()
	accuracy := ""
	if w.token.Accuracy > 0 {
		accuracy = w.token.Accuracy.String()
	}
	x.add(StepTimestamp, w.name+" vouches for "+stamp(w.token.Time),
		"serial number", w.token.SerialNumber().Text(16), "imprint", w.token.Digest.String(), "policy", w.token.Policy.String(), "accuracy", accuracy,
		"signed by", c.Subject.String(), "certificate", certificateFingerprint(c))
}

func (t *trial) explainCertificate(x *explanation) {
	c := t.signer.leaf.cert
	evidence := []string{
		"serial number", c.SerialNumber.Text(16), "certificate", certificateFingerprint(c), "key", fingerprint(c.RawSubjectPublicKeyInfo),
		"valid", stamp(c.NotBefore) + " to " + stamp(c.NotAfter),
	}
	for _, ca := range t.authority.certificates() {
		evidence = append(evidence, "issuer", ca.Subject.String(), "certificate", certificateFingerprint(ca))
	}
	times := "the trusted time"
	if len(t.times) > 1 {
		times = fmt.Sprintf("each of %d trusted times", len(t.times))
	}
	x.add(StepCertificate, fmt.Sprintf("issued by %s of %s, valid at %s", c.Issuer, t.authority.name, times), evidence...)
}

func (t *trial) explainSignature(x *explanation) {
	if l := t.signer.leaf; l != nil {
		evidence := []string{"subject", l.identity.Kind.String() + " " + l.identity.Subject, "issuer", l.identity.Issuer}
		for arc := range sigbox.MaxExtensionArc + 1 {
			if name, value := l.identity.Extensions.Field(arc); value != nil && *value != "" {
				evidence = append(evidence, name, *value)
			}
		}
		x.add(StepIdentity, describe(l.identity.Subject, l.identity.Issuer), evidence...)
	}
	over := "envelope's payload"
	if t.bundle.Envelope == nil {
		over = "artifact"
		x.add(StepArtifact, t.content.any().String())
	}
	algorithm, signature := t.algorithm.String(), base64.StdEncoding.EncodeToString(t.signature)
	if t.algorithm.Legacy() {
		algorithm += " (legacy: not to be signed with any more)"
	}
	if t.signer.leaf != nil {
		x.add(StepSignature, algorithm+" by the certificate's key, over the "+over, "signature", signature)
		return
	}
	x.add(StepSignature, algorithm+" by the key given, over the "+over, "signature", signature, "key", fingerprint(t.signer.spki))
}

func (t *trial) explainStatement(x *explanation) {
	payload := sigbox.SHA256.Sum(t.payload.text)
	x.add(StepStatement, "a statement of type "+t.statement.Type, "subjects", strconv.Itoa(len(t.statement.Subjects)), "payload digest", payload.String())
	x.add(StepPredicate, t.statement.PredicateType)
	for _, condition := range t.held {
		x.add(StepCondition, "it is true that "+condition)
	}
	if t.subject != nil {
		x.add(StepArtifact, fmt.Sprintf("%s is subject %q", t.content.any(), t.subject.Name))
	}
}

// fingerprint is the SHA-256 of a key or certificate in DER.
func fingerprint(der []byte) string {
	sum := sha256.Sum256(der)
	return "sha256:" + hex.EncodeToString(sum[:])
}

func certificateFingerprint(c *x509.Certificate) string { return fingerprint(c.Raw) }

func digestText(d sigbox.Digest) string {
	if d.IsZero() {
		return ""
	}
	return d.String()
}
