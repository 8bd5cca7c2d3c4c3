package manifests

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	. "github.com/onsi/gomega"
	authorizationv1 "k8s.io/api/authorization/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
)

// permissions are verbs by resource ("webhooks.horizoncd.io"; where it is not
// namespaced, with a slash in front).
type permissions map[string]string

// subject is somebody that the server knows by name and groups.
type subject struct {
	user   string
	groups []string
}

func serviceAccount(namespace, name string) subject {
	return subject{
		user:   "system:serviceaccount:" + namespace + ":" + name,
		groups: []string{"system:serviceaccounts", "system:serviceaccounts:" + namespace, "system:authenticated"},
	}
}

func person(name string) subject {
	return subject{user: name, groups: []string{"system:authenticated"}}
}

var operatorAccount = serviceAccount(systemNamespace, operatorName)

// may asks the server's authorizer, which also knows what it would never let
// the operator try.
func (s subject) may(t *testing.T, attributes authorizationv1.ResourceAttributes) bool {
	t.Helper()
	review, err := cluster.admin.AuthorizationV1().SubjectAccessReviews().Create(t.Context(), &authorizationv1.SubjectAccessReview{
		Spec: authorizationv1.SubjectAccessReviewSpec{User: s.user, Groups: s.groups, ResourceAttributes: &attributes},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return review.Status.Allowed
}

// permissions asks for every verb of every resource that the server serves, in
// one namespace and, where a resource has none, in the cluster.
func (s subject) permissions(t *testing.T, namespace string, groups ...string) permissions {
	t.Helper()
	_, lists, err := cluster.admin.Discovery().ServerGroupsAndResources()
	if err != nil {
		t.Fatal(err)
	}
	found := permissions{}
	for _, list := range lists {
		gv, err := schema.ParseGroupVersion(list.GroupVersion)
		if err != nil {
			t.Fatal(err)
		}
		if len(groups) > 0 && !slices.Contains(groups, gv.Group) {
			continue
		}
		for _, resource := range list.APIResources {
			name, subresource, _ := strings.Cut(resource.Name, "/")
			attributes := authorizationv1.ResourceAttributes{
				Group: gv.Group, Version: gv.Version, Resource: name, Subresource: subresource,
			}
			key := schema.GroupResource{Group: gv.Group, Resource: name}.String()
			if subresource != "" {
				key += "/" + subresource
			}
			if resource.Namespaced {
				attributes.Namespace = namespace
			} else {
				key = "/" + key
			}
			var verbs []string
			for _, attributes.Verb = range resource.Verbs {
				if s.may(t, attributes) {
					verbs = append(verbs, attributes.Verb)
				}
			}
			if len(verbs) > 0 {
				slices.Sort(verbs)
				found[key] = strings.Join(verbs, " ")
			}
		}
	}
	return found
}

// bind binds a user to a ClusterRole in the tenant's namespace and waits until
// the server knows.
func bind(t *testing.T, role string) subject {
	t.Helper()
	s := person("bound-to-" + role)
	_, err := cluster.admin.RbacV1().RoleBindings(tenant).Create(t.Context(), &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: s.user},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: "User", Name: s.user}},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cluster.admin.RbacV1().RoleBindings(tenant).Delete(cleanup(t), s.user, metav1.DeleteOptions{}); err != nil {
			t.Error(err)
		}
	})
	return s
}

const (
	read = "get list watch"
	all  = "create delete deletecollection get list patch update watch"
)

func TestOperatorPermissions(t *testing.T) {
	// What any service account may do, such as to ask what it may do.
	anyone := serviceAccount(tenant, "nobody").permissions(t, tenant)

	want := permissions{
		"webhooks.horizoncd.io":             read,
		"webhooks.horizoncd.io/status":      "patch",
		"webhookevents.horizoncd.io":        "delete " + read,
		"webhookevents.horizoncd.io/status": "patch",
		"webhookdeliveries.horizoncd.io":    "create delete get list patch watch",
		"secrets":                           "get",
		"configmaps":                        "get",
		"events.events.k8s.io":              "create patch",

		"/tokenreviews.authentication.k8s.io":        "create",
		"/subjectaccessreviews.authorization.k8s.io": "create",
	}
	NewWithT(t).Eventually(func() permissions {
		return operatorAccount.permissions(t, tenant, v1alpha1.GroupVersion.Group)
	}).WithTimeout(patience).ShouldNot(BeEmpty())

	for namespace, more := range map[string]permissions{
		tenant:          {},
		systemNamespace: {"leases.coordination.k8s.io": "create"},
	} {
		t.Run(namespace, func(t *testing.T) {
			want := maps.Clone(want)
			maps.Copy(want, more)
			got := operatorAccount.permissions(t, namespace)
			for key, verbs := range anyone {
				if got[key] == verbs {
					delete(got, key)
				}
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("what the operator may do in %s (-want +got):\n%s", namespace, diff)
			}
		})
	}
}

