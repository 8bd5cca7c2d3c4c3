package dashboard

import (
	"cmp"
	"errors"
	"net/http"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/change"
)

// Inputs of the form that are no fields.
const (
	inputAction  = "action"
	actionSubmit = "submit"
	actionCheck  = "check"
	inputBase    = "base"
	// inputScript is set by the page's script, which follows to another page itself.
	inputScript = "script"
)

// addForm adds the pages that create and edit Webhooks.
func (s *Session) addForm(mux *http.ServeMux) {
	mux.HandleFunc("GET /ns/{namespace}/new", s.page(showNew))
	mux.HandleFunc("POST /ns/{namespace}/new", s.form(postNew))
	mux.HandleFunc("GET /ns/{namespace}/webhooks/{name}/edit", s.page(showEdit))
	mux.HandleFunc("POST /ns/{namespace}/webhooks/{name}/edit", s.form(postEdit))
}

// form serves what is posted by a form, which is shown again unless it leads to another page.
func (s *Session) form(post func(*request) (*view, *saved, error)) http.HandlerFunc {
	return s.posted(func(w http.ResponseWriter, q *request) error {
		again, done, err := post(q)
		switch {
		case err != nil:
			return err
		case done == nil:
			s.render(w, q, again)
		case q.PostFormValue(inputScript) != "":
			w.Header().Set("Location", s.notices.add(done.to, done.said))
			w.WriteHeader(http.StatusNoContent)
		default:
			http.Redirect(w, q.Request, s.notices.add(done.to, done.said), http.StatusSeeOther)
		}
		return nil
	})
}

// saved is where a form leads that was submitted, and what is said there.
type saved struct {
	to   string
	said *notice
}

// form is a form as somebody sees it, and what becomes of it.
type form struct {
	*request
	create bool
	// live is the Webhook as it is now; nil where one is to be created.
	live *unstructured.Unstructured
	base *formBase
	in   input
	*draft
	// posted: somebody has filled it in, and submitted: they want it stored.
	posted, submitted bool
	// told is what they have to know before they submit it again, and gone: that the Webhook
	// was deleted meanwhile.
	told string
	gone bool
	// help is what to do where it cannot be stored, for a reason that is in no field.
	help string
	// odd are what is odd, by field; nil before somebody asks.
	odd map[*field][]string
}

// showNew is the page that creates a Webhook.
func showNew(q *request) (*view, error) {
	q.patient(partEvents)
	f := &form{request: q, create: true, base: &formBase{Spec: map[string]any{}}, in: inputOf(nil)}
	f.draft = draftOf(f.in, f.base.Spec)
	return f.view(), nil
}

// showEdit is the page that edits one.
func showEdit(q *request) (*view, error) {
	live, err := q.live()
	if err != nil {
		return nil, err
	}
	q.patient(partEvents)
	f := &form{request: q, live: live, base: baseOf(live)}
	f.in = inputOf(f.base.Spec)
	if err := f.turn(); err != nil {
		return nil, err
	}
	f.draft = draftOf(f.in, f.base.Spec)
	f.compile() // whoever comes to mend an expression sees at once what is wrong with it
	return f.view(), nil
}

// live reads the Webhook that a request names, with fields that this program may not know.
func (q *request) live() (*unstructured.Unstructured, error) {
	object := newObject(q.namespace, q.PathValue("name"))
	if err := q.cluster.client.Get(q.Context(), q.key(), object); err != nil {
		return nil, err
	}
	return object, nil
}

func newObject(namespace, name string) *unstructured.Unstructured {
	object := &unstructured.Unstructured{}
	object.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind("Webhook"))
	object.SetNamespace(namespace)
	object.SetName(name)
	return object
}

// postedForm reads what was filled in.
func postedForm(q *request, create bool) (*form, error) {
	base, err := parseBase(q.PostFormValue(inputBase))
	if err != nil {
		return nil, err
	}
	f := &form{
		request: q, create: create, base: base, in: input{q.PostForm},
		posted: true, submitted: q.PostFormValue(inputAction) == actionSubmit,
	}
	if err := f.turn(); err != nil {
		return nil, err
	}
	f.draft = draftOf(f.in, base.Spec)
	return f, nil
}

