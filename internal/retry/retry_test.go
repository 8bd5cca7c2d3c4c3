package retry

import (
	"context"
	"errors"
	"math"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/sending"
)

var now = time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)

func answer(code int) sending.Exchange {
	return sending.Exchange{Response: &sending.Response{StatusCode: code}}
}

func TestJudge(t *testing.T) {
	brokenOff := answer(200)
	brokenOff.Err = errors.New("the answer broke off")
	interruptedAfterAccepting := answer(204)
	interruptedAfterAccepting.Err, interruptedAfterAccepting.Interrupted = context.Canceled, true
	interruptedAfterRefusing := answer(500)
	interruptedAfterRefusing.Err, interruptedAfterRefusing.Interrupted = context.Canceled, true

	for name, tc := range map[string]struct {
		exchange sending.Exchange
		want     Outcome
	}{
		"199":                             {exchange: answer(199), want: Failed},
		"200":                             {exchange: answer(200), want: Accepted},
		"204":                             {exchange: answer(204), want: Accepted},
		"299":                             {exchange: answer(299), want: Accepted},
		"300":                             {exchange: answer(300), want: Failed},
		"301":                             {exchange: answer(301), want: Failed},
		"304":                             {exchange: answer(304), want: Failed},
		"308":                             {exchange: answer(308), want: Failed},
		"399":                             {exchange: answer(399), want: Failed},
		"401":                             {exchange: answer(401), want: Failed},
		"404":                             {exchange: answer(404), want: Failed},
		"409":                             {exchange: answer(409), want: Failed},
		"410":                             {exchange: answer(410), want: Gone},
		"411":                             {exchange: answer(411), want: Failed},
		"429":                             {exchange: answer(429), want: Failed},
		"500":                             {exchange: answer(500), want: Failed},
		"000":                             {exchange: answer(0), want: Failed},
		"099":                             {exchange: answer(99), want: Failed},
		"101":                             {exchange: answer(101), want: Failed},
		"600":                             {exchange: answer(600), want: Failed},
		"999":                             {exchange: answer(999), want: Failed},
		"no answer":                       {exchange: sending.Exchange{Err: errors.New("refused")}, want: Failed},
		"nothing at all":                  {want: Failed},
		"accepted, body broken off":       {exchange: brokenOff, want: Accepted},
		"accepted, then interrupted":      {exchange: interruptedAfterAccepting, want: Accepted},
		"refused, then interrupted":       {exchange: interruptedAfterRefusing, want: Interrupted},
		"interrupted before any answer":   {exchange: sending.Exchange{Err: context.Canceled, Interrupted: true}, want: Interrupted},
		"timeout is not an interruption":  {exchange: sending.Exchange{Err: context.DeadlineExceeded}, want: Failed},
		"gone, and the body was cut":      {exchange: sending.Exchange{Response: &sending.Response{StatusCode: 410, BodyTruncated: true}}, want: Gone},
		"denied":                          {exchange: sending.Exchange{Err: errors.New("10.0.0.1 is denied"), Denied: true}, want: Denied},
		"denied while interrupted":        {exchange: sending.Exchange{Err: context.Canceled, Interrupted: true, Denied: true}, want: Interrupted},
		"a failure with a success's body": {exchange: sending.Exchange{Response: &sending.Response{StatusCode: 500, Body: "200 OK"}}, want: Failed},
	} {
		t.Run(name, func(t *testing.T) {
			if got := OutcomeOf(tc.exchange); got != tc.want {
				t.Errorf("OutcomeOf = %d, want %d", got, tc.want)
			}
		})
	}
}

func TestExplain(t *testing.T) {
	withErr := func(x sending.Exchange, err error) sending.Exchange { x.Err = err; return x }
	for name, tc := range map[string]struct {
		exchange sending.Exchange
		want     string
	}{
		"accepted":            {exchange: answer(200), want: "answered 200 OK"},
		"a code without name": {exchange: answer(299), want: "answered 299"},
		"no code":             {exchange: answer(0), want: "answered 0"},
		"redirect":            {exchange: answer(307), want: "answered 307 Temporary Redirect; redirects are not followed"},
		"failure":             {exchange: answer(503), want: "answered 503 Service Unavailable"},
		"body not read": {
			exchange: withErr(answer(200), context.DeadlineExceeded),
			want:     "answered 200 OK, but the body could not be read: timeout",
		},
		"failure, body not read": {exchange: withErr(answer(500), context.DeadlineExceeded), want: "answered 500 Internal Server Error"},
		"no answer":              {exchange: withErr(sending.Exchange{}, context.DeadlineExceeded), want: "timeout"},
		"nothing of the receiver's words": {
			exchange: sending.Exchange{Response: &sending.Response{
				StatusCode: 302, Header: "X-Words: words", Body: "words", Location: "https://words", RetryAfter: "words",
			}},
			want: "answered 302 Found; redirects are not followed",
		},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, Explain(tc.exchange)); diff != "" {
				t.Errorf("Explain (-want +got):\n%s", diff)
			}
		})
	}
}

