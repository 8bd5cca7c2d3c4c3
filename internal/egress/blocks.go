package egress

import "net/netip"

// reach says who may connect to the addresses of a block.
type reach int

const (
	// private: nobody, unless an allowed prefix contains the address.
	private reach = iota
	// guarded: nobody, unless an allowed prefix lies within the block. What
	// listens there trusts whoever can reach it.
	guarded
	// public: everybody.
	public
)

// block is a range of addresses with a purpose.
type block struct {
	prefix netip.Prefix
	// use completes "<prefix> is …".
	use string
	// source is the document that says so; empty for what only its owner tells.
	source string
	reach  reach
}

// blocks are what IANA's special-purpose registries do not call globally
// reachable, and more; where blocks overlap, the longest prefix decides. IPv4
// addresses in no block are public.
//
// Within 192.0.0.0/24 and 2001::/23 the registries call some rows reachable:
// anycast addresses that the nearest gateway or relay answers, and identifiers
// that are not routed. No receiver has one, so the whole is private.
var blocks = []block{
	b("0.0.0.0/8", guarded, "this host on this network, which Linux connects to itself", "RFC 1122"),
	b("10.0.0.0/8", private, "for private use", "RFC 1918"),
	b("100.64.0.0/10", private, "shared address space behind a carrier's NAT", "RFC 6598"),
	b("127.0.0.0/8", guarded, "loopback", "RFC 1122"),
	b("169.254.0.0/16", guarded, "link-local, where clouds have their metadata services", "RFC 3927"),
	b("172.16.0.0/12", private, "for private use", "RFC 1918"),
	b("192.0.0.0/24", private, "for IETF protocol assignments", "RFC 6890"),
	b("192.0.2.0/24", private, "for documentation", "RFC 5737"),
	b("192.88.99.0/24", private, "for 6to4 relays, which are deprecated", "RFC 7526"),
	b("192.168.0.0/16", private, "for private use", "RFC 1918"),
	b("198.18.0.0/15", private, "for benchmarks", "RFC 2544"),
	b("198.51.100.0/24", private, "for documentation", "RFC 5737"),
	b("203.0.113.0/24", private, "for documentation", "RFC 5737"),
	b("224.0.0.0/4", private, "multicast", "RFC 5771"),
	b("240.0.0.0/4", private, "reserved", "RFC 1112"),
	b("255.255.255.255/32", private, "the limited broadcast address", "RFC 919"),

	// What is neither here nor below has not been given a use.
	b("::/0", private, "not global unicast: that is 2000::/3", "RFC 4291"),
	b("2000::/3", public, "global unicast", "RFC 4291"),
	b("::/96", private, "for IPv4-compatible addresses, which are deprecated", "RFC 4291"),
	b("::/128", guarded, "the unspecified address, which Linux connects to itself", "RFC 4291"),
	b("::1/128", guarded, "loopback", "RFC 4291"),
	b("::ffff:0:0:0/96", private, "for IPv4-translated addresses", "RFC 2765"),
	// What a NAT64 of this prefix reaches is judged by the address it carries, which
	// must be a global one: Policy.checkCarried.
	b("64:ff9b::/96", public, "for IPv4/IPv6 translation", "RFC 6052"),
	b("64:ff9b:1::/48", private, "for local IPv4/IPv6 translation", "RFC 8215"),
	b("100::/64", private, "the discard prefix", "RFC 6666"),
	b("100:0:0:1::/64", private, "the dummy prefix", "RFC 9780"),
	b("2001::/23", private, "for IETF protocol assignments", "RFC 2928"),
	b("2001::/32", private, "for Teredo", "RFC 4380"),
	b("2001:2::/48", private, "for benchmarks", "RFC 5180"),
	b("2001:10::/28", private, "for ORCHIDs, which are deprecated", "RFC 4843"),
	b("2001:db8::/32", private, "for documentation", "RFC 3849"),
	b("2002::/16", private, "for 6to4", "RFC 3056"),
	b("3fff::/20", private, "for documentation", "RFC 9637"),
	b("5f00::/16", private, "for segment routing", "RFC 9602"),
	b("fc00::/7", private, "unique local", "RFC 4193"),
	b("fe80::/10", guarded, "link-local", "RFC 4291"),
	b("fec0::/10", private, "site-local, which is deprecated", "RFC 3879"),
	b("ff00::/8", private, "multicast", "RFC 4291"),

	// Where clouds give out credentials to whoever asks from within.
	b("100.100.100.200/32", guarded, "the metadata service of Alibaba Cloud", ""),
	b("168.63.129.16/32", guarded, "the platform service of Azure", ""),
	b("169.254.0.23/32", guarded, "the metadata service of Tencent Cloud", ""),
	b("169.254.10.10/32", guarded, "the metadata service of Tencent Cloud", ""),
	b("169.254.42.42/32", guarded, "the metadata service of Scaleway", ""),
	b("169.254.169.254/32", guarded, "the metadata service of AWS, Azure, Google Cloud and others", ""),
	b("169.254.170.2/32", guarded, "the credentials service of AWS ECS", ""),
	b("169.254.170.23/32", guarded, "the credentials service of AWS EKS", ""),
	b("192.0.0.192/32", guarded, "the metadata service of Oracle Cloud", ""),
	b("fd00:42::42/128", guarded, "the metadata service of Scaleway", ""),
	b("fd00:100::100:200/128", guarded, "the metadata service of Alibaba Cloud", ""),
	b("fd00:a9fe:a9fe::1/128", guarded, "the metadata service of Akamai", ""),
	b("fd00:c1::a9fe:a9fe/128", guarded, "the metadata service of Oracle Cloud", ""),
	b("fd00:ec2::23/128", guarded, "the credentials service of AWS EKS", ""),
	b("fd00:ec2::254/128", guarded, "the metadata service of AWS", ""),
	b("fd20:ce::254/128", guarded, "the metadata service of Google Cloud", ""),
	b("fe80::a9fe:a9fe/128", guarded, "the metadata service of OpenStack", ""),
}

