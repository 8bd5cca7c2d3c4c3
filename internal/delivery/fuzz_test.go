package delivery

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"sigs.k8s.io/cli-utils/pkg/kstatus/status"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/retry"
	"github.com/horizoncd/webhook-operator/internal/sending"
	"github.com/horizoncd/webhook-operator/test/schema"
)

// complaints are what is wrong with a value by a schema: the keywords that this
// CRD uses. CEL rules are for the tests against the API server.
func complaints(path string, s *apiextensionsv1.JSONSchemaProps, value any) []string {
	var all []string
	complain := func(format string, args ...any) { all = append(all, path+": "+fmt.Sprintf(format, args...)) }
	if len(s.Enum) > 0 && !slices.ContainsFunc(s.Enum, func(e apiextensionsv1.JSON) bool { return string(e.Raw) == fmt.Sprintf("%q", value) }) {
		complain("%v is none of the values", value)
	}
	switch value := value.(type) {
	case string:
		if s.Type != "string" {
			complain("is a string")
		}
		length := int64(utf8.RuneCountInString(value))
		if s.MinLength != nil && length < *s.MinLength || s.MaxLength != nil && length > *s.MaxLength {
			complain("has %d characters", length)
		}
		if s.Pattern != "" && !schema.Pattern(s.Pattern).MatchString(value) {
			complain("%.40q does not match %s", value, s.Pattern)
		}
		if s.Format == "date-time" {
			if _, err := time.Parse(time.RFC3339, value); err != nil {
				complain("%v", err)
			}
		}
	case float64:
		if s.Type != "integer" || value != float64(int64(value)) || s.Format == "int32" && value != float64(int32(value)) {
			complain("%g is not of type %s, format %s", value, s.Type, s.Format)
		}
		if s.Minimum != nil && value < *s.Minimum || s.Maximum != nil && value > *s.Maximum {
			complain("%g is out of bounds", value)
		}
	case bool:
		if s.Type != "boolean" {
			complain("is a boolean")
		}
	case []any:
		if s.Type != "array" {
			complain("is a list")
			break
		}
		if s.MaxItems != nil && int64(len(value)) > *s.MaxItems {
			complain("has %d items", len(value))
		}
		for n, item := range value {
			all = append(all, complaints(fmt.Sprintf("%s[%d]", path, n), s.Items.Schema, item)...)
		}
	case map[string]any:
		for _, name := range s.Required {
			if _, ok := value[name]; !ok {
				complain("%s is missing", name)
			}
		}
		for name, field := range value {
			property, ok := s.Properties[name]
			switch {
			case ok:
				all = append(all, complaints(path+"."+name, &property, field)...)
			default:
				complain("%s is unknown", name)
			}
		}
	default:
		complain("%v is of no known type", value)
	}
	return all
}

// withoutMetadata is what the API server sees of a delivery's spec and status.
func withoutMetadata(t testing.TB, d *v1alpha1.WebhookDelivery) map[string]any {
	t.Helper()
	data, err := json.Marshal(&v1alpha1.WebhookDelivery{Spec: d.Spec, Status: d.Status})
	if err != nil {
		t.Fatal(err)
	}
	var object map[string]any
	if err := json.Unmarshal(data, &object); err != nil {
		t.Fatal(err)
	}
	delete(object, "metadata")
	return object
}

