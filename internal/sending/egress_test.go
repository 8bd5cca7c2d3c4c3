package sending

import (
	"bufio"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/horizoncd/webhook-operator/internal/egress"
	"github.com/horizoncd/webhook-operator/test/hostile/inputs"
	"github.com/horizoncd/webhook-operator/test/nameserver"
	"github.com/horizoncd/webhook-operator/test/receiver"
)

// newHoneypot listens where nobody may connect to, fails the test if somebody does,
// and returns its port.
func newHoneypot(t *testing.T, address string) (port string) {
	t.Helper()
	r, err := receiver.StartRaw(receiver.RawOptions{Addr: address, Serve: func(net.Conn) {}})
	if err != nil {
		t.Skipf("no honeypot: %v", err)
	}
	t.Cleanup(func() {
		r.Close()
		if n := r.Connections(); n != 0 {
			t.Errorf("%d connections to the honeypot at %s", n, r.Addr())
		}
	})
	_, port, err = net.SplitHostPort(r.Addr())
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// newResolver returns one that asks a nameserver with these answers.
func newResolver(t *testing.T, answers map[string][]nameserver.Answer) *net.Resolver {
	t.Helper()
	n, err := nameserver.Start(answers)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Close() })
	return nameserver.Resolver(n.Addr())
}

// guarded returns options under which 127.0.0.1 is all that is allowed beside
// public addresses, and what is named.
func guarded(t *testing.T, resolver *net.Resolver, more ...string) Options {
	t.Helper()
	allow, err := egress.ParseAllow(append(more, "127.0.0.1/32")...)
	if err != nil {
		t.Fatal(err)
	}
	policy := egress.Policy{Allow: allow}
	return Options{Control: policy.Control, CheckURL: policy.CheckURL, Resolver: resolver}
}

// Whatever way a tenant spells an address that is denied, it gets no connection.
func TestDeniedAddressesGetNoConnection(t *testing.T) {
	port := newHoneypot(t, "127.0.0.2:0")
	newHoneypot(t, "127.0.0.3:"+port)
	s := newSender(t, guarded(t, nil))
	for _, host := range []string{
		"127.0.0.2", "127.0.0.3", "127.0.0.2.", "2130706434", "0x7f000002", "0X7F000002", "017700000002", "127.2", "127.0.2", "0x7f.2", "0177.0.0.2",
		"127.0.0.0x2", "0177.0x0.0.2", "[::ffff:127.0.0.2]", "[::ffff:7f00:2]", "[0:0:0:0:0:ffff:127.0.0.2]", "[::127.0.0.2]", "[::ffff:0:127.0.0.2]",
		"[64:ff9b::127.0.0.2]", "[64:ff9b:1::127.0.0.2]", "[2002:7f00:2::]", "[2001:0:7f00:2::]", "[fe80::5efe:127.0.0.2]", "[64:ff9b::127.0.0.1]", "[2002:7f00:1::]", "[2606:4700::5efe:127.0.0.1]", "１２７.0.0.2", "127。0。0。2",
		"0.0.0.0", "0", "[::]", "[fe80::1%25lo]", "[::1%25lo]", "169.254.169.254", "[fd00:ec2::254]",
	} {
		for _, scheme := range []string{"http", "https"} {
			x := send(t, s, scheme+"://"+host+":"+port+"/", nil)
			denied, ok := errors.AsType[*egress.Error](x.Err)
			if !x.Denied || !ok || x.Response != nil {
				t.Errorf("%s://%s: %+v, want it denied", scheme, host, x)
			} else if x.Err.Error() != denied.Error() {
				t.Errorf("%s://%s: error %q, want the guard's: %q", scheme, host, x.Err, denied)
			}
		}
	}
	t.Run("IPv6", func(t *testing.T) {
		six := newHoneypot(t, "[::1]:0")
		for _, host := range []string{"[::1]", "[0:0:0:0:0:0:0:1]", "[::0.0.0.1]"} {
			if x := send(t, s, "http://"+host+":"+six+"/", nil); !x.Denied {
				t.Errorf("%s: %+v, want it denied", host, x)
			}
		}
	})
}

// The dialer decides even where nothing has looked at the URL.
func TestDialerDenies(t *testing.T) {
	port := newHoneypot(t, "127.0.0.2:0")
	o := guarded(t, nil)
	o.CheckURL = nil
	s := newSender(t, o)
	for _, host := range []string{"127.0.0.2", "[::ffff:127.0.0.2]", "１２７.0.0.2", "[64:ff9b::127.0.0.2]"} {
		if x := send(t, s, "http://"+host+":"+port+"/", nil); !x.Denied {
			t.Errorf("%s: %+v, want it denied", host, x)
		}
	}
}

