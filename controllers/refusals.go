package controllers

import "sync"

// refusals remembers the namespaces in which a record could not be stored lately,
// whatever the reason. There, records are stored before anything is sent: a
// request without a record would be sent again after a restart.
type refusals struct {
	namespaces sync.Map
}

// lately tells whether the last try to store a record in a namespace failed.
func (r *refusals) lately(namespace string) bool {
	_, ok := r.namespaces.Load(namespace)
	return ok
}

func (r *refusals) refused(namespace string) { r.namespaces.Store(namespace, struct{}{}) }

func (r *refusals) taken(namespace string) { r.namespaces.Delete(namespace) }
