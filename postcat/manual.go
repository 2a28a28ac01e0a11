package postcat

import "postrider/lib/manual"

// Manual is the command's manual page.
func Manual() manual.Page {
	return manual.Page{Name: "postcat", Section: 1, Summary: "show queued messages", Flags: new(options),
		Synopsis: []string{"[-behv] [-c config_dir] -q queue_id ..."},
		Text: `postcat shows messages of the queue: envelope, header and body, or the parts that are asked for. It asks the queue manager, and reads the queue itself when the mail system is down.

Queue files are not shown by their names: each holds many messages.`,
		More: []manual.Section{{Title: "Exit status", Text: "0, or 69 when there is no such message; otherwise as in sysexits(3)."}},
		See:  []string{"postqueue(1)", "postsuper(1)"}}
}
