package follow

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
)

// object is what a watch tells of, at a version.
func object(name, version string) *metav1.PartialObjectMetadata {
	return &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{Name: name, ResourceVersion: version}}
}

// A Follower goes on from the last version, lists anew where that has expired, tells of lost
// contact once, and comes back to a change that could not be handled.
func TestFollower(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ended := errors.New("enough")
		var did []string
		watches := []func() (watch.Interface, error){
			func() (watch.Interface, error) {
				w := watch.NewFakeWithOptions(watch.FakeOptions{ChannelSize: 3})
				w.Add(object("a", "2"))
				w.Action(watch.Bookmark, object("", "3"))
				w.Stop()
				return w, nil
			},
			func() (watch.Interface, error) { return nil, errors.New("no route to host") },
			func() (watch.Interface, error) { return nil, errors.New("no route to host") },
			func() (watch.Interface, error) {
				return nil, apierrors.NewResourceExpired("too old resource version")
			},
			func() (watch.Interface, error) {
				w := watch.NewFakeWithOptions(watch.FakeOptions{ChannelSize: 3})
				w.Add(object("again", "11"))
				return w, nil
			},
			func() (watch.Interface, error) {
				w := watch.NewFakeWithOptions(watch.FakeOptions{ChannelSize: 3})
				w.Add(object("last", "12"))
				return w, nil
			},
		}
		f := &Follower{
			Watch: func(_ context.Context, version string) (watch.Interface, error) {
				did = append(did, "watch "+version)
				next := watches[0]
				watches = watches[1:]
				return next()
			},
			Relist: func(context.Context) (string, error) {
				did = append(did, "list")
				return "10", nil
			},
			Each: func(event watch.Event) error {
				name := event.Object.(*metav1.PartialObjectMetadata).Name
				did = append(did, name)
				switch name {
				case "again":
					return Retryable(errors.New("not now"))
				case "last":
					return ended
				}
				return nil
			},
			Lost: func(why error) {
				if why == nil {
					did = append(did, "found")
					return
				}
				did = append(did, "lost: "+why.Error())
			},
		}
		if err := f.Run(t.Context(), "1"); !errors.Is(err, ended) {
			t.Errorf("it ends with %v", err)
		}
		want := []string{
			"watch 1", "a", "watch 3", "lost: no route to host", "watch 3", "watch 3", "list", "watch 10", "found", "again",
			"lost: not now", "watch 10", "found", "last",
		}
		if diff := cmp.Diff(want, did); diff != "" {
			t.Errorf("it did (-want +got):\n%s", diff)
		}
	})
}

// What ends following: the end of the context, an error of Relist that is Fatal, and a refusal
// that lasts.
func TestFollowerEnds(t *testing.T) {
	forbidden := apierrors.NewForbidden(schema.GroupResource{Resource: "webhookdeliveries"}, "", nil)
	enough := errors.New("enough")
	for name, tc := range map[string]struct {
		relist error
		after  time.Duration
		want   error
	}{
		"context": {relist: errors.New("no route to host"), after: time.Hour},
		"fatal":   {relist: Fatal(enough), want: enough},
		"refused": {relist: forbidden, want: forbidden},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
				defer cancel()
				f := &Follower{Relist: func(context.Context) (string, error) { return "", tc.relist }}
				begun := time.Now()
				if err := f.Run(ctx, ""); !errors.Is(err, tc.want) {
					t.Errorf("it ends with %v, want %v", err, tc.want)
				}
				if took := time.Since(begun); took != tc.after {
					t.Errorf("it ends after %s, want %s", took, tc.after)
				}
			})
		})
	}
}
