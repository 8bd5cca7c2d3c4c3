package cli

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	"golang.org/x/sync/errgroup"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/table"
)

// many is how many deliveries TestLogsOfMany makes. What takes how long, and how much memory,
// with 50000 of them: go test ./internal/cli -run TestLogsOfMany -deliveries 50000 -v
var many = flag.Int("deliveries", 2000, "how many deliveries TestLogsOfMany makes")

// Of many deliveries, the newest are shown, in any namespace, with memory that depends on
// the page and not on how many there are.
func TestLogsOfMany(t *testing.T) {
	const webhooks = 20
	b := newBed(t)
	var ws []*v1alpha1.Webhook
	for i := range webhooks {
		ws = append(ws, b.Webhook(fmt.Sprintf("webhook-%02d", i), func(s *v1alpha1.WebhookSpec) {
			s.State, s.URL, s.Retention.Limit = v1alpha1.WebhookDisabled, "https://ci.example.com/hooks/horizon", new(int32(10000))
		}))
	}
	b.Ctx = t.Context() // as long as it takes
	group, ctx := errgroup.WithContext(b.Ctx)
	group.SetLimit(32)
	for i := range *many {
		group.Go(func() error {
			// Times and names are in different orders.
			at := told.Add(time.Duration(i*7919%*many) * time.Second)
			code := 200
			if i%10 == 0 {
				code = 500
			}
			d := recordOf(ws[i%webhooks], i, at, answer(at, code, strings.Repeat("x", 2000)))
			return b.Client.Create(ctx, d)
		})
	}
	b.Expect(group.Wait()).To(Succeed())

	binary := filepath.Join(t.TempDir(), "kubectl-horizon")
	out, err := exec.CommandContext(b.Ctx, "go", "build", "-o", binary, "../../cmd/kubectl-horizon").CombinedOutput()
	b.Expect(err).NotTo(HaveOccurred(), string(out))
	run := func(args ...string) []string {
		b.Helper()
		cmd := exec.CommandContext(b.Ctx, binary, append([]string{"--kubeconfig", b.kubeconfig, "--namespace", b.Namespace}, args...)...)
		var out, errOut bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &errOut
		begun := time.Now()
		b.Expect(cmd.Start()).To(Succeed())
		peak := watchMemory(t.Context(), cmd.Process.Pid)
		b.Expect(cmd.Wait()).To(Succeed(), errOut.String())
		t.Logf("%-45s %5d ms  %4d ms CPU  %3d MB  %8d bytes", strings.Join(args, " "), time.Since(begun).Milliseconds(),
			(cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Milliseconds(), peak()>>10, out.Len())
		return strings.Split(strings.TrimSpace(out.String()), "\n")
	}
	rows := run("logs", "--no-headers")
	b.Expect(rows).To(HaveLen(50))
	var times []time.Time
	for _, row := range rows {
		times = append(times, table.NameTime(strings.Fields(row)[0]))
	}
	b.Expect(slices.IsSortedFunc(times, func(a, b time.Time) int { return b.Compare(a) })).To(BeTrue())
	b.Expect(times[0]).To(BeTemporally("==", told.Add(time.Duration(*many-1)*time.Second)))
	b.Expect(times[49]).To(BeTemporally("==", told.Add(time.Duration(*many-50)*time.Second)))
	b.Expect(run("logs", "webhook-03", "--no-headers", "--limit", "0")).To(HaveLen(*many / webhooks))
	b.Expect(run("logs", "-A", "--no-headers", "--limit", "10")).To(HaveLen(10))
	b.Expect(run("logs", "--failed", "--no-headers", "--limit", "0")).To(HaveLen(*many / 10))
	b.Expect(run("logs", "--code", "5xx", "--no-headers", "--limit", "0")).To(HaveLen(*many / 10))
	b.Expect(len(run("logs", "-o", "json", "--limit", "50"))).To(BeNumerically(">", 1000))
	b.Expect(run("logs", "-o", "name", "--limit", "0")).To(HaveLen(*many))
	run("resend", "--failed", "--dry-run")
}

// watchMemory follows the most memory that a process has had, in kB, until it ends. What the
// kernel says at its end counts this process, too, which it was made from.
func watchMemory(ctx context.Context, pid int) (peak func() int) {
	most := make(chan int)
	go func() {
		latest := 0
		for ctx.Err() == nil {
			data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
			if err != nil {
				break
			}
			_, rest, found := strings.Cut(string(data), "VmHWM:")
			if !found { // it has ended, and is not waited for yet, or is gone
				break
			}
			_, _ = fmt.Sscan(rest, &latest)
			time.Sleep(2 * time.Millisecond)
		}
		most <- latest
	}()
	return func() int { return <-most }
}
