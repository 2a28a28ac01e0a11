package config

// instanceParams: the instance, its names, directories, accounts, logs and
// processes.
var instanceParams = []Param{
	checked(computed("myhostname", hostname, "The Internet name of this mail system."), checkName),
	checked(computed("mydomain", domainname, "The domain of this mail system: myhostname without its first label."), checkName),
	orFile(checked(str("myorigin", "$myhostname", "The domain that mail posted on this machine appears to come from, or /file with that name in it."), checkName)),
	str("mail_name", "Postrider", "The name of this mail system in greetings and Received: headers."),
	str("mail_version", Version, "The version of this mail system."),
	str("compatibility_level", "3.6", "Accepted for the sake of Postfix's main.cf; the defaults are always those of 3.6."),
	computed("config_directory", func(e *expander) string { return e.dir }, "Where main.cf and master.cf are."),
	list("alternate_config_directories", "", "Other configuration directories that a set-gid program may be told to use."),
	str("queue_directory", "/var/spool/postrider", "The top of the queue."),
	str("data_directory", "/var/lib/postrider", "Where data that can be made again is kept."),
	str("daemon_directory", Prefix+"/libexec/postrider", "Where the daemon programs are."),
	str("command_directory", Prefix+"/sbin", "Where the operators' commands are."),
	str("mail_owner", "postrider", "The account that owns the queue."),
	str("setgid_group", "postdrop", "The group for submitting mail; postdrop is set-gid to it."),
	str("default_privs", "nobody", "Whose rights commands and files get where they would have root's."),

	list("inet_interfaces", "all", "The addresses that mail is received on: all, loopback-only, addresses or names."),
	{Name: "inet_protocols", Kind: KindList, Default: "all", Words: []string{"all", "ipv4", "ipv6"},
		Help: "The protocols used to receive and to send: all, or ipv4 and ipv6."},
	list("proxy_interfaces", "", "The addresses that mail is received on through a proxy or address translator."),

	str("maillog_file", "", "The log file, or /dev/stdout; empty means syslog."),
	str("maillog_file_compressor", "gzip", "The program that compresses the old log in postrider logrotate; it gets the file's name."),
	str("maillog_file_rotate_suffix", "%Y%m%d-%H%M%S", "What postrider logrotate puts behind the old log's name and a dot, in the form of date(1)."),
	word("maillog_format", "postfix", []string{"postfix", "json"}, "Form of the log: Postfix's lines, or one JSON object a line."),
	str("syslog_name", "${multi_instance_name?{$multi_instance_name}:{postfix}}", "The name before the daemon's in log lines."),
	str("multi_instance_name", "", "The name of this instance in log lines."),
	str("syslog_facility", "mail", "The syslog facility that log lines go to."),

	number("default_process_limit", "100", 1, 1000000, "How many sessions or deliveries at once for a service whose line in master.cf says \"-\"."),
	number("default_process_count", "0", 0, 1024, "Processes of a daemon that may have several (smtpd, smtp); 0 chooses by the number of processors."),
	{Name: "daemon_sched_batch", Kind: KindList,
		Words: []string{"cleanup", "qmgr", "bounce", "smtp", "lmtp", "smtpd", "local"},
		Help:  "The daemons that run under SCHED_BATCH: fewer wake-ups, and longer waits beside other programs that are busy."},
	{Name: "daemon_lockdown", Kind: KindList, Default: "landlock, seccomp", Words: []string{"landlock", "seccomp"},
		Help: "What daemons use, as they start, to shut themselves in besides their user ids; empty for nothing."},
	yesno("daemon_profile", "no", "Let root ask daemons for profiles of processor time and memory (postrider profile)."),
	span("stop_grace", "30s", second, "How long a stop waits for deliveries past the final dot."),
	span("service_throttle_time", "60s", second, "How long master waits at most before it restarts a daemon that keeps dying at once."),
	str("service_name", "", "The name of the service in master.cf; set by the system."),
	str("stress", "", "\"yes\" while a service has all its processes busy; set by the system."),

	match("authorized_submit_users", "static:anyone", "Who may submit mail with sendmail and postdrop."),
	match("authorized_mailq_users", "static:anyone", "Who may list the queue."),
	match("authorized_flush_users", "static:anyone", "Who may flush the queue."),
}
