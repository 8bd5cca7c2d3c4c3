package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/horizoncd/webhook-operator/test/receiver"
)

const (
	// receiversCommand makes this program play the receivers.
	receiversCommand = "receivers"
	// flushInterval is how often the receivers tell what has arrived.
	flushInterval = 10 * time.Millisecond
	// answerBody is what a receiver answers.
	answerBody = `{"accepted":true}`
)

// arrival is a request whose headers have arrived at a receiver.
type arrival struct {
	receiver int
	id       string // its webhook-id
	at       time.Time
}

// playReceivers runs the receivers, each with a port of its own. Its first line
// names their addresses. Then a line "receiver script" on in sets how one
// answers, "receiver down" and "receiver up" take it off the network and bring it
// back, "cpu" asks for the CPU time used in seconds; each is answered by a line
// that begins with "=". Other lines tell of arrivals: receiver, time in
// Unix nanoseconds, webhook-id. It ends when in does.
func playReceivers(in io.Reader, out io.Writer) error {
	var mu sync.Mutex
	w := bufio.NewWriterSize(out, 64<<10)
	say := func(format string, args ...any) {
		mu.Lock()
		defer mu.Unlock()
		fmt.Fprintf(w, format+"\n", args...)
	}
	flush := func() error { mu.Lock(); defer mu.Unlock(); return w.Flush() }

	all := make([]*receiver.Receiver, manyWebhooks)
	addresses := make([]string, manyWebhooks)
	for i := range all {
		r, err := receiver.Start(receiver.Options{Lean: true, OnArrival: func(a receiver.Arrival) {
			say("%d %d %s", i, a.Time.UnixNano(), a.WebhookID)
		}})
		if err != nil {
			return err
		}
		defer func() { _ = r.Close() }()
		all[i], addresses[i] = r, r.Addr()
	}
	say("%s", strings.Join(addresses, " "))
	if err := flush(); err != nil {
		return err
	}

	go func() {
		for range time.Tick(flushInterval) {
			if flush() != nil {
				return
			}
		}
	}()
	commands := bufio.NewScanner(in)
	for commands.Scan() {
		if commands.Text() == "cpu" {
			say("=%g", ownCPU())
			if err := flush(); err != nil {
				return err
			}
			continue
		}
		number, script, _ := strings.Cut(commands.Text(), " ")
		i, err := strconv.Atoi(number)
		if err != nil {
			return err
		}
		if err := direct(all[i], script); err != nil {
			return err
		}
		say("=ok")
		if err := flush(); err != nil {
			return err
		}
	}
	return commands.Err()
}

// direct tells a receiver what to do.
func direct(r *receiver.Receiver, script string) error {
	switch script {
	case "down":
		return r.Down()
	case "up":
		return r.Up()
	}
	answers, err := receiver.ParseScript(script)
	if err != nil {
		return err
	}
	for n := range answers {
		answers[n].Body = answerBody
	}
	r.Script("/", answers...)
	r.Forget()
	return nil
}

// ownCPU is the CPU time that this process has used, in seconds.
func ownCPU() float64 {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		return 0
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano()).Seconds()
}

// receivers are the receivers as the rest of the program sees them: another
// process, which ends when this one does, since its standard input ends then.
type receivers struct {
	cmd       *exec.Cmd
	commands  io.WriteCloser
	addresses []string
	answers   chan string
	done      chan struct{}

	mu       sync.Mutex
	arrivals []arrival
	changed  chan struct{} // closed, and replaced, at each arrival
}

func startReceivers() (*receivers, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(self, receiversCommand)
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C is the parent's
	commands, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting the receivers: %w", err)
	}
	r := &receivers{
		cmd: cmd, commands: commands,
		answers: make(chan string, 1), done: make(chan struct{}), changed: make(chan struct{}),
	}
	lines := bufio.NewScanner(out)
	if !lines.Scan() {
		return nil, errors.Join(errors.New("the receivers did not start"), r.close())
	}
	r.addresses = strings.Fields(lines.Text())
	go func() {
		defer close(r.done)
		for lines.Scan() {
			r.hear(lines.Text())
		}
	}()
	return r, nil
}

func (r *receivers) hear(line string) {
	if answer, ok := strings.CutPrefix(line, "="); ok {
		r.answers <- answer
		return
	}
	fields := strings.Fields(line)
	if len(fields) != 3 {
		return
	}
	number, _ := strconv.Atoi(fields[0])
	at, _ := strconv.ParseInt(fields[1], 10, 64)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.arrivals = append(r.arrivals, arrival{receiver: number, at: time.Unix(0, at), id: fields[2]})
	close(r.changed)
	r.changed = make(chan struct{})
}

func (r *receivers) ask(format string, args ...any) (string, error) {
	if _, err := fmt.Fprintf(r.commands, format+"\n", args...); err != nil {
		return "", fmt.Errorf("asking the receivers: %w", err)
	}
	select {
	case answer := <-r.answers:
		return answer, nil
	case <-r.done:
		return "", errors.New("the receivers have ended")
	}
}

// url is the address of a receiver.
func (r *receivers) url(i int) string { return "http://" + r.addresses[i] + "/" }

// script sets how a receiver answers, as receiver.ParseScript reads it, or takes it
// off the network ("down") or back ("up").
func (r *receivers) script(i int, script string) error {
	_, err := r.ask("%d %s", i, script)
	return err
}

// answerIn lets all receivers accept everything after a delay.
func (r *receivers) answerIn(delay time.Duration) error {
	for i := range r.addresses {
		if err := r.script(i, "200@"+delay.String()); err != nil {
			return err
		}
	}
	return nil
}

// cpu is the CPU time that the receivers have used, in seconds.
func (r *receivers) cpu() (float64, error) {
	answer, err := r.ask("cpu")
	if err != nil {
		return 0, err
	}
	return strconv.ParseFloat(answer, 64)
}

// forget drops what has arrived so far.
func (r *receivers) forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.arrivals = nil
}

// look returns what has arrived, and a channel that closes when that changes.
func (r *receivers) look() ([]arrival, <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clip(r.arrivals), r.changed
}

// close ends the receivers by the end of their input, and by their id where
// that does not do.
func (r *receivers) close() error {
	_ = r.commands.Close()
	kill := time.AfterFunc(5*time.Second, func() { _ = r.cmd.Process.Kill() })
	defer kill.Stop()
	return r.cmd.Wait()
}
