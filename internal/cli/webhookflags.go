package cli

import (
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/horizoncd/webhook-operator/internal/manifest"
	"github.com/horizoncd/webhook-operator/internal/receiverurl"
	"github.com/horizoncd/webhook-operator/internal/signing"
)

// maxSecretFile bounds what is read of a file that has a secret: more than any may have.
const maxSecretFile = 64 << 10

// eventTypes are those that triggers name: spec.triggers lists them.
var eventTypes = []string{
	"*", "applications_*", "clusters_*", "members_*", "pipelineruns_*",
	"applications_created", "applications_updated", "applications_deleted", "applications_transferred",
	"clusters_created", "clusters_updated", "clusters_deleted", "clusters_freed", "clusters_action",
	"clusters_builddeployed", "clusters_deployed", "clusters_rollbacked",
	"clusters_restarted", "clusters_rescheduled", "clusters_kubernetes_event",
	"members_created", "members_updated", "members_deleted",
	"pipelineruns_created", "pipelineruns_cancelled", "pipelineruns_executed",
}

// webhookFlags are the fields of a Webhook as flags. A flag that is not given changes
// nothing.
type webhookFlags struct {
	cmd *cobra.Command

	url, description, scope string
	triggers                []string
	webhookID               int64
	timeout                 secondsFlag
	retries, maxInFlight    int32
	noSSLVerify, paused     bool
	sources                 []*secretSource
}

// secretSource is where a secret comes from: a value that becomes a new Secret, or a
// reference to one that is there. A value never stands on the command line, where others
// on the machine see it and the shell remembers it.
type secretSource struct {
	flag, field string
	// key is that of a new Secret, and of a reference without one.
	key       string
	fromStdin bool
	file, ref string
	// check says what is wrong with a value, and returns it without a line break at its end.
	check func(value []byte) (string, error)
}

// secretRef is a key of a Secret; without a name, of one that is yet to be made.
type secretRef struct{ name, key string }

// secondsFlag is a time in whole seconds: 30s, 2m or 30.
type secondsFlag int32

func (s *secondsFlag) String() string {
	if *s == 0 {
		return ""
	}
	return (time.Duration(*s) * time.Second).String()
}

func (s *secondsFlag) Type() string { return "duration" }

// Set parses the value of the flag.
func (s *secondsFlag) Set(text string) error {
	if n, err := strconv.ParseInt(text, 10, 32); err == nil {
		*s = secondsFlag(n)
		return nil
	}
	d, err := time.ParseDuration(text)
	if err != nil || d%time.Second != 0 || d.Abs()/time.Second > math.MaxInt32 {
		return errors.New("it has to be a whole number of seconds, such as 30s")
	}
	*s = secondsFlag(d / time.Second) //nolint:gosec // bounded above
	return nil
}

// addTo adds the flags to a command.
func (w *webhookFlags) addTo(cmd *cobra.Command) {
	w.cmd = cmd
	f := cmd.Flags()
	f.StringVar(&w.url, "url", "", "where events are posted to: an absolute http or https address")
	f.StringSliceVar(&w.triggers, "trigger", nil, `an event type that is followed, a family such as clusters_*, or "*"; repeat it for several`)
	f.StringVar(&w.description, "description", "", "what the webhook is for")
	f.StringVar(&w.scope, "scope", "", "only events of this group, application or cluster and what is below it, such as /music/player")
	f.Int64Var(&w.webhookID, "webhook-id", 0, "Horizon's own number of the webhook, sent in bodies")
	f.Var(&w.timeout, "timeout", "how long one request may take, such as 30s")
	f.Int32Var(&w.retries, "retries", 0, "how often a failed request is repeated; 0 is never")
	f.Int32Var(&w.maxInFlight, "max-in-flight", 0, "how many requests may be under way at once")
	f.BoolVar(&w.noSSLVerify, "no-ssl-verify", false, "leave the receiver's certificate unchecked")
	f.BoolVar(&w.paused, "paused", false, "record deliveries and hold them until the webhook is resumed")
	w.sources = []*secretSource{
		{flag: "secret", field: "secretRef", key: "token", check: checkSecret},
		{flag: "signing-secret", field: "signingSecretRef", key: "signing-key", check: checkSecret},
		{flag: "url", field: "urlSecretRef", key: "url", check: checkURL},
	}
	for _, s := range w.sources {
		what := map[string]string{
			"secret": "the receiver's token", "signing-secret": "the key of signatures", "url": "a URL that is a secret itself",
		}[s.flag]
		f.BoolVar(&s.fromStdin, s.flag+"-from-stdin", false, "read "+what+" from standard input into a new Secret")
		f.StringVar(&s.file, s.flag+"-file", "", "read "+what+" from a file into a new Secret")
		f.StringVar(&s.ref, s.flag+"-ref", "", "the Secret that has "+what+": NAME or NAME/KEY (KEY is "+s.key+" unless given)")
		_ = cmd.RegisterFlagCompletionFunc(s.flag+"-ref", cobra.NoFileCompletions)
	}
	_ = cmd.RegisterFlagCompletionFunc("trigger", completeTriggers)
	for _, name := range []string{"url", "description", "scope", "webhook-id", "timeout", "retries", "max-in-flight"} {
		_ = cmd.RegisterFlagCompletionFunc(name, cobra.NoFileCompletions)
	}
}