func TestPointsTo(t *testing.T) {
	for name, tc := range map[string]struct {
		code           int
		location, want string
	}{
		"elsewhere":              {code: 301, location: "https://ci.example.com/hooks/", want: "https://ci.example.com/hooks/"},
		"a path":                 {code: 308, location: "/hooks/", want: "/hooks/"},
		"a host":                 {code: 302, location: "https://ci.example.com", want: "https://ci.example.com"},
		"of the same scheme":     {code: 302, location: "//user@ci.example.com/x", want: "//ci.example.com/x"},
		"query":                  {code: 302, location: "https://sso.example.com/login?state=1#2", want: "https://sso.example.com/login"},
		"query without a path":   {code: 302, location: "https://sso.example.com?state=1/2", want: "https://sso.example.com"},
		"fragment":               {code: 303, location: "/login#x?y", want: "/login"},
		"session in the path":    {code: 307, location: "/login;jsessionid=A1B2", want: "/login"},
		"user name and password": {code: 302, location: "https://me:pass@word@example.com:8443/a@b", want: "https://example.com:8443/a@b"},
		"slashes in the path":    {code: 302, location: "/a//b@c/d", want: "/a//b@c/d"},
		"redacted":               {code: 302, location: "https://hooks.example.com/[redacted]/x", want: "https://hooks.example.com/[redacted]/x"},
		"nothing but a query":    {code: 302, location: "?a=b"},
		"long":                   {code: 302, location: "/" + strings.Repeat("x", 300), want: "/" + strings.Repeat("x", 255)},
		"long, cut in a letter":  {code: 302, location: "/" + strings.Repeat("\u00e9", 300), want: "/" + strings.Repeat("\u00e9", 127)},
		"not told":               {code: 302},
		"a success":              {code: 201, location: "/created"},
		"a failure":              {code: 503, location: "/elsewhere"},
	} {
		t.Run(name, func(t *testing.T) {
			x := answer(tc.code)
			x.Response.Location = tc.location
			if got := PointsTo(x); got != tc.want {
				t.Errorf("PointsTo = %q, want %q", got, tc.want)
			}
		})
	}
	if got := PointsTo(sending.Exchange{}); got != "" {
		t.Errorf("PointsTo of no answer = %q", got)
	}
}

// Whatever fails may ask for rest; what does not, or says nothing of the receiver,
// may not.
func TestRest(t *testing.T) {
	policy := PolicyOf(&v1alpha1.Webhook{})
	asks := func(code int, value string) sending.Exchange {
		x := answer(code)
		x.Start, x.Duration, x.Response.RetryAfter = now.Add(-time.Second), time.Second, value
		return x
	}
	interrupted := asks(503, "60")
	interrupted.Interrupted, interrupted.Err = true, context.Canceled
	for name, tc := range map[string]struct {
		exchange sending.Exchange
		want     time.Duration
	}{
		"503":            {exchange: asks(503, "60"), want: time.Minute},
		"429":            {exchange: asks(429, "60"), want: time.Minute},
		"404":            {exchange: asks(404, "60"), want: time.Minute},
		"302":            {exchange: asks(302, "60"), want: time.Minute},
		"until a date":   {exchange: asks(429, now.Add(time.Minute).Format(http.TimeFormat)), want: time.Minute},
		"a stale date":   {exchange: asks(429, now.Add(-time.Minute).Format(http.TimeFormat))},
		"zero":           {exchange: asks(503, "0")},
		"absurd":         {exchange: asks(503, "99999999999999999999"), want: time.Hour},
		"an absurd date": {exchange: asks(503, "Fri, 31 Dec 9999 23:59:59 GMT"), want: time.Hour},
		"nonsense":       {exchange: asks(503, "soon")},
		"nothing":        {exchange: asks(503, "")},
		"accepted":       {exchange: asks(202, "60")},
		"gone":           {exchange: asks(410, "60")},
		"interrupted":    {exchange: interrupted},
		"no answer":      {exchange: sending.Exchange{Err: errors.New("refused")}},
	} {
		t.Run(name, func(t *testing.T) {
			if got := policy.Rest(tc.exchange); got != tc.want {
				t.Errorf("Rest = %s, want %s", got, tc.want)
			}
		})
	}
}

