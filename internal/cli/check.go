package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	authorizationv1 "k8s.io/api/authorization/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/client-go/discovery"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/insight"
)

func newCheck(p *plugin) *cobra.Command {
	return &cobra.Command{
		Use:     "check",
		Short:   "Check that everything is there and works",
		GroupID: groupTry,
		Long: `Check that everything is there and works: the API server, the CRDs, an operator, what you may do in the namespace, its
Webhooks, and its events.

The exit code is 3 where something is wrong. What you may not do is no fault, and is told as a note.`,
		Example: `  kubectl horizon check
  kubectl horizon check -n music`,
		Args: none,
		RunE: func(cmd *cobra.Command, _ []string) error {
			namespace, err := p.namespace()
			if err != nil {
				return err
			}
			c := &checker{plugin: p, namespace: namespace}
			if err := c.run(cmd.Context()); err != nil {
				return err
			}
			if c.wrong > 0 {
				return errUnmet
			}
			return nil
		},
	}
}

// checker prints what it finds, a line each.
type checker struct {
	*plugin
	namespace string
	wrong     int
}

// Words in front of a line.
const (
	isOK    = "ok     "
	isWrong = "WRONG  "
	isNote  = "note   "
)

func (c *checker) line(mark, format string, args ...any) {
	if mark == isWrong {
		c.wrong++
	}
	t := &teller{width: c.width}
	t.indented(mark, fmt.Sprintf(format, args...))
	fmt.Fprint(c.Out, t.String())
}

// run checks one thing after the other. It ends early where the rest would only repeat
// what is wrong.
func (c *checker) run(ctx context.Context) error {
	served, err := c.server()
	if !served || err != nil {
		return err
	}
	if err := c.permissions(ctx); err != nil {
		return err
	}
	reader, err := c.reader()
	if err != nil {
		return err
	}
	if err := c.operator(ctx, reader); err != nil {
		return err
	}
	return c.webhooks(ctx, reader)
}

// server checks the API server, and whether it knows the project's kinds.
func (c *checker) server() (served bool, _ error) {
	config, err := c.config()
	if err != nil {
		return false, err
	}
	d, err := discovery.NewDiscoveryClientForConfig(config)
	if err != nil {
		return false, fmt.Errorf("making a client: %w", err)
	}
	version, err := d.ServerVersion()
	if err != nil {
		if utilnet.IsConnectionRefused(err) && config.Host == "http://localhost:8080" {
			c.line(isWrong, noKubeconfig)
			return false, nil
		}
		c.line(isWrong, "the API server %s does not answer: %v", config.Host, err)
		return false, nil
	}
	c.line(isOK, "the API server answers (%s)", version.GitVersion)
	group := v1alpha1.GroupVersion.String()
	resources, err := d.ServerResourcesForGroupVersion(group)
	switch {
	case apierrors.IsNotFound(err):
		c.line(isWrong, "the cluster does not know %s: the operator's CRDs are not installed there, or are of another version", group)
		return false, nil
	case err != nil:
		c.line(isWrong, "the API server does not tell which kinds it knows: %v", err)
		return false, nil
	}
	known := map[string]bool{}
	for _, r := range resources.APIResources {
		known[r.Name] = true
	}
	var missing []string
	for _, name := range []string{"webhooks", "webhookevents", "webhookdeliveries"} {
		if !known[name] {
			missing = append(missing, name)
		}
	}
	if len(missing) > 0 {
		c.line(isWrong, "of the CRDs of %s these are not installed: %s", group, strings.Join(missing, ", "))
		return false, nil
	}
	c.line(isOK, "the CRDs are installed (%s)", group)
	return true, nil
}

// permission is something that a person may be allowed to do, and which role allows it.
type permission struct {
	what, role      string
	group, resource string
	verbs           []string
}

var permissions = []permission{
	{"read Webhooks", viewerRole, v1alpha1.GroupVersion.Group, "webhooks", []string{"get", "list"}},
	{"read events", viewerRole, v1alpha1.GroupVersion.Group, "webhookevents", []string{"get", "list"}},
	{"read deliveries", viewerRole, v1alpha1.GroupVersion.Group, "webhookdeliveries", []string{"get", "list"}},
	{"write Webhooks", "edit (or horizon-webhook-editor)", v1alpha1.GroupVersion.Group, "webhooks", []string{"create", "patch", "delete"}},
	{"resend deliveries", "edit (or horizon-delivery-resender)", v1alpha1.GroupVersion.Group, "webhookdeliveries", []string{"patch"}},
	{"create Secrets", "edit", "", "secrets", []string{"create"}},
}

