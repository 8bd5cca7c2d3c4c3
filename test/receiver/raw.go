package receiver

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
)

// RawOptions says what a Raw does. Without Serve and Answer it takes connections
// and never reads from them.
type RawOptions struct {
	// Addr is the address to listen on. Default: a free port of 127.0.0.1.
	Addr string

	// TLS is negotiated first, as this says. Where it has no certificate, one is
	// made that nobody but itself vouches for.
	TLS *tls.Config

	// Chain is what it sends after its certificate, where one is made for it.
	Chain [][]byte

	// Answer is called each time a request has been read to its end. The
	// connection is closed when no more can be read from it.
	Answer func(net.Conn)

	// Serve is called for each connection, before anything is read, and takes the
	// place of Answer. The connection is closed when it returns.
	Serve func(net.Conn)
}

// Raw is the other end of a connection for what no HTTP server does. It is a
// Receiver without manners.
type Raw struct {
	options  RawOptions
	listener net.Listener
	serving  sync.WaitGroup

	requests, connections atomic.Int32

	mu     sync.Mutex // guards what follows
	open   map[net.Conn]bool
	idle   chan struct{} // closed, and replaced, when the last connection ends
	closed bool
}

// StartRaw starts a Raw.
func StartRaw(o RawOptions) (*Raw, error) {
	if o.Addr == "" {
		o.Addr = "127.0.0.1:0"
	}
	if o.TLS != nil && len(o.TLS.Certificates) == 0 {
		own, _, err := selfSigned()
		if err != nil {
			return nil, fmt.Errorf("creating the receiver's certificate: %w", err)
		}
		o.TLS = o.TLS.Clone()
		o.TLS.Certificates = own.Certificates
		o.TLS.Certificates[0].Certificate = append(o.TLS.Certificates[0].Certificate, o.Chain...)
	}
	listener, err := net.Listen("tcp", o.Addr)
	if err != nil {
		return nil, fmt.Errorf("starting a receiver: %w", err)
	}
	r := &Raw{options: o, listener: listener, open: map[net.Conn]bool{}, idle: make(chan struct{})}
	r.serving.Go(r.accept)
	return r, nil
}

// Addr is the host and port that it listens on.
func (r *Raw) Addr() string { return r.listener.Addr().String() }

// Requests is how many were read to their end. Those that Serve reads are not
// counted.
func (r *Raw) Requests() int { return int(r.requests.Load()) }

// Connections is how many were made.
func (r *Raw) Connections() int { return int(r.connections.Load()) }

// WaitIdle waits until all connections have ended.
func (r *Raw) WaitIdle(ctx context.Context) error {
	r.mu.Lock()
	open, idle := len(r.open), r.idle
	r.mu.Unlock()
	if open == 0 {
		return nil
	}
	select {
	case <-idle:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("waiting for %d connections to end: %w", open, ctx.Err())
	}
}

// Close ends it and all its connections.
func (r *Raw) Close() error {
	err := r.listener.Close()
	r.mu.Lock()
	r.closed = true
	for conn := range r.open {
		_ = conn.Close()
	}
	r.mu.Unlock()
	r.serving.Wait()
	return err
}

func (r *Raw) accept() {
	for {
		conn, err := r.listener.Accept()
		if err != nil {
			return // closed
		}
		r.connections.Add(1)
		r.mu.Lock()
		r.open[conn] = true
		closed := r.closed
		r.mu.Unlock()
		if closed {
			_ = conn.Close()
		}
		if r.options.Serve == nil && r.options.Answer == nil {
			continue // until Close
		}
		r.serving.Go(func() {
			defer r.leave(conn)
			r.serve(conn)
		})
	}
}

func (r *Raw) leave(conn net.Conn) {
	_ = conn.Close()
	r.mu.Lock()
	defer r.mu.Unlock()
	if delete(r.open, conn); len(r.open) == 0 {
		close(r.idle)
		r.idle = make(chan struct{})
	}
}

func (r *Raw) serve(conn net.Conn) {
	if r.options.TLS != nil {
		secure := tls.Server(conn, r.options.TLS)
		if secure.Handshake() != nil {
			return
		}
		conn = secure
	}
	if r.options.Serve != nil {
		r.options.Serve(conn)
		return
	}
	in := bufio.NewReader(conn)
	for {
		req, err := http.ReadRequest(in)
		if err != nil {
			return
		}
		if _, err := io.Copy(io.Discard, req.Body); err != nil {
			return
		}
		r.requests.Add(1)
		r.options.Answer(conn)
	}
}
