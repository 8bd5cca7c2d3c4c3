package main

import (
	"flag"
	"io"
	"net/netip"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/client-go/rest"

	"github.com/horizoncd/webhook-operator/internal/egress"
)

func TestEgressFlags(t *testing.T) {
	const badProxy = "--egress-proxy must be the URL of an http or https proxy, such as http://proxy.example.com:3128"
	for name, tc := range map[string]struct {
		args    []string
		want    []string
		proxy   string
		except  []string // URLs
		wantErr string
	}{
		"nothing":         {},
		"empty":           {args: []string{"--egress-allow=", "--egress-proxy="}},
		"several":         {args: []string{"--egress-allow=10.0.0.0/8,::1", "--egress-allow=192.168.0.0/16"}, want: []string{"10.0.0.0/8", "::1/128", "192.168.0.0/16"}},
		"but some":        {args: []string{"--egress-proxy-except=.svc,example.com", "--egress-proxy-except=10.96.0.0/12"}, except: []string{"http://a.svc", "http://example.com", "http://10.96.0.1"}},
		"bad but some":    {args: []string{"--egress-proxy-except=*.svc"}, wantErr: `--egress-proxy-except: "*.svc" is none of a prefix, such as 10.96.0.0/12, an address, a host, and the end of one, such as .svc`},
		"no prefix":       {args: []string{"--egress-allow=10.0.0.0/8,all"}, wantErr: `--egress-allow: "all" is neither a prefix, such as 10.96.0.0/12, nor an address`},
		"a proxy":         {args: []string{"--egress-proxy=http://proxy.example.com:3128"}, proxy: "http://proxy.example.com:3128"},
		"a secure proxy":  {args: []string{"--egress-proxy=https://user:s3cr3t@proxy.example.com/"}, proxy: "https://user:s3cr3t@proxy.example.com/"},
		"another scheme":  {args: []string{"--egress-proxy=socks5://user:s3cr3t@proxy.example.com"}, wantErr: badProxy},
		"no scheme":       {args: []string{"--egress-proxy=proxy.example.com:3128"}, wantErr: badProxy},
		"no host":         {args: []string{"--egress-proxy=http://:3128"}, wantErr: badProxy},
		"a path":          {args: []string{"--egress-proxy=http://user:s3cr3t@proxy.example.com/pac"}, wantErr: badProxy},
		"not a URL":       {args: []string{"--egress-proxy=http://user:s3cr3t@proxy.example.com:port"}, wantErr: badProxy},
		"control letters": {args: []string{"--egress-proxy=http://user:s3cr3t@proxy\n"}, wantErr: badProxy},
	} {
		t.Run(name, func(t *testing.T) {
			var f egressFlags
			set := flag.NewFlagSet("", flag.ContinueOnError)
			set.SetOutput(io.Discard)
			f.bind(set)
			if err := set.Parse(tc.args); err != nil {
				t.Fatal(err)
			}
			got, err := f.parse()
			text := ""
			if err != nil {
				text = err.Error()
			}
			if diff := cmp.Diff(tc.wantErr, text); diff != "" {
				t.Errorf("error (-want +got):\n%s", diff)
			}
			if err != nil {
				return
			}
			var allow []string
			for _, prefix := range got.policy.Allow {
				allow = append(allow, prefix.String())
			}
			if diff := cmp.Diff(tc.want, allow); diff != "" {
				t.Errorf("allowed (-want +got):\n%s", diff)
			}
			if got := got.proxy; got == nil && tc.proxy != "" || got != nil && got.String() != tc.proxy {
				t.Errorf("proxy %v, want %q", got, tc.proxy)
			}
			for _, text := range tc.except {
				u, err := url.Parse(text)
				if err != nil {
					t.Fatal(err)
				}
				if !got.except.Contains(u) {
					t.Errorf("%s goes through the proxy", u)
				}
			}
		})
	}
}

func TestAPIServerIsDenied(t *testing.T) {
	for name, tc := range map[string]struct {
		host, service, port string
		want                []string
	}{
		"with a port":    {host: "https://192.0.2.1:6443", want: []string{"192.0.2.1:6443"}},
		"without one":    {host: "https://192.0.2.1/prefix", want: []string{"192.0.2.1:443"}},
		"without scheme": {host: "192.0.2.1:8080", want: []string{"192.0.2.1:8080"}},
		"IPv6":           {host: "https://[2001:db8::1]:6443", want: []string{"[2001:db8::1]:6443"}},
		"in a pod":       {host: "https://192.0.2.1:6443", service: "10.96.0.1", port: "443", want: []string{"192.0.2.1:6443", "10.96.0.1:443"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("KUBERNETES_SERVICE_HOST", tc.service)
			t.Setenv("KUBERNETES_SERVICE_PORT", tc.port)
			found, err := apiServer(t.Context(), &rest.Config{Host: tc.host})
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, at := range found {
				got = append(got, at.String())
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
	t.Run("by name", func(t *testing.T) {
		t.Setenv("KUBERNETES_SERVICE_HOST", "")
		found, err := apiServer(t.Context(), &rest.Config{Host: "https://localhost:6443"})
		if err != nil {
			t.Fatal(err)
		}
		for _, at := range found {
			if !at.Addr().IsLoopback() || at.Port() != 6443 {
				t.Errorf("%s, want loopback on port 6443", at)
			}
		}
		if len(found) == 0 {
			t.Error("nothing was found")
		}
	})
}

// What the flags allow does not reach the API server nor this machine, also where
// all of it is on loopback.
func TestOutboundDenies(t *testing.T) {
	allow, err := egress.ParseAllow("0.0.0.0/0,::/0,127.0.0.0/8")
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("KUBERNETES_SERVICE_HOST", "")
	o, err := outbound(t.Context(), egressOptions{policy: egress.Policy{Allow: allow}}, &rest.Config{Host: "https://127.0.0.1:6443"})
	if err != nil {
		t.Fatal(err)
	}
	own, err := ownAddresses()
	if err != nil {
		t.Fatal(err)
	}
	denied := []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:6443")}
	for _, addr := range own {
		denied = append(denied, netip.AddrPortFrom(addr, 8080))
	}
	for _, to := range denied {
		if o.Control("tcp", to.String(), nil) == nil || o.CheckURL(&url.URL{Scheme: "http", Host: to.String()}) == nil {
			t.Errorf("%s is allowed", to)
		}
	}
	if err := o.Control("tcp", "127.0.0.1:8080", nil); err != nil {
		t.Errorf("loopback beside the API server: %v", err)
	}
	if !strings.HasPrefix(o.UserAgent, "Horizon-Webhook/") {
		t.Errorf("User-Agent %q", o.UserAgent)
	}
}
