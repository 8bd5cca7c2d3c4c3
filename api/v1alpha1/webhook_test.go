package v1alpha1_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	applyv1alpha1 "github.com/horizoncd/webhook-operator/api/v1alpha1/applyconfiguration/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/receiverurl"
)

// What the server says of a URL, in the words of the CRD.
const (
	notAbsolute  = "url must be absolute: it starts with http:// or https:// and a host, such as https://ci.example.com/hooks/horizon"
	notEncoded   = "url must percent-encode special characters"
	withUserInfo = "url must not contain a user name or password: put the receiver's token into a Secret and name it in secretRef"
	badHost      = "url must name a host"
	withZone     = "url must not have a zone (%…) in its IPv6 address: it means nothing to another machine"
	withMapped   = "url must have an IPv4 address as it is: 192.0.2.1, not [::ffff:192.0.2.1]"
	badPort      = "url must have a port from 1 to 65535"
	withFragment = "url must not have a fragment (#…): it is never sent"
	tooShort     = "at least 1 chars long"
	tooLong      = "may not be more than 2048"
)

// at is what the server says of a character of a URL.
func at(character, of int, what string) string {
	return fmt.Sprintf("url must percent-encode special characters: character %d of %d is %s", character, of, what)
}

func TestWebhookURL(t *testing.T) {
	tests := map[string]struct {
		url  any
		want []string // empty: accepted
	}{
		"documented":                     {url: "https://ci.example.com/hooks/horizon?team=music%20ops"},
		"http":                           {url: "http://localhost"},
		"upper case":                     {url: "HTTPS://CI.EXAMPLE.COM/HOOKS"},
		"every character that may stand": {url: "https://ci.example.com/a-._~!$&'()*+,;=:@%2F/[b]?c=d&e[]=/?:@"},
		"single label and underscore":    {url: "http://ci_1/hooks"},
		"trailing dot":                   {url: "https://ci.example.com./hooks"},
		"punycode":                       {url: "https://xn--bcher-kva.example/hooks"},
		"query without path":             {url: "https://ci.example.com?team=music"},
		"IPv4":                           {url: "http://192.0.2.1:8080/"},
		"IPv6":                           {url: "https://[2001:db8::1]/hooks"},
		"IPv6 and port":                  {url: "https://[2001:db8::1]:8443/hooks"},
		"IPv6 with a dotted end":         {url: "http://[64:ff9b::192.0.2.1]"},
		"lowest port":                    {url: "http://ci.example.com:1"},
		"highest port":                   {url: "http://ci.example.com:65535/"},
		"port with zeros in front":       {url: "http://ci.example.com:0080/"},
		"at sign in the path":            {url: "https://ci.example.com/@music/hooks"},
		"at sign in the query":           {url: "https://ci.example.com?to=ops@example.com"},
		"colon and digits in the path":   {url: "https://ci.example.com/a:99999/b"},
		"as long as allowed":             {url: "https://ci.example.com/" + strings.Repeat("a", 2048-len("https://ci.example.com/"))},
		"empty":                          {url: "", want: []string{tooShort, notAbsolute}},
		"missing":                        {url: remove},
		"number":                         {url: int64(7), want: []string{`must be of type string: "integer"`}},
		"relative":                       {url: "hooks/horizon", want: []string{notAbsolute}},
		"without scheme":                 {url: "ci.example.com/hooks", want: []string{notAbsolute}},
		"scheme-relative":                {url: "//ci.example.com/hooks", want: []string{notAbsolute}},
		"path":                           {url: "/abs", want: []string{notAbsolute}},
		"file":                           {url: "file:///etc/passwd", want: []string{notAbsolute}},
		"gopher":                         {url: "gopher://ci.example.com:70/1", want: []string{notAbsolute}},
		"ftp":                            {url: "ftp://ci.example.com/", want: []string{notAbsolute}},
		"javascript":                     {url: "javascript:alert(1)", want: []string{notAbsolute}},
		"scheme in front":                {url: "javascript:https://ci.example.com/", want: []string{notAbsolute}},
		"scheme misspelt":                {url: "httpss://ci.example.com/", want: []string{notAbsolute}},
		"one slash":                      {url: "https:/ci.example.com/", want: []string{notAbsolute}},
		"no host":                        {url: "https://", want: []string{notAbsolute}},
		"no host but a path":             {url: "https:///hooks", want: []string{notAbsolute}},
		"no host but a query":            {url: "https://?a=b", want: []string{notAbsolute}},
		"no host but a port":             {url: "https://:443/", want: []string{badHost}},
		"space in front":                 {url: " https://ci.example.com/", want: []string{at(1, 24, "a space: write %20, or take it out")}},
		"BOM in front":                   {url: "\ufeffhttps://ci.example.com/", want: []string{at(1, 24, "a byte order mark (BOM): take it out")}},
		"BOM inside":                     {url: "https://ci.example.com/\ufeffhooks", want: []string{at(24, 29, "a byte order mark (BOM): take it out")}},
		"zero-width space in front":      {url: "\u200bhttps://ci.example.com/", want: []string{at(1, 24, "a zero-width space: take it out")}},
		"no-break space at the end":      {url: "https://ci.example.com/\u00a0", want: []string{at(24, 24, "a no-break space: take it out")}},
		"line feed in front":             {url: "\nhttps://ci.example.com/", want: []string{at(1, 24, "a line feed: take it out")}},
		"escape":                         {url: "https://ci.example.com/\x1b[0m", want: []string{at(24, 27, "a control character: take it out")}},
		"DEL":                            {url: "https://ci.example.com/\x7f", want: []string{at(24, 24, "a control character: take it out")}},
		"after a character beyond ASCII": {url: "https://ci.example.com/%C3%A9/é x", want: []string{at(31, 33, "not ASCII: encode it")}},
		"in quotes":                      {url: `"https://ci.example.com/"`, want: []string{notAbsolute, at(1, 25, `"`)}},
		"space in the path":              {url: "https://ci.example.com/music ops", want: []string{at(29, 32, "a space: write %20, or take it out")}},
		"space in the query":             {url: "https://ci.example.com/?team=music ops", want: []string{notEncoded}},
		"space in the host":              {url: "https://ci example.com/", want: []string{notEncoded}},
		"space at the end":               {url: "https://ci.example.com/ ", want: []string{at(24, 24, "a space: write %20, or take it out")}},
		"line break at the end":          {url: "https://ci.example.com/\n", want: []string{at(24, 24, "a line feed: take it out")}},
		"line break inside":              {url: "https://ci.example.com/\r\nX-Other:%201", want: []string{at(24, 37, "a carriage return: take it out")}},
		"tabulator":                      {url: "https://ci.example.com/\t", want: []string{at(24, 24, "a tab: take it out")}},
		"NUL":                            {url: "https://ci.example.com/\x00", want: []string{at(24, 24, "a control character: take it out")}},
		"quotes":                         {url: `https://ci.example.com/"music"`, want: []string{notEncoded}},
		"angle brackets":                 {url: "https://ci.example.com/<x>", want: []string{notEncoded}},
		"braces":                         {url: "https://ci.example.com/{team}", want: []string{at(24, 29, "{")}},
		"backslash":                      {url: `https://ci.example.com\hooks`, want: []string{notEncoded}},
		"backslash before an at sign":    {url: `https://ci.example.com\@other.example.com/`, want: []string{notEncoded, withUserInfo}},
		"beyond ASCII in the path":       {url: "https://ci.example.com/músic", want: []string{notEncoded}},
		"beyond ASCII in the host":       {url: "https://bücher.example/", want: []string{notEncoded}},
		"full-width digits":              {url: "https://１２７.0.0.1/", want: []string{notEncoded}},
		"percent sign alone":             {url: "https://ci.example.com/100%", want: []string{at(27, 27, "a percent sign: write %25")}},
		"percent sign and one digit":     {url: "https://ci.example.com/%2", want: []string{notEncoded}},
		"percent sign and other letters": {url: "https://ci.example.com/%zz", want: []string{notEncoded}},
		"percent-encoded host":           {url: "https://ci%2Eexample.com/", want: []string{badHost}},
		"user name":                      {url: "https://me@ci.example.com/", want: []string{withUserInfo}},
		"user name and password":         {url: "https://me:secret@ci.example.com/", want: []string{withUserInfo}},
		"empty user name":                {url: "https://@ci.example.com/", want: []string{withUserInfo}},
		"user name that looks like host": {url: "https://ci.example.com:443@other.example.com/", want: []string{withUserInfo}},
		"fragment":                       {url: "https://ci.example.com/hooks#music", want: []string{withFragment}},
		"empty fragment":                 {url: "https://ci.example.com/hooks#", want: []string{withFragment}},
		"fragment before an at sign":     {url: "https://ci.example.com#@other.example.com/", want: []string{withFragment}},
		"port 0":                         {url: "https://ci.example.com:0/", want: []string{badPort}},
		"port 65536":                     {url: "https://ci.example.com:65536/", want: []string{badPort}},
		"port 99999":                     {url: "https://ci.example.com:99999", want: []string{badPort}},
		"port of many digits":            {url: "https://ci.example.com:184467440737095516160/", want: []string{badPort}},
		"port 0 before a query":          {url: "https://ci.example.com:0?a=b", want: []string{badPort}},
		"port 0 after IPv6":              {url: "https://[2001:db8::1]:0/", want: []string{badPort}},
		"port abc":                       {url: "https://ci.example.com:abc/", want: []string{badHost}},
		"port -1":                        {url: "https://ci.example.com:-1/", want: []string{badHost}},
		"empty port":                     {url: "https://ci.example.com:/", want: []string{badHost}},
		"two ports":                      {url: "https://ci.example.com:80:80/", want: []string{badHost}},
		"host of other characters":       {url: "https://ci,example.com/", want: []string{badHost}},
		"host of dots":                   {url: "https://../hooks", want: []string{badHost}},
		"IPv6 without brackets":          {url: "https://2001:db8::1/", want: []string{badHost}},
		"IPv6 with half a bracket":       {url: "https://[2001:db8::1/", want: []string{badHost}},
		"IPv6 with a zone":               {url: "https://[fe80::1%25eth0]/", want: []string{withZone}},
		"zone of loopback":               {url: "https://[::1%25lo]/", want: []string{withZone}},
		"zone that is not encoded":       {url: "http://[fe80::1%eth0]:8080/", want: []string{withZone}},
		"empty zone":                     {url: "http://[fe80::1%25]/", want: []string{withZone}},
		"mapped IPv4 with a zone":        {url: "http://[::ffff:192.0.2.1%25lo]/", want: []string{withZone}},
		"brackets around nothing":        {url: "https://[]/", want: []string{badHost}},
		"brackets around a number":       {url: "https://[1]/", want: []string{badHost}},
		"brackets around IPv4":           {url: "https://[192.0.2.1]/", want: []string{badHost}},
		"brackets around mapped IPv4":    {url: "https://[::ffff:192.0.2.1]/", want: []string{withMapped}},
		"mapped IPv4 in hexadecimal":     {url: "https://[::FFFF:c000:201]:8443/", want: []string{withMapped}},
		"mapped IPv4 in full":            {url: "https://[0:0:0:0:0:ffff:192.0.2.1]/", want: []string{withMapped}},
		"mapped IPv4 with zeros":         {url: "https://[0000:0:0::ffff:c000:0201]/", want: []string{withMapped}},
		"translated IPv4":                {url: "https://[::ffff:0:c000:201]/"},
		"brackets around too much":       {url: "https://[1:2:3:4:5:6:7:8:9]/", want: []string{badHost}},
		"text after brackets":            {url: "https://[2001:db8::1]x/", want: []string{badHost}},
		"one character longer than that": {url: "https://ci.example.com/" + strings.Repeat("a", 2049-len("https://ci.example.com/")), want: []string{tooLong}},
		"2 MiB":                          {url: "https://ci.example.com/" + strings.Repeat("a", 2<<20), want: []string{tooLong}},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			want := map[string][]string{"spec.url": tc.want}
			switch {
			case tc.url == remove:
				want = map[string][]string{"spec": {"url is required: the absolute address that events are posted to, such as https://ci.example.com/hooks/horizon"}}
			case len(tc.want) == 0:
				want = nil
			}
			_, err := tryCreate(t, webhooks, fields{"spec.url": tc.url})
			checkComplaints(t, err, want)

			// The server does not see what is in a Secret: the operator holds a URL
			// there to the same rules, but for a line break at its end.
			text, ok := tc.url.(string)
			if !ok {
				return
			}
			text = strings.TrimRight(text, "\r\n")
			_, err = tryCreate(t, webhooks, fields{"spec.url": text})
			_, _, inSecret := receiverurl.Parse([]byte(text))
			if (err == nil) != (inSecret == nil) {
				t.Fatalf("in a Secret: %v, in the spec: %v", inSecret, err)
			}
			if err == nil || text == "" || len(text) > receiverurl.MaxLen {
				return
			}
			// In the same words, but for an example and for the character itself.
			words := strings.Replace(inSecret.Error(), "the URL", "url", 1)
			for _, shown := range []string{"a space", "a special character", "NUL", "not ASCII"} {
				words = strings.TrimSuffix(words, shown)
			}
			words = strings.TrimSuffix(words, "spec.secretRef")
			if !slices.ContainsFunc(complaints(err), func(c complaint) bool { return strings.Contains(c.message, words) }) {
				t.Errorf("in a Secret: %v, in the spec: %v", inSecret, err)
			}
		})
	}
}

