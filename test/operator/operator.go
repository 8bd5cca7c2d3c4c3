// Package operator runs the webhook operator's binary as a child process that
// can be stopped, killed, paused and started again, and that does not outlive
// its parent.
package operator

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/horizoncd/webhook-operator/test/controlplane"
	"github.com/horizoncd/webhook-operator/test/ports"
)

const (
	// DefaultSystemNamespace is where the operator itself lives, and with it
	// the webhooks that follow every namespace.
	DefaultSystemNamespace = "horizon-webhooks"

	startTimeout  = time.Minute
	probeInterval = 20 * time.Millisecond

	// stopGrace is how long the operator may take to end when asked to: its
	// own --drain-seconds, and time to write what it has to.
	stopGrace = 20 * time.Second
)

// Options says which operator to start, and how.
type Options struct {
	// Binary is the path of the operator's program.
	Binary string
	// Kubeconfig is the path of the kubeconfig to work with.
	Kubeconfig string
	// Log is the path of the file that its output is added to.
	Log string

	// SystemNamespace is the operator's own. Default: DefaultSystemNamespace.
	SystemNamespace string
	// EgressAllow is what requests may go to beside public addresses. Default:
	// loopback, where receivers play.
	EgressAllow string
	// Args are further flags, after the package's own: for one given twice the
	// last one wins.
	Args []string
	// Env is added to the environment, such as "GOGC=50".
	Env []string
}

// args is the one place that knows the operator's flags.
func (o Options) args(health, metrics string) []string {
	namespace := o.SystemNamespace
	if namespace == "" {
		namespace = DefaultSystemNamespace
	}
	return append([]string{
		"--kubeconfig=" + o.Kubeconfig,
		"--system-namespace=" + namespace,
		"--egress-allow=" + cmp.Or(o.EgressAllow, "127.0.0.0/8,::1/128"),
		"--health-probe-bind-address=" + health,
		"--metrics-bind-address=" + metrics,
		"--metrics-secure=false",
	}, o.Args...)
}

// Operator is one life of the program, from a start to its end. For another
// life, start it again with the same options.
type Operator struct {
	options Options
	health  string
	metrics string
	process *process
}

// Start starts the operator and returns when it says that it is ready. The
// deadline of ctx bounds the start (a minute if there is none); ctx does not
// end the operator afterwards, Stop and Kill do. If the start fails nothing is
// left running, and the error holds the last lines of the log.
func Start(ctx context.Context, o Options) (*Operator, error) {
	op, err := Launch(o)
	if err != nil {
		return nil, err
	}
	if err := op.WaitReady(ctx); err != nil {
		return nil, errors.Join(err, op.Kill())
	}
	return op, nil
}

// Launch starts the operator and returns at once.
func Launch(o Options) (*Operator, error) {
	free, err := ports.Others.Free(2)
	if err != nil {
		return nil, fmt.Errorf("starting the operator: %w", err)
	}
	health, metrics := ports.Address(free[0]), ports.Address(free[1])
	p, err := launch(o.Binary, o.args(health, metrics), o.Env, o.Log)
	if err != nil {
		return nil, fmt.Errorf("starting the operator (run `make build` first): %w", err)
	}
	return &Operator{options: o, health: health, metrics: metrics, process: p}, nil
}

// launch starts a program that is found as a shell would.
func launch(program string, args, env []string, log string) (*process, error) {
	binary, err := exec.LookPath(program)
	if err != nil {
		return nil, err
	}
	if binary, err = filepath.Abs(binary); err != nil {
		return nil, err
	}
	return spawn(binary, args, append(os.Environ(), env...), log)
}

// WaitReady waits until the operator says that it is ready. It fails when the
// operator ends or ctx does.
func (o *Operator) WaitReady(ctx context.Context) error {
	ctx, cancel := withDefaultTimeout(ctx)
	defer cancel()
	err := controlplane.Poll(ctx, probeInterval, o.process.done, func(ctx context.Context) error {
		_, err := get(ctx, "http://"+o.health+"/readyz")
		return err
	})
	switch {
	case err == nil:
		return nil
	case o.State() != "":
		return o.failure(errors.New(o.State()))
	default:
		return o.failure(fmt.Errorf("not ready: %w", err))
	}
}

