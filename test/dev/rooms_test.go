package main

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/horizoncd/webhook-operator/test/receiver"
)

// get returns a page, and the policy that it has.
func get(t *testing.T, url string) (page, policy string) {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %d, %v", url, resp.StatusCode, err)
	}
	return string(body), resp.Header.Get("Content-Security-Policy")
}

// The page shows what came into a room, and what did not, as soon as it comes.
func TestPageOfTheRooms(t *testing.T) {
	r, err := receiver.Start(receiver.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() })
	dir := t.TempDir()
	rooms, err := openRooms(dir, r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = rooms.close() })
	post := func(room string, body string) {
		t.Helper()
		address, err := os.ReadFile(filepath.Join(dir, roomsDir, room+".url"))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.Post(string(address), "application/json", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
	}
	page, policy := get(t, rooms.url)
	for _, service := range receiver.Services() {
		if !strings.Contains(page, "<h2>"+string(service)+"</h2>") || !strings.Contains(rooms.invitation(), "--format "+nameOf(service)+" ") {
			t.Errorf("%s is not there", service)
		}
	}
	if !strings.Contains(policy, "default-src 'none'") || strings.Contains(policy, "unsafe") {
		t.Errorf("the policy is %q", policy)
	}
	for _, file := range []string{"/rooms.css", "/rooms.js"} {
		if text, _ := get(t, strings.TrimSuffix(rooms.url, roomsPath)+file); !strings.Contains(page, file) || text == "" {
			t.Errorf("the page has no %s", file)
		}
	}

	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, rooms.url+"/changes", nil)
	if err != nil {
		t.Fatal(err)
	}
	changes, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = changes.Body.Close() }()
	told := bufio.NewScanner(changes.Body)
	next := func(want string) {
		t.Helper()
		for told.Scan() {
			if told.Text() != "" {
				if told.Text() != want {
					t.Fatalf("told %q, want %q", told.Text(), want)
				}
				return
			}
		}
		t.Fatal(told.Err())
	}
	next("data: 0")
	post("wecom", `{"msgtype":"markdown","markdown":{"content":"web-prod is <b onclick=alert(1)>out</b>"}}`)
	next("data: 1")
	post("dingtalk", `{"msgtype":"text","text":{"content":"not signed"}}`)
	next("data: 2")
	page, _ = get(t, rooms.url+"?part")
	for _, want := range []string{"web-prod is", "1 message</p>", ", 1 not taken", "invalid timestamp"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q:\n%s", want, page)
		}
	}
	if strings.Contains(page, "<b onclick") || strings.Contains(page, "<html") || strings.Contains(page, "not signed") {
		t.Errorf("the page has what it must not have:\n%s", page)
	}
}
