package cert

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"strconv"

	"github.com/sigbox/sigbox"
	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

// maxChain bounds how many issuers an entry of a log can name.
const maxChain = 16

// LogEntryType, RFC 6962 §3.1.
const (
	entryX509    = 0
	entryPrecert = 1
)

// Entry is what a CT log holds for a certificate or a precertificate.
type Entry struct {
	// Timestamp is in milliseconds since 1970, the same as in the SCT.
	Timestamp uint64
	// Precert tells precertificates from certificates.
	Precert bool
	// Certificate is what the log signs: a DER certificate, or for a
	// precertificate its TBSCertificate as PrecertTBS gives it.
	Certificate []byte
	// IssuerKeyHash is the SHA-256 of the issuer's SubjectPublicKeyInfo, for a
	// precertificate only.
	IssuerKeyHash [sha256.Size]byte
	// Extensions is the CtExtensions field, the same as in the SCT.
	Extensions []byte

	// Precertificate is the DER precertificate as it was submitted.
	Precertificate []byte
	// Chain is the SHA-256 fingerprints of the issuers, the root last.
	Chain [][sha256.Size]byte
}

// MerkleTreeLeaf gives the bytes that the log's tree holds (RFC 6962 §3.4). They
// are also those that the log signs in the SCT (§3.2): the version and the leaf
// type of the one, and the version and the signature type of the other, are zero.
func (e Entry) MerkleTreeLeaf() []byte {
	dst := make([]byte, 2, 2+8+2+sha256.Size+3+len(e.Certificate)+2+len(e.Extensions))
	return e.appendTimestamped(dst)
}

// appendTimestamped appends the TimestampedEntry of RFC 6962 §3.4.
func (e Entry) appendTimestamped(dst []byte) []byte {
	dst = e.appendHead(dst)
	dst = appendVector24(dst, e.Certificate)
	return appendVector16(dst, e.Extensions)
}

// appendHead appends what stands ahead of the certificate in a TimestampedEntry.
func (e Entry) appendHead(dst []byte) []byte {
	dst = appendUint64(dst, e.Timestamp)
	if e.Precert {
		dst = append(dst, 0, entryPrecert)
		return append(dst, e.IssuerKeyHash[:]...)
	}
	return append(dst, 0, entryX509)
}

// AppendTileLeaf appends the entry as static-ct-api's data tiles hold it.
func (e Entry) AppendTileLeaf(dst []byte) []byte {
	dst = e.appendTimestamped(dst)
	if e.Precert {
		dst = appendVector24(dst, e.Precertificate)
	}
	n := len(e.Chain) * sha256.Size
	dst = append(dst, byte(n>>8), byte(n))
	for i := range e.Chain {
		dst = append(dst, e.Chain[i][:]...)
	}
	return dst
}

// Check says whether the lengths of e fit its encodings: certificates of 1 byte
// to 64 KiB, extensions under 64 KiB, at most 16 issuers.
func (e Entry) Check() error {
	switch {
	case len(e.Certificate) == 0 || e.Precert == (len(e.Precertificate) == 0):
		return sigbox.Errorf(sigbox.Invalid, "CT entry: certificate or precertificate is missing, or one too many")
	case len(e.Certificate) > MaxCertificate || len(e.Precertificate) > MaxCertificate:
		return sigbox.Errorf(sigbox.TooLarge, "CT entry: a certificate of more than %d bytes", MaxCertificate)
	case len(e.Extensions) > 0xffff:
		return sigbox.Errorf(sigbox.TooLarge, "CT entry: extensions of %d bytes, at most 65535 fit", len(e.Extensions))
	case len(e.Chain) > maxChain:
		return sigbox.Errorf(sigbox.TooLarge, "CT entry: a chain of %d issuers, at most %d are allowed", len(e.Chain), maxChain)
	}
	return nil
}

