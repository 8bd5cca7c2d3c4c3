package webhookdelivery

import (
	"testing"

	"github.com/horizoncd/webhook-operator/internal/sending"
)

// Labels must not take values that a receiver chooses.
func TestCodeClass(t *testing.T) {
	for code, want := range map[int]string{100: "1xx", 200: "2xx", 299: "2xx", 302: "3xx", 404: "4xx", 599: "5xx", 600: "other", 999: "other", 0: "other", 99: "other"} {
		x := sending.Exchange{Response: &sending.Response{StatusCode: code}}
		if got := codeClass(x); got != want {
			t.Errorf("codeClass(%d) = %q, want %q", code, got, want)
		}
	}
	if got := codeClass(sending.Exchange{}); got != "none" {
		t.Errorf("codeClass of no answer = %q, want none", got)
	}
}
