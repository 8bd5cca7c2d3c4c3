package cli

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"

	"github.com/spf13/cobra"
	"k8s.io/client-go/rest"

	"github.com/horizoncd/webhook-operator/internal/dashboard"
)

// pages is the command dashboard.
type pages struct {
	*plugin
	page             string
	port             int
	noOpen, readOnly bool
}

func newDashboard(p *plugin) *cobra.Command {
	d := &pages{plugin: p}
	cmd := &cobra.Command{
		Use:     "dashboard",
		Short:   "Open webhooks and their logs in a browser",
		GroupID: groupWebhooks,
		Long: `Open webhooks, their logs and the events in a browser, as pages that change as things happen: create, edit, test and
delete webhooks there, read deliveries, send them again. This command serves the pages to a browser on this machine, with
your own kubeconfig and rights. Nothing is installed in the cluster.

It prints a link and opens it. The link works once: it signs in the browser that opens it first, until that browser or
this command ends. Ctrl-C ends it. Without the link, other users of this machine and other web pages get nothing.

To use it on a machine that you are logged in to by SSH, forward a port under the same number.`,
		Example: `  # The webhooks of the current namespace
  kubectl horizon dashboard

  # Those of another namespace, to look at and to change nothing
  kubectl horizon dashboard -n music --read-only

  # Begin with one webhook
  kubectl horizon dashboard --page /ns/music/webhooks/smoke-tests

  # On another machine, after ssh -L 8750:127.0.0.1:8750
  kubectl horizon dashboard --no-open --port 8750`,
		Args:              none,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE:              func(cmd *cobra.Command, _ []string) error { return d.run(cmd.Context()) },
	}
	flags := cmd.Flags()
	flags.StringVar(&d.page, "page", "", "the page to begin with: the path of one, with its query; without, the webhooks of the namespace")
	flags.IntVar(&d.port, "port", 0, "the port of 127.0.0.1 to listen on; 0: any that is free")
	flags.BoolVar(&d.noOpen, "no-open", false, "open no browser, only print the link")
	flags.BoolVar(&d.readOnly, "read-only", false, "leave out all that changes something")
	return cmd
}

func (d *pages) run(ctx context.Context) error {
	page, err := dashboard.PagePath(d.page)
	if err != nil {
		return usagef("--page %q is not the path of a page: %w", d.page, err)
	}
	if d.port < 0 || d.port > 65535 {
		return usagef("--port %d is not between 0 and 65535", d.port)
	}
	namespace, err := d.namespace()
	if err != nil {
		return err
	}
	session := dashboard.NewSession(dashboard.Options{
		Connect: d.connect, Client: newClient, Namespace: namespace, ReadOnly: d.readOnly, Version: d.version, Now: d.now,
	})
	defer session.Close()
	server, err := dashboard.Listen(d.port, session)
	if err != nil {
		return err
	}
	fmt.Fprintln(d.Out, server.SignInURL(page))
	what := "Open this link in a browser."
	if !d.noOpen {
		remove, opened := d.open(ctx, server, page)
		defer remove()
		if opened {
			what = "This link is being opened in your browser."
		}
	}
	fmt.Fprintln(d.ErrOut, what+" It works once. Ctrl-C ends the dashboard.")
	return server.Serve(ctx)
}

// connect reads the kubeconfig anew: whoever has logged in again need not start the
// dashboard again.
func (d *pages) connect() (*rest.Config, error) {
	config, err := d.readConfig()
	if err != nil {
		return nil, err
	}
	config.WarningHandler = rest.NoWarnings{} // nobody looks at the terminal
	return config, nil
}

// open opens the sign-in link in a browser, by a file, and tells whether it has tried to. It
// says on standard error what went wrong: the link is printed, and does as well.
func (d *pages) open(ctx context.Context, server *dashboard.Server, page string) (remove func(), opened bool) {
	command := opener(runtime.GOOS, os.Getenv)
	if command == nil {
		return func() {}, false
	}
	if _, err := exec.LookPath(command[0]); err != nil {
		return func() {}, false
	}
	path, remove, err := server.OpenFile(page)
	if err != nil {
		d.sayNotOpened(err)
		return func() {}, false
	}
	// The browser may have been started by this, and outlives the command.
	cmd := exec.CommandContext(context.WithoutCancel(ctx), command[0], append(command[1:], path)...) //nolint:gosec // see opener
	detach(cmd)
	if err := cmd.Start(); err != nil {
		d.sayNotOpened(err)
		return remove, false
	}
	go func() {
		if err := cmd.Wait(); err != nil && ctx.Err() == nil {
			d.sayNotOpened(fmt.Errorf("%s: %w", command[0], err))
		}
	}()
	return remove, true
}

func (d *pages) sayNotOpened(err error) {
	fmt.Fprintf(d.ErrOut, "No browser could be opened: %s. Open the link above yourself.\n", printable(err.Error()))
}

// opener is the command that opens a file in a browser, without the file, on an operating
// system. It is nil where nobody would see a browser.
func opener(goos string, env func(string) string) []string {
	switch remote := env("SSH_CONNECTION") != ""; {
	case goos == "windows" && !remote:
		return []string{"rundll32", "url.dll,FileProtocolHandler"}
	case goos == "darwin" && !remote:
		return []string{"open"}
	case env("DISPLAY") != "" || env("WAYLAND_DISPLAY") != "":
		return []string{"xdg-open"} // which reads BROWSER
	}
	return nil
}
