package dashboard

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/change"
	"github.com/horizoncd/webhook-operator/internal/format"
)

// fieldKind is how a field of the form is filled in.
type fieldKind string

// The kinds of fields; templates/form.html has a piece for each.
const (
	kindName     fieldKind = "name"
	kindText     fieldKind = "text"
	kindArea     fieldKind = "area"
	kindNumber   fieldKind = "number"
	kindSeconds  fieldKind = "seconds"
	kindTick     fieldKind = "tick"
	kindChoice   fieldKind = "choice"
	kindCode     fieldKind = "code"
	kindTriggers fieldKind = "triggers"
	kindSecret   fieldKind = "secret"
	kindURL      fieldKind = "url"
	kindService  fieldKind = "service"
	kindRate     fieldKind = "rate"
)

// field is a field of the form.
type field struct {
	// ID is its name in the form, and Label that of the user's document.
	ID, Label, Hint string
	// RoomHint stands in place of Hint while a chat room is chosen.
	RoomHint string
	Kind     fieldKind
	// path is its place in the Webhook. That of a URL is spec.url; see also secret.
	path []string
	// secret is the reference to a Secret that it can be instead.
	secret *change.SecretField
	// usual is what is in the form where nobody has changed anything.
	usual string
	// choices are those of a kindChoice. They include usual, which a spec need not name.
	choices []string
	// Rows is how many lines of code are seen at once.
	Rows int
}

// fieldGroup is a part of the form.
type fieldGroup struct {
	ID, Title, Hint string
	// Folded groups are shown when somebody opens them, or when they say something.
	Folded bool
	Fields []*field
}

var (
	nameField = &field{ID: "name", Label: "Name", Kind: kindName, path: []string{"metadata", "name"},
		Hint: "Small letters, digits and dashes, at most 63 characters. It cannot be changed later."}
	urlField = &field{ID: "url", Label: "URL", Kind: kindURL, path: []string{"spec", "url"}, secret: &change.URLField,
		RoomHint: "Address of the robot, as the service shows it. Whoever knows it may write to the room, so it goes into a Secret, and is not shown again.",
		Hint:     "URL of the webhook endpoint. The URL must be percent-encoded if it contains one or more special characters."}
	triggersField = &field{ID: "triggers", Label: "Triggers", Kind: kindTriggers, path: []string{"spec", "triggers"},
		Hint: "Events to trigger the webhook."}
	secretField = &field{ID: "secret", Label: "Secret", Kind: kindSecret, path: []string{"spec", "secretRef"}, secret: &change.TokenField,
		RoomHint: "Signing key of the robot, where it asks for signatures: it signs each request, and is never sent. Leave it empty where the robot has another security setting.",
		Hint:     "Secret Token of your custom webhook receiver. It is sent in the header X-Horizon-Webhook-Secret, and signs each request."}
	signingField = &field{ID: "signing", Label: "Signing secret", Kind: kindSecret, path: []string{"spec", "signingSecretRef"}, secret: &change.SigningKeyField,
		Hint: "Signs each request in place of the Secret, and is never sent. One that begins with whsec_ is a key in base64."}
	formatField = &field{ID: "format", Label: "Format", Kind: kindService, path: []string{"spec", "payload", "format"}, usual: string(v1alpha1.PayloadHorizon),
		Hint: "A receiver of your own gets the event as JSON; a chat room gets a message for people."}
	languageField = &field{ID: "language", Label: "Language", Kind: kindChoice, path: []string{"spec", "payload", "language"}, usual: string(v1alpha1.LanguageEnglish),
		choices: []string{string(v1alpha1.LanguageEnglish), string(v1alpha1.LanguageChinese)},
		Hint:    "Language of the messages. Those in Chinese have times of Beijing, the others of UTC."}
	rateLimitField = &field{ID: "rateLimit", Label: "Rate limit", Kind: kindRate, path: []string{"spec", "rateLimit"},
		Hint: "How many requests may be made to the receiver within how many seconds, such as 20/60s. What is over it waits."}
	filterField = &field{ID: "filter", Label: "Filter", Kind: kindCode, Rows: 3, path: []string{"spec", "filter"},
		Hint: "In CEL, which of the events that triggers and scope let through are sent, such as " +
			"`event.cluster.env == \"online\" && !event.user.email.endsWith(\"@bot\")`. It sees event and webhook. Empty: all of them."}
	templateField = &field{ID: "template", Label: "Template", Kind: kindCode, Rows: 10, path: []string{"spec", "payload", "template"},
		Hint: "In CEL, the body in place of the format's own: a map, which is sent as JSON, such as " +
			"`{\"text\": event.cluster.name + \" is out\"}`. It sees event, webhook and delivery.id. Empty: the body of the format."}
)