func TestPolicyOf(t *testing.T) {
	for name, tc := range map[string]struct {
		policy v1alpha1.RetryPolicy
		want   Policy
	}{
		"nothing given": {want: Policy{Limit: 10, MinBackoff: 10 * time.Second, MaxBackoff: time.Hour, GiveUpAfter: 72 * time.Hour}},
		"never repeated": {
			policy: v1alpha1.RetryPolicy{Limit: new(int32(0))},
			want:   Policy{Limit: 0, MinBackoff: 10 * time.Second, MaxBackoff: time.Hour, GiveUpAfter: 72 * time.Hour},
		},
		"everything given": {
			policy: v1alpha1.RetryPolicy{Limit: new(int32(3)), MinBackoffSeconds: 1, MaxBackoffSeconds: 2, GiveUpAfterSeconds: 60},
			want:   Policy{Limit: 3, MinBackoff: time.Second, MaxBackoff: 2 * time.Second, GiveUpAfter: time.Minute},
		},
		"the largest that the CRD admits": {
			policy: v1alpha1.RetryPolicy{Limit: new(int32(100)), MinBackoffSeconds: 86400, MaxBackoffSeconds: 86400, GiveUpAfterSeconds: 2592000},
			want:   Policy{Limit: 100, MinBackoff: 24 * time.Hour, MaxBackoff: 24 * time.Hour, GiveUpAfter: 720 * time.Hour},
		},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, PolicyOf(&v1alpha1.Webhook{Spec: v1alpha1.WebhookSpec{Retry: tc.policy}})); diff != "" {
				t.Errorf("PolicyOf (-want +got):\n%s", diff)
			}
		})
	}
}

func TestBackoff(t *testing.T) {
	horizon := Policy{MinBackoff: 10 * time.Second, MaxBackoff: time.Hour}
	for name, tc := range map[string]struct {
		policy Policy
		failed int32
		chance float64
		want   time.Duration
	}{
		"first":                      {policy: horizon, failed: 1, chance: 0.5, want: 10 * time.Second},
		"second":                     {policy: horizon, failed: 2, chance: 0.5, want: 20 * time.Second},
		"ninth":                      {policy: horizon, failed: 9, chance: 0.5, want: 2560 * time.Second},
		"tenth meets the maximum":    {policy: horizon, failed: 10, chance: 0.5, want: time.Hour},
		"hundredth":                  {policy: horizon, failed: 100, chance: 0.5, want: time.Hour},
		"as many as there are":       {policy: horizon, failed: math.MaxInt32, chance: 0.5, want: time.Hour},
		"none counted as yet":        {policy: horizon, failed: 0, chance: 0.5, want: 10 * time.Second},
		"least chance":               {policy: horizon, failed: 1, chance: 0, want: 8 * time.Second},
		"most chance":                {policy: horizon, failed: 1, chance: 1, want: 12 * time.Second},
		"least chance, at the top":   {policy: horizon, failed: 50, chance: 0, want: 48 * time.Minute},
		"most chance, at the top":    {policy: horizon, failed: 50, chance: 1, want: time.Hour},
		"both bounds are the same":   {policy: Policy{MinBackoff: time.Minute, MaxBackoff: time.Minute}, failed: 7, chance: 0.5, want: time.Minute},
		"the smallest":               {policy: Policy{MinBackoff: time.Second, MaxBackoff: time.Second}, failed: 1, chance: 0, want: 800 * time.Millisecond},
		"bounds the wrong way":       {policy: Policy{MinBackoff: time.Hour, MaxBackoff: time.Minute}, failed: 3, chance: 0.5, want: time.Minute},
		"the largest of both":        {policy: Policy{MinBackoff: 24 * time.Hour, MaxBackoff: 24 * time.Hour}, failed: math.MaxInt32, chance: 0.5, want: 24 * time.Hour},
		"a maximum that no power is": {policy: Policy{MinBackoff: 3 * time.Second, MaxBackoff: 10 * time.Second}, failed: 3, chance: 0.5, want: 10 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			if got := tc.policy.Backoff(tc.failed, tc.chance); got != tc.want {
				t.Errorf("Backoff(%d, %g) = %s, want %s", tc.failed, tc.chance, got, tc.want)
			}
		})
	}
}

