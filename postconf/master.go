package postconf

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strings"

	"postrider/lib/config"
)

// showMaster prints the lines of master.cf, a logical line each, in Postfix's
// columns: all, or those named NAME or NAME/TYPE.
func showMaster(path string, names []string, stdout io.Writer, warn func(string)) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("%w (choose the directory with -c or MAIL_CONFIG)", err)
	}
	services, problems := config.ParseMaster(path, string(text))
	if err := problems.Err(); err != nil {
		return err
	}
	for _, p := range problems {
		warn(p.String())
	}
	holds := map[int]bool{}
	for _, s := range services {
		holds[s.Line] = true
	}
	w := bufio.NewWriter(stdout)
	config.Lines(string(text), func(line int, s string) {
		f := strings.Fields(s)
		if !holds[line] || !wanted(f, names) {
			return
		}
		fmt.Fprintf(w, "%-10s %-5s %-7s %-7s %-7s %-7s %-7s %s\n", f[0], f[1], f[2], f[3], f[4], f[5], f[6], strings.Join(f[7:], " "))
	})
	return w.Flush()
}

func wanted(f, names []string) bool {
	for _, n := range names {
		if n == f[0] || n == f[0]+"/"+f[1] {
			return true
		}
	}
	return len(names) == 0
}
