//go:build !unix

package cli

import "os/exec"

// detach does nothing here: Windows sends no Ctrl-C to programs with windows.
func detach(*exec.Cmd) {}
