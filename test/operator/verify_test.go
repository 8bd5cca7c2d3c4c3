package operator

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/horizoncd/webhook-operator/test/controlplane"
)

// What is measured runs as it is installed; clients that do not are told apart.
func TestVerify(t *testing.T) {
	cp, err := controlplane.Start(t.Context(), controlplane.Options{})
	if errors.Is(err, controlplane.ErrNoBinaries) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cp.Stop(); err != nil {
			t.Error(err)
		}
	})
	install, err := Install(t.Context(), cp, "../..")
	if err != nil {
		t.Fatal(err)
	}
	clientOf := func(cfg *rest.Config, err error) *http.Client {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		c, err := rest.HTTPClientFor(cfg)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	name := "system:serviceaccount:" + DefaultSystemNamespace + ":" + serviceAccount
	account := clientOf(clientcmd.BuildConfigFromFlags("", install.Kubeconfig))
	if err := install.Verify(t.Context(), account); err != nil {
		t.Fatalf("the operator's account: %v", err)
	}
	if err := install.Verify(t.Context(), account); err != nil {
		t.Fatalf("a second time: %v", err)
	}
	for who, tt := range map[string]struct {
		client *http.Client
		want   string
	}{
		"the administrator":    {clientOf(cp.Config(), nil), "it is exempt"},
		"a powerful account":   {clientOf(cp.UserConfig(name, "system:masters")), "it is exempt"},
		"somebody of no right": {clientOf(cp.UserConfig("jane")), "requests are made by jane"},
	} {
		if err := install.Verify(t.Context(), tt.client); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want %q", who, err, tt.want)
		}
	}

	// Without the binding everybody writes records, and each costs less.
	binding := &admissionv1.ValidatingAdmissionPolicyBinding{ObjectMeta: metav1.ObjectMeta{Name: "horizon-delivery-records"}}
	if err := install.Client.Delete(t.Context(), binding); err != nil {
		t.Fatal(err)
	}
	// It stays in force for a moment.
	policyTimeout = time.Second
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := controlplane.Poll(ctx, 100*time.Millisecond, nil, func(ctx context.Context) error {
		if err := install.Verify(ctx, account); err == nil || !strings.Contains(err.Error(), "the admission policy has not refused it") {
			return fmt.Errorf("without the policy's binding: got %w", err)
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
	var left rbacv1.RoleList
	if err := install.Client.List(t.Context(), &left); err != nil {
		t.Fatal(err)
	}
	for _, role := range left.Items {
		if strings.HasPrefix(role.Name, "writes-records") {
			t.Error("the role that it gave is left")
		}
	}
}
