package instance

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// Clocked is New with daemons whose wall clock Step sets, while they run. The kernel has one
// wall clock for the whole machine, and a program linked statically asks it without a
// library that could be replaced: so the daemons are built with a time.Now of their own,
// which adds what stands in a file. Their monotonic clock, and what the kernel itself dates
// (files), stay, as at a step of the real clock.
func Clocked(t testing.TB, lines ...string) *Instance {
	t.Helper()
	dir, err := special(Programs(t), "clock", clockFlags)
	if err != nil {
		t.Fatal(err)
	}
	i := create(t, dir, nobody(t), lines)
	i.Step(0)
	return i
}

// Step makes the daemons' wall clock differ from the machine's by d, at once.
func (i *Instance) Step(d time.Duration) {
	i.t.Helper()
	f, err := os.OpenFile(filepath.Join(i.Dir, clockFile), os.O_RDWR|os.O_CREATE, 0o644)
	if err == nil {
		// In place: the daemons have mapped it.
		_, err = f.WriteAt(binary.NativeEndian.AppendUint64(nil, uint64(int64(d/time.Second))), 0)
		f.Close()
	}
	if err != nil {
		i.t.Fatal(err)
	}
}

// clockFile is where the daemons find it from the queue directory, in which they start.
const clockFile = "clock"

// offset is the addition to package time.
const offset = `package time

import (
	"sync/atomic"
	"syscall"
	"unsafe"
)

var wallOffset = func() *atomic.Int64 {
	fd, err := syscall.Open("../` + clockFile + `", syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
	if err != nil {
		return nil
	}
	defer syscall.Close(fd)
	b, err := syscall.Mmap(fd, 0, 8, syscall.PROT_READ, syscall.MAP_SHARED)
	if err != nil {
		return nil
	}
	return (*atomic.Int64)(unsafe.Pointer(&b[0]))
}()

func wallStep() int64 {
	if wallOffset == nil {
		return 0
	}
	return wallOffset.Load()
}
`

// nowBegins is where time.Now asks the runtime for the seconds of the wall clock.
var nowBegins = regexp.MustCompile(`func Now\(\) Time \{\n\tsec, nsec, mono := \w+\(\)\n`)

// clockFlags writes the files that replace those of package time.
func clockFlags(dir string) ([]string, error) {
	out, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		return nil, fmt.Errorf("go env GOROOT: %w", err)
	}
	src := filepath.Join(strings.TrimSpace(string(out)), "src", "time")
	now, err := os.ReadFile(filepath.Join(src, "time.go"))
	if err != nil {
		return nil, err
	}
	at := nowBegins.FindIndex(now)
	if at == nil {
		return nil, fmt.Errorf("%s/time.go: time.Now is not what Clocked knows", src)
	}
	now = append(now[:at[1]:at[1]], append([]byte("\tsec += wallStep()\n"), now[at[1]:]...)...)
	replace := map[string]string{}
	for name, text := range map[string][]byte{"time.go": now, "offset.go": []byte(offset)} {
		replace[filepath.Join(src, name)] = filepath.Join(dir, name)
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o644); err != nil {
			return nil, err
		}
	}
	b, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return nil, err
	}
	overlay := filepath.Join(dir, "overlay.json")
	return []string{"-overlay=" + overlay, "-tags=" + os.Getenv(envTags)}, os.WriteFile(overlay, b, 0o644)
}
