package payload

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/types"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// The example of Horizon's documentation, byte for byte.
const documented = `{"eventID":1,"webhookID":1,"application":{"id":1,"name":"test","priority":"P0"},"eventType":"applications_created","user":{"id":1,"name":"test","email":"test@noreply.com"}}`

func TestRenderDocumentedExample(t *testing.T) {
	got, err := Render(&v1alpha1.WebhookEvent{Spec: v1alpha1.WebhookEventSpec{
		EventID:     1,
		EventType:   "applications_created",
		Application: &v1alpha1.ApplicationInfo{ID: new(int64(1)), Name: "test", Priority: "P0"},
		User:        &v1alpha1.UserInfo{ID: new(int64(1)), Name: "test", Email: "test@noreply.com"},
	}}, 1)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(documented, string(got)); diff != "" {
		t.Errorf("body (-want +got):\n%s", diff)
	}
}

func TestRenderGolden(t *testing.T) {
	user := &v1alpha1.UserInfo{ID: new(int64(21)), Name: "Anna", Email: "anna@example.com"}
	application := &v1alpha1.ApplicationInfo{ID: new(int64(512)), Name: "web", Priority: "P1"}
	cluster := &v1alpha1.ClusterInfo{ID: new(int64(61400)), Name: "web-prod", ApplicationName: "web", Env: "online"}
	specs := map[string]v1alpha1.WebhookEventSpec{
		"everything": {
			EventID:     78402,
			EventType:   "pipelineruns_executed",
			Application: application,
			Cluster:     cluster,
			Pipelinerun: &v1alpha1.PipelinerunInfo{
				ID: new(int64(9)), ClusterID: 61400, ClusterName: "web-prod", Action: "builddeploy", Title: "release 2",
				Description: "the second\nrelease", GitRef: "main", GitRefType: "branch",
			},
			Member: &v1alpha1.MemberInfo{
				ID: new(int64(3)), ResourceID: 512, ResourceType: "applications", Role: "maintainer",
				MemberNameID: 22, MemberName: "Bert",
			},
			User:  user,
			Extra: `{"reason":"asked for"}`,
		},
		"least": {EventID: 78402, EventType: "clusters_action"},
		"only_ids": {
			EventID:     78402,
			EventType:   "members_created",
			Application: &v1alpha1.ApplicationInfo{ID: new(int64(0))},
			Cluster:     &v1alpha1.ClusterInfo{ID: new(int64(0))},
			Pipelinerun: &v1alpha1.PipelinerunInfo{ID: new(int64(0))},
			Member:      &v1alpha1.MemberInfo{ID: new(int64(0))},
			User:        &v1alpha1.UserInfo{ID: new(int64(0))},
		},
		// The API server lets none of these through.
		"no_ids": {EventID: 78402, EventType: "clusters_action", User: &v1alpha1.UserInfo{Name: "Anna"}},
		"escapes": {
			EventID:   1<<53 - 1,
			EventType: "clusters_action",
			Extra:     "<a href=\"x\">&amp;</a>\\ \t\r\n\x00\x1b \u2028\u2029 \u00fc\u4e2d\U0001f600 \xff",
		},
	}
	for _, eventType := range []string{"applications_created", "application_deleted", "application_transferred"} {
		specs[eventType] = v1alpha1.WebhookEventSpec{
			EventID: 78402, EventType: eventType, ResourcePath: "/music/player/web", Application: application, User: user,
		}
	}
	for _, eventType := range []string{
		"cluster_created", "cluster_deleted", "clusters_builddeployed", "clusters_deployed", "clusters_rollbacked",
		"clusters_freed",
	} {
		specs[eventType] = v1alpha1.WebhookEventSpec{
			EventID: 78402, EventType: eventType, ResourcePath: "/music/player/web/web-prod", Cluster: cluster, User: user,
		}
	}

	for name, spec := range specs {
		t.Run(name, func(t *testing.T) {
			got, err := Render(&v1alpha1.WebhookEvent{Spec: spec}, 7)
			if err != nil {
				t.Fatal(err)
			}
			file := filepath.Join("testdata", name+".json")
			if *update {
				if err := os.WriteFile(file, got, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), string(got)); diff != "" {
				t.Errorf("body (-%s +got):\n%s", file, diff)
			}
		})
	}
}