// Names are judged by the address that is dialled, each time.
func TestDeniedNamesGetNoConnection(t *testing.T) {
	allowed, r := rawReceiver(t, inputs.Write("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"))
	port := allowed[strings.LastIndexByte(allowed, ':')+1:]
	newHoneypot(t, "127.0.0.2:"+port)
	newHoneypot(t, "127.0.0.3:"+port)

	const nobody = "connection refused"
	denied := func(addr string) string {
		return addr + " is denied: 127.0.0.0/8 is loopback (RFC 1122); to allow it, an administrator starts the operator with --egress-allow=127.0.0.0/8"
	}
	type want struct {
		Arrived bool
		Denied  bool
		Err     string
	}
	for name, tc := range map[string]struct {
		answers []nameserver.Answer
		port    string // where it is not the receiver's
		want    []want
	}{
		"allowed": {answers: []nameserver.Answer{nameserver.To("127.0.0.1")}, want: []want{{Arrived: true}}},
		"denied":  {answers: []nameserver.Answer{nameserver.To("127.0.0.2")}, want: []want{{Denied: true, Err: denied("127.0.0.2")}}},
		"rebinding": {
			answers: []nameserver.Answer{nameserver.To("127.0.0.1"), nameserver.To("127.0.0.2"), nameserver.To("127.0.0.1")},
			want:    []want{{Arrived: true}, {Denied: true, Err: denied("127.0.0.2")}, {Arrived: true}},
		},
		"all denied":         {answers: []nameserver.Answer{nameserver.To("127.0.0.2", "127.0.0.3")}, want: []want{{Denied: true, Err: denied("127.0.0.2")}}},
		"first denied":       {answers: []nameserver.Answer{nameserver.To("127.0.0.2", "127.0.0.1")}, want: []want{{Arrived: true}}},
		"last denied":        {answers: []nameserver.Answer{nameserver.To("127.0.0.1", "127.0.0.2")}, want: []want{{Arrived: true}}},
		"first denied, down": {answers: []nameserver.Answer{nameserver.To("127.0.0.2", "127.0.0.1")}, port: "1", want: []want{{Err: nobody}}},
		"last denied, down":  {answers: []nameserver.Answer{nameserver.To("127.0.0.1", "127.0.0.2")}, port: "1", want: []want{{Err: nobody}}},
		"mapped":             {answers: []nameserver.Answer{nameserver.To("::ffff:127.0.0.2")}, want: []want{{Denied: true, Err: denied("127.0.0.2")}}},
		"no such name":       {want: []want{{Err: "no such host some.test"}}},
		"without addresses":  {answers: []nameserver.Answer{{}}, want: []want{{Err: "no such host some.test"}}},
	} {
		t.Run(name, func(t *testing.T) {
			answers := map[string][]nameserver.Answer{}
			if tc.answers != nil {
				answers["some.test"] = tc.answers
			}
			resolver := newResolver(t, answers)
			s := newSender(t, guarded(t, resolver))
			to := port
			if tc.port != "" {
				to = tc.port
			}
			var got []want
			for range tc.want {
				before := r.Requests()
				x := send(t, s, "http://some.test.:"+to+"/", nil)
				got = append(got, want{Arrived: r.Requests() == before+1, Denied: x.Denied, Err: strings.ReplaceAll(errorText(x.Err), "some.test.", "some.test")})
			}
			if diff := gocmp.Diff(tc.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// Of both families, Go tries one after the other, or both at once: whichever was
// not denied decides whether it is worth another try.
func TestDeniedBesideUnreachableIsTriedAgain(t *testing.T) {
	six := newHoneypot(t, "[::1]:0")
	resolver := newResolver(t, map[string][]nameserver.Answer{
		"both.test":   {nameserver.To("::1", "127.0.0.1")},
		"denied.test": {nameserver.To("::1", "127.0.0.2")},
	})
	s := newSender(t, guarded(t, resolver))
	if x := send(t, s, "http://both.test.:"+six+"/", nil); x.Denied || errorText(x.Err) != "connection refused" {
		t.Errorf("one denied, one down: denied %t, %v; want a failure to connect", x.Denied, x.Err)
	}
	if x := send(t, s, "http://denied.test.:"+six+"/", nil); !x.Denied {
		t.Errorf("both denied: %v; want it denied", x.Err)
	}
}

// Where one family is denied and there is no way to the other, the denial tells what
// to do, and another try would end in the same way. TCP finds no way to a multicast
// address on any machine.
func TestDeniedBesideNoRouteIsDenied(t *testing.T) {
	resolver := newResolver(t, map[string][]nameserver.Answer{
		"four.test":        {nameserver.To("127.0.0.2", "ff02::1")},
		"six.test":         {nameserver.To("224.0.0.1", "::1")},
		"neither.test":     {nameserver.To("224.0.0.1", "ff02::1")},
		"and-another.test": {nameserver.To("127.0.0.2", "127.0.0.1", "ff02::1")},
	})
	s := newSender(t, guarded(t, resolver, "224.0.0.0/4", "ff00::/8"))
	const advice = "; to allow it, an administrator starts the operator with --egress-allow="
	for name, want := range map[string]string{
		"four.test":        "127.0.0.2 is denied: 127.0.0.0/8 is loopback (RFC 1122)" + advice + "127.0.0.0/8",
		"six.test":         "::1 is denied: ::1 is loopback (RFC 4291)" + advice + "::1/128",
		"neither.test":     "network is unreachable",
		"and-another.test": "connection refused",
	} {
		x := send(t, s, "http://"+name+".:1/", nil)
		if got := errorText(x.Err); got != want || x.Denied != strings.Contains(want, "denied") {
			t.Errorf("%s: denied %t, %q; want %q", name, x.Denied, got, want)
		}
	}
}

// Whichever of several addresses comes first.
func TestErrorOfSeveralAddresses(t *testing.T) {
	denied, down := &denial{errors.New("denied")}, os.NewSyscallError("connect", syscall.ECONNREFUSED)
	noRoute, noFamily := os.NewSyscallError("connect", syscall.ENETUNREACH), os.NewSyscallError("socket", syscall.EAFNOSUPPORT)
	for name, tc := range map[string]struct {
		tried []error
		want  error
	}{
		"denied":                         {tried: []error{denied}, want: denied},
		"denied, no route":               {tried: []error{denied, noRoute}, want: denied},
		"denied, no such family":         {tried: []error{denied, noFamily}, want: denied},
		"denied, down":                   {tried: []error{denied, down}, want: down},
		"no route, down":                 {tried: []error{noRoute, down}, want: down},
		"no route":                       {tried: []error{noRoute}, want: noRoute},
		"all three":                      {tried: []error{denied, noRoute, down}, want: down},
		"all three, beginning elsewhere": {tried: []error{down, denied, noRoute}, want: down},
	} {
		t.Run(name, func(t *testing.T) {
			// The error of the dial is that of the first, and hidden in another.
			for _, first := range tc.tried {
				var f failures
				for _, err := range tc.tried {
					f.done("tcp", "", err)
				}
				got := f.decide(dialError(first))
				if !errors.Is(got, tc.want) {
					t.Errorf("where %v came first: %v, want %v", first, got, tc.want)
				}
			}
		})
	}
	var none failures
	if err := none.decide(nil); err != nil {
		t.Errorf("a connection was made: %v", err)
	}
}

// A redirect leads nowhere, be its goal denied or not.
func TestRedirectToADeniedAddressGetsNoConnection(t *testing.T) {
	port := newHoneypot(t, "127.0.0.2:0")
	for _, status := range []string{"301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent"} {
		target, r := rawReceiver(t, inputs.Say("HTTP/1.1 "+status+"\r\nLocation: http://127.0.0.2:"+port+"/\r\nContent-Length: 0\r\n\r\n"))
		x := send(t, newSender(t, guarded(t, nil)), target, nil)
		if x.Denied || x.Err != nil || x.Response == nil || r.Requests() != 1 {
			t.Errorf("%s: %+v after %d requests, want the redirect itself", status, x, r.Requests())
		}
	}
}

// A deadline that has passed is a failure, whatever else there was.
func TestTimeoutIsNotADenial(t *testing.T) {
	o := Options{CheckURL: func(*url.URL) error { return errors.New("no") }}
	x := send(t, newSender(t, o), "http://127.0.0.1:1/", func(r *Request) { r.Timeout = -1 })
	if x.Denied || x.Err == nil {
		t.Errorf("%+v, want a timeout", x)
	}
}

// proxy is an HTTP proxy that makes the connections that it is asked for, and
// looks up some names by itself.
type proxy struct {
	*httptest.Server
	mu    sync.Mutex
	asked []string
	// hosts are what it knows names by.
	hosts map[string]string
	// status that it answers CONNECT with.
	status int
}

func newProxy(t *testing.T, secure bool) *proxy {
	t.Helper()
	p := &proxy{status: http.StatusOK, hosts: map[string]string{}}
	p.Server = httptest.NewUnstartedServer(p)
	p.Config.ErrorLog = quiet
	if secure {
		p.StartTLS()
	} else {
		p.Start()
	}
	t.Cleanup(p.Close)
	return p
}

func (p *proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	p.asked = append(p.asked, r.Method+" "+r.Host+" "+r.Header.Get("Proxy-Authorization"))
	address, known := p.hosts[r.Host]
	status := p.status
	p.mu.Unlock()
	if !known {
		http.Error(w, "the proxy knows no such host", http.StatusBadGateway)
		return
	}
	if r.Method != http.MethodConnect {
		w.Header().Set("Via", "1.1 proxy")
		_, _ = io.WriteString(w, "through the proxy")
		return
	}
	if status != http.StatusOK {
		w.WriteHeader(status)
		return
	}
	far, err := net.Dial("tcp", address)
	if err != nil {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	w.WriteHeader(http.StatusOK)
	near, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		far.Close()
		return
	}
	go func() { _, _ = io.Copy(far, bufio.NewReader(buffered)); far.Close() }()
	_, _ = io.Copy(near, far)
	near.Close()
}

func (p *proxy) requests() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]string{}, p.asked...)
}

func TestProxy(t *testing.T) {
	p := newProxy(t, false)
	secure := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "at the receiver") }))
	t.Cleanup(secure.Close)
	p.hosts = map[string]string{"receiver.test:443": secure.Listener.Addr().String(), "receiver.test": ""}

	u, err := url.Parse(p.URL)
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.UserPassword("user", "s3cr3t")
	o := guarded(t, nil)
	o.Proxy = u
	// The proxy's own address needs no leave.
	o.Control = func(_, address string, _ syscall.RawConn) error { return errors.New(address + " is denied") }
	s := newSender(t, o)
	for _, tc := range []struct{ target, want string }{
		{"http://receiver.test/hook", "through the proxy"},
		{"https://receiver.test/hook", "at the receiver"},
	} {
		x := send(t, s, tc.target, func(r *Request) { r.InsecureSkipVerify = true })
		if x.Err != nil || x.Response.Body != tc.want {
			t.Errorf("%s: %+v, error %v; want %q", tc.target, x.Response, x.Err, tc.want)
		}
	}
	basic := "Basic " + base64.StdEncoding.EncodeToString([]byte("user:s3cr3t"))
	if diff := gocmp.Diff([]string{"POST receiver.test " + basic, "CONNECT receiver.test:443 " + basic}, p.requests()); diff != "" {
		t.Errorf("the proxy was asked (-want +got):\n%s", diff)
	}

	p.status = http.StatusForbidden
	x := send(t, newSender(t, o), "https://receiver.test/hook", nil)
	if got, want := errorText(x.Err), "the egress proxy answered 403 Forbidden"; got != want || x.Denied {
		t.Errorf("error %q, denied %t; want %q, which may change", got, x.Denied, want)
	}
}

