package postsuper

import "postrider/lib/manual"

// Manual is the command's manual page.
func Manual() manual.Page {
	return manual.Page{Name: "postsuper", Section: 1, Summary: "hold, release, delete, requeue, expire and extract queued mail", Flags: new(options),
		Synopsis: []string{"[-c config_dir] [-d id] [-e id] [-f id] [-h id] [-H id] [-r id] [queue ...]", "[-c config_dir] -s [queue_directory]", "[-c config_dir] -x out [queue_directory]"},
		Text: `postsuper changes the queue. It is for root and the owner of the queue. ID may be ALL, or - for ids on standard input; with a queue named, only messages there are meant. No question is asked.

It talks to the queue manager, or works on the queue itself when the mail system is down. What it reports is on the disk when it ends, and final: no later result and no crash brings a deleted message back. A transfer that is under way
is not interrupted: its result counts for its recipients, and the command says how many there are.`,
		More: []manual.Section{{Title: "Exit status", Text: "0; 1 when a part of the queue could not be used by -x or -s; otherwise as in sysexits(3)."}},
		See:  []string{"postqueue(1)", "postcat(1)", "qmgr(8)"}}
}
