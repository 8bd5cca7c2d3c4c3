package bridge

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/horizoncd/webhook-operator/internal/payload"
)

const (
	// Path is where Horizon posts to.
	Path = "/horizon"
	// SecretHeader is what Horizon sends a webhook's secret in.
	SecretHeader = "X-Horizon-Webhook-Secret"

	// maxBody bounds a body, in bytes. The largest that Horizon sends has some 35 kB.
	maxBody = 1 << 20
	// bodyTimeout bounds how long one may take to come.
	bodyTimeout = 10 * time.Second
	// requestsAtOnce bounds how many bodies are in memory. Horizon sends one at a time for
	// each of its webhooks.
	requestsAtOnce = 32
	// turnTimeout is how long a request waits for its turn.
	turnTimeout = 5 * time.Second
	// pathPatience bounds the look-up of a path, and requestPatience all tries to create the
	// event after it.
	pathPatience    = 2900 * time.Millisecond
	requestPatience = 20 * time.Second
	// answerPatience bounds all of it, whoever else works on the same event: Horizon waits
	// 30 s for an answer.
	answerPatience = 26 * time.Second
	// answerTimeout bounds a request as a whole.
	answerTimeout = time.Minute
)

// answer is the body of an answer, which Horizon keeps in its log.
type answer struct {
	// Event is the namespace and the name of the event in store.
	Event string `json:"event,omitempty"`
	Error string `json:"error,omitempty"`
}

// Handler serves Horizon's requests.
func (b *Bridge) Handler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		began := b.clock.Now()
		code, a := b.answer(w, r)
		if code >= http.StatusBadRequest && code != http.StatusServiceUnavailable && code != http.StatusConflict && code != http.StatusUnprocessableEntity {
			// Whatever else comes on this connection is not read.
			w.Header().Set("Connection", "close")
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(code)
		_ = json.NewEncoder(w).Encode(a)
		b.metrics.requests.WithLabelValues(strconv.Itoa(code)).Inc()
		if code != http.StatusUnauthorized && code != http.StatusNotFound {
			b.metrics.answers.Observe(b.clock.Since(began).Seconds())
		}
	})
}

// answer works on a request. Nothing of its body is read before its secret is known.
func (b *Bridge) answer(w http.ResponseWriter, r *http.Request) (int, answer) {
	switch {
	case r.URL.Path != Path:
		return http.StatusNotFound, answer{Error: "Horizon posts to " + Path}
	case r.Method != http.MethodPost:
		w.Header().Set("Allow", http.MethodPost)
		return http.StatusMethodNotAllowed, answer{Error: "Horizon posts"}
	case !b.authentic(r):
		b.quiet.Info("secret", "Refused a request without the right secret", "from", r.RemoteAddr, "given", r.Header.Get(SecretHeader) != "")
		return http.StatusUnauthorized, answer{Error: SecretHeader + " is missing or wrong"}
	case r.ContentLength > maxBody:
		return http.StatusRequestEntityTooLarge, answer{Error: tooLarge}
	case !b.loaded.Load():
		return http.StatusServiceUnavailable, answer{Error: "the bridge is starting"}
	}
	ctx, cancel := context.WithTimeout(r.Context(), answerPatience)
	defer cancel()
	select {
	case b.turns <- struct{}{}:
		defer func() { <-b.turns }()
	case <-r.Context().Done():
		return http.StatusServiceUnavailable, answer{Error: "the request has ended"}
	case <-b.clock.After(turnTimeout):
		return http.StatusServiceUnavailable, answer{Error: fmt.Sprintf("%d requests are under way", requestsAtOnce)}
	}
	body, code, problem := readBody(w, r)
	if problem != "" {
		return code, answer{Error: problem}
	}
	p, err := payload.Parse(body)
	if err != nil {
		b.quiet.Error("body", err, "Refused a body")
		b.metrics.events.WithLabelValues(fromRequest, string(invalid)).Inc()
		if _, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
			return http.StatusUnprocessableEntity, answer{Error: err.Error()}
		}
		return http.StatusBadRequest, answer{Error: err.Error()}
	}
	return statusOf(b.place(ctx, p, fromRequest, b.clock.Now(), requestPatience))
}

const tooLarge = "the body has more than 1 MiB"

func (b *Bridge) authentic(r *http.Request) bool {
	values := r.Header.Values(SecretHeader)
	return len(values) == 1 && b.secrets().Match(values[0])
}

func readBody(w http.ResponseWriter, r *http.Request) (body []byte, code int, problem string) {
	if err := http.NewResponseController(w).SetReadDeadline(time.Now().Add(bodyTimeout)); err != nil {
		return nil, http.StatusInternalServerError, err.Error()
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err == nil {
		return body, 0, ""
	}
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return nil, http.StatusRequestEntityTooLarge, tooLarge
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return nil, http.StatusRequestTimeout, fmt.Sprintf("the body did not come within %s", bodyTimeout)
	}
	return nil, http.StatusBadRequest, "the body could not be read: " + err.Error()
}

