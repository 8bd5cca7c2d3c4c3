package insight

import (
	"context"
	"fmt"
	"slices"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
)

const (
	// LeaseName is the name of the lease of the operator that works, in the system
	// namespace. Without --leader-elect there is none.
	LeaseName = "webhook-operator.horizoncd.io"

	// soon is how long the operator may take to look at something before its silence
	// says anything.
	soon = 10 * time.Second
	// fresh is how long ago a write of the operator may be to show that it works: a
	// standby takes over within 20 s.
	fresh = 30 * time.Second
	// deployment is where an administrator looks.
	deployment = "deployment horizon-webhook-operator in the namespace "
)

// Lease is what the lease tells of the operator that works.
type Lease struct {
	// Found is false where there is none: no operator has run with --leader-elect.
	Found bool `json:"found"`
	// Forbidden: the person may not read it.
	Forbidden bool      `json:"forbidden,omitempty"`
	Holder    string    `json:"holder,omitempty"`
	Renewed   time.Time `json:"renewed,omitzero"`
	// Duration is how long it counts after it was renewed.
	Duration time.Duration `json:"-"`
}

// Held tells whether an operator holds the lease.
func (l Lease) Held(now time.Time) bool {
	return l.Found && l.Holder != "" && now.Before(l.Renewed.Add(l.Duration))
}

// Words says it in a sentence.
func (l Lease) Words(now time.Time) string {
	switch {
	case l.Forbidden:
		return "you may not read the lease, which tells whether an operator works"
	case !l.Found:
		return "there is no lease of an operator"
	case l.Holder == "":
		return "the operator that worked last has given its lease back, at " + when(l.Renewed, now)
	case l.Held(now):
		return fmt.Sprintf("%s holds the lease, renewed at %s", cut(l.Holder), when(l.Renewed, now))
	default:
		return fmt.Sprintf("%s held the lease last, and has not renewed it since %s", cut(l.Holder), when(l.Renewed, now))
	}
}

// Lease reads who works: one request. Most people may not, which is no error.
func (r *Reader) Lease(ctx context.Context) (Lease, error) {
	lease := &coordinationv1.Lease{}
	err := r.Client.Get(ctx, client.ObjectKey{Namespace: r.systemNamespace(), Name: LeaseName}, lease)
	switch {
	case apierrors.IsForbidden(err):
		return Lease{Forbidden: true}, nil
	case apierrors.IsNotFound(err):
		return Lease{}, nil
	case err != nil:
		return Lease{}, fmt.Errorf("reading the operator's lease: %w", err)
	}
	l := Lease{Found: true, Duration: 15 * time.Second}
	if lease.Spec.HolderIdentity != nil {
		l.Holder = *lease.Spec.HolderIdentity
	}
	if lease.Spec.RenewTime != nil {
		l.Renewed = lease.Spec.RenewTime.Time
	}
	if lease.Spec.LeaseDurationSeconds != nil {
		l.Duration = time.Duration(*lease.Spec.LeaseDurationSeconds) * time.Second
	}
	return l, nil
}

// signs are what tells whether an operator works.
type signs struct {
	lease Lease
	// wrote is the latest write of a status that is known, in the namespace that was
	// looked at.
	wrote time.Time
	// underWay is how long the first request that the operator may be making for
	// something can take: it is recorded when that ends.
	underWay time.Duration
}

// unobserved is about something that no operator has looked at since a time: what names
// it. nil means that this says nothing yet.
func (s signs) unobserved(what string, since, now time.Time, system string) Finding {
	f := Finding{Outcome: Waiting, Reason: ReasonNotObserved}
	age := now.Sub(since)
	yet := fmt.Sprintf("no operator has recorded anything about %s since %s", what, when(since, now))
	switch {
	case age <= soon:
		f.Message = yet
	case s.lease.Held(now):
		f.Message = fmt.Sprintf("%s, but one works (%s): it is queued, or its first request is under way", yet, s.lease.Words(now))
	case s.lease.Found:
		return noOperator(yet+": "+s.lease.Words(now), system)
	case s.wrote.After(since) && now.Sub(s.wrote) <= fresh:
		f.Message = fmt.Sprintf("%s, but one works: it has recorded something else at %s; this is queued, or its first request is under way",
			yet, when(s.wrote, now))
	case age <= s.underWay+soon:
		f.Message = fmt.Sprintf("%s; a first request, which is recorded when it ends, may take %s (spec.timeoutSeconds)", yet, span(s.underWay))
	case s.wrote.IsZero():
		return noOperator(yet+", nor about anything else that can be seen here", system)
	default:
		return noOperator(fmt.Sprintf("%s, nor about anything else that can be seen here since %s", yet, when(s.wrote, now)), system)
	}
	return f
}

func noOperator(why, system string) Finding {
	return Finding{Outcome: Waiting, Reason: ReasonNoOperator, Message: "no operator works: " + why,
		Help: "ask an administrator to look at " + deployment + system + "; what has not been sent is sent once one works"}
}

