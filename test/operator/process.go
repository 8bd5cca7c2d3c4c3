package operator

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
)

// tailLines is how much of the log goes into an error.
const tailLines = 20

// leash starts a program ("$@") that cannot outlive the holder of the other
// end of file descriptor 3; test/controlplane says how it works, and why.
const leash = `(trap '' HUP INT TERM; cat >/dev/null; kill -9 $$) <&3 & exec "$@" 3<&-`

// process is one life of a program.
type process struct {
	pid   int
	log   string
	start int64         // where this life's part of the log begins
	done  chan struct{} // closed when it has ended
	state string        // how it ended; set before done is closed
}

func spawn(binary string, args, env []string, logPath string) (*process, error) {
	log, err := os.OpenFile(logPath, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer func() { _ = log.Close() }()
	info, err := log.Stat()
	if err != nil {
		return nil, err
	}
	held, holder, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer func() { _ = held.Close() }()

	cmd := exec.Command("/bin/sh", append([]string{"-c", leash, "webhook-operator", binary}, args...)...)
	cmd.Env = env
	cmd.Stdout, cmd.Stderr = log, log
	cmd.ExtraFiles = []*os.File{held}
	// A group of its own: Ctrl-C reaches the parent only, which then ends its
	// children in order.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		_ = holder.Close()
		return nil, err
	}

	p := &process{pid: cmd.Process.Pid, log: logPath, start: info.Size(), done: make(chan struct{})}
	go func() {
		_ = cmd.Wait()
		p.state = cmd.ProcessState.String()
		// The watchdog is all that is left of the group.
		_ = syscall.Kill(-p.pid, syscall.SIGKILL)
		_ = holder.Close()
		close(p.done)
	}()
	return p, nil
}

// signal signals the process, and no other one: while the watchdog of its
// group lives, its id is not given to anybody else.
func (p *process) signal(sig syscall.Signal) error {
	select {
	case <-p.done:
		return fmt.Errorf("sending %v to the operator: %w", sig, os.ErrProcessDone)
	default:
	}
	err := syscall.Kill(p.pid, sig)
	if errors.Is(err, syscall.ESRCH) {
		err = os.ErrProcessDone
	}
	if err != nil {
		return fmt.Errorf("sending %v to the operator: %w", sig, err)
	}
	return nil
}

// output is this life's part of the log.
func (p *process) output() (string, error) {
	f, err := os.Open(p.log)
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }()
	if _, err := f.Seek(p.start, io.SeekStart); err != nil {
		return "", err
	}
	data, err := io.ReadAll(f)
	return string(data), err
}

// tail is the end of this life's part of the log.
func (p *process) tail() (string, error) {
	output, err := p.output()
	if err != nil {
		return "", err
	}
	lines := bytes.Split(bytes.TrimSpace([]byte(output)), []byte("\n"))
	return string(bytes.Join(lines[max(0, len(lines)-tailLines):], []byte("\n"))), nil
}
