package main

import (
	"context"
	"fmt"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// playURLs applies Webhooks with URLs that cannot be.
func playURLs(ctx context.Context, t *session) error {
	namespace, err := t.namespace(ctx)
	if err != nil {
		return err
	}
	for name, input := range map[string]struct{ url, says string }{
		"empty":            {"", "url is required"},
		"relative":         {"hooks/horizon", "url must be absolute"},
		"path":             {"/hooks", "url must be absolute"},
		"no scheme":        {"//ci.example.com/", "url must be absolute"},
		"file":             {"file:///etc/passwd", "url must be absolute"},
		"gopher":           {"gopher://ci.example.com:70/1", "url must be absolute"},
		"javascript":       {"javascript:alert(1)", "url must be absolute"},
		"data":             {"data:text/html,x", "url must be absolute"},
		"unix socket":      {"http+unix://%2Fvar%2Frun%2Fdocker.sock/", "url must be absolute"},
		"user info":        {"https://me:secret@ci.example.com/", "url must not contain a user name"},
		"port 0":           {"https://ci.example.com:0/", "url must have a port from 1 to 65535"},
		"port 65536":       {"https://ci.example.com:65536/", "url must have a port from 1 to 65535"},
		"port of words":    {"https://ci.example.com:http/", "url must name a host"},
		"2 MiB":            {"https://ci.example.com/" + strings.Repeat("a", 2<<20), "may not be more than 2048"},
		"fragment":         {"https://ci.example.com/#music", "url must not have a fragment"},
		"CR LF":            {"https://ci.example.com/\r\nX-Other:%201", "url must percent-encode"},
		"NUL":              {"https://ci.example.com/\x00", "url must percent-encode"},
		"space":            {"https://ci.example.com/music ops", "url must percent-encode"},
		"full-width":       {"https://１２７.0.0.1/", "url must percent-encode"},
		"backslash":        {`https://ci.example.com\@other.example.com/`, "url must percent-encode"},
		"zone":             {"https://[fe80::1%25lo]/", "url must not have a zone"},
		"mapped IPv4":      {"https://[::ffff:127.0.0.1]/", "url must have an IPv4 address as it is"},
		"BOM":              {"\ufeffhttps://ci.example.com/", "character 1 of 24 is a byte order mark"},
		"IPv4 in brackets": {"https://[127.0.0.1]/", "url must name a host"},
	} {
		var problems []string
		err := t.client.Create(ctx, webhook(namespace, "url", input.url), client.DryRunAll)
		switch {
		case err == nil:
			problems = append(problems, "accepted")
		case !apierrors.IsInvalid(err) || !strings.Contains(err.Error(), input.says):
			problems = append(problems, fmt.Sprintf("refused with %.300q, want %q in it", err, input.says))
		}
		t.judge(name, problems)
	}
	return nil
}
