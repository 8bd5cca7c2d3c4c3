// Package message says in words, for people in a chat room, what an event tells: in English
// or in Chinese. It is pure. What it returns is plain text that others have written in part;
// formats escape it for their service.
package message

import (
	"cmp"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/expression"
)

// Bounds in bytes. With them, a message has at most 3 KiB, so that it fits into what each
// service takes even where most of it is escaped.
const (
	maxName  = 128 // names, in titles and as facts
	maxTitle = 256
	maxPath  = 256
	maxText  = 512 // what somebody or a program has written
)

// Tones of a message, by which formats choose a colour.
const (
	Good    = "good"
	Bad     = "bad"
	Warning = "warning"
	Neutral = "neutral"
)

// beijing has no daylight saving time.
var beijing = time.FixedZone("UTC+8", 8*60*60)

// Of returns what is told of an event to the room of a Webhook. An event of a type that is
// not known is told by the name of the type.
func Of(e *expression.Event, w expression.Webhook, language v1alpha1.Language) *expression.Message {
	words := english
	if language == v1alpha1.LanguageChinese {
		words = chinese
	}
	kind, action := split(e.EventType)
	is, known := actions[kind+"_"+action]
	if !known {
		is = actions["_"+action]
	}
	m := &expression.Message{Tone: cmp.Or(is.tone, Neutral), Sign: cmp.Or(is.sign, "🔔"), Colon: words.colon}
	k := kubernetesEvent(e)
	if k != nil && k.Type == "Warning" {
		m.Tone, m.Sign = Warning, "⚠️"
	}
	m.Title = cut(title(e, w, words, kind, action, k), maxTitle)
	m.Facts = facts(e, w, words, kind, k)
	return m
}

// test is what a test delivery is about.
const test = "webhook"

// split returns what an event is about, such as cluster, and what has happened. Horizon
// spells families in the singular and in the plural, and one of them wrong.
func split(eventType string) (kind, action string) {
	if eventType == v1alpha1.EventTypeTest {
		return test, ""
	}
	family, action, _ := strings.Cut(eventType, "_")
	switch family {
	case "application", "applications":
		return "application", action
	case "cluster", "clusters", "clsuters":
		return "cluster", action
	case "pipelinerun", "pipelineruns":
		return "pipelinerun", action
	case "member", "members":
		return "member", action
	}
	return "", ""
}

// look is how an action looks.
type look struct{ tone, sign string }

// actions by what they are about; those without that are the same for all. What has only
// begun is not good yet: nobody knows how it ends.
var actions = map[string]look{
	"_created":                 {Good, "🆕"},
	"_updated":                 {Neutral, "✏️"},
	"_deleted":                 {Bad, "🗑️"},
	"application_transferred":  {Neutral, "🔀"},
	"cluster_builddeployed":    {Good, "🚀"},
	"cluster_deployed":         {Neutral, "🚀"},
	"cluster_rollbacked":       {Warning, "⏪"},
	"cluster_freed":            {Warning, "🧹"},
	"cluster_restarted":        {Warning, "🔄"},
	"cluster_rescheduled":      {Warning, "🔄"},
	"cluster_action":           {Neutral, "⚙️"},
	"cluster_kubernetes_event": {Neutral, "🔔"},
	"pipelinerun_created":      {Neutral, "📋"},
	"pipelinerun_executed":     {Neutral, "▶️"},
	"pipelinerun_cancelled":    {Warning, "⏹️"},
	"member_created":           {Neutral, "👤"},
	"member_updated":           {Neutral, "👤"},
	"member_deleted":           {Warning, "👤"},
	test + "_":                 {Neutral, "🧪"},
}

// title says what has happened in a line.
func title(e *expression.Event, w expression.Webhook, words vocabulary, kind, action string, k *involved) string {
	if kind == test {
		return fmt.Sprintf(words.test, clean(w.Name, maxName))
	}
	pattern, known := words.titles[kind+"_"+action]
	name := subject(e, kind)
	switch {
	case !known || name == "":
		return strings.TrimSuffix(clean(e.EventType, maxName)+": "+subject(e, ""), ": ")
	case kind == "member":
		return fmt.Sprintf(pattern, name, role(e.Member, words), resource(e, words))
	case k != nil && clean(k.Reason, maxName) != "":
		return fmt.Sprintf(pattern, name) + words.colon + clean(k.Reason, maxName)
	}
	return fmt.Sprintf(pattern, name)
}

// subject is the name of what an event is about.
func subject(e *expression.Event, kind string) string {
	var name string
	switch {
	case kind == "application" && e.Application != nil:
		name = e.Application.Name
	case kind == "cluster" && e.Cluster != nil:
		name = e.Cluster.Name
	case kind == "pipelinerun" && e.Pipelinerun != nil:
		name = e.Pipelinerun.ClusterName
	case kind == "member" && e.Member != nil:
		name = e.Member.MemberName
	case kind != "":
	case e.Cluster != nil:
		name = e.Cluster.Name
	case e.Application != nil:
		name = e.Application.Name
	default:
		name = e.ResourcePath
	}
	return clean(name, maxName)
}

