package inputs

import (
	"crypto/tls"
	"encoding/binary"
	"io"
	"net"
)

// Types of frames, and flags (RFC 9113).
const (
	headersFrame      = 1
	settingsFrame     = 4
	goAwayFrame       = 7
	windowFrame       = 8
	continuationFrame = 9

	endStream  = 1
	endHeaders = 4

	http2Preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
	// firstStream is that of the first request on a connection.
	firstStream = 1
)

// frame is one of HTTP/2.
func frame(kind, flags byte, stream uint32, payload string) string {
	head := []byte{byte(len(payload) >> 16), byte(len(payload) >> 8), byte(len(payload)), kind, flags}
	return string(binary.BigEndian.AppendUint32(head, stream)) + payload
}

// http2 are answers in frames, of a receiver that prefers HTTP/2. Where it is not
// asked for HTTP/2, they are garbage.
func http2() []Input {
	said := func(name string, steps ...func(net.Conn)) Input {
		return Input{
			Name: "HTTP/2: " + name, HTTPS: true, TLS: &tls.Config{NextProtos: []string{"h2", "http/1.1"}},
			Serve: Sequence(append([]func(net.Conn){Write(frame(settingsFrame, 0, 0, "")), readRequest}, steps...)...),
			Want:  Want{Any: true},
		}
	}
	return []Input{
		said("silence", Wait),
		said("status 4294967496", Write(frame(headersFrame, endHeaders|endStream, firstStream, "\x08\x0a4294967496")), Wait),
		said("windows beyond bounds", Endless(frame(windowFrame, 0, firstStream, "\x7f\xff\xff\xff"))),
		said("frames without end", Endless(frame(continuationFrame, 0, firstStream, ""))),
	}
}

// readRequest reads frames until the headers of a request have come.
func readRequest(conn net.Conn) {
	head := make([]byte, len(http2Preface))
	if _, err := io.ReadFull(conn, head); err != nil {
		return
	}
	for {
		if _, err := io.ReadFull(conn, head[:9]); err != nil {
			return
		}
		length := int64(head[0])<<16 | int64(head[1])<<8 | int64(head[2])
		if _, err := io.CopyN(io.Discard, conn, length); err != nil {
			return
		}
		if head[3] == headersFrame && head[4]&endHeaders != 0 {
			return
		}
	}
}
