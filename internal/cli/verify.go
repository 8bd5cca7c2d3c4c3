package cli

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/util/duration"

	"github.com/horizoncd/webhook-operator/internal/signing"
)

// maxVerifyFile bounds what is read of a body or of headers: bodies that Horizon sends
// are far smaller.
const maxVerifyFile = 16 << 20

// verifier is the command verify.
type verifier struct {
	*plugin
	secretFile, headersFile, bodyFile string
	tolerance                         time.Duration
	at                                string
}

func newVerify(p *plugin) *cobra.Command {
	v := &verifier{plugin: p}
	cmd := &cobra.Command{
		Use:     "verify --secret-file FILE --headers FILE --body FILE",
		GroupID: groupTry,
		Short:   "Check the signature of a request, and say why it does not hold",
		Long: `Check the signature of a request that a receiver got (Standard Webhooks: webhook-id, webhook-timestamp and
webhook-signature), without a cluster. Where it does not hold, the usual accidents are looked for: a body that was changed
on its way, a key that is decoded or not, a time that is too far off. It exits with 3 then.

The headers are those that the receiver got, one to a line; a line of curl -v may begin with "> ". Records of deliveries
do not have the signature. The body is what came, byte for byte. One of the three files may be -, standard input.`,
		Example: `  kubectl horizon verify --secret-file token.txt --headers headers.txt --body body.json

  # A request of last week, whatever the time
  kubectl horizon verify --secret-file token.txt --headers headers.txt --body body.json --tolerance 0

  # The key as the cluster has it
  kubectl get secret smoke-tests -o go-template='{{.data.token | base64decode}}' |
    kubectl horizon verify --secret-file - --headers headers.txt --body body.json`,
		Args:              none,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE:              func(*cobra.Command, []string) error { return v.run() },
	}
	f := cmd.Flags()
	f.StringVar(&v.secretFile, "secret-file", "", "the key: a token, or a base64 key that begins with whsec_")
	f.StringVar(&v.headersFile, "headers", "", "the headers of the request, one to a line")
	f.StringVar(&v.bodyFile, "body", "", "the body of the request")
	f.DurationVar(&v.tolerance, "tolerance", 5*time.Minute, "how far off the time may be; 0 leaves it unchecked")
	f.StringVar(&v.at, "now", "", "the time to check against, such as 2026-06-05T11:00:31Z or seconds since 1970; that of this machine unless given")
	for _, name := range []string{"tolerance", "now"} {
		_ = cmd.RegisterFlagCompletionFunc(name, cobra.NoFileCompletions)
	}
	return cmd
}

func (v *verifier) run() error {
	now, err := v.clock()
	if err != nil {
		return err
	}
	if err := v.checkFiles(); err != nil {
		return err
	}
	secret, err := v.readFile("secret-file", v.secretFile)
	if err != nil {
		return err
	}
	headers, err := v.readFile("headers", v.headersFile)
	if err != nil {
		return err
	}
	body, err := v.readFile("body", v.bodyFile)
	if err != nil {
		return err
	}
	key, _, err := signing.ParseSecret(secret)
	if err != nil {
		return fmt.Errorf("--secret-file: %w", err)
	}
	h := parseHeaders(headers)
	if len(h) == 0 {
		return errors.New("--headers: there is no header in it; a line is a name, a colon and a value")
	}
	at, err := signing.Verify(h, body, key, now, v.tolerance)
	if err == nil {
		_, err := fmt.Fprintf(v.Out, "The signature holds: it is of this body by this key, made at %s (%s).\n",
			at.UTC().Format(time.RFC3339), fromNow(now.Sub(at)))
		return err
	}
	fmt.Fprintln(v.Out, "The signature does not hold: "+printable(v.why(err, h, body, secret)))
	return errUnmet
}

// checkFiles checks which files are named.
func (v *verifier) checkFiles() error {
	files := []string{v.secretFile, v.headersFile, v.bodyFile}
	if slices.Contains(files, "") {
		return usagef("--secret-file, --headers and --body are all needed")
	}
	if first := slices.Index(files, "-"); first >= 0 && slices.Contains(files[first+1:], "-") {
		return usagef("only one of --secret-file, --headers and --body can be standard input")
	}
	return nil
}

// clock is the time that the request is held against.
func (v *verifier) clock() (time.Time, error) {
	if v.at == "" {
		return v.now(), nil
	}
	if seconds, err := strconv.ParseInt(v.at, 10, 64); err == nil {
		return time.Unix(seconds, 0), nil
	}
	now, err := time.Parse(time.RFC3339, v.at)
	if err != nil {
		return time.Time{}, usagef("--now %q is not a time such as 2026-06-05T11:00:31Z", v.at)
	}
	return now, nil
}

// readFile reads the file of a flag; - is standard input.
func (v *verifier) readFile(flag, path string) ([]byte, error) {
	in := v.In
	if path != "-" {
		f, err := os.Open(path) //nolint:gosec // the user's own file
		if err != nil {
			return nil, fmt.Errorf("--%s: %w", flag, err)
		}
		defer f.Close()
		in = f
	}
	data, err := io.ReadAll(io.LimitReader(in, maxVerifyFile+1))
	if err != nil {
		return nil, fmt.Errorf("--%s: %w", flag, err)
	}
	if len(data) > maxVerifyFile {
		return nil, fmt.Errorf("--%s: it has more than %d bytes", flag, maxVerifyFile)
	}
	return data, nil
}

// parseHeaders reads header lines, also those of curl -v. Lines that are none, such as
// that of the request, are left out.
func parseHeaders(text []byte) http.Header {
	h := http.Header{}
	for line := range bytes.Lines(text) {
		s := strings.TrimSpace(string(line))
		for _, prefix := range []string{"> ", "< "} {
			s = strings.TrimSpace(strings.TrimPrefix(s, prefix))
		}
		name, value, found := strings.Cut(s, ":")
		if !found || name == "" || strings.ContainsAny(name, " \t") {
			continue
		}
		h.Add(name, strings.TrimSpace(value))
	}
	return h
}

// why says in words why a signature does not hold, and what may have happened.
func (v *verifier) why(err error, h http.Header, body, secret []byte) string {
	if age, ok := errors.AsType[*signing.AgeError](err); ok {
		side := "old"
		if age.Age < 0 {
			side = "new"
		}
		return fmt.Sprintf("it is of this body by this key, and too %s: %s (--tolerance). "+
			"Clocks differ, or the request is a repetition.", side, age)
	}
	if !errors.Is(err, signing.ErrMismatch) {
		return err.Error() + "."
	}
	text := err.Error() + ". "
	if when := signing.Accident(h, body, secret); when != "" {
		return text + "It does hold when " + when + "."
	}
	return text + "Either the key is another one, or the body, the id or the time was changed: which, nobody can tell. " +
		"None of the usual accidents makes it hold: line breaks added or taken off, JSON that was written anew, " +
		"a key that is decoded or not, a signature that is cut off."
}

// fromNow says how long ago something was, or how long it takes until then.
func fromNow(ago time.Duration) string {
	if ago < 0 {
		return duration.HumanDuration(-ago) + " from now"
	}
	return duration.HumanDuration(ago) + " ago"
}
