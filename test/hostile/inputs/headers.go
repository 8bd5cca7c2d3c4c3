package inputs

import (
	"fmt"
	"strings"
)

// statuses are about the first line of an answer.
func statuses() []Input {
	coded := func(code string) Input {
		return Input{Name: "status " + code, Answer: Say("HTTP/1.1 " + code + " \r\nContent-Length: 0\r\n\r\n"), Want: fails(badStatus)}
	}
	stays := func(code int) Input {
		i := coded(fmt.Sprintf("%03d", code))
		i.Want = answers(code, "Content-Length: 0", "")
		return i
	}
	said := func(name, text string, want Want) Input { return Input{Name: name, Answer: Say(text), Want: want} }
	empty := answers(200, "Content-Length: 0", "")
	return []Input{
		stays(0), stays(600), stays(999),
		coded("99"), coded("1000"), coded("-1"), coded("-10"), coded("200.5"), coded("OK"), coded("２００"),
		said("no reason", "HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", empty),
		said("reason of control sequences", "HTTP/1.1 200 \x1b[2J\x1b]0;x\x07\x00\r\nContent-Length: 0\r\n\r\n", empty),
		said("reason beyond UTF-8", "HTTP/1.1 200 \xff\xfe\r\nContent-Length: 0\r\n\r\n", empty),
		said("reason of 1 MiB", "HTTP/1.1 200 "+strings.Repeat("<", 1<<20)+"\r\n\r\n", fails(tooLarge)),
		said("204 with a body", "HTTP/1.1 204 No Content\r\nContent-Length: 4\r\n\r\nbody", answers(204, "Content-Length: 4", "")),
		said("304 with a body", "HTTP/1.1 304 Not Modified\r\nContent-Length: 4\r\n\r\nbody", answers(304, "Content-Length: 4", "")),

		said("HTTP/0.9", "<html>body</html>\r\n", fails(badLine)),
		said("HTTP/1.0", "HTTP/1.0 200 OK\r\n\r\nbody", answers(200, "", "body")),
		said("HTTP/1.0 in chunks", "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n", answers(200, "", "4\nbody\n0\n\n")),
		said("HTTP/9.9", "HTTP/9.9 200 OK\r\nContent-Length: 4\r\n\r\nbody", answers(200, "Content-Length: 4", "body")),
		said("HTTP/2 preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", fails(badStatus)),
		said("HTTP/2 frames", "\x00\x00\x00\x04\x00\x00\x00\x00\x00\x00\x00\x01\x01\x05\x00\x00\x00\x01\x88", fails(malformed+"it is HTTP/2, and the operator speaks HTTP/1.1")),
		said("ICY", "ICY 200 OK\r\n\r\n", fails(badVersion)),
		said("RTSP", "RTSP/1.0 200 OK\r\n\r\n", fails(badVersion)),
		said("HTTP/2 settings", frame(settingsFrame, 0, 0, "\x00\x05\x00\x00\x40\x00"), fails(malformed+"it is HTTP/2, and the operator speaks HTTP/1.1")),
		said("HTTP/2 goodbye", frame(settingsFrame, 0, 0, "")+frame(goAwayFrame, 0, 0, "\x00\x00\x00\x00\x00\x00\x00\x01secret"), fails(malformed+"it is HTTP/2, and the operator speaks HTTP/1.1")),
		said("TLS alert for http", "\x15\x03\x01\x00\x02\x02\x46", fails(inTLS)),
		said("TLS handshake for http", "\x16\x03\x03\x00\x04\x02\x00\x00\x00", fails(inTLS)),
		said("lower case", "http/1.1 200 ok\r\n\r\n", fails(badVersion)),
		said("lines that end in LF", "HTTP/1.1 200 OK\nContent-Length: 4\n\nbody", answers(200, "Content-Length: 4", "body")),
		said("empty lines first", "\r\n\r\n"+ok+"\r\nbody", fails(malformed+"it begins with an empty line")),
		said("garbage", "\x00\x01\x02secret garbage\r\n\r\n", fails(badStatus)),
		said("an error in words", "unexpected EOF\r\n\r\n", fails(badStatus)),
		said("SSH", "SSH-2.0-OpenSSH_9.9\r\n", fails(malformed+"it is SSH")),
		said("SMTP", "220 mail.example.com ESMTP\r\n", fails(badStatus)),
		said("broken off in the status", "HTTP/1.1 20", fails(badStatus)),
		said("broken off in a header", ok+"X: ", fails(brokenOff)),
		said("broken off after the headers", ok+"X: y\r\n", fails(brokenOff)),
		{Name: "status line without end", Answer: Endless("yyyyyyyyyyyyyyyyyyyyyyyyyyy"), Want: fails(tooLarge)},
		{Name: "NUL without end", Answer: Endless(strings.Repeat("\x00", 4096)), Want: fails(tooLarge)},
	}
}

