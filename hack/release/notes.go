package main

import (
	"context"
	"fmt"
	"os"
	"regexp"
	"runtime"
	"strings"
)

// wrapped is a line break within a paragraph. A release's page would show it.
var wrapped = regexp.MustCompile(`([^\n])\n {0,2}([^\s#|-])`)

// relativeLink is one to a file of the repository, which leads nowhere from a release's page.
var relativeLink = regexp.MustCompile(`\]\(([^():#]+)(#[^()]*)?\)`)

// notes writes the text of the release: what the changelog says, and how to get it.
func (r *release) notes(context.Context) error {
	s, err := r.changes()
	if err != nil {
		return err
	}
	images, err := os.ReadFile(r.path("images.txt"))
	if err != nil {
		return err
	}
	source, files := repository+"/blob/"+r.version+"/", repository+"/releases/download/"+r.version
	text := relativeLink.ReplaceAllString(wrapped.ReplaceAllString(s.body, "$1 $2"), "]("+source+"$1$2)") + fmt.Sprintf(`

### Install

`+"```"+`
helm install horizon %s/webhook-operator-%s.tgz --namespace horizon-webhooks --create-namespace
`+"```"+`

or, without Helm,

`+"```"+`
kubectl apply --server-side -f %s/install.yaml
`+"```"+`

Before an upgrade, read [Upgrade](%sdocs/upgrade.md). Check what you install: [Verify a release](%sdocs/releasing.md#verify-a-release).

Images, for linux/%s, built with %s:

`+"```"+`
%s`+"```"+`
`, files, strings.TrimPrefix(r.version, "v"), files, source, source, strings.Join(architectures(r.platforms), " and linux/"), runtime.Version(), images)
	return write(r.path("notes.md"), text)
}

func architectures(platforms []platform) []string {
	var all []string
	for _, on := range platforms {
		all = append(all, on.arch)
	}
	return all
}
