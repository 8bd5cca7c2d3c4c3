package operator

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	flowcontrolv1 "k8s.io/api/flowcontrol/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/test/controlplane"
)

// policyTimeout is how long a policy may take to be in force.
var policyTimeout = 30 * time.Second

// Verify tells whether the requests of an HTTP client cost what they cost where the
// operator is installed: they are the operator's service account's, priority and
// fairness holds them back where it has to, and the admission policy is asked about
// each record. What is measured without these flatters.
func (i *Installation) Verify(ctx context.Context, account *http.Client) error {
	cfg := rest.CopyConfig(i.cp.Config())
	c, err := client.New(&rest.Config{Host: cfg.Host, QPS: -1}, client.Options{HTTPClient: account, Scheme: i.Client.Scheme()})
	if err != nil {
		return err
	}
	if err := errors.Join(isAccount(ctx, c), i.isHeldBack(ctx, account, cfg.Host), i.isJudged(ctx, c)); err != nil {
		return fmt.Errorf("not as it is installed: %w", err)
	}
	return nil
}

// isAccount tells whether a client is the operator's service account, and no more.
func isAccount(ctx context.Context, c client.Client) error {
	review := &authenticationv1.SelfSubjectReview{}
	if err := c.Create(ctx, review); err != nil {
		return fmt.Errorf("asking who makes the requests: %w", err)
	}
	user := review.Status.UserInfo
	want := "system:serviceaccount:" + DefaultSystemNamespace + ":" + serviceAccount
	if user.Username != want || slices.Contains(user.Groups, "system:masters") {
		return fmt.Errorf("requests are made by %s of %v, want %s", user.Username, user.Groups, want)
	}
	return nil
}

// isHeldBack tells whether requests have a priority level that is not exempt.
func (i *Installation) isHeldBack(ctx context.Context, account *http.Client, host string) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, host+"/apis/"+v1alpha1.GroupVersion.String()+"/webhooks?limit=1", nil)
	if err != nil {
		return err
	}
	resp, err := account.Do(r)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	uid := resp.Header.Get(flowcontrolv1.ResponseHeaderMatchedPriorityLevelConfigurationUID)
	var levels flowcontrolv1.PriorityLevelConfigurationList
	if err := i.Client.List(ctx, &levels); err != nil {
		return err
	}
	for _, level := range levels.Items {
		if string(level.UID) != uid {
			continue
		}
		if level.Spec.Type == flowcontrolv1.PriorityLevelEnablementExempt {
			return fmt.Errorf("priority and fairness holds requests back that have the level %s: it is exempt", level.Name)
		}
		return nil
	}
	return fmt.Errorf("requests have no priority level (%q)", uid)
}

// isJudged tells whether the admission policy lets a client write records, and
// nobody who lacks the permission that it asks for.
func (i *Installation) isJudged(ctx context.Context, c client.Client) error {
	const stranger = "stranger"
	meta := metav1.ObjectMeta{Namespace: DefaultSystemNamespace, Name: "writes-records-without-permission"}
	role := &rbacv1.Role{ObjectMeta: meta, Rules: []rbacv1.PolicyRule{{
		APIGroups: []string{v1alpha1.GroupVersion.Group}, Resources: []string{"webhookdeliveries"}, Verbs: []string{"create"},
	}}}
	binding := &rbacv1.RoleBinding{
		ObjectMeta: meta, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: meta.Name},
		Subjects: []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: stranger}},
	}
	user, err := i.cp.UserConfig(stranger)
	if err != nil {
		return err
	}
	other, err := client.New(user, client.Options{Scheme: i.Client.Scheme()})
	if err != nil {
		return err
	}
	for _, object := range []client.Object{role, binding} {
		if err := i.Client.Create(ctx, object); err != nil {
			return fmt.Errorf("giving somebody a role: %w", err)
		}
		defer func() { _ = i.Client.Delete(context.WithoutCancel(ctx), object) }()
	}
	if err := c.Create(ctx, sampleRecord(), client.DryRunAll); err != nil {
		return fmt.Errorf("writing a record: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, policyTimeout)
	defer cancel()
	err = controlplane.Poll(ctx, 100*time.Millisecond, nil, func(ctx context.Context) error {
		err := other.Create(ctx, sampleRecord(), client.DryRunAll)
		if apierrors.IsForbidden(err) && strings.Contains(err.Error(), "ValidatingAdmissionPolicy") {
			return nil
		}
		return errors.Join(errors.New("the admission policy has not refused it"), err)
	})
	if err != nil {
		return fmt.Errorf("a record of somebody without the permission: %w", err)
	}
	return nil
}

// sampleRecord is one that the API server takes.
func sampleRecord() *v1alpha1.WebhookDelivery {
	const uid = "00000000-0000-0000-0000-000000000001"
	return &v1alpha1.WebhookDelivery{
		ObjectMeta: metav1.ObjectMeta{Namespace: DefaultSystemNamespace, Name: "record"},
		Spec: v1alpha1.WebhookDeliverySpec{
			WebhookRef: v1alpha1.WebhookReference{Name: "webhook", UID: uid},
			EventRef:   v1alpha1.EventReference{Namespace: DefaultSystemNamespace, Name: "event", UID: uid},
			EventType:  "clusters_deployed", Payload: "{}",
		},
	}
}
