package note_test

import (
	"crypto/ed25519"
	"crypto/elliptic"
	"errors"
	"strings"
	"testing"

	xnote "golang.org/x/mod/sumdb/note"

	"github.com/sigbox/sigbox/wire/note"
)

// FuzzParse: what is read is written the same, and the Go checksum database's
// reader reads the same signatures.
func FuzzParse(f *testing.F) {
	f.Add("o\n736\n" + root64 + "\n\n— log.example AAAAAAA=\n")
	f.Add("o - 12\n0\n" + root64 + "\nx: y\n\n— a AAAAAAA=\n— b AAAAAAA=\n")
	f.Add("o\n01\n" + root64 + "\n\n— a AAAAAAA=\n")
	v, err := note.NewVerifier("a", ed25519.PublicKey(make([]byte, 32)))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text string) {
		cp, sigs, err := note.Parse(text)
		if _, err2 := note.Open(text, v); err != nil && err2 == nil {
			t.Fatal("opened what does not parse")
		}
		if err != nil {
			return
		}
		if back := string(note.Append(nil, cp, sigs)); back != text {
			t.Fatalf("read %q, wrote %q", text, back)
		}
		_, err = xnote.Open([]byte(text), xnote.VerifierList())
		other, ok := errors.AsType[*xnote.UnverifiedNoteError](err)
		if !ok {
			t.Fatalf("sumdb/note: %v", err)
		}
		if other.Note.Text != string(note.AppendText(nil, cp)) || len(other.Note.UnverifiedSigs) != len(sigs) {
			t.Fatalf("sumdb/note reads %+v", other.Note)
		}
		for i, s := range other.Note.UnverifiedSigs {
			if s.Name != sigs[i].Name || s.Hash != sigs[i].Hash {
				t.Fatalf("sumdb/note reads %+v, expected %+v", s, sigs[i])
			}
		}
	})
}

// FuzzOpen: of edits to a signed note only those in other keys' lines open, and
// give the same checkpoint.
func FuzzOpen(f *testing.F) {
	f.Add("o", uint64(7), "", "— b AAAAAAA=\n", 0, byte(0))
	f.Add("o", uint64(7), "x\ny", "", 5, byte(1))
	p384 := signer(f, "log.example", ecdsaKey(f, elliptic.P384()))
	f.Fuzz(func(t *testing.T, origin string, size uint64, extensions, others string, at int, change byte) {
		cp := checkpoint(origin)
		cp.Size, cp.Extensions = size, nil
		if extensions != "" {
			cp.Extensions = strings.Split(extensions, "\n")
		}
		text, err := note.Sign(cp, p384)
		if err != nil {
			return
		}
		length := len(text)
		edited := []byte(text + others)
		if at >= 0 && at < len(edited) {
			edited[at] ^= change
		}
		got, err := note.Open(string(edited), p384.Verifier())
		touched := change != 0 && at >= 0 && at < length
		switch {
		case err == nil && touched:
			t.Fatalf("opened with byte %d changed: %q", at, edited)
		case err == nil && string(note.AppendText(nil, got)) != string(note.AppendText(nil, cp)):
			t.Fatalf("opened %+v, signed %+v", got, cp)
		case err != nil && change == 0 && others == "":
			t.Fatalf("signed and not opened: %v", err)
		}
	})
}

// FuzzParseTreeHead: what is read is written the same.
func FuzzParseTreeHead(f *testing.F) {
	f.Add([]byte("\x00\x00\x01\x8b\xcf\xe5\x68\x7b\x04\x03\x00\x02ab"))
	f.Add([]byte("\x00\x00\x01\x8b\xcf\xe5\x68\x7b\x04\x03\x00\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		th, err := note.ParseTreeHead(b)
		if err != nil {
			return
		}
		if out := th.AppendSigned(nil); string(out) != string(b[8:]) {
			t.Fatalf("read %x, wrote %x", b[8:], out)
		}
	})
}
