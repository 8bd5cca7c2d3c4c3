package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/roomview"
	"github.com/horizoncd/webhook-operator/test/controlplane"
	"github.com/horizoncd/webhook-operator/test/operator"
	"github.com/horizoncd/webhook-operator/test/receiver"
	"github.com/horizoncd/webhook-operator/test/sentinel"
)

// playRooms lets chat services say again what they must not know, answer what they never
// would, and get names that call people.
func playRooms(ctx context.Context, t *session) error {
	for _, play := range []func(context.Context, *session) error{playRoomEchoes, playRoomAnswers, playRoomNames} {
		if err := play(ctx, t); err != nil {
			return err
		}
	}
	return nil
}

// signsRequests tells whether a service asks for signatures.
func signsRequests(s receiver.Service) bool { return s == receiver.DingTalk || s == receiver.Feishu }

// roomWebhook makes a Webhook for a room, and the Secret that it names.
func (t *session) roomWebhook(ctx context.Context, namespace, name string, of receiver.Service, address, key string) error {
	w := webhook(namespace, name, "")
	w.Spec.URLSecretRef = &v1alpha1.SecretKeyReference{Name: name, Key: "url"}
	w.Spec.Payload = &v1alpha1.PayloadSettings{Format: v1alpha1.PayloadFormat(of)}
	w.Spec.RateLimit = &v1alpha1.RateLimit{Requests: 1000, PerSeconds: 1}
	data := map[string]string{"url": address}
	if signsRequests(of) {
		data["key"] = key
		w.Spec.SecretRef = &v1alpha1.SecretKeyReference{Name: name, Key: "key"}
	}
	return errors.Join(
		t.client.Create(ctx, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, StringData: data}),
		t.client.Create(ctx, w))
}

// parrot is a chat service that says again whatever gives the robot away: its address, its
// signing key, and the signature that was made of that for this request.
type parrot struct {
	key string
	say func(said, secret string) string // an answer

	mu    sync.Mutex
	signs []string
	texts []string
}

// serve answers one request on each connection.
func (p *parrot) serve(conn net.Conn) {
	req, err := http.ReadRequest(bufio.NewReader(conn))
	if err != nil {
		return
	}
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return
	}
	sign := req.URL.Query().Get("sign")
	var signed struct {
		Sign string `json:"sign"`
	}
	if json.Unmarshal(body, &signed) == nil && signed.Sign != "" {
		sign = signed.Sign
	}
	p.mu.Lock()
	if sign != "" {
		p.signs = append(p.signs, sign)
	}
	p.texts = append(p.texts, req.RequestURI+"\n"+string(body))
	p.mu.Unlock()
	secret := req.URL.Query().Get("token") // of the address
	said := req.RequestURI + " | http://" + req.Host + req.RequestURI + " | " + sentinel.Echo(secret)
	if sign != "" {
		secret = sign
		said += " | " + sentinel.Echo(p.key) + " | " + sentinel.Echo(sign) + " | " + url.QueryEscape(sign) + " | " + url.QueryEscape(url.QueryEscape(sign))
	}
	_, _ = io.WriteString(conn, p.say(said, secret))
}

// parrots are the places where an answer can say something.
var parrots = []struct {
	name string
	say  func(said, secret string) string
}{
	{"accepted", func(said, _ string) string {
		return answerOf("200 OK", "X-Echo: "+said+"\r\n", object("errcode", 0, "code", 0, "errmsg", said, "msg", said))
	}},
	{"rejected", func(said, _ string) string {
		return answerOf("200 OK", "", object("errcode", 310000, "code", 19021, "errmsg", said, "msg", said, "message", said))
	}},
	{"rejected-with-the-signature-alone", func(_, secret string) string {
		return answerOf("200 OK", "", object("errcode", 310000, "code", 19021, "errmsg", secret, "msg", secret, "message", secret))
	}},
	{"with-an-error", func(said, _ string) string {
		return answerOf("400 Bad Request", "", `{"error":`+object("code", "TriggerInputSchemaMismatch", "message", said)+`,"code":50035,"message":`+quoted(said)+`}`)
	}},
	{"in-a-word", func(_, secret string) string { return answerOf("404 Not Found", "", secret) }},
	{"in-plain-text", func(said, _ string) string { return answerOf("200 OK", "", said) }},
	{"too-fast", func(_, secret string) string {
		return answerOf("429 Too Many Requests", "Retry-After: "+secret+"\r\n", object("retry_after", 0.1, "message", secret))
	}},
	{"redirects", func(said, secret string) string {
		return answerOf("302 Found", "Location: http://x/"+url.PathEscape(secret)+"?sign="+url.QueryEscape(secret)+"&s="+secret+"\r\nX-Echo: "+said+"\r\n", said)
	}},
	{"in-the-status-line", func(said, _ string) string { return answerOf("200 "+said, "", "") }},
	{"no-HTTP", func(said, _ string) string { return said + "\r\n\r\n" }},
}