// Bodies in Horizon's own form, as its code writes them: what an event says of one
// is rendered to the same bytes, but for id, which only Horizon's log has, and
// for an empty extra.
func TestRenderAsHorizonDoes(t *testing.T) {
	for name, body := range map[string]string{
		"application":                      `{"id":31,"eventID":27,"webhookID":4,"application":{"id":8,"name":"ledger","priority":"P2"},"eventType":"applications_updated","user":{"id":5,"name":"Mia","email":"mia@example.com"},"extra":""}`,
		"cluster":                          `{"id":32,"eventID":28,"webhookID":4,"cluster":{"id":19,"name":"ledger-beta","applicationName":"ledger","env":"beta"},"eventType":"clsuters_restarted","user":{"id":5,"name":"Mia","email":"mia@example.com"},"extra":""}`,
		"cluster without an environment":   `{"id":33,"eventID":29,"webhookID":4,"cluster":{"id":19,"name":"ledger-beta","applicationName":"ledger"},"eventType":"clusters_updated","user":{"id":5,"name":"Mia","email":"mia@example.com"},"extra":""}`,
		"user without a name":              `{"id":34,"eventID":30,"webhookID":4,"cluster":{"id":19,"name":"ledger-beta","applicationName":"ledger","env":"beta"},"eventType":"clusters_freed","user":{"id":6,"name":"","email":""},"extra":""}`,
		"user without an email":            `{"id":35,"eventID":31,"webhookID":4,"cluster":{"id":19,"name":"ledger-beta","applicationName":"ledger","env":"beta"},"eventType":"clusters_freed","user":{"id":7,"name":"robot","email":""},"extra":""}`,
		"user with other characters":       `{"id":36,"eventID":32,"webhookID":4,"application":{"id":8,"name":"ledger","priority":"P2"},"eventType":"applications_deleted","user":{"id":8,"name":"Jörg \u003cj\u0026k\u003e \"jk\" 猫😀","email":"jk@example.com"},"extra":""}`,
		"nobody did it":                    `{"id":37,"eventID":33,"webhookID":4,"cluster":{"id":19,"name":"ledger-beta","applicationName":"ledger","env":"beta"},"eventType":"clusters_kubernetes_event","extra":"{\"message\":\"Killing \u003cledger\u003e \u0026 \\\"sidecar\\\"\",\"reason\":\"Killing\"}"}`,
		"pods as text":                     `{"id":38,"eventID":34,"webhookID":4,"cluster":{"id":19,"name":"ledger-beta","applicationName":"ledger","env":"beta"},"eventType":"clusters_rescheduled","user":{"id":5,"name":"Mia","email":"mia@example.com"},"extra":"[\"ledger-beta-0\",\"ledger-beta-1\"]"}`,
		"member":                           `{"id":39,"eventID":35,"webhookID":4,"member":{"id":11,"resourceID":8,"resourceType":"applications","role":"guest","memberNameID":6,"memberName":"Noa"},"eventType":"members_created","user":{"id":5,"name":"Mia","email":"mia@example.com"},"extra":""}`,
		"member whose account is gone":     `{"id":40,"eventID":36,"webhookID":4,"member":{"id":11,"resourceID":8,"resourceType":"applications","role":"guest","memberNameID":6,"memberName":""},"eventType":"members_deleted","user":{"id":5,"name":"Mia","email":"mia@example.com"},"extra":""}`,
		"member of which all is empty":     `{"id":41,"eventID":37,"webhookID":4,"member":{"id":11,"resourceID":0,"resourceType":"","role":"","memberNameID":0,"memberName":""},"eventType":"members_updated","user":{"id":5,"name":"","email":"mia@example.com"},"extra":""}`,
		"pipelinerun":                      `{"id":42,"eventID":38,"webhookID":4,"pipelinerun":{"id":90,"clusterID":19,"clusterName":"ledger-beta","action":"builddeploy","title":"fix \u003c7\u003e","description":"one line\nanother","gitRef":"release","gitRefType":"branch"},"eventType":"pipelineruns_executed","user":{"id":5,"name":"Mia","email":"mia@example.com"},"extra":""}`,
		"pipelinerun without most of that": `{"id":43,"eventID":39,"webhookID":4,"pipelinerun":{"id":91,"clusterID":19,"clusterName":"ledger-beta","action":"restart"},"eventType":"pipelineruns_created","user":{"id":5,"name":"Mia","email":"mia@example.com"},"extra":""}`,
	} {
		t.Run(name, func(t *testing.T) {
			var e v1alpha1.WebhookEvent
			if err := json.Unmarshal([]byte(body), &e.Spec); err != nil {
				t.Fatal(err)
			}
			got, err := Render(&e, 4)
			if err != nil {
				t.Fatal(err)
			}
			want := regexp.MustCompile(`^{"id":\d+,`).ReplaceAllLiteralString(body, "{")
			want = strings.Replace(want, `,"extra":""}`, "}", 1)
			if diff := cmp.Diff(want, string(got)); diff != "" {
				t.Errorf("body (-Horizon +got):\n%s", diff)
			}
		})
	}
}