// secretFields are those that can be a Secret's key.
var secretFields = []*field{urlField, secretField, signingField}

// fieldGroups are the form: first the fields of the user's document, then those that Horizon
// does not have.
var fieldGroups = []*fieldGroup{
	{ID: "webhook", Title: "Webhook", Fields: []*field{
		nameField,
		formatField,
		urlField,
		{ID: "sslVerify", Label: "Enable ssl verify", Kind: kindTick, path: []string{"spec", "sslVerifyEnabled"},
			Hint: "Whether to enable ssl verification when the url schema is HTTPS."},
		{ID: "description", Label: "Description", Kind: kindArea, path: []string{"spec", "description"},
			Hint: "Description of your webhook."},
		secretField,
		languageField,
		triggersField,
	}},
	{ID: "beyond", Title: "Beyond Horizon",
		Hint:   "State, scope, filter, template, signatures, rate limit, retries and retention. Each of them can be left as it is.",
		Folded: true, Fields: []*field{
			{ID: "state", Label: "State", Kind: kindChoice, path: []string{"spec", "state"}, usual: string(v1alpha1.WebhookEnabled),
				choices: []string{string(v1alpha1.WebhookEnabled), string(v1alpha1.WebhookPaused), string(v1alpha1.WebhookDisabled)},
				Hint:    "Enabled sends what comes; Paused records it and waits; Disabled lets it pass by."},
			{ID: "scope", Label: "Scope", Kind: kindText, path: []string{"spec", "scope"},
				Hint: "Only events of this group, application or cluster and what is below it, such as /music/player. Empty: events of everything."},
			filterField,
			templateField,
			{ID: "acceptIf", Label: "Accept if", Kind: kindCode, Rows: 2, path: []string{"spec", "response", "acceptIf"},
				Hint: "In CEL, asked after a 2xx: the answer is accepted only where this is true, such as `response.json.?errcode.orValue(-1) == 0`. " +
					"It sees event, webhook, delivery and response (statusCode, headers, body, json). Empty: each 2xx is accepted."},
			{ID: "giveUpIf", Label: "Give up if", Kind: kindCode, Rows: 2, path: []string{"spec", "response", "giveUpIf"},
				Hint: "In CEL, asked after an answer that is not accepted: where this is true, no retry is made, such as `response.statusCode == 422`. " +
					"Empty: each is tried again."},
			{ID: "webhookID", Label: "Webhook ID", Kind: kindNumber, path: []string{"spec", "webhookID"},
				Hint: "Horizon's own number of the webhook, sent as webhookID in the body. Empty: a number is made up for it."},
			signingField,
			rateLimitField,
			{ID: "timeout", Label: "Timeout", Kind: kindSeconds, path: []string{"spec", "timeoutSeconds"}, usual: "30s",
				Hint: "How long one request may take, from 1s to 5m. Empty: 30s."},
			{ID: "retryLimit", Label: "Retries", Kind: kindNumber, path: []string{"spec", "retry", "limit"}, usual: "10",
				Hint: "How often a failed request is repeated, from 0 (never) to 100. Empty: 10."},
			{ID: "retryMin", Label: "First retry after", Kind: kindSeconds, path: []string{"spec", "retry", "minBackoffSeconds"}, usual: "10s",
				Hint: "The wait before the first retry; it doubles from one to the next. From 1s to 1d. Empty: 10s."},
			{ID: "retryMax", Label: "Longest wait", Kind: kindSeconds, path: []string{"spec", "retry", "maxBackoffSeconds"}, usual: "1h",
				Hint: "The longest wait between two attempts, from 1s to 1d. Empty: 1h."},
			{ID: "retryGiveUp", Label: "Give up after", Kind: kindSeconds, path: []string{"spec", "retry", "giveUpAfterSeconds"}, usual: "3d",
				Hint: "How long a delivery may wait before it has failed, from 1m to 30d. Empty: 3d."},
			{ID: "maxInFlight", Label: "Requests at once", Kind: kindNumber, path: []string{"spec", "maxInFlight"}, usual: "10",
				Hint: "How many requests may be under way to the receiver, from 1 to 100. Empty: 10."},
			{ID: "ttl", Label: "Keep logs for", Kind: kindSeconds, path: []string{"spec", "retention", "ttlSecondsAfterFinished"}, usual: "7d",
				Hint: "How long a finished delivery is kept, from 15m to 365d. Empty: 7d."},
			{ID: "keep", Label: "Keep at most", Kind: kindNumber, path: []string{"spec", "retention", "limit"}, usual: "200",
				Hint: "How many finished deliveries are kept, from 0 to 10000. Empty: 200."},
		}},
}