// floods are informational answers, which come before the real one.
func floods() []Input {
	var all []Input
	for _, status := range []string{"100 Continue", "102 Processing", "103 Early Hints", "199 "} {
		all = append(all,
			Input{Name: "flood of " + status, Answer: Endless("HTTP/1.1 " + status + "\r\nLink: x\r\n\r\n"), Want: fails(tooLarge)},
			Input{Name: "flood of bare " + status, Answer: Endless(strings.Repeat("HTTP/1.1 "+status+"\r\n\r\n", 100)), Want: fails(tooLarge)})
	}
	return append(all,
		Input{Name: "dripping 102", Answer: Drip("HTTP/1.1 102 Processing\r\n\r\n"), Want: timesOut(whileReading)},
		Input{Name: "103 first", Answer: Say("HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + ok + "\r\nbody"), Want: answers(200, "", "body")},
		Input{Name: "100 and no more", Answer: Say("HTTP/1.1 100 Continue\r\n\r\n"), Want: fails(brokenOff)},
		Input{Name: "100 with a body", Answer: Say("HTTP/1.1 100 Continue\r\nContent-Length: 4\r\n\r\nbody" + ok + "\r\n"), Want: fails(badVersion)},
		Input{
			Name:   "101 and silence",
			Answer: Sequence(Write("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n"), Wait),
			Want:   answers(101, "Connection: Upgrade\nUpgrade: x", ""),
		},
		Input{
			Name:   "101 and bytes without end",
			Answer: Sequence(Write("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n"), Endless("body")),
			Want:   answers(101, "Connection: Upgrade\nUpgrade: x", ""),
		},
	)
}

// headers are about what stands between the first line and the body.
func headers() []Input {
	said := func(name, header string, want Want) Input {
		return Input{Name: name, Answer: Say(ok + header + "Content-Length: 0\r\n\r\n"), Want: want}
	}
	shows := func(name, header, shown string) Input {
		return said(name, header, answers(200, "Content-Length: 0\n"+shown, ""))
	}
	long := func(name, header, shown string) Input {
		return said(name, header, Want{Response: &Response{
			StatusCode: 200, Header: cut("Content-Length: 0\n"+shown, MaxHeader), HeaderTruncated: true,
		}})
	}
	all := []Input{
		said("escape in a header", "X: a\x1b[31mb\r\n", fails(badValue)),
		said("NUL in a header", "X: a\x00b\r\n", fails(badValue)),
		said("CR in a header", "X: a\rb\r\n", fails(badValue)),
		said("header without a colon", "no colon\r\n", fails(malformed+"a header has no colon")),
		said("two lines without a colon", "X: y\r\nno colon\r\n", fails(malformed+"a header has no colon")),
		said("header that begins with a space", " X: y\r\n", fails(malformed+"its first header begins with a space")),
		said("header with a space in its name", "X y(z): a\r\n", fails(malformed+"the name of a header has a character that must not be there")),
		said("header without a name", ": x\r\n", fails(malformed+"a header has no name")),
		said("control character in a name", "X\x01: y\r\n", fails(malformed+"the name of a header has a character that must not be there")),
		shows("header beyond UTF-8", "X: ab\xffc\r\n", "X: ab\ufffdc"),
		shows("C1 control in a header", "X: a\u009bb\r\n", "X: a\ufffdb"),
		shows("folded header", "X: a\r\n b\r\n", "X: a b"),
		shows("header of nothing", "X:\r\n", "X: "),
		shows("space before the colon", "X : y\r\n", "X : y"),
		long("header of 60 KB", "X: "+strings.Repeat("<", 60_000)+"\r\n", "X: "+strings.Repeat("<", MaxHeader)),
		long("8000 headers", strings.Repeat("X: y\r\n", 8000), strings.Repeat("X: y\n", 8000)),
		{Name: "headers without end", Answer: Sequence(Write(ok), Endless("x: yyyyyyyyyyyyyyyyyyyyyyy\r\n")), Want: fails(tooLarge)},
		{Name: "header line without end", Answer: Sequence(Write(ok+"x: "), Endless("yyyyyyyyyyyyyyyyyyyyyyyyyyy")), Want: fails(tooLarge)},
		{Name: "folded header without end", Answer: Sequence(Write(ok+"x: y\r\n"), Endless(" y\r\n")), Want: fails(tooLarge)},
		{Name: "dripping headers", Answer: Sequence(Write(ok), Drip("x: y\r\n")), Want: timesOut(whileReading)},
		{Name: "dripping header line", Answer: Sequence(Write(ok+"x: "), Drip("y")), Want: timesOut(whileReading)},
	}
	return append(append(all, retryAfters()...), locations()...)
}

// retryAfters ask for another time.
func retryAfters() []Input {
	asks := func(name, value string) Input {
		return Input{
			Name:   "Retry-After " + name,
			Answer: Say("HTTP/1.1 503 Busy\r\nContent-Length: 0\r\nRetry-After: " + value + "\r\n\r\n"),
			Want: Want{Response: &Response{
				StatusCode: 503, Header: "Content-Length: 0\nRetry-After: " + value, RetryAfter: cut(value, min(len(value), MaxRetryAfter)),
			}},
		}
	}
	all := []Input{
		asks("in 20 digits", "99999999999999999999"),
		asks("in the year 9999", "Fri, 31 Dec 9999 23:59:59 GMT"),
		asks("in the year 1", "Mon, 01 Jan 0001 00:00:00 GMT"),
		asks("in date and seconds", "120, Fri, 31 Dec 9999 23:59:59 GMT"),
		asks("of 8 KB", strings.Repeat("9", MaxHeader-100)),
		{
			Name:   "Retry-After 3000 times",
			Answer: Say("HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n" + strings.Repeat("Retry-After: 1\r\n", 3000) + "\r\n"),
			Want: Want{Response: &Response{
				StatusCode: 503, Header: cut("Content-Length: 0\n"+strings.Repeat("Retry-After: 1\n", 3000), MaxHeader),
				HeaderTruncated: true, RetryAfter: "1",
			}},
		},
	}
	for _, value := range []string{"-1", "0", "1e300", "NaN", "Inf", "0x10", "1.5", "soon"} {
		all = append(all, asks(value, value))
	}
	return all
}

// locations lead elsewhere.
func locations() []Input {
	var all []Input
	for name, value := range map[string]string{
		"javascript:":  "javascript:alert(document.cookie)",
		"metadata":     "http://169.254.169.254/latest/meta-data/",
		"no host":      "//",
		"beyond UTF-8": "http://x/\xff",
		"user info":    "http://a:b@c@d/",
		"2 KB":         "http://x/" + strings.Repeat("y", 2*MaxLocation),
	} {
		shown := strings.ToValidUTF8(value, "\ufffd")
		all = append(all, Input{
			Name:   "redirect: " + name,
			Answer: Say("HTTP/1.1 307 Elsewhere\r\nContent-Length: 0\r\nLocation: " + value + "\r\n\r\n"),
			Want: Want{Response: &Response{
				StatusCode: 307, Header: "Content-Length: 0\nLocation: " + shown, Location: cut(shown, min(len(shown), MaxLocation)),
			}},
		})
	}
	return append(all, Input{
		Name:   "redirect: CR LF",
		Answer: Say("HTTP/1.1 302 Elsewhere\r\nContent-Length: 0\r\nLocation: http://x/\r\nSet-Cookie: a=b\r\n\r\n"),
		Want: Want{Response: &Response{
			StatusCode: 302, Header: "Content-Length: 0\nLocation: http://x/\nSet-Cookie: a=b", Location: "http://x/",
		}},
	})
}
