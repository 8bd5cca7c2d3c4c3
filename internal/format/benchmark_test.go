package format_test

import (
	"testing"

	"github.com/horizoncd/webhook-operator/internal/payload"
)

// BenchmarkBodies is what the body of a message costs.
func BenchmarkBodies(b *testing.B) {
	d := deliveries(b)["clusters_kubernetes_event"]
	for _, f := range rooms() {
		b.Run(string(f.Name), func(b *testing.B) {
			w := webhook(f, "")
			b.ReportAllocs()
			for b.Loop() {
				if _, err := payload.Of(d, w, "whd_1"); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
