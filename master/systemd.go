package master

import (
	"fmt"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// manager is the service manager that started us, by the protocol of sd_notify(3): a
// datagram to the socket that NOTIFY_SOCKET names. Without one it tells nobody.
type manager struct{ socket string }

// theManager takes the manager out of the environment, so that no daemon and no
// command of a user can speak to it in our name.
func theManager() manager {
	m := manager{os.Getenv("NOTIFY_SOCKET")}
	os.Unsetenv("NOTIFY_SOCKET")
	return m
}

// tell sends lines such as "READY=1". A manager that does not listen is no reason not to
// serve: it notices by its own time limit.
func (m manager) tell(lines string) {
	if m.socket == "" {
		return
	}
	c, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: m.socket, Net: "unixgram"}) // "@" is an abstract name
	if err != nil {
		return
	}
	defer c.Close()
	c.Write([]byte(lines))
}

func (m manager) ready()    { m.tell("READY=1\nSTATUS=Running.\n") }
func (m manager) stopping() { m.tell("STOPPING=1\nSTATUS=Deliveries under way are ending.\n") }

// reloading says when the reload began, as systemd 253 and later want to know.
func (m manager) reloading() {
	var now unix.Timespec
	unix.ClockGettime(unix.CLOCK_MONOTONIC, &now)
	m.tell(fmt.Sprintf("RELOADING=1\nMONOTONIC_USEC=%d\n", now.Nano()/1000))
}
