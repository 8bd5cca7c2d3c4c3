package importer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/horizoncd/webhook-operator/internal/horizon"
)

// asked is how many resources are asked for their webhooks at a time.
const asked = 8

// Source is what Collect reads; a horizon.Client is one.
type Source interface {
	Webhooks(ctx context.Context, kind horizon.Kind, id int64) ([]horizon.Webhook, error)
}

// Unread is a resource whose webhooks could not be read.
type Unread struct {
	Resource horizon.Resource
	Err      error
}

// Collect reads the webhooks of some resources, and returns them in the order of their
// numbers. What is deleted meanwhile has none. It fails with the first error where that is of
// all resources, and otherwise says which could not be read: a person may not see all groups.
// progress is told how many were asked.
func Collect(ctx context.Context, s Source, resources []horizon.Resource, progress func(done int)) ([]Found, []Unread, error) {
	type answer struct {
		webhooks []horizon.Webhook
		err      error
	}
	answers := make([]answer, len(resources))
	done := make(chan struct{}, len(resources))
	var group errgroup.Group
	group.SetLimit(asked)
	go func() {
		for n, r := range resources {
			group.Go(func() error {
				answers[n].webhooks, answers[n].err = s.Webhooks(ctx, r.Kind, r.ID)
				done <- struct{}{}
				return nil
			})
		}
	}()
	for n := range resources {
		<-done
		progress(n + 1)
	}
	if ctx.Err() != nil {
		return nil, nil, context.Cause(ctx)
	}
	var found []Found
	var unread []Unread
	for n, r := range resources {
		switch err := answers[n].err; {
		case horizon.IsNotFound(err):
		case err != nil:
			unread = append(unread, Unread{r, err})
		}
		for _, w := range answers[n].webhooks {
			found = append(found, Found{w, r})
		}
	}
	if len(unread) > 0 && len(unread) == len(resources) {
		return nil, nil, unread[0].Err
	}
	slices.SortFunc(found, func(a, b Found) int { return cmp.Compare(a.Webhook.ID, b.Webhook.ID) })
	return found, unread, nil
}

// Switcher turns webhooks of Horizon on and off; a horizon.Client is one.
type Switcher interface {
	Webhook(ctx context.Context, id int64) (horizon.Webhook, error)
	PutWebhook(ctx context.Context, w horizon.Webhook) error
}

// errChanged says that a webhook of Horizon is not what was written.
var errChanged = errors.New("it was changed by somebody else meanwhile, or Horizon has not stored it")

// Switch turns a webhook of Horizon on or off. Since a PUT carries all of it, its secret
// included, it is read first, written as it is, and read back; what is not as it was is an
// error. changed is false where it was so already.
func Switch(ctx context.Context, s Switcher, id int64, on bool) (changed bool, err error) {
	before, err := s.Webhook(ctx, id)
	if err != nil || before.Enabled == on {
		return false, err
	}
	want := before
	want.Enabled = on
	if err := s.PutWebhook(ctx, want); err != nil {
		return false, err
	}
	after, err := s.Webhook(ctx, id)
	if err != nil {
		return true, fmt.Errorf("reading back what was written: %w", err)
	}
	for _, field := range []struct {
		name string
		same bool
	}{
		{"enabled", after.Enabled == want.Enabled},
		{"url", after.URL == want.URL},
		{"sslVerifyEnabled", after.SSLVerifyEnabled == want.SSLVerifyEnabled},
		{"description", after.Description == want.Description},
		{"secret", after.Secret == want.Secret},
		{"triggers", slices.Equal(after.Triggers, want.Triggers)},
	} {
		if !field.same {
			return true, fmt.Errorf("webhook %d of Horizon: %s is not what was written: %w", id, field.name, errChanged)
		}
	}
	return true, nil
}
