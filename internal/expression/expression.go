// Package expression evaluates what Webhooks say in CEL: filters, which events are sent;
// templates, how the body looks; and rules, what an answer means. An expression sees typed
// variables and nothing else: no secret and no clock, so the same input gives the same
// result. It comes from people who are trusted with their own Webhook only, so time, memory
// and the size of what it makes are bounded. The package knows nothing of Kubernetes.
//
// Beside the standard library of CEL, optional values, comprehensions over keys and values and
// sets there are: s.replace(old, new), s.split(separator), list.join(separator),
// s.lowerAscii(), s.upperAscii(), s.trim(), s.substring(start, end) in characters,
// s.truncate(bytes), json(s), and the escapes escape.markdown(s), escape.html(s),
// escape.dingtalk(s), escape.discord(s), escape.feishu(s), escape.slack(s) and
// escape.wecom(s), which take a bound in bytes as a second argument. The pattern of
// s.matches(pattern) is a literal.
//
// Compile functions may be called as often as convenient: what was compiled last is kept.
// All types may be used concurrently.
package expression

import (
	"fmt"
	"time"
)

// Bounds of what an expression may cost. A cost of 10 000 takes about a millisecond.
const (
	// MaxFilterCost is that of a filter.
	MaxFilterCost = 10_000
	// MaxCost is that of a template or a rule.
	MaxCost = 100_000
	// MaxTime is how long a template or a rule may take.
	MaxTime = 50 * time.Millisecond
	// MaxText is how many bytes a text may have that an expression makes.
	MaxText = 64 << 10
	// MaxBody is how many bytes the body may have that a template makes.
	MaxBody = 64 << 10
	// MaxDepth is how deep maps and lists may be nested in a body, and in a text that is
	// read as JSON.
	MaxDepth = 32
)

// Event is what an expression sees of an event. A part that is absent reads as one whose
// fields are empty; has(event.cluster) tells.
type Event struct {
	EventID      int64        `cel:"eventID"`
	EventType    string       `cel:"eventType"`
	Time         time.Time    `cel:"time"`
	ResourcePath string       `cel:"resourcePath"`
	Namespace    string       `cel:"namespace"`
	Application  *Application `cel:"application"`
	Cluster      *Cluster     `cel:"cluster"`
	Pipelinerun  *Pipelinerun `cel:"pipelinerun"`
	Member       *Member      `cel:"member"`
	User         *User        `cel:"user"`
	Extra        string       `cel:"extra"`
}

// Application is the application that an event is about.
type Application struct {
	ID       int64  `cel:"id"`
	Name     string `cel:"name"`
	Priority string `cel:"priority"`
}

// Cluster is the cluster that an event is about.
type Cluster struct {
	ID              int64  `cel:"id"`
	Name            string `cel:"name"`
	ApplicationName string `cel:"applicationName"`
	Env             string `cel:"env"`
}

// Pipelinerun is the pipelinerun that an event is about.
type Pipelinerun struct {
	ID          int64  `cel:"id"`
	ClusterID   int64  `cel:"clusterID"`
	ClusterName string `cel:"clusterName"`
	Action      string `cel:"action"`
	Title       string `cel:"title"`
	Description string `cel:"description"`
	GitRef      string `cel:"gitRef"`
	GitRefType  string `cel:"gitRefType"`
}

// Member is the member that an event is about.
type Member struct {
	ID           int64  `cel:"id"`
	ResourceID   int64  `cel:"resourceID"`
	ResourceType string `cel:"resourceType"`
	Role         string `cel:"role"`
	MemberNameID int64  `cel:"memberNameID"`
	MemberName   string `cel:"memberName"`
}

// User is who caused an event.
type User struct {
	ID    int64  `cel:"id"`
	Name  string `cel:"name"`
	Email string `cel:"email"`
}

// Webhook is what an expression sees of its Webhook.
type Webhook struct {
	Name      string `cel:"name"`
	Namespace string `cel:"namespace"`
	// ID is the number that is sent as webhookID.
	ID int64 `cel:"id"`
}

// Delivery is what templates and rules see of the delivery.
type Delivery struct {
	// ID is the header webhook-id.
	ID string `cel:"id"`
}

