package cli

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/manifest"
)

// maxManifest bounds how much of a file is read: more than the API server takes.
const maxManifest = 16 << 20

// linter is the command lint.
type linter struct {
	*plugin
	paths              []string
	offline, recursive bool

	documents []*linted
	// secrets are those of the files, with their keys.
	secrets map[types.NamespacedName][]string
	// namespace is that of manifests without one.
	namespace string
	findings  []lintFinding
	// order is that of the files.
	order map[string]int
	// notes are what was not checked.
	notes []string
}

// linted is a document of a file.
type linted struct {
	*manifest.Document
	file string
	// broken says that it was refused already.
	broken bool
}

// lintFinding is what is wrong with a file, or looks odd.
type lintFinding struct {
	file string
	manifest.Problem
	warning bool
	// detail goes on below the message in lines of its own.
	detail string
}

func newLint(p *plugin) *cobra.Command {
	l := &linter{plugin: p}
	cmd := &cobra.Command{
		Use:     "lint -f FILE… | DIRECTORY…",
		GroupID: groupTry,
		Short:   "Check manifests before they are applied",
		Long: `Check manifests before they are applied: fields that do not exist or stand there twice, values that are out of bounds,
rules that do not hold, expressions that do not compile. This needs no cluster; where one can be reached, its API server
is asked as well, by a dry run, which also knows the cluster's policies and your rights. What is valid and looks odd is a
warning.

Each finding is a line: file:line: field: message. Of an expression, the line is that of the place where it is written as
a block (|), and the message begins with the line and the column within the expression. Lines that begin with a space go
on with the one above: they show the place with a caret. It exits with 3 where there is an error; warnings are none.`,
		Example: `  kubectl horizon lint -f webhook.yaml

  # All that a directory and those below it have, in CI without a cluster
  kubectl horizon lint -R deploy/ --offline

  # What a tool writes
  kustomize build . | kubectl horizon lint -f -`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args)+len(l.paths) == 0 {
				return fmt.Errorf("name a file or a directory with -f; - is standard input")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			l.paths = append(l.paths, args...)
			return l.run(cmd.Context())
		},
	}
	f := cmd.Flags()
	f.StringArrayVarP(&l.paths, "filename", "f", nil, "a file or a directory to check; - is standard input")
	f.BoolVarP(&l.recursive, "recursive", "R", false, "check what is below directories, too")
	f.BoolVar(&l.offline, "offline", false, "ask no API server")
	return cmd
}

func (l *linter) run(ctx context.Context) error {
	namespace, err := l.plugin.namespace()
	if err != nil && !l.offline {
		l.notes = append(l.notes, "Not checked by an API server: "+err.Error())
		l.offline = true
	}
	if l.namespace = namespace; namespace == "" {
		l.namespace = "default"
	}
	files, err := l.read()
	if err != nil {
		return err
	}
	if len(l.documents) == 0 && len(l.findings) == 0 {
		return fmt.Errorf("there is no manifest of Horizon's in %s", strings.Join(l.paths, ", "))
	}
	for _, check := range []func(context.Context) error{l.checkSchemas, l.checkServer, l.checkExpressions, l.warn} {
		if err := check(ctx); err != nil {
			return err
		}
	}
	return l.report(files)
}

// read reads all files, and returns how many there are.
func (l *linter) read() (int, error) {
	l.secrets, l.order = map[types.NamespacedName][]string{}, map[string]int{}
	n := 0
	for _, path := range l.paths {
		files, err := l.filesOf(path)
		if err != nil {
			return 0, err
		}
		for _, file := range files {
			text, err := l.readManifest(file)
			if err != nil {
				return 0, err
			}
			n++
			if file == "-" {
				file = "stdin"
			}
			l.order[file] = n
			l.take(file, text)
		}
	}
	return n, nil
}

// filesOf returns a file, or those of a directory that can be manifests.
func (l *linter) filesOf(path string) ([]string, error) {
	if path == "-" {
		return []string{path}, nil
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("looking for manifests: %w", err)
	}
	if !info.IsDir() {
		return []string{path}, nil
	}
	var files []string
	err = filepath.WalkDir(path, func(file string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && file != path && !l.recursive:
			return filepath.SkipDir
		case !entry.IsDir() && slices.Contains([]string{".yaml", ".yml", ".json"}, filepath.Ext(file)):
			files = append(files, file)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("looking for manifests: %w", err)
	}
	return files, nil
}

func (l *linter) readManifest(file string) ([]byte, error) {
	in := l.In
	if file != "-" {
		f, err := os.Open(file) //nolint:gosec // the user's own file
		if err != nil {
			return nil, fmt.Errorf("reading manifests: %w", err)
		}
		defer f.Close()
		in = f
	}
	text, err := io.ReadAll(io.LimitReader(in, maxManifest+1))
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", file, err)
	}
	if len(text) > maxManifest {
		return nil, fmt.Errorf("reading %s: it has more than %d bytes", file, maxManifest)
	}
	return text, nil
}

