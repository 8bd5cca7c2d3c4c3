package cli

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/change"
	"github.com/horizoncd/webhook-operator/internal/insight"
	"github.com/horizoncd/webhook-operator/internal/table"
)

// unasked is how many deliveries may be sent again without being asked back.
const unasked = 100

// resend is the command resend.
type resend struct {
	*plugin
	filters
	cmd               *cobra.Command
	webhook           string
	rate              string
	dryRun, yes, wait bool
	timeout           time.Duration
	value             string

	begun     time.Time
	names     []string
	perSecond float64
	targets   []*target
	// already is how many had been asked for with the same value.
	already int
}

// target is a delivery that is to be sent again.
type target struct {
	namespace, name string
	time            time.Time
	attempts        int // before
}

func newResend(p *plugin) *cobra.Command {
	r := &resend{plugin: p}
	r.cmd = &cobra.Command{
		Use:     "resend DELIVERY... | --webhook WEBHOOK --failed | -l SELECTOR",
		Short:   "Send deliveries again",
		GroupID: groupLogs,
		Long: `Send deliveries again: those that are named, or those that the flags select. Their bodies go to the webhook's current
URL with its current secret, also while the webhook is Paused or Disabled.

What is selected is counted first, and more than 100 are confirmed or need --yes. They are asked for one after the other,
the oldest first. After Ctrl-C, --continue with the value that is printed goes on: what was asked for already is skipped.
--wait ends when each has been delivered or has been given up, and with the exit code 3 unless all were delivered.

The annotation horizoncd.io/resend of each says when that was and who asked; kubectl horizon log shows it.`,
		Example: `  # One delivery, and what becomes of it
  kubectl horizon resend smoke-tests-692ab7f0-0f3c5d5e7a1b2c3d --wait

  # All that failed at a webhook since yesterday
  kubectl horizon resend --webhook smoke-tests --failed --since 1d

  # See first which these are
  kubectl horizon resend --webhook smoke-tests --failed --since 1d --dry-run`,
		Args:              cobra.ArbitraryArgs,
		ValidArgsFunction: p.completeDeliveries,
		RunE:              func(cmd *cobra.Command, args []string) error { return r.run(cmd.Context(), args) },
	}
	flags := r.cmd.Flags()
	flags.StringVar(&r.webhook, "webhook", "", "those of a webhook that the other flags select")
	_ = r.cmd.RegisterFlagCompletionFunc("webhook", func(cmd *cobra.Command, _ []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
		return p.namesOf(cmd, "Webhook")
	})
	r.filters.addTo(r.cmd, p)
	flags.StringVar(&r.rate, "rate", "20/s", "how many are asked for in a second, or in a minute (300/m)")
	flags.BoolVar(&r.dryRun, "dry-run", false, "print which these are, and send nothing")
	flags.BoolVarP(&r.yes, "yes", "y", false, "do not ask back")
	flags.BoolVar(&r.wait, "wait", false, "wait until each was delivered or given up")
	flags.DurationVar(&r.timeout, "timeout", 10*time.Minute, "how long --wait waits; 0: as long as it takes")
	flags.StringVar(&r.value, "continue", "", "go on with a run that was interrupted: the value that it printed")
	return r.cmd
}

func (r *resend) run(ctx context.Context, names []string) error {
	names = slices.Compact(slices.Sorted(slices.Values(names)))
	r.begun, r.names = r.now(), names
	if err := r.check(names); err != nil {
		return err
	}
	var err error
	if r.webhook, err = nameOf(r.webhook, kindWebhook); err != nil {
		return err
	}
	r.noteTypes("type", r.Types)
	if err := r.find(ctx, names); err != nil {
		return err
	}
	switch {
	case len(r.targets) == 0 && r.already > 0:
		fmt.Fprintf(r.Out, "All was asked for already: %s.\n", count(r.already, "delivery", "deliveries"))
		return nil
	case len(r.targets) == 0 && r.webhook != "":
		namespace, err := r.namespace()
		if err != nil {
			return err
		}
		if err := r.webhookIsThere(ctx, namespace, r.webhook); err != nil {
			return err
		}
		fallthrough
	case len(r.targets) == 0:
		fmt.Fprintln(r.Out, "There is nothing to send again: no delivery is selected.")
		return nil
	case r.dryRun:
		return r.list()
	}
	if err := r.confirm(ctx, len(names) > 0); err != nil {
		return err
	}
	if r.value == "" {
		r.value = r.request(ctx)
	}
	if err := r.askAll(ctx); err != nil {
		return err
	}
	if r.wait {
		return r.await(ctx)
	}
	return nil
}

