package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/delivery"
	"github.com/horizoncd/webhook-operator/internal/insight"
)

// page prints all of a delivery.
func (l *logOne) page(answer *insight.Delivery) error {
	now, d := l.now(), answer.Object
	var b strings.Builder
	b.WriteString(l.verdict(answer.Finding, answer.Notes))
	b.WriteByte('\n')
	writeFacts(&b, d, now)
	b.WriteString("\nAttempts, the latest first:\n")
	if err := writeAttempts(&b, d, l.width); err != nil {
		return err
	}
	request, response := d.Status.Request, d.Status.Response
	if request != nil {
		writeSection(&b, "Request headers", printable(request.Headers), "")
	}
	l.writeBodies(&b, d)
	switch {
	case response != nil:
		writeSection(&b, "Response headers", printable(response.Headers), cutNote(response.HeadersTruncated, "8 KiB"))
		writeSection(&b, "Response body", l.pretty(response.Body), cutNote(response.BodyTruncated, "16 KiB"))
	case request != nil:
		b.WriteString("\nThere was no answer.\n")
	}
	if again := "kubectl horizon resend " + d.Name; !strings.Contains(answer.Help, again) {
		fmt.Fprintf(&b, "\nTo send it again: %s -n %s\n", oneLine(again), oneLine(d.Namespace))
	}
	_, err := io.WriteString(l.Out, b.String())
	return err
}

// writeBodies writes the body that was sent last, and the event where that is something else,
// or nothing was sent.
func (l *logOne) writeBodies(b *strings.Builder, d *v1alpha1.WebhookDelivery) {
	sent, err := insight.SentBody(d)
	switch {
	case err != nil:
		writeSection(b, "Event, of which the body is made", l.pretty(d.Spec.Payload), "")
		return
	case sent.Cut && sent.Text == "":
		writeSection(b, "Request body", "(left out: the API server refused the record with it)", "")
	default:
		note := ""
		if sent.Cut {
			note = " (cut at 16 KiB)"
		}
		writeSection(b, "Request body", l.pretty(sent.Text), note)
	}
	if sent.Made {
		writeSection(b, "Event, of which the body was made", l.pretty(d.Spec.Payload), "")
	}
}

// verdict says what became of a delivery, and what helps.
func (p *plugin) verdict(f insight.Finding, notes []string) string {
	t := &teller{width: p.width}
	t.verdict(f)
	t.notes(notes)
	return t.String()
}

// writeFacts says whose delivery it is and of what.
func writeFacts(out io.Writer, d *v1alpha1.WebhookDelivery, now time.Time) {
	fact := func(name, value string) {
		if value != "" {
			fmt.Fprintf(out, "%-12s %s\n", name+":", oneLine(value))
		}
	}
	event := d.Spec.EventRef.Name
	if d.Spec.EventRef.Namespace != d.Namespace {
		event += " in the namespace " + d.Spec.EventRef.Namespace
	}
	fact("Delivery", d.Name)
	fact("Webhook", d.Spec.WebhookRef.Name)
	fact("Event", event)
	fact("Type", d.Spec.EventType)
	fact("Resource", strings.TrimSpace(d.Spec.ResourceName+" "+parenthesized(d.Spec.ResourcePath)))
	if !d.Spec.Time.IsZero() {
		fact("Happened", stamp(d.Spec.Time.Time, now))
	}
	if d.Status.Request != nil {
		fact("Sent to", d.Status.Request.URL)
	}
	fact("webhook-id", delivery.MessageID(d.Spec.EventRef.UID, d.Spec.WebhookRef.UID))
	fact("Resend", insight.ResendOf(d, now))
}

func parenthesized(s string) string {
	if s == "" {
		return ""
	}
	return "(" + s + ")"
}

// stamp is a time with how long ago it was.
func stamp(at, now time.Time) string {
	return at.UTC().Format(time.RFC3339) + ", " + lasting(now.Sub(at)) + " ago"
}

// writeAttempts lists the attempts, the latest first.
func writeAttempts(out io.Writer, d *v1alpha1.WebhookDelivery, terminal int) error {
	history := d.Status.History
	if len(history) == 0 {
		_, err := io.WriteString(out, "  none yet\n")
		return err
	}
	if terminal > 0 {
		terminal -= len(margin)
	}
	g := &grid{columns: []column{{title: "TIME"}, {title: "CAUSE"}, {title: "CODE"}, {title: "MS"}, {title: "ERROR"}}}
	for _, a := range history {
		code := ""
		if a.StatusCode != 0 {
			code = strconv.Itoa(int(a.StatusCode))
		}
		g.add(a.Time.UTC().Format("2006-01-02T15:04:05.000Z"), string(a.Cause), dash(code), strconv.Itoa(int(a.Milliseconds)), dash(a.Error))
	}
	g.wrapLast(terminal)
	var b bytes.Buffer
	if err := g.print(&b, terminal); err != nil {
		return err
	}
	if _, err := io.WriteString(out, indent(b.String())); err != nil {
		return err
	}
	if left := int(d.Status.Attempts) - len(history); left > 0 {
		_, err := fmt.Fprintf(out, "%sand %s before\n", margin, count(left, "attempt", "attempts"))
		return err
	}
	return nil
}

// longestWrap bounds how many lines a cell takes.
const longestWrap = 8

// wrapLast breaks the last column into lines where it is wider than the terminal, and says
// nothing where that has no room for it.
func (g *grid) wrapLast(terminal int) {
	last := len(g.columns) - 1
	widths := g.widths(0)
	room := terminal - totalWidth(widths[:last]) - gap
	if terminal <= 0 || room < 2*minFlexible {
		return
	}
	var rows [][]string
	for _, row := range g.rows {
		lines := wrap(row[last], room)
		if len(lines) > longestWrap {
			lines = append(lines[:longestWrap-1], cutWidth(lines[longestWrap-1]+"…", room))
		}
		row[last] = lines[0]
		rows = append(rows, row)
		for _, line := range lines[1:] {
			next := make([]string, len(row))
			next[last] = line
			rows = append(rows, next)
		}
	}
	g.rows = rows
}

// writeSection writes a part of the exchange, indented, with a note after its title.
func writeSection(out io.Writer, title, text, note string) {
	fmt.Fprintf(out, "\n%s%s:\n", title, note)
	text = strings.TrimRight(text, "\n")
	if text == "" {
		text = "(empty)"
	}
	fmt.Fprintln(out, indent(text))
}

func cutNote(cut bool, limit string) string {
	if !cut {
		return ""
	}
	return " (cut: at most " + limit + " are kept, and no more than could be read)"
}

// pretty is a body to be read: JSON indented unless --raw is given, anything else as it is,
// and in both cases escaped.
func (l *logOne) pretty(body string) string {
	if !l.raw {
		var b bytes.Buffer
		if json.Indent(&b, []byte(body), "", "  ") == nil {
			body = b.String()
		}
	}
	return printable(body)
}
