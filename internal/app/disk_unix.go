//go:build linux || darwin

package app

import "syscall"

// permissions says that files have owners.
const permissions = true

// diskOf gives how much room the file system of a path has for who is not root.
func diskOf(path string) (d Disk, ok bool) {
	var s syscall.Statfs_t
	if err := syscall.Statfs(path, &s); err != nil {
		return d, false
	}
	block := uint64(s.Bsize) // #nosec G115 -- a size
	return Disk{Free: s.Bavail * block, Size: s.Blocks * block, FreeFiles: s.Ffree, Files: s.Files}, true
}
