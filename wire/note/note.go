// Package note reads and writes the signed checkpoints of transparency logs.
//
// A checkpoint is a signed note whose text says which tree a log stands at:
//
//	log.example.com
//	20852163
//	CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=
//
//	— log.example.com Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOo…
//
// Parsing is strict: a text that is accepted is the only one that gives its
// value, so that what is parsed and written again gives the same bytes.
//
//	v, err := note.NewVerifier("log.example.com", pub)
//	…
//	cp, err := note.Open(text, v)
//
// Specifications: https://c2sp.org/signed-note, https://c2sp.org/tlog-checkpoint,
// and for the tree heads of certificate logs https://c2sp.org/static-ct-api and
// RFC 6962 §3.5.
package note

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/sigbox/sigbox"
)

const (
	// MaxSize bounds a note in bytes. The specification wants 16 signatures to
	// fit, of which a post-quantum one takes nearly 5 kB.
	MaxSize = 64 << 10
	// MaxSignatures bounds the signatures of a note.
	MaxSignatures = 100
	// maxOwn bounds the signatures of one key that are checked. Logs make one;
	// each copy of it would cost as much again.
	maxOwn = 4

	sigPrefix = "— "
	rootLen   = 32
	// rootText is the length of a root hash in base64.
	rootText = 44
)

// strict64 refuses base64 that has set bits after the last byte, so that each
// value has one encoding. It is never changed.
var strict64 = base64.StdEncoding.Strict()

// Signature is one signature line of a note.
type Signature struct {
	// Name is the key's name.
	Name string
	// Hash is the key ID, 32 bits in big-endian order on the wire.
	Hash uint32
	// Bytes is what follows the key ID.
	Bytes []byte
}

// Parse reads a checkpoint and its signatures; it checks no signature. The error
// is of kind Invalid, or TooLarge when a bound is exceeded.
func Parse(text string) (sigbox.Checkpoint, []Signature, error) {
	cp, _, lines, err := split(text)
	if err != nil {
		return sigbox.Checkpoint{}, nil, err
	}
	sigs := make([]Signature, 0, bytes.Count(lines, []byte{'\n'}))
	for len(lines) > 0 {
		var l line
		if l, lines, err = nextLine(lines, nil); err != nil {
			return sigbox.Checkpoint{}, nil, err
		}
		sigs = append(sigs, Signature{string(l.name), l.hash, l.sig})
	}
	return cp, sigs, nil
}

// AppendText appends the text of a checkpoint, which is what is signed.
func AppendText(dst []byte, cp sigbox.Checkpoint) []byte {
	dst = append(dst, cp.Origin...)
	dst = append(dst, '\n')
	dst = strconv.AppendUint(dst, cp.Size, 10)
	dst = append(dst, '\n')
	dst = strict64.AppendEncode(dst, cp.Root[:])
	dst = append(dst, '\n')
	for _, e := range cp.Extensions {
		dst = append(dst, e...)
		dst = append(dst, '\n')
	}
	return dst
}

// Append appends a whole note: text, empty line and signature lines. It is the
// inverse of [Parse].
func Append(dst []byte, cp sigbox.Checkpoint, sigs []Signature) []byte {
	dst = append(AppendText(dst, cp), '\n')
	for _, s := range sigs {
		dst = appendLine(dst, s)
	}
	return dst
}

func appendLine(dst []byte, s Signature) []byte {
	dst = append(dst, sigPrefix...)
	dst = append(dst, s.Name...)
	dst = append(dst, ' ')
	raw := binary.BigEndian.AppendUint32(make([]byte, 0, 4+len(s.Bytes)), s.Hash)
	dst = strict64.AppendEncode(dst, append(raw, s.Bytes...))
	return append(dst, '\n')
}

// split takes a note apart and reads its text. The text ends in a line feed, the
// separating empty line belongs to neither part, and there is at least one
// signature line (signed-note, Format).
func split(note string) (cp sigbox.Checkpoint, text, lines []byte, err error) {
	if len(note) > MaxSize {
		return cp, nil, nil, sigbox.Errorf(sigbox.TooLarge, "checkpoint of %d bytes: at most %d are read", len(note), MaxSize)
	}
	b := []byte(note)
	if err := checkCharacters(b); err != nil {
		return cp, nil, nil, err
	}
	// The lines of a checkpoint are not empty, so the first empty line is the
	// last one too; a further one fails as a signature line.
	i := bytes.Index(b, []byte("\n\n"))
	if i < 0 {
		return cp, nil, nil, sigbox.Errorf(sigbox.Invalid, "checkpoint: expected an empty line between text and signatures, found none")
	}
	text, lines = b[:i+1], b[i+2:]
	if len(lines) == 0 {
		return cp, nil, nil, sigbox.Errorf(sigbox.Invalid, "checkpoint: expected at least one signature, found none")
	}
	if n := bytes.Count(lines, []byte{'\n'}); n > MaxSignatures {
		return cp, nil, nil, sigbox.Errorf(sigbox.TooLarge, "checkpoint with %d signatures: at most %d are read", n, MaxSignatures)
	}
	cp, err = parseText(note[:len(text)])
	return cp, text, lines, err
}

