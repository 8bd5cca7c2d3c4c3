package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/json"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/horizoncd/webhook-operator/internal/validation"
)

// editTimeout bounds how long it may take to store an edit.
const editTimeout = time.Minute

const editHelp = `Edit the webhook below and save it. Lines that begin with '#' at the top are left out;
an empty file, or one that is not changed, cancels the edit.`

// session is an edit in an editor.
type session struct {
	*changer
	// base is the Webhook that the edit is made from, without what nobody edits.
	base *unstructured.Unstructured
	// live is base as the API server has it.
	live *unstructured.Unstructured
	path string
	// mine says that the file has something that somebody wrote.
	mine bool
}

// inEditor opens a Webhook in an editor and sends what changed. What was written is kept
// in a file until it is stored. The result is nil where nothing was to be done.
func (c *changer) inEditor(ctx context.Context, live *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	f, err := os.CreateTemp("", "kubectl-horizon-edit-*.yaml")
	if err != nil {
		return nil, fmt.Errorf("making a file to edit: %w", err)
	}
	f.Close()
	s := &session{changer: c, live: live, base: editable(live), path: f.Name()}
	object, err := s.run(ctx)
	switch {
	case err != nil && s.mine:
		return nil, keptError{err, s.path}
	case errors.Is(err, errNoChange):
		os.Remove(s.path)
		fmt.Fprintln(c.ErrOut, "Edit cancelled: nothing was changed.")
		return nil, nil //nolint:nilnil // to change nothing is no mistake
	}
	os.Remove(s.path)
	return object, err
}

// editable is an object without what the API server and the operator write.
func editable(object *unstructured.Unstructured) *unstructured.Unstructured {
	e := object.DeepCopy()
	e.SetManagedFields(nil)
	unstructured.RemoveNestedField(e.Object, "status")
	return e
}

// run opens the editor until what it leaves is stored, or given up.
func (s *session) run(ctx context.Context) (*unstructured.Unstructured, error) {
	content, header := s.base, editHelp
	var text []byte // what is opened again as it is, under a new header
	for {
		if text == nil {
			data, err := yaml.Marshal(content.Object)
			if err != nil {
				return nil, fmt.Errorf("writing the webhook: %w", err)
			}
			text = data
		}
		written := append(commented(header), text...)
		edited, err := s.open(ctx, written)
		if err != nil {
			return nil, err
		}
		body := withoutHeader(edited)
		if bytes.Equal(edited, written) || len(bytes.TrimSpace(body)) == 0 {
			return nil, errNoChange
		}
		s.mine = true
		text = body
		candidate, err := s.parse(body)
		if err != nil {
			header = "This cannot be read: " + err.Error()
			continue
		}
		if reflect.DeepEqual(candidate.Object, s.base.Object) {
			s.mine = false
			return nil, errNoChange
		}
		if wrong := newMistakes(s.base, candidate); wrong != "" {
			header = wrong
			continue
		}
		stored, err := s.send(ctx, candidate)
		var conflict *conflictError
		switch {
		case err == nil:
			return stored, nil
		case errors.As(err, &conflict):
			content, text, header = conflict.merged, nil, conflict.Error()
		case apierrors.IsInvalid(err) || apierrors.IsBadRequest(err):
			header = explain(refusal(err))
		default:
			return nil, fmt.Errorf("changing webhook %s: %w", s.live.GetName(), err)
		}
	}
}

// newMistakes says which expressions of an edited Webhook do not compile. One that was there
// before is left alone: something else may be what is to be changed.
func newMistakes(before, after *unstructured.Unstructured) string {
	was, err := webhookFrom(before)
	if err != nil {
		return ""
	}
	is, err := webhookFrom(after)
	if err != nil {
		return "" // the API server says what is wrong
	}
	known := map[string]string{}
	for _, p := range validation.Expressions(was) {
		known[p.Field] = p.Mistake.Error()
	}
	var lines []string
	for _, p := range validation.Expressions(is) {
		if known[p.Field] != p.Mistake.Error() {
			lines = append(lines, p.Message())
		}
	}
	return strings.Join(lines, "\n")
}

