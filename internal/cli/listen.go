package cli

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/forward"
	"github.com/horizoncd/webhook-operator/internal/receiverurl"
	"github.com/horizoncd/webhook-operator/internal/retry"
	"github.com/horizoncd/webhook-operator/internal/sending"
	"github.com/horizoncd/webhook-operator/internal/signing"
)

const (
	// listenQueue is how many requests wait for a slow receiver before the watch does.
	listenQueue = 256
	// listenSeen is how many events and resends are remembered, so that each is shown once
	// where a watch begins anew: a few MB.
	listenSeen = 20000
)

// listen is the command listen.
type listen struct {
	*plugin
	triggers               []string
	scope, filter          string
	allNamespaces, verbose bool
	forwardTo              string
	tokenFile, keyFile     string
	since                  string
	once, atOnce           int
	retry, timeout         time.Duration
	webhookID              int64

	namespaceOf string
	// follows is a Webhook of these triggers, this scope and this filter: what it would get is
	// shown.
	follows  *v1alpha1.Webhook
	receiver *forward.Receiver // nil: print only
	queue    *forward.Queue

	mu    sync.Mutex // guards what is printed, and what follows
	tally listenTally
	done  context.CancelFunc
}

// listenTally counts what was shown.
type listenTally struct{ shown, resends, accepted, failed int }

func newListen(p *plugin) *cobra.Command {
	l := &listen{plugin: p}
	cmd := &cobra.Command{
		Use:     "listen [--forward-to URL]",
		Short:   "Bring events to your own machine as they happen",
		GroupID: groupTry,
		Long: `Show the events of the namespace as they happen and, with --forward-to, post each to an address that your machine
reaches: with the body and the headers that the operator sends in Horizon's format, and a signature by a secret of a file.
Deliveries that somebody sends again come, too. The right to view the namespace is enough.

--filter is an expression as in spec.filter of a webhook, checked at once. An event that it fails for is told, and not
posted. In it, webhook.id is that of --webhook-id, and webhook.name and webhook.namespace are empty.

Requests are posted one at a time, in the order of the events. A receiver that is not up is told, and the next event
goes on; --retry keeps trying. Ctrl-C ends it.`,
		Example: `  # Post every event to a server on this machine
  kubectl horizon listen --forward-to http://localhost:3000/hook

  # Deployments of one group, with a token, and those of the last ten minutes first
  kubectl horizon listen --trigger clusters_deployed,clusters_rollbacked --scope /music \
    --forward-to localhost:3000/hook --secret-file token.txt --since 10m

  # Only what reaches production, and not by a robot
  kubectl horizon listen --filter 'event.cluster.env == "online" && !event.user.email.endsWith("@bot")'

  # Only look on
  kubectl horizon listen --verbose`,
		Args:              none,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE:              func(cmd *cobra.Command, _ []string) error { return l.run(cmd.Context()) },
	}
	flags := cmd.Flags()
	flags.StringSliceVar(&l.triggers, "trigger", []string{string(v1alpha1.TriggerAny)},
		"event types, or families of them such as clusters_*, as in the triggers of a webhook")
	flags.StringVar(&l.scope, "scope", "", "only what happens to this path and below it, such as /music/player")
	flags.StringVar(&l.filter, "filter", "", "only events that this expression in CEL is true for, as in the filter of a webhook")
	flags.BoolVarP(&l.allNamespaces, "all-namespaces", "A", false, "events of every namespace")
	flags.StringVar(&l.forwardTo, "forward-to", "", "where to post: http or https; without it, events are only printed")
	flags.StringVar(&l.tokenFile, "secret-file", "", "a file with the token that is sent in "+signing.HeaderSecret+", and that signs")
	flags.StringVar(&l.keyFile, "signing-secret-file", "", "a file with the key that signs in place of the token")
	flags.StringVar(&l.since, "since", "", "begin with the events since a time, or within a duration until now")
	flags.IntVar(&l.once, "once", 0, "end after so many requests; 0: go on")
	flags.IntVar(&l.atOnce, "parallel", 1, "how many requests at a time; more than one lets them overtake each other")
	flags.DurationVar(&l.retry, "retry", 0, "for how long a receiver that gives no answer is tried again")
	flags.DurationVar(&l.timeout, "timeout", 30*time.Second, "how long an answer may take")
	flags.Int64Var(&l.webhookID, "webhook-id", 1, "the webhookID in the bodies")
	flags.BoolVarP(&l.verbose, "verbose", "v", false, "print headers and bodies, too")
	_ = cmd.RegisterFlagCompletionFunc("filter", cobra.NoFileCompletions)
	_ = cmd.MarkFlagFilename("secret-file")
	_ = cmd.MarkFlagFilename("signing-secret-file")
	return cmd
}

