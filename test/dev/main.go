// Dev leaves a control plane and the operator running on this machine until it
// is interrupted, with a receiver that prints what it gets. It is a place to
// try things with kubectl; each start is a fresh one.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/horizoncd/webhook-operator/test/controlplane"
	"github.com/horizoncd/webhook-operator/test/operator"
	"github.com/horizoncd/webhook-operator/test/program"
	"github.com/horizoncd/webhook-operator/test/receiver"
)

const (
	kubeconfigName = "kubeconfig"
	logName        = "operator.log"
	lockName       = "lock"

	// failPath is answered 500.
	failPath = "/fail"
)

func main() {
	var o options
	flag.StringVar(&o.binary, "operator", "bin/webhook-operator", "the operator's program")
	flag.StringVar(&o.plugin, "plugin", "bin/kubectl-horizon", "the plugin for kubectl")
	flag.StringVar(&o.root, "root", ".", "the directory of the repository")
	flag.StringVar(&o.dir, "dir", "bin/dev", "the directory for the kubeconfig and the operator's log")
	flag.StringVar(&o.listen, "receiver", "127.0.0.1:30080", "the receiver's address; another one is taken if it is in use")
	flag.BoolVar(&o.story, "story", false, "let things happen in the namespace "+storyNamespace+": receivers that work, fail and recover")
	flag.BoolVar(&o.horizon, "horizon", false, "start a Horizon for tests beside it, for docs/horizon.md")
	flag.BoolVar(&o.dashboard, "dashboard", false, "open the dashboard of the plugin")
	args := flag.String("operator-args", "", "further flags of the operator, separated by spaces, such as --zap-log-level=debug")
	flag.Parse()
	o.args = strings.Fields(*args)

	os.Exit(program.Run("dev", func(ctx context.Context) error {
		err := run(ctx, os.Stdout, o)
		if errors.Is(err, context.Canceled) {
			return nil // Ctrl-C is how it is meant to end, also while it starts
		}
		return err
	}))
}

type options struct {
	binary, plugin, root, dir, listen string
	args                              []string
	story, dashboard, horizon         bool
}

func run(ctx context.Context, out io.Writer, o options) (err error) {
	unlock, err := lock(o.dir)
	if err != nil {
		return err
	}
	defer unlock()

	fmt.Fprintln(out, "starting a control plane: etcd, kube-apiserver, kube-controller-manager")
	cp, err := controlplane.Start(ctx, controlplane.Options{ControllerManager: true})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, cp.Stop()) }()
	install, err := operator.Install(ctx, cp, o.root)
	if err != nil {
		return err
	}

	// Afterwards it would lead nowhere.
	kubeconfig, err := filepath.Abs(filepath.Join(o.dir, kubeconfigName))
	if err != nil {
		return err
	}
	if err := controlplane.WriteKubeconfig(kubeconfig, cp.Config()); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.Remove(kubeconfig)) }()

	fmt.Fprintln(out, "starting the operator")
	log := filepath.Join(o.dir, logName)
	if err := os.WriteFile(log, nil, 0o600); err != nil {
		return err
	}
	op, err := operator.Start(ctx, operator.Options{Binary: o.binary, Kubeconfig: install.Kubeconfig, Log: log, Args: o.args})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, op.Stop()) }()

	p := &printer{out: out, quiet: o.story} // a story happens too fast to be read
	r, err := startReceiver(o.listen, p)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	kubectl, err := cp.Kubectl()
	if err != nil {
		return err
	}
	plugin, err := filepath.Abs(o.plugin)
	if err != nil {
		return err
	}
	var h *theirHorizon
	if o.horizon {
		if h, err = startHorizon(o.dir, r); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, h.Close()) }()
	}
	rooms, err := openRooms(o.dir, r)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rooms.close()) }()
	p.print(invitation(kubeconfig, log, kubectl, plugin, r, rooms, o.story))
	if o.horizon {
		p.print(h.introduction())
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var running sync.WaitGroup
	defer running.Wait() // before the control plane ends, and after cancel
	defer cancel(nil)
	for _, each := range []struct {
		wanted bool
		run    func() error
	}{
		{o.story, func() error { return tellStory(ctx, install.Client, r) }},
		{o.horizon, func() error { return h.live(ctx, p.print) }},
		{o.dashboard, func() error { return openDashboard(ctx, out, plugin, kubeconfig, o.story) }},
	} {
		if each.wanted {
			running.Go(func() { cancel(each.run()) })
		}
	}
	return watch(ctx, out, op, cp)
}

// openDashboard runs the plugin's dashboard until ctx ends.
func openDashboard(ctx context.Context, out io.Writer, plugin, kubeconfig string, story bool) error {
	args := []string{"dashboard", "--kubeconfig", kubeconfig}
	if story {
		args = append(args, "--namespace", storyNamespace)
	}
	cmd := exec.CommandContext(ctx, plugin, args...)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 5 * time.Second
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Run(); err != nil && ctx.Err() == nil {
		return fmt.Errorf("the dashboard has ended: %w", err)
	}
	return nil
}

