package matching

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
)

func TestRestoredFrom(t *testing.T) {
	created := time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)
	entry := func(subresource string, before time.Duration) metav1.ManagedFieldsEntry {
		return metav1.ManagedFieldsEntry{
			Manager: "webhook-operator", Operation: metav1.ManagedFieldsOperationUpdate, Subresource: subresource,
			Time: &metav1.Time{Time: created.Add(-before)},
		}
	}
	without := entry("status", 0)
	without.Time = nil
	tests := map[string]struct {
		fields []metav1.ManagedFieldsEntry
		want   time.Duration // before the creation; 0: no copy
	}{
		"nothing is known":               {},
		"created and worked on":          {fields: []metav1.ManagedFieldsEntry{entry("", 0), entry("status", -time.Second)}},
		"the clocks of two API servers":  {fields: []metav1.ManagedFieldsEntry{entry("", 0), entry("status", 5*time.Second)}},
		"just within the tolerance":      {fields: []metav1.ManagedFieldsEntry{entry("status", RestoreTolerance)}},
		"just beyond it":                 {fields: []metav1.ManagedFieldsEntry{entry("status", RestoreTolerance+time.Second)}, want: RestoreTolerance + time.Second},
		"restored after an hour":         {fields: []metav1.ManagedFieldsEntry{entry("status", time.Hour), entry("", 0)}, want: time.Hour},
		"the original's last write":      {fields: []metav1.ManagedFieldsEntry{entry("status", 3*time.Hour), entry("status", time.Hour), entry("status", 2*time.Hour)}, want: time.Hour},
		"restored, and worked on since":  {fields: []metav1.ManagedFieldsEntry{entry("", 0), entry("status", -time.Minute)}},
		"a status of unknown time":       {fields: []metav1.ManagedFieldsEntry{without}},
		"an old entry that is no status": {fields: []metav1.ManagedFieldsEntry{entry("", time.Hour), entry("scale", time.Hour)}},
		"a status from the future":       {fields: []metav1.ManagedFieldsEntry{entry("status", -time.Hour)}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			e := &v1alpha1.WebhookEvent{ObjectMeta: metav1.ObjectMeta{CreationTimestamp: metav1.NewTime(created), ManagedFields: tt.fields}}
			at, copied := RestoredFrom(e)
			if copied != (tt.want > 0) || copied && !at.Equal(created.Add(-tt.want)) {
				t.Errorf("got %v, %t, want %v before the creation", at, copied, tt.want)
			}
		})
	}
}
