package protojson

import "encoding/binary"

// printable reports whether all of s is ASCII from the space on: all that JSON has in
// strings as it is, but for the quotes around them and escapes.
func printable(s []byte) bool {
	if len(s) < 8 {
		for _, c := range s {
			if c < ' ' || c >= 0x80 {
				return false
			}
		}
		return true
	}
	bad := other(s[len(s)-8:]) // some of them again, so that none is left over
	for len(s) >= 32 {
		bad |= other(s) | other(s[8:]) | other(s[16:]) | other(s[24:])
		s = s[32:]
	}
	for len(s) >= 8 {
		bad |= other(s)
		s = s[8:]
	}
	return bad&0x8080808080808080 == 0
}

// other has the highest bit of a byte set if one of the first eight of s is not
// printable: it is set from the start, or by taking a space from what is less. What
// that borrows changes a byte only above one that is marked.
func other(s []byte) uint64 {
	w := binary.LittleEndian.Uint64(s)
	return w | (w - 0x2020202020202020)
}
