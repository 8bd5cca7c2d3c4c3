package controlplane

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"
)

const (
	probeInterval = 50 * time.Millisecond
	probeTimeout  = 5 * time.Second

	// tailLines is how much of a log goes into an error. etcd tells what is
	// wrong with a flag before it tells in 30 lines how to use it.
	tailLines = 40
)

// WaitReady waits until the process says that it is ready. It fails when the
// process ends or ctx does, and then tells what the process said last.
func (p *Process) WaitReady(ctx context.Context) error {
	ctx, cancel := withDefaultTimeout(ctx)
	defer cancel()
	p.mu.Lock()
	r := p.current
	p.mu.Unlock()
	if r == nil {
		return fmt.Errorf("waiting for %s: it was not started", p.name)
	}

	switch err := Poll(ctx, probeInterval, r.done, p.ready); {
	case err == nil:
		return nil
	case errors.Is(err, errDone):
		return p.failure(r, errors.New(r.state))
	default:
		return p.failure(r, fmt.Errorf("not ready: %w", err))
	}
}

// errDone says that what was waited for has ended.
var errDone = errors.New("it has ended")

// Poll tries until it succeeds, or until done is closed or ctx ends. Its error
// then holds that of the last try which came to its own end: one that ctx cut
// tells nothing.
func Poll(ctx context.Context, every time.Duration, done <-chan struct{}, try func(context.Context) error) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	var last error
	for {
		err := try(ctx)
		if err == nil {
			return nil
		}
		if last == nil || !over(ctx) {
			last = err
		}
		select {
		case <-done:
			return errors.Join(errDone, last)
		case <-ctx.Done():
			return fmt.Errorf("%w (%w)", ctx.Err(), last)
		case <-tick.C:
		}
	}
}

// over tells whether ctx has ended, or is about to: a connection has the same
// deadline and notices it by a timer of its own.
func over(ctx context.Context) bool {
	deadline, ok := ctx.Deadline()
	return ctx.Err() != nil || ok && !time.Now().Before(deadline)
}

// failure describes why a process is not ready, with the end of its log.
func (p *Process) failure(r *run, why error) error {
	tail, err := tailOf(p.log, r.logOffset)
	if err != nil {
		return fmt.Errorf("%s: %w; its log cannot be read: %w", p.name, why, err)
	}
	if strings.Contains(tail, "address already in use") {
		why = errors.Join(why, errPortTaken)
	}
	if tail == "" {
		tail = "(empty)"
	}
	return fmt.Errorf("%s: %w; last lines of %s:\n%s", p.name, why, p.log, tail)
}

// tailOf returns the last lines of a file, none from before offset.
func tailOf(path string, offset int64) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }()
	const most = 64 << 10
	if info, err := f.Stat(); err == nil {
		offset = max(offset, info.Size()-most)
	}
	data, err := io.ReadAll(io.NewSectionReader(f, offset, most))
	if err != nil {
		return "", err
	}
	lines := bytes.Split(bytes.TrimSpace(data), []byte("\n"))
	lines = lines[max(0, len(lines)-tailLines):]
	return string(bytes.Join(lines, []byte("\n"))), nil
}

// probe asks url once and takes 200, with a body that contains want, for yes.
// Each question has a connection of its own: one kept from before a restart,
// or to a paused process, would tell about the past.
func probe(url string, cfg *tls.Config, want string) func(context.Context) error {
	client := &http.Client{
		Timeout: probeTimeout,
		Transport: &http.Transport{
			TLSClientConfig:   cfg,
			DisableKeepAlives: true,
		},
	}
	return func(ctx context.Context) error {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		resp, err := client.Do(req)
		if err != nil {
			return err
		}
		defer func() { _ = resp.Body.Close() }()
		body, _ := io.ReadAll(io.LimitReader(resp.Body, 4<<10))
		if resp.StatusCode != http.StatusOK || !bytes.Contains(body, []byte(want)) {
			return fmt.Errorf("%s says %s: %s", url, resp.Status, bytes.TrimSpace(body))
		}
		return nil
	}
}
