package payload

import (
	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/expression"
	"github.com/horizoncd/webhook-operator/internal/format"
	"github.com/horizoncd/webhook-operator/internal/message"
)

// Of returns the body that a delivery is sent with to its Webhook as that is now. id is the
// header webhook-id. In Horizon's format, and without a template, it is spec.payload itself,
// and nothing is computed. The error is a *expression.Mistake where the template does not
// compile; otherwise it says in words why it makes no body of this event.
func Of(d *v1alpha1.WebhookDelivery, w *v1alpha1.Webhook, id string) ([]byte, error) {
	p, f := settings(w), format.Of(w)
	if p.Template != "" {
		return render(p.Template, d, w, id, (*expression.Template).Render)
	}
	if body, ok, err := f.Write(d, id); ok {
		return body, err
	}
	return render(f.Template(), d, w, id, (*expression.Template).RenderUnhurried)
}

func settings(w *v1alpha1.Webhook) v1alpha1.PayloadSettings {
	if w.Spec.Payload == nil {
		return v1alpha1.PayloadSettings{}
	}
	return *w.Spec.Payload
}

func render(
	text string, d *v1alpha1.WebhookDelivery, w *v1alpha1.Webhook, id string,
	by func(*expression.Template, expression.Input) ([]byte, error),
) ([]byte, error) {
	template, err := expression.CompileTemplate(text)
	if err != nil {
		return nil, err
	}
	event, err := EventOfDelivery(d)
	if err != nil {
		return nil, err
	}
	in := expression.Input{Event: event, Webhook: WebhookOf(w), Delivery: expression.Delivery{ID: id}}
	in.Message = message.Of(event, in.Webhook, settings(w).Language)
	return by(template, in)
}
