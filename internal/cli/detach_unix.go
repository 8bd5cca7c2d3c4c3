//go:build unix

package cli

import (
	"os/exec"
	"syscall"
)

// detach takes a command out of reach of the terminal's Ctrl-C, which is for this one.
func detach(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} }