func completeTriggers(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
	return slices.Clone(eventTypes), cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveKeepOrder
}

// checkSecret asks the operator's own package whether a value can be a secret.
func checkSecret(value []byte) (string, error) {
	s, _, err := signing.ParseSecret(value)
	return s.Reveal(), err
}

// checkURL asks the operator's own package whether a value can be a URL.
func checkURL(value []byte) (string, error) {
	t, _, err := receiverurl.Parse(value)
	return t.Reveal(), err
}

func (w *webhookFlags) changed(name string) bool { return w.cmd.Flags().Changed(name) }

// fields returns what the flags say of spec, as a JSON merge patch: nil takes a field out.
func (w *webhookFlags) fields() map[string]any {
	spec := map[string]any{}
	set := func(flag, field string, value any, empty bool) {
		switch {
		case !w.changed(flag):
		case empty:
			spec[field] = nil
		default:
			spec[field] = value
		}
	}
	set("url", "url", w.url, false)
	if w.changed("url") {
		spec["urlSecretRef"] = nil
	}
	if w.changed("trigger") {
		spec["triggers"] = anyStrings(w.triggers)
	}
	set("description", "description", w.description, w.description == "")
	set("scope", "scope", w.scope, w.scope == "")
	set("webhook-id", "webhookID", w.webhookID, w.webhookID == 0)
	set("timeout", "timeoutSeconds", int64(w.timeout), false)
	set("retries", "retry", map[string]any{"limit": int64(w.retries)}, false)
	set("max-in-flight", "maxInFlight", int64(w.maxInFlight), false)
	set("no-ssl-verify", "sslVerifyEnabled", !w.noSSLVerify, false)
	state := "Enabled"
	if w.paused {
		state = "Paused"
	}
	set("paused", "state", state, false)
	return spec
}

func anyStrings(texts []string) []any {
	all := make([]any, len(texts))
	for i, t := range texts {
		all[i] = t
	}
	return all
}

// secrets reads the values that were given, and returns them by the key of the Secret
// that has to be made for them, with the reference for each field.
func (w *webhookFlags) secrets(p *plugin) (values map[string][]byte, refs map[string]secretRef, err error) {
	values, refs = map[string][]byte{}, map[string]secretRef{}
	stdin := ""
	for _, s := range w.sources {
		given := 0
		for _, suffix := range []string{"-from-stdin", "-file", "-ref"} {
			if w.changed(s.flag + suffix) {
				given++
			}
		}
		if s.flag == "url" && w.changed("url") {
			given++
		}
		if given > 1 {
			ways := []string{"--" + s.flag + "-file", "--" + s.flag + "-from-stdin", "--" + s.flag + "-ref"}
			if s.flag == "url" {
				ways = append([]string{"--url"}, ways...)
			}
			return nil, nil, usagef("give one of %s, not more", strings.Join(ways, ", "))
		}
		if s.fromStdin && stdin != "" {
			return nil, nil, usagef("--%s-from-stdin and --%s-from-stdin exclude each other: put one of them into a file", stdin, s.flag)
		}
		if s.fromStdin {
			stdin = s.flag
		}
	}
	for _, s := range w.sources {
		if s.ref != "" {
			name, key, found := strings.Cut(s.ref, "/")
			if !found {
				key = s.key
			}
			refs[s.field] = secretRef{name, key}
			continue
		}
		if !s.fromStdin && s.file == "" {
			continue
		}
		value, from, err := s.read(p)
		if err != nil {
			return nil, nil, err
		}
		text, err := s.check(value)
		if err != nil {
			return nil, nil, fmt.Errorf("%s: %w", from, err)
		}
		values[s.key] = []byte(text)
		refs[s.field] = secretRef{key: s.key}
	}
	return values, refs, nil
}