// Verify checks an entry by itself: that the issuer, a DER certificate, has signed
// the certificate or precertificate, and that what the log signs is what follows
// from a precertificate and its issuer (RFC 6962 §3.2). Dates and names other than
// the issuer's are not looked at. Errors are of kind Invalid for what cannot be
// read or is of another form, and NotVerified for what contradicts.
func (e Entry) Verify(issuer []byte) error {
	parent, err := sigbox.ParseCertificate(issuer)
	if err != nil {
		return sigbox.Errorf(sigbox.Invalid, "CT entry: its issuer's certificate: %w", err)
	}
	der := e.Certificate
	if e.Precert {
		der = e.Precertificate
		if err := e.verifyPrecert(parent); err != nil {
			return err
		}
	}
	c, err := sigbox.ParseCertificate(der)
	if err != nil {
		return sigbox.Errorf(sigbox.Invalid, "CT entry: its certificate: %w", err)
	}
	if !bytes.Equal(c.RawIssuer, parent.RawSubject) {
		return sigbox.Mismatch(sigbox.NotVerified, "CT entry: issuer of the certificate", strconv.Quote(parent.Subject.String()), strconv.Quote(c.Issuer.String()))
	}
	if err := c.CheckSignatureFrom(parent); err != nil {
		return sigbox.Errorf(sigbox.NotVerified, "CT entry: the certificate is not signed by its issuer %q: %s", parent.Subject, sigbox.DescribeX509(err))
	}
	return nil
}

// verifyPrecert compares what the log signs with the precertificate.
func (e Entry) verifyPrecert(issuer *x509.Certificate) error {
	precert, err := IsPrecert(e.Precertificate)
	if err != nil {
		return err
	}
	if !precert {
		return sigbox.Errorf(sigbox.NotVerified, "CT entry: what it calls a precertificate has no poison extension")
	}
	tbs, err := PrecertTBS(e.Precertificate)
	if err != nil {
		return err
	}
	if !bytes.Equal(tbs, e.Certificate) {
		return sigbox.Errorf(sigbox.NotVerified, "CT entry: the TBSCertificate that is logged is not that of the precertificate")
	}
	if got := sha256.Sum256(issuer.RawSubjectPublicKeyInfo); got != e.IssuerKeyHash {
		return sigbox.Mismatch(sigbox.NotVerified, "CT entry: hash of the issuer's key", hex.EncodeToString(got[:]), hex.EncodeToString(e.IssuerKeyHash[:]))
	}
	return nil
}

// ParseTileLeaf reads the first entry of a data tile of the static-ct-api and
// gives what follows it. Errors are of kind Invalid or TooLarge.
func ParseTileLeaf(b []byte) (e Entry, rest []byte, err error) {
	in := cryptobyte.String(b)
	var chain cryptobyte.String
	if !e.readTimestamped(&in) {
		return Entry{}, nil, badTile()
	}
	if e.Precert {
		var pre cryptobyte.String
		if !in.ReadUint24LengthPrefixed(&pre) {
			return Entry{}, nil, badTile()
		}
		e.Precertificate = pre
	}
	if !in.ReadUint16LengthPrefixed(&chain) || len(chain)%sha256.Size != 0 {
		return Entry{}, nil, badTile()
	}
	if len(chain) > maxChain*sha256.Size {
		return Entry{}, nil, sigbox.Errorf(sigbox.TooLarge, "data tile: a chain of more than %d issuers", maxChain)
	}
	for ; len(chain) > 0; chain = chain[sha256.Size:] {
		e.Chain = append(e.Chain, [sha256.Size]byte(chain))
	}
	if err := e.Check(); err != nil {
		return Entry{}, nil, err
	}
	return e, in, nil
}

// readTimestamped reads the TimestampedEntry of RFC 6962 §3.4.
func (e *Entry) readTimestamped(in *cryptobyte.String) bool {
	var kind uint16
	var body, exts cryptobyte.String
	if !in.ReadUint64(&e.Timestamp) || !in.ReadUint16(&kind) || kind > entryPrecert {
		return false
	}
	e.Precert = kind == entryPrecert
	if e.Precert && !in.CopyBytes(e.IssuerKeyHash[:]) {
		return false
	}
	if !in.ReadUint24LengthPrefixed(&body) || !in.ReadUint16LengthPrefixed(&exts) {
		return false
	}
	e.Certificate, e.Extensions = body, exts
	return true
}

