package controllers

import "sync"

// storage remembers namespaces in which a record could not be stored lately.
// There, records are stored before anything is sent: a request without a record
// would be sent again after a restart.
type storage struct {
	refusing sync.Map
}

func (s *storage) suspect(namespace string) bool {
	_, ok := s.refusing.Load(namespace)
	return ok
}

func (s *storage) failed(namespace string) { s.refusing.Store(namespace, struct{}{}) }

func (s *storage) worked(namespace string) { s.refusing.Delete(namespace) }
