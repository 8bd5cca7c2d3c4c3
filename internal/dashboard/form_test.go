package dashboard

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	"sigs.k8s.io/yaml"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/insight"
	"github.com/horizoncd/webhook-operator/internal/matching"
)

// typedSecret is what is typed into the fields of secrets, and must never be shown.
const typedSecret = "s3cr3t-t0ken-of-the-receiver"

// specOf reads a spec as the API server sends it.
func specOf(t *testing.T, text string) map[string]any {
	t.Helper()
	spec := map[string]any{}
	if text == "" {
		return spec
	}
	if err := utiljson.Unmarshal([]byte(text), &spec); err != nil {
		t.Fatal(err)
	}
	return spec
}

// everything is a spec with all that the API has.
const everything = `{"url":"https://a/b","sslVerifyEnabled":false,"description":"two\nlines","triggers":["clusters_deleted","*"],
	"secretRef":{"name":"s","key":"k"},"signingSecretRef":{"name":"t","key":"l"},"state":"Paused","scope":"/music","webhookID":7,
	"timeoutSeconds":90,"retry":{"limit":0,"minBackoffSeconds":1,"maxBackoffSeconds":3600,"giveUpAfterSeconds":259200},"maxInFlight":3,
	"filter":"event.cluster.env == \"online\"","payload":{"format":"CloudEvents","template":"{\n\"a\": 1}\n"},
	"response":{"acceptIf":"response.statusCode == 200","giveUpIf":"true"},
	"retention":{"ttlSecondsAfterFinished":604800,"limit":0},"tls":{"caSecretRef":{"name":"ca","key":"ca.crt"}},"later":{"field":[1]}}`