func TestWebhookURLSecretRef(t *testing.T) {
	ref := func(name, key any) fields {
		return fields{"spec.url": remove, "spec.urlSecretRef": map[string]any{"name": name, "key": key}}
	}
	inputs{
		"instead of url": {set: ref("chat", "url")},
		"beside url": {
			set:  fields{"spec.urlSecretRef": map[string]any{"name": "chat", "key": "url"}},
			want: map[string][]string{"spec": {"url and urlSecretRef exclude each other: take one of them out; where the manifest has one only, another field manager owns the other"}},
		},
		"null": {
			set:  fields{"spec.url": remove, "spec.urlSecretRef": nil},
			want: map[string][]string{"spec": {"or urlSecretRef, where the address is a secret itself"}},
		},
		"of another namespace": {set: ref("ops/chat", "url"), want: map[string][]string{"spec.urlSecretRef.name": {"name must be the plain name of a Secret in the Webhook's own namespace"}}},
		"key with a slash":     {set: ref("chat", "a/b"), want: map[string][]string{"spec.urlSecretRef.key": {"key must be a key of the Secret's data"}}},
		"without key": {
			set:  fields{"spec.url": remove, "spec.urlSecretRef": map[string]any{"name": "chat"}},
			want: map[string][]string{"spec.urlSecretRef.key": {"Required value"}},
		},
	}.test(t, webhooks)
}

