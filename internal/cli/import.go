package cli

import (
	"context"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/egress"
	"github.com/horizoncd/webhook-operator/internal/horizon"
	"github.com/horizoncd/webhook-operator/internal/importer"
	"github.com/horizoncd/webhook-operator/internal/routes"
)

const (
	// defaultSystemNamespace is that of the operator's own default.
	defaultSystemNamespace = "horizon-webhooks"
	// clusterTimeout bounds how long is asked what is in the cluster already.
	clusterTimeout = 20 * time.Second
)

// horizonError is an error of asking Horizon, which explain does not take for one of the API
// server's.
type horizonError struct{ error }

func (e horizonError) Unwrap() error { return e.error }

// importCommand is the command import.
type importCommand struct {
	*plugin
	waiter

	from, tokenFile, caFile string
	out, routesFile         string
	systemNamespace         string
	egressAllow             []string
	skip                    []int64
	enabled                 bool
	cutOver, undo           []string
}

func newImport(p *plugin) *cobra.Command {
	i := &importCommand{plugin: p}
	i.waiter.timeout = 30 * time.Second
	cmd := &cobra.Command{
		Use:     "import --from ADDRESS --token-file FILE --out DIRECTORY | --cut-over WEBHOOK | --undo WEBHOOK",
		GroupID: groupMove,
		Short:   "Bring webhooks over from Horizon",
		Long: `Bring webhooks over from Horizon: write manifests of all that it has, and turn them over one by one.

It goes over all groups, applications and clusters, and writes a Webhook, horizon-NUMBER, and a Secret for each webhook
that it finds. Where they go is said by the file of routes that the bridge has; a webhook that follows more than one of
its namespaces goes to the system namespace. The directory is for you alone (mode 0700, files 0600): secrets are in it,
and nowhere on the terminal. Webhooks that Horizon takes and the operator does not are in by-hand/, with the reason; name
them .yaml when you have put that right. To import again writes all files anew but those whose first line you have taken
out.

All Webhooks are Disabled, so that applying them sends nothing. --cut-over enables one here, waits until it can be sent
to, and then turns it off in Horizon. Both send for some seconds: what happens meanwhile reaches the receiver twice, with
the same eventID. --undo turns it on in Horizon first, and then disables it here. Import again before you apply manifests
again: those of Webhooks that are in the cluster have their state there.

The token is one of a robot or a person. It needs the scope clusters:read-only, and one that covers webhooks. It is read
from a file, since others on the machine see command lines. Horizon is left as it is but for what --cut-over and --undo
turn on and off.`,
		Example: `  # Write manifests of all webhooks, and check them
  kubectl horizon import --from https://horizon.example.com --token-file horizon-token.txt \
    --routes routes.yaml --out imported
  kubectl horizon lint -R imported --offline

  # When they are applied, turn one over
  kubectl horizon import --from https://horizon.example.com --token-file horizon-token.txt \
    --cut-over horizon-12 -n music

  # And back
  kubectl horizon import --from https://horizon.example.com --token-file horizon-token.txt \
    --undo horizon-12 -n music`,
		Args: none,
		RunE: func(cmd *cobra.Command, _ []string) error { return i.run(cmd.Context()) },
	}
	f := cmd.Flags()
	f.StringVar(&i.from, "from", "", "the address of Horizon's core, such as https://horizon.example.com")
	f.StringVar(&i.tokenFile, "token-file", "", "a file with an access token of Horizon")
	f.StringVar(&i.caFile, "ca-file", "", "a file of PEM certificates of authorities that vouch for Horizon; without it, the system's")
	f.StringVar(&i.out, "out", "", "the directory to write manifests into")
	f.StringVar(&i.routesFile, "routes", "", "the file of routes that the bridge has; without it, all goes to the system namespace")
	f.StringVar(&i.systemNamespace, "system-namespace", "",
		"the namespace whose Webhooks follow all events: the default of the routes or, without them, "+defaultSystemNamespace)
	f.StringSliceVar(&i.egressAllow, "egress-allow", nil, "the private addresses that the operator may send to, as its flag of this name has them")
	f.Int64SliceVar(&i.skip, "skip", nil, "numbers of webhooks to leave out; what looks like the bridge's own is, too, unless one is 0")
	f.BoolVar(&i.enabled, "enabled", false, "write what is on in Horizon as Enabled: then both send from the moment it is applied")
	f.StringArrayVar(&i.cutOver, "cut-over", nil, "a Webhook to enable here and to turn off in Horizon; may be given more than once")
	f.StringArrayVar(&i.undo, "undo", nil, "a Webhook to turn on in Horizon and to disable here; may be given more than once")
	f.DurationVar(&i.waiter.timeout, "wait-timeout", i.waiter.timeout, "how long --cut-over waits until a Webhook can be sent to")
	for _, flag := range []string{"cut-over", "undo"} {
		_ = cmd.RegisterFlagCompletionFunc(flag, p.completeManyWebhooks)
	}
	for _, flag := range []string{"from", "system-namespace", "egress-allow", "skip", "wait-timeout"} {
		_ = cmd.RegisterFlagCompletionFunc(flag, cobra.NoFileCompletions)
	}
	_ = cmd.MarkFlagDirname("out")
	return cmd
}