// statusOf returns the answer that tells what became of an event.
func statusOf(o outcome) (int, answer) {
	switch o.result {
	case created:
		return http.StatusCreated, answer{Event: o.key.String()}
	case existing:
		return http.StatusOK, answer{Event: o.key.String()}
	case invalid:
		return http.StatusUnprocessableEntity, answer{Error: o.reason}
	case conflict:
		return http.StatusConflict, answer{Error: o.reason}
	default:
		return http.StatusServiceUnavailable, answer{Error: strings.ToValidUTF8(o.reason, "")}
	}
}

// Where events come from, as labels of a metric.
const (
	fromRequest = "request"
	fromCatchUp = "catch_up"
)

// place creates the event of a body, which came, or was logged, at a time.
func (b *Bridge) place(ctx context.Context, p payload.Payload, source string, at time.Time, patience time.Duration) outcome {
	o := b.tryToPlace(ctx, p, source, at, patience)
	b.metrics.events.WithLabelValues(source, string(o.result)).Inc()
	values := []any{"eventID", p.Event.EventID, "type", p.Event.EventType, "source", source, "event", o.key.String(), "reason", o.reason}
	switch o.result {
	case created, existing:
		b.memory.see(p.Event.EventID)
		b.log.V(1).Info("Stored an event", "eventID", p.Event.EventID, "event", o.key.String(), "result", o.result, "source", source)
	case invalid:
		b.quiet.Info("invalid", "Refused an event that the API server never takes", values...)
	case conflict:
		b.quiet.Error("conflict", errors.New(o.reason), "Refused an event whose name belongs to another one", values...)
	case refused:
		b.metrics.refused.WithLabelValues(o.key.Namespace).Inc()
		b.quiet.Info("refused "+o.key.Namespace, "A namespace has refused an event; the catch-up tries again", values...)
	case unknownPath:
		b.quiet.Info("path", "Failed to look up where an event belongs; the catch-up tries again", values...)
	default:
		b.quiet.Info("unavailable", "Failed to store an event; the catch-up tries again", values...)
	}
	return o
}

func (b *Bridge) tryToPlace(ctx context.Context, p payload.Payload, source string, at time.Time, patience time.Duration) outcome {
	if p.Event.EventID < 1 {
		return outcome{result: invalid, reason: errNoEventID.Error()}
	}
	// A request and the catch-up may be about the same event, and not agree where it belongs.
	if err := b.busy.lock(ctx, p.Event.EventID); err != nil {
		return outcome{result: unavailable, reason: err.Error()}
	}
	defer b.busy.unlock(p.Event.EventID)
	age := freshTTL
	if source == fromRequest && b.memory.isNew(p.Event.EventID) {
		age = pathTTL // nobody else works on it
	}
	path, known, err := b.pathOf(ctx, p, age)
	if err != nil {
		return outcome{result: unknownPath, reason: err.Error()}
	}
	if seen, ok := b.memory.timeOf(p.Event.EventID); ok && seen.Before(at) {
		at = seen
	}
	routes := b.routes()
	namespace := routes.NamespaceOf(path)
	var others []string
	for _, other := range routes.Namespaces() {
		if other != namespace {
			others = append(others, other)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	o := b.writer.create(ctx, newEvent(b.prefix, namespace, path, at, p.Event), others)
	if o.result == created && !known {
		b.metrics.pathless.Inc()
		b.quiet.Info("pathless", "Stored an event without a path: Horizon has deleted what it is about before the bridge knew it",
			"event", o.key.String(), "type", p.Event.EventType)
	}
	return o
}

// pathOf returns the path of what an event is about, if anybody knows it.
func (b *Bridge) pathOf(ctx context.Context, p payload.Payload, age time.Duration) (path string, known bool, err error) {
	t, ok := thingOf(&p.Event)
	if !ok || b.paths == nil {
		return "", false, nil
	}
	ctx, cancel := context.WithTimeout(ctx, pathPatience)
	defer cancel()
	if path, known, err = b.paths.of(ctx, t, age); err != nil && b.catchUp.denied() {
		// Nothing would be tried again: a path that may be out of date is better.
		if path, ok := b.paths.remembered(t); ok {
			return path, true, nil
		}
	}
	return path, known, err
}

// exists tells whether there is an event of a number and a type. Without a type, that cannot
// be told.
func (b *Bridge) exists(ctx context.Context, eventID int64, eventType string) (bool, error) {
	if eventType == "" {
		return false, nil
	}
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	found, err := b.writer.find(ctx, Name(b.prefix, eventID), b.routes().Namespaces())
	if err != nil || found == nil {
		return false, err
	}
	return found.Spec.EventType == eventType, nil
}