func TestWebhookTLS(t *testing.T) {
	const (
		plainName   = "name must be the plain name of an object in the Webhook's own namespace; to use one of another namespace, copy it here"
		plainSecret = "name must be the plain name of a Secret in the Webhook's own namespace; to use a Secret of another namespace, copy it here"
		plainKey    = "key must be a key of the object's data: letters, digits, '-', '_' and '.'"
		forHTTPS    = "tls is for https, and url begins with http://: change url, or take tls out"
	)
	ca := map[string]any{"name": "private-ca"}
	of := func(name, key any) map[string]any { return map[string]any{"name": name, "key": key} }
	inputs{
		"nothing":                       {set: fields{"spec.tls": map[string]any{}}},
		"null":                          {set: fields{"spec.tls": nil}},
		"authorities in a Secret":       {set: fields{"spec.tls.caSecretRef": ca}},
		"authorities in a ConfigMap":    {set: fields{"spec.tls.caConfigMapRef": of("private-ca", "bundle.pem")}},
		"a client certificate":          {set: fields{"spec.tls.clientCertSecretRef": map[string]any{"name": "client"}}},
		"authorities and certificate":   {set: fields{"spec.tls.caSecretRef": ca, "spec.tls.clientCertSecretRef": map[string]any{"name": "client"}}},
		"with a URL of a Secret":        {set: fields{"spec.tls.caSecretRef": ca, "spec.url": remove, "spec.urlSecretRef": of("chat", "url")}},
		"not verified":                  {set: fields{"spec.tls.caSecretRef": ca, "spec.sslVerifyEnabled": false}},
		"for HTTPS in capitals":         {set: fields{"spec.tls.caSecretRef": ca, "spec.url": "HTTPS://ci.example.com/"}},
		"authorities of either kind":    {set: fields{"spec.tls.caSecretRef": ca, "spec.tls.caConfigMapRef": ca}, want: map[string][]string{"spec.tls": {"caSecretRef and caConfigMapRef exclude each other: take one of them out"}}},
		"for http":                      {set: fields{"spec.tls.caSecretRef": ca, "spec.url": "http://ci.example.com/"}, want: map[string][]string{"spec": {forHTTPS}}},
		"for HTTP in capitals":          {set: fields{"spec.tls.caSecretRef": ca, "spec.url": "HTTP://ci.example.com/"}, want: map[string][]string{"spec": {forHTTPS}}},
		"for another scheme":            {set: fields{"spec.tls.caSecretRef": ca, "spec.url": "ftp://ci.example.com/"}, want: map[string][]string{"spec.url": {notAbsolute}}},
		"Secret of another namespace":   {set: fields{"spec.tls.caSecretRef": of("ops/ca", "ca.crt")}, want: map[string][]string{"spec.tls.caSecretRef.name": {plainName}}},
		"bundle without a name":         {set: fields{"spec.tls.caConfigMapRef": map[string]any{"key": "ca.crt"}}, want: map[string][]string{"spec.tls.caConfigMapRef.name": {"Required value"}}},
		"bundle with an empty key":      {set: fields{"spec.tls.caConfigMapRef": of("ca", "")}, want: map[string][]string{"spec.tls.caConfigMapRef.key": {tooShort, plainKey}}},
		"bundle with a slash in it":     {set: fields{"spec.tls.caConfigMapRef": of("ca", "a/b")}, want: map[string][]string{"spec.tls.caConfigMapRef.key": {plainKey}}},
		"client of another namespace":   {set: fields{"spec.tls.clientCertSecretRef": map[string]any{"name": "ops/client"}}, want: map[string][]string{"spec.tls.clientCertSecretRef.name": {plainSecret}}},
		"client without a name":         {set: fields{"spec.tls.clientCertSecretRef": map[string]any{}}, want: map[string][]string{"spec.tls.clientCertSecretRef.name": {"Required value"}}},
		"client with a name too long":   {set: fields{"spec.tls.clientCertSecretRef": map[string]any{"name": strings.Repeat("a", 254)}}, want: map[string][]string{"spec.tls.clientCertSecretRef.name": {"may not be more than 253"}}},
		"bundle with a name too long":   {set: fields{"spec.tls.caSecretRef": of(strings.Repeat("a", 254), "ca.crt")}, want: map[string][]string{"spec.tls.caSecretRef.name": {"may not be more than 253"}}},
		"bundle with a name in capital": {set: fields{"spec.tls.caSecretRef": of("CA", "ca.crt")}, want: map[string][]string{"spec.tls.caSecretRef.name": {plainName}}},
	}.test(t, webhooks)
}

