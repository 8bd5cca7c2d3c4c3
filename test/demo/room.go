package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/roomview"
	"github.com/horizoncd/webhook-operator/test/receiver"
)

// robotKey is what the robot of the room wants requests to be signed with.
const robotKey = "SEC4a9c1be7d2f860"

// room is about a chat room, whose service answers 200 to what it does not take.
func (t *teller) room(ctx context.Context) error {
	t.chapter("8. A chat room")
	room := t.team.Open(receiver.DingTalk, receiver.RoomOptions{Secret: robotKey, Keyword: "release"})
	t.say("A group in DingTalk has a robot. Whoever set it up has its address, its signing key, and a keyword that each")
	t.say("message must have. (This one is for tests; it checks and answers as DingTalk does.)\n")
	for name, content := range map[string]string{"robot.url": room.URL(), "robot.key": robotKey} {
		if err := t.write(name, content); err != nil {
			return err
		}
	}
	for _, command := range []string{
		"kubectl create namespace radio",
		"kubectl horizon create ops-room -n radio --format dingtalk --url-file robot.url --secret-file robot.key --trigger 'clusters_*' --wait",
	} {
		if _, err := t.run(ctx, command); err != nil {
			return err
		}
	}
	d, err := t.unwanted(ctx)
	if err != nil {
		return err
	}
	return t.wanted(ctx, room, d)
}

// unwanted shows a message that the room does not take.
func (t *teller) unwanted(ctx context.Context) (*v1alpha1.WebhookDelivery, error) {
	event, err := t.render("room.yaml")
	if err != nil {
		return nil, err
	}
	if err := t.write("room.yaml", event); err != nil {
		return nil, err
	}
	t.say("A cluster is deployed, and the message about it does not have the keyword, which is \"release\":\n")
	var why string
	for _, command := range []string{
		"kubectl create -f room.yaml",
		"kubectl wait --for=condition=Delivered=false webhookevent/horizon-15 -n radio --timeout=30s",
		"kubectl horizon logs -n radio --failed",
		"kubectl horizon why horizon-15 -n radio",
	} {
		if why, err = t.run(ctx, command); err != nil {
			return nil, err
		}
	}
	d, err := t.delivery(ctx, "radio", "ops-room")
	if err != nil {
		return nil, err
	}
	t.check(strings.Contains(why, "errcode 310000: keywords not in content"), "DingTalk answered 200, and what it said in the body is told")
	t.check(d.Status.Result == v1alpha1.DeliveryFailed && d.Status.Attempts == 1, "no retry would have helped, so there was none")
	return d, nil
}

// wanted shows what the room takes.
func (t *teller) wanted(ctx context.Context, room *receiver.Room, d *v1alpha1.WebhookDelivery) error {
	t.say("\nThe robot gets another keyword, live-prod, and the message is sent once more:\n")
	room.Change(func(o *receiver.RoomOptions) { o.Keyword = "live-prod" })
	if _, err := t.run(ctx, "kubectl horizon resend --webhook ops-room -n radio --failed --wait"); err != nil {
		return err
	}
	t.say("In the room:")
	t.show(t.inRoom(room))
	t.say("")
	t.check(len(room.Messages()) == 1 && strings.Contains(t.inRoom(room), "live-prod is being deployed"),
		"the room has the message, whose signature it has checked")
	t.say("")
	for _, command := range []string{
		"kubectl horizon edit ops-room -n radio --language zh",
		fmt.Sprintf("kubectl horizon resend %s -n radio --wait", d.Name),
	} {
		if _, err := t.run(ctx, command); err != nil {
			return err
		}
	}
	line, _, _ := strings.Cut(t.inRoom(room), "\n")
	t.say("In the room:")
	t.show(line)
	t.say("")
	t.check(strings.Contains(line, "集群 live-prod 开始部署"), "now it speaks Chinese")
	told, err := t.quietly(ctx, "kubectl get webhooks,webhookdeliveries,events -n radio -o yaml")
	if err != nil {
		return fmt.Errorf("reading what is told of the room: %w\n%s", err, told)
	}
	var sent strings.Builder
	for _, a := range t.team.Arrivals("/robot/send") {
		sent.WriteString(a.String())
	}
	t.check(!strings.Contains(told, robotKey) && !strings.Contains(told, room.Key()) && !strings.Contains(sent.String(), robotKey),
		"the robot's key was never sent, and neither it nor the address is in any record")
	return nil
}

// inRoom is the latest message, as the room shows it.
func (t *teller) inRoom(room *receiver.Room) string {
	all := room.Messages()
	if len(all) == 0 {
		return ""
	}
	return roomview.Of(v1alpha1.PayloadDingTalk, all[len(all)-1].Body).Text()
}
