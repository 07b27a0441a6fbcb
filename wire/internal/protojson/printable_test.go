package protojson

import (
	"bytes"
	"testing"
)

// TestPrintable: each byte at each place of a text of each length.
func TestPrintable(t *testing.T) {
	t.Parallel()
	for n := range 75 {
		s := bytes.Repeat([]byte(" "), n)
		if !printable(s) {
			t.Errorf("%d spaces are not printable", n)
		}
		for at := range s {
			for c := range 256 {
				s[at] = byte(c)
				if want := ' ' <= c && c < 0x80; printable(s) != want {
					t.Errorf("byte %d at %d of %d: expected %v", c, at, n, want)
				}
			}
			s[at] = ' '
		}
	}
}
