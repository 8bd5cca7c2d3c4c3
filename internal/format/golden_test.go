package format_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/horizoncd/webhook-operator/internal/message"
	"github.com/horizoncd/webhook-operator/internal/payload"
)

var update = flag.Bool("update", false, "write the golden files anew")

// golden compares what is got with a file, or writes it.
func golden(t *testing.T, file string, got []byte) {
	t.Helper()
	file = filepath.Join("testdata", file)
	if *update {
		if err := os.WriteFile(file, got, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatalf("%v: run it with -update", err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s (-want +got):\n%s", file, diff)
	}
}

// What people are told, for a reader: what each format makes a message of.
func TestMessages(t *testing.T) {
	all := deliveries(t)
	for _, language := range languages {
		var told bytes.Buffer
		for _, name := range slices.Sorted(maps.Keys(all)) {
			e, err := payload.EventOfDelivery(all[name])
			if err != nil {
				t.Fatal(err)
			}
			m := message.Of(e, payload.WebhookOf(webhook(rooms()[0], "")), language)
			fmt.Fprintf(&told, "== %s, %s\n%s %s\n", name, m.Tone, m.Sign, m.Title)
			for _, fact := range m.Facts {
				fmt.Fprintf(&told, "   %s: %s\n", fact.Name, fact.Value)
			}
		}
		golden(t, "messages."+string(language)+".txt", told.Bytes())
	}
}

// The bodies of all events, by format and language.
func TestBodies(t *testing.T) {
	all := deliveries(t)
	for _, f := range rooms() {
		for _, language := range languages {
			bodies := map[string]json.RawMessage{}
			for name, d := range all {
				body, err := payload.Of(d, webhook(f, language), "whd_1")
				if err != nil {
					t.Fatalf("%s: %s: %v", f.Name, name, err)
				}
				bodies[name] = body
			}
			var pretty bytes.Buffer
			e := json.NewEncoder(&pretty)
			e.SetEscapeHTML(false)
			e.SetIndent("", "  ")
			if err := e.Encode(bodies); err != nil {
				t.Fatal(err)
			}
			golden(t, fmt.Sprintf("%s.%s.json", f.Name, language), pretty.Bytes())
		}
	}
}
