package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"sigs.k8s.io/yaml"

	"github.com/horizoncd/webhook-operator/test/horizon"
	"github.com/horizoncd/webhook-operator/test/receiver"
)

const (
	horizonAddress = "127.0.0.1:30081"
	scopesName     = "horizon-scopes.yaml"
	// horizonPace is the time between two things that happen in Horizon, of which the
	// first has the number firstEvent.
	horizonPace = 5 * time.Second
	firstEvent  = 78402
)

// shippedScopes is the file of scopes that Horizon has, in short.
const shippedScopes = `# The scopes of this Horizon, in the form of its own. It reads them again when they change; a real one, when it starts.
defaultScope: [applications:read-write, clusters:read-write]
roles:
- name: groups:read-only
  desc: Readonly permissions for the group and its sub resources
  rules:
  - apiGroups: [core]
    resources: [groups, groups/groups]
    verbs: [get]
    scopes: ["*"]
    nonResourceURLs: ["*"]
`

// theirHorizon is a Horizon with some applications, clusters and webhooks.
type theirHorizon struct {
	*horizon.Horizon
	scopes   string // the path of the file
	clusters []int64
	read     []byte
}

// startHorizon starts a Horizon. Nothing in it knows of the bridge.
func startHorizon(dir string, r *receiver.Receiver) (*theirHorizon, error) {
	o := horizon.Options{Addr: horizonAddress, Idle: 500 * time.Millisecond}
	h, err := horizon.Start(o)
	if errors.Is(err, syscall.EADDRINUSE) {
		o.Addr = ""
		h, err = horizon.Start(o)
	}
	if err != nil {
		return nil, err
	}
	scopes, err := filepath.Abs(filepath.Join(dir, scopesName))
	if err == nil {
		err = os.WriteFile(scopes, []byte(shippedScopes), 0o600)
	}
	if err != nil {
		return nil, errors.Join(err, h.Close())
	}
	for range firstEvent - 1 {
		h.Reserve() // it was in use before
	}
	music, video := h.AddGroup(0, "music"), h.AddGroup(0, "video")
	web := h.AddApplication(h.AddGroup(music, "player"), "web", "P0")
	encoder := h.AddApplication(video, "encoder", "P2")
	t := &theirHorizon{Horizon: h, scopes: scopes}
	for _, c := range []struct {
		application int64
		name        string
	}{{web, "web-prod"}, {encoder, "encoder-prod"}, {web, "web-test"}} {
		t.clusters = append(t.clusters, h.AddCluster(c.application, c.name, "online"))
	}
	url := r.URL("/from-horizon")
	for _, w := range []struct {
		kind string
		id   int64
		horizon.Webhook
	}{
		{horizon.Groups, music, horizon.Webhook{Enabled: true, URL: url, Description: "A diary", Secret: "diary-4f1d2a90", Triggers: []string{"*"}}},
		{horizon.Applications, web, horizon.Webhook{URL: url + "?off", Description: "Was turned off", Triggers: []string{"clusters_freed"}}},
		{horizon.Clusters, t.clusters[1], horizon.Webhook{
			Enabled: true, URL: strings.Replace(url, "http://", "http://robot:password@", 1), Triggers: []string{"clusters_deployed"},
		}},
	} {
		h.AddWebhook(w.kind, w.id, w.Webhook)
	}
	return t, nil
}

// live lets things happen in it until ctx ends, and reads its scopes when they change.
func (t *theirHorizon) live(ctx context.Context, say func(string)) error {
	looks, happens := time.NewTicker(time.Second), time.NewTicker(horizonPace)
	defer looks.Stop()
	defer happens.Stop()
	types := []string{"clusters_builddeployed", "clusters_deployed", "clusters_rollbacked"}
	for i := 0; ; {
		select {
		case <-ctx.Done():
			return nil
		case <-looks.C:
			if text := t.readScopes(); text != "" {
				say(text)
			}
		case <-happens.C:
			t.Record(horizon.Event{Type: types[i%len(types)], ResourceID: t.clusters[i%len(t.clusters)], User: horizon.Admin})
			i++
		}
	}
}

// readScopes takes the file of scopes where it has changed, and returns what to say of it.
func (t *theirHorizon) readScopes() string {
	data, err := os.ReadFile(t.scopes)
	if err != nil || bytes.Equal(data, t.read) {
		return ""
	}
	first := t.read == nil
	t.read = data
	var file struct {
		Roles []struct {
			Name  string
			Rules []struct{ Resources, Verbs []string }
		}
	}
	if err := yaml.Unmarshal(data, &file); err != nil {
		return fmt.Sprintf("Horizon does not understand its scopes: %v\n", err)
	}
	scopes := map[string][]string{}
	var names []string
	for _, role := range file.Roles {
		names = append(names, role.Name)
		for _, rule := range role.Rules {
			if slices.Contains(rule.Verbs, "*") {
				scopes[role.Name] = append(scopes[role.Name], rule.Resources...)
			}
		}
	}
	t.Configure(scopes)
	if first {
		return ""
	}
	if err := t.Restart(); err != nil {
		return fmt.Sprintf("Horizon has not started again: %v\n", err)
	}
	return fmt.Sprintf("Horizon has started anew with the scopes %s, beside those that it ships.\n", strings.Join(names, ", "))
}

// introduction says how it is reached.
func (t *theirHorizon) introduction() string {
	return fmt.Sprintf(`
A Horizon as it is, for docs/horizon.md; something happens in it every %v:

export HORIZON=%s EMAIL=test@noreply.com   # the password is %s

Its scopes are in %s.
A token, which may read webhooks once the scope webhooks:read-write is there: %s
`, horizonPace, t.URL(""), horizon.AdminPassword, t.scopes,
		t.Token("groups:read-only", "applications:read-only", "clusters:read-only", "webhooks:read-write"))
}
