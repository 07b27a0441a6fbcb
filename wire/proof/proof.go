// Package proof reads and writes C2SP tlog-proof files: a checkpoint, the place of
// an entry in its tree, and the hashes that lead from the one to the other.
//
//	c2sp.org/tlog-proof@v1
//	extra e30=
//	index 73894
//	gSKyXoYZUgZ6jduWYrkDOARinOMGJveXjgMkBTcdPlQ=
//	B95lDa8R83lS8n0eG+o0buTxRKQTYFi//1U8anccXmA=
//
//	log.example.com
//	109482
//	sFodV/vSp5O8n9a8QpW6PRY97tfOSW5bsc2Xl/EQi08=
//
//	— log.example.com hI2DJw…
//
// Parsing is strict: a text that is accepted is the only one that gives its value.
// Neither the proof nor the checkpoint's signatures are checked here.
//
// Specification: https://c2sp.org/tlog-proof.
package proof

import (
	"crypto/sha256"
	"encoding/base64"
	"strconv"
	"strings"

	"github.com/sigbox/sigbox"
)

const (
	// MaxSize bounds a proof in bytes; MaxExtra the data that goes with it, and
	// MaxHashes the hashes, of which a tree of 2^63 leaves needs no more.
	MaxSize   = 1 << 20
	MaxExtra  = 512 << 10
	MaxHashes = 63

	header = "c2sp.org/tlog-proof@v1"
)

// Proof is that an entry is in a log.
type Proof struct {
	// Extra is what an application adds; nobody has signed it. nil is none.
	Extra []byte
	// Index is the entry's, from 0 on.
	Index uint64
	// Hashes lead from the leaf's sibling to the root's child (RFC 6962 §2.1.1).
	Hashes [][sha256.Size]byte
	// Checkpoint is the signed note of the tree, as text.
	Checkpoint string
}

// Parse reads a proof. The error is of kind Invalid, or TooLarge beyond a bound.
func Parse(text string) (Proof, error) {
	if len(text) > MaxSize {
		return Proof{}, sigbox.Errorf(sigbox.TooLarge, "a proof of %d bytes: at most %d are read", len(text), MaxSize)
	}
	head, checkpoint, _ := strings.Cut(text, "\n\n")
	if checkpoint == "" {
		return Proof{}, bad("an empty line, and a checkpoint after it")
	}
	p := Proof{Checkpoint: checkpoint}
	line, rest, _ := strings.Cut(head, "\n")
	if line != header {
		return Proof{}, bad("the first line to be " + header)
	}
	line, rest, _ = strings.Cut(rest, "\n")
	if encoded, there := strings.CutPrefix(line, "extra "); there {
		var err error
		if p.Extra, err = decode(encoded, MaxExtra); err != nil {
			return Proof{}, err
		}
		line, rest, _ = strings.Cut(rest, "\n")
	}
	index, ok := strings.CutPrefix(line, "index ")
	n, _ := strconv.ParseUint(index, 10, 63) // an error leaves another number
	if !ok || strconv.FormatUint(n, 10) != index {
		return Proof{}, bad("a line with the index as a decimal number")
	}
	p.Index = n
	return p, p.hashes(rest)
}

// hashes reads the lines of hashes.
func (p *Proof) hashes(lines string) error {
	for lines != "" {
		var line string
		line, lines, _ = strings.Cut(lines, "\n")
		h, _ := decode(line, sha256.Size) // an error leaves nothing
		if len(h) != sha256.Size {
			return bad("a SHA-256 hash in base64 on each line")
		}
		if len(p.Hashes) == MaxHashes {
			return sigbox.Errorf(sigbox.TooLarge, "a proof of more than %d hashes", MaxHashes)
		}
		p.Hashes = append(p.Hashes, [sha256.Size]byte(h))
	}
	return nil
}

// decode reads base64 that is not empty and has but one form.
func decode(s string, limit int) ([]byte, error) {
	b, err := base64.StdEncoding.Strict().DecodeString(s)
	if len(b) > limit {
		return nil, sigbox.Errorf(sigbox.TooLarge, "proof: %d bytes on a line, at most %d are read", len(b), limit)
	}
	if err != nil || len(b) == 0 || strings.ContainsAny(s, "\r\n") {
		return nil, bad("base64")
	}
	return b, nil
}

func bad(want string) error {
	return sigbox.Errorf(sigbox.Invalid, "C2SP tlog-proof: expected %s", want)
}

// Append appends the proof's text.
func (p *Proof) Append(dst []byte) []byte {
	dst = append(append(dst, header...), '\n')
	if len(p.Extra) > 0 {
		dst = append(dst, "extra "...)
		dst = append(base64.StdEncoding.AppendEncode(dst, p.Extra), '\n')
	}
	dst = strconv.AppendUint(append(dst, "index "...), p.Index, 10)
	dst = append(dst, '\n')
	for _, h := range p.Hashes {
		dst = append(base64.StdEncoding.AppendEncode(dst, h[:]), '\n')
	}
	return append(append(dst, '\n'), p.Checkpoint...)
}
