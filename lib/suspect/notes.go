package suspect

import (
	"os"
	"sync"
	"sync/atomic"
	"unsafe"

	"postrider/lib/memory"
)

const (
	noteSize = 256
	noteHead = 8
	notes    = 32
	// KeyMax is how much of a key is kept, in bytes.
	KeyMax = noteSize - noteHead
)

// NewMemory makes the memory for the notes of one process and its successors.
func NewMemory(name string) (*os.File, error) { return memory.New(name, notes*noteSize) }

// Notes are what a process has in hand, each of its readers with a note of its own.
// A nil *Notes gives notes that are not kept.
type Notes struct {
	mu   sync.Mutex
	mem  []byte
	used [notes]bool
}

// OpenNotes maps memory of NewMemory. It returns what the process before this one
// had noted and not cleared, and clears it.
func OpenNotes(f *os.File) (*Notes, []string, error) {
	mem, err := memory.Map(f, notes*noteSize)
	if err != nil {
		return nil, nil, err
	}
	n := &Notes{mem: mem}
	var left []string
	for i := range notes {
		x := n.at(i)
		if size := min(atomic.LoadUint32(x.size()), KeyMax); size > 0 {
			left = append(left, string(x.mem[noteHead:noteHead+size]))
		}
		x.Clear()
	}
	return n, left, nil
}

func (n *Notes) at(i int) *Note { return &Note{n, i, n.mem[i*noteSize : (i+1)*noteSize]} }

// Note takes a free note. When there is none, what it would say is not kept.
func (n *Notes) Note() *Note {
	if n == nil {
		return nil
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	for i := range n.used {
		if !n.used[i] {
			n.used[i] = true
			return n.at(i)
		}
	}
	return nil
}

// Note says what one goroutine is about to read. A nil Note does nothing.
type Note struct {
	all *Notes
	i   int
	mem []byte
}

// size is written last and first cleared: whenever the process dies, the note is
// whole or empty.
func (n *Note) size() *uint32 { return (*uint32)(unsafe.Pointer(&n.mem[0])) }

// Set notes key, of which the first KeyMax bytes count.
func (n *Note) Set(key []byte) {
	if n == nil {
		return
	}
	atomic.StoreUint32(n.size(), 0)
	atomic.StoreUint32(n.size(), uint32(copy(n.mem[noteHead:], key)))
}

// Clear says that it was read and all is well.
func (n *Note) Clear() {
	if n != nil {
		atomic.StoreUint32(n.size(), 0)
	}
}

// Close clears the note and gives it back.
func (n *Note) Close() {
	if n == nil {
		return
	}
	n.Clear()
	n.all.mu.Lock()
	defer n.all.mu.Unlock()
	n.all.used[n.i] = false
}
