package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
)

const (
	// roleName is that of the operator's ClusterRole, as config/default names it.
	roleName = "horizon-webhook-operator"
	// refusedPatience allows for records that are tried again once a minute.
	refusedPatience = 150 * time.Second
)

// permissionWithdrawn is F11: the operator may not store records for a while.
func permissionWithdrawn(ctx context.Context, t *trial) error {
	op := t.replica("operator", t.install.Kubeconfig)
	if err := op.start(ctx); err != nil {
		return err
	}
	if err := withdraw(ctx, t, op, "webhookdeliveries"); err != nil || t.short {
		return err
	}
	return withdraw(ctx, t, op, "webhookdeliveries", "webhookevents/status")
}

// withdraw takes the permission to write resources away and gives it back.
func withdraw(ctx context.Context, t *trial, op *replica, resources ...string) (err error) {
	l, err := t.newLoad(ctx, loadOptions{webhooks: fanOut, delay: 20 * time.Millisecond, patience: refusedPatience})
	if err != nil {
		return err
	}
	l.begin(ctx, pick(t.options, 200, 100), 40)
	if err := l.reach(ctx, t.moment(l, 0.1, 0.5)); err != nil {
		return err
	}
	var role rbacv1.ClusterRole
	if err := t.admin.Get(ctx, client.ObjectKey{Name: roleName}, &role); err != nil {
		return err
	}
	whole := slices.Clone(role.Rules)
	role.Rules = without(role.Rules, resources)
	if err := t.admin.Update(ctx, &role); err != nil {
		return err
	}
	restore := func() error {
		role.Rules = whole
		return t.admin.Update(ctx, &role)
	}
	t.runs++
	t.say("withdrew the permission to write %s after %d of %d deliveries", strings.Join(resources, ", "), l.receiver.Total().Accepted, l.total())
	where, err := t.visible(ctx, l, op, pick(t.options, time.Minute, 10*time.Second))
	if err := errors.Join(err, restore()); err != nil {
		return err
	}
	if where == "" {
		t.fail("nothing tells that %s cannot be written", strings.Join(resources, ", "))
	} else {
		t.note("no %s: visible in %s", strings.Join(resources, ", "), where)
	}
	restored := time.Now()
	err = t.judge(ctx, l, 0)
	t.note("all was delivered and recorded %.1f s after the permission was back", time.Since(restored).Seconds())
	return err
}

// without takes the verbs that write resources out of rules.
func without(rules []rbacv1.PolicyRule, resources []string) []rbacv1.PolicyRule {
	var rest []rbacv1.PolicyRule
	for _, rule := range rules {
		for _, resource := range rule.Resources {
			one := *rule.DeepCopy()
			one.Resources = []string{resource}
			if slices.Contains(resources, resource) && slices.Contains(rule.APIGroups, v1alpha1.GroupVersion.Group) {
				one.Verbs = slices.DeleteFunc(one.Verbs, func(verb string) bool { return verb == "create" || verb == "patch" })
			}
			if len(one.Verbs) > 0 {
				rest = append(rest, one)
			}
		}
	}
	return rest
}

// visible looks for a while where the operator tells that records are refused.
func (t *trial) visible(ctx context.Context, l *load, op *replica, while time.Duration) (string, error) {
	var status, log time.Duration
	began := time.Now()
	for time.Since(began) < while {
		if err := sleep(ctx, time.Second); err != nil {
			return "", err
		}
		if status == 0 {
			var events v1alpha1.WebhookEventList
			if err := t.admin.List(ctx, &events, client.InNamespace(l.namespace)); err != nil {
				return "", err
			}
			if slices.ContainsFunc(events.Items, refused) {
				status = time.Since(began)
			}
		}
		if log == 0 {
			output, err := op.life().Output()
			if err != nil {
				return "", err
			}
			// The log of the life so far has other scenes in it too.
			for line := range strings.Lines(output) {
				if strings.Contains(line, l.namespace) && strings.Contains(line, "forbidden") {
					log = time.Since(began)
					break
				}
			}
		}
	}
	var where []string
	if status > 0 {
		where = append(where, fmt.Sprintf("the event's status after %.0f s", status.Seconds()))
	}
	if log > 0 {
		where = append(where, fmt.Sprintf("the log after %.0f s", log.Seconds()))
	}
	return strings.Join(where, " and "), nil
}

// refused tells whether an event says that a record of it could not be stored.
func refused(e v1alpha1.WebhookEvent) bool {
	c := meta.FindStatusCondition(e.Status.Conditions, v1alpha1.ConditionDispatched)
	return c != nil && c.Reason == v1alpha1.ReasonRecordRefused
}
