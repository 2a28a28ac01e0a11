package postqueue

import "postrider/lib/manual"

// Manual is the command's manual page.
func Manual() manual.Page {
	return manual.Page{Name: "postqueue", Section: 1, Summary: "list the mail queue, say why mail is in it, or flush it", Flags: new(options),
		Synopsis: []string{"[-c config_dir] -p", "[-c config_dir] -j", "[-c config_dir] -f", "[-c config_dir] -i queue_id", "[-c config_dir] -s site",
			"[-c config_dir] -w [-j] queue_id ...", "[-c config_dir] -q [-s | -C] [-l] [-b buckets] [-t minutes] [-n domains] [queue ...]", "[-c config_dir] -q -Q [-n keys]"},
		Text: `postqueue is for every user whom authorized_mailq_users and authorized_flush_users of postconf(5) let. It asks the queue manager; with -p, -j, -w and -q root and the owner of the queue are answered from the queue itself
when the mail system is down.

In the listing of -p a * behind a queue id marks a message that is being delivered, and ! one on hold. In the JSON of -j, the fields of Postfix are followed, for each recipient, by attempts, next_attempt and waits_for.`,
		More: []manual.Section{{Title: "Counting by domain and age", Items: []manual.Item{
			{Term: "-s", Text: "By the sender's domain."},
			{Term: "-C", Text: "By the virtual queue of sched.cf."},
			{Term: "-Q", Text: "Instead: how much of each quota of sched.cf is used, the fullest first."},
			{Term: "-l", Text: "Buckets of equal width instead of doubled ones."},
			{Term: "-b N", Text: "How many buckets; 10 without it."},
			{Term: "-t MINUTES", Text: "How wide the first is; 5 without it."},
			{Term: "-n N", Text: "How many domains to show."}}},
			{Title: "Exit status", Text: "0; 69 when the queue manager cannot be reached, 77 when the user may not; otherwise as in sysexits(3)."}},
		See: []string{"postsuper(1)", "postcat(1)", "qmgr(8)"}}
}
