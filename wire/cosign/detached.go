package cosign

import (
	"bytes"
	"encoding/base64"
	"encoding/pem"
	"slices"
	"unicode/utf8"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/wire/bundle"
	"github.com/sigbox/sigbox/wire/entry"
	"github.com/sigbox/sigbox/wire/internal/protojson"
)

// Detached is a signature with what belongs to it, each the content of a file.
type Detached struct {
	// Signature is base64 text or raw bytes; of attest-blob it is a DSSE envelope.
	Signature []byte
	// Certificate is PEM, base64 of PEM as cosign wrote it, or DER. A chain begins
	// with the signer's, which alone is taken. It is empty, or a public key in PEM,
	// when a key signed; that key is not for verifying with.
	Certificate []byte
	// Timestamp is of RFC 3161, in cosign's JSON or DER; or empty.
	Timestamp []byte
	// Rekor is the promise of a log, {"SignedEntryTimestamp","Payload"}; or empty.
	Rekor []byte
}

// FromDetached makes a bundle of files. Errors are of kind Invalid or TooLarge and
// name the file that is wrong.
//
// Without Rekor the bundle has no entry. A log can be asked for it, and its answer
// appended to the bundle's Entries.
func FromDetached(d Detached) (*sigbox.Bundle, error) {
	p := parts{what: "detached signature", verifier: d.Certificate}
	var err error
	if p.signature, err = readSignature(d.Signature); err != nil {
		return nil, err
	}
	if len(d.Timestamp) > 0 {
		if p.timestamp, err = readTimestamp(d.Timestamp); err != nil {
			return nil, err
		}
	}
	if len(d.Rekor) > 0 {
		p.promise = new(sigbox.LogEntry)
		err = protojson.Decode("log's promise", d.Rekor, MaxSize, func(dec *protojson.Decoder) error { return readPromise(dec, p.promise) })
		if err != nil {
			return nil, err
		}
	}
	return p.bundle()
}

// Envelope gives the text of the DSSE envelope in a signature file, without white
// space around it, or false when the file is no envelope. A log knows an envelope by
// its exact text.
func Envelope(signature []byte) ([]byte, bool) {
	raw, err := readSignature(signature)
	if err != nil || !isEnvelope(raw) {
		return nil, false
	}
	return bytes.TrimSpace(raw), true
}

// isEnvelope tells an envelope's JSON from a signature's bytes, which may begin
// with a brace but are never UTF-8 to the end.
func isEnvelope(b []byte) bool {
	b = bytes.TrimSpace(b)
	return len(b) > 0 && b[0] == '{' && utf8.Valid(b)
}

// isText reports whether b is lines of ASCII.
func isText(b []byte) bool {
	return !bytes.ContainsFunc(b, func(r rune) bool {
		return r >= utf8.RuneSelf || r < ' ' && r != '\n' && r != '\r' && r != '\t'
	})
}

// readSignature gives a signature's bytes or an envelope's JSON.
func readSignature(file []byte) ([]byte, error) {
	const what = "signature file"
	if err := checkSize(what, file, MaxSize); err != nil {
		return nil, err
	}
	text := bytes.TrimSpace(file)
	switch {
	case len(text) == 0:
		return nil, sigbox.Errorf(sigbox.Invalid, "%s: it is empty", what)
	case isEnvelope(text) || !isText(text):
		return file, nil
	case isForeign(text):
		return nil, sigbox.Errorf(sigbox.Invalid, "%s: a signature of OpenPGP, SSH or minisign, not of cosign: %.40q", what, text).
			WithHint("verify it with the tool that made it")
	}
	return decodeText(what, text)
}

// isForeign knows the text forms of other tools' signatures.
func isForeign(text []byte) bool {
	return bytes.HasPrefix(text, []byte("-----BEGIN ")) || bytes.HasPrefix(text, []byte("untrusted comment:"))
}

// decodeText reads base64, perhaps in lines.
func decodeText(what string, text []byte) ([]byte, error) {
	b, err := protojson.DecodeBase64(slices.DeleteFunc(bytes.Clone(text), func(c byte) bool { return c == '\r' || c == '\n' }))
	if err != nil {
		return nil, sigbox.Errorf(sigbox.Invalid, "%s: %w", what, err)
	}
	return b, nil
}

// readTimestamp reads {"SignedRFC3161Timestamp"} or DER.
func readTimestamp(file []byte) (der []byte, err error) {
	const what = "timestamp file"
	if err := checkSize(what, file, 2*maxTimestamp); err != nil {
		return nil, err
	}
	if !isText(file) {
		return file, nil
	}
	err = protojson.Decode(what, file, 2*maxTimestamp, func(d *protojson.Decoder) error {
		return d.Object(func(string) (err error) {
			der, err = d.Bytes(maxTimestamp)
			return err
		}, "SignedRFC3161Timestamp")
	})
	if err == nil && len(der) == 0 {
		err = sigbox.Errorf(sigbox.Invalid, "%s: no SignedRFC3161Timestamp", what)
	}
	return der, err
}

func checkSize(what string, b []byte, most int) error {
	if len(b) > most {
		return sigbox.Errorf(sigbox.TooLarge, "%s of %d bytes: at most %d are read", what, len(b), most)
	}
	return nil
}

