package inputs

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"strings"
)

const chunked = ok + "Transfer-Encoding: chunked\r\n\r\n"

// partly is an answer whose body cannot be read to its end.
func partly(header, body string, errs ...string) Want {
	return Want{
		Response: &Response{StatusCode: 200, Header: header, Body: body, BodyTruncated: true}, Errors: errs,
	}
}

// much is an answer whose body is longer than what is kept.
func much(body string) Want { return partly("", body) }

// bodies are about where a body ends, and what is in it.
func bodies() []Input {
	return append(append(append(lengths(), chunks()...), contents()...), slowBodies()...)
}

func lengths() []Input {
	said := func(name, header, body string, want Want) Input {
		return Input{Name: name, Answer: Say(ok + header + "\r\n" + body), Want: want}
	}
	return []Input{
		said("Content-Length: many", "Content-Length: many\r\n", "body", fails(badLength)),
		said("Content-Length: -1", "Content-Length: -1\r\n", "body", fails(badLength)),
		said("Content-Length: +4", "Content-Length: +4\r\n", "body", fails(badLength)),
		said("Content-Length: 2^64", "Content-Length: 18446744073709551616\r\n", "body", fails(badLength)),
		said("Content-Length: 4, 4", "Content-Length: 4, 4\r\n", "body", fails(badLength)),
		said("two Content-Lengths", "Content-Length: 1\r\nContent-Length: 2\r\n", "ab", fails(malformed+"it has several headers Content-Length that differ")),
		said("the same Content-Length twice", "Content-Length: 4\r\nContent-Length: 4\r\n", "body", answers(200, "Content-Length: 4", "body")),
		said("Content-Length: 2^63-1", "Content-Length: 9223372036854775807\r\n", "body",
			partly("Content-Length: 9223372036854775807", "body", brokenOff)),
		said("body shorter than announced", "Content-Length: 10\r\n", "body", partly("Content-Length: 10", "body", brokenOff)),
		said("body longer than announced", "Content-Length: 2\r\n", "body", answers(200, "Content-Length: 2", "bo")),
		said("Content-Length and chunks", "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n", "4\r\nbody\r\n0\r\n\r\n", answers(200, "", "body")),
		said("unknown encoding", "Transfer-Encoding: zip\r\n", "body", fails(badCoding)),
		said("gzip, chunked", "Transfer-Encoding: gzip, chunked\r\n", "4\r\nbody\r\n0\r\n\r\n", fails(badCoding)),
		said("no Content-Length", "Content-Length: \r\n", "body", fails(malformed+"its Content-Length is empty")),
		said("forbidden trailer", "Transfer-Encoding: chunked\r\nTrailer: Content-Length\r\n", "4\r\nbody\r\n0\r\n\r\n", fails(malformed+"its header Trailer names one that must not be there")),
		said("two encodings", "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", "body", fails(malformed+"it has several headers Transfer-Encoding")),
		said("chunked, chunked", "Transfer-Encoding: chunked, chunked\r\n", "4\r\nbody\r\n0\r\n\r\n", fails(badCoding)),
		{
			Name:   "body reset",
			Answer: Sequence(Write(ok+"Content-Length: 10\r\n\r\nbody"), Reset),
			Want:   partly("Content-Length: 10", "body", wasReset),
		},
		{
			Name:   "failure without a whole body",
			Answer: Say("HTTP/1.1 500 No\r\nContent-Length: 10\r\n\r\nbody"),
			Want: Want{
				Response: &Response{StatusCode: 500, Header: "Content-Length: 10", Body: "body", BodyTruncated: true},
				Errors:   []string{brokenOff},
			},
		},
	}
}

