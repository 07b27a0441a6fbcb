//go:build unix

package app

import (
	"os"
	"syscall"
)

// inode gives the device and the number of a file; zeros when they are unknown.
func inode(path string) (device, number uint64) {
	info, err := os.Stat(path)
	if err != nil {
		return 0, 0
	}
	s, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, 0
	}
	return uint64(s.Dev), s.Ino //nolint:unconvert // of another type on other systems
}