// documentedTypes are the event types of Horizon's user documentation.
var documentedTypes = []string{
	"applications_created", "application_deleted", "application_transferred",
	"cluster_created", "cluster_deleted", "clusters_builddeployed", "clusters_deployed", "clusters_rollbacked",
	"clusters_freed",
}

// emittedTypes are those that Horizon's code sends, and clusters_restarted as
// it ought to be spelt.
var emittedTypes = []string{
	"applications_created", "applications_updated", "applications_deleted", "applications_transferred",
	"clusters_created", "clusters_updated", "clusters_deleted", "clusters_builddeployed", "clusters_deployed",
	"clusters_rollbacked", "clusters_rescheduled", "clusters_freed", "clusters_kubernetes_event", "clusters_action",
	"clsuters_restarted", "clusters_restarted",
	"members_created", "members_updated", "members_deleted",
	"pipelineruns_created", "pipelineruns_cancelled", "pipelineruns_executed",
}

// Every event type can be followed in either number, and so can every family. That
// there are no others is what internal/matching tests.
func TestWebhookTriggersKnown(t *testing.T) {
	triggers := map[string]bool{string(v1alpha1.TriggerAny): true}
	types := slices.Concat(documentedTypes, emittedTypes)
	for _, typ := range slices.Concat(types, []string{"applications_*", "clusters_*", "members_*", "pipelineruns_*"}) {
		triggers[typ] = true
		resource, what, _ := strings.Cut(typ, "_")
		if resource == "clsuters" {
			continue // a slip of the pen has no second spelling
		}
		singular := strings.TrimSuffix(resource, "s")
		triggers[singular+"_"+what] = true
		triggers[singular+"s_"+what] = true
	}
	var all []any
	for trigger := range triggers {
		all = append(all, trigger)
		if _, err := tryCreate(t, webhooks, fields{"spec.triggers": []any{trigger}}); err != nil {
			t.Errorf("%s is refused: %v", trigger, err)
		}
	}
	if _, err := tryCreate(t, webhooks, fields{"spec.triggers": all}); err != nil {
		t.Errorf("all of them together are refused: %v", err)
	}
}

// A trigger that is not there is refused in one line, which names the nearest one.
func TestWebhookTriggersMisspelt(t *testing.T) {
	const everything = `"*", which follows any`
	for trigger, want := range map[string]string{
		"clusters_deplyed":                 "clusters_deployed",
		"clusters_delpoyed":                "clusters_deployed",
		"clusters_deploy":                  "clusters_deployed",
		"Clusters_Deployed":                "clusters_deployed",
		" clusters_deployed":               "clusters_deployed",
		"clusters_deployed ":               "clusters_deployed",
		"clusters_deployed\n":              "clusters_deployed",
		"clusters_deployed\x1b[0m":         "clusters_deployed",
		"clusters-deployed":                "clusters_deployed",
		"applications_deployed":            "clusters_deployed",
		"*_deployed":                       "clusters_deployed",
		"cluster_build":                    "clusters_builddeployed",
		"clusters_builddepolyed":           "clusters_builddeployed",
		"clusters_rollback":                "clusters_rollbacked",
		"cluster_rolledback":               "clusters_rollbacked",
		"clsuters_deleted":                 "clusters_deleted",
		"clsuter_restarted":                "clusters_restarted",
		"clusters_reschedule":              "clusters_rescheduled",
		"clusters_feed":                    "clusters_*",
		"lcusters_craeted":                 "clusters_created",
		"clusters_updtaed":                 "clusters_updated",
		"application_transfered":           "applications_transferred",
		"aplications_deleted":              "applications_deleted",
		"mebmers_created":                  "members_created",
		"pipelineruns_canceled":            "pipelineruns_cancelled",
		"pipelinerun_excuted":              "pipelineruns_executed",
		"pipelineruns_deleted":             "pipelineruns_*", // there is none
		"clusters_k8s_event":               "clusters_kubernetes_event",
		"clusters_actions":                 "clusters_action",
		"clusters_":                        "clusters_*",
		"clusters":                         "clusters_*",
		"cluster*":                         "clusters_*",
		"CLUSTERS_*":                       "clusters_*",
		"clusters_**":                      "clusters_*",
		"clsuters_*":                       "clusters_*",
		"clusters_stopped":                 "clusters_*",
		"app_*":                            "applications_*",
		"*_*":                              everything,
		"**":                               everything,
		".*":                               everything,
		"all":                              everything,
		"":                                 everything,
		" ":                                everything,
		"groups_created":                   everything,
		"clusters_deployed,clusters_freed": "a list with one type to an item", // as Horizon stores them
		"*, clusters_freed":                "a list with one type to an item",
	} {
		t.Run(trigger, func(t *testing.T) {
			_, err := tryCreate(t, webhooks, fields{"spec.triggers": []any{"members_created", trigger}})
			checkComplaints(t, err, map[string][]string{"spec.triggers[1]": {
				"not an event type: did you mean " + want + "? kubectl explain webhook.spec.triggers lists all",
			}})
		})
	}
}