// check looks at the flags.
func (r *resend) check(names []string) error {
	selects := r.webhook != "" || r.filters.any()
	switch {
	case len(names) > 0 && selects:
		return usagef("give names of deliveries, or flags that select them, not both")
	case len(names) == 0 && !selects:
		return usagef("which deliveries? Give their names, or --webhook with --failed or another flag that selects; see %s --help", r.cmd.CommandPath())
	case r.webhook != "" && !r.filters.any():
		return usagef("which deliveries of %s? Add --failed, --result, --since or another flag that selects", r.webhook)
	case len([]rune(r.value)) > change.LongestRequest:
		return usagef("--continue has more than %d characters: give the value that the interrupted run has printed", change.LongestRequest)
	}
	var err error
	r.perSecond, err = parseRate(r.rate)
	return err
}

var ratePattern = regexp.MustCompile(`^([0-9]+(?:\.[0-9]+)?)(?:/(s|m|h))?$`)

// parseRate reads 5/s, 300/m or 5, which is the same as 5/s.
func parseRate(text string) (perSecond float64, _ error) {
	m := ratePattern.FindStringSubmatch(text)
	if m == nil {
		return 0, usagef("--rate %q is not a number of deliveries in a second or a minute, such as 5/s or 300/m", text)
	}
	n, err := strconv.ParseFloat(m[1], 64)
	if err != nil || n <= 0 {
		return 0, usagef("--rate %q is not above 0", text)
	}
	return n / map[string]float64{"": 1, "s": 1, "m": 60, "h": 3600}[m[2]], nil
}

// find lists what is selected: metadata only, and of that what is needed.
func (r *resend) find(ctx context.Context, names []string) error {
	namespace, err := r.namespace()
	if err != nil {
		return err
	}
	q, err := r.filters.query(namespace, r.webhook, r.begun)
	if err != nil {
		return err
	}
	q.Metadata = true
	queries := []table.Query{q}
	if len(names) > 0 {
		queries = nil
		for _, name := range names {
			queries = append(queries, table.Query{Resource: table.Deliveries, Namespace: namespace, Fields: "metadata.name=" + name, Metadata: true})
		}
	}
	t, err := r.table()
	if err != nil {
		return err
	}
	for i, q := range queries {
		before, already := len(r.targets), r.already
		begin := func() { r.targets, r.already = r.targets[:before], already }
		if _, err := t.Each(ctx, q, begin, r.found); err != nil {
			return err
		}
		if len(names) > 0 && len(r.targets) == before && r.already == already {
			return r.missing(ctx, namespace, names[i])
		}
	}
	slices.SortFunc(r.targets, func(a, b *target) int {
		if c := a.time.Compare(b.time); c != 0 {
			return c
		}
		return strings.Compare(a.name, b.name)
	})
	return nil
}

// missing says more of a delivery that is not found where its name is that of a Webhook.
func (r *resend) missing(ctx context.Context, namespace, name string) error {
	c, err := r.client()
	if err != nil {
		return err
	}
	if c.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, &v1alpha1.Webhook{}) == nil {
		return fmt.Errorf("%s is a webhook, not a delivery: `kubectl horizon resend --webhook %s --failed -n %s` sends again what has failed; nothing was sent",
			name, name, namespace)
	}
	return fmt.Errorf("there is no delivery %s in the namespace %s; nothing was sent", name, namespace)
}

