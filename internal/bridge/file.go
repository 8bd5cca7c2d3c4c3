package bridge

import (
	"bytes"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"k8s.io/utils/clock"
)

// fileTTL is for how long what was read from a file counts: what a rotation takes.
const fileTTL = time.Second

// File is what a file says, which is read again while it is used. What cannot be read or
// understood changes nothing. It is safe for concurrent use.
type File[T any] struct {
	path  string
	parse func([]byte) (T, error)
	clock clock.PassiveClock

	mu    sync.Mutex
	data  []byte
	value T
	err   error // of the last time it was read
	read  time.Time
}

// OpenFile reads a file for the first time. It fails where that fails.
func OpenFile[T any](path string, parse func([]byte) (T, error), c clock.PassiveClock) (*File[T], error) {
	f := &File[T]{path: path, parse: parse, clock: c}
	if _, err := f.Get(); err != nil {
		return nil, err
	}
	return f, nil
}

// Get returns what the file says, or said last, and what is wrong with it now.
func (f *File[T]) Get() (T, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.path == "" {
		return f.value, nil
	}
	if now := f.clock.Now(); f.read.IsZero() || now.Sub(f.read) >= fileTTL {
		f.read = now
		f.err = f.again()
	}
	return f.value, f.err
}

func (f *File[T]) again() error {
	data, err := os.ReadFile(f.path)
	if err != nil {
		return err
	}
	if f.data != nil && bytes.Equal(data, f.data) {
		return nil
	}
	value, err := f.parse(data)
	if err != nil {
		return fmt.Errorf("%s: %w", f.path, err)
	}
	f.data, f.value = data, value
	return nil
}

// mostSecrets is how many secrets count at a time: the old and the new one of a rotation,
// and some room.
const mostSecrets = 4

// Secrets are those that a request may come with. Their values are in no log: they print
// as a number of them.
type Secrets struct{ hashes [][sha256.Size]byte }

// ParseSecrets reads a file with a secret on each line. Two at a time are for a rotation.
// The end of the last line may be missing; there is no other white space to be cut off.
func ParseSecrets(data []byte) (Secrets, error) {
	var s Secrets
	for line := range bytes.Lines(data) {
		if line = bytes.TrimRight(line, "\r\n"); len(line) > 0 {
			s.hashes = append(s.hashes, sha256.Sum256(line))
		}
	}
	switch {
	case len(s.hashes) == 0:
		return s, errors.New("it has no secret: anybody could create events")
	case len(s.hashes) > mostSecrets:
		return s, fmt.Errorf("it has %d secrets, one on each line; at most %d count", len(s.hashes), mostSecrets)
	}
	return s, nil
}

// Match tells whether a value is one of the secrets. How long it takes tells nothing of them.
func (s Secrets) Match(value string) bool {
	hash, found := sha256.Sum256([]byte(value)), 0
	for i := range s.hashes {
		found |= subtle.ConstantTimeCompare(hash[:], s.hashes[i][:])
	}
	return found == 1
}

// String implements fmt.Stringer.
func (s Secrets) String() string {
	if len(s.hashes) == 1 {
		return "1 secret"
	}
	return fmt.Sprintf("%d secrets", len(s.hashes))
}

// Constant is a file that always says the same, where there is none.
func Constant[T any](value T) *File[T] { return &File[T]{value: value} }
