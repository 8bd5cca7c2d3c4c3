package main

import (
	"context"
	"fmt"
	"net"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/test/nameserver"
	"github.com/horizoncd/webhook-operator/test/receiver"
)

// Ways in which a delivery to a name ends, by the reason of its condition.
const (
	arrives    = v1alpha1.ReasonAccepted
	isDenied   = v1alpha1.ReasonEgressDenied
	isNotFound = v1alpha1.ReasonRetriesExhausted
)

// names lead to an address that may not be reached, the first time or later, alone or
// beside one that may.
var names = []struct {
	what, host string
	leads      []nameserver.Answer
	ends       [2]string // with the first event, and with the second one
}{
	{"denied", "denied.test", []nameserver.Answer{nameserver.To("127.0.0.2")}, [2]string{isDenied, isDenied}},
	{"two denied", "two.test", []nameserver.Answer{nameserver.To("127.0.0.2", "127.0.0.3")}, [2]string{isDenied, isDenied}},
	{"both families", "both.test", []nameserver.Answer{nameserver.To("127.0.0.2", "::1")}, [2]string{isDenied, isDenied}},
	{"IPv6", "six.test", []nameserver.Answer{nameserver.To("::1")}, [2]string{isDenied, isDenied}},
	{"IPv4 in IPv6", "mapped.test", []nameserver.Answer{nameserver.To("::ffff:127.0.0.2")}, [2]string{isDenied, isDenied}},
	{"NAT64", "nat64.test", []nameserver.Answer{nameserver.To("64:ff9b::7f00:2")}, [2]string{isDenied, isDenied}},
	{"metadata", "metadata.test", []nameserver.Answer{nameserver.To("169.254.169.254")}, [2]string{isDenied, isDenied}},
	{"nothing", "zero.test", []nameserver.Answer{nameserver.To("0.0.0.0")}, [2]string{isDenied, isDenied}},
	{"allowed and denied", "last.test", []nameserver.Answer{nameserver.To(allowed, "127.0.0.2")}, [2]string{arrives, arrives}},
	{"denied and allowed", "first.test", []nameserver.Answer{nameserver.To("127.0.0.2", allowed)}, [2]string{arrives, arrives}},
	{"rebinding", "rebinds.test", []nameserver.Answer{nameserver.To(allowed), nameserver.To("127.0.0.2")}, [2]string{arrives, isDenied}},
	{"rebinding back", "back.test", []nameserver.Answer{nameserver.To("127.0.0.2"), nameserver.To(allowed)}, [2]string{isDenied, arrives}},
	{
		"alias of localhost", "alias.test",
		[]nameserver.Answer{{Alias: "localhost", Addresses: nameserver.To("127.0.0.2").Addresses}}, [2]string{isDenied, isDenied},
	},
	{
		"alias of localhost in IPv6", "alias6.test",
		[]nameserver.Answer{{Alias: "localhost", Addresses: nameserver.To("::1").Addresses}}, [2]string{isDenied, isDenied},
	},
	{"alias of localhost, without addresses", "bare.test", []nameserver.Answer{{Alias: "localhost"}}, [2]string{isNotFound, isNotFound}},
	{"no addresses", "empty.test", []nameserver.Answer{{}}, [2]string{isNotFound, isNotFound}},
	{"dot at the end", "dot.test.", []nameserver.Answer{nameserver.To("127.0.0.2")}, [2]string{isDenied, isDenied}},
	{"mixed case", "CaSe.TeSt", []nameserver.Answer{nameserver.To("127.0.0.2")}, [2]string{isDenied, isDenied}},
	{"beyond ASCII", "xn--bcher-kva.test", []nameserver.Answer{nameserver.To("127.0.0.2")}, [2]string{isDenied, isDenied}},
}

// domains is what the nameserver of this program answers.
func domains() map[string][]nameserver.Answer {
	all := map[string][]nameserver.Answer{}
	for _, name := range names {
		all[strings.ToLower(strings.TrimSuffix(name.host, "."))] = name.leads
	}
	return all
}

// playNames lets two things happen to Webhooks of all names, and returns how many names
// did not lead where nobody may go.
func (t *session) playNames(ctx context.Context, inside *receiver.Raw) (int, error) {
	namespace, err := t.namespace(ctx, "names")
	if err != nil {
		return 0, err
	}
	_, port, err := net.SplitHostPort(inside.Addr())
	if err != nil {
		return 0, err
	}
	of := func(i int) string { return fmt.Sprintf("name-%03d", i) }
	for i, name := range names {
		if err := t.client.Create(ctx, webhook(namespace, of(i), "http://"+name.host+":"+port+"/")); err != nil {
			return 0, err
		}
	}
	problems := make([][]string, len(names))
	arrived := 0
	for round, event := range []string{"horizon-1", "horizon-2"} {
		if err := t.event(ctx, namespace, event); err != nil {
			return 0, err
		}
		records, err := t.settled(ctx, namespace, event, len(names))
		if err != nil {
			return 0, err
		}
		for i, name := range names {
			if name.ends[round] == arrives {
				arrived++
			}
			reason, why := ending(records[of(i)])
			if reason != name.ends[round] {
				problems[i] = append(problems[i], fmt.Sprintf("%s ended as %s: %s; want %s", event, reason, why, name.ends[round]))
			}
		}
	}
	stood := 0
	for i, name := range names {
		if len(problems[i]) == 0 {
			stood++
		}
		t.judge("name "+name.what, problems[i])
	}
	if got := inside.Connections(); got != arrived {
		t.judge("names", []string{fmt.Sprintf("%d connections to the address that may be reached, want %d", got, arrived)})
	}
	return stood, nil
}

// ending is how a delivery has ended, and what its last attempt says.
func ending(d *v1alpha1.WebhookDelivery) (reason, why string) {
	if d == nil || len(d.Status.History) == 0 {
		return "", "no record of an attempt that was the last one"
	}
	if c := meta.FindStatusCondition(d.Status.Conditions, v1alpha1.ConditionDelivered); c != nil {
		reason = c.Reason
	}
	return reason, d.Status.History[0].Error
}
