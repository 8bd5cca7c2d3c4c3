package controllers

import (
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/events"
	"k8s.io/client-go/util/flowcontrol"
)

// limitedRecorder drops Kubernetes Events beyond a rate: they are writes like any other,
// so a receiver that fails all the time gets few.
type limitedRecorder struct {
	events.EventRecorder
	limit flowcontrol.PassiveRateLimiter
}

func newLimitedRecorder(to events.EventRecorder) *limitedRecorder {
	return &limitedRecorder{EventRecorder: to, limit: flowcontrol.NewTokenBucketPassiveRateLimiter(1, 25)}
}

// Eventf implements events.EventRecorder.
func (r *limitedRecorder) Eventf(regarding, related runtime.Object, eventType, reason, action, note string, args ...any) {
	if r.limit.TryAccept() {
		r.EventRecorder.Eventf(regarding, related, eventType, reason, action, note, args...)
	}
}
