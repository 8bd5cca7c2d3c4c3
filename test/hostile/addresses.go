package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/egress"
	"github.com/horizoncd/webhook-operator/test/hostile/inputs"
	"github.com/horizoncd/webhook-operator/test/receiver"
)

// allowed is the one address that may be reached.
const allowed = "127.0.0.1"

// honeypots listen, all on one port, where nobody may come.
type honeypots struct {
	all  []*receiver.Raw
	port string
}

func (h *honeypots) listen(host string) error {
	r, err := receiver.StartRaw(receiver.RawOptions{
		Addr: net.JoinHostPort(host, h.port), Answer: inputs.Write("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
	})
	if err != nil {
		return err
	}
	h.all = append(h.all, r)
	return nil
}

func (h *honeypots) connections() int {
	n := 0
	for _, r := range h.all {
		n += r.Connections()
	}
	return n
}

func (h *honeypots) close() error {
	var errs []error
	for _, r := range h.all {
		errs = append(errs, r.Close())
	}
	return errors.Join(errs...)
}

// openHoneypots listens on a port of all addresses of this machine but the one that may
// be reached, as far as they exist.
func openHoneypots(port string) (*honeypots, []string, error) {
	h := &honeypots{port: port}
	var hosts []string
	for i := 2; i <= 9; i++ {
		host := fmt.Sprintf("127.0.0.%d", i)
		if err := h.listen(host); err != nil {
			return nil, nil, errors.Join(err, h.close())
		}
		hosts = append(hosts, host)
	}
	others := []string{"::1"}
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		return nil, nil, errors.Join(err, h.close())
	}
	for _, a := range addresses {
		if network, ok := a.(*net.IPNet); ok && !network.IP.IsLoopback() && !network.IP.IsLinkLocalUnicast() {
			others = append(others, network.IP.String())
		}
	}
	for _, host := range others {
		if h.listen(host) == nil {
			hosts = append(hosts, host)
		}
	}
	return h, hosts, nil
}

// spellings are addresses that must not be reached, in brackets where they need
// them.
func spellings() []string {
	return []string{
		// Those of a honeypot, within others.
		"[::ffff:127.0.0.2]", "[::ffff:7f00:2]", "[0:0:0:0:0:ffff:7f00:2]", "[::127.0.0.2]", "[64:ff9b::7f00:2]",
		"[64:ff9b::127.0.0.2]", "[64:ff9b:1::7f00:2]", "[2002:7f00:2::]", "[2002:7f00:2::1]", "[2001:0:7f00:2::]", "[::ffff:0:127.0.0.2]",
		// The allowed one within others: whoever unwraps it has a loopback of its own.
		"[64:ff9b::7f00:1]", "[64:ff9b::127.0.0.1]", "[64:ff9b:1::7f00:1]", "[::127.0.0.1]", "[2002:7f00:1::1]", "[fe80::5efe:7f00:1]",
		// Ways to say loopback, and nothing in particular.
		"0.0.0.0", "[::]", "127.1.2.3", "127.255.255.254",
		// Metadata of clouds.
		"169.254.169.254", "169.254.170.2", "[fd00:ec2::254]", "100.100.100.200", "168.63.129.16", "192.0.0.192",
		// Private, shared, link-local, documentation, benchmarks, multicast, reserved.
		"10.0.0.1", "172.16.0.1", "172.31.255.254", "192.168.0.1", "100.64.0.1", "192.0.2.1", "198.51.100.1", "203.0.113.1",
		"198.18.0.1", "224.0.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.255", "192.88.99.1", "[fe80::1]", "[fc00::1]",
		"[fd12:3456:789a::1]", "[ff02::1]", "[2001:db8::1]", "[100::1]", "[2001:10::1]", "[3fff::1]", "[5f00::1]",
	}
}

// odd are spellings that only some resolvers take for addresses.
var odd = []string{"2130706434", "0x7f000002", "0177.0.0.2", "127.2", "127.0.2", "0x7f.0.0.2", "127.0.0.2.", "017700000002"}

// forbidden is a delivery that must not be made.
type forbidden struct {
	webhook, url string
	// redirected: the receiver may be reached, and names one that may not.
	redirected bool
	// odd: nothing would allow it.
	odd bool
}

