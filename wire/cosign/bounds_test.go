package cosign_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/wire/cosign"
)

// TestBounds: each file has a bound of its own.
func TestBounds(t *testing.T) {
	t.Parallel()
	const sig = "c2ln"
	for name, d := range map[string]cosign.Detached{
		"signature":   {Signature: []byte(strings.Repeat("AAAA", 16<<10))},
		"certificate": {Signature: []byte(sig), Certificate: make([]byte, 256<<10+1)},
		"timestamp":   {Signature: []byte(sig), Timestamp: make([]byte, 128<<10+1)},
		"one as JSON": {Signature: []byte(sig), Timestamp: []byte(`{"SignedRFC3161Timestamp":"` + strings.Repeat("AAAA", 24<<10) + `"}`)},
		"promise":     {Signature: []byte(sig), Rekor: bytes.Repeat([]byte(" "), cosign.MaxSize+1)},
	} {
		if _, err := cosign.FromDetached(d); sigbox.KindOf(err) != sigbox.TooLarge {
			t.Errorf("%s: found %v, expected too many bytes", name, err)
		}
	}
}

// TestSignatureFiles: base64, in lines of either kind, or bytes as they are.
func TestSignatureFiles(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ file, want string }{
		"base64":                 {"c2ln", "sig"},
		"base64 in lines":        {"c2ln\nc2ln\n", "sigsig"},
		"lines as Windows has":   {"c2ln\r\nc2ln\r\n", "sigsig"},
		"bytes, of ASCII also":   {"\x01\x02\x03", "\x01\x02\x03"},
		"bytes that look so":     {"{\xff", "{\xff"},
		"bytes behind a control": {"c2ln\x00", "c2ln\x00"},
	} {
		b, err := cosign.FromDetached(cosign.Detached{Signature: []byte(c.file)})
		if err != nil || string(b.Message.Signature) != c.want {
			t.Errorf("%s: found %v, %v", name, b, err)
		}
	}
	// Behind a certificate stands its chain, and no key.
	behind := append(read(t, "cert.pem"), read(t, "key.pub")...)
	if _, err := cosign.FromDetached(cosign.Detached{Signature: []byte("c2ln"), Certificate: behind}); sigbox.KindOf(err) != sigbox.Invalid {
		t.Errorf("found %v, expected a key behind a certificate to be refused", err)
	}
}
