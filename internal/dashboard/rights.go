package dashboard

import (
	"context"
	"slices"
	"sync"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/table"
)

const (
	// rightsAge is how long an answer about rights is believed. What is refused all the
	// same is told by the API server's own words.
	rightsAge = 30 * time.Second
	// maxRights bounds the namespaces of which answers are kept.
	maxRights = 64
	// maxChoices is how many namespaces there are to choose from.
	maxChoices = 500
)

// permissions are what a person may do in a namespace: buttons that would fail are not
// shown.
type permissions struct {
	// Create, Edit and Delete Webhooks. Edit is also what test, replay and pause need.
	Create, Edit, Delete bool
	// Resend deliveries.
	Resend bool
	// CreateSecret: a secret that is typed can become a Secret.
	CreateSecret bool
}

// rights asks the API server what a person may do, and remembers the answers.
type rights struct {
	api     client.Client
	now     func() time.Time
	mu      sync.Mutex
	answers map[string]rightsAnswer
	names   []string // of namespaces
	listed  time.Time
}

type rightsAnswer struct {
	permissions
	at time.Time
}

func newRights(api client.Client, now func() time.Time) *rights {
	return &rights{api: api, now: now, answers: map[string]rightsAnswer{}}
}

// of returns what a person may do in a namespace. Where the API server does not answer,
// nothing may be done.
func (r *rights) of(ctx context.Context, namespace string) permissions {
	r.mu.Lock()
	known, ok := r.answers[namespace]
	r.mu.Unlock()
	if ok && r.now().Sub(known.at) < rightsAge {
		return known.permissions
	}
	answer, err := ask(ctx, r.api, namespace)
	if err != nil {
		return known.permissions
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.answers) >= maxRights {
		clear(r.answers)
	}
	r.answers[namespace] = rightsAnswer{answer, r.now()}
	return answer
}

// lack tells whether there is no namespace of a name, as far as a person may know.
func (r *rights) lack(ctx context.Context, namespace string) bool {
	missing := func() bool {
		names := r.namespaces(ctx)
		return len(names) > 0 && !slices.Contains(names, namespace)
	}
	if !missing() {
		return false
	}
	r.mu.Lock()
	r.listed = time.Time{} // it may be new
	r.mu.Unlock()
	return missing()
}

// ask makes all requests at once: a page waits for them.
func ask(ctx context.Context, api client.Client, namespace string) (permissions, error) {
	var p permissions
	var patch, update bool
	webhooks := v1alpha1.GroupVersion.WithResource("webhooks").GroupResource()
	questions := []struct {
		verb, group, resource string
		answer                *bool
	}{
		{"create", webhooks.Group, webhooks.Resource, &p.Create},
		{"patch", webhooks.Group, webhooks.Resource, &patch},
		{"update", webhooks.Group, webhooks.Resource, &update},
		{"delete", webhooks.Group, webhooks.Resource, &p.Delete},
		{"patch", webhooks.Group, table.Deliveries.Name, &p.Resend},
		{"create", corev1.GroupName, "secrets", &p.CreateSecret},
	}
	errs := make([]error, len(questions))
	var wg sync.WaitGroup
	for i, q := range questions {
		wg.Go(func() {
			review := &authorizationv1.SelfSubjectAccessReview{Spec: authorizationv1.SelfSubjectAccessReviewSpec{
				ResourceAttributes: &authorizationv1.ResourceAttributes{Namespace: namespace, Verb: q.verb, Group: q.group, Resource: q.resource},
			}}
			errs[i] = api.Create(ctx, review)
			*q.answer = review.Status.Allowed
		})
	}
	wg.Wait()
	p.Edit = patch && update
	for _, err := range errs {
		if err != nil {
			return permissions{}, err
		}
	}
	return p, nil
}

// namespaces returns the names of all namespaces; none where a person may not list them, or
// where there are too many to choose from, and the name is typed instead.
func (r *rights) namespaces(ctx context.Context) []string {
	r.mu.Lock()
	names, fresh := r.names, r.now().Sub(r.listed) < rightsAge
	r.mu.Unlock()
	if fresh {
		return names
	}
	var list corev1.NamespaceList
	if err := r.api.List(ctx, &list, client.Limit(maxChoices)); err == nil {
		names = nil
		if list.Continue != "" {
			list.Items = nil
		}
		for _, n := range list.Items {
			names = append(names, n.Name)
		}
		slices.Sort(names)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.names, r.listed = names, r.now()
	return names
}
