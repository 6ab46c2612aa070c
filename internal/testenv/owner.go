package testenv

import (
	"encoding/binary"
	"fmt"
	"net"
	"os"
	"syscall"
)

// SocketOwner returns which of some processes, named by pid, owns the other end
// of conn, a TCP connection over IPv4 within this machine; "" if none does.
// Linux only.
func SocketOwner(conn net.Conn, among map[int]string) string {
	n, err := inode(conn)
	if err != nil {
		return ""
	}
	want := fmt.Sprintf("socket:[%d]", n)
	for pid, name := range among {
		dir := fmt.Sprintf("/proc/%d/fd", pid)
		files, _ := os.ReadDir(dir) // it may have ended
		for _, file := range files {
			if link, _ := os.Readlink(dir + "/" + file.Name()); link == want {
				return name
			}
		}
	}
	return ""
}

// inode asks the kernel (sock_diag) for the number of the socket at the other
// end. /proc/net/tcp has it too, but loses lines while it changes.
func inode(conn net.Conn) (uint32, error) {
	theirs, ok := conn.RemoteAddr().(*net.TCPAddr)
	ours, ok2 := conn.LocalAddr().(*net.TCPAddr)
	if !ok || !ok2 || theirs.IP.To4() == nil {
		return 0, fmt.Errorf("testenv: %v is no TCP connection over IPv4", conn.RemoteAddr())
	}
	const (
		netlinkDiag, byFamily, request = 4, 20, 1
		header                         = 16 // struct nlmsghdr
	)
	fd, err := syscall.Socket(syscall.AF_NETLINK, syscall.SOCK_DGRAM|syscall.SOCK_CLOEXEC, netlinkDiag)
	if err != nil {
		return 0, err
	}
	defer syscall.Close(fd)
	ask := make([]byte, header+56) // struct inet_diag_req_v2
	ne, be := binary.NativeEndian, binary.BigEndian
	ne.PutUint32(ask, uint32(len(ask)))
	ne.PutUint16(ask[4:], byFamily)
	ne.PutUint16(ask[6:], request)
	req := ask[header:]
	req[0], req[1] = syscall.AF_INET, syscall.IPPROTO_TCP
	ne.PutUint32(req[4:], ^uint32(0)) // in any state
	be.PutUint16(req[8:], uint16(theirs.Port))
	be.PutUint16(req[10:], uint16(ours.Port))
	copy(req[12:], theirs.IP.To4())
	copy(req[28:], ours.IP.To4())
	ne.PutUint64(req[48:], ^uint64(0)) // no cookie
	if err := syscall.Sendto(fd, ask, 0, &syscall.SockaddrNetlink{Family: syscall.AF_NETLINK}); err != nil {
		return 0, err
	}
	answer := make([]byte, 4096)
	n, _, err := syscall.Recvfrom(fd, answer, 0)
	if err != nil {
		return 0, err
	}
	if n < header+72 || ne.Uint16(answer[4:]) != byFamily {
		return 0, fmt.Errorf("testenv: nobody is at %v", conn.RemoteAddr())
	}
	return ne.Uint32(answer[header+68:]), nil // struct inet_diag_msg, its last field
}
