package postconf

import "postrider/lib/manual"

// Manual is the command's manual page.
func Manual() manual.Page {
	return manual.Page{Name: "postconf", Section: 1, Summary: "show or change the configuration", Flags: new(options),
		Synopsis: []string{"[-dfhHjnpqvx] [-c config_dir] [-o name=value] [parameter ...]", "[-c config_dir] [-e] name=value ...", "[-c config_dir] -# name ...", "[-c config_dir] -X name ...",
			"-M [-efhnoqx#X] [-c config_dir] [service[/type][=line] ...]", "-F [-efhHoqx] [-c config_dir] [service[/type[/field]][=value] ...]",
			"-P [-efhHoqx#X] [-c config_dir] [service[/type[/parameter]][=value] ...]", "-m | -a | -A | -l | -T mode", "-b [template_file]", "-t [template_file]"},
		Text: `Without an option postconf shows every parameter of main.cf with its value. With names, those. A value is shown as it is written; -x replaces references.

Changes keep comments, order, owner and mode of the file; a reader sees the old file or the new one. They take effect at ` + "`postrider reload`" + `.

A parameter that nothing uses, and a name that no parameter has, is warned of.`,
		More: []manual.Section{{Title: "Exit status", Text: "0, or 1 when something could not be shown or changed."}},
		See:  []string{"postconf(5)", "master(5)", "postrider(1)"}}
}
