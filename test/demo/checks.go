package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/horizoncd/webhook-operator/test/receiver"
)

const (
	contentType  = "application/json;charset=utf-8"
	secretHeader = "X-Horizon-Webhook-Secret"
)

// documented are the event types of Horizon's manual with the body that each
// arrives with: those of events.yaml, in its order.
var documented = []struct{ eventType, body string }{
	{"applications_created", application},
	{"application_transferred", application},
	{"cluster_created", cluster},
	{"clusters_builddeployed", cluster},
	{"clusters_deployed", cluster},
	{"clusters_rollbacked", cluster},
	{"clusters_freed", cluster},
	{"cluster_deleted", cluster},
	{"application_deleted", application},
}

// The bodies, save the number and the type of the event.
const (
	application = `{"eventID":%d,"webhookID":1,"application":{"id":1,"name":"test","priority":"P0"},` +
		`"eventType":"%s","user":{"id":1,"name":"test","email":"test@noreply.com"}}`
	cluster = `{"eventID":%d,"webhookID":1,"cluster":{"id":61400,"name":"web-prod","applicationName":"web","env":"online"},` +
		`"eventType":"%s","user":{"id":1,"name":"test","email":"test@noreply.com"}}`
)

// checkDocumented checks that each event type arrived once, byte for byte as
// Horizon sends it. Order is not promised.
func (t *teller) checkDocumented() {
	byBody := map[string][]receiver.Arrival{}
	for _, a := range t.team.Arrivals("/everything") {
		byBody[string(a.Body)] = append(byBody[string(a.Body)], a)
	}
	var signed error
	for i, want := range documented {
		arrived := byBody[fmt.Sprintf(want.body, i+1, want.eventType)]
		t.check(len(arrived) == 1 &&
			arrived[0].Method == "POST" &&
			arrived[0].Header.Get("Content-Type") == contentType &&
			arrived[0].Header.Get(secretHeader) == diaryToken,
			"%-23s arrived once, with Horizon's headers and, byte for byte, its body", want.eventType)
		for _, a := range arrived {
			if err := verify(diaryToken, a); err != nil {
				signed = fmt.Errorf("%s: %w", want.eventType, err)
			}
		}
	}
	t.checkThat(signed, "each has a signature that Standard Webhooks' verifier accepts")
}

// checkTriggers checks that the others got what they asked for and no more.
func (t *teller) checkTriggers() {
	for _, want := range []struct {
		webhook  string
		arrivals []receiver.Arrival
		types    []string
		token    string
	}{
		{"smoke-tests", t.team.Arrivals("/smoke"), []string{"clusters_builddeployed", "clusters_deployed"}, smokeToken},
		{"clean-up", t.secure.Arrivals("/clean-up"), []string{"cluster_deleted", "clusters_freed"}, ""},
	} {
		var got []string
		tokens := true
		for _, a := range want.arrivals {
			_, rest, _ := strings.Cut(string(a.Body), `"eventType":"`)
			eventType, _, _ := strings.Cut(rest, `"`)
			got = append(got, eventType)
			tokens = tokens && a.Header.Get(secretHeader) == want.token
		}
		slices.Sort(got)
		how := "without a token, over https"
		if want.token != "" {
			how = "with its own token"
		}
		t.check(slices.Equal(got, want.types) && tokens, "%s got what it asked for, %s: %s", want.webhook, how, strings.Join(got, ", "))
	}
}

// checkRecords checks what is stored.
func (t *teller) checkRecords(ctx context.Context) error {
	records, err := t.quietly(ctx, "kubectl get webhookdeliveries,webhookevents,webhooks -A -o yaml")
	if err != nil {
		return fmt.Errorf("reading all records: %w\n%s", err, records)
	}
	n := strings.Count(records, "kind: WebhookDelivery\n")
	want := 2*len(documented) + 2 + 2
	t.check(n == want, "%d events for those who follow them made %d records, each stored once", len(documented), n)
	t.check(!strings.Contains(records, diaryToken) && !strings.Contains(records, smokeToken), "no token is in any of them")
	return nil
}
