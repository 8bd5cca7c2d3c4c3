package change

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// RateLimit is a rate limit as spec has it, in JSON.
type RateLimit struct{ Requests, PerSeconds int64 }

// ErrRateLimit says how a rate limit is written.
var ErrRateLimit = errors.New("write the number of requests and the span in whole seconds, such as 20/60s")

// ParseRateLimit reads a rate limit: 20/60s, 20/1m, 20/60 or 1/s. Whether the numbers are
// within bounds, the API server knows.
func ParseRateLimit(text string) (RateLimit, error) {
	before, after, found := strings.Cut(text, "/")
	requests, err := strconv.ParseInt(strings.TrimSpace(before), 10, 32)
	after = strings.TrimSpace(after)
	if !found || err != nil || after == "" {
		return RateLimit{}, ErrRateLimit
	}
	if seconds, err := strconv.ParseInt(after, 10, 32); err == nil {
		return RateLimit{requests, seconds}, nil
	}
	if after[0] < '0' || after[0] > '9' {
		after = "1" + after // 1/s
	}
	span, err := time.ParseDuration(after)
	if err != nil || span%time.Second != 0 || span > math.MaxInt32*time.Second {
		return RateLimit{}, ErrRateLimit
	}
	return RateLimit{requests, int64(span / time.Second)}, nil
}

// String writes it as ParseRateLimit reads it.
func (l RateLimit) String() string { return fmt.Sprintf("%d/%ds", l.Requests, l.PerSeconds) }

// Object is the value of spec.rateLimit.
func (l RateLimit) Object() map[string]any {
	return map[string]any{"requests": l.Requests, "perSeconds": l.PerSeconds}
}
