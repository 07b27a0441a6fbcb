package tlog

import (
	"fmt"
	"strconv"
)

// checkpointPath is the name of the published checkpoint.
const checkpointPath = "checkpoint"

// appendIndex writes a tile index in groups of three digits, all but the last
// after an x (tlog-tiles, Merkle Tree): 1234067 is x001/x234/067.
func appendIndex(dst []byte, n uint64) []byte {
	if n >= 1000 {
		dst = appendGroups(dst, n/1000)
	}
	return fmt.Appendf(dst, "%03d", n%1000)
}

func appendGroups(dst []byte, n uint64) []byte {
	if n >= 1000 {
		dst = appendGroups(dst, n/1000)
	}
	return fmt.Appendf(dst, "x%03d/", n%1000)
}

// tilePath is the name of a full tile.
func tilePath(l uint, index uint64) string {
	return string(appendIndex(fmt.Appendf(nil, "tile/%d/", l), index))
}

// bundlePath is the name of a full entry bundle.
func (c *Config) bundlePath(index uint64) string {
	return string(appendIndex(append(append([]byte("tile/"), c.BundleDir...), '/'), index))
}

// partialPath is the name of the first w hashes or entries of a tile or bundle.
func partialPath(full string, w uint64) string {
	return partialDir(full) + strconv.FormatUint(w, 10)
}

// partialDir is what the names of a tile's partial ones begin with.
func partialDir(full string) string { return full + ".p/" }
