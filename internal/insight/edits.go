package insight

import (
	"encoding/json"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// edit is a write of an object's spec.
type edit struct {
	at      time.Time
	manager string
}

// lastEdit returns the latest write of an object's spec that metadata.managedFields tell
// of, its creation included; the zero edit where they tell of none. They do not tell of
// one that did nothing but take fields away.
func lastEdit(o metav1.Object) edit {
	var last edit
	for _, entry := range o.GetManagedFields() {
		if entry.Time != nil && entry.Time.After(last.at) && touchesSpec(entry) {
			last = edit{entry.Time.Time, entry.Manager}
		}
	}
	return last
}

func touchesSpec(entry metav1.ManagedFieldsEntry) bool {
	if entry.FieldsV1 == nil {
		return false
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(entry.FieldsV1.GetRawBytes(), &fields); err != nil {
		return false
	}
	_, ok := fields["f:spec"]
	return ok
}

// lastStatus returns when an object's status was last written: by the operator, since
// nobody else may. It is zero where it never was.
func lastStatus(o metav1.Object) time.Time {
	var last time.Time
	for _, entry := range o.GetManagedFields() {
		if entry.Subresource == "status" && entry.Time != nil && entry.Time.After(last) {
			last = entry.Time.Time
		}
	}
	return last
}
