package differential

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"time"

	"github.com/sigstore/sigstore-go/pkg/bundle"
	"github.com/sigstore/sigstore-go/pkg/root"
	peer "github.com/sigstore/sigstore-go/pkg/verify"
	"github.com/sigstore/sigstore/pkg/signature"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/verify"
	ours "github.com/sigbox/sigbox/wire/bundle"
	"github.com/sigbox/sigbox/wire/trust"
)

// question is one bundle that every judge is asked about: was this artifact signed
// by this identity, or by this key, as the trust root has it?
type question struct {
	name             string
	root             string // a trusted root, as text
	bundle, artifact []byte
	subject, issuer  string
	key              []byte // a DER SubjectPublicKeyInfo, instead of an identity
}

// pem gives the key as text, "" without one.
func (q *question) pem() string {
	if q.key == nil {
		return ""
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: q.key}))
}

// judge is one implementation. All are to demand the same: an entry in a log, a
// time that is vouched for, and for certificates an SCT.
type judge interface {
	name() string
	// knows reports whether questions of this kind can be put at all.
	knows(q *question) bool
	// judge gives nil for a bundle that is verified, and else the reason.
	judge(q *question) error
}

// crash is neither yes nor no.
type crash struct{ error }

// guard makes a panic one.
func guard(err *error) {
	if r := recover(); r != nil {
		*err = crash{fmt.Errorf("panic: %v", r)}
	}
}

// sigboxJudge is the library under test.
type sigboxJudge struct{ verifiers map[string]*verify.Verifier }

func (sigboxJudge) name() string         { return "sigbox" }
func (sigboxJudge) knows(*question) bool { return true }

func (j sigboxJudge) verifier(text string) (*verify.Verifier, error) {
	if v := j.verifiers[text]; v != nil {
		return v, nil
	}
	r, err := trust.ParseRoot([]byte(text))
	if err != nil {
		return nil, err
	}
	j.verifiers[text], err = verify.New(verify.Config{Roots: []*sigbox.TrustedRoot{r}})
	return j.verifiers[text], err
}

func (j sigboxJudge) judge(q *question) (err error) {
	defer guard(&err)
	v, err := j.verifier(q.root)
	if err != nil {
		return crash{err}
	}
	b, err := ours.Parse(q.bundle)
	if err != nil {
		return err
	}
	policy := sigbox.Policy{PredicateTypes: []string{sigbox.AnyPredicateType}, Demands: sigbox.Demands{LogEntries: 1, Times: 1}}
	if q.key != nil {
		policy.Keys = []sigbox.PublicKey{{Key: q.key}}
	} else {
		policy.Identities = []sigbox.IdentityMatch{{Subject: q.subject, Issuer: q.issuer}}
	}
	_, err = v.Verify(verify.Bytes(q.artifact), b, policy)
	return err
}

// goJudge is sigstore-go, used as its documentation tells.
type goJudge struct{ roots map[string]*root.TrustedRoot }

func (goJudge) name() string         { return "sigstore-go" }
func (goJudge) knows(*question) bool { return true }

func (j goJudge) judge(q *question) (err error) {
	defer guard(&err)
	trusted := j.roots[q.root]
	if trusted == nil {
		if trusted, err = root.NewTrustedRootFromJSON([]byte(q.root)); err != nil {
			return crash{err}
		}
		j.roots[q.root] = trusted
	}
	b := new(bundle.Bundle)
	if err := b.UnmarshalJSON(q.bundle); err != nil {
		return err
	}
	demands := []peer.VerifierOption{peer.WithTransparencyLog(1), peer.WithObserverTimestamps(1)}
	var material root.TrustedMaterial = trusted
	var who peer.PolicyOption
	if q.key != nil {
		key, err := expiringKey(q.key)
		if err != nil {
			return err // a point off its curve, for one
		}
		byAnyHint := func(string) (root.TimeConstrainedVerifier, error) { return key, nil }
		material = root.TrustedMaterialCollection{trusted, root.NewTrustedPublicKeyMaterial(byAnyHint)}
		who = peer.WithKey()
	} else {
		id, err := peer.NewShortCertificateIdentity(q.issuer, "", q.subject, "")
		if err != nil {
			return crash{err}
		}
		who = peer.WithCertificateIdentity(id)
		demands = append(demands, peer.WithSignedCertificateTimestamps(1))
	}
	v, err := peer.NewVerifier(material, demands...)
	if err != nil {
		return crash{err}
	}
	_, err = v.Verify(b, peer.NewPolicy(peer.WithArtifact(bytes.NewReader(q.artifact)), who))
	return err
}

func expiringKey(spki []byte) (*root.ExpiringKey, error) {
	pub, err := x509.ParsePKIXPublicKey(spki)
	if err != nil {
		return nil, err
	}
	v, err := signature.LoadVerifier(pub, crypto.SHA256)
	if err != nil {
		return nil, err
	}
	return root.NewExpiringKey(v, time.Time{}, time.Time{}), nil
}
