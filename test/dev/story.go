package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/test/receiver"
)

const (
	// storyNamespace is where the story happens.
	storyNamespace = "music"
	// storyPace is the time between two events, and storyEvents how many there are in all,
	// so that one that is forgotten fills no disk.
	storyPace   = 1500 * time.Millisecond
	storyEvents = 20_000
	// outage is how long a receiver fails, and then works, in turns.
	outage = 25 * time.Second
)

// storyWebhooks are a team's, each with a receiver of its own kind.
func storyWebhooks(r *receiver.Receiver) []v1alpha1.Webhook {
	webhook := func(name, description string, change func(*v1alpha1.WebhookSpec), triggers ...v1alpha1.Trigger) v1alpha1.Webhook {
		w := v1alpha1.Webhook{
			ObjectMeta: metav1.ObjectMeta{Namespace: storyNamespace, Name: name},
			Spec:       v1alpha1.WebhookSpec{URL: r.URL("/" + name), Description: description, Triggers: triggers},
		}
		if change != nil {
			change(&w.Spec)
		}
		return w
	}
	return []v1alpha1.Webhook{
		webhook("smoke-tests", "Start the smoke tests when a deploy task starts", func(s *v1alpha1.WebhookSpec) {
			s.SecretRef = &v1alpha1.SecretKeyReference{Name: "smoke-tests", Key: "token"}
			s.Scope = "/music/player"
		}, "clusters_builddeployed", "clusters_deployed"),
		webhook("pager", "Wakes somebody up after a rollback; its service goes down now and then", func(s *v1alpha1.WebhookSpec) {
			s.Retry = v1alpha1.RetryPolicy{Limit: new(int32(5)), MinBackoffSeconds: 4, MaxBackoffSeconds: 12, GiveUpAfterSeconds: 600}
		}, "clusters_rollbacked", "clusters_deployed"),
		webhook("inventory", "Keeps a list of what there is; it takes a third of a second each time", nil, "*"),
		webhook("print-shop", "Moved away and told nobody: what is sent there is given up at once", func(s *v1alpha1.WebhookSpec) {
			s.Retry = v1alpha1.RetryPolicy{Limit: new(int32(0))}
		}, "applications_*"),
		webhook("on-holiday", "Waits until somebody is back", func(s *v1alpha1.WebhookSpec) {
			s.State = v1alpha1.WebhookPaused
		}, "clusters_deleted", "clusters_freed"),
	}
}

// storyEventTypes come in this order, again and again.
var storyEventTypes = []string{
	"clusters_builddeployed", "clusters_deployed", "applications_created", "clusters_rollbacked", "clusters_created",
	"clusters_deployed", "clusters_freed", "clusters_builddeployed", "application_transferred", "clusters_deployed", "cluster_deleted",
}

// tellStory lets things happen until ctx ends, so that whoever looks sees all that there is
// to see: what arrives, what fails and is sent again, what waits and what is given up.
func tellStory(ctx context.Context, c client.Client, r *receiver.Receiver) error {
	r.Script("/smoke-tests", receiver.Answer{
		Header: http.Header{"Content-Type": {"application/json"}}, Body: `{"accepted":true,"run":"https://ci.example.com/runs/4711"}`,
	})
	r.Script("/inventory", receiver.Answer{Status: http.StatusNoContent, Delay: 300 * time.Millisecond})
	r.Script("/print-shop", receiver.Answer{Status: http.StatusNotFound, Body: "<h1>404</h1> The print shop has moved.\n"})
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: storyNamespace}}
	token := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: storyNamespace, Name: "smoke-tests"}, StringData: map[string]string{"token": "smoke-9c2e71b3"},
	}
	objects := []client.Object{namespace, token}
	webhooks := storyWebhooks(r)
	for i := range webhooks {
		objects = append(objects, &webhooks[i])
	}
	for _, o := range objects {
		if err := c.Create(ctx, o); err != nil {
			return fmt.Errorf("beginning the story: %w", err)
		}
	}
	began, down := time.Now(), false
	ticker := time.NewTicker(storyPace)
	defer ticker.Stop()
	for i := range storyEvents {
		if now := int(time.Since(began)/outage)%2 == 0; now != down {
			down = now
			r.Script("/pager", map[bool][]receiver.Answer{
				true:  {{Status: http.StatusServiceUnavailable, Body: "down for maintenance\n"}},
				false: {{Body: "woken up\n"}},
			}[down]...)
		}
		e := storyEvent(i)
		if err := c.Create(ctx, e); err != nil && !apierrors.IsAlreadyExists(err) {
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("telling the story: %w", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
	return errors.New("the story is over: it goes on for eight hours only")
}

// storyEvent is the event of a number.
func storyEvent(i int) *v1alpha1.WebhookEvent {
	clusters := []string{"web-prod", "web-test", "search-prod", "player-beta"}
	users := []string{"ada", "grace", "linus", "deploy-robot"}
	cluster, user, eventType := clusters[i%len(clusters)], users[i%len(users)], storyEventTypes[i%len(storyEventTypes)]
	e := &v1alpha1.WebhookEvent{
		ObjectMeta: metav1.ObjectMeta{Namespace: storyNamespace, Name: fmt.Sprintf("horizon-%d", 78400+i)},
		Spec: v1alpha1.WebhookEventSpec{
			EventID: int64(78400 + i), EventType: eventType, Time: metav1.Now(), ResourcePath: "/music/player/web/" + cluster,
			Cluster: &v1alpha1.ClusterInfo{ID: new(int64(61400 + i%len(clusters))), Name: cluster, ApplicationName: "web", Env: "online"},
			User:    &v1alpha1.UserInfo{ID: new(int64(1 + i%len(users))), Name: user, Email: user + "@noreply.com"},
		},
	}
	if eventType == "applications_created" || eventType == "application_transferred" {
		e.Spec.Cluster, e.Spec.ResourcePath = nil, "/music/player/web"
		e.Spec.Application = &v1alpha1.ApplicationInfo{ID: new(int64(7 + i)), Name: "web", Priority: "P0"}
	}
	return e
}