func chunks() []Input {
	said := func(name, body string, want Want) Input {
		return Input{Name: name, Answer: Say(chunked + body), Want: want}
	}
	loose := Want{Response: &Response{StatusCode: 200, BodyTruncated: true}, Errors: []string{unreadable + "its chunks are hardly more than what stands around them"}, Loose: true}
	return []Input{
		said("broken chunk", "4\r\nbody\r\nsecret garbage\r\n", partly("", "body", badChunk)),
		said("chunk longer than announced", "2\r\nbody\r\n0\r\n\r\n", partly("", "bo", unreadable+"a chunk is longer than it says")),
		said("chunk of 2^64", "10000000000000000\r\nbody", partly("", "", unreadable+"the length of a chunk is too large")),
		said("chunk of -1", "-1\r\nbody", partly("", "", badChunk)),
		said("chunk of nothing", "\r\nbody", partly("", "", unreadable+"the length of a chunk is empty")),
		said("chunks broken off", "4\r\nbody\r\n", partly("", "body", brokenOff)),
		said("no last chunk", "4\r\nbo", partly("", "bo", brokenOff)),
		said("trailer broken off", "4\r\nbody\r\n0\r\nX: y", partly("", "body", longEnd)),
		said("trailer that announces a length", "4\r\nbody\r\n0\r\nContent-Length: 1\r\nSet-Cookie: a=b\r\n\r\n", answers(200, "", "body")),
		{Name: "chunks without end", Answer: Sequence(Write(chunked), Endless("4\r\nbody\r\n")), Want: much(strings.Repeat("body", MaxBody/4))},
		{Name: "chunks of one byte without end", Answer: Sequence(Write(chunked), Endless(strings.Repeat("1\r\nx\r\n", 1000))), Want: much(strings.Repeat("x", MaxBody))},
		{Name: "chunk without end", Answer: Sequence(Write(chunked+"7fffffffffffffff\r\n"), Endless("body")), Want: much(strings.Repeat("body", MaxBody/4))},
		{Name: "chunk size without end", Answer: Sequence(Write(chunked), Endless("0")), Want: partly("", "", longChunk)},
		{Name: "chunk extension without end", Answer: Sequence(Write(chunked+"4;"), Endless("x=y;")), Want: partly("", "", longChunk)},
		{Name: "chunk extensions of 4 KB", Answer: Sequence(Write(chunked), Endless("1;"+strings.Repeat("x", 4000)+"\r\ny\r\n")), Want: loose},
		{Name: "trailers without end", Answer: Sequence(Write(chunked+"4\r\nbody\r\n0\r\n"), Endless("X: y\r\n")), Want: partly("", "body", longEnd)},
		{Name: "trailer without end", Answer: Sequence(Write(chunked+"4\r\nbody\r\n0\r\nX: "), Endless("y")), Want: partly("", "body", longEnd)},
	}
}

