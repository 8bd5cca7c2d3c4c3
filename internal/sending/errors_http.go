package sending

import (
	"regexp"
	"strconv"
	"strings"
)

const (
	closedUnanswered = " closed the connection without an answer"
	noAnswer         = "the receiver" + closedUnanswered
	bigHeader        = "the headers of the answer are larger than 64 KiB"
	notHTTP          = "the answer is not valid HTTP"
	unreadable       = "the body of the answer could not be read"
)

// httpErrors are errors of net/http that have no type, by how they begin.
var httpErrors = []struct{ prefix, text string }{
	{"server closed idle connection", noAnswer},
	{"server gave HTTP response to HTTPS client", plainHTTP},
	{"server response headers exceeded", bigHeader},
	{"invalid header field", "a header of the request cannot be sent"},

	{"malformed HTTP status code", notHTTP + ": its status code is not one of three digits"},
	{"malformed HTTP version", notHTTP + ": it does not begin with a version of HTTP"},
	{"malformed MIME header initial line", notHTTP + ": its first header begins with a space"},
	{"malformed MIME header: missing colon", notHTTP + ": a header has no colon"},
	{"message cannot contain multiple Content-Length headers", notHTTP + ": it has several headers Content-Length that differ"},
	{"invalid empty Content-Length", notHTTP + ": its Content-Length is empty"},
	{"bad Content-Length", notHTTP + ": its Content-Length is not a number"},
	{"too many transfer encodings", notHTTP + ": it has several headers Transfer-Encoding"},
	{"unsupported transfer encoding", notHTTP + ": its Transfer-Encoding is not chunked alone, as it must be"},
	{"invalid Trailer key", notHTTP + ": its header Trailer names one that must not be there"},
	{"bad trailer key", notHTTP + ": its header Trailer names one that must not be there"},

	{"malformed chunked encoding", unreadable + ": a chunk is longer than it says"},
	{"invalid byte in chunk length", unreadable + ": the length of a chunk is not a number"},
	{"empty hex number for chunk length", unreadable + ": the length of a chunk is empty"},
	{"http chunk length too large", unreadable + ": the length of a chunk is too large"},
	{"header line too long", unreadable + ": the line before a chunk is too long"},
	{"chunked encoding contains too much non-data", unreadable + ": its chunks are hardly more than what stands around them"},
	{"chunked line ends with bare LF", unreadable + ": a line before a chunk does not end in CR LF"},
	{"invalid CR in chunked line", unreadable + ": a line before a chunk does not end in CR LF"},
	{"suspiciously long trailer after chunked body", unreadable + ": what follows it does not end"},
	{"unexpected EOF reading trailer", unreadable + ": what follows it broke off"},
	{"trailer header without chunked transfer encoding", notHTTP + ": it announces a trailer and has no chunks"},
}

// describeHTTP names what net/http finds wrong, without any text of the receiver, which
// its errors repeat.
func describeHTTP(err error) string {
	text := err.Error()
	for _, prefix := range []string{"net/http: HTTP/1.x transport connection broken: ", "net/http: ", "http: "} {
		text = strings.TrimPrefix(text, prefix)
	}
	if line, ok := cutQuoted(text, "malformed HTTP response "); ok {
		return describeFirstLine(line)
	}
	if line, ok := cutQuoted(text, "malformed MIME header line: "); ok {
		return describeHeaderLine(line)
	}
	for _, known := range httpErrors {
		if strings.HasPrefix(text, known.prefix) {
			return known.text
		}
	}
	return ""
}

func cutQuoted(text, prefix string) (string, bool) {
	quoted, ok := strings.CutPrefix(text, prefix)
	if !ok {
		return "", false
	}
	line, err := strconv.Unquote(quoted)
	return line, err == nil
}

var (
	tlsRecord  = regexp.MustCompile(`^[\x14-\x17]\x03[\x00-\x04]`)
	http2Frame = regexp.MustCompile(`(?s)^\x00..[\x00-\x09].\x00\x00\x00\x00`)
)

// describeFirstLine tells what else an answer is that begins with no status line: net/http
// has found no space in it.
func describeFirstLine(line string) string {
	switch {
	case tlsRecord.MatchString(line):
		return "the receiver answers in TLS, and the URL begins with http://"
	case http2Frame.MatchString(line):
		return notHTTP + ": it is HTTP/2, and the operator speaks HTTP/1.1"
	case strings.HasPrefix(line, "SSH-"):
		return notHTTP + ": it is SSH"
	case line == "":
		return notHTTP + ": it begins with an empty line"
	default:
		return notHTTP + ": it does not begin with a status line"
	}
}

func describeHeaderLine(line string) string {
	name, _, ok := strings.Cut(line, ":")
	switch {
	case !ok:
		return notHTTP + ": a header has no colon"
	case name == "":
		return notHTTP + ": a header has no name"
	case strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r >= 0x7f || strings.ContainsRune(`"(),/:;<=>?@[\]{}`, r) }):
		return notHTTP + ": the name of a header has a character that must not be there"
	default:
		return notHTTP + ": the value of a header has a control character"
	}
}