// What a proxy might take for an address is judged before it gets to know.
func TestProxyIsNotAskedForDeniedAddresses(t *testing.T) {
	p := newProxy(t, false)
	u, err := url.Parse(p.URL)
	if err != nil {
		t.Fatal(err)
	}
	o := guarded(t, nil)
	o.Proxy = u
	s := newSender(t, o)
	for _, host := range []string{
		"127.0.0.2", "[::1]", "[::ffff:127.0.0.2]", "10.0.0.1", "169.254.169.254", "2130706434", "0x7f000002", "127.2", "127.0.0.2.", "１２７.0.0.2",
	} {
		for _, scheme := range []string{"http", "https"} {
			if x := send(t, s, scheme+"://"+host+"/", nil); !x.Denied {
				t.Errorf("%s://%s: %+v, want it denied", scheme, host, x)
			}
		}
	}
	if got := p.requests(); len(got) != 0 {
		t.Errorf("the proxy was asked for %q", got)
	}
}

// TLS to a proxy has nothing to do with what a Webhook says of its receiver: a
// proxy of an unknown authority is none, be certificates checked or not.
func TestProxyIsVerified(t *testing.T) {
	p := newProxy(t, true)
	u, err := url.Parse(p.URL)
	if err != nil {
		t.Fatal(err)
	}
	s := newSender(t, Options{Proxy: u})
	for _, target := range []string{"http://receiver.test/", "https://receiver.test/"} {
		x := send(t, s, target, func(r *Request) { r.InsecureSkipVerify = true })
		if got, want := errorText(x.Err), "the egress proxy cannot be reached: its certificate could not be verified"; got != want {
			t.Errorf("%s: error %q, want %q", target, got, want)
		}
	}
	if got := p.requests(); len(got) != 0 {
		t.Errorf("the proxy was asked for %q", got)
	}
}

