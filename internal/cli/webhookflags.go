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

	"github.com/horizoncd/webhook-operator/api/v1alpha1"
	"github.com/horizoncd/webhook-operator/internal/change"
	"github.com/horizoncd/webhook-operator/internal/format"
	"github.com/horizoncd/webhook-operator/internal/insight"
	"github.com/horizoncd/webhook-operator/internal/matching"
	"github.com/horizoncd/webhook-operator/internal/validation"
)

// maxSecretFile bounds what is read of a file that has a secret: more than any may have.
const maxSecretFile = 64 << 10

// webhookFlags are the fields of a Webhook as flags. A flag that is not given changes
// nothing.
type webhookFlags struct {
	cmd *cobra.Command

	url, description, scope string
	filter, format          string
	language, rateLimit     string
	templateFile            string
	acceptIf, giveUpIf      string
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
	flag string
	change.SecretField
	fromStdin bool
	file, ref string
}

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
	f.StringVar(&w.filter, "filter", "", `which of these events are sent: an expression in CEL, such as event.cluster.env == "online"`)
	f.StringVar(&w.format, "format", "", "the format of requests, in any case: "+strings.Join(formatNames(), ", ")+" (see template list)")
	f.StringVar(&w.language, "language", "", "the language of messages in chat rooms: en, or zh, which is Chinese with times of Beijing")
	f.StringVar(&w.rateLimit, "rate-limit", "", "how many requests may be made in a span of time, such as 20/60s; none leaves that to the format")
	f.StringVar(&w.templateFile, "template-file", "", "a file with a template of the body in CEL, in place of the format's own (see template show); - is standard input")
	f.StringVar(&w.acceptIf, "accept-if", "", "which 2xx count as accepted: a rule in CEL, such as response.json.?errcode.orValue(-1) == 0")
	f.StringVar(&w.giveUpIf, "give-up-if", "", "after which answers no retry would help: a rule in CEL")
	f.Int64Var(&w.webhookID, "webhook-id", 0, "Horizon's own number of the webhook, sent in bodies")
	f.Var(&w.timeout, "timeout", "how long one request may take, such as 30s")
	f.Int32Var(&w.retries, "retries", 0, "how often a failed request is repeated; 0 is never")
	f.Int32Var(&w.maxInFlight, "max-in-flight", 0, "how many requests may be under way at once")
	f.BoolVar(&w.noSSLVerify, "no-ssl-verify", false, "leave the receiver's certificate unchecked")
	f.BoolVar(&w.paused, "paused", false, "record deliveries and hold them until the webhook is resumed")
	w.sources = []*secretSource{
		{flag: "secret", SecretField: change.TokenField},
		{flag: "signing-secret", SecretField: change.SigningKeyField},
		{flag: "url", SecretField: change.URLField},
	}
	for _, s := range w.sources {
		what := map[string]string{
			"secret": "the receiver's token, or the signing key of a room's robot", "signing-secret": "the key of signatures", "url": "a URL that is a secret itself",
		}[s.flag]
		f.BoolVar(&s.fromStdin, s.flag+"-from-stdin", false, "read "+what+" from standard input into a new Secret")
		f.StringVar(&s.file, s.flag+"-file", "", "read "+what+" from a file into a new Secret")
		f.StringVar(&s.ref, s.flag+"-ref", "", "the Secret that has "+what+": NAME or NAME/KEY (KEY is "+s.Key+" unless given)")
		_ = cmd.RegisterFlagCompletionFunc(s.flag+"-ref", cobra.NoFileCompletions)
	}
	_ = cmd.RegisterFlagCompletionFunc("trigger", completeTriggers)
	_ = cmd.RegisterFlagCompletionFunc("format", asFlag(completeFormats))
	_ = cmd.RegisterFlagCompletionFunc("language", cobra.FixedCompletions([]cobra.Completion{
		cobra.CompletionWithDesc(string(v1alpha1.LanguageEnglish), "English, with times in UTC"),
		cobra.CompletionWithDesc(string(v1alpha1.LanguageChinese), "Chinese, with times of Beijing"),
	}, cobra.ShellCompDirectiveNoFileComp))
	for _, name := range []string{"url", "description", "scope", "filter", "accept-if", "give-up-if", "rate-limit", "webhook-id", "timeout", "retries", "max-in-flight"} {
		_ = cmd.RegisterFlagCompletionFunc(name, cobra.NoFileCompletions)
	}
}

