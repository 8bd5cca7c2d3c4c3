package controllers

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// fault stands between the operator's clients and the API server: below all of the
// operator's code. pass makes the request.
type fault func(r *http.Request, pass func() (*http.Response, error)) (*http.Response, error)

func (f fault) before(next http.RoundTripper) http.RoundTripper {
	return transport(func(r *http.Request) (*http.Response, error) {
		return f(r, func() (*http.Response, error) { return next.RoundTrip(r) })
	})
}

type transport func(r *http.Request) (*http.Response, error)

func (t transport) RoundTrip(r *http.Request) (*http.Response, error) { return t(r) }

// creating is a fault where a delivery is created.
func creating(do fault) fault { return on(http.MethodPost, "webhookdeliveries", do) }

// patching is a fault where a delivery is patched.
func patching(do fault) fault { return on(http.MethodPatch, "webhookdeliveries", do) }

// on is a fault for one method and resource, such as "webhookevents/status".
func on(method, resource string, do fault) fault {
	return func(r *http.Request, pass func() (*http.Response, error)) (*http.Response, error) {
		if of, _ := subject(r); r.Method == method && of == resource {
			return do(r, pass)
		}
		return pass()
	}
}

// counting tells count of each write of this project's kinds.
func counting(count func(resource string)) fault {
	return func(r *http.Request, pass func() (*http.Response, error)) (*http.Response, error) {
		if resource, _ := subject(r); r.Method != http.MethodGet && strings.HasPrefix(resource, "webhook") {
			count(resource)
		}
		return pass()
	}
}

// subject is what a request is about: its resource, with the subresource, and its
// name.
func subject(r *http.Request) (resource string, name types.NamespacedName) {
	_, path, _ := strings.Cut(r.URL.Path, "/namespaces/")
	parts := append(strings.Split(path, "/"), "", "", "")
	resource = parts[1]
	if parts[3] != "" {
		resource += "/" + parts[3]
	}
	return resource, types.NamespacedName{Namespace: parts[0], Name: parts[2]}
}

// answer answers a request in place of the API server.
func answer(r *http.Request, with apierrors.APIStatus) (*http.Response, error) {
	status := with.Status()
	status.TypeMeta = metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}
	body, err := json.Marshal(status)
	if err != nil {
		return nil, err
	}
	return page(r, int(status.Code), "application/json", string(body))
}

// page answers a request as a proxy in front of the API server does.
func page(r *http.Request, code int, contentType, body string) (*http.Response, error) {
	return &http.Response{
		StatusCode: code, ProtoMajor: 1, ProtoMinor: 1, Request: r,
		Header: http.Header{"Content-Type": {contentType}}, Body: io.NopCloser(strings.NewReader(body)),
	}, nil
}

// rewrite changes the object that a request sends.
func rewrite(r *http.Request, change func(object map[string]any)) error {
	data, err := io.ReadAll(r.Body)
	if err != nil {
		return err
	}
	object := map[string]any{}
	if err := json.Unmarshal(data, &object); err != nil {
		return err
	}
	change(object)
	if data, err = json.Marshal(object); err != nil {
		return err
	}
	r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(data)), int64(len(data))
	return nil
}

// logBuffer is what was logged.
type logBuffer struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

// lines are those with a text.
func (l *logBuffer) lines(text string) (lines []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for line := range strings.Lines(l.text.String()) {
		if strings.Contains(line, text) {
			lines = append(lines, line)
		}
	}
	return lines
}
