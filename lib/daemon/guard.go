package daemon

import (
	"fmt"
	"os"
	"runtime/debug"
	"strings"
)

// Guard calls f and catches its panic: the session ends, the daemon goes on.
// The panic is logged with its stack in one line ("\n" for the breaks). It says
// whether f panicked. A goroutine that f starts needs a Guard of its own.
func Guard(f func()) (panicked bool) {
	defer func() {
		v := recover()
		if v == nil {
			return
		}
		panicked = true
		text := strings.ReplaceAll(strings.ReplaceAll(fmt.Sprintf("%v\n%s", v, debug.Stack()), "\n", `\n`), "\t", " ")
		if log := current.Load(); log != nil {
			log.Panicf("%s", text)
			log.Flush()
			return
		}
		fmt.Fprintln(os.Stderr, "panic: "+text)
	}()
	f()
	return false
}
