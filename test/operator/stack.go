package operator

import (
	"context"
	"errors"
	"path/filepath"
	"sync"
	"time"

	"github.com/horizoncd/webhook-operator/test/controlplane"
)

// stackTimeout bounds the start of a Stack, the build of the operator included.
const stackTimeout = 10 * time.Minute

// Stack is a control plane with the operator on it, which the tests of a package share. Its
// zero value is one that has not been started.
type Stack struct {
	ControlPlane *controlplane.ControlPlane
	Install      *Installation
	Operator     *Operator

	once sync.Once
	err  error
}

// Start starts the stack from the repository in root, unless that was done before: the first
// test that needs it calls it, so that tests without an API server do not wait for one.
func (s *Stack) Start(root string) error {
	s.once.Do(func() { s.err = s.start(root) })
	return s.err
}

func (s *Stack) start(root string) error {
	ctx, cancel := context.WithTimeout(context.Background(), stackTimeout)
	defer cancel()
	var err error
	if s.ControlPlane, err = controlplane.Start(ctx, controlplane.Options{ControllerManager: true}); err != nil {
		return err
	}
	if s.Install, err = Install(ctx, s.ControlPlane, root); err != nil {
		return err
	}
	binary, err := Build(ctx, root, s.ControlPlane.Dir())
	if err != nil {
		return err
	}
	s.Operator, err = Start(ctx, Options{
		Binary: binary, Kubeconfig: s.Install.Kubeconfig, Log: filepath.Join(s.ControlPlane.Dir(), "operator.log"),
	})
	return err
}

// Stop ends what was started.
func (s *Stack) Stop() error {
	var errs []error
	if s.Operator != nil {
		errs = append(errs, s.Operator.Stop())
	}
	if s.ControlPlane != nil {
		errs = append(errs, s.ControlPlane.Stop())
	}
	return errors.Join(errs...)
}
