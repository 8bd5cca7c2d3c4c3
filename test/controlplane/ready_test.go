package controlplane

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// An end that cuts a probe leaves the reason that the probe before it found.
func TestWaitReadyTellsWhatTheLastWholeProbeFound(t *testing.T) {
	t.Parallel()
	const reason = "caches are empty"
	tests := map[string]struct {
		probes []string // what each finds; the end of the wait cuts the one after them
		end    func(context.Context) (context.Context, context.CancelFunc)
		want   []string
	}{
		"a deadline": {
			probes: []string{reason},
			end: func(ctx context.Context) (context.Context, context.CancelFunc) {
				return context.WithTimeout(ctx, 4*probeInterval)
			},
			want: []string{"not ready", context.DeadlineExceeded.Error(), reason},
		},
		"an interruption": {
			probes: []string{reason},
			want:   []string{"not ready", context.Canceled.Error(), reason},
		},
		"the last of several counts": {
			probes: []string{"connection refused", reason},
			want:   []string{reason},
		},
		"no probe came to its end": {
			want: []string{"not ready", context.Canceled.Error()},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			end := tt.end
			if end == nil {
				end = context.WithCancel
			}
			ctx, cancel := end(t.Context())
			defer cancel()
			asked := 0
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if asked++; asked <= len(tt.probes) {
					http.Error(w, tt.probes[asked-1], http.StatusInternalServerError)
					return
				}
				if tt.end == nil {
					cancel()
				}
				<-r.Context().Done() // the client has hung up
			}))
			defer server.Close()
			log := filepath.Join(t.TempDir(), "log")
			must(t, os.WriteFile(log, nil, 0o600))
			p := &Process{
				name: "program", log: log, ready: probe(server.URL, nil, ""), current: &run{done: make(chan struct{})},
			}
			err := p.WaitReady(ctx)
			for _, want := range tt.want {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("the error does not say %q: %v", want, err)
				}
			}
		})
	}
}

// A program that says nothing at all says so in the end, not what it said long
// before: the probe's own timeout ends a whole probe.
func TestPollTakesTheProbesOwnTimeoutForAReason(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	tries := 0
	err := Poll(ctx, time.Millisecond, nil, func(ctx context.Context) error {
		switch tries++; tries {
		case 1:
			return errors.New("caches are empty")
		case 2:
			return fmt.Errorf("asking: %w", context.DeadlineExceeded)
		}
		cancel()
		return ctx.Err()
	})
	if !errors.Is(err, context.DeadlineExceeded) || strings.Contains(err.Error(), "caches") {
		t.Errorf("got %v, want what the second try found", err)
	}
}

func TestPollEnds(t *testing.T) {
	t.Parallel()
	done := make(chan struct{})
	close(done)
	if err := Poll(t.Context(), time.Hour, done, func(context.Context) error { return errors.New("no") }); !errors.Is(err, errDone) {
		t.Errorf("got %v, want %v", err, errDone)
	}
	if err := Poll(t.Context(), time.Hour, done, func(context.Context) error { return nil }); err != nil {
		t.Errorf("got %v although it succeeded", err)
	}
}
