package controlplane

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"testing"
)

// parentEnv makes the test binary play the parent of a control plane.
const parentEnv = "HORIZON_CONTROLPLANE_TEST_PARENT"

func TestMain(m *testing.M) {
	if os.Getenv(parentEnv) == "" {
		os.Exit(m.Run())
	}
	if err := playParent(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// playParent starts a control plane, tells the ids of its processes, and waits
// to be killed.
func playParent() error {
	cp, err := Start(context.Background(), Options{Dir: os.Getenv(parentEnv)})
	if err != nil {
		return err
	}
	if err := json.NewEncoder(os.Stdout).Encode(pids(cp)); err != nil {
		return err
	}
	select {}
}

// The processes end with their parent even if it has no chance to say so, and
// even if they are paused.
func TestProcessesEndWithTheirParent(t *testing.T) {
	t.Parallel()
	if _, err := findBinaries(Options{}); err != nil {
		t.Fatal(err)
	}
	parent := exec.Command(os.Args[0])
	parent.Env = append(os.Environ(), parentEnv+"="+t.TempDir())
	parent.Stderr = os.Stderr
	stdout, err := parent.StdoutPipe()
	must(t, err)
	must(t, parent.Start())
	t.Cleanup(func() {
		_ = parent.Process.Kill()
		_ = parent.Wait()
	})

	line, err := bufio.NewReader(stdout).ReadBytes('\n')
	if err != nil {
		t.Fatalf("the parent did not tell its children: %v", err)
	}
	var children []int
	must(t, json.Unmarshal(line, &children))
	if len(children) != 2 {
		t.Fatalf("the parent has the children %v, want two", children)
	}
	t.Cleanup(func() {
		for _, pid := range children {
			_ = syscall.Kill(-pid, syscall.SIGKILL) // should the test fail
		}
	})
	for _, pid := range children {
		if !alive(pid) {
			t.Fatalf("child %d does not run", pid)
		}
	}
	must(t, syscall.Kill(children[0], syscall.SIGSTOP))

	must(t, parent.Process.Kill())
	eventually(t, "the children to end", func(context.Context) error {
		for _, pid := range children {
			if alive(pid) {
				return fmt.Errorf("child %d lives", pid)
			}
		}
		return nil
	})
}