func completeTriggers(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
	var all []cobra.Completion
	for _, t := range matching.Triggers() {
		all = append(all, string(t))
	}
	return all, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveKeepOrder
}

func (w *webhookFlags) changed(name string) bool { return w.cmd.Flags().Changed(name) }

// fields returns what the flags say of spec, as a JSON merge patch: nil takes a field out.
// Expressions that do not compile are a usage error.
func (w *webhookFlags) fields(p *plugin) (map[string]any, error) {
	spec := map[string]any{}
	set := func(flag, field string, value any, empty bool) { w.set(spec, flag, field, value, empty) }
	set("url", "url", w.url, false)
	if w.changed("url") {
		spec["urlSecretRef"] = nil
	}
	if w.changed("trigger") {
		spec["triggers"] = anyStrings(w.triggers)
	}
	set("description", "description", w.description, w.description == "")
	set("scope", "scope", w.scope, w.scope == "")
	set("filter", "filter", w.filter, w.filter == "")
	if err := w.setExpressions(p, spec); err != nil {
		return nil, err
	}
	limit, err := parseRateLimit(w.rateLimit)
	if err != nil {
		return nil, err
	}
	set("rate-limit", "rateLimit", limit, limit == nil)
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
	return spec, nil
}

// set puts the value of a flag that was given into an object, or takes the field out of it.
func (w *webhookFlags) set(object map[string]any, flag, field string, value any, empty bool) {
	switch {
	case !w.changed(flag):
	case empty:
		object[field] = nil
	default:
		object[field] = value
	}
}

// setExpressions puts spec.payload and spec.response into spec, and compiles what the flags
// say.
func (w *webhookFlags) setExpressions(p *plugin, spec map[string]any) error {
	template := ""
	if w.templateFile == "-" && slices.ContainsFunc(w.sources, func(s *secretSource) bool { return s.fromStdin }) {
		return usagef("--template-file - and a secret cannot both come from standard input: put one of them into a file")
	}
	if w.templateFile != "" {
		data, err := p.readFile(w.templateFile)
		if err != nil {
			return fmt.Errorf("--template-file: %w", err)
		}
		if template = string(data); strings.TrimSpace(template) == "" {
			return usagef("--template-file %s is empty; '' takes the template out", w.templateFile)
		}
	}
	body, rules := map[string]any{}, map[string]any{}
	w.set(body, "format", "format", w.format, w.format == "")
	w.set(body, "template-file", "template", template, template == "")
	w.set(body, "language", "language", w.language, w.language == "")
	w.set(rules, "accept-if", "acceptIf", w.acceptIf, w.acceptIf == "")
	w.set(rules, "give-up-if", "giveUpIf", w.giveUpIf, w.giveUpIf == "")
	for field, value := range map[string]map[string]any{"payload": body, "response": rules} {
		if len(value) > 0 {
			spec[field] = value
		}
	}
	return mistakesInFlags(&v1alpha1.Webhook{Spec: v1alpha1.WebhookSpec{
		Filter:   w.filter,
		Payload:  &v1alpha1.PayloadSettings{Template: template},
		Response: &v1alpha1.ResponseRules{AcceptIf: w.acceptIf, GiveUpIf: w.giveUpIf},
	}})
}

// mistakesInFlags is a usage error where an expression of a Webhook that was made of flags
// does not compile.
func mistakesInFlags(w *v1alpha1.Webhook) error {
	problems := validation.Expressions(w)
	if len(problems) == 0 {
		return nil
	}
	var lines []string
	for _, p := range problems {
		lines = append(lines, flagOf[p.Field]+" does not compile:\n"+p.Mistake.Error())
	}
	return usagef("%s", strings.Join(lines, "\n"))
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
func (w *webhookFlags) secrets(p *plugin) (values map[string][]byte, refs map[string]change.SecretRef, err error) {
	values, refs = map[string][]byte{}, map[string]change.SecretRef{}
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
				key = s.Key
			}
			refs[s.Field] = change.SecretRef{Name: name, Key: key}
			continue
		}
		if !s.fromStdin && s.file == "" {
			continue
		}
		value, from, err := s.read(p)
		if err != nil {
			return nil, nil, err
		}
		text, err := s.Check(value)
		if err != nil {
			return nil, nil, fmt.Errorf("%s: %w", from, err)
		}
		values[s.Key] = []byte(text)
		refs[s.Field] = change.SecretRef{Key: s.Key}
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

