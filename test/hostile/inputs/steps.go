package inputs

import (
	"io"
	"net"
	"time"
)

// Endless writes a text again and again until the other side is gone.
func Endless(text string) func(net.Conn) {
	return func(conn net.Conn) {
		for {
			if _, err := io.WriteString(conn, text); err != nil {
				return
			}
		}
	}
}

// Drip writes a text again and again, slowly enough to reach
// no bound before a timeout.
func Drip(text string) func(net.Conn) {
	return func(conn net.Conn) {
		for range time.Tick(10 * time.Millisecond) {
			if _, err := io.WriteString(conn, text); err != nil {
				return
			}
		}
	}
}

// Say writes a text and closes the connection.
func Say(text string) func(net.Conn) {
	return func(conn net.Conn) {
		_, _ = io.WriteString(conn, text)
		_ = conn.Close()
	}
}

// Write writes a text.
func Write(text string) func(net.Conn) {
	return func(conn net.Conn) { _, _ = io.WriteString(conn, text) }
}

// Sequence does one after the other.
func Sequence(steps ...func(net.Conn)) func(net.Conn) {
	return func(conn net.Conn) {
		for _, step := range steps {
			step(conn)
		}
	}
}

// Reset closes a connection by RST.
func Reset(conn net.Conn) {
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = conn.Close()
}

// HalfClose tells the other side that no more is written, and goes on to read.
func HalfClose(conn net.Conn) {
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.CloseWrite()
	}
}

// Wait does nothing until the other side is gone.
func Wait(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) }
