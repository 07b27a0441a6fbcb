package note_test

import (
	"crypto/elliptic"
	"strings"
	"testing"

	"github.com/sigbox/sigbox/internal/hostile"
	"github.com/sigbox/sigbox/wire/note"
)

// hostileNotes are over the bound and just under it. line is a signature that
// verifies.
func hostileNotes(text, line string) []hostile.Input {
	// As many signatures as a note may have, each of which verifies.
	most := len(text) + 1 + note.MaxSignatures*len(line) + 5
	inputs := []hostile.Input{hostile.FillTo("the log's signature, as often as is read", most, text+"\n", line, "")}
	for name, size := range map[string]int{"16 MB": hostile.Size, "as much as is read": note.MaxSize} {
		fill := func(what, head, unit, tail string) {
			inputs = append(inputs, hostile.FillTo(what+", "+name, size, head, unit, tail))
		}
		fill("line feeds", "", "\n", "")
		fill("extension lines", text, "x\n", "\n"+line)
		fill("extension lines alone", text, "x\n", "")
		fill("a long origin", "", "o", strings.TrimPrefix(text, "o")+"\n"+line)
		fill("a long size", "o\n", "1", "\n"+root64+"\n\n"+line)
		fill("a long root", "o\n1\n", "A", "\n\n"+line)
		fill("signatures", text+"\n", "— a AAAAAAA=\n", "")
		fill("the log's signature, again and again", text+"\n", line, "")
		fill("a long signature", text+"\n— a ", "AAAA", "\n")
		fill("a long name", text+"\n— ", "a", " AAAAAAA=\n")
		fill("a long name of runes", text+"\n— ", "é", " AAAAAAA=\n")
		fill("dashes", text+"\n", "—", "")
	}
	return inputs
}

// opened makes a reader that parses and opens, and a good note for it to read.
func opened(tb testing.TB) (read func([]byte) error, text, line string) {
	s := signer(tb, "o", ecdsaKey(tb, elliptic.P384()))
	cp := checkpoint("o")
	cp.Extensions = nil
	signed := sign(tb, cp, s)
	text, line, _ = strings.Cut(signed, "\n\n")
	return func(b []byte) error {
		if _, _, err := note.Parse(string(b)); err != nil {
			return err
		}
		_, err := note.Open(string(b), s.Verifier())
		return err
	}, text + "\n", line
}

func TestLimits(t *testing.T) {
	read, text, line := opened(t)
	hostile.Test(t, read, hostileNotes(text, line)...)
}

func BenchmarkHostile(b *testing.B) {
	read, text, line := opened(b)
	hostile.Benchmark(b, read, hostileNotes(text, line)...)
}
