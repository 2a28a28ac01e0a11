package smtpd

import (
	"errors"
	"net"
	"testing"
	"time"
)

// A service whose listener is closed takes no connection any more, and waits for none.
func TestAcceptEnds(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	v := &service{listener: l, socket: listenOn(l)}
	v.gate.limit(1)
	done := make(chan error)
	go func() { _, err := v.accept(); done <- err }()
	if err := v.socket.Close(); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-done:
		if !errors.Is(err, net.ErrClosed) {
			t.Error(err)
		}
	case <-time.After(20 * time.Second):
		t.Error("it waits for ever")
	}
}
