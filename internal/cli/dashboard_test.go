package cli

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	"k8s.io/cli-runtime/pkg/genericiooptions"
)

// writeKubeconfig writes a kubeconfig of a cluster that does not answer.
func writeKubeconfig(t *testing.T, path, token string) {
	t.Helper()
	text := `apiVersion: v1
kind: Config
current-context: c
contexts: [{name: c, context: {cluster: c, user: u, namespace: music}}]
clusters: [{name: c, cluster: {server: "https://127.0.0.1:1"}}]
users: [{name: u, user: {token: ` + token + `}}]
`
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// openedDashboard is a dashboard that a test has started, on no cluster.
type openedDashboard struct {
	running
	link string
}

func startDashboard(t *testing.T, args ...string) *openedDashboard {
	t.Helper()
	g := NewWithT(t)
	kubeconfig := filepath.Join(t.TempDir(), "kubeconfig")
	writeKubeconfig(t, kubeconfig, "x")
	ctx, cancel := context.WithCancel(t.Context())
	d := &openedDashboard{running: running{cancel: cancel, code: make(chan int, 1)}}
	p := newPlugin(genericiooptions.IOStreams{In: strings.NewReader(""), Out: &d.out, ErrOut: &d.err}, "test")
	go func() { d.code <- execute(ctx, p, append([]string{"--kubeconfig", kubeconfig, "dashboard"}, args...)) }()
	t.Cleanup(cancel)
	g.Eventually(d.err.String).WithTimeout(patience).Should(ContainSubstring("It works once. Ctrl-C ends the dashboard."))
	g.Expect(d.out.lines()).To(HaveLen(1))
	d.link = d.out.lines()[0]
	return d
}

// end is Ctrl-C.
func (d *openedDashboard) end(t *testing.T) {
	t.Helper()
	began := time.Now()
	d.cancel()
	if code := <-d.code; code != 0 {
		t.Errorf("exit code %d: %s", code, d.err.String())
	}
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("it took %v to end", took)
	}
}

// get opens an address, and returns the status, where it redirects to, and the body.
func get(t *testing.T, c *http.Client, address string) (status int, location, body string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	got, err := c.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer got.Body.Close()
	text, err := io.ReadAll(got.Body)
	if err != nil {
		t.Fatal(err)
	}
	return got.StatusCode, got.Header.Get("Location"), string(text)
}