// What Horizon has sent parses, and renders the same but for its log's number and an
// empty extra.
func TestParseWhatHorizonSent(t *testing.T) {
	files, err := filepath.Glob("testdata/horizon/*.json")
	if err != nil || len(files) != 21 {
		t.Fatalf("%d bodies (%v), want one of each type", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".json"), func(t *testing.T) {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			body := strings.TrimSpace(string(data))
			p, err := Parse(data)
			if err != nil {
				t.Fatal(err)
			}
			if want := strings.TrimSuffix(filepath.Base(file), ".json"); p.Event.EventType != want {
				t.Errorf("type %q, want %q", p.Event.EventType, want)
			}
			if !strings.HasPrefix(body, fmt.Sprintf(`{"id":%d,`, p.LogID)) {
				t.Errorf("log %d of %s", p.LogID, body)
			}
			got, err := Render(&v1alpha1.WebhookEvent{Spec: p.Event}, p.WebhookID)
			if err != nil {
				t.Fatal(err)
			}
			want := strings.Replace(body, fmt.Sprintf(`"id":%d,`, p.LogID), "", 1)
			want = strings.Replace(want, `,"extra":""}`, "}", 1)
			if diff := cmp.Diff(want, string(got)); diff != "" {
				t.Errorf("body (-Horizon +got):\n%s", diff)
			}
		})
	}
}

