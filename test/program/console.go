package program

import (
	"flag"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
)

// Console prints lines of progress, each with the time since the program began. It is
// safe for concurrent use.
type Console struct {
	mu    sync.Mutex
	out   io.Writer
	began time.Time
}

// NewConsole returns a console whose time begins now.
func NewConsole(out io.Writer) *Console { return &Console{out: out, began: time.Now()} }

// Say prints a line of progress.
func (c *Console) Say(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	fmt.Fprintf(c.out, "%6.1f s  %s\n", c.Elapsed().Seconds(), fmt.Sprintf(format, args...))
}

// Write prints what is no line of progress.
func (c *Console) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.out.Write(p)
}

// Elapsed is the time since the program began.
func (c *Console) Elapsed() time.Duration { return time.Since(c.began) }

// Flags are those that all programs have which start the operator.
type Flags struct {
	// Operator is the path of its program, Root the repository's directory, Out that for
	// what the program leaves.
	Operator, Root, Out string
	args                string
}

// Add adds the flags to a set. out says what Out is for.
func (f *Flags) Add(to *flag.FlagSet, operator, out string) {
	to.StringVar(&f.Operator, "operator", operator, "the operator's program")
	to.StringVar(&f.Root, "root", ".", "the directory of the repository")
	to.StringVar(&f.Out, "out", "bin", "the directory for "+out)
	to.StringVar(&f.args, "operator-args", "", "further flags of the operator, separated by spaces")
}

// Args are further flags of the operator.
func (f *Flags) Args() []string { return strings.Fields(f.args) }

// Choose splits what a flag has chosen at its commas, or returns an error that names what
// cannot be chosen. Empty is none.
func Choose(chosen string, names []string) ([]string, error) {
	if chosen == "" {
		return nil, nil
	}
	all := strings.Split(chosen, ",")
	for i, one := range all {
		found := false
		for _, name := range names {
			if strings.EqualFold(one, name) {
				all[i], found = name, true
			}
		}
		if !found {
			return nil, fmt.Errorf("there is no %q; there are %s", one, strings.Join(names, ", "))
		}
	}
	return all, nil
}
