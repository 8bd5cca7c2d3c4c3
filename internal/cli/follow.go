package cli

import (
	"context"
	"errors"
	"fmt"
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

// follower watches a resource, and goes on where a watch ended, so that nothing is missed:
// from the last version that was seen or, where the API server no longer has it, with a
// new list.
type follower struct {
	watch func(ctx context.Context, version string) (watch.Interface, error)
	// relist lists anew, handles what has changed meanwhile, and returns the version to go
	// on from.
	relist func(ctx context.Context) (version string, err error)
	// each handles a change. An error ends following, but for a retryableError: the same
	// change comes once more then.
	each func(watch.Event) error
	// tell says that contact was lost and found again.
	tell func(string)
}

// run watches from a version on until ctx ends, which is no error, or each returns one.
func (f *follower) run(ctx context.Context, version string) error {
	pause, granted, lost := firstPause, time.Time{}, false
	for {
		err := f.once(ctx, &version, func() {
			pause, granted = firstPause, time.Now()
			if lost {
				lost = false
				f.tell("The API server answers again.")
			}
		})
		if ctx.Err() != nil {
			return nil //nolint:nilerr // the end that was asked for
		}
		fatal, own := errors.AsType[handlingError](err)
		switch {
		case own:
			return fatal.error
		case isExpired(err):
			version = ""
		case refused(err) && time.Since(granted) > refusalPatience:
			return err
		case err != nil && !lost:
			lost = true
			f.tell(fmt.Sprintf("Lost contact with the API server, and trying again: %v", err))
		}
		if !sleep(ctx, pause) {
			return nil
		}
		if err != nil {
			pause = min(2*pause, longestPause)
		}
	}
}

// handlingError is one of whoever handles what was watched: it ends following.
type handlingError struct{ error }

// retryableError is one that another try may help.
type retryableError struct{ error }

// once watches until the watch ends. An empty version asks for a list before.
func (f *follower) once(ctx context.Context, version *string, granted func()) error {
	if *version == "" {
		v, err := f.relist(ctx)
		if err != nil {
			return err
		}
		*version = v
	}
	w, err := f.watch(ctx, *version)
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
				if err := f.each(event); err != nil {
					if again, ok := errors.AsType[retryableError](err); ok {
						return again.error
					}
					return handlingError{err}
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