func TestWebhookTriggers(t *testing.T) {
	const none = `triggers must name at least one event type, such as clusters_deployed, or "*" for every event`
	inputs{
		"any":              {set: fields{"spec.triggers": []any{"*"}}},
		"any and one":      {set: fields{"spec.triggers": []any{"*", "clusters_deployed"}}},
		"both spellings":   {set: fields{"spec.triggers": []any{"cluster_deleted", "clusters_deleted"}}},
		"family and one":   {set: fields{"spec.triggers": []any{"clusters_*", "clusters_deployed"}}},
		"family, singular": {set: fields{"spec.triggers": []any{"cluster_*"}}},
		"empty": {
			set:  fields{"spec.triggers": []any{}},
			want: map[string][]string{"spec.triggers": {"at least 1 items", none}},
		},
		"missing": {
			set:  fields{"spec.triggers": remove},
			want: map[string][]string{"spec.triggers": {"Required value"}},
		},
		"long": {
			set:  fields{"spec.triggers": []any{strings.Repeat("a", 129)}},
			want: map[string][]string{"spec.triggers[0]": {"may not be more than 128"}},
		},
		"text": {
			set:  fields{"spec.triggers": "clusters_deployed"},
			want: map[string][]string{"spec.triggers": {`must be of type array: "string"`}},
		},
		"twice": {
			set:  fields{"spec.triggers": []any{"clusters_deployed", "clusters_deployed"}},
			want: map[string][]string{"spec.triggers[1]": {`Duplicate value: "clusters_deployed"`}},
		},
	}.test(t, webhooks)
}

func TestWebhookSecretRef(t *testing.T) {
	const (
		plainName = "name must be the plain name of a Secret in the Webhook's own namespace; to use a Secret of another namespace, copy it here"
		plainKey  = "key must be a key of the Secret's data: letters, digits, '-', '_' and '.'"
	)
	for _, field := range []string{"spec.secretRef", "spec.signingSecretRef"} {
		ref := func(name, key any) fields { return fields{field: map[string]any{"name": name, "key": key}} }
		inputs{
			"name and key":           {set: ref("smoke-tests", "token")},
			"name with dots":         {set: ref("smoke.tests", ".dockerconfigjson")},
			"key in capitals":        {set: ref("smoke-tests", "HORIZON_TOKEN")},
			"none":                   {set: fields{field: remove}},
			"of another namespace":   {set: ref("ops/smoke-tests", "token"), want: map[string][]string{field + ".name": {plainName}}},
			"path":                   {set: ref("../ops", "token"), want: map[string][]string{field + ".name": {plainName}}},
			"upper case":             {set: ref("Smoke-Tests", "token"), want: map[string][]string{field + ".name": {plainName}}},
			"empty name":             {set: ref("", "token"), want: map[string][]string{field + ".name": {tooShort, plainName}}},
			"empty key":              {set: ref("smoke-tests", ""), want: map[string][]string{field + ".key": {tooShort, plainKey}}},
			"key with a slash":       {set: ref("smoke-tests", "a/b"), want: map[string][]string{field + ".key": {plainKey}}},
			"key with a line break":  {set: ref("smoke-tests", "token\n"), want: map[string][]string{field + ".key": {plainKey}}},
			"name with a line break": {set: ref("smoke-tests\n", "token"), want: map[string][]string{field + ".name": {plainName}}},
			"long name":              {set: ref(strings.Repeat("a", 254), "token"), want: map[string][]string{field + ".name": {"may not be more than 253"}}},
			"long key":               {set: ref("smoke-tests", strings.Repeat("a", 254)), want: map[string][]string{field + ".key": {"may not be more than 253"}}},
			"without key": {
				set:  fields{field: map[string]any{"name": "smoke-tests"}},
				want: map[string][]string{field + ".key": {"Required value"}},
			},
			"without name": {
				set:  fields{field: map[string]any{"key": "token"}},
				want: map[string][]string{field + ".name": {"Required value"}},
			},
		}.test(t, webhooks)
	}
}

