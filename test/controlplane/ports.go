package controlplane

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
)

// Ports are taken from a range below the ones that Linux, macOS and the BSDs
// hand out to outgoing connections. A port of theirs could be taken by any
// client while a process restarts, and a client that keeps dialling such a
// port on loopback while nobody listens can end up connected to itself.
const (
	firstPort = 20000
	lastPort  = 29999
)

// errPortTaken says that a chosen port was taken by the time it was needed.
var errPortTaken = errors.New("a port was taken by another process")

// ports are the ports of one control plane. They stay the same across
// restarts, so that clients find their way back.
type ports struct {
	etcdClient, etcdHTTP, etcdPeer, apiServer, controllerManager int
}

// choosePorts picks ports that are free now, at random, so that control planes
// started at the same time rarely meet.
func choosePorts() (ports, error) {
	var p ports
	chosen := map[int]bool{}
	for _, port := range []*int{&p.etcdClient, &p.etcdHTTP, &p.etcdPeer, &p.apiServer, &p.controllerManager} {
		var err error
		for range 200 {
			*port = firstPort + rand.IntN(lastPort-firstPort+1)
			if chosen[*port] {
				continue
			}
			if err = tryPort(*port); err == nil {
				chosen[*port] = true
				break
			}
		}
		if !chosen[*port] {
			return ports{}, fmt.Errorf("looking for a free port from %d to %d: %w", firstPort, lastPort, err)
		}
	}
	return p, nil
}

func tryPort(port int) error {
	l, err := net.Listen("tcp4", address(port))
	if err != nil {
		return err
	}
	return l.Close()
}

func address(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

func (ports) url(port int) string { return "https://" + address(port) }