// contents are what a body is made of.
func contents() []Input {
	said := func(name, body string, want Want) Input {
		return Input{Name: name, Answer: Say(ok + "\r\n" + body), Want: want}
	}
	encoded := func(encoding, body string, want Want) Input {
		header := fmt.Sprintf("Content-Encoding: %s\nContent-Length: %d", encoding, len(body))
		want.Response.Header = header
		return Input{
			Name:   "bomb of " + encoding,
			Answer: Say(ok + strings.ReplaceAll(header, "\n", "\r\n") + "\r\n\r\n" + body), Want: want,
		}
	}
	bomb := zipped(10 << 20)
	return []Input{
		said("body as large as a record", strings.Repeat("x", MaxBody), answers(200, "", strings.Repeat("x", MaxBody))),
		said("body one byte larger", strings.Repeat("x", MaxBody+1), much(strings.Repeat("x", MaxBody))),
		said("body cut within a character", "x"+strings.Repeat("ü", MaxBody/2), much("x"+strings.Repeat("ü", MaxBody/2-1))),
		said("1 MiB of <", strings.Repeat("<", 1<<20), much(strings.Repeat("<", MaxBody))),
		said("1 MiB of NUL", strings.Repeat("\x00", 1<<20), much(strings.Repeat("\ufffd", MaxBody/3))),
		said("1 MiB beyond UTF-8", strings.Repeat("\xff", 1<<20), much(strings.Repeat("\ufffd", MaxBody/3))),
		said("1 MiB of control sequences", strings.Repeat("\x1b[31m", 200_000), much(cut(strings.Repeat("\ufffd[31m", 3000), MaxBody))),
		said("half a character", "body\xe4\xb8", answers(200, "", "body\ufffd\ufffd")),
		said("surrogates and overlong forms", "\xed\xa0\x80\xc0\xaf", answers(200, "", strings.Repeat("\ufffd", 5))),
		said("control characters", "\x00a\x1b[2Jc\x7fd\u009be\rf\r\ng\th\ni", answers(200, "", "\ufffda\ufffd[2Jc\ufffdd\ufffde\ufffdf\ng\th\ni")),
		said("JSON of many levels", strings.Repeat("[", 10_000), answers(200, "", strings.Repeat("[", 10_000))),
		encoded("gzip", bomb, Want{Response: &Response{StatusCode: 200, Body: printable(bomb), BodyTruncated: true}}),
		encoded("br", "not really", answers(200, "", "not really")),
		{Name: "body without end", Answer: Sequence(Write(ok+"\r\n"), Endless("body")), Want: much(strings.Repeat("body", MaxBody/4))},
		{
			Name:   "failure with a body without end",
			Answer: Sequence(Write("HTTP/1.1 500 No\r\n\r\n"), Endless("body")),
			Want:   Want{Response: &Response{StatusCode: 500, Body: strings.Repeat("body", MaxBody/4), BodyTruncated: true}},
		},
	}
}

// zipped is so many zeros, compressed.
func zipped(length int) string {
	var out bytes.Buffer
	zip := gzip.NewWriter(&out)
	_, _ = zip.Write(make([]byte, length))
	_ = zip.Close()
	return out.String()
}

// printable is what is kept of a body: what cannot be shown is replaced.
func printable(body string) string {
	var out strings.Builder
	for _, r := range strings.ReplaceAll(body, "\r\n", "\n") {
		if r < ' ' && r != '\t' && r != '\n' || r >= 0x7f && r < 0xa0 {
			r = '\ufffd'
		}
		if out.Len()+len(string(r)) > MaxBody {
			break
		}
		out.WriteRune(r)
	}
	return out.String()
}

// slowBodies come too late.
func slowBodies() []Input {
	slow := func(name, header, shown, body string, then ...string) Input {
		i := Input{Name: name, Answer: Sequence(Write(ok+header+"\r\n"+body), Wait), Want: Want{
			Response: &Response{StatusCode: 200, Header: shown, Body: "body", BodyTruncated: true}, TimedOut: whileInBody,
		}}
		for _, text := range then {
			i.Answer = Sequence(Write(ok+header+"\r\n"+body), Drip(text))
			i.Want.Loose = true
		}
		return i
	}
	return []Input{
		slow("body that stops", "", "", "body"),
		slow("body that stops short", "Content-Length: 5\r\n", "Content-Length: 5", "body"),
		slow("chunks that stop", "Transfer-Encoding: chunked\r\n", "", "4\r\nbody\r\n"),
		slow("chunk that stops", "Transfer-Encoding: chunked\r\n", "", "5\r\nbody"),
		slow("trailer that does not come", "Transfer-Encoding: chunked\r\n", "", "4\r\nbody\r\n0\r\n"),
		slow("dripping body", "", "", "", "y"),
		slow("dripping chunks", "Transfer-Encoding: chunked\r\n", "", "", "1\r\ny\r\n"),
		slow("dripping chunk extension", "Transfer-Encoding: chunked\r\n", "", "1;", "y"),
		{
			Name:   "failure whose body stops",
			Answer: Sequence(Write("HTTP/1.1 503 Busy\r\nContent-Length: 5\r\n\r\nbody"), Wait),
			Want: Want{
				Response: &Response{StatusCode: 503, Header: "Content-Length: 5", Body: "body", BodyTruncated: true}, TimedOut: whileInBody,
			},
		},
	}
}