func (l *listen) run(ctx context.Context) error {
	if err := l.prepare(); err != nil {
		return err
	}
	namespace, err := l.namespace()
	if err != nil {
		return err
	}
	if !l.allNamespaces {
		l.namespaceOf = namespace
	}
	ctx, l.done = context.WithCancel(ctx)
	defer l.done()
	l.queue = forward.NewQueue(listenQueue)
	l.queue.Behind = l.sayBehind
	s := &listenSource{listen: l, seen: forward.NewSeen(listenSeen), resent: forward.NewSeen(listenSeen)}
	if err := s.begin(ctx); err != nil {
		return err
	}
	l.sayReady()

	var sources sync.WaitGroup
	errs := make(chan error, 2)
	for _, follow := range []func(context.Context) error{s.followEvents, s.followResends} {
		sources.Go(func() {
			if err := follow(ctx); err != nil && ctx.Err() == nil {
				errs <- err
				l.done()
			}
		})
	}
	l.queue.Run(ctx, l.atOnce, func(item forward.Item) { l.post(ctx, item) })
	sources.Wait()
	close(errs)
	l.sumUp()
	return <-errs
}

// prepare reads the flags and the files that they name.
func (l *listen) prepare() error {
	if l.once < 0 || l.atOnce < 1 {
		return usagef("--once is at least 0, and --parallel at least 1")
	}
	if l.webhookID < 1 {
		return usagef("--webhook-id is at least 1")
	}
	l.follows = &v1alpha1.Webhook{Spec: v1alpha1.WebhookSpec{Scope: l.scope, State: v1alpha1.WebhookEnabled}}
	if l.scope != "" && !strings.HasPrefix(l.scope, "/") {
		return usagef("--scope %q is no full path: write /%s", l.scope, l.scope)
	}
	for _, t := range l.triggers {
		l.follows.Spec.Triggers = append(l.follows.Spec.Triggers, v1alpha1.Trigger(strings.TrimSpace(t)))
	}
	l.follows.Spec.Filter, l.follows.Spec.WebhookID = l.filter, l.webhookID
	if err := mistakesInFlags(l.follows); err != nil {
		return err
	}
	l.noteTypes("triggers", l.triggers)
	if l.forwardTo == "" {
		if l.tokenFile != "" || l.keyFile != "" {
			return usagef("--secret-file and --signing-secret-file are for requests: say with --forward-to where they go")
		}
		return nil
	}
	address := l.forwardTo
	if !strings.Contains(address, "://") {
		address = "http://" + address
	}
	if _, _, err := receiverurl.Parse([]byte(address)); err != nil {
		return usagef("--forward-to %q: %w", l.forwardTo, err)
	}
	r := &forward.Receiver{URL: address, Timeout: l.timeout, Retry: l.retry, Sender: sending.New(sending.Options{UserAgent: "Horizon-Webhook/" + l.version}), Now: time.Now}
	var err error
	if r.Token, err = secretOf(l.tokenFile, "secret-file"); err != nil {
		return err
	}
	if r.Key, err = secretOf(l.keyFile, "signing-secret-file"); err != nil {
		return err
	}
	l.receiver = r
	return nil
}

