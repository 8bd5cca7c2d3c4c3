// Package e2e holds the tests of what only whole processes show: the operator's
// binary against a real control plane, with receivers on loopback. There is one
// control plane and one operator for all tests, which run one after the other,
// each in a namespace of its own.
package e2e
