package daemon

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"runtime/pprof"
	"time"

	"postrider/lib/proto"
)

// heapRate is how many bytes are allocated between two samples of the heap's profile;
// without daemon_profile there are none.
const heapRate = 64 << 10

// profiled sets what has to be set before memory is used much.
func profiled(on bool) {
	runtime.MemProfileRate = 0
	if on {
		runtime.MemProfileRate = heapRate
	}
}

// profile measures this process and writes the result to sock, for whoever is at its
// other end: master let in only root (or, without root, its own user). The socket comes
// by the control conversation, so no door has to be open for it.
func (d *Daemon) profile(m *proto.Profile, sock net.Conn) {
	defer sock.Close()
	if !d.Config().Bool("daemon_profile") {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(m.Seconds)*time.Second)
	defer cancel()
	go func() { // who asked has gone away, or the time is over
		sock.Read(make([]byte, 1))
		cancel()
	}()
	w := bufio.NewWriter(sock)
	if err := measure(ctx, m.Kind, w); err != nil {
		fmt.Fprintf(w, "error: %v\n", err)
	}
	w.Flush()
}

// errProfile says that there is no profile of that name.
var errProfile = errors.New("no such profile (cpu, allocs, heap, goroutine, mutex, block, stats)")

// measure writes a profile of the time until ctx ends.
func measure(ctx context.Context, kind string, w io.Writer) error {
	switch kind {
	case "stats":
		return stats(w)
	case "cpu":
		if err := pprof.StartCPUProfile(w); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
		<-ctx.Done()
		return nil
	case "mutex":
		runtime.SetMutexProfileFraction(1)
		defer runtime.SetMutexProfileFraction(0)
		<-ctx.Done()
	case "block":
		runtime.SetBlockProfileRate(1)
		defer runtime.SetBlockProfileRate(0)
		<-ctx.Done()
	case "heap":
		runtime.GC() // what is in use now
	case "allocs":
		<-ctx.Done() // what was allocated since the start, this time included
	case "goroutine":
	default:
		return errProfile
	}
	return pprof.Lookup(kind).WriteTo(w, 0)
}

// stats writes counters of the runtime, a name and a number in each line.
func stats(w io.Writer) error {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	_, err := fmt.Fprintf(w, "mallocs %d\nfrees %d\nallocated_bytes %d\nheap_bytes %d\ngarbage_collections %d\ngarbage_collection_pause_ns %d\ngoroutines %d\n",
		m.Mallocs, m.Frees, m.TotalAlloc, m.HeapAlloc, m.NumGC, m.PauseTotalNs, runtime.NumGoroutine())
	return err
}
