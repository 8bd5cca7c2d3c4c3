package cli

import (
	"bytes"
	"context"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	. "github.com/onsi/gomega"

	"github.com/horizoncd/webhook-operator/test/controlplane"
	"github.com/horizoncd/webhook-operator/test/operator"
	"github.com/horizoncd/webhook-operator/test/testbed"
)

const (
	root     = "../.."
	patience = testbed.Patience
)

// update writes golden files anew: go test ./internal/cli -update.
var update = flag.Bool("update", false, "write the golden files anew")

// suite is what the tests on a real API server share. It is started by the first of them.
var suite operator.Stack

func TestMain(m *testing.M) { os.Exit(testbed.Run(m, suite.Stop)) }

// bed is what one test has for itself, with somebody who runs commands.
type bed struct {
	testbed.Bed

	// kubeconfig is that of who runs commands: the administrator's, or see as.
	kubeconfig string
	// width is that of the terminal; 0 is none.
	width int
	stdin string
	// interactive tells whether stdin is that of a person.
	interactive bool
}

func newBed(t *testing.T) *bed {
	t.Helper()
	b := testbed.New(t, &suite, root, "cli-")
	return &bed{Bed: *b, kubeconfig: suite.ControlPlane.Kubeconfig()}
}

// offline returns a bed for commands that ask no API server.
func offline(t *testing.T) *bed {
	t.Helper()
	b := testbed.Bed{T: t, Gomega: NewWithT(t), Ctx: t.Context(), Namespace: "default"}
	return &bed{Bed: b, kubeconfig: os.DevNull}
}

// as returns the same bed for a person who has the given ClusterRoles in the namespace.
func (b *bed) as(user string, clusterRoles ...string) *bed {
	b.Helper()
	other := *b
	other.kubeconfig = filepath.Join(b.TempDir(), "kubeconfig")
	b.Expect(controlplane.WriteKubeconfig(other.kubeconfig, b.Person(user, clusterRoles...))).To(Succeed())
	return &other
}

// ran is what came of a command.
type ran struct {
	out, err string
	code     int
}

// run runs a command line in the bed's namespace, as the binary does.
func (b *bed) run(args ...string) ran {
	b.Helper()
	return b.runContext(b.Ctx, args...)
}

func (b *bed) runContext(ctx context.Context, args ...string) ran {
	b.Helper()
	var out, errOut bytes.Buffer
	code := execute(ctx, b.plugin(&out, &errOut), append([]string{"--kubeconfig", b.kubeconfig, "--namespace", b.Namespace}, args...))
	return ran{out.String(), errOut.String(), code}
}

// mustRun runs a command that has to succeed, and returns what it prints.
func (b *bed) mustRun(args ...string) string {
	b.Helper()
	r := b.run(args...)
	if r.code != 0 {
		b.Fatalf("kubectl horizon %s: exit code %d\n%s%s", strings.Join(args, " "), r.code, r.out, r.err)
	}
	return r.out
}

// golden compares a text with a file of testdata, or writes it with -update.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs; go test ./internal/cli -update writes it anew. Got:\n%s", path, got)
	}
}