// playAddresses sends to addresses that nobody may reach.
func playAddresses(ctx context.Context, t *session) (err error) {
	namespace, err := t.namespace(ctx)
	if err != nil {
		return err
	}
	// Each request on a connection of its own, so that each is judged.
	inside, err := receiver.StartRaw(receiver.RawOptions{
		Answer: inputs.Write("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"),
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, inside.Close()) }()
	_, port, err := net.SplitHostPort(inside.Addr())
	if err != nil {
		return err
	}
	traps, hosts, err := openHoneypots(port)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, traps.close()) }()
	var all []*forbidden
	add := func(f forbidden) {
		f.webhook = fmt.Sprintf("address-%03d", len(all))
		all = append(all, &f)
	}
	for _, host := range hosts {
		if strings.Contains(host, ":") {
			host = "[" + host + "]"
		}
		add(forbidden{url: "http://" + host + ":" + traps.port + "/"})
		add(forbidden{url: "https://" + host + ":" + traps.port + "/"})
	}
	for _, host := range spellings() {
		add(forbidden{url: "http://" + host + ":" + traps.port + "/"})
	}
	for _, host := range odd {
		add(forbidden{url: "http://" + host + ":" + traps.port + "/", odd: true})
	}
	for _, status := range []string{"301", "302", "303", "307", "308"} {
		r, err := receiver.StartRaw(receiver.RawOptions{Answer: inputs.Write(
			"HTTP/1.1 " + status + " Elsewhere\r\nContent-Length: 0\r\nLocation: http://127.0.0.2:" + traps.port + "/\r\n\r\n")})
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, r.Close()) }()
		add(forbidden{url: "http://" + r.Addr() + "/", redirected: true})
	}
	denied, err := t.send(ctx, namespace, all)
	if err != nil {
		return err
	}
	ofNames, err := t.playNames(ctx, inside)
	if err != nil {
		return err
	}
	connections := traps.connections()
	if connections > 0 {
		t.judge("honeypots", []string{fmt.Sprintf("%d connections", connections)})
	}
	t.Say("addresses: %d denied of %d, %d connections", denied+ofNames, len(all)+len(names), connections)
	return nil
}

// send applies the Webhooks, lets something happen, judges each record, and returns how
// many were denied.
func (t *session) send(ctx context.Context, namespace string, all []*forbidden) (int, error) {
	refused := map[string]bool{}
	for _, f := range all {
		w := webhook(namespace, f.webhook, f.url)
		w.Spec.TimeoutSeconds = 3
		w.Spec.SSLVerifyEnabled = new(false)
		if err := t.client.Create(ctx, w); err != nil {
			if !strings.Contains(err.Error(), "url must") {
				return 0, err
			}
			refused[f.webhook] = true
		}
	}
	if err := t.event(ctx, namespace, "horizon-1"); err != nil {
		return 0, err
	}
	records, err := t.settled(ctx, namespace, "horizon-1", len(all)-len(refused))
	if err != nil {
		return 0, err
	}
	denied := 0
	for _, f := range all {
		var problems []string
		if !refused[f.webhook] {
			problems = t.denied(ctx, f, records[f.webhook])
		}
		if len(problems) == 0 {
			denied++
		}
		t.judge(f.url, problems)
	}
	return denied, nil
}

// denied tells what is wrong with the record of a delivery that must not be made.
func (t *session) denied(ctx context.Context, f *forbidden, d *v1alpha1.WebhookDelivery) []string {
	if d == nil {
		return []string{"no record that it is at its end"}
	}
	reason, why := ending(d)
	switch {
	case d.Status.Result != v1alpha1.DeliveryFailed:
		return []string{fmt.Sprintf("it is %s", d.Status.Result)}
	case f.redirected:
		return nil
	case reason != v1alpha1.ReasonEgressDenied:
		return []string{fmt.Sprintf("it failed as %s: %s", reason, why)}
	case f.odd:
		return nil
	}
	told, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	var said string
	err := wait.PollUntilContextCancel(told, interval, true, func(context.Context) (bool, error) {
		var w v1alpha1.Webhook
		err := t.client.Get(told, client.ObjectKey{Namespace: d.Namespace, Name: f.webhook}, &w)
		said = ""
		for _, c := range w.Status.Conditions {
			said += c.Message + "\n"
		}
		return strings.Contains(said, egress.Flag), err
	})
	if err != nil {
		return []string{fmt.Sprintf("no condition of the Webhook names %s: %q", egress.Flag, said)}
	}
	return nil
}
