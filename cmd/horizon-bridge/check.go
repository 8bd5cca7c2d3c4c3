package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/bridge"
	"github.com/horizoncd/webhook-operator/internal/horizon"
)

// checkTimeout bounds a check as a whole.
const checkTimeout = 2 * time.Minute

// report prints what was tried, and what to do where something is missing.
type report struct {
	out     io.Writer
	missing int
}

func (r *report) ok(format string, args ...any) { r.line("ok", fmt.Sprintf(format, args...)) }

func (r *report) missed(what, remedy string) {
	r.missing++
	r.line("MISSING", what)
	for line := range strings.Lines(strings.TrimSpace(remedy)) {
		_, _ = fmt.Fprint(r.out, "         ", line)
	}
	_, _ = fmt.Fprintln(r.out)
}

func (r *report) line(verdict, what string) { _, _ = fmt.Fprintf(r.out, "%-8s %s\n", verdict, what) }

// check tries everything that the bridge needs, on Horizon's side and in the cluster, and
// prints what is missing with what makes it. It changes nothing.
func check(ctx context.Context, o options, out io.Writer) error {
	if err := o.setLogger(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	r := &report{out: out}
	secrets, err := o.secrets()
	if err != nil {
		r.missed(err.Error(), "Make a secret of 32 random bytes, and give the file to the bridge and its content to Horizon's webhook:\n"+
			"openssl rand -hex 32")
	} else {
		given, _ := secrets.Get()
		r.ok("the secret file has %s", given)
	}
	if err := o.checkHorizon(ctx, r, secrets); err != nil {
		return err
	}
	if err := o.checkCluster(ctx, r); err != nil {
		return err
	}
	if r.missing > 0 {
		return fmt.Errorf("%d of what the bridge needs is missing", r.missing)
	}
	return nil
}

// scopesEntry is what Horizon's configuration lacks as it is shipped: no scope covers
// webhooks.
const scopesEntry = `- name: webhooks:read-write
  desc: Webhooks, and the logs of what they have sent
  rules:
  - apiGroups: [core]
    resources: [groups/webhooks, applications/webhooks, clusters/webhooks, webhooks, webhooks/logs, webhooklogs, webhooklogs/resend]
    verbs: ["*"]
    scopes: ["*"]
    nonResourceURLs: ["*"]
`

// The steps are those of docs/horizon.md.
const scopesStep = "Step 1 of docs/horizon.md: add this to roles in the scopes of Horizon's configuration (a Helm value), and start its core anew:\n" +
	scopesEntry + "Then give the token that scope (below): one that was made before does not have it.\n"

func (o *options) tokenRequest() string {
	return fmt.Sprintf(`Step 2 of docs/horizon.md: log in as an administrator, make a robot, and put its token (ha_…) into %s:
curl -c cookies -H 'Content-Type: application/json' %s/apis/core/v2/users/login \
  -d '{"email":"…","password":"SHA-256 of the password, in hex"}'
curl -b cookies -H 'Content-Type: application/json' %[2]s/apis/core/v2/groups/0/accesstokens \
  -d '{"name":"horizon-bridge","role":"owner","scopes":["groups:read-only","applications:read-only","clusters:read-only","webhooks:read-write"],"expiresAt":"never"}'
`, o.tokenFile, o.core())
}

func (o *options) webhookRequest() string {
	return fmt.Sprintf(`Step 4 of docs/horizon.md: make the webhook of the root group, with the secret of %s:
curl -H "Authorization: Bearer $(cat %s)" -H 'Content-Type: application/json' %s/apis/core/v2/groups/0/webhooks \
  -d '{"enabled":true,"url":"%s","sslVerifyEnabled":%t,"description":"horizon-bridge","secret":"'"$(head -n 1 %[1]s)"'","triggers":["*"]}'
`, o.secretFile, o.tokenFile, o.core(), cmp.Or(o.publicURL, "https://…"+bridge.Path), strings.HasPrefix(cmp.Or(o.publicURL, "https"), "https"))
}

func (o *options) core() string { return strings.TrimRight(o.horizonURL, "/") }

// checkHorizon tries the three steps on Horizon's side.
func (o *options) checkHorizon(ctx context.Context, r *report, secrets *bridge.File[bridge.Secrets]) error {
	h, err := o.horizon()
	if err != nil {
		return err
	}
	if h == nil {
		r.missed("no address of Horizon is given: events would have no path, and what is missed would be lost", "Give --horizon-url and --horizon-token-file.")
		return nil
	}
	if !o.checkToken(ctx, r, h) {
		return nil
	}
	o.checkWebhook(ctx, r, h, secrets)
	return nil
}

// nobody is a number that nothing in Horizon has.
const nobody = 1 << 40

// checkToken tries the look-ups by something that is not there. What is below /apis/front
// wants a token, and does not look at it.
func (o *options) checkToken(ctx context.Context, r *report, h *horizon.Client) bool {
	for _, try := range []func() (string, error){
		func() (string, error) { return h.ResourcePath(ctx, horizon.Applications, nobody) },
		func() (string, error) { return h.ResourcePath(ctx, horizon.Clusters, nobody) },
		func() (string, error) { return h.ClusterPath(ctx, "horizon-bridge-check", nobody) },
		func() (string, error) { return h.ApplicationPath(ctx, "horizon-bridge-check", nobody) },
	} {
		_, err := try()
		switch {
		case horizon.IsUnauthorized(err):
			r.missed("Horizon does not know the token", o.tokenRequest())
			return false
		case horizon.IsForbidden(err):
			r.missed("the token may not look up paths: "+err.Error(), o.tokenRequest())
			return false
		case err != nil && !horizon.IsNotFound(err):
			r.missed("Horizon does not answer as it should: "+err.Error(), "Look at --horizon-url (the address of its core), --horizon-token-file and --horizon-ca-file.")
			return false
		}
	}
	if _, err := h.Children(ctx, horizon.RootGroup); err != nil {
		r.missed("the groups cannot be walked: "+err.Error(), o.tokenRequest())
		return false
	}
	r.ok("Horizon knows the token, which may look up paths")
	return true
}

func (o *options) checkWebhook(ctx context.Context, r *report, h *horizon.Client, secrets *bridge.File[bridge.Secrets]) {
	all, err := h.Webhooks(ctx, horizon.Groups, horizon.RootGroup)
	switch {
	case horizon.IsForbidden(err):
		r.missed("the token may not read webhooks and logs: what the bridge misses would be lost", scopesStep+o.tokenRequest())
		return
	case err != nil:
		r.missed("the webhooks of the root group cannot be read: "+err.Error(), "Try again.")
		return
	}
	r.ok("the token may read webhooks")
	if secrets == nil {
		return
	}
	given, _ := secrets.Get()
	found := slices.DeleteFunc(slices.Clone(all), func(w horizon.Webhook) bool {
		return !given.Match(w.Secret) || o.webhookID != 0 && w.ID != o.webhookID
	})
	switch len(found) {
	case 1:
	case 0:
		r.missed(fmt.Sprintf("none of the %d webhooks of the root group has the bridge's secret", len(all)), o.webhookRequest())
		return
	default:
		r.missed(fmt.Sprintf("%d webhooks of the root group have the bridge's secret", len(found)), fmt.Sprintf("Name one with --webhook-id: %v.", found))
		return
	}
	w := found[0]
	change := fmt.Sprintf("Change it in Horizon's pages, or by a PUT of all of it to %s/apis/core/v2/webhooks/%d.", o.core(), w.ID)
	if !w.Enabled {
		r.missed(fmt.Sprintf("%s is off", w), change)
	}
	if !slices.Equal(w.Triggers, []string{"*"}) {
		r.missed(fmt.Sprintf("%s follows %s only", w, strings.Join(w.Triggers, ", ")), `Its triggers have to be ["*"]. `+change)
	}
	if o.publicURL != "" && w.URL != o.publicURL {
		r.missed(fmt.Sprintf("%s posts to another address than --public-url", w), change)
	} else if !strings.HasSuffix(w.URL, bridge.Path) {
		r.missed(fmt.Sprintf("the address of %s does not end in %s", w, bridge.Path), change)
	}
	if _, _, err := h.Logs(ctx, w.ID, 1, 1); err != nil && !horizon.IsNotFound(err) { // one bad log is a 404
		r.missed("the token may not read the logs of the webhook: "+err.Error(), scopesStep+o.tokenRequest())
		return
	}
	r.ok("%s of the root group is the bridge's, and its logs can be read", w)
}

// checkCluster tries what the bridge does in the cluster, without storing anything.
func (o *options) checkCluster(ctx context.Context, r *report) error {
	routes, err := o.routes()
	if err != nil {
		r.missed(err.Error(), "Mend the file: docs/horizon.md says what is in it.")
		return nil
	}
	kube, err := kubernetes()
	if err != nil {
		return err
	}
	given, _ := routes.Get()
	for _, namespace := range given.Namespaces() {
		if err := o.tryEvent(ctx, kube, namespace); err != nil {
			r.missed(fmt.Sprintf("events cannot be created in the namespace %s: %v", namespace, err), o.remedy(err, namespace))
		} else {
			r.ok("events can be created in the namespace %s", namespace)
		}
	}
	var state corev1.ConfigMap
	err = kube.Get(ctx, o.state(), &state)
	if err == nil {
		err = kube.Update(ctx, &state, client.DryRunAll)
	}
	if err != nil {
		r.missed(fmt.Sprintf("the ConfigMap %s cannot be written: %v", o.state(), err), "Apply config/bridge: it has the ConfigMap, and the Role for it.")
	} else {
		r.ok("the ConfigMap %s can be read and written", o.state())
	}
	return nil
}

// tryEvent creates an event in a dry run, and looks for one.
func (o *options) tryEvent(ctx context.Context, kube client.Client, namespace string) error {
	e := &v1alpha1.WebhookEvent{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: bridge.Name(o.namePrefix, 1)},
		Spec:       v1alpha1.WebhookEventSpec{EventID: 1, EventType: "clusters_action"},
	}
	if err := kube.Create(ctx, e, client.DryRunAll); err != nil && !apierrors.IsAlreadyExists(err) {
		return err
	}
	key := types.NamespacedName{Namespace: namespace, Name: e.Name}
	return client.IgnoreNotFound(kube.Get(ctx, key, e))
}

func (o *options) remedy(err error, namespace string) string {
	switch {
	case apierrors.IsForbidden(err) && strings.Contains(err.Error(), "exceeded quota"):
		return "Raise the quota, or lower the operator's --event-ttl."
	case apierrors.IsForbidden(err):
		return fmt.Sprintf("kubectl create rolebinding horizon-bridge --clusterrole=horizon-event-creator --serviceaccount=%s:horizon-bridge -n %s", o.namespace, namespace)
	case apierrors.IsNotFound(err), meta.IsNoMatchError(err):
		return fmt.Sprintf("Create the namespace (kubectl create namespace %s), or install the operator's CRDs, or mend the routes.", namespace)
	default:
		return "Look at the API server."
	}
}

// mapper knows the kinds, so that nothing has to be discovered.
func mapper() meta.RESTMapper {
	m := meta.NewDefaultRESTMapper(nil)
	m.Add(v1alpha1.GroupVersion.WithKind("WebhookEvent"), meta.RESTScopeNamespace)
	m.Add(corev1.SchemeGroupVersion.WithKind("ConfigMap"), meta.RESTScopeNamespace)
	return m
}
