package dashboard

import (
	"context"
	"net/http"

	"golang.org/x/time/rate"
)

const (
	// trialsPerSecond is how many forms with expressions a session evaluates; the script of a
	// page asks for at most two. Each compiles up to four expressions (a few milliseconds),
	// explains the filter (four times expression.MaxTime at most) and renders the template
	// (once that).
	trialsPerSecond = 2
	// trialsAtOnce is how many more it takes without a wait.
	trialsAtOnce = 8
)

func newTrials() *rate.Limiter { return rate.NewLimiter(trialsPerSecond, trialsAtOnce) }

// turn waits until the session may evaluate another form.
func (s *Session) turn(ctx context.Context) error {
	if err := s.trials.Wait(ctx); err != nil {
		return &statusError{http.StatusTooManyRequests, "One moment", "Too many previews were asked for at once: " + err.Error()}
	}
	return nil
}

// hasExpressions tells whether anything is filled in that has to be evaluated.
func (in input) hasExpressions() bool {
	for _, f := range allFields() {
		if f.Kind == kindCode && in.Get(f.ID) != "" {
			return true
		}
	}
	return false
}
