package journal

import (
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"postrider/lib/disk"
	"postrider/lib/slot"
)

// tempDir is on the disk that holds the source, since /tmp may be memory.
func tempDir(b *testing.B) string {
	build := filepath.Join("..", "..", "build")
	if err := os.MkdirAll(build, 0o755); err != nil {
		b.Fatal(err)
	}
	dir, err := os.MkdirTemp(build, "bench")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// each runs f from n goroutines until b.N calls are made.
func each(b *testing.B, n int, f func(worker, i int)) {
	var next atomic.Int64
	done := make(chan struct{})
	b.ResetTimer()
	for w := range n {
		go func() {
			for i := next.Add(1); i <= int64(b.N); i = next.Add(1) {
				f(w, int(i))
			}
			done <- struct{}{}
		}()
	}
	for range n {
		<-done
	}
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "messages/s")
}

// BenchmarkAppend makes messages of 4 KB durable, in files written in advance
// and recycled as qmgr would when everything is delivered at once.
func BenchmarkAppend(b *testing.B) {
	for _, writers := range []int{1, 16, 64} {
		b.Run(fmt.Sprintf("writers=%d", writers), func(b *testing.B) {
			dir := tempDir(b)
			fsys := disk.OS(dir)
			for _, d := range []string{dirIncoming, dirContent} {
				if err := fsys.Mkdir(d, 0o700); err != nil {
					b.Fatal(err)
				}
			}
			var j *Journal
			var name string
			j, err := Open(Options{FS: fsys, Logf: b.Logf, OnDurable: func(slot.Position) {
				if old := name; old != j.c.name { // this is the committer's goroutine
					name = j.c.name
					if old != "" {
						go func() {
							free(b, fsys, dirIncoming+old)
							j.Recycle(old)
						}()
					}
				}
			}})
			if err != nil {
				b.Fatal(err)
			}
			defer j.Close()
			wait(b, "two spares", func() bool {
				j.k.mu.Lock()
				defer j.k.mu.Unlock()
				return len(j.k.spares) >= 2
			})
			// One goroutine each, with all it needs made before.
			type worker struct {
				m    *Message
				c    chan error
				done func(slot.Ref, error)
			}
			workers := make([]worker, writers)
			for i := range workers {
				w := &workers[i]
				w.m, w.c = message("4C1xyzW1Bcdz1", 4096), make(chan error, 1)
				w.done = func(_ slot.Ref, err error) { w.c <- err }
			}
			for range 2 { // out of the first file, which was not written in advance
				j.Append(workers[0].m, workers[0].done)
				if err := <-workers[0].c; err != nil {
					b.Fatal(err)
				}
			}
			b.ReportAllocs()
			each(b, writers, func(n, _ int) {
				w := &workers[n]
				j.Append(w.m, w.done)
				if err := <-w.c; err != nil {
					b.Error(err)
				}
			})
		})
	}
}

// BenchmarkFilePerMessage is what the journal is instead of: a new file and a
// sync for each message.
func BenchmarkFilePerMessage(b *testing.B) {
	for _, writers := range []int{1, 16, 64} {
		b.Run(fmt.Sprintf("writers=%d", writers), func(b *testing.B) {
			fsys := disk.OS(tempDir(b))
			m := message("4C1xyzW1Bcdz1", 4096)
			b.ReportAllocs()
			each(b, writers, func(_, i int) {
				f, err := fsys.OpenFile(fmt.Sprintf("%d", i), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
				if err != nil {
					b.Error(err)
					return
				}
				if _, err := f.WriteAt(m.Content, 0); err != nil {
					b.Error(err)
				}
				if err := f.Sync(); err != nil {
					b.Error(err)
				}
				f.Close()
			})
		})
	}
}
