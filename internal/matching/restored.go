package matching

import (
	"time"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
)

// RestoreTolerance is how much earlier than an event's creation its status must
// have been written to show that the event is a copy. The two times may come from
// the clocks of two API servers.
const RestoreTolerance = time.Minute

// RestoredFrom tells whether the event is a copy of an earlier one, from a backup
// for instance, and when the original was known to exist: what it tells of happened
// at that time or before it.
//
// The evidence is in metadata.managedFields. An object's status cannot be written
// before the object is created, so an entry for the status subresource that is older
// than the creation came with the object. The API server keeps such an entry of an
// object that it is asked to create, while it ascribes the spec to whoever creates
// it, with the present time; and Velero, which clears the other metadata, does not
// clear managedFields. The entry is there from the first moment on.
//
// It is not there where the original's status had never been written, which is an
// event that nobody worked on; nor in a copy that kubectl has exported without
// --show-managed-fields; and it is gone with the next write of the status.
//
// Whoever may create events can forge such an entry. That makes an event older,
// which spec.time does as well.
func RestoredFrom(e *v1alpha1.WebhookEvent) (time.Time, bool) {
	var latest time.Time
	for _, entry := range e.ManagedFields {
		if entry.Subresource != "status" || entry.Time == nil {
			continue
		}
		if before := e.CreationTimestamp.Add(-RestoreTolerance); entry.Time.Time.Before(before) && entry.Time.After(latest) {
			latest = entry.Time.Time
		}
	}
	return latest, !latest.IsZero()
}
