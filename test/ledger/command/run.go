package command

import (
	"context"
	"fmt"
	"io"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"postrider/test/ledger"
	"postrider/test/sink"
	"postrider/test/source"
)

// trial is one run of the command.
type trial struct {
	o       *options
	stderr  io.Writer
	name    string // of this run: the begin of each message's id
	ledger  ledger.Ledger
	sink    *sink.Sink
	dial    func() (source.Sender, error)
	begun   time.Time
	sent    atomic.Int64
	foreign atomic.Int64 // messages of other runs that came
	warned  sync.Once
}

// newTrial opens the sink.
func newTrial(o *options, stderr io.Writer) (*trial, error) {
	t := &trial{o: o, stderr: stderr, begun: time.Now()}
	t.name = strconv.FormatInt(t.begun.UnixNano(), 36) + "-"
	s, err := sink.Listen(o.Listen, nil)
	if err != nil {
		return nil, err
	}
	t.sink = s
	s.Do(sink.Behaviour{Rcpt: func(_, r string) string {
		if !t.ours(r) { // a route that catches other people's mail must not lose it
			return "450 4.7.1 this is smtp-ledger, which takes mail for " + o.Domain + " only"
		}
		return ""
	}})
	s.Handle(false, t.arrived)
	return t, nil
}

func (t *trial) ours(address string) bool {
	_, domain, _ := strings.Cut(address, "@")
	return strings.EqualFold(domain, t.o.Domain)
}

func (t *trial) sender() string { return "sender@" + t.o.Domain }

// arrived enters a message, or a report to the sender, into the ledger.
func (t *trial) arrived(m *sink.Mail) {
	if m.Sender == "" {
		if id, failed, err := ledger.Reported(m.Content); err == nil && strings.HasPrefix(id, t.name) {
			t.ledger.Bounced(id, failed...)
		}
		return // a warning of a delay, or of another run
	}
	if m.ID != "" && !strings.HasPrefix(m.ID, t.name) {
		t.foreign.Add(1)
		return
	}
	m.Tell(&t.ledger)
}

// send sends all messages, at the rate that was asked for.
func (t *trial) send(ctx context.Context) {
	begun := time.Now()
	stop := t.progress(ctx)
	defer stop()
	source.LoadBy(ctx, t.dial, t.o.Sessions, &t.ledger, func() *source.Message {
		n := t.sent.Add(1)
		if n > int64(t.o.Messages) {
			t.sent.Add(-1)
			return nil
		}
		if t.o.Rate > 0 {
			due := begun.Add(time.Duration(float64(n-1) / t.o.Rate * float64(time.Second)))
			select {
			case <-ctx.Done():
			case <-time.After(time.Until(due)):
			}
		}
		id := t.name + strconv.FormatInt(n, 10)
		to := make([]string, t.o.Recipients)
		for i := range to {
			to[i] = fmt.Sprintf("r%d@%s", i+1, t.o.Domain)
		}
		return source.New(id, t.sender(), t.o.Length, to...)
	})
}

// refused says the first reply of class 4 or 5, as what is wrong may be the same for all.
func (t *trial) refused(err error) {
	t.warned.Do(func() { fmt.Fprintf(t.stderr, "smtp-ledger: warning: %s: %v\n", t.o.Server, err) })
}

// knock opens a session and closes it. An error is one that every session will meet.
func (t *trial) knock() error {
	s, err := t.dial()
	if err == nil {
		s.Close()
	}
	if hopeless(err) {
		return err
	}
	return nil
}

// progress says every ten seconds how far things are.
func (t *trial) progress(ctx context.Context) (stop func()) {
	ctx, stop = context.WithCancel(ctx)
	go func() {
		tick := time.NewTicker(10 * time.Second)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				fmt.Fprintf(t.stderr, "smtp-ledger: %d messages sent, %d recipients acknowledged and still under way\n", t.sent.Load(), t.ledger.Open())
			}
		}
	}()
	return stop
}

// wait ends when everything that was acknowledged has come, or the time is over.
func (t *trial) wait(ctx context.Context) {
	stop := t.progress(ctx)
	defer stop()
	end := time.Now().Add(t.o.Wait)
	next := time.Now().Add(time.Second)
	for t.ledger.Open() > 0 && ctx.Err() == nil && time.Now().Before(end) {
		if t.o.Flush && time.Now().After(next) {
			t.tool("postqueue", "-f").Run()
			next = time.Now().Add(5 * time.Second)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// tool is one of the mail system's commands.
func (t *trial) tool(name string, args ...string) *exec.Cmd {
	if t.o.Config != "" {
		args = append([]string{"-c", t.o.Config}, args...)
	}
	return exec.Command(name, args...)
}