// checkCharacters refuses what is not UTF-8, and ASCII control characters other
// than the line feed (signed-note, Format).
func checkCharacters(b []byte) error {
	if !utf8.Valid(b) {
		return sigbox.Errorf(sigbox.Invalid, "checkpoint: expected UTF-8 text")
	}
	for i, c := range b {
		if c < 0x20 && c != '\n' {
			return sigbox.Errorf(sigbox.Invalid, "checkpoint: control character %#02x at byte %d", c, i)
		}
	}
	return nil
}

// parseText reads the lines of a checkpoint (tlog-checkpoint, Note text): origin,
// size, root hash, extension lines.
func parseText(text string) (cp sigbox.Checkpoint, err error) {
	origin, rest, _ := strings.Cut(text, "\n")
	size, rest, _ := strings.Cut(rest, "\n")
	root, rest, ok := strings.Cut(rest, "\n")
	switch {
	case !ok:
		return cp, sigbox.Errorf(sigbox.Invalid, "checkpoint: expected at least the three lines origin, size and root hash")
	case origin == "":
		return cp, sigbox.Errorf(sigbox.Invalid, "checkpoint: the first line, the origin, is empty")
	}
	cp.Origin = origin
	if cp.Size, err = parseSize(size); err != nil {
		return sigbox.Checkpoint{}, err
	}
	if err = parseRoot(&cp.Root, root); err != nil {
		return sigbox.Checkpoint{}, err
	}
	if rest != "" {
		cp.Extensions = strings.Split(strings.TrimSuffix(rest, "\n"), "\n")
	}
	return cp, nil
}

// parseSize reads a decimal number without leading zeros of at most 63 bits,
// which is what inclusion proofs can carry on the wire.
func parseSize(s string) (uint64, error) {
	n, err := strconv.ParseUint(s, 10, 63)
	if err != nil || s[0] == '+' || (s[0] == '0' && len(s) > 1) {
		return 0, sigbox.Errorf(sigbox.Invalid, "checkpoint: expected the tree size as a decimal number on line 2, found %.40q", s)
	}
	return n, nil
}

func parseRoot(dst *[rootLen]byte, s string) error {
	if len(s) == rootText {
		var src [rootText]byte
		var buf [rootLen + 1]byte // 44 characters may stand for 33 bytes
		copy(src[:], s)
		if n, err := strict64.Decode(buf[:], src[:]); err == nil && n == rootLen {
			copy(dst[:], buf[:])
			return nil
		}
	}
	return sigbox.Errorf(sigbox.Invalid, "checkpoint: expected a SHA-256 root hash in base64 on line 3, found %.60q", s)
}

// line is a signature line; its slices share memory with the note or the buffer
// given to nextLine.
type line struct {
	name []byte
	hash uint32
	sig  []byte
}

// nextLine reads the first of some signature lines and gives the rest. The
// signature is appended to buf.
func nextLine(lines, buf []byte) (l line, rest []byte, err error) {
	text, rest, ok := bytes.Cut(lines, []byte{'\n'})
	if !ok {
		return l, nil, sigbox.Errorf(sigbox.Invalid, "checkpoint: the last line does not end in a line feed")
	}
	text, ok = bytes.CutPrefix(text, []byte(sigPrefix))
	name, encoded, found := bytes.Cut(text, []byte{' '})
	if !ok || !found || !validName(name) {
		return l, nil, sigbox.Errorf(sigbox.Invalid, "checkpoint: expected a signature line %q, found %.80q", "— name base64", text)
	}
	raw, err := strict64.AppendDecode(buf, encoded)
	if err != nil || len(raw) <= 4 {
		return l, nil, sigbox.Errorf(sigbox.Invalid, "checkpoint: the signature of %.80q is not base64 of a key ID and a signature", name)
	}
	return line{name, binary.BigEndian.Uint32(raw), raw[4:]}, rest, nil
}

// validName says whether b can name a key: not empty, no Unicode space, no plus
// (signed-note, Format). Callers have made sure that it is UTF-8.
func validName(b []byte) bool {
	return len(b) > 0 && bytes.IndexFunc(b, func(r rune) bool { return r == '+' || unicode.IsSpace(r) }) < 0
}