// allFields are the fields of all groups.
func allFields() []*field {
	var all []*field
	for _, g := range fieldGroups {
		all = append(all, g.Fields...)
	}
	return all
}

// fieldByID returns a field; nil where there is none.
func fieldByID(id string) *field {
	for _, f := range allFields() {
		if f.ID == id {
			return f
		}
	}
	return nil
}

// elsewhere are parts of spec that no field of the form stands for, with the one that has to
// change when the API server has something against them.
var elsewhere = map[string]string{"spec.tls": "url", "spec.retry": "retryMin"}

// fieldAt returns the field of the form for a path such as spec.retry.limit, or for what is
// around it; nil where there is none.
func fieldAt(path string) *field {
	path, _, _ = strings.Cut(path, "[")
	if id, ok := elsewhere[path]; ok {
		return fieldByID(id)
	}
	for _, f := range allFields() {
		places := []string{strings.Join(f.path, ".")}
		if f.secret != nil {
			places = append(places, "spec."+f.secret.Field)
		}
		for _, place := range places {
			if place == path || strings.HasPrefix(path, place+".") || path != "spec" && strings.HasPrefix(place, path+".") {
				return f
			}
		}
	}
	return nil
}

// paths are the places in spec that a field has: a URL has two.
func (f *field) paths() [][]string {
	all := [][]string{f.path[1:]}
	if f == urlField {
		all = append(all, []string{f.secret.Field})
	}
	return all
}

// input is what is in the form, by the names of its inputs: texts as they were typed.
type input struct{ url.Values }

// ticked tells whether a box is ticked.
func (in input) ticked(id string) bool { return in.Get(id) != "" }

// Inputs of a field that can be a Secret, besides its own, which has what is typed.
const (
	suffixSecret  = "-is-secret" // a URL is a secret itself
	suffixRemove  = "-remove"
	suffixRefName = "-ref-name"
	suffixRefKey  = "-ref-key"
	// inputRetype names the fields whose secret has to be typed again.
	inputRetype = "retype"
)

// inputOf returns the form of a spec: what somebody sees who begins to edit.
func inputOf(spec map[string]any) input {
	in := input{url.Values{}}
	for _, f := range allFields() {
		value, found, _ := unstructured.NestedFieldNoCopy(spec, f.path[1:]...)
		switch {
		case f == nameField:
		case f.Kind == kindTick:
			if on, ok := value.(bool); !found || ok && on {
				in.Set(f.ID, "yes")
			}
		case f.Kind == kindTriggers:
			in.Values[f.ID] = texts(value)
		case f.Kind == kindRate && found:
			in.Set(f.ID, formatRate(value))
		case f.Kind == kindSeconds && found:
			in.Set(f.ID, formatSeconds(value))
		case f.Kind != kindSecret && found:
			in.Set(f.ID, fmt.Sprint(value))
		}
		if f.secret != nil {
			in.setRef(f, spec)
		}
	}
	return in
}

func (in input) setRef(f *field, spec map[string]any) {
	name, key := refOf(spec, f)
	in.Set(f.ID+suffixRefName, name)
	in.Set(f.ID+suffixRefKey, key)
	if f == urlField && name != "" {
		in.Set(f.ID+suffixSecret, "yes")
	}
}

// refOf returns the Secret's key that a spec names for a field; empty where it names none.
func refOf(spec map[string]any, f *field) (name, key string) {
	name, _, _ = unstructured.NestedString(spec, f.secret.Field, "name")
	key, _, _ = unstructured.NestedString(spec, f.secret.Field, "key")
	return name, key
}

// texts are those of a list.
func texts(list any) []string {
	items, _ := list.([]any)
	all := make([]string, 0, len(items))
	for _, item := range items {
		all = append(all, fmt.Sprint(item))
	}
	return all
}

// draft is the spec that a form makes.
type draft struct {
	spec map[string]any
	// typed are the secrets that are to become a Secret, by its keys. spec names that Secret
	// madeSecret.
	typed    map[string][]byte
	mistakes mistakes
}

// madeSecret stands in a draft for the name of the Secret that is made for it. No Secret can
// be called so.
const madeSecret = "*"

