package main

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestNamespaces(t *testing.T) {
	for name, tc := range map[string]struct {
		lists []string
		want  []string
	}{
		"one":               {lists: []string{"music"}, want: []string{"music"}},
		"two":               {lists: []string{"video, music"}, want: []string{"music", "video"}},
		"one twice":         {lists: []string{"music,video,music"}, want: []string{"music", "video"}},
		"given twice":       {lists: []string{"video", "music,games"}, want: []string{"games", "music", "video"}},
		"the same twice":    {lists: []string{"music,video", "music"}, want: []string{"music", "video"}},
		"empty":             {lists: []string{""}},
		"and then empty":    {lists: []string{"music", ""}},
		"an empty one":      {lists: []string{"music,"}},
		"another separator": {lists: []string{"music;video"}},
		"a capital":         {lists: []string{"Music"}},
		"a path":            {lists: []string{"kube-system/music"}},
		"all":               {lists: []string{"*"}},
		"too long":          {lists: []string{strings.Repeat("a", 64)}},
	} {
		t.Run(name, func(t *testing.T) {
			var got []string
			var err error
			for _, list := range tc.lists {
				got, err = addNamespaces(got, list)
			}
			if (err != nil) != (tc.want == nil) {
				t.Errorf("error %v", err)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
