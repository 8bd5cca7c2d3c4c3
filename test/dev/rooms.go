package main

import (
	"embed"
	"errors"
	"fmt"
	"html/template"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/roomview"
	"github.com/horizoncd/webhook-operator/test/ports"
	"github.com/horizoncd/webhook-operator/test/receiver"
)

const (
	roomsAddress = "127.0.0.1:30082"
	roomsPath    = "/rooms"
	roomsDir     = "rooms"
	// robotKey is what the robots of DingTalk and Feishu want requests to be signed with.
	robotKey = "SEC-of-a-robot-in-dev"
	// shownMessages is how many of a room are on the page.
	shownMessages = 50
)

//go:embed rooms.html rooms.css rooms.js
var roomFiles embed.FS

var roomsPage = template.Must(template.New("rooms.html").Funcs(template.FuncMap{
	"clock": func(t time.Time) string { return t.Format("15:04:05") },
}).ParseFS(roomFiles, "rooms.html"))

// theirRooms are a room of each chat service, and the page that shows what came into them.
type theirRooms struct {
	receiver *receiver.Receiver
	all      []*receiver.Room
	dir      string // of their addresses and keys
	server   *http.Server
	url      string
}

// openRooms opens the rooms, writes their addresses and keys into files as people get them,
// and serves the page.
func openRooms(dir string, r *receiver.Receiver) (*theirRooms, error) {
	dir, err := filepath.Abs(filepath.Join(dir, roomsDir))
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	t := &theirRooms{receiver: r, dir: dir}
	for _, service := range receiver.Services() {
		o := receiver.RoomOptions{Key: "room-in-dev-" + nameOf(service)}
		if signs(service) {
			o.Secret = robotKey
			if err := os.WriteFile(filepath.Join(dir, nameOf(service)+".key"), []byte(o.Secret), 0o600); err != nil {
				return nil, err
			}
		}
		room := r.Open(service, o)
		if err := os.WriteFile(filepath.Join(dir, nameOf(service)+".url"), []byte(room.URL()), 0o600); err != nil {
			return nil, err
		}
		t.all = append(t.all, room)
	}
	l, err := net.Listen("tcp", roomsAddress)
	if errors.Is(err, syscall.EADDRINUSE) {
		l, err = ports.Others.Listen()
	}
	if err != nil {
		return nil, fmt.Errorf("serving the page of the rooms: %w", err)
	}
	t.url = "http://" + l.Addr().String() + roomsPath
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+roomsPath, t.page)
	mux.HandleFunc("GET "+roomsPath+"/changes", t.changes)
	mux.HandleFunc("GET /{file}", t.file)
	t.server = &http.Server{Handler: mux, ReadHeaderTimeout: time.Minute}
	go func() { _ = t.server.Serve(l) }()
	return t, nil
}

func (t *theirRooms) close() error { return t.server.Close() }

// nameOf is a service in file names and commands.
func nameOf(s receiver.Service) string { return strings.ToLower(string(s)) }

func signs(s receiver.Service) bool { return s == receiver.DingTalk || s == receiver.Feishu }

// roomOnPage is a room as the page shows it.
type roomOnPage struct {
	Service  receiver.Service
	Tally    receiver.RoomTally
	Refused  int
	Refusal  receiver.Refusal
	Messages []messageOnPage
}

type messageOnPage struct {
	Time time.Time
	View template.HTML
}

// page shows the rooms, or, for the script, what changes of the page.
func (t *theirRooms) page(w http.ResponseWriter, req *http.Request) {
	var rooms []roomOnPage
	for _, room := range t.all {
		on := roomOnPage{Service: room.Service(), Tally: room.Tally(), Refusal: room.LastRefusal()}
		on.Refused = on.Tally.Requests - on.Tally.Messages
		messages := room.Messages()
		for _, m := range slices.Backward(messages[max(0, len(messages)-shownMessages):]) {
			view := roomview.Of(v1alpha1.PayloadFormat(room.Service()), m.Body)
			on.Messages = append(on.Messages, messageOnPage{Time: m.Time, View: view.HTML()})
		}
		rooms = append(rooms, on)
	}
	part := "rooms.html"
	if req.URL.Query().Has("part") {
		part = "part"
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", "default-src 'none'; img-src data:; style-src 'self'; script-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'")
	w.Header().Set("Cache-Control", "no-store")
	_ = roomsPage.ExecuteTemplate(w, part, rooms)
}

// changes tells a page that something came into a room.
func (t *theirRooms) changes(w http.ResponseWriter, req *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	for seen := -1; ; {
		err := t.receiver.Wait(req.Context(), func() bool { return t.requests() != seen })
		if err != nil {
			return
		}
		seen = t.requests()
		if _, err := fmt.Fprintf(w, "data: %d\n\n", seen); err != nil {
			return
		}
		_ = http.NewResponseController(w).Flush()
	}
}

func (t *theirRooms) requests() (sum int) {
	for _, room := range t.all {
		sum += room.Tally().Requests
	}
	return sum
}

// file serves what the page is made with.
func (t *theirRooms) file(w http.ResponseWriter, req *http.Request) {
	name := req.PathValue("file")
	data, err := roomFiles.ReadFile(name)
	if err != nil || name == "rooms.html" {
		http.NotFound(w, req)
		return
	}
	kind := "text/javascript"
	if name == "rooms.css" {
		kind, data = "text/css", append([]byte(roomview.Style), data...)
	}
	w.Header().Set("Content-Type", kind+"; charset=utf-8")
	_, _ = w.Write(data)
}

// invitation says where the rooms are, and how a Webhook is made for each.
func (t *theirRooms) invitation() string {
	var b strings.Builder
	fmt.Fprintf(&b, "\n# A room of each chat service; %s shows what comes in:\n", t.url)
	for _, room := range t.all {
		name := nameOf(room.Service())
		key := ""
		if signs(room.Service()) {
			key = fmt.Sprintf(" --secret-file '%s'", filepath.Join(t.dir, name+".key"))
		}
		fmt.Fprintf(&b, "kubectl horizon create %[1]s --format %[1]s --url-file '%[2]s'%[3]s --trigger '*'\n", name, filepath.Join(t.dir, name+".url"), key)
	}
	b.WriteString("kubectl horizon test dingtalk --wait\n")
	return b.String()
}
