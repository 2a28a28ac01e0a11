// Command master is master, installed as postrider, and every daemon: one file, so that
// the processes share its text in memory. Which one it is says the name it is started by,
// for which daemon_directory has links.
package main

import (
	"os"
	"path/filepath"

	"postrider/bounce"
	"postrider/cleanup"
	"postrider/local"
	"postrider/master"
	"postrider/qmgr"
	"postrider/smtp"
	"postrider/smtpd"
)

var daemons = map[string]func(){
	"bounce":  bounce.Main,
	"cleanup": cleanup.Main,
	"local":   local.Main,
	"qmgr":    qmgr.Main,
	"lmtp":    smtp.MainLMTP,
	"smtp":    smtp.Main,
	"smtpd":   smtpd.Main,
}

func main() {
	run := master.Main
	if len(os.Args) > 0 {
		if daemon, ok := daemons[filepath.Base(os.Args[0])]; ok {
			run = daemon
		}
	}
	run()
}
