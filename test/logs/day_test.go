package logs

import (
	"context"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"postrider/test/instance"
	"postrider/test/sink"
	"postrider/test/source"
)

// figures are what pflogsumm is to say of an hour, a domain or the day.
type figures struct{ received, delivered, deferred, bounced, rejected int }

// day is mail that is sent hour by hour, and what pflogsumm must say of it in the end.
type day struct {
	*testing.T
	i    *instance.Instance
	hour int
	hours
	to, from map[string]int  // messages by domain of the recipient delivered to, and of the sender
	cut      int             // of the log: where the hour begins
	log      strings.Builder // of the day, with its hours
}

type hours [24]figures

// TestDay: pflogsumm over a day gives exactly the numbers that were sent. The traffic is
// real; each hour's lines are given the stamp of that hour of the 14th of March.
func TestDay(t *testing.T) {
	t.Parallel()
	need(t, "pflogsumm")
	far := sink.New(t, nil)
	var later atomic.Bool // the far side takes what it has put off
	far.Do(sink.Behaviour{Rcpt: func(_, r string) string {
		switch user, _, _ := strings.Cut(r, "@"); {
		case user == "no":
			return "550 5.1.1 no such user"
		case user == "later" && !later.Load():
			return "450 4.2.0 greylisted"
		}
		return ""
	}})
	i := instance.Started(t, "transport_maps = inline:{ {one.test = smtp:"+far.NextHop()+"} {two.test = smtp:"+far.NextHop()+"} {gone.test = discard:gone} {dead.test = error:5.1.2 dead} }",
		"smtpd_recipient_restrictions = reject_unauth_destination", "smtpd_relay_restrictions =", "relay_domains = one.test two.test gone.test dead.test",
		"smtpd_recipient_limit = 3", "minimal_backoff_time = 1h", "maximal_backoff_time = 4h", "queue_run_delay = 1h")
	d := &day{T: t, i: i, to: map[string]int{}, from: map[string]int{}}

	for h := range 24 {
		d.begin(h)
		for n := range 1 + h%3 { // accepted, to one, two and three recipients
			d.sent("a.test", []string{"one.test", "two.test", instance.Domain}[:1+n%3]...)
		}
		switch h {
		case 3: // bounced by the far side, and by a transport
			d.send(instance.Domain, "no@one.test")
			d.send(instance.Domain, "x@dead.test", "y@"+instance.Domain)
			d.hours[h].bounced += 2
			d.delivers(instance.Domain, 1+2) // and a notice for each, which nobody sent
		case 5: // put off, in one message of two
			d.send("c.test", "later@one.test", "later@two.test", "z@one.test")
			d.hours[h].deferred += 2
			d.delivers("one.test", 1)
		case 9: // refused: no relaying, and one of several recipients
			for range 4 {
				d.refused("a.test", "x@elsewhere.test")
			}
		case 11: // put on hold and deleted, which pflogsumm counts as received
			d.hold("e.test")
		case 14: // submitted on the machine
			d.submit("two.test")
		case 16: // to a transport that throws away is delivered, as in Postfix
			d.sent("a.test", "gone.test")
		case 18: // a flush, and it is put off again; each is a deferral of the same message
			i.Must("postqueue", "-f")
			d.hours[h].deferred += 2
		case 19: // many at once
			d.load(100)
		case 20: // the far side has changed its mind
			later.Store(true)
			i.Must("postqueue", "-f")
			d.delivers("one.test", 1)
			d.delivers("two.test", 1)
		}
		d.end()
	}
	if !i.Drained() {
		t.Error("the queue is not empty at the end of the day")
	}
	d.judge()
}

// need is for a program that .ci/run installs.
func need(t *testing.T, program string) {
	t.Helper()
	if _, err := exec.LookPath(program); err != nil {
		t.Skipf("needs Debian's package of %s: .ci/run installs it", program)
	}
}

func (d *day) begin(hour int) { d.hour, d.cut = hour, len(d.i.Log()) }

