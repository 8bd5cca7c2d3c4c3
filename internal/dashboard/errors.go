package dashboard

import (
	"context"
	"errors"
	"net/http"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// statusError is an error of the pages themselves.
type statusError struct {
	status int
	title  string
	text   string
}

func (e *statusError) Error() string { return e.text }

func notFoundError(text string) error {
	return &statusError{http.StatusNotFound, "Not found", text}
}

func noNamespace(name string) error {
	return notFoundError("There is no namespace " + name + " in this cluster. Choose another one above.")
}

// badRequest is a mistake in what was asked for.
func badRequest(text string) error {
	return &statusError{http.StatusBadRequest, "This cannot be done", text}
}

// trouble is what the page of an error says.
type trouble struct {
	// Text is what went wrong, in the words of whoever noticed, and Help what to do.
	Text, Help string
	// Again: loading the page again may help.
	Again bool
}

// fail shows an error as a page.
func (s *Session) fail(w http.ResponseWriter, q *request, err error) {
	if apierrors.IsUnauthorized(err) {
		s.refused(q.cluster)
	}
	status, title, t := explain(err, q.namespace)
	// The page of an error is loaded again by itself once the API server answers.
	s.render(w, q, &view{template: "error", title: title, status: status, static: !t.Again, data: t})
}

// explain says what an error means to a person, and what to do.
func explain(err error, namespace string) (status int, title string, t trouble) {
	t = trouble{Text: err.Error()}
	own, isOwn := errors.AsType[*statusError](err)
	switch {
	case isOwn:
		return own.status, own.title, t
	case errors.Is(err, errReadOnly):
		return http.StatusForbidden, "Read only", t
	case apierrors.IsUnauthorized(err):
		t.Help = "Your credentials are missing or have expired. Log in to the cluster as you do for kubectl; this page goes on by itself then."
		t.Again = true
		return http.StatusUnauthorized, "The cluster does not know you", t
	case apierrors.IsForbidden(err):
		t.Help = "Ask an administrator for the role view (or horizon-webhook-viewer) in the namespace " + namespace +
			": it is enough to look. To change webhooks takes edit, or horizon-webhook-editor besides."
		t.Again = true
		return http.StatusForbidden, "You may not see this", t
	case apierrors.IsNotFound(err):
		t.Help = "It was deleted, or there never was one of that name here. Finished deliveries are removed after a while, as spec.retention of their webhook says, and events by age."
		return http.StatusNotFound, "Not found", t
	case apierrors.IsConflict(err):
		t.Help = "Somebody else has changed it at the same moment. Go back, look at it again, and repeat what you did."
		return http.StatusConflict, "It was changed meanwhile", t
	case apierrors.IsInvalid(err), apierrors.IsBadRequest(err), apierrors.IsAlreadyExists(err):
		return http.StatusUnprocessableEntity, "The cluster refuses this", t
	case errors.Is(err, errAgain):
		t.Again = true
		return http.StatusServiceUnavailable, "One moment", t
	case errors.Is(err, errNotRead), errors.Is(err, context.DeadlineExceeded):
		t.Help = "The API server takes long to answer. This page goes on by itself once it does."
		t.Again = true
		return http.StatusGatewayTimeout, "No answer yet", t
	}
	if _, answered := errors.AsType[*apierrors.StatusError](err); !answered {
		t.Help = "The API server cannot be reached, or the kubeconfig cannot be used. This page goes on by itself once it can."
		t.Again = true
		return http.StatusBadGateway, "No connection to the cluster", t
	}
	t.Again = true
	return http.StatusBadGateway, "The cluster is in trouble", t
}
