package disk

import "fmt"

// Rewrite makes the bytes [from, to) of a file that somebody else wrote durable:
// it writes what it reads and syncs. A sync alone would not do: when the
// writer's own failed, it was the writer who was told, and what it had left to
// write may be in memory only, with nothing to say that it is not on the disk.
func Rewrite(f File, from, to int64) error {
	buf := make([]byte, min(1<<20, max(to-from, 0)))
	for from < to {
		b := buf[:min(int64(len(buf)), to-from)]
		if n, err := f.ReadAt(b, from); n < len(b) {
			return fmt.Errorf("read at %d: %w", from, err)
		}
		if _, err := f.WriteAt(b, from); err != nil {
			return err
		}
		from += int64(len(b))
	}
	return f.Sync()
}
