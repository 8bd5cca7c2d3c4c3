package horizon

import (
	"context"
	"maps"
	"slices"
)

// SupportEvents returns the types of events that Horizon knows, in ascending order.
func (c *Client) SupportEvents(ctx context.Context) ([]string, error) {
	var types map[string]string
	if err := c.get(ctx, "/apis/core/v2/supportevents", nil, &types); err != nil {
		return nil, err
	}
	return slices.Sorted(maps.Keys(types)), nil
}
