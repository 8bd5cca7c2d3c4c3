package controllers

import (
	"fmt"
	"strings"

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

// maxNote is how many bytes of a note the API server takes.
const maxNote = 1024

// Eventf implements events.EventRecorder. A note that is too long, as one with the places of
// ten mistakes in an expression may be, is cut.
func (r *limitedRecorder) Eventf(regarding, related runtime.Object, eventType, reason, action, note string, args ...any) {
	if r.limit.TryAccept() {
		note = fmt.Sprintf(note, args...)
		note = strings.ToValidUTF8(note[:min(len(note), maxNote)], "")
		r.EventRecorder.Eventf(regarding, related, eventType, reason, action, "%s", note)
	}
}
