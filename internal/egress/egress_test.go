package egress

import (
	"encoding/csv"
	"errors"
	"math/big"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func mustAllow(t testing.TB, values ...string) []netip.Prefix {
	t.Helper()
	allow, err := ParseAllow(values...)
	if err != nil {
		t.Fatal(err)
	}
	return allow
}

func addrs(texts ...string) []netip.Addr {
	var all []netip.Addr
	for _, text := range texts {
		all = append(all, netip.MustParseAddr(text))
	}
	return all
}

// addr asks about an address, on the port of https.
func (p Policy) addr(addr netip.Addr) error { return p.Check(netip.AddrPortFrom(addr, 443)) }

// row is one of a registry.
type row struct {
	prefix    netip.Prefix
	name      string
	reachable bool
}

func registry(t testing.TB, path string) []row {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	records, err := csv.NewReader(f).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	var rows []row
	for _, record := range records[1:] {
		rows = append(rows, row{netip.MustParsePrefix(record[0]), record[1], record[3] == "True"})
	}
	return rows
}

// ends returns the first, the last and a middle address of a prefix.
func ends(prefix netip.Prefix) (first, last, middle netip.Addr) {
	first = prefix.Masked().Addr()
	size := new(big.Int).Lsh(big.NewInt(1), uint(first.BitLen()-prefix.Bits()))
	at := func(offset *big.Int) netip.Addr {
		sum := new(big.Int).Add(new(big.Int).SetBytes(first.AsSlice()), offset)
		addr, _ := netip.AddrFromSlice(sum.FillBytes(make([]byte, first.BitLen()/8)))
		return addr
	}
	return first, at(new(big.Int).Sub(size, big.NewInt(1))), at(new(big.Int).Rsh(size, 1))
}

// inside tells whether a prefix is part of one of others.
func inside(prefix netip.Prefix, others ...string) bool {
	for _, other := range others {
		if o := netip.MustParsePrefix(other); o.Bits() <= prefix.Bits() && o.Contains(prefix.Addr()) {
			return true
		}
	}
	return false
}

// Every row of IANA's registries, at both ends and in the middle, and what is
// just outside of it.
func TestRegistries(t *testing.T) {
	rows := append(registry(t, "testdata/ipv4.csv"), registry(t, "testdata/ipv6.csv")...)
	if len(rows) != 50 {
		t.Fatalf("%d rows, want 25 of each registry", len(rows))
	}
	// special finds the narrowest row that an address is in.
	special := func(addr netip.Addr) *row {
		var found *row
		for i := range rows {
			if r := &rows[i]; r.prefix.Contains(addr) && (found == nil || r.prefix.Bits() > found.prefix.Bits()) {
				found = r
			}
		}
		return found
	}
	want := func(addr netip.Addr) bool {
		r := special(addr)
		switch {
		case r == nil && addr.Is4():
			return !inside(single(addr), "224.0.0.0/4") // multicast has a registry of its own
		case r == nil:
			return inside(single(addr), "2000::/3")
		case r.prefix == netip.MustParsePrefix("64:ff9b::/96"):
			four := addr.As16()
			v4 := netip.AddrFrom4([4]byte(four[12:]))
			return v4 != netip.MustParseAddr("0.0.0.0") && v4 != netip.MustParseAddr("255.255.255.255") && !inside(single(v4), "224.0.0.0/4")
		default:
			return r.reachable && !inside(r.prefix, "192.0.0.0/24", "2001::/23")
		}
	}
	for _, r := range rows {
		t.Run(strings.ReplaceAll(r.prefix.String(), "/", "_")+" "+r.name, func(t *testing.T) {
			first, last, middle := ends(r.prefix)
			for _, addr := range []netip.Addr{first, last, middle, first.Prev(), last.Next()} {
				if !addr.IsValid() { // there is nothing before 0.0.0.0
					continue
				}
				if addr.Is4In6() { // is the IPv4 address, of which there are other rows
					if got, want := (Policy{}).addr(addr) == nil, want(addr.Unmap()); got != want {
						t.Errorf("%s: allowed %t, want %t as %s", addr, got, want, addr.Unmap())
					}
					continue
				}
				err := (Policy{}).addr(addr)
				if got, want := err == nil, want(addr); got != want {
					t.Errorf("%s: allowed %t, want %t; error: %v", addr, got, want, err)
				}
			}
		})
	}
}

// What is in the table and in no registry is there for a reason.
func TestBlocksBeyondTheRegistries(t *testing.T) {
	known := map[netip.Prefix]bool{}
	for _, path := range []string{"testdata/ipv4.csv", "testdata/ipv6.csv"} {
		for _, r := range registry(t, path) {
			known[r.prefix] = true
		}
	}
	beyond := map[string]bool{}
	seen := map[netip.Prefix]bool{}
	for _, b := range blocks {
		if b.prefix != b.prefix.Masked() || seen[b.prefix] {
			t.Errorf("%s is not a prefix, or there twice", b.prefix)
		}
		seen[b.prefix] = true
		if !known[b.prefix] && b.source != "" {
			beyond[b.prefix.String()] = true
		}
		if b.source == "" && (!b.prefix.IsSingleIP() || b.reach != guarded) {
			t.Errorf("%s has no source; only the single addresses of clouds have none", b.prefix)
		}
	}
	if diff := cmp.Diff(map[string]bool{
		"224.0.0.0/4": true, "ff00::/8": true, // multicast
		"::/0": true, "2000::/3": true, // IANA's registry of the IPv6 address space
		"::/96": true, "::ffff:0:0:0/96": true, // forms that embed IPv4 and that nobody uses any more
		"fec0::/10": true,
	}, beyond); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestCheck(t *testing.T) {
	flag := func(prefix string) string {
		return "; to allow it, an administrator starts the operator with --egress-allow=" + prefix
	}
	const api = "203.0.114.1:6443"
	for name, tc := range map[string]struct {
		allow string
		own   string
		to    string // an address, or one with a port
		want  string
	}{
		"public":                {to: "93.184.216.34"},
		"public, IPv6":          {to: "2606:4700::1111"},
		"private":               {to: "10.1.2.3", want: "10.1.2.3 is denied: 10.0.0.0/8 is for private use (RFC 1918)" + flag("10.0.0.0/8")},
		"private, allowed":      {allow: "10.0.0.0/8", to: "10.1.2.3"},
		"private, beside":       {allow: "10.96.0.0/12", to: "10.1.2.3", want: "10.1.2.3 is denied: 10.0.0.0/8 is for private use (RFC 1918)" + flag("10.0.0.0/8")},
		"private, all allowed":  {allow: "0.0.0.0/0", to: "10.1.2.3"},
		"unique local":          {to: "fd12::1", want: "fd12::1 is denied: fc00::/7 is unique local (RFC 4193)" + flag("fc00::/7")},
		"unique local, allowed": {allow: "fd12::/16", to: "fd12::1"},
		"not assigned":          {to: "4000::1", want: "4000::1 is denied: ::/0 is not global unicast: that is 2000::/3 (RFC 4291)" + flag("4000::1/128")},
		"multicast":             {to: "239.1.1.1", want: "239.1.1.1 is denied: 224.0.0.0/4 is multicast (RFC 5771)" + flag("224.0.0.0/4")},
		"class E":               {to: "250.0.0.1", want: "250.0.0.1 is denied: 240.0.0.0/4 is reserved (RFC 1112)" + flag("240.0.0.0/4")},

		"loopback":                        {to: "127.0.0.1", want: "127.0.0.1 is denied: 127.0.0.0/8 is loopback (RFC 1122)" + flag("127.0.0.0/8")},
		"loopback, named":                 {allow: "127.0.0.0/8", to: "127.1.2.3"},
		"loopback, one named":             {allow: "127.0.0.1", to: "127.0.0.1"},
		"loopback, another named":         {allow: "127.0.0.1", to: "127.0.0.2", want: "127.0.0.2 is denied: 127.0.0.0/8 is loopback (RFC 1122)" + flag("127.0.0.0/8")},
		"loopback, everything allowed":    {allow: "0.0.0.0/0,::/0", to: "127.0.0.1", want: "127.0.0.1 is denied: 127.0.0.0/8 is loopback (RFC 1122)" + flag("127.0.0.0/8")},
		"loopback, half of it allowed":    {allow: "64.0.0.0/2,126.0.0.0/7", to: "127.0.0.1", want: "127.0.0.1 is denied: 127.0.0.0/8 is loopback (RFC 1122)" + flag("127.0.0.0/8")},
		"loopback of IPv6":                {allow: "127.0.0.0/8,::/0,::/127", to: "::1", want: "::1 is denied: ::1 is loopback (RFC 4291)" + flag("::1/128")},
		"loopback of IPv6, named":         {allow: "::1", to: "::1"},
		"this host":                       {allow: "0.0.0.0/0", to: "0.0.0.0", want: "0.0.0.0 is denied: 0.0.0.0/8 is this host on this network, which Linux connects to itself (RFC 1122)" + flag("0.0.0.0/8")},
		"unspecified":                     {allow: "::/0", to: "::", want: ":: is denied: :: is the unspecified address, which Linux connects to itself (RFC 4291)" + flag("::/128")},
		"link-local, everything allowed":  {allow: "0.0.0.0/0", to: "169.254.1.1", want: "169.254.1.1 is denied: 169.254.0.0/16 is link-local, where clouds have their metadata services (RFC 3927)" + flag("169.254.0.0/16")},
		"link-local, named":               {allow: "169.254.0.0/16", to: "169.254.1.1"},
		"metadata":                        {to: "169.254.169.254", want: "169.254.169.254 is denied: 169.254.169.254 is the metadata service of AWS, Azure, Google Cloud and others" + flag("169.254.169.254/32")},
		"metadata, link-local named":      {allow: "169.254.0.0/16,169.254.169.254/31", to: "169.254.169.254", want: "169.254.169.254 is denied: 169.254.169.254 is the metadata service of AWS, Azure, Google Cloud and others" + flag("169.254.169.254/32")},
		"metadata, named":                 {allow: "169.254.169.254/32", to: "169.254.169.254"},
		"metadata that looks public":      {to: "168.63.129.16", want: "168.63.129.16 is denied: 168.63.129.16 is the platform service of Azure" + flag("168.63.129.16/32")},
		"metadata in shared space":        {allow: "100.64.0.0/10", to: "100.100.100.200", want: "100.100.100.200 is denied: 100.100.100.200 is the metadata service of Alibaba Cloud" + flag("100.100.100.200/32")},
		"metadata in unique local space":  {allow: "fd00::/8", to: "fd00:ec2::254", want: "fd00:ec2::254 is denied: fd00:ec2::254 is the metadata service of AWS" + flag("fd00:ec2::254/128")},
		"metadata of Google":              {allow: "fc00::/7", to: "fd20:ce::254", want: "fd20:ce::254 is denied: fd20:ce::254 is the metadata service of Google Cloud" + flag("fd20:ce::254/128")},
		"metadata in protocol assignment": {allow: "192.0.0.0/24", to: "192.0.0.192", want: "192.0.0.192 is denied: 192.0.0.192 is the metadata service of Oracle Cloud" + flag("192.0.0.192/32")},

		"own":                          {own: "10.1.2.3", allow: "10.0.0.0/8", to: "10.1.2.3", want: "10.1.2.3 is denied: 10.1.2.3 is an address of the operator itself" + flag("10.1.2.3/32")},
		"own, named":                   {own: "10.1.2.3", allow: "10.1.2.3", to: "10.1.2.3"},
		"own, public":                  {own: "93.184.216.34", to: "93.184.216.34", want: "93.184.216.34 is denied: 93.184.216.34 is an address of the operator itself" + flag("93.184.216.34/32")},
		"another than its own":         {own: "10.1.2.3", allow: "10.0.0.0/8", to: "10.1.2.4"},
		"API server":                   {allow: "203.0.114.1", to: api, want: "203.0.114.1 is denied: port 6443 of it is the API server's"},
		"API server, everything named": {allow: "0.0.0.0/0,203.0.114.1", to: api, want: "203.0.114.1 is denied: port 6443 of it is the API server's"},
		"API server, IPv4-mapped":      {to: "[::ffff:203.0.114.1]:6443", want: "203.0.114.1 is denied: port 6443 of it is the API server's"},
		"API server, translated":       {to: "[64:ff9b::203.0.114.1]:6443", want: "64:ff9b::cb00:7201 is denied: it carries 203.0.114.1, and port 6443 of it is the API server's"},
		"beside the API server":        {to: "203.0.114.1:443"},

		"zone": {allow: "::/0,fe80::/10", to: "fe80::1%lo", want: "fe80::1 is denied: it has a zone, which names an interface of this machine"},

		"mapped, private":                        {to: "::ffff:10.1.2.3", want: "10.1.2.3 is denied: 10.0.0.0/8 is for private use (RFC 1918)" + flag("10.0.0.0/8")},
		"mapped, public":                         {to: "::ffff:93.184.216.34"},
		"mapped, allowed as IPv4":                {allow: "10.0.0.0/8", to: "::ffff:10.1.2.3"},
		"mapped, allowed as IPv6":                {allow: "::/0", to: "::ffff:10.1.2.3", want: "10.1.2.3 is denied: 10.0.0.0/8 is for private use (RFC 1918)" + flag("10.0.0.0/8")},
		"compatible, public":                     {to: "::93.184.216.34", want: "::5db8:d822 is denied: ::/96 is for IPv4-compatible addresses, which are deprecated (RFC 4291)" + flag("::/96")},
		"compatible, named":                      {allow: "::/96", to: "::10.1.2.3", want: "::a01:203 is denied: it carries 10.1.2.3, and 10.0.0.0/8 is for private use (RFC 1918)" + flag("10.0.0.0/8")},
		"translated by NAT64":                    {to: "64:ff9b::93.184.216.34"},
		"private behind NAT64":                   {to: "64:ff9b::10.1.2.3", want: "64:ff9b::a01:203 is denied: it carries 10.1.2.3, and 10.0.0.0/8 is for private use (RFC 1918)" + flag("64:ff9b::a00:0/104")},
		"private behind NAT64, allowed as IPv4":  {allow: "10.0.0.0/8,::/0", to: "64:ff9b::10.1.2.3", want: "64:ff9b::a01:203 is denied: it carries 10.1.2.3, and 10.0.0.0/8 is for private use (RFC 1918)" + flag("64:ff9b::a00:0/104")},
		"private behind NAT64, named":            {allow: "64:ff9b::a00:0/104", to: "64:ff9b::10.1.2.3"},
		"private behind NAT64, all of it named":  {allow: "64:ff9b::/96", to: "64:ff9b::10.1.2.3"},
		"private behind NAT64, beside":           {allow: "64:ff9b::a60:0/108", to: "64:ff9b::10.1.2.3", want: "64:ff9b::a01:203 is denied: it carries 10.1.2.3, and 10.0.0.0/8 is for private use (RFC 1918)" + flag("64:ff9b::a00:0/104")},
		"loopback behind NAT64":                  {allow: "127.0.0.0/8", to: "64:ff9b::127.0.0.1", want: "64:ff9b::7f00:1 is denied: it carries 127.0.0.1, and 127.0.0.0/8 is loopback (RFC 1122)" + flag("64:ff9b::7f00:0/104")},
		"loopback behind NAT64, one allowed":     {allow: "127.0.0.1", to: "64:ff9b::127.0.0.1", want: "64:ff9b::7f00:1 is denied: it carries 127.0.0.1, and 127.0.0.0/8 is loopback (RFC 1122)" + flag("64:ff9b::7f00:0/104")},
		"loopback behind NAT64, all of it named": {allow: "127.0.0.0/8,64:ff9b::/96", to: "64:ff9b::127.0.0.1", want: "64:ff9b::7f00:1 is denied: it carries 127.0.0.1, and 127.0.0.0/8 is loopback (RFC 1122)" + flag("64:ff9b::7f00:0/104")},
		"loopback behind NAT64, named":           {allow: "64:ff9b::127.0.0.1", to: "64:ff9b::127.0.0.1"},
		"link-local behind NAT64":                {allow: "169.254.0.0/16", to: "64:ff9b::169.254.1.1", want: "64:ff9b::a9fe:101 is denied: it carries 169.254.1.1, and 169.254.0.0/16 is link-local, where clouds have their metadata services (RFC 3927)" + flag("64:ff9b::a9fe:0/112")},
		"nothing behind NAT64":                   {allow: "0.0.0.0/8", to: "64:ff9b::", want: "64:ff9b:: is denied: it carries 0.0.0.0, and 0.0.0.0/8 is this host on this network, which Linux connects to itself (RFC 1122)" + flag("64:ff9b::/104")},
		"metadata behind NAT64, named as IPv4":   {allow: "169.254.169.254", to: "64:ff9b::169.254.169.254", want: "64:ff9b::a9fe:a9fe is denied: it carries 169.254.169.254, and 169.254.169.254 is the metadata service of AWS, Azure, Google Cloud and others" + flag("64:ff9b::a9fe:a9fe/128")},
		"own behind NAT64":                       {own: "93.184.216.34", allow: "93.184.216.34", to: "64:ff9b::93.184.216.34", want: "64:ff9b::5db8:d822 is denied: it carries 93.184.216.34, and 93.184.216.34 is an address of the operator itself" + flag("64:ff9b::5db8:d822/128")},
		"API server behind NAT64, named":         {allow: "64:ff9b::203.0.114.1", to: "[64:ff9b::203.0.114.1]:6443", want: "64:ff9b::cb00:7201 is denied: it carries 203.0.114.1, and port 6443 of it is the API server's"},
		"metadata behind NAT64":                  {allow: "::/0,0.0.0.0/0", to: "64:ff9b::169.254.169.254", want: "64:ff9b::a9fe:a9fe is denied: it carries 169.254.169.254, and 169.254.169.254 is the metadata service of AWS, Azure, Google Cloud and others" + flag("64:ff9b::a9fe:a9fe/128")},
		"own NAT64":                              {to: "64:ff9b:1::93.184.216.34", want: "64:ff9b:1::5db8:d822 is denied: 64:ff9b:1::/48 is for local IPv4/IPv6 translation (RFC 8215)" + flag("64:ff9b:1::/48")},
		"own NAT64, named":                       {allow: "64:ff9b:1::/48", to: "64:ff9b:1::93.184.216.34"},
		"own NAT64, length 48":                   {allow: "64:ff9b:1::/48", to: "64:ff9b:1:7f00:0:100::", want: "64:ff9b:1:7f00:0:100:: is denied: it carries 127.0.0.1, and 127.0.0.0/8 is loopback (RFC 1122)" + flag("64:ff9b:1:7f00:0:100::/128")},
		"own NAT64, 48, public":                  {allow: "64:ff9b:1::/48", to: "64:ff9b:1:5db8:d8:2200::"},
		"own NAT64, length 56":                   {allow: "64:ff9b:1::/48", to: "64:ff9b:1:7f:0:1::", want: "64:ff9b:1:7f:0:1:: is denied: it carries 127.0.0.1, and 127.0.0.0/8 is loopback (RFC 1122)" + flag("64:ff9b:1:7f:0:1::/128")},
		"own NAT64, length 64":                   {allow: "64:ff9b:1::/48", to: "64:ff9b:1:0:7f:0:100:0", want: "64:ff9b:1:0:7f:0:100:0 is denied: it carries 127.0.0.1, and 127.0.0.0/8 is loopback (RFC 1122)" + flag("64:ff9b:1:0:7f:0:100:0/128")},
		"6to4":                                   {to: "2002:5db8:d822::1", want: "2002:5db8:d822::1 is denied: 2002::/16 is for 6to4 (RFC 3056)" + flag("2002::/16")},
		"6to4, named, private":                   {allow: "2002::/16", to: "2002:a01:203::1", want: "2002:a01:203::1 is denied: it carries 10.1.2.3, and 10.0.0.0/8 is for private use (RFC 1918)" + flag("10.0.0.0/8")},
		"6to4, named, public":                    {allow: "2002::/16", to: "2002:5db8:d822::1"},
		"Teredo":                                 {to: "2001:0:5db8:d822::a247:27dd", want: "2001:0:5db8:d822::a247:27dd is denied: 2001::/32 is for Teredo (RFC 4380)" + flag("2001::/32")},
		"Teredo, private client":                 {allow: "2001::/32", to: "2001:0:5db8:d822::f5fe:fdfc", want: "2001:0:5db8:d822::f5fe:fdfc is denied: it carries 10.1.2.3, and 10.0.0.0/8 is for private use (RFC 1918)" + flag("10.0.0.0/8")},
		"ISATAP, private":                        {to: "2606:4700::5efe:10.1.2.3", want: "2606:4700::5efe:a01:203 is denied: it carries 10.1.2.3, and 10.0.0.0/8 is for private use (RFC 1918)" + flag("10.0.0.0/8")},
		"ISATAP, unique, loopback":               {to: "2606:4700::200:5efe:127.0.0.1", want: "2606:4700::200:5efe:7f00:1 is denied: it carries 127.0.0.1, and 127.0.0.0/8 is loopback (RFC 1122)" + flag("2606:4700::200:5efe:7f00:1/128")},
		"ISATAP, loopback allowed":               {allow: "127.0.0.1", to: "2606:4700::5efe:127.0.0.1", want: "2606:4700::5efe:7f00:1 is denied: it carries 127.0.0.1, and 127.0.0.0/8 is loopback (RFC 1122)" + flag("2606:4700::5efe:7f00:1/128")},
		"ISATAP, loopback, named":                {allow: "2606:4700::5efe:127.0.0.1", to: "2606:4700::5efe:127.0.0.1"},
		"ISATAP, private allowed":                {allow: "10.0.0.0/8", to: "2606:4700::5efe:10.1.2.3"},
		"6to4, loopback allowed":                 {allow: "127.0.0.0/8,2002::/16", to: "2002:7f00:1::1", want: "2002:7f00:1::1 is denied: it carries 127.0.0.1, and 127.0.0.0/8 is loopback (RFC 1122)" + flag("2002:7f00:1::1/128")},
		"6to4, private, nothing allowed":         {to: "2002:a01:203::1", want: "2002:a01:203::1 is denied: 2002::/16 is for 6to4 (RFC 3056)" + flag("2002:a01:203::1/128")},
		"6to4, private, both allowed":            {allow: "2002::/16,10.0.0.0/8", to: "2002:a01:203::1"},
		"Teredo, metadata allowed":               {allow: "169.254.169.254,2001::/32", to: "2001:0:5db8:d822::5601:5601", want: "2001:0:5db8:d822::5601:5601 is denied: it carries 169.254.169.254, and 169.254.169.254 is the metadata service of AWS, Azure, Google Cloud and others" + flag("2001:0:5db8:d822::5601:5601/128")},
		"compatible, loopback allowed":           {allow: "127.0.0.0/8,::/96", to: "::127.0.0.1", want: "::7f00:1 is denied: it carries 127.0.0.1, and 127.0.0.0/8 is loopback (RFC 1122)" + flag("::7f00:1/128")},
		"translated, loopback allowed":           {allow: "127.0.0.0/8,::ffff:0:0:0/96", to: "::ffff:0:127.0.0.1", want: "::ffff:0:7f00:1 is denied: it carries 127.0.0.1, and 127.0.0.0/8 is loopback (RFC 1122)" + flag("::ffff:0:7f00:1/128")},
		"own NAT64, loopback allowed":            {allow: "127.0.0.0/8,64:ff9b:1::/48", to: "64:ff9b:1::127.0.0.1", want: "64:ff9b:1::7f00:1 is denied: it carries 127.0.0.1, and 127.0.0.0/8 is loopback (RFC 1122)" + flag("64:ff9b:1::7f00:1/128")},
		"own NAT64, private, both allowed":       {allow: "10.0.0.0/8,64:ff9b:1::/48", to: "64:ff9b:1::10.1.2.3"},
		"own NAT64, API server":                  {allow: "203.0.114.1", to: "[64:ff9b:1::203.0.114.1]:6443", want: "64:ff9b:1::cb00:7201 is denied: 64:ff9b:1::/48 is for local IPv4/IPv6 translation (RFC 8215)"},
		"ISATAP, public":                         {to: "2606:4700::5efe:93.184.216.34"},
	} {
		t.Run(name, func(t *testing.T) {
			p := Policy{Allow: mustAllow(t, tc.allow), APIServer: []netip.AddrPort{netip.MustParseAddrPort(api)}}
			if tc.own != "" {
				p.Own = addrs(tc.own)
			}
			to, err := netip.ParseAddrPort(tc.to)
			if err != nil {
				to = netip.AddrPortFrom(netip.MustParseAddr(tc.to), 443)
			}
			got := p.Check(to)
			text := ""
			if got != nil {
				text = got.Error()
				if _, ok := errors.AsType[*Error](got); !ok {
					t.Errorf("%T, want *Error", got)
				}
			}
			if diff := cmp.Diff(tc.want, text); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// A metadata service is reached only by whom its very address was allowed.
func TestMetadata(t *testing.T) {
	wide := Policy{Allow: mustAllow(t, "0.0.0.0/0,::/0,169.254.0.0/16,fe80::/10,fc00::/7,100.64.0.0/10,192.0.0.0/24")}
	for _, addr := range addrs(
		"100.100.100.200", "168.63.129.16", "169.254.0.23", "169.254.10.10", "169.254.42.42", "169.254.169.254", "169.254.170.2", "169.254.170.23",
		"192.0.0.192", "fd00:42::42", "fd00:100::100:200", "fd00:a9fe:a9fe::1", "fd00:c1::a9fe:a9fe", "fd00:ec2::23", "fd00:ec2::254",
		"fd20:ce::254", "fe80::a9fe:a9fe",
	) {
		if wide.addr(addr.Prev()) != nil || wide.addr(addr.Next()) != nil {
			t.Errorf("the neighbours of %s are denied", addr)
		}
		half := netip.PrefixFrom(addr, addr.BitLen()-1).Masked()
		for _, p := range []Policy{{}, wide, {Allow: []netip.Prefix{half}}} {
			if p.addr(addr) == nil {
				t.Errorf("%s is allowed by %v", addr, p.Allow)
			}
		}
		if err := (Policy{Allow: mustAllow(t, addr.String())}).addr(addr); err != nil {
			t.Error(err)
		}
	}
}

// What the error of a denied address suggests does allow it, at once.
func TestSuggestionOpens(t *testing.T) {
	for _, addr := range addrs(
		"10.1.2.3", "127.0.0.1", "::1", "0.0.0.0", "::", "169.254.1.1", "169.254.169.254", "168.63.129.16", "239.1.1.1", "4000::1",
		"fd00:ec2::254", "fe80::1", "64:ff9b::10.1.2.3", "64:ff9b::127.0.0.1", "64:ff9b::5.5.5.5", "64:ff9b::168.63.129.16", "64:ff9b::255.255.255.255",
		"64:ff9b:1::10.1.2.3", "64:ff9b:1::127.0.0.1", "64:ff9b:1:7f00:0:100:a9fe:a9fe", "2002:a01:203::1", "2002:7f00:1::", "2001:0:a01:203::",
		"2001:0:a01:203::80ff:fffe", "::10.1.2.3", "::127.0.0.1", "::ffff:0:127.0.0.1", "2606:4700::5efe:10.1.2.3", "2606:4700::5efe:127.0.0.1",
		"fe80::5efe:127.0.0.1", "5.5.5.5",
	) {
		p := Policy{Own: addrs("5.5.5.5")}
		denied, ok := errors.AsType[*Error](p.addr(addr))
		if !ok || !denied.Opens.IsValid() {
			t.Errorf("%s: %v, want that it is denied and what opens it", addr, denied)
			continue
		}
		p.Allow = mustAllow(t, denied.Opens.String())
		if err := p.addr(addr); err != nil {
			t.Errorf("%s is still denied with %v: %v", addr, p.Allow, err)
		}
	}
}

func TestParseAllow(t *testing.T) {
	for name, tc := range map[string]struct {
		values  []string
		want    []string
		wantErr string
	}{
		"nothing":            {},
		"empty":              {values: []string{"", " "}},
		"several, and twice": {values: []string{"10.0.0.0/8, 192.0.2.1", "fd00::/8,::1"}, want: []string{"10.0.0.0/8", "192.0.2.1/32", "fd00::/8", "::1/128"}},
		"all":                {values: []string{"0.0.0.0/0,::/0"}, want: []string{"0.0.0.0/0", "::/0"}},
		"a comma too many":   {values: []string{"10.0.0.0/8,"}, wantErr: `"" is neither a prefix, such as 10.96.0.0/12, nor an address`},
		"a name":             {values: []string{"localhost"}, wantErr: `"localhost" is neither a prefix, such as 10.96.0.0/12, nor an address`},
		"too long":           {values: []string{"10.0.0.0/33"}, wantErr: `"10.0.0.0/33" is neither a prefix, such as 10.96.0.0/12, nor an address`},
		"leading zeros":      {values: []string{"010.0.0.0/8"}, wantErr: `"010.0.0.0/8" is neither a prefix, such as 10.96.0.0/12, nor an address`},
		"a zone":             {values: []string{"fe80::1%eth0"}, wantErr: `"fe80::1%eth0" is neither a prefix, such as 10.96.0.0/12, nor an address`},
		"a port":             {values: []string{"10.0.0.1:80"}, wantErr: `"10.0.0.1:80" is neither a prefix, such as 10.96.0.0/12, nor an address`},
		"bits beyond":        {values: []string{"10.1.2.3/8"}, wantErr: "10.1.2.3/8: the prefix of this length is 10.0.0.0/8, the single address is 10.1.2.3"},
		"mapped":             {values: []string{"::ffff:10.0.0.0/104"}, wantErr: "::ffff:10.0.0.0/104: write the IPv4 address 10.0.0.0 as such"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := ParseAllow(tc.values...)
			text := ""
			if err != nil {
				text = err.Error()
			}
			var texts []string
			for _, prefix := range got {
				texts = append(texts, prefix.String())
			}
			if diff := cmp.Diff(tc.wantErr, text); diff != "" {
				t.Errorf("error (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tc.want, texts); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestControl(t *testing.T) {
	for address, allowed := range map[string]bool{
		"93.184.216.34:443": true, "[2606:4700::1111]:443": true,
		"127.0.0.1:443": false, "[::1]:443": false, "[fe80::1%lo]:443": false,
		"": false, "example.com:443": false, "93.184.216.34": false, "93.184.216.34:": false, "2130706433:443": false, "127.1:443": false, ":443": false,
	} {
		if err := (Policy{}).Control("tcp", address, nil); (err == nil) != allowed {
			t.Errorf("%q: %v, want allowed: %t", address, err, allowed)
		}
	}
}

func TestCheckURL(t *testing.T) {
	p := Policy{APIServer: []netip.AddrPort{
		netip.MustParseAddrPort("93.184.216.34:443"), netip.MustParseAddrPort("93.184.216.34:80"), netip.MustParseAddrPort("93.184.216.34:6443"),
	}}
	for host, allowed := range map[string]bool{
		"93.184.216.35": true, "[2606:4700::1111]": true, "example.com": true, "example.com.": true, "xn--bcher-kva.example": true,
		"1password.example": true, "a.b.c1": true, "0xample": true, "localhost": true, "": true,

		"93.184.216.34": false, "93.184.216.34:6443": false, "93.184.216.34:443": false, "93.184.216.34:8443": true,
		"10.1.2.3": false, "[::1]": false, "[::ffff:7f00:1]": false, "[fe80::1%25lo]": false, "[64:ff9b::7f00:1]": false,
		"2130706433": false, "0x7f000001": false, "0X7F000001": false, "017700000001": false, "127.1": false, "127.0.1": false,
		"0x7f.0.0.1": false, "0177.0.0.1": false, "127.0.0.1.": false, "127.0.0.0x1": false, "127.0.0.0x": false, "010.0.0.1": false,
		"4294967297": false, "127.0.0.1.1": false, "example.1": false, "0x": false,
		"１２７.0.0.1": false, "bücher.example": false,
	} {
		for _, scheme := range []string{"http", "https"} {
			u, err := url.Parse(scheme + "://" + host + "/hook")
			if err != nil {
				t.Fatal(err)
			}
			if err := p.CheckURL(u); (err == nil) != allowed {
				t.Errorf("%s: %v, want allowed: %t", u, err, allowed)
			}
		}
	}
}