// The operator may hold its own lease, which cmd names, and no other.
func TestOperatorLease(t *testing.T) {
	for _, tc := range []struct {
		namespace, name, verb string
		want                  bool
	}{
		{systemNamespace, "webhook-operator.horizoncd.io", "get", true},
		{systemNamespace, "webhook-operator.horizoncd.io", "update", true},
		{systemNamespace, "webhook-operator.horizoncd.io", "delete", false},
		{systemNamespace, "another", "get", false},
		{systemNamespace, "another", "update", false},
		{tenant, "webhook-operator.horizoncd.io", "get", false},
		{tenant, "webhook-operator.horizoncd.io", "update", false},
		{tenant, "webhook-operator.horizoncd.io", "create", false},
		{"kube-system", "kube-controller-manager", "update", false},
	} {
		got := operatorAccount.may(t, authorizationv1.ResourceAttributes{
			Namespace: tc.namespace, Verb: tc.verb, Group: "coordination.k8s.io", Version: "v1", Resource: "leases", Name: tc.name,
		})
		if got != tc.want {
			t.Errorf("%s lease %s/%s: %t, want %t", tc.verb, tc.namespace, tc.name, got, tc.want)
		}
	}
}

// What the roles for people, and Kubernetes' own that they are part of, allow
// in the API of this project.
func TestRolesOfPeople(t *testing.T) {
	viewer := permissions{
		"webhooks.horizoncd.io":          read,
		"webhookevents.horizoncd.io":     read,
		"webhookdeliveries.horizoncd.io": read,
	}
	editor := maps.Clone(viewer)
	editor["webhooks.horizoncd.io"] = all
	editor["webhookdeliveries.horizoncd.io"] = "get list patch watch" // the policy says of what
	tests := map[string]permissions{
		"view":                      viewer,
		"edit":                      editor,
		"admin":                     editor,
		"horizon-webhook-viewer":    viewer,
		"horizon-webhook-editor":    {"webhooks.horizoncd.io": all},
		"horizon-delivery-resender": {"webhookdeliveries.horizoncd.io": "get list patch watch"},
		"horizon-event-creator":     {"webhookevents.horizoncd.io": "create get"},
	}
	for role, want := range tests {
		t.Run(role, func(t *testing.T) {
			user := bind(t, role)
			// Bindings take effect, and roles are aggregated, in a moment.
			NewWithT(t).Eventually(func() string {
				return cmp.Diff(want, user.permissions(t, tenant, v1alpha1.GroupVersion.Group))
			}).WithTimeout(patience).Should(BeEmpty())
			if elsewhere := user.permissions(t, "default", v1alpha1.GroupVersion.Group); len(elsewhere) > 0 {
				t.Errorf("in another namespace: %v", elsewhere)
			}
		})
	}
}

// A role of this project gives nothing beside the API of this project, but for those
// of the operator itself and of who scrapes it.
func TestRolesAreAboutThisAPIOnly(t *testing.T) {
	for _, role := range roles(t) {
		if slices.Contains([]string{operatorName, operatorName + "-metrics-auth", "horizon-metrics-reader"}, role.Name) {
			continue
		}
		for _, rule := range role.Rules {
			if !slices.Equal(rule.APIGroups, []string{v1alpha1.GroupVersion.Group}) {
				t.Errorf("%s is about %v", role.Name, rule.APIGroups)
			}
		}
	}
}

// Every rule of the operator's roles says why it is there, and all of them fit on
// half a page.
func TestOperatorRulesHaveReasons(t *testing.T) {
	if n := len(lines(t, "../../config/rbac/role.yaml")); n > 42 {
		t.Errorf("the operator's role has %d lines", n)
	}
	for _, file := range []string{"role.yaml", "leader_election_role.yaml", "metrics_auth_role.yaml"} {
		previous := ""
		for i, line := range lines(t, "../../config/rbac/"+file) {
			if strings.HasPrefix(line, "- apiGroups:") && !strings.HasPrefix(previous, "# To ") {
				t.Errorf("%s:%d: no comment that says why", file, i+1)
			}
			previous = line
		}
	}
}

func roles(t *testing.T) []rbacv1.ClusterRole {
	t.Helper()
	list, err := cluster.admin.RbacV1().ClusterRoles().List(t.Context(), metav1.ListOptions{
		LabelSelector: "app.kubernetes.io/part-of=horizon",
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(list.Items) != 7 {
		t.Fatalf("found %d ClusterRoles, want 7: %s", len(list.Items), fmt.Sprint(list.Items))
	}
	return list.Items
}