func (r *resend) found(row *table.Row) {
	if r.value != "" && row.Annotations[v1alpha1.AnnotationResend] == r.value {
		r.already++
		return
	}
	r.targets = append(r.targets, &target{namespace: row.Namespace, name: strings.Clone(row.Name), time: row.Time, attempts: attemptsOf(row)})
}

// attemptsOf is how many requests were made.
func attemptsOf(row *table.Row) int {
	n, _ := strconv.Atoi(row.Cells[table.ColumnAttempts]) // empty where none was
	return n
}

// list prints what would be sent again.
func (r *resend) list() error {
	for _, t := range r.targets {
		if _, err := fmt.Fprintln(r.Out, oneLine(t.name)); err != nil {
			return err
		}
	}
	fmt.Fprintf(r.ErrOut, "%s would be sent again.\n", count(len(r.targets), "delivery", "deliveries"))
	return nil
}

// confirm says how many there are, and asks back where these are many.
func (r *resend) confirm(ctx context.Context, named bool) error {
	n := len(r.targets)
	if named && n == 1 {
		return nil
	}
	took := time.Duration(float64(n) / r.perSecond * float64(time.Second))
	text := count(n, "delivery is to be sent again", "deliveries are to be sent again")
	if took >= 2*time.Second {
		text += fmt.Sprintf(", %s: %s", r.rate, lasting(took))
	}
	if r.already > 0 {
		text += fmt.Sprintf("; %d were asked for already", r.already)
	}
	fmt.Fprintln(r.ErrOut, text+".")
	if n <= unasked || r.yes {
		return nil
	}
	if !r.interactive {
		return usagef("more than %d deliveries are only sent again with --yes; nothing was sent", unasked)
	}
	ok, err := r.confirmed(ctx, "Send them?")
	if err == nil && !ok {
		err = errors.New("not confirmed; nothing was sent")
	}
	return err
}

// request is the value of an annotation that asks for something: when, and who.
func (p *plugin) request(ctx context.Context) string { return change.Request(p.now(), p.user(ctx)) }

// user is who the API server takes the caller for or, where it does not tell, the name in
// the kubeconfig.
func (p *plugin) user(ctx context.Context) string {
	if c, err := p.client(); err == nil {
		if name := change.User(ctx, c); name != "" {
			return name
		}
	}
	raw, err := p.kube.ToRawKubeConfigLoader().RawConfig()
	if err != nil {
		return "unknown"
	}
	name := raw.CurrentContext
	if p.kube.Context != nil && *p.kube.Context != "" {
		name = *p.kube.Context
	}
	if at := raw.Contexts[name]; at != nil && at.AuthInfo != "" {
		return at.AuthInfo
	}
	return "unknown"
}

// commandToContinue is the command line that goes on with what was interrupted.
func (r *resend) commandToContinue() string {
	words := []string{r.cmd.CommandPath()}
	for _, name := range r.names {
		words = append(words, word(name))
	}
	r.cmd.Flags().Visit(func(f *pflag.Flag) {
		value := f.Value.String()
		switch {
		case f.Name == "continue":
			return
		case f.Name == "since" || f.Name == "until": // the same times, and not as long before now
			if at, err := moment(f.Name, value, r.begun); err == nil {
				value = at.UTC().Format(time.RFC3339)
			}
		case f.Value.Type() == "stringSlice":
			value = strings.Trim(value, "[]")
		case f.Value.Type() == "bool" && value == "true":
			words = append(words, "--"+f.Name)
			return
		}
		words = append(words, "--"+f.Name+"="+word(value))
	})
	return strings.Join(append(words, "--continue="+word(r.value)), " ")
}

// word quotes a word of a command line where a shell would read something into it.
func word(s string) string {
	if s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return r > unicode.MaxASCII || !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune("-_./:=,@+%", r)
	}) {
		return s
	}
	return insight.ShellQuote(s)
}
