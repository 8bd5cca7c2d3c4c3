// Package monitoring tests what watches the operator: alerts, dashboard, and what Argo CD shows.
package monitoring

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/horizoncd/webhook-operator/test/controlplane"
	"github.com/horizoncd/webhook-operator/test/operator"
)

const (
	root = "../.."
	// patience bounds every wait.
	patience = 2 * time.Minute
)

// cluster is a control plane with the operator on it, which holds the lease. The first
// test that needs it starts it.
var cluster struct {
	*controlplane.ControlPlane
	install  *operator.Installation
	operator *operator.Operator

	once sync.Once
	err  error
}

func startCluster(t *testing.T) {
	t.Helper()
	cluster.once.Do(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
		defer cancel()
		cluster.err = func() (err error) {
			if cluster.ControlPlane, err = controlplane.Start(ctx, controlplane.Options{}); err != nil {
				return err
			}
			if cluster.install, err = operator.Install(ctx, cluster.ControlPlane, root); err != nil {
				return err
			}
			binary, err := operator.Build(ctx, root, cluster.Dir())
			if err != nil {
				return err
			}
			cluster.operator, err = operator.Start(ctx, operator.Options{
				Binary: binary, Kubeconfig: cluster.install.Kubeconfig, Log: filepath.Join(cluster.Dir(), "operator.log"),
				Args: []string{"--leader-elect"},
			})
			return err
		}()
	})
	if cluster.err != nil {
		t.Fatal(cluster.err)
	}
}

func stopCluster() error {
	var errs []error
	if cluster.operator != nil {
		errs = append(errs, cluster.operator.Stop())
	}
	if cluster.ControlPlane != nil {
		errs = append(errs, cluster.Stop())
	}
	return errors.Join(errs...)
}

func TestMain(m *testing.M) {
	code := m.Run()
	if err := stopCluster(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// tool is the path of a program that make test builds and names in an environment
// variable.
func tool(t *testing.T, variable string) string {
	t.Helper()
	path := os.Getenv(variable)
	switch {
	case path != "":
		return path
	case os.Getenv("CI") != "":
		t.Fatalf("%s is not set: run make test", variable)
	default:
		t.Skipf("%s is not set: run make test", variable)
	}
	return ""
}

// run returns what a program writes.
func run(t *testing.T, stdin []byte, program string, args ...string) []byte {
	t.Helper()
	var stderr bytes.Buffer
	cmd := exec.CommandContext(t.Context(), program, args...)
	cmd.Stdin, cmd.Stderr = bytes.NewReader(stdin), &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s%s", cmd, err, out, &stderr)
	}
	return out
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// scrape is what a target served at a time; the types are those of hack/prometheus/promcheck.
type scrape struct {
	Time   time.Time         `json:"time"`
	Labels map[string]string `json:"labels"`
	Text   string            `json:"text"`
}

type query struct {
	Expr  string        `json:"expr"`
	Start time.Time     `json:"start"`
	End   time.Time     `json:"end"`
	Step  time.Duration `json:"step"`
}

type answer struct {
	Error   string   `json:"error"`
	Metrics []string `json:"metrics"`
	Series  []struct {
		Labels map[string]string `json:"labels"`
		Points []struct {
			Time  time.Time `json:"time"`
			Value string    `json:"value"`
		} `json:"points"`
	} `json:"series"`
}

// ask has Prometheus' engine answer queries over scrapes.
func ask(t *testing.T, scrapes []scrape, queries []query) []answer {
	t.Helper()
	request, err := json.Marshal(map[string]any{"scrapes": scrapes, "queries": queries})
	if err != nil {
		t.Fatal(err)
	}
	var answers []answer
	if err := json.Unmarshal(run(t, request, tool(t, "PROMCHECK"), "query"), &answers); err != nil {
		t.Fatal(err)
	}
	for i, a := range answers {
		if a.Error != "" {
			t.Errorf("%s: %s", queries[i].Expr, a.Error)
		}
	}
	return answers
}

// metricsOf names the metrics of expressions.
func metricsOf(t *testing.T, expressions ...string) [][]string {
	t.Helper()
	var queries []query
	for _, e := range expressions {
		queries = append(queries, query{Expr: e})
	}
	var all [][]string
	for _, a := range ask(t, nil, queries) {
		all = append(all, a.Metrics)
	}
	return all
}

// families are the names of series in the text of a scrape.
func families(text string) map[string]bool {
	names := map[string]bool{}
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, "#") {
			name, _, _ := strings.Cut(line, " ")
			name, _, _ = strings.Cut(name, "{")
			names[name] = true
		}
	}
	return names
}
