// Package egress decides which addresses requests may go to: those that are
// globally reachable, and what an administrator has allowed. Whoever may write a
// URL must not get at what only this process can reach. It is pure: an address
// in, a verdict out.
package egress

import (
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"syscall"
)

// Flag is the name of the flag that Allow comes from. Errors name it.
const Flag = "--egress-allow"

// Policy says which addresses may be dialled. The zero value allows those that
// are globally reachable.
type Policy struct {
	// Allow are prefixes that are allowed, too. Loopback, link-local addresses
	// and those of metadata services are so only by a prefix that lies within
	// their own block: 127.0.0.0/8 or 127.0.0.1/32 allows 127.0.0.1, and
	// 0.0.0.0/0 does not; a metadata service is named by its very address.
	Allow []netip.Prefix
	// Own are the addresses of this machine. They are allowed only by a prefix
	// of a single address. Those of loopback do not belong here.
	Own []netip.Addr
	// APIServer are addresses and ports that nothing allows.
	APIServer []netip.AddrPort
}

// Error is why an address is denied, in words for people.
type Error struct {
	// Address is what is denied; not valid where there was none.
	Address netip.Addr
	// Rule is a sentence that says why.
	Rule string
	// Opens is a prefix that would allow it; not valid where none does.
	Opens netip.Prefix
}

// Error names the address, the rule and the flag.
func (e *Error) Error() string {
	subject := "the host of the URL"
	if e.Address.IsValid() {
		subject = e.Address.String()
	}
	text := subject + " is denied: " + e.Rule
	if e.Opens.IsValid() {
		text += fmt.Sprintf("; to allow it, an administrator starts the operator with %s=%s", Flag, e.Opens)
	}
	return text
}

// ParseAllow reads prefixes and single addresses. Each value may have several,
// with commas between them.
func ParseAllow(values ...string) ([]netip.Prefix, error) {
	var all []netip.Prefix
	for _, value := range values {
		if strings.TrimSpace(value) == "" {
			continue
		}
		for text := range strings.SplitSeq(value, ",") {
			prefix, err := parsePrefix(strings.TrimSpace(text))
			if err != nil {
				return nil, err
			}
			all = append(all, prefix)
		}
	}
	return all, nil
}

func parsePrefix(text string) (netip.Prefix, error) {
	prefix, err := netip.ParsePrefix(text)
	if addr, notAddr := netip.ParseAddr(text); notAddr == nil && addr.Zone() == "" {
		prefix, err = single(addr), nil
	}
	switch {
	case err != nil:
		return prefix, fmt.Errorf("%q is neither a prefix, such as 10.96.0.0/12, nor an address", text)
	case prefix.Addr().Is4In6():
		return prefix, fmt.Errorf("%s: write the IPv4 address %s as such", text, prefix.Addr().Unmap())
	case prefix != prefix.Masked():
		return prefix, fmt.Errorf("%s: the prefix of this length is %s, the single address is %s", text, prefix.Masked(), prefix.Addr())
	}
	return prefix, nil
}

// Check returns an *Error if a connection to an address is denied. So it is if the
// address may be dialled and carries an IPv4 address that may not be reached that way.
func (p Policy) Check(to netip.AddrPort) error {
	addr := to.Addr()
	switch {
	case !addr.IsValid():
		return &Error{Rule: "it is not an IP address"}
	case addr.Zone() != "":
		return &Error{Address: addr.WithZone(""), Rule: "it has a zone, which names an interface of this machine"}
	}
	addr = addr.Unmap()
	denied := p.check(addr, to.Port())
	never := denied != nil && !denied.Opens.IsValid()
	for _, v4 := range embeddedIPv4(addr) {
		inner := p.checkCarried(addr, v4, to.Port())
		switch {
		case inner == nil:
			continue
		case denied == nil:
			denied = &Error{Address: addr, Rule: fmt.Sprintf("it carries %s, and %s", v4, inner.Rule), Opens: inner.Opens}
		case denied.Opens != inner.Opens:
			denied.Opens = single(addr) // which opens both
		}
		never = never || !inner.Opens.IsValid()
	}
	switch {
	case denied == nil:
		return nil
	case never:
		denied.Opens = netip.Prefix{}
	}
	return denied
}

