package controllers

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/horizoncd/webhook-operator/internal/crdskew"
)

const (
	// crdInterval is how soon it is noticed that the CRDs were upgraded, or put back.
	crdInterval = time.Minute
	// crdTimeout bounds a look at them: it is no reason for a start to hang.
	crdTimeout = 10 * time.Second
	// lackingTold is how many fields a Webhook's status names.
	lackingTold = 3
)

// crdCheck looks whether the CRDs in the cluster are older than the operator: then the API
// server drops some of what it writes, and answers 200 all the same. The log, a metric and
// the status of every Webhook say so.
type crdCheck struct {
	api      rest.Interface
	log      logr.Logger
	interval time.Duration
	// changed is called when something else is lacking than before.
	changed func(context.Context) error

	found atomic.Pointer[[]string]
}

func newCRDCheck(mgr ctrl.Manager, changed func(context.Context) error) (*crdCheck, error) {
	d, err := discovery.NewDiscoveryClientForConfigAndClient(mgr.GetConfig(), mgr.GetHTTPClient())
	if err != nil {
		return nil, err
	}
	return &crdCheck{api: d.RESTClient(), log: mgr.GetLogger().WithName("crds"), interval: crdInterval, changed: changed}, nil
}

// NeedLeaderElection implements manager.LeaderElectionRunnable: who takes over knows already.
func (*crdCheck) NeedLeaderElection() bool { return false }

// Start implements manager.Runnable.
func (c *crdCheck) Start(ctx context.Context) error {
	ticks := time.NewTicker(c.interval)
	defer ticks.Stop()
	for {
		if c.look(ctx) {
			if err := c.changed(ctx); err != nil {
				c.log.Error(err, "Cannot have the status of webhooks written")
			}
		}
		select {
		case <-ticks.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// look tells whether something else is lacking than before. What cannot be read now is
// read next time.
func (c *crdCheck) look(ctx context.Context) (changed bool) {
	bounded, cancel := context.WithTimeout(ctx, crdTimeout)
	defer cancel()
	document, err := c.api.Get().AbsPath(crdskew.Path()).SetHeader("Accept", "application/json").Do(bounded).Raw()
	if err != nil {
		if ctx.Err() == nil { // an end is no failure
			c.log.Info("Cannot read what the CRDs in the cluster are", "error", err.Error())
		}
		return false
	}
	lacking, err := crdskew.Lacking(document)
	if err != nil {
		c.log.Error(err, "Cannot compare the CRDs in the cluster with the operator's")
		return false
	}
	before := c.lacking()
	if slices.Equal(before, lacking) {
		return false
	}
	c.found.Store(&lacking)
	if len(lacking) > 0 {
		c.log.Info("The CRDs in the cluster are older than the operator: the API server drops these fields and refuses these values. "+
			"Apply the CRDs of this version", "lacking", lacking)
	} else {
		c.log.Info("The CRDs in the cluster have all that the operator knows")
	}
	return true
}

func (c *crdCheck) lacking() []string {
	if found := c.found.Load(); found != nil {
		return *found
	}
	return nil
}

// note is what the status of a Webhook says of it.
func (c *crdCheck) note() string {
	lacking := c.lacking()
	if len(lacking) == 0 {
		return ""
	}
	told := strings.Join(lacking[:min(len(lacking), lackingTold)], ", ")
	if more := len(lacking) - lackingTold; more > 0 {
		told += fmt.Sprintf(" and %d more", more)
	}
	return "the CRDs in the cluster are older than the operator and lack " + told + ": an administrator has to upgrade them"
}
