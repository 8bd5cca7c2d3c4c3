package dashboard

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/horizoncd/webhook-operator/internal/follow"
	"github.com/horizoncd/webhook-operator/internal/table"
)

// An API server that is away, then refuses while it starts, and then answers, is there.
func TestContactIsFoundAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t.Context(), nil, "x", func(error) {})
		forbidden := apierrors.NewForbidden(schema.GroupResource{Resource: table.Deliveries.Name}, "", errors.New("no role yet"))
		answers := []error{errors.New("connection refused"), forbidden}
		f := &follow.Follower{
			Relist: func(context.Context) (string, error) {
				if len(answers) > 0 {
					err := answers[0]
					answers = answers[1:]
					return "", err
				}
				s.replaced(partDeliveries, func() {})
				return "1", nil
			},
			Watch: func(context.Context, string) (watch.Interface, error) { return watch.NewFake(), nil },
		}
		go s.run(partDeliveries, f)
		synctest.Wait()
		if !s.contactLost() {
			t.Error("contact is not lost while nobody answers")
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if s.contactLost() {
			t.Error("contact is lost with an API server that refuses")
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if s.contactLost() || !s.deliveriesSynced() {
			t.Errorf("once all is read again, contact is lost: %t, read: %t", s.contactLost(), s.deliveriesSynced())
		}
		s.stop()
		synctest.Wait()
	})
}

// What came of a resend is told from what was there before, also in a session that has yet to
// read that.
func TestResendBeforeAnythingIsRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t.Context(), nil, "x", func(error) {})
		defer s.stop()
		s.parts[partDeliveries].begun.Do(func() {}) // the rows come from this test
		api := interceptor.NewClient(nil, interceptor.Funcs{
			Patch: func(context.Context, client.WithWatch, client.Object, client.Patch, ...client.PatchOption) error {
				return nil
			},
		})
		ctx, cancel := context.WithCancel(t.Context())
		o := &job{webhook: "w", cancel: cancel, names: []string{"d"}, asked: map[string]string{}}
		go o.run(ctx, api, s, "now", time.Now)
		synctest.Wait()
		row := func(attempts, result string) {
			cells := make([]string, len(table.Deliveries.Columns))
			cells[table.ColumnWebhook], cells[table.ColumnAttempts], cells[table.ColumnResult] = "w", attempts, result
			s.replaced(partDeliveries, func() { s.set(partDeliveries, &table.Row{Name: "d", Cells: cells}, false) })
			synctest.Wait()
		}
		row("1", "Failed")
		if v := o.view(s); v.Asked != 1 || v.Sending != 1 || v.Failed != 0 {
			t.Errorf("while it is under way: %+v", v)
		}
		row("2", "Succeeded")
		if v := o.view(s); v.Sending != 0 || v.Succeeded != 1 {
			t.Errorf("once it has arrived: %+v", v)
		}
	})
}
