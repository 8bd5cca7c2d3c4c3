//go:build !race

package expression

const (
	slowness = 1
	waste    = 1
)
