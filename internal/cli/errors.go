package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilnet "k8s.io/apimachinery/pkg/util/net"
)

// noKubeconfig is told where there was nothing that says where the cluster is, and kubectl's
// default address does not answer.
const noKubeconfig = "there is no kubeconfig, or it names no cluster: set KUBECONFIG, or give --kubeconfig (http://localhost:8080 was tried, and does not answer)"

// explain says what went wrong and, where somebody can do something about it, what.
func explain(err error) string {
	_, ofHorizon := errors.AsType[horizonError](err)
	switch {
	case errors.Is(err, context.Canceled):
		return "interrupted"
	case ofHorizon:
	case apierrors.IsForbidden(err):
		if role := missingRole(err); role != "" {
			return fmt.Sprintf("%v\n%s", err, role)
		}
	case apierrors.IsNotFound(err) && unknownResource(err):
		return "the cluster does not know Horizon's webhooks: the operator's CRDs are not installed there"
	case utilnet.IsConnectionRefused(err) && strings.Contains(err.Error(), `"http://localhost:8080/`):
		return noKubeconfig
	case utilnet.IsConnectionRefused(err):
		return fmt.Sprintf("the API server cannot be reached: %v", err)
	}
	return err.Error()
}

// unknownResource tells whether what is not found is the resource and not an object.
func unknownResource(err error) bool {
	status, ok := errors.AsType[*apierrors.StatusError](err)
	if !ok {
		return false
	}
	details := status.Status().Details
	if details == nil {
		return false
	}
	for _, cause := range details.Causes {
		if cause.Type == metav1.CauseTypeUnexpectedServerResponse {
			return true
		}
	}
	return details.Name == ""
}

// missingRole says which role grants what was refused. The API server names the verb in
// the message only.
func missingRole(err error) string {
	status, ok := errors.AsType[*apierrors.StatusError](err)
	if !ok || status.Status().Details == nil {
		return ""
	}
	resource, message := status.Status().Details.Kind, status.Status().Message
	_, rest, found := strings.Cut(message, " cannot ")
	if !found { // refused by a policy, which says why
		return ""
	}
	verb, _, _ := strings.Cut(rest, " ")
	reads := verb == "get" || verb == "list" || verb == "watch"
	var role string
	switch {
	case resource == "webhooks" && !reads:
		role = "edit (or horizon-webhook-editor)"
	case resource == "webhookdeliveries" && verb == "patch":
		role = "edit, or horizon-delivery-resender, which allows to resend and nothing else"
	case strings.HasPrefix(resource, "webhook") && reads:
		role = "view (or horizon-webhook-viewer)"
	case resource == "webhookevents" && verb == "create":
		role = "horizon-event-creator"
	case resource == "secrets":
		role = "edit"
	default:
		return ""
	}
	where := " in every namespace (a ClusterRoleBinding)"
	if _, after, ok := strings.Cut(message, ` in the namespace "`); ok {
		name, _, _ := strings.Cut(after, `"`)
		where = " in the namespace " + name
	}
	return "You need the role " + role + where + ": ask an administrator for it."
}
