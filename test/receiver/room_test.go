package receiver

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// The least message of each service.
var least = map[Service]string{
	DingTalk: `{"msgtype":"markdown","markdown":{"title":"t","text":"released"}}`,
	Feishu:   `{"msg_type":"interactive","card":{"elements":[{"tag":"div","text":{"tag":"lark_md","content":"released"}}]}}`,
	WeCom:    `{"msgtype":"markdown","markdown":{"content":"released"}}`,
	Slack:    `{"text":"released"}`,
	Teams: `{"type":"message","attachments":[{"contentType":"application/vnd.microsoft.card.adaptive","content":` +
		`{"type":"AdaptiveCard","version":"1.4","body":[{"type":"TextBlock","text":"released"}]}}]}`,
	Discord: `{"content":"released"}`,
}

// say posts to an address and returns the status, the header and the body of the answer.
func say(t *testing.T, address, body string) (int, http.Header, string) {
	t.Helper()
	resp, err := http.Post(address, "application/json", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, resp.Header, string(answer)
}

func signDing(secret string, at time.Time) string {
	mac := hmac.New(sha256.New, []byte(secret))
	fmt.Fprintf(mac, "%d\n%s", at.UnixMilli(), secret)
	return fmt.Sprintf("&timestamp=%d&sign=%s", at.UnixMilli(), url.QueryEscape(base64.StdEncoding.EncodeToString(mac.Sum(nil))))
}

func signLark(body, secret string, at time.Time) string {
	mac := hmac.New(sha256.New, fmt.Appendf(nil, "%d\n%s", at.Unix(), secret))
	return fmt.Sprintf(`{"timestamp":"%d","sign":%q,%s`, at.Unix(), base64.StdEncoding.EncodeToString(mac.Sum(nil)), body[1:])
}

func TestRoomsAnswerAsTheirServicesDo(t *testing.T) {
	now := time.Now()
	for name, tc := range map[string]struct {
		of      Service
		options RoomOptions
		query   string // added to the address
		key     string // in place of the room's
		body    string // in place of the least

		status int
		says   string
		kept   bool
		// dropped: the answer is a success, and there is no message.
		dropped bool
	}{
		"DingTalk takes a message":        {of: DingTalk, says: `{"errcode":0,"errmsg":"ok"}`, kept: true},
		"DingTalk takes a signed message": {of: DingTalk, options: RoomOptions{Secret: "SEC"}, query: signDing("SEC", now), says: `"errcode":0`, kept: true},
		"DingTalk wants a signature":      {of: DingTalk, options: RoomOptions{Secret: "SEC"}, says: "invalid timestamp"},
		"DingTalk wants another key":      {of: DingTalk, options: RoomOptions{Secret: "SEC"}, query: signDing("CES", now), says: `{"errcode":310000,"errmsg":"sign not match"}`},
		"DingTalk wants a newer one":      {of: DingTalk, options: RoomOptions{Secret: "SEC"}, query: signDing("SEC", now.Add(-61*time.Minute)), says: "invalid timestamp"},
		"DingTalk wants a keyword":        {of: DingTalk, options: RoomOptions{Keyword: "deploy"}, says: `{"errcode":310000,"errmsg":"keywords not in content"}`},
		"DingTalk finds the keyword":      {of: DingTalk, options: RoomOptions{Keyword: "release"}, says: `"errcode":0`, kept: true},
		"DingTalk knows no such key":      {of: DingTalk, key: "other", says: `"errcode":300005`},
		"DingTalk takes no more":          {of: DingTalk, body: `{"msgtype":"markdown","markdown":{"title":"t","text":"` + strings.Repeat("x", 20_000) + `"}}`, says: "message too long"},
		"DingTalk wants its own form":     {of: DingTalk, body: `{"text":"released"}`, says: "缺少参数"},
		"DingTalk stopped":                {of: DingTalk, options: RoomOptions{Closed: true}, says: "bot is stopped"},

		"Feishu takes a message":        {of: Feishu, says: `"code":0`, kept: true},
		"Feishu takes a signed message": {of: Feishu, options: RoomOptions{Secret: "demo"}, body: signLark(least[Feishu], "demo", now), says: `"code":0`, kept: true},
		"Feishu wants a signature":      {of: Feishu, options: RoomOptions{Secret: "demo"}, says: `"code":19021`},
		"Feishu wants another key":      {of: Feishu, options: RoomOptions{Secret: "demo"}, body: signLark(least[Feishu], "other", now), says: `"StatusCode":0`},
		"Feishu wants an earlier one":   {of: Feishu, options: RoomOptions{Secret: "demo"}, body: signLark(least[Feishu], "demo", now.Add(2*time.Hour)), says: `"code":19021`},
		"Feishu wants a keyword":        {of: Feishu, options: RoomOptions{Keyword: "deploy"}, says: `"code":19024`},
		"Feishu knows no such key":      {of: Feishu, key: "other", says: `"code":19001`},
		"Feishu wants its own form":     {of: Feishu, body: `{"msg_type":"interactive","card":{}}`, says: `"code":19002`},
		"Feishu wants known parts only": {of: Feishu, body: `{"msg_type":"text","content":{"txt":"released"}}`, status: 400, says: `"code":9499`},
		"Feishu turned off":             {of: Feishu, options: RoomOptions{Closed: true}, says: `"code":19007`},

		"WeCom takes a message":    {of: WeCom, says: `{"errcode":0,"errmsg":"ok"}`, kept: true},
		"WeCom knows no such key":  {of: WeCom, key: "other", says: `{"errcode":93000,"errmsg":"invalid webhook url, hint: [`},
		"WeCom takes 4 096 bytes":  {of: WeCom, body: `{"msgtype":"markdown","markdown":{"content":"` + strings.Repeat("é", 2048) + `"}}`, says: `"errcode":0`, kept: true},
		"WeCom takes no more":      {of: WeCom, body: `{"msgtype":"markdown","markdown":{"content":"` + strings.Repeat("é", 2049) + `"}}`, says: `"errcode":40058`},
		"WeCom wants its own form": {of: WeCom, body: `{"msgtype":"mark"}`, says: `"errcode":40008`},

		"Slack takes a message":       {of: Slack, says: "ok", kept: true},
		"Slack knows no such key":     {of: Slack, key: "other", status: 404, says: "no_service"},
		"Slack wants JSON":            {of: Slack, body: `{"text":`, status: 400, says: "invalid_payload"},
		"Slack wants a text":          {of: Slack, body: `{}`, status: 400, says: "no_text"},
		"Slack wants blocks to fit":   {of: Slack, body: `{"blocks":[{"type":"header","text":{"type":"plain_text","text":"` + strings.Repeat("x", 151) + `"}}]}`, status: 400, says: "invalid_blocks"},
		"Slack archived":              {of: Slack, options: RoomOptions{Closed: true}, status: 410, says: "channel_is_archived"},
		"Teams takes a card":          {of: Teams, status: 202, kept: true},
		"Teams knows no such key":     {of: Teams, key: "other", status: 401, says: "AuthorizationFailed"},
		"Teams drops what is no card": {of: Teams, body: `{"text":"released"}`, status: 202, dropped: true},
		"Teams drops a large card":    {of: Teams, body: strings.Replace(least[Teams], "released", strings.Repeat("x", 28<<10), 1), status: 202, dropped: true},
		"Teams turned off":            {of: Teams, options: RoomOptions{Closed: true}, status: 400, says: "WorkflowTriggerIsNotEnabled"},
		"Discord takes a message":     {of: Discord, query: "?wait=true", says: `"content":"released"`, kept: true},
		"Discord takes it unasked":    {of: Discord, status: 204, kept: true},
		"Discord refuses":             {of: Discord, query: "?wait=true", body: `{"content":""}`, status: 400, says: `"code":50006`},
		"Discord drops it unasked":    {of: Discord, body: `{"content":""}`, status: 204, dropped: true},
		"Discord bounds fields":       {of: Discord, query: "?wait=true", body: `{"embeds":[{"fields":[{"name":"","value":"v"}]}]}`, status: 400, says: "embeds.0.fields.0.name"},
		"Discord knows no such key":   {of: Discord, key: "other", status: 401, says: `"code":50027`},
		"Discord deleted":             {of: Discord, options: RoomOptions{Closed: true}, status: 404, says: `"code":10015`},
	} {
		t.Run(name, func(t *testing.T) {
			r := start(t, Options{})
			room := r.Open(tc.of, tc.options)
			address := room.URL()
			if tc.key != "" {
				address = strings.Replace(address, room.Key(), tc.key, 1)
			}
			body := least[tc.of]
			if tc.body != "" {
				body = tc.body
			}
			if tc.status == 0 {
				tc.status = http.StatusOK
			}
			status, _, answer := say(t, address+tc.query, body)
			if status != tc.status || !strings.Contains(answer, tc.says) {
				t.Errorf("got %d %s, want %d with %s", status, answer, tc.status, tc.says)
			}
			messages := room.Messages()
			if len(messages) == 1 != tc.kept || tc.kept && string(messages[0].Body) != body {
				t.Errorf("the room has %v", messages)
			}
			if last := room.LastRefusal(); tc.key == "" && last.Time.IsZero() != tc.kept || !tc.kept && tc.key == "" && (last.Status != tc.status || last.Body != answer) {
				t.Errorf("the last refusal is %+v", last)
			}
			if room.Tally().Dropped == 1 != tc.dropped || r.AllArrivals()[0].Answer.Accepts() != tc.kept {
				t.Errorf("%+v, answered %+v", room.Tally(), r.AllArrivals()[0].Answer)
			}
		})
	}
}

// The vectors are those of the services' own samples.
func TestSignaturesOfRooms(t *testing.T) {
	dingAt, larkAt := time.UnixMilli(1599360473000), time.Unix(1599360473, 0)
	const dingSign, larkSign = "hXZTWifRGHclNuZSKxoXc%2F%2Fsh51SWfVfRIhcdeKs63I%3D", "l1N0gAcBjdwBvGm1xMjOF0XSyaLRpR7tuO5dHfhAYc8="
	request := func(address, body string, at time.Time) posted {
		req, err := http.NewRequest(http.MethodPost, address, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json;charset=utf-8")
		return posted{req, []byte(body), at}
	}
	signed := request("/robot/send?access_token=k&timestamp=1599360473000&sign="+dingSign, least[DingTalk], dingAt)
	if is := checkDingTalk(signed, RoomOptions{Secret: "this is secret"}); !is.message {
		t.Errorf("DingTalk: %+v", is)
	}
	body := `{"timestamp":"1599360473","sign":"` + larkSign + `",` + least[Feishu][1:]
	if is := checkFeishu(request("/", body, larkAt), RoomOptions{Secret: "demo"}); !is.message {
		t.Errorf("Feishu: %+v", is)
	}
}

// What comes within a span counts by its arrival, and DingTalk punishes more than that.
func TestLimitsOfRooms(t *testing.T) {
	for of, tc := range map[Service]struct {
		taken  int // at once
		status int
		says   string
		wait   time.Duration // until it takes something again
		after  string        // Retry-After
	}{
		DingTalk: {taken: 20, status: 200, says: `{"errcode":130101,"errmsg":"send too fast, exceed 20 times per minute"}`, wait: 10 * time.Minute},
		Feishu:   {taken: 5, status: 200, says: `"code":9499`, wait: time.Second},
		WeCom:    {taken: 20, status: 200, says: `"errcode":45009`, wait: time.Minute},
		Slack:    {taken: 1, status: 429, says: "rate_limited", wait: time.Second, after: "1"},
		Teams:    {taken: 4, status: 429, says: "TooManyRequests", wait: time.Second},
		Discord:  {taken: 5, status: 429, says: `"retry_after":2.000`, wait: 2 * time.Second, after: "2"},
	} {
		t.Run(string(of), func(t *testing.T) {
			r := start(t, Options{})
			room := r.Open(of, RoomOptions{})
			req, err := http.NewRequest(http.MethodPost, room.URL(), nil)
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Content-Type", "application/json")
			began := time.Now()
			post := func(after time.Duration) Answer { return room.answer(posted{req, []byte(least[of]), began.Add(after)}) }
			for i := range tc.taken {
				if a := post(0); !a.Accepts() {
					t.Fatalf("number %d is answered %+v", i+1, a)
				}
			}
			a := post(0)
			if a.Accepts() || a.status() != tc.status || !strings.Contains(a.Body, tc.says) || a.Header.Get("Retry-After") != tc.after {
				t.Errorf("one more is answered %+v", a)
			}
			if a := post(tc.wait - time.Millisecond); a.Accepts() {
				t.Errorf("just before the end, it is answered %+v", a)
			}
			if a := post(tc.wait); !a.Accepts() {
				t.Errorf("afterwards, it is answered %+v", a)
			}
			bans := 0
			if of == DingTalk {
				bans = 1
			}
			want := RoomTally{Requests: tc.taken + 3, Messages: tc.taken + 1, TooFast: 2, Bans: bans}
			if diff := cmp.Diff(want, room.Tally()); diff != "" {
				t.Errorf("tally (-want +got):\n%s", diff)
			}
		})
	}
}

// 100 a minute is the other limit of Feishu, and a window that slides is not a bucket.
func TestFeishuHasTwoLimits(t *testing.T) {
	r := start(t, Options{})
	room := r.Open(Feishu, RoomOptions{})
	req, err := http.NewRequest(http.MethodPost, room.URL(), nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	began := time.Now()
	for i := range 101 {
		a := room.answer(posted{req, []byte(least[Feishu]), began.Add(time.Duration(i) * 250 * time.Millisecond)})
		if i < 100 != a.Accepts() {
			t.Fatalf("number %d is answered %s", i+1, a.Body)
		}
		if i == 100 && !strings.Contains(a.Body, "11232") {
			t.Errorf("it is answered %s", a.Body)
		}
	}
}

// A room is changed while it is open: a keyword is mended, a ban is over.
func TestRoomIsChanged(t *testing.T) {
	r := start(t, Options{})
	room := r.Open(DingTalk, RoomOptions{Keyword: "deploy", Limit: 1, Span: time.Hour})
	other := r.Open(DingTalk, RoomOptions{})
	if _, _, answer := say(t, room.URL(), least[DingTalk]); !strings.Contains(answer, "310000") {
		t.Fatal(answer)
	}
	if _, _, answer := say(t, room.URL(), least[DingTalk]); !strings.Contains(answer, "130101") {
		t.Fatal(answer)
	}
	room.Change(func(o *RoomOptions) { o.Keyword = "release" })
	if _, _, answer := say(t, room.URL(), least[DingTalk]); !strings.Contains(answer, `"errcode":0`) {
		t.Fatal(answer)
	}
	if len(room.Messages()) != 1 || len(other.Messages()) != 0 {
		t.Errorf("%d and %d messages", len(room.Messages()), len(other.Messages()))
	}
	r.Script("/robot/send", Answer{Status: 503})
	if status, _, _ := say(t, other.URL(), least[DingTalk]); status != 503 {
		t.Errorf("with a script, the answer is %d", status)
	}
}

// Whom a message calls, in the service's own way.
func TestMentionsInRooms(t *testing.T) {
	for name, tc := range map[string]struct {
		of   Service
		body string
		want []string
	}{
		"DingTalk":         {DingTalk, `{"msgtype":"text","text":{"content":"@all"},"at":{"isAtAll":true,"atMobiles":["1"]}}`, []string{"1", "all"}},
		"DingTalk, a name": {DingTalk, `{"msgtype":"text","text":{"content":"@all"}}`, nil},
		"Feishu":           {Feishu, `{"msg_type":"text","content":{"text":"<at user_id=\"all\">x</at>"}}`, []string{`<at user_id="all">`}},
		"Feishu, a card":   {Feishu, `{"msg_type":"interactive","card":{"elements":[{"tag":"markdown","content":"<at id=all></at>"}]}}`, []string{`<at id=all>`}},
		"Feishu, plain":    {Feishu, `{"msg_type":"interactive","card":{"elements":[{"tag":"div","text":{"tag":"plain_text","content":"<at id=all></at>"}}]}}`, nil},
		"WeCom":            {WeCom, `{"msgtype":"markdown","markdown":{"content":"<@zhangsan> hi"}}`, []string{"<@zhangsan>"}},
		"Slack":            {Slack, `{"text":"<!channel> &lt;!here&gt;","blocks":[{"type":"section","text":{"type":"mrkdwn","text":"<@U1>"}}]}`, []string{"<!channel>", "<@U1>"}},
		"Slack, plain":     {Slack, `{"blocks":[{"type":"header","text":{"type":"plain_text","text":"<!here>"}}]}`, nil},
		"Discord":          {Discord, `{"content":"@everyone <@&1>"}`, []string{"@everyone", "<@&1>"}},
		"Discord, nobody":  {Discord, `{"content":"@everyone <@&1>","allowed_mentions":{"parse":[]}}`, nil},
	} {
		t.Run(name, func(t *testing.T) {
			r := start(t, Options{})
			room := r.Open(tc.of, RoomOptions{})
			_, _, answer := say(t, room.URL(), tc.body)
			if len(room.Messages()) != 1 {
				t.Fatal(answer)
			}
			if diff := cmp.Diff(tc.want, room.Messages()[0].Mentions); diff != "" {
				t.Errorf("mentions (-want +got):\n%s", diff)
			}
		})
	}
}
