package cli

import (
	"strings"
	"testing"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
)

// What people may do by the roles that config/rbac grants: who has view reads, with
// horizon-delivery-resender they send again, and with edit they do everything.
func TestRoles(t *testing.T) {
	b := newBed(t)
	b.Webhook("smoke-tests")
	e := b.Event(78402)
	d := b.Delivery("smoke-tests", e, v1alpha1.DeliverySucceeded)
	type lines = []string
	reads := lines{
		"list", "show smoke-tests", "logs", "logs smoke-tests", "log " + d.Name, "log " + d.Name + " --body request",
		"why " + e.Name, "why webhook/smoke-tests", "render smoke-tests --event " + e.Name, "replay smoke-tests",
	}
	resends := lines{"resend " + d.Name + " --wait"}
	writes := lines{
		"create other --url https://ci.example.com --trigger *", "edit smoke-tests --description changed", "pause smoke-tests",
		"test smoke-tests --wait", "replay smoke-tests --since 1h --wait", "disable smoke-tests", "delete other --yes",
	}
	b.Webhook("other") // so that there is something to delete for those who may not
	for name, tc := range map[string]struct {
		roles       []string
		may, mayNot lines
		missing     string
	}{
		"nobody":   {mayNot: reads, missing: "view"},
		"viewer":   {roles: []string{"view"}, may: reads, mayNot: append(writes, resends...), missing: "edit"},
		"resender": {roles: []string{"view", "horizon-delivery-resender"}, may: append(reads, resends...), mayNot: writes, missing: "edit"},
	} {
		t.Run(name, func(t *testing.T) {
			user := b.as("roles-"+name, tc.roles...)
			for _, line := range tc.may {
				if r := user.run(strings.Fields(line)...); r.code != 0 {
					t.Errorf("%s: exit code %d: %s", line, r.code, r.err)
				}
			}
			for _, line := range tc.mayNot {
				r := user.run(strings.Fields(line)...)
				if r.code == 0 || !strings.Contains(r.out+r.err, tc.missing) {
					t.Errorf("%s: exit code %d, and the role %s is not named: %s%s", line, r.code, tc.missing, r.out, r.err)
				}
			}
		})
	}
	b.mustRun("delete", "other", "--yes") // it is created anew
	editor := b.as("roles-editor", "edit")
	for _, line := range append(append(reads, resends...), writes...) {
		if r := editor.run(strings.Fields(line)...); r.code != 0 {
			t.Errorf("%s: exit code %d: %s", line, r.code, r.err)
		}
	}
}
