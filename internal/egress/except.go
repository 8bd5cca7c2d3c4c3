package egress

import (
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"
)

// ProxyExcept are the receivers that no proxy is used for. As with NO_PROXY, the host of
// the URL decides as it is written: nothing is looked up.
type ProxyExcept struct {
	prefixes []netip.Prefix
	// domains begin with a dot. Those of names are names, too.
	domains []string
	names   []string
}

// ParseProxyExcept reads prefixes, addresses and host names: example.com is that host
// and all below it, .example.com those below it. Each value may have several, with commas
// between them.
func ParseProxyExcept(values ...string) (ProxyExcept, error) {
	var e ProxyExcept
	for _, value := range values {
		if strings.TrimSpace(value) == "" {
			continue
		}
		for text := range strings.SplitSeq(value, ",") {
			if err := e.add(strings.TrimSpace(text)); err != nil {
				return ProxyExcept{}, err
			}
		}
	}
	return e, nil
}

func (e *ProxyExcept) add(text string) error {
	prefix, err := parsePrefix(text)
	if err == nil {
		e.prefixes = append(e.prefixes, prefix)
		return nil
	}
	name, below := strings.CutPrefix(strings.ToLower(text), ".")
	name = strings.TrimSuffix(name, ".")
	switch {
	case strings.Contains(text, "/") || strings.Contains(text, "::"):
		return err
	case len(validation.IsDNS1123Subdomain(strings.ReplaceAll(name, "_", "-"))) > 0 || endsInNumber(name):
		return fmt.Errorf("%q is none of a prefix, such as 10.96.0.0/12, an address, a host, and the end of one, such as .svc", text)
	}
	e.domains = append(e.domains, "."+name)
	if !below {
		e.names = append(e.names, name)
	}
	return nil
}

// Contains tells whether a URL's host is one of them.
func (e ProxyExcept) Contains(u *url.URL) bool {
	host := u.Hostname()
	if addr, err := netip.ParseAddr(host); err == nil {
		addr = addr.Unmap()
		return slices.ContainsFunc(e.prefixes, func(p netip.Prefix) bool { return p.Contains(addr) })
	}
	host = strings.TrimSuffix(strings.ToLower(host), ".")
	return slices.Contains(e.names, host) || slices.ContainsFunc(e.domains, func(d string) bool { return strings.HasSuffix(host, d) })
}
