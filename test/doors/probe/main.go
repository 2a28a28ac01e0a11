// Probe is every daemon of the suite, by the name it is started as, with somebody else
// in it: when it gets SIGUSR1 it makes the attempts of package attempt, from inside the
// real daemon, with its user, its descriptors and its doors, and writes to standard
// error what it reached.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"postrider/bounce"
	"postrider/cleanup"
	"postrider/local"
	"postrider/proxymap"
	"postrider/qmgr"
	"postrider/smtp"
	"postrider/smtpd"
	"postrider/test/doors/attempt"
)

func main() {
	daemons := map[string]func(){"bounce": bounce.Main, "cleanup": cleanup.Main, "local": local.Main,
		"qmgr": qmgr.Main, "smtp": smtp.Main, "lmtp": smtp.MainLMTP, "smtpd": smtpd.Main, "proxymap": proxymap.Main}
	name := filepath.Base(os.Args[0])
	asked := make(chan os.Signal, 1)
	signal.Notify(asked, syscall.SIGUSR1)
	// What there is to reach is written beside the program before the signal.
	exe, err := os.Executable()
	if err == nil {
		var target *os.File
		if target, err = os.Open(filepath.Join(filepath.Dir(exe), "target")); err == nil {
			go wait(name, target, asked)
		}
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "PROBE %s: %v\n", name, err)
	}
	daemons[name]()
}

func wait(name string, f *os.File, asked <-chan os.Signal) {
	for range asked {
		var t attempt.Target
		_, err := f.Seek(0, 0)
		if err == nil {
			err = json.NewDecoder(f).Decode(&t)
		}
		if err != nil {
			fmt.Fprintf(os.Stderr, "PROBE %s: %v\n", name, err)
			continue
		}
		b, _ := json.Marshal(attempt.Run(&t))
		fmt.Fprintf(os.Stderr, "PROBE %s %d %s\n", name, os.Getpid(), b)
	}
}