func TestCycleOf(t *testing.T) {
	stored := func(change func(d *v1alpha1.WebhookDelivery)) *v1alpha1.WebhookDelivery {
		d := &v1alpha1.WebhookDelivery{Status: v1alpha1.WebhookDeliveryStatus{
			Attempts: 7,
			History: []v1alpha1.Attempt{
				{Time: metav1.NewMicroTime(now.Add(-time.Minute))}, {Time: metav1.NewMicroTime(now.Add(-time.Hour))},
			},
		}}
		d.CreationTimestamp = metav1.NewTime(now.Add(-2 * time.Hour))
		if change != nil {
			change(d)
		}
		return d
	}
	for name, tc := range map[string]struct {
		delivery *v1alpha1.WebhookDelivery
		want     Cycle
	}{
		"stored": {delivery: stored(nil), want: Cycle{Since: now.Add(-2 * time.Hour), Attempts: 7}},
		"not stored yet": {
			delivery: stored(func(d *v1alpha1.WebhookDelivery) { d.CreationTimestamp = metav1.Time{} }),
			want:     Cycle{Since: now.Add(-time.Hour), Attempts: 7},
		},
		"resent": {
			delivery: stored(func(d *v1alpha1.WebhookDelivery) {
				d.Status.Resend = &v1alpha1.ResendCycle{Time: metav1.NewMicroTime(now), Attempts: 2}
			}),
			want: Cycle{Since: now, Attempts: 2},
		},
		"nothing": {delivery: &v1alpha1.WebhookDelivery{}},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, CycleOf(tc.delivery)); diff != "" {
				t.Errorf("CycleOf (-want +got):\n%s", diff)
			}
		})
	}
}

func TestAfter(t *testing.T) {
	policy := Policy{Limit: 2, MinBackoff: 10 * time.Second, MaxBackoff: time.Minute, GiveUpAfter: time.Hour}
	for name, tc := range map[string]struct {
		outcome    Outcome
		policy     Policy
		attempts   int32
		age        time.Duration
		retryAfter string
		want       NextAttempt
	}{
		"first failure":                      {outcome: Failed, policy: policy, attempts: 1, want: NextAttempt{At: now.Add(10 * time.Second), Reason: v1alpha1.ReasonRetrying}},
		"second failure":                     {outcome: Failed, policy: policy, attempts: 2, want: NextAttempt{At: now.Add(20 * time.Second), Reason: v1alpha1.ReasonRetrying}},
		"the last retry failed":              {outcome: Failed, policy: policy, attempts: 3, want: NextAttempt{Reason: v1alpha1.ReasonRetriesExhausted}},
		"limit 0":                            {outcome: Failed, policy: Policy{GiveUpAfter: time.Hour}, attempts: 1, want: NextAttempt{Reason: v1alpha1.ReasonRetriesExhausted}},
		"gone at once":                       {outcome: Gone, policy: policy, attempts: 1, want: NextAttempt{Reason: v1alpha1.ReasonGone}},
		"gone at last":                       {outcome: Gone, policy: policy, attempts: 3, want: NextAttempt{Reason: v1alpha1.ReasonGone}},
		"gone, and asks to wait":             {outcome: Gone, policy: policy, attempts: 1, retryAfter: "20", want: NextAttempt{Reason: v1alpha1.ReasonGone}},
		"denied":                             {outcome: Denied, policy: policy, attempts: 1, want: NextAttempt{Reason: v1alpha1.ReasonEgressDenied}},
		"interrupted":                        {outcome: Interrupted, policy: policy, attempts: 0, want: NextAttempt{At: now, Reason: v1alpha1.ReasonRetrying}},
		"interrupted in the last retry":      {outcome: Interrupted, policy: policy, attempts: 2, want: NextAttempt{At: now, Reason: v1alpha1.ReasonRetrying}},
		"interrupted, limit 0":               {outcome: Interrupted, policy: Policy{}, attempts: 0, want: NextAttempt{At: now, Reason: v1alpha1.ReasonRetrying}},
		"asks to wait":                       {outcome: Failed, policy: policy, attempts: 1, retryAfter: "30", want: NextAttempt{At: now.Add(33 * time.Second), Reason: v1alpha1.ReasonRetrying}},
		"asks to wait less than the minimum": {outcome: Failed, policy: policy, attempts: 2, retryAfter: "0", want: NextAttempt{At: now.Add(20 * time.Second), Reason: v1alpha1.ReasonRetrying}},
		"asks to wait more than the maximum": {outcome: Failed, policy: policy, attempts: 1, retryAfter: "86400", want: NextAttempt{At: now.Add(time.Minute), Reason: v1alpha1.ReasonRetrying}},
		"asks to wait until a date":          {outcome: Failed, policy: policy, attempts: 1, retryAfter: "Mon, 23 Nov 2026 09:00:45 GMT", want: NextAttempt{At: now.Add(49*time.Second + 500*time.Millisecond), Reason: v1alpha1.ReasonRetrying}},
		"asks to wait until yesterday":       {outcome: Failed, policy: policy, attempts: 2, retryAfter: "Sun, 22 Nov 2026 09:00:00 GMT", want: NextAttempt{At: now.Add(20 * time.Second), Reason: v1alpha1.ReasonRetrying}},
		"asks to wait until the year 9999":   {outcome: Failed, policy: policy, attempts: 1, retryAfter: "Fri, 31 Dec 9999 23:59:59 GMT", want: NextAttempt{At: now.Add(time.Minute), Reason: v1alpha1.ReasonRetrying}},
		"asks to wait, retries exhausted":    {outcome: Failed, policy: policy, attempts: 3, retryAfter: "30", want: NextAttempt{Reason: v1alpha1.ReasonRetriesExhausted}},
		"asks nonsense":                      {outcome: Failed, policy: policy, attempts: 1, retryAfter: "NaN", want: NextAttempt{At: now.Add(10 * time.Second), Reason: v1alpha1.ReasonRetrying}},
		"the next would be too late":         {outcome: Failed, policy: policy, attempts: 1, age: time.Hour, want: NextAttempt{Reason: v1alpha1.ReasonWaitedTooLong}},
		"the next would just be in time":     {outcome: Failed, policy: policy, attempts: 1, age: time.Hour - 10*time.Second, want: NextAttempt{At: now.Add(10 * time.Second), Reason: v1alpha1.ReasonRetrying}},
		"asks to wait until it is too late":  {outcome: Failed, policy: policy, attempts: 1, age: time.Hour - 20*time.Second, retryAfter: "30", want: NextAttempt{Reason: v1alpha1.ReasonWaitedTooLong}},
		"exhausted is told before too late":  {outcome: Failed, policy: policy, attempts: 3, age: 2 * time.Hour, want: NextAttempt{Reason: v1alpha1.ReasonRetriesExhausted}},
		"a cycle that begins in the future":  {outcome: Failed, policy: policy, attempts: 1, age: -time.Hour, want: NextAttempt{At: now.Add(10 * time.Second), Reason: v1alpha1.ReasonRetrying}},
		"interrupted when its time was over": {outcome: Interrupted, policy: policy, attempts: 1, age: 2 * time.Hour, want: NextAttempt{At: now, Reason: v1alpha1.ReasonRetrying}},
	} {
		t.Run(name, func(t *testing.T) {
			cycle := Cycle{Since: now.Add(-tc.age), Attempts: tc.attempts}
			got := After(tc.outcome, tc.policy, cycle, tc.retryAfter, now, 0.5)
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("After (-want +got):\n%s", diff)
			}
		})
	}
}