// watch waits until it is interrupted, or until something ends that should
// not.
func watch(ctx context.Context, out io.Writer, op *operator.Operator, cp *controlplane.ControlPlane) error {
	select {
	case <-ctx.Done():
		fmt.Fprintln(out, "\nending everything")
		if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) {
			return cause
		}
		return nil
	case <-op.Done():
		end, _ := op.Output()
		return fmt.Errorf("the operator has ended (%s); its last words:\n%s", op.State(), end[max(0, len(end)-4<<10):])
	case <-cp.Etcd.Done():
		return fmt.Errorf("etcd has ended; see %s", cp.Etcd.Log())
	case <-cp.APIServer.Done():
		return fmt.Errorf("kube-apiserver has ended; see %s", cp.APIServer.Log())
	case <-cp.ControllerManager.Done():
		return fmt.Errorf("kube-controller-manager has ended; see %s", cp.ControllerManager.Log())
	}
}

// lock keeps a second one from writing the same files. The kernel releases the
// lock when this process ends in whatever way.
func lock(dir string) (func(), error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(dir, lockName), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("another one runs in %s already", dir)
		}
		return nil, fmt.Errorf("locking %s: %w", f.Name(), err)
	}
	return func() { _ = f.Close() }, nil
}

func startReceiver(listen string, p *printer) (*receiver.Receiver, error) {
	o := receiver.Options{Addr: listen, OnArrival: p.arrival}
	r, err := receiver.Start(o)
	if errors.Is(err, syscall.EADDRINUSE) {
		o.Addr = ""
		r, err = receiver.Start(o)
	}
	if err != nil {
		return nil, err
	}
	r.Script(failPath, receiver.Answer{Status: http.StatusInternalServerError, Body: "this path always fails\n"})
	return r, nil
}

// printer prints one thing at a time.
type printer struct {
	mu    sync.Mutex
	out   io.Writer
	quiet bool
}

func (p *printer) print(text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	fmt.Fprint(p.out, text)
}

func (p *printer) arrival(a receiver.Arrival) {
	if p.quiet {
		return
	}
	p.print(fmt.Sprintf("\n%s  the receiver got:\n%s", a.Time.Format("15:04:05.000"), a.String()))
}

// invitation says what is there and what can be tried.
func invitation(kubeconfig, log, kubectl, plugin string, r *receiver.Receiver, rooms *theirRooms, story bool) string {
	var b strings.Builder
	b.WriteString("ready\n\nIn another terminal:\n\n")
	fmt.Fprintf(&b, "export KUBECONFIG='%s'\n", kubeconfig)
	path := filepath.Dir(plugin)
	if _, err := exec.LookPath("kubectl"); err != nil {
		path += string(os.PathListSeparator) + filepath.Dir(kubectl)
	}
	fmt.Fprintf(&b, "export PATH='%s':\"$PATH\"\n", path)
	if story {
		fmt.Fprintf(&b, "kubectl horizon list -n %s\n\n", storyNamespace)
	} else {
		b.WriteString(strings.NewReplacer("URL", r.URL("/hooks/horizon"), "FAIL", r.URL(failPath)).Replace(commands))
		b.WriteString(rooms.invitation())
		fmt.Fprintf(&b, "\n%s prints here what it gets; its path %s answers 500.\n", r.URL("/"), failPath)
	}
	fmt.Fprintf(&b, "The operator's log is %s. Ctrl-C ends everything; the next start is a fresh one.\n", log)
	return b.String()
}

const commands = `
# A team says what it wants to be told:
printf %s secret | kubectl horizon create notify --url URL --trigger applications_created --webhook-id 1 --secret-from-stdin --wait

# Does it arrive?
kubectl horizon test notify --wait

# Horizon says what happened:
kubectl create -f - <<EOF
apiVersion: horizoncd.io/v1alpha1
kind: WebhookEvent
metadata: {name: horizon-1}
spec:
  eventID: 1
  eventType: applications_created
  time: $(date -u +%Y-%m-%dT%H:%M:%SZ)
  application: {id: 1, name: test, priority: P0}
  user: {id: 1, name: test, email: test@noreply.com}
EOF

# What became of it, and why:
kubectl horizon list
kubectl horizon why horizon-1
kubectl horizon logs notify
kubectl horizon log "$(kubectl horizon logs notify --limit 1 -o name)"

# Send it once more:
kubectl horizon resend "$(kubectl horizon logs notify --limit 1 -o name)" --wait

# A receiver that fails, and its repair:
kubectl horizon edit notify --url FAIL --retries 0
kubectl create -f - <<EOF
apiVersion: horizoncd.io/v1alpha1
kind: WebhookEvent
metadata: {name: horizon-2}
spec:
  eventID: 2
  eventType: applications_created
  time: $(date -u +%Y-%m-%dT%H:%M:%SZ)
  application: {id: 2, name: other}
EOF
kubectl wait --for=condition=Delivered=false webhookevent/horizon-2
kubectl horizon why horizon-2
kubectl horizon edit notify --url URL
kubectl horizon resend --webhook notify --failed --wait
`
