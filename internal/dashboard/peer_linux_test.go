package dashboard

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

// nobody is a user that no test is run by.
const nobody = 65534

func TestOfOtherUser(t *testing.T) {
	if isWSL() {
		t.Skip("not known on WSL")
	}
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	accept := func() net.Conn {
		t.Helper()
		conn, err := listener.Accept()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		return conn
	}

	mine, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	conn := accept()
	if ofOtherUser(conn, os.Getuid()) {
		t.Error("this user's connection is another's")
	}
	if other := ofOtherUser(conn, nobody); other != (os.Getuid() != 0) {
		t.Errorf("to somebody else, the connection of the user %d is another's: %v", os.Getuid(), other)
	}
	// What was sent and closed at once is nobody's, and is not taken for root's.
	mine.Close()
	if !ofOtherUser(conn, nobody) {
		t.Error("a connection that was closed is taken for somebody's")
	}

	// A socket of IPv6 can be connected to 127.0.0.1, too.
	if fd, err := syscall.Socket(syscall.AF_INET6, syscall.SOCK_STREAM, 0); err == nil {
		defer syscall.Close(fd)
		mapped := [16]byte{10: 0xff, 11: 0xff, 12: 127, 15: 1}
		port := listener.Addr().(*net.TCPAddr).Port
		if err := syscall.Connect(fd, &syscall.SockaddrInet6{Addr: mapped, Port: port}); err != nil {
			t.Fatal(err)
		}
		if other := ofOtherUser(accept(), nobody); other != (os.Getuid() != 0) {
			t.Errorf("to somebody else, a connection of the user %d by IPv6 is another's: %v", os.Getuid(), other)
		}
	}

	if os.Getuid() != 0 {
		return // who cannot be somebody else
	}
	_, port, _ := strings.Cut(listener.Addr().String(), ":")
	cmd := exec.CommandContext(t.Context(), "bash", "-c", fmt.Sprintf("exec 3<>/dev/tcp/127.0.0.1/%s && read -r line <&3", port))
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	cmd.Dir = "/"
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	conn = accept()
	for self, want := range map[int]bool{nobody: false, 1000: true, 0: false} {
		if got := ofOtherUser(conn, self); got != want {
			t.Errorf("to the user %d, a connection of %d is another's: %v", self, nobody, got)
		}
	}
	conn.Close()
	_ = cmd.Wait()
}
