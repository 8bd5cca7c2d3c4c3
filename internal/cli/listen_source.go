package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/delivery"
	"github.com/horizoncd/webhook-operator/internal/expression"
	"github.com/horizoncd/webhook-operator/internal/follow"
	"github.com/horizoncd/webhook-operator/internal/forward"
	"github.com/horizoncd/webhook-operator/internal/matching"
	"github.com/horizoncd/webhook-operator/internal/payload"
)

// listenSlack is how far the clocks of API servers may differ: where a watch begins anew,
// events are looked at again that are so much older than the latest that was seen.
const listenSlack = 2 * time.Minute

// metadataPage is how many objects are listed at a time of which only metadata is read.
const metadataPage = 2000

// listenSource watches events and resends, and puts what is wanted into the queue.
type listenSource struct {
	*listen
	client client.WithWatch
	// seen are UIDs of events, resent those of deliveries with the hash of the request.
	seen, resent *forward.Seen
	// from is when listening began, or --since; latest is the creation of the latest event
	// that was seen. Both are times of the API server.
	from, latest time.Time
	// eventVersion and deliveryVersion are where the watches begin.
	eventVersion, deliveryVersion string
}

// eventKey is what is kept of an event until it is its turn.
type eventKey struct {
	types.NamespacedName
	uid     types.UID
	created time.Time
}

// begin finds where to begin, with the first requests that the user's rights may be refused.
func (s *listenSource) begin(ctx context.Context) error {
	c, err := s.plugin.client()
	if err != nil {
		return err
	}
	s.client = c
	s.from = s.serverTime(ctx)
	deliveries := newMetadataList("WebhookDelivery")
	if err := c.List(ctx, deliveries, client.InNamespace(s.namespaceOf), client.Limit(1)); err != nil {
		return err
	}
	s.deliveryVersion = deliveries.ResourceVersion
	var events v1alpha1.WebhookEventList
	if err := c.List(ctx, &events, client.InNamespace(s.namespaceOf), client.Limit(1)); err != nil {
		return err
	}
	if s.since == "" {
		// Should the watch ever begin anew, what is of the same second as its beginning was
		// there before, or has been seen.
		s.from = s.from.Add(time.Second)
		s.latest, s.eventVersion = s.from, events.ResourceVersion
		return nil
	}
	since, err := moment("since", s.since, s.from)
	if err != nil {
		return err
	}
	s.from = since.Truncate(time.Second) // without a version, following begins with a list
	return nil
}

func newMetadataList(kind string) *metav1.PartialObjectMetadataList {
	list := &metav1.PartialObjectMetadataList{}
	list.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind(kind + "List"))
	return list
}

// serverTime is the API server's time, which it says when it is asked who one is; or this
// machine's.
func (s *listenSource) serverTime(ctx context.Context) time.Time {
	review := &authenticationv1.SelfSubjectReview{}
	if err := s.client.Create(ctx, review); err == nil && !review.CreationTimestamp.IsZero() {
		return review.CreationTimestamp.Time
	}
	return s.now().Truncate(time.Second)
}

// eventsSince lists the events that were created since a time, are wanted, and were not
// seen, the oldest first. A page of whole events is in memory at a time.
func (s *listenSource) eventsSince(ctx context.Context, since time.Time) (keys []eventKey, version string, _ error) {
	options := &client.ListOptions{Namespace: s.namespaceOf, Limit: objectPage}
	for {
		var page v1alpha1.WebhookEventList
		if err := s.client.List(ctx, &page, options); err != nil {
			return nil, "", err
		}
		for i := range page.Items {
			e := &page.Items[i]
			if e.CreationTimestamp.Time.Before(since) || s.seen.Has(string(e.UID)) || !s.wants(matching.SubjectOf(e)) {
				continue
			}
			keys = append(keys, eventKey{client.ObjectKeyFromObject(e), e.UID, e.CreationTimestamp.Time})
		}
		version = page.ResourceVersion
		if options.Continue = page.Continue; options.Continue == "" {
			break
		}
	}
	slices.SortStableFunc(keys, func(a, b eventKey) int {
		if c := a.created.Compare(b.created); c != 0 {
			return c
		}
		return strings.Compare(a.Name, b.Name)
	})
	return keys, version, nil
}

// wants tells whether a Webhook of the flags would get it, whenever that was made, as far as
// its filter is not asked.
func (s *listenSource) wants(subject matching.Subject) bool {
	_, ok := subject.MayMatch(s.follows)
	return ok
}

// passes tells whether the filter is true for an event, and says where it fails.
func (s *listenSource) passes(what string, event func() (*expression.Event, error)) bool {
	verdict := matching.Filter(s.follows, event)
	if verdict.Reason == v1alpha1.UnmatchedFilterError {
		s.say("The filter fails for %s, which is left out: %s", what, verdict.Message)
	}
	return verdict.Follows()
}

