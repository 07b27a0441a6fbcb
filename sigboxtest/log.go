package sigboxtest

import (
	"crypto"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"sync"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/wire/entry"
	"github.com/sigbox/sigbox/wire/note"
)

// log is a Merkle tree in memory with a key.
type log struct {
	host, origin string
	key          crypto.Signer
	signer       *note.Signer
	id           []byte

	mu     sync.Mutex
	hashes []tlog.Hash // guarded by mu: stored hashes, as tlog orders them
	size   int64       // guarded by mu
}

// ReadHashes gives stored hashes; mu is held.
func (l *log) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	out := make([]tlog.Hash, len(indexes))
	for i, at := range indexes {
		out[i] = l.hashes[at]
	}
	return out, nil
}

// add takes a leaf and proves it.
func (l *log) add(leaf []byte) (*sigbox.Inclusion, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	index := l.size
	hashes, err := tlog.StoredHashes(index, leaf, l)
	if err != nil {
		return nil, err
	}
	l.hashes = append(l.hashes, hashes...)
	l.size++
	root, err := tlog.TreeHash(l.size, l)
	if err != nil {
		return nil, err
	}
	proof, err := tlog.ProveRecord(l.size, index, l)
	if err != nil {
		return nil, err
	}
	cp := sigbox.Checkpoint{Origin: l.origin, Size: uint64(l.size), Root: root} // #nosec G115 -- a few leaves
	text, err := note.Sign(cp, l.signer)
	if err != nil {
		return nil, err
	}
	p := &sigbox.Inclusion{LogIndex: index, TreeSize: l.size, RootHash: root[:], Checkpoint: text}
	for _, h := range proof {
		p.Hashes = append(p.Hashes, h[:])
	}
	return p, nil
}

// promise signs a signed entry timestamp.
func promise(key crypto.Signer, le *sigbox.LogEntry) ([]byte, error) {
	digest := sha256.Sum256(entry.SETPayload(le))
	return key.Sign(nil, digest[:], crypto.SHA256)
}

// claim is what an entry says. Faults change it, so it is written out here and
// not by the code under test.
type claim struct {
	digest    sigbox.Digest // of the artifact, or of the envelope's PAE
	payload   []byte        // of the envelope
	signature []byte
	verifier  []byte // DER
	isKey     bool   // verifier is a public key, else a certificate
	details   sigbox.KeyDetails
	// payloadType of intoto entries.
	payloadType string
}

func b64(b []byte) string { return base64.StdEncoding.EncodeToString(b) }

func (c *claim) pem() []byte {
	kind := "CERTIFICATE"
	if c.isKey {
		kind = "PUBLIC KEY"
	}
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: c.verifier})
}

func hashV1(d sigbox.Digest) string {
	return fmt.Sprintf(`{"algorithm":%q,"value":%q}`, d.Algorithm, hex.EncodeToString(d.Value))
}

func hashV2(d sigbox.Digest) string {
	return fmt.Sprintf(`{"algorithm":%q,"digest":%q}`, d.Algorithm.WireName(), b64(d.Value))
}

// verifierV2 is rekor/v2's Signature.
func (c *claim) verifierV2() string {
	field := "x509Certificate"
	if c.isKey {
		field = "publicKey"
	}
	return fmt.Sprintf(`{"content":%q,"verifier":{"keyDetails":%q,%q:{"rawBytes":%q}}}`, b64(c.signature), c.details, field, b64(c.verifier))
}

// body writes the canonical body of an entry.
func (c *claim) body(kind, version string) []byte {
	spec := ""
	payload := sigbox.SHA256.Sum(c.payload)
	switch kind + " " + version {
	case "hashedrekord 0.0.1":
		spec = fmt.Sprintf(`{"data":{"hash":%s},"signature":{"content":%q,"publicKey":{"content":%q}}}`, hashV1(c.digest), b64(c.signature), b64(c.pem()))
	case "dsse 0.0.1":
		spec = fmt.Sprintf(`{"envelopeHash":%s,"payloadHash":%s,"signatures":[{"signature":%q,"verifier":%q}]}`, hashV1(payload), hashV1(payload), b64(c.signature), b64(c.pem()))
	case "intoto 0.0.2":
		spec = fmt.Sprintf(`{"content":{"envelope":{"payloadType":%q,"signatures":[{"publicKey":%q,"sig":%q}]},"hash":%s,"payloadHash":%s}}`,
			c.payloadType, b64(c.pem()), b64([]byte(b64(c.signature))), hashV1(payload), hashV1(payload))
	case "hashedrekord 0.0.2":
		spec = fmt.Sprintf(`{"hashedRekordV002":{"data":%s,"signature":%s}}`, hashV2(c.digest), c.verifierV2())
	case "dsse 0.0.2":
		spec = fmt.Sprintf(`{"dsseV002":{"payloadHash":%s,"signatures":[%s]}}`, hashV2(payload), c.verifierV2())
	}
	return fmt.Appendf(nil, `{"apiVersion":%q,"kind":%q,"spec":%s}`, version, kind, spec)
}
