package change

import (
	"strings"
	"testing"
	"time"
)

// The value of the annotation fits, and is harmless, whoever asks.
func TestRequest(t *testing.T) {
	at := time.Date(2026, 11, 29, 9, 0, 0, 123456789, time.UTC)
	for user, want := range map[string]string{
		"alice@example.com":                   "2026-11-29T09:00:00.123Z/alice@example.com",
		"system:serviceaccount:music:default": "2026-11-29T09:00:00.123Z/system:serviceaccount:music:default",
		"a b\n\x1b\u202ec\xff":                "2026-11-29T09:00:00.123Z/a_b___c_",
		"名前":                                  "2026-11-29T09:00:00.123Z/名前",
	} {
		if got := Request(at, user); got != want {
			t.Errorf("Request(%q) = %q", user, got)
		}
	}
	if got := []rune(Request(at, strings.Repeat("名", 500))); len(got) != 128 {
		t.Errorf("it has %d characters", len(got))
	}
}