func (s *listenSource) followEvents(ctx context.Context) error {
	f := &follow.Follower{
		Watch: func(ctx context.Context, version string) (watch.Interface, error) {
			return s.client.Watch(ctx, &v1alpha1.WebhookEventList{}, s.watchOptions(version)...)
		},
		Relist: func(ctx context.Context) (string, error) {
			since := s.latest.Add(-listenSlack)
			if since.Before(s.from) {
				since = s.from
			}
			keys, version, err := s.eventsSince(ctx, since)
			if err != nil {
				return "", err
			}
			return version, s.putAll(ctx, keys)
		},
		Each: func(event watch.Event) error {
			e, ok := event.Object.(*v1alpha1.WebhookEvent)
			if !ok || event.Type != watch.Added {
				return nil
			}
			return s.put(ctx, e)
		},
		Lost: func(why error) { s.say("%s", contact(why)) },
	}
	return f.Run(ctx, s.eventVersion)
}

func (s *listenSource) watchOptions(version string) []client.ListOption {
	return []client.ListOption{client.InNamespace(s.namespaceOf), &client.ListOptions{Raw: &metav1.ListOptions{
		ResourceVersion: version, AllowWatchBookmarks: true,
	}}}
}

// putAll reads events that were listed, and puts them into the queue in their order.
func (s *listenSource) putAll(ctx context.Context, keys []eventKey) error {
	for _, key := range keys {
		e := &v1alpha1.WebhookEvent{}
		err := s.client.Get(ctx, key.NamespacedName, e)
		switch {
		case apierrors.IsNotFound(err) || err == nil && e.UID != key.uid:
			continue // removed meanwhile
		case err != nil:
			return err
		}
		if err := s.put(ctx, e); err != nil {
			return err
		}
	}
	return nil
}

// put puts an event into the queue that is new and wanted.
func (s *listenSource) put(ctx context.Context, e *v1alpha1.WebhookEvent) error {
	if e.CreationTimestamp.After(s.latest) {
		s.latest = e.CreationTimestamp.Time
	}
	if !s.wants(matching.SubjectOf(e)) || s.seen.Has(string(e.UID)) {
		return nil
	}
	if !s.passes("the event "+e.Name, func() (*expression.Event, error) { return payload.EventOf(e), nil }) {
		s.seen.Add(string(e.UID))
		return nil
	}
	item, err := forward.OfEvent(e, s.webhookID)
	if err != nil {
		return fmt.Errorf("the event %s: %w", e.Name, err)
	}
	if err := s.queue.Put(ctx, item); err != nil {
		return err
	}
	s.seen.Add(string(e.UID))
	return nil
}

func (s *listenSource) followResends(ctx context.Context) error {
	contact := s.from
	f := &follow.Follower{ // the watch of events says whether contact is lost
		Watch: func(ctx context.Context, version string) (watch.Interface, error) {
			return s.client.Watch(ctx, newMetadataList("WebhookDelivery"), s.watchOptions(version)...)
		},
		Relist: func(ctx context.Context) (string, error) { return s.relistResends(ctx, contact.Add(-listenSlack)) },
		Each: func(event watch.Event) error {
			contact = s.now()
			d, ok := event.Object.(*metav1.PartialObjectMetadata)
			if !ok || event.Type == watch.Deleted || !delivery.ResendPending(d.Annotations) {
				return nil
			}
			return s.resend(ctx, d, time.Time{})
		},
	}
	return f.Run(ctx, s.deliveryVersion)
}

// relistResends looks for resends that were asked for, or made, since contact was lost.
func (s *listenSource) relistResends(ctx context.Context, since time.Time) (version string, _ error) {
	options := &client.ListOptions{Namespace: s.namespaceOf, Limit: metadataPage}
	for {
		page := newMetadataList("WebhookDelivery")
		if err := s.client.List(ctx, page, options); err != nil {
			return "", err
		}
		for i := range page.Items {
			d := &page.Items[i]
			finished, err := time.Parse(time.RFC3339, d.Annotations[v1alpha1.AnnotationFinished])
			switch {
			case d.Annotations[v1alpha1.AnnotationResend] == "":
				continue
			case !delivery.ResendPending(d.Annotations) && err == nil && finished.Before(since):
				continue // made before
			}
			if err := s.resend(ctx, d, since); err != nil {
				return "", err
			}
		}
		version = page.ResourceVersion
		if options.Continue = page.Continue; options.Continue == "" {
			return version, nil
		}
	}
}

// resend puts a resend into the queue that is new and wanted. One that was made before
// since is not.
func (s *listenSource) resend(ctx context.Context, of *metav1.PartialObjectMetadata, since time.Time) error {
	key := string(of.UID) + "/" + delivery.ResendHash(of.Annotations[v1alpha1.AnnotationResend])
	if s.resent.Has(key) {
		return nil
	}
	d := &v1alpha1.WebhookDelivery{}
	err := s.client.Get(ctx, client.ObjectKeyFromObject(of), d)
	switch {
	case apierrors.IsNotFound(err):
		return nil
	case err != nil:
		return follow.Retryable(err)
	}
	s.resent.Add(key)
	made := d.Status.Resend
	if !delivery.ResendPending(d.Annotations) && (made == nil || made.Time.Time.Before(since)) {
		return nil
	}
	subject := matching.Subject{EventType: d.Spec.EventType, ResourcePath: d.Spec.ResourcePath}
	if !s.wants(subject) || !s.passes("the resend of "+d.Name, func() (*expression.Event, error) { return payload.EventOfDelivery(d) }) {
		return nil
	}
	return s.queue.Put(ctx, forward.OfDelivery(d))
}
