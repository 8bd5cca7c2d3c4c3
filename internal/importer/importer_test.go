package importer

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/egress"
	"github.com/horizoncd/webhook-operator/internal/horizon"
	"github.com/horizoncd/webhook-operator/internal/routes"
)

func routesOf(t *testing.T) *routes.Routes {
	t.Helper()
	r, err := routes.Parse([]byte("default: horizon-webhooks\nroutes: {/music: team-music, /video/player: team-player, /video/studio: team-player}"))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// found is a webhook that comes over as it is, unless changed.
func found(change func(*Found)) Found {
	f := Found{
		Webhook: horizon.Webhook{
			ID: 12, Enabled: true, URL: "https://ci.example.com/hook?a=%20b", SSLVerifyEnabled: true, Description: "CI",
			Secret: "a-secret", Triggers: []string{"clusters_deployed", "clsuters_restarted"},
		},
		Resource: horizon.Resource{Kind: horizon.Applications, ID: 3, Name: "web", Path: "/music/player/web"},
	}
	if change != nil {
		change(&f)
	}
	return f
}

func TestTranslate(t *testing.T) {
	webhook := func(change func(spec, meta map[string]any)) map[string]any {
		spec := map[string]any{
			"url": "https://ci.example.com/hook?a=%20b", "description": "CI", "scope": "/music/player/web", "state": "Disabled",
			"webhookID": int64(12), "triggers": []any{"clusters_deployed", "clsuters_restarted"},
			"secretRef": map[string]any{"name": "horizon-12", "key": "token"},
		}
		meta := map[string]any{"name": "horizon-12", "namespace": "team-music"}
		if change != nil {
			change(spec, meta)
		}
		return map[string]any{"apiVersion": "horizoncd.io/v1alpha1", "kind": "Webhook", "metadata": meta, "spec": spec}
	}
	for name, tc := range map[string]struct {
		change  func(*Found)
		options Options
		outcome Outcome
		want    map[string]any // not looked at where nil
		reasons []string       // parts of them
		notes   []string
	}{
		"as it is": {want: webhook(nil), outcome: Written},
		"enabled at once": {
			options: Options{Enabled: true}, outcome: Written, want: webhook(func(spec, _ map[string]any) { delete(spec, "state") }),
		},
		"off in Horizon": {
			change: func(f *Found) { f.Webhook.Enabled = false }, options: Options{Enabled: true}, outcome: Written, want: webhook(nil),
		},
		"nothing but what has to be": {
			change: func(f *Found) { f.Webhook.Description, f.Webhook.Secret = "", "" }, outcome: Written,
			want: webhook(func(spec, _ map[string]any) { delete(spec, "description"); delete(spec, "secretRef") }),
		},
		"certificates are not checked": {
			change: func(f *Found) { f.Webhook.SSLVerifyEnabled = false }, outcome: Written,
			want:  webhook(func(spec, _ map[string]any) { spec["sslVerifyEnabled"] = false }),
			notes: []string{"--require-ssl-verify"},
		},
		"plain HTTP": {
			change:  func(f *Found) { f.Webhook.SSLVerifyEnabled, f.Webhook.URL = false, "http://ci.example.com" },
			outcome: Written, want: webhook(func(spec, _ map[string]any) { spec["url"] = "http://ci.example.com" }),
		},
		"a group that is in one namespace": {
			change:  func(f *Found) { f.Resource = horizon.Resource{Kind: horizon.Groups, ID: 9, Path: "/video/player"} },
			outcome: Written, want: webhook(func(spec, meta map[string]any) { spec["scope"] = "/video/player"; meta["namespace"] = "team-player" }),
		},
		"a group of several namespaces": {
			change:  func(f *Found) { f.Resource = horizon.Resource{Kind: horizon.Groups, ID: 9, Path: "/video"} },
			outcome: Written, want: webhook(func(spec, meta map[string]any) { spec["scope"] = "/video"; meta["namespace"] = "horizon-webhooks" }),
			notes: []string{"events of /video go to the namespaces horizon-webhooks, team-player: it goes to horizon-webhooks"},
		},
		"what no route is for": {
			change:  func(f *Found) { f.Resource = horizon.Resource{Kind: horizon.Clusters, ID: 9, Path: "/other/a/b"} },
			outcome: Written, want: webhook(func(spec, meta map[string]any) { spec["scope"] = "/other/a/b"; meta["namespace"] = "horizon-webhooks" }),
		},
		"the root group": {
			change:  func(f *Found) { f.Resource = horizon.Resource{Kind: horizon.Groups, Path: "/"} },
			outcome: Written, want: webhook(func(spec, meta map[string]any) { delete(spec, "scope"); meta["namespace"] = "horizon-webhooks" }),
			notes: []string{"events of everything go to the namespaces horizon-webhooks, team-music, team-player"},
		},
		"the bridge's own": {
			change: func(f *Found) {
				f.Resource = horizon.Resource{Kind: horizon.Groups, Path: "/"}
				f.Webhook.URL = "https://bridge.example.com/horizon"
			},
			outcome: LeftOut, notes: []string{"bridge's own"},
		},
		"not the bridge's own": {
			change: func(f *Found) {
				f.Resource = horizon.Resource{Kind: horizon.Groups, Path: "/"}
				f.Webhook.URL = "https://bridge.example.com/horizon"
			},
			options: Options{Skip: []int64{0}}, outcome: Written,
			notes: []string{"events of everything"},
		},
		"the bridge's own, beside those that --skip names": {
			change: func(f *Found) {
				f.Resource = horizon.Resource{Kind: horizon.Groups, Path: "/"}
				f.Webhook.URL = "https://bridge.example.com/horizon"
			},
			options: Options{Skip: []int64{3}}, outcome: LeftOut, notes: []string{"bridge's own"},
		},
		"named by --skip": {options: Options{Skip: []int64{3, 12}}, outcome: LeftOut, notes: []string{"--skip names it"}},
		"triggers twice": {
			change:  func(f *Found) { f.Webhook.Triggers = []string{"*", "clusters_freed", "*"} },
			outcome: Written, want: webhook(func(spec, _ map[string]any) { spec["triggers"] = []any{"*", "clusters_freed"} }),
		},
		"triggers that are not known": {
			change: func(f *Found) {
				f.Webhook.Triggers = []string{"deployments_paused", "clusters_freed", "", "clusters_later"}
			},
			outcome: Written, want: webhook(func(spec, _ map[string]any) { spec["triggers"] = []any{"clusters_freed"} }),
			reasons: []string{`left out: "deployments_paused", "", "clusters_later"`},
		},
		"no trigger that is known": {
			change:  func(f *Found) { f.Webhook.Triggers = []string{""} },
			outcome: ByHand, reasons: []string{`knows none of its triggers: ""`},
		},
		"no trigger": {
			change: func(f *Found) { f.Webhook.Triggers = nil }, outcome: ByHand, reasons: []string{"spec.triggers"},
		},
		"a user name": {
			change:  func(f *Found) { f.Webhook.URL = "https://me:hidden-word@ci.example.com/" },
			outcome: ByHand, reasons: []string{"the URL must not contain a user name or password"},
		},
		"a fragment": {
			change:  func(f *Found) { f.Webhook.URL = "https://ci.example.com/#hidden-word" },
			outcome: ByHand, reasons: []string{"the URL must not have a fragment"},
		},
		"a space in the URL": {
			change:  func(f *Found) { f.Webhook.URL = "https://ci.example.com/a hidden-word" },
			outcome: ByHand, reasons: []string{"character 25 of 36 is a space"},
		},
		"no URL": {change: func(f *Found) { f.Webhook.URL = "" }, outcome: ByHand, reasons: []string{"the value is empty"}},
		"a secret that is not ASCII": {
			change:  func(f *Found) { f.Webhook.Secret = "hidden-wörd" },
			outcome: ByHand, reasons: []string{"its secret cannot be sent: byte 9"},
		},
		"a secret that begins with a space": {
			change: func(f *Found) { f.Webhook.Secret = " hidden-word" }, outcome: ByHand, reasons: []string{"begins with a space"},
		},
		"a key that is none": {
			change: func(f *Found) { f.Webhook.Secret = "whsec_hidden-word" }, outcome: ByHand, reasons: []string{"is not a base64 key"},
		},
		"everything at once": {
			change: func(f *Found) {
				f.Webhook.URL, f.Webhook.Secret = "ftp://hidden-word@a", "hidden-wörd"
				f.Webhook.Description = strings.Repeat("d", 1025)
			},
			outcome: ByHand, reasons: []string{"must be absolute", "its secret cannot be sent", "spec.description"},
		},
		"an odd path": {
			change:  func(f *Found) { f.Resource.Path = "/music/a b" },
			outcome: ByHand, reasons: []string{"spec.scope"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			tc.options.Routes = routesOf(t)
			f := found(tc.change)
			i, err := Translate(t.Context(), f, tc.options)
			if err != nil {
				t.Fatal(err)
			}
			if i.Outcome != tc.outcome || i.Name != "horizon-12" || i.ID != 12 {
				t.Errorf("%s, %s of %d: %q", i.Outcome, i.Name, i.ID, i.Reasons)
			}
			if tc.want != nil {
				if diff := cmp.Diff(tc.want, i.Webhook.Object); diff != "" {
					t.Errorf("Webhook (-want +got):\n%s", diff)
				}
			}
			if tc.outcome == Written {
				problems, err := validate(t.Context(), i.Webhook)
				if err != nil || len(problems) > 0 {
					t.Errorf("the API server does not take it: %v, %v", problems, err)
				}
			}
			if has := i.Secret != nil; has != (f.Webhook.Secret != "" && tc.outcome != LeftOut) || has && i.Secret.StringData["token"] != f.Webhook.Secret {
				t.Errorf("Secret %v", has)
			}
			parts(t, "reasons", i.Reasons, tc.reasons)
			parts(t, "notes", i.Notes, tc.notes)
			if text := fmt.Sprint(i.Reasons, i.Notes, i.Receiver, i.Of); strings.Contains(text, "hidden") || strings.Contains(text, "Invalid value") {
				t.Errorf("it shows a value: %s", text)
			}
		})
	}
}

// parts holds each text to the part of it that is wanted.
func parts(t *testing.T, what string, got, want []string) {
	t.Helper()
	ok := len(got) == len(want)
	for n := range min(len(got), len(want)) {
		ok = ok && strings.Contains(got[n], want[n])
	}
	if !ok {
		t.Errorf("%s: %q, want %q", what, got, want)
	}
}

type lookup map[string][]netip.Addr

func (l lookup) LookupNetIP(_ context.Context, _, host string) ([]netip.Addr, error) {
	if addresses := l[host]; addresses != nil {
		return addresses, nil
	}
	return nil, errors.New("no such name")
}

func TestCheckAddresses(t *testing.T) {
	names := lookup{
		"public.example.com":  {netip.MustParseAddr("8.8.8.8")},
		"private.example.com": {netip.MustParseAddr("8.8.8.8"), netip.MustParseAddr("10.1.2.3")},
		"mapped.example.com":  {netip.MustParseAddr("::ffff:10.1.2.4")},
	}
	for address, want := range map[string]string{
		"https://public.example.com/":   "",
		"https://8.8.8.8:8443/":         "",
		"https://private.example.com/":  "private.example.com leads to 10.1.2.3 from here: 10.1.2.3 is denied",
		"https://mapped.example.com:1/": "mapped.example.com leads to 10.1.2.4 from here",
		"https://192.168.1.2/":          "--egress-allow=192.168.0.0/16",
		"https://127.0.0.1:3000/":       "127.0.0.1 is denied",
		"https://[fd00::1]/":            "fd00::1 is denied",
		"https://127.1/":                "ends in a number",
		"https://172.16.5.6/":           "", // allowed
		"https://nowhere.example.com/":  "",
	} {
		i, err := Translate(t.Context(), found(func(f *Found) { f.Webhook.URL = address }), Options{Routes: routesOf(t)})
		if err != nil {
			t.Fatal(err)
		}
		allow, err := egress.ParseAllow("172.16.0.0/12")
		if err != nil {
			t.Fatal(err)
		}
		unknown := CheckAddresses(t.Context(), []*Imported{i}, allow, names)
		if isUnknown := strings.Contains(address, "nowhere"); (len(unknown) == 1) != isUnknown {
			t.Errorf("%s: unknown %v", address, unknown)
		}
		text := strings.Join(i.Reasons, "; ")
		if (text == "") != (want == "") || !strings.Contains(text, want) || i.Outcome != Written {
			t.Errorf("%s: %s: %q, want %q", address, i.Outcome, text, want)
		}
	}
}

// all are three webhooks: one as it is, one that needs a hand, and one that is left out.
func all(t *testing.T) []*Imported {
	t.Helper()
	var imported []*Imported
	for _, f := range []Found{
		found(nil),
		found(func(f *Found) {
			f.Webhook.ID, f.Webhook.URL = 13, "https://me:hidden-word@ci.example.com/"
			f.Resource.Path = "/music/a\nspec: {}"
		}),
		found(func(f *Found) { f.Webhook.ID = 14 }),
		found(func(f *Found) { f.Webhook.ID, f.Webhook.Secret = 15, "" }),
	} {
		i, err := Translate(t.Context(), f, Options{Routes: routesOf(t), Skip: []int64{14}})
		if err != nil {
			t.Fatal(err)
		}
		imported = append(imported, i)
	}
	return imported
}

// tree are the files of a directory, and what is in them.
func tree(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		want := fs.FileMode(0o600)
		if d.IsDir() {
			want = 0o700
		}
		if info.Mode().Perm() != want {
			t.Errorf("%s has the mode %o", path, info.Mode().Perm())
		}
		if d.IsDir() {
			return nil
		}
		data, err := os.ReadFile(path)
		name, _ := filepath.Rel(dir, path)
		files[name] = string(data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func TestWrite(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "import")
	write := func(all []*Imported) Files {
		t.Helper()
		files, err := Write(dir, all)
		if err != nil {
			t.Fatal(err)
		}
		return files
	}
	imported := all(t)
	if files := write(imported); files.Kept != nil || files.Removed != nil {
		t.Errorf("%+v", files)
	}
	first := tree(t, dir)
	want := []string{"by-hand/horizon-13.yaml.txt", "secrets/horizon-12.yaml", "webhooks/horizon-12.yaml", "webhooks/horizon-15.yaml"}
	if diff := cmp.Diff(want, slices.Sorted(maps.Keys(first))); diff != "" {
		t.Fatalf("files: %s", diff)
	}
	for name, text := range first {
		if !strings.HasPrefix(text, mark+"\n") {
			t.Errorf("%s begins with %q", name, text)
		}
	}
	var secret struct{ StringData map[string]string }
	if err := yaml.Unmarshal([]byte(first["secrets/horizon-12.yaml"]), &secret); err != nil || secret.StringData["token"] != "a-secret" {
		t.Errorf("Secret: %v, %v", secret, err)
	}
	byHand := first["by-hand/horizon-13.yaml.txt"]
	for _, part := range []string{"# Needs a hand: the URL must not", "hidden-word", "kind: Webhook", "---\n", "kind: Secret", `application /music/a\x0aspec: {}`} {
		if !strings.Contains(byHand, part) {
			t.Errorf("by hand: %s, want %q", byHand, part)
		}
	}
	if strings.Contains(first["webhooks/horizon-12.yaml"], "a-secret") {
		t.Error("the secret is in the Webhook's manifest")
	}

	// Once more: the same files, whatever their mode was.
	if err := os.Chmod(filepath.Join(dir, "secrets", "horizon-12.yaml"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(dir, "secrets"), 0o755); err != nil {
		t.Fatal(err)
	}
	write(imported)
	if diff := cmp.Diff(first, tree(t, dir)); diff != "" {
		t.Errorf("once more: %s", diff)
	}

	// What somebody has made their own stays, and so does what has another name; what is
	// no longer there goes.
	own := filepath.Join(dir, "webhooks", "horizon-15.yaml")
	for path, text := range map[string]string{own: "kind: Webhook\n", filepath.Join(dir, "webhooks", "mine.yaml"): mark} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	files := write([]*Imported{imported[1], imported[3]})
	slices.Sort(files.Removed)
	if diff := cmp.Diff(Files{
		Kept: []string{"webhooks/horizon-15.yaml"}, Removed: []string{"secrets/horizon-12.yaml", "webhooks/horizon-12.yaml"},
	}, files); diff != "" {
		t.Errorf("files: %s", diff)
	}
	if last := tree(t, dir); last["webhooks/horizon-15.yaml"] != "kind: Webhook\n" || len(last) != 3 {
		t.Errorf("files: %q", slices.Sorted(maps.Keys(last)))
	}
}

// A link does not lead out of the directory.
func TestWriteFollowsNoLinks(t *testing.T) {
	dir, outside := t.TempDir(), t.TempDir()
	if err := os.Symlink(outside, filepath.Join(dir, "secrets")); err != nil {
		t.Fatal(err)
	}
	if _, err := Write(dir, all(t)); err == nil {
		t.Error("it was written through a link")
	}
	if entries, err := os.ReadDir(outside); err != nil || len(entries) > 0 {
		t.Errorf("%v, %v", entries, err)
	}
	dir = t.TempDir()
	victim := filepath.Join(outside, "victim")
	if err := os.WriteFile(victim, []byte(mark), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(dir, "webhooks"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"horizon-12.yaml", ".horizon-15.yaml.new"} {
		if err := os.Symlink(victim, filepath.Join(dir, "webhooks", name)); err != nil {
			t.Fatal(err)
		}
	}
	files, err := Write(dir, all(t))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"webhooks/horizon-12.yaml"}, files.Kept); diff != "" {
		t.Errorf("a link is somebody's own: %s", diff)
	}
	if data, err := os.ReadFile(victim); err != nil || string(data) != mark {
		t.Errorf("what a link leads to: %q, %v", data, err)
	}
}

// theirs is a Horizon of one webhook.
type theirs struct {
	webhook horizon.Webhook
	puts    []horizon.Webhook
	// stores says what a PUT stores.
	stores   func(was, put horizon.Webhook) horizon.Webhook
	get, put error
}

func (s *theirs) Webhook(context.Context, int64) (horizon.Webhook, error) { return s.webhook, s.get }

func (s *theirs) PutWebhook(_ context.Context, w horizon.Webhook) error {
	s.puts = append(s.puts, w)
	if s.put == nil {
		s.webhook = s.stores(s.webhook, w)
	}
	return s.put
}

func TestSwitch(t *testing.T) {
	asHorizon := func(was, put horizon.Webhook) horizon.Webhook {
		put.SSLVerifyEnabled = was.SSLVerifyEnabled
		return put
	}
	failed := errors.New("no")
	for name, tc := range map[string]struct {
		horizon theirs
		was, on bool
		changed bool
		want    string
	}{
		"off":               {horizon: theirs{stores: asHorizon}, was: true, changed: true},
		"on":                {horizon: theirs{stores: asHorizon}, on: true, changed: true},
		"off already":       {horizon: theirs{stores: asHorizon}},
		"not read":          {horizon: theirs{get: failed}, was: true, want: "no"},
		"not written":       {horizon: theirs{put: failed}, was: true, want: "no"},
		"not stored":        {horizon: theirs{stores: func(was, _ horizon.Webhook) horizon.Webhook { return was }}, was: true, changed: true, want: "enabled is not what was written"},
		"another secret":    {horizon: theirs{stores: func(_, put horizon.Webhook) horizon.Webhook { put.Secret = "hidden"; return put }}, was: true, changed: true, want: "secret is not what was written"},
		"another URL":       {horizon: theirs{stores: func(_, put horizon.Webhook) horizon.Webhook { put.URL = "hidden"; return put }}, was: true, changed: true, want: "url is not what was written"},
		"triggers are lost": {horizon: theirs{stores: func(_, put horizon.Webhook) horizon.Webhook { put.Triggers = nil; return put }}, was: true, changed: true, want: "triggers is not what was written"},
	} {
		t.Run(name, func(t *testing.T) {
			h := &tc.horizon
			before := found(nil).Webhook
			before.Enabled = tc.was
			h.webhook = before
			changed, err := Switch(t.Context(), h, 12, tc.on)
			if changed != tc.changed || (err == nil) != (tc.want == "") || err != nil && !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%t, %v, want %t, %q", changed, err, tc.changed, tc.want)
			}
			if err != nil && strings.Contains(err.Error(), "hidden") {
				t.Errorf("a secret is told: %v", err)
			}
			if len(h.puts) == 0 {
				return
			}
			type plain horizon.Webhook
			before.Enabled = tc.on
			if diff := cmp.Diff(plain(before), plain(h.puts[0])); diff != "" {
				t.Errorf("PUT: %s", diff)
			}
		})
	}
}

// source says which webhooks a resource has.
type source func(kind horizon.Kind, id int64) ([]horizon.Webhook, error)

func (s source) Webhooks(_ context.Context, kind horizon.Kind, id int64) ([]horizon.Webhook, error) {
	return s(kind, id)
}

func TestCollect(t *testing.T) {
	refused := &horizon.StatusError{Code: http.StatusForbidden}
	s := source(func(kind horizon.Kind, id int64) ([]horizon.Webhook, error) {
		switch {
		case kind == horizon.Clusters:
			return nil, refused
		case id == 3: // deleted meanwhile
			return nil, &horizon.StatusError{Code: http.StatusNotFound}
		}
		return []horizon.Webhook{{ID: 200 + id}, {ID: 100 - id}}, nil
	})
	var resources []horizon.Resource
	for id := range int64(20) {
		resources = append(resources, horizon.Resource{Kind: horizon.Groups, ID: id})
	}
	secret := horizon.Resource{Kind: horizon.Clusters, ID: 1}
	resources = append(resources, secret)
	told := 0
	found, unread, err := Collect(t.Context(), s, resources, func(done int) { told = done })
	if err != nil || told != 21 {
		t.Fatalf("%v, %d of 21", err, told)
	}
	if len(unread) != 1 || unread[0].Resource != secret || !horizon.IsForbidden(unread[0].Err) {
		t.Errorf("unread: %v", unread)
	}
	if len(found) != 38 || !slices.IsSortedFunc(found, func(a, b Found) int { return int(a.Webhook.ID - b.Webhook.ID) }) {
		t.Errorf("%d webhooks", len(found))
	}
	for _, f := range found {
		if f.Webhook.ID != 200+f.Resource.ID && f.Webhook.ID != 100-f.Resource.ID {
			t.Errorf("webhook %d is of %d", f.Webhook.ID, f.Resource.ID)
		}
	}
	if _, _, err := Collect(t.Context(), s, []horizon.Resource{secret, secret}, func(int) {}); !horizon.IsForbidden(err) {
		t.Errorf("nothing can be read: %v", err)
	}
	if found, unread, err := Collect(t.Context(), s, nil, func(int) {}); err != nil || found != nil || unread != nil {
		t.Errorf("nothing to read: %v, %v, %v", found, unread, err)
	}
}

func TestKeepState(t *testing.T) {
	i, err := Translate(t.Context(), found(nil), Options{Routes: routesOf(t)})
	if err != nil {
		t.Fatal(err)
	}
	i.KeepState(v1alpha1.WebhookPaused)
	if i.spec()["state"] != "Paused" || len(i.Notes) != 1 {
		t.Errorf("%v, %q", i.spec()["state"], i.Notes)
	}
	if _, err := Number(&v1alpha1.Webhook{}); err == nil {
		t.Error("a Webhook of its own has a number of Horizon's")
	}
}
