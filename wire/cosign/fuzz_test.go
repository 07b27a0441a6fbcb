package cosign_test

import (
	"bytes"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/sigboxtest"
	"github.com/sigbox/sigbox/wire/bundle"
	"github.com/sigbox/sigbox/wire/cosign"
)

// expectSound holds what came out of either parser against its promises.
func expectSound(t *testing.T, b *sigbox.Bundle, err error) {
	t.Helper()
	if err != nil {
		if k := sigbox.KindOf(err); b != nil || k != sigbox.Invalid && k != sigbox.TooLarge {
			t.Fatalf("kind %v: %v", k, err)
		}
		return
	}
	if err := bundle.Check(b); err != nil {
		t.Fatal(err)
	}
	if len(b.Certificates) > 1 || len(b.Entries) > 1 || len(b.Timestamps) > 1 || b.KeyHint != "" && b.Certificates != nil {
		t.Fatalf("more than a file can hold: %+v", b)
	}
}

// FuzzParseBundle: what is read is sound, known for what it is, and the same when
// it is written and read again.
func FuzzParseBundle(f *testing.F) {
	for _, name := range []string{"key.bundle", "key.att.bundle", "v2.bundle"} {
		f.Add(read(f, name))
	}
	f.Fuzz(func(t *testing.T, doc []byte) {
		b, err := cosign.ParseBundle(doc)
		expectSound(t, b, err)
		if err != nil {
			return
		}
		if !cosign.IsBundle(doc) {
			t.Fatalf("not known for what it is: %s", doc)
		}
		again, err := cosign.ParseBundle(sigboxtest.Legacy(b, nil))
		if err != nil {
			t.Fatal(err)
		}
		again.KeyHint = b.KeyHint
		if diff := cmp.Diff(b, again, sameDigest); diff != "" {
			t.Fatal(diff)
		}
	})
}

// FuzzFromDetached: files of anything are refused or make a sound bundle, and an
// envelope is found where it is taken for one.
func FuzzFromDetached(f *testing.F) {
	tsr := read(f, "cert.tsr.json")
	for _, signature := range []string{"key.sig", "key.raw.sig", "key.att", "cert.sig"} {
		for _, certificate := range []string{"cert.pem", "cert.pem.b64", "key.pub"} {
			f.Add(read(f, signature), read(f, certificate), tsr, []byte(nil))
		}
	}
	f.Add(read(f, "key.sig"), der(f), []byte{0x30, 0}, []byte(nil))
	f.Fuzz(func(t *testing.T, signature, certificate, timestamp, rekor []byte) {
		d := cosign.Detached{Signature: signature, Certificate: certificate, Timestamp: timestamp, Rekor: rekor}
		copies := cosign.Detached{Signature: bytes.Clone(signature), Certificate: bytes.Clone(certificate), Timestamp: bytes.Clone(timestamp), Rekor: bytes.Clone(rekor)}
		b, err := cosign.FromDetached(d)
		expectSound(t, b, err)
		if !cmp.Equal(d, copies) {
			t.Fatal("a file was changed")
		}
		if _, isEnvelope := cosign.Envelope(signature); err == nil && isEnvelope != (b.Envelope != nil) {
			t.Fatalf("an envelope: %v", isEnvelope)
		}
	})
}