// turn waits for the session's turn to evaluate expressions, where the form has any.
func (f *form) turn() error {
	if !f.in.hasExpressions() {
		return nil
	}
	return f.session.turn(f.Context())
}

// postNew checks a new Webhook, and creates it if that is asked for.
func postNew(q *request) (*view, *saved, error) {
	f, err := postedForm(q, true)
	if err != nil {
		return nil, nil, err
	}
	f.check()
	if !f.submitted || len(f.mistakes) > 0 {
		return f.view(), nil, nil
	}
	object, secret := f.object(f.in.Get(nameField.ID), "")
	left, err := change.Create(q.Context(), q.cluster.client, object, secret, false)
	if err != nil {
		f.refuse(err)
		return f.view(), nil, nil
	}
	q.store.writtenObject(object)
	said := &notice{Text: "The webhook " + object.GetName() + " is created. A test shows whether its receiver is there."}
	if left != nil {
		said.Text += " One thing is left: " + left.Error()
	}
	return nil, &saved{link(q.namespace, "webhooks", object.GetName()), said}, nil
}

// maxSaves bounds how often an edit is tried that somebody else gets ahead of each time.
const maxSaves = 10

// postEdit checks an edit, and stores it if that is asked for.
func postEdit(q *request) (*view, *saved, error) {
	f, err := postedForm(q, false)
	if err != nil {
		return nil, nil, err
	}
	for range maxSaves {
		again, done, err := f.edit()
		if !apierrors.IsConflict(err) {
			return again, done, err
		}
	}
	f.mistakes.add(nil, "The webhook is being changed all the time. Nothing was stored: try again.")
	return f.view(), nil, nil
}

// edit does it once. It fails with a conflict where somebody else was faster.
func (f *form) edit() (*view, *saved, error) {
	f.draft = draftOf(f.in, f.base.Spec)
	live, err := f.request.live()
	switch {
	case apierrors.IsNotFound(err):
		f.create, f.gone, f.base.Conflicts = true, true, nil
		return f.view(), nil, nil
	case err != nil:
		f.refuse(err)
		return f.view(), nil, nil
	}
	f.live = live
	undecided := f.base.choose(f.draft, f.in)
	if !f.submitted {
		f.check()
		return f.view(), nil, nil
	}
	for _, one := range undecided {
		f.mistakes.add(one, "somebody else has changed it, too: choose theirs or yours")
	}
	now := baseOf(live)
	m := merge(f.base.Spec, now.Spec, f.spec)
	if len(m.conflicts) > 0 || now.UID != f.base.UID {
		f.meet(now, m)
		return f.view(), nil, nil
	}
	f.spec = m.spec
	f.check()
	if len(f.mistakes) > 0 {
		return f.view(), nil, nil
	}
	to := link(f.namespace, "webhooks", live.GetName())
	if len(differing(now.Spec, f.spec)) == 0 {
		return nil, &saved{to, &notice{Text: "Nothing was changed: the webhook is as the form says already."}}, nil
	}
	if err := f.save(false); err != nil {
		if apierrors.IsConflict(err) {
			return nil, nil, err
		}
		f.refuse(err)
		return f.view(), nil, nil
	}
	return nil, &saved{to, f.done(&m)}, nil
}

// done says what was stored.
func (f *form) done(m *merged) *notice {
	said := &notice{Text: "The webhook " + f.live.GetName() + " is saved."}
	if text := m.say(); text != "" {
		said.Text += " Somebody else has changed it meanwhile (" + cmp.Or(lastWriter(f.live, f.now), "it is not known with what") + "): " + text + "."
	}
	return said
}

