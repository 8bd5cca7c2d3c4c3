package dashboard

import (
	"cmp"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/characters"
	"github.com/horizoncd/webhook-operator/internal/format"
	"github.com/horizoncd/webhook-operator/internal/insight"
)

// formPage is a form with its preview.
type formPage struct {
	Create bool
	// Name is that of a Webhook that is edited, and Action where the form is sent to.
	Name, Action string
	// Lacking is why there is no form.
	Lacking  string
	Base     string
	Mistakes []mistakeLine
	Help     string
	// Submitted: what is wrong is told at once, not when somebody comes to it.
	Submitted bool
	Told      string
	Conflicts []conflictRow
	Gone      bool
	Groups    []groupView
	Preview   preview
	Latest    []option
	Samples   []option
	// Kept are parts of the Webhook that the form has no field for.
	Kept string
	Text string
	// Making says which Secret is made first; empty where none is.
	Making string
}

// mistakeLine is a mistake in the list of all, which leads to its field.
type mistakeLine struct{ ID, Label, Text string }

// service is a format to choose, in the words of whoever asks where events go.
type service struct {
	Value, Text, Hint string
	// Room is set for chat rooms, and Signs where their robots can ask for signatures.
	Room, Signs, Chosen bool
}

// serviceTexts are those that say more than the title of a format.
var serviceTexts = map[v1alpha1.PayloadFormat]string{
	v1alpha1.PayloadHorizon: "Your own receiver",
	v1alpha1.PayloadFeishu:  "Feishu or Lark",
	v1alpha1.PayloadTeams:   "Microsoft Teams",
}

// services are those that can be chosen; chosen is among them, whatever it is.
func services(chosen string) []service {
	var all []service
	known := false
	for _, f := range format.All() {
		one := service{Value: string(f.Name), Text: f.Title, Hint: f.Summary, Room: f.Room, Signs: f.Signs(), Chosen: string(f.Name) == chosen}
		if text, ok := serviceTexts[f.Name]; ok {
			one.Text = text
		}
		known = known || one.Chosen
		all = append(all, one)
	}
	if !known { // a later version of the API has more
		all = append(all, service{Value: chosen, Text: chosen, Chosen: true})
	}
	return all
}

// languages are the names of languages, in these.
var languages = map[string]string{string(v1alpha1.LanguageEnglish): "English", string(v1alpha1.LanguageChinese): "中文 (Chinese)"}

type groupView struct {
	*fieldGroup
	Open   bool
	Fields []fieldView
}

// fieldView is a field as it is filled in.
type fieldView struct {
	*field
	Value   string
	Ticked  bool
	Mistake string
	// Caret shows where an expression does not compile.
	Caret string
	// Oddity is what is valid and may not be meant.
	Oddity  string
	Options []option
	// Services are where events can go: formats to choose from.
	Services []service
	// Usual says what an empty field means with the format that is chosen.
	Usual string
	// Triggers are the boxes of the triggers.
	Triggers []triggerGroup
	// The rest is of fields that can be Secrets. What was typed is never among it.
	RefName, RefKey  string
	DefaultKey       string
	IsSecret, Remove bool
	// Kept: the field is shown even where the format that is chosen has no use for it.
	Kept bool
	// Current is where the value is that the Webhook has now; empty where it has none.
	Current string
	// CanType: a Secret can be made, and Retype: what was typed has to be typed again.
	CanType, Retype bool
}

// inputs are the names of a field's inputs.
func (f *field) inputs() []string {
	if f.secret == nil {
		return []string{f.ID}
	}
	return []string{f.ID, f.ID + suffixSecret, f.ID + suffixRemove, f.ID + suffixRefName, f.ID + suffixRefKey}
}

// take takes a field as another form has it.
func (in input) take(f *field, other input) {
	for _, name := range f.inputs() {
		in.Values[name] = other.Values[name]
	}
}

// show makes the page.
func (f *form) show() formPage {
	page := formPage{
		Create: f.create, Name: f.PathValue("name"), Action: link(f.namespace, "new"), Lacking: f.lacking(),
		Base: f.base.text(), Help: f.help, Submitted: f.submitted, Told: f.told, Gone: f.gone,
		Conflicts: f.base.rows(f.in, draftOf(f.in, f.base.Spec).spec),
	}
	if page.Lacking != "" {
		return page
	}
	if !f.create {
		page.Action = link(f.namespace, "webhooks", page.Name, "edit")
	}
	name := page.Name
	if f.create {
		if f.gone {
			f.in.Set(nameField.ID, page.Name)
		}
		name = f.in.Get(nameField.ID)
	}
	order := allFields()
	slices.SortStableFunc(f.mistakes, func(a, b mistake) int { return slices.Index(order, a.Field) - slices.Index(order, b.Field) })
	for _, m := range f.mistakes {
		line := mistakeLine{Text: m.Text}
		if m.Field != nil {
			line.ID, line.Label = m.Field.ID, m.Field.Label
		}
		page.Mistakes = append(page.Mistakes, line)
	}
	for _, g := range fieldGroups {
		page.Groups = append(page.Groups, f.group(g))
	}
	if tls, ok := f.spec["tls"]; ok && tls != nil {
		page.Kept = "This webhook also has spec.tls (authorities or a client certificate of its own), which stays as it is: kubectl horizon edit changes it."
	}
	secretName := ""
	if !f.create {
		secretName = name + "-webhook-new"
	}
	object, secret := f.object(cmp.Or(name, "NAME"), secretName)
	if len(secret.Data) > 0 {
		page.Making = f.making(secret.Name)
	}
	w, chosen := &v1alpha1.Webhook{}, f.in.Get(inputEvent)
	err := runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, w)
	var newest string
	page.Latest, page.Samples, newest = f.events(chosen, w)
	if err != nil {
		page.Preview.Missing = "There is no preview: " + err.Error()
	} else {
		page.Preview = f.preview(w, chosen, newest)
	}
	page.Text = f.manifest(object, page.Making)
	return page
}

