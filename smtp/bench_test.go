package smtp

import (
	"bufio"
	"fmt"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"postrider/lib/proto"
)

// sink takes messages as cheaply as it can, on sessions that stay open.
func sink(b *testing.B) int {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				r := bufio.NewReaderSize(c, 64<<10)
				fmt.Fprint(c, "220 sink\r\n")
				r.ReadSlice('\n')
				fmt.Fprint(c, "250-sink\r\n250 PIPELINING\r\n")
				for {
					for range 3 {
						if l, err := r.ReadSlice('\n'); err != nil || l[0] == 'Q' {
							return
						}
					}
					c.Write([]byte("250 ok\r\n250 ok\r\n354 go\r\n"))
					for {
						l, err := r.ReadSlice('\n')
						if err != nil {
							return
						}
						if string(l) == ".\r\n" {
							break
						}
					}
					c.Write([]byte("250 2.0.0 Ok: queued as 4XgWxYz1234\r\n"))
				}
			}()
		}
	}()
	return l.Addr().(*net.TCPAddr).Port
}

// BenchmarkDeliver is 4 KB messages over 20 kept sessions, qmgr's half and the sink
// in the same process: their processor time counts too.
func BenchmarkDeliver(b *testing.B) {
	next := fmt.Sprintf("[127.0.0.1]:%d", sink(b))
	r := newRig(b, "127.0.0.1:1")
	body := "Subject: x\r\n\r\n" + strings.Repeat("0123456789012345678901234567890123456789012345678901234567890123\r\n", 61)
	run := func(n int) {
		slots := make(chan struct{}, 20)
		for range n {
			slots <- struct{}{}
			d := deliverTo(next, body, "a")
			go func(c <-chan proto.Result) {
				<-c
				<-slots
			}(r.ask(d))
		}
		for range cap(slots) {
			slots <- struct{}{}
		}
	}
	run(100)
	var before, after syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &before)
	b.ReportAllocs()
	b.ResetTimer()
	run(b.N)
	b.StopTimer()
	syscall.Getrusage(syscall.RUSAGE_SELF, &after)
	cpu := time.Duration(after.Utime.Nano() + after.Stime.Nano() - before.Utime.Nano() - before.Stime.Nano())
	b.ReportMetric(float64(cpu.Microseconds())/float64(b.N), "cpu-us/op")
}
