package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/horizoncd/webhook-operator/test/controlplane"
	"github.com/horizoncd/webhook-operator/test/horizon"
	"github.com/horizoncd/webhook-operator/test/operator"
	"github.com/horizoncd/webhook-operator/test/ports"
	"github.com/horizoncd/webhook-operator/test/receiver"
)

func parse(args ...string) (options, error) {
	flags := flag.NewFlagSet("horizon-bridge", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	return parseOptions(flags, args)
}

func TestOptions(t *testing.T) {
	t.Setenv("POD_NAMESPACE", "bridges")
	o, err := parse("check", "--name-prefix=second-")
	if err != nil || !o.check || o.namePrefix != "second-" || o.namespace != "bridges" || o.state().String() != "bridges/horizon-bridge-state" {
		t.Errorf("got %+v, %v", o, err)
	}
	for _, wrong := range []string{
		"chek", "--name-prefix=Second", "--name-prefix=" + strings.Repeat("x", 25), "--namespace=a/b", "--tls-cert-file=x",
		"--catch-up-requests-per-minute=0", "--catch-up-every=0", "--catch-up-window=-1h", "--max-connections=0", "--drain-seconds=-1", "--webhook-id=-1",
	} {
		if _, err := parse(wrong); err == nil {
			t.Errorf("%s: no error", wrong)
		}
	}
}

// The process as it is installed: it serves HTTPS, takes a renewed certificate, stores what
// it knows when it ends, and begins with that again.
func TestProcess(t *testing.T) {
	cp, err := controlplane.Start(t.Context(), controlplane.Options{})
	if errors.Is(err, controlplane.ErrNoBinaries) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cp.Stop(); err != nil {
			t.Error(err)
		}
	})
	install, err := operator.Install(t.Context(), cp, "../..")
	if err != nil {
		t.Fatal(err)
	}
	kubeconfig, err := install.InstallBridge(t.Context(), "../..")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	binary, err := operator.BuildBridge(t.Context(), "../..", dir)
	if err != nil {
		t.Fatal(err)
	}
	h, err := horizon.Start(horizon.Options{Scopes: map[string][]string{"webhooks:read-write": {"groups/webhooks", "webhooks", "webhooks/logs", "webhooklogs"}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.Close() })
	write := func(name string, data []byte) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := errors.Join(os.WriteFile(path+".next", data, 0o600), os.Rename(path+".next", path)); err != nil {
			t.Fatal(err)
		}
		return path
	}
	const secret = "the-secret-of-the-webhook"
	token := h.Token("groups:read-only", "applications:read-only", "clusters:read-only", "webhooks:read-write")
	address, err := ports.Others.FreeAddress()
	if err != nil {
		t.Fatal(err)
	}
	h.AddWebhook(horizon.Groups, 0, horizon.Webhook{Enabled: true, URL: "https://" + address + "/horizon", Secret: secret, Triggers: []string{"*"}})
	roots := x509.NewCertPool()
	certify := func() {
		t.Helper()
		authority, err := receiver.NewAuthority("authority")
		if err != nil {
			t.Fatal(err)
		}
		cert, key, err := authority.Issue(nil)
		if err != nil {
			t.Fatal(err)
		}
		roots = x509.NewCertPool()
		roots.AppendCertsFromPEM(authority.PEM())
		write("tls.key", key)
		write("tls.crt", cert)
	}
	certify()
	o := operator.BridgeOptions{
		Binary: binary, Kubeconfig: kubeconfig, Log: filepath.Join(dir, "log"), Address: address, HorizonURL: h.URL(""),
		TokenFile: write("token", []byte(token)), SecretFile: write("secret", []byte(secret)),
		Args: []string{"--tls-cert-file=" + filepath.Join(dir, "tls.crt"), "--tls-key-file=" + filepath.Join(dir, "tls.key"), "--zap-log-level=debug"},
	}
	start := func() *operator.Operator {
		t.Helper()
		p, err := operator.LaunchBridge(o)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = p.Kill() })
		if err := p.WaitReady(t.Context()); err != nil {
			t.Fatal(err)
		}
		return p
	}
	post := func(id int) (string, error) {
		client := &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{
			TLSClientConfig: &tls.Config{RootCAs: roots}, DisableKeepAlives: true, ForceAttemptHTTP2: true,
		}}
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://"+address+"/horizon",
			strings.NewReader(fmt.Sprintf(`{"eventID":%d,"eventType":"clusters_action","extra":""}`, id)))
		if err != nil {
			return "", err
		}
		r.Header.Set("X-Horizon-Webhook-Secret", secret)
		resp, err := client.Do(r)
		if err != nil {
			return "", err
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		return fmt.Sprintf("%s %s %s", resp.Proto, resp.Status, bytes.TrimSpace(body)), err
	}

	first := start()
	if got, err := post(1); err != nil || got != `HTTP/1.1 201 Created {"event":"horizon-webhooks/horizon-1"}` {
		t.Fatalf("got %s, %v", got, err)
	}
	certify()
	await(t, func() error {
		_, err := post(2)
		return err
	})
	if err := first.Stop(); err != nil {
		t.Fatal(err)
	}
	output, err := first.Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, hidden := range []string{secret, token} {
		if strings.Contains(output, hidden) {
			t.Error("a secret is in the log")
		}
	}
	second := start()
	metrics, err := second.Metrics(t.Context())
	if err != nil || !strings.Contains(metrics, "horizon_bridge_catch_up_behind_seconds") {
		t.Errorf("no metrics: %v", err)
	}
	if got, err := post(1); err != nil || !strings.Contains(got, "200 OK") {
		t.Errorf("the same again: %s, %v", got, err)
	}
}

func await(t *testing.T, try func() error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := controlplane.Poll(ctx, 100*time.Millisecond, nil, func(context.Context) error { return try() }); err != nil {
		t.Fatal(err)
	}
}
