package cli

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/insight"
)

// renderFlags are those of render.
type renderFlags struct {
	event, file, output string
	body                bool
}

func newRender(p *plugin) *cobra.Command {
	var f renderFlags
	cmd := &cobra.Command{
		Use:     "render WEBHOOK (--event EVENT | -f FILE)",
		Short:   "Print the request that an event makes at a Webhook",
		GroupID: groupTry,
		Long: `Print the request that an event makes at a Webhook, and whether it would be sent.

The body is what the operator sends, byte for byte: --body prints nothing else. Secrets are not read and not shown, and
neither is an address that comes from one. Nothing is sent.

A delivery that is in store is sent again with the body it was made with: see kubectl horizon log.`,
		Example: `  # What did horizon-78402 look like to smoke-tests?
  kubectl horizon render smoke-tests --event horizon-78402

  # What would an event look like that never happened?
  kubectl horizon render smoke-tests -f event.yaml

  # The bytes alone
  kubectl horizon render smoke-tests --event horizon-78402 --body`,
		Args:              one("a webhook"),
		ValidArgsFunction: p.completeWebhooks,
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case (f.event == "") == (f.file == ""):
				return usagef("give one of --event and -f")
			case f.body && f.output != "":
				return usagef("--body and -o exclude each other")
			}
			if err := oneOf("output", f.output, "", "json", "yaml"); err != nil {
				return err
			}
			return p.render(cmd.Context(), args[0], f)
		},
	}
	cmd.Flags().StringVar(&f.event, "event", "", "an event of the cluster: NAME, or NAMESPACE/NAME for a Webhook that follows all namespaces")
	cmd.Flags().StringVarP(&f.file, "filename", "f", "", "a file with an event; - is standard input")
	cmd.Flags().BoolVar(&f.body, "body", false, "print the body alone, byte for byte")
	addAnswerOutput(cmd, &f.output)
	_ = cmd.RegisterFlagCompletionFunc("event", asFlag(p.completeEvents))
	return cmd
}

func (p *plugin) render(ctx context.Context, webhook string, f renderFlags) error {
	namespace, err := p.namespace()
	if err != nil {
		return err
	}
	reader, err := p.reader()
	if err != nil {
		return err
	}
	w := &v1alpha1.Webhook{}
	if err := reader.Client.Get(ctx, client.ObjectKey{Namespace: namespace, Name: webhook}, w); err != nil {
		return absent("reading", kindWebhook, client.ObjectKey{Namespace: namespace, Name: webhook}, err)
	}
	e, err := p.eventOf(ctx, namespace, f)
	if err != nil {
		return err
	}
	request, err := reader.Render(ctx, w, e)
	if err != nil {
		return err
	}
	if f.body {
		_, err := io.WriteString(p.Out, request.Body)
		return err
	}
	return p.tell(request, f.output, nil, func(t *teller) { tellRequest(t, request) })
}

// eventOf returns the event that is asked about.
func (p *plugin) eventOf(ctx context.Context, namespace string, f renderFlags) (*v1alpha1.WebhookEvent, error) {
	if f.file != "" {
		return p.eventOfFile(namespace, f.file)
	}
	name := f.event
	if kind, after := kindAndName(f.event); kind == kindEvent && strings.Contains(f.event, ".") { // as -o name prints it
		name = after
	} else if before, after, ok := strings.Cut(f.event, "/"); ok {
		namespace, name = before, after
	}
	c, err := p.client()
	if err != nil {
		return nil, err
	}
	e := &v1alpha1.WebhookEvent{}
	if err := c.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, e); err != nil {
		return nil, absent("reading", kindEvent, client.ObjectKey{Namespace: namespace, Name: name}, err)
	}
	return e, nil
}

// maxFile bounds a manifest: the API server takes no object that is larger.
const maxFile = 4 << 20

// eventOfFile reads an event that need not exist.
func (p *plugin) eventOfFile(namespace, file string) (*v1alpha1.WebhookEvent, error) {
	from := p.In
	if file != "-" {
		f, err := os.Open(file) //nolint:gosec // a file of whoever runs this
		if err != nil {
			return nil, err
		}
		defer func() { _ = f.Close() }()
		from = f
	}
	data, err := io.ReadAll(io.LimitReader(from, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", file, err)
	}
	if len(data) > maxFile {
		return nil, fmt.Errorf("%s is larger than %d bytes", file, maxFile)
	}
	e, err := parseEvent(data)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", file, err)
	}
	if e.Namespace == "" {
		e.Namespace = namespace
	}
	return e, nil
}

// parseEvent reads a manifest of one WebhookEvent, in which every field is known.
func parseEvent(data []byte) (*v1alpha1.WebhookEvent, error) {
	documents := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(data)))
	var e *v1alpha1.WebhookEvent
	for {
		document, err := documents.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		var content any
		if err := yaml.Unmarshal(document, &content); err != nil {
			return nil, err
		}
		if content == nil { // nothing but comments
			continue
		}
		if e != nil {
			return nil, errors.New("it has more than one object, and one event is rendered at a time")
		}
		e = &v1alpha1.WebhookEvent{}
		if err := yaml.UnmarshalStrict(document, e); err != nil {
			return nil, err
		}
	}
	switch {
	case e == nil:
		return nil, errors.New("it is empty")
	case e.APIVersion != v1alpha1.GroupVersion.String() || e.Kind != "WebhookEvent":
		return nil, fmt.Errorf("it is a %s of %s, not a WebhookEvent of %s", e.Kind, e.APIVersion, v1alpha1.GroupVersion)
	case e.Spec.EventType == "":
		return nil, errors.New("spec.eventType is required")
	}
	return e, nil
}

func tellRequest(t *teller, r *insight.Request) {
	t.say("%s", summary(r.Finding))
	if r.Help != "" {
		t.indented("Help: ", r.Help)
	}
	t.notes(r.Notes)
	// As it is sent, so nothing of this is wrapped.
	fmt.Fprintf(t, "\n%s %s\n", r.Method, oneLine(r.URL))
	for _, h := range r.Headers {
		fmt.Fprintf(t, "%s: %s\n", h.Name, oneLine(h.Value))
	}
	fmt.Fprintf(t, "\n%s\n", printable(r.Body))
}
