//go:build race

package expression

// slowness is how many times slower code with the race detector is.
const slowness = 10
