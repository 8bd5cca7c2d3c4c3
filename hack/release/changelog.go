package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"golang.org/x/mod/semver"
)

// unreleased stands for the version of what comes next, and for the date of a version that is
// not out yet.
const unreleased = "Unreleased"

// section is what the changelog says of one version.
type section struct {
	// version is without a leading v, or unreleased.
	version string
	// date is that of the release, or unreleased, or empty.
	date string
	body string
}

// versionHeading is that of https://keepachangelog.com: "## [0.1.0] - 2026-12-01".
var versionHeading = regexp.MustCompile(`^## \[([^\]]+)\](?: - (\S+))?$`)

// parseChangelog returns the sections of a changelog, newest first, if it keeps to the rules
// that readers and this program rely on.
func parseChangelog(text string) ([]section, error) {
	var all []section
	for line := range strings.Lines(text) {
		heading := strings.TrimRight(line, "\n")
		if !strings.HasPrefix(heading, "## ") {
			if n := len(all); n > 0 {
				all[n-1].body += line
			}
			continue
		}
		m := versionHeading.FindStringSubmatch(heading)
		if m == nil {
			return nil, fmt.Errorf("%q is no heading such as ## [0.1.0] - 2026-12-01", heading)
		}
		all = append(all, section{version: m[1], date: m[2]})
	}
	for i := range all {
		all[i].body = strings.TrimSpace(all[i].body)
		if err := checkSection(all, i); err != nil {
			return nil, fmt.Errorf("[%s]: %w", all[i].version, err)
		}
	}
	if len(all) == 0 {
		return nil, errors.New("there is no version")
	}
	return all, nil
}

// checkSection holds one section against the one before it.
func checkSection(all []section, i int) error {
	s := all[i]
	if s.version == unreleased {
		if i > 0 || s.date != "" {
			return errors.New("stands at the top, without a date")
		}
		return nil
	}
	if err := checkVersion("v" + s.version); err != nil {
		return err
	}
	if i > 0 && all[i-1].version != unreleased && semver.Compare("v"+s.version, "v"+all[i-1].version) >= 0 {
		return fmt.Errorf("stands below %s, which is not newer", all[i-1].version)
	}
	newest := i == 0 || all[i-1].version == unreleased
	if _, err := time.Parse(time.DateOnly, s.date); err != nil && (!newest || s.date != unreleased) {
		return fmt.Errorf("%q is neither a date nor, at the newest version, %s", s.date, unreleased)
	}
	if s.body == "" {
		return errors.New("says nothing")
	}
	return nil
}

// changes is what the changelog says of the version.
func (r *release) changes() (section, error) {
	text, err := os.ReadFile(filepath.Join(r.root, "CHANGELOG.md"))
	if err != nil {
		return section{}, err
	}
	all, err := parseChangelog(string(text))
	if err != nil {
		return section{}, fmt.Errorf("CHANGELOG.md: %w", err)
	}
	for _, s := range all {
		if "v"+s.version == r.version {
			return s, nil
		}
	}
	return section{}, fmt.Errorf("CHANGELOG.md says nothing of %s", r.version)
}
