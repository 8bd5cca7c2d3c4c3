// Demo tells the story of Horizon's webhooks in a terminal, on a control plane
// of its own: what a team writes, what Horizon creates, what arrives, and what
// can be seen and done when something does not. It checks what it shows and
// ends with exit code 0 only if all of it was as it should be.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/horizoncd/webhook-operator/test/controlplane"
	"github.com/horizoncd/webhook-operator/test/operator"
	"github.com/horizoncd/webhook-operator/test/program"
	"github.com/horizoncd/webhook-operator/test/receiver"
)

// patience bounds the whole story, which takes half a minute.
const patience = 5 * time.Minute

func main() {
	binary := flag.String("operator", "bin/webhook-operator", "the operator's program")
	plugin := flag.String("plugin", "bin/kubectl-horizon", "the plugin for kubectl, beside the bridge from Horizon")
	root := flag.String("root", ".", "the directory of the repository")
	flag.Parse()

	s := &terminal{out: &squeezer{out: os.Stdout}, colour: wantsColour(os.Stdout)}
	os.Exit(program.Run("demo", func(ctx context.Context) error { return show(ctx, s, *root, *binary, *plugin) }))
}

// show has the story told, and says how it went.
func show(ctx context.Context, s *terminal, root, binary, plugin string) error {
	bounded, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	err := perform(bounded, s, root, binary, plugin)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err != nil {
		fmt.Fprintln(s.out)
		s.checkThat(err, "the story could not be told to its end")
	}
	fmt.Fprintf(s.out, "\ndemo: %d passed, %d failed\n", s.passed, s.failed)
	if s.failed > 0 {
		return program.ErrFailed
	}
	return nil
}

// perform builds the scene, tells the story and clears everything away.
func perform(ctx context.Context, s *terminal, root, binary, plugin string) (err error) {
	s.say("%s", s.paint(bold, "Horizon's webhooks, in a minute"))
	s.say("")
	s.say("A team writes a Webhook, Horizon creates a WebhookEvent for each thing that happened, and the operator")
	s.say("sends it to every Webhook that matches and keeps a WebhookDelivery for each. All of it is Kubernetes: here")
	s.say("a control plane of its own, on loopback, in a directory that is removed at the end.")
	s.say("")

	began := time.Now()
	cp, err := controlplane.Start(ctx, controlplane.Options{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, cp.Stop()) }()
	s.say("etcd and kube-apiserver are ready after %.1f s.", time.Since(began).Seconds())

	began = time.Now()
	install, err := operator.Install(ctx, cp, root)
	if err != nil {
		return err
	}
	options := operator.Options{
		Binary:     binary,
		Kubeconfig: install.Kubeconfig,
		Log:        filepath.Join(cp.Dir(), "operator.log"),
	}
	op, err := operator.Start(ctx, options)
	if err != nil {
		return err
	}
	defer func() {
		err = errors.Join(err, op.Stop())
		if (s.failed > 0 || err != nil) && ctx.Err() == nil {
			showLog(s.out, "operator", options.Log)
		}
	}()
	s.say("config/default is installed and the operator is ready after another %.1f s.", time.Since(began).Seconds())

	if s.dir, err = filepath.Abs(cp.Dir()); err != nil {
		return err
	}
	if s.env, err = install.Environment(plugin); err != nil {
		return err
	}
	r, err := startReceivers()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.close()) }()
	t := &teller{
		terminal: s, receivers: r, client: install.Client, install: install, root: root,
		bridgeBinary: filepath.Join(filepath.Dir(plugin), "horizon-bridge"),
	}
	return whileRunning(ctx, op, t.tell)
}

// whileRunning does something that makes no sense without an operator, and
// gives it up when that ends.
func whileRunning(ctx context.Context, op *operator.Operator, do func(context.Context) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		select {
		case <-op.Done():
			cancel(fmt.Errorf("the operator has ended: %s", op.State()))
		case <-ctx.Done():
		}
	}()
	err := do(ctx)
	if err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// showLog prints a program's own words where something went wrong.
func showLog(out io.Writer, whose, path string) {
	data, err := os.ReadFile(path)
	if err != nil {
		fmt.Fprintf(out, "\nThe %s's log cannot be read: %v\n", whose, err)
		return
	}
	const most = 16 << 10
	fmt.Fprintf(out, "\nThe end of the %s's log:\n%s\n", whose, data[max(0, len(data)-most):])
}

// teller tells the story.
type teller struct {
	*terminal
	receivers
	client client.Client

	install            *operator.Installation
	root, bridgeBinary string
}

// receivers are the systems that are told what happens. All play on loopback.
type receivers struct {
	team   *receiver.Receiver // a team's own services
	secure *receiver.Receiver // speaks HTTPS with a self-signed certificate
	pager  *receiver.Receiver // broken at first
	chat   *receiver.Receiver // down at first
}

func startReceivers() (r receivers, err error) {
	defer func() {
		if err != nil {
			err = errors.Join(err, r.close())
		}
	}()
	if r.team, err = receiver.Start(receiver.Options{}); err != nil {
		return r, err
	}
	if r.secure, err = receiver.Start(receiver.Options{TLS: true}); err != nil {
		return r, err
	}
	if r.pager, err = receiver.Start(receiver.Options{}); err != nil {
		return r, err
	}
	r.chat, err = receiver.Start(receiver.Options{})
	return r, err
}

func (r receivers) close() error {
	var errs []error
	for _, r := range []*receiver.Receiver{r.team, r.secure, r.pager, r.chat} {
		if r != nil {
			errs = append(errs, r.Close())
		}
	}
	return errors.Join(errs...)
}
