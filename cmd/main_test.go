package main

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestSplitNamespaces(t *testing.T) {
	for list, want := range map[string][]string{
		"music":                 {"music"},
		"video, music":          {"music", "video"},
		"music,video,music":     {"music", "video"},
		"":                      nil,
		"music,":                nil,
		"music;video":           nil,
		"Music":                 nil,
		"kube-system/music":     nil,
		"*":                     nil,
		strings.Repeat("a", 64): nil,
	} {
		got, err := splitNamespaces(list)
		if (err != nil) != (want == nil) {
			t.Errorf("%q: %v", list, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%q (-want +got):\n%s", list, diff)
		}
	}
}