// chosenFormat is the format that --format names, in any case; nil where it is not given, or
// is to be taken out. The flag has its name as the API spells it then.
func (w *webhookFlags) chosenFormat() (*format.Format, error) {
	if w.format == "" {
		return nil, nil
	}
	f := formatOf(w.format)
	if f == nil {
		return nil, usagef("--format: %q is no format: there are %s", w.format, strings.Join(formatNames(), ", "))
	}
	w.format = string(f.Name)
	return f, nil
}

// checkRoom says what a chat room cannot take, before anything is read or made. create tells
// whether the flags are all that is known of the webhook.
func (w *webhookFlags) checkRoom(create bool) error {
	f, err := w.chosenFormat()
	if err != nil {
		return err
	}
	if err := oneOf("language", w.language, "", string(v1alpha1.LanguageEnglish), string(v1alpha1.LanguageChinese)); err != nil {
		return err
	}
	if f == nil || !f.Room {
		return nil
	}
	const address = "--url-from-stdin, --url-file or --url-ref"
	switch {
	case w.changed("url"):
		return usagef("whoever knows the address of a room of %s may write to it, so it goes into a Secret: give it with %s in place of --url", f.Title, address)
	case w.given("signing-secret"):
		return usagef("--signing-secret is for the header webhook-signature, which rooms do not get: leave it out%s",
			map[bool]string{true: ", and give the signing key of the robot with --secret-file or --secret-from-stdin"}[f.Signs()])
	case w.given("secret") && !f.Signs():
		return usagef("%s knows no secret beside the address: leave --secret out", f.Title)
	case create && !w.given("url"):
		return usagef("give the address of the room with %s: it goes into a Secret, since whoever knows it may write to the room", address)
	}
	return nil
}

// given tells whether a secret is given in one of the ways.
func (w *webhookFlags) given(flag string) bool {
	return slices.ContainsFunc([]string{"-from-stdin", "-file", "-ref"}, func(way string) bool { return w.changed(flag + way) })
}

// hint says that an address that was given is that of a service's rooms, where the format of
// the webhook of that name is another one.
func (w *webhookFlags) hint(p *plugin, values map[string][]byte, name, format string) {
	address := w.url
	if value, ok := values[change.URLField.Key]; ok {
		address = string(value)
	}
	if f := insight.ServiceOf(address); f != nil && format != string(f.Name) {
		fmt.Fprintf(p.ErrOut, "warning: this looks like the address of a room of %s, which takes nothing but its own messages: `kubectl horizon edit %s --format %s`\n",
			f.Title, name, f.Name)
	}
}

// parseRateLimit reads a limit such as 20/60s; nil is none.
func parseRateLimit(text string) (any, error) {
	if text == "" || strings.EqualFold(text, "none") {
		return nil, nil
	}
	limit, err := change.ParseRateLimit(text)
	if err != nil {
		return nil, usagef("--rate-limit %s: %v, or none", text, err)
	}
	return limit.Object(), nil
}

// flagOf is the flag of each field.
var flagOf = map[string]string{
	"metadata.name":          "NAME",
	"spec.url":               "--url",
	"spec.urlSecretRef":      "--url-ref",
	"spec.triggers":          "--trigger",
	"spec.description":       "--description",
	"spec.scope":             "--scope",
	"spec.filter":            "--filter",
	"spec.payload.format":    "--format",
	"spec.payload.template":  "--template-file",
	"spec.payload.language":  "--language",
	"spec.rateLimit":         "--rate-limit",
	"spec.response.acceptIf": "--accept-if",
	"spec.response.giveUpIf": "--give-up-if",
	"spec.webhookID":         "--webhook-id",
	"spec.timeoutSeconds":    "--timeout",
	"spec.retry":             "--retries",
	"spec.maxInFlight":       "--max-in-flight",
	"spec.secretRef":         "--secret-ref",
	"spec.signingSecretRef":  "--signing-secret-ref",
	"spec.sslVerifyEnabled":  "--no-ssl-verify",
	"spec.state":             "--paused",
}

// refusal is what the API server has against a Webhook, with the flag that has to change
// for each field.
func refusal(err error) error {
	problems, ok := change.Problems(err)
	if !ok {
		return err
	}
	lines := []string{"the API server refuses the webhook:"}
	for _, p := range problems {
		what := p.Field
		if flag := flagFor(p.Field); flag != "" {
			what = fmt.Sprintf("%s (%s)", flag, p.Field)
		}
		if what != "" {
			what += ": "
		}
		lines = append(lines, "  "+what+p.Message)
	}
	return errors.New(strings.Join(lines, "\n"))
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
