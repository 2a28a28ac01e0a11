package main

import (
	"postrider/lib/config"
	"postrider/lib/manual"
)

// daemon is what is said of one of them besides its parameters.
type daemon struct {
	name, summary, text string
	see                 []string
}

// theDaemons are those of cmd/master.
var theDaemons = []daemon{
	{"smtpd", "SMTP server", `smtpd receives mail by SMTP and hands it to cleanup(8) piece by piece. It says 250 to the end of a message
when cleanup(8) has it on disk, and not before.

It runs as ` + "`postrider-in`" + ` and opens no file once it serves: its listeners, its tables and its connection to cleanup(8) come from master(8).`,
		[]string{"cleanup(8)", "postconf(5)"}},
	{"cleanup", "completes messages and makes them durable", `cleanup takes mail from smtpd(8), from maildrop/ (where postdrop(1) puts it), and from bounce(8) and local(8). It adds missing headers,
rewrites addresses, and appends the message to the journal in incoming/ of the queue. One fdatasync(2) serves all messages that arrived while the one before ran.

It runs as ` + "`postrider-msg`" + `.`, []string{"smtpd(8)", "qmgr(8)", "postdrop(1)"}},
	{"qmgr", "queue manager", `qmgr schedules every delivery. It reads the journal that cleanup(8) writes, keeps what it works on in memory, hands out deliveries to smtp(8), local(8) and bounce(8),
and writes its decisions into one log. It answers postqueue(1) and postsuper(1), and does the work of Postfix's trivial-rewrite, showq, error, retry and discard.

It runs as ` + "`postrider`" + `, the owner of the queue (` + "`mail_owner`" + `).`, []string{"postqueue(1)", "postsuper(1)"}},
	{"smtp", "SMTP client", `smtp looks up where mail goes and sends it by SMTP. The content comes with each delivery: smtp sees the messages that it was given and no others.

It runs as ` + "`postrider-out`" + `.`, []string{"qmgr(8)", "postconf(5)"}},
	{"lmtp", "LMTP client", `lmtp sends mail by LMTP, as smtp(8) does by SMTP, commonly to a mailbox server on this machine: over TCP, or over a Unix socket when the next hop is ` + "`unix:/path`" + `. It is a process of its own beside smtp(8).

It runs as ` + "`postrider-out`" + `.`, []string{"smtp(8)", "qmgr(8)", "postconf(5)"}},
	{"local", "delivery on this machine", `local expands aliases(5) and delivers to users of the machine. Everything that a user or a message controls is done by a helper that is started under
the recipient's user id; local itself keeps of root only the rights to do that.`, []string{"aliases(5)", "newaliases(1)"}},
	{"bounce", "reports to senders", `bounce writes what senders are told of their mail: that it could not be delivered, is late, or arrived (RFC 3464). Reports enter the queue by cleanup(8).

It runs as ` + "`postrider-bounce`" + ` and opens no file.`, []string{"qmgr(8)"}},
	{"proxymap", "asks databases", `proxymap answers lookup("sqlite:/file", key) of sched.cf. It runs only where a policy has that. The file is as in sqlite_table(5) of Postfix: dbpath, query, result_format, domain, expansion_limit. Each %s, %u, %d and %1 to %9
of the query becomes a parameter; keys are never part of its text. A change of the file or of the database is seen at once; an answer is kept for a minute. While the database is locked or away, mail that depends on it is deferred.

It runs as ` + "`postrider-bounce`" + `, who must be able to read the database, and can read nothing but the directories of databases.`, []string{"qmgr(8)"}},
}

// daemons are their pages, with the parameters that the code of each mentions.
func daemons(root string) ([]manual.Page, error) {
	var all []manual.Page
	for _, d := range theDaemons {
		names, err := reads(root, d.name)
		if err != nil {
			return nil, err
		}
		s := manual.Section{Title: "Configuration parameters", Text: "A change takes effect at `postrider reload`. postconf(5) has types and limits."}
		for _, name := range names {
			s.Items = append(s.Items, short(name))
		}
		all = append(all, manual.Page{Name: d.name, Section: 8, Summary: d.summary, Text: d.text + `

It is started by master(8) and not from the command line.`, More: []manual.Section{s}, See: append([]string{"master(8)"}, d.see...)})
	}
	all = append(all, supervisor())
	return all, nil
}

// short is a parameter with its default and its line of help.
func short(name string) manual.Item {
	p, _ := config.Lookup(name)
	return manual.Item{Term: title(p), Text: plain(p.Help)}
}

func supervisor() manual.Page {
	return manual.Page{Name: "master", Section: 8, Summary: "supervisor of the mail system", Text: `master reads the configuration, makes the directories of the queue, binds every listener, opens the log and the tables,
and starts each daemon with the descriptors and the user id that it needs. It restarts what dies. No mail passes through it. It is the same program as postrider(1).`,
		More: []manual.Section{{Title: "Signals", Items: []manual.Item{
			{Term: "SIGTERM, SIGINT", Text: "Stop: deliveries past the final dot have `stop_grace` to end."},
			{Term: "SIGQUIT", Text: "Stop at once."},
			{Term: "SIGHUP", Text: "Read main.cf, master.cf and tables anew, and open the log again. What is wrong is logged, and the old configuration stays."},
		}}, {Title: "Environment", Items: []manual.Item{
			{Term: "MAIL_CONFIG", Text: "The directory of main.cf and master.cf."},
			{Term: "NOTIFY_SOCKET", Text: "Where systemd hears of start, reload and stop (sd_notify(3))."},
		}}}, See: []string{"postrider(1)", "master(5)", "postconf(5)"}}
}
