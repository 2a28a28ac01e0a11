package postmap

import "postrider/lib/manual"

// Manual is the command's manual page.
func Manual() manual.Page {
	return manual.Page{Name: "postmap", Section: 1, Aliases: []string{"postalias"}, Summary: "make and query lookup tables",
		Synopsis: []string{"[-Nfinoprw] [-c config_dir] [type:]file ...", "[-bfh] [-c config_dir] -q key|- [type:]name ...", "[-c config_dir] -d key|- [type:]file ...", "[-c config_dir] -s [type:]file ..."},
		Text: `postmap makes an index of a text table: of file the file file.cdb. Daemons use the new one within a second. postalias does the same for a text in the syntax of aliases(5). A new index takes the place of the old one at once;
a reader sees the one or the other.

hash, btree, lmdb, cdb, dbm and sdbm all mean a cdb file.`,
		Options: []manual.Item{
			{Term: "-c config_dir", Text: "Directory of main.cf."},
			{Term: "-q key", Text: "Look the key up in the tables, in their order, and print the first value; - takes keys from standard input."},
			{Term: "-d key", Text: "Remove the entry; - takes keys from standard input."},
			{Term: "-s", Text: "Print all entries: key, tab, value."},
			{Term: "-i", Text: "Add the entries on standard input to the index that is there."},
			{Term: "-r", Text: "Of entries with the same key the last holds, without a warning."},
			{Term: "-w", Text: "Of entries with the same key the first holds, without a warning."},
			{Term: "-f", Text: "Do not make keys lower case."},
			{Term: "-N, -n", Text: "Store keys and values with a NUL byte behind, or without (as without an option)."},
			{Term: "-o", Text: "Stay root when the text is not root's."},
			{Term: "-p", Text: "Do not give the index the permissions of the text."},
			{Term: "-b, -h", Text: "With -q -: look up the lines of the body, or the headers, of the message on standard input."},
			{Term: "-u, -U, -v", Text: "Accepted for compatibility."},
			{Term: "-F", Text: "The values of the text are names of files: the table gets their contents, in base64; with -q they are decoded."},
			{Term: "-m", Text: "Not supported."},
		},
		More: []manual.Section{{Title: "Exit status", Text: "0; 1 when -q or -d found nothing, or for an error."}},
		See:  []string{"postrider-tables(5)", "aliases(5)", "newaliases(1)"}}
}
