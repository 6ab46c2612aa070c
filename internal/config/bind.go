package config

import (
	"fmt"
	"net"
)

// Bind listens on all addresses of l and returns the listeners with the
// addresses that others are told (see Advertise), real ports in place of 0.
// section is the name of the table l stands in. After an error nothing is open.
func Bind(section string, l Listen) (listeners []net.Listener, told []string, err error) {
	defer func() {
		if err != nil {
			for _, l := range listeners {
				l.Close()
			}
			listeners = nil
		}
	}()
	bound := make([]string, 0, len(l.Bind))
	for _, addr := range l.Bind {
		host, _, err := net.SplitHostPort(addr)
		if err != nil {
			return listeners, nil, fmt.Errorf("%s.bind = %q: want host:port", section, addr)
		}
		ln, err := net.Listen("tcp", addr)
		if err != nil {
			return listeners, nil, fmt.Errorf("%s.bind = %q: %w", section, addr, err)
		}
		listeners = append(listeners, ln)
		_, port, err := net.SplitHostPort(ln.Addr().String())
		if err != nil {
			return listeners, nil, fmt.Errorf("%s.bind = %q: %w", section, addr, err)
		}
		bound = append(bound, net.JoinHostPort(host, port))
	}
	told, err = Advertise(section, bound, l.Advertise, nil)
	return listeners, told, err
}