// The type of a reference has no namespace, so the server does not know the
// field. It says so to kubectl, and to other clients in a warning.
func TestWebhookSecretRefNamespace(t *testing.T) {
	ref := fields{"spec.secretRef": map[string]any{"namespace": "ops", "name": "smoke-tests", "key": "token"}}
	_, err := tryCreate(t, webhooks, ref)
	if !apierrors.IsBadRequest(err) || !strings.Contains(err.Error(), `unknown field "spec.secretRef.namespace"`) {
		t.Errorf("kubectl's request: got %v, want a refusal of the unknown field", err)
	}

	created, err := resource(webhooks).Create(t.Context(), object(webhooks, "example", ref), metav1.CreateOptions{
		DryRun: []string{metav1.DryRunAll},
	})
	if err != nil {
		t.Fatal(err)
	}
	got, _, _ := unstructured.NestedMap(created.Object, "spec", "secretRef")
	if diff := cmp.Diff(map[string]any{"name": "smoke-tests", "key": "token"}, got); diff != "" {
		t.Errorf("what another client's request leaves (-want +got):\n%s", diff)
	}
}

// A name that the server makes of a long prefix is one that it then takes.
func TestGeneratedNames(t *testing.T) {
	for _, plural := range []string{webhooks, webhookEvents} {
		created, err := tryCreate(t, plural, fields{"metadata.name": remove, "metadata.generateName": strings.Repeat("a", 200) + "-"})
		if err != nil {
			t.Errorf("%s: %v", plural, err)
			continue
		}
		if name := created.GetName(); len(name) != 63 || !strings.HasPrefix(name, strings.Repeat("a", 58)) {
			t.Errorf("%s: the name is %s", plural, name)
		}
	}
}

func TestWebhookFields(t *testing.T) {
	inputs{
		"name of 63 characters": {set: fields{"metadata.name": strings.Repeat("a", 63)}},
		"name of 64 characters": {
			set:  fields{"metadata.name": strings.Repeat("a", 64)},
			want: map[string][]string{"": {"metadata.name must be no longer than 63 characters, because its deliveries carry it as a label"}},
		},
		"unknown state": {
			set:  fields{"spec.state": "enabled"},
			want: map[string][]string{"spec.state": {`supported values: "Enabled", "Paused", "Disabled"`}},
		},
		"Paused":   {set: fields{"spec.state": "Paused"}},
		"Disabled": {set: fields{"spec.state": "Disabled"}},

		"long scope": {set: fields{"spec.scope": "/" + strings.Repeat("a", 1024)}, want: map[string][]string{"spec.scope": {"may not be more than 1024"}}},

		"empty description":              {set: fields{"spec.description": ""}},
		"description of 1024 characters": {set: fields{"spec.description": strings.Repeat("ü", 1024)}},
		"description of 1025 characters": {
			set:  fields{"spec.description": strings.Repeat("a", 1025)},
			want: map[string][]string{"spec.description": {"may not be more than 1024"}},
		},

		"min beyond max": {
			set:  fields{"spec.retry": map[string]any{"minBackoffSeconds": int64(20), "maxBackoffSeconds": int64(19)}},
			want: map[string][]string{"spec.retry": {"minBackoffSeconds (10 where it is not given) must not exceed maxBackoffSeconds (3600 where it is not given)"}},
		},
		"min beyond max, which is not given": {
			set:  fields{"spec.retry": map[string]any{"minBackoffSeconds": int64(3601)}},
			want: map[string][]string{"spec.retry": {"must not exceed maxBackoffSeconds (3600 where it is not given)"}},
		},
		"max below min, which is not given": {
			set:  fields{"spec.retry": map[string]any{"maxBackoffSeconds": int64(9)}},
			want: map[string][]string{"spec.retry": {"minBackoffSeconds (10 where it is not given) must not exceed"}},
		},
		"min as long as max": {set: fields{"spec.retry": map[string]any{"minBackoffSeconds": int64(60), "maxBackoffSeconds": int64(60)}}},
	}.test(t, webhooks)
}

func TestWebhookScope(t *testing.T) {
	const (
		names      = "it has no spaces or control characters; it is made of paths, not of names"
		everything = "it takes no patterns, since all that is below it is followed; leave scope out to follow everything"
		music      = "it takes no patterns, since all that is below it is followed; write /music/"
		one        = "a Webhook takes one of them; write another Webhook for the next"
		dots       = "it has no parts of dots alone"
	)
	for scope, want := range map[string]string{ // empty: accepted
		"":                       "",
		"/":                      "",
		"/music":                 "",
		"/music/":                "",
		"/music/player/web-prod": "",
		"/música":                "",
		"/Music_2/a.b~c":         "",
		"/.music/v1.2":           "",
		"music/player":           "write /music/player",
		"/music//player":         "it has no empty parts; write /music/player",
		"//music":                "it has no empty parts; write /music",
		"/music//":               "it has no empty parts; write /music/",
		"/music ":                names,
		" /music":                names,
		"music / player":         names,
		"/music\n":               names,
		"/music\t":               names,
		"/music\u00a0":           names,
		"\ufeff/music":           names,
		"/music\u3000player":     names,
		"/music\x00":             names,
		"*":                      everything,
		"/*":                     everything,
		"/**":                    everything,
		"/?usic":                 everything,
		"/music/*":               music,
		"/music/**":              music,
		"/music/pl*":             music,
		"/music/pl?yer":          music,
		"/music/[a-p]layer":      music,
		"/music/.*":              music,
		"music/*":                music,
		"/music/*/web":           music,
		"/music/player/web/*":    "it takes no patterns, since all that is below it is followed; write /music/player/web/",
		"/music,/video":          one,
		"/music, /video":         one,
		"/music/{player,radio}":  one,
		"/music/..":              dots,
		"/music/./player":        dots,
		"/music/...":             dots,
		".":                      dots,
	} {
		t.Run(scope, func(t *testing.T) {
			complaints := map[string][]string{"spec.scope": {"scope must be a full path, such as /music/player: " + want}}
			if want == "" {
				complaints = nil
			}
			_, err := tryCreate(t, webhooks, fields{"spec.scope": scope})
			checkComplaints(t, err, complaints)
		})
	}
}

