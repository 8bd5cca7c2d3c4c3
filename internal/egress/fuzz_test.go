package egress

import (
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"testing"
)

// embeddings are IPv6 addresses that carry an IPv4 address, and the words of
// whose form they are.
func embeddings(v4 netip.Addr) map[string]netip.Addr {
	a := v4.As4()
	form := func(prefix string, at ...int) netip.Addr {
		b := netip.MustParseAddr(prefix).As16()
		for i, j := range at {
			b[j] = a[i]
		}
		return netip.AddrFrom16(b)
	}
	flipped := form("2001:0:5db8:d822::", 12, 13, 14, 15).As16()
	for i := 12; i < 16; i++ {
		flipped[i] = ^flipped[i]
	}
	return map[string]netip.Addr{
		"mapped":              form("::ffff:0:0", 12, 13, 14, 15),
		"compatible":          form("::", 12, 13, 14, 15),
		"translated":          form("::ffff:0:0:0", 12, 13, 14, 15),
		"NAT64":               form("64:ff9b::", 12, 13, 14, 15),
		"own NAT64, 48":       form("64:ff9b:1::", 6, 7, 9, 10),
		"own NAT64, 56":       form("64:ff9b:1:100::", 7, 9, 10, 11),
		"own NAT64, 64":       form("64:ff9b:1:101::", 9, 10, 11, 12),
		"own NAT64, 96":       form("64:ff9b:1::", 12, 13, 14, 15),
		"6to4":                form("2002::1", 2, 3, 4, 5),
		"Teredo, server":      form("2001::", 4, 5, 6, 7),
		"Teredo, client":      netip.AddrFrom16(flipped),
		"ISATAP":              form("2606:4700::5efe:0:0", 12, 13, 14, 15),
		"ISATAP, unique":      form("2606:4700::200:5efe:0:0", 12, 13, 14, 15),
		"ISATAP, in fe80::64": form("fe80::5efe:0:0", 12, 13, 14, 15),
	}
}

// Whatever the address and its spelling: nothing panics, what is denied as IPv4 is
// denied in each form that embeds it, and no breadth of prefixes opens loopback
// and metadata.
func FuzzCheck(f *testing.F) {
	for _, seed := range []string{
		"10.0.0.1", "127.0.0.1", "0.0.0.0", "169.254.169.254", "100.100.100.200", "93.184.216.34", "255.255.255.255", "224.0.0.1", "168.63.129.16",
		"::1", "::", "::ffff:127.0.0.1", "::ffff:127.0.0.1%lo", "fe80::1%lo", "fd00:ec2::254", "64:ff9b::a00:1", "64:ff9b:1::a00:1", "2002:a00:1::", "2001::1",
		"2606:4700::5efe:7f00:1", "127.1", "2130706433", "0x7f000001", "017700000001", "0177.0.0.1", "localhost", "", "[::1]", "1.2.3.4.",
	} {
		f.Add(seed, uint16(443))
	}
	wide := Policy{Allow: mustAllow(f, "0.0.0.0/0,::/0,2000::/3,fc00::/7,100.64.0.0/10,192.0.0.0/24,64.0.0.0/2,::/96,2002::/16,64:ff9b:1::/48")}
	f.Fuzz(func(t *testing.T, text string, port uint16) {
		address := text + ":" + strconv.Itoa(int(port))
		if _, err := netip.ParseAddrPort(address); err != nil && (wide.Control("tcp", address, nil) == nil || wide.Control("tcp", text, nil) == nil) && !isAddrPort(text) {
			t.Errorf("%q is no address and passes", text)
		}
		addr, err := netip.ParseAddr(text)
		if err != nil {
			return
		}
		to := netip.AddrPortFrom(addr, port)
		if (Policy{}).Check(to) == nil && wide.Check(to) != nil {
			t.Errorf("%s is denied because more is allowed", addr)
		}
		plain := addr.Unmap()
		if plain.IsLoopback() || plain.IsUnspecified() || plain.IsLinkLocalUnicast() || addr.Zone() != "" {
			if wide.Check(to) == nil {
				t.Errorf("%s passes with prefixes that do not name it", addr)
			}
		}
		if !plain.Is4() {
			return
		}
		for name, p := range map[string]Policy{"nothing allowed": {}, "much allowed": wide} {
			if p.Check(netip.AddrPortFrom(plain, port)) == nil {
				continue
			}
			for form, embedded := range embeddings(plain) {
				if thisNetwork.Contains(plain) && strings.HasPrefix(form, "own NAT64") {
					continue // zeros are no address to a translator
				}
				if embedded == netip.IPv6Loopback() {
					continue // no longer an IPv4 address
				}
				if p.Check(netip.AddrPortFrom(embedded, port)) == nil {
					t.Errorf("%s: %s is denied, and %s (%s) is not", name, plain, embedded, form)
				}
			}
		}
	})
}

func isAddrPort(text string) bool {
	_, err := netip.ParseAddrPort(text)
	return err == nil
}

// aton reads a host as inet_aton of C does, which many resolvers use.
func aton(host string) (netip.Addr, bool) {
	parts := strings.Split(strings.TrimSuffix(host, "."), ".")
	if len(parts) > 4 {
		return netip.Addr{}, false
	}
	var value uint64
	for i, part := range parts {
		base := 10
		if digits, ok := strings.CutPrefix(strings.ToLower(part), "0x"); ok {
			base, part = 16, digits
		} else if len(part) > 1 && part[0] == '0' {
			base = 8
		}
		n, err := strconv.ParseUint(part, base, 64)
		bits := 8
		if i == len(parts)-1 {
			bits = 8 * (5 - len(parts))
		}
		if err != nil || n >= 1<<bits {
			return netip.Addr{}, false
		}
		value = value<<bits | n
	}
	return netip.AddrFrom4([4]byte{byte(value >> 24), byte(value >> 16), byte(value >> 8), byte(value)}), true
}

// A host that passes as a name is read as an address by nobody.
func FuzzCheckURL(f *testing.F) {
	for _, seed := range []string{
		"example.com", "127.0.0.1", "2130706433", "0x7f000001", "0X7F.1", "017700000001", "127.1", "127.0.0.1.", "0177.0.0.1", "[::1]", "[::ffff:127.0.0.1]",
		"[fe80::1%25lo]", "１２７.0.0.1", "1。2。3。4", "%31%32%37.0.0.1", "localhost", "a.1", "0x", ".", "..", "1..", "[::1]:80", "127.0.0.1:80", "x@127.0.0.1",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, host string) {
		u, err := url.Parse("http://" + host)
		if err != nil || (Policy{}).CheckURL(u) != nil {
			return
		}
		name := u.Hostname()
		addr, err := netip.ParseAddr(name)
		if err == nil {
			if (Policy{}).Check(netip.AddrPortFrom(addr, 80)) != nil {
				t.Errorf("%s is denied, and passes in a URL", addr)
			}
			return
		}
		if addr, ok := aton(name); ok {
			t.Errorf("%q passes as a name and may be read as %s", name, addr)
		}
	})
}