func validate(t testing.TB, s *apiextensionsv1.JSONSchemaProps, d *v1alpha1.WebhookDelivery) {
	t.Helper()
	for _, complaint := range complaints("", s, withoutMetadata(t, d)) {
		t.Error(complaint)
	}
	for key, value := range d.Labels {
		for _, problem := range slices.Concat(validation.IsQualifiedName(key), validation.IsValidLabelValue(value)) {
			t.Errorf("label %s=%s: %s", key, value, problem)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(d.Annotations)) {
		for _, problem := range validation.IsQualifiedName(key) {
			t.Errorf("annotation %s: %s", key, problem)
		}
		if key != v1alpha1.AnnotationResend && len(d.Annotations[key]) > 64 {
			t.Errorf("annotation %s has %d bytes", key, len(d.Annotations[key]))
		}
	}
}

// A validator that finds nothing would prove nothing.
func TestValidatorFinds(t *testing.T) {
	s := schema.Of(t, "webhookdeliveries")
	for name, tc := range map[string]struct {
		change func(d *v1alpha1.WebhookDelivery)
		want   string
	}{
		"too long":     {func(d *v1alpha1.WebhookDelivery) { d.Status.History[0].Error = strings.Repeat("x", 2049) }, ".status.history[0].error: has 2049 characters"},
		"too many":     {func(d *v1alpha1.WebhookDelivery) { d.Status.History = make([]v1alpha1.Attempt, 11) }, ".status.history: has 11 items"},
		"missing":      {func(d *v1alpha1.WebhookDelivery) { d.Status.Request.Headers = "" }, ".status.request: headers is missing"},
		"no such enum": {func(d *v1alpha1.WebhookDelivery) { d.Status.Conditions[0].Status = "Fine" }, ".status.conditions[0].status: Fine is none of the values"},
		"negative":     {func(d *v1alpha1.WebhookDelivery) { d.Status.History[0].Milliseconds = -1 }, ".status.history[0].milliseconds: -1 is out of bounds"},
		"bad reason":   {func(d *v1alpha1.WebhookDelivery) { d.Status.Conditions[0].Reason = "no reason" }, ".status.conditions[0].reason: "},
	} {
		t.Run(name, func(t *testing.T) {
			d := fresh()
			AddAttempt(d, attempt(v1alpha1.CauseInitial, exchange(200, now)))
			tc.change(d)
			got := complaints("", s, withoutMetadata(t, d))
			if !slices.ContainsFunc(got, func(c string) bool { return strings.HasPrefix(c, tc.want) }) {
				t.Errorf("complaints %q, want %q", got, tc.want)
			}
		})
	}
}

// texts are what comes from outside, at the bounds that package sending keeps.
func text(kind byte, bytes int) string {
	switch kind % 6 {
	case 0:
		return ""
	case 1:
		return "x"
	case 2:
		return strings.Repeat("<", bytes)
	case 3:
		return strings.Repeat("\u97f3", bytes/3)
	case 4:
		return strings.Repeat("\U0001f3b5", bytes/4)
	default:
		return strings.Repeat("\ufffd\n\t", bytes/5)
	}
}

// exchangeOf makes an exchange such as package sending returns out of two bytes.
func exchangeOf(a, b byte, at time.Time) sending.Exchange {
	x := sending.Exchange{
		Start: at, Duration: time.Duration(b) * time.Second,
		RequestHeader: "User-Agent: x" + text(a>>1, sending.MaxHeader-13),
	}
	if b&1 != 0 {
		x.Duration = -x.Duration // a clock that was set back
	}
	if a&1 != 0 {
		codes := []int{0, 99, 101, 200, 201, 204, 299, 301, 302, 308, 400, 401, 410, 429, 500, 503, 600, 999}
		x.Response = &sending.Response{
			StatusCode: codes[int(b)%len(codes)],
			Header:     text(b, sending.MaxHeader), HeaderTruncated: a&2 != 0,
			Body: text(b>>1, sending.MaxBody), BodyTruncated: a&4 != 0,
			RetryAfter: []string{"", "0", "120", "-1", "NaN", "99999999999999999999"}[a%6],
			Location:   text(b>>2, sending.MaxLocation),
		}
	}
	if x.Response == nil || a&8 != 0 {
		x.Err = errors.New("x" + text(a>>3, 2*sending.MaxError))
		x.Interrupted = a&16 != 0
	}
	return x
}

// Whatever happens to a delivery, and in whatever order: the API server can store
// it, its parts agree with each other, and what was delivered stays delivered.
func FuzzOperations(f *testing.F) {
	for _, seed := range []string{
		"\x00\x01\x03", "\x00\x01\x03\x02\x05\x0b\x06\x00\x00", "\x03\x00\x00\x06\x00\x00\x01\x01\x07",
		"\x00\x19\x01\x02\x13\x02\x02\x14\x03", "\x00\x01\x0e\x05\x00\x00", "\x02\x09\x04\x04\x00\x00\x05\x00\x00",
		"\x00\x1f\xff\x01\xff\xfe\x02\x7f\xfd\x01\x0f\x0f\x07\x01\x01",
	} {
		f.Add([]byte(seed))
	}
	s := schema.Of(f, "webhookdeliveries")
	f.Fuzz(func(t *testing.T, operations []byte) { runOperations(t, s, operations) })
}

// Whatever somebody annotates: a value that is not empty asks for one resend, and the
// record that honours it can be stored.
func FuzzResend(f *testing.F) {
	for _, seed := range []string{"", "1", "first\nsecond", "\x00\xff", strings.Repeat("\U0001f3b5", 300)} {
		f.Add(seed, "before")
	}
	s := schema.Of(f, "webhookdeliveries")
	f.Fuzz(func(t *testing.T, value, before string) {
		if !utf8.ValidString(value) || !utf8.ValidString(before) {
			t.Skip() // the API server takes none such
		}
		d := fresh()
		AddAttempt(d, attempt(v1alpha1.CauseInitial, exchange(200, now)))
		for _, v := range []string{before, value} {
			honoured := d.Annotations[v1alpha1.AnnotationResent] == ResendHash(v)
			annotate(d, v)
			if got, want := ResendPending(d.Annotations), v != "" && !honoured; got != want {
				t.Fatalf("%q is to be honoured: %t, want %t", v, got, want)
			}
			if ResendPending(d.Annotations) {
				a := attempt(v1alpha1.CauseResend, exchange(200, now))
				a.Resend = v
				AddAttempt(d, a)
			}
			if ResendPending(d.Annotations) {
				t.Errorf("%q would be honoured twice", v)
			}
		}
		validate(t, s, d)
	})
}

// The same for sequences of chance, since fuzzing is not part of every run.
func TestOperations(t *testing.T) {
	s := schema.Of(t, "webhookdeliveries")
	chance := rand.New(rand.NewPCG(1, 2))
	for range 60 {
		operations := make([]byte, 3*12)
		for n := range operations {
			operations[n] = byte(chance.UintN(256))
		}
		runOperations(t, s, operations)
		if t.Failed() {
			t.Fatalf("operations %x", operations)
		}
	}
}

func runOperations(t *testing.T, s *apiextensionsv1.JSONSchemaProps, operations []byte) {
	d, at := fresh(), now
	delivered := false
	for operations = operations[:min(len(operations), 3*32)]; len(operations) >= 3; operations = operations[3:] {
		at = at.Add(time.Duration(operations[1])*time.Minute + time.Duration(operations[2])*time.Millisecond)
		base := d.DeepCopy()
		operate(t, d, operations[0], operations[1], operations[2], at)
		delivered = delivered || base.Status.Result == v1alpha1.DeliverySucceeded
		if delivered && d.Status.Result != v1alpha1.DeliverySucceeded {
			t.Errorf("a delivered one is %s", d.Status.Result)
		}
		validate(t, s, d)
		if d.Status.Result != "" {
			agrees(t, d)
		}
		Shrink(base)
		validate(t, s, base)
		if t.Failed() {
			return
		}
	}
}

func operate(t *testing.T, d *v1alpha1.WebhookDelivery, op, a, b byte, at time.Time) {
	add := func(cause v1alpha1.AttemptCause, resend string) {
		attempts, cycle := d.Status.Attempts, retry.CycleOf(d)
		x := exchangeOf(a, b, at)
		outcome := AddAttempt(d, Attempt{
			Cause: cause, URL: "https://" + strings.Repeat("x", 2040), Exchange: x,
			Resend: resend, Policy: policy, Chance: float64(b) / 255,
		})
		counts := int32(1)
		if outcome == retry.Interrupted {
			counts = 0
		}
		if d.Status.Attempts != attempts+counts {
			t.Errorf("%d attempts after %d and one with outcome %d", d.Status.Attempts, attempts, outcome)
		}
		want := cycle.Attempts + counts
		if cause == v1alpha1.CauseResend {
			want = counts
		}
		if got := retry.CycleOf(d).Attempts; got != want {
			t.Errorf("%d attempts in the cycle, want %d", got, want)
		}
		if h := d.Status.History[0]; h.Cause != cause || !h.Time.Time.Equal(x.Start) {
			t.Errorf("the newest is not first: %+v", h)
		}
	}
	switch op % 8 {
	case 0:
		add(v1alpha1.CauseInitial, "")
	case 1:
		add(v1alpha1.CauseRetry, "")
	case 2:
		annotate(d, "y"+text(a, 1<<10))
		value := d.Annotations[v1alpha1.AnnotationResend]
		add(v1alpha1.CauseResend, value)
		if ResendPending(d.Annotations) {
			t.Error("the resend was not honoured")
		}
	case 3:
		if d.Status.Result == "" || d.Status.Result == v1alpha1.DeliveryWaiting { // as controllers do
			Wait(d, WaitReason{v1alpha1.ReasonPaused, text(a, 1<<10)}, at)
		}
	case 4:
		if d.Status.Result != "" {
			GiveUp(d, []string{v1alpha1.ReasonWebhookGone, v1alpha1.ReasonWaitedTooLong}[a%2], text(b, 1<<10), at)
		}
	case 5:
		*d = *stored(t, d)
	case 6:
		current := fresh()
		Wait(current, WaitReason{v1alpha1.ReasonQueued, ""}, now)
		current = stored(t, current)
		annotate(current, text(a, 1<<10))
		if d.Status.Result != "" && len(d.Status.History) > 0 {
			CarryOver(d, current)
			*d = *current
		}
	case 7:
		Shrink(d)
	}
}

// agrees checks that metadata, conditions and kstatus say what the status says.
func agrees(t *testing.T, d *v1alpha1.WebhookDelivery) {
	t.Helper()
	s := d.Status
	if got := d.Labels[v1alpha1.LabelResult]; got != string(s.Result) {
		t.Errorf("label %s, result %s", got, s.Result)
	}
	next := ""
	if !s.NextAttemptTime.IsZero() {
		next = s.NextAttemptTime.UTC().Format(time.RFC3339)
	}
	if got := d.Annotations[v1alpha1.AnnotationNextAttempt]; got != next {
		t.Errorf("annotation says next %q, status %q", got, next)
	}
	finished := s.Result != v1alpha1.DeliveryWaiting && next == ""
	if _, ok := d.Annotations[v1alpha1.AnnotationFinished]; ok && !finished {
		t.Error("it is called finished")
	}
	want := status.InProgressStatus
	switch {
	case finished && s.Result == v1alpha1.DeliveryFailed:
		want = status.FailedStatus
	case finished:
		want = status.CurrentStatus
	}
	if got := kstatusOf(t, d); got != want {
		t.Errorf("kstatus %s, want %s", got, want)
	}
	c := meta.FindStatusCondition(s.Conditions, v1alpha1.ConditionDelivered)
	wantStatus := map[v1alpha1.DeliveryResult]metav1.ConditionStatus{
		v1alpha1.DeliverySucceeded: metav1.ConditionTrue, v1alpha1.DeliveryFailed: metav1.ConditionFalse,
		v1alpha1.DeliveryWaiting: metav1.ConditionUnknown,
	}[s.Result]
	if c == nil || c.Status != wantStatus {
		t.Errorf("Delivered is %+v for a result of %s", c, s.Result)
	}
	if len(s.History) > historyLength {
		t.Errorf("a history of %d", len(s.History))
	}
}
