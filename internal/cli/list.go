package cli

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
)

// lister is the command list.
type lister struct {
	*plugin
	output
	all, watch bool
	selector   string

	namespace string
}

func newList(p *plugin) *cobra.Command {
	l := &lister{plugin: p}
	cmd := &cobra.Command{
		Use:        "list",
		SuggestFor: []string{"webhooks"},
		Aliases:    []string{"ls", "get"},
		GroupID:    groupWebhooks,
		Short:      "List webhooks: state, health, what waits and what failed",
		Long: `List the webhooks of a namespace, or of all: whether they can be sent to (READY), what their receivers answer
(HEALTH), how many deliveries wait and how many have failed, and when something was sent last. The operator writes these
numbers, and they are up to ten seconds old.`,
		Example: `  # Those of the current namespace
  kubectl horizon list

  # Those of all namespaces, with more columns
  kubectl horizon list -A -o wide

  # Those with a label, as they change
  kubectl horizon list -l team=music -w`,
		Args:              noNames("list", "to see one: kubectl horizon show WEBHOOK"),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE:              func(cmd *cobra.Command, _ []string) error { return l.run(cmd.Context()) },
	}
	l.addTo(cmd, true)
	f := cmd.Flags()
	f.BoolVarP(&l.all, "all-namespaces", "A", false, "list those of all namespaces")
	f.BoolVarP(&l.watch, "watch", "w", false, "print webhooks again as they change, until Ctrl-C")
	f.StringVarP(&l.selector, "selector", "l", "", "only those with such labels, such as team=music")
	return cmd
}

// noNames refuses arguments, and says what takes them.
func noNames(command, hint string) cobra.PositionalArgs {
	return func(_ *cobra.Command, args []string) error {
		if len(args) > 0 {
			return fmt.Errorf("%s takes no names; %s", command, hint)
		}
		return nil
	}
}

func (l *lister) run(ctx context.Context) error {
	if err := l.checkFormat(); err != nil {
		return err
	}
	options, err := l.options()
	if err != nil {
		return err
	}
	c, err := l.client()
	if err != nil {
		return err
	}
	list := unstructuredWebhooks()
	if err := c.List(ctx, list, options...); err != nil {
		return fmt.Errorf("listing webhooks: %w", err)
	}
	if l.watch {
		return l.follow(ctx, c, list, options)
	}
	if !l.own() {
		return l.print(l.plugin, asList(list))
	}
	if len(list.Items) == 0 {
		return l.nothing()
	}
	g := l.grid()
	for i := range list.Items {
		if err := l.add(g, &list.Items[i]); err != nil {
			return err
		}
	}
	if !l.wide() {
		fitAddress(g, l.width)
	}
	return g.print(l.Out, l.width)
}

// leastAddress is how much of an address has to be seen for it to be told from others.
const leastAddress = 14

// fitAddress makes room for addresses in a narrow terminal: https:// goes, then the
// triggers, then when something was sent last.
func fitAddress(g *grid, terminal int) {
	at := func(title string) int {
		return slices.IndexFunc(g.columns, func(c column) bool { return c.title == title })
	}
	cut := func() bool {
		used, whole := 0, 0
		for i, c := range g.columns {
			widest := cellWidth(c.title)
			for _, row := range g.rows {
				widest = max(widest, cellWidth(row[i]))
			}
			switch {
			case i == at("URL"):
				whole = widest
			case c.flexible:
				used += gap + min(widest, minFlexible)
			default:
				used += gap + widest
			}
		}
		return terminal > 0 && terminal-used < min(whole, leastAddress)
	}
	if cut() {
		for _, row := range g.rows {
			row[at("URL")] = strings.TrimPrefix(row[at("URL")], "https://")
		}
	}
	for _, title := range []string{"TRIGGERS", "LAST"} {
		if i := at(title); cut() {
			g.columns = slices.Delete(g.columns, i, i+1)
			for n := range g.rows {
				g.rows[n] = slices.Delete(g.rows[n], i, i+1)
			}
		}
	}
}

// options say which Webhooks are listed.
func (l *lister) options() ([]client.ListOption, error) {
	if !l.all {
		namespace, err := l.plugin.namespace()
		if err != nil {
			return nil, err
		}
		l.namespace = namespace
	}
	options := []client.ListOption{client.InNamespace(l.namespace)}
	selector, err := webhookSelector(l.selector)
	if err != nil {
		return nil, err
	}
	if selector != nil {
		options = append(options, client.MatchingLabelsSelector{Selector: selector})
	}
	return options, nil
}

