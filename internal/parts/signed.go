package parts

import (
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/jsonerr"
	"github.com/sigbox/sigbox/wire/trust"
)

const (
	// MaxSigned bounds a signed part, in bytes.
	MaxSigned = 2 << 20
	// PayloadType is what the signature binds the payload to, as DSSE does it.
	PayloadType = "application/vnd.sigbox.part.v1+json"
	// Kind is the algorithm of the key of a part.
	Kind = sigbox.ECDSAP256SHA256
)

// Statement is what a host says of itself.
type Statement struct {
	// Sequence goes up with each statement of a host.
	Sequence uint64
	// Time is when it was signed.
	Time time.Time
	*trust.ClientTrustConfig
	// TUF is where clients get the trust root, nil but for the host that publishes it.
	TUF *TUF
	// SHA256 is the digest of what is said, whenever that is, in hexadecimal.
	SHA256 string
}

// TUF is where clients get the trust root, and the TUF root that they begin with.
type TUF struct {
	URL  string `json:"url"`
	Root []byte `json:"root"`
}

// envelope is a signed part on the wire.
type envelope struct {
	Payload   []byte `json:"payload"`
	PublicKey []byte `json:"publicKey"`
	Signature []byte `json:"signature"`
}

// payload is what is signed.
type payload struct {
	Sequence uint64         `json:"sequence"`
	Time     time.Time      `json:"time"`
	Part     jsontext.Value `json:"part"`
	TUF      *TUF           `json:"tuf,omitempty"`
}

// Fingerprint is the digest by which others are told a key.
func Fingerprint(key crypto.PublicKey) (string, error) {
	der, err := x509.MarshalPKIXPublicKey(key)
	return fingerprint(der), err
}

func fingerprint(der []byte) string {
	sum := sha256.Sum256(der)
	return keyPrefix + hex.EncodeToString(sum[:])
}

// sign makes a signed part.
func sign(key crypto.Signer, p payload) ([]byte, error) {
	var e envelope
	var err error
	if e.Payload, err = json.Marshal(p); err != nil {
		return nil, sigbox.Errorf(sigbox.Internal, "%w", err)
	}
	if e.PublicKey, err = x509.MarshalPKIXPublicKey(key.Public()); err != nil {
		return nil, sigbox.Errorf(sigbox.Internal, "%w", err)
	}
	digest := Kind.Hash().Sum(sigbox.PAE(PayloadType, e.Payload))
	if e.Signature, err = key.Sign(rand.Reader, digest.Value, Kind.SignerOpts()); err != nil {
		return nil, sigbox.Errorf(sigbox.KindOf(err), "signing what this host says of itself: %w", err)
	}
	b, err := json.Marshal(e)
	if err != nil {
		return nil, sigbox.Errorf(sigbox.Internal, "%w", err)
	}
	return append(b, '\n'), nil
}

// open reads a signed part whose key has a fingerprint. Nothing of it is looked at before
// its signature is known to be good.
func open(b []byte, key string) (*Statement, error) {
	p, err := openPayload(b, key)
	if err != nil {
		return nil, err
	}
	config, err := parse(p.Part)
	if err != nil {
		return nil, err
	}
	if p.TUF != nil {
		if err := checkURL(p.TUF.URL); err != nil {
			return nil, err
		}
	}
	return &Statement{Sequence: p.Sequence, Time: p.Time, ClientTrustConfig: config, TUF: p.TUF, SHA256: p.digest()}, nil
}

// digest is that of what is said.
func (p *payload) digest() string {
	h := sha256.New()
	h.Write(p.Part)
	if p.TUF != nil {
		fmt.Fprintf(h, "%q", p.TUF.URL)
		h.Write(p.TUF.Root)
	}
	return hex.EncodeToString(h.Sum(nil))
}

func openPayload(b []byte, key string) (p payload, err error) {
	if len(b) > MaxSigned {
		return p, sigbox.Errorf(sigbox.TooLarge, "a part of more than %d bytes", MaxSigned)
	}
	var e envelope
	if err := json.Unmarshal(b, &e, json.RejectUnknownMembers(true)); err != nil {
		return p, jsonerr.Of("signed part", err)
	}
	if found := fingerprint(e.PublicKey); found != key {
		return p, sigbox.Mismatch(sigbox.NotVerified, "the part is signed by another key than the settings name", key, found).
			WithHint("if the host was given a new key, take that from its host.yaml")
	}
	pub, err := sigbox.ParsePublicKey(e.PublicKey)
	if err != nil {
		return p, err
	}
	if err := Kind.CheckKey(pub); err != nil {
		return p, err
	}
	if err := Kind.VerifyMessage(pub, sigbox.PAE(PayloadType, e.Payload), e.Signature); err != nil {
		return p, err
	}
	if err := json.Unmarshal(e.Payload, &p, json.RejectUnknownMembers(true)); err != nil {
		return p, jsonerr.Of("part", err)
	}
	return p, nil
}
