package ctlog

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"sync"
	"time"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/internal/store"
	"github.com/sigbox/sigbox/internal/tlog"
	"github.com/sigbox/sigbox/wire/cert"
)

// Checker checks entries of a log that is not open, as the log did before it took
// them. It is safe for concurrent use.
type Checker struct {
	kv store.KV

	mu      sync.Mutex
	issuers map[fingerprint]issuer   // guarded by mu
	pairs   map[[2]fingerprint]error // guarded by mu; whether the second has signed the first
}

// maxIssuers bounds the issuers that a checker keeps, and the pairs of them.
const maxIssuers = 1024

// issuer is the certificate that a row holds, or why it does not.
type issuer struct {
	der []byte
	err error
}

// NewChecker makes a checker for the log in kv.
func NewChecker(kv store.KV) *Checker {
	return &Checker{kv: kv, issuers: map[fingerprint]issuer{}, pairs: map[[2]fingerprint]error{}}
}

// Entry checks an entry of a data tile: that its certificate is signed by the first
// of its issuers and each of these by the next, that what the log signs follows from
// that, and that it names its place and time. All of its issuers have to be in the log's
// rows.
func (c *Checker) Entry(ctx context.Context, index uint64, logged time.Time, data []byte) error {
	e, rest, err := cert.ParseTileLeaf(data)
	switch {
	case err != nil:
		return err
	case len(rest) > 0:
		return sigbox.Errorf(sigbox.Invalid, "CT log: %d bytes after an entry", len(rest))
	case e.Timestamp != millis(logged):
		return sigbox.Mismatch(sigbox.NotVerified, "CT log: time of the entry, in ms", millis(logged), e.Timestamp)
	case len(e.Chain) == 0:
		return sigbox.Errorf(sigbox.Invalid, "CT log: the entry names no issuer")
	}
	if err := CheckIndex(index, &e); err != nil {
		return err
	}
	issuers := make([][]byte, len(e.Chain))
	for i, fp := range e.Chain {
		if issuers[i], err = c.issuer(ctx, fp); err != nil {
			return err
		}
	}
	for i := range issuers[1:] {
		if err := c.signed([2]fingerprint(e.Chain[i:i+2]), issuers[i], issuers[i+1]); err != nil {
			return err
		}
	}
	return e.Verify(issuers[0])
}

// signed checks, once for each pair, that an issuer's certificate is signed by the next.
func (c *Checker) signed(pair [2]fingerprint, der, by []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	err, ok := c.pairs[pair]
	if ok {
		return err
	}
	child, err := sigbox.ParseCertificate(der)
	if err == nil {
		var parent *x509.Certificate
		if parent, err = sigbox.ParseCertificate(by); err == nil && child.CheckSignatureFrom(parent) != nil {
			err = sigbox.Errorf(sigbox.NotVerified, "CT log: the issuer %x is not signed by the next of its chain, %x", pair[0], pair[1])
		}
	}
	if len(c.pairs) >= maxIssuers {
		clear(c.pairs)
	}
	c.pairs[pair] = err
	return err
}

// CheckIndex checks that an entry names its place, as those of static-ct-api do.
func CheckIndex(index uint64, e *cert.Entry) error {
	got, ok, err := cert.SCT{Extensions: e.Extensions}.LeafIndex()
	switch {
	case err != nil:
		return err
	case !ok:
		return sigbox.Errorf(sigbox.NotVerified, "CT log: the entry does not say that its index is %d", index)
	case got != index:
		return sigbox.Mismatch(sigbox.NotVerified, "CT log: index that the entry names", index, got)
	}
	return nil
}

// issuer reads a certificate of the rows, once.
func (c *Checker) issuer(ctx context.Context, fp fingerprint) ([]byte, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if i, ok := c.issuers[fp]; ok {
		return i.der, i.err
	}
	der, err := tlog.ServiceRow(ctx, c.kv, issuerKey(fp))
	switch {
	case errors.Is(err, store.ErrNotFound):
		err = sigbox.Errorf(sigbox.NotFound, "CT log: the issuer %x is not in the log's rows", fp)
	case err == nil:
		err = checkFingerprint(fp, der)
	}
	if len(c.issuers) >= maxIssuers {
		clear(c.issuers)
	}
	c.issuers[fp] = issuer{der, err}
	return der, err
}

// checkFingerprint checks that a row holds the certificate that it is to hold.
func checkFingerprint(fp fingerprint, der []byte) error {
	if got := sha256.Sum256(der); got != fp {
		return sigbox.Mismatch(sigbox.NotVerified, "CT log: fingerprint of an issuer in the log's rows", hex.EncodeToString(fp[:]), hex.EncodeToString(got[:]))
	}
	return nil
}
