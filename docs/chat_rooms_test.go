package docs

import (
	"fmt"
	"regexp"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/horizoncd/webhook-operator/internal/format"
	"github.com/horizoncd/webhook-operator/internal/manifest"
)

// manifestBlock is a manifest of a page.
var manifestBlock = regexp.MustCompile("(?ms)^```yaml\n(apiVersion:.*?)^```$")

// The manifests of the page on chat rooms are as the API server takes them, and there is one
// for each service.
func TestManifestsOfChatRooms(t *testing.T) {
	page := read(t, "chat-rooms.md")
	shown := map[string]bool{}
	for _, m := range manifestBlock.FindAllStringSubmatch(page, -1) {
		documents, problems := manifest.Parse([]byte(m[1]))
		for _, p := range problems {
			t.Errorf("%+v in\n%s", p, m[1])
		}
		for _, d := range documents {
			if d.Object.GetKind() != "Webhook" {
				continue
			}
			wrong, err := d.Validate(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			for _, p := range wrong {
				t.Errorf("%s: %+v", d.Object.GetName(), p)
			}
			payload, _ := d.Object.Object["spec"].(map[string]any)["payload"].(map[string]any)
			shown[fmt.Sprint(payload["format"])] = true
		}
	}
	for _, f := range format.All() {
		if f.Room && !shown[string(f.Name)] {
			t.Errorf("no manifest for %s", f.Name)
		}
	}
}

// The table of services says what their formats do.
func TestTableOfChatRooms(t *testing.T) {
	page := read(t, "chat-rooms.md")
	row := regexp.MustCompile("(?m)^\\| \\[[^|]*\\]\\(#[a-z-]+\\) \\| `(\\w+)` \\| (\\w+)[^|]* \\| (\\d+ in \\d+ s|none) \\|")
	got := map[string]string{}
	for _, m := range row.FindAllStringSubmatch(page, -1) {
		got[m[1]] = m[2] + ", " + m[3]
	}
	want := map[string]string{}
	for _, f := range format.All() {
		if !f.Room {
			continue
		}
		key, limit := "none", "none"
		if f.Signs() {
			key = "optional"
		}
		if f.RateLimit.Requests > 0 {
			limit = fmt.Sprintf("%d in %d s", f.RateLimit.Requests, f.RateLimit.PerSeconds)
		}
		want[string(f.Name)] = key + ", " + limit
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-formats +page):\n%s", diff)
	}
}
