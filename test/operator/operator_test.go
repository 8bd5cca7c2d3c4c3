package operator

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// The test's own program plays the operator, and a parent of one, when roleEnv
// says so.
const (
	roleEnv      = "OPERATOR_TEST_ROLE"
	roleOperator = "operator"
	roleParent   = "parent"

	patience = 30 * time.Second
)

func TestMain(m *testing.M) {
	switch os.Getenv(roleEnv) {
	case roleOperator:
		os.Exit(playOperator())
	case roleParent:
		os.Exit(playParent())
	}
	os.Exit(m.Run())
}

// playOperator serves what the operator serves, until it is asked to end.
func playOperator() int {
	flags := flag.NewFlagSet("stub", flag.ContinueOnError)
	health := flags.String("health-probe-bind-address", "", "")
	metrics := flags.String("metrics-bind-address", "", "")
	flags.String("kubeconfig", "", "")
	flags.String("system-namespace", "", "")
	flags.String("egress-allow", "", "")
	flags.Bool("metrics-secure", true, "")
	fail := flags.Bool("fail", false, "")
	stubborn := flags.Bool("never-ready", false, "")
	silent := flags.Bool("falls-silent", false, "")
	if err := flags.Parse(os.Args[1:]); err != nil {
		return 2
	}
	fmt.Println("flags:", os.Args[1:])
	if *fail {
		fmt.Println("no such cluster")
		return 3
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	mux := http.NewServeMux()
	var asked atomic.Int32
	mux.HandleFunc("/readyz", func(w http.ResponseWriter, r *http.Request) {
		if n := asked.Add(1); n > 1 {
			fmt.Println("asked again") // so the first answer has arrived
			if *silent {
				<-r.Context().Done()
			}
		}
		if *stubborn {
			http.Error(w, "caches are empty", http.StatusInternalServerError)
		}
	})
	mux.HandleFunc("/metrics", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "up 1\n") })
	for _, addr := range []string{*health, *metrics} {
		go func() { _ = http.ListenAndServe(addr, mux) }()
	}
	<-ctx.Done()
	return 0
}

// playParent starts an operator, says its process id, and waits to be killed.
func playParent() int {
	op, err := Start(context.Background(), stub(os.Args[1]))
	if err != nil {
		fmt.Println(err)
		return 1
	}
	fmt.Println(op.Pid())
	select {}
}

func stub(dir string, args ...string) Options {
	self, err := os.Executable()
	if err != nil {
		panic(err)
	}
	return Options{
		Binary: self, Kubeconfig: "kubeconfig", Log: filepath.Join(dir, "operator.log"),
		Args: args, Env: []string{roleEnv + "=" + roleOperator},
	}
}

func start(t *testing.T, o Options) *Operator {
	t.Helper()
	op, err := Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := op.Kill(); err != nil {
			t.Error(err)
		}
	})
	return op
}

func TestStartWaitsUntilReadyAndStopAsks(t *testing.T) {
	op := start(t, stub(t.TempDir(), "--system-namespace=elsewhere"))
	if op.State() != "" {
		t.Fatalf("it has ended: %s", op.State())
	}
	metrics, err := op.Metrics(t.Context())
	if err != nil || metrics != "up 1\n" {
		t.Errorf("metrics: got %q, %v", metrics, err)
	}
	if err := op.Stop(); err != nil {
		t.Fatal(err)
	}
	if op.State() != "exit status 0" {
		t.Errorf("it ended with %s, want exit status 0", op.State())
	}
	if err := op.Stop(); err != nil {
		t.Errorf("a second Stop: %v", err)
	}
	output, err := op.Output()
	if err != nil {
		t.Fatal(err)
	}
	first := strings.Index(output, "--system-namespace="+DefaultSystemNamespace)
	if last := strings.Index(output, "--system-namespace=elsewhere"); first < 0 || last < first {
		t.Errorf("given flags do not come after the package's own: %s", output)
	}
}

func TestKillIsACrash(t *testing.T) {
	op := start(t, stub(t.TempDir()))
	if err := op.Kill(); err != nil {
		t.Fatal(err)
	}
	if op.State() != "signal: killed" {
		t.Errorf("it ended with %s, want signal: killed", op.State())
	}
	if err := op.Terminate(); !errors.Is(err, os.ErrProcessDone) {
		t.Errorf("signalling it: got %v, want %v", err, os.ErrProcessDone)
	}
}

func TestPausedOperatorCanBeStopped(t *testing.T) {
	op := start(t, stub(t.TempDir()))
	if err := op.Pause(); err != nil {
		t.Fatal(err)
	}
	// The signal takes effect some time after it was sent.
	answers := func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		return op.WaitReady(ctx) == nil
	}
	for end := time.Now().Add(10 * time.Second); answers(); {
		if time.Now().After(end) {
			t.Fatal("it answers while it is paused")
		}
	}
	if err := op.Stop(); err != nil {
		t.Fatal(err)
	}
}

func TestSecondLifeHasItsOwnOutput(t *testing.T) {
	o := stub(t.TempDir())
	first := start(t, o)
	if err := first.Kill(); err != nil {
		t.Fatal(err)
	}
	output, err := start(t, o).Output()
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(output, "flags:"); n != 1 {
		t.Errorf("the output of the second life has %d starts, want 1:\n%s", n, output)
	}
}

func TestFailedStartTellsWhy(t *testing.T) {
	tests := map[string]struct {
		args []string
		want []string
	}{
		"it ends":           {args: []string{"--fail"}, want: []string{"exit status 3", "no such cluster"}},
		"it is never ready": {args: []string{"--never-ready"}, want: []string{"not ready", "caches are empty"}},
		"and falls silent":  {args: []string{"--never-ready", "--falls-silent"}, want: []string{"not ready", "caches are empty"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			o := stub(t.TempDir(), tt.args...)
			// The wait ends once there is something to tell, however long that takes.
			go func() {
				for ctx.Err() == nil {
					if said, err := os.ReadFile(o.Log); err == nil && strings.Contains(string(said), "asked again") {
						cancel()
					}
					time.Sleep(time.Millisecond)
				}
			}()
			_, err := Start(ctx, o)
			if err == nil {
				t.Fatal("it started")
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("the error does not say %q: %v", want, err)
				}
			}
		})
	}
}

func TestMissingBinaryIsNamed(t *testing.T) {
	_, err := Start(t.Context(), Options{Binary: filepath.Join(t.TempDir(), "webhook-operator")})
	if err == nil || !strings.Contains(err.Error(), "make build") {
		t.Errorf("got %v, want an error that says what to do", err)
	}
}

func TestOperatorEndsWithItsParent(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	parent := exec.Command(self, t.TempDir())
	parent.Env = append(os.Environ(), roleEnv+"="+roleParent)
	out, err := parent.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil {
		t.Fatalf("the parent says %q", line)
	}
	if err := parent.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = parent.Wait()

	deadline := time.Now().Add(patience)
	for syscall.Kill(pid, 0) == nil {
		// Where nobody reaps orphans, the process stays as a zombie.
		if state, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid)); err == nil && strings.Contains(string(state), ") Z ") {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("process %d has outlived its parent", pid)
		}
		time.Sleep(10 * time.Millisecond)
	}
}
