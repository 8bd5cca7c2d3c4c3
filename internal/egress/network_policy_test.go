package egress

import (
	"net/netip"
	"os"
	"slices"
	"testing"

	networkingv1 "k8s.io/api/networking/v1"
	"sigs.k8s.io/yaml"
)

// sample are the blocks of addresses that the sample of a NetworkPolicy opens on all
// ports, with what it leaves out of them.
func sample(t *testing.T) []*networkingv1.IPBlock {
	t.Helper()
	data, err := os.ReadFile("../../config/network-policy/network_policy.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var policy networkingv1.NetworkPolicy
	if err := yaml.UnmarshalStrict(data, &policy); err != nil {
		t.Fatal(err)
	}
	var open []*networkingv1.IPBlock
	for _, rule := range policy.Spec.Egress {
		for _, to := range rule.To {
			if len(rule.Ports) == 0 {
				open = append(open, to.IPBlock)
			}
		}
	}
	if len(open) == 0 {
		t.Fatal("it opens nothing")
	}
	return open
}

func prefixes(t *testing.T, texts ...string) (all []netip.Prefix) {
	t.Helper()
	for _, text := range texts {
		prefix, err := netip.ParsePrefix(text)
		if err != nil || prefix != prefix.Masked() {
			t.Fatalf("%s: not a prefix: %v", text, err)
		}
		all = append(all, prefix)
	}
	return all
}

// The sample of a NetworkPolicy and the guard open the same addresses. Between the
// ends of the blocks that the two know, neither changes its mind.
func TestNetworkPolicyAgrees(t *testing.T) {
	var open, except, known []netip.Prefix
	for _, block := range sample(t) {
		open = append(open, prefixes(t, block.CIDR)...)
		except = append(except, prefixes(t, block.Except...)...)
	}
	for _, block := range blocks {
		known = append(known, block.prefix)
	}
	contains := func(all []netip.Prefix, addr netip.Addr) bool {
		return slices.ContainsFunc(all, func(p netip.Prefix) bool { return p.Contains(addr) })
	}
	for _, prefix := range slices.Concat(open, except, known) {
		for _, addr := range []netip.Addr{prefix.Addr(), after(prefix)} {
			// A cluster with a NAT64 is rare, and adds that.
			if !addr.IsValid() || translation.Contains(addr) {
				continue
			}
			lets := contains(open, addr) && !contains(except, addr)
			if err := (Policy{}).Check(netip.AddrPortFrom(addr, 443)); lets != (err == nil) {
				t.Errorf("%s: the sample lets it through: %t; the guard: %v", addr, lets, err)
			}
		}
	}
}

// after is the first address after a prefix; not valid where there is none.
func after(prefix netip.Prefix) netip.Addr {
	bytes := prefix.Addr().AsSlice()
	for bit := prefix.Bits(); bit < 8*len(bytes); bit++ {
		bytes[bit/8] |= 0x80 >> (bit % 8)
	}
	last, _ := netip.AddrFromSlice(bytes)
	return last.Next()
}