// Odd bodies, which Horizon may send one day or has in its logs: nothing of what the operator
// knows is lost or rounded.
func TestParseOdd(t *testing.T) {
	for name, tc := range map[string]struct {
		body string
		// want is what is rendered; empty for the same but for id and an empty extra.
		want string
	}{
		"a type of a later Horizon": {body: `{"id":51,"eventID":60,"webhookID":4,"cluster":{"id":19,"name":"ledger-beta"},"eventType":"deployments_paused","user":{"id":5,"name":"Mia","email":"mia@example.com"},"extra":""}`},
		"empty names":               {body: `{"id":52,"eventID":61,"webhookID":4,"member":{"id":11,"resourceID":8,"resourceType":"applications","role":"","memberNameID":6,"memberName":""},"eventType":"members_created","user":{"id":5,"name":"","email":""},"extra":""}`},
		"other characters":          {body: `{"id":53,"eventID":62,"webhookID":4,"application":{"id":8,"name":"帳簿-é\u2028\u003c\u003e\u0026","priority":"P2"},"eventType":"applications_updated","user":{"id":5,"name":"猫😀","email":"m@例え.jp"},"extra":"ü\u2029"}`},
		"JSON in extra":             {body: `{"id":54,"eventID":63,"webhookID":4,"cluster":{"id":19,"name":"ledger-beta"},"eventType":"clusters_action","extra":"{\"a\":[1,{\"b\":\"\\\"c\\\"\"}],\"n\":12345678901234567890}"}`},
		"beyond 2^53":               {body: `{"id":9007199254740993,"eventID":9007199254740995,"webhookID":9007199254740997,"cluster":{"id":9007199254740999,"name":"a"},"eventType":"clusters_freed","user":{"id":9223372036854775807,"name":"Mia","email":""},"extra":""}`},
		"unknown keys": {
			body: `{"id":55,"eventID":64,"webhookID":4,"later":{"a":[1]},"cluster":{"id":19,"name":"ledger-beta","region":"hz"},"eventType":"clusters_freed","user":{"id":5,"name":"Mia","email":"","phone":null},"extra":""}`,
			want: `{"eventID":64,"webhookID":4,"cluster":{"id":19,"name":"ledger-beta"},"eventType":"clusters_freed","user":{"id":5,"name":"Mia","email":""}}`,
		},
		"null": {
			body: `{"id":56,"eventID":65,"webhookID":4,"cluster":null,"eventType":"clusters_freed","user":null,"extra":null}`,
			want: `{"eventID":65,"webhookID":4,"eventType":"clusters_freed"}`,
		},
		"no extra and no id": {
			body: `{"eventID":66,"webhookID":4,"eventType":"clusters_freed"}`,
			want: `{"eventID":66,"webhookID":4,"eventType":"clusters_freed"}`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			p, err := Parse([]byte(tc.body))
			if err != nil {
				t.Fatal(err)
			}
			got, err := Render(&v1alpha1.WebhookEvent{Spec: p.Event}, p.WebhookID)
			if err != nil {
				t.Fatal(err)
			}
			want := tc.want
			if want == "" {
				want = strings.Replace(tc.body, fmt.Sprintf(`"id":%d,`, p.LogID), "", 1)
				want = strings.Replace(want, `,"extra":""}`, "}", 1)
			}
			if diff := cmp.Diff(want, string(got)); diff != "" {
				t.Errorf("body (-Horizon +got):\n%s", diff)
			}
		})
	}
}