func dashboardBrowser(t *testing.T) *http.Client {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Jar: jar, Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// The printed link signs a browser in once, though the cluster cannot be reached, and Ctrl-C
// ends it all.
func TestDashboard(t *testing.T) {
	g := NewWithT(t)
	d := startDashboard(t, "--no-open", "--page", "/ns/music/events?result=Failed", "-n", "radio")
	g.Expect(d.link).To(MatchRegexp(`^http://127\.0\.0\.1:\d+/sign-in\?token=[A-Z2-7]{26}&page=/ns/music/events%3Fresult%3DFailed$`))
	g.Expect(d.err.String()).To(HavePrefix("Open this link in a browser."))
	site, _, _ := strings.Cut(d.link, "/sign-in")

	c := dashboardBrowser(t)
	status, _, body := get(t, c, d.link)
	g.Expect(status).To(Equal(http.StatusOK))
	g.Expect(body).To(ContainSubstring(`content="0; url=/ns/music/events?result=Failed"`))
	status, location, _ := get(t, c, site+"/")
	g.Expect(status).To(Equal(http.StatusSeeOther))
	g.Expect(location).To(Equal("/ns/radio/webhooks"), "-n is where it begins")
	status, _, _ = get(t, dashboardBrowser(t), d.link)
	g.Expect(status).To(Equal(http.StatusUnauthorized))
	d.end(t)
	_, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", strings.TrimPrefix(site, "http://"))
	g.Expect(err).To(MatchError(ContainSubstring("refused")))
}

// The browser gets a file and no token on its command line. The file goes with the command.
func TestDashboardOpensBrowser(t *testing.T) {
	if runtime.GOOS == "windows" || runtime.GOOS == "darwin" {
		t.Skip("the browser is opened by a program of the system there")
	}
	for name, tc := range map[string]struct {
		script, display string
		args            []string
		said            string
		opens           bool
	}{
		"opens":      {`printf '%s\n' "$@" >"$DASHBOARD_TEST_ARGS.new" && mv "$DASHBOARD_TEST_ARGS.new" "$DASHBOARD_TEST_ARGS"`, ":0", nil, "is being opened in your browser", true},
		"fails":      {`exit 3`, ":0", nil, "No browser could be opened: xdg-open: exit status 3. Open the link above yourself.", false},
		"no display": {`touch "$DASHBOARD_TEST_ARGS"`, "", nil, "Open this link in a browser.", false},
		"not wanted": {`touch "$DASHBOARD_TEST_ARGS"`, ":0", []string{"--no-open"}, "Open this link in a browser.", false},
	} {
		t.Run(name, func(t *testing.T) {
			g := NewWithT(t)
			g.SetDefaultEventuallyTimeout(patience)
			dir := t.TempDir()
			g.Expect(os.WriteFile(filepath.Join(dir, "xdg-open"), []byte("#!/bin/sh\n"+tc.script+"\n"), 0o755)).To(Succeed())
			args := filepath.Join(dir, "args")
			for key, value := range map[string]string{
				"PATH": dir + ":" + os.Getenv("PATH"), "DISPLAY": tc.display, "WAYLAND_DISPLAY": "", "SSH_CONNECTION": "", "DASHBOARD_TEST_ARGS": args,
			} {
				t.Setenv(key, value)
			}
			d := startDashboard(t, tc.args...)
			g.Eventually(d.err.String).Should(ContainSubstring(tc.said))
			if !tc.opens {
				status, _, _ := get(t, dashboardBrowser(t), d.link)
				g.Expect(status).To(Equal(http.StatusOK), "the link is good")
				d.end(t)
				g.Expect(args).NotTo(BeAnExistingFile())
				return
			}
			g.Eventually(func() error { _, err := os.Stat(args); return err }).Should(Succeed())
			given, err := os.ReadFile(args)
			g.Expect(err).NotTo(HaveOccurred())
			path := strings.TrimSuffix(string(given), "\n")
			g.Expect(path).To(HaveSuffix("sign-in.html"), "one argument: a file")
			text, err := os.ReadFile(path)
			g.Expect(err).NotTo(HaveOccurred())
			g.Expect(string(text)).To(ContainSubstring(d.link))
			d.end(t)
			g.Expect(filepath.Dir(path)).NotTo(BeADirectory())
		})
	}
}

func TestDashboardRefuses(t *testing.T) {
	g := NewWithT(t)
	kubeconfig := filepath.Join(t.TempDir(), "kubeconfig")
	writeKubeconfig(t, kubeconfig, "x")
	taken, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp4", "127.0.0.1:0")
	g.Expect(err).NotTo(HaveOccurred())
	defer taken.Close()
	port := fmt.Sprint(taken.Addr().(*net.TCPAddr).Port)
	for _, tc := range []struct {
		args []string
		code int
		said string
	}{
		{[]string{"--page", "https://evil.example/"}, exitUsage, `--page "https://evil.example/" is not the path of a page`},
		{[]string{"--page", "//evil.example/"}, exitUsage, "begin with one /"},
		{[]string{"--page", "webhooks"}, exitUsage, "begin with one /"},
		{[]string{"--port", "65536"}, exitUsage, "between 0 and 65535"},
		{[]string{"--port", "-1"}, exitUsage, "between 0 and 65535"},
		{[]string{"music"}, exitUsage, "takes no arguments"},
		{[]string{"--port", port}, exitError, "port " + port + " is taken by another program"},
	} {
		var out, errOut written
		p := newPlugin(genericiooptions.IOStreams{In: strings.NewReader(""), Out: &out, ErrOut: &errOut}, "test")
		code := execute(t.Context(), p, append([]string{"--kubeconfig", kubeconfig, "dashboard", "--no-open"}, tc.args...))
		g.Expect(code).To(Equal(tc.code), "%v: %s", tc.args, errOut.String())
		g.Expect(errOut.String()).To(ContainSubstring(tc.said))
		g.Expect(out.String()).To(BeEmpty())
	}
}

// Credentials that somebody has got meanwhile are found.
func TestDashboardReadsKubeconfigAnew(t *testing.T) {
	g := NewWithT(t)
	kubeconfig := filepath.Join(t.TempDir(), "kubeconfig")
	p := newPlugin(genericiooptions.IOStreams{In: strings.NewReader(""), Out: io.Discard, ErrOut: io.Discard}, "1.2.3")
	*p.kube.KubeConfig = kubeconfig
	d := &pages{plugin: p}
	for _, token := range []string{"old", "new"} {
		writeKubeconfig(t, kubeconfig, token)
		config, err := d.connect()
		g.Expect(err).NotTo(HaveOccurred())
		g.Expect(config.BearerToken).To(Equal(token))
		g.Expect(config.UserAgent).To(Equal("kubectl-horizon/1.2.3"))
		g.Expect(config.QPS).To(BeNumerically("<", 0), "no limit")
	}
	g.Expect(os.WriteFile(kubeconfig, []byte("{"), 0o600)).To(Succeed())
	_, err := d.connect()
	g.Expect(err).To(MatchError(ContainSubstring("reading the kubeconfig")))
}

func TestOpener(t *testing.T) {
	for _, tc := range []struct {
		goos, set string
		want      []string
	}{
		{"linux", "DISPLAY", []string{"xdg-open"}},
		{"linux", "WAYLAND_DISPLAY", []string{"xdg-open"}},
		{"linux", "DISPLAY SSH_CONNECTION", []string{"xdg-open"}},
		{"linux", "", nil},
		{"linux", "SSH_CONNECTION", nil},
		{"linux", "BROWSER", nil},
		{"freebsd", "DISPLAY", []string{"xdg-open"}},
		{"darwin", "", []string{"open"}},
		{"darwin", "SSH_CONNECTION", nil},
		{"windows", "", []string{"rundll32", "url.dll,FileProtocolHandler"}},
		{"windows", "SSH_CONNECTION", nil},
	} {
		got := opener(tc.goos, func(name string) string {
			if slices.Contains(strings.Fields(tc.set), name) {
				return "x"
			}
			return ""
		})
		if !slices.Equal(got, tc.want) {
			t.Errorf("%s with %q: %q, want %q", tc.goos, tc.set, got, tc.want)
		}
	}
}
