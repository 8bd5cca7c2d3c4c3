// Package importer makes Webhooks of Horizon's own: it reads those that there are, translates
// them, writes manifests, and moves sending from one to the other. What one of Horizon's says
// that the operator cannot do is told, and nothing is guessed.
package importer

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/characters"
	"github.com/horizoncd/webhook-operator/internal/horizon"
	"github.com/horizoncd/webhook-operator/internal/manifest"
	"github.com/horizoncd/webhook-operator/internal/receiverurl"
	"github.com/horizoncd/webhook-operator/internal/routes"
	"github.com/horizoncd/webhook-operator/internal/signing"
)

// tokenKey is the key of a Secret that has the token of a receiver.
const tokenKey = "token"

// NamePrefix begins the name of a Webhook that was made of one of Horizon's, whose number
// follows.
const NamePrefix = "horizon-"

// Found is a webhook of Horizon, and what it is of.
type Found struct {
	Webhook  horizon.Webhook
	Resource horizon.Resource
}

// Outcome is what became of a webhook of Horizon.
type Outcome string

// Outcomes.
const (
	// Written: there is a manifest that the API server takes. It may have notes.
	Written Outcome = "written"
	// ByHand: the operator takes no such webhook, and somebody has to decide what it
	// should be.
	ByHand Outcome = "by hand"
	// LeftOut: it is not meant to come over.
	LeftOut Outcome = "left out"
)

// Options say how webhooks are translated.
type Options struct {
	Routes *routes.Routes
	// Enabled writes those that are on in Horizon as Enabled, so that both send from the
	// moment that the manifest is applied. Otherwise all are Disabled until they are cut
	// over.
	Enabled bool
	// Skip are the numbers of those that are left out. What looks like the bridge's own is,
	// too, unless 0 is among them.
	Skip []int64
}

// Imported is what a webhook of Horizon has become.
type Imported struct {
	ID              int64
	Name, Namespace string
	// Of is what it is of: a kind and a path.
	Of string
	// On tells whether it is on in Horizon.
	On bool
	// Receiver is the scheme and the host of its URL, and nothing that may be a secret.
	Receiver string
	Outcome  Outcome
	// Reasons say why a hand is needed, each a sentence without secrets.
	Reasons []string
	// Notes say what is different and needs no hand.
	Notes []string

	// Webhook is the manifest. Where the Outcome is ByHand, the API server does not take it.
	Webhook *unstructured.Unstructured
	// Secret is nil where Horizon sends none.
	Secret *corev1.Secret
}

// NeedsHand tells whether somebody has to do something about it.
func (i *Imported) NeedsHand() bool { return len(i.Reasons) > 0 }

// Translate makes of a webhook of Horizon what the operator takes.
func Translate(ctx context.Context, f Found, o Options) (*Imported, error) {
	w := f.Webhook
	i := &Imported{
		ID: w.ID, Name: NamePrefix + strconv.FormatInt(w.ID, 10), On: w.Enabled, Receiver: receiverOf(w.URL), Outcome: Written,
		Of: strings.TrimSuffix(string(f.Resource.Kind), "s") + " " + f.Resource.Path,
	}
	scope := strings.TrimRight(f.Resource.Path, "/")
	i.Namespace = i.namespaceOf(scope, o.Routes)
	if why := leftOut(f, o.Skip); why != "" {
		i.Outcome, i.Reasons = LeftOut, nil
		i.Notes = []string{why}
		return i, nil
	}
	i.Webhook = i.newWebhook(w, scope, o.Enabled)
	i.checkURL(w)
	i.takeSecret(w.Secret)
	if err := i.checkSchema(ctx); err != nil {
		return nil, fmt.Errorf("checking %s: %w", i.Name, err)
	}
	return i, nil
}

// namespaceOf returns where a Webhook has to be to see all events of its scope.
func (i *Imported) namespaceOf(scope string, r *routes.Routes) string {
	all := r.NamespacesOf(scope)
	if len(all) == 1 {
		return all[0]
	}
	what := "everything"
	if scope != "" {
		what = scope
	}
	i.note("events of %s go to the namespaces %s: it goes to %s, whose Webhooks follow all of them",
		what, strings.Join(all, ", "), r.Default())
	return r.Default()
}

// leftOut says why a webhook does not come over; nothing where it does.
func leftOut(f Found, skip []int64) string {
	if slices.Contains(skip, f.Webhook.ID) {
		return "--skip names it"
	}
	u, err := url.Parse(f.Webhook.URL)
	if !slices.Contains(skip, 0) && f.Resource.Kind == horizon.Groups && f.Resource.ID == horizon.RootGroup && err == nil && u.Path == "/horizon" {
		return "it looks like the bridge's own: one of the root group whose URL has the path /horizon; if it is not, say --skip 0"
	}
	return ""
}

// newWebhook returns the manifest, with what needs no check of its own.
func (i *Imported) newWebhook(w horizon.Webhook, scope string, enabled bool) *unstructured.Unstructured {
	spec := map[string]any{"url": w.URL, "webhookID": w.ID}
	if w.Description != "" {
		spec["description"] = w.Description
	}
	if scope != "" {
		spec["scope"] = scope
	}
	if !w.Enabled || !enabled {
		spec["state"] = string(v1alpha1.WebhookDisabled)
	}
	if secure := strings.HasPrefix(strings.ToLower(w.URL), "https:"); secure && !w.SSLVerifyEnabled {
		spec["sslVerifyEnabled"] = false
		i.note("the certificate of its receiver is not checked, as in Horizon; an operator with --require-ssl-verify sends nothing to it")
	}
	var triggers []any
	for _, trigger := range w.Triggers {
		if !slices.Contains(triggers, any(trigger)) {
			triggers = append(triggers, trigger)
		}
	}
	spec["triggers"] = triggers
	object := &unstructured.Unstructured{Object: map[string]any{"spec": spec}}
	object.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind("Webhook"))
	object.SetNamespace(i.Namespace)
	object.SetName(i.Name)
	return object
}