func TestParseRefuses(t *testing.T) {
	for name, body := range map[string]string{
		"nothing":      "",
		"no JSON":      "eventID=1",
		"null":         "null",
		"a list":       "[]",
		"a text":       `"{}"`,
		"cut off":      `{"eventID":1`,
		"two objects":  `{"eventID":1}{"eventID":2}`,
		"text after":   `{"eventID":1} and more`,
		"a text as id": `{"eventID":"1"}`,
		"a fraction":   `{"eventID":1.5}`,
		"too large":    `{"eventID":9223372036854775808}`,
		"user's name":  `{"user":"Anna"}`,
	} {
		if p, err := Parse([]byte(body)); err == nil {
			t.Errorf("%s: parsed as %+v", name, p)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(documented))
	f.Add([]byte(`{"id":1,"extra":"\u2028","user":{"id":null},"unknown":[1]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		p, err := Parse(body)
		if err != nil {
			return
		}
		rendered, err := Render(&v1alpha1.WebhookEvent{Spec: p.Event}, p.WebhookID)
		if err != nil {
			t.Fatal(err)
		}
		again, err := Parse(rendered)
		if err != nil {
			t.Fatalf("%v of %s", err, rendered)
		}
		if p.LogID = 0; p.Event.EventID == 0 {
			p.Event.EventID = again.Event.EventID // derived from the uid
		}
		if diff := cmp.Diff(p, again); diff != "" {
			t.Errorf("(-parsed +parsed again):\n%s", diff)
		}
	})
}

func TestIDs(t *testing.T) {
	for name, tc := range map[string]struct {
		given int64
		uid   types.UID
		want  int64
	}{
		"Horizon's own":    {given: 78402, uid: "a3c1f1f0-5f0e-4a0c-9b52-6c8a1f5d2e11", want: 78402},
		"derived from uid": {uid: "a3c1f1f0-5f0e-4a0c-9b52-6c8a1f5d2e11", want: 2530729555544889},
		"another uid":      {uid: "a3c1f1f0-5f0e-4a0c-9b52-6c8a1f5d2e12", want: 2313926031313482},
	} {
		t.Run(name, func(t *testing.T) {
			e := &v1alpha1.WebhookEvent{Spec: v1alpha1.WebhookEventSpec{EventID: tc.given}}
			e.UID = tc.uid
			w := &v1alpha1.Webhook{Spec: v1alpha1.WebhookSpec{WebhookID: tc.given}}
			w.UID = tc.uid
			if got := EventID(e); got != tc.want {
				t.Errorf("EventID = %d, want %d", got, tc.want)
			}
			if got := WebhookID(w); got != tc.want {
				t.Errorf("WebhookID = %d, want %d", got, tc.want)
			}
		})
	}
}

func FuzzRender(f *testing.F) {
	f.Add(int64(1), int64(1), "test", "P0", "clusters_deployed", "{}")
	f.Add(int64(0), int64(1<<53-1), "<&>\u2028", "\x00\xff\"\\", "a_b", "")
	f.Fuzz(func(t *testing.T, id, webhookID int64, name, detail, eventType, extra string) {
		e := &v1alpha1.WebhookEvent{Spec: v1alpha1.WebhookEventSpec{
			EventID:     id,
			EventType:   eventType,
			Application: &v1alpha1.ApplicationInfo{ID: new(id), Name: name, Priority: detail},
			Pipelinerun: &v1alpha1.PipelinerunInfo{ID: new(id), ClusterID: id, Title: name, Description: detail},
			User:        &v1alpha1.UserInfo{ID: new(id), Name: name, Email: detail},
			Extra:       extra,
		}}
		e.UID = types.UID(name)
		data, err := Render(e, webhookID)
		if err != nil {
			t.Fatal(err)
		}
		if !utf8.Valid(data) {
			t.Errorf("not valid UTF-8: %q", data)
		}
		if strings.ContainsAny(string(data), "<>&\n\u2028\u2029") {
			t.Errorf("not escaped: %q", data)
		}
		// The API's types read back what was sent.
		var got struct {
			v1alpha1.WebhookEventSpec
			WebhookID int64 `json:"webhookID"`
		}
		if err := json.Unmarshal(data, &got); err != nil {
			t.Fatalf("not valid JSON: %v: %q", err, data)
		}
		want := e.DeepCopy().Spec
		want.EventID = EventID(e)
		for _, s := range []*string{
			&want.EventType, &want.Extra, &want.Application.Name, &want.Application.Priority, &want.Pipelinerun.Title,
			&want.Pipelinerun.Description, &want.User.Name, &want.User.Email,
		} {
			*s = string([]rune(*s)) // every invalid byte becomes U+FFFD
		}
		if diff := cmp.Diff(want, got.WebhookEventSpec); diff != "" {
			t.Errorf("round trip (-want +got):\n%s", diff)
		}
		if got.WebhookID != webhookID {
			t.Errorf("webhookID = %d, want %d", got.WebhookID, webhookID)
		}
	})
}

func FuzzDerivedID(f *testing.F) {
	f.Add("")
	f.Fuzz(func(t *testing.T, uid string) {
		if id := derivedID(types.UID(uid)); id < 1 || id > maxID {
			t.Errorf("derivedID(%q) = %d, want 1 to 2^53-1", uid, id)
		}
	})
}