// Retry-After is a wish for more time. It never makes a retry come earlier than
// the backoff would, and chance never makes it come earlier than was asked.
func TestRetryAfterOnlyAddsToTheBackoff(t *testing.T) {
	policy := PolicyOf(&v1alpha1.Webhook{})
	for _, asked := range []string{
		"", "0", "1", "5", "7", "30", "60", "600", "3599", "3600", "3601", "86400", "99999999999999999999", "-5", "nonsense",
		now.Add(-time.Hour).Format(http.TimeFormat), now.Format(http.TimeFormat), now.Add(5 * time.Second).Format(http.TimeFormat),
		now.Add(time.Hour).Format(http.TimeFormat), now.Add(1000 * time.Hour).Format(http.TimeFormat),
	} {
		for failed := int32(1); failed <= 10; failed++ {
			for _, chance := range []float64{0, 0.25, 0.5, 0.75, 0.999} {
				wait := After(Failed, policy, Cycle{Since: now, Attempts: failed}, asked, now, chance).At.Sub(now)
				least := min(policy.Backoff(failed, chance), policy.MaxBackoff)
				if wish, ok := ParseRetryAfter(asked, now); ok {
					least = max(least, min(wish, policy.MaxBackoff))
				}
				if wait < least || wait > policy.MaxBackoff || float64(wait) > 1.2*float64(least) {
					t.Errorf("Retry-After %q after %d failures, chance %g: wait of %s, want at least %s and little more", asked, failed, chance, wait, least)
				}
			}
		}
	}
}

func TestAfterIsJittered(t *testing.T) {
	policy := Policy{Limit: 2, MinBackoff: 10 * time.Second, MaxBackoff: time.Minute, GiveUpAfter: time.Hour}
	for chance, want := range map[float64]time.Duration{0: 8 * time.Second, 0.25: 9 * time.Second, 1: 12 * time.Second} {
		got := After(Failed, policy, Cycle{Since: now, Attempts: 1}, "", now, chance).At.Sub(now)
		if got != want {
			t.Errorf("chance %g: wait of %s, want %s", chance, got, want)
		}
	}
}

const century = 100 * 365 * 24 * time.Hour

