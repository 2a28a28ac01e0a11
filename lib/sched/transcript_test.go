package sched

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"postrider/lib/mail"
)

var update = flag.Bool("update", false, "rewrite the transcripts in testdata with what the machine does now")

// TestTranscripts replays testdata/*.txt. A transcript is a sequence of blocks:
// commands, a line "----", the actions and answers they gave, an empty line.
// The commands are those of transcript.do. All the blocks of a file share one
// machine.
func TestTranscripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no transcripts", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			was, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			is := replay(t, string(was))
			if *update {
				if err := os.WriteFile(file, []byte(is), 0o666); err != nil {
					t.Fatal(err)
				}
			} else if is != string(was) {
				t.Errorf("%s: the machine does this now:\n%s", file, is)
			}
		})
	}
}

func replay(t *testing.T, text string) string {
	s := &transcript{cfg: Config{ActiveLimit: 100, RecipientLimit: 1000, Transports: map[string]Transport{},
		Retry: Retry{MinBackoff: 300 * time.Second, MaxBackoff: 4000 * time.Second}}}
	var out strings.Builder
	blocks := strings.Split(strings.TrimRight(text, "\n")+"\n", "\n\n")
	for i, block := range blocks {
		commands, _, _ := strings.Cut(strings.TrimRight(block, "\n")+"\n", "----\n")
		if i > 0 {
			out.WriteString("\n")
		}
		out.WriteString(commands)
		if answer := s.run(t, commands); answer != "" {
			out.WriteString("----\n" + answer)
		}
	}
	return out.String()
}

// stock is a transport with Postfix's defaults and its limit of processes.
func stock() Transport {
	return Transport{Slots: 100, InitialConcurrency: 5, ConcurrencyLimit: 20, RecipientLimit: 50,
		PositiveFeedback: Feedback{amount: 1}, NegativeFeedback: Feedback{amount: 1},
		CohortLimit: 1}
}

type transcript struct {
	cfg Config
	m   *Machine
	now Time

	message Message // that was parsed
	intake  Intake
	paces   *Schedule
	parked  map[Parking][]Message // lists
}

func (s *transcript) run(t *testing.T, commands string) string {
	var out strings.Builder
	for line := range strings.Lines(commands) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		words := strings.Fields(line)
		if !setup[words[0]] && s.m == nil {
			s.m = New(s.cfg)
		}
		if err := s.do(&out, words); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		if s.m == nil {
			continue
		}
		for a, ok := s.m.Next(); ok; a, ok = s.m.Next() {
			out.WriteString(actionLine(a) + "\n")
		}
		check(t, s.m)
	}
	return out.String()
}

func actionLine(a Action) string {
	switch a.Kind {
	case Deliver:
		if n := len(a.Recipients); n > 200 {
			return fmt.Sprintf("deliver e%d m%d %s:%s %d recipients", a.Entry, a.Msg, a.Transport, a.NextHop, n)
		}
		if a.Source != "" {
			return fmt.Sprintf("deliver e%d m%d %s:%s %v from %s", a.Entry, a.Msg, a.Transport, a.NextHop, a.Recipients, a.Source)
		}
		return fmt.Sprintf("deliver e%d m%d %s:%s %v", a.Entry, a.Msg, a.Transport, a.NextHop, a.Recipients)
	case Suspend:
		return fmt.Sprintf("suspend m%d %s:%s %v %s %s", a.Msg, a.Transport, a.NextHop, a.Recipients, a.Reason.DSN, a.Reason.Text)
	}
	switch a.Kind {
	case Postpone:
		return fmt.Sprintf("postpone m%d %s:%s %v until %s for window %s", a.Msg, a.Transport, a.NextHop, a.Recipients, seconds(a.Until), a.Window)
	case Resolve:
		return fmt.Sprintf("resolve %s:%s", a.Transport, a.NextHop)
	case Expire:
		return fmt.Sprintf("expire m%d %s:%s %v", a.Msg, a.Transport, a.NextHop, a.Recipients)
	case Notice:
		return fmt.Sprintf("notice m%d %s:%s %v", a.Msg, a.Transport, a.NextHop, a.Recipients)
	}
	if a.Kind == Refill {
		return fmt.Sprintf("refill m%d", a.Msg)
	}
	return fmt.Sprintf("done m%d", a.Msg)
}

