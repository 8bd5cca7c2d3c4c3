package controllers

import (
	"sync"

	"k8s.io/apimachinery/pkg/types"

	"github.com/horizoncd/webhook-operator/internal/readiness"
)

// reports keeps the latest report of each Webhook's receiver.
type reports struct{ latest sync.Map }

func (r *reports) put(webhook types.UID, report readiness.Report) { r.latest.Store(webhook, &report) }

// of returns nil as long as this process has sent nothing to the Webhook.
func (r *reports) of(webhook types.UID) *readiness.Report {
	if report, ok := r.latest.Load(webhook); ok {
		return report.(*readiness.Report)
	}
	return nil
}

func (r *reports) forget(webhook types.UID) { r.latest.Delete(webhook) }
