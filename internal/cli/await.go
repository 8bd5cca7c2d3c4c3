package cli

import (
	"context"
	"errors"
	"fmt"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/follow"
)

// await looks at an object whenever it changes, until look says that it is done, or ctx
// ends, which is no error. list is an empty list of its kind.
func (p *plugin) await(
	ctx context.Context, key client.ObjectKey, list client.ObjectList, look func(runtime.Object) (done bool, _ error),
) (done bool, _ error) {
	c, err := p.client()
	if err != nil {
		return false, err
	}
	only := []client.ListOption{client.InNamespace(key.Namespace), client.MatchingFields{metav1.ObjectNameField: key.Name}}
	see := func(object runtime.Object) error {
		if done, err = look(object); err == nil && done {
			err = errEnded
		}
		return err
	}
	f := &follow.Follower{
		Watch: func(ctx context.Context, version string) (watch.Interface, error) {
			return c.Watch(ctx, list, append(only, &client.ListOptions{Raw: &metav1.ListOptions{ResourceVersion: version}})...)
		},
		Relist: func(ctx context.Context) (string, error) {
			list := list.DeepCopyObject().(client.ObjectList) // nothing of the last one stays
			if err := c.List(ctx, list, only...); err != nil {
				return "", err
			}
			objects, err := meta.ExtractList(list)
			if err != nil {
				return "", follow.Fatal(err)
			}
			if len(objects) == 0 {
				return "", follow.Fatal(fmt.Errorf("%s was deleted", key.Name))
			}
			if err := see(objects[0]); err != nil {
				return "", follow.Fatal(err)
			}
			return list.GetResourceVersion(), nil
		},
		Each: func(event watch.Event) error {
			if event.Type == watch.Deleted {
				return fmt.Errorf("%s was deleted", key.Name)
			}
			return see(event.Object)
		},
		Lost: func(why error) { fmt.Fprintln(p.ErrOut, contact(why)) },
	}
	if err := f.Run(ctx, ""); err != nil && !errors.Is(err, errEnded) {
		return false, err
	}
	return done, nil
}

// contact says that contact was lost or, with nil, found again.
func contact(lost error) string {
	if lost == nil {
		return "The API server answers again."
	}
	return printable(fmt.Sprintf("Lost contact with the API server, and trying again: %v", lost))
}

// operatorWorks says in a sentence whether an operator works, as far as can be told.
func (p *plugin) operatorWorks(ctx context.Context, w *v1alpha1.Webhook) string {
	if w.Status.ObservedGeneration < w.Generation {
		return "No operator has looked at the webhook as it is now, so none seems to work in this cluster, or for this namespace: " +
			"ask an administrator."
	}
	reader, err := p.reader()
	if err != nil {
		return err.Error()
	}
	works, err := reader.Operator(ctx, w.Namespace)
	if err != nil {
		return fmt.Sprintf("Whether an operator works cannot be told: %v.", err)
	}
	return withHelp(works.Finding) + "."
}