// ParseMerkleTreeLeaf reads what the tree of a log holds (RFC 6962 §3.4). Of a
// precertificate that is the TBSCertificate alone; [Entry.ReadExtraData] adds the
// rest. Errors are of kind Invalid or TooLarge.
func ParseMerkleTreeLeaf(b []byte) (e Entry, err error) {
	in := cryptobyte.String(b)
	var head uint16 // version v1 and leaf type timestamped_entry, both 0
	if !in.ReadUint16(&head) || head != 0 || !e.readTimestamped(&in) || !in.Empty() || len(e.Certificate) == 0 {
		return Entry{}, sigbox.Errorf(sigbox.Invalid, "CT entry: expected a MerkleTreeLeaf of version 1 (RFC 6962 §3.4), found %d bytes of another form", len(b))
	}
	if len(e.Certificate) > MaxCertificate {
		return Entry{}, sigbox.Errorf(sigbox.TooLarge, "CT entry: a certificate of more than %d bytes", MaxCertificate)
	}
	return e, nil
}

// ReadExtraData adds what stands beside a leaf (RFC 6962 §4.6; see
// [Entry.ExtraData]) and gives the certificates of the issuers, DER. Nothing of it
// is in the tree.
func (e *Entry) ReadExtraData(b []byte) (issuers [][]byte, err error) {
	in := cryptobyte.String(b)
	var pre, chain cryptobyte.String
	if e.Precert && !in.ReadUint24LengthPrefixed(&pre) || !in.ReadUint24LengthPrefixed(&chain) || !in.Empty() {
		return nil, sigbox.Errorf(sigbox.Invalid, "CT entry: its extra_data is not that of RFC 6962 §4.6")
	}
	e.Precertificate, e.Chain = pre, nil
	for !chain.Empty() {
		var der cryptobyte.String
		if !chain.ReadUint24LengthPrefixed(&der) || len(der) > MaxCertificate || len(issuers) == maxChain {
			return nil, sigbox.Errorf(sigbox.Invalid, "CT entry: its chain is not one of at most %d certificates (RFC 6962 §4.6)", maxChain)
		}
		issuers, e.Chain = append(issuers, der), append(e.Chain, sha256.Sum256(der))
	}
	return issuers, e.Check()
}

// DER gives the certificate, or for a precertificate what can be walked over like
// one: a certificate that has nothing but the TBSCertificate, whose fingerprint is
// nobody's.
func (e *Entry) DER() []byte {
	if !e.Precert {
		return e.Certificate
	}
	var b cryptobyte.Builder
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) { b.AddBytes(e.Certificate) })
	return b.BytesOrPanic() // of bytes that fit, which they do in memory
}

// SplitTile cuts a data tile of the static-ct-api into its entries, each as it
// stands there. A tile holds at most 256.
func SplitTile(b []byte) ([][]byte, error) {
	var out [][]byte
	for len(b) > 0 {
		if len(out) == 256 {
			return nil, sigbox.Errorf(sigbox.TooLarge, "data tile: more than 256 entries")
		}
		_, rest, err := ParseTileLeaf(b)
		if err != nil {
			return nil, err
		}
		out = append(out, b[:len(b)-len(rest)])
		b = rest
	}
	return out, nil
}

func badTile() error {
	return sigbox.Errorf(sigbox.Invalid, "data tile: expected entries of static-ct-api, found something else or a cut one")
}

func appendUint64(dst []byte, v uint64) []byte {
	return append(dst, byte(v>>56), byte(v>>48), byte(v>>40), byte(v>>32), byte(v>>24), byte(v>>16), byte(v>>8), byte(v))
}

func appendVector16(dst, v []byte) []byte {
	dst = append(dst, byte(len(v)>>8), byte(len(v)))
	return append(dst, v...)
}

func appendVector24(dst, v []byte) []byte {
	dst = append(dst, byte(len(v)>>16), byte(len(v)>>8), byte(len(v)))
	return append(dst, v...)
}

// ExtraData gives what RFC 6962 §4.6 answers beside the leaf: the submitted
// certificates, which are the issuers', DER, and for a precertificate itself
// before them.
func (e Entry) ExtraData(issuers [][]byte) []byte {
	var chain []byte
	for _, der := range issuers {
		chain = appendVector24(chain, der)
	}
	var dst []byte
	if e.Precert {
		dst = appendVector24(dst, e.Precertificate)
	}
	return appendVector24(dst, chain)
}