func answerOf(status, header, body string) string {
	return fmt.Sprintf("HTTP/1.1 %s\r\nConnection: close\r\nContent-Length: %d\r\n%s\r\n%s", status, len(body), header, body)
}

func quoted(text string) string {
	data, _ := json.Marshal(text) //nolint:errchkjson // texts can be written as JSON
	return string(data)
}

// object is a JSON object of names and values.
func object(pairs ...any) string {
	fields := map[string]any{}
	for i := 0; i < len(pairs); i += 2 {
		fields[pairs[i].(string)] = pairs[i+1]
	}
	data, _ := json.Marshal(fields) //nolint:errchkjson // of texts and numbers
	return string(data)
}

// playRoomEchoes lets rooms say again what gives their robot away. It is in none of all the
// places where something is told.
func playRoomEchoes(ctx context.Context, t *session) (err error) {
	namespace, err := t.namespace(ctx, "echo")
	if err != nil {
		return err
	}
	address, key := sentinel.Secrets["url"], sentinel.Secrets["sign"]
	all := map[string]*parrot{}
	var raws []*receiver.Raw
	defer func() {
		for _, raw := range raws {
			err = errors.Join(err, raw.Close())
		}
	}()
	for _, of := range receiver.Services() {
		for _, place := range parrots {
			p := &parrot{key: key, say: place.say}
			raw, err := receiver.StartRaw(receiver.RawOptions{Serve: p.serve})
			if err != nil {
				return err
			}
			raws = append(raws, raw)
			name := strings.ToLower(string(of) + "-" + place.name)
			all[name] = p
			if err := t.roomWebhook(ctx, namespace, name, of, "http://"+raw.Addr()+"/hook/"+address+"?token="+url.QueryEscape(address), key); err != nil {
				return err
			}
		}
	}
	if err := t.event(ctx, namespace, "horizon-1"); err != nil {
		return err
	}
	records, err := t.settled(ctx, namespace, "horizon-1", len(all))
	if err != nil {
		return err
	}
	told, err := t.everything(ctx)
	if err != nil {
		return err
	}
	if err := t.plugin(ctx, namespace, records, told); err != nil {
		return err
	}
	for name, p := range all {
		d := records[name]
		if d == nil {
			t.judge(name, []string{t.unsettled(ctx, namespace, "horizon-1", name)})
			continue
		}
		var problems []string
		p.mu.Lock()
		if signs := strings.HasPrefix(name, "dingtalk") || strings.HasPrefix(name, "feishu"); signs != (len(p.signs) > 0) {
			problems = append(problems, fmt.Sprintf("%d signatures in %d requests", len(p.signs), len(p.texts)))
		}
		for _, sign := range p.signs {
			problems = append(problems, sentinel.Find(told, sign)...)
		}
		for _, text := range p.texts {
			problems = append(problems, sentinel.Find(map[string]string{"the request": text}, key)...)
		}
		p.mu.Unlock()
		t.judge(name, problems)
	}
	for what, secret := range map[string]string{"address": address, "signing key": key} {
		t.judge(fmt.Sprintf("%s of a room, in %d other places", what, len(told)), sentinel.Find(told, secret))
	}
	return nil
}

