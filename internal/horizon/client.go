package horizon

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/horizoncd/webhook-operator/internal/characters"
	"github.com/horizoncd/webhook-operator/internal/redaction"
)

const (
	// maxAnswer bounds an answer, in bytes. A page of logs is the largest: Horizon's list
	// leaves bodies out, so 50 logs take about 50 kB.
	maxAnswer = 8 << 20
	// maxReceivedHeader bounds the headers of an answer.
	maxReceivedHeader = 64 << 10
	// maxMessage bounds what is kept of an error message of Horizon's, in bytes.
	maxMessage = 512
	// connectTimeout bounds a connection's making, and the TLS handshake after it.
	connectTimeout = 10 * time.Second
	// idleTimeout is how long an unused connection is kept.
	idleTimeout = 30 * time.Second

	defaultUserAgent = "horizon-webhook-operator"
)

// Client asks one Horizon. Its methods may be called from several goroutines.
type Client struct {
	base      *url.URL
	token     TokenSource
	http      *http.Client //nolint:forbidigo // it talks to Horizon, not to receivers
	userAgent string
	timeout   time.Duration
	turns     chan struct{}
}

// New returns a client of the Horizon whose core has an address, such as
// https://horizon.example.com. Nothing is asked yet.
func New(address string, token TokenSource, options ...Option) (*Client, error) {
	base, err := parseAddress(address)
	if err != nil {
		return nil, fmt.Errorf("the address of Horizon: %w", err)
	}
	s := settings{timeout: DefaultTimeout, requests: DefaultRequests, userAgent: defaultUserAgent}
	for _, option := range options {
		if err := option(&s); err != nil {
			return nil, err
		}
	}
	return &Client{
		base: base, token: token, http: newHTTPClient(s), userAgent: s.userAgent, timeout: s.timeout,
		turns: make(chan struct{}, s.requests),
	}, nil
}

// parseAddress takes an address without showing any of it: it may have a password.
func parseAddress(address string) (*url.URL, error) {
	u, err := url.Parse(address)
	switch {
	case err != nil:
		return nil, errors.New("it is no URL")
	case u.Scheme != "https" && u.Scheme != "http", u.Hostname() == "":
		return nil, errors.New("it has to be absolute, such as https://horizon.example.com")
	case u.User != nil:
		return nil, errors.New("it must not have a user name or a password: the token says who asks")
	case u.RawQuery != "", u.Fragment != "":
		return nil, errors.New("it must not have a query or a fragment")
	}
	return u.JoinPath(), nil
}

// newHTTPClient returns a client that follows no redirects: one would carry the token
// elsewhere, or turn a PUT into a GET.
//
//nolint:forbidigo // it talks to Horizon, not to receivers
func newHTTPClient(s settings) *http.Client {
	transport := &http.Transport{
		DialContext:            (&net.Dialer{Timeout: connectTimeout}).DialContext,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: s.roots},
		TLSHandshakeTimeout:    connectTimeout,
		MaxResponseHeaderBytes: maxReceivedHeader,
		MaxConnsPerHost:        s.requests,
		MaxIdleConnsPerHost:    s.requests,
		IdleConnTimeout:        idleTimeout,
		ForceAttemptHTTP2:      true,
	}
	if s.proxy {
		transport.Proxy = http.ProxyFromEnvironment
	}
	return &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// call is one request.
type call struct {
	method string
	// path is below the core's address, with each name in it escaped.
	path  string
	query url.Values
	// body is sent as JSON; nil for none.
	body any
	// secrets are what an error must not show besides the token.
	secrets []string
}

// get asks for the data at a path.
func (c *Client) get(ctx context.Context, path string, query url.Values, data any) error {
	return c.do(ctx, call{method: http.MethodGet, path: path, query: query}, data)
}

