package cli

import (
	"fmt"
	"io"
	"os"
	"testing"

	. "github.com/onsi/gomega"
	"golang.org/x/sys/unix"
)

// newTerminal returns a terminal, and what is typed there.
func newTerminal(t *testing.T) (terminal, keyboard *os.File) {
	t.Helper()
	keyboard, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Skipf("no terminal: %v", err)
	}
	t.Cleanup(func() { keyboard.Close() })
	fd := int(keyboard.Fd())
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	terminal, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { terminal.Close() })
	return terminal, keyboard
}

func TestCreateAsksForSecret(t *testing.T) {
	b := newBed(t)
	terminal, keyboard := newTerminal(t)
	if _, err := io.WriteString(keyboard, secretValue+"\n"); err != nil {
		t.Fatal(err)
	}
	r := b.with(func(p *plugin) { p.In = terminal }, "create", "a", "--url", "https://a", "--trigger", "*", "--secret-from-stdin")
	b.Expect(r.code).To(Equal(0), r.err)
	b.Expect(r.err).To(Equal("secret (it is not shown): \n"))
	b.Expect(string(b.secret("a-webhook").Data["token"])).To(Equal(secretValue))
}

func TestDeleteAsks(t *testing.T) {
	b := newBed(t)
	b.Webhook("one")
	for answer, deleted := range map[string]bool{"": false, "no": false, "yess": false, "Y": true} {
		terminal, keyboard := newTerminal(t)
		if _, err := io.WriteString(keyboard, answer+"\n"); err != nil {
			t.Fatal(err)
		}
		r := b.with(func(p *plugin) { p.In, p.interactive = terminal, isTerminal(terminal) }, "delete", "one")
		b.Expect(r.err).To(ContainSubstring("Delete webhook one, and no delivery with it? [y/N]"))
		b.Expect(b.gone("one")).To(Equal(deleted), answer)
		if deleted {
			b.Expect(r.code).To(Equal(0), r.err)
			b.Webhook("one")
		} else {
			b.Expect(r.code).To(Equal(exitError))
			b.Expect(r.err).To(ContainSubstring("webhook one was not deleted"))
		}
	}
}
