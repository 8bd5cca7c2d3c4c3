package bridge

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"time"

	"golang.org/x/net/netutil"
)

const (
	// headerTimeout bounds how long the headers of a request may take, and with them a
	// connection that says nothing.
	headerTimeout = 5 * time.Second
	// idleTimeout is how long a connection is kept between requests: longer than the 90 s
	// after which Horizon's own client gives one up, so that it seldom posts into one that
	// is being closed.
	idleTimeout = 2 * time.Minute
	// maxHeader bounds the headers of a request, in bytes.
	maxHeader = 16 << 10
)

// Server serves Horizon on a listener. What comes slowly, or not at all, is cut off.
type Server struct {
	Handler http.Handler
	// TLS may be nil, for plain HTTP.
	TLS *tls.Config
	// Connections is how many there may be at a time. Further ones wait to be accepted.
	Connections int
	// Drain is how long requests under way may go on when the context ends.
	Drain time.Duration
}

// Serve serves until the context ends, and then what is under way. It closes the listener.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	l = netutil.LimitListener(l, s.Connections)
	if s.TLS != nil {
		l = tls.NewListener(l, s.TLS)
	}
	// HTTP/2 would bring a hundred requests on each connection, with timeouts of its own.
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	server := &http.Server{
		Handler:           s.Handler,
		Protocols:         &protocols,
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       headerTimeout + turnTimeout + bodyTimeout,
		WriteTimeout:      answerTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		// What it has to say is about what strangers send, and has no bounds.
		ErrorLog: log.New(io.Discard, "", 0),
	}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(l) }()
	select {
	case err := <-ended:
		return fmt.Errorf("serving Horizon: %w", err)
	case <-ctx.Done():
	}
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.Drain)
	defer cancel()
	if err := server.Shutdown(drain); err != nil {
		return errors.Join(fmt.Errorf("ending requests under way: %w", err), server.Close())
	}
	return nil
}