// setup are the commands that come before there is a machine.
var setup = map[string]bool{"config": true, "transport": true, "queue": true, "limit": true, "pool": true, "window": true, "priorities": true, "schedule": true, "look": true}

// do runs one command:
//
//	config active=N recipients=N min=TIME max=TIME life=TIME bounce=TIME seed=N (of the Retry)
//	transport NAME [slots= initial= limit= rcpts= pos= neg= cohort= share= spares= rate= pace= | gone]
//	queue NAME [slots= weight= share= | gone]   priorities off|AGING
//	limit NAME [COUNT/TIME[/BURST]]... [connections=N] | gone
//	window NAME FROM-TO (times of each day)   pool NAME SOURCE=WEIGHT[/LIMIT]...   sourcedown NAME
//	schedule [ladder=T,... | interval=T max=T] [tier=AFTER/T]... [notice=T,...] [expire=T | attempts=N] [jitter=N]
//	failures N... (for a message of time 0 that failed so often until now: when it is due, by the schedule)
//	notices TOLD (what the schedule has due now of one of time 0)
//	reload
//	at TIME (seconds, or a duration) [off]
//	admit ID [flush] [more] [expire@TIME] [notice@TIME] [TERMS] TRANSPORT:NEXTHOP[*N | =USER,USER...]...
//	(TERMS, for what follows: queue@NAME level@NAME limit@NAME/KEY window@NAME pool@NAME)
//	look N QUEUE... (which of those that have mail gives each of the next N)
//	offer ID ... (it is parked when its first destination is full)   unpark (all that may be admitted)
//	ok ENTRY...   fail ENTRY...   return ENTRY...
//	resolved TRANSPORT:NEXTHOP TIME   unresolvable TRANSPORT:NEXTHOP TIME (until when the answer holds)
//	stepped (the clock)
//	down TRANSPORT   up TRANSPORT   pause TRANSPORT
//	withdraw ID   flush   restart (all mail is gone)   snapshot (its form on disk)
//	retry KEY CREATED [null] (when a message deferred now is due, or that it expires)
//	dests   why ID   room   wake   keep N (idle destinations)
func (s *transcript) do(out *strings.Builder, words []string) error {
	m := s.m
	args := words[1:]
	switch words[0] {
	case "config":
		return settings(args, map[string]any{"resolving": &s.cfg.ResolveSlots, "active": &s.cfg.ActiveLimit, "recipients": &s.cfg.RecipientLimit,
			"min": &s.cfg.Retry.MinBackoff, "max": &s.cfg.Retry.MaxBackoff,
			"life": &s.cfg.Retry.Lifetime, "bounce": &s.cfg.Retry.BounceLifetime, "seed": &s.cfg.Retry.Seed})
	case "transport":
		if len(args) == 2 && args[1] == "gone" {
			delete(s.cfg.Transports, args[0])
			return nil
		}
		c := stock()
		err := settings(args[1:], map[string]any{"slots": &c.Slots, "initial": &c.InitialConcurrency,
			"limit": &c.ConcurrencyLimit, "rcpts": &c.RecipientLimit, "pos": &c.PositiveFeedback,
			"neg": &c.NegativeFeedback, "names": &c.Resolves, "cohort": &c.CohortLimit, "share": &c.UnprovenShare, "spares": &c.Spares,
			"rate": &c.DestinationRateDelay, "pace": &c.TransportRateDelay})
		s.cfg.Transports[args[0]] = c
		return err
	case "reload":
		m.SetConfig(s.now, s.cfg)
	case "at":
		d, err := duration(args[0])
		s.now = Time(d)
		if len(args) == 1 { // else the machine is off
			m.Tick(s.now)
		}
		return err
	case "admit":
		err := s.parse(args)
		m.Admit(s.now, s.message)
		return err
	case "queue", "priorities", "limit", "window", "pool", "sourcedown":
		return s.policy(words[0], args)
	case "schedule", "failures", "notices":
		return s.schedule(out, words[0], args)
	case "look":
		return s.look(out, args)
	case "offer":
		return s.offer(out, args)
	case "unpark":
		s.unpark(out)
	case "ok", "fail", "unmade", "return":
		for _, a := range args {
			id, err := strconv.ParseUint(strings.TrimPrefix(a, "e"), 10, 64)
			if err != nil {
				return err
			}
			switch words[0] {
			case "ok":
				m.Result(s.now, EntryID(id), HopResult{OK: true})
			case "fail":
				m.Result(s.now, EntryID(id), HopResult{Reason: mail.Status{DSN: "4.4.1", Text: "connection refused"}})
			case "unmade":
				m.Result(s.now, EntryID(id), HopResult{Unknown: true, Unmade: true})
			case "return":
				m.Return(s.now, EntryID(id))
			}
		}
	case "up":
		m.TransportUp(s.now, args[0])
	case "pause":
		m.TransportPause(s.now, args[0])
	case "flush":
		m.Flush(s.now)
	case "resolved", "unresolvable":
		t, n, _ := strings.Cut(args[0], ":")
		d, err := duration(args[1])
		m.Resolved(s.now, Parking{Transport: t, Name: n}, Time(d), words[0] == "unresolvable")
		return err
	case "stepped":
		m.Stepped(s.now)
	case "snapshot":
		out.Write(m.Snapshot(s.now).Encode())
	case "restart":
		snap, err := DecodeSnapshot(m.Snapshot(m.now).Encode())
		s.m = New(s.cfg)
		s.m.Restore(s.now, snap)
		return err
	case "retry":
		key, err := strconv.ParseUint(args[0], 10, 64)
		if err != nil {
			return err
		}
		created, err := duration(args[1])
		if retry := s.cfg.Retry; retry.Expired(Time(created), s.now, len(args) > 2) {
			out.WriteString("expired\n")
		} else {
			at := retry.Next(Time(created), s.now, key)
			fmt.Fprintf(out, "due at %s, in %v\n", seconds(at.round()), at.round().Sub(s.now))
		}
		return err
	case "withdraw":
		id, err := strconv.ParseUint(args[0], 10, 64)
		fmt.Fprintf(out, "%d in hand\n", m.Withdraw(s.now, MsgID(id)))
		return err
	case "why":
		id, err := strconv.ParseUint(args[0], 10, 64)
		for _, w := range m.Why(MsgID(id)) {
			fmt.Fprintf(out, "%s:%s %v %v", w.Transport, w.NextHop, w.Recipients, w)
			if w.Cause == ForLimit {
				fmt.Fprintf(out, " %s %s", w.Bound.Limit, w.Bound.Key)
			}
			if w.Until != 0 {
				fmt.Fprintf(out, " until %s", seconds(w.Until))
			}
			out.WriteString("\n")
		}
		return err
	case "dests":
		for _, d := range m.Destinations() {
			fmt.Fprintf(out, "%s:%s window %d busy %d todo %d", d.Transport, d.Name, d.Window, d.Busy, d.Todo)
			if d.Dead {
				fmt.Fprintf(out, " dead until %s: %s", seconds(d.Until), d.Reason.Text)
			}
			if d.Rests != 0 {
				fmt.Fprintf(out, " rests until %s", seconds(d.Rests))
			}
			if d.Proven {
				out.WriteString(" proven")
			} else if d.Failing {
				out.WriteString(" failing")
			}
			out.WriteString("\n")
		}
	case "room":
		fmt.Fprintf(out, "room %d, %d messages, %d recipients, %d in hand, %d idle\n", m.Room(), m.Stats().Messages, m.Stats().Recipients, m.Stats().InHand, m.Stats().Idle)
	case "keep":
		n, err := strconv.Atoi(args[0])
		m.keep = n
		return err
	case "wake":
		if at, ok := m.WakeAt(); ok {
			fmt.Fprintf(out, "wake at %s\n", seconds(at))
		} else {
			out.WriteString("nothing to wake for\n")
		}
	default:
		return fmt.Errorf("unknown command")
	}
	return nil
}
