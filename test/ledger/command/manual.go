package command

import "postrider/lib/manual"

// Manual is the command's manual page.
func Manual() manual.Page {
	return manual.Page{Name: "smtp-ledger", Section: 1, Summary: "send mail through a mail system and say whether any was lost", Flags: new(options),
		Synopsis: []string{"[option ...] host:port"},
		Text: `smtp-ledger sends numbered messages by SMTP to recipients in a domain that the mail system has to route back to it, and listens as that next hop. Meanwhile anything may be done to the
system. At the end it waits for what is still under way, looks into the queue for the rest, and says what was lost, repeated, mixed or truncated.`,
		More: []manual.Section{{Title: "Exit status", Text: "0 when nothing is lost, unexpected, mixed or truncated, 1 when something is; otherwise as in sysexits(3)."}},
		See:  []string{"postqueue(1)", "postrider(1)"}}
}
