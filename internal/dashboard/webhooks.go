package dashboard

import (
	"slices"
	"strconv"
	"time"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/format"
	"github.com/horizoncd/webhook-operator/internal/insight"
	"github.com/horizoncd/webhook-operator/internal/table"
)

// syncPatience is how long the list of Webhooks waits for the deliveries, of which it shows
// a line only: what is not there yet comes with the next version of the page.
const syncPatience = 300 * time.Millisecond

// webhooksPage is the list of Webhooks.
type webhooksPage struct {
	Webhooks []webhookRow
	// Synced: the deliveries are known, so that one without a line has none.
	Synced bool
}

// webhookRow is a Webhook in the list.
type webhookRow struct {
	*v1alpha1.Webhook
	insight.Finding
	Address string
	// Secret and SSL say whether there is a secret, and whether certificates are checked.
	Secret, SSL bool
	// Room is the service whose room it sends to, and Limit its rate limit; either may be empty.
	Room, Limit string
	Spark       spark
	Last        *v1alpha1.LastDelivery
}

// showWebhooks is the page that lists the Webhooks of a namespace.
func showWebhooks(q *request) (*view, error) {
	if err := q.store.wait(q.Context(), partWebhooks); err != nil {
		return nil, err
	}
	q.patient(partDeliveries)
	page := webhooksPage{Synced: q.store.deliveriesSynced()}
	for _, w := range q.store.sortedWebhooks() {
		page.Webhooks = append(page.Webhooks, q.row(w, q.store.spark(w.Name)))
	}
	if len(page.Webhooks) == 0 && q.cluster.rights.lack(q.Context(), q.namespace) {
		return nil, noNamespace(q.namespace)
	}
	return &view{template: "webhooks", title: "Webhooks", tab: "webhooks", data: page}, nil
}

func (q *request) row(w *v1alpha1.Webhook, line spark) webhookRow {
	room := ""
	if f := format.Of(w); f.Room {
		room = f.Title
	}
	return webhookRow{
		Room: room, Limit: format.RateLimitOf(w).String(),
		Webhook: w,
		Finding: insight.OfWebhook(w, q.now)[0],
		Address: address(w),
		Secret:  w.Spec.SecretRef != nil || w.Spec.SigningSecretRef != nil,
		SSL:     w.Spec.SSLVerifyEnabled == nil || *w.Spec.SSLVerifyEnabled,
		Spark:   line,
		Last:    w.Status.LastDelivery,
	}
}

// SignedBy says how requests to a room prove who sends them; empty for other receivers.
func (r webhookRow) SignedBy() string { return insight.SignedBy(r.Webhook) }

// address is where a Webhook sends to: its URL, or the Secret that has it.
func address(w *v1alpha1.Webhook) string {
	if ref := w.Spec.URLSecretRef; ref != nil {
		return "[redacted], in the Secret " + ref.Name
	}
	return w.Spec.URL
}

// sparkLength is how many deliveries a line of them shows.
const sparkLength = 30

// spark is the line of a Webhook's latest deliveries.
type spark struct {
	// Bars are the latest, the oldest first.
	Bars []bar
	// Succeeded, Failed and Waiting count all that are kept.
	Succeeded, Failed, Waiting int
}

// bar is a delivery in the line.
type bar struct {
	Tone string
	// X is its place, and Height how long it took, on a logarithmic scale.
	X, Y, Height int
}

// Rate is the share of deliveries that succeeded, in percent, of those that ended; empty
// where none has.
func (s spark) Rate() string {
	ended := s.Succeeded + s.Failed
	switch {
	case ended == 0:
		return ""
	case s.Failed == 0:
		return "100 %"
	}
	// All but a few of many are not all.
	tenths := min(1000*s.Succeeded/ended, 999)
	return strconv.FormatFloat(float64(tenths)/10, 'f', 1, 64) + " %"
}

// Words says what the line shows.
func (s spark) Words() string {
	good, bad, busy := 0, 0, 0
	for _, b := range s.Bars {
		switch b.Tone {
		case "good":
			good++
		case "bad":
			bad++
		default:
			busy++
		}
	}
	text := "Of the latest " + count(len(s.Bars), "delivery", "deliveries") + " " + strconv.Itoa(good) + " succeeded, " + strconv.Itoa(bad) + " failed"
	if busy > 0 {
		text += ", " + strconv.Itoa(busy) + " waiting"
	}
	return text
}

const (
	sparkHeight = 20
	sparkStep   = 4
)

// tally gathers what a line of deliveries shows.
type tally struct {
	spark
	latest table.Newest
}

func newTally() *tally { return &tally{latest: table.Newest{Limit: sparkLength}} }

func (t *tally) add(row *table.Row) {
	switch v1alpha1.DeliveryResult(row.Cells[table.ColumnResult]) {
	case v1alpha1.DeliverySucceeded:
		t.Succeeded++
	case v1alpha1.DeliveryFailed:
		t.Failed++
	case v1alpha1.DeliveryWaiting:
		t.Waiting++
	}
	t.latest.Add(row)
}

// line draws the latest deliveries.
func (t *tally) line() spark {
	line := t.spark
	rows := t.latest.Sorted()
	slices.Reverse(rows)
	for i, row := range rows {
		b := bar{Tone: tone(row.Cells[table.ColumnResult]), X: i * sparkStep, Height: 4}
		if ms, err := strconv.Atoi(row.Cells[table.ColumnMilliseconds]); err == nil {
			for limit := 2; ms >= limit && b.Height < sparkHeight; limit *= 4 {
				b.Height += 2
			}
		}
		b.Y = sparkHeight - b.Height
		line.Bars = append(line.Bars, b)
	}
	return line
}

// spark draws the latest deliveries of a Webhook that are kept.
func (s *store) spark(webhook string) spark {
	t := newTally()
	s.deliveriesOf(webhook, t.add)
	return t.line()
}

// patient waits a little for a part that a page can do without.
func (q *request) patient(part int) {
	q.store.begin(part)
	timer := time.NewTimer(syncPatience)
	defer timer.Stop()
	select {
	case <-q.store.parts[part].ready:
	case <-timer.C:
	case <-q.Context().Done():
	}
}
