package receiver

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Answer says how a request is answered.
type Answer struct {
	// Status is the code of the answer. Default: 200.
	Status int
	// Header is added to the answer's headers.
	Header http.Header
	// Body of the answer.
	Body string
	// Refuses: it is no success for what it says in its body, whatever the status.
	Refuses bool

	// Delay is how long the answer takes.
	Delay time.Duration
	// Until, where it is not nil, keeps the answer back until it is closed,
	// and Delay begins then.
	Until <-chan struct{}

	// Hang never answers: the request is held until the client goes away or
	// the receiver goes down.
	Hang bool
	// Reset ends the connection without an answer.
	Reset bool
}

// Accepts tells whether the answer is a success.
func (a Answer) Accepts() bool {
	status := a.status()
	return !a.Hang && !a.Reset && !a.Refuses && status >= 200 && status < 300
}

func (a Answer) status() int {
	if a.Status == 0 {
		return http.StatusOK
	}
	return a.Status
}

func (a Answer) write(w http.ResponseWriter) {
	for key, values := range a.Header {
		w.Header()[http.CanonicalHeaderKey(key)] = values
	}
	w.WriteHeader(a.status())
	// A client that went away meanwhile is no concern of the script's.
	_, _ = w.Write([]byte(a.Body))
}

// writeLength tells how long the body is going to be, where there can be one.
func (a Answer) writeLength(w http.ResponseWriter) {
	if status := a.status(); status != http.StatusNoContent && status != http.StatusNotModified {
		w.Header().Set("Content-Length", strconv.Itoa(len(a.Body)))
	}
}

// Script sets how requests to a path are answered, in place of what was set
// before: the first with the first answer, and so on; the last answer stays.
// Without answers the path answers 200 again. Queries do not count.
func (r *Receiver) Script(path string, answers ...Answer) {
	r.scripts.set(path, answers)
}

// ParseScript reads a script from text: answers separated by commas, each a
// status code, "hang" or "reset", with a delay after an @ if need be:
//
//	500,500,200
//	200@20ms
//	503@1s,hang
func ParseScript(text string) ([]Answer, error) {
	var answers []Answer
	for word := range strings.SplitSeq(text, ",") {
		answer, err := parseAnswer(strings.TrimSpace(word))
		if err != nil {
			return nil, fmt.Errorf("reading the script %q: %w", text, err)
		}
		answers = append(answers, answer)
	}
	return answers, nil
}

// MustParseScript is ParseScript for scripts that are part of the program.
func MustParseScript(text string) []Answer {
	answers, err := ParseScript(text)
	if err != nil {
		panic(err)
	}
	return answers
}

func parseAnswer(word string) (Answer, error) {
	var answer Answer
	what, delay, delayed := strings.Cut(word, "@")
	if delayed {
		var err error
		if answer.Delay, err = time.ParseDuration(delay); err != nil {
			return Answer{}, err
		}
	}
	switch what {
	case "hang":
		answer.Hang = true
	case "reset":
		answer.Reset = true
	default:
		status, err := strconv.Atoi(what)
		// net/http takes what is below 200 for the announcement of an answer.
		if err != nil || status < 200 || status > 999 {
			return Answer{}, fmt.Errorf("%q is neither hang nor reset nor a status code from 200 to 999", what)
		}
		answer.Status = status
	}
	return answer, nil
}

// scripts are the answers that are still to be given, by path.
type scripts struct {
	mu     sync.Mutex
	byPath map[string][]Answer
}

func (s *scripts) set(path string, answers []Answer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.byPath == nil {
		s.byPath = map[string][]Answer{}
	}
	s.byPath[path] = answers
}

// next takes the next answer for a path; ok is false where it has no script.
func (s *scripts) next(path string) (a Answer, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	answers := s.byPath[path]
	if len(answers) == 0 {
		return Answer{}, false
	}
	if len(answers) > 1 {
		s.byPath[path] = answers[1:]
	}
	return answers[0], true
}
