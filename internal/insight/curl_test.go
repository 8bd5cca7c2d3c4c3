package insight

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// What Curl returns does what it says in a shell, whatever the record has in it.
func TestCurlInShell(t *testing.T) {
	dir := t.TempDir()
	// In place of curl: it prints its arguments, and what it reads, each with a length.
	fake := "#!/bin/sh\nfor a; do printf '%s:' \"${#a}\"; printf '%s' \"$a\"; printf '\\n'; [ \"$a\" = @- ] && cat; done\n:\n"
	if err := os.WriteFile(filepath.Join(dir, "curl"), []byte(fake), 0o755); err != nil {
		t.Fatal(err)
	}
	headers := "Content-Type: a'b\"c$(touch pwned)`touch pwned`\\\nX-Empty:\nno header\n-H: x\nX-Nasty: \x1b[2J\u202e\\n\n" +
		"Webhook-Signature: [redacted]\nWebhook-Timestamp: 1\nX-Horizon-Webhook-Secret: [redacted]"
	for name, body := range map[string]string{
		"plain":       `{"a":"b"}`,
		"quotes":      `'"'"'; touch pwned; $(touch pwned) \'` + "`touch pwned`" + ` $TOKEN %s \n @file`,
		"at":          `@/etc/passwd`,
		"hostile":     "\x1b[31mred\x1b[0m \u202egnp.exe\u202c \u200bhidden\r\x07 \u009b2J 名前",
		"backslashes": `\\ \0101 \c \x41` + "\x1b" + `\\\`,
		"lines":       "one\ntwo\n\n",
		"invalid":     "\xff\xfe\x80 ok",
		"long":        strings.Repeat("0123456789", 40_000) + "'",
	} {
		t.Run(name, func(t *testing.T) {
			script := curlOf("https://ci.example.com/x?a=b&c='d'[1]", headers, body)
			for i, r := range script {
				if r != '\n' && r < ' ' || r == '\u202e' || r == '\u009b' {
					t.Fatalf("%q gets to the terminal, at %d", r, i)
				}
			}
			check := exec.CommandContext(t.Context(), "sh", "-n")
			check.Stdin = strings.NewReader(script)
			if out, err := check.CombinedOutput(); err != nil {
				t.Fatalf("sh -n: %v\n%s\n%s", err, out, script)
			}
			var out, errOut bytes.Buffer
			run := exec.CommandContext(t.Context(), "sh")
			run.Stdin, run.Stdout, run.Stderr = strings.NewReader(script), &out, &errOut
			run.Dir, run.Env = dir, append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"), "TOKEN=the token", "LC_ALL=C")
			if err := run.Run(); err != nil {
				t.Fatalf("sh: %v\n%s", err, errOut.String())
			}
			if _, err := os.Stat(filepath.Join(dir, "pwned")); err == nil {
				t.Fatal("the record's content was run")
			}
			args := []string{
				"--globoff", "--request", "POST", "--url", "https://ci.example.com/x?a=b&c='d'[1]",
				"--header", "Content-Type: a'b\"c$(touch pwned)`touch pwned`\\", "--header", "X-Empty;", "--header", "-H: x",
				"--header", "X-Nasty: \x1b[2J\u202e\\n", "--header", "X-Horizon-Webhook-Secret: the token",
			}
			var want strings.Builder
			for _, a := range args {
				fmt.Fprintf(&want, "%d:%s\n", len(a), a)
			}
			if len(body) > longestArgument || !plain(body) {
				fmt.Fprintf(&want, "%d:%s\n%d:%s\n%s", len("--data-binary"), "--data-binary", 2, "@-", body)
			} else {
				fmt.Fprintf(&want, "%d:%s\n%d:%s\n", len("--data-raw"), "--data-raw", len(body), body)
			}
			if out.String() != want.String() {
				t.Errorf("got\n%q\nwant\n%q", out.String(), want.String())
			}
		})
	}
}
