package suspect

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// Limits of the file of strikes.
const (
	strikesMax = 1000
	strikesAge = 7 * 24 * time.Hour
	fileMax    = 1 << 20 // bytes before it is written anew
)

// Guilty is the number of strikes at which a thing is not read any more: the death
// in company that made it suspect, and two alone.
const Guilty = 3

// Strike is how often a process died with a thing in hand.
type Strike struct {
	Count int
	Last  time.Time // of the newest death
	How   string    // of the newest death: "SIGSEGV"
}

// Strikes are those of all things, by key, in a file with a line for each change.
type Strikes struct {
	any atomic.Bool // there is at least one

	mu  sync.Mutex
	f   *os.File // nil: kept in memory only
	end int64
	all map[string]Strike
}

// OpenStrikes reads f. What cannot be read of it, as after a power cut, counts as
// not there. Without a file (nil) strikes last as long as the process.
func OpenStrikes(f *os.File) *Strikes {
	s := &Strikes{f: f, all: map[string]Strike{}}
	if f == nil {
		return s
	}
	lines := bufio.NewScanner(io.NewSectionReader(f, 0, fileMax+1<<16))
	for lines.Scan() {
		s.end += int64(len(lines.Bytes())) + 1
		var key, how string
		var n int
		var at int64
		if _, err := fmt.Sscanf(lines.Text(), "%d %d %q %q", &n, &at, &key, &how); err != nil {
			continue
		}
		s.set(key, Strike{n, time.Unix(at, 0), how})
	}
	return s
}

func (s *Strikes) set(key string, x Strike) {
	if x.Count <= 0 || time.Since(x.Last) > strikesAge {
		delete(s.all, key)
	} else {
		s.all[key] = x
	}
	s.any.Store(len(s.all) > 0)
}

// Add counts a death and returns how many there were; it is durable then, unless
// there is an error.
func (s *Strikes) Add(key, how string) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	x := s.all[key]
	x = Strike{x.Count + 1, time.Now(), how}
	for k := range s.all {
		if len(s.all) < strikesMax {
			break
		}
		delete(s.all, k)
	}
	s.set(key, x)
	return x.Count, s.write(key, x)
}

// Of returns the strikes of a thing; the zero Strike when there are none.
func (s *Strikes) Of(key []byte) Strike {
	if s == nil || !s.any.Load() {
		return Strike{}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.all[string(key[:min(len(key), KeyMax)])]
}

// Set puts a number in the place of what was counted; with 0 the thing is not
// suspect any more.
func (s *Strikes) Set(key []byte, n int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := string(key[:min(len(key), KeyMax)])
	x, ok := s.all[k]
	if !ok {
		return nil
	}
	x.Count = n
	s.set(k, x)
	return s.write(k, x)
}

// write appends a line, or writes the file anew when it has become long.
func (s *Strikes) write(key string, x Strike) error {
	if s.f == nil {
		return nil
	}
	var b bytes.Buffer
	line := func(key string, x Strike) { fmt.Fprintf(&b, "%d %d %q %q\n", x.Count, x.Last.Unix(), key, x.How) }
	if s.end > fileMax {
		if err := s.f.Truncate(0); err != nil {
			return fmt.Errorf("strikes: %w", err)
		}
		s.end = 0
		for k, x := range s.all {
			line(k, x)
		}
	}
	line(key, x)
	// The line before may have been cut off by a power cut.
	n, err := s.f.WriteAt(append([]byte("\n"), b.Bytes()...), s.end)
	if err == nil {
		err = s.f.Sync()
	}
	s.end += int64(n)
	if err != nil {
		return fmt.Errorf("strikes: %w", err)
	}
	return nil
}
