package inputs

import (
	"crypto/tls"
	"net"
	"strings"
)

// connections are about those themselves: what is read and written, and when
// they end.
func connections() []Input {
	own := ok + "Content-Length: 3\r\n\r\nown"
	poisoned := func(name, poison string) Input {
		return Input{Name: "after the answer: " + name, Answer: Write(own + poison), Unasked: true, Want: answers(200, "Content-Length: 3", "own")}
	}
	broken := Want{Errors: []string{noAnswer, wasReset, brokenPipe, unsent}}
	return []Input{
		{Name: "closed without an answer", Answer: Say(""), Want: fails(noAnswer)},
		{Name: "reset without an answer", Answer: Reset, Want: fails(wasReset)},
		{Name: "closed at once", Serve: func(net.Conn) {}, Want: broken},
		{Name: "reset at once", Serve: Reset, Want: broken},
		{Name: "half closed without an answer", Answer: Sequence(HalfClose, Wait), Want: fails(noAnswer)},
		{Name: "half closed after the answer", Answer: Sequence(Write(ok+"\r\nbody"), HalfClose, Wait), Want: answers(200, "", "body")},
		{Name: "nothing is answered", Answer: Wait, Want: timesOut(whileWaiting)},
		{Name: "nothing is read", Want: timesOut(whileWaiting)},
		{
			Name: "answered before it is read",
			Serve: Sequence(func(conn net.Conn) { _, _ = conn.Read(make([]byte, 1)) },
				Write(ok+"Connection: close\r\nContent-Length: 4\r\n\r\nbody"), Wait),
			Want: answers(200, "Content-Length: 4", "body"),
		},
		{Name: "answered before it is sent", Serve: Sequence(Write(ok+"Connection: close\r\nContent-Length: 4\r\n\r\nbody"), Wait), Want: Want{Any: true}},
		{Name: "408 before it is sent", Serve: Sequence(Write("HTTP/1.1 408 Too Late\r\nConnection: close\r\n\r\n"), Wait), Want: Want{Any: true}},
		// None of this may become the answer to the next request.
		poisoned("another answer", "HTTP/1.1 500 No\r\nContent-Length: 6\r\n\r\npoison"),
		poisoned("ten answers", strings.Repeat("HTTP/1.1 500 No\r\nContent-Length: 6\r\n\r\npoison", 10)),
		poisoned("half an answer", "HTTP/1.1 500 No\r\nContent-Le"),
		poisoned("1xx", "HTTP/1.1 103 Early Hints\r\nLink: poison\r\n\r\n"),
		poisoned("garbage", "\x00\x01\x02poison"),
		{
			Name: "after 204: another answer", Unasked: true,
			Answer: Write("HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 500 No\r\nContent-Length: 6\r\n\r\npoison"),
			Want:   answers(204, "", ""),
		},
		{
			Name: "after the answer: bytes without end", Unasked: true,
			Answer: Sequence(Write(own), Endless("HTTP/1.1 500 No\r\nContent-Length: 6\r\n\r\npoison")),
			Want:   answers(200, "Content-Length: 3", "own"),
		},
	}
}

const resetTLS = "the receiver reset the connection while negotiating TLS"

// handshakes are about TLS.
func handshakes() []Input {
	return []Input{
		{Name: "plain HTTP for https", HTTPS: true, Serve: Sequence(Write("HTTP/1.1 400 Bad Request\r\n\r\n"), Wait), Want: fails(plainHTTP)},
		{Name: "SSH for https", HTTPS: true, Serve: Sequence(Write("SSH-2.0-OpenSSH_9.9\r\n"), Wait), Want: fails(notTLS)},
		{Name: "TLS for http", TLS: &tls.Config{}, Answer: Say(ok), Want: fails(noAnswer, wasReset, inTLS)},
		{Name: "handshake that never begins", HTTPS: true, Want: timesOut(whileNegotiating)},
		{Name: "handshake that drips", HTTPS: true, Serve: Sequence(Write("\x16\x03\x03\x40\x00"), Drip("\x00")), Want: timesOut(whileNegotiating)},
		{Name: "handshake that is closed", HTTPS: true, Serve: func(net.Conn) {}, Want: fails("the receiver closed the connection while negotiating TLS", resetTLS)},
		{Name: "handshake that is reset", HTTPS: true, Serve: Sequence(func(conn net.Conn) { _, _ = conn.Read(make([]byte, 1)) }, Reset), Want: fails(resetTLS)},
		{Name: "handshake of garbage", HTTPS: true, Serve: Sequence(Write("\x16\x03\x03\x00\x10"+strings.Repeat("\xff", 16)), Wait), Want: Want{Any: true}},
		{Name: "handshake without end", HTTPS: true, Serve: Endless("\x16\x03\x03\x00\x04\x02\x00\x00\x00"), Want: Want{Any: true}},
		{Name: "TLS alert", HTTPS: true, Serve: Sequence(Write("\x15\x03\x03\x00\x02\x02\x28"), Wait), Want: fails("the receiver refused TLS: handshake failure: no cipher suite, key exchange or signature algorithm in common, or no such host; it did not ask for a client certificate")},
		{Name: "certificates of 1 MiB", HTTPS: true, TLS: &tls.Config{}, Chain: [][]byte{make([]byte, 1<<20)}, Answer: Say(ok + "\r\n"), Want: Want{Any: true}},
		{Name: "TLS and silence", HTTPS: true, TLS: &tls.Config{}, Answer: Wait, Want: timesOut(whileWaiting)},
		{Name: "TLS and a body without end", HTTPS: true, TLS: &tls.Config{}, Answer: Sequence(Write(ok+"\r\n"), Endless("body")), Want: much(strings.Repeat("body", MaxBody/4))},
		{Name: "TLS without a farewell", HTTPS: true, TLS: &tls.Config{}, Answer: func(conn net.Conn) {
			Write(ok + "\r\nbody")(conn)
			if secure, ok := conn.(*tls.Conn); ok {
				_ = secure.NetConn().Close()
			}
		}, Want: Want{Any: true}},
	}
}
