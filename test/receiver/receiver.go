// Package receiver is the other end of a webhook: an HTTP or HTTPS server on
// loopback that keeps a journal of what arrived and answers by script, or as the room of a
// chat service does.
//
// It stands in for the systems that teams are notified through, in tests, in
// the demo, in benchmarks and in fault scenarios. It knows nothing of the
// testing package nor of Kubernetes.
package receiver

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/horizoncd/webhook-operator/test/ports"
)

const (
	// maxBody bounds what is read of a request; the operator's payloads end at
	// 512 KiB.
	maxBody = 4 << 20
)

// Options says what kind of receiver to start. The zero value speaks plain
// HTTP on a free port and keeps all it gets.
type Options struct {
	// Addr is the address to listen on, such as 127.0.0.1:8080. Default: a
	// free port of 127.0.0.1, which the receiver keeps while it is down.
	Addr string

	// TLS serves HTTPS with a certificate that the receiver signs itself.
	TLS bool

	// Lean keeps neither headers nor bodies in the journal, for loads of which
	// only numbers and times matter.
	Lean bool

	// OnArrival is called for each request when it has been entered into the
	// journal and before it is answered; the answer waits for it. It may be
	// called from several goroutines at once.
	OnArrival func(Arrival)

	// OnAnswer is called for each request when its answer has been written to
	// the last byte and is on its way, under the same conditions.
	OnAnswer func(Arrival)
}

// Receiver is a server that runs, or one that is down for the moment. Its
// methods may be called from several goroutines.
type Receiver struct {
	options Options
	addr    string
	tls     *tls.Config // nil for plain HTTP
	cert    []byte      // PEM; empty for plain HTTP

	journal journal
	scripts scripts
	rooms   rooms

	closed    chan struct{} // ends every answer that hangs
	closeOnce sync.Once

	mu     sync.Mutex // guards what follows
	server *http.Server
	served chan struct{} // closed when the server has returned
}

// errClosed says that the receiver was closed for good.
var errClosed = errors.New("the receiver was closed")

// Start starts a receiver. Until told otherwise by Script, it answers 200 to
// everything.
func Start(o Options) (*Receiver, error) {
	r := &Receiver{options: o, addr: o.Addr, closed: make(chan struct{})}
	r.journal.init(o.Lean)
	if o.TLS {
		var err error
		if r.tls, r.cert, err = selfSigned(); err != nil {
			return nil, fmt.Errorf("creating the receiver's certificate: %w", err)
		}
	}
	l, err := r.firstListener()
	if err != nil {
		return nil, fmt.Errorf("starting a receiver: %w", err)
	}
	r.addr = l.Addr().String()
	r.serve(l)
	return r, nil
}

func (r *Receiver) firstListener() (net.Listener, error) {
	if r.addr != "" {
		return net.Listen("tcp", r.addr)
	}
	return ports.Others.Listen()
}

func (r *Receiver) serve(l net.Listener) {
	r.mu.Lock()
	defer r.mu.Unlock()
	server := &http.Server{
		Handler:           http.HandlerFunc(r.handle),
		TLSConfig:         r.tls.Clone(),
		ReadHeaderTimeout: time.Minute,
		// A client that refuses the certificate is what some tests are about.
		ErrorLog: log.New(io.Discard, "", 0),
	}
	served := make(chan struct{})
	r.server, r.served = server, served
	go func() {
		defer close(served)
		if r.tls != nil {
			_ = server.ServeTLS(l, "", "")
			return
		}
		_ = server.Serve(l)
	}()
}

// Addr is the host and port that the receiver listens on, the same whether it
// is up or down.
func (r *Receiver) Addr() string { return r.addr }

// URL is the address of a path, such as /hooks/horizon.
func (r *Receiver) URL(path string) string {
	scheme := "http"
	if r.tls != nil {
		scheme = "https"
	}
	return scheme + "://" + r.addr + path
}

// CertificatePEM is the receiver's certificate; it has signed itself, so it is
// the authority to trust too. It is empty for plain HTTP.
func (r *Receiver) CertificatePEM() []byte { return r.cert }

// Down takes the receiver off the network: connections end, also those that
// wait for an answer, and new ones are refused. Journal and scripts stay. It is
// not an error if it is down already.
func (r *Receiver) Down() error {
	r.mu.Lock()
	server, served := r.server, r.served
	r.server = nil
	r.mu.Unlock()
	if server == nil {
		return nil
	}
	err := server.Close()
	<-served
	return err
}

// Up brings the receiver back on the same port. It is not an error if it is up
// already.
func (r *Receiver) Up() error {
	if r.isClosed() {
		return errClosed
	}
	r.mu.Lock()
	up := r.server != nil
	r.mu.Unlock()
	if up {
		return nil
	}
	l, err := net.Listen("tcp", r.addr)
	if err != nil {
		return fmt.Errorf("bringing the receiver back: %w", err)
	}
	r.serve(l)
	return nil
}

// Close ends the receiver for good. Its journal can still be read.
func (r *Receiver) Close() error {
	r.closeOnce.Do(func() { close(r.closed) })
	return r.Down()
}

func (r *Receiver) isClosed() bool {
	select {
	case <-r.closed:
		return true
	default:
		return false
	}
}

// handle enters a request into the journal and answers it by script.
func (r *Receiver) handle(w http.ResponseWriter, req *http.Request) {
	now := time.Now()
	body, err := io.ReadAll(http.MaxBytesReader(w, req.Body, maxBody))
	if err != nil {
		// Half a request has not arrived.
		http.Error(w, "reading the body: "+err.Error(), http.StatusBadRequest)
		return
	}
	// The next answer of the script is taken and entered at one go, so that
	// the journal's order is the script's.
	a, answer := r.journal.enter(now, req, body, func() Answer { return r.next(posted{req, body, now}) })
	defer r.journal.leave(a.Path)
	if r.options.OnArrival != nil {
		r.options.OnArrival(a)
	}
	if !r.hold(req.Context(), answer) {
		// Nothing at all is answered: the connection ends.
		panic(http.ErrAbortHandler)
	}
	if r.options.OnAnswer == nil {
		answer.write(w)
		return
	}
	// What is small would stay in the server's buffer until this function
	// returns, and the end of a body of unknown length longer still.
	answer.writeLength(w)
	answer.write(w)
	_ = http.NewResponseController(w).Flush()
	r.options.OnAnswer(a)
}

// next is how a request is answered: by script, by a room, or with a 200.
func (r *Receiver) next(p posted) Answer {
	a, ok := r.scripts.next(p.URL.Path)
	if !ok {
		a, _ = r.rooms.answer(p)
	}
	return a
}

// hold waits as long as the answer says, and tells whether there is anything
// to be answered after that.
func (r *Receiver) hold(ctx context.Context, answer Answer) bool {
	if answer.Until != nil && !await(ctx, r.closed, answer.Until) {
		return false
	}
	if answer.Delay > 0 {
		timer := time.NewTimer(answer.Delay)
		defer timer.Stop()
		if !await(ctx, r.closed, timer.C) {
			return false
		}
	}
	if answer.Hang {
		var never chan struct{}
		return await(ctx, r.closed, never)
	}
	return !answer.Reset
}

// await waits for something to be received or closed, and tells whether it
// was, before the client went away or the receiver was closed.
func await[T any](ctx context.Context, closed <-chan struct{}, something <-chan T) bool {
	select {
	case <-something:
		return true
	case <-ctx.Done():
		return false
	case <-closed:
		return false
	}
}