func TestSecureProxy(t *testing.T) {
	for proxy, want := range map[string]string{
		"http://proxy.test:3128":        "http://proxy.test:3128",
		"https://proxy.test:3128":       "http://proxy.test:3128",
		"https://user:pass@proxy.test/": "http://user:pass@proxy.test:443/",
		"https://[2001:db8::1]":         "http://[2001:db8::1]:443",
	} {
		u, err := url.Parse(proxy)
		if err != nil {
			t.Fatal(err)
		}
		got, err := viaProxy(u)(&http.Request{URL: &url.URL{Scheme: "https", Host: "receiver.test"}})
		if err != nil || got.String() != want || u.String() != proxy {
			t.Errorf("%s: the transport knows %v, want %s", proxy, got, want)
		}
	}
	// And what is dialled speaks TLS.
	p := newProxy(t, true)
	u, err := url.Parse(p.URL)
	if err != nil {
		t.Fatal(err)
	}
	p.hosts["receiver.test"] = ""
	trusting := newSender(t, Options{Proxy: u})
	pool := p.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
	trusting.proxied.transports.of(Request{}).DialContext = (&tls.Dialer{Config: &tls.Config{RootCAs: pool}}).DialContext
	if x := send(t, trusting, "http://receiver.test/", nil); x.Err != nil || x.Response.Body != "through the proxy" {
		t.Errorf("%+v, error %v", x.Response, x.Err)
	}
}