// lastSign returns the latest write of a status that events of a namespace tell of, one
// after a time if there is any: one request for each 500 events, and none after the first
// sign is found.
func (r *Reader) lastSign(ctx context.Context, namespace string, after time.Time) (time.Time, error) {
	var last time.Time
	list := &metav1.PartialObjectMetadataList{}
	list.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind("WebhookEventList"))
	options := &client.ListOptions{Namespace: namespace, Limit: pageSize}
	for {
		if err := r.Client.List(ctx, list, options); err != nil {
			return last, err
		}
		for i := range list.Items {
			if at := lastStatus(&list.Items[i]); at.After(last) {
				last = at
			}
		}
		if options.Continue = list.Continue; options.Continue == "" || last.After(after) {
			return last, nil
		}
	}
}

// pageSize is how many objects a request lists.
const pageSize = 500

// Operator tells whether an operator works.
type Operator struct {
	Finding
	Lease Lease `json:"lease"`
	// Unobserved are some of the events that nobody has looked at for too long, the
	// oldest first; UnobservedCount is how many there are.
	Unobserved      []Unobserved `json:"unobserved,omitempty"`
	UnobservedCount int          `json:"unobservedCount,omitempty"`
}

// Unobserved is an event that nobody has looked at.
type Unobserved struct {
	Name  string    `json:"name"`
	Since time.Time `json:"since"`
}

// maxUnobserved bounds how many events an answer names.
const maxUnobserved = 5

// Operator says whether an operator works, as far as the lease and the Webhooks and events
// of a namespace tell. It makes two requests and one for the metadata of each 500 events.
func (r *Reader) Operator(ctx context.Context, namespace string) (*Operator, error) {
	now := r.Now()
	lease, err := r.Lease(ctx)
	if err != nil {
		return nil, err
	}
	answer := &Operator{Lease: lease}
	var wrote time.Time
	webhooks := &metav1.PartialObjectMetadataList{}
	webhooks.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind("WebhookList"))
	if err := r.Client.List(ctx, webhooks, client.InNamespace(namespace)); err != nil && !apierrors.IsForbidden(err) {
		return nil, fmt.Errorf("listing webhooks: %w", err)
	}
	for i := range webhooks.Items {
		if at := lastStatus(&webhooks.Items[i]); at.After(wrote) {
			wrote = at
		}
	}
	at, err := r.unobservedEvents(ctx, namespace, answer, now)
	if err != nil && !apierrors.IsForbidden(err) {
		return nil, fmt.Errorf("listing events: %w", err)
	}
	if at.After(wrote) {
		wrote = at
	}
	answer.Finding = works(lease, wrote, answer, now, r.systemNamespace())
	return answer, nil
}

// works says whether an operator works. One that has nothing to do writes nothing: only
// what waits for one tells that none does.
func works(lease Lease, wrote time.Time, answer *Operator, now time.Time, system string) Finding {
	switch {
	case lease.Held(now):
		return Finding{Outcome: Working, Message: "an operator works: " + lease.Words(now)}
	case lease.Found:
		return noOperatorWorks(lease.Words(now), system)
	case answer.UnobservedCount > 0 && now.Sub(wrote) > fresh:
		why := count(answer.UnobservedCount, "event of this namespace waits", "events of this namespace wait") + " for one"
		if !wrote.IsZero() {
			why += ", and the last thing that it wrote here was at " + when(wrote, now)
		}
		return noOperatorWorks(why, system)
	case !wrote.IsZero():
		return Finding{Outcome: Working,
			Message: "an operator has worked here, last at " + when(wrote, now) + ", and nothing waits for it; " + lease.Words(now)}
	default:
		return Finding{Outcome: Unknown, Message: "whether an operator works is not known: none has had anything to do in this namespace yet; " + lease.Words(now)}
	}
}

func noOperatorWorks(why, system string) Finding {
	f := noOperator(why, system)
	f.Outcome = Stopped
	return f
}

// unobservedEvents gathers the events of a namespace that nobody has looked at for too
// long, and returns when an operator has written about one last.
func (r *Reader) unobservedEvents(ctx context.Context, namespace string, answer *Operator, now time.Time) (wrote time.Time, _ error) {
	list := &metav1.PartialObjectMetadataList{}
	list.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind("WebhookEventList"))
	options := &client.ListOptions{Namespace: namespace, Limit: pageSize}
	for {
		if err := r.Client.List(ctx, list, options); err != nil {
			return wrote, err
		}
		for i := range list.Items {
			e := &list.Items[i]
			created := e.CreationTimestamp.Time
			at := lastStatus(e)
			if at.After(wrote) {
				wrote = at
			}
			if at.Before(created) && now.Sub(created) > patience {
				answer.UnobservedCount++
				answer.Unobserved = append(answer.Unobserved, Unobserved{e.Name, created})
				slices.SortFunc(answer.Unobserved, func(a, b Unobserved) int { return a.Since.Compare(b.Since) })
				answer.Unobserved = answer.Unobserved[:min(len(answer.Unobserved), maxUnobserved)]
			}
		}
		if options.Continue = list.Continue; options.Continue == "" {
			return wrote, nil
		}
	}
}

// patience is how long an event may go without a status before that counts: a first
// request takes up to spec.timeoutSeconds, 30 s unless the Webhook says otherwise.
const patience = 30*time.Second + soon
