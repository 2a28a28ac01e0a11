package postdrop

import "postrider/lib/manual"

// Manual is the command's manual page.
func Manual() manual.Page {
	return manual.Page{Name: "postdrop", Section: 1, Summary: "put one message into the queue", Synopsis: []string{"[-rv] [-c config_dir]"},
		Text: `postdrop takes one message on standard input, in the form in which sendmail(1) writes it, and puts it into maildrop/ of the queue, whether the mail system runs or not. It is not meant for people.

It is set-gid to setgid_group (postconf(5)), so that users need no right to the queue. It takes only config_dir that main.cf of the default directory names in alternate_config_directories, and nothing else of the caller's environment.

Where set-gid has no effect (no_new_privs: NoNewPrivileges of systemd(1), containers), it gives the message to cleanup(8) at public/submit, which has to run then and learns from the kernel who the caller is.`,
		Options: []manual.Item{{Term: "-c config_dir", Text: "Directory of main.cf."}, {Term: "-r", Text: "Report to sendmail(1) on standard output: exit code, blank, and the file's name or what went wrong."}, {Term: "-v", Text: "Accepted for compatibility."}},
		More:    []manual.Section{{Title: "Exit status", Text: "0 when the message is on the disk; otherwise as in sysexits(3), and no message is there."}},
		See:     []string{"sendmail(1)", "cleanup(8)"}}
}
