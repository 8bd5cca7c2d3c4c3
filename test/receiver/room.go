package receiver

import (
	"bytes"
	"cmp"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"
)

// Service is a chat service, by the name that people call it.
type Service string

// The services whose rooms a receiver can have.
const (
	DingTalk Service = "DingTalk"
	Feishu   Service = "Feishu"
	WeCom    Service = "WeCom"
	Slack    Service = "Slack"
	Teams    Service = "Teams"
	Discord  Service = "Discord"
)

// Services returns all of them.
func Services() []Service { return []Service{DingTalk, Feishu, WeCom, Slack, Teams, Discord} }

// RoomOptions say what kind of room is opened. The zero value has a key of its own and asks
// for no signature.
type RoomOptions struct {
	// Key is the credential in the address. Default: a random one.
	Key string
	// Secret is the key that requests have to be signed with, where the service knows such
	// a thing (DingTalk, Feishu). Empty: signatures are not looked at.
	Secret string
	// Keyword has to be in each message, where the service knows such a thing (DingTalk,
	// Feishu).
	Keyword string
	// Closed: the robot was turned off, or the channel archived.
	Closed bool

	// Limit is how many requests may come within Span. Default: that of the service.
	Limit int
	Span  time.Duration
	// Ban is how long a service that bans answers nothing else once there were more.
	// Default: that of the service.
	Ban time.Duration
}

// Message is one that a room took.
type Message struct {
	Time time.Time
	// Body as it was posted.
	Body []byte
	// Mentions are whom the service would call by it.
	Mentions []string
}

// Room is a room of a chat service, with one robot that messages are posted by. It answers
// as its service does, as far as that is known: each request is held against the limit, by
// its arrival, then against what the service asks for. What it takes is kept.
//
// It shares no code with the senders that it is for, since it is there to judge them.
type Room struct {
	service  *service
	key, url string

	mu       sync.Mutex // guards what follows
	options  RoomOptions
	windows  []window
	banned   time.Time
	messages []Message
	refusal  Refusal
	requests int
	tooFast  int
	bans     int
	dropped  int
}

// service is how a service behaves.
type service struct {
	name Service
	// prefix is what the path of each address begins with, address the path and query for a
	// key, and keyOf the key of a request.
	prefix  string
	address func(key string) string
	keyOf   func(*http.Request) string

	limits []limit
	// ban: more than the limit is punished.
	ban time.Duration
	// tooFast answers more than the limit, which may come again after a wait.
	tooFast func(l limit, wait time.Duration) Answer
	// unknown answers to a key that no room has, and closed to what comes to a closed room.
	unknown, closed Answer
	// check judges a request.
	check func(p posted, o RoomOptions) outcome
}

// limit is how many requests may come within a span.
type limit struct {
	requests int
	span     time.Duration
}

// window is what came within the span of a limit.
type window struct {
	limit
	came []time.Time
}

// posted is a request to a room.
type posted struct {
	*http.Request
	body []byte
	at   time.Time
}

// outcome is what a service does with a request. Without a message there is none in the
// room, whatever the answer says.
type outcome struct {
	answer  Answer
	message bool
	// mentions are whom the message calls.
	mentions []string
}

func refuse(a Answer) outcome { return outcome{answer: a} }

func keep(a Answer, mentions []string) outcome {
	return outcome{answer: a, message: true, mentions: mentions}
}

// says is an answer in JSON. A 2xx that refuses is not counted as accepted.
func says(status int, body string, refuses bool) Answer {
	return Answer{
		Status: status, Header: http.Header{"Content-Type": {"application/json; charset=utf-8"}}, Body: body,
		Refuses: refuses && status < 300,
	}
}

// rooms are those of a receiver.
type rooms struct {
	mu  sync.Mutex
	all []*Room
}

var services = map[Service]*service{
	DingTalk: &dingTalk, Feishu: &feishu, WeCom: &weCom, Slack: &slack, Teams: &teams, Discord: &discord,
}

// Open opens a room of a service, at an address of the service's form. A script for its path
// goes before it.
func (r *Receiver) Open(of Service, o RoomOptions) *Room {
	s := services[of]
	o.Key = cmp.Or(o.Key, rand.Text())
	room := &Room{service: s, key: o.Key, url: r.URL(s.address(o.Key))}
	room.set(o)
	r.rooms.mu.Lock()
	defer r.rooms.mu.Unlock()
	r.rooms.all = append(r.rooms.all, room)
	return room
}

// Rooms are those that were opened.
func (r *Receiver) Rooms() []*Room {
	r.rooms.mu.Lock()
	defer r.rooms.mu.Unlock()
	return slices.Clone(r.rooms.all)
}