// plugin adds what the plugin says of deliveries to what is told.
func (t *session) plugin(ctx context.Context, namespace string, records map[string]*v1alpha1.WebhookDelivery, told map[string]string) error {
	directory, err := os.MkdirTemp("", "hostile-plugin-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(directory) }()
	kubeconfig := filepath.Join(directory, "kubeconfig")
	if err := controlplane.WriteKubeconfig(kubeconfig, t.admin); err != nil {
		return err
	}
	binary, err := operator.BuildPlugin(ctx, t.Root, directory)
	if err != nil {
		return err
	}
	commands := []string{"list", "logs", "why horizon-1", "logs -o yaml", "list -o yaml"}
	for name, d := range records {
		commands = append(commands, "why "+d.Name, "log "+d.Name, "show "+name)
	}
	for _, name := range []string{"dingtalk-accepted", "feishu-accepted", "slack-accepted"} {
		if d := records[name]; d != nil {
			commands = append(commands, "log --curl "+d.Name, "render "+name)
		}
	}
	for _, command := range commands {
		cmd := exec.CommandContext(ctx, binary, append(strings.Fields(command), "-n", namespace, "--kubeconfig", kubeconfig)...)
		out, err := cmd.CombinedOutput()
		var exit *exec.ExitError
		if err != nil && !errors.As(err, &exit) {
			return fmt.Errorf("kubectl horizon %s: %w", command, err)
		}
		if len(out) == 0 || strings.Contains(string(out), "unknown ") {
			return fmt.Errorf("kubectl horizon %s: %s", command, out)
		}
		told["kubectl horizon "+command] = string(out)
	}
	return nil
}

// oddAnswer is what no service would say. It is a success where Accepted says so, and never
// the end of what could be tried again.
type oddAnswer struct {
	name, body string
	status     int
	accepted   []receiver.Service
}

func oddAnswers() []oddAnswer {
	statusOnly := []receiver.Service{receiver.Teams, receiver.Discord}
	long := strings.Repeat("x", 1<<20)
	all := []oddAnswer{
		{name: "nothing"}, {name: "null", body: "null"}, {name: "a list", body: `[{"errcode":0,"code":0}]`},
		{name: "texts", body: `{"errcode":"0","code":"0"}`}, {name: "final texts", body: `{"errcode":"310000","code":"19021"}`},
		{name: "floats", body: `{"errcode":0.5,"code":0.5}`}, {name: "final floats", body: `{"errcode":310000.5,"code":19021.5}`},
		{name: "huge numbers", body: `{"errcode":` + strings.Repeat("9", 20_000) + `,"code":` + strings.Repeat("9", 20_000) + `}`},
		{name: "exponents", body: `{"errcode":1e999,"code":1e999}`}, {name: "nothings", body: `{"errcode":null,"code":null}`},
		{name: "booleans", body: `{"errcode":false,"code":false,"ok":"true"}`}, {name: "objects", body: `{"errcode":{},"code":[]}`},
		{name: "success twice", body: `{"errcode":310000,"code":19021,"errcode":0,"code":0}`},
		{name: "success and then not", body: `{"errcode":0,"code":0,"errcode":310000,"code":19021}`},
		{name: "another case", body: `{"ErrCode":0,"Code":0,"StatusCode":0}`}, {name: "Feishu's old status", body: `{"StatusCode":0,"StatusMessage":"success"}`},
		{name: "a code within", body: `{"data":{"errcode":0,"code":0}}`},
		{name: "HTML", body: `<html>{"errcode":0,"code":0}</html>`}, {name: "two values", body: `{"errcode":0,"code":0}{"errcode":0}`},
		{name: "a broken end", body: `{"errcode":0,"code":0`}, {name: "a word in capitals", body: "OK"}, {name: "a word with more", body: "ok, no"},
		{name: "a megabyte before", body: `{"x":"` + long + `","errcode":0,"code":0}`},
		{name: "a megabyte after", body: `{"errcode":0,"code":0,"x":"` + long + `"}`},
		{name: "a megabyte of words", body: long},
		{name: "brackets", body: strings.Repeat("[", 40_000)}, {name: "braces", body: strings.Repeat(`{"errcode":`, 4_000)},
		{name: "deep", body: `{"x":` + strings.Repeat("[", 9_000) + strings.Repeat("]", 9_000) + `,"errcode":"0","code":"0"}`},
		{name: "no UTF-8", body: "{\"errcode\":\"\xff\xfe\",\"code\":\"\xff\"}"},
		{name: "control characters", body: "{\"errcode\":5,\"code\":5,\"errmsg\":\"\\u001b[2J\\u202e\\u0000\",\"msg\":\"\\u001b[31m\\r\\n\"}"},
	}
	for i := range all {
		all[i].accepted = statusOnly
	}
	for _, body := range []string{
		`{"errcode":310000.5,"code":10015.5}`, `{"errcode":"310000","code":"10015"}`, "No_Service", "no_service\nno_team",
		`"no_service"`, `{"error":"no_service"}`, `{"error":{"code":["WorkflowNotFound"]}}`, `{"error":[{"code":"WorkflowNotFound"}]}`, `{"errcode":310000,"code":`, long,
	} {
		all = append(all, oddAnswer{name: "a failure of " + body[:min(len(body), 40)], body: body, status: http.StatusNotFound})
	}
	return all
}

// playRoomAnswers lets rooms answer what no service would.
func playRoomAnswers(ctx context.Context, t *session) (err error) {
	namespace, err := t.namespace(ctx, "answers")
	if err != nil {
		return err
	}
	r, err := receiver.Start(receiver.Options{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	type played struct {
		oddAnswer
		of   receiver.Service
		name string
	}
	var all []played
	for i, odd := range oddAnswers() {
		for _, of := range receiver.Services() {
			p := played{odd, of, fmt.Sprintf("%s-%03d", strings.ToLower(string(of)), i)}
			r.Script("/"+p.name, receiver.Answer{Status: max(odd.status, 200), Body: odd.body})
			if err := t.roomWebhook(ctx, namespace, p.name, of, r.URL("/"+p.name), "a-key-that-can-sign"); err != nil {
				return err
			}
			all = append(all, p)
		}
	}
	if err := t.event(ctx, namespace, "horizon-1"); err != nil {
		return err
	}
	records, err := t.settled(ctx, namespace, "horizon-1", len(all))
	if err != nil {
		return err
	}
	for _, p := range all {
		name := fmt.Sprintf("%s answers %s", p.of, p.oddAnswer.name)
		d := records[p.name]
		if d == nil || len(d.Status.History) == 0 {
			t.judge(name, []string{t.unsettled(ctx, namespace, "horizon-1", p.name)})
			continue
		}
		want := v1alpha1.ReasonRetriesExhausted
		if slices.Contains(p.accepted, p.of) {
			want = v1alpha1.ReasonAccepted
		}
		var problems []string
		reason, why := ending(d)
		if reason != want {
			problems = append(problems, fmt.Sprintf("it is %s: %s; want %s", reason, why, want))
		}
		if n := r.Tally("/" + p.name).Requests; n != 1 {
			problems = append(problems, fmt.Sprintf("%d requests", n))
		}
		if want != v1alpha1.ReasonAccepted {
			problems = append(problems, words("the attempt", why)...)
		}
		t.judge(name, problems)
	}
	return nil
}

// callsAndBreakers are names that would call people in a room, or break a message.
func callsAndBreakers() []string {
	return []string{
		"<!channel>", "<!here>", "<!everyone|x>", "<!subteam^S1>", "<@U1>", "@all", "@everyone", "@here", "@channel", "<@1>", "<@!1>", "<@&1>",
		`<at user_id="all">x</at>`, "<at id=all></at>", "<AT ID=ALL></AT>", "<at>x</at>", "<at email=a@b.c></at>", "&lt;!channel&gt;", "&#60;at id=all>",
		"**b** _i_ ~s~ `c` # h", "[x](http://evil.example.com)", "![x](http://evil.example.com/x.png)", "<http://evil.example.com|x>",
		"http://evil.example.com", "<script>alert(1)</script>", `<font color="warning">x</font>`, "<b>x", "```", "\\", `\"`, `"}]}`, `"},{"tag":"at","user_id":"all"}`,
		"> q", "- l", "1. n", "| a | b |", "---", "\u202eevil\u202c", "a\u200bb", "@\u200ball", "<\u200bat id=all>", "a\nb\r\n### c", "\x01\x1b[2J", "{{x}}", "${x}", "%s%n",
		strings.Repeat("<", 250), strings.Repeat("*", 250), strings.Repeat("😀", 120), strings.Repeat("👩‍👩‍👧", 30), "\u0301\u0301", "\ufeff",
	}
}

// playRoomNames lets names that others chose come into rooms: they call nobody and break
// nothing.
func playRoomNames(ctx context.Context, t *session) (err error) {
	namespace, err := t.namespace(ctx, "names")
	if err != nil {
		return err
	}
	r, err := receiver.Start(receiver.Options{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	rooms := map[string]*receiver.Room{}
	for _, of := range receiver.Services() {
		name := strings.ToLower(string(of))
		o := receiver.RoomOptions{Limit: 1000}
		if signsRequests(of) {
			o.Secret = "a-key-that-can-sign"
		}
		rooms[name] = r.Open(of, o)
		if err := t.roomWebhook(ctx, namespace, name, of, rooms[name].URL(), o.Secret); err != nil {
			return err
		}
	}
	texts := callsAndBreakers()
	for i, text := range texts {
		if err := t.client.Create(ctx, hostileEvent(namespace, fmt.Sprintf("text-%d", i), text)); err != nil {
			return fmt.Errorf("%q: %w", text, err)
		}
	}
	for i, text := range texts {
		event := fmt.Sprintf("text-%d", i)
		records, err := t.settled(ctx, namespace, event, len(rooms))
		if err != nil {
			return err
		}
		for name := range rooms {
			var problems []string
			if reason, why := ending(records[name]); reason != v1alpha1.ReasonAccepted {
				problems = append(problems, fmt.Sprintf("it is %s: %s", reason, why))
			}
			t.judge(fmt.Sprintf("%.60q in %s", text, name), problems)
		}
	}
	for name, room := range rooms {
		var problems []string
		if tally := room.Tally(); tally.Messages != len(texts) || tally.Requests != len(texts) || tally.Dropped > 0 {
			problems = append(problems, fmt.Sprintf("the room has %+v", tally))
		}
		for _, m := range room.Messages() {
			view := roomview.Of(v1alpha1.PayloadFormat(room.Service()), m.Body)
			if len(m.Mentions) > 0 || len(view.Mentions) > 0 || view.Why != "" {
				problems = append(problems, fmt.Sprintf("it calls %q, %q, or is broken (%s): %s", m.Mentions, view.Mentions, view.Why, m.Body))
			}
		}
		t.judge("messages in "+name, problems)
	}
	return nil
}

// hostileEvent has a text in each field that may have one.
func hostileEvent(namespace, name, text string) *v1alpha1.WebhookEvent {
	most := func(n int) string { runes := []rune(text); return string(runes[:min(len(runes), n)]) }
	path := "/music/" + strings.Map(func(r rune) rune {
		if r == '/' || r <= ' ' || r == '\u200b' || r == '\ufeff' {
			return -1
		}
		return r
	}, most(200)) + "x"
	return &v1alpha1.WebhookEvent{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec: v1alpha1.WebhookEventSpec{
			EventType: "clusters_kubernetes_event", ResourcePath: path,
			Application: &v1alpha1.ApplicationInfo{ID: new(int64(1)), Name: most(253), Priority: most(64)},
			Cluster:     &v1alpha1.ClusterInfo{ID: new(int64(1)), Name: most(253), ApplicationName: most(200) + "!", Env: most(128)},
			Pipelinerun: &v1alpha1.PipelinerunInfo{
				ID: new(int64(1)), ClusterName: most(253), Action: most(64), Title: most(256), Description: strings.Repeat(most(256), 10), GitRef: most(256), GitRefType: most(64),
			},
			Member: &v1alpha1.MemberInfo{ID: new(int64(1)), ResourceType: most(64), Role: most(64), MemberName: most(253)},
			User:   &v1alpha1.UserInfo{ID: new(int64(1)), Name: most(253), Email: most(300)},
			Extra: object("reason", strings.Repeat(most(256), 10), "message", most(256), "type", "Warning",
				"involvedObject", map[string]string{"kind": most(256), "name": most(256)}),
		},
	}
}