func role(m *expression.Member, words vocabulary) string {
	if name := clean(m.Role, maxName); name != "" {
		return words.foreign + name
	}
	return words.member
}

// resource is what somebody is a member of. Horizon tells its number; its name is the last
// part of the path of the event.
func resource(e *expression.Event, words vocabulary) string {
	kind, known := words.resources[e.Member.ResourceType]
	if !known {
		kind = words.foreign + clean(e.Member.ResourceType, maxName)
	}
	name := clean(e.ResourcePath[strings.LastIndex(e.ResourcePath, "/")+1:], maxName)
	return strings.TrimRight(kind, " ") + " " + cmp.Or(name, "#"+strconv.FormatInt(e.Member.ResourceID, 10))
}

// facts are what else is worth knowing: what the title says is not said again. The most
// telling come first, then where, who and when.
func facts(e *expression.Event, w expression.Webhook, words vocabulary, kind string, k *involved) []expression.Fact {
	var all []expression.Fact
	add := func(name, value string, most int) {
		if value = clean(value, most); value != "" {
			all = append(all, expression.Fact{Name: name, Value: value})
		}
	}
	if kind == test {
		add(words.webhook, strings.TrimPrefix(w.Namespace+"/"+w.Name, "/"), maxPath)
	} else {
		about(e, words, kind, k, add)
		add(words.path, e.ResourcePath, maxPath)
		if u := e.User; u != nil {
			add(words.user, cmp.Or(clean(u.Name, maxName), u.Email), maxName)
		}
	}
	if !e.Time.IsZero() {
		add(words.time, e.Time.In(words.zone).Format(words.timeFormat), maxName)
	}
	if len(all) == 0 {
		add(words.event, e.EventType, maxName) // a message has something to say
	}
	return all
}

// about adds what an event tells of what it is about.
func about(e *expression.Event, words vocabulary, kind string, k *involved, add func(name, value string, most int)) {
	if a := e.Application; a != nil {
		if kind != "application" {
			add(words.application, a.Name, maxName)
		}
		add(words.priority, a.Priority, maxName)
	}
	if c := e.Cluster; c != nil {
		if kind != "cluster" && (e.Pipelinerun == nil || e.Pipelinerun.ClusterName != c.Name) {
			add(words.cluster, c.Name, maxName)
		}
		if e.Application == nil || e.Application.Name != c.ApplicationName {
			add(words.application, c.ApplicationName, maxName)
		}
		add(words.environment, c.Env, maxName)
	}
	if p := e.Pipelinerun; p != nil {
		if kind != "pipelinerun" && (kind != "cluster" || e.Cluster == nil || e.Cluster.Name != p.ClusterName) {
			add(words.cluster, p.ClusterName, maxName)
		}
		add(words.action, cmp.Or(words.pipelines[p.Action], p.Action), maxName)
		add(words.title, p.Title, maxName)
		add(words.description, p.Description, maxPath)
		add(words.gitRef, words.beside(p.GitRef, cmp.Or(words.refs[p.GitRefType], p.GitRefType)), maxName)
	}
	if m := e.Member; m != nil && kind != "member" {
		add(words.person, words.beside(m.MemberName, m.Role), maxName)
	}
	switch {
	case k != nil:
		add(words.object, strings.TrimSpace(k.InvolvedObject.Kind+" "+k.InvolvedObject.Name), maxName)
		add(words.says, k.Message, maxText)
	case strings.HasSuffix(e.EventType, "_rescheduled"):
		add(words.pods, listed(e.Extra), maxText)
	default:
		add(words.details, e.Extra, maxText)
	}
}

// listed writes a JSON list of texts in words, and leaves all else as it is.
func listed(s string) string {
	var list []string
	if err := json.Unmarshal([]byte(s), &list); err != nil {
		return s
	}
	return strings.Join(list, ", ")
}

// kubernetesEvent is what Horizon passes on of an event of Kubernetes; nil where an event is
// none, or says nothing.
func kubernetesEvent(e *expression.Event) *involved {
	if !strings.HasSuffix(e.EventType, "_kubernetes_event") {
		return nil
	}
	k := &involved{}
	if err := json.Unmarshal([]byte(e.Extra), k); err != nil || k.Reason == "" && k.Message == "" {
		return nil
	}
	return k
}

type involved struct {
	InvolvedObject struct {
		Kind string `json:"kind"`
		Name string `json:"name"`
	} `json:"involvedObject"`
	Reason  string `json:"reason"`
	Message string `json:"message"`
	Type    string `json:"type"`
}

// clean returns a text in one line, without characters that nobody sees, up to so many bytes.
func clean(s string, most int) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r) || unicode.IsControl(r):
			return ' '
		case unicode.In(r, unicode.Cf) && r != '\u200d': // which joins parts of an emoji
			return -1
		}
		return r
	}, strings.ToValidUTF8(s[:min(len(s), 4*most)], ""))
	return cut(strings.Join(strings.Fields(s), " "), most)
}

// cut shortens a text to so many bytes, with a mark where something is left out.
func cut(s string, most int) string {
	const mark = "…"
	if len(s) <= most {
		return s
	}
	end := most - len(mark)
	for end > 0 && !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end] + mark
}