// checkCarried decides on an IPv4 address that another address carries. Whoever
// unwraps it stands elsewhere: the loopback, metadata service or link that is reached is
// that machine's. So a prefix of Allow that opens one of these here does not open it
// there; the carrying address itself has to be named.
//
// The well-known prefix of NAT64 may carry global addresses only (RFC 6052, section
// 3.1). What else a translator lets through is opened by prefixes of 64:ff9b::/96 alone,
// which are read as those of the IPv4 addresses.
func (p Policy) checkCarried(by, v4 netip.Addr, port uint16) *Error {
	if translation.Contains(by) {
		p.Allow = embeddedIn(translation, p.Allow)
		err := p.check(v4, port)
		if err != nil && err.Opens.IsValid() {
			err.Opens = netip.PrefixFrom(by, translation.Bits()+err.Opens.Bits()).Masked()
		}
		return err
	}
	err := p.check(v4, port)
	in := p.blockOf(v4)
	switch {
	case err != nil && !err.Opens.IsValid():
		return err // the API server's
	case slices.Contains(p.Allow, single(by)) || in == nil || in.reach == public:
		return nil
	case in.reach == guarded:
		return &Error{Rule: in.String(), Opens: single(by)}
	default:
		return err
	}
}

// embeddedIn returns what prefixes within another one, whose addresses carry an IPv4
// address at their end, say of those.
func embeddedIn(form netip.Prefix, all []netip.Prefix) []netip.Prefix {
	var v4 []netip.Prefix
	for _, prefix := range all {
		if form.Contains(prefix.Addr()) && prefix.Bits() >= form.Bits() {
			a := prefix.Addr().As16()
			v4 = append(v4, netip.PrefixFrom(netip.AddrFrom4([4]byte(a[12:])), prefix.Bits()-form.Bits()))
		}
	}
	return v4
}

func (p Policy) check(addr netip.Addr, port uint16) *Error {
	if slices.Contains(p.APIServer, netip.AddrPortFrom(addr, port)) {
		return &Error{Address: addr, Rule: fmt.Sprintf("port %d of it is the API server's", port)}
	}
	in := p.blockOf(addr)
	if in == nil || in.reach == public {
		return nil
	}
	for _, allowed := range p.Allow {
		if allowed.Contains(addr) && (in.reach != guarded || allowed.Bits() >= in.prefix.Bits()) {
			return nil
		}
	}
	opens := in.prefix
	if opens.Bits() == 0 {
		opens = single(addr) // all there is would be too much to suggest
	}
	return &Error{Address: addr, Rule: in.String(), Opens: opens}
}

// blockOf returns the narrowest block that an address is in, or nil.
func (p Policy) blockOf(addr netip.Addr) *block {
	if slices.Contains(p.Own, addr) {
		return &block{prefix: single(addr), use: "an address of the operator itself", reach: guarded}
	}
	return blockOf(addr)
}

func single(addr netip.Addr) netip.Prefix { return netip.PrefixFrom(addr, addr.BitLen()) }

// Control is a net.Dialer's: it decides on the address that is dialled, after
// resolution.
func (p Policy) Control(_, address string, _ syscall.RawConn) error {
	to, err := netip.ParseAddrPort(address)
	if err != nil {
		return &Error{Rule: "it is not an IP address"}
	}
	return p.Check(to)
}

// CheckURL decides on a URL as it is written, before anybody has looked up its
// host. It denies addresses that Check denies, and all that a resolver may read
// as an address and this package does not: 2130706433, 0x7f.1 and 127.1 are
// 127.0.0.1 to some. Other names pass; what they lead to is Control's business
// or, where a proxy looks them up, the proxy's.
func (p Policy) CheckURL(u *url.URL) error {
	host := u.Hostname()
	if addr, err := netip.ParseAddr(host); err == nil {
		return p.Check(netip.AddrPortFrom(addr, port(u)))
	}
	if strings.ContainsFunc(host, func(r rune) bool { return r >= 0x80 }) {
		return &Error{Rule: "it is not ASCII: a name takes its xn-- form"}
	}
	if endsInNumber(host) {
		return &Error{Rule: "it ends in a number, as addresses do and names do not, and is not the usual form of an address"}
	}
	return nil
}

func port(u *url.URL) uint16 {
	to, err := netip.ParseAddrPort("0.0.0.0:" + u.Port())
	switch {
	case err == nil:
		return to.Port()
	case u.Scheme == "http":
		return 80
	default:
		return 443
	}
}

// endsInNumber is the URL standard's "ends in a number checker"
// (https://url.spec.whatwg.org/#ends-in-a-number-checker).
func endsInNumber(host string) bool {
	host = strings.TrimSuffix(host, ".")
	last := host[strings.LastIndexByte(host, '.')+1:]
	if last == "" {
		return false
	}
	if strings.Trim(last, "0123456789") == "" {
		return true
	}
	digits, hexadecimal := strings.CutPrefix(strings.ToLower(last), "0x")
	return hexadecimal && strings.Trim(digits, "0123456789abcdef") == ""
}