// What is excepted goes past the proxy, and is judged as without one, also where it is
// the proxy's own address. Connections of the two are kept apart.
func TestDirectIsGuarded(t *testing.T) {
	p := newProxy(t, false)
	target, r := rawReceiver(t, inputs.Write("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"))
	port := target[strings.LastIndexByte(target, ':')+1:]
	u, err := url.Parse(p.URL)
	if err != nil {
		t.Fatal(err)
	}
	except, err := egress.ParseProxyExcept(".svc,127.0.0.0/8")
	if err != nil {
		t.Fatal(err)
	}
	o := guarded(t, newResolver(t, map[string][]nameserver.Answer{
		"receiver.svc": {nameserver.To("127.0.0.1")}, "inside.svc": {nameserver.To("127.0.0.2")}, "proxy.svc": {nameserver.To("127.0.0.1")},
	}))
	o.Proxy, o.Direct = u, except.Contains
	s := newSender(t, o)
	newHoneypot(t, "127.0.0.2:"+port)
	for range 2 {
		if x := send(t, s, "http://receiver.svc.:"+port+"/", nil); x.Err != nil {
			t.Errorf("past the proxy: %v", x.Err)
		}
		if x := send(t, s, "http://127.0.0.1:"+port+"/", nil); x.Err != nil {
			t.Errorf("past the proxy, by address: %v", x.Err)
		}
	}
	for _, host := range []string{"inside.svc.", "127.0.0.2"} {
		if x := send(t, s, "http://"+host+":"+port+"/", nil); !x.Denied {
			t.Errorf("%s: %+v, want it denied", host, x)
		}
	}
	if r.Requests() != 4 || len(p.requests()) != 0 {
		t.Errorf("%d requests at the receiver, %q at the proxy", r.Requests(), p.requests())
	}
	if x := send(t, s, "http://receiver.test/", nil); x.Response == nil || len(p.requests()) != 1 {
		t.Errorf("through the proxy: %+v, asked %q", x, p.requests())
	}

	// The guard is not asked about the proxy, and is about a receiver at its address.
	o = guarded(t, nil)
	o.Control = func(_, address string, _ syscall.RawConn) error { return errors.New(address + " is denied") }
	o.Proxy, o.Direct = u, except.Contains
	s = newSender(t, o)
	if x := send(t, s, "http://receiver.test/", nil); x.Response == nil {
		t.Errorf("%v, want the proxy to be reached", x.Err)
	}
	if x := send(t, s, p.URL, nil); !x.Denied {
		t.Errorf("%+v, want the proxy's own address to be denied", x)
	}
}

