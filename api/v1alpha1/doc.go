// Package v1alpha1 is the API of Horizon's webhooks, group horizoncd.io.
//
// A team writes a Webhook; Horizon creates a WebhookEvent for each thing that
// happened; the operator sends it to every Webhook that matches and keeps a
// WebhookDelivery for each.
//
// +kubebuilder:object:generate=true
// +kubebuilder:ac:generate=true
// +groupName=horizoncd.io
package v1alpha1
