// Package ports takes ports on loopback, below those that Linux, macOS and the BSDs hand
// out to outgoing connections. A port of theirs could be taken by any client while a
// process restarts, and a client that keeps dialling such a port while nobody listens can
// end up connected to itself.
package ports

import (
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
)

// Range is a range of ports, both ends included.
type Range struct{ first, last int }

// Those of control planes, which choose several at once and keep them across restarts, and
// those of all others.
var (
	ControlPlanes = Range{20000, 29999}
	Others        = Range{30000, 32767}
)

// tries is how many ports are tried. They are drawn at random, so that processes that
// start at the same time rarely meet.
const tries = 200

// Listen listens on a free port.
func (r Range) Listen() (net.Listener, error) {
	var err error
	for range tries {
		var l net.Listener
		if l, err = net.Listen("tcp4", Address(r.first+rand.IntN(r.last-r.first+1))); err == nil {
			return l, nil
		}
	}
	return nil, fmt.Errorf("looking for a free port from %d to %d: %w", r.first, r.last, err)
}

// Free returns so many ports that are free now.
func (r Range) Free(n int) ([]int, error) {
	found := make([]int, n)
	for i := range found {
		l, err := r.Listen()
		if err != nil {
			return nil, err
		}
		defer func() { _ = l.Close() }() // not before the others are found, so that each is another one
		found[i] = l.Addr().(*net.TCPAddr).Port
	}
	return found, nil
}

// FreeAddress returns the address of a port that is free now.
func (r Range) FreeAddress() (string, error) {
	found, err := r.Free(1)
	if err != nil {
		return "", err
	}
	return Address(found[0]), nil
}

// Address is that of a port.
func Address(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }
