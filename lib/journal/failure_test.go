package journal

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"postrider/lib/disk"
	"postrider/lib/mail"
	"postrider/lib/slot"
)

// The power fails at each call in turn: what was acknowledged is there, what
// got 451 is not, nothing looks damaged, no number is given twice, and no file
// of maildrop is taken twice.
func TestPowerFailsAtEachCall(t *testing.T) {
	ends := 0
	for n := 0; ends < 3; n += 3 {
		m := newDisk(t, uint64(n))
		rnd := rand.New(rand.NewPCG(uint64(n), 9))
		acked, refused, taken := map[string]bool{}, map[string]bool{}, map[string]bool{}
		var mu sync.Mutex
		for life := range 3 {
			j, err := Open(Options{FS: m, FileSize: 20 << 10, Maildrop: "maildrop", Spares: 1})
			if err != nil {
				if !errors.Is(err, disk.ErrOff) {
					t.Fatal(err)
				}
			} else {
				for name := range taken {
					if _, err := m.Stat("maildrop/" + name); err != nil {
						continue
					}
					if _, ok := j.SeenMaildrop(name); !ok {
						t.Fatalf("cut at %d, life %d: %s would be sent twice", n, life, name)
					}
				}
				if life == 0 {
					m.StopAfter(n)
				} else if life == 1 {
					m.StopAfter(rnd.IntN(60))
				}
				var wg sync.WaitGroup
				for w := range 3 {
					size := rnd.IntN(3000)
					wg.Go(func() {
						for i := range 6 {
							id := fmt.Sprintf("L%dW%dx%d", life, w, i)
							msg := message(id, size)
							if w == 0 {
								name := "D" + id
								if f, err := m.OpenFile("maildrop/"+name, os.O_RDWR|os.O_CREATE, 0o600); err != nil || f.Sync() != nil || m.SyncDir("maildrop") != nil {
									return
								}
								msg.Envelope.Replaces.Maildrop = name
							}
							_, err := submit(j, msg)
							mu.Lock()
							if err == nil {
								acked[id] = true
								if w == 0 {
									taken["D"+id] = true
								}
							} else if errors.Is(err, ErrSync) {
								refused[id] = true
							} else if !errors.Is(err, ErrUnknown) && !errors.Is(err, ErrFull) {
								t.Error(err)
							}
							mu.Unlock()
							if err == nil && w == 0 && i%2 == 0 && m.Remove("maildrop/D"+id) == nil {
								j.Forget("D" + id)
							}
						}
					})
				}
				wg.Wait()
				if life == 0 && !m.Stopped() {
					ends++
				}
				m.StopAfter(0) // nothing more
				m.Remove("x")
				j.Close()
			}
			m.PowerCut()
			got := survivors(t, m)
			for id := range acked {
				if _, ok := got[mail.QueueID(id)]; !ok {
					t.Fatalf("cut at %d, life %d: %s was acknowledged and is lost", n, life, id)
				}
			}
			for id := range refused {
				if _, ok := got[mail.QueueID(id)]; ok {
					t.Fatalf("cut at %d, life %d: %s was refused and is there", n, life, id)
				}
			}
		}
	}
}

// A sync or write fails at each place in turn, once or for a while; then comes
// a restart, with or without the machine.
func TestFailuresAtEachCall(t *testing.T) {
	var failed, unknown int
	for _, op := range []disk.Op{disk.OpSync, disk.OpWrite} {
		for k := range 40 {
			m := newDisk(t, uint64(k))
			c := &clock{t: time.Unix(1e9, 0)}
			j := open(t, m, func(o *Options) { o.FileSize = 20 << 10; o.Now = c.now })
			m.Fail(disk.Fault{Op: op, Prefix: "incoming/", After: k / 2, Forever: k%4 == 3, Err: syscall.EIO})
			result := map[string]error{}
			var mu sync.Mutex
			for i := range 20 {
				var wg sync.WaitGroup
				for w := range 3 {
					id := fmt.Sprintf("I%dx%d", i, w)
					wg.Add(1)
					j.Append(message(id, 800), func(_ slot.Ref, err error) {
						mu.Lock()
						defer mu.Unlock()
						result[id] = err
						wg.Done()
					})
				}
				wg.Wait()
				if k%5 == 0 && i < 15 && slices.ContainsFunc(slices.Collect(maps.Values(result)), func(err error) bool { return err != nil }) {
					break // ends at once after the answer
				}
				if i == 15 {
					m.Heal()
					c.add(2 * time.Second)
				}
			}
			if err := result["I19x0"]; err != nil && k%5 != 0 {
				t.Fatalf("%s %d: still failing when the disk is good again: %v", op, k, err)
			}
			switch k % 3 {
			case 0:
				m.Kill()
			case 1:
				m.Kill()
				m.Evict()
			case 2:
				m.PowerCut()
			}
			j.Close()
			got := survivors(t, m)
			for id, err := range result {
				_, there := got[mail.QueueID(id)]
				switch {
				case err == nil && !there:
					t.Fatalf("%s %d: %s acknowledged and lost", op, k, id)
				case errors.Is(err, ErrSync):
					failed++
					if there {
						t.Fatalf("%s %d: %s was refused and is there", op, k, id)
					}
				case errors.Is(err, ErrUnknown):
					unknown++
				case err != nil:
					t.Fatal(err)
				}
			}
		}
	}
	if failed < 50 || unknown < 10 {
		t.Errorf("%d refused, %d unknown: too few to prove anything", failed, unknown)
	}
}

