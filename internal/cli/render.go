package cli

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/insight"
	"github.com/horizoncd/webhook-operator/internal/manifest"
	"github.com/horizoncd/webhook-operator/internal/signing"
)

// renderFlags are those of render.
type renderFlags struct {
	event, file, with, output string
	body                      bool
}

func newRender(p *plugin) *cobra.Command {
	var f renderFlags
	cmd := &cobra.Command{
		Use:     "render WEBHOOK (--event EVENT | -f FILE)",
		Short:   "Print the request that an event makes at a Webhook",
		GroupID: groupTry,
		Long: `Print the request that an event makes at a Webhook, and whether it would be sent.

The body is what the operator sends, byte for byte, in the format and by the template of the webhook: --body prints
nothing else. Where the template does not compile or fails for the event, that is said instead, and the exit code is 1.
Secrets are not read and not shown, and neither is an address that comes from one. Nothing is sent.

--with takes the webhook from a manifest in a file, so that a filter and a template can be tried before they are applied.
The webhook of that name need not be there yet.

A delivery that is in store and is sent again gets a body made anew, with the webhook as it is then: what was sent, see
kubectl horizon log.`,
		Example: `  # What did horizon-78402 look like to smoke-tests?
  kubectl horizon render smoke-tests --event horizon-78402

  # What would an event look like that never happened?
  kubectl horizon render smoke-tests -f event.yaml

  # What do the filter and the template in a file make of that event, before they are applied?
  kubectl horizon render smoke-tests --event horizon-78402 --with webhook.yaml

  # The bytes alone
  kubectl horizon render smoke-tests --event horizon-78402 --body`,
		Args:              one("a webhook"),
		ValidArgsFunction: p.completeWebhooks,
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case (f.event == "") == (f.file == ""):
				return usagef("give one of --event and -f")
			case f.file == "-" && f.with == "-":
				return usagef("-f and --with cannot both read standard input")
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
	cmd.Flags().StringVar(&f.with, "with", "", "a file with a manifest of the webhook, in place of the one in the cluster; - is standard input")
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
	key := client.ObjectKey{Namespace: namespace, Name: webhook}
	w := &v1alpha1.Webhook{}
	if err := reader.Client.Get(ctx, key, w); err != nil && (f.with == "" || !apierrors.IsNotFound(err) || unknownResource(err)) {
		return absent("reading", kindWebhook, key, err)
	}
	if f.with != "" {
		if w, err = p.webhookWith(ctx, key, w, f.with); err != nil {
			return err
		}
	}
	e, err := p.eventOf(ctx, namespace, f)
	if err != nil {
		return err
	}
	var request *insight.Request
	if f.with == "" {
		request, err = reader.Render(ctx, w, e)
	} else { // what became of the event says nothing of this webhook
		request, err = insight.Render(w, e, insight.DefaultSystemNamespace, p.now())
	}
	if err != nil {
		return err
	}
	if f.with != "" {
		request.Notes = append(request.Notes, notesOfFile(w, f.with)...)
	}
	switch {
	case f.body && request.NoBody == nil:
		_, err := io.WriteString(p.Out, request.Body)
		return err
	case f.body:
		return noBody(request.NoBody)
	}
	if err := p.tell(request, f.output, nil, func(t *teller) { tellRequest(t, request) }); err != nil {
		return err
	}
	if request.NoBody != nil {
		return errNoBody
	}
	return nil
}

// notesOfFile says what comes of the Webhook being that of a file.
func notesOfFile(w *v1alpha1.Webhook, file string) []string {
	notes := []string{"the webhook is that of " + file + ", which is not applied by this"}
	if w.UID == "" {
		made := signing.HeaderID
		if w.Spec.WebhookID == 0 {
			made += ", and webhookID in the body"
		}
		notes = append(notes, "made up, since the webhook is not in the cluster: "+made)
	}
	return notes
}

// errNoBody ends a command that has said why there is no body.
var errNoBody = errors.New("spec.payload.template makes no body of the event")

// noBody is why there is none, with the place of the mistake.
func noBody(f *insight.Finding) error {
	text := f.Message
	if f.Detail != "" {
		text += "\n" + f.Detail
	}
	return errors.New(text)
}

// webhookWith returns the Webhook of a file in place of the one in the cluster, live, as the
// operator would see it once it is applied; live is empty where there is none yet.
func (p *plugin) webhookWith(ctx context.Context, key client.ObjectKey, live *v1alpha1.Webhook, file string) (*v1alpha1.Webhook, error) {
	d, err := p.readDocument(file, "Webhook")
	if err != nil {
		return nil, err
	}
	problems, err := d.Validate(ctx)
	if err != nil {
		return nil, err
	}
	if len(problems) > 0 {
		lines := []string{fmt.Sprintf("%s is not valid, and kubectl horizon lint -f %s says more:", file, file)}
		for _, problem := range problems[:min(len(problems), 5)] {
			lines = append(lines, fmt.Sprintf("  line %d: %s: %s", problem.Line, problem.Field, problem.Message))
		}
		return nil, errors.New(strings.Join(lines, "\n"))
	}
	w := &v1alpha1.Webhook{}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(d.Object.Object, w); err != nil {
		return nil, fmt.Errorf("reading %s: %w", file, err)
	}
	switch {
	case w.Name != key.Name:
		return nil, fmt.Errorf("the webhook in %s is %s, not %s", file, w.Name, key.Name)
	case w.Namespace != "" && w.Namespace != key.Namespace:
		return nil, fmt.Errorf("the webhook in %s is of the namespace %s, not %s", file, w.Namespace, key.Namespace)
	}
	w.ObjectMeta, w.Status = live.ObjectMeta, v1alpha1.WebhookStatus{}
	w.Namespace, w.Name = key.Namespace, key.Name
	return w, nil
}

// readDocument reads a manifest of one object of a kind.
func (p *plugin) readDocument(file, kind string) (*manifest.Document, error) {
	data, err := p.readFile(file)
	if err != nil {
		return nil, err
	}
	documents, problems := manifest.Parse(data)
	documents = slices.DeleteFunc(documents, func(d *manifest.Document) bool {
		return !manifest.Known(d.Object) || d.Object.GetKind() != kind
	})
	switch {
	case len(problems) > 0:
		return nil, fmt.Errorf("reading %s: line %d: %s", file, problems[0].Line, problems[0].Message)
	case len(documents) != 1:
		return nil, fmt.Errorf("%s has %d manifests of a %s, and takes one", file, len(documents), kind)
	}
	return documents[0], nil
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
	data, err := p.readFile(file)
	if err != nil {
		return nil, err
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

// readFile reads a manifest; - is standard input.
func (p *plugin) readFile(file string) ([]byte, error) {
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
	return data, nil
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
	t.verdict(r.Finding)
	t.notes(r.Notes)
	if r.Shown != "" {
		t.WriteString("\nThe room shows:\n")
		t.asItIs("  ", r.Shown)
	}
	// As it is sent, so nothing of this is wrapped.
	fmt.Fprintf(t, "\n%s %s\n", r.Method, oneLine(r.URL))
	for _, h := range r.Headers {
		fmt.Fprintf(t, "%s: %s\n", h.Name, oneLine(h.Value))
	}
	t.WriteByte('\n')
	if r.NoBody != nil {
		if strings.Contains(r.Message, r.NoBody.Message) {
			t.say("There is no body.")
			return
		}
		t.say("There is no body: %s", r.NoBody.Message)
		t.asItIs("", r.NoBody.Detail)
		return
	}
	fmt.Fprintf(t, "%s\n", printable(r.Body))
}
