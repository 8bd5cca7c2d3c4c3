package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// GroupVersion is the group and version of every type of this package.
var GroupVersion = schema.GroupVersion{Group: "horizoncd.io", Version: "v1alpha1"}

// SchemeGroupVersion is GroupVersion under the name that the generated apply
// configurations look for.
var SchemeGroupVersion = GroupVersion

var schemeBuilder = runtime.NewSchemeBuilder(addKnownTypes)

// AddToScheme registers the types of this package.
var AddToScheme = schemeBuilder.AddToScheme

func addKnownTypes(scheme *runtime.Scheme) error {
	scheme.AddKnownTypes(GroupVersion,
		&Webhook{}, &WebhookList{},
		&WebhookEvent{}, &WebhookEventList{},
		&WebhookDelivery{}, &WebhookDeliveryList{},
	)
	metav1.AddToGroupVersion(scheme, GroupVersion)
	return nil
}
