package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"strconv"
	"time"

	"k8s.io/client-go/rest"

	"github.com/horizoncd/webhook-operator/internal/egress"
	"github.com/horizoncd/webhook-operator/internal/sending"
)

// lookupTimeout bounds the search for the API server's addresses.
const lookupTimeout = 10 * time.Second

// egressFlags say where requests may go.
type egressFlags struct {
	allow  []string
	proxy  string
	except []string
}

func (f *egressFlags) bind(to *flag.FlagSet) {
	to.Func("egress-allow", "Where requests may go beside public addresses: `prefixes` and addresses, with commas between them. May be given several times.",
		func(value string) error { f.allow = append(f.allow, value); return nil })
	to.StringVar(&f.proxy, "egress-proxy", "", "URL of the http or https proxy that requests go through. None is taken from the environment.")
	to.Func("egress-proxy-except", "Receivers that the proxy is not used for: `hosts` and ends of hosts (example.com, .svc), prefixes and addresses, with commas between them. "+
		"Prefixes count for addresses in the URL; no host is looked up for them. May be given several times.",
		func(value string) error { f.except = append(f.except, value); return nil })
}

// egressOptions are what the flags alone say.
type egressOptions struct {
	policy egress.Policy
	proxy  *url.URL
	except egress.ProxyExcept
}

func (f *egressFlags) parse() (egressOptions, error) {
	allow, err := egress.ParseAllow(f.allow...)
	if err != nil {
		return egressOptions{}, fmt.Errorf("%s: %w", egress.Flag, err)
	}
	except, err := egress.ParseProxyExcept(f.except...)
	if err != nil {
		return egressOptions{}, fmt.Errorf("--egress-proxy-except: %w", err)
	}
	proxy, err := parseProxy(f.proxy)
	return egressOptions{policy: egress.Policy{Allow: allow}, proxy: proxy, except: except}, err
}

// parseProxy does not repeat the URL in its error: it may have a password.
func parseProxy(text string) (*url.URL, error) {
	if text == "" {
		return nil, nil
	}
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" ||
		u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.Fragment != "" {
		return nil, errors.New("--egress-proxy must be the URL of an http or https proxy, such as http://proxy.example.com:3128")
	}
	return u, nil
}

// outbound returns the options for sending. To what the policy
// denies it adds the API server and the addresses of this machine, as they are
// now.
func outbound(ctx context.Context, o egressOptions, cfg *rest.Config) (sending.Options, error) {
	policy := o.policy
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	var err error
	if policy.APIServer, err = apiServer(ctx, cfg); err != nil {
		return sending.Options{}, fmt.Errorf("looking up the API server, to which no Webhook may lead: %w", err)
	}
	if policy.Own, err = ownAddresses(); err != nil {
		return sending.Options{}, fmt.Errorf("listing the addresses of this machine, to which no Webhook may lead: %w", err)
	}
	return sending.Options{
		UserAgent: "Horizon-Webhook/" + version,
		Control:   policy.Control, CheckURL: policy.CheckURL, Proxy: o.proxy, Direct: o.except.Contains,
	}, nil
}

// apiServer returns where the API server is: as the configuration says, and as
// pods are told.
func apiServer(ctx context.Context, cfg *rest.Config) ([]netip.AddrPort, error) {
	u, _, err := rest.DefaultServerUrlFor(cfg)
	if err != nil {
		return nil, err
	}
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	at := [][2]string{{u.Hostname(), port}}
	if host, port := os.Getenv("KUBERNETES_SERVICE_HOST"), os.Getenv("KUBERNETES_SERVICE_PORT"); host != "" && port != "" {
		at = append(at, [2]string{host, port})
	}
	var all []netip.AddrPort
	for _, hostPort := range at {
		number, err := strconv.ParseUint(hostPort[1], 10, 16)
		if err != nil {
			return nil, fmt.Errorf("the port of %s: %w", hostPort[0], err)
		}
		addrs, err := net.DefaultResolver.LookupNetIP(ctx, "ip", hostPort[0])
		if err != nil {
			return nil, err
		}
		for _, addr := range addrs {
			all = append(all, netip.AddrPortFrom(addr.Unmap().WithZone(""), uint16(number)))
		}
	}
	return all, nil
}

// ownAddresses returns the addresses of this machine, or pod, without loopback.
func ownAddresses() ([]netip.Addr, error) {
	found, err := net.InterfaceAddrs()
	if err != nil {
		return nil, err
	}
	var all []netip.Addr
	for _, a := range found {
		prefix, err := netip.ParsePrefix(a.String())
		if err != nil {
			return nil, err
		}
		if addr := prefix.Addr().Unmap(); !addr.IsLoopback() {
			all = append(all, addr)
		}
	}
	return all, nil
}
