package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"postrider/bench/sim/recording"
)

// session is one recording under way. Before begin the queue manager stands
// still, so that it finds an exact state when it begins.
type session struct {
	r     *recording.Recording
	p     *postfix
	sink  *sink
	zero  time.Time
	conn  net.Conn
	in    *bufio.Reader
	total int // recipients sent in

	log sync.WaitGroup
}

// record plays one workload and fills in what happened.
func record(r *recording.Recording, load func(*session) error) (err error) {
	version, err := exec.Command("/usr/sbin/postconf", "-dh", "mail_version").Output()
	if err != nil {
		return err
	}
	r.Postfix = strings.TrimSpace(string(version))
	dir, err := os.MkdirTemp("/var/tmp", "record")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	s := &session{r: r, zero: time.Now().Add(time.Hour)} // times before begin are negative
	if s.sink, err = newSink(r, s.now); err != nil {
		return err
	}
	defer s.sink.close()
	if s.p, err = start(dir, r); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.p.stop()) }()
	if err := s.dial(); err != nil {
		return err
	}
	defer s.conn.Close()
	if err := s.warm(); err != nil {
		return err
	}
	if err := s.p.signal(syscall.SIGSTOP); err != nil {
		return err
	}
	defer s.p.signal(syscall.SIGCONT) // or it cannot be stopped
	stop := make(chan struct{})
	s.log.Add(1)
	go s.follow(dir+"/maillog", stop)
	err = load(s)
	close(stop)
	s.log.Wait()
	r.Deliveries = s.sink.deliveries
	slices.SortStableFunc(r.Deliveries, func(a, b recording.Delivery) int { return int(a.Start*1000) - int(b.Start*1000) })
	r.Turnaround = turnaround(r.Deliveries, r.Limits.Slots)
	return err
}

// now returns the milliseconds since the beginning, to a tenth.
func (s *session) now() float64 {
	return float64(time.Since(s.zero).Round(100*time.Microsecond).Microseconds()) / 1000
}

func (s *session) pause(ms float64) { wait(ms) }

// until waits for a condition.
func (s *session) until(what string, ok func() bool) error {
	for end := time.Now().Add(3 * time.Minute); !ok(); {
		if time.Now().After(end) {
			return fmt.Errorf("waited three minutes for %s", what)
		}
		wait(5)
	}
	return nil
}

// warm has every agent's process started, so that the time this takes is not
// measured, and forgets the mail for it.
func (s *session) warm() error {
	for range 3 * s.r.Limits.Slots / 2 {
		for site := range s.r.Destinations {
			if err := s.send("", []int{site}); err != nil {
				return err
			}
		}
	}
	if err := s.drained(); err != nil {
		return err
	}
	wait(500) // the queue manager removes the last
	s.r.Messages, s.total = nil, 0
	s.sink.mu.Lock()
	defer s.sink.mu.Unlock()
	s.sink.deliveries, s.sink.recipients = nil, 0
	return nil
}

// preload sends a message in before begin, for incoming or for deferred. Those
// for deferred come first.
func (s *session) preload(class string, deferred bool, sites []int) error {
	if err := s.send(class, sites); err != nil {
		return err
	}
	s.r.Messages[len(s.r.Messages)-1].Deferred = deferred
	return nil
}

// begin lets the queue manager go. What is to lie in the deferred queue was
// put on hold and is released, which moves it there.
func (s *session) begin() error {
	deferred := false
	for _, m := range s.r.Messages {
		deferred = deferred || m.Deferred
	}
	if deferred {
		if err := s.release(); err != nil {
			return err
		}
		wait(float64(s.r.Limits.QueueRun.Milliseconds())) // so that a scan is due at once
	}
	before := s.zero
	s.zero = time.Now()
	s.r.Second = float64(s.zero.Nanosecond()) / 1e6
	for i := range s.r.Messages {
		s.r.Messages[i].At -= float64(s.zero.Sub(before).Microseconds()) / 1000
	}
	return s.p.signal(syscall.SIGCONT)
}