// What a proxy does is not told as what the receiver did, and its credentials are not
// told.
func TestProxyErrors(t *testing.T) {
	status := func(line string) func(net.Conn) {
		return inputs.Say("HTTP/1.1 " + line + "\r\nContent-Length: 0\r\nProxy-Authenticate: Basic realm=x\r\n\r\n")
	}
	const closed, reset = "the egress proxy closed the connection", "the egress proxy reset the connection"
	for name, tc := range map[string]struct {
		answer        func(net.Conn)
		user          *url.Userinfo
		tunnel, plain string // errors
		answered      int    // status of the answer to a plain request
	}{
		"wants credentials":           {answer: status("407 Who"), tunnel: "the egress proxy wants credentials (407)", plain: "the egress proxy wants credentials (407)"},
		"wants others":                {answer: status("407 Who"), user: url.UserPassword("user", "s3cr3t"), tunnel: "the egress proxy does not accept the operator's credentials (407)", plain: "the egress proxy does not accept the operator's credentials (407)"},
		"no connection":               {answer: status("502 Bad"), tunnel: "the egress proxy made no connection to the receiver (502 Bad Gateway)", answered: 502},
		"unavailable":                 {answer: status("503 Bad"), tunnel: "the egress proxy made no connection to the receiver (503 Service Unavailable)", answered: 503},
		"too late":                    {answer: status("504 Bad"), tunnel: "the egress proxy made no connection to the receiver (504 Gateway Timeout)", answered: 504},
		"unheard of":                  {answer: status("599 s3cr3t"), tunnel: "the egress proxy answered 599", answered: 599},
		"hangs up":                    {answer: inputs.Say(""), tunnel: closed, plain: closed},
		"hangs up half way":           {answer: inputs.Say("HTTP/1.1 200 OK\r\nX: "), tunnel: closed, plain: "the answer broke off"},
		"resets":                      {answer: inputs.Reset, tunnel: reset, plain: reset},
		"garbage":                     {answer: inputs.Say("s3cr3t garbage\r\n"), tunnel: "the answer of the egress proxy is not valid HTTP", plain: "the answer is not valid HTTP: its status code is not one of three digits"},
		"hangs up when it is through": {answer: inputs.Say("HTTP/1.1 200 OK\r\n\r\n"), tunnel: "the receiver or the egress proxy closed the connection while negotiating TLS", answered: 200},
		"says nothing":                {answer: inputs.Wait, tunnel: "timeout after 200ms while waiting for the egress proxy", plain: "timeout after 200ms while waiting for the answer"},
	} {
		t.Run(name, func(t *testing.T) {
			target, _ := rawReceiver(t, tc.answer)
			u, err := url.Parse(target)
			if err != nil {
				t.Fatal(err)
			}
			u.Path, u.User = "", tc.user
			s := newSender(t, Options{Proxy: u})
			for scheme, want := range map[string]string{"https": tc.tunnel, "http": tc.plain} {
				x := send(t, s, scheme+"://receiver.test/", func(r *Request) {
					if strings.HasPrefix(want, "timeout") {
						r.Timeout = 200 * time.Millisecond
					}
				})
				if diff := gocmp.Diff(want, errorText(x.Err)); diff != "" {
					t.Errorf("%s (-want +got):\n%s\ncause: %v", scheme, diff, errors.Unwrap(x.Err))
				}
				answered := 0
				if x.Response != nil {
					answered = x.Response.StatusCode
				}
				if scheme == "https" && answered != 0 || scheme == "http" && answered != tc.answered {
					t.Errorf("%s: %d is recorded as the receiver's answer", scheme, answered)
				}
			}
		})
	}
	t.Run("is down", func(t *testing.T) {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		down := &url.URL{Scheme: "http", Host: listener.Addr().String()}
		listener.Close()
		for proxy, want := range map[*url.URL]string{
			down: "the egress proxy cannot be reached: connection refused",
			{Scheme: "http", Host: "proxy.invalid:3128"}: "the egress proxy cannot be reached: its host could not be looked up",
		} {
			for _, target := range []string{"http://receiver.test/", "https://receiver.test/"} {
				if got := errorText(send(t, newSender(t, Options{Proxy: proxy}), target, nil).Err); got != want {
					t.Errorf("%s: %q, want %q", target, got, want)
				}
			}
		}
	})
}
