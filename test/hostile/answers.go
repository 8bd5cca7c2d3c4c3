package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/test/hostile/inputs"
	"github.com/horizoncd/webhook-operator/test/receiver"
)

const (
	// rounds is how many events come to each receiver: what one leaves on a
	// connection must not be taken for an answer to the next.
	rounds = 2
	// brief is a timeout that is meant to be reached, by all of them at once.
	brief = 3 * time.Second
	// slack is how much later than its timeout an attempt may end.
	slack = time.Second
)

// misbehaviour is an input that is being played.
type misbehaviour struct {
	inputs.Input
	webhook  string
	raw      *receiver.Raw
	timeout  time.Duration
	attempts int32
}

// playAnswers lets each receiver answer events, all at the same time.
func playAnswers(ctx context.Context, t *session) (err error) {
	namespace, err := t.namespace(ctx)
	if err != nil {
		return err
	}
	var all []*misbehaviour
	defer func() {
		for _, m := range all {
			err = errors.Join(err, m.raw.Close())
		}
	}()
	for i, input := range inputs.All() {
		raw, url, err := input.Start()
		if err != nil {
			return err
		}
		m := &misbehaviour{Input: input, webhook: fmt.Sprintf("answers-%03d", i), raw: raw, timeout: 10 * time.Second, attempts: 1}
		all = append(all, m)
		w := webhook(namespace, m.webhook, url)
		w.Spec.SSLVerifyEnabled = new(false)
		if input.Want.TimedOut != "" || input.Want.Any {
			m.timeout = brief
		}
		w.Spec.TimeoutSeconds = int32(m.timeout.Seconds())
		if r := input.Want.Response; r != nil && r.RetryAfter != "" {
			m.attempts, w.Spec.Retry.Limit = 2, new(int32(1)) // not when the receiver says
		}
		if err := t.client.Create(ctx, w); err != nil {
			return err
		}
	}
	watch, err := t.watchMemory(ctx)
	if err != nil {
		return err
	}
	for round := range rounds {
		event := fmt.Sprintf("horizon-%d", round+1)
		if err := t.event(ctx, namespace, event); err != nil {
			return err
		}
		records, err := t.settled(ctx, namespace, event, len(all))
		if err != nil {
			return err
		}
		for _, m := range all {
			d := records[m.webhook]
			if d == nil || len(d.Status.History) == 0 {
				t.judge(m.Name, []string{t.unsettled(ctx, namespace, event, m.webhook)})
				continue
			}
			t.judge(m.Name, m.problems(d))
		}
	}
	for _, m := range all {
		if got := m.raw.Requests(); got > rounds*int(m.attempts) {
			t.judge(m.Name, []string{fmt.Sprintf("%d requests of %d attempts", got, rounds*m.attempts)})
		}
	}
	for len(all) > 0 { // so that nothing of theirs is left
		last := all[len(all)-1]
		all = all[:len(all)-1]
		if err := last.raw.Close(); err != nil {
			return err
		}
	}
	problems, err := watch(ctx)
	t.judge("memory", problems)
	return err
}

// problems are what is wrong with the record of an input.
func (m *misbehaviour) problems(d *v1alpha1.WebhookDelivery) []string {
	var problems []string
	add := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }
	latest := d.Status.History[0]
	if took := time.Duration(latest.Milliseconds) * time.Millisecond; took > m.timeout+slack {
		add("took %v, with a timeout of %v", took, m.timeout)
	}
	if d.Status.Attempts != m.attempts && !m.Want.Any {
		add("%d attempts, want %d", d.Status.Attempts, m.attempts)
	}
	writes := int64(d.Status.Attempts)
	if r := m.Want.Response; r != nil && r.RetryAfter != "" {
		writes++ // it was stored first if the receiver had asked for rest
	}
	if d.Generation > writes {
		add("written %d times for %d attempts", d.Generation, d.Status.Attempts)
	}
	want := v1alpha1.DeliveryFailed
	if r := m.Want.Response; r != nil && r.StatusCode >= 200 && r.StatusCode < 300 {
		want = v1alpha1.DeliverySucceeded
	}
	if d.Status.Result != want && !m.Want.Any {
		add("result %s, want %s", d.Status.Result, want)
	}
	// The record says in its own words what the error of an exchange is.
	errText := latest.Error
	if _, cause, ok := strings.Cut(errText, "the body could not be read: "); ok {
		errText = cause
	} else if d.Status.Response != nil {
		errText = ""
		if want != v1alpha1.DeliverySucceeded { // such a body's error is not told
			errText = m.errorWithResponse()
		}
	}
	var got *inputs.Response
	if r := d.Status.Response; r != nil {
		got = &inputs.Response{
			StatusCode: int(r.StatusCode), Header: r.Headers, HeaderTruncated: r.HeadersTruncated,
			Body: r.Body, BodyTruncated: r.BodyTruncated,
		}
		if m.Want.Response != nil { // which the record does not have by themselves
			got.RetryAfter, got.Location = m.Want.Response.RetryAfter, m.Want.Response.Location
		}
	}
	if len(latest.Error) > inputs.MaxError {
		add("an error of %d bytes", len(latest.Error))
	}
	expected := m.Want
	if expected.TimedOut == "while waiting for the answer" || expected.TimedOut == "while reading the headers of the answer" {
		// How far it has come depends on buffers.
		expected = inputs.Want{Any: true}
		if !strings.HasPrefix(errText, fmt.Sprintf("timeout after %s while ", m.timeout)) {
			add("error %q, want a timeout", errText)
		}
	}
	return append(problems, expected.Check(got, errText, m.timeout)...)
}

// errorWithResponse is the error of an exchange that has an answer too.
func (m *misbehaviour) errorWithResponse() string {
	switch {
	case m.Want.TimedOut != "":
		return fmt.Sprintf("timeout after %s %s", m.timeout, m.Want.TimedOut)
	case len(m.Want.Errors) > 0:
		return m.Want.Errors[0]
	}
	return ""
}
