package dashboard

import (
	"context"
	"crypto/rand"
	"fmt"
	"slices"
	"sync"
	"time"

	"golang.org/x/time/rate"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/change"
	"github.com/horizoncd/webhook-operator/internal/table"
)

const (
	// resendsPerSecond is how fast many deliveries are asked for, as with the command resend.
	resendsPerSecond = 20
	// maxJobs bounds those that are remembered; the ones that ended go first.
	maxJobs = 20
)

// jobs are what takes longer than a page: many resends, one after the other.
type jobs struct {
	mu  sync.Mutex
	all []*job
}

// job sends many deliveries of a Webhook again.
type job struct {
	id, namespace, webhook string
	cancel                 context.CancelFunc

	names []string

	mu sync.Mutex
	// asked are those that were asked for, with the number of attempts before.
	asked map[string]string
	// removed are those that are not in the cluster any more.
	removed int
	err     error
	stopped bool
	ended   time.Time
}

// jobView is how far a job is.
type jobView struct {
	// Progress is how many are done with, one way or the other.
	Progress                   int
	ID                         string
	Total, Asked, Removed      int
	Succeeded, Failed, Sending int
	Percent                    string
	Running, Stopped           bool
	Error                      string
	Ended                      time.Time
}

// begin begins to ask for deliveries to be sent again, in the order of their names, which
// is that of time. What is being asked for already is left out: a button that was pressed
// twice sends nothing twice. It tells whether anything is left.
func (j *jobs) begin(q *request, webhook string, names []string) bool {
	j.mu.Lock()
	for _, o := range j.all {
		if o.namespace == q.namespace && o.webhook == webhook && o.running() {
			names = slices.DeleteFunc(names, func(name string) bool { return slices.Contains(o.names, name) })
		}
	}
	if len(names) == 0 {
		j.mu.Unlock()
		return false
	}
	ctx, cancel := context.WithCancel(q.session.ctx)
	one := &job{
		id: rand.Text(), namespace: q.namespace, webhook: webhook, cancel: cancel, names: names, asked: map[string]string{},
	}
	j.all = append(j.all, one)
	if len(j.all) > maxJobs {
		if i := slices.IndexFunc(j.all, func(o *job) bool { return !o.running() }); i >= 0 {
			j.all = slices.Delete(j.all, i, i+1)
		}
	}
	j.mu.Unlock()
	go one.run(ctx, q.cluster.client, q.store, q.stamp(), q.session.options.Now)
	return true
}

func (o *job) running() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.ended.IsZero()
}

// run asks for one delivery after the other.
func (o *job) run(ctx context.Context, api client.Client, st *store, stamp string, now func() time.Time) {
	defer o.cancel()
	// Without the rows of before, what had failed then would count as what came of this.
	_ = st.wait(ctx, partDeliveries)
	pace := rate.NewLimiter(resendsPerSecond, 1)
	for _, name := range o.names {
		stopped := pace.Wait(ctx) != nil
		before := ""
		if row := st.delivery(o.webhook, name); row != nil {
			before = row.Cells[table.ColumnAttempts]
		}
		var err error
		if !stopped {
			err = o.resend(ctx, api, name, stamp)
		}
		o.mu.Lock()
		switch {
		case stopped:
			o.stopped = true
		case apierrors.IsNotFound(err):
			o.removed++
		case err != nil:
			o.err = err
		default:
			o.asked[name] = before
		}
		ended := o.stopped || o.err != nil
		o.mu.Unlock()
		st.notify()
		if ended {
			break
		}
	}
	o.mu.Lock()
	o.ended = now()
	o.mu.Unlock()
	st.notify()
}

// resend asks for one delivery. Whoever stops the job does not stop this: what the API server
// has been asked for is to be counted.
func (o *job) resend(ctx context.Context, api client.Client, name, stamp string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), readTimeout)
	defer cancel()
	return change.Resend(ctx, api, client.ObjectKey{Namespace: o.namespace, Name: name}, stamp)
}

// stop ends a job, and returns the Webhook it is about; empty where there is none.
func (j *jobs) stop(namespace, id string) (webhook string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, o := range j.all {
		if o.id == id && o.namespace == namespace {
			o.cancel()
			return o.webhook
		}
	}
	return ""
}

// of returns how far the jobs of a Webhook are, the latest first.
func (j *jobs) of(namespace, webhook string, st *store, now time.Time) []jobView {
	j.mu.Lock()
	all := slices.Clone(j.all)
	j.mu.Unlock()
	var views []jobView
	for _, o := range slices.Backward(all) {
		if o.namespace != namespace || o.webhook != webhook {
			continue
		}
		if v := o.view(st); v.Running || now.Sub(v.Ended) < recently {
			views = append(views, v)
		}
	}
	return views
}

// view counts what became of the deliveries. One is over when it has had another attempt
// since, and no further one is due.
func (o *job) view(st *store) jobView {
	o.mu.Lock()
	defer o.mu.Unlock()
	v := jobView{
		ID: o.id, Total: len(o.names), Asked: len(o.asked), Removed: o.removed,
		Running: o.ended.IsZero(), Stopped: o.stopped, Ended: o.ended,
	}
	if o.err != nil {
		v.Error = fmt.Sprint(o.err)
	}
	v.Progress = v.Asked + v.Removed
	v.Percent = percent(v.Progress, v.Total)
	synced := st.deliveriesSynced()
	for name, before := range o.asked {
		row := st.delivery(o.webhook, name)
		switch {
		case row == nil && synced:
			v.Removed++
		case row == nil, row.Cells[table.ColumnAttempts] == before, row.Cells[table.ColumnNext] != "":
			v.Sending++
		case row.Cells[table.ColumnResult] == string(v1alpha1.DeliverySucceeded):
			v.Succeeded++
		case row.Cells[table.ColumnResult] == string(v1alpha1.DeliveryFailed):
			v.Failed++
		default:
			v.Sending++
		}
	}
	return v
}
