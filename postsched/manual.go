package postsched

import (
	"postrider/lib/config"
	"postrider/lib/manual"
)

// Manual is the command's manual page.
func Manual() manual.Page {
	return manual.Page{Name: "postsched", Section: 1, Summary: "check, show and explain the policy in sched.cf", Flags: new(options),
		Vars: map[string]string{"dir": config.DefaultDir}, Synopsis: []string{"[-c config_dir] command [argument ...]", "command --help"},
		Text: `postsched is for sched.cf, which says when, how fast and from where mail is sent, where main.cf says too little. It says what is wrong with it, with file, line and a suggestion, and explains what becomes of mail. It changes nothing;
master(8) runs it at the start and at ` + "`postrider reload`" + `.`,
		More: []manual.Section{{Title: "Exit status", Text: "0, or 1 after a line that says what is wrong; 64 for a wrong command line."}},
		See:  []string{"postconf(5)", "postqueue(1)", "qmgr(8)"}}
}
