package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/pprof"
	"strconv"
	"sync"
)

// topFunctions of each profile are printed.
const topFunctions = 15

// What profiles are of, and their names in those of files.
const (
	ofOperator      = "operator"
	ofAPIServer     = "apiserver" // while the operator works
	ofBareClient    = "bare"      // with the load that the same process makes
	ofBareAPIServer = "bare-apiserver"
)

// profiles are CPU profiles of the throughput phases, several of each.
type profiles struct {
	mu    sync.Mutex
	parts map[string][][]byte
	err   error
}

func (p *profiles) add(of string, part []byte, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err != nil {
		p.err = errors.Join(p.err, fmt.Errorf("taking a profile of %s: %w", of, err))
		return
	}
	if p.parts == nil {
		p.parts = map[string][][]byte{}
	}
	p.parts[of] = append(p.parts[of], part)
}

// takeProfiles takes profiles of a phase that begins now, for as long as one is to
// take. What it returns waits for them.
func (b *bench) takeProfiles(ctx context.Context, s *store, bare bool) (wait func()) {
	if !b.profile {
		return func() {}
	}
	seconds := strconv.Itoa(max(int(b.length.Seconds()), 1))
	apiServer := func() ([]byte, error) {
		return s.rest.Get().AbsPath("/debug/pprof/profile").Param("seconds", seconds).DoRaw(ctx)
	}
	operator := func() ([]byte, error) {
		return get(ctx, "http://"+s.pprof+"/debug/pprof/profile?seconds="+seconds)
	}
	var wg sync.WaitGroup
	take := func(of string, profile func() ([]byte, error)) {
		wg.Go(func() {
			part, err := profile()
			b.profiles.add(of, part, err)
		})
	}
	if !bare {
		take(ofOperator, operator)
		take(ofAPIServer, apiServer)
		return wg.Wait
	}
	take(ofBareAPIServer, apiServer)
	var own bytes.Buffer
	if err := pprof.StartCPUProfile(&own); err != nil {
		b.profiles.add(ofBareClient, nil, err)
		return wg.Wait
	}
	return func() {
		pprof.StopCPUProfile()
		b.profiles.add(ofBareClient, own.Bytes(), nil)
		wg.Wait()
	}
}

// get asks for a page.
func get(ctx context.Context, url string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s says %s", url, resp.Status)
	}
	return body, err
}

// write merges the profiles of each kind into a file of its own in a directory,
// prints their top, and returns their paths.
func (p *profiles) write(out io.Writer, dir string) (paths []string, err error) {
	for _, of := range []string{ofOperator, ofAPIServer, ofBareClient, ofBareAPIServer} {
		if len(p.parts[of]) == 0 {
			continue
		}
		path := filepath.Join(dir, "bench-"+of+".pprof")
		if err := merge(path, p.parts[of]); err != nil {
			return nil, fmt.Errorf("merging profiles: %w", err)
		}
		top, err := pprofTool("-top", "-nodecount="+strconv.Itoa(topFunctions), path)
		if err != nil {
			return nil, err
		}
		fmt.Fprintf(out, "\n%s\n%s", path, top)
		paths = append(paths, path)
	}
	return paths, p.err
}

// merge makes one profile of several.
func merge(path string, parts [][]byte) (err error) {
	dir, err := os.MkdirTemp("", "bench-profiles")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	args := []string{"-proto", "-output=" + path}
	for i, part := range parts {
		file := filepath.Join(dir, strconv.Itoa(i))
		if err := os.WriteFile(file, part, 0o600); err != nil {
			return err
		}
		args = append(args, file)
	}
	_, err = pprofTool(args...)
	return err
}

func pprofTool(args ...string) ([]byte, error) {
	cmd := exec.Command("go", append([]string{"tool", "pprof"}, args...)...)
	var problems bytes.Buffer
	cmd.Stderr = &problems
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go tool pprof: %w: %s", err, bytes.TrimSpace(problems.Bytes()))
	}
	return out, nil
}
