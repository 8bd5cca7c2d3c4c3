// Command promcheck does with Prometheus' own packages what the tests of config/monitoring need and promtool does
// not: it names the metrics of queries, answers queries from recorded scrapes, and decodes the Prometheus operator's
// objects strictly. It stands in a module of its own, so that the operator's module has none of these packages.
//
//	promcheck query <request.json      scrapes and queries in, answers out
//	promcheck manifests <objects.yaml  fails for a field or an object that is not known
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/textparse"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/tsdb"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"
)

// request is what promcheck query reads.
type request struct {
	Scrapes []scrape `json:"scrapes"`
	Queries []query  `json:"queries"`
}

// scrape is what a target served at a time, in the text format.
type scrape struct {
	Time   time.Time         `json:"time"`
	Labels map[string]string `json:"labels"`
	Text   string            `json:"text"`
}

// query is evaluated from Start to End, unless its step is 0: then it is only parsed.
type query struct {
	Expr  string        `json:"expr"`
	Start time.Time     `json:"start"`
	End   time.Time     `json:"end"`
	Step  time.Duration `json:"step"`
}

// answer is what promcheck query writes for each query.
type answer struct {
	Error string `json:"error,omitempty"`
	// Metrics are the names in the query.
	Metrics []string `json:"metrics,omitempty"`
	Series  []series `json:"series,omitempty"`
}

type series struct {
	Labels map[string]string `json:"labels"`
	Points []point           `json:"points"`
}

// point has its value as text, since JSON knows no NaN.
type point struct {
	Time  time.Time `json:"time"`
	Value string    `json:"value"`
}

func main() {
	if err := run(os.Args[1:], os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "promcheck:", err)
		os.Exit(1)
	}
}

func run(args []string, in io.Reader, out io.Writer) error {
	switch {
	case slices.Equal(args, []string{"query"}):
		var r request
		if err := json.NewDecoder(in).Decode(&r); err != nil {
			return fmt.Errorf("reading the request: %w", err)
		}
		answers, err := answerAll(r)
		if err != nil {
			return err
		}
		return json.NewEncoder(out).Encode(answers)
	case slices.Equal(args, []string{"manifests"}):
		return decodeAll(in)
	default:
		return errors.New("give one of query and manifests")
	}
}

func answerAll(r request) (_ []answer, err error) {
	dir, err := os.MkdirTemp("", "promcheck-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	opts := tsdb.DefaultOptions()
	opts.RetentionDuration = 0
	db, err := tsdb.Open(dir, nil, nil, opts, tsdb.NewDBStats())
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	for _, s := range r.Scrapes {
		if err := store(db, s); err != nil {
			return nil, fmt.Errorf("the scrape of %s: %w", s.Time.Format(time.RFC3339), err)
		}
	}
	p := parser.NewParser(parser.Options{})
	engine := promql.NewEngine(promql.EngineOpts{MaxSamples: 50_000_000, Timeout: time.Minute, Parser: p})
	answers := make([]answer, 0, len(r.Queries))
	for _, q := range r.Queries {
		a, err := ask(engine, p, db, q)
		if err != nil {
			a.Error = err.Error()
		}
		answers = append(answers, a)
	}
	return answers, nil
}

// store appends what was scraped, and up, as Prometheus would.
func store(db *tsdb.DB, s scrape) error {
	at := s.Time.UnixMilli()
	app := db.Appender(context.Background())
	add := func(metric labels.Labels, value float64) error {
		b := labels.NewBuilder(metric)
		for name, value := range s.Labels {
			b.Set(name, value)
		}
		_, err := app.Append(0, b.Labels(), at, value)
		return err
	}
	text, err := textparse.New([]byte(s.Text), "text/plain", nil, textparse.ParserOptions{})
	if err != nil {
		return err
	}
	for {
		entry, err := text.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		if entry != textparse.EntrySeries {
			continue
		}
		var metric labels.Labels
		text.Labels(&metric)
		_, _, value := text.Series()
		if err := add(metric, value); err != nil {
			return err
		}
	}
	up := 1.0
	if s.Text == "" {
		up = 0
	}
	if err := add(labels.FromStrings(labels.MetricName, "up"), up); err != nil {
		return err
	}
	return app.Commit()
}

func ask(engine *promql.Engine, p parser.Parser, db *tsdb.DB, q query) (a answer, err error) {
	expr, err := p.ParseExpr(q.Expr)
	if err != nil {
		return a, err
	}
	parser.Inspect(expr, func(node parser.Node, _ []parser.Node) error {
		if v, ok := node.(*parser.VectorSelector); ok {
			a.Metrics = append(a.Metrics, v.Name)
		}
		return nil
	})
	slices.Sort(a.Metrics)
	a.Metrics = slices.Compact(a.Metrics)
	if q.Step == 0 {
		return a, nil
	}
	prepared, err := engine.NewRangeQuery(context.Background(), db, nil, q.Expr, q.Start, q.End, q.Step)
	if err != nil {
		return a, err
	}
	defer prepared.Close()
	matrix, err := prepared.Exec(context.Background()).Matrix()
	if err != nil {
		return a, err
	}
	for _, found := range matrix {
		s := series{Labels: found.Metric.Map()}
		for _, f := range found.Floats {
			s.Points = append(s.Points, point{time.UnixMilli(f.T).UTC(), fmt.Sprint(f.F)})
		}
		a.Series = append(a.Series, s)
	}
	return a, nil
}

// decodeAll passes over what does not belong to the Prometheus operator.
func decodeAll(in io.Reader) error {
	docs := utilyaml.NewYAMLReader(bufio.NewReader(in))
	found := 0
	for {
		doc, err := docs.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		var kind metav1.TypeMeta
		if err := yaml.Unmarshal(doc, &kind); err != nil {
			return err
		}
		if kind.GroupVersionKind().Group != "monitoring.coreos.com" {
			continue
		}
		var into any
		switch kind.APIVersion + " " + kind.Kind {
		case "monitoring.coreos.com/v1 ServiceMonitor":
			into = &monitoringv1.ServiceMonitor{}
		case "monitoring.coreos.com/v1 PodMonitor":
			into = &monitoringv1.PodMonitor{}
		case "monitoring.coreos.com/v1 PrometheusRule":
			into = &monitoringv1.PrometheusRule{}
		default:
			return fmt.Errorf("%s of %s is not known", kind.Kind, kind.APIVersion)
		}
		if err := yaml.UnmarshalStrict(doc, into); err != nil {
			return fmt.Errorf("%s: %w", kind.Kind, err)
		}
		found++
	}
	if found == 0 {
		return errors.New("there is no object of monitoring.coreos.com")
	}
	return nil
}