func b(prefix string, reach reach, use, source string) block {
	return block{prefix: netip.MustParsePrefix(prefix), use: use, source: source, reach: reach}
}

// blockOf returns the narrowest block that an address is in, or nil.
func blockOf(addr netip.Addr) *block {
	var found *block
	for i := range blocks {
		if c := &blocks[i]; c.prefix.Contains(addr) && (found == nil || c.prefix.Bits() > found.prefix.Bits()) {
			found = c
		}
	}
	return found
}

func (b *block) String() string {
	name := b.prefix.String()
	if b.prefix.IsSingleIP() {
		name = b.prefix.Addr().String()
	}
	if b.source == "" {
		return name + " is " + b.use
	}
	return name + " is " + b.use + " (" + b.source + ")"
}

var (
	thisNetwork    = netip.MustParsePrefix("0.0.0.0/8")
	compatible     = netip.MustParsePrefix("::/96")
	translated     = netip.MustParsePrefix("::ffff:0:0:0/96")
	translation    = netip.MustParsePrefix("64:ff9b::/96")
	ownTranslation = netip.MustParsePrefix("64:ff9b:1::/48")
	teredo         = netip.MustParsePrefix("2001::/32")
	sixToFour      = netip.MustParsePrefix("2002::/16")
)

// embeddedIPv4 returns the IPv4 addresses that an IPv6 address may carry for whoever
// translates or unwraps it on the way.
func embeddedIPv4(addr netip.Addr) []netip.Addr {
	if !addr.Is6() || addr.IsUnspecified() || addr.IsLoopback() {
		return nil
	}
	a := addr.As16()
	at := func(i, j, k, l int) netip.Addr { return netip.AddrFrom4([4]byte{a[i], a[j], a[k], a[l]}) }
	last := at(12, 13, 14, 15)
	switch {
	case compatible.Contains(addr), translated.Contains(addr), translation.Contains(addr):
		return []netip.Addr{last}
	case ownTranslation.Contains(addr):
		// Only its administrator knows how long the translator's prefix is
		// (RFC 6052, section 2.2). Where one length has an address, another
		// reads zeros.
		var all []netip.Addr
		for _, v4 := range []netip.Addr{at(6, 7, 9, 10), at(7, 9, 10, 11), at(9, 10, 11, 12)} {
			if !thisNetwork.Contains(v4) {
				all = append(all, v4)
			}
		}
		if !last.IsUnspecified() {
			all = append(all, last)
		}
		return all
	case sixToFour.Contains(addr):
		return []netip.Addr{at(2, 3, 4, 5)}
	case teredo.Contains(addr): // the server, and the client with its bits flipped
		return []netip.Addr{at(4, 5, 6, 7), netip.AddrFrom4([4]byte{^a[12], ^a[13], ^a[14], ^a[15]})}
	}
	// ISATAP (RFC 5214, section 6.1), whatever the prefix.
	if a[8]&^2 == 0 && a[9] == 0 && a[10] == 0x5e && a[11] == 0xfe {
		return []netip.Addr{last}
	}
	return nil
}
