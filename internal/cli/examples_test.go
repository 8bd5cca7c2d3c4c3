package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/signing"
	fake "github.com/horizoncd/webhook-operator/test/horizon"
	"github.com/horizoncd/webhook-operator/test/operator"
)

// exampleDelivery stands for a delivery's name in examples.
const exampleDelivery = "smoke-tests-692ab7f0-0f3c5d5e7a1b2c3d"

// onlyLooked is for how long an example is run that goes on until it is interrupted.
const onlyLooked = 3 * time.Second

var buildPlugin = sync.OnceValues(func() (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	return operator.BuildPlugin(ctx, root, filepath.Join(suite.ControlPlane.Dir(), "plugin"))
})

// The examples of each command's help do what they say, with the program itself, in a
// shell, in a namespace that has what they name.
func TestExamples(t *testing.T) {
	p := newPlugin(genericiooptions.IOStreams{In: strings.NewReader(""), Out: io.Discard, ErrOut: io.Discard}, "test")
	for _, cmd := range newRoot(p).Commands() {
		if !cmd.IsAvailableCommand() || cmd.Name() == "help" || cmd.Name() == "version" {
			continue
		}
		t.Run(cmd.Name(), func(t *testing.T) {
			if cmd.Example == "" {
				t.Fatal("there are none")
			}
			s := newShell(t, cmd)
			for _, line := range commandLines(cmd.Example) {
				s.try(line)
			}
		})
	}
}

// commandLines are the commands of an example, each on a line of its own.
func commandLines(example string) []string {
	text := regexp.MustCompile(`\\\n\s*`).ReplaceAllString(example, "")
	text = regexp.MustCompile(`\|\n\s*`).ReplaceAllString(text, "| ")
	var all []string
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			all = append(all, line)
		}
	}
	return all
}

// shell is where examples are run.
type shell struct {
	*bed
	dir      string
	env      []string
	delivery string
	// replace are what examples name and what stands for it here, in pairs.
	replace []string
}

func newShell(t *testing.T, cmd *cobra.Command) *shell {
	t.Helper()
	b := newBed(t)
	plugin, err := buildPlugin()
	b.Expect(err).NotTo(HaveOccurred())
	env, err := suite.Install.Environment(plugin)
	b.Expect(err).NotTo(HaveOccurred())
	s := &shell{bed: b, dir: t.TempDir(), env: env}
	s.env = append(s.env, "HOME="+s.dir, "KUBECONFIG="+s.kubeconfigHere())
	s.programs(map[string]string{
		"pass":      `echo 'https://chat.example.com/hooks/9f8e7d'`,
		"kustomize": `cat "$HOME/webhook.yaml"`,
		"jq":        `cat`,
		"nano":      `echo '# nothing to change' >>"$1"`,
		"xdg-open":  `test -r "$1"`,
		"open":      `test -r "$1"`,
	})
	s.files()
	for _, name := range []string{"smoke-tests", "chat"} {
		b.Expect(b.Client.Create(b.Ctx, &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Namespace: b.Namespace, Name: name}, StringData: map[string]string{"token": "change-me"},
		})).To(Succeed())
	}
	if cmd.Name() == "create" {
		return s
	}
	for _, name := range []string{"smoke-tests", "chat"} {
		w := b.Webhook(name, func(spec *v1alpha1.WebhookSpec) {
			spec.SecretRef = &v1alpha1.SecretKeyReference{Name: name, Key: "token"}
		})
		before := w.DeepCopy()
		w.Labels = map[string]string{"team": "music"}
		b.Expect(b.Client.Patch(b.Ctx, w, client.MergeFrom(before))).To(Succeed())
	}
	if cmd.Name() == "import" {
		s.horizon()
	}
	s.delivery = b.Delivery("smoke-tests", b.Event(78402), v1alpha1.DeliverySucceeded).Name
	return s
}

// kubeconfigHere writes a kubeconfig whose context is the bed's namespace.
func (s *shell) kubeconfigHere() string {
	config, err := clientcmd.LoadFromFile(s.kubeconfig)
	s.Expect(err).NotTo(HaveOccurred())
	config.Contexts[config.CurrentContext].Namespace = s.Namespace
	path := filepath.Join(s.dir, "kubeconfig")
	s.Expect(clientcmd.WriteToFile(*config, path)).To(Succeed())
	return path
}

