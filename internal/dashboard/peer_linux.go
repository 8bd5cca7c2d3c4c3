package dashboard

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
)

// ofOtherUser tells whether a loopback connection comes from a program of another user of
// this machine, where that can be known. Browsers send cookies to every port of an address,
// and so a program of somebody else may have got hold of one.
//
// Root may connect: it can read everything anyway, and tunnels of containers and of virtual
// machines are root's. Whoever runs this as root may have the browser as somebody else.
func ofOtherUser(conn net.Conn, self int) bool {
	client, ok := conn.RemoteAddr().(*net.TCPAddr)
	server, ok2 := conn.LocalAddr().(*net.TCPAddr)
	if !ok || !ok2 || self == 0 || isWSL() {
		return false
	}
	for _, t := range []struct{ file, before string }{{"/proc/net/tcp", ""}, {"/proc/net/tcp6", mappedPrefix}} {
		table, err := os.Open(t.file)
		switch {
		case err == nil:
		case t.before == "":
			return false
		default:
			continue // there is no IPv6
		}
		uid, found := socketOwner(table, t.before, client, server)
		table.Close()
		if found {
			return uid != self && uid != 0
		}
	}
	return true
}

// mappedPrefix is what the kernel prints before the IPv4 address of a socket of IPv6, by which
// some programs connect to 127.0.0.1, such as those in Java.
var mappedPrefix = fmt.Sprintf("%016X%08X", 0, binary.NativeEndian.Uint32([]byte{0, 0, 0xff, 0xff}))

// isWSL tells whether this is Linux on Windows, whose browsers are not in Linux's tables.
func isWSL() bool {
	release, err := os.ReadFile("/proc/sys/kernel/osrelease")
	return err == nil && strings.Contains(strings.ToLower(string(release)), "microsoft")
}

// socketOwner looks up the user of the socket that has a local and a remote address in a
// table of the format of /proc/net/tcp, where before stands before each address. A socket that
// its program has closed is left out: it is nobody's, which the table says as 0.
func socketOwner(table io.Reader, before string, local, remote *net.TCPAddr) (uid int, found bool) {
	wanted := [2]string{before + tableAddress(local), before + tableAddress(remote)}
	for lines := bufio.NewScanner(table); lines.Scan(); {
		// sl local remote st queues timer retransmits uid timeout inode
		fields := strings.Fields(lines.Text())
		if len(fields) < 10 || [2]string(fields[1:3]) != wanted || fields[9] == "0" {
			continue
		}
		uid, err := strconv.Atoi(fields[7])
		return uid, err == nil
	}
	return 0, false
}

// tableAddress is an IPv4 address and a port as the kernel prints them.
func tableAddress(a *net.TCPAddr) string {
	ip := a.IP.To4()
	if ip == nil {
		return ""
	}
	return fmt.Sprintf("%08X:%04X", binary.NativeEndian.Uint32(ip), a.Port)
}