// read reads the value, and says with which flag.
func (s *secretSource) read(p *plugin) (value []byte, from string, err error) {
	if s.file != "" {
		from = "--" + s.flag + "-file"
		f, err := os.Open(s.file)
		if err != nil {
			return nil, from, fmt.Errorf("%s: %w", from, err)
		}
		defer f.Close()
		value, err = io.ReadAll(io.LimitReader(f, maxSecretFile))
		if err != nil {
			return nil, from, fmt.Errorf("%s: %w", from, err)
		}
		return value, from, nil
	}
	from = "--" + s.flag + "-from-stdin"
	if f, ok := p.In.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		fmt.Fprintf(p.ErrOut, "%s (it is not shown): ", s.flag)
		value, err = term.ReadPassword(int(f.Fd()))
		fmt.Fprintln(p.ErrOut)
	} else {
		value, err = io.ReadAll(io.LimitReader(p.In, maxSecretFile))
	}
	if err != nil {
		return nil, from, fmt.Errorf("%s: %w", from, err)
	}
	return value, from, nil
}

// apply puts references into spec. A URL and a reference to one exclude each other.
func applyRefs(spec map[string]any, refs map[string]secretRef, newSecret string) {
	for field, ref := range refs {
		if ref.name == "" {
			ref.name = newSecret
		}
		spec[field] = map[string]any{"name": ref.name, "key": ref.key}
		if field == "urlSecretRef" {
			spec["url"] = nil
		}
	}
}

// flagOf is the flag of each field.
var flagOf = map[string]string{
	"metadata.name":         "NAME",
	"spec.url":              "--url",
	"spec.urlSecretRef":     "--url-ref",
	"spec.triggers":         "--trigger",
	"spec.description":      "--description",
	"spec.scope":            "--scope",
	"spec.webhookID":        "--webhook-id",
	"spec.timeoutSeconds":   "--timeout",
	"spec.retry":            "--retries",
	"spec.maxInFlight":      "--max-in-flight",
	"spec.secretRef":        "--secret-ref",
	"spec.signingSecretRef": "--signing-secret-ref",
	"spec.sslVerifyEnabled": "--no-ssl-verify",
	"spec.state":            "--paused",
}

// refusal is what the API server has against a Webhook, with the flag that has to change
// for each field.
func refusal(err error) error {
	status, ok := errors.AsType[*apierrors.StatusError](err)
	if !ok || !apierrors.IsInvalid(err) || status.Status().Details == nil {
		return err
	}
	lines := []string{"the API server refuses the webhook:"}
	for _, cause := range status.Status().Details.Causes {
		message := plainCause(cause)
		if strings.Contains(message, "some validation rules were not checked") {
			lines = append(lines, "  Mend these first: other rules were not asked yet.")
			continue
		}
		field := fieldOf(manifest.Field(cause.Field), message)
		what := field
		if flag := flagFor(field); flag != "" {
			what = fmt.Sprintf("%s (%s)", flag, field)
		}
		if what != "" {
			message = what + ": " + message
		}
		lines = append(lines, "  "+message)
	}
	return errors.New(strings.Join(lines, "\n"))
}

// fieldOf returns the field that a message is about. A rule about all of an object, or of
// spec, begins with the name of the one that has to change.
func fieldOf(field, message string) string {
	word, _, _ := strings.Cut(message, " ")
	if field == "spec" {
		word = field + "." + word
	} else if field != "" {
		return field
	}
	if _, ok := flagOf[word]; ok {
		return word
	}
	return field
}

// flagFor returns the flag that sets a field, or what is around it.
func flagFor(field string) string {
	for field != "" {
		if flag, ok := flagOf[field]; ok {
			return flag
		}
		field = field[:max(strings.LastIndexAny(field, ".["), 0)]
	}
	return ""
}

// plainCause is the message without what the API server puts before that of a rule: that
// the value is invalid, and the type of what it is about.
func plainCause(cause metav1.StatusCause) string {
	message := strings.TrimPrefix(cause.Message, "Invalid value: ")
	for _, kind := range []string{"object", "string", "array", "integer", "boolean"} {
		message = strings.TrimPrefix(message, `"`+kind+`": `)
	}
	return strings.Replace(message, strings.TrimPrefix(cause.Field, ".")+" in body should ", "it should ", 1)
}