func (i *importCommand) run(ctx context.Context) error {
	switch ways := min(len(i.cutOver), 1) + min(len(i.undo), 1) + min(len(i.out), 1); {
	case i.from == "" || i.tokenFile == "":
		return usagef("--from and --token-file say which Horizon is meant and who asks it")
	case ways != 1:
		return usagef("say one of --out DIRECTORY, --cut-over WEBHOOK and --undo WEBHOOK")
	}
	options := []horizon.Option{horizon.WithUserAgent("kubectl-horizon/" + i.version)}
	if i.caFile != "" {
		options = append(options, horizon.WithCAFile(i.caFile))
	}
	c, err := horizon.New(i.from, horizon.TokenFile(i.tokenFile), options...)
	if err != nil {
		return usageError{err}
	}
	switch {
	case len(i.cutOver) > 0:
		return i.each(ctx, i.cutOver, c, i.turnOver)
	case len(i.undo) > 0:
		return i.each(ctx, i.undo, c, i.turnBack)
	}
	return i.write(ctx, c)
}

// write writes manifests, and says what they lack.
func (i *importCommand) write(ctx context.Context, c *horizon.Client) error {
	r, err := i.routes()
	if err != nil {
		return err
	}
	allow, err := egress.ParseAllow(i.egressAllow...)
	if err != nil {
		return usagef("--egress-allow: %w", err)
	}
	found, unread, err := i.collect(ctx, c)
	if err != nil {
		return horizonError{explainHorizon(err)}
	}
	all := make([]*importer.Imported, len(found))
	for n, f := range found {
		all[n], err = importer.Translate(ctx, f, importer.Options{Routes: r, Enabled: i.enabled, Skip: i.skip})
		if err != nil {
			return err
		}
	}
	report := importReport{plugin: i.plugin, dir: i.out, all: all, unread: unread}
	report.unresolved = importer.CheckAddresses(ctx, all, allow, net.DefaultResolver)
	report.unknownStates = i.keepStates(ctx, all)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if report.files, err = importer.Write(i.out, all); err != nil {
		return err
	}
	return report.print()
}

// routes reads the file of routes.
func (i *importCommand) routes() (*routes.Routes, error) {
	if i.routesFile == "" {
		if i.systemNamespace == "" {
			i.systemNamespace = defaultSystemNamespace
		}
		return routes.New(i.systemNamespace), nil
	}
	data, err := os.ReadFile(i.routesFile)
	if err != nil {
		return nil, fmt.Errorf("reading the routes: %w", err)
	}
	r, err := routes.Parse(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", i.routesFile, err)
	}
	if i.systemNamespace != "" && i.systemNamespace != r.Default() {
		return nil, usagef("--system-namespace %s is not the default of %s, %s", i.systemNamespace, i.routesFile, r.Default())
	}
	return r, nil
}

// collect reads all webhooks of Horizon.
func (i *importCommand) collect(ctx context.Context, c *horizon.Client) ([]importer.Found, []importer.Unread, error) {
	var resources []horizon.Resource
	shown := i.now()
	for r, err := range c.Walk(ctx) {
		if err != nil {
			return nil, nil, err
		}
		resources = append(resources, r)
		if now := i.now(); now.Sub(shown) >= reportEvery {
			fmt.Fprintf(i.ErrOut, "Going over Horizon: %d groups, applications and clusters so far\n", len(resources))
			shown = now
		}
	}
	progress := i.progress("Reading webhooks", len(resources))
	defer progress.end()
	return importer.Collect(ctx, c, resources, progress.set)
}

// explainHorizon says what to do about an answer of Horizon.
func explainHorizon(err error) error {
	switch {
	case horizon.IsForbidden(err):
		return fmt.Errorf("%w\nThe token needs the scope clusters:read-only, and one that covers webhooks. No scope that Horizon ships does: "+
			"it has to be added to its configuration", err)
	case horizon.IsUnauthorized(err):
		return fmt.Errorf("%w\nHorizon does not know the token, or it has expired", err)
	}
	return err
}

// keepStates writes into manifests the states that their Webhooks have in the cluster. Where
// there is no cluster to ask, it says why.
func (i *importCommand) keepStates(ctx context.Context, all []*importer.Imported) (unknown error) {
	api, err := i.client()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, clusterTimeout)
	defer cancel()
	for _, imported := range all {
		if imported.Webhook == nil {
			continue
		}
		var w v1alpha1.Webhook
		err := api.Get(ctx, types.NamespacedName{Namespace: imported.Namespace, Name: imported.Name}, &w)
		switch {
		case err == nil:
			imported.KeepState(w.Spec.State)
		case apierrors.IsNotFound(err) && !unknownResource(err):
		default:
			return err
		}
	}
	return nil
}

