// Package cosign reads what cosign wrote before it wrote Sigstore bundles: the
// file of its old --bundle flag, and signatures with a certificate, a timestamp
// and a log's promise in files of their own. Both become a [sigbox.Bundle] of the
// form of version 0.1, which package verify judges like any other.
//
//	b, err := cosign.ParseBundle(data) // FILE.bundle
//	b, err := cosign.FromDetached(cosign.Detached{Signature: sig, Certificate: pem})
//
// Such files never say which digest was signed, and have a log's promise without
// its proof. A certificate's chain may come with it and is passed over: those of
// the trust root count alone. So does a public key: it becomes the bundle's hint,
// and whoever verifies brings the key.
//
// There is no specification. The shapes are those of sigstore/cosign,
// pkg/cosign/fetch.go (LocalSignedPayload) and pkg/cosign/bundle.
package cosign

import (
	"bytes"
	"encoding/hex"
	"math"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/wire/bundle"
	"github.com/sigbox/sigbox/wire/entry"
	"github.com/sigbox/sigbox/wire/internal/protojson"
)

// MediaType is that of the bundles made here; the files themselves have none.
const MediaType = "application/vnd.dev.sigstore.bundle+json;version=0.1"

// Bounds on what is read, in bytes.
const (
	// MaxSize of a file: an envelope stands in it base64 upon base64.
	MaxSize = bundle.MaxSize

	maxSignature = 16 << 10
	maxPromise   = 4 << 10
	maxVerifier  = 256 << 10 // text, with the chain
	maxTimestamp = 64 << 10
)

// IsBundle reports whether b looks like a file of cosign's old --bundle flag. It
// looks at the names of the first members alone, as a Sigstore bundle's media type
// may stand anywhere.
func IsBundle(b []byte) bool {
	const most = 3 // as many as there are
	// Names that stand twice are for the parser: to look for them takes memory.
	d := jsontext.NewDecoder(bytes.NewBuffer(b), jsontext.AllowDuplicateNames(true))
	if d.PeekKind() != '{' {
		return false
	}
	if _, err := d.ReadToken(); err != nil {
		return false
	}
	for range most {
		name, err := d.ReadToken()
		if err != nil || name.Kind() != '"' {
			return false
		}
		switch name.String() {
		case "base64Signature", "rekorBundle":
			return true
		}
		if d.SkipValue() != nil {
			return false
		}
	}
	return false
}

// ParseBundle reads a file of cosign's old --bundle flag, by sign-blob or
// attest-blob. Errors are of kind Invalid or TooLarge and name the place in the
// document.
func ParseBundle(b []byte) (*sigbox.Bundle, error) {
	p := parts{what: "cosign bundle"}
	err := protojson.Decode(p.what, b, MaxSize, func(d *protojson.Decoder) error {
		return d.Object(func(field string) (err error) {
			switch field {
			case "base64Signature":
				p.signature, err = d.Lines(MaxSize)
			case "cert":
				var text string
				text, err = d.String(maxVerifier)
				p.verifier = []byte(text)
			case "rekorBundle":
				p.promise = new(sigbox.LogEntry)
				err = readPromise(d, p.promise)
			}
			return err
		}, "base64Signature", "cert", "rekorBundle")
	})
	if err != nil {
		return nil, err
	}
	if len(p.signature) == 0 {
		return nil, sigbox.Errorf(sigbox.Invalid, "cosign bundle: no base64Signature").WithHint("is this a file that cosign wrote?")
	}
	return p.bundle()
}

// readPromise reads {"SignedEntryTimestamp","Payload":{"body","integratedTime",
// "logIndex","logID"}}.
func readPromise(d *protojson.Decoder, le *sigbox.LogEntry) error {
	return d.Object(func(field string) (err error) {
		if field == "SignedEntryTimestamp" {
			le.SignedEntryTimestamp, err = d.Bytes(maxPromise)
			return err
		}
		return d.Object(func(field string) (err error) {
			switch field {
			case "body":
				le.Body, err = d.Bytes(entry.MaxBodySize)
			case "integratedTime":
				le.IntegratedTime, err = d.Natural(math.MaxInt64)
			case "logIndex":
				le.LogIndex, err = d.Natural(math.MaxInt64)
			case "logID":
				le.LogID, err = readLogID(d)
			}
			return err
		}, "body", "integratedTime", "logIndex", "logID")
	}, "SignedEntryTimestamp", "Payload")
}

// readLogID reads the SHA-256 of the log's key in lower-case hex.
func readLogID(d *protojson.Decoder) ([]byte, error) {
	text, err := d.String(2 * 64)
	if err != nil {
		return nil, err
	}
	id, err := hex.DecodeString(text)
	if err != nil || len(id) != sigbox.SHA256.Size() || hex.EncodeToString(id) != text {
		return nil, d.Errorf("expected 64 lower-case hex digits, found %.80q", text)
	}
	return id, nil
}
