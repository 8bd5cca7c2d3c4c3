//go:build race

package expression

const (
	// slowness is how many times slower code with the race detector is.
	slowness = 10
	// waste is how many times more it may allocate: sync.Pool drops some of what it is given.
	waste = 2
)