// meet begins anew from what somebody else has stored meanwhile, with what was typed: their
// fields where nobody else has touched them, and a choice for each that both have changed.
func (f *form) meet(now *formBase, m merged) {
	before := inputOf(f.base.Spec)
	for _, c := range f.base.Conflicts {
		if one := fieldByID(c.Field); one != nil && f.in.Get(prefixChoice+c.Field) == choiceTheirs {
			f.in.take(one, before)
		}
		f.in.Del(prefixChoice + c.Field)
	}
	theirs := inputOf(now.Spec)
	for _, one := range m.theirs {
		f.in.take(one, theirs)
	}
	who := lastWriter(f.live, f.now)
	switch {
	case now.UID != f.base.UID:
		f.told = "The webhook was deleted and made anew by somebody else meanwhile"
	default:
		f.told = "Somebody else has changed the webhook meanwhile"
	}
	if who != "" {
		f.told += " (" + who + ")"
	}
	f.told += ". Nothing was stored yet, and nothing of yours is lost."
	if text := m.say(); text != "" {
		f.told += " Merged: " + text + "."
	}
	f.base = now
	f.base.Conflicts = m.conflicts
	f.mistakes = nil
	f.spec = m.spec
}

// view is the page of the form.
func (f *form) view() *view {
	v := &view{template: "form", tab: "webhooks", static: true, script: "form.js", data: f.show()}
	v.title = "Create a webhook"
	if !f.create {
		v.title = "Edit " + f.PathValue("name")
	}
	if f.submitted {
		v.status = http.StatusUnprocessableEntity
		if f.told != "" || f.gone {
			v.status = http.StatusConflict
		}
	}
	return v
}

// refuse takes an error of the API server for what is wrong with the form.
func (f *form) refuse(err error) {
	if e, ok := errors.AsType[*change.LeftoverError](err); ok {
		f.mistakes.add(nil, "The Secret "+e.Name+" was made in vain and could not be removed: "+e.Err.Error())
		err = e.Why
	}
	if problems, ok := change.Problems(err); ok {
		for _, p := range problems {
			f.refuseField(p)
		}
		return
	}
	if e, ok := errors.AsType[*change.WebhookExistsError](err); ok {
		f.mistakes.add(nameField, e.Error())
		return
	}
	typed := f.typedFields()
	if e, ok := errors.AsType[*change.SecretExistsError](err); ok && len(typed) > 0 {
		f.mistakes.add(typed[0], "there is a Secret "+e.Name+" already, which is not overwritten: name it below if it is the one, or take another name for the webhook")
		return
	}
	if status, ok := errors.AsType[*apierrors.StatusError](err); ok && apierrors.IsForbidden(err) && len(typed) > 0 &&
		status.Status().Details != nil && status.Status().Details.Kind == "secrets" {
		f.mistakes.add(typed[0], "you may not create Secrets in this namespace: name one that is there")
		return
	}
	if apierrors.IsUnauthorized(err) {
		f.session.refused(f.cluster)
	}
	_, title, t := explain(err, f.namespace)
	if apierrors.IsForbidden(err) {
		title = "You may not do this"
	}
	f.mistakes.add(nil, title+": "+t.Text)
	f.help = t.Help
}

// mendFirst is how a problem begins that says that there may be more. The form asks for them
// itself.
const mendFirst = "Mend these first"

// save writes the edit, or has the API server check it.
func (f *form) save(dry bool) error {
	ctx, api := f.Context(), f.cluster.client
	write := func(secret string, dry bool) error {
		object := f.live.DeepCopy()
		object.Object["spec"] = f.specWith(secret)
		options := []client.UpdateOption{client.FieldOwner(change.FieldManager), client.FieldValidation(strict)}
		if dry {
			options = append(options, client.DryRunAll)
		}
		if err := api.Update(ctx, object, options...); err != nil || dry {
			return err
		}
		f.store.writtenObject(object)
		return nil
	}
	if len(f.typed) == 0 {
		return write("", dry)
	}
	secret := change.NewSecret(f.namespace, f.live.GetName(), f.typed)
	return change.WithSecret(ctx, api, secret, f.live, dry, write)
}
