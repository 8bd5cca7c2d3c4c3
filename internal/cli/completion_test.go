package cli

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	. "github.com/onsi/gomega"
)

func TestCompletion(t *testing.T) {
	b := newBed(t)
	b.Webhook("smoke-tests")
	b.Webhook("chat")
	viewer := b.as("viewer", "view")
	for _, command := range []string{"show", "edit", "pause", "resume", "disable", "delete"} {
		b.Expect(viewer.mustRun("__complete", command, "")).To(MatchRegexp(`(?s)(chat\nsmoke-tests|smoke-tests\nchat)\n:[0-9]+\n`), command)
	}
	b.Expect(viewer.mustRun("__complete", "pause", "chat", "")).To(ContainSubstring("smoke-tests"))
	b.Expect(viewer.mustRun("__complete", "show", "chat", "")).NotTo(ContainSubstring("smoke-tests"))
	for _, flag := range []string{"--trigger", "--add-trigger"} {
		b.Expect(viewer.mustRun("__complete", "edit", "chat", flag, "clusters_d")).To(ContainSubstring("clusters_deployed\n"))
	}
	for _, args := range [][]string{{"create", "a", "--format", ""}, {"edit", "chat", "--format", ""}, {"template", "show", ""}} {
		b.Expect(viewer.mustRun(append([]string{"__complete"}, args...)...)).To(And(ContainSubstring("Horizon\t"), ContainSubstring("CloudEvents\t")), "%v", args)
	}
	b.Expect(viewer.mustRun("__complete", "list", "-o", "")).To(ContainSubstring("jsonpath"))
	b.Expect(viewer.mustRun("__complete", "completion", "")).To(ContainSubstring("kubectl\n"))
	b.Expect(viewer.mustRun("__complete", "create", "a", "--dry-run", "")).To(ContainSubstring("client\n"))
}

func TestCompletionScripts(t *testing.T) {
	b := offline(t)
	for shell, command := range map[string][]string{"bash": {"bash", "-n"}, "zsh": {"zsh", "-n"}, "fish": {"fish", "-n"}, "powershell": nil} {
		script := b.mustRun("completion", shell)
		b.Expect(script).To(ContainSubstring("kubectl-horizon"))
		if len(command) == 0 {
			continue
		}
		if _, err := exec.LookPath(command[0]); err != nil {
			continue
		}
		out, err := exec.CommandContext(t.Context(), command[0], command[1], b.file("script", script)).CombinedOutput()
		b.Expect(err).NotTo(HaveOccurred(), "%s: %s", shell, out)
	}
	for _, args := range [][]string{{"completion"}, {"completion", "tcsh"}, {"completion", "bash", "zsh"}} {
		b.Expect(b.run(args...).code).To(Equal(exitUsage), "%v", args)
	}

	// kubectl runs its script with the words so far, and kubectl-horizon is on PATH.
	dir := t.TempDir()
	b.Expect(os.WriteFile(filepath.Join(dir, "kubectl_complete-horizon"), []byte(b.mustRun("completion", "kubectl")), 0o700)).To(Succeed())
	b.Expect(os.WriteFile(filepath.Join(dir, "kubectl-horizon"), []byte("#!/bin/sh\nprintf '<%s>' \"$@\"\n"), 0o700)).To(Succeed())
	t.Setenv("PATH", dir+string(os.PathListSeparator)+os.Getenv("PATH"))
	out, err := exec.CommandContext(t.Context(), "kubectl_complete-horizon", "show", "a b", "").Output()
	b.Expect(err).NotTo(HaveOccurred())
	b.Expect(string(out)).To(Equal("<__complete><show><a b><>"))
}