// Message is what a person in a chat room is told of an event. All of it is plain text in
// the language of the room, and some was written by others: a format escapes it.
type Message struct {
	// Title says in a line what has happened, up to 256 bytes.
	Title string `cel:"title"`
	// Tone is good, bad, warning or neutral, and Sign an emoji for it.
	Tone string `cel:"tone"`
	Sign string `cel:"sign"`
	// Colon is what the language writes between a name and a value.
	Colon string `cel:"colon"`
	// Facts are 1 to 16, none of them empty, and up to 2 560 bytes together.
	Facts []Fact `cel:"facts"`
}

// Fact is a name with its value, such as Environment and online: up to 64 and 512 bytes.
type Fact struct {
	Name  string `cel:"name"`
	Value string `cel:"value"`
}

// Response is the answer that a rule is asked about.
type Response struct {
	StatusCode int
	// Header has the names in lower case; the values of one are joined by ", ".
	Header map[string]string
	// Body is also read as JSON, where a rule asks for response.json.
	Body []byte
}

// Input is what an expression sees. Filters see Event and Webhook, templates Delivery and
// Message, too, and rules Delivery and Response.
type Input struct {
	Event    *Event
	Webhook  Webhook
	Delivery Delivery
	Message  *Message
	Response *Response

	// unhurried leaves MaxTime out of account.
	unhurried bool
}

// Mistake is why an expression does not compile. Its text has a line for each mistake,
// with the place, and a caret below the line of the expression that it is in:
//
//	1:15: undefined field 'nme'
//	  | event.cluster.nme == "web"
//	  | ..............^
type Mistake struct { //nolint:errname // It is what a person is told.
	// Line and Column are the place of the first mistake, both from 1 on; Column counts
	// characters.
	Line, Column int
	// Summary is the first mistake in a line, without its place.
	Summary string
	text    string
}

func (m *Mistake) Error() string { return m.text }

// Short returns the first mistake in a line, with its place.
func (m *Mistake) Short() string { return fmt.Sprintf("%d:%d: %s", m.Line, m.Column, m.Summary) }

// Part is a part of an expression, with its value for an input: what explains the value of
// the whole.
type Part struct {
	// Text is the part as it is written.
	Text string
	// Value is it in CEL's own notation, cut to 200 bytes; or the error.
	Value string
	// Line and Column are its place.
	Line, Column int
}

// Filter is a filter that compiles.
type Filter struct{ *program }

// CompileFilter compiles a filter: an expression with the value true or false. The error
// is a *Mistake.
func CompileFilter(text string) (*Filter, error) {
	p, err := compile(filters, text)
	if err != nil {
		return nil, err
	}
	return &Filter{p}, nil
}

// Matches tells whether an event is to be sent. The error is in words, without a place in
// the expression and up to 512 bytes long: it failed for this event, such as by dividing by
// zero, or cost more than MaxFilterCost.
func (f *Filter) Matches(in Input) (bool, error) { return f.holds(in) }

// Template is a template that compiles.
type Template struct{ *program }

// CompileTemplate compiles a template: an expression with the value of a map. The error is
// a *Mistake.
func CompileTemplate(text string) (*Template, error) {
	p, err := compile(templates, text)
	if err != nil {
		return nil, err
	}
	return &Template{p}, nil
}

// Render returns the body, as compact JSON with sorted keys. The error is in words, up to
// 512 bytes long.
func (t *Template) Render(in Input) ([]byte, error) { return t.render(in) }

// RenderUnhurried returns what Render does, however long it takes: for the operator's own
// templates, which cost little and must not fail where the machine stands still for a while.
func (t *Template) RenderUnhurried(in Input) ([]byte, error) {
	in.unhurried = true
	return t.render(in)
}

// Rule is a rule that compiles.
type Rule struct{ *program }

// CompileRule compiles a rule about an answer: an expression with the value true or false.
// The error is a *Mistake.
func CompileRule(text string) (*Rule, error) {
	p, err := compile(rules, text)
	if err != nil {
		return nil, err
	}
	return &Rule{p}, nil
}

// Holds tells whether the rule is true for an answer. The error is in words, up to 512
// bytes long: it failed for this one, such as where the body is no JSON.
func (r *Rule) Holds(in Input) (bool, error) { return r.holds(in) }
