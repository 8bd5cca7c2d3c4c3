package e2e

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/test/receiver"
)

// robotKey is what robots want requests to be signed with.
const robotKey = "SEC-of-an-e2e-robot"

// room opens a room and makes a Webhook for it as a person does.
func (s *scene) room(name string, of receiver.Service, o receiver.RoomOptions, flags ...string) *receiver.Room {
	s.Helper()
	room := s.receiver.Open(of, o)
	file := func(suffix, content string) string {
		path := filepath.Join(s.TempDir(), name+suffix)
		s.Expect(os.WriteFile(path, []byte(content), 0o600)).To(Succeed())
		return path
	}
	flags = append([]string{"create", name, "--format", strings.ToLower(string(of)), "--url-file", file(".url", room.URL()), "--trigger", "*"}, flags...)
	if o.Secret != "" {
		flags = append(flags, "--secret-file", file(".key", o.Secret))
	}
	cmd := exec.CommandContext(s.ctx, suite.kubectl, append(append([]string{"horizon"}, flags...), "--wait", "-n", s.namespace)...)
	cmd.Env = suite.env
	out, err := cmd.CombinedOutput()
	s.Expect(err).NotTo(HaveOccurred(), "%s", out)
	return room
}

// A room of each service gets what happens, once, signed where the service can ask for that;
// neither addresses nor keys are told anywhere.
func TestChatRooms(t *testing.T) {
	s := newScene(t)
	secrets := map[string]string{"the signing key": robotKey}
	var all []*receiver.Room
	for _, of := range receiver.Services() {
		var o receiver.RoomOptions
		if of == receiver.DingTalk || of == receiver.Feishu {
			o.Secret = robotKey
		}
		room := s.room(strings.ToLower(string(of)), of, o)
		secrets["the address of "+string(of)] = room.Key()
		all = append(all, room)
	}
	s.event(1)
	for _, room := range all {
		d := s.record(strings.ToLower(string(room.Service())), v1alpha1.DeliverySucceeded)
		s.Expect(d.Status.Attempts).To(BeEquivalentTo(1))
		s.Expect(room.Tally()).To(Equal(receiver.RoomTally{Requests: 1, Messages: 1}), string(room.Service()))
		s.Expect(string(room.Messages()[0].Body)).To(ContainSubstring("Cluster web-prod is being deployed"))
	}
	s.kubectl("wait", "--for=condition=Delivered", "webhookevent/horizon-1", "--timeout=60s")
	for _, a := range s.receiver.AllArrivals() {
		s.Expect(a.Header).NotTo(Or(HaveKey("X-Horizon-Webhook-Secret"), HaveKey("Webhook-Signature")))
		s.Expect(a.String()).NotTo(ContainSubstring(robotKey))
	}
	s.lookFor(t, secrets)
}

// clusterNumber is the number in the name of a cluster.
var clusterNumber = regexp.MustCompile(`Cluster c(\d+) is`)

// However much happens at once, a robot is never sent more than it takes: DingTalk would ban it.
// Everything arrives, once, the oldest first. (The rule is DingTalk's with a shorter span: at 20
// a minute it takes ten minutes.)
func TestFloodBansNoRobot(t *testing.T) {
	const limit, span = 40, 4 * time.Second
	s := newScene(t)
	room := s.room("robot", receiver.DingTalk, receiver.RoomOptions{Secret: robotKey, Limit: limit, Span: span, Ban: 20 * time.Second}, "--rate-limit", "40/4s")
	for id := range int64(events) {
		e := newEvent(s.namespace, id+1)
		e.Spec.Cluster.Name = "c" + strconv.FormatInt(id, 10)
		s.Expect(suite.client.Create(s.ctx, e)).To(Succeed())
	}
	began := time.Now()
	ctx, cancel := context.WithTimeout(s.ctx, patience)
	defer cancel()
	err := s.receiver.Wait(ctx, func() bool { return len(room.Messages()) >= events })
	s.Expect(err).NotTo(HaveOccurred(), "%+v", room.Tally())
	took := time.Since(began)
	s.Eventually(func() int {
		return strings.Count(strings.Join(s.resultsOf("robot"), " "), string(v1alpha1.DeliverySucceeded))
	}).Should(Equal(events))

	s.Expect(room.Tally()).To(Equal(receiver.RoomTally{Requests: events, Messages: events}), "no ban, and nothing twice")
	messages := room.Messages()
	seen, furthest := map[int]bool{}, 0
	for i, m := range messages {
		n, err := strconv.Atoi(clusterNumber.FindStringSubmatch(string(m.Body))[1])
		s.Expect(err).NotTo(HaveOccurred())
		seen[n] = true
		furthest = max(furthest, n-i, i-n)
		if i >= limit {
			s.Expect(m.Time.Sub(messages[i-limit].Time)).To(BeNumerically(">=", span))
		}
	}
	s.Expect(seen).To(HaveLen(events))
	t.Logf("%d messages took %v, and none was more than %d places away from its own", events, took.Round(time.Second), furthest)
	// Those under way at once may overtake one another on their way, and what is being stored
	// while a span begins is sent in the next one.
	s.Expect(furthest).To(BeNumerically("<=", limit+inFlight))
}

func (s *scene) resultsOf(webhook string) []string {
	var all []string
	for _, r := range results(s.records(webhook)) {
		all = append(all, string(r))
	}
	return all
}
