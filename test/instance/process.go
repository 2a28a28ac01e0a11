package instance

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Process is one of the instance's.
type Process struct {
	PID    int
	Parent int
	Name   string // of the program
}

// Processes are master and all below it.
func (i *Instance) Processes() []Process {
	if i.cmd == nil || i.cmd.Process == nil {
		return nil
	}
	return descendants(i.cmd.Process.Pid)
}

// PIDs are the processes of a program, oldest first.
func (i *Instance) PIDs(name string) (pids []int) {
	for _, p := range i.Processes() {
		if p.Name == name {
			pids = append(pids, p.PID)
		}
	}
	return pids
}

// PID waits for a process of the program and returns its id.
func (i *Instance) PID(name string) int {
	i.t.Helper()
	var pids []int
	i.Await("a process of "+name, func() bool { pids = i.PIDs(name); return len(pids) > 0 })
	return pids[0]
}

// KillOne kills a process of the program with SIGKILL and waits until it is gone.
func (i *Instance) KillOne(name string) {
	i.t.Helper()
	pid := i.PID(name)
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		i.t.Fatal(err)
	}
	i.Await(fmt.Sprintf("the end of %s (pid %d)", name, pid), func() bool { return !alive(pid) })
}

// Freeze stops a process of the program with SIGSTOP and waits until each of its threads
// stands still.
func (i *Instance) Freeze(name string) {
	i.t.Helper()
	pid := i.PID(name)
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		i.t.Fatal(err)
	}
	i.Await(name+" to stand still", func() bool {
		threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
		for _, name := range threads {
			if _, state, err := readStat(name); err == nil && state != "T" {
				return false
			}
		}
		return len(threads) > 0
	})
}

// Kill ends master and every process below it at once, with SIGKILL.
func (i *Instance) Kill() {
	for _, p := range i.orphans {
		if alive(p.PID) {
			syscall.Kill(p.PID, syscall.SIGKILL)
		}
	}
	i.orphans = nil
	if i.cmd == nil || i.cmd.Process == nil {
		return
	}
	var all []Process
	if !i.Exited() {
		all = KillTree(i.cmd.Process.Pid)
	}
	<-i.exited
	for _, p := range all {
		for end := time.Now().Add(10 * time.Second); alive(p.PID) && time.Now().Before(end); {
			time.Sleep(time.Millisecond)
		}
	}
	i.cmd = nil
}

// KillTree kills a master and every process below it at once, and returns them. It waits
// for nothing, and any goroutine may call it.
func KillTree(master int) []Process {
	syscall.Kill(master, syscall.SIGSTOP) // starts nothing new while we look
	all := descendants(master)
	for _, p := range slices.Backward(all) { // master last: at its end daemons stop in good order
		syscall.Kill(p.PID, syscall.SIGKILL)
	}
	return all
}

// KillMaster kills master alone and returns those it leaves behind.
func (i *Instance) KillMaster() []Process {
	all := i.Processes()
	i.cmd.Process.Kill()
	<-i.exited
	i.cmd = nil
	i.orphans = append(i.orphans, all[1:]...)
	return all[1:]
}

// Stop asks master to stop and waits for its end. It returns how master ended.
func (i *Instance) Stop() error {
	i.t.Helper()
	if i.Exited() {
		i.t.Fatal("master has ended already")
	}
	i.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-i.exited:
	case <-time.After(Patience):
		i.t.Fatalf("no end %v after SIGTERM; still there: %v", Patience, i.Processes())
	}
	state := i.cmd.ProcessState
	i.cmd = nil
	if !state.Success() {
		return errors.New(state.String())
	}
	return nil
}

// Hangup sends SIGHUP to master: reload.
func (i *Instance) Hangup() { i.cmd.Process.Signal(syscall.SIGHUP) }

// Terminate sends SIGTERM to master, if it is there, and waits for nothing.
func (i *Instance) Terminate() { i.cmd.Process.Signal(syscall.SIGTERM) }

// Master is the process id of master.
func (i *Instance) Master() int { return i.cmd.Process.Pid }

// Alive says whether any of the processes still runs.
func Alive(processes []Process) bool {
	for _, p := range processes {
		if alive(p.PID) {
			return true
		}
	}
	return false
}

// alive is false for a zombie of which no thread is left: while one is, what the process
// had open is open, and locked.
func alive(pid int) bool {
	p, state, err := stat(pid)
	if err != nil || p.PID != pid || state == "X" {
		return false
	}
	threads, _ := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	return state != "Z" || len(threads) > 1
}

func stat(pid int) (Process, string, error) { return readStat(fmt.Sprintf("/proc/%d/stat", pid)) }

// readStat reads the stat file of a process or thread: what it is, and its state.
func readStat(name string) (Process, string, error) {
	b, err := os.ReadFile(name)
	if err != nil {
		return Process{}, "", err
	}
	s := string(b)
	open, shut := strings.IndexByte(s, '('), strings.LastIndexByte(s, ')')
	f := strings.Fields(s[shut+1:])
	if open < 0 || len(f) < 2 {
		return Process{}, "", errors.New("not a process")
	}
	pid, _ := strconv.Atoi(strings.TrimSpace(s[:open]))
	parent, _ := strconv.Atoi(f[1])
	return Process{pid, parent, s[open+1 : shut]}, f[0], nil
}

// descendants returns the process and all below it, parents first.
func descendants(root int) []Process {
	dir, err := os.Open("/proc")
	if err != nil {
		return nil
	}
	defer dir.Close()
	names, _ := dir.Readdirnames(-1)
	below := map[int][]Process{}
	var all []Process
	for _, n := range names {
		pid, err := strconv.Atoi(n)
		if err != nil {
			continue
		}
		p, state, err := stat(pid)
		if err != nil || state == "Z" {
			continue
		}
		if pid == root {
			all = append(all, p)
		}
		below[p.Parent] = append(below[p.Parent], p)
	}
	for n := 0; n < len(all); n++ {
		all = append(all, below[all[n].PID]...)
	}
	return all
}

// starter is a thread that never ends: the signal that a child gets at its parent's
// death is sent when the thread that started it ends.
var starter = func() chan func() {
	c := make(chan func())
	go func() {
		runtime.LockOSThread()
		for f := range c {
			f()
		}
	}()
	return c
}()

func onThread(f func() error) (err error) {
	done := make(chan struct{})
	starter <- func() { err = f(); close(done) }
	<-done
	return err
}
