package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/term"
)

// terminal is where the story is told: it prints, runs commands in front of the
// reader, and keeps count of what was checked.
type terminal struct {
	out    io.Writer
	colour bool

	// dir is where commands run and find their files, env what they run with.
	dir string
	env []string

	passed, failed int
}

// squeezer passes on what is written, with no more than one empty line at a
// time: parts of the story need not know what came before them. Each Write must
// be of whole lines.
type squeezer struct {
	out   io.Writer
	empty bool // the last line was
}

func (q *squeezer) Write(p []byte) (int, error) {
	for line := range bytes.Lines(p) {
		empty := len(line) == 1
		if empty && q.empty {
			continue
		}
		q.empty = empty
		if _, err := q.out.Write(line); err != nil {
			return 0, err
		}
	}
	return len(p), nil
}

const (
	bold  = "\033[1m"
	dim   = "\033[2m"
	green = "\033[32m"
	red   = "\033[31m"
	plain = "\033[0m"

	indent = "  "
)

// wantsColour says whether codes for colours are of use: on a terminal, unless
// its user does not want them (no-color.org).
func wantsColour(f *os.File) bool {
	return os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb" && term.IsTerminal(int(f.Fd()))
}

func (s *terminal) paint(colour, text string) string {
	if !s.colour {
		return text
	}
	return colour + text + plain
}

func (s *terminal) chapter(title string) {
	line := strings.Repeat("─", max(0, 96-len([]rune(title))))
	fmt.Fprintf(s.out, "\n%s\n\n", s.paint(bold, "── "+title+" "+line))
}

func (s *terminal) say(format string, args ...any) {
	fmt.Fprintf(s.out, format+"\n", args...)
}

// show prints text from elsewhere, set off from the story.
func (s *terminal) show(text string) {
	for line := range strings.Lines(strings.Trim(text, "\n") + "\n") {
		line = strings.TrimRight(line, " \n")
		if line != "" {
			line = indent + s.paint(dim, line)
		}
		fmt.Fprintln(s.out, line)
	}
}

// check prints whether something is as it should be.
func (s *terminal) check(ok bool, format string, args ...any) {
	mark := s.paint(green, "✓")
	if ok {
		s.passed++
	} else {
		s.failed++
		mark = s.paint(red, "✗")
	}
	fmt.Fprintf(s.out, "%s %s\n", mark, fmt.Sprintf(format, args...))
}

// checkThat is check for what is expressed by an error, nil for yes.
func (s *terminal) checkThat(err error, format string, args ...any) {
	what := fmt.Sprintf(format, args...)
	if err != nil {
		what += ": " + err.Error()
	}
	s.check(err == nil, "%s", what)
}

// write writes a file for the commands to come.
func (s *terminal) write(name, content string) error {
	return os.WriteFile(filepath.Join(s.dir, name), []byte(content), 0o600)
}

// run shows a command, runs it and shows what it says.
func (s *terminal) run(ctx context.Context, command string) (string, error) {
	out, err := s.try(ctx, command)
	if err != nil {
		return out, fmt.Errorf("%s: %w", command, err)
	}
	return out, nil
}

// refused runs a command that is meant to fail, and returns what it says.
func (s *terminal) refused(ctx context.Context, command string) (string, error) {
	out, err := s.try(ctx, command)
	var exit *exec.ExitError
	switch {
	case err == nil:
		return out, fmt.Errorf("%s: it was meant to be refused", command)
	case errors.As(err, &exit) && ctx.Err() == nil:
		return out, nil
	default:
		return out, fmt.Errorf("%s: %w", command, err)
	}
}

func (s *terminal) try(ctx context.Context, command string) (string, error) {
	fmt.Fprintln(s.out, s.paint(bold, "$ "+command))
	out, err := s.quietly(ctx, command)
	s.show(out)
	fmt.Fprintln(s.out)
	return out, err
}

// quietly runs a command without showing it.
func (s *terminal) quietly(ctx context.Context, command string) (string, error) {
	cmd := exec.CommandContext(ctx, "/bin/sh", "-c", command)
	cmd.Dir, cmd.Env = s.dir, s.env
	// A group of its own, which is ended as a whole: Ctrl-C is this process's
	// to handle.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second
	out, err := cmd.CombinedOutput()
	return string(out), err
}