func (d *day) message(sender string, to ...string) *source.Message {
	id := fmt.Sprintf("day-%d-%d", d.hour, d.hours[d.hour].received)
	return source.New(id, "from@"+sender, 700, to...)
}

func (d *day) send(sender string, to ...string) (id string) {
	d.Helper()
	o, err := source.Send1(d.i.Addr, d.message(sender, to...), nil)
	if err != nil {
		d.Fatal(err)
	}
	d.takes(sender)
	return o.QueueID
}

func (d *day) takes(sender string) { d.hours[d.hour].received++; d.from[sender]++ }

func (d *day) delivers(domain string, n int) {
	d.hours[d.hour].delivered += n
	d.to[domain] += n
}

// sent is a message with a recipient in each of the domains.
func (d *day) sent(sender string, domains ...string) {
	d.Helper()
	var to []string
	for _, domain := range domains {
		to = append(to, "u@"+domain)
		d.delivers(domain, 1)
	}
	d.send(sender, to...)
}

func (d *day) refused(sender, to string) {
	d.Helper()
	if _, err := source.Send1(d.i.Addr, d.message(sender, to), nil); err == nil {
		d.Fatalf("%s was taken", to)
	}
	d.hours[d.hour].rejected++
}

func (d *day) hold(sender string) {
	d.Helper()
	// (later@: so that it is still there)
	id := d.send(sender, "later@one.test")
	d.i.AwaitLog(id + `: to=<later@one.test>.*status=deferred`)
	d.hours[d.hour].deferred++
	d.i.Must("postsuper", "-h", id)
	d.i.AwaitQueue(id, "hold")
	d.i.Must("postsuper", "-d", id)
}

func (d *day) submit(domain string) {
	d.Helper()
	if r := d.i.RunWith("Subject: local\n\nhello\n", "sendmail", "-f", "me@f.test", "u@"+domain); r.Code != 0 {
		d.Fatal(r)
	}
	d.takes("f.test")
	d.delivers(domain, 1)
}

// load sends many over several sessions.
func (d *day) load(n int) {
	d.Helper()
	var next atomic.Int64
	done := source.Load(context.Background(), d.i.Addr, 10, nil, func() *source.Message {
		k := next.Add(1)
		if k > int64(n) {
			return nil
		}
		return source.New(fmt.Sprintf("load-%d", k), "from@a.test", 700, "u@two.test", "v@"+instance.Domain)
	})
	if done != n {
		d.Fatalf("%d of %d were taken", done, n)
	}
	for range n {
		d.takes("a.test")
	}
	d.delivers("two.test", n)
	d.delivers(instance.Domain, n)
}

// end waits until the log has all of the hour, and gives it the hour's stamps.
func (d *day) end() {
	d.Helper()
	want := d.hours[d.hour]
	count := func(text, pattern string) int {
		return len(regexp.MustCompile(`(?m)`+pattern).FindAllString(text, -1))
	}
	var text string
	got := figures{}
	defer func() {
		if d.Failed() {
			d.Logf("hour %d: the log has %+v, want %+v", d.hour, got, want)
		}
	}()
	d.i.Await("the hour's lines", func() bool {
		text = d.i.Log()[d.cut:]
		got = figures{count(text, `: (client=|uid=)`), count(text, `status=sent \((?:[^f]|f[^o])`), count(text, `status=deferred`), count(text, `status=bounced`), count(text, `NOQUEUE: reject`)}
		return got == want && count(text, `size=\d+, nrcpt`) >= want.received
	})
	stamp := regexp.MustCompile(`(?m)^\w{3} \d\d \d\d:(\d\d:\d\d) `)
	d.log.WriteString(stamp.ReplaceAllString(text, fmt.Sprintf("Mar 14 %02d:$1 ", d.hour)))
}