func (o *Operator) failure(why error) error {
	tail, err := o.process.tail()
	if err != nil {
		return fmt.Errorf("the operator: %w; its log cannot be read: %w", why, err)
	}
	if tail == "" {
		tail = "(empty)"
	}
	return fmt.Errorf("the operator: %w; last lines of %s:\n%s", why, o.options.Log, tail)
}

// MetricsAddress is where the operator serves /metrics: in plain HTTP, unless
// Options.Args say --metrics-secure.
func (o *Operator) MetricsAddress() string { return o.metrics }

// Metrics is what the operator serves under /metrics in plain HTTP.
func (o *Operator) Metrics(ctx context.Context) (string, error) {
	ctx, cancel := withDefaultTimeout(ctx)
	defer cancel()
	return get(ctx, "http://"+o.metrics+"/metrics")
}

// Pid is the operator's process id, also when it has ended.
func (o *Operator) Pid() int { return o.process.pid }

// Done is closed when the operator has ended.
func (o *Operator) Done() <-chan struct{} { return o.process.done }

// State tells how the operator ended, such as "exit status 1". It is empty
// until Done is closed.
func (o *Operator) State() string {
	select {
	case <-o.process.done:
		return o.process.state
	default:
		return ""
	}
}

// Output is what this life of the operator has written so far.
func (o *Operator) Output() (string, error) { return o.process.output() }

// Pause stops the process where it is (SIGSTOP).
func (o *Operator) Pause() error { return o.process.signal(syscall.SIGSTOP) }

// Resume lets a paused process go on.
func (o *Operator) Resume() error { return o.process.signal(syscall.SIGCONT) }

// Terminate asks the operator to end (SIGTERM) and returns at once.
func (o *Operator) Terminate() error { return o.process.signal(syscall.SIGTERM) }

// Kill ends the operator as a crash would (SIGKILL) and returns when it is
// gone. It is not an error if it has ended already.
func (o *Operator) Kill() error {
	if err := o.process.signal(syscall.SIGKILL); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	<-o.process.done
	return nil
}

// Stop asks the operator to end (SIGTERM) and returns when it is gone. One
// that has not ended after twenty seconds is killed, which is an error. It is
// not an error if it has ended already.
func (o *Operator) Stop() error {
	// A paused process gets the signal once it goes on.
	err := errors.Join(o.Terminate(), o.Resume())
	if err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	select {
	case <-o.process.done:
		return nil
	case <-time.After(stopGrace):
		return errors.Join(fmt.Errorf("the operator did not end within %v of being asked to", stopGrace), o.Kill())
	}
}

// Build builds the operator's program from the module in root, as `make build`
// does, into dir, and returns its path. flags are further ones of go build.
func Build(ctx context.Context, root, dir string, flags ...string) (string, error) {
	return build(ctx, root, dir, "webhook-operator", flags...)
}

// BuildBridge builds horizon-bridge into dir, likewise.
func BuildBridge(ctx context.Context, root, dir string) (string, error) {
	return build(ctx, root, dir, "horizon-bridge")
}

// BuildPlugin builds kubectl-horizon into dir, likewise.
func BuildPlugin(ctx context.Context, root, dir string) (string, error) {
	return build(ctx, root, dir, "kubectl-horizon")
}

func build(ctx context.Context, root, dir, name string, flags ...string) (string, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	binary := filepath.Join(dir, name)
	args := append([]string{"build", "-trimpath", "-o", binary}, flags...)
	cmd := exec.CommandContext(ctx, "go", append(args, "./cmd/"+name)...)
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building %s: %w\n%s", name, err, out)
	}
	return binary, nil
}

func withDefaultTimeout(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, startTimeout)
}

// get asks for a page, on a connection of its own.
func get(ctx context.Context, url string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		return "", err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return "", err
	}
	if resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("%s says %s: %s", url, resp.Status, strings.TrimSpace(string(body)))
	}
	return string(body), nil
}