// webhookSelector parses the value of -l; nil where there is none.
func webhookSelector(text string) (labels.Selector, error) {
	if text == "" {
		return nil, nil //nolint:nilnil // no selector is no mistake
	}
	selector, err := labels.Parse(text)
	if err != nil {
		return nil, usagef("--selector %q: %w", text, err)
	}
	return selector, nil
}

// nothing says what to do where there is nothing to list.
func (l *lister) nothing() error {
	where, flag := "in namespace "+l.namespace, " -n "+l.namespace
	if l.all {
		where, flag = "in any namespace", ""
	}
	if l.selector != "" {
		_, err := fmt.Fprintf(l.ErrOut, "No webhooks with such labels %s.\n", where)
		return err
	}
	_, err := fmt.Fprintf(l.ErrOut,
		"No webhooks %s. Create one: kubectl horizon create NAME --url https://… --trigger clusters_deployed%s\n", where, flag)
	return err
}

// unstructuredWebhooks is a list whose items stay as the API server has them, which is
// what -o yaml has to show.
func unstructuredWebhooks() *unstructured.UnstructuredList {
	list := &unstructured.UnstructuredList{}
	list.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind("WebhookList"))
	return list
}

// asList returns a list as kubectl get prints it.
func asList(list *unstructured.UnstructuredList) *unstructured.UnstructuredList {
	return &unstructured.UnstructuredList{
		Object: map[string]any{
			"apiVersion": "v1", "kind": "List", "metadata": map[string]any{"resourceVersion": ""},
		},
		Items: list.Items,
	}
}

func (l *lister) grid() *grid {
	g := &grid{noHeaders: l.NoHeaders}
	if l.all {
		g.columns = append(g.columns, column{title: "NAMESPACE"})
	}
	g.columns = append(g.columns,
		column{title: "NAME"}, column{title: "STATE"}, column{title: "READY"}, column{title: "HEALTH"},
		column{title: "WAITING"}, column{title: "FAILED"}, column{title: "LAST"},
		column{title: "URL", flexible: true}, column{title: "TRIGGERS", flexible: true})
	if l.wide() {
		g.columns = append(g.columns,
			column{title: "SUCCEEDED"}, column{title: "CODE"}, column{title: "SCOPE", flexible: true},
			column{title: "DESCRIPTION", flexible: true}, column{title: "AGE"})
	}
	return g
}

// add adds the row of a Webhook.
func (l *lister) add(g *grid, object *unstructured.Unstructured) error {
	w, err := webhookFrom(object)
	if err != nil {
		return err
	}
	ready, health := "-", "-"
	if c := meta.FindStatusCondition(w.Status.Conditions, v1alpha1.ConditionReady); c != nil {
		ready = string(c.Status)
	}
	if c := meta.FindStatusCondition(w.Status.Conditions, v1alpha1.ConditionHealthy); c != nil {
		health = c.Reason
	}
	last, code := "-", "-"
	if d := w.Status.LastDelivery; d != nil {
		last = age(d.Time.Time, l.now())
		if d.StatusCode != 0 {
			code = strconv.Itoa(int(d.StatusCode))
		}
	}
	var cells []string
	if l.all {
		cells = append(cells, w.Namespace)
	}
	counts := w.Status.Deliveries
	cells = append(cells, w.Name, dash(string(w.Spec.State)), ready, dash(health),
		strconv.Itoa(int(counts.Waiting)), strconv.Itoa(int(counts.Failed)), last,
		address(w), joinTriggers(w.Spec.Triggers))
	if l.wide() {
		cells = append(cells, strconv.Itoa(int(counts.Succeeded)), code, dash(w.Spec.Scope), dash(w.Spec.Description),
			age(w.CreationTimestamp.Time, l.now()))
	}
	g.add(cells...)
	return nil
}

// webhookFrom returns what an object from the API server says.
func webhookFrom(object *unstructured.Unstructured) (*v1alpha1.Webhook, error) {
	w := &v1alpha1.Webhook{}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, w); err != nil {
		return nil, fmt.Errorf("reading webhook %s: %w", object.GetName(), err)
	}
	return w, nil
}

// address is where a Webhook sends to: its URL, or the Secret that has it.
func address(w *v1alpha1.Webhook) string {
	if ref := w.Spec.URLSecretRef; ref != nil {
		return "Secret " + ref.Name + "/" + ref.Key
	}
	return dash(w.Spec.URL)
}

func joinTriggers(triggers []v1alpha1.Trigger) string {
	names := make([]string, len(triggers))
	for i, t := range triggers {
		names[i] = string(t)
	}
	return strings.Join(names, ",")
}
