package importer

import (
	"context"
	"net/netip"
	"net/url"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/horizoncd/webhook-operator/internal/egress"
)

const (
	// lookupTimeout bounds how long a name is looked up.
	lookupTimeout = 3 * time.Second
	// lookups is how many names are looked up at a time.
	lookups = 8
)

// Resolver looks up names; net.Resolver does.
type Resolver interface {
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// CheckAddresses tells of each Webhook that is written whether the operator may send to its
// receiver, with the prefixes that its administrator has allowed. Names are looked up from
// here, where they may lead elsewhere than from the cluster. It returns the names that could
// not be looked up, in ascending order.
func CheckAddresses(ctx context.Context, all []*Imported, allow []netip.Prefix, r Resolver) (unknown []string) {
	policy := egress.Policy{Allow: allow}
	type answer struct {
		addresses []netip.Addr
		err       error
	}
	names := map[string]*answer{}
	targets := map[*Imported]*url.URL{}
	for _, i := range all {
		if i.Outcome != Written {
			continue
		}
		address, _ := i.spec()["url"].(string)
		u, err := url.Parse(address)
		if err != nil {
			continue
		}
		targets[i] = u
		if _, err := netip.ParseAddr(u.Hostname()); err != nil && policy.CheckURL(u) == nil {
			names[u.Hostname()] = &answer{}
		}
	}
	var group errgroup.Group
	group.SetLimit(lookups)
	for name, to := range names {
		group.Go(func() error {
			ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
			defer cancel()
			to.addresses, to.err = r.LookupNetIP(ctx, "ip", name)
			return nil
		})
	}
	_ = group.Wait()
	for _, i := range all {
		u := targets[i]
		if u == nil {
			continue
		}
		found := names[u.Hostname()]
		if found == nil {
			if err := policy.CheckURL(u); err != nil {
				i.reason("%s", err.Error())
			}
			continue
		}
		i.checkName(u.Hostname(), found.addresses, policy)
	}
	for name, found := range names {
		if found.err != nil {
			unknown = append(unknown, name)
		}
	}
	slices.Sort(unknown)
	return unknown
}

// checkName tells of the first address that a name leads to and that is denied.
func (i *Imported) checkName(name string, addresses []netip.Addr, policy egress.Policy) {
	for _, address := range addresses {
		address = address.Unmap().WithZone("")
		if err := policy.Check(netip.AddrPortFrom(address, 0)); err != nil { // the port matters for the API server's alone
			i.reason("%s leads to %s from here: %s", name, address, err.Error())
			return
		}
	}
}