// draftOf returns what a form says, over the spec that it was made from: what the form has no
// field for stays, and so does what says the same in other words.
func draftOf(in input, base map[string]any) *draft {
	d := &draft{spec: clone(base), typed: map[string][]byte{}}
	for _, f := range allFields() {
		switch f.Kind {
		case kindName:
		case kindSecret, kindURL:
			d.takeSecret(f, in, base)
		default:
			value, err := valueOf(f, in, base)
			if err != nil {
				d.mistakes.add(f, err.Error())
				continue
			}
			d.set(f.path[1:], value)
		}
	}
	return d
}

// valueOf returns what a form says of a plain field; nil is nothing.
func valueOf(f *field, in input, base map[string]any) (any, error) {
	text := in.Get(f.ID)
	was, had, _ := unstructured.NestedFieldNoCopy(base, f.path[1:]...)
	switch f.Kind {
	case kindTick:
		if in.ticked(f.ID) && !had {
			return nil, nil
		}
		return in.ticked(f.ID), nil
	case kindChoice, kindService:
		if text == f.usual && !had {
			return nil, nil
		}
	case kindRate:
		if text = strings.TrimSpace(text); text == "" {
			return nil, nil
		}
		limit, err := change.ParseRateLimit(text)
		return limit.Object(), err
	case kindTriggers:
		return triggersOf(in.Values[f.ID], texts(was)), nil
	case kindNumber, kindSeconds:
		return numberOf(f, text)
	case kindArea, kindCode:
		text = strings.ReplaceAll(text, "\r\n", "\n") // as forms send it
		if before, ok := was.(string); ok && strings.ReplaceAll(before, "\r\n", "\n") == text {
			return was, nil
		}
	default:
	}
	if text == "" {
		return nil, nil
	}
	return text, nil
}

func numberOf(f *field, text string) (any, error) {
	text = strings.TrimSpace(text)
	if text == "" {
		return nil, nil
	}
	if f.Kind == kindSeconds {
		return parseSeconds(text)
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return nil, errors.New("it has to be a whole number")
	}
	return n, nil
}

// format is the one that is chosen.
func (in input) format() *format.Format {
	return format.Of(&v1alpha1.Webhook{Spec: v1alpha1.WebhookSpec{
		Payload: &v1alpha1.PayloadSettings{Format: v1alpha1.PayloadFormat(in.Get(formatField.ID))},
	}})
}

// formatRate writes a rate limit as it is typed.
func formatRate(value any) string {
	o, _ := value.(map[string]any)
	requests, _ := o["requests"].(int64)
	seconds, _ := o["perSeconds"].(int64)
	return change.RateLimit{Requests: requests, PerSeconds: seconds}.String()
}

// set sets a value in spec, or takes it out.
func (d *draft) set(path []string, value any) { setIn(d.spec, path, value) }

func setIn(spec map[string]any, path []string, value any) {
	if value != nil {
		_ = unstructured.SetNestedField(spec, value, path...) // fails within what is no object, which no spec has
		return
	}
	unstructured.RemoveNestedField(spec, path...)
	if len(path) > 1 {
		if around, found, _ := unstructured.NestedMap(spec, path[:1]...); found && len(around) == 0 {
			delete(spec, path[0])
		}
	}
}

// takeSecret takes a field that is a Secret's key, or a URL that can be one. What is typed
// comes before a reference that was there already; with a new one it is a mistake.
func (d *draft) takeSecret(f *field, in input, base map[string]any) {
	typed := in.Get(f.ID)
	name, key := in.Get(f.ID+suffixRefName), in.Get(f.ID+suffixRefKey)
	wasName, wasKey := refOf(base, f)
	plain := f == urlField && !in.ticked(f.ID+suffixSecret) && !in.format().Room
	otherRef := name != "" && (name != wasName || key != wasKey)
	switch {
	case typed == "" && !otherRef && !in.ticked(f.ID+suffixRemove) && slices.Contains(in.Values[inputRetype], f.ID):
		d.mistakes.add(f, "type it again: it is not shown")
	case in.ticked(f.ID+suffixRemove) && (typed != "" || otherRef):
		d.mistakes.add(f, "either remove it, or give another one")
	case typed != "" && otherRef:
		d.mistakes.add(f, "either type it, or name a Secret that has it; not both")
	case in.ticked(f.ID + suffixRemove), typed == "" && name == "":
		d.setSecret(f, nil, nil)
	case plain && typed != "":
		d.setSecret(f, typed, nil)
	case typed != "":
		value, err := f.secret.Check([]byte(typed))
		if err != nil {
			d.mistakes.add(f, strings.TrimPrefix(err.Error(), "the value "))
			return
		}
		d.typed[f.secret.Key] = []byte(value)
		d.setSecret(f, nil, map[string]any{"name": madeSecret, "key": f.secret.Key})
	default:
		d.setSecret(f, nil, map[string]any{"name": name, "key": cmp.Or(key, f.secret.Key)})
	}
}