// commented makes a text comment lines. It is somebody else's, in part.
func commented(text string) []byte {
	var b bytes.Buffer
	for line := range strings.SplitSeq(printable(text), "\n") {
		b.WriteString(strings.TrimRight("# "+line, " ") + "\n")
	}
	b.WriteString("#\n")
	return b.Bytes()
}

// withoutHeader leaves out the comment lines at the top.
func withoutHeader(text []byte) []byte {
	for bytes.HasPrefix(text, []byte("#")) {
		_, rest, _ := bytes.Cut(text, []byte("\n"))
		text = rest
	}
	return text
}

// open writes the file, opens it in the editor, and reads it.
func (s *session) open(ctx context.Context, text []byte) ([]byte, error) {
	if err := os.WriteFile(s.path, text, 0o600); err != nil {
		return nil, fmt.Errorf("writing the file to edit: %w", err)
	}
	cmd := editorCommand(ctx, s.path)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = s.In, s.Out, s.ErrOut
	if err := cmd.Run(); err != nil {
		if left, _ := os.ReadFile(s.path); !bytes.Equal(left, text) {
			s.mine = true
		}
		return nil, fmt.Errorf("the editor %q ended with an error: %w; set KUBE_EDITOR to another one", editorName(), err)
	}
	text, err := os.ReadFile(s.path)
	if err != nil {
		return nil, fmt.Errorf("reading the edited file: %w", err)
	}
	return text, nil
}

// editorName is the editor that somebody wants, as kubectl edit finds it.
func editorName() string {
	for _, name := range []string{"KUBE_EDITOR", "EDITOR"} {
		if editor := strings.TrimSpace(os.Getenv(name)); editor != "" {
			return editor
		}
	}
	if runtime.GOOS == "windows" {
		return "notepad"
	}
	return "vi"
}

// editorCommand runs the editor. It may have arguments and quotation marks, which are the
// shell's business.
func editorCommand(ctx context.Context, path string) *exec.Cmd {
	editor := editorName()
	if runtime.GOOS == "windows" {
		words := strings.Fields(editor)
		return exec.CommandContext(ctx, words[0], append(words[1:], path)...) //nolint:gosec // the user's own editor
	}
	return exec.CommandContext(ctx, "sh", "-c", editor+` "$1"`, "sh", path) //nolint:gosec // the user's own editor
}

// parse reads what the editor left.
func (s *session) parse(text []byte) (*unstructured.Unstructured, error) {
	data, err := yaml.YAMLToJSONStrict(text)
	if err != nil {
		return nil, err
	}
	object := &unstructured.Unstructured{}
	if err := object.UnmarshalJSON(data); err != nil {
		return nil, err
	}
	for what, pair := range map[string][2]string{
		"apiVersion":         {object.GetAPIVersion(), s.base.GetAPIVersion()},
		"kind":               {object.GetKind(), s.base.GetKind()},
		"metadata.name":      {object.GetName(), s.base.GetName()},
		"metadata.namespace": {object.GetNamespace(), s.base.GetNamespace()},
	} {
		if pair[0] != pair[1] {
			return nil, fmt.Errorf("%s cannot be changed: it is %q", what, pair[1])
		}
	}
	return object, nil
}

// send patches what differs from base. It fails with a conflictError where somebody else
// has changed the Webhook meanwhile; what the operator writes into its status is no change.
func (s *session) send(ctx context.Context, candidate *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	api, err := s.client()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, editTimeout)
	defer cancel()
	for try := 1; ; try++ {
		base := s.base.DeepCopy()
		base.SetResourceVersion(s.live.GetResourceVersion())
		changed := candidate.DeepCopy()
		changed.SetResourceVersion(s.live.GetResourceVersion())
		patch := client.MergeFromWithOptions(base, client.MergeFromWithOptimisticLock{})
		err := api.Patch(ctx, changed, patch, s.options()...)
		if err == nil || !apierrors.IsConflict(err) || try == maxEditTries {
			return changed, err
		}
		live, err := s.getWebhook(ctx, s.live.GetName())
		if err != nil {
			return nil, err
		}
		theirs := differences("", without(s.base), without(editable(live)))
		if s.live = live; len(theirs) > 0 {
			return nil, s.conflict(candidate, editable(live), theirs)
		}
	}
}