// What a form shows says the same as the Webhook when it is sent back untouched, fields
// included that this program does not know.
func TestFormRoundTrip(t *testing.T) {
	for name, text := range map[string]string{
		"nothing":       ``,
		"least":         `{"url":"https://a","triggers":["*"]}`,
		"everything":    everything,
		"URL in Secret": `{"urlSecretRef":{"name":"room","key":"url"},"triggers":["cluster_deleted","clusters_deleted","later_type"]}`,
		"line breaks":   `{"description":"a\r\nb\nc"}`,
		"code":          `{"payload":{"format":"Horizon","template":"\n{\r\n\t\"a\": 1}\n\n"}}`,
	} {
		spec := specOf(t, text)
		in := inputOf(spec)
		if name == "line breaks" {
			in.Set("description", "a\r\nb\r\nc") // as a browser sends it
		}
		d := draftOf(in, spec)
		if len(d.mistakes) > 0 || len(d.typed) > 0 {
			t.Errorf("%s: %+v", name, d)
		}
		if diff := cmp.Diff(spec, d.spec); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// filled is a form with some inputs changed; an empty value takes one out.
func filled(base map[string]any, inputs ...string) input {
	in := inputOf(base)
	for i := 0; i < len(inputs); i += 2 {
		if in.Del(inputs[i]); inputs[i+1] != "" {
			in.Values[inputs[i]] = strings.Split(inputs[i+1], "|")
		}
	}
	return in
}

func TestDraft(t *testing.T) {
	const had = `{"url":"https://a","triggers":["*"],"sslVerifyEnabled":true,"state":"Enabled","timeoutSeconds":30,
		"retry":{"limit":10,"minBackoffSeconds":10},"secretRef":{"name":"s","key":"k"}}`
	for name, tc := range map[string]struct {
		base   string
		inputs []string
		want   string
		typed  map[string]string
		wrong  string
	}{
		"new": {``, []string{"url", "https://a", "triggers", "applications_created|cluster_deleted", "description", "x"},
			`{"url":"https://a","triggers":["applications_created","cluster_deleted"],"description":"x"}`, nil, ""},
		"no verification":    {``, []string{"sslVerify", ""}, `{"sslVerifyEnabled":false}`, nil, ""},
		"verification again": {`{"sslVerifyEnabled":false}`, []string{"sslVerify", "yes"}, `{"sslVerifyEnabled":true}`, nil, ""},
		"a filter":           {``, []string{"filter", "a\r\nb"}, `{"filter":"a\nb"}`, nil, ""},
		"a template":         {``, []string{"template", "{}", "format", "Horizon"}, `{"payload":{"template":"{}"}}`, nil, ""},
		"a format":           {``, []string{"format", "CloudEvents"}, `{"payload":{"format":"CloudEvents"}}`, nil, ""},
		"the usual format":   {`{"payload":{"format":"CloudEvents"}}`, []string{"format", "Horizon"}, `{"payload":{"format":"Horizon"}}`, nil, ""},
		"no template":        {`{"payload":{"format":"Horizon","template":"{}"}}`, []string{"template", ""}, `{"payload":{"format":"Horizon"}}`, nil, ""},
		"a rule instead":     {`{"response":{"acceptIf":"true"}}`, []string{"acceptIf", "", "giveUpIf", "false"}, `{"response":{"giveUpIf":"false"}}`, nil, ""},
		"no rules":           {`{"response":{"acceptIf":"true"}}`, []string{"acceptIf", ""}, `{}`, nil, ""},
		"paused":             {``, []string{"state", "Paused"}, `{"state":"Paused"}`, nil, ""},
		"defaults": {had, []string{"retryLimit", "", "retryMin", "", "timeout", ""},
			`{"url":"https://a","triggers":["*"],"sslVerifyEnabled":true,"state":"Enabled","secretRef":{"name":"s","key":"k"}}`, nil, ""},
		"numbers": {``, []string{"retryLimit", " 0 ", "timeout", "1m30s", "ttl", "2d", "webhookID", "7", "keep", "0"},
			`{"retry":{"limit":0},"timeoutSeconds":90,"retention":{"ttlSecondsAfterFinished":172800,"limit":0},"webhookID":7}`, nil, ""},
		"no number": {``, []string{"retryLimit", "many", "timeout", "1.5s", "webhookID", "7.0"}, `{}`, nil,
			"webhookID: it has to be a whole number; timeout: it has to be a time in whole seconds, such as 30s, 5m, 12h or 3d; retryLimit: it has to be a whole number"},
		"a token": {``, []string{"secret", typedSecret, "signing", "other-" + typedSecret},
			`{"secretRef":{"name":"*","key":"token"},"signingSecretRef":{"name":"*","key":"signing-key"}}`,
			map[string]string{"token": typedSecret, "signing-key": "other-" + typedSecret}, ""},
		"another token": {`{"secretRef":{"name":"s","key":"k"}}`, []string{"secret", typedSecret}, `{"secretRef":{"name":"*","key":"token"}}`,
			map[string]string{"token": typedSecret}, ""},
		"a token that exists": {``, []string{"secret-ref-name", "s"}, `{"secretRef":{"name":"s","key":"token"}}`, nil, ""},
		"token removed":       {`{"secretRef":{"name":"s","key":"k"}}`, []string{"secret-remove", "yes"}, `{}`, nil, ""},
		"name taken out":      {`{"secretRef":{"name":"s","key":"k"}}`, []string{"secret-ref-name", "", "secret-ref-key", ""}, `{}`, nil, ""},
		"removed and given": {`{"secretRef":{"name":"s","key":"k"}}`, []string{"secret-remove", "yes", "secret", typedSecret},
			`{"secretRef":{"name":"s","key":"k"}}`, nil, "secret: either remove it, or give another one"},
		"typed and named": {``, []string{"secret-ref-name", "s", "secret", typedSecret}, `{}`, nil,
			"secret: either type it, or name a Secret that has it; not both"},
		"a bad token": {``, []string{"secret", typedSecret + "\x01"}, `{}`, nil, "secret: byte 29 of the value is a control character, which a header cannot carry"},
		"typed again": {`{"secretRef":{"name":"s","key":"k"}}`, []string{"retype", "secret"}, `{"secretRef":{"name":"s","key":"k"}}`, nil, "secret: type it again: it is not shown"},
		"a secret URL": {`{"url":"https://a"}`, []string{"url", "https://a/" + typedSecret, "url-is-secret", "yes"}, `{"urlSecretRef":{"name":"*","key":"url"}}`,
			map[string]string{"url": "https://a/" + typedSecret}, ""},
		"a bad secret URL": {``, []string{"url", "https://a/ " + typedSecret, "url-is-secret", "yes"}, `{}`, nil,
			"url: the URL must percent-encode special characters: character 11 of 39 is a space"},
		"a plain URL again": {`{"urlSecretRef":{"name":"room","key":"url"}}`, []string{"url", "https://a", "url-is-secret", ""}, `{"url":"https://a"}`, nil, ""},
		"a URL that exists": {`{"url":"https://a"}`, []string{"url", "", "url-ref-name", "room"}, `{"urlSecretRef":{"name":"room","key":"url"}}`, nil, ""},
		"both URLs":         {`{"url":"https://a"}`, []string{"url-ref-name", "room"}, `{"url":"https://a"}`, nil, "url: either type it, or name a Secret that has it; not both"},
		"triggers in their order": {`{"triggers":["clusters_freed","clusters_deployed"]}`, []string{"triggers", "application_deleted|clusters_deployed|clusters_freed"},
			`{"triggers":["clusters_freed","clusters_deployed","application_deleted"]}`, nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			base := specOf(t, tc.base)
			before := clone(base)
			d := draftOf(filled(base, tc.inputs...), base)
			if diff := cmp.Diff(specOf(t, tc.want), d.spec); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			typed := map[string]string{}
			for key, value := range d.typed {
				typed[key] = string(value)
			}
			if want := tc.typed; len(want)+len(typed) > 0 && !cmp.Equal(want, typed) {
				t.Errorf("typed %v", typed)
			}
			var wrong []string
			for _, m := range d.mistakes {
				wrong = append(wrong, m.Field.ID+": "+m.Text)
			}
			if got := strings.Join(wrong, "; "); got != tc.wrong {
				t.Errorf("mistakes: %s", got)
			}
			if diff := cmp.Diff(before, base); diff != "" {
				t.Errorf("the base was changed (-want +got):\n%s", diff)
			}
			for _, m := range d.mistakes {
				if strings.Contains(m.Text, typedSecret) {
					t.Errorf("a mistake tells the secret: %s", m.Text)
				}
			}
		})
	}
}

func TestSeconds(t *testing.T) {
	for text, want := range map[string]int64{"30": 30, "30s": 30, "1m30s": 90, "12h": 43200, "3d": 259200, "-5": -5, "0": 0} {
		if got, err := parseSeconds(text); err != nil || got != want {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "d", "1.5s", "1.5d", "5ms", "x", "3 d", "99999999999d"} {
		if got, err := parseSeconds(text); err == nil {
			t.Errorf("%q: %v", text, got)
		}
	}
	for n, want := range map[int64]string{0: "0", 1: "1s", 90: "90s", 3600: "1h", 5400: "90m", 259200: "3d"} {
		got := formatSeconds(n)
		if back, err := parseSeconds(got); got != want || err != nil || back != n {
			t.Errorf("%d: %s, and back %v, %v", n, got, back, err)
		}
	}
}

// The form has all that triggers can name, the document's nine in its own words.
func TestTriggerGroups(t *testing.T) {
	var rows []triggerRow
	for _, g := range triggerGroups {
		rows = append(rows, g.Rows...)
	}
	for _, trigger := range matching.Triggers() {
		if n := len(slices.DeleteFunc(slices.Clone(rows), func(r triggerRow) bool { return !sameType(r.Type, string(trigger)) })); n != 1 {
			t.Errorf("%s is there %d times", trigger, n)
		}
	}
	if want := len(matching.Triggers()); len(rows) != want {
		t.Errorf("%d rows, want %d", len(rows), want)
	}
	if len(triggerGroups[0].Rows) != 9 {
		t.Errorf("the document has nine: %+v", triggerGroups[0].Rows)
	}
}

func TestTriggerRows(t *testing.T) {
	all := []string{"clusters_deleted", "cluster_deleted", "applications_deleted", "later_type", "members_*", "*"}
	groups := triggerRows([]string{"clusters_deleted", "members_*", "later_type"}, all)
	ticked := map[string]bool{}
	for _, g := range groups {
		for _, row := range g.Rows {
			if _, twice := ticked[row.Type]; twice {
				t.Errorf("%s is there twice", row.Type)
			}
			ticked[row.Type] = row.Ticked
		}
	}
	for trigger, want := range map[string]bool{
		"clusters_deleted": true, "cluster_deleted": false, "applications_deleted": false, "later_type": true, "members_*": true, "*": false,
		"applications_created": false,
	} {
		if got, ok := ticked[trigger]; !ok || got != want {
			t.Errorf("%s: ticked %t, there %t", trigger, got, ok)
		}
	}
	if _, ok := ticked["application_deleted"]; ok {
		t.Error("a trigger of the webhook lost its spelling")
	}
	for _, g := range groups {
		if g.ID == "families" && g.Folded || g.ID == "more" && !g.Folded {
			t.Errorf("%s is folded: %t", g.ID, g.Folded)
		}
	}
	if !triggerGroups[3].Folded {
		t.Error("the groups of all forms were changed")
	}
}

func TestMerge(t *testing.T) {
	const was = `{"url":"https://a","description":"x","triggers":["a","b"],"retry":{"limit":1,"minBackoffSeconds":10},"tls":{"x":1}}`
	for name, tc := range map[string]struct {
		theirs, yours, want  string
		byThem, byYou, clash []string
		otherwise            bool
	}{
		"nobody": {was, was, was, nil, nil, nil, false},
		"yours": {was, `{"url":"https://b","description":"x","triggers":["a","b"],"retry":{"limit":1,"minBackoffSeconds":10},"tls":{"x":1}}`,
			`{"url":"https://b","description":"x","triggers":["a","b"],"retry":{"limit":1,"minBackoffSeconds":10},"tls":{"x":1}}`, nil, []string{"url"}, nil, false},
		"theirs": {`{"url":"https://b","triggers":["a","b"],"retry":{"limit":1,"minBackoffSeconds":10},"tls":{"x":1}}`, was,
			`{"url":"https://b","triggers":["a","b"],"retry":{"limit":1,"minBackoffSeconds":10},"tls":{"x":1}}`, []string{"url", "description"}, nil, nil, false},
		"different fields": {`{"url":"https://a","description":"y","triggers":["a","b"],"retry":{"limit":2,"minBackoffSeconds":10},"tls":{"x":1}}`,
			`{"url":"https://a","description":"x","triggers":["a"],"retry":{"limit":1,"minBackoffSeconds":20},"tls":{"x":1}}`,
			`{"url":"https://a","description":"y","triggers":["a"],"retry":{"limit":2,"minBackoffSeconds":20},"tls":{"x":1}}`,
			[]string{"description", "retryLimit"}, []string{"triggers", "retryMin"}, nil, false},
		"the same field": {`{"url":"https://b","description":"y","triggers":["a","b"],"retry":{"limit":1,"minBackoffSeconds":10},"tls":{"x":1}}`,
			`{"url":"https://c","description":"x","triggers":["a","b"],"retry":{"limit":1,"minBackoffSeconds":10},"tls":{"x":1}}`,
			`{"url":"https://c","description":"y","triggers":["a","b"],"retry":{"limit":1,"minBackoffSeconds":10},"tls":{"x":1}}`,
			[]string{"description"}, nil, []string{"url"}, false},
		"of one mind": {`{"url":"https://b","description":"x","triggers":["a","b"],"retry":{"limit":1,"minBackoffSeconds":10},"tls":{"x":1}}`,
			`{"url":"https://b","description":"x","triggers":["a","b"],"retry":{"limit":1,"minBackoffSeconds":10},"tls":{"x":1}}`,
			`{"url":"https://b","description":"x","triggers":["a","b"],"retry":{"limit":1,"minBackoffSeconds":10},"tls":{"x":1}}`, nil, nil, nil, false},
		"a URL and a Secret with one": {`{"urlSecretRef":{"name":"r","key":"url"},"description":"x","triggers":["a","b"],"retry":{"limit":1,"minBackoffSeconds":10},"tls":{"x":1}}`,
			`{"url":"https://c","description":"x","triggers":["a","b"],"retry":{"limit":1,"minBackoffSeconds":10},"tls":{"x":1}}`,
			`{"url":"https://c","description":"x","triggers":["a","b"],"retry":{"limit":1,"minBackoffSeconds":10},"tls":{"x":1}}`, nil, nil, []string{"url"}, false},
		"the order of triggers": {`{"url":"https://a","description":"x","triggers":["b","a"],"retry":{"limit":1,"minBackoffSeconds":10},"tls":{"x":1}}`, was,
			`{"url":"https://a","description":"x","triggers":["b","a"],"retry":{"limit":1,"minBackoffSeconds":10},"tls":{"x":1}}`, nil, nil, nil, false},
		"beyond the form": {`{"url":"https://a","description":"x","triggers":["a","b"],"retry":{"limit":1,"minBackoffSeconds":10},"tls":{"x":2},"later":true}`,
			`{"url":"https://a","triggers":["a","b"],"retry":{"limit":1,"minBackoffSeconds":10},"tls":{"x":1}}`,
			`{"url":"https://a","triggers":["a","b"],"retry":{"limit":1,"minBackoffSeconds":10},"tls":{"x":2},"later":true}`, nil, []string{"description"}, nil, true},
		"all retries taken out": {was, `{"url":"https://a","description":"x","triggers":["a","b"],"tls":{"x":1}}`,
			`{"url":"https://a","description":"x","triggers":["a","b"],"tls":{"x":1}}`, nil, []string{"retryLimit", "retryMin"}, nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			m := merge(specOf(t, was), specOf(t, tc.theirs), specOf(t, tc.yours))
			if diff := cmp.Diff(specOf(t, tc.want), m.spec); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			ids := func(fields []*field) (all []string) {
				for _, f := range fields {
					all = append(all, f.ID)
				}
				return all
			}
			var clash []string
			for _, c := range m.conflicts {
				clash = append(clash, c.Field)
				if want := specOf(t, was); !fieldByID(c.Field).same(want, c.Was) {
					t.Errorf("%s was %v", c.Field, c.Was)
				}
			}
			if !cmp.Equal(ids(m.theirs), tc.byThem) || !cmp.Equal(ids(m.yours), tc.byYou) || !cmp.Equal(clash, tc.clash) || m.otherwise != tc.otherwise {
				t.Errorf("theirs %v, yours %v, conflicts %v, otherwise %t", ids(m.theirs), ids(m.yours), clash, m.otherwise)
			}
		})
	}
}

func TestChoose(t *testing.T) {
	b := &formBase{Spec: specOf(t, `{"url":"https://theirs","secretRef":{"name":"theirs","key":"k"},"description":"theirs"}`),
		Conflicts: []conflict{{"url", nil}, {"secret", nil}, {"description", nil}, {"nonsense", nil}}}
	in := filled(b.Spec, "url", "https://yours", "secret", typedSecret, "description", "yours", "choice-url", "theirs", "choice-secret", "theirs")
	d := draftOf(in, b.Spec)
	open := b.choose(d, in)
	if len(open) != 1 || open[0].ID != "description" {
		t.Errorf("undecided: %v", open)
	}
	want := specOf(t, `{"url":"https://theirs","secretRef":{"name":"theirs","key":"k"},"description":"yours"}`)
	if diff := cmp.Diff(want, d.spec); diff != "" || len(d.typed) > 0 {
		t.Errorf("typed %v (-want +got):\n%s", d.typed, diff)
	}
}

// The base goes to the browser and back as it was.
func TestBase(t *testing.T) {
	object := newObject("music", "a")
	object.SetUID("4ec9d3a2-0000-4000-8000-000000000001")
	object.SetGeneration(7)
	object.Object["spec"] = specOf(t, everything)
	b := baseOf(object)
	b.Conflicts = []conflict{{"url", specOf(t, `{"url":"https://was"}`)}}
	back, err := parseBase(b.text())
	if diff := cmp.Diff(b, back); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	if _, err := parseBase("{"); err == nil {
		t.Error("a form without its base was taken")
	}
}

func TestManifest(t *testing.T) {
	object := newObject("music", "a")
	object.SetLabels(map[string]string{"team": "music"})
	object.SetAnnotations(map[string]string{"note": "x", v1alpha1.AnnotationTest: "now", "kubectl.kubernetes.io/last-applied-configuration": "{}"})
	object.SetResourceVersion("12")
	object.SetUID("4ec9d3a2-0000-4000-8000-000000000001")
	object.Object["spec"] = specOf(t, `{"urlSecretRef":{"name":"r","key":"url"},"triggers":["*"],"retry":{"limit":1}}`)
	object.Object["status"] = map[string]any{"webhookID": int64(1)}
	text, err := manifestOf(object, specOf(t, `{"url":"https://a","triggers":["a"],"retry":{"limit":1,"minBackoffSeconds":10},"retention":{"limit":1}}`))
	if err != nil {
		t.Fatal(err)
	}
	const want = `apiVersion: horizoncd.io/v1alpha1
kind: Webhook
metadata:
  annotations:
    note: x
  labels:
    team: music
  name: a
  namespace: music
spec:
  retention: null
  retry:
    limit: 1
    minBackoffSeconds: null
  triggers:
  - '*'
  url: null
  urlSecretRef:
    key: url
    name: r
`
	if diff := cmp.Diff(want, text); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if spec, _, _ := unstructured.NestedMap(object.Object, "spec"); len(spec) != 3 {
		t.Errorf("the object was changed: %v", spec)
	}
	if err := yaml.Unmarshal([]byte(text), &map[string]any{}); err != nil {
		t.Error(err)
	}
}

// Expressions stand in block scalars where they have several lines or are long, and read back
// as they are.
func TestManifestBlocks(t *testing.T) {
	object := newObject("music", "a")
	const filter = `event.cluster.env == "online" && !event.user.email.endsWith("@bot") && event.application.priority in ["P0", "P1"]`
	object.Object["spec"] = map[string]any{
		"filter":   filter,
		"payload":  map[string]any{"format": "Horizon", "template": "{\n  \"text\": event.cluster.name,  \n\n\t\"more\": \"# \U0001f4a1\"\n}\n"},
		"response": map[string]any{"acceptIf": "response.json.?errcode.orValue(-1) == 0", "giveUpIf": "true ||\nfalse\n\n"},
	}
	text, err := manifestOf(object, nil)
	if err != nil {
		t.Fatal(err)
	}
	const want = `apiVersion: horizoncd.io/v1alpha1
kind: Webhook
metadata:
  name: a
  namespace: music
spec:
  filter: |-
    ` + filter + `
  payload:
    format: Horizon
    template: |
      {
        "text": event.cluster.name,  

      	"more": "# 💡"
      }
  response:
    acceptIf: response.json.?errcode.orValue(-1) == 0
    giveUpIf: |+
      true ||
      false

`
	if diff := cmp.Diff(strings.ReplaceAll(want, `\U0001f4a1`, "\U0001f4a1"), text); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for _, code := range []string{
		"a\nb", "a\nb\n", "a\n\n\n", "\na", " a\nb", "\ta\nb", "a\n  \nb", "a\n   ", "a \n", "a\r\nb", "a\r", "a\u2028b\n", "a\n\ufeff", "a\n# b", "a\n--- c", "---\na",
		"a\n...\nb", "%a\nb", "a: |-\n  b", "a\n\x00", "a\n\u0085", "a\n\u00a0", strings.Repeat("x ", 60), strings.Repeat("é", 90) + " ", "'\n\"", "&a\n*b", "\x7f\ta\n", "\n", "\n\n",
	} {
		object.Object["spec"] = map[string]any{"filter": code, "payload": map[string]any{"template": code + code}, "description": code, "z": "last"}
		text, err := manifestOf(object, nil)
		if err != nil {
			t.Fatal(err)
		}
		var back map[string]any
		if err := yaml.UnmarshalStrict([]byte(text), &back); err != nil {
			t.Errorf("%q: %v\n%s", code, err, text)
			continue
		}
		if diff := cmp.Diff(object.Object["spec"], back["spec"]); diff != "" {
			t.Errorf("%q (-want +got):\n%s\n%s", code, diff, text)
		}
	}
}

// Each type has a sample that a Webhook for it follows, whatever its scope is; that of an
// application is the document's example.
func TestSamples(t *testing.T) {
	now := time.Date(2026, 11, 29, 9, 0, 0, 0, time.UTC)
	for _, eventType := range sampleTypes() {
		for _, scope := range []string{"", "/", "/music", "/music/"} {
			w := &v1alpha1.Webhook{Spec: v1alpha1.WebhookSpec{URL: "https://a", Scope: scope, Triggers: []v1alpha1.Trigger{v1alpha1.Trigger(eventType)}}}
			w.Namespace, w.CreationTimestamp = "music", metav1.NewTime(now.Add(time.Hour))
			p := previewOf(w, sampleEvent("music", firstType(w.Spec.Triggers), scope), insight.DefaultSystemNamespace, now)
			if p.Missing != "" || p.Outcome != insight.Sent {
				t.Errorf("%s in %q: %+v", eventType, scope, p)
			}
		}
	}
	w := &v1alpha1.Webhook{Spec: v1alpha1.WebhookSpec{URL: "https://a", Triggers: []v1alpha1.Trigger{"*"}}}
	w.Namespace = "music"
	p := previewOf(w, sampleEvent("music", firstType(w.Spec.Triggers), ""), insight.DefaultSystemNamespace, now)
	const want = `{"eventID":1,"webhookID":1,"application":{"id":1,"name":"test","priority":"P0"},"eventType":"applications_created","user":{"id":1,"name":"test","email":"test@noreply.com"}}`
	if p.Body != want {
		t.Errorf("got %s", p.Body)
	}
}

func TestFirstType(t *testing.T) {
	for want, triggers := range map[string][]v1alpha1.Trigger{
		"applications_created": {"*"}, "clusters_freed": {"*", "clusters_freed"}, "cluster_created": {"clusters_*", "members_created"},
		"members_created": {"member_*"}, "cluster_deleted": {"cluster_deleted"},
	} {
		if got := firstType(triggers); got != want {
			t.Errorf("%v: %s", triggers, got)
		}
	}
}

// Every field of a Webhook's spec leads to a field of the form when something is wrong with it.
func TestFieldAt(t *testing.T) {
	for path, want := range map[string]string{
		"metadata.name": "name", "spec.url": "url", "spec.urlSecretRef.name": "url", "spec.tls": "url", "spec.triggers[3]": "triggers",
		"spec.triggers": "triggers", "spec.secretRef": "secret", "spec.secretRef.key": "secret", "spec.signingSecretRef.name": "signing",
		"spec.retry": "retryMin", "spec.retry.limit": "retryLimit", "spec.retention.limit": "keep", "spec.retention": "ttl", "spec.webhookID": "webhookID",
		"spec.filter": "filter", "spec.payload": "format", "spec.payload.template": "template", "spec.response": "acceptIf", "spec.response.giveUpIf": "giveUpIf",
	} {
		if f := fieldAt(path); f == nil || f.ID != want {
			t.Errorf("%s: %+v", path, f)
		}
	}
	for _, path := range []string{"", "spec", "spec.later", "status"} {
		if f := fieldAt(path); f != nil {
			t.Errorf("%s: %s", path, f.ID)
		}
	}
}

func TestWithoutValue(t *testing.T) {
	for message, want := range map[string]string{
		`"ftp: //a": url must be absolute: it starts`: "url must be absolute: it starts",
		"99999: it should be less":                    "it should be less",
		"Required value":                              "Required value",
		`"a" b`:                                       `"a" b`,
		"tls is for https: change":                    "tls is for https: change",
	} {
		if got := withoutValue(message); got != want {
			t.Errorf("%q: %q", message, got)
		}
	}
}

// A form's page never has what was typed into the field of a secret, wherever that went.
func TestSecretsAreNotShown(t *testing.T) {
	for _, inputs := range [][]string{
		{"secret", typedSecret},
		{"secret", typedSecret + "\x01"},
		{"signing", "whsec_" + typedSecret},
		{"url", "https://a/" + typedSecret, "url-is-secret", "yes"},
		{"url", "https://a b/" + typedSecret, "url-is-secret", "yes"},
		{"secret", typedSecret, "secret-ref-name", "other", "secret-remove", "yes"},
	} {
		in := filled(map[string]any{}, inputs...)
		f := &form{create: true, in: in, base: &formBase{Spec: map[string]any{}}, posted: true, request: &request{}}
		f.draft = draftOf(in, nil)
		for _, g := range fieldGroups {
			v := f.group(g)
			text, err := json.Marshal(v)
			if err != nil {
				t.Fatal(err)
			}
			if strings.Contains(string(text), typedSecret) {
				t.Errorf("%v: %s", inputs, text)
			}
		}
		text, err := json.Marshal(f.specWith("made"))
		if err != nil || strings.Contains(string(text), typedSecret) {
			t.Errorf("%v: %v, %s", inputs, err, text)
		}
	}
}

// What is valid and may not be meant is told beside its field, as lint tells it.
func TestOddities(t *testing.T) {
	in := inputOf(map[string]any{
		"url": "http://ci.example.com/hooks", "scope": "/music/", "triggers": []any{"*", "clusters_deployed"},
		"secretRef": map[string]any{"name": "a", "key": "token"},
	})
	f := &form{request: &request{}, base: &formBase{Spec: map[string]any{}}, in: in}
	f.draft = draftOf(in, map[string]any{"secretRef": map[string]any{"name": "a", "key": "token"}})
	for id, want := range map[string]string{
		"url": "the token of secretRef goes over the network as it is", "scope": "the slash at its end", "triggers": "it follows everything",
		"description": "",
	} {
		got := f.oddity(fieldByID(id))
		if want == "" && got != "" || !strings.Contains(got, want) {
			t.Errorf("%s: %q, want %q", id, got, want)
		}
	}
}
