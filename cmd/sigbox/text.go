package main

import (
	"encoding"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// printable makes untrusted text safe for a terminal: control characters (escape
// sequences among them), invalid UTF-8 and characters that reorder or hide text
// become visible escapes. Line ends and tabs are escaped as well.
func printable(s string) string {
	if isPlain(s) {
		return s
	}
	var b strings.Builder
	marks := maxMarks // none before the first letter
	for len(s) > 0 {
		r, n := utf8.DecodeRuneInString(s)
		if marks++; !unicode.Is(unicode.M, r) {
			marks = 0
		}
		switch {
		case r == utf8.RuneError && n == 1:
			b.WriteString(`\x`)
			b.WriteString(strconv.FormatUint(uint64(s[0])|0x100, 16)[1:])
		case isVisible(r) && marks <= maxMarks:
			b.WriteRune(r)
		default:
			q := strconv.QuoteRuneToASCII(r)
			b.WriteString(q[1 : len(q)-1])
		}
		s = s[n:]
	}
	return b.String()
}

// maxMarks is how many combining marks a letter may have; more pile up over other
// lines.
const maxMarks = 2

// isVisible reports whether r shows as itself, where it stands. Format characters
// (Cf) hold the bidirectional overrides; separators other than the space end lines;
// letters that are written from right to left reorder what is around them, digits
// and stops above all.
func isVisible(r rune) bool {
	return r == ' ' || unicode.IsGraphic(r) && !unicode.IsSpace(r) && !unicode.Is(rightToLeft, r) && !isBlank(r)
}

// isBlank reports whether a letter or symbol has no ink.
func isBlank(r rune) bool {
	switch r {
	case 0x115f, 0x1160, 0x3164, 0xffa0, // fillers of Hangul
		0x2800,           // Braille without dots
		0x16fe4, 0x1d159: // Khitan filler, null notehead
		return true
	}
	return false
}

// rightToLeft are the blocks of scripts that are written so.
//
// Source: Unicode, DerivedBidiClass.txt, the ranges whose default is R or AL.
var rightToLeft = &unicode.RangeTable{
	R16: []unicode.Range16{{Lo: 0x0590, Hi: 0x08ff, Stride: 1}, {Lo: 0xfb1d, Hi: 0xfdff, Stride: 1}, {Lo: 0xfe70, Hi: 0xfeff, Stride: 1}},
	R32: []unicode.Range32{{Lo: 0x10800, Hi: 0x10fff, Stride: 1}, {Lo: 0x1e800, Hi: 0x1efff, Stride: 1}},
}

// listed writes names as a list; those that would read as several are quoted.
func listed(names []string) string {
	quoted := make([]string, len(names))
	for i, n := range names {
		if quoted[i] = n; strings.ContainsAny(n, ", \"") || n == "" {
			quoted[i] = `"` + strings.ReplaceAll(n, `"`, `\"`) + `"`
		}
	}
	return strings.Join(quoted, ", ")
}

func isPlain(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

// count writes a number with its noun.
func count(n int, one, several string) string {
	if n == 1 {
		return "1 " + one
	}
	return strconv.Itoa(n) + " " + several
}

// fileName is a file's name in JSON. One that is no UTF-8, which JSON cannot hold, is
// written as a quoted string of Go, and so is one that begins with a quotation mark:
// no two files get the same name.
type fileName string

var _ encoding.TextMarshaler = fileName("")

// MarshalText makes it text for JSON.
func (n fileName) MarshalText() ([]byte, error) {
	if s := string(n); utf8.ValidString(s) && !strings.HasPrefix(s, `"`) {
		return []byte(s), nil
	}
	return []byte(strconv.Quote(string(n))), nil
}
