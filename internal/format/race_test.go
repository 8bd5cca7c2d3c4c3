//go:build race

package format_test

func init() { raceDetector = true }