// Where another manager owns url, a manifest that has urlSecretRef only is refused,
// and what the server says to do then helps. So it is the other way round.
func TestWebhookURLIsSwappedForAReference(t *testing.T) {
	const exclude = "url and urlSecretRef exclude each other: take one of them out; where the manifest has one only, " +
		"another field manager owns the other: change both in one step, kubectl patch webhook NAME --type=merge -p '"
	forms := map[string]map[string]any{
		"url":          {"triggers": []any{"*"}, "url": "https://chat.example.com/"},
		"urlSecretRef": {"triggers": []any{"*"}, "urlSecretRef": map[string]any{"name": "chat", "key": "url"}},
	}
	for from, to := range map[string]string{"url": "urlSecretRef", "urlSecretRef": "url"} {
		t.Run(from+" to "+to, func(t *testing.T) {
			manifest := func(form string) *unstructured.Unstructured {
				return object(webhooks, "swapped", fields{"spec": forms[form]})
			}
			apply := func(manager, form string) (*unstructured.Unstructured, error) {
				return resource(webhooks).Apply(t.Context(), "swapped", manifest(form), metav1.ApplyOptions{FieldManager: manager, Force: true})
			}
			if _, err := apply("an-installer", from); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if err := resource(webhooks).Delete(context.Background(), "swapped", metav1.DeleteOptions{}); err != nil {
					t.Error(err)
				}
			})
			_, err := apply("gitops", to)
			checkComplaints(t, err, map[string][]string{"spec": {exclude}})

			// The patch that it names, with what the manifest has.
			_, rest, _ := strings.Cut(complaints(err)[0].message, exclude)
			patch, _, _ := strings.Cut(rest, "' or the other way round, then apply again")
			if to == "url" {
				patch = `{"spec":{"urlSecretRef":null,"url":"https://chat.example.com/"}}`
			}
			patch = strings.NewReplacer(`"name":"…"`, `"name":"chat"`, `"key":"…"`, `"key":"url"`).Replace(patch)
			if _, err := resource(webhooks).Patch(t.Context(), "swapped", types.MergePatchType, []byte(patch), metav1.PatchOptions{}); err != nil {
				t.Fatalf("%s: %v", patch, err)
			}
			after, err := apply("gitops", to)
			if err != nil {
				t.Fatal(err)
			}
			spec := after.Object["spec"].(map[string]any)
			if diff := cmp.Diff(forms[to][to], spec[to]); diff != "" || spec[from] != nil {
				t.Errorf("%s is %v; %s (-want +got):\n%s", from, spec[from], to, diff)
			}
		})
	}
}

// The same of the authorities, of which neither is required.
func TestWebhookAuthoritiesAreSwapped(t *testing.T) {
	apply := func(manager, ref string) error {
		_, err := resource(webhooks).Apply(t.Context(), "authorities", object(webhooks, "authorities", fields{
			"spec.tls": map[string]any{ref: map[string]any{"name": "private-ca"}},
		}), metav1.ApplyOptions{FieldManager: manager, Force: true})
		return err
	}
	if err := apply("an-installer", "caSecretRef"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := resource(webhooks).Delete(context.Background(), "authorities", metav1.DeleteOptions{}); err != nil {
			t.Error(err)
		}
	})
	checkComplaints(t, apply("gitops", "caConfigMapRef"), map[string][]string{"spec.tls": {
		"caSecretRef and caConfigMapRef exclude each other: take one of them out; where the manifest has one only, " +
			"another field manager owns the other: kubectl edit takes it out, then apply again",
	}})
	edited, err := resource(webhooks).Get(t.Context(), "authorities", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	edited = change(edited, fields{"spec.tls.caSecretRef": remove})
	if _, err := resource(webhooks).Update(t.Context(), edited, metav1.UpdateOptions{FieldManager: "kubectl-edit"}); err != nil {
		t.Fatal(err)
	}
	if err := apply("gitops", "caConfigMapRef"); err != nil {
		t.Error(err)
	}
}

func TestWebhookBounds(t *testing.T) {
	const maxSafeInteger = 1<<53 - 1 // the largest that a JSON reader in JavaScript takes in exactly
	tests := map[string]struct{ min, max int64 }{
		"spec.webhookID":                         {1, maxSafeInteger},
		"spec.timeoutSeconds":                    {1, 300},
		"spec.maxInFlight":                       {1, 100},
		"spec.retry.limit":                       {0, 100},
		"spec.retry.minBackoffSeconds":           {1, 86400},
		"spec.retry.maxBackoffSeconds":           {1, 86400},
		"spec.retry.giveUpAfterSeconds":          {60, 30 * 86400},
		"spec.retention.ttlSecondsAfterFinished": {900, 365 * 86400},
		"spec.retention.limit":                   {0, 10000},
	}
	for field, bounds := range tests {
		t.Run(field, func(t *testing.T) {
			set := fields{"spec.retry": map[string]any{"minBackoffSeconds": int64(1), "maxBackoffSeconds": int64(86400)}}
			for _, value := range []int64{bounds.min, bounds.max} {
				set[field] = value
				if _, err := tryCreate(t, webhooks, set); err != nil {
					t.Errorf("%d: %v", value, err)
				}
			}
			for value, want := range map[int64]string{
				bounds.min - 1: fmt.Sprintf("should be greater than or equal to %d", bounds.min),
				bounds.max + 1: fmt.Sprintf("should be less than or equal to %d", bounds.max),
			} {
				set[field] = value
				_, err := tryCreate(t, webhooks, set)
				if !slices.ContainsFunc(complaints(err), func(c complaint) bool {
					return c.field == field && strings.Contains(c.message, want)
				}) {
					t.Errorf("%d: got %v, want %q", value, err, want)
				}
			}
		})
	}
}