// programs puts stand-ins for what examples call beside the plugin on PATH.
func (s *shell) programs(scripts map[string]string) {
	bin := filepath.Join(s.dir, ".local", "bin")
	s.Expect(os.MkdirAll(bin, 0o755)).To(Succeed())
	for name, script := range scripts {
		s.Expect(os.WriteFile(filepath.Join(bin, name), []byte("#!/bin/sh\n"+script+"\n"), 0o755)).To(Succeed())
	}
	for _, variable := range s.env {
		if path, ok := strings.CutPrefix(variable, "PATH="); ok {
			s.env = append(s.env, "PATH="+bin+":"+path)
		}
	}
}

// files are those that examples read.
func (s *shell) files() {
	body := `{"eventID":1}`
	token, _, err := signing.ParseSecret([]byte("change-me"))
	s.Expect(err).NotTo(HaveOccurred())
	header, err := signing.Headers("whd_1", time.Now(), []byte(body), &token, nil)
	s.Expect(err).NotTo(HaveOccurred())
	headers := ""
	for name := range header {
		headers += name + ": " + header.Get(name) + "\n"
	}
	webhook := "apiVersion: horizoncd.io/v1alpha1\nkind: Webhook\nmetadata: {name: smoke-tests}\n" +
		"spec: {url: \"https://ci.example.com/hooks\", triggers: [clusters_deployed]}\n"
	for name, content := range map[string]string{
		"key.txt": "SEC0b5a1f2d6c3e47a8\n", "token.txt": "change-me", "template.cel": "{\"text\": event.cluster.name}\n", "headers.txt": headers, "body.json": body, "webhook.yaml": webhook, "deploy/team/webhook.yaml": webhook,
		"event.yaml": "apiVersion: horizoncd.io/v1alpha1\nkind: WebhookEvent\nmetadata: {name: made-up}\n" +
			"spec: {eventID: 5, eventType: clusters_deployed, cluster: {id: 1, name: web}}\n",
	} {
		path := filepath.Join(s.dir, name)
		s.Expect(os.MkdirAll(filepath.Dir(path), 0o755)).To(Succeed())
		s.Expect(os.WriteFile(path, []byte(content), 0o600)).To(Succeed())
	}
}

// horizon starts a Horizon whose webhook 12 has come over already.
func (s *shell) horizon() {
	h, token := newHorizon(s.T)
	group := h.AddGroup(0, "music")
	for range 12 {
		h.AddWebhook(fake.Groups, group, fake.Webhook{Enabled: true, URL: s.Receiver.URL("/"), Secret: "change-me", Triggers: []string{"*"}})
	}
	s.Webhook("horizon-12", func(spec *v1alpha1.WebhookSpec) { spec.State, spec.WebhookID = v1alpha1.WebhookDisabled, 12 })
	data, err := os.ReadFile(token)
	s.Expect(err).NotTo(HaveOccurred())
	writeFile(s.T, filepath.Join(s.dir, "horizon-token.txt"), string(data))
	writeFile(s.T, filepath.Join(s.dir, "routes.yaml"), "default: horizon-webhooks\nroutes: {/music: "+s.Namespace+"}\n")
	s.replace = append(s.replace, "https://horizon.example.com", h.URL(""))
}

// try runs a line. What goes on until it is interrupted has to be running still after a
// while.
func (s *shell) try(line string) {
	s.Helper()
	line = strings.NewReplacer(append(s.replace, exampleDelivery, s.delivery, "http://localhost:3000", s.Receiver.URL(""),
		"-n music", "-n "+s.Namespace)...).Replace(line)
	endless := regexp.MustCompile(`(^| )(dashboard|listen|-w|--watch)( |$)`).MatchString(line)
	patience := patience
	if endless {
		patience = onlyLooked
	}
	ctx, cancel := context.WithTimeout(s.Ctx, patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-o", "pipefail", "-ec", line)
	cmd.Dir, cmd.Env = s.dir, s.env
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGINT) }
	cmd.WaitDelay = 10 * time.Second
	out, err := cmd.CombinedOutput()
	switch asks := strings.Contains(string(out), "--yes"); {
	case endless && ctx.Err() != nil:
	case err == nil && !endless:
	case err != nil && asks && !strings.Contains(line, "--yes"): // where there is no terminal
	default:
		s.Error(fmt.Errorf("%s: %w\n%s", line, err, out))
	}
}
