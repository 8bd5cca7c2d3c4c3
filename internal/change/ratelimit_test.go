package change

import "testing"

func TestParseRateLimit(t *testing.T) {
	for text, want := range map[string]string{
		"20/60s": "20/60s", "20/1m": "20/60s", "5 / 3": "5/3s", "1/s": "1/1s", "0/0": "0/0s", "-1/5s": "-1/5s",
		"": "", "20": "", "20/": "", "a/60s": "", "20/1.5s": "", "20/60x": "", "20/60s/1": "", "99999999999/1s": "", "1/-": "",
	} {
		l, err := ParseRateLimit(text)
		switch {
		case want == "" && err == nil:
			t.Errorf("%q was read as %s", text, l)
		case want != "" && (err != nil || l.String() != want):
			t.Errorf("%q: %s, %v", text, l, err)
		}
	}
}
