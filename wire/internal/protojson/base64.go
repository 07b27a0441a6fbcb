package protojson

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"strings"
	"unicode/utf8"

	"github.com/sigbox/sigbox"
)

// Both alphabets, without padding. Strict: the bits left over are zero. They are
// made once, since each of these methods copies the whole encoding.
var (
	standard = base64.RawStdEncoding.Strict()
	urlSafe  = base64.RawURLEncoding.Strict()
)

// DecodeBase64 reads base64 of either alphabet (not of both), padded or not,
// without white space and with nothing in the bits left over.
func DecodeBase64(s []byte) ([]byte, error) {
	text := bytes.TrimRight(s, "=")
	if padding := len(s) - len(text); padding > 0 && (padding > 2 || len(s)%4 != 0) {
		return nil, notBase64(s)
	}
	b := make([]byte, base64.RawStdEncoding.DecodedLen(len(text)))
	done := decodeBlocks(b, text)
	n, err := standard.Decode(b[done*3/4:], text[done:])
	n += done * 3 / 4
	if err != nil && bytes.ContainsAny(text, "-_") {
		n, err = urlSafe.Decode(b, text)
	}
	// Package base64 passes over line ends, wherever they are.
	if err != nil || len(text) != base64.RawStdEncoding.EncodedLen(n) {
		return nil, notBase64(s)
	}
	return b[:n], nil
}

// block is how many letters decodeBlocks reads at a time.
const block = 16

// decodeBlocks decodes blocks of the standard alphabet, in half of the time that
// package base64 takes, and gives how many letters that were. It stops ahead of a
// block with anything else in it and ahead of the last one.
func decodeBlocks(dst, src []byte) (done int) {
	for len(src) > block && len(dst) > block*3/4 {
		s, d := (*[block]byte)(src), (*[block * 3 / 4]byte)(dst)
		// Four letters are 24 bits.
		a := first[s[0]] | second[s[1]] | third[s[2]] | fourth[s[3]]
		b := first[s[4]] | second[s[5]] | third[s[6]] | fourth[s[7]]
		c := first[s[8]] | second[s[9]] | third[s[10]] | fourth[s[11]]
		e := first[s[12]] | second[s[13]] | third[s[14]] | fourth[s[15]]
		if (a|b|c|e)&foreign != 0 {
			break
		}
		binary.BigEndian.PutUint64(d[0:], uint64(a)<<40|uint64(b)<<16|uint64(c)>>8)
		binary.BigEndian.PutUint32(d[8:], c<<24|e)
		src, dst = src[block:], dst[block*3/4:]
		done += block
	}
	return done
}

// What a letter stands for as the first of four, the second and so on. They are read
// and never written.
var first, second, third, fourth = letters(18), letters(12), letters(6), letters(0)

// foreign marks what is no letter of the standard alphabet.
const foreign = 1 << 31

// letters gives the value of each letter of the standard alphabet, shifted.
func letters(shift int) (of [256]uint32) {
	for c := range of {
		of[c] = foreign
	}
	for v := range 64 {
		of[alphabets[v]] = uint32(v) << shift // #nosec G115 -- of 6 bits
	}
	return of
}

// notBase64 says why s is no base64.
func notBase64(s []byte) error {
	text := bytes.TrimRight(s, "=")
	padding := len(s) - len(text)
	foreign := bytes.IndexFunc(text, func(r rune) bool { return !strings.ContainsRune(alphabets, r) })
	switch {
	case bytes.ContainsAny(s, "\r\n"):
		return sigbox.Errorf(sigbox.Invalid, "not base64: it has line ends in it")
	case foreign >= 0:
		r, _ := utf8.DecodeRune(text[foreign:])
		return sigbox.Errorf(sigbox.Invalid, "not base64: %q at character %d does not belong there", string(r), 1+utf8.RuneCount(text[:foreign]))
	case bytes.ContainsAny(text, "+/") && bytes.ContainsAny(text, "-_"):
		return sigbox.Errorf(sigbox.Invalid, "not base64: it has characters of both alphabets")
	case len(text)%4 == 1:
		return sigbox.Errorf(sigbox.Invalid, "not base64: of %d characters the last is one too many, or more are missing", len(text))
	case padding > 0 && len(s)%4 != 0 || padding > 2:
		return sigbox.Errorf(sigbox.Invalid, "not base64: its padding does not fit its length")
	}
	return sigbox.Errorf(sigbox.Invalid, "not base64: its last character has bits left over")
}

// alphabets are both of base64 (RFC 4648 §4 and §5), the standard one first.
const alphabets = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/-_"
