package horizon

import (
	"errors"
	"fmt"
	"net/http"
)

// StatusError is an answer of Horizon that says no.
type StatusError struct {
	// Code is the status code.
	Code int
	// Method and Path are those of the request, without the core's address.
	Method, Path string
	// Message is what Horizon says, on one line and without secrets, up to 512 bytes.
	// Empty where it says nothing.
	Message string
}

// Error names the request, the status and what Horizon says.
func (e *StatusError) Error() string {
	text := fmt.Sprintf("asking Horizon: %s %s: %d %s", e.Method, e.Path, e.Code, http.StatusText(e.Code))
	if e.Message != "" {
		text += ": " + e.Message
	}
	return text
}

// IsNotFound tells whether Horizon does not have what was asked for: it was deleted, or its
// number and its name do not belong together.
func IsNotFound(err error) bool { return hasCode(err, http.StatusNotFound) }

// IsForbidden tells whether the token's scopes, or the role of its owner, do not allow the
// request.
func IsForbidden(err error) bool { return hasCode(err, http.StatusForbidden) }

// IsUnauthorized tells whether Horizon does not know the token, or it has expired.
func IsUnauthorized(err error) bool { return hasCode(err, http.StatusUnauthorized) }

func hasCode(err error, code int) bool {
	status, ok := errors.AsType[*StatusError](err)
	return ok && status.Code == code
}
