package docs

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/horizoncd/webhook-operator/internal/horizon"
	"github.com/horizoncd/webhook-operator/internal/routes"
	fake "github.com/horizoncd/webhook-operator/test/horizon"
)

// blocks are the code blocks of a language in a section of a page, or in all of it where
// the section is empty.
func blocks(t *testing.T, page, section, language string) []string {
	t.Helper()
	text := read(t, page)
	if section != "" {
		_, rest, ok := strings.Cut(text, "\n## "+section+"\n")
		if !ok {
			t.Fatalf("%s has no section %q", page, section)
		}
		text, _, _ = strings.Cut(rest, "\n## ")
	}
	var all []string
	for _, m := range regexp.MustCompile("(?ms)^```"+language+"\n(.*?)^```$").FindAllStringSubmatch(text, -1) {
		all = append(all, m[1])
	}
	if len(all) == 0 {
		t.Fatalf("%s, %s: no block of %s", page, section, language)
	}
	return all
}

// What docs/horizon.md has people do on Horizon's side does what it says, as they would
// type it.
func TestStepsOnHorizonsSide(t *testing.T) {
	for _, program := range []string{"bash", "curl", "openssl"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skip(err)
		}
	}
	h, err := fake.Start(fake.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = h.Close() }()
	dir := t.TempDir()
	in := func(name string) string { return filepath.Join(dir, name) }
	const bridge = "http://127.0.0.1:1/horizon"
	begin := replaced(t, blocks(t, "horizon.md", "What you need", "sh")[0], "https://horizon.example.com", h.URL(""), "admin@example.com", "test@noreply.com")
	run := func(steps ...string) (string, error) {
		// No configuration of curl's on this machine counts, nor a proxy.
		script := "set -e -o pipefail\ncurl() { command curl -q --noproxy '*' \"$@\"; }\n" + begin + strings.Join(steps, "")
		cmd := exec.CommandContext(t.Context(), "bash", "-c", script)
		cmd.Dir, cmd.Stdin = dir, strings.NewReader(fake.AdminPassword+"\n")
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	token := strings.Join(blocks(t, "horizon.md", "2. The token of a robot", "sh"), "")
	if out, err := run(token); err == nil || !strings.Contains(out, "403") {
		t.Fatalf("without the scope, the token reaches webhooks: %v\n%s", err, out)
	}

	h.Configure(scopesOf(t, blocks(t, "horizon.md", "1. A scope for webhooks", "yaml")[0]))
	secret, _, _ := strings.Cut(blocks(t, "horizon.md", "3. The bridge", "sh")[0], "kubectl")
	webhook := replaced(t, blocks(t, "horizon.md", "4. The webhook", "sh")[0], "http://horizon-bridge.horizon-webhooks.svc/horizon", bridge)
	if out, err := run(token, secret, webhook); err != nil || strings.Contains(out, read(t, in("secret"))) {
		t.Fatalf("the steps fail, or print the secret: %v\n%s", err, out)
	}
	w, ok := h.Webhook(1)
	if !ok || !w.Enabled || w.URL != bridge || w.Secret != read(t, in("secret")) || len(w.Secret) != 64 || !slices.Equal(w.Triggers, []string{"*"}) {
		t.Errorf("the webhook is %+v, %t", w, ok)
	}
	c, err := horizon.New(h.URL(""), horizon.TokenFile(in("token")))
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := c.Logs(t.Context(), 1, 1, 1); err != nil {
		t.Errorf("the token does not reach logs: %v", err)
	}
	if _, err := c.Children(t.Context(), horizon.RootGroup); err != nil {
		t.Errorf("the token does not reach groups: %v", err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if info, err := e.Info(); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s can be read by others: %v, %v", e.Name(), info.Mode(), err)
		}
	}
}

// replaced puts one text in the place of another that has to be there, for each pair.
func replaced(t *testing.T, text string, pairs ...string) string {
	t.Helper()
	for pair := range slices.Chunk(pairs, 2) {
		if !strings.Contains(text, pair[0]) {
			t.Fatalf("%q is not in\n%s", pair[0], text)
		}
		text = strings.ReplaceAll(text, pair[0], pair[1])
	}
	return text
}

// scopesOf are the resources of an entry of Horizon's configuration, by its name.
func scopesOf(t *testing.T, text string) map[string][]string {
	t.Helper()
	var roles []struct {
		Name, Desc string
		Rules      []struct{ APIGroups, Resources, Verbs, Scopes, NonResourceURLs []string }
	}
	if err := yaml.UnmarshalStrict([]byte(text), &roles); err != nil {
		t.Fatal(err)
	}
	scopes := map[string][]string{}
	for _, role := range roles {
		for _, rule := range role.Rules {
			if slices.Equal(rule.APIGroups, []string{"core"}) && slices.Equal(rule.Verbs, []string{"*"}) {
				scopes[role.Name] = append(scopes[role.Name], rule.Resources...)
			}
		}
	}
	return scopes
}

func TestRoutesAreValid(t *testing.T) {
	for _, text := range blocks(t, "horizon.md", "3. The bridge", "yaml") {
		if r, err := routes.Parse([]byte(text)); err != nil || len(r.Namespaces()) < 2 {
			t.Errorf("%v\n%s", err, text)
		}
	}
}
