package dashboard

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/net/netutil"
)

const (
	// loopback is the one address that is listened on.
	loopback = "127.0.0.1"
	// maxConnections bounds connections; a browser makes six at a time.
	maxConnections = 128
	// maxHeader bounds the header of a request, in bytes. Browsers send the cookies of every
	// port of the address, which is why it is not less.
	maxHeader = 1 << 20
	// headerTimeout and requestTimeout bound how long a request's header and the whole of it may
	// take, and answerTimeout how long the answer may; streams have no such bound.
	headerTimeout  = 10 * time.Second
	requestTimeout = 30 * time.Second
	answerTimeout  = 2 * time.Minute
	// idleTimeout is how long a connection is kept without a request.
	idleTimeout = 2 * time.Minute
	// shutdownTimeout is how long answers under way have once the server is to end.
	shutdownTimeout = time.Second
)

// Server serves a session's pages on a loopback address to whoever has its sign-in link.
type Server struct {
	listener net.Listener
	http     *http.Server
	guard    *guard
	address  string
	token    string
	// foreign tells whether a connection is another user's.
	foreign func(net.Conn) bool
}

// foreignKey is the key of a connection's context that tells it.
type foreignKey struct{}

// Listen listens on a port of 127.0.0.1; port 0 is any that is free. Serve answers.
func Listen(port int, session http.Handler) (*Server, error) {
	wanted := net.JoinHostPort(loopback, strconv.Itoa(port))
	listener, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp4", wanted)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fmt.Errorf("port %d is taken by another program: choose another one, or 0 for any that is free", port)
	case err != nil:
		return nil, fmt.Errorf("listening on %s: %w", wanted, err)
	}
	address := listener.Addr().String()
	_, number, err := net.SplitHostPort(address)
	if err != nil {
		listener.Close()
		return nil, fmt.Errorf("reading the address listened on: %w", err)
	}
	g := newGuard(number)
	s := &Server{
		listener: netutil.LimitListener(listener, maxConnections),
		http: &http.Server{
			Handler:           g,
			ReadHeaderTimeout: headerTimeout,
			ReadTimeout:       requestTimeout,
			WriteTimeout:      answerTimeout,
			IdleTimeout:       idleTimeout,
			MaxHeaderBytes:    maxHeader,
			// OPTIONS * is for the guard, too.
			DisableGeneralOptionsHandler: true,
		},
		guard:   g,
		address: address,
		token:   g.access.newLink(session),
		foreign: func(conn net.Conn) bool { return ofOtherUser(conn, os.Getuid()) },
	}
	s.http.ConnContext = func(ctx context.Context, conn net.Conn) context.Context {
		return context.WithValue(ctx, foreignKey{}, s.foreign(conn))
	}
	return s, nil
}

// SignInURL is the link that signs a browser in, once, and then opens a page: a path of the
// dashboard with its query, or "" for the first page.
func (s *Server) SignInURL(page string) string {
	link := "http://" + s.address + signInPath + "?token=" + s.token
	if page != "" && page != "/" {
		link += "&page=" + strings.ReplaceAll(url.QueryEscape(page), "%2F", "/")
	}
	return link
}

// OpenFile writes an HTML file that leads a browser to SignInURL(page). Other users can read
// the command line of whatever opens a browser, and so the token is in a file that only this
// user can read. remove removes the file and its directory.
func (s *Server) OpenFile(page string) (path string, remove func(), err error) {
	dir, err := os.MkdirTemp(fileDirectory(), "kubectl-horizon-") // of mode 0700
	if err != nil {
		return "", nil, fmt.Errorf("making a directory for the sign-in link: %w", err)
	}
	remove = func() { os.RemoveAll(dir) }
	path = filepath.Join(dir, "sign-in.html")
	if err := os.WriteFile(path, goOn(s.SignInURL(page)).render(), 0o600); err != nil {
		remove()
		return "", nil, fmt.Errorf("writing the sign-in link to a file: %w", err)
	}
	return path, remove, nil
}

// fileDirectory is where a browser finds files: "" is the system's temporary directory.
// Browsers that come as snaps see neither that nor what is hidden, but the home directory.
func fileDirectory() string {
	if _, err := os.Stat("/snap/bin"); err == nil && runtime.GOOS == "linux" {
		if home, err := os.UserHomeDir(); err == nil {
			return home
		}
	}
	return ""
}

// Serve answers requests until the context ends. Streams end at once then, and other answers
// within shutdownTimeout.
func (s *Server) Serve(ctx context.Context) error {
	ended := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(ended)
		s.shutdown()
	})
	err := s.http.Serve(s.listener)
	if errors.Is(err, http.ErrServerClosed) {
		<-ended
		return nil
	}
	if stop() {
		s.http.Close()
	}
	return fmt.Errorf("serving the dashboard: %w", err)
}

func (s *Server) shutdown() {
	s.guard.endStreams()
	ctx, cancel := context.WithTimeout(context.Background(), shutdownTimeout)
	defer cancel()
	if s.http.Shutdown(ctx) != nil {
		s.http.Close()
	}
}
