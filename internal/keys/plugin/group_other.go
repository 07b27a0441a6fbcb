//go:build !unix

package plugin

import "os/exec"

// ownGroup does nothing here: what a program has started is left to itself.
func ownGroup(*exec.Cmd) {}

func endGroup(*exec.Cmd) {}