func (d *draft) setSecret(f *field, plain any, ref map[string]any) {
	if f == urlField {
		d.set(f.path[1:], plain)
	}
	if ref == nil {
		delete(d.spec, f.secret.Field)
		return
	}
	d.spec[f.secret.Field] = ref
}

// specWith is the spec of a draft with the name of the Secret that is made.
func (d *draft) specWith(secret string) map[string]any {
	spec := clone(d.spec)
	for _, f := range secretFields {
		if name, _ := refOf(spec, f); name == madeSecret {
			_ = unstructured.SetNestedField(spec, secret, f.secret.Field, "name")
		}
	}
	return spec
}

// typedFields are those whose value becomes a Secret.
func (d *draft) typedFields() []*field {
	var all []*field
	for _, f := range secretFields {
		if _, ok := d.typed[f.secret.Key]; ok {
			all = append(all, f)
		}
	}
	return all
}

// mistake is what is wrong with a field of the form, or with all of it where Field is nil.
type mistake struct {
	Field *field
	Text  string
	// Caret are the lines of an expression that do not compile, each with a caret below it;
	// empty for other mistakes.
	Caret string
}

type mistakes []mistake

// add adds what is wrong with a field, once.
func (m *mistakes) add(f *field, text string) {
	if one := (mistake{Field: f, Text: text}); !slices.Contains(*m, one) {
		*m = append(*m, one)
	}
}

// of returns what is wrong with a field, in a sentence; empty where nothing is.
func (m mistakes) of(f *field) string {
	var all []string
	for _, one := range m {
		if one.Field == f {
			all = append(all, one.Text)
		}
	}
	return strings.Join(all, "; ")
}

// caret returns the lines of a field's expression that do not compile; empty where it does.
func (m mistakes) caret(f *field) string {
	for _, one := range m {
		if one.Field == f && one.Caret != "" {
			return one.Caret
		}
	}
	return ""
}

// units are those of times in the form, from the longest on.
var units = []struct {
	suffix  string
	seconds int64
}{{"d", 86400}, {"h", 3600}, {"m", 60}, {"s", 1}}

// formatSeconds writes a number of seconds in the longest unit that it is whole in.
func formatSeconds(value any) string {
	n, ok := value.(int64)
	if !ok {
		return fmt.Sprint(value)
	}
	for _, u := range units {
		if n%u.seconds == 0 && n != 0 {
			return strconv.FormatInt(n/u.seconds, 10) + u.suffix
		}
	}
	return strconv.FormatInt(n, 10)
}

var errSeconds = errors.New("it has to be a time in whole seconds, such as 30s, 5m, 12h or 3d")

// parseSeconds reads a time: 30, 30s, 1m30s, 12h or 3d.
func parseSeconds(text string) (any, error) {
	if n, err := strconv.ParseInt(text, 10, 64); err == nil {
		return n, nil
	}
	if days, ok := strings.CutSuffix(text, "d"); ok {
		n, err := strconv.ParseInt(days, 10, 64)
		if err != nil || n > math.MaxInt32 || n < math.MinInt32 {
			return nil, errSeconds
		}
		return n * 86400, nil
	}
	d, err := time.ParseDuration(text)
	if err != nil || d%time.Second != 0 {
		return nil, errSeconds
	}
	return int64(d / time.Second), nil
}

// clone copies a spec.
func clone(spec map[string]any) map[string]any {
	if spec == nil {
		return map[string]any{}
	}
	return (&unstructured.Unstructured{Object: spec}).DeepCopy().Object
}

// chosen is the choice that a value stands for: none is the usual one.
func (f *field) chosen(value any) any {
	if value == nil {
		return f.usual
	}
	return value
}

// same tells whether two specs say the same of a field. Triggers are a set.
func (f *field) same(a, b map[string]any) bool {
	for _, path := range f.paths() {
		one, _, _ := unstructured.NestedFieldNoCopy(a, path...)
		other, _, _ := unstructured.NestedFieldNoCopy(b, path...)
		if f == triggersField {
			first, second := texts(one), texts(other)
			slices.Sort(first)
			slices.Sort(second)
			return slices.Equal(first, second)
		}
		if f.Kind == kindChoice || f.Kind == kindService {
			one, other = f.chosen(one), f.chosen(other)
		}
		if !reflect.DeepEqual(one, other) {
			return false
		}
	}
	return true
}