func TestParseRetryAfter(t *testing.T) {
	type outcome struct {
		Wait time.Duration
		OK   bool
	}
	none := outcome{}
	for name, tc := range map[string]struct {
		value string
		want  outcome
	}{
		"nothing":                   {value: "", want: none},
		"spaces":                    {value: "   ", want: none},
		"seconds":                   {value: "120", want: outcome{2 * time.Minute, true}},
		"seconds between spaces":    {value: " 120\t", want: outcome{2 * time.Minute, true}},
		"zero":                      {value: "0", want: outcome{0, true}},
		"leading zeros":             {value: "0000120", want: outcome{2 * time.Minute, true}},
		"negative":                  {value: "-1", want: none},
		"plus":                      {value: "+1", want: none},
		"fraction":                  {value: "1.5", want: none},
		"exponent":                  {value: "1e300", want: none},
		"hexadecimal":               {value: "0x10", want: none},
		"underscore":                {value: "1_000", want: none},
		"not a number":              {value: "NaN", want: none},
		"infinity":                  {value: "Infinity", want: none},
		"a unit":                    {value: "120s", want: none},
		"seconds and date":          {value: "120, Mon, 23 Nov 2026 09:02:00 GMT", want: none},
		"two numbers":               {value: "120, 240", want: none},
		"digits of another script":  {value: "\u0661\u0662\u0660", want: none},
		"NUL":                       {value: "120\x00", want: none},
		"a century":                 {value: "3153600000", want: outcome{century, true}},
		"largest int64":             {value: "9223372036854775807", want: outcome{century, true}},
		"beyond int64":              {value: "9223372036854775808", want: outcome{century, true}},
		"beyond uint64":             {value: "18446744073709551616", want: outcome{century, true}},
		"64 digits":                 {value: strings.Repeat("9", 64), want: outcome{century, true}},
		"a number beyond, and more": {value: "9227000000000000000A", want: none},
		"negative beyond int64":     {value: "-9223372036854775809", want: none},
		"date":                      {value: "Mon, 23 Nov 2026 09:02:00 GMT", want: outcome{2 * time.Minute, true}},
		"date of RFC 850":           {value: "Monday, 23-Nov-26 09:02:00 GMT", want: outcome{2 * time.Minute, true}},
		"date of asctime":           {value: "Mon Nov 23 09:02:00 2026", want: outcome{2 * time.Minute, true}},
		"date of ISO 8601":          {value: "2026-11-23T09:02:00Z", want: none},
		"date in the past":          {value: "Mon, 23 Nov 2026 08:59:59 GMT", want: outcome{0, true}},
		"now":                       {value: "Mon, 23 Nov 2026 09:00:00 GMT", want: outcome{0, true}},
		"year 9999":                 {value: "Fri, 31 Dec 9999 23:59:59 GMT", want: outcome{century, true}},
		"year 1":                    {value: "Mon, 01 Jan 0001 00:00:00 GMT", want: outcome{0, true}},
		"a day that does not exist": {value: "Mon, 31 Feb 2027 00:00:00 GMT", want: none},
	} {
		t.Run(name, func(t *testing.T) {
			wait, ok := ParseRetryAfter(tc.value, now)
			if diff := cmp.Diff(tc.want, outcome{wait, ok}); diff != "" {
				t.Errorf("ParseRetryAfter(%q) (-want +got):\n%s", tc.value, diff)
			}
		})
	}
}

// Whatever a receiver writes, a wait is neither negative nor beyond a century,
// and what follows a failure is within the policy's bounds.
func FuzzParseRetryAfter(f *testing.F) {
	for _, seed := range []string{
		"", "0", "120", "-1", "1e300", "NaN", "9223372036854775808", "120, 240",
		"Mon, 23 Nov 2026 09:02:00 GMT", "Fri, 31 Dec 9999 23:59:59 GMT", "Monday, 23-Nov-26 09:02:00 GMT",
	} {
		f.Add(seed)
	}
	policy := Policy{Limit: 1, MinBackoff: 10 * time.Second, MaxBackoff: time.Minute, GiveUpAfter: time.Hour}
	f.Fuzz(func(t *testing.T, value string) {
		wait, ok := ParseRetryAfter(value, now)
		if wait < 0 || wait > century || !ok && wait != 0 {
			t.Errorf("ParseRetryAfter(%q) = %s, %t", value, wait, ok)
		}
		_, dateErr := http.ParseTime(strings.TrimSpace(value))
		digits := strings.TrimSpace(value) != "" && strings.Trim(strings.TrimSpace(value), "0123456789") == ""
		if want := digits || dateErr == nil; ok != want {
			t.Errorf("ParseRetryAfter(%q) understood: %t, want %t", value, ok, want)
		}
		at := After(Failed, policy, Cycle{Since: now, Attempts: 1}, value, now, 0.5).At.Sub(now)
		if at < policy.MinBackoff || at > policy.MaxBackoff {
			t.Errorf("Retry-After %q makes the next attempt wait %s", value, at)
		}
	})
}