// parts is what files of either shape come down to.
type parts struct {
	what      string
	signature []byte // or an envelope's JSON
	verifier  []byte // the certificate's file, as in Detached
	timestamp []byte // DER, or nil
	promise   *sigbox.LogEntry
}

// bundle puts the parts together.
func (p parts) bundle() (*sigbox.Bundle, error) {
	b := &sigbox.Bundle{MediaType: MediaType, Version: 1}
	if err := p.sign(b); err != nil {
		return nil, err
	}
	if err := p.identify(b); err != nil {
		return nil, err
	}
	if p.timestamp != nil {
		b.Timestamps = [][]byte{p.timestamp}
	}
	if p.promise != nil {
		if err := p.log(b); err != nil {
			return nil, err
		}
	}
	if err := bundle.Check(b); err != nil {
		return nil, sigbox.Errorf(sigbox.KindOf(err), "%s: %w", p.what, err)
	}
	return b, nil
}

func (p parts) sign(b *sigbox.Bundle) (err error) {
	if isEnvelope(p.signature) {
		if b.Envelope, err = bundle.ParseEnvelope(p.signature); err != nil {
			return sigbox.Errorf(sigbox.KindOf(err), "%s: %w", p.what, err)
		}
		return nil
	}
	if err := checkSize(p.what+": signature", p.signature, maxSignature); err != nil {
		return err
	}
	b.Message = &sigbox.MessageSignature{Signature: p.signature}
	return nil
}

// identify takes the signer's certificate, the first. A public key is kept as a
// hint alone.
func (p parts) identify(b *sigbox.Bundle) error {
	v, err := readVerifier(p.what, p.verifier)
	switch {
	case err != nil || v == nil:
		return err
	case v.Type == publicKey:
		b.KeyHint = base64.StdEncoding.EncodeToString(sigbox.SHA256.Sum(v.Bytes).Value)
	default:
		b.Certificates = [][]byte{v.Bytes}
	}
	return nil
}

// log takes the promise; what kind of entry it is about stands in the body.
func (p parts) log(b *sigbox.Bundle) error {
	le := p.promise
	switch {
	case len(le.SignedEntryTimestamp) == 0:
		return sigbox.Errorf(sigbox.Invalid, "%s: rekorBundle: no SignedEntryTimestamp, so that nobody vouches for the entry", p.what).
			WithHint("a Rekor v2 log gives none: sign with --new-bundle-format, or with sigbox")
	case le.LogID == nil || le.Body == nil:
		return sigbox.Errorf(sigbox.Invalid, "%s: rekorBundle: no Payload, or one without body or logID", p.what)
	}
	body, err := entry.ParseBody(le.Body)
	if err != nil {
		return sigbox.Errorf(sigbox.KindOf(err), "%s: rekorBundle: %w", p.what, err)
	}
	le.Kind, le.Version = body.Kind, body.Version
	b.Entries = []sigbox.LogEntry{*le}
	return nil
}

// The types of PEM blocks that verify a signature (RFC 7468 §5, §13).
const (
	publicKey   = "PUBLIC KEY"
	certificate = "CERTIFICATE"
)

// readVerifier reads what a file of a certificate begins with, nil for an empty
// one.
func readVerifier(what string, file []byte) (*pem.Block, error) {
	what += ": certificate"
	if err := checkSize(what, file, maxVerifier); err != nil {
		return nil, err
	}
	if text := bytes.TrimSpace(file); len(text) > 0 && isText(text) && !bytes.Contains(text, []byte("-----BEGIN ")) {
		var err error
		if file, err = decodeText(what, text); err != nil {
			return nil, err
		}
	}
	switch text := bytes.TrimSpace(file); {
	case len(text) == 0:
		return nil, nil
	case isText(text):
		return readPEM(what, text)
	}
	return readDER(what, file)
}

func readDER(what string, der []byte) (*pem.Block, error) {
	if _, err := sigbox.ParseCertificate(der); err != nil {
		return nil, sigbox.Errorf(sigbox.Invalid, "%s: %w", what, err).WithHint("give it as PEM, as base64 of PEM, or as DER")
	}
	return &pem.Block{Type: certificate, Bytes: der}, nil
}

// readPEM gives the first block; what follows must be its chain.
func readPEM(what string, text []byte) (*pem.Block, error) {
	const most = 16 // blocks
	var first *pem.Block
	for n := 0; len(text) > 0; n++ {
		block, rest := pem.Decode(text)
		switch {
		case block == nil || len(block.Bytes) == 0:
			return nil, sigbox.Errorf(sigbox.Invalid, "%s: PEM block %d cannot be read", what, n+1)
		case n == most:
			return nil, sigbox.Errorf(sigbox.TooLarge, "%s: more than %d PEM blocks", what, most)
		case block.Type != certificate && (block.Type != publicKey || n > 0), first != nil && first.Type == publicKey:
			return nil, sigbox.Mismatch(sigbox.Invalid, what+": type of PEM block", certificate+", or one "+publicKey, clip(block.Type))
		case n == 0:
			first = block
		}
		text = bytes.TrimSpace(rest)
	}
	return first, nil
}

// clip shortens a text of the sender's.
func clip(s string) string {
	const most = 40
	if len(s) > most {
		s = s[:most] + "…"
	}
	return `"` + s + `"`
}