// secretOf reads the secret in a file; nil without one.
func secretOf(file, flag string) (*signing.Secret, error) {
	if file == "" {
		return nil, nil
	}
	data, err := os.ReadFile(file) //nolint:gosec // the user names it
	if err != nil {
		return nil, fmt.Errorf("--%s: %w", flag, err)
	}
	secret, _, err := signing.ParseSecret(data)
	if err != nil {
		return nil, usagef("--%s %s: %w", flag, file, err)
	}
	return &secret, nil
}

// post posts an item, or only prints it.
func (l *listen) post(ctx context.Context, item forward.Item) {
	if l.receiver == nil {
		l.show(item, nil)
		return
	}
	told := false
	x, err := l.receiver.Post(ctx, item, func(x sending.Exchange) {
		if !told {
			told = true
			l.say("%s, and trying again: %s", l.receiver.URL, retry.Explain(x))
		}
	})
	if err != nil {
		l.say("%v", err)
		return
	}
	l.show(item, &x)
}

// say prints a notice.
func (l *listen) say(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	fmt.Fprintln(l.ErrOut, oneLine(fmt.Sprintf(format, args...)))
}

func (l *listen) sayReady() {
	where := "the namespace " + l.namespaceOf
	if l.namespaceOf == "" {
		where = "every namespace"
	}
	to := "Nothing is posted without --forward-to."
	if l.receiver != nil {
		to = "They are posted to " + l.receiver.URL + "."
	}
	l.say("Listening to the events of %s. %s Ctrl-C ends it.", where, to)
}

func (l *listen) sayBehind(waiting int) {
	if waiting == 0 {
		l.say("The receiver has caught up.")
		return
	}
	l.say("The receiver is slower than the events come: %d wait.", waiting)
}

// show prints an exchange: x is nil where nothing was posted.
func (l *listen) show(item forward.Item, x *sending.Exchange) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.tally.shown++
	line := l.now().Format(time.TimeOnly) + "  " + item.EventType + "  " + dash(item.Resource) + "  " + item.Event
	if l.allNamespaces {
		line += " in " + item.Namespace
	}
	if item.Delivery != "" {
		l.tally.resends++
		line += " (resend of " + item.Delivery + ")"
	}
	if x != nil {
		line += fmt.Sprintf("  %s, %d ms", retry.Explain(*x), x.Duration.Milliseconds())
		if retry.OutcomeOf(*x) == retry.Accepted {
			l.tally.accepted++
		} else {
			l.tally.failed++
		}
	}
	var b strings.Builder
	fmt.Fprintln(&b, oneLine(line))
	if l.verbose || x == nil {
		l.writeExchange(&b, item, x)
	}
	fmt.Fprint(l.Out, b.String())
	if l.once > 0 && l.tally.shown >= l.once {
		l.done()
	}
}

func (l *listen) writeExchange(b *strings.Builder, item forward.Item, x *sending.Exchange) {
	pretty := (&logOne{}).pretty
	if x == nil {
		fmt.Fprintln(b, indent(pretty(string(item.Body))))
		return
	}
	writeSection(b, "Request headers", printable(x.RequestHeader), "")
	writeSection(b, "Request body", pretty(string(item.Body)), "")
	if r := x.Response; r != nil {
		writeSection(b, "Response headers", printable(r.Header), cutNote(r.HeaderTruncated, "8 KiB"))
		writeSection(b, "Response body", pretty(r.Body), cutNote(r.BodyTruncated, "16 KiB"))
	}
	b.WriteByte('\n')
}

// sumUp says what was done.
func (l *listen) sumUp() {
	t := l.tally
	text := count(t.shown, "event", "events") + " shown"
	if l.receiver != nil {
		text = fmt.Sprintf("%s posted: %d accepted, %d not", count(t.shown, "request", "requests"), t.accepted, t.failed)
	}
	if t.resends > 0 {
		text += "; " + count(t.resends, "resend", "resends") + " among them"
	}
	if n := l.queue.Waiting(); n > 0 {
		text += fmt.Sprintf("; %d more came and were not taken up", n)
	}
	l.say("%s.", text)
}
