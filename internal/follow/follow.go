// Package follow keeps a watch going: after it ends, and through a time in which the API
// server does not answer.
package follow

import (
	"context"
	"errors"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
)

const (
	// firstPause and longestPause bound the time between two tries to watch.
	firstPause   = 200 * time.Millisecond
	longestPause = 5 * time.Second
	// refusalPatience is how long a refusal counts as passing once a watch was granted: an
	// API server that starts refuses everything until it has read the roles.
	refusalPatience = 30 * time.Second
	// steady is how long a watch is open that was granted, also where nothing happens. One
	// that cannot connect looks to client-go like one that has ended.
	steady = time.Second
)

// errCut is a watch that has ended as soon as it began.
var errCut = errors.New("the connection ends at once")

// Follower watches a resource, and goes on where a watch ended, so that nothing is missed:
// from the last version that was seen or, where the API server no longer has it, with a
// new list.
type Follower struct {
	// Watch begins a watch from a version on.
	Watch func(ctx context.Context, version string) (watch.Interface, error)
	// Relist lists anew, handles what has changed meanwhile, and returns the version to go
	// on from. An error counts as lost contact, unless it is Fatal.
	Relist func(ctx context.Context) (version string, err error)
	// Each handles a change. An error ends following, unless it is Retryable: the same
	// change comes once more then.
	Each func(watch.Event) error
	// Lost is told, from the goroutine of Run, that contact was lost and why, and, with nil,
	// that it was found again. It may be nil.
	Lost func(why error)
}

// Run watches from a version on until ctx ends, which is no error, or something is Fatal.
// Without a version it begins with Relist. It also ends, with the API server's answer, when
// a watch is refused for longer than an API server needs to start.
func (f *Follower) Run(ctx context.Context, version string) error {
	pause, granted, lost := firstPause, time.Time{}, false
	tell := func(why error) {
		if lost = why != nil; f.Lost != nil {
			f.Lost(why)
		}
	}
	for {
		err := f.once(ctx, &version, func() {
			pause, granted = firstPause, time.Now()
			if lost {
				tell(nil)
			}
		})
		if ctx.Err() != nil {
			return nil //nolint:nilerr // the end that was asked for
		}
		fatal, own := errors.AsType[fatalError](err)
		switch {
		case own:
			return fatal.error
		case Expired(err):
			version = ""
		case refused(err) && time.Since(granted) > refusalPatience:
			return err
		case err != nil && !lost:
			tell(err)
		}
		if !sleep(ctx, pause) {
			return nil
		}
		if err != nil {
			pause = min(2*pause, longestPause)
		}
	}
}

type (
	fatalError     struct{ error }
	retryableError struct{ error }
)

// Fatal marks an error of Relist that ends following. Run returns it as it was before.
func Fatal(err error) error { return fatalError{err} }

// Retryable marks an error of Each that another try may help.
func Retryable(err error) error { return retryableError{err} }

// Expired tells whether the API server no longer has the version that was asked for.
func Expired(err error) bool { return apierrors.IsResourceExpired(err) || apierrors.IsGone(err) }

// once watches until the watch ends. An empty version asks for a list before.
func (f *Follower) once(ctx context.Context, version *string, granted func()) error {
	if *version == "" {
		v, err := f.Relist(ctx)
		if err != nil {
			return err
		}
		*version = v
	}
	w, err := f.Watch(ctx, *version)
	if err != nil {
		return err
	}
	defer w.Stop()
	lasts := time.NewTimer(steady)
	defer lasts.Stop()
	open := false
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-lasts.C:
			open = true
			granted()
		case event, ok := <-w.ResultChan():
			switch {
			case !ok && open: // the API server ends every watch after some minutes
				return nil
			case !ok:
				return errCut
			case event.Type == watch.Error:
				return apierrors.FromObject(event.Object)
			case !open:
				open = true
				granted()
			}
			if event.Type != watch.Bookmark {
				if err := f.Each(event); err != nil {
					if again, ok := errors.AsType[retryableError](err); ok {
						return again.error
					}
					return Fatal(err)
				}
			}
			if v := versionOf(event.Object); v != "" {
				*version = v
			}
		}
	}
}

// refused tells whether the API server answers and will not do it.
func refused(err error) bool {
	return apierrors.IsForbidden(err) || apierrors.IsUnauthorized(err) || apierrors.IsNotFound(err) || apierrors.IsBadRequest(err)
}

// versionOf returns the resource version of an object, or of a table of one.
func versionOf(object runtime.Object) string {
	common, err := meta.CommonAccessor(object)
	if err != nil {
		return ""
	}
	return common.GetResourceVersion()
}

// sleep waits, and tells whether ctx has not ended meanwhile.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
