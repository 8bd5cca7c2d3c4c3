package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/delivery"
	"github.com/horizoncd/webhook-operator/test/receiver"
)

// playAnnotations asks for resends in every way.
func playAnnotations(ctx context.Context, t *session) (err error) {
	namespace, err := t.namespace(ctx)
	if err != nil {
		return err
	}
	r, err := receiver.Start(receiver.Options{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	if err := errors.Join(t.client.Create(ctx, webhook(namespace, "w", r.URL("/w"))), t.event(ctx, namespace, "horizon-1")); err != nil {
		return err
	}
	records, err := t.settled(ctx, namespace, "horizon-1", 1)
	if err != nil {
		return err
	}
	d := records["w"]
	if d == nil {
		return errors.New("nothing was delivered")
	}
	many := make([]string, 500)
	for i := range many {
		many[i] = fmt.Sprint("value-", i)
	}
	again := make([]string, 200)
	for i := range again {
		again[i] = "the same"
	}
	for _, input := range []struct {
		name   string
		values []string
		least  int // cycles
		most   int
	}{
		{"empty", []string{""}, 0, 0},
		{"one value", []string{"1"}, 1, 1},
		{"the same, 200 times", again, 1, 1},
		{"200 KiB", []string{strings.Repeat("x", 200<<10)}, 1, 1},
		{"control characters", []string{"\x00\x1b[2J\r\n\u202e"}, 1, 1},
		{"500 values", many, 1, len(many)},
		{"empty after a value", []string{""}, 0, 0},
		{"after all that", []string{"last"}, 1, 1},
	} {
		t.judge(input.name, t.annotate(ctx, d, r, input.values, input.least, input.most))
	}
	return nil
}

// annotate asks for resends and tells whether there were as many as there may be.
func (t *session) annotate(ctx context.Context, d *v1alpha1.WebhookDelivery, r *receiver.Receiver, values []string, least, most int) []string {
	before := r.Tally("/w").Requests
	for _, value := range values {
		patched := d.DeepCopy()
		patched.Annotations = map[string]string{v1alpha1.AnnotationResend: value}
		base := d.DeepCopy()
		base.Annotations = nil
		err := t.client.Patch(ctx, patched, client.MergeFrom(base))
		if value == "" {
			if err == nil || !strings.Contains(err.Error(), "is empty, which asks for nothing") {
				return []string{fmt.Sprintf("annotating with nothing: %v", err)}
			}
			continue
		}
		if err != nil {
			return []string{fmt.Sprintf("annotating: %v", err)}
		}
	}
	last := values[len(values)-1]
	waiting, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var now v1alpha1.WebhookDelivery
	err := wait.PollUntilContextCancel(waiting, interval, true, func(context.Context) (bool, error) {
		err := t.client.Get(waiting, client.ObjectKeyFromObject(d), &now)
		return last == "" || now.Annotations[v1alpha1.AnnotationResent] == delivery.ResendHash(last), err
	})
	if err != nil {
		return []string{fmt.Sprintf("the last value is not honoured: %v", err)}
	}
	// Another delivery goes the same way: by the time it is done, so would one more
	// cycle of this one be.
	namespace, event := d.Namespace, fmt.Sprintf("after-%d", len(r.AllArrivals()))
	if err := t.event(ctx, namespace, event); err != nil {
		return []string{err.Error()}
	}
	if _, err := t.settled(ctx, namespace, event, 1); err != nil {
		return []string{err.Error()}
	}
	var problems []string
	if cycles := r.Tally("/w").Requests - before - 1; cycles < least || cycles > most {
		problems = append(problems, fmt.Sprintf("%d cycles, want %d to %d", cycles, least, most))
	}
	if now.Status.Result != v1alpha1.DeliverySucceeded {
		problems = append(problems, fmt.Sprintf("result %s", now.Status.Result))
	}
	if resend := now.Status.Resend; resend != nil && len([]rune(resend.Value)) > 128 {
		problems = append(problems, fmt.Sprintf("resend.value of %d bytes", len(resend.Value)))
	}
	if code := now.Status.History[0].StatusCode; code != http.StatusOK {
		problems = append(problems, fmt.Sprintf("status code %d", code))
	}
	return problems
}