// judge has pflogsumm read the day.
func (d *day) judge() {
	d.Helper()
	log := filepath.Join(d.TempDir(), "maillog")
	if err := os.WriteFile(log, []byte(d.log.String()), 0o644); err != nil {
		d.Fatal(err)
	}
	out, err := exec.Command("pflogsumm", "--problems-first", log).CombinedOutput()
	if err != nil {
		d.Fatalf("%v: %s", err, out)
	}
	report := string(out)
	defer func() {
		if d.Failed() {
			d.Logf("%s", report)
		}
	}()
	number := func(line string) int {
		m := regexp.MustCompile(`(?m)^ *(\d+) +` + line).FindStringSubmatch(report)
		if m == nil {
			d.Errorf("no line %q", line)
			return -1
		}
		n, _ := strconv.Atoi(m[1])
		return n
	}
	var all figures
	for h, w := range d.hours {
		all.received, all.delivered, all.deferred = all.received+w.received, all.delivered+w.delivered, all.deferred+w.deferred
		all.bounced, all.rejected = all.bounced+w.bounced, all.rejected+w.rejected
		row := regexp.MustCompile(fmt.Sprintf(`(?m)^ *%02d00-%02d00 +(\d+) +(\d+) +(\d+) +(\d+) +(\d+) *$`, h, h+1)).FindStringSubmatch(report)
		if row == nil {
			d.Fatalf("no row for hour %d", h)
		}
		n := make([]int, 5)
		for k := range n {
			n[k], _ = strconv.Atoi(row[k+1])
		}
		if got := (figures{n[0], n[1], n[2], n[3], n[4]}); got != w {
			d.Errorf("hour %d: %+v, sent %+v", h, got, w)
		}
	}
	received, delivered := sizes(d.log.String())
	for line, want := range map[string]int{`received$`: all.received, `delivered$`: all.delivered, `forwarded$`: 0, `bounced$`: all.bounced,
		`rejected \(`: all.rejected, `reject warnings$`: 0, `held$`: 0, `discarded \(`: 0, `deferred  \(` + strconv.Itoa(all.deferred) + ` +deferrals\)$`: 2,
		`bytes received$`: received, `bytes delivered$`: delivered,
		`senders$`: len(d.from), `sending hosts/domains$`: len(d.from), `recipient hosts/domains$`: len(d.to)} {
		if n := number(line); n != want {
			d.Errorf("%s: %d, sent %d", line, n, want)
		}
	}
	rest := report[strings.Index(report, "Host/Domain Summary: Message Delivery"):]
	senders := rest[strings.Index(rest, "Host/Domain Summary: Messages Received"):]
	for _, c := range []struct {
		text string
		want map[string]int
	}{{rest[:len(rest)-len(senders)], d.to}, {senders, d.from}} {
		for _, domain := range slices.Sorted(maps.Keys(c.want)) {
			m := regexp.MustCompile(`(?m)^ *(\d+) .* ` + regexp.QuoteMeta(domain) + `$`).FindStringSubmatch(c.text)
			if m == nil || m[1] != strconv.Itoa(c.want[domain]) {
				d.Errorf("%s: %v, sent %d", domain, m, c.want[domain])
			}
		}
	}
	if strings.Contains(report, "no size") || strings.Contains(report, "Size Data") {
		d.Errorf("messages without a size:\n%s", report)
	}
}

// sizes are the bytes of what came in from others and of what was delivered, as the log
// has them, in whatever order its lines are.
func sizes(log string) (received, delivered int) {
	size, client := map[string]int{}, map[string]bool{}
	for _, m := range regexp.MustCompile(`: (\w+): from=<[^>]*>, size=(\d+), nrcpt`).FindAllStringSubmatch(log, -1) {
		size[m[1]], _ = strconv.Atoi(m[2])
	}
	for _, m := range regexp.MustCompile(`: (\w+): (?:client|uid)=`).FindAllStringSubmatch(log, -1) {
		client[m[1]] = true
	}
	for id := range client {
		received += size[id]
	}
	for _, m := range regexp.MustCompile(`: (\w+): to=.*status=sent`).FindAllStringSubmatch(log, -1) {
		delivered += size[m[1]]
	}
	return received, delivered
}
