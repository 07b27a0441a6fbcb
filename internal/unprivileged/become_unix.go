//go:build unix

package unprivileged

import (
	"os/exec"
	"syscall"
)

// become has a command run as a user, in that user's group and no other.
func become(cmd *exec.Cmd, user uint32) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: user, Gid: user, Groups: []uint32{user}}}
}