func TestNext(t *testing.T) {
	w := &v1alpha1.Webhook{Spec: v1alpha1.WebhookSpec{Retry: v1alpha1.RetryPolicy{GiveUpAfterSeconds: 3600}}}
	since := now.Add(-time.Minute)
	deadline := since.Add(time.Hour)
	due, later := now.Add(-time.Second), now.Add(time.Minute)
	old := now.Add(-time.Hour)

	resend := Decision{Action: Send, Cause: v1alpha1.CauseResend}
	goneForGood := Decision{Action: GiveUp, Reason: v1alpha1.ReasonWebhookGone}
	tooLong := Decision{Action: GiveUp, Reason: v1alpha1.ReasonWaitedTooLong}

	for name, tc := range map[string]struct {
		state       State
		webhookGone bool
		blocked     bool
		want        Decision
	}{
		"waiting for its first attempt":      {state: State{Result: v1alpha1.DeliveryWaiting, Since: since}, want: Decision{Action: Send, Cause: v1alpha1.CauseInitial}},
		"a retry is due":                     {state: State{Result: v1alpha1.DeliveryWaiting, Since: since, NextAttempt: due, Attempted: true}, want: Decision{Action: Send, Cause: v1alpha1.CauseRetry}},
		"a retry is due now":                 {state: State{Result: v1alpha1.DeliveryWaiting, Since: since, NextAttempt: now, Attempted: true}, want: Decision{Action: Send, Cause: v1alpha1.CauseRetry}},
		"a retry is due later":               {state: State{Result: v1alpha1.DeliveryWaiting, Since: since, NextAttempt: later, Attempted: true}, want: Decision{At: later}},
		"an interrupted first attempt":       {state: State{Result: v1alpha1.DeliveryWaiting, Since: since, NextAttempt: due}, want: Decision{Action: Send, Cause: v1alpha1.CauseInitial}},
		"waited too long":                    {state: State{Result: v1alpha1.DeliveryWaiting, Since: old}, want: tooLong},
		"waited too long, retry due":         {state: State{Result: v1alpha1.DeliveryWaiting, Since: old, NextAttempt: due, Attempted: true}, want: tooLong},
		"waited too long while blocked":      {state: State{Result: v1alpha1.DeliveryWaiting, Since: old}, blocked: true, want: tooLong},
		"blocked":                            {state: State{Result: v1alpha1.DeliveryWaiting, Since: since}, blocked: true, want: Decision{At: deadline}},
		"blocked, retry due":                 {state: State{Result: v1alpha1.DeliveryWaiting, Since: since, NextAttempt: due, Attempted: true}, blocked: true, want: Decision{At: deadline}},
		"blocked, retry later":               {state: State{Result: v1alpha1.DeliveryWaiting, Since: since, NextAttempt: later, Attempted: true}, blocked: true, want: Decision{At: deadline}},
		"webhook gone":                       {state: State{Result: v1alpha1.DeliveryWaiting, Since: since}, webhookGone: true, want: goneForGood},
		"webhook gone, retry later":          {state: State{Result: v1alpha1.DeliveryWaiting, Since: since, NextAttempt: later}, webhookGone: true, want: goneForGood},
		"webhook gone, resend asked for":     {state: State{Result: v1alpha1.DeliveryWaiting, Since: since, Resend: true}, webhookGone: true, want: goneForGood},
		"succeeded":                          {state: State{Result: v1alpha1.DeliverySucceeded, Since: since}, want: Decision{}},
		"succeeded long ago":                 {state: State{Result: v1alpha1.DeliverySucceeded, Since: old}, want: Decision{}},
		"succeeded, blocked":                 {state: State{Result: v1alpha1.DeliverySucceeded, Since: old}, blocked: true, want: Decision{}},
		"succeeded, webhook gone":            {state: State{Result: v1alpha1.DeliverySucceeded, Since: old}, webhookGone: true, want: Decision{}},
		"failed":                             {state: State{Result: v1alpha1.DeliveryFailed, Since: since}, want: Decision{}},
		"failed, webhook gone":               {state: State{Result: v1alpha1.DeliveryFailed, Since: since}, webhookGone: true, want: Decision{}},
		"resend of a succeeded one":          {state: State{Result: v1alpha1.DeliverySucceeded, Since: old, Resend: true}, want: resend},
		"resend of a failed one":             {state: State{Result: v1alpha1.DeliveryFailed, Since: old, Resend: true}, want: resend},
		"resend of a waiting one":            {state: State{Result: v1alpha1.DeliveryWaiting, Since: since, Resend: true}, want: resend},
		"resend does not wait for a retry":   {state: State{Result: v1alpha1.DeliveryWaiting, Since: since, NextAttempt: later, Resend: true, Attempted: true}, want: resend},
		"resend though its time is over":     {state: State{Result: v1alpha1.DeliveryWaiting, Since: old, Resend: true}, want: resend},
		"resend to a blocked webhook":        {state: State{Result: v1alpha1.DeliverySucceeded, Since: old, Resend: true}, blocked: true, want: resend},
		"resend of a blocked one":            {state: State{Result: v1alpha1.DeliveryWaiting, Since: since, Resend: true}, blocked: true, want: resend},
		"resend, webhook gone, succeeded":    {state: State{Result: v1alpha1.DeliverySucceeded, Since: since, Resend: true}, webhookGone: true, want: Decision{}},
		"resend, webhook gone, failed":       {state: State{Result: v1alpha1.DeliveryFailed, Since: since, Resend: true}, webhookGone: true, want: Decision{}},
		"resend cycle of a delivered one":    {state: State{Result: v1alpha1.DeliverySucceeded, Since: since, NextAttempt: due, Attempted: true}, want: Decision{Action: Send, Cause: v1alpha1.CauseRetry}},
		"resend cycle, later":                {state: State{Result: v1alpha1.DeliverySucceeded, Since: since, NextAttempt: later, Attempted: true}, want: Decision{At: later}},
		"resend cycle, too long":             {state: State{Result: v1alpha1.DeliverySucceeded, Since: old, NextAttempt: later, Attempted: true}, want: tooLong},
		"resend cycle, blocked":              {state: State{Result: v1alpha1.DeliverySucceeded, Since: since, NextAttempt: due, Attempted: true}, blocked: true, want: Decision{At: deadline}},
		"resend cycle, webhook gone":         {state: State{Result: v1alpha1.DeliverySucceeded, Since: since, NextAttempt: later, Attempted: true}, webhookGone: true, want: goneForGood},
		"a record that says nothing":         {state: State{Since: since}, want: Decision{}},
		"a record that says nothing, gone":   {state: State{Since: since}, webhookGone: true, want: Decision{}},
		"created in the future":              {state: State{Result: v1alpha1.DeliveryWaiting, Since: now.Add(time.Hour)}, want: Decision{Action: Send, Cause: v1alpha1.CauseInitial}},
		"one moment before its time is over": {state: State{Result: v1alpha1.DeliveryWaiting, Since: old.Add(time.Nanosecond)}, want: Decision{Action: Send, Cause: v1alpha1.CauseInitial}},
	} {
		t.Run(name, func(t *testing.T) {
			webhook := w
			if tc.webhookGone {
				webhook = nil
			}
			if diff := cmp.Diff(tc.want, Decide(tc.state, webhook, tc.blocked, now)); diff != "" {
				t.Errorf("Next (-want +got):\n%s", diff)
			}
		})
	}
}

