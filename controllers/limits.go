package controllers

import "time"

// How many deliveries may be pending and waiting, and how long what depends on the API server
// or a receiver may take; docs/limits.md has all limits, those of single packages too.
const (
	// maxPending bounds how many deliveries are known that are not stored.
	maxPending = 20000
	// maxWaiting bounds how many deliveries of one webhook may wait in store.
	maxWaiting = 10000
	// storeAfter is how long a receiver may keep a pending delivery from being sent
	// before that is stored as waiting.
	storeAfter = 2 * time.Second
	// refuseAfter is for how long a delivery is tried to be stored, while the API server
	// stores other things, before it counts as refused.
	refuseAfter = time.Minute
	// replaySettling is how long a replay takes at least.
	replaySettling = 5 * time.Second
)
