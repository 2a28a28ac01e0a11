package master

import (
	"postrider/lib/config"
	"postrider/lib/manual"
)

// Manual is the command's manual page, under the name that it is installed by.
func Manual() manual.Page {
	return manual.Page{Name: "postrider", Section: 1, Summary: "control the mail system", Flags: new(options),
		Vars:     map[string]string{"dir": config.DefaultDir, "verbs": "What to do.", "version": version},
		Synopsis: []string{"[-c config_dir] check | set-permissions", "[-c config_dir] start | start-fg | stop | abort | reload | status | flush | logrotate", "[-c config_dir] profile process [kind [seconds]]"},
		Text:     "postrider starts, stops and controls the mail system, as Postfix's `postfix` does. It is for root; not started by root, everything runs as the caller, who then has to own the directories of the queue.",
		More: []manual.Section{{Title: "Verbs", Items: []manual.Item{
			{Term: "check", Text: "Say everything that is wrong with the configuration, the accounts, owners and modes, tables and programs, with the command that mends it; and which parameters have no effect. Exit status 1 when the mail system would not start."},
			{Term: "set-permissions", Text: "Make the directories, and mend every owner and mode that check finds."},
			{Term: "start", Text: "Start in the background; ends when the system is up."},
			{Term: "start-fg", Text: "Run in the foreground, as under systemd or in a container."},
			{Term: "stop", Text: "Let deliveries past the final dot end (`stop_grace`), then stop."},
			{Term: "abort", Text: "Stop at once. No mail is lost; what was under way may be delivered twice."},
			{Term: "reload", Text: "Read main.cf, master.cf and tables anew, and open the log again. A wrong configuration is refused, and the old one stays."},
			{Term: "status", Text: "Say whether the mail system runs; exit status 1 when it does not."},
			{Term: "flush", Text: "Try all deferred mail now."},
			{Term: "logrotate", Text: "Move maillog_file to a name with the time in it (`maillog_file_rotate_suffix`), have every process open a new one, and when all have, compress the old one (`maillog_file_compressor`). No line is lost. With `syslog` or /dev/stdout there is nothing to rotate."},
			{Term: "profile", Text: "Where a process spends its time or memory, for `go tool pprof`; needs daemon_profile = yes."},
		}}, {Title: "Files", Items: []manual.Item{
			{Term: config.DefaultDir + "/main.cf, master.cf", Text: "The configuration: postconf(5), master(5)."},
			{Term: "/var/spool/postrider", Text: "The queue (queue_directory)."},
			{Term: "/var/lib/postrider", Text: "What can be made again (data_directory)."}}},
			{Title: "Exit status", Text: "0, or 1 after a line that says what to do; 64 for a wrong command line."}},
		See: []string{"postconf(5)", "master(5)", "master(8)", "postqueue(1)", "postsuper(1)", "postconf(1)", "sendmail(1)"}}
}
