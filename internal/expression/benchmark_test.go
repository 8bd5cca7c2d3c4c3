package expression

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"
)

const (
	sampleFilter   = `event.cluster.env == "online" && !event.user.email.endsWith("@bot")`
	sampleTemplate = `{
  "msgtype": "markdown",
  "markdown": {
    "title": "Deployed",
    "text": "### " + event.cluster.name + " is out\n\n" +
      ["by " + event.user.name, "in " + event.cluster.env, "#" + string(event.eventID)].map(l, "- " + l).join("\n")
  },
  "at": {"isAtAll": event.cluster.env == "online"}
}`
	sampleRule = `response.json.?errcode.orValue(-1) == 0`
)

func sampleInput() Input {
	return Input{
		Event: &Event{
			EventID: 1042, EventType: "clusters_deployed", Time: time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC),
			ResourcePath: "/clusters/7", Namespace: "team-a",
			Application: &Application{ID: 3, Name: "shop", Priority: "P1"},
			Cluster:     &Cluster{ID: 7, Name: "web", ApplicationName: "shop", Env: "online"},
			User:        &User{ID: 5, Name: "mila", Email: "mila@example.com"},
			Extra:       `{"replicas":3,"images":["web:1.2"],"note":null}`,
		},
		Webhook:  Webhook{Name: "ops-room", Namespace: "team-a", ID: 9},
		Delivery: Delivery{ID: "msg_1"},
		Response: &Response{
			StatusCode: 200,
			Header:     map[string]string{"content-type": "application/json"},
			Body:       []byte(`{"errcode":310000,"errmsg":"keywords not in content"}`),
		},
	}
}

func BenchmarkCompile(b *testing.B) {
	for name, compile := range map[string]func(i int) error{
		"filter": func(i int) error {
			_, err := newProgram(filters, fmt.Sprintf("%s && event.eventID != %d", sampleFilter, i))
			return mistakeOrNil(err)
		},
		"template": func(i int) error {
			_, err := newProgram(templates, strings.Replace(sampleTemplate, "Deployed", fmt.Sprint(i), 1))
			return mistakeOrNil(err)
		},
		"kept": func(int) error { _, err := CompileTemplate(sampleTemplate); return err },
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if err := compile(i); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func mistakeOrNil(m *Mistake) error {
	if m == nil {
		return nil
	}
	return m
}

func BenchmarkEvaluate(b *testing.B) {
	in := sampleInput()
	filter, err := CompileFilter(sampleFilter)
	if err != nil {
		b.Fatal(err)
	}
	template, err := CompileTemplate(sampleTemplate)
	if err != nil {
		b.Fatal(err)
	}
	rule, err := CompileRule(sampleRule)
	if err != nil {
		b.Fatal(err)
	}
	for name, evaluate := range map[string]func() error{
		"filter":   func() error { _, err := filter.Matches(in); return err },
		"template": func() error { _, err := template.Render(in); return err },
		"rule":     func() error { _, err := rule.Holds(in); return err },
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := evaluate(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// Programs take no more memory than the comment of maxCompiled says, with some room.
func TestMemoryOfPrograms(t *testing.T) {
	heap := func() uint64 {
		runtime.GC()
		runtime.GC()
		var stats runtime.MemStats
		runtime.ReadMemStats(&stats)
		return stats.HeapAlloc
	}
	for name, test := range map[string]struct {
		kind  kind
		text  string
		count int
		most  uint64
	}{
		"filters":   {filters, sampleFilter, 1000, 16 << 10},
		"templates": {templates, sampleTemplate, 300, 32 << 10},
	} {
		t.Run(name, func(t *testing.T) {
			environments[test.kind]()
			before := heap()
			programs := make([]*program, test.count)
			for i := range programs {
				p, mistake := newProgram(test.kind, strings.Replace(test.text, `"online"`, fmt.Sprintf(`"online%d"`, i), 1))
				if mistake != nil {
					t.Fatal(mistake)
				}
				programs[i] = p
			}
			each := (heap() - before) / uint64(test.count)
			t.Logf("%d bytes each", each)
			if each > test.most {
				t.Errorf("each takes %d bytes, more than %d", each, test.most)
			}
			runtime.KeepAlive(programs)
		})
	}
}