const viewerRole = "view (or horizon-webhook-viewer)"

// permissions says what the person may do in the namespace.
func (c *checker) permissions(ctx context.Context) error {
	var may []string
	for _, p := range permissions {
		allowed, err := c.allowed(ctx, p)
		switch {
		case err != nil:
			return err
		case allowed:
			may = append(may, p.what)
		default:
			c.line(isNote, "in the namespace %s you may not %s: the role %s allows it", c.namespace, p.what, p.role)
		}
	}
	if len(may) > 0 {
		c.line(isOK, "in the namespace %s you may %s", c.namespace, strings.Join(may, ", "))
	}
	return nil
}

// allowed asks whether the person has all verbs of a permission.
func (c *checker) allowed(ctx context.Context, p permission) (bool, error) {
	cluster, err := c.client()
	if err != nil {
		return false, err
	}
	for _, verb := range p.verbs {
		review := &authorizationv1.SelfSubjectAccessReview{Spec: authorizationv1.SelfSubjectAccessReviewSpec{
			ResourceAttributes: &authorizationv1.ResourceAttributes{
				Namespace: c.namespace, Verb: verb, Group: p.group, Resource: p.resource,
			},
		}}
		if err := cluster.Create(ctx, review); err != nil {
			return false, fmt.Errorf("asking whether you may %s: %w", p.what, err)
		}
		if !review.Status.Allowed {
			return false, nil
		}
	}
	return true, nil
}

// operator checks whether one works: by its lease where that may be read, and else by what
// it has written about.
func (c *checker) operator(ctx context.Context, reader *insight.Reader) error {
	works, err := reader.Operator(ctx, c.namespace)
	if err != nil {
		return err
	}
	mark := isOK
	switch works.Outcome {
	case insight.Working:
	case insight.Unknown:
		mark = isNote
	default:
		mark = isWrong
	}
	c.line(mark, "%s", withHelp(works.Finding))
	for _, e := range works.Unobserved {
		c.line(isWrong, "the event %s has waited for an operator since %s: kubectl horizon why event/%s -n %s",
			e.Name, e.Since.UTC().Format("2006-01-02T15:04:05Z"), e.Name, c.namespace)
	}
	if more := works.UnobservedCount - len(works.Unobserved); more > 0 {
		c.line(isWrong, "and so have %d more events", more)
	}
	return nil
}

func withHelp(f insight.Finding) string {
	if f.Help == "" {
		return f.Message
	}
	return f.Message + ". Help: " + f.Help
}

// webhooks checks those of the namespace.
func (c *checker) webhooks(ctx context.Context, reader *insight.Reader) error {
	var list v1alpha1.WebhookList
	if err := reader.Client.List(ctx, &list, client.InNamespace(c.namespace)); err != nil {
		if apierrors.IsForbidden(err) {
			return nil // told already
		}
		return fmt.Errorf("listing webhooks: %w", err)
	}
	wellKnown := 0
	for i := range list.Items {
		w := &list.Items[i]
		for _, f := range insight.OfWebhook(w, c.now()) {
			mark := isWrong
			switch {
			case f.Outcome == insight.Working:
				wellKnown++
				continue
			case f.Outcome == insight.Unknown, f.Reason == v1alpha1.ReasonPaused, f.Reason == string(v1alpha1.UnmatchedDisabled),
				f.Reason == string(v1alpha1.UnmatchedDeleting): // somebody's wish
				mark = isNote
			}
			c.line(mark, "webhook %s: %s", w.Name, f.Reason+": "+withHelp(f))
		}
	}
	switch {
	case len(list.Items) == 0:
		c.line(isNote, "the namespace %s has no Webhooks: `kubectl horizon create NAME --url URL --trigger TYPE -n %s` makes one", c.namespace, c.namespace)
	case wellKnown > 0:
		c.line(isOK, "%s of the namespace %s can be sent to, and nothing is known to be wrong with their receivers",
			count(wellKnown, "Webhook", "Webhooks"), c.namespace)
	}
	return nil
}
