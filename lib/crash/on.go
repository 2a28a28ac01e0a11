//go:build crash

package crash

import (
	"bytes"
	"os"
	"runtime/debug"
	"syscall"
	"unsafe"
)

// Planted says whether markers kill.
const Planted = true

// At dies when text has a marker for reader.
func At(reader string, text []byte) {
	_, how, ok := bytes.Cut(text, []byte("crash-"+reader+"-"))
	switch {
	case !ok:
	case bytes.HasPrefix(how, []byte("panic")):
		panic("planted in " + reader)
	case bytes.HasPrefix(how, []byte("fatal")):
		go panic("planted in " + reader)
		select {}
	case bytes.HasPrefix(how, []byte("stack")):
		debug.SetMaxStack(1 << 20) // not the usual gigabyte
		recurse(nil)
	case bytes.HasPrefix(how, []byte("segv")):
		var usual [32]byte // the default action, which Go has replaced
		syscall.RawSyscall6(syscall.SYS_RT_SIGACTION, uintptr(syscall.SIGSEGV), uintptr(unsafe.Pointer(&usual)), 0, 8, 0, 0)
		syscall.Kill(os.Getpid(), syscall.SIGSEGV)
		select {}
	}
}

func recurse(b *[1 << 10]byte) int {
	var more [1 << 10]byte
	return recurse(&more) + int(more[0])
}
