// Package crd has the manifests of the CRDs as files, for programs that have to know what
// the API server accepts.
package crd

import "embed"

// Bases are the manifests, in the directory bases.
//
//go:embed bases/*.yaml
var Bases embed.FS