// Whoever acts on a Wait comes back at a time when there is something to do, and
// never has to come back at once.
func TestNextMakesProgress(t *testing.T) {
	w := &v1alpha1.Webhook{Spec: v1alpha1.WebhookSpec{Retry: v1alpha1.RetryPolicy{GiveUpAfterSeconds: 3600}}}
	times := []time.Time{{}, now.Add(-time.Hour), now.Add(-time.Second), now, now.Add(time.Second), now.Add(time.Hour)}
	for _, result := range []v1alpha1.DeliveryResult{"", v1alpha1.DeliveryWaiting, v1alpha1.DeliverySucceeded, v1alpha1.DeliveryFailed} {
		for _, next := range times {
			for _, since := range times[1:] {
				for bits := range 16 {
					s := State{Result: result, NextAttempt: next, Since: since, Resend: bits&1 != 0, Attempted: bits&2 != 0}
					webhook, blocked := w, bits&4 != 0
					if bits&8 != 0 {
						webhook = nil
					}
					step := Decide(s, webhook, blocked, now)
					if step.Action != Wait || step.At.IsZero() {
						continue
					}
					if !step.At.After(now) {
						t.Errorf("%+v: waits until %s, which has passed", s, step.At)
					}
					if then := Decide(s, webhook, blocked, step.At); then.Action == Wait {
						t.Errorf("%+v: waits until %s, and then there is nothing to do", s, step.At)
					}
				}
			}
		}
	}
}
