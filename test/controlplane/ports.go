package controlplane

import (
	"errors"

	"github.com/horizoncd/webhook-operator/test/ports"
)

// errPortTaken says that a chosen port was taken by the time it was needed.
var errPortTaken = errors.New("a port was taken by another process")

// chosenPorts are the ports of one control plane. They stay the same across restarts, so
// that clients find their way back.
type chosenPorts struct {
	etcdClient, etcdHTTP, etcdPeer, apiServer, controllerManager int
}

func choosePorts() (chosenPorts, error) {
	free, err := ports.ControlPlanes.Free(5)
	if err != nil {
		return chosenPorts{}, err
	}
	return chosenPorts{free[0], free[1], free[2], free[3], free[4]}, nil
}

func (chosenPorts) url(port int) string { return "https://" + ports.Address(port) }
