package controlplane

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"
)

// stopGrace is how long a process may take to end by itself when asked to.
const stopGrace = 10 * time.Second

// leash starts a program ("$@") that cannot outlive the process at the other
// end of file descriptor 3, a pipe that nobody writes to. A watchdog waits for
// the pipe's end, which the kernel sees to when its holder ends in whatever
// way, and kills the program by its id: the shell's own, since exec keeps it.
// Because the watchdog runs before the program does, there is no moment at
// which the parent's death goes unnoticed. (Linux's parent-death signal has
// two faults: macOS has none, and it watches a thread, not a process.)
//
// The watchdog stays in the program's process group. That keeps the id from
// being given to another process while the watchdog lives, and lets both be
// ended by one signal. Hangups are ignored, because the kernel sends one to a
// group that loses its parent while the program is stopped.
const leash = `(trap '' HUP INT TERM; cat >/dev/null; kill -9 $$) <&3 & exec "$@" 3<&-`

// Process is one program of the control plane. Its methods may be called from
// several goroutines.
type Process struct {
	name  string
	path  string
	args  []string
	env   []string
	log   string
	ready func(context.Context) error

	keepsData bool // has something to put in order before it ends

	starting sync.Mutex // held by whoever starts or restarts

	mu      sync.Mutex // guards what follows
	current *run       // nil before the first start
	retired bool
}

// run is one life of a process.
type run struct {
	pid       int
	logOffset int64 // where this life's part of the log begins
	done      chan struct{}
	state     string // how it ended; set before done is closed
}

// Name is the program's name, such as kube-apiserver.
func (p *Process) Name() string { return p.name }

// Log is the path of the file that collects the program's output.
func (p *Process) Log() string { return p.log }

// Pid is the id of the running process, 0 if none runs.
func (p *Process) Pid() int {
	if r := p.running(); r != nil {
		return r.pid
	}
	return 0
}

// Done is closed when the process that runs now has ended; if none runs it is
// closed already.
func (p *Process) Done() <-chan struct{} {
	if r := p.running(); r != nil {
		return r.done
	}
	closed := make(chan struct{})
	close(closed)
	return closed
}

// Pause stops the process where it is (SIGSTOP): its connections stay open and
// nobody answers on them.
func (p *Process) Pause() error { return p.signal(syscall.SIGSTOP) }

// Resume lets a paused process go on.
func (p *Process) Resume() error { return p.signal(syscall.SIGCONT) }

// Kill ends the process as a crash would (SIGKILL) and returns when it is
// gone. It is not an error if none runs.
func (p *Process) Kill() error {
	r := p.running()
	if r == nil {
		return nil
	}
	if err := p.signal(syscall.SIGKILL); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	<-r.done
	return nil
}

// Stop asks the process to end (SIGTERM), kills it if it has not done so after
// ten seconds, and returns when it is gone. It is not an error if none runs.
func (p *Process) Stop() error {
	r := p.running()
	if r == nil {
		return nil
	}
	// A paused process gets the signal once it goes on.
	err := errors.Join(p.signal(syscall.SIGTERM), p.signal(syscall.SIGCONT))
	if err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	select {
	case <-r.done:
		return nil
	case <-time.After(stopGrace):
		return p.Kill()
	}
}

// Restart ends the process if it runs, as Stop does, and starts it again with
// the same ports, certificates and data. That is orderly, not quick: the API
// server takes about 1 s to stop and 2 s to start, etcd 7 s to give up on the
// API server's open watches. Kill and Start spare the former.
func (p *Process) Restart(ctx context.Context) error {
	p.starting.Lock()
	defer p.starting.Unlock()
	if err := p.Stop(); err != nil {
		return err
	}
	return p.start(ctx)
}

// Start starts a process that does not run, after Kill, say, and returns when
// it is ready. The deadline of ctx bounds the wait, two minutes if there is
// none.
func (p *Process) Start(ctx context.Context) error {
	p.starting.Lock()
	defer p.starting.Unlock()
	if pid := p.Pid(); pid != 0 {
		return fmt.Errorf("starting %s: it runs already, as process %d", p.name, pid)
	}
	return p.start(ctx)
}

func (p *Process) start(ctx context.Context) error {
	if err := p.spawn(); err != nil {
		return fmt.Errorf("starting %s: %w", p.name, err)
	}
	return p.WaitReady(ctx)
}

// spawn starts the process, on its leash.
func (p *Process) spawn() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.retired {
		return errors.New("the control plane has been stopped")
	}

	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	info, err := log.Stat()
	if err != nil {
		return err
	}
	held, holder, err := os.Pipe()
	if err != nil {
		return err
	}
	defer func() { _ = held.Close() }()

	cmd := exec.Command("/bin/sh", append([]string{"-c", leash, p.name, p.path}, p.args...)...)
	cmd.Env = p.env
	cmd.Stdout, cmd.Stderr = log, log
	cmd.ExtraFiles = []*os.File{held}
	// A group of its own: Ctrl-C reaches this process only, which then stops
	// the others in order.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		_ = holder.Close()
		return err
	}

	r := &run{pid: cmd.Process.Pid, logOffset: info.Size(), done: make(chan struct{})}
	p.current = r
	go func() {
		_ = cmd.Wait()
		r.state = cmd.ProcessState.String()
		// The watchdog is all that is left of the group.
		_ = syscall.Kill(-r.pid, syscall.SIGKILL)
		_ = holder.Close()
		close(r.done)
	}()
	return nil
}

// retire ends the process for good, and at once unless it keeps data: the API
// server alone would take seconds to see its watchers off.
func (p *Process) retire() error {
	p.mu.Lock()
	p.retired = true
	p.mu.Unlock()
	if p.keepsData {
		return p.Stop()
	}
	return p.Kill()
}

func (p *Process) signal(sig syscall.Signal) error {
	r := p.running()
	if r == nil {
		return fmt.Errorf("sending %v to %s: %w", sig, p.name, os.ErrProcessDone)
	}
	if err := syscall.Kill(r.pid, sig); err != nil {
		if errors.Is(err, syscall.ESRCH) {
			err = os.ErrProcessDone
		}
		return fmt.Errorf("sending %v to %s: %w", sig, p.name, err)
	}
	return nil
}

// running is the current life of the process, nil if there is none.
func (p *Process) running() *run {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.current == nil {
		return nil
	}
	select {
	case <-p.current.done:
		return nil
	default:
		return p.current
	}
}
