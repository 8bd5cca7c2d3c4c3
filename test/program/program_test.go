package program

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

func TestRun(t *testing.T) {
	// interrupted is a program that is, and what it returns then.
	interrupted := func(end func(context.Context) error) func(context.Context) error {
		return func(ctx context.Context) error {
			if err := syscall.Kill(os.Getpid(), syscall.SIGINT); err != nil {
				return err
			}
			<-ctx.Done()
			return end(ctx)
		}
	}
	const ended = "interrupted; everything that was started has ended\n"
	for name, tc := range map[string]struct {
		run  func(context.Context) error
		want int
		told string
	}{
		"all well":       {run: func(context.Context) error { return nil }},
		"wrong":          {run: func(context.Context) error { return errors.New("no etcd") }, want: 1, told: "play: no etcd\n"},
		"wrong, as told": {run: func(context.Context) error { return fmt.Errorf("play: %w", ErrFailed) }, want: 1},
		"given up":       {run: func(context.Context) error { return context.Canceled }, want: 1, told: "play: context canceled\n"},
		"interrupted": {
			run:  interrupted(func(ctx context.Context) error { return fmt.Errorf("starting: %w", context.Cause(ctx)) }),
			want: 130, told: ended,
		},
		"interrupted at a request": {run: interrupted(context.Context.Err), want: 130, told: ended},
		"over when interrupted":    {run: interrupted(func(context.Context) error { return nil })},
		"interrupted, with more to tell": {
			run: interrupted(func(ctx context.Context) error {
				return errors.Join(context.Cause(ctx), errors.New("it had to be killed"))
			}),
			want: 1, told: "play: it had to be killed\n",
		},
		"wrong as told, with more to tell": {
			run:  func(context.Context) error { return errors.Join(ErrFailed, errors.New("it had to be killed")) },
			want: 1, told: "play: it had to be killed\n",
		},
		"interrupted, and stuck": {
			run:  interrupted(func(context.Context) error { return errors.New("it had to be killed") }),
			want: 1, told: "play: it had to be killed\n",
		},
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "stderr")
			out, err := os.Create(file)
			if err != nil {
				t.Fatal(err)
			}
			defer func(stderr *os.File) { os.Stderr = stderr; out.Close() }(os.Stderr)
			os.Stderr = out
			got := Run("play", tc.run)
			told, err := os.ReadFile(file)
			if got != tc.want || string(told) != tc.told || err != nil {
				t.Errorf("code %d, told %q (%v), want %d, %q", got, told, err, tc.want, tc.told)
			}
		})
	}
}
