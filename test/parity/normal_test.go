package parity

import (
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// rule replaces what may differ.
type rule struct {
	pattern *regexp.Regexp
	by      string
	why     string // of a difference: its heading in doc/differences.md; "" where it is chance
}

func chance(pattern, by string) rule { return rule{regexp.MustCompile(pattern), by, ""} }

func differs(why, pattern, by string) rule { return rule{regexp.MustCompile(pattern), by, why} }

// rules are applied to both sides, in their order.
var rules = []rule{
	chance(`(?m)^[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d \S+ postfix/`, ""),
	chance(`(?m)^(\w+)\[\d+\]: `, "$1: "),
	chance(`\bdelay=[\d.]+`, "delay=D"),
	chance(`\bdelays=[\d.]+/[\d.]+/[\d.]+/[\d.]+`, "delays=D"),
	chance(`\[127\.0\.0\.1\]:\d+`, "[127.0.0.1]:PORT"),
	chance(`127\.0\.0\.1:\d+`, "127.0.0.1:PORT"),
	chance(`\bsize=\d+`, "size=N"),
	chance(`message-id=<[^>@]*@`, "message-id=<X@"),
	chance(`, conn_use=\d+`, ""),
	chance(`[A-Z][a-z]{2} [A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d`, "TIME"),
	chance(`"arrival_time": \d+`, `"arrival_time": T`),
	chance(`"message_size": \d+`, `"message_size": N`),
	chance(`(?m)^(ID\d+[*!#]?) +\d+ `, "$1 N "),
	chance(`-- \d+ Kbytes in`, "-- N Kbytes in"),
	chance(`(?m)^-Queue ID-.*\n`, "-Queue ID-\n"),
	differs("The name", `(?m)^(S: 220 \S+ ESMTP) \w+`, "$1 NAME"),
	differs("EHLO keywords that are left out", `(?m)^smtpd: discarding EHLO keywords: .*\n`, ""),
	differs("Usage", `(?m)^\S+: (?:fatal: )?(?:usage: |invalid option|option requires|unknown (?:flag|option)|unexpected argument|unsupported: |-[A-Za-z]+:? ).*\n`, "USAGE\n"),
	differs("Usage", `(?m)^\S+: fatal: .*(?:usage: |option needs ).*\n`, "USAGE\n"),
	differs("Usage", `(?:USAGE\n)+exit \d+`, "USAGE"),
	differs("Usage", `USAGE\n`, ""),
	differs("Exit codes of sendmail", `(?m)^(sendmail: fatal: .*\n)exit \d+`, "$1exit N"),
	differs("Warnings about parameters of reports", `(?m)^\S+: warning: (?:unknown DSN NOTIFY command value|bad -[NR] option value).*\n`, ""),
	differs("What sendmail writes to the log", `(?m)^(?:sendmail|postdrop|postqueue): (?:fatal|warning): .*\n`, ""),
	differs("Commands that are not there", `(?m)^S: (?:459|214|500) .*`, "S: NO"),
	differs("Commands that are not there", `(?m)^smtpd: warning: reject: ETRN.*\n`, ""),
	differs("Commands that are not there", ` (?:etrn=0/1 |help=1 )`, " "),
	differs("Commands that are not there", `(vrfy=1) quit=1 (?:help=1 )?unknown=0/\d commands=\d+/(\d+)`, "$1 quit=1 unknown=N commands=N/$2"),
	differs("Malformed addresses in the log", `(?m)^smtpd: warning: Illegal address syntax .*\n`, ""),
	differs("Messages that are too large", `(?m)^(?:smtpd|cleanup): warning: ID\d+: queue file size limit exceeded\n`, ""),
	differs("postqueue -j", `, "attempts": \d+, "next_attempt": \d+, "waits_for": "\w+"`, ""),
	differs("SMTPUTF8", `(?m)^(C: MAIL FROM:<ü@b.test>\n)S: .*\n(C: MAIL FROM:<ü@b.test> SMTPUTF8\n)S: .*`, "$1$2"),
	differs("SMTPUTF8", `(?m)mail=\d/2 rset=1 quit=1 commands=\d/5`, "mail=N"),
	chance(`(?m)^(pickup: ID\d+: uid=)\d+( from=<.*> orig_id=)`, "$1$2"),
	differs("What postsuper writes to the log", `(?m)^postsuper: ID\d+: (?:removed|expired|requeued|placed on hold|released from hold)\n`, ""),
	differs("What postsuper writes to the log", `(?m)^postsuper: Released from hold: 0 messages\n`, ""),
	differs("What postsuper writes to the log", `(?s)(\$ postsuper -r .*?)qmgr: ID1: from=<a@source.test>, size=N, nrcpt=1 \(queue active\)\n(.*?)qmgr: ID1: removed\n`, "$1$2"),
	differs("Kept sessions", `(?m)^smtp: ID\d+: (?:host .* said: 4|lost connection with ).*\n`, ""),
	differs("postcat of what is not there", `(?m)^\S*postcat: fatal: .*\nexit \d+`, "postcat: NO"),
	differs("Too many recipients", `rcpt=3/5 rset=1 quit=1 commands=7/9`, "rcpt=5 rset=1 quit=1 commands=9"),
	differs("Messages that are too large", `(?m)^smtpd: ID\d+: reject: END-OF-MESSAGE .*message file too big.*\n`, ""),
	differs("Messages that are too large", `(?m)^cleanup: warning: mail_stream_cleanup: close error\n`, ""),
	differs("Messages that are too large", `(?m)^(?:postdrop: warning: uid=0: File too large|sendmail: warning: mail_stream_cleanup: close error)\n`, ""),
	differs("Mail of this machine that a check refuses", `(?m)^error: (ID1: to=<nobody@local.test>, relay=none.*\n)(pickup.*\n)qmgr: ID1: from=<a@source.test>, .*\nqmgr: ID1: removed\n`, "cleanup: $1$2"),
	differs("Messages that smtpd refuses at their end", `(?m)^cleanup: ID1: message-id=.*\n(smtpd: ID1: client=.*\nsmtpd: ID1: reject: END-OF-MESSAGE)`, "$1"),
	differs("Redirected mail", `(?m)^(qmgr: ID1: from=<redirect@access.test>, size=N, nrcpt=)\d`, "${1}N"),
	differs("Restrictions that nobody knows", `(?m)^smtpd: warning: unknown smtpd restriction: .*\n`, ""),
	differs("Reports that nobody gets", `(?m)^bounce: ID\d+: non-delivery notification discarded.*\n`, ""),
}

// normal is the text of a transaction without what is different in every run.
func normal(out, log string, p *player) string {
	text := out + "log:\n" + log
	for n, id := range p.ids {
		text = strings.ReplaceAll(text, id, "ID"+strconv.Itoa(n+1))
	}
	for _, r := range rules {
		text = r.pattern.ReplaceAllString(text, r.by)
	}
	return text
}

var lineID = regexp.MustCompile(`^.{16}\S+ \S+?: ([0-9A-Za-z_]+): `)

// sortedLog brings the lines of each message, which several programs write, into one order.
func sortedLog(log string) string {
	var other []string
	by := map[string][]string{}
	var order []string
	for line := range strings.Lines(log) {
		if strings.Contains(line, "statistics: ") {
			continue
		}
		m := lineID.FindStringSubmatch(line)
		if m == nil || !looksLikeID(m[1]) {
			other = append(other, line)
			continue
		}
		if by[m[1]] == nil {
			order = append(order, m[1])
		}
		by[m[1]] = append(by[m[1]], line)
	}
	var all []string
	all = append(all, other...)
	for _, id := range order {
		slices.SortFunc(by[id], func(a, b string) int { return strings.Compare(rest(a), rest(b)) })
		all = append(all, by[id]...)
	}
	return strings.Join(all, "")
}

// rest is a line of the log without its time and process id.
func rest(line string) string {
	i := strings.Index(line, "]: ")
	if i < 0 {
		return line
	}
	program, _, _ := strings.Cut(line[16:], "[")
	return program + line[i:]
}

// Every difference that is tolerated is in doc/differences.md, and no other.
func TestDocumented(t *testing.T) {
	b, err := os.ReadFile("../../doc/differences.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rules {
		if r.why != "" && !strings.Contains(string(b), "\n## "+r.why+"\n") {
			t.Errorf("doc/differences.md has no heading %q", r.why)
		}
	}
}