// After a failed sync the file is not touched by any further write or sync.
func TestFailedFileIsLeftAlone(t *testing.T) {
	m := newDisk(t, 1)
	j := open(t, m, nil)
	wait(t, "a spare", j.k.hasSpare)
	j.Close()
	j = open(t, m, nil)
	ref, err := submit(j, message("A", 10))
	if err != nil {
		t.Fatal(err)
	}
	m.Fail(disk.Fault{Op: disk.OpSync, Prefix: "incoming/" + j.c.name, Err: syscall.EIO})
	if _, err := submit(j, message("B", 10)); !errors.Is(err, ErrSync) || !errors.Is(err, syscall.EIO) {
		t.Fatal(err)
	}
	// Its bytes can be seen, but are cut off by the time the answer is there.
	if got := survivors(t, m); len(got) != 1 || got["B"].ID != "" {
		t.Errorf("refused and there: %v", got)
	}
	name := nameOf(t, m, ref.File)
	m.Fail(disk.Fault{Op: disk.OpSync, Prefix: name, Forever: true, Err: errors.New("synced again")})
	m.Fail(disk.Fault{Op: disk.OpWrite, Prefix: name, Forever: true, Err: errors.New("written again")})
	after, err := submit(j, message("C", 10))
	if err != nil || after.File <= ref.File {
		t.Fatalf("%v, %v", after, err)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	m.Heal()
	m.Evict()
	got := survivors(t, m)
	if len(got) != 2 || got["B"].ID != "" {
		t.Errorf("%v", got)
	}
}

// The number of the highest file is not given again though its header is lost,
// whether a copy is left (in a sealed file) or none.
func TestLostHeader(t *testing.T) {
	for _, sealed := range []bool{true, false} {
		t.Run(fmt.Sprintf("sealed=%v", sealed), func(t *testing.T) { lostHeader(t, sealed) })
	}
}

func lostHeader(t *testing.T, sealed bool) {
	m := newDisk(t, 1)
	var highest uint64
	j := open(t, m, nil)
	for i := range 60 {
		ref, err := submit(j, message(fmt.Sprintf("I%d", i), 3000))
		if err != nil {
			t.Fatal(err)
		}
		highest = ref.File
	}
	if !sealed {
		m.Kill()
	}
	j.Close()
	m.Flip(nameOf(t, m, highest), 0, slot.DataStart)
	j = open(t, m, nil)
	if j.First() <= highest {
		t.Errorf("number %d after %d", j.First(), highest)
	}
	j.Close()
	j = open(t, m, func(o *Options) { o.Above = 1 << 40 })
	if j.First() <= 1<<40 {
		t.Errorf("number %d", j.First())
	}
	j.Close()
}

// What is said to be durable can be read: a reader takes anything else for damage.
func TestDurableIsThere(t *testing.T) {
	m := newDisk(t, 1)
	var j *Journal
	told := 0
	check := func(p slot.Position) {
		told++
		f, err := m.OpenFile(nameOf(t, m, p.File), os.O_RDONLY, 0)
		if err != nil {
			t.Error(err)
			return
		}
		defer f.Close()
		h, err := slot.ReadHeader(f)
		if err != nil {
			t.Error(err)
		}
		s := slot.NewScanner(f, h, p.Offset)
		s.Durable = p.Offset
		for err == nil {
			_, err = s.Next()
		}
		if err != io.EOF {
			t.Errorf("durable to %v: %v", p, err)
		}
	}
	j = open(t, m, func(o *Options) { o.FileSize = 20 << 10; o.OnDurable = check })
	for i := range 30 {
		if _, err := submit(j, message(fmt.Sprintf("I%d", i), 3000)); err != nil {
			t.Fatal(err)
		}
	}
	j.Close()
	if told < 30 {
		t.Errorf("told %d times", told)
	}
}