// importReport is what is told of an import.
type importReport struct {
	*plugin
	dir           string
	all           []*importer.Imported
	unread        []importer.Unread
	unresolved    []string
	unknownStates error
	files         importer.Files
}

// print writes the table, what needs a hand and why, and what comes next.
func (r *importReport) print() error {
	g := grid{columns: []column{
		{title: "WEBHOOK"}, {title: "NAMESPACE"}, {title: "OF", flexible: true}, {title: "IN HORIZON"},
		{title: "RECEIVER", flexible: true}, {title: "SECRET"}, {title: "RESULT"},
	}}
	counts := map[importer.Outcome]int{}
	hands := 0
	for _, i := range r.all {
		state, secret, result := "off", "no", string(i.Outcome)
		if i.On {
			state = "on"
		}
		if i.Secret != nil {
			secret = "yes"
		}
		counts[i.Outcome]++
		if i.Outcome == importer.Written && i.NeedsHand() {
			hands++
			result += ", needs a hand"
		}
		g.add(i.Name, i.Namespace, i.Of, state, i.Receiver, secret, result)
	}
	if len(r.all) > 0 {
		if err := g.print(r.Out, r.width); err != nil {
			return err
		}
		fmt.Fprintln(r.Out)
	}
	r.hands()
	r.notes()
	fmt.Fprintf(r.Out, "%s of Horizon: %d written, of which %d need a hand; %d by hand; %d left out.\n",
		count(len(r.all), "webhook", "webhooks"), counts[importer.Written], hands, counts[importer.ByHand], counts[importer.LeftOut])
	r.next(counts[importer.Written])
	if len(r.unread) == 0 {
		return nil
	}
	for _, u := range r.unread {
		fmt.Fprintln(r.ErrOut, "error: "+oneLine(fmt.Sprintf("the webhooks of the %s %s are missing: %v",
			strings.TrimSuffix(string(u.Resource.Kind), "s"), u.Resource.Path, u.Err)))
	}
	return errUnmet
}

// hands says of each webhook that needs a hand why.
func (r *importReport) hands() {
	title := "What needs a hand:\n"
	for _, i := range r.all {
		if !i.NeedsHand() {
			continue
		}
		fmt.Fprintf(r.Out, "%s  %s (%s)\n", title, i.Name, i.Where())
		title = ""
		for _, reason := range i.Reasons {
			fmt.Fprintf(r.Out, "    %s\n", oneLine(reason))
		}
	}
	if title == "" {
		fmt.Fprintln(r.Out)
	}
}

// notes says what is different and needs no hand, each thing once.
func (r *importReport) notes() {
	var texts []string
	names := map[string][]string{}
	add := func(text string, about ...string) {
		if names[text] == nil {
			texts = append(texts, text)
		}
		names[text] = append(names[text], about...)
	}
	for _, i := range r.all {
		for _, note := range i.Notes {
			add(note, i.Name)
		}
	}
	for _, name := range r.unresolved {
		add("could not be looked up from here: where they lead to private addresses, the operator needs --egress-allow", name)
	}
	if len(r.files.Kept) > 0 {
		add("were not written anew, since somebody has taken out their first line", r.files.Kept...)
	}
	if len(r.files.Removed) > 0 {
		add("were removed, since they are not what Horizon has now", r.files.Removed...)
	}
	if len(texts) == 0 && r.unknownStates == nil {
		return
	}
	fmt.Fprintln(r.Out, "Notes:")
	for _, text := range texts {
		fmt.Fprintf(r.Out, "  %s:\n    %s\n", oneLine(text), oneLine(strings.Join(names[text], ", ")))
	}
	if r.unknownStates != nil {
		fmt.Fprintf(r.Out, "  It is not known which Webhooks are in the cluster already, and in which state: %s\n",
			oneLine(explain(r.unknownStates)))
	}
	fmt.Fprintln(r.Out)
}

// next says what to do with what was written.
func (r *importReport) next(written int) {
	if written == 0 {
		return
	}
	var namespaces []string
	for _, i := range r.all {
		if i.Outcome == importer.Written {
			namespaces = append(namespaces, i.Namespace)
		}
	}
	slices.Sort(namespaces)
	namespaces = slices.Compact(namespaces)
	fmt.Fprintf(r.Out, `
Next:
  kubectl apply --server-side -R -f %[1]s --dry-run=server   (the namespaces have to be there: %[2]s)
  kubectl apply --server-side -R -f %[1]s
  kubectl horizon import --from … --token-file … --cut-over NAME -n NAMESPACE
A webhook that is cut over sends from both sides for some seconds: what happens meanwhile reaches its receiver twice, with
the same eventID. --undo turns it back.
`, oneLine(r.dir), strings.Join(namespaces, ", "))
}