// lacking says which role somebody needs who gets no form.
func (f *form) lacking() string {
	switch {
	case f.session.options.ReadOnly:
		return errReadOnly.Error()
	case f.posted, f.create && f.may.Create, !f.create && f.may.Edit:
		return "" // whoever has typed something keeps it, whatever the API server says
	case f.create:
		return "You may not create webhooks in the namespace " + f.namespace + ". The role edit (or horizon-webhook-editor) allows it: ask an administrator."
	}
	return "You may not change webhooks of the namespace " + f.namespace + ". The role edit (or horizon-webhook-editor) allows it: ask an administrator."
}

// making says which Secret is made of what was typed.
func (f *form) making(name string) string {
	var keys []string
	for _, one := range f.typedFields() {
		keys = append(keys, one.secret.Key+" ("+one.Label+")")
	}
	text := "A new Secret " + name + " is made first, with "
	if !f.create {
		text = "A new Secret is made first, whose name begins with " + strings.TrimSuffix(name, "new") + ", with "
	}
	return text + strings.Join(keys, ", ") + " as you have typed it. It belongs to the webhook and goes with it."
}

// manifest is the YAML of what is submitted.
func (f *form) manifest(object *unstructured.Unstructured, making string) string {
	var was map[string]any
	if f.live != nil && !f.create {
		was = baseOf(f.live).Spec
	}
	text, err := manifestOf(object, was)
	if err != nil {
		return "# " + err.Error()
	}
	if making != "" {
		text = "# " + characters.OneLine(making) + "\n# Its values are not shown.\n" + text
	}
	return text
}

func (f *form) group(g *fieldGroup) groupView {
	v := groupView{fieldGroup: g, Open: !g.Folded}
	for _, one := range g.Fields {
		if one == nameField && !f.create {
			continue
		}
		field := f.field(one)
		v.Open = v.Open || field.Mistake != "" || field.Retype || field.RefName != "" || field.Value != "" && field.Value != one.usual
		v.Fields = append(v.Fields, field)
	}
	return v
}

// field shows a field with what is in it.
func (f *form) field(one *field) fieldView {
	v := fieldView{field: one, Value: f.in.Get(one.ID), Ticked: f.in.ticked(one.ID), Mistake: f.mistakes.of(one), Caret: f.mistakes.caret(one)}
	if v.Mistake == "" {
		v.Oddity = f.oddity(one)
	}
	switch one.Kind {
	case kindChoice:
		v.Value = cmp.Or(v.Value, one.usual)
		choices := one.choices
		if !slices.Contains(choices, v.Value) { // a later version of the API has more
			choices = append(slices.Clone(choices), v.Value)
		}
		for _, choice := range choices {
			v.Options = append(v.Options, option{choice, cmp.Or(languages[choice], choice), v.Value == choice})
		}
		v.Kept = one == languageField && v.Value != one.usual
	case kindService:
		v.Value = cmp.Or(v.Value, one.usual)
		v.Services = services(v.Value)
	case kindRate:
		v.Usual = "Empty: no limit."
		if f := f.in.format(); f.RateLimit.Requests > 0 {
			v.Usual = "Empty: that of " + f.Title + ", " + f.RateLimit.String() + "."
		}
	case kindTriggers:
		ticked := f.in.Values[one.ID]
		v.Triggers = triggerRows(ticked, slices.Concat(texts(f.base.Spec["triggers"]), ticked))
		v.Value = ""
	case kindSecret, kindURL:
		f.secretField(&v)
	default:
	}
	return v
}

// oddity is what lint finds odd about a field.
func (f *form) oddity(one *field) string {
	if f.odd == nil {
		f.odd = map[*field][]string{}
		if w := f.webhook(); w != nil {
			for _, odd := range insight.Oddities(&w.Spec) {
				at := fieldAt(odd.Field)
				f.odd[at] = append(f.odd[at], odd.Message)
			}
		}
		if typed, ok := f.typed[urlField.secret.Key]; ok { // which no spec has
			if s := insight.ServiceOf(string(typed)); s != nil && s != f.in.format() {
				f.odd[urlField] = append(f.odd[urlField], "this looks like a room of "+s.Title+", which takes nothing but its own messages: choose it above")
			}
		}
	}
	return strings.Join(f.odd[one], "; ")
}

// secretField shows a field that can be a Secret. What was typed is not shown again, and has
// to be typed again in a page without a script.
func (f *form) secretField(v *fieldView) {
	v.IsSecret, v.Remove = f.in.ticked(v.ID+suffixSecret), f.in.ticked(v.ID+suffixRemove)
	v.RefName, v.RefKey = f.in.Get(v.ID+suffixRefName), f.in.Get(v.ID+suffixRefKey)
	v.DefaultKey, v.CanType = v.secret.Key, f.may.CreateSecret || f.posted && v.Value != ""
	v.Kept = v.RefName != ""
	if name, key := refOf(f.base.Spec, v.field); name != "" {
		v.Kept = true
		v.Current = "key " + key + " of the Secret " + name
	}
	if v.Kind == kindURL && !v.IsSecret && !f.in.format().Room {
		return
	}
	v.Retype = v.Value != "" || slices.Contains(f.in.Values[inputRetype], v.ID)
	v.Value = ""
}