// answer lets the room that a request is for answer; ok is false where the path is no
// room's.
func (r *rooms) answer(p posted) (a Answer, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var at *service
	for _, room := range r.all {
		if !strings.HasPrefix(p.URL.Path, room.service.prefix) {
			continue
		}
		if at = room.service; at.keyOf(p.Request) == room.key {
			return room.answer(p), true
		}
	}
	if at == nil {
		return Answer{}, false
	}
	return at.unknown, true
}

// Service is whose room it is.
func (r *Room) Service() Service { return r.service.name }

// URL is the address of the robot: a credential.
func (r *Room) URL() string { return r.url }

// Key is the secret part of the address.
func (r *Room) Key() string { return r.key }

// Change changes what kind of room it is, but for its key. What came so far counts no more.
func (r *Room) Change(change func(*RoomOptions)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	o := r.options
	change(&o)
	r.set(o)
}

func (r *Room) set(o RoomOptions) {
	limits := r.service.limits
	if o.Limit > 0 || o.Span > 0 {
		limits = []limit{{cmp.Or(o.Limit, limits[0].requests), cmp.Or(o.Span, limits[0].span)}}
	}
	r.options, r.windows, r.banned = o, nil, time.Time{}
	for _, l := range limits {
		r.windows = append(r.windows, window{limit: l})
	}
}

// Messages are what the room took, in the order in which they came.
func (r *Room) Messages() []Message {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.messages)
}

// Refusal is an answer of a room that was no success.
type Refusal struct {
	Time   time.Time
	Status int
	Body   string
}

// LastRefusal is the latest answer that was no success; its time is zero where there was none.
func (r *Room) LastRefusal() Refusal {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.refusal
}

// RoomTally sums up what came to a room.
type RoomTally struct {
	Requests, Messages int
	// TooFast is how many requests were over the limit, or came during a ban, and Bans how
	// often one began.
	TooFast, Bans int
	// Dropped is how many requests were answered with a success, and led to no message.
	Dropped int
}

// Tally sums up what came.
func (r *Room) Tally() RoomTally {
	r.mu.Lock()
	defer r.mu.Unlock()
	return RoomTally{Requests: r.requests, Messages: len(r.messages), TooFast: r.tooFast, Bans: r.bans, Dropped: r.dropped}
}

func (r *Room) answer(p posted) Answer {
	r.mu.Lock()
	defer r.mu.Unlock()
	a := r.judge(p)
	if !a.Accepts() {
		r.refusal = Refusal{Time: p.at, Status: a.status(), Body: a.Body}
	}
	return a
}

func (r *Room) judge(p posted) Answer {
	r.requests++
	if l, wait, over := r.enter(p.at); over {
		r.tooFast++
		return r.service.tooFast(l, wait)
	}
	if r.options.Closed {
		return r.service.closed
	}
	is := r.service.check(p, r.options)
	switch {
	case is.message:
		r.messages = append(r.messages, Message{Time: p.at, Body: bytes.Clone(p.body), Mentions: is.mentions})
	case is.answer.Accepts():
		r.dropped++
		is.answer.Refuses = true
	}
	return is.answer
}

// enter holds a request against the limits. What is over one of them counts for none, but
// begins a ban where the service bans.
func (r *Room) enter(at time.Time) (of limit, wait time.Duration, over bool) {
	if at.Before(r.banned) {
		return r.windows[0].limit, r.banned.Sub(at), true
	}
	for i := range r.windows {
		w := &r.windows[i]
		w.came = slices.DeleteFunc(w.came, func(t time.Time) bool { return at.Sub(t) >= w.span })
		if len(w.came) < w.requests {
			continue
		}
		wait = w.came[0].Add(w.span).Sub(at)
		if ban := r.service.ban; ban > 0 {
			wait = cmp.Or(r.options.Ban, ban)
			r.banned = at.Add(wait)
			r.bans++
		}
		return w.limit, wait, true
	}
	for i := range r.windows {
		r.windows[i].came = append(r.windows[i].came, at)
	}
	return limit{}, 0, false
}

// isJSON tells whether a request says that its body is JSON in UTF-8.
func isJSON(r *http.Request) bool {
	kind, parameters, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	charset := parameters["charset"]
	return err == nil && kind == "application/json" && (charset == "" || strings.EqualFold(charset, "utf-8"))
}

// read reads a body that has nothing but what it may have. The services are not as strict;
// what they would pass over in silence is a mistake of the sender all the same.
func read(body []byte, into any) error {
	if !utf8.Valid(body) {
		return errors.New("not UTF-8")
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("more than one value")
	}
	return nil
}

// within tells whether a signature's time is not further away than an hour.
func within(at, signed time.Time) bool { return at.Sub(signed).Abs() <= time.Hour }

// quote is a text in JSON.
func quote(format string, args ...any) string {
	text, _ := json.Marshal(fmt.Sprintf(format, args...)) //nolint:errchkjson // texts can be written as JSON
	return string(text)
}
