package controllers

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// answersWithin is how long ago the last write may be for the API server to count as
// one that stores things. The lease is renewed every second, and given up after 10 s
// without.
const answersWithin = 15 * time.Second

// refusals remembers the records that could not be stored, and the namespaces in
// which that was lately, whatever the reason. There, records are stored before
// anything is sent: a request without a record would be sent again after a restart.
type refusals struct {
	records    sync.Map // of *pending by name
	namespaces sync.Map // of *trouble
	// nothingStored is when the API server was last seen to store nothing at all, in
	// nanoseconds since 1970.
	nothingStored atomic.Int64
}

// trouble is the time since when no record of a namespace could be stored.
type trouble struct {
	since time.Time
	told  atomic.Bool
}

// record returns a record that could not be stored.
func (r *refusals) record(key types.NamespacedName) (*pending, bool) {
	if p, ok := r.records.Load(key); ok {
		return p.(*pending), true
	}
	return nil, false
}

func (r *refusals) keep(p *pending) { r.records.Store(client.ObjectKeyFromObject(p.record), p) }

// drop forgets a record, and returns it if it was kept.
func (r *refusals) drop(key types.NamespacedName) *pending {
	p, ok := r.records.LoadAndDelete(key)
	if !ok {
		return nil
	}
	return p.(*pending)
}

// count returns how many records could not be stored.
func (r *refusals) count() (n int) {
	r.records.Range(func(any, any) bool { n++; return true })
	return n
}

// lately tells whether the last try to store a record in a namespace failed.
func (r *refusals) lately(namespace string) bool {
	_, ok := r.namespaces.Load(namespace)
	return ok
}

// failed takes in that a record of a namespace could not be stored.
func (r *refusals) failed(namespace string, now time.Time) *trouble {
	t, _ := r.namespaces.LoadOrStore(namespace, &trouble{since: now})
	return t.(*trouble)
}

// tell tells whether to tell of it, once until a record of the namespace was stored.
func (t *trouble) tell() bool { return t.told.CompareAndSwap(false, true) }

func (r *refusals) taken(namespace string) { r.namespaces.Delete(namespace) }

// storesNothing takes in that the API server stores nothing at all.
func (r *refusals) storesNothing(now time.Time) { r.nothingStored.Store(now.UnixNano()) }

// since is the time since when the API server has stored other things, and not this
// record, or none of its namespace.
func (r *refusals) since(p *pending) time.Time {
	since := p.failing
	if t, ok := r.namespaces.Load(p.record.Namespace); ok && t.(*trouble).since.Before(since) {
		since = t.(*trouble).since
	}
	if nothing := time.Unix(0, r.nothingStored.Load()); nothing.After(since) {
		return nothing
	}
	return since
}

// outcome is what an error of the API server means for a record.
type outcome int

const (
	stored outcome = iota
	// tooLarge: a smaller record may be taken.
	tooLarge
	// refused: somebody has to change something, or the namespace is going.
	refused
	// unanswered: nobody knows; to be tried again.
	unanswered
)

func classify(err error) outcome {
	if err == nil {
		return stored
	}
	status := statusOf(err)
	switch {
	case errors.Is(err, errAgain):
		return unanswered
	case apierrors.IsRequestEntityTooLargeError(err), tooLargeForEtcd(status), status.Reason == metav1.StatusReasonInvalid && invalidLog(status):
		return tooLarge
	case denied(err):
		return refused
	case apierrors.IsTooManyRequests(err), status.Code == http.StatusRequestTimeout:
		return unanswered
	case status.Code >= 400 && status.Code < 500:
		return refused
	}
	return unanswered
}

// statusOf returns the Status in an error, or an empty one.
func statusOf(err error) metav1.Status {
	var status apierrors.APIStatus
	if errors.As(err, &status) {
		return status.Status()
	}
	return metav1.Status{}
}

// tooLargeForEtcd recognises what the API server passes on from etcd and from its
// client: there is no code for it.
func tooLargeForEtcd(s metav1.Status) bool {
	return s.Code == http.StatusInternalServerError &&
		(strings.Contains(s.Message, "etcdserver: request is too large") || strings.Contains(s.Message, "trying to send message larger than max"))
}

// invalidLog tells whether the schema refuses what the receiver wrote, which can be
// left out. A policy gives no field; an admission webhook may, and is a policy.
func invalidLog(s metav1.Status) bool {
	if s.Details == nil || deniedByWebhook(s) {
		return false
	}
	return slices.ContainsFunc(s.Details.Causes, func(c metav1.StatusCause) bool {
		return slices.ContainsFunc([]string{"status.response", "status.history", "status.conditions"}, func(field string) bool {
			return strings.HasPrefix(c.Field, field)
		})
	})
}

// denied tells whether an admission webhook has denied a write. It chooses the code,
// which may be that of a conflict, of an object that is not there, or of an overload.
func denied(err error) bool { return deniedByWebhook(statusOf(err)) }

func deniedByWebhook(s metav1.Status) bool {
	return strings.HasPrefix(s.Message, `admission webhook "`)
}

// admissionFailed tells whether the API server says that it answers, and another
// server does not that has to be asked about a write.
func admissionFailed(err error) bool {
	return strings.HasPrefix(statusOf(err).Message, "Internal error occurred: failed calling webhook")
}

// refusal is the reason of a refusal, bounded.
func refusal(err error) string {
	text := []rune(err.Error())
	return string(text[:min(len(text), 512)])
}
