package cli

import (
	"k8s.io/klog/v2"
	"sigs.k8s.io/controller-runtime/pkg/log"
)

// Without a logger, controller-runtime prints a stack trace to standard error after 30 s.
// klog is where client-go logs to.
func init() { log.SetLogger(klog.Background()) }
