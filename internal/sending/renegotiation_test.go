package sending

import (
	"bufio"
	"crypto/tls"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	peer "github.com/horizoncd/webhook-operator/test/receiver"
)

// opensslServer serves TLS 1.2 by openssl. Once a request has come, it is told what to
// do, by keys: R negotiates once more and asks for a client certificate.
func opensslServer(t *testing.T, certificate, key []byte, keys ...string) (target string) {
	t.Helper()
	path, err := exec.LookPath("openssl")
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal(err)
		}
		t.Skip(err) // no server of Go negotiates once more
	}
	dir := t.TempDir()
	for name, data := range map[string][]byte{"tls.crt": certificate, "tls.key": key} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := free.Addr().String()
	free.Close()
	server := exec.CommandContext(t.Context(), path, "s_server", "-accept", address, "-tls1_2", "-crlf",
		"-cert", filepath.Join(dir, "tls.crt"), "-key", filepath.Join(dir, "tls.key"))
	in, err := server.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := server.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	ready, ended := make(chan struct{}), make(chan struct{})
	// What openssl reads at once is one key, or text, and neither may come before TLS is
	// negotiated to its end.
	front, done := relay(t, address)
	go func() {
		defer close(ended)
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			switch line := lines.Text(); {
			case line == "ACCEPT":
				close(ready)
			case strings.HasPrefix(line, "Content-Type: "): // the request is one record, so it is read whole
				for _, key := range keys {
					before := done.Load()
					_, _ = io.WriteString(in, key)
					for done.Load() == before && t.Context().Err() == nil {
						time.Sleep(time.Millisecond)
					}
				}
				_, _ = io.WriteString(in, "HTTP/1.1 204 No Content\n\n")
			}
		}
	}()
	t.Cleanup(func() {
		_ = server.Process.Kill()
		<-ended
		_ = server.Wait()
	})
	select {
	case <-ready:
	case <-ended:
		t.Fatal("openssl has not started")
	}
	return "https://" + front + "/"
}

const changeCipherSpec = 20

// relay passes one connection on to an address, and counts how often TLS 1.2 is
// negotiated to its end.
func relay(t *testing.T, address string) (front string, done *atomic.Int64) {
	t.Helper()
	done = new(atomic.Int64)
	r, err := peer.StartRaw(peer.RawOptions{Serve: func(near net.Conn) {
		far, err := net.Dial("tcp", address)
		if err != nil {
			return
		}
		defer far.Close()
		go func() { _, _ = io.Copy(far, near); far.Close() }()
		for {
			header := make([]byte, 5)
			if _, err := io.ReadFull(far, header); err != nil {
				return
			}
			body := make([]byte, int(header[3])<<8|int(header[4]))
			if _, err := io.ReadFull(far, body); err != nil {
				return
			}
			_, _ = near.Write(slices.Concat(header, body))
			if header[0] == changeCipherSpec {
				done.Add(1)
			}
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r.Addr(), done
}

// A receiver may ask for a client certificate once it has read the request, as IIS does
// in TLS 1.2, but not again and again.
func TestRenegotiation(t *testing.T) {
	ours := newAuthority(t, "ours")
	certificate, key := issue(t, ours, nil)
	for name, tc := range map[string]struct {
		keys []string
		want string
	}{
		"never":             {},
		"once":              {keys: []string{"r\n"}},
		"for a certificate": {keys: []string{"R\n"}},
		"a second time":     {keys: []string{"R\n", "r\n"}, want: "the receiver wants to negotiate TLS for the third time on one connection"},
	} {
		t.Run(name, func(t *testing.T) {
			x := send(t, newSender(t, Options{}), opensslServer(t, certificate, key, tc.keys...), func(r *Request) {
				r.Authorities, r.Certificate = authorities(t, ours), clientCertificate(t, ours, "operator")
				r.Header = map[string][]string{"Content-Type": {"application/json"}}
			})
			if got := errorText(x.Err); got != tc.want || tc.want == "" && x.Response.StatusCode != 204 {
				t.Errorf("%+v, error %q, want %q", x.Response, got, tc.want)
			}
		})
	}
	if got := tlsConfig(Request{}).Renegotiation; got != tls.RenegotiateOnceAsClient {
		t.Errorf("renegotiation %v", got)
	}
}
