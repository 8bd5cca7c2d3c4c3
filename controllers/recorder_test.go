package controllers

import (
	"strings"
	"testing"
	"unicode/utf8"

	"k8s.io/client-go/tools/events"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
)

func TestNotesAreCut(t *testing.T) {
	to := events.NewFakeRecorder(1)
	newLimitedRecorder(to).Eventf(&v1alpha1.Webhook{}, nil, "Warning", "FilterInvalid", "CheckReadiness", "%s", "%d"+strings.Repeat("ü", maxNote))
	note := strings.TrimPrefix(<-to.Events, "Warning FilterInvalid ")
	if !strings.HasPrefix(note, "%dü") || len(note) > maxNote || len(note) < maxNote-2 || !utf8.ValidString(note) {
		t.Errorf("%d bytes: %.40q", len(note), note)
	}
}