// checkURL asks the operator's own package, whose errors do not show the URL.
func (i *Imported) checkURL(w horizon.Webhook) {
	target, trimmed, err := receiverurl.Parse([]byte(w.URL))
	switch {
	case err != nil:
		i.byHand("%s", err.Error())
	case trimmed:
		i.spec()["url"] = target.Reveal()
	}
}

// takeSecret makes the Secret of a token. A token that a header cannot carry is not changed.
func (i *Imported) takeSecret(secret string) {
	if secret == "" {
		return
	}
	i.Secret = &corev1.Secret{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Secret"},
		ObjectMeta: metav1.ObjectMeta{Namespace: i.Namespace, Name: i.Name},
		StringData: map[string]string{tokenKey: secret},
	}
	i.spec()["secretRef"] = map[string]any{"name": i.Name, "key": tokenKey}
	if _, _, err := signing.ParseSecret([]byte(secret)); err != nil {
		i.byHand("its secret cannot be sent: %s", err.Error())
	}
}

// shown is what the API server says of a value before it says what is wrong.
var shown = regexp.MustCompile(`^(Invalid value|Unsupported value|Duplicate value): ("(?:[^"\\]|\\.)*"|[^ ]*): `)

// checkSchema holds the manifest against the CRD. Triggers that the operator does not know
// are taken out; anything else that is wrong needs a hand. Where the URL is wrong, which was
// told, a valid one stands in for it.
func (i *Imported) checkSchema(ctx context.Context) error {
	object := i.Webhook.DeepCopy()
	if i.Outcome == ByHand {
		object.Object["spec"].(map[string]any)["url"] = "https://a.example.com/"
	}
	problems, err := validate(ctx, object)
	if err != nil {
		return err
	}
	unknown := map[int]bool{}
	for _, p := range problems {
		message := characters.OneLine(shown.ReplaceAllString(p.Message, ""))
		var index int
		switch n, _ := fmt.Sscanf(p.Field, "spec.triggers[%d]", &index); {
		case n == 1:
			unknown[index] = true
		case p.Field == "spec.url":
			i.byHand("its URL: %s", message)
		default:
			i.byHand("%s: %s", p.Field, message)
		}
	}
	i.dropTriggers(unknown)
	return nil
}

// validate says what the API server has against an object.
func validate(ctx context.Context, object *unstructured.Unstructured) ([]manifest.Problem, error) {
	text, err := yaml.Marshal(object.Object)
	if err != nil {
		return nil, fmt.Errorf("writing the manifest: %w", err)
	}
	documents, problems := manifest.Parse(text)
	if len(problems) > 0 || len(documents) != 1 {
		return problems, nil
	}
	return documents[0].Validate(ctx)
}

// dropTriggers takes out those that the CRD does not let through.
func (i *Imported) dropTriggers(unknown map[int]bool) {
	triggers, _ := i.spec()["triggers"].([]any)
	var keep []any
	var out []string
	for n, trigger := range triggers {
		if unknown[n] {
			out = append(out, fmt.Sprintf("%q", trigger))
			continue
		}
		keep = append(keep, trigger)
	}
	switch {
	case len(out) == 0:
	case len(keep) == 0:
		i.byHand("the operator knows none of its triggers: %s", strings.Join(out, ", "))
	default:
		i.spec()["triggers"] = keep
		i.reason("the operator does not know these of its triggers, and they are left out: %s", strings.Join(out, ", "))
	}
}

// KeepState writes the state that the Webhook has in the cluster, so that to apply the
// manifest once more does not turn off what was cut over, nor on what somebody has paused.
func (i *Imported) KeepState(state v1alpha1.WebhookState) {
	if i.Webhook == nil || state == "" {
		return
	}
	i.spec()["state"] = string(state)
	i.note("it is in the cluster already, and stays %s there", state)
}

// Where is the file below the directory of the import; nothing where there is none.
func (i *Imported) Where() string {
	switch i.Outcome {
	case Written:
		return path.Join(webhooksDir, i.Name+manifestExt)
	case ByHand:
		return path.Join(byHandDir, i.Name+byHandExt)
	default:
		return ""
	}
}

func (i *Imported) spec() map[string]any {
	spec, _ := i.Webhook.Object["spec"].(map[string]any)
	return spec
}

func (i *Imported) byHand(format string, args ...any) {
	i.Outcome = ByHand
	i.reason(format, args...)
}

func (i *Imported) reason(format string, args ...any) {
	i.Reasons = append(i.Reasons, characters.OneLine(fmt.Sprintf(format, args...)))
}

func (i *Imported) note(format string, args ...any) {
	i.Notes = append(i.Notes, characters.OneLine(fmt.Sprintf(format, args...)))
}

// receiverOf is what of a URL is no secret.
func receiverOf(address string) string {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" {
		return "?"
	}
	return characters.OneLine(u.Scheme + "://" + u.Host)
}

// Number returns the number of Horizon's webhook that a Webhook was made of.
func Number(w *v1alpha1.Webhook) (int64, error) {
	if w.Spec.WebhookID == 0 {
		return 0, errors.New("its spec has no webhookID: it was not made of one of Horizon's")
	}
	return w.Spec.WebhookID, nil
}
