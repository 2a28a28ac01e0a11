package lockdown

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Offsets in struct seccomp_data of a little-endian machine; of an argument only
// the low half is looked at: what is tested are ints, or flags below bit 32.
const (
	offCall = 0
	offArch = 4
	offArg  = 16
	argSize = 8
)

// Instructions of the classic BPF.
const (
	opLoad    = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS
	opAnd     = unix.BPF_ALU | unix.BPF_AND | unix.BPF_K
	opEqual   = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K
	opAtLeast = unix.BPF_JMP | unix.BPF_JGE | unix.BPF_K
	opReturn  = unix.BPF_RET | unix.BPF_K
)

func refuse(e unix.Errno) unix.SockFilter {
	return unix.SockFilter{Code: opReturn, K: unix.SECCOMP_RET_ERRNO | uint32(e)}
}

var allow = unix.SockFilter{Code: opReturn, K: unix.SECCOMP_RET_ALLOW}

// rule says what becomes of one system call.
type rule struct {
	call uint32
	code []unix.SockFilter // ends in a return on every path
}

// never refuses a call whatever its arguments.
func never(e unix.Errno, calls ...uint32) []rule {
	rules := make([]rule, 0, len(calls))
	for _, c := range calls {
		rules = append(rules, rule{c, []unix.SockFilter{refuse(e)}})
	}
	return rules
}

// test is a condition on one argument.
type test struct {
	arg    uint32   // from 0
	mask   uint32   // 0: all bits
	values []uint32 // the argument, masked, is one of them
}

// only allows a call when all the tests hold.
func only(e unix.Errno, call uint32, tests ...test) rule {
	var code []unix.SockFilter
	for _, t := range tests {
		code = append(code, t.load()...)
		for i, v := range t.values {
			// To the next test, over the values left and the refusal.
			code = append(code, unix.SockFilter{Code: opEqual, Jt: uint8(len(t.values) - i), K: v})
		}
		code = append(code, refuse(e))
	}
	return rule{call, append(code, allow)}
}

// except refuses a call when the test holds.
func except(e unix.Errno, call uint32, t test) rule {
	code := t.load()
	for i, v := range t.values {
		code = append(code, unix.SockFilter{Code: opEqual, Jt: uint8(len(t.values) - i), K: v})
	}
	return rule{call, append(code, allow, refuse(e))}
}

func (t test) load() []unix.SockFilter {
	code := []unix.SockFilter{{Code: opLoad, K: offArg + argSize*t.arg}}
	if t.mask != 0 {
		code = append(code, unix.SockFilter{Code: opAnd, K: t.mask})
	}
	return code
}

// program is the filter: rules one after the other, the rest is allowed. The
// kernel works out beforehand which calls are allowed whatever their arguments
// and does not run the filter for those, so its length costs nothing.
func program(rules []rule) []unix.SockFilter {
	p := []unix.SockFilter{
		{Code: opLoad, K: offArch},
		{Code: opEqual, Jt: 1, K: auditArch},
		refuse(unix.ENOSYS), // calls of 32-bit programs
		{Code: opLoad, K: offCall},
	}
	if foreignCalls != 0 {
		p = append(p, unix.SockFilter{Code: opAtLeast, Jf: 1, K: foreignCalls}, refuse(unix.ENOSYS))
	}
	for _, r := range rules {
		p = append(p, unix.SockFilter{Code: opEqual, Jf: uint8(len(r.code)), K: r.call})
		p = append(p, r.code...)
	}
	return append(p, allow)
}

// Seccomp refuses the system calls that a daemon with these doors does not make,
// on all threads. It comes last: it refuses what the other layers are made with.
func Seccomp(d Doors) error {
	if auditArch == 0 {
		return fmt.Errorf("seccomp: %w: no list of calls for this processor", ErrUnavailable)
	}
	if err := seccompKnown(); err != nil {
		return err
	}
	return install(rulesFor(d, uint32(unix.Getpid())))
}

// install makes the rules hold for all threads.
func install(rules []rule) error {
	p := program(rules)
	prog := unix.SockFprog{Len: uint16(len(p)), Filter: &p[0]}
	_, _, e := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&prog)))
	if e != 0 {
		return fmt.Errorf("seccomp: %w", e)
	}
	return nil
}

// seccompKnown says whether the kernel can refuse calls with an error.
func seccompKnown() error {
	action := uint32(unix.SECCOMP_RET_ERRNO)
	if _, _, e := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_GET_ACTION_AVAIL, 0, uintptr(unsafe.Pointer(&action))); e != 0 {
		return fmt.Errorf("seccomp: %w: %w", ErrUnavailable, e)
	}
	return nil
}

// Missing returns what this kernel does not have, an error of kind
// ErrUnavailable for each layer.
func Missing() []error {
	var errs []error
	if _, _, err := version(); err != nil {
		errs = append(errs, err)
	}
	if err := seccompKnown(); err != nil {
		errs = append(errs, err)
	}
	return errs
}
