package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/test/operator"
)

// In the operator that is measured with retention, deliveries may go after a second
// instead of fifteen minutes: whatever else it does is what ships. Nothing else
// would delete while deliveries come, short of a bench that takes an hour.
const (
	retentionSource       = "internal/retention/retention.go"
	shippedMinAge         = "const MinAge = 15 * time.Minute"
	measuredMinAge        = "const MinAge = time.Second"
	retentionPhases       = 3 // lengths of a phase: retention looks at a Webhook every ten seconds
	keptWhileDeleting     = 1 // records of a Webhook
	keptWithoutDeleting   = 10000
	deleteDeliveries      = "DELETE webhookdeliveries"
	operatorWithRetention = "bench-operator"
)

// withRetention compares deliveries while retention deletes them with the same
// operator and Webhooks that keep them.
func (b *bench) withRetention(ctx context.Context, s *store, dir string) (err error) {
	if err := s.stop(); err != nil {
		return err
	}
	shipped := s.options.Binary
	if s.options.Binary, err = b.buildWithRetention(ctx, dir); err != nil {
		return err
	}
	defer func() { s.options.Binary = shipped }()
	measure := func(kept int32, into *bursts) func() error {
		return func() error {
			if err := b.startOperator(ctx, s); err != nil {
				return err
			}
			c, err := b.newScene(ctx, s, b.webhooks, func(_ int, w *v1alpha1.Webhook) { w.Spec.Retention.Limit = &kept })
			if err != nil {
				return err
			}
			// The more there is to delete, the faster it goes: until about as many go as come.
			if _, err := b.deliverTo(ctx, c, retentionPhases*b.count(b.webhooks), 0); err != nil {
				return err
			}
			t, err := b.deliverTo(ctx, c, retentionPhases*b.count(b.webhooks), 0)
			if err != nil {
				return err
			}
			into.add(t)
			return s.clean(ctx)
		}
	}
	f := &b.figures.retention
	err = b.repeat(func(pair int) error {
		return inTurns(pair, measure(keptWhileDeleting, &f.ours), measure(keptWithoutDeleting, &f.bare))
	})
	return errors.Join(err, s.stop())
}

// buildWithRetention builds the operator with the shorter age, and returns its path.
func (b *bench) buildWithRetention(ctx context.Context, dir string) (string, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	source, err := filepath.Abs(filepath.Join(b.Root, retentionSource))
	if err != nil {
		return "", err
	}
	text, err := os.ReadFile(source)
	if err != nil {
		return "", err
	}
	if text, err = withMinAge(text); err != nil {
		return "", err
	}
	changed, overlay := filepath.Join(dir, "retention.go"), filepath.Join(dir, "overlay.json")
	replace, err := json.Marshal(map[string]map[string]string{"Replace": {source: changed}})
	if err != nil {
		return "", err
	}
	if err := errors.Join(os.WriteFile(changed, text, 0o600), os.WriteFile(overlay, replace, 0o600)); err != nil {
		return "", err
	}
	b.Say("building the operator with %q in place of %q", measuredMinAge, shippedMinAge)
	return operator.Build(ctx, b.Root, filepath.Join(dir, operatorWithRetention), "-overlay="+overlay)
}

// withMinAge is the source of internal/retention with the shorter age.
func withMinAge(source []byte) ([]byte, error) {
	if bytes.Count(source, []byte(shippedMinAge)) != 1 {
		return nil, fmt.Errorf("%s does not say %q", retentionSource, shippedMinAge)
	}
	return bytes.Replace(source, []byte(shippedMinAge), []byte(measuredMinAge), 1), nil
}

func (b *bench) retentionRow() row {
	f := b.figures.retention
	ours, bare := f.ours.rates(), f.bare.rates()
	deleted := mapped(f.ours, func(t throughput) float64 { return 100 * t.writes[deleteDeliveries] / float64(t.deliveries) })
	return row{
		ID: rowRetention, Name: fmt.Sprintf("deliveries/s while retention deletes, %d webhooks", b.webhooks), Unit: "%", AtLeast: true, Goal: 80,
		values: of(ours, bare, percent),
		Note: fmt.Sprintf("%.0f/s, without %.0f/s; for 100 deliveries %.0f were deleted; built with a least age of a second instead of 15 minutes",
			median(ours), median(bare), median(deleted)),
	}
}
