package main

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/test/sentinel"
)

// playEcho lets receivers say again, in every way, what they were sent and where.
func playEcho(ctx context.Context, t *session) error {
	for _, kind := range slices.Sorted(maps.Keys(sentinel.Secrets)) {
		if err := t.echo(ctx, kind, sentinel.Secrets[kind]); err != nil {
			return err
		}
	}
	told, err := t.everything(ctx)
	if err != nil {
		return err
	}
	for _, kind := range slices.Sorted(maps.Keys(sentinel.Secrets)) {
		t.judge(fmt.Sprintf("%s, in %d other places", kind, len(told)), sentinel.Find(told, sentinel.Secrets[kind]))
	}
	return nil
}

func (t *session) echo(ctx context.Context, kind, secret string) error {
	namespace, err := t.namespace(ctx, kind)
	if err != nil {
		return err
	}
	store := func(name, value string) error {
		return t.client.Create(ctx, &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, StringData: map[string]string{sentinel.Key: value},
		})
	}
	if err := store(sentinel.Name, secret); err != nil {
		return err
	}
	features := sentinel.Features(secret)
	for _, f := range features {
		raw, spec, secretURL, err := f.Start(secret)
		if err != nil {
			return err
		}
		defer func() { _ = raw.Close() }()
		if secretURL != "" {
			if err := store(f.Name, secretURL); err != nil {
				return err
			}
		}
		w := &v1alpha1.Webhook{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: f.Name}, Spec: spec}
		if err := t.client.Create(ctx, w); err != nil {
			return err
		}
	}
	if err := t.event(ctx, namespace, "horizon-1"); err != nil {
		return err
	}
	records, err := t.settled(ctx, namespace, "horizon-1", len(features))
	if err != nil {
		return err
	}
	for _, f := range features {
		d := records[f.Name]
		if d == nil {
			t.judge(kind+" "+f.Name, []string{"no record that it is at its end"})
			continue
		}
		problems := sentinel.Find(map[string]string{"the record": recorded(d)}, secret)
		if d.Status.Result != f.Result {
			problems = append(problems, fmt.Sprintf("it is %s, want %s", d.Status.Result, f.Result))
		}
		t.judge(kind+" "+f.Name, problems)
	}
	return nil
}

// recorded are the texts in which a record tells of an exchange.
func recorded(d *v1alpha1.WebhookDelivery) string {
	text := fmt.Sprint(d.Status.Request, d.Status.History, d.Status.Conditions)
	if r := d.Status.Response; r != nil {
		text += r.Headers + r.Body
	}
	return text
}

// everything is what the API server stores but Secrets, and all that the operator has
// said.
func (t *session) everything(ctx context.Context) (map[string]string, error) {
	quiet := rest.CopyConfig(t.admin)
	quiet.WarningHandler = rest.NoWarnings{} // of kinds that are deprecated
	kinds, err := discovery.NewDiscoveryClientForConfig(quiet)
	if err != nil {
		return nil, err
	}
	objects, err := dynamic.NewForConfig(quiet)
	if err != nil {
		return nil, err
	}
	told, err := sentinel.Objects(ctx, kinds, objects)
	if err != nil {
		return nil, err
	}
	log, err := os.ReadFile(filepath.Join(t.Out, logName))
	if err != nil {
		return nil, err
	}
	told["the operator's log"] = string(log)
	told["/metrics"], err = t.op.Metrics(ctx)
	return told, err
}
