package cli

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/delivery"
	"github.com/horizoncd/webhook-operator/internal/retry"
	"github.com/horizoncd/webhook-operator/internal/sending"
)

// written is what a command has written so far.
type written struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (w *written) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.b.Write(p)
}

func (w *written) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.b.String()
}

// lines are those that have been written.
func (w *written) lines() []string {
	if w.String() == "" {
		return nil
	}
	return strings.Split(strings.TrimSuffix(w.String(), "\n"), "\n")
}

// running is a command that goes on.
type running struct {
	out, err written
	cancel   context.CancelFunc
	code     chan int
}

// start runs a command that goes on until it is interrupted.
func (b *bed) start(args ...string) *running {
	b.Helper()
	return b.startWith(b.kubeconfig, args...)
}

func (b *bed) startWith(kubeconfig string, args ...string) *running {
	b.Helper()
	ctx, cancel := context.WithCancel(b.Ctx)
	r := &running{cancel: cancel, code: make(chan int, 1)}
	p := newPlugin(genericiooptions.IOStreams{In: strings.NewReader(b.stdin), Out: &r.out, ErrOut: &r.err}, "test")
	p.width = b.width
	go func() {
		r.code <- execute(ctx, p, append([]string{"--kubeconfig", kubeconfig, "--namespace", b.Namespace}, args...))
	}()
	b.Cleanup(cancel)
	return r
}

// interrupt is Ctrl-C. It returns the exit code.
func (r *running) interrupt(b *bed) int {
	b.Helper()
	r.cancel()
	return r.wait(b)
}

func (r *running) wait(b *bed) int {
	b.Helper()
	select {
	case code := <-r.code:
		return code
	case <-time.After(patience):
		b.Fatalf("the command does not end\n%s%s", r.out.String(), r.err.String())
		return 0
	}
}

// runAt runs a command at a time of its own, and takes out of what it prints what is another
// each time.
func (b *bed) runAt(now time.Time, args ...string) ran {
	b.Helper()
	var out, errOut bytes.Buffer
	p := newPlugin(genericiooptions.IOStreams{In: strings.NewReader(b.stdin), Out: &out, ErrOut: &errOut}, "test")
	p.width, p.now = b.width, func() time.Time { return now }
	code := execute(b.Ctx, p, append([]string{"--kubeconfig", b.kubeconfig, "--namespace", b.Namespace}, args...))
	return ran{out.String(), errOut.String(), code}
}

// told is when made-up records happened.
var told = time.Date(2026, 11, 29, 9, 0, 0, 0, time.UTC)

// answer is an exchange with an answer.
func answer(at time.Time, code int, body string) sending.Exchange {
	return sending.Exchange{
		Start: at, Duration: 12 * time.Millisecond,
		RequestHeader: "Content-Type: application/json;charset=utf-8\nUser-Agent: horizon-webhook-operator\n" +
			"Webhook-Id: whd_00000000000000000000000000000000\nWebhook-Signature: [redacted]\nWebhook-Timestamp: 1795435673\n" +
			"X-Horizon-Webhook-Secret: [redacted]",
		Response: &sending.Response{StatusCode: code, Header: "Content-Type: application/json\nServer: test", Body: body},
	}
}

// recordOf is a delivery as the operator writes it, with a name that does not depend on the
// UIDs: that of a number. The operator sends none of these again.
func recordOf(w *v1alpha1.Webhook, number int, at time.Time, exchanges ...sending.Exchange) *v1alpha1.WebhookDelivery {
	d := genuineRecordOf(w, number, at, exchanges...)
	d.Name = fmt.Sprintf("%s-%08x-%016x", w.Name, at.Unix(), number)
	return d
}

// genuineRecordOf is a delivery as the operator writes it.
func genuineRecordOf(w *v1alpha1.Webhook, number int, at time.Time, exchanges ...sending.Exchange) *v1alpha1.WebhookDelivery {
	e := &v1alpha1.WebhookEvent{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: w.Namespace, Name: fmt.Sprintf("horizon-%d", number), UID: types.UID(fmt.Sprintf("%s-%d", w.UID, number)),
			CreationTimestamp: metav1.NewTime(at),
		},
		Spec: v1alpha1.WebhookEventSpec{
			EventType: "clusters_deployed", ResourcePath: "/music/player/web/web-prod",
			Cluster: &v1alpha1.ClusterInfo{ID: new(int64(61400)), Name: "web-prod"},
		},
	}
	d := delivery.New(e, w, fmt.Appendf(nil, `{"eventID":%d,"eventType":"clusters_deployed"}`, number))
	for i, x := range exchanges {
		cause := v1alpha1.CauseInitial
		if i > 0 {
			cause = v1alpha1.CauseRetry
		}
		policy := retry.PolicyOf(w)
		if i == len(exchanges)-1 {
			policy.Limit = 0
		}
		delivery.AddAttempt(d, delivery.Attempt{Cause: cause, URL: w.Spec.URL, Exchange: x, Policy: policy})
	}
	return d
}

// record stores a made-up record.
func (b *bed) record(w *v1alpha1.Webhook, number int, at time.Time, change func(*v1alpha1.WebhookDelivery), exchanges ...sending.Exchange) *v1alpha1.WebhookDelivery {
	b.Helper()
	d := recordOf(w, number, at, exchanges...)
	if change != nil {
		change(d)
	}
	b.Expect(b.Client.Create(b.Ctx, d)).To(Succeed())
	return d
}
