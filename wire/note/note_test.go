package note_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	xnote "golang.org/x/mod/sumdb/note"

	"github.com/sigbox/sigbox"
	"github.com/sigbox/sigbox/wire/note"
)

const root64 = "rs1YPY0ydAV0lxgfrq5pE4oRpUJwo3syeps5+eGUTDI="

func ed25519Key(t testing.TB) ed25519.PrivateKey {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func ecdsaKey(t testing.TB, curve elliptic.Curve) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func signer(t testing.TB, name string, key crypto.Signer) *note.Signer {
	t.Helper()
	s, err := note.NewSigner(name, key)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func sign(t testing.TB, cp sigbox.Checkpoint, signers ...*note.Signer) string {
	t.Helper()
	text, err := note.SignAt(cp, time.UnixMilli(1700000000123), signers...)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func checkpoint(origin string) sigbox.Checkpoint {
	return sigbox.Checkpoint{Origin: origin, Size: 736, Root: sha256.Sum256([]byte("root"))}
}

func TestSignAndOpen(t *testing.T) {
	const name = "log.example.com"
	treeHead, err := note.NewTreeHeadSigner(name, ecdsaKey(t, elliptic.P256()))
	if err != nil {
		t.Fatal(err)
	}
	for what, s := range map[string]*note.Signer{
		"Ed25519":     signer(t, name, ed25519Key(t)),
		"ECDSA P-256": signer(t, name, ecdsaKey(t, elliptic.P256())),
		"ECDSA P-384": signer(t, name, ecdsaKey(t, elliptic.P384())),
		"tree head":   treeHead,
	} {
		t.Run(what, func(t *testing.T) {
			want := checkpoint(name)
			text := sign(t, want, s)
			got, err := note.Open(text, s.Verifier())
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(want, got); d != "" {
				t.Fatalf("checkpoint differs (-want +got):\n%s", d)
			}
			for i := range text {
				broken := text[:i] + string(text[i]^1) + text[i+1:]
				if _, err := note.Open(broken, s.Verifier()); err == nil {
					t.Fatalf("accepted with byte %d changed: %q", i, broken)
				}
			}
		})
	}
}

// The shapes that the clients' conformance suite has for Rekor v2 checkpoints.
func TestOpenShapes(t *testing.T) {
	const name = "log.example.com"
	log, other, witness := signer(t, name, ed25519Key(t)), signer(t, name, ecdsaKey(t, elliptic.P256())), signer(t, "witness.example/w1", ed25519Key(t))
	plain := sign(t, checkpoint(name), log)
	body, logLine, _ := strings.Cut(plain, "\n\n")
	_, otherLine, _ := strings.Cut(sign(t, checkpoint(name), other), "\n\n")
	_, witnessLine, _ := strings.Cut(sign(t, checkpoint(name), witness), "\n\n")
	lines := strings.Split(body, "\n")
	badLine := strings.TrimSuffix(logLine, "\n")
	badLine = badLine[:len(badLine)-8] + "AAAAAAA=\n"

	for _, tt := range []struct {
		name, text string
		kind       sigbox.Kind // Internal stands for "accepted"
	}{
		{"plain", plain, 0},
		{"cosigned", plain + witnessLine, 0},
		{"multiple cosignatures", plain + witnessLine + witnessLine, 0},
		{"log's signature is not the first", body + "\n\n" + witnessLine + logLine, 0},
		{"two signatures, cosigned", plain + otherLine + witnessLine, 0},
		{"the same signature twice", plain + logLine, 0},
		{"a second signature of the key is wrong", plain + badLine, sigbox.NotVerified},
		{"signature missing", body + "\n\n", sigbox.Invalid},
		{"no empty line", body + "\n" + logLine, sigbox.Invalid},
		{"only a witness", body + "\n\n" + witnessLine, sigbox.NotVerified},
		{"only another key of that name", body + "\n\n" + otherLine, sigbox.NotVerified},
		{"of another name", strings.ReplaceAll(plain, name, "log.example.org"), sigbox.NotVerified},
		{"other origin", "log.example.org" + strings.TrimPrefix(plain, name), sigbox.NotVerified},
		{"origin missing", strings.TrimPrefix(plain, name+"\n"), sigbox.Invalid},
		{"size missing", strings.Join([]string{lines[0], lines[2]}, "\n") + "\n\n" + logLine, sigbox.Invalid},
		{"root missing", strings.Join(lines[:2], "\n") + "\n\n" + logLine, sigbox.Invalid},
		{"empty", "", sigbox.Invalid},
		{"huge", plain + strings.Repeat(witnessLine, 1000), sigbox.TooLarge},
		{"101 signatures", plain + strings.Repeat("— w AAAAAAA=\n", 100), sigbox.TooLarge},
		{"100 signatures", plain + strings.Repeat("— w AAAAAAA=\n", 99), 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := note.Open(tt.text, log.Verifier())
			switch {
			case err == nil && tt.kind != 0:
				t.Fatalf("accepted, expected %v", tt.kind)
			case err != nil && (tt.kind == 0 || sigbox.KindOf(err) != tt.kind):
				t.Fatalf("expected %v, found %v: %v", tt.kind, sigbox.KindOf(err), err)
			}
		})
	}
}

func TestParseRefuses(t *testing.T) {
	const sig = "\n— log.example AAAAAAA=\n"
	long := base64.StdEncoding.EncodeToString(make([]byte, 33))
	for name, text := range map[string]string{
		"leading zero":             "o\n0736\n" + root64 + "\n" + sig,
		"size with plus":           "o\n+736\n" + root64 + "\n" + sig,
		"negative size":            "o\n-1\n" + root64 + "\n" + sig,
		"size with underscore":     "o\n1_0\n" + root64 + "\n" + sig,
		"size of 64 bits":          "o\n9223372036854775808\n" + root64 + "\n" + sig,
		"empty size":               "o\n\n" + root64 + "\n" + sig,
		"short root":               "o\n1\nAAAA\n" + sig,
		"long root":                "o\n1\n" + long + "\n" + sig,
		"root without padding":     "o\n1\n" + strings.TrimSuffix(root64, "=") + "\n" + sig,
		"root with trailing bits":  "o\n1\n" + strings.TrimSuffix(root64, "I=") + "J=\n" + sig,
		"root in the URL alphabet": "o\n1\n" + strings.ReplaceAll(root64, "+", "-") + "\n" + sig,
		"carriage return":          "o\r\n1\n" + root64 + "\n" + sig,
		"tab":                      "o\t\n1\n" + root64 + "\n" + sig,
		"NUL":                      "o\x00\n1\n" + root64 + "\n" + sig,
		"not UTF-8":                "o\xff\n1\n" + root64 + "\n" + sig,
		"empty origin":             "\n1\n" + root64 + "\n" + sig,
		"empty extension":          "o\n1\n" + root64 + "\n\nx\n" + sig,
		"no signature":             "o\n1\n" + root64 + "\n\n",
		"no line end":              "o\n1\n" + root64 + "\n" + strings.TrimSuffix(sig, "\n"),
		"hyphen for the dash":      "o\n1\n" + root64 + "\n\n- log.example AAAAAAA=\n",
		"empty name":               "o\n1\n" + root64 + "\n\n—  AAAAAAA=\n",
		"name with plus":           "o\n1\n" + root64 + "\n\n— a+b AAAAAAA=\n",
		"name with wide space":     "o\n1\n" + root64 + "\n\n— a\u2003b AAAAAAA=\n",
		"key ID alone":             "o\n1\n" + root64 + "\n\n— a AAAAAA==\n",
		"signature not base64":     "o\n1\n" + root64 + "\n\n— a !!!!!!!=\n",
		"two spaces":               "o\n1\n" + root64 + "\n\n— a  AAAAAAA=\n",
		"text after":               "o\n1\n" + root64 + "\n" + sig + "\n",
	} {
		if _, _, err := note.Parse(text); err == nil {
			t.Errorf("%s: accepted %q", name, text)
		} else if k := sigbox.KindOf(err); k != sigbox.Invalid {
			t.Errorf("%s: expected kind invalid, found %v: %v", name, k, err)
		}
	}
}

func TestExtensions(t *testing.T) {
	s := signer(t, "rekor.example.com", ecdsaKey(t, elliptic.P256()))
	want := checkpoint("rekor.example.com - 2605736670972794746")
	want.Extensions = []string{"Timestamp: 1689177396617352539", "x"}
	got, err := note.Open(sign(t, want, s), s.Verifier())
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Fatalf("checkpoint differs (-want +got):\n%s", d)
	}
}

func TestSignRefuses(t *testing.T) {
	s := signer(t, "a", ed25519Key(t))
	th, err := note.NewTreeHeadSigner("a", ecdsaKey(t, elliptic.P256()))
	if err != nil {
		t.Fatal(err)
	}
	with := func(f func(*sigbox.Checkpoint)) sigbox.Checkpoint {
		cp := checkpoint("a")
		f(&cp)
		return cp
	}
	for name, try := range map[string]func() (string, error){
		"no signer":           func() (string, error) { return note.Sign(checkpoint("a")) },
		"empty origin":        func() (string, error) { return note.Sign(checkpoint(""), s) },
		"two lines of origin": func() (string, error) { return note.Sign(checkpoint("a\nb"), s) },
		"control character":   func() (string, error) { return note.Sign(checkpoint("a\tb"), s) },
		"size of 64 bits":     func() (string, error) { return note.Sign(with(func(c *sigbox.Checkpoint) { c.Size = 1 << 63 }), s) },
		"empty extension": func() (string, error) {
			return note.Sign(with(func(c *sigbox.Checkpoint) { c.Extensions = []string{""} }), s)
		},
		"extension of two lines": func() (string, error) {
			return note.Sign(with(func(c *sigbox.Checkpoint) { c.Extensions = []string{"a\nb"} }), s)
		},
		"tree head, no time": func() (string, error) { return note.Sign(checkpoint("a"), th) },
		"tree head, extension": func() (string, error) {
			return note.SignAt(with(func(c *sigbox.Checkpoint) { c.Extensions = []string{"a"} }), time.Now(), th)
		},
	} {
		if text, err := try(); err == nil {
			t.Errorf("%s: signed %q", name, text)
		}
	}
}

func TestNewSignerRefuses(t *testing.T) {
	for _, name := range []string{"", "a b", "a+b", "a\u00a0b"} {
		if _, err := note.NewSigner(name, ed25519Key(t)); err == nil {
			t.Errorf("accepted the name %q", name)
		}
	}
	if _, err := note.NewTreeHeadSigner("a", ed25519Key(t)); err == nil {
		t.Error("a tree head by Ed25519 was accepted")
	}
	if v, err := note.NewVerifier("", ed25519Key(t).Public()); err == nil || v != nil {
		t.Error("a verifier without a name was made")
	}
	if _, err := note.NewVerifier("a", "not a key"); err == nil {
		t.Error("a string was accepted for a key")
	}
	if _, err := note.NewVerifier("a", ed25519.PublicKey("short")); err == nil {
		t.Error("a short key was accepted")
	}
}

// Key IDs as Rekor v1 makes them: SHA-256 of the SPKI, whatever the name.
func TestECDSAKeyID(t *testing.T) {
	key := ecdsaKey(t, elliptic.P256())
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	want := sha256.Sum256(der)
	s := signer(t, "rekor.example.com", key)
	if !bytes.Equal(s.LogID(), want[:]) || s.KeyHash() != binary.BigEndian.Uint32(want[:]) {
		t.Fatalf("expected %x, found %x and %08x", want, s.LogID(), s.KeyHash())
	}
	anyName, err := note.NewRekorV1Verifier(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := note.Open(sign(t, checkpoint("rekor.example.com - 1"), s), anyName); err != nil {
		t.Fatal(err)
	}
}

// The example of the specification, https://c2sp.org/signed-note.
func TestEd25519KeyID(t *testing.T) {
	raw, err := base64.StdEncoding.DecodeString("AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k")
	if err != nil {
		t.Fatal(err)
	}
	id, err := note.LogID("example.com/foo", ed25519.PublicKey(raw[1:]))
	if err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprintf("%x", id[:4]); got != "530d903a" {
		t.Fatalf("key ID: expected 530d903a, found %s", got)
	}
}

// What we sign, golang.org/x/mod/sumdb/note opens.
func TestForeignVerifier(t *testing.T) {
	key := ed25519Key(t)
	s := signer(t, "log.example.com", key)
	vkey, err := xnote.NewEd25519VerifierKey("log.example.com", key.Public().(ed25519.PublicKey))
	if err != nil {
		t.Fatal(err)
	}
	v, err := xnote.NewVerifier(vkey)
	if err != nil {
		t.Fatal(err)
	}
	text := sign(t, checkpoint("log.example.com"), s)
	n, err := xnote.Open([]byte(text), xnote.VerifierList(v))
	if err != nil {
		t.Fatal(err)
	}
	if want := string(note.AppendText(nil, checkpoint("log.example.com"))); n.Text != want {
		t.Fatalf("expected the text %q, found %q", want, n.Text)
	}
}

func TestTreeHead(t *testing.T) {
	s, err := note.NewTreeHeadSigner("ct.example.com/2026", ecdsaKey(t, elliptic.P256()))
	if err != nil {
		t.Fatal(err)
	}
	_, sigs, err := note.Parse(sign(t, checkpoint("ct.example.com/2026"), s))
	if err != nil {
		t.Fatal(err)
	}
	th, err := note.ParseTreeHead(sigs[0].Bytes)
	if err != nil {
		t.Fatal(err)
	}
	if th.Time.UnixMilli() != 1700000000123 {
		t.Fatalf("expected the time 1700000000123, found %d", th.Time.UnixMilli())
	}
	if got := th.AppendSigned(nil); !bytes.Equal(got, sigs[0].Bytes[8:]) {
		t.Fatalf("expected %x, found %x", sigs[0].Bytes[8:], got)
	}
	for n := range sigs[0].Bytes {
		if _, err := note.ParseTreeHead(sigs[0].Bytes[:n]); err == nil {
			t.Fatalf("accepted the first %d bytes", n)
		}
	}
}

func BenchmarkOpen(b *testing.B) {
	s := signer(b, "log.example.com", ed25519Key(b))
	text := sign(b, checkpoint("log.example.com"), s, signer(b, "witness.example", ed25519Key(b)))
	v := s.Verifier()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := note.Open(text, v); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSign(b *testing.B) {
	s := signer(b, "log.example.com", ed25519Key(b))
	b.ReportAllocs()
	for b.Loop() {
		sign(b, checkpoint("log.example.com"), s)
	}
}
