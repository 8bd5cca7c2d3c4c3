package egress

import (
	"net/url"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestProxyExcept(t *testing.T) {
	e, err := ParseProxyExcept(".svc, .Cluster.Local,example.com", "", "10.96.0.0/12,fd00:10:96::/108,192.0.2.1", "localhost,under_score.example.org")
	if err != nil {
		t.Fatal(err)
	}
	for host, want := range map[string]bool{
		"receiver.music.svc": true, "receiver.music.svc.": true, "RECEIVER.MUSIC.SVC": true, "svc": false, "receiver.music.svc.cluster.local": true,
		"mysvc": false, "receiver.mysvc": false, "svc.example.net": false, "receiver.music": false,
		"example.com": true, "example.com.": true, "a.b.example.com:8443": true, "notexample.com": false, "example.com.evil.test": false, "example.comm": false,
		"10.96.0.1": true, "10.111.255.255:80": true, "10.112.0.0": false, "192.0.2.1": true, "192.0.2.2": false, "[::ffff:10.96.0.1]": true,
		"[fd00:10:96::1]": true, "[fd00:10:97::1]": false, "[::ffff:10.0.0.1]": false, "localhost": true, "a.under_score.example.org": true,
		"10.96.0.1.example.net": false, "": false,
	} {
		u, err := url.Parse("https://" + host + "/hook?a=.svc")
		if err != nil {
			t.Fatal(err)
		}
		if got := e.Contains(u); got != want {
			t.Errorf("%s is one: %t, want %t", host, got, want)
		}
	}
	if (ProxyExcept{}).Contains(&url.URL{Host: "example.com"}) {
		t.Error("without any, there is one")
	}
	none := func(text string) string {
		return `"` + text + `" is none of a prefix, such as 10.96.0.0/12, an address, a host, and the end of one, such as .svc`
	}
	for value, want := range map[string]string{
		"*": none("*"), "*.example.com": none("*.example.com"), "example.com:80": none("example.com:80"), "http://example.com": `"http://example.com" is neither a prefix, such as 10.96.0.0/12, nor an address`,
		".svc,": none(""), ".": none("."), "10.96.0": none("10.96.0"), "127.1": none("127.1"), "a b": none("a b"), "bücher.example": none("bücher.example"),
		"10.1.2.3/8": "10.1.2.3/8: the prefix of this length is 10.0.0.0/8, the single address is 10.1.2.3", "::ffff:10.0.0.0/104": "::ffff:10.0.0.0/104: write the IPv4 address 10.0.0.0 as such",
	} {
		got := ""
		if _, err := ParseProxyExcept(value); err != nil {
			got = err.Error()
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%q (-want +got):\n%s", value, diff)
		}
	}
}
