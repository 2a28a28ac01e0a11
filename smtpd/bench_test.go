package smtpd

import (
	"fmt"
	"net"
	"strings"
	"syscall"
	"testing"

	"postrider/lib/submit/submittest"
)

// BenchmarkMessage4K sends messages of 4 KB over sessions that are kept, each command on its
// own as smtp-source does it. us-cpu/op is user and system time of the process, so of
// client and cleanup too; the client's and the kernel's share is about what
// BenchmarkEcho shows.
func BenchmarkMessage4K(b *testing.B) {
	i := run(b, "", &submittest.Cleanup{Discard: true})
	body := []byte("Subject: benchmark\r\n\r\n" + strings.Repeat(strings.Repeat("x", 78)+"\r\n", 51) + ".\r\n")
	exchange(b, i.addr, 20, "EHLO c\r\n", []string{
		"MAIL FROM:<a@b.example>\r\n", "RCPT TO:<alice@ours.example>\r\n", "DATA\r\n", string(body)})
}

// BenchmarkEcho is the same conversation with a server that does nothing.
func BenchmarkEcho(b *testing.B) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				buf := make([]byte, 32<<10)
				reply := []byte("250 2.0.0 Ok\r\n")
				c.Write(reply)
				for {
					if _, err := c.Read(buf); err != nil {
						return
					}
					c.Write(reply)
				}
			}()
		}
	}()
	exchange(b, l.Addr().String(), 20, "EHLO c\r\n", []string{"MAIL\r\n", "RCPT\r\n", "DATA\r\n", strings.Repeat("x", 4160)})
}

func exchange(b *testing.B, addr string, sessions int, hello string, steps []string) {
	conns := make(chan net.Conn, sessions)
	for range sessions {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			b.Fatal(err)
		}
		defer c.Close()
		buf := make([]byte, 1024)
		c.Read(buf)
		fmt.Fprint(c, hello)
		c.Read(buf)
		conns <- c
	}
	before := processorTime(b)
	b.ReportAllocs()
	b.SetParallelism(sessions / 2)
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		c := <-conns
		buf := make([]byte, 1024)
		raw := make([][]byte, len(steps))
		for i, s := range steps {
			raw[i] = []byte(s)
		}
		for pb.Next() {
			for i, s := range raw {
				if _, err := c.Write(s); err != nil {
					b.Error(err)
					return
				}
				n, err := c.Read(buf)
				if err != nil || buf[0] != '2' && buf[0] != '3' {
					b.Errorf("%.40q: %q %v", steps[i], buf[:n], err)
					return
				}
			}
		}
		conns <- c
	})
	b.StopTimer()
	b.ReportMetric(float64(processorTime(b)-before)/float64(b.N), "us-cpu/op")
}

// processorTime is what the process has used, in microseconds.
func processorTime(b *testing.B) int64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return u.Utime.Sec*1e6 + u.Utime.Usec + u.Stime.Sec*1e6 + u.Stime.Usec
}