// do makes a request and reads the data of the answer, unless data is nil. An error names
// the request; it is a *StatusError where Horizon has answered with one.
func (c *Client) do(ctx context.Context, r call, data any) error {
	select {
	case c.turns <- struct{}{}:
		defer func() { <-c.turns }()
	case <-ctx.Done():
		return fmt.Errorf("asking Horizon: %s %s: waiting for other requests: %w", r.method, r.path, context.Cause(ctx))
	}
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	token, err := c.token()
	if err != nil {
		return err
	}
	hidden := redaction.New(append(r.secrets, token)...)
	code, body, err := c.exchange(ctx, r, token)
	if err != nil {
		return fmt.Errorf("asking Horizon: %s %s: %w", r.method, r.path, hide(err, hidden))
	}
	return r.read(code, body, data, hidden)
}

// exchange sends the request and reads the answer.
//
//nolint:forbidigo // it talks to Horizon, not to receivers
func (c *Client) exchange(ctx context.Context, r call, token string) (int, []byte, error) {
	u := *c.base
	u.RawPath = strings.TrimSuffix(u.EscapedPath(), "/") + r.path
	plain, err := url.PathUnescape(u.RawPath)
	if err != nil {
		return 0, nil, fmt.Errorf("making the address: %w", err)
	}
	u.Path, u.RawQuery = plain, r.query.Encode()
	var content io.Reader
	if r.body != nil {
		data, err := json.Marshal(r.body)
		if err != nil {
			return 0, nil, fmt.Errorf("writing the body: %w", err)
		}
		content = bytes.NewReader(data)
	}
	req, err := http.NewRequestWithContext(ctx, r.method, u.String(), content)
	if err != nil {
		return 0, nil, fmt.Errorf("making the request: %w", err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", c.userAgent)
	if content != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	answer, err := c.http.Do(req)
	if err != nil {
		if wrapped, ok := errors.AsType[*url.Error](err); ok {
			err = wrapped.Err // which leaves out the address: the caller names the request
		}
		return 0, nil, err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer+1))
	switch {
	case err != nil:
		return 0, nil, fmt.Errorf("reading the answer: %w", err)
	case len(body) > maxAnswer:
		return 0, nil, fmt.Errorf("the answer has more than %d bytes", maxAnswer)
	}
	return answer.StatusCode, body, nil
}

// read takes the data out of an answer, which Horizon wraps.
func (r call) read(code int, body []byte, data any, hidden *redaction.Redactor) error {
	var wrapped struct {
		Data         json.RawMessage `json:"data"`
		ErrorCode    string          `json:"errorCode"`
		ErrorMessage string          `json:"errorMessage"`
	}
	err := json.Unmarshal(body, &wrapped)
	switch {
	case code < 200 || code > 299 || wrapped.ErrorCode != "":
		return &StatusError{
			Code: code, Method: r.method, Path: r.path,
			Message: message(cmp.Or(wrapped.ErrorMessage, wrapped.ErrorCode), hidden),
		}
	case err != nil:
		return fmt.Errorf("asking Horizon: %s %s: the answer is not Horizon's: it is no JSON object; is the address that of its core?", r.method, r.path)
	case data == nil:
		return nil
	case len(wrapped.Data) == 0:
		return fmt.Errorf("asking Horizon: %s %s: the answer has no data; is the address that of its core?", r.method, r.path)
	}
	if err := json.Unmarshal(wrapped.Data, data); err != nil {
		return fmt.Errorf("asking Horizon: %s %s: reading the answer: %w", r.method, r.path, hide(err, hidden))
	}
	return nil
}

// message makes a line of what Horizon says, bounded and without secrets.
func message(text string, hidden *redaction.Redactor) string {
	text = characters.OneLine(hidden.Redact(text))
	if len(text) > maxMessage {
		text = strings.ToValidUTF8(text[:maxMessage], "") + "…"
	}
	return text
}

// hiddenError is an error whose text was made harmless.
type hiddenError struct {
	error
	text string
}

func (e hiddenError) Error() string { return e.text }
func (e hiddenError) Unwrap() error { return e.error }

// hide takes secrets out of an error's text.
func hide(err error, hidden *redaction.Redactor) error {
	return hiddenError{err, message(err.Error(), hidden)}
}
