package format

import (
	_ "embed" // the template
	"strings"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/signing"
)

//go:embed templates/horizon.cel
var horizonTemplate string

// proof is that of formats which are not a room's.
const proof = "token, signed"

// horizon is the body as Horizon writes it: that of the record. Nothing is computed.
var horizon = Format{
	Name:    v1alpha1.PayloadHorizon,
	Title:   "Horizon",
	Summary: "the body as Horizon writes it, byte for byte",

	ContentType: signing.ContentType,
	Proof:       proof,
	differences: "Keys are sorted, not in Horizon's order, and <, > and & are not escaped.",
	template:    strings.TrimSuffix(horizonTemplate, "\n"),
	write: func(d *v1alpha1.WebhookDelivery, _ string) ([]byte, error) {
		return []byte(d.Spec.Payload), nil
	},
}
