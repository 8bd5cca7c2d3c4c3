package browser

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/horizoncd/webhook-operator/test/testbed"
)

const (
	// patience is far beyond what a step takes, on a busy machine too.
	patience = testbed.Patience
	interval = 50 * time.Millisecond

	// reboundHost is a stranger's name for this machine.
	reboundHost = "rebound.example"
)

// update writes the pictures in docs/images anew: go test ./test/browser -update.
var update = flag.Bool("update", false, "write the pictures in docs/images anew")

// chromium is the browser that all tests of a run share. Each has a profile of its
// own in it. The first test starts it.
var chromium sharedBrowser

type sharedBrowser struct {
	once sync.Once
	ctx  context.Context // of the browser; nil unless it runs
	err  error           // why it does not
}

var errNoBrowser = errors.New("found neither chromium nor chromium-browser nor google-chrome on PATH: " +
	"run `make browser` to install one, or set BROWSER_PATH to its program")

// findBrowser returns the path of a browser.
func findBrowser() (string, error) {
	if named := os.Getenv("BROWSER_PATH"); named != "" {
		path, err := exec.LookPath(named)
		if err != nil {
			return "", fmt.Errorf("looking for the browser of BROWSER_PATH: %w", err)
		}
		return path, nil
	}
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", errNoBrowser
}

// needBrowser starts the browser, or skips the test where there is none.
func needBrowser(t *testing.T) {
	t.Helper()
	chromium.once.Do(chromium.start)
	switch {
	case chromium.err == nil:
	case errors.Is(chromium.err, errNoBrowser) && os.Getenv("CI") != "true":
		t.Skip(chromium.err)
	default:
		t.Fatal(chromium.err)
	}
}

// start starts a browser with an empty profile in a temporary directory, which goes
// with it. It ends with this process, however that one ends. As root it runs without
// Chromium's sandbox, which does not work there.
func (b *sharedBrowser) start() {
	path, err := findBrowser()
	if err != nil {
		b.err = err
		return
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(path),
		chromedp.Flag("headless", "new"),
		// Nothing beyond this machine: no name is resolved but one, which a stranger has pointed
		// here, and nothing is looked for.
		chromedp.Flag("host-resolver-rules", "MAP "+reboundHost+" 127.0.0.1, MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"),
		chromedp.Flag("no-proxy-server", true),
		chromedp.Flag("disable-component-update", true),
		chromedp.Flag("disable-domain-reliability", true),
		chromedp.Flag("disable-quic", true),
		chromedp.Flag("no-pings", true),
		chromedp.Flag("disable-gpu", true),
		// Pictures are to look alike.
		chromedp.Flag("font-render-hinting", "none"),
		chromedp.Flag("lang", "en-US"),
	)
	allocator, _ := chromedp.NewExecAllocator(context.Background(), options...)
	ctx, _ := chromedp.NewContext(allocator)
	if err := chromedp.Do(ctx); err != nil {
		b.err = fmt.Errorf("starting %s: %w", path, errors.Join(err, chromedp.Cancel(ctx)))
		return
	}
	b.ctx = ctx
}

// stop ends the browser, if one was started, and returns when its processes and its
// directory are gone.
func (b *sharedBrowser) stop() error {
	if b.ctx == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(b.ctx, 10*time.Second)
	defer cancel()
	return chromedp.Cancel(ctx)
}
