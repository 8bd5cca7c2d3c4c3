package dashboard

import (
	"fmt"
	"reflect"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/json"
)

// formBase is the Webhook that a form was made from. The form carries it.
type formBase struct {
	UID  types.UID      `json:"uid"`
	Spec map[string]any `json:"spec"`
	// Conflicts are the fields that somebody else has changed as well, with what they were
	// before: a choice is to be made for each. Spec has theirs.
	Conflicts []conflict `json:"conflicts,omitempty"`
}

// conflict is a field that two have changed, by its ID.
type conflict struct {
	Field string         `json:"field"`
	Was   map[string]any `json:"was"`
}

func baseOf(object *unstructured.Unstructured) *formBase {
	spec, _, _ := unstructured.NestedMap(object.Object, "spec")
	return &formBase{UID: object.GetUID(), Spec: spec}
}

// text is how the form carries it.
func (b *formBase) text() string {
	data, err := json.Marshal(b)
	if err != nil {
		return "" // it came from JSON
	}
	return string(data)
}

func parseBase(text string) (*formBase, error) {
	b := &formBase{}
	if err := json.Unmarshal([]byte(text), b); err != nil {
		return nil, badRequest("The form came without the webhook that it was made from: load it again.")
	}
	return b, nil
}

// Choices for a field that two have changed.
const (
	prefixChoice = "choice-"
	choiceTheirs = "theirs"
	choiceYours  = "yours"
)

// choose puts theirs in place of what the form says where that was chosen, and returns the
// fields where nothing was.
func (b *formBase) choose(d *draft, in input) (open []*field) {
	for _, c := range b.Conflicts {
		f := fieldByID(c.Field)
		if f == nil {
			continue
		}
		switch in.Get(prefixChoice + c.Field) {
		case choiceYours:
		case choiceTheirs:
			f.copy(d.spec, b.Spec)
			if f.secret != nil {
				delete(d.typed, f.secret.Key)
			}
		default:
			open = append(open, f)
		}
	}
	return open
}

// copy makes one spec say of a field what another one says.
func (f *field) copy(to, from map[string]any) {
	for _, path := range f.paths() {
		value, found, _ := unstructured.NestedFieldCopy(from, path...)
		if !found {
			value = nil
		}
		setIn(to, path, value)
	}
}

// merged is what comes of two edits of the same Webhook.
type merged struct {
	spec map[string]any
	// theirs and yours are the fields that only one of the two has changed. otherwise tells
	// that they have changed something that the form does not have.
	theirs, yours []*field
	otherwise     bool
	conflicts     []conflict
}

// merge puts theirs and yours together, both made from was. A field that both have changed
// is a conflict, unless they agree, and is as yours.
func merge(was, theirs, yours map[string]any) merged {
	m := merged{spec: clone(theirs)}
	wasRest, theirRest := clone(was), clone(theirs)
	for _, f := range allFields() {
		if f == nameField {
			continue
		}
		for _, path := range f.paths() {
			setIn(wasRest, path, nil)
			setIn(theirRest, path, nil)
		}
		mine, other := !f.same(was, yours), !f.same(was, theirs)
		switch {
		case !mine && !other:
			continue
		case !mine:
			m.theirs = append(m.theirs, f)
			continue
		case other && !f.same(theirs, yours):
			before := map[string]any{}
			f.copy(before, was)
			m.conflicts = append(m.conflicts, conflict{f.ID, before})
		case !other:
			m.yours = append(m.yours, f)
		}
		f.copy(m.spec, yours)
	}
	m.otherwise = !reflect.DeepEqual(wasRest, theirRest)
	return m
}

// say tells what they have changed and what stands; empty where that is nothing.
func (m *merged) say() string {
	var all []string
	if len(m.theirs) > 0 {
		all = append(all, "their change of "+labels(m.theirs)+" is kept")
	}
	if m.otherwise {
		all = append(all, "what they have changed beyond this form is kept")
	}
	if len(all) > 0 && len(m.yours) > 0 {
		all = append(all, "yours of "+labels(m.yours)+", too")
	}
	return strings.Join(all, "; ")
}

// labels lists fields.
func labels(fields []*field) string {
	var all []string
	for _, f := range fields {
		all = append(all, f.Label)
	}
	return strings.Join(all, ", ")
}

// conflictRow is a field that two have changed, side by side.
type conflictRow struct {
	ID, Label          string
	Was, Theirs, Yours string
	Choice             string
}

// rows shows the conflicts that are yet to be decided; spec is that of the form.
func (b *formBase) rows(in input, spec map[string]any) []conflictRow {
	var rows []conflictRow
	for _, c := range b.Conflicts {
		if f := fieldByID(c.Field); f != nil {
			rows = append(rows, conflictRow{
				ID: f.ID, Label: f.Label, Was: f.words(c.Was), Theirs: f.words(b.Spec), Yours: f.words(spec),
				Choice: in.Get(prefixChoice + f.ID),
			})
		}
	}
	return rows
}

// words says what a spec says of a field.
func (f *field) words(spec map[string]any) string {
	if f.secret != nil {
		switch name, key := refOf(spec, f); name {
		case "":
		case madeSecret:
			return "a new Secret with what you have typed"
		default:
			return "key " + key + " of the Secret " + name
		}
	}
	value, found, _ := unstructured.NestedFieldNoCopy(spec, f.path[1:]...)
	switch {
	case !found && f.Kind == kindTick:
		return "yes"
	case !found:
		return "nothing"
	case f.Kind == kindTriggers:
		return strings.Join(texts(value), ", ")
	case f.Kind == kindSeconds:
		return formatSeconds(value)
	case f.Kind == kindRate:
		return formatRate(value)
	case f.Kind == kindTick:
		return map[any]string{true: "yes", false: "no"}[value]
	}
	return fmt.Sprint(value)
}

// lastWriter names with what, and when, an object was written last, its status left aside;
// empty where that is not known.
func lastWriter(object *unstructured.Unstructured, now time.Time) string {
	manager, at := "", time.Time{}
	for _, entry := range object.GetManagedFields() {
		if entry.Subresource == "" && entry.Time != nil && !entry.Time.Time.Before(at) {
			manager, at = entry.Manager, entry.Time.Time
		}
	}
	if manager == "" {
		return ""
	}
	return "with " + manager + ", " + ago(at, now)
}