func TestWebhookDefaults(t *testing.T) {
	retry := map[string]any{
		"limit": int64(10), "minBackoffSeconds": int64(10), "maxBackoffSeconds": int64(3600),
		"giveUpAfterSeconds": int64(259200),
	}
	retention := map[string]any{"ttlSecondsAfterFinished": int64(604800), "limit": int64(200)}
	tests := map[string]struct {
		set  fields
		want fields // beside the smallest spec and the defaults
	}{
		"smallest": {},
		"empty blocks": {
			set: fields{"spec.retry": map[string]any{}, "spec.retention": map[string]any{}},
		},
		"null": {
			set: fields{"spec.retry": nil, "spec.retention": nil, "spec.sslVerifyEnabled": nil, "spec.state": nil},
		},
		"one field of a block": {
			set:  fields{"spec.retry.limit": int64(0), "spec.retention.limit": int64(0)},
			want: fields{"spec.retry.limit": int64(0), "spec.retention.limit": int64(0)},
		},
		"another field of a block": {
			set:  fields{"spec.retry.minBackoffSeconds": int64(1), "spec.retention.ttlSecondsAfterFinished": int64(900)},
			want: fields{"spec.retry.minBackoffSeconds": int64(1), "spec.retention.ttlSecondsAfterFinished": int64(900)},
		},
		"authorities": {
			set:  fields{"spec.tls.caSecretRef.name": "private-ca", "spec.tls.caConfigMapRef": nil},
			want: fields{"spec.tls": map[string]any{"caSecretRef": map[string]any{"name": "private-ca", "key": "ca.crt"}}},
		},
		"no check of certificates": {
			set:  fields{"spec.sslVerifyEnabled": false},
			want: fields{"spec.sslVerifyEnabled": false},
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := tryCreate(t, webhooks, tc.set)
			if err != nil {
				t.Fatal(err)
			}
			want := fields{
				"spec.sslVerifyEnabled": true,
				"spec.state":            "Enabled",
				"spec.timeoutSeconds":   int64(30),
				"spec.maxInFlight":      int64(10),
				"spec.retry":            maps.Clone(retry),
				"spec.retention":        maps.Clone(retention),
			}
			maps.Copy(want, tc.want)
			if diff := cmp.Diff(object(webhooks, "example", want).Object["spec"], got.Object["spec"]); diff != "" {
				t.Errorf("spec (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(map[string]any{"observedGeneration": int64(-1)}, got.Object["status"]); diff != "" {
				t.Errorf("status (-want +got):\n%s", diff)
			}
		})
	}
}

// A client that fills in no more than it must, and does not know what zero
// values mean, gets the defaults all the same.
func TestWebhookFromGo(t *testing.T) {
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(&v1alpha1.Webhook{
		TypeMeta:   metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: "Webhook"},
		ObjectMeta: metav1.ObjectMeta{Name: "example", Namespace: namespace},
		Spec: v1alpha1.WebhookSpec{
			URL:      "https://ci.example.com/hooks/horizon",
			Triggers: []v1alpha1.Trigger{"clusters_deployed"},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	got, err := resource(webhooks).Create(t.Context(), &unstructured.Unstructured{Object: content}, metav1.CreateOptions{
		DryRun:          []string{metav1.DryRunAll},
		FieldValidation: metav1.FieldValidationStrict,
	})
	if err != nil {
		t.Fatal(err)
	}
	want, err := tryCreate(t, webhooks, nil)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want.Object["spec"], got.Object["spec"]); diff != "" {
		t.Errorf("spec (-from YAML +from Go):\n%s", diff)
	}
}

func TestWebhookApplyConfiguration(t *testing.T) {
	const manager = "a-client"
	create(t, webhooks, "applied", fields{"spec.description": "Start the smoke tests"})
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(
		applyv1alpha1.Webhook("applied", namespace).WithSpec(applyv1alpha1.WebhookSpec().
			WithState(v1alpha1.WebhookPaused).
			WithRetry(applyv1alpha1.RetryPolicy().WithLimit(0))))
	if err != nil {
		t.Fatal(err)
	}
	got, err := resource(webhooks).Apply(t.Context(), "applied", &unstructured.Unstructured{Object: content},
		metav1.ApplyOptions{FieldManager: manager, Force: true})
	if err != nil {
		t.Fatal(err)
	}
	var webhook v1alpha1.Webhook
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(got.Object, &webhook); err != nil {
		t.Fatal(err)
	}
	if webhook.Spec.State != v1alpha1.WebhookPaused || *webhook.Spec.Retry.Limit != 0 {
		t.Errorf("got state %s, retry limit %d", webhook.Spec.State, *webhook.Spec.Retry.Limit)
	}
	if webhook.Spec.Description != "Start the smoke tests" || webhook.Spec.Retry.MinBackoffSeconds != 10 {
		t.Errorf("what was not applied has changed: %+v", webhook.Spec)
	}
}

// Only its status subresource changes a Webhook's status, so that who may
// write Webhooks cannot make one look healthy.
func TestWebhookStatusSubresource(t *testing.T) {
	status := map[string]any{"observedGeneration": int64(1), "webhookID": int64(7)}
	created := create(t, webhooks, "status", fields{"status": status})
	if diff := cmp.Diff(map[string]any{"observedGeneration": int64(-1)}, created.Object["status"]); diff != "" {
		t.Errorf("status after creation (-want +got):\n%s", diff)
	}
	created.Object["status"] = status
	updated, err := resource(webhooks).UpdateStatus(t.Context(), created, metav1.UpdateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(status, updated.Object["status"]); diff != "" {
		t.Errorf("status after it was written (-want +got):\n%s", diff)
	}
	if updated.GetGeneration() != 1 {
		t.Errorf("generation is %d after a change of the status", updated.GetGeneration())
	}
}