// take sorts out what a file has: Horizon's kinds are checked, Secrets are remembered by
// their keys, and all else is left aside.
func (l *linter) take(file string, text []byte) {
	documents, problems := manifest.Parse(text)
	for _, problem := range problems {
		l.findings = append(l.findings, lintFinding{file: file, Problem: problem})
	}
	for _, d := range documents {
		switch {
		case manifest.Known(d.Object):
			l.documents = append(l.documents, &linted{Document: d, file: file})
		case meantForHorizon(d):
			l.findings = append(l.findings, lintFinding{file: file, Problem: manifest.Problem{
				Line: d.Line("kind"), Field: "kind",
				Message: fmt.Sprintf("there is no kind %q of apiVersion %q: Webhook and WebhookEvent are of %s",
					d.Object.GetKind(), d.Object.GetAPIVersion(), v1alpha1.GroupVersion),
			}})
		case d.Object.GetAPIVersion() == "v1" && d.Object.GetKind() == "Secret":
			l.takeSecret(d)
		}
	}
}

// meantForHorizon tells whether an object is of Horizon's group or has no group and the
// name of one of its kinds.
func meantForHorizon(d *manifest.Document) bool {
	group := schema.FromAPIVersionAndKind(d.Object.GetAPIVersion(), "").Group
	return group == v1alpha1.GroupVersion.Group ||
		group == "" && slices.Contains([]string{"webhook", "webhookevent"}, strings.ToLower(d.Object.GetKind()))
}

func (l *linter) takeSecret(d *manifest.Document) {
	key := types.NamespacedName{Namespace: l.namespaceOf(d), Name: d.Object.GetName()}
	l.secrets[key] = []string{}
	for _, field := range []string{"data", "stringData"} {
		values, _ := d.Object.Object[field].(map[string]any)
		for name := range values {
			l.secrets[key] = append(l.secrets[key], name)
		}
	}
}

// namespaceOf is where a manifest would be applied.
func (l *linter) namespaceOf(d *manifest.Document) string {
	if ns := d.Object.GetNamespace(); ns != "" {
		return ns
	}
	return l.namespace
}

// add adds a finding about a document.
func (l *linter) add(d *linted, warning bool, problem manifest.Problem) {
	if !warning {
		d.broken = true
	}
	l.findings = append(l.findings, lintFinding{file: d.file, Problem: problem, warning: warning})
}

// checkSchemas holds each document against the schema of its kind.
func (l *linter) checkSchemas(ctx context.Context) error {
	for _, d := range l.documents {
		problems, err := d.Validate(ctx)
		if err != nil {
			return err
		}
		for _, problem := range problems {
			l.add(d, false, problem)
		}
	}
	return nil
}

// unaskable are findings after which the rules of the schema are not asked.
var unaskable = regexp.MustCompile(`^(Required value|Unsupported value|Too long|Too many|Invalid value: .* must be of type )`)

// report prints what was found, in the order of the files.
func (l *linter) report(files int) error {
	slices.SortStableFunc(l.findings, func(a, b lintFinding) int {
		if a.file != b.file {
			return l.order[a.file] - l.order[b.file]
		}
		return a.Line - b.Line
	})
	for _, f := range l.findings {
		if !f.warning && unaskable.MatchString(f.Message) {
			l.note("%s: mend these first: the rules, such as that of the URL, were not asked yet.", f.file)
		}
	}
	errs, warnings := 0, 0
	for _, f := range l.findings {
		text := fmt.Sprintf("%s:%d: ", oneLine(f.file), f.Line)
		if f.warning {
			warnings++
			text += "warning: "
		} else {
			errs++
		}
		if f.Field != "" {
			text += oneLine(f.Field) + ": "
		}
		text += oneLine(f.Message) + "\n"
		if f.detail != "" {
			text += indent(printable(f.detail)) + "\n"
		}
		if _, err := io.WriteString(l.Out, text); err != nil {
			return err
		}
	}
	for _, note := range l.notes {
		fmt.Fprintln(l.ErrOut, printable(note))
	}
	fmt.Fprintf(l.ErrOut, "%s in %s: %s, %s\n", count(len(l.documents), "manifest", "manifests"), count(files, "file", "files"),
		count(errs, "error", "errors"), count(warnings, "warning", "warnings"))
	if errs > 0 {
		return errUnmet
	}
	return nil
}

// note says once what was not checked.
func (l *linter) note(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if !slices.Contains(l.notes, text) {
		l.notes = append(l.notes, text)
	}
}

// lintTimeout bounds how long one question to an API server may take.
const lintTimeout = 10 * time.Second
