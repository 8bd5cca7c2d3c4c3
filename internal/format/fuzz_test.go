package format_test

import (
	"testing"

	"github.com/horizoncd/webhook-operator/internal/payload"
)

// FuzzFormats: whatever an event says, each format makes a message of it that the service
// takes.
func FuzzFormats(f *testing.F) {
	for n := range places {
		f.Add(n, "web", "web-prod", `{"a":1}`, n%2 == 0)
	}
	for n, text := range hostile {
		f.Add(n, text, text, text, true)
	}
	f.Fuzz(func(t *testing.T, n int, one, two, extra string, chinese bool) {
		language := languages[0]
		if chinese {
			language = languages[1]
		}
		p := places[uint(n)%uint(len(places))]
		e := complete(p.eventType)
		for i, other := range places {
			switch {
			case i%3 == 0:
				other.write(&e.Spec, one)
			case i%3 == 1:
				other.write(&e.Spec, two)
			}
		}
		e.Spec.Extra = extra
		p.write(&e.Spec, one)
		d := delivery(t, e)
		for _, format := range rooms() {
			body, err := payload.Of(d, webhook(format, language), "whd_1")
			if err != nil {
				t.Fatalf("%s: %v", format.Name, err)
			}
			for _, wrong := range readers[format.Name].wrong(signed(t, format, body)) {
				t.Errorf("%s: %s: %s", format.Name, p.name, wrong)
			}
		}
	})
}
