package main

import (
	"bufio"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	"postrider/bench/sim/recording"
)

// sink is all destinations: it answers at the dot after the time that the
// recording says, greets with 421 while a destination fails, and notes each
// connection.
type sink struct {
	r         *recording.Recording
	clock     func() float64
	listeners []net.Listener

	mu         sync.Mutex
	deliveries []recording.Delivery
	recipients int // accepted
}

func newSink(r *recording.Recording, clock func() float64) (*sink, error) {
	s := &sink{r: r, clock: clock}
	for i, d := range r.Destinations {
		address := strings.NewReplacer("[", "", "]", "").Replace(d.Name)
		l, err := net.Listen("tcp", address)
		if err != nil {
			s.close()
			return nil, err
		}
		s.listeners = append(s.listeners, l)
		go func() {
			for c, err := l.Accept(); err == nil; c, err = l.Accept() {
				go s.serve(i, c, s.clock())
			}
		}()
	}
	return s, nil
}

func (s *sink) close() {
	for _, l := range s.listeners {
		l.Close()
	}
}

func (s *sink) note(d recording.Delivery) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.deliveries = append(s.deliveries, d)
	if !d.Failed {
		s.recipients += d.Count
	}
}

func wait(ms float64) { time.Sleep(time.Duration(ms * float64(time.Millisecond))) }

// serve is one connection. The addresses say which message and recipient it is:
// m000012.r00003@d1.test.
func (s *sink) serve(site int, c net.Conn, began float64) {
	defer c.Close()
	d := recording.Delivery{Site: site, Start: began}
	dest := &s.r.Destinations[site]
	if dest.Fails(began) {
		wait(dest.FailTook)
		fmt.Fprint(c, "421 4.3.2 not now\r\n")
		d.End, d.Failed = s.clock(), true
		s.note(d)
		return
	}
	in := bufio.NewReader(c)
	fmt.Fprint(c, "220 sink.test ESMTP\r\n")
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		switch verb := strings.ToUpper(line[:min(4, len(line))]); verb {
		case "RCPT":
			if d.Count++; d.Count == 1 {
				_, address, _ := strings.Cut(line, "<")
				if _, err := fmt.Sscanf(address, "m%d.r%d@", &d.Message, &d.First); err != nil {
					fmt.Fprint(c, "550 5.1.1 who is that\r\n")
					continue
				}
			}
			fmt.Fprint(c, "250 2.1.5 ok\r\n")
		case "DATA":
			fmt.Fprint(c, "354 go ahead\r\n")
			for line != ".\r\n" {
				if line, err = in.ReadString('\n'); err != nil {
					return
				}
			}
			wait(s.r.Varied(site, d.Message, d.First))
			d.End = s.clock()
			s.note(d)
			fmt.Fprint(c, "250 2.0.0 taken\r\n")
		case "QUIT":
			fmt.Fprint(c, "221 2.0.0 bye\r\n")
			return
		default:
			fmt.Fprint(c, "250 ok\r\n")
		}
	}
}