// without is the content of an object but for what each write changes.
func without(object *unstructured.Unstructured) map[string]any {
	o := object.DeepCopy()
	o.SetResourceVersion("")
	o.SetGeneration(0)
	return o.Object
}

// conflictError says that somebody else has changed the Webhook meanwhile.
type conflictError struct {
	message string
	merged  *unstructured.Unstructured
}

func (e *conflictError) Error() string { return e.message }

// conflict says what others have changed, and puts both changes together: where both
// have changed the same, it is theirs that is said and one's own that stands.
func (s *session) conflict(candidate, live *unstructured.Unstructured, theirs []string) error {
	merged := live.DeepCopy()
	data, err := client.MergeFrom(s.base).Data(candidate)
	if err != nil {
		return fmt.Errorf("comparing the edit: %w", err)
	}
	var mine map[string]any
	if err := json.Unmarshal(data, &mine); err != nil {
		return fmt.Errorf("comparing the edit: %w", err)
	}
	mergeInto(merged.Object, mine)
	merged.SetResourceVersion(live.GetResourceVersion())
	merged.SetGeneration(live.GetGeneration())
	message := fmt.Sprintf(`Nothing was stored: somebody else has changed the webhook meanwhile%s.
  %s
Below is theirs with your changes on top of it; what both have changed is as you have it.
To store it, take this line out, and change what you like.`, lastWriter(s.live), strings.Join(theirs, "\n  "))
	s.base = live
	return &conflictError{message, merged}
}

// lastWriter names who has written an object last, status left aside.
func lastWriter(object *unstructured.Unstructured) string {
	name, at := "", ""
	for _, entry := range object.GetManagedFields() {
		if entry.Subresource == "" && entry.Time != nil && entry.Time.UTC().Format("15:04:05") >= at {
			name, at = entry.Manager, entry.Time.UTC().Format("15:04:05")
		}
	}
	if name == "" {
		return ""
	}
	return fmt.Sprintf(" (with %s, at %s UTC)", name, at)
}

// mergeInto applies a JSON merge patch.
func mergeInto(target, patch map[string]any) {
	for key, value := range patch {
		inner, isMap := value.(map[string]any)
		into, wasMap := target[key].(map[string]any)
		switch {
		case value == nil:
			delete(target, key)
		case isMap && wasMap:
			mergeInto(into, inner)
		default:
			target[key] = value
		}
	}
}

// differences lists what differs between two values, one line each, by path.
func differences(path string, before, after map[string]any) []string {
	keys := maps.Clone(before)
	maps.Copy(keys, after)
	var lines []string
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		was, is := before[key], after[key]
		at := strings.TrimPrefix(path+"."+key, ".")
		wasMap, ok1 := was.(map[string]any)
		isMap, ok2 := is.(map[string]any)
		switch {
		case reflect.DeepEqual(was, is):
		case ok1 && ok2:
			lines = append(lines, differences(at, wasMap, isMap)...)
		default:
			lines = append(lines, fmt.Sprintf("%s was %s, and is %s", at, shortJSON(was), shortJSON(is)))
		}
	}
	return lines
}

// maxShown bounds how much of a value a line shows.
const maxShown = 120

// shortJSON is a value on one line.
func shortJSON(value any) string {
	if value == nil {
		return "absent"
	}
	data, err := json.Marshal(value)
	if err != nil {
		return fmt.Sprint(value)
	}
	return cutWidth(oneLine(string(data)), maxShown)
}
