package webhookdelivery

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

// writeFailures remembers the deliveries that could not be stored, and the namespaces in
// which the last try failed, whatever the reason. There, deliveries are stored before
// anything is sent: a request without a record would be sent again after a restart.
type writeFailures struct {
	writes     sync.Map // of *write by the name of the delivery
	namespaces sync.Map // of *failing
	// nothingStored is when the API server was last seen to store nothing at all, in
	// nanoseconds since 1970.
	nothingStored atomic.Int64
}

// failing is a namespace in which no delivery could be stored since a time.
type failing struct {
	since  time.Time
	logged atomic.Bool
}

// first is true for the first call until a delivery of the namespace is stored.
func (f *failing) first() bool { return f.logged.CompareAndSwap(false, true) }

// write returns the write of a delivery that could not be stored.
func (f *writeFailures) write(delivery types.NamespacedName) (*write, bool) {
	if w, ok := f.writes.Load(delivery); ok {
		return w.(*write), true
	}
	return nil, false
}

func (f *writeFailures) keep(w *write) { f.writes.Store(client.ObjectKeyFromObject(w.delivery), w) }

// drop forgets a write, and returns it if it was kept.
func (f *writeFailures) drop(delivery types.NamespacedName) *write {
	w, ok := f.writes.LoadAndDelete(delivery)
	if !ok {
		return nil
	}
	return w.(*write)
}

// count returns how many deliveries could not be stored.
func (f *writeFailures) count() (n int) {
	f.writes.Range(func(any, any) bool { n++; return true })
	return n
}

// storeFailing tells whether the last try to store a delivery in a namespace failed.
func (f *writeFailures) storeFailing(namespace string) bool {
	_, ok := f.namespaces.Load(namespace)
	return ok
}

// failed takes in that a delivery of a namespace could not be stored.
func (f *writeFailures) failed(namespace string, now time.Time) *failing {
	n, _ := f.namespaces.LoadOrStore(namespace, &failing{since: now})
	return n.(*failing)
}

// stored takes in that a delivery of a namespace was stored.
func (f *writeFailures) stored(namespace string) { f.namespaces.Delete(namespace) }

// storesNothing takes in that the API server stores nothing at all.
func (f *writeFailures) storesNothing(now time.Time) { f.nothingStored.Store(now.UnixNano()) }

// since is the time since when the API server has stored other things, and not this
// delivery, or none of its namespace.
func (f *writeFailures) since(w *write) time.Time {
	since := w.failing
	if n, ok := f.namespaces.Load(w.delivery.Namespace); ok && n.(*failing).since.Before(since) {
		since = n.(*failing).since
	}
	if nothing := time.Unix(0, f.nothingStored.Load()); nothing.After(since) {
		return nothing
	}
	return since
}

// outcome is what an error of the API server means for a write.
type outcome int

const (
	stored outcome = iota
	// tooLarge: a smaller delivery may be taken.
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
	case apierrors.IsRequestEntityTooLargeError(err), tooLargeForEtcd(status), status.Reason == metav1.StatusReasonInvalid && invalidAnswer(status):
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

// invalidAnswer tells whether the schema refuses what the receiver wrote, which can be
// left out. A policy gives no field; an admission webhook may, and is a policy.
func invalidAnswer(s metav1.Status) bool {
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