// release moves the first messages from incoming to deferred, by way of hold.
func (s *session) release() error {
	lines, err := os.ReadFile(s.p.dir + "/maillog")
	if at := bytes.LastIndex(lines, []byte("message-id=<m000000@")); at >= 0 { // behind what warm sent
		lines = lines[bytes.LastIndexByte(lines[:at], '\n')+1:]
	}
	if err != nil {
		return err
	}
	ids := map[string]bool{}
	for _, found := range cleanedUp.FindAllStringSubmatch(string(lines), -1) {
		if n, _ := strconv.Atoi(found[2]); n < len(s.r.Messages) && s.r.Messages[n].Deferred {
			ids[found[1]] = true
		}
	}
	for _, flag := range []string{"-h", "-H"} {
		cmd := exec.Command("/usr/sbin/postsuper", "-c", s.p.dir+"/conf", flag, "-")
		var in bytes.Buffer
		for id := range ids {
			fmt.Fprintln(&in, id)
		}
		cmd.Stdin = &in
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("postsuper %s: %w: %s", flag, err, out)
		}
	}
	return nil
}

// The lines that say which message is which.
var (
	cleanedUp = regexp.MustCompile(`cleanup\[\d+\]: (\w+): message-id=<m(\d+)@source\.test>`)
	activated = regexp.MustCompile(`qmgr\[\d+\]: \w+: from=<m(\d+)@source\.test>, .*\(queue active\)`)
)

// follow reads the log as it grows and notes each admission.
func (s *session) follow(path string, stop chan struct{}) {
	defer s.log.Done()
	f, err := os.Open(path)
	if err != nil {
		return
	}
	defer f.Close()
	if _, err := f.Seek(0, io.SeekEnd); err != nil { // behind what warm sent
		return
	}
	in, part := bufio.NewReader(f), ""
	for {
		line, err := in.ReadString('\n')
		if part += line; err == nil {
			if found := activated.FindStringSubmatch(part); found != nil {
				n, _ := strconv.Atoi(found[1])
				s.r.Admissions = append(s.r.Admissions, recording.Admission{At: s.now(), Message: n})
			}
			part = ""
			continue
		}
		if !errors.Is(err, io.EOF) {
			return
		}
		select {
		case <-stop:
			return
		default:
			wait(1)
		}
	}
}

func (s *session) dial() (err error) {
	err = s.until("the server", func() bool {
		s.conn, err = net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", smtpdPort))
		return err == nil
	})
	if err != nil {
		return err
	}
	s.in = bufio.NewReader(s.conn)
	return errors.Join(s.reply("220"), s.say("EHLO source.test", "250"))
}

// send sends a message in; the numbers in its addresses are written so that
// Postfix's order of recipients is theirs.
func (s *session) send(class string, sites []int) error {
	n := len(s.r.Messages)
	s.r.Messages = append(s.r.Messages, recording.Message{Class: class, Sites: sites})
	s.total += len(sites)
	if err := s.say(fmt.Sprintf("MAIL FROM:<m%06d@source.test>", n), "250"); err != nil {
		return err
	}
	for i, site := range sites {
		if err := s.say(fmt.Sprintf("RCPT TO:<m%06d.r%05d@d%d.test>", n, i, site), "250"); err != nil {
			return err
		}
	}
	if err := s.say("DATA", "354"); err != nil {
		return err
	}
	err := s.say(fmt.Sprintf("Message-Id: <m%06d@source.test>\r\nSubject: load\r\n\r\ntext\r\n.", n), "250")
	s.r.Messages[n].At = s.now()
	return err
}

func (s *session) say(line, want string) error {
	if _, err := fmt.Fprintf(s.conn, "%s\r\n", line); err != nil {
		return err
	}
	return s.reply(want)
}

func (s *session) reply(want string) error {
	for {
		line, err := s.in.ReadString('\n')
		if err != nil {
			return err
		}
		if !strings.HasPrefix(line, want) {
			return fmt.Errorf("the server says %q", line)
		}
		if len(line) > 3 && line[3] == ' ' {
			return nil
		}
	}
}

// drained waits until every recipient was taken.
func (s *session) drained() error {
	return s.until("the end", func() bool {
		s.sink.mu.Lock()
		defer s.sink.mu.Unlock()
		return s.sink.recipients >= s.total
	})
}

// idle is a gap in milliseconds that is none between two deliveries, but a wait for mail.
const idle = 100

// turnaround returns the mean time from the end of a delivery to the next start
// in its slot, while all slots are in use: what agent and queue manager take
// between two deliveries.
func turnaround(all []recording.Delivery, slots int) float64 {
	var ends []float64
	for _, d := range all {
		ends = append(ends, d.End)
	}
	slices.Sort(ends)
	sum, n := 0.0, 0
	for i := slots; i < len(all); i++ {
		if gap := all[i].Start - ends[i-slots]; gap >= 0 && gap < idle {
			sum, n = sum+gap, n+1
		}
	}
	return sum / float64(max(n, 1))
}
