package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// chart is the name of the chart, and of its directory.
const chart = "webhook-operator"

var (
	// chartField is a version of Chart.yaml.
	chartField = regexp.MustCompile(`(?m)^(version|appVersion): *"?([^"\s]+)"?`)
	// chartImage is an image that its annotations name, with the tag.
	chartImage = regexp.MustCompile(`(?m)^ +(?:- )?image: *(\S+):(\S+)$`)
)

// checkChart holds the versions of the chart to that of the release.
func (r *release) checkChart() error {
	text, err := os.ReadFile(filepath.Join(r.root, "charts", chart, "Chart.yaml"))
	if err != nil {
		return err
	}
	return r.checkChartVersions(string(text))
}

func (r *release) checkChartVersions(text string) error {
	fields := chartField.FindAllStringSubmatch(text, -1)
	if len(fields) != 2 {
		return fmt.Errorf("the chart has %d of version and appVersion", len(fields))
	}
	for _, field := range fields {
		if strings.TrimPrefix(field[2], "v") != strings.TrimPrefix(r.version, "v") {
			return fmt.Errorf("the chart has the %s %s", field[1], field[2])
		}
	}
	for _, image := range chartImage.FindAllStringSubmatch(text, -1) {
		if image[2] != r.version {
			return fmt.Errorf("the chart names the image %s of %s", image[1], image[2])
		}
	}
	return nil
}

// checkChartArchive looks for the chart as helm has packed it.
func (r *release) checkChartArchive() error {
	files, err := r.readArchive(fmt.Sprintf("%s-%s.tgz", chart, strings.TrimPrefix(r.version, "v")))
	if err != nil {
		return err
	}
	for _, name := range []string{"Chart.yaml", "values.yaml", "values.schema.json", "README.md"} {
		if _, ok := files[chart+"/"+name]; !ok {
			return fmt.Errorf("lacks %s", name)
		}
	}
	return r.checkChartVersions(string(files[chart+"/Chart.yaml"].data))
}
